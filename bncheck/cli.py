"""Arguments in, exit status out.

What a command needs is imported when it runs, and annotations are not postponed, see `__main__.py`.
"""

import gc
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import AbstractContextManager
from enum import StrEnum
from functools import partial
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING, Annotated

import typer

from bncheck import __version__, terminal
from bncheck.status import ExitStatus, Hints, StartError

if TYPE_CHECKING:
    from bncheck.config import Override
    from bncheck.report import Run
    from bncheck.reporters.console import Detail
    from bncheck.session import Watch


Format = StrEnum("Format", "TABLE CONCISE JSON JUNIT GITHUB MARKDOWN HTML")
"""The names of the forms in `bncheck.reporters.FORMATS`, which `--help` needs before anything is imported."""

PowerFormat = StrEnum("PowerFormat", "TABLE JSON")
"""The names of those forms in which a power can be told."""

Schema = StrEnum("Schema", "CONFIG REPORT")
"""Files that have a JSON Schema."""

Color = StrEnum("Color", "AUTO ALWAYS NEVER")
"""Choices of colour in a terminal: `auto` follows NO_COLOR, FORCE_COLOR, TERM and whether it is a terminal."""

MANY = 100
"""Cases that leave enough garbage to be worth collecting, see `__main__.start`."""

STATUSES = "\n\n".join(f"{status.value}: {status.sentence}" for status in ExitStatus)

