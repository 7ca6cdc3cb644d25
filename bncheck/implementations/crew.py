"""The one worker of a workshop, in pebble's hands, with the pipes that it prints into."""

from __future__ import annotations

import pickle
import signal
import sys
from concurrent.futures import Future, wait
from concurrent.futures.process import BrokenProcessPool
from io import BytesIO

from pebble import CONSTS, ProcessExpired, ProcessPool

from bncheck.implementations.capture import Capture
from bncheck.implementations.culprit import place_in, said
from bncheck.implementations.outcome import Outcome
from bncheck.implementations.worker import ENDED, Reply, WorkerContext, equip, kill_children, perform

GRACE = 0.5
"""Seconds between the watchdog in the worker, which knows the line that hangs, and pebble's, which needs no help."""

STARTING = 60.0
"""Seconds that a worker may take to start: NumPy from a cold network disk."""

_LOOK = 0.2
"""Seconds between looks while waiting: on Windows, ctrl-C does not interrupt a wait."""

_SIGNALS = {
    "SIGSEGV": "it used memory that is not its own, or recursed too deeply for the stack",
    "SIGBUS": "it used memory that is not there",
    "SIGABRT": "it aborted",
    "SIGFPE": "an integer was divided by zero",
    "SIGILL": "the processor does not know an instruction of it",
    "SIGKILL": "it was killed; perhaps the machine ran out of memory",
    "SIGXCPU": "it used up its processor time",
}

# Seconds after which pebble looks again whether a worker has died, or shall stop. Its own 0.1 would be felt at the end
# of every run, and a look takes some 20 microseconds.
CONSTS.sleep_unit = 0.02


class NotTaken(Exception):  # noqa: N818 - a message between us and the workshop, which nobody else sees
    """The worker died before it took the task: nothing of the task was done."""


class Crew:
    """A pool of one worker."""

    def __init__(self, memory: int) -> None:
        self._output, self._trace = Capture(), Capture()
        ends = (self._output.end, self._trace.end, memory)
        self._pool = ProcessPool(max_workers=1, initializer=equip, initargs=ends, context=WorkerContext())

    def outcome(self, task: bytes, timeout: float) -> Outcome:
        """What became of a pickled task. Raises NotTaken, after which the crew is of no more use."""
        reply = self._reply(task, timeout)
        return Outcome(reply.value, reply.failure, reply.kind, self._output.collect())

    def dismiss(self) -> None:
        """Stop the worker at once."""
        self._pool.stop()  # type: ignore[no-untyped-call] # pebble has left it without types
        self._pool.join()
        self._output.close()
        self._trace.close()

    def _reply(self, task: bytes, timeout: float) -> Reply:
        slow = f"it took longer than {timeout:g} s and was stopped"
        try:
            future = self._pool.schedule(perform, (task, timeout), timeout=timeout + GRACE)
            return _unpacked(_awaited(future, timeout + GRACE + STARTING))
        except (BrokenProcessPool, RuntimeError) as error:  # the latter where the pool has noticed before we asked
            raise NotTaken from error
        except TimeoutError:
            return Reply(None, slow, "timeout")
        except ProcessExpired as expired:
            kill_children(expired.pid)
            trace = self._trace.collect()
            if trace.startswith("Timeout ("):
                return Reply(None, _at(place_in(trace), slow), "timeout")
            return Reply(None, _at(place_in(trace), _ending(expired.exitcode)), "crashed")


def _awaited(future: Future[bytes], seconds: float) -> bytes:
    """The result. Raises TimeoutError also where pebble, which should have, has not."""
    left = seconds
    while left > 0 and not wait((future,), _LOOK).done:
        left -= _LOOK
    return future.result(timeout=0)


class _Replies(pickle.Unpickler):
    """Reads a reply without importing anything for it: other people's code has run where it comes from."""

    def find_class(self, module: str, name: str) -> object:
        if module not in sys.modules:
            raise pickle.UnpicklingError(f"a {module}.{name} is in it")
        return super().find_class(module, name)


def _unpacked(packed: bytes) -> Reply:
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
    if exitcode == ENDED or exitcode > 0:
        return f"it ended the process with status {exitcode % ENDED} (os._exit)"
    try:
        name = signal.Signals(-exitcode).name
    except ValueError:
        name = f"signal {-exitcode}"
    meaning = f" ({_SIGNALS[name]})" if name in _SIGNALS else ""
    return f"the process was ended by {name}{meaning}"
