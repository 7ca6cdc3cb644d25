"""The command line with somebody's code: what is found and said, in which regimes. Hazards are in test_remote.py."""

from __future__ import annotations

import io
import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import test_cli
from tests.test_cli import Invoke, Outcome, process
from tests.test_discovery import LAYERS, MEMBERS

TOP = Path(__file__).parents[1]
ZOO = TOP / "tests" / "zoo"
REGIMES = TOP / "configs" / "regimes.yaml"
ROWS = ["out", "beta", "gamma", "mean", "var", "x"]
CONFIG = "shapes: [[6, 4], [13, 4], [7, 3], [3, 2, 2, 3]]\n"
WRONG = LAYERS.replace("- x_hat * (dx_hat * x_hat)", "+ x_hat * (dx_hat * x_hat)")

EVAL = """
import numpy as np


class Layer:
    def __init__(self, gamma, beta, running_mean, running_var, eps):
        self.gamma, self.beta, self.mean, self.std = gamma, beta, running_mean, np.sqrt(running_var + eps)

    def forward(self, x):
        self.x_hat = (x - self.mean) / self.std
        return self.gamma * self.x_hat + self.beta

    def backward(self, dout):
        return dout * self.gamma / self.std, (dout * self.x_hat).sum(axis=0), dout.sum(axis=0)
"""
TOLD = (
    "implementation={file: layers.py, forward: \"batchnorm_forward(x, gamma, beta, {'mode': 'train', 'eps': eps}) -> "
    'out, cache", backward: "batchnorm_backward(dout, cache) -> dx, dgamma, dbeta"}'
)

invoke = test_cli.invoke  # the fixture


@pytest.fixture
def run(invoke: Invoke, tmp_path: Path) -> Iterator[Invoke]:
    """`bncheck run checks.yaml`, with an import path that is put back."""
    (tmp_path / "checks.yaml").write_text(CONFIG, encoding="utf-8")
    before = list(sys.path)
    yield lambda *arguments: invoke("run", "checks.yaml", *arguments)
    sys.path[:] = before


def write(folder: Path, source: str, name: str = "layers.py") -> None:
    (folder / name).write_text(source, encoding="utf-8")


def cases_of(outcome: Outcome) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(outcome.out)["cases"]
    return found


def verdicts(outcome: Outcome) -> list[tuple[str, str]]:
    return [(case["label"], case["verdict"]) for case in cases_of(outcome)]


# --- what is found -----------------------------------------------------------------------------------------------


def test_a_course_file_is_checked_from_one_line_each_member_on_its_shapes(run: Invoke, tmp_path: Path) -> None:
    write(tmp_path, LAYERS)
    outcome = run("-i", "layers.py", "--format", "json")
    assert (outcome.status, outcome.err) == (0, "")
    dense = [f"{member} {shape} seed=0" for shape in ("6x4", "13x4", "7x3") for member in MEMBERS[:2]]
    assert verdicts(outcome) == [(label, "pass") for label in [*dense, f"{MEMBERS[2]} 3x2x2x3 seed=0"]]
    assert all(list(case["nodes"]) == ROWS for case in cases_of(outcome))


def test_the_quickstart_checks_it_in_twelve_cases(invoke: Invoke, tmp_path: Path) -> None:
    write(tmp_path, LAYERS)
    outcome = invoke("run", str(TOP / "configs" / "quickstart.yaml"), "-i", "layers.py")
    assert outcome.status == 0
    assert outcome.out.splitlines()[-1].startswith("12 passed in ")


def test_the_name_of_a_member_selects_its_cases(run: Invoke, tmp_path: Path) -> None:
    write(tmp_path, LAYERS)
    outcome = run("-i", "layers.py", "-k", "alt 6x4", "--format", "json")
    assert verdicts(outcome) == [("batchnorm_backward_alt 6x4 seed=0", "pass")]


