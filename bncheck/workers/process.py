"""A Python process of our own, with frames that go to it and frames that come back."""

from __future__ import annotations

import contextlib
import marshal
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from queue import Empty, SimpleQueue

from bncheck.workers import pipes

START = (
    "import gc, marshal, os, sys; gc.disable(); frames = os.fdopen(os.dup(0), 'rb'); "
    "sys.path[:], module, given = marshal.load(frames); __import__(module); sys.modules[module].work(frames, *given)"
)
"""What the process runs. Nothing but built-in modules is imported before its path is ours.

Garbage is not collected until the module says so: a fifth of what the imports would take.
"""

_CHUNK = 65536
"""Bytes read at once: what a pipe holds on Linux."""

_LOOK = 0.2
"""Seconds between looks while waiting: on Windows, ctrl-C does not interrupt a wait."""

_PATIENCE = 5.0
"""Seconds to wait for a killed process to be gone. Only one that the system cannot end needs so long."""


class NotStartedError(Exception):
    """There is no process; the message says why."""


class Channel:
    """The process, in a session of its own: an interrupt from the terminal does not reach it.

    It begins with `module.work(frames, *given)`: `frames` is what it reads from, and it answers on its stdout; what it
    prints on its stderr goes to the file `output`. `given` are numbers. Raises NotStartedError.
    """

    def __init__(self, module: str, given: tuple[float, ...], output: int, environment: Mapping[str, str]) -> None:
        self._read_end, self._write_end = os.pipe()
        try:
            self._process = subprocess.Popen(
                _command(),
                stdin=subprocess.PIPE,
                stdout=self._write_end,
                stderr=output,
                env=environment,
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        except BaseException as error:
            os.close(self._read_end)
            os.close(self._write_end)
            if isinstance(error, OSError):
                raise NotStartedError(f"{sys.executable}: {error.strerror}") from None
            raise
        self.last_words = ""
        self._frames: SimpleQueue[bytearray | None] = SimpleQueue()
        self._goodbye = os.urandom(24)
        self._ended = threading.Event()
        path = [entry for entry in sys.path if isinstance(entry, str)]
        self._hand_over(marshal.dumps((path, module, given)))
        self._threads = [_employed(self._listen), _employed(self._see_off)]

    @property
    def exitcode(self) -> int | None:
        """The exit status, or the signal with a minus; None while it runs."""
        return self._process.returncode

    def send(self, data: bytes) -> None:
        """Send a frame, in a thread: a process that does not read must not hold us up."""
        self._threads[2:] = [_employed(self._hand_over, pipes.head(data), data)]

    def receive(self, seconds: float) -> bytearray | None:
        """The next frame; None where the process has ended, and all that it sent was received. Raises TimeoutError.

        After None, `exitcode` and `last_words` are known: the text that stood behind its last frame.
        """
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(Empty):
                return self._frames.get(timeout=min(left, _LOOK))
        raise TimeoutError

    def kill(self) -> None:
        """End the process, and what it has started: code that hangs does not listen to a polite request."""
        if self._process.returncode is None:  # else its number may be somebody else's
            self._kill_group()
            self._process.kill()

    def close(self) -> None:
        """Kill it, wait until it is gone, and close the pipes."""
        self.kill()
        for thread in self._threads:
            thread.join(_PATIENCE)
        if any(thread.is_alive() for thread in self._threads):
            return  # closing a file that a thread is waiting for might close another one
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # what it did not read is still to be written
            self._process.stdin.close()
        os.close(self._read_end)
        os.close(self._write_end)

    def _hand_over(self, *parts: bytes) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(OSError):  # it has ended, as whoever waits for an answer is told
            stdin.writelines(parts)
            stdin.flush()

    def _listen(self) -> None:
        """Read until the goodbye: not until the end of the file, which a process that outlived it may hold open."""
        heard = bytearray()
        over = False
        while not over:
            heard += os.read(self._read_end, _CHUNK)
            over = heard.endswith(self._goodbye)
            if over:
                del heard[-len(self._goodbye) :]
            elif self._ended.is_set():
                continue  # the first part of the goodbye is no part of a frame
            for data in pipes.take(heard):
                self._frames.put(data)
        self.last_words = heard.decode("utf-8", "replace")
        self._frames.put(None)

    def _see_off(self) -> None:
        """Wait for the end, kill what the process has left behind, and say goodbye where it answered.

        A pipe keeps the order: whatever it sent stands before the goodbye.
        """
        self._process.wait()
        self._kill_group()
        self._ended.set()
        os.write(self._write_end, self._goodbye)

    def _kill_group(self) -> None:
        if sys.platform != "win32":
            with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS may not kill what is dead already
                os.killpg(self._process.pid, signal.SIGKILL)


def _employed(function: Callable[..., None], *arguments: bytes) -> threading.Thread:
    thread = threading.Thread(target=function, args=arguments, name="bncheck-channel", daemon=True)
    thread.start()
    return thread


def _command() -> list[str]:
    """This interpreter with its options. Raises NotStartedError."""
    if not sys.executable:
        raise NotStartedError("sys.executable is empty, and names no Python to start")
    # Private, and what multiprocessing starts its own processes with.
    options: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return [sys.executable, *options, "-c", START]
