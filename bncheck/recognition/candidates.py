"""What in a file could be batch normalisation: pairs of a forward and a backward, by their names alone."""

from __future__ import annotations

import functools
import inspect
import re
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bncheck.recognition.names import BACKWARDS, FORWARDS, LESS_LIKELY_FORWARDS, plain

_OTHER = re.compile(
    "(layer|group|instance|weight|spectral|rms|local|power|filter)norm|^(spatial)?(ln|gn|lrn)(?![a-z])|^(ln|gn)(for|back)"
)
_BATCH_NORM = re.compile("batch_?norm|^bn|bn(layer|1d|2d)?$|_bn|batchnormali[sz]", re.IGNORECASE)
_FILLING = re.compile(
    "batchnorm(ali[sz]ation|ali[sz]e|ali[sz]er|al)?|bn|layer|spatial|dense|1d|2d|3d|np|numpy|simple|my|alt|naive|fc|op|function|module"
)


_METHODS = (types.FunctionType, staticmethod, classmethod, functools.partialmethod)
RIVALS = 3  # forwards that are tried with one backward


@dataclass(frozen=True, slots=True)
class Candidate:
    """A forward and a backward that may belong together. `owner` is the class whose methods they are, or None.

    `name` is what the pair is called in a report; `named` says whether it is called like a batch normalisation.
    `claimed` where its owner says that it is one, whatever it is called.
    """

    name: str
    owner: type | None
    forward: str
    backward: str
    named: bool
    claimed: bool = False

    @property
    def plainly_named(self) -> bool:
        """Whether it claims to be a batch normalisation and nothing else."""
        if self.claimed:
            return True
        name = self.owner.__name__ if self.owner is not None else self.backward
        stem = plain(name) if self.owner is not None else stem_of(name, BACKWARDS)
        return self.named and not _FILLING.sub("", stem or "")


@dataclass(frozen=True, slots=True)
class Candidates:
    """The pairs, rivals for one backward side by side, and sentences on backwards that have no forward beside them."""

    pairs: tuple[Candidate, ...]
    alone: tuple[tuple[str, str], ...]


def candidates_in(namespace: Mapping[str, Any], only: str = "") -> Candidates:
    """The candidates that a module defines itself, in the order of the file; with `only`, those of that name."""
    found: list[Candidate] = []
    alone: list[tuple[str, str]] = []
    functions: dict[str, Callable[..., Any]] = {}
    for name, value in list(namespace.items()):
        if only and name != only.partition(".")[0] and not inspect.isfunction(value):
            continue
        if not only and getattr(value, "__module__", None) != namespace.get("__name__"):
            continue
        if inspect.isclass(value) and not issubclass(value, BaseException) and not is_other(name):
            found += _of_class(name, value)
        elif callable(value) and not inspect.isclass(value) and not name.startswith("__"):
            functions[name] = value
    for candidate in _of_functions(functions, alone):
        if not only or only in (candidate.backward, candidate.forward):
            found.append(candidate)
    return Candidates(tuple(found), tuple(alone))


def is_named(name: str) -> bool:
    """Whether a name is that of a batch normalisation."""
    return bool(_BATCH_NORM.search(name)) and not is_other(name)


def is_other(name: str) -> bool:
    """Whether a name is that of another normalisation, which looks the same on transposed input."""
    return bool(_OTHER.search(plain(name))) and not _BATCH_NORM.search(name)


def _of_class(name: str, owner: type) -> Iterator[Candidate]:
    # Looked up statically: a property of theirs may do anything when it is read.
    held = {method: inspect.getattr_static(owner, method, None) for method in dir(owner)}
    methods = [method for method, value in held.items() if isinstance(value, _METHODS) and not method.startswith("__")]
    forwards = {method: stem for method in methods if (stem := stem_of(method, FORWARDS)) is not None}
    backwards = {method: stem for method in methods if (stem := stem_of(method, BACKWARDS)) is not None}
    pairs = [
        (forward, backward)
        for backward, stem in _plainest_first(backwards)
        for forward, other in _plainest_first(forwards)
        if stem == other
    ]
    if not pairs and backwards:
        spare = [method for word in LESS_LIKELY_FORWARDS for method in methods if plain(method) == word]
        called = ["__call__"] if "__call__" in _own(owner) else []
        spare = [*dict(_plainest_first(forwards)), *called, *spare]
        pairs = [(forward, backward) for backward, _ in _plainest_first(backwards)[:2] for forward in spare[:2]]
    for number, (forward, backward) in enumerate(pairs):
        if number == 0:
            yield Candidate(name, owner, forward, backward, is_named(name) or is_named(backward))
        elif is_named(backward) and not is_named(name):  # a network, one of whose layers is a pair of methods
            yield Candidate(f"{name}.{backward}", owner, forward, backward, True)


def _own(owner: type) -> set[str]:
    return {name for kind in owner.__mro__[:-1] for name in vars(kind)}


def _of_functions(functions: Mapping[str, Any], alone: list[tuple[str, str]]) -> Iterator[Candidate]:
    forwards = {name: stem_of(name, FORWARDS) for name in functions}
    backwards = {name: stem for name in functions if (stem := stem_of(name, BACKWARDS)) is not None}
    order = list(functions)
    for backward, stem in backwards.items():
        if is_other(backward):
            continue
        # A function of the bare name, batchnorm beside batchnorm_backward, is a forward too.
        stems = {
            name: plain(name) if found is None else found for name, found in forwards.items() if name not in backwards
        }
        near = [(name, other) for name, other in stems.items() if other == stem or (other and stem.startswith(other))]
        named = is_named(backward)
        if not near and named:
            near = [(name, other) for name, other in stems.items() if is_named(name) or forwards[name] is not None]
        near.sort(key=lambda found: (-_in_common(found[1], stem), forwards[found[0]] is None, order.index(found[0])))
        for forward, _ in near[:RIVALS]:
            yield Candidate(backward, None, forward, backward, named or is_named(forward))
        if named and not near:
            alone.append((backward, f"{backward} has no forward beside it, and a backward alone cannot be checked"))


def stem_of(name: str, words: tuple[str, ...]) -> str | None:
    """The name without the word that makes it a forward, or a backward; None where it has none of them."""
    word = plain(name)
    for found in words:
        if found in word:
            return word.replace(found, "", 1)
    return None


def _in_common(one: str, other: str) -> int:
    """How many letters two words begin with in common."""
    return next(
        (i for i, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), min(len(one), len(other))
    )


def _plainest_first(stems: dict[str, str]) -> list[tuple[str, str]]:
    return sorted(stems.items(), key=lambda found: (found[0].startswith("_"), len(found[1])))
