"""The power of checks, for people: a table of cases, then what they are blind to, why, and the cure."""

from __future__ import annotations

import math

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from bncheck.batchnorm import NODES
from bncheck.power import CasePower, Power
from bncheck.reporters import console, table

UNSEEN = "{count} of the known faults no case would catch: {names}"


def show(power: Power, color: str) -> None:
    """Print it on stdout. `color` is auto, always or never."""
    console.show(_body(power), color, table.NARROWEST)


def render(power: Power) -> str:
    """The same as plain text."""
    return console.render(_body(power))


def _body(power: Power) -> RenderableType:
    heading = Text("Faults that each case would catch, and the smallest relative slip it would show", style="bold")
    rows = table.columns("case", "caught", "invisible", *NODES)
    for found in power.cases:
        rows.add_row(Text(found.case.label), *(Text(cell) for cell in _cells(found)))
    blind = [_blind(found) for found in power.cases if found.sight.blind or found.reason]
    return Group(heading, rows, Text(), *blind, _last_line(power))


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


def _last_line(power: Power) -> Text:
    unseen = power.unseen
    if unseen:
        names = "; ".join(fault.name for fault in unseen)
        return Text(UNSEEN.format(count=len(unseen), names=names), style="bold red", overflow="fold")
    return Text("every known fault is caught by some case", style="green")
