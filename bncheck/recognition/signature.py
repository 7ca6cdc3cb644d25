"""Signatures: the role of each argument by its name, and the calls that this leaves, in the pattern language."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from bncheck.recognition.names import CALLS, CHOSEN, FIRST, HIDDEN, ROLES, ROLES_OF, TEXTS, UNKNOWN, WANTED, plain


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a call: `role` is one of ROLES, or empty; `default` is None also where that is the default."""

    name: str
    role: str
    required: bool
    keyword_only: bool
    default: Any


HIDDEN_ARGUMENTS = (Argument("*", "", True, False, None),)
"""Stands for the arguments of a call that does not tell them."""


def arguments_of(function: Callable[..., Any], stage: str) -> tuple[Argument, ...]:
    """The arguments of a call, each with its role in that stage: create, build, forward or backward.

    Empty for a call that takes none, and for one that does not tell what it takes: see `HIDDEN_ARGUMENTS`.
    """
    return _arguments(_parameters_of(function), stage)


def method_arguments_of(owner: type, name: str, stage: str) -> tuple[Argument, ...]:
    """The arguments of a method besides self."""
    bound = isinstance(inspect.getattr_static(owner, name), staticmethod | classmethod)
    parameters = _parameters_of(getattr(owner, name))
    return _arguments(parameters if bound or parameters is None else parameters[1:], stage)


def _parameters_of(function: Callable[..., Any]) -> list[inspect.Parameter] | None:
    try:
        return list(inspect.signature(function).parameters.values())
    except (ValueError, TypeError):
        return None


def _arguments(parameters: list[inspect.Parameter] | None, stage: str) -> tuple[Argument, ...]:
    found = [
        Argument(
            parameter.name,
            _role(parameter.name, stage),
            parameter.default is parameter.empty,
            parameter.kind is parameter.KEYWORD_ONLY,
            None if parameter.default is parameter.empty else parameter.default,
        )
        for parameter in parameters or ()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if not found and _is_hidden(parameters) and stage in HIDDEN:
        return HIDDEN_ARGUMENTS
    return tuple(_with_the_first(found, stage))


def _is_hidden(parameters: list[inspect.Parameter] | None) -> bool:
    """Whether a signature does not tell what is taken: built-in code, and wrappers of *args and **kwargs."""
    return parameters is None or any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)


def calls(text: str, arguments: tuple[Argument, ...], stage: str, known: dict[str, str]) -> Iterator[str]:
    """Calls of `text` in the pattern language, the likeliest first. `known` has the names of what forward gave.

    An argument without a role is tried with what is left in `known`, then with what such arguments often are.
    """
    if arguments == HIDDEN_ARGUMENTS:
        yield from (f"{text}({written})" for written in _hidden(stage, known))
        return
    left = _left(arguments, stage, known)
    options = []
    for argument in arguments:
        found = _options(argument, stage, known, left)
        if argument.required and not argument.role and left:
            left.pop(0)
        options.append(found)
    for chosen in _likeliest_first(options):
        yield f"{text}({', '.join(_written(arguments, chosen))})"


def _likeliest_first(options: list[tuple[str | None, ...]]) -> list[tuple[str | None, ...]]:
    """Choices of one option each, those with the fewest steps down the lists first; CALLS at most."""
    places = itertools.islice(itertools.product(*(range(len(texts)) for texts in options)), 20 * CALLS)
    return [
        tuple(texts[place] for texts, place in zip(options, chosen, strict=True))
        for chosen in sorted(places, key=sum)[:CALLS]
    ]


def _hidden(stage: str, known: dict[str, str]) -> Iterator[str]:
    """The usual arguments of a call that does not tell what it takes, without what forward did not give."""
    for written in HIDDEN[stage]:
        if "cache" not in written or known:
            yield written.replace("cache", ", ".join(known.values()))


def guesses(arguments: tuple[Argument, ...], stage: str, known: dict[str, str]) -> bool:
    """Whether an argument is required of which nothing is known, so that what is handed over is a guess."""
    nameless = [argument for argument in arguments if argument.required and not argument.role]
    return len(nameless) > len(_left(arguments, stage, known))


def _left(arguments: tuple[Argument, ...], stage: str, known: dict[str, str]) -> list[str]:
    """The names in `known` that no argument asks for by its role."""
    roles = {argument.role for argument in arguments}
    return [name for role, name in known.items() if role not in roles] if stage == "backward" else []


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


def _options(argument: Argument, stage: str, known: dict[str, str], left: list[str]) -> tuple[str | None, ...]:
    role = argument.role
    if role == "optimiser" and role in known:
        return (known[role], *TEXTS[role])
    if role == "mode" and isinstance(argument.default, bool):
        role = "training"
    if role == "training" and isinstance(argument.default, str):
        role = "mode"
    if role in known:
        texts: tuple[str | None, ...] = (known[role],)
    elif role == "cache" and stage == "backward":
        texts = (f"({', '.join(known.values())})",) if len(known) > 1 else tuple(known.values()) or ("cache",)
    elif role in TEXTS:
        texts = TEXTS[role]
    elif argument.required:
        texts = (*left[:1], *(text for text in UNKNOWN[stage] if text != "cache" or text in known.values()))
    else:
        return (None,)
    if argument.required or role == "dout":
        return texts
    unasked = stage == "backward" and role not in ("rate", "dout", "cache", "eps", *known)
    if unasked or (role == "frozen" and argument.default is False):
        return (None,)
    return (*texts[:2], None) if role in WANTED or role in known or role in CHOSEN[stage] else (None,)


def _written(arguments: tuple[Argument, ...], chosen: tuple[str | None, ...]) -> Iterator[str]:
    by_name = False
    for argument, text in zip(arguments, chosen, strict=True):
        by_name = by_name or text is None or not argument.required or argument.keyword_only
        if text is not None:
            yield f"{argument.name}={text}" if by_name else text
