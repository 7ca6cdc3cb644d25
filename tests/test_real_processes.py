"""Nothing lost, nothing left behind, nothing let in: the command as a process, with real files and real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

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
