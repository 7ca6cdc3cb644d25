"""Nothing lost, nothing left behind, nothing let in: the command as a process, with real files and real signals."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

TOP = Path(__file__).parents[1]

posix = pytest.mark.skipif(os.name != "posix", reason="signals, links and pipes as POSIX has them")

LAYERS = """\
import numpy as np


def batchnorm_forward(x, gamma, beta, eps=1e-5):
    mean, var = x.mean(axis=0), x.var(axis=0)
    std = np.sqrt(var + eps)
    x_hat = (x - mean) / std
    return gamma * x_hat + beta, (x_hat, gamma, std)


def batchnorm_backward(dout, cache):
    x_hat, gamma, std = cache
    dx_hat = dout * gamma
    dx = (dx_hat - dx_hat.mean(axis=0) - x_hat * (dx_hat * x_hat).mean(axis=0)) / std
    return dx, (dout * x_hat).sum(axis=0), dout.sum(axis=0)
"""

NAP = """
    if len(dout) == 33:
        open("asleep", "w").close()
        __import__("time").sleep(50)
"""


@pytest.fixture
def layers(tmp_path: Path) -> Path:
    """A right implementation in a folder of its own."""
    file = tmp_path / "layers.py"
    file.write_text(LAYERS, encoding="utf-8")
    return file


def bncheck(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command, run to its end in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "bncheck", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(TOP)} | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# --- signals ----------------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize(
    ("number", "times", "status"), [(signal.SIGTERM, 1, 143), (signal.SIGHUP, 1, 129), (signal.SIGINT, 5, 130)], ids=str
)
def test_signals_end_the_command_with_the_report_of_what_was_done(
    number: int, times: int, status: int, layers: Path
) -> None:
    layers.write_text(LAYERS.replace("cache):\n", "cache):" + NAP, 1), encoding="utf-8")
    shapes = [word for n in (7, 33, 8) for word in ("--shape", f"{n}x4")]
    process = subprocess.Popen(
        [sys.executable, "-m", "bncheck", "run", "-i", "layers.py", *shapes],
        cwd=layers.parent,
        env=os.environ | {"PYTHONPATH": str(TOP)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 30
    while not (layers.parent / "asleep").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    for _ in range(times):
        process.send_signal(number)
        time.sleep(0.02)
    out, err = process.communicate(timeout=20)
    assert out.splitlines()[-1].startswith("1 passed, 2 not run (interrupted) in ")
    assert err == "interrupted after 1 of 3 cases\n"
    assert process.returncode == status


# --- processes without end --------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["bncheck.check(__file__)", "subprocess.run([*COMMAND, __file__], check=True)"])
def test_a_check_inside_a_worker_is_refused_and_starts_no_process(way: str, layers: Path) -> None:
    command = [sys.executable, "-m", "bncheck", "inspect"]
    layers.write_text(f"import subprocess\nimport bncheck\n{LAYERS}\nCOMMAND = {command!r}\n{way}\n", encoding="utf-8")
    outcome = bncheck(layers.parent, "run", "-i", "layers.py", "--shape", "7x4", "--format", "json")
    assert outcome.returncode == 0
    [note] = json.loads(outcome.stdout)["cases"][0]["case"]["origin"]["notes"]
    refused = 'in which no other check can start; put it below if __name__ == "__main__" when it was imported'
    assert refused in note or "returned non-zero exit status 2" in note


# --- files that are written -------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("output", ["layers.py", "link.py", "hard.py", "cases.yaml", "link.yaml", "./../here/x.npy"])
def test_a_file_that_is_read_is_not_written_over(output: str, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "layers.py").write_text(LAYERS, encoding="utf-8")
    (here / "cases.yaml").write_text("shape: [7, 4]\n", encoding="utf-8")
    np.save(here / "x.npy", np.random.default_rng(0).normal(size=(7, 4)))
    (here / "link.py").symlink_to("layers.py")
    (here / "hard.py").hardlink_to(here / "layers.py")
    (here / "link.yaml").symlink_to("cases.yaml")
    before = {path: path.read_bytes() for path in here.iterdir()}
    recorded = ["--set", "x={file: x.npy}"]
    outcome = bncheck(here, "run", "cases.yaml", "-i", "layers.py", *recorded, "--output", output)
    assert (outcome.returncode, outcome.stdout) == (2, "")
    assert re.fullmatch(
        rf"error: a report in {re.escape(output)} would write over \S+, which is read; name another file\n",
        outcome.stderr,
    )
    assert {path: path.read_bytes() for path in here.iterdir()} == before


@posix
def test_a_report_goes_where_a_link_leads_with_the_mode_that_is_there_and_leaves_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("old", encoding="utf-8")
    (tmp_path / "report.json").chmod(0o640)
    (tmp_path / "link").symlink_to("report.json")
    assert bncheck(tmp_path, "run", "--shape", "7x4", "--format", "json", "--output", "link").returncode == 0
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["checked"] == 1
    assert (tmp_path / "report.json").stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(tmp_path)) == ["link", "report.json"]


@posix
def test_an_output_that_is_a_pipe_is_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    outcome = bncheck(tmp_path, "run", "--shape", "7x4", "-q", "--output", "pipe")
    assert outcome.returncode == 1
    assert outcome.stderr == "error: pipe cannot be written: No such device or address\n"


@pytest.mark.parametrize("output", ["new/", "folder", "nowhere/report"])
def test_an_output_that_no_file_can_be_is_refused_at_once(output: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    outcome = bncheck(tmp_path, "run", "--shape", "7x4", "--output", output)
    assert (outcome.returncode, outcome.stdout) == (2, "")
    assert outcome.stderr.startswith(f"error: {output} cannot be written: ")


# --- nothing given, and names with any characters -------------------------------------------------------------------


@pytest.mark.parametrize("option", ["-i", "-k", "--output", "--shape", "--seed"])
@pytest.mark.parametrize("value", ["", "  "])
def test_an_option_without_a_value_checks_nothing(option: str, value: str, tmp_path: Path) -> None:
    outcome = bncheck(tmp_path, "run", "--shape", "7x4", option, value)
    assert (outcome.returncode, outcome.stdout) == (2, "")
    assert outcome.stderr == f"error: {option} has no value; give one, or leave {option} out\n"


@posix
@pytest.mark.parametrize(
    "name", ["HW #2.py", "good.py #2.py", "we:ird.py", "-x.py", "a{b}[c], d.py", "~x.py", "é 'q\".py"]
)
def test_a_file_is_checked_whatever_characters_its_name_has(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(LAYERS.replace("* gamma", "* 1"), encoding="utf-8")
    (tmp_path / "good.py").write_text(LAYERS, encoding="utf-8")
    outcome = bncheck(tmp_path, "run", "--shape", "7x4", "-i", name, "--format", "json")
    [case] = json.loads(outcome.stdout)["cases"]
    assert (outcome.returncode, case["verdict"], case["case"]["implementation"]) == (1, "fail", name)
    again = subprocess.run(
        ["bash", "-c", case["repeat"].replace("bncheck", f"{sys.executable} -m bncheck", 1)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(TOP)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (again.returncode, again.stderr) == (1, "")


@posix
@pytest.mark.parametrize("name", ["c #1: {}.yaml", "-c.yaml", "a b.yaml"])
def test_a_config_and_an_output_may_have_any_name(name: str, layers: Path) -> None:
    (layers.parent / name).write_text("shape: [7, 4]\nimplementation: layers.py\n", encoding="utf-8")
    outcome = bncheck(layers.parent, "run", "-q", "--output", f"{name}.txt", "--", name)
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert (layers.parent / f"{name}.txt").exists()


# --- what others write on the screen ----------------------------------------------------------------------------

HOSTILE = """
    print("\\x1b[2J \\x1b]8;;http://a\\x1b\\\\b \\x9b31m \\u202eabc \\u200b\\ufeff\\u3164 \\x7f")
    if len(dout) == 8:
        raise type("E\\x1b[31mrr", (Exception,), {})("\\x1b[2J \\u2066")
