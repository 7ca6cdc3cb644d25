"""What each reporter makes of a report; reports are made by hand, so that every verdict is there."""

from __future__ import annotations

import io
import json
import math
import re
import sys
import threading
import time
from dataclasses import replace

import pytest
from rich.console import Console

from bncheck.case import Case, Verdict, XDraw
from bncheck.checking import check_with_sight
from bncheck.faults.blindness import Blind
from bncheck.faults.catalogue import BY_NAME, FAULTS, Fault
from bncheck.faults.diagnosis import Finding, Statement
from bncheck.faults.hypotheses import Fit
from bncheck.faults.reduction import Boundary, LeastCase
from bncheck.faults.region import Region, Span
from bncheck.gradients.comparison import Comparison, Element
from bncheck.report import CaseReport, Run
from bncheck.reporters import console, table
from bncheck.reporters import json as json_reporter
from bncheck.reporters.table import Detail
from bncheck.status import ExitStatus
from tests.faulty import implementation_with

GOOD = Comparison(
    node="x",
    verdict=Verdict.PASS,
    error=2.4e-12,
    tolerance=1e-9,
    resolution=6.6e-11,
    scale=3.0,
    worst=Element((3, 1), 0.1, 0.2),
    off=0,
    size=20,
    vanishing=0,
    course_error=1e-10,
    method="order 3 in float64",
)
BAD = replace(
    GOOD, verdict=Verdict.FAIL, error=0.5, off=7, worst=Element((3, 1), 0.123456789012345, -1.5), note="a note"
)
UNCLEAR = replace(GOOD, verdict=Verdict.UNRESOLVED, resolution=3e-8, method="order 8 in 80-bit")
NAN = replace(BAD, error=math.nan, worst=Element((3, 1), math.nan, math.inf), note="")


def case_report(comparison: Comparison, label: str = "4x5 seed=0", source: str = "") -> CaseReport:
    case = Case(shape=(65, 67), label=label, source=source)
    return CaseReport(case, comparison.verdict, (replace(GOOD, node="gamma"), comparison), repeat=f"repeat {label}")


def report(*cases: CaseReport, selected: int = 0, stopped: str = "") -> Run:
    return Run(cases, selected or len(cases), 1.234, stopped)


SKIPPED = CaseReport(Case(shape=(4, 5), label="big"), Verdict.SKIPPED, reason="it does not fit", repeat="repeat big")
ERROR = CaseReport(Case(shape=(4, 5), label="huge"), Verdict.ERROR, reason="out of memory", repeat="repeat huge")


# --- table -----------------------------------------------------------------------------------------------------


def test_one_case_is_a_table_of_nodes() -> None:
    assert table.render(report(case_report(replace(GOOD, vanishing=1))), Detail.USUAL) == (
        "4x5 seed=0  reference, train, float64, eps 1.3e-05, order 3 in float64\n"
        "node     error  tolerance  resolution  worst at  verdict\n"
        "────────────────────────────────────────────────────────────────\n"
        "gamma  2.4e-12    1.0e-09     6.6e-11  [3, 1]    pass\n"
        "x      2.4e-12    1.0e-09     6.6e-11  [3, 1]    pass, vanishing\n"
        "\n"
        "1 passed in 1.23 s\n"
    )


def test_several_cases_are_a_table_of_cases_with_a_legend_of_the_marks_in_it() -> None:
    vanishing = case_report(replace(GOOD, vanishing=1), "flat")
    assert table.render(
        report(case_report(GOOD, "good"), case_report(BAD, "bad"), vanishing, SKIPPED), Detail.USUAL
    ) == (
        "Relative error of the gradient at each node\n"
        "case   beta    gamma  mean  var         x  verdict\n"
        "──────────────────────────────────────────────────\n"
        "good      -  2.4e-12     -    -   2.4e-12  pass\n"
        "bad       -  2.4e-12     -    -  5.0e-01!  fail\n"
        "flat      -  2.4e-12     -    -  2.4e-12~  pass\n"
        "big       -        -     -    -         -  skipped\n"
        "! above the tolerance\n"
        "~ vanishing: in some feature there is nothing but roundoff to compare\n"
        "\n"
        "FAIL  bad\n"
        "  x: relative error 5.0e-01, tolerance 1.0e-09, resolution 6.6e-11\n"
        "    worst at [3, 1]: analytic 0.123456789012345, numeric -1.5; 7 of 20 elements are off\n"
        "    a note\n"
        "  repeat: repeat bad\n"
        "\n"
        "SKIPPED  big\n"
        "  it does not fit\n"
        "\n"
        "2 passed, 1 failed, 1 skipped in 1.23 s\n"
    )


