"""Frames on a pipe that other things may be printed on."""

from __future__ import annotations

from io import BytesIO

import pytest

from bncheck.workers import pipes

MESSAGES = [b"", b"one", bytes(1000), b"\x00\x00\x00\x00\x00\x00\x00\x03abc"]


def written(*messages: bytes) -> bytes:
    file = BytesIO()
    for message in messages:
        pipes.write(file, message)
    return file.getvalue()


def test_what_is_written_is_read() -> None:
    file = BytesIO(written(*MESSAGES))
    assert [pipes.read(file) for _ in MESSAGES] == MESSAGES
    assert pipes.read(file) is None


@pytest.mark.parametrize("length", range(11))
def test_a_frame_that_breaks_off_is_none(length: int) -> None:
    assert pipes.read(BytesIO(written(b"abc")[:length])) is None


def test_frames_are_taken_wherever_they_are_cut() -> None:
    heard, taken = bytearray(), []
    for byte in written(*MESSAGES):
        heard.append(byte)
        taken += [bytes(data) for data in pipes.take(heard)]
    assert taken == MESSAGES
    assert not heard


def test_text_before_a_frame_is_dropped_and_text_behind_the_last_one_stays() -> None:
    heard = bytearray(b"hello\n" + written(b"one") + b"warning\n" + written(b"two") + b"Timeout (0:00:01)!\n")
    assert list(pipes.take(heard)) == [b"one", b"two"]
    assert heard == b"Timeout (0:00:01)!\n"
