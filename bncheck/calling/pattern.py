"""The language in which a convention is written: expressions as Python spells them, and where their results go.

    self.forward(x, training=True) -> out
    batchnorm_backward(dout, cache) -> dx, dgamma, dbeta

Parsed with `ast` into `expression.py`: names, attributes, constant subscripts, calls, tuples, lists, dicts and
constants. Nothing is ever compiled or evaluated by Python itself.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from bncheck.calling.expression import (
    Attribute,
    Call,
    Constant,
    Dict,
    Expression,
    Item,
    List,
    Name,
    Span,
    Tuple,
    names_in,
)
from bncheck.calling.vocabulary import GIVEN, SETTABLE

# --- from text to expressions -----------------------------------------------------------------------------------


LENGTH, DEPTH = 1000, 20
"""Characters in a pattern, and how deep it may be nested: far beyond what calls anything."""

_BREAKS = dict.fromkeys(map(ord, "\r\n\f\v"), " ")  # a pattern may be folded over lines; columns stay what they are
_LANGUAGE = "a pattern has names, attributes, constant subscripts, calls, tuples, dicts and constants"
_SUMS = {ast.Add: "a sum", ast.Sub: "a difference", ast.Mult: "a product", ast.Div: "a quotient", ast.Pow: "a power"}
_WORDS: dict[type[ast.AST], str] = {
    ast.BinOp: "an operator",
    ast.UnaryOp: "an operator",
    ast.BoolOp: "an operator",
    ast.Compare: "a comparison",
    ast.Lambda: "a lambda",
    ast.IfExp: "a condition",
    ast.ListComp: "a comprehension",
    ast.SetComp: "a comprehension",
    ast.DictComp: "a comprehension",
    ast.GeneratorExp: "a comprehension",
    ast.JoinedStr: "an f-string",
    ast.Starred: "a star",
    ast.NamedExpr: "an assignment",
    ast.Set: "a set",
    ast.Await: "an await",
    ast.Yield: "a yield",
    ast.YieldFrom: "a yield",
}


class PatternError(Exception):
    """A mistake in a pattern: what is wrong, what to do, and which `width` characters of the text from `offset`."""

    def __init__(self, text: str, offset: int, width: int, message: str, hint: str = "") -> None:
        super().__init__(text, offset, width, message, hint)
        self.text, self.offset, self.width, self.message, self.hint = text, offset, width, message, hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


# --- text ----------------------------------------------------------------------------------------------------------


def bounded(text: str) -> str:
    """The text itself. Raises PatternError where it is longer than any that calls something."""
    if len(text) > LENGTH:
        raise PatternError(text, 0, 1, f"the pattern has {len(text):,} characters, expected at most {LENGTH:,}")
    return text


def extent(text: str) -> tuple[int, int]:
    """Offset and width of the text without the blanks around it."""
    return len(text) - len(text.lstrip()), max(1, len(text.strip()))


def _outside_strings(text: str) -> Iterator[tuple[int, str]]:
    """The characters that stand in no string, each with its offset."""
    quote = ""
    skip = False
    for offset, character in enumerate(text):
        if skip:
            skip = False
        elif quote:
            skip = character == "\\"
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        else:
            yield offset, character


def arrows(text: str) -> Iterator[int]:
    """The offsets of every `->` outside strings."""
    for offset, character in _outside_strings(text):
        if character == "-" and text.startswith("->", offset):
            yield offset


def _check_brackets(text: str, start: int, whole: str) -> None:
    opened: list[tuple[int, str]] = []
    for offset, character in _outside_strings(text):
        if character in "([{":
            opened.append((offset, character))
        elif character in ")]}" and (not opened or opened.pop()[1] + character not in ("()", "[]", "{}")):
            raise PatternError(
                whole, start + offset, 1, f"'{character}' closes nothing", "remove it, or open it before"
            )
    if opened:
        raise PatternError(whole, start + opened[-1][0], 1, f"'{opened[-1][1]}' is never closed", "close it")


def tree_of(text: str, start: int, whole: str) -> tuple[ast.expr, int]:
    """The tree of text, and the offset in `whole` at which its columns begin."""
    _check_brackets(text, start, whole)
    start += len(text) - len(text.lstrip())
    # An odd escape in a string is a warning, which the user's settings may turn into an error of another kind.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tree = ast.parse(text.strip().translate(_BREAKS), mode="eval")
        except SyntaxError as error:
            at = start + max(0, min((error.offset or 1) - 1, len(text.strip()) - 1))
            raise PatternError(
                whole, at, 1, "this is not a Python expression", "write a call as Python has it"
            ) from None
        except (ValueError, RecursionError, MemoryError):
            width = max(1, len(text.strip()))
            raise PatternError(whole, start, width, "this is not a Python expression", "write it simpler") from None
    return tree.body, start


# --- trees ---------------------------------------------------------------------------------------------------------


def expression_of(text: str, start: int, whole: str) -> Expression:
    """The expression in `text`, which begins at `start` in the whole pattern. Raises PatternError."""
    if not bounded(text).strip():
        raise PatternError(whole, start, 1, "the pattern is empty", "write a call, an attribute or an item")
    tree, start = tree_of(text, start, whole)
    return _converted(tree, Written(whole, start), DEPTH)


@dataclass(frozen=True, slots=True)
class Written:
    """The text of a pattern, and the offset at which the columns of a tree begin."""

    text: str
    start: int

    def refusal(self, node: ast.expr, message: str, hint: str = "") -> PatternError:
        """The error to raise, with the characters of a node."""
        offset, end = self.offset(node.col_offset), self.offset(node.end_col_offset or 0)
        return PatternError(self.text, offset, max(1, end - offset), message, hint)

    def offset(self, column: int) -> int:
        """The offset in characters of a column of `ast`, which counts bytes of UTF-8."""
        return self.start + len(self.text[self.start :].encode("utf-8", "replace")[:column].decode("utf-8", "ignore"))


def _converted(node: ast.expr, written: Written, depth: int) -> Expression:
    if depth == 0:
        raise written.refusal(node, f"the pattern is nested more than {DEPTH} deep", "write it simpler")

    def inner(child: ast.expr) -> Expression:
        return _converted(child, written, depth - 1)

    match node:
        case ast.Name(id=name):
            return Name(name, written.offset(node.col_offset))
        case ast.Constant(value=value) if value is not ...:
            return Constant(value)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return Constant(-value)
        case ast.Attribute(value=of, attr=attribute):
            return Attribute(inner(of), attribute)
        case ast.Subscript(value=of, slice=key):
            return Item(inner(of), _key(key, written))
        case ast.Call(func=function, args=arguments, keywords=keywords):
            for keyword in keywords:
                if keyword.arg is None:
                    raise written.refusal(keyword.value, f"{_LANGUAGE}; found a star", "write the arguments out")
                if sum(other.arg == keyword.arg for other in keywords) > 1:
                    raise written.refusal(keyword.value, f"'{keyword.arg}' is handed over twice", "keep one of them")
            named = tuple((str(keyword.arg), inner(keyword.value)) for keyword in keywords)
            return Call(inner(function), tuple(map(inner, arguments)), named)
        case ast.Tuple(elts=items):
            return Tuple(tuple(map(inner, items)))
        case ast.List(elts=items):
            return List(tuple(map(inner, items)))
        case ast.Dict(keys=keys, values=values):
            if None in keys:
                raise written.refusal(node, f"{_LANGUAGE}; found a star", "write the items out")
            return Dict(tuple((inner(key), inner(value)) for key, value in zip(keys, values, strict=True) if key))
    raise written.refusal(node, f"{_LANGUAGE}; found {_in_words(node)}", "do it in your file, and call that here")


def _key(node: ast.expr, written: Written) -> Constant | Span:
    if isinstance(node, ast.Slice) and node.step is None:
        bounds = [None if bound is None else _key(bound, written) for bound in (node.lower, node.upper)]
        start, stop = (bound.value if isinstance(bound, Constant) else None for bound in bounds)
        return Span(start, stop)
    if isinstance(node, ast.Constant | ast.UnaryOp):
        found = _converted(node, written, 1)
        if isinstance(found, Constant):
            return found
    message = f"{_LANGUAGE}; found a subscript that is not constant"
    raise written.refusal(node, message, "write a number or a string in quotes")


def _in_words(node: ast.expr) -> str:
    if isinstance(node, ast.BinOp):
        return _SUMS.get(type(node.op), "an operator")
    return _WORDS.get(type(node), "something else")


NO_PLACE = "write an attribute or an item, as in self.gamma"
NO_SETTING = "write a place such as self.gamma, or self.set_gamma(gamma)"

_REPLACED = ("running_mean", "running_var")  # functions that return the updated statistics do give them a new value


@dataclass(frozen=True, slots=True)
class Group:
    """Several targets for the items of one result; a target is a name, or a group. The name _ drops its item."""

    targets: tuple[Target, ...]

    def __str__(self) -> str:
        return ", ".join(f"[{target}]" if isinstance(target, Group) else target for target in self.targets)


Target = str | Group
Slot = Attribute | Item


@dataclass(frozen=True, slots=True)
class Step:
    """EXPRESSION -> targets. `target` is None where the result is not kept."""

    text: str
    expression: Expression
    target: Target | None


@dataclass(frozen=True, slots=True)
class Update:
    """update(place): the value that stands there before backward, less the one that stands there after it."""

    place: Slot


# --- the patterns of a convention --------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def parse_call(text: str) -> Expression:
    """A pattern without `->`, which creates or builds a layer. Raises PatternError."""
    arrow = next(arrows(bounded(text)), None)
    if arrow is not None:
        raise PatternError(text, arrow, 2, "nothing is taken from the result here", "leave out '->' and what follows")
    return expression_of(text, 0, text)


@lru_cache(maxsize=4096)
def parse_forward(text: str, elsewhere: tuple[str, ...] = ()) -> Step:
    """The pattern of a forward pass. Raises PatternError, also where x is not handed over, or nothing is called `out`.

    `elsewhere` has the names that are handed over before; with "x" in it none is wanted here.
    """
    step = _step(text, "self.forward(x) -> out")
    if "x" not in elsewhere:
        _must_mention(step, "x", "forward does not mention x")
    if "out" not in targets_of(step.target):
        _refuse_targets(text, "forward has no 'out' among its targets", "call the normalised result 'out'")
    return step


@lru_cache(maxsize=4096)
def parse_backward(text: str, elsewhere: tuple[str, ...] = ()) -> Step:
    """The pattern of a backward pass. Raises PatternError, also without dout, or where nothing is called `dx`.

    `elsewhere` has the parameters whose gradient is found in another place; with "x" in it no `dx` is wanted here.
    """
    if "x" in elsewhere and next(arrows(bounded(text)), None) is None:
        step = Step(text, expression_of(text, 0, text), None)
    else:
        step = _step(text, "self.backward(dout) -> dx")
    _must_mention(step, "dout", "backward does not mention dout")
    if "x" not in elsewhere and "dx" not in targets_of(step.target):
        _refuse_targets(text, "backward has no 'dx' among its targets", "call the gradient at x 'dx'")
    return step


@lru_cache(maxsize=4096)
def parse_place(text: str) -> Slot | Call:
    """The way in which a value is put: an attribute, an item, or a call that is handed it. Raises PatternError."""
    found = parse_call(text)
    if isinstance(found, Call) and {name.name for name in names_in(found)} & set(SETTABLE):
        return found
    return _as_place(found, text, NO_SETTING)


@lru_cache(maxsize=4096)
def parse_setting(name: str, text: str) -> Slot | Call:
    """The way in which `set` puts a name. Raises PatternError, also for a call that is not handed that name."""
    found = parse_place(text)
    if isinstance(found, Call) and all(inner.name != name for inner in names_in(found)):
        message = f"this call is not handed {name}"
        raise PatternError(text, *extent(text), message, f"hand it over, as in self.set_{name}({name})")
    return found


@lru_cache(maxsize=4096)
def parse_gradient(text: str) -> Expression | Update:
    """The place where a gradient is found, or `update(place)`. Raises PatternError."""
    found = parse_call(text)
    if isinstance(found, Call) and isinstance(found.function, Name) and found.function.name == "update":
        if len(found.arguments) != 1 or found.keywords:
            raise PatternError(text, *extent(text), "update takes one place", "write update(self.gamma)")
        return Update(_as_place(found.arguments[0], text, NO_PLACE))
    return found


def targets_of(target: Target | None) -> Iterator[str]:
    """The names among targets, but for _."""
    if isinstance(target, Group):
        for inner in target.targets:
            yield from targets_of(inner)
    elif target not in (None, "_"):
        yield target


# --- targets -------------------------------------------------------------------------------------------------------


def _step(text: str, example: str) -> Step:
    found = list(arrows(bounded(text)))
    if not text.strip():
        raise PatternError(text, 0, 1, "the pattern is empty", f"write it as in {example}")
    if not found:
        raise PatternError(text, *extent(text), "'->' is missing", f"say where the result goes, as in {example}")
    if len(found) > 1:
        raise PatternError(text, found[1], 2, "there is a second '->'", "keep one of them")
    left, right = text[: found[0]], text[found[0] + 2 :]
    expression = expression_of(left, 0, text)
    if not right.strip():
        raise PatternError(text, found[0], 2, "no target follows '->'", f"say where the result goes, as in {example}")
    tree, start = tree_of(right, found[0] + 2, text)
    return Step(text, expression, _target(tree, Written(text, start), {}))


def _target(node: ast.expr, written: Written, seen: dict[str, None]) -> Target:
    if isinstance(node, ast.Tuple | ast.List) and node.elts:
        return Group(tuple(_target(item, written, seen) for item in node.elts))
    if not isinstance(node, ast.Name):
        raise written.refusal(
            node, "a target is a name, or several in a tuple or a list", "write _ for what is not needed"
        )
    if node.id in seen:
        raise written.refusal(node, f"'{node.id}' is a target twice", "write _ for what is not needed")
    if node.id in GIVEN and node.id not in _REPLACED:
        raise written.refusal(node, f"'{node.id}' is given, and is no target", "give the result another name")
    if node.id != "_":
        seen[node.id] = None
    return node.id


def _must_mention(step: Step, name: str, message: str) -> None:
    if all(found.name != name for found in names_in(step.expression)):
        left = step.text[: next(arrows(step.text), len(step.text))]
        raise PatternError(step.text, *extent(left), message, f"hand it over, as in self.call({name})")


def _refuse_targets(text: str, message: str, hint: str) -> None:
    start = next(arrows(text), len(text) - 2) + 2
    offset, width = extent(text[start:])
    raise PatternError(text, start + offset, width, message, hint)


def _as_place(found: Expression, text: str, hint: str) -> Slot:
    if isinstance(found, Attribute | Item):
        return found
    raise PatternError(text, *extent(text), "this is no place to put a value", hint)
