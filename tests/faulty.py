"""Twelve ways of getting the backward pass wrong, each found in published code, on the reference's forward.

A fault is data: a name, a sentence, and the gradients that it gives of the parts of the right ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bncheck.calling.implementation import REFERENCE, Implementation
from bncheck.faults.catalogue import Fault as Catalogued
from bncheck.faults.diagnosis import Finding, explained_rows, told
from bncheck.faults.terms import FactorValues, Parts, Wrong
from bncheck.gradients import batchnorm
from bncheck.gradients.batchnorm import FloatArray, Gradients, Inputs, Routes, Stages
from bncheck.gradients.yardsticks import Yardstick

Factor = FloatArray | float
"""One number a feature, shape (d,), or one for all."""


@dataclass(frozen=True, slots=True)
class Right:
    """The right backward pass, taken apart."""

    inputs: Inputs
    stages: Stages
    dout: FloatArray
    gradients: Gradients
    routes: Routes


@dataclass(frozen=True, slots=True)
class Fault:
    """One way of getting it wrong. `rows` are the nodes whose gradient it spoils on ordinary data."""

    name: str
    sentence: str
    rows: frozenset[str]
    gradients: Callable[[Right], Gradients]

    @property
    def implementation(self) -> Implementation:
        """The reference's forward with this backward, worked and rounded as the reference does."""
        return faulty(self.name, self.gradients)


def faulty(name: str, gradients: Callable[[Right], Gradients]) -> Implementation:
    """An implementation whose backward makes `gradients` of the right ones."""

    def backward(inputs: Inputs, dout: FloatArray) -> Gradients:
        wide = np.result_type(inputs.x.dtype, np.float32)
        found = gradients(taken_apart(inputs.map(lambda array: array.astype(wide)), dout.astype(wide)))
        beta, gamma, x = (found.of(node).astype(inputs.x.dtype) for node in ("beta", "gamma", "x"))
        return Gradients(beta, gamma, found.mean, found.var, x)

    return Implementation(name, REFERENCE.forward, backward)


def taken_apart(inputs: Inputs, dout: FloatArray) -> Right:
    """The right backward pass in the dtype of its arguments, with all that it is made of."""
    stages = batchnorm.forward(inputs)
    gradients, routes = batchnorm.backward(inputs, stages, dout)
    return Right(inputs, stages, dout, gradients, routes)


# --- what the faults do ----------------------------------------------------------------------------------------


def changed(
    right: Right,
    *,
    beta: FloatArray | None = None,
    gamma: FloatArray | None = None,
    mean: FloatArray | None = None,
    var: FloatArray | None = None,
    x: FloatArray | None = None,
) -> Gradients:
    """The right gradients but for those given."""
    g = right.gradients
    return Gradients(
        g.beta if beta is None else beta,
        g.gamma if gamma is None else gamma,
        g.mean if mean is None else mean,
        g.var if var is None else var,
        g.x if x is None else x,
    )


def _routes_scaled(right: Right, direct: Factor, var: Factor, mean: Factor) -> FloatArray:
    """dx with a factor on each route."""
    routes = right.routes
    dx: FloatArray = routes.direct * direct + routes.through_var * var + routes.through_mean * mean
    return dx


def _var_scaled(right: Right, factor: Factor) -> Gradients:
    """dvar times a factor, (d,) or a number, and dx, which is made with it."""
    return changed(right, var=right.gradients.var * factor, x=_routes_scaled(right, 1, factor, 1))


def _mean_scaled(right: Right, factor: Factor) -> Gradients:
    """dmean times a factor, and dx, which is made with it."""
    return changed(right, mean=right.gradients.mean * factor, x=_routes_scaled(right, 1, 1, factor))


def _statistics_as_constants(right: Right) -> Gradients:
    nothing = np.zeros_like(right.gradients.var)
    return changed(right, mean=nothing, var=nothing, x=right.routes.direct)


def _half_the_route(right: Right) -> Gradients:
    return changed(right, x=_routes_scaled(right, 1, 0.5, 1))


def _eps_left_out(right: Right) -> Gradients:
    """(var + eps) ** (-3/2) as var ** (-3/2)."""
    return _var_scaled(right, (right.stages.std / np.sqrt(right.stages.var)) ** 3)


def _std_as_its_inverse(right: Right) -> Gradients:
    """Every 1/std as std: direct = dx_hat * std, dmean = -sum(dx_hat) * std, dvar by std ** 3."""
    std = right.stages.std
    var, mean = right.gradients.var * std**6, right.gradients.mean * std**2
    return changed(right, mean=mean, var=var, x=_routes_scaled(right, std**2, std**6, std**2))


