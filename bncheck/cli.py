"""Arguments in, exit status out.

What a command needs is imported when it runs, and annotations are not postponed, see `__main__.py`.
"""

import gc
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
from bncheck.status import ExitStatus

if TYPE_CHECKING:
    from bncheck.config import Override
    from bncheck.faults.power import Power
    from bncheck.report import Run
    from bncheck.session import Watch


class Format(StrEnum):
    """The names of the forms in `bncheck.reporters.FORMATS`, which `--help` needs before anything is imported."""

    TABLE = "table"
    JSON = "json"


class Color(StrEnum):
    """Choice of colour in a terminal: `auto` follows NO_COLOR, FORCE_COLOR, TERM and whether it is a terminal."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


MANY = 100
"""Cases that leave enough garbage to be worth collecting, see `__main__.start`."""

STATUSES = "\n\n".join(f"{status.value}: {status.sentence}" for status in ExitStatus)

app = typer.Typer(
    name="bncheck",
    help="Check the backward pass of batch normalisation, node by node: beta, gamma, mean, var, x.",
    epilog=f"Exit status.\n\n{STATUSES}",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich would double the time of --help
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    """Print the version and end, where it is wanted."""
    if wanted:
        print(f"bncheck {__version__}")
        raise typer.Exit


@app.callback()
def bncheck(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Check the backward pass of batch normalisation, node by node: beta, gamma, mean, var, x."""


@app.command()
def run(
    configs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CONFIG]...", help="YAML files that say what to check.", show_default=False),
    ] = None,
    shape: Annotated[
        list[str] | None, typer.Option(metavar="32x64", help="Shape of x; short for --set shape=32x64.")
    ] = None,
    seed: Annotated[list[str] | None, typer.Option(metavar="N", help="Seed; short for --set seed=N.")] = None,
    implementation: Annotated[
        str | None,
        typer.Option(
            "-i",
            "--implementation",
            metavar="PLACE",
            help="What to check: layers.py, layers.py:BatchNorm, package.module:name, reference or closed-form.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set a key of the config, whatever the file says."),
    ] = None,
    pattern: Annotated[
        str | None, typer.Option("-k", metavar="PATTERN", help="Only cases whose label has every word of PATTERN.")
    ] = None,
    in_process: Annotated[
        bool, typer.Option("--in-process", help="Run the implementation in this process, for a debugger.")
    ] = False,
    jobs: Annotated[
        str, typer.Option("-j", "--jobs", metavar="N", help="Cases checked at the same time; auto for one a core.")
    ] = "1",
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first case that does not pass.")] = False,
    form: Annotated[Format, typer.Option("--format", help="Form of the report.")] = Format.TABLE,
    output: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write the report in that form to FILE; stdout then has the table."),
    ] = None,
    color: Annotated[Color, typer.Option(help="When to use colour.")] = Color.AUTO,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show every case node by node.")] = False,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="Show only what did not pass, and the last line.")
    ] = False,
) -> None:
    """Check the cases of CONFIG, or of --shape alone.

    For each case: draw the inputs, run forward and backward, differentiate the forward numerically, and compare at
    each of the five nodes.
    """
    from bncheck import session
    from bncheck.config import Override

    given = {"shape": shape, "seed": seed, "implementation": implementation and [implementation]}
    overrides = [_override(key, values) for key, values in given.items() if values]
    overrides += [Override(setting, f"--set {setting}") for setting in settings or []]
    if in_process:
        _collect_garbage()
    with session.Interruption() as interruption:
        try:
            single = {"-i": [implementation], "-k": [pattern], "--output": [output]}
            session.refuse_empty({"CONFIG": configs, "--shape": shape, "--seed": seed, **single})
            workers = session.jobs_of(jobs)
            cases = session.from_configs(configs or [], overrides)
            inputs = [] if output is None else [*(configs or []), *session.files_of(cases)]
            if output is not None and (refusal := terminal.unwritable(output, inputs)):
                raise session.StartError(refusal)
            check = partial(session.run, pattern=pattern or "", fail_fast=fail_fast, progress=_progress, jobs=workers)
            with session.hands_for(cases, in_process, workers) as hands:
                if hands is not None and not in_process:  # rich is imported while a worker works
                    Thread(target=import_module, args=["bncheck.reporters.table"], daemon=True).start()
                report = check(cases, hands, repeat=partial(session.command, overrides=overrides))
        except session.StartError as error:
            print(error, file=sys.stderr)
            raise typer.Exit(ExitStatus.NOT_STARTED) from None
        complete = _write(report, form, output, color, verbose, quiet)
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
def power(
    configs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CONFIG]...", help="YAML files that say what to check.", show_default=False),
    ] = None,
    shape: Annotated[list[str] | None, typer.Option(metavar="32x64", help="Short for --set shape=32x64.")] = None,
    seed: Annotated[list[str] | None, typer.Option(metavar="N", help="Short for --set seed=N.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set a key of the config, whatever the file says."),
    ] = None,
    pattern: Annotated[
        str | None, typer.Option("-k", metavar="PATTERN", help="Only cases whose label has every word of PATTERN.")
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="Form of the report.")] = Format.TABLE,
    color: Annotated[Color, typer.Option(help="When to use colour.")] = Color.AUTO,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show what each case makes of each fault.")] = False,
) -> None:
    """Show which known faults the cases of CONFIG would catch, and which none of them would (exit status 1)."""
    from bncheck import session
    from bncheck.config import Override
    from bncheck.faults.power import power as power_of
    from bncheck.report import status_of_power

    overrides = [_override(key, values) for key, values in (("shape", shape), ("seed", seed)) if values]
    overrides += [Override(setting, f"--set {setting}") for setting in settings or []]
    try:
        session.refuse_empty({"CONFIG": configs, "--shape": shape, "--seed": seed, "-k": [pattern]})
        cases = session.from_configs(configs or [], overrides)
        found = power_of(session.selected(cases, pattern or ""))
    except session.StartError as refusal:
        print(refusal, file=sys.stderr)
        raise typer.Exit(ExitStatus.NOT_STARTED) from None
    _write_power(found, form, color, verbose)
    status = status_of_power(found)
    raise typer.Exit(max(status, ExitStatus.FAILED) if terminal.loses_output() else status)


