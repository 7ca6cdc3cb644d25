"""A report that shows itself: the same words as text, in colour, as HTML and as an exception."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from rich.console import Console

import bncheck
from bncheck import printout
from bncheck.case import Case
from bncheck.comparison import Comparison, Element, Verdict
from bncheck.report import CaseReport
from bncheck.status import ExitStatus

WORST = Element((1, 2), 1.0, 2.0)
ROW = Comparison("x", Verdict.FAIL, 0.5, 1e-9, 1e-12, 1.0, WORST, 3, 20, 0, 0.5, "order 3 in float64")
FAILED = CaseReport(Case(shape=(4, 5), label="4x5 seed=0"), Verdict.FAIL, (ROW,))
PASSED = CaseReport(Case(shape=(4, 5), label="4x5 seed=1"), Verdict.PASS, (replace(ROW, verdict=Verdict.PASS),))
SKIPPED = CaseReport(Case(shape=(4, 5), label="4x5 seed=2"), Verdict.SKIPPED, reason="float16 cannot hold x")
UNRESOLVED = replace(FAILED, verdict=Verdict.UNRESOLVED)
ALLOWED = replace(UNRESOLVED, case=replace(FAILED.case, unresolved="allow"))


def report(*cases: CaseReport) -> bncheck.Report:
    return bncheck.Report(cases, len(cases), 0.25)


@pytest.mark.parametrize(
    ("cases", "passed"),
    [
        ((PASSED,), True),
        ((PASSED, SKIPPED), True),
        ((ALLOWED,), True),
        ((PASSED, FAILED), False),
        ((UNRESOLVED,), False),
        ((SKIPPED,), False),
    ],
    ids=["all pass", "one is skipped", "unresolved is allowed", "one fails", "one is unresolved", "all are skipped"],
)
def test_passed_is_exit_status_0_and_what_a_report_is_worth_as_a_condition(
    cases: tuple[CaseReport, ...], passed: bool
) -> None:
    found = report(*cases)
    assert (found.passed, bool(found), found.status is ExitStatus.PASSED) == (passed, passed, passed)
    if passed:
        assert found.raise_for_failure() is None  # type: ignore[func-returns-value]
    else:
        with pytest.raises(bncheck.CheckFailedError):
            found.raise_for_failure()


def test_the_cases_are_there_by_name_by_number_and_in_turn() -> None:
    found = report(PASSED, FAILED)
    assert (list(found), len(found)) == ([PASSED, FAILED], 2)
    assert found.cases == (PASSED, FAILED)


def test_the_exception_tells_all_that_did_not_pass_and_nothing_else() -> None:
    with pytest.raises(AssertionError) as raised:
        report(PASSED, FAILED).raise_for_failure()
    assert str(raised.value) == (
        "1 of 2 cases did not pass\n"
        "\n"
        "FAIL  4x5 seed=0\n"
        "  x: relative error 5.0e-01, tolerance 1.0e-09, resolution 1.0e-12\n"
        "    worst at [1, 2]: analytic 1.0, numeric 2.0; 3 of 20 elements are off\n"
        "\n"
        "1 passed, 1 failed in 0.25 s"
    )


def test_the_exception_says_that_nothing_was_checked() -> None:
    with pytest.raises(bncheck.CheckFailedError) as raised:
        report(SKIPPED).raise_for_failure()
    assert str(raised.value) == (
        "0 of 1 case passed\n\nSKIPPED  4x5 seed=2\n  float16 cannot hold x\n\n"
        "1 skipped; every case was skipped, so nothing was checked in 0.25 s"
    )


def test_the_exception_tells_every_case_and_the_text_ten_of_them() -> None:
    found = report(*[FAILED] * 12)
    with pytest.raises(bncheck.CheckFailedError) as raised:
        found.raise_for_failure()
    assert str(raised.value).count("FAIL  4x5 seed=0") == 12
    assert str(found).count("FAIL  4x5 seed=0") == 10
    assert "and 2 more; report.cases and report.to_json() have them all\n" in str(found)


def test_the_short_form_is_one_line() -> None:
    assert repr(report(PASSED, FAILED)) == "<bncheck.Report: 1 passed, 1 failed in 0.25 s>"


def test_rich_and_html_have_the_words_of_the_text() -> None:
    found = report(PASSED, FAILED)
    console = Console(file=io.StringIO(), width=200, force_terminal=True)
    with console.capture() as captured:
        console.print(found)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", captured.get())
    assert plain != captured.get()
    assert words(plain) == words(str(found))
    assert words(_Page.read(found._repr_html_()).text) == words(str(found))


def words(text: str) -> list[str]:
    return text.split()


class _Page(HTMLParser):
    """What a browser would make of it; a tag that is not closed is an error."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.tags: list[str] = []
        self.open: list[str] = []

    @classmethod
    def read(cls, html: str) -> _Page:
        page = cls()
        page.feed(html)
        page.close()
        assert page.open == []
        return page

    def handle_starttag(self, tag: str, attributes: object) -> None:
        self.tags.append(tag)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_what_users_wrote_is_no_markup_in_any_form() -> None:
    label = "<script>alert(1)</script> & [red]x[/red] :smile:"
    found = report(replace(FAILED, case=replace(FAILED.case, label=label)))
    page = _Page.read(found._repr_html_())
    assert label in page.text
    assert label in str(found)
    assert page.tags[0] == "pre"
    assert set(page.tags) == {"pre", "span"}


def test_a_notebook_is_shown_one_report_and_not_two(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr("rich.jupyter.display", lambda *_: print("displayed"))
    found = report(PASSED, FAILED)
    assert found._repr_html_().startswith("<pre ")
    assert "FAIL" in str(found)
    assert capsys.readouterr().out == ""


def test_json_is_that_of_the_command_line_with_null_for_no_command() -> None:
    found = json.loads(report(FAILED).to_json())
    assert found["status"]["name"] == "failed"
    assert [(case["label"], case["repeat"]) for case in found["cases"]] == [("4x5 seed=0", None)]


def test_the_public_class_is_the_one_of_this_module() -> None:
    assert bncheck.Report is printout.Report