def test_a_table_with_marks_in_a_few_columns_needs_no_more_than_80() -> None:
    rows = [replace(GOOD, node=node) for node in ("out", "beta", "gamma", "mean")]
    rows += [replace(BAD, node=node) for node in ("var", "x")]
    found = replace(case_report(BAD, "65x67 seed=0"), comparisons=tuple(rows))
    shown = table.render(report(found, found), Detail.USUAL)
    assert "65x67 seed=0  2.4e-12  2.4e-12  2.4e-12  2.4e-12  5.0e-01!  5.0e-01!  fail\n" in shown


def test_what_fails_for_its_form_alone_is_marked_as_that() -> None:
    form = case_report(replace(GOOD, verdict=Verdict.FAIL, note="dgamma has shape (1, 5)"), "form")
    shown = table.render(report(form, case_report(GOOD, "good")), Detail.USUAL)
    assert "form      -  2.4e-12     -    -  2.4e-12#  fail\n" in shown
    assert "# fails for what is said of it below, and not for its size\n" in shown
    assert "above the tolerance" not in shown


def test_an_error_that_ends_several_cases_is_told_once() -> None:
    def ended(label: str, reason: str) -> CaseReport:
        return CaseReport(Case(shape=(4, 5), label=label), Verdict.ERROR, reason=reason, repeat=f"repeat {label}")

    cases = [ended(f"case {number}", "layers.py:41 backward: KeyError: 'x'") for number in range(12)]
    shown = table.render(report(*cases, ended("another", "it ran out of memory")), Detail.USUAL)
    assert shown.endswith(
        "ERROR  case 0 and 11 more\n"
        "  also case 1, case 2, case 3, case 4, case 5, ...\n"
        "  layers.py:41 backward: KeyError: 'x'\n"
        "  repeat: repeat case 0\n"
        "\n"
        "ERROR  another\n"
        "  it ran out of memory\n"
        "  repeat: repeat another\n"
        "\n"
        "13 ended in an error in 1.23 s\n"
    )


def test_cases_of_several_files_stand_under_the_name_of_their_file() -> None:
    shown = table.render(report(case_report(GOOD, "a", "one.yaml"), case_report(GOOD, "b", "two.yaml")), Detail.USUAL)
    assert [line.split()[0] for line in shown.splitlines()[3:7]] == ["one.yaml", "a", "two.yaml", "b"]


def test_unresolved_says_what_the_differences_resolve() -> None:
    assert (
        "  x: relative error 2.4e-12, and differences resolve 3.0e-08 (order 8 in 80-bit), so they cannot tell whether "
        "it is within the tolerance 1.0e-09; raise rtol\n"
    ) in table.render(report(case_report(UNCLEAR)), Detail.USUAL)


def test_what_is_not_a_number_is_shown_as_such() -> None:
    shown = table.render(report(case_report(NAN)), Detail.USUAL)
    assert "x          nan    1.0e-09" in shown
    assert "worst at [3, 1]: analytic nan, numeric inf; 7 of 20 elements are off" in shown


def test_a_reason_to_skip_is_told_once() -> None:
    shown = table.render(report(SKIPPED, replace(SKIPPED, repeat="again"), case_report(GOOD)), Detail.QUIET)
    assert shown == "SKIPPED  big and 1 more\n  it does not fit\n\n1 passed, 2 skipped in 1.23 s\n"


