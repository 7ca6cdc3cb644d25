"""Reports: the results of a run, which are all that a reporter sees."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from bncheck.case import Case, Verdict
from bncheck.status import ExitStatus, Hints

if TYPE_CHECKING:
    from bncheck.faults.blindness import Blind
    from bncheck.faults.diagnosis import Finding
    from bncheck.faults.power import Power
    from bncheck.faults.reduction import Boundary, LeastCase
    from bncheck.gradients.comparison import Comparison


@dataclass(frozen=True, slots=True)
class CaseReport:
    """Result of one case. `comparisons` has the five nodes in order; where there are none, `reason` says why.
    Of formulas as they are typed it has a row each, in their order, and then the nodes that they do not give.

    Before them stands `out`, for an implementation that is not ours; `note` says which variant it is, `findings`
    what is wrong with it, `boundaries` at which sizes, `least` the smallest problem that shows it; `blind` says which
    known faults could not have shown, `output` what its code printed. `repeat` is the command that runs just this case
    again; `seconds` is how long it took.
    """

    case: Case
    verdict: Verdict
    comparisons: tuple[Comparison, ...] = ()
    reason: str = ""
    note: str = ""
    findings: tuple[Finding, ...] = ()
    boundaries: tuple[Boundary, ...] = ()
    least: LeastCase | None = None
    blind: tuple[Blind, ...] = ()
    output: str = ""
    repeat: str = ""
    seconds: float = 0.0

    @property
    def acceptable(self) -> bool:
        """Whether this case leaves the exit status at 0."""
        if self.verdict is Verdict.UNRESOLVED:
            return self.case.unresolved == "allow" and self.sees_enough
        return self.verdict in (Verdict.PASS, Verdict.SKIPPED) and self.sees_enough

    def telling(self, hints: Hints) -> CaseReport:
        """The report, with no more in it than is to be told of a failure."""
        if hints is Hints.FORMULA:
            return self
        findings = () if hints is Hints.VERDICT else tuple(finding.telling(hints) for finding in self.findings)
        rows = tuple(row.telling(hints) for row in self.comparisons)
        repeat = self.repeat and f"{self.repeat} --hints {hints.value}"
        boundaries = () if hints is Hints.VERDICT else self.boundaries
        return replace(self, comparisons=rows, findings=findings, boundaries=boundaries, least=None, repeat=repeat)

    @property
    def sees_enough(self) -> bool:
        """Whether the case is blind to no known fault, or may be blind."""
        return not self.blind or self.case.blind == "allow"


@dataclass(frozen=True, slots=True)
class Run:
    """Results of a run. `selected` cases were to be run; where fewer were, `stopped` is interrupted or fail-fast."""

    cases: tuple[CaseReport, ...]
    selected: int
    seconds: float
    stopped: str = ""

    def telling(self, hints: Hints) -> Self:
        """The run, with no more in it than is to be told of a failure."""
        return replace(self, cases=tuple(case.telling(hints) for case in self.cases))

    def counts(self) -> dict[Verdict, int]:
        """The number of cases with each verdict, in the order of the verdicts."""
        counted = Counter(case.verdict for case in self.cases)
        return {verdict: counted[verdict] for verdict in Verdict}

    @property
    def passed_cases(self) -> tuple[Case, ...]:
        """The cases that passed."""
        return tuple(found.case for found in self.cases if found.verdict is Verdict.PASS)

    @property
    def status(self) -> ExitStatus:
        """The exit status of the run. A run in which every case was skipped has checked nothing."""
        if self.stopped == "interrupted":
            return ExitStatus.INTERRUPTED
        if not all(case.acceptable for case in self.cases):
            return ExitStatus.FAILED
        if all(case.verdict is Verdict.SKIPPED for case in self.cases):
            return ExitStatus.NOT_STARTED
        return ExitStatus.PASSED


def status_of_power(power: Power) -> ExitStatus:
    """The exit status of `bncheck power`: FAILED where some fault is invisible in every case.

    Where every case would be skipped, nothing was checked.
    """
    if power.says_nothing:
        return ExitStatus.NOT_STARTED
    return ExitStatus.FAILED if power.unseen else ExitStatus.PASSED
