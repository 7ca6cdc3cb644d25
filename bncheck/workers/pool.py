"""Where other people's code runs: in a worker process that it cannot take us down with, or in this one."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from types import FrameType, TracebackType
from typing import Self

from bncheck.workers.culprit import place_in, said
from bncheck.workers.pipes import Capture
from bncheck.workers.process import Channel, NotStartedError
from bncheck.workers.worker import BLAS_THREADS, Reply, Task, failed

# --- outcomes ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one call.

    `failure` is a sentence that says why there is no value, and is empty where there is one; `kind` is then one of
    raised, timeout, crashed, memory. `output` is what was printed meanwhile, its middle left out where it is long.
    """

    value: object | None = None
    failure: str = ""
    kind: str = ""
    output: str = ""


# --- interrupts -------------------------------------------------------------------------------------------------


class Interrupted(KeyboardInterrupt):
    """The user has pressed ctrl-C, and means all of the work: not the one call that it struck."""


@contextlib.contextmanager
def telling_apart() -> Iterator[None]:
    """While this lasts, ctrl-C raises Interrupted; what leaves this is a KeyboardInterrupt as ever.

    Changes nothing where signals are not ours to handle: in another thread than the main one, and where somebody
    handles SIGINT already.
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


# --- one worker process -----------------------------------------------------------------------------------------


GRACE = 0.5
"""Seconds between the watchdog in the worker, which knows the line that hangs, and ours, which needs no help."""

STARTING = 60.0
"""Seconds that a worker may take to start: NumPy from a cold network disk."""

TAKING = 20.0
"""Seconds that a worker may take to read a task: what an earlier one left running may hold it up for ever."""

_WORKER = "bncheck.workers.worker"

_SIGNALS = {
    "SIGSEGV": "it used memory that is not its own, or recursed too deeply for the stack",
    "SIGBUS": "it used memory that is not there",
    "SIGABRT": "it aborted",
    "SIGFPE": "an integer was divided by zero",
    "SIGILL": "the processor does not know an instruction of it",
    "SIGKILL": "it was killed; perhaps the machine ran out of memory",
    "SIGXCPU": "it used up its processor time",
}


class NotTaken(Exception):  # noqa: N818 - a message between us and the workshop, which nobody else sees
    """The worker died before it took the task: nothing of the task was done."""


class Crew:
    """One worker, from its start to its end.

    `timeout` is in seconds for a task, `memory` in bytes. Raises NotStartedError.
    """

    def __init__(self, timeout: float, memory: int) -> None:
        self.gone = False
        self._timeout = timeout
        self._output = Capture()
        # BLAS reads its variables when NumPy is imported, so they must be there before the process is.
        environment = os.environ | dict.fromkeys(BLAS_THREADS, "1")
        try:
            self._channel = Channel(_WORKER, (timeout, memory), self._output.end, environment)
        except BaseException:
            self._output.close()
            raise
        try:
            self._greet()
        except BaseException:
            self.dismiss()
            raise

    def outcome(self, task: bytes) -> Outcome:
        """What became of a pickled task; where it cost the worker, that is `gone`.

        Raises NotTaken, after which the crew is of no more use.
        """
        reply = self._reply(task)
        return Outcome(reply.value, reply.failure, reply.kind, self._output.collect())

    def dismiss(self) -> None:
        """Stop the worker at once."""
        self._channel.close()
        self._output.close()

    def _greet(self) -> None:
        """Wait until the worker is ready, and forget what its interpreter said until then."""
        try:
            ready = self._channel.receive(STARTING)
        except TimeoutError:
            raise NotStartedError(f"{sys.executable} is not ready after {STARTING:g} s") from None
        said_before = self._output.collect().strip()
        if ready is None:
            last = said_before.rpartition("\n")[2]
            quoted = f", and its last line was: {last}" if last else ""
            raise NotStartedError(f"{sys.executable} ended with status {self._channel.exitcode}{quoted}")

    def _reply(self, task: bytes) -> Reply:
        self._channel.send(task)
        try:
            taken = self._channel.receive(TAKING)
        except TimeoutError:
            taken = None
        if taken is None:
            raise NotTaken
        slow = f"it took longer than {self._timeout:g} s and was stopped"
        try:
            answer = self._channel.receive(self._timeout + GRACE)
        except TimeoutError:
            self.gone = True
            self._channel.kill()
            return Reply(None, slow, "timeout")
        if answer is not None:
            return _unpacked(answer)
        self.gone = True
        trace, exitcode = self._channel.last_words, self._channel.exitcode
        assert exitcode is not None
        if trace.startswith("Timeout ("):
            return Reply(None, _at(place_in(trace), slow), "timeout")
        return Reply(None, _at(place_in(trace), _ending(exitcode)), "crashed")


class _Replies(pickle.Unpickler):
    """Reads a reply without importing anything for it: other people's code has run where it comes from."""

    def find_class(self, module: str, name: str) -> object:
        if module not in sys.modules:
            raise pickle.UnpicklingError(f"a {module}.{name} is in it")
        return super().find_class(module, name)