def test_quiet_shows_only_what_did_not_pass() -> None:
    assert table.render(report(case_report(GOOD), ERROR), Detail.QUIET) == (
        "ERROR  huge\n  out of memory\n  repeat: repeat huge\n\n1 passed, 1 ended in an error in 1.23 s\n"
    )


def test_many_failures_are_not_all_told_unless_asked_for() -> None:
    failures = [case_report(replace(BAD, note=f"note {i}"), f"case {i}") for i in range(table.SHOWN + 2)]
    usual = table.render(report(*failures), Detail.USUAL)
    assert usual.count("FAIL  case") == table.SHOWN
    assert "and 2 more; -v or --format json has them all\n" in usual
    full = table.render(report(*failures), Detail.FULL)
    assert full.count("FAIL  case") == table.SHOWN + 2
    assert "more; -v" not in full


def found_in(label: str, *findings: Finding, comparison: Comparison = BAD) -> CaseReport:
    """A case of that label in which x and gamma fail, with findings."""
    rows = (replace(comparison, node="gamma", note=""), replace(comparison, note=""))
    return replace(case_report(comparison, label), comparisons=rows, findings=findings)


OF_DX = Finding(("x",), "x: told of x.", "dx = ...", Fit.EVERY, (("dx", "-1"),), ("dx-sign",))
OF_DGAMMA = Finding(("gamma",), "gamma: told of gamma.", "dgamma = ...", Fit.EVERY, (("dgamma", "n"),))
NUMBERS = "relative error 5.0e-01, tolerance 1.0e-09, resolution 6.6e-11"
WORST = "  worst at [3, 1]: analytic 0.123456789012345, numeric -1.5; 7 of 20 elements are off"


def test_a_finding_is_told_once_with_the_cases_that_show_it() -> None:
    sentence = replace(OF_DX, sentence="x: told of x, with another number.")
    shown = table.render(report(found_in("a", OF_DX, OF_DGAMMA), found_in("b", sentence, OF_DGAMMA)), Detail.QUIET)
    assert shown.splitlines() == [
        "FAIL  a and 1 more",
        "  also b",
        f"  x: {NUMBERS}",
        f"  {WORST}",
        "  x: told of x.",
        "    it should be: dx = ...",
        f"  gamma: {NUMBERS}",
        f"  {WORST}",
        "  gamma: told of gamma.",
        "    it should be: dgamma = ...",
        "  repeat: repeat a",
        "",
        "2 failed in 1.23 s",
    ]


def test_findings_that_other_cases_show_are_told_apart() -> None:
    cases = [found_in("a", OF_DX, OF_DGAMMA), found_in("b", OF_DX), found_in("c", replace(OF_DX, keys=(("dx", "2"),)))]
    shown = table.render(report(*cases), Detail.QUIET)
    assert [line for line in shown.splitlines() if line.startswith(("FAIL", "  also"))] == [
        "FAIL  a and 1 more",
        "  also b",
        "FAIL  a",
        "FAIL  b and 1 more",  # gamma, of which nothing was found in either
        "  also c",
        "FAIL  c",
    ]
    assert shown.count("told of x.") == 2
    assert shown.count("told of gamma.") == 1


def test_a_gradient_that_dx_implies_is_told_with_dx() -> None:
    found = found_in("a", OF_DX)
    found = replace(found, comparisons=(replace(found.comparisons[0], node="var", implied=True), found.comparisons[1]))
    assert table.render(report(found, replace(found)), Detail.QUIET).count("FAIL") == 1


def test_only_some_further_cases_are_named_unless_asked_for() -> None:
    cases = [found_in(f"case {number}", OF_DX) for number in range(8)]
    assert "  also case 1, case 2, case 3, case 4, case 5, ...\n" in table.render(report(*cases), Detail.USUAL)
    assert "  also case 1, case 2, case 3, case 4, case 5, case 6, case 7\n" in table.render(
        report(*cases), Detail.FULL
    )


