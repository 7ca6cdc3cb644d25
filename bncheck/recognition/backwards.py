"""Every way of calling somebody's backward, until one behaves as any backward does, right or wrong.

It runs, it gives a dx in the shape of x, it changes with dout, is linear in it, and gives nought for nought. Whether a
gradient is right decides between two calls at the very last, where an argument of nobody knows what was guessed.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

import numpy as np

from bncheck.calling.answer import Answer
from bncheck.calling.arrays import kind_named, numbers
from bncheck.calling.binding import Layer
from bncheck.calling.layout import Layout, layout_of
from bncheck.calling.pattern import names_in
from bncheck.calling.plan import parsed
from bncheck.calling.vocabulary import GIVEN, SAVED
from bncheck.case import ONE_BY_ONE, Convention
from bncheck.gradients import batchnorm
from bncheck.gradients.batchnorm import FloatArray, Inputs
from bncheck.recognition.candidates import Candidate, Through
from bncheck.recognition.forwards import through
from bncheck.recognition.names import ALSO_BACKWARD, RATES, SAVED_AS, WAITED_FOR, plain
from bncheck.recognition.places import gradient_rank, is_leaf
from bncheck.recognition.returned import Left, Reading, read
from bncheck.recognition.signature import Argument, calls, guesses, is_hidden
from bncheck.recognition.trial import Forward, OutOfCalls, Probe, Trial

RAISES, RUNS, SHAPED, BEHAVES, FITS = range(5)
"""Grades of a backward: it raises; it runs; its dx has the shape of x; it changes with dout, is linear in it, and gives
nought for nought; and there are a dgamma and a dbeta, where gamma and beta are put, in their shapes."""

NEARLY = 1e-6
"""How far a linear backward may be off the sum of two others, relative to the largest: float32 inside comes to 1e-7."""

BACK = "back"
"""The name of a backward that forward returns, in patterns."""

GUESSES = 6
"""Calls with a guessed argument that are compared by whether dx is right, once they behave."""


@dataclass(frozen=True, slots=True)
class Whole:
    """A convention with its backward, the grade of that, and whether an argument of it was found by guessing."""

    convention: Convention
    grade: int
    guessed: bool = False


def with_backward(trial: Trial, candidate: Candidate, forward: Forward, on: Probe) -> Whole | None:
    """The convention with the first backward that behaves, else with the one that comes nearest to it.

    Where all raise, the likeliest; None where that has a guess in it, so that the mistake may be ours.
    """
    if candidate.closes:
        inside = [item for item in forward.raw if callable(item)] if forward.number is not None else []
        if not inside:
            return None
        candidate = replace(candidate, backward=BACK, namespace={**candidate.namespace, BACK: inside[0]})
    if forward.convention.parameters in ONE_BY_ONE:
        first = itemgetter((..., slice(0, 1)))
        forward = replace(forward, inputs=forward.inputs.map(first))
        on = replace(on, dout=first(on.dout), other=first(on.other))
    return _Search(trial, candidate, forward, on).found()


@dataclass(frozen=True, slots=True)
class _Search:
    """The search for the backward that belongs to a forward that ran, with what the two are handed."""

    trial: Trial
    candidate: Candidate
    forward: Forward
    on: Probe

    def found(self) -> Whole | None:
        """The convention with its backward; None where none is found, and that may be our mistake."""
        base, known = _with_targets(self.forward, self.on)
        if isinstance(self.candidate, Through):
            return self._run_through(base, self.candidate)
        known = SAVED_AS if self.candidate.is_alone else known
        arguments = _told(self.candidate, self.forward)
        texts = list(self._calls(arguments, known))
        is_guess = guesses(arguments, "backward", known) or any(
            guesses(self.candidate.arguments(stage), stage, {}) for stage in ("create", "forward")
        )
        is_guess |= self.candidate.is_alone and any(argument.role == "saved var" for argument in arguments)
        best: Whole | None = None
        behaving: list[Whole] = []
        for whole in self._wholes(base, texts):
            if whole.grade == FITS and not is_guess:
                return _without_unused(whole)
            if best is None or whole.grade > best.grade:
                best = whole
            behaving += [whole] if whole.grade >= BEHAVES else []
            if is_guess and len(behaving) == GUESSES:
                break
        if best is not None and not is_guess:
            return _without_unused(best)
        if behaving:
            best = _without_unused(next(filter(self._is_right, behaving), behaving[0]))
            if self.candidate.is_alone:
                return best
            call = best.convention.backward.partition(" -> ")[0]
            remarks = (*best.convention.remarks, f"what its arguments are was found by trying: it is called as {call}")
            return replace(best, convention=replace(best.convention, remarks=remarks), guessed=True)
        is_claimed = self.candidate.claimed and is_hidden(arguments)
        if not texts or (is_guess and not is_claimed) or self._waits_for_more(base, texts):
            return None
        return Whole(self._likeliest(base, texts[0]), RAISES)

    def _run_through(self, base: Convention, candidate: Through) -> Whole:
        """The convention with the first backward of the arrays' own that fits, else with the one that comes nearest."""
        wholes: list[Whole] = []
        for convention in through(base, kind_named(candidate.runs, candidate.namespace)):
            wholes.append(self._graded(convention))
            if wholes[-1].grade == FITS:
                break
        best = max(wholes, key=lambda whole: whole.grade)
        return _without_unused(best if best.grade > RUNS else replace(best, grade=RAISES))

    def _wholes(self, base: Convention, texts: list[str]) -> Iterator[Whole]:
        """Every way of calling backward that gives a dx, read and graded, as long as there are calls."""
        try:
            convention = self._with_rate(base)
            for text in texts:
                reading = self._read(replace(convention, backward=f"{text} -> dx"))
                if reading is not None and "x" in reading.rows:
                    yield self._graded(_as_read(convention, text, reading, self.candidate))
        except OutOfCalls:
            pass

    def _waits_for_more(self, base: Convention, texts: list[str]) -> bool:
        """Whether a layer may have raised since something that it waits for was never set up by us."""
        if self.trial.lacks or not base.create or any(self.trial.theirs.get(text) for text in texts):
            return self.trial.lacks
        session = self._session(base)
        held = {} if session is None else dict(getattr(session.values["self"], "__dict__", {}))
        return any(value is None and plain(name) in WAITED_FOR for name, value in held.items())

    def _likeliest(self, base: Convention, text: str) -> Convention:
        """The convention of a backward that never ran: it gives a triple, or dx and attributes that were there."""
        if self.candidate.is_static:
            return replace(base, backward=f"{text} -> dx, dgamma, dbeta")
        found: dict[str, str] = {}
        leaves = self.trial.leaves(self._session(base))
        for row, leaf in itertools.product(("gamma", "beta"), leaves):
            if gradient_rank(leaf.steps, row) > 1:
                found.setdefault(row, leaf.text)
        return replace(base, backward=f"{text} -> dx", gradients=tuple(found.items()))

    def _session(self, convention: Convention) -> Layer | None:
        """A fresh object, whatever calls are left."""
        self.trial.at_least(1)
        return self.trial.session(convention, self.on, self.forward.inputs)

    # --- the calls ----------------------------------------------------------------------------------------------

    def _with_rate(self, base: Convention) -> Convention:
        """The convention, with a learning rate that the layer holds set to 1, and gamma and beta put wherever they are.

        A layer may hold the array of gamma in several places.
        """
        leaves = self.trial.leaves(self.trial.session(base, self.on, self.on.inputs)) if base.create else []
        rates = [("learning_rate", leaf.text) for leaf in leaves if plain(leaf.steps[-1]) in RATES]
        held = {leaf.text: leaf.value for leaf in leaves if isinstance(leaf.value, np.ndarray)}
        again = [
            (name, other)
            for name, text in base.set
            if text in held
            for other in held
            if other != text and held[other] is held[text]
        ]
        told = [] if "learning_rate" in parsed(base).taken else rates[:1]
        return replace(base, set=(*base.set, *told, *again))

    def _calls(self, arguments: tuple[Argument, ...], known: Mapping[str, str]) -> Iterator[str]:
        """The calls of backward, each alone and then with another method that gives the parameter gradients."""
        if not arguments:
            return
        text = self.candidate.text(self.candidate.backward)
        also = [name for name in ALSO_BACKWARD if hasattr(self.candidate.owner, name)]
        others = [call for name in also for call in self.candidate.calls("backward", known, name)]
        for order in _orders(arguments):
            for call in calls(text, order, "backward", known):
                yield call if "buffer" not in call else f"({call}, buffer)"
                yield from (f"({call}, {other})" for other in others)

    # --- one call -----------------------------------------------------------------------------------------------

    def _read(self, convention: Convention) -> Reading | None:
        """The reading of what one backward gives; None where it raised."""
        session = self.trial.session(convention, self.on, self.forward.inputs)
        if session is None:
            return None
        plan = parsed(convention)
        layout = layout_of(self.on.case, convention.layout)

        def there_and_back() -> tuple[Any, dict[str, Any]]:
            session.keep("forward", plan.forward.target, session.run_forward(self.forward.inputs))
            before = {leaf.text: np.array(leaf.value) for leaf in self.trial.leaves(session)}
            session.values["dout"] = session.values.made(layout.laid_out(self.on.dout))
            return session.evaluated(plan.backward.expression), before

        ran = self.trial.attempt(convention.backward.removesuffix(" -> dx"), there_and_back)
        if ran is None:
            return None
        rate_known = bool(plan.taken & {"learning_rate", "optimizer"})
        left = Left(tuple(self.trial.leaves(session)), ran[1], dict(convention.set), rate_known)
        function = self.candidate.function(self.candidate.backward)
        return read(ran[0], function, left, layout.shape(self.forward.inputs.x.shape[1]))

    def _graded(self, convention: Convention) -> Whole:
        """The convention with the grade of its backward, by what it gives for several upstream gradients.

        An update that is not linear in dout is the step of some optimiser, and no gradient: it is left out.
        """
        dout, other = self.on.dout, self.on.other
        answers = []
        for one in (dout, np.zeros_like(dout), other, dout + 2 * other):
            answer = self._answer(convention, one)
            if answer is None or answer.x is None:
                return Whole(convention, RUNS)
            answers.append(answer)
        if not _is_linear([answer.x for answer in answers]):
            return Whole(convention, SHAPED)
        updates = [row for row, place in convention.gradients if place.startswith("update(")]
        steps = [row for row in updates if not _is_linear([answer.of(row) for answer in answers])]
        kept = tuple((row, place) for row, place in convention.gradients if row not in steps)
        remarks = tuple(f"backward moves {row} by a step that is not its gradient" for row in steps)
        convention = replace(convention, gradients=kept, remarks=(*convention.remarks, *remarks))
        lacking = [row for row in parsed(convention).taken & {"gamma", "beta"} if not _is_whole(answers[0], row)]
        return Whole(convention, BEHAVES if steps or lacking else FITS)

    def _answer(self, convention: Convention, dout: FloatArray) -> Answer | None:
        """The answer of a fresh object; None where it raises."""
        inputs = self.forward.inputs
        session = self.trial.session(convention, self.on, inputs)
        if session is None:
            return None
        found: Answer | None = self.trial.attempt(convention.backward, lambda: session.answer(inputs, dout))
        return found

    def _is_right(self, whole: Whole) -> bool:
        """Whether dx is that of the batch normalisation that the forward is."""
        identity = self.forward.judgement.identity
        self.trial.at_least(2)
        answer = self._answer(whole.convention, self.on.dout)
        if identity is None or answer is None or answer.x is None:
            return False
        inputs = replace(self.forward.inputs, eps=identity.inputs.eps, variant=identity.inputs.variant)
        right = batchnorm.backward(inputs, batchnorm.forward(inputs), self.on.dout)[0].x
        return bool(np.all(np.abs(answer.x - right) <= 1e-4 * np.max(np.abs(right))))


