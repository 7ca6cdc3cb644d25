"""Files of other people, loaded as modules. Runs where the code under check runs."""

from __future__ import annotations

import contextlib
import difflib
import importlib.machinery
import importlib.util
import os
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bncheck.files.dropped import take_back
from bncheck.files.execution import PATIENCE, Finder, Loader, TookLong, enter, execute, failures, limited, told
from bncheck.files.project import ProjectFile, in_project, in_root, is_path, split
from bncheck.files.source import parse, spelling
from bncheck.files.stub import MissingFinder, StubFinder, is_stub, notes, sources, within
from bncheck.workers.worker import shown, size, theirs

LARGEST = 10_000_000
"""Bytes that a file may have: the largest that people write have a tenth of it, and some of a device have no end."""

LISTED = 12
"""Names of a file that a message lists."""

_LOADED: set[str] = set()
"""The modules that the last load has brought: the next may bring others of the same names."""


class LoadError(Exception):
    """A module cannot be loaded; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A module: its namespace, dotted name and file, and the name that was asked for, which may be None.

    `notes` say what was made up for when it was imported, each in a sentence.
    """

    namespace: Mapping[str, object]
    module: str
    path: str
    wanted: str | None
    notes: tuple[str, ...] = ()


def load(place: str, root: str = "", stub: Sequence[str] = ()) -> Loaded:
    """The module at `layers.py`, `layers.py:BatchNorm`, `package.module` or `package.module:name`, executed afresh.

    `root` is the folder that its absolute imports start from; found where it is empty. `stub` names modules that
    others stand in for. Code that is run by the import may print; whoever calls sees to that.
    Raises LoadError, and what no import should end in: KeyboardInterrupt, MemoryError.
    """
    head, wanted = split(place)
    _check_stubs(stub)
    _forget_the_last()
    before = set(sys.modules)
    try:
        with _quiet_surroundings(), _standing_in(stub), limited(PATIENCE):
            module = _from_file(head, root) if is_path(head) else _from_name(head, root)
    finally:
        _LOADED.update(name for name in set(sys.modules) - before if _is_theirs(name))
    loaded = Loaded(vars(module), module.__name__, getattr(module, "__file__", None) or "", wanted, tuple(notes))
    if loaded.module in failures and not any(_defined(loaded)):
        sys.modules.pop(loaded.module, None)
        raise LoadError(f"{failures[loaded.module]}; a file must import before it can be checked")
    if wanted is not None and wanted not in loaded.namespace:
        raise LoadError("\n".join([_no_such_name(head, wanted, loaded), *(f"note: {note}" for note in notes)]))
    return loaded


@contextlib.contextmanager
def modules_kept() -> Iterator[None]:
    """Restore sys.modules afterwards: theirs and stubs go, and the modules that these stood in for come back.

    What theirs have imported of Python itself and of installed packages stays: not all of them can be imported twice.
    """
    before, finders = sys.modules.copy(), sys.meta_path.copy()
    try:
        yield
    finally:
        for name in [name for name in sys.modules.keys() - before.keys() if _is_theirs(name) or is_stub(name)]:
            del sys.modules[name]
        sys.modules.update(before)
        sys.meta_path[:] = finders
        _LOADED.clear()
        take_back()


def _from_file(head: str, root: str) -> types.ModuleType:
    file = Path(os.path.expanduser(head)).absolute()
    with _explained():
        tree = parse(str(file), text_of(file, head)).tree
        found = in_root(file, _root(root)) if root else in_project(file, tree)
        _look_in(found.roots)
        return _execute(found)


def _execute(found: ProjectFile) -> types.ModuleType:
    package, _, stem = found.module.rpartition(".")
    parent = enter(package, found.file.parent) if package else None
    if found.module in sys.modules and _is_file_of(sys.modules[found.module], found.file):
        return sys.modules[found.module]  # its package imports it
    loader = Loader(found.module, str(found.file))
    spec = importlib.util.spec_from_file_location(found.module, found.file, loader=loader)
    assert spec is not None
    return execute(spec, parent, stem)


