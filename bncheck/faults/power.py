"""What checks are worth: which known faults each case of a config would catch, and the smallest slip it would show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bncheck.case import Case
from bncheck.faults.catalogue import COMPOUND, FACTORED, FAULTS
from bncheck.faults.fault import NEEDS, Fault
from bncheck.faults.parts import Coordinates, Parts
from bncheck.faults.terms import FACTORS, TERMS, Worth, Wrong, spoilt_by
from bncheck.gradients.batchnorm import FloatArray
from bncheck.gradients.problem import draw
from bncheck.gradients.yardsticks import Basis, Yardstick, relative

if TYPE_CHECKING:
    from bncheck.faults.blindness import Blind


# --- what one case can see --------------------------------------------------------------------------------------

# Nothing is differenced for it. The faults that are a factor on a term, nearly all of the catalogue, are worked out
# together.


BoolArray = NDArray[np.bool_]

PARTS = ("beta", "gamma", "mean", "var", "gain", "through_var", "through_mean")
ROUTES = slice(4, 7)  # what stands in dx for gamma, dvar and dmean


class Sight(NamedTuple):
    """What one case can see: of the faults that are possible in it, those that it would catch, and the rest."""

    visible: tuple[Fault, ...]
    blind: tuple[Blind, ...]

    @property
    def invisible(self) -> tuple[Fault, ...]:
        """All faults that it would not catch."""
        return tuple(fault for blind in self.blind for fault in blind.faults)


def sight(parts: Parts, rods: Mapping[str, Yardstick], dtype: str, implied: Sequence[str] = ()) -> Sight:
    """Which faults one case would show.

    `rods` has what each row that is judged is measured by; a row that is skipped is not in it. `implied` are those of
    them, mean or var, that are taken from dx. `dtype` is that of the case.
    """
    with np.errstate(all="ignore"):
        given = _Given.of(parts)
        shown = _shown(given, rods, implied)
        visible = tuple(fault for fault, is_shown in zip(given.faults, shown, strict=True) if is_shown)
        if len(visible) == len(given.faults):
            return Sight(visible, ())
        from bncheck.faults.blindness import grouped  # most cases need no reasons

        unseen = [fault for fault, is_shown in zip(given.faults, shown, strict=True) if not is_shown]
        return Sight(visible, grouped(unseen, parts, rods, dtype))


def smallest_slip(parts: Parts, rods: Mapping[str, Yardstick]) -> dict[str, float]:
    """For each row, the smallest s of which a factor 1 + s on its gradient would show; infinite where that is zero."""
    slips = {}
    with np.errstate(all="ignore"):
        for row, rod in rods.items():
            size = np.max(np.abs(np.atleast_2d(parts.gradients.of(row))), axis=0)
            slips[row] = float(np.min(np.where(size > 0, rod.tolerance * rod.measured_by / size, np.inf)))
    return slips


class _Given(NamedTuple):
    """What every fault that is possible would give: `values`, (parts of Wrong, faults, d), in the order of PARTS.

    `right`, (parts of Wrong, d), is what should be given; `whole` has the dx, (n, d), of those whose dx is no sum of
    the three routes, by their numbers.
    """

    parts: Parts
    faults: tuple[Fault, ...]
    right: FloatArray
    values: FloatArray
    whole: Mapping[int, FloatArray]

    @classmethod
    def of(cls, parts: Parts) -> _Given:
        possible = frozenset(need for need, is_met in NEEDS.items() if is_met(parts))
        factored, symbols, powers = _factored(possible, parts.is_eval)
        compound = tuple(fault for fault in COMPOUND if fault.needs in possible)
        right = Wrong.nowhere(parts)
        values = np.empty((len(PARTS), len(factored) + len(compound), parts.d))
        values[:, : len(factored)] = _scaled(symbols, powers, right, parts)
        whole = {}
        for number, fault in enumerate(compound, len(factored)):
            assert fault.spoil is not None
            wrong = fault.spoil(right, parts)
            values[:, number] = _stacked(wrong)
            if wrong.x is not None:
                whole[number] = wrong.x
        return cls(parts, (*factored, *compound), np.array(_stacked(right)), values, whole)


def _stacked(wrong: Wrong) -> tuple[FloatArray, ...]:
    """In the order of PARTS."""
    return (wrong.beta, wrong.gamma, wrong.mean, wrong.var, wrong.gain, wrong.through_var, wrong.through_mean)


@cache
def _factored(possible: frozenset[str], is_eval: bool) -> tuple[tuple[Fault, ...], NDArray[np.intp], NDArray[np.intp]]:
    """The factors on terms that are possible, their symbols by number, and their powers in each of PARTS."""
    faults = tuple(fault for fault in FACTORED if fault.needs in possible)
    places = {symbol: number for number, symbol in enumerate(FACTORS)}
    powers = [[dict(TERMS[fault.term].powers(is_eval)).get(part, 0) for fault in faults] for part in PARTS]
    return faults, np.array([places[fault.factor] for fault in faults]), np.array(powers)


def _scaled(symbols: NDArray[np.intp], powers: NDArray[np.intp], right: Wrong, parts: Parts) -> FloatArray:
    """What factors on terms make of every part, (parts, faults, d)."""
    worth = Worth.of(parts)
    value = np.array([np.broadcast_to(of, parts.d) for of in worth.value.values()])[symbols]
    gain = np.array(list(worth.gain.values()))[symbols]
    scaled = np.empty((len(PARTS), *gain.shape))
    for number, (part, power, kept) in enumerate(zip(PARTS, powers, _stacked(right), strict=True)):
        touched = np.flatnonzero(power)
        of, times = value[touched], gain[touched]
        cubed = np.flatnonzero(power[touched] > 1)
        times[cubed] *= of[cubed] ** (power[touched[cubed], None] - 1)
        scaled[number] = kept
        scaled[number, touched] = spoilt_by(part, parts, times, of)
    return scaled


def _shown(given: _Given, rods: Mapping[str, Yardstick], implied: Sequence[str]) -> BoolArray:
    """Whether each fault changes some row by more than is tolerated there, (faults,)."""
    shown = np.zeros(len(given.faults), dtype=bool)
    for row, values, right in zip(PARTS, given.values, given.right, strict=True):
        if row in rods and row not in implied:
            shown |= _above(np.abs(values - right), rods[row])
    return shown | _shown_in_dx(given, rods, implied, ~shown) if "x" in rods else shown


def _above(slips: FloatArray, rod: Yardstick) -> BoolArray:
    """Whether a slip, (..., d), is above the tolerance in some feature; what is not a number is."""
    return np.asarray(~(relative(slips, rod.measured_by) <= rod.tolerance).all(axis=-1))


def _shown_in_dx(given: _Given, rods: Mapping[str, Yardstick], implied: Sequence[str], asked: BoolArray) -> BoolArray:
    """The same for dx, and for dmean and dvar where they are taken from it; False where it is not `asked`.

    The length of a slip bounds its largest element from both sides, which settles nearly all of them.
    """
    parts, here = given.parts, Coordinates.of(given.parts)
    shown = np.zeros(len(asked), dtype=bool)
    for i, dx in given.whole.items():
        shown[i] = asked[i] and _slip_shows(dx - parts.gradients.x, here, rods, implied)
    within = np.array([i for i in np.flatnonzero(asked).tolist() if i not in given.whole], dtype=np.intp)
    changes = given.values[ROUTES, within] - given.right[ROUTES, None]
    seen = here.made(*changes)
    longest = np.sqrt(np.add.reduce(seen * seen, axis=0))
    surely = _above(longest / math.sqrt(parts.n), rods["x"]) | _implied_shows(seen, here, rods, implied)
    shown[within] = surely
    for place in np.flatnonzero(~surely & _above(longest, rods["x"])).tolist():
        slip = parts.dx(*(change[place] for change in changes))
        shown[within[place]] = bool(_above(np.abs(slip).max(axis=0), rods["x"]))
    return shown


def _slip_shows(slip: FloatArray, here: Coordinates, rods: Mapping[str, Yardstick], implied: Sequence[str]) -> bool:
    """Whether a slip of a whole dx, (n, d), shows in it, or in what is implied from it."""
    if _above(np.abs(slip).max(axis=0), rods["x"]):
        return True
    return bool(implied) and bool(_implied_shows(here.seen(slip)[0][:, None], here, rods, implied)[0])


def _implied_shows(
    seen: FloatArray, here: Coordinates, rods: Mapping[str, Yardstick], implied: Sequence[str]
) -> BoolArray:
    """Whether slips of dx, in their coordinates (3, h, d), show in the dmean and dvar that dx implies, (h,)."""
    shows = np.zeros(seen.shape[1], dtype=bool)
    if "mean" in implied:
        shows |= _above(np.abs(seen[0] / here.ones), rods["mean"])
    if "var" in implied:
        first, second = here.through_var
        length = first * first + second * second
        projected = np.where(length > 0, (seen[0] * first + seen[1] * second) / length, 0)
        shows |= _above(np.abs(projected), rods["var"])
    return shows


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
    def says_nothing(self) -> bool:
        """Whether every case would be skipped."""
        return all(found.reason for found in self.cases)

    @property
    def sentence(self) -> str:
        """How many faults no case would catch, in words."""
        unseen = self.unseen
        if self.says_nothing:
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
        basis = Basis.of(draw(case))
        if basis.reason:
            return CasePower(case, Sight((), ()), {}, basis.reason)
        parts = Parts.of(basis.exact.inputs, basis.exact.dout, basis.stages, case.samples)
        return CasePower(case, sight(parts, basis.yardsticks, case.dtype), smallest_slip(parts, basis.yardsticks))
