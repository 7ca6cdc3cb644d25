"""A value that knows its place, and what YAML 1.2 core makes of an unquoted one.

PyYAML's own rules are those of YAML 1.1: `1e-5` would be text, `on` true, `012` ten and `12:30` a number.
Source: https://yaml.org/spec/1.2.2/#103-core-schema
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bncheck.config.mistake import Place, quoted, shortened

Value = str | int | float | bool | None
"""What a scalar can be."""

_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_WORDS: dict[str, bool | float | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
# Python refuses to read more decimal digits than 4300 at once; as a float such a number is infinite anyway.
_DIGITS = 4000


@dataclass(frozen=True, slots=True, eq=False)
class Scalar:
    """One value. `written` is its text without quotes; `in_quotes` tells '1' from 1, whose `written` are the same."""

    value: Value
    written: str
    in_quotes: bool
    place: Place


@dataclass(frozen=True, slots=True, eq=False)
class Listing:
    items: tuple[Node, ...]
    place: Place


@dataclass(frozen=True, slots=True, eq=False)
class Mapping:
    """Keys are text and each occurs once. The place of a block mapping is its first key."""

    entries: tuple[tuple[Scalar, Node], ...]
    place: Place


Node = Scalar | Listing | Mapping


def described(node: Node) -> str:
    """What stands there, for a sentence."""
    if isinstance(node, Mapping):
        return "a mapping"
    if isinstance(node, Listing):
        return "a list" if node.items else "an empty list"
    if isinstance(node.value, str):
        return quoted(node.value)
    return shortened(node.written, 40) or "empty"


def resolved(written: str) -> Value:
    """The value of an unquoted scalar."""
    if written in _WORDS:
        return _WORDS[written]
    if _INT.fullmatch(written):
        if written[:2] in ("0o", "0x"):
            return int(written, 0)
        return int(written) if len(written) <= _DIGITS else float(written)
    return float(written) if _FLOAT.fullmatch(written) else written


def number_of(written: str) -> float:
    """A whole number as a float; infinite where it is too large for one."""
    value = resolved(written)
    try:
        return float(value)  # type: ignore[arg-type]  # the caller has seen that it is an int
    except OverflowError:
        return float("inf")


def kind_of(value: object) -> str:
    return "null" if value is None else type(value).__name__
