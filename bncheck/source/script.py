"""Somebody's source file, read and never run: which functions call which, and which statements make a value.

It knows Python alone, and nothing of batch normalisation; `location` looks through it for gradients.
"""

from __future__ import annotations

import ast
import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bncheck.recognition.names import RATES, plain

Function = ast.FunctionDef | ast.AsyncFunctionDef

LEVELS = 2  # calls that are followed from a function

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


@dataclass(frozen=True, slots=True, eq=False)
class Script:
    """A source file; `defined` has its functions and classes by qualified name, without `<locals>`.

    Where there are several of one name, it is the last.
    """

    file: str
    text: str
    defined: Mapping[str, Function | ast.ClassDef]

    def function(self, qualified: str) -> Scope | None:
        """The function `batchnorm_backward`, `BatchNorm.backward` or `test.<locals>.backward`, if there is one.

        A method may be inherited from a class of the same file.
        """
        name = qualified.replace("<locals>.", "")
        owner, _, method = name.rpartition(".")
        if isinstance(self.defined.get(owner), ast.ClassDef):
            return self.method(owner, method)
        found = self.defined.get(name)
        return Scope(self, name, found) if isinstance(found, Function) else None

    def method(self, owner: str, name: str, after: str = "") -> Scope | None:
        """The method of a class, its own or inherited; `after` a class among its bases, that of super() there."""
        classes = [owner]
        for each in classes:
            bases = [base.id for base in getattr(self.defined.get(each), "bases", ()) if isinstance(base, ast.Name)]
            known = (base for base in bases if isinstance(self.defined.get(base), ast.ClassDef))
            classes += [base for base in known if base not in classes]
        for home in classes[classes.index(after) + 1 :] if after else classes:
            found = self.defined.get(f"{home}.{name}")
            if isinstance(found, Function):
                return Scope(self, f"{home}.{name}", found, owner)
        return None


@dataclass(frozen=True, slots=True)
class Scope:
    """A function in a file, by its qualified name; `owner` is the class that `self` is of, empty where it is none."""

    script: Script
    name: str
    function: Function
    owner: str = ""

    @property
    def first_line(self) -> int:
        """The line on which it begins, its decorators included."""
        return min(node.lineno for node in (self.function, *self.function.decorator_list))

    def statements(self) -> Iterator[ast.stmt]:
        """Its statements in their order, without those of the functions and classes in it."""
        return within(self.function)

    def by_line(self) -> dict[int, ast.stmt]:
        """The innermost statement on each of its lines."""
        return {line: step for step in self.statements() for line in range(step.lineno, (step.end_lineno or 0) + 1)}

    def called(self, call: ast.Call) -> Scope | None:
        """The function of the same file that is called there, by its name, on self, on super() or on a class."""
        match call.func:
            case ast.Name(name):
                return self._named(name)
            case ast.Attribute(ast.Call(ast.Name("super")), method) if self.owner:
                return self.script.method(self.owner, method, after=self.name.rpartition(".")[0])
            case ast.Attribute(ast.Name(name), method):
                first = [*self.function.args.posonlyargs, *self.function.args.args][:1]
                is_self = bool(self.owner) and name in [argument.arg for argument in first]
                return self.script.method(self.owner if is_self else name, method)
        return None

    def _named(self, name: str) -> Scope | None:
        """The function that a name means here: one of its own, of a function around it, or of the file."""
        around = self.name
        while around:
            inner = f"{around}.{name}"
            if inner in self.script.defined and isinstance(self.script.defined[around], Function):
                return self.script.function(inner)
            around = around.rpartition(".")[0]
        return self.script.function(name)

    def reach(self) -> list[Scope]:
        """This function and those of the same file that it calls, LEVELS deep."""
        found = {self.name: self}
        last = [self]
        for _ in range(LEVELS):
            calls = [(scope, call) for scope in last for call in ast.walk(scope.function) if isinstance(call, ast.Call)]
            last = [callee for scope, call in calls if (callee := scope.called(call)) is not None]
            for callee in last:
                found.setdefault(callee.name, callee)
        return list(found.values())


@functools.lru_cache(maxsize=4)  # a file that fails in one case fails in the next
def script_of(file: str, text: str) -> Script:
    """A file, read."""
    return Script(file, text, dict(_defined_in(ast.parse(text), "")))


def within(node: ast.AST) -> Iterator[ast.stmt]:
    """The statements inside a node, in their order; functions and classes among them are not looked into."""
    for inner in ast.iter_child_nodes(node):
        if isinstance(inner, ast.stmt):
            yield inner
        if not isinstance(inner, Function | ast.ClassDef | ast.expr):
            yield from within(inner)


def _defined_in(node: ast.AST, prefix: str) -> Iterator[tuple[str, Function | ast.ClassDef]]:
    last = {item.name: item for item in within(node) if isinstance(item, Function | ast.ClassDef)}
    for name, item in last.items():
        yield f"{prefix}{name}", item
        yield from _defined_in(item, f"{prefix}{name}.")


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
    def name(self) -> str:
        """The name alone, without what it is an attribute of, in the spelling in which names are compared."""
        return plain(self.text.rpartition(".")[2])


RETURNED = "<return>"
"""The variable that a return writes to."""


@dataclass(frozen=True, slots=True)
class Write:
    """A statement that writes to a variable: `value` has it at `keys`. `renews` says that nothing older is left."""

    statement: ast.stmt
    value: ast.expr
    keys: Keys
    renews: bool


