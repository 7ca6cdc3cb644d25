"""The terms of the derivation that a factor can spoil, and what the backward pass then gives."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import NamedTuple

import numpy as np

from bncheck.faults.parts import Parts
from bncheck.gradients.batchnorm import FloatArray, Gradients

# --- factors ----------------------------------------------------------------------------------------------------


Value = FloatArray | float
"""One number a feature, shape (d,), or one for all."""


class Factor(NamedTuple):
    """A factor: how it is written, how it is told of a term, and what it comes to.

    `told` has a place {it} for the term. `varies` says that it is another number in each feature. `gain` is gamma
    times the factor, where that is more than a product: it stays finite where gamma is 0.
    """

    symbol: str
    told: str
    value: Callable[[Parts], Value]
    varies: bool = False
    gain: Callable[[Parts], Value] | None = None

    def gain_of(self, parts: Parts) -> FloatArray:
        """gamma times the factor, shape (d,)."""
        gamma = parts.inputs.gamma
        return np.asarray(self.value(parts) * gamma if self.gain is None else self.gain(parts) + 0 * gamma)


def _number(symbol: str, value: Callable[[Parts], Value]) -> Factor:
    return Factor(symbol, f"{{it}} is {_times(symbol)} what it should be", value)


def _varying(symbol: str, value: Callable[[Parts], Value]) -> Factor:
    return Factor(symbol, f"{{it}} is {_times(symbol)} what it should be in every feature", value, varies=True)


def _times(symbol: str) -> str:
    return f"{symbol} of" if symbol.startswith("1/") else f"{symbol} times"


def _sigma(parts: Parts) -> FloatArray:
    """sqrt(var), with no eps."""
    return np.sqrt(parts.stages.var)


def _eps_out_of_std(parts: Parts) -> FloatArray:
    return parts.stages.std / _sigma(parts)


def _eps_out_of_dvar(parts: Parts) -> FloatArray:
    """(var + eps)^(-3/2) as var^(-3/2); of the variant std = sqrt(var) + eps, 1/std^2 as 1/var."""
    return _eps_out_of_std(parts) ** 2 * (parts.stages.root / _sigma(parts))


def _std_with_eps_twice(parts: Parts) -> FloatArray:
    """std where eps was added to a variance that had it already."""
    eps = parts.stages.std.dtype.type(parts.inputs.eps)
    if parts.inputs.variant.eps_outside:
        return parts.stages.std + eps
    return np.sqrt(parts.stages.var + eps + eps)


def _std_and_eps(parts: Parts) -> FloatArray:
    return parts.stages.std + parts.stages.std.dtype.type(parts.inputs.eps)


def _running_std(parts: Parts) -> FloatArray:
    """std of the running variance after one batch: 0.9 of the 1 that it starts with, and 0.1 of the batch's."""
    dtype = parts.stages.var.dtype.type
    return np.sqrt(dtype(0.9) + dtype(0.1) * parts.stages.var + dtype(parts.inputs.eps))


