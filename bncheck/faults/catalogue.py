"""The catalogue of known faults: factors on terms, in a table, and what is more than a factor, in functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from bncheck.faults.terms import FACTORS, TERMS, About, FactorValues, Parts, Wrong, row_of, running_std
from bncheck.gradients import batchnorm
from bncheck.gradients.batchnorm import FloatArray

Spoil = Callable[[Wrong, Parts], Wrong]
"""The wrong backward pass of a compound fault, made of the right one."""


class Fault(NamedTuple):
    """One way of getting it wrong: a `factor` on a `term`; of the term `compound`, what `spoil` does; of the term
    `place`, right formulas that are not worked out for every row and feature, or not at every shape.

    `breaks` are the symbols of the formulas that it breaks, `cause` is what was done. `found` says that it was found in
    published code, not only to be expected there. `alike` is the (term, factor) that gives the same dx on any data, for
    a compound fault whose dx is not its own. `size` is the condition on the shape, a name of SIZES, without which it
    does not show.
    """

    name: str
    term: str
    factor: str
    breaks: tuple[str, ...]
    cause: str
    found: bool = False
    needs: str = ""
    spoil: Spoil | None = None
    alike: tuple[str, str] | None = None
    size: str = ""

    @property
    def row(self) -> str:
        """The row where it is told: x, gamma or beta."""
        return row_of(self.breaks)

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
        return self.cause if self.is_compound else f"{TERMS[self.term].clause(self.factor)}: {self.cause}"

    def wrong(self, right: Wrong, parts: Parts, values: FactorValues) -> Wrong:
        """The wrong backward pass that it makes of the right one; of a fault of place, an example of it."""
        if self.spoil is not None:
            return self.spoil(right, parts)
        return TERMS[self.term].wrong(right, parts, values, self.factor)


Row = tuple[str, str, str] | tuple[str, str, str, bool]
"""A row of the catalogue: name, factor and cause of a fault, and whether it was found in published code."""


_ROWS: Mapping[str, tuple[Row, ...]] = {
    "dbeta": (
        ("dbeta-averaged", "1/n", "a mean over the batch where a sum belongs", True),
        ("dbeta-times-n", "n", "n times the sum, or a mean's 1/n undone twice", True),
        ("dbeta-missing", "0", "it is never assigned, or is left at zero"),
        ("dbeta-sign", "-1", "an update that subtracts it was taken for the gradient"),
        ("dbeta-of-dx-hat", "gamma", "dx_hat is summed in place of dout"),
        ("dbeta-over-std", "1/std", "dout / std is summed in place of dout"),
        ("dbeta-by-samples", "1/N", "a mean over the images of the batch where a sum belongs", True),
    ),
    "dgamma": (
        ("dgamma-averaged", "1/n", "a mean over the batch where a sum belongs", True),
        ("dgamma-times-n", "n", "n times the sum, or a mean's 1/n undone twice", True),
        ("dgamma-missing", "0", "it is never assigned, or is left at zero"),
        ("dgamma-sign", "-1", "mean - x for x - mean, or an update that subtracts it was taken for the gradient"),
        ("dgamma-of-dx-hat", "gamma", "dx_hat is multiplied by x_hat in place of dout"),
        ("dgamma-on-centred", "std", "x - mean stands where x_hat belongs"),
        ("dgamma-std-twice", "1/std", "x_hat is divided by std once more, or x - mean by var"),
        ("dgamma-eps-left-out", "sigma/sqrt(var)", "x_hat is made anew with sqrt(var)"),
        ("dgamma-eps-twice", "sigma/sqrt(var + 2 eps)", "x_hat is made anew of a variance that has its eps already"),
        ("dgamma-inverse-std-root", "sigma/sqrt(1/std + eps)", "x_hat is made anew with 1/std for the variance"),
        ("dgamma-by-samples", "1/N", "a mean over the images of the batch where a sum belongs", True),
    ),
    "dx_hat": (
        ("no-gamma", "1/gamma", "dout is used as it comes", True),
        ("gamma-twice", "gamma", "dout is multiplied by gamma, and what is made of it once more", True),
        ("gamma-divides", "1/gamma^2", "dout / gamma stands where dout * gamma belongs"),
        ("beta-for-gamma", "beta/gamma", "dout * beta stands where dout * gamma belongs"),
        ("dx-hat-missing", "0", "nothing comes back through x_hat"),
        ("dx-hat-sign", "-1", "-dout stands where dout belongs"),
        ("dx-hat-averaged", "1/n", "a loss that is a mean is divided by n here once more"),
    ),
    "dvar": (
        ("dvar-sign", "-1", "+1/2 stands where -1/2 belongs", True),
        ("dvar-missing", "0", "dvar is never made, or is zero", True),
        ("dvar-half-forgotten", "2", "-1 stands where -1/2 belongs", True),
        ("dvar-half-twice", "1/2", "the 1/2 of the root is taken twice"),
        ("dvar-minus-one-forgotten", "-2", "1 stands where -1/2 belongs"),
        ("dvar-power-1/2", "std^2", "(var + eps)^(-1/2) stands where (var + eps)^(-3/2) belongs", True),
        ("dvar-power-1", "std", "(var + eps)^(-1) stands where (var + eps)^(-3/2) belongs"),
        ("dvar-power-2", "1/std", "(var + eps)^(-2) stands where (var + eps)^(-3/2) belongs"),
        ("dvar-power-5/2", "1/std^2", "(var + eps)^(-5/2) stands where (var + eps)^(-3/2) belongs"),
        ("dvar-power-sign", "std^6", "(var + eps)^(3/2) stands where (var + eps)^(-3/2) belongs"),
        ("dvar-x-hat", "1/std", "x_hat stands where x - mean belongs in dvar", True),
        ("dvar-averaged", "1/n", "a mean over the batch where a sum belongs"),
        ("dvar-times-n", "n", "n times the sum"),
        ("dvar-no-gamma", "1/gamma", "dout stands where dx_hat belongs"),
        ("dvar-gamma-twice", "gamma", "dx_hat is multiplied by gamma once more"),
        ("dvar-eps-left-out", "(sigma/sqrt(var))^3", "var^(-3/2) stands where (var + eps)^(-3/2) belongs", True),
        ("dvar-eps-twice", "(sigma/sqrt(var + 2 eps))^3", "eps is added to a variance that has it already"),
        ("dvar-eps-constant", "(sigma/sqrt(var + 1e-5))^3", "1e-5 stands where eps belongs"),
        ("dvar-eps-at-std", "(sigma/(sigma + eps))^3", "(std + eps)^3 stands where std^3 belongs", True),
    ),
    "dmean": (
        ("dmean-sign", "-1", "+1/std stands where -1/std belongs", True),
        ("dmean-missing", "0", "dmean is never made, or is zero", True),
        ("dmean-std-forgotten", "std", "-1 stands where -1/std belongs"),
        ("dmean-std-for-inverse", "std^2", "-std stands where -1/std belongs"),
        ("dmean-var-for-std", "1/std", "-1/(var + eps) stands where -1/std belongs"),
        ("dmean-averaged", "1/n", "a mean over the batch where a sum belongs"),
        ("dmean-twice", "2", "dmean is added to itself"),
        ("dmean-no-gamma", "1/gamma", "dout stands where dx_hat belongs"),
        ("dmean-gamma-twice", "gamma", "dx_hat is multiplied by gamma once more"),
        ("dmean-eps-left-out", "sigma/sqrt(var)", "sqrt(var) stands where std belongs"),
        ("dmean-eps-twice", "sigma/sqrt(var + 2 eps)", "eps is added to a variance that has it already"),
    ),
    "direct": (
        ("no-direct-route", "0", "dx_hat / std is not added"),
        ("direct-sign", "-1", "it is subtracted where it is to be added"),
        ("direct-averaged", "1/n", "the 1/n of the other routes is taken here as well"),
        ("direct-std-forgotten", "std", "dx_hat is not divided by std"),
        ("direct-std-for-inverse", "std^2", "dx_hat is multiplied by std where it is to be divided"),
        ("direct-var-for-std", "1/std", "dx_hat is divided by var + eps where std belongs"),
        ("direct-no-gamma", "1/gamma", "dout / std stands where dx_hat / std belongs"),
        ("direct-gamma-twice", "gamma", "dx_hat is multiplied by gamma once more"),
        ("direct-eps-left-out", "sigma/sqrt(var)", "sqrt(var) stands where std belongs"),
        ("direct-eps-twice", "sigma/sqrt(var + 2 eps)", "eps is added to a variance that has it already"),
    ),
    "through var": (
        ("no-var-route", "0", "dvar * 2 (x - mean) / n is not added", True),
        ("var-route-sign", "-1", "mean - x stands where x - mean belongs, or it is subtracted", True),
        ("half-var-route", "1/2", "the 2 of 2 (x - mean) / n is forgotten", True),
        ("double-var-route", "2", "the 2 of 2 (x - mean) / n is taken twice"),
        ("var-route-without-n", "n", "the 1/n of 2 (x - mean) / n is forgotten"),
        ("var-route-n-twice", "1/n", "the 1/n of 2 (x - mean) / n is taken twice"),
        ("var-route-unbiased", "n/(n-1)", "n - 1 stands where n belongs"),
        ("var-route-biased", "(n-1)/n", "n stands where the forward has n - 1", True),
        ("var-route-x-hat", "1/std", "x_hat stands where x - mean belongs in dx", True),
        ("var-route-features-for-n", "n/d", "the number of features stands where n belongs"),
        ("var-route-samples-for-n", "n/N", "the number of images stands where n belongs", True),
    ),
    "through mean": (
        ("no-mean-route", "0", "dmean / n is not added", True),
        ("mean-route-sign", "-1", "it is subtracted where it is to be added", True),
        ("mean-route-without-n", "n", "the 1/n of dmean / n is forgotten", True),
        ("mean-route-n-twice", "1/n", "the 1/n of dmean / n is taken twice"),
        ("mean-route-unbiased", "n/(n-1)", "n - 1 stands where n belongs"),
        ("mean-route-features-for-n", "n/d", "the number of features stands where n belongs"),
        ("mean-route-samples-for-n", "n/N", "the number of images stands where n belongs", True),
    ),
    "batch": (
        ("n-forgotten", "n", "the 1/n of the closed form is forgotten", True),
        ("features-for-n", "n/d", "the number of features stands where n belongs", True),
        ("samples-for-n", "n/N", "the number of images stands where n belongs, the sums being over all of them", True),
        ("batch-sign", "-1", "what comes back through mean and var is added where it is to be subtracted"),
    ),
    "dx": (
        ("dx-times-n", "n", "the 1/n in front of the closed form is forgotten"),
        ("dx-averaged", "1/n", "the 1/n in front of the closed form is taken twice", True),
        ("dx-sign", "-1", "an update that subtracts it was taken for the gradient"),
        ("dx-missing", "0", "it is never assigned, or is left at zero"),
        ("dx-std-forgotten", "std", "the 1/std in front of the closed form is forgotten"),
        ("dx-std-for-inverse", "std^2", "the closed form is multiplied by std where it is to be divided", True),
        ("dx-var-for-std", "1/std", "1/(var + eps) stands where 1/std belongs in front of the closed form"),
        ("dx-eps-left-out", "sigma/sqrt(var)", "sqrt(var) stands where std belongs in front of the closed form", True),
        ("dx-eps-twice", "sigma/sqrt(var + 2 eps)", "eps is added to a variance that has it already"),
        ("dx-eps-constant", "sigma/sqrt(var + 1e-5)", "1e-5 stands where eps belongs in front of the closed form"),
        ("dx-running-var", "sigma/running sigma", "std is made anew of the running variance", True),
    ),
    "1/std": (
        ("std-inverse", "std^2", "the cached std is used as 1/std", True),
        ("no-eps", "sigma/sqrt(var)", "sqrt(var) stands where std belongs, all through the backward", True),
        ("eps-twice", "sigma/sqrt(var + 2 eps)", "eps is added to a variance that has it already", True),
        ("eps-constant", "sigma/sqrt(var + 1e-5)", "1e-5 stands where eps belongs, all through the backward"),
        ("eps-at-std", "sigma/(sigma + eps)", "std + eps stands where std belongs, all through the backward"),
        ("inverse-std-root", "sigma/sqrt(1/std + eps)", "1/std is kept, and its root taken once more"),
    ),
}

FACTORED = tuple(
    Fault(name, term, factor, TERMS[term].breaks, cause, any(found), FACTORS[factor].needs)
    for term, rows in _ROWS.items()
    for name, factor, cause, *found in rows
)
"""The faults that are a factor on one term."""

# --- more than a factor -----------------------------------------------------------------------------------------

COMPOUND: list[Fault] = []
"""The faults that are more than a factor on a term, each under the name of the function that works it out."""


def compound(
    breaks: str, cause: str, *, found: bool = False, needs: str = "", alike: tuple[str, str] | None = None
) -> Callable[[Spoil], Spoil]:
    """Add the fault that a function works out; `breaks` has its symbols with blanks between them."""

    def add(spoil: Spoil) -> Spoil:
        name = spoil.__name__.replace("_", "-")
        COMPOUND.append(Fault(name, "compound", "", tuple(breaks.split()), cause, found, needs, spoil, alike))
        return spoil

    return add


# --- dvar --------------------------------------------------------------------------------------------------------


@compound("dvar", "x stands where x - mean belongs in dvar", found=True)
def dvar_x(right: Wrong, parts: Parts) -> Wrong:
    return _dvar_of(right, parts, batchnorm.dot(parts.dout, parts.inputs.x) * parts.inputs.gamma)


@compound(
    "dvar",
    "dx_hat and x - mean are added where they are to be multiplied in dvar, or x - mean is forgotten there",
    found=True,
)
def dvar_plus(right: Wrong, parts: Parts) -> Wrong:
    dx_hat = parts.dout * parts.inputs.gamma
    return _dvar_of(right, parts, np.add.reduce(dx_hat + parts.stages.centred, axis=0))


@compound("dvar", "dvar is not summed over the batch", found=True, needs="train")
def dvar_not_summed(right: Wrong, parts: Parts) -> Wrong:
    """dvar as (n, d): dvar * 2 (x - mean) / n goes through without a complaint."""
    dvar = dvar_terms(parts)
    return right._replace(var=dvar[-1], x=_dx(parts, dvar, right.through_mean))


# --- dmean -------------------------------------------------------------------------------------------------------


@compound("dmean", "-2 x stands where -2 (x - mean) belongs in the second term of dmean", found=True, needs="train")
def dmean_x(right: Wrong, parts: Parts) -> Wrong:
    more = parts.gradients.var * -2 * parts.mean
    return right._replace(mean=right.mean + more, through_mean=right.through_mean + more)


@compound("dmean", "dmean is not summed over the batch", found=True)
def dmean_not_summed(right: Wrong, parts: Parts) -> Wrong:
    """dmean as (n, d): each row takes off its own -dx_hat / std."""
    spoilt = right._replace(mean=-parts.routes.direct[-1])
    if parts.is_eval:
        return spoilt
    return spoilt._replace(gain=parts.inputs.gamma * (1 - 1 / parts.n), through_mean=0 * right.mean)


@compound(
    "dmean",
    "the second term of dmean, -2 (x - mean), is not summed over the batch",
    needs="train",
    alike=("through var", "(n-1)/n"),
)
def dmean_second_not_summed(right: Wrong, parts: Parts) -> Wrong:
    """dvar * -2 (x - mean) / n as (n, d): a 1/n of the route through var is taken off again."""
    mean = right.mean - right.var * 2 * parts.stages.centred[-1] / parts.n
    through = right.through_var * (1 - parts.divisor / parts.n / parts.n)
    return right._replace(mean=mean, through_var=through)


# --- dx, and several at once -------------------------------------------------------------------------------------


@compound("dvar dmean", "neither dvar nor dmean is summed over the batch", needs="train")
def neither_summed(right: Wrong, parts: Parts) -> Wrong:
    dvar, dmean = dvar_terms(parts), -parts.routes.direct
    return right._replace(var=dvar[-1], mean=dmean[-1], x=_dx(parts, dvar, dmean))


@compound("dx", "x stands where x - mean belongs in dx", needs="train")
def var_route_x(right: Wrong, parts: Parts) -> Wrong:
    """dvar * 2 x / n: more by dvar * 2 mean / n, the same in every row."""
    scale = parts.n / parts.divisor
    return right._replace(through_mean=right.through_mean + right.through_var * 2 * parts.mean * scale)


@compound("dx", "x - mean is forgotten in dx", needs="train")
def var_route_one(right: Wrong, parts: Parts) -> Wrong:
    scale = parts.n / parts.divisor
    return right._replace(through_mean=right.through_mean + right.through_var * 2 * scale, through_var=0 * right.var)


@compound(
    "dx", "mean and var are treated as constants: the routes through var and through mean are both missing", found=True
)
def constants(right: Wrong, parts: Parts) -> Wrong:
    nothing = np.zeros_like(right.var)
    return right._replace(mean=nothing, var=nothing, through_var=nothing, through_mean=nothing)


@compound("dx", "dx is dout: backward is the identity", found=True)
def identity(right: Wrong, parts: Parts) -> Wrong:
    return _direct_alone(right, parts.stages.std)


@compound("dx", "dx is dx_hat: the backward stops at x_hat")
def dx_hat_alone(right: Wrong, parts: Parts) -> Wrong:
    return _direct_alone(right, parts.inputs.gamma * parts.stages.std)


@compound(
    "dx dgamma dbeta", "every gradient is zero: buffers are returned that nothing was written to", alike=("dx", "0")
)
def zeros(right: Wrong, parts: Parts) -> Wrong:
    nothing = np.zeros_like(right.var)
    return Wrong(nothing, nothing, nothing, nothing, nothing, nothing, nothing)


@compound("dx", "dmean and dvar are swapped in dx", found=True, needs="train")
def swapped(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(through_var=right.through_mean, through_mean=right.through_var)


@compound(
    "dvar dmean",
    "dvar and dmean are summed over the features where the batch belongs, and broadcast over them",
    found=True,
    needs="train",
)
def wrong_axis(right: Wrong, parts: Parts) -> Wrong:
    """dvar and dmean summed over the features with keepdims: shape (n, 1), which broadcasts."""
    dvar = np.add.reduce(dvar_terms(parts), axis=1, keepdims=True)
    dmean = -np.add.reduce(parts.routes.direct, axis=1, keepdims=True)
    return right._replace(
        var=np.broadcast_to(dvar[-1], right.var.shape),
        mean=np.broadcast_to(dmean[-1], right.mean.shape),
        x=_dx(parts, dvar, dmean),
    )


@compound("dvar dmean", "dvar and dmean are summed over the features as well, to one number", needs="features")
def over_everything(right: Wrong, parts: Parts) -> Wrong:
    dvar, dmean = (_total(gradient) for gradient in (right.var, right.mean))
    through = (0 * dvar, 0 * dmean) if parts.is_eval else (dvar, dmean)
    return right._replace(var=dvar, mean=dmean, through_var=through[0], through_mean=through[1])


@compound("dx dgamma", "running mean and variance stand where the batch's belong", found=True, needs="train")
def running_statistics(right: Wrong, parts: Parts) -> Wrong:
    """Running mean and variance after one batch, of momentum 0.9, from 0 and 1."""
    return _with_statistics(right, parts, running_std(parts), 0.9 * parts.mean)


@compound("dx dgamma", "mean and var of the next feature stand where its own belong", needs="features")
def next_statistics(right: Wrong, parts: Parts) -> Wrong:
    return _with_statistics(right, parts, np.roll(parts.stages.std, -1), parts.mean - np.roll(parts.mean, -1))


@compound("dx dgamma", "mean and var of the feature before it stand where its own belong", needs="features")
def previous_statistics(right: Wrong, parts: Parts) -> Wrong:
    return _with_statistics(right, parts, np.roll(parts.stages.std, 1), parts.mean - np.roll(parts.mean, 1))


def _with_statistics(right: Wrong, parts: Parts, std: FloatArray, offset: FloatArray) -> Wrong:
    """The backward pass with another std, and a mean that is less by an offset.

    x - that mean is x - mean and a constant, so that dx has the same three routes.
    """
    gamma = parts.inputs.gamma
    dgamma = batchnorm.dot(parts.dout, parts.stages.centred + offset) / std
    gain = gamma * (parts.stages.std / std)
    dvar, dmean = -gamma * dgamma / (2 * std * std), -gamma * right.beta / std
    spoilt = right._replace(gamma=dgamma, var=dvar, mean=dmean, gain=gain)
    if parts.is_eval:
        return spoilt
    return spoilt._replace(through_var=dvar, through_mean=dmean + dvar * 2 * offset * (parts.n / parts.divisor))


@compound("dx", "dx has the routes through var and mean, which are constants in eval mode", needs="eval")
def batch_routes_in_eval(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(through_var=right.var, through_mean=right.mean)


@compound(
    "dx", "dx is right, and laid out wrongly: (d, n) was read as (n, d), transposed or reshaped", needs="features"
)
def transposed(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(x=np.ascontiguousarray(parts.gradients.x.T).reshape(parts.n, parts.d))


@compound("dx dgamma dbeta", "the gradients of the features stand in reverse order", needs="features")
def features_reversed(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(x=parts.gradients.x[:, ::-1], gamma=right.gamma[::-1], beta=right.beta[::-1])


@compound("dx", "the rows of dx stand in reverse order")
def rows_reversed(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(x=parts.gradients.x[::-1])


# --- dgamma and dbeta --------------------------------------------------------------------------------------------


@compound("dgamma", "dgamma is sum(dout * x): x stands where x_hat belongs")
def dgamma_on_x(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(gamma=batchnorm.dot(parts.dout, parts.inputs.x))


@compound("dgamma", "dgamma is sum(dout * out): out stands where x_hat belongs")
def dgamma_on_out(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(gamma=batchnorm.dot(parts.dout, parts.stages.out))


@compound("dgamma", "dgamma is sum(dout): x_hat is forgotten")
def dgamma_on_nothing(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(gamma=right.beta)


@compound("dgamma", "dgamma is dout * x_hat of the last row alone: each row overwrites the one before it")
def dgamma_last_row(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(gamma=parts.dout[-1] * parts.stages.x_hat[-1])


@compound("dgamma", "dgamma is summed over the features as well, to one number", found=True, needs="features")
def dgamma_total(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(gamma=_total(right.gamma))


@compound("dbeta", "dbeta is sum(dout * x_hat), which is dgamma")
def dbeta_on_x_hat(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(beta=right.gamma)


@compound("dgamma dbeta", "dgamma and dbeta are swapped", found=True)
def parameters_swapped(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(beta=right.gamma, gamma=right.beta)


@compound("dbeta", "dbeta is n: dout is forgotten")
def dbeta_without_dout(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(beta=np.full_like(right.beta, parts.n))


@compound("dbeta", "dbeta is dout of the last row alone: each row overwrites the one before it")
def dbeta_last_row(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(beta=parts.dout[-1])


@compound("dbeta", "dbeta is summed over the features as well, to one number", found=True, needs="features")
def dbeta_total(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(beta=_total(right.beta))


# --- what they are made with -----------------------------------------------------------------------------------


def _total(gradient: FloatArray) -> FloatArray:
    """The sum over the features too, in every feature."""
    return np.full_like(gradient, np.add.reduce(gradient))


def _direct_alone(right: Wrong, gain: FloatArray) -> Wrong:
    nothing = np.zeros_like(right.var)
    return right._replace(gain=gain, through_var=nothing, through_mean=nothing)


def _dvar_of(right: Wrong, parts: Parts, summed: FloatArray) -> Wrong:
    """dvar made of another sum than that of dx_hat * (x - mean)."""
    dvar = -summed / parts.stages.std / parts.stages.std / (2 * parts.stages.root)
    return right._replace(var=dvar, through_var=0 * dvar if parts.is_eval else dvar)


def dvar_terms(parts: Parts) -> FloatArray:
    """The terms that dvar is the sum of, (n, d)."""
    terms: FloatArray = -parts.routes.direct * parts.stages.x_hat / (2 * parts.stages.root)
    return terms


def _dx(parts: Parts, dvar: FloatArray, dmean: FloatArray) -> FloatArray:
    """dx of a dvar and a dmean that broadcast to (n, d)."""
    return parts.routes.direct if parts.is_eval else parts.dx(parts.inputs.gamma, dvar, dmean)


# --- not in every row and feature, or not at every shape ----------------------------------------------------------


def of_place(name: str, cause: str, spoil: Spoil, size: str = "", needs: str = "") -> Fault:
    """A fault of place or size, with an example of it."""
    return Fault(name, "place", "", ("dx",), cause, True, needs, spoil, size=size)


_ALL, _LAST = slice(None), slice(-1, None)


def _lost(rows: slice, features: slice = _ALL) -> Spoil:
    """An example of a fault by which nothing is written to some rows and features of dx."""

    def spoil(right: Wrong, parts: Parts) -> Wrong:
        dx = parts.gradients.x.copy()
        dx[rows, features] = 0
        return right._replace(x=dx)

    return spoil


def _one_row_for_all(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(x=np.where(np.arange(parts.n)[:, None] == 0, parts.gradients.x[-1], 0))


def _last_not_summed(right: Wrong, parts: Parts) -> Wrong:
    dbeta, dgamma = right.beta - parts.dout[-1], right.gamma - parts.dout[-1] * parts.stages.x_hat[-1]
    dvar, dmean = parts.through(dbeta, dgamma)
    return Wrong(dbeta, dgamma, dmean, dvar, parts.inputs.gamma, dvar, dmean)


def _second_half_alone(right: Wrong, parts: Parts) -> Wrong:
    half = parts.n // 2
    return right._replace(x=np.concatenate((parts.gradients.x[:half], parts.dx_alone(slice(half, None)))))


STRUCTURAL = (
    of_place("last-rows-lost", "the last rows are lost, and nothing is written there", _lost(_LAST), "n in blocks"),
    of_place("not-written", "nothing is written there", _lost(slice(1, 2)), "n in blocks"),
    of_place("one-row-for-all", "every row is written to one and the same, and the last stays", _one_row_for_all),
    of_place(
        "last-features-lost",
        "the last features are lost, and nothing is written there",
        _lost(_ALL, _LAST),
        "d in blocks",
    ),
    of_place("rows-not-summed", "these rows are left out of the sums", _last_not_summed, "n in blocks", "train"),
    of_place(
        "block-statistics", "a block of rows is taken for the whole batch", _second_half_alone, "n in blocks", "train"
    ),
    of_place("wrong-from-some-n", "it is right for a small n alone", _lost(_LAST, _LAST), "n in blocks"),
    of_place("wrong-where-n-is-odd", "it is wrong where n is odd, or fills no block", _lost(_LAST), "odd n"),
    of_place("wrong-from-some-d", "it is right for a small d alone", _lost(_LAST, _LAST), "d in blocks"),
    of_place("wrong-where-d-is-odd", "it is wrong where d is odd, or fills no block", _lost(_ALL, _LAST), "odd d"),
    of_place("wrong-at-one-pixel", "it is wrong for images of 1 x 1", _lost(_LAST, _LAST), "1 x 1"),
)
"""The faults of place and size, each with the condition on the shape without which it does not show."""

FAULTS = (*FACTORED, *COMPOUND)
"""The faults in formulas, which show in every row and at any shape."""

KNOWN = (*FAULTS, *STRUCTURAL)
"""The whole catalogue."""

BY_NAME: Mapping[str, Fault] = {fault.name: fault for fault in KNOWN}
"""Every fault by its name."""
