"""A known way of getting the backward pass wrong, as data; and the functions that work out those beyond a factor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
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


def on(name_of_term: str, *rows: Row) -> Iterator[Fault]:
    """The faults that are a factor on one term."""
    term = TERMS[name_of_term]
    for name, factor, cause, *found in rows:
        yield Fault(name, term.name, factor, term.breaks, cause, any(found), FACTORS[factor].needs)


# --- more than a factor -----------------------------------------------------------------------------------------

COMPOUND: list[Fault] = []
"""The faults that are more than a factor on a term, each above the function that works it out."""


def compound(
    name: str, breaks: str, cause: str, *, found: bool = False, needs: str = "", alike: tuple[str, str] | None = None
) -> Callable[[Spoil], Spoil]:
    """Add the fault that a function works out; `breaks` has its symbols with blanks between them."""

    def add(spoil: Spoil) -> Spoil:
        COMPOUND.append(Fault(name, "compound", "", tuple(breaks.split()), cause, found, needs, spoil, alike))
        return spoil

    return add


# --- dvar --------------------------------------------------------------------------------------------------------


@compound("dvar-x", "dvar", "x stands where x - mean belongs in dvar", found=True)
def x_for_centred_in_dvar(right: Wrong, parts: Parts) -> Wrong:
    return _dvar_of(right, parts, batchnorm.dot(parts.dout, parts.inputs.x) * parts.inputs.gamma)


@compound(
    "dvar-plus",
    "dvar",
    "dx_hat and x - mean are added where they are to be multiplied in dvar, or x - mean is forgotten there",
    found=True,
)
def plus_for_times(right: Wrong, parts: Parts) -> Wrong:
    dx_hat = parts.dout * parts.inputs.gamma
    return _dvar_of(right, parts, np.add.reduce(dx_hat + parts.stages.centred, axis=0))


@compound("dvar-not-summed", "dvar", "dvar is not summed over the batch", found=True, needs="train")
def dvar_not_summed(right: Wrong, parts: Parts) -> Wrong:
    """dvar as (n, d): dvar * 2 (x - mean) / n goes through without a complaint."""
    dvar = dvar_terms(parts)
    return right._replace(var=dvar[-1], x=_dx(parts, dvar, right.through_mean))


# --- dmean -------------------------------------------------------------------------------------------------------


@compound(
    "dmean-x", "dmean", "-2 x stands where -2 (x - mean) belongs in the second term of dmean", found=True, needs="train"
)
def x_for_centred_in_dmean(right: Wrong, parts: Parts) -> Wrong:
    more = parts.gradients.var * -2 * parts.mean
    return right._replace(mean=right.mean + more, through_mean=right.through_mean + more)


@compound("dmean-not-summed", "dmean", "dmean is not summed over the batch", found=True)
def dmean_not_summed(right: Wrong, parts: Parts) -> Wrong:
    """dmean as (n, d): each row takes off its own -dx_hat / std."""
    spoilt = right._replace(mean=-parts.routes.direct[-1])
    if parts.is_eval:
        return spoilt
    return spoilt._replace(gain=parts.inputs.gamma * (1 - 1 / parts.n), through_mean=0 * right.mean)


@compound(
    "dmean-second-not-summed",
    "dmean",
    "the second term of dmean, -2 (x - mean), is not summed over the batch",
    needs="train",
    alike=("through var", "(n-1)/n"),
)
def second_term_not_summed(right: Wrong, parts: Parts) -> Wrong:
    """dvar * -2 (x - mean) / n as (n, d): a 1/n of the route through var is taken off again."""
    mean = right.mean - right.var * 2 * parts.stages.centred[-1] / parts.n
    through = right.through_var * (1 - parts.divisor / parts.n / parts.n)
    return right._replace(mean=mean, through_var=through)


# --- dx, and several at once -------------------------------------------------------------------------------------


@compound("neither-summed", "dvar dmean", "neither dvar nor dmean is summed over the batch", needs="train")
def neither_summed(right: Wrong, parts: Parts) -> Wrong:
    dvar, dmean = dvar_terms(parts), -parts.routes.direct
    return right._replace(var=dvar[-1], mean=dmean[-1], x=_dx(parts, dvar, dmean))


@compound("var-route-x", "dx", "x stands where x - mean belongs in dx", needs="train")
def x_for_centred_in_dx(right: Wrong, parts: Parts) -> Wrong:
    """dvar * 2 x / n: more by dvar * 2 mean / n, the same in every row."""
    scale = parts.n / parts.divisor
    return right._replace(through_mean=right.through_mean + right.through_var * 2 * parts.mean * scale)


@compound("var-route-one", "dx", "x - mean is forgotten in dx", needs="train")
def one_for_centred_in_dx(right: Wrong, parts: Parts) -> Wrong:
    """dvar * 2 / n: x - mean is forgotten."""
    scale = parts.n / parts.divisor
    return right._replace(through_mean=right.through_mean + right.through_var * 2 * scale, through_var=0 * right.var)


@compound(
    "constants",
    "dx",
    "mean and var are treated as constants: the routes through var and through mean are both missing",
    found=True,
)
def statistics_as_constants(right: Wrong, parts: Parts) -> Wrong:
    nothing = np.zeros_like(right.var)
    return right._replace(mean=nothing, var=nothing, through_var=nothing, through_mean=nothing)


@compound("identity", "dx", "dx is dout: backward is the identity", found=True)
def identity(right: Wrong, parts: Parts) -> Wrong:
    return _direct_alone(right, parts.stages.std)


@compound("dx-hat-alone", "dx", "dx is dx_hat: the backward stops at x_hat")
def dx_hat_alone(right: Wrong, parts: Parts) -> Wrong:
    return _direct_alone(right, parts.inputs.gamma * parts.stages.std)


@compound(
    "zeros",
    "dx dgamma dbeta",
    "every gradient is zero: buffers are returned that nothing was written to",
    alike=("dx", "0"),
)
def zeros(right: Wrong, parts: Parts) -> Wrong:
    nothing = np.zeros_like(right.var)
    return Wrong(nothing, nothing, nothing, nothing, nothing, nothing, nothing)


@compound("swapped", "dx", "dmean and dvar are swapped in dx", found=True, needs="train")
def swapped(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(through_var=right.through_mean, through_mean=right.through_var)


@compound(
    "wrong-axis",
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


@compound(
    "over-everything",
    "dvar dmean",
    "dvar and dmean are summed over the features as well, to one number",
    needs="features",
)
def over_everything(right: Wrong, parts: Parts) -> Wrong:
    """dvar and dmean summed to one number, over the features as well."""
    dvar, dmean = (_total(gradient) for gradient in (right.var, right.mean))
    through = (0 * dvar, 0 * dmean) if parts.is_eval else (dvar, dmean)
    return right._replace(var=dvar, mean=dmean, through_var=through[0], through_mean=through[1])


@compound(
    "running-statistics",
    "dx dgamma",
    "running mean and variance stand where the batch's belong",
    found=True,
    needs="train",
)
def running_statistics(right: Wrong, parts: Parts) -> Wrong:
    """Running mean and variance after one batch, of momentum 0.9, from 0 and 1."""
    return _with_statistics(right, parts, running_std(parts), 0.9 * parts.mean)


@compound(
    "next-statistics", "dx dgamma", "mean and var of the next feature stand where its own belong", needs="features"
)
def statistics_of_next(right: Wrong, parts: Parts) -> Wrong:
    return _with_statistics(right, parts, np.roll(parts.stages.std, -1), parts.mean - np.roll(parts.mean, -1))


@compound(
    "previous-statistics",
    "dx dgamma",
    "mean and var of the feature before it stand where its own belong",
    needs="features",
)
def statistics_of_previous(right: Wrong, parts: Parts) -> Wrong:
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


@compound(
    "batch-routes-in-eval",
    "dx",
    "dx has the routes through var and mean, which are constants in eval mode",
    needs="eval",
)
def batch_routes_in_eval(right: Wrong, parts: Parts) -> Wrong:
    """dx with the routes through var and mean, which do not exist where these are constants."""
    return right._replace(through_var=right.var, through_mean=right.mean)


@compound(
    "transposed",
    "dx",
    "dx is right, and laid out wrongly: (d, n) was read as (n, d), transposed or reshaped",
    needs="features",
)
def reshaped(right: Wrong, parts: Parts) -> Wrong:
    """(d, n) read as (n, d): transposed where d == n, and scrambled elsewhere."""
    return right._replace(x=np.ascontiguousarray(parts.gradients.x.T).reshape(parts.n, parts.d))


@compound(
    "features-reversed", "dx dgamma dbeta", "the gradients of the features stand in reverse order", needs="features"
)
def features_reversed(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(x=parts.gradients.x[:, ::-1], gamma=right.gamma[::-1], beta=right.beta[::-1])


@compound("rows-reversed", "dx", "the rows of dx stand in reverse order")
def rows_reversed(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(x=parts.gradients.x[::-1])


# --- dgamma and dbeta --------------------------------------------------------------------------------------------


@compound("dgamma-on-x", "dgamma", "dgamma is sum(dout * x): x stands where x_hat belongs")
def dgamma_on_x(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(gamma=batchnorm.dot(parts.dout, parts.inputs.x))


@compound("dgamma-on-out", "dgamma", "dgamma is sum(dout * out): out stands where x_hat belongs")
def dgamma_on_out(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(gamma=batchnorm.dot(parts.dout, parts.stages.out))


@compound("dgamma-on-nothing", "dgamma", "dgamma is sum(dout): x_hat is forgotten")
def dgamma_on_nothing(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(gamma=right.beta)


@compound(
    "dgamma-last-row", "dgamma", "dgamma is dout * x_hat of the last row alone: each row overwrites the one before it"
)
def dgamma_on_last_row(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(gamma=parts.dout[-1] * parts.stages.x_hat[-1])


@compound(
    "dgamma-total", "dgamma", "dgamma is summed over the features as well, to one number", found=True, needs="features"
)
def dgamma_total(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(gamma=_total(right.gamma))


@compound("dbeta-on-x-hat", "dbeta", "dbeta is sum(dout * x_hat), which is dgamma")
def dbeta_on_x_hat(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(beta=right.gamma)


@compound("parameters-swapped", "dgamma dbeta", "dgamma and dbeta are swapped", found=True)
def parameters_swapped(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(beta=right.gamma, gamma=right.beta)


@compound("dbeta-without-dout", "dbeta", "dbeta is n: dout is forgotten")
def dbeta_without_dout(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(beta=np.full_like(right.beta, parts.n))


@compound("dbeta-last-row", "dbeta", "dbeta is dout of the last row alone: each row overwrites the one before it")
def dbeta_on_last_row(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(beta=parts.dout[-1])


@compound(
    "dbeta-total", "dbeta", "dbeta is summed over the features as well, to one number", found=True, needs="features"
)
def dbeta_total(right: Wrong, parts: Parts) -> Wrong:
    return right._replace(beta=_total(right.beta))


# --- not in every row and feature, or not at every shape ----------------------------------------------------------


def _lost(rows: slice, features: slice) -> Spoil:
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
    bare = parts.inputs.gamma / parts.stages.std
    dvar, dmean = -dgamma * bare / (2 * parts.stages.root), -dbeta * bare
    return Wrong(dbeta, dgamma, dmean, dvar, parts.inputs.gamma, dvar, dmean)


def _second_half_alone(right: Wrong, parts: Parts) -> Wrong:
    half = parts.n // 2
    inputs = replace(parts.inputs, x=parts.inputs.x[half:])
    alone, _ = batchnorm.backward(inputs, batchnorm.forward(inputs), parts.dout[half:])
    return right._replace(x=np.concatenate((parts.gradients.x[:half], alone.x)))


_ALL, _LAST = slice(None), slice(-1, None)

STRUCTURAL = tuple(
    Fault(name, "place", "", ("dx",), cause, True, needs, spoil, size=size)
    for name, cause, spoil, size, needs in (
        (
            "last-rows-lost",
            "the last rows are lost, and nothing is written there",
            _lost(_LAST, _ALL),
            "n in blocks",
            "",
        ),
        ("not-written", "nothing is written there", _lost(slice(1, 2), _ALL), "n in blocks", ""),
        ("one-row-for-all", "every row is written to one and the same, and the last stays", _one_row_for_all, "", ""),
        (
            "last-features-lost",
            "the last features are lost, and nothing is written there",
            _lost(_ALL, _LAST),
            "d in blocks",
            "",
        ),
        ("rows-not-summed", "these rows are left out of the sums", _last_not_summed, "n in blocks", "train"),
        (
            "block-statistics",
            "a block of rows is taken for the whole batch",
            _second_half_alone,
            "n in blocks",
            "train",
        ),
        ("wrong-from-some-n", "it is right for a small n alone", _lost(_LAST, _LAST), "n in blocks", ""),
        (
            "wrong-where-n-is-odd",
            "it is wrong where n is odd, or fills no block",
            _lost(_LAST, _ALL),
            "odd n",
            "",
        ),
        ("wrong-from-some-d", "it is right for a small d alone", _lost(_LAST, _LAST), "d in blocks", ""),
        (
            "wrong-where-d-is-odd",
            "it is wrong where d is odd, or fills no block",
            _lost(_ALL, _LAST),
            "odd d",
            "",
        ),
        ("wrong-at-one-pixel", "it is wrong for images of 1 x 1", _lost(_LAST, _LAST), "1 x 1", ""),
    )
)
"""The faults of place and size, each with the condition on the shape without which it does not show, and an example."""

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
