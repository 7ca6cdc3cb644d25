"""Failures followed up: the sizes at which code is wrong, and the least problem that shows it."""

from __future__ import annotations

import textwrap
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bncheck.case import Case, Convention, Origin, Verdict, XDraw
from bncheck.discovery import check_in, follow_in
from bncheck.faults import reduction
from bncheck.faults.catalogue import BY_NAME
from bncheck.faults.reduction import Answered, Followed, diagnosis_of
from bncheck.gradients import batchnorm
from bncheck.gradients.problem import Problem
from bncheck.report import CaseReport

FUNCTIONS = Convention(
    forward="forward(x, gamma, beta, eps) -> out, cache", backward="backward(dout, cache) -> dx, dgamma, dbeta"
)
IMAGES = replace(FUNCTIONS, layout="channels last")
CODE = """
import numpy as np

def forward(x, gamma, beta, eps):
    axes = tuple(range(x.ndim - 1))
    mean, var = x.mean(axis=axes), x.var(axis=axes)
    x_hat = (x - mean) / np.sqrt(var + eps)
    return gamma * x_hat + beta, (x_hat, gamma / np.sqrt(var + eps))

def backward(dout, cache):
    x_hat, scale = cache
    axes = tuple(range(dout.ndim - 1))
    n, d, N = dout.size // dout.shape[-1], dout.shape[-1], len(dout)
    dbeta, dgamma = dout.sum(axis=axes), (dout * x_hat).sum(axis=axes)
    dx = scale * (dout - dbeta / n - x_hat * dgamma / n)
{slip}
    return dx, dgamma, dbeta
"""


