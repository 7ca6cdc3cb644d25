"""Pairs of a forward and a backward in a file that could be batch normalisation: by their names, then any others."""

from __future__ import annotations

import ast
import functools
import inspect
import re
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bncheck.calling.arrays import JAX, is_tensor_class, kind_named, kinds_of
from bncheck.recognition.names import BACKWARDS, FORWARDS, LESS_LIKELY_FORWARDS, NEVER_A_PASS, plain
from bncheck.recognition.signature import NOTHING, Argument, arguments_of, by_position, calls, is_hidden, tree_of

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
    """

    name: str
    owner: type | None
    forward: str
    backward: str
    namespace: Mapping[str, Any] = field(repr=False, compare=False)
    named: bool
    claimed: bool = False
    fits: bool = True

    @property
    def plainly_named(self) -> bool:
        """Whether it claims to be a batch normalisation and nothing else."""
        if self.claimed:
            return True
        stem = stem_of(self.backward, BACKWARDS) if self.owner is None else plain(self.owner.__name__)
        return self.named and not _FILLING.sub("", stem or "")

    @property
    def is_static(self) -> bool:
        """Whether no object is needed: functions, or static methods and methods of the class."""
        kinds = (staticmethod, classmethod)
        held = [inspect.getattr_static(self.owner, name, None) for name in (self.forward, self.backward)]
        return self.owner is None or all(isinstance(value, kinds) for value in held)

    @property
    def variables(self) -> tuple[str, ...]:
        """The dictionaries and lists of the module that the two name, in which there may be parameters."""
        codes = [
            getattr(inspect.unwrap(self.function(name)), "__code__", None) for name in (self.forward, self.backward)
        ]
        names = [name for code in codes if code is not None for name in code.co_names]
        return tuple(name for name in dict.fromkeys(names) if isinstance(self.namespace.get(name), dict | list))

    @property
    def is_alone(self) -> bool:
        """Whether it is a backward without a forward, of which ours takes the place."""
        return self.forward == REFERENCE

    @property
    def closes(self) -> bool:
        """Whether its backward is a function that its forward returns: both then have one name here."""
        return self.forward == self.backward

    def function(self, name: str) -> Any:
        """The function or method of that name."""
        return self.namespace[name] if self.owner is None else getattr(self.owner, name)

    def arguments(self, stage: str, name: str = "") -> tuple[Argument, ...]:
        """The arguments of the call that makes the layer, or of its forward, its backward, or the method of a name."""
        if stage == "create":
            return () if self.owner is None or self.is_static else arguments_of(self.owner, stage)
        name = name or getattr(self, stage)
        is_bound = self.owner is None or isinstance(
            inspect.getattr_static(self.owner, name), staticmethod | classmethod
        )
        return arguments_of(self.function(name), stage, skip=0 if is_bound else 1)

    def calls(self, stage: str, known: Mapping[str, str] = NOTHING, name: str = "") -> list[str]:
        """The calls that are tried, the likeliest first: see `signature.calls`."""
        return list(calls(self.text(name or getattr(self, stage, "")), self.arguments(stage, name), stage, known))

    def text(self, name: str) -> str:
        """The function or method of that name, or the class where it is empty, in a pattern."""
        if self.owner is None:
            return name
        owner = self.owner.__name__
        if name == "__call__":
            return "self"  # a pattern has no names with two underscores
        return f"{owner if self.is_static else 'self'}.{name}" if name else owner


APPLY = "apply"
"""The method by which a Function is called: of torch, and of all that take after it."""

CONTEXTS = ("ctx", "context", "self", "cls", "c")
"""Names of the first argument of a Function's forward, which `apply` hands over."""

ARRAYS = ("x", "gamma", "beta", "running_mean", "running_var")


@dataclass(frozen=True, slots=True)
class Through(Candidate):
    """A forward after which the arrays run backward, through what was made of them: a Function, a module, a function.

    `runs` is the kind of these arrays.
    """

    runs: str = ""

    @property
    def is_static(self) -> bool:
        """Whether no object is needed."""
        return self.owner is None or self.forward == APPLY

    @property
    def closes(self) -> bool:
        """Whether its backward is a function that its forward returns: none of theirs is ever called."""
        return False

    def arguments(self, stage: str, name: str = "") -> tuple[Argument, ...]:
        """The arguments of the call that makes the layer, or of its forward; of a Function without its context."""
        if stage != "forward" or self.forward != APPLY:
            return Candidate.arguments(self, stage, name)
        function = Candidate.function(self, "forward")
        first = next(iter(inspect.signature(function).parameters), "")
        return arguments_of(function, stage, skip=int(first in CONTEXTS))

    def calls(self, stage: str, known: Mapping[str, str] = NOTHING, name: str = "") -> list[str]:
        """The calls that are tried: of a Function by position alone, and inside jax.vjp where JAX runs backward."""
        found, arguments = Candidate.calls(self, stage, known, name), self.arguments(stage, name)
        if stage != "forward" or is_hidden(arguments):
            return found
        if self.runs == JAX.name:
            return [text for call in found for text in _through_vjp(by_position(call, arguments), arguments)]
        return list(dict.fromkeys(by_position(call, arguments) for call in found)) if self.forward == APPLY else found

    def text(self, name: str) -> str:
        """The function or method of that name in a pattern; a module is called itself."""
        return "self" if not self.is_static and name == self.forward else Candidate.text(self, name)


