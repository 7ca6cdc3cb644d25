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
from typing import Any

import numpy as np

from bncheck.recognition.names import ROLES, plain
from bncheck.recognition.places import Leaf, gradient_rank, is_gradient_of, is_leaf
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
        names = {name.strip(" []()") for name in self.target.split(",")}
        return frozenset(row for row in RETURNED if f"d{row}" in names) | {row for row, _ in self.gradients}


def read(result: Any, function: Any, left: Left, shape: tuple[int, ...]) -> Reading:
    """The reading of what `function` returned; `shape` is that of x in its hands."""
    target, gradients, by_order = _of_result(result, function, shape)
    items = _items_put_in(function)
    found = {row for row, _ in gradients} | {row for row in RETURNED if f"d{row}" in _names(target)}
    for row in RETURNED:
        if row not in found:
            place = _elsewhere(row, left, shape, items)
            if place:
                gradients = (*gradients, (row, place))
    if not target and "x" not in dict(gradients):
        target = "dx"
    return Reading(target, gradients, by_order)


def _names(target: str) -> set[str]:
    return {name.strip(" []()") for name in target.split(",")}


def row_of(word: str) -> str:
    """The row whose gradient a name is; empty where it is none."""
    name = plain(word)
    if name in _X_NAMES:
        return "x"
    found = [row for row in ("gamma", "beta") if gradient_rank((word,), row) == 2]
    if found:
        return found[0]
    return next((row for row, words in _STATISTICS.items() if name in words), "")


# --- what was returned ------------------------------------------------------------------------------------------


def _of_result(result: Any, function: Any, shape: tuple[int, ...]) -> tuple[str, tuple[tuple[str, str], ...], bool]:
    """The targets, the gradients inside dictionaries, and whether the order alone told dgamma from dbeta."""
    if isinstance(result, Mapping):
        return "grads", _of_dict("grads", result), False
    if not isinstance(result, tuple | list):
        attributes = _of_dict("grads", _attributes_of(result))
        if attributes:
            return "grads", tuple((row, _as_attribute(place)) for row, place in attributes), False
        return ("" if result is None else "dx"), (), False
    values = list(_flat(result))
    fields = getattr(result, "_fields", ())
    told = [_row_of_key(field) for field in fields] if len(fields) == len(values) else _told_by(function, len(values))
    rows, by_order = _assigned(values, told, shape)
    dicts = [value for value in values if isinstance(value, Mapping)]
    kept = {id(value): f"grads{number or ''}" for number, value in enumerate(dicts)}
    gradients = [pair for value in dicts for pair in _of_dict(kept[id(value)], value)]
    names = [kept.get(id(value), f"d{row}" if row else "_") for value, row in zip(values, rows, strict=True)]
    return _spelled(result, iter(names)), tuple(gradients), by_order


def _of_dict(name: str, result: Mapping[Any, Any]) -> tuple[tuple[str, str], ...]:
    """The gradients in a dictionary that is kept under a name, by its keys."""
    keys = [key for key in result if type(key) in (str, int)]
    found: list[tuple[str, str]] = []
    for row in RETURNED:
        exact = [key for key in keys if row_of(str(key)) == row]
        bare = [key for key in keys if plain(str(key)) == "x" if row == "x"]
        inside = [key for key in keys if row != "x" and gradient_rank(("grads", str(key)), row)]
        for key in (exact or bare or inside)[:1]:
            found.append((row, f"{name}[{key!r}]"))
    return tuple(found)


def _attributes_of(result: Any) -> Mapping[str, Any]:
    """The attributes of a result that is no array: an object with one for each gradient, as a dataclass has."""
    return {} if isinstance(result, np.ndarray) else dict(getattr(result, "__dict__", {}))


def _as_attribute(place: str) -> str:
    """grads.dx for grads['dx']."""
    return place.replace("['", ".").removesuffix("']")


def _row_of_key(key: str) -> str:
    """The row whose gradient stands under a key: of a dictionary, or a field of a named tuple."""
    return row_of(key) or next((row for row, _ in _of_dict("", {key: None})), "")


def _flat(result: Any) -> Iterator[Any]:
    for item in result:
        if isinstance(item, tuple | list) and not _is_numbers(item):
            yield from _flat(item)
        else:
            yield item


def _is_numbers(item: Sequence[Any]) -> bool:
    """Whether a list is an array written as a list."""
    return bool(item) and all(isinstance(number, int | float) for number in item)


