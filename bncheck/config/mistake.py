"""A mistake in what the user wrote: the sentence, the place in the text, what to do, and the word that was meant."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from bncheck.terminal import escaped

SHOWN = 100
"""Mistakes kept of one file. Nobody reads more, and finding more could take longer than a second."""

# What libyaml takes for a line break, so that our line numbers are its line numbers.
_LINE_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")


class TooMany(Exception):  # noqa: N818 - the signal to stop looking, not an error of its own
    """More than SHOWN mistakes: the rest is not looked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Text:
    """Text of the user, in lines, under the name that the arrow of a mistake shows.

    `numbered` is False for a command line, where a line number would mean nothing.
    """

    name: str
    lines: tuple[str, ...]
    numbered: bool = True

    @property
    def folder(self) -> str:
        """Folder that paths in the text are relative to: that of a file, or "" for a command line."""
        return os.path.dirname(self.name) if self.numbered else ""


class Stretch(NamedTuple):
    """A stretch of one line of a text. `line` and `column` count from 0, `column` and `width` in characters."""

    text: Text
    line: int
    column: int
    width: int = 1

    @property
    def order(self) -> tuple[bool, int, int]:
        """Key to sort places by: those of a file by line, then those of the command line as they were given."""
        return (False, self.line, self.column) if self.text.numbered else (True, 0, 0)


class Mistake(NamedTuple):
    """A mistake: what was found and expected, what to do, and where; no place for what has no line (a missing file).

    `str` of it is the block that the terminal shows. Nothing in the block is a control character or half a
    surrogate pair: those are written as their Python escapes.
    """

    says: str
    hint: str = ""
    place: Stretch | None = None

    def __str__(self) -> str:
        if self.place is None:
            return printable(f"error: {self.says}; {self.hint}" if self.hint else f"error: {self.says}")
        text, line = self.place.text, self.place.line
        number = str(line + 1) if text.numbered else " "
        where = f"{text.name}:{number}:{self.place.column + 1}" if text.numbered else shortened(text.name)
        shown, before, width = _window(self.place)
        gutter = " " * len(number)
        above = f"error: {self.says}", f"{gutter} --> {where}"
        source = f"{number} | {shown}", f"{gutter} | {' ' * before}{'^' * width} {printable(self.hint)}"
        return "\n".join((*map(printable, above), *map(str.rstrip, source)))


class Mistakes:
    """Mistakes found so far, each once; iterating gives them in the order of their places."""

    def __init__(self) -> None:
        self._found: dict[Mistake, None] = {}

    def add(self, says: str, hint: str = "", place: Stretch | None = None) -> None:
        """Keep a mistake. Raises TooMany where there are SHOWN of them already."""
        mistake = Mistake(says, hint, place)
        if mistake not in self._found and len(self._found) == SHOWN:
            raise TooMany
        self._found[mistake] = None

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Mistake]:
        return iter(sorted(self._found, key=lambda mistake: mistake.place.order if mistake.place else (False, -1, -1)))


def path_in(folder: str, written: str) -> str:
    """Path of a file as written in a text that lies in `folder`; relative to the current one where it is below that."""
    found = os.path.abspath(os.path.join(folder, os.path.expanduser(written)))
    return os.path.relpath(found) if Path(found).is_relative_to(os.getcwd()) else found


def text_of(name: str, content: str, numbered: bool = True) -> Text:
    """Split a text into its lines, where the YAML parsers split them."""
    return Text(name, tuple(_LINE_BREAK.split(content)), numbered)


# --- how it is shown --------------------------------------------------------------------------------------------------

COLUMNS = 100
"""A source line wider than this is shown as a window around the mistake: it must not wrap under its carets."""

_LEAD = 40
"""Columns shown before the mistake in a window."""


def printable(text: str) -> str:
    """Escape everything in a text that a terminal would act on or could not print, line breaks included."""
    return escaped(text, kept="")


def quoted(text: str) -> str:
    """Put a text between quotes, cut short where it is too long for a sentence."""
    return f"'{shortened(text, 40)}'"


