"""Reports as text; here stands the table of the forms in which `run` and `power` report."""

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

    `of_run` and `of_power` give the text; a form without `of_power` is of runs alone. `beside` is called when a run is
    printed on stdout in this form, and gives the message that says why it could not do what it does, or "".
    """

    name: str
    purpose: str
    of_run: Callable[[Run, Detail], str]
    of_power: Callable[[Power, Detail], str] | None = None
    beside: Callable[[Run], str] = lambda report: ""


def late(name: str) -> Any:
    """A module of this folder, imported when a form is used: no command waits for a form that it was not asked for."""
    return importlib.import_module(f"bncheck.reporters.{name}")


_ROWS = (
    OutputFormat(
        "table",
        "for people, in a terminal or a file",
        lambda report, detail: late("table").render(report, detail),
        lambda found, detail: late("console").render(late("power").body(found, detail)),
    ),
    OutputFormat("concise", "a line for each thing that is wrong", lambda report, _: late("concise").render(report)),
    OutputFormat(
        "json",
        "for programs: everything, as one object",
        lambda report, _: late("json").render(report),
        lambda found, _: late("json").render_power(found),
    ),
    OutputFormat("junit", "XML for servers of CI", lambda report, _: late("ci").junit(report)),
    OutputFormat(
        "github",
        "annotations of GitHub, and a summary of the run",
        lambda report, _: late("ci").annotated(report),
        beside=lambda report: late("ci").append_summary(report),
    ),
    OutputFormat("markdown", "for comments and summaries", lambda report, _: late("ci").markdown(report)),
    OutputFormat("html", "one page to keep, with pictures", lambda report, _: late("page").render(report)),
)

FORMATS: Mapping[str, OutputFormat] = {form.name: form for form in _ROWS}
"""Every form by its name. stdout has the table where nothing else is asked for, and where a report goes to a file."""


def print_run(form: OutputFormat, report: Run, detail: Detail, color: str) -> str:
    """Print a run on stdout; the table in a colour that is auto, always or never. Returns what could not be done."""
    if form.name == "table":
        late("console").show(late("table").body(report, detail), color)
    else:
        print(form.of_run(report, detail), end="")
    return form.beside(report)


def print_power(form: OutputFormat, power: Power, detail: Detail, color: str) -> None:
    """Print a power on stdout in a form that has one."""
    if form.name == "table":
        late("console").show(late("power").body(power, detail), color)
    elif form.of_power is not None:
        print(form.of_power(power, detail), end="")