QUICK = ("no-var-route", "half-var-route", "std-inverse", "parameters-swapped")
ON_A_SCREEN = [
    pytest.param(fault, id=fault.name, marks=[] if fault.name in QUICK else [pytest.mark.slow])
    for fault in FAULTS
    if fault.needs != "eval"
]


@pytest.mark.parametrize("fault", ON_A_SCREEN)
def test_three_seeds_of_one_fault_in_two_layouts_fit_on_one_screen(fault: Fault) -> None:
    screen = Console(file=io.StringIO(), width=100, height=40, force_terminal=True)
    cases = [
        Case(shape=shape, seed=seed, label=f"{'x'.join(map(str, shape))} seed={seed}", x=XDraw(std=0.3))
        for shape in ((32, 64), (8, 3, 6, 6))
        for seed in range(3)
    ]
    found = [check_with_sight(case, implementation_with(fault, case.samples)) for case in cases]
    place = (Statement("examples/layers.py", 41, "dx = dx_hat * ivar + dvar * 2 * (x - mean) / N + dmean / N"),)
    found = [
        replace(
            one,
            repeat=f"bncheck run examples/layers.yaml -k '{one.case.label}'",
            findings=tuple(replace(finding, statements=place) for finding in one.findings),
        )
        for one in found
    ]
    screen.print(table.body(report(*found), Detail.USUAL))
    assert len(screen.file.getvalue().splitlines()) < screen.height  # type: ignore[attr-defined]


def test_a_run_that_stopped_says_what_was_left() -> None:
    shown = table.render(report(case_report(GOOD), selected=3, stopped="interrupted"), Detail.USUAL)
    assert shown.endswith("1 passed, 2 not run (interrupted) in 1.23 s\n")
    nothing = table.render(report(selected=3, stopped="interrupted"), Detail.USUAL)
    assert nothing == "3 not run (interrupted) in 1.23 s\n"


FINDING = Finding(
    ("x",),
    "x: dvar is wrong.",
    "dvar = sum(...)",
    Fit.EVERY,
    statements=(Statement("layers.py", 41, "dvar = 1  [b]"), Statement("layers.py", 43, "dx = dvar")),
)
FOUND = replace(case_report(BAD, "bad"), findings=(FINDING,))


def test_the_first_wrong_statement_is_told_and_all_when_asked_for() -> None:
    usual = "  x: dvar is wrong.\n    it should be: dvar = sum(...)\n    in layers.py, line 41:  dvar = 1  [b]\n"
    assert f"{usual}  repeat: repeat bad\n" in table.render(report(FOUND), Detail.USUAL)
    full = f"{usual}    in layers.py, line 43:  dx = dvar\n  repeat: repeat bad\n"
    assert full in table.render(report(FOUND), Detail.FULL)


# --- what cases are blind to ---------------------------------------------------------------------------------------

OF_X = tuple(fault for fault in FAULTS if fault.row == "x")
OF_GAMMA = tuple(fault for fault in FAULTS if fault.row == "gamma")
DX = Blind("dout is ones, so dx is zero", "use dout: normal", OF_X[:31])
DGAMMA = Blind("dout is ones, so dgamma is zero", "use dout: normal", OF_GAMMA[:10])
FORGOTTEN = Blind(
    "dout is ones, so a forgotten dout is no change", "use dout: normal", (BY_NAME["dbeta-without-dout"],)
)
SQUARE = Blind("n is d, so that one cannot be told from the other", "use a shape with n != d", OF_X[31:34])
DX_TOLD = "  dout is ones, so dx is zero: 31 faults in x cannot show; use dout: normal\n"
DGAMMA_TOLD = "  dout is ones, so dgamma is zero: 10 faults in gamma cannot show; use dout: normal\n"


def blind(*to: Blind, label: str = "ones", allowed: str = "allow", comparison: Comparison = GOOD) -> CaseReport:
    """A case that is blind to these, where its config says so of blindness."""
    found = case_report(comparison, label)
    return replace(found, case=replace(found.case, blind=allowed), blind=to)