def test_the_command_that_repeats_a_failure_repeats_just_that(run: Invoke, invoke: Invoke, tmp_path: Path) -> None:
    write(tmp_path, WRONG)
    failed = [case for case in cases_of(run("-i", "layers.py", "--format", "json")) if case["verdict"] == "fail"]
    assert [case["label"].split()[0] for case in failed] == [MEMBERS[0], MEMBERS[0], MEMBERS[0], MEMBERS[2]]
    label = "batchnorm_backward 6x4 seed=0"
    assert failed[0]["repeat"] == f"bncheck run checks.yaml -i layers.py -k '{label}'"
    (again,) = cases_of(invoke(*shlex.split(failed[0]["repeat"])[1:], "--format", "json"))
    assert (again["label"], again["nodes"]) == (label, failed[0]["nodes"])


def test_a_file_alone_is_checked_on_the_built_in_shapes_that_it_takes(invoke: Invoke, tmp_path: Path) -> None:
    write(tmp_path, WRONG)
    spellings = [("layers.py",), ("-i", "layers.py")]
    first, second = (cases_of(invoke("run", *words, "--format", "json")) for words in spellings)
    assert [case["label"] for case in first] == [case["label"] for case in second]
    taken = {(case["case"]["member"], len(case["case"]["shape"])) for case in first}
    assert taken == {(MEMBERS[0], 2), (MEMBERS[1], 2), (MEMBERS[2], 4)}
    assert {case["verdict"] for case in first} == {"pass", "fail"}


def test_a_built_in_shape_that_nothing_in_a_file_takes_is_left_out(invoke: Invoke, tmp_path: Path) -> None:
    write(tmp_path, LAYERS)
    dense = cases_of(invoke("run", f"layers.py:{MEMBERS[0]}", "--format", "json"))
    assert {(len(case["case"]["shape"]), case["verdict"]) for case in dense} == {(2, "pass")}
    asked = cases_of(invoke("run", f"layers.py:{MEMBERS[0]}", "--shape", "3x2x2x3", "--format", "json"))
    assert [case["verdict"] for case in asked] == ["skipped"]


def test_a_file_that_takes_no_built_in_shape_says_so(invoke: Invoke, tmp_path: Path) -> None:
    write(tmp_path, LAYERS)
    outcome = invoke("run", "--set", TOLD.removesuffix("}") + ", axes: 3}", "--format", "json")
    assert outcome.status == 2
    reasons = {case["reason"] for case in cases_of(outcome)}
    assert "batchnorm_backward takes (N, C, L); shape 65x67 has 2 axes" in reasons
    assert len(reasons) == 3


def test_the_command_that_repeats_a_case_without_a_config_is_short(invoke: Invoke, tmp_path: Path) -> None:
    write(tmp_path, WRONG)
    told = ("run", "layers.py", "--set", "eps=1e-3", "--format", "json")
    failed = [case for case in cases_of(invoke(*told)) if case["verdict"] == "fail"]
    assert failed[0]["repeat"] == f"bncheck run -i layers.py:{MEMBERS[0]} --set eps=1e-3 --shape 65x67"
    assert failed[1]["repeat"] == f"bncheck run -i layers.py:{MEMBERS[0]} --set eps=1e-3 --shape 65x67 --seed 1"
    (again,) = cases_of(invoke(*shlex.split(failed[1]["repeat"])[1:], "--format", "json"))
    assert again["nodes"] == failed[1]["nodes"]


def test_the_json_has_the_variant_what_is_implied_and_what_was_printed(run: Invoke, tmp_path: Path) -> None:
    write(tmp_path, LAYERS.replace("x.var(axis=0)", "x.var(axis=0, ddof=1) + (print('hello') or 0)"))
    outcome = run("-i", "layers.py", "-k", "alt 6x4", "--format", "json")
    (case,) = cases_of(outcome)
    assert case["note"] == "unbiased variance: it divides by n - 1"
    assert set(case["output"].splitlines()) == {"hello"}
    implied = [node for node, row in case["nodes"].items() if row["implied"]]
    assert implied == ["mean", "var"]


