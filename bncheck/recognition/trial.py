"""Calls of somebody's code on small problems: what they gave, what they raised, and how many are left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from bncheck.calling.answer import as_array, described
from bncheck.calling.arrays import AUTO, NUMPY
from bncheck.calling.binding import Layer
from bncheck.calling.layout import Layout, features_of, layout_of
from bncheck.calling.pattern import PatternError
from bncheck.calling.plan import Plan, parsed
from bncheck.calling.state import State
from bncheck.case import ONE_BY_ONE, Case, Convention
from bncheck.files.stub import StubUsed
from bncheck.gradients import batchnorm
from bncheck.gradients.batchnorm import FloatArray, Inputs
from bncheck.gradients.problem import draw
from bncheck.gradients.variants import LOOSE, Identity, identify
from bncheck.recognition.places import Leaf, inside, leaves_of
from bncheck.workers.worker import Interrupted

# --- small problems ---------------------------------------------------------------------------------------------

SHAPES = {2: ((6, 4), (9, 7)), 3: ((5, 4, 3), (4, 3, 7)), 4: ((3, 4, 2, 5), (4, 6, 5, 2)), 5: ((2, 4, 3, 5, 6),)}
"""By the number of axes. Every axis has a length of its own, and n is unlike d, so that none is taken for another."""

_SMALL = (1e-1, 1e-3, 1e-5, 1e-7)
"""Standard deviations of features at which eps shows, whatever it is."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A small problem in rows. Shapes: inputs.x, dout, other (n, d), the last two being unlike upstream gradients."""

    case: Case
    inputs: Inputs
    dout: FloatArray
    other: FloatArray


@cache
def probe(axes: int, number: int = 0) -> Probe:
    """The first or the second problem with that many axes, the channels on axis 1."""
    case = Case(shape=SHAPES[axes][number], seed=number)
    problem = draw(case)
    return Probe(case, problem.inputs, problem.dout, draw(replace(case, seed=number + 10)).dout)


@cache
def small_probe(axes: int, eps: float) -> Probe:
    """The first problem with features whose variances are far apart and small, so that eps shows."""
    found = probe(axes)
    x = found.inputs.x * np.resize(np.array(_SMALL), found.inputs.x.shape[1])
    return replace(found, inputs=replace(found.inputs, x=x, eps=eps))


def taken_by(names: Set[str], inputs: Inputs) -> Inputs:
    """The inputs with gamma 1 unless it is among the names, and beta 0 unless it is: for layers that have not both."""
    gamma = inputs.gamma if "gamma" in names else np.ones_like(inputs.gamma)
    return replace(inputs, gamma=gamma, beta=inputs.beta if "beta" in names else np.zeros_like(inputs.beta))


# --- what a forward computes ------------------------------------------------------------------------------------

NOTHING_KNOWN, NORMALISES, BATCH_NORM = 0, 1, 2
"""Grades of a forward: no normalisation; x - mean, scaled; batch normalisation in a known variant."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The grade of a forward, and where that is BATCH_NORM, which one it is."""

    grade: int
    identity: Identity | None = None


def judge(out: FloatArray, inputs: Inputs) -> Judgement:
    """The grade of a forward by its `out`, (n, d)."""
    with np.errstate(all="ignore"):
        if not _is_scaled(out, inputs):
            return Judgement(NOTHING_KNOWN)
        identity = identify(out, inputs, LOOSE * np.max(np.abs(out), axis=0))
    return Judgement(NORMALISES) if identity is None else Judgement(BATCH_NORM, identity)


def _is_scaled(out: FloatArray, inputs: Inputs) -> bool:
    """Whether out is x - mean times a positive multiple of gamma in each feature, plus a multiple of beta for all.

    That multiple is 1 in a batch normalisation. What takes beta off, or has gamma times it, is one with a mistake.
    """
    found = line(out, inputs)
    if found is None or not np.all(found.slope * inputs.gamma > 0):
        return False
    near = LOOSE * np.max(np.abs(out), axis=0)
    if not np.any(inputs.beta):
        return bool(np.all(np.abs(found.shift) <= near))
    terms = (inputs.beta, inputs.gamma * inputs.beta)
    multiples = [(np.vdot(found.shift, term) / np.vdot(term, term), term) for term in terms]
    return any(abs(k) > LOOSE and np.all(np.abs(found.shift - k * term) <= near) for k, term in multiples)


