"""What checks are values: `bncheck power`, its table, its last line, its exit status."""

from __future__ import annotations

import io
import json
import math
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import bncheck.faults.catalogue
import bncheck.faults.power
from bncheck import __version__, cli
from bncheck.calling.answer import Answer
from bncheck.calling.implementation import Implementation
from bncheck.case import Case, Verdict, XDraw
from bncheck.checking import check, check_with_sight
from bncheck.config import read
from bncheck.faults.blindness import Blind
from bncheck.faults.catalogue import BY_NAME, FAULTS, KNOWN, Fault
from bncheck.faults.power import CasePower, Detection, Power, Visibility, power, smallest_slip, visibility
from bncheck.faults.terms import FactorValues, Parts, Wrong, needs_met
from bncheck.gradients import batchnorm
from bncheck.gradients.batchnorm import IMPLIED, NODES, STANDARD, FloatArray, Inputs, Variant
from bncheck.gradients.problem import draw
from bncheck.gradients.yardsticks import Basis, Yardstick, relative
from bncheck.report import status_of_power
from bncheck.reporters import console
from bncheck.reporters import json as json_reporter
from bncheck.reporters import power as reporter
from bncheck.reporters.power import Matrix, fitting
from bncheck.reporters.table import Detail
from tests.conftest import REGIMES, TRAIN
from tests.faulty import FAULTS as TWELVE
from tests.faulty import gradients_with, implementation_with, slip

TOP = Path(__file__).parents[2]


def table_of(found: Power, detail: Detail) -> str:
    return console.render(reporter.body(found, detail))


def test_quickstart_leaves_nothing_invisible() -> None:
    found = power(read(TOP / "configs" / "quickstart.yaml"))
    assert found.unseen == ()
    assert not found.cases[0].visibility.invisible
    assert found.sentence == "every known fault that is possible here is caught by some case"
    assert table_of(found, Detail.USUAL).splitlines()[-1] == found.sentence


def test_a_case_that_is_blind_says_why_and_what_would_help() -> None:
    shown = table_of(power([Case(shape=(16, 8), dout="ones", label="ones")]), Detail.USUAL)
    assert "BLIND  ones\n  dout is ones, so dx is zero: " in shown
    assert "faults in x cannot show; use dout: normal\n" in shown


def test_a_fault_that_one_case_catches_is_not_unseen() -> None:
    blind, seeing = Case(shape=(16, 8), dout="ones"), Case(shape=(65, 67))
    assert power([blind]).unseen
    assert not power([blind, seeing]).unseen


def test_slips_are_the_smallest_that_would_show() -> None:
    (found,) = power([Case(shape=(16, 8))]).cases
    assert all(1e-10 < slip < 1e-7 for slip in found.slips.values())


def test_a_case_that_would_be_skipped_sees_nothing_and_says_why() -> None:
    found = power([Case(shape=(4, 5), label="huge", x=XDraw(std=1e200))])
    assert found.cases[0].visibility.visible == ()
    assert "BLIND  huge\n  the variance of x overflows float64" in table_of(found, Detail.USUAL)


def test_where_every_case_would_be_skipped_nothing_is_said_of_the_faults() -> None:
    found = power([Case(shape=(4, 5), x=XDraw(std=1e200))])
    assert found.sentence == "every case would be skipped, so nothing would be checked"
    assert status_of_power(found) == 2


# --- fault by fault ------------------------------------------------------------------------------------------------

NAMES = ("dbeta-averaged", "dgamma-missing", "dgamma-by-samples", "dvar-sign", "no-direct-route")
SOME = tuple(BY_NAME[name] for name in NAMES)
SLIPS = {"beta": 1e-9, "gamma": math.inf, "mean": 2e-9, "var": 3e-9, "x": 4e-9}


def hand_made(label: str, visible: str, invisible: str = "", reason: str = "") -> CasePower:
    """A case that would catch some of SOME and not others, given as their places there."""
    blind = (Blind("dout is odd", "use another", tuple(SOME[int(i)] for i in invisible)),) if invisible else ()
    seen = Visibility(tuple(SOME[int(i)] for i in visible), blind)
    return CasePower(Case(shape=(4, 5), label=label), seen, {} if reason else SLIPS, reason)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Power:
    """Three cases, of a catalogue of five faults."""
    monkeypatch.setattr(bncheck.faults.power, "KNOWN", SOME)
    monkeypatch.setattr(reporter, "KNOWN", SOME)
    monkeypatch.setattr(bncheck.faults.catalogue, "KNOWN", SOME)
    return Power((hand_made("one", "0134"), hand_made("two", "04", "13"), hand_made("big", "", reason="too big")))


