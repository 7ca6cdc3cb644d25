"""A known way of getting the backward pass wrong, as data; and the functions that work out those beyond a factor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from bncheck.faults.parts import Parts
from bncheck.faults.terms import FACTORS, TERMS, About, FactorValues, Wrong
from bncheck.gradients import batchnorm
from bncheck.gradients.batchnorm import FloatArray

Spoil = Callable[[Wrong, Parts], Wrong]
"""The wrong backward pass of a compound fault, made of the right one."""

_NEEDS: Mapping[str, Callable[[Parts], bool]] = {
    "": lambda parts: True,
    "train": lambda parts: not parts.is_eval,
    "eval": lambda parts: parts.is_eval,
    "an image": lambda parts: parts.samples != parts.n,
    "eps": lambda parts: parts.inputs.eps > 0,
    "features": lambda parts: parts.d > 1,
}
"""Conditions on a backward pass without which a fault is not possible in it, by name."""


def needs_met(parts: Parts) -> frozenset[str]:
    """The names of the conditions that a backward pass meets: it can have the faults that need one of them."""
    return frozenset(need for need, is_met in _NEEDS.items() if is_met(parts))


_NEEDS_ABOUT: Mapping[About, str] = {"eps": "eps", "N": "an image"}
"""The condition that a factor needs, by the quantity that it is about."""


class Fault(NamedTuple):
    """One way of getting it wrong: a `factor` on a `term`, or, of the term `compound`, what `spoil` does.

    `breaks` are the symbols of the formulas that it breaks, `cause` is what was done. `found` says that it was found in
    published code, not only to be expected there. `row`, x, gamma or beta, is where it is told. `alike` is the
    (term, factor) that gives the same dx on any data, for a compound fault whose dx is not its own.
    """

    name: str
    term: str
    factor: str
    breaks: tuple[str, ...]
    cause: str
    found: bool = False
    needs: str = ""
    row: str = "x"
    spoil: Spoil | None = None
    alike: tuple[str, str] | None = None

    @property
    def is_compound(self) -> bool:
        """Whether it is more than a factor on a term."""
        return self.spoil is not None

    @property
    def about(self) -> About:
        """The quantity that its factor is about; empty for a compound fault."""
        return "" if self.is_compound else FACTORS[self.factor].about

    @property
    def sentence(self) -> str:
        """The fault as a clause, with what was done to get it."""
        if self.is_compound:
            return self.cause
        return f"{TERMS[self.term].clause(self.factor)}: {self.cause}"

    def wrong(self, right: Wrong, parts: Parts, values: FactorValues) -> Wrong:
        """The wrong backward pass that it makes of the right one."""
        if self.spoil is not None:
            return self.spoil(right, parts)
        return TERMS[self.term].wrong(right, parts, values, self.factor)


Row = tuple[str, str, str] | tuple[str, str, str, bool]
"""A row of the catalogue: name, factor and cause of a fault, and whether it was found in published code."""


def on(name_of_term: str, *rows: Row) -> Iterator[Fault]:
    """The faults that are a factor on one term."""
    term = TERMS[name_of_term]
    for name, factor, cause, *found in rows:
        needs = _NEEDS_ABOUT.get(FACTORS[factor].about, "")
        yield Fault(name, term.name, factor, term.breaks, cause, any(found), needs, term.row)


def compound(
    name: str,
    spoil: Spoil,
    breaks: tuple[str, ...],
    cause: str,
    *,
    found: bool = False,
    needs: str = "",
    row: str = "x",
    alike: tuple[str, str] | None = None,
) -> Fault:
    """A fault that is more than a factor on a term."""
    return Fault(name, "compound", "", breaks, cause, found, needs, row, spoil, alike)


# --- what compound faults give: x, all routes ------------------------------------------------------------------


def statistics_as_constants(right: Wrong, parts: Parts) -> Wrong:
    nothing = np.zeros_like(right.var)
    return right._replace(mean=nothing, var=nothing, through_var=nothing, through_mean=nothing)


def zeros(right: Wrong, parts: Parts) -> Wrong:
    nothing = np.zeros_like(right.var)
    return Wrong(nothing, nothing, nothing, nothing, nothing, nothing, nothing)


def identity(right: Wrong, parts: Parts) -> Wrong:
    return _direct_alone(right, parts.stages.std)


def dx_hat_alone(right: Wrong, parts: Parts) -> Wrong:
    return _direct_alone(right, parts.inputs.gamma * parts.stages.std)


def swapped(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(through_var=right.through_mean, through_mean=right.through_var)


def parameters_swapped(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(beta=right.gamma, gamma=right.beta)


# --- dvar ------------------------------------------------------------------------------------------------------


def x_for_centred_in_dvar(right: Wrong, parts: Parts) -> Wrong:
    return _dvar_of(right, parts, batchnorm.dot(parts.dout, parts.inputs.x) * parts.inputs.gamma)


def plus_for_times(right: Wrong, parts: Parts) -> Wrong:
    dx_hat = parts.dout * parts.inputs.gamma
    return _dvar_of(right, parts, np.add.reduce(dx_hat + parts.stages.centred, axis=0))


def dvar_not_summed(right: Wrong, parts: Parts) -> Wrong:
    """dvar as (n, d): dvar * 2 (x - mean) / n goes through without a complaint."""
    return right._replace(var=_last(_dvar_terms(parts)), x=_dx(parts, _dvar_terms(parts), right.through_mean))


# --- dmean -----------------------------------------------------------------------------------------------------


def x_for_centred_in_dmean(right: Wrong, parts: Parts) -> Wrong:
    return _dmean_and(right, parts.gradients.var * -2 * parts.mean)


def dmean_not_summed(right: Wrong, parts: Parts) -> Wrong:
    """dmean as (n, d): each row takes off its own -dx_hat / std."""
    dtype = parts.stages.std.dtype.type
    spoilt = right._replace(mean=_last(-parts.routes.direct))
    if parts.is_eval:
        return spoilt
    return spoilt._replace(gain=parts.inputs.gamma * dtype(1 - 1 / parts.n), through_mean=0 * right.mean)


def second_term_not_summed(right: Wrong, parts: Parts) -> Wrong:
    """dvar * -2 (x - mean) / n as (n, d): a 1/n of the route through var is taken off again."""
    dtype = parts.stages.std.dtype.type
    mean = right.mean - right.var * 2 * parts.stages.centred[-1] / parts.n
    through = right.through_var * dtype(1 - parts.divisor / parts.n / parts.n)
    return right._replace(mean=mean, through_var=through)


def neither_summed(right: Wrong, parts: Parts) -> Wrong:
    dvar, dmean = _dvar_terms(parts), -parts.routes.direct
    return right._replace(var=_last(dvar), mean=_last(dmean), x=_dx(parts, dvar, dmean))


# --- dx --------------------------------------------------------------------------------------------------------


def x_for_centred_in_dx(right: Wrong, parts: Parts) -> Wrong:
    """dvar * 2 x / n: more by dvar * 2 mean / n, the same in every row."""
    scale = parts.stages.std.dtype.type(parts.n / parts.divisor)
    return right._replace(through_mean=right.through_mean + right.through_var * 2 * parts.mean * scale)


def one_for_centred_in_dx(right: Wrong, parts: Parts) -> Wrong:
    """dvar * 2 / n: x - mean is forgotten."""
    scale = parts.stages.std.dtype.type(parts.n / parts.divisor)
    return right._replace(through_mean=right.through_mean + right.through_var * 2 * scale, through_var=0 * right.var)


def wrong_axis(right: Wrong, parts: Parts) -> Wrong:
    """dvar and dmean summed over the features with keepdims: shape (n, 1), which broadcasts."""
    dvar = np.add.reduce(_dvar_terms(parts), axis=1, keepdims=True)
    dmean = -np.add.reduce(parts.routes.direct, axis=1, keepdims=True)
    return right._replace(
        var=np.broadcast_to(dvar[-1], right.var.shape),
        mean=np.broadcast_to(dmean[-1], right.mean.shape),
        x=_dx(parts, dvar, dmean),
    )


def over_everything(right: Wrong, parts: Parts) -> Wrong:
    """dvar and dmean summed to one number, over the features as well."""
    dvar, dmean = (total(gradient) for gradient in (right.var, right.mean))
    through = (0 * dvar, 0 * dmean) if parts.is_eval else (dvar, dmean)
    return right._replace(var=dvar, mean=dmean, through_var=through[0], through_mean=through[1])


def reshaped(right: Wrong, parts: Parts) -> Wrong:
    """(d, n) read as (n, d): transposed where d == n, and scrambled elsewhere."""
    return right._replace(x=np.ascontiguousarray(parts.gradients.x.T).reshape(parts.n, parts.d))


def features_reversed(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(x=parts.gradients.x[:, ::-1], gamma=right.gamma[::-1], beta=right.beta[::-1])


def rows_reversed(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(x=parts.gradients.x[::-1])


def running_statistics(right: Wrong, parts: Parts) -> Wrong:
    """Running mean and variance after one batch, of momentum 0.9, from 0 and 1: x_hat and std anew, then all as usual.

    x - running mean is x - mean and a constant, so that dx has the same three routes.
    """
    dtype = parts.stages.var.dtype.type
    var, offset = dtype(0.9) + dtype(0.1) * parts.stages.var, dtype(0.9) * parts.mean
    std = np.sqrt(var + dtype(parts.inputs.eps))
    gamma = parts.inputs.gamma
    dgamma = batchnorm.dot(parts.dout, parts.stages.centred + offset) / std
    gain = gamma * (parts.stages.std / std)
    dvar, dmean = -gamma * dgamma / (2 * std * std), -gamma * right.beta / std
    spoilt = right._replace(gamma=dgamma, var=dvar, mean=dmean, gain=gain)
    if parts.is_eval:
        return spoilt
    scale = dtype(parts.n / parts.divisor)
    return spoilt._replace(through_var=dvar, through_mean=dmean + dvar * 2 * offset * scale)


def batch_routes_in_eval(right: Wrong, parts: Parts) -> Wrong:
    """dx with the routes through var and mean, which do not exist where these are constants."""
    return right._replace(through_var=right.var, through_mean=right.mean)


# --- dgamma and dbeta ------------------------------------------------------------------------------------------


def dgamma_on_x(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(gamma=batchnorm.dot(parts.dout, parts.inputs.x))


def dgamma_on_out(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(gamma=batchnorm.dot(parts.dout, parts.stages.out))


def dgamma_on_nothing(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(gamma=right.beta)


def dgamma_on_last_row(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(gamma=parts.dout[-1] * parts.stages.x_hat[-1])


def dgamma_total(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(gamma=total(right.gamma))


def dbeta_on_x_hat(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(beta=right.gamma)


def dbeta_without_dout(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(beta=np.full_like(right.beta, parts.n))


def dbeta_on_last_row(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(beta=parts.dout[-1])


def dbeta_total(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(beta=total(right.beta))


# --- what they are made with -----------------------------------------------------------------------------------


def total(gradient: FloatArray) -> FloatArray:
    """The sum over the features too, in every feature."""
    return np.full_like(gradient, np.add.reduce(gradient))


def _direct_alone(right: Wrong, gain: FloatArray) -> Wrong:
    nothing = np.zeros_like(right.var)
    return right._replace(gain=gain, through_var=nothing, through_mean=nothing)


def _dvar_of(right: Wrong, parts: Parts, summed: FloatArray) -> Wrong:
    """dvar made of another sum than that of dx_hat * (x - mean)."""
    dvar = -summed / parts.stages.std / parts.stages.std / (2 * parts.stages.root)
    return right._replace(var=dvar, through_var=0 * dvar if parts.is_eval else dvar)


def _dmean_and(right: Wrong, more: FloatArray) -> Wrong:
    return right._replace(mean=right.mean + more, through_mean=right.through_mean + more)


def _dvar_terms(parts: Parts) -> FloatArray:
    """The terms that dvar is the sum of, (n, d)."""
    terms: FloatArray = -parts.routes.direct * parts.stages.x_hat / (2 * parts.stages.root)
    return terms


def _dx(parts: Parts, dvar: FloatArray, dmean: FloatArray) -> FloatArray:
    """dx of a dvar and a dmean that broadcast to (n, d)."""
    return parts.routes.direct if parts.is_eval else parts.dx(parts.inputs.gamma, dvar, dmean)


def _last(terms: FloatArray) -> FloatArray:
    """The last row of an (n, d), which stands for it where one number a feature is expected."""
    return np.asarray(terms[-1])
