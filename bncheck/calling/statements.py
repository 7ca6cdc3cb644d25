"""Formulas as they are typed, line under line: read, and evaluated here one operation at a time.

    dx_hat = dout * gamma
    dbeta = np.sum(dout, axis=0)

Parsed with `ast`; nothing is ever compiled or run by Python itself. Functions of NumPy and of torch are looked up by
their names in FUNCTIONS, and work on NumPy's arrays. Where a `Traced` value goes in one comes out, which knows what it
was made of, and so the derivative of all that came of it.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
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


class Pulled(NamedTuple):
    """A gradient, and its size before its terms cancel."""

    gradient: FloatArray
    size: FloatArray

    def through(self, parent: Parent, to: Pulled | None) -> Pulled:
        """Gradient that comes to a parent, added to what is there."""
        gradient, size = parent.pull(self.gradient * parent.slope), parent.pull(self.size * np.abs(parent.slope))
        return Pulled(gradient, size) if to is None else Pulled(to.gradient + gradient, to.size + size)


def pulled_back(seeds: Mapping[Traced, Pulled], stop: Collection[Traced] = ()) -> dict[Traced, Pulled]:
    """The gradient at every value that leads to some whose gradients are given, by the chain rule.

    No way leads through a value to `stop` at, but from its seed on.
    """
    order: dict[Traced, None] = {}

    def visit(value: Traced) -> None:
        if value not in order:
            for parent in value.parents:
                visit(parent.value)
            order[value] = None

    for seed in seeds:
        visit(seed)
    found: dict[Traced, Pulled] = {}
    for value in reversed(order):
        here = seeds.get(value, None if value in stop else found.get(value))
        if here is not None:
            found[value] = here
            for parent in value.parents:
                found[parent.value] = here.through(parent, found.get(parent.value))
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


Value = Callable[[Callable[[str], Any]], Any]
"""An expression: it gives its value to whoever has the values of its names."""


@dataclass(frozen=True, eq=False)
class Assignment:
    """A statement that gives a name its value. `text` is how it is written, `line` where.

    `names` are the names in it, `reads` those of which it takes the numbers, and not the shape alone, and `added` the
    numbers that are written as terms of a sum.
    """

    line: int
    text: str
    name: str
    value: Value
    names: tuple[str, ...]
    reads: frozenset[str]
    added: tuple[float, ...]


def parse(text: str, place: str) -> tuple[Assignment, ...]:
    """The formulas of a text in its order. Raises StatementError for its first line that is something else."""
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise StatementError(f"{place}:{getattr(error, 'lineno', 1)} does not parse: {error}") from None
    imported = {alias.asname or alias.name: alias.name for node in body for alias in getattr(node, "names", ())}
    modules = {"np": "numpy", "numpy": "numpy", "torch": "torch", **imported}
    nodes = [inner for node in body for inner in ast.walk(node)]
    keywords = {inner.arg for inner in nodes if isinstance(inner, ast.keyword)}
    used = {modules.get(inner.id) for inner in nodes if isinstance(inner, ast.Name)}
    in_torch = "torch" in {*used, *imported.values()} or not keywords.isdisjoint(_KEYWORDS)
    found: list[Assignment] = []
    for node in body:
        shown = " ".join((ast.get_source_segment(text, node) or "").split())
        try:
            for name, expression in _assignments(node):
                reader = _Reader(modules, in_torch)
                value, words = reader.read(expression), tuple(reader.names)
                reads, added = frozenset(reader.reads), tuple(reader.added)
                found.append(Assignment(node.lineno, shown, name, value, words, reads, added))
        except StatementError as error:
            raise StatementError(f"{place}:{node.lineno} `{shown[:80]}`: {error}") from None
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


class _Reader:
    """Reads an expression, and notes the names and the terms in it. Raises StatementError for one that is not taken."""

    def __init__(self, modules: Collection[str], in_torch: bool) -> None:
        self._modules, self._in_torch, self._is_of_shape = modules, in_torch, False
        self.names: list[str] = []
        self.reads: list[str] = []
        self.added: list[float] = []

    def read(self, node: ast.expr | None) -> Value:
        """An expression, as the function that gives its value. What that raises, it raises for an operation."""
        match node:
            case ast.Name(name):
                self.names.append(name)
                self.reads += [] if self._is_of_shape else [name]
                return lambda find: find(name)
            case ast.Constant(constant):
                return lambda find: constant
            case None | ast.Attribute(_, "newaxis"):
                return lambda find: None
            case ast.Tuple(items) | ast.List(items):
                return self._applied(lambda *values: values, items)
            case ast.BinOp(left, how, right) if type(how) in _OPERATIONS:
                terms = (left, right) if isinstance(how, ast.Add) else ()
                constants = [term.value for term in terms if isinstance(term, ast.Constant)]
                self.added += [number for number in constants if isinstance(number, float)]
                return self._applied(_OPERATIONS[type(how)], [left, right])
            case ast.UnaryOp(how, operand) if type(how) in _OPERATIONS:
                return self._applied(_OPERATIONS[type(how)], [operand])
            case ast.Slice(lower, upper, step):
                return self._applied(slice, [lower, upper, step])
            case ast.Subscript(of, key):
                return self._applied(_item, [of, key])
            case ast.Attribute(_, name) if name in _ATTRIBUTES:
                return self._call(node, [], [])
            case ast.Call(called, arguments, keywords):
                return self._call(called, arguments, keywords)
        raise StatementError(f"`{ast.unparse(node)}` is no expression of known functions")

    def _applied(self, function: Callable[..., Any], nodes: Sequence[ast.expr | None], **named: ast.expr) -> Value:
        values, words = [self.read(node) for node in nodes], {word: self.read(node) for word, node in named.items()}
        return lambda find: function(*(one(find) for one in values), **{word: one(find) for word, one in words.items()})

    def _call(self, called: ast.expr, arguments: list[ast.expr], keywords: list[ast.keyword]) -> Value:
        """A call of a function or method. torch's variance divides by n - 1 where it is not told to do otherwise."""
        name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
        if name not in FUNCTIONS:
            raise StatementError(f"{ast.unparse(called)} is no function that is known in formulas")
        if isinstance(called, ast.Attribute) and not self._is_module(called.value):
            arguments = [called.value, *arguments]
        named = {_KEYWORDS.get(str(word.arg), str(word.arg)): word.value for word in keywords if word.arg not in _IDLE}
        if self._in_torch and name in ("var", "std") and len(arguments) < 3:
            named.setdefault("ddof", ast.Constant(1))
        was, self._is_of_shape = self._is_of_shape, self._is_of_shape or name in _OF_SHAPES
        value = self._applied(FUNCTIONS[name], arguments, **named)
        self._is_of_shape = was
        return value

    def _is_module(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Name) and node.id in self._modules


def _item(whole: Any, place: Any) -> Any:
    return whole[place] if isinstance(whole, tuple) else rearranged(operator.itemgetter(place), whole)
