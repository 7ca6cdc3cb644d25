"""The expressions that a pattern is made of: evaluated and assigned to, one node at a time, never compiled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Name:
    """A name, and its offset in the text."""

    name: str
    offset: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Constant:
    """A number, a string, True, False or None."""

    value: Any


@dataclass(frozen=True, slots=True)
class Span:
    """The constant slice `start:stop`."""

    start: int | None
    stop: int | None


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute, `of.name`."""

    of: Expression
    name: str


@dataclass(frozen=True, slots=True)
class Item:
    """An item, `of[key]`."""

    of: Expression
    key: Constant | Span


@dataclass(frozen=True, slots=True)
class Call:
    """A call, `function(*arguments, **keywords)`."""

    function: Expression
    arguments: tuple[Expression, ...]
    keywords: tuple[tuple[str, Expression], ...] = ()


@dataclass(frozen=True, slots=True)
class Tuple:
    """A tuple, `(items, ...)`."""

    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class List:
    """A list, `[items, ...]`."""

    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Dict:
    """A dict, `{key: value, ...}`."""

    items: tuple[tuple[Expression, Expression], ...]


Expression = Name | Constant | Attribute | Item | Call | Tuple | List | Dict


def evaluate(expression: Expression, values: Mapping[str, Any], namespace: Mapping[str, Any]) -> Any:
    """The value, names being looked up in `values` first. Raises KeyError for a name in neither.

    Whatever a call, an attribute or an item raises comes through.
    """
    match expression:
        case Name(name):
            try:
                return values[name]
            except KeyError:
                return namespace[name]
        case Constant(value):
            return value
        case Attribute(of, name):
            return getattr(evaluate(of, values, namespace), name)
        case Item(of, key):
            return evaluate(of, values, namespace)[_key(key)]
        case Call(function, arguments, keywords):
            called = evaluate(function, values, namespace)
            positional = [evaluate(argument, values, namespace) for argument in arguments]
            return called(*positional, **{name: evaluate(value, values, namespace) for name, value in keywords})
        case Tuple(items):
            return tuple(evaluate(item, values, namespace) for item in items)
        case List(items):
            return [evaluate(item, values, namespace) for item in items]
        case Dict(pairs):
            return {evaluate(key, values, namespace): evaluate(value, values, namespace) for key, value in pairs}


def assign(place: Attribute | Item, value: Any, values: Mapping[str, Any], namespace: Mapping[str, Any]) -> None:
    """Put the value where `place` says. Raises what the object raises that does not take it.

    A tuple takes nothing: it is made anew with the value in it, and put where the old one is.
    """
    target = evaluate(place.of, values, namespace)
    if isinstance(place, Attribute):
        setattr(target, place.name, value)
    elif isinstance(target, tuple) and isinstance(place.of, Attribute | Item):
        items = list(target)
        items[_key(place.key)] = value
        assign(place.of, type(target)(*items) if hasattr(target, "_fields") else tuple(items), values, namespace)
    else:
        target[_key(place.key)] = value


def remove(place: Attribute | Item, values: Mapping[str, Any], namespace: Mapping[str, Any]) -> None:
    """Take away what stands at `place`; of a tuple, which gives nothing away, the whole."""
    target = evaluate(place.of, values, namespace)
    if isinstance(place, Attribute):
        delattr(target, place.name)
    elif isinstance(target, tuple) and isinstance(place.of, Attribute | Item):
        remove(place.of, values, namespace)
    else:
        del target[_key(place.key)]


def names_in(expression: Expression) -> Iterator[Name]:
    """Every name that is looked up, in the order of the text."""
    match expression:
        case Name():
            yield expression
        case Attribute(of) | Item(of):
            yield from names_in(of)
        case Call(function, arguments, keywords):
            yield from names_in(function)
            for argument in (*arguments, *(value for _, value in keywords)):
                yield from names_in(argument)
        case Tuple(items) | List(items):
            for item in items:
                yield from names_in(item)
        case Dict(pairs):
            for pair in pairs:
                for part in pair:
                    yield from names_in(part)


def _key(key: Constant | Span) -> Any:
    return slice(key.start, key.stop) if isinstance(key, Span) else key.value
