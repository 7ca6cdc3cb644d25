"""The formats that servers of CI read and keep: concise, github, junit, markdown and html."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
import xmlschema

from bncheck import cli
from bncheck.case import Case, Origin, Verdict
from bncheck.checking import check, check_ours
from bncheck.faults.catalogue import BY_NAME
from bncheck.faults.diagnosis import Finding, Statement
from bncheck.faults.hypotheses import Coefficient, Fit
from bncheck.report import CaseReport, Run
from bncheck.reporters import FORMATS, ci, concise, page, print_run
from bncheck.reporters import json as json_reporter
from bncheck.reporters.console import Detail
from tests.faulty import implementation_with
from tests.reporters.test_table import BAD, ERROR, GOOD, NAN, SKIPPED, UNCLEAR

SCHEMA = Path(__file__).with_name("junit.xsd")
NASTY = "a::b,c%0A \n\x1b[31m\x00 \ud800 é 🙂 ``` | <b> ]]> *x* &amp;"
FINDING = Finding(
    rows=("x",),
    sentence="x: the route through var is missing.",
    formula="dx = ...",
    fits=Fit.EVERY,
    statements=(Statement("layers.py", 17, "dvar = 0"),),
)


def failed(label: str = "32x64 seed=0", sentence: str = FINDING.sentence) -> CaseReport:
    """A case of layers.py of which x fails, with what was taken from it, and beta of its own."""
    case = Case(shape=(32, 64), label=label, origin=Origin(place="layers.py:BatchNorm"), member="BatchNorm")
    rows = (replace(GOOD, node="gamma"), replace(NAN, node="beta"), replace(BAD, node="var", implied=True), BAD)
    return CaseReport(case, Verdict.FAIL, rows, findings=(replace(FINDING, sentence=sentence),), repeat="again")


def run_of(*cases: CaseReport) -> Run:
    return Run(cases, len(cases), 1.5)


MIXED = run_of(
    failed(),
    CaseReport(Case(shape=(4, 5), label="fine"), Verdict.PASS, (GOOD,)),
    CaseReport(Case(shape=(4, 5), label="unclear"), Verdict.UNRESOLVED, (UNCLEAR,)),
    SKIPPED,
    ERROR,
)


# --- concise ---------------------------------------------------------------------------------------------------------


def test_concise_has_a_line_for_each_thing_that_is_wrong() -> None:
    assert concise.render(MIXED) == (
        "layers.py:17: FAIL x (32x64 seed=0) the route through var is missing.\n"
        "layers.py: FAIL beta (32x64 seed=0) relative error nan, tolerance 1.0e-09, resolution 6.6e-11\n"
        "UNRESOLVED x (unclear) relative error 2.4e-12, tolerance 1.0e-09, resolution 3.0e-08\n"
        "ERROR (huge) out of memory\n"
        "1 passed, 1 failed, 1 unresolved, 1 ended in an error, 1 skipped in 1.50 s\n"
    )


# --- github ----------------------------------------------------------------------------------------------------------


def read_back(text: str) -> list[tuple[dict[str, str], str]]:
    """The properties and the message of each annotation, as GitHub reads them."""
    found = []
    for line in text.splitlines():
        if match := re.fullmatch(r"::error (.*?)::(.*)", line):
            pairs = (pair.split("=", 1) for pair in match[1].split(","))
            found.append(({name: unescaped(value) for name, value in pairs}, unescaped(match[2])))
    return found


def unescaped(text: str) -> str:
    for code, mark in (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        text = text.replace(code, mark)
    return text


def test_annotations_stand_at_the_line_of_the_file() -> None:
    first, second, *_ = read_back(ci.annotated(MIXED))
    place = {"file": "layers.py", "line": "17", "col": "1"}
    assert first == ({**place, "title": "FAIL x (32x64 seed=0)"}, "the route through var is missing.")
    assert second[0] == {**place, "line": "1", "title": "FAIL beta (32x64 seed=0)"}


def test_annotations_survive_marks_and_lines_in_names_and_messages() -> None:
    label = "a,b=c: 100%\n::error::x"
    ((properties, message),) = read_back(ci.annotated(run_of(replace(failed(label, "x: 5%: a::b\nc"), comparisons=()))))
    assert properties["title"] == f"FAIL x ({label})"
    assert message == "5%: a::b\nc"


def test_of_many_annotations_nine_are_shown_and_the_rest_is_counted() -> None:
    cases = [failed(f"case {number}", f"x: {number}") for number in range(300)]
    found = read_back(ci.annotated(run_of(*cases)))
    assert len(found) == 10
    assert found[-1] == ({"title": "bncheck"}, "and 292 more; the summary of this run has them")


def test_a_mistake_that_several_cases_show_is_one_annotation() -> None:
    found = read_back(ci.annotated(run_of(*(failed(f"case {number}") for number in range(300)))))
    assert [properties["title"] for properties, _ in found] == [
        "FAIL x (case 0 and 299 more)",
        "FAIL beta (case 0 and 299 more)",
    ]


def test_github_appends_the_summary_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    assert print_run(FORMATS["github"], MIXED, Detail.USUAL, "auto") == ""
    assert summary.read_text(encoding="utf-8") == "before\n" + ci.markdown(MIXED)
    assert print_run(FORMATS["concise"], MIXED, Detail.USUAL, "auto") == ""
    assert summary.read_text(encoding="utf-8").count("## bncheck") == 1
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    said = print_run(FORMATS["github"], MIXED, Detail.USUAL, "auto")
    assert said == f"error: the summary {tmp_path} cannot be written: Is a directory"


# --- junit -----------------------------------------------------------------------------------------------------------


def parsed(report: Run) -> ElementTree.Element:
    """The report as XML, valid against the schema, with names that occur once."""
    text = ci.junit(report)
    xmlschema.XMLSchema(str(SCHEMA)).validate(text)
    root = ElementTree.fromstring(text)
    names = [(case.get("classname"), case.get("name")) for case in root.iter("testcase")]
    assert len(set(names)) == len(names)
    return root


def test_junit_has_a_test_case_for_each_case_and_node() -> None:
    root = parsed(MIXED)
    results = {case.get("name"): [inner.tag for inner in case] for case in root.iter("testcase")}
    assert results == {
        "32x64 seed=0 gamma": [],
        "32x64 seed=0 beta": ["failure"],
        "32x64 seed=0 var": ["failure"],
        "32x64 seed=0 x": ["failure"],
        "fine x": [],
        "unclear x": ["failure"],
        "big": ["skipped"],
        "huge": ["error"],
    }
    assert {name: root.get(name) for name in ("tests", "failures", "errors")} == {
        "tests": "8",
        "failures": "4",
        "errors": "1",
    }
    failure = root.find(".//testcase[@name='32x64 seed=0 x']/failure")
    assert failure is not None
    assert failure.get("message") == "the route through var is missing."
    assert failure.text is not None
    assert "  it should be: dx = ..." in failure.text.splitlines()


def test_junit_of_several_sources_has_a_suite_for_each() -> None:
    cases = [
        CaseReport(Case(shape=(4, 5), label="a", source=name), Verdict.PASS, (GOOD,)) for name in ("one", "two", "one")
    ]
    root = parsed(run_of(*cases))
    assert [suite.get("name") for suite in root] == ["one", "two"]
    assert [case.get("name") for case in root[0]] == ["a x", "a x (2)"]


def test_junit_survives_anything_in_names_and_messages() -> None:
    root = parsed(run_of(failed(NASTY, f"x: {NASTY}"), replace(ERROR, reason=NASTY)))
    name = root[0][0].get("name")
    assert name is not None
    assert "\\x1b[31m\\x00 \\ud800 é 🙂" in name
    assert len(list(parsed(run_of(*(failed(f"case {number}") for number in range(300)))).iter("failure"))) == 900


# --- markdown --------------------------------------------------------------------------------------------------------


def test_markdown_has_what_did_not_pass_before_the_table() -> None:
    text = ci.markdown(run_of(failed(), CaseReport(Case(shape=(4, 5), label="a_b|c"), Verdict.PASS, (GOOD,))))
    assert text.startswith("## bncheck: 1 passed, 1 failed in 1.50 s\n\n```text\nFAIL  32x64 seed=0\n")
    assert text.endswith(
        "```\n\n"
        "| case | beta | gamma | mean | var | x | verdict |\n"
        "|---|---:|---:|---:|---:|---:|---|\n"
        "| 32x64 seed=0 | nan | 2.4e-12 | - | 5.0e-01 | 5.0e-01 | **fail** |\n"
        "| a\\_b\\|c | - | - | - | - | 2.4e-12 | pass |\n"
    )


def test_markdown_fences_are_longer_than_any_in_the_text() -> None:
    text = ci.markdown(run_of(failed(NASTY, f"x: {NASTY}")))
    assert text.count("````") == 2
    assert "<b>" not in text.rpartition("````")[2]


def test_markdown_that_is_too_long_is_cut_outside_of_fences() -> None:
    text = ci.markdown(run_of(*(failed(f"case {number}", "x: " + "long " * 1000) for number in range(300))))
    assert len(text.encode()) <= ci.LARGEST
    assert text.endswith(ci.CUT)
    assert text.count("```") % 2 == 0


# --- html ------------------------------------------------------------------------------------------------------------


def drawn(label: str, sentence: str) -> CaseReport:
    """A case with all that there are pictures of."""
    found = failed(label, sentence)
    routes = ("direct", "through var", "through mean")
    coefficients = tuple(Coefficient(route, 1.0, (1.0, 1.5, math.nan) * 20) for route in routes)
    picture = ((0.0, 0.5, 1.0, 1.0),) * 16
    finding = replace(found.findings[0], coefficients=coefficients, picture=picture)
    points = tuple((0.1 * number, -0.1 * number) for number in range(150))
    rows = tuple(replace(row, points=points if row.node == "x" else ()) for row in found.comparisons)
    return replace(found, comparisons=rows, findings=(finding,))


def test_page_draws_where_by_what_factor_and_what_was_given() -> None:
    text = page.render(run_of(drawn("32x64 seed=0", FINDING.sentence)))
    captions = re.findall("<figcaption>(.*?)</figcaption>", re.sub("<span[^>]*>|</span>", "", text))
    assert captions == [
        "Where x is wrong: rows downwards, features to the right",
        "Factor on each route of x, feature by feature, from 0 to 2; the line is 1: direct, through var, through mean",
        "x: yours upwards, numeric to the right, up to 15; what is right is on the line",
    ]
    assert "the route through var is missing." in text
    for drawing in re.findall("<svg.*?</svg>", text):
        ElementTree.fromstring(drawing)


def test_page_needs_no_network_and_runs_no_script() -> None:
    text = page.render(run_of(drawn(NASTY, f"x: {NASTY}")))
    assert not re.search("<script|http|@import|url\\(|<link|<img", text)
    assert "<b>" not in text
    assert "\x1b" not in text


def test_page_of_a_hundred_failed_cases_is_small() -> None:
    text = page.render(run_of(*(drawn(f"case {number}", f"x: {number}") for number in range(100))))
    assert len(text.encode()) < 300_000


def test_page_without_failures_has_no_pictures() -> None:
    text = page.render(run_of(CaseReport(Case(shape=(4, 5), label="fine"), Verdict.PASS, (GOOD,))))
    assert "<svg" not in text
    assert "<h1>bncheck: 1 passed in 1.50 s</h1>" in text


# --- json ------------------------------------------------------------------------------------------------------------


def test_the_json_of_a_run_is_as_its_schema_says(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.app(["schema", "report"])
    assert ended.value.code == 0
    schema = json.loads(capsys.readouterr().out)
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    wrong = Case(shape=(9, 3), label="wrong")
    ours = [check(wrong, implementation_with(BY_NAME["dvar-missing"], wrong.samples)), check_ours(wrong)]
    reports = [MIXED, run_of(drawn(NASTY, f"x: {NASTY}")), run_of(*ours), run_of(SKIPPED)]
    for report in reports:
        found = json.loads(json_reporter.render(report))
        assert list(validator.iter_errors(found)) == []
        described = schema["$defs"]
        for case in found["cases"]:
            assert set(case) == set(described["case"]["properties"])
            assert all(set(node) == set(described["node"]["properties"]) for node in case["nodes"].values())
            assert all(set(one) == set(described["finding"]["properties"]) for one in case["findings"])
    del found["cases"]
    assert not validator.is_valid(found)
