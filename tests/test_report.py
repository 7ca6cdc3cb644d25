"""From verdicts to what a run comes to."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import replace

import numpy as np
import pytest

from bncheck.case import Case, Verdict
from bncheck.checking import check_with_sight
from bncheck.derivation import OF_GRADIENT
from bncheck.faults.blindness import Blind
from bncheck.faults.catalogue import BY_NAME, FAULTS, Fault
from bncheck.faults.diagnosis import Statement
from bncheck.gradients.batchnorm import NODES
from bncheck.gradients.comparison import WRONG
from bncheck.report import CaseReport, Run
from bncheck.reporters import FORMATS
from bncheck.reporters.console import Detail
from bncheck.status import ExitStatus, Hints
from tests.faulty import implementation_with

PASS, FAIL, UNRESOLVED, ERROR, SKIPPED = Verdict


def ended(*verdicts: Verdict, stopped: str = "", unresolved: str = "fail") -> Run:
    """A run of cases that came to these verdicts."""
    case = Case(shape=(4, 5), unresolved=unresolved)
    return Run(tuple(CaseReport(case, verdict) for verdict in verdicts), len(verdicts), 0.0, stopped)


BLIND = (Blind("dout is ones, so dx is zero", "use dout: normal", FAULTS[-3:]),)


def looked_at(verdict: Verdict, blind: tuple[Blind, ...], allowed: str, unresolved: str = "fail") -> CaseReport:
    """A case that came to this verdict, blind to this, where the config says so of blindness."""
    return CaseReport(Case(shape=(4, 5), blind=allowed, unresolved=unresolved), verdict, blind=blind)


@pytest.mark.parametrize(
    ("report", "status"),
    [
        pytest.param(ended(PASS), ExitStatus.PASSED, id="one passed"),
        pytest.param(ended(PASS, SKIPPED), ExitStatus.PASSED, id="one passed, one was skipped"),
        pytest.param(ended(PASS, FAIL), ExitStatus.FAILED, id="one failed"),
        pytest.param(ended(PASS, ERROR), ExitStatus.FAILED, id="one ended in an error"),
        pytest.param(ended(SKIPPED, FAIL), ExitStatus.FAILED, id="one was skipped, one failed"),
        pytest.param(ended(PASS, UNRESOLVED), ExitStatus.FAILED, id="one was unresolved"),
        pytest.param(ended(UNRESOLVED, unresolved="allow"), ExitStatus.PASSED, id="unresolved, which is allowed"),
        pytest.param(ended(FAIL, unresolved="allow"), ExitStatus.FAILED, id="failed, which is not"),
        pytest.param(ended(SKIPPED, SKIPPED), ExitStatus.NOT_STARTED, id="all were skipped"),
        pytest.param(ended(), ExitStatus.NOT_STARTED, id="nothing to do"),
        pytest.param(ended(PASS, stopped="interrupted"), ExitStatus.INTERRUPTED, id="interrupted"),
        pytest.param(ended(FAIL, stopped="interrupted"), ExitStatus.INTERRUPTED, id="interrupted after a failure"),
        pytest.param(ended(stopped="interrupted"), ExitStatus.INTERRUPTED, id="interrupted at once"),
        pytest.param(ended(FAIL, stopped="fail-fast"), ExitStatus.FAILED, id="stopped by the first failure"),
    ],
)
def test_status_of_a_run(report: Run, status: ExitStatus) -> None:
    assert report.status is status


@pytest.mark.parametrize(
    ("verdict", "acceptable"), [(PASS, True), (FAIL, False), (UNRESOLVED, False), (ERROR, False), (SKIPPED, True)]
)
def test_which_verdicts_are_acceptable(verdict: Verdict, acceptable: bool) -> None:
    assert CaseReport(Case(shape=(4, 5)), verdict).acceptable is acceptable


def test_verdicts_are_counted() -> None:
    assert list(ended(PASS, FAIL, PASS, SKIPPED).counts().items()) == [
        (PASS, 2),
        (FAIL, 1),
        (UNRESOLVED, 0),
        (ERROR, 0),
        (SKIPPED, 1),
    ]


def test_verdicts_read_as_words() -> None:
    assert [str(verdict) for verdict in Verdict] == ["pass", "fail", "unresolved", "error", "skipped"]


@pytest.mark.parametrize(
    ("found", "acceptable"),
    [
        pytest.param(looked_at(PASS, BLIND, "allow"), True, id="blind, which is allowed"),
        pytest.param(looked_at(PASS, BLIND, "fail"), False, id="blind, which is not"),
        pytest.param(looked_at(PASS, (), "fail"), True, id="blind to nothing"),
        pytest.param(looked_at(SKIPPED, (), "fail"), True, id="skipped"),
        pytest.param(looked_at(FAIL, BLIND, "allow"), False, id="failed, and blind, which is allowed"),
        pytest.param(looked_at(UNRESOLVED, BLIND, "fail", "allow"), False, id="unresolved, allowed, and blind"),
        pytest.param(looked_at(UNRESOLVED, BLIND, "allow", "allow"), True, id="both allowed"),
        pytest.param(looked_at(UNRESOLVED, (), "fail", "allow"), True, id="unresolved, allowed, not blind"),
    ],
)
def test_a_case_that_must_see_everything_is_not_acceptable_where_it_does_not(
    found: CaseReport, acceptable: bool
) -> None:
    assert found.acceptable is acceptable
    status = ExitStatus.PASSED if acceptable else ExitStatus.FAILED
    assert Run((found, CaseReport(Case(shape=(4, 5)), PASS)), 2, 0.0).status is status


def test_a_case_sees_enough_where_it_is_blind_to_nothing_or_may_be() -> None:
    found = [looked_at(FAIL, blind, allowed) for blind in (BLIND, ()) for allowed in ("allow", "fail")]
    assert [one.sees_enough for one in found] == [True, False, True, True]


# --- status -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "name", "sentence"),
    [
        (0, "PASSED", "Every check passed."),
        (
            1,
            "FAILED",
            "Some check failed, was unresolved, ended in an error, or was blind where the config demands sight.",
        ),
        (2, "NOT_STARTED", "Nothing was checked: a mistake in the arguments or the config, or nothing selected."),
        (3, "BUG", "A bug in bncheck itself, shown with its traceback."),
        (130, "INTERRUPTED", "Interrupted (143 by SIGTERM, 129 by SIGHUP); what was checked by then is reported."),
    ],
)
def test_each_number_has_its_name_and_sentence(number: int, name: str, sentence: str) -> None:
    status = next(status for status in ExitStatus if status == number)
    assert (status.name, status.sentence) == (name, sentence)


def test_there_are_no_others() -> None:
    assert [int(status) for status in ExitStatus] == [0, 1, 2, 3, 130]


def test_a_status_ends_a_process_with_its_number() -> None:
    with pytest.raises(SystemExit) as ended:
        sys.exit(ExitStatus.INTERRUPTED)
    assert ended.value.code == 130


# --- how much is told ---------------------------------------------------------------------------------------------

PLACE = Statement("layers.py", 4173, "dvar = the_statement_of_theirs")


def failed(fault: Fault, shape: tuple[int, ...] = (6, 5)) -> CaseReport:
    """A case that fails for a fault, with a statement in which it stands, and the command that repeats it."""
    found = check_with_sight(Case(shape=shape, label="small"), implementation_with(fault, shape[0]))
    findings = tuple(replace(finding, statements=(PLACE,)) for finding in found.findings)
    return replace(found, findings=findings, repeat="bncheck run x")


def everything(report: CaseReport) -> str:
    """Everything that is written of a case in any form, with the most detail, and what its objects hold."""
    run = Run((report,), 1, 1.0)
    return "\n".join([repr(report), *(form.of_run(run, Detail.FULL) for form in FORMATS.values())])


def right_numbers(report: CaseReport) -> set[str]:
    """The first digits of every number that should have been given."""
    worst = [row.worst.numeric for row in report.comparisons if row.verdict is FAIL]
    return {repr(value)[:8] for value in worst if np.isfinite(value)} - {"0.0", "-0.0"}


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.needs != "eval"], ids=lambda fault: fault.name)
def test_a_verdict_gives_away_no_formula_no_factor_no_right_number_and_no_line(fault: Fault) -> None:
    report = failed(fault)
    shown = everything(report)
    told = everything(report.telling(Hints.VERDICT))
    assert PLACE.text not in told
    assert str(PLACE.line) not in told
    assert "it should be" not in told
    assert fault.cause not in told
    assert fault.name not in told
    for finding in report.findings:
        assert finding.sentence not in told
        assert finding.formula not in told
    for number in right_numbers(report):
        assert number in shown
        assert number not in told
    assert [formula.in_ascii for formula in OF_GRADIENT.values() if formula.in_ascii in told] == []


def test_a_verdict_still_says_which_rows_are_wrong_and_how_to_ask_again() -> None:
    told = failed(BY_NAME["no-var-route"]).telling(Hints.VERDICT)
    assert told.verdict is FAIL
    assert [row.node for row in told.comparisons if row.verdict is FAIL] == ["x"]
    assert {row.note for row in told.comparisons if row.verdict is FAIL} == {WRONG}
    assert all(math.isnan(row.error) for row in told.comparisons if row.verdict is FAIL)
    assert told.repeat == "bncheck run x --hints verdict"
    table = FORMATS["table"].of_run(Run((told,), 1, 1.0), Detail.QUIET)
    assert table == f"FAIL  small\n  x: {WRONG}\n  repeat: bncheck run x --hints verdict\n\n1 failed in 1.00 s\n"


def test_each_hint_tells_more_than_the_one_before() -> None:
    report = failed(BY_NAME["dvar-averaged"])
    sentences = [[finding.sentence for finding in report.telling(hints).findings] for hints in Hints]
    assert sentences[:3] == [[], ["x, var: it is wrong."], ["x, var: the route through var is wrong."]]
    assert re.match(r"x, var: dvar is 1/n of what it should be", sentences[3][0])
    told = [everything(report.telling(hints)) for hints in Hints]
    assert [str(PLACE.line) in each for each in told] == [False, True, True, True]
    assert ["it should be: dvar = " in each for each in told] == [False, False, False, True]
    assert [all(number in each for number in right_numbers(report)) for each in told] == [False] * 3 + [True]
    assert report.telling(Hints.FORMULA) is report


def test_a_route_of_which_nothing_is_known_is_told_by_its_coefficient() -> None:
    report = failed(BY_NAME["var-route-sign"])
    (finding,) = report.findings
    unknown = replace(report, findings=(replace(finding, keys=(), faults=()),))
    assert [each.sentence for each in unknown.telling(Hints.ROUTE).findings] == ["x: the route through var is wrong."]


def test_what_breaks_the_contract_is_told_with_the_verdict() -> None:
    report = failed(BY_NAME["no-var-route"])
    rows = tuple(replace(row, verdict=FAIL, error=0.0, note="of another shape") for row in report.comparisons)
    told = replace(report, comparisons=rows).telling(Hints.VERDICT)
    assert [row.note for row in told.comparisons] == ["of another shape"] * len(NODES)
