"""Mistakes, a line each: for a terminal that shows little, for editors, and for what servers of CI show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from bncheck.case import Verdict
from bncheck.files.project import is_path, split
from bncheck.report import CaseReport, Run
from bncheck.reporters.table import Trouble, last_line, stories
from bncheck.terminal import escaped


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
        for trouble in sorted(story.troubles, key=lambda trouble: trouble.finding is None):
            at = trouble.finding.statements[0] if trouble.finding and trouble.finding.statements else None
            rows = trouble.finding.rows if trouble.finding else tuple(row.node for row in trouble.rows)
            where = (at.file, at.line) if at else (file, 0)
            yield Sentence(*where, first.verdict, story.label, rows, _sentence(trouble))
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