def test_the_matrix_has_a_row_for_each_fault_and_a_column_for_each_case(few: Power) -> None:
    assert table_of(few, Detail.FULL) == (
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
    assert table_of(few, Detail.USUAL).startswith(
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
    assert status_of_power(found) == 1
    assert found.sentence == "2 of 4 known faults no case would catch: dgamma-missing; dvar-sign"


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
    assert json_reporter.render_power(few) == json.dumps(expected, indent=2) + "\n"


def test_the_outcomes_of_a_case_are_those_of_the_whole_catalogue() -> None:
    (found,) = power([Case(shape=(16, 8), dout="ones")]).cases
    outcomes = found.outcomes()
    assert list(outcomes) == [fault.name for fault in KNOWN]
    assert outcomes["dvar-sign"] is Detection.INVISIBLE
    assert outcomes["dbeta-missing"] is Detection.CAUGHT
    assert outcomes["samples-for-n"] is Detection.IMPOSSIBLE


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
        for column in range(reporter.NAMED, len(lines[head])):
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
        ["ones", "16x8", "seed=7", "73", "68"]
    ]
    assert called(monkeypatch, "--shape", "33x65x3x1", "-v") == 1
    assert "case                         1\n" in capsys.readouterr().out
    assert called(monkeypatch, config, "--format", "json") == 1
    assert [case["label"] for case in json.loads(capsys.readouterr().out)["cases"]] == [
        "good 16x8 seed=0",
        "ones 16x8 seed=0",
    ]
    assert called(monkeypatch, config, "-k", "none") == 2
    assert "selects none of the 2 cases" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("config", "status"), [("shape: [65, 67]", 0), ("shape: [65, 67]\ndout: ones", 1), ("shap: 1", 2)]
)
def test_exit_status_says_whether_some_fault_is_invisible_in_every_case(
    config: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "c.yaml").write_text(config)
    monkeypatch.setattr(sys, "argv", ["bncheck", "power", str(tmp_path / "c.yaml"), "--set", "eps=1e-4"])
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


# --- visibility ------------------------------------------------------------------------------------------------------


DENSE = Case(shape=(7, 3))
CONFIGS = Path(__file__).parents[2] / "configs"
NEAR = 2.0  # an effect within this factor of the tolerance may fall on either side of it


def scene(case: Case) -> tuple[Parts, dict[str, Yardstick]]:
    basis = Basis.of(draw(case))
    parts = Parts.of(basis.exact.inputs, basis.exact.dout, basis.stages, case.shape[0])
    return parts, {node: basis.yardstick(node) for node in NODES}


def seen(case: Case) -> Visibility:
    return visibility(*scene(case), case.dtype)


def passes(case: Case, implementation: Implementation) -> bool:
    return check(case, implementation).verdict is Verdict.PASS


def largest_effect(parts: Parts, yardsticks: dict[str, Yardstick], fault: Fault, samples: int) -> float:
    """Of a fault on any row, as a multiple of the tolerance there; infinite where it is not finite."""
    with np.errstate(all="ignore"):
        wrong = gradients_with(fault, parts.inputs, parts.dout, samples)
        ratios = [
            np.abs(wrong.of(node) - parts.gradients.of(node)) / (yardstick.tolerance * yardstick.measured_by)
            for node, yardstick in yardsticks.items()
        ]
    return max(float(np.max(np.nan_to_num(ratio, nan=0, posinf=np.inf))) for ratio in ratios)


@pytest.mark.parametrize("std", [10.0, 20.0, 40.0, 60.0, 80.0, 160.0])
def test_faults_that_fade_are_invisible_from_where_no_element_is_above_the_tolerance(std: float) -> None:
    case = Case(shape=(64, 2), x=XDraw(std=std))
    parts, yardsticks = scene(case)
    invisible = set(visibility(parts, yardsticks, "float64").invisible)
    fading = [fault for fault in FAULTS if "eps" in fault.needs]
    effects = {fault: largest_effect(parts, yardsticks, fault, case.shape[0]) for fault in fading}
    assert invisible == {fault for fault, effect in effects.items() if effect <= 1}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_fault_is_invisible_if_and_only_if_the_checker_passes_it(regime: Case, dtype: str) -> None:
    case = replace(regime, dtype=dtype)
    with np.errstate(all="ignore"):
        if Basis.of(draw(case)).reason:
            pytest.skip("the dtype cannot carry the regime")
    parts, yardsticks = scene(case)
    invisible = set(visibility(parts, yardsticks, dtype).invisible)
    for fault in (fault for fault in FAULTS if fault.needs in needs_met(parts)):
        largest = largest_effect(parts, yardsticks, fault, case.shape[0])
        if not 1 / NEAR <= largest <= NEAR:
            assert passes(case, implementation_with(fault, case.shape[0])) == (fault in invisible), fault.name


