"""Numeric gradients of a forward, with their resolution: how far they may themselves be off.

The loss is L = sum(dout * out). Differences are taken of out, then multiplied by dout and summed, per feature.
beta, gamma and x are differenced through the forward under check; mean and var through the reference graph, cut
at that node. beta is held at 0 for the other four nodes: it only shifts out, and would cost digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bncheck import batchnorm, stack, stencils
from bncheck.batchnorm import Cut, FloatArray, Inputs, Stages
from bncheck.stack import Forward, Moves
from bncheck.stencils import Stencil

# Standard deviations of rounding that a resolution covers; tests/benchmarks/calibration.py.
SAFETY = 24  # measured on a few rows of somebody's forward
CUT_SAFETY = 16  # known of our own graph
AFFINE_SAFETY = 1  # for beta and gamma, whose differences no rounding of the statistics enters
PROBES = 3  # rows on which rounding is measured, five fourth differences each
AROUND = [-4, -3, -2, -1, 1, 2, 3, 4]  # where a probe is evaluated


@dataclass(frozen=True, slots=True)
class Method:
    """How to difference: a stencil, a step, an arithmetic ("float64" or "longdouble").

    `fraction` is the step relative to the distance over which L is smooth: for x, sigma * n / sqrt(n - 1), the
    radius of convergence of 1 / std in one row of x.
    """

    stencil: Stencil
    fraction: float
    dtype: str

    def __str__(self) -> str:
        arithmetic = "80-bit" if self.dtype == "longdouble" else self.dtype
        return f"order {self.stencil.order} in {arithmetic}"


# Order 3 at 2**-14: truncation is 2 * 2**-42, rounding 2**-53 * 2**14, both about 1e-12 and far below 1e-9.
# Order 8 at 2**-8: truncation is 576 * 2**-64, rounding 2**-53 * 2**8 or 3e-14. At 2**-9 in 80 bits: 3e-17.
EVERYDAY = Method(stencils.ORDER_3, 2.0**-14, "float64")
LONG_STEP = Method(stencils.ORDER_8, 2.0**-8, "float64")
EXTENDED = Method(stencils.ORDER_8, 2.0**-9, "longdouble")


def methods() -> tuple[Method, ...]:
    """From the quickest to the finest. Where longdouble is no finer than float64, order 8 in float64 is the last."""
    finer = np.finfo(np.longdouble).eps < np.finfo(np.float64).eps
    return (EVERYDAY, LONG_STEP, EXTENDED) if finer else (EVERYDAY, LONG_STEP)


@dataclass(frozen=True, slots=True)
class Numeric:
    """A numeric gradient. `value` is (n, d) for x, else (d,); `resolution`, (d,), bounds its absolute error.

    `independent` is False where a feature of `out` was seen to depend on another feature of x.
    """

    value: FloatArray
    resolution: FloatArray
    method: Method
    independent: bool = True


@dataclass(frozen=True, slots=True)
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

    def gradient(self, node: str) -> Numeric:
        """The gradient of sum(dout * forward(inputs)) at one node of the graph, by differences."""
        match node:
            case "beta":
                return _of_beta(self)
            case "gamma":
                return _of_gamma(self)
            case "mean":
                return _of_cut(self, batchnorm.cut_at_mean(self.held, self.stages))
            case "var":
                return _of_cut(self, batchnorm.cut_at_var(self.held, self.stages))
            case _:
                return _of_x(self)


def differentiate(node: str, forward: Forward, inputs: Inputs, dout: FloatArray, method: Method = EVERYDAY) -> Numeric:
    """The gradient of sum(dout * forward(inputs)) at one node of the graph, by differences. Shapes: dout (n, d)."""
    return Point.of(forward, inputs, dout, method).gradient(node)


# --- beta, gamma: out is affine in them ------------------------------------------------------------------------


def _of_beta(point: Point) -> Numeric:
    beta = point.inputs.beta
    size = 2 * np.abs(beta) + np.max(np.abs(point.out), axis=0)
    base = point.forward(point.inputs).copy()
    return _of_affine(point, base, lambda step: point.forward(replace(point.inputs, beta=beta + step)), size)


def _of_gamma(point: Point) -> Numeric:
    gamma = point.inputs.gamma
    out_at = lambda step: point.forward(replace(point.held, gamma=gamma + step))  # noqa: E731  # short, and used once
    numeric = _of_affine(point, point.out, out_at, np.abs(gamma))
    return replace(numeric, resolution=numeric.resolution + _rounding_of_x_hat(point))


def _of_affine(point: Point, base: FloatArray, out_at: Callable[[FloatArray], FloatArray], size: FloatArray) -> Numeric:
    """Order 4 with a step as large as the parameter: there is no truncation, and what is not affine is scatter.

    `base` is out where the step is zero.
    """
    step = power_of_two(size / 2, np.zeros_like(size))
    outs = {offset: out_at(offset * step) - base for offset in stencils.ORDER_4.weights}
    changes = {offset: _pairwise_dot(point.dout, out) for offset, out in outs.items()}
    slope = _apply(stencils.ORDER_4, changes)
    scatter = np.sqrt(sum((change - offset * slope) ** 2 for offset, change in changes.items()))
    error = SAFETY * scatter + _rounding(point.dout, base, outs[2], AFFINE_SAFETY)
    return Numeric(slope / step, error / step, point.method)


# --- mean, var: the reference graph is cut there ---------------------------------------------------------------


def _of_cut(point: Point, cut: Cut) -> Numeric:
    """Our own graph, so its rounding need not be measured: the bound is known."""
    stencil, dout = point.method.stencil, point.dout
    step = power_of_two(point.method.fraction * cut.unit, 4 * np.spacing(np.abs(cut.value)))
    base = point.stages.out
    outs = {offset: cut.out(cut.value + offset * step) - base for offset in stencil.weights if offset}
    changes = {offset: _pairwise_dot(dout, out) for offset, out in outs.items()}
    slope = _apply(stencil, changes)
    error = _rounding(dout, base, outs[1], CUT_SAFETY) + _truncation(stencil, changes, step / cut.unit)
    return Numeric(slope / step, error / step, point.method)


# --- x ---------------------------------------------------------------------------------------------------------


def _of_x(point: Point) -> Numeric:
    """Every row in every feature. Rounding is measured as well as bounded: the forward may be anybody's."""
    inputs, dout, stages, stencil = point.held, point.dout, point.stages, point.method.stencil
    n = len(inputs.x)
    reach = _reach(inputs, stages)
    spacing = 4 * np.spacing(np.max(np.abs(inputs.x), axis=0))
    independent = stack.features_are_independent(point.forward, inputs, point.out, stages)
    changes_of = stack.changes if independent else stack.changes_one_by_one

    def changes_at(rows: NDArray[np.intp], offsets: list[int], step: FloatArray) -> dict[int, FloatArray]:
        moved = changes_of(point.forward, inputs, dout, Moves.of(rows, offsets, step))
        return dict(zip(offsets, moved.reshape(len(rows), len(offsets), -1).swapaxes(0, 1), strict=True))

    step = power_of_two(point.method.fraction * reach, spacing)
    changes = changes_at(np.arange(n), [offset for offset in stencil.weights if offset], step)
    slope = _apply(stencil, changes)
    truncation = np.max(_truncation(stencil, changes, step / reach), axis=0)

    fine_step = power_of_two(_scatter_fraction(inputs.x.dtype) * reach, spacing)
    probes = np.linspace(0, n - 1, min(n, PROBES)).astype(np.intp)
    around = {offset: change[probes] for offset, change in changes.items()} if np.all(fine_step == step) else {}
    missing = [offset for offset in AROUND if offset not in around]
    if missing:
        around |= changes_at(probes, missing, fine_step)
    scatter = _scatter(np.stack([around[offset] for offset in AROUND], axis=1))

    rounding = SAFETY * scatter + _rounding(dout, point.out, np.zeros_like(dout), SAFETY)
    own = _rounding_of_dx(point) * batchnorm.scales(inputs, stages, dout).x
    return Numeric(slope / step, (rounding + truncation) / step + own, point.method, independent)


