"""Entries of a config: read from their mappings, with every mistake in them, and put over one another."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from bncheck.config import implementation
from bncheck.config.mistake import Mistakes, Stretch, did_you_mean, listed, meant, path_in, quoted
from bncheck.config.node import Choices, ListNode, MappingNode, Node, ScalarNode, described, items_of, one_value
from bncheck.config.schema import AXES, CODE, DRAW, ELEMENTS, KEYS, PLURALS, RECORDED, SHAPE_TEXT, SINGULARS, SIZE

_SHAPE = re.compile(SHAPE_TEXT)
_SPELLINGS = (*KEYS, *SINGULARS)
_DRAW_IN_WORDS = f"a mapping such as {{std: 2}}, or {listed(DRAW['like'].choices)}"


class Draws(NamedTuple):
    """One mapping given for x, with the choices of each of its keys: a matrix of draws."""

    keys: Mapping[str, Choices]
    place: Stretch | None

    def over(self, under: Draws) -> Draws:
        """Put these keys over those of `under`.

        A file takes the place of a draw and a draw that of a file. A `size` from below goes with the `like: outlier`
        that it was given for.
        """
        drawn = set(DRAW) - set(RECORDED)
        replaced = drawn if "file" in self.keys else set(RECORDED) if self.keys.keys() & drawn else set()
        if "size" not in self.keys and "like" in self.keys and "outlier" not in self.keys["like"].values:
            replaced |= {"size"}
        kept = {key: choices for key, choices in under.keys.items() if key not in replaced}
        return Draws({**kept, **self.keys}, self.place or under.place)


@dataclass(frozen=True, slots=True)
class ConfigEntry:
    """An entry: the keys given at the top of a config, in one item of its `cases:`, or on the command line.

    `where` is "cases[1]", or empty for the top. `draws` are those given for x: several are a matrix, none means that x
    was not given. `own_name` is false where the name is that of the top.
    """

    where: str = ""
    place: Stretch | None = None
    keys: Mapping[str, Choices] = field(default_factory=dict)
    draws: tuple[Draws, ...] = ()
    own_name: bool = True

    def over(self, under: ConfigEntry) -> ConfigEntry:
        """Put this entry over another, from which it takes what it does not give itself; x is merged key by key."""
        several = len(self.draws) > 1 and len(under.draws) > 1
        draws = tuple(high.over(low) for low in under.draws for high in self.draws) if not several else self.draws
        return ConfigEntry(
            self.where,
            self.place or under.place,
            {**keys_below(under.keys, self.draws), **self.keys},
            draws or self.draws or under.draws,
            "name" in self.keys,
        )

    @property
    def name(self) -> str:
        """Name of its cases, empty where none is given."""
        return str(self.keys["name"].values[0]) if "name" in self.keys and self.keys["name"].values else ""


def are_recorded(draws: Sequence[Draws]) -> bool:
    """Whether x is given, and read from a file in all of its draws, so that a shape need not be given."""
    return bool(draws) and all("file" in draw.keys for draw in draws)


def keys_below(keys: Mapping[str, Choices], draws: Sequence[Draws]) -> dict[str, Choices]:
    """Keys that are left below those draws of x: a shape is not, where all of them are read from files."""
    return {key: choices for key, choices in keys.items() if key != "shapes" or not are_recorded(draws)}


# --- from nodes -------------------------------------------------------------------------------------------------------


def entries_of(root: MappingNode, mistakes: Mistakes) -> list[ConfigEntry]:
    """Read the entries of `cases:`, each with what it inherits from the top, or the top itself."""
    top = _entry(root, "", mistakes)
    node = next((its_value for key, its_value in root.entries if key.value == "cases"), None)
    if node is None:
        return [top]
    if not isinstance(node, ListNode) or not node.items:
        hint = "begin each entry with '- '" if isinstance(node, MappingNode) else ""
        mistakes.add(f"cases is {described(node)}, expected a list of mappings", hint, node.place)
        return []
    found = []
    for number, item in enumerate(node.items):
        where = f"cases[{number}]"
        if isinstance(item, MappingNode):
            found.append(_entry(item, where, mistakes).over(top))
        else:
            says = f"{where} is {described(item)}, expected a mapping such as {{shapes: [[32, 64]]}}"
            mistakes.add(says, "", item.place)
    return found


def choices_of(spelling: str, node: Node, mistakes: Mistakes) -> Choices:
    """Read the values of any key but x: the one that is given, or those of a list."""
    key = KEYS[SINGULARS.get(spelling, spelling)]._replace(name=spelling)
    if spelling == "name":
        return Choices.distinct(spelling, [(node, one_value(key, node, mistakes))], mistakes)
    if spelling == "implementation":
        return implementation.choices_of(node, mistakes)
    if spelling == "seeds" and isinstance(node, ScalarNode):
        return Choices(range(one_value(KEYS["seeds"], node, mistakes) or 0), (node.place,))
    if spelling in ("shape", "shapes"):
        items = items_of(node) if _is_list_of_shapes(node) else (node,)
        return Choices.distinct(spelling, [(item, _shape(spelling, item, mistakes)) for item in items], mistakes)
    return Choices.of(key, node, mistakes)


def draws_of(node: Node, mistakes: Mistakes) -> tuple[Draws, ...]:
    """Read the draws of x: one, or those of a list."""
    if isinstance(node, ListNode) and not node.items:
        mistakes.add(f"x is an empty list, expected {_DRAW_IN_WORDS}", "", node.place)
    return tuple(_draw(item, mistakes) for item in items_of(node))


def draw_choices_of(name: str, node: Node, mistakes: Mistakes) -> Choices:
    """Read the values of one key of x; files become absolute paths."""
    found = Choices.of(DRAW[name], node, mistakes)
    if name != "file":
        return found
    paths = [os.path.abspath(path_in(place.text.folder, written)) for written, place in found]
    return Choices(tuple(paths), found.places)


def _entry(node: MappingNode, where: str, mistakes: Mistakes) -> ConfigEntry:
    """Read one entry, key by key. `where` is "cases[1]", or empty for the top."""
    keys: dict[str, Choices] = {}
    draws: tuple[Draws, ...] = ()
    spelled: dict[str, str] = {}
    for key, its_value in node.entries:
        spelling = str(key.value)
        name = PLURALS.get(spelling, spelling)
        if spelling == "cases" and not where:
            continue
        if spelling not in _SPELLINGS:
            _add_unknown(key, where, mistakes)
            if meant(spelling, _SPELLINGS) in ("shape", "shapes"):
                # Given, if under a wrong name: that no shapes are given would be one mistake too many.
                keys.setdefault("shapes", Choices((), ()))
        elif name in spelled:
            mistakes.add(f"both {spelled[name]} and {spelling} are given", "keep one of them", key.place)
        elif name == "x":
            draws = draws_of(its_value, mistakes)
        else:
            keys[name] = choices_of(spelling, its_value, mistakes)
        spelled[name] = spelling
    place = node.entries[0][0].place if node.entries else node.place
    return ConfigEntry(where, place, keys, draws)


def _add_unknown(key: ScalarNode, where: str, mistakes: Mistakes) -> None:
    spelling = str(key.value)
    known = _SPELLINGS if where else (*_SPELLINGS, "cases")
    if spelling == "<<":
        hint = "YAML 1.2 has no merge key; an entry of cases: inherits what stands at the top"
    elif spelling == "cases":
        hint = "cases: stands at the top alone"
    elif spelling in DRAW:
        hint = f"it belongs to x: {{{spelling}: ...}}"
    elif spelling in CODE:
        hint = f"it belongs to implementation: {{{spelling}: ...}}"
    else:
        hint = did_you_mean(spelling, known)
    mistakes.add(f"unknown key {quoted(spelling)}{' in ' if where else ''}{where}", hint, key.place)


def _draw(node: Node, mistakes: Mistakes) -> Draws:
    """Read one mapping given for x, or a word, which is short for `{like: word}`."""
    if isinstance(node, ScalarNode) and isinstance(node.value, str):
        return Draws({"like": Choices.of(DRAW["like"]._replace(name="x"), node, mistakes)}, node.place)
    if not isinstance(node, MappingNode):
        mistakes.add(f"x is {described(node)}, expected {_DRAW_IN_WORDS}", "", node.place)
        return Draws({}, node.place)
    keys: dict[str, Choices] = {}
    for key, its_value in node.entries:
        name = str(key.value)
        if name in DRAW:
            keys[name] = draw_choices_of(name, its_value, mistakes)
        else:
            mistakes.add(f"unknown key {quoted(name)} in x", did_you_mean(name, DRAW), key.place)
    return Draws(keys, node.place)


def _is_list_of_shapes(node: Node) -> bool:
    """Whether a list has several shapes: with a list or 32x64 in it, it has; one of whole numbers is one shape."""
    return isinstance(node, ListNode) and any(
        isinstance(item, ListNode) or (isinstance(item.value, str) and "x" in item.value)
        for item in node.items
        if not isinstance(item, MappingNode)
    )


def _shape(spelling: str, node: Node, mistakes: Mistakes) -> tuple[int, ...] | None:
    """Read one shape; None where it is a mistake."""
    if isinstance(node, ScalarNode) and isinstance(node.value, str) and _SHAPE.fullmatch(node.value):
        sizes = [int(size) for size in node.value.split("x")]
    elif isinstance(node, ListNode) and node.items:
        size_key = SIZE._replace(name=f"a size in {spelling}")
        found_sizes = [one_value(size_key, item, mistakes) for item in node.items]
        sizes = [size for size in found_sizes if size is not None]
        if len(sizes) < len(found_sizes):
            return None
    else:
        mistakes.add(f"{spelling} is {described(node)}, expected {KEYS['shape'].expected}", "", node.place)
        return None
    shape, (fewest, most) = tuple(sizes), AXES
    if not fewest <= len(shape) <= most:
        says = f"shape {shape} has {len(shape)} size{'s' * (len(shape) != 1)}, expected {fewest} to {most}"
        mistakes.add(says, "write (N, D), (N, C, L), (N, C, H, W) or (N, C, D, H, W)", node.place)
        return None
    if math.prod(shape) > ELEMENTS:
        says = f"shape {shape} has {math.prod(shape):,} elements, expected at most {ELEMENTS:,}"
        mistakes.add(says, "use a smaller one", node.place)
        return None
    return shape
