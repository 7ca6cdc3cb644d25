"""The process in which other people's code runs: it reads tasks, runs them with limits, and answers.

A failure is told in words here, since only here is its traceback known: the line of their code, and what was raised.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import io
import os
import pickle
import re
import signal
import sys
import sysconfig
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO, NoReturn

if sys.platform != "win32":
    import resource

Task = Callable[..., object]
"""A function that both processes can import by its name."""

LARGEST = 256_000_000
"""Bytes that an answer may have: reports have kilobytes, and the parent has memory to keep."""

_LIBRARIES = "OMP_NUM, OPENBLAS_NUM, MKL_NUM, BLIS_NUM, VECLIB_MAXIMUM, NUMEXPR_NUM"
BLAS_THREADS = [f"{library}_THREADS" for library in _LIBRARIES.split(", ")]
"""Variables by which the libraries under NumPy are held to one thread."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The value of one call, or the `failure`: a sentence that says why there is none.

    `output` is what was printed meanwhile, its middle left out where it is long; the parent adds it. `spent` says that
    the worker has run out of memory or has lost much, so that the next call is to have a new one, and `again` that
    this one is to be made again there: memory ran out of which calls before it have kept some.
    """

    value: object | None = None
    failure: str = ""
    output: str = ""
    spent: bool = field(default=False, compare=False, repr=False)
    again: bool = field(default=False, compare=False, repr=False)


class Interrupted(KeyboardInterrupt):
    """Raised where the user has pressed ctrl-C, and means all of the work: not the one call that is running."""


INSIDE = "BNCHECK_WORKER"
"""The variable that a worker has, and all that it starts: a check there would start another worker, and so on."""


# --- frames: the two processes write data to each other with its length in front ---------------------------------


HEAD = 8
"""Bytes of the length, the greatest first. So the first is 0, which no text has: a frame is told from a traceback."""


def head(data: bytes) -> bytes:
    """The length of data, as it stands in front of it in a frame."""
    return len(data).to_bytes(HEAD, "big")


def read(file: BinaryIO) -> bytes | None:
    """The data of the next frame; None where the file ends before the frame does."""
    begin = file.read(HEAD)
    announced = int.from_bytes(begin, "big")
    data = file.read(announced)
    return data if len(begin) == HEAD and len(data) == announced else None


def write(file: BinaryIO, data: bytes) -> None:
    """Write data as a frame, and flush it."""
    file.write(head(data))
    file.write(data)
    file.flush()


def take(heard: bytearray) -> Iterator[bytearray]:
    """Take the frames that are complete out of the beginning of what was heard, each with the text before it."""
    while (begin := heard.find(0)) >= 0:
        end = begin + HEAD + int.from_bytes(heard[begin : begin + HEAD], "big")
        if len(heard) < max(begin + HEAD, end):
            return
        data = heard[begin + HEAD : end]
        del heard[:end]
        yield data


# --- the process ---------------------------------------------------------------------------------------------------


def work(tasks: BinaryIO, timeout: float, memory: int) -> NoReturn:
    """Answer tasks until there are no more of them: the parent is gone, or has closed the pipe.

    `tasks` are frames, and stdout takes the answers. An empty frame says that the process is ready, and that it has
    taken a task; each task then gets a frame with its pickled Reply. `timeout` is in seconds for a task, `memory` in
    bytes on top of what the process takes by itself.
    """
    status = 1
    try:
        answers = os.fdopen(os.dup(1), "wb")
        surroundings = Surroundings(answers.fileno(), timeout, memory)
        write(answers, b"")
        for task in _received(tasks):
            write(answers, b"")
            write(answers, perform(task, surroundings))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)  # threads of theirs and what they registered to be done at the end are not waited for


class Surroundings:
    """This process made a worker, and the state that each call finds it in, whatever the call before has done.

    Prints go to what is stderr now, tracebacks of crashes to the descriptor `trace`. That is where the answers go: the
    parent takes text between frames for such a traceback.
    """

    def __init__(self, trace: int, timeout: float, memory: int) -> None:
        self.trace = trace
        self.timeout = timeout
        self.memory = memory
        self.process = os.getpid()
        self._output = os.dup(2)
        self._folder = os.getcwd()
        self._recursion = sys.getrecursionlimit()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        faulthandler.enable(file=trace)
        faulthandler.dump_traceback_later(
            timeout, file=trace
        )  # the memory of its thread is ours, not their first call's
        faulthandler.cancel_dump_traceback_later()
        self.taken = limit(memory)
        gc.freeze()  # what was imported, without collecting garbage (process.START), need never be looked at
        gc.enable()
        sys.argv = [""]

    def restore(self) -> tuple[io.TextIOWrapper, io.TextIOWrapper]:
        """Restore streams, recursion limit and folder. Returns the new sys.stdout and sys.stderr.

        They are returned because the call may put others in their place, and these are to be flushed too.
        """
        os.dup2(self._output, 1)
        os.dup2(self._output, 2)
        streams = sys.stdout, sys.stderr = _stream(1), _stream(2)
        sys.setrecursionlimit(self._recursion)
        with contextlib.suppress(OSError):  # the folder may be gone
            os.chdir(self._folder)
        return streams


def _stream(fd: int) -> io.TextIOWrapper:
    """Text by lines, as on a terminal: a crash loses no more than the line that was not ended."""
    raw = io.FileIO(fd, "wb", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", errors="backslashreplace", line_buffering=True)


KEEPING = 0.25
"""Part of the memory that calls may keep: a worker that has lost more is replaced, which takes longer than a case."""

UNNOTICED = 40_000_000
"""Bytes that a worker takes more after its first call, for what Python and NumPy import and keep by themselves."""


def limit(memory: int) -> int:
    """Allow no core dumps, and so many bytes of address space more than the process has, where limits are known.

    Returns the bytes that it has.
    """
    taken = taken_by_us()
    if sys.platform != "win32":
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with contextlib.suppress(ValueError, OSError):  # macOS refuses to set it; or a lower one is set
            resource.setrlimit(resource.RLIMIT_AS, (taken + memory, taken + memory))
    return taken


def taken_by_us() -> int:
    """The bytes of address space that this process has; a gigabyte where the platform does not say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 1 << 30


