"""Somebody's source file, read and never run: its functions, and which of them call which."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Function = ast.FunctionDef | ast.AsyncFunctionDef

LEVELS = 2
"""Calls that are followed from a function."""


@dataclass(frozen=True, slots=True)
class Scope:
    """A function in a file.

    Of a method, `kin` are the classes that `self` is of, its own first, and `home` is its place among them; `outer` is
    what it is defined in.
    """

    module: ast.Module
    function: Function
    kin: tuple[ast.ClassDef, ...] = ()
    home: int = 0
    outer: Scope | None = None

    @property
    def first_line(self) -> int:
        """Where it begins, its decorators included."""
        return min(node.lineno for node in (self.function, *self.function.decorator_list))

    def statements(self) -> Iterator[ast.stmt]:
        """All of its statements in their order, without those of the functions and classes in it."""
        return within(self.function.body)

    def called(self, call: ast.Call) -> Scope | None:
        """The function of the same file that is called there, by its name, on self, on super() or on a class."""
        match call.func:
            case ast.Name(name):
                return self._named(name)
            case ast.Attribute(ast.Name(name), method) if name in self._selves:
                return _method(self.module, self.kin, method, 0)
            case ast.Attribute(ast.Call(ast.Name("super")), method):
                return _method(self.module, self.kin, method, self.home + 1)
            case ast.Attribute(ast.Name(name), method):
                return _method(self.module, _kin(self.module, name), method, 0)
        return None

    def reach(self) -> list[Scope]:
        """It, and the functions of the same file that it calls, LEVELS deep."""
        found = [self]
        last = [self]
        for _ in range(LEVELS):
            last = [callee for scope in last for callee in scope._callees()]
            found += last
        first: dict[int, Scope] = {}
        for scope in found:
            first.setdefault(id(scope.function), scope)
        return list(first.values())

    def _callees(self) -> list[Scope]:
        calls = (node for node in ast.walk(self.function) if isinstance(node, ast.Call))
        return [callee for call in calls if (callee := self.called(call)) is not None]

    @property
    def _selves(self) -> tuple[str, ...]:
        first = [*self.function.args.posonlyargs, *self.function.args.args][:1]
        return tuple(argument.arg for argument in first) if self.kin else ()

    def _named(self, name: str) -> Scope | None:
        outer: Scope | None = self
        while outer is not None:
            inner = _defined(name, outer.function.body)
            if inner is not None:
                return Scope(self.module, inner, outer=outer) if isinstance(inner, Function) else None
            outer = outer.outer
        found = _defined(name, self.module.body)
        return Scope(self.module, found) if isinstance(found, Function) else None


def function_of(module: ast.Module, qualified: str) -> Scope | None:
    """The function of a qualified name, `batchnorm_backward`, `BatchNorm.backward` or `test.<locals>.backward`.

    The last one, where there are several. A method may be inherited from a class of the same file.
    """
    scope: Scope | None = None
    body: Sequence[ast.stmt] = module.body
    kin: tuple[ast.ClassDef, ...] = ()
    for name in qualified.replace("<locals>.", "").split("."):
        if kin:
            scope = _method(module, kin, name, 0)
            if scope is None:
                return None
            body, kin = scope.function.body, ()
            continue
        found = _defined(name, body)
        if found is None:
            return None
        body = found.body
        if isinstance(found, ast.ClassDef):
            kin = _ancestry(module, found)
            scope = None
        else:
            scope = Scope(module, found, outer=scope)
    return scope


def within(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements and those inside them, in their order; functions and classes are not looked into."""
    for statement in body:
        yield statement
        if not isinstance(statement, Function | ast.ClassDef):
            for _, field in ast.iter_fields(statement):
                if isinstance(field, list):
                    yield from _inside(field)


def _inside(field: Sequence[object]) -> Iterator[ast.stmt]:
    yield from within([item for item in field if isinstance(item, ast.stmt)])
    for item in field:
        if isinstance(item, ast.ExceptHandler | ast.match_case):
            yield from within(item.body)


def _defined(name: str, body: Sequence[ast.stmt]) -> Function | ast.ClassDef | None:
    found = [item for item in within(body) if isinstance(item, Function | ast.ClassDef) and item.name == name]
    return found[-1] if found else None


def _kin(module: ast.Module, name: str) -> tuple[ast.ClassDef, ...]:
    found = _defined(name, module.body)
    return _ancestry(module, found) if isinstance(found, ast.ClassDef) else ()


def _ancestry(module: ast.Module, owner: ast.ClassDef) -> tuple[ast.ClassDef, ...]:
    """A class and its bases in the same file, each once."""
    found = [owner]
    for item in found:
        for base in item.bases:
            if isinstance(base, ast.Name):
                other = _defined(base.id, module.body)
                if isinstance(other, ast.ClassDef) and other not in found:
                    found.append(other)
    return tuple(found)


def _method(module: ast.Module, kin: tuple[ast.ClassDef, ...], name: str, begin: int) -> Scope | None:
    """The method that the first of the classes has, from `begin` on."""
    for place, owner in enumerate(kin[begin:], begin):
        found = _defined(name, owner.body)
        if isinstance(found, Function):
            return Scope(module, found, kin, place)
    return None
