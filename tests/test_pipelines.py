"""The way of a stranger: one command, a config, a hook, an action and pytest, red on wrong code and green on right."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

TOP = Path(__file__).parents[1]
ACTION = TOP / ".github" / "actions" / "bncheck" / "action.yml"
HOOKS = TOP / ".pre-commit-hooks.yaml"
RIGHT = """\
import numpy as np


def batchnorm_forward(x, gamma, beta, eps=1e-5):
    mean = x.mean(axis=0)
    var = x.var(axis=0)
    x_hat = (x - mean) / np.sqrt(var + eps)
    return gamma * x_hat + beta, (x, x_hat, mean, var, gamma, eps)


def batchnorm_backward(dout, cache):
    x, x_hat, mean, var, gamma, eps = cache
    n = len(x)
    dx_hat = dout * gamma
    dvar = np.sum(dx_hat * (x - mean), axis=0) * -0.5 * (var + eps) ** -1.5
    dmean = -np.sum(dx_hat, axis=0) / np.sqrt(var + eps)
    dx = dx_hat / np.sqrt(var + eps) + dvar * 2 * (x - mean) / n + dmean / n
    return dx, np.sum(dout * x_hat, axis=0), np.sum(dout, axis=0)
"""
WRONG = RIGHT.replace("dvar * 2 * (x - mean) / n + ", "")
TEST = """\
import pytest
import bncheck
from layers import batchnorm_backward, batchnorm_forward


@pytest.mark.parametrize("shape", [(33, 65), (7, 3)])
def test_backward(shape):
    bncheck.check(batchnorm_forward, batchnorm_backward, shape=shape).raise_for_failure()
"""

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="the scripts are those of POSIX shells")]

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a command in a folder of its own, where `bncheck` is the package under test."""
    programs = tmp_path / "programs"
    programs.mkdir()
    program = programs / "bncheck"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m bncheck "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    (tmp_path / "work").mkdir()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "GITHUB_", "PYTEST_"))},
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(TOP),
        "GIT_CONFIG_GLOBAL": os.devnull,
    }

    def run_it(*command: str, **more: str) -> subprocess.CompletedProcess[str]:
        folder, given = tmp_path / "work", {**environment, **more}
        return subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True, check=False, timeout=120)

    return run_it


@pytest.mark.parametrize(("source", "status"), [(WRONG, 1), (RIGHT, 0)], ids=["wrong", "right"])
def test_one_command_tells_right_from_wrong(run: Run, tmp_path: Path, source: str, status: int) -> None:
    (tmp_path / "work" / "layers.py").write_text(source, encoding="utf-8")
    found = run("bncheck", "run", "layers.py", "--format", "concise")
    assert found.returncode == status
    assert ("layers.py:17: FAIL x" in found.stdout) == bool(status)
    assert ("the route through var is missing" in found.stdout) == bool(status)


@pytest.mark.parametrize(("source", "status"), [(WRONG, 1), (RIGHT, 0)], ids=["wrong", "right"])
def test_the_hook_keeps_what_is_wrong_out_of_a_repository(run: Run, tmp_path: Path, source: str, status: int) -> None:
    folder = tmp_path / "work"
    (folder / "layers.py").write_text(source, encoding="utf-8")
    assert run("bncheck", "init", "layers.py").returncode == 0
    assert run("git", "init", "-q").returncode == 0
    (hook,) = yaml.safe_load(HOOKS.read_text(encoding="utf-8"))
    script = folder / ".git" / "hooks" / "pre-commit"
    script.parent.mkdir(exist_ok=True)
    script.write_text(f"#!/bin/sh\nexec {hook['entry']}\n", encoding="utf-8")
    script.chmod(0o755)
    assert run("git", "add", "-A").returncode == 0
    committed = run("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-m", "layers")
    assert committed.returncode == status
    assert ("the route through var is missing" in committed.stdout + committed.stderr) == bool(status)


@pytest.mark.parametrize(("source", "status"), [(WRONG, 1), (RIGHT, 0)], ids=["wrong", "right"])
def test_the_action_annotates_and_summarises(run: Run, tmp_path: Path, source: str, status: int) -> None:
    folder = tmp_path / "work"
    (folder / "layers.py").write_text(source, encoding="utf-8")
    action = yaml.safe_load(ACTION.read_text(encoding="utf-8"))
    install, check = action["runs"]["steps"]
    assert install["run"].startswith("python -m pip install")
    assert (ACTION.parent / "../../..").resolve() == TOP.resolve()
    assert list(check["env"]) == ["ARGUMENTS"]
    summary = tmp_path / "summary.md"
    given = {"ARGUMENTS": "-i layers.py", "GITHUB_STEP_SUMMARY": str(summary)}
    ended = run("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", check["run"], **given)
    assert ended.returncode == status
    assert ended.stdout.startswith(
        "::error file=layers.py,line=17,col=1,title=FAIL x (65x67 seed=0 and 2 more)::"
    ) == bool(status)
    assert summary.read_text(encoding="utf-8").startswith("## bncheck: ")


@pytest.mark.parametrize(("source", "status"), [(WRONG, 1), (RIGHT, 0)], ids=["wrong", "right"])
def test_pytest_shows_a_line_for_each_mistake(run: Run, tmp_path: Path, source: str, status: int) -> None:
    folder = tmp_path / "work"
    (folder / "layers.py").write_text(source, encoding="utf-8")
    (folder / "test_layers.py").write_text(TEST, encoding="utf-8")
    ended = run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_layers.py")
    assert ended.returncode == status
    assert ("FAIL x (33x65 seed=0) the route through var is missing" in ended.stdout) == bool(status)


def test_several_reports_are_written_at_once(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    (folder / "layers.py").write_text(WRONG, encoding="utf-8")
    wanted = ("--report", "junit=bn.xml", "--report", "json=bn.json", "--report", "markdown=bn.md")
    ended = run("bncheck", "run", "layers.py", *wanted)
    assert ended.returncode == 1
    assert ended.stdout.startswith("Relative error of the gradient at each node\n")
    assert "<testsuites" in (folder / "bn.xml").read_text(encoding="utf-8")
    assert json.loads((folder / "bn.json").read_text(encoding="utf-8"))["status"]["code"] == 1
    assert (folder / "bn.md").read_text(encoding="utf-8").startswith("## bncheck")


def test_a_report_in_no_known_form_is_refused(run: Run) -> None:
    ended = run("bncheck", "run", "--shape", "4x5", "--report", "pdf=bn.pdf")
    assert (ended.returncode, ended.stdout) == (2, "")
    forms = "table, concise, json, junit, github, markdown, html"
    assert ended.stderr == f"error: --report pdf=bn.pdf: expected FORM=FILE, with a form of {forms}\n"
