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
        mean = None if self.running_mean is None else change(self.running_mean)
        var = None if self.running_var is None else change(self.running_var)
        return Inputs(change(self.x), change(self.gamma), change(self.beta), self.eps, mean, var, self.variant)


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
        return np.asarray(getattr(self, node))


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
    centred = anchor(inputs.x)
    centred -= batch_mean(centred)
    return forward_from_var(inputs, centred, batch_var(centred, inputs.variant.ddof))


def out_of(inputs: Inputs) -> FloatArray:
    """The out of `forward`, but for the rounding of gamma / std: in one array, as quickly as it goes."""
    x, mean, var = inputs.x, inputs.running_mean, inputs.running_var
    if mean is None or var is None:
        out = anchor(x)
        out -= batch_mean(out)
        var = batch_var(out, inputs.variant.ddof)
    else:
        out = x - mean
    out *= inputs.gamma / std_of(var, inputs)[1]
    if inputs.beta.any():
        out += inputs.beta
    return out


def anchor(x: FloatArray) -> FloatArray:
    """x less one of its rows: the same batch normalisation, and no digits lost where mean >> sigma.

    The mean is rounded at its own size, which costs log10(mean/sigma) digits; the difference of two rows is exact.
    """
    return np.asarray(x - anchoring_row(x))


