"""Reports as text, one file a form; here stands the table of the forms in which `run` and `power` report."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from bncheck.faults.power import Power
    from bncheck.report import Run
    from bncheck.reporters.console import Detail


class OutputFormat(NamedTuple):
    """A form of report: its name in `--format`, what it is for, and the functions that write in it.

    `of_run` and `of_power` give the text. `print_run` and `print_power` print it on stdout, with a colour that is auto,
    always or never where the form has any.
    """

    name: str
    purpose: str
    of_run: Callable[[Run, Detail], str]
    of_power: Callable[[Power, Detail], str]
    print_run: Callable[[Run, Detail, str], None]
    print_power: Callable[[Power, Detail, str], None]


def _late(name: str) -> Any:
    """A module of this folder, imported when a form is used: no command waits for a form that it was not asked for."""
    return importlib.import_module(f"bncheck.reporters.{name}")


TABLE = OutputFormat(
    "table",
    "for people, in a terminal or a file",
    lambda report, detail: _late("table").render(report, detail),
    lambda found, detail: _late("power").render(found, detail),
    lambda report, detail, color: _late("table").show(report, detail, color),
    lambda found, detail, color: _late("power").show(found, detail, color),
)
JSON = OutputFormat(
    "json",
    "for programs: everything, as one object",
    lambda report, detail: _late("json").render(report),
    lambda found, detail: _late("json").render_power(found),
    lambda report, detail, color: print(_late("json").render(report), end=""),
    lambda found, detail, color: print(_late("json").render_power(found), end=""),
)

FORMATS: Mapping[str, OutputFormat] = {form.name: form for form in (TABLE, JSON)}
"""Every form by its name. stdout has the table where nothing else is asked for, and where a report goes to a file."""
