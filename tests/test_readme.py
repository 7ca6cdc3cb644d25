"""The README: its commands run, its samples are what the program prints, and its first minute fits on a screen."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import yaml

import bncheck
from bncheck.config.schema import KEYS
from bncheck.status import ExitStatus

TOP = Path(__file__).parents[1]
SCRIPT = TOP / ".github" / "samples.py"
README = (TOP / "README.md").read_text(encoding="utf-8")

Run = Callable[[str], "subprocess.CompletedProcess[str]"]

FILES = {"checks.yaml": "tiny variance", "test_layers.py": "parametrize", "notebook.py": "report  # shows itself"}
"""Files that are blocks of the README, and words by which each block is known."""

FAKES = {
    "python3": '#!/bin/sh\nmkdir -p .venv/bin && ln -sf "${0%/*}/bncheck" "${0%/*}/pip" "${0%/*}/pytest" .venv/bin\n',
    "pip": "#!/bin/sh\n",
    "pytest": "#!/bin/sh\n",
}
"""Programs whose environments install nothing, and that do not run these tests again: the script of CI does both."""

on_posix = pytest.mark.skipif(os.name == "nt", reason="the commands are those of POSIX shells")


def blocks(language: str) -> list[str]:
    """The blocks of the README in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def block_with(words: str) -> str:
    """The one block of YAML or Python that has these words."""
    (found,) = (block for language in ("yaml", "python") for block in blocks(language) if words in block)
    return found


@pytest.fixture(scope="module")
def samples() -> ModuleType:
    """The script that makes the samples."""
    spec = importlib.util.spec_from_file_location("samples", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(samples: ModuleType, tmp_path: Path) -> Run:
    """Run a command by a shell in a folder with all files that the README names."""
    environment = samples.furnish(tmp_path)
    for name, words in FILES.items():
        (tmp_path / name).write_text(block_with(words), encoding="utf-8")
    for name, text in FAKES.items():
        (tmp_path / "bin" / name).write_text(text, encoding="utf-8")
        (tmp_path / "bin" / name).chmod(0o755)

    def run_it(command: str) -> subprocess.CompletedProcess[str]:
        given = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
        return subprocess.run(command, shell=True, check=False, timeout=120, **given)

    return run_it


def test_the_first_minute_fits_on_a_screen() -> None:
    before, two_lines, *_ = README.split("\n## ")
    screen = f"{before}\n## {two_lines}".splitlines()
    assert two_lines.startswith("Two lines\n")
    assert len(screen) <= 40
    assert max(map(len, screen)) <= 100


@on_posix
@pytest.mark.slow
@pytest.mark.parametrize("block", blocks("sh"), ids=lambda block: str(block).partition("  ")[0].strip())
def test_every_command_ends_with_status_0(run: Run, block: str) -> None:
    for command in block.splitlines():
        ended = run(command)
        assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"


@on_posix
@pytest.mark.slow
@pytest.mark.parametrize("command", ["-m pytest -q -p no:cacheprovider test_layers.py", "notebook.py"])
def test_the_blocks_of_python_run(run: Run, command: str) -> None:
    ended = run(f"{shlex.quote(sys.executable)} {command}")
    assert ended.returncode == 0, ended.stdout + ended.stderr


@on_posix
@pytest.mark.slow
def test_the_script_for_gitlab_leaves_its_artefacts(run: Run, tmp_path: Path) -> None:
    job = yaml.safe_load(block_with("artifacts:"))["bncheck"]
    assert [run(line).returncode for line in job["script"]] == [0, 0]
    kept = [*job["artifacts"]["paths"], job["artifacts"]["reports"]["junit"]]
    assert all((tmp_path / name).is_file() for name in kept)


def test_the_hook_and_the_action_are_those_of_this_repository() -> None:
    (repository,) = yaml.safe_load(block_with("hooks:"))["repos"]
    hooks = yaml.safe_load((TOP / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert [hook["id"] for hook in repository["hooks"]] == [hook["id"] for hook in hooks]
    step = yaml.safe_load(block_with("runs-on:"))["jobs"]["bncheck"]["steps"][-1]
    owner, name, place = step["uses"].partition("@")[0].split("/", 2)
    action = yaml.safe_load((TOP / place / "action.yml").read_text(encoding="utf-8"))
    assert (owner, name) == ("OWNER", "bncheck")
    assert set(step["with"]) <= set(action["inputs"])


def test_the_exit_statuses_are_those_of_the_program() -> None:
    table = re.findall(r"^\| (\d+) \| (.*) \|$", README, re.MULTILINE)
    assert table == [(str(int(status)), status.sentence) for status in ExitStatus]


def test_every_key_of_the_config_has_its_row() -> None:
    rows = re.findall(r"^\| (`[a-z_]+`(?:, `[a-z_]+`)*) \|", README, re.MULTILINE)
    keys = {name for name in KEYS if "." not in name} | {"shapes", "cases"}
    assert sorted(re.findall(r"\w+", " ".join(rows))) == sorted(keys)


def test_every_link_leads_somewhere() -> None:
    places = re.findall(r"\]\(([^)]+)\)", README)
    headings = {f"#{title.lower().replace(' ', '-')}" for title in re.findall(r"^## (.*)$", README, re.MULTILINE)}
    assert [place for place in places if place not in headings and not (TOP / place).exists()] == []


@on_posix
@pytest.mark.slow
def test_the_samples_are_what_the_program_prints() -> None:
    ended = subprocess.run(
        [sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False, timeout=300
    )
    assert (ended.stdout, ended.stderr, ended.returncode) == ("", "", 0)


@on_posix
@pytest.mark.slow
def test_a_sample_that_is_stale_is_made_anew(samples: ModuleType, tmp_path: Path) -> None:
    page = "```text\n$ bncheck --version\nbncheck of old\n```\n```diff\n-old\n```\n"
    made = samples.page_with_samples(page, tmp_path, samples.furnish(tmp_path))
    assert (
        made
        == f"```text\n$ bncheck --version\nbncheck {bncheck.__version__}\n```\n```diff\n{samples.difference()}```\n"
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("3 passed in 0.85 s", "3 passed in 12 s"),
        ("65x67  4.4e-16  pass", "65x67 -2.9e-15  pass"),
        ("analytic -5601.515038465792", "analytic -5601.515038465811"),
        ("───────\n", "──────────\n"),
    ],
)
def test_what_differs_between_machines_makes_no_sample_stale(samples: ModuleType, old: str, new: str) -> None:
    assert samples.alike(old) == samples.alike(new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("3 passed in 0.85 s", "3 failed in 0.85 s"),
        ("65x67  4.4e-16  pass", "65x67  4.4e-06  pass"),
        ("analytic -5601.515038465792", "analytic 5601.515038465792"),
        ("line 17", "line 18"),
    ],
)
def test_what_is_said_anew_makes_a_sample_stale(samples: ModuleType, old: str, new: str) -> None:
    assert samples.alike(old) != samples.alike(new)
