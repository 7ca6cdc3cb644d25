"""Pairs of a forward and a backward in a file that could be batch normalisation: by their names, then any others."""

from __future__ import annotations

import ast
import functools
import inspect
import re
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bncheck.calling.arrays import JAX, is_tensor_class, kind_named, kinds_of
from bncheck.recognition.names import BACKWARDS, FORWARDS, LESS_LIKELY_FORWARDS, NEVER_A_PASS, plain
from bncheck.recognition.signature import (
    Argument,
    arguments_of,
    by_position,
    calls,
    method_arguments_of,
    tree_of,
)

_OTHER = re.compile(
    "(layer|group|instance|weight|spectral|rms|local|power|filter)norm|^(spatial)?(ln|gn|lrn)(?![a-z])|^(ln|gn)(for|back)"
)
_BATCH_NORM = re.compile("batch_?norm|^bn|bn(layer|1d|2d)?$|_bn|batchnormali[sz]", re.IGNORECASE)
_FILLING = re.compile(
    "batchnorm(ali[sz]ation|ali[sz]e|ali[sz]er|al)?|bn|layer|spatial|dense|1d|2d|3d|np|numpy|simple|my|alt|naive|fc|op|function|module"
)
_METHODS = (types.FunctionType, staticmethod, classmethod, functools.partialmethod)

RIVALS = 3
"""Forwards that are tried with one backward of a fitting name."""

ANY_PAIRS = 60
"""Pairs that are tried where the names say nothing."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A forward and a backward that may belong together. `owner` is the class whose methods they are, or None.

    `name` is what the pair is called in a report; `named` says whether it is called like a batch normalisation.
    `claimed` where its owner says that it is one, whatever it is called; `fits` where the two names belong together.
    `runs` is the kind of arrays that runs backward, through what was made of them; empty where we call it ourselves.
    """

    name: str
    owner: type | None
    forward: str
    backward: str
    named: bool
    claimed: bool = False
    fits: bool = True
    runs: str = ""

    @property
    def plainly_named(self) -> bool:
        """Whether it claims to be a batch normalisation and nothing else."""
        if self.claimed:
            return True
        name = self.owner.__name__ if self.owner is not None else self.backward
        stem = plain(name) if self.owner is not None else stem_of(name, BACKWARDS)
        return self.named and not _FILLING.sub("", stem or "")

    @property
    def is_applied(self) -> bool:
        """Whether it is a Function, which is called by `apply`."""
        return bool(self.runs) and self.forward == APPLY

    @property
    def is_static(self) -> bool:
        """Whether no object is needed: both are static methods, or methods of the class."""
        kinds = (staticmethod, classmethod)
        held = [inspect.getattr_static(self.owner, name, None) for name in (self.forward, self.backward)]
        return self.owner is not None and (self.is_applied or all(isinstance(value, kinds) for value in held))

    def calls_through(self, namespace: Mapping[str, Any]) -> list[str]:
        """The calls of a forward through which backward is run later, the likeliest first."""
        if self.owner is None:
            arguments = arguments_of(namespace[self.forward], "forward")
            found = list(calls(self.forward, arguments, "forward", {}))
            return (
                [text for call in found for text in _through_vjp(call, arguments)] if self.runs == JAX.name else found
            )
        if not self.is_applied:
            return list(calls("self", method_arguments_of(self.owner, self.forward, "forward"), "forward", {}))
        function: Callable[..., Any] = inspect.getattr_static(self.owner, "forward").__func__
        has_context = next(iter(inspect.signature(function).parameters), "") in CONTEXTS
        arguments = arguments_of(function, "forward", skip=int(has_context))
        texts = calls(f"{self.owner.__name__}.{APPLY}", arguments, "forward", {})
        return list(dict.fromkeys(by_position(text, arguments) for text in texts))

    @property
    def called_on(self) -> str:
        """The name that the methods are called on, in a pattern."""
        return self.owner.__name__ if self.owner is not None and self.is_static else "self"