def shortened(text: str, limit: int = COLUMNS) -> str:
    """Cut a text that is longer than `limit` characters, so that it ends in `...`."""
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _window(place: Stretch) -> tuple[str, int, int]:
    """Source line as shown, the columns before its carets, and the number of carets.

    Only characters that could come into the window are looked at: a line may be a megabyte long.
    """
    line = place.text.lines[place.line]
    start = min(place.column, len(line))
    head = [_cell(character) for character in line[max(0, start - COLUMNS) : start]]
    tail = [_cell(character) for character in line[start : start + COLUMNS]]
    prefix = suffix = ""
    if len(line) > len(head) + len(tail) or _columns(head + tail) > COLUMNS:
        if _columns(head) > _LEAD:
            prefix, head = "...", _fitting(head[::-1], _LEAD)[::-1]
        if _columns(head + tail) > COLUMNS - 6:
            suffix, tail = "...", _fitting(tail, COLUMNS - 6 - _columns(head))
    shown = prefix + "".join(cell for cell, _ in head + tail) + suffix
    return shown, len(prefix) + _columns(head), _columns(tail[: place.width]) or 1


def _fitting(cells: list[tuple[str, int]], columns: int) -> list[tuple[str, int]]:
    """Take the longest start of the cells that is no wider than `columns`."""
    widths = accumulate(width for _, width in cells)
    return [cell for cell, total in zip(cells, widths, strict=True) if total <= columns]


def _columns(cells: list[tuple[str, int]]) -> int:
    """Width of the cells together."""
    return sum(width for _, width in cells)


def _cell(character: str) -> tuple[str, int]:
    """A character as shown and the columns that it takes: a tab one, a wide one two, a combining one none."""
    if character == "\t":
        return " ", 1
    if character.isascii() or not character.isprintable():
        shown = printable(character)
        return shown, len(shown)
    import unicodedata

    if unicodedata.category(character) in ("Mn", "Me"):
        return character, 0
    return character, 2 if unicodedata.east_asian_width(character) in "WF" else 1


# --- the word that was meant -----------------------------------------------------------------------------------------


CUTOFF = 0.6
"""Words less alike than this (difflib's ratio, its own default) are not offered: a wild guess is worse than none."""

SYNONYMS = {
    "shape": "batchsize size",
    "eps": "epsilon",
    "channel_axis": "axis",
    "dout": "dx grad",
    "gamma": "weight scale",
    "beta": "bias shift",
    "rtol": "tolerance tol atol",
    "mean": "mu shift",
    "std": "sigma scale",
    "eval": "test inference",
    "train": "training",
    "float64": "double",
    "float32": "float single",
    "float16": "half",
    "bfloat16": "bf16 brain",
    "normal": "random randn",
    "channels first": "nchw",
    "channels last": "nhwc",
    "file": "path",
    "create": "init constructor",
}
"""Words that others use for ours, in lower case without - and _; the first of ours that is known there is meant."""


def did_you_mean(word: str, known: Collection[str]) -> str:
    """Question that offers the known word that was meant; empty where none is near."""
    other = meant(word, tuple(known))
    return f"did you mean {quoted(other)}?" if other and other != word else ""


def listed(words: Sequence[str]) -> str:
    """Put words into a sentence: a, b or c."""
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


@cache
def meant(word: str, known: tuple[str, ...]) -> str | None:
    """Find the known word that is meant by an unknown one; None where none is near."""
    plain = _plain(word)
    alike = [other for other in known if _plain(other) == plain]
    synonyms = [ours for ours, words in SYNONYMS.items() if plain in words.split()]
    if alike or synonyms:
        return next((other for other in (*alike, *synonyms) if other in known), None)
    import difflib

    # Of two spellings of a key, shape and shapes, the plural is offered: it takes one or several.
    candidates = [other for other in known if f"{other}s" not in known]
    near = difflib.get_close_matches(word[:40], candidates, n=1, cutoff=CUTOFF)
    return near[0] if near else None


def _plain(word: str) -> str:
    return word.casefold().replace("-", "").replace("_", "")
