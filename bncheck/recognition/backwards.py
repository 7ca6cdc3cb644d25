"""Every way of calling somebody's backward, until one behaves as any backward does, right or wrong.

It runs, it gives a dx in the shape of x, it changes with dout, is linear in it, and gives nought for nought. Whether a
gradient is right decides between two calls at the very last, where an argument of nobody knows what was guessed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

import numpy as np

from bncheck.calling.answer import Answer
from bncheck.calling.arrays import kind_named
from bncheck.calling.layout import Layout, layout_of
from bncheck.calling.pattern import names_in, targets_of
from bncheck.calling.plan import parsed
from bncheck.calling.vocabulary import GIVEN
from bncheck.case import ONE_BY_ONE, Convention
from bncheck.gradients import batchnorm
from bncheck.gradients.batchnorm import FloatArray, Inputs
from bncheck.recognition.candidates import Candidate
from bncheck.recognition.forwards import through
from bncheck.recognition.names import ALSO_BACKWARD, RATES, WAITED_FOR, plain
from bncheck.recognition.places import gradient_rank, is_leaf, leaves_of, snapshot
from bncheck.recognition.returned import RETURNED, Left, Reading, read
from bncheck.recognition.signature import Argument, arguments_of, calls, guesses, is_hidden, method_arguments_of
from bncheck.recognition.trial import Forward, OutOfCalls, Probe, Trial

RAISES, RUNS, SHAPED, BEHAVES, FITS = range(5)
"""Grades of a backward: it raises; it runs; its dx has the shape of x; it changes with dout, is linear in it, and gives
nought for nought; and there are a dgamma and a dbeta, where gamma and beta are put, in their shapes."""

NEARLY = 1e-6
"""How far a linear backward may be off the sum of two others, relative to the largest: float32 inside comes to 1e-7."""

GUESSES = 6
"""Calls with a guessed argument that are compared by whether dx is right, once they behave."""


@dataclass(frozen=True, slots=True)
class Whole:
    """A convention with its backward, and the grade of that."""

    convention: Convention
    grade: int


def with_backward(trial: Trial, candidate: Candidate, forward: Forward, on: Probe) -> Whole | None:
    """The convention with the first backward that behaves, else with the one that comes nearest to it.

    Where all raise, the likeliest; None where that has a guess in it, so that the mistake may be ours.
    """
    base, known = _with_targets(forward, on)
    if candidate.runs:
        return _run_through(trial, candidate, base, forward, on)
    texts = list(_calls(trial, candidate, known))
    best: Whole | None = None
    guessed: list[Whole] = []
    is_guess = _is_guessed(trial, candidate, known)
    try:
        for convention in _variations(trial, base, on):
            for text in texts:
                found = _tried(trial, candidate, convention, text, forward, on)
                if found is None:
                    continue
                if found.grade == FITS and not is_guess:
                    return _without_unused(found)
                if found.grade >= BEHAVES:
                    guessed.append(found)
                if is_guess and len(guessed) == GUESSES:
                    break
                if best is None or found.grade > best.grade:
                    best = found
    except OutOfCalls:
        pass
    if guessed and is_guess:
        right = (whole for whole in guessed if _is_right(trial, whole.convention, forward, on))
        best = _without_unused(next(right, guessed[0]))
        call = best.convention.backward.partition(" -> ")[0]
        remarks = (*best.convention.remarks, f"what its arguments are was found by trying: it is called as {call}")
        return replace(best, convention=replace(best.convention, remarks=remarks))
    if best is not None and not is_guess:
        return _without_unused(best)
    if not texts or (is_guess and not _claims(trial, candidate)) or _waits_for_more(trial, base, texts, on):
        return None
    return Whole(_likeliest(trial, base, candidate, texts[0], on), RAISES)


def _run_through(trial: Trial, candidate: Candidate, base: Convention, forward: Forward, on: Probe) -> Whole:
    """The convention with the first backward of the arrays' own that fits, else with the one that comes nearest."""
    wholes = []
    for convention in through(base, kind_named(candidate.runs, trial.namespace)):
        wholes.append(_graded(trial, convention, forward, on))
        if wholes[-1].grade == FITS:
            break
    best = max(wholes, key=lambda whole: whole.grade)
    return _without_unused(best if best.grade > RUNS else replace(best, grade=RAISES))


def _claims(trial: Trial, candidate: Candidate) -> bool:
    """Whether its owner says that it is a backward, and it hides its arguments."""
    return candidate.claimed and is_hidden(_arguments(trial, candidate, candidate.backward, "backward"))


