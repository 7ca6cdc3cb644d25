"""Nothing lost, nothing left behind, nothing let in: the command as a process, with real files and real signals."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
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
        rf"error: --output {re.escape(output)} would write over \S+, which is read; name another file\n", outcome.stderr
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
    assert outcome.stderr == "error: --output pipe cannot be written: No such device or address\n"


@pytest.mark.parametrize("output", ["new/", "folder", "nowhere/report"])
def test_an_output_that_no_file_can_be_is_refused_at_once(output: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    outcome = bncheck(tmp_path, "run", "--shape", "7x4", "--output", output)
    assert (outcome.returncode, outcome.stdout) == (2, "")
    assert outcome.stderr.startswith(f"error: --output {output} cannot be written: ")


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
