"""Relative error, tolerance and verdict of one node."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from bncheck.case import Verdict
from bncheck.gradients.batchnorm import FloatArray, Inputs, Stages
from bncheck.gradients.numeric import Numeric
from bncheck.gradients.problem import precision
from bncheck.gradients.yardsticks import Yardstick, relative
from bncheck.status import Hints

WRONG = "it is wrong by more than the tolerance"


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a gradient: its index in the layout of the case, and both values there."""

    index: tuple[int, ...]
    analytic: float
    numeric: float


NOWHERE = Element((), math.nan, math.nan)
"""The worst element where none is told."""


class Cause(StrEnum):
    """Cause of a failure that is no wrong formula of a gradient."""

    ROUNDOFF = "roundoff"
    MIXED = "mixed features"
    NO_GRADIENT = "not the gradient of its forward"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One node compared.

    `error`, `tolerance` and `resolution` are those of one feature, the one nearest to failing, relative to its
    `scale`; the verdict is that of all features. `off` of `size` elements are off by more than their tolerance.
    `vanishing` counts features whose gradient is nothing but roundoff. `course_error` is the largest
    |a - n| / max(1e-8, |a| + |n|), for comparison with the course notes of CS231n; nothing is judged by it.
    `own`, relative as well, is what differences of the forward under check resolve, where the numeric gradient is that
    of the reference; else it is nan.
    `implied` says that the gradient was not given, but taken from dx. `blurred` counts features that cannot be judged:
    of these even correct code may give zeros. Of a row that fails, `points` are pairs of what was given and the numeric
    gradient, at most POINTS of them, evenly from all elements. `hints` says how much of it is told: the values that are
    right only where they are `formula`, and of a failure no numbers at all where they are `verdict`. `cause` is that of
    a failure, where it is known and no wrong formula.
    """

    node: str
    verdict: Verdict
    error: float
    tolerance: float
    resolution: float
    scale: float
    worst: Element
    off: int
    size: int
    vanishing: int
    course_error: float
    method: str
    note: str = ""
    implied: bool = False
    blurred: int = 0
    points: tuple[tuple[float, float], ...] = ()
    hints: Hints = Hints.FORMULA
    cause: Cause | None = None
    own: float = math.nan

    @property
    def is_withheld(self) -> bool:
        """Whether nothing but the verdict is told of a failure."""
        return self.hints is Hints.VERDICT and self.verdict is Verdict.FAIL

    def telling(self, hints: Hints) -> Comparison:
        """The row, with no more in it than is to be told."""
        if hints is Hints.FORMULA:
            return self
        worst = NOWHERE if hints is Hints.VERDICT else replace(self.worst, numeric=math.nan)
        row = replace(self, worst=worst, scale=math.nan, points=(), hints=hints)
        if not row.is_withheld:
            return row
        note = WRONG if self.error > self.tolerance else self.note or WRONG
        return replace(row, error=math.nan, resolution=math.nan, course_error=math.nan, off=0, note=note)


POINTS = 150


@np.errstate(all="ignore")
def compare(node: str, analytic: FloatArray, numeric: Numeric, yardstick: Yardstick) -> Comparison:
    """One node's analytic gradient against its numeric one. Shapes: both (n, d) for x, else (d,)."""
    given, found = np.atleast_2d(analytic.astype(numeric.value.dtype)), np.atleast_2d(numeric.value)
    difference = np.abs(given - found)
    size, tolerance = yardstick.measured_by, yardstick.tolerance
    error = relative(difference.max(axis=0), size)
    resolution = relative(numeric.resolution, size)
    within = error <= tolerance
    fails = ~(error - resolution <= tolerance)
    passes = within & (resolution <= tolerance) & ~fails
    verdict, among = Verdict.PASS, passes
    if not passes.all():
        verdict, among = (Verdict.FAIL, fails) if fails.any() else (Verdict.UNRESOLVED, ~passes)
    nearness = np.where(np.isfinite(error), error / tolerance, np.inf)
    feature = int(np.where(among, nearness, -1).argmax())
    row = int(difference[:, feature].argmax())
    off = 0 if within.all() else int(np.count_nonzero(~(relative(difference, size) <= tolerance)))
    points = _points(given, found) if verdict is Verdict.FAIL else ()
    sizes = np.abs(given)
    sizes += np.abs(found)
    course = np.divide(difference, np.maximum(1e-8, sizes, out=sizes), out=sizes)
    return Comparison(
        node=node,
        verdict=verdict,
        error=float(error[feature]),
        tolerance=float(tolerance[feature]),
        resolution=float(resolution[feature]),
        scale=float(size[feature]),
        worst=Element(
            (row, feature) if analytic.ndim == 2 else (feature,),
            float(given[row, feature]),
            float(found[row, feature]),
        ),
        off=off,
        size=analytic.size,
        vanishing=int(np.count_nonzero(yardstick.vanishing)),
        blurred=int(np.count_nonzero(yardstick.blurred)),
        course_error=float(course.max()),
        method=numeric.method,
        points=points,
    )


