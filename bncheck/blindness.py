"""What a pass is worth: which known faults a case could not have shown, why, and what would show them.

Nothing is differenced for it: a fault is invisible where it changes every gradient by less than is tolerated there.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bncheck.batchnorm import FloatArray
from bncheck.comparison import Yardstick, relative
from bncheck.factors import is_about_eps
from bncheck.fault import Fault
from bncheck.hypotheses import PUT, BoolArray, Evidence, spoils
from bncheck.parts import Coordinates, Parts
from bncheck.terms import Wrong
from bncheck.wording import small

ROWS = ("beta", "gamma", "mean", "var")


@dataclass(frozen=True, slots=True)
class Blind:
    """Faults that a case cannot show, all for one `reason`; `cure` is what would show them."""

    reason: str
    cure: str
    faults: tuple[Fault, ...]

    @property
    def sentence(self) -> str:
        """How many faults of which rows, why, and what to do."""
        counts = Counter(fault.row for fault in self.faults)
        counted = [f"{count} in {row}" for row, count in counts.most_common()]
        first = (
            counted[0].replace(" ", " faults ", 1) if counts.most_common(1)[0][1] > 1 else f"1 fault{counted[0][1:]}"
        )
        told = " and ".join([", ".join([first, *counted[1:-1]]), *counted[1:][-1:]])
        return f"{self.reason}: {told} cannot show; {self.cure}"


@dataclass(frozen=True, slots=True)
class Sight:
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
        evidence = Evidence.of(parts)
        shown = _shown(evidence, rods, implied)
        unseen = [pair for pair, is_shown in zip(evidence.wrongs, shown, strict=True) if not is_shown]
        tolerance = max((float(np.median(rod.tolerance)) for rod in rods.values()), default=math.nan)
        groups: dict[tuple[str, str], list[Fault]] = {}
        for fault, wrong in unseen:
            groups.setdefault(_why(_Unseen(fault, wrong, evidence, dtype, tolerance)), []).append(fault)
    blind = [Blind(reason, cure, tuple(faults)) for (reason, cure), faults in groups.items()]
    visible = tuple(fault for (fault, _), is_shown in zip(evidence.wrongs, shown, strict=True) if is_shown)
    return Sight(visible, tuple(sorted(blind, key=lambda group: -len(group.faults))))


def smallest_slip(parts: Parts, rods: Mapping[str, Yardstick]) -> dict[str, float]:
    """For each row, the smallest s of which a factor 1 + s on its gradient would show; infinite where that is zero."""
    slips = {}
    with np.errstate(all="ignore"):
        for row, rod in rods.items():
            size = np.max(np.abs(np.atleast_2d(parts.gradients.of(row))), axis=0)
            slips[row] = float(np.min(np.where(size > 0, rod.tolerance * rod.measured_by / size, np.inf)))
    return slips


# --- what shows ------------------------------------------------------------------------------------------------


def _shown(evidence: Evidence, rods: Mapping[str, Yardstick], implied: Sequence[str]) -> BoolArray:
    """Whether each fault changes some row by more than is tolerated there, (faults,)."""
    wrongs = [wrong for _, wrong in evidence.wrongs]
    shown = np.zeros(len(wrongs), dtype=bool)
    for row in (row for row in ROWS if row in rods and row not in implied):
        right = getattr(evidence.right, row)
        touched = [i for i, wrong in enumerate(wrongs) if getattr(wrong, row) is not right]
        slips = np.abs(np.stack([getattr(wrongs[i], row) for i in touched]) - right)
        shown[touched] |= _above(slips, rods[row])
    if "x" in rods:
        shown |= _shown_in_dx(evidence, wrongs, rods, implied, ~shown)
    return shown


def _above(slips: FloatArray, rod: Yardstick) -> BoolArray:
    """Whether a slip, (..., d), is above the tolerance in some feature; what is not a number is."""
    return np.asarray(~np.all(relative(slips, rod.measured_by) <= rod.tolerance, axis=-1))


def _shown_in_dx(
    evidence: Evidence, wrongs: Sequence[Wrong], rods: Mapping[str, Yardstick], implied: Sequence[str], asked: BoolArray
) -> BoolArray:
    """The same for dx, and for dmean and dvar where they are taken from it; False where it is not `asked`.

    The length of a slip bounds its largest element from both sides, which settles nearly all of them.
    """
    here, right = Coordinates.of(evidence.parts), evidence.right
    shown = np.zeros(len(wrongs), dtype=bool)
    whole = [i for i in np.flatnonzero(asked).tolist() if wrongs[i].x is not None]
    for i in whole:
        shown[i] = _slip_shows(_array(wrongs[i].x) - evidence.parts.gradients.x, here, rods, implied)
    within = [i for i in np.flatnonzero(asked).tolist() if wrongs[i].x is None and spoils(wrongs[i], right, "x")]
    if not within:
        return shown
    changes = [np.stack([getattr(wrongs[i], part) for i in within]) - getattr(right, part) for part in PUT]
    seen = here.made(*changes)
    longest = np.sqrt(np.add.reduce(seen * seen, axis=0))
    surely = _above(longest / math.sqrt(evidence.parts.n), rods["x"]) | _implied_shows(seen, here, rods, implied)
    maybe = ~surely & _above(longest, rods["x"])
    shown[within] = surely
    for place in np.flatnonzero(maybe).tolist():
        slip = evidence.parts.dx(*(change[place] for change in changes))
        shown[within[place]] = bool(_above(np.max(np.abs(slip), axis=0), rods["x"]))
    return shown


def _slip_shows(slip: FloatArray, here: Coordinates, rods: Mapping[str, Yardstick], implied: Sequence[str]) -> bool:
    """Whether a slip of a whole dx, (n, d), shows in it, or in what is implied from it."""
    if _above(np.max(np.abs(slip), axis=0), rods["x"]):
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


def _array(x: FloatArray | None) -> FloatArray:
    assert x is not None
    return x


# --- why not ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Unseen:
    """A fault that does not show, and all that a reason may be about. `tolerance` is what a row usually has."""

    fault: Fault
    wrong: Wrong
    evidence: Evidence
    dtype: str
    tolerance: float

    @property
    def parts(self) -> Parts:
        return self.evidence.parts


@dataclass(frozen=True, slots=True)
class _Reason:
    """Why a fault does not show: when that is the reason, how it is told, and what helps."""

    holds: Callable[[_Unseen], bool]
    told: Callable[[_Unseen], str]
    cure: Callable[[_Unseen], str] | str


GAMMAS = ("gamma", "1/gamma", "1/gamma^2")


def _dout_is_constant(unseen: _Unseen) -> bool:
    return bool(np.all(unseen.parts.dout == unseen.parts.dout[0]))


def _is_untouched(unseen: _Unseen) -> bool:
    rows = (*ROWS, "x")
    return not any(spoils(unseen.wrong, unseen.evidence.right, row) for row in rows)


def _dout_in_words(unseen: _Unseen) -> str:
    dout = "ones" if np.all(unseen.parts.dout == 1) else "the same in every row"
    return f"dout is {dout}, so dx is zero" if unseen.fault.row == "x" else f"dout is {dout}, so dgamma is zero"


REASONS = (
    _Reason(
        lambda u: not np.any(u.parts.dout), lambda u: "dout is zeros, so every gradient is zero", "use dout: normal"
    ),
    _Reason(
        lambda u: u.parts.is_eval and (_is_untouched(u) or u.fault.row == "x"),
        lambda u: "mean and var are constants in eval mode, so dx is the direct route alone",
        "use mode: train",
    ),
    _Reason(
        lambda u: u.fault.row == "x" and not np.any(u.parts.inputs.gamma),
        lambda u: "gamma is zeros, so dx is zero",
        "use gamma: normal",
    ),
    _Reason(
        lambda u: u.fault.factor in GAMMAS and bool(np.all(np.abs(u.parts.inputs.gamma) == 1)),
        lambda u: "gamma is ones, so a gamma too many or too few is no change",
        "use gamma: normal",
    ),
    _Reason(
        lambda u: u.fault.factor == "n/d" and u.parts.n == u.parts.d,
        lambda u: "n is d, so that one cannot be told from the other",
        "use a shape with n != d",
    ),
    _Reason(lambda u: u.fault.row in ("x", "gamma") and _dout_is_constant(u), _dout_in_words, "use dout: normal"),
    _Reason(
        lambda u: "dout is forgotten" in u.fault.cause and bool(np.all(u.parts.dout == 1)),
        lambda u: "dout is ones, so a forgotten dout is no change",
        "use dout: normal",
    ),
    _Reason(
        lambda u: u.fault.row == "x" and bool(np.all(u.parts.stages.var <= u.tolerance * u.parts.inputs.eps)),
        lambda u: "the variance is nothing beside eps, so nothing comes back through var",
        lambda u: f"use x: {{std: {6 * math.sqrt(u.parts.inputs.eps):.1g}}}",
    ),
    _Reason(
        lambda u: is_about_eps(u.fault.factor),
        lambda u: f"eps is {small(u.parts.inputs.eps)}, which is too little beside the variance for {u.dtype}",
        lambda u: f"use x: {{std: {6 * math.sqrt(u.parts.inputs.eps):.1g}}}",
    ),
    _Reason(
        lambda u: u.parts.n == 2 and u.fault.row in ("x", "gamma"),
        lambda u: "n is 2, so the routes of dx cancel but for eps",
        "use n >= 3",
    ),
    _Reason(
        lambda u: not np.any(u.parts.stages.centred),
        lambda u: "x is constant, so x_hat is zero",
        "use x: {like: normal}",
    ),
    _Reason(
        lambda u: u.dtype != "float64",
        lambda u: f"{u.dtype} tolerates {small(u.tolerance)} here, which is more than they change",
        "use dtype: float64",
    ),
    _Reason(
        lambda u: True,
        lambda u: f"what they change is below the tolerance, {small(u.tolerance)}",
        "use other data: the default x, gamma, dout and eps",
    ),
)


def _why(unseen: _Unseen) -> tuple[str, str]:
    """The first reason that holds, and its cure."""
    reason = next(reason for reason in REASONS if reason.holds(unseen))
    return reason.told(unseen), reason.cure if isinstance(reason.cure, str) else reason.cure(unseen)
