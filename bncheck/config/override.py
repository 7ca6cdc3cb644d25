"""What the command line says of the keys of a config, and how it comes over the entries of a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from bncheck.config import document, entry, implementation
from bncheck.config.matrix import Choices, Code, Draws, Entry
from bncheck.config.mistake import Mistakes, Place, Text, quoted, text_of
from bncheck.config.node import Mapping, Node, Scalar
from bncheck.config.schema import CODE, DEFAULT, DRAW, KEYS, PLURALS
from bncheck.config.words import did_you_mean, listed, meant

_NOT_OVERRIDDEN = ("name", "cases")
_PARTS = {**{f"x.{key}": key for key in DRAW}, **{f"implementation.{key}": key for key in CODE}}
_KNOWN = (*(key for key in KEYS if key not in _NOT_OVERRIDDEN), *PLURALS.values(), *_PARTS)
_SAME = {**PLURALS, "implementation.module": "implementation.file"}
"""Keys that may be written in two ways, and are given once."""


class Override(NamedTuple):
    """A key=value, and how the user gave it: `--shape 3x` for shape=3x. A mistake in it shows that."""

    text: str
    shown: str


@dataclass(slots=True)
class Overridden:
    """What the command line gives. `draws` replaces x; `draw_keys` and `code_keys` replace single keys."""

    keys: dict[str, Choices] = field(default_factory=dict)
    draws: tuple[Draws, ...] = ()
    draw_keys: dict[str, Choices] = field(default_factory=dict)
    code_keys: list[tuple[Scalar, Node]] = field(default_factory=list)

    def over(self, entries: Iterable[Entry], mistakes: Mistakes) -> list[Entry]:
        """The entries, with what is overridden."""
        found = [self._over(low) for low in entries]
        return self._recalled(found, mistakes) if self.code_keys else found

    def _over(self, low: Entry) -> Entry:
        draws = self.draws or low.draws
        if self.draw_keys:
            draws = tuple(Draws(self.draw_keys, None).over(draw) for draw in draws or (Draws({}, None),))
        return replace(low, keys={**low.keys, **self.keys}, draws=draws)

    def _recalled(self, entries: list[Entry], mistakes: Mistakes) -> list[Entry]:
        """The entries with single keys of their implementations given anew; one of them at least must have keys."""
        ours = Choices((Code(DEFAULT.implementation),), ())
        codes = [code for low in entries for code in low.keys.get("implementation", ours).values]
        if all(code.mapping is None for code in codes):
            for key, node in self.code_keys:
                if codes:
                    names = listed(sorted({code.name for code in codes}))
                    says = f"implementation is {names}, which has no key '{key.value}'"
                    mistakes.add(says, "name a file with implementation=layers.py", key.place)
                implementation.look_at(str(key.value), node, mistakes)
            return entries
        found = []
        for low in entries:
            choices = low.keys.get("implementation", ours)
            changed = implementation.changed(choices, self.code_keys, mistakes)
            found.append(replace(low, keys={**low.keys, "implementation": changed}) if choices.places else low)
        return found


def read(overrides: Sequence[str | Override], mistakes: Mistakes) -> Overridden:
    """What the overrides give, without those that are mistakes."""
    found = Overridden()
    given: dict[str, str] = {}
    for override in overrides:
        text, spelling, skip, place = _parts(override)
        whole = override if isinstance(override, str) else override.text
        name = _SAME.get(spelling, spelling)
        if meant(spelling, _KNOWN) in ("shape", "shapes"):
            # Given, whatever is wrong with it: that no shapes are given would be one mistake too many.
            found.keys.setdefault("shapes", Choices((), ()))
        if "=" not in whole:
            mistakes.add(f"{quoted(whole)} has no '='", "write key=value", place)
        elif spelling not in _KNOWN:
            _add_unknown(spelling, place, mistakes)
        elif name in given:
            twice = f"{spelling} is given twice"
            both = f"both {given[name]} and {spelling} are given"
            mistakes.add(twice if given[name] == spelling else both, "keep one of them", place)
        else:
            given[name] = spelling
            _read_one(text, spelling, skip, place, found, mistakes)
    return found


def top(settings: Sequence[Override], mistakes: Mistakes) -> Mapping:
    """The settings as the mapping at the top of a config, without those whose value cannot be read."""
    found = [(Scalar(key, key, False, place), text, skip) for text, key, skip, place in map(_parts, settings)]
    nodes = [(key, document.parse(text, mistakes, skip)) for key, text, skip in found]
    return Mapping(tuple((key, node) for key, node in nodes if node is not None), found[0][0].place)


def _parts(override: str | Override) -> tuple[Text, str, int, Place]:
    """The text that mistakes show, the key, how many characters stand before the value, and the place of the key.

    Of `--shape 3x` the value is shown alone, and is the place of its key as well.
    """
    whole = override if isinstance(override, str) else override.text
    shown = f"--set {whole}" if isinstance(override, str) else override.shown
    key, _, its_value = whole.partition("=")
    spelling = key.strip(" ")
    if not shown.endswith(whole):
        text = text_of(shown, its_value, numbered=False)
        return text, spelling, 0, Place(text, 0, 0, max(1, len(text.lines[0])))
    text = text_of(shown, whole, numbered=False)
    place = Place(text, 0, len(key) - len(key.lstrip(" ")), max(1, len(spelling)))
    return text, spelling, len(key) + 1, place


def _add_unknown(spelling: str, place: Place, mistakes: Mistakes) -> None:
    if spelling in _NOT_OVERRIDDEN:
        mistakes.add(f"{spelling} cannot be set from the command line", "write it in the config file", place)
        return
    whole = next((whole for whole, part in _PARTS.items() if part == spelling), None)
    hint = f"did you mean '{whole}'?" if whole else did_you_mean(spelling, _KNOWN)
    mistakes.add(f"unknown key {quoted(spelling)}", hint, place)


def _read_one(text: Text, spelling: str, skip: int, place: Place, found: Overridden, mistakes: Mistakes) -> None:
    """Read the value of a known key into what is found."""
    before = len(mistakes)
    node = document.parse(text, mistakes, skip)
    part = _PARTS.get(spelling)
    if node is None:
        if len(mistakes) == before:
            mistakes.add(f"{spelling} has no value", f"write {spelling}=value", Place(text, 0, skip))
    elif spelling == "x":
        found.draws = entry.draws_of(node, mistakes)
    elif part is None:
        found.keys[PLURALS.get(spelling, spelling)] = entry.choices_of(spelling, node, mistakes)
    elif spelling.startswith("x."):
        found.draw_keys[part] = entry.draw_choices_of(part, node, mistakes)
    else:
        found.code_keys.append((Scalar(part, part, False, place), node))
