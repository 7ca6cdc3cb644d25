"""Finite-difference stencils, as values: adding one is adding a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


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
