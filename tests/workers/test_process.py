"""The output of a worker process, as it is kept."""

from __future__ import annotations

import os

from bncheck.workers.process import Capture


def test_a_capture_keeps_what_is_short_as_it_is() -> None:
    capture = Capture()
    os.write(capture.end, "größer\n".encode())
    assert capture.collect() == "größer\n"
    assert capture.collect() == ""
    capture.close()
