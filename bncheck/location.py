"""Where in somebody's file the mistakes stand that were found in their backward pass."""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bncheck.diagnosis import Finding
from bncheck.explanation import Statement
from bncheck.faults import BY_NAME
from bncheck.hypotheses import SAME_DX
from bncheck.implementations.convention import Convention
from bncheck.implementations.culprit import shown
from bncheck.implementations.expression import Attribute, Call, Expression, Name, Tuple
from bncheck.implementations.making import Keys
from bncheck.implementations.pattern import Group, Target
from bncheck.implementations.plan import Plan, parsed
from bncheck.implementations.script import Scope, function_of
from bncheck.implementations.whereabouts import Backward, Entry, chosen, text_of

SYMBOLS: Mapping[str, tuple[str, ...]] = {
    "dx_hat": ("dx_hat", "dx"),
    "direct": ("dx",),
    "through var": ("dx",),
    "through mean": ("dx",),
    "batch": ("dx",),
}
"""What is made where a fault in a term may stand, if that is not the term itself."""

OTHER_COUNTS = ("n/d", "n/N", "1/N")
"""Factors of which another number stands where n belongs."""

WRAPPINGS = 8
"""Decorators that are taken off a function."""


def located(findings: Sequence[Finding], namespace: Mapping[str, Any], convention: Convention) -> tuple[Finding, ...]:
    """The findings with the statements in which they stand: at most three each, or the line where backward begins.

    Without any where the source cannot be had, or is not what runs. Nothing of theirs is called for it.
    """
    try:
        source = _source_of(namespace, convention)
        if source is None:
            return tuple(findings)
        return tuple(replace(finding, statements=source.statements(finding)) for finding in findings)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # no Python, or nested too deeply for ours
        return tuple(findings)


@dataclass(frozen=True, slots=True)
class Source:
    """The text of a file with a backward pass in it."""

    file: str
    text: str
    backward: Backward

    def statements(self, finding: Finding) -> tuple[Statement, ...]:
        """Where a mistake stands."""
        found = [self.backward.of(symbol) for symbol in symbols_of(finding)]
        if "x" in finding.rows and not any(found):
            found = [self.backward.of("dx")]
        if any(factor in OTHER_COUNTS for _, factor in finding.keys):
            found.append(self.backward.counts([step for steps in found for step in steps]))
        nodes = chosen(found) or [self.backward.begin()]
        return tuple(Statement(shown(self.file), node.lineno, text_of(node, self.text)) for node in nodes)


def symbols_of(finding: Finding) -> tuple[str, ...]:
    """What is made where the mistake stands: dvar, dx ..., the likeliest first."""
    faults = [BY_NAME[name] for name in finding.faults]
    terms = [fault.term for fault in faults if fault.spoil is None]
    terms += [formula.partition(" =")[0] for fault in faults if fault.spoil for formula in fault.breaks.split("; ")]
    if not faults:
        keys = [term for term, _ in finding.keys]
        terms = [same for same, term in SAME_DX.items() if term in keys] + keys
    symbols = [symbol for term in terms for symbol in SYMBOLS.get(term, (term,))]
    return tuple(dict.fromkeys(symbols or [f"d{row}" for row in finding.rows]))


def _source_of(namespace: Mapping[str, Any], convention: Convention) -> Source | None:
    """The file of what is called for the gradients; of the first of several calls, and those in the same file."""
    plan = parsed(convention)
    found = [(_defined(call, plan, namespace), keys) for call, keys in _calls(plan.backward.expression)]
    known = [(definition, keys) for definition, keys in found if definition is not None]
    if not known:
        return None
    file, text = known[0][0].file, known[0][0].text
    entries = tuple(Entry(definition.scope, keys) for definition, keys in known if definition.file == file)
    places = {f"d{row}": ast.parse(text, mode="eval").body for row, text in convention.gradients}
    return Source(file, text, Backward(entries, dict(_results(plan.backward.target)), places))


