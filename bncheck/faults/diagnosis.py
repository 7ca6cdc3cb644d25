"""Which known fault explains a wrong gradient, if one does.

A fault that explains a row in every feature is named; where none does, the coefficients are told and no name. dx is
taken apart for it: in three orthogonal directions of each feature it is three numbers and a remainder, and so is the
dx of each fault. A fault explains a dx where the two agree to within rounding.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bncheck.faults import hypotheses, region, wording
from bncheck.faults.catalogue import Fault
from bncheck.faults.hypotheses import NEARER, Coefficient, Evidence, Explained, Fit, Hypothesis, Key, Options, fitting
from bncheck.faults.region import Picture, Region
from bncheck.faults.terms import ROUTES, BoolArray, Coordinates, Parts, Wrong
from bncheck.gradients.batchnorm import FloatArray
from bncheck.gradients.yardsticks import Yardstick
from bncheck.status import Hints


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement in somebody's file: the file as its owner would write it, the line, and its text on one line."""

    file: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A mistake in one row or, where one fault explains several, in `rows`; `row` is the first of them.

    `sentence` begins with the rows. `formula` is what should be computed. `keys` are pairs (term, factor), or
    ("compound", name) or ("place", name): what was named, all of it where two faults were. `faults` are names in the
    catalogue.
    `features` are those in which the row is off, `remainder` is what no route explains, relative to the scale of the
    row. `alternatives` counts the explanations that are left, and cannot be told apart; it is 0 where there is none.
    `statements` are where it stands in their source, if that was found. `region` is where it is wrong, where it splits
    cleanly into right and wrong; then there are no coefficients. `picture` of a dx that is right somewhere has the
    fraction that is wrong of its elements, in lines of rows by columns of features.
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
    region: Region | None = None
    picture: Picture = ()

    @property
    def row(self) -> str:
        """The first of its rows."""
        return self.rows[0]

    @property
    def is_local(self) -> bool:
        """Whether a picture tells something: it is wrong in a region, or in less than half of all places."""
        shares = [share for line in self.picture for share in line]
        return bool(shares) and (self.region is not None or 2 * sum(shares) < len(shares))

    @property
    def kind(self) -> object:
        """Key of a finding, equal in all cases that show it: what is named, else coefficients, else the sentence."""
        slips = tuple((each.route, f"{each.median - 1:.2g}") for each in self.coefficients) or self.sentence
        return (self.rows, self.fits, self.keys or slips, self.faults)

    def telling(self, hints: Hints) -> Finding:
        """The finding with no more in it than is to be told: where it is, and perhaps in what."""
        if hints is Hints.FORMULA:
            return self
        named = wording.wrong_terms(self.keys, self.coefficients) if hints is Hints.ROUTE else ""
        where = f" in {self.region.sentence}" if self.region else ""
        return replace(
            self,
            sentence=f"{', '.join(self.rows)}: {named or 'it'} is wrong{where}.",
            formula="",
            keys=(),
            faults=(),
            coefficients=(),
            remainder=0.0,
            alternatives=0,
        )


def explained_rows(
    parts: Parts, given: Mapping[str, FloatArray], yardsticks: Mapping[str, Yardstick], axes: Sequence[int] = ()
) -> tuple[Explained, ...]:
    """Every row in which an implementation is wrong, with all that explains it; () where none is.

    `given` has what it gave, by row: x (n, d); beta, gamma, mean and var (d,), as many of them as there are.
    `yardsticks` has what each is measured by: within its tolerance a gradient is right. `axes` are the sizes of those
    that n counts, where they are several.
    """
    with np.errstate(all="ignore"):
        wide = {row: array.astype(np.float64) for row, array in given.items()}
        off = {row: _off(array, parts.gradients.of(row), yardsticks[row]) for row, array in wide.items()}
        rows = [row for row in ("x", "gamma", "beta", "var", "mean") if row in wide and np.any(off[row])]
        if not rows:
            return ()
        every = EveryRow(Evidence.of(parts), wide, yardsticks, frozenset(rows), axes or (parts.n,))
        return tuple(_explained(row, wide[row], off[row], every) for row in rows)


