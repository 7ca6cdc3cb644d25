"""Implementations of other people, found in their files and checked.

Runs where their code runs, in a worker process or in this one. Arguments and results pickle.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bncheck.calling.arrays import NoSuchKind, lacking
from bncheck.calling.binding import BindingError, is_refused
from bncheck.calling.implementation import Declined, bind
from bncheck.calling.pattern import PatternError
from bncheck.calling.plan import parsed
from bncheck.calling.statements import StatementError
from bncheck.case import Case, Convention, Origin, Verdict
from bncheck.checking import check_drawn, check_with_sight
from bncheck.files.execution import TookLong, limited
from bncheck.files.loading import Loaded, LoadError, load, text_of
from bncheck.files.stub import StubUsed
from bncheck.gradients.problem import Problem
from bncheck.recognition.candidates import candidates_in
from bncheck.recognition.formulas import bind_formulas, is_formulas, recognise_formulas, right_below
from bncheck.recognition.recognition import BLANK, Found, Recognition, recognise
from bncheck.report import CaseReport

if TYPE_CHECKING:
    from bncheck.faults.diagnosis import Finding
    from bncheck.faults.reduction import Followed

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
class Inspection:
    """The text that `bncheck inspect` prints of a file, and whether something was found in it."""

    text: str
    found: bool


def discover(origin: Origin) -> Discovery:
    """Import a file and find what is in it. A convention that the user wrote is taken as it is."""
    if text := _formulas_at(origin):
        try:
            return Discovery((Member("formulas", recognise_formulas(text, origin.place)),))
        except StatementError as error:
            return Discovery(refusal=f"error: {error}")
    try:
        loaded = _load(origin)
    except LoadError as error:
        return Discovery(refusal=f"error: {error}")
    if origin.convention is not None:
        member = Member(loaded.wanted or _called(origin.convention), origin.convention)
        return Discovery((member,), notes=loaded.notes)
    found = recognise(loaded.namespace, loaded.wanted or "")
    if not found.found:
        return Discovery(refusal="\n".join([nothing_found(origin, found), *(f"note: {note}" for note in loaded.notes)]))
    notes = (*loaded.notes, *(sentence for _, sentence in found.left_out))
    return Discovery(tuple(Member(one.name, one.convention) for one in found.found), notes=notes)


def _formulas_at(origin: Origin) -> str:
    """The text at an origin, where it is formulas as they are typed; empty where it is something else."""
    if origin.convention is not None:
        return origin.convention.statements
    if not origin.place.endswith(".py"):
        return ""
    try:
        text = text_of(Path(origin.place).absolute(), origin.place)
    except LoadError:  # as whoever loads it will say
        return ""
    return text if is_formulas(text) else ""


def names_in(origin: Origin) -> tuple[str, ...]:
    """The names in a file that may be implementations; none of them is called. Raises LoadError."""
    loaded = _load(origin)
    return tuple(dict.fromkeys(pair.name for pair in candidates_in(loaded.namespace, loaded.wanted or "").pairs))


def look(origin: Origin) -> Inspection:
    """Describe a file for `bncheck inspect`."""
    if _formulas_at(origin):
        typed = discover(origin)
        return Inspection(typed.refusal or describe(typed.members[0].convention, origin.place), not typed.refusal)
    try:
        loaded = _load(origin)
    except LoadError as error:
        return Inspection(f"error: {error}", False)
    seen = recognise(loaded.namespace, loaded.wanted or "")
    notes = [f"note: {note}" for note in (*loaded.notes, *(sentence for _, sentence in seen.left_out))]
    if seen.found:
        found = [f"{_comment(one)}\n{describe(one.convention, origin.place)}" for one in seen.found]
        return Inspection("\n".join([*(f"# {note}" for note in notes), *found]).rstrip(), True)
    tried = [f"  {attempt.name}: {'; '.join(attempt.reasons)}" for attempt in seen.attempts]
    head = f"error: nothing in {origin.place} is recognised as batch normalisation"
    usual = next((attempt.usual for attempt in seen.attempts if attempt.usual is not None), BLANK)
    mapping = describe(usual, origin.place)
    return Inspection("\n".join([head, *(tried or [NOTHING]), *notes, "", "# To fill in:", mapping]).rstrip(), False)


NOTHING = "  it has no class or functions with a forward and a backward"


def _comment(found: Found) -> str:
    """The comment above a mapping: what was found, on what shapes, with which eps."""
    kinds = " and ".join({"dense": "(N, D)", "image": "images"}[kind] for kind in found.kinds)
    eps = "" if math.isnan(found.eps_used) else f"; eps {found.eps_used:.3g}, whatever is asked for"
    return f"# {found.name}: {found.variant}, on {kinds}{'; eps as asked for' if found.eps_settable else eps}"


def check_theirs(case: Case) -> CaseReport:
    """Check a case of somebody's file. Raises whatever their code raises."""
    assert case.origin is not None
    assert case.origin.convention is not None
    if case.origin.convention.statements:
        return check_formulas(case, case.origin.convention)
    try:
        namespace = _load(case.origin).namespace
    except LoadError as error:
        return CaseReport(case, Verdict.ERROR, reason=str(error))
    return check_in(namespace, case.origin.convention, case)