def _points(given: FloatArray, found: FloatArray) -> tuple[tuple[float, float], ...]:
    """Pairs of elements at the same places, evenly from all of them."""
    at = np.unique(np.linspace(0, given.size - 1, POINTS).astype(int))
    # The list of a longdouble array has longdoubles in it.
    pairs = (array.reshape(-1)[at].astype(np.float64).tolist() for array in (given, found))
    return tuple(zip(*pairs, strict=True))


GRAVITY = (Verdict.SKIPPED, Verdict.PASS, Verdict.UNRESOLVED, Verdict.FAIL)


def gravest(rows: Sequence[Comparison]) -> int:
    """The place of the row that is nearest to failing, or furthest beyond it."""
    nearness = [row.error / row.tolerance for row in rows]
    graves = [
        (GRAVITY.index(row.verdict), near if math.isfinite(near) else math.inf)
        for row, near in zip(rows, nearness, strict=True)
    ]
    return graves.index(max(graves))


def together(rows: Sequence[Comparison]) -> Comparison:
    """The row of a node of which there is one in each block of features: the gravest, with the counts of all."""
    if len(rows) == 1:
        return rows[0]
    counts = {name: sum(getattr(row, name) for row in rows) for name in ("off", "size", "vanishing", "blurred")}
    return replace(rows[gravest(rows)], **counts, course_error=float(np.max([row.course_error for row in rows])))


def without_number(node: str, note: str) -> Comparison:
    """A row in which there is nothing to compare, with the reason."""
    nan = math.nan
    return Comparison(node, Verdict.SKIPPED, nan, nan, nan, nan, NOWHERE, 0, 0, 0, nan, "", note)


# --- roundoff, or a wrong formula -------------------------------------------------------------------------------


WIDER = {"bfloat16": "float64", "float16": "float64", "float32": "float64", "float64": "longdouble"}
GAIN = 100.0  # a wider arithmetic takes roundoff down by 2**11 at least, and leaves a wrong formula where it is

FAR = 30.0  # sigmas between the mean and 0, at which a variance in one pass loses three digits
ROUNDED = "roundoff, not a wrong formula: {why}{lost}"
CENTRED = "the same code is right where the mean is taken off x first"
NARROW = "it is right to float32, so something in it is no wider"


def in_wider(narrow: Comparison, wide_error: float, dtype: str, usually: str) -> Comparison:
    """The failure as one of roundoff, where its error is `wide_error` in wider arithmetic and that is far less."""
    gained = wide_error * GAIN <= narrow.error if math.isfinite(narrow.error) else wide_error <= narrow.tolerance
    if not gained or not math.isfinite(wide_error):
        return narrow
    arithmetic = "80-bit arithmetic" if WIDER[dtype] == "longdouble" else WIDER[dtype]
    return because(f"the same code is right in {arithmetic}", narrow, dtype, usually)


def because(why: str, narrow: Comparison, dtype: str, usually: str) -> Comparison:
    """The failure as one of roundoff: why, how many digits are lost, and the usual cause."""
    digits: float = math.inf
    if math.isfinite(narrow.error):
        digits = round(math.log10(max(1.0, narrow.error / (precision(dtype).eps / 2))))
    lost = f"; {'all' if digits == math.inf else digits} digits are lost here{usually}" if digits > 1 else ""
    return replace(narrow, note=ROUNDED.format(why=why, lost=lost), cause=Cause.ROUNDOFF)


def usual_cause(inputs: Inputs, stages: Stages) -> str:
    """The usual cause of lost digits on such data, as the end of a sentence; empty where x is not far from 0."""
    mean = np.add.reduce(inputs.x, axis=0) / len(inputs.x) if inputs.running_mean is None else inputs.running_mean
    far = float(np.max(np.abs(mean) / stages.std))
    if not FAR <= far < math.inf:
        return ""
    times = f"{far:.0e}".replace("e+0", "e").replace("e+", "e") if far >= 1e4 else f"{far:.0f}"
    return f", where the mean is {times} times sigma: usually by a variance in one pass, mean(x^2) - mean^2"
