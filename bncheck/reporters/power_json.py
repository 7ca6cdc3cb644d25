"""The power of checks, for programs. A slip that nothing shows is null."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

from bncheck.batchnorm import NODES
from bncheck.faults import FAULTS
from bncheck.power import CasePower, Outcome, Power
from bncheck.reporters import document

FORMAT = 1  # raised when a key changes its meaning or goes away, not when one is added


def render(power: Power) -> str:
    """The power as JSON text, one object. What the cases make of a fault stands in the order of the cases."""
    outcomes = [found.outcomes() for found in power.cases]
    return document.render(
        FORMAT,
        power.status,
        power.sentence,
        unseen=[fault.name for fault in power.unseen],
        cases=[_case(found) for found in power.cases],
        faults=[
            {
                "name": fault.name,
                "row": fault.row,
                "sentence": fault.sentence,
                "cases": [found[fault.name].value for found in outcomes],
            }
            for fault in FAULTS
        ],
    )


def _case(found: CasePower) -> dict[str, Any]:
    counted = Counter(found.outcomes().values())
    blind = [
        {"reason": group.reason, "cure": group.cure, "faults": [fault.name for fault in group.faults]}
        for group in found.sight.blind
    ]
    return {
        "label": found.case.label,
        "source": found.case.source or None,
        "reason": found.reason or None,
        "counts": {outcome.value: counted[outcome] for outcome in Outcome},
        "slips": {node: found.slips.get(node) for node in NODES},
        "blind": blind,
        "case": asdict(found.case),
    }