def _reach(inputs: Inputs, stages: Stages) -> FloatArray:
    """How far L is smooth in one row of x, (d,). In eval mode it is affine: as far as rounding of x wants to go."""
    n = len(inputs.x)
    radius: FloatArray = stages.root * (n / math.sqrt(max(n - 1, 1)))
    if inputs.running_mean is None:
        return radius
    farther: FloatArray = radius + np.max(batchnorm.location(inputs), axis=0)
    return farther


def _rounding_of_dx(point: Point) -> FloatArray:
    """What dx inherits from the rounding of sums and of x_hat, relative to its scale, (d,): no difference shows it."""
    in_sums = 16 * math.sqrt(len(point.dout)) * np.finfo(point.dout.dtype).eps / 2
    if point.held.running_mean is not None:
        return np.full_like(point.stages.std, in_sums)
    displaced: FloatArray = 2 * _displacement(point) * (1 + np.max(np.abs(point.stages.x_hat), axis=0))
    return in_sums + displaced


# --- shared ----------------------------------------------------------------------------------------------------


def power_of_two(size: FloatArray, at_least: FloatArray) -> FloatArray:
    """The power of two just above `size` and `at_least`; 1 where both are 0.

    A power of two no finer than the spacing of the numbers is added to them exactly, so that the difference taken
    is the difference asked for.
    """
    size = np.maximum(size, at_least)
    return np.where(size > 0, np.ldexp(np.ones_like(size), np.frexp(size)[1]), np.ones_like(size))


