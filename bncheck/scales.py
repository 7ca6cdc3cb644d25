"""The scale of each gradient: its size before its terms cancel; and the size of what rounding acts on in it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bncheck import batchnorm
from bncheck.batchnorm import FloatArray, Inputs, Stages


class Scales(NamedTuple):
    """The size of each gradient before its terms cancel, one number a feature, shape (d,)."""

    beta: FloatArray
    gamma: FloatArray
    mean: FloatArray
    var: FloatArray
    x: FloatArray

    def of(self, node: str) -> FloatArray:
        """The scale at one of NODES."""
        scale: FloatArray = getattr(self, node)
        return scale


def scales_of(inputs: Inputs, stages: Stages, dout: FloatArray) -> Scales:
    """What a relative error is relative to: the sum of the absolute values of a gradient's terms, per feature."""
    size, gamma = np.abs(dout), np.abs(inputs.gamma)
    of_beta, of_gamma = np.add.reduce(size, axis=0), batchnorm.dot(size, np.abs(stages.x_hat))
    return Scales(
        beta=of_beta,
        gamma=of_gamma,
        mean=gamma * of_beta / stages.std,
        var=gamma * of_gamma / (2 * stages.root) / stages.std,
        x=scale_of_x(inputs, stages, dout),
    )


def scale_of_x(inputs: Inputs, stages: Stages, dout: FloatArray) -> FloatArray:
    """The scale of dx alone, shape (d,): that of its largest element."""
    terms, gamma = np.abs(dout), np.abs(inputs.gamma)
    if inputs.running_mean is None:
        x_hat = np.abs(stages.x_hat)
        through_batch = x_hat * batchnorm.dot(terms, x_hat) + np.add.reduce(terms, axis=0)
        terms = terms + through_batch / terms.dtype.type(len(dout))
    scale: FloatArray = gamma * terms.max(axis=0) / stages.std
    return scale


def roundoff_scales_of(inputs: Inputs, stages: Stages, dout: FloatArray, unit: float) -> Scales:
    """The same sums with |x| + |mean| in place of |x - mean|: what rounding acts on before the mean is taken off.

    Correct code is off by no more than `unit` times this, where `unit` is the relative error of a sum of n terms. In
    a product of two factors x - mean it is off in one of them at a time, or in both, which is `unit` smaller. The
    second term of dmean is zero, but its roundoff is not, so it counts here.
    """
    terms, x_hat, gamma = np.abs(dout), np.abs(stages.x_hat), np.abs(inputs.gamma)
    size = location(inputs) / stages.std
    n = size.dtype.type(len(size))
    of_std = unit * (batchnorm.dot(size, size) / n)
    total, on_x_hat, on_size = np.add.reduce(terms, axis=0), batchnorm.dot(terms, x_hat), batchnorm.dot(terms, size)
    direct = total * (1 + of_std)
    through_dvar: FloatArray | float = 0.0
    of_x = terms * (1 + of_std)
    if inputs.running_mean is None:
        of_dvar = on_x_hat + unit * on_size
        through_dvar = of_dvar * batchnorm.batch_mean(size)
        of_x += (size * of_dvar + x_hat * on_size + direct + through_dvar) / n
    return Scales(
        beta=total,
        gamma=on_size + on_x_hat * of_std,
        mean=gamma * (direct + through_dvar) / stages.std,
        var=gamma * (on_size + 3 * on_x_hat * of_std) / (2 * stages.root) / stages.std,
        x=gamma * of_x.max(axis=0) / stages.std,
    )


def location(inputs: Inputs) -> FloatArray:
    """|x| + |mean|, shape (n, d): the size of the two numbers whose difference is x - mean.

    For a batch mean, mean(|x|): its sum is rounded at the size of its terms, however small it comes out.
    """
    size = np.abs(inputs.x)
    mean = batchnorm.batch_mean(size) if inputs.running_mean is None else np.abs(inputs.running_mean)
    located: FloatArray = size + mean
    return located