@pytest.mark.slow
@pytest.mark.parametrize("source", [LAYERS, WRONG], ids=["right", "wrong"])
def test_what_inspect_prints_gives_the_same_verdicts_when_it_is_pasted(
    invoke: Invoke,
    run: Invoke,
    tmp_path: Path,
    source: str,
) -> None:
    write(tmp_path, source)
    seen = invoke("inspect", "layers.py")
    assert (seen.status, seen.err) == (0, "")
    recognised = cases_of(run("-i", "layers.py", "--format", "json"))
    mappings = [f"implementation:\n{part}" for part in seen.out.split("implementation:\n")[1:]]
    assert len(mappings) == 3
    for member, mapping in zip(MEMBERS, mappings, strict=True):
        shape = "[3, 2, 2, 3]" if member.startswith("spatial") else "[6, 4]"
        (tmp_path / "pasted.yaml").write_text(f"shape: {shape}\n{mapping}", encoding="utf-8")
        (pasted,) = cases_of(invoke("run", "pasted.yaml", "--format", "json"))
        same = next(case for case in recognised if case["label"] == f"{member} {pasted['label']}")
        assert (pasted["verdict"], pasted["nodes"]) == (same["verdict"], same["nodes"])


# --- nothing to check --------------------------------------------------------------------------------------------

REFUSALS = {
    "nothing in it": ("x = 1\n", "error: nothing in layers.py is recognised as batch normalisation"),
    "a missing module": ("import no_such_module\n", "error: nothing in layers.py is recognised as batch normalisation"),
    "a syntax error": ("def f(:\n", "layers.py:1:7 does not parse: invalid syntax, in `def f(:`; it must run to be "),
    "Python 2": ('\nprint "hello"\n', "layers.py:2 is Python 2 (print statement); bncheck runs Python 3: convert it "),
    "an import that leaves": ("import sys\nsys.exit(0)\n", "layers.py:2 called sys.exit(0) when it was imported; "),
    "an import that hangs": ("while True:\n    pass\n", "error: layers.py cannot be looked at: layers.py:"),
    "an import that crashes": ("import os\nos._exit(0)\n", "error: layers.py cannot be looked at: it ended the "),
}


@pytest.mark.slow
@pytest.mark.parametrize(("source", "says"), REFUSALS.values(), ids=REFUSALS)
def test_where_nothing_can_be_checked_one_message_says_why(run: Invoke, tmp_path: Path, source: str, says: str) -> None:
    write(tmp_path, source)
    outcome = run("-i", "layers.py", "--set", "timeout=1")
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.removeprefix("error: ").startswith(says.removeprefix("error: "))
    assert outcome.err.count("layers.py") <= 2
    assert "Traceback" not in outcome.err


def test_inspect_of_a_file_with_nothing_gives_a_mapping_that_the_config_takes(invoke: Invoke, tmp_path: Path) -> None:
    write(tmp_path, "x = 1\n")
    outcome = invoke("inspect", "layers.py")
    assert (outcome.status, outcome.out) == (2, "")
    mapping = outcome.err.partition("# To fill in:\n")[2]
    assert list(yaml.safe_load(mapping)["implementation"])[:2] == ["file", "create"]
    (tmp_path / "pasted.yaml").write_text(f"shape: [6, 4]\n{mapping}", encoding="utf-8")
    assert "name" in invoke("run", "pasted.yaml").out


NOTE = "note: no_such_module is not installed; a stand-in takes its place"


def test_what_was_made_up_for_at_the_import_is_told_once(run: Invoke, tmp_path: Path) -> None:
    write(tmp_path, f"import no_such_module\n{LAYERS}")
    outcome = run("-i", "layers.py")
    assert outcome.out.count("note: ") == 1
    assert outcome.out.startswith(f"{NOTE}\n")
    notes = {
        note
        for case in cases_of(run("-i", "layers.py", "--format", "json"))
        for note in case["case"]["origin"]["notes"]
    }
    assert notes == {NOTE.removeprefix("note: ")}


def test_quiet_tells_nothing_of_the_import(run: Invoke, tmp_path: Path) -> None:
    write(tmp_path, f"import no_such_module\n{LAYERS}")
    assert "note:" not in run("-i", "layers.py", "-q").out


# --- what it prints ----------------------------------------------------------------------------------------------

PRINTING = 'print("at import")\n' + WRONG.replace("    N, D = x.shape", '    N, D = x.shape\n    print("forward", N)')


