"""Code whose arithmetic loses digits is said to; code that is wrong is never said to lose any."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bncheck import batchnorm
from bncheck.batchnorm import FloatArray
from bncheck.case import Case, XDraw
from bncheck.check import check
from bncheck.comparison import Comparison, Verdict
from bncheck.implementations.binding import bind
from bncheck.implementations.convention import Convention
from bncheck.implementations.foreign import Foreign
from bncheck.method import EXTENDED, methods
from bncheck.problem import draw
from bncheck.report import CaseReport
from bncheck.roundoff import sentence, usual_cause
from tests.conftest import REGIMES

Cache = tuple[FloatArray, FloatArray, FloatArray]
Gradients = tuple[FloatArray, FloatArray, FloatArray]
Form = tuple[Callable[..., Any], Callable[..., Any]]

ROUNDOFF = "roundoff, not a wrong formula: the same code is right in "
UNKNOWN = "this is no batch normalisation that is known; its gradients are judged against its own forward"

has_80_bits = pytest.mark.skipif(EXTENDED not in methods(), reason="longdouble is no finer than float64 here")


def one_pass(x: FloatArray, gamma: FloatArray, beta: FloatArray, eps: float) -> tuple[FloatArray, Cache]:
    mean = x.mean(axis=0)
    std = np.sqrt((x * x).mean(axis=0) - mean * mean + eps)
    x_hat = (x - mean) / std
    return gamma * x_hat + beta, (x_hat, std, gamma)


def two_pass(x: FloatArray, gamma: FloatArray, beta: FloatArray, eps: float) -> tuple[FloatArray, Cache]:
    std = np.sqrt(x.var(axis=0) + eps)
    x_hat = (x - x.mean(axis=0)) / std
    return gamma * x_hat + beta, (x_hat, std, gamma)


def through_a_float32_buffer(
    x: FloatArray, gamma: FloatArray, beta: FloatArray, eps: float
) -> tuple[FloatArray, Cache]:
    _, (x_hat, std, gamma) = two_pass(x, gamma, beta, eps)
    buffer = np.zeros(x.shape, np.float32)
    buffer[:] = x_hat
    return gamma * buffer + beta, (buffer, std, gamma)


def right(dout: FloatArray, cache: Cache) -> Gradients:
    x_hat, std, gamma = cache
    n = len(dout)
    dbeta, dgamma = dout.sum(axis=0), (dout * x_hat).sum(axis=0)
    return gamma / (n * std) * (n * dout - dbeta - x_hat * dgamma), dgamma, dbeta


def right_in_a_float32_buffer(dout: FloatArray, cache: Cache) -> Gradients:
    dx, dgamma, dbeta = right(dout, cache)
    return dx.astype(np.float32).astype(dx.dtype), dgamma, dbeta


def without_routes(dout: FloatArray, cache: Cache) -> Gradients:
    _, dgamma, dbeta = right(dout, cache)
    return cache[2] / cache[1] * dout, dgamma, dbeta


def with_a_slip(dout: FloatArray, cache: Cache) -> Gradients:
    dx, dgamma, dbeta = right(dout, cache)
    return dx * 1.001, dgamma * 1.001, dbeta


def without_gamma(dout: FloatArray, cache: Cache) -> Gradients:
    x_hat, std, gamma = cache
    return right(dout, (x_hat, std, np.ones_like(gamma)))


def by_the_batch(dout: FloatArray, cache: Cache) -> Gradients:
    dx, dgamma, dbeta = right(dout, cache)
    return dx / len(dout), dgamma / len(dout), dbeta / len(dout)


FAULTS = [without_routes, with_a_slip, without_gamma, by_the_batch]
CONVENTION = Convention(
    forward="forward(x, gamma, beta, eps) -> out, cache", backward="backward(dout, cache) -> dx, dgamma, dbeta"
)


def checked(case: Case, forward: Callable[..., Any], backward: Callable[..., Any]) -> CaseReport:
    namespace = {"forward": forward, "backward": backward}
    return check(case, Foreign(bind(namespace, "backward", CONVENTION, case)))


def not_passed(report: CaseReport) -> list[Comparison]:
    return [row for row in report.comparisons if row.verdict is not Verdict.PASS]


# --- what loses digits -------------------------------------------------------------------------------------------


@has_80_bits
@pytest.mark.parametrize("mean", [1e3, 1e4, 1e5, 1e6, 1e7, 1e8])
@pytest.mark.parametrize("shape", [(16, 8), (100, 3)], ids=["16x8", "100x3"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_variance_in_one_pass_is_roundoff_or_unresolved(shape: tuple[int, ...], mean: float, seed: int) -> None:
    case = Case(shape=shape, x=XDraw(mean=mean), seed=seed)
    for row in not_passed(checked(case, one_pass, right)):
        if row.verdict is Verdict.FAIL:
            assert "roundoff, not a wrong formula: " in row.note, (row.node, row)


@has_80_bits
def test_the_sentence_says_in_what_arithmetic_and_how_many_digits() -> None:
    report = checked(Case(shape=(16, 3), x=XDraw(mean=1e4)), one_pass, right)
    out = report.comparisons[0]
    centred = "the same code is right where the mean is taken off x first"
    usually = "usually by a variance in one pass, mean(x^2) - mean^2"
    far = f"where the mean is 2e4 times sigma: {usually}"
    assert out.note == f"roundoff, not a wrong formula: {centred}; 8 digits are lost here, {far}"
    var = report.comparisons[4]
    assert (var.node, var.note) == ("var", f"{ROUNDOFF}80-bit arithmetic; 8 digits are lost here, {far}")


@pytest.mark.parametrize("mean", [1e3, 3e3, 1e4, 2e4])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_in_float32_too_a_variance_in_one_pass_is_roundoff_or_unresolved(mean: float, seed: int) -> None:
    report = checked(Case(shape=(16, 3), x=XDraw(mean=mean), dtype="float32", seed=seed), one_pass, right)
    for row in not_passed(report):
        assert "roundoff, not a wrong formula: " in row.note, (row.node, row)


def test_float32_is_held_against_float64() -> None:
    report = checked(Case(shape=(16, 3), x=XDraw(mean=100), dtype="float32"), one_pass, right)
    notes = {row.node: row.note for row in not_passed(report)}
    far = "where the mean is 215 times sigma: usually by a variance in one pass, mean(x^2) - mean^2"
    assert notes["out"] == notes["x"] == f"{ROUNDOFF}float64; 5 digits are lost here, {far}"
    assert set(notes) == {"out", "gamma", "var", "x"}


def test_a_variance_in_one_pass_is_fine_where_nothing_is_lost() -> None:
    for dtype in ("float64", "float32", "float16"):
        assert not_passed(checked(Case(shape=(16, 3), dtype=dtype), one_pass, right)) == []


# --- float32 inside ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_float32_buffer_is_right_in_float32_and_below(dtype: str) -> None:
    report = checked(Case(shape=(16, 3), dtype=dtype), two_pass, right_in_a_float32_buffer)
    assert not_passed(report) == []


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_forward_through_float32_fails_nowhere_in_float32_and_below(dtype: str) -> None:
    report = checked(Case(shape=(16, 3), dtype=dtype), through_a_float32_buffer, right)
    assert [row for row in report.comparisons if row.verdict is Verdict.FAIL] == []
    assert report.comparisons[0].verdict is Verdict.PASS


def test_a_forward_through_float32_is_known_for_what_it_is_in_float64() -> None:
    report = checked(Case(shape=(16, 3)), through_a_float32_buffer, right)
    out = report.comparisons[0]
    assert out.verdict is Verdict.FAIL
    assert UNKNOWN not in out.note


# --- what is wrong -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", FAULTS, ids=lambda function: function.__name__)
@pytest.mark.parametrize("regime", REGIMES)
def test_a_fault_is_never_called_roundoff(regime: str, fault: Callable[..., Any]) -> None:
    case = REGIMES[regime]
    if case.mode == "eval":
        pytest.skip("these are called in train mode")
    faulty = {row.node: row for row in checked(case, two_pass, fault).comparisons}
    for node, row in faulty.items():
        assert "roundoff" not in row.note, (node, row)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda function: function.__name__)
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_a_fault_fails_in_every_dtype_and_is_not_called_roundoff(dtype: str, fault: Callable[..., Any]) -> None:
    case = Case(shape=(16, 3), dtype=dtype)
    if fault is with_a_slip and dtype == "float16":
        pytest.skip("a thousandth is as little as float16 can tell")
    failed = [row for row in not_passed(checked(case, two_pass, fault)) if row.verdict is Verdict.FAIL]
    assert "x" in [row.node for row in failed]
    assert not any("roundoff" in row.note for row in failed)


def by_the_second_moment(x: FloatArray, gamma: FloatArray, beta: FloatArray, eps: float) -> tuple[FloatArray, Cache]:
    std = np.sqrt((x * x).mean(axis=0) + eps)
    x_hat = (x - x.mean(axis=0)) / std
    return gamma * x_hat + beta, (x_hat, std, gamma)


def without_the_mean(x: FloatArray, gamma: FloatArray, beta: FloatArray, eps: float) -> tuple[FloatArray, Cache]:
    std = np.sqrt(x.var(axis=0) + eps)
    x_hat = x / std
    return gamma * x_hat + beta, (x_hat, std, gamma)


@pytest.mark.parametrize("mean", [0, 1, 1e4, 1e5, 1e6, 1e7, 1e8])
@pytest.mark.parametrize("forward", [by_the_second_moment, without_the_mean], ids=lambda function: function.__name__)
def test_a_forward_that_is_right_at_mean_0_alone_is_not_called_roundoff(
    forward: Callable[..., Any], mean: float
) -> None:
    report = checked(Case(shape=(16, 3), x=XDraw(mean=mean)), forward, right)
    out = report.comparisons[0]
    assert (out.verdict, out.note, report.note) == (Verdict.FAIL, UNKNOWN, "")


@pytest.mark.parametrize("fault", [without_routes, without_gamma, by_the_batch], ids=lambda function: function.__name__)
def test_a_fault_beside_lost_digits_is_still_a_fault(fault: Callable[..., Any]) -> None:
    report = checked(Case(shape=(16, 3), x=XDraw(mean=1e4)), one_pass, fault)
    x = report.comparisons[-1]
    assert (x.node, x.verdict) == ("x", Verdict.FAIL)
    assert "roundoff" not in x.note


# --- the sentence ------------------------------------------------------------------------------------------------


def failing(error: float) -> Comparison:
    report = checked(Case(shape=(16, 3)), two_pass, without_routes)
    row = report.comparisons[-1]
    return Comparison(**{name: getattr(row, name) for name in Comparison.__slots__} | {"error": error})


def test_digits_that_hardly_count_are_not_counted() -> None:
    assert sentence(failing(1e-7), 1e-16, "float32", "") == f"{ROUNDOFF}float64"
    assert sentence(failing(6e-7), 1e-15, "float32", "") == f"{ROUNDOFF}float64"
    assert sentence(failing(6e-6), 1e-15, "float32", "") == f"{ROUNDOFF}float64; 2 digits are lost here"


def test_what_fails_as_much_in_wider_arithmetic_is_no_roundoff() -> None:
    assert sentence(failing(1e-3), 1e-3, "float32", "") == ""
    assert sentence(failing(1e-3), 2e-5, "float32", "") == ""
    assert sentence(failing(1e-3), np.nan, "float32", "") == ""
    assert sentence(failing(np.nan), 1e-3, "float32", "") == ""


@pytest.mark.parametrize(
    ("case", "told"),
    [
        (Case(shape=(16, 3)), ""),
        (Case(shape=(16, 3), x=XDraw(mean=5)), ""),
        (Case(shape=(16, 1), x=XDraw(like="constant", mean=1e4), eps=0), ""),
        (
            Case(shape=(16, 1), x=XDraw(mean=1e90, std=1e82)),
            ", where the mean is 2e8 times sigma: usually by a variance in one pass, mean(x^2) - mean^2",
        ),
        (
            Case(shape=(16, 1), x=XDraw(mean=1e3), mode="eval"),
            ", where the mean is 1059 times sigma: usually by a variance in one pass, mean(x^2) - mean^2",
        ),
    ],
)
def test_a_usual_cause_is_told_where_the_mean_is_far_from_nought(case: Case, told: str) -> None:
    with np.errstate(all="ignore"):
        inputs = draw(case).inputs
        assert usual_cause(inputs, batchnorm.forward(inputs)) == told
