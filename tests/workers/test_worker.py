"""Frames on a pipe that other things may be printed on, and sizes as people write them."""

from __future__ import annotations

from io import BytesIO

import pytest

from bncheck.workers.worker import read, size, take, write

MESSAGES = [b"", b"one", bytes(1000), b"\x00\x00\x00\x00\x00\x00\x00\x03abc"]


def written(*messages: bytes) -> bytes:
    file = BytesIO()
    for message in messages:
        write(file, message)
    return file.getvalue()


def test_what_is_written_is_read() -> None:
    file = BytesIO(written(*MESSAGES))
    assert [read(file) for _ in MESSAGES] == MESSAGES
    assert read(file) is None


@pytest.mark.parametrize("length", range(11))
def test_a_frame_that_breaks_off_is_none(length: int) -> None:
    assert read(BytesIO(written(b"abc")[:length])) is None


def test_frames_are_taken_wherever_they_are_cut() -> None:
    heard, taken = bytearray(), []
    for byte in written(*MESSAGES):
        heard.append(byte)
        taken += [bytes(data) for data in take(heard)]
    assert taken == MESSAGES
    assert not heard


def test_text_before_a_frame_is_dropped_and_text_behind_the_last_one_stays() -> None:
    heard = bytearray(b"hello\n" + written(b"one") + b"warning\n" + written(b"two") + b"Timeout (0:00:01)!\n")
    assert list(take(heard)) == [b"one", b"two"]
    assert heard == b"Timeout (0:00:01)!\n"


SIZES = {0: "0 bytes", 999: "999 bytes", 1000: "1.0 kB", 16_384: "16 kB", 5e8: "500 MB", 1e9: "1.0 GB", 1e11: "100 GB"}


@pytest.mark.parametrize(("count", "text"), SIZES.items(), ids=SIZES.values())
def test_a_size_reads_as_people_write_it(count: float, text: str) -> None:
    assert size(count) == text
