"""Formulas as they are typed: each known fault reddens its own row alone, whatever the spelling."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bncheck.case import Case, Convention, Origin
from bncheck.discovery import check_theirs, discover
from bncheck.faults.catalogue import BY_NAME, FACTORED, FAULTS
from bncheck.gradients.batchnorm import NODES
from bncheck.recognition.formulas import is_formulas
from bncheck.report import CaseReport
from tests.conftest import TRAIN

LINES = {
    "beta": "dbeta = np.sum(dout, axis=0)",
    "gamma": "dgamma = np.sum(dout * x_hat, axis=0)",
    "dx_hat": "dx_hat = dout * gamma",
    "var": "dvar = np.sum(dx_hat * (x - mean) * -0.5 * (var + eps) ** -1.5, axis=0)",
    "mean": "dmean = np.sum(dx_hat * -1.0 / np.sqrt(var + eps), axis=0) + dvar * np.sum(-2.0 * (x - mean), axis=0) / N",
    "x": "dx = dx_hat / np.sqrt(var + eps) + dvar * 2.0 * (x - mean) / N + dmean / N",
}
"""Right formulas, by the row that each is judged in."""


CASE = Case(shape=(33, 7), eps=1.3e-5)


def origin_of(text: str) -> Origin:
    """The origin of formulas that stand in no file."""
    return Origin(place="formulas", convention=Convention(forward="", backward="", statements=text))


def checked(text: str, case: Case = CASE) -> CaseReport:
    """The report of formulas on a case."""
    origin = origin_of(text)
    found = discover(origin)
    assert not found.refusal, found.refusal
    return check_theirs(replace(case, origin=replace(origin, convention=found.members[0].convention)))


def failed(report: CaseReport) -> list[str]:
    """The rows that fail."""
    assert report.comparisons, report.reason
    return [row.node for row in report.comparisons if row.verdict == "fail"]


# The factors of the catalogue, as they are typed.
FACTORS = {
    "0": "0",
    "-1": "-1",
    "2": "2",
    "1/2": "0.5",
    "-2": "-2",
    "n": "N",
    "1/n": "1 / N",
    "n/(n-1)": "N / (N - 1)",
    "n/d": "N / D",
    "1/gamma": "1 / gamma",
    "gamma": "gamma",
    "1/gamma^2": "1 / gamma ** 2",
    "beta/gamma": "beta / gamma",
    "std": "std",
    "1/std": "1 / std",
    "std^2": "std ** 2",
    "1/std^2": "1 / std ** 2",
    "std^6": "std ** 6",
    "sigma/sqrt(var)": "np.sqrt(var + eps) / np.sqrt(var)",
    "(sigma/sqrt(var))^3": "np.sqrt(var + eps) ** 3 / np.sqrt(var) ** 3",
    "sigma/sqrt(var + 2 eps)": "np.sqrt(var + eps) / np.sqrt(var + 2 * eps)",
    "(sigma/sqrt(var + 2 eps))^3": "np.sqrt(var + eps) ** 3 / np.sqrt(var + 2 * eps) ** 3",
    "(sigma/(sigma + eps))^3": "std ** 3 / (std + eps) ** 3",
    "sigma/running sigma": "std / np.sqrt(0.9 + 0.1 * var + eps)",
}
ROW_OF_TERM = {"dbeta": "beta", "dgamma": "gamma", "dx_hat": "dx_hat", "dvar": "var", "dmean": "mean"}
DX = "dx = ({dx}) * (dx_hat / std * ({direct}) + dvar * 2 * (x - mean) / N * ({by_var}) + dmean / N * ({by_mean}))"
IN_DX = {
    "direct": ("direct",),
    "through var": ("by_var",),
    "through mean": ("by_mean",),
    "batch": ("by_var", "by_mean"),
    "dx": ("dx",),
}

COMPOUND = {
    "dvar-x": "dvar = np.sum(dx_hat * x, axis=0) * -0.5 * (var + eps) ** -1.5",
    "dvar-plus": "dvar = np.sum(dx_hat + (x - mean), axis=0) * -0.5 * (var + eps) ** -1.5",
    "dvar-not-summed": "dvar = dx_hat * (x - mean) * -0.5 * (var + eps) ** -1.5",
    "dmean-x": "dmean = np.sum(-dx_hat / std, axis=0) + dvar * np.sum(-2 * x, axis=0) / N",
    "dmean-not-summed": "dmean = -dx_hat / std",
    "var-route-x": "dx = dx_hat / std + dvar * 2 * x / N + dmean / N",
    "var-route-one": "dx = dx_hat / std + dvar * 2 / N + dmean / N",
    "constants": "dx = dx_hat / std",
    "identity": "dx = dout",
    "dx-hat-alone": "dx = dx_hat",
    "swapped": "dx = dx_hat / std + dmean * 2 * (x - mean) / N + dvar / N",
    "transposed": "dx = (dx_hat / std + dvar * 2 * (x - mean) / N + dmean / N).T.reshape(N, D)",
    "features-reversed": "dx = (dx_hat / std + dvar * 2 * (x - mean) / N + dmean / N)[:, ::-1]",
    "rows-reversed": "dx = (dx_hat / std + dvar * 2 * (x - mean) / N + dmean / N)[::-1]",
    "dgamma-on-x": "dgamma = np.sum(dout * x, axis=0)",
    "dgamma-on-out": "dgamma = np.sum(dout * out, axis=0)",
    "dgamma-on-nothing": "dgamma = np.sum(dout, axis=0)",
    "dgamma-last-row": "dgamma = (dout * x_hat)[-1]",
    "dgamma-total": "dgamma = np.sum(dout * x_hat)",
    "dbeta-on-x-hat": "dbeta = np.sum(dout * x_hat, axis=0)",
    "dbeta-without-dout": "dbeta = N * np.ones(D)",
    "dbeta-last-row": "dbeta = dout[-1]",
    "dbeta-total": "dbeta = np.sum(dout)",
}


def typed(name: str) -> tuple[str, str]:
    """A fault of the catalogue as a line, and the row in which it stands."""
    fault = BY_NAME[name]
    if fault.is_compound:
        line = COMPOUND[name]
        return line, line.partition(" =")[0].removeprefix("d")
    factor = FACTORS[fault.factor]
    if fault.term in IN_DX:
        places = dict.fromkeys(("dx", "direct", "by_var", "by_mean"), "1") | dict.fromkeys(IN_DX[fault.term], factor)
        return DX.format(**places), "x"
    row = ROW_OF_TERM[fault.term]
    left, _, right = LINES[row].partition(" = ")
    return f"{left} = ({right}) * ({factor})", row


TYPED = [fault.name for fault in FACTORED if fault.term != "1/std" and fault.factor in FACTORS] + list(COMPOUND)
"""All but those that no single line can have, and those that need images or running statistics."""

QUICK = ("dbeta-averaged", "dgamma-sign", "no-gamma", "dvar-power-1/2", "dmean-std-forgotten", "no-var-route")


def is_told(report: CaseReport, name: str, line: int) -> bool:
    """Whether the fault is named, with its line."""
    (finding,) = report.findings
    return name in finding.faults and [statement.line for statement in finding.statements] == [line]


def reddens_its_own_row_alone(name: str) -> None:
    line, row = typed(name)
    lines = {**LINES, row: line}
    report = checked("\n".join(lines.values()))
    assert failed(report) == [row]
    values = next(found for found in report.comparisons if found.node == row)
    if row in NODES and "shape" not in values.note:
        assert is_told(report, name, list(lines).index(row) + 1)
    else:
        assert report.findings == ()


@pytest.mark.parametrize("name", QUICK)
def test_a_fault_reddens_its_own_row_alone(name: str) -> None:
    reddens_its_own_row_alone(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", TYPED)
def test_every_fault_of_the_catalogue_reddens_its_own_row_alone(name: str) -> None:
    reddens_its_own_row_alone(name)


def test_nearly_every_fault_of_the_catalogue_can_be_typed() -> None:
    assert len(TYPED) >= 110
    assert {BY_NAME[name].term for name in TYPED} == {fault.term for fault in FAULTS} - {"1/std"}


def test_right_formulas_pass_in_the_order_of_the_text_and_none_is_implied() -> None:
    report = checked("\n".join(LINES.values()))
    assert report.verdict == "pass"
    assert [row.node for row in report.comparisons] == ["beta", "gamma", "dx_hat", "var", "mean", "x"]
    assert not any(row.implied for row in report.comparisons)


def test_the_lines_of_the_derivation_pass_without_what_stands_before_them() -> None:
    lines = [line for row, line in LINES.items() if row not in ("gamma", "dx_hat")]
    report = checked("\n".join(lines))
    assert report.verdict == "pass"
    verdicts = {row.node: str(row.verdict) for row in report.comparisons}
    assert verdicts == {"beta": "pass", "var": "pass", "mean": "pass", "x": "pass", "gamma": "skipped"}


FORWARD = """
mu = x.sum(axis=0) / N
xc = x - mu
sq = xc ** 2
var = sq.sum(axis=0) / N
std = np.sqrt(var + eps)
xhat = xc / std
out = gamma * xhat + beta
"""
BACKWARD = """
dbeta = dout.sum(axis=0)
dgamma = (dout * xhat).sum(axis=0)
dxhat = dout * gamma
dstd = -(dxhat * xc).sum(axis=0) / std ** 2
dvar = dstd / 2 / std
dsq = dvar / N
dxc1 = dxhat / std
dxc2 = 2 * xc * dsq
dmu = -(dxc1 + dxc2).sum(axis=0)
dx = dxc1 + dxc2 + dmu / N
"""


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("regime", TRAIN)
def test_right_formulas_pass_in_every_regime(regime: str, dtype: str) -> None:
    report = checked(FORWARD + BACKWARD, replace(TRAIN[regime], dtype=dtype))
    assert report.verdict in ("pass", "skipped"), report


# Slips in an intermediate value, each with the row that shows it.
SLIPS = {
    "dstd": ("std ** 2", "std", "dstd"),
    "dsq": ("dsq = dvar / N", "dsq = dvar", "dsq"),
    "the first part": ("dxc1 = dxhat / std", "dxc1 = dxhat * std", "dxc1"),
    "the second part": ("dxc2 = 2 * xc", "dxc2 = xc", "dxc2"),
    "dxhat": ("dxhat = dout * gamma", "dxhat = dout / gamma", "dxhat"),
    "a part left out": ("dx = dxc1 + dxc2", "dx = dxc1", "x"),
}


@pytest.mark.parametrize(("right", "wrong", "row"), SLIPS.values(), ids=SLIPS)
def test_a_slip_in_an_intermediate_value_shows_in_its_row_with_its_line(right: str, wrong: str, row: str) -> None:
    assert right in BACKWARD
    report = checked(FORWARD + BACKWARD.replace(right, wrong))
    assert failed(report) == [row]
    (note,) = [found.note for found in report.comparisons if found.node == row]
    lines = (FORWARD + BACKWARD.replace(right, wrong)).splitlines()
    number = next((number for number, line in enumerate(lines, 1) if line.startswith(f"{row} = ")), 0)
    assert note == (f"line {number}: {lines[number - 1]}" if number else "")


# Names that can be read in two ways, beside a slip in another line, which alone must show.
READINGS = {
    "the part of x - mean by x_hat": (
        "dxc = dx_hat / std\ndvar = np.sum(dx_hat * xmu * 0.5 / std ** 3, axis=0)\n"
        "dmu = -np.sum(dxc, axis=0)\ndx = dxc + dvar * 2 * xmu / N + dmu / N",
        "var",
    ),
    "sigma for the variance": (
        "dsigma = np.sum(dx_hat * (x - mu), axis=0) * -0.5 * (sigma2 + eps) ** -1.5\n"
        "dmu = -np.sum(dx_hat, axis=0) / np.sqrt(sigma2 + eps)\n"
        "dx = dx_hat / np.sqrt(sigma2 + eps) + dsigma * 2 * (x - mu) / N + dmu",
        "x",
    ),
    "sigma for its root": (
        "dsigma = -np.sum(dx_hat * x_hat, axis=0) / sigma\ndmu = np.sum(dx_hat, axis=0) / sigma\n"
        "dx = dx_hat / sigma + dsigma * x_hat / N + dmu / N",
        "mean",
    ),
    "names of their own": (
        "c = x - x.mean(0)\nq = c * c\nr = np.sqrt(q.mean(0) + eps)\nh = c / r\nout = h * gamma + beta\n"
        "dh = dout * gamma\ndr = -(dh * c / r ** 2).sum(0)\ndq = dr / r / N\ndc = dh / r + 2 * c * dq\n"
        "dx = dc - dc.mean(0)",
        "dq",
    ),
}


@pytest.mark.parametrize(("text", "row"), READINGS.values(), ids=READINGS)
def test_a_name_that_can_be_read_in_two_ways_is_read_as_it_is_meant(text: str, row: str) -> None:
    assert failed(checked(text)) == [row]


def test_an_unknown_name_is_told_with_the_list_of_known_ones() -> None:
    assert discover(origin_of("dx = dout * gama")).refusal == (
        "error: formulas:1 `dx = dout * gama`: gama has no value; write a line for it, or use x, gamma, beta, eps, "
        "dout, mean (mu), var (sigma2), std, ivar, x_hat (xhat), xmu, out, N and D, and the gradients of these, such "
        "as dx_hat and dvar"
    )


def test_what_is_given_is_not_to_be_made_anew() -> None:
    refusal = discover(origin_of("x = np.ones((3, 4))\ndx = dout")).refusal
    assert refusal == "error: formulas:1 `x = np.ones((3, 4))`: x is given; leave this line out"


def test_a_number_of_rows_that_was_theirs_is_ours() -> None:
    assert checked("n = 32\ndbeta = dout.mean(0) * n").verdict == "pass"


def test_an_eps_that_is_typed_as_a_number_is_the_one_that_is_judged() -> None:
    text = "dx_hat = dout * gamma\n" + "dstd = -np.sum(dx_hat * (x - mu), axis=0) / (sigma2 + 1e-3)"
    assert checked(text).verdict == "pass"
    asked = checked(text, replace(CASE, asked=("eps", "shapes")))
    assert asked.note == "eps is 0.001, not 1.3e-05"


def test_the_shape_of_gamma_is_that_of_its_gradient() -> None:
    found = discover(origin_of("dgamma = np.sum(dout * x_hat, axis=0, keepdims=True)")).members[0].convention
    assert (found.layout, found.parameters) == ("(n, d)", "(1, d)")


def test_formulas_of_rows_take_no_images_and_no_eval_mode() -> None:
    text = "\n".join(LINES.values())
    assert checked(text, Case(shape=(3, 4, 2, 2))).reason == "it takes (N, D); shape 3x4x2x2 has 4 axes"
    assert checked(text, Case(shape=(6, 4), mode="eval")).reason == "formulas are judged in train mode alone"


def test_a_forward_that_raises_is_told_with_its_line() -> None:
    refusal = discover(origin_of("mu = x.mean(axis=7)\ndbeta = dout.sum(axis=0)")).refusal
    assert refusal.startswith("error: formulas: line 1, `mu = x.mean(axis=7)`, raises AxisError: ")


FILES = {
    "formulas": ("dx = dout", True),
    "a gradient that is added to": ("dx_hat = 1\ndx_hat += dout", True),
    "a function": ("def backward(dout, cache):\n    dx = dout\n    return dx", False),
    "a class": ("class Layer:\n    dx = 0\n", False),
    "a function without a name": ("backward = lambda dout: dout\ndx = backward(1)", False),
    "no gradient": ("import numpy as np\nmean = np.ones(3)\ndelta = mean - 1", False),
    "no Python": ("dx = (", False),
}


@pytest.mark.parametrize(("text", "expected"), FILES.values(), ids=FILES)
def test_a_file_is_formulas_where_it_defines_nothing_and_gives_a_gradient(text: str, expected: bool) -> None:
    assert is_formulas(text) is expected