def told(*cases: CaseReport, detail: Detail = Detail.USUAL) -> str:
    """What is said beside the tables."""
    shown = table.render(report(*cases), detail)
    return shown if detail in (Detail.QUIET, Detail.FAILURES) else shown.partition("\n\n")[2]


def test_a_case_that_is_blind_says_to_what_why_and_the_cure() -> None:
    assert told(blind(DX)) == f"BLIND  ones\n{DX_TOLD}\n1 passed in 1.23 s\n"


def test_cases_that_no_fault_of_size_shows_in_are_told_together() -> None:
    found = [replace(case_report(GOOD), case=Case(shape=shape)) for shape in ((32, 64), (9, 3))]
    assert told(*found) == (
        "BLIND  in all cases together\n"
        "  no n is above 64 but for its multiples, and no d is above 64 but for its multiples: 7 faults in x cannot "
        "show; use a shape such as 65x67\n\n"
        "2 passed in 1.23 s\n"
    )
    assert told(*found, case_report(GOOD)) == "3 passed in 1.23 s\n"
    assert (
        told(replace(case_report(GOOD), case=Case(shape=(4, 5), x=XDraw(file="batch.npz")))) == "1 passed in 1.23 s\n"
    )


def test_a_case_that_sees_everything_says_nothing() -> None:
    assert told(case_report(GOOD)) == "1 passed in 1.23 s\n"


def test_two_reasons_are_told_and_the_rest_counted() -> None:
    assert told(blind(DX, DGAMMA)) == f"BLIND  ones\n{DX_TOLD}{DGAMMA_TOLD}\n1 passed in 1.23 s\n"
    head = f"BLIND  ones\n{DX_TOLD}"
    assert told(blind(DX, DGAMMA, FORGOTTEN)) == (
        f"{head}  and 11 more faults for other reasons; -v or --format json has them all\n\n1 passed in 1.23 s\n"
    )
    assert told(blind(DX, DGAMMA, SQUARE, FORGOTTEN)) == (
        f"{head}  and 14 more faults for other reasons; -v or --format json has them all\n\n1 passed in 1.23 s\n"
    )


def test_where_the_rest_is_to_be_found_is_said_by_who_shows_it() -> None:
    shown = table.render(report(blind(DX, DGAMMA, SQUARE)), Detail.USUAL, "the rest is elsewhere")
    assert "  and 13 more faults for other reasons; the rest is elsewhere\n" in shown


def test_every_reason_is_told_to_those_who_ask() -> None:
    assert told(blind(DX, DGAMMA, SQUARE, FORGOTTEN), detail=Detail.FULL) == (
        f"BLIND  ones\n{DX_TOLD}{DGAMMA_TOLD}"
        "  n is d, so that one cannot be told from the other: 3 faults in x cannot show; use a shape with n != d\n"
        "  dout is ones, so a forgotten dout is no change: 1 fault in beta cannot show; use dout: normal\n"
        "\n"
        "1 passed in 1.23 s\n"
    )


def test_cases_that_are_blind_for_the_same_reasons_are_told_once_by_the_blindest() -> None:
    fewer = replace(DX, faults=OF_X[:7])
    alike = [blind(fewer, label="small"), blind(DX, label="large"), blind(fewer, label="third")]
    assert told(*alike) == f"BLIND  large and 2 more (some to fewer faults)\n{DX_TOLD}\n3 passed in 1.23 s\n"
    assert told(*alike[1:2], replace(alike[1])) == f"BLIND  large and 1 more\n{DX_TOLD}\n2 passed in 1.23 s\n"


def test_cases_that_are_blind_for_other_reasons_are_told_apart() -> None:
    shown = told(blind(DX), blind(DX, DGAMMA, label="both"), case_report(GOOD, "seeing"))
    assert shown == f"BLIND  ones\n{DX_TOLD}\nBLIND  both\n{DX_TOLD}{DGAMMA_TOLD}\n3 passed in 1.23 s\n"
    other = replace(DX, cure="use dout: one-hot")
    assert told(blind(DX), blind(other)).count("BLIND") == 2


