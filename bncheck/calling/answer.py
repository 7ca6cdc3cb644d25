"""What their backward gave, read and brought into rows, with what is wrong with its form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bncheck.calling.layout import Layout
from bncheck.gradients.batchnorm import FloatArray

Breach = tuple[str, str]

MIXED = "a feature of out depends on another feature of x, and batch normalisation never mixes features"


@dataclass(frozen=True, slots=True)
class Answer:
    """What their forward and backward gave, before any judgement.

    Shapes: out, x (n, d); gamma, beta, mean, var (d,). A gradient is None where there was none, or none that could
    be brought into that shape. `breaches` are pairs of a row (out, x, gamma, beta, mean, var) and a sentence.
    `grain`, (d,) by row, is how coarsely a gradient shows that is read off an update of its parameter: rounding the
    parameter itself may move it by so much. A gradient that is given has none.
    """

    out: FloatArray | None
    x: FloatArray | None = None
    gamma: FloatArray | None = None
    beta: FloatArray | None = None
    mean: FloatArray | None = None
    var: FloatArray | None = None
    breaches: tuple[Breach, ...] = ()
    grain: Mapping[str, FloatArray] = field(default_factory=dict)

    def of(self, row: str) -> FloatArray | None:
        """The array of one row."""
        found: FloatArray | None = getattr(self, row)
        return found

    def of_features(self, block: slice) -> Answer:
        """The answer in some features alone."""
        arrays = {row: self.of(row) for row in ("out", "x", "gamma", "beta", "mean", "var")}
        some = {row: None if array is None else array[..., block] for row, array in arrays.items()}
        return Answer(**some, breaches=self.breaches, grain={row: grain[block] for row, grain in self.grain.items()})


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads their gradients, noting what is wrong with the form of each.

    `dtype` is that of the inputs, `features` their number, `parameters` the shape that gamma has in their hands.
    """

    layout: Layout
    parameters: tuple[int, ...]
    features: int
    dtype: np.dtype[Any]
    breaches: list[Breach] = field(default_factory=list)

    def note(self, row: str, sentence: str) -> None:
        """Keep a breach, once."""
        if (row, sentence) not in self.breaches:
            self.breaches.append((row, sentence))

    def x(self, value: Any) -> FloatArray | None:
        """dx as (n, d), or None."""
        array = self._numbers("x", value)
        fitting = None if array is None else self._fitting("x", array, self.layout.shape(self.features))
        return None if fitting is None else self.layout.rows(fitting)

    def parameter(self, row: str, value: Any) -> FloatArray | None:
        """dgamma or dbeta as (d,), or None."""
        array = self._numbers(row, value)
        fitting = None if array is None else self._fitting(row, array, self.parameters)
        return None if fitting is None else np.array(fitting.reshape(self.features))

    def statistic(self, row: str, value: Any) -> FloatArray | None:
        """dmean or dvar as (d,), or None. No shape is prescribed for them: they stay inside a layer."""
        array = self._numbers(row, value)
        if array is None:
            return None
        if array.size == self.features:
            return np.array(array.reshape(self.features))
        self.note(row, f"d{row} has shape {array.shape}, expected {self.features} numbers, one a feature")
        return None

    def _numbers(self, row: str, value: Any) -> FloatArray | None:
        name = f"d{row}"
        if value is None:
            self.note(row, f"{name} is None")
            return None
        array = as_array(value)
        if array is None or array.dtype.kind not in "fiub":
            self.note(row, f"{name} is {described(value)}, expected an array of numbers")
            return None
        # A plain number has no dtype of its own. Wider than asked for is no loss, and is rounded by whoever compares.
        if isinstance(value, np.ndarray | np.generic) and not np.can_cast(self.dtype, array.dtype, "safe"):
            self.note(row, f"{name} has dtype {array.dtype}, expected {self.dtype}")
        return array.astype(np.result_type(array.dtype, self.dtype), copy=False)

    def _fitting(self, row: str, array: FloatArray, shape: tuple[int, ...]) -> FloatArray | None:
        """The array in `shape`, which it must have; or where only axes of length 1 are amiss."""
        if array.shape == shape:
            return array
        self.note(row, f"d{row} has shape {array.shape}, expected {shape}{_remedy(array.shape, shape)}")
        if _without_ones(array.shape) == _without_ones(shape):
            return array.reshape(shape)
        return None


def as_array(value: Any) -> FloatArray | None:
    """The value as an array; None where it is none."""
    try:
        return np.asarray(value)
    except (ValueError, TypeError):
        return None


def described(value: Any) -> str:
    """What a value is, for a sentence: an array of shape (4, 5), a tuple of 3, a str."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} of shape {value.shape}"
    if isinstance(value, tuple | list | dict):
        return f"a {type(value).__name__} of {len(value)}"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _remedy(found: tuple[int, ...], expected: tuple[int, ...]) -> str:
    if len(found) > len(expected) and _without_ones(found) == _without_ones(expected):
        return "; drop keepdims in its sum" if len(expected) < 2 else "; drop the axis that is too many"
    if len(found) < len(expected) and _without_ones(found) == _without_ones(expected):
        return ", the shape of gamma; use keepdims in its sum"
    if len(expected) < 2 and len(found) > 1:
        return "; sum it over the rows"
    return ""
