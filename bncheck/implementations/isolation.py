"""Where other people's code runs: in a worker process that it cannot take us down with, or in this one."""

from __future__ import annotations

import contextlib
import pickle
import sys
import threading
from types import TracebackType
from typing import Self

from bncheck.implementations.channel import NotStartedError
from bncheck.implementations.crew import Crew, NotTaken
from bncheck.implementations.outcome import Outcome
from bncheck.implementations.worker import Task, failed

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