def _waits_for_more(trial: Trial, base: Convention, texts: list[str], on: Probe) -> bool:
    """Whether a layer may have raised since something that it waits for was never set up by us."""
    if trial.lacks:
        return True
    if not base.create or any(trial.theirs.get(text) for text in texts):
        return False
    trial.at_least(1)
    session = trial.session(base, on, on.inputs)
    held = {} if session is None else dict(getattr(session.values["self"], "__dict__", {}))
    return any(value is None and plain(name) in WAITED_FOR for name, value in held.items())


def _without_unused(whole: Whole) -> Whole:
    """The convention with _ for the targets of forward that backward does not ask for."""
    call, _, targets = whole.convention.forward.rpartition(" -> ")
    used = {name.id for name in names_in(parsed(whole.convention).backward.expression)} | {"out"}
    used |= {place.partition(".")[0].partition("[")[0] for _, place in whole.convention.gradients}
    names = [name if name.strip(",") in used else "_" for name in targets.split(", ")]
    return replace(whole, convention=replace(whole.convention, forward=f"{call} -> {', '.join(names)}"))


def _is_guessed(trial: Trial, candidate: Candidate, known: dict[str, str]) -> bool:
    backward = _arguments(trial, candidate, candidate.backward, "backward")
    forward = _arguments(trial, candidate, candidate.forward, "forward")
    create = () if candidate.owner is None or candidate.is_static else arguments_of(candidate.owner, "create")
    return guesses(backward, "backward", known) or guesses(forward, "forward", {}) or guesses(create, "create", {})


def _arguments(trial: Trial, candidate: Candidate, name: str, stage: str) -> tuple[Argument, ...]:
    if candidate.owner is None:
        return arguments_of(trial.namespace[name], stage)
    return method_arguments_of(candidate.owner, name, stage)


def _likeliest(trial: Trial, base: Convention, candidate: Candidate, text: str, on: Probe) -> Convention:
    """The convention of a backward that never ran: it gives a triple, or dx and attributes that are there before it."""
    if candidate.owner is None or candidate.is_static:
        return replace(base, backward=f"{text} -> dx, dgamma, dbeta")
    trial.at_least(1)
    session = trial.session(base, on, on.inputs)
    leaves = [] if session is None else leaves_of(session.values.get("self"), "self")
    named = [(row, [leaf.text for leaf in leaves if gradient_rank(leaf.steps, row) == 2]) for row in ("gamma", "beta")]
    gradients = tuple((row, places[0]) for row, places in named if places)
    return replace(base, backward=f"{text} -> dx", gradients=gradients)


# --- the calls --------------------------------------------------------------------------------------------------


def _variations(trial: Trial, base: Convention, on: Probe) -> Iterator[Convention]:
    """The convention, with a learning rate that the layer holds set to 1, and gamma and beta put wherever they are.

    A layer may hold the array of gamma in several places.
    """
    session = trial.session(base, on, on.inputs) if base.create else None
    leaves = [] if session is None else leaves_of(session.values["self"], "self")
    rates = [leaf.text for leaf in leaves if plain(leaf.steps[-1]) in RATES]
    is_told = not rates or "learning_rate" in parsed(base).taken
    told = base if is_told else replace(base, set=(*base.set, ("learning_rate", rates[0])))
    held = {leaf.text: leaf.value for leaf in leaves if isinstance(leaf.value, np.ndarray)}
    places = [(name, text, other) for name, text in base.set if text in held for other in held if other != text]
    again = tuple((name, other) for name, text, other in places if held[other] is held[text])
    yield replace(told, set=(*told.set, *again))


def _calls(trial: Trial, candidate: Candidate, known: dict[str, str]) -> Iterator[str]:
    arguments = _arguments(trial, candidate, candidate.backward, "backward")
    text = candidate.backward if candidate.owner is None else f"{candidate.called_on}.{candidate.backward}"
    if not arguments:
        return
    for call in _in_each_order(text, arguments, known):
        yield call if "buffer" not in call else f"({call}, buffer)"
        for name in ALSO_BACKWARD:
            if candidate.owner is not None and hasattr(candidate.owner, name):
                also = method_arguments_of(candidate.owner, name, "backward")
                yield from (f"({call}, {other})" for other in calls(f"self.{name}", also, "backward", known))


