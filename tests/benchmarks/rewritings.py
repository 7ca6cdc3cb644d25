"""Correct batch normalisation as people write it: what a checker must never raise an alarm on.

Each takes the arrays in rows and in any float dtype and stays in that dtype, but for float16, which is worked in
float32 as every library does. None subtracts a row first, as ours does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bncheck.calling.answer import Answer
from bncheck.calling.implementation import Implementation
from bncheck.gradients.batchnorm import FloatArray, Gradients, Inputs
from bncheck.gradients.problem import precision, rounded


@dataclass(frozen=True, slots=True)
class Cache:
    """What a forward leaves for its backward. Shapes: centred, x_hat, out (n, d); mean, var, std (d,)."""

    centred: FloatArray
    mean: FloatArray
    var: FloatArray
    std: FloatArray
    x_hat: FloatArray
    out: FloatArray


Forward = Callable[[Inputs], Cache]
Backward = Callable[[Inputs, Cache, FloatArray], Gradients]
Statistics = Callable[[FloatArray], tuple[FloatArray, FloatArray]]


# --- mean and variance -----------------------------------------------------------------------------------------


def by_numpy(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """np.mean and np.var, which are two passes."""
    return np.mean(x, axis=0), np.var(x, axis=0)


def by_loop(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Sums of one row after the other, as a loop over rows gives them."""
    mean = loop_sum(x) / x.dtype.type(len(x))
    return mean, loop_sum((x - mean) ** 2) / x.dtype.type(len(x))


