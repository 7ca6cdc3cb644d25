"""Roundoff, or a wrong formula: the same code tells, in wider arithmetic or on data that are easier to round."""

from __future__ import annotations

import math

import numpy as np

from bncheck.comparison import Comparison

WIDER = {"float16": "float64", "float32": "float64", "float64": "longdouble"}
GAIN = 100.0  # a wider arithmetic takes roundoff down by 2**11 at least, and leaves a wrong formula where it is

ROUNDED = "roundoff, not a wrong formula: {why}{lost}"
CENTRED = "the same code is right where the mean is taken off x first"
NARROW = "it is right to float32, so something in it is no wider"


def sentence(narrow: Comparison, wide_error: float, dtype: str) -> str:
    """What to say of a failure whose error is `wide_error` in the wider arithmetic; empty where it is no roundoff."""
    gained = wide_error * GAIN <= narrow.error if math.isfinite(narrow.error) else wide_error <= narrow.tolerance
    if not gained or not math.isfinite(wide_error):
        return ""
    arithmetic = "80-bit arithmetic" if WIDER[dtype] == "longdouble" else WIDER[dtype]
    return because(f"the same code is right in {arithmetic}", narrow, dtype)


def because(why: str, narrow: Comparison, dtype: str) -> str:
    """That it is roundoff, why, and how many digits are lost."""
    if not math.isfinite(narrow.error):
        return ROUNDED.format(why=why, lost="; all digits are lost here")
    digits = round(math.log10(max(1.0, narrow.error / (float(np.finfo(dtype).eps) / 2))))
    return ROUNDED.format(why=why, lost=f"; {digits} digits are lost here" if digits > 1 else "")