app = typer.Typer(
    name="bncheck",
    help="Check the backward pass of batch normalisation, node by node: beta, gamma, mean, var, x.",
    epilog=f"Exit status.\n\n{STATUSES}",
    add_completion=False,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich would double the time of --help
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    """Print the version and end, where it is wanted."""
    if wanted:
        print(f"bncheck {__version__}")
        raise typer.Exit


Colored = Annotated[Color, typer.Option(help="When to use colour.")]
Pattern = Annotated[
    str | None, typer.Option("-k", metavar="PATTERN", help="Only cases whose label has every word of PATTERN.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set a key of the config, whatever the file says."),
]


@app.callback()
def bncheck(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Check the backward pass of batch normalisation, node by node: beta, gamma, mean, var, x."""
    if context.invoked_subcommand is None:
        from bncheck.session import TO_TYPE

        print(f"Type, for example:\n{TO_TYPE}\n\n{context.get_help()}")
        raise typer.Exit(ExitStatus.NOT_STARTED)


@app.command()
def run(
    configs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CONFIG|FILE.py]...",
            help="YAML files that say what to check, or Python files to check, as after -i.",
            show_default=False,
        ),
    ] = None,
    shape: Annotated[
        list[str] | None, typer.Option(metavar="32x64", help="Shape of x; short for --set shape=32x64.")
    ] = None,
    seed: Annotated[list[str] | None, typer.Option(metavar="N", help="Seed; short for --set seed=N.")] = None,
    implementation: Annotated[
        list[str] | None,
        typer.Option(
            "-i",
            "--implementation",
            metavar="PLACE",
            help="What to check: layers.py, layers.py:BatchNorm, package.module:name, reference, closed-form; or - for "
            "formulas on stdin.",
        ),
    ] = None,
    settings: Set = None,
    pattern: Pattern = None,
    in_process: Annotated[
        bool, typer.Option("--in-process", help="Run the implementation in this process, for a debugger.")
    ] = False,
    jobs: Annotated[
        str, typer.Option("-j", "--jobs", metavar="N", help="Cases checked at the same time; auto for one a core.")
    ] = "1",
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first case that does not pass.")] = False,
    shrink: Annotated[
        bool, typer.Option("--shrink", help="Reduce every failure to the smallest problem that shows it.")
    ] = False,
    form: Annotated[Format, typer.Option("--format", help="Form of the report.")] = Format.TABLE,
    output: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write the report in that form to FILE; stdout then has the table."),
    ] = None,
    reports: Annotated[
        list[str] | None,
        typer.Option("--report", metavar="FORM=FILE", help="Write the report to FILE in this form as well."),
    ] = None,
    hints: Annotated[Hints, typer.Option(help="How much of what is right a failure gives away.")] = Hints.FORMULA,
    color: Colored = Color.AUTO,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show every case node by node.")] = False,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="Show only what did not pass, and the last line.")
    ] = False,
) -> None:
    """Check the cases of CONFIG, or of --shape, or what is in FILE.py on the built-in shapes.

    For each case: draw the inputs, run forward and backward, differentiate the forward numerically, and compare at
    each of the five nodes.
    """
    from bncheck import session

    configs, places = session.sorted_out(configs or [])
    overrides = _overrides(settings, shape=shape, seed=seed, implementation=[*places, *(implementation or [])])
    if in_process:
        _collect_garbage()
    with session.Interruption() as interruption:
        session.refuse_empty({"CONFIG": configs, "--shape": shape, "--seed": seed})
        session.refuse_empty({"-i": implementation, "-k": [pattern], "--output": [output], "--report": reports})
        files = _files(reports or [])
        if output is not None:
            files.append((form, output))
        workers = session.jobs_of(jobs)
        cases = session.from_configs(configs, overrides)
        inputs = [*configs, *session.files_of(cases)] if files else []
        for refusal in filter(None, (terminal.unwritable(file, inputs) for _, file in files)):
            raise StartError(refusal)
        check = partial(session.run, pattern=pattern or "", fail_fast=fail_fast, progress=_progress, jobs=workers)
        with session.hands_for(cases, in_process, workers) as hands:
            if hands is not None and not in_process:  # rich is imported while a worker works
                Thread(target=import_module, args=["bncheck.reporters.table"], daemon=True).start()
            check = partial(check, shrink=session.SHRINKING if shrink else 0.0)
            report = check(cases, hands, repeat=partial(session.command, overrides=overrides)).telling(hints)
        from bncheck.reporters.console import Detail

        detail = Detail.QUIET if quiet else Detail.FULL if verbose else Detail.USUAL
        complete = _write(report, form if output is None else Format.TABLE, files, color, detail)
    status: int = report.status
    if report.stopped == "interrupted":
        print(f"interrupted after {len(report.cases)} of {report.selected} cases", file=sys.stderr)
        status = interruption.status
    raise typer.Exit(status if complete else max(status, ExitStatus.FAILED))


@app.command()
def inspect(
    place: Annotated[
        str, typer.Argument(metavar="FILE", help="layers.py, layers.py:BatchNorm or package.module:name.")
    ],
    root: Annotated[str, typer.Option(metavar="FOLDER", help="The folder that its imports start from.")] = "",
    stub: Annotated[list[str] | None, typer.Option(metavar="MODULE", help="A module to stand in for.")] = None,
    in_process: Annotated[bool, typer.Option("--in-process", help="Run it in this process, for a debugger.")] = False,
) -> None:
    """Show what is found in FILE, as a mapping ready to paste into a config."""
    from bncheck import remote
    from bncheck.case import Origin

    if in_process:
        _collect_garbage()
    with remote.this_process() if in_process else remote.workers() as hands:
        seen = hands.look_at(Origin(place=place, root=root, stub=tuple(stub or ())))
    print(terminal.escaped(seen.text), file=sys.stdout if seen.found else sys.stderr)
    raise typer.Exit(ExitStatus.PASSED if seen.found else ExitStatus.NOT_STARTED)


@app.command()
def init(
    place: Annotated[
        str, typer.Argument(metavar="[FILE]", help="layers.py, or layers.py:BatchNorm.", show_default=False)
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Write over files that are there.")] = False,
) -> None:
    """Write a bncheck.yaml for what is found in FILE, and the schema that editors read, into this folder."""
    from bncheck import remote, session

    there = [name for name in (session.USUAL, session.SCHEMA) if os.path.lexists(name)]
    if there and not force:
        raise StartError(f"error: {' and '.join(there)} would be overwritten; say so with --force")
    with remote.workers() as hands:
        content = {session.USUAL: session.template(place, hands), session.SCHEMA: _schema()}
    for name, text in content.items():
        if failed := terminal.write_file(name, text):
            raise StartError(failed)
    print(f"{session.USUAL} is written, with {session.SCHEMA} for editors; bncheck run checks it")


@app.command()
def power(
    configs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CONFIG]...", help="YAML files that say what to check.", show_default=False),
    ] = None,
    shape: Annotated[list[str] | None, typer.Option(metavar="32x64", help="Short for --set shape=32x64.")] = None,
    seed: Annotated[list[str] | None, typer.Option(metavar="N", help="Short for --set seed=N.")] = None,
    settings: Set = None,
    pattern: Pattern = None,
    form: Annotated[PowerFormat, typer.Option("--format", help="Form of the report.")] = PowerFormat.TABLE,
    color: Colored = Color.AUTO,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show what each case makes of each fault.")] = False,
) -> None:
    """Show which known faults the cases of CONFIG would catch, and which none of them would (exit status 1)."""
    from bncheck import session
    from bncheck.faults.power import power as power_of
    from bncheck.report import status_of_power
    from bncheck.reporters import FORMATS, print_power
    from bncheck.reporters.console import Detail

    overrides = _overrides(settings, shape=shape, seed=seed)
    session.refuse_empty({"CONFIG": configs, "--shape": shape, "--seed": seed, "-k": [pattern]})
    cases = session.from_configs(configs or [], overrides)
    found = power_of(session.selected(cases, pattern or ""))
    print_power(FORMATS[form], found, Detail.FULL if verbose else Detail.USUAL, color.value)
    status = status_of_power(found)
    raise typer.Exit(max(status, ExitStatus.FAILED) if terminal.loses_output() else status)


@app.command()
def explain(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NODE|FAULT]", help="beta, gamma, mean, var, x, or a known fault.", show_default=False),
    ] = None,
    color: Colored = Color.AUTO,
    listed: Annotated[bool, typer.Option("--list", help="Show the names of all known faults, by node.")] = False,
) -> None:
    """Derive the gradient at NODE, formula by formula, with the numbers of a small problem; or tell what FAULT is."""
    from bncheck.checking import check_fault
    from bncheck.faults.catalogue import BY_NAME
    from bncheck.reporters import explanation

    if listed:
        explanation.show_faults(color.value)
    elif name is not None and name in BY_NAME:
        fault = BY_NAME[name]
        explanation.show_fault(fault, check_fault(fault, explanation.example_of(fault)), color.value)
    else:
        explanation.show(name, color.value, others=tuple(BY_NAME))


@app.command()
def schema(
    of: Annotated[Schema, typer.Argument(help="Of the config, for editors, or of the JSON of a run.")] = Schema.CONFIG,
) -> None:
    """Print the JSON Schema of the config, or of the report."""
    from importlib.resources import files

    of_reports = files("bncheck.reporters").joinpath("report.schema.json")
    print(_schema() if of is Schema.CONFIG else of_reports.read_text(encoding="utf-8"), end="")


def main() -> None:
    """Run the command line and exit. Any other exception than a StartError is a bug of ours, and is told as one."""
    try:
        app(prog_name="bncheck")
    except KeyboardInterrupt:
        sys.exit(ExitStatus.INTERRUPTED)
    except StartError as error:
        print(error, file=sys.stderr)
        sys.exit(ExitStatus.NOT_STARTED)
    except Exception:
        if says := terminal.shadowed():
            print(says, file=sys.stderr)
            sys.exit(ExitStatus.NOT_STARTED)
        traceback.print_exc()
        print("\nThis is a bug in bncheck; please report it with the lines above.", file=sys.stderr)
        sys.exit(ExitStatus.BUG)


def _schema() -> str:
    """The JSON Schema of a config as text."""
    import json

    from bncheck.config.schema import schema_of_configs

    return json.dumps(schema_of_configs(), indent=2) + "\n"


def _overrides(settings: Sequence[str] | None, **given: Sequence[str] | None) -> "list[Override]":
    """The overrides that `--set` makes, and those of the options for one key, which may be given several times each.

    A place is taken as it is, not as YAML. For `-i -` it is the text on stdin.
    """
    from bncheck.config.override import Override, as_text

    found = []
    for key, values in ((key, values) for key, values in given.items() if values):
        option, written = f"--{key}", values
        if key == "implementation":
            option, written = "-i", [as_text(sys.stdin.read() if value == "-" else value) for value in values]
        text = f"{key}={written[0]}" if len(written) == 1 else f"{key}=[{', '.join(written)}]"
        arguments = tuple(word for value in values for word in (option, value))
        found.append(Override(text, " ".join(arguments), arguments))
    return found + [Override(setting, f"--set {setting}") for setting in settings or ()]


def _progress(costs: Sequence[float]) -> "AbstractContextManager[Watch]":
    """The progress of a run, of the seconds that each case will roughly take."""
    from bncheck.reporters.console import progress

    if len(costs) > MANY:
        _collect_garbage()
    return progress(costs)


def _collect_garbage() -> None:
    """Collect garbage from now on, but for what was imported, which stays."""
    gc.freeze()
    gc.enable()


def _files(reports: Sequence[str]) -> list[tuple[Format, str]]:
    """The forms and files that --report names. Raises StartError."""
    found = []
    for text in reports:
        name, _, file = text.partition("=")
        if name not in list(Format) or not file:
            raise StartError(f"error: --report {text}: expected FORM=FILE, with a form of {', '.join(Format)}")
        found.append((Format(name), file))
    return found


def _write(report: "Run", form: Format, files: Sequence[tuple[Format, str]], color: Color, detail: "Detail") -> bool:
    """Write a report to stdout and to files. Returns whether all of it was written; stderr says what was not."""
    from bncheck.reporters import FORMATS, print_run

    failed = [terminal.write_file(file, FORMATS[its].of_run(report, detail)) for its, file in files]
    failed.append(print_run(FORMATS[form], report, detail, color.value))
    for message in filter(None, failed):
        print(message, file=sys.stderr)
    return not terminal.loses_output() and not any(failed)
