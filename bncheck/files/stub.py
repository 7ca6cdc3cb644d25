"""Stand-ins for modules that a file imports, that are not there, and that batch normalisation does not need."""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import itertools
import os
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bncheck.files.dropped import AS_NUMPY
from bncheck.files.source import MODULES, Source, calling_frames
from bncheck.workers.worker import theirs

sources: dict[str, Source] = {}
"""The files that have been executed, by their paths."""

running: list[str] = []
"""The names of the modules that are being executed, the innermost last."""

notes: dict[str, None] = {}
"""Sentences on the last load, each once."""

COMMON = {
    **dict.fromkeys(("np", "numpy", "xp", "cp"), "numpy"),
    **{name: name for name in ("math", "os", "sys", "time", "copy", "random", "pickle")},
}
"""Names that a missing module of the project is taken to have had from elsewhere, and from where."""

_HERE = __file__
_OURS = str(Path(__file__).parents[1]) + os.sep


class StubUsed(Exception):  # noqa: N818 - what happened, as the user reads it
    """Code under check needs what a stand-in cannot give: a number, or a decision."""


class NotInherited(StubUsed, AttributeError):  # noqa: N818 - as StubUsed
    """Code under check reads what its class would have from a base that is not there. hasattr() says that it is not."""


class StandIn:
    """Anything in a module that is not there: named, and good for everything but a number.

    It can be called, indexed, inherited from, used as a decorator or a context; what comes of it are stand-ins.
    In a constructor, and while files are imported, it is also empty, false and equal to nothing, and operators give
    stand-ins; afterwards these raise StubUsed, and numbers do at any time: an invented one would be judged as theirs.
    """

    __version__ = "0.0.0"
    __hash__ = object.__hash__

    def __init__(self, name: str, absence: str) -> None:
        self.__dict__.update(_bncheck_name=name, _bncheck_absence=absence)

    _bncheck_name: str
    _bncheck_absence: str

    def __getattr__(self, name: str) -> object:
        if name == "__all__":
            return _asked_for_by_star()
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        found = _common(name, self) or StandIn(f"{self._bncheck_name}.{name}", self._bncheck_absence)
        self.__dict__[name] = found
        return found

    def __call__(self, *arguments: object, **named: object) -> object:
        if not named and len(arguments) == 1 and isinstance(arguments[0], (types.FunctionType, type)) and _decorating():
            return arguments[0]
        match arguments:
            case str(title), tuple(bases), dict(held):  # it is the metaclass of a class statement
                return type(title, bases, held)
        return StandIn(self._bncheck_name, self._bncheck_absence)

    def __getitem__(self, key: object) -> object:
        return StandIn(self._bncheck_name, self._bncheck_absence)

    def __setitem__(self, key: object, value: object) -> None: ...

    def __delitem__(self, key: object) -> None: ...

    def __enter__(self) -> object:
        return self

    def __exit__(self, *raised: object) -> None: ...

    def __mro_entries__(self, bases: tuple[object, ...]) -> tuple[type, ...]:
        return (_base(self),)

    def __instancecheck__(self, instance: object) -> bool:
        return self.__subclasscheck__(type(instance))

    def __subclasscheck__(self, subclass: type) -> bool:
        return any(vars(kind).get("_bncheck_name") == self._bncheck_name for kind in subclass.__mro__)

    def __copy__(self) -> StandIn:
        return self

    def __deepcopy__(self, memo: object) -> StandIn:
        return self

    def __format__(self, form: str) -> str:
        return repr(self)

    def __repr__(self) -> str:
        return f"<stub of {self._bncheck_name}>"


