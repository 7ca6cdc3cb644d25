"""What checks are worth: `bncheck power`, its table, its last line, its exit status."""

from __future__ import annotations

import io
import json
import math
import platform
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import bncheck.power
from bncheck import __version__, cli
from bncheck.blindness import Blind
from bncheck.case import Case, XDraw
from bncheck.config import read
from bncheck.faults import BY_NAME, FAULTS
from bncheck.power import CasePower, Outcome, Power, power
from bncheck.reporters import matrix, power_json
from bncheck.reporters import power as reporter
from bncheck.reporters.matrix import Matrix, fitting
from bncheck.reporters.table import Detail
from bncheck.sight import Sight

TOP = Path(__file__).parents[1]


def test_quickstart_leaves_nothing_invisible() -> None:
    found = power(read(TOP / "configs" / "quickstart.yaml"))
    assert found.unseen == ()
    assert not any(case.sight.invisible for case in found.cases)
    assert found.sentence == "every known fault that is possible here is caught by some case"
    assert reporter.render(found, Detail.USUAL).splitlines()[-1] == found.sentence


def test_a_case_that_is_blind_says_why_and_what_would_help() -> None:
    shown = reporter.render(power([Case(shape=(16, 8), dout="ones", label="ones")]), Detail.USUAL)
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
    assert "BLIND  huge\n  the variance of x overflows float64" in reporter.render(found, Detail.USUAL)


def test_where_every_case_would_be_skipped_nothing_is_said_of_the_faults() -> None:
    found = power([Case(shape=(4, 5), x=XDraw(std=1e200))])
    assert found.sentence == "every case would be skipped, so nothing would be checked"
    assert found.status == 2


# --- fault by fault ------------------------------------------------------------------------------------------------

NAMES = ("dbeta-averaged", "dgamma-missing", "dgamma-by-samples", "dvar-sign", "no-direct-route")
SOME = tuple(BY_NAME[name] for name in NAMES)
SLIPS = {"beta": 1e-9, "gamma": math.inf, "mean": 2e-9, "var": 3e-9, "x": 4e-9}


def hand_made(label: str, visible: str, invisible: str = "", reason: str = "") -> CasePower:
    """A case that would catch some of SOME and not others, given as their places there."""
    blind = (Blind("dout is odd", "use another", tuple(SOME[int(i)] for i in invisible)),) if invisible else ()
    seen = Sight(tuple(SOME[int(i)] for i in visible), blind)
    return CasePower(Case(shape=(4, 5), label=label), seen, {} if reason else SLIPS, reason)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Power:
    """Three cases, of a catalogue of five faults."""
    monkeypatch.setattr(bncheck.power, "FAULTS", SOME)
    monkeypatch.setattr(matrix, "FAULTS", SOME)
    monkeypatch.setattr(power_json, "FAULTS", SOME)
    return Power((hand_made("one", "0134"), hand_made("two", "04", "13"), hand_made("big", "", reason="too big")))


def test_the_matrix_has_a_row_for_each_fault_and_a_column_for_each_case(few: Power) -> None:
    assert reporter.render(few, Detail.FULL) == (
        "Faults that each case would catch, and the smallest relative slip it would show\n"
        "case    caught  invisible   beta  gamma   mean    var      x\n"
        "────────────────────────────────────────────────────────────\n"
        "1  one       4          0  1e-09      -  2e-09  3e-09  4e-09\n"
        "2  two       2          2  1e-09      -  2e-09  3e-09  4e-09\n"
        "3  big       -          -      -      -      -      -      -\n"
        "\n"
        "What each case would make of each known fault\n"
        ". caught, o invisible, - not possible in that case, blank: the case would be skipped\n"
        "case                         123\n"
        "beta\n"
        "  dbeta-averaged             ..\n"
        "gamma\n"
        "  dgamma-missing             .o\n"
        "  dgamma-by-samples          --\n"
        "x\n"
        "  dvar-sign                  .o\n"
        "  no-direct-route            ..\n"
        "\n"
        "BLIND  two\n"
        "  dout is odd: 1 fault in gamma and 1 in x cannot show; use another\n"
        "\n"
        "BLIND  big\n"
        "  too big\n"
        "\n"
        "every known fault that is possible here is caught by some case\n"
    )


def test_without_v_there_are_the_counts_alone(few: Power) -> None:
    assert reporter.render(few, Detail.USUAL).startswith(
        "Faults that each case would catch, and the smallest relative slip it would show\n"
        "case   caught  invisible   beta  gamma   mean    var      x\n"
        "───────────────────────────────────────────────────────────\n"
        "one         4          0  1e-09      -  2e-09  3e-09  4e-09\n"
        "two         2          2  1e-09      -  2e-09  3e-09  4e-09\n"
        "big         -          -      -      -      -      -      -\n"
        "\n"
        "BLIND  two\n"
    )


def test_what_no_case_would_catch_is_told_with_its_names(few: Power) -> None:
    found = Power(few.cases[1:])
    assert found.status == 1
    assert found.sentence == "2 of the known faults no case would catch: dgamma-missing; dvar-sign"


def test_where_every_fault_is_possible_no_more_is_said(few: Power) -> None:
    assert Power((*few.cases, hand_made("all", "01234"))).sentence == "every known fault is caught by some case"


