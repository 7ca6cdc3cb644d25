"""A case made concrete: x, gamma, beta, dout. The same case gives the same bits."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bncheck.case import Case
from bncheck.gradients.batchnorm import FloatArray, Gradients, Inputs, Stages, as_rows, from_rows

# --- dtypes -----------------------------------------------------------------------------------------------------


class Precision(NamedTuple):
    """The numbers of a dtype: their spacing at 1, the largest, the smallest, and the dtype of NumPy that holds them."""

    eps: float
    largest: float
    smallest: float
    held_in: str


@cache
def precision(dtype: str) -> Precision:
    """The precision of a dtype. NumPy has no bfloat16, whose numbers are those of float32 with 16 bits cut off."""
    if dtype == "bfloat16":
        return Precision(2.0**-7, (2 - 2.0**-7) * 2.0**127, 2.0**-133, "float32")
    kind = np.finfo(dtype)
    return Precision(float(kind.eps), float(kind.max), float(kind.smallest_subnormal), dtype)


def rounded(array: FloatArray, dtype: str) -> FloatArray:
    """The nearest numbers of a dtype, in the dtype of NumPy that holds them; the array itself where it is in that."""
    if dtype != "bfloat16":
        return array.astype(dtype, copy=False)
    narrow = array.astype(np.float32)
    bits = narrow.view(np.uint32)
    kept = (bits + (bits >> np.uint32(16) & np.uint32(1)) + np.uint32(0x7FFF)) & np.uint32(0xFFFF0000)  # a tie to even
    return np.where(np.isnan(narrow), narrow, kept.view(np.float32))


# --- random numbers ---------------------------------------------------------------------------------------------
# NumPy keeps the right to change its generators' streams (NEP 19), its normal numbers go through the platform's log and
# exp, and importing numpy.random takes a fifth as long as importing NumPy. What is drawn here is integer arithmetic.

_GOLDEN = 0x9E3779B97F4A7C15
_WORD = 2**64
_ROUNDS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_FIELDS = 0x3FF | 0x3FF << 20 | 0x3FF << 40
"""Three fields of ten bits, each with ten more to grow into."""
_CHUNK = 2**14
"""Normal numbers that are drawn at a time."""
_MIDDLE = 12 * (2**10 - 1) / 2 + 1 / 2
"""The mean of twelve such fields, and of a number between 0 and 1."""


class Stream:
    """SplitMix64: the n-th number is a hash of the start plus n times an odd constant.

    Source: Steele, Lea & Flood (2014), *Fast splittable pseudorandom number generators*, figure 12.
    """

    def __init__(self, seed: int, number: int) -> None:
        """The stream with that number among those of a seed; streams with other numbers have nothing in common."""
        state = (seed * _GOLDEN + number) % _WORD
        for shift, factor in _ROUNDS:
            state = (state ^ state >> shift) * factor % _WORD
        self._state = state ^ state >> 31

    def random(self, *shape: int) -> FloatArray:
        """Uniform in [0, 1), to 53 bits."""
        return np.asarray((self._words(math.prod(shape)) >> np.uint64(11)).reshape(shape) * 2.0**-53)

    def uniform(self, low: float, high: float, *shape: int) -> FloatArray:
        """Uniform in [low, high)."""
        return np.asarray(low + (high - low) * self.random(*shape))

    def integers(self, below: int, *shape: int) -> NDArray[np.intp]:
        """Whole numbers from 0 to below - 1."""
        return ((self._words(math.prod(shape)) >> np.uint64(11)) % np.uint64(below)).reshape(shape).astype(np.intp)

    def normal(self, *shape: int) -> FloatArray:
        """The sum of twelve uniform numbers, less six: mean 0, variance 1, and normal but for the tails beyond 4.

        Of ten bits each, six to a word, and a thirteenth to fill the gaps. No logarithm, no rejection.
        """
        count = math.prod(shape)
        drawn = np.empty(count)
        for start in range(0, count, _CHUNK):  # what is hashed stays in the cache
            part = slice(start, min(start + _CHUNK, count))
            size = part.stop - part.start
            drawn[part] = _normal(*(self._words_from(third * count + start, size) for third in range(3)))
        self._state = (self._state + 3 * count * _GOLDEN) % _WORD
        return drawn.reshape(shape)

    def _words(self, count: int) -> NDArray[np.uint64]:
        """The next 64-bit words."""
        words = self._words_from(0, count)
        self._state = (self._state + count * _GOLDEN) % _WORD
        return words

    def _words_from(self, start: int, count: int) -> NDArray[np.uint64]:
        """The words from a number on, without taking them off the stream."""
        steps = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
        steps += np.uint64((self._state + start * _GOLDEN) % _WORD)
        return _mixed(steps)


def _normal(first: NDArray[np.uint64], second: NDArray[np.uint64], last: NDArray[np.uint64]) -> FloatArray:
    """Normal numbers of three words each: the sum of four fields of ten bits in each of two, and the third."""
    mask = np.uint64(_FIELDS)
    sums = (first & mask) + ((first >> np.uint64(10)) & mask)
    sums += second & mask
    sums += (second >> np.uint64(10)) & mask
    total = (sums & np.uint64(0xFFFFF)) + ((sums >> np.uint64(20)) & np.uint64(0xFFFFF)) + (sums >> np.uint64(40))
    fine = (last >> np.uint64(11)) * 2.0**-53
    return np.asarray((total + fine - _MIDDLE) * 2.0**-10)


def _mixed(words: NDArray[np.uint64]) -> NDArray[Any]:
    """Each word hashed, in place."""
    for shift, factor in _ROUNDS:
        words ^= words >> np.uint64(shift)
        words *= np.uint64(factor)
    words ^= words >> np.uint64(31)
    return words


NARROW = 16  # features that are too few for a row of them to be summed quickly

# Each array has a random stream of its own, so that changing one setting leaves the other arrays as they were.
STREAMS = ("x", "gamma", "beta", "dout", "running")


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """The arrays of a case, in rows and in its dtype. Shapes: inputs.x, dout (n, d); inputs.gamma, inputs.beta (d,)."""

    case: Case
    inputs: Inputs
    dout: FloatArray

    def laid_out(self, rows: FloatArray) -> FloatArray:
        """(n, d) in the shape and layout of the case."""
        return from_rows(rows, self.case.shape, self.case.channel_axis)

    def index(self, row: int, feature: int) -> tuple[int, ...]:
        """The place of an element of (n, d) in the shape and layout of the case."""
        axes = list(self.case.shape)
        axes.pop(self.case.channel_axis)
        place = [int(i) for i in np.unravel_index(row, axes)]
        place.insert(self.case.channel_axis % len(self.case.shape), feature)
        return tuple(place)

    def of_features(self, block: slice) -> Problem:
        """The problem of some features alone, in arrays of their own where these are few of many, or few at all.

        Few stand along the rows: a sum over rows of two in a row takes thirty times as long.
        """
        narrow = 1 < block.stop - block.start < NARROW
        if block == slice(0, self.dout.shape[1]) and not narrow:
            return self
        inputs = self.inputs.map(lambda array: np.array(array[..., block], order="F" if narrow else "K"))
        return Problem(self.case, inputs, np.array(self.dout[:, block], order="F" if narrow else "K"))

    def widened(self) -> Problem:
        """The problem in float64, with its numbers as they were rounded to the dtype of the case."""
        inputs = self.inputs.map(lambda array: array.astype(np.float64, copy=False))
        return Problem(self.case, inputs, self.dout.astype(np.float64, copy=False))


def draw(case: Case) -> Problem:
    """Draw the arrays of a case.

    Each array has its own stream of the seed. With z standard normal (`stream.Stream.normal`) and features j:

    - x, normal: mean + std * (offset_j + spread_j * z), offset uniform in [-2, 2], spread in [1/2, 4/5] or
      [5/4, 2] at even odds, so that no sigma is 1; outlier: the same, with one row of each feature at
      mean + size * std; constant: the same, with feature 0 at mean + std * offset_0 in every row
    - gamma, normal: both signs, |gamma| in [1/4, 3/4] or [5/4, 2] at even odds, so that none is 0 or 1; ones; zeros
    - beta, normal: z, moved away from 0 by 1/4; zeros; ones
    - dout, normal: 1 + 7/10 z of x + z, so that the routes through mean and var have their share of dx at any n, and
      not 1 / sqrt(n) of it; ones; one-hot: 1 in one row of each feature, else 0; zeros; strided: the normal one,
      handed over as every second element of an array
    - running mean and variance, in eval mode: near those of the draw, but not equal to the batch's

    An x that leaves the range of its dtype comes out infinite. An x that was recorded is read, not drawn.
    """
    stream = {name: Stream(case.seed, number) for number, name in enumerate(STREAMS)}
    if case.x.file:
        return _of_recorded(case, stream)
    n, d = case.n, case.d
    offset = stream["x"].uniform(-2, 2, d)
    spread = _away_from_one(stream["x"], d, low=(0.5, 0.8), high=(1.25, 2))
    z = stream["x"].normal(n, d)
    x = spread * z  # in place from here on: x may be as large as memory
    x += offset
    x *= case.x.std
    x += case.x.mean
    if case.x.like == "outlier":
        x[stream["x"].integers(n, d), np.arange(d)] = case.x.mean + case.x.size * case.x.std
    if case.x.like == "constant":
        x[:, 0] = case.x.mean + case.x.std * offset[0]
    running_mean = running_var = None
    if case.mode == "eval":
        running_mean = case.x.mean + case.x.std * (offset + spread * stream["running"].uniform(-0.5, 0.5, d))
        running_var = (case.x.std * spread * stream["running"].uniform(0.7, 1.4, d)) ** 2
    gamma, beta = _GAMMA[case.gamma](stream["gamma"], d), _BETA[case.beta](stream["beta"], d)
    inputs = Inputs(x, gamma, beta, case.eps, running_mean, running_var)
    return _in_its_dtype(case, inputs, _DOUT[case.dout](stream["dout"], z))


@np.errstate(over="ignore", under="ignore")
def _in_its_dtype(case: Case, inputs: Inputs, dout: FloatArray) -> Problem:
    return Problem(case, inputs.map(lambda array: rounded(array, case.dtype)), rounded(dout, case.dtype))


@np.errstate(all="ignore")
def _of_recorded(case: Case, stream: dict[str, Stream]) -> Problem:
    """Make the problem of a batch that was recorded in a file. Raises RecordingError where it cannot be read.

    Arrays that the file does not have are drawn: gamma, beta and dout as for any case, and in eval mode the running
    mean and variance near those of the batch, but not equal to them.
    """
    from bncheck.gradients import recorded  # with zipfile, for which other cases should not wait

    arrays = {name: np.asarray(array, np.float64) for name, array in recorded.arrays_of(case.x.file).items()}
    d = case.d
    x = np.ascontiguousarray(as_rows(arrays["x"], case.channel_axis))
    if "dout" in arrays:
        dout = np.ascontiguousarray(as_rows(arrays["dout"], case.channel_axis))
    else:
        dout = _DOUT[case.dout](stream["dout"], _scaled(x))
    gamma = arrays["gamma"] if "gamma" in arrays else _GAMMA[case.gamma](stream["gamma"], d)
    beta = arrays["beta"] if "beta" in arrays else _BETA[case.beta](stream["beta"], d)
    running_mean = running_var = None
    if case.mode == "eval":
        var = x.var(axis=0)
        running_mean = x.mean(axis=0) + np.sqrt(var) * stream["running"].uniform(-0.5, 0.5, d)
        running_mean = arrays.get("running_mean", running_mean)
        running_var = arrays.get("running_var", var * stream["running"].uniform(0.7, 1.4, d) ** 2)
    return _in_its_dtype(case, Inputs(x, gamma, beta, case.eps, running_mean, running_var), dout)


def _away_from_one(stream: Stream, d: int, low: tuple[float, float], high: tuple[float, float]) -> FloatArray:
    """Uniform in `low` or in `high`, at even odds, shape (d,)."""
    u = stream.uniform(0, 2, d)
    return np.where(u < 1, low[0] + (low[1] - low[0]) * u, high[0] + (high[1] - high[0]) * (u - 1))


def _normal_gamma(stream: Stream, d: int) -> FloatArray:
    signs: FloatArray = np.where((np.arange(d) + stream.integers(2, 1)) % 2, -1.0, 1.0)
    return signs * _away_from_one(stream, d, low=(0.25, 0.75), high=(1.25, 2))


def _normal_beta(stream: Stream, d: int) -> FloatArray:
    z = stream.normal(d)
    return z + np.copysign(0.25, z)


def _scaled(x: FloatArray) -> FloatArray:
    """x - mean in units of its largest element in each feature: as good as x_hat to lean on, and never 0 / 0."""
    centred = x - x.mean(axis=0)
    largest = np.abs(centred).max(axis=0)
    return np.asarray(centred / np.where(largest > 0, largest, 1))


def _leaning(stream: Stream, z: FloatArray) -> FloatArray:
    """z of x stands for x_hat, which takes sums, and those are not the same to the bit on every platform."""
    leaning = stream.normal(*z.shape)
    z *= 0.7  # nobody needs it any more
    z += 1
    leaning += z
    return leaning


def _one_hot(stream: Stream, z: FloatArray) -> FloatArray:
    n, d = z.shape
    return np.asarray((np.arange(n)[:, None] == stream.integers(n, d)).astype(np.float64))


_EVEN: dict[str, Callable[[Stream, int], FloatArray]] = {
    "ones": lambda stream, d: np.ones(d),
    "zeros": lambda stream, d: np.zeros(d),
}
_GAMMA, _BETA = {"normal": _normal_gamma, **_EVEN}, {"normal": _normal_beta, **_EVEN}
_DOUT: dict[str, Callable[[Stream, FloatArray], FloatArray]] = {
    "normal": _leaning,
    "strided": _leaning,
    "ones": lambda stream, z: np.ones(z.shape),
    "one-hot": _one_hot,
    "zeros": lambda stream, z: np.zeros(z.shape),
}


def out_of_range(problem: Problem, stages: Stages, scales: Gradients) -> str:
    """Why the dtype of the case cannot carry this problem, as a sentence; empty where it can.

    `stages` and `scales` are those of the problem in float64. A correct implementation would overflow here, or
    divide by zero, so that nothing can be said about it.
    """
    dtype, (_, largest, _, held_in) = problem.case.dtype, precision(problem.case.dtype)
    wide = np.result_type(held_in, np.float32)
    widest = float(np.finfo(wide).max)
    file = problem.case.x.file
    if not problem.case.x.finite:
        from bncheck.gradients import recorded

        if reason := recorded.not_finite(file, recorded.arrays_of(file)):
            return f"{reason}; gradients there are no numbers"
    if not np.all(np.isfinite(problem.inputs.x)):
        cure = "use a wider dtype" if file else "use a smaller mean or std"
        return f"x does not fit in {dtype}, whose largest number is {largest:.4g}; {cure}"
    smallest = float(np.finfo(wide).tiny) / float(np.finfo(wide).eps)
    squares = float(np.max(stages.var)) * problem.case.n
    if not squares < widest:
        return f"the variance of x overflows {wide}, whose largest number is {widest:.4g}; use a smaller std"
    lost = np.any(stages.centred != 0, axis=0) & (stages.var + problem.case.eps < smallest)
    if np.any(lost):
        digits = f"which has all digits down to {smallest:.4g} alone"
        return f"the variance of x underflows {wide}, {digits}; use a larger std"
    if np.any(stages.var.astype(wide) + wide.type(problem.case.eps) == 0):
        return "variance + eps is 0 in some feature, and batch normalisation divides by its root; use eps > 0"
    for node in ("beta", "gamma", "x"):
        size = float(np.max(scales.of(node)))
        if not size < largest / 4:
            reaches = f"the gradient of {node} reaches {size:.4g}, and {dtype} ends at {largest:.4g}"
            return f"{reaches}; use a larger std or eps"
    return ""
