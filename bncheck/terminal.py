"""What stdout and stderr may do to a run: a reader that leaves, a full disk, an encoding that lacks a character."""

from __future__ import annotations

import io
import os
import sys

TYPE_CHECKING = False  # to import typing would make --version take 1.4 times as long
if TYPE_CHECKING:
    from pathlib import Path
    from typing import TextIO

    from _typeshed import ReadableBuffer


def be_steady() -> None:
    """From now on nothing that stdout and stderr do raises, and where one was closed, nothing is written.

    A reader that has seen enough, like `head`, ends the output and not the verdict. What else keeps stdout from being
    written is kept for `loses_output`. Text that the encoding lacks is shown escaped.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # in this order each takes its own descriptor, the lowest that is free
            descriptor = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115  # open to the end
    sys.stdout, sys.stderr = _steady(sys.stdout), _steady(sys.stderr)


def loses_output() -> bool:
    """Whether something of stdout was lost since the last look, which is then said on stderr."""
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if not isinstance(raw, _SteadyFile) or not raw.reason:
        return False
    print(f"error: stdout cannot be written: {raw.reason}", file=sys.stderr)
    raw.reason = ""
    return True


class _SteadyFile(io.FileIO):
    """Takes whatever is written. `reason` is why some of it was lost that somebody waits for."""

    reason = ""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            pass
        except OSError as error:
            self.reason = error.strerror or str(error)
        return memoryview(data).nbytes


def _steady(stream: TextIO) -> TextIO:
    """The same stream on a file that takes everything. What is no plain file stays, as a console of Windows."""
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    stream.reconfigure(errors="backslashreplace")
    if type(getattr(stream.buffer, "raw", stream.buffer)) is not io.FileIO:
        return stream
    file = io.BufferedWriter(_SteadyFile(stream.fileno(), "w", closefd=False))
    at_once = stream.line_buffering or stream.write_through
    return io.TextIOWrapper(file, stream.encoding, "backslashreplace", line_buffering=at_once)


# --- files ----------------------------------------------------------------------------------------------------


def unwritable(path: Path) -> str:
    """Why nothing can be written there, found out before the work; empty where it can. Leaves no new file."""
    try:
        new = not path.exists()
        path.open("a").close()
        if new:
            path.resolve().unlink()  # a link that led nowhere is left
    except OSError as error:
        return _not_written(path, error)
    return ""


def write_file(path: Path, text: str) -> str:
    """Write it, in UTF-8. Returns why that failed; empty where it did not."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        return _not_written(path, error)
    return ""


def _not_written(path: Path, error: OSError) -> str:
    return f"error: --output {path} cannot be written: {error.strerror}"
