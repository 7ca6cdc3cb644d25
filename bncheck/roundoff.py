"""Roundoff, or a wrong formula: the same code tells, in wider arithmetic or on data that are easier to round."""

from __future__ import annotations

import math

import numpy as np

from bncheck.batchnorm import Inputs, Stages
from bncheck.comparison import Comparison

WIDER = {"float16": "float64", "float32": "float64", "float64": "longdouble"}
GAIN = 100.0  # a wider arithmetic takes roundoff down by 2**11 at least, and leaves a wrong formula where it is

FAR = 30.0  # sigmas between the mean and 0, at which a variance in one pass loses three digits
ROUNDED = "roundoff, not a wrong formula: {why}{lost}"
CENTRED = "the same code is right where the mean is taken off x first"
NARROW = "it is right to float32, so something in it is no wider"


def sentence(narrow: Comparison, wide_error: float, dtype: str, usually: str) -> str:
    """What to say of a failure whose error is `wide_error` in the wider arithmetic; empty where it is no roundoff."""
    gained = wide_error * GAIN <= narrow.error if math.isfinite(narrow.error) else wide_error <= narrow.tolerance
    if not gained or not math.isfinite(wide_error):
        return ""
    arithmetic = "80-bit arithmetic" if WIDER[dtype] == "longdouble" else WIDER[dtype]
    return because(f"the same code is right in {arithmetic}", narrow, dtype, usually)


def because(why: str, narrow: Comparison, dtype: str, usually: str) -> str:
    """That it is roundoff, why, how many digits are lost, and what usually does that."""
    if not math.isfinite(narrow.error):
        return ROUNDED.format(why=why, lost=f"; all digits are lost here{usually}")
    digits = round(math.log10(max(1.0, narrow.error / (float(np.finfo(dtype).eps) / 2))))
    return ROUNDED.format(why=why, lost=f"; {digits} digits are lost here{usually}" if digits > 1 else "")


def usual_cause(inputs: Inputs, stages: Stages) -> str:
    """What usually costs digits on such data, to be said after how many; nothing where x is not far from 0."""
    mean = np.add.reduce(inputs.x, axis=0) / len(inputs.x) if inputs.running_mean is None else inputs.running_mean
    far = float(np.max(np.abs(mean) / stages.std))
    if not FAR <= far < math.inf:
        return ""
    times = f"{far:.0e}".replace("e+0", "e").replace("e+", "e") if far >= 1e4 else f"{far:.0f}"
    return f", where the mean is {times} times sigma: usually by a variance in one pass, mean(x^2) - mean^2"
