"""State that outlives a call of theirs: variables of a module, put back to what they were; statistics in a layer."""

from __future__ import annotations

import builtins
import gc
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain, product
from operator import is_
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from bncheck.calling.arrays import kind_of
from bncheck.gradients import batchnorm
from bncheck.gradients.batchnorm import FloatArray, Inputs
from bncheck.workers.worker import theirs

_PLAIN = (type(None), bool, int, float, complex, str, bytes, np.generic, ModuleType)  # never changed in themselves
_WRAPPERS = (MethodType, staticmethod, classmethod, property, partial)

_COPIES: dict[type, Callable[[Any], Any]] = {
    **dict.fromkeys((dict, OrderedDict, defaultdict, Counter), dict),
    **{list: list, deque: list, set: set},
}
"""How the content of what may change is kept, by its type; types derived from these have ways of their own."""


class State:
    """The data that some functions and classes can reach in the variables of their modules, as it is now.

    Global variables that they name and attributes of classes; in these, in closures and in default arguments arrays,
    lists, dicts, sets and objects of their own classes, however deep. Functions that they call are followed, where
    these are of the same module or of another file of the user's. With `with`, all is put back in the end.
    """

    def __init__(self, roots: Iterable[Any]) -> None:
        self._put_back: list[Callable[[], None]] = []
        waiting = list(roots)
        self._own = {id(function.__globals__) for root in waiting for function in _functions_of(root)}
        namespace = vars(builtins)  # which other namespaces hold, and nothing works while it is cleared
        seen = {id(namespace): namespace}  # the objects too: an id is one only as long as its object lives
        while waiting:
            value = waiting.pop()
            if id(value) not in seen and not isinstance(value, _PLAIN):
                seen[id(value)] = value
                waiting.extend(self._reached(value))

    def __enter__(self) -> State:
        return self

    def __exit__(self, *raised: object) -> None:
        self.put_back()

    def put_back(self) -> None:
        """Make everything what it was, in the same objects."""
        for put_back in self._put_back:
            put_back()

    def _reached(self, value: Any) -> Iterable[Any]:
        """Values that can be reached from one; that itself is kept where it may change."""
        kind = type(value)
        array = kind_of(value)
        if array is not None:
            self._put_back.append(partial(array.fill, value, np.copy(array.read(value))))
            return ()
        if kind in _COPIES:
            content = _COPIES[kind](value)
            self._put_back.append(partial(_refill, value, content))
            return content.values() if isinstance(content, dict) else content
        if kind in (tuple, frozenset, CellType, *_WRAPPERS):
            return gc.get_referents(value)
        if not any(map(self._is_followed, _functions_of(value if isinstance(value, type | FunctionType) else kind))):
            return ()
        if kind is FunctionType:
            names, space = set(_names_in(value.__code__)), value.__globals__
            found = {name: space[name] for name in names & space.keys()}
            self._put_back.append(partial(_put_back_names, space, found, names - space.keys()))
            return (*found.values(), value.__closure__, value.__defaults__, value.__kwdefaults__, value.__dict__)
        if isinstance(value, type):
            self._put_back.append(partial(_put_back_class, value, _data_of(value)))
            return (*vars(value).values(), *value.__bases__)
        return (kind, getattr(value, "__dict__", None))

    def _is_followed(self, function: FunctionType) -> bool:
        return id(function.__globals__) in self._own or theirs(function.__code__.co_filename)


def _functions_of(value: Any) -> Iterator[FunctionType]:
    """The functions written in Python that a value is, wraps, or has as the methods of its own class body."""
    if isinstance(value, FunctionType):
        yield value
    elif isinstance(value, (type, *_WRAPPERS)):
        for inner in list(vars(value).values()) if isinstance(value, type) else gc.get_referents(value):
            if not isinstance(inner, type):
                yield from _functions_of(inner)


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)


def _data_of(owner: type) -> dict[str, Any]:
    """The attributes of a class that are variables, and neither methods nor of Python's own."""
    own = {name: value for name, value in vars(owner).items() if not (name.startswith("__") and name.endswith("__"))}
    return {name: value for name, value in own.items() if not hasattr(type(value), "__get__")}


def _refill(value: Any, content: Any) -> None:
    if len(value) != len(content) or not all(map(is_, _items(value), _items(content))):
        value.clear()
        (value.extend if isinstance(content, list) else value.update)(content)


def _items(value: Iterable[Any]) -> Iterable[Any]:
    return chain.from_iterable(value.items()) if isinstance(value, dict) else value


def _put_back_names(space: dict[str, Any], content: Mapping[str, Any], absent: Iterable[str]) -> None:
    space.update(content)
    for name in absent:
        space.pop(name, None)


def _put_back_class(owner: type, content: Mapping[str, Any]) -> None:
    now = _data_of(owner)
    for name in now.keys() - content.keys():
        delattr(owner, name)
    for name, value in content.items():
        if name not in now or now[name] is not value:  # for setting one anew makes every look-up in the class slower
            setattr(owner, name, value)


# --- statistics of other batches ------------------------------------------------------------------------------------

CLOSE = 1e-6
"""How near a dx must be to what some statistics give, relative to the largest element, to be told as theirs."""


def stale(held: Mapping[str, FloatArray], first: Inputs, inputs: Inputs, dout: FloatArray, dx: FloatArray) -> str:
    """The statistics of other batches that a dx was made with, as a clause; empty where it was not.

    `held` has what the layer keeps for each feature, (d,), by its place. Shapes: dout, dx (n, d).
    """
    mean, var = _statistics(inputs)
    std = np.sqrt(var + inputs.eps)
    with np.errstate(all="ignore"):
        means = [("", mean), *((place, values) for place, values in held.items() if not _near(values, mean))]
        stds = [("", std)]
        stds += [(place, np.sqrt(values + inputs.eps)) for place, values in held.items() if not _near(values, var)]
        stds += [(place, values) for place, values in held.items() if not _near(values, std)]
        for (of_mean, a_mean), (of_std, a_std) in product(means, stds):
            places = list(dict.fromkeys(filter(None, (of_mean, of_std))))
            spelt = _spelt(inputs.gamma * dout, inputs.x - a_mean, a_std, (inputs.x - mean) / std)
            if places and any(_near(dx, found) for found in spelt):
                return _clause(places, held, first)
    return ""


def _spelt(g: FloatArray, centred: FloatArray, std: FloatArray, own: FloatArray) -> Iterator[FloatArray]:
    """Spellings of dx, of x - mean and std where these are of other batches; `own` is the x_hat of this one."""
    for x_hat in (centred / std, own):
        yield (g - g.mean(axis=0) - x_hat * (g * x_hat).mean(axis=0)) / std
    dvar = -0.5 * (g * centred).sum(axis=0) / std**3
    dmean = -g.sum(axis=0) / std - 2 * dvar * centred.mean(axis=0)
    yield g / std + dvar * 2 * centred / len(g) + dmean / len(g)


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