def test_every_fault_that_is_possible_is_either_visible_or_not() -> None:
    case = replace(DENSE, dout="ones")
    parts, yardsticks = scene(case)
    found = visibility(parts, yardsticks, "float64")
    assert {*found.visible, *found.invisible} == {fault for fault in FAULTS if fault.needs in needs_met(parts)}
    assert not {*found.visible} & {*found.invisible}


# --- the same as fault by fault ----------------------------------------------------------------------------------

MARGIN = 1.001  # an effect this near to the tolerance may be rounded to either side of it
SCENES = {
    **REGIMES,
    "one feature": Case(shape=(7, 1)),
    "one feature, n = 2": Case(shape=(2, 1)),
    "an image": Case(shape=(2, 3, 2, 4)),
    "square": Case(shape=(6, 6)),
    "gamma zeros": Case(shape=(7, 3), gamma="zeros"),
    "gamma ones, beta zeros": Case(shape=(7, 3), gamma="ones", beta="zeros"),
    "dout zeros": Case(shape=(7, 3), dout="zeros"),
    "no eps": Case(shape=(7, 3), eps=0.0),
    "rtol": Case(shape=(7, 3), rtol=1e-3),
}
KINDS = {
    "float64": ("float64", STANDARD),
    "float32": ("float32", STANDARD),
    "float16": ("float16", STANDARD),
    "unbiased": ("float64", Variant(ddof=1)),
    "eps outside": ("float64", Variant(eps_outside=True)),
    "unbiased, eps outside": ("float64", Variant(ddof=1, eps_outside=True)),
}
JUDGED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "all shown": (NODES, ()),
    "mean and var implied": (NODES, IMPLIED),
    "mean implied": (NODES, ("mean",)),
    "var implied": (NODES, ("var",)),
    "no gamma and no beta": (("mean", "var", "x"), IMPLIED),
    "x alone": (("x",), ()),
    "no x": (("beta", "gamma", "mean", "var"), ()),
    "gamma alone": (("gamma",), ()),
    "nothing": ((), ()),
}
"""Which rows are judged, and which of them are implied."""


Effects = dict[tuple[str, bool], dict[Fault, float]]


def effects(parts: Parts, basis: Basis) -> Effects:
    """Of each fault that is possible, by its gradients alone: the largest error, in tolerances, on each row.

    The key is the row, and whether it is implied from dx.
    """
    right, values, inputs, dout = Wrong.without_fault(parts), FactorValues.of(parts), parts.inputs, parts.dout
    yardsticks = {(row, False): basis.yardstick(row) for row in NODES}
    yardsticks |= {(row, True): basis.implied_yardsticks[row] for row in IMPLIED}
    largest: Effects = {key: {} for key in yardsticks}
    wanted = right.gradients(parts)
    for fault in (fault for fault in FAULTS if fault.needs in needs_met(parts)):
        wrong = fault.wrong(right, parts, values).gradients(parts)
        for (row, from_dx), yardstick in yardsticks.items():
            given, expected = (
                batchnorm.implied_gradient(row, found.x, dout, inputs, parts.stages) if from_dx else found.of(row)
                for found in (wrong, wanted)
            )
            error = relative(np.abs(given - expected), yardstick.measured_by) / yardstick.tolerance
            largest[row, from_dx][fault] = float(np.max(np.where(np.isfinite(error), error, np.inf)))
    return largest


def on(rows: Sequence[str], from_dx: Sequence[str], found: Effects) -> dict[Fault, float]:
    """Of each fault, the largest effect on any of the rows that are judged."""
    faults = found["x", False]
    return {fault: max((found[row, row in from_dx][fault] for row in rows), default=0.0) for fault in faults}


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "variant"), KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("scene_of", SCENES.values(), ids=SCENES)
def test_the_catalogue_at_once_shows_what_it_shows_fault_by_fault(scene_of: Case, dtype: str, variant: Variant) -> None:
    case = replace(scene_of, dtype=dtype)
    if variant.ddof and case.mode == "eval":
        pytest.skip("running statistics are divided by nothing")
    with np.errstate(all="ignore"):
        first = Basis.of(draw(case))
        if first.reason:
            pytest.skip("the dtype cannot carry the regime")
        basis = first.at(replace(first.exact.inputs, variant=variant))
        if np.any(basis.stages.root == 0):
            pytest.skip("the variant has no derivative there")
        parts = Parts.of(basis.exact.inputs, basis.exact.dout, basis.stages, case.samples)
        each = effects(parts, basis)
        for name, (rows, from_dx) in JUDGED.items():
            from_dx = () if case.mode == "eval" else from_dx
            yardsticks = {
                row: basis.implied_yardsticks[row] if row in from_dx else basis.yardstick(row) for row in rows
            }
            largest = on(rows, from_dx, each)
            found = visibility(parts, yardsticks, dtype, from_dx)
            assert [*largest] == [fault for fault in FAULTS if fault in {*found.visible, *found.invisible}]
            clear = {fault: effect for fault, effect in largest.items() if not 1 / MARGIN < effect < MARGIN}
            wrong = {fault.name for fault, effect in clear.items() if (effect > 1) != (fault in found.visible)}
            assert not wrong, name


