"""A convention tied to somebody's code and to a case: forward and backward, called in rows."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from bncheck.calling.answer import Answer, Breach, Reader, as_array, described, differing
from bncheck.calling.expression import Call, Expression, assign, evaluate, names_in, remove
from bncheck.calling.layout import Layout, features_of, layout_of, not_taken, parameter_shape
from bncheck.calling.optimizer import Optimizer
from bncheck.calling.pattern import Group, Slot, Target, Update
from bncheck.calling.plan import Plan, check_names, parsed
from bncheck.calling.state import CLOSE, State, stale
from bncheck.calling.vocabulary import GIVEN_NAMES, LEARNING_RATE
from bncheck.case import ONE_BY_ONE, Case, Convention
from bncheck.gradients.batchnorm import FloatArray, Inputs
from bncheck.gradients.problem import Problem, draw
from bncheck.workers.worker import place_of

# --- one object of theirs ---------------------------------------------------------------------------------------


class BindingError(Exception):
    """The sentence that says in what an implementation does not do what its convention says of it."""


@dataclass(frozen=True, slots=True)
class Handed:
    """The inputs of one forward pass, as an implementation takes them: all that GIVEN_NAMES are made of."""

    inputs: Inputs
    layout: Layout
    parameters: str

    def laid_out(self) -> FloatArray:
        """A copy of x, in the layout."""
        return self.layout.laid_out(self.inputs.x)

    def parameter(self, values: FloatArray) -> Any:
        """A copy of some (d,), in the shape of gamma; a number where that is ()."""
        shape = parameter_shape(self.parameters, len(values), self.layout.axes)
        return values.reshape(shape).copy() if shape else values.reshape(())[()]

    def buffer(self) -> FloatArray:
        """Zeros, in the shape and the dtype of x."""
        return np.zeros(self.shape, self.inputs.x.dtype)

    def optimizer(self) -> Optimizer:
        """An optimizer that makes of every parameter its gradient's update."""
        return Optimizer()

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of x, in the layout."""
        return self.layout.shape(self.inputs.x.shape[1])

    @property
    def training(self) -> bool:
        """Whether the batch's own statistics are to be used."""
        return self.inputs.running_mean is None or self.inputs.running_var is None

    @property
    def running_mean(self) -> FloatArray:
        """The running mean, (d,): zeros where none is given."""
        given = self.inputs.running_mean
        return np.zeros_like(self.inputs.gamma) if given is None else given

    @property
    def running_var(self) -> FloatArray:
        """The running variance, (d,): ones where none is given."""
        given = self.inputs.running_var
        return np.ones_like(self.inputs.gamma) if given is None else given


_MAKE = {row.name: row.make for row in GIVEN_NAMES if row.make is not None}


class Values(dict[str, Any]):
    """The values of the names in a pattern; those that are given are made when they are first looked up."""

    def __init__(self, handed: Handed) -> None:
        super().__init__()
        self.handed = handed

    def __missing__(self, name: str) -> Any:
        """The value of a name that is given and not made yet. Raises KeyError for any other."""
        value = self[name] = _MAKE[name](self.handed)
        return value


FLUSHES = ("update", "reset", "flush", "clear", "step", "apply", "zero")
"""How the names of methods begin that let go of what a layer keeps from its batches."""

FLUSHED = "a second batch goes right only after its own {name}(): it keeps what it is given until then"

Batch = tuple[Inputs, FloatArray]
"""Inputs and a dout."""


