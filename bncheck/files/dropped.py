"""Names that NumPy and Python have dropped, given back to code that was written when they were there."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import operator
from collections import namedtuple
from collections.abc import Callable, Iterator

import numpy as np

_ArgSpec = namedtuple("_ArgSpec", ("args", "varargs", "keywords", "defaults"))


def _argspec(function: Callable[..., object]) -> _ArgSpec:
    return _ArgSpec(*inspect.getfullargspec(function)[:4])


_OF_COLLECTIONS = [
    "Hashable",
    "Iterable",
    "Iterator",
    "Generator",
    "Reversible",
    "Container",
    "Collection",
    "Callable",
    "Sized",
    "Set",
    "MutableSet",
    "Mapping",
    "MutableMapping",
    "MappingView",
    "KeysView",
    "ItemsView",
    "ValuesView",
    "Sequence",
    "MutableSequence",
    "ByteString",
    "Awaitable",
    "Coroutine",
]

DROPPED: dict[str, dict[str, str | Callable[..., object]]] = {
    "numpy": {
        **{name: f"builtins.{name}" for name in ("float", "int", "bool", "object", "complex", "str")},
        "long": "builtins.int",
        "unicode": "builtins.str",
        "float_": "numpy.float64",
        "complex_": "numpy.complex128",
        "cfloat": "numpy.complex128",
        "longfloat": "numpy.longdouble",
        "unicode_": "numpy.str_",
        "string_": "numpy.bytes_",
        "bool8": "numpy.bool_",
        **dict.fromkeys(("infty", "Inf", "Infinity", "PINF"), "numpy.inf"),
        "NINF": lambda: -float("inf"),
        "NaN": "numpy.nan",
        "NAN": "numpy.nan",
        "PZERO": lambda: 0.0,
        "NZERO": lambda: -0.0,
        "product": "numpy.prod",
        "cumproduct": "numpy.cumprod",
        "sometrue": "numpy.any",
        "alltrue": "numpy.all",
        "round_": "numpy.round",
        "row_stack": "numpy.vstack",
        "in1d": "numpy.isin",
        "trapz": "numpy.trapezoid",
        "mat": "numpy.asmatrix",
        "rank": "numpy.ndim",
        "alen": "builtins.len",
        "asscalar": lambda: operator.methodcaller("item"),
        "msort": lambda: functools.partial(np.sort, axis=0),
        "math": "math",
        **{name: f"numpy.exceptions.{name}" for name in ("VisibleDeprecationWarning", "ComplexWarning", "RankWarning")},
    },
    "collections": {name: f"collections.abc.{name}" for name in _OF_COLLECTIONS},
    "inspect": {"getargspec": lambda: _argspec},
    "time": {"clock": "time.perf_counter"},
    "fractions": {"gcd": "math.gcd"},
}
"""Of each module, its dropped names, and what is given for them: a dotted name, or a function that returns it."""

AS_NUMPY = frozenset(("cupy", "cunumeric", "cupynumeric", "minpy.numpy", "jax.numpy", "autograd.numpy"))
"""Modules that have NumPy's names, so that NumPy can take their place."""

_given: list[tuple[object, str]] = []
"""The names that were given back, each after its module."""


def give_back(tree: ast.Module) -> Iterator[str]:
    """Give back the dropped names that a file uses. Yields them as people write them: np.float, time.clock."""
    for name, dropped in dict.fromkeys(_used(tree)):
        module = importlib.import_module(name)
        if dropped in vars(module) or (given := _found(DROPPED[name][dropped])) is None:
            continue
        setattr(module, dropped, given)
        _given.append((module, dropped))
        yield f"{'np' if name == 'numpy' else name}.{dropped}"


def take_back() -> None:
    """Leave the modules as they were before anything was given back."""
    while _given:
        delattr(*_given.pop())


def _found(value: str | Callable[..., object]) -> object:
    """The object for a dropped name; None where this version has none."""
    if callable(value):
        return value()
    module, _, name = value.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name) if module else importlib.import_module(name)
    except (ImportError, AttributeError):
        return None


def _used(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """The dropped names in a file, each after its module."""
    modules = {"np": "numpy", "numpy": "numpy"}  # a file may have np from an import of everything
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.asname or alias.name: _plain(alias.name) for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module, names = modules.get(node.value.id, ""), [node.attr]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            module, names = _plain(node.module or ""), [alias.name for alias in node.names]
        else:
            continue
        yield from ((module, name) for name in names if name in DROPPED.get(module, ()))


def _plain(module: str) -> str:
    return "numpy" if module in AS_NUMPY else module
