"""Which gradient is which, of what a backward returned or left behind: by name and place, never by value.

Whoever picks the reading that makes most rows right lets swapped gradients pass. Names are those in the return
statement, those that they were assigned from, those of attributes and keys, and those in the docstring; shapes tell dx
from the rest. Where nothing says it, the order is dx, dgamma, dbeta.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from bncheck.recognition.names import ROLES, plain
from bncheck.recognition.places import Leaf, gradient_rank, is_container, is_gradient_of, is_leaf, leaves_of
from bncheck.recognition.signature import tree_of

RETURNED = ("x", "gamma", "beta")
USUAL = ("dx", "dgamma", "dbeta")
ROWS = (*RETURNED, "mean", "var")
_X_NAMES = (
    *("dx", "dinput", "dinputs", "gradinput", "gradinputs", "dz", "dldz", "da", "gradx", "inputgrad", "dxin", "din"),
    *("xgrad", "dldx", "dlossdx", "inputgradient", "gradientx", "deltax", "dxs", "dprev", "daprev", "dinp", "gradin"),
)
_STATISTICS = {"mean": ("dmean", "dmu", "dmeans", "gradmean"), "var": ("dvar", "dsigma2", "dvariance", "gradvar")}
_SUMS = ("sum", "mean", "average", "einsum", "dot", "matmul", "reduce")
_RESHAPING = ("reshape", "copy", "astype", "squeeze", "ravel", "flatten")
_FOLLOWED = 3
"""Calls that are followed from a return statement: return self._backward_train(dout)."""


@dataclass(frozen=True, slots=True)
class Left:
    """The leaves of a layer after backward, their values before it, and where its gamma and beta are put."""

    after: tuple[Leaf, ...]
    before: Mapping[str, Any]
    places: Mapping[str, str]
    rate_known: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """The targets of a backward, and the gradients that are found elsewhere.

    `by_order` where nothing says which of the returned values is dgamma and which dbeta.
    """

    target: str
    gradients: tuple[tuple[str, str], ...]
    by_order: bool = False

    @property
    def is_unusual(self) -> bool:
        """Whether dx, dgamma and dbeta are returned in another order than this."""
        order = [name for name in re.findall(r"\w+", self.target) if name in USUAL]
        return order != [name for name in USUAL if name in order]

    @property
    def rows(self) -> frozenset[str]:
        """The parameters that have a gradient at all."""
        names = re.findall(r"\w+", self.target)
        return frozenset(row for row in RETURNED if f"d{row}" in names) | {row for row, _ in self.gradients}


def read(result: Any, function: Any, left: Left, shape: tuple[int, ...]) -> Reading:
    """The reading of what `function` returned; `shape` is that of x in its hands."""
    target, by_order, inside = _of_result(result, function, shape)
    items = _items_put_in(function)
    gradients: list[tuple[str, str]] = []
    for row in RETURNED:
        if f"d{row}" not in re.findall(r"\w+", target):
            place = _place_of(row, inside, left, shape, {}) or _place_of(row, left.after, left, shape, items)
            place = place or _update(row, left)
            gradients += [(row, place)] if place else []
    if not target and "x" not in dict(gradients):
        target = "dx"
    return Reading(target, tuple(gradients), by_order)


def row_of(*steps: str) -> str:
    """The row whose gradient a name is, or a place by the names on the way there; empty where it is none."""
    name = plain(steps[-1])
    if name in _X_NAMES or (name in ROLES["x"] and len(steps) > 1 and is_container(steps[-2])):
        return "x"
    found = [row for row in ("gamma", "beta") if gradient_rank(steps, row) > 1]
    return found[0] if found else next((row for row, words in _STATISTICS.items() if name in words), "")


# --- what was returned ------------------------------------------------------------------------------------------


def _of_result(result: Any, function: Any, shape: tuple[int, ...]) -> tuple[str, bool, list[Leaf]]:
    """The targets, whether the order alone told dgamma from dbeta, and what is inside of dictionaries and objects."""
    is_tuple = isinstance(result, tuple | list)
    values = list(_flat(result)) if is_tuple else [result]
    kept: dict[int, str] = {}
    inside: list[Leaf] = []
    for value in values:
        name = f"grads{len(kept) or ''}"
        leaves = [] if isinstance(value, tuple | list) or is_leaf(value) else leaves_of(value, name, ("grads",))
        if isinstance(value, Mapping) or any(row_of(*leaf.steps) for leaf in leaves):
            kept[id(value)] = name
            inside += leaves
    if not is_tuple:
        return kept.get(id(result), "" if result is None else "dx"), False, inside
    fields = getattr(result, "_fields", ())
    told = [row_of("grads", field) for field in fields]
    rows, by_order = _assigned(values, told if len(told) == len(values) else _told_by(function, len(values)), shape)
    names = [kept.get(id(value), f"d{row}" if row else "_") for value, row in zip(values, rows, strict=True)]
    return _spelled(result, iter(names)), by_order, inside


def _flat(result: Any) -> Iterator[Any]:
    for item in result:
        if isinstance(item, tuple | list) and not _is_numbers(item):
            yield from _flat(item)
        else:
            yield item


def _is_numbers(item: Any) -> bool:
    """Whether a list is an array written as a list, or as lists in each other."""
    if isinstance(item, list) and item:
        return all(map(_is_numbers, item))
    return isinstance(item, int | float | np.number)


def _assigned(values: Sequence[Any], told: Sequence[str], shape: tuple[int, ...]) -> tuple[list[str], bool]:
    """The row of each value, empty for none; and whether dgamma and dbeta are told by their order alone."""
    rows = ["" if row in told[:number] else row for number, row in enumerate(told)]
    open_ = [n for n, row in enumerate(rows) if not row and not isinstance(values[n], Mapping)]
    if "x" not in rows and open_:
        number = next((n for n in open_ if is_leaf(values[n]) and np.shape(values[n]) == shape), open_[0])
        rows[number] = "x"
    missing = [row for row in ("gamma", "beta") if row not in rows]
    is_triple = len(values) == len(RETURNED)  # in which nothing may stand for a gradient
    fitting = [n for n in open_ if not rows[n] and (is_leaf(values[n]) or isinstance(values[n], list))]
    numbers = [n for n in open_ if not rows[n]] if is_triple else fitting
    by_order = len(missing) == 2 and len(numbers) >= 2
    for row, number in zip(missing, numbers, strict=False):
        if by_order or len(values) <= len(RETURNED):
            rows[number] = row
    return rows, by_order


def _spelled(result: Any, names: Iterator[str]) -> str:
    parts = [
        f"[{_spelled(item, names)}]" if isinstance(item, tuple | list) and not _is_numbers(item) else next(names, "_")
        for item in result
    ]
    return ", ".join(parts) + ("," if len(parts) == 1 else "")


# --- what the source says of it ---------------------------------------------------------------------------------


def _told_by(function: Any, count: int) -> list[str]:
    """The row of each of `count` returned values as the source tells it, empty where it does not."""
    for items, source in _returned_items(function, _FOLLOWED):
        if len(items) == count:
            found = [source.row_of(item) for item in items]
            if any(found):
                return found
    return _of_docstring(function, count)


@dataclass(frozen=True)
class _Source:
    """The body of a function, as a syntax tree."""

    tree: ast.FunctionDef

    @cached_property
    def assignments(self) -> list[tuple[ast.expr, ast.expr]]:
        """Every target with its value, in order; tuples of the same length item by item."""
        found: list[tuple[ast.expr, ast.expr]] = []
        for node in ast.walk(self.tree):
            if not isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign) or node.value is None:
                continue
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                match target, node.value:
                    case ast.Tuple(targets), ast.Tuple(values) if len(targets) == len(values):
                        found += zip(targets, values, strict=True)
                    case _:
                        found.append((target, node.value))
        return found

    def value_of(self, expression: ast.expr) -> ast.expr:
        """The value that a name was last assigned; the expression itself where it is no name, or was not assigned."""
        if not isinstance(expression, ast.Name):
            return expression
        values = [v for target, v in self.assignments if isinstance(target, ast.Name) and target.id == expression.id]
        return values[-1] if values else expression

    def items_of(self, expression: ast.expr) -> list[ast.expr]:
        """The items of tuples and lists in each other; the expression itself where it is none."""
        held = self.value_of(expression)
        if isinstance(held, ast.Tuple | ast.List):
            return [inner for item in held.elts for inner in self.items_of(item)]
        return [expression]

    def row_of(self, expression: ast.expr, levels: int = 2) -> str:
        """The row whose gradient an expression is, by the names in it, or by those that its value came from."""
        named = {row for word in _words_in(expression) if (row := row_of(word))}
        if named:
            return named.pop() if len(named) == 1 else ""
        if not isinstance(expression, ast.Name) or not levels:
            return _row_of_sum(expression)
        for target, value in reversed(self.assignments):
            if isinstance(value, ast.Name) and value.id == expression.id and not isinstance(target, ast.Name):
                row = next((row for word in _words_in(target) if (row := row_of(word))), "")
                if row:
                    return row
        held = self.value_of(expression)
        return "" if held is expression else self.row_of(held, levels - 1)


def _returned_items(function: Any, levels: int) -> Iterator[tuple[list[ast.expr], _Source]]:
    """The values of each return statement, the last first, with the source in which it stands."""
    tree = tree_of(function)
    if tree is None:
        return
    source = _Source(tree)
    for node in reversed(list(ast.walk(tree))):
        if not isinstance(node, ast.Return) or node.value is None:
            continue
        value = source.value_of(node.value)
        if isinstance(value, ast.Tuple | ast.List):
            yield source.items_of(value), source
        elif isinstance(value, ast.Call) and levels:
            yield from _returned_items(_callee(function, value), levels - 1)


def _callee(function: Any, call: ast.Call) -> Any:
    """The function that is called there: of the same module, or a method on self."""
    space = getattr(inspect.unwrap(function), "__globals__", {})
    match call.func:
        case ast.Name(id=name):
            return space.get(name)
        case ast.Attribute(value=ast.Name(), attr=name):
            owner = space.get(getattr(function, "__qualname__", "").rpartition(".")[0])
            return getattr(getattr(function, "__self__", None) or owner, name, None)
    return None


def _words_in(expression: ast.expr) -> Iterator[str]:
    """The names, attributes and constant keys that an expression is of, from the outside in; no arguments of sums."""
    match expression:
        case ast.Name(id=name):
            yield name
        case ast.Attribute(value=inner, attr=name):
            yield name
            yield from _words_in(inner)
        case ast.Subscript(value=inner, slice=ast.Constant(value=str() as key)):
            yield key
            if plain(key) not in ("gamma", "beta"):
                yield from _words_in(inner)
            elif any(gradient_rank((word, key), row) for word in _words_in(inner) for row in ("gamma", "beta")):
                yield f"d{plain(key)}"
        case ast.Subscript(value=inner):
            yield from _words_in(inner)
        case ast.Call(func=ast.Attribute(value=inner, attr=name)) if name in _RESHAPING:
            yield from _words_in(inner)
        case ast.Call(func=function, args=[first, *_]) if not _is_sum(function):
            yield from _words_in(first)
        case ast.BinOp(left=left, op=ast.Mult() | ast.Div(), right=ast.Constant() | ast.Name()):
            yield from _words_in(left)


def _is_sum(function: ast.expr) -> bool:
    return plain(getattr(function, "attr", getattr(function, "id", ""))) in _SUMS


def _row_of_sum(expression: ast.expr) -> str:
    """beta for a sum of the upstream gradient alone, gamma for a sum of a product with it."""
    while isinstance(expression, ast.BinOp) and isinstance(expression.op, ast.Div):
        expression = expression.left
    if not isinstance(expression, ast.Call) or not _is_sum(expression.func):
        return ""
    summed = [item for item in expression.args if not isinstance(item, ast.Constant)]
    match expression.func:
        case ast.Attribute(value=array) if not isinstance(array, ast.Name) or _is_dout(array):
            summed = [array]  # array.sum(axis=0), and not np.sum(array, axis=0)
    factors = [factor for item in summed for factor in _factors(item)]
    return {1: "beta", 2: "gamma"}.get(len(factors), "") if any(map(_is_dout, factors)) else ""


def _factors(expression: ast.expr) -> list[ast.expr]:
    match expression:
        case ast.BinOp(left, ast.Mult(), right) | ast.Call(ast.Attribute(attr="multiply"), [left, right]):
            return [left, right]
    return [expression]


def _is_dout(expression: ast.expr) -> bool:
    return isinstance(expression, ast.Name) and plain(expression.id) in ROLES["dout"]


_RETURNS = re.compile(r"\breturns?\b|:return", re.IGNORECASE)


def _of_docstring(function: Any, count: int) -> list[str]:
    """The rows in the order in which a docstring names them after the word Returns; none where one is named twice."""
    text = inspect.getdoc(function) or ""
    start = _RETURNS.search(text)
    rows: list[str] = []
    if start is not None:
        for word in re.findall(r"\w+", text[start.end() :]):
            row = row_of(word)
            if row and row not in rows:
                rows.append(row)
    return rows if len(rows) == count else [""] * count


# --- what was left in the object --------------------------------------------------------------------------------


def _items_put_in(function: Any) -> dict[tuple[str, ...], str]:
    """The rows of the items of tuples and lists in attributes, by attribute and index, as they are named there."""
    tree = tree_of(function)
    source = None if tree is None else _Source(tree)
    return {
        (target.attr, str(number)): row
        for target, value in (source.assignments if source is not None else ())
        if isinstance(target, ast.Attribute) and isinstance(value, ast.Tuple | ast.List)
        for number, item in enumerate(value.elts)
        if source is not None and (row := source.row_of(item))
    }


def _place_of(
    row: str, leaves: Sequence[Leaf], left: Left, shape: tuple[int, ...], items: Mapping[tuple[str, ...], str]
) -> str:
    """The place of a gradient among those; empty where no place is called like it.

    What the source puts in a tuple by name, as in self.grads = (dbeta, dgamma), has that place and no other.
    Of several places those that backward changed come first, then those whose name says it, then the shorter ones.
    """
    taken = set(left.places.values())
    parameter = next((leaf.steps for leaf in left.after if leaf.text == left.places.get(row)), ())
    ranked: list[tuple[bool, int, bool, int, int, str]] = []
    for number, leaf in enumerate(leaves):
        rank = 2 * (row_of(*leaf.steps) == "x")
        if row != "x":
            rank = max(gradient_rank(leaf.steps, row), 2 * is_gradient_of(leaf.steps, parameter))
        if leaf.steps[-2:] in items:
            rank = 2 * (items[leaf.steps[-2:]] == row)
        changed = leaf.changed_from(left.before)
        if leaf.text in taken or not rank or (rank == 1 and not changed):
            continue
        fits = (np.shape(leaf.value) == shape) == (row == "x")
        ranked.append((not changed, -rank, not fits, len(leaf.steps), number, leaf.text))
    return min(ranked)[-1] if ranked else ""


def _update(row: str, left: Left) -> str:
    """update(place), where backward moved gamma or beta and the rate is known to be 1."""
    place = left.places.get(row, "")
    after = next((leaf.value for leaf in left.after if leaf.text == place), None)
    if after is None or place not in left.before or not left.rate_known:
        return ""
    return f"update({place})" if not np.array_equal(left.before[place], after) else ""
