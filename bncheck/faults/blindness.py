"""Reasons why a case could not have shown some of the known faults, and what would show them.

It stands apart from `power`, which every check needs: most cases show every fault and need no reasons.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bncheck.case import EPS
from bncheck.faults.catalogue import Fault, dbeta_without_dout, dgamma_on_out
from bncheck.faults.hypotheses import spoils
from bncheck.faults.terms import CONSTANT, FACTORS, OF_A_CONSTANT, FactorValues, Parts, Wrong
from bncheck.faults.wording import small
from bncheck.gradients.batchnorm import NODES, FloatArray
from bncheck.gradients.yardsticks import FLOOR, ROUNDOFF, Yardstick


@dataclass(frozen=True, slots=True)
class Blind:
    """Faults that a case cannot show, all for one `reason`; `cure` is what would show them."""

    reason: str
    cure: str
    faults: tuple[Fault, ...]

    @property
    def sentence(self) -> str:
        """The reason, the number of faults in each row, and what to do."""
        (first, count), *rows = Counter(fault.row for fault in self.faults).most_common()
        counted = [f"{count} {'faults' if count > 1 else 'fault'} in {first}", *(f"{n} in {row}" for row, n in rows)]
        shown = " and ".join(filter(None, (", ".join(counted[:-1]), counted[-1])))
        return f"{self.reason}: {shown} cannot show; {self.cure}"


def grouped(
    faults: Sequence[Fault], parts: Parts, yardsticks: Mapping[str, Yardstick], dtype: str
) -> tuple[Blind, ...]:
    """Faults that do not show, by the reason, the largest group first.

    `yardsticks` are of the rows that are judged; `dtype` is that of the case.
    """
    right, values, every = Wrong.without_fault(parts), FactorValues.of(parts), yardsticks.values()
    usual = max((float(np.median(yardstick.tolerance)) for yardstick in every), default=math.nan)
    derived = FLOOR + ROUNDOFF * max((yardstick.unit for yardstick in every), default=math.nan)
    rtol = max((each.rtol or 0.0 for each in every), default=0.0)
    groups: dict[tuple[str, str], list[Fault]] = {}
    for fault in faults:
        wrong = fault.wrong(right, parts, values)
        unseen = _Unseen(fault, wrong, right, parts, dtype, yardsticks.keys(), usual, derived, rtol)
        groups.setdefault(_why(unseen), []).append(fault)
    blind = [Blind(reason, cure, tuple(found)) for (reason, cure), found in groups.items()]
    return tuple(sorted(blind, key=lambda group: -len(group.faults)))


@dataclass(frozen=True, slots=True)
class _Unseen:
    """A fault that does not show, and everything that the reason may depend on.

    `rows` are those that are judged. Their relative errors may be: `tolerance`, the largest median over the features
    of a row; `derived`, that of the dtype on data with a mean of 0 and no terms that cancel; `rtol`, that of the user,
    0 where there is none.
    """

    fault: Fault
    wrong: Wrong
    right: Wrong
    parts: Parts
    dtype: str
    rows: Collection[str]
    tolerance: float
    derived: float
    rtol: float

    @property
    def gamma(self) -> FloatArray:
        return self.parts.inputs.gamma

    @property
    def eps(self) -> float:
        return self.parts.inputs.eps


class _Reason(NamedTuple):
    """A reason why a fault does not show: when it holds, how it is told, and what helps."""

    holds: Callable[[_Unseen], bool | np.bool_]
    text: Callable[[_Unseen], str] | str
    cure: Callable[[_Unseen], str] | str


def _is_constant_and_needed(unseen: _Unseen) -> bool:
    return unseen.fault.row in ("x", "gamma") and bool(np.all(unseen.parts.dout == unseen.parts.dout[0]))


def _dout_in_words(unseen: _Unseen) -> str:
    dout = "ones" if np.all(unseen.parts.dout == 1) else "the same in every row"
    return f"dout is {dout}, so d{unseen.fault.row} is zero"


def _would_show_beside_less(unseen: _Unseen) -> bool:
    """Whether an eps would show where the variance is as small as it is made below, with room for what dilutes it.

    At std = 6 sqrt(eps), sqrt(var) for std is off by 1/72, and std + eps by sqrt(eps) / 6. A power of it is more, but
    stands in one route of dx alone.
    """
    eps = unseen.eps
    once = FACTORS[unseen.fault.factor]._replace(power=1)
    return abs(once.at(36 * eps, eps) - 1) > 30 * unseen.derived


def _less_variance(unseen: _Unseen) -> str:
    std = f"{6 * math.sqrt(unseen.eps):.1g}".replace("e-0", "e-")
    return f"use x: {{like: normal, std: {std}}}"


REASONS = (
    _Reason(
        lambda u: u.fault.row not in u.rows,
        lambda u: f"there is no d{u.fault.row} that can be judged",
        "let your code give it",
    ),
    _Reason(lambda u: not np.any(u.parts.dout), "dout is zeros, so every gradient is zero", "use dout: normal"),
    _Reason(
        lambda u: (
            u.parts.is_eval
            and u.fault.needs != "eval"
            and (u.fault.row == "x" or not any(spoils(u.wrong, u.right, row) for row in NODES))
        ),
        "mean and var are constants in eval mode, so dx is the direct route alone",
        "use mode: train",
    ),
    _Reason(lambda u: u.fault.row == "x" and not np.any(u.gamma), "gamma is zeros, so dx is zero", "use gamma: normal"),
    _Reason(
        lambda u: u.fault.about == "gamma" and np.all(np.abs(u.gamma) == 1),
        "gamma is ones, so a gamma too many or too few is no change",
        "use gamma: normal",
    ),
    _Reason(
        lambda u: u.fault.spoil is dgamma_on_out and np.all(u.gamma == 1) and not np.any(u.parts.inputs.beta),
        "gamma is ones and beta is zeros, so out is x_hat",
        "use beta: normal",
    ),
    _Reason(
        lambda u: u.fault.factor == "n/d" and u.parts.n == u.parts.d,
        "n is d, so that one cannot be told from the other",
        "use a shape with n != d",
    ),
    _Reason(_is_constant_and_needed, _dout_in_words, "use dout: normal"),
    _Reason(
        lambda u: u.fault.spoil is dbeta_without_dout and np.all(u.parts.dout == 1),
        "dout is ones, so a forgotten dout is no change",
        "use dout: normal",
    ),
    _Reason(
        lambda u: u.fault.row == "x" and np.all(u.parts.stages.var <= u.tolerance * u.eps),
        "the variance is nothing beside eps, so nothing comes back through var",
        _less_variance,
    ),
    _Reason(
        lambda u: u.rtol > u.derived,
        lambda u: f"rtol is {small(u.rtol)}, which is more than they change",
        "use rtol: auto",
    ),
    _Reason(
        lambda u: u.fault.factor in OF_A_CONSTANT and u.eps == CONSTANT,
        f"eps is {CONSTANT:g}, so that 1e-5 written for it is no change",
        f"use eps: {EPS:g}",
    ),
    _Reason(
        lambda u: u.fault.about == "eps" and _would_show_beside_less(u),
        lambda u: f"eps is {small(u.eps)}, which is too little beside the variance for {u.dtype}",
        _less_variance,
    ),
    _Reason(lambda u: not np.any(u.parts.stages.centred), "x is constant, so x_hat is zero", "use x: {like: normal}"),
    _Reason(
        lambda u: u.parts.n == 2 and u.fault.row in ("x", "gamma"),
        "n is 2, so the routes of dx cancel but for eps",
        "use n >= 3",
    ),
    _Reason(
        lambda u: u.dtype != "float64", lambda u: f"{u.dtype} tolerates more than they change", "use dtype: float64"
    ),
    _Reason(
        lambda u: True, "what they change is below the tolerance", "use other data: the default x, gamma, dout and eps"
    ),
)


def _why(unseen: _Unseen) -> tuple[str, str]:
    """The first reason that holds, and its cure."""
    reason = next(reason for reason in REASONS if reason.holds(unseen))
    text, cure = reason.text, reason.cure
    return text if isinstance(text, str) else text(unseen), cure if isinstance(cure, str) else cure(unseen)
