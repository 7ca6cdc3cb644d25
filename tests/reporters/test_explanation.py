"""What `explain` prints: its numbers are those of the formulas, and it fits every terminal."""

from __future__ import annotations

import io
import re
import sys
from functools import cache

import numpy as np
import pytest

from bncheck import config, derivation
from bncheck.case import Case, Verdict, XDraw
from bncheck.checking import check_fault, check_ours
from bncheck.derivation import BACKWARD, FORWARD, LOSS, OF_GRADIENT, Formula, derivation_of
from bncheck.faults.catalogue import BY_NAME, KNOWN, Fault
from bncheck.faults.terms import FactorValues, Parts, Wrong
from bncheck.faults.wording import as_written
from bncheck.gradients.batchnorm import NODES
from bncheck.gradients.problem import draw
from bncheck.reporters import console, explanation
from bncheck.status import StartError

PAGES = [None, *NODES]
NUMBER = re.compile(r"-?\d+\.\d{4}\b|-?\d\.\de-\d\d(?!\.)|\b0$")


def render(node: str | None) -> str:
    """The derivation of a node, or without a node all of it, as plain text."""
    return console.render(explanation.explained(node))


def printed(node: str | None, encoding: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a pipe of that encoding gets; what it lacks is an error."""
    pipe = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
    monkeypatch.setattr(sys, "stdout", pipe)
    explanation.show(node, "auto")
    pipe.flush()
    pipe.seek(0)
    return pipe.read()


# --- what it says ----------------------------------------------------------------------------------------------


def masked(shown: str) -> str:
    """The same with # for every number in the columns, which another test looks at."""
    return re.sub(rf" +({NUMBER.pattern})", " #", shown, flags=re.MULTILINE)


def test_the_derivation_of_mean_shows_its_two_terms_and_that_the_second_vanishes() -> None:
    assert masked(render("mean")) == MEAN


MEAN = """\
dmean: the gradient of the loss at mean
  mean reaches out in two ways: it stands in x_hat itself, and in var. Its
  gradient has two terms.

  x ──┬────────────→ x - mean ──┬───────────────→ x_hat ───→ out ───→ L
      │                 ↑       │                   ↑         ↑       ↑
      └──→ mean ────────┘       └──→ var ──→ std ───┘   gamma, beta  dout

  Held: x. Moving with mean: var, std, x_hat, out.

Forward                                  row 0   row 1   row 2   row 3     batch
    x # # # #
    gamma #
    beta #
    mean = (1/n) · Σ(x) #
    var = (1/n) · Σ((x - mean)²) #
    std = sqrt(var + eps) #
    x_hat = (x - mean) / std # # # #
    out = gamma · x_hat + beta # # # #
    dout # # # #
    L = Σ(dout · out) #

Backward                                 row 0   row 1   row 2   row 3     batch
  Every row of out is gamma · x_hat + beta:
    dx_hat = dout · gamma # # # #
  The first way: x_hat = (x - mean) / std falls as mean rises, in every row.
    dx_hat · (-1/std) # # # #
    first = Σ(dx_hat · (-1/std)) #
  The second way: mean stands in var, whose gradient `explain var` derives:
    dvar #
    x - mean # # # #
    Σ(x - mean) #
  The rows lie around their mean, so that sum is zero but for roundoff, and the
  second term vanishes:
    second = dvar · (1/n) · Σ(-2 · (x - mean)) #
    dmean = first + second #
  The same in closed form:
    dmean = -gamma · dbeta / std #

Check                                    row 0   row 1   row 2   row 3     batch
  Differences of the forward, order 4 in float64, know none of these formulas:
    numeric dmean #
  Relative to the size of the terms before they cancel; `run` allows 1e-9:
    scale = (1/std) · Σ|dx_hat| #
    error = |dmean - numeric| / scale #

  The second term belongs to the derivative all the same: Σ(x - mean) is zero
  for no other mean.
  The numbers: n = 4 rows of one feature, eps = 1.3e-05. Features do not see
  each other, so one tells it all. `bncheck run --shape 4x1 --seed 1` checks
  this very problem.
"""


def test_the_derivation_of_x_shows_the_share_of_each_route_in_each_row_and_their_sum() -> None:
    assert """\
  A, direct: each row stands in its own x_hat = (x - mean) / std.
  B, through var: each row moves var, by its distance from mean.
  C, through mean: each row moves mean, all alike.
    A = dx_hat · (1/std) # # # #
    B = dvar · (2/n) · (x - mean) # # # #
    C = dmean · (1/n) # # # #
    dx = A + B + C # # # #
  The same in closed form:
    dx = gamma / (n · std) · (n · dout - dbeta - x_hat · dgamma)
 # # # #
""" in masked(render("x"))


@pytest.mark.parametrize("node", PAGES)
def test_numbers_stand_in_columns_under_their_headings(node: str | None) -> None:
    lines = render(node).splitlines()
    heading = next(line for line in lines if line.startswith("Forward"))
    columns = {found.end() for found in re.finditer(r"row \d|batch", heading)}
    told = [
        line for line in lines if NUMBER.search(line[explanation.WIDTH - explanation.BATCH - 4 * explanation.ROW :])
    ]
    ends = [tuple(found.end() for found in NUMBER.finditer(line)) for line in told]
    assert set(ends) == {tuple(sorted(columns))[:4], (explanation.WIDTH,)}


@pytest.mark.parametrize("node", NODES)
def test_every_formula_of_a_node_is_shown_with_its_numbers(node: str) -> None:
    told, shown = derivation_of(node), render(node)
    for formula in filter(None, (*FORWARD, LOSS, *told.steps, told.closed_form, told.scale)):
        assert numbers_beside(formula, shown) == numbers_of(formula)


def test_without_a_node_every_formula_is_shown_with_its_numbers() -> None:
    shown = render(None)
    for formula in (*FORWARD, LOSS, *BACKWARD):
        assert numbers_beside(formula, shown) == numbers_of(formula)
    assert (
        "`bncheck explain NODE` derives one of them, with what every row gives: beta,\n  gamma, mean, var, x." in shown
    )


def numbers_of(formula: Formula) -> list[str]:
    """The numbers of the first feature, as they are to be printed."""
    return [
        explanation.number(value) for value in np.atleast_2d(formula.value(derivation.work(draw(derivation.CASE))).T)[0]
    ]


def numbers_beside(formula: Formula, shown: str) -> list[str]:
    """What is printed after the formula, on its line or the next."""
    (after,) = re.findall(rf"^ +{re.escape(formula.label)}(?:\n? {{3}}|\n? +)(.*)$", shown, flags=re.MULTILINE)[:1]
    return NUMBER.findall(after)


def test_the_error_is_the_one_that_run_finds() -> None:
    report = check_ours(derivation.CASE)
    for found in report.comparisons:
        error = re.findall(r"error = .* / scale +(\S+)", render(found.node))
        assert error == [explanation.number(found.error)]
        assert f"{found.tolerance:.1e}" == "1.0e-09"


def test_the_command_that_is_named_checks_this_very_problem() -> None:
    (case,) = config.from_overrides(["shape=4x1", "seed=1"])
    assert "`bncheck run --shape 4x1 --seed 1`" in " ".join(render("x").split())
    for array in ("x", "gamma", "beta"):
        assert np.array_equal(getattr(draw(case).inputs, array), getattr(draw(derivation.CASE).inputs, array))
    assert np.array_equal(draw(case).dout, draw(derivation.CASE).dout)


def test_the_graph_has_every_stage_and_parameter() -> None:
    assert {"x", *(formula.symbol for formula in FORWARD), "gamma", "beta", "dout", "L"} <= set(
        re.findall(r"\w+", explanation.GRAPH)
    )


def test_an_unknown_node_is_refused_with_the_nearest() -> None:
    sentence = (
        "'gama' is not a node that can be explained; did you mean 'gamma'? The nodes are beta, gamma, mean, var and x."
    )
    with pytest.raises(StartError) as refused:
        explanation.show("gama", "auto")
    assert str(refused.value) == f"error: {sentence}"


# --- faults ----------------------------------------------------------------------------------------------------


@cache
def page_of(name: str) -> str:
    """The page of a fault, as a pipe gets it."""
    fault = BY_NAME[name]
    report = check_fault(fault, explanation.example_of(fault))
    return console.render(explanation.Page(lambda writer: writer.fault(fault, report)))


def test_a_fault_is_shown_with_its_formula_beside_the_right_one_and_what_hides_it() -> None:
    page, _, checked = page_of("dvar-half-forgotten").partition("A check of ")
    assert masked(page) == NO_HALF
    assert checked.splitlines()[0] == "6x4, seed 1, eps 1.3e-05 says"
    assert "x, var: dvar is 2 times what it should be (coefficient 2.000, expected 1)" in " ".join(checked.split())


NO_HALF = """\
dvar-half-forgotten
  dvar is 2 times what it should be: -1 stands where -1/2 belongs

As it should be                          row 0   row 1   row 2   row 3     batch
    dvar = Σ(dx_hat · (x - mean)) · (-1/2) · (var + eps)^(-3/2) #

As it is with the fault                  row 0   row 1   row 2   row 3     batch
    dvar = Σ(dx_hat · (x - mean)) · (-1) · (var + eps)^(-3/2) #

  The numbers: n = 4 rows of one feature, eps = 1.3e-05. Features do not see
  each other, so one tells it all. `bncheck run --shape 4x1 --seed 1` checks
  this very problem.

Not shown where
  - dout is ones, so dx is zero
  - gamma is zeros, so dx is zero

"""


def test_a_fault_of_eval_mode_is_shown_beside_the_formula_of_eval_mode() -> None:
    page = masked(page_of("batch-routes-in-eval"))
    assert "    dx = dx_hat · (1/std) # # # #\n" in page
    assert "    dx = dx_hat · (1/std) + dvar · (2/n) · (x - mean) + dmean · (1/n)\n" in page
    assert "constants in eval mode, so" not in page
    assert "    it should be: dx = dx_hat * (1/std)\n" in page


def test_a_fault_of_two_gradients_is_shown_with_both_formulas() -> None:
    shown = masked(page_of("parameters-swapped"))
    assert shown.startswith(
        """\
parameters-swapped
  dgamma and dbeta are swapped

As it should be                          row 0   row 1   row 2   row 3     batch
    dgamma = Σ(dout · x_hat) #
    dbeta = Σ(dout) #

As it is with the fault                  row 0   row 1   row 2   row 3     batch
    dgamma = Σ(dout) #
    dbeta = Σ(dout · x_hat) #
"""
    )


@pytest.mark.parametrize("fault", KNOWN, ids=lambda fault: fault.name)
def test_every_fault_shows_in_the_check_on_its_page(fault: Fault) -> None:
    report = check_fault(fault, explanation.example_of(fault))
    assert report.verdict is Verdict.FAIL
    assert report.findings
    if fault.term != "place":
        assert fault.name in {name for finding in report.findings for name in finding.faults}


@pytest.mark.parametrize("fault", KNOWN, ids=lambda fault: fault.name)
def test_every_page_of_a_fault_is_in_eighty_columns(fault: Fault) -> None:
    lines = page_of(fault.name).splitlines()
    assert [line for line in lines if len(line) > 80 or line != line.rstrip()] == []


SMALL_EPS = Case(shape=(4, 3, 2, 2), seed=1, x=XDraw(std=0.02), eps=1.3e-5)
WRITTEN = [fault for fault in KNOWN if as_written(fault) and fault.needs != "eval" and "running" not in fault.factor]


@pytest.mark.parametrize("fault", WRITTEN, ids=lambda fault: fault.name)
def test_the_formula_of_a_fault_gives_the_gradient_of_the_fault(fault: Fault) -> None:
    problem = draw(SMALL_EPS)
    parts = Parts.of(problem.inputs, problem.dout, samples=SMALL_EPS.samples)
    wrong = fault.wrong(Wrong.without_fault(parts), parts, FactorValues.of(parts))
    numbers = derivation.work(problem)
    names = {field: getattr(numbers, field) for field in numbers.__dataclass_fields__}
    names |= {"N": parts.samples, "d": parts.d, "sqrt": np.sqrt, "sum": lambda values: values.sum(axis=0)}
    given = {f"d{node}": value for node, value in wrong.gradients(parts)._asdict().items()}
    given["dx_hat"] = parts.dout * wrong.gain
    for symbol, text in sorted(as_written(fault).items(), key=lambda item: item[0] == "dx"):
        program = explanation.in_ascii(text).replace("^", "**").replace("2 eps", "2 * eps").replace("sigma", "std")
        value = np.asarray(eval(program, {}, names))
        last = value[-1] if value.ndim > given[symbol].ndim else np.broadcast_to(value, given[symbol].shape)
        np.testing.assert_allclose(last, given[symbol], rtol=1e-9, atol=1e-9 * np.max(np.abs(given[symbol])))
        names[symbol] = value


def test_the_page_of_a_fault_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    fault = BY_NAME["no-var-route"]
    explanation.show_fault(fault, check_fault(fault, explanation.example_of(fault)), "never")
    assert capsys.readouterr().out == page_of("no-var-route")


def test_the_list_has_every_fault_once_under_the_node_of_its_formula(capsys: pytest.CaptureFixture[str]) -> None:
    explanation.show_faults("never")
    pages = re.split(r"^(beta|gamma|mean|var|x)$", capsys.readouterr().out, flags=re.MULTILINE)
    nodes = zip(pages[1::2], pages[2::2], strict=True)
    names = {node: re.findall(r"^  (\S+)  ", page, re.MULTILINE) for node, page in nodes}
    assert sorted(name for found in names.values() for name in found) == sorted(BY_NAME)
    assert names["beta"][0] == "dbeta-averaged"
    assert "dmean-x" in names["mean"]
    assert "dvar-x" in names["var"]
    assert {"no-gamma", "transposed"} <= set(names["x"])


@pytest.mark.parametrize("fault", [each for each in KNOWN if each.needs != "eval"], ids=lambda fault: fault.name)
def test_every_formula_that_a_fault_breaks_is_shown_with_its_numbers(fault: Fault) -> None:
    shown = page_of(fault.name)
    for symbol in fault.breaks:
        assert numbers_beside(OF_GRADIENT[symbol], shown) == numbers_of(OF_GRADIENT[symbol])


# --- terminals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252"])
@pytest.mark.parametrize("node", PAGES)
def test_no_line_is_longer_than_eighty_columns_and_none_ends_in_blanks(
    node: str | None, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = printed(node, encoding, monkeypatch).splitlines()
    assert [line for line in lines if len(line) > 80 or line != line.rstrip()] == []


@pytest.mark.parametrize("node", PAGES)
def test_a_terminal_without_the_signs_gets_the_same_numbers(node: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, full = printed(node, "ascii", monkeypatch), printed(node, "utf-8", monkeypatch)
    assert plain.isascii()
    assert not full.isascii()
    assert NUMBER.findall(plain) == NUMBER.findall(full)


def test_ascii_keeps_the_graph_and_spells_the_signs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = printed("var", "ascii", monkeypatch)
    assert (
        """\
  x --+------------> x - mean --+---------------> x_hat ---> out ---> L
      |                 ^       |                   ^         ^       ^
      +--> mean --------+       +--> var --> std ---+   gamma, beta  dout
"""
        in plain
    )
    assert "    var = (1/n) * sum((x - mean)^2) #\n" in masked(plain)


def test_colour_marks_the_node_and_dims_what_is_held(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    explanation.show("var", "always")
    graph = capsys.readouterr().out
    assert "\x1b[1;36mvar\x1b[0m" in graph
    assert "\x1b[2mx - mean\x1b[0m" in graph
    explanation.show("mean", "always")
    graph = capsys.readouterr().out
    assert "\x1b[1;36mmean\x1b[0m" in graph
    assert "\x1b[2mx - mean" not in graph


@pytest.mark.parametrize("color", ["auto", "never"])
def test_a_pipe_gets_no_colour(color: str, capsys: pytest.CaptureFixture[str]) -> None:
    explanation.show("var", color)
    assert capsys.readouterr().out == render("var")


def test_a_narrow_terminal_loses_no_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    console.show(explanation.explained("x"), "never", explanation.WIDTH)
    assert re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue()) == render("x")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1.23456, "1.2346"), (-12.0, "-12.0000"), (0.00004, "4.0e-05"), (-1e-17, "-1.0e-17")],
)
def test_a_number_is_never_nothing_but_zeros_unless_it_is_zero(value: float, text: str) -> None:
    assert explanation.number(value) == text
