"""The terms of the derivation that a factor can spoil, and what the backward pass then gives."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from bncheck.batchnorm import FloatArray, Gradients
from bncheck.factors import Value, Worth
from bncheck.parts import Parts

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
