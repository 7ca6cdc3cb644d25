"""What goes on inside the process in which other people's code runs."""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import io
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, NoReturn

import numpy  # noqa: F401 - what everybody needs is there before time and memory are counted

from bncheck.workers import pipes
from bncheck.workers.culprit import exit_argument, place_of, said
from bncheck.workers.pipes import size

if sys.platform != "win32":
    import resource

Task = Callable[..., object]
"""A function that both processes can import by its name."""

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


@dataclass(frozen=True, slots=True)
class Reply:
    """What one call gave, on its way to the parent."""

    value: object | None = None
    failure: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Desk:
    """What a worker puts back in its place before each call, whatever the last one did to it."""

    process: int
    output: int
    trace: int
    timeout: float
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


def work(tasks: BinaryIO, timeout: float, memory: int) -> NoReturn:
    """What a worker does, from its start to its end: `tasks` are frames, and stdout takes the answers.

    An empty frame says that it is ready, and that it has taken a task; each task gets a frame with its reply. It ends
    when there are no more tasks: the parent is gone, or has closed the pipe.
    """
    status = 1
    try:
        answers = os.fdopen(os.dup(1), "wb")
        desk = _equipped(answers.fileno(), timeout, memory)
        pipes.write(answers, b"")
        while (task := pipes.read(tasks)) is not None:
            pipes.write(answers, b"")
            pipes.write(answers, perform(task, desk))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)  # threads of theirs and what they registered to be done at the end are not waited for


def _equipped(trace: int, timeout: float, memory: int) -> Desk:
    """Make this process a worker: prints to what is stderr, tracebacks of crashes to `trace`, so many bytes a call.

    The channel takes text between frames for such a traceback.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    faulthandler.enable(file=trace)
    limit(memory)
    gc.freeze()  # what was imported, while the channel had garbage left alone, need never be looked at
    gc.enable()
    sys.argv = [""]
    return Desk(os.getpid(), os.dup(2), trace, timeout, memory, os.getcwd(), sys.getrecursionlimit())


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


def perform(task: bytes, desk: Desk) -> bytes:
    """A pickled Reply: what a pickled (function, arguments) gave, or why it gave nothing. Never raises.

    The watchdog is a thread of C, which also ends a worker whose parent is gone.
    """
    streams: tuple[io.TextIOWrapper, ...] = ()
    try:
        streams = desk.tidy()
        faulthandler.dump_traceback_later(desk.timeout, exit=True, file=desk.trace)
        function, arguments = pickle.loads(task)
        answer = _packed(function(*arguments))
    except BaseException as error:
        answer = pickle.dumps(failed(error, desk.memory))
    if os.getpid() != desk.process:
        os._exit(0)  # a fork of theirs, which has come back from the call too
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
