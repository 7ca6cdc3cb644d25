"""The zoo: batch normalisations as people write them. What is right passes; what is wrong fails, at the right rows."""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from bncheck.calling.implementation import bind
from bncheck.case import LAYOUTS, PARAMETERS, Case, Convention, Origin, Verdict, XDraw
from bncheck.checking import check
from bncheck.discovery import check_theirs, discover, follow_in
from bncheck.files.loading import Loaded, LoadError, load
from bncheck.recognition.recognition import Recognition, recognise
from bncheck.report import CaseReport
from tests.conftest import TRAIN

ZOO = Path(__file__).parent / "zoo"

ROWS = ("out", "beta", "gamma", "mean", "var", "x")

# How the code of others is spelt, and how many sources were counted that spell it so.
PRACTICES = {
    "attributes": 25,  # a class; backward returns dx; dgamma and dbeta are left in attributes
    "course functions": 9,  # (x, gamma, beta, bn_param) -> (out, cache); (dout, cache) -> (dx, dgamma, dbeta)
    "triple": 8,  # a class whose backward returns all three, in some order
    "hidden": 8,  # a class that updates gamma and beta in backward, or has an optimiser do it
    "other functions": 6,  # of other names, arguments or returns
    "dict": 6,  # a class with gradients in a dict or a list
    "no parameters": 5,  # a class with no gamma and beta, or no gradients of them
    "eps argument": 3,  # functions with eps as fourth argument
    "parameter objects": 3,  # self.gamma.data, self.gamma.grad
    "statements": 6,  # formulas, one under the other
    "other": 13,  # methods of a network, updateOutput, an autograd Function, a node of a graph
}

# What goes wrong, and how many sources were counted that have it; 0 for what we have added.
FAULTS = {
    "route": 9,  # the variance or mean route is wrong or absent
    "multiple": 7,  # dgamma and dbeta are an exact multiple of the truth
    "raises": 7,  # backward raises
    "constants": 5,  # mean and variance treated as constants
    "shape": 3,  # a gradient of the wrong shape
    "eps": 2,  # eps missing in dvar, or added twice
    "inverse std": 2,  # std used as 1/std, or the other way round
    "running": 2,  # running statistics used in backward
    "identity": 2,  # backward returns dout
    "construct": 2,  # the layer does not construct
    "axis": 1,  # n taken from the wrong axis
    "swapped": 0,  # dgamma is given as dbeta, and dbeta as dgamma
    "contract": 0,  # inputs overwritten, a gradient that is None, in float32, or another one every time
    "forward": 0,  # the forward is no batch normalisation
}

