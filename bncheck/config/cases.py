"""Cases made of the entries of a config: each entry has lists of values, whose product is its cases.

The values of a key are read here too, since every reader of an entry needs them.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple

from bncheck.case import Case, Origin, XDraw
from bncheck.config.batches import Batches
from bncheck.config.mistake import Mistakes, Stretch, did_you_mean, path_in, quoted
from bncheck.config.node import ListNode, MappingNode, Node, ScalarNode, described, resolved
from bncheck.config.schema import DEFAULT, DRAW, KEYS, PLURALS, PROBLEMS, RECORDED, Key, Unfit

# --- the values of one key --------------------------------------------------------------------------------------


SINGULARS = {plural: singular for singular, plural in PLURALS.items()}
"""Names of keys by their plural spelling."""


class Choices(NamedTuple):
    """Values given for one key, and the place of each; one place for all where they were given as a count.

    A key whose every value was a mistake has no values: it was given, and nothing can be concluded from it.
    """

    values: Sequence[Any]
    places: tuple[Stretch, ...]

    def __iter__(self) -> Iterator[tuple[Any, Stretch]]:
        return zip(self.values, self.places, strict=False)


def one_value(key: Key, spelling: str, node: Node, mistakes: Mistakes) -> Any:
    """Read the value of one node; None where it is a mistake."""
    if isinstance(node, ScalarNode):
        try:
            return key.value_of(node.value)
        except Unfit:
            pass
    mistakes.add(f"{spelling} is {described(node)}, expected {key.expected}", _hint(key, node), node.place)
    return None


def any_values(key: Key, spelling: str, node: Node, mistakes: Mistakes) -> Choices:
    """Read the values of a list, which may be empty, or the one value that stands there without a list."""
    items = node.items if isinstance(node, ListNode) else (node,)
    return distinct(spelling, [(item, one_value(key, spelling, item, mistakes)) for item in items], mistakes)


def values(key: Key, spelling: str, node: Node, mistakes: Mistakes) -> Choices:
    """Read the values of a list, one at least, or the one value that stands there without a list."""
    if isinstance(node, ListNode) and not node.items:
        mistakes.add(f"{spelling} is an empty list, expected {key.expected}", "", node.place)
    return any_values(key, spelling, node, mistakes)


def distinct(spelling: str, given: Sequence[tuple[Node, Any]], mistakes: Mistakes) -> Choices:
    """Keep the values that are no mistake (not None). A value twice, which would be a case twice, is one."""
    kept: dict[Any, Node] = {}
    for of_it, value in given:
        if value in kept:
            says = f"{SINGULARS.get(spelling, spelling)} {value} appears twice"
            mistakes.add(says, "remove one of them", of_it.place)
        elif value is not None:
            kept[value] = of_it
    return Choices(tuple(kept), tuple(of_it.place for of_it in kept.values()))


def _hint(key: Key, node: Node) -> str:
    if not isinstance(node, ScalarNode):
        return ""
    if isinstance(node.value, str):
        is_number = isinstance(resolved(node.value), int | float) and not isinstance(resolved(node.value), bool)
        if key.is_number and node.in_quotes and is_number:
            return "remove the quotes"
        return did_you_mean(node.value, key.choices)
    return "put it in quotes" if key.is_text and node.written else ""


# --- an entry ---------------------------------------------------------------------------------------------------------

_ORDER = ("shapes", *(key for key in KEYS if key not in ("name", "shape", "seed", "seeds")), "seeds")
"""The keys of a matrix, from the outermost to the innermost."""


class NamedOrigin(NamedTuple):
    """An implementation: its name as it was given, and its origin, None for one of ours.

    `mapping` has the keys that it was given with; a plain name is a mapping with a file alone.
    """

    name: str
    origin: Origin | None = None
    mapping: MappingNode | None = None

    def __str__(self) -> str:
        return self.name


class Draws(NamedTuple):
    """One mapping given for x, with the choices of each of its keys: a matrix of draws."""

    keys: Mapping[str, Choices]
    place: Stretch | None

    @property
    def is_recorded(self) -> bool:
        """Whether x is read from a file."""
        return "file" in self.keys

    def over(self, under: Draws) -> Draws:
        """Put these keys over those of `under`.

        A file takes the place of a draw and a draw that of a file. A `size` from below goes with the `like: outlier`
        that it was given for.
        """
        replaced = [key for key in DRAW if key not in RECORDED] if self.is_recorded else []
        if not self.is_recorded and self.keys.keys() - set(RECORDED):
            replaced = list(RECORDED)
        keys = {**{key: choices for key, choices in under.keys.items() if key not in replaced}, **self.keys}
        if "size" not in self.keys and "like" in self.keys and "outlier" not in self.keys["like"].values:
            keys.pop("size", None)
        return Draws(keys, self.place or under.place)


def keys_below(keys: Mapping[str, Choices], draws: Sequence[Draws]) -> Mapping[str, Choices]:
    """Keys that are left below those draws of x: a shape is not, where all of them are read from files."""
    if draws and all(draw.is_recorded for draw in draws):
        return {key: choices for key, choices in keys.items() if key != "shapes"}
    return keys


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
    def is_recorded(self) -> bool:
        """Whether every x is read from a file, so that a shape need not be given."""
        return bool(self.draws) and all(draw.is_recorded for draw in self.draws)

    @property
    def name(self) -> str:
        """Name of its cases, empty where none is given."""
        return str(self.keys["name"].values[0]) if "name" in self.keys and self.keys["name"].values else ""

    @property
    def count(self) -> int:
        """Number of cases that it asks for, without making any; a key that is a mistake counts as one value."""
        draws = sum(_size(draw.keys) for draw in self.draws) or 1
        return _size(self.keys) * draws


# --- the cases --------------------------------------------------------------------------------------------------------


class _Option(NamedTuple):
    """One choice of one key: the fields of a case that it gives, and the part of the label that tells it."""

    fields: Mapping[str, Any]
    label: str


def multiply_out(entries: Sequence[ConfigEntry], source: str, mistakes: Mistakes) -> list[Case]:
    """Make the cases of all entries, in their order; the result is of no use where there are mistakes."""
    total = 0
    for entry in entries:
        total += entry.count
        if total > PROBLEMS:
            says = f"more than {PROBLEMS:,} problems up to here: {total:,}"
            mistakes.add(says, "shorten the lists, or make several files", entry.place)
            return []
    batches = Batches()
    axes_of_x = []
    for entry in entries:
        _check(entry, batches, mistakes)
        axes_of_x.append(_axis_of_x(_drawn(entry, mistakes), entry, batches))
    if mistakes:
        return []
    return _labelled(entries, axes_of_x, source, mistakes)


def _size(keys: Mapping[str, Choices]) -> int:
    """Number of combinations of the values of all keys."""
    return math.prod(max(1, len(choices.values)) for choices in keys.values())


def _check(entry: ConfigEntry, batches: Batches, mistakes: Mistakes) -> None:
    """Find the mistakes that lie in two keys together, and those in files."""
    if "shapes" not in entry.keys and not entry.is_recorded:
        if entry.place is None:
            mistakes.add("no shapes are given", "give --shape 32x64, or a config file")
        else:
            where = f" in {entry.where}" if entry.where else ""
            mistakes.add(f"no shapes are given{where}", "write shapes: [[32, 64]]", entry.place)
        return
    for draw in entry.draws:
        _check_recorded(draw, entry, batches, mistakes)
    _check_axes(entry, batches, mistakes)
    eps = entry.keys.get("eps")
    constant = any("constant" in draw.keys["like"].values for draw in entry.draws if "like" in draw.keys)
    for value, place in eps or ():
        if value == 0 and constant:
            says = "eps is 0 and x has a constant feature: variance + eps would be 0"
            mistakes.add(says, "use eps > 0", place)
    for draw in entry.draws:
        likes = draw.keys["like"].values if "like" in draw.keys else (DEFAULT.x.like,)
        if "size" in draw.keys and set(likes) - {"outlier"}:
            hint = "write like: outlier, or leave size out"
            mistakes.add("size belongs to like: outlier", hint, draw.keys["size"].places[0])


def _check_recorded(draw: Draws, entry: ConfigEntry, batches: Batches, mistakes: Mistakes) -> None:
    """Find the mistakes in the files of one x, and keys of a draw beside them."""
    if "file" in draw.keys:
        for key in draw.keys.keys() - set(RECORDED):
            says = f"{key} belongs to an x that is drawn, and this one is read from a file"
            mistakes.add(says, f"leave {key} out, or file", draw.keys[key].places[0])
        finite = True in (draw.keys["finite"].values if "finite" in draw.keys else (DEFAULT.x.finite,))
        batches.check(draw.keys["file"], finite, entry.keys, mistakes)
    elif "finite" in draw.keys:
        hint = "write file: batch.npy, or leave finite out"
        mistakes.add("finite belongs to an x that is read from a file", hint, draw.keys["finite"].places[0])


def _check_axes(entry: ConfigEntry, batches: Batches, mistakes: Mistakes) -> None:
    """Find shapes without the channel axis, or with one row in train mode."""
    shapes = list(entry.keys.get("shapes", ()))
    if entry.is_recorded and "shapes" not in entry.keys:
        files = [file for draw in entry.draws for file in draw.keys["file"]]
        shapes = [(batches.shape(path), place) for path, place in files if batches.is_good(path)]
    axes = entry.keys.get("channel_axis")
    trained = "train" in (entry.keys["mode"].values if "mode" in entry.keys else (DEFAULT.mode,))
    for shape, place in shapes:
        for axis, axis_place in axes if axes else ((DEFAULT.channel_axis, place),):
            if not -len(shape) <= axis < len(shape):
                says = f"channel_axis is {axis}, and shape {shape} has axes {-len(shape)} to {len(shape) - 1}"
                mistakes.add(says, "name the axis of the channels", axis_place)
            elif trained and math.prod(shape) == shape[axis]:
                says = f"shape {shape} has n = 1, and batch statistics of one row are constant"
                mistakes.add(says, "use n >= 2, or mode: eval", place)


def _drawn(entry: ConfigEntry, mistakes: Mistakes) -> list[XDraw]:
    """Make every draw of x that the entry asks for. A draw that is asked for twice is a mistake."""
    found: dict[XDraw, None] = {}
    for draw in entry.draws:
        for values in product(*(choices.values for choices in draw.keys.values())):
            x = XDraw(**dict(zip(draw.keys, values, strict=True)))
            if x in found:
                mistakes.add("this x asks for a draw that another x asks for", "remove one of them", draw.place)
                break
            found[x] = None
    return list(found) or [XDraw()]


def _labelled(
    entries: Sequence[ConfigEntry], axes_of_x: Sequence[list[_Option]], source: str, mistakes: Mistakes
) -> list[Case]:
    """Make the cases, in which no label occurs twice: an entry without a name gets one where it needs it."""
    found = [_expanded(entry, of_x, source, entry.name) for entry, of_x in zip(entries, axes_of_x, strict=True)]
    twice = _twice(found)
    for number, entry in enumerate(entries):
        if not entry.own_name and any(case.label in twice for case in found[number]):
            name = f"{entry.name} {entry.where}".strip()
            found[number] = _expanded(entry, axes_of_x[number], source, name)
    twice = _twice(found)
    seen: set[str] = set()
    for entry, its_cases in zip(entries, found, strict=True) if twice else ():
        clash = next((case for case in its_cases if case.label in seen), None)
        if clash:
            says = f"two cases are called {quoted(clash.name)}, with the label {quoted(clash.label)}"
            place = entry.keys["name"].places[0] if entry.own_name else entry.place
            mistakes.add(says, "give one of them another name", place)
        seen.update(case.label for case in its_cases)
    return [case for its_cases in found for case in its_cases]


def _twice(found: Sequence[list[Case]]) -> set[str]:
    """Labels that occur more than once."""
    counts = Counter(case.label for its_cases in found for case in its_cases)
    return {label for label, count in counts.items() if count > 1}


def _expanded(entry: ConfigEntry, axis_of_x: list[_Option], source: str, name: str) -> list[Case]:
    """Make the cases of one entry under a name: the product of its axes."""
    axes = [_axis(key, entry.keys[key].values) for key in _ORDER if key in entry.keys]
    axes.insert(_position_of_x(entry), axis_of_x)
    if "seeds" not in entry.keys:
        axes.append(_axis("seeds", (DEFAULT.seed,)))
    return [_case(name, source, combination) for combination in product(*axes)]


def _case(name: str, source: str, combination: tuple[_Option, ...]) -> Case:
    """Make one case of one choice of every key."""
    label = " ".join(filter(None, (name, *(option.label for option in combination))))
    fields: dict[str, Any] = {}
    for option in combination:
        fields.update(option.fields)
    code = fields.pop("implementation", None)
    if code is not None:
        fields |= {"implementation": code.name, "origin": code.origin}
    return Case(name=name, source=source, label=label, **fields)


def _position_of_x(entry: ConfigEntry) -> int:
    """Place of x among the axes: outermost where it brings the shape."""
    if "shapes" not in entry.keys:
        return 0
    return sum(key in entry.keys for key in _ORDER[: _ORDER.index("x")])


def _axis(key: str, values: Sequence[Any]) -> list[_Option]:
    """Axis of the matrix: the choices of one key."""
    if key == "shapes":
        return [_Option({"shape": shape}, _times(shape)) for shape in values]
    if key == "seeds":
        return [_Option({"seed": seed}, f"seed={seed}") for seed in values]
    told = len(values) > 1
    return [
        _Option({key: None if value == "auto" else value}, f"{key}={_brief(value)}" if told else "") for value in values
    ]


def _axis_of_x(draws: list[XDraw], entry: ConfigEntry, batches: Batches) -> list[_Option]:
    """Axis of the draws of x, labelled with the keys in which they differ, and always with the file."""
    differing = [key for key in DRAW if key != "file" and len({getattr(draw, key) for draw in draws}) > 1]
    names = Counter(os.path.basename(draw.file) for draw in draws)
    found = []
    for draw in draws:
        told = [f"x.{key}={_brief(getattr(draw, key))}" for key in differing if (key in RECORDED) == bool(draw.file)]
        fields: dict[str, Any] = {"x": draw}
        if draw.file:
            if not batches.is_good(draw.file):
                continue
            name, shape = os.path.basename(draw.file), batches.shape(draw.file)
            told.insert(0, f"x.file={name if names[name] == 1 else path_in('', draw.file)}")
            if "shapes" not in entry.keys:
                told.insert(0, _times(shape))
            fields |= {"shape": shape, **dict.fromkeys(batches.given(draw.file), "file")}
        found.append(_Option(fields, " ".join(told)))
    return found


def _times(shape: tuple[int, ...]) -> str:
    """Write a shape for a label: 32x64."""
    return "x".join(map(str, shape))


def _brief(value: object) -> str:
    """Write a value for a label: a float in the short form where that is the same float."""
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return str(value)
