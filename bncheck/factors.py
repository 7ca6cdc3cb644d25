"""What a term of the derivation is multiplied by when it is wrong: a small dictionary, as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import NamedTuple

import numpy as np

from bncheck.batchnorm import FloatArray
from bncheck.parts import Parts

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