class Layer:
    """One object of theirs, from its creation on, or one run of their functions, and the names that patterns know."""

    def __init__(
        self, plan: Plan, layout: Layout, parameters: str, namespace: Mapping[str, Any], inputs: Inputs
    ) -> None:
        self._plan, self._layout, self._parameters, self._namespace = plan, layout, parameters, namespace
        self.values: dict[str, Any] = {}
        self.values = self._given(inputs)
        if self._plan.create is not None:
            self.values["self"] = self.evaluated(self._plan.create)
        if self._plan.build is not None:
            self.evaluated(self._plan.build)

    def forward(self, inputs: Inputs) -> FloatArray:
        """out in rows."""
        self.keep("forward", self._plan.forward.target, self.run_forward(inputs))
        return self._out(inputs)

    def run_forward(self, inputs: Inputs) -> Any:
        """The result of their forward, as it is."""
        self.values = self._given(inputs)
        # One object for all the places of a name: a layer that keeps gamma twice keeps it as one array.
        given = {name: copy.copy(self.values[name]) for name, _ in self._plan.places}
        for name, place in self._plan.places:
            self._put(place, name, given[name])
        return self.evaluated(self._plan.forward.expression)

    def _put(self, place: Slot | Call, name: str, value: Any) -> None:
        """Put a value where `set` says. Raises BindingError where there is no such place."""
        if isinstance(place, Call):
            evaluate(place, {**self.values, name: value}, self._namespace)
            return
        try:
            assign(place, value, self.values, self._namespace)
        except (AttributeError, KeyError, IndexError, TypeError) as error:
            if place_of(error):
                raise  # in a setter of theirs
            raise BindingError(
                f"{name} cannot be put where set: says, which raises {type(error).__name__}: {error}"
            ) from error

    def answer(self, inputs: Inputs, dout: FloatArray) -> Answer:
        """The results of forward and backward, and what is wrong with their form."""
        reader = self._reader(inputs)
        out = self.forward(inputs)
        before = self._layout.seen(inputs.x)
        if not _same(self.values["x"], before):
            reader.breach("out", "forward wrote into x; work on a copy")
            before = self.values["x"].copy()
        updated = self._before_updates()
        self.values["dout"] = self._layout.laid_out(dout)
        step = self._plan.backward
        found = self.evaluated(step.expression)
        if not _same(self.values["dout"], self._layout.seen(dout)):
            reader.breach("x", "backward wrote into dout; work on a copy")
        if not _same(self.values["x"], before):
            reader.breach("x", "backward wrote into x; work on a copy")
        try:
            self.keep("backward", step.target, found)
        except BindingError as error:
            reader.breach("x", str(error))
            return Answer(out, breaches=tuple(reader.breaches))
        return self._read(reader, out, updated)

    def gradients(self, inputs: Inputs, dout: FloatArray) -> dict[str, Any]:
        """The gradients that forward and backward give, as they are, by row."""
        self.forward(inputs)
        updated = self._before_updates()
        self.values["dout"] = self._layout.laid_out(dout)
        self.keep("backward", self._plan.backward.target, self.evaluated(self._plan.backward.expression))
        return {row: self._gradient(row, updated) for row in self._plan.rows}

    def flushes(self) -> list[str]:
        """The methods of the object that may let go of what it keeps, by their names."""
        methods = dir(type(self.values["self"])) if "self" in self.values else []
        return [name for name in methods if name.startswith(FLUSHES) and callable(getattr(self.values["self"], name))]

    def flush(self, name: str) -> None:
        """Call a method of the object: without arguments, or with a learning rate."""
        method = getattr(self.values["self"], name)
        try:
            method()
        except TypeError:
            method(LEARNING_RATE)

    def statistics(self, features: int) -> dict[str, FloatArray]:
        """What the object keeps for each feature, (d,), by its place: in attributes, and in dicts in them."""
        found: dict[str, Any] = {}
        for name, value in getattr(self.values.get("self"), "__dict__", {}).items():
            items = {f"self.{name}[{key!r}]": item for key, item in value.items()} if isinstance(value, dict) else {}
            found |= items or {f"self.{name}": value}
        arrays = {place: value for place, value in found.items() if isinstance(value, np.ndarray)}
        return {place: value.reshape(-1) for place, value in arrays.items() if value.size == features}

    def clean_gradients(self) -> dict[str, Any]:
        """Copies of what stands where the gradients will be; nothing for those that are not there yet."""
        return {
            row: copy.deepcopy(self.evaluated(place)) for row, place in self._places_of_gradients() if self._has(place)
        }

    def put_back(self, clean: Mapping[str, Any]) -> None:
        """Put back what `clean_gradients` gave. An array is written into, for others may hold on to it."""
        for row, place in self._places_of_gradients():
            now = self.evaluated(place) if self._has(place) else None
            if row not in clean:
                if self._has(place):
                    remove(place, self.values, self._namespace)
            elif isinstance(now, np.ndarray) and isinstance(clean[row], np.ndarray) and now.shape == clean[row].shape:
                now[...] = clean[row]
            else:
                assign(place, copy.deepcopy(clean[row]), self.values, self._namespace)

    def _places_of_gradients(self) -> Iterator[tuple[str, Slot]]:
        for row, found in self._plan.gradients:
            # Where a name is that of something which backward gave, nothing stands there before it.
            kept = {"self", *self._namespace}
            if isinstance(found, Slot) and all(name.name in kept for name in names_in(found)):
                yield row, found

    def _has(self, place: Slot) -> bool:
        try:
            self.evaluated(place)
        except (AttributeError, KeyError, IndexError, TypeError):
            return False
        return True

    def _given(self, inputs: Inputs) -> Values:
        """The names that are given for one pass; an optimizer stays with its layer."""
        values = Values(Handed(inputs, self._layout, self._parameters))
        values.update({name: self.values[name] for name in ("self", "optimizer") if name in self.values})
        return values

    def _shape(self, features: int) -> tuple[int, ...]:
        return parameter_shape(self._parameters, features, self._layout.axes)

    def evaluated(self, expression: Expression) -> Any:
        """The value of an expression, by the names that are known now."""
        return evaluate(expression, self.values, self._namespace)

    def keep(self, what: str, target: Target | None, found: Any) -> None:
        """Give the targets their values. Raises BindingError where what was found has another structure."""
        match target:
            case None | "_":
                return
            case Group(targets):
                if not isinstance(found, tuple | list) or len(found) != len(targets):
                    names = f"{len(targets)} values: {target}"
                    raise BindingError(f"{what} returned {described(found)}, expected {names}")
                for inner, item in zip(targets, found, strict=True):
                    self.keep(what, inner, item)
            case str():
                self.values[target] = found

    def _out(self, inputs: Inputs) -> FloatArray:
        shape = self.values["x"].shape
        array = as_array(self.values["out"])
        if array is None or array.dtype.kind not in "fiub":
            raise BindingError(f"out is {described(self.values['out'])}, expected an array of shape {shape}")
        if array.shape != shape:
            raise BindingError(f"out has shape {array.shape}, expected {shape}, the shape of x")
        return self._layout.rows(array.astype(np.result_type(array.dtype, inputs.x.dtype), copy=False))

    def _reader(self, inputs: Inputs) -> Reader:
        d = inputs.x.shape[1]
        return Reader(self._layout, self._shape(d), d, inputs.x.dtype)

    def _read(self, reader: Reader, out: FloatArray, updated: Mapping[str, Any]) -> Answer:
        found: dict[str, FloatArray | None] = {}
        grain: dict[str, FloatArray] = {}
        unjudged = self._plan.unjudged
        for row in self._plan.rows:
            if row in unjudged:
                continue  # nothing is known of the parameter, so not even its shape
            try:
                value = self._gradient(row, updated)
            except (AttributeError, KeyError, IndexError, TypeError) as error:
                reader.breach(row, f"d{row} is not where it should be: {type(error).__name__}: {error}")
                continue
            gradient = found[row] = self._as_row(reader, row, value)
            if gradient is None:
                continue
            if row in updated:
                grain[row] = _grain(updated[row], self.evaluated(dict(self._plan.updates)[row])).reshape(-1)
            elif (rounding := reader.grain(row, gradient)) is not None:
                grain[row] = rounding
        breaches, notes = tuple(reader.breaches), tuple(reader.notes)
        return Answer(out, **found, breaches=breaches, notes=notes, unjudged=unjudged, grain=grain)

    def _before_updates(self) -> dict[str, Any]:
        """Copies of the parameters whose update is their gradient, by row."""
        return {row: copy.deepcopy(self.evaluated(place)) for row, place in self._plan.updates}

    def _gradient(self, row: str, updated: Mapping[str, Any]) -> Any:
        where = dict(self._plan.gradients).get(row)
        if where is None:
            return self.values[f"d{row}"]
        if not isinstance(where, Update):
            return self.evaluated(where)
        now = self.evaluated(where.place)
        recorded = self.values["optimizer"].recorded(now) if "optimizer" in self.values else None
        return np.asarray(updated[row]) - np.asarray(now) if recorded is None else recorded

    @staticmethod
    def _as_row(reader: Reader, row: str, value: Any) -> FloatArray | None:
        if row == "x":
            return reader.x(value)
        return reader.parameter(row, value) if row in ("gamma", "beta") else reader.statistic(row, value)


