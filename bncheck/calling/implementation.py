"""Batch normalisations under check: two of our own, and somebody's code, with the contract that it has to keep."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np

from bncheck.calling.answer import MIXED, ROWS, Answer, Breach, differ, differing
from bncheck.calling.arrays import AUTO, NUMPY, kind_named, kinds_of, with_package
from bncheck.calling.binding import Batch, BindingError, Layer
from bncheck.calling.layout import Layout, features_of, layout_of, not_taken
from bncheck.calling.plan import Plan, check_names, parsed
from bncheck.calling.state import State, stale
from bncheck.case import ONE_BY_ONE, Case, Convention
from bncheck.gradients import batchnorm
from bncheck.gradients.batchnorm import FloatArray, Gradients, Inputs
from bncheck.gradients.problem import draw, rounded

# --- our own ----------------------------------------------------------------------------------------------------


class Implementation(NamedTuple):
    """A batch normalisation of our own.

    `backward` gives the gradients of sum(dout * out) at all five nodes, of inputs and dout in the dtype of the case.
    """

    name: str
    forward: Callable[[Inputs], FloatArray]
    backward: Callable[[Inputs, FloatArray], Gradients]

    def given(self, inputs: Inputs) -> Inputs:
        """The inputs as they are: it takes everything."""
        return inputs

    def answer(self, inputs: Inputs, dout: FloatArray) -> Answer:
        """Its gradients. There is no `out` to look at: the reference is what others are compared with."""
        found = self.backward(inputs, dout)
        return Answer(None, found.x, found.gamma, found.beta, found.mean, found.var)

    def examined(self, inputs: Inputs, dout: FloatArray) -> Answer:
        """The answer: our own are examined by their tests."""
        return self.answer(inputs, dout)


def _by_routes(inputs: Inputs, dout: FloatArray) -> Gradients:
    return batchnorm.backward(inputs, batchnorm.forward(inputs), dout)[0]


def _in_closed_form(inputs: Inputs, dout: FloatArray) -> Gradients:
    return batchnorm.closed_form(inputs, batchnorm.forward(inputs), dout)


def _ours(name: str, backward: Callable[[Inputs, FloatArray], Gradients]) -> Implementation:
    """An implementation that works in float32 for float16, as every library, for its sums would overflow at 65504."""

    def widened(array: FloatArray) -> FloatArray:
        return array.astype(np.result_type(array.dtype, np.float32), copy=False)

    def rounded(inputs: Inputs, dout: FloatArray) -> Gradients:
        """Those that leave the layer in its dtype; those at mean and var stay as wide as they are."""
        wide = backward(inputs.map(widened), widened(dout))
        narrow = {row: wide.of(row).astype(inputs.x.dtype, copy=False) for row in ("beta", "gamma", "x")}
        return wide._replace(**narrow)

    return Implementation(name, batchnorm.out_of, rounded)


REFERENCE = _ours("reference", _by_routes)
CLOSED_FORM = _ours("closed-form", _in_closed_form)

BUILT_IN = {implementation.name: implementation for implementation in (REFERENCE, CLOSED_FORM)}


# --- theirs -----------------------------------------------------------------------------------------------------

Other = Callable[[Inputs, FloatArray], Batch]
"""The function that makes another batch of one."""

APART = 1e-3
"""The most by which out of all features together may be off that of each alone, relative to the largest.

