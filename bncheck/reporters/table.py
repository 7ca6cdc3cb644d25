"""The report for people: tables, then what did not pass."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bncheck.case import Verdict
from bncheck.gradients.batchnorm import NODES
from bncheck.gradients.comparison import Comparison
from bncheck.report import CaseReport, Run
from bncheck.reporters import console
from bncheck.reporters.console import Detail as Detail
from bncheck.status import ExitStatus, Hints

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from bncheck.faults.diagnosis import Finding
    from bncheck.faults.reduction import LeastCase
    from bncheck.faults.region import Picture

STYLES = {
    Verdict.PASS: "green",
    Verdict.FAIL: "bold red",
    Verdict.UNRESOLVED: "yellow",
    Verdict.ERROR: "bold red",
    Verdict.SKIPPED: "dim",
}
LEGEND = {
    "!": "above the tolerance",
    "#": "fails for what is said of it below, and not for its size",
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
PRINTED = 20  # lines of what their code printed, the last ones
SHOWN = 10  # paragraphs on what did not pass, unless -v asks for all
LABELS = 5  # further cases that are named in each, unless -v asks for all
MORE = "-v or --format json has them all"
BLIND_LINES = 2  # about one case: its reasons, or the one with the most faults and how many there are for others


def render(report: Run, detail: Detail, more: str = MORE) -> str:
    """The report as plain text, as wide as it needs."""
    return console.render(body(report, detail, more))


def html(report: Run, detail: Detail, more: str = MORE) -> str:
    """The report as HTML: one element, in colour."""
    return console.html(body(report, detail, more))


def body(report: Run, detail: Detail, more: str = MORE) -> RenderableType:
    """The report as something that a rich console prints. `more` says where the cases are that are not told."""
    parts: list[RenderableType] = []
    if not detail.is_brief and len(report.cases) > 1:
        parts.append(_cases_table(report))
    if (not detail.is_brief and len(report.cases) == 1) or detail is Detail.FULL:
        parts += [part for found in report.cases if found.comparisons for part in (_title(found), _nodes_table(found))]
    every = stories(found for found in report.cases if found.verdict not in (Verdict.PASS, Verdict.SKIPPED))
    shown = every if detail.is_full else every[:SHOWN]
    for number, story in enumerate(shown):
        parts.append(_told(story, detail))
        parts += _where(story.cases[0]) if detail.is_full or not number else []
        parts += [part for found in story.cases if found.least for part in _least(found.least)]
    parts += _skipped(report)
    parts += _blind(report, detail, more)
    untold = len(every) - len(shown)
    if untold:
        parts.append(Text(f"and {untold} more; {more}\n"))
    notes = [] if detail is Detail.QUIET else _notes(report)
    return Group(*notes, *parts, last_line(report))


def _grouped(cases: Iterable[CaseReport], key: Callable[[CaseReport], object]) -> list[list[CaseReport]]:
    """Cases of one key together, in the order of the first of each."""
    groups: dict[object, list[CaseReport]] = {}
    for found in cases:
        groups.setdefault(key(found), []).append(found)
    return list(groups.values())


def _notes(report: Run) -> list[RenderableType]:
    """Lines on what was made up for when files were imported, and on what in them is left out, once each."""
    notes = dict.fromkeys(note for found in report.cases if found.case.origin for note in found.case.origin.notes)
    return [Text(f"note: {note}", style="dim", overflow="fold") for note in notes]


# --- tables ----------------------------------------------------------------------------------------------------


def _cases_table(report: Run) -> RenderableType:
    """Cases as rows, nodes as columns, relative errors inside. `out` stands before them where it was looked at."""
    seen = {comparison.node for found in report.cases for comparison in found.comparisons}
    nodes = tuple(node for node in ("out", *NODES) if node in seen or node in NODES)
    table = columns("case", *nodes, "verdict")
    sources = _grouped(report.cases, lambda found: found.case.source)
    for cases in sources:
        if len(sources) > 1:
            table.add_row(Text(cases[0].case.source, style="bold"))
        for found in cases:
            cells = {comparison.node: _marked(comparison) for comparison in found.comparisons}
            verdict = Text(found.verdict.value, style=STYLES[found.verdict])
            numbers = (cells.get(column, Text("-", style="dim")) for column in nodes)
            table.add_row(Text(found.case.label), *numbers, verdict)
    comparisons = [comparison for found in report.cases for comparison in found.comparisons]
    legend = [f"{mark} {meaning}" for mark, meaning in LEGEND.items() if mark in {_mark(c) for c in comparisons}]
    notes = Counter(found.note for found in report.cases if found.note)
    legend += [f"note: {note} ({count} of {len(report.cases)} cases)" for note, count in notes.items()]
    heading = Text("Relative error of the gradient at each node", style="bold")
    return Group(heading, table, *(Text(line, style="dim") for line in legend), Text())


def _nodes_table(found: CaseReport) -> RenderableType:
    """Nodes as rows: error, tolerance, resolution, verdict, and the element that is worst."""
    table = columns("node", "error", "tolerance", "resolution", "worst at", "verdict")
    for comparison in found.comparisons:
        marks = ", implied" * comparison.implied + ", vanishing" * bool(comparison.vanishing)
        numbers = (comparison.error, comparison.tolerance, comparison.resolution)
        table.add_row(
            Text(comparison.node),
            *(
                Text("-" if comparison.verdict is Verdict.SKIPPED or comparison.is_withheld else _number(value))
                for value in numbers
            ),
            Text(str(list(comparison.worst.index)) if comparison.worst.index else "-"),
            Text(comparison.verdict.value + marks, style=STYLES[comparison.verdict]),
        )
    notes = [f"{each.node}: {each.note}" for each in found.comparisons if each.verdict is Verdict.SKIPPED]
    notes += [f"note: {found.note}"] if found.note else []
    return Group(table, *(Text(note, style="dim") for note in notes), Text())


def columns(first: str, *rest: str) -> Table:
    """Plain lines, nothing cut: the first column is folded where the terminal is narrow."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold", show_edge=False)
    table.add_column(first, overflow="fold", min_width=5)
    for name in rest:
        of_numbers = name not in ("worst at", "verdict")
        table.add_column(name, justify="right" if of_numbers else "left", no_wrap=True)
    return table


