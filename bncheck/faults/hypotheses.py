"""What may explain a wrong gradient: the catalogue, and every factor on every route, each with what it would give."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bncheck.faults.catalogue import FAULTS
from bncheck.faults.fault import NEEDS, Fault
from bncheck.faults.parts import Coordinates, Parts
from bncheck.faults.terms import TERMS, Worth, Wrong, possible
from bncheck.gradients.batchnorm import FloatArray

BoolArray = NDArray[np.bool_]
Key = tuple[str, str]
"""(term, factor), or ("compound", name): what a sentence names. Faults of one key give the same gradient."""

# What a factor on each of these makes of dx cannot be told from a factor on the term to the right.
SAME_DX = {"dvar": "through var", "dmean": "through mean", "dx_hat": "dx"}
PUT = ("gain", "through_var", "through_mean")  # what a fault puts in place of gamma, dvar and dmean in dx
_ROUTES = {
    changed: frozenset(itertools.compress(PUT, changed)) for changed in itertools.product((False, True), repeat=3)
}
ON_ROUTES = ("direct", "through var", "through mean", "dx")


class Hypothesis(NamedTuple):
    """A key and the catalogued faults that it stands for; none where it is a factor that is not in the catalogue."""

    key: Key
    faults: tuple[tuple[Fault, Wrong], ...] = ()

    @property
    def rank(self) -> tuple[bool, bool]:
        """Sorts what was found in published code first, and what is in no catalogue last."""
        return (not self.faults, not any(fault.found for fault, _ in self.faults))


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that the hypotheses about one backward pass are made from. `wrongs` are those of the faults that apply."""

    parts: Parts
    worth: Worth
    right: Wrong
    wrongs: tuple[tuple[Fault, Wrong], ...]
    _known: dict[str, dict[Key, list[tuple[Fault, Wrong]]]] = field(default_factory=dict)

    @classmethod
    def of(cls, parts: Parts) -> Evidence:
        """The evidence about one backward pass."""
        worth, right = Worth.of(parts), Wrong.nowhere(parts)
        met = {need for need, is_met in NEEDS.items() if is_met(parts)}
        with np.errstate(all="ignore"):
            wrongs = tuple((fault, fault.wrong(right, parts, worth)) for fault in FAULTS if fault.needs in met)
        return cls(parts, worth, right, wrongs)

    def known(self, row: str) -> dict[Key, list[tuple[Fault, Wrong]]]:
        """The faults that spoil a row, by what a sentence would name."""
        if row not in self._known:
            found: dict[Key, list[tuple[Fault, Wrong]]] = {}
            for fault, wrong in self.wrongs:
                if spoils(wrong, self.right, row):
                    found.setdefault(key_of(fault, row), []).append((fault, wrong))
            self._known[row] = found
        return self._known[row]


def spoils(wrong: Wrong, right: Wrong, row: str) -> bool:
    """Whether a fault touches a row at all, on whatever data."""
    if row != "x":
        return getattr(wrong, row) is not getattr(right, row)
    return (
        wrong.gain is not right.gain
        or wrong.through_var is not right.through_var
        or wrong.through_mean is not right.through_mean
        or wrong.x is not None
    )


def key_of(fault: Fault, row: str) -> Key:
    """What names a fault in a row."""
    if fault.term == "compound":
        return fault.alike if fault.alike is not None and row == "x" else ("compound", fault.name)
    if row == "x":
        return (SAME_DX.get(fault.term, fault.term), fault.factor)
    return (fault.term, fault.factor)


# --- of beta, gamma, mean, var ---------------------------------------------------------------------------------


def of_row(row: str, evidence: Evidence) -> tuple[list[Hypothesis], FloatArray]:
    """What would explain a gradient of shape (d,), and what each would give, (h, d)."""
    known = evidence.known(row)
    found = [(Hypothesis(key, tuple(faults)), getattr(faults[0][1], row)) for key, faults in known.items()]
    right = evidence.parts.gradients.of(row)
    others = [symbol for symbol in possible(evidence.parts) if (f"d{row}", symbol) not in known]
    found += [(Hypothesis((f"d{row}", symbol)), right * evidence.worth.value[symbol]) for symbol in others]
    return [hypothesis for hypothesis, _ in found], np.array([value for _, value in found])


# --- of x ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InRoutes:
    """Hypotheses of x that leave dx a sum of its routes: what they put for gamma, dvar and dmean, each (h, d).

    `touched` are the routes that each of them spoils.
    """

    hypotheses: Sequence[Hypothesis]
    touched: Sequence[frozenset[str]]
    gain: FloatArray
    through_var: FloatArray
    through_mean: FloatArray