def _assigned(values: Sequence[Any], told: Sequence[str], shape: tuple[int, ...]) -> tuple[list[str], bool]:
    """The row of each value, empty for none; and whether dgamma and dbeta are told by their order alone."""
    rows = list(told)
    for number, row in enumerate(rows):
        if row and row in rows[:number]:
            rows[number] = ""
    if "x" not in rows:
        fitting = [n for n, value in enumerate(values) if not rows[n] and np.shape(_plain_array(value)) == shape]
        open_ = [n for n, row in enumerate(rows) if not row and not isinstance(values[n], Mapping)]
        for number in (fitting or open_)[:1]:
            rows[number] = "x"
    missing = [row for row in ("gamma", "beta") if row not in rows]
    numbers = [n for n, row in enumerate(rows) if not row and _may_be_parameter(values[n], len(values))]
    by_order = len(missing) == 2 and len(numbers) >= 2
    for row, number in zip(missing, numbers, strict=False):
        if by_order or len(values) <= len(RETURNED):
            rows[number] = row
    return rows, by_order


def _plain_array(value: Any) -> Any:
    return np.asarray(value) if is_leaf(value) else None


def _may_be_parameter(value: Any, count: int) -> bool:
    """Whether one of `count` values can be dgamma or dbeta: numbers, or nothing where they should be."""
    return (
        (value is None and count == len(RETURNED)) or is_leaf(value) or (isinstance(value, list) and _is_numbers(value))
    )


def _spelled(result: Any, names: Iterator[str]) -> str:
    parts = [
        f"[{_spelled(item, names)}]" if isinstance(item, tuple | list) and not _is_numbers(item) else next(names, "_")
        for item in result
    ]
    return ", ".join(parts) + ("," if len(parts) == 1 else "")


# --- what the source says of it ---------------------------------------------------------------------------------


def _told_by(function: Any, count: int) -> list[str]:
    """The row of each of `count` returned values as the source tells it, empty where it does not."""
    tree = tree_of(function)
    if tree is not None:
        for items, scope in _returned_items(function, tree, _FOLLOWED):
            if len(items) == count:
                found = [_row_of_expression(item, scope, 2) for item in items]
                if any(found):
                    return found
    return _of_docstring(function, count)


def _returned_items(
    function: Any, tree: ast.FunctionDef, levels: int
) -> Iterator[tuple[list[ast.expr], ast.FunctionDef]]:
    """The values of each return statement, the last first, with the function in which it stands."""
    for node in reversed([node for node in ast.walk(tree) if isinstance(node, ast.Return) and node.value is not None]):
        value: ast.expr | None = node.value
        if isinstance(value, ast.Name):
            value = _last_value(value.id, tree) or value
        if isinstance(value, ast.Tuple | ast.List):
            yield list(_flat_items(value, tree)), tree
        elif isinstance(value, ast.Call) and levels:
            callee = _callee(function, value)
            inner = None if callee is None else tree_of(callee)
            if inner is not None:
                yield from _returned_items(callee, inner, levels - 1)


def _flat_items(value: ast.Tuple | ast.List, tree: ast.FunctionDef) -> Iterator[ast.expr]:
    for item in value.elts:
        held: ast.expr | None = _last_value(item.id, tree) if isinstance(item, ast.Name) else item
        if isinstance(held, ast.Tuple | ast.List):
            yield from _flat_items(held, tree)
        else:
            yield item


def _callee(function: Any, call: ast.Call) -> Any:
    """The function that is called there: of the same module, or a method on self."""
    match call.func:
        case ast.Name(id=name):
            found = getattr(inspect.unwrap(function), "__globals__", {}).get(name)
            return found if inspect.isfunction(found) else None
        case ast.Attribute(value=ast.Name(), attr=name):
            owner = getattr(function, "__self__", None) or _owner_of(function)
            return getattr(owner, name, None)
    return None


def _owner_of(function: Any) -> Any:
    """The class in whose body a function was written, by its qualified name."""
    name = getattr(function, "__qualname__", "").rpartition(".")[0]
    return getattr(inspect.unwrap(function), "__globals__", {}).get(name)


def _assignments(tree: ast.FunctionDef) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Every target with its value, in order; tuples of the same length item by item."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if (
                    isinstance(target, ast.Tuple)
                    and isinstance(node.value, ast.Tuple)
                    and len(target.elts) == len(node.value.elts)
                ):
                    yield from zip(target.elts, node.value.elts, strict=True)
                else:
                    yield target, node.value
        elif isinstance(node, ast.AnnAssign | ast.AugAssign) and node.value is not None:
            yield node.target, node.value


def _last_value(name: str, tree: ast.FunctionDef) -> ast.expr | None:
    values = [value for target, value in _assignments(tree) if isinstance(target, ast.Name) and target.id == name]
    return values[-1] if values else None


