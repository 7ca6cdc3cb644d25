"""How to difference: a stencil, a step and an arithmetic, from the quickest to the finest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

# --- stencils ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stencil:
    """f'(0) = sum(weight * f(offset * step)) / (over * step) + O(step ** order).

    `weights` maps offset to weight, all whole numbers, so that they serve in any arithmetic. Their moments, the sums of
    weight / over * offset ** k, are 0, 1, 0, 0, ... for k = 0 .. order. `lower` is a stencil of lower order on some
    of the same points, whose difference from this one measures truncation.
    """

    order: int
    weights: Mapping[int, int] = field(hash=False)
    over: int
    lower: Stencil | None
    source: str

    @property
    def remainder(self) -> int:
        """The error of a central stencil, over step ** order times Taylor's coefficient of order + 1: (p/2)! ** 2."""
        return math.factorial(self.order // 2) ** 2

    @property
    def gain(self) -> float:
        """The standard deviation of a slope over that of the values it is made of, for a step of 1."""
        return math.sqrt(sum(weight**2 for weight in self.weights.values())) / self.over


def _row(order: int, weights: dict[int, int], over: int, lower: Stencil | None, source: str) -> Stencil:
    return Stencil(order, MappingProxyType(weights), over, lower, source)


ORDER_1 = _row(1, {0: -1, 1: 1}, 1, None, "Newton's forward difference")
ORDER_2 = _row(2, {-1: -1, 1: 1}, 2, ORDER_1, "Fornberg (1988), Table 1, order 2")
ORDER_3 = _row(3, {-1: -2, 0: -3, 1: 6, 2: -1}, 6, ORDER_2, "Abramowitz & Stegun (1964), Table 25.2, four points")
ORDER_4 = _row(4, {-2: 1, -1: -8, 1: 8, 2: -1}, 12, ORDER_2, "Fornberg (1988), Table 1, order 4")
ORDER_6 = _row(6, {-3: -1, -2: 9, -1: -45, 1: 45, 2: -9, 3: 1}, 60, ORDER_4, "Fornberg (1988), Table 1, order 6")
ORDER_8 = _row(
    8,
    {-4: 3, -3: -32, -2: 168, -1: -672, 1: 672, 2: -168, 3: 32, 4: -3},
    840,
    ORDER_6,
    "Fornberg (1988), Table 1, order 8",
)
STENCILS = (ORDER_1, ORDER_2, ORDER_3, ORDER_4, ORDER_6, ORDER_8)


class Way(StrEnum):
    """How all of dx is differenced: in one direction, or one row of x after another."""

    ALONG_DOUT = "along dout"
    ROW_BY_ROW = "row by row"


class Method(NamedTuple):
    """How to difference: a stencil, a step, an arithmetic ("float64" or "longdouble"), and for dx a way.

    `fraction` is the step relative to the distance over which out is smooth. Along a direction of root mean square 1
    in a feature that is sigma, the least radius of convergence of 1 / std; in one row of x, sigma * n / sqrt(n - 1).
    """

    stencil: Stencil
    fraction: float
    dtype: str
    way: Way = Way.ALONG_DOUT

    def __str__(self) -> str:
        return f"order {self.stencil.order} in {self._arithmetic}"

    @property
    def of_dx(self) -> str:
        """The name of the method where it differences dx."""
        return f"order {self.stencil.order} {self.way} in {self._arithmetic}"

    @property
    def _arithmetic(self) -> str:
        return "80-bit" if self.dtype == "longdouble" else self.dtype


# Order 4 at 2**-11: truncation is 4 * 2**-44, rounding 2**-53 * 2**11, both about 2e-13 and far below 1e-9.
# Order 8 at 2**-7: truncation is 576 * 2**-56, or 8e-15, rounding 2**-53 * 2**7 or 1.4e-14. At 2**-9 in 80 bits: 3e-17.
EVERYDAY = Method(ORDER_4, 2.0**-11, "float64")
LONG_STEP = Method(ORDER_8, 2.0**-7, "float64")
EXTENDED = Method(ORDER_8, 2.0**-9, "longdouble")
# One row after another, truncation is of the same size at 2**-14 and order 3.
ROWS = Method(ORDER_3, 2.0**-14, "float64", Way.ROW_BY_ROW)
ROWS_EXTENDED = Method(ORDER_8, 2.0**-9, "longdouble", Way.ROW_BY_ROW)


def methods() -> tuple[Method, ...]:
    """From the quickest to the finest. Where longdouble is no finer than float64, order 8 in float64 is the last."""
    return tuple(method for method in (EVERYDAY, LONG_STEP, EXTENDED) if _is_there(method))


def methods_by_rows() -> tuple[Method, ...]:
    """The methods for a forward whose Jacobian is not symmetric."""
    return tuple(method for method in (ROWS, ROWS_EXTENDED) if _is_there(method))


def _is_there(method: Method) -> bool:
    """Whether the platform has a longdouble finer than float64, where the method asks for one."""
    return method.dtype == "float64" or bool(np.finfo(np.longdouble).eps < np.finfo(np.float64).eps)
