"""Projects around files: the name that a file has there, and the folders in which its imports are looked for."""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from bncheck.workers.worker import theirs

FILES = 100
"""Files of a project whose imports are looked at: its layers hang on few, and a project may have thousands."""


@dataclass(frozen=True, slots=True)
class ProjectFile:
    """A file, the dotted name of its module, and the folders that belong in front of sys.path."""

    file: Path
    module: str
    roots: tuple[Path, ...]


def split(place: str) -> tuple[str, str | None]:
    """The file or module of `layers.py:BatchNorm`, and the name in it, which may be None.

    The colons of `C:\\layers.py` and of `my:layers.py` do not divide.
    """
    head, colon, name = place.rpartition(":")
    if not colon or "/" in name or "\\" in name or name.endswith(".py"):
        return place, None
    return head, name


def is_path(head: str) -> bool:
    """Whether a file is meant, rather than a module to import. A package in the working directory is a module."""
    if head.endswith(".py") or "/" in head or os.sep in head:
        return True
    return os.path.exists(head) and not os.path.exists(os.path.join(head, "__init__.py"))


def in_root(file: Path, root: Path) -> ProjectFile:
    """A file in the root that its user has named; a file outside of it is a module by itself."""
    below = file.is_relative_to(root)
    return ProjectFile(file, _dotted(file, root) if below else _safe(file.stem), (root,))


def in_project(file: Path, tree: ast.Module) -> ProjectFile:
    """A file in the project that is found around it.

    The root is the folder above its packages, and at least as far up as its relative imports reach. In front come
    the folders further up in which its absolute imports are found, and those of the files that it so imports.
    """
    root = _above_packages(file, _depth(tree))
    roots = dict.fromkeys((root,))
    waiting, seen = [(file, tree)], {file}
    while waiting and len(seen) < FILES:
        path, parsed = waiting.pop(0)
        for name in _imported(parsed):
            found = _found_above(path, name, tuple(roots))
            if found is None or found[1] in seen:
                continue
            roots[found[0]] = None
            seen.add(found[1])
            if (other := _parsed(found[1])) is not None:
                waiting.append((found[1], other))
    return ProjectFile(file, _dotted(file, root), tuple(roots))


def _above_packages(file: Path, levels: int) -> Path:
    """The topmost folder that is in no package, but at least `levels` up: a package may lack its __init__.py."""
    folder = file.parent
    while folder != folder.parent and (levels > 0 or (folder / "__init__.py").exists()):
        folder, levels = folder.parent, levels - 1
    return folder


def _depth(tree: ast.Module) -> int:
    """The number of folders that its relative imports go up: 1 for `from .im2col import *`."""
    return max((node.level for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)), default=0)


def _dotted(file: Path, root: Path) -> str:
    """The dotted name of a file below a root."""
    first, *others = (part.replace(".", "_") for part in file.relative_to(root).with_suffix("").parts)
    there = getattr(sys.modules.get(first), "__file__", None)
    return ".".join((first if others and there and theirs(there) else _safe(first), *others))


def _safe(stem: str) -> str:
    """A name for a file or a folder that takes no other module's place: a user's random.py is not Python's."""
    name = stem.replace(".", "_")
    there = getattr(sys.modules.get(name), "__spec__", None)
    return f"loaded_{name}" if name in sys.stdlib_module_names or there is not None else name


def _imported(tree: ast.Module) -> Iterator[str]:
    """The dotted names that a file imports absolutely, wherever in it, but for Python's own."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names = [node.module]
        yield from (name for name in names if name.partition(".")[0] not in sys.stdlib_module_names)


def _found_above(file: Path, name: str, roots: tuple[Path, ...]) -> tuple[Path, Path] | None:
    """The folder at or above a file in which a module is found, and the module's file; None where there is none.

    Beyond the roots and the file's own folder, an installed package of that name comes first.
    """
    near = dict.fromkeys((*roots, file.parent))
    for folder in chain(near, (None,), file.parents):
        if folder is None:
            if _is_installed(name.partition(".")[0]):
                return None
        elif (module := _module_file(folder, name)) is not None:
            return folder, module
        elif folder not in near and (folder / ".git").exists():
            return None  # what lies above the repository is another project's
    return None


def _module_file(folder: Path, name: str) -> Path | None:
    """The file of a module below a folder. A package without __init__.py counts if the module in it is there."""
    base = folder.joinpath(*name.split("."))
    return next((path for path in (base / "__init__.py", base.with_name(base.name + ".py")) if path.is_file()), None)


def _is_installed(name: str) -> bool:
    """Whether a package of that name can be imported without the project."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _parsed(file: Path) -> ast.Module | None:
    """The tree of a file; None where it does not parse, as whoever imports it will be told."""
    try:
        return ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None