def section(head: Text, lines: list[str]) -> RenderableType:
    """Lines below a head, indented, and an empty one."""
    return Group(head, *(Padding(Text(line, overflow="fold"), (0, 0, 0, 2), expand=False) for line in lines), Text())


def _title(found: CaseReport) -> RenderableType:
    case = found.case
    name = " ".join(dict.fromkeys(filter(None, (case.implementation, case.member))))
    methods = [row.method for row in found.comparisons if row.method]
    settings = ", ".join([name, case.mode, case.dtype, f"eps {case.eps:g}", *methods[-1:]])
    return Text.assemble((case.label, "bold"), f"  {settings}", overflow="fold")


def _marked(comparison: Comparison) -> Text:
    if comparison.verdict is Verdict.SKIPPED:
        return Text("-", style="dim")
    number = "-" if comparison.is_withheld else _number(comparison.error)
    return Text(f"{number}{_mark(comparison)}", style=STYLES[comparison.verdict])


def _mark(comparison: Comparison) -> str:
    if comparison.verdict is Verdict.FAIL:
        # A nan is above nothing.
        return "!" if comparison.error > comparison.tolerance or comparison.is_withheld else "#"
    if comparison.verdict is Verdict.UNRESOLVED:
        return "?"
    return "~" if comparison.verdict is Verdict.PASS and comparison.vanishing else ""


def _number(value: float) -> str:
    return "0" if value == 0 else f"{value:.1e}"


# --- what did not pass -----------------------------------------------------------------------------------------


class Trouble(NamedTuple):
    """Something that is wrong with a case: why it ended, or rows of it, with what was found of these, if anything."""

    reason: str = ""
    rows: tuple[Comparison, ...] = ()
    finding: Finding | None = None

    @property
    def kind(self) -> object:
        """Key of what is wrong, equal in all cases that show it."""
        rows = tuple((row.node, row.verdict, row.note) for row in self.rows)
        return (self.reason, rows) if self.finding is None else self.finding.kind

    def lines(self, detail: Detail) -> list[str]:
        """The numbers of its rows, and what was found."""
        lines = [self.reason] if self.reason else []
        lines += [line for row in self.rows for line in _numbers_of_failure(row)]
        if self.finding is not None:
            told = self.finding.statements if detail.is_full else self.finding.statements[:1]
            lines += [self.finding.sentence]
            lines += [f"  it should be: {self.finding.formula}"] if self.finding.formula else []
            lines += [f"  in {place.file}, line {place.line}:  {place.text}" for place in told]
        return lines


class Story(NamedTuple):
    """Cases with the same troubles, as these are in the first of them."""

    cases: list[CaseReport]
    troubles: list[Trouble]

    @property
    def label(self) -> str:
        """The label of the first case, and how many more there are."""
        more = len(self.cases) - 1
        return self.cases[0].case.label + (f" and {more} more" if more else "")


