"""The language in which a convention is written: expressions as Python spells them, and where their results go.

    self.forward(x, training=True) -> out
    batchnorm_backward(dout, cache) -> dx, dgamma, dbeta

Parsed with `ast`: names, attributes, constant subscripts, calls, tuples, lists, dicts and constants are let through,
and evaluated here one node at a time. Nothing is ever compiled or evaluated by Python itself.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from bncheck.calling.vocabulary import GIVEN, SAVED, SETTABLE

LENGTH, DEPTH = 1000, 20
"""Characters in a pattern, and how deep it may be nested: far beyond what calls anything."""

_BREAKS = dict.fromkeys(map(ord, "\r\n\f\v"), " ")  # a pattern may be folded over lines; columns stay what they are
_LANGUAGE = "a pattern has names, attributes, constant subscripts, calls, tuples, dicts and constants"
_WORDS: dict[type[ast.AST], str] = {
    **{ast.Add: "a sum", ast.Sub: "a difference", ast.Mult: "a product", ast.Div: "a quotient", ast.Pow: "a power"},
    **dict.fromkeys((ast.operator, ast.unaryop, ast.boolop), "an operator"),
    **dict.fromkeys((ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp), "a comprehension"),
    **dict.fromkeys((ast.Yield, ast.YieldFrom), "a yield"),
    **{ast.Compare: "a comparison", ast.Lambda: "a lambda", ast.IfExp: "a condition", ast.JoinedStr: "an f-string"},
    **{ast.Starred: "a star", ast.NamedExpr: "an assignment", ast.Set: "a set", ast.Await: "an await"},
}


class PatternError(Exception):
    """A mistake in a pattern: what is wrong, what to do, and which `width` characters of the text from `offset`."""

    def __init__(self, text: str, offset: int, width: int, message: str, hint: str = "") -> None:
        super().__init__(text, offset, width, message, hint)
        self.text, self.offset, self.width, self.message, self.hint = text, offset, width, message, hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


# --- from text to trees --------------------------------------------------------------------------------------------


def _extent(text: str) -> tuple[int, int]:
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


def _arrows(text: str) -> list[int]:
    """The offsets of every `->` outside strings. Raises PatternError where no text that calls something is so long."""
    if len(text) > LENGTH:
        raise PatternError(text, 0, 1, f"the pattern has {len(text):,} characters, expected at most {LENGTH:,}")
    found = _outside_strings(text)
    return [offset for offset, character in found if character == "-" and text.startswith("->", offset)]


def _check_brackets(text: str, start: int, whole: str) -> None:
    opened: list[tuple[int, str]] = []
    for offset, character in _outside_strings(text):
        if character in "([{":
            opened.append((offset, character))
        elif character in ")]}" and (not opened or opened.pop()[1] + character not in ("()", "[]", "{}")):
            message = f"'{character}' closes nothing"
            raise PatternError(whole, start + offset, 1, message, "remove it, or open it before")
    if opened:
        raise PatternError(whole, start + opened[-1][0], 1, f"'{opened[-1][1]}' is never closed", "close it")


def _tree(text: str, start: int, whole: str) -> ast.expr:
    """The tree of text, which begins at `start` in the whole pattern; its columns are offsets in that."""
    _check_brackets(text, start, whole)
    blanks, width = _extent(text)
    text, start = text.strip(), start + blanks
    # An odd escape in a string is a warning, which the user's settings may turn into an error of another kind.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tree = ast.parse(text.translate(_BREAKS), mode="eval").body
        except SyntaxError as error:
            at = start + max(0, min((error.offset or 1) - 1, len(text) - 1))
            hint = "write a call as Python has it"
            raise PatternError(whole, at, 1, "this is not a Python expression", hint) from None
        except (ValueError, RecursionError, MemoryError):
            raise PatternError(whole, start, width, "this is not a Python expression", "write it simpler") from None
    encoded = text.encode("utf-8", "replace")  # in whose bytes `ast` counts
    for node in ast.walk(tree):
        if isinstance(node, ast.expr):
            node.col_offset, node.end_col_offset = (
                start + len(encoded[:column].decode("utf-8", "ignore"))
                for column in (node.col_offset, node.end_col_offset or 0)
            )
    return tree


def _refusal(text: str, node: ast.expr, message: str, hint: str = "") -> PatternError:
    """The error to raise, with the characters of a node."""
    return PatternError(text, node.col_offset, max(1, (node.end_col_offset or 0) - node.col_offset), message, hint)


# --- what the language has -----------------------------------------------------------------------------------------


def _expression(text: str, whole: str) -> ast.expr:
    """The expression in `text`, with which the whole pattern begins. Raises PatternError."""
    if not text.strip():
        raise PatternError(whole, 0, 1, "the pattern is empty", "write a call, an attribute or an item")
    tree = _tree(text, 0, whole)
    _check(tree, whole, DEPTH)
    return tree


def _check(node: ast.expr, text: str, depth: int) -> None:
    """Raises PatternError where a tree has something that is not of the language."""
    if depth == 0:
        raise _refusal(text, node, f"the pattern is nested more than {DEPTH} deep", "write it simpler")
    parts: list[ast.expr] = []
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    if name.startswith("__") and name.endswith("__") and name != "__setattr__":  # with which a layer is told its size
        raise _refusal(
            text, node, f"'{name}' is an attribute of Python itself", "do it in your file, and call that here"
        )
    match node:
        case ast.Name() | ast.UnaryOp(ast.USub(), ast.Constant(int() | float())):
            pass
        case ast.Constant(value) if value is not ...:
            pass
        case ast.Attribute(of):
            parts = [of]
        case ast.Subscript(of, key):
            _check_key(key, text)
            parts = [of]
        case ast.Call(function, arguments, keywords):
            names = [keyword.arg for keyword in keywords]
            for keyword in keywords:
                if keyword.arg is None:
                    raise _refusal(text, keyword.value, f"{_LANGUAGE}; found a star", "write the arguments out")
                if names.count(keyword.arg) > 1:
                    raise _refusal(text, keyword.value, f"'{keyword.arg}' is handed over twice", "keep one of them")
            parts = [function, *arguments, *(keyword.value for keyword in keywords)]
        case ast.Tuple(items) | ast.List(items):
            parts = items
        case ast.Dict(keys, values):
            if None in keys:
                raise _refusal(text, node, f"{_LANGUAGE}; found a star", "write the items out")
            parts = [*filter(None, keys), *values]
        case _:
            words = (_WORDS.get(kind) for kind in type(getattr(node, "op", node)).__mro__)
            found = next(filter(None, words), "something else")
            raise _refusal(text, node, f"{_LANGUAGE}; found {found}", "do it in your file, and call that here")
    for part in parts:
        _check(part, text, depth - 1)


def _check_key(node: ast.expr, text: str) -> None:
    """Raises PatternError where a subscript is not constant."""
    parts = [node.lower, node.upper] if isinstance(node, ast.Slice) and node.step is None else [node]
    for part in filter(None, parts):
        if not isinstance(part, ast.Constant | ast.UnaryOp):
            message = f"{_LANGUAGE}; found a subscript that is not constant"
            raise _refusal(text, part, message, "write a number or a string in quotes")
        _check(part, text, 1)


def names_in(expression: ast.expr) -> list[ast.Name]:
    """Every name that is looked up, in the order of the text; its column is its offset in the pattern."""
    names = [node for node in ast.walk(expression) if isinstance(node, ast.Name)]
    return sorted(names, key=lambda name: name.col_offset)


# --- what an expression means --------------------------------------------------------------------------------------

Slot = ast.Attribute | ast.Subscript
"""A place where a value can be put."""


def evaluate(expression: ast.expr, values: Mapping[str, Any], namespace: Mapping[str, Any]) -> Any:
    """The value, names being looked up in `values` first. Raises KeyError for a name in neither.

    Whatever a call, an attribute or an item raises comes through.
    """

    def value(node: ast.expr) -> Any:
        return evaluate(node, values, namespace)

    match expression:
        case ast.Name(name):
            try:
                return values[name]
            except KeyError:
                return namespace[name]
        case ast.Constant(constant):
            return constant
        case ast.UnaryOp(operand=operand):
            return -value(operand)
        case ast.Attribute(of, name):
            return getattr(value(of), name)
        case ast.Subscript(of, key):
            return value(of)[value(key)]
        case ast.Slice(lower, upper):
            return slice(*(None if bound is None else value(bound) for bound in (lower, upper)))
        case ast.Call(function, arguments, keywords):
            called = value(function)
            positional = [value(argument) for argument in arguments]
            return called(*positional, **{str(keyword.arg): value(keyword.value) for keyword in keywords})
        case ast.Tuple(items):
            return tuple(map(value, items))
        case ast.List(items):
            return list(map(value, items))
        case ast.Dict(keys, items):
            return {value(key): value(item) for key, item in zip(keys, items, strict=True) if key is not None}
    raise TypeError(expression)


def assign(place: Slot, value: Any, values: Mapping[str, Any], namespace: Mapping[str, Any]) -> None:
    """Put the value where `place` says. Raises what the object raises that does not take it.

    A tuple takes nothing: it is made anew with the value in it, and put where the old one is.
    """
    target = evaluate(place.value, values, namespace)
    if isinstance(place, ast.Attribute):
        setattr(target, place.attr, value)
        return
    key = evaluate(place.slice, values, namespace)
    if isinstance(target, tuple) and isinstance(place.value, Slot):
        items = list(target)
        items[key] = value
        assign(place.value, type(target)(*items) if hasattr(target, "_fields") else tuple(items), values, namespace)
    else:
        target[key] = value


# --- targets -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Group:
    """Several targets for the items of one result; a target is a name, or a group. The name _ drops its item."""

    targets: tuple[Target, ...]

    def __str__(self) -> str:
        return ", ".join(f"[{target}]" if isinstance(target, Group) else target for target in self.targets)


Target = str | Group

_REPLACED = ("running_mean", "running_var", *SAVED)  # functions that return statistics do give them a new value


def targets_of(target: Target | None) -> Iterator[str]:
    """The names among targets, but for _."""
    if isinstance(target, Group):
        for inner in target.targets:
            yield from targets_of(inner)
    elif target not in (None, "_"):
        yield target


def _target(node: ast.expr, text: str, seen: set[str]) -> Target:
    if isinstance(node, ast.Tuple | ast.List) and node.elts:
        return Group(tuple(_target(item, text, seen) for item in node.elts))
    needless = "write _ for what is not needed"
    if not isinstance(node, ast.Name):
        raise _refusal(text, node, "a target is a name, or several in a tuple or a list", needless)
    if node.id in seen:
        raise _refusal(text, node, f"'{node.id}' is a target twice", needless)
    if node.id in GIVEN and node.id not in _REPLACED:
        raise _refusal(text, node, f"'{node.id}' is given, and is no target", "give the result another name")
    if node.id != "_":
        seen.add(node.id)
    return node.id


# --- the patterns of a convention ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Step:
    """EXPRESSION -> targets. `target` is None where the result is not kept."""

    text: str
    expression: ast.expr
    target: Target | None


@dataclass(frozen=True, slots=True)
class Update:
    """update(place): the value that stands there before backward, less the one that stands there after it."""

    place: Slot


@lru_cache(maxsize=4096)
def parse_call(text: str) -> ast.expr:
    """A pattern without `->`, which creates or builds a layer. Raises PatternError."""
    for arrow in _arrows(text):
        raise PatternError(text, arrow, 2, "nothing is taken from the result here", "leave out '->' and what follows")
    return _expression(text, text)


@lru_cache(maxsize=4096)
def parse_forward(text: str, elsewhere: tuple[str, ...] = ()) -> Step:
    """The pattern of a forward pass. Raises PatternError, also where x is not handed over, or nothing is called `out`.

    `elsewhere` has the names that are handed over before; with "x" in it none is wanted here.
    """
    step = _step(text, "self.forward(x) -> out")
    if "x" not in elsewhere:
        _must_mention(step, "forward", "x")
    _must_give(step, "forward", "out", "normalised result")
    return step


@lru_cache(maxsize=4096)
def parse_backward(text: str, elsewhere: tuple[str, ...] = ()) -> Step:
    """The pattern of a backward pass. Raises PatternError, also without dout, or where nothing is called `dx`.

    `elsewhere` has the parameters whose gradient is found in another place; with "x" in it no `dx` is wanted here.
    """
    if "x" in elsewhere and not _arrows(text):
        step = Step(text, _expression(text, text), None)
    else:
        step = _step(text, "self.backward(dout) -> dx")
    _must_mention(step, "backward", "dout")
    if "x" not in elsewhere:
        _must_give(step, "backward", "dx", "gradient at x")
    return step


def parse_setting(name: str, text: str) -> Slot | ast.Call:
    """The way in which `set` puts a name: an attribute, an item, or a call that is handed it. Raises PatternError."""
    found = parse_call(text)
    handed = {inner.id for inner in names_in(found)}
    if not isinstance(found, ast.Call) or handed.isdisjoint(SETTABLE):
        return _as_place(found, text, "write a place such as self.gamma, or self.set_gamma(gamma)")
    if name not in handed:
        hint = f"hand it over, as in self.set_{name}({name})"
        raise PatternError(text, *_extent(text), f"this call is not handed {name}", hint)
    return found


def parse_gradient(text: str) -> ast.expr | Update:
    """The place where a gradient is found, or `update(place)`. Raises PatternError."""
    match parse_call(text):
        case ast.Call(ast.Name("update"), [place], []):
            return Update(_as_place(place, text, "write an attribute or an item, as in self.gamma"))
        case ast.Call(ast.Name("update")):
            raise PatternError(text, *_extent(text), "update takes one place", "write update(self.gamma)")
        case found:
            return found


def _step(text: str, example: str) -> Step:
    arrows = _arrows(text)
    where = f"say where the result goes, as in {example}"
    if not text.strip():
        raise PatternError(text, 0, 1, "the pattern is empty", f"write it as in {example}")
    if not arrows:
        raise PatternError(text, *_extent(text), "'->' is missing", where)
    if len(arrows) > 1:
        raise PatternError(text, arrows[1], 2, "there is a second '->'", "keep one of them")
    left, right = text[: arrows[0]], text[arrows[0] + 2 :]
    expression = _expression(left, text)
    if not right.strip():
        raise PatternError(text, arrows[0], 2, "no target follows '->'", where)
    return Step(text, expression, _target(_tree(right, arrows[0] + 2, text), text, set()))


def _must_mention(step: Step, stage: str, name: str) -> None:
    if all(found.id != name for found in names_in(step.expression)):
        hint = f"hand it over, as in self.call({name})"
        raise _refusal(step.text, step.expression, f"{stage} does not mention {name}", hint)


def _must_give(step: Step, stage: str, name: str, meaning: str) -> None:
    if name not in targets_of(step.target):
        start = _arrows(step.text)[0] + 2
        offset, width = _extent(step.text[start:])
        message = f"{stage} has no '{name}' among its targets"
        raise PatternError(step.text, start + offset, width, message, f"call the {meaning} '{name}'")


def _as_place(found: ast.expr, text: str, hint: str) -> Slot:
    if isinstance(found, Slot):
        return found
    raise PatternError(text, *_extent(text), "this is no place to put a value", hint)
