"""Modules that stand in for others, which a file imports and batch normalisation does not need."""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Callable, Iterator, Sequence

_IMPORTING: list[str] = []
"""One entry for each import that is going on. During imports stubs are inert; afterwards, using one raises."""


class StubUsed(Exception):  # noqa: N818 - what happened, as the user reads it
    """Code under check has used what a stub stands in for."""


class Stub:
    """Object in a stub: named, inert while files are imported, raising StubUsed when it is used later.

    Its attributes are stubs at any time: the sentence names what was called of them, not the first of them.
    While files are imported, calling one with a function or a class alone gives that back: it is a decorator. Any
    other call, and every operator, gives another stub: `njit(parallel=True)` is a decorator to be. A class that
    inherits from a stub inherits from nothing, and raises where it calls upon its base. Nothing is an instance of one.
    """

    _name: str
    _module: str

    def __init__(self, name: str, module: str) -> None:
        self.__dict__.update(_name=name, _module=module)

    def __getattr__(self, name: str) -> object:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return Stub(f"{self._name}.{name}", self._module)

    def __call__(self, *arguments: object, **named: object) -> object:
        self._used("called")
        if len(arguments) == 1 and not named and isinstance(arguments[0], (types.FunctionType, type)):
            return arguments[0]
        return Stub(self._name, self._module)

    def __mro_entries__(self, bases: tuple[object, ...]) -> tuple[type, ...]:
        return (_base(self),)

    def __instancecheck__(self, instance: object) -> bool:
        return False

    def __subclasscheck__(self, subclass: type) -> bool:
        return False

    def __repr__(self) -> str:
        return f"<stub of {self._name}>"

    def _used(self, how: str) -> None:
        """Raises StubUsed where nothing is being imported."""
        if not _IMPORTING:
            raise StubUsed(f"{self._name} was {how}, but {self._module} is a stub (stub: [{self._module}])")


def _base(stub: Stub) -> type:
    """The base of a class that names a stub as its base: it has nothing but a constructor that raises StubUsed."""

    def refuse(*arguments: object, **named: object) -> None:
        stub._used("called")

    return type(stub._name.rpartition(".")[2], (), {"__init__": refuse})


def _operator(gives: Callable[[Stub], object]) -> Callable[..., object]:
    def operate(self: Stub, *arguments: object) -> object:
        self._used("used")
        return gives(self)

    return operate


def _itself(stub: Stub) -> object:
    return stub


_BINARY = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift")
_OPERATORS: dict[Callable[[Stub], object], Sequence[str]] = {
    _itself: [
        *(f"{side}{name}" for name in _BINARY for side in ("", "r", "i")),
        *("neg", "pos", "abs", "invert", "getitem", "lt", "le", "gt", "ge", "enter", "array"),
    ],
    lambda stub: None: ["setitem", "delitem", "exit"],
    lambda stub: False: ["bool", "contains"],
    lambda stub: 0: ["len", "int", "index"],
    lambda stub: 0.0: ["float"],
    lambda stub: iter(()): ["iter"],
}
for _gives, _names in _OPERATORS.items():
    for _name in _names:
        setattr(Stub, f"__{_name}__", _operator(_gives))


class _StubModule(types.ModuleType):
    """A module all of whose names are stubs."""

    __version__ = "0.0.0"
    _stub: str

    def __getattr__(self, name: str) -> object:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return Stub(f"{self.__name__}.{name}", self._stub)

    def __call__(self, *arguments: object, **named: object) -> object:
        return Stub(self.__name__, self._stub)(*arguments, **named)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a stub, and every module below it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not _within(name, self._name):
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        module = _StubModule(spec.name)
        module.__dict__["_stub"] = self._name
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        return None


@contextlib.contextmanager
def importing(stubs: Sequence[str]) -> Iterator[None]:
    """Let stubs stand in for modules, even for those that are there; while this lasts they are inert.

    Afterwards a module that was there before is there again; the stubs of others stay, for imports inside functions.
    """
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]
    _forget(is_stub)
    there = _forget(lambda name: any(_within(name, stub) for stub in stubs))
    sys.meta_path[:0] = [_Finder(stub) for stub in stubs]
    _IMPORTING.append("")
    try:
        yield
    finally:
        _IMPORTING.pop()
        if there:
            _forget(lambda name: any(_within(name, stub) for stub in stubs))
        sys.modules.update(there)


def is_stub(name: str) -> bool:
    """Whether the module of that name in sys.modules is a stub."""
    return isinstance(sys.modules[name], _StubModule)


def _forget(which: Callable[[str], bool]) -> dict[str, types.ModuleType]:
    """Take modules out of sys.modules. Returns them."""
    return {name: sys.modules.pop(name) for name in list(sys.modules) if which(name)}


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")