def told(explained: Sequence[Explained], parts: Parts, yardsticks: Mapping[str, Yardstick]) -> tuple[Finding, ...]:
    """Tell what explains the rows that are wrong: one finding a mistake. A fault that explains several is told once."""
    groups: dict[str, list[Explained]] = {}
    for found in explained:
        groups.setdefault(found.name or f"unknown in {found.row}", []).append(found)
    with np.errstate(all="ignore"):
        return tuple(_finding(alike, parts, yardsticks) for alike in groups.values())


def _off(given: FloatArray, right: FloatArray, yardstick: Yardstick) -> BoolArray:
    """The features in which a gradient is not within its tolerance, (d,)."""
    error = np.max(np.abs(np.atleast_2d(given - right)), axis=0)
    return np.asarray(~(error <= yardstick.tolerance * yardstick.measured_by))


def _explained(row: str, given: FloatArray, off: BoolArray, every: EveryRow) -> Explained:
    """One row with the hypotheses that explain it, or else with its place, or its coefficients."""
    evidence, yardstick = every.evidence, every.yardsticks[row]
    if row == "x":
        dx = Decomposition.of(given, off, evidence, yardstick)
        everywhere = np.all(~(dx.errors <= 1))
        return replace(dx.explained(every), picture=() if everywhere else region.picture(dx.errors))
    candidates, values = hypotheses.of_row(row, evidence)
    right = evidence.parts.gradients.of(row)
    allowed = yardstick.tolerance * np.maximum(yardstick.measured_by, np.abs(values))
    distance, error = np.abs(values - given), np.abs(given - right)
    fits = (distance <= allowed) & ((distance <= NEARER * error) | ~off)
    fits |= ~(np.isfinite(values) | np.isfinite(given))
    options, fit, explained = fitting(candidates, fits, off)
    if options:
        return Explained(row, fit, off, every.least_contradicted(options, row), explained)
    if row in ("beta", "gamma"):
        sums = region.without_some_rows(evidence.parts)[row == "gamma"]
        fitting_sums = np.all(np.abs(sums - given) <= yardstick.tolerance * yardstick.measured_by, axis=1)
        if left_out := every.left_out_of_sums(fitting_sums):
            return Explained(row, Fit.EVERY, off, region=left_out, fault=LEFT_OUT)
    ratio = given / right
    more = wording.not_finite(given) or wording.unknown_row(row, ratio, off)
    coefficient = Coefficient(f"d{row}", float(np.median(ratio[off])), tuple(map(float, ratio)))
    return Explained(row, Fit.NONE, off, coefficients=(coefficient,), more=more)


# --- findings ---------------------------------------------------------------------------------------------------


def _finding(rows: Sequence[Explained], parts: Parts, yardsticks: Mapping[str, Yardstick]) -> Finding:
    """Tell rows that one fault explains by the first of them."""
    first = rows[0]
    named = tuple(row.row for row in rows)
    faults = [fault.name for option in first.options for hypothesis in option for fault, _ in hypothesis.faults]
    faults += [first.fault] if first.fault else []
    placed = (("place", first.fault),) if first.fault else ()
    return Finding(
        rows=named,
        sentence=f"{', '.join(named)}: {wording.sentence(first, parts, yardsticks)}",
        formula=wording.formula(first, parts),
        fits=first.fits,
        keys=tuple(hypothesis.key for hypothesis in first.options[0]) if first.options else placed,
        faults=tuple(dict.fromkeys(faults)),
        coefficients=first.coefficients,
        features=tuple(int(j) for j in np.flatnonzero(first.off)),
        remainder=first.remainder,
        alternatives=len(first.options),
        region=first.region,
        picture=first.picture,
    )