Buffers in float32 come to 2e-4 over a million rows, and a mean or a variance over all features to 0.5, for on the
ordinary draw features differ."""


class Declined(BindingError):  # noqa: N818 - a case that it need not take, not an error of its own
    """The sentence that says why an implementation does not take the shape or the mode of a case."""


NO_BFLOAT16 = "arrays of NumPy have no bfloat16; use dtype: float32, or code that takes tensors"


def bind(namespace: Mapping[str, object], name: str, convention: Convention, case: Case) -> Foreign:
    """The implementation, ready to be called with the problems of a case.

    Raises PatternError for a mistake in the convention, also for a name that is not in the namespace; Declined
    where the implementation does not take such a case.
    """
    plan, namespace = with_arrays(namespace, parsed(convention), case.device)
    check_names(plan, namespace)
    reason = not_taken(name, convention, case) or (NO_BFLOAT16 if case.dtype == "bfloat16" else "")
    if reason:
        raise Declined(reason)
    if case.mode == "eval" and not plan.takes_running_statistics:
        raise Declined(
            f"{name} is called in train mode; for mode: eval, name training, running_mean and running_var in a mapping"
        )
    state = State(namespace[called] for called in plan.names if called in namespace)
    return Foreign(name, namespace, case, plan, layout_of(case, convention.layout), state)


def with_arrays(namespace: Mapping[str, Any], plan: Plan, device: str) -> tuple[Plan, Mapping[str, Any]]:
    """The plan with its kind of arrays, found out where it does not say; and the namespace with that kind's package.

    Raises NoSuchKind, and Declined where the device is not there.
    """
    convention, name = plan.convention, plan.convention.arrays
    if name == AUTO:
        called = [namespace[called] for called in plan.names if called in namespace]
        kinds = kinds_of(namespace, called)
        name = next((kind for kind in kinds if not plan.leaves or kind != NUMPY.name), NUMPY.name)
    device = convention.device if device == AUTO else device
    if not kind_named(name, namespace).has(device):
        raise Declined(f"device: {device} is asked for, and {name} finds none on this machine")
    plan = replace(plan, convention=replace(convention, arrays=name, device=device))
    return plan, with_package(namespace, name)


class Second(NamedTuple):
    """The answer to a second batch: with notes, where it takes something to be right, and why it is wrong, if known."""

    answer: Answer
    notes: tuple[Breach, ...] = ()
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Foreign:
    """Somebody's batch normalisation, called in rows.

    Every call is of a fresh object, hands over copies, and finds the variables of its module as they were when it was
    bound. Whatever their code raises comes through; BindingError says where it does not do what the convention says.
    """

    name: str
    namespace: Mapping[str, Any]
    case: Case
    plan: Plan
    layout: Layout
    state: State

    def given(self, inputs: Inputs) -> Inputs:
        """The inputs, with 1 for a gamma and 0 for a beta that is not handed over."""
        gamma = inputs.gamma if "gamma" in self.plan.taken else np.ones_like(inputs.gamma)
        beta = inputs.beta if "beta" in self.plan.taken else np.zeros_like(inputs.beta)
        return replace(inputs, gamma=gamma, beta=beta)

    def forward(self, inputs: Inputs) -> FloatArray:
        """The out of a fresh object, (n, m), of inputs with any number m of features."""
        outs = [self._layer(part).forward(part) for part in self._parts(inputs)]
        return outs[0] if len(outs) == 1 else np.concatenate(outs, axis=1)

    def answer(self, inputs: Inputs, dout: FloatArray, like: Answer | None = None) -> Answer:
        """The answer of a fresh object to forward and then backward, sharing what it can with one like it.

        Shapes: dout (n, d).
        """
        parts = zip(self._parts(inputs), self._columns(dout), self._answers(like, inputs), strict=True)
        return _side_by_side([self._layer(part).answer(part, column, known) for part, column, known in parts])

    def examined(self, inputs: Inputs, dout: FloatArray) -> Answer:
        """The answer, with what is wrong with its form and what changes where nothing should change it.

        Asked again, after another batch has gone through, and feature by feature. Of a layer that mixes features, the
        form of dgamma and dbeta is left alone: that it has one gamma for all is then no more than a guess.
        """
        answer = self.answer(inputs, dout)
        breaches = [*answer.breaches, *_not_finite(answer)]
        second = self.second(_other, inputs, dout, answer)
        rows = differing(answer, second.answer)
        second = second._replace(answer=answer)  # what differs is as large as x, and nobody needs it any more
        if rows:
            # What differs from call to call differs here too: so only now need it be asked again.
            again = differing(answer, self.answer(inputs, dout, answer))
            breaches += [(row, f"{_symbol(row)} differs when it is run again with the same input") for row in again]
            breaches += [(row, f"{_symbol(row)} differs after another batch has gone through") for row in rows]
            breaches += [("x", second.cause)] if second.cause and not again else []
        together = list(self._given_together())
        if ("out", MIXED) in together and all(row != "out" for row, _ in breaches):
            of_form = [breach for breach in answer.breaches if breach[0] in ("gamma", "beta")]
            breaches = [("out", MIXED), *(breach for breach in breaches if breach not in of_form)]
        else:
            breaches += [breach for breach in together if breach[0] != "out"]
        broken = {row for row, _ in breaches}
        notes = tuple((row, sentence) for row, sentence in (*answer.notes, *second.notes) if row not in broken)
        return replace(answer, breaches=tuple(dict.fromkeys(breaches)), notes=notes)

    def second(self, other: Other, inputs: Inputs, dout: FloatArray, fresh: Answer) -> Second:
        """The answer of an object that another batch of the same shape has gone through, forward and backward.

        `other` makes that batch of this one, as often as it is needed; `fresh` is the answer of a fresh object. A layer
        that adds its parameter gradients up is not wrong for that: where its answer differs, what the first batch gave
        is taken off. Nor is one that keeps its batches until a method of its own is called, which is noted.
        """
        try:
            before, after, layer = self._one_by_other(other, inputs, dout, fresh)
        except Exception:
            flushed = self._flushed(other, inputs, dout, fresh)
            if flushed is None:
                raise
            return flushed
        updates = self.plan.updates
        gamma, beta = (
            (_without_momentum if row in updates else _of_last_batch)(row, before, after, fresh)
            for row in ("gamma", "beta")
        )
        after = replace(after, gamma=gamma, beta=beta)
        rows = differing(fresh, after)
        flushed = self._flushed(other, inputs, dout, fresh) if rows else None
        if flushed is not None:
            return flushed
        if "x" not in rows or "out" in rows or after.x is None or self._takes_one_feature:
            return Second(after)
        held = layer.statistics(self.case.d)
        return Second(after, cause=stale(held, other(inputs, dout)[0], inputs, dout, after.x) if held else "")

    def _flushed(self, other: Other, inputs: Inputs, dout: FloatArray, fresh: Answer) -> Second | None:
        """The second answer where a method of the layer is called between the batches, if that makes it right."""
        for name in self._layer(inputs).flushes():
            try:
                _, answer, _ = self._one_by_other(other, inputs, dout, fresh, name)
            except Exception:  # whatever a method raises that is not made for this, or the batch after it
                continue
            if not differing(fresh, answer):
                note = f"a second batch goes right only after its own {name}(): it keeps what it is given until then"
                return Second(answer, notes=(("x", note),))
        return None

    def _one_by_other(
        self, other: Other, inputs: Inputs, dout: FloatArray, fresh: Answer, flush: str = ""
    ) -> tuple[Answer, Answer, Layer]:
        """The sums of one batch, the answer to the next, and the last layer; `flush` is called between them."""
        parts = zip(self._parts(inputs), self._columns(dout), self._answers(fresh, inputs), strict=True)
        befores, afters = [], []
        for part, column, known in parts:
            layer = self._layer(part)
            befores.append(layer.sums(partial(other, part, column)))
            if flush:
                layer.flush(flush)
            afters.append(layer.answer(part, column, known))
        return _side_by_side(befores), _side_by_side(afters), layer

    def _given_together(self) -> Iterator[Breach]:
        """The breaches of a layer with one gamma when it is given all features: it mixes them, or keeps them apart.

        It mixes them where out is another than of each of them alone, and keeps them apart where it gives a gradient
        for each. None of layers that are given all features anyhow, nor of those that raise when they are: these are
        made for one. Asked on ordinary data in float64, lest the rounding of the case's own be taken for mixing.
        """
        case = self.case
        if not self._takes_one_feature or case.d == 1:
            return
        drawn = draw(Case(shape=case.shape, channel_axis=case.channel_axis, mode=case.mode, eps=case.eps))
        whole = replace(next(features_of(drawn.inputs)), x=drawn.inputs.x)
        try:
            together = self._layer(whole).forward(whole)
        except Exception:  # whatever a layer for one feature raises when it is given several
            return
        parts = [replace(whole, x=column) for column in self._columns(whole.x)]
        alone = np.concatenate([self._layer(part).forward(part) for part in parts], axis=1)
        if not np.allclose(together, alone, rtol=0, atol=APART * float(np.max(np.abs(alone))), equal_nan=True):
            yield "out", MIXED
        try:
            gradients = self._layer(whole).gradients(whole, drawn.dout)
        except Exception:  # as above
            return
        for row in ("gamma", "beta"):
            shape = np.shape(gradients.get(row, 0))
            if math.prod(shape) == case.d:
                says = f"d{row} has shape {shape} of {case.d} features, and {row} is one number; keep one for each"
                yield row, says

    @property
    def _takes_one_feature(self) -> bool:
        return self.plan.convention.parameters in ONE_BY_ONE

    def _parts(self, inputs: Inputs) -> list[Inputs]:
        """The inputs as the layer takes them at a time."""
        return list(features_of(inputs)) if self._takes_one_feature else [inputs]

    def _columns(self, array: FloatArray) -> list[FloatArray]:
        """An array (n, d) as the layer takes it at a time."""
        return [array[:, j : j + 1] for j in range(array.shape[1])] if self._takes_one_feature else [array]

    def _answers(self, like: Answer | None, inputs: Inputs) -> Sequence[Answer | None]:
        """An answer for what the layer takes at a time; None where that is less than all, and joined in the end."""
        return [None] * inputs.x.shape[1] if self._takes_one_feature else [like]

    def _layer(self, inputs: Inputs) -> Layer:
        self.state.put_back()
        return Layer(self.plan, self.layout, self.namespace, inputs)


def _other(inputs: Inputs, dout: FloatArray) -> Batch:
    """Another batch than this one, with other statistics."""
    return replace(inputs, x=inputs.x[::-1] * inputs.x.dtype.type(1.5)), dout[::-1]


def _of_last_batch(row: str, before: Answer, after: Answer, fresh: Answer) -> FloatArray | None:
    """A gradient after two batches, less that after one where this makes it what a fresh object gives."""
    first, found = before.of(row), after.of(row)
    if first is None or found is None or differ(fresh.of(row), found - first):
        return found
    return found - first


def _without_momentum(row: str, before: Answer, after: Answer, fresh: Answer) -> FloatArray | None:
    """An update after two batches, less the multiple of the first that makes it what a fresh object gives, if any.

    An optimiser inside a layer may well remember its last step. Of one feature anything is a multiple.
    """
    first, found, alone = before.of(row), after.of(row), fresh.of(row)
    if first is None or found is None or alone is None or first.size == 1:
        return _of_last_batch(row, before, after, fresh)
    share = float(np.vdot(first, found - alone)) / (float(np.vdot(first, first)) or 1.0)
    left = found - share * first
    return found if differ(alone, left) else left


def _joined(parts: Iterable[FloatArray | None]) -> FloatArray | None:
    """Arrays of neighbouring features as one; None where any is missing."""
    arrays = list(parts)
    found = [array for array in arrays if array is not None]
    return np.concatenate(found, axis=-1) if len(found) == len(arrays) else None


def _side_by_side(answers: list[Answer]) -> Answer:
    if len(answers) == 1:
        return answers[0]
    arrays = {row: _joined(answer.of(row) for answer in answers) for row in ROWS}
    grain = {row: _joined(answer.grain.get(row) for answer in answers) for row in ROWS}
    return Answer(
        **arrays,
        breaches=tuple(dict.fromkeys(breach for answer in answers for breach in answer.breaches)),
        notes=tuple(dict.fromkeys(note for answer in answers for note in answer.notes)),
        unjudged=answers[0].unjudged,
        grain={row: coarseness for row, coarseness in grain.items() if coarseness is not None},
        lines=(),
    )


def _not_finite(answer: Answer) -> list[Breach]:
    """The rows that are not all numbers."""
    found = []
    for row in ROWS:
        array = answer.of(row)
        if array is not None and not np.all(np.isfinite(array)):
            amiss = int(np.count_nonzero(~np.isfinite(array)))
            found.append((row, f"{_symbol(row)} is not finite in {amiss} of {array.size} elements"))
    return found


def _symbol(row: str) -> str:
    return row if row == "out" else f"d{row}"


# --- either -----------------------------------------------------------------------------------------------------


class Subject(Protocol):
    """A batch normalisation under check, in rows."""

    def given(self, inputs: Inputs) -> Inputs:
        """The inputs that it really works on: gamma and beta of its own where it takes none."""

    def forward(self, inputs: Inputs) -> FloatArray:
        """out, (n, m), of inputs with any number m of features, in any float dtype: it is differenced."""

    def answer(self, inputs: Inputs, dout: FloatArray) -> Answer:
        """The results of its forward and backward."""

    def examined(self, inputs: Inputs, dout: FloatArray) -> Answer:
        """The answer, with every breach of the contract that can be found by calling it."""


class AsAsked(NamedTuple):
    """A batch normalisation that is told the eps it was asked for, whatever eps it was found to make of it.

    A forward that adds 2 eps is judged as what it is, batch normalisation with twice the eps, and is still to be
    called with the one that makes it so. One that works in a narrow `dtype` alone is handed all arrays in that.
    """

    subject: Subject
    eps: float
    dtype: str = ""

    def forward(self, inputs: Inputs) -> FloatArray:
        """The out of the subject with the eps that was asked for."""
        return self.subject.forward(self._asked(inputs)).astype(inputs.x.dtype, copy=False)

    def answer(self, inputs: Inputs, dout: FloatArray) -> Answer:
        """The answer of the subject with that eps."""
        return self.subject.answer(self._asked(inputs), rounded(dout, self.dtype) if self.dtype else dout)

    def _asked(self, inputs: Inputs) -> Inputs:
        told = inputs if inputs.eps == self.eps else replace(inputs, eps=self.eps)
        return told.map(partial(rounded, dtype=self.dtype)) if self.dtype else told
