"""Arguments in, exit status out. What a command needs is imported when it runs, so that `--help` is quick."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bncheck import __version__
from bncheck.status import ExitStatus

if TYPE_CHECKING:
    from bncheck.case import Case
    from bncheck.config import Override
    from bncheck.power import Power
    from bncheck.report import CaseReport, Report


class Format(StrEnum):
    """In what form a report is written."""

    TABLE = "table"
    JSON = "json"


class Color(StrEnum):
    """When the terminal is coloured: `auto` follows NO_COLOR, FORCE_COLOR, TERM and whether it is a terminal."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class StartError(Exception):
    """The run cannot start; the message says why, and what to do."""


STATUSES = "\n\n".join(f"{status.value}: {status.sentence}" for status in ExitStatus)

app = typer.Typer(
    name="bncheck",
    help="Check the backward pass of batch normalisation, node by node: beta, gamma, mean, var, x.",
    epilog=f"Exit status.\n\n{STATUSES}",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich help would double the time of --help
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
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
        str, typer.Option("-k", metavar="PATTERN", help="Only cases whose label has every word of PATTERN.")
    ] = "",
    in_process: Annotated[
        bool, typer.Option("--in-process", help="Run the implementation in this process, for a debugger.")
    ] = False,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first case that does not pass.")] = False,
    form: Annotated[Format, typer.Option("--format", help="Form of the report.")] = Format.TABLE,
    output: Annotated[
        Path | None,
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
    from bncheck.config import Override

    given = {"shape": shape, "seed": seed, "implementation": implementation and [implementation]}
    overrides = [_override(key, values) for key, values in given.items() if values]
    overrides += [Override(setting, f"--set {setting}") for setting in settings or []]
    try:
        _refuse_unwritable(output)
        cases = _cases(configs or [], overrides)
        check = partial(_check, pattern=pattern, overrides=overrides, fail_fast=fail_fast)
        report = _check_theirs(cases, in_process, check) if any(case.origin for case in cases) else check(cases)
    except StartError as refusal:
        print(refusal, file=sys.stderr)
        raise typer.Exit(ExitStatus.NOT_STARTED) from None
    with _closed_pipe_is_no_error():
        _write(report, form, output, color, verbose, quiet)
    if report.stopped == "interrupted":
        print(f"interrupted after {len(report.cases)} of {report.selected} cases", file=sys.stderr)
    raise typer.Exit(report.status)


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

    surroundings = remote.this_process() if in_process else remote.workers()
    with surroundings as hands_of:
        seen = remote.look_at(Origin(place=place, root=root, stub=tuple(stub or ())), hands_of)
    print(seen.text, file=sys.stdout if seen.found else sys.stderr)
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
        str, typer.Option("-k", metavar="PATTERN", help="Only cases whose label has every word of PATTERN.")
    ] = "",
    form: Annotated[Format, typer.Option("--format", help="Form of the report.")] = Format.TABLE,
    color: Annotated[Color, typer.Option(help="When to use colour.")] = Color.AUTO,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show what each case makes of each fault.")] = False,
) -> None:
    """Show which known faults the cases of CONFIG would catch, and which none of them would (exit status 1)."""
    from bncheck.config import Override
    from bncheck.power import power as power_of

    overrides = [_override(key, values) for key, values in (("shape", shape), ("seed", seed)) if values]
    overrides += [Override(setting, f"--set {setting}") for setting in settings or []]
    try:
        found = power_of(_selected(_cases(configs or [], overrides), pattern))
    except StartError as refusal:
        print(refusal, file=sys.stderr)
        raise typer.Exit(ExitStatus.NOT_STARTED) from None
    with _closed_pipe_is_no_error():
        _write_power(found, form, color, verbose)
    raise typer.Exit(found.status)


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
    from bncheck.faults import BY_NAME
    from bncheck.reporters import explanation

    try:
        with _closed_pipe_is_no_error():
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

    from bncheck.config.schema import json_schema

    print(json.dumps(json_schema(), indent=2))


def main() -> None:
    """Run the command line and exit. Whatever gets this far is a bug of ours, and says so."""
    _never_fail_to_encode()
    try:
        app(prog_name="bncheck")
    except KeyboardInterrupt:
        sys.exit(ExitStatus.INTERRUPTED)
    except Exception:
        traceback.print_exc()
        print("\nThis is a bug in bncheck; please report it with the lines above.", file=sys.stderr)
        sys.exit(ExitStatus.BUG)


