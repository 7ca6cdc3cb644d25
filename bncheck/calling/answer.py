"""The answer of an implementation: what its backward gave, brought into rows, with what is wrong with its form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bncheck.calling.arrays import kind_of, numbers
from bncheck.calling.layout import Layout
from bncheck.gradients.batchnorm import FloatArray

Breach = tuple[str, str]
"""A row, and a sentence about it."""

MIXED = "a feature of out depends on another feature of x, and batch normalisation never mixes features"


@dataclass(frozen=True, slots=True)
class LineAnswer:
    """The gradient that one formula gives where all that it reads is right, in rows, and the one that it must give.

    `name` is that of a node, or else its own; `text` stands in the line `number` of `file`.
    `key` is that of what it is the gradient of. Shapes: value, right (n, d) or (d,); scale, roundoff (d,). `handed_on`
    is the right one in the shape of theirs. `sentence` says why there is no value.
    """

    name: str
    file: str
    number: int
    text: str
    key: str
    right: FloatArray
    scale: FloatArray
    handed_on: FloatArray
    value: FloatArray | None = None
    roundoff: FloatArray | None = None
    sentence: str = ""

    @property
    def distance(self) -> float:
        """The distance of the value from the right one, relative to the largest size; infinite without one."""
        if self.value is None:
            return np.inf
        return float(np.max(np.abs(self.value - self.right)) / (np.max(self.scale) or 1))


@dataclass(frozen=True, slots=True)
class Answer:
    """The results of their forward and backward, before any judgement.

    Shapes: out, x (n, d); gamma, beta, mean, var (d,). A gradient is None where there was none, or none that could
    be brought into that shape. `breaches` are pairs of a row (out, x, gamma, beta, mean, var) and a sentence; `notes`
    are such pairs too, about what is unusual and does no harm.
    `unjudged` says, by row, why a gradient that there is cannot be judged. `grain`, (d,) by row, is how coarsely one
    shows: the rounding of its parameter where it is read off an update of that, its own rounding where it comes in too
    narrow a dtype. Other gradients have none. `lines` are the formulas of code that is judged line by line.
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
    lines: tuple[LineAnswer, ...] = ()

    def of(self, row: str) -> FloatArray | None:
        """The array of one row."""
        found: FloatArray | None = getattr(self, row)
        return found

    def of_features(self, block: slice) -> Answer:
        """The answer in some features alone."""
        some = {
            row: None if (array := self.of(row)) is None else np.array(array[..., block], order="F") for row in ROWS
        }
        return replace(self, **some, grain={row: grain[block] for row, grain in self.grain.items()})  # type: ignore[arg-type]


ROWS = ("out", "x", "gamma", "beta", "mean", "var")

PART = 2**16
"""Elements that are compared at a time."""


def differing(first: Answer, second: Answer) -> tuple[str, ...]:
    """The rows in which two answers to one question differ."""
    return tuple(row for row in ROWS if differ(first.of(row), second.of(row)))