# --- all rows together ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EveryRow:
    """The rows that were given, which rule out faults: one that would spoil another row has to have spoilt it.

    `wrong` are the rows that are not within their tolerance, `axes` the sizes of those that n counts.
    """

    evidence: Evidence
    given: Mapping[str, FloatArray]
    yardsticks: Mapping[str, Yardstick]
    wrong: frozenset[str]
    axes: Sequence[int]

    def left_out_of_sums(self, fits: BoolArray) -> Region | None:
        """The rows that are left out of the sums, by whether each of `region.without_some_rows` fits."""
        if not np.any(fits):
            return None
        rows = region.left_out(int(np.argmax(fits)), self.evidence.parts.n)
        return region.of(rows, np.ones(self.evidence.parts.d, dtype=bool), self.axes)

    def least_contradicted(self, options: Options, row: str) -> tuple[tuple[Hypothesis, ...], ...]:
        """The options that the other rows contradict least, each with the faults of which this is true."""
        weighed = [
            (self._contradicted(wrong, row), number, (fault, wrong))
            for number, option in enumerate(options)
            for fault, wrong in (option[0].faults if len(option) == 1 else ())
        ]
        if not weighed:
            return tuple(options)
        least = min(contradicted for contradicted, *_ in weighed)
        kept: dict[int, list[tuple[Fault, Wrong]]] = {}
        for contradicted, number, pair in weighed:
            if contradicted == least:
                kept.setdefault(number, []).append(pair)
        return tuple((Hypothesis(options[number][0].key, tuple(pairs)),) for number, pairs in kept.items())

    def _contradicted(self, wrong: Wrong, row: str) -> tuple[int, int]:
        """A pair to sort by: how many rows contradict a fault, and less the number of those that it explains."""
        spoilt = {
            other for other in self.given if other != row and hypotheses.spoils(wrong, self.evidence.right, other)
        }
        agreeing = {other for other in spoilt if self._agrees(wrong, other)}
        unexplained = (self.wrong & {"mean", "var"}) - spoilt - {row}
        return len(spoilt - agreeing) + len(unexplained), -len(agreeing & self.wrong)

    def _agrees(self, wrong: Wrong, row: str) -> bool:
        """Whether a fault gives what was given in a row."""
        parts, yardstick = self.evidence.parts, self.yardsticks[row]
        would = wrong.gradients(parts).x if row == "x" else getattr(wrong, row)
        size = np.maximum(yardstick.measured_by, np.max(np.abs(np.atleast_2d(would)), axis=0))
        error = np.max(np.abs(np.atleast_2d(self.given[row] - would)), axis=0)
        return bool(np.all(error <= yardstick.tolerance * size))


# --- dx, taken apart into its routes ----------------------------------------------------------------------------


LEFT_OUT = "rows-not-summed"
KNOWN_TO = 0.02  # a coefficient that may be off by more is not told
SPREAD = 3.0  # times the length of what is in no route: what is added may lie along a route by as much
CLEARLY = 100.0  # times the tolerance: nearer than that, sorting would take noise for disorder
COMBINATIONS = 400  # of factors on several routes that are tried; more only arise where the data tell nothing


