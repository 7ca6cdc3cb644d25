"""The power of checks, for people: a table of cases, then the faults they are blind to, why, and the cure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from bncheck.faults.catalogue import KNOWN
from bncheck.faults.power import CasePower, Detection, Power
from bncheck.gradients.batchnorm import NODES
from bncheck.report import status_of_power
from bncheck.reporters import console, table
from bncheck.status import ExitStatus

STYLES = {ExitStatus.PASSED: "green", ExitStatus.FAILED: "bold red", ExitStatus.NOT_STARTED: "yellow"}


def body(power: Power, detail: console.Detail) -> RenderableType:
    """The power for a rich console. In full the cases are numbered; the numbers are the heads of the matrix."""
    full = detail is console.Detail.FULL
    heading = Text("Faults that each case would catch, and the smallest relative slip it would show", style="bold")
    digits = len(str(len(power.cases)))
    rows = table.columns("case", "caught", "invisible", *NODES)
    for number, found in enumerate(power.cases, 1):
        label = f"{number:>{digits}}  {found.case.label}" if full else found.case.label
        rows.add_row(*map(Text, (label, *_cells(found))))
    matrix = [Matrix(power)] if full else []
    blind = [_blind(found) for found in power.cases if found.visibility.blind or found.reason]
    last = Text(power.sentence, style=STYLES[status_of_power(power)], overflow="fold")
    return Group(heading, rows, Text(), *matrix, *blind, last)


def _cells(found: CasePower) -> list[str]:
    slips = [found.slips.get(node, math.inf) for node in NODES]
    counts = [str(len(faults)) for faults in (found.visibility.visible, found.visibility.invisible)]
    return [*(["-", "-"] if found.reason else counts), *("-" if math.isinf(slip) else f"{slip:.0e}" for slip in slips)]


def _blind(found: CasePower) -> RenderableType:
    lines = [found.reason] if found.reason else [blind.sentence for blind in found.visibility.blind]
    return table.section(Text.assemble(("BLIND", "yellow"), "  ", (found.case.label, "bold")), lines)


# --- the matrix fault x case ------------------------------------------------------------------------------------

MARKS = {Detection.CAUGHT: ".", Detection.INVISIBLE: "o", Detection.IMPOSSIBLE: "-", Detection.SKIPPED: " "}
LEGEND = {
    Detection.CAUGHT: ". caught",
    Detection.INVISIBLE: "o invisible",
    Detection.IMPOSSIBLE: "- not possible in that case",
    Detection.SKIPPED: "blank: the case would be skipped",
}
TOGETHER = 10  # cases between two gaps
NAMED = max(len(fault.name) for fault in KNOWN) + 4  # columns of a fault's name and the space around it


class Matrix(NamedTuple):
    """The matrix fault x case, for rich. Cases are numbered from 1; what is too wide is split into blocks of cases."""

    power: Power

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Its lines, none wider than the console."""
        outcomes = [found.outcomes() for found in self.power.cases]
        seen = {outcome for found in outcomes for outcome in found.values()}
        yield Text("What each case would make of each known fault", style="bold")
        yield Text(", ".join(text for outcome, text in LEGEND.items() if outcome in seen), style="dim")
        numbers = range(1, len(outcomes) + 1)
        block = fitting(len(outcomes), options.max_width - NAMED)
        for first in range(0, len(outcomes), block):
            yield from _heads(numbers[first : first + block], len(str(len(outcomes))))
            yield from self._rows(outcomes[first : first + block])
            yield Text()

    def _rows(self, outcomes: Sequence[Mapping[str, Detection]]) -> Iterator[Text]:
        unseen = {fault.name for fault in self.power.unseen}
        for row in ("beta", "gamma", "x"):
            yield Text(row, style="bold")
            for fault in (fault for fault in KNOWN if fault.row == row):
                marks = Text(_spaced(MARKS[found[fault.name]] for found in outcomes).rstrip())
                marks.highlight_regex(MARKS[Detection.INVISIBLE], "yellow")
                yield Text.assemble((f"  {fault.name:<{NAMED - 2}}", "bold red" if fault.name in unseen else ""), marks)


def fitting(cases: int, width: int) -> int:
    """The number of cases that fit side by side: all of them, or a multiple of TOGETHER, at least that."""
    if cases + (cases - 1) // TOGETHER <= width:
        return max(cases, 1)
    return max(TOGETHER, (width + 1) // (TOGETHER + 1) * TOGETHER)


def _heads(numbers: Sequence[int], digits: int) -> Iterator[Text]:
    """The numbers of the cases, each read from the top down."""
    for place in range(digits):
        name = "case" if place == digits - 1 else ""
        yield Text(f"{name:<{NAMED}}{_spaced(f'{number:>{digits}}'[place] for number in numbers)}".rstrip())


def _spaced(marks: Iterator[str]) -> str:
    """One character a case, with gaps."""
    line = "".join(marks)
    return " ".join(line[first : first + TOGETHER] for first in range(0, len(line), TOGETHER))