def check_formulas(case: Case, convention: Convention) -> CaseReport:
    """Check a case of formulas as they are typed."""
    assert case.origin is not None
    try:
        typed = bind_formulas(convention, case.origin.place, case)
        report = check_with_sight(case, typed)
    except Declined as reason:
        return CaseReport(case, Verdict.SKIPPED, reason=str(reason))
    except BindingError as error:
        return CaseReport(case, Verdict.ERROR, reason=f"{case.origin.place}: {error}")
    if report.verdict is not Verdict.FAIL or typed.sheet.forward:
        return report
    return replace(report, note="; ".join(filter(None, (report.note, right_below(convention, case)))))


def check_in(namespace: Mapping[str, Any], convention: Convention, case: Case) -> CaseReport:
    """Check a case of what a namespace holds. Raises whatever their code raises."""
    try:
        bound = bind(namespace, case.member, convention, case)
        with bound.state:
            report = check_with_sight(case, bound)
    except (Declined, StubUsed) as reason:
        return CaseReport(case, Verdict.SKIPPED, reason=str(reason))
    except Exception as error:  # whatever theirs raises where it lacks something of this machine
        called = [namespace[name] for name in parsed(convention).names if name in namespace]
        if lacks := lacking(namespace, called):
            return CaseReport(case, Verdict.SKIPPED, reason=f"{case.member} raises {type(error).__name__}: {lacks}")
        if not isinstance(error, BindingError | PatternError | NoSuchKind) and not is_refused(error):
            raise
        return CaseReport(
            case, Verdict.ERROR, reason=f"as it is called here, {error}; correct the mapping, or write one"
        )
    note = "; ".join(filter(None, (*convention.remarks, report.note)))
    findings = tuple(_settled(finding, convention) for finding in report.findings)
    return replace(report, note=note, findings=findings)


def _settled(finding: Finding, convention: Convention) -> Finding:
    """A swap of dgamma and dbeta, of which nothing in the file says which is which, with what would settle it."""
    if not convention.by_order or "parameters-swapped" not in finding.faults:
        return finding
    call, _, target = convention.backward.partition(" -> ")
    other = target.replace("dgamma", "dbeta?").replace("dbeta", "dgamma").replace("dgamma?", "dbeta")
    return replace(finding, sentence=f"{finding.sentence} {SETTLED.format(mapping=f'backward: {call} -> {other}')}")


HANGING = 3.0
"""Seconds by which a check of a size that nobody has asked for may be late, before it is taken to hang."""


def follow_in_time(report: CaseReport, seconds: float) -> Followed:
    """Follow up a failure of somebody's file; with nothing found where their code hangs. Raises LoadError."""
    from bncheck.faults.reduction import SECONDS, Followed

    try:
        with limited(SECONDS + seconds + report.seconds + HANGING):
            return follow_theirs(report, seconds)
    except TookLong:
        return Followed()