def test_a_case_that_must_see_and_does_not_says_so_and_is_counted() -> None:
    assert told(blind(DX, allowed="fail"), case_report(GOOD)) == (
        f"BLIND  ones\n{DX_TOLD}"
        "  this config demands sight (blind: fail), so the run fails\n"
        "\n"
        "2 passed, 1 blind in 1.23 s\n"
    )
    assert told(blind(DX, allowed="fail"), blind(DX, label="two", allowed="fail")) == (
        f"BLIND  ones and 1 more\n{DX_TOLD}"
        "  this config demands sight (blind: fail), so the run fails\n"
        "\n"
        "2 passed, 2 blind in 1.23 s\n"
    )


def test_those_that_must_see_are_told_apart_from_those_that_may_be_blind() -> None:
    shown = told(blind(DX, label="may"), blind(DX, label="must", allowed="fail"))
    assert [line for line in shown.splitlines() if line.startswith("BLIND")] == ["BLIND  may", "BLIND  must"]
    assert shown.endswith("2 passed, 1 blind in 1.23 s\n")


def test_quiet_says_nothing_of_cases_that_may_be_blind() -> None:
    seen = told(blind(DX), blind(DGAMMA, label="must", allowed="fail"), detail=Detail.QUIET)
    assert seen == (
        f"BLIND  must\n{DGAMMA_TOLD}"
        "  this config demands sight (blind: fail), so the run fails\n\n2 passed, 1 blind in 1.23 s\n"
    )
    assert told(blind(DX), detail=Detail.QUIET) == "1 passed in 1.23 s\n"


def test_failures_are_told_with_all_that_they_are_blind_to() -> None:
    shown = told(blind(DX, DGAMMA, SQUARE, allowed="fail"), blind(FORGOTTEN, label="may"), detail=Detail.FAILURES)
    assert shown.splitlines()[3].startswith("  n is d, ")
    assert "more fault" not in shown
    assert "may" not in shown


def test_a_case_that_fails_and_is_blind_is_told_as_both() -> None:
    shown = told(blind(DX, comparison=BAD))
    assert [line.split("  ")[0] for line in shown.splitlines() if line[:1].isupper()] == ["FAIL", "BLIND"]
    assert shown.endswith(f"BLIND  ones\n{DX_TOLD}\n1 failed in 1.23 s\n")


# --- json ------------------------------------------------------------------------------------------------------


def test_json_has_where_a_mistake_stands() -> None:
    (case,) = json.loads(json_reporter.render(report(FOUND)))["cases"]
    assert case["findings"][0]["statements"] == [
        {"file": "layers.py", "line": 41, "text": "dvar = 1  [b]"},
        {"file": "layers.py", "line": 43, "text": "dx = dvar"},
    ]


def test_json_has_what_the_table_shows_and_more() -> None:
    found = json.loads(json_reporter.render(report(case_report(BAD, "bad", "one.yaml"), SKIPPED)))
    assert found["format"] == 1
    assert found["status"] == {
        "code": 1,
        "name": "failed",
        "sentence": ExitStatus.FAILED.sentence,
    }
    assert found["counts"] == {"pass": 0, "fail": 1, "unresolved": 0, "error": 0, "skipped": 1}
    assert (found["selected"], found["checked"], found["stopped"], found["seconds"]) == (2, 2, None, 1.234)
    bad, skipped = found["cases"]
    assert (bad["label"], bad["source"], bad["verdict"], bad["reason"]) == ("bad", "one.yaml", "fail", None)
    assert bad["repeat"] == "repeat bad"
    assert bad["case"]["shape"] == [65, 67]
    assert bad["nodes"]["x"] == {
        "verdict": "fail",
        "error": 0.5,
        "tolerance": 1e-9,
        "resolution": 6.6e-11,
        "scale": 3.0,
        "worst": {"index": [3, 1], "analytic": 0.123456789012345, "numeric": -1.5},
        "off": 7,
        "size": 20,
        "vanishing": 0,
        "course_error": 1e-10,
        "method": "order 3 in float64",
        "note": "a note",
        "implied": False,
        "blurred": 0,
        "points": [],
        "hints": "formula",
        "cause": None,
        "own": None,
    }
    assert (skipped["reason"], skipped["nodes"]) == ("it does not fit", {})