def _grain(before: Any, after: Any) -> FloatArray:
    """The largest error of before - after by rounding alone, in the shape of the parameter.

    What stands there after an update is rounded once, to the dtype in which it is kept, and so is the difference.
    LEARNING_RATE is 1, so that this is in the units of the gradient, whatever the rule: the first step of a momentum is
    the gradient too.
    """
    before, after = np.asarray(before), np.asarray(after)
    unit = float(np.finfo(after.dtype if after.dtype.kind == "f" else np.float64).eps) / 2
    return np.asarray(unit * (np.abs(before) + np.abs(after)))


APART = 1e-3
"""The most by which out of all features together may be off that of each alone, relative to the largest.

Buffers in float32 come to 2e-4 over a million rows, and a mean or a variance over all features to 0.5, for on the
ordinary draw features differ."""


class Declined(BindingError):  # noqa: N818 - a case that it need not take, not an error of its own
    """The sentence that says why an implementation does not take the shape or the mode of a case."""


def bind(namespace: Mapping[str, object], name: str, convention: Convention, case: Case) -> Bound:
    """The implementation, ready to be called with the problems of a case.

    Raises PatternError for a mistake in the convention, also for a name that is not in the namespace; Declined
    where the implementation does not take such a case.
    """
    plan = parsed(convention)
    check_names(plan, convention, namespace)
    reason = not_taken(name, convention, case)
    if reason:
        raise Declined(reason)
    if case.mode == "eval" and not plan.takes_running_statistics:
        raise Declined(
            f"{name} is called in train mode; for mode: eval, name training, running_mean and running_var in a mapping"
        )
    called = {name.name for _, _, expression in plan.expressions() for name in names_in(expression)}
    state = State(namespace[name] for name in called if name in namespace)
    return Bound(name, convention, namespace, case, plan, layout_of(case, convention.layout), state)