def _told(candidate: Candidate, forward: Forward) -> tuple[Argument, ...]:
    """The arguments of backward: one that is called like an argument of forward, and by no other role, is that."""
    handed: dict[str, str] = {}
    for node in ast.walk(parsed(forward.convention).forward.expression):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == candidate.text(candidate.forward):
            names = [argument.name for argument in candidate.arguments("forward")]
            handed = dict(zip(names, map(ast.unparse, node.args), strict=False))
            handed |= {str(keyword.arg): ast.unparse(keyword.value) for keyword in node.keywords}
    arguments = candidate.arguments("backward")
    if is_hidden(arguments):
        return arguments
    objects = [text for argument in candidate.arguments("forward") for text in argument.objects]
    shared = {name: text for name, text in handed.items() if text in (*objects, "ctx")}
    return tuple(replace(one, text=(shared if one.role else handed).get(one.name, "")) for one in arguments)


def _orders(arguments: tuple[Argument, ...]) -> Iterator[tuple[Argument, ...]]:
    """The arguments by their names; then with dout for each of those whose names do not tell.

    A name of one letter tells little, whatever table has it: `e` may be eps, and an error.
    """
    yield arguments
    if all(argument.role != "dout" for argument in arguments) or len(arguments) == 1:
        return
    for one in arguments:
        tells_little = one.role in ("", "x") or len(one.name) == 1
        if one.required and one.role != "dout" and tells_little:
            others = (replace(other, role="") if other.role == "dout" else other for other in arguments)
            yield tuple(replace(one, role="dout", text="") if other is one else other for other in others)


