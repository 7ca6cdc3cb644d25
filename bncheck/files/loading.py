"""Files of other people, loaded as modules. Runs where the code under check runs."""

from __future__ import annotations

import ast
import contextlib
import difflib
import importlib
import importlib.machinery
import importlib.util
import os
import re
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bncheck.files.project import ProjectFile, in_project, in_root, is_path, split
from bncheck.files.stub import importing, is_stub
from bncheck.workers.worker import exit_argument, place_of, said, shown, theirs

LISTED = 12
"""Names of a file that a message lists."""

_LOADED: set[str] = set()
"""The modules that the last load has brought: the next may bring others of the same names."""


class LoadError(Exception):
    """A module cannot be loaded; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A module: its namespace, dotted name and file, and the name that was asked for, which may be None."""

    namespace: Mapping[str, object]
    module: str
    path: str
    wanted: str | None


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
        with _quiet_surroundings(), importing(stub):
            module = _from_file(head, root) if is_path(head) else _from_name(head, root)
    finally:
        _LOADED.update(name for name in set(sys.modules) - before if _is_theirs(name))
    loaded = Loaded(vars(module), module.__name__, getattr(module, "__file__", None) or "", wanted)
    if wanted is not None and wanted not in loaded.namespace:
        raise LoadError(_no_such_name(head, wanted, loaded))
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


def _from_file(head: str, root: str) -> types.ModuleType:
    file = Path(head).expanduser().absolute()
    tree = _parse(file, _read(file, head))
    found = in_root(file, _root(root)) if root else in_project(file, tree)
    _look_in(found.roots)
    with _explained():
        return _execute(found, tree)


def _execute(found: ProjectFile, tree: ast.Module) -> types.ModuleType:
    """Compile and run a file as a module, from what was read: a cached .pyc may be older, of the same second."""
    package, _, stem = found.module.rpartition(".")
    parent = importlib.import_module(package) if package else None
    if found.module in sys.modules and _is_file_of(sys.modules[found.module], found.file):
        return sys.modules[found.module]  # its package imports it
    spec = importlib.util.spec_from_file_location(found.module, found.file)
    if spec is None:  # a name that does not end in .py
        spec = importlib.machinery.ModuleSpec(found.module, None, origin=str(found.file))
    module = importlib.util.module_from_spec(spec)
    module.__file__ = str(found.file)
    sys.modules[found.module] = module
    try:
        exec(compile(tree, str(found.file), "exec", dont_inherit=True), vars(module))
    except BaseException:
        sys.modules.pop(found.module, None)
        raise
    if parent is not None:
        setattr(parent, stem, module)
    return sys.modules.get(found.module, module)


def _from_name(head: str, root: str) -> types.ModuleType:
    if not all(head.split(".")):
        raise LoadError(f"'{head}' is neither a file nor a module; write layers.py:Name or package.module:name")
    _look_in((_root(root),))
    with _explained(head):
        return importlib.import_module(head)


def _read(file: Path, head: str) -> str:
    """The text of a file, in UTF-8 or what its first lines declare. Raises LoadError."""
    if not file.exists():
        near = difflib.get_close_matches(file.name, [path.name for path in file.parent.glob("*.py")], n=1)
        hint = f"did you mean {shown(str(file.with_name(near[0])))}?" if near else "check the path"
        raise LoadError(f"there is no file {head}; {hint}")
    if file.is_dir():
        inside = sorted(path.name for path in file.glob("*.py"))
        example = f", such as {os.path.join(head, inside[0])}" if inside else ""
        raise LoadError(f"{head} is a folder; name a file in it{example}")
    if file.suffix == ".ipynb":
        raise LoadError(f"{head} is a notebook; save its code as a .py file, or call bncheck.check in the notebook")
    try:
        data = file.read_bytes()
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
        raise LoadError(f"{head}:1 declares an encoding that Python does not know: {error.msg}") from error


def _parse(file: Path, source: str) -> ast.Module:
    with _explained():
        return ast.parse(source, str(file))


def _check_stubs(stubs: Sequence[str]) -> None:
    for stub in stubs:
        if stub.partition(".")[0] in ("numpy", "bncheck", "sys", "builtins"):
            raise LoadError(f"stub: {stub} cannot be a stub, because checking needs it; take it out of the list")


def _root(root: str) -> Path:
    folder = Path(root).expanduser().absolute()
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


def _forget_the_last() -> None:
    for name in _LOADED:
        sys.modules.pop(name, None)
    _LOADED.clear()


def _is_theirs(name: str) -> bool:
    """Whether a module is a file of the user's project, or a package that is nothing but folders of it."""
    file = getattr(sys.modules[name], "__file__", None)
    paths = [file] if isinstance(file, str) else getattr(sys.modules[name], "__path__", ())
    return any(theirs(path) for path in paths)


def _is_file_of(module: types.ModuleType, file: Path) -> bool:
    origin = getattr(module, "__file__", None)
    return isinstance(origin, str) and Path(origin) == file


# --- what an import raises, as messages ----------------------------------------------------------------------------


