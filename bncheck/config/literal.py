"""A Python value as the text that a config would have for it, on one line."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bncheck.config.node import resolved

_PLAIN = re.compile(r"[A-Za-z./][\w./+-]*", re.ASCII)
# What JSON leaves as it is, and YAML reads as a line break or not at all.
_UNREAD = re.compile("[\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff]")


class Unwritable(Exception):  # noqa: N818 - a verdict on a value, which the caller turns into a message
    """A value that no config can hold: it is the argument."""


def written(value: object) -> str:
    """The text. Numbers of NumPy and arrays are written as those of Python, paths as text, types by their names.

    Raises Unwritable.
    """
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, type):
        value = value.__name__
    if isinstance(value, np.dtype):
        value = value.name
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if value is None or isinstance(value, bool | np.bool_):
        return {None: "null", True: "true", False: "false"}[None if value is None else bool(value)]
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, float | np.floating):
        return _number(float(value))
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_key(key)}: {written(its_value)}' for key, its_value in value.items())}}}"
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return f"[{', '.join(map(written, value))}]"
    raise Unwritable(value)


def _number(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return ".nan" if math.isnan(value) else f"{'-' * (value < 0)}.inf"


def _text(value: str) -> str:
    """In quotes where it could be read as anything else."""
    if _PLAIN.fullmatch(value) and resolved(value) == value:
        return value
    return _UNREAD.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise Unwritable(key)
    return _text(key)
