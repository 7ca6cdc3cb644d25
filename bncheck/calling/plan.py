"""A convention, parsed, and the names in it looked up."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

from bncheck.calling.expression import Call, Constant, Dict, Expression, List, Name, Tuple, names_in
from bncheck.calling.pattern import (
    PatternError,
    Slot,
    Step,
    Update,
    parse_backward,
    parse_call,
    parse_forward,
    parse_gradient,
    parse_setting,
    targets_of,
)
from bncheck.calling.vocabulary import GIVEN
from bncheck.case import Convention

NOT_PUT = "{row} is neither set nor handed over, so nothing shows what d{row} should be; {how}"

GRADIENTS = ("x", "gamma", "beta", "mean", "var")
"""The rows of which an implementation may give a gradient."""


@dataclass(frozen=True)
class Plan:
    """A convention, parsed. `create` is None for functions."""

    create: Expression | None
    build: Expression | None
    places: tuple[tuple[str, Slot | Call], ...]
    forward: Step
    backward: Step
    gradients: tuple[tuple[str, Expression | Update], ...]

    @cached_property
    def updates(self) -> tuple[tuple[str, Slot], ...]:
        """The gradients that show only as an update, and where."""
        return tuple((row, found.place) for row, found in self.gradients if isinstance(found, Update))

    @cached_property
    def rows(self) -> tuple[str, ...]:
        """The rows whose gradient it gives, in the order of GRADIENTS."""
        given = {*(f"d{row}" for row, _ in self.gradients), *targets_of(self.backward.target)}
        return tuple(row for row in GRADIENTS if f"d{row}" in given)

    @cached_property
    def unjudged(self) -> dict[str, str]:
        """Why the gradients of parameters that are put nowhere cannot be judged, by row."""
        rows = (row for row in ("gamma", "beta") if row in self.rows and row not in self.taken)
        return {row: NOT_PUT.format(row=row, how=self._how_to_put(row)) for row in rows}

    def _how_to_put(self, row: str) -> str:
        if self.create is not None:
            return f"say where it is kept, as in set: {{{row}: self.{row}}}"
        return f"hand it over in forward:, as in {self.forward.text.partition('(')[0].strip()}(x, {row})"

    def expressions(self) -> Iterator[tuple[str, str, Expression]]:
        """Every expression that is looked up: its key, the step whose targets it may name too, and itself."""
        if self.create is not None:
            yield "create", "", self.create
        if self.build is not None:
            yield "build", "", self.build
        for _, place in self.places:
            yield "set", "", place
        yield "forward", "", self.forward.expression
        yield "backward", "forward", self.backward.expression
        for _, found in self.gradients:
            yield "gradients", "backward", found.place if isinstance(found, Update) else found

    @cached_property
    def takes_running_statistics(self) -> bool:
        """Whether it can be told to normalise by given statistics: no fixed flag of train mode may contradict them."""
        if not self.taken >= {"running_mean", "running_var"}:
            return False
        return "training" in self.taken or not set(_constants(self.forward.expression)) & {"train", "training", "True"}

    @cached_property
    def taken(self) -> frozenset[str]:
        """The names of `vocabulary.GIVEN` that are handed over in some way."""
        called = {name.name for _, _, expression in self.expressions() for name in names_in(expression)}
        return frozenset(called | {name for name, _ in self.places}) & frozenset(GIVEN)


@lru_cache(maxsize=1024)
def parsed(convention: Convention) -> Plan:
    """The patterns of a convention. Raises PatternError."""
    gradients = tuple((row, parse_gradient(text)) for row, text in convention.gradients)
    create = parse_call(convention.create) if convention.create else None
    handed = {name.name for name in names_in(create)} if create is not None else set()
    handed |= {name for name, _ in convention.set}
    return Plan(
        create,
        parse_call(convention.build) if convention.build else None,
        tuple((name, parse_setting(name, text)) for name, text in convention.set),
        parse_forward(convention.forward, tuple(sorted(handed))),
        parse_backward(convention.backward, tuple(row for row, _ in gradients)),
        gradients,
    )


def check_names(plan: Plan, convention: Convention, namespace: Mapping[str, object]) -> None:
    """Raises PatternError for a name that nothing gives a value, with the nearest that has one."""
    later = {
        "": set(GIVEN) - {"dout"},
        "forward": {*GIVEN, *targets_of(plan.forward.target)},
        "backward": {*GIVEN, *targets_of(plan.forward.target), *targets_of(plan.backward.target)},
    }
    for key, stage, expression in plan.expressions():
        known = later[stage] - (set() if plan.create is not None and key != "create" else {"self"})
        for name in names_in(expression):
            if name.name not in known and name.name not in namespace:
                raise _unknown(key, name, _text(convention, key, name), [*known, *namespace])


def _unknown(key: str, name: Name, text: str, known: list[str]) -> PatternError:
    near = difflib.get_close_matches(name.name, sorted(known), n=1)
    hint = f"did you mean '{near[0]}'?" if near else ""
    if name.name == "self":
        hint = "say how it is made in create:"
    return PatternError(
        text, name.offset, len(name.name), f"{key} names '{name.name}', which nothing gives a value", hint
    )


def _text(convention: Convention, key: str, name: Name) -> str:
    texts = {"create": [convention.create], "build": [convention.build], "forward": [convention.forward]}
    texts |= {"backward": [convention.backward], "set": [text for _, text in convention.set]}
    texts |= {"gradients": [text for _, text in convention.gradients]}
    return next(text for text in texts[key] if text.startswith(name.name, name.offset))


def _constants(expression: Expression) -> Iterator[str]:
    """The text of every constant that is handed over."""
    match expression:
        case Constant(value):
            yield str(value)
        case Call(_, arguments, keywords):
            for argument in (*arguments, *(value for _, value in keywords)):
                yield from _constants(argument)
        case Tuple(items) | List(items):
            for item in items:
                yield from _constants(item)
        case Dict(pairs):
            for _, value in pairs:
                yield from _constants(value)