def _in_each_order(text: str, arguments: tuple[Argument, ...], known: dict[str, str]) -> Iterator[str]:
    """The calls by the names of the arguments; then with dout for each of those whose names do not tell.

    A name of one letter tells little, whatever table has it: `e` may be eps, and an error.
    """
    yield from calls(text, arguments, "backward", known)
    nameless = [argument for argument in arguments if argument.required and argument.role != "dout"]
    nameless = [argument for argument in nameless if argument.role in ("", "x") or len(argument.name) == 1]
    if all(argument.role != "dout" for argument in arguments) or len(arguments) == 1:
        return
    for one in nameless:
        swapped = (
            replace(other, role="dout" if other is one else "" if other.role == "dout" else other.role)
            for other in arguments
        )
        yield from calls(text, tuple(swapped), "backward", known)


# --- one call ---------------------------------------------------------------------------------------------------


def _tried(
    trial: Trial, candidate: Candidate, base: Convention, text: str, forward: Forward, on: Probe
) -> Whole | None:
    """One way of calling backward, read and graded; None where it raised, or gave no dx."""
    reading = _read(trial, candidate, replace(base, backward=f"{text} -> dx"), forward, on)
    if reading is None or "x" not in reading.rows:
        return None
    arrow = f" -> {reading.target}" if reading.target else ""
    convention = replace(base, backward=f"{text}{arrow}", gradients=reading.gradients)
    remarks = (f"{candidate.backward} returns {reading.target}",) if reading.is_unusual else ()
    convention = replace(convention, remarks=remarks, by_order=reading.by_order)
    return _graded(trial, convention, forward, on)


def _one_feature(convention: Convention, *arrays: FloatArray) -> tuple[FloatArray, ...]:
    """The arrays, or their first features for a layer with one gamma for all."""
    first = itemgetter((..., slice(0, 1)))
    return tuple(map(first, arrays)) if convention.parameters in ONE_BY_ONE else arrays


def _inputs(convention: Convention, inputs: Inputs) -> Inputs:
    return inputs.map(itemgetter((..., slice(0, 1)))) if convention.parameters in ONE_BY_ONE else inputs


def _read(trial: Trial, candidate: Candidate, convention: Convention, forward: Forward, on: Probe) -> Reading | None:
    """The reading of what one backward gives; None where it raised."""
    inputs = _inputs(convention, forward.inputs)
    (dout,) = _one_feature(convention, on.dout)
    session = trial.session(convention, on, inputs)
    if session is None:
        return None
    plan = parsed(convention)
    layout = layout_of(on.case, convention.layout)

    def there_and_back() -> tuple[Any, dict[str, Any]]:
        session.keep("forward", plan.forward.target, session.run_forward(inputs))
        before = snapshot(leaves_of(session.values.get("self"), "self"))
        session.values["dout"] = session.values.made(layout.laid_out(dout))
        return session.evaluated(plan.backward.expression), before

    ran = trial.attempt(convention.backward.removesuffix(" -> dx"), there_and_back)
    if ran is None:
        return None
    result, before = ran
    after = tuple(leaves_of(session.values.get("self"), "self"))
    left = Left(after, before, dict(convention.set), "learning_rate" in plan.taken or "optimizer" in plan.taken)
    return read(result, _function(trial, candidate), left, layout.shape(inputs.x.shape[1]))


def _function(trial: Trial, candidate: Candidate) -> Any:
    owner = candidate.owner
    return trial.namespace[candidate.backward] if owner is None else getattr(owner, candidate.backward)


def _graded(trial: Trial, convention: Convention, forward: Forward, on: Probe) -> Whole:
    """The convention with the grade of its backward, by what it gives for several upstream gradients.

    An update that is not linear in dout is the step of some optimiser, and no gradient: it is left out.
    """
    dout, other = _one_feature(convention, on.dout, on.other)
    douts = (dout, np.zeros_like(dout), other, dout + 2 * other)
    first = _answer(trial, convention, forward, on, dout)
    if first is None or first.x is None:
        return Whole(convention, RUNS)
    answers = [first, *(_answer(trial, convention, forward, on, one) for one in douts[1:])]
    given = [answer for answer in answers if answer is not None and answer.x is not None]
    if len(given) < len(answers):
        return Whole(convention, RUNS)
    if not _is_linear([answer.of("x") for answer in given]):
        return Whole(convention, SHAPED)
    steps = [
        row
        for row, place in convention.gradients
        if place.startswith("update(") and not _is_linear([answer.of(row) for answer in given])
    ]
    kept = tuple((row, place) for row, place in convention.gradients if row not in steps)
    remarks = tuple(f"backward moves {row} by a step that is not its gradient" for row in steps)
    convention = replace(convention, gradients=kept, remarks=(*convention.remarks, *remarks))
    put = parsed(convention).taken & {"gamma", "beta"}
    return Whole(convention, BEHAVES if steps or not all(_is_whole(first, row) for row in put) else FITS)


