"""How arrays stand in the hands of an implementation: x in its layout, gamma and beta in their shape."""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bncheck.case import Convention
from bncheck.gradients.batchnorm import FloatArray, Inputs, as_rows, from_rows

if TYPE_CHECKING:  # a case holds a convention
    from bncheck.case import Case

_AXES = {
    2: "(N, D)",
    3: "(N, C, L)",
    4: "(N, C, H, W)",
    5: "(N, C, D, H, W)",
}


class Layout(NamedTuple):
    """Where the channels stand among the axes of x, whatever their number.

    `others` are the lengths of the other axes, in order; `channel_axis` is not negative.
    """

    others: tuple[int, ...]
    channel_axis: int

    @property
    def axes(self) -> int:
        """The number of axes of x."""
        return len(self.others) + 1

    def shape(self, features: int) -> tuple[int, ...]:
        """The shape of x with that many features."""
        return (*self.others[: self.channel_axis], features, *self.others[self.channel_axis :])

    def laid_out(self, rows: FloatArray) -> FloatArray:
        """A new array, of the rows (n, m)."""
        return np.array(from_rows(rows, self.shape(rows.shape[1]), self.channel_axis), order="C")

    def rows(self, laid_out: FloatArray) -> FloatArray:
        """A new array (n, m), of one that stands in this layout."""
        return np.array(as_rows(laid_out, self.channel_axis), order="C")


def layout_of(case: Case, layout: str) -> Layout:
    """The layout that a convention names, for the shape of the case; rows stay in the order of the case."""
    given = case.channel_axis % len(case.shape)
    others = case.shape[:given] + case.shape[given + 1 :]
    match layout:
        case "(n, d)" | "channels last":
            return Layout(others, len(others))
        case "(d, n)":
            return Layout(others, 0)
        case "channels first":
            return Layout(others, 1)
        case _:
            return Layout(others, given)


def parameter_shape(parameters: str, features: int, axes: int) -> tuple[int, ...]:
    """The shape of gamma for x with that many axes. Those written with four axes have as many as x."""
    match parameters:
        case "(d,)":
            return (features,)
        case "(1, d)":
            return (1, features)
        case "(d, 1)":
            return (features, 1)
        case "(d, 1, 1)":
            return (features, *[1] * (axes - 2))
        case "(1, d, 1, 1)":
            return (1, features, *[1] * (axes - 2))
        case "(1, 1, 1, d)":
            return (*[1] * (axes - 1), features)
        case "(1,)":
            return (1,)
        case _:
            return ()


def features_of(inputs: Inputs) -> Iterator[Inputs]:
    """The inputs of each feature alone."""
    for j in range(inputs.x.shape[1]):
        yield inputs.map(itemgetter((..., slice(j, j + 1))))


def not_taken(name: str, convention: Convention, case: Case) -> str:
    """Why x of this case cannot be handed over, as a sentence; empty where it can."""
    axes = convention.axes or ((2,) if convention.layout in ("(n, d)", "(d, n)") else ())
    if not axes or len(case.shape) in axes:
        return ""
    taken = " or ".join(_in_letters(convention.layout, count) for count in axes)
    shape = "x".join(map(str, case.shape))
    return f"{name} takes {taken}; shape {shape} has {len(case.shape)} axes"


def _in_letters(layout: str, axes: int) -> str:
    if layout == "(d, n)":
        return "(D, N)"
    letters = _AXES.get(axes, f"{axes} axes")
    if layout == "channels last" and axes > 2:
        return letters.replace(" C,", "").replace(")", ", C)")
    return letters
