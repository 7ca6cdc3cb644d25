"""Every formula that is shown is true: its text, read as a program with 50 digits, and the function beside it.

What is true of the whole is the derivative of the loss, which mpmath takes of the forward's own text.
"""

from __future__ import annotations

import re
from dataclasses import fields, replace
from functools import cache
from typing import Any

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray

from bncheck import derivation
from bncheck.case import Case, XDraw
from bncheck.derivation import BACKWARD, DERIVATIONS, FORWARD, LOSS, Derivation, Formula, Numbers, derivation_of
from bncheck.gradients import batchnorm
from bncheck.gradients.batchnorm import NODES, sizes_of
from bncheck.gradients.numeric import differentiate
from bncheck.gradients.problem import draw
from bncheck.reporters.explanation import in_ascii
from bncheck.status import StartError

Exact = NDArray[np.object_]

MP: Any = mpmath.mp.clone()
MP.dps = 50

# Relative to the largest number of a formula, or to 1: some 100 units roundoff for sums of a few terms of size 1 to 10.
ROUNDED = 1e-14
# 50 digits less what mpmath's own differencing takes of them.
OF_DIFFERENTIATION = 1e-25

CASES = {
    "the example": derivation.CASE,
    "seven rows of three features": Case(shape=(7, 3), seed=1),
    "two rows": Case(shape=(2, 3), seed=2),
    "large eps": Case(shape=(5, 2), eps=0.5),
    "dout of ones": Case(shape=(5, 2), dout="ones"),
    "std 0.02": Case(shape=(5, 2), x=XDraw(std=0.02)),
}


def everything() -> dict[str, tuple[Formula, str]]:
    """Every formula there is by what is shown of it, with the node in whose derivation it stands."""
    found = {formula.label: (formula, "") for formula in (*FORWARD, LOSS, *BACKWARD)}
    for told in DERIVATIONS:
        for formula in filter(None, (*told.steps, told.closed_form, told.scale)):
            found.setdefault(formula.label, (formula, told.node))
    return found


FORMULAS = everything()


# --- reading a formula as a program ----------------------------------------------------------------------------


def root(values: Exact) -> Exact:
    """Square roots, one by one."""
    found: Exact = np.vectorize(MP.sqrt, otypes=[object])(values)
    return found


OPERATIONS = {
    "sum": lambda values: np.add.reduce(values, axis=0),
    "max": lambda values: np.max(values, axis=0),
    "abs": np.abs,
    "sqrt": root,
}


def read(text: str, names: dict[str, Any]) -> Exact:
    """What the text of a formula comes to, read as it is printed on a terminal that has but ASCII."""
    program = in_ascii(text).replace("^", "**")
    program = re.sub(r"sum\|([^|]+)\|", r"sum(abs(\1))", program)
    program = re.sub(r"\|([^|]+)\|", r"abs(\1)", program)
    value: Exact = eval(program, {"__builtins__": {}, **OPERATIONS}, names)
    return value


def exact(values: NDArray[Any]) -> Exact:
    """The same numbers, digit for digit."""
    found: Exact = np.vectorize(MP.mpf, otypes=[object])(values)
    return found


@cache
def given(case: Case) -> dict[str, Any]:
    """What a case draws, by the symbols of the derivation."""
    inputs, dout = draw(case).inputs, draw(case).dout
    arrays = {"x": inputs.x, "gamma": inputs.gamma, "beta": inputs.beta, "dout": dout}
    return {**{name: exact(array) for name, array in arrays.items()}, "eps": MP.mpf(case.eps), "n": MP.mpf(case.n)}


@cache
def known(case: Case, node: str, off: float = 0.0) -> dict[str, Any]:
    """Every symbol of the derivation in 50 digits, each by its text, and those that are named on the way to a node.

    `off` is how far mean is moved from that of the rows; what follows from it follows.
    """
    names = dict(given(case))
    for formula in (*FORWARD, LOSS, *BACKWARD):
        names[formula.symbol] = read(formula.text, names) + (off if formula.symbol == "mean" else 0)
    for formula in derivation_of(node).steps if node else ():
        names.setdefault(formula.symbol, read(formula.text, names))
    return names


def rounded(names: dict[str, Any]) -> Numbers:
    """The same symbols in float64."""
    symbols: dict[str, Any] = {
        field.name: np.asarray(names[field.name]).astype(np.float64) for field in fields(Numbers)
    }
    return Numbers(**symbols)


def largest(values: Exact) -> float:
    """The largest absolute value, as a float."""
    return float(np.max(np.abs(values)))