class Second(NamedTuple):
    """The answer to a second batch: with notes, where it takes something to be right, and why it is wrong, if known."""

    answer: Answer
    notes: tuple[Breach, ...] = ()
    cause: str = ""


@contextlib.contextmanager
def left_alone(bound: Bound) -> Iterator[Bound]:
    """The implementation; in the end the variables of its module are what they were when it was bound."""
    try:
        yield bound
    finally:
        bound.state.put_back()


@dataclass(frozen=True, slots=True)
class Bound:
    """Somebody's batch normalisation, called in rows.

    Every call is of a fresh object, hands over copies, and finds the variables of its module as they were when it was
    bound. Whatever their code raises comes through; BindingError says where it does not do what the convention says.
    """

    name: str
    convention: Convention
    namespace: Mapping[str, Any]
    case: Case
    plan: Plan
    layout: Layout
    state: State

    def takes(self, name: str) -> bool:
        """Whether gamma, beta, eps ... is handed over at all. Where not, gamma is 1, beta 0, eps their own."""
        return name in self.plan.taken

    def forward(self, inputs: Inputs) -> FloatArray:
        """out, (n, m), of inputs with any number m of features."""
        if self._one_by_one:
            return self._outs(features_of(inputs))
        return self._layer(inputs).forward(inputs)

    def backward(self, inputs: Inputs, dout: FloatArray) -> Answer:
        """The results of forward and then backward. Shapes: dout (n, d)."""
        if self._one_by_one:
            columns = zip(features_of(inputs), _columns(dout), strict=True)
            return _side_by_side([self._layer(one).answer(one, column) for one, column in columns])
        return self._layer(inputs).answer(inputs, dout)

    def second(self, first: Batch, inputs: Inputs, dout: FloatArray, fresh: Answer) -> Second:
        """The answer of an object that another batch of the same shape has gone through, forward and backward.

        `fresh` is that of a fresh object. A layer that adds its parameter gradients up is not wrong for that: where its
        answer differs, they are first put back to what they were before any batch. Nor is one that keeps its batches
        until a method of its own is called, which is noted.
        """
        try:
            plain, layer = self._second(first, inputs, dout, lambda layer: _nothing)
        except Exception:
            flushed = self._flushed(first, inputs, dout, fresh)
            if flushed is None:
                raise
            return flushed
        if not differing(fresh, plain):
            return Second(plain)
        emptied, _ = self._second(first, inputs, dout, lambda layer: partial(layer.put_back, layer.clean_gradients()))
        off = differing(fresh, emptied)
        gamma, beta = (plain.of(row) if row in off else emptied.of(row) for row in ("gamma", "beta"))
        plain = self._without_momentum(replace(plain, gamma=gamma, beta=beta), fresh, first)
        rows = differing(fresh, plain)
        flushed = self._flushed(first, inputs, dout, fresh) if rows else None
        if flushed is not None:
            return flushed
        if "x" not in rows or "out" in rows or plain.x is None or layer is None:
            return Second(plain)
        return Second(plain, cause=stale(layer.statistics(self.case.d), first[0], inputs, dout, plain.x))

    def _without_momentum(self, plain: Answer, fresh: Answer, first: Batch) -> Answer:
        """A second answer without what a momentum adds to its updates: some multiple of the update of the first batch.

        An optimiser inside a layer may well remember its last step.
        """
        updated = {row for row, _ in self.plan.updates}
        if not updated:
            return plain
        before = self.backward(*first)
        gamma, beta = (
            _own_step(plain.of(row), fresh.of(row), before.of(row)) if row in updated else plain.of(row)
            for row in ("gamma", "beta")
        )
        return replace(plain, gamma=gamma, beta=beta)

    def mixes_features(self) -> bool:
        """Whether a layer with one gamma gives of all features together another out than of each of them alone.

        Asked on an ordinary draw of the shape of the case, in float64, so that the rounding of the case's own data is
        not taken for mixing. False for layers that are given all features together anyhow, and for those that raise
        when they are, or give an out of another shape: these are made for one feature.
        """
        if not self._one_by_one or self.case.d == 1:
            return False
        drawn = self._drawn().inputs
        first, *_ = features = list(features_of(drawn))
        whole = replace(first, x=drawn.x)
        try:
            together = self._layer(whole).forward(whole)
        except Exception:  # whatever a layer for one feature raises when it is given several
            return False
        alone = self._outs(replace(first, x=feature.x) for feature in features)
        return not np.allclose(together, alone, rtol=0, atol=APART * float(np.max(np.abs(alone))), equal_nan=True)

    def spread_gradients(self) -> tuple[Breach, ...]:
        """The breach of a layer with one gamma that gives a gradient for each feature, when it is given them all.

        None of a layer that is given all features anyhow, nor of one that raises when it is.
        """
        if not self._one_by_one or self.case.d == 1:
            return ()
        problem = self._drawn()
        whole = replace(next(features_of(problem.inputs)), x=problem.inputs.x)
        try:
            gradients = self._layer(whole).gradients(whole, problem.dout)
        except Exception:  # whatever a layer for one feature raises when it is given several
            return ()
        shapes = {row: np.shape(gradients[row]) for row in ("gamma", "beta") if row in gradients}
        return tuple(
            (row, f"d{row} has shape {shape} of {self.case.d} features, and {row} is one number; keep one for each")
            for row, shape in shapes.items()
            if math.prod(shape) == self.case.d
        )

    def _drawn(self) -> Problem:
        """An ordinary problem of the shape of the case, in float64."""
        case = self.case
        return draw(Case(shape=case.shape, channel_axis=case.channel_axis, mode=case.mode, eps=case.eps))

    def _flushed(self, first: Batch, inputs: Inputs, dout: FloatArray, fresh: Answer) -> Second | None:
        """The second answer where a method of the layer is called between the batches, if that makes it right."""
        for name in self._layer(inputs).flushes():
            try:
                answer, _ = self._second(first, inputs, dout, partial(_flushing, name))
            except Exception:  # whatever a method raises that is not made for this, or the batch after it
                continue
            if not differing(fresh, answer):
                return Second(answer, notes=(("x", FLUSHED.format(name=name)),))
        return None

    def _second(
        self, first: Batch, inputs: Inputs, dout: FloatArray, prepare: Callable[[Layer], Callable[[], None]]
    ) -> tuple[Answer, Layer | None]:
        """The answer to the second of two batches, and the layer where one takes all features.

        `prepare` is given the layer before the first batch, and gives what is called between the two.
        """

        def answered(before: Batch, one: Inputs, column: FloatArray) -> tuple[Answer, Layer]:
            layer = self._layer(one)
            between = prepare(layer)
            layer.answer(*before)
            between()
            return layer.answer(one, column), layer

        if not self._one_by_one:
            return answered(first, inputs, dout)
        firsts = zip(features_of(first[0]), _columns(first[1]), strict=True)
        columns = zip(firsts, features_of(inputs), _columns(dout), strict=True)
        return _side_by_side([answered(*column)[0] for column in columns]), None

    def _outs(self, features: Iterable[Inputs]) -> FloatArray:
        """out, (n, m), of m features that are given one at a time."""
        return np.concatenate([self._layer(one).forward(one) for one in features], axis=1)

    @property
    def _one_by_one(self) -> bool:
        return self.convention.parameters in ONE_BY_ONE

    def _layer(self, inputs: Inputs) -> Layer:
        self.state.put_back()
        return Layer(self.plan, self.layout, self.convention.parameters, self.namespace, inputs)


