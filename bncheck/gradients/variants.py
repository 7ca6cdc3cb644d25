"""Which batch normalisation a forward is: the standard one, or a variant that people write on purpose."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from bncheck.gradients import batchnorm
from bncheck.gradients.batchnorm import STANDARD, FloatArray, Inputs, Stages, Variant
from bncheck.gradients.problem import precision, rounded
from bncheck.gradients.yardsticks import sum_error

VARIANTS = (STANDARD, Variant(ddof=1), Variant(eps_outside=True), Variant(ddof=1, eps_outside=True))
LARGEST_EPS = 1.0  # nobody adds more; a larger one is something else that looks like it
CLEAR = 1 / 16  # of the tolerance: nearer than this is near enough, and the first one of the list is meant
SPREADS = tuple(10.0**-k for k in range(0, 16, 2))  # sigmas of features in which any eps shows, and where it stands
NO_EPS = "no eps"
LOOSE = 3e-6  # of the largest out there: float32 inside a forward is no reason not to know it


@dataclass(frozen=True, slots=True)
class Identity:
    """The batch normalisation that a forward was found to be: its real inputs, and the form of its variance and eps.

    `form` is in words, and empty if it is the standard one; `of_eps` says which eps it has, if it is another than was
    asked for. Where it is none that is `known`, the inputs are those that it was given.
    """

    inputs: Inputs
    form: str = ""
    of_eps: str = ""
    known: bool = True

    @property
    def sentence(self) -> str:
        """All that is unusual about it; empty where nothing is."""
        return "; ".join(filter(None, (self.form, self.of_eps)))

    def where_no_eps_was_asked_for(self) -> Identity:
        """The identity, which is none the worse for an eps of its own; to have none at all is unusual."""
        return replace(self, of_eps="" if self.inputs.eps else self.of_eps and NO_EPS)

    def is_like(self, inputs: Inputs) -> bool:
        """Whether it works on these inputs as they are."""
        return (self.inputs.variant, self.inputs.eps) == (inputs.variant, inputs.eps)

    def at(self, inputs: Inputs) -> Identity:
        """This batch normalisation at other inputs."""
        return replace(self, inputs=replace(inputs, variant=self.inputs.variant, eps=self.inputs.eps))

    def is_near(self, out: FloatArray, inputs: Inputs, tolerance: FloatArray, stages: Stages | None = None) -> bool:
        """Whether it gives `out` of these inputs, whose stages may be known. Shapes: out (n, d); tolerance (d,)."""
        same = self.at(inputs)
        return _distance(out, same, tolerance, stages if same.is_like(inputs) else None) <= 1


def asked(forward: Callable[[Inputs], FloatArray], inputs: Inputs) -> Identity | None:
    """Identify a forward where its form shows: at inputs with as many rows, and features of every spread.

    At other inputs two forms may have one `out` and two derivatives: beside a large eps the variance is lost, and
    sqrt(var) + 1e-3 is sqrt(var + 1e-6) in every digit. The inputs of the identity are those at which it was asked.
    """
    spread = np.array(SPREADS)
    x, ones, zeros = np.linspace(-1, 1, len(inputs.x))[:, None] * spread, np.ones_like(spread), np.zeros_like(spread)
    running = () if inputs.running_mean is None else (zeros, spread**2)  # the variances are given, and are spread
    telling = Inputs(x, ones, zeros, inputs.eps, *running)
    out = forward(telling)
    return identify(out, telling, LOOSE * np.max(np.abs(out), axis=0))


def known_to(dtype: str, out: FloatArray, odd: Inputs) -> Identity | None:
    """The batch normalisation that gives `out` to a dtype at odd inputs: the standard one where it may be that."""
    return identify(out, odd, 8 * sum_error(dtype, len(odd.x)) * np.max(np.abs(out), axis=0), Identity(odd))


NARROW = ("bfloat16", "float16", "float32")
"""Dtypes that code may work in alone, from the narrowest."""


def carried(forward: Callable[[Inputs], FloatArray], odd: Inputs) -> str:
    """The dtype that a forward carries, where it is a batch normalisation that is known: one of NARROW, or float64.

    It carries no more than a narrow one where all of its out are numbers of that, or where x moved by an eighth of the
    spacing of such numbers gives the same bits, and moved further others. Out is the reference's to that dtype alone.
    `odd` are inputs whose numbers are of no narrow dtype: a recorded batch may well be of such numbers.
    """
    out = forward(odd)
    if known_to("float64", out, odd):
        return "float64"
    for dtype in NARROW:
        if np.array_equal(out, rounded(out, dtype)) or _is_rounded_to(dtype, forward, odd):
            return dtype if known_to(dtype, out, odd) else "float64"
    return "float64"


def _is_rounded_to(dtype: str, forward: Callable[[Inputs], FloatArray], odd: Inputs) -> bool:
    """Whether x is rounded to a dtype before anything is made of it. Rows move to and fro: alike, they leave out."""
    near = odd.map(partial(rounded, dtype=dtype)).map(partial(np.asarray, dtype=np.float64))
    eps = precision(dtype).eps * (-1.0) ** np.arange(len(near.x))[:, None]
    out, *moved = (forward(replace(near, x=near.x * (1 + far * eps))) for far in (0, 1 / 8, 4))
    return np.array_equal(out, moved[0]) and bool(np.mean(out != moved[1]) > 1 / 2)


def odd_inputs(inputs: Inputs) -> Inputs:
    """Inputs with as many rows, whatever the data, none of whose numbers is one of a narrow dtype."""
    spread = np.sqrt([2.0, 3.0, 5.0, 7.0])
    x = np.sqrt(np.linspace(2, 7, len(inputs.x)))[:, None] * spread
    running = () if inputs.running_mean is None else (spread, spread / 5)
    if not running and len(x) == 2 and inputs.eps > 1e-6:  # of two rows x_hat is 1 and -1, but where eps counts
        x *= inputs.eps**0.5
    return Inputs(x, -1 / spread, spread / 3, inputs.eps, *running)


def identify(
    out: FloatArray, inputs: Inputs, tolerance: FloatArray, likely: Identity | None = None, stages: Stages | None = None
) -> Identity | None:
    """The batch normalisation that gives `out`; None where it is none that is known.

    Shapes: out (n, d); tolerance (d,), how far out may be off. Where the data do not tell variants apart, the
    likely one is meant, else the standard one. `stages` are those of the inputs, where they are known.
    """
    if likely is not None and likely.is_near(out, inputs, tolerance, stages):
        return likely.at(inputs)
    nearest, found = math.inf, None
    for candidate in _candidates(out, inputs):
        ratio = _distance(out, candidate, tolerance)
        if ratio <= CLEAR:
            return candidate
        if ratio <= 1 and ratio < nearest:
            nearest, found = ratio, candidate
    return found


def _distance(out: FloatArray, candidate: Identity, tolerance: FloatArray, stages: Stages | None = None) -> float:
    """How far off `out` is in the feature where it is furthest, in tolerances.

    Where the candidate takes 0 / 0, it may be what the rounding of the mean makes of that: anything but x_hat = 0.
    """
    inputs = candidate.inputs
    stages = stages or batchnorm.forward(inputs)
    off = np.max(np.abs(stages.out - out), axis=0)
    smooth = (inputs.gamma != 0) & np.all(out == inputs.beta, axis=0)
    distance = np.where(stages.std == 0, np.where(smooth, np.inf, 0), np.where(off == 0, 0, off / tolerance))
    return float(np.max(distance))


def _candidates(out: FloatArray, inputs: Inputs) -> Iterator[Identity]:
    """Each variant with the eps that was asked for, then with none, then with the one that its out was made with.

    In this order, since in one feature alone an eps can be found that makes any variant look like any other.
    """
    can_be_unbiased = inputs.running_mean is None and len(out) > 1
    variants = [variant for variant in VARIANTS if can_be_unbiased or not variant.ddof]
    for variant in variants:
        yield Identity(replace(inputs, variant=variant), _form(variant))
    # Where no feature has a variance, all that divides 0 by 0 looks alike.
    for variant in variants if np.any(batchnorm.forward(inputs).var > 0) else ():
        if not variant.eps_outside:
            of_eps = f"{NO_EPS}, and {inputs.eps:g} was asked for"
            yield Identity(replace(inputs, variant=variant, eps=0.0), _form(variant), of_eps)
    for variant in variants:
        seen = replace(inputs, variant=variant)
        for eps in _eps_of(out, seen):
            # An eps that is rounded to float32 is the one that was asked for.
            meant = abs(eps - inputs.eps) <= LOOSE * inputs.eps or f"{eps:.3g}" == f"{inputs.eps:.3g}"
            of_eps = "" if meant else f"eps is {eps:.3g}, not {inputs.eps:g}"
            yield Identity(replace(seen, eps=eps), _form(variant), of_eps)


def _form(variant: Variant) -> str:
    """The form of a variant in words; empty for the standard one."""
    of_variance = "unbiased variance: it divides by n - 1" if variant.ddof else ""
    outside = "eps outside the root: std is sqrt(var) + eps" if variant.eps_outside else ""
    return "; ".join(filter(None, (of_variance, outside)))


def _eps_of(out: FloatArray, inputs: Inputs) -> tuple[float, ...]:
    """The eps that a forward may have been run with, from the size of its out; nothing where that tells none.

    The feature with the smallest variance tells it best. An eps is somebody's round number, so the nearest one with
    three digits is likeliest; where another feature can confirm it, it may be any number, such as 2**-23.
    """
    stages = batchnorm.forward(replace(inputs, eps=0.0))
    normalised = (out - inputs.beta) / inputs.gamma
    std = batchnorm.dot(stages.centred, stages.centred) / batchnorm.dot(stages.centred, normalised)
    whole, rest = (std, stages.std) if inputs.variant.eps_outside else (std**2, stages.var)
    found = whole - rest
    rounding = 8 * np.finfo(found.dtype).eps * rest
    usable = np.isfinite(found) & (found > rounding) & (found <= LARGEST_EPS)
    if not np.any(usable):
        return ()
    eps = float(found[int(np.argmin(np.where(usable, stages.var, np.inf)))])
    short = float(f"{eps:.2e}")
    return (short, eps) if len(found) > 1 else (short,)