def differ(first: FloatArray | None, second: FloatArray | None) -> bool:
    """Whether two arrays differ by more than the order of some sum could make them."""
    if first is None or second is None:
        return (first is None) != (second is None)
    if first is second or np.array_equal(first, second):
        return False
    # In parts, for allclose takes several arrays as large as what it is given.
    firsts, seconds = (np.array_split(array, 1 + first.size // PART) for array in (first, second))
    largest = max(float(np.max(np.abs(part), initial=0, where=np.isfinite(part))) for part in firsts)
    close = 64 * float(np.finfo(first.dtype).eps) * largest
    pairs = zip(firsts, seconds, strict=True)
    return not all(np.allclose(*pair, rtol=0, atol=close, equal_nan=True) for pair in pairs)


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads their gradients, noting what is wrong with the form of each, and how coarsely it shows.

    `dtype` is that of the inputs, `features` their number, `parameters` the shape that gamma has in their hands.
    """

    layout: Layout
    parameters: tuple[int, ...]
    features: int
    dtype: np.dtype[Any]
    breaches: list[Breach] = field(default_factory=list)
    notes: list[Breach] = field(default_factory=list)
    grain: dict[str, FloatArray] = field(default_factory=dict)

    def breach(self, row: str, sentence: str) -> None:
        """Keep a breach, once."""
        if (row, sentence) not in self.breaches:
            self.breaches.append((row, sentence))

    def read(self, row: str, value: Any, like: FloatArray | None = None) -> FloatArray | None:
        """The gradient of a row, (n, d) at x and (d,) elsewhere; or None. At x `like`, where it is the same."""
        array = self._numbers(row, value)
        if array is None:
            return None
        # A plain number has no dtype of its own. Wider than asked for is no loss, and is rounded by whoever compares.
        dtype = array.dtype if hasattr(value, "dtype") else self.dtype
        is_narrow = not np.can_cast(self.dtype, dtype, "safe")
        if is_narrow:
            self.breach(row, f"d{row} has dtype {dtype}, expected {self.dtype}")
        fitting = self._fitting(row, array.astype(np.result_type(array.dtype, self.dtype), copy=False))
        if fitting is None:
            return None
        found = self.layout.rows(fitting, like) if row == "x" else np.array(fitting.reshape(self.features))
        if is_narrow:
            largest = np.max(np.abs(np.atleast_2d(found)), axis=0)
            # Whole numbers may have been cut off rather than rounded.
            self.grain[row] = largest * float(np.finfo(dtype).eps) if dtype.kind == "f" else np.ones_like(largest)
        return found

    def _numbers(self, row: str, value: Any) -> FloatArray | None:
        array = as_array(value)
        if array is not None and array.dtype.kind in "fiub":
            return array
        found = "None" if value is None else f"{described(value)}, expected an array of numbers"
        self.breach(row, f"d{row} is {found}")
        return None

    def _fitting(self, row: str, array: FloatArray) -> FloatArray | None:
        """The array in the shape that it must have, or where only axes of length 1 are amiss.

        None is prescribed for dmean and dvar: they stay inside a layer.
        """
        found = array.shape
        if row in ("mean", "var"):
            if array.size == self.features:
                return array
            self.breach(row, f"d{row} has shape {found}, expected {self.features} numbers, one a feature")
            return None
        expected = self.layout.shape(self.features) if row == "x" else self.parameters
        unusual = "" if row == "x" else _unusual(row, found, expected)
        if unusual:
            self.notes.append((row, unusual))
        elif found != expected:
            self.breach(row, f"d{row} has shape {found}, expected {expected}{_remedy(found, expected)}")
        return array.reshape(expected) if _without_ones(found) == _without_ones(expected) else None


def as_array(value: Any) -> FloatArray | None:
    """The value as an array of NumPy; None where it is none."""
    try:
        found: FloatArray = numbers(value)
    except (ValueError, TypeError):
        return None
    return found


def described(value: Any) -> str:
    """A value in words, for a sentence: an array of float64 of shape (4, 5), a tuple of 3, a str."""
    if kind_of(value) is not None:
        value = numbers(value)
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
    missing = len(expected) - len(found)
    if (found, expected) == ((1,), ()):
        return f"d{row} is an array of one, and {row} a number{right}"
    if missing > 0 and (1,) * missing + found == expected:
        axes = "an axis" if missing == 1 else f"{missing} axes"
        return f"d{row} lacks {axes} of length 1 that {row} has{right}"
    return ""


def _remedy(found: tuple[int, ...], expected: tuple[int, ...]) -> str:
    is_alike = _without_ones(found) == _without_ones(expected)
    if len(found) > len(expected) and is_alike:
        return "; drop keepdims in its sum" if len(expected) < 2 else "; drop the axis that is too many"
    if len(found) < len(expected) and is_alike:
        return ", the shape of gamma; use keepdims in its sum"
    return "; sum it over the rows" if len(expected) < 2 <= len(found) else ""
