"""Places inside an object: where a layer keeps gamma, beta and their gradients, by the names on the way there."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from functools import cache
from operator import itemgetter
from typing import Any

import numpy as np

from bncheck.calling.arrays import attributes_of, kind_of
from bncheck.recognition.names import BETAS, GAMMAS, plain

Places = tuple[tuple[str, str], ...]
"""Pairs of a parameter and the place where it is put."""

NAMES = {"gamma": GAMMAS, "beta": BETAS}
INDEX = {"gamma": "0", "beta": "1"}
LEAVES, DEPTH, ITEMS = 400, 3, 12
ENOUGH_PLACES = 6
_GRADIENT = "d|diff|dl|dj|dloss|dcost|grads?|gradients?|delta|partial|nabla|derivative|der|bar|g|error|err"
_CONTAINERS = re.compile(
    "d|grads?|gradients?|deltas?|derivatives?|dparams?|gradparams?|paramgrads?|parametergradients?"
)
_PARAMETERS = re.compile("params?|parameters?|weights?|trainable|trainableparams|variables?|learnable|theta|p")
_VALUE = ("data", "value", "val", "array", "tensor", "param")
_MANGLED = re.compile(r"^_[A-Za-z]\w*?__(?=\w)")  # what Python makes of self.__gamma
_NO_PLACE = (
    str,
    bytes,
    bool,
    types.ModuleType,
    types.FunctionType,
    types.MethodType,
    types.BuiltinFunctionType,
    type,
    np.random.Generator,
)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A number or an array: the place where it stands, as a pattern, and the names on the way there."""

    text: str
    steps: tuple[str, ...]
    value: Any

    def changed_from(self, before: Mapping[str, Any]) -> bool:
        """Whether another value, or nothing, stood here before."""
        old = before.get(self.text)
        return (
            old is None or np.shape(old) != np.shape(self.value) or not np.array_equal(old, self.value, equal_nan=True)
        )


def leaves_of(value: Any, text: str, first: tuple[str, ...] = ()) -> list[Leaf]:
    """Every number and array that can be reached, at most LEAVES, in the order in which attributes were made.

    `first` are the names on the way to the value itself.
    """
    found: list[Leaf] = []
    seen: set[int] = set()

    def visit(value: Any, text: str, steps: tuple[str, ...], depth: int) -> None:
        if len(found) >= LEAVES:
            return
        kind = kind_of(value)
        if getattr(value, "requires_grad", False) and kind is not None:  # its gradient is kept with it
            found.append(Leaf(f"{text}.data", (*steps, "data"), kind.read(value)))
            return
        if is_leaf(value):
            found.append(Leaf(text, steps, value if kind is None else kind.read(value)))
            return
        if depth == 0 or id(value) in seen or isinstance(value, _NO_PLACE) or value is None:
            return
        seen.add(id(value))
        try:
            inner = list(inside(value, text))
        except Exception:  # a mapping of theirs may do anything when it is looked at, and is then no place
            return
        for step, place, held in inner:
            visit(held, place, (*steps, step), depth - 1)

    visit(value, text, first, DEPTH)
    return found


def is_leaf(value: Any) -> bool:
    """Whether this is a number or an array of numbers."""
    kind = kind_of(value)
    if kind is not None:
        return kind.read(value).dtype.kind in "fiu"
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def named_places(leaves: list[Leaf], missing: Set[str]) -> list[Places]:
    """Places called like gamma and beta, then like one of them alone, the likeliest first; for `missing` alone.

    A layer may scale and not shift, or keep its shift under a name that nobody knows.
    """
    ranked = {
        row: sorted(((_parameter_rank(leaf, row), leaf) for leaf in leaves if is_named(leaf, row)), key=itemgetter(0))
        for row in sorted(missing, reverse=True)
    }
    pairs = [
        (rank + other, (("gamma", gamma.text), ("beta", beta.text)))
        for rank, gamma in ranked.get("gamma", ())
        for other, beta in ranked.get("beta", ())
        if gamma.steps[:-1] == beta.steps[:-1] or (gamma.steps[1:] == beta.steps[1:] and len(gamma.steps) > 1)
    ]
    single = [(rank, ((row, leaf.text),)) for row, found in ranked.items() for rank, leaf in found]
    likeliest = (sorted(found, key=itemgetter(0))[:ENOUGH_PLACES] for found in (pairs, single))
    return [places for found in likeliest for _, places in found]


