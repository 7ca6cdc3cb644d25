"""Values that know their place: the reading of unquoted ones as YAML 1.2 core has them, and of those of a key.

PyYAML's own rules are those of YAML 1.1: `1e-5` would be text, `on` true, `012` ten and `12:30` a number.
Source: https://yaml.org/spec/1.2.2/#103-core-schema
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from bncheck.config.mistake import Mistakes, Stretch, did_you_mean, quoted, shortened
from bncheck.config.schema import SINGULARS, Key

Value = str | int | float | bool | None
"""Types of a scalar."""

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
class ScalarNode:
    """One value. `written` is its text without quotes; `in_quotes` tells '1' from 1, whose `written` are the same."""

    value: Value
    written: str
    in_quotes: bool
    place: Stretch


@dataclass(frozen=True, slots=True, eq=False)
class ListNode:
    """A list of values."""

    items: tuple[Node, ...]
    place: Stretch


@dataclass(frozen=True, slots=True, eq=False)
class MappingNode:
    """A mapping, whose keys are text and occur once each. The place of a block mapping is its first key."""

    entries: tuple[tuple[ScalarNode, Node], ...]
    place: Stretch


Node = ScalarNode | ListNode | MappingNode


def items_of(node: Node) -> tuple[Node, ...]:
    """Values of a list, or the one value that stands there without a list."""
    return node.items if isinstance(node, ListNode) else (node,)


def described(node: Node) -> str:
    """Describe a value in a sentence: a list, a mapping, or what was written."""
    if isinstance(node, MappingNode):
        return "a mapping"
    if isinstance(node, ListNode):
        return "a list" if node.items else "an empty list"
    if isinstance(node.value, str):
        return quoted(node.value)
    return shortened(node.written, 40) or "empty"


def within(scalar: ScalarNode, offset: int, width: int) -> Stretch:
    """Place of `width` characters of a value from `offset`, or of the whole value where that cannot be told exactly.

    Blanks may stand otherwise in the file than in the value, since YAML folds lines: the others are counted.
    """
    text, written = scalar.place.text, scalar.written
    wanted = written[offset : offset + width].rstrip()
    first = len("".join(written[:offset].split()))
    last = first + len("".join(wanted.split()))
    seen = list(islice(_characters(scalar), last))
    same = "".join(character for character, *_ in seen) == "".join(written[: offset + width].split())
    if not wanted or wanted[0].isspace() or not same or len(seen) < last:
        return scalar.place
    _, line, column, _ = seen[first]
    _, last_line, _, end = seen[last - 1]
    if last_line > line:
        end = len(text.lines[line].rstrip())
    return Stretch(text, line, column, end - column)


def _characters(scalar: ScalarNode) -> Iterator[tuple[str, int, int, int]]:
    """Yield the characters of a value that are no blanks, each with its line, its column and the column behind it.

    It ends at an escape that stands for anything else than itself.
    """
    lines, first, column = scalar.place.text.lines, scalar.place.line, scalar.place.column
    quote = lines[first][column : column + 1] if scalar.in_quotes else ""
    start = column + len(quote)
    if quote in ("|", ">"):  # the rest of the line is no value
        first, start, quote = first + 1, 0, ""
    for number in range(first, len(lines)):
        line, column = lines[number], start
        while column < len(line):
            begin = column
            if line[column] == quote == "'" or (quote == '"' and line[column] == "\\"):
                column += 1
                if line[column : column + 1] not in (("'",) if quote == "'" else ('"', "\\", "/")):
                    return
            if not line[column].isspace():
                yield line[column], number, begin, column + 1
            column += 1
        start = 0


def resolved(written: str) -> Value:
    """Read an unquoted scalar: text, a number, true or false, or null."""
    if written in _WORDS:
        return _WORDS[written]
    if _INT.fullmatch(written):
        if written[:2] in ("0o", "0x"):
            return int(written, 0)
        return int(written) if len(written) <= _DIGITS else float(written)
    return float(written) if _FLOAT.fullmatch(written) else written


# --- the values of one key --------------------------------------------------------------------------------------------


class Choices(NamedTuple):
    """Values given for one key, and the place of each; one place for all where they were given as a count.

    A key whose every value was a mistake has no values: it was given, and nothing can be concluded from it.
    """

    values: Sequence[Any]
    places: tuple[Stretch, ...]

    def __iter__(self) -> Iterator[tuple[Any, Stretch]]:
        return zip(self.values, self.places, strict=False)

    @classmethod
    def of(cls, key: Key, node: Node, mistakes: Mistakes) -> Choices:
        """Read the values of a list, one at least, or the one value that stands there without a list."""
        if isinstance(node, ListNode) and not node.items:
            mistakes.add(f"{key.name} is an empty list, expected {key.expected}", "", node.place)
        return cls.any_of(key, node, mistakes)

    @classmethod
    def any_of(cls, key: Key, node: Node, mistakes: Mistakes) -> Choices:
        """Read the values of a list, which may be empty, or the one value that stands there without a list."""
        return cls.distinct(key.name, [(item, one_value(key, item, mistakes)) for item in items_of(node)], mistakes)

    @classmethod
    def distinct(cls, name: str, given: Sequence[tuple[Node, Any]], mistakes: Mistakes) -> Choices:
        """Keep the values that are no mistake (not None). A value twice, which would be a case twice, is one."""
        kept: dict[Any, Node] = {}
        for of_it, value in given:
            if value in kept:
                says = f"{SINGULARS.get(name, name)} {value} appears twice"
                mistakes.add(says, "remove one of them", of_it.place)
            elif value is not None:
                kept[value] = of_it
        return cls(tuple(kept), tuple(of_it.place for of_it in kept.values()))


def one_value(key: Key, node: Node, mistakes: Mistakes) -> Any:
    """Read the value of one node; None where it is a mistake."""
    if isinstance(node, ScalarNode) and (found := key.value_of(node.value)) is not None:
        return found
    mistakes.add(f"{key.name} is {described(node)}, expected {key.expected}", _hint(key, node), node.place)
    return None


def _hint(key: Key, node: Node) -> str:
    if not isinstance(node, ScalarNode):
        return ""
    if not isinstance(node.value, str):
        return "put it in quotes" if key.is_text and node.written else ""
    if key.is_number and node.in_quotes and type(resolved(node.value)) in (int, float):
        return "remove the quotes"
    return did_you_mean(node.value, key.choices)