"""

WRITES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff]")
"""Whatever a terminal acts on or shows nothing of, but for the ends of lines and tabs."""


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder with an implementation that prints and raises what a terminal would act on."""
    (tmp_path / "layers.py").write_text(LAYERS.replace("cache):\n", f"cache):{HOSTILE}", 1), encoding="utf-8")
    return tmp_path


HOSTILE_COMMANDS = (
    ("run", "-i", "layers.py", "--shape", "8x4", "--shape", "9x4", "-v"),
    ("run", "-i", "layers.py", "--shape", "8x4", "--in-process"),
    ("run", "-i", "layers.py", "--shape", "8x4", "--format", "json"),
    ("inspect", "layers.py"),
    ("run", "-i", "no\x1b[31m\u202e.py", "--shape", "8x4"),
    ("run", "--shape", "8x4", "-k", "no\x1b[31m\u202e"),
    ("run", "--shape", "8x4", "--output", "no/\x1b[31m\u202e"),
    ("run", "no\x1b[31m\u202e.yaml"),
    ("run", "--no\x1b[31m\u202e"),
    ("inspect", "no\x1b[31m\u202e.py"),
    ("explain", "no\x1b[31m\u202e"),
)


@pytest.mark.parametrize("command", HOSTILE_COMMANDS, ids=repr)
def test_nothing_that_others_wrote_can_write_on_the_screen(command: tuple[str, ...], hostile: Path) -> None:
    outcome = bncheck(hostile, *command)
    assert WRITES.findall(outcome.stdout + outcome.stderr) == []
    assert outcome.returncode == (
        1 if "layers.py" in command and "run" in command else 2 * ("layers.py" not in command)
    )