# --- formulas --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("label", FORMULAS)
def test_the_numbers_of_a_formula_are_what_its_text_says(label: str, case: Case) -> None:
    formula, node = FORMULAS[label]
    truth = read(formula.text, known(case, node))
    numbers = derivation.work(draw(case))
    found = formula.value(numbers)
    assert found.shape in (truth.shape, numbers.x.shape)
    assert largest(exact(found) - truth) <= ROUNDED * terms(case)


@cache
def terms(case: Case) -> float:
    """The largest of what is summed up anywhere: numbers are rounded at that size, however small they come out."""
    return max(1, *(largest(read(told.scale.text, known(case, told.node))) for told in DERIVATIONS)) * case.n


@pytest.mark.parametrize("label", FORMULAS)
def test_the_numbers_are_what_the_text_says_where_no_sum_vanishes(label: str) -> None:
    formula, node = FORMULAS[label]
    names = known(derivation.CASE, node, ELSEWHERE)
    truth = read(formula.text, names)
    assert largest(exact(formula.value(rounded(names))) - truth) <= ROUNDED * terms(derivation.CASE)


ELSEWHERE = 0.25  # a mean that is not that of the rows, by some 2/3 of their std

SLIPS = {" · ": " + ", " + ": " - ", " - ": " + ", " / ": " · ", "1/": "2/", "-2": "2", "²": "", "^(-3": "^(-1"}
"""One sign turned, one power lost: what a formula might say wrongly."""


def slips() -> list[tuple[str, str]]:
    """Every formula with each slip that can be made in it, and without its absolute values."""
    made = [
        (label, formula.text.replace(right, wrong))
        for label, (formula, _) in FORMULAS.items()
        for right, wrong in SLIPS.items()
    ]
    made += [(label, re.sub(r"\|([^|]+)\|", r"(\1)", formula.text)) for label, (formula, _) in FORMULAS.items()]
    return [(label, slip) for label, slip in made if slip != FORMULAS[label][0].text]


@pytest.mark.parametrize(("label", "slip"), slips())
def test_a_slip_in_the_text_of_a_formula_is_seen(label: str, slip: str) -> None:
    formula, node = FORMULAS[label]
    names = known(derivation.CASE, node, ELSEWHERE)
    wrong = read(slip, names)
    assert largest(exact(formula.value(rounded(names))) - wrong) > 1e-6  # eps is 1e-5


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("node", NODES)
def test_steps_and_closed_form_end_in_the_derivative_of_the_loss(node: str, case: Case) -> None:
    told = derivation_of(node)
    names = known(case, node)
    derivative = derivative_of_the_loss(told, case)
    for formula in filter(None, (told.steps[-1], told.closed_form)):
        distance = np.abs(read(formula.text, names) - derivative)
        assert largest(distance / read(told.scale.text, names)) <= OF_DIFFERENTIATION


def derivative_of_the_loss(told: Derivation, case: Case, off: float = 0.0) -> Exact:
    """What mpmath finds when it moves the node, holds what is held, and lets the rest follow by the forward's text."""
    names = known(case, "", off)

    def loss(place: tuple[int, ...], value: Any) -> Any:
        moved = names[told.node].copy()
        moved[place] = value
        now = {**given(case), **{stage: names[stage] for stage in told.held}, told.node: moved}
        for formula in FORWARD:
            if formula.symbol in told.follows:
                now[formula.symbol] = read(formula.text, now)
        return read(LOSS.text, now)[place[-1]]

    found: Exact = np.empty_like(names[told.node])
    for place in np.ndindex(found.shape):
        found[place] = MP.diff(lambda value, place=place: loss(place, value), names[told.node][place])
    return found


@pytest.mark.parametrize("node", ["beta", "gamma", "mean", "var"])
def test_steps_end_in_the_derivative_where_the_second_term_of_dmean_does_not_vanish(node: str) -> None:
    told = derivation_of(node)
    names = known(derivation.CASE, node, ELSEWHERE)
    derivative = derivative_of_the_loss(told, derivation.CASE, ELSEWHERE)
    assert largest(read(told.steps[-1].text, names) - derivative) <= OF_DIFFERENTIATION


def test_what_is_held_matters() -> None:
    told = derivation_of("var")
    wrong = replace(told, held=("x", "mean", "std"), follows=("x_hat", "out"))
    assert largest(derivative_of_the_loss(wrong, derivation.CASE)) == 0
    assert largest(derivative_of_the_loss(told, derivation.CASE)) > 0.1


@pytest.mark.parametrize("told", DERIVATIONS, ids=lambda told: told.node)
def test_every_stage_is_moved_is_held_or_follows(told: Derivation) -> None:
    stages = ("x", *(formula.symbol for formula in FORWARD))
    itself = (told.node,) if told.node in stages else ()
    assert {*told.held, *itself, *told.follows} == set(stages)
    assert len(told.held) + len(itself) + len(told.follows) == len(stages)