_DICTIONARY = (
    Factor("0", "{it} is missing", lambda p: 0.0),
    Factor("-1", "{it} has the wrong sign", lambda p: -1.0),
    _number("2", lambda p: 2.0),
    _number("1/2", lambda p: 0.5),
    Factor("-2", "{it} has the wrong sign and is 2 times what it should be", lambda p: -2.0),
    Factor("-1/2", "{it} has the wrong sign and is 1/2 of what it should be", lambda p: -0.5),
    _number("4", lambda p: 4.0),
    _number("n", lambda p: float(p.n)),
    _number("1/n", lambda p: 1 / p.n),
    _number("n/(n-1)", lambda p: p.n / max(p.n - 1, 1)),
    _number("(n-1)/n", lambda p: (p.n - 1) / p.n),
    _number("n/d", lambda p: p.n / p.d),
    _number("1/d", lambda p: 1 / p.d),
    _number("N", lambda p: float(p.samples)),
    _number("1/N", lambda p: 1 / p.samples),
    _number("n/N", lambda p: p.n / p.samples),
    Factor("1/gamma", "gamma is not applied in {it}", lambda p: 1 / p.inputs.gamma, True, lambda p: 1.0),
    Factor("gamma", "gamma is applied twice in {it}", lambda p: p.inputs.gamma, True),
    Factor(
        "1/gamma^2",
        "{it} is divided by gamma where it is multiplied",
        lambda p: p.inputs.gamma**-2,
        True,
        lambda p: 1 / p.inputs.gamma,
    ),
    Factor(
        "beta/gamma",
        "beta stands where gamma belongs in {it}",
        lambda p: p.inputs.beta / p.inputs.gamma,
        True,
        lambda p: p.inputs.beta,
    ),
    Factor(
        "std/gamma",
        "{it} is dout alone, without gamma / std",
        lambda p: p.stages.std / p.inputs.gamma,
        True,
        lambda p: p.stages.std,
    ),
    _varying("std", lambda p: p.stages.std),
    _varying("1/std", lambda p: 1 / p.stages.std),
    _varying("std^2", lambda p: p.stages.std**2),
    _varying("1/std^2", lambda p: p.stages.std**-2),
    _varying("std^6", lambda p: p.stages.std**6),
    Factor("sigma/sqrt(var)", "eps is left out of {it}", _eps_out_of_std, True),
    Factor("(sigma/sqrt(var))^3", "eps is left out of {it}", _eps_out_of_dvar, True),
    Factor(
        "sigma/sqrt(var + 2 eps)", "eps is added twice in {it}", lambda p: p.stages.std / _std_with_eps_twice(p), True
    ),
    Factor(
        "(sigma/sqrt(var + 2 eps))^3",
        "eps is added twice in {it}",
        lambda p: (p.stages.std / _std_with_eps_twice(p)) ** 3,
        True,
    ),
    Factor("sigma/(sigma + eps)", "eps is added to std in {it}", lambda p: p.stages.std / _std_and_eps(p), True),
    Factor(
        "(sigma/(sigma + eps))^3", "eps is added to std in {it}", lambda p: (p.stages.std / _std_and_eps(p)) ** 3, True
    ),
    Factor(
        "sigma/running sigma",
        "the running variance stands in {it} where the batch's belongs",
        lambda p: p.stages.std / _running_std(p),
        True,
    ),
)

FACTORS: Mapping[str, Factor] = {factor.symbol: factor for factor in _DICTIONARY}
"""Every factor by its symbol. sigma is std, sqrt(var + eps), where eps is what the factor is about."""


class Worth(NamedTuple):
    """What every factor comes to for one backward pass: `value` and `gain`, each by symbol; gains are (d,)."""

    value: Mapping[str, Value]
    gain: Mapping[str, FloatArray]

    @classmethod
    def of(cls, parts: Parts) -> Worth:
        """In the dtype of the parts."""
        with np.errstate(all="ignore"):
            return cls(
                {symbol: factor.value(parts) for symbol, factor in FACTORS.items()},
                {symbol: factor.gain_of(parts) for symbol, factor in FACTORS.items()},
            )


def possible(parts: Parts) -> tuple[str, ...]:
    """The factors that can be told here: N is no other than n but in an image, and eps may be 0."""
    return _with(parts.samples != parts.n, parts.inputs.eps != 0)


@cache
def _with(samples: bool, eps: bool) -> tuple[str, ...]:
    return tuple(
        symbol for symbol in FACTORS if (samples or not is_about_samples(symbol)) and (eps or not is_about_eps(symbol))
    )


def is_about_eps(symbol: str) -> bool:
    """Whether a factor is an eps that is left out, or added where it does not belong."""
    return "sqrt(var" in symbol or "eps" in symbol


def is_about_samples(symbol: str) -> bool:
    """Whether a factor has N, which only images tell from n."""
    return "N" in symbol


DBETA = "dbeta = sum(dout)"
DGAMMA = "dgamma = sum(dout * x_hat)"
DX_HAT = "dx_hat = dout * gamma"
DVAR = "dvar = sum(dx_hat * (x - mean) * -1/2 (var + eps)^(-3/2))"
DMEAN = "dmean = sum(dx_hat * -1/std) + dvar * sum(-2 (x - mean)) / n"
DX = "dx = dx_hat / std + dvar * 2 (x - mean) / n + dmean / n"
FORMULAS = (DBETA, DGAMMA, DX_HAT, DVAR, DMEAN, DX)


