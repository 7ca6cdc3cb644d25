"""The diagnosis: known mistakes get their name, unknown ones their coefficients, and right gradients nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from bncheck.calling.implementation import CLOSED_FORM, REFERENCE
from bncheck.case import Case, XDraw
from bncheck.faults.catalogue import BY_NAME, FAULTS, Fault
from bncheck.faults.diagnosis import Finding
from bncheck.faults.hypotheses import Fit
from bncheck.faults.terms import Parts
from bncheck.gradients.batchnorm import NODES, FloatArray, Variant
from bncheck.gradients.problem import draw
from bncheck.gradients.yardsticks import Basis, Yardstick
from tests.faulty import diagnose, gradients_with, implementation_with

CASE = Case(shape=(4, 3, 3, 2), seed=1)
DENSE = Case(shape=(8, 6), seed=1)
GIVEN = ("x", "gamma", "beta")


def scene(case: Case, variant: Variant | None = None) -> tuple[Parts, Mapping[str, Yardstick]]:
    """The parts of a case in float64, and what its gradients are measured by."""
    basis = Basis.of(draw(case))
    if variant is not None:
        basis = basis.at(replace(basis.exact.inputs, variant=variant))
    parts = Parts.of(basis.exact.inputs, basis.exact.dout, basis.stages, case.shape[0])
    return parts, {node: basis.yardstick(node) for node in NODES}


def given(case: Case, *names: str, rows: tuple[str, ...] = GIVEN) -> dict[str, FloatArray]:
    """What a backward with these faults gives: their slips are added, so they have to be in different terms."""
    problem = draw(case)
    right = REFERENCE.backward(problem.inputs, problem.dout)
    found: dict[str, FloatArray] = {row: right.of(row).astype(np.float64) for row in rows}
    with np.errstate(all="ignore"):
        for name in names:
            wrong = implementation_with(BY_NAME[name], case.shape[0]).backward(problem.inputs, problem.dout)
            found = {row: value + wrong.of(row) - right.of(row) for row, value in found.items()}
    return found


def found(case: Case, *names: str, rows: tuple[str, ...] = GIVEN) -> tuple[Finding, ...]:
    parts, yardsticks = scene(case)
    return diagnose(parts, given(case, *names, rows=rows), yardsticks)


def sentences(case: Case, *names: str) -> list[str]:
    return [finding.sentence for finding in found(case, *names)]


# --- what is right ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("implementation", [REFERENCE, CLOSED_FORM], ids=lambda right: right.name)
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_right_gradients_are_not_diagnosed(regime: Case, dtype: str, implementation: object) -> None:
    case = replace(regime, dtype=dtype)
    problem = draw(case)
    with np.errstate(all="ignore"):
        if Basis.of(problem).reason:
            pytest.skip("the dtype cannot carry the regime")
        right = implementation.backward(problem.inputs, problem.dout)  # type: ignore[attr-defined]
    parts, yardsticks = scene(case)
    assert diagnose(parts, {node: right.of(node) for node in NODES}, yardsticks) == ()


def test_nothing_given_is_not_diagnosed() -> None:
    parts, yardsticks = scene(DENSE)
    assert diagnose(parts, {}, yardsticks) == ()


# --- what is in the catalogue ----------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.needs != "eval"], ids=lambda fault: fault.name)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_fault_is_named_on_ordinary_data(fault: Fault, dtype: str) -> None:
    case = replace(CASE, dtype=dtype, x=XDraw(std=0.02) if fault.needs == "eps" else XDraw())
    (finding,) = found(case, fault.name)
    assert fault.name in finding.faults
    assert finding.fits is Fit.EVERY
    assert fault.row in finding.rows


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "no-var-route",
            "x: the route through var is missing (coefficient 0.000, expected 1); direct and through mean are right.",
        ),
        ("dgamma-averaged", "gamma: dgamma is 1/n of what it should be: a mean over the batch where a sum belongs."),
        (
            "constants",
            "x: mean and var are treated as constants: the routes through var and through mean are both missing.",
        ),
        (
            "half-var-route",
            "x: the route through var is 1/2 of what it should be (coefficient 0.500, expected 1): the 1/2 of the root "
            "is taken twice, or the 2 of 2 (x - mean) / n is forgotten (these are the same formula); direct and "
            "through mean are right.",
        ),
        (
            "no-gamma",
            "x: gamma is not applied in dx_hat (its coefficient is 1/gamma in every feature): "
            "dout is used as it comes.",
        ),
        (
            "n-forgotten",
            "x: what comes back through var and mean is n times what it should be (coefficient 24.000, expected 1): "
            "the 1/n of the closed form is forgotten; direct is right.",
        ),
        (
            "zeros",
            "x, gamma, beta: every gradient is zero: buffers are returned that nothing was written to.",
        ),
        ("parameters-swapped", "gamma, beta: dgamma and dbeta are swapped."),
        (
            "dgamma-of-dx-hat",
            "gamma: dgamma is gamma times what it should be: dx_hat is multiplied by x_hat in place of dout.",
        ),
        ("identity", "x: dx is dout: backward is the identity."),
    ],
)
def test_mistake_is_told_in_one_sentence(name: str, sentence: str) -> None:
    assert sentences(CASE, name) == [sentence]


def test_eps_left_out_is_told_with_where_it_shows() -> None:
    (sentence,) = sentences(replace(CASE, x=XDraw(std=0.02)), "dvar-eps-left-out")
    start, _, shows = sentence.partition(" It shows at small variance: ")
    assert start == "x: eps is left out of dvar: its coefficient is (sigma/sqrt(var))^3 in every feature."
    small, large = (float(part.split()[0]) for part in shows.rstrip(".").split(", "))
    assert shows.endswith("at std 1.")
    assert 1e-3 < small < 1e-1  # at std 0.02 the factor is (1 + 1e-5/4e-4)^1.5 = 1.038, on a part of dx
    assert 1e-7 < large < 1e-4


# --- the formula as it should be ---------------------------------------------------------------------------------

DBETA = "dbeta = sum(dout)"
DGAMMA = "dgamma = sum(dout * x_hat)"
DX_HAT = "dx_hat = dout * gamma"
DVAR = "dvar = sum(dx_hat * (x - mean)) * (-1/2) * (var + eps)^(-3/2)"
DMEAN = "dmean = sum(dx_hat * (-1/std)) + dvar * (1/n) * sum(-2 * (x - mean))"
DX = "dx = dx_hat * (1/std) + dvar * (2/n) * (x - mean) + dmean * (1/n)"


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("dbeta-averaged", DBETA),
        ("dgamma-averaged", DGAMMA),
        ("parameters-swapped", f"{DGAMMA}; {DBETA}"),
        ("no-gamma", DX_HAT),
        ("dvar-power-1", DVAR),
        ("dmean-x", DMEAN),
        ("no-direct-route", DX),
        ("no-var-route", DX),  # or dvar is missing, which gives the same dx: the sentence says that the route is
        ("dvar-missing", DX),
        ("no-mean-route", DX),
        ("dmean-missing", DX),
        ("n-forgotten", DX),
        ("dx-times-n", DX),
        ("half-var-route", f"{DVAR}; {DX}"),  # the sentence tells a cause in either
        ("mean-route-sign", f"{DMEAN}; {DX}"),
        ("swapped", DX),
        ("neither-summed", f"{DVAR}; {DMEAN}"),
        ("std-inverse", f"{DX}; {DMEAN}; {DVAR}"),
        ("zeros", f"{DX}; {DGAMMA}; {DBETA}"),
    ],
)
def test_formula_as_it_should_be_is_that_of_what_the_sentence_calls_wrong(name: str, formula: str) -> None:
    (finding,) = found(CASE, name)
    assert finding.formula == formula


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.needs != "eval"], ids=lambda fault: fault.name)
def test_every_term_that_a_sentence_names_has_its_formula(fault: Fault) -> None:
    (finding,) = found(replace(CASE, x=XDraw(std=0.02) if fault.needs == "eps" else XDraw()), fault.name)
    symbols = [formula.partition(" = ")[0] for formula in finding.formula.split("; ")]
    told = finding.sentence.partition(": ")[2]
    routes = ("the route through ", "what comes back through ", "the direct route")
    assert finding.sentence.startswith(", ".join(finding.rows))
    if told.startswith(routes):
        assert "dx" in symbols
    for symbol in ("dbeta", "dgamma", "dx_hat", "dvar", "dmean"):
        if told.startswith(f"{symbol} is "):
            assert symbol in symbols


def test_two_faults_on_different_routes_have_the_formulas_of_both() -> None:
    (finding,) = found(DENSE, "dvar-power-1", "mean-route-without-n")
    assert finding.sentence == (
        "x: dvar is std times what it should be in every feature: (var + eps)^(-1) stands where (var + eps)^(-3/2) "
        "belongs; and the route through mean is n times what it should be (coefficient 8.000, expected 1): the 1/n of "
        "dmean / n is forgotten."
    )
    assert finding.formula == f"{DVAR}; {DX}"


def test_explanations_that_cannot_be_told_apart_have_the_formulas_of_those_that_are_told() -> None:
    (finding,) = found(Case(shape=(2, 6), seed=1), "double-var-route")
    assert finding.sentence.startswith("x: ")
    assert DX in finding.formula.split("; ")


def test_row_that_nothing_explains_has_its_own_formula() -> None:
    parts, yardsticks = scene(DENSE)
    for row, formula in (("beta", DBETA), ("gamma", DGAMMA), ("mean", DMEAN), ("var", DVAR), ("x", DX)):
        (finding,) = diagnose(parts, {row: 0.73 * parts.gradients.of(row)}, yardsticks)
        assert finding.formula == formula


def test_finding_has_the_coefficients_of_the_routes() -> None:
    (finding,) = found(CASE, "dvar-power-1")
    assert finding.keys == (("through var", "std"),)
    assert [coefficient.route for coefficient in finding.coefficients] == ["direct", "through var", "through mean"]
    parts, _ = scene(CASE)
    np.testing.assert_allclose(finding.coefficients[1].features, parts.stages.std, rtol=1e-9)
    assert finding.coefficients[0].median == pytest.approx(1, abs=1e-9)
    assert finding.remainder < 1e-12


@pytest.mark.parametrize("variant", [Variant(ddof=1), Variant(eps_outside=True)], ids=["unbiased", "eps outside"])
@pytest.mark.parametrize("name", ["no-var-route", "half-var-route", "dvar-eps-left-out", "swapped", "dmean-x"])
def test_fault_is_named_in_a_variant_as_well(variant: Variant, name: str) -> None:
    case = replace(DENSE, x=XDraw(std=0.02))
    parts, yardsticks = scene(case, variant)
    wrong = gradients_with(BY_NAME[name], parts.inputs, parts.dout)
    (finding,) = diagnose(parts, {row: wrong.of(row) for row in GIVEN}, yardsticks)
    assert name in finding.faults
    right = parts.gradients
    assert diagnose(parts, {row: right.of(row) for row in GIVEN}, yardsticks) == ()


def test_backward_that_forgets_an_unbiased_variance_is_told() -> None:
    parts, yardsticks = scene(DENSE, Variant(ddof=1))
    wrong = gradients_with(BY_NAME["var-route-biased"], parts.inputs, parts.dout)
    (finding,) = diagnose(parts, {"x": wrong.x}, yardsticks)
    assert finding.sentence.startswith("x: the route through var is (n-1)/n times what it should be")
    assert "n stands where the forward has n - 1" in finding.sentence


# --- more than one, or not everywhere --------------------------------------------------------------------------


def test_two_faults_on_different_routes_are_both_named() -> None:
    assert sentences(DENSE, "no-var-route", "mean-route-sign") == [
        "x: the route through var is missing (coefficient 0.000, expected 1); and the route through mean has the wrong "
        "sign (coefficient -1.000, expected 1): +1/std stands where -1/std belongs, or it is subtracted where it is to "
        "be added (these are the same formula); direct is right."
    ]


def test_faults_in_different_rows_are_told_one_by_one() -> None:
    rows = [finding.rows for finding in found(DENSE, "no-mean-route", "dgamma-averaged", "dbeta-averaged")]
    assert rows == [("x",), ("gamma",), ("beta",)]


def test_fault_in_some_features_is_told_with_the_features() -> None:
    parts, yardsticks = scene(DENSE)
    dx = parts.gradients.x.copy()
    dx[:, [1, 4]] -= parts.routes.through_var[:, [1, 4]]
    (finding,) = diagnose(parts, {"x": dx}, yardsticks)
    assert finding.fits is Fit.SOME
    assert finding.features == (1, 4)
    assert finding.sentence.endswith(
        "; direct and through mean are right. It is so in 2 of 6 features (1, 4); the others are right."
    )


def test_fault_that_explains_a_part_of_what_is_off_says_which_part() -> None:
    parts, yardsticks = scene(DENSE)
    dx = parts.gradients.x.copy()
    dx[:, :4] -= parts.routes.through_var[:, :4]
    dx[2, 5] += 0.1
    (finding,) = diagnose(parts, {"x": dx}, yardsticks)
    assert finding.fits is Fit.SOME
    assert "That explains 4 of the 5 features that are off; nothing that I know explains the rest." in finding.sentence


def test_dvar_that_was_given_and_is_right_leaves_the_last_line_to_blame() -> None:
    (finding,) = found(DENSE, "half-var-route", rows=NODES)
    assert finding.rows == ("x",)
    assert finding.faults == ("half-var-route",)


def test_dvar_that_was_given_and_is_wrong_is_told_with_x() -> None:
    (finding,) = found(DENSE, "dvar-half-twice", rows=NODES)
    assert finding.rows == ("x", "var")
    assert finding.faults == ("dvar-half-twice",)


# --- what is in no catalogue -----------------------------------------------------------------------------------


def test_random_coefficients_are_told_and_not_named() -> None:
    parts, yardsticks = scene(DENSE)
    routes = parts.routes
    dx = 0.73 * routes.direct + routes.through_var + routes.through_mean
    (finding,) = diagnose(parts, {"x": dx}, yardsticks)
    assert finding.sentence == (
        "x: not a mistake that I know: direct is 0.730 times what it should be; through var and through mean are right."
    )
    assert finding.remainder < 1e-12
    assert (finding.fits, finding.keys, finding.faults, finding.formula) == (Fit.NONE, (), (), DX)


@pytest.mark.parametrize(
    ("factor", "told"), [(1.000001, "1.000001"), (1.0000234, "1.000023"), (0.999999, "0.999999"), (1.27, "1.270")]
)
def test_a_slip_is_told_with_the_digits_that_tell_it_from_one(factor: float, told: str) -> None:
    parts, yardsticks = scene(DENSE)
    routes = parts.routes
    dx = routes.direct + factor * routes.through_var + routes.through_mean
    (finding,) = diagnose(parts, {"x": dx}, yardsticks)
    unknown, is_so = "x: not a mistake that I know:", f"is {told} times what it should be"
    assert finding.sentence == f"{unknown} through var {is_so}; direct and through mean are right."
    (of_all, of_gamma) = diagnose(
        parts, {"x": factor * parts.gradients.x, "gamma": factor * parts.gradients.gamma}, yardsticks
    )
    assert of_all.sentence == f"{unknown} dx {is_so}."
    assert of_gamma.sentence == f"gamma: not a mistake that I know: dgamma {is_so}."


def test_what_is_added_spoils_no_coefficients() -> None:
    parts, yardsticks = scene(DENSE)
    dx = parts.gradients.x + 1e-4 * np.random.default_rng(0).standard_normal(parts.dout.shape)
    (finding,) = diagnose(parts, {"x": dx}, yardsticks)
    told, _, rest = finding.sentence.partition("dx, ")
    assert told == "x: not a mistake that I know: something is added to the right "
    assert 1e-6 < float(rest.split()[0]) < 1e-3


def test_another_number_in_place_of_n_is_told() -> None:
    parts, yardsticks = scene(DENSE)
    routes = parts.routes
    dx = routes.direct + 8 / 5 * (routes.through_var + routes.through_mean)
    (finding,) = diagnose(parts, {"x": dx}, yardsticks)
    assert finding.sentence == (
        "x: dx is what it would be with n = 5, where n is 8: another axis, or another size, is counted as rows."
    )


def test_one_wrong_element_is_told_by_its_place() -> None:
    parts, yardsticks = scene(DENSE)
    dx = parts.gradients.x.copy()
    dx[3, 2] += 1e-3
    (finding,) = diagnose(parts, {"x": dx}, yardsticks)
    assert finding.fits is Fit.NONE
    assert finding.sentence == "x: dx is wrong in row 3 in feature 2, and right everywhere else."


@pytest.mark.parametrize("seed", range(4))
def test_element_just_above_the_tolerance_is_neither_named_nor_taken_for_disorder(seed: int) -> None:
    parts, yardsticks = scene(Case(shape=(8, 6), seed=seed, dtype="float32"))
    allowed = yardsticks["x"].tolerance * yardsticks["x"].measured_by
    feature = int(np.argmin(allowed))  # what is too much here would be little elsewhere
    dx = parts.gradients.x.copy()
    dx[3, feature] += 1.5 * allowed[feature]
    (finding,) = diagnose(parts, {"x": dx}, yardsticks)
    assert finding.sentence.startswith("x: not a mistake that I know: ")


def test_multiple_that_is_in_no_dictionary_is_told_as_a_number() -> None:
    parts, yardsticks = scene(DENSE)
    (finding,) = diagnose(parts, {"gamma": 0.73 * parts.gradients.gamma}, yardsticks)
    assert finding.sentence == "gamma: not a mistake that I know: dgamma is 0.730 times what it should be."


def test_rows_in_another_order_are_told() -> None:
    parts, yardsticks = scene(DENSE)
    (finding,) = diagnose(parts, {"x": np.roll(parts.gradients.x, 1, axis=0)}, yardsticks)
    assert finding.sentence == "x: the elements of dx are right, but stand in other rows of their features."


def test_elements_that_are_not_numbers_are_counted() -> None:
    parts, yardsticks = scene(DENSE)
    dx = parts.gradients.x.copy()
    dx[0, 0], dx[1, 3] = np.nan, np.inf
    (finding,) = diagnose(parts, {"x": dx}, yardsticks)
    assert finding.sentence == "x: 2 of 48 elements are not finite, and nothing that I know makes them so."


# --- what cannot be told apart ---------------------------------------------------------------------------------


def test_two_rows_do_not_tell_two_from_n() -> None:
    (finding,) = found(Case(shape=(2, 6), seed=1), "double-var-route")
    assert finding.alternatives > 1
    assert finding.sentence.endswith("; these data cannot tell them apart.")
    assert "the route through var is 2 times what it should be" in finding.sentence
    assert "the route through var is n times what it should be" in finding.sentence


def test_two_rows_tell_no_coefficients() -> None:
    parts, yardsticks = scene(Case(shape=(2, 6), seed=1))
    (finding,) = diagnose(parts, {"x": parts.gradients.x + 0.37 * parts.routes.direct}, yardsticks)
    assert finding.sentence == (
        "x: not a mistake that I know; n = 2, where x_hat is the same in both rows but for its sign, so the three "
        "routes cannot be told apart."
    )
    assert all(np.isnan(coefficient.median) for coefficient in finding.coefficients)


def test_dout_of_ones_tells_no_coefficients() -> None:
    parts, yardsticks = scene(replace(DENSE, dout="ones"))
    (finding,) = diagnose(parts, {"x": parts.gradients.x + 0.37 * parts.routes.direct}, yardsticks)
    assert "dout is the same in every row, so the three routes cannot be told apart" in finding.sentence


def test_gamma_of_zero_still_tells_that_it_was_not_applied() -> None:
    (finding,) = found(replace(DENSE, gamma="zeros"), "no-gamma")
    assert "no-gamma" in finding.faults


def test_single_feature_is_enough_for_a_name() -> None:
    assert "no-var-route" in found(Case(shape=(16, 1), seed=1), "no-var-route")[0].faults


def test_constant_feature_does_not_hide_the_name() -> None:
    assert found(replace(DENSE, x=XDraw(like="constant")), "no-var-route")[0].faults[0] in {
        "no-var-route",
        "dvar-missing",
    }
