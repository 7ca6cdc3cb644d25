"""A convention, parsed, and the names in it looked up."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

from bncheck.calling.pattern import (
    PatternError,
    Slot,
    Step,
    Update,
    names_in,
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

    convention: Convention
    create: ast.expr | None
    build: ast.expr | None
    places: tuple[tuple[str, Slot | ast.Call], ...]
    forward: Step
    backward: Step
    gradients: Mapping[str, ast.expr | Update]

    @cached_property
    def updates(self) -> dict[str, Slot]:
        """The gradients that show only as an update, by row, and where."""
        return {row: found.place for row, found in self.gradients.items() if isinstance(found, Update)}

    @cached_property
    def rows(self) -> tuple[str, ...]:
        """The rows whose gradient it gives, in the order of GRADIENTS."""
        targets = set(targets_of(self.backward.target))
        return tuple(row for row in GRADIENTS if row in self.gradients or f"d{row}" in targets)

    @cached_property
    def unjudged(self) -> dict[str, str]:
        """Why the gradients of parameters that are put nowhere cannot be judged, by row."""
        rows = (row for row in ("gamma", "beta") if row in self.rows and row not in self.taken)
        return {row: NOT_PUT.format(row=row, how=self._how_to_put(row)) for row in rows}

    def _how_to_put(self, row: str) -> str:
        if self.create is not None:
            return f"say where it is kept, as in set: {{{row}: self.{row}}}"
        return f"hand it over in forward:, as in {self.forward.text.partition('(')[0].strip()}(x, {row})"

    def expressions(self) -> Iterator[tuple[str, str, ast.expr]]:
        """Every expression that is looked up, with its key in the convention and its text there."""
        convention = self.convention
        if self.create is not None:
            yield "create", convention.create, self.create
        if self.build is not None:
            yield "build", convention.build, self.build
        for (_, text), (_, place) in zip(convention.set, self.places, strict=True):
            yield "set", text, place
        yield "forward", self.forward.text, self.forward.expression
        yield "backward", self.backward.text, self.backward.expression
        for row, text in convention.gradients:
            found = self.gradients[row]
            yield "gradients", text, found.place if isinstance(found, Update) else found

    @cached_property
    def names(self) -> frozenset[str]:
        """Every name that is looked up."""
        return frozenset(name.id for _, _, expression in self.expressions() for name in names_in(expression))

    @cached_property
    def taken(self) -> frozenset[str]:
        """The names of `vocabulary.GIVEN` that are handed over in some way."""
        return (self.names | {name for name, _ in self.places}) & frozenset(GIVEN)

    @cached_property
    def leaves(self) -> frozenset[str]:
        """The names that are handed over and whose own gradient is asked for, as in x.grad."""
        places = (where for where in self.gradients.values() if not isinstance(where, Update))
        found = (node for place in places for node in ast.walk(place))
        held = (node.value for node in found if isinstance(node, ast.Attribute) and node.attr in ("grad", "gradient"))
        return frozenset(node.id for node in held if isinstance(node, ast.Name)) & set(GIVEN)

    @cached_property
    def takes_running_statistics(self) -> bool:
        """Whether it can be told to normalise by given statistics: no fixed flag of train mode may contradict them."""
        if not self.taken >= {"running_mean", "running_var"}:
            return False
        return "training" in self.taken or not set(_constants(self.forward.expression)) & {"train", "training", "True"}


@lru_cache(maxsize=1024)
def parsed(convention: Convention) -> Plan:
    """The patterns of a convention. Raises PatternError."""
    gradients = {row: parse_gradient(text) for row, text in convention.gradients}
    create = parse_call(convention.create) if convention.create else None
    handed = {name.id for name in names_in(create)} if create is not None else set()
    handed |= {name for name, _ in convention.set}
    return Plan(
        convention,
        create,
        parse_call(convention.build) if convention.build else None,
        tuple((name, parse_setting(name, text)) for name, text in convention.set),
        parse_forward(convention.forward, tuple(sorted(handed))),
        parse_backward(convention.backward, tuple(gradients)),
        gradients,
    )


def check_names(plan: Plan, namespace: Mapping[str, object]) -> None:
    """Raises PatternError for a name that nothing gives a value, with the nearest that has one."""
    known = set(GIVEN) - {"dout"}
    for key, text, expression in plan.expressions():
        if key == "backward":
            known |= {"dout", *targets_of(plan.forward.target)}
        if key == "gradients":
            known |= {*targets_of(plan.backward.target)}
        has_self = plan.create is not None and key != "create"
        values = {*(known if has_self else known - {"self"}), *namespace}
        for name in names_in(expression):
            if name.id in values:
                continue
            near = difflib.get_close_matches(name.id, sorted(one for one in values if not one.startswith("__")), n=1)
            gives = f"forward gives {', '.join(targets_of(plan.forward.target))} and no more"
            hint = f"did you mean '{near[0]}'?" if near else gives if key == "backward" else ""
            if name.id == "self":
                hint = "say how it is made in create:"
            message = f"{key} names '{name.id}', which nothing gives a value"
            raise PatternError(text, name.col_offset, len(name.id), message, hint)


def _constants(expression: ast.AST) -> Iterator[str]:
    """The text of every constant that is handed over; keys of dicts are not."""
    if isinstance(expression, ast.Constant):
        yield str(expression.value)
    if isinstance(expression, Slot):
        return  # a key is not handed over either
    parts = expression.values if isinstance(expression, ast.Dict) else ast.iter_child_nodes(expression)
    for part in parts:
        yield from _constants(part)
