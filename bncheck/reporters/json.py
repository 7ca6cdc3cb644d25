"""The report for programs. Numbers that are not finite are null."""

from __future__ import annotations

import json
import math
import platform
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from bncheck import __version__
from bncheck.comparison import Comparison
from bncheck.report import CaseReport, Report

if TYPE_CHECKING:
    from bncheck.blindness import Blind

FORMAT = 1  # raised when a key changes its meaning or goes away, not when one is added


def render(report: Report) -> str:
    """The report as JSON text, one object."""
    status = report.status
    found = {
        "format": FORMAT,
        "bncheck": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "status": {"code": int(status), "name": status.name.lower(), "sentence": status.sentence},
        "selected": report.selected,
        "checked": len(report.cases),
        "counts": {verdict.value: number for verdict, number in report.counts().items()},
        "stopped": report.stopped or None,
        "seconds": report.seconds,
        "cases": [_case(case) for case in report.cases],
    }
    return json.dumps(_finite(found), indent=2, allow_nan=False) + "\n"


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


def _finite(value: Any) -> Any:
    """The same with null for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
