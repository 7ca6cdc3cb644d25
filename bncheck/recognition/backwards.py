"""Every way of calling somebody's backward, until most of its gradients are right, or at least of their shape."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

import numpy as np

from bncheck.calling.expression import names_in
from bncheck.calling.layout import Layout, layout_of
from bncheck.calling.pattern import targets_of
from bncheck.calling.plan import parsed
from bncheck.calling.vocabulary import GIVEN
from bncheck.case import ONE_BY_ONE, Convention
from bncheck.gradients import batchnorm
from bncheck.gradients.batchnorm import Inputs
from bncheck.recognition.candidates import Candidate
from bncheck.recognition.names import ALSO_BACKWARD, RATES, plain
from bncheck.recognition.places import agreement, gradient_rank, is_leaf, leaves_of, snapshot
from bncheck.recognition.returned import RETURNED, Left, Reading, Truth, read
from bncheck.recognition.signature import Argument, arguments_of, calls, guesses, method_arguments_of
from bncheck.recognition.trial import Forward, OutOfCalls, Probe, Trial

FULL = 24  # the score of a reading that makes x, gamma and beta right


@dataclass(frozen=True, slots=True)
class Whole:
    """A convention with its backward, and how much of that is right: 8 for each row, up to FULL; -1 if it raises."""

    convention: Convention
    score: int


def with_backward(trial: Trial, candidate: Candidate, forward: Forward, on: Probe) -> Whole | None:
    """The convention with the backward whose answer makes most rows right.

    Where all raise, the likeliest; None where that has a guess in it, so that the mistake may be ours.
    """
    target, known = _targets(forward, on)
    base = replace(forward.convention, forward=f"{forward.convention.forward.removesuffix(' -> out')} -> {target}")
    texts = list(_calls(trial, candidate, known))
    best = Whole(base, -1)
    try:
        for convention in _variations(trial, base, on):
            for text in texts:
                found = _run(trial, replace(convention, backward=f"{text} -> dx"), forward, on)
                if found is None or found.score <= best.score or "x" not in found.rows:
                    continue
                arrow = f" -> {found.target}" if found.target else ""
                whole = replace(convention, backward=f"{text}{arrow}", gradients=found.gradients)
                best = Whole(whole, found.score)
                if found.score == FULL:
                    return _without_unused(best)
    except OutOfCalls:
        pass
    if best.score >= 0:
        return _without_unused(best)
    if _is_guessed(trial, candidate, known):
        return None
    return Whole(_likeliest(trial, base, candidate, texts[0], on), -1)


def _without_unused(whole: Whole) -> Whole:
    """The same with _ for the targets of forward that backward does not ask for."""
    call, _, targets = whole.convention.forward.rpartition(" -> ")
    used = {name.name for name in names_in(parsed(whole.convention).backward.expression)} | {"out"}
    names = [name if name in used else "_" for name in targets.split(", ")]
    return replace(whole, convention=replace(whole.convention, forward=f"{call} -> {', '.join(names)}"))


def _is_guessed(trial: Trial, candidate: Candidate, known: dict[str, str]) -> bool:
    backward = _arguments(trial, candidate, candidate.backward, "backward")
    forward = _arguments(trial, candidate, candidate.forward, "forward")
    create = () if candidate.owner is None else arguments_of(candidate.owner, "create")
    return guesses(backward, "backward", known) or guesses(forward, "forward", {}) or guesses(create, "create", {})


def _arguments(trial: Trial, candidate: Candidate, name: str, stage: str) -> tuple[Argument, ...]:
    if candidate.owner is None:
        return arguments_of(trial.namespace[name], stage)
    return method_arguments_of(candidate.owner, name, stage)


def _likeliest(trial: Trial, base: Convention, candidate: Candidate, text: str, on: Probe) -> Convention:
    """What a backward that never ran is likely to give: a triple, or dx and attributes that are there before it."""
    if candidate.owner is None:
        return replace(base, backward=f"{text} -> dx, dgamma, dbeta")
    trial.calls_left = max(trial.calls_left, 1)
    session = trial.session(base, on, on.inputs)
    leaves = [] if session is None else leaves_of(session.values["self"], "self")
    named = [(row, [leaf.text for leaf in leaves if gradient_rank(leaf.steps, row) == 2]) for row in ("gamma", "beta")]
    gradients = tuple((row, places[0]) for row, places in named if places)
    return replace(base, backward=f"{text} -> dx", gradients=gradients)


def _variations(trial: Trial, base: Convention, on: Probe) -> Iterator[Convention]:
    """The convention; where its layer holds a learning rate, with that set to 1.

    Where the layer holds gamma, or beta, in several places, with it put in all of them.
    """
    session = trial.session(base, on, on.inputs) if base.create else None
    leaves = [] if session is None else leaves_of(session.values["self"], "self")
    yield base
    rates = [leaf.text for leaf in leaves if plain(leaf.steps[-1]) in RATES]
    if rates:
        yield replace(base, set=(*base.set, ("learning_rate", rates[0])))
    held = {leaf.text: leaf.value for leaf in leaves if isinstance(leaf.value, np.ndarray)}
    places = [(name, text, other) for name, text in base.set if text in held for other in held if other != text]
    again = tuple((name, other) for name, text, other in places if held[other] is held[text])
    if again:
        yield replace(base, set=(*base.set, *again))


def _calls(trial: Trial, candidate: Candidate, known: dict[str, str]) -> Iterator[str]:
    if candidate.owner is None:
        arguments = arguments_of(trial.namespace[candidate.backward], "backward")
        yield from _in_each_order(candidate.backward, arguments, known)
        return
    arguments = method_arguments_of(candidate.owner, candidate.backward, "backward")
    for text in _in_each_order(f"self.{candidate.backward}", arguments, known):
        yield text
        for name in ALSO_BACKWARD:
            if hasattr(candidate.owner, name):
                also = method_arguments_of(candidate.owner, name, "backward")
                yield from (f"({text}, {other})" for other in calls(f"self.{name}", also, "backward", known))


def _in_each_order(text: str, arguments: tuple[Argument, ...], known: dict[str, str]) -> Iterator[str]:
    """The calls by the names of the arguments; of two without telling names, the other way round too."""
    yield from calls(text, arguments, "backward", known)
    required = [argument for argument in arguments if argument.required]
    if len(required) == 2 and {argument.role for argument in required} == {"dout", ""}:
        yield from calls(
            text, tuple(replace(a, role="" if a.role == "dout" else "dout") for a in required), "backward", known
        )


# --- one call ----------------------------------------------------------------------------------------------------


def _run(trial: Trial, convention: Convention, forward: Forward, on: Probe) -> Reading | None:
    """What one backward gives, read; None where it raised."""
    inputs, dout, out = forward.inputs, on.dout, forward.out
    if convention.parameters in ONE_BY_ONE:
        first = itemgetter((..., slice(0, 1)))
        inputs, dout, out = inputs.map(first), first(dout), first(out)
    session = trial.session(convention, on, inputs)
    if session is None:
        return None
    plan = parsed(convention)
    layout = layout_of(on.case, convention.layout)

    def there_and_back() -> tuple[Any, dict[str, Any]]:
        session.keep("forward", plan.forward.target, session.run_forward(inputs))
        before = snapshot(leaves_of(session.values.get("self"), "self"))
        session.values["dout"] = layout.laid_out(dout)
        return session.evaluated(plan.backward.expression), before

    ran = trial.attempt(convention.backward.removesuffix(" -> dx"), there_and_back)
    if ran is None:
        return None
    result, before = ran
    after = tuple(leaves_of(session.values.get("self"), "self"))
    left = Left(after, before, dict(convention.set), "learning_rate" in plan.taken)
    return read(result, left, Truth.of(inputs, out, dout, layout))


# --- what forward returned besides out ---------------------------------------------------------------------------


def _targets(forward: Forward, on: Probe) -> tuple[str, dict[str, str]]:
    """The targets of forward, and the names of what it returned besides out, by their roles."""
    if not forward.path:
        return "out", {}
    layout = layout_of(on.case, forward.convention.layout)
    names: list[str] = []
    known: dict[str, str] = {}
    for number, item in enumerate(forward.raw):
        if number == forward.path[0]:
            names.append("out")
            continue
        role = "cache" if len(forward.raw) == 2 else _role(item, forward.inputs, layout)
        name = role.replace(" ", "_")
        if name in GIVEN:
            name = "_"
        elif name in names:
            role = name = f"{name}{number}"
        names.append(name)
        if name != "_":
            known[role] = name
    return ", ".join(names) + ("," if len(names) == 1 else ""), known


def _role(item: Any, inputs: Inputs, layout: Layout) -> str:
    """What an item is, by its value; `extra` for an array that cannot be told."""
    if not is_leaf(item):
        return "cache"
    array = np.asarray(item)
    stages = batchnorm.forward(inputs)
    if array.shape == layout.shape(inputs.x.shape[1]):
        rows = layout.rows(array)
        roles = {"x": inputs.x, "x_hat": stages.x_hat, "centred": stages.centred}
        return next((role for role, value in roles.items() if agreement(rows, value) == 3), "extra")
    mean = batchnorm.batch_mean(inputs.x)
    roles = {"mean": mean, "var": stages.var, "std": stages.std, "inverse": 1 / stages.std}
    roles |= {"gamma": inputs.gamma, "beta": inputs.beta}
    return next((role for role, value in roles.items() if agreement(array, value) == 3), "extra")


def rows_of(convention: Convention) -> tuple[str, ...]:
    """The parameters whose gradient a convention gives."""
    plan = parsed(convention)
    given = {*targets_of(plan.backward.target), *(f"d{row}" for row, _ in plan.gradients)}
    return tuple(row for row in RETURNED if f"d{row}" in given)