def _row_of_expression(expression: ast.expr, tree: ast.FunctionDef, levels: int) -> str:
    """The row whose gradient an expression is, by the names in it, or by those that its value came from."""
    named = {row for word in _words_in(expression) if (row := row_of(word))}
    if len(named) == 1:
        return named.pop()
    if named:
        return ""
    if isinstance(expression, ast.Name) and levels:
        for target, value in reversed(list(_assignments(tree))):
            if isinstance(value, ast.Name) and value.id == expression.id and not isinstance(target, ast.Name):
                row = next((row for word in _words_in(target) if (row := row_of(word))), "")
                if row:
                    return row
        held = _last_value(expression.id, tree)
        return "" if held is None else _row_of_expression(held, tree, levels - 1)
    return _row_of_sum(expression, tree)


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
        case ast.Call(func=ast.Attribute(value=inner, attr=name)) if name in (
            "reshape",
            "copy",
            "astype",
            "squeeze",
            "ravel",
            "flatten",
        ):
            yield from _words_in(inner)
        case ast.Call(func=function, args=[first, *_]) if not _is_sum(function):
            yield from _words_in(first)
        case ast.BinOp(left=left, op=ast.Mult() | ast.Div(), right=ast.Constant() | ast.Name()):
            yield from _words_in(left)


def _is_sum(function: ast.expr) -> bool:
    name = (
        function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    )
    return plain(name) in _SUMS


def _row_of_sum(expression: ast.expr, tree: ast.FunctionDef) -> str:
    """beta for a sum of the upstream gradient alone, gamma for a sum of a product with it."""
    while isinstance(expression, ast.BinOp) and isinstance(expression.op, ast.Div):
        expression = expression.left
    if not isinstance(expression, ast.Call) or not _is_sum(expression.func):
        return ""
    summed: list[ast.expr] = list(expression.args)
    of_method = isinstance(expression.func, ast.Attribute) and not _is_module(expression.func.value)
    if isinstance(expression.func, ast.Attribute) and of_method:
        summed = [expression.func.value]
    summed = [item for item in summed if not isinstance(item, ast.Constant)]
    if len(summed) == 1 and _is_dout(summed[0]):
        return "beta"
    factors = summed if len(summed) == 2 else _factors(summed[0]) if summed else []
    return "gamma" if len(factors) == 2 and any(map(_is_dout, factors)) else ""


def _is_module(expression: ast.expr) -> bool:
    """Whether a sum is called on a module, as np.sum is: not on the array that is summed."""
    return isinstance(expression, ast.Name) and not _is_dout(expression)


def _factors(expression: ast.expr) -> list[ast.expr]:
    match expression:
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return [left, right]
        case ast.Call(func=ast.Attribute(attr="multiply"), args=[left, right]):
            return [left, right]
    return []


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


def _items_put_in(function: Any) -> dict[tuple[str, str], str]:
    """The rows of the items of tuples and lists in attributes, by attribute and index, as they are named there."""
    found: dict[tuple[str, str], str] = {}
    tree = tree_of(function)
    for target, value in _assignments(tree) if tree is not None else ():
        if isinstance(target, ast.Attribute) and isinstance(value, ast.Tuple | ast.List) and tree is not None:
            for number, item in enumerate(value.elts):
                row = _row_of_expression(item, tree, 2)
                if row:
                    found[target.attr, str(number)] = row
    return found


def _elsewhere(row: str, left: Left, shape: tuple[int, ...], items: Mapping[tuple[str, str], str]) -> str:
    """The place of a gradient that was not returned; empty where no place is called like it.

    What the source puts in a tuple by name, as in self.grads = (dbeta, dgamma), has that place and no other.
    Of several places those that backward changed come first, then those whose name says it, then the shorter ones.
    """
    taken = set(left.places.values())
    parameter = next((leaf.steps for leaf in left.after if leaf.text == left.places.get(row)), ())
    ranked: list[tuple[bool, int, bool, int, int, str]] = []
    for number, leaf in enumerate(left.after):
        rank = (
            2 * (row_of(leaf.steps[-1]) == "x" and leaf.steps[-1] != "x")
            if row == "x"
            else max(gradient_rank(leaf.steps, row), 2 * is_gradient_of(leaf.steps, parameter))
        )
        named = items.get((leaf.steps[-2], leaf.steps[-1])) if len(leaf.steps) == 2 else None
        if named is not None:
            rank = 2 * (named == row)
        changed = leaf.changed_from(left.before)
        if leaf.text in taken or not rank or (rank == 1 and not changed):
            continue
        fits = (np.shape(leaf.value) == shape) == (row == "x")
        ranked.append((not changed, -rank, not fits, len(leaf.steps), number, leaf.text))
    if ranked:
        return min(ranked)[-1]
    return _update(row, left) if row != "x" else ""


def _update(row: str, left: Left) -> str:
    """update(place), where backward moved gamma or beta and the rate is known to be 1."""
    place = left.places.get(row, "")
    after = next((leaf.value for leaf in left.after if leaf.text == place), None)
    if after is None or place not in left.before or not left.rate_known:
        return ""
    return f"update({place})" if not np.array_equal(left.before[place], after) else ""
