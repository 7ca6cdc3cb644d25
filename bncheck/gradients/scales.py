"""The scale of each gradient: its size before its terms cancel; and the size of what rounding acts on in it."""

from __future__ import annotations

import numpy as np

from bncheck.gradients import batchnorm
from bncheck.gradients.batchnorm import FloatArray, Gradients, Inputs, Stages, dot


def scales_of(inputs: Inputs, stages: Stages, dout: FloatArray) -> Gradients:
    """The scale of every gradient, (d,): the sum of the absolute values of its terms; what errors are relative to."""
    size, gamma = np.abs(dout), np.abs(inputs.gamma)
    of_beta, of_gamma = np.add.reduce(size, axis=0), batchnorm.dot(size, np.abs(stages.x_hat))
    return Gradients(
        beta=of_beta,
        gamma=of_gamma,
        mean=gamma * of_beta / stages.std,
        var=gamma * of_gamma / (2 * stages.root) / stages.std,
        x=scale_of_x(inputs, stages, dout),
    )


def scale_of_x(inputs: Inputs, stages: Stages, dout: FloatArray) -> FloatArray:
    """The scale of dx, shape (d,): that of its largest element."""
    terms, gamma = np.abs(dout), np.abs(inputs.gamma)
    if inputs.running_mean is None:
        x_hat = np.abs(stages.x_hat)
        n, total = terms.dtype.type(len(dout)), np.add.reduce(terms, axis=0)
        x_hat *= batchnorm.dot(terms, x_hat) / n
        terms += x_hat
        terms += total / n
    scale: FloatArray = gamma * terms.max(axis=0) / stages.std
    return scale


def roundoff_scales_of(inputs: Inputs, stages: Stages, dout: FloatArray, unit: float) -> Gradients:
    """The roundoff scale of every gradient, (d,): its scale with |x| + |mean| in place of |x - mean|.

    That is what rounding acts on before the mean is taken off.

    Correct code is off by no more than `unit` times this, where `unit` is the relative error of a sum of n terms. In
    a product of two factors x - mean it is off in one of them at a time, or in both, which is `unit` smaller. The
    second term of dmean is zero, but its roundoff is not, so it counts here.
    """
    terms, x_hat, gamma = np.abs(dout), np.abs(stages.x_hat), np.abs(inputs.gamma)
    size = location(inputs)
    size /= stages.std
    n = size.dtype.type(len(size))
    of_std = unit * (batchnorm.dot(size, size) / n)
    total, on_x_hat, on_size = np.add.reduce(terms, axis=0), batchnorm.dot(terms, x_hat), batchnorm.dot(terms, size)
    direct = total * (1 + of_std)
    through_dvar: FloatArray | float = 0.0
    if inputs.running_mean is None:
        through_dvar = (on_x_hat + unit * on_size) * batchnorm.batch_mean(size)
    return Gradients(
        beta=total,
        gamma=on_size + on_x_hat * of_std,
        mean=gamma * (direct + through_dvar) / stages.std,
        var=gamma * (on_size + 3 * on_x_hat * of_std) / (2 * stages.root) / stages.std,
        x=roundoff_of_rows(inputs, stages, dout, unit).max(axis=0),
    )


def roundoff_of_rows(inputs: Inputs, stages: Stages, dout: FloatArray, unit: float) -> FloatArray:
    """The roundoff scale of each element of dx, (n, d)."""
    terms, x_hat, gamma = np.abs(dout), np.abs(stages.x_hat), np.abs(inputs.gamma)
    size = location(inputs)
    size /= stages.std
    n = size.dtype.type(len(size))
    of_std = unit * (batchnorm.dot(size, size) / n)
    rows: FloatArray = terms * (1 + of_std)
    if inputs.running_mean is None:
        on_size = batchnorm.dot(terms, size)
        of_dvar = batchnorm.dot(terms, x_hat) + unit * on_size
        direct = np.add.reduce(terms, axis=0) * (1 + of_std)
        rows += (direct + of_dvar * batchnorm.batch_mean(size)) / n
        size *= of_dvar / n
        rows += size
        x_hat *= on_size / n
        rows += x_hat
    rows *= gamma / stages.std
    return rows


def location(inputs: Inputs) -> FloatArray:
    """|x| + |mean|, shape (n, d): the size of the two numbers whose difference is x - mean.

    For a batch mean, mean(|x|): its sum is rounded at the size of its terms, however small it comes out.
    """
    size: FloatArray = np.abs(inputs.x)
    size += np.finfo(inputs.x.dtype).tiny  # below which a number is rounded as that one is
    size += batchnorm.batch_mean(size) if inputs.running_mean is None else np.abs(inputs.running_mean)
    return size


# --- gradients implied by dx ------------------------------------------------------------------------------------

# With the direct route dx_hat / std taken off, what is left of dx is dvar * 2 (x - mean) / n + dmean / n, and
# x - mean and 1 are orthogonal: each is what is left, projected on one of them.


IMPLIED = ("mean", "var")


def implied_gradient(node: str, dx: FloatArray, dout: FloatArray, inputs: Inputs, stages: Stages) -> FloatArray:
    """dmean or dvar, (d,), as dx implies it. Shapes: dx, dout (n, d)."""
    return _projected(node, dx - dout * inputs.gamma / stages.std, inputs, stages)


def implied_scale(node: str, dout: FloatArray, inputs: Inputs, stages: Stages) -> FloatArray:
    """The size of the terms that the implied gradient is summed from, (d,): those of dx, row by row."""
    n = len(dout)
    dx_hat, x_hat = np.abs(dout * inputs.gamma), np.abs(stages.x_hat)
    through_batch = (x_hat * dot(dx_hat, x_hat) + np.add.reduce(dx_hat, axis=0)) / n
    return np.abs(_projected(node, (2 * dx_hat + through_batch) / stages.std, inputs, stages, np.abs(stages.centred)))


def implied_roundoff(node: str, rows: FloatArray, inputs: Inputs, stages: Stages) -> FloatArray:
    """The roundoff scale of the implied gradient, (d,): that of dx, by rows, and of the projection itself."""
    return np.abs(_projected(node, rows, inputs, stages, np.abs(stages.centred)))


def _projected(
    node: str, left: FloatArray, inputs: Inputs, stages: Stages, direction: FloatArray | None = None
) -> FloatArray:
    """`left`, (n, d), projected on 1 for mean, on `direction` (x - mean) for var; 0 where x - mean is 0."""
    if node == "mean":
        return np.asarray(np.add.reduce(left, axis=0))
    largest = np.abs(stages.centred).max(axis=0)  # its square may be out of range
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        unit = stages.centred / largest
        along = dot(left, unit if direction is None else direction / largest)
        divisor = (len(left) - inputs.variant.ddof) / 2
        return np.where(largest > 0, divisor * (along / dot(unit, unit)) / largest, 0)