@contextlib.contextmanager
def _explained(asked: str = "") -> Iterator[None]:
    """Turn whatever an import raises into a LoadError. `asked` is a module that is missing by itself, in no file."""
    try:
        yield
    except (LoadError, MemoryError):
        raise
    except SystemExit as error:
        raise LoadError(
            f"{_where(error)} called sys.exit({exit_argument(error)}) when it was imported; move what a script does "
            f'below `if __name__ == "__main__":`'
        ) from error
    except SyntaxError as error:
        raise LoadError(_no_python(error)) from error
    except ModuleNotFoundError as error:
        raise LoadError(_missing(error, asked)) from error
    except NameError as error:
        raise LoadError(_python_2_name(error, _where(error)) or _raised(error)) from error
    except Exception as error:
        raise LoadError(_python_2_import(error, _where(error)) or _raised(error)) from error


def _no_python(error: SyntaxError) -> str:
    where = shown(error.filename or "the file")
    line, text = error.lineno or 1, (error.text or "").strip()
    old = _python_2_syntax(text, error.msg)
    if old:
        return _python_2(f"{where}:{line}", old)
    quoted = f", in `{text[:80]}`" if text else ""
    return f"{where}:{line}:{error.offset or 1} does not parse: {error.msg}{quoted}; it must run to be checked"


def _missing(error: ModuleNotFoundError, asked: str) -> str:
    name, where = error.name or "", _where(error)
    if asked and (asked == name or asked.startswith(name + ".")):
        parent = name.rpartition(".")[0]
        what = f"{parent} has no module {name.rpartition('.')[2]}" if parent else f"there is no module {name}"
        return f"{what}; is it installed, and is its folder the working directory, or `root:` of the config?"
    if name in _MODULES:
        return _python_2(where, f"module {name}")
    top = name.partition(".")[0]
    fault = "is not installed; install it" if top == name and top not in sys.modules else f"{top} does not have; add it"
    return f"{where} imports {name}, which {fault}, or add `stub: [{name}]` if batch normalisation does not need it"


def _raised(error: Exception) -> str:
    return f"{_where(error)} raised {said(error)} when it was imported; a file must import before it can be checked"


def _where(error: BaseException) -> str:
    return place_of(error) or "the module"


def _no_such_name(head: str, wanted: str, loaded: Loaded) -> str:
    """The message for a name that is not there; it lists functions and classes that are imported only where all are."""
    public = [name for name, value in loaded.namespace.items() if callable(value) and not name.startswith("_")]
    names = [name for name in public if getattr(loaded.namespace[name], "__module__", "") == loaded.module] or public
    if not wanted:
        return f"{head}: names nothing after the colon; it has {_listed(names)}"
    near = difflib.get_close_matches(wanted, names, n=1)
    return f"{head} has no {wanted}; {f'did you mean {near[0]}? ' if near else ''}it has {_listed(names)}"


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "no function and no class"
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


# --- Python 2 ---------------------------------------------------------------------------------------------------


_MODULES = {
    "cPickle": "pickle",
    "StringIO": "io",
    "cStringIO": "io",
    "urllib2": "urllib.request",
    "urlparse": "urllib.parse",
    "Queue": "queue",
    "ConfigParser": "configparser",
    "Tkinter": "tkinter",
    "__builtin__": "builtins",
    "copy_reg": "copyreg",
    "commands": "subprocess",
}
"""Modules of Python 2, and what has taken their place."""

_NAMES = frozenset(
    ("xrange", "unicode", "raw_input", "basestring", "long", "reduce", "unichr", "execfile", "reload", "cmp", "file")
)

_SYNTAX = (
    (r"^print\b", r"call to 'print'", "print statement"),
    (r"^exec\b", r"call to 'exec'", "exec statement"),
    (r"^except\b.+,", r"parenthesized|invalid syntax", "except X, e"),
    (r"^raise\b.+,", r"invalid syntax", "raise X, message"),
    (r"`", r"invalid syntax", "backticks"),
    (r"<>", r"invalid syntax", "the operator <>"),
    (r"\b0\d+", r"leading zeros", "an octal number without 0o"),
    (r"\d[lL]\b", r"invalid (decimal|syntax)", "a long number"),
    (r"\bur['\"]", r"invalid syntax", "a string with ur"),
)
"""Syntax of Python 2: what the line has, what Python 3 says of it, and the name of it."""


def _python_2_syntax(line: str, message: str) -> str:
    """The name of the syntax of Python 2 in a line that does not parse; empty where it is something else."""
    matches = (what for pattern, says, what in _SYNTAX if re.search(pattern, line) and re.search(says, message))
    return next(matches, "")


def _python_2_name(error: NameError, where: str) -> str:
    """The message for a name that only Python 2 has; empty for any other."""
    return _python_2(where, error.name) if error.name in _NAMES else ""


def _python_2_import(error: Exception, where: str) -> str:
    """The message for `from itertools import izip` and its like; empty for any other error."""
    gone = re.match(r"cannot import name '(izip|imap|ifilter|izip_longest)' from 'itertools'", str(error))
    return _python_2(where, f"itertools.{gone[1]}") if gone else ""


def _python_2(where: str, what: str) -> str:
    """The message that a file is of Python 2, which it has `what` of."""
    return f"{where} is Python 2 ({what}); bncheck runs Python 3: convert it with 2to3"
