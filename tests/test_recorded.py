"""A batch that was recorded is checked as one that is drawn: from the command line, and from Python."""

from __future__ import annotations

import io
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bncheck
from bncheck.case import Verdict

TOP = Path(__file__).parents[1]
RANDOM = np.random.default_rng(0)
IMAGES = 3 + 2 * RANDOM.normal(size=(6, 4, 5, 3))

LAYERS = """
import numpy as np


def batchnorm_forward(x, gamma, beta, eps):
    mean, var = x.mean(axis=0), x.var(axis=0)
    x_hat = (x - mean) / np.sqrt(var + eps)
    return gamma * x_hat + beta, (x_hat, gamma, var, eps)


def batchnorm_backward(dout, cache):
    x_hat, gamma, var, eps = cache
    routes = dout - dout.mean(axis=0) - x_hat * (dout * x_hat).mean(axis=0)
    return gamma / np.sqrt(var + eps) * routes, (dout * x_hat).sum(axis=0), dout.sum(axis=0)
"""
# Wrong where x is far from 0 alone, which no case that bncheck draws by itself is.
WRONG = LAYERS.replace(
    "    return gamma / np", "    routes = np.where(x_hat * np.sqrt(var) > 90, 0, routes)\n    return gamma / np"
)


def bncheck_run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run bncheck in a process of its own, in the folder."""
    command = [sys.executable, "-m", "bncheck", "run", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(TOP), "COLUMNS": "120"}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)


def test_a_layer_that_is_wrong_on_a_batch_fails_on_its_file_and_its_command_repeats_that(tmp_path: Path) -> None:
    x = RANDOM.normal(size=(16, 5)).astype(np.float32)
    x[3, 2] = 100
    np.save(tmp_path / "batch.npy", x)
    (tmp_path / "layers.py").write_text(WRONG)
    (tmp_path / "checks.yaml").write_text(
        "implementation: layers.py\ncases: [{name: drawn, shape: 16x5}, {name: last, x: {file: batch.npy}}]\n"
    )
    ran = bncheck_run(tmp_path, "checks.yaml", "--format", "json")
    assert (ran.returncode, ran.stderr) == (1, "")
    drawn, last = json.loads(ran.stdout)["cases"]
    assert (drawn["verdict"], last["verdict"]) == ("pass", "fail")
    assert last["label"] == "last 16x5 x.file=batch.npy seed=0"
    assert last["case"]["x"]["file"] == str(tmp_path / "batch.npy")
    assert last["nodes"]["x"]["worst"]["index"][1] == 2
    again = bncheck_run(tmp_path, *shlex.split(last["repeat"])[2:])
    assert again.returncode == 1
    assert "FAIL  last 16x5 x.file=batch.npy seed=0" in again.stdout
    assert "1 failed" in again.stdout


def test_a_file_may_be_given_without_a_config(tmp_path: Path) -> None:
    np.save(tmp_path / "batch.npy", IMAGES)
    ran = bncheck_run(tmp_path, "--set", "x.file=batch.npy", "--set", "mode=[train, eval]")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "6x4x5x3 x.file=batch.npy mode=eval seed=0" in ran.stdout


def test_a_mistake_in_a_file_is_exit_status_two(tmp_path: Path) -> None:
    np.save(tmp_path / "batch.npy", np.ones(5))
    ran = bncheck_run(tmp_path, "--set", "x.file=batch.npy")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("error: x in batch.npy has shape (5,), expected 2 to 5 axes\n  --> --set x.file=batch")


# --- in Python -----------------------------------------------------------------------------------------------------


@pytest.fixture
def functions() -> dict[str, Any]:
    """Functions of the file above, right ones."""
    found: dict[str, Any] = {}
    exec(LAYERS, found)
    return found


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("channel_axis", [0, 1, -1])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_arrays_are_checked_in_every_layout_mode_and_dtype(mode: str, channel_axis: int, dtype: str) -> None:
    d = IMAGES.shape[channel_axis]
    report = bncheck.check(
        "reference",
        x=IMAGES,
        dout=RANDOM.normal(size=IMAGES.shape),
        gamma=np.linspace(1.5, 2, d),
        beta=np.linspace(-1, 1, d),
        mode=mode,
        channel_axis=channel_axis,
        dtype=dtype,
    )
    report.raise_for_failure()
    (found,) = report.cases
    assert found.case.shape == IMAGES.shape
    assert (found.case.dout, found.case.gamma, found.case.beta) == ("file", "file", "file")


def test_functions_are_checked_on_an_array_and_no_command_repeats_it(functions: dict[str, Any]) -> None:
    x = RANDOM.normal(size=(9, 4))
    seen = io.BytesIO()  # a list would be put back, as what their code keeps between calls is

    def batchnorm_forward(x: Any, gamma: Any, beta: Any, eps: Any) -> Any:
        seen.write(x.tobytes())
        return functions["batchnorm_forward"](x, gamma, beta, eps)

    report = bncheck.check(batchnorm_forward, functions["batchnorm_backward"], x=x, seeds=2)
    report.raise_for_failure()
    assert [found.case.label for found in report.cases] == [
        "9x4 x.file=arrays.npz seed=0",
        "9x4 x.file=arrays.npz seed=1",
    ]
    assert x.tobytes() in seen.getvalue()


def test_a_place_is_checked_on_an_array_in_its_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "layers.py").write_text(WRONG)
    x = RANDOM.normal(size=(16, 5))
    x[3, 2] = 100
    report = bncheck.check("layers.py", x=x)
    assert [(found.verdict, found.repeat) for found in report.cases] == [(Verdict.FAIL, "")]


def test_an_array_comes_over_the_shape_and_the_draw_of_a_config(tmp_path: Path) -> None:
    path = tmp_path / "checks.yaml"
    path.write_text("shapes: [32x64]\nx: {std: 2}\ncases: [{eps: 1e-3}, {shape: 3x4}]\n")
    report = bncheck.check("reference", config=path, x=IMAGES)
    assert [found.case.shape for found in report.cases] == [IMAGES.shape] * 2


def test_a_mapping_with_a_file_needs_no_shape(tmp_path: Path) -> None:
    np.save(tmp_path / "batch.npy", IMAGES)
    (found,) = bncheck.check("reference", x={"file": tmp_path / "batch.npy"}).cases
    assert (found.verdict, found.case.shape) == (Verdict.PASS, IMAGES.shape)
    assert str(tmp_path / "batch.npy") in found.repeat


REFUSED = {
    "a dout without an x": (
        {"dout": IMAGES},
        "error: the keyword dout is an array, and x is none; hand over the batch as x",
    ),
    "truth values": (
        {"x": IMAGES > 0},
        "error: the keyword x is an array of bool, expected floating or integer numbers; convert it with astype",
    ),
    "objects": (
        {"x": IMAGES, "gamma": np.array([None])},
        "error: the keyword gamma is an array of object, expected floating or integer numbers; convert it with astype",
    ),
    "another shape": (
        {"x": IMAGES, "shape": (3, 4)},
        "error: shape is (3, 4), and x in arrays.npz has shape (6, 4, 5, 3)",
    ),
    "a dout of another shape": (
        {"x": IMAGES, "dout": IMAGES[0]},
        "error: dout in arrays.npz has shape (4, 5, 3), expected (6, 4, 5, 3), the shape of x",
    ),
    "a gamma of another shape": (
        {"x": IMAGES, "gamma": np.ones(3)},
        "error: gamma in arrays.npz has shape (3,), expected (4,) for d = 4",
    ),
    "no number": (
        {"x": np.where(IMAGES[4, 1, 2, 1] == IMAGES, np.nan, 1.0)},
        "error: x in arrays.npz has 1 number that is not finite, the first at [4, 1, 2, 1]",
    ),
}


@pytest.mark.parametrize(("settings", "sentence"), REFUSED.values(), ids=REFUSED)
def test_arrays_that_cannot_be_taken_are_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=r"^error: ") as error:
        bncheck.check("reference", **settings)
    assert str(error.value).splitlines()[0] == sentence
