"""A config and the overrides of the command line, read into cases; every mistake in them with its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bncheck.case import Case
from bncheck.config import document, entry, matrix
from bncheck.config.matrix import Choices, Draws, Entry
from bncheck.config.mistake import Mistake, Mistakes, Place, Text, TooMany, quoted, text_of
from bncheck.config.node import Mapping, described
from bncheck.config.schema import DRAW, KEYS, PLURALS
from bncheck.config.words import did_you_mean, meant

_EXAMPLE = "write, for example, shapes: [[32, 64]]"
_NOT_OVERRIDDEN = ("name", "cases")
_OVERRIDDEN = (*(key for key in KEYS if key not in _NOT_OVERRIDDEN), *PLURALS.values(), *(f"x.{key}" for key in DRAW))


class ConfigError(Exception):
    """The mistakes of a config and of its overrides, in the order of their places."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__(self.mistakes)

    def __str__(self) -> str:
        return "\n\n".join(map(str, self.mistakes))


def read(path: str | Path, overrides: Sequence[str] = ()) -> list[Case]:
    """The cases of a file, entry by entry, each with the path as its source.

    An override is a key=value, as given to `--set`: it beats the top of the file and every entry.
    Raises ConfigError with every mistake of both.
    """
    return _checked(str(path), overrides, lambda mistakes: _entries_of(path, mistakes))


def from_overrides(overrides: Sequence[str]) -> list[Case]:
    """The cases that overrides alone ask for, with no source. Raises ConfigError, also where they give no shape."""
    return _checked("", overrides, lambda mistakes: [Entry()])


def _checked(source: str, overrides: Sequence[str], entries_of: Callable[[Mistakes], list[Entry]]) -> list[Case]:
    mistakes = Mistakes()
    cases: list[Case] = []
    unseen: list[Mistake] = []
    try:
        override = _read_overrides(overrides, mistakes)
        cases = matrix.cases([override.over(low) for low in entries_of(mistakes)], source, mistakes)
    except TooMany:
        unseen = [Mistake(f"there are more than these {len(mistakes)} mistakes", "correct them first")]
    if mistakes:
        raise ConfigError([*mistakes, *unseen])
    return cases


def _entries_of(path: str | Path, mistakes: Mistakes) -> list[Entry]:
    """The entries of a file, the top itself where it has no `cases:`; none where the file cannot be read."""
    before = len(mistakes)
    root = document.load(path, mistakes)
    if root is None:
        if len(mistakes) == before:
            mistakes.add(f"{path} is empty", _EXAMPLE)
        return []
    if not isinstance(root, Mapping):
        mistakes.add(f"the config is {described(root)}, expected a mapping of keys", _EXAMPLE, root.place)
        return []
    top = entry.top_of(root, mistakes)
    cases = entry.cases_of(root, mistakes)
    return [top] if cases is None else [case.over(top) for case in cases]


@dataclass(slots=True)
class _Override:
    """What the command line gives. `draws` replaces x, `draw_keys` replaces single keys of it."""

    keys: dict[str, Choices] = field(default_factory=dict)
    draws: tuple[Draws, ...] = ()
    draw_keys: dict[str, Choices] = field(default_factory=dict)

    def over(self, low: Entry) -> Entry:
        """The entry, with what is overridden."""
        draws = self.draws or low.draws
        if self.draw_keys:
            draws = tuple(Draws(self.draw_keys, None).over(draw) for draw in draws or (Draws({}, None),))
        return replace(low, keys={**low.keys, **self.keys}, draws=draws)


def _read_overrides(overrides: Sequence[str], mistakes: Mistakes) -> _Override:
    found = _Override()
    given: dict[str, str] = {}
    for override in overrides:
        text = text_of(f"--set {override}", override, numbered=False)
        spelling = override.partition("=")[0].strip(" ")
        place = Place(text, 0, len(override) - len(override.lstrip(" ")), max(1, len(spelling)))
        name = PLURALS.get(spelling, spelling)
        if meant(spelling, _OVERRIDDEN) in ("shape", "shapes"):
            # Given, whatever is wrong with it: that no shapes are given would be one mistake too many.
            found.keys.setdefault("shapes", Choices((), ()))
        if "=" not in override:
            mistakes.add(f"{quoted(override)} has no '='", "write key=value", place)
        elif spelling not in _OVERRIDDEN:
            _add_unknown(spelling, place, mistakes)
        elif name in given:
            twice = f"{spelling} is given twice"
            both = f"both {given[name]} and {spelling} are given"
            mistakes.add(twice if given[name] == spelling else both, "keep one of them", place)
        else:
            given[name] = spelling
            _read_override(text, spelling, found, mistakes)
    return found


def _add_unknown(spelling: str, place: Place, mistakes: Mistakes) -> None:
    if spelling in _NOT_OVERRIDDEN:
        mistakes.add(f"{spelling} cannot be set from the command line", "write it in the config file", place)
    elif spelling in DRAW:
        mistakes.add(f"unknown key {quoted(spelling)}", f"did you mean 'x.{spelling}'?", place)
    else:
        mistakes.add(f"unknown key {quoted(spelling)}", did_you_mean(spelling, _OVERRIDDEN), place)


def _read_override(text: Text, spelling: str, found: _Override, mistakes: Mistakes) -> None:
    """Read the value of a known key into what is found."""
    start = text.lines[0].index("=") + 1
    before = len(mistakes)
    node = document.parse(text, mistakes, skip=start)
    if node is None:
        if len(mistakes) == before:
            mistakes.add(f"{spelling} has no value", f"write {spelling}=value", Place(text, 0, start))
    elif spelling == "x":
        found.draws = entry.draws_of(node, mistakes)
    elif spelling.startswith("x."):
        name = spelling.removeprefix("x.")
        found.draw_keys[name] = entry.draw_choices_of(name, node, mistakes)
    else:
        found.keys[PLURALS.get(spelling, spelling)] = entry.choices_of(spelling, node, mistakes)
