"""The parts of the right backward pass, its terms, the factors that can spoil these, and what a spoilt pass gives."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bncheck.gradients import batchnorm
from bncheck.gradients.batchnorm import FloatArray, Gradients, Inputs, Routes, Stages

BoolArray = NDArray[np.bool_]

# --- parts -------------------------------------------------------------------------------------------------------


class Parts(NamedTuple):
    """A backward pass with all that it is made of.

    Shapes: dout (n, d); mean (d,), that of the rows; `gain`, `bare_mean`, `bare_var` (d,) are gamma, and dmean and dvar
    with gamma taken off, so that a fault in gamma needs no division by it. `samples` is N of an image, where n is
    N·H·W; elsewhere it is n.
    """

    inputs: Inputs
    stages: Stages
    dout: FloatArray
    gradients: Gradients
    routes: Routes
    mean: FloatArray
    bare_mean: FloatArray
    bare_var: FloatArray
    samples: int

    @classmethod
    def of(cls, inputs: Inputs, dout: FloatArray, stages: Stages | None = None, samples: int = 0) -> Parts:
        """The parts in the dtype of the arguments. `stages`, where they are known already; `samples` 0 means n."""
        stages = batchnorm.forward(inputs) if stages is None else stages
        gradients, routes = batchnorm.backward(inputs, stages, dout)
        mean = inputs.running_mean
        if mean is None:
            mean = batchnorm.anchoring_row(inputs.x) + batchnorm.batch_mean(batchnorm.anchor(inputs.x))
        bare_var = -batchnorm.dot(dout, stages.x_hat) / stages.std / (2 * stages.root)
        bare_mean = -gradients.beta / stages.std
        return cls(inputs, stages, dout, gradients, routes, mean, bare_mean, bare_var, samples or len(dout))

    @property
    def n(self) -> int:
        """Rows."""
        return len(self.dout)

    @property
    def d(self) -> int:
        """Features."""
        return int(self.dout.shape[1])

    @property
    def divisor(self) -> int:
        """The number that the variance divides by: n, but for a variant."""
        return self.n - self.inputs.variant.ddof

    @property
    def is_eval(self) -> bool:
        """Whether mean and var are constants."""
        return self.inputs.running_mean is not None

    def dx(self, gain: FloatArray, dvar: FloatArray, dmean: FloatArray) -> FloatArray:
        """dout gain / std + dvar 2 (x - mean) / n + dmean / n, shape (n, d), of three vectors (d,)."""
        number = self.stages.std.dtype.type
        through_var = dvar * (2 * self.stages.centred / number(self.divisor))
        return np.asarray(self.dout * gain / self.stages.std + through_var + dmean / number(self.n))

    def through(self, dbeta: FloatArray, dgamma: FloatArray) -> tuple[FloatArray, FloatArray]:
        """dvar and dmean, made of a dbeta and a dgamma, (..., d)."""
        bare = self.inputs.gamma / self.stages.std
        return -dgamma * bare / (2 * self.stages.root), -dbeta * bare

    def dx_alone(self, rows: slice) -> FloatArray:
        """dx of some rows, if they were the whole batch."""
        inputs = replace(self.inputs, x=self.inputs.x[rows])
        return batchnorm.backward(inputs, batchnorm.forward(inputs), self.dout[rows])[0].x


class Coordinates(NamedTuple):
    """Three orthogonal directions of dx, feature by feature: 1, x - mean, and the rest of dout.

    Shapes: ones, centred, beyond (n, d), each of length 1 or, where there is no such direction, 0.
    `direct` (3, d) and `through_var` (2, d) are dout / std and 2 (x - mean) / n in these directions; the third route
    is 1 / n, which is 1 / sqrt(n) in the first of them. A dx of any fault in the routes is three numbers here, and
    the distance of two of them can be told to the last digit.
    """

    ones: float
    centred: FloatArray
    beyond: FloatArray
    direct: FloatArray
    through_var: FloatArray

    @classmethod
    def of(cls, parts: Parts) -> Coordinates:
        """The coordinates of one backward pass."""
        ones = 1 / math.sqrt(parts.n)
        bare = parts.dout / parts.stages.std
        raw = parts.stages.centred * (2 / parts.divisor)
        along_ones = ones * np.add.reduce(raw, axis=0)
        centred, _ = _direction(raw - along_ones * ones, raw)
        rest, first, second = _without(bare, ones, centred)
        rest, *_ = _without(rest, ones, centred)  # once more: what was left over was rounded at the size of `bare`
        beyond, third = _direction(rest, bare)
        through_var = np.stack((along_ones, batchnorm.dot(raw, centred)))
        return cls(ones, centred, beyond, np.stack((first, second, third)), through_var)

    def project(self, dx: FloatArray) -> tuple[FloatArray, FloatArray]:
        """dx, (n, d), in the three directions, (3, d), and what of it lies in none of them, (n, d)."""
        rest, first, second = _without(dx, self.ones, self.centred)
        third = batchnorm.dot(rest, self.beyond)
        return np.stack((first, second, third)), rest - third * self.beyond

    def of_routes(self, gain: FloatArray, dvar: FloatArray, dmean: FloatArray) -> FloatArray:
        """The sum of the three routes in these directions, (3, ..., d); of three arrays (..., d)."""
        first = gain * self.direct[0] + dvar * self.through_var[0] + dmean * self.ones
        second = gain * self.direct[1] + dvar * self.through_var[1]
        return np.stack((first, second, gain * self.direct[2]))


def _without(dx: FloatArray, ones: float, centred: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """dx less its part in two directions, and these parts."""
    first = ones * np.add.reduce(dx, axis=0)
    rest = dx - first * ones
    second = batchnorm.dot(rest, centred)
    return rest - second * centred, first, second


def _direction(rest: FloatArray, whole: FloatArray) -> tuple[FloatArray, FloatArray]:
    """`rest` at length 1, and its length; both 0 where it is nothing but the roundoff of `whole`."""
    unit = float(np.finfo(rest.dtype).eps)
    size = np.max(np.abs(whole), axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = rest / size
        length = np.sqrt(batchnorm.dot(scaled, scaled))
        real = length > 8 * unit * math.sqrt(len(rest))
        return np.where(real, scaled / length, 0), np.where(real, length * size, 0)


# --- factors ----------------------------------------------------------------------------------------------------


Value = FloatArray | float
"""One number a feature, shape (d,), or one for all."""

OfParts = Callable[[Parts], Value]

About = Literal["", "eps", "n", "N", "d", "gamma"]
"""The quantity that a factor puts too often, too rarely or in the wrong place; n rows, N images, d features."""

Root = Callable[[Value, float, bool], Value]
"""A root that somebody took for std, of var and eps, and whether eps stands outside the right one."""


class Factor(NamedTuple):
    """A factor that should be 1: its symbol, the clause that tells of it, and its value in a backward pass.

    `clause` has a place {term} for the term. `varies` says that the value is another one in each feature, and `named`
    that the clause has the symbol in it. `gain` is gamma times the factor, where that is more than a product: it stays
    finite where gamma is 0. A factor about eps is std / `root`, to a `power`.
    """

    symbol: str
    clause: str
    value: OfParts
    varies: bool = False
    named: bool = False
    about: About = ""
    gain: OfParts | None = None
    root: Root | None = None
    power: int = 1

    @property
    def needs(self) -> str:
        """The condition without which it is 1."""
        return {"eps": "eps", "N": "an image"}.get(self.about, "")

    def gain_of(self, parts: Parts) -> FloatArray:
        """gamma times the factor, shape (d,)."""
        gamma = parts.inputs.gamma
        return np.asarray(self.value(parts) * gamma if self.gain is None else self.gain(parts) + 0 * gamma)

    def at(self, var: float, eps: float) -> float:
        """The value of a factor about eps at one variance, in the standard variant."""
        assert self.root is not None
        return float((np.sqrt(var + eps) / self.root(var, eps, False)) ** self.power)


def _told(symbol: str, how: str, value: OfParts, about: About = "") -> Factor:
    return Factor(symbol, f"{{term}} is {symbol} {how} what it should be", value, named=True, about=about)


def _power_of_std(symbol: str, how: str, power: int) -> Factor:
    told = _told(symbol, how, lambda p: p.stages.std**power)
    return told._replace(clause=f"{told.clause} in every feature", varies=True)


def _varying(symbol: str, clause: str, value: OfParts, about: About = "", gain: OfParts | None = None) -> Factor:
    return Factor(symbol, clause, value, varies=True, about=about, gain=gain)


def _root_with(added: Callable[[float], float]) -> Root:
    """std of another number than eps."""
    return lambda var, eps, outside: np.sqrt(var) + added(eps) if outside else np.sqrt(var + added(eps))


def _about_eps(symbol: str, clause: str, root: Root) -> Iterator[Factor]:
    """A wrong std in place of the right one, and its cube, which stands in dvar; its square, where eps is outside."""

    def value(parts: Parts) -> FloatArray:
        return np.asarray(parts.stages.std / root(parts.stages.var, parts.inputs.eps, parts.inputs.variant.eps_outside))

    def cubed(parts: Parts) -> FloatArray:
        return np.asarray(value(parts) ** (2 if parts.inputs.variant.eps_outside else 3))

    once = Factor(f"sigma/{symbol}", clause, value, varies=True, about="eps", root=root)
    yield from (once, once._replace(symbol=f"({once.symbol})^3", value=cubed, power=3))


def running_std(parts: Parts) -> FloatArray:
    """std of the running variance after one batch: 0.9 of the 1 that it starts with, and 0.1 of the batch's."""
    return np.asarray(np.sqrt(0.9 + 0.1 * parts.stages.var + parts.inputs.eps))