class Wrong(NamedTuple):
    """What a wrong backward pass gives.

    Shapes: beta, gamma, mean, var (d,), the gradients that it returns there. dx is
    dout gain / std + through_var 2 (x - mean) / n + through_mean / n, three vectors (d,), unless `x`, (n, d), says
    otherwise.
    """

    beta: FloatArray
    gamma: FloatArray
    mean: FloatArray
    var: FloatArray
    gain: FloatArray
    through_var: FloatArray
    through_mean: FloatArray
    x: FloatArray | None = None

    @classmethod
    def nowhere(cls, parts: Parts) -> Wrong:
        """The right one, to be spoilt."""
        right = parts.gradients
        through = (0 * right.var, 0 * right.mean) if parts.is_eval else (right.var, right.mean)
        return cls(right.beta, right.gamma, right.mean, right.var, parts.inputs.gamma, *through)

    def gradients(self, parts: Parts) -> Gradients:
        """The same as gradients at the five nodes."""
        x = parts.dx(self.gain, self.through_var, self.through_mean) if self.x is None else self.x
        return Gradients(self.beta, self.gamma, self.mean, self.var, x)


_PLACES = {part: place for place, part in enumerate(Wrong._fields)}


class Term(NamedTuple):
    """A term of the derivation: its name, how a sentence calls it, and the row it is a matter of.

    `spoils` are the gradients and routes that a factor on the term enters, each with the power in which it does.
    """

    name: str
    it: str
    row: str
    spoils: Mapping[str, int]

    def wrong(self, right: Wrong, parts: Parts, worth: Worth, symbol: str) -> Wrong:
        """What the backward pass gives with a factor on this term."""
        gain, value = worth.gain[symbol], worth.value[symbol]
        given: list[FloatArray | None] = list(right)
        for part, power in self.powers(parts.is_eval):
            times = gain if power == 1 else gain * value ** (power - 1)
            given[_PLACES[part]] = spoilt_by(part, parts, times, value)
        return Wrong._make(given)

    def powers(self, is_eval: bool) -> Collection[tuple[str, int]]:
        """What is spoilt: in eval mode there is no route through var or mean."""
        if not is_eval:
            return self.spoils.items()
        return [(part, power) for part, power in self.spoils.items() if not part.startswith("through")]


def spoilt_by(part: str, parts: Parts, gain: FloatArray, value: Value) -> FloatArray:
    """One gradient, (..., d), with factors on it; `gain` is gamma times the factor, in the power it has there."""
    match part:
        case "beta" | "gamma":
            return parts.gradients.of(part) * value
        case "gain":
            return gain
        case "var" | "through_var":
            return parts.bare_var * gain
        case _:
            return parts.bare_mean * gain


TERMS: Mapping[str, Term] = {
    term.name: term
    for term in (
        Term("dbeta", "dbeta", "beta", {"beta": 1}),
        Term("dgamma", "dgamma", "gamma", {"gamma": 1}),
        Term("dx_hat", "dx_hat", "x", {"gain": 1, "through_var": 1, "through_mean": 1, "var": 1, "mean": 1}),
        Term("dvar", "dvar", "x", {"through_var": 1, "var": 1}),
        Term("dmean", "dmean", "x", {"through_mean": 1, "mean": 1}),
        Term("direct", "the direct route", "x", {"gain": 1}),
        Term("through var", "the route through var", "x", {"through_var": 1}),
        Term("through mean", "the route through mean", "x", {"through_mean": 1}),
        Term("batch", "what comes back through var and mean", "x", {"through_var": 1, "through_mean": 1}),
        Term("dx", "dx", "x", {"gain": 1, "through_var": 1, "through_mean": 1}),
        Term("1/std", "1/std", "x", {"gain": 1, "through_var": 3, "through_mean": 1, "var": 3, "mean": 1}),
    )
}
"""Every term by its name. 1/std stands in dx_hat / std, in dmean, and as a cube in dvar."""
