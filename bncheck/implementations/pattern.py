"""The language in which a convention is written: expressions as Python spells them, and where their results go.

    self.forward(x, training=True) -> out
    batchnorm_backward(dout, cache) -> dx, dgamma, dbeta

Parsed with `ast` into `expression.py`: names, attributes, constant subscripts, calls, tuples, lists, dicts and
constants. Nothing is ever compiled or evaluated by Python itself.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from bncheck.implementations.expression import Attribute, Call, Expression, Item, Name, names_in
from bncheck.implementations.grammar import PatternError, Source, arrows, bounded, expression_of, extent, tree_of

GIVEN = (
    *("x", "gamma", "beta", "eps", "dout", "self", "n", "d", "shape"),
    *("momentum", "learning_rate", "running_mean", "running_var", "training"),
)
"""Names that we give a value. `shape` is that of x; n counts rows, d features; `learning_rate` is 1."""

FOUND = ("out", "cache", "dx", "dgamma", "dbeta", "dmean", "dvar")
"""Names that a target may give a meaning to; any other name may be a target too, and carries what it is given."""

_REPLACED = ("running_mean", "running_var")  # functions that return the updated statistics do give them a new value


@dataclass(frozen=True, slots=True)
class Group:
    """Several targets for the items of one result; a target is a name, or a group. The name _ drops its item."""

    targets: tuple[Target, ...]

    def __str__(self) -> str:
        return ", ".join(f"[{target}]" if isinstance(target, Group) else target for target in self.targets)


Target = str | Group
Place = Attribute | Item


@dataclass(frozen=True, slots=True)
class Step:
    """EXPRESSION -> targets. `target` is None where the result is not kept."""

    text: str
    expression: Expression
    target: Target | None


@dataclass(frozen=True, slots=True)
class Update:
    """update(place): what stands there before backward, minus what stands there after it."""

    place: Place


# --- what a convention has ---------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def parse_call(text: str) -> Expression:
    """A pattern without `->`: what creates or builds a layer. Raises PatternError."""
    arrow = next(arrows(bounded(text)), None)
    if arrow is not None:
        raise PatternError(text, arrow, 2, "nothing is taken from the result here", "leave out '->' and what follows")
    return expression_of(text, 0, text)


@lru_cache(maxsize=4096)
def parse_forward(text: str, elsewhere: tuple[str, ...] = ()) -> Step:
    """How to run the forward pass. Raises PatternError, also where x is not handed over, or nothing is called `out`.

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
    """How to run the backward pass. Raises PatternError, also where dout is not handed over, or nothing is called `dx`.

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
def parse_place(text: str) -> Place:
    """Where a value is put: an attribute or an item. Raises PatternError."""
    found = expression_of(text, 0, text)
    return _as_place(found, text)


@lru_cache(maxsize=4096)
def parse_gradient(text: str) -> Expression | Update:
    """Where a gradient is found, or `update(place)`. Raises PatternError."""
    found = parse_call(text)
    if isinstance(found, Call) and isinstance(found.function, Name) and found.function.name == "update":
        if len(found.arguments) != 1 or found.keywords:
            raise PatternError(text, *extent(text), "update takes one place", "write update(self.gamma)")
        return Update(_as_place(found.arguments[0], text))
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
    return Step(text, expression, _target(tree, Source(text, start), {}))


def _target(node: ast.expr, source: Source, seen: dict[str, None]) -> Target:
    if isinstance(node, ast.Tuple | ast.List) and node.elts:
        return Group(tuple(_target(item, source, seen) for item in node.elts))
    if not isinstance(node, ast.Name):
        raise source.refusal(
            node, "a target is a name, or several in a tuple or a list", "write _ for what is not needed"
        )
    if node.id in seen:
        raise source.refusal(node, f"'{node.id}' is a target twice", "write _ for what is not needed")
    if node.id in GIVEN and node.id not in _REPLACED:
        raise source.refusal(node, f"'{node.id}' is given, and is no target", "give the result another name")
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


def _as_place(found: Expression, text: str) -> Place:
    if isinstance(found, Attribute | Item):
        return found
    raise PatternError(
        text, *extent(text), "this is no place to put a value", "write an attribute or an item, as in self.gamma"
    )
