"""Calling somebody's code, whatever comes of it: so many calls and no more, and what they raised."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np

from bncheck.calling.answer import as_array
from bncheck.calling.binding import Layer
from bncheck.calling.layout import Layout, features_of, layout_of
from bncheck.calling.plan import parsed
from bncheck.case import ONE_BY_ONE, Case, Convention
from bncheck.gradients import batchnorm
from bncheck.gradients.batchnorm import FloatArray, Inputs
from bncheck.gradients.problem import draw
from bncheck.workers.pool import Interrupted

# --- small problems ---------------------------------------------------------------------------------------------


# Distinct sizes on every axis, and n unlike d, so that no axis can be taken for another.
SHAPES = {2: (6, 4), 3: (5, 4, 3), 4: (3, 4, 2, 5), 5: (2, 4, 3, 5, 6)}

LOOSE = 3e-6
"""How far a forward may be off to be recognised: float32 buffers inside it are no reason not to be."""

STANDARD = "standard"
NO_EPS = "no eps"
UNKNOWN = "unknown"
# (unbiased variance, eps outside the root); the standard first, so that it wins where eps is too small to tell.
_VARIANTS = {
    STANDARD: (False, False),
    "unbiased variance": (True, False),
    "eps outside the root": (False, True),
    "unbiased variance, eps outside the root": (True, True),
}
_SMALL = (1e-1, 1e-3, 1e-5, 1e-7)  # standard deviations at which eps shows, whatever it is


@dataclass(frozen=True, slots=True)
class Probe:
    """A small problem in rows. Shapes: inputs.x, dout (n, d)."""

    case: Case
    inputs: Inputs
    dout: FloatArray


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a forward computes. `grade` is 2 for batch normalisation in a known variant, 1 where it takes the mean off
    and scales, 0 for anything else. `eps` is what it adds; nan where that cannot be told.
    """

    grade: int
    variant: str = UNKNOWN
    eps: float = float("nan")


@cache
def probe(axes: int, seed: int = 0) -> Probe:
    """A problem with that many axes, the channels on axis 1."""
    case = Case(shape=SHAPES[axes], seed=seed)
    problem = draw(case)
    return Probe(case, problem.inputs, problem.dout)


@cache
def small_probe(axes: int, eps: float) -> Probe:
    """The same with features whose variances are far apart and small, so that eps shows."""
    found = probe(axes)
    x = found.inputs.x * np.resize(np.array(_SMALL), found.inputs.x.shape[1])
    return replace(found, inputs=replace(found.inputs, x=x, eps=eps))


def taken_by(names: Set[str], inputs: Inputs) -> Inputs:
    """The same with gamma 1 unless it is among the names, and beta 0 unless it is: for layers that have not both."""
    gamma = inputs.gamma if "gamma" in names else np.ones_like(inputs.gamma)
    return replace(inputs, gamma=gamma, beta=inputs.beta if "beta" in names else np.zeros_like(inputs.beta))


def judge(out: FloatArray, inputs: Inputs) -> Judgement:
    """What a forward computes, from its `out`, (n, d), on an ordinary problem."""
    scale = _scale(out, inputs)
    if scale is None:
        return Judgement(0)
    var = batchnorm.batch_var(batchnorm.anchor(inputs.x) - batchnorm.batch_mean(batchnorm.anchor(inputs.x)))
    n = len(out)
    for variant, (unbiased, outside) in _VARIANTS.items():
        own = var * n / (n - 1) if unbiased else var
        eps = scale - np.sqrt(own) if outside else scale**2 - own
        if np.ptp(eps) <= 10 * LOOSE and -10 * LOOSE <= np.mean(eps) <= 0.5:
            return Judgement(2, variant, max(0.0, float(np.mean(eps))))
    return Judgement(1)


def judge_eps(out: FloatArray, inputs: Inputs) -> Judgement:
    """The same from the `out` of a small problem: there each variant has an `out` of its own, and eps shows."""
    scale = _scale(out, inputs)
    if scale is None:
        return Judgement(0)
    anchored = batchnorm.anchor(inputs.x)
    var = batchnorm.batch_var(anchored - batchnorm.batch_mean(anchored))
    n, least = len(out), int(np.argmin(var))
    for variant, (unbiased, outside) in _VARIANTS.items():
        own = var * n / (n - 1) if unbiased else var
        eps = float((scale - np.sqrt(own) if outside else scale**2 - own)[least])
        nothing = abs(eps) <= 1e-3 * float(np.sqrt(own[least]) if outside else own[least])
        eps = 0.0 if nothing else eps
        predicted = np.sqrt(own) + eps if outside else np.sqrt(own + max(eps, 0.0))
        if np.all(np.abs(predicted - scale) <= 1e-5 * scale):
            named = variant if eps else (NO_EPS if not unbiased else f"unbiased variance, {NO_EPS}")
            return Judgement(2, named, _rounded(eps))
    return Judgement(1)