def _unpacked(packed: bytearray) -> Reply:
    try:
        reply = _Replies(BytesIO(packed)).load()
    except Exception as error:
        return Reply(None, f"its answer cannot be read outside the worker process ({said(error)})", "raised")
    assert isinstance(reply, Reply)
    return reply


def _at(place: str, failure: str) -> str:
    return f"{place}: {failure}" if place else failure


def _ending(exitcode: int) -> str:
    """How a worker ended that should not have, in a sentence."""
    if exitcode >= 0:
        return f"it ended the process with status {exitcode} (os._exit)"
    try:
        name = signal.Signals(-exitcode).name
    except ValueError:
        name = f"signal {-exitcode}"
    meaning = f" ({_SIGNALS[name]})" if name in _SIGNALS else ""
    return f"the process was ended by {name}{meaning}"


TRIES = 2
"""Times that a task is offered: a worker may die between two calls, of what the first has left running."""

ALONE = threading.RLock()
"""Held by the one thread that runs code of others in this process: stdout, and what that code may change, is shared."""


class Workshop:
    """A worker process that makes one call after the other, started at the first and again only after it died.

    `timeout` is in seconds for a call; `memory` in bytes, on top of what the worker takes by itself.
    A context manager: at its end there is no worker any more.
    """

    def __init__(self, timeout: float, memory: int) -> None:
        self._timeout = timeout
        self._memory = memory
        self._crew: Crew | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the worker at once, whatever it is doing."""
        crew, self._crew = self._crew, None
        if crew is not None:
            crew.dismiss()

    def call(self, function: Task, *arguments: object) -> Outcome:
        """What a function gives of the arguments over there. Function, arguments and value must pickle.

        Raises only what pickling the arguments raises, and KeyboardInterrupt, after which the worker has stopped.
        """
        task = pickle.dumps((function, arguments))
        for _ in range(TRIES):
            try:
                return self._called(task)
            except NotTaken:
                continue
            except NotStartedError as reason:
                says = f"the worker process does not start: {reason}; check without it (--in-process)"
                return Outcome(None, says, "crashed")
        says = f"the worker process ended {TRIES} times before it took the call; check without it (--in-process)"
        return Outcome(None, says, "crashed")

    def _called(self, task: bytes) -> Outcome:
        crew = self._crew = self._crew or Crew(self._timeout, self._memory)
        try:
            outcome = crew.outcome(task)
        except BaseException:
            self.close()
            raise
        if crew.gone:
            self.close()
        return outcome


class InProcess:
    """The same for a debugger: calls in this process, with no limit of time or memory, stopped by ctrl-C alone.

    What is printed goes to stderr, where a debugger may talk, and stdout is left to the report; `output` is empty.
    A context manager: threads take turns.
    """

    def __enter__(self) -> Self:
        ALONE.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ALONE.release()

    def call(self, function: Task, *arguments: object) -> Outcome:
        """What a function gives of the arguments. KeyboardInterrupt alone goes through."""
        try:
            with contextlib.redirect_stdout(sys.stderr):
                return Outcome(function(*arguments))
        except (Exception, SystemExit) as error:
            reply = failed(error)
            return Outcome(None, reply.failure, reply.kind)
