"""Numeric gradients of a forward, with their resolution: how far they may themselves be off.

The loss is L = sum(dout * out). Differences are taken of out, then multiplied by dout and summed, per feature.
beta, gamma and x are differenced through the forward under check; mean and var through the reference graph, cut
at that node. beta is held at 0 for the other four nodes: it only shifts out, and would cost digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from bncheck.gradients import batchnorm, resolution, stack
from bncheck.gradients.batchnorm import Cut, FloatArray, Inputs, Stages, location
from bncheck.gradients.problem import Stream, precision, rounded
from bncheck.gradients.resolution import AROUND, PROBES, SAFETY, Point
from bncheck.gradients.stack import EVERYDAY, Forward, Method, Moves, Way

DIRECTIONS = 20_260_101  # the seed of the random directions


class Numeric(NamedTuple):
    """A numeric gradient. `value` is (n, d) for x, else (d,); `resolution`, (d,), bounds its absolute error.

    `symmetric` is False where dx was taken for the derivative of out along dout, and random directions show that it is
    not, or not so exactly.
    """

    value: FloatArray
    resolution: FloatArray
    method: str
    symmetric: bool = True


def differentiate(node: str, forward: Forward, inputs: Inputs, dout: FloatArray, method: Method = EVERYDAY) -> Numeric:
    """The gradient of sum(dout * forward(inputs)) at one node of the graph, by differences. Shapes: dout (n, d)."""
    return gradient(node, Point.of(forward, inputs, dout, method))


def gradient(node: str, point: Point) -> Numeric:
    """The gradient of sum(dout * forward(inputs)) at one node of the graph, by differences."""
    match node:
        case "beta" | "gamma":
            if not point.found:
                point.found.update(_of_parameters(point))
            found: Numeric = point.found[node]
            return found
        case "mean":
            return _of_cut(point, batchnorm.cut_at_mean(point.held, point.stages, point.dout), point.scales.mean)
        case "var":
            return _of_cut(point, batchnorm.cut_at_var(point.held, point.stages, point.dout), point.scales.var)
        case _:
            return _of_x(point) if point.method.way is Way.ALONG_DOUT else _of_x_by_rows(point)


# --- beta, gamma: out is affine in them ------------------------------------------------------------------------


def _of_parameters(point: Point) -> dict[str, Numeric]:
    """The gradients of gamma and beta, with steps as large as they are: there is no truncation where out is affine.

    Each is moved twice, by steps of different size: what is not affine is scatter. The rounding of the statistics is
    the same in all settings, so that it leaves the differences.
    """
    dout, gamma = point.dout, point.inputs.gamma
    of_gamma = power_of_two(np.abs(gamma) / 2)
    of_beta = power_of_two(np.maximum(point.size, np.abs(gamma)) / 2)
    zero = np.zeros_like(of_beta)
    gammas = np.stack((gamma, gamma + of_gamma, gamma - of_gamma / 2, gamma, gamma))
    outs = stack.outs(point.forward, point.held, gammas, np.stack((zero, zero, zero, of_beta, -of_beta / 2)))
    found = {}
    for node, place, step in (("gamma", 1, of_gamma), ("beta", 3, of_beta)):
        change, bend = outs[:, place] - outs[:, 0], outs[:, place + 1] - outs[:, 0]
        change *= dout
        bend *= 2 * dout
        bend += change
        error = SAFETY * (np.sqrt(batchnorm.dot(bend, bend)) + np.abs(np.add.reduce(bend, axis=0)))
        error += 4 * resolution.of_sums(change)
        found[node] = Numeric(batchnorm.pairwise_sum(change) / step, error / step, str(point.method))
    inherited = found["gamma"].resolution + resolution.of_x_hat(point)
    return {**found, "gamma": found["gamma"]._replace(resolution=inherited)}


# --- mean, var: the reference graph is cut there ---------------------------------------------------------------


def _of_cut(point: Point, cut: Cut, scale: FloatArray) -> Numeric:
    """Our own graph, so its rounding need not be measured: the bound is known. `scale`, (d,), is that of the node."""
    stencil = point.method.stencil
    step = power_of_two(point.method.fraction * cut.unit)
    base = cut.loss(np.zeros_like(step))
    offsets = [offset for offset in stencil.weights if offset]
    changes = np.stack([cut.loss(offset * step) - base for offset in offsets])
    slope = resolution.slope(stencil, offsets, changes)
    error = resolution.truncation(stencil, offsets, changes, slope, step / cut.unit) / step
    return Numeric(slope / step, error + resolution.of_cut(point, base / step, scale), str(point.method))


# --- x ---------------------------------------------------------------------------------------------------------


def _of_x(point: Point) -> Numeric:
    """All of dx at once: the derivative of out along dout.

    The Jacobian of a batch normalisation is symmetric in each feature, gamma / std (I - 1 1'/n - x_hat x_hat'/n), so
    that its product with dout is dx. Whether it is symmetric is not assumed: random directions verify it. What a
    direction loses to the spacing of x is made up for by our own Jacobian.
    """
    held, (along, size) = point.held, _direction_and_size(point.dout)
    reach, step = _reach_and_step(point)
    random = _random_directions(*along.shape, along.dtype)
    directions = [(along, point.method.stencil), *((direction, point.probing) for direction in random)]
    main, *probes = stack.slopes(point.forward, held, directions, step)
    dx = (main.of_out + batchnorm.times_jacobian(held, point.stages, along - main.taken)) * size
    of_slope = resolution.truncation_of_slope(point, along, step, reach) + resolution.rounding_of_slope(point, step)
    error = of_slope * size + resolution.of_dx(point) * point.scales.x
    seen = resolution.seen_along(point, dx, error, of_slope, probes, step)
    return Numeric(dx, seen.bound, point.method.of_dx, seen.symmetric)


def distance_along(point: Point, dx: FloatArray, allowed: FloatArray) -> FloatArray:
    """The part of the error of dx that random directions show and rounding does not explain, (d,), per element.

    Shapes: dx (n, d); `allowed`, (d,), is how far each element may be off.
    """
    n, d = dx.shape
    _, step = _reach_and_step(point)
    directions = [(direction, point.method.stencil) for direction in _random_directions(n, d, dx.dtype)]
    probes = stack.slopes(point.forward, point.held, directions, step)
    bound = resolution.of_slope_of_loss(point, 6 * allowed, step)
    off = [np.abs(batchnorm.dot(point.dout, of_out) - batchnorm.dot(dx, taken)) for of_out, taken in probes]
    return np.asarray(np.maximum(np.max(off, axis=0) - bound, 0) / math.sqrt(n))


class Beside(NamedTuple):
    """Their derivative of out along dout beside that of the reference: whether they agree, and to what error of dx."""

    agree: bool
    resolution: FloatArray


def beside_reference(point: Point, dtype: str, allowed: Callable[[Inputs], FloatArray]) -> Beside:
    """Difference a forward and the reference between the same two points, on the numbers of a dtype.

    Both have the same truncation, so that the step may be long: a quarter of sigma; gamma moves with x. `allowed` gives
    the bound on the rounding of out at some inputs, (d,).
    """
    held, (along, size) = point.held, _direction_and_size(point.dout)
    reach, largest = _reach_and_step(point)[0], precision(dtype).largest
    apart, bound = np.zeros_like(along), np.zeros_like(size)
    for sign in (1, -1):
        x = np.clip(held.x + sign / 4 * reach * along, -largest, largest)
        moved = replace(held, x=x, gamma=held.gamma * (1 + sign / 4)).map(partial(rounded, dtype=dtype))
        moved = moved.map(partial(np.asarray, dtype=along.dtype))
        apart += sign * (point.forward(moved) - batchnorm.out_of(moved))
        bound += allowed(moved)
    return Beside(bool(np.all(np.abs(apart) <= bound)), bound * size / (reach / 2))


def _reach_and_step(point: Point) -> tuple[FloatArray, FloatArray]:
    """The distance over which out is smooth along a direction of root mean square 1, and the step, each (d,)."""
    held, stages = point.held, point.stages
    reach = _reach(held, stages, stages.root)
    return reach, power_of_two(point.method.fraction * reach, 2.0**6 * np.spacing(np.abs(held.x).max(axis=0)))


def _direction_and_size(dout: FloatArray) -> tuple[FloatArray, FloatArray]:
    """dout as a direction, with a root mean square of 1 in each feature, and the one it has, (d,)."""
    size = _rms(dout)
    return np.divide(dout, size, out=np.zeros_like(dout), where=size > 0), size


def _rms(array: FloatArray) -> FloatArray:
    """The root mean square of each feature, (d,), whatever the size of the numbers."""
    largest = np.abs(array).max(axis=0)
    scaled = np.divide(array, largest, out=np.zeros_like(array), where=largest > 0)
    return np.asarray(largest * np.sqrt(batchnorm.dot(scaled, scaled) / array.dtype.type(len(array))))


@lru_cache(maxsize=2)
def _random_directions(n: int, d: int, dtype: np.dtype[Any]) -> tuple[FloatArray, ...]:
    """Two random directions in all features, (n, d), with a root mean square of 1 in each.

    Each is a view of one vector of normal numbers, z[row + feature], which costs n + d of them. Blocks of one width
    have them in common, so that they are kept.
    """
    directions = []
    for number in range(2):
        numbers = Stream(DIRECTIONS, number).normal(n + d - 1)
        direction = np.lib.stride_tricks.sliding_window_view(numbers, d).astype(dtype)
        direction /= _rms(direction)
        direction.flags.writeable = False
        directions.append(direction)
    return tuple(directions)


def _of_x_by_rows(point: Point) -> Numeric:
    """Every row in every feature: n times the work, for any forward. Its rounding is measured as well as bounded."""
    inputs, dout, stages, stencil = point.held, point.dout, point.stages, point.method.stencil
    n, d = inputs.x.shape
    reach = _reach(inputs, stages, stages.root * (n / math.sqrt(max(n - 1, 1))))
    spacing = 4 * np.spacing(np.abs(inputs.x).max(axis=0))
    step = power_of_two(point.method.fraction * reach, spacing)
    fine_step = power_of_two(resolution.scatter_fraction(inputs.x.dtype) * reach, spacing)
    offsets = [offset for offset in stencil.weights if offset]
    probes = np.linspace(0, n - 1, min(n, PROBES)).astype(np.intp)

    moves = Moves.of(np.arange(n), offsets, step).and_then(Moves.of(probes, AROUND, fine_step))
    moved = stack.changes(point.forward, inputs, dout, moves)
    changes = moved[: n * len(offsets)].reshape(n, len(offsets), d)
    around = moved[n * len(offsets) :].reshape(len(probes), len(AROUND), d)

    slope = resolution.slope(stencil, offsets, changes)
    truncation = resolution.truncation(stencil, offsets, changes, slope, step / reach).max(axis=0)
    rounding = resolution.rounding(point, SAFETY) + resolution.of_statistics(point)
    rounding += SAFETY * resolution.scatter(around)
    own = resolution.of_dx(point) * point.scales.x
    return Numeric(slope / step, (rounding + truncation) / step + own, point.method.of_dx)


def _reach(inputs: Inputs, stages: Stages, radius: FloatArray) -> FloatArray:
    """The distance over which L is smooth, (d,): `radius`. In eval mode it is affine: as far as rounding of x wants."""
    if inputs.running_mean is None:
        return radius
    return np.asarray(radius + location(inputs).max(axis=0))


# --- shared ----------------------------------------------------------------------------------------------------


def power_of_two(size: FloatArray, at_least: FloatArray | float = 0.0) -> FloatArray:
    """The power of two just above `size` and `at_least`; 1 where both are 0.

    A power of two no finer than the spacing of the numbers is added to them exactly, so that the difference taken
    is the difference asked for.
    """
    exponent = np.frexp(np.maximum(size, at_least))[1]
    return np.asarray(np.ldexp(size.dtype.type(1), exponent))
