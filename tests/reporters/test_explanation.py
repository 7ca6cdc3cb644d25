"""What `explain` prints: its numbers are those of the formulas, and it fits every terminal."""

from __future__ import annotations

import io
import re
import sys

import numpy as np
import pytest

from bncheck import config, derivation
from bncheck.checking import check_ours
from bncheck.derivation import BACKWARD, FORWARD, LOSS, OF_GRADIENT, Formula, UnknownNodeError, derivation_of
from bncheck.faults.catalogue import BY_NAME, FAULTS
from bncheck.faults.fault import Fault
from bncheck.gradients.batchnorm import NODES
from bncheck.gradients.problem import draw
from bncheck.reporters import console, explanation

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
    with pytest.raises(UnknownNodeError) as refused:
        explanation.show("gama", "auto")
    assert str(refused.value) == sentence


# --- faults ----------------------------------------------------------------------------------------------------


def explained(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    explanation.show_fault(BY_NAME[name], "never")
    return capsys.readouterr().out


def test_a_fault_is_shown_with_the_formula_that_it_breaks(capsys: pytest.CaptureFixture[str]) -> None:
    assert masked(explained("dvar-half-forgotten", capsys)) == NO_HALF


NO_HALF = """\
dvar-half-forgotten
  dvar is 2 times what it should be: -1 stands where -1/2 belongs

As it should be                          row 0   row 1   row 2   row 3     batch
    dvar = Σ(dx_hat · (x - mean)) · (-1/2) · (var + eps)^(-3/2) #

  The numbers: n = 4 rows of one feature, eps = 1.3e-05. Features do not see
  each other, so one tells it all. `bncheck run --shape 4x1 --seed 1` checks
  this very problem.
"""


def test_a_fault_of_two_gradients_is_shown_with_both_formulas(capsys: pytest.CaptureFixture[str]) -> None:
    shown = masked(explained("parameters-swapped", capsys))
    assert shown.startswith(
        """\
parameters-swapped
  dgamma and dbeta are swapped

As it should be                          row 0   row 1   row 2   row 3     batch
    dgamma = Σ(dout · x_hat) #
    dbeta = Σ(dout) #
"""
    )


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_every_formula_that_a_fault_breaks_is_shown_with_its_numbers(
    fault: Fault, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = explained(fault.name, capsys)
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