def _from_name(head: str, root: str) -> types.ModuleType:
    if not all(part.isidentifier() for part in head.split(".")):
        raise LoadError(f"'{head}' is neither a file nor a module; write layers.py:Name or package.module:name")
    if head.partition(".")[0] in sys.stdlib_module_names:
        raise LoadError(
            f"{head} is a module of Python itself, which has no batch normalisation; for a file write its path"
        )
    _look_in((_root(root),))
    with _explained(head):
        return importlib.import_module(head)


def text_of(file: Path, head: str) -> str:
    """The text of a file, in UTF-8 or what its first lines declare. Raises LoadError."""
    if not file.exists():
        there = [path.name for path in file.parent.glob("*.py") if path.exists()]
        near = difflib.get_close_matches(file.name, there, n=1)
        hint = f"did you mean {shown(str(file.with_name(near[0])))}?" if near else "check the path"
        raise LoadError(f"there is no file {head}; {hint}")
    if file.is_dir():
        inside = sorted(path.name for path in file.glob("*.py"))
        example = f", such as {os.path.join(head, inside[0])}" if inside else ""
        raise LoadError(f"{head} is a folder; name a file in it{example}")
    if file.suffix == ".ipynb":
        raise LoadError(f"{head} is a notebook; save its code as a .py file, or call bncheck.check in the notebook")
    if not file.is_file():
        raise LoadError(f"{head} is a pipe or a device, expected a file; save it as a file first")
    try:
        with file.open("rb") as opened:
            data = opened.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise LoadError(f"{head} has more than {size(LARGEST)}, which no code has; name the file that is meant")
        if b"\0" in data:
            line = data.count(b"\n", 0, data.index(b"\0")) + 1
            raise LoadError(f"{head}:{line} has a null byte, which is no text; save the file as UTF-8")
        first = data.split(b"\n", 2)[:2]
        declared = next((number for number, line in enumerate(first, 1) if b"coding" in line), 0)
        if not declared:
            data.decode()
        return importlib.util.decode_source(data)
    except OSError as error:
        raise LoadError(f"{head} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise LoadError(
            f"{head}:{line} is not {error.encoding.upper()}: byte 0x{data[error.start]:02x} is no text in it; save the "
            f"file as UTF-8, or name its encoding in its first line (# -*- coding: latin-1 -*-)"
        ) from error
    except SyntaxError as error:
        raise LoadError(f"{head}:{declared} declares an encoding in which it cannot be read: {error.msg}") from error


@contextlib.contextmanager
def _explained(asked: str = "") -> Iterator[None]:
    """Turn whatever an import raises into a LoadError. `asked` is a module that is missing by itself, in no file."""
    try:
        yield
    except (LoadError, MemoryError):
        raise
    except (Exception, SystemExit, TookLong) as error:
        if spelling(error):
            raise LoadError(told(error)) from error
        name = error.name or "" if isinstance(error, ModuleNotFoundError) else ""
        if name and (asked == name or asked.startswith(name + ".")):
            raise LoadError(_no_such_module(name)) from error
        must = "it must run to" if isinstance(error, SyntaxError) else "a file must import before it can"
        raise LoadError(f"{told(error)}; {must} be checked") from error


def _no_such_module(name: str) -> str:
    parent = name.rpartition(".")[0]
    what = f"{parent} has no module {name.rpartition('.')[2]}" if parent else f"there is no module {name}"
    return f"{what}; is it installed, and is its folder the working directory, or `root:` of the config?"


def _defined(loaded: Loaded) -> Iterator[str]:
    """The functions and classes that a module defines itself, by name."""
    for name, value in loaded.namespace.items():
        if callable(value) and getattr(value, "__module__", "") == loaded.module:
            yield name