# What once ended in a false alarm, a false error, a miss, or in nothing at all.
CAUSES = (
    "returned",  # names in a return statement, sums, a docstring, keys: and swaps under their own names
    "form",  # a gradient in a shape that leaves an update right
    "breach",  # a breach with another fault beside it
    "search",  # the first way of calling that runs is not the right one
    "arguments",  # arguments of backward that have no name, or another order
    "behaviour",  # methods and functions whose names say little
    "out",  # out in an attribute, a buffer, a tuple or a dict
    "parameters",  # gamma and beta under other names and in other places
    "set up",  # a method to be called, or attributes to be set, before forward
    "state",  # state of the module, queued inputs, running statistics
    "imports",  # modules that are missing, packages that fail, names that have gone
    "beside",  # other normalisations, abstract and unfinished code beside it
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One implementation of the zoo; the head of manifest.yaml says what the fields mean."""

    place: str
    practice: str
    cause: str = ""
    fault: str = ""
    shapes: tuple[tuple[int, ...], ...] = ((6, 4),)
    mean: float = 0.0
    fails: tuple[str, ...] = ()
    any: tuple[str, ...] = ()
    skips: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    error: str = ""
    refused: str = ""
    not_found: str = ""
    left_out: tuple[str, ...] = ()
    recognised: bool = True
    stub: tuple[str, ...] = ()
    typed: bool = False
    how: Convention | None = None

    @property
    def file(self) -> str:
        """The file, below the zoo."""
        return self.place.partition(":")[0]

    @property
    def name(self) -> str:
        """The name in the file."""
        return self.place.partition(":")[2]

    def loaded(self) -> Loaded:
        """The module, with whatever it prints kept back."""
        with contextlib.redirect_stdout(io.StringIO()):
            return load(str(ZOO / self.file), stub=self.stub)

    def mapping(self) -> Convention:
        """The convention that the manifest gives."""
        assert self.how is not None
        return self.how

    def expected(self) -> dict[str, str]:
        """The verdict of every row that is not left open."""
        verdict = dict.fromkeys(ROWS, "pass") | dict.fromkeys(self.fails, "fail") | dict.fromkeys(self.skips, "skipped")
        return {row: verdict[row] for row in ROWS if row not in self.any}


def read(given: dict[str, Any]) -> Entry:
    """An entry as the manifest has it."""
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
    fields["shapes"] = tuple(map(tuple, given.get("shapes", [[6, 4]])))
    if "how" in given:
        fields["how"] = convention_of(given["how"])
    return Entry(**fields)


def convention_of(mapping: dict[str, Any]) -> Convention:
    """A convention as a mapping has it."""
    fields: dict[str, Any] = dict(mapping)
    return Convention(**fields | {key: tuple(mapping[key].items()) for key in ("set", "gradients") if key in mapping})


MANIFEST = [read(given) for given in yaml.safe_load((ZOO / "manifest.yaml").read_text(encoding="utf-8"))]
TYPED = [entry for entry in MANIFEST if entry.typed]
CHECKED = [entry for entry in MANIFEST if not (entry.error or entry.refused or entry.not_found or entry.typed)]
RAISING = [entry for entry in MANIFEST if entry.error]


def each(entries: list[Entry]) -> pytest.MarkDecorator:
    """Every entry on every shape that it is to be checked on."""
    parameters = [(entry, shape) for entry in entries for shape in entry.shapes]
    ids = [f"{entry.place}{entry.mean or ''} {'x'.join(map(str, shape))}" for entry, shape in parameters]
    return pytest.mark.parametrize(("entry", "shape"), parameters, ids=ids)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a check came to: the verdict of each row, and all that the report says."""

    verdicts: dict[str, str]
    said: str


def outcome(entry: Entry, shape: tuple[int, ...], convention: Convention) -> Outcome:
    """The whole of a check, in this process. Raises what their code raises."""
    case = Case(shape=shape, x=XDraw(mean=entry.mean), asked=("eps", "shapes"))
    namespace = entry.loaded().namespace
    with contextlib.redirect_stdout(io.StringIO()):
        report = check(case, bind(namespace, entry.name, convention, case))
    assert report.comparisons, report.reason
    verdicts = {row.node: str(row.verdict) for row in report.comparisons}
    notes = [f"{row.node}: {row.note}" for row in report.comparisons if row.note]
    told = [finding.sentence for finding in report.findings]
    return Outcome(verdicts, "\n".join([report.note, *notes, *told]))


def recognised(entry: Entry) -> Recognition:
    """What is found of that name in the file; of any, where the entry has none."""
    with contextlib.redirect_stdout(io.StringIO()):
        return recognise(entry.loaded().namespace, entry.name)


def convention_found(entry: Entry, shape: tuple[int, ...]) -> Convention:
    """The convention that is found for the entry and for such shapes."""
    kind = "dense" if len(shape) == 2 else "image"
    fitting = [found.convention for found in recognised(entry).found if kind in found.kinds]
    assert fitting, f"{entry.name} is not recognised: {why_not(entry)}"
    return fitting[0]


def why_not(entry: Entry) -> str:
    """What was tried in vain in a file, and what came of it."""
    return "\n".join(reason for attempt in recognised(entry).attempts for reason in attempt.reasons)


def raised_by(entry: Entry, shape: tuple[int, ...], convention: Convention) -> str:
    """What a check raises, as `ValueError: its message`."""
    try:
        outcome(entry, shape, convention)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def matches(found: Outcome, entry: Entry) -> None:
    """Assert that the outcome is what the manifest says."""
    assert {row: found.verdicts[row] for row in entry.expected()} == entry.expected(), found.said
    for words in entry.words:
        assert words in found.said


# --- verdicts ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@each(CHECKED)
def test_the_verdict_with_the_mapping_is_right_at_every_row(entry: Entry, shape: tuple[int, ...]) -> None:
    matches(outcome(entry, shape, entry.mapping()), entry)


@pytest.mark.slow
@each([entry for entry in CHECKED if entry.recognised])
def test_the_verdict_without_a_mapping_is_right_at_every_row(entry: Entry, shape: tuple[int, ...]) -> None:
    matches(outcome(entry, shape, convention_found(entry, shape)), entry)


@each(RAISING)
def test_what_their_code_raises_comes_through(entry: Entry, shape: tuple[int, ...]) -> None:
    assert entry.error in raised_by(entry, shape, entry.mapping())


@each(RAISING)
def test_what_their_code_raises_is_said_without_a_mapping(entry: Entry, shape: tuple[int, ...]) -> None:
    found = recognised(entry).found
    said = raised_by(entry, shape, found[0].convention) if found else why_not(entry)
    assert entry.error in said


@pytest.mark.parametrize("entry", [entry for entry in MANIFEST if entry.not_found], ids=lambda entry: entry.place)
def test_where_nothing_is_found_it_is_said_why(entry: Entry) -> None:
    assert not recognised(entry).found
    assert entry.not_found in why_not(entry)


@pytest.mark.parametrize("entry", [entry for entry in MANIFEST if entry.left_out], ids=lambda entry: entry.place)
def test_what_is_left_out_beside_it_is_named(entry: Entry) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        found = recognise(entry.loaded().namespace)
    assert [one.name for one in found.found] == [entry.name]
    assert tuple(sentence for _, sentence in found.left_out) == entry.left_out


@pytest.mark.parametrize("entry", [e for e in MANIFEST if e.refused and not e.typed], ids=lambda entry: entry.place)
def test_a_file_that_cannot_be_loaded_is_refused_with_the_reason(entry: Entry) -> None:
    with pytest.raises(LoadError) as refusal:
        entry.loaded()
    assert entry.refused in str(refusal.value)


# --- formulas as they are typed ----------------------------------------------------------------------------------


@each([entry for entry in TYPED if not entry.refused])
def test_a_formula_that_is_wrong_fails_in_its_own_row_alone(entry: Entry, shape: tuple[int, ...]) -> None:
    origin = Origin(place=str(ZOO / entry.file))
    found = discover(origin)
    assert not found.refusal
    report = check_theirs(Case(shape=shape, eps=1.3e-5, origin=replace(origin, convention=found.members[0].convention)))
    assert report.comparisons, report.reason
    verdicts = {row.node: str(row.verdict) for row in report.comparisons if row.node not in entry.any}
    assert {row for row, verdict in verdicts.items() if verdict == "fail"} == set(entry.fails), report
    assert {row for row, verdict in verdicts.items() if verdict == "skipped"} == set(entry.skips)
    notes = [row.note for row in report.comparisons]
    said = "\n".join([report.note, *notes, *(finding.sentence for finding in report.findings)])
    assert all(words in said for words in entry.words), said


@pytest.mark.parametrize("entry", [e for e in TYPED if e.refused], ids=lambda entry: entry.place)
def test_what_is_no_formula_is_refused_with_its_line(entry: Entry) -> None:
    assert entry.refused in discover(Origin(place=str(ZOO / entry.file))).refusal


# --- what only an update shows -----------------------------------------------------------------------------------

UPDATING = [entry for entry in CHECKED if entry.how and "update(" in str(entry.how.gradients)]
SILENT = ("std 1e-150", "dout of ones")  # dgamma is lost in the rounding of gamma, or is zero, and so is dx


def in_regime(entry: Entry, regime: str) -> CaseReport:
    """A check of it on data of that kind, in a shape of its own."""
    shape = TRAIN[regime].shape if len(entry.shapes[0]) == 2 else entry.shapes[0]
    case = replace(TRAIN[regime], shape=shape)
    return check(case, bind(entry.loaded().namespace, entry.name, entry.mapping(), case))


@pytest.mark.slow
@pytest.mark.parametrize("regime", TRAIN)
@pytest.mark.parametrize("entry", [e for e in UPDATING if not e.fault], ids=lambda entry: entry.place)
def test_what_only_updates_and_is_right_passes_in_every_regime(entry: Entry, regime: str) -> None:
    report = in_regime(entry, regime)
    assert report.verdict == "pass"
    skipped = {row.node for row in report.comparisons if row.verdict == "skipped"}
    assert skipped == {*entry.skips, *(["gamma"] if regime == "std 1e-150" else [])}


@pytest.mark.parametrize("regime", [regime for regime in TRAIN if regime not in SILENT])
@pytest.mark.parametrize("entry", [e for e in UPDATING if e.fault], ids=lambda entry: entry.place)
def test_what_only_updates_and_is_wrong_fails_in_every_regime_that_shows_it(entry: Entry, regime: str) -> None:
    failed = {row.node for row in in_regime(entry, regime).comparisons if row.verdict == "fail"}
    assert failed >= {row for row in entry.fails if row in ("beta", "gamma")}
    assert failed


# --- the zoo itself ----------------------------------------------------------------------------------------------


def is_right(entry: Entry) -> bool:
    return not (entry.fault or entry.refused or entry.not_found)


def is_wrong(entry: Entry) -> bool:
    return bool(entry.fault)


def test_there_are_seventy_right_and_sixty_wrong_ones() -> None:
    assert sum(map(is_right, MANIFEST)) >= 70
    assert sum(map(is_wrong, MANIFEST)) >= 60


def test_nine_in_ten_need_no_mapping() -> None:
    implementations = [entry for entry in MANIFEST if is_right(entry) or is_wrong(entry)]
    assert len(implementations) >= 120
    assert sum(entry.recognised for entry in implementations) >= 0.9 * len(implementations)


@pytest.mark.parametrize("practice", PRACTICES)
def test_every_practice_has_right_ones(practice: str) -> None:
    assert Counter(entry.practice for entry in MANIFEST if is_right(entry))[practice] >= 3


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_there_in_several_spellings(fault: str) -> None:
    assert Counter(entry.fault for entry in MANIFEST)[fault] >= 3


@pytest.mark.parametrize("cause", CAUSES)
def test_every_cause_is_there_in_several_spellings(cause: str) -> None:
    assert Counter(entry.cause for entry in MANIFEST)[cause] >= 3


@pytest.mark.parametrize("parameters", PARAMETERS)
def test_every_shape_of_gamma_is_there(parameters: str) -> None:
    assert any(entry.how and entry.how.parameters == parameters for entry in MANIFEST)


@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - {"(n, d)"}))
def test_every_layout_is_there_both_right_and_wrong(layout: str) -> None:
    those = [entry for entry in MANIFEST if entry.how and entry.how.layout == layout]
    assert any(map(is_right, those))
    assert any(map(is_wrong, those))