def _is_linear(gradients: Sequence[FloatArray | None]) -> bool:
    """Whether gradients for dout, for nought, for another dout and for one plus twice the other are a linear map's."""
    whole = [array for array in gradients if array is not None]
    if len(whole) < len(gradients):
        return False
    one, nought, other, both = whole
    size = float(max(np.max(np.abs(array)) for array in whole))
    if not (0 < size < np.inf) or np.array_equal(one, other):
        return False
    return bool(np.all(np.abs(nought) <= NEARLY * size) and np.all(np.abs(one + 2 * other - both) <= NEARLY * 4 * size))


def _is_whole(answer: Answer, row: str) -> bool:
    """Whether an answer has a gradient for a row, and no breach there."""
    return answer.of(row) is not None and all(row != broken for broken, _ in answer.breaches)


def _answer(trial: Trial, convention: Convention, forward: Forward, on: Probe, dout: FloatArray) -> Answer | None:
    """The answer of a fresh object; None where it raises."""
    inputs = _inputs(convention, forward.inputs)
    session = trial.session(convention, on, inputs)
    if session is None:
        return None
    found: Answer | None = trial.attempt(convention.backward, lambda: session.answer(inputs, dout))
    return found


def _is_right(trial: Trial, convention: Convention, forward: Forward, on: Probe) -> bool:
    """Whether dx is that of the batch normalisation that the forward is."""
    identity = forward.judgement.identity
    answer = _answer(trial, convention, forward, on, *_one_feature(convention, on.dout))
    if identity is None or answer is None or answer.x is None:
        return False
    inputs = _inputs(convention, replace(forward.inputs, eps=identity.inputs.eps, variant=identity.inputs.variant))
    right = batchnorm.backward(inputs, batchnorm.forward(inputs), *_one_feature(convention, on.dout))[0].x
    return bool(np.all(np.abs(answer.x - right) <= 1e-4 * np.max(np.abs(right))))


# --- what forward returned besides out --------------------------------------------------------------------------


def _with_targets(forward: Forward, on: Probe) -> tuple[Convention, dict[str, str]]:
    """The convention with the targets of forward, and the names of what it returned besides out, by their roles."""
    if not forward.path:
        return forward.convention, {}
    layout = layout_of(on.case, forward.convention.layout)
    names: list[str] = []
    known: dict[str, str] = {}
    for number, item in enumerate(forward.raw):
        if number == forward.path[0]:
            names.append("out")
            continue
        role = "cache" if len(forward.raw) == 2 and not callable(item) else _role(item, forward.inputs, layout)
        name = role.replace(" ", "_")
        if name in GIVEN:
            name = "_"
        elif name in names:
            role = name = f"{name}{number}"
        names.append(name)
        if name != "_":
            known[role] = name
    target = ", ".join(names) + ("," if len(names) == 1 else "")
    call = forward.convention.forward.removesuffix(" -> out")
    return replace(forward.convention, forward=f"{call} -> {target}"), known


def _role(item: Any, inputs: Inputs, layout: Layout) -> str:
    """The role of an item that forward returned, by its value; `extra` for an array that cannot be told."""
    if not is_leaf(item):
        return "pullback" if callable(item) else "cache"
    array = np.asarray(item)
    stages = batchnorm.forward(inputs)
    if array.shape == layout.shape(inputs.x.shape[1]):
        roles = {"x": inputs.x, "x_hat": stages.x_hat, "centred": stages.centred}
        return next((role for role, value in roles.items() if _equal(layout.rows(array), value)), "extra")
    roles = {"mean": batchnorm.batch_mean(inputs.x), "var": stages.var, "std": stages.std, "inverse": 1 / stages.std}
    roles |= {"gamma": inputs.gamma, "beta": inputs.beta}
    return next((role for role, value in roles.items() if _equal(array, value)), "extra")


def _equal(array: Any, value: FloatArray) -> bool:
    """Whether an array has the numbers of a stage of the forward, in whatever shape."""
    if array.size != value.size:
        return False
    return bool(np.all(np.abs(array.ravel() - value.ravel()) <= 1e-4 * np.max(np.abs(value))))


def rows_of(convention: Convention) -> tuple[str, ...]:
    """The parameters whose gradient a convention gives."""
    plan = parsed(convention)
    given = {*targets_of(plan.backward.target), *(f"d{row}" for row in plan.gradients)}
    return tuple(row for row in RETURNED if f"d{row}" in given)
