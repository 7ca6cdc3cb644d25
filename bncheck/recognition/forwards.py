"""Every way of calling somebody's forward that its signature allows, until out is batch normalisation."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from bncheck.calling.layout import Layout, layout_of, parameter_shape
from bncheck.calling.plan import parsed
from bncheck.case import PARAMETERS, Convention
from bncheck.recognition.candidates import Candidate
from bncheck.recognition.names import BUILDERS, MODES, OPTIMISER_STEPS, plain
from bncheck.recognition.places import leaves_of, parameter_places
from bncheck.recognition.signature import arguments_of, calls, guesses, method_arguments_of
from bncheck.recognition.trial import Forward, OutOfCalls, Probe, Trial, run_forward

RAW = "dout -> dx"  # a backward that is never called, while only forward is looked at
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


def settle_forward(trial: Trial, candidate: Candidate, probe: Probe) -> Forward | None:
    """The best way of calling the forward of a candidate on a probe; None where none ran."""
    best: Forward | None = None
    try:
        for convention in _conventions(trial, candidate, probe):
            found = run_forward(trial, convention, probe)
            if found is not None and (best is None or found.rank > best.rank):
                best = found
                if found.rank == (2, 2):
                    break
    except OutOfCalls:
        pass
    return best


def _conventions(trial: Trial, candidate: Candidate, probe: Probe) -> Iterator[Convention]:
    """Every way of calling the forward, the likeliest first."""
    axes = len(probe.case.shape)
    if candidate.owner is None:
        arguments = arguments_of(trial.namespace[candidate.forward], "forward")
        for text in calls(candidate.forward, arguments, "forward", {}):
            for layout, parameters in SHAPES[min(axes, 3)]:
                yield Convention(forward=f"{text} -> out", backward=RAW, layout=layout, parameters=parameters)
        return
    known = _optimisers(trial)
    creates = list(calls(candidate.owner.__name__, arguments_of(candidate.owner, "create"), "create", known))
    texts = list(
        calls(
            f"self.{candidate.forward}",
            method_arguments_of(candidate.owner, candidate.forward, "forward"),
            "forward",
            {},
        )
    )
    for create in creates:
        for layout in dict.fromkeys(layout for layout, _ in SHAPES[min(axes, 3)]):
            base = Convention(create=create, forward=f"{texts[0]} -> out", backward=RAW, layout=layout)
            if trial.session(base, probe, probe.inputs) is None:
                break
            for build in ("", *_builds(candidate, texts, known)):
                yield from _with_places(trial, replace(base, build=build), texts, probe)


def _with_places(trial: Trial, base: Convention, texts: list[str], probe: Probe) -> Iterator[Convention]:
    """The convention with each of the calls, and with the places where gamma and beta, or one of them, may be put."""
    session = trial.session(base, probe, probe.inputs)
    if session is None:
        return
    layer = session.values["self"]
    flags = trial.attempt("looking for a flag of train mode", lambda: _flags(layer)) or ()
    leaves = leaves_of(layer, "self")
    values = {leaf.text: leaf.value for leaf in leaves}
    layout = layout_of(probe.case, base.layout)
    for text in texts:
        convention = replace(base, forward=f"{text} -> out", set=flags)
        handed = parsed(convention).taken & {"gamma", "beta"}
        shapes = [shape for layout_, shape in SHAPES[min(len(probe.case.shape), 3)] if layout_ == base.layout]
        if handed:
            yield from (replace(convention, parameters=shape) for shape in shapes)
            continue
        for places in parameter_places(leaves):
            fitting = _own_shape(np.shape(values[places[0][1]]), layout, probe.inputs.x.shape[1])
            if fitting:
                yield replace(convention, set=(*flags, *places), parameters=fitting)
        yield convention


def _own_shape(shape: tuple[int, ...], layout: Layout, features: int) -> str:
    """The name of the shape that gamma has in its own layer; empty where it has another."""
    names = (name for name in PARAMETERS if parameter_shape(name, features, layout.axes) == shape)
    return next(names, "")


def _optimisers(trial: Trial) -> dict[str, str]:
    """How to make an optimiser that takes a step of 1, where the file has a class for it."""
    for name, value in trial.namespace.items():
        if inspect.isclass(value) and any(callable(getattr(value, step, None)) for step in OPTIMISER_STEPS):
            arguments = arguments_of(value, "create")
            if [argument.role for argument in arguments if argument.required] in ([], ["rate"]):
                return {"optimiser": next(calls(name, arguments, "create", {}))}
    return {}


def _builds(candidate: Candidate, texts: list[str], known: dict[str, str]) -> Iterator[str]:
    assert candidate.owner is not None
    yield texts[0]
    for name in dir(candidate.owner):
        if plain(name) in map(plain, BUILDERS) and not name.startswith("__"):
            arguments = method_arguments_of(candidate.owner, name, "build")
            yield from calls(f"self.{name}", arguments, "build", known)


def _flags(layer: Any) -> tuple[tuple[str, str], ...]:
    """A flag of train mode that is down, to be set."""
    for name in dir(layer):
        if plain(name) in MODES and getattr(layer, name, None) is False:
            return (("training", f"self.{name}"),)
    return ()


def likeliest(trial: Trial, candidate: Candidate) -> Convention | None:
    """The convention that the names alone suggest, for a candidate that never ran: its own mistake will be reported.

    None where an argument is required that nothing is known of: then the mistake may be ours.
    """
    backward = f"{candidate.backward}(dout, cache) -> dx, dgamma, dbeta"
    if candidate.owner is None:
        arguments = arguments_of(trial.namespace[candidate.forward], "forward")
        text = next(calls(candidate.forward, arguments, "forward", {}))
        return (
            Convention(forward=f"{text} -> out, cache", backward=backward)
            if not guesses(arguments, "forward", {})
            else None
        )
    create = arguments_of(candidate.owner, "create")
    forward = method_arguments_of(candidate.owner, candidate.forward, "forward")
    if guesses(create, "create", {}) or guesses(forward, "forward", {}):
        return None
    text = next(calls(f"self.{candidate.forward}", forward, "forward", {}))
    return Convention(
        create=next(calls(candidate.owner.__name__, create, "create", {})),
        forward=f"{text} -> out",
        backward=f"self.{candidate.backward}(dout) -> dx",
    )