def test_json_has_all_of_it(few: Power) -> None:
    case = asdict(Case(shape=(4, 5)))
    case["shape"] = [4, 5]
    slips = {"beta": 1e-9, "gamma": None, "mean": 2e-9, "var": 3e-9, "x": 4e-9}
    blind = {"reason": "dout is odd", "cure": "use another", "faults": ["dgamma-missing", "dvar-sign"]}
    outcomes = {
        "dbeta-averaged": ["caught", "caught", "skipped"],
        "dgamma-missing": ["caught", "invisible", "skipped"],
        "dgamma-by-samples": ["impossible", "impossible", "skipped"],
        "dvar-sign": ["caught", "invisible", "skipped"],
        "no-direct-route": ["caught", "caught", "skipped"],
    }
    expected = {
        "format": 1,
        "bncheck": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "status": {
            "code": 0,
            "name": "passed",
            "sentence": "every known fault that is possible here is caught by some case",
        },
        "unseen": [],
        "cases": [
            {
                "label": "one",
                "source": None,
                "reason": None,
                "counts": {"caught": 4, "invisible": 0, "impossible": 1, "skipped": 0},
                "slips": slips,
                "blind": [],
                "case": {**case, "label": "one"},
            },
            {
                "label": "two",
                "source": None,
                "reason": None,
                "counts": {"caught": 2, "invisible": 2, "impossible": 1, "skipped": 0},
                "slips": slips,
                "blind": [blind],
                "case": {**case, "label": "two"},
            },
            {
                "label": "big",
                "source": None,
                "reason": "too big",
                "counts": {"caught": 0, "invisible": 0, "impossible": 0, "skipped": 5},
                "slips": dict.fromkeys(slips),
                "blind": [],
                "case": {**case, "label": "big"},
            },
        ],
        "faults": [
            {"name": name, "row": BY_NAME[name].row, "sentence": BY_NAME[name].sentence, "cases": found}
            for name, found in outcomes.items()
        ],
    }
    assert power_json.render(few) == json.dumps(expected, indent=2) + "\n"


def test_the_outcomes_of_a_case_are_those_of_the_whole_catalogue() -> None:
    (found,) = power([Case(shape=(16, 8), dout="ones")]).cases
    outcomes = found.outcomes()
    assert list(outcomes) == [fault.name for fault in FAULTS]
    assert outcomes["dvar-sign"] is Outcome.INVISIBLE
    assert outcomes["dbeta-missing"] is Outcome.CAUGHT
    assert outcomes["samples-for-n"] is Outcome.IMPOSSIBLE


def at_width(found: Power, width: int) -> list[str]:
    """The lines of a matrix on a terminal of that width."""
    text = io.StringIO()
    Console(file=text, width=width).print(Matrix(found))
    return [line.rstrip() for line in text.getvalue().splitlines()]


@pytest.mark.parametrize(("width", "blocks"), [(50, 6), (80, 3), (200, 1)])
def test_a_terminal_gets_as_many_cases_side_by_side_as_fit_and_loses_none(few: Power, width: int, blocks: int) -> None:
    cases = [hand_made(f"case {i}", "0134" if i % 3 else "04", "" if i % 3 else "13") for i in range(1, 113)]
    lines = at_width(Power(tuple(cases)), width)
    assert max(map(len, lines)) <= width
    heads = [place for place, line in enumerate(lines) if line.startswith("case ")]
    assert len(heads) == blocks
    marks: dict[int, str] = {}
    for head in heads:
        (row,) = [line for line in lines[head:][:9] if "dvar-sign" in line]
        for column in range(matrix.NAMED, len(lines[head])):
            number = "".join(line[column : column + 1] for line in lines[head - 2 : head + 1]).strip()
            if number:
                marks[int(number)] = row[column]
    assert marks == {i: "." if i % 3 else "o" for i in range(1, 113)}


def test_the_legend_has_the_marks_that_are_there(few: Power) -> None:
    assert at_width(Power((hand_made("all", "01234"),)), 80)[1] == ". caught"


@pytest.mark.parametrize(
    ("cases", "width", "fit"),
    [
        (0, 50, 1),
        (1, 1, 1),
        (10, 10, 10),
        (11, 11, 10),
        (11, 12, 11),
        (62, 50, 40),
        (62, 53, 40),
        (62, 54, 50),
        (62, 3, 10),
    ],
)
def test_all_fit_or_a_multiple_of_ten_does(cases: int, width: int, fit: int) -> None:
    assert fitting(cases, width) == fit


# --- the command line ----------------------------------------------------------------------------------------------

TWO = "cases:\n  - {name: good, shape: [16, 8]}\n  - {name: ones, shape: [16, 8], dout: ones}\n"


def called(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit status of `bncheck power`."""
    monkeypatch.setattr(sys, "argv", ["bncheck", "power", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_options_are_those_of_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.yaml").write_text(TWO)
    config = str(tmp_path / "c.yaml")
    assert called(monkeypatch, config, "-k", "ones", "--seed", "7") == 1
    assert [line.split()[:5] for line in capsys.readouterr().out.splitlines()[3:4]] == [
        ["ones", "16x8", "seed=7", "68", "56"]
    ]
    assert called(monkeypatch, "--shape", "3x2x2x2", "-v") == 0
    assert "case                         1\n" in capsys.readouterr().out
    assert called(monkeypatch, config, "--format", "json") == 0
    assert [case["label"] for case in json.loads(capsys.readouterr().out)["cases"]] == [
        "good 16x8 seed=0",
        "ones 16x8 seed=0",
    ]
    assert called(monkeypatch, config, "-k", "none") == 2
    assert "selects none of the 2 cases" in capsys.readouterr().err


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
