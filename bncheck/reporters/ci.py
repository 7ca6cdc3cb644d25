"""Reports for servers of CI: JUnit XML, annotations of GitHub, and Markdown for comments and summaries."""

from __future__ import annotations

import html
import os
import re
from collections import Counter
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from bncheck.case import Verdict
from bncheck.gradients.batchnorm import NODES
from bncheck.report import CaseReport, Run
from bncheck.reporters import table
from bncheck.reporters.concise import Sentence, lines_of
from bncheck.reporters.table import last_line
from bncheck.terminal import escaped

# --- JUnit: a test case for each case and node --------------------------------------------------------------

ELEMENT = {Verdict.FAIL: "failure", Verdict.UNRESOLVED: "failure", Verdict.ERROR: "error", Verdict.SKIPPED: "skipped"}
"""The element inside a test case that says why it did not pass."""


def junit(report: Run) -> str:
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


# --- annotations --------------------------------------------------------------------------------------------

ANNOTATIONS = 9
"""Annotations of one run: GitHub shows ten of a step, and the last says how many more there are."""


def annotated(report: Run) -> str:
    """The report as workflow commands of GitHub, which it shows beside the lines of the files."""
    lines = list(lines_of(report.cases))
    shown = "".join(_annotation(line) for line in lines[:ANNOTATIONS])
    more = len(lines) - ANNOTATIONS
    rest = f"::error title=bncheck::and {more} more; the summary of this run has them\n" if more > 0 else ""
    return escaped(f"{shown}{rest}{last_line(report).plain}\n")


def _annotation(line: Sentence) -> str:
    """One command; its rules of escaping are those of the toolkit of GitHub's actions."""
    properties = {"file": line.file, "line": str(line.number or 1), "col": "1", "title": line.title}
    if not line.file:
        properties = {"title": line.title}
    written = ",".join(f"{name}={_escaped(value, ',:')}" for name, value in properties.items())
    return f"::error {written}::{_escaped(line.sentence)}\n"


def _escaped(text: str, marks: str = "") -> str:
    """Text with what would end it, or a line, as GitHub reads it back."""
    return "".join(f"%{ord(one):02X}" if one in f"%\r\n{marks}" else one for one in text)


# --- Markdown: what did not pass first, then a table of all cases -------------------------------------------

LARGEST = 900_000
"""Bytes that are written at most: a summary on GitHub holds 1 MiB in all."""

CUT = "\n\nThe rest is left out: it is too long.\n"


def markdown(report: Run) -> str:
    """The report as Markdown of at most LARGEST bytes. Whatever users wrote is text in it, never markup."""
    parts = [f"## bncheck: {_text(last_line(report).plain)}\n"]
    parts += [_block(found) for found in report.cases if not found.acceptable]
    parts.append(_table(report))
    whole = escaped("\n".join(parts)).encode(errors="backslashreplace")
    if len(whole) <= LARGEST:
        return whole.decode()
    cut = whole[: LARGEST - len(CUT) - 100].decode(errors="ignore")
    fences = re.findall(r"^`{3,}", cut, re.MULTILINE)
    return cut + (f"\n{fences[-1]}" if len(fences) % 2 else "") + CUT


def append_summary(report: Run) -> str:
    """Append the report to the summary of a step on GitHub, where there is one. Returns why that failed, or ""."""
    path = os.environ.get("GITHUB_STEP_SUMMARY", "")
    if not path:
        return ""
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(markdown(report))
    except OSError as error:
        return f"error: the summary {path} cannot be written: {error.strerror}"
    return ""


def _table(report: Run) -> str:
    """The cases as rows and the nodes as columns, relative errors inside."""
    lines = [f"| case | {' | '.join(NODES)} | verdict |", f"|---|{'---:|' * len(NODES)}---|"]
    for found in report.cases:
        shown = (row for row in found.comparisons if row.verdict is not Verdict.SKIPPED and not row.is_withheld)
        cells = {row.node: f"{row.error:.1e}" for row in shown}
        numbers = " | ".join(cells.get(node, "-") for node in NODES)
        verdict = found.verdict.value if found.acceptable else f"**{found.verdict.value}**"
        lines.append(f"| {_text(found.case.label)} | {numbers} | {verdict} |")
    return "\n".join(lines) + "\n"


def _text(text: str) -> str:
    """Text on one line of which Markdown and HTML read nothing as markup."""
    escaped = re.sub(r"([\\`*_{}\[\]()#+!|~-])", r"\\\1", " ".join(text.split()))
    return html.escape(escaped, quote=False)


def _block(found: CaseReport) -> str:
    """A case that did not pass, as text between fences that do not occur in it."""
    text = "\n".join([f"{found.verdict.value.upper()}  {found.case.label}", *table.told(found)])
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}text\n{text}\n{fence}\n"
