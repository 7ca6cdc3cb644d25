"""The answer of an implementation: what its backward gave, brought into rows, with what is wrong with its form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bncheck.calling.layout import Layout
from bncheck.gradients.batchnorm import FloatArray

Breach = tuple[str, str]
"""A row, and a sentence about it."""

MIXED = "a feature of out depends on another feature of x, and batch normalisation never mixes features"


@dataclass(frozen=True, slots=True)
class Answer:
    """The results of their forward and backward, before any judgement.

    Shapes: out, x (n, d); gamma, beta, mean, var (d,). A gradient is None where there was none, or none that could
    be brought into that shape. `breaches` are pairs of a row (out, x, gamma, beta, mean, var) and a sentence; `notes`
    are such pairs too, about what is unusual and does no harm.
    `unjudged` says, by row, why a gradient that there is cannot be judged. `grain`, (d,) by row, is how coarsely one
    shows: the rounding of its parameter where it is read off an update of that, its own rounding where it comes in too
    narrow a dtype. Other gradients have none.
    """

    out: FloatArray | None
    x: FloatArray | None = None
    gamma: FloatArray | None = None
    beta: FloatArray | None = None
    mean: FloatArray | None = None
    var: FloatArray | None = None
    breaches: tuple[Breach, ...] = ()
    notes: tuple[Breach, ...] = ()
    unjudged: Mapping[str, str] = field(default_factory=dict)
    grain: Mapping[str, FloatArray] = field(default_factory=dict)

    def of(self, row: str) -> FloatArray | None:
        """The array of one row."""
        found: FloatArray | None = getattr(self, row)
        return found

    def of_features(self, block: slice) -> Answer:
        """The answer in some features alone."""
        some = {row: None if (array := self.of(row)) is None else array[..., block] for row in ROWS}
        return replace(self, **some, grain={row: grain[block] for row, grain in self.grain.items()})  # type: ignore[arg-type]


ROWS = ("out", "x", "gamma", "beta", "mean", "var")


def differing(first: Answer, second: Answer) -> tuple[str, ...]:
    """The rows in which two answers to one question differ by more than the order of some sum could make them."""
    return tuple(row for row in ROWS if _differ(first.of(row), second.of(row)))


def _differ(first: FloatArray | None, second: FloatArray | None) -> bool:
    if first is None or second is None:
        return (first is None) != (second is None)
    if np.array_equal(first, second):
        return False
    largest = float(np.max(np.abs(first), initial=0, where=np.isfinite(first)))
    close = 64 * float(np.finfo(first.dtype).eps) * largest
    return not np.allclose(first, second, rtol=0, atol=close, equal_nan=True)


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
    notes: list[Breach] = field(default_factory=list)
    narrow: dict[str, np.dtype[Any]] = field(default_factory=dict)

    def breach(self, row: str, sentence: str) -> None:
        """Keep a breach, once."""
        if (row, sentence) not in self.breaches:
            self.breaches.append((row, sentence))

    def grain(self, row: str, gradient: FloatArray) -> FloatArray | None:
        """The rounding of a gradient that came in too narrow a dtype, (d,); None of any other."""
        if row not in self.narrow:
            return None
        dtype = self.narrow[row]
        largest = np.max(np.abs(np.atleast_2d(gradient)), axis=0)
        # Whole numbers may have been cut off rather than rounded.
        return np.asarray(largest * float(np.finfo(dtype).eps) if dtype.kind == "f" else np.ones_like(largest))

    def x(self, value: Any) -> FloatArray | None:
        """dx as (n, d), or None."""
        array = self._numbers("x", value)
        fitting = None if array is None else self._fitting("x", array, self.layout.shape(self.features))
        return None if fitting is None else self.layout.rows(fitting)

    def parameter(self, row: str, value: Any) -> FloatArray | None:
        """dgamma or dbeta as (d,), or None."""
        array = self._numbers(row, value)
        if array is None:
            return None
        unusual = _unusual(row, array.shape, self.parameters)
        if unusual:
            self.notes.append((row, unusual))
            return np.array(array.reshape(self.features))
        fitting = self._fitting(row, array, self.parameters)
        return None if fitting is None else np.array(fitting.reshape(self.features))

    def statistic(self, row: str, value: Any) -> FloatArray | None:
        """dmean or dvar as (d,), or None. No shape is prescribed for them: they stay inside a layer."""
        array = self._numbers(row, value)
        if array is None:
            return None
        if array.size == self.features:
            return np.array(array.reshape(self.features))
        self.breach(row, f"d{row} has shape {array.shape}, expected {self.features} numbers, one a feature")
        return None

    def _numbers(self, row: str, value: Any) -> FloatArray | None:
        name = f"d{row}"
        if value is None:
            self.breach(row, f"{name} is None")
            return None
        array = as_array(value)
        if array is None or array.dtype.kind not in "fiub":
            self.breach(row, f"{name} is {described(value)}, expected an array of numbers")
            return None
        # A plain number has no dtype of its own. Wider than asked for is no loss, and is rounded by whoever compares.
        if isinstance(value, np.ndarray | np.generic) and not np.can_cast(self.dtype, array.dtype, "safe"):
            self.breach(row, f"{name} has dtype {array.dtype}, expected {self.dtype}")
            self.narrow[row] = array.dtype
        return array.astype(np.result_type(array.dtype, self.dtype), copy=False)

    def _fitting(self, row: str, array: FloatArray, shape: tuple[int, ...]) -> FloatArray | None:
        """The array in `shape`, which it must have; or where only axes of length 1 are amiss."""
        if array.shape == shape:
            return array
        self.breach(row, f"d{row} has shape {array.shape}, expected {shape}{_remedy(array.shape, shape)}")
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
    """A value in words, for a sentence: an array of float64 of shape (4, 5), a tuple of 3, a str."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} of shape {value.shape}"
    if isinstance(value, tuple | list | dict):
        return f"a {type(value).__name__} of {len(value)}"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _unusual(row: str, found: tuple[int, ...], expected: tuple[int, ...]) -> str:
    """The note on a gradient in another shape than its parameter, where `gamma -= rate * dgamma` is right all the same.

    That it is where every element meets its own, and the parameter keeps its shape: the gradient lacks leading axes of
    length 1; or the parameter is a number, and becomes an array of one. Empty where there is nothing to note.
    """
    right = f"; an update {row} -= rate * d{row} is right all the same"
    if found == expected:
        return ""
    if not expected:
        return f"d{row} is an array of one, and {row} a number{right}" if found == (1,) else ""
    if len(found) < len(expected) and (1,) * (len(expected) - len(found)) + found == expected:
        return f"d{row} lacks {_axes(len(expected) - len(found))} of length 1 that {row} has{right}"
    return ""


def _axes(count: int) -> str:
    return "an axis" if count == 1 else f"{count} axes"


def _remedy(found: tuple[int, ...], expected: tuple[int, ...]) -> str:
    if len(found) > len(expected) and _without_ones(found) == _without_ones(expected):
        return "; drop keepdims in its sum" if len(expected) < 2 else "; drop the axis that is too many"
    if len(found) < len(expected) and _without_ones(found) == _without_ones(expected):
        return ", the shape of gamma; use keepdims in its sum"
    if len(expected) < 2 and len(found) > 1:
        return "; sum it over the rows"
    return ""
