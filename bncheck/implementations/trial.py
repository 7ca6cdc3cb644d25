"""Calling somebody's code, whatever comes of it: so many calls and no more, and what they raised."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bncheck.batchnorm import FloatArray, Inputs
from bncheck.implementations.answer import as_array
from bncheck.implementations.convention import ONE_BY_ONE, Convention
from bncheck.implementations.interrupt import Interrupted
from bncheck.implementations.layout import Layout, features_of, layout_of
from bncheck.implementations.plan import parsed
from bncheck.implementations.probe import Judgement, Probe, judge, taken_by
from bncheck.implementations.session import Session

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

    def session(self, convention: Convention, probe: Probe, inputs: Inputs) -> Session | None:
        """A fresh object, or None where it cannot be made."""
        layout = layout_of(probe.case, convention.layout)
        make = lambda: Session(parsed(convention), layout, convention.parameters, self.namespace, inputs)  # noqa: E731
        found: Session | None = self.attempt(convention.build or convention.create or "nothing", make)
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
