"""Arrays as they stand in the hands of an implementation: x in its layout, gamma and beta in their shape."""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from bncheck.case import ARRANGEMENTS, SHAPES_OF_GAMMA, Case, Convention
from bncheck.gradients.batchnorm import FloatArray, Inputs

_ARRANGEMENT = {row.name: row for row in ARRANGEMENTS}
_SHAPE_OF_GAMMA = {row.name: row for row in SHAPES_OF_GAMMA}

# What the axes of x are called, but for that of the channels, by how many axes x has.
_OTHERS = {2: ("N",), 3: ("N", "L"), 4: ("N", "H", "W"), 5: ("N", "D", "H", "W")}


class Layout(NamedTuple):
    """The place of the channels among the axes of x, whatever their number.

    `others` are the lengths of the other axes, in order; `channel_axis` is not negative. With `strided_dout`, dout is
    handed over as every second element of a wider array.
    """

    others: tuple[int, ...]
    channel_axis: int
    strided_dout: bool = False

    @property
    def axes(self) -> int:
        """The number of axes of x."""
        return len(self.others) + 1

    def shape(self, features: int) -> tuple[int, ...]:
        """The shape of x with that many features."""
        return (*self.others[: self.channel_axis], features, *self.others[self.channel_axis :])

    def laid_out(self, rows: FloatArray) -> FloatArray:
        """A new array in this layout, in C order, of the rows (n, m)."""
        return np.array(self.seen(rows), order="C")

    def dout(self, rows: FloatArray) -> FloatArray:
        """A new dout in this layout, of the rows (n, m): no number stands between its elements where it is strided."""
        if not self.strided_dout:
            return self.laid_out(rows)
        wide = np.full((*self.shape(rows.shape[1]), 2), np.nan, dtype=rows.dtype)
        wide[..., 0] = self.seen(rows)
        return wide[..., 0]

    def seen(self, rows: FloatArray) -> FloatArray:
        """The rows (n, m) in this layout, without a copy where there need not be one: to be read, not handed over."""
        if len(self.others) == 1:
            return rows if self.channel_axis else rows.T
        return np.moveaxis(rows.reshape(*self.others, rows.shape[1]), -1, self.channel_axis)

    def rows(self, laid_out: FloatArray, like: FloatArray | None = None) -> FloatArray:
        """A new array (n, m), in C order, of one that stands in this layout; or `like`, where that has its numbers."""
        if like is not None and like.dtype == laid_out.dtype and np.array_equal(self.seen(like), laid_out):
            return like
        last = laid_out if len(self.others) == self.channel_axis else np.moveaxis(laid_out, self.channel_axis, -1)
        return np.array(last, order="C").reshape(-1, laid_out.shape[self.channel_axis])


def layout_of(case: Case, layout: str) -> Layout:
    """The layout that a convention names, for the shape of the case; rows stay in the order of the case."""
    given = case.channel_axis % len(case.shape)
    others = case.shape[:given] + case.shape[given + 1 :]
    return Layout(others, _ARRANGEMENT[layout].channel_axis(given, len(others)), case.dout == "strided")


def parameter_shape(parameters: str, features: int, axes: int) -> tuple[int, ...]:
    """The shape of gamma for x with that many axes. Those written with four axes have as many as x."""
    return _SHAPE_OF_GAMMA[parameters].shape(features, axes)


def features_of(inputs: Inputs) -> Iterator[Inputs]:
    """The inputs of each feature alone."""
    for j in range(inputs.x.shape[1]):
        yield inputs.map(itemgetter((..., slice(j, j + 1))))


def not_taken(name: str, convention: Convention, case: Case) -> str:
    """Why x of this case cannot be handed over, as a sentence; empty where it can."""
    axes = convention.axes or _ARRANGEMENT[convention.layout].axes
    if not axes or len(case.shape) in axes:
        return ""
    taken = " or ".join(_in_letters(convention.layout, count) for count in axes)
    shape = "x".join(map(str, case.shape))
    return f"{name} takes {taken}; shape {shape} has {len(case.shape)} axes"


def _in_letters(layout: str, axes: int) -> str:
    """The axes of x in a layout, such as (N, H, W, C)."""
    if axes not in _OTHERS:
        return f"{axes} axes"
    letters = list(_OTHERS[axes])
    letters.insert(_ARRANGEMENT[layout].channel_axis(1, axes - 1), "D" if axes == 2 else "C")
    return f"({', '.join(letters)})"
