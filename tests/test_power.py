"""What checks are worth: `bncheck power`, its table, its last line, its exit status."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bncheck import cli
from bncheck.case import Case, XDraw
from bncheck.config import read
from bncheck.power import power
from bncheck.reporters import power as reporter

TOP = Path(__file__).parents[1]


def test_quickstart_leaves_nothing_invisible() -> None:
    found = power(read(TOP / "configs" / "quickstart.yaml"))
    assert found.unseen == ()
    assert not any(case.sight.invisible for case in found.cases)
    assert reporter.render(found).splitlines()[-1] == "every known fault is caught by some case"


def test_a_case_that_is_blind_says_why_and_what_would_help() -> None:
    shown = reporter.render(power([Case(shape=(16, 8), dout="ones", label="ones")]))
    assert "BLIND  ones\n  dout is ones, so dx is zero: " in shown
    assert "faults in x cannot show; use dout: normal\n" in shown


def test_a_fault_that_one_case_catches_is_not_unseen() -> None:
    blind, seeing = Case(shape=(16, 8), dout="ones"), Case(shape=(16, 8))
    assert power([blind]).unseen
    assert not power([blind, seeing]).unseen


def test_slips_are_the_smallest_that_would_show() -> None:
    (found,) = power([Case(shape=(16, 8))]).cases
    assert all(1e-10 < slip < 1e-7 for slip in found.slips.values())


def test_a_case_that_would_be_skipped_sees_nothing_and_says_why() -> None:
    found = power([Case(shape=(4, 5), label="huge", x=XDraw(std=1e200))])
    assert found.cases[0].sight.visible == ()
    assert "BLIND  huge\n  the variance of x overflows float64" in reporter.render(found)


@pytest.mark.parametrize(
    ("config", "status"), [("shape: [16, 8]", 0), ("shape: [16, 8]\ndout: ones", 1), ("shap: 1", 2)]
)
def test_exit_status_says_whether_some_fault_is_invisible_in_every_case(
    config: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "c.yaml").write_text(config)
    monkeypatch.setattr(sys, "argv", ["bncheck", "power", str(tmp_path / "c.yaml"), "--set", "eps=1e-5"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == status


@pytest.mark.parametrize(("name", "status", "begins"), [("x", 0, "dx: the gradient of the loss at x\n"), ("y", 2, "")])
def test_explain_derives_a_node_or_says_which_there_are(
    name: str, status: int, begins: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bncheck", "explain", name])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    captured = capsys.readouterr()
    assert (ended.value.code or 0) == status
    assert captured.out.startswith(begins)
    assert status == 0 or "The nodes are beta, gamma, mean, var and x." in captured.err
