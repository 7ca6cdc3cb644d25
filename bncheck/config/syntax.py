"""What is wrong with a text that is not YAML, in a sentence that says what to do about it.

The two parsers, libyaml and PyYAML's own, find the same errors in the same places in different words; both are
answered here in one. Their sources: libyaml 0.2.5 scanner.c and parser.c, PyYAML 6 scanner.py and parser.py.
"""

from __future__ import annotations

import re
from typing import Protocol

from bncheck.config.mistake import Mistakes, Place, Text, printable

_INDENTED_BY_TAB = re.compile(r" *(\t+)")


class Mark(Protocol):
    """A position, from 0, as the parsers give it."""

    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...


class SyntaxFault(Protocol):
    """What the parsers raise: yaml.MarkedYAMLError."""

    @property
    def context(self) -> str | None: ...
    @property
    def context_mark(self) -> Mark | None: ...
    @property
    def problem(self) -> str | None: ...
    @property
    def problem_mark(self) -> Mark | None: ...


def add(text: Text, fault: SyntaxFault, mistakes: Mistakes) -> None:
    """Add the mistake that the parser stumbled over: a text has one, what follows cannot be told."""
    place = _place(text, fault.problem_mark)
    start = _place(text, fault.context_mark) if fault.context_mark else place
    tab = _INDENTED_BY_TAB.match(text.lines[place.line])
    if tab and place.column <= tab.end():
        says, hint = "a tab indents this line, and YAML wants blanks", "replace the tab by blanks"
        mistakes.add(says, hint, Place(text, place.line, tab.start(1), len(tab[1])))
        return
    context, problem = fault.context or "", fault.problem or "its parser gives no reason"
    says, hint = f"not YAML: {printable(problem)}", ""
    if context.startswith("while parsing a flow"):
        bracket = text.lines[start.line][start.column : start.column + 1]
        closing = "]" if bracket == "[" else "}"
        if _is_end(place):
            says, hint, place = f"this '{bracket}' is never closed", f"add its '{closing}'", start
        else:
            line = f" of line {start.line + 1}" if text.numbered else ""
            says, hint = f"a ',' or '{closing}' is missing before this", f"it belongs to the '{bracket}'{line}"
    elif "quoted scalar" in context and "end of stream" in problem:
        says, hint, place = "this quote is never closed", "add the second quote", start
    elif "mapping values are not allowed" in problem:
        says, hint = "a ':' is not allowed here", "check the indentation, or put text with a ':' in quotes"
    elif "could not find expected ':'" in problem:
        says, hint, place = "this line is no 'key: value'", "add ': ' after the key", start
    elif "cannot start any token" in problem:
        character = text.lines[place.line][place.column : place.column + 1]
        says, hint = f"a value cannot start with '{character}'", "put it in quotes"
        if character == "\t":
            says, hint = "a tab stands here, and YAML wants blanks", "replace the tab by blanks"
    elif "Unicode character escape" in problem:
        says, hint = "an escape here is no Unicode character", "write the character itself"
    elif context.startswith("while parsing a block") and "content" not in problem:
        says, hint = "this does not line up with what stands above it", "check the indentation"
    mistakes.add(says, hint, place)


def end_of(text: Text) -> Place:
    """The place behind the last character: libyaml puts what is missing at the end on a line of its own."""
    return Place(text, len(text.lines) - 1, len(text.lines[-1]))


def _place(text: Text, mark: Mark | None) -> Place:
    """The place of a mark, moved to the end of the text where it points behind it."""
    if mark is None:
        return Place(text, 0, 0)
    if mark.line >= len(text.lines):
        return end_of(text)
    return Place(text, mark.line, mark.column)


def _is_end(place: Place) -> bool:
    """Nothing follows the place."""
    lines = place.text.lines
    return not lines[place.line][place.column :].strip() and not any(map(str.strip, lines[place.line + 1 :]))
