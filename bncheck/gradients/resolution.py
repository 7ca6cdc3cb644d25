"""How far a numeric gradient may itself be off: its truncation, the rounding of L, and what no difference shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Any, NamedTuple

import numpy as np

from bncheck.gradients import batchnorm
from bncheck.gradients.batchnorm import FloatArray, Gradients, Inputs, Stages, location, sizes_of
from bncheck.gradients.stack import ORDER_2, Forward, Method, Slope, Stencil
from bncheck.gradients.yardsticks import Basis

# --- one forward at one point -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Point:
    """One forward at one point, with what the differences at all nodes have in common.

    `held` are the inputs with beta 0; `stages` and `scales` are those of the reference there, `out` is their own.
    """

    forward: Forward
    inputs: Inputs
    held: Inputs
    dout: FloatArray
    method: Method
    stages: Stages
    scales: Gradients
    out: FloatArray
    found: dict[str, Any] = field(default_factory=dict)  # what is differenced together, by node

    @classmethod
    def of(
        cls,
        forward: Forward,
        inputs: Inputs,
        dout: FloatArray,
        method: Method,
        basis: Basis | None = None,
        out: FloatArray | None = None,
    ) -> Point:
        """Take the point, in the arithmetic of the method. Shapes: dout, out (n, d).

        `basis` is that of these numbers, where there is one; `out` is what the forward gives with beta 0, if known.
        """
        inputs = inputs.map(lambda array: array.astype(method.dtype, copy=False))
        held, dout = replace(inputs, beta=np.zeros_like(inputs.beta)), dout.astype(method.dtype, copy=False)
        if basis is None or basis.exact.dout.dtype != dout.dtype:
            stages = batchnorm.forward(held)
            scales = sizes_of(held, stages, dout).scales
        else:
            stages, scales = basis.stages._replace(out=held.gamma * basis.stages.x_hat), basis.sizes.scales
        return cls(forward, inputs, held, dout, method, stages, scales, forward(held).copy() if out is None else out)

    @cached_property
    def size(self) -> FloatArray:
        """The largest out, (d,)."""
        return np.asarray(np.abs(self.out).max(axis=0))

    @cached_property
    def distance(self) -> FloatArray:
        """The distance between their out and ours, (d,)."""
        return np.asarray(np.abs(self.out - self.stages.out).max(axis=0))

    @cached_property
    def probing(self) -> Stencil:
        """The stencil along random directions: of order 2 where the curvature of out should be our own.

        It should where out is our own to a millionth, and shows the variance.
        """
        shows = 16 * self.stages.var >= self.stages.root**2
        return ORDER_2 if np.all(shows & (self.distance <= ALIKE * self.size)) else self.method.stencil

    @cached_property
    def far(self) -> FloatArray:
        """The size of x and its mean before one is taken off the other, over sigma, shape (n, d)."""
        return np.asarray(location(self.held) / self.stages.std)

    @cached_property
    def mean_is_far(self) -> FloatArray:
        """The size of the terms that the batch mean is summed from, over sigma, shape (d,); 0 in eval mode."""
        if self.held.running_mean is not None:
            return np.zeros_like(self.stages.std)
        return batchnorm.batch_mean(np.abs(self.held.x)) / self.stages.std

    @cached_property
    def displacement(self) -> FloatArray:
        """The distance by which x_hat is off in a forward that loses digits of x - mean, shape (d,), dimensionless.

        Seen as its distance from our own, which loses none, beyond what two ways of rounding out differ by; and no
        more than such a loss can be, since a forward may also be further off because it is something else.
        """
        inputs = self.held
        eps = np.finfo(inputs.x.dtype).eps
        unit = math.sqrt(len(inputs.x)) * eps
        at_most = unit * self.far.max(axis=0)
        distance = self.distance - 2 * eps * self.size
        with np.errstate(divide="ignore", invalid="ignore"):
            seen = np.where(distance > 0, distance / np.abs(inputs.gamma), 0)
        return np.asarray(np.fmin(seen, at_most))


ALIKE = 2.0**-20  # what float32 inside leaves alone

# Standard deviations of rounding that a resolution covers; tests/benchmarks/calibration.py.
SAFETY = 24  # measured on a few rows of somebody's forward
CUT_SAFETY = 16  # known of our own graph
SLOPE_SAFETY = 2  # known of the graphs that people write, which need half of it
PROBES = 3  # rows on which rounding is measured, five fourth differences each
AROUND = [-4, -3, -2, -1, 1, 2, 3, 4]  # where a probe is evaluated


def slope(stencil: Stencil, offsets: Sequence[int], changes: FloatArray) -> FloatArray:
    """The slope of L for a step of 1. Shapes: changes (..., k, d), one at each of k offsets; that at 0 is 0."""
    used = [place for place, offset in enumerate(offsets) if offset in stencil.weights]
    weights = np.array([stencil.weights[offsets[place]] for place in used], changes.dtype)
    if len(used) < len(offsets):
        changes = changes[..., used, :]
    return np.asarray((weights @ changes) / changes.dtype.type(stencil.over))


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


def rounding(point: Point, safety: float) -> FloatArray:
    """A bound on the rounding of L, shape (d,), for any forward: each out is rounded, so is std.

    The roundings of out are independent and add up as their squares; that of std is common to all rows. `safety` is in
    units of u for each of the two.
    """
    u = np.finfo(point.out.dtype).eps / 2
    terms = point.dout * point.out
    return np.asarray(safety * u * (np.sqrt(batchnorm.dot(terms, terms)) + np.abs(np.add.reduce(terms, axis=0))))


def of_cut(point: Point, slope_of_rounding: FloatArray, scale: FloatArray) -> FloatArray:
    """A bound on the rounding of a derivative by mean or var, (d,): each L is rounded, and so are the sums in it.

    `slope_of_rounding`, (d,), is L over the step; the sums are off by no more than those of the statistics.
    """
    u = np.finfo(scale.dtype).eps / 2
    return np.asarray(u * (CUT_SAFETY * (np.abs(slope_of_rounding) + scale) + 4 * math.sqrt(len(point.dout)) * scale))


def of_statistics(point: Point) -> FloatArray:
    """A bound on what the rounding of mean and std, common to all rows, does to L, shape (d,).

    No row shows it, and where dout is alike in all rows it is the largest there is: mean is off by some units of |x|,
    and each out by that over sigma.
    """
    u = np.finfo(point.out.dtype).eps / 2
    shift = np.abs(np.add.reduce(point.dout, axis=0) * point.held.gamma) * point.mean_is_far
    return np.asarray(u * in_statistics(point) * (shift + np.abs(batchnorm.dot(point.dout, point.out))))


def in_statistics(point: Point) -> FloatArray:
    """A bound on the rounding of a mean of n terms, in units of u times their mean size, (d,), also if summed in a row.

    Each addition is off by half a unit of the partial sum at most, at random: 0.23 sqrt(n) in standard deviation. Where
    x is alike to the spacing of the numbers around its sum, all are off to the same side.
    """
    n, u = len(point.dout), np.finfo(point.out.dtype).eps / 2
    spread = batchnorm.batch_mean(np.abs(point.stages.centred)) / point.stages.std
    return np.asarray(2 + math.sqrt(n) + np.where(spread < 2 * u * n * point.mean_is_far, n / 8, 0))


def of_sums(terms: FloatArray) -> FloatArray:
    """A bound on the rounding of the sum of some terms, (n, d), shape (d,)."""
    return np.asarray(3 * (np.finfo(terms.dtype).eps / 2) * np.add.reduce(np.abs(terms), axis=0))


def of_x_hat(point: Point) -> FloatArray:
    """A bound on what dgamma, sum(dout * x_hat), inherits from the rounding of mean and std: sums of n terms each.

    It is the same in every evaluation, so no difference shows it.
    """
    dout, x_hat = np.abs(point.dout), np.abs(point.stages.x_hat)
    unit = math.sqrt(len(dout)) * np.finfo(dout.dtype).eps / 8
    in_sums = unit * batchnorm.dot(dout, x_hat + x_hat.max(axis=0))
    return np.asarray(in_sums + np.add.reduce(dout, axis=0) * point.displacement)


def of_dx(point: Point) -> FloatArray:
    """A bound on what dx inherits from the rounding of sums and of x_hat, relative to its scale, (d,).

    No difference shows it.
    """
    in_sums = 16 * math.sqrt(len(point.dout)) * np.finfo(point.dout.dtype).eps / 2
    if point.held.running_mean is not None:
        return np.full_like(point.stages.std, in_sums)
    displaced: FloatArray = 2 * point.displacement * (1 + np.abs(point.stages.x_hat).max(axis=0))
    return in_sums + displaced


# --- along directions ---------------------------------------------------------------------------------------------

PROBED = 1000.0
"""How much larger an error may be than two random directions show it: they are both below 1/1000 of the length of the
error with a probability of 6e-7."""


def truncation_of_slope(point: Point, direction: FloatArray, step: FloatArray, reach: FloatArray) -> FloatArray:
    """A bound on the truncation of each element of the derivative of out along a direction, shape (d,).

    Every batch normalisation is gamma (centred + t w) / std(t) along w, and Taylor's coefficients of 1 / std(t) are at
    most reach ** -k / std where w has a root mean square of 1, being Legendre polynomials. In eval mode it is affine.
    Shapes: direction (n, d); step, reach (d,).
    """
    stencil, stages = point.method.stencil, point.stages
    if point.held.running_mean is not None:
        return np.zeros_like(step)
    size = np.abs(stages.centred).max(axis=0) / reach + 2 * np.abs(direction).max(axis=0)
    gain = np.abs(point.held.gamma) / stages.std
    return np.asarray(2 * stencil.remainder * (step / reach) ** stencil.order * gain * size)


def rounding_of_slope(point: Point, step: FloatArray) -> FloatArray:
    """A bound on the rounding of each element of the derivative of out along a direction, for anybody's forward, (d,).

    out is rounded at its own size, or at that of gamma x / std by who folds scale and shift; so are mean and std, in
    all rows alike.
    """
    gamma, out = np.abs(point.held.gamma), point.size
    in_all = in_statistics(point) * (out + gamma * point.mean_is_far)
    unit = SLOPE_SAFETY * np.finfo(out.dtype).eps / 2 * point.method.stencil.gain
    return np.asarray(unit * (out + gamma * point.far.max(axis=0) + in_all) / step)


def of_slope_of_loss(point: Point, of_dx: FloatArray, step: FloatArray) -> FloatArray:
    """A bound on the distance of sum(dx * u) from the derivative of L along a random u, (d,).

    `of_dx`, (d,), is how far dx may be off.
    """
    gamma, u = np.abs(point.held.gamma), np.finfo(point.out.dtype).eps / 2
    terms = point.dout * (np.abs(point.out) + gamma * point.far)
    rounded = SLOPE_SAFETY * (u * np.sqrt(batchnorm.dot(terms, terms)) + of_statistics(point))
    return np.asarray(rounded * point.method.stencil.gain / step + math.sqrt(len(terms)) * of_dx)


class Seen(NamedTuple):
    """The bound on the error of dx, (d,), that random directions leave; and whether they bear out that it is symmetric.

    They do where they show no more than the rounding that is expected.
    """

    bound: FloatArray
    symmetric: bool


def seen_along(
    point: Point, dx: FloatArray, error: FloatArray, of_slope: FloatArray, probes: Sequence[Slope], step: FloatArray
) -> Seen:
    """Compare dx with differences along random directions u, which know nothing of symmetry.

    The derivative of L along u is sum(dx * u), and of two directions each times the derivative of out along the other
    is one number. The first is the definition of a gradient; the second has less rounding where dout is alike in all
    rows, since that of the mean then adds up. Roundings of dx are independent, or common to all rows, and either way
    add up with random signs. Shapes: dx (n, d); `error` and `of_slope`, (d,), are how far dx and the derivatives
    of out along u may be off. What a stencil of order 2 leaves of a derivative is taken to be that of our own graph:
    where it is another, that shows too.
    """
    of_loss = of_slope_of_loss(point, 1.5 * error, step)
    is_still = np.all(probes[0].of_out == 0, axis=0)
    if point.probing is ORDER_2:
        for probe in probes:
            left = batchnorm.left_by_difference(point.held, point.stages, probe.taken, step)
            np.add(probe.of_out, left, out=probe.of_out)
    first, second = probes
    off = [batchnorm.dot(point.dout, of_out) - batchnorm.dot(dx, taken) for of_out, taken in probes]
    off.append(batchnorm.dot(second.taken, first.of_out) - batchnorm.dot(first.taken, second.of_out))
    expected = [of_loss, of_loss, 3 * math.sqrt(len(dx)) * of_slope]
    distance, allowed = np.abs(np.stack(off)), np.stack(expected)
    # A forward that does not move at all, since it rounds x to fewer digits, shows no roughness.
    if np.any(is_still):
        expected_slope = batchnorm.times_jacobian(point.held, point.stages, first.taken)
        is_still &= np.abs(expected_slope).max(axis=0) > 2.0**-20 * np.abs(point.held.gamma) / point.stages.std
    beyond = np.where(is_still, np.inf, np.maximum(distance - allowed, 0))
    if not np.any(beyond > 0):
        return Seen(error, bool(np.all(np.isfinite(distance))))
    # What one feature shows by chance another does not: all have a forward that is rougher than expected.
    rougher = np.max(np.divide(distance, allowed, where=allowed > 0, out=np.ones_like(distance)))
    return Seen(32 * rougher * error + PROBED * beyond[:2].max(axis=0), False)


# --- by rows ------------------------------------------------------------------------------------------------------


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
    return np.asarray(np.sqrt(mean_square / 70))


@cache
def _fourth_differences(dtype: np.dtype[Any]) -> FloatArray:
    """The matrix, (5, 8), that makes fourth differences of the changes at AROUND and of the 0 in their middle."""
    table = np.diff(np.eye(len(AROUND) + 1, dtype=dtype), n=4, axis=0)
    return np.delete(table, len(AROUND) // 2, axis=1)
