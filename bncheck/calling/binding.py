"""One object of theirs, or one run of their functions, called as a convention says."""

from __future__ import annotations

import contextlib
import copy
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bncheck.calling.answer import Answer, Reader, as_array, described
from bncheck.calling.arrays import AUTO, NUMPY, ArrayKind, attributes_of, kind_named, kind_of, numbers
from bncheck.calling.layout import Layout, parameter_shape
from bncheck.calling.pattern import Group, Slot, Target, Update, assign, evaluate
from bncheck.calling.plan import Plan
from bncheck.calling.vocabulary import GIVEN_NAMES, LEARNING_RATE
from bncheck.gradients import batchnorm
from bncheck.gradients.batchnorm import FloatArray, Inputs, Stages
from bncheck.workers.worker import place_of

Batch = tuple[Inputs, FloatArray]
"""Inputs and a dout."""


class BindingError(Exception):
    """The sentence that says in what an implementation does not do what its convention says of it."""


def is_refused(error: BaseException) -> bool:
    """Whether an error is a TypeError of a call that their code was never entered by: it takes other arguments."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return isinstance(error, TypeError) and frame.f_code is evaluate.__code__


# --- the values of names -----------------------------------------------------------------------------------------


class Optimizer:
    """An optimizer with whatever method it is asked for.

    Called with a parameter and its gradient, in this order, each of them returns the parameter less the gradient, and
    writes into neither; called with one array it returns that, and with none the optimizer itself. Arrays may stand in
    lists and dicts, and names or numbers beside them. It is its own copy, so that one of them has all that is recorded.
    """

    learning_rate = lr = alpha = eta = LEARNING_RATE

    def __init__(self) -> None:
        self._taken: list[tuple[Any, Any]] = []

    def recorded(self, parameter: Any) -> Any:
        """The last gradient that came with just this object, which then was not replaced; None where none did."""
        if not isinstance(parameter, np.ndarray):
            return None
        return next((gradient for taken, gradient in reversed(self._taken) if taken is parameter), None)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """The parameter less the gradient; what there is of one array or none."""
        arrays = [value for value in (*arguments, *named.values()) if _holds_numbers(value)]
        if len(arrays) < 2:
            return arrays[0] if arrays else self
        return self._stepped(arrays[0], arrays[1])

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Any method there is, but for those that Python itself looks for."""
        if name.startswith("_"):
            raise AttributeError(name)
        return self

    def __deepcopy__(self, memo: object = None) -> Optimizer:
        return self

    __copy__ = __deepcopy__

    def _stepped(self, parameter: Any, gradient: Any) -> Any:
        if isinstance(parameter, Mapping) and isinstance(gradient, Mapping):
            return {key: self._stepped(parameter[key], gradient[key]) for key in parameter if key in gradient}
        if isinstance(parameter, list | tuple) and isinstance(gradient, list | tuple):
            return [self._stepped(*pair) for pair in zip(parameter, gradient, strict=False)]
        self._taken.append((parameter, gradient))
        return np.asarray(parameter) - np.asarray(gradient)


def _holds_numbers(value: Any) -> bool:
    """Whether it is an array, or a list or a dict of some; a plain number may be a learning rate."""
    if isinstance(value, Mapping):
        return any(map(_holds_numbers, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_holds_numbers, value))
    return isinstance(value, np.ndarray | np.floating)


