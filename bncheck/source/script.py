"""Somebody's source file, read and never run: which functions call which, and which statements make a value.

It knows Python alone, and nothing of batch normalisation; `location` looks through it for gradients.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bncheck.recognition.names import RATES, plain

Function = ast.FunctionDef | ast.AsyncFunctionDef

LEVELS = 2
"""Calls that are followed from a function."""

Keys = tuple[object, ...]
"""The way into a value: the constants by which tuples, lists and dicts are subscripted."""

LAID_OUT = (
    *("reshape", "transpose", "swapaxes", "moveaxis", "squeeze", "ravel", "flatten", "astype", "copy", "view"),
    *("array", "asarray", "ascontiguousarray"),
)
"""Methods and functions that change the layout of a value alone."""

EMPTY = ("zeros", "zeros_like", "empty", "empty_like", "zero_grad", "list", "dict")
"""Functions that make room for a value that is written later."""

# --- functions, and which of them call which --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scope:
    """A function in a file.

    Of a method, `classes` are those that `self` is of, its own first, and `defined_in` is the number of the one that
    it stands in; `outer` is the function around it.
    """

    module: ast.Module
    function: Function
    classes: tuple[ast.ClassDef, ...] = ()
    defined_in: int = 0
    outer: Scope | None = None

    @property
    def first_line(self) -> int:
        """The line on which it begins, its decorators included."""
        return min(node.lineno for node in (self.function, *self.function.decorator_list))

    def statements(self) -> Iterator[ast.stmt]:
        """Its statements in their order, without those of the functions and classes in it."""
        return within(self.function.body)

    def called(self, call: ast.Call) -> Scope | None:
        """The function of the same file that is called there, by its name, on self, on super() or on a class."""
        match call.func:
            case ast.Name(name):
                return self._named(name)
            case ast.Attribute(ast.Name(name), method) if name in self._selves:
                return _method(self.module, self.classes, method, 0)
            case ast.Attribute(ast.Call(ast.Name("super")), method):
                return _method(self.module, self.classes, method, self.defined_in + 1)
            case ast.Attribute(ast.Name(name), method):
                return _method(self.module, _classes_of(self.module, name), method, 0)
        return None

    def reach(self) -> list[Scope]:
        """This function and those of the same file that it calls, LEVELS deep."""
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
        return tuple(argument.arg for argument in first) if self.classes else ()

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
    classes: tuple[ast.ClassDef, ...] = ()
    for name in qualified.replace("<locals>.", "").split("."):
        if classes:
            scope = _method(module, classes, name, 0)
            if scope is None:
                return None
            body, classes = scope.function.body, ()
            continue
        found = _defined(name, body)
        if found is None:
            return None
        body = found.body
        if isinstance(found, ast.ClassDef):
            classes = _ancestry(module, found)
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


def _classes_of(module: ast.Module, name: str) -> tuple[ast.ClassDef, ...]:
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


def _method(module: ast.Module, classes: tuple[ast.ClassDef, ...], name: str, begin: int) -> Scope | None:
    """The method that the first of the classes has, from `begin` on."""
    for place, owner in enumerate(classes[begin:], begin):
        found = _defined(name, owner.body)
        if isinstance(found, Function):
            return Scope(module, found, classes, place)
    return None


# --- the statements that make a value ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Variable:
    """A name or an attribute, as `ast` writes it, and the constants that subscript it."""

    text: str
    keys: Keys = ()

    @classmethod
    def of(cls, node: ast.expr) -> Variable | None:
        """The variable of an expression; None where it is none. An index that varies is left out: dx of dx[i]."""
        keys: Keys = ()
        while isinstance(node, ast.Subscript):
            keys = (node.slice.value, *keys) if isinstance(node.slice, ast.Constant) else ()
            node = node.value
        return cls(ast.unparse(node), keys) if isinstance(node, ast.Name | ast.Attribute) else None

    @property
    def is_name(self) -> bool:
        """Whether it is a variable of the function."""
        return self.text.isidentifier() and not self.keys


@dataclass(frozen=True, slots=True)
class Write:
    """A statement that writes to a variable: `value` has it at `keys`. `renews` says that nothing older is left."""

    statement: ast.stmt
    value: ast.expr
    keys: Keys
    renews: bool


class DataFlow:
    """The statements that make each value in one file. Answers are kept, so that circles end.

    `apart` are names, as `plain` has them, that are not followed from a sum in which they are a term.
    """

    def __init__(self, apart: frozenset[str] = frozenset()) -> None:
        self._apart = apart
        self._known: dict[tuple[Function, Variable | Keys], list[ast.stmt]] = {}

    def returned(self, scope: Scope, keys: Keys) -> list[ast.stmt]:
        """The statements that make what a function returns at `keys`."""
        if (scope.function, keys) not in self._known:
            self._known[scope.function, keys] = []
            self._known[scope.function, keys] = in_turn(
                [
                    self._made(scope, statement.value, keys, statement)
                    for statement in scope.statements()
                    if isinstance(statement, ast.Return) and statement.value is not None
                ]
            )
        return self._known[scope.function, keys]

    def assigned(self, scope: Scope, variable: Variable) -> list[ast.stmt]:
        """The statements of a function that make the value of a variable; none where it writes none."""
        if (scope.function, variable) not in self._known:
            self._known[scope.function, variable] = []
            writes = _lasting(list(_writes(scope, variable)))
            self._known[scope.function, variable] = in_turn([self._written(scope, variable, write) for write in writes])
        return self._known[scope.function, variable]

    def _written(self, scope: Scope, variable: Variable, write: Write) -> list[ast.stmt]:
        """The statements of one write; dx = dx1 is one of them, since the mistake may be in what it leaves out."""
        whole = self._made(scope, write.value, write.keys, write.statement)
        renamed = isinstance(write.value, ast.Name) and variable.is_name and not write.keys
        return [write.statement, *whole] if renamed else whole

    def _made(self, scope: Scope, value: ast.expr, keys: Keys, statement: ast.stmt) -> list[ast.stmt]:
        """The statements that make what is at `keys` of an expression in `statement`: that one, or those before it."""
        value = _without_layout(value)
        match value:
            case ast.IfExp(_, first, second):
                return [step for one in (first, second) for step in self._made(scope, one, keys, statement)]
            case ast.Tuple(items) | ast.List(items) if keys:
                at = keys[0]
                if not isinstance(at, int) or not -len(items) <= at < len(items):
                    return []
                return self._made(scope, items[at], keys[1:], statement)
            case ast.Dict() | ast.Call(ast.Name("dict"), []) if keys:
                items = [item for name, item in _items(value) if name == keys[0]]
                return self._made(scope, items[-1], keys[1:], statement) if items else []
            case ast.Constant(held):
                return [] if keys or held is None else [statement]
            case ast.BinOp():
                if keys:
                    return []
                terms = (Variable(name) for name in _terms(value) if plain(name) not in self._apart)
                return [statement, *in_turn([self.assigned(scope, term) for term in terms])]
        found = self._elsewhere(scope, value, keys)
        return found if found or _has_none(scope, value, keys) else [statement]

    def _elsewhere(self, scope: Scope, value: ast.expr, keys: Keys) -> list[ast.stmt]:
        """The statements that make a value which is a variable or a call; none where it comes from outside."""
        if isinstance(value, ast.Call):
            callee = scope.called(value)
            return [] if callee is None else self.returned(callee, keys)
        variable = Variable.of(value)
        return [] if variable is None else self.assigned(scope, Variable(variable.text, (*variable.keys, *keys)))


def in_turn(lists: Sequence[Sequence[ast.stmt]]) -> list[ast.stmt]:
    """The first of each list, then the second of each; every statement once."""
    longest = max(map(len, lists), default=0)
    ranked = (steps[rank] for rank in range(longest) for steps in lists if rank < len(steps))
    return list({id(step): step for step in ranked}.values())


def target_of(node: ast.expr) -> Variable | None:
    """The variable that a convention names, as `self.dgamma` or as `update(self.gamma)`."""
    match node:
        case ast.Call(ast.Name("update"), [place]):
            return Variable.of(place)
    return Variable.of(node)


def written(scope: Scope) -> list[Variable]:
    """Every variable that a function writes to, as often as it does."""
    targets = (target for statement in scope.statements() for target, _, _ in _pairs(statement))
    return [place for target in targets if (place := Variable.of(target)) is not None]


# --- writes --------------------------------------------------------------------------------------------------------


def _writes(scope: Scope, variable: Variable) -> Iterator[Write]:
    unconditional = set(map(id, scope.function.body))
    for statement in scope.statements():
        for target, value, keys in _pairs(statement):
            there = Variable.of(target)
            if there is None or there.text != variable.text:
                continue
            within, shared = there.keys[: len(variable.keys)], variable.keys[: len(there.keys)]
            if within != shared:
                continue
            rest = (*keys, *variable.keys[len(there.keys) :])
            whole = isinstance(statement, ast.Assign | ast.AnnAssign) and not isinstance(target, ast.Subscript)
            top = id(statement) in unconditional
            yield Write(statement, value, rest, whole and top and not _mentions(value, variable.text))


def _pairs(statement: ast.stmt) -> Iterator[tuple[ast.expr, ast.expr, Keys]]:
    """Every target of a statement, and the expression in which its value stands at some keys."""
    match statement:
        case ast.Assign(targets, value):
            for target in targets:
                yield from _unpacked(target, value, ())
        case ast.AnnAssign(target, _, ast.expr() as value) | ast.AugAssign(target, _, value):
            yield target, value, ()
        case ast.Expr(ast.Call(ast.Attribute(target, "append"), [value])):
            yield target, value, ()
        case ast.Expr(ast.Call(ast.Attribute(target, "update"), [], given)):
            for one in given:
                yield ast.Subscript(target, ast.Constant(one.arg)), one.value, ()


def _unpacked(target: ast.expr, value: ast.expr, keys: Keys) -> Iterator[tuple[ast.expr, ast.expr, Keys]]:
    if not isinstance(target, ast.Tuple | ast.List):
        yield target, value, keys
        return
    items = value.elts if isinstance(value, ast.Tuple | ast.List) and not keys else []
    for place, inner in enumerate(target.elts):
        if isinstance(inner, ast.Starred):
            return
        if len(items) == len(target.elts):
            yield from _unpacked(inner, items[place], ())
        else:
            yield from _unpacked(inner, value, (*keys, place))


def _lasting(writes: list[Write]) -> list[Write]:
    """The writes of which something is left: not overwritten, and not only making room for the others."""
    kept = [write for write in writes if not _is_room(write.value)] or writes
    last = max((place for place, write in enumerate(kept) if write.renews), default=0)
    return kept[last:]


def _is_room(value: ast.expr) -> bool:
    match value:
        case ast.Constant(held):
            return held is None or held == 0
        case ast.List([]) | ast.Dict([]) | ast.Tuple([]):
            return True
        case ast.Call(ast.Attribute(_, name) | ast.Name(name)):
            return name in EMPTY
    return False


# --- expressions -----------------------------------------------------------------------------------------------------


def _without_layout(value: ast.expr) -> ast.expr:
    """x of x.reshape(...), np.transpose(x) and x.T: as far as a place or a call is reached."""
    inner = value
    while True:
        match inner:
            case ast.Attribute(of, "T"):
                inner = of
            case ast.Call(ast.Attribute(ast.Name("np" | "numpy"), name), [of, *_]) if name in LAID_OUT:
                inner = of
            case ast.Call(ast.Attribute(of, name)) if name in LAID_OUT and not _is_module(of):
                inner = of
            case _:
                return inner


def _is_module(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("np", "numpy")


def _terms(value: ast.expr) -> list[str]:
    """The names that are terms of a sum, and those that a learning rate multiplies."""
    match value:
        case ast.Name(name):
            return [name]
        case ast.BinOp(left, ast.Add() | ast.Sub(), right):
            return [*_terms(left), *_terms(right)]
        case ast.BinOp(rate, ast.Mult(), other) | ast.BinOp(other, ast.Mult(), rate) if _is_rate(rate):
            return _terms(other)
    return []


def _is_rate(node: ast.expr) -> bool:
    place = Variable.of(node)
    return place is not None and plain(place.text.rpartition(".")[2]) in RATES


def _items(value: ast.Dict | ast.Call) -> Iterator[tuple[object, ast.expr]]:
    """The items of {'dx': dx} and of dict(dx=dx), by their constant keys."""
    if isinstance(value, ast.Call):
        yield from ((keyword.arg, keyword.value) for keyword in value.keywords)
        return
    for name, item in zip(value.keys, value.values, strict=True):
        if isinstance(name, ast.Constant):
            yield name.value, item


def _has_none(scope: Scope, value: ast.expr, keys: Keys) -> bool:
    """Whether it is a variable that holds something else than a tuple or a dict: out of `return out`."""
    return bool(keys) and isinstance(value, ast.Name) and any(place.text == value.id for place in written(scope))


def _mentions(value: ast.expr, text: str) -> bool:
    return any(isinstance(node, ast.Name | ast.Attribute) and ast.unparse(node) == text for node in ast.walk(value))