# --- the end of it ---------------------------------------------------------------------------------------------------

GUARDED = sys.platform == "linux"
"""Whether the kernel ends a worker whose parent is gone, and all that it has started."""

_DIE_WITH_PARENT, _ADOPT = 1, 36
"""The numbers of PR_SET_PDEATHSIG and PR_SET_CHILD_SUBREAPER (Linux, sys/prctl.h)."""

ENDING = 5.0
"""Seconds after which what cannot be killed, such as the process of another user, is left."""


def stand_guard() -> None:
    """Return in a child process, where GUARDED. This one waits for the end of the child or of the parent.

    It adopts what the child leaves behind, in whatever session that is, and kills it; then it ends as the child did.
    Code of theirs runs in the child alone, and nothing that it may do to its own process keeps this one from its work.
    """
    if not GUARDED:
        return
    import ctypes  # noqa: PLC0415  # which NumPy imports anyway

    prctl = ctypes.CDLL(None).prctl
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    awaited, parent = {signal.SIGCHLD, signal.SIGTERM, signal.SIGCONT}, os.getppid()
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    prctl(_ADOPT, 1)
    prctl(_DIE_WITH_PARENT, signal.SIGCONT)  # which wakes it where code of theirs has stopped it
    child = os.fork()
    if child == 0:
        prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, awaited)
        return
    status: int | None = None
    try:
        while status is None and os.getppid() == parent and signal.sigwait(awaited) != signal.SIGTERM:
            with contextlib.suppress(ChildProcessError):
                while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                    status = os.waitstatus_to_exitcode(ended[1]) if ended[0] == child else status
        _kill_children()
    finally:
        _end_as(-signal.SIGKILL if status is None else status)


def _end_as(status: int) -> None:
    """End this process as one that ended with an exit code, or with a signal where it is negative."""
    if status < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        with contextlib.suppress(OSError):  # some have no other handler
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


def _kill_children() -> None:
    """Kill the children of this process, and those that it adopts meanwhile, until it has none."""
    deadline = time.monotonic() + ENDING
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < deadline:
            for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split():
                with contextlib.suppress(PermissionError):
                    os.kill(int(child), signal.SIGKILL)
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.001)


def _received(tasks: BinaryIO) -> Iterator[bytes]:
    """The tasks as they come. Where no guard sees to it, a thread ends this process when the parent's pipe breaks."""
    if GUARDED:
        return iter(partial(read, tasks), None)
    queue: SimpleQueue[bytes | None] = SimpleQueue()

    def listen() -> None:
        while (task := read(tasks)) is not None:
            queue.put(task)
        os.killpg(0, signal.SIGKILL) if hasattr(os, "killpg") else os._exit(1)

    threading.Thread(target=listen, name="bncheck-tasks", daemon=True).start()
    return iter(queue.get, None)


# --- one task ------------------------------------------------------------------------------------------------------


