"""Reports as text, one file a form; here stands the table of the forms in which `run` and `power` report."""

# Each form imports what it needs when it is used, so that no command waits for a form that it was not asked for.

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from bncheck.faults.power import Power
    from bncheck.report import Run
    from bncheck.reporters.console import Detail


class OutputFormat(NamedTuple):
    """A form of report: its name in `--format`, what it is for, and the functions that write in it.

    `of_run` and `of_power` give the text. `show_run` and `show_power` print it on stdout, with a colour that is auto,
    always or never; a form that has no colours has none of them, and its text is printed as it is.
    """

    name: str
    purpose: str
    of_run: Callable[[Run, Detail], str]
    of_power: Callable[[Power, Detail], str]
    show_run: Callable[[Run, Detail, str], None] | None = None
    show_power: Callable[[Power, Detail, str], None] | None = None

    def print_run(self, report: Run, detail: Detail, color: str) -> None:
        """Print what a run found."""
        if self.show_run is None:
            print(self.of_run(report, detail), end="")
        else:
            self.show_run(report, detail, color)

    def print_power(self, found: Power, detail: Detail, color: str) -> None:
        """Print the power of checks."""
        if self.show_power is None:
            print(self.of_power(found, detail), end="")
        else:
            self.show_power(found, detail, color)


def _run_as_table(report: Run, detail: Detail) -> str:
    from bncheck.reporters import table

    return table.render(report, detail)


def _show_run_as_table(report: Run, detail: Detail, color: str) -> None:
    from bncheck.reporters import table

    table.show(report, detail, color)


def _power_as_table(found: Power, detail: Detail) -> str:
    from bncheck.reporters import power

    return power.render(found, detail)


def _show_power_as_table(found: Power, detail: Detail, color: str) -> None:
    from bncheck.reporters import power

    power.show(found, detail, color)


def _run_as_json(report: Run, detail: Detail) -> str:
    from bncheck.reporters import json

    return json.render(report)


def _power_as_json(found: Power, detail: Detail) -> str:
    from bncheck.reporters import json

    return json.render_power(found)


TABLE = OutputFormat(
    "table",
    "for people, in a terminal or a file",
    _run_as_table,
    _power_as_table,
    _show_run_as_table,
    _show_power_as_table,
)
JSON = OutputFormat("json", "for programs: everything, as one object", _run_as_json, _power_as_json)

FORMATS: Mapping[str, OutputFormat] = {form.name: form for form in (TABLE, JSON)}
"""Every form by its name. stdout has the table where nothing else is asked for, and where a report goes to a file."""
