"""The right backward pass, taken apart into the parts that faults are made of and wrong gradients explained by."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from bncheck.gradients import batchnorm
from bncheck.gradients.batchnorm import FloatArray, Gradients, Inputs, Routes, Stages


class Parts(NamedTuple):
    """A backward pass with all that it is made of.

    Shapes: dout (n, d); mean (d,), that of the rows; `gain`, `bare_mean`, `bare_var` (d,) are gamma, and dmean and dvar
    with gamma taken off, so that a fault in gamma needs no division by it. `samples` is N of an image, where n is
    N·H·W; elsewhere it is n.
    """

    inputs: Inputs
    stages: Stages
    dout: FloatArray
    gradients: Gradients
    routes: Routes
    mean: FloatArray
    bare_mean: FloatArray
    bare_var: FloatArray
    samples: int

    @classmethod
    def of(cls, inputs: Inputs, dout: FloatArray, stages: Stages | None = None, samples: int = 0) -> Parts:
        """The parts in the dtype of the arguments. `stages`, where they are known already; `samples` 0 means n."""
        stages = batchnorm.forward(inputs) if stages is None else stages
        gradients, routes = batchnorm.backward(inputs, stages, dout)
        running = inputs.running_mean
        mean = inputs.x[0] + batchnorm.batch_mean(batchnorm.anchor(inputs.x)) if running is None else running
        bare_var = -batchnorm.dot(dout, stages.x_hat) / stages.std / (2 * stages.root)
        bare_mean = -gradients.beta / stages.std
        return cls(inputs, stages, dout, gradients, routes, mean, bare_mean, bare_var, samples or len(dout))

    @property
    def n(self) -> int:
        """Rows."""
        return len(self.dout)

    @property
    def d(self) -> int:
        """Features."""
        return int(self.dout.shape[1])

    @property
    def divisor(self) -> int:
        """The number that the variance divides by: n, but for a variant."""
        return self.n - self.inputs.variant.ddof

    @property
    def is_eval(self) -> bool:
        """Whether mean and var are constants."""
        return self.inputs.running_mean is not None

    def dx(self, gain: FloatArray, dvar: FloatArray, dmean: FloatArray) -> FloatArray:
        """dout gain / std + dvar 2 (x - mean) / n + dmean / n, shape (n, d), of three vectors (d,)."""
        n = self.stages.std.dtype.type(self.n)
        direct = self.dout * gain / self.stages.std
        through_var = dvar * (2 * self.stages.centred / self.stages.std.dtype.type(self.divisor))
        return np.asarray(direct + through_var + dmean / n)


class Coordinates(NamedTuple):
    """Three orthogonal directions of dx, feature by feature: 1, x - mean, and the rest of dout.

    Shapes: ones, centred, beyond (n, d), each of length 1 or, where there is no such direction, 0.
    `direct` (3, d) and `through_var` (2, d) are dout / std and 2 (x - mean) / n in these directions; the third route
    is 1 / n, which is 1 / sqrt(n) in the first of them. A dx of any fault in the routes is three numbers here, and
    the distance of two of them can be told to the last digit.
    """

    ones: float
    centred: FloatArray
    beyond: FloatArray
    direct: FloatArray
    through_var: FloatArray

    @classmethod
    def of(cls, parts: Parts) -> Coordinates:
        """The coordinates of one backward pass."""
        ones = 1 / math.sqrt(parts.n)
        bare = parts.dout / parts.stages.std
        raw = parts.stages.centred * (2 / parts.divisor)
        along_ones = ones * np.add.reduce(raw, axis=0)
        centred, _ = _direction(raw - along_ones * ones, raw)
        rest, first, second = _without(bare, ones, centred)
        rest, *_ = _without(rest, ones, centred)  # once more: what was left over was rounded at the size of `bare`
        beyond, third = _direction(rest, bare)
        return cls(
            ones,
            centred,
            beyond,
            np.stack((first, second, third)),
            np.stack((along_ones, batchnorm.dot(raw, centred))),
        )

    def project(self, dx: FloatArray) -> tuple[FloatArray, FloatArray]:
        """dx, (n, d), in the three directions, (3, d), and what of it lies in none of them, (n, d)."""
        rest, first, second = _without(dx, self.ones, self.centred)
        third = batchnorm.dot(rest, self.beyond)
        return np.stack((first, second, third)), rest - third * self.beyond

    def of_routes(self, gain: FloatArray, dvar: FloatArray, dmean: FloatArray) -> FloatArray:
        """The sum of the three routes in these directions, (3, ..., d); of three arrays (..., d)."""
        return np.stack(
            (
                gain * self.direct[0] + dvar * self.through_var[0] + dmean * self.ones,
                gain * self.direct[1] + dvar * self.through_var[1],
                gain * self.direct[2],
            )
        )


def _without(dx: FloatArray, ones: float, centred: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """dx less its part in two directions, and these parts."""
    first = ones * np.add.reduce(dx, axis=0)
    rest = dx - first * ones
    second = batchnorm.dot(rest, centred)
    return rest - second * centred, first, second


def _direction(rest: FloatArray, whole: FloatArray) -> tuple[FloatArray, FloatArray]:
    """`rest` at length 1, and its length; both 0 where it is nothing but the roundoff of `whole`."""
    unit = float(np.finfo(rest.dtype).eps)
    size = np.max(np.abs(whole), axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = rest / size
        length = np.sqrt(batchnorm.dot(scaled, scaled))
        real = length > 8 * unit * math.sqrt(len(rest))
        return np.where(real, scaled / length, 0), np.where(real, length * size, 0)
