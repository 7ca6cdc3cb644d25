"""The command line as a user meets it: what it prints, where, and with which exit status."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import bncheck
from bncheck import __main__, __version__, checking, cli, config, session
from bncheck.case import Case
from bncheck.checking import check as real_check
from bncheck.report import CaseReport

TOP = Path(__file__).parents[1]


@dataclass(frozen=True)
class Outcome:
    """The end of one command: its status, and its output."""

    status: int
    out: str
    err: str


Invoke = Callable[..., Outcome]


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Invoke:
    """Run a command line in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run_it(*arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["bncheck", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Outcome(ended.value.code, captured.out, captured.err)

    return run_it


def process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command line in a process of its own, with only these extra environment variables."""
    inherited = {
        name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")
    }
    return subprocess.run(
        [sys.executable, "-m", "bncheck", *arguments],
        capture_output=True,
        encoding="utf-8",
        env={**inherited, "PYTHONPATH": str(TOP), **environment},
        cwd=TOP,
        timeout=60,
        check=False,
    )


# --- what is run -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", ["quickstart", "regimes", "images"])
def test_every_config_that_is_shipped_passes_with_nothing_skipped(invoke: Invoke, config: str) -> None:
    outcome = invoke("run", str(TOP / "configs" / f"{config}.yaml"))
    assert outcome.status == 0
    last = outcome.out.splitlines()[-1]
    assert " passed in " in last
    assert "skipped" not in last


def test_no_file_is_needed_where_a_shape_is_given(invoke: Invoke) -> None:
    outcome = invoke("run", "--shape", "32x64", "--seed", "0")
    assert outcome.status == 0
    assert (
        outcome.out.splitlines()[0]
        == "32x64 seed=0  reference, train, float64, eps 1.3e-05, order 4 along dout in float64"
    )
    assert [line.split()[0] for line in outcome.out.splitlines()[3:8]] == ["beta", "gamma", "mean", "var", "x"]
    assert outcome.out.splitlines()[-1].startswith("1 passed in ")


def test_hints_say_how_much_a_failure_gives_away(invoke: Invoke) -> None:
    code = TOP / "tests/zoo/faults/route/no_var_route.py"
    for form in cli.Format:
        for options in ([], ["-v"]):
            told = invoke("run", str(code), "--shape", "6x4", "--hints", "verdict", "--format", form.value, *options)
            assert told.status == 1
            for word in ("should be", "route through", "line 1", "dvar", "numeric -"):
                assert word not in told.out
    assert "should be" in invoke("run", str(code), "--shape", "6x4").out


def test_an_option_given_twice_is_a_matrix(invoke: Invoke) -> None:
    outcome = invoke("run", "--shape", "4x5", "--shape", "3x2", "--seed", "1", "--seed", "7", "--format", "json")
    labels = [case["label"] for case in json.loads(outcome.out)["cases"]]
    assert labels == ["4x5 seed=1", "4x5 seed=7", "3x2 seed=1", "3x2 seed=7"]


def test_neither_file_nor_shape_is_refused(invoke: Invoke) -> None:
    outcome = invoke("run")
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err == (
        "error: nothing is named, and there is no bncheck.yaml here; type, for example:\n"
        "  bncheck run layers.py        your forward and backward, found in the file\n"
        "  bncheck run --shape 32x64    ours, on one shape\n"
        "  bncheck init layers.py       a bncheck.yaml for what is in the file, to begin with\n"
    )


def test_a_config_of_the_usual_name_is_run_where_nothing_is_named(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "bncheck.yaml").write_text("shape: 4x5\n", encoding="utf-8")
    for command in ("run", "power"):
        found = json.loads(invoke(command, "--format", "json").out)
        assert [(case["label"], case["source"]) for case in found["cases"]] == [("4x5 seed=0", "bncheck.yaml")]
    beside = json.loads(invoke("run", "--shape", "3x2", "--format", "json").out)
    assert [case["label"] for case in beside["cases"]] == ["3x2 seed=0"]


def test_the_command_alone_says_what_to_type(invoke: Invoke) -> None:
    outcome = invoke()
    assert outcome.status == 2
    assert outcome.out.startswith(
        "Type, for example:\n"
        "  bncheck run layers.py        your forward and backward, found in the file\n"
        "  bncheck run --shape 32x64    ours, on one shape\n"
        "  bncheck init layers.py       a bncheck.yaml for what is in the file, to begin with\n"
        "\nUsage: bncheck"
    )
    assert "\n  inspect  " in outcome.out


def test_the_quickstart_is_what_is_built_in() -> None:
    quickstart = config.read(TOP / "configs" / "quickstart.yaml")
    built_in = config.from_overrides([*config.QUICKSTART])
    assert [replace(case, source="") for case in quickstart] == built_in


def test_an_override_that_is_wrong_is_refused_as_it_would_be_in_a_file(invoke: Invoke) -> None:
    outcome = invoke("run", "--shape", "4x5", "--set", "mode=trian")
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err == (
        "error: mode is 'trian', expected train or eval\n"
        "  --> --set mode=trian\n"
        "  | mode=trian\n"
        "  |      ^^^^^ did you mean 'train'?\n"
    )


def test_mistakes_in_several_files_are_all_reported(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("shape: [4, 5]\nseed: -1\n")
    (tmp_path / "two.yaml").write_text("shape: [4, 5]\neps: -1\n")
    outcome = invoke("run", "one.yaml", "two.yaml")
    assert outcome.status == 2
    assert "--> one.yaml:2:7" in outcome.err
    assert "--> two.yaml:2:6" in outcome.err


# --- what cases are blind to -----------------------------------------------------------------------------------

ONES = ("run", "--shape", "65x67", "--set", "dout=ones")
ONES_TOLD = """\
BLIND  65x67 seed=0
  dout is ones, so dx is zero: 47 faults in x cannot show; use dout: normal
  dout is ones, so dgamma is zero: 11 faults in gamma cannot show; use dout: normal
"""
BRIEFLY_TOLD = """\
BLIND  65x67 seed=0
  dout is ones, so dx is zero: 47 faults in x cannot show; use dout: normal
  and 12 more faults for other reasons; -v or --format json has them all
"""
REST_TOLD = "  dout is ones, so a forgotten dout is no change: 1 fault in beta cannot show; use dout: normal\n"
DEMANDED = "  this config demands sight (blind: fail), so the run fails\n"


def said_of_blindness(outcome: Outcome) -> str:
    """From the first case that is blind to the last line, without the seconds."""
    return outcome.out[outcome.out.find("BLIND") :].rpartition(" in ")[0]


def test_a_run_says_what_its_cases_could_not_have_shown(invoke: Invoke) -> None:
    outcome = invoke(*ONES)
    assert (outcome.status, outcome.err) == (0, "")
    assert said_of_blindness(outcome) == f"{BRIEFLY_TOLD}\n1 passed"


def test_v_tells_every_reason(invoke: Invoke) -> None:
    assert said_of_blindness(invoke(*ONES, "-v")) == f"{ONES_TOLD}{REST_TOLD}\n1 passed"


def test_q_says_nothing_of_it_unless_sight_is_demanded(invoke: Invoke) -> None:
    quiet = invoke(*ONES, "-q")
    assert (quiet.status, "BLIND" in quiet.out) == (0, False)
    demanded = invoke(*ONES, "-q", "--set", "blind=fail")
    assert demanded.status == 1
    assert said_of_blindness(demanded) == f"{BRIEFLY_TOLD}{DEMANDED}\n1 passed, 1 blind"


def test_a_config_that_demands_sight_fails_where_a_case_is_blind(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("shape: 16x8\nblind: fail\ncases: [{dout: [ones, normal]}, {dout: zeros}]\n")
    outcome = invoke("run", "c.yaml")
    assert outcome.status == 1
    assert outcome.out.count(DEMANDED) == 2
    assert " 3 passed, 2 blind in " in f" {outcome.out.splitlines()[-1]}"


def test_a_config_that_demands_sight_passes_where_nothing_is_blind(invoke: Invoke) -> None:
    outcome = invoke("run", str(TOP / "configs" / "quickstart.yaml"), "--set", "blind=fail")
    assert outcome.status == 0
    assert "lind" not in outcome.out
    assert outcome.out.splitlines()[-1].startswith("9 passed in ")


def test_fail_fast_stops_at_a_blind_case_where_sight_is_demanded(invoke: Invoke) -> None:
    arguments = ("run", "--shape", "16x8", "--set", "dout=[normal, ones, one-hot]", "--fail-fast")
    assert invoke(*arguments).status == 0
    outcome = invoke(*arguments, "--set", "blind=fail")
    assert outcome.status == 1
    assert outcome.out.splitlines()[-1].startswith("2 passed, 1 blind, 1 not run (fail-fast) in ")


def test_the_json_has_all_that_a_case_is_blind_to(invoke: Invoke) -> None:
    outcome = invoke(*ONES, "--format", "json", "--set", "blind=fail")
    found = json.loads(outcome.out)
    assert (outcome.status, found["status"]["name"], found["counts"]["pass"]) == (1, "failed", 1)
    (case,) = found["cases"]
    assert [f"  {group['sentence']}\n" for group in case["blind"]] == [
        *(f"{line}\n" for line in ONES_TOLD.splitlines()[1:]),
        REST_TOLD,
    ]
    assert [len(group["faults"]) for group in case["blind"]] == [47, 11, 1]
    assert "no-var-route" not in case["blind"][1]["faults"]


def test_a_case_that_is_skipped_is_not_called_blind(invoke: Invoke) -> None:
    arguments = ("--set", "dtype=[float64, float16]", "--set", "x.mean=1e6", "--set", "blind=fail")
    outcome = invoke("run", "--shape", "16x8", *arguments, "--format", "json")
    assert [(case["verdict"], case["blind"]) for case in json.loads(outcome.out)["cases"]] == [
        ("pass", []),
        ("skipped", []),
    ]
    assert outcome.status == 0


CURES = {
    "use dout: normal",
    "use dtype: float64",
    "use mode: train",
    "use x: {like: normal, std: 0.02}",
    "use x: {like: normal, std: 6e-6}",
}


def unseen_by_cure(outcome: Outcome) -> dict[tuple[str, str], set[str]]:
    """The faults that are invisible, by the words of the case that no cure changes, and by the cure."""
    found: dict[tuple[str, str], set[str]] = {}
    for case in json.loads(outcome.out)["cases"]:
        told = case["case"]
        for group in case["blind"]:
            key = (f"{told['name']} {told['shape']} {told['seed']}", group["cure"])
            found.setdefault(key, set()).update(group["faults"])
    return found


@pytest.mark.slow
def test_every_cure_that_a_config_is_told_cures_what_it_is_told_for(invoke: Invoke) -> None:
    regimes = ("run", str(TOP / "configs" / "regimes.yaml"), "--format", "json")
    before = unseen_by_cure(invoke(*regimes))
    assert {cure for _, cure in before} == CURES
    for cure in CURES:
        left: dict[str, set[str]] = {}
        for (case, _), faults in unseen_by_cure(
            invoke(*regimes, "--set", cure.removeprefix("use ").replace(": ", "=", 1))
        ).items():
            left.setdefault(case, set()).update(faults)
        cured = {case: faults for (case, told), faults in before.items() if told == cure}
        assert not {case: seen for case, faults in cured.items() if (seen := faults & left.get(case, set()))}, cure


def test_blind_is_allow_or_fail(invoke: Invoke) -> None:
    outcome = invoke(*ONES, "--set", "blind=no")
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.startswith("error: blind is 'no', expected allow or fail\n")


# --- selection -------------------------------------------------------------------------------------------------


def labels_of(outcome: Outcome) -> list[str]:
    return [case["label"] for case in json.loads(outcome.out)["cases"]]


def test_k_selects_the_cases_with_every_word_in_any_case_and_order(invoke: Invoke) -> None:
    arguments = ["run", "--shape", "4x5", "--set", "dtype=[float64, float32]", "--set", "seeds=12", "--format", "json"]
    assert labels_of(invoke(*arguments, "-k", "SEED=1 float32")) == [
        "4x5 dtype=float32 seed=1",
        "4x5 dtype=float32 seed=10",
        "4x5 dtype=float32 seed=11",
    ]


def test_k_with_a_whole_label_selects_just_that_case(invoke: Invoke) -> None:
    arguments = ["run", "--shape", "4x5", "--set", "seeds=12", "--format", "json"]
    assert labels_of(invoke(*arguments, "-k", "4x5 seed=1")) == ["4x5 seed=1"]


def test_k_that_selects_nothing_is_refused(invoke: Invoke) -> None:
    outcome = invoke("run", "--shape", "4x5", "--set", "seeds=5", "-k", "nothing")
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err == (
        "error: -k 'nothing' selects none of the 5 cases; "
        "their labels are '4x5 seed=0', '4x5 seed=1', '4x5 seed=2', and 2 more\n"
    )


def test_the_command_that_repeats_a_failure_repeats_just_that(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "my checks.yaml").write_text("name: it's odd\nshape: [4, 5]\nseeds: 11\neps: [1e-5, 1e-3]\n")
    failed = invoke("run", "my checks.yaml", "--set", "rtol=1e-18", "--fail-fast", "-k", "seed=1", "--format", "json")
    repeat = json.loads(failed.out)["cases"][0]["repeat"]
    assert repeat == "bncheck run 'my checks.yaml' --set rtol=1e-18 -k 'it'\"'\"'s odd 4x5 eps=1e-05 seed=1'"
    again = invoke(*shlex.split(repeat)[1:], "--format", "json")
    assert labels_of(again) == ["it's odd 4x5 eps=1e-05 seed=1"]
    assert json.loads(again.out)["cases"][0]["nodes"] == json.loads(failed.out)["cases"][0]["nodes"]


def test_fail_fast_stops_at_the_first_failure_and_says_what_was_left(invoke: Invoke) -> None:
    outcome = invoke("run", "--shape", "4x5", "--set", "seeds=4", "--set", "rtol=1e-18", "--fail-fast")
    assert outcome.status == 1
    assert "3 not run (fail-fast)" in outcome.out.splitlines()[-1]


# --- forms of the report ---------------------------------------------------------------------------------------


def test_output_has_the_report_in_the_form_asked_for_and_stdout_the_table(invoke: Invoke, tmp_path: Path) -> None:
    outcome = invoke("run", "--shape", "4x5", "--format", "json", "--output", "report.json")
    assert outcome.out.startswith("4x5 seed=0  reference")
    assert json.loads((tmp_path / "report.json").read_text())["status"]["code"] == 0


def test_output_as_a_table_is_plain_text(invoke: Invoke, tmp_path: Path) -> None:
    outcome = invoke("run", "--shape", "4x5", "--output", "report.txt", "--color", "always")
    assert "\x1b[" in outcome.out
    text = (tmp_path / "report.txt").read_text()
    assert text.startswith("4x5 seed=0  reference")
    assert "\x1b[" not in text


def test_output_that_cannot_be_written_is_refused_before_the_work(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "check_with_sight", lambda *_: pytest.fail("worked first"))
    outcome = invoke("run", "--shape", "4x5", "--output", "nowhere/report.json")
    assert outcome.status == 2
    assert outcome.err == "error: nowhere/report.json cannot be written: No such file or directory\n"


def test_quiet_leaves_one_line_where_everything_passes(invoke: Invoke) -> None:
    outcome = invoke("run", "--shape", "4x5", "--set", "seeds=3", "-q")
    (line,) = outcome.out.splitlines()
    assert line.startswith("3 passed in ")


def test_verbose_shows_every_case_node_by_node(invoke: Invoke) -> None:
    outcome = invoke("run", "--shape", "4x5", "--set", "seeds=3", "-v")
    assert [line for line in outcome.out.splitlines() if line.startswith("4x5 seed=1  reference")]
    assert sum(line.startswith("gamma ") for line in outcome.out.splitlines()) == 3


# --- exit statuses ---------------------------------------------------------------------------------------------


def test_a_failure_is_exit_status_1(invoke: Invoke) -> None:
    assert invoke("run", "--shape", "4x5", "--set", "rtol=1e-18").status == 1


def test_nothing_but_skipped_cases_is_exit_status_2(invoke: Invoke) -> None:
    outcome = invoke("run", "--shape", "4x5", "--set", "x.std=1e200")
    assert outcome.status == 2
    assert outcome.out.splitlines()[-1].startswith("1 skipped; every case was skipped, so nothing was checked in ")


def test_wrong_usage_is_exit_status_2(invoke: Invoke) -> None:
    assert invoke("run", "--no-such-option").status == 2


def test_a_bug_of_ours_is_exit_status_3_with_its_traceback(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> CaseReport:
        raise ZeroDivisionError("one of ours")

    monkeypatch.setattr(checking, "check_with_sight", broken)
    outcome = invoke("run", "--shape", "4x5")
    assert outcome.status == 3
    assert "ZeroDivisionError: one of ours" in outcome.err
    assert outcome.err.endswith("This is a bug in bncheck; please report it with the lines above.\n")


def test_an_interrupt_reports_what_was_checked_by_then(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted_at_seed_2(case: Case, *rest: object) -> CaseReport:
        if case.seed == 2:
            raise KeyboardInterrupt
        return real_check(case, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(checking, "check_with_sight", interrupted_at_seed_2)
    outcome = invoke("run", "--shape", "4x5", "--set", "seeds=5")
    assert outcome.status == 130
    assert outcome.out.splitlines()[-1].startswith("2 passed, 3 not run (interrupted) in ")
    assert outcome.err == "interrupted after 2 of 5 cases\n"


def test_an_interrupt_before_the_work_is_exit_status_130(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "from_configs", interrupted)
    assert invoke("run", "--shape", "4x5").status == 130


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals are sent as POSIX does")
def test_control_c_in_mid_run_ends_it_with_130_and_no_traceback() -> None:
    command = [sys.executable, "-m", "bncheck", "run", "--shape", "4000x64", "--set", "seeds=50"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(TOP)}
    ) as running:
        time.sleep(2)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "not run (interrupted)" in out
    assert "of 50 cases" in err
    assert "Traceback" not in err


# --- terminals and pipes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        ((), {}),
        ((), {"NO_COLOR": "1", "FORCE_COLOR": "1"}),
        (("--color", "never"), {"FORCE_COLOR": "1"}),
        ((), {"TERM": "dumb"}),
    ],
    ids=["a pipe", "NO_COLOR", "--color never", "TERM=dumb"],
)
def test_no_colour_where_none_is_wanted(arguments: tuple[str, ...], environment: dict[str, str]) -> None:
    ended = process("run", "configs/quickstart.yaml", *arguments, **environment)
    assert ended.returncode == 0
    assert "\x1b[3" not in ended.stdout


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [(("--color", "always"), {}), ((), {"FORCE_COLOR": "1"})],
    ids=["--color always", "FORCE_COLOR"],
)
def test_colour_in_a_pipe_where_it_is_asked_for(arguments: tuple[str, ...], environment: dict[str, str]) -> None:
    ended = process("run", "configs/quickstart.yaml", *arguments, TERM="xterm-256color", **environment)
    assert "\x1b[32m" in ended.stdout


def test_a_pipe_gets_every_label_and_number_whole_on_one_line_each() -> None:
    ended = process("run", "--shape", "32x64", "--set", "seeds=2", "--set", "eps=[1e-5, 1e-12]", COLUMNS="20")
    rows = [line for line in ended.stdout.splitlines() if line.startswith("32x64")]
    assert [line.split()[:3] for line in rows] == [
        ["32x64", f"eps={eps}", f"seed={seed}"] for eps in ("1e-05", "1e-12") for seed in (0, 1)
    ]
    assert all(len(line.split()) == 9 for line in rows)
    assert not any(line.endswith(" ") for line in ended.stdout.splitlines())
    assert "…" not in ended.stdout


def test_names_are_never_read_as_markup(tmp_path: Path) -> None:
    config = tmp_path / "odd.yaml"
    config.write_text("name: '[red]x[/red] :smile: 🙂'\nshape: [4, 5]\nseeds: 2\n", encoding="utf-8")
    ended = process("run", str(config), PYTHONUTF8="1")
    assert "[red]x[/red] :smile: 🙂 4x5 seed=1" in ended.stdout


def test_a_terminal_that_knows_only_ascii_gets_ascii(tmp_path: Path) -> None:
    config = tmp_path / "odd.yaml"
    config.write_text("name: naïve 🙂\nshape: [4, 5]\nseeds: 2\n", encoding="utf-8")
    ended = process("run", str(config), PYTHONIOENCODING="ascii")
    assert ended.returncode == 0
    assert ended.stdout.isascii()
    assert r"na\xefve \U0001f642 4x5 seed=1" in ended.stdout


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell")
def test_a_reader_that_has_seen_enough_does_not_change_the_verdict() -> None:
    command = (
        f"{shlex.quote(sys.executable)} -m bncheck run --shape 2x2 --set seeds=1500 | head -1; echo ${{PIPESTATUS[0]}}"
    )
    ended = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(TOP)}, check=False
    )
    assert ended.stdout.splitlines() == ["Relative error of the gradient at each node", "0"]
    assert ended.stderr == ""


# --- start-up --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_version_and_help_import_neither_numpy_nor_yaml(option: str) -> None:
    look = (
        "import sys, bncheck.__main__ as start\n"
        f"sys.argv = ['bncheck', '{option}']\n"
        "try: start.main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'numpy', 'yaml', 'msgspec', 'rich'} & set(sys.modules)), file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", look],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TOP)},
        check=True,
    )
    assert ended.stderr == "[]\n"
    assert "bncheck" in ended.stdout


def test_version_does_not_import_typing() -> None:
    look = "import sys, bncheck.__main__; print('typing' in sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-S", "-c", look],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(bncheck.__file__).parents[1])},
        check=True,
    )
    assert ended.stdout == "False\n"


def test_version_is_the_version_of_the_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bncheck", "--version"])
    __main__.main()
    assert capsys.readouterr().out == f"bncheck {__version__}\n"


def test_version_among_other_arguments_is_still_the_version(invoke: Invoke) -> None:
    assert invoke("--version", "run") == Outcome(0, f"bncheck {__version__}\n", "")


def test_main_starts_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bncheck", "run", "--shape", "2x2", "-q"])
    with pytest.raises(SystemExit) as ended:
        __main__.main()
    assert ended.value.code == 0


def test_help_has_the_exit_statuses(invoke: Invoke) -> None:
    shown = " ".join(invoke("--help").out.split())
    assert "2: Nothing was checked: a mistake in the arguments or the config, or nothing selected." in shown


def test_schema_prints_the_schema_that_is_shipped(invoke: Invoke) -> None:
    shipped = json.loads((TOP / "configs" / "bncheck.schema.json").read_text())
    assert json.loads(invoke("schema").out) == shipped
