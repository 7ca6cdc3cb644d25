"""Stencils against what makes them stencils: their moments, and the order of their error."""

from __future__ import annotations

from fractions import Fraction
from types import MappingProxyType
from typing import Any

import mpmath
import pytest

from bncheck.gradients.stack import STENCILS, Stencil

MP: Any = mpmath.mp.clone()
MP.dps = 50

every_stencil = pytest.mark.parametrize("stencil", STENCILS, ids=lambda stencil: f"order {stencil.order}")


def moments(weights: dict[int, Fraction], up_to: int) -> list[Fraction]:
    """The sums of weight * offset ** k for k = 0 .. up_to."""
    return [sum((weight * offset**k for offset, weight in weights.items()), Fraction(0)) for k in range(up_to + 1)]


def error(stencil: Stencil, step: Any) -> Any:
    """How far the stencil is off the derivative of exp at 0, which is 1, and so are all the higher ones."""
    slope = MP.fsum(w * MP.exp(k * step) for k, w in stencil.weights.items()) / (stencil.over * step)
    return slope - 1


def test_the_orders_are_listed_from_low_to_high() -> None:
    assert [stencil.order for stencil in STENCILS] == [1, 2, 3, 4, 6, 8]


def exact(stencil: Stencil) -> dict[int, Fraction]:
    """The weights, divided by what they stand over."""
    return {offset: Fraction(weight, stencil.over) for offset, weight in stencil.weights.items()}


@every_stencil
def test_moments_are_those_of_a_first_derivative(stencil: Stencil) -> None:
    wanted = [0, 1] + [0] * (stencil.order - 1)
    assert moments(exact(stencil), stencil.order) == wanted


@every_stencil
def test_the_order_is_not_higher_than_it_says(stencil: Stencil) -> None:
    assert moments(exact(stencil), stencil.order + 1)[-1] != 0


@every_stencil
def test_one_changed_weight_spoils_the_moments(stencil: Stencil) -> None:
    wanted = [0, 1] + [0] * (stencil.order - 1)
    for offset, weight in exact(stencil).items():
        changed = {**exact(stencil), offset: weight * Fraction(1001, 1000)}
        assert moments(changed, stencil.order) != wanted


@every_stencil
def test_halving_the_step_divides_the_error_by_two_to_the_order(stencil: Stencil) -> None:
    step = MP.mpf(2) ** -12  # the next term is smaller by the step, and 2**-12 is 1/4 of the 1/1000 allowed below
    ratio = error(stencil, step) / error(stencil, step / 2)
    assert float(ratio) == pytest.approx(2**stencil.order, rel=1e-3)


@every_stencil
def test_the_lower_stencil_needs_no_further_points(stencil: Stencil) -> None:
    lower = stencil.lower
    assert lower is None or set(lower.weights) <= {0, *stencil.weights}


@every_stencil
def test_the_lower_stencil_is_of_lower_order(stencil: Stencil) -> None:
    assert stencil.lower is None or stencil.lower.order < stencil.order


def test_only_the_lowest_order_has_no_lower_one() -> None:
    assert [stencil.order for stencil in STENCILS if stencil.lower is None] == [1]


@every_stencil
def test_weights_are_exact_and_cannot_be_changed(stencil: Stencil) -> None:
    assert isinstance(stencil.weights, MappingProxyType)
    assert all(isinstance(weight, int) for weight in stencil.weights.values())


@every_stencil
def test_every_stencil_names_its_source(stencil: Stencil) -> None:
    assert stencil.source
