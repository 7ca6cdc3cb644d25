"""The report as JUnit XML, which servers of continuous integration read: a test case for each case and node."""

from __future__ import annotations

from collections import Counter
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from bncheck.case import Verdict
from bncheck.report import CaseReport, Run
from bncheck.reporters import table
from bncheck.reporters.concise import lines_of
from bncheck.terminal import escaped

ELEMENT = {Verdict.FAIL: "failure", Verdict.UNRESOLVED: "failure", Verdict.ERROR: "error", Verdict.SKIPPED: "skipped"}
"""The element inside a test case that says why it did not pass."""


def render(report: Run) -> str:
    """The report as XML that is valid against the schema of Jenkins' xunit plugin."""
    suites: dict[str, Element] = {}
    names: Counter[tuple[str, str]] = Counter()
    for found in report.cases:
        source = found.case.source or "bncheck"
        if source not in suites:
            suites[source] = Element("testsuite", name=escaped(source))
        _add_case(suites[source], source, found, names)
    counts = [_counted(suite) for suite in suites.values()]
    total = {name: str(sum(int(count[name]) for count in counts)) for name in ("tests", "failures", "errors")}
    root = Element("testsuites", {"name": "bncheck", "time": f"{report.seconds:.3f}", **total})
    root.extend(suites.values())
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _add_case(suite: Element, source: str, found: CaseReport, names: Counter[tuple[str, str]]) -> None:
    """Add the test cases of a case: one for each row, one for what befell the case as a whole."""
    whole = table.told(found)
    says_of = {row: line.sentence for line in lines_of([found]) for row in line.rows}
    rows = [
        (f"{found.case.label} {row.node}", row.verdict, says_of.get(row.node, row.note)) for row in found.comparisons
    ]
    if not rows:
        rows = [(found.case.label, found.verdict, found.reason)]
    if not found.sees_enough:
        rows.append((f"{found.case.label} blind", Verdict.FAIL, found.blind[0].sentence))
    for name, verdict, says in rows:
        names[source, name] += 1
        unique = name if names[source, name] == 1 else f"{name} ({names[source, name]})"
        time = f"{found.seconds / len(rows):.3f}"
        case = SubElement(suite, "testcase", name=escaped(unique), classname=escaped(source), time=time)
        if verdict is Verdict.UNRESOLVED and found.acceptable:
            verdict = Verdict.SKIPPED
        if verdict in ELEMENT:
            message = says.splitlines()[0] if says else f"{name}: {verdict.value}"
            inner = SubElement(case, ELEMENT[verdict], message=escaped(message), type=verdict.value)
            inner.text = escaped("\n".join(whole) if verdict is not Verdict.SKIPPED else says)


def _counted(suite: Element) -> dict[str, str]:
    """The numbers of test cases in a suite and of those that did not pass, which become its attributes."""
    kinds = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    counts = {"tests": len(suite), **{name: len(suite.findall(f"testcase/{kind}")) for name, kind in kinds.items()}}
    written = {name: str(count) for name, count in counts.items()}
    suite.attrib.update(written)
    return written
