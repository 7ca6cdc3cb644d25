"""Cases, read from a config and from overrides, with the place of every mistake in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from bncheck.case import Case
from bncheck.config import cases, document, entry, override
from bncheck.config.entry import ConfigEntry
from bncheck.config.mistake import Mistake, Mistakes, TooMany
from bncheck.config.node import MappingNode, described
from bncheck.config.override import Override

__all__ = ["QUICKSTART", "ConfigError", "Override", "from_overrides", "from_settings", "read"]

QUICKSTART = ("shapes=[[65, 67], [5, 3, 4, 3], [5, 3, 1, 1]]", "seeds=3")
"""The keys for an implementation that comes with no config and no shape; `configs/quickstart.yaml` has the same."""

_EXAMPLE = "write, for example, shapes: [[32, 64]]"


class ConfigError(Exception):
    """Mistakes of a config and of its overrides, in the order of their places."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__(self.mistakes)

    def __str__(self) -> str:
        return "\n\n".join(map(str, self.mistakes))


def read(path: str | Path, overrides: Sequence[str | Override] = ()) -> list[Case]:
    """Read the cases of a file, entry by entry, each with the path as its source.

    An override is a key=value, as given to `--set`, or an `Override`: it beats the top of the file and every entry.
    Raises ConfigError with every mistake of both.
    """
    return _checked(str(path), overrides, lambda mistakes: _entries_of(path, mistakes))


def from_overrides(overrides: Sequence[str | Override]) -> list[Case]:
    """Read the cases that overrides alone ask for, with no source.

    An implementation without a shape is checked on those of QUICKSTART, which no case of it was asked for. Raises
    ConfigError, also where there is no shape.
    """
    given = override.read(overrides, Mistakes())
    if "implementation" not in given.keys or "shapes" in given.keys or entry.are_recorded(given.draws):
        return _checked("", overrides, lambda mistakes: [ConfigEntry()])
    found = _checked("", overrides, lambda mistakes: [override.read(QUICKSTART, mistakes).over(ConfigEntry())])
    return [replace(case, asked=tuple(sorted(given.keys))) for case in found]


def from_settings(settings: Sequence[Override], overrides: Sequence[Override] = ()) -> list[Case]:
    """Read the cases of settings, one at least, that stand at the top of a config without a file; `cases` may be one.

    Overrides beat them, as in `read`. Raises ConfigError with every mistake of both.
    """
    return _checked("", overrides, lambda mistakes: entry.entries_of(override.top(settings, mistakes), mistakes))


def _checked(
    source: str, overrides: Sequence[str | Override], entries_of: Callable[[Mistakes], list[ConfigEntry]]
) -> list[Case]:
    """Put overrides over entries and make the cases. Raises ConfigError where there was any mistake."""
    mistakes = Mistakes()
    found: list[Case] = []
    unseen: list[Mistake] = []
    try:
        overridden = override.read(overrides, mistakes)
        found = cases.multiply_out([overridden.over(low) for low in entries_of(mistakes)], source, mistakes)
    except TooMany:
        unseen = [Mistake(f"there are more than these {len(mistakes)} mistakes", "correct them first")]
    if mistakes:
        raise ConfigError([*mistakes, *unseen])
    return found


def _entries_of(path: str | Path, mistakes: Mistakes) -> list[ConfigEntry]:
    """Read the entries of a file, the top itself where it has no `cases:`; none where the file cannot be read."""
    before = len(mistakes)
    root = document.load(path, mistakes)
    if root is None:
        if len(mistakes) == before:
            mistakes.add(f"{path} is empty", _EXAMPLE)
        return []
    if not isinstance(root, MappingNode):
        mistakes.add(f"the config is {described(root)}, expected a mapping of keys", _EXAMPLE, root.place)
        return []
    return entry.entries_of(root, mistakes)
