"""How a pipe is cut into messages: a frame is eight bytes that say how many follow, and those."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

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