def _as_read(convention: Convention, text: str, reading: Reading, candidate: Candidate) -> Convention:
    """The convention with a backward of that text, and with what is told of what it takes and gives."""
    arrow = f" -> {reading.target}" if reading.target else ""
    remarks = (f"{candidate.backward} returns {reading.target}",) if reading.is_unusual else ()
    if candidate.is_alone:
        remarks = (f"a backward alone, with our own forward{_as_saved(text, candidate)}", *remarks)
    convention = replace(convention, backward=f"{text}{arrow}", gradients=reading.gradients)
    return replace(convention, remarks=remarks, by_order=reading.by_order)


def _as_saved(text: str, candidate: Candidate) -> str:
    """The end of a sentence: what those of its arguments are read as that a forward saves; empty without any."""
    called = next(node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call))
    names = [argument.name for argument in candidate.arguments("backward")]
    pairs = [*zip(names, called.args, strict=False), *((keyword.arg, keyword.value) for keyword in called.keywords)]
    saved = [(name, value.id) for name, value in pairs if isinstance(value, ast.Name) and value.id in SAVED]
    told = [f"{name} is read as the {value.removeprefix('saved_').replace('_', ' ')}" for name, value in saved]
    return f": {', '.join(told)}" if told else ""


def _without_unused(whole: Whole) -> Whole:
    """The convention with _ for the targets of forward that backward does not ask for."""
    call, _, targets = whole.convention.forward.rpartition(" -> ")
    used = {name.id for name in names_in(parsed(whole.convention).backward.expression)} | {"out"}
    used |= {place.partition(".")[0].partition("[")[0] for _, place in whole.convention.gradients}
    names = [name if name.strip(",") in used else "_" for name in targets.split(", ")]
    return replace(whole, convention=replace(whole.convention, forward=f"{call} -> {', '.join(names)}"))


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