def test_what_is_printed_is_shown_with_the_failure_and_nowhere_else(run: Invoke, tmp_path: Path) -> None:
    write(tmp_path, PRINTING)
    outcome = run("-i", "layers.py")
    assert outcome.status == 1
    assert outcome.err == ""
    assert "at import" not in outcome.out
    table, _, stories = outcome.out.partition("\nFAIL  ")
    assert "forward" not in table.replace("spatial_batchnorm_forward", "")
    assert stories.count("it printed:\n    forward ") == 2
    assert "alt" not in stories


def test_json_on_stdout_is_json_whatever_they_print(run: Invoke, tmp_path: Path) -> None:
    write(tmp_path, PRINTING)
    for way in ([], ["--in-process"]):
        assert len(cases_of(run("-i", "layers.py", "--format", "json", *way))) == 7


def test_in_this_process_the_verdicts_are_the_same(run: Invoke, tmp_path: Path) -> None:
    write(tmp_path, WRONG)
    here = run("-i", "layers.py", "--format", "json", "--in-process")
    assert verdicts(here) == verdicts(run("-i", "layers.py", "--format", "json"))
    assert here.status == 1


def test_in_this_process_an_exit_of_theirs_is_not_a_pass(run: Invoke, tmp_path: Path) -> None:
    write(tmp_path, LAYERS.replace("    x_hat, std, gamma = cache\n", "    raise SystemExit(0)\n"))
    assert run("-i", "layers.py", "--in-process").status != 0


@pytest.mark.slow
@pytest.mark.parametrize("command", [("run", "--shape", "4x5", "-i"), ("inspect",)], ids=["run", "inspect"])
def test_in_this_process_what_refers_to_itself_is_collected(tmp_path: Path, command: tuple[str, ...]) -> None:
    write(tmp_path, LAYERS + "\n\nimport gc\n\nif not gc.isenabled():\n    raise MemoryError('nobody collects')\n")
    ended = process(*command, str(tmp_path / "layers.py"), "--in-process")
    assert (ended.returncode, ended.stderr) == (0, "")


# --- regimes -----------------------------------------------------------------------------------------------------

STYLES = [
    "functions/course_staged.py",
    "functions/einsum.py",
    "functions/columns.py",
    "functions/images_channel_loop.py",
    "functions/unbiased.py",
    "classes/plain.py",
    "classes/loops.py",
    "classes/any_rank.py",
    "triples/plain.py",
    "plain/no_parameters.py",
]


@pytest.mark.slow
@pytest.mark.parametrize("file", STYLES)
def test_right_code_raises_no_false_alarm_in_any_regime(invoke: Invoke, file: str) -> None:
    outcome = invoke("run", str(REGIMES), "-i", str(ZOO / file), "--format", "json")
    alarms = [case for case in cases_of(outcome) if case["verdict"] not in ("pass", "skipped")]
    assert [(case["label"], case["reason"], case["nodes"]) for case in alarms] == []
    assert outcome.status == 0


@pytest.mark.parametrize("file", ["functions/one_pass.py", "classes/one_pass.py"])
def test_a_variance_in_one_pass_is_said_to_lose_digits_and_never_to_be_wrong(invoke: Invoke, file: str) -> None:
    outcome = invoke("run", str(REGIMES), "-i", str(ZOO / file), "--format", "json")
    for case in cases_of(outcome):
        failed = [row for row in case["nodes"].values() if row["verdict"] == "fail"]
        assert all("roundoff, not a wrong formula: " in (row["note"] or "") for row in failed), case["label"]


# --- what cases are blind to ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", [(), ("--in-process",)], ids=["worker", "in process"])
def test_blindness_comes_back_with_the_verdict(run: Invoke, tmp_path: Path, where: tuple[str, ...]) -> None:
    write(tmp_path, LAYERS)
    arguments = ("-i", "layers.py", "-k", "batchnorm_backward 7x3", "--set", "dout=ones", *where)
    (case, _) = cases_of(run(*arguments, "--format", "json"))
    assert [row["implied"] for row in case["nodes"].values()] == [False, False, False, True, True, False]
    assert [group["sentence"] for group in case["blind"]] == [
        "dout is ones, so dx is zero: 60 faults in x cannot show; use dout: normal",
        "dout is ones, so dgamma is zero: 11 faults in gamma cannot show; use dout: normal",
        "dout is ones, so a forgotten dout is no change: 1 fault in beta cannot show; use dout: normal",
    ]
    outcome = run(*arguments, "--set", "blind=fail", "-q")
    assert outcome.status == 1
    assert outcome.out.splitlines()[-1].startswith("2 passed, 2 blind in ")
    assert "\n  this config demands sight (blind: fail), so the run fails\n" in outcome.out


