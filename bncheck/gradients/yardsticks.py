"""Yardsticks: what errors at each node are measured by, scale, tolerance and floor, taken from one problem."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np

from bncheck.gradients import batchnorm
from bncheck.gradients.batchnorm import NODES, FloatArray, Inputs, Sizes, Stages, location, sizes_of
from bncheck.gradients.problem import Problem, out_of_range, precision

FLOOR = 1e-9  # ten times what float64 differences resolve, and a 50,000th of the smallest fault found in the wild
ROUNDOFF = 3.0  # c of the tolerance: three times what correct code needs beyond FLOOR; tests/benchmarks/calibration.py
BLUR = 0.1  # a tolerance above this would let zeros pass as a gradient


_ROUNDINGS = {"bfloat16": 2}
"""Roundings in a term, where they are not 4, which is three times what correct code needs. Of features with a mean of
some sigmas bfloat16 could then judge none; 2 is twice what code needs that rounds each of its operations."""


@cache
def sum_error(dtype: str, n: int) -> float:
    """Bound how far a sum of n rounded terms may be off, relative to the sum of their sizes: u growth(n).

    A few roundings in each term, and sqrt(n) in the sum: also where it is taken in a row, each addition is off by half
    a unit of the partial sum at most, at random, which comes to 0.23 sqrt(n) in standard deviation.
    """
    return _ROUNDINGS.get(dtype, 4) * precision(dtype).eps / 2 + math.sqrt(n) * _unit_of_sum(dtype)


@cache
def growth_of_alike(dtype: str, n: int) -> float:
    """How many times `sum_error` a sum of n terms may be off that are all alike, when it is taken in a row: n / 8 more.

    Each addition is then rounded to the same side: 0.1 added up a million times in float32 is 1 % too much.
    """
    return 1 + n / 8 * _unit_of_sum(dtype) / sum_error(dtype, n)


def _unit_of_sum(dtype: str) -> float:
    """The unit roundoff of sums. Those of float16, bfloat16 are taken in float32: nobody's would be right otherwise."""
    return min(precision(dtype).eps, precision("float32").eps) / 2


def growth_of(exact: Problem, stages: Stages, dtype: str) -> FloatArray:
    """How many times `sum_error` the sums of a feature may be off, (d,): more than once where terms are alike.

    Rounding is random but where the terms of a sum are alike to the spacing of the numbers around the sum: x with
    a large mean, x of many zeros, dout of ones, the squares of x - mean beside that of an outlier. And squares are lost
    that are below that spacing: in float32 the variance of a million normal numbers, summed in a row, comes out too
    small by 4.4e-4.
    """
    n, coarse = len(exact.dout), 2 * _unit_of_sum(dtype)
    lost: FloatArray | float = 0.0
    of_dout = np.abs(exact.dout - batchnorm.batch_mean(exact.dout))
    alike = batchnorm.batch_mean(of_dout) < coarse * np.add.reduce(np.abs(exact.dout), axis=0)
    if exact.inputs.running_mean is None:
        x, centred = exact.inputs.x, np.abs(stages.centred)
        total = n * stages.var
        alike |= batchnorm.batch_mean(centred) < coarse * np.add.reduce(np.abs(x), axis=0)
        alike |= np.count_nonzero(x[1:] == x[:-1], axis=0) > n / 2
        if n * coarse > FLOOR:
            centred *= centred
            is_lost = centred < coarse / 2 * total
            near = np.abs(centred[1:] - centred[:-1]) < coarse * total
            alike |= np.count_nonzero(near & ~is_lost[1:], axis=0) > n / 2
            lost = relative(np.add.reduce(centred, axis=0, where=is_lost), total) / 2  # std is off by half as much
    return np.asarray(np.where(alike, growth_of_alike(dtype, n), 1.0) + lost / sum_error(dtype, n))