def _troubles(found: CaseReport) -> Iterator[Trouble]:
    """Troubles of a case, first those of which nothing is found. A gradient that dx implies is wrong as dx is."""
    of_row = {row: finding for finding in found.findings for row in finding.rows}
    wrong = [row for row in found.comparisons if row.verdict not in (Verdict.PASS, Verdict.SKIPPED)]
    explained = {row.node: of_row.get("x" if row.implied else row.node) for row in wrong}
    if found.reason:
        yield Trouble(found.reason)
    yield from (Trouble(rows=(row,)) for row in wrong if explained[row.node] is None)
    for finding in found.findings:
        yield Trouble(rows=tuple(row for row in wrong if explained[row.node] is finding), finding=finding)


def stories(cases: Iterable[CaseReport]) -> list[Story]:
    """Stories of what did not pass: each trouble once with all cases that show it, beside others of these cases."""
    showing: dict[object, list[tuple[CaseReport, Trouble]]] = {}
    for found in cases:
        for trouble in _troubles(found):
            of = found.case.member if trouble.finding else ""  # a finding has a line, and each member one of its own
            showing.setdefault((found.verdict, of, trouble.kind), []).append((found, trouble))
    alike: dict[tuple[int, ...], Story] = {}
    for shown in showing.values():
        story = alike.setdefault(tuple(id(found) for found, _ in shown), Story([found for found, _ in shown], []))
        story.troubles.append(shown[0][1])
    return list(alike.values())


def _told(story: Story, detail: Detail) -> RenderableType:
    """Text on what did not pass: where, by how much, and the command that repeats just the first case, if any."""
    first, *others = story.cases
    head = Text.assemble((first.verdict.value.upper(), STYLES[first.verdict]), "  ", (first.case.label, "bold"))
    head.append(f" and {len(others)} more" if others else "")
    labels = [found.case.label for found in (others if detail.is_full else others[:LABELS])]
    also = [f"also {', '.join(labels)}{', ...' if len(labels) < len(others) else ''}"] if others else []
    return section(head, also + _lines(story, detail))


def told(found: CaseReport) -> list[str]:
    """Lines on all that is wrong in one case, and on the command that repeats it."""
    return [line for story in stories([found]) for line in _lines(story, Detail.FULL)]


def _lines(story: Story, detail: Detail) -> list[str]:
    lines = [line for trouble in story.troubles for line in trouble.lines(detail)]
    first = story.cases[0]
    lines += [boundary.sentence for boundary in first.boundaries]
    if first.output.strip():
        lines += ["it printed:", *(f"  {line}" for line in first.output.rstrip().splitlines()[-PRINTED:])]
    return lines + ([f"repeat: {first.repeat}"] if first.repeat else [])


def _numbers_of_failure(comparison: Comparison) -> list[str]:
    if comparison.verdict in (Verdict.PASS, Verdict.SKIPPED):
        return []
    if comparison.note and not comparison.error > comparison.tolerance:
        return [f"{comparison.node}: {comparison.note}"]
    error, tolerance, resolution = map(_number, (comparison.error, comparison.tolerance, comparison.resolution))
    head, worst = f"{comparison.node}: relative error {error}", comparison.worst
    note = [f"  {comparison.note}"] if comparison.note else []
    if comparison.verdict is Verdict.UNRESOLVED:
        why = f"they cannot tell whether it is within the tolerance {tolerance}; raise rtol"
        return [f"{head}, and differences resolve {resolution} ({comparison.method}), so {why}", *note]
    numeric = f", numeric {worst.numeric!r}" if comparison.hints is Hints.FORMULA else ""
    at = f"  worst at {list(worst.index)}: analytic {worst.analytic!r}{numeric}"
    off = f"{comparison.off} of {comparison.size} elements are off"
    return [f"{head}, tolerance {tolerance}, resolution {resolution}", f"{at}; {off}", *note]


def _skipped(report: Run) -> Iterator[RenderableType]:
    """The reasons why cases were skipped, each once, with the first case that has it."""
    skipped = (found for found in report.cases if found.verdict is Verdict.SKIPPED)
    for cases in _grouped(skipped, lambda found: found.reason):
        more = f" and {len(cases) - 1} more" if len(cases) > 1 else ""
        head = Text.assemble(("SKIPPED", STYLES[Verdict.SKIPPED]), "  ", (cases[0].case.label, "bold"), more)
        yield section(head, [cases[0].reason])


# --- where it is wrong -------------------------------------------------------------------------------------------


SHADES, SHADES_IN_ASCII = " ░▒▓█", " .+*#"
PICTURE = "Where {row} is wrong: rows from top to bottom, features from left to right; blank is right, dark is wrong"


