"""What checks are worth: which known faults each case of a config would catch, and the smallest slip it would show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bncheck.case import Case
from bncheck.fault import Fault
from bncheck.ground import Ground
from bncheck.parts import Parts
from bncheck.problem import draw
from bncheck.sight import Sight, sight, smallest_slip


@dataclass(frozen=True, slots=True)
class CasePower:
    """What one case would see. `slips` are by node; `reason` says why a case that would be skipped sees nothing."""

    case: Case
    sight: Sight
    slips: dict[str, float]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Power:
    """What all cases would see between them."""

    cases: tuple[CasePower, ...]

    @property
    def unseen(self) -> tuple[Fault, ...]:
        """The faults that are possible in some case, and that none would catch."""
        caught = {fault.name for found in self.cases for fault in found.sight.visible}
        possible = {fault.name: fault for found in self.cases for fault in found.sight.invisible}
        return tuple(fault for name, fault in possible.items() if name not in caught)


def power(cases: Sequence[Case]) -> Power:
    """The power of each case, and of all together. Nothing is differenced for it: effect against tolerance."""
    return Power(tuple(_of_case(case) for case in cases))


def _of_case(case: Case) -> CasePower:
    with np.errstate(all="ignore"):
        ground = Ground.of(draw(case))
        if ground.reason:
            return CasePower(case, Sight((), ()), {}, ground.reason)
        parts = Parts.of(ground.exact.inputs, ground.exact.dout, ground.stages, case.samples)
        return CasePower(case, sight(parts, ground.yardsticks, case.dtype), smallest_slip(parts, ground.yardsticks))
