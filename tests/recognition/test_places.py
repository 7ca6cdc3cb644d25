"""Places: what is called like the gradient of what."""

from __future__ import annotations

import pytest

from bncheck.recognition.places import is_gradient_of


@pytest.mark.parametrize(
    ("gradient", "parameter"),
    [
        (("dW1",), ("W1",)),
        (("kernel_gradient",), ("kernel",)),
        (("grads", "scale"), ("params", "scale")),
        (("grads", "0"), ("params", "0")),
        (("_parameters", "gamma", "grad"), ("_parameters", "gamma", "data")),
        (("s", "grad"), ("s",)),
    ],
    ids=lambda steps: ".".join(steps),
)
def test_a_place_that_is_called_after_a_parameter_has_its_gradient(
    gradient: tuple[str, ...], parameter: tuple[str, ...]
) -> None:
    assert is_gradient_of(gradient, parameter)


@pytest.mark.parametrize(
    ("other", "parameter"),
    [(("db1",), ("W1",)), (("W1",), ("W1",)), (("grads", "1"), ("params", "0")), (("std",), ("t",)), ((), ())],
    ids=lambda steps: ".".join(steps) or "nothing",
)
def test_a_place_that_is_called_after_something_else_has_not(
    other: tuple[str, ...], parameter: tuple[str, ...]
) -> None:
    assert not is_gradient_of(other, parameter)