CONSTANT = 1e-5
"""The eps of every framework, which is written into a backward."""

OF_A_CONSTANT = ("sigma/sqrt(var + 1e-5)", "(sigma/sqrt(var + 1e-5))^3")
"""The factors of an eps that is written as a constant."""

_EVERY_FACTOR = (
    Factor("0", "{term} is missing", lambda p: 0.0),
    Factor("-1", "{term} has the wrong sign", lambda p: -1.0),
    _told("2", "times", lambda p: 2.0),
    _told("1/2", "of", lambda p: 0.5),
    Factor("-2", "{term} has the wrong sign and is 2 times what it should be", lambda p: -2.0),
    Factor("-1/2", "{term} has the wrong sign and is 1/2 of what it should be", lambda p: -0.5),
    _told("4", "times", lambda p: 4.0),
    _told("n", "times", lambda p: float(p.n), "n"),
    _told("1/n", "of", lambda p: 1 / p.n, "n"),
    _told("n/(n-1)", "times", lambda p: p.n / max(p.n - 1, 1), "n"),
    _told("(n-1)/n", "times", lambda p: (p.n - 1) / p.n, "n"),
    _told("n/d", "times", lambda p: p.n / p.d, "d"),
    _told("1/d", "of", lambda p: 1 / p.d, "d"),
    _told("N", "times", lambda p: float(p.samples), "N"),
    _told("1/N", "of", lambda p: 1 / p.samples, "N"),
    _told("n/N", "times", lambda p: p.n / p.samples, "N"),
    _varying("1/gamma", "gamma is not applied in {term}", lambda p: 1 / p.inputs.gamma, "gamma", lambda p: 1.0),
    _varying("gamma", "gamma is applied twice in {term}", lambda p: p.inputs.gamma, "gamma"),
    _varying(
        "1/gamma^2",
        "{term} is divided by gamma where it is multiplied",
        lambda p: p.inputs.gamma**-2,
        "gamma",
        lambda p: 1 / p.inputs.gamma,
    ),
    _varying(
        "beta/gamma",
        "beta stands where gamma belongs in {term}",
        lambda p: p.inputs.beta / p.inputs.gamma,
        gain=lambda p: p.inputs.beta,
    ),
    _varying(
        "std/gamma",
        "{term} is dout alone, without gamma / std",
        lambda p: p.stages.std / p.inputs.gamma,
        gain=lambda p: p.stages.std,
    ),
    _power_of_std("std", "times", 1),
    _power_of_std("1/std", "of", -1),
    _power_of_std("std^2", "times", 2),
    _power_of_std("1/std^2", "of", -2),
    _power_of_std("std^6", "times", 6),
    _varying(
        "sigma/sqrt(1/std + eps)",
        "the inverse std is taken for the variance in {term}",
        lambda p: p.stages.std / np.sqrt(1 / p.stages.std + p.inputs.eps),
    ),
    *_about_eps("sqrt(var)", "eps is left out of {term}", _root_with(lambda eps: 0.0)),
    *_about_eps("sqrt(var + 2 eps)", "eps is added twice in {term}", _root_with(lambda eps: 2 * eps)),
    *_about_eps(
        "(sigma + eps)",
        "eps is added to std in {term}",
        lambda var, eps, outside: np.sqrt(var) + 2 * eps if outside else np.sqrt(var + eps) + eps,
    ),
    *_about_eps("sqrt(var + 1e-5)", "eps is 1e-5 in {term}, whatever is asked for", _root_with(lambda eps: CONSTANT)),
    _varying(
        "sigma/running sigma",
        "the running variance stands in {term} where the batch's belongs",
        lambda p: p.stages.std / running_std(p),
    ),
)

