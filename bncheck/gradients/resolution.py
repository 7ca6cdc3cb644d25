"""How far a numeric gradient may itself be off: its truncation, the rounding of L, and what no difference shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import numpy as np

from bncheck.gradients import batchnorm, stack
from bncheck.gradients.batchnorm import FloatArray, Inputs, Stages
from bncheck.gradients.scales import location
from bncheck.gradients.schemes import Method, Stencil
from bncheck.gradients.stack import Forward

# --- one forward at one point -----------------------------------------------------------------------------------


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


# Standard deviations of rounding that a resolution covers; tests/benchmarks/calibration.py.
SAFETY = 24  # measured on a few rows of somebody's forward
CUT_SAFETY = 16  # known of our own graph
PROBES = 3  # rows on which rounding is measured, five fourth differences each
AROUND = [-4, -3, -2, -1, 1, 2, 3, 4]  # where a probe is evaluated


def slope(stencil: Stencil, offsets: Sequence[int], changes: FloatArray) -> FloatArray:
    """The slope of L for a step of 1. Shapes: changes (..., k, d), one at each of k offsets; that at 0 is 0."""
    used = [place for place, offset in enumerate(offsets) if offset in stencil.weights]
    weights = np.array([stencil.weights[offsets[place]] for place in used], changes.dtype)
    if len(used) < len(offsets):
        changes = changes[..., used, :]
    found: FloatArray = (weights @ changes) / changes.dtype.type(stencil.over)
    return found


def truncation(
    stencil: Stencil, offsets: Sequence[int], changes: FloatArray, found: FloatArray, fraction: FloatArray
) -> FloatArray:
    """A bound on the truncation of a slope: what the order below leaves, times the factor by which one more shrinks it.

    `fraction`, (d,), is the step relative to the distance over which L is smooth, so the Taylor terms of L fall at
    least by that factor each; 128 covers what derivation does to their coefficients, up to order 8.
    """
    assert stencil.lower is not None
    gained = stencil.order - stencil.lower.order
    left: FloatArray = np.abs(found - slope(stencil.lower, offsets, changes))
    return left * np.minimum(1, 128 * fraction**gained)


def rounding(dout: FloatArray, out: FloatArray, change: FloatArray, safety: float) -> FloatArray:
    """A bound on the rounding of L, shape (d,), for any forward: each out is rounded, so is std, so are the sums.

    Shapes: dout, out, change (n, d). The roundings of out are independent and add up as their squares; that of std
    is common to all rows. `safety` is in units of u for each of the two.
    """
    u = np.finfo(out.dtype).eps / 2
    terms = dout * (np.abs(out) + np.abs(change))
    independent = np.sqrt(batchnorm.dot(terms, terms))
    common = np.abs(batchnorm.dot(dout, out))
    bound: FloatArray = safety * u * (independent + common) + of_sums(dout, change)
    return bound


def of_sums(dout: FloatArray, change: FloatArray) -> FloatArray:
    """A bound on the rounding of sums over a change of out, shape (d,). Shapes: dout, change (n, d)."""
    bound: FloatArray = 3 * (np.finfo(change.dtype).eps / 2) * batchnorm.dot(np.abs(dout), np.abs(change))
    return bound


def of_x_hat(point: Point) -> FloatArray:
    """What dgamma, which is sum(dout * x_hat), inherits from the rounding of mean and std: sums of n terms each.

    It is the same in every evaluation, so no difference shows it.
    """
    dout, x_hat = np.abs(point.dout), np.abs(point.stages.x_hat)
    unit = math.sqrt(len(dout)) * np.finfo(dout.dtype).eps / 8
    in_sums = unit * batchnorm.dot(dout, x_hat + x_hat.max(axis=0))
    inherited: FloatArray = in_sums + np.add.reduce(dout, axis=0) * point.displacement
    return inherited


def of_dx(point: Point) -> FloatArray:
    """What dx inherits from the rounding of sums and of x_hat, relative to its scale, (d,): no difference shows it."""
    in_sums = 16 * math.sqrt(len(point.dout)) * np.finfo(point.dout.dtype).eps / 2
    if point.held.running_mean is not None:
        return np.full_like(point.stages.std, in_sums)
    displaced: FloatArray = 2 * point.displacement * (1 + np.abs(point.stages.x_hat).max(axis=0))
    return in_sums + displaced


def scatter_fraction(dtype: np.dtype[Any]) -> float:
    """The step, as a fraction, at which the fourth difference of a smooth L, 24 * fraction**4, is no more than u."""
    return 2.0 ** -((np.finfo(dtype).nmant + 1) // 4 + 1)


def scatter(changes: FloatArray) -> FloatArray:
    """Standard deviation of the rounding of L, shape (d,), from a difference table, which a smooth L leaves empty.

    Shapes: changes (rows, 8, d), at AROUND. Fourth differences of white noise have 70 times its variance.
    Source: Moré & Wild (2011), *Estimating computational noise*, section 3.
    """
    fourth = _fourth_differences(changes.dtype) @ changes
    mean_square = np.add.reduce(fourth * fourth, axis=(0, 1)) / (len(fourth) * fourth.shape[1])
    found: FloatArray = np.sqrt(mean_square / 70)
    return found


@cache
def _fourth_differences(dtype: np.dtype[Any]) -> FloatArray:
    """What makes of the changes at AROUND, and of the 0 in their middle, their five fourth differences: (5, 8)."""
    table = np.diff(np.eye(len(AROUND) + 1, dtype=dtype), n=4, axis=0)
    return np.delete(table, len(AROUND) // 2, axis=1)
