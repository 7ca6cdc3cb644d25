"""The text of a file of theirs, parsed: whether it is Python 3, and what is asked of it while it is executed."""

from __future__ import annotations

import ast
import builtins
import re
import symtable
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from types import FrameType

# --- Python 2 ---------------------------------------------------------------------------------------------------


MODULES = {
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


def spelling(error: BaseException) -> str:
    """The feature of Python 2 that an exception comes from, such as "print statement"; empty where it is none."""
    if isinstance(error, SyntaxError):
        line = (error.text or "").strip()
        matches = (what for pattern, says, what in _SYNTAX if re.search(pattern, line) and re.search(says, error.msg))
        return next(matches, "")
    if isinstance(error, ModuleNotFoundError):
        return f"module {error.name}" if error.name in MODULES else ""
    if isinstance(error, ImportError):
        gone = re.match(r"cannot import name '(izip|imap|ifilter|izip_longest)' from 'itertools'", str(error))
        return f"itertools.{gone[1]}" if gone else ""
    return error.name if isinstance(error, NameError) and error.name in _NAMES else ""


def sentence(where: str, what: str) -> str:
    """The whole message."""
    return f"{where} is Python 2 ({what}); bncheck runs Python 3: convert it with 2to3"


# --- Python 3 ---------------------------------------------------------------------------------------------------


NOTEBOOK = re.compile(r"^([ \t]*)([%!]\w.*)$", re.MULTILINE)
"""A line that a notebook runs and Python does not: %matplotlib inline, !pip install."""

_LEAVING = ("exit", "quit", "_exit", "abort")


@dataclass(frozen=True)
class Source:
    """A file: its path, the text as Python reads it, the tree, and the lines that only a notebook runs."""

    path: str
    text: str
    tree: ast.Module
    left_out: tuple[str, ...] = ()

    def guarded(self, line: int, error: type[BaseException]) -> bool:
        """Whether the file itself provides for an exception at a line, and goes on without what it tried."""
        names = {kind.__name__ for kind in error.__mro__}
        return any(names & caught for lines, caught in self._guards if line in lines)

    def decorates(self, line: int) -> bool:
        """Whether a decorator stands in a line."""
        return any(line in lines for lines in self._decorators)

    @cached_property
    def unbound(self) -> tuple[str, ...]:
        """The names that it uses and neither binds nor has from Python: an import of everything must bring them."""
        top = symtable.symtable(self.text, self.path, "exec")
        bound = {one.get_name() for one in top.get_symbols() if one.is_assigned() or one.is_imported()}
        used = dict.fromkeys(
            one.get_name()
            for table in _tables(top)
            for one in table.get_symbols()
            if one.is_referenced() and (one.is_global() or table is top)
        )
        return tuple(name for name in used if name not in bound and not hasattr(builtins, name))

    @cached_property
    def _guards(self) -> list[tuple[range, set[str]]]:
        return [
            (
                _lines(node.body),
                {name for handler in node.handlers if not _gives_up(handler) for name in _caught(handler)},
            )
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Try)
        ] + [
            (_lines(node.body), {name for item in node.items for name in _suppressed(item.context_expr)})
            for node in ast.walk(self.tree)
            if isinstance(node, ast.With)
        ]

    @cached_property
    def _decorators(self) -> list[range]:
        definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        found = (node.decorator_list for node in ast.walk(self.tree) if isinstance(node, definitions))
        return [_lines([decorator]) for decorators in found for decorator in decorators]


def parse(path: str, text: str) -> Source:
    """The file with a text. Raises SyntaxError."""
    try:
        return Source(path, text, ast.parse(text, path))
    except (MemoryError, RecursionError):
        raise SyntaxError("nested too deeply for Python", (path, 1, 1, None)) from None
    except SyntaxError as error:
        error.filename = path  # which Python does not say of a null byte
        plain = NOTEBOOK.sub(r"\1pass", text)
        if plain == text:
            raise
        try:
            tree = ast.parse(plain, path)
        except SyntaxError:
            pass
        else:
            lines = [(text.count("\n", 0, found.start(2)) + 1, found[2]) for found in NOTEBOOK.finditer(text)]
            return Source(path, plain, tree, tuple(f"{line}: `{code.strip()[:60]}`" for line, code in lines))
        raise


def _tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from _tables(child)


def _lines(nodes: list[ast.stmt] | list[ast.expr]) -> range:
    return range(nodes[0].lineno, (nodes[-1].end_lineno or nodes[-1].lineno) + 1)


def _caught(handler: ast.ExceptHandler) -> set[str]:
    """The names of the exceptions that a handler catches."""
    return {"BaseException"} if handler.type is None else _names(handler.type)


def _suppressed(call: ast.expr) -> set[str]:
    """The names of the exceptions that `with suppress(...)` passes over."""
    if not isinstance(call, ast.Call) or "suppress" not in _names(call.func):
        return set()
    return {name for argument in call.args for name in _names(argument)}


def _names(node: ast.expr) -> set[str]:
    return {
        inner.id if isinstance(inner, ast.Name) else inner.attr
        for inner in ast.walk(node)
        if isinstance(inner, (ast.Name, ast.Attribute))
    }


def _gives_up(handler: ast.ExceptHandler) -> bool:
    """Whether a handler does nothing but end the program in another way."""
    return any(
        isinstance(node, ast.Raise) or (isinstance(node, ast.Call) and _names(node.func) & set(_LEAVING))
        for node in ast.walk(handler)
    )


def calling_frames(frame: FrameType | None) -> Iterator[FrameType]:
    """A frame and those that have called it, the innermost first."""
    while frame is not None:
        yield frame
        frame = frame.f_back