def _calls(expression: Expression) -> Iterator[tuple[Call, Keys]]:
    """The calls of a pattern, and where their results stand in its own."""
    match expression:
        case Call():
            yield expression, ()
        case Tuple(items):
            for place, item in enumerate(items):
                for call, keys in _calls(item):
                    yield call, (place, *keys)


def _results(target: Target | None, keys: Keys = ()) -> Iterator[tuple[str, Keys]]:
    """Where each name is found in what is returned."""
    match target:
        case str():
            yield target, keys
        case Group(targets):
            for place, inner in enumerate(targets):
                yield from _results(inner, (*keys, place))


# --- from what runs to where it is written -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Definition:
    """A function that runs, in the text of its file."""

    file: str
    text: str
    scope: Scope


def _defined(call: Call, plan: Plan, namespace: Mapping[str, Any]) -> Definition | None:
    """What a pattern calls."""
    match call.function:
        case Name("self"):
            return _method(_created(plan, namespace), "__call__", namespace)
        case Name(name):
            return _found(namespace.get(name), str(namespace.get("__file__", "")), (name,))
        case Attribute(Name("self"), name) if plan.create is not None:
            return _method(_created(plan, namespace), name, namespace)
        case Attribute(of, name):
            owner = _value(of, namespace)
            if isinstance(owner, types.ModuleType):
                return _found(vars(owner).get(name), str(vars(owner).get("__file__", "")), (name,))
            return _method(owner, name, namespace)
    return None


def _created(plan: Plan, namespace: Mapping[str, Any]) -> object:
    """The class of `self`; None where it is made by something else."""
    return _value(plan.create.function, namespace) if isinstance(plan.create, Call) else None


def _value(expression: Expression, namespace: Mapping[str, Any]) -> object:
    """What a name, or an attribute of a module, stands for."""
    match expression:
        case Name(name):
            return namespace.get(name)
        case Attribute(of, name):
            return inspect.getattr_static(_value(of, namespace), name, None)
    return None


def _method(owner: object, name: str, namespace: Mapping[str, Any]) -> Definition | None:
    if not isinstance(owner, type):
        return None
    for home in inspect.getmro(owner):
        if name in vars(home):
            module = namespace if home.__module__ == namespace.get("__name__") else _module(home.__module__)
            names = (f"{owner.__qualname__}.{name}", f"{home.__qualname__}.{name}")
            return _found(vars(home)[name], str(module.get("__file__", "")), names)
    return None


def _module(name: str) -> Mapping[str, Any]:
    return vars(sys.modules[name]) if name in sys.modules else {}


def _found(value: object, file: str, names: tuple[str, ...]) -> Definition | None:
    """A function in the file that it says it is of, on the line that it says; else, by its name, in `file`.

    What a decorator has put in its place says nothing of it.
    """
    function = _unwrapped(value)
    if not isinstance(function, types.FunctionType):
        return _written(file, names, 0)
    code = function.__code__
    if "<locals>" not in function.__qualname__ or not file:
        return _written(code.co_filename, (*names, function.__qualname__), code.co_firstlineno)
    return _written(file, names, 0)


def _written(file: str, names: tuple[str, ...], line: int) -> Definition | None:
    """The first of the names that is a function of the file and begins on the line, if one is given."""
    linecache.checkcache(file)
    text = "".join(linecache.getlines(file))
    if not text:
        return None
    module = _tree(text)
    for name in names:
        scope = function_of(module, name)
        if scope is not None and line in (0, scope.first_line):
            return Definition(file, text, scope)
    return None


@functools.lru_cache(maxsize=4)
def _tree(text: str) -> ast.Module:
    """A file that fails in one case fails in the next."""
    return ast.parse(text)


def _unwrapped(value: object) -> object:
    """What a method or a decorator has inside."""
    for _ in range(WRAPPINGS):
        match value:
            case staticmethod() | classmethod() | types.MethodType():
                value = value.__func__
            case functools.partial():
                value = value.func
            case _:
                inner = inspect.getattr_static(value, "__wrapped__", None)
                if inner is None:
                    return value
                value = inner
    return value
