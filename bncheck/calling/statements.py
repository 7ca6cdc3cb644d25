"""Formulas as they are typed, line under line: read, and evaluated here one operation at a time.

    dx_hat = dout * gamma
    dbeta = np.sum(dout, axis=0)

Parsed with `ast`; nothing is ever compiled or run by Python itself. Functions of NumPy and of torch are looked up by
their names in FUNCTIONS, and work on NumPy's arrays. Where a `Traced` value goes in one comes out, which knows what it
was made of, and so the derivative of all that came of it.
"""

from __future__ import annotations

import ast
import copy
import operator
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np

from bncheck.gradients.batchnorm import FloatArray

# --- values that know what they were made of -----------------------------------------------------------------------


class Parent(NamedTuple):
    """A value that another is made of: the derivative, element by element, and the ways between the two shapes."""

    value: Traced
    slope: Any
    pull: Callable[[FloatArray], FloatArray]
    push: Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, eq=False)
class Traced:
    """An array, and what it was made of; nothing is known of one that was given but itself."""

    value: FloatArray
    parents: tuple[Parent, ...] = ()

    @cached_property
    def roundoff(self) -> FloatArray:
        """A bound of its error in units of roundoff."""
        passed_on = (parent.push(np.abs(parent.slope) * parent.value.roundoff) for parent in self.parents)
        return np.asarray(np.abs(self.value) + sum(passed_on))


def plain(value: Any) -> Any:
    """The array itself."""
    return value.value if isinstance(value, Traced) else value


def pulled_back(
    seeds: Mapping[Traced, FloatArray], stop: Collection[Traced] = (), size: Callable[[Any], Any] = lambda slope: slope
) -> dict[Traced, FloatArray]:
    """The gradient at every value that leads to some whose gradients are given, by the chain rule.

    No way leads through a value to `stop` at, but from its seed on. With `size` np.abs, the sizes of all terms are
    summed, before they cancel.
    """
    order: dict[Traced, None] = {}

    def visit(value: Traced) -> None:
        if value not in order:
            for parent in value.parents:
                visit(parent.value)
            order[value] = None

    for seed in seeds:
        visit(seed)
    found: dict[Traced, FloatArray] = {}
    for value in reversed(order):
        gradient = seeds.get(value, None if value in stop else found.get(value))
        if gradient is None:
            continue
        found[value] = gradient
        for parent in value.parents:
            part = parent.pull(gradient * size(parent.slope))
            found[parent.value] = found[parent.value] + part if parent.value in found else part
    return found


@dataclass(frozen=True)
class Operation:
    """An operation element by element, and its derivative by each of its arguments, given the result and these."""

    result: Callable[..., Any]
    slopes: tuple[Callable[..., Any], ...]

    def __call__(self, *arguments: Any) -> Any:
        """The result; of arguments that are traced, a traced one."""
        values = [plain(argument) for argument in arguments]
        result = self.result(*values)
        if not any(isinstance(argument, Traced) for argument in arguments):
            return result
        parents = (
            Parent(argument, slope(result, *values), partial(_summed_to, argument.value.shape), np.asarray)
            for argument, slope in zip(arguments, self.slopes, strict=True)
            if isinstance(argument, Traced)
        )
        return Traced(np.asarray(result), tuple(parents))


def _summed_to(shape: tuple[int, ...], gradient: FloatArray) -> FloatArray:
    """The gradient of what was broadcast from a shape."""
    if gradient.shape == shape:
        return gradient
    leading = gradient.ndim - len(shape)
    gradient = gradient.sum(axis=tuple(range(leading)))
    ones = tuple(axis for axis, length in enumerate(shape) if length == 1 < gradient.shape[axis])
    return np.asarray(gradient.sum(axis=ones, keepdims=True))