class Drawing(NamedTuple):
    """The fractions of elements that are wrong, line by line, drawn in shades, for the signs that a terminal has."""

    picture: Picture

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shades = SHADES_IN_ASCII if options.ascii_only else SHADES
        for line in self.picture:
            drawn = "".join(shades[math.ceil(share * (len(shades) - 1))] for share in line)
            yield Text(f"  |{drawn}|", no_wrap=True)
        yield Text()


def _where(found: CaseReport) -> Iterator[RenderableType]:
    """The pictures of what is wrong in some places and right in others."""
    for finding in found.findings:
        if finding.is_local:
            yield Text(PICTURE.format(row=finding.row), style="dim", overflow="fold")
            yield Drawing(finding.picture)


def _least(found: LeastCase) -> Iterator[RenderableType]:
    """A problem to be followed with a pencil: of each feature x and dout, and the gradients as given and as right."""
    shape = "x".join(map(str, found.shape))
    yield Text(f"The least case that fails so: {shape}, eps = {found.eps:g}", style="dim")
    numbers = {"x": found.x, "dout": found.dout}
    numbers |= {"dx given": found.given["x"], "dx right": found.right["x"]} if "x" in found.given else {}
    for place, feature in enumerate(found.features):
        yield Text(f"feature {feature}: gamma = {found.gamma[place]:.6g}, beta = {found.beta[place]:.6g}", style="dim")
        table = columns("row", *numbers)
        for number, row in enumerate(zip(*numbers.values(), strict=True)):
            table.add_row(str(number), *(f"{array[place]:.6g}" for array in row))
        yield table
        for node in (node for node in found.given if node != "x"):
            given, right = found.given[node][place], found.right[node][place]
            yield Text(f"d{node}: given {given:.6g}, right {right:.6g}")
    yield Text()


# --- what cases are blind to ------------------------------------------------------------------------------------


def _blind(report: Run, detail: Detail, more: str) -> list[RenderableType]:
    """The faults that cases could not have shown: of all cases, or in brief, of those that must show everything."""
    at_most = sys.maxsize if detail.is_full else BLIND_LINES
    cases = (found for found in report.cases if found.blind and not (detail.is_brief and found.sees_enough))
    groups = _grouped(cases, lambda found: (found.sees_enough, *((each.reason, each.cure) for each in found.blind)))
    told = [_group(alike, at_most, more) for alike in groups]
    from bncheck.faults.power import hidden_by_size

    if not detail.is_brief and (hidden := hidden_by_size(report.passed_cases)):
        head = Text.assemble(("BLIND", "yellow"), "  ", ("in all cases together", "bold"))
        told.append(section(head, [blind.sentence for blind in hidden]))
    return told


def _group(alike: list[CaseReport], at_most: int, more: str) -> RenderableType:
    """Cases that are blind for the same reasons, told once, by the blindest, in so many lines; `more` has the rest."""
    first = max(alike, key=_unseen)
    fewer = " (some to fewer faults)" if len({_unseen(found) for found in alike}) > 1 else ""
    others = f" and {len(alike) - 1} more{fewer}" if len(alike) > 1 else ""
    style = "yellow" if first.sees_enough else "bold red"
    shown = len(first.blind) if len(first.blind) <= at_most else at_most - 1
    lines = [blind.sentence for blind in first.blind[:shown]]
    rest = sum(len(blind.faults) for blind in first.blind[shown:])
    lines += [f"and {rest} more faults for other reasons; {more}"] if rest else []
    if not first.sees_enough:
        lines.append("this config demands sight (blind: fail), so the run fails")
    return section(Text.assemble(("BLIND", style), "  ", (first.case.label, "bold"), others), lines)


def _unseen(found: CaseReport) -> int:
    """The number of faults that could not have shown."""
    return sum(len(blind.faults) for blind in found.blind)


# --- the last line ----------------------------------------------------------------------------------------------


def last_line(report: Run) -> Text:
    """The number of cases that came to each verdict, and how long it took."""
    counts = {verdict: number for verdict, number in report.counts().items() if number}
    line = Text()
    for verdict, number in counts.items():
        line.append(", " if line else "")
        line.append(f"{number} {COUNTED[verdict]}", style=STYLES[verdict])
    blind = sum(not found.sees_enough for found in report.cases)
    if blind:
        line.append(f", {blind} blind", style=STYLES[Verdict.FAIL])
    left = report.selected - len(report.cases)
    if left:
        line.append(f"{', ' if line else ''}{left} not run ({report.stopped})", style="yellow")
    if report.status is ExitStatus.NOT_STARTED:
        line.append("; every case was skipped, so nothing was checked", style="yellow")
    return line.append(f" in {report.seconds:.2f} s")
