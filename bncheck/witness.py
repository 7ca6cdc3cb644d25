"""All rows of a wrong backward pass together: what one explanation says about the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bncheck import hypotheses
from bncheck.batchnorm import FloatArray
from bncheck.comparison import Yardstick
from bncheck.explanation import Options
from bncheck.fault import Fault
from bncheck.hypotheses import Evidence, Hypothesis
from bncheck.terms import Wrong


@dataclass(frozen=True, slots=True)
class Witness:
    """All rows together: a fault that would spoil another row has to have spoilt it."""

    evidence: Evidence
    given: Mapping[str, FloatArray]
    rods: Mapping[str, Yardstick]
    wrong: frozenset[str]

    def believed(self, options: Options, row: str) -> tuple[tuple[Hypothesis, ...], ...]:
        """The options that the other rows speak against least, each with the faults of which this is true."""
        weighed = [
            (self._against(wrong, row), number, (fault, wrong))
            for number, option in enumerate(options)
            for fault, wrong in (option[0].faults if len(option) == 1 else ())
        ]
        if not weighed:
            return tuple(options)
        least = min(against for against, *_ in weighed)
        kept: dict[int, list[tuple[Fault, Wrong]]] = {}
        for against, number, pair in weighed:
            if against == least:
                kept.setdefault(number, []).append(pair)
        return tuple((Hypothesis(options[number][0].key, tuple(pairs)),) for number, pairs in kept.items())

    def _against(self, wrong: Wrong, row: str) -> tuple[int, int]:
        """How many rows contradict a fault, and, less than nothing, how many others it explains."""
        spoilt = {
            other for other in self.given if other != row and hypotheses.spoils(wrong, self.evidence.right, other)
        }
        agreeing = {other for other in spoilt if self.agrees(wrong, other)}
        unexplained = (self.wrong & {"mean", "var"}) - spoilt - {row}
        return len(spoilt - agreeing) + len(unexplained), -len(agreeing & self.wrong)

    def agrees(self, wrong: Wrong, row: str) -> bool:
        """Whether a fault gives what was given in a row."""
        parts, rod = self.evidence.parts, self.rods[row]
        would = wrong.gradients(parts).x if row == "x" else getattr(wrong, row)
        size = np.maximum(rod.measured_by, np.max(np.abs(np.atleast_2d(would)), axis=0))
        error = np.max(np.abs(np.atleast_2d(self.given[row] - would)), axis=0)
        return bool(np.all(error <= rod.tolerance * size))