def _through_vjp(call: str, arguments: tuple[Argument, ...]) -> Iterator[str]:
    """The call of a function as one of jax.vjp: what is no array is bound before, or else handed over as arrays are."""
    name, _, rest = call.removesuffix(")").partition("(")
    given = rest.split(", ")
    arrays = [text for text in given if text in ARRAYS]
    if given[: len(arrays)] == arrays != given:
        pairs = zip(arguments[len(arrays) :], given[len(arrays) :], strict=False)
        bound = ", ".join([name, *(f"{argument.name}={text}" for argument, text in pairs)])
        yield f"jax.vjp({', '.join([f'jax.tree_util.Partial({bound})', *arrays])})"
    yield f"jax.vjp({', '.join([name, *given])})"


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
            else:
                through = _through(name, value, namespace)
                found += _of_class(name, value, namespace) if through is None else [through]
        elif callable(value) and not inspect.isclass(value) and not name.startswith("__"):
            functions[name] = value
    rules = [getattr(value, rule, None) for value in functions.values() for rule in ("fwd", "bwd")]  # of a custom vjp
    functions = {name: value for name, value in functions.items() if value not in rules}
    pairs = list(_of_functions(functions, namespace, alone, left_out))
    paired = {name for pair in pairs if pair.fits and not pair.closes for name in (pair.forward, pair.backward)}
    for name, value in functions.items():
        if is_named(name) and name not in paired and stem_of(name, BACKWARDS) is None:
            runs = _runs(value, namespace)
            pairs += [Through(name, None, name, name, namespace, True, runs=runs)] if runs else []
    order = list(dict.fromkeys(pair.name for pair in pairs))
    for candidate in sorted(pairs, key=lambda pair: order.index(pair.name)):
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


_EMPTY = (ast.Pass, ast.Expr, ast.Raise, ast.Return, ast.Tuple, ast.expr_context)


def is_unfinished(function: Any) -> bool:
    """Whether the body of a function gives nothing: `pass`, `raise NotImplementedError`, or variables left at None."""
    tree = tree_of(function)
    if tree is None:
        return False
    given = {node.arg for node in ast.walk(tree.args) if isinstance(node, ast.arg)}

    def is_empty(node: ast.AST) -> bool:
        match node:
            case ast.Name(id=name):
                return name not in given
            case ast.Expr(ast.Constant()) | ast.Constant(value=None):
                return True
            case ast.Call(func=ast.Name(id="NotImplementedError")):
                return True
            case ast.Assign(value=value):
                return is_empty(value)
        return isinstance(node, _EMPTY) and all(map(is_empty, ast.iter_child_nodes(node)))

    return all(map(is_empty, tree.body))


# --- methods ----------------------------------------------------------------------------------------------------


def _of_class(name: str, owner: type, namespace: Mapping[str, Any]) -> Iterator[Candidate]:
    """The pairs of a class by their names; then, called as the class, any other two of its own methods."""
    methods = _methods(owner)
    forwards, backwards = _stems(methods, FORWARDS), _stems(methods, BACKWARDS)
    pairs = [(f, b) for b, stem in backwards.items() for f, other in forwards.items() if stem == other]
    if not pairs:
        called = ["__call__"] if any("__call__" in vars(kind) for kind in owner.__mro__[:-1]) else []
        spare = [method for word in LESS_LIKELY_FORWARDS for method in methods if plain(method) == word]
        pairs = [(f, b) for b in [*backwards][:2] for f in [*forwards, *called, *spare][:2]]
    # A network has layers whose passes are methods of its own; what else is in it is no batch normalisation.
    layers = [] if is_named(name) else [pair for pair in pairs if is_named(pair[1])]
    whole = [pair for pair in pairs if pair == pairs[0] or pair not in layers]
    alike = [pair for pair in _any_two(methods) if pair not in whole]
    named = is_named(name) or any(is_named(backward) for _, backward in pairs[:1])
    for pair in whole:
        yield Candidate(name, owner, *pair, namespace, named)
    for pair in [] if layers else alike[:ANY_PAIRS]:
        yield Candidate(name, owner, *pair, namespace, named, fits=False)
    for pair in layers:
        if pair not in whole:
            yield Candidate(f"{name}.{pair[1]}", owner, *pair, namespace, True)
    for backward, stem in backwards.items():  # backward_alt beside backward
        is_first = not pairs or backward == pairs[0][1] or backward.startswith("_")
        if not is_first and stem and plain(backward).startswith(plain(pairs[0][1])):
            yield Candidate(f"{name}.{backward}", owner, pairs[0][0], backward, namespace, False)