@pytest.mark.parametrize("from_dx", IMPLIED)
@pytest.mark.parametrize("rtol", [None, 0.1], ids=["of eps", "not summed"])
def test_what_fades_in_every_row_of_dx_may_still_show_in_what_their_sum_implies(
    rtol: float | None, from_dx: str
) -> None:
    case = Case(shape=(64, 2), dout="one-hot", x=XDraw(std=40.0 if rtol is None else 1.0), rtol=rtol)
    basis = Basis.of(draw(case))
    parts, each = scene(case)[0], effects(scene(case)[0], basis)
    alone = set(visibility(parts, {"x": basis.yardstick("x")}, "float64").visible)
    yardsticks = {"x": basis.yardstick("x"), from_dx: basis.implied_yardsticks[from_dx]}
    found = set(visibility(parts, yardsticks, "float64", (from_dx,)).visible)
    assert found == {fault for fault, effect in on(("x", from_dx), (from_dx,), each).items() if effect > 1}
    more = {fault.term for fault in found - alone}
    assert ("compound" in more) is (rtol is not None)


# --- the same as the checker -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Layer:
    """Somebody's layer with a fault: it shows out, dx, dgamma and dbeta, and keeps dmean and dvar to itself."""

    fault: Fault
    samples: int
    variant: Variant = STANDARD
    shown: tuple[str, ...] = ("x", "gamma", "beta")
    name: str = "Layer"

    def forward(self, inputs: Inputs) -> FloatArray:
        """By the graph."""
        return batchnorm.forward(self._own(inputs)).out

    def given(self, inputs: Inputs) -> Inputs:
        """It takes everything."""
        return inputs

    def answer(self, inputs: Inputs, dout: FloatArray) -> Answer:
        """What it shows, in the dtype of the inputs."""
        found = implementation_with(self.fault, self.samples).backward(self._own(inputs), dout)
        x, gamma, beta = (found.of(row) if row in self.shown else None for row in ("x", "gamma", "beta"))
        return Answer(self.forward(inputs), x, gamma, beta)

    examined = answer

    def _own(self, inputs: Inputs) -> Inputs:
        return replace(inputs, variant=self.variant)


NOTHING = Fault("nothing", "dx", "2", (), "nothing is wrong", spoil=lambda right, parts: right)
LAYERS = {
    **{name: (case, STANDARD) for name, case in TRAIN.items() if name in ("ordinary", "mean 1e4", "n = 2", "std 1e6")},
    **{name: (case, STANDARD) for name, case in TRAIN.items() if name in ("dout of ones", "a constant feature")},
    "float32": (Case(shape=(7, 3), dtype="float32"), STANDARD),
    "eval": (Case(shape=(7, 3), mode="eval"), STANDARD),
    "gamma ones": (Case(shape=(7, 3), gamma="ones", beta="zeros"), STANDARD),
    "an image": (Case(shape=(2, 3, 2, 4), dout="ones"), STANDARD),
    "unbiased": (Case(shape=(7, 3), x=XDraw(std=1e3)), Variant(ddof=1)),
    "eps outside": (Case(shape=(7, 3), dout="ones"), Variant(eps_outside=True)),
}


