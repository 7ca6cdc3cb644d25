"""Calls of other people's code: in a worker process that it cannot take us down with, or in this process."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from types import FrameType
from typing import Self

from bncheck.workers.process import Channel, NotStartedError
from bncheck.workers.worker import BLAS_THREADS, INSIDE, Interrupted, Reply, Task, failed, place_in, said

TRIES = 2
"""Times that a task is offered: a worker may die between two calls, of what the first has left running."""

GRACE = 0.5
"""Seconds between the watchdog in the worker, which knows the line that hangs, and ours, which needs no help."""

STARTING = 60.0
"""Seconds that a worker may take to start: NumPy from a cold network disk."""

TAKING = 20.0
"""Seconds that a worker may take to read a task: what an earlier one left running may hold it up for ever."""


STOPPED = Reply(failure="it was stopped with all of the run")
"""The reply to a call that nobody waits for any more."""


class Pool:
    """Worker processes that make one call after the other: one for each thread that calls at the same time.

    A worker is started when none is free, and again only after it died. `timeout` is in seconds for a call; `memory`
    in bytes, on top of what the worker takes by itself. A context manager: at its end there is no worker any more.
    """

    def __init__(self, timeout: float, memory: int) -> None:
        self._timeout = timeout
        self._memory = memory
        self._free: list[Channel] = []
        self._calling: list[Channel] = []
        self._stopped = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    @property
    def limits(self) -> tuple[float, int]:
        """The limits of time and memory."""
        return self._timeout, self._memory

    def start(self) -> Self:
        """Start a worker, and do not wait for it: it imports NumPy while this process does other things."""
        with contextlib.suppress(NotStartedError):  # the first call says so
            self._free.append(self._new())
        return self

    def stop(self) -> None:
        """Kill the workers that are making calls: those calls fail, and so does every later one."""
        self._stopped = True
        for worker in tuple(self._calling):
            worker.kill()

    def close(self) -> None:
        """Stop the workers at once, whatever they are doing. No other thread may be calling."""
        while self._free:
            self._free.pop().close()

    def call(self, function: Task, *arguments: object) -> Reply:
        """The value that a function gives of the arguments in a worker, or the failure, with what was printed.

        Function, arguments and value must pickle. Raises only what pickling the arguments raises, and
        KeyboardInterrupt, after which the worker has stopped.
        """
        task = pickle.dumps((function, arguments))
        reply: Reply | None = None
        for _ in range(TRIES):
            if self._stopped:
                return STOPPED
            try:
                with self._worker() as worker:  # while it was started, all may have been stopped
                    reply = STOPPED if self._stopped else self._reply(worker, task)
            except NotStartedError as reason:
                says = f"the worker process does not start: {reason}; check without it (--in-process)"
                return Reply(failure=says)
            if reply is not None and not reply.again:
                return reply
        if reply is not None:
            return reply
        says = f"the worker process ended {TRIES} times before it took the call; check without it (--in-process)"
        return Reply(failure=says)

    @contextlib.contextmanager
    def _worker(self) -> Iterator[Channel]:
        """A worker for this thread alone, started where none is free. Raises NotStartedError.

        It is free again afterwards, unless it was closed meanwhile.
        """
        try:
            worker = self._free.pop()
        except IndexError:
            worker = self._new()
        self._calling.append(worker)
        try:
            if not worker.is_ready:
                _wait_until_ready(worker)
            yield worker
        except BaseException:
            worker.close()
            raise
        finally:
            self._calling.remove(worker)
            if not worker.is_closed:
                self._free.append(worker)

    def _new(self) -> Channel:
        if INSIDE in os.environ:
            raise NotStartedError("this is one already, and they would start each other without end")
        # BLAS reads its variables when NumPy is imported, so they must be there before the process is.
        return Channel(self.limits, os.environ | dict.fromkeys((*BLAS_THREADS, INSIDE), "1"))

    def _reply(self, worker: Channel, task: bytes) -> Reply | None:
        """The reply to a pickled task; None where the worker died before it took the task: nothing of it was done.

        The worker is closed where the task ended it.
        """
        worker.send(task)
        try:
            taken = worker.receive(TAKING)
        except TimeoutError:
            taken = None
        if taken is None:
            worker.close()
            return None
        failure = f"it took longer than {self._timeout:g} s and was stopped"
        try:
            answer = worker.receive(self._timeout + GRACE)
        except TimeoutError:
            worker.kill()
        else:
            if answer is not None:
                reply = replace(_unpacked(answer), output=worker.output.collect())
                if reply.spent:
                    worker.close()
                return reply
            trace = worker.last_words
            place = place_in(trace)
            ending = failure if trace.startswith("Timeout (") else _ending(worker.exitcode)
            failure = f"{place}: {ending}" if place else ending
        reply = Reply(failure=failure, output=worker.output.collect())
        worker.close()
        return reply


def _wait_until_ready(worker: Channel) -> None:
    """Wait for the first frame, and forget what the interpreter prints until then. Raises NotStartedError."""
    try:
        ready = worker.receive(STARTING)
    except TimeoutError:
        raise NotStartedError(f"{sys.executable} is not ready after {STARTING:g} s") from None
    printed = worker.output.collect().strip()
    if ready is None:
        last = printed.rpartition("\n")[2]
        quoted = f", and its last line was: {last}" if last else ""
        raise NotStartedError(f"{sys.executable} ended with status {worker.exitcode}{quoted}")
    worker.is_ready = True


class _Replies(pickle.Unpickler):
    """Reads a reply without importing anything for it: other people's code has run where it comes from."""

    def find_class(self, module: str, name: str) -> object:
        if module not in sys.modules:
            raise pickle.UnpicklingError(f"a {module}.{name} is in it")
        return super().find_class(module, name)


