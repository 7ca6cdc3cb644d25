"""The code of others, called from here and run elsewhere: in worker processes with limits, or in this one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import bncheck.blindness
import bncheck.diagnosis  # noqa: F401  # reports that come back may hold what is told there
from bncheck.case import Case, Origin
from bncheck.comparison import Verdict
from bncheck.discovery import Discovery, Seen, check_theirs, discover, forget, look
from bncheck.implementations.interrupt import telling_apart
from bncheck.implementations.isolation import InProcess, Workshop
from bncheck.implementations.layout import not_taken
from bncheck.implementations.outcome import Outcome
from bncheck.implementations.worker import Task
from bncheck.report import CaseReport


class NotFoundError(Exception):
    """There is nothing to check at some origin; the message says why, and what to do."""


class Hands(Protocol):
    """Makes calls of other people's code."""

    def call(self, function: Task, *arguments: object) -> Outcome:
        """What became of it."""


HandsOf = Callable[[Case], Hands]


@contextlib.contextmanager
def workers() -> Iterator[HandsOf]:
    """For each case a worker process with its limits; cases with the same limits share one."""
    with contextlib.ExitStack() as stack:
        made: dict[tuple[float, int], Workshop] = {}

        def of(case: Case) -> Hands:
            limits = (case.timeout, case.memory)
            if limits not in made:
                made[limits] = stack.enter_context(Workshop(*limits))
            return made[limits]

        yield of


@contextlib.contextmanager
def this_process() -> Iterator[HandsOf]:
    """No worker, no limits: for a debugger. What was loaded is loaded afresh the next time."""
    try:
        with InProcess() as hands, telling_apart():
            yield lambda case: hands
    finally:
        forget()


def expand(cases: Sequence[Case], hands_of: HandsOf, discover: Callable[[Origin], Discovery] = discover) -> list[Case]:
    """The cases, with those of somebody's file once for each implementation that is discovered in it.

    Where there are several, the label begins with the name. Raises NotFoundError, with the reasons of all files.
    """
    found: dict[Origin, Discovery] = {}
    for case in cases:
        if case.origin is not None and case.origin not in found:
            found[case.origin] = _discovered(case.origin, hands_of(case), discover)
    refusals = [discovery.refusal for discovery in found.values() if discovery.refusal]
    if refusals:
        raise NotFoundError("\n\n".join(dict.fromkeys(refusals)))
    return [one for case in cases for one in ([case] if case.origin is None else _members(case, found[case.origin]))]


def _discovered(origin: Origin, hands: Hands, discover: Callable[[Origin], Discovery]) -> Discovery:
    outcome = hands.call(discover, origin)
    if isinstance(outcome.value, Discovery):
        return outcome.value
    printed = f"\nit printed:\n{outcome.output.rstrip()}" if outcome.output.strip() else ""
    return Discovery(refusal=f"error: {origin.place} cannot be looked at: {outcome.failure}{printed}")


def look_at(origin: Origin, hands_of: HandsOf) -> Seen:
    """What `bncheck inspect` prints of a file."""
    outcome = hands_of(Case(shape=(2, 2), origin=origin)).call(look, origin)
    if isinstance(outcome.value, Seen):
        return outcome.value
    return Seen(f"error: {origin.place} cannot be looked at: {outcome.failure}", False)


def _members(case: Case, discovery: Discovery) -> list[Case]:
    """The case for each member that takes its shape; where none does, for all of them, which will say so."""
    assert case.origin is not None
    several = len(discovery.members) > 1
    taking = [member for member in discovery.members if not not_taken(member.name, member.convention, case)]
    return [
        replace(
            case,
            member=member.name,
            label=f"{member.name} {case.label}" if several else case.label,
            origin=replace(case.origin, convention=member.convention),
        )
        for member in taking or discovery.members
    ]


def check_elsewhere(case: Case, hands_of: HandsOf, check: Callable[[Case], CaseReport] = check_theirs) -> CaseReport:
    """One case of theirs. What their code does to its process costs this one case."""
    outcome = hands_of(case).call(check, case)
    if isinstance(outcome.value, CaseReport):
        return replace(outcome.value, output=outcome.output)
    return CaseReport(case, Verdict.ERROR, reason=outcome.failure, output=outcome.output)
