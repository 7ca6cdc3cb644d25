"""From verdicts to what a run comes to."""

from __future__ import annotations

import sys

import pytest

from bncheck.case import Case, Verdict
from bncheck.faults.blindness import Blind
from bncheck.faults.catalogue import FAULTS
from bncheck.report import CaseReport, Run
from bncheck.status import ExitStatus

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