def anchoring_row(x: FloatArray) -> FloatArray:
    """The row that `anchor` takes off, (d,): the middle one of three, for at an outlier the others would be rounded."""
    first, second = x[0], x[len(x) // 2]
    return np.asarray(np.maximum(np.minimum(first, second), np.minimum(np.maximum(first, second), x[-1])))


def batch_mean(x: FloatArray) -> FloatArray:
    """Mean of each feature, shape (d,). Shapes: x (n, d). Source: Ioffe & Szegedy (2015), Algorithm 1, line 1."""
    return np.asarray(np.add.reduce(x, axis=0) / x.dtype.type(len(x)))


def batch_var(centred: FloatArray, ddof: int = 0) -> FloatArray:
    """Variance of each feature, shape (d,), from x - mean, shape (n, d): biased with ddof 0, unbiased with 1.

    Source: Ioffe & Szegedy (2015), Algorithm 1, line 2, which divides by n.
    """
    return dot(centred, centred) / centred.dtype.type(len(centred) - ddof)


def forward_from_var(inputs: Inputs, centred: FloatArray, var: FloatArray) -> Stages:
    """The graph cut at var: x and mean are held, as their difference; std, x_hat and out follow."""
    root, std = std_of(var, inputs)
    x_hat = centred / std
    out = inputs.gamma * x_hat
    if inputs.beta.any():
        out += inputs.beta
    return Stages(centred, var, root, std, x_hat, out)


def std_of(var: FloatArray, inputs: Inputs) -> tuple[FloatArray, FloatArray]:
    """The root whose derivative leads from std to var, and std."""
    eps = var.dtype.type(inputs.eps)
    if inputs.variant.eps_outside:
        root = np.sqrt(var)
        return root, root + eps
    root = np.sqrt(var + eps)
    return root, root


class Cut(NamedTuple):
    """The graph cut at mean or var, all that comes before it held: the loss as a function of that node alone.

    `loss` takes how far the node is moved, (d,), and gives sum(dout * out), (d,); `unit`, (d,), is the distance over
    which that is smooth.
    """

    unit: FloatArray
    loss: Callable[[FloatArray], FloatArray]


def cut_at_mean(inputs: Inputs, stages: Stages, dout: FloatArray) -> Cut:
    """x is held; in train mode var, std and out follow, in eval mode out. About a moved mean var is larger."""
    gamma, total, on_centred = inputs.gamma, pairwise_sum(dout), pairwise_sum(dout * stages.centred)
    if inputs.running_mean is not None:
        return Cut(stages.std, lambda move: gamma * (on_centred - move * total) / stages.std)
    n, left = stages.std.dtype.type(len(dout)), pairwise_sum(stages.centred)

    def loss(move: FloatArray) -> FloatArray:
        var = stages.var + (n * move - 2 * left) * move / (n - inputs.variant.ddof)
        return gamma * (on_centred - move * total) / std_of(var, inputs)[1]

    return Cut(stages.root, loss)


def cut_at_var(inputs: Inputs, stages: Stages, dout: FloatArray) -> Cut:
    """x and mean are held; std and out follow."""
    on_x_hat = inputs.gamma * pairwise_sum(dout * stages.centred)
    return Cut(stages.root**2, lambda move: on_x_hat / std_of(stages.var + move, inputs)[1])


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


def left_by_difference(inputs: Inputs, stages: Stages, direction: FloatArray, step: FloatArray) -> FloatArray:
    """The derivative of out along a direction, (n, d), less its central difference over a step, (d,), to each side.

    Along a line std is the root of a polynomial, so that both are known.
    """
    if inputs.running_mean is not None:
        return np.zeros_like(direction)
    n, centred = stages.std.dtype.type(len(direction)), stages.centred
    shift = np.add.reduce(direction, axis=0) / n
    along, divisor = dot(centred, direction), n - inputs.variant.ddof
    grown = (dot(direction, direction) - n * shift**2) * step**2
    up, down = (1 / std_of(stages.var + (grown + move * along) / divisor, inputs)[1] for move in (2 * step, -2 * step))
    of_centred = -along / divisor / stages.root / stages.std**2 - (up - down) / (2 * step)
    of_direction = 1 / stages.std - (up + down) / 2
    left = direction - shift
    left *= of_direction * inputs.gamma
    left += centred * (of_centred * inputs.gamma)
    return np.asarray(left)


GROUP = 128  # terms that are added up in a row


def pairwise_sum(terms: FloatArray) -> FloatArray:
    """Sum over the rows, in groups, so that rounding hardly grows with n. Shapes: (n, ...), (...)."""
    while len(terms) > GROUP:
        whole = len(terms) // GROUP * GROUP
        groups = np.add.reduce(terms[:whole].reshape(-1, GROUP, *terms.shape[1:]), axis=1)
        terms = np.concatenate((groups, terms[whole:]))
    return np.asarray(np.add.reduce(terms, axis=0))


def dot(a: FloatArray, b: FloatArray) -> FloatArray:
    """Sum over the rows of a * b, shape (d,). Shapes: a, b (n, d)."""
    return np.asarray(np.einsum("nd,nd->d", a, b))


# --- scales: the size of each gradient before its terms cancel, and of what rounding acts on in it -----------------


class Sizes(NamedTuple):
    """The size of every gradient, (d,): the sum of the absolute values of its terms, which errors are relative to.

    Those of `roundoff` have |x| + |mean| in place of |x - mean|: what rounding acts on before the mean is taken off.
    `implied` and `implied_roundoff` are those of dmean and dvar where they are taken from dx.
    """

    scales: Gradients
    roundoff: Gradients
    implied: dict[str, FloatArray]
    implied_roundoff: dict[str, FloatArray]


def sizes_of(inputs: Inputs, stages: Stages, dout: FloatArray, unit: FloatArray | float = 0.0) -> Sizes:
    """The size of every gradient.

    Correct code is off by no more than `unit` times the roundoff scale, where `unit`, which may be (d,), is the
    relative error of a sum of n terms. In a product of two factors x - mean it is off in one of them at a time, or in
    both, which is `unit` smaller. The second term of dmean is zero, but its roundoff is not, so it counts there.
    """
    terms, near, far = np.abs(dout), np.abs(stages.centred), location(inputs)
    largest = near.max(axis=0)
    near /= np.where(largest > 0, largest, 1)  # for its square may be out of range
    far /= stages.std
    n, sigmas, gain = far.dtype.type(len(far)), largest / stages.std, np.abs(inputs.gamma) / stages.std
    share = 1 / n if inputs.running_mean is None else 0 / n  # of a sum, in each row of dx
    dout_sum, near_sum, far_sum = (np.add.reduce(array, axis=0) for array in (terms, near, far))
    dout_near, dout_far = dot(terms, near), dot(terms, far)
    near_near, near_far = dot(near, near), dot(near, far)
    in_std = unit * dot(far, far) / n
    of_gamma, of_dvar = dout_near * sigmas, dout_near * sigmas + unit * dout_far
    by_near, by_far, by_row = of_gamma * sigmas * share, of_dvar * share, dout_far * sigmas * share
    of_mean = dout_sum * (1 + in_std) + by_far * far_sum

    rows = near * by_near
    rows += terms
    scale_of_x = rows.max(axis=0) + dout_sum * share
    np.multiply(terms, 1 + in_std, out=rows)
    far *= by_far
    rows += far
    near *= by_row
    rows += near
    roundoff_of_x = rows.max(axis=0) + of_mean * share

    halved = gain / (2 * stages.root)
    along = gain * ((n - inputs.variant.ddof) / (2 * np.where(largest > 0, near_near * largest, 1)))
    scales = Gradients(dout_sum, of_gamma, gain * dout_sum, halved * of_gamma, gain * scale_of_x)
    of_gamma, of_var = dout_far + of_gamma * in_std, halved * (dout_far + 3 * of_gamma * in_std)
    roundoff = Gradients(dout_sum, of_gamma, gain * of_mean, of_var, gain * roundoff_of_x)
    implied = {
        "mean": gain * (3 * dout_sum + by_near * near_sum),
        "var": along * (2 * dout_near + by_near * near_near + dout_sum * share * near_sum),
    }
    of_var = dout_near * (1 + in_std) + by_far * near_far + by_row * near_near + of_mean * share * near_sum
    of_mean = dout_sum * (1 + in_std) + by_far * far_sum + by_row * near_sum + of_mean
    return Sizes(scales, roundoff, implied, {"mean": gain * of_mean, "var": along * of_var})


def location(inputs: Inputs) -> FloatArray:
    """|x| + |mean|, shape (n, d): the size of the two numbers whose difference is x - mean.

    For a batch mean, mean(|x|): its sum is rounded at the size of its terms, however small it comes out.
    """
    size: FloatArray = np.abs(inputs.x)
    size += np.finfo(inputs.x.dtype).tiny  # below which a number is rounded as that one is
    size += batch_mean(size) if inputs.running_mean is None else np.abs(inputs.running_mean)
    return size


# --- gradients implied by dx ------------------------------------------------------------------------------------

# With the direct route dx_hat / std taken off, what is left of dx is dvar * 2 (x - mean) / n + dmean / n, and
# x - mean and 1 are orthogonal: each is what is left, projected on one of them.

IMPLIED = ("mean", "var")


def implied_gradient(node: str, dx: FloatArray, dout: FloatArray, inputs: Inputs, stages: Stages) -> FloatArray:
    """dmean or dvar, (d,), as dx implies it; dvar is 0 where x - mean is 0. Shapes: dx, dout (n, d)."""
    left = dx - dout * (inputs.gamma / stages.std)
    if node == "mean":
        return np.asarray(np.add.reduce(left, axis=0))
    largest = np.abs(stages.centred).max(axis=0)
    unit = stages.centred / np.where(largest > 0, largest, 1)  # for its square may be out of range
    divisor = (len(left) - inputs.variant.ddof) / 2
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(largest > 0, divisor * (dot(left, unit) / dot(unit, unit)) / largest, 0)