def perform(task: bytes, surroundings: Surroundings) -> bytes:
    """The pickled Reply to a pickled task, which is a function and its arguments. Never raises.

    The watchdog is a thread of C, which also ends a worker whose parent is gone.
    """
    streams: tuple[io.TextIOWrapper, ...] = ()
    kept = taken_by_us() - surroundings.taken
    try:
        streams = surroundings.restore()
        faulthandler.dump_traceback_later(surroundings.timeout, exit=True, file=surroundings.trace)
        function, arguments = pickle.loads(task)
        value = function(*arguments)
        answer = _packed(Reply(value, spent=taken_by_us() - surroundings.taken > surroundings.memory * KEEPING))
    except BaseException as error:
        spent = isinstance(error, MemoryError)
        reply = replace(failed(error, surroundings.memory), spent=spent, again=spent and kept > UNNOTICED)
        answer = pickle.dumps(reply)
    if os.getpid() != surroundings.process:
        os._exit(0)  # a fork of theirs, which has come back from the call too
    faulthandler.cancel_dump_traceback_later()
    for stream in (*streams, sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # theirs may be anything by now, or closed
            stream.flush()
    return answer


def _packed(reply: Reply) -> bytes:
    """The Reply pickled, or one with why its value cannot leave the process."""
    try:
        packed = pickle.dumps(reply)
    except MemoryError:
        raise
    except Exception as error:  # pickling runs code of theirs, such as __reduce__, which may raise anything
        return pickle.dumps(Reply(failure=f"its answer cannot leave the worker process ({said(error)})"))
    if len(packed) > LARGEST:
        says = f"its answer has {size(len(packed))}, and {size(LARGEST)} is the most that leaves the worker process"
        return pickle.dumps(Reply(failure=says))
    return packed


def failed(error: BaseException, memory: int = 0) -> Reply:
    """The Reply of a call that raised: a sentence that begins with the place. `memory` is what it might take."""
    place = place_of(error)
    says = said(error)
    if isinstance(error, MemoryError):
        frames = traceback.extract_tb(error.__traceback__)
        who = "it" if any(theirs(frame.filename) for frame in frames) else "the check"
        place = place if who == "it" else ""
        more = f" ({says})" if str(error) else ""
        says = f"{who} ran out of memory, of which it may take {size(memory)}{more}"
    elif isinstance(error, SystemExit):
        says = f"it called sys.exit({exit_argument(error)})"
    return Reply(failure=f"{place}: {says}" if place else says)


def size(count: float) -> str:
    """A number of bytes as people write it: 900 bytes, 16 kB, 1.5 GB."""
    if count < 1000:
        return f"{count:.0f} bytes"
    units = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
    scale, unit = next((scale, unit) for scale, unit in units if count >= 0.9995 * scale)
    return f"{count / scale:.{int(count < 10 * scale)}f} {unit}"


# --- failures in words ---------------------------------------------------------------------------------------------


SAID = 400
"""Characters kept of an exception's own message: NumPy's longest have some 200."""

_OURS = str(Path(__file__).parents[1])

_FRAME = re.compile(r'^  File "(?P<path>.+)", line (?P<line>\d+) in (?P<name>.+)$', re.MULTILINE)
"""A line of the traceback that faulthandler writes."""


def place_of(error: BaseException) -> str:
    """`layers.py:41 backward`: the innermost line of the user's own code on the way to the exception; may be empty."""
    frames = [(frame.filename, frame.lineno or 0, frame.name) for frame in traceback.extract_tb(error.__traceback__)]
    return _innermost(reversed(frames))


def place_in(trace: str) -> str:
    """`layers.py:41 backward`: the innermost line of the user's own code in what faulthandler writes; may be empty."""
    frames = ((found["path"], int(found["line"]), found["name"]) for found in _FRAME.finditer(trace))
    return _innermost(frames)  # most recent call first, unlike a traceback


def said(error: BaseException) -> str:
    """`ValueError: its message` on one line, cut short; an exception whose own `__str__` raises is only named."""
    try:
        message = " ".join(str(error).split())
    except Exception:
        message = ""
    kind = type(error).__name__
    if len(message) > SAID:
        message = message[: SAID - 3] + "..."
    return f"{kind}: {message}" if message else kind


def exit_argument(error: SystemExit) -> str:
    """The argument of the sys.exit that raised it, as Python writes it; empty where there is none."""
    return "" if error.code is None else f"{error.code!r:.40}"


def shown(path: str) -> str:
    """The path as the user would write it: relative where it is below the working directory."""
    try:
        relative = os.path.relpath(path)
    except (OSError, ValueError):  # no working directory any more; another drive
        return path
    return path if relative.startswith(os.pardir) else relative


def theirs(path: str) -> bool:
    """Whether a path is of the user's project: not of bncheck, of Python itself or of an installed package."""
    return not _ours(path) and not _below(path, _installed())


def _innermost(frames: Iterable[tuple[str, int, str]]) -> str:
    """The first frame in the user's code, else the first in an installed package; frames begin with the innermost."""
    outside = [frame for frame in frames if not _ours(frame[0])]
    if not outside:
        return ""
    path, line, name = next((frame for frame in outside if theirs(frame[0])), outside[0])
    return f"{shown(path)}:{line}" if name == "<module>" else f"{shown(path)}:{line} {name}"


def _ours(path: str) -> bool:
    """Whether a path is of bncheck, of Python itself, or no file at all, such as <string>."""
    pythons = _below(path, _library()) and not _below(path, _installed())
    return pythons or path.startswith("<") or _below(path, (_OURS,))


def _below(path: str, folders: Iterable[str]) -> bool:
    return any(path.startswith(folder + os.sep) for folder in folders)


@cache
def _library() -> set[str]:
    """The folders of Python's own modules."""
    return {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")}


@cache
def _installed() -> set[str]:
    """The folders of installed packages; those of the system's own Python may lie below Python's modules."""
    beside = {os.path.join(folder, name) for folder in _library() for name in ("site-packages", "dist-packages")}
    return beside | {sysconfig.get_path(name) for name in ("purelib", "platlib")}
