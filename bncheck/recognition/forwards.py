"""Every way of making somebody's layer and of calling its forward, the likeliest first, as far as it runs."""

from __future__ import annotations

import ast
import dis
import inspect
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from bncheck.calling.arrays import JAX, KINDS, ArrayKind, kind_named, package_of
from bncheck.calling.layout import Layout, layout_of, parameter_shape
from bncheck.calling.pattern import names_in
from bncheck.calling.plan import parsed
from bncheck.case import ONE_BY_ONE, PARAMETERS, Convention
from bncheck.gradients.variants import LOOSE
from bncheck.recognition.candidates import Candidate, Through
from bncheck.recognition.names import BUILDERS, LAYERS, MODES, ROLES, plain
from bncheck.recognition.places import Leaf, Places, named_places
from bncheck.recognition.signature import guesses, is_hidden
from bncheck.recognition.trial import BATCH_NORM, Forward, Line, OutOfCalls, Probe, Trial, line, plan_of, run_forward

RAW, NONE = "dout -> dx", "x -> out"
"""A backward that is not called yet, and a forward."""

SHAPES = {
    "(n, d)": ("(d,)", "(1, d)", "()", "(1,)"),
    "(d, n)": ("(d, 1)", "(d,)", "()"),
    "channels first": ("(d,)", "(1, d, 1, 1)", "(d, 1, 1)", "(1, d)", "(d, 1)", "()", "(1,)"),
    "channels last": ("(d,)", "(1, 1, 1, d)", "(1, d)", "()"),
}
"""Shapes of gamma that are tried, by the layout: the first two are those of x with two axes."""

TRIED_PLACES = 24
"""Arrays of a layer that are changed, to see which of them are gamma and beta."""


def forwards_of(trial: Trial, candidate: Candidate, probe: Probe) -> Iterator[Forward]:
    """The ways of calling the forward of a candidate that run: batch normalisations of gamma and beta at once.

    The others follow when all have been tried, by their ranks.
    """
    rest: list[Forward] = []
    seen: set[Convention] = set()
    try:
        for convention in _conventions(trial, candidate, probe):
            # Tensors sum a gradient up to the shape of its parameter, so that any will do for a single number.
            if convention in seen or (isinstance(candidate, Through) and convention.parameters in ONE_BY_ONE):
                continue
            seen.add(convention)
            found = run_forward(trial, convention, probe)
            if found is not None and found.judgement.grade == BATCH_NORM and found.taken == 2:
                yield found
            elif found is not None:
                rest.append(found)
    except OutOfCalls:
        pass
    yield from sorted(rest, key=lambda found: found.rank, reverse=True)


_FLAT = re.compile(r"\bgamma\b[^\n]*\(\s*(D|C|d|c|n_features|num_features),\s*\)")
"""A docstring that says that gamma has the shape (D,)."""


def _conventions(trial: Trial, candidate: Candidate, probe: Probe) -> Iterator[Convention]:
    """Every way of making a layer, of laying out x, of calling forward and of handing over gamma and beta."""
    texts = candidate.calls("forward")
    is_flat = _FLAT.search(inspect.getdoc(candidate.function(candidate.forward)) or "")
    layouts = [*SHAPES][:2] if len(probe.case.shape) == 2 else [*SHAPES][2:]
    for base in _layers(trial, candidate, probe, texts[0]):
        missed = len(trial.missed)
        for layout, text in itertools.product(layouts, texts):
            session = trial.session(replace(base, layout=layout), probe, probe.inputs)
            if session is None or len(trial.missed) > missed:
                break  # an attribute that is not there comes with another way of setting up, and with no other shape
            flags = trial.attempt("looking for a flag of train mode", partial(_flags, session.values.get("self"))) or ()
            convention = replace(base, layout=layout, forward=f"{text} -> out", set=(*base.set, *flags))
            shapes = ("(d,)",) if is_flat else SHAPES[layout]
            yield from _with_places(trial, convention, shapes, trial.leaves(session), probe)


# --- making a layer ---------------------------------------------------------------------------------------------


def _layers(trial: Trial, candidate: Candidate, probe: Probe, forward: str) -> Iterator[Convention]:
    """Conventions that make the layer: by its constructor, then with what has to be called or set before forward."""
    creates = [""] if candidate.is_static else candidate.calls("create")
    conventions = [Convention(create=create, forward=NONE, backward=RAW) for create in creates]
    made: list[Convention] = []
    for base in conventions:
        if LAYERS not in base.create and trial.session(base, probe, probe.inputs) is not None:
            made.append(base)
            yield base
    builds = _builds(candidate, trial.missed) if made and (candidate.owner is not None or trial.reached) else []
    for base in made[:3] if builds or not candidate.is_static else []:
        waiting = _waiting(trial, base, probe)
        yield replace(base, build=forward)
        yield from (replace(base, build=build) for build in builds)
        yield from (replace(base, set=waiting, build=build) for build in ("", *builds) if waiting)
    yield from (base for base in conventions if LAYERS in base.create)


def _builds(candidate: Candidate, missed: Sequence[str]) -> list[str]:
    """Calls that make gamma and beta before forward: each alone, then two after each other.

    They are told by their names, or by what they set: an attribute that forward missed.
    """
    held = candidate.namespace if candidate.owner is None else dict.fromkeys(dir(candidate.owner))
    names = []
    for name in sorted(held, key=lambda name: name.startswith("_")):
        if name in (candidate.forward, candidate.backward) or name.startswith("__"):
            continue
        function = candidate.function(name)
        is_theirs = package_of(function) not in (kind.name for kind in KINDS)  # torch would compile() for half a minute
        code = getattr(function, "__code__", None) if is_theirs else None
        sets = [step.argval for step in dis.get_instructions(code) if step.opname == "STORE_ATTR"] if code else []
        if code and (plain(name).startswith(BUILDERS) or not set(missed).isdisjoint(sets)):
            names.append(name)
    texts = [candidate.calls("build", name=name)[:4] for name in names]
    firsts = [calls[0] for calls in texts]
    pairs = (f"({one}, {other})" for one in firsts for other in firsts if one != other)
    return [*(text for calls in texts for text in calls), *pairs]


WAITED_FOR = {
    **{"d": "features", "shape": "shape", "x": "x", "n": "n", "momentum": "momentum", "eps": "eps"},
    **{"learning_rate": "rate", "training": "training", "gamma": "gamma", "beta": "beta"},
}
"""Names that a pattern may use, by the role of an attribute that waits for such a value."""


def _waiting(trial: Trial, base: Convention, probe: Probe) -> Places:
    """Attributes that are None, or that were missed when forward ran, and whose names say what they wait for."""
    session = trial.session(base, probe, probe.inputs)
    held = dict(getattr(session.values.get("self"), "__dict__", {})) if session is not None else {}
    empty = [name for name, value in held.items() if value is None and name.isidentifier()]
    return tuple(
        (given, f"self.{name}")
        for name in dict.fromkeys([*empty, *trial.missed])
        for given, role in WAITED_FOR.items()
        if plain(name) in ROLES[role]
    )


# --- where gamma and beta are put -------------------------------------------------------------------------------


def _with_places(
    trial: Trial, convention: Convention, shapes: Sequence[str], leaves: list[Leaf], probe: Probe
) -> Iterator[Convention]:
    """The convention with gamma and beta, or one of them, in each shape, and put in each of the places they may have.

    An array has the shape of the one that stands in its place.
    """
    plan = plan_of(convention)
    if plan is None:
        return
    missing = {"gamma", "beta"} - plan.taken
    if len(missing) < 2:
        yield from (replace(convention, parameters=shape) for shape in shapes)
    layout = layout_of(probe.case, convention.layout)
    fitting = {leaf.text: shape for leaf in leaves if (shape := _own_shape(leaf.value, layout, probe))}
    found = named_places(leaves, missing)
    for places in itertools.chain(found, _by_doing(trial, convention, leaves, fitting, probe) if missing else ()):
        if places[0][1] in fitting:
            yield replace(convention, set=(*convention.set, *places), parameters=fitting[places[0][1]])
    if missing:
        yield convention


def _own_shape(value: Any, layout: Layout, probe: Probe) -> str:
    """The name of the shape that gamma has in its own layer; empty where it has another."""
    features = probe.inputs.x.shape[1]
    names = (name for name in PARAMETERS if parameter_shape(name, features, layout.axes) == np.shape(value))
    return next(names, "")


def _by_doing(
    trial: Trial, convention: Convention, leaves: list[Leaf], fitting: Mapping[str, str], probe: Probe
) -> Iterator[Places]:
    """Places of gamma and beta, found by changing each array of the right shape and looking at what becomes of out.

    What multiplies out in each feature is gamma; what is added to it is beta.
    """
    before = _line(trial, convention, probe) if fitting else None
    if before is None:
        return
    found: dict[str, str] = {}
    for leaf in [leaf for leaf in leaves if leaf.text in fitting][:TRIED_PLACES]:
        old = np.broadcast_to(np.asarray(leaf.value, dtype=np.float64).ravel(), probe.inputs.gamma.shape)
        for row, new in (("gamma", probe.inputs.gamma), ("beta", probe.inputs.beta)):
            moved = replace(convention, set=(*convention.set, (row, leaf.text)), parameters=fitting[leaf.text])
            after = _line(trial, moved, probe)
            if after is None:
                continue
            (slope, shift), (slope_before, shift_before) = after, before
            stays = _close(slope, slope_before)
            scales = _close(shift, shift_before) and _close(slope * old, slope_before * new) and not stays
            shifts = stays and _close(shift - shift_before, new - old)
            if scales if row == "gamma" else shifts:
                found.setdefault(row, leaf.text)
    if found:
        yield tuple((row, found[row]) for row in ("gamma", "beta") if row in found)


def _line(trial: Trial, convention: Convention, probe: Probe) -> Line | None:
    """The line that the out of a forward is; None where it does not run, or gives none."""
    found = run_forward(trial, convention, probe)
    return None if found is None else line(found.out, probe.inputs)


def _close(a: Any, b: Any) -> bool:
    return bool(np.all(np.abs(a - b) <= LOOSE * (1 + np.abs(b))))


def _flags(layer: Any) -> Places:
    """A flag of train mode that is down, to be set."""
    for name in dir(layer) if layer is not None else ():
        if plain(name) in MODES and getattr(layer, name, None) is False:
            return (("training", f"self.{name}"),)
    return ()


def usual(candidate: Candidate) -> Convention:
    """The convention that the names alone suggest, for a mapping to correct."""
    forward, backward = candidate.calls("forward")[0], candidate.text(candidate.backward)
    create = "" if candidate.is_static else next(iter(candidate.calls("create")), "")
    if isinstance(candidate, Through):
        base = Convention(create=create, forward=f"{forward} -> out", backward=RAW, arrays=candidate.runs)
        return through(base, kind_named(candidate.runs, candidate.namespace))[0]
    if candidate.closes:
        return Convention(forward=f"{forward} -> out, back", backward="back(dout) -> dx, dgamma, dbeta")
    if candidate.owner is None:
        return Convention(forward=f"{forward} -> out, cache", backward=f"{backward}(dout, cache) -> dx, dgamma, dbeta")
    return Convention(create=create, forward=f"{forward} -> out", backward=f"{backward}(dout) -> dx")


def through(convention: Convention, kind: ArrayKind) -> list[Convention]:
    """The convention with each of the calls by which arrays of a kind run backward, and where that leaves gradients."""
    expression = parsed(convention).forward.expression
    if kind is JAX and isinstance(expression, ast.Call):
        names = [ast.unparse(argument) for argument in expression.args[1:]]
        names = [f"d{name}" if name in ("x", "gamma", "beta") else "_" for name in names]
        target = ", ".join(names) + ("," if len(names) == 1 else "")
        return [replace(convention, backward=f"{text} -> {target}") for text in kind.backward]
    places = {name.id: name.id for name in names_in(expression) if name.id in ("x", "gamma", "beta")}
    # A tensor that was put in a place is known by its own name; one that stands there keeps its gradient itself.
    put = {name: place for name, place in convention.set if name in ("gamma", "beta")}
    places |= {name: place.removesuffix(".data") if place.endswith(".data") else name for name, place in put.items()}
    gradients = tuple((name, kind.gradient.format(place)) for name, place in places.items())
    return [replace(convention, backward=text, gradients=gradients) for text in kind.backward]


def is_known(candidate: Candidate) -> bool:
    """Whether a forward is handed x and nothing that is guessed: then what it raises may well be its own mistake.

    What its owner says to be a batch normalisation may hide its arguments.
    """
    arguments = candidate.arguments("forward")
    if candidate.claimed and is_hidden(arguments):
        return True
    is_guess = guesses(candidate.arguments("create"), "create", {}) or guesses(arguments, "forward", {})
    return not is_guess and (candidate.claimed or any(argument.role == "x" for argument in arguments))
