"""Gradients, scales and numeric gradients against the definition, worked with 50 digits.

The formulas here are those of the derivation as it stands, and are themselves checked by mpmath's differentiation
of the loss, cut at each node.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray

from bncheck.calling.implementation import CLOSED_FORM, REFERENCE, Implementation
from bncheck.case import Case, XDraw
from bncheck.gradients import batchnorm, numeric
from bncheck.gradients.batchnorm import NODES, sizes_of
from bncheck.gradients.problem import draw
from bncheck.gradients.stack import Method, methods

Exact = NDArray[np.object_]

MP: Any = mpmath.mp.clone()
MP.dps = 50

# What the issue asks of float64, relative to the scale: 4500 units roundoff, for sums of some ten terms.
OF_THE_SCALE = 1e-12
# 50 digits less what the outlier, eps and mpmath's own differencing take of them.
OF_DIFFERENTIATION = 1e-25


def exact(array: NDArray[Any]) -> Exact:
    """The same numbers, digit for digit: an 80-bit number is the sum of two of 64 bits."""

    def one(number: Any) -> Any:
        high = float(number)
        return MP.mpf(high) + MP.mpf(float(number - high))

    found: Exact = np.vectorize(one, otypes=[object])(array)
    return found


def root(array: Exact) -> Exact:
    """Square roots, one by one."""
    found: Exact = np.vectorize(MP.sqrt, otypes=[object])(array)
    return found


class Definition:
    """One problem by the derivation, in 50 digits. Shapes as in `batchnorm`."""

    def __init__(self, case: Case) -> None:
        problem = draw(case).widened()
        inputs = problem.inputs
        self.train = inputs.running_mean is None
        self.x, self.gamma, self.beta = exact(inputs.x), exact(inputs.gamma), exact(inputs.beta)
        self.dout, self.eps, self.n = exact(problem.dout), MP.mpf(case.eps), case.n
        if inputs.running_mean is None or inputs.running_var is None:
            self.mean = self.mean_of(self.x)
            self.var = self.var_of(self.x, self.mean)
        else:
            self.mean, self.var = exact(inputs.running_mean), exact(inputs.running_var)
        self.std = root(self.var + self.eps)
        self.x_hat = (self.x - self.mean) / self.std
        self.dx_hat = self.dout * self.gamma

    def mean_of(self, x: Exact) -> Exact:
        found: Exact = x.sum(axis=0) / self.n
        return found

    def var_of(self, x: Exact, mean: Exact) -> Exact:
        found: Exact = ((x - mean) ** 2).sum(axis=0) / self.n
        return found

    def gradients(self) -> dict[str, Exact]:
        """Line by line as in the derivation."""
        centred = self.x - self.mean
        dvar = (self.dx_hat * centred).sum(axis=0) * MP.mpf("-0.5") / self.std**3
        dmean = (self.dx_hat * (-1 / self.std)).sum(axis=0)
        dx = self.dx_hat / self.std
        if self.train:
            dmean = dmean + dvar * (-2 * centred).sum(axis=0) / self.n
            dx = dx + dvar * 2 * centred / self.n + dmean / self.n
        dgamma = (self.dout * self.x_hat).sum(axis=0)
        return {"beta": self.dout.sum(axis=0), "gamma": dgamma, "mean": dmean, "var": dvar, "x": dx}

    def scales(self) -> dict[str, Exact]:
        """The same terms, each by its absolute value."""
        dx_hat, x_hat, dout = abs(self.dx_hat), abs(self.x_hat), abs(self.dout)
        rows = dx_hat
        if self.train:
            rows = rows + x_hat * (dx_hat * x_hat).sum(axis=0) / self.n + dx_hat.sum(axis=0) / self.n
        return {
            "beta": dout.sum(axis=0),
            "gamma": (dout * x_hat).sum(axis=0),
            "mean": dx_hat.sum(axis=0) / self.std,
            "var": (dx_hat * abs(self.x - self.mean)).sum(axis=0) / self.std**3 / 2,
            "x": rows.max(axis=0) / self.std,
        }

    def roundoff_scales(self, unit: float) -> dict[str, Exact]:
        """With |x| + |mean| for |x - mean| in one factor, or in both, `unit` smaller; the second term of dmean counts.

        A batch mean is a sum, rounded at the size of its terms, which is mean(|x|). std is off where x - mean is: by
        `unit` times the mean square of |x| + |mean|, over its own square.
        """
        dx_hat, x_hat, dout = abs(self.dx_hat), abs(self.x_hat), abs(self.dout)
        mean = self.mean_of(abs(self.x)) if self.train else abs(self.mean)
        wide = (abs(self.x) + mean) / self.std
        of_std = unit * (wide**2).sum(axis=0) / self.n
        rows, direct, second = dx_hat * (1 + of_std), dx_hat.sum(axis=0) * (1 + of_std), 0 * self.std
        if self.train:
            exact_sum, wide_sum = (dx_hat * x_hat).sum(axis=0), (dx_hat * wide).sum(axis=0)
            second = (exact_sum + unit * wide_sum) * wide.sum(axis=0) / self.n
            var_route = wide * exact_sum + x_hat * wide_sum + unit * wide * wide_sum
            rows = rows + (var_route + direct + second) / self.n
        return {
            "beta": dout.sum(axis=0),
            "gamma": (dout * (wide + x_hat * of_std)).sum(axis=0),
            "mean": (direct + second) / self.std,
            "var": (dx_hat * (wide + 3 * x_hat * of_std)).sum(axis=0) / self.std**2 / 2,
            "x": rows.max(axis=0) / self.std,
        }

    def loss(self, node: str, place: tuple[int, ...], value: Any) -> Any:
        """sum(dout * out) of one feature, with one element of one node set to `value`, and all after it following."""
        feature = place[-1]
        x, gamma, beta, mean, var, dout = (
            array[..., feature] for array in (self.x, self.gamma, self.beta, self.mean, self.var, self.dout)
        )
        if node == "x":
            x = x.copy()
            x[place[0]] = value
        if node == "x" and self.train:
            mean = x.sum() / self.n
        mean = value if node == "mean" else mean
        if node in ("x", "mean") and self.train:
            var = ((x - mean) ** 2).sum() / self.n
        var = value if node == "var" else var
        gamma = value if node == "gamma" else gamma
        beta = value if node == "beta" else beta
        return (dout * (gamma * (x - mean) / MP.sqrt(var + self.eps) + beta)).sum()

    def at(self, node: str) -> Exact:
        """The value at one of NODES."""
        value: Exact = getattr(self, node)
        return value


@cache
def definition(case: Case) -> Definition:
    """Each case worked once."""
    return Definition(case)


@cache
def true_gradients(case: Case) -> dict[str, Exact]:
    """Each case worked once."""
    return definition(case).gradients()


def largest(array: Exact) -> float:
    """As a float, 0 of nothing."""
    return float(max(array.ravel(), default=0))


def in_units_of(scale: Exact, difference: Exact) -> float:
    """The largest |difference| / scale; where the scale is 0, so has the difference to be."""
    sizes = np.broadcast_to(scale, difference.shape)
    assert not np.any(difference[sizes == 0])
    return largest(abs(difference[sizes != 0]) / sizes[sizes != 0])


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("implementation", [REFERENCE, CLOSED_FORM], ids=lambda implementation: implementation.name)
def test_gradients_agree_with_fifty_digits(regime: Case, implementation: Implementation, node: str) -> None:
    problem = draw(regime)
    found = implementation.backward(problem.inputs, problem.dout).of(node)
    difference = exact(found) - true_gradients(regime)[node]
    assert in_units_of(definition(regime).scales()[node], difference) <= OF_THE_SCALE


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(Case(shape=(5, 2)), id="ordinary"),
        pytest.param(Case(shape=(2, 2)), id="n = 2"),
        pytest.param(Case(shape=(5, 2), x=XDraw(mean=1e4)), id="mean 1e4"),
        pytest.param(Case(shape=(5, 2), x=XDraw(like="constant")), id="a constant feature"),
        pytest.param(Case(shape=(5, 2), dout="ones"), id="dout of ones"),
        pytest.param(Case(shape=(5, 2), mode="eval"), id="eval"),
    ],
)
def test_formulas_of_the_derivation_are_the_derivatives_of_the_loss(case: Case, node: str) -> None:
    truth = definition(case)
    formula = true_gradients(case)[node]
    derivative = np.empty_like(formula)
    for place in np.ndindex(formula.shape):
        derivative[place] = MP.diff(lambda value, place=place: truth.loss(node, place, value), truth.at(node)[place])
    assert in_units_of(truth.scales()[node], derivative - formula) <= OF_DIFFERENTIATION


@pytest.mark.parametrize("node", NODES)
def test_scales_are_the_sums_of_the_absolute_terms(regime: Case, node: str) -> None:
    problem = draw(regime)
    found = sizes_of(problem.inputs, batchnorm.forward(problem.inputs), problem.dout).scales.of(node)
    truth = definition(regime).scales()[node]
    assert in_units_of(truth, exact(found) - truth) <= OF_THE_SCALE


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("unit", [0.0, 2.0**-10], ids=["to first order", "to second order"])
def test_roundoff_scales_are_the_same_sums_before_the_mean_is_taken_off(regime: Case, unit: float, node: str) -> None:
    problem = draw(regime)
    found = sizes_of(problem.inputs, batchnorm.forward(problem.inputs), problem.dout, unit).roundoff.of(node)
    truth = definition(regime).roundoff_scales(unit)[node]
    assert in_units_of(truth, exact(found) - truth) <= OF_THE_SCALE


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("method", methods(), ids=str)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_numeric_gradients_are_within_their_resolution_of_the_truth(
    regime: Case, seed: int, method: Method, node: str
) -> None:
    case = replace(regime, seed=seed)
    problem = draw(case)
    with np.errstate(all="ignore"):
        found = numeric.differentiate(node, REFERENCE.forward, problem.inputs, problem.dout, method)
    off = abs(exact(found.value) - true_gradients(case)[node])
    assert np.all(off <= exact(found.resolution))
