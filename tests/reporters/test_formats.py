"""The forms of a report: one table, which the command line and `--help` follow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bncheck import cli
from bncheck.case import Case, Verdict
from bncheck.faults.power import Power
from bncheck.report import CaseReport, Run
from bncheck.reporters import FORMATS, OutputFormat, print_power, print_run
from bncheck.reporters.console import Detail

RUN = Run((CaseReport(Case(shape=(4, 5), label="huge"), Verdict.SKIPPED, reason="too big"),), selected=1, seconds=0.5)
NO_POWER = Power(())

by_name = pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)


def test_command_line_knows_the_forms_of_the_table_in_their_order() -> None:
    assert [form.value for form in cli.Format] == list(FORMATS)
    assert [form.value for form in cli.PowerFormat] == [name for name, form in FORMATS.items() if form.of_power]


def test_every_form_says_what_it_is_for() -> None:
    assert {name: form.purpose for name, form in FORMATS.items()} == {
        "table": "for people, in a terminal or a file",
        "concise": "a line for each thing that is wrong",
        "json": "for programs: everything, as one object",
        "junit": "XML for servers of CI",
        "github": "annotations of GitHub, and a summary of the run",
        "markdown": "for comments and summaries",
        "html": "one page to keep, with pictures",
    }


@by_name
def test_form_prints_on_a_pipe_what_it_writes_into_a_file(
    form: OutputFormat, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    assert print_run(form, RUN, Detail.USUAL, "auto") == ""
    assert capsys.readouterr().out == form.of_run(RUN, Detail.USUAL)
    if form.of_power is not None:
        print_power(form, NO_POWER, Detail.USUAL, "auto")
        assert capsys.readouterr().out == form.of_power(NO_POWER, Detail.USUAL)


@by_name
def test_form_ends_in_one_newline(form: OutputFormat) -> None:
    texts = [form.of_run(RUN, Detail.USUAL), *([form.of_power(NO_POWER, Detail.USUAL)] if form.of_power else [])]
    for text in texts:
        assert text.endswith("\n")
        assert not text.endswith("\n\n")


def loaded_by(*arguments: str) -> set[str]:
    """Modules of which a start must not pay for all, as a command has loaded them."""
    run = f"sys.argv = ['bncheck', *{list(arguments)!r}]; from bncheck import cli; cli.main()"
    look = f"import sys, atexit; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); {run}"
    ended = subprocess.run(
        [sys.executable, "-c", look], capture_output=True, text=True, cwd=Path(__file__).parents[2], check=True
    )
    return set(ended.stderr.split())


def test_json_of_a_run_loads_no_rich() -> None:
    loaded = loaded_by("run", "--shape", "4x5", "--format", "json")
    assert "bncheck.reporters.json" in loaded
    assert not {name for name in loaded if name.partition(".")[0] == "rich"}
    assert "bncheck.reporters.table" not in loaded


def test_table_of_a_run_loads_no_json() -> None:
    loaded = loaded_by("run", "--shape", "4x5")
    assert "bncheck.reporters.table" in loaded
    assert "bncheck.reporters.json" not in loaded