def test_practices_and_faults_are_spelt_alike_everywhere() -> None:
    assert {entry.practice for entry in MANIFEST} <= set(PRACTICES)
    assert {entry.fault for entry in MANIFEST} - {""} <= set(FAULTS)
    assert {entry.cause for entry in MANIFEST} - {""} <= set(CAUSES)


def test_every_file_stands_in_the_manifest() -> None:
    imported_by_others = {
        "projects/netlib/base.py",
        "projects/course/coursework/fast_layers.py",
        "projects/failing/nn/functions.py",
    }
    files = {path.relative_to(ZOO).as_posix() for path in ZOO.rglob("*.py") if path.name != "__init__.py"}
    files = {file for file in files if not file.startswith("tensors/")}  # tests/test_tensors.py has these
    assert files - imported_by_others == {entry.file for entry in MANIFEST}


# --- the least case of what fails ----------------------------------------------------------------------------------

NEEDS_MORE = {
    "faults/axis/images_last.py:BatchNorm": "another axis counts as n, and has to be longer than one",
}


@pytest.mark.slow
@each([entry for entry in CHECKED if entry.fails])
def test_what_fails_is_reduced_to_three_rows_of_one_feature_or_to_its_boundary(
    entry: Entry, shape: tuple[int, ...]
) -> None:
    origin = Origin(place=entry.place, convention=entry.mapping())
    case = Case(shape=shape, x=XDraw(mean=entry.mean), origin=origin, member=entry.name)
    with contextlib.redirect_stdout(io.StringIO()):
        namespace = entry.loaded().namespace
        report = check(case, bind(namespace, entry.name, entry.mapping(), case))
        found = follow_in(namespace, report, 60.0)
    if any(row.node == "out" and row.verdict is Verdict.FAIL for row in report.comparisons):
        assert found.least is None  # a table of dx tells nothing of a forward that is none
        return
    assert found.least is not None
    least = replace(case, shape=found.least.shape)
    assert (least.n <= 3 and least.d == 1) != bool(found.boundaries or entry.place in NEEDS_MORE)
