"""Numeric gradients of a forward, with their resolution: how far they may themselves be off.

The loss is L = sum(dout * out). Differences are taken of out, then multiplied by dout and summed, per feature.
beta, gamma and x are differenced through the forward under check; mean and var through the reference graph, cut
at that node. beta is held at 0 for the other four nodes: it only shifts out, and would cost digits.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from bncheck.gradients import batchnorm, resolution, schemes, stack
from bncheck.gradients.batchnorm import Cut, FloatArray, Inputs, Stages
from bncheck.gradients.resolution import AROUND, CUT_SAFETY, PROBES, SAFETY, Point
from bncheck.gradients.scales import location, scale_of_x
from bncheck.gradients.schemes import EVERYDAY, Method
from bncheck.gradients.stack import Forward, Moves


class Numeric(NamedTuple):
    """A numeric gradient. `value` is (n, d) for x, else (d,); `resolution`, (d,), bounds its absolute error.

    `independent` is False where a feature of `out` was seen to depend on another feature of x.
    """

    value: FloatArray
    resolution: FloatArray
    method: Method
    independent: bool = True


def differentiate(node: str, forward: Forward, inputs: Inputs, dout: FloatArray, method: Method = EVERYDAY) -> Numeric:
    """The gradient of sum(dout * forward(inputs)) at one node of the graph, by differences. Shapes: dout (n, d)."""
    return gradient(node, Point.of(forward, inputs, dout, method))


def gradient(node: str, point: Point) -> Numeric:
    """The gradient of sum(dout * forward(inputs)) at one node of the graph, by differences."""
    match node:
        case "beta":
            return _of_beta(point)
        case "gamma":
            return _of_gamma(point)
        case "mean":
            return _of_cut(point, batchnorm.cut_at_mean(point.held, point.stages))
        case "var":
            return _of_cut(point, batchnorm.cut_at_var(point.held, point.stages))
        case _:
            return _of_x(point)


# --- beta, gamma: out is affine in them ------------------------------------------------------------------------

_AFFINE = (-2, -1, 0, 1, 2)  # those of order 4, and the middle


def _of_beta(point: Point) -> Numeric:
    gamma, beta = point.inputs.gamma, point.inputs.beta
    step = power_of_two(np.abs(beta) + np.abs(point.out).max(axis=0) / 2)
    return _of_affine(point, np.tile(gamma, (len(_AFFINE), 1)), beta + _steps(step), step)


def _of_gamma(point: Point) -> Numeric:
    gamma = point.inputs.gamma
    step = power_of_two(np.abs(gamma) / 2)
    numeric = _of_affine(point, gamma + _steps(step), np.zeros((len(_AFFINE), len(gamma)), gamma.dtype), step)
    return Numeric(numeric.value, numeric.resolution + resolution.of_x_hat(point), numeric.method)


def _steps(step: FloatArray) -> FloatArray:
    """Shape (5, d)."""
    steps: FloatArray = np.array(_AFFINE, step.dtype)[:, None] * step
    return steps


def _of_affine(point: Point, gamma: FloatArray, beta: FloatArray, step: FloatArray) -> Numeric:
    """Order 4 with a step as large as the parameter: there is no truncation, and what is not affine is scatter.

    The rounding of the statistics is the same in all settings, so that it leaves the differences.

    Shapes: gamma, beta (5, d), with one of them moved by `step`, (d,), times _AFFINE.
    """
    outs_of = stack.outs if point.independent else stack.outs_one_by_one
    outs = outs_of(point.forward, point.inputs, gamma, beta)
    base = outs[:, 2].copy()
    outs -= base[:, None]
    changes = _pairwise_dot(point.dout[:, None], outs)
    slope = resolution.slope(schemes.ORDER_4, _AFFINE, changes)
    bend = changes - np.array(_AFFINE, changes.dtype)[:, None] * slope
    scatter = np.sqrt(batchnorm.dot(bend, bend))
    error = SAFETY * scatter + resolution.of_sums(point.dout, outs[:, -1])
    return Numeric(slope / step, error / step, point.method)


# --- mean, var: the reference graph is cut there ---------------------------------------------------------------


def _of_cut(point: Point, cut: Cut) -> Numeric:
    """Our own graph, so its rounding need not be measured: the bound is known."""
    stencil, dout = point.method.stencil, point.dout
    step = power_of_two(point.method.fraction * cut.unit, 4 * np.spacing(np.abs(cut.value)))
    base = point.stages.out
    offsets = [offset for offset in stencil.weights if offset]
    outs = [cut.out(cut.value + offset * step) - base for offset in offsets]
    changes = np.stack([_pairwise_dot(dout, out) for out in outs])
    slope = resolution.slope(stencil, offsets, changes)
    error = resolution.rounding(dout, base, outs[offsets.index(1)], CUT_SAFETY)
    error += resolution.truncation(stencil, offsets, changes, slope, step / cut.unit)
    return Numeric(slope / step, error / step, point.method)


# --- x ---------------------------------------------------------------------------------------------------------


def _of_x(point: Point) -> Numeric:
    """Every row in every feature. Rounding is measured as well as bounded: the forward may be anybody's."""
    inputs, dout, stages, stencil = point.held, point.dout, point.stages, point.method.stencil
    n, d = inputs.x.shape
    reach = _reach(inputs, stages)
    spacing = 4 * np.spacing(np.abs(inputs.x).max(axis=0))
    step = power_of_two(point.method.fraction * reach, spacing)
    fine_step = power_of_two(resolution.scatter_fraction(inputs.x.dtype) * reach, spacing)
    offsets = [offset for offset in stencil.weights if offset]
    probes = np.linspace(0, n - 1, min(n, PROBES)).astype(np.intp)

    moves = Moves.of(np.arange(n), offsets, step).and_then(Moves.of(probes, AROUND, fine_step))
    changes_of = stack.changes if point.independent else stack.changes_one_by_one
    moved = changes_of(point.forward, inputs, dout, moves)
    changes = moved[: n * len(offsets)].reshape(n, len(offsets), d)
    around = moved[n * len(offsets) :].reshape(len(probes), len(AROUND), d)

    slope = resolution.slope(stencil, offsets, changes)
    truncation = resolution.truncation(stencil, offsets, changes, slope, step / reach).max(axis=0)
    rounding = SAFETY * resolution.scatter(around) + resolution.rounding(dout, point.out, np.zeros_like(dout), SAFETY)
    own = resolution.of_dx(point) * scale_of_x(inputs, stages, dout)
    return Numeric(slope / step, (rounding + truncation) / step + own, point.method, point.independent)


