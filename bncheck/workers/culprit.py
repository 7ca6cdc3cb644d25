"""Whose line it was: the place in the user's own code where something went wrong."""

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
    """The same, of a traceback as faulthandler writes it, most recent call first."""
    return _innermost((found["path"], int(found["line"]), found["name"]) for found in _FRAME.finditer(trace))


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
    """What stood between the parentheses of sys.exit."""
    return "" if error.code is None else f"{error.code!r:.40}"


def shown(path: str) -> str:
    """The path as the user would write it: relative where it is below the working directory."""
    try:
        relative = os.path.relpath(path)
    except (OSError, ValueError):  # no working directory any more; another drive
        return path
    return path if relative.startswith(os.pardir) else relative


def theirs(path: str) -> bool:
    """Whether it is a file of the user's project: not of bncheck, of Python itself or of an installed package."""
    return not _ours(path) and not _below(path, _installed())


def _innermost(frames: Iterable[tuple[str, int, str]]) -> str:
    """Of frames, the innermost first: the first of the user's; failing that, the first of an installed package's."""
    outside = [frame for frame in frames if not _ours(frame[0])]
    best = [frame for frame in outside if theirs(frame[0])] or outside
    if not best:
        return ""
    path, line, name = best[0]
    return f"{shown(path)}:{line}" if name == "<module>" else f"{shown(path)}:{line} {name}"


def _ours(path: str) -> bool:
    """Whether it is a file of bncheck, of Python itself, or none at all."""
    pythons = _below(path, _library()) and not _below(path, _installed())
    return pythons or path.startswith("<") or _below(path, (_OURS,))


def _below(path: str, folders: tuple[str, ...]) -> bool:
    return any(path.startswith(folder + os.sep) for folder in folders)


@cache
def _installed() -> tuple[str, ...]:
    """Where packages are installed; the system's own may lie below Python's modules."""
    folders = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    beside = {os.path.join(folder, name) for folder in _library() for name in ("site-packages", "dist-packages")}
    return tuple(folders | beside)


@cache
def _library() -> tuple[str, ...]:
    return tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib")})
