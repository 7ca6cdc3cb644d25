"""The value of one key, or those of a list, with the mistakes in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bncheck.config.matrix import Choices
from bncheck.config.mistake import Mistakes
from bncheck.config.node import Listing, Node, Scalar, described, resolved
from bncheck.config.schema import PLURALS, Key, Unfit
from bncheck.config.words import did_you_mean

SINGULARS = {plural: singular for singular, plural in PLURALS.items()}


def one(key: Key, spelling: str, node: Node, mistakes: Mistakes) -> Any:
    """The value of one node, or None where it is a mistake."""
    if isinstance(node, Scalar):
        try:
            return key.value_of(node.value)
        except Unfit:
            pass
    mistakes.add(f"{spelling} is {described(node)}, expected {key.expected}", _hint(key, node), node.place)
    return None


def several(key: Key, spelling: str, node: Node, mistakes: Mistakes) -> Choices:
    """The values of a list, or the one that stands there without a list."""
    items = node.items if isinstance(node, Listing) else (node,)
    return distinct(spelling, [(item, one(key, spelling, item, mistakes)) for item in items], mistakes)


def matrix(key: Key, spelling: str, node: Node, mistakes: Mistakes) -> Choices:
    """The same, at least one."""
    if isinstance(node, Listing) and not node.items:
        mistakes.add(f"{spelling} is an empty list, expected {key.expected}", "", node.place)
    return several(key, spelling, node, mistakes)


def distinct(spelling: str, values: Sequence[tuple[Node, Any]], mistakes: Mistakes) -> Choices:
    """The values that are no mistake (not None). The same value twice would be the same case twice."""
    kept: dict[Any, Node] = {}
    for node, value in values:
        if value in kept:
            says = f"{SINGULARS.get(spelling, spelling)} {value} appears twice"
            mistakes.add(says, "remove one of them", node.place)
        elif value is not None:
            kept[value] = node
    return Choices(tuple(kept), tuple(node.place for node in kept.values()))


def _hint(key: Key, node: Node) -> str:
    if not isinstance(node, Scalar):
        return ""
    if isinstance(node.value, str):
        is_number = isinstance(resolved(node.value), int | float) and not isinstance(resolved(node.value), bool)
        if key.is_number and node.in_quotes and is_number:
            return "remove the quotes"
        return did_you_mean(node.value, key.choices)
    return "put it in quotes" if key.is_text and node.written else ""