def is_named(leaf: Leaf, row: str) -> bool:
    """Whether the place is called like gamma, or beta, and not like a gradient."""
    steps = [plain(step) for step in leaf.steps]
    if steps and steps[-1] in _VALUE and len(steps) > 1:
        steps = steps[:-1]
    if not steps or any(_CONTAINERS.fullmatch(step) for step in steps[:-1]):
        return False
    if steps[-1] in NAMES[row] or steps[-1].rstrip("0123456789") in NAMES[row][:3]:
        return True
    return len(steps) > 1 and steps[-1] == INDEX[row] and bool(_PARAMETERS.fullmatch(steps[-2]))


def _parameter_rank(leaf: Leaf, row: str) -> int:
    words = NAMES[row]
    position = min((words.index(plain(step)) for step in leaf.steps if plain(step) in words), default=len(words))
    return 10 * position + len(leaf.steps)


def gradient_rank(steps: tuple[str, ...], row: str, own: tuple[str, ...] = ()) -> int:
    """How surely a place is called like the gradient of gamma, or beta, or of what has the `own` names.

    3 by its own name, 2 by where it stands, 1 by its number there, 0 not at all.
    """
    words = [plain(step) for step in steps if plain(step) not in _VALUE]
    while len(words) > 1 and words[-1].isdigit() and not is_container(words[-2]) and not own:
        words.pop()  # the number of a layer, as in self.dgamma[1]
    names = own or NAMES[row]
    marked = any(map(is_container, words))
    inner = [word for word in words if not is_container(word)]
    inner = [word for word in inner[:-1] if not _PARAMETERS.fullmatch(word)] + inner[-1:]
    if inner and inner[-1] not in names and _gradient_pattern(names).fullmatch(inner[-1]):
        return 3
    if len(inner) == 1 and marked and inner[0] in names:
        return 2
    return int(marked and words[-1] == INDEX.get(row))


def is_container(step: str) -> bool:
    """Whether what stands under that name holds gradients."""
    return bool(_CONTAINERS.fullmatch(plain(step)))


def is_gradient_of(steps: tuple[str, ...], parameter: tuple[str, ...]) -> bool:
    """Whether a place is called like the gradient of what stands at another: self.W1 and self.dW1, or grads['W1']."""
    own = [word for word in map(plain, parameter) if word not in _VALUE and not _PARAMETERS.fullmatch(word)]
    return bool(own) and gradient_rank(steps, "", (own[-1],)) > 1


@cache
def _gradient_pattern(names_of_one: tuple[str, ...]) -> re.Pattern[str]:
    names = "|".join(map(re.escape, sorted(names_of_one, key=len, reverse=True)))
    words = f"(?:{_GRADIENT})"
    return re.compile(f"{words}+d?(?:{names})|(?:{names}){words}+|{words}+d?(?:{names}){words}+")


def inside(value: Any, text: str) -> Iterator[tuple[str, str, Any]]:
    """The names, the places and the values of what an object holds."""
    if isinstance(value, Mapping):
        for key, inner in list(value.items())[:ITEMS]:
            if type(key) in (str, int):
                yield str(key), f"{text}[{key!r}]", inner
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value[:ITEMS]):
            yield str(number), f"{text}[{number}]", inner
    else:
        slots = [name for kind in type(value).__mro__ for name in _slots(kind) if hasattr(value, name)]
        for name in dict.fromkeys([*attributes_of(value), *slots]):
            if isinstance(name, str) and name.isidentifier() and not name.startswith("__"):
                yield _MANGLED.sub("", name), f"{text}.{name}", getattr(value, name)


def _slots(kind: type) -> tuple[str, ...]:
    slots = kind.__dict__.get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)
