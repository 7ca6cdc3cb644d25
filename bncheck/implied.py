"""dmean and dvar of an implementation that never shows them, taken from its dx.

With the direct route dx_hat / std taken off, what is left of dx is dvar * 2 (x - mean) / n + dmean / n, and
x - mean and 1 are orthogonal: each is what is left, projected on one of them.
"""

from __future__ import annotations

import numpy as np

from bncheck.batchnorm import FloatArray, Inputs, Stages, dot

IMPLIED = ("mean", "var")


def gradient(node: str, dx: FloatArray, dout: FloatArray, inputs: Inputs, stages: Stages) -> FloatArray:
    """dmean or dvar, (d,), as dx implies it. Shapes: dx, dout (n, d)."""
    return _projected(node, dx - dout * inputs.gamma / stages.std, inputs, stages)


def scale(node: str, dout: FloatArray, inputs: Inputs, stages: Stages) -> FloatArray:
    """The size of the terms that the implied gradient is summed from, (d,): those of dx, row by row."""
    n = len(dout)
    dx_hat, x_hat = np.abs(dout * inputs.gamma), np.abs(stages.x_hat)
    through_batch = (x_hat * dot(dx_hat, x_hat) + np.add.reduce(dx_hat, axis=0)) / n
    return np.abs(_projected(node, (2 * dx_hat + through_batch) / stages.std, inputs, stages, np.abs(stages.centred)))


def _projected(
    node: str, left: FloatArray, inputs: Inputs, stages: Stages, direction: FloatArray | None = None
) -> FloatArray:
    """`left`, (n, d), projected on 1 for mean, on `direction` (x - mean) for var; 0 where x - mean is 0."""
    if node == "mean":
        return np.asarray(np.add.reduce(left, axis=0))
    length = dot(stages.centred, stages.centred)
    along = dot(left, stages.centred if direction is None else direction)
    divisor = (len(left) - inputs.variant.ddof) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(length > 0, divisor * along / length, 0)
