"""The power of checks: which known faults each case of a config would catch, and the smallest slip it would show."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bncheck.case import Case
from bncheck.faults.catalogue import COMPOUND, FACTORED, KNOWN, STRUCTURAL, Fault
from bncheck.faults.terms import (
    FACTORS,
    TERMS,
    BoolArray,
    Coordinates,
    FactorValues,
    Parts,
    Wrong,
    needs_met,
    spoilt_by,
)
from bncheck.gradients.batchnorm import FloatArray
from bncheck.gradients.problem import draw
from bncheck.gradients.yardsticks import Basis, Yardstick, relative

if TYPE_CHECKING:
    from bncheck.faults.blindness import Blind

FIELDS = Wrong._fields[:-1]
"""The fields of Wrong that are vectors, (d,): all but a whole dx."""

OF_DX = slice(FIELDS.index("gain"), len(FIELDS))
"""The fields that stand in dx for gamma, dvar and dmean."""

# --- the faults that one case shows -----------------------------------------------------------------------------

# Nothing is differenced for it. The faults that are a factor on a term are worked out together.


class Visibility(NamedTuple):
    """The faults that are possible in one case: those that it would catch, and the rest by the reason."""

    visible: tuple[Fault, ...]
    blind: tuple[Blind, ...]

    @property
    def invisible(self) -> tuple[Fault, ...]:
        """The faults that it would not catch, whatever the reason."""
        return tuple(fault for blind in self.blind for fault in blind.faults)


def visibility(
    parts: Parts, yardsticks: Mapping[str, Yardstick], dtype: str, implied: Sequence[str] = ()
) -> Visibility:
    """Find which faults one case would show.

    `yardsticks` has what each row that is judged is measured by; a row that is skipped is not in it. `implied` are
    those of them, mean or var, that are taken from dx. `dtype` is that of the case.
    """
    with np.errstate(all="ignore"):
        given = _Given.of(parts, yardsticks, implied)
        shown = given.shown()
        visible = tuple(itertools.compress(given.faults, shown))
        if np.all(shown):
            return Visibility(visible, ())
        from bncheck.faults.blindness import grouped  # most cases need no reasons

        return Visibility(visible, grouped(list(itertools.compress(given.faults, ~shown)), parts, yardsticks, dtype))


def smallest_slip(parts: Parts, yardsticks: Mapping[str, Yardstick]) -> dict[str, float]:
    """The smallest s for each row of which a factor 1 + s on its gradient would show; infinite where that is zero."""
    slips = {}
    with np.errstate(all="ignore"):
        for row, yardstick in yardsticks.items():
            size = np.max(np.abs(np.atleast_2d(parts.gradients.of(row))), axis=0)
            slips[row] = float(np.min(np.where(size > 0, yardstick.tolerance * yardstick.measured_by / size, np.inf)))
    return slips


class _Given(NamedTuple):
    """Every fault that is possible, with the `values` that it gives, (fields, faults, d), in the order of FIELDS.

    `right`, (fields, d), is what should be given; `whole` has the dx, (n, d), of those whose dx is no sum of the three
    routes, by their numbers. `yardsticks` are those of the rows that are judged; `implied` are taken from dx.
    """

    yardsticks: Mapping[str, Yardstick]
    implied: Sequence[str]
    coordinates: Coordinates
    parts: Parts
    faults: tuple[Fault, ...]
    right: FloatArray
    values: FloatArray
    whole: Mapping[int, FloatArray]

    @classmethod
    def of(cls, parts: Parts, yardsticks: Mapping[str, Yardstick], implied: Sequence[str]) -> _Given:
        met = needs_met(parts)
        factored, symbols, powers = _factored(met, parts.is_eval)
        compound = tuple(fault for fault in COMPOUND if fault.needs in met)
        right = Wrong.without_fault(parts)
        values = np.empty((len(FIELDS), len(factored) + len(compound), parts.d))
        values[:, : len(factored)] = _scaled(symbols, powers, right, parts)
        whole = {}
        for number, fault in enumerate(compound, len(factored)):
            assert fault.spoil is not None
            wrong = fault.spoil(right, parts)
            values[:, number] = wrong[:-1]
            if wrong.x is not None:
                whole[number] = wrong.x
        scene = (yardsticks, implied, Coordinates.of(parts), parts)
        return cls(*scene, (*factored, *compound), np.array(right[:-1]), values, whole)

    def shown(self) -> BoolArray:
        """Whether each fault changes some row by more than is tolerated there, (faults,)."""
        shown = np.zeros(len(self.faults), dtype=bool)
        for row, values, right in zip(FIELDS, self.values, self.right, strict=True):
            if row in self.yardsticks and row not in self.implied:
                shown |= _above(np.abs(values - right), self.yardsticks[row])
        return shown | self._shown_in_dx(~shown) if "x" in self.yardsticks else shown

    def _shown_in_dx(self, asked: BoolArray) -> BoolArray:
        """Whether each fault shows in dx, or in dmean and dvar where they are taken from it; False where not `asked`.

        The length of a slip bounds its largest element from both sides, which settles nearly all of them.
        """
        parts, in_x = self.parts, self.yardsticks["x"]
        shown = np.zeros(len(asked), dtype=bool)
        for i, dx in self.whole.items():
            slip = dx - parts.gradients.x
            shown[i] = asked[i] and (
                _above(np.abs(slip).max(axis=0), in_x)
                or self._implied_shows(self.coordinates.project(slip)[0][:, None]).any()
            )
        within = np.array([i for i in np.flatnonzero(asked).tolist() if i not in self.whole], dtype=np.intp)
        changes = self.values[OF_DX, within] - self.right[OF_DX, None]
        slips = self.coordinates.of_routes(*changes)
        longest = np.sqrt(np.add.reduce(slips * slips, axis=0))
        surely = _above(longest / math.sqrt(parts.n), in_x) | self._implied_shows(slips)
        shown[within] = surely
        for place in np.flatnonzero(~surely & _above(longest, in_x)).tolist():
            dx = parts.dx(*(change[place] for change in changes))
            shown[within[place]] = bool(_above(np.abs(dx).max(axis=0), in_x))
        return shown

    def _implied_shows(self, slips: FloatArray) -> BoolArray:
        """Whether slips of dx, in their coordinates (3, h, d), show in the dmean and dvar that dx implies, (h,)."""
        shows = np.zeros(slips.shape[1], dtype=bool)
        if "mean" in self.implied:
            shows |= _above(np.abs(slips[0] / self.coordinates.ones), self.yardsticks["mean"])
        if "var" in self.implied:
            first, second = self.coordinates.through_var
            length = first * first + second * second
            projected = np.where(length > 0, (slips[0] * first + slips[1] * second) / length, 0)
            shows |= _above(np.abs(projected), self.yardsticks["var"])
        return shows


@cache
def _factored(possible: frozenset[str], is_eval: bool) -> tuple[tuple[Fault, ...], NDArray[np.intp], NDArray[np.intp]]:
    """The factors on terms that are possible, their symbols by number, and their powers in each of FIELDS."""
    faults = tuple(fault for fault in FACTORED if fault.needs in possible)
    places = {symbol: number for number, symbol in enumerate(FACTORS)}
    powers = [[dict(TERMS[fault.term].powers(is_eval)).get(part, 0) for fault in faults] for part in FIELDS]
    return faults, np.array([places[fault.factor] for fault in faults]), np.array(powers)


def _scaled(symbols: NDArray[np.intp], powers: NDArray[np.intp], right: Wrong, parts: Parts) -> FloatArray:
    """The values that factors on terms give to every field, (fields, faults, d)."""
    factors = FactorValues.of(parts)
    value = np.array([np.broadcast_to(of, parts.d) for of in factors.value.values()])[symbols]
    gain = np.array(list(factors.gain.values()))[symbols]
    scaled = np.empty((len(FIELDS), *gain.shape))
    for number, (part, power, kept) in enumerate(zip(FIELDS, powers, right[:-1], strict=True)):
        touched = np.flatnonzero(power)
        of, times = value[touched], gain[touched]
        cubed = np.flatnonzero(power[touched] > 1)
        times[cubed] *= of[cubed] ** (power[touched[cubed], None] - 1)
        scaled[number] = kept
        scaled[number, touched] = spoilt_by(part, parts, times, of)
    return scaled


def _above(slips: FloatArray, yardstick: Yardstick) -> BoolArray:
    """Whether a slip, (..., d), is above the tolerance in some feature; what is not a number is."""
    return np.asarray(~(relative(slips, yardstick.measured_by) <= yardstick.tolerance).all(axis=-1))


# --- the faults that shapes show ----------------------------------------------------------------------------------

BLOCK = 64
"""Rows, or features, that a kernel takes together."""


class Size(NamedTuple):
    """A condition on the shape of a case, without which some faults do not show; `reason` says that none meets it."""

    holds: Callable[[Case], bool]
    reason: str
    cure: str = "use a shape such as 65x67"


SIZES: Mapping[str, Size] = {
    "n in blocks": Size(lambda case: case.n > BLOCK and case.n % BLOCK > 0, "no n is above 64 but for its multiples"),
    "d in blocks": Size(lambda case: case.d > BLOCK and case.d % BLOCK > 0, "no d is above 64 but for its multiples"),
    "odd n": Size(lambda case: case.n % 2 > 0, "no n is odd"),
    "odd d": Size(lambda case: case.d % 2 > 0, "no d is odd"),
    "1 x 1": Size(lambda case: case.n == case.samples, "no image is of 1 x 1", "use a shape such as 33x5x1x1"),
}
"""The conditions by name. A case of (N, D) can have no image, and its faults in images are not possible."""


def by_size(cases: Sequence[Case]) -> Visibility:
    """The faults of place and size that some case shows, by the shapes alone; and those that none does.

    Those that no case can have are in neither.
    """
    images = [case for case in cases if len(case.shape) > 2]
    train = any(case.mode == "train" for case in cases)
    able = {**dict.fromkeys(("", *SIZES), cases), "1 x 1": images}
    faults = [fault for fault in STRUCTURAL if able[fault.size] and (train or fault.needs != "train")]
    met = {"", *(name for name, size in SIZES.items() if any(map(size.holds, able[name])))}
    visible = tuple(fault for fault in faults if fault.size in met)
    if len(visible) == len(faults):
        return Visibility(visible, ())
    from bncheck.faults.blindness import Blind

    unseen: dict[str, list[Fault]] = {}
    for fault in faults:
        if fault.size not in met:
            unseen.setdefault(SIZES[fault.size].cure, []).append(fault)
    blind = []
    for cure, hidden in unseen.items():
        *others, last = dict.fromkeys(SIZES[fault.size].reason for fault in hidden)
        blind.append(Blind(", and ".join(filter(None, (", ".join(others), last))), cure, tuple(hidden)))
    return Visibility(visible, tuple(blind))


def hidden_by_size(cases: Sequence[Case]) -> tuple[Blind, ...]:
    """The faults that none of these cases, which passed, could have shown by its shape; () of none, or of batches.

    The shapes of recorded batches are what they are.
    """
    return () if not cases or any(case.x.file for case in cases) else by_size(cases).blind


# --- the faults that all cases show -----------------------------------------------------------------------------


class Detection(StrEnum):
    """The fate of one fault in one case."""

    CAUGHT = "caught"
    INVISIBLE = "invisible"
    IMPOSSIBLE = "impossible"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class CasePower:
    """The faults that one case would show.

    `slips` are by node; `reason` says why a case that would be skipped shows nothing.
    """

    case: Case
    visibility: Visibility
    slips: dict[str, float]
    reason: str = ""

    def outcomes(self) -> dict[str, Detection]:
        """The fate of every known fault, by name, in the order of the catalogue."""
        if self.reason:
            return {fault.name: Detection.SKIPPED for fault in KNOWN}
        found = {fault.name: Detection.IMPOSSIBLE for fault in KNOWN}
        found |= {fault.name: Detection.INVISIBLE for fault in self.visibility.invisible}
        return found | {fault.name: Detection.CAUGHT for fault in self.visibility.visible}


@dataclass(frozen=True, slots=True)
class Power:
    """The faults that all cases would show between them."""

    cases: tuple[CasePower, ...]

    @property
    def unseen(self) -> tuple[Fault, ...]:
        """The faults that are possible in some case, and that none would catch."""
        caught = {fault.name for found in self.cases for fault in found.visibility.visible}
        possible = {fault.name: fault for found in self.cases for fault in found.visibility.invisible}
        return tuple(fault for name, fault in possible.items() if name not in caught)

    @property
    def says_nothing(self) -> bool:
        """Whether every case would be skipped."""
        return all(found.reason for found in self.cases)

    @property
    def sentence(self) -> str:
        """The last line: how many faults no case would catch, and which."""
        if self.says_nothing:
            return "every case would be skipped, so nothing would be checked"
        caught = {fault.name for found in self.cases for fault in found.visibility.visible}
        unseen = self.unseen
        possible = len(caught) + len(unseen)
        if unseen:
            names = "; ".join(fault.name for fault in unseen)
            return f"{len(unseen)} of {possible} known faults no case would catch: {names}"
        here = " that is possible here" if possible < len(KNOWN) else ""
        return f"every known fault{here} is caught by some case"


def power(cases: Sequence[Case]) -> Power:
    """The power of each case, and of all together. Nothing is differenced for it: effect against tolerance."""
    return Power(tuple(_of_case(case) for case in cases))


def _of_case(case: Case) -> CasePower:
    with np.errstate(all="ignore"):
        basis = Basis.of(draw(case))
        if basis.reason:
            return CasePower(case, Visibility((), ()), {}, basis.reason)
        parts = Parts.of(basis.exact.inputs, basis.exact.dout, basis.stages, case.samples)
        found, placed = visibility(parts, basis.yardsticks, case.dtype), by_size([case])
        if np.any(parts.gradients.x):  # else it is zero wherever it is written, for reasons that are told
            found = Visibility((*found.visible, *placed.visible), (*found.blind, *placed.blind))
        return CasePower(case, found, smallest_slip(parts, basis.yardsticks))
