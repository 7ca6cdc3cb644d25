"""Streams and files that may fail: a reader that leaves, a full disk, an encoding that lacks a character."""

from __future__ import annotations

import io
import os
import sys

TYPE_CHECKING = False  # as type checkers read it, see __main__.py
if TYPE_CHECKING:
    from pathlib import Path
    from typing import TextIO

    from _typeshed import ReadableBuffer


def be_steady() -> None:
    """Replace stdout and stderr by streams that never raise; one that is closed is replaced by one that drops it all.

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
    """A file that takes whatever is written. `reason` says why something was lost that somebody waits for."""

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
    """The stream on a file that takes everything. One that is no plain file stays, such as a console of Windows."""
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
    """The message that says why --output cannot be written, before the work; empty where it can. Leaves no new file."""
    try:
        new = not path.exists()
        path.open("a").close()
        if new:
            path.resolve().unlink()  # a link that led nowhere is left
    except OSError as error:
        return _not_written(path, error)
    return ""


def write_file(path: Path, text: str) -> str:
    """Write text to a file in UTF-8. Returns the message that says why that failed; empty where it did not."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        return _not_written(path, error)
    return ""


def _not_written(path: Path, error: OSError) -> str:
    return f"error: --output {path} cannot be written: {error.strerror}"