def _gamma_not_applied(right: Right) -> Gradients:
    """dx_hat = dout: what a backward with gamma = 1 gives."""
    inputs = Inputs(
        right.inputs.x,
        np.ones_like(right.inputs.gamma),
        right.inputs.beta,
        right.inputs.eps,
        right.inputs.running_mean,
        right.inputs.running_var,
    )
    bare = batchnorm.backward(inputs, right.stages, right.dout)[0]
    return changed(right, mean=bare.mean, var=bare.var, x=bare.x)


def _parameters_averaged(right: Right) -> Gradients:
    n = right.dout.dtype.type(len(right.dout))
    return changed(right, beta=right.gradients.beta / n, gamma=right.gradients.gamma / n)


def _rows(*nodes: str) -> frozenset[str]:
    return frozenset(nodes)


FAULTS = (
    Fault("no-var-route", "the route through var is missing", _rows("var", "x"), lambda r: _var_scaled(r, 0)),
    Fault("no-mean-route", "the route through mean is missing", _rows("mean", "x"), lambda r: _mean_scaled(r, 0)),
    Fault("constants", "mean and var are treated as constants", _rows("mean", "var", "x"), _statistics_as_constants),
    Fault("var-sign", "the sign of the var route is wrong", _rows("var", "x"), lambda r: _var_scaled(r, -1)),
    Fault("mean-sign", "the sign of the mean route is wrong", _rows("mean", "x"), lambda r: _mean_scaled(r, -1)),
    Fault("half-var-route", "the var route has 1/n in place of 2/n", _rows("x"), _half_the_route),
    Fault("no-eps", "eps is left out of dvar", _rows("var", "x"), _eps_left_out),
    Fault("std-inverse", "the cached std is used as 1/std", _rows("mean", "var", "x"), _std_as_its_inverse),
    Fault("no-gamma", "gamma is not applied in dx_hat", _rows("mean", "var", "x"), _gamma_not_applied),
    Fault(
        "dgamma-centred",
        "dgamma is taken on x - mean in place of x_hat",
        _rows("gamma"),
        lambda r: changed(r, gamma=batchnorm.dot(r.dout, r.stages.centred)),
    ),
    Fault("averaged", "dgamma and dbeta are means in place of sums", _rows("beta", "gamma"), _parameters_averaged),
    Fault("identity", "backward is the identity, dx = dout", _rows("x"), lambda r: changed(r, x=r.dout)),
)


def _nothing(right: Right) -> Gradients:
    zero = {node: np.zeros_like(right.gradients.of(node)) for node in batchnorm.NODES}
    return Gradients(**zero)


ZEROS = faulty("zeros", _nothing)
"""A backward that returns zeros."""


def slip(size: float) -> Implementation:
    """dvar off by the fraction `size`, and dx with it, through the var route."""
    return faulty(f"slip of {size:g}", lambda r: _var_scaled(r, 1 + size))


# --- the faults of the catalogue -------------------------------------------------------------------------------


def gradients_with(fault: Catalogued, inputs: Inputs, dout: FloatArray, samples: int = 0) -> Gradients:
    """The gradients that a backward pass with a fault gives, in the dtype of the arguments, (n, d) and (d,)."""
    parts = Parts.of(inputs, dout, samples=samples)
    return fault.wrong(Wrong.without_fault(parts), parts, FactorValues.of(parts)).gradients(parts)


def implementation_with(fault: Catalogued, samples: int = 0) -> Implementation:
    """The reference's forward with a backward that has a fault, worked and rounded as the reference does."""

    def backward(inputs: Inputs, dout: FloatArray) -> Gradients:
        wide = np.result_type(inputs.x.dtype, np.float32)
        found = gradients_with(fault, inputs.map(lambda array: array.astype(wide)), dout.astype(wide), samples)
        beta, gamma, x = (found.of(node).astype(inputs.x.dtype) for node in ("beta", "gamma", "x"))
        return Gradients(beta, gamma, found.mean, found.var, x)

    return Implementation(fault.name, REFERENCE.forward, backward)


def diagnose(
    parts: Parts, given: Mapping[str, FloatArray], yardsticks: Mapping[str, Yardstick], axes: Sequence[int] = ()
) -> tuple[Finding, ...]:
    """The findings about gradients, by row, that a check of one problem tells."""
    return told(explained_rows(parts, given, yardsticks, axes), parts, yardsticks)
