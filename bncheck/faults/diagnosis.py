"""Which known fault explains a wrong gradient, if one does.

What explains a row in every feature is named; where nothing does, the coefficients are told and no name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bncheck.faults import hypotheses, wording
from bncheck.faults.hypotheses import (
    NEARER,
    BoolArray,
    Coefficient,
    Evidence,
    Explained,
    Fit,
    Key,
    Statement,
    fitting,
    not_finite,
)
from bncheck.faults.parts import Parts
from bncheck.faults.routes import Decomposition, Witness
from bncheck.gradients.batchnorm import FloatArray
from bncheck.gradients.yardsticks import Yardstick


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong in one row or, where one fault explains several, in `rows`; `row` is the first of them.

    `sentence` begins with the rows. `formula` is what should be computed. `keys` are pairs (term, factor), or
    ("compound", name): what was named, all of it where two faults were; `faults` are names in the catalogue.
    `features` are those in which the row is off, `remainder` is what no route explains, relative to the scale of the
    row. `alternatives` counts the explanations that these data cannot tell apart; it is 0 where there is none.
    `statements` are where it stands in their source, if that was found.
    """

    rows: tuple[str, ...]
    sentence: str
    formula: str
    fits: Fit
    keys: tuple[Key, ...] = ()
    faults: tuple[str, ...] = ()
    coefficients: tuple[Coefficient, ...] = ()
    features: tuple[int, ...] = ()
    remainder: float = 0.0
    alternatives: int = 0
    statements: tuple[Statement, ...] = ()

    @property
    def row(self) -> str:
        """The first of its rows."""
        return self.rows[0]


def diagnose(parts: Parts, given: Mapping[str, FloatArray], rods: Mapping[str, Yardstick]) -> tuple[Finding, ...]:
    """What is wrong with the gradients of an implementation, one finding for each mistake; () where all are right.

    `given` has what it gave, by row: x (n, d); beta, gamma, mean and var (d,), as many of them as there are. `rods` has
    what each is measured by: within its tolerance a gradient is right. A fault that explains several rows is told
    once.
    """
    with np.errstate(all="ignore"):
        wide = {row: array.astype(np.float64) for row, array in given.items()}
        off = {row: _off(array, parts.gradients.of(row), rods[row]) for row, array in wide.items()}
        rows = [row for row in ("x", "gamma", "beta", "var", "mean") if row in wide and np.any(off[row])]
        if not rows:
            return ()
        evidence = Evidence.of(parts)
        witness = Witness(evidence, wide, rods, frozenset(rows))
        found = [_explained(row, wide[row], off[row], evidence, rods[row], witness) for row in rows]
        return tuple(_told(found, evidence, rods))


def _off(given: FloatArray, right: FloatArray, rod: Yardstick) -> BoolArray:
    """The features in which a gradient is not within its tolerance, (d,)."""
    error = np.max(np.abs(np.atleast_2d(given - right)), axis=0)
    return np.asarray(~(error <= rod.tolerance * rod.measured_by))


def _explained(
    row: str, given: FloatArray, off: BoolArray, evidence: Evidence, rod: Yardstick, witness: Witness
) -> Explained:
    if row == "x":
        return Decomposition.of(given, off, evidence, rod).explained(witness)
    candidates, values = hypotheses.of_row(row, evidence)
    allowed = rod.tolerance * np.maximum(rod.measured_by, np.abs(values))
    distance, error = np.abs(values - given), np.abs(given - evidence.parts.gradients.of(row))
    fits = (distance <= allowed) & ((distance <= NEARER * error) | ~off)
    fits |= ~(np.isfinite(values) | np.isfinite(given))
    options, fit, explained = fitting(candidates, fits, off)
    if options:
        return Explained(row, fit, off, witness.believed(options, row), explained)
    ratio = given / evidence.parts.gradients.of(row)
    more = not_finite(given) or wording.unknown_row(row, ratio, off)
    coefficient = Coefficient(f"d{row}", float(np.median(ratio[off])), tuple(map(float, ratio)))
    return Explained(row, Fit.NONE, off, coefficients=(coefficient,), more=more)


# --- telling ---------------------------------------------------------------------------------------------------


def _told(found: Sequence[Explained], evidence: Evidence, rods: Mapping[str, Yardstick]) -> list[Finding]:
    """One finding a mistake: rows that one fault explains are told together."""
    findings: list[Finding] = []
    told: dict[str, int] = {}
    for explained in found:
        first = explained.options[0][0].faults[:1] if explained.options and len(explained.options[0]) == 1 else ()
        name = first[0][0].name if first else ""
        if name in told:
            earlier = findings[told[name]]
            rows = (*earlier.rows, explained.row)
            sentence = f"{', '.join(rows)}: {earlier.sentence.partition(': ')[2]}"
            findings[told[name]] = replace(earlier, rows=rows, sentence=sentence)
            continue
        if name:
            told[name] = len(findings)
        findings.append(_finding(explained, evidence, rods))
    return findings


def _finding(explained: Explained, evidence: Evidence, rods: Mapping[str, Yardstick]) -> Finding:
    features = tuple(int(j) for j in np.flatnonzero(explained.off))
    options = explained.options
    faults = [fault for option in options for hypothesis in option for fault, _ in hypothesis.faults]
    return Finding(
        (explained.row,),
        f"{explained.row}: {_sentence(explained, evidence, rods)}",
        faults[0].breaks if faults else wording.FORMULA[explained.row],
        explained.fits,
        tuple(hypothesis.key for hypothesis in options[0]) if options else (),
        tuple(dict.fromkeys(fault.name for fault in faults)),
        explained.coefficients,
        features,
        explained.remainder,
        len(options),
    )


def _sentence(explained: Explained, evidence: Evidence, rods: Mapping[str, Yardstick]) -> str:
    parts, options = evidence.parts, explained.options
    if not options:
        return explained.more
    first = options[0]
    if len(options) > 1:
        told = wording.alternatives(["; and ".join(map(wording.head, option)) for option in options])
    else:
        clauses = "; and ".join(wording.clause(hypothesis, parts) for hypothesis in first)
        told = clauses + wording.others([hypothesis.key for hypothesis in first])
    reach = wording.reach(explained.off, explained.explained) if explained.fits is Fit.SOME else ""
    about_x = explained.row == "x" and len(options) == 1
    shows = wording.shows_at(first[0], parts, rods["x"].measured_by) if about_x else ""
    return f"{told}.{shows}{reach}"