class DataFlow:
    """The statements that make each value in one file. Answers are kept, so that circles end."""

    def __init__(self) -> None:
        self._known: dict[tuple[Scope, Variable], list[ast.stmt]] = {}

    def assigned(self, scope: Scope, variable: Variable) -> list[ast.stmt]:
        """The statements of a function that make the value of a variable; none where it writes none."""
        if (scope, variable) not in self._known:
            self._known[scope, variable] = []
            writes = _lasting(list(_writes(scope, variable)))
            self._known[scope, variable] = in_turn([self._written(scope, variable, write) for write in writes])
        return self._known[scope, variable]

    def _written(self, scope: Scope, variable: Variable, write: Write) -> list[ast.stmt]:
        """The statements of one write; dx = dx1 is one of them, since the mistake may be in what it leaves out."""
        whole = self._made(scope, write.value, write.keys, write.statement)
        renamed = isinstance(write.value, ast.Name) and variable.text.isidentifier() and not write.keys
        return [write.statement, *whole] if renamed and not variable.keys else whole

    def _made(self, scope: Scope, value: ast.expr, keys: Keys, statement: ast.stmt) -> list[ast.stmt]:
        """The statements that make what is at `keys` of an expression in `statement`: that one, or those before it."""
        value = _without_layout(value)
        match value:
            case ast.IfExp(_, first, second):
                return [step for one in (first, second) for step in self._made(scope, one, keys, statement)]
            case ast.Tuple() | ast.List() | ast.Dict() | ast.Call(ast.Name("dict"), []) if keys:
                items = _items(value)
                return self._made(scope, items[keys[0]], keys[1:], statement) if keys[0] in items else []
            case ast.Constant(held):
                return [] if keys or held is None else [statement]
            case ast.BinOp():
                terms = map(Variable, _terms(value))
                return [] if keys else [statement, *in_turn([self.assigned(scope, term) for term in terms])]
        found: list[ast.stmt] = []
        if isinstance(value, ast.Call):
            callee = scope.called(value)
            found = [] if callee is None else self.assigned(callee, Variable(RETURNED, keys))
        elif variable := Variable.of(value):
            found = self.assigned(scope, Variable(variable.text, (*variable.keys, *keys)))
        # `return out` of a variable that holds something else than a tuple or a dict does not give the second of it.
        has_none = keys and isinstance(value, ast.Name) and any(place.text == value.id for place in written(scope))
        return found if found or has_none else [statement]


def in_turn(lists: Sequence[Sequence[ast.stmt]]) -> list[ast.stmt]:
    """The first of each list, then the second of each; every statement once."""
    ranked = (step for rank in itertools.zip_longest(*lists) for step in rank if step is not None)
    return list({id(step): step for step in ranked}.values())


def written(scope: Scope) -> list[Variable]:
    """Every variable that a function writes to, as often as it does."""
    return [place for statement in scope.statements() for place in targets(statement)]


def targets(statement: ast.stmt) -> list[Variable]:
    """The variables that a statement writes to."""
    return [place for target, _, _ in _pairs(statement) if (place := Variable.of(target)) is not None]


# --- writes --------------------------------------------------------------------------------------------------------


def _writes(scope: Scope, variable: Variable) -> Iterator[Write]:
    for statement in scope.statements():
        for target, value, keys in _pairs(statement):
            there = Variable.of(target)
            if there is None or there.text != variable.text:
                continue
            shared = min(len(there.keys), len(variable.keys))
            if there.keys[:shared] != variable.keys[:shared]:
                continue
            whole = isinstance(statement, ast.Assign | ast.AnnAssign) and not isinstance(target, ast.Subscript)
            renews = whole and statement in scope.function.body and not _mentions(value, variable.text)
            yield Write(statement, value, (*keys, *variable.keys[shared:]), renews)


def _pairs(statement: ast.stmt) -> Iterator[tuple[ast.expr, ast.expr, Keys]]:
    """Every target of a statement, and the expression in which its value stands at some keys."""
    match statement:
        case ast.Assign(targets, value):
            for target in targets:
                yield from _unpacked(target, value, ())
        case ast.AnnAssign(target, _, ast.expr() as value) | ast.AugAssign(target, _, value):
            yield target, value, ()
        case ast.Return(ast.expr() as value):
            yield ast.Name(RETURNED), value, ()
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
    kept = [write for write in writes if isinstance(write.statement, ast.Return) or not _is_room(write.value)] or writes
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


def _mentions(value: ast.expr, text: str) -> bool:
    return any(isinstance(node, ast.Name | ast.Attribute) and ast.unparse(node) == text for node in ast.walk(value))


# --- expressions -----------------------------------------------------------------------------------------------------


def _without_layout(value: ast.expr) -> ast.expr:
    """x of x.reshape(...), np.transpose(x) and x.T: as far as a place or a call is reached."""
    while True:
        match value:
            case ast.Attribute(of, "T"):
                value = of
            case ast.Call(ast.Attribute(ast.Name("np" | "numpy"), name), [of, *_]) if name in LAID_OUT:
                value = of
            case ast.Call(ast.Attribute(of, name)) if name in LAID_OUT:
                value = of
            case _:
                return value


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
    return place is not None and place.name in RATES


def _items(value: ast.expr) -> dict[object, ast.expr]:
    """The items of (dx, dgamma), {'dx': dx} and dict(dx=dx), by the constants that subscript them."""
    match value:
        case ast.Tuple(items) | ast.List(items):
            return {place: items[place] for place in range(-len(items), len(items))}
        case ast.Dict(names, items):
            pairs = zip(names, items, strict=True)
            return {name.value: item for name, item in pairs if isinstance(name, ast.Constant)}
        case ast.Call():
            return {keyword.arg: keyword.value for keyword in value.keywords}
    return {}