ADD = Operation(operator.add, (lambda y, a, b: 1, lambda y, a, b: 1))
SUBTRACT = Operation(operator.sub, (lambda y, a, b: 1, lambda y, a, b: -1))
MULTIPLY = Operation(operator.mul, (lambda y, a, b: b, lambda y, a, b: a))
DIVIDE = Operation(operator.truediv, (lambda y, a, b: 1 / b, lambda y, a, b: -y / b))
POWER = Operation(operator.pow, (lambda y, a, b: b * a ** (b - 1), lambda y, a, b: y * np.log(a)))
SQUARE = Operation(lambda a: a * a, (lambda y, a: 2 * a,))
SQRT = Operation(np.sqrt, (lambda y, a: 1 / (2 * y),))
RSQRT = Operation(lambda a: 1 / np.sqrt(a), (lambda y, a: -y / (2 * a),))
RECIPROCAL = Operation(lambda a: 1 / a, (lambda y, a: -y * y,))
NEGATIVE = Operation(operator.neg, (lambda y, a: -1,))
SAME = Operation(lambda a: a, (lambda y, a: 1,))


def total(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The sum over some axes, or over all."""
    if not isinstance(a, Traced):
        return np.sum(a, axis=axis, keepdims=keepdims)
    kept, push = np.sum(a.value, axis=axis, keepdims=True).shape, partial(np.sum, axis=axis, keepdims=keepdims)

    def pull(gradient: FloatArray) -> FloatArray:
        return np.broadcast_to(gradient.reshape(kept), a.value.shape)

    return Traced(np.asarray(push(a.value)), (Parent(a, 1, pull, push),))


def average(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The mean over some axes, or over all."""
    summed = total(a, axis, keepdims)
    return DIVIDE(summed, np.size(plain(a)) // max(np.size(plain(summed)), 1))


def variance(a: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Any:
    """The variance over some axes, or over all: biased, as NumPy has it, unless ddof is 1."""
    summed = total(SQUARE(SUBTRACT(a, average(a, axis, keepdims=True))), axis, keepdims)
    return DIVIDE(summed, np.size(plain(a)) // max(np.size(plain(summed)), 1) - int(ddof))


def deviation(a: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Any:
    """The root of the variance."""
    return SQRT(variance(a, axis, ddof, keepdims))


def rearranged(change: Callable[[Any], Any], a: Any) -> Any:
    """An array with its elements in other places, some of them perhaps in several or in none."""
    if not isinstance(a, Traced):
        return change(a)
    places = change(np.arange(a.value.size).reshape(a.value.shape))

    def put_back(gradient: FloatArray) -> FloatArray:
        found = np.zeros_like(gradient, shape=a.value.size)
        np.add.at(found, np.ravel(places), np.ravel(gradient))
        return found.reshape(a.value.shape)

    return Traced(np.asarray(change(a.value)), (Parent(a, 1, put_back, change),))


def _in_shape(change: Callable[..., Any], a: Any, *shape: Any) -> Any:
    return rearranged(lambda array: change(array, shape if isinstance(shape[0], int) else shape[0]), a)


def _filled(value: float, *shape: Any) -> FloatArray:
    return np.full(shape if isinstance(shape[0], int) else shape[0], value)


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    **{"add": ADD, "subtract": SUBTRACT, "sub": SUBTRACT, "multiply": MULTIPLY, "mul": MULTIPLY, "divide": DIVIDE},
    **{"div": DIVIDE, "true_divide": DIVIDE, "power": POWER, "pow": POWER, "square": SQUARE, "sqrt": SQRT},
    **{"rsqrt": RSQRT, "reciprocal": RECIPROCAL, "negative": NEGATIVE, "neg": NEGATIVE},
    **dict.fromkeys(("copy", "clone", "contiguous", "detach", "array", "asarray", "float", "double"), SAME),
    **{"sum": total, "mean": average, "var": variance, "std": deviation},
    **dict.fromkeys(("reshape", "view"), partial(_in_shape, np.reshape)),
    **dict.fromkeys(("broadcast_to", "expand"), partial(_in_shape, np.broadcast_to)),
    **dict.fromkeys(("T", "t", "transpose"), partial(rearranged, np.transpose)),
    **dict.fromkeys(("expand_dims", "unsqueeze"), lambda a, axis: rearranged(partial(np.expand_dims, axis=axis), a)),
    "squeeze": lambda a, axis=None: rearranged(partial(np.squeeze, axis=axis), a),
    "tile": lambda a, reps: rearranged(partial(np.tile, reps=reps), a),
    **{"ones": partial(_filled, 1.0), "zeros": partial(_filled, 0.0)},
    **{"ones_like": lambda a: np.ones_like(plain(a)), "zeros_like": lambda a: np.zeros_like(plain(a))},
    "shape": lambda a: np.shape(plain(a)),
    "size": lambda a, axis=None: np.size(plain(a)) if axis is None else np.shape(plain(a))[axis],
    "len": lambda a: len(plain(a)),
}
"""The functions that are known, by their names in NumPy, in torch and in Python; attributes of arrays among them."""

_OF_SHAPES = ("shape", "size", "len", "ones_like", "zeros_like")
_ATTRIBUTES = ("T", "shape", "size")
_KEYWORDS = {"dim": "axis", "keepdim": "keepdims", "unbiased": "ddof", "correction": "ddof"}
_IDLE = ("dtype", "device")  # keywords that change no formula
_OPERATIONS: dict[type, Callable[..., Any]] = {
    **{ast.Add: ADD, ast.Sub: SUBTRACT, ast.Mult: MULTIPLY, ast.Div: DIVIDE, ast.Pow: POWER},
    **{ast.USub: NEGATIVE, ast.UAdd: SAME, ast.FloorDiv: operator.floordiv},
}

# --- from text to formulas -----------------------------------------------------------------------------------------


class StatementError(Exception):
    """A text is no list of formulas; the message says which line, and what to do."""


@dataclass(frozen=True, eq=False)
class Assignment:
    """A statement that gives a name its value. `text` is how it is written, `line` where."""

    line: int
    text: str
    name: str
    value: ast.expr

    @property
    def names(self) -> list[str]:
        """The names in it."""
        return [node.id for node in ast.walk(self.value) if isinstance(node, ast.Name)]

    @property
    def reads(self) -> frozenset[str]:
        """The names that it takes numbers from, and not their shapes alone."""
        return frozenset(_read_in(self.value))


def _read_in(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name):
        yield node.id
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Constant) and node.func.value in _OF_SHAPES):
        for inner in ast.iter_child_nodes(node):
            yield from _read_in(inner)


def parse(text: str, place: str) -> tuple[Assignment, ...]:
    """The formulas of a text in its order. Raises StatementError for its first line that is something else."""
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise StatementError(f"{place}:{getattr(error, 'lineno', 1)} does not parse: {error}") from None
    imported = {alias.asname or alias.name: alias.name for node in body for alias in getattr(node, "names", ())}
    modules = {"np": "numpy", "numpy": "numpy", "torch": "torch", **imported}
    nodes = [inner for node in body for inner in ast.walk(node)]
    words = {inner.arg for inner in nodes if isinstance(inner, ast.keyword)}
    used = {modules.get(inner.id) for inner in nodes if isinstance(inner, ast.Name)}
    in_torch = "torch" in {*used, *imported.values()} or not words.isdisjoint(_KEYWORDS)
    reader = _Reader(modules, in_torch)
    found: list[Assignment] = []
    for node in body:
        shown = " ".join((ast.get_source_segment(text, node) or "").split())
        try:
            pairs = [(name, reader.visit(copy.deepcopy(value))) for name, value in _assignments(node)]
        except StatementError as error:
            raise StatementError(f"{place}:{node.lineno} `{shown[:80]}`: {error}") from None
        found += [Assignment(node.lineno, shown, name, value) for name, value in pairs]
    return tuple(found)


_TAKEN = "formulas are assignments to names, imports of numpy or torch, and expressions of known functions"


def _assignments(node: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    """The names in a statement, each with its value. Raises StatementError where it is none that is taken."""
    match node:
        case ast.Import(names) if all(alias.name in ("numpy", "torch") for alias in names):
            return
        case ast.ImportFrom("numpy" | "torch", names) if all(alias.name in FUNCTIONS for alias in names):
            return
        case ast.Expr(ast.Constant()) | ast.Assign([_], ast.Constant(None)):
            return
        case ast.Expr(value):
            yield "_", value
        case ast.AugAssign(ast.Name(name), how, value):
            yield name, ast.BinOp(ast.Name(name), how, value)
        case ast.AnnAssign(ast.Name(name), _, ast.expr() as value) | ast.Assign([ast.Name(name)], value):
            yield name, value
        case ast.Assign([ast.Tuple(targets)], ast.Tuple(values)) if len(targets) == len(values):
            for target, value in zip(targets, values, strict=True):
                yield from _assignments(ast.Assign([target], value))
        case ast.Assign([ast.Tuple(targets)], value):
            for place, target in enumerate(targets):
                yield from _assignments(ast.Assign([target], ast.Subscript(value, ast.Constant(place))))
        case ast.Assign(targets, value) if len(targets) > 1:
            for target in targets:
                yield from _assignments(ast.Assign([target], value))
        case _:
            raise StatementError(_TAKEN)


class _Reader(ast.NodeTransformer):
    """Turns attributes and calls, of modules and of arrays, into calls of FUNCTIONS. Raises StatementError."""

    def __init__(self, modules: Collection[str], in_torch: bool) -> None:
        self._modules, self._in_torch = modules, in_torch

    def visit_Call(self, node: ast.Call) -> Any:
        """torch's variance divides by n - 1 where it is not told to do otherwise."""
        called, arguments = node.func, node.args
        name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
        if name not in FUNCTIONS:
            raise StatementError(f"{ast.unparse(called)} is no function that is known in formulas")
        if isinstance(called, ast.Attribute) and not self._is_module(called.value):
            arguments = [called.value, *arguments]
        named = {_KEYWORDS.get(str(word.arg), word.arg): word.value for word in node.keywords if word.arg not in _IDLE}
        if self._in_torch and name in ("var", "std") and len(arguments) < 3:
            named.setdefault("ddof", ast.Constant(1))
        keywords = [ast.keyword(word, self.visit(value)) for word, value in named.items()]
        return ast.Call(ast.Constant(name), list(map(self.visit, arguments)), keywords)

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        """An attribute of an array; of a module, np.newaxis alone."""
        if self._is_module(node.value) and node.attr == "newaxis":
            return ast.Constant(None)
        return self.visit(ast.Call(node, [], [])) if node.attr in _ATTRIBUTES else self.generic_visit(node)

    def generic_visit(self, node: ast.AST) -> Any:
        """Whatever else an expression may have."""
        kinds = (ast.Name, ast.Constant, ast.Tuple, ast.List, ast.Subscript, ast.Slice, ast.expr_context)
        if not isinstance(node, kinds) and type(getattr(node, "op", node)) not in _OPERATIONS:
            raise StatementError(f"`{ast.unparse(node)}` is no expression of known functions")
        return super().generic_visit(node)

    def _is_module(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Name) and node.id in self._modules


# --- from formulas to values ---------------------------------------------------------------------------------------


def evaluate(node: ast.expr, find: Callable[[str], Any]) -> Any:
    """The value of what was parsed; `find` has those of its names. Whatever an operation raises comes through."""

    def value(inner: ast.expr | None) -> Any:
        return None if inner is None else evaluate(inner, find)

    match node:
        case ast.Name(name):
            return find(name)
        case ast.Constant(constant):
            return constant
        case ast.Tuple(items) | ast.List(items):
            return tuple(map(value, items))
        case ast.BinOp(left, how, right):
            return _OPERATIONS[type(how)](value(left), value(right))
        case ast.UnaryOp(how, operand):
            return _OPERATIONS[type(how)](value(operand))
        case ast.Slice(lower, upper, step):
            return slice(value(lower), value(upper), value(step))
        case ast.Subscript(of, key):
            whole, place = value(of), value(key)
            return whole[place] if isinstance(whole, tuple) else rearranged(operator.itemgetter(place), whole)
        case ast.Call(ast.Constant(name), arguments, keywords):
            return FUNCTIONS[str(name)](
                *map(value, arguments), **{str(word.arg): value(word.value) for word in keywords}
            )
    raise TypeError(ast.unparse(node))