# --- arrays ---------------------------------------------------------------------------------------------------------


def _flushing(name: str, layer: Layer) -> Callable[[], None]:
    return partial(layer.flush, name)


def _own_step(now: FloatArray | None, alone: FloatArray | None, last: FloatArray | None) -> FloatArray | None:
    """`alone`, where `now` differs from it by some multiple of `last`; else `now`."""
    if now is None or alone is None or last is None:
        return now
    added = now - alone
    share = float(np.vdot(last, added)) / (float(np.vdot(last, last)) or 1.0)
    atol = CLOSE * float(np.max(np.abs(alone), initial=0))
    return alone if np.allclose(added, share * last, rtol=0, atol=atol) else now


def _nothing() -> None:
    """What is called between two batches that follow each other."""


def _same(a: FloatArray, b: FloatArray) -> bool:
    """Whether two arrays have the same elements; asked of nan only where something differs, which takes longer."""
    return bool(np.array_equal(a, b)) or bool(np.array_equal(a, b, equal_nan=True))


def _columns(dout: FloatArray) -> Iterator[FloatArray]:
    return (dout[:, j : j + 1] for j in range(dout.shape[1]))


def _side_by_side(answers: list[Answer]) -> Answer:
    def joined(row: str) -> FloatArray | None:
        parts = [part for answer in answers if (part := answer.of(row)) is not None]
        return np.concatenate(parts, axis=-1) if len(parts) == len(answers) else None

    breaches = dict.fromkeys(breach for answer in answers for breach in answer.breaches)
    notes = dict.fromkeys(note for answer in answers for note in answer.notes)
    rows = [row for row in answers[0].grain if all(row in answer.grain for answer in answers)]
    grain = {row: np.concatenate([answer.grain[row] for answer in answers]) for row in rows}
    arrays = {row: joined(row) for row in ("x", "gamma", "beta", "mean", "var")}
    return Answer(
        joined("out"),
        **arrays,
        breaches=tuple(breaches),
        notes=tuple(notes),
        unjudged=answers[0].unjudged,
        grain=grain,
    )
