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
from bncheck.discovery import Broken, Discovery, Member, Seen, check_theirs, discover, forget, look, names_in
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
    if origin.convention is None and (found := _one_by_one(origin, hands, discover, outcome.failure)):
        return found
    printed = f"\nit printed:\n{outcome.output.rstrip()}" if outcome.output.strip() else ""
    return Discovery(refusal=f"error: {origin.place} cannot be looked at: {outcome.failure}{printed}")


def _one_by_one(
    origin: Origin, hands: Hands, discover: Callable[[Origin], Discovery], failure: str
) -> Discovery | None:
    """What is in a file of which something hangs or crashes: each looked at alone. None where it names nothing."""
    names = hands.call(names_in, origin).value
    if not isinstance(names, tuple) or not names:
        return None
    if len(names) == 1:
        return Discovery(broken=(Broken(names[0], failure),))
    members: list[Member] = []
    broken: list[Broken] = []
    for name in names:
        outcome = hands.call(discover, replace(origin, place=f"{origin.place}:{name}"))
        if isinstance(outcome.value, Discovery):
            members += outcome.value.members
        else:
            broken.append(Broken(name, outcome.failure))
    return Discovery(tuple(members), broken=tuple(broken)) if members or broken else None


def look_at(origin: Origin, hands_of: HandsOf) -> Seen:
    """What `bncheck inspect` prints of a file."""
    outcome = hands_of(Case(shape=(2, 2), origin=origin)).call(look, origin)
    if isinstance(outcome.value, Seen):
        return outcome.value
    return Seen(f"error: {origin.place} cannot be looked at: {outcome.failure}", False)


def _members(case: Case, discovery: Discovery) -> list[Case]:
    """The case for each member that takes its shape; where none does, for all of them, which will say so."""
    assert case.origin is not None
    several = len(discovery.members) + len(discovery.broken) > 1
    taking = [member for member in discovery.members if not not_taken(member.name, member.convention, case)]
    origins = [
        (member.name, replace(case.origin, convention=member.convention)) for member in taking or discovery.members
    ]
    origins += [(broken.name, replace(case.origin, broken=broken.failure)) for broken in discovery.broken]
    return [
        replace(case, member=name, label=f"{name} {case.label}" if several else case.label, origin=origin)
        for name, origin in origins
    ]


def check_elsewhere(case: Case, hands_of: HandsOf, check: Callable[[Case], CaseReport] = check_theirs) -> CaseReport:
    """One case of theirs. What their code does to its process costs this one case."""
    if case.origin is not None and case.origin.broken:
        return CaseReport(case, Verdict.ERROR, reason=case.origin.broken)
    outcome = hands_of(case).call(check, case)
    if isinstance(outcome.value, CaseReport):
        return replace(outcome.value, output=outcome.output)
    return CaseReport(case, Verdict.ERROR, reason=outcome.failure, output=outcome.output)
