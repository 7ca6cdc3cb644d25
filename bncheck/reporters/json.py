"""The report for programs. Numbers that are not finite are null."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from bncheck.comparison import Comparison
from bncheck.report import CaseReport, Report
from bncheck.reporters import document

if TYPE_CHECKING:
    from bncheck.blindness import Blind

FORMAT = 1  # raised when a key changes its meaning or goes away, not when one is added


def render(report: Report) -> str:
    """The report as JSON text, one object."""
    return document.render(
        FORMAT,
        report.status,
        report.status.sentence,
        selected=report.selected,
        checked=len(report.cases),
        counts={verdict.value: number for verdict, number in report.counts().items()},
        stopped=report.stopped or None,
        seconds=report.seconds,
        cases=[_case(case) for case in report.cases],
    )


def _case(found: CaseReport) -> dict[str, Any]:
    return {
        "label": found.case.label,
        "source": found.case.source or None,
        "verdict": found.verdict.value,
        "reason": found.reason or None,
        "note": found.note or None,
        "blind": [_blind(blind) for blind in found.blind],
        "output": found.output or None,
        "findings": [asdict(finding) for finding in found.findings],
        "repeat": found.repeat or None,
        "seconds": found.seconds,
        "case": asdict(found.case),
        "nodes": {comparison.node: _node(comparison) for comparison in found.comparisons},
    }


def _blind(found: Blind) -> dict[str, Any]:
    faults = [fault.name for fault in found.faults]
    return {"sentence": found.sentence, "reason": found.reason, "cure": found.cure, "faults": faults}


def _node(found: Comparison) -> dict[str, Any]:
    node = asdict(found)
    del node["node"]
    return {**node, "note": found.note or None}
