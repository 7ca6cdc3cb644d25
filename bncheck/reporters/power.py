"""The power of checks, for people: a table of cases, then what they are blind to, why, and the cure."""

from __future__ import annotations

import math

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from bncheck.batchnorm import NODES
from bncheck.power import CasePower, Power
from bncheck.reporters import console, table
from bncheck.reporters.matrix import Matrix
from bncheck.status import ExitStatus

STYLES = {ExitStatus.PASSED: "green", ExitStatus.FAILED: "bold red", ExitStatus.NOT_STARTED: "yellow"}


def show(power: Power, detail: table.Detail, color: str) -> None:
    """Print it on stdout. `color` is auto, always or never."""
    console.show(_body(power, detail), color, table.NARROWEST)


def render(power: Power, detail: table.Detail) -> str:
    """The same as plain text."""
    return console.render(_body(power, detail))


def _body(power: Power, detail: table.Detail) -> RenderableType:
    """With full detail the cases are numbered, and the matrix fault x case has these numbers as its heads."""
    full = detail is table.Detail.FULL
    heading = Text("Faults that each case would catch, and the smallest relative slip it would show", style="bold")
    digits = len(str(len(power.cases)))
    rows = table.columns("case", "caught", "invisible", *NODES)
    for number, found in enumerate(power.cases, 1):
        label = f"{number:>{digits}}  {found.case.label}" if full else found.case.label
        rows.add_row(*map(Text, (label, *_cells(found))))
    matrix = [Matrix(power)] if full else []
    blind = [_blind(found) for found in power.cases if found.sight.blind or found.reason]
    last = Text(power.sentence, style=STYLES[power.status], overflow="fold")
    return Group(heading, rows, Text(), *matrix, *blind, last)


def _cells(found: CasePower) -> list[str]:
    if found.reason:
        return ["-", "-", *("-" for _ in NODES)]
    slips = [found.slips.get(node, math.inf) for node in NODES]
    told = ["-" if math.isinf(slip) else f"{slip:.0e}" for slip in slips]
    return [str(len(found.sight.visible)), str(len(found.sight.invisible)), *told]


def _blind(found: CasePower) -> RenderableType:
    lines = [found.reason] if found.reason else [blind.sentence for blind in found.sight.blind]
    told = (Padding(Text(line, overflow="fold"), (0, 0, 0, 2), expand=False) for line in lines)
    return Group(Text.assemble(("BLIND", "yellow"), "  ", (found.case.label, "bold")), *told, Text())
