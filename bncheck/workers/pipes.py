"""What a worker prints: one pipe, drained all the time, of which the beginning and the end are kept."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import BinaryIO

# --- messages ---------------------------------------------------------------------------------------------------


HEAD = 8
"""Bytes of the number, the greatest first. So the first is 0, which no text has: a frame is told from a traceback."""


def head(data: bytes) -> bytes:
    """What stands before data in its frame."""
    return len(data).to_bytes(HEAD, "big")


def read(file: BinaryIO) -> bytes | None:
    """The data of the next frame; None where the file ends before the end of it."""
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


KEPT = 8192
"""Bytes kept of the beginning, and as many of the end: a screen or two of each, which is more than anybody reads."""

_CHUNK = 65536
"""Bytes read at once: what a pipe holds on Linux."""

_PATIENCE = 5.0
"""Seconds to wait for the pipe to run dry. Only a process that outlived its worker, and prints on, needs so long."""


class Excerpt:
    """The first and the last KEPT bytes of what was added, and how many there were."""

    def __init__(self) -> None:
        self._head = b""
        self._tail = b""
        self._size = 0

    def add(self, data: bytes) -> None:
        self._size += len(data)
        missing = KEPT - len(self._head)
        self._head += data[:missing]
        self._tail = (self._tail + data[missing:])[-KEPT:]

    def text(self) -> str:
        """What was kept, with the size of what was left out in its middle."""
        left_out = self._size - len(self._head) - len(self._tail)
        gap = f"\n... {size(left_out)} left out ...\n".encode() if left_out else b""
        return (self._head + gap + self._tail).decode("utf-8", "replace")


class Capture:
    """A pipe and the thread that drains it, so that whoever prints never waits and never fills a disk.

    `end` is the file to print into.
    """

    def __init__(self) -> None:
        self._read_end, self.end = os.pipe()
        self._mark = os.urandom(24)
        self._marked = threading.Event()
        self._closing = False
        self._collected = self._running = Excerpt()
        self._thread = threading.Thread(target=self._drain, name="bncheck-capture", daemon=True)
        self._thread.start()

    def collect(self) -> str:
        """What was printed since the last time.

        The mark at its end is written by us, not by the worker, who may be dead. A pipe keeps the order, so all that
        stands before the mark was printed before; nobody who prints can know the mark.
        """
        self._marked.clear()
        os.write(self.end, self._mark)
        self._marked.wait(_PATIENCE)
        return self._collected.text()

    def close(self) -> None:
        """Stop draining, and close both ends."""
        self._closing = True
        self.collect()
        self._thread.join(_PATIENCE)
        os.close(self.end)
        os.close(self._read_end)

    def _drain(self) -> None:
        pending = b""
        while not (self._closing and self._marked.is_set()):
            pending += os.read(self._read_end, _CHUNK)
            while self._mark in pending:
                before, _, pending = pending.partition(self._mark)
                self._running.add(before)
                self._collected, self._running = self._running, Excerpt()
                self._marked.set()
            # The end may be the first part of a mark, which a read has cut in two.
            certain = max(0, len(pending) - len(self._mark) + 1)
            self._running.add(pending[:certain])
            pending = pending[certain:]


def size(count: float) -> str:
    """A number of bytes as people write it: 900 bytes, 16 kB, 1.5 GB."""
    if count < 1000:
        return f"{count:.0f} bytes"
    units = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
    scale, unit = next((scale, unit) for scale, unit in units if count >= 0.9995 * scale)
    return f"{count / scale:.1f} {unit}" if count < 10 * scale else f"{count / scale:.0f} {unit}"