# --- the same as the graph -------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_formulas_give_what_the_graph_gives(case: Case) -> None:
    problem = draw(case)
    numbers = derivation.work(problem)
    stages = batchnorm.forward(problem.inputs)
    gradients, routes = batchnorm.backward(problem.inputs, stages, problem.dout)
    terms = sizes_of(problem.inputs, stages, problem.dout).scales
    values = {formula.symbol: formula.value(numbers) for formula in (*FORWARD, *BACKWARD)}
    for node in NODES:
        assert np.all(np.abs(values[f"d{node}"] - gradients.of(node)) <= case.n * ROUNDED * terms.of(node))
    for symbol, route in zip("ABC", (routes.direct, routes.through_var, routes.through_mean), strict=True):
        assert np.all(np.abs(values[symbol] - route) <= case.n * ROUNDED * terms.x)
    for stage in ("var", "std", "x_hat", "out"):
        assert values[stage] == pytest.approx(getattr(stages, stage), rel=ROUNDED, abs=ROUNDED)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("told", DERIVATIONS, ids=lambda told: told.node)
def test_scales_are_what_errors_are_relative_to(told: Derivation, case: Case) -> None:
    problem = draw(case)
    terms = sizes_of(problem.inputs, batchnorm.forward(problem.inputs), problem.dout).scales
    assert told.scale.value(derivation.work(problem)) == pytest.approx(terms.of(told.node), rel=ROUNDED)


def test_the_last_step_is_the_gradient_itself() -> None:
    numbers = derivation.work(draw(derivation.CASE))
    for told in DERIVATIONS:
        assert told.steps[-1].symbol == f"d{told.node}"
        assert told.steps[-1].value(numbers).shape == getattr(numbers, f"d{told.node}").shape


def test_a_problem_in_eval_mode_is_refused() -> None:
    with pytest.raises(AssertionError):
        derivation.work(draw(Case(shape=(4, 1), mode="eval")))


def test_numbers_have_every_symbol_of_the_derivation() -> None:
    names = {field.name for field in fields(Numbers)}
    words = {word for formula, _ in FORMULAS.values() for word in re.findall(r"[a-z][a-z_]*", formula.text)}
    assert words - names == {"max", "sqrt", "first", "second"}


# --- the second term of dmean ----------------------------------------------------------------------------------


def test_the_second_term_of_dmean_vanishes_at_the_mean_of_the_rows() -> None:
    numbers = derivation.work(draw(derivation.CASE))
    assert np.all(np.abs(derivation.BY_VAR.value(numbers)) <= ROUNDED * np.abs(derivation.BY_ITSELF.value(numbers)))


def test_the_second_term_of_dmean_does_not_vanish_at_another_mean() -> None:
    numbers = derivation.work(draw(derivation.CASE))
    moved = replace(numbers, mean=numbers.mean + 0.01)
    assert derivation.BY_VAR.value(moved) == pytest.approx(moved.dvar * 2 * 0.01)


# --- differences -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("told", DERIVATIONS, ids=lambda told: told.node)
def test_differences_agree_with_the_last_step(told: Derivation) -> None:
    problem = draw(derivation.CASE)
    numbers = derivation.work(problem)
    differences = differentiate(told.node, batchnorm.out_of, problem.inputs, problem.dout)
    assert np.all(np.abs(told.steps[-1].value(numbers) - differences.value) <= 1e-9 * told.scale.value(numbers))


# --- names -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("node", NODES)
def test_a_node_is_found_by_its_name_and_by_that_of_its_gradient(node: str) -> None:
    assert derivation_of(node) is derivation_of(f"d{node}")
    assert derivation_of(node).node == node


@pytest.mark.parametrize(
    ("name", "others", "sentence"),
    [
        ("gama", (), "'gama' is not a node that can be explained; did you mean 'gamma'?"),
        ("bias", (), "'bias' is not a node that can be explained; did you mean 'beta'?"),
        ("qqq", (), "'qqq' is not a node that can be explained."),
        ("", (), "'' is not a node that can be explained."),
        (
            "no mean rout",
            ("no mean route",),
            "'no mean rout' is neither a node nor a fault that can be explained; did you mean 'no mean route'?",
        ),
    ],
)
def test_another_name_is_refused_with_the_nearest_one(name: str, others: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(StartError) as refused:
        derivation_of(name, others)
    assert str(refused.value) == f"error: {sentence} The nodes are beta, gamma, mean, var and x."
