"""A file that the user names, as text: whatever cannot be read as one is a mistake, and nothing hangs."""

from __future__ import annotations

import os
import stat
from itertools import islice
from pathlib import Path

from bncheck.config.mistake import Mistakes, Place, Text, quoted, text_of

BYTES = 1_000_000
"""A longer file is refused unread: a config of a thousand cases has a tenth of it."""

_SEEN = 1000
"""Names looked at for the one that was meant: a folder may hold millions."""


def read(path: str | Path, mistakes: Mistakes) -> Text | None:
    """The text under the path as the user gave it, without a byte order mark; None where there is a mistake."""
    try:
        content = _content(path, mistakes)
    except OSError as error:
        mistakes.add(f"{path} cannot be read: {error.strerror or error}", "")
        return None
    except ValueError:
        mistakes.add(f"{quoted(str(path))} cannot be the name of a file", "")
        return None
    if content is None:
        return None
    try:
        return text_of(str(path), content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        # The position is that in the bytes after a mark that utf-8-sig has taken off.
        _not_utf8(path, content, error.start + 3 * content.startswith(b"\xef\xbb\xbf"), mistakes)
        return None


def _content(path: str | Path, mistakes: Mistakes) -> bytes | None:
    """The bytes. Raises OSError, and ValueError for a name that no file can have."""
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        nearest = _nearest(Path(path))
        mistakes.add(f"{path} does not exist", f"did you mean {quoted(nearest)}?" if nearest else "")
        return None
    if stat.S_ISDIR(mode):
        mistakes.add(f"{path} is a folder, expected a file", "name the file in it")
        return None
    if not stat.S_ISREG(mode):
        mistakes.add(f"{path} is a pipe or a device, expected a file", "save it as a file first")
        return None
    with open(path, "rb") as file:
        content = file.read(BYTES + 1)
    if len(content) > BYTES:
        mistakes.add(f"{path} is too long, a config is at most 1 MB", "split it into several files")
        return None
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        mistakes.add(f"{path} is UTF-16, expected UTF-8", "save it as UTF-8")
        return None
    return content


def _nearest(path: Path) -> str | None:
    """The config in the same folder whose name is nearest; None where there is none near."""
    import difflib

    try:
        with os.scandir(path.parent) as entries:
            names = [entry.name for entry in islice(entries, _SEEN) if entry.name.endswith((".yaml", ".yml"))]
    except OSError:
        return None
    near = difflib.get_close_matches(path.name, sorted(names), n=1)
    return str(path.with_name(near[0])) if near else None


def _not_utf8(path: str | Path, content: bytes, position: int, mistakes: Mistakes) -> None:
    before = content[:position].decode("utf-8-sig")
    rest = content[position:].decode("utf-8", errors="backslashreplace")
    text = text_of(str(path), before + rest)
    lines = text_of("", before).lines
    says = f"byte {position} is {content[position]:#04x}, which is not UTF-8"
    mistakes.add(says, "save it as UTF-8", Place(text, len(lines) - 1, len(lines[-1]), len("\\xff")))