def in_routes(evidence: Evidence) -> InRoutes:
    """Every single fault of x, catalogued or not, that stays within the routes."""
    known = evidence.known("x")
    right, parts = evidence.right, evidence.parts
    kept: list[Hypothesis] = []
    touched: list[frozenset[str]] = []
    gains, dvars, dmeans = [], [], []
    for key, faults in known.items():
        wrong = faults[0][1]
        if wrong.x is None:
            kept.append(Hypothesis(key, tuple(faults)))
            changed = (
                wrong.gain is not right.gain,
                wrong.through_var is not right.through_var,
                wrong.through_mean is not right.through_mean,
            )
            touched.append(_ROUTES[changed])
            gains.append(wrong.gain)
            dvars.append(wrong.through_var)
            dmeans.append(wrong.through_mean)
    symbols = possible(parts)
    every = np.stack([evidence.worth.gain[symbol] for symbol in symbols])
    blocks = [(np.stack(gains), np.stack(dvars), np.stack(dmeans))]
    for term in ON_ROUTES:
        spoilt = frozenset(part for part, _ in TERMS[term].powers(parts.is_eval))
        new = [place for place, symbol in enumerate(symbols) if (term, symbol) not in known and spoilt]
        kept += [Hypothesis((term, symbols[place])) for place in new]
        touched += [spoilt] * len(new)
        gain = every[new]
        blocks.append(
            (
                gain if "gain" in spoilt else np.broadcast_to(right.gain, gain.shape),
                parts.bare_var * gain if "through_var" in spoilt else np.broadcast_to(right.through_var, gain.shape),
                parts.bare_mean * gain if "through_mean" in spoilt else np.broadcast_to(right.through_mean, gain.shape),
            )
        )
    gain, dvar, dmean = (np.concatenate(arrays) for arrays in zip(*blocks, strict=True))
    return InRoutes(kept, touched, gain, dvar, dmean)


def beyond_routes(evidence: Evidence) -> Iterator[tuple[Hypothesis, FloatArray]]:
    """Every fault of x that gives a dx, (n, d), which is no sum of its routes."""
    for key, faults in evidence.known("x").items():
        dx = faults[0][1].x
        if dx is not None:
            yield Hypothesis(key, tuple(faults)), dx


@dataclass(frozen=True, slots=True)
class Coefficients:
    """gamma, dvar and dmean as a dx has them in its three routes, (d,), and how far each may be off.

    Where the data do not tell a route from the others, `off` is infinite.
    """

    found: tuple[FloatArray, FloatArray, FloatArray]
    off: tuple[FloatArray, FloatArray, FloatArray]

    @classmethod
    def of(cls, seen: FloatArray, allowed: FloatArray, coordinates: Coordinates) -> Coefficients:
        """From a dx in its coordinates, (3, d), each of which may be off by `allowed`, (d,)."""
        direct, through_var = coordinates.direct, coordinates.through_var
        with np.errstate(all="ignore"):
            gain = np.where(direct[2] != 0, seen[2] / direct[2], 0)
            gain_off = np.where(direct[2] != 0, allowed / np.abs(direct[2]), np.inf)
            dvar = np.where(through_var[1] != 0, (seen[1] - gain * direct[1]) / through_var[1], 0)
            dvar_off = np.where(
                through_var[1] != 0, (allowed + gain_off * np.abs(direct[1])) / np.abs(through_var[1]), np.inf
            )
            dmean = (seen[0] - gain * direct[0] - dvar * through_var[0]) / coordinates.ones
            dmean_off = (allowed + gain_off * np.abs(direct[0])) / coordinates.ones
        return cls((gain, dvar, dmean), (gain_off, dvar_off, dmean_off))


# --- what explains one row --------------------------------------------------------------------------------------


Options = list[tuple[Hypothesis, ...]]
NEARER = 0.5  # of the error: what leaves more than this of it has not explained it


class Fit(StrEnum):
    """How far an explanation reaches."""

    EVERY = "every feature"
    SOME = "some features"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Coefficient:
    """What a route is multiplied by: in each feature, and their median; nan where the data do not tell it."""

    route: str
    median: float
    features: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """Where something stands: the file as its owner would write it, the line, and its text on one line."""

    file: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Explained:
    """What was found out about one row, before it is told.

    Each of `options` explains the row by itself, and consists of one hypothesis, or of several that hold together.
    """

    row: str
    fits: Fit
    off: BoolArray
    options: tuple[tuple[Hypothesis, ...], ...] = ()
    explained: int = 0
    coefficients: tuple[Coefficient, ...] = ()
    remainder: float = 0.0
    more: str = ""


def fitting(candidates: Sequence[Hypothesis], fits: BoolArray, off: BoolArray) -> tuple[Options, Fit, int]:
    """The hypotheses that fit, how far, and how many of the features that are off they explain.

    `fits` is (h, d). What fits everywhere is taken first, then what fits wherever the row is off, then what fits in
    half of these features at least.
    """
    wrong = int(np.count_nonzero(off))
    if np.any(every := np.all(fits, axis=1)):
        return _ranked(candidates, every), Fit.EVERY, wrong
    count = np.count_nonzero(fits[:, off], axis=1)
    most = int(np.max(count, initial=0))
    if most == wrong or most >= max(2, (wrong + 1) // 2):
        return _ranked(candidates, count == most), Fit.SOME, most
    return [], Fit.NONE, 0


def _ranked(candidates: Sequence[Hypothesis], chosen: BoolArray) -> Options:
    """Those chosen, the likeliest first; what is in no catalogue only where nothing else is left."""
    kept = sorted((candidates[i] for i in np.flatnonzero(chosen).tolist()), key=lambda hypothesis: hypothesis.rank)
    return [(hypothesis,) for hypothesis in kept if hypothesis.faults or not kept[0].faults]


def not_finite(given: FloatArray) -> str:
    """What to say of a gradient that has infinities, or is not a number; empty where it is finite."""
    count = int(np.count_nonzero(~np.isfinite(given)))
    return f"{count} of {given.size} elements are not finite, and nothing that I know makes them so." if count else ""