def _override(key: str, values: Sequence[str]) -> Override:
    """An option given once, or several times, as one override."""
    from bncheck.config import Override

    option = {"implementation": "-i"}.get(key, f"--{key}")
    text = f"{key}={values[0]}" if len(values) == 1 else f"{key}=[{', '.join(values)}]"
    return Override(text, " ".join(f"{option} {value}" for value in values))


def _cases(configs: Sequence[str], overrides: Sequence[Override]) -> list[Case]:
    """The cases of all configs. Raises StartError with the mistakes of all of them."""
    from bncheck.config import ConfigError, from_overrides, read

    cases: list[Case] = []
    mistakes: list[str] = []
    readers: list[Callable[[Sequence[Override]], list[Case]]] = [partial(read, config) for config in configs]
    for read_cases in readers or [from_overrides]:
        try:
            cases += read_cases(overrides)
        except ConfigError as error:
            mistakes.append(str(error))
    if mistakes:
        raise StartError("\n\n".join(dict.fromkeys(mistakes)))
    return cases


def _selected(cases: list[Case], pattern: str) -> list[Case]:
    """The case with just that label, else those whose labels have every word. Raises StartError where none has."""
    exact = [case for case in cases if case.label == pattern]
    words = pattern.lower().split()
    found = exact or [case for case in cases if all(word in case.label.lower() for word in words)]
    if not found:
        labels = ", ".join(f"'{case.label}'" for case in cases[:3])
        more = f", and {len(cases) - 3} more" if len(cases) > 3 else ""
        raise StartError(
            f"error: -k '{pattern}' selects none of the {len(cases)} cases; their labels are {labels}{more}"
        )
    return found


def _check_theirs(cases: Sequence[Case], in_process: bool, check: Callable[..., Report]) -> Report:
    """The same where the code of others is among them. Raises StartError where there is nothing to check."""
    from bncheck import remote

    surroundings = remote.this_process() if in_process else remote.workers()
    with surroundings as hands_of:
        try:
            cases = remote.expand(cases, hands_of)
        except remote.NotFoundError as error:
            raise StartError(str(error)) from None
        return check(cases, theirs=partial(remote.check_elsewhere, hands_of=hands_of))


def _check(
    cases: list[Case],
    pattern: str,
    overrides: Sequence[Override],
    fail_fast: bool,
    theirs: Callable[[Case], CaseReport] | None = None,
) -> Report:
    from bncheck.reporters.progress import progress
    from bncheck.run import check_ours
    from bncheck.run import run as run_cases

    def repeat(case: Case) -> str:
        settings = [word for override in overrides for word in ("--set", override.text)]
        return shlex.join(["bncheck", "run", *filter(None, [case.source]), *settings, "-k", case.label])

    selected = _selected(cases, pattern)
    gc.enable()  # see __main__.start: a long run may make what is worth collecting
    with progress(len(selected)) as done:
        return run_cases(selected, theirs=theirs or check_ours, fail_fast=fail_fast, repeat=repeat, progress=done)


def _write(report: Report, form: Format, output: Path | None, color: Color, verbose: bool, quiet: bool) -> None:
    from bncheck.reporters import table

    detail = table.Detail.QUIET if quiet else table.Detail.FULL if verbose else table.Detail.USUAL
    if output is not None:
        text = _as_json(report) if form is Format.JSON else table.render(report, detail)
        output.write_text(text, encoding="utf-8")
    if form is Format.JSON and output is None:
        print(_as_json(report), end="", flush=True)
    else:
        table.show(report, detail, color.value)


def _write_power(found: Power, form: Format, color: Color, verbose: bool) -> None:
    if form is Format.JSON:
        from bncheck.reporters import power_json

        print(power_json.render(found), end="", flush=True)
        return
    from bncheck.reporters import power, table

    power.show(found, table.Detail.FULL if verbose else table.Detail.USUAL, color.value)


def _as_json(report: Report) -> str:
    from bncheck.reporters import json

    return json.render(report)


def _refuse_unwritable(output: Path | None) -> None:
    """Find out before the work, not after it, whether the report can be written."""
    if output is None:
        return
    try:
        output.open("a").close()
    except OSError as error:
        raise StartError(f"error: --output {output} cannot be written: {error.strerror}") from None


@contextlib.contextmanager
def _closed_pipe_is_no_error() -> Iterator[None]:
    """A reader that has seen enough, like `head`, ends the output and not the verdict."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _never_fail_to_encode() -> None:
    """Text that the terminal's encoding lacks is shown escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
