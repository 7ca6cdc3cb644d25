"""What a problem is judged on: the same numbers in float64, their graph, and the size of every gradient."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from bncheck.gradients import batchnorm, scales
from bncheck.gradients.batchnorm import NODES, Inputs, Stages
from bncheck.gradients.comparison import Yardstick, relative, sum_error
from bncheck.gradients.problem import Problem, out_of_range
from bncheck.gradients.scales import Scales, location, roundoff_scales_of, scales_of

BLURRED = "x - mean is lost in the roundoff of {dtype}, even for correct code; use a smaller mean, or a wider dtype"


@dataclass(frozen=True)
class Ground:
    """What a problem is judged on: the same numbers in float64, their graph, and the size of every gradient.

    `reason` says why the problem cannot be judged in its dtype, and is empty where it can.
    """

    problem: Problem
    exact: Problem
    stages: Stages
    scales: Scales
    roundoff: Scales
    reason: str = ""

    @classmethod
    def of(cls, problem: Problem) -> Ground:
        """The ground of a problem, taken for the standard batch normalisation."""
        ground = cls._with(problem, problem.widened())
        reason = out_of_range(problem, ground.stages, ground.scales)
        if not reason and any(yardstick.is_blurred for yardstick in ground.yardsticks.values()):
            reason = BLURRED.format(dtype=problem.case.dtype)
        return replace(ground, reason=reason) if reason else ground

    @classmethod
    def _with(cls, problem: Problem, exact: Problem) -> Ground:
        stages = batchnorm.forward(exact.inputs)
        scales = scales_of(exact.inputs, stages, exact.dout)
        unit = sum_error(problem.case.dtype, problem.case.n)
        roundoff = roundoff_scales_of(exact.inputs, stages, exact.dout, unit)
        return cls(problem, exact, stages, scales, roundoff)

    def at(self, inputs: Inputs) -> Ground:
        """The same problem with other inputs, in float64: those of a variant, say."""
        return self if inputs is self.exact.inputs else self._with(self.problem, replace(self.exact, inputs=inputs))

    def yardstick(self, node: str) -> Yardstick:
        """What errors at a node are measured by."""
        return self.yardsticks[node]

    @cached_property
    def yardsticks(self) -> dict[str, Yardstick]:
        """One for each node."""
        return {node: self._yardstick(node) for node in NODES}

    def _yardstick(self, node: str) -> Yardstick:
        """Only gamma and var vanish with x - mean; the other nodes have terms without it."""
        case = self.problem.case
        kind = np.finfo(case.dtype)
        scale, rounded = self.scales.of(node), self.roundoff.of(node)
        floor = float(kind.eps) / 2 * rounded if node in ("gamma", "var") else np.zeros_like(scale)
        return Yardstick(
            scale, rounded, floor, sum_error(case.dtype, case.n), float(kind.smallest_subnormal), case.rtol
        )

    def yardstick_of_out(self, dtype: str) -> Yardstick:
        """What errors of out are measured by in a dtype: its largest element, and the roundoff of x - mean in it."""
        inputs = self.exact.inputs
        gamma, beta = np.abs(inputs.gamma), np.abs(inputs.beta)
        scale = np.max(gamma * np.abs(self.stages.x_hat), axis=0) + beta
        rounded = np.max(gamma * location(inputs) / self.stages.std, axis=0) + beta
        unit, tiny = sum_error(dtype, self.problem.case.n), float(np.finfo(dtype).smallest_subnormal)
        floor = float(np.finfo(dtype).eps) / 2 * rounded  # a constant feature, where beta is 0, is nothing but rounding
        return Yardstick(scale, rounded, floor, unit, tiny, self.problem.case.rtol)

    def implied_yardstick(self, node: str) -> Yardstick:
        """The same for a gradient that is implied from dx: as much roundoff, relative to more terms."""
        of_x, of_node = self.yardstick("x"), self.yardstick(node)
        scale = scales.implied_scale(node, self.exact.dout, self.exact.inputs, self.stages)
        rounded = scale * relative(of_x.roundoff, of_x.scale)
        return replace(of_node, scale=scale, roundoff=rounded, floor=np.minimum(of_node.floor, scale))