def _base(stand_in: StandIn) -> type:
    """The class that is inherited where a stand-in is named as the base: object, which takes any arguments."""
    name, absence = stand_in._bncheck_name, stand_in._bncheck_absence

    def take(anything: Any, /, *arguments: object, **named: object) -> None: ...

    def missing(self: object, attribute: str) -> object:
        if attribute.startswith("__") and attribute.endswith("__"):
            raise AttributeError(attribute)
        if _setting_up():
            return StandIn(f"{name}.{attribute}", absence)
        raise NotInherited(
            f"{type(self).__name__!r} object has no attribute {attribute!r}; it may be one of {name}, but {absence}",
            name=attribute,
            obj=self,
        )

    inherited = {
        "_bncheck_name": name,
        "__module__": name.rpartition(".")[0],
        "__init__": take,
        "__init_subclass__": classmethod(take),
        "__class_getitem__": classmethod(lambda kind, key: kind),
        "__getattr__": missing,
    }
    return type(name.rpartition(".")[2], (), inherited)


_BINARY = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift")
_ARITHMETIC = (*(f"{side}{name}" for name in _BINARY for side in ("", "r", "i")), "neg", "pos", "abs", "invert")
_OPERATORS: tuple[tuple[Sequence[str], str, Callable[..., object] | None], ...] = (
    (_ARITHMETIC, "a number is", lambda stand_in, *other: StandIn(stand_in._bncheck_name, stand_in._bncheck_absence)),
    (("int", "float", "complex", "index", "len", "round", "array"), "a number is", None),
    (("lt", "le", "gt", "ge", "contains"), "a comparison is", lambda stand_in, *other: False),
    (("eq",), "a comparison is", lambda stand_in, other: stand_in is other),
    (("bool",), "yes or no is", lambda stand_in: False),
    (("iter",), "items are", lambda stand_in: iter(())),
)
"""Methods, what they ask for, and what they give at import and in constructors: None where that is a number."""


def _operator(asked: str, gives: Callable[..., object] | None) -> Callable[..., object]:
    def operate(self: StandIn, *arguments: object, **named: object) -> object:
        if gives is not None and _setting_up():
            return gives(self, *arguments)
        raise StubUsed(f"{asked} asked of {self._bncheck_name}, but {self._bncheck_absence}")

    return operate


for _names, _asked, _gives in _OPERATORS:
    for _name in _names:
        setattr(StandIn, f"__{_name}__", _operator(_asked, _gives))


class NumPyStandIn(types.ModuleType):
    """A module of NumPy, under the name of one that has its names; names that NumPy lacks are of stand-ins."""

    def __init__(self, name: str, module: types.ModuleType, absence: str) -> None:
        super().__init__(name)
        self.__dict__.update(asnumpy=np.asarray, get_array_module=lambda *arrays: np)
        self.__dict__.update(_bncheck_module=module, _bncheck_absence=absence)

    _bncheck_module: types.ModuleType
    _bncheck_absence: str

    def __getattr__(self, name: str) -> object:
        if hasattr(self._bncheck_module, name):
            return getattr(self._bncheck_module, name)
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return StandIn(f"{self.__name__}.{name}", self._bncheck_absence)


_STANDING_IN = (StandIn, NumPyStandIn)


# --- where a stand-in is asked for something --------------------------------------------------------------------


def _callers() -> Iterator[types.FrameType]:
    """The frames that asked something of this module, the innermost first, up to where bncheck called them."""
    frames = calling_frames(sys._getframe(1))
    for frame in itertools.dropwhile(lambda frame: frame.f_code.co_filename == _HERE, frames):
        if frame.f_code.co_filename.startswith(_OURS):
            return
        yield frame


def importer() -> types.FrameType | None:
    """The frame of an import statement of theirs that is being looked for; None for one of anybody else."""
    for frame in _callers():
        if frame.f_code is importlib.util.find_spec.__code__:
            return None  # only a question
        if "importlib" not in frame.f_code.co_filename:
            return frame if theirs(frame.f_code.co_filename) else None
    return None


def guarded(error: type[BaseException]) -> bool:
    """Whether somewhere on the way here their code provides for an exception, and goes on without what it tried."""
    return any(
        source.guarded(frame.f_lineno, error)
        for frame in calling_frames(sys._getframe(1))
        if (source := sources.get(frame.f_code.co_filename)) is not None
    )