@dataclass(frozen=True, slots=True)
class Decomposition:
    """A wrong dx, (n, d), in its coordinates: `projected` (3, d), and `rest` (n, d), of length `length` (d,).

    `error`, (d,), is the length of its difference from the right one.
    """

    dx: FloatArray
    off: BoolArray
    evidence: Evidence
    yardstick: Yardstick
    coordinates: Coordinates
    projected: FloatArray
    rest: FloatArray
    length: FloatArray
    error: FloatArray

    @classmethod
    def of(cls, dx: FloatArray, off: BoolArray, evidence: Evidence, yardstick: Yardstick) -> Decomposition:
        """The decomposition of a dx that is `off` in some features, (d,)."""
        coordinates = Coordinates.of(evidence.parts)
        projected, rest = coordinates.project(dx)
        error = _length(dx - evidence.parts.gradients.x)
        return cls(dx, off, evidence, yardstick, coordinates, projected, rest, _length(rest), error)

    def explained(self, every: EveryRow) -> Explained:
        """Explain dx by a single fault, by two at once, or by elements out of place; else tell the coefficients."""
        single = hypotheses.in_routes(self.evidence)
        fits = self._fits(single.gain, single.through_var, single.through_mean)
        options, fit, explained = fitting(single.hypotheses, fits, self.off)
        # Where every dx is a sum of the routes in some feature, a fault beyond them may look like one.
        if fit is not Fit.EVERY or np.any(self.coordinates.direct[2] == 0):
            candidates, every_fit = [*single.hypotheses], [fits]
            for key, faults in self.evidence.known("x").items():
                if (dx := faults[0][1].x) is not None:
                    candidates.append(Hypothesis(key, tuple(faults)))
                    every_fit.append(self._equals(dx)[None])
            options, fit, explained = fitting(candidates, np.concatenate(every_fit), self.off)
        if fit is not Fit.EVERY and (together := self._together(single)):
            return self._found(Fit.EVERY, together, int(np.count_nonzero(self.off)))
        placed = self._placed(every.axes) if fit is not Fit.EVERY else None
        if placed is not None and (placed.fault or not options):
            return placed
        if options:
            return self._found(fit, list(every.least_contradicted(options, "x")), explained)
        if left_out := every.left_out_of_sums(self._fits_of_sums()):
            return Explained("x", Fit.EVERY, self.off, region=left_out, fault=LEFT_OUT)
        if place := self._out_of_place():
            return Explained("x", Fit.EVERY, self.off, more=f"{place}.")
        if number := self._number_taken_for_n():
            more = f"dx is what it would be with n = {number}, where n is {self.evidence.parts.n}"
            more += ": another axis, or another size, is counted as rows."
            return replace(self._found(Fit.EVERY, [], 0), more=more)
        unknown = self._found(Fit.NONE, [], 0)
        is_added = np.any(np.abs(self.rest) > self.limit)
        added = unknown.remainder if is_added else 0.0
        unknown_dx = wording.unknown_dx(unknown.coefficients, added, self.off, self.evidence.parts)
        return replace(unknown, more=wording.not_finite(self.dx) or unknown_dx)

    @property
    def limit(self) -> FloatArray:
        """How far the elements of each feature may be off, (d,)."""
        return np.asarray(self.yardstick.tolerance * self.yardstick.measured_by)

    @property
    def errors(self) -> FloatArray:
        """How far each element is off, in tolerances, (n, d)."""
        return np.asarray(np.abs(self.dx - self.evidence.parts.gradients.x) / self.limit)

    def _placed(self, axes: Sequence[int]) -> Explained | None:
        """A dx that is wrong in some rows or features alone, or of which one row alone is written."""
        parts = self.evidence.parts
        written = np.any(self.dx != 0, axis=1)
        if np.count_nonzero(written) == 1:
            near = np.abs(parts.gradients.x - self.dx[written]) <= self.limit
            if np.any(np.all(near, axis=1)):
                return self._in(region.of(written, np.ones(parts.d, dtype=bool), axes), "one-row-for-all")
        seen = np.any(parts.stages.centred != 0, axis=0) & (parts.inputs.gamma != 0)
        found = region.region(self.errors, seen, axes)
        if found is None:
            return None
        off = ~(self.errors <= 1)
        return self._in(found, region.fault_in(parts, self.dx, np.any(off, axis=1), np.any(off, axis=0), self.limit))

    def _in(self, place: Region, fault: str) -> Explained:
        return Explained("x", Fit.EVERY if fault else Fit.NONE, self.off, region=place, fault=fault)

    def _fits_of_sums(self) -> BoolArray:
        """Whether dx is what comes of sums that leave some rows out, each of `region.without_some_rows`."""
        parts = self.evidence.parts
        if parts.is_eval:
            return np.zeros(0, dtype=bool)
        dbeta, dgamma = region.without_some_rows(parts)
        gain = np.broadcast_to(self.evidence.right.gain, dbeta.shape)
        return np.asarray(np.all(self._fits(gain, *parts.through(dbeta, dgamma)), axis=1))

    def _found(self, fit: Fit, options: Options, explained: int) -> Explained:
        coefficients = self._known_coefficients()
        remainder = float(np.max(np.max(np.abs(self.rest), axis=0) / self.yardstick.measured_by, initial=0))
        return Explained("x", fit, self.off, tuple(options), explained, coefficients, remainder)

    def _allowed(self, gain: FloatArray, dvar: FloatArray, dmean: FloatArray) -> FloatArray:
        """The length by which a dx of these may be off, (..., d): the size of its summands counts, if it is larger."""
        at = self.coordinates
        summed = np.abs(gain) * _length(at.direct) + np.abs(dvar) * _length(at.through_var)
        size = np.maximum(np.sqrt(len(self.dx)) * self.yardstick.measured_by, summed + np.abs(dmean) * at.ones)
        return np.asarray(self.yardstick.tolerance * size)

    def _fits(self, gain: FloatArray, dvar: FloatArray, dmean: FloatArray) -> BoolArray:
        """Whether a dx of these three, (h, d) each, is the one that was given, in each feature, (h, d)."""
        expected = self.coordinates.of_routes(gain, dvar, dmean)
        rest = np.broadcast_to(self.length, expected[:1].shape)
        distance = _length(np.concatenate((expected - self.projected[:, None], rest)))
        neither = ~(np.isfinite(self.projected[0]) | np.isfinite(expected[0]))
        return np.asarray(((distance <= self._allowed(gain, dvar, dmean)) & self._is_nearer(distance)) | neither)

    def _equals(self, dx: FloatArray) -> BoolArray:
        """Whether a whole dx, (n, d), is the one that was given, in each feature, (d,)."""
        size = np.maximum(self.yardstick.measured_by, np.max(np.abs(dx), axis=0))
        near = np.max(np.abs(self.dx - dx), axis=0) <= self.yardstick.tolerance * size
        return np.asarray(near & self._is_nearer(_length(self.dx - dx)))

    def _is_nearer(self, distance: FloatArray) -> BoolArray:
        """Whether something explains what is off better than roundoff would, (..., d)."""
        return np.asarray((distance <= NEARER * self.error) | ~self.off)

    def _coefficients(self) -> dict[str, tuple[FloatArray, FloatArray]]:
        """Factors that stand in the routes for gamma, dvar and dmean, and how far each may be off, (d,).

        Where the data do not tell a route from the others, that is infinite.
        """
        parts, projected = self.evidence.parts, self.projected
        (first, second, third), (along_ones, along_centred) = self.coordinates.direct, self.coordinates.through_var
        allowed = self._allowed(parts.inputs.gamma, parts.gradients.var, parts.gradients.mean)
        allowed = np.maximum(allowed, self.yardstick.tolerance * _length(projected))
        allowed = np.maximum(allowed, SPREAD * self.length)
        with np.errstate(all="ignore"):
            gain = np.where(third != 0, projected[2] / third, 0)
            gain_off = np.where(third != 0, allowed / np.abs(third), np.inf)
            dvar = np.where(along_centred != 0, (projected[1] - gain * second) / along_centred, 0)
            dvar_off = (allowed + gain_off * np.abs(second)) / np.abs(along_centred)
            dvar_off = np.where(along_centred != 0, dvar_off, np.inf)
            dmean = (projected[0] - gain * first - dvar * along_ones) / self.coordinates.ones
            dmean_off = (allowed + gain_off * np.abs(first)) / self.coordinates.ones
        found = ((gain, gain_off), (dvar, dvar_off), (dmean, dmean_off))
        return dict(zip(ROUTES.values(), found, strict=True))

    def _together(self, single: hypotheses.InRoutes) -> Options:
        """Faults on several routes that explain dx together: for each route, those that its coefficient allows."""
        right = self.evidence.right
        lists = []
        for name, (value, off) in self._coefficients().items():
            values, truth = getattr(single, name), getattr(right, name)
            reach = 4 * off + 4 * self.yardstick.tolerance * np.abs(values)
            near = np.all(np.abs(values - value) <= reach, axis=1) & ~np.all(np.abs(values - truth) <= reach, axis=1)
            alone = [i for i in np.flatnonzero(near).tolist() if single.spoilt[i] == {name}]
            as_it_is = bool(np.all(np.abs(truth - value) <= 4 * off))
            lists.append([(single.hypotheses[i], values[i]) for i in alone] + [(None, truth)] * as_it_is)
        combinations = list(itertools.islice(itertools.product(*lists), COMBINATIONS + 1))
        if not combinations or len(combinations) > COMBINATIONS:
            return []
        arrays = (np.stack([combination[route][1] for combination in combinations]) for route in range(3))
        kept = np.flatnonzero(np.all(self._fits(*arrays), axis=1))
        options = [tuple(h for h, _ in combinations[i] if h is not None) for i in kept.tolist()]
        return sorted(filter(None, options), key=lambda option: (len(option), [h.rank for h in option]))

    def _known_coefficients(self) -> tuple[Coefficient, ...]:
        """gamma, dvar and dmean as fractions of what they should be: one coefficient a route, 1 where it may be 1."""
        found, right = self._coefficients(), self.evidence.right
        known = []
        for route, name in ROUTES.items():
            (value, off), truth = found[name], getattr(right, name)
            ratio = np.where(np.abs(value - truth) <= off, 1.0, value / truth)
            ratio[~(off <= KNOWN_TO * np.abs(truth))] = np.nan
            known.append(Coefficient(route, _median(ratio[np.isfinite(ratio)]), tuple(ratio.tolist())))
        return tuple(known)

    def _number_taken_for_n(self) -> int:
        """The whole number that dx is right with in place of n; 0 where there is none."""
        _, dvar, dmean = (coefficient.median for coefficient in self._known_coefficients())
        n, right = self.evidence.parts.n, self.evidence.right
        if not (np.isfinite(dvar) and np.isfinite(dmean)) or not 0 < (number := round(n / max(dvar, 1 / n))) <= n * n:
            return 0
        ratio = n / number
        fits = self._fits(right.gain[None], ratio * right.through_var[None], ratio * right.through_mean[None])
        return number if number != n and np.all(fits) else 0

    def _out_of_place(self) -> str:
        """Say that the elements are the right ones in another order; nothing where they are not."""
        right, limit = self.evidence.parts.gradients.x, self.limit
        if not np.max(np.abs(self.dx - right)) > CLEARLY * np.max(limit):
            return ""
        if np.all(np.abs(np.sort(self.dx, axis=0) - np.sort(right, axis=0)) <= limit):
            return "the elements of dx are right, but stand in other rows of their features"
        if np.all(np.abs(np.sort(self.dx, axis=None) - np.sort(right, axis=None)) <= np.max(limit)):
            return "the elements of dx are right, but stand in other places: transposed, or reshaped in another order"
        return ""


def _median(values: FloatArray) -> float:
    """The median of numbers; nan where there are none. np.median takes several times as long on a few."""
    ordered = np.sort(values).tolist()
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2 if ordered else float("nan")


def _length(vectors: FloatArray) -> FloatArray:
    """The length of vectors that stand in the first axis."""
    return np.asarray(np.sqrt(np.add.reduce(vectors * vectors, axis=0)))