def _scale(out: FloatArray, inputs: Inputs) -> FloatArray | None:
    """What x - mean is divided by, shape (d,); None where out is no multiple of it, plus beta."""
    if not np.all(np.isfinite(out)):
        return None
    anchored = batchnorm.anchor(inputs.x)
    centred = anchored - batchnorm.batch_mean(anchored)
    shifted = out - inputs.beta
    slope = batchnorm.dot(shifted, centred) / batchnorm.dot(centred, centred)
    left = np.max(np.abs(shifted - slope * centred), axis=0)
    if np.any(left > LOOSE * np.max(np.abs(out), axis=0)) or np.any(slope * inputs.gamma <= 0):
        return None
    return np.asarray(inputs.gamma / slope)


def _rounded(eps: float) -> float:
    """The short number that was meant: 1e-05 for 9.9999999e-06."""
    short = float(f"{eps:.2g}")
    return short if abs(short - eps) <= 1e-5 * abs(eps) else eps


Path = tuple[int, ...]


@dataclass(slots=True)
class Trial:
    """The calls of one candidate: how many are left, and what was raised, by the call that did."""

    namespace: Mapping[str, Any]
    calls_left: int
    raised: dict[str, str] = field(default_factory=dict)

    def attempt(self, what: str, call: Callable[[], Any]) -> Any:
        """What the call gives; None where it raises, which is noted. Raises OutOfCalls, and Interrupted."""
        if self.calls_left <= 0:
            raise OutOfCalls
        self.calls_left -= 1
        try:
            with np.errstate(all="ignore"):
                return call()
        except Interrupted:
            raise
        except BaseException as error:  # sys.exit() and KeyboardInterrupt in their code are theirs
            self.raised.setdefault(what, described_error(error))
            return None

    def session(self, convention: Convention, probe: Probe, inputs: Inputs) -> Layer | None:
        """A fresh object, or None where it cannot be made."""
        layout = layout_of(probe.case, convention.layout)
        make = lambda: Layer(parsed(convention), layout, convention.parameters, self.namespace, inputs)  # noqa: E731
        found: Layer | None = self.attempt(convention.build or convention.create or "nothing", make)
        return found


class OutOfCalls(Exception):  # noqa: N818 - the signal to stop looking
    """No call is left for this candidate."""


@dataclass(frozen=True, slots=True)
class Forward:
    """A way of calling a forward that ran, and what it computes. `convention` has `-> out` alone as its target.

    `raw` is what it returned, `path` where in it out is, `out` that in rows; `inputs` what it was given,
    `taken` how many of gamma and beta it takes.
    """

    convention: Convention
    judgement: Judgement
    raw: Any
    path: Path
    out: FloatArray
    inputs: Inputs
    taken: int

    @property
    def rank(self) -> tuple[int, int]:
        """Orders forwards by how surely they are batch normalisation."""
        return self.judgement.grade, self.taken


def run_forward(trial: Trial, convention: Convention, probe: Probe) -> Forward | None:
    """One forward pass, judged; None where it raised, or gave nothing of the shape of x.

    A layer with one gamma is judged on all features together; `raw` is what it returned for the last of them.
    """
    taken = parsed(convention).taken & {"gamma", "beta"}
    inputs = taken_by(taken, probe.inputs)
    raw: Any = None
    path: Path = ()
    outs: list[FloatArray] = []
    for part in features_of(inputs) if convention.parameters in ONE_BY_ONE else (inputs,):
        found = _ran(trial, convention, probe, part)
        if found is None:
            return None
        raw, path, out = found
        outs.append(out)
    out = np.concatenate(outs, axis=1)
    return Forward(convention, judge(out, inputs), raw, path, out, inputs, len(taken))


def _ran(trial: Trial, convention: Convention, probe: Probe, inputs: Inputs) -> tuple[Any, Path, FloatArray] | None:
    """What forward returned, the way in it to what is most like batch normalisation, and that in rows."""
    session = trial.session(convention, probe, inputs)
    if session is None:
        return None
    raw = trial.attempt(convention.forward, lambda: session.run_forward(inputs))
    layout = layout_of(probe.case, convention.layout)
    outs = [(path, out) for path, value in _arrays_in(raw) if (out := _rows(value, layout, inputs)) is not None]
    if not outs:
        return None
    path, out = max(outs, key=lambda found: judge(found[1], inputs).grade)
    return raw, path, out


def described_error(error: BaseException) -> str:
    """The type and the first line of what was raised, cut to a length that a report can show."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}"[:160] if lines else type(error).__name__


def _arrays_in(raw: Any) -> Iterator[tuple[Path, Any]]:
    """The arrays in what a forward returned, each with the way to it."""
    if isinstance(raw, tuple | list):
        for number, item in enumerate(raw):
            if isinstance(item, np.ndarray):
                yield (number,), item
    elif raw is not None:
        yield (), raw


def _rows(value: Any, layout: Layout, inputs: Inputs) -> FloatArray | None:
    """An `out` in rows; None where it has not the shape of x, or is no array of numbers."""
    array = as_array(value)
    if array is None or array.dtype.kind not in "fiu" or array.shape != layout.shape(inputs.x.shape[1]):
        return None
    return layout.rows(array.astype(np.result_type(array.dtype, np.float64)))