def test_json_has_all_that_a_case_is_blind_to() -> None:
    seeing, ones = json.loads(
        json_reporter.render(report(case_report(GOOD), blind(DX, DGAMMA, FORGOTTEN, allowed="fail")))
    )["cases"]
    assert seeing["blind"] == []
    assert [len(found["faults"]) for found in ones["blind"]] == [31, 10, 1]
    assert ones["blind"][2] == {
        "sentence": "dout is ones, so a forgotten dout is no change: 1 fault in beta cannot show; use dout: normal",
        "reason": "dout is ones, so a forgotten dout is no change",
        "cure": "use dout: normal",
        "faults": ["dbeta-without-dout"],
    }
    assert (ones["verdict"], ones["case"]["blind"]) == ("pass", "fail")


def test_json_has_null_for_what_is_not_finite() -> None:
    node = json.loads(json_reporter.render(report(case_report(NAN))), parse_constant=pytest.fail)["cases"][0]["nodes"][
        "x"
    ]
    assert (node["error"], node["worst"]["analytic"], node["worst"]["numeric"]) == (None, None, None)
    assert node["verdict"] == "fail"


# --- progress --------------------------------------------------------------------------------------------------


class Terminal:
    """A stderr that says that it is a terminal, and keeps what is written."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self.text = ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""


def run_for(seconds: float, monkeypatch: pytest.MonkeyPatch) -> str:
    """What stderr gets from work that takes so long, with a patience of 0.05 s."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(console, "PATIENCE", 0.05)
    with console.progress([1.0] * 4) as done:
        done(1, "(32, 64) seed=1")
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and "1/4" not in terminal.text:
            time.sleep(0.01)
        done(2, "(32, 64) [seed=2]")
        time.sleep(min(seconds, 0.6))
    return terminal.text


def test_work_that_takes_long_shows_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = run_for(20, monkeypatch)
    assert re.search(r"1/4, about \d+ s left, \(32, 64\) seed=1", shown)
    assert re.search(r"2/4, about \d+ s left, \(32, 64\) \[seed=2\]", shown)


def test_work_that_is_quick_shows_none_and_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = set(threading.enumerate())
    assert run_for(0, monkeypatch) == ""
    time.sleep(0.1)
    assert set(threading.enumerate()) <= threads


def test_no_bar_on_a_terminal_that_cannot_move_its_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(console, "PATIENCE", 0.0)
    monkeypatch.setattr(console, "MINUTE", 0.1)
    monkeypatch.setattr(console._Lines, "pace", lambda watch: 0.01)
    with console.progress([1.0] * 4) as done:
        done(1, "(32, 64) seed=1")
        time.sleep(0.5)
    assert set(terminal.text.splitlines()) == {"1 of 4 cases done, about 1 s left, now (32, 64) seed=1"}


def test_no_bar_where_nobody_sees_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(console, "PATIENCE", 0.0)
    with console.progress([1.0] * 4) as done:
        done(1, "")
        time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_a_line_a_minute_where_stderr_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "MINUTE", 0.1)
    monkeypatch.setattr(console._Lines, "pace", lambda watch: 0.01)
    with console.progress([1.0] * 4) as done:
        done(1, "(32, 64) seed=1")
        time.sleep(0.5)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) > 1
    assert set(lines) == {"1 of 4 cases done, about 1 s left, now (32, 64) seed=1"}


def test_of_a_first_case_that_takes_longer_than_expected_no_time_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "MINUTE", 0.1)
    with console.progress([0.01]) as done:
        done(0, "looking at layers.py")
        time.sleep(0.5)
    assert set(capsys.readouterr().err.splitlines()) == {"0 of 1 cases done, now looking at layers.py"}