@pytest.mark.slow
@pytest.mark.parametrize(("case", "variant"), LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("shown", [("x", "gamma", "beta"), ("x",)], ids=["dx, dgamma, dbeta", "dx alone"])
def test_fault_of_a_layer_that_keeps_dmean_and_dvar_is_invisible_if_and_only_if_it_passes(
    case: Case, variant: Variant, shown: tuple[str, ...]
) -> None:
    samples = case.samples
    report = check_with_sight(case, Layer(NOTHING, samples, variant, shown))
    assert report.verdict is Verdict.PASS
    blind = {fault for found in report.blind for fault in found.faults}
    with np.errstate(all="ignore"):
        basis = Basis.of(draw(case))
        basis = basis.at(replace(basis.exact.inputs, variant=variant))
        parts = Parts.of(basis.exact.inputs, basis.exact.dout, basis.stages, samples)
        from_dx = () if case.mode == "eval" else IMPLIED
        largest = on([*shown, *from_dx], from_dx, effects(parts, basis))
    assert blind <= {*largest}
    clear = [fault for fault, effect in largest.items() if not 1 / NEAR <= effect <= NEAR]
    tried = [fault for number, fault in enumerate(clear) if fault in blind or number % 3 == 0]
    assert len(tried) >= 40
    passed = {fault for fault in tried if check(case, Layer(fault, samples, variant, shown)).verdict is Verdict.PASS}
    assert {fault.name for fault in passed} == {fault.name for fault in tried if fault in blind}


def test_nothing_is_said_of_a_forward_that_is_none_that_is_known() -> None:
    class Doubled(Layer):
        def forward(self, inputs: Inputs) -> FloatArray:
            return 2 * batchnorm.forward(inputs).out

    blind = replace(DENSE, dout="ones")
    assert check_with_sight(blind, Doubled(NOTHING, 7)).blind == ()
    assert check_with_sight(blind, Layer(NOTHING, 7)).blind != ()


def test_nothing_is_said_of_a_case_that_is_skipped() -> None:
    report = check_with_sight(replace(DENSE, dout="ones", dtype="float16", x=XDraw(std=1e9)), Layer(NOTHING, 7))
    assert (report.verdict, report.blind) == (Verdict.SKIPPED, ())


def test_a_check_without_sight_says_nothing() -> None:
    assert check(replace(DENSE, dout="ones"), Layer(NOTHING, 7)).blind == ()


def test_a_row_that_fails_is_still_looked_through() -> None:
    broken = next(fault for fault in FAULTS if fault.name == "dbeta-sign")
    report = check_with_sight(replace(DENSE, dout="ones"), Layer(broken, 7))
    assert report.verdict is Verdict.FAIL
    assert len(report.blind) == 3


def test_default_draw_leaves_nothing_invisible() -> None:
    assert seen(Case(shape=(32, 64))).blind == ()
    assert seen(Case(shape=(8, 3, 6, 6))).blind == ()


def test_quickstart_leaves_nothing_invisible_of_sight() -> None:
    for case in read(str(CONFIGS / "quickstart.yaml"), []):
        assert seen(case).invisible == ()


def test_row_that_is_not_judged_shows_nothing() -> None:
    parts, yardsticks = scene(DENSE)
    without = visibility(parts, {"x": yardsticks["x"]}, "float64")
    assert {fault.row for fault in without.invisible} == {"gamma", "beta"}
    assert visibility(parts, yardsticks, "float64").invisible == ()


def test_dmean_and_dvar_that_are_implied_show_what_dx_does() -> None:
    basis = Basis.of(draw(DENSE))
    parts, yardsticks = scene(DENSE)
    implied = {node: basis.implied_yardsticks[node] if node in ("mean", "var") else yardsticks[node] for node in NODES}
    assert visibility(parts, implied, "float64", ("mean", "var")).invisible == ()
    alone = visibility(parts, {node: implied[node] for node in ("mean", "var")}, "float64", ("mean", "var"))
    assert {fault.row for fault in alone.visible} <= {"x", "gamma", "beta"}


@pytest.mark.parametrize("twelve", TWELVE, ids=lambda fault: fault.name)
def test_twelve_faults_are_all_visible_on_ordinary_data(twelve: object) -> None:
    assert not passes(DENSE, twelve.implementation)  # type: ignore[attr-defined]


# --- the smallest slip -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [DENSE, replace(DENSE, dtype="float32")], ids=["float64", "float32"])
def test_slip_above_the_smallest_shows_and_one_below_it_does_not(case: Case) -> None:
    smallest = smallest_slip(*scene(case))["var"]

    def fails(size: float) -> bool:
        rows = check(case, slip(size)).comparisons
        return any(row.node == "var" and row.verdict is Verdict.FAIL for row in rows)

    assert fails(1.5 * smallest)
    assert not fails(smallest / 1.5)


def test_gradient_that_is_all_but_zero_shows_only_a_slip_that_is_huge() -> None:
    slips = smallest_slip(*scene(replace(DENSE, dout="ones")))
    assert slips["beta"] < 1e-8
    assert slips["x"] > 1


def test_gradient_of_zero_shows_no_slip() -> None:
    assert smallest_slip(*scene(replace(DENSE, dout="zeros")))["beta"] == np.inf
