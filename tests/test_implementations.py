"""What can be checked. That its gradients are right is in test_truth.py and test_check.py."""

from __future__ import annotations

import numpy as np
import pytest

from bncheck.batchnorm import NODES
from bncheck.case import Case
from bncheck.implementations.contract import Implementation
from bncheck.implementations.reference import BUILT_IN, CLOSED_FORM, REFERENCE, find
from bncheck.problem import draw

either = pytest.mark.parametrize("implementation", [REFERENCE, CLOSED_FORM], ids=lambda found: found.name)


@pytest.mark.parametrize(("name", "wanted"), [("reference", REFERENCE), ("closed-form", CLOSED_FORM)])
def test_an_implementation_is_found_by_its_name(name: str, wanted: Implementation) -> None:
    assert find(name) is wanted


def test_there_are_two() -> None:
    assert list(BUILT_IN) == ["reference", "closed-form"]


def test_a_name_that_nobody_has_is_refused() -> None:
    with pytest.raises(KeyError, match="refrence"):
        find("refrence")


@either
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_gradients_that_leave_the_layer_are_in_its_dtype(implementation: Implementation, dtype: str) -> None:
    problem = draw(Case(shape=(7, 3), dtype=dtype))
    gradients = implementation.backward(problem.inputs, problem.dout)
    assert {gradients.of(node).dtype.name for node in ("beta", "gamma", "x")} == {dtype}


@either
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_gradients_have_the_shapes_of_their_nodes(implementation: Implementation, mode: str) -> None:
    problem = draw(Case(shape=(7, 3), mode=mode))
    gradients = implementation.backward(problem.inputs, problem.dout)
    assert [gradients.of(node).shape for node in NODES] == [(3,), (3,), (3,), (3,), (7, 3)]


@either
def test_float16_is_summed_in_float32(implementation: Implementation) -> None:
    # 60,000 ones: in float16 their sum would stop at 2048, and 65504 is its largest number.
    problem = draw(Case(shape=(60_000, 1), dtype="float16", dout="ones"))
    assert implementation.backward(problem.inputs, problem.dout).beta == np.float16(60_000)


@either
@pytest.mark.parametrize("dtype", ["float64", "float32", "longdouble"])
def test_forward_keeps_the_dtype_it_is_given(implementation: Implementation, dtype: str) -> None:
    inputs = draw(Case(shape=(7, 3), mode="eval")).inputs.map(lambda array: array.astype(dtype))
    assert implementation.forward(inputs).dtype == np.dtype(dtype)


@either
def test_backward_twice_gives_the_same_bits(implementation: Implementation) -> None:
    problem = draw(Case(shape=(7, 3)))
    for array in (problem.inputs.x, problem.inputs.gamma, problem.inputs.beta, problem.dout):
        array.flags.writeable = False
    first = implementation.backward(problem.inputs, problem.dout)
    again = implementation.backward(problem.inputs, problem.dout)
    assert all(first.of(node).tobytes() == again.of(node).tobytes() for node in NODES)