class Context:
    """A stand-in for the ctx of a Function, where there is no torch to make one."""

    saved_tensors: tuple[Any, ...] = ()
    needs_input_grad = (True,) * 16

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep arrays for backward."""
        self.saved_tensors = tensors

    def mark_dirty(self, *tensors: Any) -> None:
        """Do nothing: that an array is overwritten is seen."""

    mark_non_differentiable = set_materialize_grads = mark_dirty


_MAKE = {row.name: row.make for row in GIVEN_NAMES if row.make is not None}


class Values(dict[str, Any]):
    """The values of the names in a pattern; those that are given are made when they are first looked up."""

    def __init__(self, inputs: Inputs, layout: Layout, plan: Plan, kind: ArrayKind) -> None:
        super().__init__()
        self.inputs: Inputs = inputs
        self.layout: Layout = layout
        self._plan, self._kind = plan, kind

    def __missing__(self, name: str) -> Any:
        """The value of a name that is given and not made yet. Raises KeyError for any other."""
        value = _MAKE[name](self)
        if isinstance(value, np.ndarray):
            value = self.made(value)
            value = self._kind.leaf(value) if name in self._plan.leaves else value
        self[name] = value
        return value

    def made(self, array: FloatArray) -> Any:
        """An array of the kind that their code works on."""
        return self._kind.make(array, self._plan.convention.device)

    def parameter(self, values: FloatArray) -> Any:
        """A copy of some (d,), in the shape of gamma; a number where that is ()."""
        shape = parameter_shape(self._plan.convention.parameters, len(values), self.layout.axes)
        return values.reshape(shape).copy() if shape or self._kind is not NUMPY else values.reshape(())[()]

    def statistic(self, given: FloatArray | None, otherwise: float) -> Any:
        """Running statistics in the shape of gamma."""
        return self.parameter(np.full_like(self.inputs.gamma, otherwise) if given is None else given)

    def saved(self, of_stages: Callable[[Stages], FloatArray]) -> Any:
        """A stage of our own forward in float64, as a forward of theirs may save it in the dtype of x."""
        wide = self.inputs.map(lambda array: array.astype(np.result_type(array, np.float64), copy=False))
        found = of_stages(batchnorm.forward(wide)).astype(self.inputs.x.dtype)
        return self.layout.laid_out(found) if found.ndim == 2 else self.parameter(found)

    def reference(self, *_: Any) -> FloatArray:
        """Our own out, whatever it is called with."""
        return self.layout.laid_out(batchnorm.out_of(self.inputs))

    def buffer(self) -> FloatArray:
        """Zeros, in the shape and the dtype of x."""
        return np.zeros(self["shape"], self.inputs.x.dtype)

    def context(self) -> Context:
        """A stand-in for the ctx of a Function."""
        return Context()

    def optimizer(self) -> Optimizer:
        """An optimizer that makes of every parameter its gradient's update."""
        return Optimizer()

    @property
    def training(self) -> bool:
        """Whether the batch's own statistics are to be used."""
        return self.inputs.running_mean is None or self.inputs.running_var is None


# --- one object of theirs ----------------------------------------------------------------------------------------

FLUSHES = ("update", "reset", "flush", "clear", "step", "apply", "zero")
"""How the names of methods begin that let go of what a layer keeps from its batches."""


