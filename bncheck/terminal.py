"""Streams and files that may fail: a reader that leaves, a full disk, an encoding that lacks a character.

And text that may write on the screen: escapes, and characters that hide or reorder what stands around them.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys

TYPE_CHECKING = False  # as type checkers read it, see __main__.py
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

    from _typeshed import ReadableBuffer


_BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
"""Characters of which Python says that they are printable, and which show nothing."""


def escaped(text: str, kept: str = "\n\t") -> str:
    """Text in which all that a terminal would act on, or could not show, is written as its Python escape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        one
        if one in kept or (one.isprintable() and one not in _BLANK)
        else one.encode("unicode_escape").decode("ascii")
        for one in text
    )


def be_steady() -> None:
    """Replace stdout and stderr by streams that never raise; one that is closed is replaced by one that drops it all.

    A reader that has seen enough, like `head`, ends the output and not the verdict. What else keeps stdout from being
    written is kept for `loses_output`. Text that the encoding lacks is shown escaped, and on stderr all that is
    written is, for what is told there may have been written by others.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # in this order each takes its own descriptor, the lowest that is free
            descriptor = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115  # open to the end
    sys.stdout, sys.stderr = _steady(sys.stdout, _Lasting), _steady(sys.stderr, _Escaping)


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


class _Lasting(io.TextIOWrapper):
    """A stream that others cannot close: what they have replaced or closed must not lose what we have to say."""

    def close(self) -> None:
        self.flush()


class _Escaping(_Lasting):
    """A stream on which nobody writes on the screen, but by `unescaped`."""

    def write(self, text: str, /) -> int:
        return super().write(escaped(text))

    def unescaped(self) -> TextIO:
        """The stream for text that may move the cursor, such as a progress bar."""
        return _Lasting(self.buffer, self.encoding, "backslashreplace", line_buffering=True)


def _steady(stream: TextIO, kind: type[_Lasting]) -> TextIO:
    """The stream on a file that takes everything. One that is no plain file stays, such as a console of Windows."""
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    stream.reconfigure(errors="backslashreplace")
    if type(getattr(stream.buffer, "raw", stream.buffer)) is not io.FileIO:
        return stream
    file = io.BufferedWriter(_SteadyFile(stream.fileno(), "w", closefd=False))
    at_once = stream.line_buffering or stream.write_through
    return kind(file, stream.encoding, "backslashreplace", line_buffering=at_once)


def shadowed() -> str:
    """The sentence on a file that has taken the place of a module that is needed; empty where none has."""
    library = os.path.dirname(os.__file__) + os.sep
    for name in ("numpy", "yaml", "rich", "msgspec", "typer", *sorted(sys.stdlib_module_names)):
        file = getattr(sys.modules.get(name), "__file__", None) or library
        is_there = file.startswith(library) if name in sys.stdlib_module_names else file.endswith("__init__.py")
        if not is_there and file != library and "-packages" not in file:
            return f"error: {file} stands in the place of the module {name}, which bncheck needs; rename it"
    return ""


# --- files ----------------------------------------------------------------------------------------------------


def unwritable(path: str, inputs: Iterable[str] = ()) -> str:
    """The message that says why --output cannot be written, before the work; empty where it can. Leaves no new file.

    A file among the `inputs`, under whatever name, is not written over. A pipe or a device is opened at the end alone.
    """
    for read in inputs:
        with contextlib.suppress(OSError):
            if os.path.samefile(path, read):
                return f"error: a report in {path} would write over {read}, which is read; name another file"
    try:
        if path.endswith(os.sep) or os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not _is_special(path):
            os.unlink(_opened_beside(path)[1])
    except OSError as error:
        return _not_written(path, error)
    return ""


def write_file(path: str, text: str) -> str:
    """Write text to a file in UTF-8, whole or not at all, and in the place that a link leads to.

    Returns the message that says why that failed; empty where it did not.
    """
    data, beside = text.encode("utf-8", "backslashreplace"), ""
    try:
        if _is_special(path):
            descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)  # of a pipe without a reader this says so
            os.set_blocking(descriptor, True)
        else:
            descriptor, beside = _opened_beside(path)
        with open(descriptor, "wb") as file:
            file.write(data)
        if beside:
            target = os.path.realpath(path)
            if os.path.exists(target):
                os.chmod(beside, os.stat(target).st_mode & 0o7777)
            os.replace(beside, target)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        return _not_written(path, error)
    return ""


def _is_special(path: str) -> bool:
    """Whether there is something at a path that is written as it stands: a pipe, a device, an open file of /dev/fd."""
    return os.path.exists(path) and (not os.path.isfile(path) or path.startswith(("/dev/", "/proc/")))


def _opened_beside(path: str) -> tuple[int, str]:
    """A new file in the folder of another, open, and its path. Raises OSError, also where the other is read-only."""
    target = os.path.realpath(path)
    if os.path.exists(target):
        os.close(os.open(target, os.O_WRONLY))
    beside = os.path.join(os.path.dirname(target), f".bncheck-{os.getpid()}")
    return os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), beside


def _not_written(path: str, error: OSError) -> str:
    return f"error: {path} cannot be written: {error.strerror}"
