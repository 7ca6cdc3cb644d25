"""The report as Markdown, for comments and the summary of a run: what did not pass first, then a table of all cases."""

from __future__ import annotations

import html
import os
import re

from bncheck.case import Verdict
from bncheck.gradients.batchnorm import NODES
from bncheck.report import CaseReport, Run
from bncheck.reporters import table
from bncheck.terminal import escaped

LARGEST = 900_000
"""Bytes that are written at most: a summary on GitHub holds 1 MiB in all."""

CUT = "\n\nThe rest is left out: it is too long.\n"


def render(report: Run) -> str:
    """The report as Markdown of at most LARGEST bytes. Whatever users wrote is text in it, never markup."""
    parts = [f"## bncheck: {_text(table.last_line(report).plain)}\n"]
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
            file.write(render(report))
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
        lines.append(f"| {_text(found.case.label)} | {numbers} | {_verdict(found)} |")
    return "\n".join(lines) + "\n"


def _verdict(found: CaseReport) -> str:
    return found.verdict.value if found.acceptable else f"**{found.verdict.value}**"


def _text(text: str) -> str:
    """Text on one line of which Markdown and HTML read nothing as markup."""
    escaped = re.sub(r"([\\`*_{}\[\]()#+!|~-])", r"\\\1", " ".join(text.split()))
    return html.escape(escaped, quote=False)


def _block(found: CaseReport) -> str:
    """A case that did not pass, as text between fences that do not occur in it."""
    text = "\n".join([f"{found.verdict.value.upper()}  {found.case.label}", *table.told(found)])
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}text\n{text}\n{fence}\n"
