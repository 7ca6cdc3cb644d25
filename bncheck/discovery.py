"""Other people's implementations, found and checked. Runs where their code runs; what goes in and comes out pickles."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bncheck.calling.binding import BindingError, Declined, bind, left_alone
from bncheck.calling.implementation import Foreign
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
    """One implementation in a file: its name, and how it is called."""

    name: str
    convention: Convention


@dataclass(frozen=True, slots=True)
class Broken:
    """One that took its process down, or did not come back, when it was looked at: its name, and what came of it."""

    name: str
    failure: str


@dataclass(frozen=True, slots=True)
class Discovery:
    """What is to be checked at some origin; or, in `refusal`, why there is nothing. `broken` are beside the members.

    `notes` say what had to be made up for when the file was imported, each in a sentence.
    """

    members: tuple[Member, ...] = ()
    refusal: str = ""
    broken: tuple[Broken, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """What there is to say of a file, and whether something was found in it."""

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
    """What had to be made up for at the import, in lines."""
    return [f"note: {note}" for note in loaded.notes]


def names_in(origin: Origin) -> tuple[str, ...]:
    """What in a file may be an implementation, by name; nothing of it is called. Raises LoadError."""
    loaded = _load(origin)
    return tuple(dict.fromkeys(pair.name for pair in candidates_in(loaded.namespace, loaded.wanted or "").pairs))


def look(origin: Origin) -> Seen:
    """What `bncheck inspect` prints of a file."""
    try:
        loaded = _load(origin)
    except LoadError as error:
        return Seen(f"error: {error}", False)
    seen = recognise(loaded.namespace, loaded.wanted or "")
    if seen.found:
        notes = [f"# {note}" for note in _notes(loaded)]
        found = [f"{_told(one)}\n{describe(one, origin.place)}" for one in seen.found]
        return Seen("\n".join([*notes, *found]).rstrip(), True)
    name = loaded.wanted or next((attempt.name for attempt in seen.attempts), "BatchNorm")
    why = "\n".join([nothing_found(origin, seen), *_notes(loaded)])
    return Seen(f"{why}\n\n# To fill in:\n{_blank(name, loaded, origin)}".rstrip(), False)


def _blank(name: str, loaded: Loaded, origin: Origin) -> str:
    """A mapping to fill in: of functions where the name is that of a function, else of a class."""
    if callable(loaded.namespace.get(name)) and not isinstance(loaded.namespace[name], type):
        return blank_functions(name.replace("backward", "forward"), name, origin.place)
    return blank(name, origin.place)


def _told(found: Found) -> str:
    """One comment on what was found, above its mapping."""
    kinds = " and ".join({"dense": "(N, D)", "image": "images"}[kind] for kind in found.kinds)
    eps = "" if math.isnan(found.eps_used) else f"; eps {found.eps_used:.3g}, whatever is asked for"
    return f"# {found.name}: {found.variant}, on {kinds}{'; eps as asked for' if found.eps_settable else eps}"


def check_theirs(case: Case) -> CaseReport:
    """One case of somebody's implementation. Raises whatever their code raises."""
    assert case.origin is not None
    assert case.origin.convention is not None
    try:
        namespace = _load(case.origin).namespace
    except LoadError as error:
        return CaseReport(case, Verdict.ERROR, reason=str(error))
    return check_in(namespace, case.origin.convention, case)


def check_in(namespace: Mapping[str, Any], convention: Convention, case: Case) -> CaseReport:
    """One case of what a namespace holds."""
    try:
        with left_alone(bind(namespace, case.member, convention, case)) as bound:
            report = check_with_sight(case, Foreign(bound))
    except Declined as reason:
        return CaseReport(case, Verdict.SKIPPED, reason=str(reason))
    except (BindingError, PatternError) as error:
        return CaseReport(
            case, Verdict.ERROR, reason=f"as it is called here, {error}; correct the mapping, or write one"
        )
    if not report.findings:
        return report
    from bncheck.source.location import located  # only a failure has a place

    return replace(report, findings=located(report.findings, namespace, convention))


def nothing_found(origin: Origin, found: Recognition) -> str:
    """Why nothing in a file is taken for batch normalisation, and what to do."""
    tried = [f"  {attempt.name}: {'; '.join(attempt.reasons)}" for attempt in found.attempts]
    head = f"error: nothing in {origin.place} is recognised as batch normalisation"
    what = [*tried] or ["  it has no class or functions with a forward and a backward"]
    return "\n".join([head, *what])


def _load(origin: Origin) -> Loaded:
    """Imported once in each process."""
    key = (origin.place, origin.root, origin.stub)
    if key not in _loaded:
        _loaded[key] = load(*key)
    return _loaded[key]


def forget() -> None:
    """Let the next call load what it needs afresh: in a process that lives on, a file may have changed by then."""
    _loaded.clear()


def _called(convention: Convention) -> str:
    """What a convention calls: the class that it creates, or else the backward function."""
    return (convention.create or convention.backward).partition("(")[0].strip()
