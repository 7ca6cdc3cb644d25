"""What outlives a call of theirs: variables of a module, put back to what they were; and statistics in a layer."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from bncheck.gradients import batchnorm
from bncheck.gradients.batchnorm import FloatArray, Inputs
from bncheck.workers.worker import theirs

_MISSING = object()
_PLAIN = (type(None), bool, int, float, complex, str, bytes, np.generic, ModuleType)  # never changed in themselves
_MAPPINGS = (dict, OrderedDict, defaultdict, Counter)

PutBack = Callable[[], None]


class State:
    """The data that some functions and classes can reach in the variables of their modules, as it is now.

    Global variables that they name, attributes of classes, closures and default arguments; in them numbers, arrays,
    lists, dicts, sets and objects of their own classes, however deep. Functions that they call are followed, where
    these are of the same module or of another file of the user's.
    """

    def __init__(self, roots: Iterable[Any]) -> None:
        self._seen: dict[int, Any] = {}  # the objects too: an id is one only as long as its object lives
        self._put_back: list[PutBack] = []
        roots = list(roots)
        self._own = {id(function.__globals__) for root in roots for function in _functions_of(root)}
        waiting = roots
        while waiting:
            waiting.extend(self._reached(waiting.pop()))

    def put_back(self) -> None:
        """Make everything what it was; what is still the same object with the same items is left alone."""
        for put_back in self._put_back:
            put_back()

    def _reached(self, value: Any) -> Iterator[Any]:
        """What can be reached from a value; the value itself is kept where it may change."""
        if isinstance(value, _PLAIN) or id(value) in self._seen:
            return
        self._seen[id(value)] = value
        kind = type(value)
        if kind is np.ndarray:
            self._put_back.append(partial(_put_back_array, value, value.copy()))
        elif kind in _MAPPINGS:
            self._put_back.append(partial(_put_back_mapping, value, dict(value)))
            yield from value.values()
        elif kind in (list, deque):
            self._put_back.append(partial(_put_back_sequence, value, list(value)))
            yield from value
        elif kind is set:
            self._put_back.append(partial(_put_back_set, value, set(value)))
            yield from value
        elif kind in (tuple, frozenset):
            yield from value
        elif isinstance(value, type):
            yield from self._of_class(value)
        elif functions := list(_functions_of(value)):
            for function in functions:
                if self._is_followed(function):
                    yield from self._of_function(function)
            yield getattr(value, "__self__", None)
        elif any(map(self._is_followed, _functions_of(kind))):
            yield from (kind, getattr(value, "__dict__", None))

    def _of_function(self, function: FunctionType) -> Iterator[Any]:
        names = frozenset(_names_in(function.__code__))
        found = {name: function.__globals__[name] for name in names if name in function.__globals__}
        data = {name: value for name, value in found.items() if not isinstance(value, ModuleType)}
        self._put_back.append(partial(_put_back_names, function.__globals__, data, names - set(found)))
        yield from data.values()
        for cell in function.__closure__ or ():
            content = getattr(cell, "cell_contents", _MISSING)  # an empty cell has none
            self._put_back.append(partial(_put_back_cell, cell, content))
            yield content
        yield from (function.__defaults__, function.__kwdefaults__, function.__dict__)

    def _of_class(self, owner: type) -> Iterator[Any]:
        if not any(map(self._is_followed, _functions_of(owner))):
            return
        data = {name: value for name, value in vars(owner).items() if _is_data(name, value)}
        self._put_back.append(partial(_put_back_attributes, owner, data))
        yield from vars(owner).values()
        yield from owner.__bases__

    def _is_followed(self, function: FunctionType) -> bool:
        return id(function.__globals__) in self._own or theirs(function.__code__.co_filename)


def _functions_of(value: Any) -> Iterator[FunctionType]:
    """The functions written in Python that a value is, wraps, or has as the methods of its own class body."""
    match value:
        case FunctionType():
            yield value
        case MethodType() | staticmethod() | classmethod():
            yield from _functions_of(value.__func__)
        case property():
            for function in (value.fget, value.fset):
                yield from _functions_of(function)
        case partial():
            yield from _functions_of(value.func)
        case type():
            for inner in list(vars(value).values()):
                if not isinstance(inner, type):
                    yield from _functions_of(inner)


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)


def _is_data(name: str, value: Any) -> bool:
    """Whether an attribute of a class is a variable, and neither a method nor of Python's own."""
    return not (name.startswith("__") and name.endswith("__")) and not hasattr(type(value), "__get__")


# --- putting back ---------------------------------------------------------------------------------------------------


def _put_back_array(array: Any, content: Any) -> None:
    if array.flags.writeable and array.shape == content.shape:
        array[...] = content


