"""How far a numeric gradient may itself be off: its truncation, the rounding of L, and what no difference shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from bncheck import batchnorm
from bncheck.batchnorm import FloatArray
from bncheck.point import Point
from bncheck.stencils import Stencil

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
