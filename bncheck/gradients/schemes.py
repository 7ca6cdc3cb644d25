"""How to difference: a stencil, a step and an arithmetic, from the quickest to the finest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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


class Method(NamedTuple):
    """How to difference: a stencil, a step, an arithmetic ("float64" or "longdouble").

    `fraction` is the step relative to the distance over which L is smooth: for x, sigma * n / sqrt(n - 1), the
    radius of convergence of 1 / std in one row of x.
    """

    stencil: Stencil
    fraction: float
    dtype: str

    def __str__(self) -> str:
        arithmetic = "80-bit" if self.dtype == "longdouble" else self.dtype
        return f"order {self.stencil.order} in {arithmetic}"


# Order 3 at 2**-14: truncation is 2 * 2**-42, rounding 2**-53 * 2**14, both about 1e-12 and far below 1e-9.
# Order 8 at 2**-8: truncation is 576 * 2**-64, rounding 2**-53 * 2**8 or 3e-14. At 2**-9 in 80 bits: 3e-17.
EVERYDAY = Method(ORDER_3, 2.0**-14, "float64")
LONG_STEP = Method(ORDER_8, 2.0**-8, "float64")
EXTENDED = Method(ORDER_8, 2.0**-9, "longdouble")


def methods() -> tuple[Method, ...]:
    """From the quickest to the finest. Where longdouble is no finer than float64, order 8 in float64 is the last."""
    finer = np.finfo(np.longdouble).eps < np.finfo(np.float64).eps
    return (EVERYDAY, LONG_STEP, EXTENDED) if finer else (EVERYDAY, LONG_STEP)
