"""Commands whose stdout or stderr is full, closed, or read by nobody."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_discovery import LAYERS

TOP = Path(__file__).parents[1]
FULL = "stdout cannot be written: No space left on device"
RUN = "run --shape 4x5"
COMMANDS = [RUN, "run -i layers.py --shape 4x5", "power --shape 65x67", "explain x", "schema", "--help", "--version"]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="a POSIX shell")
full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")


@pytest.fixture(params=["", "1"], ids=["buffered", "unbuffered"])
def buffering(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without a buffer between us and the file."""
    monkeypatch.setenv("PYTHONUNBUFFERED", request.param)


def shell(folder: Path, command: str, then: str = "") -> tuple[int, str, str]:
    """The status of a bncheck command in a folder, its stdout, and its stderr."""
    (folder / "layers.py").write_text(LAYERS, encoding="utf-8")
    ended = subprocess.run(
        ["bash", "-c", f"{shlex.quote(sys.executable)} -m bncheck {command} {then}; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TOP)},
        cwd=folder,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stdout, ended.stderr


@pytest.mark.slow
@full
@pytest.mark.usefixtures("buffering")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_is_one_line_and_status_1_where_something_was_checked_else_2(tmp_path: Path, command: str) -> None:
    status = 1 if command.startswith(("run", "power")) else 2
    assert shell(tmp_path, f"{command} >/dev/full") == (status, "", f"error: {FULL}\n")


@full
def test_a_full_disk_leaves_the_status_of_what_went_wrong_before(tmp_path: Path) -> None:
    assert shell(tmp_path, "run --shape 4x5 -i nowhere.py >/dev/full")[0] == 2
    assert shell(tmp_path, f"{RUN} --set dout=ones --set blind=fail >/dev/full") == (1, "", f"error: {FULL}\n")


@full
@pytest.mark.parametrize("form", ["table", "json"])
def test_an_output_on_a_full_disk_is_one_line_and_status_1_and_the_table_is_shown(tmp_path: Path, form: str) -> None:
    status, out, err = shell(tmp_path, f"{RUN} --format {form} --output /dev/full")
    assert (status, err) == (1, "error: /dev/full cannot be written: No space left on device\n")
    assert out.splitlines()[-1].startswith("1 passed in ")


@full
@pytest.mark.parametrize(("command", "status"), [(RUN, 0), ("run", 2), ("run --nonsense", 2)])
def test_a_stderr_that_is_full_does_not_change_the_status(tmp_path: Path, command: str, status: int) -> None:
    assert shell(tmp_path, f"{command} 2>/dev/full")[0] == status


@pytest.mark.slow
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["run -i layers.py --shape 4x5", "schema", "--version"])
def test_a_stream_that_is_closed_is_no_error(tmp_path: Path, command: str, closed: str) -> None:
    status, _, err = shell(tmp_path, f"{command} {closed}")
    assert (status, err) == (0, "")


@pytest.mark.slow
@pytest.mark.usefixtures("buffering")
@pytest.mark.parametrize("command", [*COMMANDS, "inspect layers.py", f"{RUN} --format json"])
def test_a_reader_that_reads_nothing_is_no_error(tmp_path: Path, command: str) -> None:
    assert shell(tmp_path, command, "| true") == (0, "", "")


def test_a_refusal_leaves_no_new_file_and_an_old_one_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text("kept", encoding="utf-8")
    (tmp_path / "link.txt").symlink_to("target.txt")
    before = {*os.listdir(tmp_path), "layers.py"}
    for name in ("new.txt", "old.txt", "link.txt"):
        assert shell(tmp_path, f"{RUN} --set mode=x --output {name}")[0] == 2
    assert set(os.listdir(tmp_path)) == before
    assert (tmp_path / "old.txt").read_text(encoding="utf-8") == "kept"
