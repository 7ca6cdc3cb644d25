"""What checks are worth: which known faults each case of a config would catch, and the smallest slip it would show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from bncheck.case import Case
from bncheck.fault import Fault
from bncheck.faults import FAULTS
from bncheck.ground import Ground
from bncheck.parts import Parts
from bncheck.problem import draw
from bncheck.sight import Sight, sight, smallest_slip
from bncheck.status import ExitStatus


class Outcome(StrEnum):
    """What one case would make of one fault."""

    CAUGHT = "caught"
    INVISIBLE = "invisible"
    IMPOSSIBLE = "impossible"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class CasePower:
    """What one case would see. `slips` are by node; `reason` says why a case that would be skipped sees nothing."""

    case: Case
    sight: Sight
    slips: dict[str, float]
    reason: str = ""

    def outcomes(self) -> dict[str, Outcome]:
        """What it would make of every known fault, by name, in the order of the catalogue."""
        if self.reason:
            return {fault.name: Outcome.SKIPPED for fault in FAULTS}
        found = {fault.name: Outcome.IMPOSSIBLE for fault in FAULTS}
        found |= {fault.name: Outcome.INVISIBLE for fault in self.sight.invisible}
        return found | {fault.name: Outcome.CAUGHT for fault in self.sight.visible}


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

    @property
    def status(self) -> ExitStatus:
        """Failed where some fault is invisible in every case; where every case would be skipped, nothing is said."""
        if all(found.reason for found in self.cases):
            return ExitStatus.NOT_STARTED
        return ExitStatus.FAILED if self.unseen else ExitStatus.PASSED

    @property
    def sentence(self) -> str:
        """The status in words."""
        unseen = self.unseen
        if self.status is ExitStatus.NOT_STARTED:
            return "every case would be skipped, so nothing would be checked"
        if unseen:
            names = "; ".join(fault.name for fault in unseen)
            return f"{len(unseen)} of the known faults no case would catch: {names}"
        possible = {fault.name for found in self.cases for fault in found.sight.visible}
        here = " that is possible here" if len(possible) < len(FAULTS) else ""
        return f"every known fault{here} is caught by some case"


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