class Layer:
    """One object of theirs, from its creation on, or one run of their functions, and the names that patterns know."""

    def __init__(self, plan: Plan, layout: Layout, namespace: Mapping[str, Any], inputs: Inputs) -> None:
        self._plan, self._layout, self._namespace = plan, layout, namespace
        arrays = plan.convention.arrays
        self._kind = NUMPY if arrays == AUTO else kind_named(arrays, namespace)
        self._before: dict[str, Any] = {}
        self._handed: dict[str, Any] = {}
        self.values = Values(inputs, layout, plan, self._kind)
        if plan.create is not None:
            owner = self.values["self"] = self.evaluated(plan.create)
            self._kind.ready(owner, inputs.x.dtype, plan.convention.device, self.values.training)
        if plan.build is not None:
            self.evaluated(plan.build)

    def forward(self, inputs: Inputs, like: FloatArray | None = None) -> FloatArray:
        """out in rows; `like` itself where it is the same to the bit."""
        self.keep("forward", self._plan.forward.target, self.run_forward(inputs))
        out, shape = self.values["out"], self._layout.shape(inputs.x.shape[1])
        array = as_array(out)
        if array is None or array.dtype.kind not in "fiub":
            raise BindingError(f"out is {described(out)}, expected an array of shape {shape}")
        if array.shape != shape:
            raise BindingError(f"out has shape {array.shape}, expected {shape}, the shape of x")
        return self._layout.rows(array.astype(np.result_type(array.dtype, inputs.x.dtype), copy=False), like)

    def run_forward(self, inputs: Inputs) -> Any:
        """The result of their forward, as it is."""
        kept = {name: self.values[name] for name in ("self", "optimizer") if name in self.values}
        self.values = Values(inputs, self._layout, self._plan, self._kind)
        self.values.update(kept)
        with self._kind.during():
            self._handed = {name: self._kind.handed(self.values[name]) for name in self._plan.leaves}
        # One object for all the places of a name: a layer that keeps gamma twice keeps it as one array.
        given = {name: copy.copy(self.values[name]) for name, _ in self._plan.places} | self._handed
        for name, place in self._plan.places:
            if not isinstance(place, Slot):
                evaluate(place, {**self.values, name: given[name]}, self._namespace)
                continue
            try:
                assign(place, self._as_there(place, given[name]), self.values, self._namespace)
            except (AttributeError, KeyError, IndexError, TypeError) as error:
                if place_of(error):
                    raise  # in a setter of theirs
                raise BindingError(
                    f"{name} cannot be put where set: says, which raises {type(error).__name__}: {error}"
                ) from error
        # What is computed of a leaf may not be written into it, so that they are handed a copy.
        leaves = {name: self.values[name] for name in self._handed}
        self.values.update(self._handed)
        try:
            return self.evaluated(self._plan.forward.expression)
        finally:
            self.values.update(leaves)

    def _as_there(self, place: Slot, value: Any) -> Any:
        """The value as it is to stand in a place: an array of NumPy's where that is what a tensor of theirs holds."""
        if self._kind is NUMPY:
            return value
        with contextlib.suppress(AttributeError, KeyError, IndexError, TypeError):  # nothing stands there yet
            if isinstance(evaluate(place, self.values, self._namespace), np.ndarray):
                return numbers(value)
        return value

    def run_backward(self, dout: FloatArray) -> Any:
        """The result of their backward, as it is. `out` is let go of where no pattern asks for it."""
        if "out" not in self._plan.names:
            self.values.pop("out", None)  # it is as large as x
        self._before = {row: np.array(numbers(self.evaluated(at))) for row, at in self._plan.updates.items()}
        self.values["dout"] = self.values.made(self._layout.dout(dout))
        return self.evaluated(self._plan.backward.expression)

    def answer(self, inputs: Inputs, dout: FloatArray, like: Answer | None = None) -> Answer:
        """The results of forward and backward, and what is wrong with their form.

        It shares the arrays of `like`, an earlier answer, that come out the same again: they are as large as x.
        """
        reader = self._reader(inputs)
        out = self.forward(inputs, None if like is None else like.out)
        before = self._layout.seen(inputs.x)
        handed = self._handed.get("x", self.values["x"])
        if not _same(handed, before):
            self._tell_overwritten(reader, handed)
            before = np.array(numbers(handed))
        if self._kind.says(self.values["out"]):
            reader.notes.append(("x", self._kind.says(self.values["out"])))
        found = self.run_backward(dout)
        if not _same(self.values["dout"], self._layout.seen(dout)):
            reader.breach("x", "backward wrote into dout; work on a copy")
        if not _same(handed, before):
            reader.breach("x", "backward wrote into x; work on a copy")
        return self._read(reader, self._plan.rows, found, Answer(out), like)

    def _tell_overwritten(self, reader: Reader, handed: Any) -> None:
        """Say that forward wrote into x: no harm where out is x itself, as a Function with mark_dirty gives it."""
        if "x" in self._handed and handed is self.values["out"]:
            reader.notes.append(("out", "forward writes out over x, and gives x back"))
        else:
            reader.breach("out", "forward wrote into x; work on a copy")

    def sums(self, batch: Callable[[], Batch]) -> Answer:
        """The gradients of gamma and beta alone for a batch, which is made here and let go of as soon as can be."""
        inputs, dout = batch()
        self.forward(inputs)
        # They have their own copy of x by now, and nothing else is asked of it than its shape and its dtype.
        nothing = np.broadcast_to(np.zeros((), inputs.x.dtype), inputs.x.shape)
        inputs = self.values.inputs = replace(inputs, x=nothing)
        rows = [row for row in ("gamma", "beta") if row in self._plan.rows]
        return self._read(self._reader(inputs), rows, self.run_backward(dout), Answer(None))

    def _reader(self, inputs: Inputs) -> Reader:
        d = inputs.x.shape[1]
        shape = parameter_shape(self._plan.convention.parameters, d, self._layout.axes)
        return Reader(self._layout, shape, d, inputs.x.dtype)

    def _read(
        self, reader: Reader, rows: Sequence[str], found: Any, answer: Answer, like: Answer | None = None
    ) -> Answer:
        """The answer with the gradients of some rows, out of what backward `found`, and what is wrong with them."""
        try:
            self.keep("backward", self._plan.backward.target, found)
        except BindingError as error:
            reader.breach("x", str(error))
            return replace(answer, breaches=tuple(reader.breaches))
        gradients: dict[str, FloatArray | None] = {}
        unjudged = self._plan.unjudged
        for row in rows:
            if row in unjudged:
                continue  # nothing is known of the parameter, so not even its shape
            try:
                value = self._gradient(row)
            except (AttributeError, KeyError, IndexError, TypeError) as error:
                reader.breach(row, f"d{row} is not where it should be: {type(error).__name__}: {error}")
                continue
            gradients[row] = reader.read(row, value, None if like is None else like.of(row))
            if row in self._before and gradients[row] is not None:
                after = self.evaluated(self._plan.updates[row])
                reader.grain[row] = _grain(self._before[row], after).reshape(-1)
        breaches, notes = tuple(reader.breaches), tuple(reader.notes)
        return replace(
            answer, **gradients, breaches=breaches, notes=notes, unjudged=unjudged, grain=reader.grain, lines=()
        )

    def gradients(self, inputs: Inputs, dout: FloatArray) -> dict[str, Any]:
        """The gradients that forward and backward give, as they are, by row."""
        self.forward(inputs)
        self.keep("backward", self._plan.backward.target, self.run_backward(dout))
        return {row: self._gradient(row) for row in self._plan.rows}

    def _gradient(self, row: str) -> Any:
        where = self._plan.gradients.get(row)
        if where is None:
            return self.values[f"d{row}"]
        if not isinstance(where, Update):
            return self.evaluated(where)
        now = self.evaluated(where.place)
        recorded = self.values["optimizer"].recorded(now) if "optimizer" in self.values else None
        return self._before[row] - numbers(now) if recorded is None else recorded

    def evaluated(self, expression: Any) -> Any:
        """The value of an expression, by the names that are known now."""
        with self._kind.during():
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
        """The arrays that the object keeps for each feature, (d,), by their places: attributes, and dicts in them."""
        found: dict[str, Any] = {}
        for name, value in attributes_of(self.values.get("self")).items():
            items = {f"self.{name}[{key!r}]": item for key, item in value.items()} if isinstance(value, dict) else {}
            found |= items or {f"self.{name}": value}
        arrays = {place: numbers(value) for place, value in found.items() if kind_of(value) is not None}
        return {place: value.reshape(-1) for place, value in arrays.items() if value.size == features}


def _same(value: Any, b: FloatArray) -> bool:
    """Whether two arrays have the same elements; asked of nan only where something differs, which takes longer."""
    a = numbers(value)
    return bool(np.array_equal(a, b)) or bool(np.array_equal(a, b, equal_nan=True))


def _grain(before: Any, after: Any) -> FloatArray:
    """The largest error of before - after by rounding alone, in the shape of the parameter.

    What stands there after an update is rounded once, to the dtype in which it is kept, and so is the difference.
    LEARNING_RATE is 1, so that this is in the units of the gradient, whatever the rule: the first step of a momentum is
    the gradient too.
    """
    before, after = np.asarray(before), np.asarray(numbers(after))
    unit = float(np.finfo(after.dtype if after.dtype.kind == "f" else np.float64).eps) / 2
    return np.asarray(unit * (np.abs(before) + np.abs(after)))
