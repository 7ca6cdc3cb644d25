"""The twelve faults are wrong where they say that they are, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from bncheck.calling.implementation import CLOSED_FORM, REFERENCE, Implementation
from bncheck.case import Case, Verdict, XDraw
from bncheck.checking import check
from bncheck.gradients.batchnorm import NODES, Inputs
from bncheck.gradients.problem import draw
from tests.benchmarks.rewritings import REWRITINGS
from tests.faulty import FAULTS, ZEROS, Fault, slip, taken_apart

ORDINARY = Case(shape=(16, 8), seed=5)
SLIP = 1e-7  # the smallest slip of dvar that the issue wants caught: a hundred times the floor of the tolerance

by_name = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)


def failing(case: Case, implementation: Implementation) -> set[str]:
    """The nodes that fail; none may be unresolved."""
    found = check(case, implementation).comparisons
    assert all(comparison.verdict in (Verdict.PASS, Verdict.FAIL) for comparison in found)
    return {comparison.node for comparison in found if comparison.verdict is Verdict.FAIL}


def test_there_are_twelve_faults_of_different_names() -> None:
    assert len({fault.name for fault in FAULTS}) == 12


@by_name
def test_fault_fails_at_its_own_rows_and_passes_at_the_others(fault: Fault) -> None:
    assert failing(ORDINARY, fault.implementation) == fault.rows


@by_name
def test_fault_leaves_the_forward_of_the_reference_as_it_is(fault: Fault) -> None:
    assert fault.implementation.forward is REFERENCE.forward


@by_name
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_fault_keeps_shapes_and_dtype(fault: Fault, dtype: str) -> None:
    problem = draw(Case(shape=(6, 3), dtype=dtype))
    found = fault.implementation.backward(problem.inputs, problem.dout)
    right = REFERENCE.backward(problem.inputs, problem.dout)
    for node in NODES:
        assert (found.of(node).shape, found.of(node).dtype) == (right.of(node).shape, right.of(node).dtype), node


@pytest.mark.parametrize("implementation", [REFERENCE, CLOSED_FORM, *REWRITINGS], ids=lambda right: right.name)
def test_correct_code_passes_where_the_faults_fail(implementation: Implementation) -> None:
    assert check(ORDINARY, implementation).verdict is Verdict.PASS


def test_zeros_fail_at_all_five_nodes() -> None:
    assert failing(ORDINARY, ZEROS) == set(NODES)


def test_slip_in_dvar_enters_dx_through_the_var_route() -> None:
    assert failing(ORDINARY, slip(SLIP)) == {"var", "x"}


def test_slip_of_nothing_is_the_reference() -> None:
    problem = draw(ORDINARY)
    found, right = (writer.backward(problem.inputs, problem.dout) for writer in (slip(0), REFERENCE))
    for node in NODES:
        np.testing.assert_array_equal(found.of(node), right.of(node))


def test_eps_left_out_is_what_the_formula_without_eps_gives() -> None:
    case = Case(shape=(16, 8), x=XDraw(std=1e-2))
    problem = draw(case)
    fault = next(fault for fault in FAULTS if fault.name == "no-eps")
    parts = taken_apart(problem.inputs, problem.dout)
    dx_hat = problem.dout * problem.inputs.gamma
    written_out = np.sum(dx_hat * parts.stages.centred * -0.5 * parts.stages.var**-1.5, axis=0)
    found = fault.implementation.backward(problem.inputs, problem.dout).var
    np.testing.assert_allclose(found, written_out, rtol=1e-12)  # the same products in another order


def test_std_as_its_inverse_is_what_the_formula_with_std_gives() -> None:
    problem = draw(ORDINARY)
    fault = next(fault for fault in FAULTS if fault.name == "std-inverse")
    found = fault.implementation.backward(problem.inputs, problem.dout)
    parts = taken_apart(problem.inputs, problem.dout)
    n, inverse, centred = len(problem.dout), parts.stages.std, parts.stages.centred
    dx_hat = problem.dout * problem.inputs.gamma
    dvar = -0.5 * np.sum(dx_hat * centred, axis=0) * inverse**3
    dmean = -np.sum(dx_hat * inverse, axis=0)
    dx = dx_hat * inverse + dvar * 2 * centred / n + dmean / n
    scale = np.max(np.abs(dx), axis=0)
    np.testing.assert_allclose(found.var, dvar, rtol=1e-12)  # the same products in another order
    assert np.all(np.abs(found.x - dx) <= 1e-12 * scale)


def test_gamma_of_one_hides_that_gamma_is_not_applied() -> None:
    case = Case(shape=(16, 8), gamma="ones")
    fault = next(fault for fault in FAULTS if fault.name == "no-gamma")
    assert failing(case, fault.implementation) == set()


def test_faults_leave_the_inputs_as_they_were() -> None:
    problem = draw(ORDINARY)
    kept: Inputs = problem.inputs.map(np.copy)
    for fault in FAULTS:
        fault.implementation.backward(problem.inputs, problem.dout)
    np.testing.assert_array_equal(kept.x, problem.inputs.x)
    np.testing.assert_array_equal(kept.gamma, problem.inputs.gamma)
    np.testing.assert_array_equal(kept.beta, problem.inputs.beta)