def _no_such_name(head: str, wanted: str, loaded: Loaded) -> str:
    """The message for a name that is not there; it lists functions and classes that are imported only where all are."""
    everything = [name for name, value in loaded.namespace.items() if callable(value)]
    names = [name for name in [*_defined(loaded)] or everything if not name.startswith("_")]
    if not wanted:
        return f"{head}: names nothing after the colon; it has {_listed(names)}"
    near = difflib.get_close_matches(wanted, names, n=1)
    return f"{head} has no {wanted}; {f'did you mean {near[0]}? ' if near else ''}it has {_listed(names)}"


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "no function and no class"
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def _check_stubs(stubs: Sequence[str]) -> None:
    for stub in stubs:
        if not all(part.isidentifier() for part in stub.split(".")):
            raise LoadError(f"stub: '{stub}' is no name of a module; write one such as cv2 or torch.nn")
        if stub.partition(".")[0] in ("numpy", "bncheck", "sys", "builtins"):
            raise LoadError(f"stub: {stub} cannot be a stub, because checking needs it; take it out of the list")


def _root(root: str) -> Path:
    folder = Path(os.path.expanduser(root)).absolute()
    if not folder.is_dir():
        raise LoadError(f"root: {root} is no folder; name the one that the imports of the file start from")
    return folder


def _look_in(roots: Sequence[Path]) -> None:
    """Put folders in front of sys.path, once each."""
    folders = [str(root) for root in roots]
    sys.path[:] = [*folders, *(folder for folder in sys.path if folder not in folders)]
    importlib.invalidate_caches()


@contextlib.contextmanager
def _quiet_surroundings() -> Iterator[None]:
    """Hide our own arguments, which a script would parse, and leave no __pycache__ in their folders."""
    arguments, bytecode = sys.argv, sys.dont_write_bytecode
    sys.argv, sys.dont_write_bytecode = arguments[:1], True
    try:
        yield
    finally:
        sys.argv, sys.dont_write_bytecode = arguments, bytecode


@contextlib.contextmanager
def _standing_in(stubs: Sequence[str]) -> Iterator[None]:
    """Let stubs stand in for modules, even for those that are there, and stand-ins for those that are missing.

    Afterwards a module that was there before is there again; the others stay, for imports inside functions.
    """
    sys.meta_path[:] = [
        finder for finder in sys.meta_path if not isinstance(finder, (StubFinder, Finder, MissingFinder))
    ]
    _take_out(is_stub)
    there = _take_out(lambda name: any(within(name, stub) for stub in stubs))
    at = sys.meta_path.index(importlib.machinery.PathFinder)
    sys.meta_path[:] = [*map(StubFinder, stubs), *sys.meta_path[:at], Finder(), *sys.meta_path[at:], MissingFinder()]
    try:
        yield
    finally:
        if there:
            _take_out(lambda name: any(within(name, stub) for stub in stubs))
        sys.modules.update(there)


def _take_out(which: Callable[[str], bool]) -> dict[str, types.ModuleType]:
    """Take modules out of sys.modules. Returns them."""
    return {name: sys.modules.pop(name) for name in list(sys.modules) if which(name)}


def _forget_the_last() -> None:
    for name in _LOADED:
        sys.modules.pop(name, None)
    for last in (_LOADED, notes, failures, sources):
        last.clear()
    take_back()


def _is_theirs(name: str) -> bool:
    """Whether a module is a file of the user's project, or a package that is nothing but folders of it."""
    held = getattr(sys.modules.get(name), "__dict__", {})  # getattr may run code of a module that loads when it is used
    paths = [held.get("__file__")] if held.get("__file__") else list(held.get("__path__") or ())
    return any(theirs(path) for path in paths if isinstance(path, str))


def _is_file_of(module: types.ModuleType, file: Path) -> bool:
    origin = getattr(module, "__file__", None)
    return isinstance(origin, str) and Path(origin) == file
