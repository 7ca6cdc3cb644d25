"""Keys of a config given on the command line or in Python, which come over the entries of a file."""

from __future__ import annotations

import json
import math
import os
import re
from collections import abc
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from bncheck.config import document, entry
from bncheck.config.entry import ConfigEntry, Draws, keys_below
from bncheck.config.mistake import Mistakes, Stretch, Text, did_you_mean, meant, quoted, text_of
from bncheck.config.node import Choices, MappingNode, ScalarNode, resolved
from bncheck.config.schema import CODE, DRAW, KEYS, PLURALS
from bncheck.status import StartError

_NOT_OVERRIDDEN = ("name", "cases")
_PARTS = {key.name: part for part, key in DRAW.items()}
_KNOWN = (*(key for key in KEYS if key not in _NOT_OVERRIDDEN), *PLURALS.values(), *_PARTS)


class Override(NamedTuple):
    """A key=value, and the form in which the user gave it, which mistakes show: `--shape 3x` for shape=3x.

    `arguments` are the words of a command that give it, where there are shorter ones than `--set key=value`.
    """

    text: str
    shown: str
    arguments: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The key that is set."""
        return self.text.partition("=")[0]


@dataclass(slots=True)
class Overridden:
    """Keys given by overrides. `draws` replace x, and `draw_keys` single keys of x."""

    keys: dict[str, Choices] = field(default_factory=dict)
    draws: tuple[Draws, ...] = ()
    draw_keys: dict[str, Choices] = field(default_factory=dict)

    def over(self, low: ConfigEntry) -> ConfigEntry:
        """Put the overrides over an entry."""
        draws, given = self.draws or low.draws, self.draws
        if self.draw_keys:
            high = Draws(self.draw_keys, None)
            draws = tuple(high.over(draw) for draw in draws or (Draws({}, None),))
            given = (*given, high)
        return replace(low, keys={**keys_below(low.keys, given), **self.keys}, draws=draws)


def read(overrides: Sequence[str | Override], mistakes: Mistakes) -> Overridden:
    """Read overrides, and leave out those that are mistakes."""
    found = Overridden()
    given: dict[str, str] = {}
    for given_as in overrides:
        override = Override(given_as, f"--set {given_as}") if isinstance(given_as, str) else given_as
        text, spelling, skip, place = _parts(override)
        name = PLURALS.get(spelling, spelling)
        if meant(spelling, _KNOWN) in ("shape", "shapes"):
            # Given, whatever is wrong with it: that no shapes are given would be one mistake too many.
            found.keys.setdefault("shapes", Choices((), ()))
        if "=" not in override.text:
            mistakes.add(f"{quoted(override.text)} has no '='", "write key=value", place)
        elif spelling not in _KNOWN:
            _add_unknown(spelling, place, mistakes)
        elif name in given:
            twice = f"{spelling} is given twice"
            both = f"both {given[name]} and {spelling} are given"
            mistakes.add(twice if given[name] == spelling else both, "keep one of them", place)
        else:
            given[name] = spelling
            _read_one(text, spelling, skip, found, mistakes)
    return found


def top(settings: Sequence[Override], mistakes: Mistakes) -> MappingNode:
    """Make settings the mapping at the top of a config, without those whose value cannot be read."""
    found = [(parts, document.parse(parts.text, mistakes, parts.skip)) for parts in map(_parts, settings)]
    keys = [(ScalarNode(parts.key, parts.key, False, parts.place), node) for parts, node in found]
    return MappingNode(tuple((key, node) for key, node in keys if node is not None), keys[0][0].place)


class _Parts(NamedTuple):
    """An override taken apart. `text` is what mistakes show, `skip` the number of characters before the value in it.

    `place` is that of the key. Of `--shape 3x` the value is shown alone, and is the place of its key as well.
    """

    text: Text
    key: str
    skip: int
    place: Stretch


def _parts(override: Override) -> _Parts:
    """Take an override apart, whether or not it has a `=`."""
    whole, shown = override.text, override.shown
    key, _, its_value = whole.partition("=")
    spelling = key.strip(" ")
    if not shown.endswith(whole):
        text = text_of(shown, its_value, numbered=False)
        return _Parts(text, spelling, 0, Stretch(text, 0, 0, max(1, len(text.lines[0]))))
    text = text_of(shown, whole, numbered=False)
    place = Stretch(text, 0, len(key) - len(key.lstrip(" ")), max(1, len(spelling)))
    return _Parts(text, spelling, len(key) + 1, place)


def _add_unknown(spelling: str, place: Stretch, mistakes: Mistakes) -> None:
    if spelling in _NOT_OVERRIDDEN:
        mistakes.add(f"{spelling} cannot be set from the command line", "write it in the config file", place)
        return
    name = spelling.removeprefix("implementation.")
    if spelling in DRAW:
        hint = f"did you mean 'x.{spelling}'?"
    elif name in CODE:
        hint = f"it belongs to implementation: {{{name}: ...}}"
    else:
        hint = did_you_mean(spelling, _KNOWN)
    mistakes.add(f"unknown key {quoted(spelling)}", hint, place)


def _read_one(text: Text, spelling: str, skip: int, found: Overridden, mistakes: Mistakes) -> None:
    """Read the value of a known key into `found`."""
    before = len(mistakes)
    node = document.parse(text, mistakes, skip)
    if node is None:
        if len(mistakes) == before:
            mistakes.add(f"{spelling} has no value", f"write {spelling}=value", Stretch(text, 0, skip))
    elif spelling == "x":
        found.draws = entry.draws_of(node, mistakes)
    elif spelling in _PARTS:
        found.draw_keys[_PARTS[spelling]] = entry.draw_choices_of(_PARTS[spelling], node, mistakes)
    else:
        found.keys[PLURALS.get(spelling, spelling)] = entry.choices_of(spelling, node, mistakes)


# --- values of Python, written as a config has them -------------------------------------------------------------------


_PLAIN = re.compile(r"[A-Za-z./][\w./+-]*", re.ASCII)
# What JSON leaves as it is, and YAML reads as a line break or not at all.
_UNREAD = re.compile("[\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff]")


def written(value: object, name: str) -> str:
    """Write a value as a config has it. Numbers and arrays of NumPy become those of Python, types their names.

    Raises StartError, with the name of the value in the message, where no config can hold it.
    """
    if not _is_of_a_size(value):
        raise StartError(f"error: {name} holds more values than a config can, or itself; give fewer")
    return _written(value, name)


def _is_of_a_size(value: object) -> bool:
    """Whether there is no more in a value than a config can hold, and not itself; no text is made of it."""
    import numpy as np

    waiting, size = [value], 1
    while waiting:
        match waiting.pop():
            case np.ndarray() as array:
                size += array.size
            case abc.Mapping() as mapping if (size := size + len(mapping)) <= document.NODES:
                waiting += mapping.values()
            case abc.Sequence() as items if not isinstance(items, str | bytes | bytearray | memoryview):
                size += len(items)
                waiting += items if size <= document.NODES else ()
        if size > document.NODES:
            return False
    return True


def _written(value: object, name: str) -> str:
    import numpy as np  # only values that are handed over in Python may be of it

    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, np.floating):
        value = float(value)  # a long double has no other number of Python
    elif isinstance(value, np.generic):
        value = value.item()
    elif isinstance(value, type):
        value = "float64" if value is float else value.__name__
    elif isinstance(value, np.dtype):
        value = value.name
    elif isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str):
        return as_text(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else {math.inf: ".inf", -math.inf: "-.inf"}.get(value, ".nan")
    if value is None or isinstance(value, int):
        return json.dumps(value)
    if isinstance(value, abc.Mapping):
        wrong = [key for key in value if not isinstance(key, str)]
        if not wrong:
            return f"{{{', '.join(f'{as_text(key)}: {_written(of_it, name)}' for key, of_it in value.items())}}}"
        value = wrong[0]
    elif isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return f"[{', '.join(_written(item, name) for item in value)}]"
    if callable(value):
        raise StartError(f"error: {name} holds a function; write bncheck.check(forward, backward, ...)")
    what = f"holds a value of type {type(value).__name__}, and no config can"
    raise StartError(f"error: {name} {what}; give numbers, text, a list or a mapping")


def as_text(value: str) -> str:
    """Write text, in quotes where it could be read as anything else."""
    if _PLAIN.fullmatch(value) and resolved(value) == value:
        return value
    return _UNREAD.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))
