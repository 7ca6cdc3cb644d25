"""An exception in words: the line of the user's own code that it comes from, and its message."""

from __future__ import annotations

import os
import re
import sysconfig
import traceback
from collections.abc import Iterable
from functools import cache
from pathlib import Path

SAID = 400
"""Characters kept of an exception's own message: NumPy's longest have some 200."""

_OURS = str(Path(__file__).parents[1])

_FRAME = re.compile(r'^  File "(?P<path>.+)", line (?P<line>\d+) in (?P<name>.+)$', re.MULTILINE)
"""A line of the traceback that faulthandler writes."""


def place_of(error: BaseException) -> str:
    """`layers.py:41 backward`: the innermost line of the user's own code on the way to the exception; may be empty."""
    frames = [(frame.filename, frame.lineno or 0, frame.name) for frame in traceback.extract_tb(error.__traceback__)]
    return _innermost(reversed(frames))


def place_in(trace: str) -> str:
    """`layers.py:41 backward`: the innermost line of the user's own code in what faulthandler writes; may be empty."""
    frames = ((found["path"], int(found["line"]), found["name"]) for found in _FRAME.finditer(trace))
    return _innermost(frames)  # most recent call first, unlike a traceback


def said(error: BaseException) -> str:
    """`ValueError: its message` on one line, cut short; an exception whose own `__str__` raises is only named."""
    try:
        message = " ".join(str(error).split())
    except Exception:
        message = ""
    kind = type(error).__name__
    if len(message) > SAID:
        message = message[: SAID - 3] + "..."
    return f"{kind}: {message}" if message else kind


def exit_argument(error: SystemExit) -> str:
    """The argument of the sys.exit that raised it, as Python writes it; empty where there is none."""
    return "" if error.code is None else f"{error.code!r:.40}"


def shown(path: str) -> str:
    """The path as the user would write it: relative where it is below the working directory."""
    try:
        relative = os.path.relpath(path)
    except (OSError, ValueError):  # no working directory any more; another drive
        return path
    return path if relative.startswith(os.pardir) else relative


def theirs(path: str) -> bool:
    """Whether a path is of the user's project: not of bncheck, of Python itself or of an installed package."""
    return not _ours(path) and not _below(path, _installed())


def _innermost(frames: Iterable[tuple[str, int, str]]) -> str:
    """The first frame in the user's code, else the first in an installed package; frames begin with the innermost."""
    outside = [frame for frame in frames if not _ours(frame[0])]
    best = [frame for frame in outside if theirs(frame[0])] or outside
    if not best:
        return ""
    path, line, name = best[0]
    return f"{shown(path)}:{line}" if name == "<module>" else f"{shown(path)}:{line} {name}"


def _ours(path: str) -> bool:
    """Whether a path is of bncheck, of Python itself, or no file at all, such as <string>."""
    pythons = _below(path, _library()) and not _below(path, _installed())
    return pythons or path.startswith("<") or _below(path, (_OURS,))


def _below(path: str, folders: tuple[str, ...]) -> bool:
    return any(path.startswith(folder + os.sep) for folder in folders)


@cache
def _installed() -> tuple[str, ...]:
    """The folders of installed packages; those of the system's own Python may lie below Python's modules."""
    folders = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    beside = {os.path.join(folder, name) for folder in _library() for name in ("site-packages", "dist-packages")}
    return tuple(folders | beside)


@cache
def _library() -> tuple[str, ...]:
    """The folders of Python's own modules."""
    return tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib")})
