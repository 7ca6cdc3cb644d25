"""The sentences and formulas in which a fault is told.

They stand apart from the diagnosis so that all that users read of a fault can be read together; `blindness` writes its
numbers as they are written here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bncheck.derivation import DIRECT, DX_IN_EVAL, OF_GRADIENT, THROUGH_MEAN, THROUGH_VAR
from bncheck.faults.catalogue import BY_NAME, Fault
from bncheck.faults.hypotheses import Coefficient, Explained, Fit, Hypothesis, Key
from bncheck.faults.region import in_words, spans
from bncheck.faults.terms import FACTORS, ROUTES, TERMS, BoolArray, Parts
from bncheck.gradients.batchnorm import FloatArray
from bncheck.gradients.yardsticks import Yardstick

STDS = (0.02, 1.0)  # where an eps shows, and where it hardly does
MOST = 4  # explanations that are told of those that the data cannot tell apart


# --- a row that something explains ------------------------------------------------------------------------------


def sentence(found: Explained, parts: Parts, yardsticks: Mapping[str, Yardstick]) -> str:
    """Say what is wrong in a row, without the name of the row."""
    if found.region is not None and found.fault:
        return f"{BY_NAME[found.fault].cause}: {found.region.sentence}."
    if found.region is not None:
        return f"d{found.row} is wrong in {found.region.sentence}, and right everywhere else."
    if not found.options:
        return found.more
    first = found.options[0]
    reach = _reach(found.off, found.explained) if found.fits is Fit.SOME else ""
    if len(found.options) > 1:
        known = "these are the same formula" if found.is_same else "these data cannot tell them apart"
        clauses = list(_by_head(found.options))
        more = f", or {len(clauses) - MOST} more" if len(clauses) > MOST else ""
        return f"{', or '.join(clauses[:MOST])}{more}; {known}.{reach}"
    text = "; and ".join(_clause(hypothesis, parts) for hypothesis in first)
    if found.row != "x":
        return f"{text}.{reach}"
    return f"{text}{_right_routes(first)}.{_shows_at(first[0], parts, yardsticks['x'].measured_by)}{reach}"


def formula(found: Explained, parts: Parts) -> str:
    """The right formulas of what the sentence about a row calls wrong; that of the row, where nothing explains it."""
    right = {**OF_GRADIENT, "dx": DX_IN_EVAL} if parts.is_eval else OF_GRADIENT
    if len(found.options) == 1:
        symbols = []
        for hypothesis in found.options[0]:
            causes = [symbol for fault, _ in hypothesis.faults for symbol in fault.breaks]
            symbols += causes if _tells_causes(hypothesis) else _broken_in_head(hypothesis)
    else:
        shown = list(_by_head(found.options).values())[:MOST]
        symbols = [symbol for option in shown for hypothesis in option for symbol in _broken_in_head(hypothesis)]
    return "; ".join(right[symbol].in_ascii for symbol in dict.fromkeys(symbols or [f"d{found.row}"]))


def wrong_terms(keys: Sequence[Key], coefficients: Sequence[Coefficient]) -> str:
    """The terms that are wrong, and nothing more of them: those that are named, else those with a wrong coefficient."""
    terms = [TERMS[term].phrase if term in TERMS else " and ".join(BY_NAME[name].breaks) for term, name in keys]
    off = [each.route for each in coefficients if np.any(np.abs(np.asarray(each.features) - 1) > 0)]
    return " and ".join(dict.fromkeys(terms or [TERMS[route].phrase for route in off]))


def _by_head(options: Sequence[tuple[Hypothesis, ...]]) -> dict[str, tuple[Hypothesis, ...]]:
    """The first of the options that are told in the same words, by these words."""
    found: dict[str, tuple[Hypothesis, ...]] = {}
    for option in options:
        found.setdefault("; and ".join(map(_head, option)), option)
    return found


def _broken_in_head(hypothesis: Hypothesis) -> list[str]:
    """The symbols of the formulas of the term that is named; of compound faults, those of the first."""
    term = _term(hypothesis)
    return list(TERMS[term].breaks if term else hypothesis.faults[0][0].breaks)


def _term(hypothesis: Hypothesis) -> str:
    """The term that is named: that of the faults, where it is one, else that of the key; empty of compound faults."""
    named = {fault.term for fault, _ in hypothesis.faults if not fault.is_compound}
    if hypothesis.faults and not named:
        return ""
    return named.pop() if len(named) == 1 else hypothesis.key[0]


def _tells_causes(hypothesis: Hypothesis) -> bool:
    """Whether what was done is told: not where a term is missing, or eps is, which say it themselves."""
    if not _term(hypothesis):
        return True
    factor = FACTORS[hypothesis.key[1]]
    return bool(hypothesis.faults) and factor.symbol != "0" and factor.about != "eps"


def _clause(hypothesis: Hypothesis, parts: Parts) -> str:
    """A clause with the term that is wrong, its factor, and what was done to get it."""
    term, symbol = _term(hypothesis), hypothesis.key[1]
    each = dict.fromkeys(fault.cause for fault, _ in hypothesis.faults)
    causes = ", or ".join(each) + " (these are the same formula)" * (len(each) > 1)
    if not term:
        return causes
    text = f": {causes}" if _tells_causes(hypothesis) else ""
    return f"{TERMS[term].clause(symbol)}{_coefficient(hypothesis, parts)}{text}"


def _head(hypothesis: Hypothesis) -> str:
    """A clause without the number and without what was done, to be told beside others."""
    term = _term(hypothesis)
    return TERMS[term].clause(hypothesis.key[1]) if term else hypothesis.faults[0][0].cause


def _coefficient(hypothesis: Hypothesis, parts: Parts) -> str:
    """The factor as a number, or as what it is in every feature; nothing where the clause has said it already."""
    found = FACTORS[hypothesis.key[1]]
    if TERMS[_term(hypothesis)].row != "x" or (found.varies and found.named):
        return ""
    if not found.varies:
        return f" (coefficient {_beside_one(float(np.max(found.value(parts))))}, expected 1)"
    written = f"its coefficient is {found.symbol} in every feature"
    return f" ({written})" if _tells_causes(hypothesis) else f": {written}"


def _right_routes(option: Sequence[Hypothesis]) -> str:
    """The routes of dx that are right, beside clauses that name the others; nothing where a factor says it all."""
    keys = [hypothesis.key for hypothesis in option]
    if any(symbol not in FACTORS or FACTORS[symbol].varies for _, symbol in keys):
        return ""
    spoilt = {field for term, _ in keys for field in TERMS[term].spoils}
    right = [route for route, field in ROUTES.items() if field not in spoilt]
    return f"; {' and '.join(right)} {'are' if len(right) > 1 else 'is'} right" if right else ""


def _shows_at(hypothesis: Hypothesis, parts: Parts, scale: FloatArray) -> str:
    """A sentence on where a fault in eps shows, and by how much, relative to the scale of x, (d,)."""
    term, symbol = hypothesis.key
    if term not in TERMS or FACTORS[symbol].about != "eps":
        return ""
    first = hypothesis.faults[0][0].term if hypothesis.faults else term
    spoilt = TERMS.get(first, TERMS[term]).spoils
    effects = [_effect(symbol, spoilt, std, parts, scale) for std in STDS]
    at = ", ".join(f"{small(effect)} at std {std:g}" for effect, std in zip(effects, STDS, strict=True))
    return f" It shows at small variance: {at}."


def _effect(symbol: str, spoilt: Mapping[str, int], std: float, parts: Parts, scale: FloatArray) -> float:
    """The error of dx, relative to its scale, at another standard deviation of x.

    The factor is that of the standard variant; of std = sqrt(var) + eps it is the same, to first order in size.
    """
    factor = FACTORS[symbol].at(std * std, parts.inputs.eps)
    routes = dict(zip(ROUTES.values(), parts.routes, strict=True))
    slip = sum(((factor ** spoilt.get(name, 0) - 1) * route for name, route in routes.items()), 0 * parts.routes.direct)
    with np.errstate(all="ignore"):
        return float(np.nanmax(np.abs(slip) / scale))


def _counted(off: BoolArray) -> str:
    """The features that are off, in words."""
    if len(spans(off)) == 1:
        return in_words(off, "feature")
    wrong = np.flatnonzero(off).tolist()
    shown = ", ".join(map(str, wrong[:5])) + (", ..." if len(wrong) > 5 else "")
    return f"{len(wrong)} of {len(off)} features ({shown})"


def _reach(off: BoolArray, explained: int) -> str:
    """A sentence on the features in which it is so, where it is not in all."""
    wrong = np.count_nonzero(off)
    if explained == wrong:
        return f" It is so in {_counted(off)}; the others are right."
    return f" That explains {explained} of the {wrong} features that are off; nothing that I know explains the rest."


# --- a formula with a fault in it --------------------------------------------------------------------------------

REWRITTEN = (
    ("no-gamma", " · gamma", ""),
    ("gamma-twice", " · gamma", " · gamma · gamma"),
    ("gamma-divides", " · gamma", " / gamma"),
    ("beta-for-gamma", "gamma", "beta"),
    ("dvar-sign", "(-1/2)", "(1/2)"),
    ("dvar-half-forgotten", "(-1/2)", "(-1)"),
    ("dvar-minus-one-forgotten", "(-1/2)", "1"),
    ("dvar-power-1/2", "^(-3/2)", "^(-1/2)"),
    ("dvar-power-1", "^(-3/2)", "^(-1)"),
    ("dvar-power-2", "^(-3/2)", "^(-2)"),
    ("dvar-power-5/2", "^(-3/2)", "^(-5/2)"),
    ("dvar-power-sign", "^(-3/2)", "^(3/2)"),
    ("dvar-eps-left-out", "(var + eps)", "var"),
    ("dvar-eps-twice", "var + eps", "var + eps + eps"),
    ("dvar-no-gamma direct-no-gamma", "dx_hat", "dout"),
    ("half-var-route", "(2/n)", "(1/n)"),
    ("var-route-without-n", "(2/n)", "2"),
    ("var-route-unbiased", "(2/n)", "(2/(n-1))"),
    ("mean-route-without-n", " + dmean · (1/n)", " + dmean"),
    ("dvar-x-hat var-route-x-hat", "(x - mean)", "x_hat"),
    ("dvar-x var-route-x dmean-x", "(x - mean)", "x"),
    ("dvar-plus", "dx_hat · (x", "dx_hat + (x"),
    ("dvar-not-summed dmean-not-summed neither-summed", "Σ(dx_hat", "(dx_hat"),
    ("dmean-second-not-summed", "Σ(-2", "(-2"),
    ("var-route-one", " · (x - mean)", ""),
    ("constants", " + dvar · (2/n) · (x - mean) + dmean · (1/n)", ""),
    ("identity", OF_GRADIENT["dx"].text, "dout"),
    ("dx-hat-alone", OF_GRADIENT["dx"].text, "dx_hat"),
    *(("zeros", OF_GRADIENT[symbol].text, "0") for symbol in ("dx", "dgamma", "dbeta")),
    *(("swapped", old, new) for old, new in (("dvar", "?"), ("dmean", "dvar"), ("?", "dmean"))),
    ("dgamma-on-x", "x_hat", "x"),
    ("dgamma-on-out", "x_hat", "out"),
    ("dgamma-on-nothing", " · x_hat", ""),
    ("parameters-swapped", "dout · x_hat", "?"),
    ("parameters-swapped dbeta-on-x-hat", "Σ(dout)", "Σ(dout · x_hat)"),
    ("parameters-swapped", "?", "dout"),
    ("dbeta-without-dout", "Σ(dout)", "n"),
)
"""Faults, and text that they replace in the right formulas, in turn; in those of other faults there is a factor."""


def as_written(fault: Fault) -> dict[str, str]:
    """The formulas that a fault breaks, as it has them, by what they define; none where it is in no formula."""
    right = {symbol: OF_GRADIENT[symbol].text for symbol in fault.breaks}
    changes = [(old, new) for names, old, new in REWRITTEN if fault.name in names.split()]
    if changes or fault.needs == "eval":  # where the formulas of training stand in eval mode
        for old, new in changes:
            right = {symbol: text.replace(old, new) for symbol, text in right.items()}
        return right
    if fault.is_compound:
        return {}
    powers = TERMS[fault.term].spoils
    routes = zip(ROUTES.values(), (DIRECT.text, THROUGH_VAR.text, THROUGH_MEAN.text), strict=True)
    made = {"dbeta": "beta", "dgamma": "gamma", "dx_hat": "gain", "dvar": "var", "dmean": "mean"}
    wrong = {symbol: _times(fault.factor, powers[made[symbol]], right[symbol]) for symbol in right if symbol != "dx"}
    if "dx" in right:
        # Where dvar and dmean are wrong themselves, the routes of dx through them are as they should be.
        own = {"gain"} if "dvar" in right else powers.keys()
        terms = [_times(fault.factor, powers[name], text) if name in own else text for name, text in routes]
        dx = " + ".join(term for term in terms if term != "0").replace("+ -1 · ", "- ") or "0"
        wrong["dx"] = _times(fault.factor, 1, right["dx"]) if fault.term == "dx" else dx
    return {symbol: wrong[symbol] for symbol in fault.breaks}


def _times(symbol: str, power: int, text: str) -> str:
    """A formula times a factor, in a power."""
    if symbol == "0":
        return "0"
    factor = symbol if power == 1 else f"({symbol})^{power}"
    return f"{factor} · {text}" if " + " not in text else f"{factor} · ({text})"


# --- a row that nothing explains -------------------------------------------------------------------------------


def not_finite(given: FloatArray) -> str:
    """Say that a gradient has infinities, or elements that are no numbers; nothing where it is finite."""
    count = int(np.count_nonzero(~np.isfinite(given)))
    return f"{count} of {given.size} elements are not finite, and nothing that I know makes them so." if count else ""


def unknown_dx(coefficients: Sequence[Coefficient], added: float, off: BoolArray, parts: Parts) -> str:
    """Say of a dx that nothing explains what its routes are multiplied by, and how much is `added` to them, if any."""
    where = "" if np.all(off) else f" It is off in {_counted(off)}."
    found = {each.route: np.asarray(each.features)[off] for each in coefficients}
    if all(np.all(np.isnan(ratio)) for ratio in found.values()):
        return f"not a mistake that I know; {_why_alike(parts)}, so the three routes cannot be told apart.{where}"
    by_factor: dict[str, list[str]] = {}
    for route, ratio in found.items():
        known = ratio[np.isfinite(ratio)]
        slips = known[known != 1]
        told = f"{factor(slips)} times what it should be" if len(slips) else "right" if len(known) else "hidden here"
        by_factor.setdefault(told, []).append(route)
    if list(by_factor) == ["right"]:
        what = f"something is added to the right dx, {small(added)} of its scale" if added else "dx is hardly off"
        return f"not a mistake that I know: {what}.{where}"
    right_last = sorted(by_factor.items(), key=lambda item: item[0] == "right")
    named = {told: ["dx"] if len(routes) == len(ROUTES) else routes for told, routes in right_last}
    clauses = [f"{' and '.join(of)} {'is' if len(of) == 1 else 'are'} {told}" for told, of in named.items()]
    clauses += [f"and something is added, {small(added)} of the scale of dx"] if added else []
    return f"not a mistake that I know: {'; '.join(clauses)}.{where}"


def unknown_row(row: str, ratio: FloatArray, off: BoolArray) -> str:
    """Say of a dbeta, dgamma, dmean or dvar that nothing explains what it is multiplied by."""
    where = "" if np.all(off) else f" in {_counted(off)}"
    return f"not a mistake that I know: d{row} is {factor(ratio[off])} times what it should be{where}."


def factor(ratio: FloatArray) -> str:
    """A factor that should be 1, in words: one number where it hardly differs among the features, else its range."""
    low, middle, high = (float(f(ratio)) for f in (np.min, np.median, np.max))
    if high - low <= 1e-2 * max(abs(high - 1), abs(low - 1)):
        return _beside_one(middle)
    return f"{_beside_one(low)} to {_beside_one(high)}, mostly {_beside_one(middle)},"


def _beside_one(value: float) -> str:
    """A number with three decimals, or as many as tell it from 1: 0.730, 1.000001."""
    if 0 < abs(value) < 1e-2:
        return small(value)
    slip = int(f"{abs(value - 1):.1e}".partition("e")[2])
    return f"{value:.3f}" if slip >= -2 or value == 1 else f"{value:.{1 - slip}f}".rstrip("0")


def _why_alike(parts: Parts) -> str:
    """The reason why the routes lie along one another."""
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
