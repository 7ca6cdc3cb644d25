"""The report for people: tables, then what did not pass."""

from __future__ import annotations

import io
import re
import sys
from enum import Enum
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bncheck.batchnorm import NODES
from bncheck.comparison import Comparison, Verdict
from bncheck.report import CaseReport, Report
from bncheck.status import ExitStatus

STYLES = {
    Verdict.PASS: "green",
    Verdict.FAIL: "bold red",
    Verdict.UNRESOLVED: "yellow",
    Verdict.ERROR: "bold red",
    Verdict.SKIPPED: "dim",
}
MARKS = {Verdict.FAIL: "!", Verdict.UNRESOLVED: "?"}
LEGEND = {
    "!": "above the tolerance",
    "?": "the numeric gradient cannot tell",
    "~": "vanishing: in some feature there is nothing but roundoff to compare",
}
COUNTED = {
    Verdict.PASS: "passed",
    Verdict.FAIL: "failed",
    Verdict.UNRESOLVED: "unresolved",
    Verdict.ERROR: "ended in an error",
    Verdict.SKIPPED: "skipped",
}
SHOWN = 10  # cases that are told in full, unless -v asks for all
WIDE = 10_000  # a pipe has no width: nothing is wrapped there
NARROWEST = 72  # below this the terminal wraps lines: a table squeezed further would lose digits
PLAIN: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}  # what users wrote stays as it is


class Detail(Enum):
    """How much is shown."""

    QUIET = "what did not pass, and the last line"
    USUAL = "the table, what did not pass, and the last line"
    FULL = "also every case node by node"


def show(report: Report, detail: Detail, color: str) -> None:
    """Print the report on stdout. `color` is auto, always or never."""
    console = Console(force_terminal=True if color == "always" else None, no_color=color == "never" or None, **PLAIN)
    if sys.stdout.isatty():
        console.width = max(console.width, NARROWEST)
        console.print(body(report, detail))
        return
    console.width = WIDE
    with console.capture() as captured:
        console.print(body(report, detail))
    print(_without_padding(captured.get()), end="")


def render(report: Report, detail: Detail) -> str:
    """The report as plain text, as wide as it needs."""
    console = Console(file=io.StringIO(), width=WIDE, no_color=True, **PLAIN)
    with console.capture() as captured:
        console.print(body(report, detail))
    return _without_padding(captured.get())


def _without_padding(text: str) -> str:
    """Lines end where their text ends, before whatever resets the colour."""
    return re.sub(r" +((?:\x1b\[[0-9;]*m)*)$", r"\1", text, flags=re.MULTILINE)


def body(report: Report, detail: Detail) -> RenderableType:
    """The report as something that a rich console prints."""
    parts: list[RenderableType] = []
    if detail is not Detail.QUIET and len(report.cases) > 1:
        parts.append(_cases_table(report))
    if (detail is not Detail.QUIET and len(report.cases) == 1) or detail is Detail.FULL:
        parts += [part for found in report.cases if found.comparisons for part in (_title(found), _nodes_table(found))]
    unhappy = [found for found in report.cases if found.verdict is not Verdict.PASS]
    shown = unhappy if detail is Detail.FULL else unhappy[:SHOWN]
    parts += [_story(found) for found in shown]
    if len(shown) < len(unhappy):
        parts.append(Text(f"and {len(unhappy) - len(shown)} more; -v or --format json has them all\n"))
    return Group(*parts, _last_line(report))


# --- tables ----------------------------------------------------------------------------------------------------


def _cases_table(report: Report) -> RenderableType:
    """Cases as rows, nodes as columns, relative errors inside."""
    table = _table("case", *NODES, "verdict")
    sources = list(dict.fromkeys(found.case.source for found in report.cases))
    for source in sources:
        if len(sources) > 1:
            table.add_row(Text(source, style="bold"))
        for found in report.cases:
            if found.case.source == source:
                cells = {comparison.node: _marked(comparison) for comparison in found.comparisons}
                verdict = Text(found.verdict.value, style=STYLES[found.verdict])
                table.add_row(
                    Text(found.case.label), *(cells.get(node, Text("-", style="dim")) for node in NODES), verdict
                )
    comparisons = [comparison for found in report.cases for comparison in found.comparisons]
    legend = [f"{mark} {meaning}" for mark, meaning in LEGEND.items() if mark in {_mark(c) for c in comparisons}]
    heading = Text("Relative error of the gradient at each node", style="bold")
    return Group(heading, table, *(Text(line, style="dim") for line in legend), Text())


