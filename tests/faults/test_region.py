"""Places: what is wrong somewhere alone is told as ranges in the layout of the case; what is wrong all over is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from bncheck.case import Case, XDraw
from bncheck.faults import region
from bncheck.faults.catalogue import BY_NAME
from bncheck.faults.diagnosis import Finding
from bncheck.faults.region import Span
from bncheck.gradients.batchnorm import FloatArray
from tests.faults.test_diagnosis import scene
from tests.faulty import diagnose, gradients_with
from tests.structural import STRUCTURAL

Place = slice | int | list[int]

DENSE = Case(shape=(40, 20), seed=1)
NAMED = {kind: fault for kind, fault in STRUCTURAL.items() if fault.name}


def axes_of(case: Case) -> tuple[int, ...]:
    return tuple(np.delete(case.shape, case.channel_axis).tolist())


def found(case: Case, change: Callable[[FloatArray], None]) -> tuple[Finding, ...]:
    """The findings about a right backward pass whose dx, (n, d), was changed in place."""
    parts, yardsticks = scene(case)
    dx = parts.gradients.x.copy()
    change(dx)
    return diagnose(parts, {"x": dx}, yardsticks, axes_of(case))


def with_fault(case: Case, name: str) -> tuple[Finding, ...]:
    parts, yardsticks = scene(case)
    wrong = STRUCTURAL[name].gradients(parts, 8)
    return diagnose(parts, {row: wrong.of(row) for row in ("x", "gamma", "beta")}, yardsticks, axes_of(case))


def spoilt(*place: Place) -> Callable[[FloatArray], None]:
    """A change of dx in some rows and features that no formula explains."""

    def change(dx: FloatArray) -> None:
        rows, features = np.arange(len(dx))[place[0]], np.arange(dx.shape[1])[place[1]]
        dx[np.ix_(np.atleast_1d(rows), np.atleast_1d(features))] += (
            0.1 * np.cos(np.arange(1, 1 + np.size(rows)))[:, None]
        )

    return change


def with_formula(case: Case, name: str) -> tuple[Finding, ...]:
    parts, yardsticks = scene(case)
    wrong = gradients_with(BY_NAME[name], parts.inputs, parts.dout, case.shape[0])
    return diagnose(parts, {row: wrong.of(row) for row in ("x", "gamma", "beta")}, yardsticks, axes_of(case))


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ((slice(24, 40), slice(None)), "rows 24 to 39 in every feature"),
        ((slice(None), slice(7, 8)), "feature 7 in every row"),
        ((slice(None), slice(3, None, 8)), "every 8th feature from 3 on in every row"),
        ((slice(1, 20, 2), slice(None)), "every 2nd row from 1 to 19 in every feature"),
        ((slice(8, 12), slice(0, 4)), "rows 8 to 11 in features 0 to 3"),
        (([0, 1, 2, 3, 20, 21], slice(None)), "rows 0 to 3 and 20 to 21 in every feature"),
        (([0, 2, 3, 9, 20, 21], slice(None)), "6 of 40 rows (0, 2 to 3, 9, ...) in every feature"),
        ((3, 2), "row 3 in feature 2"),
    ],
)
def test_what_is_wrong_in_some_place_is_told_by_the_place_without_coefficients(
    place: tuple[Place, Place], sentence: str
) -> None:
    (finding,) = found(DENSE, spoilt(*place))
    assert finding.sentence == f"x: dx is wrong in {sentence}, and right everywhere else."
    assert finding.coefficients == ()
    assert finding.faults == ()


@pytest.mark.parametrize(
    ("case", "rows", "sentence"),
    [
        (Case(shape=(4, 3, 5, 6)), slice(90, 120), "image 3 in every feature"),
        (Case(shape=(4, 5, 6, 3), channel_axis=-1), slice(5, None, 6), "column 5 in every feature"),
        (Case(shape=(4, 3, 5, 6)), slice(24, 30), "image 0, line 4 in every feature"),
        (Case(shape=(4, 3, 9)), slice(8, None, 9), "position 8 in every feature"),
        (Case(shape=(2, 3, 2, 4, 5)), slice(20, 40), "volume 0, slice 1 in every feature"),
        (
            Case(shape=(4, 3, 5, 6)),
            slice(100, 120),
            "rows 100 to 119 (counted over images, lines, columns) in every feature",
        ),
    ],
)
def test_place_is_told_in_the_layout_of_the_case(case: Case, rows: slice, sentence: str) -> None:
    (finding,) = found(case, spoilt(rows, slice(None)))
    assert finding.sentence == f"x: dx is wrong in {sentence}, and right everywhere else."


def test_place_has_its_ranges_as_numbers() -> None:
    (finding,) = found(DENSE, spoilt(slice(24, 40), slice(3, None, 8)))
    assert finding.region is not None
    assert finding.region.rows == (Span(24, 39),)
    assert finding.region.features == (Span(3, 19, 8),)


@pytest.mark.parametrize("kind", NAMED)
@pytest.mark.parametrize("shape", [(40, 20), (7, 3), (5, 3, 4, 4)], ids=str)
def test_fault_of_place_is_named_in_one_finding(kind: str, shape: tuple[int, ...]) -> None:
    (finding,) = with_fault(Case(shape=shape), kind)
    assert finding.faults == (NAMED[kind].name,)
    assert finding.coefficients == ()
    assert finding.faults[0] in BY_NAME


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (
            "last rows lost",
            "x: the last rows are lost, and nothing is written there: rows 32 to 39 in every feature.",
        ),
        (
            "last rows left out of the sums",
            "x, gamma, beta: these rows are left out of the sums: rows 32 to 39 in every feature.",
        ),
        (
            "a block with statistics of its own",
            "x: a block of rows is taken for the whole batch: rows 20 to 39 in every feature.",
        ),
        (
            "all rows written to one",
            "x: every row is written to one and the same, and the last stays: row 0 in every feature.",
        ),
    ],
)
def test_fault_of_place_is_told_with_its_place(kind: str, sentence: str) -> None:
    (finding,) = with_fault(DENSE, kind)
    assert finding.sentence == sentence


def test_first_row_left_out_of_a_sum_is_told() -> None:
    parts, yardsticks = scene(DENSE)
    (finding,) = diagnose(parts, {"beta": parts.dout[1:].sum(axis=0)}, yardsticks)
    assert finding.sentence == "beta: these rows are left out of the sums: row 0 in every feature."


@pytest.mark.parametrize("name", ["next-statistics", "previous-statistics"])
def test_statistics_of_a_neighbour_are_named(name: str) -> None:
    (finding,) = with_formula(DENSE, name)
    assert finding.faults == (name,)
    assert finding.region is None


def test_formula_that_is_wrong_in_some_features_is_told_with_their_range() -> None:
    def change(dx: FloatArray) -> None:
        dx[:, 12:] *= -1

    (finding,) = found(DENSE, change)
    assert finding.sentence.endswith(" It is so in features 12 to 19; the others are right.")


@pytest.mark.parametrize("size", [1e-6, 1e-3, 1.0])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_noise_that_is_everywhere_is_in_no_place(size: float, dtype: str) -> None:
    case = replace(DENSE, dtype=dtype)
    noise = size * np.random.Generator(np.random.PCG64(1)).standard_normal((40, 20))
    for finding in found(case, lambda dx: np.add(dx, noise, out=dx)):  # type: ignore[arg-type]
        assert finding.region is None


def test_feature_in_which_a_fault_cannot_show_is_not_taken_for_right() -> None:
    case = replace(DENSE, x=XDraw(like="constant"))
    parts, yardsticks = scene(case)
    dx = parts.gradients.x + parts.stages.centred * np.cos(np.arange(40))[:, None]
    (finding,) = diagnose(parts, {"x": dx}, yardsticks)
    assert finding.region is None


def test_error_that_fades_into_the_tolerance_has_no_edge() -> None:
    errors = np.concatenate((np.full((5, 8), 0.5), np.full((5, 8), 2.0)))
    assert region.region(errors, np.ones(8, dtype=bool), (10,)) is None


def test_scattered_elements_are_in_no_place() -> None:
    errors = np.where(np.random.Generator(np.random.PCG64(1)).random((30, 30)) < 0.1, 1e6, 0.0)
    errors[0] = errors[:, 0] = 0.0
    assert region.region(errors, np.ones(30, dtype=bool), (30,)) is None


# --- the picture -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "size"), [((200, 300), (16, 64)), ((17, 65), (16, 64)), ((5, 3), (5, 3))])
def test_picture_has_at_most_sixteen_lines_of_sixty_four(shape: tuple[int, int], size: tuple[int, int]) -> None:
    assert np.shape(region.picture(np.zeros(shape))) == size


def test_picture_has_the_fraction_that_is_wrong() -> None:
    errors = np.zeros((32, 128))
    errors[31, :] = 2.0
    errors[30, 127] = np.nan
    drawn = np.array(region.picture(errors))
    assert np.all(drawn[:15] == 0)
    assert np.all(drawn[15, :63] == 0.5)
    assert drawn[15, 63] == 0.75


def test_what_is_wrong_all_over_has_no_picture() -> None:
    (finding,) = with_formula(DENSE, "no-var-route")
    assert finding.picture == ()