def test_running_statistics_leave_the_routes_through_the_batch_unseen(run: Invoke, tmp_path: Path) -> None:
    write(tmp_path, EVAL)
    mapping = (
        "implementation={file: layers.py, create: 'Layer(gamma, beta, running_mean, running_var, eps)', "
        "forward: self.forward(x) -> out, backward: 'self.backward(dout) -> dx, dgamma, dbeta'}"
    )
    (case,) = cases_of(run("-k", "7x3", "--set", mapping, "--set", "mode=eval", "--format", "json"))
    assert case["verdict"] == "pass"
    assert [case["nodes"][node]["verdict"] for node in ("mean", "var")] == ["skipped", "skipped"]
    assert [group["sentence"] for group in case["blind"]] == [
        "mean and var are constants in eval mode, so dx is the direct route alone: 54 faults in x cannot show; "
        "use mode: train"
    ]


def test_nothing_is_said_of_what_a_forward_that_nobody_knows_could_show(run: Invoke, tmp_path: Path) -> None:
    write(tmp_path, LAYERS.replace("return gamma * x_hat + beta, (", "return gamma * x_hat * 1.5 + beta, ("))
    (tmp_path / "told.yaml").write_text(TOLD, encoding="utf-8")
    arguments = ("--set", "dout=ones", "--set", "blind=fail", "--format", "json")
    (case,) = cases_of(run("-k", "7x3", "--set", TOLD, *arguments))
    assert (case["verdict"], case["blind"]) == ("fail", [])


def test_a_gradient_that_is_not_given_is_said_to_show_nothing(run: Invoke, tmp_path: Path) -> None:
    write(tmp_path, LAYERS)
    without = TOLD.replace("dx, dgamma, dbeta", "dx, _, dbeta")
    (case,) = cases_of(run("-k", "7x3", "--set", without, "--format", "json"))
    assert case["nodes"]["gamma"]["verdict"] == "skipped"
    assert [group["sentence"] for group in case["blind"]] == [
        "there is no dgamma that can be judged: 15 faults in gamma cannot show; let your code give it"
    ]


# --- what cannot be looked at ------------------------------------------------------------------------------------