def _nodes_table(found: CaseReport) -> RenderableType:
    """Nodes as rows: what was judged, and where it is worst."""
    table = _table("node", "error", "tolerance", "resolution", "worst at", "verdict")
    for comparison in found.comparisons:
        verdict = comparison.verdict.value + (", vanishing" if comparison.vanishing else "")
        table.add_row(
            Text(comparison.node),
            *(Text(_number(value)) for value in (comparison.error, comparison.tolerance, comparison.resolution)),
            Text(str(list(comparison.worst.index))),
            Text(verdict, style=STYLES[comparison.verdict]),
        )
    return Group(table, Text())


def _table(first: str, *rest: str) -> Table:
    """Plain lines, nothing cut: the first column is folded where the terminal is narrow."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold", show_edge=False)
    table.add_column(first, overflow="fold", min_width=5)
    for name in rest:
        of_numbers = name in (*NODES, "error", "tolerance", "resolution")
        table.add_column(name, justify="right" if of_numbers else "left", no_wrap=True)
    return table


def _title(found: CaseReport) -> RenderableType:
    case = found.case
    told = f"{case.implementation}, {case.mode}, {case.dtype}, eps {case.eps:g}, {found.comparisons[-1].method}"
    return Text.assemble((case.label, "bold"), f"  {told}", overflow="fold")


def _marked(comparison: Comparison) -> Text:
    return Text(f"{_number(comparison.error)}{_mark(comparison)}", style=STYLES[comparison.verdict])


def _mark(comparison: Comparison) -> str:
    if comparison.verdict is Verdict.PASS:
        return "~" if comparison.vanishing else " "
    return MARKS[comparison.verdict]


def _number(value: float) -> str:
    return "0" if value == 0 else f"{value:.1e}"


# --- what did not pass -----------------------------------------------------------------------------------------


def _story(found: CaseReport) -> RenderableType:
    """What did not pass in one case, where, by how much, and the command that repeats just this."""
    head = Text.assemble((found.verdict.value.upper(), STYLES[found.verdict]), "  ", (found.case.label, "bold"))
    lines = [found.reason] if found.reason else []
    lines += [line for comparison in found.comparisons for line in _told(comparison)]
    lines.append(f"repeat: {found.repeat}")
    return Group(head, *(Padding(Text(line, overflow="fold"), (0, 0, 0, 2), expand=False) for line in lines), Text())


def _told(comparison: Comparison) -> list[str]:
    if comparison.verdict is Verdict.PASS:
        return []
    error, tolerance, resolution = map(_number, (comparison.error, comparison.tolerance, comparison.resolution))
    worst = comparison.worst
    at = (
        f"  worst at {list(worst.index)}: analytic {worst.analytic!r}, numeric {worst.numeric!r}; "
        f"{comparison.off} of {comparison.size} elements are off"
    )
    note = [f"  {comparison.note}"] if comparison.note else []
    if comparison.verdict is Verdict.UNRESOLVED:
        told = (
            f"{comparison.node}: relative error {error}, and differences resolve {resolution} ({comparison.method}), "
        )
        return [f"{told}so they cannot tell whether it is within the tolerance {tolerance}; raise rtol", *note]
    return [f"{comparison.node}: relative error {error}, tolerance {tolerance}, resolution {resolution}", at, *note]


def _last_line(report: Report) -> Text:
    counts = {verdict: number for verdict, number in report.counts().items() if number}
    line = Text()
    for verdict, number in counts.items():
        line.append(", " if line else "")
        line.append(f"{number} {COUNTED[verdict]}", style=STYLES[verdict])
    left = report.selected - len(report.cases)
    if left:
        line.append(f"{', ' if line else ''}{left} not run ({report.stopped})", style="yellow")
    if report.status is ExitStatus.NOT_STARTED:
        line.append("; every case was skipped, so nothing was checked", style="yellow")
    return line.append(f" in {report.seconds:.2f} s")
