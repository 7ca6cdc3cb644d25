"""From verdicts to what a run comes to."""

from __future__ import annotations

import pytest

from bncheck.case import Case
from bncheck.comparison import Verdict
from bncheck.report import CaseReport, Report
from bncheck.status import ExitStatus

PASS, FAIL, UNRESOLVED, ERROR, SKIPPED = Verdict


def ended(*verdicts: Verdict, stopped: str = "", unresolved: str = "fail") -> Report:
    """A run of cases that came to these verdicts."""
    case = Case(shape=(4, 5), unresolved=unresolved)
    return Report(tuple(CaseReport(case, verdict) for verdict in verdicts), len(verdicts), 0.0, stopped)


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
def test_status_of_a_run(report: Report, status: ExitStatus) -> None:
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
