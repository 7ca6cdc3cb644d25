"""A wrong dx taken apart into its routes: which faults it may come from, or else what its coefficients are.

Seen in three orthogonal directions of each feature, a dx is three numbers and a remainder, and so is what each fault
would give: a fault explains dx where the two agree to within rounding.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from bncheck.faults import hypotheses, wording
from bncheck.faults.fault import Fault
from bncheck.faults.hypotheses import (
    NEARER,
    BoolArray,
    Coefficient,
    Coefficients,
    Evidence,
    Explained,
    Fit,
    Hypothesis,
    Options,
    fitting,
    not_finite,
)
from bncheck.faults.parts import Coordinates
from bncheck.faults.terms import Wrong
from bncheck.faults.wording import ROUTES
from bncheck.gradients.batchnorm import FloatArray
from bncheck.gradients.yardsticks import Yardstick

# --- all rows together ------------------------------------------------------------------------------------------


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


TELLING = 0.02  # a coefficient that may be off by more is not told
CLEARLY = 100.0  # times the tolerance: nearer than that, sorting would take noise for disorder
COMBINATIONS = 400  # of factors on several routes that are tried; more only arise where the data tell nothing


@dataclass(frozen=True, slots=True)
class Decomposition:
    """A wrong dx, (n, d), seen in its coordinates: `seen` (3, d), and `rest` (n, d), of length `length` (d,).

    `error`, (d,), is the length of its difference from the right one.
    """

    dx: FloatArray
    off: BoolArray
    evidence: Evidence
    rod: Yardstick
    coordinates: Coordinates
    seen: FloatArray
    rest: FloatArray
    length: FloatArray
    error: FloatArray

    @classmethod
    def of(cls, dx: FloatArray, off: BoolArray, evidence: Evidence, rod: Yardstick) -> Decomposition:
        coordinates = Coordinates.of(evidence.parts)
        seen, rest = coordinates.seen(dx)
        error = _length(dx - evidence.parts.gradients.x)
        return cls(dx, off, evidence, rod, coordinates, seen, rest, _length(rest), error)

    def explained(self, witness: Witness) -> Explained:
        """The first that explains it: a single fault, two at once, elements out of place; else the coefficients."""
        single = hypotheses.in_routes(self.evidence)
        fits = self._fits(single.gain, single.through_var, single.through_mean)
        options, fit, explained = fitting(single.hypotheses, fits, self.off)
        if fit is not Fit.EVERY or self._has_no_remainder():
            beyond = list(hypotheses.beyond_routes(self.evidence))
            candidates = [*single.hypotheses, *(hypothesis for hypothesis, _ in beyond)]
            fits = np.concatenate([fits, *(self._equals(dx)[None] for _, dx in beyond)])
            options, fit, explained = fitting(candidates, fits, self.off)
        coefficients = self._coefficients()
        if fit is not Fit.EVERY and (together := self._together(single, coefficients)):
            return self._found(Fit.EVERY, together, int(np.count_nonzero(self.off)))
        if options:
            return self._found(fit, list(witness.believed(options, "x")), explained)
        if place := self._out_of_place():
            return Explained("x", Fit.EVERY, self.off, more=f"{place}.")
        if number := self._number_taken_for_n():
            return replace(self._found(Fit.EVERY, [], 0), more=wording.taken_for_n(number, self.evidence.parts.n))
        unknown = self._found(Fit.NONE, [], 0)
        medians = [coefficient.median for coefficient in unknown.coefficients]
        told = wording.unknown_dx(medians, unknown.remainder, self.off, self.evidence.parts)
        return replace(unknown, more=not_finite(self.dx) or told)

    def _found(self, fit: Fit, options: Options, explained: int) -> Explained:
        told = self._told_coefficients()
        remainder = float(np.max(np.max(np.abs(self.rest), axis=0) / self.rod.measured_by, initial=0))
        return Explained("x", fit, self.off, tuple(options), explained, told, remainder)

    def _allowed(self, gain: FloatArray, dvar: FloatArray, dmean: FloatArray) -> FloatArray:
        """How far a dx of these may be off, as a length, (..., d): what it is summed from counts, if it is larger."""
        here = self.coordinates
        summed = np.abs(gain) * _length(here.direct) + np.abs(dvar) * _length(here.through_var)
        size = np.maximum(np.sqrt(len(self.dx)) * self.rod.measured_by, summed + np.abs(dmean) * here.ones)
        return np.asarray(self.rod.tolerance * size)

    def _fits(self, gain: FloatArray, dvar: FloatArray, dmean: FloatArray) -> BoolArray:
        """In which features a dx of these three, (h, d) each, is the one that was given, (h, d)."""
        made = self.coordinates.made(gain, dvar, dmean)
        distance = _length(np.concatenate((made - self.seen[:, None], np.broadcast_to(self.length, made[:1].shape))))
        neither = ~(np.isfinite(self.seen[0]) | np.isfinite(made[0]))
        return np.asarray(((distance <= self._allowed(gain, dvar, dmean)) & self._is_nearer(distance)) | neither)

    def _equals(self, dx: FloatArray) -> BoolArray:
        """In which features a whole dx, (n, d), is the one that was given, (d,)."""
        size = np.maximum(self.rod.measured_by, np.max(np.abs(dx), axis=0))
        near = np.max(np.abs(self.dx - dx), axis=0) <= self.rod.tolerance * size
        return np.asarray(near & self._is_nearer(_length(self.dx - dx)))

    def _is_nearer(self, distance: FloatArray) -> BoolArray:
        """Whether something explains what is off better than roundoff would, (..., d)."""
        return np.asarray((distance <= NEARER * self.error) | ~self.off)

    def _has_no_remainder(self) -> bool:
        """Whether every dx is a sum of the routes in some feature, so that a fault beyond them may look like one."""
        return bool(np.any(self.coordinates.direct[2] == 0))

    def _coefficients(self) -> Coefficients:
        parts = self.evidence.parts
        allowed = self._allowed(parts.inputs.gamma, parts.gradients.var, parts.gradients.mean)
        return Coefficients.of(
            self.seen, np.maximum(allowed, self.rod.tolerance * _length(self.seen)), self.coordinates
        )

    def _together(self, single: hypotheses.InRoutes, found: Coefficients) -> Options:
        """Faults on several routes that explain dx together: for each route, those that its coefficient allows."""
        right = self.evidence.right
        put = dict(zip(hypotheses.PUT, (single.gain, single.through_var, single.through_mean), strict=True))
        lists = []
        for name, value, off in zip(hypotheses.PUT, found.found, found.off, strict=True):
            values, truth = put[name], getattr(right, name)
            reach = 4 * off + 4 * self.rod.tolerance * np.abs(values)
            near = np.all(np.abs(values - value) <= reach, axis=1) & ~np.all(np.abs(values - truth) <= reach, axis=1)
            alone = [i for i in np.flatnonzero(near).tolist() if single.touched[i] == {name}]
            as_it_is = bool(np.all(np.abs(truth - value) <= 4 * off))
            lists.append([(single.hypotheses[i], values[i]) for i in alone] + [(None, truth)] * as_it_is)
        combinations = list(itertools.islice(itertools.product(*lists), COMBINATIONS + 1))
        if not combinations or len(combinations) > COMBINATIONS:
            return []
        arrays = (np.stack([combination[route][1] for combination in combinations]) for route in range(3))
        kept = np.flatnonzero(np.all(self._fits(*arrays), axis=1))
        options = [tuple(h for h, _ in combinations[i] if h is not None) for i in kept.tolist()]
        return sorted(filter(None, options), key=lambda option: (len(option), [h.rank for h in option]))

    def _told_coefficients(self) -> tuple[Coefficient, ...]:
        """gamma, dvar and dmean as fractions of what they should be: one coefficient a route."""
        found, right = self._coefficients(), self.evidence.right
        told = []
        for route, name, value, off in zip(ROUTES, hypotheses.PUT, found.found, found.off, strict=True):
            truth = getattr(right, name)
            ratio = np.where(off <= TELLING * np.abs(truth), value / truth, np.nan)
            told.append(Coefficient(route, _median(ratio[np.isfinite(ratio)]), tuple(ratio.tolist())))
        return tuple(told)

    def _number_taken_for_n(self) -> int:
        """The whole number that dx is right with in place of n; 0 where there is none."""
        _, dvar, dmean = (coefficient.median for coefficient in self._told_coefficients())
        n, right = self.evidence.parts.n, self.evidence.right
        if not (np.isfinite(dvar) and np.isfinite(dmean)) or not 0 < (number := round(n / max(dvar, 1 / n))) <= n * n:
            return 0
        ratio = n / number
        fits = self._fits(right.gain[None], ratio * right.through_var[None], ratio * right.through_mean[None])
        return number if number != n and np.all(fits) else 0

    def _out_of_place(self) -> str:
        """What to say where the elements are the right ones, in another order."""
        right, limit = self.evidence.parts.gradients.x, self.rod.tolerance * self.rod.measured_by
        if not np.max(np.abs(self.dx - right)) > CLEARLY * np.max(limit):
            return ""
        if np.all(np.abs(np.sort(self.dx, axis=0) - np.sort(right, axis=0)) <= limit):
            return "the elements of dx are right, but stand in other rows of their features"
        if np.all(np.abs(np.sort(self.dx, axis=None) - np.sort(right, axis=None)) <= np.max(limit)):
            return "the elements of dx are right, but stand in other places: transposed, or reshaped in another order"
        return ""


def _median(values: FloatArray) -> float:
    """Of numbers; nan where there are none. np.median takes several times as long on a few."""
    ordered = np.sort(values).tolist()
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2 if ordered else float("nan")


def _length(vectors: FloatArray) -> FloatArray:
    """The length of vectors that stand in the first axis."""
    return np.asarray(np.sqrt(np.add.reduce(vectors * vectors, axis=0)))