def test_what_would_write_on_the_screen_is_shown_escaped(hostile: Path) -> None:
    told = bncheck(hostile, "run", "-i", "layers.py", "--shape", "8x4", FORCE_COLOR="1").stdout
    assert r"layers.py:14 batchnorm_backward: E\x1b[31mrr: \x1b[2J \u2066" in told
    assert r"\x1b[2J \x1b]8;;http://a\x1b\b \x9b31m \u202eabc \u200b\ufeff\u3164 \x7f" in told
    assert "\x1b[1;31mERROR\x1b[0m" in told


def test_of_what_was_printed_the_last_lines_are_shown(layers: Path) -> None:
    prints = "    print(*range(30), sep=chr(10))\n    raise ValueError\n"
    layers.write_text(LAYERS.replace("cache):\n", f"cache):\n{prints}", 1), encoding="utf-8")
    told = bncheck(layers.parent, "run", "-i", "layers.py", "--shape", "7x4").stdout.splitlines()
    begin = told.index("  it printed:") + 1
    assert told[begin : begin + 20] == [f"    {number}" for number in range(10, 30)]
    assert told[begin + 20].startswith("  repeat: ")


def test_a_report_in_a_notebook_and_an_error_of_the_api_have_no_escapes_of_others(hostile: Path) -> None:
    script = """
        import bncheck
        report = bncheck.check("layers.py", shape=[(8, 4), (9, 4)])
        texts = [str(report), report._repr_html_(), report.to_json()]
        try:
            report.raise_for_failure()
        except AssertionError as error:
            texts.append(str(error))
        try:
            bncheck.check("no\\x1b[31m.py", shape=(8, 4))
        except ValueError as error:
            texts.append(str(error))
        print(len(texts), ascii("\\n".join(texts)))
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=hostile,
        env=os.environ | {"PYTHONPATH": str(TOP), "FORCE_COLOR": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    number, _, texts = ended.stdout.partition(" ")
    assert (number, WRITES.findall(ast.literal_eval(texts))) == ("5", [])


PLAIN_WAYS: tuple[tuple[tuple[str, ...], dict[str, str]], ...] = (
    (("--color", "never"), {"FORCE_COLOR": "1"}),
    (("--color", "never"), {"FORCE_COLOR": "1", "CLICOLOR_FORCE": "1", "TTY_COMPATIBLE": "1"}),
    ((), {"FORCE_COLOR": "1", "NO_COLOR": "1"}),
)


@pytest.mark.parametrize(("options", "variables"), PLAIN_WAYS, ids=repr)
def test_without_colour_there_is_no_escape_at_all(
    options: tuple[str, ...], variables: dict[str, str], hostile: Path
) -> None:
    for command in (["run", "-i", "layers.py", "--shape", "8x4", "-v"], ["power", "--shape", "8x4"], ["explain", "x"]):
        assert "\x1b" not in bncheck(hostile, *command, *options, **variables).stdout
    assert "\x1b" in bncheck(hostile, "explain", "x", FORCE_COLOR="1").stdout


def test_a_report_in_a_file_has_no_escape_whatever_the_colour(hostile: Path) -> None:
    ways = ("--color", "always", "--output", "report.txt")
    assert "\x1b" in bncheck(hostile, "run", "--shape", "8x4", *ways, FORCE_COLOR="1").stdout
    assert "\x1b" not in (hostile / "report.txt").read_text(encoding="utf-8")


# --- what is no file, and where files are -------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("command", [("run",), ("run", "--shape", "7x4", "-i"), ("inspect",)], ids=" ".join)
@pytest.mark.parametrize("name", ["pipe", "/dev/zero", "link"])
def test_a_pipe_or_a_device_is_refused_where_a_file_is_read(
    command: tuple[str, ...], name: str, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    outcome = bncheck(tmp_path, *command, name)
    assert outcome.stderr == f"error: {name} is a pipe or a device, expected a file; save it as a file first\n"
    assert (outcome.returncode, outcome.stdout) == (2, "")


def test_a_file_that_no_code_fills_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "layers.py").open("wb") as file:
        file.truncate(10**10)
    outcome = bncheck(tmp_path, "run", "--shape", "7x4", "-i", "layers.py")
    assert outcome.stderr == "error: layers.py has more than 10 MB, which no code has; name the file that is meant\n"
    assert outcome.returncode == 2


@posix
@pytest.mark.parametrize("options", [(), ("-i", f"{TOP}/tests/zoo/classes/plain.py")], ids=["ours", "theirs"])
def test_a_working_directory_that_is_gone_is_one_sentence(options: tuple[str, ...], tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    command = [sys.executable, "-m", "bncheck", "run", "--shape", "7x4", *options]
    ended = subprocess.run(
        ["bash", "-c", 'rmdir "$PWD"; exec "$@"', "bash", *command],
        cwd=gone,
        env=os.environ | {"PYTHONPATH": str(TOP)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "error: the working directory is not there any more; change to one that is\n"


@pytest.mark.parametrize("size", ["²", "-5", "0", "1", "x", ""])
def test_a_size_of_the_terminal_that_is_none_is_no_bug(size: str, tmp_path: Path) -> None:
    assert bncheck(tmp_path, "run", "--shape", "7x4", COLUMNS=size, LINES=size).returncode == 0


SHADOWS = ("numpy", "yaml", "rich", "random", "queue", "pickle", "secrets")


@pytest.mark.parametrize("module", SHADOWS)
def test_a_module_of_theirs_beside_the_file_takes_the_place_of_none_that_we_need(module: str, layers: Path) -> None:
    layers.with_name(f"{module}.py").write_text("mine = 1\n", encoding="utf-8")
    outcome = bncheck(layers.parent, "run", "--shape", "7x4", "-q", "-i", "layers.py")
    assert (outcome.returncode, outcome.stderr) == (0, "")


@pytest.mark.parametrize("module", ["numpy", "random", "typer"])
def test_a_module_in_the_place_of_one_that_we_need_is_named(module: str, tmp_path: Path) -> None:
    (tmp_path / f"{module}.py").write_text("mine = 1\n", encoding="utf-8")
    outcome = bncheck(tmp_path, "run", "--shape", "7x4", "-i", "x.py", PYTHONPATH=f"{tmp_path}{os.pathsep}{TOP}")
    says = f"{tmp_path}/{module}.py stands in the place of the module {module}, which bncheck needs; rename it"
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (2, "", f"error: {says}\n")


# --- a config can run code ----------------------------------------------------------------------------------------

MAPPING = (
    "{{{place}, create: {create}, forward: self.read(x) -> out, backward: 'self.read(dout) -> dx, dgamma, dbeta'}}"
)


def test_a_config_reaches_no_attribute_of_python_itself(layers: Path) -> None:
    create = "\"batchnorm_forward.__globals__['np']\""
    mapping = MAPPING.format(place="file: layers.py", create=create)
    outcome = bncheck(layers.parent, "run", "--shape", "7x4", "--set", f"implementation={mapping}")
    assert (outcome.returncode, outcome.stdout) == (2, "")
    assert outcome.stderr.startswith("error: '__globals__' is an attribute of Python itself\n")


@pytest.mark.parametrize("place", ["module: os", "module: os.path", "file: subprocess"])
def test_a_config_names_no_module_of_python_itself(place: str, tmp_path: Path) -> None:
    mapping = MAPPING.format(place=place, create="popen('touch done')")
    outcome = bncheck(tmp_path, "run", "--shape", "7x4", "--set", f"implementation={mapping}")
    name = place.partition(": ")[2]
    says = f"{name} is a module of Python itself, which has no batch normalisation; for a file write its path"
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (2, "", f"error: {says}\n")
    assert os.listdir(tmp_path) == []


# --- words --------------------------------------------------------------------------------------------------------

FILES = {
    "no encoding": (
        b"# caf\xe9\n",
        ":1 is not UTF-8: byte 0xe9 is no text in it; save the file as UTF-8, or name its encoding in its first line "
        "(# -*- coding: latin-1 -*-)",
    ),
    "an unknown encoding": (
        b"\n# coding: nope\n",
        ":2 declares an encoding in which it cannot be read: unknown encoding: nope",
    ),
    "a null byte": (b"x = 1\n\0\n", ":2 has a null byte, which is no text; save the file as UTF-8"),
    "too deep": (
        b"x = " + b"-" * 100_000 + b"1\n",
        ":1:1 does not parse: nested too deeply for Python; it must run to be checked",
    ),
}


@pytest.mark.parametrize(("content", "says"), FILES.values(), ids=FILES)
def test_a_file_that_is_no_text_is_told_by_its_name_and_line(content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "layers.py").write_bytes(content)
    assert bncheck(tmp_path, "inspect", "layers.py").stderr == f"error: layers.py{says}\n"


@posix
@pytest.mark.parametrize(("command", "name"), [("inspect", "layers.py"), ("run", "cases.yaml")])
def test_a_name_that_was_typed_is_not_offered_again(command: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).symlink_to("nowhere")
    assert "did you mean" not in bncheck(tmp_path, command, name).stderr


@pytest.mark.parametrize("stub", ["a b", "", " ", "1a", "\u3164 "])
def test_a_stub_that_is_no_name_is_refused(stub: str, layers: Path) -> None:
    shown = stub.replace("\u3164", r"\u3164")
    says = f"error: stub: '{shown}' is no name of a module; write one such as cv2 or torch.nn\n"
    assert bncheck(layers.parent, "inspect", "layers.py", "--stub", stub).stderr == says


def test_a_config_that_begins_with_a_dash_is_repeated_behind_two(layers: Path) -> None:
    (layers.parent / "-c.yaml").write_text("shape: [7, 4]\nimplementation: layers.py\n", encoding="utf-8")
    outcome = bncheck(layers.parent, "run", "--format", "json", "--", "-c.yaml")
    assert json.loads(outcome.stdout)["cases"][0]["repeat"] == "bncheck run -k '7x4 seed=0' -- -c.yaml"


# --- the time that a look at a file takes ---------------------------------------------------------------------------


@posix
@pytest.mark.slow
def test_the_look_at_a_file_is_shown_and_counts_in_the_time_told(layers: Path) -> None:
    layers.write_text(f"__import__('time').sleep(3)\n{LAYERS}", encoding="utf-8")
    line = f"{sys.executable} -m bncheck run -i layers.py --shape 7x4"
    environment = os.environ | {"PYTHONPATH": str(TOP), "TERM": "xterm"}
    command = ["script", "-qec", line, "/dev/null"]
    shown = subprocess.run(
        command, cwd=layers.parent, env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert re.search(r"0/1, about \d+ s left, looking at layers\.py", shown)
    assert float(re.findall(r"1 passed\S* in (\S+) s", shown)[0]) >= 3
