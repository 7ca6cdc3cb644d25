"""The one worker of a workshop: how it is started, what it is asked, and what becomes of it."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from io import BytesIO

from bncheck.implementations.capture import Capture
from bncheck.implementations.channel import Channel, NotStartedError
from bncheck.implementations.culprit import place_in, said
from bncheck.implementations.outcome import Outcome
from bncheck.implementations.worker import BLAS_THREADS, Reply

GRACE = 0.5
"""Seconds between the watchdog in the worker, which knows the line that hangs, and ours, which needs no help."""

STARTING = 60.0
"""Seconds that a worker may take to start: NumPy from a cold network disk."""

TAKING = 20.0
"""Seconds that a worker may take to read a task: what an earlier one left running may hold it up for ever."""

_WORKER = "bncheck.implementations.worker"

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