def _apply(stencil: Stencil, changes: Mapping[int, FloatArray]) -> FloatArray:
    """The slope of L for a step of 1, from its changes at the stencil's offsets."""
    slope = np.zeros_like(changes[1])
    for offset, weight in stencil.weights.items():
        if offset:
            slope += changes[offset] * weight.numerator / weight.denominator
    return slope


def _truncation(stencil: Stencil, changes: Mapping[int, FloatArray], fraction: FloatArray) -> FloatArray:
    """A bound on the slope's truncation: what the order below leaves, times the factor by which one more shrinks it.

    `fraction`, (d,), is the step relative to the distance over which L is smooth, so the Taylor terms of L fall at
    least by that factor each; 128 covers what derivation does to their coefficients, up to order 8.
    """
    assert stencil.lower is not None
    gained = stencil.order - stencil.lower.order
    left: FloatArray = np.abs(_apply(stencil, changes) - _apply(stencil.lower, changes))
    return left * np.minimum(1, 128 * fraction**gained)


def _rounding(dout: FloatArray, out: FloatArray, change: FloatArray, safety: float) -> FloatArray:
    """A bound on the rounding of L, shape (d,), for any forward: each out is rounded, so is std, so are the sums.

    Shapes: dout, out, change (n, d). The roundings of out are independent and add up as their squares; that of std
    is common to all rows. `safety` is in units of u for each of the two.
    """
    u = np.finfo(out.dtype).eps / 2
    terms = dout * (np.abs(out) + np.abs(change))
    independent = np.sqrt(batchnorm.dot(terms, terms))
    common = np.abs(batchnorm.dot(dout, out))
    summed = batchnorm.dot(np.abs(dout), np.abs(change))
    bound: FloatArray = u * (safety * (independent + common) + 3 * summed)
    return bound


def _rounding_of_x_hat(point: Point) -> FloatArray:
    """What dgamma, which is sum(dout * x_hat), inherits from the rounding of mean and std: sums of n terms each.

    It is the same in every evaluation, so no difference shows it.
    """
    dout, x_hat = np.abs(point.dout), np.abs(point.stages.x_hat)
    unit = math.sqrt(len(dout)) * np.finfo(dout.dtype).eps / 8
    in_sums = unit * batchnorm.dot(dout, x_hat + np.max(x_hat, axis=0))
    inherited: FloatArray = in_sums + np.add.reduce(dout, axis=0) * _displacement(point)
    return inherited


def _displacement(point: Point) -> FloatArray:
    """How far x_hat is off in a forward that loses digits of x - mean, shape (d,), dimensionless.

    Seen as its distance from our own, which loses none; and no more than such a loss can be, since a forward may
    also be further off because it is something else.
    """
    inputs = point.held
    unit = math.sqrt(len(inputs.x)) * np.finfo(inputs.x.dtype).eps
    at_most = unit * np.max(batchnorm.location(inputs), axis=0) / point.stages.std
    distance = np.max(np.abs(point.out - point.stages.out), axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        seen = np.where(distance > 0, distance / np.abs(inputs.gamma), 0)
    displacement: FloatArray = np.fmin(seen, at_most)
    return displacement


def _scatter_fraction(dtype: np.dtype[Any]) -> float:
    """The step, as a fraction, at which the fourth difference of a smooth L, 24 * fraction**4, is no more than u."""
    return 2.0 ** -((np.finfo(dtype).nmant + 1) // 4 + 1)


def _scatter(changes: FloatArray) -> FloatArray:
    """Standard deviation of the rounding of L, shape (d,), from a difference table, which a smooth L leaves empty.

    Shapes: changes (rows, 8, d), at AROUND. Fourth differences of white noise have 70 times its variance.
    Source: Moré & Wild (2011), *Estimating computational noise*, section 3.
    """
    table = np.insert(changes, len(AROUND) // 2, 0, axis=1)
    fourth = np.diff(table, n=4, axis=1)
    scatter: FloatArray = np.sqrt(np.mean(fourth**2, axis=(0, 1)) / 70)
    return scatter


def _pairwise_dot(a: FloatArray, b: FloatArray) -> FloatArray:
    """Sum over the rows of a * b, shape (d,), pairwise, so that its rounding hardly grows with n."""
    summed: FloatArray = np.sum(np.ascontiguousarray((a * b).T), axis=1)
    return summed
