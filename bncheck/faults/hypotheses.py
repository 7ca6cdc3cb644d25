"""Hypotheses about a wrong gradient: the faults of the catalogue and every factor on every route, with their values."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from bncheck.faults.catalogue import FAULTS, Fault
from bncheck.faults.region import Picture, Region
from bncheck.faults.terms import ROUTES, TERMS, BoolArray, FactorValues, Parts, Wrong, needs_met, possible
from bncheck.gradients.batchnorm import FloatArray

Key = tuple[str, str]
"""The name of a mistake: (term, factor), or ("compound", name). Faults of one key give the same gradient."""

SAME_DX = {"dvar": "through var", "dmean": "through mean", "dx_hat": "dx"}
"""Terms by which dx is spoilt as by the term to the right: no dx tells a factor on one from a factor on the other."""

_TRIED = ("direct", "through var", "through mean", "dx")
"""Terms on which every factor is tried, whether it is in the catalogue or not."""


class Hypothesis(NamedTuple):
    """A key and the catalogued faults that it stands for; none where it is a factor that is not in the catalogue.

    Each fault comes with the backward pass that it makes of the right one.
    """

    key: Key
    faults: tuple[tuple[Fault, Wrong], ...] = ()

    @property
    def rank(self) -> tuple[bool, bool]:
        """A pair to sort by: faults that were found in published code first, and factors in no catalogue last."""
        return (not self.faults, not any(fault.found for fault, _ in self.faults))


@dataclass(frozen=True, slots=True)
class Evidence:
    """One backward pass with everything that the hypotheses about it are made from.

    `wrongs` are those of the faults that are possible in it.
    """

    parts: Parts
    values: FactorValues
    right: Wrong
    wrongs: tuple[tuple[Fault, Wrong], ...]
    _known: dict[str, dict[Key, list[tuple[Fault, Wrong]]]] = field(default_factory=dict)

    @classmethod
    def of(cls, parts: Parts) -> Evidence:
        """The evidence about one backward pass."""
        values, right = FactorValues.of(parts), Wrong.without_fault(parts)
        met = needs_met(parts)
        with np.errstate(all="ignore"):
            wrongs = tuple((fault, fault.wrong(right, parts, values)) for fault in FAULTS if fault.needs in met)
        return cls(parts, values, right, wrongs)

    def known(self, row: str) -> dict[Key, list[tuple[Fault, Wrong]]]:
        """The faults that spoil a row, by their keys."""
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
    return wrong.x is not None or any(_replaces(wrong, right))


def _replaces(wrong: Wrong, right: Wrong) -> tuple[bool, bool, bool]:
    """Whether a fault replaces each of the fields of ROUTES. Written out, since it is asked of every fault."""
    return (
        wrong.gain is not right.gain,
        wrong.through_var is not right.through_var,
        wrong.through_mean is not right.through_mean,
    )


def key_of(fault: Fault, row: str) -> Key:
    """The key of a fault in a row."""
    if fault.is_compound:
        return fault.alike if fault.alike is not None and row == "x" else (fault.term, fault.name)
    return (SAME_DX.get(fault.term, fault.term) if row == "x" else fault.term, fault.factor)


# --- of beta, gamma, mean, var ---------------------------------------------------------------------------------


def of_row(row: str, evidence: Evidence) -> tuple[list[Hypothesis], FloatArray]:
    """The hypotheses about a gradient of shape (d,), and the gradient that each would give, (h, d)."""
    known = evidence.known(row)
    found = [(Hypothesis(key, tuple(faults)), getattr(faults[0][1], row)) for key, faults in known.items()]
    right = evidence.parts.gradients.of(row)
    others = [symbol for symbol in possible(evidence.parts) if (f"d{row}", symbol) not in known]
    found += [(Hypothesis((f"d{row}", symbol)), right * evidence.values.value[symbol]) for symbol in others]
    return [hypothesis for hypothesis, _ in found], np.array([value for _, value in found])


# --- of x ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InRoutes:
    """Hypotheses of x that leave dx a sum of its routes, with what they put for gamma, dvar and dmean, each (h, d).

    `spoilt` are the fields of ROUTES that each of them replaces.
    """

    hypotheses: Sequence[Hypothesis]
    spoilt: Sequence[frozenset[str]]
    gain: FloatArray
    through_var: FloatArray
    through_mean: FloatArray


def in_routes(evidence: Evidence) -> InRoutes:
    """Every single fault of x, catalogued or not, that stays within the routes."""
    known = evidence.known("x")
    right, parts = evidence.right, evidence.parts
    within = [(key, faults) for key, faults in known.items() if faults[0][1].x is None]
    wrongs = [faults[0][1] for _, faults in within]
    kept = [Hypothesis(key, tuple(faults)) for key, faults in within]
    spoilt = [frozenset(itertools.compress(ROUTES.values(), _replaces(wrong, right))) for wrong in wrongs]
    symbols = possible(parts)
    every = np.stack([evidence.values.gain[symbol] for symbol in symbols])
    blocks = [tuple(np.stack([getattr(wrong, name) for wrong in wrongs]) for name in ROUTES.values())]
    for term in _TRIED:
        names = frozenset(part for part, _ in TERMS[term].powers(parts.is_eval))
        new = [place for place, symbol in enumerate(symbols) if (term, symbol) not in known and names]
        kept += [Hypothesis((term, symbols[place])) for place in new]
        spoilt += [names] * len(new)
        gain = every[new]
        with_factor = {"gain": gain, "through_var": parts.bare_var * gain, "through_mean": parts.bare_mean * gain}
        blocks.append(
            tuple(
                values if name in names else np.broadcast_to(getattr(right, name), gain.shape)
                for name, values in with_factor.items()
            )
        )
    return InRoutes(kept, spoilt, *(np.concatenate(arrays) for arrays in zip(*blocks, strict=True)))


# --- what explains one row --------------------------------------------------------------------------------------


Options = list[tuple[Hypothesis, ...]]
NEARER = 0.5  # of the error: what leaves more than this of it has not explained it


class Fit(StrEnum):
    """The reach of an explanation."""

    EVERY = "every feature"
    SOME = "some features"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Coefficient:
    """The factor on a route: in each feature, and their median; nan where the data do not tell it."""

    route: str
    median: float
    features: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Explained:
    """One row with what explains it, before it is told.

    Each of `options` explains the row by itself, and consists of one hypothesis, or of several that hold together.
    `explained` counts the features in which they do, of those that are `off`. `is_same` says that no data tell the
    options apart. `more` is the sentence of a row for which there are none. It is wrong in the `region`, where that is
    not everywhere; `fault` is the one that is wrong so, by name, if it is known; of a dx `picture` shows where.
    """

    row: str
    fits: Fit
    off: BoolArray
    options: tuple[tuple[Hypothesis, ...], ...] = ()
    explained: int = 0
    coefficients: tuple[Coefficient, ...] = ()
    remainder: float = 0.0
    is_same: bool = False
    more: str = ""
    region: Region | None = None
    fault: str = ""
    picture: Picture = ()

    @property
    def name(self) -> str:
        """The name of the fault that explains the row alone, with where it is; empty where there is none."""
        alone = self.options[0] if self.options and len(self.options[0]) == 1 else ()
        names = [fault.name for hypothesis in alone for fault, _ in hypothesis.faults]
        return names[0] if names else self.fault and f"{self.fault} in {self.region.rows if self.region else ''}"

    def narrowed(self, elsewhere: Sequence[Explained]) -> tuple[tuple[Hypothesis, ...], ...]:
        """The options that explain the row on other data as well, each with the faults of which this is true."""
        names = {
            tuple(hypothesis.key for hypothesis in option): {f.name for each in option for f, _ in each.faults}
            for found in elsewhere
            for option in found.options
            if found.row == self.row
        }
        keys = [tuple(hypothesis.key for hypothesis in option) for option in self.options]
        return tuple(
            tuple(each._replace(faults=tuple(p for p in each.faults if p[0].name in names[key])) for each in option)
            for key, option in zip(keys, self.options, strict=True)
            if key in names
        )


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
    """The chosen candidates, the likeliest first; one that is in no catalogue only where nothing else is left."""
    kept = sorted((candidates[i] for i in np.flatnonzero(chosen).tolist()), key=lambda hypothesis: hypothesis.rank)
    return [(hypothesis,) for hypothesis in kept if hypothesis.faults or not kept[0].faults]
