"""Configs that are shipped: each runs as it is, and shows what it is for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import bncheck
from bncheck import config
from bncheck.case import Verdict
from bncheck.faults import power

CONFIGS = Path(__file__).parents[2] / "configs"
SIZES = (32, 64, 128, 256, 512, 1024)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_our_reference_passes_every_config(path: Path) -> None:
    report = bncheck.check(config=path)
    report.raise_for_failure()
    assert all(found.verdict is Verdict.PASS for found in report.cases)


def test_kernels_have_n_and_d_below_at_and_above_every_size_of_a_block() -> None:
    cases = config.read(CONFIGS / "kernels.yaml")
    wanted = {size + step for size in SIZES for step in (-1, 0, 1)}
    assert wanted <= {case.n for case in cases if case.d == 5}
    assert wanted <= {case.d for case in cases if case.n == 7}
    assert any(case.shape[0] == 1 and case.mode == "train" for case in cases)
    assert any(case.shape[2:] == (1, 1) for case in cases)
    assert any(case.dout == "strided" for case in cases)


KERNEL = """
import numpy as np


def forward(x, gamma, beta, eps):
    mean, var = x.mean(axis=0), x.var(axis=0)
    x_hat = (x - mean) / np.sqrt(var + eps)
    return gamma * x_hat + beta, (x_hat, gamma / np.sqrt(var + eps))


def backward(dout, cache):
    x_hat, scale = cache
    dx = scale * (dout - dout.mean(axis=0) - x_hat * (dout * x_hat).mean(axis=0))
    dgamma, dbeta = (dout * x_hat).sum(axis=0), dout.sum(axis=0)
    {slip}
    return dx, dgamma, dbeta
"""
SLIPS = {
    "none": ("pass", set()),
    "the last block of 64 rows is lost": ("dx[len(dx) // 64 * 64 or len(dx):] = 0", {"65x5", "65x33", "65x67"}),
    "wrong for 65 features": ("dgamma[64:65] *= len(dgamma) != 65", {"7x65", "33x65"}),
}


@pytest.mark.parametrize(("slip", "shapes"), SLIPS.values(), ids=SLIPS)
def test_a_kernel_that_is_wrong_at_some_sizes_fails_at_these(slip: str, shapes: set[str], tmp_path: Path) -> None:
    path = tmp_path / "kernel.py"
    path.write_text(KERNEL.replace("{slip}", slip))
    command = [sys.executable, "-m", "bncheck", "run", str(CONFIGS / "kernels.yaml"), "-i", str(path), "-k", "65"]
    environment = {**os.environ, "PYTHONPATH": str(CONFIGS.parent)}
    ran = subprocess.run([*command, "--format", "json"], capture_output=True, text=True, env=environment, check=False)
    found = json.loads(ran.stdout)["cases"]
    failed = {"x".join(map(str, one["case"]["shape"])) for one in found if one["verdict"] == "fail"}
    assert len(found) > len(failed)
    assert failed == shapes


def test_a_blind_test_is_told_to_be_blind_and_the_cure_is_its_two_lines_with_ones() -> None:
    found = power.power(config.read(CONFIGS / "blind-test.yaml"))
    assert len(found.unseen) > 60
    assert {blind.cure for case in found.cases for blind in case.visibility.blind} == {
        "use dout: normal",
        "use gamma: normal",
        "use a shape such as 65x67",
    }
    cured = power.power(config.read(CONFIGS / "blind-test.yaml", ["dout=normal", "gamma=normal", "shape=65x67"]))
    assert len(cured.unseen) < 5


ROOT_OF_THE_INVERSE = """
import numpy as np

def forward(x, gamma, beta, eps):
    mean, rstd = x.mean(axis=0), 1 / np.sqrt(x.var(axis=0) + eps)
    return gamma * (x - mean) * rstd + beta, (x, gamma, mean, rstd, eps)

def backward(dout, cache):
    x, gamma, mean, var, eps = cache
    n, rstd = len(x), 1 / np.sqrt(var + eps)
    x_hat = (x - mean) * rstd
    dbeta, dgamma = dout.sum(axis=0), (dout * x_hat).sum(axis=0)
    return gamma * rstd * (dout - dbeta / n - x_hat * dgamma / n), dgamma, dbeta
"""


def test_the_inverse_std_taken_for_the_variance_passes_a_blind_test_and_fails_by_name_where_dout_is_drawn(
    tmp_path: Path,
) -> None:
    (tmp_path / "layer.py").write_text(ROOT_OF_THE_INVERSE)
    blind = bncheck.check(tmp_path / "layer.py", config=CONFIGS / "blind-test.yaml")
    assert all(found.verdict is Verdict.PASS for found in blind.cases)
    hidden = {fault.name for found in blind.cases for told in found.blind for fault in told.faults}
    assert {"inverse-std-root", "dgamma-inverse-std-root"} <= hidden
    seen = bncheck.check(tmp_path / "layer.py", config=CONFIGS / "blind-test.yaml", dout="normal", gamma="normal")
    for found in seen.cases:
        names = {name for finding in found.findings for name in finding.faults}
        assert names == {"inverse-std-root", "dgamma-inverse-std-root"}
