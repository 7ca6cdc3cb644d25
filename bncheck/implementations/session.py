"""One object of theirs, from its creation on: what its patterns know, and what it answers."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from bncheck.batchnorm import FloatArray, Inputs
from bncheck.implementations.answer import Answer, Reader, as_array, described
from bncheck.implementations.expression import Expression, assign, evaluate, names_in, remove
from bncheck.implementations.layout import Layout, parameter_shape
from bncheck.implementations.pattern import Group, Place, Target, Update, targets_of
from bncheck.implementations.plan import Plan

MOMENTUM = 0.9
"""What `momentum` is: in train mode nothing that is checked depends on it."""

LEARNING_RATE = 1.0
"""What `learning_rate` is: an update of gamma is then its gradient."""

GRADIENTS = ("x", "gamma", "beta", "mean", "var")


class BindingError(Exception):
    """An implementation does not do what its convention says of it, as a sentence."""


class Session:
    """One object, from its creation on, and the names that its patterns know."""

    def __init__(
        self, plan: Plan, layout: Layout, parameters: str, namespace: Mapping[str, Any], inputs: Inputs
    ) -> None:
        self._plan, self._layout, self._parameters, self._namespace = plan, layout, parameters, namespace
        self.values: dict[str, Any] = {}  # of every name that a pattern may use
        self._give(inputs)
        if self._plan.create is not None:
            self.values["self"] = self.evaluated(self._plan.create)
        if self._plan.build is not None:
            self.evaluated(self._plan.build)

    def forward(self, inputs: Inputs) -> FloatArray:
        """out in rows."""
        self.keep("forward", self._plan.forward.target, self.run_forward(inputs))
        return self._out(inputs)

    def run_forward(self, inputs: Inputs) -> Any:
        """What their forward returns, as it is."""
        self._give(inputs)
        given = {name: copy.copy(self.values[name]) for name, _ in self._plan.places}
        for name, place in self._plan.places:
            # One object for all the places of a name: a layer that keeps gamma twice keeps it as one array.
            assign(place, given[name], self.values, self._namespace)
        return self.evaluated(self._plan.forward.expression)

    def answer(self, inputs: Inputs, dout: FloatArray) -> Answer:
        """Everything that forward and backward give, and what is wrong with its form."""
        reader = self._reader(inputs)
        out = self.forward(inputs)
        before = self.values["x"].copy()
        if not np.array_equal(before, self._layout.laid_out(inputs.x), equal_nan=True):
            reader.note("out", "forward wrote into x; work on a copy")
        updated = {row: copy.deepcopy(self.evaluated(place)) for row, place in self._plan.updates}
        self.values["dout"] = self._layout.laid_out(dout)
        step = self._plan.backward
        found = self.evaluated(step.expression)
        if not np.array_equal(self.values["dout"], self._layout.laid_out(dout), equal_nan=True):
            reader.note("x", "backward wrote into dout; work on a copy")
        if not np.array_equal(self.values["x"], before, equal_nan=True):
            reader.note("x", "backward wrote into x; work on a copy")
        try:
            self.keep("backward", step.target, found)
        except BindingError as error:
            reader.note("x", str(error))
            return Answer(out, breaches=tuple(reader.breaches))
        return self._read(reader, out, updated)

    def gradients_as_they_are(self) -> dict[str, Any]:
        """What stands where the gradients will be, copied; nothing for those that are not there yet."""
        return {
            row: copy.deepcopy(self.evaluated(place)) for row, place in self._places_of_gradients() if self._has(place)
        }

    def put_back(self, clean: Mapping[str, Any]) -> None:
        """Put that back. An array is written into, for others may hold on to it."""
        for row, place in self._places_of_gradients():
            now = self.evaluated(place) if self._has(place) else None
            if row not in clean:
                if self._has(place):
                    remove(place, self.values, self._namespace)
            elif isinstance(now, np.ndarray) and isinstance(clean[row], np.ndarray) and now.shape == clean[row].shape:
                now[...] = clean[row]
            else:
                assign(place, copy.deepcopy(clean[row]), self.values, self._namespace)

    def _places_of_gradients(self) -> Iterator[tuple[str, Place]]:
        for row, found in self._plan.gradients:
            if isinstance(found, Place) and all(name.name == "self" for name in names_in(found)):
                yield row, found

    def _has(self, place: Place) -> bool:
        try:
            self.evaluated(place)
        except (AttributeError, KeyError, IndexError, TypeError):
            return False
        return True

    def _give(self, inputs: Inputs) -> None:
        n, d = inputs.x.shape
        shape = self._shape(d)
        own_statistics = inputs.running_mean is None or inputs.running_var is None
        mean = np.zeros_like(inputs.gamma) if inputs.running_mean is None else inputs.running_mean
        var = np.ones_like(inputs.gamma) if inputs.running_var is None else inputs.running_var
        self.values = {name: self.values[name] for name in ("self",) if name in self.values} | {
            "x": self._layout.laid_out(inputs.x),
            "gamma": _in_shape(inputs.gamma, shape),
            "beta": _in_shape(inputs.beta, shape),
            "eps": inputs.eps,
            "n": n,
            "d": d,
            "shape": self._layout.shape(d),
            "momentum": MOMENTUM,
            "learning_rate": LEARNING_RATE,
            "running_mean": _in_shape(mean, shape),
            "running_var": _in_shape(var, shape),
            "training": own_statistics,
        }

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
        gradients = dict(self._plan.gradients)
        returned = set(targets_of(self._plan.backward.target))
        for row in GRADIENTS:
            if row not in gradients and f"d{row}" not in returned:
                continue
            try:
                value = self._gradient(row, gradients.get(row), updated)
            except (AttributeError, KeyError, IndexError, TypeError) as error:
                reader.note(row, f"d{row} is not where it should be: {type(error).__name__}: {error}")
                continue
            found[row] = self._as_row(reader, row, value)
            where = gradients.get(row)
            if isinstance(where, Update) and found[row] is not None:
                grain[row] = _grain(updated[row], self.evaluated(where.place)).reshape(-1)
        return Answer(out, **found, breaches=tuple(reader.breaches), grain=grain)

    def _gradient(self, row: str, where: Expression | Update | None, updated: Mapping[str, Any]) -> Any:
        if where is None:
            return self.values[f"d{row}"]
        if isinstance(where, Update):
            return np.asarray(updated[row]) - np.asarray(self.evaluated(where.place))
        return self.evaluated(where)

    @staticmethod
    def _as_row(reader: Reader, row: str, value: Any) -> FloatArray | None:
        if row == "x":
            return reader.x(value)
        return reader.parameter(row, value) if row in ("gamma", "beta") else reader.statistic(row, value)


def _grain(before: Any, after: Any) -> FloatArray:
    """How far before - after may be off for rounding alone, in the shape of the parameter.

    What stands there after an update is rounded once, to the dtype in which it is kept, and so is the difference.
    LEARNING_RATE is 1, so that this is in the units of the gradient, whatever the rule: the first step of a momentum is
    the gradient too.
    """
    before, after = np.asarray(before), np.asarray(after)
    unit = float(np.finfo(after.dtype if after.dtype.kind == "f" else np.float64).eps) / 2
    return np.asarray(unit * (np.abs(before) + np.abs(after)))


def _in_shape(values: FloatArray, shape: tuple[int, ...]) -> Any:
    """A copy in the shape of a parameter; a number where that is ()."""
    return values.reshape(shape).copy() if shape else values.reshape(())[()]
