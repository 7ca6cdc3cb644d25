"""JSON of a run and of a power, for programs. Numbers that are not finite are null."""

from __future__ import annotations

import json
import math
import platform
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from bncheck import __version__
from bncheck.gradients.batchnorm import NODES
from bncheck.gradients.comparison import Comparison
from bncheck.report import CaseReport, Run, status_of_power
from bncheck.status import ExitStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bncheck.faults.blindness import Blind
    from bncheck.faults.power import CasePower, Detection, Power


FORMAT = 1  # raised when a key of a run or a power changes its meaning or goes away, not when one is added


def _document(status: ExitStatus, sentence: str, **content: Any) -> str:
    """JSON text of one object: its format, the versions that wrote it, the status with its sentence, the content."""
    found = {
        "format": FORMAT,
        "bncheck": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "status": {"code": int(status), "name": status.name.lower(), "sentence": sentence},
        **content,
    }
    text = json.dumps(_finite(found), indent=2, allow_nan=False)
    return text.replace("\x7f", "\\u007f") + "\n"  # the one control character that json leaves as it is


def _finite(value: Any) -> Any:
    """A value with null in it for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def render(report: Run) -> str:
    """The report as JSON text, one object."""
    from bncheck.faults.power import hidden_by_size

    return _document(
        report.status,
        report.status.sentence,
        selected=report.selected,
        checked=len(report.cases),
        counts={verdict.value: number for verdict, number in report.counts().items()},
        stopped=report.stopped or None,
        seconds=report.seconds,
        blind_to_size=[_blind(blind) for blind in hidden_by_size(report.passed_cases)],
        cases=[_case(case) for case in report.cases],
    )


def _case(found: CaseReport) -> dict[str, Any]:
    return {
        "label": found.case.label,
        "source": found.case.source or None,
        "verdict": found.verdict.value,
        "reason": found.reason or None,
        "note": found.note or None,
        "blind": [{"sentence": blind.sentence, **_blind(blind)} for blind in found.blind],
        "output": found.output or None,
        "findings": [asdict(finding) for finding in found.findings],
        "boundaries": [{**asdict(boundary), "sentence": boundary.sentence} for boundary in found.boundaries],
        "least": found.least and asdict(found.least),
        "repeat": found.repeat or None,
        "seconds": found.seconds,
        "case": asdict(found.case),
        "nodes": {comparison.node: _node(comparison) for comparison in found.comparisons},
    }


def _blind(found: Blind) -> dict[str, Any]:
    return {"reason": found.reason, "cure": found.cure, "faults": [fault.name for fault in found.faults]}


def _node(found: Comparison) -> dict[str, Any]:
    node = asdict(found)
    del node["node"]
    return {**node, "note": found.note or None}


# --- the power of checks ----------------------------------------------------------------------------------------


def render_power(power: Power) -> str:
    """The power as JSON text, one object. What the cases make of a fault stands in the order of the cases."""
    from bncheck.faults.catalogue import KNOWN  # a run has no use for either
    from bncheck.faults.power import Detection

    outcomes = [found.outcomes() for found in power.cases]
    return _document(
        status_of_power(power),
        power.sentence,
        unseen=[fault.name for fault in power.unseen],
        cases=[_case_power(found, tuple(Detection)) for found in power.cases],
        faults=[
            {
                "name": fault.name,
                "row": fault.row,
                "sentence": fault.sentence,
                "cases": [found[fault.name].value for found in outcomes],
            }
            for fault in KNOWN
        ],
    )


def _case_power(found: CasePower, outcomes: Sequence[Detection]) -> dict[str, Any]:
    counted = Counter(found.outcomes().values())
    return {
        "label": found.case.label,
        "source": found.case.source or None,
        "reason": found.reason or None,
        "counts": {outcome.value: counted[outcome] for outcome in outcomes},
        "slips": {node: found.slips.get(node) for node in NODES},
        "blind": [_blind(group) for group in found.visibility.blind],
        "case": asdict(found.case),
    }
