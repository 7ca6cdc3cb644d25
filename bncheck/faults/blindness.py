"""What a pass is worth: why a case could not have shown some of the known faults, and what would show them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bncheck.faults.fault import Fault
from bncheck.faults.hypotheses import spoils
from bncheck.faults.parts import Parts
from bncheck.faults.terms import Worth, Wrong, is_about_eps
from bncheck.faults.wording import small
from bncheck.gradients.batchnorm import NODES
from bncheck.gradients.yardsticks import FLOOR, ROUNDOFF, Yardstick


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


def grouped(faults: Sequence[Fault], parts: Parts, rods: Mapping[str, Yardstick], dtype: str) -> tuple[Blind, ...]:
    """Faults that do not show, by the reason, the largest group first. `rods` and `dtype` as in `sight.sight`."""
    right, worth, judged = Wrong.nowhere(parts), Worth.of(parts), _Judged.by(rods)
    groups: dict[tuple[str, str], list[Fault]] = {}
    for fault in faults:
        unseen = _Unseen(fault, fault.wrong(right, parts, worth), right, parts, judged, dtype)
        groups.setdefault(_why(unseen), []).append(fault)
    blind = [Blind(reason, cure, tuple(found)) for (reason, cure), found in groups.items()]
    return tuple(sorted(blind, key=lambda group: -len(group.faults)))


@dataclass(frozen=True, slots=True)
class _Judged:
    """How a case is judged: which rows are, and to what relative error.

    `tolerance` is what a row usually has; `derived` what the dtype asks for on data that ask for nothing, with a mean
    of 0 and no terms that cancel; `rtol` that of the user, 0 where there is none.
    """

    rows: frozenset[str]
    tolerance: float
    derived: float
    rtol: float

    @classmethod
    def by(cls, rods: Mapping[str, Yardstick]) -> _Judged:
        """By what each row that is judged is measured."""
        usual = max((float(np.median(rod.tolerance)) for rod in rods.values()), default=math.nan)
        derived = FLOOR + ROUNDOFF * max((rod.unit for rod in rods.values()), default=math.nan)
        return cls(frozenset(rods), usual, derived, max((rod.rtol or 0.0 for rod in rods.values()), default=0.0))


@dataclass(frozen=True, slots=True)
class _Unseen:
    """A fault that does not show, and all that a reason may be about."""

    fault: Fault
    wrong: Wrong
    right: Wrong
    parts: Parts
    judged: _Judged
    dtype: str


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
    return not any(spoils(unseen.wrong, unseen.right, row) for row in NODES)


def _out_is_x_hat(unseen: _Unseen) -> bool:
    return bool(np.all(unseen.parts.inputs.gamma == 1)) and not np.any(unseen.parts.inputs.beta)


def _dout_in_words(unseen: _Unseen) -> str:
    dout = "ones" if np.all(unseen.parts.dout == 1) else "the same in every row"
    return f"dout is {dout}, so dx is zero" if unseen.fault.row == "x" else f"dout is {dout}, so dgamma is zero"


def _would_show_beside_less(unseen: _Unseen) -> bool:
    """Whether an eps would show where the variance is as small as it is made below, with room for what dilutes it.

    At std = 6 sqrt(eps), sqrt(var) for std is off by 1/72, and std + eps by sqrt(eps) / 6.
    """
    is_added_to_std = "sigma + eps" in unseen.fault.factor
    change = math.sqrt(unseen.parts.inputs.eps) / 6 if is_added_to_std else 1 / 72
    return change > 30 * unseen.judged.derived


def _less_variance(unseen: _Unseen) -> str:
    std = f"{6 * math.sqrt(unseen.parts.inputs.eps):.1g}".replace("e-0", "e-")
    return f"use x: {{like: normal, std: {std}}}"


REASONS = (
    _Reason(
        lambda u: u.fault.row not in u.judged.rows,
        lambda u: f"there is no d{u.fault.row} that can be judged",
        "let your code give it",
    ),
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
        lambda u: u.fault.cause.endswith("out stands where x_hat belongs") and _out_is_x_hat(u),
        lambda u: "gamma is ones and beta is zeros, so out is x_hat",
        "use beta: normal",
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
        lambda u: u.fault.row == "x" and bool(np.all(u.parts.stages.var <= u.judged.tolerance * u.parts.inputs.eps)),
        lambda u: "the variance is nothing beside eps, so nothing comes back through var",
        _less_variance,
    ),
    _Reason(
        lambda u: u.judged.rtol > u.judged.derived,
        lambda u: f"rtol is {small(u.judged.rtol)}, which is more than they change",
        "use rtol: auto",
    ),
    _Reason(
        lambda u: is_about_eps(u.fault.factor) and _would_show_beside_less(u),
        lambda u: f"eps is {small(u.parts.inputs.eps)}, which is too little beside the variance for {u.dtype}",
        _less_variance,
    ),
    _Reason(
        lambda u: not np.any(u.parts.stages.centred),
        lambda u: "x is constant, so x_hat is zero",
        "use x: {like: normal}",
    ),
    _Reason(
        lambda u: u.parts.n == 2 and u.fault.row in ("x", "gamma"),
        lambda u: "n is 2, so the routes of dx cancel but for eps",
        "use n >= 3",
    ),
    _Reason(
        lambda u: u.dtype != "float64",
        lambda u: f"{u.dtype} tolerates more than they change",
        "use dtype: float64",
    ),
    _Reason(
        lambda u: True,
        lambda u: "what they change is below the tolerance",
        "use other data: the default x, gamma, dout and eps",
    ),
)


def _why(unseen: _Unseen) -> tuple[str, str]:
    """The first reason that holds, and its cure."""
    reason = next(reason for reason in REASONS if reason.holds(unseen))
    return reason.told(unseen), reason.cure if isinstance(reason.cure, str) else reason.cure(unseen)