@dataclass(frozen=True)
class Yardstick:
    """Scale, tolerance and floor of one node, per feature: what its errors are measured by.

    Shapes: scale, roundoff, floor (d,). A gradient whose scale is below `floor` is nothing but roundoff. `unit` is
    the relative error of sums in the dtype under check, `tiny` its smallest number, `rtol` the user's tolerance, or
    None for the derived one. `grain`, (d,), is how coarsely the gradient shows where only an update shows it.
    """

    scale: FloatArray
    roundoff: FloatArray
    floor: FloatArray
    unit: float
    tiny: float
    rtol: float | None
    grain: FloatArray | float = 0.0

    def seen_in_steps_of(self, grain: FloatArray) -> Yardstick:
        """The yardstick of a gradient that shows only to within `grain`, (d,): what is smaller vanishes.

        No terms at all are no update at all, and that shows.
        """
        grain = np.where(self.measured_by > 0, grain, 0)
        return replace(self, floor=np.maximum(self.floor, grain), grain=grain)

    @cached_property
    def vanishing(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """The features in which there is nothing to compare but roundoff."""
        return np.asarray(self.scale < self.floor)

    @cached_property
    def measured_by(self) -> FloatArray:
        """The divisor of an absolute error, (d,): the scale, or the floor where that is larger."""
        return np.maximum(self.scale, self.floor)

    @cached_property
    def tolerance(self) -> FloatArray:
        """FLOOR + c u growth(n) (roundoff scale / scale), shape (d,), dimensionless; and what an update does not show.

        Where the gradient leaves the range of the dtype from below, its smallest number counts as well.
        """
        size = self.measured_by
        if self.rtol is not None:
            return self.rtol + self.unseen
        rounded = (ROUNDOFF * self.unit * self.roundoff + self.tiny) / np.where(size > 0, size, np.inf)
        return FLOOR + self.unseen + rounded

    @cached_property
    def unseen(self) -> FloatArray:
        """The part that an update does not show, (d,), relative to the scale."""
        if isinstance(self.grain, float):
            return np.zeros_like(self.scale)
        return relative(self.grain, self.measured_by)

    @cached_property
    def is_hidden(self) -> bool:
        """Whether no feature is left that can be judged, for all that an update does not show."""
        hidden = self.unseen > BLUR
        return bool(hidden.any() and (hidden | self.vanishing).all())

    @cached_property
    def is_blurred(self) -> bool:
        """Whether no feature is left that can be judged, for all the roundoff that correct code may have."""
        return bool(self.blurred.any() and (self.blurred | self.vanishing).all())

    @cached_property
    def blurred(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """The features that cannot be judged, for all the roundoff that correct code may have."""
        if self.rtol is not None:
            return np.zeros(len(self.scale), dtype=bool)
        return np.asarray((self.tolerance > BLUR) & (self.unseen <= BLUR) & ~self.vanishing)


def relative(difference: FloatArray, size: FloatArray) -> FloatArray:
    """difference / size, where 0 / 0 is 0: a gradient of zeros, with no terms, is zero or wrong."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient: FloatArray = np.where((difference == 0) & (size == 0), 0, difference / size)
    return quotient


# --- the yardsticks of a problem ---------------------------------------------------------------------------------

BLURRED = "x - mean is lost in the roundoff of {dtype}, even for correct code; use a smaller mean, or a wider dtype"


@dataclass(frozen=True)
class Basis:
    """The basis on which a problem is judged: its numbers in float64, their graph, and the size of every gradient.

    `out_of_range` says why the dtype of the case cannot carry the problem, and is empty where it can.
    """

    problem: Problem
    exact: Problem
    stages: Stages
    sizes: Sizes
    growth: FloatArray
    out_of_range: str = ""

    @classmethod
    def of(cls, problem: Problem) -> Basis:
        """Take the basis of a problem, for the standard batch normalisation."""
        basis = cls._with(problem, problem.widened())
        return replace(basis, out_of_range=out_of_range(problem, basis.stages, basis.sizes.scales))

    @property
    def reason(self) -> str:
        """Why the problem cannot be judged in its dtype, as a sentence; empty where it can."""
        if self.out_of_range or not self.is_blurred:
            return self.out_of_range
        return BLURRED.format(dtype=self.problem.case.dtype)

    @property
    def is_blurred(self) -> bool:
        """Whether at some node no feature is left that can be judged, for the roundoff that correct code may have."""
        return any(yardstick.is_blurred for yardstick in self.yardsticks.values())

    @classmethod
    def _with(cls, problem: Problem, exact: Problem) -> Basis:
        stages = batchnorm.forward(exact.inputs)
        growth = growth_of(exact, stages, problem.case.dtype)
        unit = sum_error(problem.case.dtype, problem.case.n) * growth
        return cls(problem, exact, stages, sizes_of(exact.inputs, stages, exact.dout, unit), growth)

    def at(self, inputs: Inputs) -> Basis:
        """The basis of this problem with other inputs, in float64: those of a variant, say."""
        return self if inputs is self.exact.inputs else self._with(self.problem, replace(self.exact, inputs=inputs))

    def yardstick(self, node: str) -> Yardstick:
        """The yardstick of one node."""
        return self.yardsticks[node]

    @cached_property
    def yardsticks(self) -> dict[str, Yardstick]:
        """The yardstick of each node, by its name."""
        found, case = {}, self.problem.case
        kind, unit = precision(case.dtype), sum_error(case.dtype, case.n)
        for node in NODES:
            scale, rounded = self.sizes.scales.of(node), self.sizes.roundoff.of(node)
            # Only gamma and var vanish with x - mean: the other nodes have terms without it.
            floor = kind.eps / 2 * rounded if node in ("gamma", "var") else np.zeros_like(scale)
            found[node] = Yardstick(scale, rounded * self.growth, floor, unit, kind.smallest, case.rtol)
        return found

    def yardstick_of_out(self, dtype: str, beta: FloatArray | None = None) -> Yardstick:
        """The yardstick of out in a dtype: by its largest element, and the roundoff of x - mean in it.

        `beta`, (d,), where it is another than that of the problem.
        """
        inputs = self.exact.inputs
        gamma, beta = np.abs(inputs.gamma), np.abs(inputs.beta if beta is None else beta)
        scale = np.max(gamma * np.abs(self.stages.x_hat), axis=0) + beta
        rounded = np.max(gamma * location(inputs) / self.stages.std, axis=0) + beta
        unit, tiny = sum_error(dtype, self.problem.case.n), precision(dtype).smallest
        growth = self.growth if dtype == self.problem.case.dtype else growth_of(self.exact, self.stages, dtype)
        floor = precision(dtype).eps / 2 * rounded  # a constant feature, where beta is 0, is nothing but rounding
        return Yardstick(scale, rounded * growth, floor, unit, tiny, self.problem.case.rtol)

    @cached_property
    def implied_yardsticks(self) -> dict[str, Yardstick]:
        """The yardsticks of gradients that are implied from dx: with the roundoff of dx, row by row."""
        found = {}
        for node, scale in self.sizes.implied.items():
            of_node, rounded = self.yardstick(node), (self.sizes.implied_roundoff[node] + scale) * self.growth
            floor = np.minimum(of_node.floor, scale)
            found[node] = replace(of_node, scale=scale, roundoff=rounded, floor=floor)
        return found
