"""The graph of batch normalisation: forward by stages, backward by routes.

Everything here is in rows: x is (n, d), one row an average is taken over, one column a feature, and features do
not see each other. `as_rows` and `from_rows` go between that and (N, D), (N, C, L), (N, C, H, W), (N, C, D, H, W).
Source: Ioffe & Szegedy, *Batch Normalization* (2015), section 3; the stages follow the course notes of CS231n.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating[Any]]

NODES = ("beta", "gamma", "mean", "var", "x")


class Variant(NamedTuple):
    """A form of batch normalisation that people write on purpose; each has its own gradient.

    The variance divides by n - `ddof`. With `eps_outside` std is sqrt(var) + eps, else sqrt(var + eps).
    """

    ddof: int = 0
    eps_outside: bool = False


STANDARD = Variant()


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything that a forward is a function of, in rows.

    Shapes: x (n, d); gamma, beta (d,). `running_mean` and `running_var`, (d,), are None in train mode, where
    the batch's own statistics are used, and given constants in eval mode.
    """

    x: FloatArray
    gamma: FloatArray
    beta: FloatArray
    eps: float
    running_mean: FloatArray | None = None
    running_var: FloatArray | None = None
    variant: Variant = STANDARD

    def map(self, change: Callable[[FloatArray], FloatArray]) -> Inputs:
        """Make a change to every array of the inputs."""
        return Inputs(
            change(self.x),
            change(self.gamma),
            change(self.beta),
            self.eps,
            None if self.running_mean is None else change(self.running_mean),
            None if self.running_var is None else change(self.running_var),
            self.variant,
        )


class Stages(NamedTuple):
    """Every node of one forward pass. Shapes: centred, x_hat, out (n, d); var, root, std (d,).

    `centred` is x - mean. `root` is the root whose derivative leads from std to var: std itself, but for a variant.
    """

    centred: FloatArray
    var: FloatArray
    root: FloatArray
    std: FloatArray
    x_hat: FloatArray
    out: FloatArray


class Routes(NamedTuple):
    """The three ways from out back to x, each (n, d); dx is their sum."""

    direct: FloatArray
    through_var: FloatArray
    through_mean: FloatArray


class Gradients(NamedTuple):
    """One array a node: the gradients of sum(dout * out), x (n, d) and the others (d,); or sizes of them, all (d,)."""

    beta: FloatArray
    gamma: FloatArray
    mean: FloatArray
    var: FloatArray
    x: FloatArray

    def of(self, node: str) -> FloatArray:
        """The array of one of NODES."""
        gradient: FloatArray = getattr(self, node)
        return gradient


# --- layout ----------------------------------------------------------------------------------------------------


def as_rows(x: FloatArray, channel_axis: int) -> FloatArray:
    """x as (n, d): all axes but `channel_axis` are rows, in C order. A view where NumPy can give one."""
    return np.moveaxis(x, channel_axis, 0).reshape(x.shape[channel_axis], -1).T


def from_rows(rows: FloatArray, shape: tuple[int, ...], channel_axis: int) -> FloatArray:
    """The inverse of `as_rows`: (n, d) in the layout of `shape`."""
    axes = list(shape)
    axes.insert(0, axes.pop(channel_axis))
    return np.ascontiguousarray(np.moveaxis(rows.T.reshape(axes), 0, channel_axis))


# --- forward ---------------------------------------------------------------------------------------------------


def forward(inputs: Inputs) -> Stages:
    """One forward pass: with the batch's own statistics in train mode, with the running ones in eval mode."""
    if inputs.running_mean is not None and inputs.running_var is not None:
        return forward_from_var(inputs, inputs.x - inputs.running_mean, inputs.running_var)
    anchored = anchor(inputs.x)
    return forward_from_mean(inputs, anchored, batch_mean(anchored))


def out_of(inputs: Inputs) -> FloatArray:
    """The out of `forward`, but for the rounding of gamma / std: in one array, as quickly as it goes."""
    x, mean, var = inputs.x, inputs.running_mean, inputs.running_var
    if mean is None or var is None:
        out = anchor(x)
        out -= batch_mean(out)
        var = batch_var(out, inputs.variant.ddof)
    else:
        out = x - mean
    out *= inputs.gamma / _std(var, inputs)[1]
    if inputs.beta.any():
        out += inputs.beta
    return out


def anchor(x: FloatArray) -> FloatArray:
    """x less its first row: the same batch normalisation, and no digits lost where mean >> sigma.

    Subtracting the mean itself costs log10(mean/sigma) digits, since the mean is rounded at its own size;
    the difference of two rows is exact there.
    """
    anchored: FloatArray = x - x[0]
    return anchored


def batch_mean(x: FloatArray) -> FloatArray:
    """Mean of each feature, shape (d,). Shapes: x (n, d). Source: Ioffe & Szegedy (2015), Algorithm 1, line 1."""
    mean: FloatArray = np.add.reduce(x, axis=0) / x.dtype.type(len(x))
    return mean


def batch_var(centred: FloatArray, ddof: int = 0) -> FloatArray:
    """Variance of each feature, shape (d,), from x - mean, shape (n, d): biased with ddof 0, unbiased with 1.

    Source: Ioffe & Szegedy (2015), Algorithm 1, line 2, which divides by n.
    """
    return dot(centred, centred) / centred.dtype.type(len(centred) - ddof)


