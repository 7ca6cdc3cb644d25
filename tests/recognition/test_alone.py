"""A backward without a forward: it is handed the statistics of x, by the names of its arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from bncheck.calling.implementation import bind
from bncheck.calling.vocabulary import SAVED
from bncheck.case import Case, Convention, Verdict
from bncheck.checking import check_with_sight
from bncheck.gradients.batchnorm import FloatArray
from bncheck.gradients.problem import draw
from bncheck.recognition.recognition import recognise
from bncheck.report import CaseReport

CASE = Case(shape=(7, 5))
BODY = """
    n = len(dy)
    dbeta, dgamma = dy.sum(axis=0), (dy * x_hat).sum(axis=0)
    return weight * rstd / n * (n * dy - dbeta - x_hat * dgamma), dgamma, dbeta
"""


def alone(arguments: str, *statements: str) -> Mapping[str, Any]:
    """A file with nothing but a backward that makes x_hat and rstd of its arguments."""
    lines = "\n".join(f"    {statement}" for statement in statements)
    namespace: dict[str, Any] = {"__name__": "theirs"}
    exec(f"import numpy as np\ndef batch_norm_backward({arguments}):\n{lines}{BODY}", namespace)
    return namespace


def found(namespace: Mapping[str, Any]) -> Convention:
    """The convention of the only implementation in a file."""
    (one,) = recognise(namespace).found
    return one.convention


def checked(namespace: Mapping[str, Any], convention: Convention | None = None) -> CaseReport:
    """A check of it."""
    convention = convention or found(namespace)
    return check_with_sight(CASE, bind(namespace, "batch_norm_backward", convention, CASE))


FROM_VAR = "rstd = 1 / np.sqrt({name} + eps); x_hat = (x - {mean}) * rstd"
READINGS = {
    "inverse std": ("dy, x, weight, save_mean, save_invstd", "rstd = save_invstd; x_hat = (x - save_mean) * rstd"),
    "rstd": ("x, dy, weight, mean, rstd", "x_hat = (x - mean) * rstd"),
    "variance": ("dy, x, weight, mean, var, eps", FROM_VAR.format(name="var", mean="mean")),
    "std": ("dy, x, weight, mean, std", "rstd = 1 / std; x_hat = (x - mean) * rstd"),
    "x_hat": ("dy, x_hat, weight, rstd", "pass"),
    "centred": ("dy, xmu, weight, ivar", "rstd = ivar; x_hat = xmu * rstd"),
    "save_var, a variance": (
        "dy, x, weight, save_mean, save_var, eps",
        FROM_VAR.format(name="save_var", mean="save_mean"),
    ),
    "save_var, an inverse std": (
        "dy, x, weight, save_mean, save_var",
        "rstd = save_var; x_hat = (x - save_mean) * rstd",
    ),
}


@pytest.mark.parametrize(("arguments", "statement"), READINGS.values(), ids=READINGS)
def test_a_backward_alone_is_checked_with_the_statistics_that_its_arguments_name(
    arguments: str, statement: str
) -> None:
    report = checked(alone(arguments, statement))
    assert report.verdict is Verdict.PASS
    assert {row.node for row in report.comparisons if not row.implied} == {"out", "beta", "gamma", "x"}


def test_the_report_says_what_each_statistic_is_read_as() -> None:
    convention = found(alone(*READINGS["save_var, an inverse std"]))
    assert convention.forward == "reference(x, gamma, beta, eps) -> out"
    assert (
        convention.backward == "batch_norm_backward(dout, x, gamma, saved_mean, saved_inverse_std) -> dx, dgamma, dbeta"
    )
    assert convention.remarks == (
        "a backward alone, with our own forward: save_mean is read as the mean, save_var is read as the inverse std",
    )


def test_an_inverse_std_taken_for_the_variance_stays_a_fault_where_its_name_is_plain() -> None:
    for name in ("save_invstd", "rstd", "inv_std"):
        wrong = alone(f"dy, x, weight, mean, {name}", f"rstd = 1 / np.sqrt({name}); x_hat = (x - mean) * rstd")
        assert "saved_inverse_std" in found(wrong).backward
        failed = {row.node for row in checked(wrong).comparisons if row.verdict is Verdict.FAIL}
        assert failed == {"gamma", "var", "x"}


def test_a_name_that_leaves_two_readings_open_is_a_variance_where_neither_is_right() -> None:
    wrong = alone("dy, x, weight, save_mean, save_var", "rstd = save_var**2; x_hat = (x - save_mean) * rstd")
    assert "saved_var" in found(wrong).backward
    assert checked(wrong).verdict is Verdict.FAIL


def test_a_mapping_that_declares_another_statistic_than_the_code_takes_fails() -> None:
    namespace = alone(*READINGS["inverse std"])
    call = "batch_norm_backward(dout, x, gamma, saved_mean, saved_var) -> dx, dgamma, dbeta"
    declared = Convention(forward="reference(x, gamma, beta, eps) -> out", backward=call)
    assert checked(namespace, declared).verdict is Verdict.FAIL


def test_a_backward_alone_for_rows_is_not_said_to_take_images() -> None:
    assert found(alone(*READINGS["inverse std"])).layout == "(n, d)"


def test_a_backward_alone_whose_gradients_have_another_shape_is_told_of_its_shape() -> None:
    namespace = alone(*READINGS["inverse std"])
    call = "batch_norm_backward(dout, x, gamma, saved_mean, saved_inverse_std) -> dx, dgamma, dbeta"
    case = Case(shape=(3, 4, 5, 6))
    convention = Convention(forward="reference(x) -> out", backward=call, parameters="(1, d, 1, 1)")
    report = check_with_sight(case, bind(namespace, "backward", convention, case))
    assert [row.note for row in report.comparisons if row.node == "gamma"] == [
        "dgamma has shape (4, 5, 6), expected (1, 4, 1, 1)"
    ]


def test_statistics_are_those_of_x() -> None:
    x, eps = draw(CASE).inputs.x, CASE.eps
    mean, var = x.mean(axis=0), x.var(axis=0)
    right: dict[str, FloatArray] = {
        "saved_mean": mean,
        "saved_sum": x.sum(axis=0),
        "saved_var": var,
        "saved_var_and_eps": var + eps,
        "saved_std": np.sqrt(var + eps),
        "saved_std_without_eps": np.sqrt(var),
        "saved_inverse_std": 1 / np.sqrt(var + eps),
        "saved_inverse_std_without_eps": 1 / np.sqrt(var),
        "saved_x_hat": (x - mean) / np.sqrt(var + eps),
        "saved_centred": x - mean,
    }
    assert set(right) == set(SAVED)
    seen: dict[str, FloatArray] = {}
    backward = f"backward(dout, {', '.join(SAVED)}) -> dx"

    def backward_of(dout: FloatArray, *saved: FloatArray) -> FloatArray:
        seen.update(zip(SAVED, saved, strict=True))
        return dout

    convention = Convention(forward="reference(x, gamma, beta) -> out", backward=backward)
    bound = bind({"backward": backward_of}, "backward", convention, CASE)
    inputs, dout = draw(CASE).inputs, draw(CASE).dout
    bound.answer(inputs, dout)
    for name, value in right.items():
        np.testing.assert_allclose(seen[name], value, rtol=1e-12, atol=1e-14, err_msg=name)


def test_what_their_own_forward_saves_takes_the_place_of_ours() -> None:
    given: list[float] = []

    def forward(x: FloatArray) -> tuple[FloatArray, float]:
        return x, 17.0

    def backward(dout: FloatArray, saved: float) -> FloatArray:
        given.append(saved)
        return dout

    convention = Convention(forward="forward(x) -> out, saved_var", backward="backward(dout, saved_var) -> dx")
    problem = draw(CASE)
    bind({"forward": forward, "backward": backward}, "backward", convention, CASE).answer(problem.inputs, problem.dout)
    assert given == [17.0]


def test_sums_over_the_whole_array_are_no_sign_of_one_gamma_for_all() -> None:
    namespace: dict[str, Any] = {"__name__": "theirs"}
    lines = ("x_hat = (x - mean) / std", "return weight / std * dy, np.sum(dy * x_hat), np.sum(dy)")
    body = "\n".join(f"    {line}" for line in lines)
    exec(f"import numpy as np\ndef batch_norm_backward(dy, x, weight, mean, std):\n{body}", namespace)
    failed = {row.node for row in checked(namespace).comparisons if row.verdict is Verdict.FAIL and not row.implied}
    assert failed == {"beta", "gamma", "x"}
