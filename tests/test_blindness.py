"""Blindness: a fault is invisible if and only if the checker passes it, and the reason and the cure are right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bncheck.batchnorm import NODES
from bncheck.case import Case, XDraw
from bncheck.check import check
from bncheck.comparison import Verdict, Yardstick
from bncheck.config import read
from bncheck.fault import Fault
from bncheck.faults import FAULTS
from bncheck.ground import Ground
from bncheck.implementations.contract import Implementation
from bncheck.parts import Parts
from bncheck.problem import draw
from bncheck.sight import Sight, sight, smallest_slip
from tests.faulty import FAULTS as TWELVE
from tests.faulty import slip

DENSE = Case(shape=(7, 3))
CONFIGS = Path(__file__).parents[1] / "configs"
NEAR = 2.0  # an effect within this factor of the tolerance may fall on either side of it


def scene(case: Case) -> tuple[Parts, dict[str, Yardstick]]:
    ground = Ground.of(draw(case))
    parts = Parts.of(ground.exact.inputs, ground.exact.dout, ground.stages, case.shape[0])
    return parts, {node: ground.yardstick(node) for node in NODES}


def seen(case: Case) -> Sight:
    return sight(*scene(case), case.dtype)


def sentences(case: Case) -> list[str]:
    return [blind.sentence for blind in seen(case).blind]


def passes(case: Case, implementation: Implementation) -> bool:
    return check(case, implementation).verdict is Verdict.PASS


def largest_effect(parts: Parts, rods: dict[str, Yardstick], fault: Fault, samples: int) -> float:
    """Of a fault on any row, as a multiple of the tolerance there; infinite where it is not finite."""
    with np.errstate(all="ignore"):
        wrong = fault.gradients(parts.inputs, parts.dout, samples)
        ratios = [
            np.abs(wrong.of(node) - parts.gradients.of(node)) / (rod.tolerance * rod.measured_by)
            for node, rod in rods.items()
        ]
    return max(float(np.max(np.nan_to_num(ratio, nan=0, posinf=np.inf))) for ratio in ratios)


@pytest.mark.parametrize("std", [10.0, 20.0, 40.0, 60.0, 80.0, 160.0])
def test_faults_that_fade_are_invisible_from_where_no_element_is_above_the_tolerance(std: float) -> None:
    case = Case(shape=(64, 2), x=XDraw(std=std))
    parts, rods = scene(case)
    invisible = set(sight(parts, rods, "float64").invisible)
    fading = [fault for fault in FAULTS if "eps" in fault.needs]
    effects = {fault: largest_effect(parts, rods, fault, case.shape[0]) for fault in fading}
    assert invisible == {fault for fault, effect in effects.items() if effect <= 1}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_fault_is_invisible_if_and_only_if_the_checker_passes_it(regime: Case, dtype: str) -> None:
    case = replace(regime, dtype=dtype)
    with np.errstate(all="ignore"):
        if Ground.of(draw(case)).reason:
            pytest.skip("the dtype cannot carry the regime")
    parts, rods = scene(case)
    invisible = set(sight(parts, rods, dtype).invisible)
    for fault in (fault for fault in FAULTS if fault.applies(parts)):
        largest = largest_effect(parts, rods, fault, case.shape[0])
        if not 1 / NEAR <= largest <= NEAR:
            assert passes(case, fault.implementation(case.shape[0])) == (fault in invisible), fault.name


def test_every_fault_that_is_possible_is_either_visible_or_not() -> None:
    case = replace(DENSE, dout="ones")
    parts, rods = scene(case)
    found = sight(parts, rods, "float64")
    assert {*found.visible, *found.invisible} == {fault for fault in FAULTS if fault.applies(parts)}
    assert not {*found.visible} & {*found.invisible}


def test_default_draw_leaves_nothing_invisible() -> None:
    assert seen(Case(shape=(32, 64))).blind == ()
    assert seen(Case(shape=(8, 3, 6, 6))).blind == ()


def test_quickstart_leaves_nothing_invisible() -> None:
    for case in read(str(CONFIGS / "quickstart.yaml"), []):
        assert seen(case).invisible == ()


# --- reasons and cures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "reason", "cured"),
    [
        (
            replace(DENSE, dout="ones"),
            "dout is ones, so dx is zero: 45 faults in x cannot show; use dout: normal",
            DENSE,
        ),
        (
            replace(DENSE, dout="zeros"),
            "dout is zeros, so every gradient is zero: 98 faults in x, 15 in gamma and 9 in beta cannot show; "
            "use dout: normal",
            DENSE,
        ),
        (
            replace(DENSE, gamma="ones"),
            "gamma is ones, so a gamma too many or too few is no change: 9 faults in x, 1 in beta and 1 in gamma "
            "cannot show; use gamma: normal",
            DENSE,
        ),
        (
            replace(DENSE, gamma="zeros"),
            "gamma is zeros, so dx is zero: 88 faults in x cannot show; use gamma: normal",
            DENSE,
        ),
        (
            replace(DENSE, x=XDraw(std=1e6)),
            "eps is 1e-5, which is too little beside the variance for float64: 12 faults in x and 2 in gamma cannot "
            "show; use x: {like: normal, std: 0.02}",
            replace(DENSE, x=XDraw(std=0.02)),
        ),
        (
            Case(shape=(6, 6)),
            "n is d, so that one cannot be told from the other: 3 faults in x cannot show; use a shape with n != d",
            DENSE,
        ),
        (
            replace(DENSE, mode="eval"),
            "mean and var are constants in eval mode, so dx is the direct route alone: 19 faults in x cannot show; "
            "use mode: train",
            DENSE,
        ),
        (
            replace(DENSE, dtype="float16"),
            "float16 tolerates more than they change: 14 faults in x and 2 in gamma cannot show; use dtype: float64",
            DENSE,
        ),
        (
            replace(DENSE, x=XDraw(std=1e-150)),
            "the variance is nothing beside eps, so nothing comes back through var: 14 faults in x cannot show; "
            "use x: {like: normal, std: 0.02}",
            replace(DENSE, x=XDraw(std=0.02)),
        ),
    ],
    ids=["dout ones", "dout zeros", "gamma ones", "gamma zeros", "std", "square", "eval", "float16", "no variance"],
)
def test_blindness_is_told_with_its_reason_and_a_cure_that_works(case: Case, reason: str, cured: Case) -> None:
    (blind,) = (blind for blind in seen(case).blind if blind.sentence == reason)
    assert not {*blind.faults} & {*seen(cured).invisible}


def test_one_fault_is_told_in_the_singular() -> None:
    assert "dout is ones, so a forgotten dout is no change: 1 fault in beta cannot show; use dout: normal" in sentences(
        replace(DENSE, dout="ones")
    )


def test_large_groups_are_told_first() -> None:
    counts = [len(blind.faults) for blind in seen(replace(DENSE, dout="ones")).blind]
    assert counts == sorted(counts, reverse=True)
    assert len(counts) > 1


def test_row_that_is_not_judged_shows_nothing() -> None:
    parts, rods = scene(DENSE)
    without = sight(parts, {"x": rods["x"]}, "float64")
    assert {fault.row for fault in without.invisible} == {"gamma", "beta"}
    assert sight(parts, rods, "float64").invisible == ()


def test_dmean_and_dvar_that_are_implied_show_what_dx_does() -> None:
    ground = Ground.of(draw(DENSE))
    parts, rods = scene(DENSE)
    implied = {node: ground.implied_yardstick(node) if node in ("mean", "var") else rods[node] for node in NODES}
    assert sight(parts, implied, "float64", ("mean", "var")).invisible == ()
    alone = sight(parts, {node: implied[node] for node in ("mean", "var")}, "float64", ("mean", "var"))
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
