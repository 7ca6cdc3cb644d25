"""Which statements of a function make a value: followed through names, attributes and calls, never run."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bncheck.recognition.names import RATES, plain
from bncheck.source.script import Function, Scope

Keys = tuple[object, ...]
"""The way into a value: the constants by which tuples, lists and dicts are subscripted."""

LAID_OUT = (
    *("reshape", "transpose", "swapaxes", "moveaxis", "squeeze", "ravel", "flatten", "astype", "copy", "view"),
    *("array", "asarray", "ascontiguousarray"),
)
"""What changes how a value stands, and not what it is."""

EMPTY = ("zeros", "zeros_like", "empty", "empty_like", "zero_grad", "list", "dict")
"""What makes room for a value that is written later."""


@dataclass(frozen=True, slots=True)
class Place:
    """A name or an attribute, as `ast` writes it, and the constants that subscript it."""

    text: str
    keys: Keys = ()

    @classmethod
    def of(cls, node: ast.expr) -> Place | None:
        """Where an expression stands; None of one that is no place. An index that varies is left out: dx of dx[i]."""
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
    """A statement that writes to a place: `value` has it at `keys`. `renews` says that nothing older is left there."""

    statement: ast.stmt
    value: ast.expr
    keys: Keys
    renews: bool


class Making:
    """What makes values in one file. What was found out about a place once is kept, so that circles end.

    `apart` are names, as `plain` has them, that are not followed from a sum in which they are a term.
    """

    def __init__(self, apart: frozenset[str] = frozenset()) -> None:
        self._apart = apart
        self._known: dict[tuple[Function, Place | Keys], list[ast.stmt]] = {}

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

    def assigned(self, scope: Scope, place: Place) -> list[ast.stmt]:
        """The statements of a function that make what it leaves at a place; none where it writes nothing there."""
        if (scope.function, place) not in self._known:
            self._known[scope.function, place] = []
            writes = _lasting(list(_writes(scope, place)))
            self._known[scope.function, place] = in_turn([self._written(scope, place, write) for write in writes])
        return self._known[scope.function, place]

    def _written(self, scope: Scope, place: Place, write: Write) -> list[ast.stmt]:
        """Of dx = dx1 that statement too: the mistake may be in what it leaves out."""
        whole = self._made(scope, write.value, write.keys, write.statement)
        renamed = isinstance(write.value, ast.Name) and place.is_name and not write.keys
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
                terms = (Place(name) for name in _terms(value) if plain(name) not in self._apart)
                return [statement, *in_turn([self.assigned(scope, term) for term in terms])]
        found = self._elsewhere(scope, value, keys)
        return found if found or _has_none(scope, value, keys) else [statement]

    def _elsewhere(self, scope: Scope, value: ast.expr, keys: Keys) -> list[ast.stmt]:
        """What makes a value that is a place or a call; nothing where it comes from outside."""
        if isinstance(value, ast.Call):
            callee = scope.called(value)
            return [] if callee is None else self.returned(callee, keys)
        place = Place.of(value)
        return [] if place is None else self.assigned(scope, Place(place.text, (*place.keys, *keys)))


def in_turn(lists: Sequence[Sequence[ast.stmt]]) -> list[ast.stmt]:
    """The first of each list, then the second of each; every statement once."""
    longest = max(map(len, lists), default=0)
    ranked = (steps[rank] for rank in range(longest) for steps in lists if rank < len(steps))
    return list({id(step): step for step in ranked}.values())


def target_of(node: ast.expr) -> Place | None:
    """The place that a convention names, as `self.dgamma` or as `update(self.gamma)`."""
    match node:
        case ast.Call(ast.Name("update"), [place]):
            return Place.of(place)
    return Place.of(node)


def written(scope: Scope) -> list[Place]:
    """Every place that a function writes to, as often as it does."""
    targets = (target for statement in scope.statements() for target, _, _ in _pairs(statement))
    return [place for target in targets if (place := Place.of(target)) is not None]


# --- writes --------------------------------------------------------------------------------------------------------


def _writes(scope: Scope, place: Place) -> Iterator[Write]:
    unconditional = set(map(id, scope.function.body))
    for statement in scope.statements():
        for target, value, keys in _pairs(statement):
            there = Place.of(target)
            if there is None or there.text != place.text:
                continue
            within, shared = there.keys[: len(place.keys)], place.keys[: len(there.keys)]
            if within != shared:
                continue
            rest = (*keys, *place.keys[len(there.keys) :])
            whole = isinstance(statement, ast.Assign | ast.AnnAssign) and not isinstance(target, ast.Subscript)
            top = id(statement) in unconditional
            yield Write(statement, value, rest, whole and top and not _mentions(value, place.text))


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
    """Those of which something is left: not what is overwritten, nor what only makes room for the others."""
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
    place = Place.of(node)
    return place is not None and plain(place.text.rpartition(".")[2]) in RATES


def _items(value: ast.Dict | ast.Call) -> Iterator[tuple[object, ast.expr]]:
    """What stands in {'dx': dx} and in dict(dx=dx), by its constant keys."""
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