def by_einsum(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Sums by einsum."""
    n = x.dtype.type(len(x))
    mean = np.einsum("nd->d", x) / n
    centred = x - mean
    return mean, np.einsum("nd,nd->d", centred, centred) / n


def by_weights(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Each row divided by n before the sum, `(1 / N) * x`, as a matrix product with a row of 1/n."""
    weights = np.full(len(x), 1 / x.dtype.type(len(x)), x.dtype)
    mean = weights @ x
    return mean, weights @ (x - mean) ** 2


def in_one_pass(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The mean of squares less the square of the mean: off by (mean / sigma) ** 2 where the others are by its root."""
    mean = np.mean(x, axis=0)
    return mean, np.maximum(np.mean(x * x, axis=0) - mean * mean, 0)


def by_welford(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Welford's updates, one row after the other."""
    mean, squares = x[0].copy(), np.zeros_like(x[0])
    for count, row in enumerate(x[1:], 2):
        delta = row - mean
        mean = mean + delta / x.dtype.type(count)
        squares = squares + delta * (row - mean)
    return mean, squares / x.dtype.type(len(x))


def loop_sum(terms: FloatArray) -> FloatArray:
    """Sum over the rows, one after the other, in the dtype of the terms."""
    total: FloatArray = np.cumsum(terms, axis=0)[-1]
    return total


# --- forward ---------------------------------------------------------------------------------------------------


def _statistics(inputs: Inputs, statistics: Statistics) -> tuple[FloatArray, FloatArray]:
    if inputs.running_mean is not None and inputs.running_var is not None:
        return inputs.running_mean, inputs.running_var
    return statistics(inputs.x)


def dividing(statistics: Statistics) -> Forward:
    """x_hat = (x - mean) / std."""

    def forward(inputs: Inputs) -> Cache:
        mean, var = _statistics(inputs, statistics)
        centred = inputs.x - mean
        std = np.sqrt(var + var.dtype.type(inputs.eps))
        x_hat = centred / std
        return Cache(centred, mean, var, std, x_hat, inputs.gamma * x_hat + inputs.beta)

    return forward


def multiplying(statistics: Statistics) -> Forward:
    """x_hat = (x - mean) * (1 / std)."""

    def forward(inputs: Inputs) -> Cache:
        mean, var = _statistics(inputs, statistics)
        centred = inputs.x - mean
        std = np.sqrt(var + var.dtype.type(inputs.eps))
        x_hat = centred * (1 / std)
        return Cache(centred, mean, var, std, x_hat, x_hat * inputs.gamma + inputs.beta)

    return forward


def fused(statistics: Statistics) -> Forward:
    """out = a x + b with a = gamma / std and b = beta - a mean, as in kernels that touch x once."""

    def forward(inputs: Inputs) -> Cache:
        mean, var = _statistics(inputs, statistics)
        std = np.sqrt(var + var.dtype.type(inputs.eps))
        gain = inputs.gamma / std
        out = gain * inputs.x + (inputs.beta - gain * mean)
        centred = inputs.x - mean
        return Cache(centred, mean, var, std, inputs.x / std - mean / std, out)

    return forward


# --- backward --------------------------------------------------------------------------------------------------


def textbook(inputs: Inputs, cache: Cache, dout: FloatArray) -> Gradients:
    """The six lines of the paper, section 3, with (var + eps) ** -1.5."""
    n = cache.std.dtype.type(len(dout))
    variance = cache.var + cache.var.dtype.type(inputs.eps)
    dx_hat = dout * inputs.gamma
    dvar = np.sum(dx_hat * cache.centred * -0.5 * variance**-1.5, axis=0)
    dmean = np.sum(dx_hat * -1 / np.sqrt(variance), axis=0)
    dx = dx_hat / np.sqrt(variance)
    if inputs.running_mean is None:
        dmean = dmean + dvar * np.sum(-2 * cache.centred, axis=0) / n
        dx = dx + dvar * 2 * cache.centred / n + dmean / n
    return Gradients(np.sum(dout, axis=0), np.sum(dout * cache.x_hat, axis=0), dmean, dvar, dx)


def staged(inputs: Inputs, cache: Cache, dout: FloatArray) -> Gradients:
    """One node of the graph after the other, as in the course notes of CS231n, every sum a loop."""
    n = cache.std.dtype.type(len(dout))
    inverse = 1 / cache.std
    dgammax = dout
    dx_hat = dgammax * inputs.gamma
    dinverse = loop_sum(dx_hat * cache.centred)
    dcentred = dx_hat * inverse
    dstd = -inverse * inverse * dinverse
    dvar = 0.5 * inverse * dstd
    if inputs.running_mean is not None:
        return Gradients(loop_sum(dout), loop_sum(dgammax * cache.x_hat), -loop_sum(dcentred), dvar, dcentred)
    dsquare = np.ones_like(dout) * dvar / n
    dcentred = dcentred + 2 * cache.centred * dsquare
    dmean = -loop_sum(dcentred)
    dx = dcentred + np.ones_like(dout) * dmean / n
    return Gradients(loop_sum(dout), loop_sum(dgammax * cache.x_hat), dmean, dvar, dx)


def summed_once(inputs: Inputs, cache: Cache, dout: FloatArray) -> Gradients:
    """dx = gamma / (n std) * (n dout - sum dout - x_hat sum dout x_hat), sums by einsum."""
    n = cache.std.dtype.type(len(dout))
    inverse = 1 / cache.std
    dbeta = np.einsum("nd->d", dout)
    dgamma = np.einsum("nd,nd->d", dout, cache.x_hat)
    dmean = -inputs.gamma * inverse * dbeta
    dvar = -0.5 * inputs.gamma * inverse * inverse * dgamma
    if inputs.running_mean is not None:
        return Gradients(dbeta, dgamma, dmean, dvar, inputs.gamma * inverse * dout)
    dx = (1 / n) * inputs.gamma * inverse * (n * dout - dbeta - cache.x_hat * dgamma)
    return Gradients(dbeta, dgamma, dmean, dvar, dx)


def with_means(inputs: Inputs, cache: Cache, dout: FloatArray) -> Gradients:
    """dx = (dx_hat - mean(dx_hat) - x_hat mean(dx_hat x_hat)) / std, means by np.mean."""
    dx_hat = dout * inputs.gamma
    dmean = -np.sum(dx_hat, axis=0) / cache.std
    dvar = -np.sum(dx_hat * cache.centred, axis=0) / (2 * cache.std**3)
    dx = dx_hat / cache.std
    if inputs.running_mean is None:
        dx = (dx_hat - np.mean(dx_hat, axis=0) - cache.x_hat * np.mean(dx_hat * cache.x_hat, axis=0)) / cache.std
    return Gradients(np.sum(dout, axis=0), np.sum(dout * cache.x_hat, axis=0), dmean, dvar, dx)


# --- the implementations ---------------------------------------------------------------------------------------


def written(name: str, forward: Forward, backward: Backward) -> Implementation:
    """An implementation whose backward starts from its own forward."""

    def out(inputs: Inputs) -> FloatArray:
        return forward(inputs).out

    def gradients(inputs: Inputs, dout: FloatArray) -> Gradients:
        wide = np.result_type(inputs.x.dtype, np.float32)
        widened = inputs.map(lambda array: array.astype(wide, copy=False))
        found = backward(widened, forward(widened), dout.astype(wide, copy=False))
        narrow = inputs.x.dtype
        beta, gamma, x = (found.of(node).astype(narrow, copy=False) for node in ("beta", "gamma", "x"))
        return Gradients(beta, gamma, found.mean, found.var, x)

    return Implementation(name, out, gradients)


TWO_PASS = written("two-pass", dividing(by_numpy), textbook)
LOOPS = written("loops", dividing(by_loop), staged)
EINSUM = written("einsum", multiplying(by_einsum), summed_once)
STAGED = written("staged", multiplying(by_weights), staged)
MEANS = written("means", dividing(by_numpy), with_means)
FUSED = written("fused", fused(by_loop), summed_once)


def in_float32(writer: Implementation) -> Implementation:
    """An implementation that works in float32 inside, whatever it is given."""

    def narrow(inputs: Inputs) -> Inputs:
        return inputs.map(lambda array: array.astype(np.float32))

    def forward(inputs: Inputs) -> FloatArray:
        return writer.forward(narrow(inputs)).astype(inputs.x.dtype)

    def backward(inputs: Inputs, dout: FloatArray) -> Gradients:
        found = writer.backward(narrow(inputs), dout.astype(np.float32))
        return Gradients(*(found.of(node).astype(dout.dtype) for node in ("beta", "gamma", "mean", "var", "x")))

    return Implementation(f"{writer.name} in float32", forward, backward)


@dataclass(frozen=True, slots=True)
class Shown:
    """An implementation that shows its out and no dmean and dvar, as most people's functions do."""

    implementation: Implementation

    @property
    def name(self) -> str:
        """That of the implementation."""
        return self.implementation.name

    def given(self, inputs: Inputs) -> Inputs:
        """It takes everything."""
        return inputs

    def forward(self, inputs: Inputs) -> FloatArray:
        """Its out."""
        return self.implementation.forward(inputs)

    def answer(self, inputs: Inputs, dout: FloatArray) -> Answer:
        """Its out, dx, dgamma and dbeta."""
        found = self.implementation.backward(inputs, dout)
        return Answer(self.forward(inputs), found.x, found.gamma, found.beta)

    examined = answer


@dataclass(frozen=True, slots=True)
class NarrowOnly:
    """An implementation that works in a narrow dtype alone, whatever it is given, with sums in float32.

    It `returns` that, or `casts` what it returns to what it was given, or `refuses` all other dtypes.
    """

    implementation: Implementation
    dtype: str
    how: str

    @property
    def name(self) -> str:
        """That of the implementation, and how."""
        return f"{self.implementation.name} {self.how} {self.dtype}"

    def given(self, inputs: Inputs) -> Inputs:
        """It takes everything."""
        return inputs

    def _narrow(self, array: FloatArray) -> FloatArray:
        if self.how == "refuses" and array.dtype != precision(self.dtype).held_in:
            raise TypeError(f"expected {self.dtype}, got {array.dtype}")
        return rounded(array, self.dtype).astype(np.float32)

    def _given_back(self, array: FloatArray, like: FloatArray) -> FloatArray:
        narrow = rounded(array, self.dtype)
        return narrow.astype(like.dtype) if self.how == "casts" else narrow

    def forward(self, inputs: Inputs) -> FloatArray:
        """Its out."""
        return self._given_back(self.implementation.forward(inputs.map(self._narrow)), inputs.x)

    def answer(self, inputs: Inputs, dout: FloatArray) -> Answer:
        """Its out, dx, dgamma and dbeta."""
        found = self.implementation.backward(inputs.map(self._narrow), self._narrow(dout))
        x, gamma, beta = (self._given_back(found.of(node), inputs.x) for node in ("x", "gamma", "beta"))
        return Answer(self.forward(inputs), x, gamma, beta)

    examined = answer


REWRITINGS = (TWO_PASS, LOOPS, EINSUM, STAGED, MEANS, FUSED)
WELFORD = written("welford", dividing(by_welford), textbook)
ONE_PASS = written("one-pass variance", dividing(in_one_pass), textbook)