def _runs(value: Any, namespace: Mapping[str, Any]) -> str:
    """The kind of arrays that may run backward through what somebody's code makes of them; empty where none does."""
    kinds = (kind_named(name, namespace) for name in kinds_of(namespace, [value]))
    return next((kind.name for kind in kinds if kind.backward), "")


def _through(name: str, owner: type, namespace: Mapping[str, Any]) -> Through | None:
    """The candidate that a Function is, or a module without a backward of its own; None for any other class."""
    runs = "" if is_tensor_class(owner) else _runs(owner, namespace)
    methods = _methods(owner) if runs else []
    called = [method for method in [*methods, *vars(owner)] if method in ("forward", "__call__")]
    if callable(getattr(owner, APPLY, None)) and {"forward", "backward"} <= {*methods}:
        called = [APPLY]
    elif any(plain(method).startswith(BACKWARDS) for method in methods):
        return None
    return Through(name, owner, called[0], called[0], namespace, is_named(name), runs=runs) if runs and called else None


def _stems(names: Iterable[str], words: tuple[str, ...]) -> dict[str, str]:
    """The names that have one of the words, each with its stem: public ones first, then shorter stems."""
    stems = [(name, stem) for name in names if (stem := stem_of(name, words)) is not None]
    return dict(sorted(stems, key=lambda found: (found[0].startswith("_"), len(found[1]))))


def _methods(owner: type) -> list[str]:
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


def _any_two(names: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of what might be a forward and a backward: called one first, those of less likely names last."""
    forwards = [name for name in names if stem_of(name, BACKWARDS) is None]
    backwards = [name for name in names if stem_of(name, FORWARDS) is None]
    forwards.sort(key=lambda name: name.startswith("_"))
    backwards.sort(key=lambda name: (stem_of(name, BACKWARDS) is None, name.startswith("_")))
    return [(forward, backward) for backward in backwards for forward in forwards if forward != backward]


# --- functions --------------------------------------------------------------------------------------------------


REFERENCE = "reference"
"""The forward of a backward alone, in patterns: our own."""


def _reference(x: Any, gamma: Any, beta: Any, eps: Any) -> None:
    """The arguments of the reference, which is made anew for each call."""


def _of_functions(
    functions: Mapping[str, Any],
    namespace: Mapping[str, Any],
    alone: list[tuple[str, str]],
    left_out: list[tuple[str, str]],
) -> Iterator[Candidate]:
    """The pairs of functions by their names; where there is none, any two, called as the second."""
    backwards = {name: stem for name in functions if (stem := stem_of(name, BACKWARDS)) is not None}
    # A function of the bare name, batchnorm beside batchnorm_backward, is a forward too.
    said = _stems([name for name in functions if name not in backwards and not is_other(name)], FORWARDS)
    stems = said | {name: plain(name) for name in functions if name not in (*backwards, *said) and not is_other(name)}
    found = False
    for backward, stem in backwards.items():
        if is_other(backward) or is_unfinished(functions[backward]):
            reason = OTHER if is_other(backward) else UNFINISHED.format(name=backward)
            left_out.append((backward, f"{backward} {reason}"))
            continue
        named = is_named(backward)
        near = [name for name, other in stems.items() if other == stem or (other and stem.startswith(other))]
        if not near and named:
            near = [name for name in stems if is_named(name) or name in said]
        near.sort(key=lambda name: (not stem.startswith(stems[name]), -len(stems[name]), name not in said))
        for forward in near[:RIVALS]:
            found = True
            yield Candidate(backward, None, forward, backward, namespace, named or is_named(forward))
        roles = {argument.role for argument in arguments_of(functions[backward], "backward")} if named else set()
        if named and not near and "dout" in roles and roles & {"x", "x_hat", "centred"}:
            found = True
            beside = {**namespace, REFERENCE: _reference}
            yield Candidate(backward, None, REFERENCE, backward, beside, named, claimed=True)
        elif named and not near:
            alone.append((backward, f"{backward} has no forward beside it, and a backward alone cannot be checked"))
    usable = [name for name in functions if not is_other(name) and not is_unfinished(functions[name])]
    closing = [name for name in usable if name not in backwards and _has_a_function_inside(functions[name])]
    for name in closing if not found else filter(is_named, closing):
        yield Candidate(name, None, name, name, namespace, is_named(name))
    for pair in [] if found else _any_two(usable)[:ANY_PAIRS]:
        yield Candidate(pair[1], None, *pair, namespace, False, fits=False)


def _has_a_function_inside(function: Any) -> bool:
    tree = tree_of(function)
    inner = [] if tree is None else [node for node in ast.walk(tree) if node is not tree]
    made = [node for node in inner if isinstance(node, ast.FunctionDef | ast.Lambda)]
    return bool(made) or any(getattr(node, "id", getattr(node, "attr", "")) == "partial" for node in inner)