def _put_back_mapping(mapping: dict[Any, Any], content: dict[Any, Any]) -> None:
    if len(mapping) != len(content) or any(mapping.get(key, _MISSING) is not content[key] for key in content):
        mapping.clear()
        mapping.update(content)


def _put_back_sequence(sequence: Any, content: Any) -> None:
    if len(sequence) != len(content) or any(now is not then for now, then in zip(sequence, content, strict=True)):
        sequence.clear()
        sequence.extend(content)


def _put_back_set(items: set[Any], content: set[Any]) -> None:
    if items != content:
        items.clear()
        items.update(content)


def _put_back_names(space: dict[str, Any], content: Mapping[str, Any], absent: frozenset[str]) -> None:
    for name, value in content.items():
        if space.get(name, _MISSING) is not value:
            space[name] = value
    if not absent.isdisjoint(space):
        for name in absent & space.keys():
            del space[name]


def _put_back_cell(cell: CellType, content: Any) -> None:
    if getattr(cell, "cell_contents", _MISSING) is content:
        return
    if content is _MISSING:
        del cell.cell_contents
    else:
        cell.cell_contents = content


def _put_back_attributes(owner: type, content: Mapping[str, Any]) -> None:
    now = {name: value for name, value in vars(owner).items() if _is_data(name, value)}
    for name in now.keys() - content.keys():
        delattr(owner, name)
    for name, value in content.items():
        if now.get(name, _MISSING) is not value:
            setattr(owner, name, value)


# --- statistics of other batches ------------------------------------------------------------------------------------

CLOSE = 1e-6
"""How near a dx must be to what some statistics give, relative to the largest element, to be told as theirs."""


def _in_closed_form(g: FloatArray, centred: FloatArray, std: FloatArray, own: FloatArray) -> FloatArray:
    x_hat = centred / std
    return np.asarray((g - g.mean(axis=0) - x_hat * (g * x_hat).mean(axis=0)) / std)


def _by_routes(g: FloatArray, centred: FloatArray, std: FloatArray, own: FloatArray) -> FloatArray:
    dvar = -0.5 * (g * centred).sum(axis=0) / std**3
    dmean = -g.sum(axis=0) / std - 2 * dvar * centred.mean(axis=0)
    return np.asarray(g / std + dvar * 2 * centred / len(g) + dmean / len(g))


def _over_std_alone(g: FloatArray, centred: FloatArray, std: FloatArray, own: FloatArray) -> FloatArray:
    return np.asarray((g - g.mean(axis=0) - own * (g * own).mean(axis=0)) / std)


# How dx comes of x - mean and std where these are of other batches; `own` is the x_hat of this one.
_SPELLINGS = (_in_closed_form, _by_routes, _over_std_alone)


def stale(held: Mapping[str, FloatArray], first: Inputs, inputs: Inputs, dout: FloatArray, dx: FloatArray) -> str:
    """The statistics of other batches that a dx was made with, as a clause; empty where it was not.

    `held` has what the layer keeps for each feature, (d,), by its place. Shapes: dout, dx (n, d).
    """
    mean, var = _statistics(inputs)
    means = {"": mean} | {place: values for place, values in held.items() if not _near(values, mean)}
    stds = {"": np.sqrt(var + inputs.eps)}
    with np.errstate(all="ignore"):
        stds |= {place: np.sqrt(values + inputs.eps) for place, values in held.items() if not _near(values, var)}
        roots = {place: values for place, values in held.items() if not _near(values, stds[""])}
        for of_mean, m in means.items():
            for of_std, std in (*stds.items(), *roots.items()):
                places = list(dict.fromkeys(filter(None, (of_mean, of_std))))
                own = (inputs.x - mean) / stds[""]
                spelt = (spelling(inputs.gamma * dout, inputs.x - m, std, own) for spelling in _SPELLINGS)
                if places and any(_near(dx, found) for found in spelt):
                    return _clause(places, held, first)
    return ""


def _clause(places: list[str], held: Mapping[str, FloatArray], first: Inputs) -> str:
    mean, var = _statistics(first)
    of_first = (mean, var, np.sqrt(var), np.sqrt(var + first.eps))
    is_first = all(any(_near(held[place], values) for values in of_first) for place in places)
    whose = "statistics of the first batch" if is_first else "running statistics"
    stand = "stands" if len(places) == 1 else "stand"
    return f"it is what comes where {' and '.join(places)} {stand} for the statistics of the batch: {whose} in backward"


def _statistics(inputs: Inputs) -> tuple[FloatArray, FloatArray]:
    mean = batchnorm.batch_mean(inputs.x)
    return mean, batchnorm.batch_var(inputs.x - mean)


def _near(values: FloatArray, others: FloatArray) -> bool:
    return bool(np.allclose(values, others, rtol=0, atol=CLOSE * float(np.max(np.abs(others), initial=0))))