# --- what forward returned besides out --------------------------------------------------------------------------


def _with_targets(forward: Forward, on: Probe) -> tuple[Convention, dict[str, str]]:
    """The convention with the targets of forward, and the names of what it returned besides out, by their roles."""
    if forward.number is None:
        return forward.convention, {}
    layout = layout_of(on.case, forward.convention.layout)
    names: list[str] = []
    known: dict[str, str] = {}
    for number, item in enumerate(forward.raw):
        role = BACK if callable(item) else "cache" if len(forward.raw) == 2 else _role(item, forward.inputs, layout)
        name = "out" if number == forward.number else role.replace(" ", "_")
        if name in GIVEN:
            name = "_"
        elif name in names:
            role = name = f"{name}{number}"
        names.append(name)
        if name not in ("_", "out"):
            known[role] = name
    target = ", ".join(names) + ("," if len(names) == 1 else "")
    call = forward.convention.forward.removesuffix(" -> out")
    return replace(forward.convention, forward=f"{call} -> {target}"), known


def _role(item: Any, inputs: Inputs, layout: Layout) -> str:
    """The role of an item that forward returned, by its value; `extra` for an array that cannot be told."""
    if not is_leaf(item):
        return "cache"
    array = numbers(item)
    stages = batchnorm.forward(inputs)
    if array.shape == layout.shape(inputs.x.shape[1]):
        array = layout.rows(array)
        roles = {"x": inputs.x, "x_hat": stages.x_hat, "centred": stages.centred}
    else:
        roles = {
            "mean": batchnorm.batch_mean(inputs.x),
            "var": stages.var,
            "std": stages.std,
            "inverse": 1 / stages.std,
        }
        roles |= {"gamma": inputs.gamma, "beta": inputs.beta}
    return next((role for role, value in roles.items() if _equal(array, value)), "extra")


def _equal(array: Any, value: FloatArray) -> bool:
    """Whether an array has the numbers of a stage of the forward, in whatever shape."""
    is_near = array.size == value.size and np.abs(array.ravel() - value.ravel()) <= 1e-4 * np.max(np.abs(value))
    return bool(np.all(is_near))
