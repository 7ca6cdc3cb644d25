"""How to difference: a stencil, a step and an arithmetic, from the quickest to the finest."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bncheck import stencils
from bncheck.stencils import Stencil


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
EVERYDAY = Method(stencils.ORDER_3, 2.0**-14, "float64")
LONG_STEP = Method(stencils.ORDER_8, 2.0**-8, "float64")
EXTENDED = Method(stencils.ORDER_8, 2.0**-9, "longdouble")


def methods() -> tuple[Method, ...]:
    """From the quickest to the finest. Where longdouble is no finer than float64, order 8 in float64 is the last."""
    finer = np.finfo(np.longdouble).eps < np.finfo(np.float64).eps
    return (EVERYDAY, LONG_STEP, EXTENDED) if finer else (EVERYDAY, LONG_STEP)