FACTORS: Mapping[str, Factor] = {factor.symbol: factor for factor in _EVERY_FACTOR}
"""Every factor by its symbol. sigma is std, sqrt(var + eps), where eps is what the factor is about."""


class FactorValues(NamedTuple):
    """Every factor's `value` and `gain` in one backward pass, by symbol; gains are (d,)."""

    value: Mapping[str, Value]
    gain: Mapping[str, FloatArray]

    @classmethod
    def of(cls, parts: Parts) -> FactorValues:
        """The values in the dtype of the parts."""
        with np.errstate(all="ignore"):
            value = {symbol: factor.value(parts) for symbol, factor in FACTORS.items()}
            return cls(value, {symbol: factor.gain_of(parts) for symbol, factor in FACTORS.items()})


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


def possible(parts: Parts) -> list[str]:
    """Symbols of the factors that differ from 1 here: N is no other than n but in an image, and eps may be 0."""
    met = needs_met(parts)
    return [symbol for symbol, factor in FACTORS.items() if factor.needs in met]


# --- a wrong backward pass --------------------------------------------------------------------------------------


class Wrong(NamedTuple):
    """The gradients that a wrong backward pass returns, and what its dx is made of.

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
    def without_fault(cls, parts: Parts) -> Wrong:
        """The right backward pass, from which each fault replaces its own fields."""
        right = parts.gradients
        through = (0 * right.var, 0 * right.mean) if parts.is_eval else (right.var, right.mean)
        return cls(right.beta, right.gamma, right.mean, right.var, parts.inputs.gamma, *through)

    def gradients(self, parts: Parts) -> Gradients:
        """The gradients at the five nodes, with dx worked out."""
        x = parts.dx(self.gain, self.through_var, self.through_mean) if self.x is None else self.x
        return Gradients(self.beta, self.gamma, self.mean, self.var, x)


ROUTES: Mapping[str, str] = {"direct": "gain", "through var": "through_var", "through mean": "through_mean"}
"""The three routes of dx, each with the field of Wrong that stands in it for gamma, dvar or dmean."""

_THROUGH_BATCH = ("through_var", "through_mean")

# --- terms ------------------------------------------------------------------------------------------------------


def row_of(breaks: Sequence[str]) -> str:
    """The row where it is told that formulas are broken, the first of which defines one of these symbols."""
    return {"dbeta": "beta", "dgamma": "gamma"}.get(breaks[0], "x")


class Term(NamedTuple):
    """A term of the derivation: its name, and how a sentence calls it.

    `breaks` are the symbols of the formulas that are wrong where a factor stands on the term. `spoils` are the
    gradients and routes that the factor enters, each with the power in which it does.
    """

    name: str
    phrase: str
    breaks: tuple[str, ...]
    spoils: Mapping[str, int]

    @property
    def row(self) -> str:
        """The row that it is a matter of: x, gamma or beta."""
        return row_of(self.breaks)

    def clause(self, symbol: str) -> str:
        """A factor on this term, as a clause. dgamma and dbeta have no gamma, which belongs to dx_hat alone."""
        if symbol == "gamma" and self.row != "x":
            return f"{self.phrase} is gamma times what it should be"
        return FACTORS[symbol].clause.format(term=self.phrase)

    def wrong(self, right: Wrong, parts: Parts, values: FactorValues, symbol: str) -> Wrong:
        """The backward pass with a factor on this term."""
        gain, value = values.gain[symbol], values.value[symbol]
        given = {
            part: spoilt_by(part, parts, gain if power == 1 else gain * value ** (power - 1), value)
            for part, power in self.powers(parts.is_eval)
        }
        return right._replace(**given)

    def powers(self, is_eval: bool) -> Collection[tuple[str, int]]:
        """The fields of Wrong that are spoilt: in eval mode there is no route through var or mean."""
        if not is_eval:
            return self.spoils.items()
        return [(part, power) for part, power in self.spoils.items() if part not in _THROUGH_BATCH]


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


_IN_DX = {"gain": 1, "through_var": 1, "through_mean": 1}

_EVERY_TERM = (
    Term("dbeta", "dbeta", ("dbeta",), {"beta": 1}),
    Term("dgamma", "dgamma", ("dgamma",), {"gamma": 1}),
    Term("dx_hat", "dx_hat", ("dx_hat",), {**_IN_DX, "var": 1, "mean": 1}),
    Term("dvar", "dvar", ("dvar",), {"through_var": 1, "var": 1}),
    Term("dmean", "dmean", ("dmean",), {"through_mean": 1, "mean": 1}),
    Term("direct", "the direct route", ("dx",), {"gain": 1}),
    Term("through var", "the route through var", ("dx",), {"through_var": 1}),
    Term("through mean", "the route through mean", ("dx",), {"through_mean": 1}),
    Term("batch", "what comes back through var and mean", ("dx",), {"through_var": 1, "through_mean": 1}),
    Term("dx", "dx", ("dx",), _IN_DX),
    Term("1/std", "1/std", ("dx", "dmean", "dvar"), {**_IN_DX, "through_var": 3, "var": 3, "mean": 1}),
)

TERMS: Mapping[str, Term] = {term.name: term for term in _EVERY_TERM}
"""Every term by its name. 1/std stands in dx_hat / std, in dmean, and as a cube in dvar."""
