"""Which batch normalisation a forward is: the standard one, or a variant that people write on purpose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from bncheck import batchnorm
from bncheck.batchnorm import STANDARD, FloatArray, Inputs, Variant

VARIANTS = (STANDARD, Variant(ddof=1), Variant(eps_outside=True), Variant(ddof=1, eps_outside=True))
LARGEST_EPS = 1.0  # nobody adds more; a larger one is something else that looks like it
CLEAR = 1 / 16  # of the tolerance: nearer than this is near enough, and the first one of the list is meant


@dataclass(frozen=True, slots=True)
class Identity:
    """What a forward was found to be: the inputs it really works on, and a sentence where it is not the standard."""

    inputs: Inputs
    sentence: str = ""


def identify(out: FloatArray, inputs: Inputs, tolerance: FloatArray) -> Identity | None:
    """The batch normalisation that gives `out`; None where it is none that is known.

    Shapes: out (n, d); tolerance (d,), how far out may be off. Where the data do not tell variants apart, the
    standard one is meant.
    """
    found: tuple[float, Identity] | None = None
    for candidate in _candidates(out, inputs):
        distance = np.max(np.abs(batchnorm.forward(candidate.inputs).out - out), axis=0)
        ratio = float(np.max(np.where(distance == 0, 0, distance / tolerance)))
        if ratio <= CLEAR:
            return candidate
        if ratio <= 1 and (found is None or ratio < found[0]):
            found = (ratio, candidate)
    return found and found[1]


def _candidates(out: FloatArray, inputs: Inputs) -> Iterator[Identity]:
    """Each variant with the eps that was asked for, then with none, then with the one that its out was made with.

    In this order, since in one feature alone an eps can be found that makes any variant look like any other.
    """
    can_be_unbiased = inputs.running_mean is None and len(out) > 1
    variants = [variant for variant in VARIANTS if can_be_unbiased or not variant.ddof]
    for variant in variants:
        yield Identity(replace(inputs, variant=variant), _sentence(variant))
    for variant in variants:
        if not variant.eps_outside:
            of_eps = f"no eps, and {inputs.eps:g} was asked for"
            yield Identity(replace(inputs, variant=variant, eps=0.0), _sentence(variant, of_eps))
    for variant in variants:
        seen = replace(inputs, variant=variant)
        eps = _eps_of(out, seen)
        if eps is not None:
            yield Identity(replace(seen, eps=eps), _sentence(variant, f"eps is {eps:.3g}, not {inputs.eps:g}"))


def _sentence(variant: Variant, of_eps: str = "") -> str:
    """What is to be said of a variant; nothing of the standard one."""
    of_variance = "unbiased variance: it divides by n - 1" if variant.ddof else ""
    outside = "eps outside the root: std is sqrt(var) + eps" if variant.eps_outside else ""
    return "; ".join(filter(None, (of_variance, outside, of_eps)))


def _eps_of(out: FloatArray, inputs: Inputs) -> float | None:
    """The eps that a forward was run with, from the size of its out; None where that tells none.

    The feature with the smallest variance tells it best. An eps is somebody's round number, so the nearest one with
    three digits is meant.
    """
    stages = batchnorm.forward(replace(inputs, eps=0.0))
    normalised = (out - inputs.beta) / inputs.gamma
    std = batchnorm.dot(stages.centred, stages.centred) / batchnorm.dot(stages.centred, normalised)
    found = std - stages.std if inputs.variant.eps_outside else std**2 - stages.var
    usable = np.isfinite(found) & (found > 0) & (found <= LARGEST_EPS)
    if not np.any(usable):
        return None
    best = int(np.argmin(np.where(usable, stages.var, np.inf)))
    return float(f"{float(found[best]):.2e}")
