"""What explains one row of a wrong backward pass, and in how many of its features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from bncheck.batchnorm import FloatArray
from bncheck.hypotheses import BoolArray, Hypothesis

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
