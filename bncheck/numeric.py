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

from bncheck import batchnorm, stack, stencils
from bncheck.batchnorm import Cut, FloatArray, Inputs, Stages
from bncheck.stack import Forward, Moves
from bncheck.stencils import Stencil

# Standard deviations of rounding that a resolution covers; tests/benchmarks/calibration.py.
SAFETY = 24  # measured on a few rows of somebody's forward
CUT_SAFETY = 16  # known of our own graph
AFFINE_SAFETY = 1  # for beta and gamma, whose differences no rounding of the statistics enters
PROBES = 4  # rows on which rounding is measured, five fourth differences each
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


def differentiate(node: str, forward: Forward, inputs: Inputs, dout: FloatArray, method: Method = EVERYDAY) -> Numeric:
    """The gradient of sum(dout * forward(inputs)) at one node of the graph, by differences.

    Shapes: dout (n, d). Inputs in float32 or float16 are differenced in float64, from the same rounded numbers.
    """
    inputs, dout = inputs.map(lambda array: array.astype(method.dtype)), dout.astype(method.dtype)
    unshifted = replace(inputs, beta=np.zeros_like(inputs.beta))
    match node:
        case "beta":
            unit = np.abs(inputs.beta) + np.max(np.abs(batchnorm.forward(inputs).out), axis=0)
            return _of_affine(lambda beta: forward(replace(inputs, beta=beta)), inputs.beta, unit, dout, method)
        case "gamma":
            out_of_gamma = lambda gamma: forward(replace(unshifted, gamma=gamma))  # noqa: E731
            numeric = _of_affine(out_of_gamma, inputs.gamma, np.abs(inputs.gamma), dout, method)
            return replace(numeric, resolution=numeric.resolution + _rounding_of_x_hat(forward, unshifted, dout))
        case "mean":
            return _of_cut(batchnorm.cut_at_mean(unshifted), dout, method)
        case "var":
            return _of_cut(batchnorm.cut_at_var(unshifted), dout, method)
        case _:
            return _of_x(forward, unshifted, dout, method)


# --- beta, gamma: out is affine in them ------------------------------------------------------------------------


def _of_affine(
    out_of: Callable[[FloatArray], FloatArray], value: FloatArray, unit: FloatArray, dout: FloatArray, method: Method
) -> Numeric:
    """Order 4 with a step as large as the parameter: there is no truncation, and what is not affine is scatter."""
    step = power_of_two(unit / 2, np.zeros_like(unit))
    base = out_of(value).copy()
    outs = {offset: out_of(value + offset * step) - base for offset in stencils.ORDER_4.weights}
    changes = {offset: _pairwise_dot(dout, out) for offset, out in outs.items()}
    slope = _apply(stencils.ORDER_4, changes)
    scatter = np.sqrt(sum((change - offset * slope) ** 2 for offset, change in changes.items()))
    error = SAFETY * scatter + _rounding(dout, base, outs[2], AFFINE_SAFETY)
    return Numeric(slope / step, error / step, method)


# --- mean, var: the reference graph is cut there ---------------------------------------------------------------


def _of_cut(cut: Cut, dout: FloatArray, method: Method) -> Numeric:
    """Our own graph, so its rounding need not be measured: the bound is known."""
    step = power_of_two(method.fraction * cut.unit, 4 * np.spacing(np.abs(cut.value)))
    base = cut.out(cut.value)
    outs = {offset: cut.out(cut.value + offset * step) - base for offset in method.stencil.weights if offset}
    changes = {offset: _pairwise_dot(dout, out) for offset, out in outs.items()}
    slope = _apply(method.stencil, changes)
    error = _rounding(dout, base, outs[1], CUT_SAFETY) + _truncation(method.stencil, changes, step / cut.unit)
    return Numeric(slope / step, error / step, method)


# --- x ---------------------------------------------------------------------------------------------------------