@app.command()
def explain(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NODE|FAULT]", help="beta, gamma, mean, var, x, or a known fault.", show_default=False),
    ] = None,
    color: Annotated[Color, typer.Option(help="When to use colour.")] = Color.AUTO,
) -> None:
    """Derive the gradient at NODE, formula by formula, with the numbers of a small problem; or tell what FAULT is."""
    from bncheck.derivation import UnknownNodeError
    from bncheck.faults.catalogue import BY_NAME
    from bncheck.reporters import explanation

    try:
        if name is not None and name in BY_NAME:
            explanation.show_fault(BY_NAME[name], color.value)
        else:
            explanation.show(name, color.value, others=tuple(BY_NAME))
    except UnknownNodeError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(ExitStatus.NOT_STARTED) from None


@app.command()
def schema() -> None:
    """Print the JSON Schema of the config, for editors."""
    import json

    from bncheck.config.schema import schema_of_configs

    print(json.dumps(schema_of_configs(), indent=2))


def main() -> None:
    """Run the command line and exit. An exception that gets this far is a bug of ours, and is told as one."""
    from bncheck.__main__ import shadowed

    try:
        app(prog_name="bncheck")
    except KeyboardInterrupt:
        sys.exit(ExitStatus.INTERRUPTED)
    except Exception:
        if says := shadowed():
            print(says, file=sys.stderr)
            sys.exit(ExitStatus.NOT_STARTED)
        traceback.print_exc()
        print("\nThis is a bug in bncheck; please report it with the lines above.", file=sys.stderr)
        sys.exit(ExitStatus.BUG)


def _override(key: str, values: Sequence[str]) -> "Override":
    """The override that an option makes, which may be given several times. A place is taken as it is, not as YAML."""
    from bncheck.config import Override
    from bncheck.config.override import as_text

    if key == "implementation":
        return Override(f"{key}={as_text(values[0])}", f"-i {values[0]}")
    text = f"{key}={values[0]}" if len(values) == 1 else f"{key}=[{', '.join(values)}]"
    return Override(text, " ".join(f"--{key} {value}" for value in values))


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


def _write(report: "Run", form: Format, output: str | None, color: Color, verbose: bool, quiet: bool) -> bool:
    """Write a report. Returns whether all of it was written; stderr says what was not."""
    from bncheck.reporters import FORMATS, TABLE
    from bncheck.reporters.console import Detail

    asked = FORMATS[form]
    detail = Detail.QUIET if quiet else Detail.FULL if verbose else Detail.USUAL
    failed = terminal.write_file(output, asked.of_run(report, detail)) if output is not None else ""
    (asked if output is None else TABLE).print_run(report, detail, color.value)
    if failed:
        print(failed, file=sys.stderr)
    return not terminal.loses_output() and not failed


def _write_power(found: "Power", form: Format, color: Color, verbose: bool) -> None:
    """Write what the cases of a config are worth."""
    from bncheck.reporters import FORMATS
    from bncheck.reporters.console import Detail

    FORMATS[form].print_power(found, Detail.FULL if verbose else Detail.USUAL, color.value)