@pytest.mark.parametrize(
    ("at_work", "said"),
    [("following up 32x64", "4 of 4 cases done, now following up 32x64"), ("", "4 of 4 cases done")],
)
def test_when_all_cases_are_done_no_time_is_left_and_only_what_is_at_work_is_named(
    at_work: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "MINUTE", 0.1)
    with console.progress([1.0] * 4) as done:
        done(4, at_work)
        time.sleep(0.5)
    assert set(capsys.readouterr().err.splitlines()) == {said}


def test_a_case_of_more_than_a_minute_is_told_of_before_it_begins(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress([0.001, 90.0, 1.0]) as done:
        done(0, "small")
        assert capsys.readouterr().err == ""
        time.sleep(0.01)
        done(1, "(512, 256, 28, 28)")
        said = capsys.readouterr().err
        done(2, "another")
    assert re.fullmatch(r"the case \(512, 256, 28, 28\) will take about \d+ (min|h)\n", said)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.2, "1 s"), (12.3, "12 s"), (99.4, "99 s"), (150, "2 min"), (5000, "83 min"), (9000, "2 h")]
)
def test_durations_are_said_as_people_do(seconds: float, said: str) -> None:
    assert console.duration(seconds) == said


# --- where it is wrong -------------------------------------------------------------------------------------------

PLACED = Finding(
    ("x",),
    "x: it is lost",
    "dx = 0",
    Fit.EVERY,
    picture=((0.0, 0.5), (0.2, 1.0)),
    region=Region((Span(1, 1),), (Span(0, 1),), "row 1 in every feature"),
)
LEAST = LeastCase(
    (3, 1), 1.3e-5, [0], [[1.0], [3.0], [0.0]], [[0.0], [3.0], [0.5]], [0.6], [-2.0],
    {"x": [[0.0], [0.0], [0.0]], "gamma": [2.0]}, {"x": [[-0.309260], [0.103093], [0.206166]], "gamma": [4.0]},
)  # fmt: skip


def printed(report: Run, encoding: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a pipe of that encoding gets; what it lacks is an error."""
    pipe = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
    monkeypatch.setattr(sys, "stdout", pipe)
    console.show(table.body(report, Detail.QUIET), "auto")
    pipe.flush()
    pipe.seek(0)
    return pipe.read()


@pytest.mark.parametrize(
    ("encoding", "drawn"), [("utf-8", "  | ▒|\n  |░█|\n"), ("ascii", "  | +|\n  |.#|\n")], ids=["utf-8", "ascii"]
)
def test_what_is_wrong_somewhere_is_drawn_in_signs_that_there_are(
    encoding: str, drawn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = replace(case_report(BAD), findings=(PLACED,))
    assert printed(report(found), encoding, monkeypatch).endswith(
        "Where x is wrong: rows from top to bottom, features from left to right; blank is right, dark is wrong\n"
        f"{drawn}\n1 failed in 1.23 s\n"
    )


def test_what_is_wrong_nearly_everywhere_is_not_drawn() -> None:
    found = replace(case_report(BAD), findings=(replace(PLACED, region=None),))
    assert "Where x is wrong" in told(found)
    assert "Where x is wrong" not in told(replace(found, findings=(replace(found.findings[0], picture=((0.4, 0.7),)),)))


def test_sizes_stand_below_what_was_found() -> None:
    found = replace(case_report(BAD), boundaries=(Boundary("n", 768, 769),), repeat="again")
    assert "\n  it is right up to n = 768, and wrong from 769\n  repeat: again\n" in told(found)


def test_the_least_case_is_a_table_of_its_numbers_with_the_gradients_as_given_and_as_right() -> None:
    assert (
        "The least case that fails so: 3x1, eps = 1.3e-05\n"
        "feature 0: gamma = 0.6, beta = -2\n"
        "row    x  dout  dx given  dx right\n"
        "──────────────────────────────────\n"
        "0      1     0         0  -0.30926\n"
        "1      3     3         0  0.103093\n"
        "2      0   0.5         0  0.206166\n"
        "dgamma: given 2, right 4\n"
        "\n"
    ) in told(replace(case_report(BAD), least=LEAST))