ALT = """

def batchnorm_backward_alt(dout, cache):
    {strike}
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="how a process ended is told by signals")
@pytest.mark.parametrize(
    ("strike", "reason"),
    [
        ("while True: pass", "batchnorm_backward_alt: it took longer than 2 s and was stopped"),
        ("import ctypes; ctypes.string_at(0)", "batchnorm_backward_alt: the process was ended by SIGSEGV"),
    ],
    ids=["a hang", "a segfault"],
)
def test_an_implementation_that_hangs_or_crashes_when_looked_at_costs_its_own_rows(
    run: Invoke, tmp_path: Path, strike: str, reason: str
) -> None:
    write(tmp_path, LAYERS + ALT.format(strike=strike))
    outcome = run("-i", "layers.py", "--set", "shape=6x4", "--set", "timeout=2", "--format", "json")
    found = dict(verdicts(outcome))
    assert outcome.status == 1
    assert found.pop("batchnorm_backward_alt 6x4 seed=0") == "error"
    assert found == {"batchnorm_backward 6x4 seed=0": "pass"}
    [struck] = [case for case in cases_of(outcome) if case["verdict"] == "error"]
    assert reason in struck["reason"]


@pytest.mark.skipif(sys.platform == "win32", reason="how a process ended is told by signals")
def test_a_file_whose_one_implementation_crashes_when_looked_at_has_rows_of_errors(run: Invoke, tmp_path: Path) -> None:
    write(
        tmp_path,
        "import os\n\n\ndef batchnorm_forward(x, gamma, beta, eps):\n    os._exit(3)\n"
        + ALT.format(strike="return dout, 0, 0"),
    )
    outcome = run("-i", "layers.py", "--set", "shape=6x4", "--set", "timeout=2", "--format", "json")
    assert (outcome.status, [verdict for _, verdict in verdicts(outcome)]) == (1, ["error"])
    assert cases_of(outcome)[0]["reason"] == "it ended the process with status 3 (os._exit)"


# --- init --------------------------------------------------------------------------------------------------------


def test_init_writes_a_config_for_what_is_in_a_file(invoke: Invoke, tmp_path: Path) -> None:
    write(tmp_path, WRONG)
    outcome = invoke("init", "layers.py")
    said = "bncheck.yaml is written, with bncheck.schema.json for editors; bncheck run checks it\n"
    assert (outcome.status, outcome.out, outcome.err) == (0, said, "")
    written = yaml.safe_load((tmp_path / "bncheck.yaml").read_text(encoding="utf-8"))
    assert [entry["name"] for entry in written["cases"]] == list(MEMBERS)
    assert [len(entry["shapes"][0]) for entry in written["cases"]] == [2, 2, 4]
    assert (tmp_path / "bncheck.schema.json").read_text() == (TOP / "configs" / "bncheck.schema.json").read_text()
    found = invoke("run", "--format", "json")
    assert found.status == 1
    assert {case["case"]["member"] for case in cases_of(found) if case["verdict"] == "fail"} == {MEMBERS[0], MEMBERS[2]}


def test_what_init_writes_is_blind_to_nothing(invoke: Invoke, tmp_path: Path) -> None:
    write(tmp_path, LAYERS)
    for place in ((), ("layers.py",)):
        assert invoke("init", *place, "--force").status == 0
        assert invoke("power", "--format", "json").status == 0
        assert invoke("run", "--format", "json").status == 0


def test_init_writes_over_nothing_unless_forced(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "bncheck.yaml").write_text("mine", encoding="utf-8")
    outcome = invoke("init")
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err == "error: bncheck.yaml would be overwritten; say so with --force\n"
    assert (tmp_path / "bncheck.yaml").read_text(encoding="utf-8") == "mine"
    assert not (tmp_path / "bncheck.schema.json").exists()
    assert invoke("init", "--force").status == 0


def test_init_says_that_it_found_nothing(invoke: Invoke, tmp_path: Path) -> None:
    write(tmp_path, "x = 1\n", "nothing.py")
    outcome = invoke("init", "nothing.py")
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err == (
        "error: nothing in nothing.py is recognised as batch normalisation\n"
        "  it has no class or functions with a forward and a backward\n"
    )
    assert not (tmp_path / "bncheck.yaml").exists()


# --- formulas as they are typed ----------------------------------------------------------------------------------

FORMULAS = """\
dbeta = np.sum(dout, axis=0)
dx_hat = dout * gamma
dvar = np.sum(dx_hat * (x - mean) * 0.5 * (var + eps) ** -1.5, axis=0)
dmean = np.sum(-dx_hat / np.sqrt(var + eps), axis=0)
"""


def test_a_file_of_formulas_is_run_and_each_is_told_by_its_row_and_its_line(invoke: Invoke, tmp_path: Path) -> None:
    write(tmp_path, FORMULAS, "formulas.py")
    outcome = invoke("run", "formulas.py", "--shape", "6x4", "--format", "json")
    (case,) = cases_of(outcome)
    assert outcome.status == 1
    assert {name: row["verdict"] for name, row in case["nodes"].items()} == {
        **{"beta": "pass", "dx_hat": "pass", "var": "fail"},
        **{"mean": "pass", "gamma": "skipped", "x": "skipped"},
    }
    assert [row["note"] for row in case["nodes"].values() if row["verdict"] == "skipped"] == [
        *("no formula gives dgamma", "no formula gives dx")
    ]
    (finding,) = case["findings"]
    assert finding["sentence"].startswith("var: dvar has the wrong sign (coefficient -1.000, expected 1)")
    assert [(place["file"], place["line"]) for place in finding["statements"]] == [("formulas.py", 3)]
    assert case["repeat"] == "bncheck run -i formulas.py --shape 6x4"


def test_formulas_on_stdin_are_checked_and_repeated_as_they_came(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(FORMULAS))
    outcome = invoke("run", "-i", "-", "--shape", "6x4")
    assert outcome.status == 1
    assert "in formulas, line 3:  dvar = np.sum(dx_hat" in outcome.out
    assert "repeat: bncheck run -i - --shape 6x4" in outcome.out


def test_what_is_no_formula_is_refused_and_nothing_of_the_file_runs(invoke: Invoke, tmp_path: Path) -> None:
    write(tmp_path, "dbeta = dout.sum(0)\nopen('made', 'w')\nprint('run')\n", "formulas.py")
    outcome = invoke("run", "formulas.py", "--shape", "6x4")
    assert outcome.status == 2
    assert outcome.err == ("error: formulas.py:2 `open('made', 'w')`: open is no function that is known in formulas\n")
    assert not (tmp_path / "made").exists()


def test_inspect_says_how_the_arrays_of_formulas_stand(invoke: Invoke, tmp_path: Path) -> None:
    write(tmp_path, "dbeta = np.sum(dout, axis=0, keepdims=True)\n", "formulas.py")
    outcome = invoke("inspect", "formulas.py")
    assert outcome.status == 0
    assert yaml.safe_load(outcome.out) == {"implementation": "formulas.py"}
    assert "# formulas, of x (n, d) and gamma (1, d)" in outcome.out


def test_a_config_may_have_formulas_in_it(invoke: Invoke, tmp_path: Path) -> None:
    text = "".join(f"  {line}\n" for line in FORMULAS.splitlines())
    (tmp_path / "typed.yaml").write_text(f"shape: [6, 4]\nimplementation: |\n{text}", encoding="utf-8")
    outcome = invoke("run", "typed.yaml")
    assert outcome.status == 1
    assert "repeat: bncheck run typed.yaml" in outcome.out


# --- what a failure depends on -----------------------------------------------------------------------------------

EVEN = """
import numpy as np


