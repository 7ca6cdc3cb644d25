"""Verdicts on unusual code: that changes eps, takes no 80-bit numbers, or gives other numbers each time."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from unittest import mock

import numpy as np
import pytest

from bncheck import checking
from bncheck.calling.answer import MIXED
from bncheck.calling.implementation import Subject, bind
from bncheck.case import Case, Convention, Verdict, XDraw
from bncheck.checking import check
from bncheck.faults.catalogue import FAULTS
from bncheck.gradients.batchnorm import FloatArray
from bncheck.gradients.comparison import Comparison
from bncheck.gradients.stack import methods_by_rows
from bncheck.report import CaseReport
from tests.benchmarks.calibration import CORRECT, problems
from tests.faulty import implementation_with
from tests.test_zoo import CHECKED, Entry, convention_found, outcome

Cache = tuple[FloatArray, FloatArray, FloatArray]
Gradients = tuple[FloatArray, FloatArray, FloatArray]
Forward = Callable[[FloatArray, FloatArray, FloatArray, float], tuple[FloatArray, Cache]]
Backward = Callable[[FloatArray, Cache], Gradients]

CONVENTION = Convention(
    forward="forward(x, gamma, beta, eps) -> out, cache", backward="backward(dout, cache) -> dx, dgamma, dbeta"
)
CASE = Case(shape=(12, 5), asked=("eps", "shapes"))


def forward_with(eps_of: Callable[[float, int], float]) -> Forward:
    """A right forward that makes another eps of the one that it is given."""

    def forward(x: FloatArray, gamma: FloatArray, beta: FloatArray, eps: float) -> tuple[FloatArray, Cache]:
        std = np.sqrt(x.var(axis=0) + eps_of(eps, len(x)))
        x_hat = (x - x.mean(axis=0)) / std
        return gamma * x_hat + beta, (x_hat, std, gamma)

    return forward


plain = forward_with(lambda eps, n: eps)


def backward(dout: FloatArray, cache: Cache) -> Gradients:
    x_hat, std, gamma = cache
    g = dout * gamma
    dx = (g - g.mean(axis=0) - x_hat * (g * x_hat).mean(axis=0)) / std
    return dx, (dout * x_hat).sum(axis=0), dout.sum(axis=0)


def without_mean(dout: FloatArray, cache: Cache) -> Gradients:
    x_hat, std, gamma = cache
    g = dout * gamma
    return (g - x_hat * (g * x_hat).mean(axis=0)) / std, (dout * x_hat).sum(axis=0), dout.sum(axis=0)


def checked(case: Case, forward: Forward, backward: Backward) -> CaseReport:
    """A check of two functions."""
    return check(case, bind({"forward": forward, "backward": backward}, "backward", CONVENTION, case))


def row(report: CaseReport, node: str) -> Comparison:
    """One row."""
    return next(found for found in report.comparisons if found.node == node)


@pytest.mark.parametrize(
    ("eps_of", "told"),
    [
        (lambda eps, n: 2 * eps, "eps is 2.6e-05, not 1.3e-05"),
        (lambda eps, n: eps + 1e-6, "eps is 1.4e-05, not 1.3e-05"),
        (lambda eps, n: eps * n, "eps is 0.000156, not 1.3e-05"),
        (lambda eps, n: max(eps, 1e-3), "eps is 0.001, not 1.3e-05"),
    ],
    ids=["twice", "more", "n times", "at least"],
)
def test_a_forward_that_changes_eps_is_judged_with_what_it_makes_of_it(
    eps_of: Callable[[float, int], float], told: str
) -> None:
    report = checked(CASE, forward_with(eps_of), backward)
    assert (report.verdict, report.note) == (Verdict.PASS, told)
    wrong = checked(CASE, forward_with(eps_of), without_mean)
    assert [found.node for found in wrong.comparisons if found.verdict is Verdict.FAIL] == ["mean", "x"]
    assert not row(wrong, "x").note


def refusing(x: FloatArray, gamma: FloatArray, beta: FloatArray, eps: float) -> tuple[FloatArray, Cache]:
    if x.dtype == np.longdouble:
        raise TypeError("no such numbers here")
    return plain(x, gamma, beta, eps)


@pytest.mark.skipif(np.dtype(np.longdouble) == np.float64, reason="longdouble is float64 here")
def test_code_that_takes_no_wider_numbers_is_judged_all_the_same() -> None:
    report = checked(CASE, refusing, without_mean)
    assert report.verdict is Verdict.FAIL
    assert [finding.sentence for finding in report.findings] == [
        "x: the route through mean is missing (coefficient 0.000, expected 1); direct and through var are right."
    ]
    far = checked(Case(shape=(12, 5), x=XDraw(mean=1e6)), refusing, backward)
    assert {found.verdict for found in far.comparisons} <= {Verdict.PASS, Verdict.UNRESOLVED}


def overwriting(x: FloatArray, gamma: FloatArray, beta: FloatArray, eps: float) -> tuple[FloatArray, Cache]:
    out, cache = plain(x.copy(), gamma, beta, eps)
    x -= x.mean(axis=0)
    return out, cache


def test_a_breach_at_out_does_not_hide_what_is_wrong_with_x() -> None:
    report = checked(CASE, overwriting, without_mean)
    assert row(report, "out").note == "forward wrote into x; work on a copy"
    assert [finding.keys for finding in report.findings] == [(("through mean", "0"),)]


def test_a_forward_that_is_another_each_time_is_not_said_to_mix_features() -> None:
    calls = itertools.count()  # which is not put back between two calls, as a list would be

    def counting(x: FloatArray, gamma: FloatArray, beta: FloatArray, eps: float) -> tuple[FloatArray, Cache]:
        out, cache = plain(x, gamma, beta, eps)
        return out * (1 + 1e-6 * next(calls)), cache

    report = checked(CASE, counting, backward)
    assert "out differs when it is run again with the same input" in row(report, "out").note
    assert not [found.node for found in report.comparisons if MIXED in found.note]


# --- along dout, and row by row ----------------------------------------------------------------------------------


@contextlib.contextmanager
def row_by_row() -> Iterator[None]:
    """Difference dx one row of x after another, for as long as this lasts."""
    with mock.patch.object(checking._Judge, "methods", methods_by_rows()):
        yield


def both_ways(check_it: Callable[[], object]) -> None:
    """A check comes to the same both ways."""
    found = check_it()
    with row_by_row():
        assert check_it() == found


def verdicts_of(case: Case, subject: Subject) -> dict[str, Verdict]:
    return {row.node: row.verdict for row in check(case, subject).comparisons}


BOTH_WAYS = {
    "dense": Case(shape=(16, 8)),
    "images": Case(shape=(4, 3, 3, 2)),
    "256 rows": Case(shape=(256, 3)),
    "mean 1e4": Case(shape=(16, 8), x=XDraw(mean=1e4)),
    "float32": Case(shape=(16, 8), dtype="float32"),
}


@pytest.mark.parametrize("case", BOTH_WAYS.values(), ids=BOTH_WAYS)
def test_every_fault_of_the_catalogue_is_judged_as_row_by_row(case: Case) -> None:
    for fault in FAULTS:
        asked = replace(case, mode="eval") if fault.needs == "eval" else case
        both_ways(partial(verdicts_of, asked, implementation_with(fault, case.shape[0])))


@pytest.mark.slow
def test_calibration_problems_are_judged_as_row_by_row() -> None:
    short = (drawn.case for drawn in problems(0) if drawn.case.n <= 256)
    for case, writer in zip(itertools.islice(short, 500), itertools.cycle(CORRECT), strict=False):
        both_ways(partial(verdicts_of, case, writer))


def verdicts_in_the_zoo(entry: Entry, shape: tuple[int, ...]) -> dict[str, str]:
    return outcome(entry, shape, entry.how or convention_found(entry, shape)).verdicts


@pytest.mark.slow
def test_the_zoo_is_judged_as_row_by_row() -> None:
    for entry in CHECKED:
        for shape in entry.shapes:
            both_ways(partial(verdicts_in_the_zoo, entry, shape))
