"""Sizes on which a failure depends, and the least case that fails in the same way."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bncheck.case import Case, Verdict
from bncheck.gradients.batchnorm import FloatArray
from bncheck.gradients.problem import Problem, draw

if TYPE_CHECKING:
    from bncheck.report import CaseReport

SECONDS = 2.0  # that looking for a boundary may take
DIGITS = 6  # significant ones that numbers are rounded to at most, before they are left as they were drawn
SMALLEST = ((3, 1), (1, 3), (2, 1), (1, 2), (2, 2), (4, 1))  # samples, and places in each, that are tried first
ON_PAPER = 24  # elements of x, at most, in a table that can be followed with a pencil


class Answered(NamedTuple):
    """The report of a problem, with the gradients that were given and the right ones by row, where these are known."""

    report: CaseReport
    given: Mapping[str, FloatArray]
    right: Mapping[str, FloatArray]


@dataclass(frozen=True, slots=True)
class Boundary:
    """Neighbouring sizes, `right` and `wrong`, of n, d, or N, the number of images. `fault` is a name of the catalogue.

    With a `multiple` it is right at that size and twice that size, and wrong in between; else it is wrong from `wrong`
    on, or with `alone` right again at the next size.
    """

    quantity: str
    right: int
    wrong: int
    multiple: int = 0
    alone: bool = False

    @property
    def fault(self) -> str:
        """The fault of the catalogue that shows so."""
        name = self.quantity.lower()
        return f"wrong-where-{name}-is-odd" if self.multiple else f"wrong-from-some-{name}"

    @property
    def sentence(self) -> str:
        """The sizes in words."""
        name = self.quantity
        if self.multiple:
            return f"it is wrong where {name} is {'odd' if self.multiple == 2 else f'no multiple of {self.multiple}'}"
        if self.alone:
            return f"it is wrong at {name} = {self.wrong}, right at {self.right} and at {self.wrong + 1}"
        return f"it is right up to {name} = {self.right}, and wrong from {self.wrong}"


@dataclass(frozen=True, slots=True)
class LeastCase:
    """The smallest problem found that fails in the same way, in rows: x and dout (n, d), gamma and beta (d,).

    `given` and `right` are the gradients of the rows that fail. Of a problem that is too large for paper there is one
    of the `features`, which do not see each other; of one with too many rows there is the shape alone.
    """

    shape: tuple[int, ...]
    eps: float
    features: list[int]
    x: list[list[float]]
    dout: list[list[float]]
    gamma: list[float]
    beta: list[float]
    given: dict[str, list[Any]]
    right: dict[str, list[Any]]


class Followed(NamedTuple):
    """Everything that was found of a failure by checking other problems."""

    boundaries: tuple[Boundary, ...] = ()
    least: LeastCase | None = None


class UnansweredError(Exception):
    """A check of another size ended otherwise than in a verdict, or the time was over."""


@dataclass(slots=True)
class Allowance:
    """The time until which checks may run. None is begun that would end later, if it took as long as the `quickest`."""

    until: float
    quickest: float = math.inf

    @property
    def is_spent(self) -> bool:
        """Whether no time is left for a check; of the first, nobody knows how long it takes."""
        return time.perf_counter() + (self.quickest if self.quickest < math.inf else 0.0) > self.until


@dataclass(frozen=True, slots=True)
class Failure:
    """A case that failed, and a way to check other problems with the same code, for so long."""

    report: CaseReport
    check: Callable[[Problem], Answered]
    allowance: Allowance

    def answered(self, problem: Problem) -> Answered:
        """The answer to another problem. Raises UnansweredError where their code raises, and when the time is over."""
        if self.allowance.is_spent:
            raise UnansweredError
        began = time.perf_counter()
        try:
            return self.check(problem)
        except Exception as error:  # whatever their code raises at a size that nobody asked for
            raise UnansweredError from error
        finally:
            self.allowance.quickest = min(self.allowance.quickest, time.perf_counter() - began)

    def fails(self, case: Case) -> bool:
        """Whether a case fails at some row where this one does. Raises UnansweredError."""
        found = self.answered(draw(case)).report
        if found.verdict not in (Verdict.PASS, Verdict.FAIL):
            raise UnansweredError
        return bool(_failing(found) & _failing(self.report))

    def is_told_of(self, problem: Problem) -> bool:
        """Whether another problem has the diagnosis of this failure."""
        try:
            return diagnosis_of(self.answered(problem).report) == diagnosis_of(self.report)
        except UnansweredError:
            return False

    def sized(self, quantity: str, size: int) -> Case:
        """The case with another number of features, or of samples."""
        case, others = self.report.case, _without_channels(self.report.case)
        return laid_out(case, (size, *others[1:]), case.d) if quantity == "n" else laid_out(case, others, size)


def diagnosis_of(report: CaseReport) -> object:
    """A key that is equal where the same is wrong: what was found, or where nothing was, the rows that fail."""
    found = tuple((f.rows, f.keys, f.faults[:1], f.fits, f.region is None) for f in report.findings)
    return (report.verdict, found or _failing(report))


def _failing(report: CaseReport) -> frozenset[str]:
    return frozenset(row.node for row in report.comparisons if row.verdict is Verdict.FAIL)


def _without_channels(case: Case) -> tuple[int, ...]:
    axis = case.channel_axis % len(case.shape)
    return case.shape[:axis] + case.shape[axis + 1 :]


def laid_out(case: Case, others: tuple[int, ...], d: int) -> Case:
    """The case with other lengths of its axes, which are samples, then places in each."""
    axis = case.channel_axis % len(case.shape)
    return replace(case, shape=(*others[:axis], d, *others[axis:]), label="")


# --- the boundary --------------------------------------------------------------------------------------------------


def boundary(failure: Failure, quantity: str) -> Boundary | None:
    """The size from which a case fails, or of which it fails at no multiple; None where size does not matter.

    Raises UnansweredError.
    """
    case = failure.report.case
    unit = case.n // case.samples if quantity == "n" else 1
    size, first = (case.samples, -(-3 // unit)) if quantity == "n" else (case.d, 1)
    name = "N" if unit > 1 else quantity
    power = 1 << (size - 1).bit_length() - 1 if size > 1 else 0  # the largest power of two below it
    if power < first:
        return None

    def fails(at: int) -> bool:
        return failure.fails(failure.sized(quantity, at))

    low, high = (first, power) if fails(power) else (power, size)
    if low == power > first and fails(power - 1):
        while power // 2 > first and not fails(power // 2):
            power //= 2
        power = 2 if power == 4 and not fails(6) else power
        found = Boundary(name, 2 * power, 2 * power - 1, multiple=power)
        return None if fails(found.right) or not fails(found.wrong) or not fails(found.right + 1) else found
    if low == high or (low == first and fails(low)):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fails(middle) else (middle, high)
    return Boundary(name, low, high, alone=not fails(high + 1))


# --- the least case --------------------------------------------------------------------------------------------------


def least(failure: Failure, boundaries: Sequence[Boundary] = ()) -> LeastCase | None:
    """The smallest problem with the same diagnosis, in numbers as short as can be; None where time was over.

    Below a boundary there is none to be found.
    """
    tried = () if any(found.wrong > 4 for found in boundaries) else _smallest(failure.report.case)
    case = next((small for small in tried if failure.is_told_of(draw(small))), None)
    drawn = draw(case or _reduced(failure, boundaries))
    for digits in range(DIGITS):
        short = _rounded(drawn, digits)
        if len(drawn.dout) <= ON_PAPER and failure.is_told_of(short):
            drawn = short
            break
    try:
        return _table(drawn, failure.answered(drawn))
    except UnansweredError:
        return None


def _smallest(case: Case) -> Iterator[Case]:
    """The case with two to four rows of one to three features; those of two, where dx nearly vanishes, come last."""
    places = len(case.shape) - 2
    for d, (samples, place) in itertools.product((1, 2, 3), SMALLEST):
        if d <= case.d and samples * place <= case.n and (places or place == 1):
            yield laid_out(case, (samples, *([1] * (places - 1)), *([place] * (places > 0))), d)


def _reduced(failure: Failure, boundaries: Sequence[Boundary]) -> Case:
    """The case with as few places in each image, samples and features as leave the diagnosis as it is."""
    case, known = failure.report.case, {found.quantity.lower(): found.wrong for found in boundaries}
    for axis in range(1, len(case.shape) - 1):
        others = _without_channels(case)
        fewer = laid_out(case, (*others[:axis], 1, *others[axis + 1 :]), case.d)
        case = fewer if failure.is_told_of(draw(fewer)) else case
    for quantity in ("n", "d"):
        of = replace(failure, report=replace(failure.report, case=case))
        unit = case.n // case.samples if quantity == "n" else 1
        high = case.samples if quantity == "n" else case.d
        low = 2 if quantity == "n" and unit == 1 else 0
        if quantity in known and of.is_told_of(draw(at := of.sized(quantity, known[quantity]))):
            case = at
            continue
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if of.is_told_of(draw(of.sized(quantity, middle))) else (middle, high)
        case = of.sized(quantity, high)
    return case


def _rounded(problem: Problem, digits: int) -> Problem:
    """The problem with so many digits after the first one of the largest number in each array."""

    def short(array: FloatArray) -> FloatArray:
        size = float(np.max(np.abs(array), initial=0))
        if not 0 < size < math.inf:
            return array
        return np.asarray(np.round(array.astype(np.float64), digits - math.floor(math.log10(size))).astype(array.dtype))

    return replace(problem, inputs=problem.inputs.map(short), dout=short(problem.dout))


def _table(problem: Problem, found: Answered) -> LeastCase:
    n, d = problem.dout.shape
    off = [feature for finding in found.report.findings for feature in finding.features]
    features = [] if n > ON_PAPER else list(range(d)) if n * d <= ON_PAPER else off[:1]

    def written(array: FloatArray) -> Any:
        return (array[..., features].astype(np.float64) + 0.0).tolist()  # and no -0

    rows: list[str] = [row for row in ("x", "gamma", "beta") if row in found.given and row in _failing(found.report)]
    given, right = ({row: written(of[row]) for row in rows} for of in (found.given, found.right))
    inputs = problem.inputs
    x, dout, gamma, beta = map(written, (inputs.x, problem.dout, inputs.gamma, inputs.beta))
    return LeastCase(problem.case.shape, inputs.eps, features, x, dout, gamma, beta, given, right)


# --- both ------------------------------------------------------------------------------------------------------------


def follow(report: CaseReport, check: Callable[[Problem], Answered], seconds: float) -> Followed:
    """Look for the boundaries of a failure, and then, for so many seconds, for its least case.

    A case of a recorded batch stays as it is. Where the diagnosis is the same for three rows of one feature and for
    four, and for one image, size does not matter. Beside a forward that is wrong, nothing is known to be right.
    """
    if report.verdict is not Verdict.FAIL or report.case.x.file:
        return Followed()
    allowance = Allowance(time.perf_counter() + SECONDS)
    failure = Failure(report, check, allowance)
    places = len(report.case.shape) - 2
    tried = [(n, *(1,) * places) for n in (3, 4)] + [(1,) * places + (3,)] * (places > 0)
    found: list[Boundary] = []
    if not all(failure.is_told_of(draw(laid_out(report.case, others, 1))) for others in tried):
        for quantity in ("n", "d"):
            try:
                found += filter(None, [boundary(failure, quantity)])
            except UnansweredError:
                continue
    if not seconds or "out" in _failing(report):
        return Followed(tuple(found))
    allowance.until = time.perf_counter() + seconds
    return Followed(tuple(found), least(failure, found))