def forward(x, gamma, beta, eps):
    x_hat = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + eps)
    return gamma * x_hat + beta, (x_hat, gamma / np.sqrt(x.var(axis=0) + eps))


def backward(dout, cache):
    x_hat, scale = cache
    dx = scale * (dout - dout.mean(axis=0) - x_hat * (dout * x_hat).mean(axis=0))
    dx[len(dx) // 2 * 2:] = 0
    return dx, (dout * x_hat).sum(axis=0), dout.sum(axis=0)
"""
SHAPES = ("--set", "shapes=[33x5, 32x5, 41x5]")


def test_the_first_failure_has_its_place_its_boundary_and_its_least_case(invoke: Invoke, tmp_path: Path) -> None:
    write(tmp_path, EVEN)
    outcome = invoke("run", "layers.py", *SHAPES)
    assert outcome.status == 1
    assert (
        "  x: the last rows are lost, and nothing is written there: row 32 in every feature.\n"
        "    it should be: dx = dx_hat * (1/std) + dvar * (2/n) * (x - mean) + dmean * (1/n)\n"
    ) in outcome.out
    assert "\n  it is wrong where n is odd\n" in outcome.out
    assert outcome.out.count("The least case that fails so: 3x1, eps = 1.3e-05\nfeature 0: gamma = ") == 1
    assert outcome.out.count("Where x is wrong: ") == 1


def test_shrink_reduces_every_failure(invoke: Invoke, tmp_path: Path) -> None:
    write(tmp_path, EVEN)
    outcome = invoke("run", "layers.py", *SHAPES, "--shrink", "--format", "json")
    found = [case["least"] and case["least"]["shape"] for case in cases_of(outcome)]
    assert found == [[3, 1], None, [3, 1]]
    assert [len(case["boundaries"]) for case in cases_of(outcome)] == [1, 0, 1]


@pytest.mark.slow
def test_what_is_found_of_a_failure_is_the_same_with_several_jobs_and_in_this_process(
    invoke: Invoke, tmp_path: Path
) -> None:
    write(tmp_path, EVEN)
    found = [
        [(case["boundaries"], case["least"]) for case in cases_of(invoke("run", "layers.py", *SHAPES, *words))]
        for words in (("--format", "json"), ("--format", "json", "-j", "2"), ("--format", "json", "--in-process"))
    ]
    assert found[0][0][1]["shape"] == [3, 1]
    assert found[0] == found[1] == found[2]
