"""The catalogue: every fault is wrong where it says that it is, is told in words, and breaks a line that exists."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bncheck.calling.implementation import REFERENCE
from bncheck.case import EPS, Case, Verdict, XDraw
from bncheck.checking import check
from bncheck.derivation import OF_GRADIENT
from bncheck.faults.catalogue import BY_NAME, FAULTS, KNOWN, Fault
from bncheck.faults.hypotheses import spoils
from bncheck.faults.terms import FACTORS, TERMS, Coordinates, FactorValues, Parts, Wrong, needs_met
from bncheck.gradients.batchnorm import NODES, Inputs, Variant
from bncheck.gradients.problem import draw
from tests.faulty import FAULTS as TWELVE
from tests.faulty import gradients_with, implementation_with, taken_apart

IMAGE = Case(shape=(4, 3, 3, 2), seed=5)
DENSE = Case(shape=(7, 3), seed=2)

by_name = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)


def parts_of(case: Case) -> Parts:
    problem = draw(case)
    return Parts.of(problem.inputs, problem.dout, samples=case.shape[0])


def given(name: str, case: Case = DENSE) -> dict[str, np.ndarray]:
    """The gradients of one fault, and the parts they are compared with written out."""
    problem = draw(case)
    found = gradients_with(BY_NAME[name], problem.inputs, problem.dout, case.shape[0])
    return {node: found.of(node) for node in NODES}


def test_there_are_at_least_sixty_faults_of_different_names() -> None:
    assert len(BY_NAME) == len(KNOWN) > len(FAULTS) >= 60


@by_name
def test_fault_is_a_factor_of_the_dictionary_on_a_term_of_the_derivation_or_says_what_it_does(fault: Fault) -> None:
    assert (fault.term in TERMS and fault.factor in FACTORS) != (fault.spoil is not None)
    case = replace(IMAGE, mode="eval" if fault.needs == "eval" else "train")
    assert fault.needs in needs_met(parts_of(case))
    assert fault.breaks
    assert set(fault.breaks) <= set(OF_GRADIENT)


@by_name
def test_fault_is_told_in_a_clause_of_plain_ascii(fault: Fault) -> None:
    assert fault.sentence.isascii()
    assert fault.cause
    assert not fault.sentence.endswith((".", ":"))
    assert "{" not in fault.sentence


@pytest.mark.parametrize("symbol", OF_GRADIENT)
def test_every_line_of_the_derivation_is_broken_by_some_fault(symbol: str) -> None:
    assert any(symbol in fault.breaks for fault in FAULTS)


@pytest.mark.parametrize("symbol", FACTORS)
def test_every_factor_is_finite_on_ordinary_data_and_is_not_one(symbol: str) -> None:
    parts = parts_of(IMAGE)
    values = FactorValues.of(parts)
    value = values.value[symbol] + np.zeros(parts.d)
    assert np.all(np.isfinite(value))
    assert np.all(np.abs(value - 1) > 1e-9)
    np.testing.assert_allclose(values.gain[symbol], value * parts.inputs.gamma, rtol=1e-12)


def test_factors_are_what_their_symbols_say() -> None:
    parts = parts_of(IMAGE)
    n, d, samples = 24, 3, 4
    var, eps, gamma, beta = parts.stages.var, EPS, parts.inputs.gamma, parts.inputs.beta
    sigma = np.sqrt(var + eps)
    expected = {
        **{"0": 0, "-1": -1, "2": 2, "1/2": 0.5, "-2": -2, "-1/2": -0.5, "4": 4},
        **{"n": n, "1/n": 1 / n, "n/(n-1)": n / (n - 1), "(n-1)/n": (n - 1) / n, "n/d": n / d, "1/d": 1 / d},
        **{"N": samples, "1/N": 1 / samples, "n/N": n / samples},
        **{"gamma": gamma, "1/gamma": 1 / gamma, "1/gamma^2": 1 / gamma**2, "beta/gamma": beta / gamma},
        **{"std": sigma, "1/std": 1 / sigma, "std^2": sigma**2, "1/std^2": 1 / sigma**2, "std^6": sigma**6},
        "std/gamma": sigma / gamma,
        "sigma/sqrt(1/std + eps)": sigma / np.sqrt(1 / sigma + eps),
        "sigma/sqrt(var)": sigma / np.sqrt(var),
        "(sigma/sqrt(var))^3": (sigma / np.sqrt(var)) ** 3,
        "sigma/sqrt(var + 2 eps)": sigma / np.sqrt(var + 2 * eps),
        "(sigma/sqrt(var + 2 eps))^3": (sigma / np.sqrt(var + 2 * eps)) ** 3,
        "sigma/sqrt(var + 1e-5)": sigma / np.sqrt(var + 1e-5),
        "(sigma/sqrt(var + 1e-5))^3": (sigma / np.sqrt(var + 1e-5)) ** 3,
        "sigma/(sigma + eps)": sigma / (sigma + eps),
        "(sigma/(sigma + eps))^3": (sigma / (sigma + eps)) ** 3,
        "sigma/running sigma": sigma / np.sqrt(0.9 + 0.1 * var + eps),
    }
    found = FactorValues.of(parts).value
    assert set(found) == set(expected)
    for symbol, value in expected.items():
        np.testing.assert_allclose(found[symbol], value, rtol=1e-12, err_msg=symbol)


@by_name
def test_fault_fails_on_ordinary_data_at_the_row_where_it_is_told(fault: Fault) -> None:
    case = Case(shape=IMAGE.shape, seed=IMAGE.seed, mode="eval" if fault.needs == "eval" else "train")
    found = check(case, implementation_with(fault, case.shape[0])).comparisons
    failing = {comparison.node for comparison in found if comparison.verdict is Verdict.FAIL}
    assert fault.row in failing


@by_name
def test_fault_leaves_the_rows_that_it_does_not_spoil_as_they_are(fault: Fault) -> None:
    parts = parts_of(Case(shape=IMAGE.shape, mode="eval" if fault.needs == "eval" else "train"))
    right = Wrong.without_fault(parts)
    wrong = fault.wrong(right, parts, FactorValues.of(parts))
    for row in NODES:
        if not spoils(wrong, right, row):
            np.testing.assert_array_equal(wrong.gradients(parts).of(row), parts.gradients.of(row))


@by_name
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_fault_keeps_shapes_and_dtype(fault: Fault, dtype: str) -> None:
    problem = draw(Case(shape=(4, 3, 2), dtype=dtype))
    with np.errstate(all="ignore"):
        found = implementation_with(fault, 4).backward(problem.inputs, problem.dout)
    right = REFERENCE.backward(problem.inputs, problem.dout)
    for node in NODES:
        assert (found.of(node).shape, found.of(node).dtype) == (right.of(node).shape, right.of(node).dtype), node


@by_name
def test_fault_leaves_its_inputs_as_they_were(fault: Fault) -> None:
    problem = draw(DENSE)
    kept: Inputs = problem.inputs.map(np.copy)
    gradients_with(fault, problem.inputs, problem.dout)
    np.testing.assert_array_equal(kept.x, problem.inputs.x)
    np.testing.assert_array_equal(kept.gamma, problem.inputs.gamma)


@pytest.mark.parametrize("variant", [Variant(), Variant(ddof=1), Variant(eps_outside=True)], ids=str)
def test_nothing_spoilt_is_the_right_backward_of_any_variant(variant: Variant) -> None:
    problem = draw(DENSE)
    x, gamma, beta = problem.inputs.x, problem.inputs.gamma, problem.inputs.beta
    parts = Parts.of(Inputs(x, gamma, beta, 1e-5, variant=variant), problem.dout)
    found = Wrong.without_fault(parts).gradients(parts)
    for node in NODES:
        np.testing.assert_array_equal(found.of(node), parts.gradients.of(node))


# --- the catalogue gives what the formulas give ----------------------------------------------------------------

SAME = {
    "no-var-route": "dvar-missing",
    "no-mean-route": "dmean-missing",
    "constants": "constants",
    "var-sign": "dvar-sign",
    "mean-sign": "dmean-sign",
    "half-var-route": "half-var-route",
    "no-eps": "dvar-eps-left-out",
    "std-inverse": "std-inverse",
    "no-gamma": "no-gamma",
    "dgamma-centred": "dgamma-on-centred",
    "identity": "identity",
}


@pytest.mark.parametrize("fault", [fault for fault in TWELVE if fault.name in SAME], ids=lambda fault: fault.name)
def test_catalogue_gives_what_the_twelve_faults_give(fault: object) -> None:
    problem = draw(DENSE)
    expected = fault.gradients(taken_apart(problem.inputs, problem.dout))  # type: ignore[attr-defined]
    found = given(SAME[fault.name])  # type: ignore[attr-defined]
    for node in NODES:
        np.testing.assert_allclose(found[node], expected.of(node), rtol=1e-10, atol=1e-12)  # products in another order


def written_out(name: str) -> np.ndarray:
    """dx of some faults, as somebody would write them, from (x, gamma, dout) alone."""
    problem = draw(DENSE)
    x, gamma, dout, eps = problem.inputs.x, problem.inputs.gamma, problem.dout, problem.inputs.eps
    n, mean, var = len(x), x.mean(axis=0), x.var(axis=0)
    std, centred = np.sqrt(var + eps), x - x.mean(axis=0)
    dx_hat = dout * gamma
    dvar = np.sum(dx_hat * centred, axis=0) * -0.5 * (var + eps) ** -1.5
    dmean = np.sum(-dx_hat / std, axis=0)
    match name:
        case "dvar-x":
            dvar = np.sum(dx_hat * x, axis=0) * -0.5 * (var + eps) ** -1.5
        case "dvar-plus":
            dvar = np.sum(dx_hat + centred, axis=0) * -0.5 * (var + eps) ** -1.5
        case "dvar-not-summed":
            dvar = dx_hat * centred * -0.5 * (var + eps) ** -1.5
        case "dvar-power-1/2":
            dvar = np.sum(dx_hat * centred, axis=0) * -0.5 * (var + eps) ** -0.5
        case "dmean-not-summed":
            dmean = -dx_hat / std
        case "dmean-x":
            dmean = dmean + dvar * np.mean(-2 * x, axis=0)
        case "dmean-second-not-summed":
            dmean = dmean + dvar * (-2 * centred) / n
        case "neither-summed":
            dvar, dmean = dx_hat * centred * -0.5 * (var + eps) ** -1.5, -dx_hat / std
        case "wrong-axis":
            dvar = np.sum(dx_hat * centred * -0.5 * (var + eps) ** -1.5, axis=1, keepdims=True)
            dmean = np.sum(-dx_hat / std, axis=1, keepdims=True)
        case "swapped":
            dvar, dmean = dmean, dvar
        case "var-route-x":
            centred = x
        case "var-route-x-hat" | "dvar-x-hat":
            centred = centred / std
        case "running-statistics":
            mean, var = 0.1 * mean, 0.9 + 0.1 * var
            std, centred = np.sqrt(var + eps), x - mean
            dvar = np.sum(dx_hat * centred, axis=0) * -0.5 * std**-3
            dmean = np.sum(-dx_hat / std, axis=0)
    return np.asarray(dx_hat / std + dvar * 2 * centred / n + dmean / n)


@pytest.mark.parametrize(
    "name",
    [
        *("dvar-x", "dvar-plus", "dvar-not-summed", "dvar-power-1/2", "dvar-x-hat", "var-route-x-hat", "var-route-x"),
        *("dmean-not-summed", "dmean-x", "dmean-second-not-summed", "neither-summed", "wrong-axis", "swapped"),
        "running-statistics",
    ],
)
def test_fault_gives_the_dx_of_the_formula_with_the_mistake_in_it(name: str) -> None:
    np.testing.assert_allclose(given(name)["x"], written_out(name), rtol=1e-9, atol=1e-12)


def test_gamma_not_applied_stays_finite_where_gamma_is_zero() -> None:
    found = given("no-gamma", Case(shape=(7, 3), gamma="zeros"))
    assert np.all(np.isfinite(found["x"]))
    assert np.any(found["x"] != 0)


def test_eps_left_out_of_dvar_is_nothing_where_there_is_no_eps() -> None:
    parts = parts_of(Case(shape=(7, 3), eps=0.0))
    assert BY_NAME["dvar-eps-left-out"].needs not in needs_met(parts)
    assert BY_NAME["dvar-sign"].needs in needs_met(parts)


def test_number_of_images_is_a_fault_of_images_alone() -> None:
    assert BY_NAME["samples-for-n"].needs in needs_met(parts_of(IMAGE))
    assert BY_NAME["samples-for-n"].needs not in needs_met(parts_of(DENSE))


def test_fault_breaks_the_line_that_it_is_in() -> None:
    assert BY_NAME["dvar-power-1/2"].breaks == ("dvar",)
    assert BY_NAME["dmean-x"].breaks == ("dmean",)


def test_sentence_of_a_fault_says_what_is_wrong_and_what_was_done() -> None:
    assert BY_NAME["dgamma-averaged"].sentence == (
        "dgamma is 1/n of what it should be: a mean over the batch where a sum belongs"
    )
    assert BY_NAME["identity"].sentence == "dx is dout: backward is the identity"


# --- coordinates -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("std", [1e-100, 1.0, 1e90])
def test_coordinates_of_dx_are_those_of_what_it_is_made_of(std: float) -> None:
    parts = parts_of(Case(shape=(9, 4), x=XDraw(std=std)))
    coordinates = Coordinates.of(parts)
    projected, rest = coordinates.project(parts.gradients.x)
    expected = coordinates.of_routes(parts.inputs.gamma, parts.gradients.var, parts.gradients.mean)
    size = np.max(np.abs(parts.routes.direct))
    np.testing.assert_allclose(projected / size, expected / size, rtol=0, atol=1e-14)
    assert np.max(np.abs(rest)) <= 1e-14 * size


def test_two_rows_have_no_third_direction() -> None:
    assert not np.any(Coordinates.of(parts_of(Case(shape=(2, 5)))).direct[2])
    assert np.all(Coordinates.of(parts_of(Case(shape=(3, 5)))).direct[2])
