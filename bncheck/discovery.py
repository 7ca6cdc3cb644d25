"""Implementations of other people, found in their files and checked.

Runs where their code runs, in a worker process or in this one. Arguments and results pickle.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bncheck.calling.binding import BindingError, is_refused
from bncheck.calling.implementation import Declined, bind
from bncheck.calling.pattern import PatternError
from bncheck.case import Case, Convention, Origin, Verdict
from bncheck.checking import check_with_sight
from bncheck.files.loading import Loaded, LoadError, load
from bncheck.recognition.candidates import candidates_in
from bncheck.recognition.mapping import blank, blank_functions, describe
from bncheck.recognition.recognition import Found, Recognition, recognise
from bncheck.report import CaseReport

_loaded: dict[tuple[str, str, tuple[str, ...]], Loaded] = {}


@dataclass(frozen=True, slots=True)
class Member:
    """An implementation in a file: its name, and how it is called."""

    name: str
    convention: Convention


@dataclass(frozen=True, slots=True)
class Broken:
    """An implementation that crashes or hangs when it is looked at: its name, and a sentence on what came of it."""

    name: str
    failure: str


@dataclass(frozen=True, slots=True)
class Discovery:
    """The implementations at some origin, or in `refusal` why there are none.

    `broken` are those that cannot be looked at, beside the members. `notes` say what was made up for at the import.
    """

    members: tuple[Member, ...] = ()
    refusal: str = ""
    broken: tuple[Broken, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """The text that `bncheck inspect` prints of a file, and whether something was found in it."""

    text: str
    found: bool


def discover(origin: Origin) -> Discovery:
    """Import a file and find what is in it. A convention that the user wrote is taken as it is."""
    try:
        loaded = _load(origin)
    except LoadError as error:
        return Discovery(refusal=f"error: {error}")
    if origin.convention is not None:
        member = Member(loaded.wanted or _called(origin.convention), origin.convention)
        return Discovery((member,), notes=loaded.notes)
    found = recognise(loaded.namespace, loaded.wanted or "")
    if not found.found:
        return Discovery(refusal="\n".join([nothing_found(origin, found), *_notes(loaded)]))
    return Discovery(tuple(Member(one.name, one.convention) for one in found.found), notes=loaded.notes)


def _notes(loaded: Loaded) -> list[str]:
    """The lines that say what was made up for at the import."""
    return [f"note: {note}" for note in loaded.notes]


def names_in(origin: Origin) -> tuple[str, ...]:
    """The names in a file that may be implementations; none of them is called. Raises LoadError."""
    loaded = _load(origin)
    return tuple(dict.fromkeys(pair.name for pair in candidates_in(loaded.namespace, loaded.wanted or "").pairs))


def look(origin: Origin) -> Seen:
    """Describe a file for `bncheck inspect`."""
    try:
        loaded = _load(origin)
    except LoadError as error:
        return Seen(f"error: {error}", False)
    seen = recognise(loaded.namespace, loaded.wanted or "")
    if seen.found:
        notes = [f"# {note}" for note in _notes(loaded)]
        found = [f"{_comment(one)}\n{describe(one, origin.place)}" for one in seen.found]
        return Seen("\n".join([*notes, *found]).rstrip(), True)
    name = loaded.wanted or next((attempt.name for attempt in seen.attempts), "BatchNorm")
    why = "\n".join([nothing_found(origin, seen), *_notes(loaded)])
    return Seen(f"{why}\n\n# To fill in:\n{_blank(name, loaded, origin)}".rstrip(), False)


def _blank(name: str, loaded: Loaded, origin: Origin) -> str:
    """A mapping to fill in: of functions where the name is that of a function, else of a class."""
    if callable(loaded.namespace.get(name)) and not isinstance(loaded.namespace[name], type):
        return blank_functions(name.replace("backward", "forward"), name, origin.place)
    return blank(name, origin.place)


def _comment(found: Found) -> str:
    """The comment above a mapping: what was found, on what shapes, with which eps."""
    kinds = " and ".join({"dense": "(N, D)", "image": "images"}[kind] for kind in found.kinds)
    eps = "" if math.isnan(found.eps_used) else f"; eps {found.eps_used:.3g}, whatever is asked for"
    return f"# {found.name}: {found.variant}, on {kinds}{'; eps as asked for' if found.eps_settable else eps}"


def check_theirs(case: Case) -> CaseReport:
    """Check a case of somebody's file. Raises whatever their code raises."""
    assert case.origin is not None
    assert case.origin.convention is not None
    try:
        namespace = _load(case.origin).namespace
    except LoadError as error:
        return CaseReport(case, Verdict.ERROR, reason=str(error))
    return check_in(namespace, case.origin.convention, case)


def check_in(namespace: Mapping[str, Any], convention: Convention, case: Case) -> CaseReport:
    """Check a case of what a namespace holds. Raises whatever their code raises."""
    try:
        bound = bind(namespace, case.member, convention, case)
        with bound.state:
            report = check_with_sight(case, bound)
    except Declined as reason:
        return CaseReport(case, Verdict.SKIPPED, reason=str(reason))
    except (BindingError, PatternError, TypeError) as error:
        if isinstance(error, TypeError) and not is_refused(error):
            raise
        return CaseReport(
            case, Verdict.ERROR, reason=f"as it is called here, {error}; correct the mapping, or write one"
        )
    if not report.findings:
        return report
    from bncheck.source.location import located  # only a failure has a place

    return replace(report, findings=located(report.findings, namespace, convention))


def nothing_found(origin: Origin, found: Recognition) -> str:
    """The message that nothing in a file is recognised, with the reasons for each thing that was tried."""
    tried = [f"  {attempt.name}: {'; '.join(attempt.reasons)}" for attempt in found.attempts]
    head = f"error: nothing in {origin.place} is recognised as batch normalisation"
    what = [*tried] or ["  it has no class or functions with a forward and a backward"]
    return "\n".join([head, *what])


def _load(origin: Origin) -> Loaded:
    """The module at an origin, imported once in each process."""
    key = (origin.place, origin.root, origin.stub)
    if key not in _loaded:
        _loaded[key] = load(*key)
    return _loaded[key]


def forget() -> None:
    """Forget the modules that were loaded: in a process that lives on, a file may have changed by the next call."""
    _loaded.clear()


def _called(convention: Convention) -> str:
    """The name of what a convention calls: the class that it creates, or else the backward function."""
    return (convention.create or convention.backward).partition("(")[0].strip()