@dataclass(frozen=True, slots=True)
class Candidates:
    """The pairs, rivals of one name side by side; and by name, why others have no forward, or are left out."""

    pairs: tuple[Candidate, ...]
    alone: tuple[tuple[str, str], ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()


def candidates_in(namespace: Mapping[str, Any], only: str = "") -> Candidates:
    """The candidates that a module defines itself, in the order of the file; with `only`, those of that name."""
    found: list[Candidate] = []
    alone: list[tuple[str, str]] = []
    left_out: list[tuple[str, str]] = []
    functions: dict[str, Callable[..., Any]] = {}
    for name, value in list(namespace.items()):
        if only and name != only.partition(".")[0] and not inspect.isfunction(value):
            continue
        if not only and getattr(value, "__module__", None) != namespace.get("__name__"):
            continue
        if inspect.isclass(value) and not issubclass(value, BaseException):
            reason = _why_left_out(name, value, bool(only))
            if reason:
                (alone if only else left_out).append((name, f"{name} {reason}"))
            elif through := _through(name, value, namespace):
                found.append(through)
            else:
                found += _of_class(name, value)
        elif callable(value) and not inspect.isclass(value) and not name.startswith("__"):
            functions[name] = value
    rules = {getattr(value, rule, None) for value in functions.values() for rule in ("fwd", "bwd")}  # of a custom vjp
    functions = {name: value for name, value in functions.items() if value not in rules}
    pairs = list(_of_functions(functions, alone, left_out))
    paired = {name for pair in pairs if pair.fits for name in (pair.forward, pair.backward)}
    for name, value in functions.items():
        is_whole = is_named(name) and name not in paired and stem_of(name, BACKWARDS) is None
        if is_whole and (runs := _runs(value, namespace)):
            pairs.append(Candidate(name, None, name, name, True, runs=runs))
    for candidate in pairs:
        if not only or only in (candidate.backward, candidate.forward):
            found.append(candidate)
    return Candidates(tuple(found), tuple(alone), tuple(left_out))


# --- names ------------------------------------------------------------------------------------------------------


def is_named(name: str) -> bool:
    """Whether a name is that of a batch normalisation."""
    return bool(_BATCH_NORM.search(name)) and not is_other(name)


def is_other(name: str) -> bool:
    """Whether a name is that of another normalisation, which looks alike on transposed input."""
    return bool(_OTHER.search(plain(name))) and not _BATCH_NORM.search(name)


def stem_of(name: str, words: tuple[str, ...]) -> str | None:
    """The name without the word that makes it a forward, or a backward; None where it has none of them."""
    word = plain(name)
    for found in words:
        if found in word:
            return word.replace(found, "", 1)
    return None


# --- what is left out -------------------------------------------------------------------------------------------

OTHER = "is another normalisation, and is left out"
ABSTRACT = "is abstract, and is left out"
UNFINISHED = "is not written yet, and is left out: {name} does nothing"


def _why_left_out(name: str, owner: type, is_asked_for: bool) -> str:
    """Why a class is no candidate, as the rest of a sentence; empty where it is one."""
    if is_other(name) and not is_asked_for:
        return OTHER
    held = [inspect.getattr_static(owner, method, None) for method in dir(owner)]
    methods = [value for value in held if isinstance(value, types.FunctionType)]
    forwards = [method for method in methods if stem_of(method.__name__, FORWARDS) is not None]
    backwards = [method for method in methods if stem_of(method.__name__, BACKWARDS) is not None]
    unfinished = [method for method in (*forwards, *backwards) if is_unfinished(method)]
    if inspect.isabstract(owner) or (len(unfinished) == len(forwards) + len(backwards) > 0 and not is_named(name)):
        return ABSTRACT
    for methods in (backwards, forwards):
        if methods and all(method in unfinished for method in methods):
            return UNFINISHED.format(name=methods[0].__name__)
    return ""


def is_unfinished(function: Any) -> bool:
    """Whether the body of a function gives nothing: `pass`, `raise NotImplementedError`, or variables left at None."""
    body = tree_of(function)
    if body is None:
        return False
    nothing: set[str] = set()
    return all(_does_nothing(statement, nothing) for statement in body.body)


def _does_nothing(statement: ast.stmt, nothing: set[str]) -> bool:
    """Whether a statement neither computes nor returns anything; `nothing` has the names that were set to None."""
    match statement:
        case ast.Pass() | ast.Expr(ast.Constant()):
            return True
        case ast.Raise(exc=ast.Name(id="NotImplementedError") | ast.Call(func=ast.Name(id="NotImplementedError"))):
            return True
        case ast.Assign(targets=targets, value=value) if _is_none(value, nothing):
            nothing |= {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}
            return True
        case ast.Return(value=None):
            return True
        case ast.Return(value=value):
            return value is not None and _is_none(value, nothing)
    return False


def _is_none(value: ast.expr, nothing: set[str]) -> bool:
    match value:
        case ast.Constant(value=None):
            return True
        case ast.Tuple(elts=items):
            return all(_is_none(item, nothing) for item in items)
        case ast.Name(id=name):
            return name in nothing
    return False


# --- backward that is run through what was made of the arrays ---------------------------------------------------

APPLY = "apply"
"""The method by which a Function is called: of torch, and of all that take after it."""

CONTEXTS = ("ctx", "context", "self", "cls", "c")
"""Names of the first argument of a Function's forward, which `apply` hands over."""


def _runs(value: Any, namespace: Mapping[str, Any]) -> str:
    """The kind of arrays that may run backward through what somebody's code makes of them; empty where none does."""
    kinds = (kind_named(name, namespace) for name in kinds_of(namespace, [value]))
    return next((kind.name for kind in kinds if kind.backward), "")


def _through(name: str, owner: type, namespace: Mapping[str, Any]) -> Candidate | None:
    """The candidate that a Function is, or a module without a backward of its own; None for any other class."""
    runs = _runs(owner, namespace)
    methods = methods_of(owner) if runs else []
    if not runs or is_tensor_class(owner):
        return None
    if callable(getattr(owner, APPLY, None)) and {"forward", "backward"} <= {*methods}:
        return Candidate(name, owner, APPLY, "backward", is_named(name), runs=runs)
    if any(stem_of(method, BACKWARDS) is not None for method in methods):
        return None
    forward = next((method for method in ("forward", "__call__") if method in {*methods, *_own(owner)}), "")
    return Candidate(name, owner, forward, "", is_named(name), runs=runs) if forward else None


ARRAYS = ("x", "gamma", "beta", "running_mean", "running_var")


def _through_vjp(call: str, arguments: tuple[Argument, ...]) -> Iterator[str]:
    """The call of a function as one of jax.vjp: what is no array is bound before, or else handed over as arrays are."""
    tree = ast.parse(by_position(call, arguments), mode="eval").body
    assert isinstance(tree, ast.Call)
    name, given = ast.unparse(tree.func), [ast.unparse(argument) for argument in tree.args]
    arrays = [text for text in given if text in ARRAYS]
    if given[: len(arrays)] == arrays and arrays != given:
        pairs = zip(arguments[len(arrays) :], given[len(arrays) :], strict=False)
        bound = ", ".join([name, *(f"{argument.name}={text}" for argument, text in pairs)])
        yield f"jax.vjp({', '.join([f'jax.tree_util.Partial({bound})', *arrays])})"
    yield f"jax.vjp({', '.join([name, *given])})"


# --- methods ----------------------------------------------------------------------------------------------------


def _of_class(name: str, owner: type) -> Iterator[Candidate]:
    """The pairs of a class by their names; then, called as the class, any other two of its own methods."""
    methods = methods_of(owner)
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
    first = pairs[:1]
    named = is_named(name) or any(is_named(backward) for _, backward in first)
    for forward, backward in first:
        yield Candidate(name, owner, forward, backward, named)
    parts = [pair for pair in pairs if is_named(pair[1]) and not is_named(name)]  # layers of a network
    any_two = [(f, b) for f in _forward_like(methods) for b in _backward_like(methods) if f != b]
    others = [] if parts else [pair for pair in any_two if pair not in first]
    for forward, backward in pairs[1:]:
        if (forward, backward) not in parts:
            yield Candidate(name, owner, forward, backward, named)
    for forward, backward in others[:ANY_PAIRS]:
        yield Candidate(name, owner, forward, backward, named, fits=False)
    for forward, backward in parts:
        if (forward, backward) not in first:
            yield Candidate(f"{name}.{backward}", owner, forward, backward, True)
    for backward, stem in backwards.items():  # backward_alt beside backward
        is_first = not first or backward == first[0][1] or backward.startswith("_")
        if not is_first and stem and plain(backward).startswith(plain(first[0][1])):
            yield Candidate(f"{name}.{backward}", owner, first[0][0], backward, False)


def methods_of(owner: type) -> list[str]:
    """The methods that a class and its own bases define, but for those that are no pass of a layer.

    Looked up statically: a property of theirs may do anything when it is read. What comes from a framework, which is
    another top-level package, and what is not written, is left out.
    """
    home = owner.__module__.partition(".")[0]
    own: dict[str, Any] = {}
    for kind in reversed(owner.__mro__[:-1]):
        if kind.__module__.partition(".")[0] == home:
            own |= vars(kind)
    return [
        name
        for name, value in own.items()
        if isinstance(value, _METHODS) and not name.startswith("__") and plain(name) not in NEVER_A_PASS
        if not is_unfinished(value)
    ]


def _own(owner: type) -> set[str]:
    return {name for kind in owner.__mro__[:-1] for name in vars(kind)}


def _forward_like(methods: Sequence[str]) -> list[str]:
    """Methods that might be a forward, those of less likely names last."""
    return sorted((name for name in methods if stem_of(name, BACKWARDS) is None), key=lambda name: name.startswith("_"))


def _backward_like(methods: Sequence[str]) -> list[str]:
    """Methods that might be a backward, those that are called one first."""
    return sorted(
        (name for name in methods if stem_of(name, FORWARDS) is None),
        key=lambda name: (stem_of(name, BACKWARDS) is None, name.startswith("_")),
    )


# --- functions --------------------------------------------------------------------------------------------------


def _of_functions(
    functions: Mapping[str, Any], alone: list[tuple[str, str]], left_out: list[tuple[str, str]]
) -> Iterator[Candidate]:
    """The pairs of functions by their names; where there is none, any two, called as the second."""
    forwards = {name: stem_of(name, FORWARDS) for name in functions}
    backwards = {name: stem for name in functions if (stem := stem_of(name, BACKWARDS)) is not None}
    order = list(functions)
    found = False
    for backward, stem in backwards.items():
        if is_other(backward):
            left_out.append((backward, f"{backward} {OTHER}"))
            continue
        if is_unfinished(functions[backward]):
            left_out.append((backward, f"{backward} {UNFINISHED.format(name=backward)}"))
            continue
        # A function of the bare name, batchnorm beside batchnorm_backward, is a forward too.
        stems = {
            name: plain(name) if found_stem is None else found_stem
            for name, found_stem in forwards.items()
            if name not in backwards and not is_other(name)
        }
        near = [(name, other) for name, other in stems.items() if other == stem or (other and stem.startswith(other))]
        named = is_named(backward)
        if not near and named:
            near = [(name, other) for name, other in stems.items() if is_named(name) or forwards[name] is not None]
        near.sort(key=lambda pair: (-_in_common(pair[1], stem), forwards[pair[0]] is None, order.index(pair[0])))
        for forward, _ in near[:RIVALS]:
            found = True
            yield Candidate(backward, None, forward, backward, named or is_named(forward))
        if named and not near:
            alone.append((backward, f"{backward} has no forward beside it, and a backward alone cannot be checked"))
    if not found and len(functions) > 1:
        usable = [name for name in functions if not is_other(name) and not is_unfinished(functions[name])]
        pairs = [(forward, backward) for backward in usable for forward in usable if forward != backward]
        for forward, backward in pairs[:ANY_PAIRS]:
            yield Candidate(backward, None, forward, backward, False, fits=False)


def _in_common(one: str, other: str) -> int:
    """How many letters two words begin with in common."""
    return next(
        (i for i, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), min(len(one), len(other))
    )


def _plainest_first(stems: dict[str, str]) -> list[tuple[str, str]]:
    return sorted(stems.items(), key=lambda found: (found[0].startswith("_"), len(found[1])))