def forward_from_mean(inputs: Inputs, x: FloatArray, mean: FloatArray) -> Stages:
    """The graph cut at mean: x is held; var, std, x_hat and out follow. x and mean are both less the anchor."""
    centred = x - mean
    return forward_from_var(inputs, centred, batch_var(centred, inputs.variant.ddof))


def forward_from_var(inputs: Inputs, centred: FloatArray, var: FloatArray) -> Stages:
    """The graph cut at var: x and mean are held, as their difference; std, x_hat and out follow."""
    root, std = _std(var, inputs)
    x_hat = centred / std
    out = inputs.gamma * x_hat
    if inputs.beta.any():
        out += inputs.beta
    return Stages(centred, var, root, std, x_hat, out)


def _std(var: FloatArray, inputs: Inputs) -> tuple[FloatArray, FloatArray]:
    """The root whose derivative leads from std to var, and std."""
    eps = var.dtype.type(inputs.eps)
    if inputs.variant.eps_outside:
        root = np.sqrt(var)
        return root, root + eps
    root = np.sqrt(var + eps)
    return root, root


class Cut(NamedTuple):
    """The graph cut at mean or var: `out` as a function of that node alone, all that comes before it held.

    `value`, (d,), is where the node stands; `unit`, (d,), is the distance over which out is smooth in it.
    """

    value: FloatArray
    unit: FloatArray
    out: Callable[[FloatArray], FloatArray]


def cut_at_mean(inputs: Inputs, stages: Stages) -> Cut:
    """x is held; in train mode var, std, x_hat and out follow, in eval mode x_hat and out."""
    running_mean, running_var = inputs.running_mean, inputs.running_var
    if running_mean is not None and running_var is not None:
        return Cut(running_mean, stages.std, lambda mean: forward_from_var(inputs, inputs.x - mean, running_var).out)
    x = anchor(inputs.x)
    return Cut(batch_mean(x), stages.root, lambda mean: forward_from_mean(inputs, x, mean).out)


def cut_at_var(inputs: Inputs, stages: Stages) -> Cut:
    """x and mean are held; std, x_hat and out follow."""
    return Cut(stages.var, stages.root**2, lambda var: forward_from_var(inputs, stages.centred, var).out)


# --- backward --------------------------------------------------------------------------------------------------


def backward(inputs: Inputs, stages: Stages, dout: FloatArray) -> tuple[Gradients, Routes]:
    """Gradients at all five nodes, by the chain rule, and the three routes that dx is the sum of.

    Shapes: dout (n, d). In eval mode mean and var are constants: through_var and through_mean are zero, and
    the gradients at mean and var are those with respect to the constants.
    """
    n = stages.std.dtype.type(len(dout))
    dx_hat = dout * inputs.gamma
    dbeta = np.add.reduce(dout, axis=0)
    dgamma = dot(dout, stages.x_hat)
    # -1/2 (var + eps)^(-3/2), taken in two steps so that no power of std leaves the range before the gradient does.
    dstd = -dot(dx_hat, stages.x_hat) / stages.std
    dvar = dstd / (2 * stages.root)
    direct = dx_hat / stages.std
    if inputs.running_mean is not None:
        dmean = -np.add.reduce(direct, axis=0)
        routes = Routes(direct, np.zeros_like(direct), np.zeros_like(direct))
    else:
        dmean = -np.add.reduce(direct, axis=0) + dvar * (np.add.reduce(-2 * stages.centred, axis=0) / n)
        through_var = dvar * (2 * stages.centred / (n - inputs.variant.ddof))
        routes = Routes(direct, through_var, np.broadcast_to(dmean / n, direct.shape))
    dx = routes.direct + routes.through_var + routes.through_mean
    return Gradients(dbeta, dgamma, dmean, dvar, dx), routes


def closed_form(inputs: Inputs, stages: Stages, dout: FloatArray) -> Gradients:
    """Gradients of the standard variant in closed form, with every sum taken once.

    dx = gamma / (n std) * (n dout - sum(dout) - x_hat sum(dout * x_hat))
    """
    n = stages.std.dtype.type(len(dout))
    dbeta = np.add.reduce(dout, axis=0)
    dgamma = dot(dout, stages.x_hat)
    gain = inputs.gamma / stages.std
    dmean = -gain * dbeta
    dvar = -gain * dgamma / (2 * stages.std)
    if inputs.running_mean is not None:
        return Gradients(dbeta, dgamma, dmean, dvar, gain * dout)
    return Gradients(dbeta, dgamma, dmean, dvar, (gain / n) * (n * dout - dbeta - stages.x_hat * dgamma))


def times_jacobian(inputs: Inputs, stages: Stages, direction: FloatArray) -> FloatArray:
    """The derivative of out along a direction of x, both (n, d), and the gradient of sum(direction * out): J = J'."""
    along = direction * inputs.gamma / stages.std
    if inputs.running_mean is not None:
        return along
    divisor = stages.std.dtype.type(len(direction) - inputs.variant.ddof)
    scaled = stages.centred / stages.root
    along -= np.add.reduce(along, axis=0) / stages.std.dtype.type(len(direction))
    along -= scaled * (stages.root / stages.std * dot(scaled, along) / divisor)
    return along


def dot(a: FloatArray, b: FloatArray) -> FloatArray:
    """Sum over the rows of a * b, shape (d,). Shapes: a, b (n, d)."""
    product: FloatArray = np.einsum("nd,nd->d", a, b)
    return product