class Line(NamedTuple):
    """The slope of out over x - mean in each feature, and its shift, (d,) each."""

    slope: FloatArray
    shift: FloatArray


def line(out: FloatArray, inputs: Inputs) -> Line | None:
    """The line that out is in each feature; None where it is none."""
    if not np.all(np.isfinite(out)):
        return None
    anchored = batchnorm.anchor(inputs.x)
    centred = anchored - batchnorm.batch_mean(anchored)
    found = Line(batchnorm.dot(out, centred) / batchnorm.dot(centred, centred), np.mean(out, axis=0))
    off = np.abs(out - found.slope * centred - found.shift)
    return found if np.all(off <= LOOSE * np.max(np.abs(out), axis=0)) else None


# --- calls ------------------------------------------------------------------------------------------------------

NEVER_OURS = (NameError, NotImplementedError, SyntaxError, RecursionError)
"""Errors that code raises however it is called."""


class OutOfCalls(Exception):  # noqa: N818 - the signal to stop looking
    """No call is left for this candidate."""


@dataclass(slots=True)
class Trial:
    """The calls of one candidate: how many are left, and what came of each that gave nothing, in order.

    `state` is that of their module, which every fresh object finds as it was; `arrays` is the kind of arrays that is
    handed over, on a `device`; `reached` are the variables of the module that its passes name. `theirs` says of the
    calls that raised whether the error is one that no way of calling could have made. `missed` has the attributes of
    objects that were not there; `lacks` says whether something was needed of a missing module.
    """

    namespace: Mapping[str, Any]
    calls_left: int
    state: State
    arrays: str = NUMPY.name
    device: str = AUTO
    reached: tuple[str, ...] = ()
    raised: dict[str, str] = field(default_factory=dict)
    theirs: dict[str, bool] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)
    lacks: bool = False
    exhausted: bool = False

    def attempt(self, what: str, call: Callable[[], Any]) -> Any:
        """The result of the call; None where it raises, which is noted. Raises OutOfCalls, and Interrupted."""
        if self.calls_left <= 0:
            self.exhausted = True
            raise OutOfCalls
        self.calls_left -= 1
        try:
            with np.errstate(all="ignore"):
                return call()
        except Interrupted:
            raise
        except BaseException as error:  # sys.exit() and KeyboardInterrupt in their code are theirs
            lines = str(error).strip().splitlines()[:1]
            self.raised.setdefault(what, ": ".join([type(error).__name__, *lines])[:160])
            self.theirs[what] = self.theirs.get(what, False) or isinstance(error, NEVER_OURS)
            self.lacks = self.lacks or isinstance(error, StubUsed)
            if isinstance(error, AttributeError) and error.name and hasattr(error.obj, "__dict__"):
                self.missed.append(error.name)
            return None

    def at_least(self, calls: int) -> None:
        """Let so many calls be left for the next step."""
        self.calls_left = max(self.calls_left, calls)

    def session(self, convention: Convention, probe: Probe, inputs: Inputs) -> Layer | None:
        """A fresh object, with the variables of its module as they were; None where it cannot be made."""
        layout = layout_of(probe.case, convention.layout)
        plan = plan_of(replace(convention, arrays=self.arrays, device=self.device))
        if plan is None:
            return None
        self.state.put_back()
        found: Layer | None = self.attempt(
            convention.build or convention.create or "nothing",
            lambda: Layer(plan, layout, self.namespace, inputs),
        )
        return found

    def leaves(self, session: Layer | None) -> list[Leaf]:
        """Every number and array that can be reached from a layer, and from the variables of its module."""
        if session is None:
            return []
        roots: list[tuple[str, Any, tuple[str, ...]]] = [("self", session.values.get("self"), ())]
        roots += [(name, self.namespace[name], (name,)) for name in self.reached]
        return [leaf for text, value, steps in roots for leaf in leaves_of(value, text, steps)]


def plan_of(convention: Convention) -> Plan | None:
    """The convention parsed; None where it is no way to call anything, since x is not handed over, say."""
    try:
        return parsed(convention)
    except PatternError:
        return None