def _reach(inputs: Inputs, stages: Stages) -> FloatArray:
    """How far L is smooth in one row of x, (d,). In eval mode it is affine: as far as rounding of x wants to go."""
    n = len(inputs.x)
    radius: FloatArray = stages.root * (n / math.sqrt(max(n - 1, 1)))
    if inputs.running_mean is None:
        return radius
    farther: FloatArray = radius + location(inputs).max(axis=0)
    return farther


# --- shared ----------------------------------------------------------------------------------------------------


def power_of_two(size: FloatArray, at_least: FloatArray | float = 0.0) -> FloatArray:
    """The power of two just above `size` and `at_least`; 1 where both are 0.

    A power of two no finer than the spacing of the numbers is added to them exactly, so that the difference taken
    is the difference asked for.
    """
    exponent = np.frexp(np.maximum(size, at_least))[1]
    power: FloatArray = np.ldexp(size.dtype.type(1), exponent)
    return power


def _pairwise_dot(a: FloatArray, b: FloatArray) -> FloatArray:
    """Sum over the rows of a * b, pairwise, so that its rounding hardly grows with n. Shapes: (n, ..., d), (..., d)."""
    summed: FloatArray = np.add.reduce(np.ascontiguousarray(np.moveaxis(a * b, 0, -1)), axis=-1)
    return summed
