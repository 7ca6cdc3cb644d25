"""The process in which other people's code runs: how it is started, and what it does inside."""

from __future__ import annotations

import contextlib
import faulthandler
import io
import multiprocessing.context
import os
import pickle
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy  # noqa: F401 - what everybody needs is there before time and memory are counted

from bncheck.implementations.capture import PipeEnd, size
from bncheck.implementations.culprit import exit_argument, place_of, said

if sys.platform != "win32":
    import resource

Task = Callable[..., object]
"""A function that both processes can import by its name."""

ENDED = 256
"""Stands for exit status 0 of a worker, which must not end by itself; no status is so great."""

LARGEST = 256_000_000
"""Bytes that an answer may have: reports have kilobytes, and the parent has memory to keep."""

BLAS_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)

_STARTING = threading.RLock()


class WorkerProcess(multiprocessing.context.SpawnProcess):
    """A spawned process with one BLAS thread, which does not import the user's main module."""

    def start(self) -> None:
        with _STARTING, _one_blas_thread(), _no_main_module(), _without_interrupts():
            super().start()

    def terminate(self) -> None:
        """Kill it, and what it has started: code that hangs does not listen to a polite request."""
        if self.pid is not None:
            kill_children(self.pid)
        self.kill()

    @property
    def exitcode(self) -> int | None:
        """As ever, but ENDED for 0: pebble takes a worker that ended with status 0 for one that still works."""
        code = super().exitcode
        return ENDED if code == 0 else code


def kill_children(worker: int) -> None:
    """Kill what a worker has started and not waited for, and the worker where it still runs."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(worker, signal.SIGKILL)


class WorkerContext(multiprocessing.context.SpawnContext):
    """What pebble makes its processes of."""

    Process = WorkerProcess


@contextlib.contextmanager
def _one_blas_thread() -> Iterator[None]:
    """BLAS reads its variables when NumPy is imported, so they must be there before the process is."""
    before = {name: os.environ.get(name) for name in BLAS_THREADS}
    os.environ.update(dict.fromkeys(BLAS_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _no_main_module() -> Iterator[None]:
    """spawn runs the file of __main__ again in the child: without an `if __name__` guard, a script would start itself
    over and over. It looks that file up in sys.modules, and nothing of ours needs it in the child."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """A process inherits what its parent blocks: so ctrl-C finds no moment in which the worker would heed it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@dataclass(frozen=True, slots=True)
class Reply:
    """What one call gave, on its way to the parent."""

    value: object | None = None
    failure: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Desk:
    """What a worker puts back in its place before each call, whatever the last one did to it."""

    output: int
    trace: int
    memory: int
    folder: str
    recursion: int

    def tidy(self) -> tuple[io.TextIOWrapper, io.TextIOWrapper]:
        """Returns the new sys.stdout and sys.stderr: theirs may be other ones in the end."""
        os.dup2(self.output, 1)
        os.dup2(self.output, 2)
        streams = sys.stdout, sys.stderr = _stream(1), _stream(2)
        sys.setrecursionlimit(self.recursion)
        with contextlib.suppress(OSError):  # the folder may be gone
            os.chdir(self.folder)
        return streams


_DESKS: list[Desk] = []
"""The one desk of this process; none in the parent."""


def equip(output: PipeEnd, trace: PipeEnd, memory: int) -> None:
    """Make this process a worker: prints to `output`, tracebacks of crashes to `trace`, so many bytes for a call.

    pebble has had SIGINT ignored before it calls this.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    if hasattr(os, "setsid"):
        os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    faulthandler.enable(file=trace.fd)
    limit(memory)
    sys.argv = [""]
    desk = Desk(output.fd, trace.fd, memory, os.getcwd(), sys.getrecursionlimit())
    _DESKS[:] = [desk]


def _stream(fd: int) -> io.TextIOWrapper:
    """Text by lines, as on a terminal: a crash loses no more than the line that was not ended."""
    raw = io.FileIO(fd, "wb", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", errors="backslashreplace", line_buffering=True)


def limit(memory: int) -> None:
    """No core dumps, and so many bytes of address space on top of what the process has now, where limits are known."""
    if sys.platform == "win32":
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most = _address_space(resource.getpagesize()) + memory
    with contextlib.suppress(ValueError, OSError):  # macOS has the limit and refuses to set it; or a lower one is set
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _address_space(page: int) -> int:
    """Bytes of address space that this process takes; a gigabyte where the platform does not say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[0]) * page
    except OSError:
        return 1 << 30


def perform(task: bytes, timeout: float) -> bytes:
    """A pickled Reply: what a pickled (function, arguments) gave, or why it gave nothing. Never raises.

    The watchdog is a thread of C, which also ends a worker whose parent is gone.
    """
    desk = _DESKS[0]
    streams: tuple[io.TextIOWrapper, ...] = ()
    try:
        streams = desk.tidy()
        faulthandler.dump_traceback_later(timeout, exit=True, file=desk.trace)
        function, arguments = pickle.loads(task)
        answer = _packed(function(*arguments))
    except BaseException as error:
        answer = pickle.dumps(failed(error, desk.memory))
    faulthandler.cancel_dump_traceback_later()
    for stream in (*streams, sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # theirs may be anything by now, or closed
            stream.flush()
    return answer


def _packed(value: object) -> bytes:
    try:
        packed = pickle.dumps(Reply(value))
    except MemoryError:
        raise
    except Exception as error:
        return pickle.dumps(Reply(None, f"its answer cannot leave the worker process ({said(error)})", "raised"))
    if len(packed) > LARGEST:
        says = f"its answer has {size(len(packed))}, and {size(LARGEST)} is the most that leaves the worker process"
        return pickle.dumps(Reply(None, says, "raised"))
    return packed


def failed(error: BaseException, memory: int = 0) -> Reply:
    """Why there is no answer, in a sentence that begins with the place."""
    place = place_of(error)
    where = f"{place}: " if place else ""
    if isinstance(error, MemoryError):
        more = f" ({said(error)})" if str(error) else ""
        return Reply(None, f"{where}it ran out of memory, of which it may take {size(memory)}{more}", "memory")
    if isinstance(error, SystemExit):
        return Reply(None, f"{where}it called sys.exit({exit_argument(error)})", "raised")
    return Reply(None, f"{where}{said(error)}", "raised")