def _unpacked(packed: bytearray) -> Reply:
    """The reply in a frame, or why it cannot be read."""
    try:
        reply = _Replies(BytesIO(packed)).load()
    except Exception as error:  # unpickling runs whatever their bytes name, which may raise anything
        return Reply(failure=f"its answer cannot be read outside the worker process ({said(error)})")
    assert isinstance(reply, Reply)
    return reply


_SIGNALS = {
    "SIGSEGV": "it used memory that is not its own, or recursed too deeply for the stack",
    "SIGBUS": "it used memory that is not there",
    "SIGABRT": "it aborted",
    "SIGFPE": "an integer was divided by zero",
    "SIGILL": "the processor does not know an instruction of it",
    "SIGKILL": "it was killed; perhaps the machine ran out of memory",
    "SIGXCPU": "it used up its processor time",
}
"""Meanings of the signals that end a process."""


def _ending(exitcode: int) -> str:
    """A sentence on how a worker ended that should not have."""
    if exitcode >= 0:
        return f"it ended the process with status {exitcode} (os._exit)"
    try:
        name = signal.Signals(-exitcode).name
    except ValueError:
        name = f"signal {-exitcode}"
    meaning = f" ({_SIGNALS[name]})" if name in _SIGNALS else ""
    return f"the process was ended by {name}{meaning}"


# --- in this process --------------------------------------------------------------------------------------------------

ALONE = threading.RLock()
"""Held by the one thread that runs code of others in this process: stdout, and what that code may change, is shared."""


class InProcess:
    """Calls in this process, for a debugger: with no limit of time or memory, stopped by ctrl-C alone.

    Prints go to stderr, where a debugger may talk, and stdout is left to the report; the `output` of a reply is empty.
    A context manager: threads take turns.
    """

    def __enter__(self) -> Self:
        ALONE.acquire()
        return self

    def __exit__(self, *raised: object) -> None:
        ALONE.release()

    def call(self, function: Task, *arguments: object) -> Reply:
        """The value that a function gives of the arguments, or the failure. KeyboardInterrupt alone goes through."""
        recursion = sys.getrecursionlimit()
        try:  # what they put in the place of the streams is theirs alone
            with contextlib.redirect_stderr(sys.stderr), contextlib.redirect_stdout(sys.stderr):
                return Reply(function(*arguments))
        except (Exception, SystemExit) as error:
            return failed(error)
        finally:
            sys.setrecursionlimit(recursion)


# --- interrupts -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def interrupts_told_apart() -> Iterator[None]:
    """Raise Interrupted on ctrl-C while this lasts; what leaves this is a KeyboardInterrupt as ever.

    So a KeyboardInterrupt that their code raises is told from the user's. Changes nothing where signals are not ours
    to handle: in another thread than the main one, and where somebody handles SIGINT already.
    """
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    except Interrupted:
        raise KeyboardInterrupt from None
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted
