"""Every way of making somebody's layer and of calling its forward, the likeliest first, as far as it runs."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bncheck.calling.arrays import JAX, ArrayKind, kind_named
from bncheck.calling.layout import Layout, layout_of, parameter_shape
from bncheck.calling.pattern import names_in
from bncheck.case import ONE_BY_ONE, PARAMETERS, Convention
from bncheck.gradients.variants import LOOSE
from bncheck.recognition.candidates import Candidate, methods_of
from bncheck.recognition.names import BUILDERS, MODES, OPTIMISER_STEPS, ROLES, plain
from bncheck.recognition.places import Leaf, Places, leaves_of, named_places
from bncheck.recognition.signature import Argument, arguments_of, calls, guesses, is_hidden, method_arguments_of
from bncheck.recognition.trial import BATCH_NORM, Forward, OutOfCalls, Probe, Trial, plan_of, run_forward

RAW, NONE = "dout -> dx", "x -> out"
"""A backward that is not called yet, and a forward."""

SHAPES = {
    2: (
        *(("(n, d)", shape) for shape in ("(d,)", "(1, d)")),
        *(("(d, n)", shape) for shape in ("(d, 1)", "(d,)")),
        *(("(n, d)", shape) for shape in ("()", "(1,)")),
        ("(d, n)", "()"),
    ),
    3: (
        *(("channels first", shape) for shape in ("(d,)", "(1, d, 1, 1)", "(d, 1, 1)", "(1, d)", "(d, 1)")),
        *(("channels last", shape) for shape in ("(d,)", "(1, 1, 1, d)", "(1, d)")),
        *(("channels first", shape) for shape in ("()", "(1,)")),
        ("channels last", "()"),
    ),
}
"""Layouts and shapes of gamma that are tried, by the number of axes of x, 3 or more being images."""

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
            if convention in seen or (candidate.runs and convention.parameters in ONE_BY_ONE):
                continue
            seen.add(convention)
            found = run_forward(trial, convention, probe)
            if found is not None and found.rank == (BATCH_NORM, 2):
                yield _with_out(found)
            elif found is not None:
                rest.append(_with_out(found))
    except OutOfCalls:
        pass
    yield from sorted(rest, key=lambda found: found.rank, reverse=True)


def _with_out(found: Forward) -> Forward:
    """A forward that leaves out in the layer, in the buffer, or in a dict, by a pattern that takes it from there."""
    if not found.path or isinstance(found.path[0], int):
        return found
    call = found.convention.forward.removesuffix(" -> out")
    place = found.path[0]
    is_left = place.startswith("self.") or (place == "buffer" and found.raw is None)
    text = f"({call}, {place}) -> _, out" if is_left else f"{call}[{place!r}] -> out"
    return replace(found, convention=replace(found.convention, forward=text), path=())


def _conventions(trial: Trial, candidate: Candidate, probe: Probe) -> Iterator[Convention]:
    """Every way of calling the forward, the likeliest first."""
    shapes = SHAPES[min(len(probe.case.shape), 3)]
    if candidate.owner is None or candidate.is_applied:
        function = _function(trial, candidate)
        told = [(layout, shape) for layout, shape in shapes if shape == "(d,)" or not _says_flat(function)]
        texts = candidate.calls_through(trial.namespace) if candidate.runs else None
        for text in texts or calls(candidate.forward, arguments_of(function, "forward"), "forward", {}):
            for layout, parameters in told:
                yield Convention(forward=f"{text} -> out", backward=RAW, layout=layout, parameters=parameters)
        return
    texts = candidate.calls_through(trial.namespace) if candidate.runs else forward_texts(candidate)
    for base in _layers(trial, candidate, probe):
        for layout in dict.fromkeys(layout for layout, _ in shapes):
            yield from _with_places(trial, replace(base, layout=layout), texts, probe)


def _function(trial: Trial, candidate: Candidate) -> Any:
    """The function whose docstring tells of gamma."""
    name = "forward" if candidate.is_applied else candidate.forward
    return trial.namespace[name] if candidate.owner is None else inspect.getattr_static(candidate.owner, name)


_FLAT = re.compile(r"\bgamma\b[^\n]*\(\s*(D|C|d|c|n_features|num_features),\s*\)")


def _says_flat(function: Any) -> bool:
    """Whether the docstring of a forward says that gamma has the shape (D,)."""
    return bool(_FLAT.search(inspect.getdoc(function) or ""))


def forward_texts(candidate: Candidate) -> list[str]:
    """The calls of the forward method that are tried."""
    assert candidate.owner is not None
    if candidate.runs:
        return candidate.calls_through({})
    arguments = method_arguments_of(candidate.owner, candidate.forward, "forward")
    return list(calls(f"{candidate.called_on}.{candidate.forward}", arguments, "forward", {}))


# --- making a layer ---------------------------------------------------------------------------------------------


def _layers(trial: Trial, candidate: Candidate, probe: Probe) -> Iterator[Convention]:
    """Conventions that make the layer: by its constructor, then with what has to be called or set before forward."""
    assert candidate.owner is not None
    if candidate.is_static:
        yield Convention(forward=NONE, backward=RAW)
        return
    known = optimisers(trial)
    creates = list(calls(candidate.owner.__name__, arguments_of(candidate.owner, "create"), "create", known))
    made: list[Convention] = []
    for create in creates:
        base = Convention(create=create, forward=NONE, backward=RAW)
        if trial.session(base, probe, probe.inputs) is not None:
            made.append(base)
            yield base
    builds = list(_builds(candidate, known))
    for base in made[:3]:
        yield replace(base, build=forward_texts(candidate)[0])
        yield from (replace(base, build=build) for build in builds)
        waiting = _waiting(trial, base, probe)
        for build in ("", *builds) if waiting else ():
            yield replace(base, set=waiting, build=build)


def _builds(candidate: Candidate, known: dict[str, str]) -> Iterator[str]:
    """Calls that make gamma and beta after the object is made: each alone, then two after each other."""
    assert candidate.owner is not None
    single: list[str] = []
    firsts: list[str] = []
    for name in sorted(methods_of(candidate.owner), key=lambda name: name.startswith("_")):
        word = plain(name)
        if name.startswith("__") or name in (candidate.forward, candidate.backward) or not word.startswith(BUILDERS):
            continue
        if callable(getattr(candidate.owner, name, None)):
            texts = list(calls(f"self.{name}", method_arguments_of(candidate.owner, name, "build"), "build", known))[:4]
            single += texts
            firsts += texts[:1]
    yield from single
    for one in firsts:
        for other in firsts:
            if one != other:
                yield f"({one}, {other})"


WAITED_FOR = {
    **{"d": "features", "shape": "shape", "x": "x", "n": "n", "momentum": "momentum", "eps": "eps"},
    **{"learning_rate": "rate", "training": "training", "gamma": "gamma", "beta": "beta"},
}
"""Names that a pattern may use, by the role of an attribute that waits for such a value."""


def _waiting(trial: Trial, base: Convention, probe: Probe) -> Places:
    """Attributes that are None, or that were missed when forward ran, and whose names say what they wait for."""
    session = trial.session(base, probe, probe.inputs)
    held = dict(getattr(session.values["self"], "__dict__", {})) if session is not None else {}
    empty = [name for name, value in held.items() if value is None and name.isidentifier()]
    return tuple(
        (given, f"self.{name}")
        for name in dict.fromkeys([*empty, *trial.missed])
        for given, role in WAITED_FOR.items()
        if plain(name) in ROLES[role]
    )


def optimisers(trial: Trial) -> dict[str, str]:
    """How to make an optimiser that takes a step of 1, where the file has a class for it."""
    for name, value in trial.namespace.items():
        if inspect.isclass(value) and any(callable(getattr(value, step, None)) for step in OPTIMISER_STEPS):
            arguments = arguments_of(value, "create")
            if [argument.role for argument in arguments if argument.required] in ([], ["rate"]):
                return {"optimiser": next(calls(name, arguments, "create", {}))}
    return {}


# --- where gamma and beta are put -------------------------------------------------------------------------------


def _with_places(trial: Trial, base: Convention, texts: list[str], probe: Probe) -> Iterator[Convention]:
    """The convention with each of the calls, and with the places where gamma and beta, or one of them, may be put."""
    session = trial.session(base, probe, probe.inputs)
    if session is None:
        return
    layer = session.values.get("self")
    flags = trial.attempt("looking for a flag of train mode", lambda: _flags(layer)) or ()
    leaves = leaves_of(layer, "self")
    shapes = [shape for layout, shape in SHAPES[min(len(probe.case.shape), 3)] if layout == base.layout]
    layout = layout_of(probe.case, base.layout)
    features = probe.inputs.x.shape[1]
    for text in texts:
        convention = replace(base, forward=f"{text} -> out", set=(*base.set, *flags))
        plan = plan_of(convention)
        if plan is None:
            continue
        missing = {"gamma", "beta"} - plan.taken
        if missing != {"gamma", "beta"}:
            yield from (replace(convention, parameters=shape) for shape in shapes)
        if not missing:
            continue
        by_name = list(named_places(leaves, missing))
        yield from _put(convention, by_name, leaves, layout, features)
        yield from _put(convention, list(_places_by_doing(trial, convention, leaves, probe)), leaves, layout, features)
        yield convention


def _put(
    convention: Convention, found: Sequence[Places], leaves: list[Leaf], layout: Layout, features: int
) -> Iterator[Convention]:
    """The convention with gamma and beta put in each of the places, in the shape that stands there."""
    values = {leaf.text: leaf.value for leaf in leaves}
    for places in found:
        fitting = _own_shape(np.shape(values[places[0][1]]), layout, features)
        if fitting:
            yield replace(convention, set=(*convention.set, *places), parameters=fitting)


def _own_shape(shape: tuple[int, ...], layout: Layout, features: int) -> str:
    """The name of the shape that gamma has in its own layer; empty where it has another."""
    names = (name for name in PARAMETERS if parameter_shape(name, features, layout.axes) == shape)
    return next(names, "")


def _places_by_doing(trial: Trial, convention: Convention, leaves: list[Leaf], probe: Probe) -> Iterator[Places]:
    """Places of gamma and beta, found by changing each array of the right shape and looking at what becomes of out.

    What multiplies out in each feature is gamma; what is added to it is beta.
    """
    layout = layout_of(probe.case, convention.layout)
    features = probe.inputs.x.shape[1]
    before = _affine(trial, convention, probe)
    if before is None:
        return
    found: dict[str, list[str]] = {"gamma": [], "beta": []}
    tried = [leaf for leaf in leaves if _own_shape(np.shape(leaf.value), layout, features)]
    for leaf in tried[:TRIED_PLACES]:
        old = np.broadcast_to(np.asarray(leaf.value, dtype=np.float64).ravel(), features)
        for row in ("gamma", "beta"):
            shape = _own_shape(np.shape(leaf.value), layout, features)
            moved = replace(convention, set=(*convention.set, (row, leaf.text)), parameters=shape)
            after = _affine(trial, moved, probe)
            if after is None:
                continue
            (slope, shift), (slope_before, shift_before) = after, before
            new = probe.inputs.gamma if row == "gamma" else probe.inputs.beta
            scales = _close(shift, shift_before) and _close(slope * old, slope_before * new)
            shifts = _close(slope, slope_before) and _close(shift - shift_before, new - old)
            if (scales and not _close(slope, slope_before)) if row == "gamma" else shifts:
                found[row].append(leaf.text)
    gammas, betas = found["gamma"][:1], found["beta"][:1]
    both = (*(("gamma", place) for place in gammas), *(("beta", place) for place in betas))
    if both:
        yield both


def _affine(trial: Trial, convention: Convention, probe: Probe) -> tuple[Any, Any] | None:
    """Slope and shift of out over x - mean in each feature, (d,) each; None where it does not run, or is no line."""
    found = run_forward(trial, convention, probe)
    if found is None or not np.all(np.isfinite(found.out)):
        return None
    x, out = probe.inputs.x, found.out
    centred = x - x.mean(axis=0)
    shift = out.mean(axis=0)
    slope = (out * centred).sum(axis=0) / (centred * centred).sum(axis=0)
    return (slope, shift) if _close(slope * centred + shift, out) else None


def _close(a: Any, b: Any) -> bool:
    return bool(np.all(np.abs(a - b) <= LOOSE * (1 + np.abs(b))))


def _flags(layer: Any) -> Places:
    """A flag of train mode that is down, to be set."""
    for name in dir(layer) if layer is not None else ():
        if plain(name) in MODES and getattr(layer, name, None) is False:
            return (("training", f"self.{name}"),)
    return ()


def usual(trial: Trial, candidate: Candidate) -> Convention:
    """The convention that the names alone suggest, for a mapping to correct."""
    if candidate.runs:
        base = Convention(forward=f"{candidate.calls_through(trial.namespace)[0]} -> out", backward=RAW)
        made = arguments_of(candidate.owner, "create") if candidate.owner and not candidate.is_applied else ()
        create = next(calls(candidate.owner.__name__, made, "create", {})) if made and candidate.owner else ""
        return through(replace(base, create=create), kind_named(candidate.runs, trial.namespace))[0]
    if candidate.owner is None:
        arguments = arguments_of(trial.namespace[candidate.forward], "forward")
        forward = next(calls(candidate.forward, arguments, "forward", {}))
        return Convention(
            forward=f"{forward} -> out, cache", backward=f"{candidate.backward}(dout, cache) -> dx, dgamma, dbeta"
        )
    made = arguments_of(candidate.owner, "create")
    return Convention(
        create=next(calls(candidate.owner.__name__, made, "create", {})),
        forward=f"{forward_texts(candidate)[0]} -> out",
        backward=f"self.{candidate.backward}(dout) -> dx",
    )


def through(forward: Convention, kind: ArrayKind) -> list[Convention]:
    """The convention with each of the calls by which arrays of a kind run backward, and where that leaves gradients."""
    call = plan.forward.expression if (plan := plan_of(forward)) is not None else None
    if kind is JAX and isinstance(call, ast.Call):
        names = [ast.unparse(argument) for argument in call.args[1:]]
        names = [f"d{name}" if name in ("x", "gamma", "beta") else "_" for name in names]
        target = ", ".join(names) + ("," if len(names) == 1 else "")
        return [replace(forward, backward=f"{text} -> {target}") for text in kind.backward]
    handed = [name.id for name in names_in(call)] if call is not None else []
    places = {name: name for name in handed if name in ("x", "gamma", "beta")}
    # A tensor that was put in a place is known by its own name; one that stands there keeps its gradient itself.
    put = {name: place for name, place in forward.set if name in ("gamma", "beta")}
    places |= {name: place.removesuffix(".data") if place.endswith(".data") else name for name, place in put.items()}
    gradients = tuple((name, kind.gradient.format(place)) for name, place in places.items())
    return [replace(forward, backward=text, gradients=gradients) for text in kind.backward]


def is_known(trial: Trial, candidate: Candidate) -> bool:
    """Whether a forward is handed x and nothing that is guessed: then what it raises may well be its own mistake.

    What its owner says to be a batch normalisation may hide its arguments.
    """
    made: tuple[Argument, ...] = ()
    if candidate.owner is None:
        arguments = arguments_of(trial.namespace[candidate.forward], "forward")
    else:
        made = arguments_of(candidate.owner, "create")
        arguments = method_arguments_of(candidate.owner, candidate.forward, "forward")
    if candidate.claimed and is_hidden(arguments):
        return True
    is_guess = guesses(made, "create", {}) or guesses(arguments, "forward", {})
    return not is_guess and (candidate.claimed or any(argument.role == "x" for argument in arguments))