@pytest.fixture(autouse=True)
def _time_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty seconds to look for a boundary, lest a busy machine make a test fail."""
    monkeypatch.setattr(reduction, "SECONDS", 60.0)


def code(slip: str) -> dict[str, Any]:
    """A right pair of functions with some lines more before it returns dx."""
    namespace: dict[str, Any] = {}
    exec(CODE.replace("{slip}", textwrap.indent(slip, "    ")), namespace)
    return namespace


def failed(slip: str, shape: tuple[int, ...], **settings: Any) -> CaseReport:
    """The report of a failure."""
    convention = IMAGES if len(shape) > 2 else FUNCTIONS
    case = Case(shape=shape, origin=Origin(place="layers.py", convention=convention), member="backward", **settings)
    report = check_in(code(slip), convention, case)
    assert report.verdict is Verdict.FAIL
    return report


def followed(slip: str, shape: tuple[int, ...], **settings: Any) -> Followed:
    return follow_in(code(slip), failed(slip, shape, **settings), 30.0)


NO_VAR = "dx += scale * x_hat * dgamma / n"

# --- the boundary ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slip", "shape", "sentence"),
    [
        ("if n >= 769: dx[768:] *= 1.5", (1023, 3), "it is right up to n = 768, and wrong from 769"),
        (f"if n > 10: {NO_VAR}", (33, 2), "it is right up to n = 10, and wrong from 11"),
        (f"if d > 64: {NO_VAR}", (7, 127), "it is right up to d = 64, and wrong from 65"),
        (f"if d == 65: {NO_VAR}", (7, 65), "it is wrong at d = 65, right at 64 and at 66"),
        ("dx[n // 64 * 64:] = 0", (200, 3), "it is wrong where n is no multiple of 64"),
        ("dx[n // 64 * 64:] = 0", (65, 3), "it is wrong where n is no multiple of 64"),
        ("dx[n // 2 * 2:] = 0", (33, 3), "it is wrong where n is odd"),
        ("dx[:, d // 8 * 8:] = 0", (9, 30), "it is wrong where d is no multiple of 8"),
        ("dx[:, d // 2 * 2:] = 0", (9, 31), "it is wrong where d is odd"),
        (f"if N > 1: {NO_VAR}", (5, 3, 4, 4), "it is right up to N = 1, and wrong from 2"),
    ],
)
def test_sizes_at_which_it_is_wrong_are_told(slip: str, shape: tuple[int, ...], sentence: str) -> None:
    assert [found.sentence for found in followed(slip, shape).boundaries] == [sentence]


@pytest.mark.parametrize("shape", [(33, 5), (64, 64), (65, 67), (3, 4, 4, 2)])
def test_what_is_wrong_at_every_size_has_no_boundary(shape: tuple[int, ...]) -> None:
    assert followed(NO_VAR, shape).boundaries == ()


def test_what_is_right_at_one_size_by_chance_has_no_boundary() -> None:
    assert followed("dx = scale * (dout - dbeta / d - x_hat * dgamma / d)", (6, 4)).boundaries == ()


def test_code_that_raises_at_other_sizes_has_no_boundary() -> None:
    slip = f"if n < 40: raise ValueError('too small')\nif n > 50: {NO_VAR}"
    assert followed(slip, (60, 3)).boundaries == ()


def test_every_boundary_is_a_fault_of_the_catalogue() -> None:
    slips = {"n": "dx[n // 2 * 2:] = 0", "d": f"if d > 6: {NO_VAR}"}
    names = {found.fault for slip in slips.values() for found in followed(slip, (33, 7)).boundaries}
    assert names == {"wrong-where-n-is-odd", "wrong-from-some-d"}
    assert names <= set(BY_NAME)


# --- the least case --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slip", "shape", "least"),
    [
        (NO_VAR, (65, 67), (3, 1)),
        ("dx = -dx", (8, 3, 3, 5), (3, 1, 1, 1)),
        ("dgamma = dgamma / n", (16, 8), (3, 1)),
        ("dgamma = dgamma / N", (4, 3, 3, 5), (2, 1, 2, 1)),
        (f"if n > 10: {NO_VAR}", (33, 4), (11, 1)),
        (f"if d > 64: {NO_VAR}", (33, 127), (3, 65)),
        ("dx[:, 1:] = 0", (6, 4), (3, 2)),
    ],
)
def test_failure_is_reduced_to_the_smallest_shape_with_its_diagnosis(
    slip: str, shape: tuple[int, ...], least: tuple[int, ...]
) -> None:
    axis = {"channel_axis": -1}
    found = followed(slip, shape, **axis).least
    assert found is not None
    assert found.shape == least


def test_the_least_case_fails_with_the_same_diagnosis_in_the_numbers_that_it_shows() -> None:
    report = failed(NO_VAR, (16, 8))
    found = follow_in(code(NO_VAR), report, 30.0).least
    assert found is not None
    x, dout, gamma, beta = map(np.array, (found.x, found.dout, found.gamma, found.beta))
    assert x.shape == (3, 1)
    inputs = batchnorm.Inputs(x, gamma, beta, found.eps)
    right, _ = batchnorm.backward(inputs, batchnorm.forward(inputs), dout)
    np.testing.assert_allclose(found.right["x"], right.x, rtol=1e-12)
    _, cache = code(NO_VAR)["forward"](x, gamma, beta, found.eps)
    np.testing.assert_allclose(found.given["x"], code(NO_VAR)["backward"](dout, cache)[0], rtol=1e-12)
    assert np.max(np.abs(found.right["x"] - np.array(found.given["x"]))) > 0.01


def test_its_numbers_have_as_few_digits_as_can_be() -> None:
    found = followed(NO_VAR, (16, 8)).least
    assert found is not None
    assert all(len(repr(abs(value))) <= 4 for (value,) in (*found.x, *found.dout))


def test_a_least_case_too_large_for_paper_shows_one_feature_or_its_shape_alone() -> None:
    wide, tall = followed("if d > 64: dx[:, 64] = 0", (33, 127)).least, followed("dx[100:] = 0", (200, 3)).least
    assert wide is not None
    assert (wide.shape, wide.features, np.shape(wide.x)) == ((3, 66), [64], (3, 1))
    assert tall is not None
    assert (tall.shape, tall.features) == ((101, 1), [])


def test_a_recorded_batch_stays_as_it_is() -> None:
    report = failed(NO_VAR, (16, 8))
    report = replace(report, case=replace(report.case, x=XDraw(file="batch.npz")))
    assert follow_in(code(NO_VAR), report, 30.0) == Followed()


def test_beside_a_wrong_forward_there_is_no_least_case() -> None:
    namespace = code("")
    right = namespace["forward"]
    namespace["forward"] = lambda x, gamma, beta, eps: right(x, gamma, -beta, eps)
    report = check_in(namespace, FUNCTIONS, failed(NO_VAR, (16, 8)).case)
    assert [row.node for row in report.comparisons if row.verdict is Verdict.FAIL] == ["out", "beta"]
    assert [row.note for row in report.comparisons if row.node == "out"] == [
        "where beta is 0 it gives batch normalisation; here, in float64, its out is off by more than rounding explains"
    ]
    assert follow_in(namespace, report, 30.0).least is None


def test_without_seconds_there_is_no_least_case() -> None:
    assert follow_in(code(NO_VAR), failed(NO_VAR, (16, 8)), 0.0).least is None


def test_diagnosis_of_another_fault_is_another() -> None:
    keys = [diagnosis_of(failed(slip, (16, 8))) for slip in (NO_VAR, "dx = -dx", "dx[10:] = 0", "dx[10:] += 1")]
    assert len(set(keys)) == 4


@pytest.mark.parametrize("seconds", [0.0, 30.0], ids=["boundaries alone", "the least case too"])
def test_slow_code_is_called_once_where_another_check_would_take_longer_than_there_is(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, checked = [0.0], []

    def check(problem: Problem) -> Answered:
        now[0] += 40.0
        checked.append(problem.case.shape)
        return Answered(report, {}, {})

    monkeypatch.setattr(reduction, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(reduction, "SECONDS", 2.0)
    report = failed(NO_VAR, (16, 8))
    assert reduction.follow(report, check, seconds) == Followed()
    assert checked == [(3, 1)]
