"""How a fault is told: clauses and sentences about terms, factors and coefficients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bncheck.faults.fault import told
from bncheck.faults.hypotheses import BoolArray, Hypothesis, Key
from bncheck.faults.parts import Parts
from bncheck.faults.terms import DBETA, DGAMMA, DMEAN, DVAR, DX, FACTORS, TERMS, is_about_eps
from bncheck.gradients.batchnorm import FloatArray

FORMULA = {"beta": DBETA, "gamma": DGAMMA, "mean": DMEAN, "var": DVAR, "x": DX}
ROUTES = ("direct", "through var", "through mean")
SPOILT = {**{route: (route,) for route in ROUTES}, "batch": ROUTES[1:], "dgamma": (), "dbeta": ()}
STDS = (0.02, 1.0)  # where an eps shows, and where it hardly does


def clause(hypothesis: Hypothesis, parts: Parts) -> str:
    """What is wrong: the term, the factor, and what was done to get it."""
    term, symbol = hypothesis.key
    named = {fault.term for fault, _ in hypothesis.faults if fault.term != "compound"}
    if hypothesis.faults and not named:
        return ", or ".join(dict.fromkeys(fault.cause for fault, _ in hypothesis.faults))
    told_of = named.pop() if len(named) == 1 else term
    causes = _causes(hypothesis)
    return f"{told(symbol, told_of)}{_coefficient(told_of, symbol, parts, causes)}{causes}"


def head(hypothesis: Hypothesis) -> str:
    """The same without its number and without what was done, to be told beside others."""
    term, symbol = hypothesis.key
    named = {fault.term for fault, _ in hypothesis.faults if fault.term != "compound"}
    if hypothesis.faults and not named:
        return hypothesis.faults[0][0].cause
    return told(symbol, named.pop() if len(named) == 1 else term)


def others(keys: Sequence[Key]) -> str:
    """Which routes are right, where clauses have named those that are not; nothing where a factor says it all."""
    if any(symbol not in FACTORS or FACTORS[symbol].varies for _, symbol in keys):
        return ""
    named = {route for term, _ in keys for route in SPOILT.get(term, ROUTES)}
    right = [route for route in ROUTES if route not in named]
    if not right or len(right) == len(ROUTES):
        return ""
    return f"; {' and '.join(right)} {'are' if len(right) > 1 else 'is'} right"


def _coefficient(term: str, symbol: str, parts: Parts, causes: str) -> str:
    """The factor as a number, or as what it is in every feature; nothing where the clause has said it already."""
    factor = FACTORS[symbol]
    if TERMS[term].row != "x" or "every feature" in factor.told:
        return ""
    if not factor.varies:
        return f" (coefficient {float(np.max(factor.value(parts))):.3f}, expected 1)"
    written = f"its coefficient is {symbol} in every feature"
    return f" ({written})" if causes else f": {written}"


def _causes(hypothesis: Hypothesis) -> str:
    """What may have been done; nothing where a term is missing, or eps is, which say it themselves."""
    symbol = hypothesis.key[1]
    causes = dict.fromkeys(fault.cause for fault, _ in hypothesis.faults)
    if symbol == "0" or is_about_eps(symbol) or not causes:
        return ""
    return f": {', or '.join(causes)}"


def shows_at(hypothesis: Hypothesis, parts: Parts, scale: FloatArray) -> str:
    """At which standard deviation a fault in eps shows, and by how much, relative to the scale of x, (d,)."""
    term, symbol = hypothesis.key
    if term not in TERMS or TERMS[term].row != "x" or not is_about_eps(symbol):
        return ""
    fault = hypothesis.faults[0][0] if hypothesis.faults else None
    spoilt = TERMS[fault.term if fault is not None and fault.term in TERMS else term].spoils
    effects = [_effect(symbol, spoilt, std, parts, scale) for std in STDS]
    at = ", ".join(f"{small(effect)} at std {std:g}" for effect, std in zip(effects, STDS, strict=True))
    return f" It shows at small variance: {at}."


def _effect(symbol: str, spoilt: object, std: float, parts: Parts, scale: FloatArray) -> float:
    """How far dx would be off at another standard deviation of x, relative to its scale."""
    assert isinstance(spoilt, dict)
    factor = _eps_factor(symbol, std, parts.inputs.eps)
    routes = {
        "gain": parts.routes.direct,
        "through_var": parts.routes.through_var,
        "through_mean": parts.routes.through_mean,
    }
    slip = sum(((factor ** spoilt.get(name, 0) - 1) * route for name, route in routes.items()), 0 * parts.routes.direct)
    with np.errstate(all="ignore"):
        return float(np.nanmax(np.abs(slip) / scale))


def _eps_factor(symbol: str, std: float, eps: float) -> float:
    """The factor at that standard deviation; of the variant std = sqrt(var) + eps the same, to first order in size."""
    var = std * std
    sigma = np.sqrt(var + eps)
    base = {"sqrt(var)": std, "sqrt(var + 2 eps)": np.sqrt(var + 2 * eps), "(sigma + eps)": sigma + eps}
    divisor = next(value for written, value in base.items() if written in symbol)
    return float((sigma / divisor) ** (3 if symbol.endswith("^3") else 1))


def alternatives(clauses: Sequence[str]) -> str:
    """Clauses of which each explains the same numbers."""
    kept = list(dict.fromkeys(clauses))
    more = f", or {len(kept) - 4} more" if len(kept) > 4 else ""
    return f"{', or '.join(kept[:4])}{more}; these data cannot tell them apart"


def counted(features: Sequence[int], d: int) -> str:
    """Some features of d, in words."""
    shown = ", ".join(map(str, features[:5])) + (", ..." if len(features) > 5 else "")
    return f"{len(features)} of {d} features ({shown})"


def reach(off: BoolArray, explained: int) -> str:
    """In which features it is so, where not in all."""
    wrong = [int(j) for j in np.flatnonzero(off)]
    if explained == len(wrong):
        return f" It is so in {counted(wrong, len(off))}; the others are right."
    return (
        f" That explains {explained} of the {len(wrong)} features that are off; nothing that I know explains the rest."
    )


def unknown_dx(medians: Sequence[float], remainder: float, off: BoolArray, parts: Parts) -> str:
    """What is told of a dx that nothing explains: the coefficients of its routes, and what none of them is."""
    wrong = [int(j) for j in np.flatnonzero(off)]
    where = "" if len(wrong) == len(off) else f" It is off in {counted(wrong, len(off))}."
    left = f"remainder {small(remainder)}"
    if all(np.isnan(medians)):
        return f"not a mistake that I know; {_why_alike(parts)}, so the three routes cannot be told apart.{where}"
    written = ", ".join("?" if np.isnan(median) else f"{median:.3f}" for median in medians)
    added = ", what is added to them is not right" if np.allclose(medians, 1, rtol=0, atol=1e-6) else ""
    told = f"coefficients ({written}) for {', '.join(ROUTES)}{added}, {left}"
    return f"not a mistake that I know: {told}.{where}"


def taken_for_n(number: int, n: int) -> str:
    """What is told of a dx that is right but for n."""
    return (
        f"dx is what it would be with n = {number}, where n is {n}: another axis, or another size, is counted as rows."
    )


def unknown_row(row: str, ratio: FloatArray, off: BoolArray) -> str:
    """What is told of dbeta, dgamma, dmean or dvar where nothing explains it."""
    wrong = [int(j) for j in np.flatnonzero(off)]
    low, middle, high = (float(f(ratio[off])) for f in (np.min, np.median, np.max))
    spread = f"{middle:.3f}" if high - low <= 1e-3 * abs(middle) else f"{low:.3f} to {high:.3f}, mostly {middle:.3f},"
    where = "" if len(wrong) == len(off) else f" in {counted(wrong, len(off))}"
    return f"not a mistake that I know: d{row} is {spread} of what it should be{where}."


def _why_alike(parts: Parts) -> str:
    """Why the routes lie along one another."""
    if parts.n == 2:
        return "n = 2, where x_hat is the same in both rows but for its sign"
    if np.all(parts.dout == parts.dout[0]):
        return "dout is the same in every row"
    if not np.any(parts.inputs.gamma):
        return "gamma is 0"
    return "the routes lie along one another here, or the roundoff that is allowed hides them"


def small(value: float) -> str:
    """A small number with no more digits than it is worth."""
    return f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e+").replace(".0e", "e")
