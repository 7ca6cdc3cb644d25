"""A report that shows itself: as text, in colour, as HTML, as JSON, and as an exception."""

from __future__ import annotations

from collections.abc import Iterator

from bncheck import report
from bncheck.report import CaseReport
from bncheck.reporters import json, table
from bncheck.reporters.table import Detail
from bncheck.status import ExitStatus

MORE = "report.cases and report.to_json() have them all"


class CheckFailedError(AssertionError):
    """Some case did not pass; the message tells all of them."""


class Report(report.Report):
    """What `bncheck.check` found. `print(report)` shows it, and a notebook shows it in colour.

    `cases` has one report a case, with its `verdict` and its `comparisons` node by node; iterating gives them too.
    A report is true where it `passed`, so that `assert bncheck.check(...)` means what it says.
    """

    __slots__ = ()

    @property
    def passed(self) -> bool:
        """Whether the exit status of `bncheck run` would be 0. Where every case was skipped, nothing has passed."""
        return self.status is ExitStatus.PASSED

    def raise_for_failure(self) -> None:
        """Raise CheckFailedError, with all that did not pass in its message; nothing happens where all passed."""
        if self.passed:
            return
        amiss = sum(not found.acceptable for found in self.cases)
        all_of_them = f"{len(self.cases)} case{'s' * (len(self.cases) != 1)}"
        head = f"{amiss} of {all_of_them} did not pass" if amiss else f"0 of {all_of_them} passed"
        raise CheckFailedError(f"{head}\n\n{table.render(self, Detail.FAILURES).rstrip()}")

    def to_json(self) -> str:
        """The text that `bncheck run --format json` prints."""
        return json.render(self)

    def __bool__(self) -> bool:
        return self.passed

    def __len__(self) -> int:
        return len(self.cases)

    def __iter__(self) -> Iterator[CaseReport]:
        return iter(self.cases)

    def __str__(self) -> str:
        return table.render(self, Detail.USUAL, MORE).rstrip("\n")

    def __repr__(self) -> str:
        return f"<bncheck.Report: {table.last_line(self).plain}>"

    def __rich__(self) -> object:
        return table.body(self, Detail.USUAL, MORE)

    def _repr_html_(self) -> str:
        return table.html(self, Detail.USUAL, MORE)
