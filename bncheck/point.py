"""One forward at one point: what the differences at all nodes have in common."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from bncheck import batchnorm, stack
from bncheck.batchnorm import FloatArray, Inputs, Stages
from bncheck.method import Method
from bncheck.scales import location
from bncheck.stack import Forward


@dataclass(frozen=True, eq=False)
class Point:
    """One forward at one point, with what the differences at all nodes have in common.

    `held` are the inputs with beta 0; `stages` are those of the reference there, `out` is what the forward gives.
    """

    forward: Forward
    inputs: Inputs
    held: Inputs
    dout: FloatArray
    method: Method
    stages: Stages
    out: FloatArray

    @classmethod
    def of(cls, forward: Forward, inputs: Inputs, dout: FloatArray, method: Method) -> Point:
        """Shapes: dout (n, d). Inputs in float32 or float16 are taken into float64, with the same rounded numbers."""
        inputs = inputs.map(lambda array: array.astype(method.dtype))
        held = replace(inputs, beta=np.zeros_like(inputs.beta))
        out = forward(held).copy()
        return cls(forward, inputs, held, dout.astype(method.dtype), method, batchnorm.forward(held), out)

    @cached_property
    def independent(self) -> bool:
        """Whether no feature of `out` is seen to depend on another feature of x."""
        return stack.features_are_independent(self.forward, self.held, self.out, self.stages)

    @cached_property
    def displacement(self) -> FloatArray:
        """How far x_hat is off in a forward that loses digits of x - mean, shape (d,), dimensionless.

        Seen as its distance from our own, which loses none, beyond what two ways of rounding out differ by; and no
        more than such a loss can be, since a forward may also be further off because it is something else.
        """
        inputs = self.held
        eps = np.finfo(inputs.x.dtype).eps
        unit = math.sqrt(len(inputs.x)) * eps
        at_most = unit * location(inputs).max(axis=0) / self.stages.std
        distance = np.abs(self.out - self.stages.out).max(axis=0) - 2 * eps * np.abs(self.out).max(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            seen = np.where(distance > 0, distance / np.abs(inputs.gamma), 0)
        displaced: FloatArray = np.fmin(seen, at_most)
        return displaced
