"""Known faults as rows and cases as columns, as wide as there is room for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from bncheck.fault import Fault
from bncheck.faults import FAULTS
from bncheck.power import Outcome, Power

MARKS = {Outcome.CAUGHT: ".", Outcome.INVISIBLE: "o", Outcome.IMPOSSIBLE: "-", Outcome.SKIPPED: " "}
LEGEND = {
    Outcome.CAUGHT: ". caught",
    Outcome.INVISIBLE: "o invisible",
    Outcome.IMPOSSIBLE: "- not possible in that case",
    Outcome.SKIPPED: "blank: the case would be skipped",
}
HEADING = "What each case would make of each known fault"
TOGETHER = 10
"""Cases between two gaps."""

ROWS = ("beta", "gamma", "x")
NAMED = max(len(fault.name) for fault in FAULTS) + 4
"""Columns of a fault's name and the space around it."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """The matrix fault x case, for rich. Cases are numbered from 1; what is too wide is split into blocks of cases."""

    power: Power

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Its lines, none wider than the console."""
        outcomes = [found.outcomes() for found in self.power.cases]
        seen = {outcome for found in outcomes for outcome in found.values()}
        yield Text(HEADING, style="bold")
        yield Text(", ".join(text for outcome, text in LEGEND.items() if outcome in seen), style="dim")
        numbers = range(1, len(outcomes) + 1)
        block = fitting(len(outcomes), options.max_width - NAMED)
        for first in range(0, len(outcomes), block):
            yield from _heads(numbers[first : first + block], len(str(len(outcomes))))
            yield from self._rows(outcomes[first : first + block])
            yield Text()

    def _rows(self, outcomes: Sequence[Mapping[str, Outcome]]) -> Iterator[Text]:
        unseen = {fault.name for fault in self.power.unseen}
        for row in ROWS:
            yield Text(row, style="bold")
            for fault in FAULTS:
                if fault.row == row:
                    yield _row(fault, outcomes, "bold red" if fault.name in unseen else "")


def fitting(cases: int, width: int) -> int:
    """How many cases fit side by side: all of them, or a multiple of TOGETHER, at least that."""
    if cases + (cases - 1) // TOGETHER <= width:
        return max(cases, 1)
    return max(TOGETHER, (width + 1) // (TOGETHER + 1) * TOGETHER)


def _heads(numbers: Sequence[int], digits: int) -> Iterator[Text]:
    """The numbers of the cases, each read from the top down."""
    for place in range(digits):
        name = "case" if place == digits - 1 else ""
        yield Text(f"{name:<{NAMED}}{_spaced(f'{number:>{digits}}'[place] for number in numbers)}".rstrip())


def _row(fault: Fault, outcomes: Sequence[Mapping[str, Outcome]], style: str) -> Text:
    marks = Text(_spaced(MARKS[found[fault.name]] for found in outcomes).rstrip())
    marks.highlight_regex(MARKS[Outcome.INVISIBLE], "yellow")
    return Text.assemble((f"  {fault.name:<{NAMED - 2}}", style), marks)


def _spaced(marks: Iterator[str]) -> str:
    """One character a case, with gaps."""
    line = "".join(marks)
    return " ".join(line[first : first + TOGETHER] for first in range(0, len(line), TOGETHER))