@dataclass(frozen=True, slots=True)
class Forward:
    """A way of calling a forward that ran, and what it computes.

    `raw` is what it returned, `number` the place of out where that is a tuple, which the convention does not say yet;
    `out` is in rows; `inputs` is what it was given, `taken` how many of gamma and beta it takes.
    """

    convention: Convention
    judgement: Judgement
    raw: Any
    number: int | None
    out: FloatArray
    inputs: Inputs
    taken: int

    @property
    def rank(self) -> tuple[int, int, int]:
        """Orders forwards by how surely they are batch normalisation of all that they have.

        One in which gamma and beta have a part that is wrong says more than one that is right without beta.
        """
        grade = self.judgement.grade
        return min(grade, NORMALISES), self.taken, grade


@dataclass(frozen=True, slots=True)
class Out:
    """A value that may be the `out` of a forward, the pattern that takes it from there, and its number in a tuple."""

    text: str
    number: int | None
    value: Any

    def in_rows(self, layout: Layout, inputs: Inputs) -> Out | None:
        """The value in rows; None where it has not the shape of x, or is no array of numbers."""
        array = as_array(self.value)
        if array is None or array.dtype.kind not in "fiu" or array.shape != layout.shape(inputs.x.shape[1]):
            return None
        return replace(self, value=layout.rows(array.astype(np.result_type(array.dtype, np.float64))))


def run_forward(trial: Trial, convention: Convention, probe: Probe) -> Forward | None:
    """One forward pass, judged; None where it raised, or gave nothing of the shape of x.

    A layer with one gamma is judged on all features together; `raw` is what it returned for the last of them.
    """
    plan = plan_of(convention)
    if plan is None:
        return None
    taken = plan.taken & {"gamma", "beta"}
    inputs = taken_by(taken, probe.inputs)
    outs: list[FloatArray] = []
    for part in features_of(inputs) if convention.parameters in ONE_BY_ONE else (inputs,):
        found = _ran(trial, convention, probe, part)
        if found is None:
            return None
        raw, best = found
        outs.append(best.value)
    out = np.concatenate(outs, axis=1)
    convention = replace(convention, forward=best.text)
    return Forward(convention, judge(out, inputs), raw, best.number, out, inputs, len(taken))


def _ran(trial: Trial, convention: Convention, probe: Probe, inputs: Inputs) -> tuple[Any, Out] | None:
    """The result of a forward, and what in it is most like batch normalisation."""
    session = trial.session(convention, probe, inputs)
    if session is None:
        return None
    text, target = convention.forward, parsed(convention).forward.target
    layout = layout_of(probe.case, convention.layout)

    def forward() -> tuple[Any, list[Out]]:
        raw = session.run_forward(inputs)
        outs: Iterable[Out] = _outs(raw, text.removesuffix(" -> out"), session.values)
        if target != "out":  # where in the result out is, is known already
            session.keep("forward", target, raw)
            outs = [Out(text, None, session.values["out"])]
        return raw, [found for out in outs if (found := out.in_rows(layout, inputs)) is not None]

    ran = trial.attempt(text, forward)
    if ran is None:
        return None
    raw, outs = ran
    if not outs:
        shape = layout.shape(probe.inputs.x.shape[1])
        trial.raised.setdefault(text, f"it gave {described(raw)}, and no array of shape {shape}")
        return None
    return raw, max(outs, key=lambda out: judge(out.value, inputs).grade) if len(outs) > 1 else outs[0]


def _outs(raw: Any, call: str, values: Mapping[str, Any]) -> Iterator[Out]:
    """Values that may be out: the result, what is in it, or what a forward that returns nothing left in its layer."""
    if raw is None:
        held = [*inside(values.get("self"), "self"), ("", "buffer", values["buffer"])]
        yield from (Out(f"({call}, {place}) -> _, out", None, value) for _, place, value in held)
    elif isinstance(raw, tuple):
        yield from (Out(f"{call} -> out", number, value) for number, value in enumerate(raw))
    else:
        yield Out(f"{call} -> out", None, raw)
        items = isinstance(raw, list)
        for number, (_, place, value) in enumerate(inside(raw, call)):
            yield Out(f"{call if items else place} -> out", number if items else None, value)
