"""Finite-difference stencils, as values: adding one is adding a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Stencil:
    """f'(0) = sum(weight * f(offset * step)) / step + O(step ** order).

    `weights` maps offset to weight, exactly, so that they serve in any arithmetic. Their moments, the sums of
    weight * offset ** k, are 0, 1, 0, 0, ... for k = 0 .. order. `lower` is a stencil of lower order on some of the
    same points, whose difference from this one measures truncation.
    """

    order: int
    weights: Mapping[int, Fraction] = field(hash=False)
    lower: Stencil | None
    source: str


def _row(order: int, weights: dict[int, str], lower: Stencil | None, source: str) -> Stencil:
    exact = {offset: Fraction(weight) for offset, weight in weights.items()}
    return Stencil(order, MappingProxyType(exact), lower, source)


ORDER_1 = _row(1, {0: "-1", 1: "1"}, None, "Newton's forward difference")
ORDER_2 = _row(2, {-1: "-1/2", 1: "1/2"}, ORDER_1, "Fornberg (1988), Table 1, order 2")
ORDER_3 = _row(
    3,
    {-1: "-1/3", 0: "-1/2", 1: "1", 2: "-1/6"},
    ORDER_2,
    "Abramowitz & Stegun (1964), Table 25.2, four points",
)
ORDER_4 = _row(
    4,
    {-2: "1/12", -1: "-2/3", 1: "2/3", 2: "-1/12"},
    ORDER_2,
    "Fornberg (1988), Table 1, order 4",
)
ORDER_6 = _row(
    6,
    {-3: "-1/60", -2: "3/20", -1: "-3/4", 1: "3/4", 2: "-3/20", 3: "1/60"},
    ORDER_4,
    "Fornberg (1988), Table 1, order 6",
)
ORDER_8 = _row(
    8,
    {-4: "1/280", -3: "-4/105", -2: "1/5", -1: "-4/5", 1: "4/5", 2: "-1/5", 3: "4/105", 4: "-1/280"},
    ORDER_6,
    "Fornberg (1988), Table 1, order 8",
)
STENCILS = (ORDER_1, ORDER_2, ORDER_3, ORDER_4, ORDER_6, ORDER_8)
