"""Signatures: the role of each argument by its name, and the calls that this leaves, in the pattern language."""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from bncheck.recognition import names
from bncheck.recognition.names import FIRST, HIDDEN, LAYERS, ROLES, ROLES_OF, TEXTS, UNKNOWN, plain


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a call: `role` is one of ROLES, or empty; `default` is None also where that is the default.

    `keys` are those that its function looks up in it, where it seems to be a dictionary; `objects` are made of gamma
    and beta, and may be handed over for it; `text` is what is, where that is settled.
    """

    name: str
    role: str
    required: bool
    keyword_only: bool
    default: Any
    keys: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    text: str = ""


def tree_of(function: Any) -> ast.FunctionDef | None:
    """The syntax tree of a function's source; None where that cannot be read."""
    try:
        return _tree_of(inspect.unwrap(function))
    except (OSError, TypeError, SyntaxError, ValueError, IndexError):
        return None


@lru_cache
def _tree_of(function: Any) -> ast.FunctionDef | None:
    body = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    return body if isinstance(body, ast.FunctionDef) else None


NOTHING: Mapping[str, str] = MappingProxyType({})

HIDDEN_ARGUMENTS = (Argument("*", "", True, False, None),)
"""Stands for the arguments of a call that does not tell them."""


def arguments_of(function: Callable[..., Any], stage: str, skip: int = 0) -> tuple[Argument, ...]:
    """The arguments of a call after the first `skip`, each with its role in a stage: create, build, forward, backward.

    Empty for a call that takes none; for one that does not tell what it takes, which is built-in code and wrappers of
    *args and **kwargs, see `HIDDEN_ARGUMENTS`.
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())
        hides = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    except (ValueError, TypeError):
        parameters, hides = [], True
    found = [
        Argument(
            parameter.name,
            _role(parameter.name, stage),
            parameter.default is parameter.empty,
            parameter.kind is parameter.KEYWORD_ONLY,
            None if parameter.default is parameter.empty else parameter.default,
        )
        for parameter in parameters[skip:]
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if not found and hides and stage in HIDDEN:
        return HIDDEN_ARGUMENTS
    if stage == "forward" and any(argument.role in ("", "parameters") for argument in found):
        keys, objects = _keys_looked_up(function), tuple(_objects_beside(function))
        found = [replace(one, keys=keys.get(one.name, ()), objects=objects) for one in found]
    return tuple(_with_the_first(found, stage))


def _keys_looked_up(function: Callable[..., Any]) -> dict[str, tuple[str, ...]]:
    """The constant keys that a function looks up, by the name of what it looks them up in: p['scale'], p.get('eps')."""
    found: dict[str, tuple[str, ...]] = {}
    tree = tree_of(function)
    for node in ast.walk(tree) if tree is not None else ():
        match node:
            case (
                ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str() as key))
                | ast.Call(
                    func=ast.Attribute(value=ast.Name(id=name), attr="get"), args=[ast.Constant(str() as key), *_]
                )
            ):
                found[name] = tuple(dict.fromkeys([*found.get(name, ()), key]))
    return found


def _objects_beside(function: Callable[..., Any]) -> Iterator[str]:
    """Calls of the classes beside a function that are made of gamma and beta, and that it may take in their place."""
    space = getattr(inspect.unwrap(function), "__globals__", {})
    for name, value in list(space.items()):
        if inspect.isclass(value) and value.__module__ == space.get("__name__"):
            arguments = arguments_of(value, "create")
            if {"gamma", "beta"} <= {argument.role for argument in arguments}:
                yield next(calls(name, arguments, "create", NOTHING))


def calls(text: str, arguments: tuple[Argument, ...], stage: str, known: Mapping[str, str]) -> Iterator[str]:
    """Calls of `text` in the pattern language, the likeliest first. `known` has the names of what forward gave.

    An argument without a role is tried with what is left in `known`, then with what such arguments often are.
    """
    if is_hidden(arguments):
        for written in HIDDEN[stage]:
            if "cache" not in written or known:
                yield f"{text}({written.replace('cache', ', '.join(known.values()))})"
        return
    left = _left(arguments, stage, known) or _unnamed_parameters(arguments, stage)
    options: list[tuple[str | None, ...]] = []
    for argument in arguments:
        options.append(_options(argument, stage, known, left))
        if argument.required and left and left[0] in options[-1]:
            left.pop(0)
    for chosen in _likeliest_first(options):
        yield f"{text}({', '.join(_written(arguments, chosen))})"


def by_position(call: str, arguments: tuple[Argument, ...]) -> str:
    """The call with all its arguments by position, and the constants that are the defaults of those between them."""
    tree = ast.parse(call, mode="eval").body
    assert isinstance(tree, ast.Call)
    named = {keyword.arg: ast.unparse(keyword.value) for keyword in tree.keywords}
    texts = [ast.unparse(argument) for argument in tree.args]
    texts += [named.get(argument.name, "") for argument in arguments[len(texts) :]]
    while texts and not texts[-1]:
        texts.pop()
    pairs = zip(texts, arguments, strict=False)
    return f"{ast.unparse(tree.func)}({', '.join(text or repr(argument.default) for text, argument in pairs)})"


def _likeliest_first(options: list[tuple[str | None, ...]]) -> list[tuple[str | None, ...]]:
    """Choices of one option each, those with the fewest steps down the lists first; names.CALLS at most."""
    places = itertools.islice(itertools.product(*(range(len(texts)) for texts in options)), 20 * names.CALLS)
    return [
        tuple(texts[place] for texts, place in zip(options, chosen, strict=True))
        for chosen in sorted(places, key=sum)[: names.CALLS]
    ]


def guesses(arguments: tuple[Argument, ...], stage: str, known: Mapping[str, str]) -> bool:
    """Whether an argument is required of which nothing is known, so that what is handed over is a guess."""
    nameless = [argument for argument in arguments if argument.required and not (argument.role or argument.text)]
    return len(nameless) > len(_left(arguments, stage, known))


def is_hidden(arguments: tuple[Argument, ...]) -> bool:
    """Whether a call does not tell what it takes."""
    return arguments == HIDDEN_ARGUMENTS


def _left(arguments: tuple[Argument, ...], stage: str, known: Mapping[str, str]) -> list[str]:
    """The names in `known` that no argument asks for by its role."""
    roles = {argument.role for argument in arguments}
    return [name for role, name in known.items() if role not in roles] if stage == "backward" else []


def _unnamed_parameters(arguments: tuple[Argument, ...], stage: str) -> list[str]:
    """The usual arguments of a forward besides x, in the order in which people write them, where names do not tell."""
    roles = {argument.role for argument in arguments}
    usual = {"gamma": "gamma", "beta": "beta", "running mean": "running_mean", "running var": "running_var"}
    unnamed = [argument for argument in arguments if argument.required and not argument.role]
    if stage != "forward" or "parameters" in roles or not unnamed:
        return []
    return [text for role, text in usual.items() if role not in roles]


def _role(name: str, stage: str) -> str:
    word = plain(name)
    return next((role for role in ROLES_OF[stage] if word in ROLES[role]), "")


def _with_the_first(arguments: list[Argument], stage: str) -> list[Argument]:
    """The arguments, with a role for the one that the stage is about, whatever it is called."""
    first = FIRST[stage]
    roles = {argument.role for argument in arguments}
    if first in roles or (stage in ("create", "build") and roles & {"features", "shape", "x", "gamma"}):
        return arguments
    required = [argument for argument in arguments if argument.required] or arguments[:1]
    nameless = [argument for argument in required if not argument.role] or required
    if stage == "backward" and required and required[0].role == "x":
        nameless = required  # backward(self, x): what is called x there is the upstream gradient
    if not nameless or (stage in ("create", "build") and nameless[0].role):
        return arguments
    return [replace(argument, role=first) if argument is nameless[0] else argument for argument in arguments]


def _dictionary(keys: tuple[str, ...]) -> tuple[str, ...]:
    """A dictionary with those of the keys that say what they are of; none where no key does."""
    roles = [(key, next((role for role in ROLES_OF["forward"] if plain(key) in ROLES[role]), "")) for key in keys]
    items = [f"{key!r}: {TEXTS[role][0]}" for key, role in roles if role in TEXTS]
    return (f"{{{', '.join(items)}}}",) if items else ()


def _options(argument: Argument, stage: str, known: Mapping[str, str], left: list[str]) -> tuple[str | None, ...]:
    """The texts that are tried for an argument, the likeliest first; None leaves it to its default."""
    role = argument.role
    if argument.text or argument.default == []:
        return (argument.text or LAYERS,)
    if role in ("mode", "training") and isinstance(argument.default, bool | str):
        role = "mode" if isinstance(argument.default, str) else "training"
    texts = _texts(role, argument, stage, known, left)
    if argument.required or role == "dout":
        return texts
    if role == "optimiser":
        return (None, "optimizer") if stage == "backward" else (None,)
    unasked = stage == "backward" and role not in ("rate", "cache", "eps", *known)
    if unasked or (role == "frozen" and argument.default is False):
        return (None,)
    return (*texts[:2], None) if role in names.WANTED or role in known or role in names.CHOSEN[stage] else (None,)


def _texts(role: str, argument: Argument, stage: str, known: Mapping[str, str], left: list[str]) -> tuple[str, ...]:
    """The texts for an argument in a role; none where it asks for what forward did not give."""
    if role in known:
        return (known[role],)
    if role == "cache" and stage == "backward":
        return (f"({', '.join(known.values())})",) if len(known) > 1 else tuple(known.values()) or ("cache",)
    if role in TEXTS:
        return (*TEXTS[role], *_dictionary(argument.keys), *argument.objects)
    unknown = [] if role else [text for text in UNKNOWN[stage] if text != "cache" or text in known.values()]
    return (*_dictionary(argument.keys), *left[:1], *argument.objects, *unknown)


def _written(arguments: tuple[Argument, ...], chosen: tuple[str | None, ...]) -> Iterator[str]:
    by_name = False
    for argument, text in zip(arguments, chosen, strict=True):
        by_name = by_name or text is None or not argument.required or argument.keyword_only
        if text is not None:
            yield f"{argument.name}={text}" if by_name else text
