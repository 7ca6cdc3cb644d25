"""Mistakes, a line each: for a terminal that shows little, for editors, and as annotations of GitHub."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from bncheck.case import Verdict
from bncheck.files.project import is_path, split
from bncheck.report import CaseReport, Run
from bncheck.reporters.table import Trouble, last_line, stories
from bncheck.terminal import escaped

ANNOTATIONS = 9
"""Annotations of one run: GitHub shows ten of a step, and the last says how many more there are."""


class Sentence(NamedTuple):
    """One thing that is wrong: where it stands, in which case and rows, and the sentence that says it.

    `file` is empty where the code is ours or a module, `number` is 0 where no line of the file is known.
    """

    file: str
    number: int
    verdict: Verdict
    label: str
    rows: tuple[str, ...]
    sentence: str

    @property
    def title(self) -> str:
        """The verdict, the case and the rows."""
        return " ".join(filter(None, (self.verdict.value.upper(), ", ".join(self.rows), f"({self.label})")))


def lines_of(cases: Iterable[CaseReport]) -> Iterator[Sentence]:
    """Mistakes of cases, each told once: each finding, then each row that no finding explains."""
    cases = list(cases)
    for story in stories(found for found in cases if not found.acceptable):
        first = story.cases[0]
        place = "" if first.case.origin is None else split(first.case.origin.place)[0]
        file = place if is_path(place) else first.case.source
        more = f" and {len(story.cases) - 1} more" if len(story.cases) > 1 else ""
        for trouble in sorted(story.troubles, key=lambda trouble: trouble.finding is None):
            at = trouble.finding.statements[0] if trouble.finding and trouble.finding.statements else None
            rows = trouble.finding.rows if trouble.finding else tuple(row.node for row in trouble.rows)
            where = (at.file, at.line) if at else (file, 0)
            yield Sentence(*where, first.verdict, first.case.label + more, rows, _sentence(trouble))
    for found in cases:
        if not found.sees_enough:
            blind = f"blind: {found.blind[0].sentence}"
            yield Sentence(found.case.source, 0, Verdict.FAIL, found.case.label, (), blind)


def _sentence(trouble: Trouble) -> str:
    """Something that is wrong, on one line, without the rows."""
    if trouble.finding is not None:
        return trouble.finding.sentence.partition(": ")[2]
    if trouble.reason:
        return " ".join(trouble.reason.split())
    (row,) = trouble.rows
    numbers = f"relative error {row.error:.1e}, tolerance {row.tolerance:.1e}, resolution {row.resolution:.1e}"
    return row.note or numbers


def render(report: Run) -> str:
    """The report with a line for each thing that is wrong, and the last line of the table."""
    return f"{sentences(report)}{last_line(report).plain}\n"


def sentences(report: Run) -> str:
    """Everything that is wrong, a line each, with its place in front."""
    lines = []
    for line in lines_of(report.cases):
        place = f"{line.file}:{line.number}: " if line.number else f"{line.file}: " if line.file else ""
        lines.append(f"{place}{line.title} {line.sentence}\n")
    return escaped("".join(lines))


# --- annotations ------------------------------------------------------------------------------------------------


def annotated(report: Run) -> str:
    """The report as workflow commands of GitHub, which it shows beside the lines of the files."""
    lines = list(lines_of(report.cases))
    shown = "".join(_annotation(line) for line in lines[:ANNOTATIONS])
    more = len(lines) - ANNOTATIONS
    rest = f"::error title=bncheck::and {more} more; the summary of this run has them\n" if more > 0 else ""
    return escaped(f"{shown}{rest}{last_line(report).plain}\n")


def _annotation(line: Sentence) -> str:
    """One command; its rules of escaping are those of the toolkit of GitHub's actions."""
    properties = {"file": line.file, "line": str(line.number or 1), "col": "1", "title": line.title}
    if not line.file:
        properties = {"title": line.title}
    written = ",".join(f"{name}={_escaped(value, ',:')}" for name, value in properties.items())
    return f"::error {written}::{_escaped(line.sentence)}\n"


def _escaped(text: str, marks: str = "") -> str:
    """Text with what would end it, or a line, as GitHub reads it back."""
    return "".join(f"%{ord(one):02X}" if one in f"%\r\n{marks}" else one for one in text)