def _setting_up() -> bool:
    """Whether a file is being imported or an object constructed, or bncheck itself asks."""
    asked_by_us = True
    for frame in _callers():
        asked_by_us = False
        name, file = frame.f_code.co_name, frame.f_code.co_filename
        if (name == "<module>" and frame.f_globals.get("__name__") in running) or (name == "__init__" and theirs(file)):
            return True
    return asked_by_us


def _decorating() -> bool:
    caller = next(_callers(), None)
    if caller is None:
        return False
    source = sources.get(caller.f_code.co_filename)
    return source is None or source.decorates(caller.f_lineno)


def _asked_for_by_star() -> list[str]:
    frame = importer()
    return names_from_nowhere(frame.f_code.co_filename, frame.f_globals) if frame is not None else []


def names_from_nowhere(path: str, namespace: Mapping[str, object]) -> list[str]:
    """The names that an import of everything is to bring to a file: those that it uses and has from nowhere else."""
    return [name for name in sources[path].unbound if name not in namespace] if path in sources else []


def _common(name: str, stand_in: StandIn) -> types.ModuleType | None:
    """The module that a name of a missing module is sure to mean, such as NumPy for np; None for any other name."""
    if name not in COMMON:
        return None
    if COMMON[name] == "numpy":
        notes[f"{name} of {stand_in._bncheck_name} is taken to be NumPy"] = None
    return importlib.import_module(COMMON[name])


# --- finding them -----------------------------------------------------------------------------------------------


class _Loader(importlib.abc.Loader):
    """Puts a stand-in into sys.modules."""

    def __init__(self, make: Callable[[], object]) -> None:
        self._make = make

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return self._make()  # type: ignore[return-value]  # any object can be imported

    def exec_module(self, module: types.ModuleType) -> None: ...


class StubFinder(importlib.abc.MetaPathFinder):
    """Finds a module that the user has named as a stub, and every module below it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not within(name, self._name):
            return None
        absence = f"{self._name} is a stub (stub: [{self._name}]); take it off that list, or do without"
        return _spec(name, lambda: StandIn(name, absence))


class MissingFinder(importlib.abc.MetaPathFinder):
    """Finds a stand-in for what nobody else has found, where a file of theirs imports it and cannot do without."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if importer() is None or name in MODULES or guarded(ModuleNotFoundError):
            return None
        later = sys.meta_path[sys.meta_path.index(self) + 1 :]  # of theirs, put there since
        if any(finder.find_spec(name, path, target) is not None for finder in later):
            return None
        parent = sys.modules.get(name.rpartition(".")[0])
        alike = next((module for module in AS_NUMPY if within(name, module)), "")
        with contextlib.suppress(ModuleNotFoundError):
            if alike:
                module = importlib.import_module(f"numpy{name.removeprefix(alike)}")
                absence = _absence(alike, "NumPy")
                return _spec(name, lambda: NumPyStandIn(name, module, absence))
        absence = parent._bncheck_absence if isinstance(parent, _STANDING_IN) else _absence(name, "a stand-in")
        return _spec(name, lambda: StandIn(name, absence))


def _absence(name: str, stand_in: str) -> str:
    """Note that a module is not there. Returns the clause that says so, and what to do."""
    top = name.partition(".")[0]
    there = top in sys.modules and not is_stub(top)
    what = f"{name} is not there" if there else f"{name} is not installed"
    notes[f"{what}; {stand_in} takes its place"] = None
    return f"{what}; {'add' if there else 'install'} it, or do without"


def _spec(name: str, make: Callable[[], object]) -> importlib.machinery.ModuleSpec:
    return importlib.machinery.ModuleSpec(name, _Loader(make), is_package=True)


def is_stub(name: str) -> bool:
    """Whether the module of that name in sys.modules is a stand-in."""
    return isinstance(sys.modules.get(name), _STANDING_IN)


def within(name: str, package: str) -> bool:
    """Whether a module is a package or below it."""
    return name == package or name.startswith(package + ".")
