"""A Python process of our own: the frames that go to it, the frames that come back, and what it prints."""

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

from bncheck.workers.worker import GUARDED, head, size, take

START = (
    "import gc, marshal, os, sys; gc.disable(); frames = os.fdopen(os.dup(0), 'rb'); "
    "sys.path[:], given = marshal.load(frames); "
    "from bncheck.workers.worker import stand_guard, work; stand_guard(); "
    "import bncheck.discovery, numpy; numpy.eye(2) @ numpy.eye(2); work(frames, *given)"
)
"""The program of the process. Nothing but built-in modules is imported before its path is ours.

What nearly every task needs, NumPy with it, is imported before time and memory are counted, and while the parent
imports it too; and BLAS takes its buffer. Garbage is not collected until the worker says so, see `__main__.py`.
"""

CHUNK = 65536
"""Bytes read at once: what a pipe holds on Linux."""

LOOK = 0.2
"""Seconds between looks while waiting: on Windows, ctrl-C does not interrupt a wait."""

LONGEST_WAIT = 5.0
"""Seconds to wait for a killed process to be gone, and for its output to end.

Only a process that the system cannot end needs so long, or one that outlived the worker and prints on.
"""


class NotStartedError(Exception):
    """There is no process; the message says why."""


class Channel:
    """The process, in a session of its own: an interrupt from the terminal does not reach it.

    It runs `work(frames, *given)`, of two numbers; it answers on its stdout, and what it prints on its stderr is
    `output`. Raises NotStartedError.
    """

    def __init__(self, given: tuple[float, int], environment: Mapping[str, str]) -> None:
        self._read_end, self._write_end = os.pipe()
        self.output = Capture()
        try:
            self._process = subprocess.Popen(
                _command(),
                stdin=subprocess.PIPE,
                stdout=self._write_end,
                stderr=self.output.end,
                env=environment,
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        except BaseException as error:
            os.close(self._read_end)
            os.close(self._write_end)
            self.output.close()
            if isinstance(error, OSError):
                raise NotStartedError(f"{sys.executable}: {error.strerror}") from None
            raise
        assert self._process.stdin is not None
        self._stdin = self._process.stdin
        self.is_ready = self.is_closed = False
        self.last_words = ""
        self._frames: SimpleQueue[bytearray | None] = SimpleQueue()
        self._end = os.urandom(24)
        self._ended = threading.Event()
        path = [entry for entry in sys.path if isinstance(entry, str)]
        self._write(marshal.dumps((path, given)))
        self._threads = [_started(self._listen), _started(self._wait)]

    @property
    def exitcode(self) -> int:
        """The exit status of a process that has ended, or the signal with a minus."""
        assert self._process.returncode is not None
        return self._process.returncode

    def send(self, data: bytes) -> None:
        """Send a frame, in a thread: a process that does not read must not hold us up."""
        self._threads[2:] = [_started(self._write, head(data), data)]

    def receive(self, seconds: float) -> bytearray | None:
        """The next frame; None where the process has ended, and all that it sent was received. Raises TimeoutError.

        After None, `exitcode` and `last_words` are known: the text that stood behind its last frame.
        """
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(Empty):
                return self._frames.get(timeout=min(left, LOOK))
        raise TimeoutError

    def kill(self) -> None:
        """End the process, and what it has started. A guard kills those that have left the group, and goes on for it.

        Code that hangs does not listen to a polite request, and may have stopped the whole group.
        """
        if self._process.returncode is None:  # else its number may be somebody else's
            for name in ("SIGTERM", "SIGCONT") if GUARDED else ("SIGKILL",):
                self._signal_group(name)
            if not GUARDED:
                self._process.kill()

    def close(self) -> None:
        """Kill it, wait until it is gone, and close the pipes."""
        self.is_closed = True
        self.kill()
        for thread in self._threads:
            thread.join(LONGEST_WAIT)
        if self._process.returncode is None:
            self._process.kill()
        if not any(thread.is_alive() for thread in self._threads):
            with contextlib.suppress(OSError):  # what it did not read is still to be written
                self._stdin.close()
            # Closing a file that a thread is waiting for might close another one.
            os.close(self._read_end)
            os.close(self._write_end)
        self.output.close()

    def _write(self, *parts: bytes) -> None:
        with contextlib.suppress(OSError):  # it has ended, as whoever waits for an answer is told
            self._stdin.writelines(parts)
            self._stdin.flush()

    def _listen(self) -> None:
        """Read until the end mark, not until the end of the file: a process that outlived it may hold that open."""
        heard = bytearray()
        over = False
        while not over:
            heard += os.read(self._read_end, CHUNK)
            over = heard.endswith(self._end)
            if over:
                del heard[-len(self._end) :]
            elif self._ended.is_set():
                continue  # the first part of the end mark is no part of a frame
            for data in take(heard):
                self._frames.put(data)
        self.last_words = heard.decode("utf-8", "replace")
        self._frames.put(None)

    def _wait(self) -> None:
        """Wait for the exit, kill what the process has left behind, and write the end mark behind its answers.

        A pipe keeps the order: whatever it sent stands before the end mark.
        """
        self._process.wait()
        self._signal_group("SIGKILL")
        self._ended.set()
        os.write(self._write_end, self._end)

    def _signal_group(self, name: str) -> None:
        if sys.platform != "win32":
            with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS may not kill what is dead already
                os.killpg(self._process.pid, signal.Signals[name])


def _command() -> list[str]:
    """This interpreter with its options. Raises NotStartedError."""
    if not sys.executable:
        raise NotStartedError("sys.executable is empty, and names no Python to start")
    # Private, and what multiprocessing starts its own processes with.
    options: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return [sys.executable, *options, "-c", START]


def _started(function: Callable[..., None], *arguments: bytes) -> threading.Thread:
    """A thread that runs the function, and does not keep this process from ending."""
    thread = threading.Thread(target=function, args=arguments, name="bncheck-process", daemon=True)
    thread.start()
    return thread


# --- what the process prints ----------------------------------------------------------------------------------------


KEPT = 8192
"""Bytes kept of the beginning, and as many of the end: a screen or two of each, which is more than anybody reads."""


class Capture:
    """A pipe and the thread that drains it, so that whoever prints never waits and never fills a disk.

    `end` is the file to print into. KEPT bytes of the beginning and of the end are kept.
    """

    def __init__(self) -> None:
        self._read_end, self.end = os.pipe()
        self._mark = os.urandom(24)
        self._marked = threading.Event()
        self._closing = False
        self._collected = self._running = Excerpt()
        self._thread = _started(self._drain)

    def collect(self) -> str:
        """The text that was printed since the last time.

        The mark at its end is written by us, not by the worker, who may be dead. A pipe keeps the order, so all that
        stands before the mark was printed before; nobody who prints can know the mark.
        """
        self._marked.clear()
        os.write(self.end, self._mark)
        self._marked.wait(LONGEST_WAIT)
        return self._collected.text()

    def close(self) -> None:
        """Stop draining, and close both ends."""
        self._closing = True
        self.collect()
        self._thread.join(LONGEST_WAIT)
        os.close(self.end)
        os.close(self._read_end)

    def _drain(self) -> None:
        pending = b""
        while not (self._closing and self._marked.is_set()):
            pending += os.read(self._read_end, CHUNK)
            while self._mark in pending:
                before, _, pending = pending.partition(self._mark)
                self._running.add(before)
                self._collected, self._running = self._running, Excerpt()
                self._marked.set()
            # The end may be the first part of a mark, which a read has cut in two.
            certain = max(0, len(pending) - len(self._mark) + 1)
            self._running.add(pending[:certain])
            pending = pending[certain:]


class Excerpt:
    """The first and the last KEPT bytes of what was added, and how many there were."""

    def __init__(self) -> None:
        self._head = b""
        self._tail = b""
        self._size = 0

    def add(self, data: bytes) -> None:
        """Add data behind what was added before."""
        self._size += len(data)
        missing = KEPT - len(self._head)
        self._head += data[:missing]
        self._tail = (self._tail + data[missing:])[-KEPT:]

    def text(self) -> str:
        """The text that was kept, with the size of what was left out in its middle."""
        left_out = self._size - len(self._head) - len(self._tail)
        gap = f"\n... {size(left_out)} left out ...\n".encode() if left_out else b""
        return (self._head + gap + self._tail).decode("utf-8", "replace")