def follow_theirs(report: CaseReport, seconds: float) -> Followed:
    """Follow up a failure of somebody's file. Raises LoadError."""
    assert report.case.origin is not None
    if report.case.origin.convention is not None and report.case.origin.convention.statements:
        from bncheck.faults.reduction import Followed

        return Followed()  # a file of formulas is never imported
    return follow_in(_load(report.case.origin).namespace, report, seconds)


def follow_in(namespace: Mapping[str, Any], report: CaseReport, seconds: float) -> Followed:
    """Follow up a failure of what a namespace holds."""
    from bncheck.faults.reduction import Answered, follow

    case, origin = report.case, report.case.origin
    assert origin is not None
    assert origin.convention is not None
    convention = origin.convention

    def answered(problem: Problem) -> Answered:
        bound = bind(namespace, case.member, convention, problem.case)
        with bound.state:
            return check_drawn(problem, bound)

    return follow(report, answered, seconds)


SETTLED = (
    "Nothing in the file says which is which; where it means the other order, a mapping with {mapping} settles it."
)


def nothing_found(origin: Origin, found: Recognition) -> str:
    """The message that nothing in a file is recognised, in nine lines at most: what was tried, and a mapping.

    Of several things that were tried, the first that is called like a batch normalisation is told of.
    """
    head = f"error: nothing in {origin.place} is recognised as batch normalisation"
    named = [attempt for attempt in found.attempts if attempt.usual is not None] or list(found.attempts)
    left_out = [f"  {sentence}" for _, sentence in found.left_out]
    if not named:
        return "\n".join([head, *(left_out or [NOTHING])][:8])
    first = named[0]
    more = len(found.attempts) - 1
    others = f" (and {more} more, of which bncheck inspect {origin.place} tells)" if more else ""
    ended = "; the search ended since no call was left" if first.exhausted else ""
    tried = f"  {first.name}: {first.reasons[0]}{ended}{others}"
    if first.usual is None:
        return "\n".join([head, tried])
    return f"{head}; correct this mapping\n{tried}\n{describe(first.usual, origin.place).rstrip()}"


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


# --- a convention as YAML, to be pasted into a config and changed there ---------------------------------------------

_DEFAULTS = Convention(forward="", backward="")
_KEYS = ["create", "build", "set", "forward", "backward", "gradients", "layout", "parameters", "arrays", "axes"]
_BEFORE_COLON = len("gradients:")


def describe(convention: Convention, file: str) -> str:
    """The mapping under which `file` is called by a convention, with the key `implementation:` above it."""
    if convention.statements:
        how = f"  # formulas, of x {convention.layout} and gamma {convention.parameters}"
        return f"implementation: {_scalar(file)}{how}\n"
    given = {key: getattr(convention, key) for key in _KEYS if getattr(convention, key) != getattr(_DEFAULTS, key)}
    lines = [f"  {key + ':':<{_BEFORE_COLON}} {_value(value)}\n" for key, value in {"file": file, **given}.items()]
    return "".join(["implementation:\n", *lines])


def _value(value: Any) -> str:
    """A value of a convention on one line: text, numbers, or the place for each name, a list where it has several."""
    if isinstance(value, str):
        return _scalar(value)
    if isinstance(value[0], int):
        return str(list(value))
    items = []
    for name in dict.fromkeys(name for name, _ in value):
        places = [_in_list(place) for other, place in value if other == name]
        items.append(f"{name}: {places[0]}" if len(places) == 1 else f"{name}: [{', '.join(places)}]")
    return f"{{{', '.join(items)}}}"


def _scalar(text: str) -> str:
    """The text, in double quotes where YAML would read something else without."""
    plain = text.isprintable() and text == text.strip() and text[:1].isalpha() and ": " not in text and " #" not in text
    return text if plain and not text.endswith(":") and text not in ("true", "false", "null") else json.dumps(text)


def _in_list(text: str) -> str:
    """The text inside a list or a mapping on one line, in double quotes where it has marks of these."""
    plain = _scalar(text)
    return json.dumps(text) if plain == text and set(text) & set("[]{},") else plain