def _of_x(forward: Forward, inputs: Inputs, dout: FloatArray, method: Method) -> Numeric:
    """Every row in every feature. Rounding is measured as well as bounded: the forward may be anybody's."""
    n = len(inputs.x)
    stages = batchnorm.forward(inputs)
    reach = _reach(inputs, stages)
    spacing = 4 * np.spacing(np.max(np.abs(inputs.x), axis=0))
    independent = stack.features_are_independent(forward, inputs)
    changes_of = stack.changes if independent else stack.changes_one_by_one

    step = power_of_two(method.fraction * reach, spacing)
    offsets = [offset for offset in method.stencil.weights if offset]
    moved = changes_of(forward, inputs, dout, Moves.of(np.arange(n), offsets, step))
    changes = dict(zip(offsets, moved.reshape(n, len(offsets), -1).swapaxes(0, 1), strict=True))
    slope = _apply(method.stencil, changes)
    truncation = np.max(_truncation(method.stencil, changes, step / reach), axis=0)

    fine_step = power_of_two(_scatter_fraction(inputs.x.dtype) * reach, spacing)
    probes = np.linspace(0, n - 1, min(n, PROBES)).astype(np.intp)
    moved = changes_of(forward, inputs, dout, Moves.of(probes, AROUND, fine_step))
    scatter = _scatter(moved.reshape(len(probes), len(AROUND), -1))

    rounding = SAFETY * scatter + _rounding(dout, forward(inputs), np.zeros_like(dout), SAFETY)
    own = _rounding_of_dx(forward, inputs, stages) * batchnorm.scales(inputs, stages, dout).x
    return Numeric(slope / step, (rounding + truncation) / step + own, method, independent)


def _reach(inputs: Inputs, stages: Stages) -> FloatArray:
    """How far L is smooth in one row of x, (d,). In eval mode it is affine: as far as rounding of x wants to go."""
    n = len(inputs.x)
    radius: FloatArray = stages.std * (n / math.sqrt(max(n - 1, 1)))
    if inputs.running_mean is None:
        return radius
    farther: FloatArray = radius + np.max(batchnorm.location(inputs), axis=0)
    return farther


def _rounding_of_dx(forward: Forward, inputs: Inputs, stages: Stages) -> FloatArray:
    """What dx inherits from the rounding of sums and of x_hat, relative to its scale, (d,): no difference shows it."""
    in_sums = 16 * math.sqrt(len(inputs.x)) * np.finfo(inputs.x.dtype).eps / 2
    if inputs.running_mean is not None:
        return np.full_like(stages.std, in_sums)
    displaced: FloatArray = 2 * _displacement(forward, inputs) * (1 + np.max(np.abs(stages.x_hat), axis=0))
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


def _rounding_of_x_hat(forward: Forward, inputs: Inputs, dout: FloatArray) -> FloatArray:
    """What dgamma, which is sum(dout * x_hat), inherits from the rounding of mean and std: sums of n terms each.

    It is the same in every evaluation, so no difference shows it.
    """
    x_hat = np.abs(batchnorm.forward(inputs).x_hat)
    unit = math.sqrt(len(dout)) * np.finfo(dout.dtype).eps / 8
    in_sums = unit * batchnorm.dot(np.abs(dout), x_hat + np.max(x_hat, axis=0))
    inherited: FloatArray = in_sums + np.add.reduce(np.abs(dout), axis=0) * _displacement(forward, inputs)
    return inherited


def _displacement(forward: Forward, inputs: Inputs) -> FloatArray:
    """How far x_hat is off in a forward that loses digits of x - mean, shape (d,), dimensionless.

    Seen as its distance from our own, which loses none; and no more than such a loss can be, since a forward may
    also be further off because it is something else.
    """
    stages = batchnorm.forward(inputs)
    unit = math.sqrt(len(inputs.x)) * np.finfo(inputs.x.dtype).eps
    at_most = unit * np.max(batchnorm.location(inputs), axis=0) / stages.std
    distance = np.max(np.abs(forward(inputs) - stages.out), axis=0)
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
