"""Verdicts from made-up errors, tolerances and resolutions, whose answers are known."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bncheck.calling.implementation import bind
from bncheck.case import Case, Convention, Verdict, XDraw
from bncheck.checking import check
from bncheck.gradients import batchnorm
from bncheck.gradients.batchnorm import FloatArray
from bncheck.gradients.comparison import Cause, Comparison, compare, in_wider, usual_cause
from bncheck.gradients.numeric import Numeric
from bncheck.gradients.problem import draw
from bncheck.gradients.stack import EVERYDAY, EXTENDED, methods
from bncheck.gradients.yardsticks import Basis, Yardstick, growth_of_alike, relative, sum_error
from bncheck.report import CaseReport
from tests.benchmarks.rewritings import ONE_PASS, TWO_PASS, Shown, in_float32
from tests.conftest import REGIMES

RTOL = 1e-6  # of the made-up comparisons below: anything between roundoff and 1


def yardstick(scale: Any, roundoff: Any = 0.0, *, rtol: float | None = RTOL, unit: float = 5 * 2.0**-53) -> Yardstick:
    """One whose sums are off by five units roundoff, one of which vanishes, and that has no smallest number."""
    scale = np.asarray(scale, float)
    roundoff = np.broadcast_to(np.asarray(roundoff, float), scale.shape)
    return Yardstick(scale, roundoff, unit / 5 * roundoff, unit, 0.0, rtol)


def numeric(value: Any, resolution: Any) -> Numeric:
    """A numeric gradient as if by the everyday method."""
    return Numeric(np.asarray(value, float), np.asarray(resolution, float), str(EVERYDAY))


def judged(error: float, resolution: float, scale: float = 1.0) -> Comparison:
    """One feature at dgamma, whose numeric gradient is 0 and whose analytic one is `error`."""
    return compare("gamma", np.array([error]), numeric([0.0], [resolution]), yardstick([scale]))


# --- verdict ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "resolution", "scale", "verdict"),
    [
        pytest.param(0, 0, 1, Verdict.PASS, id="equal"),
        pytest.param(RTOL, RTOL, 1, Verdict.PASS, id="both at the tolerance"),
        pytest.param(0.9e-6, 0.9e-6, 1, Verdict.PASS, id="both below it"),
        pytest.param(2.0e-6, 0.5e-6, 1, Verdict.FAIL, id="above it by more than the resolution"),
        pytest.param(2.0e-6, 0.0, 1, Verdict.FAIL, id="above it, exactly known"),
        pytest.param(2.0e-6, 1.5e-6, 1, Verdict.UNRESOLVED, id="above it by less than the resolution"),
        pytest.param(1.5e-6, 0.9e-6, 1, Verdict.UNRESOLVED, id="above it, and the resolution below it"),
        pytest.param(0.0, 2.0e-6, 1, Verdict.UNRESOLVED, id="equal, but the resolution is above it"),
        pytest.param(1.0, 0.5, 1, Verdict.FAIL, id="far above a poor resolution"),
        pytest.param(1.0, 1.0, 1e9, Verdict.PASS, id="measured by a large scale"),
        pytest.param(1e-300, 0.0, 1e-300, Verdict.FAIL, id="measured by a small scale"),
        pytest.param(0.0, 0.0, 0, Verdict.PASS, id="nothing of nothing"),
        pytest.param(1e-300, 0.0, 0, Verdict.FAIL, id="something of nothing"),
        pytest.param(0.0, 1e-300, 0, Verdict.UNRESOLVED, id="nothing of nothing, unresolved"),
        pytest.param(math.nan, 0.0, 1, Verdict.FAIL, id="not a number"),
        pytest.param(math.nan, math.inf, 1, Verdict.FAIL, id="not a number, unresolved"),
        pytest.param(math.inf, 0.0, 1, Verdict.FAIL, id="infinite"),
        pytest.param(-math.inf, 0.0, 1, Verdict.FAIL, id="minus infinity"),
        pytest.param(math.inf, 0.0, 0, Verdict.FAIL, id="infinite of nothing"),
        pytest.param(0.0, math.inf, 1, Verdict.UNRESOLVED, id="equal, with no resolution at all"),
        pytest.param(0.0, math.nan, 1, Verdict.FAIL, id="a resolution that is not a number"),
    ],
)
def test_verdict_follows_from_error_tolerance_and_resolution(
    error: float, resolution: float, scale: float, verdict: Verdict
) -> None:
    assert judged(error, resolution, scale).verdict is verdict


@pytest.mark.parametrize(
    ("analytic", "numeric_value"),
    [(math.nan, math.nan), (math.inf, math.inf), (1.0, math.nan), (0.0, -math.inf)],
)
def test_what_is_not_finite_fails_even_where_both_sides_agree(analytic: float, numeric_value: float) -> None:
    found = compare("gamma", np.array([analytic]), numeric([numeric_value], [0.0]), yardstick([1.0]))
    assert found.verdict is Verdict.FAIL


def test_the_worst_verdict_of_any_feature_is_that_of_the_node() -> None:
    errors, resolutions = np.array([0.0, 0.0, 3e-6]), [0.0, 1.0, 0.0]
    assert compare("gamma", errors, numeric(np.zeros(3), resolutions), yardstick(np.ones(3))).verdict is Verdict.FAIL
    assert (
        compare("gamma", errors[:2], numeric(np.zeros(2), resolutions[:2]), yardstick(np.ones(2))).verdict
        is Verdict.UNRESOLVED
    )


def test_a_failing_feature_is_shown_before_one_that_is_larger_but_unresolved() -> None:
    found = compare("gamma", np.array([2e-6, 9e-6]), numeric(np.zeros(2), [0.0, 1.0]), yardstick(np.ones(2)))
    assert found.worst.index == (0,)


def test_a_feature_that_is_not_a_number_is_shown_before_one_that_is_far_off() -> None:
    found = compare("gamma", np.array([1e9, math.nan, 1e9]), numeric(np.zeros(3), np.zeros(3)), yardstick(np.ones(3)))
    assert found.worst.index == (1,)


def test_the_feature_nearest_to_failing_is_shown_and_not_the_one_with_the_largest_error() -> None:
    # Errors 1e-10 and 5e-10; tolerances 1e-9 and 1e-9 + 3 * 2**-24 * 5, about 9e-7.
    found = compare(
        "gamma",
        np.array([1e-10, 5e-10]),
        numeric(np.zeros(2), np.zeros(2)),
        yardstick(np.ones(2), [0.0, 1.0], rtol=None, unit=5 * 2.0**-24),
    )
    assert (found.worst.index, found.error) == ((0,), 1e-10)


numbers = st.sampled_from([0.0, 1e-7, 0.9e-6, 1.1e-6, 2.5e-6, 1.0, math.inf, math.nan])


@given(
    features=st.lists(
        st.tuples(numbers, st.sampled_from([0.0, 0.5e-6, 2e-6, math.inf]), st.sampled_from([0.5, 1.0, 2.0])), min_size=1
    )
)
def test_the_numbers_shown_are_the_numbers_judged(features: list[tuple[float, float, float]]) -> None:
    errors, resolutions, scales = (np.array(column) for column in zip(*features, strict=True))
    found = compare("var", errors, numeric(np.zeros_like(errors), resolutions), yardstick(scales))
    j = found.worst.index[0]
    assert (found.scale, found.resolution) == (scales[j], resolutions[j] / scales[j])
    assert found.error == errors[j] / scales[j] or math.isnan(errors[j])
    if not found.error - found.resolution <= found.tolerance:
        wanted = Verdict.FAIL
    elif found.error <= found.tolerance and found.resolution <= found.tolerance:
        wanted = Verdict.PASS
    else:
        wanted = Verdict.UNRESOLVED
    assert found.verdict is wanted


# --- what else is said -----------------------------------------------------------------------------------------


def test_the_worst_element_has_its_index_and_both_values() -> None:
    analytic = np.array([[1.0, 2.0], [3.0, 4.5], [5.0, 6.0]])
    values = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.1]])
    worst = compare("x", analytic, numeric(values, [0.0, 0.0]), yardstick([1.0, 1.0])).worst
    assert (worst.index, worst.analytic, worst.numeric) == ((1, 1), 4.5, 4.0)


def test_elements_off_are_counted_each_by_the_tolerance_of_its_feature() -> None:
    analytic = np.array([[0.0, 2e-6, 2e-6], [2e-6, 2e-6, math.nan], [0.5e-6, 0.0, math.inf]])
    found = compare("x", analytic, numeric(np.zeros((3, 3)), np.zeros(3)), yardstick([1.0, 10.0, 1.0]))
    assert (found.off, found.size) == (4, 9)


def test_node_and_method_are_passed_on() -> None:
    found = judged(0, 0)
    assert (found.node, found.method, found.note) == ("gamma", "order 4 in float64", "")


def test_the_course_formula_is_the_largest_over_all_elements() -> None:
    analytic, values = np.array([1.0, 3.0, 0.0]), np.array([1.0, 1.0, 1e-9])
    # |3 - 1| / (3 + 1), and 1e-9 / 1e-8 at the third.
    assert compare("beta", analytic, numeric(values, np.zeros(3)), yardstick(np.ones(3))).course_error == 0.5
    assert compare("beta", analytic[2:], numeric(values[2:], [0.0]), yardstick([1.0])).course_error == pytest.approx(
        0.1, rel=1e-12
    )


def test_nothing_is_judged_by_the_course_formula() -> None:
    found = compare("beta", np.array([1e-9]), numeric([-1e-9], [0.0]), yardstick([1.0]))
    assert found.course_error > 0.1
    assert found.verdict is Verdict.PASS


def test_a_narrow_gradient_is_compared_in_the_arithmetic_of_the_numeric_one() -> None:
    found = compare("beta", np.array([1.0], np.float32), numeric([1.0 + 1e-9], [0.0]), yardstick([1.0]))
    assert found.error == pytest.approx(1e-9, rel=1e-6)


# --- vanishing -------------------------------------------------------------------------------------------------


def test_a_scale_below_roundoff_vanishes_and_gives_way_to_it() -> None:
    yard = yardstick([1e-20, 1.0, 0.0], [1.0, 1.0, 0.0])
    assert yard.vanishing.tolist() == [True, False, False]
    assert yard.measured_by.tolist() == [2.0**-53, 1.0, 0.0]


def test_vanishing_features_are_counted() -> None:
    yard = yardstick([1e-20, 1.0, 1e-30], [1.0, 1.0, 1.0])
    assert compare("gamma", np.zeros(3), numeric(np.zeros(3), np.zeros(3)), yard).vanishing == 2


def test_roundoff_of_a_vanishing_gradient_passes_and_more_than_roundoff_fails() -> None:
    yard = yardstick([0.0], [1.0], rtol=None)
    # The tolerance is 3 * 5 units of the roundoff scale.
    assert compare("gamma", np.array([14 * 2.0**-53]), numeric([0.0], [0.0]), yard).verdict is Verdict.PASS
    assert compare("gamma", np.array([16 * 2.0**-53]), numeric([0.0], [0.0]), yard).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("difference", "size", "wanted"), [(0.0, 0.0, 0.0), (1.0, 0.0, math.inf), (0.0, 2.0, 0.0), (1.0, 2.0, 0.5)]
)
def test_relative_is_a_quotient_but_nought_of_nought_is_nought(difference: float, size: float, wanted: float) -> None:
    assert relative(np.array(difference), np.array(size)) == wanted


# --- blurred ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("yard", "blurred"),
    [
        # The tolerance of a scale of 1 and a roundoff scale of 100 is 300 units: 0.3 at a unit of 1/1000, 0.03 at 1e-4.
        pytest.param(yardstick([1.0], [100.0], rtol=None, unit=1e-3), True, id="anything would pass"),
        pytest.param(yardstick([1.0], [100.0], rtol=None, unit=1e-4), False, id="zeros would not"),
        pytest.param(yardstick([1.0], [100.0], rtol=0.3, unit=1e-3), False, id="it was asked for"),
        pytest.param(yardstick([1.0, 1.0], [100.0, 0.0], rtol=None, unit=1e-3), False, id="one feature is sharp"),
        pytest.param(yardstick([1.0, 0.0], [100.0, 1.0], rtol=None, unit=1e-3), True, id="the other one vanishes"),
        pytest.param(yardstick([0.0], [1.0], rtol=None, unit=1e-3), False, id="all vanish"),
    ],
)
def test_a_node_is_blurred_where_no_feature_is_left_to_judge_by(yard: Yardstick, blurred: bool) -> None:
    assert yard.is_blurred is blurred


# --- an update -------------------------------------------------------------------------------------------------


def seen(scale: Any, grain: Any, rtol: float | None = None, roundoff: Any = 0.0) -> Yardstick:
    """A yardstick for a gradient that an update shows with such a grain."""
    return yardstick(scale, roundoff, rtol=rtol).seen_in_steps_of(np.asarray(grain, float))


@pytest.mark.parametrize("rtol", [None, 1e-3])
def test_what_an_update_does_not_show_is_added_to_the_tolerance(rtol: float | None) -> None:
    # By hand: a grain of 1 at a scale of 4 is a quarter of it.
    added = seen([4.0, 2.0], [1.0, 0.0], rtol).tolerance - yardstick([4.0, 2.0], rtol=rtol).tolerance
    assert added == pytest.approx([0.25, 0.0], abs=1e-15)


def test_a_gradient_below_its_grain_vanishes_and_is_measured_by_the_grain() -> None:
    yard = seen([1e-147, 2.0], [1e-16, 1e-16])
    assert yard.vanishing.tolist() == [True, False]
    assert yard.measured_by.tolist() == [1e-16, 2.0]


def test_an_update_that_should_not_be_there_is_measured_by_nothing() -> None:
    yard = seen([0.0], [1e-16])
    assert (yard.vanishing.tolist(), yard.measured_by.tolist(), yard.tolerance.tolist()) == ([False], [0.0], [1e-9])


@pytest.mark.parametrize(
    ("yard", "hidden"),
    [
        pytest.param(seen([1e-147], [1e-16]), True, id="all of it is below the grain"),
        pytest.param(seen([1.0], [0.2]), True, id="zeros would pass"),
        pytest.param(seen([1.0], [0.05]), False, id="zeros would not"),
        pytest.param(seen([1.0], [0.2], 1e-3), True, id="a tolerance that was asked for shows no more"),
        pytest.param(seen([1e-147, 1.0], [1e-16, 1e-16]), False, id="one feature shows"),
        pytest.param(seen([1e-147, 0.0], [1e-16, 1e-16], None, [0.0, 1e3]), True, id="the other one vanishes"),
        pytest.param(seen([0.0], [1e-16]), False, id="there is nothing to show"),
        pytest.param(yardstick([0.0], [1.0], rtol=None), False, id="no update, and all vanish"),
    ],
)
def test_a_gradient_is_hidden_where_no_feature_shows_it(yard: Yardstick, hidden: bool) -> None:
    assert yard.is_hidden is hidden


# --- tolerance -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "wanted"),
    [
        # By hand: 1e-9 + 3 * unit * 5 * 6 / 2, which is 1e-9 + 45 units.
        pytest.param(2.0**-53, 1.000004996003611e-9, id="float64"),
        pytest.param(2.0**-24, 2.683209014892578e-6, id="float32"),
        pytest.param(2.0**-11, 2.197265725e-2, id="float16"),
    ],
)
def test_tolerance_of_an_example_worked_by_hand(unit: float, wanted: float) -> None:
    assert yardstick([2.0], [6.0], rtol=None, unit=5 * unit).tolerance == pytest.approx([wanted], rel=1e-9)


@pytest.mark.parametrize(
    ("dtype", "n", "wanted"),
    [
        # By hand: four roundings of a term, and the root of n in the sum, which is never in float16.
        pytest.param("float64", 4, 6 * 2.0**-53, id="4 rows"),
        pytest.param("float64", 10_000, 104 * 2.0**-53, id="10,000 rows"),
        pytest.param("float32", 64, 12 * 2.0**-24, id="float32"),
        pytest.param("float32", 2**20, (4 + 2**10) * 2.0**-24, id="a million rows in float32"),
        pytest.param("float16", 64, 4 * 2.0**-11 + 8 * 2.0**-24, id="float16"),
    ],
)
def test_error_of_a_sum_worked_by_hand(dtype: str, n: int, wanted: float) -> None:
    assert sum_error(dtype, n) == pytest.approx(wanted, rel=3e-6)


@pytest.mark.parametrize(
    ("case", "alike"),
    [
        pytest.param(Case(shape=(2**14, 2), dtype="float32"), False, id="ordinary"),
        pytest.param(Case(shape=(2**14, 2), dtype="float32", dout="ones"), True, id="dout of ones"),
        pytest.param(Case(shape=(2**14, 2), dtype="float32", x=XDraw(mean=1e4)), True, id="a large mean"),
        pytest.param(Case(shape=(2**14, 2), x=XDraw(mean=1e4)), False, id="a large mean in float64"),
    ],
)
def test_sums_of_terms_that_are_alike_are_allowed_an_eighth_of_n(case: Case, alike: bool) -> None:
    growth = Basis.of(draw(case)).growth
    wanted = 1 + 2**11 * 2.0**-24 / sum_error(case.dtype, case.n) if alike else 1
    # Some squares are lost besides.
    assert growth == pytest.approx(wanted, rel=0.6)


def test_squares_that_are_lost_beside_others_are_allowed_for() -> None:
    case = Case(shape=(2**14, 2), dtype="float32", x=XDraw(like="outlier", size=1e5))
    basis = Basis.of(draw(case))
    squares = basis.stages.centred**2
    whole = squares.sum(axis=0)
    # All squares but one are below the spacing of their sum.
    lost = (whole - squares.max(axis=0)) / whole / 2
    found = (basis.growth - 1) * sum_error("float32", 2**14)
    assert found == pytest.approx(lost, rel=1e-3)


def test_squares_that_are_alike_beside_one_that_is_not_are_rounded_to_one_side() -> None:
    basis = Basis.of(draw(Case(shape=(1000, 2), dtype="float32", x=XDraw(like="outlier"))))
    assert basis.growth == pytest.approx(growth_of_alike("float32", 1000))


def test_what_two_factors_lose_together_grows_with_both() -> None:
    # The mean of a constant, added up 30,000 times, is off by half of sqrt(eps): so is std, by the square of that.
    case = Case(shape=(30_000, 1), dtype="float32", x=XDraw(like="constant"), seed=11_351)
    basis = Basis.of(draw(case))
    off = sum_error("float32", case.n) * basis.growth * 2 * np.abs(basis.exact.inputs.x[0]) / basis.stages.std
    assert np.all(basis.yardstick("mean").tolerance >= off**2)


def test_a_given_tolerance_is_taken_as_it_is() -> None:
    assert yardstick([2.0, 0.0], [6.0, 1.0], rtol=1e-3).tolerance.tolist() == [1e-3, 1e-3]


def test_tolerance_is_that_of_each_feature_however_many_there_are() -> None:
    one: FloatArray = yardstick([2.0], [6.0], rtol=None).tolerance
    many = yardstick([2.0] * 1000, [6.0] * 1000, rtol=None).tolerance
    assert many.tolist() == one.tolist() * 1000


def test_tolerance_beyond_its_floor_is_in_proportion_to_the_roundoff_scale() -> None:
    found = yardstick([1.0, 1.0], [1.0, 1e4], rtol=None).tolerance - 1e-9
    # 1e-9 takes seven of the sixteen digits of the first.
    assert found[1] / found[0] == pytest.approx(1e4, rel=1e-6)


def test_where_there_is_nothing_tolerance_is_its_floor() -> None:
    assert yardstick([0.0], [0.0], rtol=None).tolerance.tolist() == [1e-9]


def test_a_gradient_that_leaves_the_dtype_from_below_is_allowed_its_smallest_number() -> None:
    yard = Yardstick(np.array([1e-7]), np.zeros(1), np.zeros(1), 0.0, 6e-8, None)
    assert yard.tolerance == pytest.approx([1e-9 + 0.6], rel=1e-12)


# --- roundoff ---------------------------------------------------------------------------------------------------


Cache = tuple[FloatArray, FloatArray, FloatArray]
Gradients = tuple[FloatArray, FloatArray, FloatArray]
Form = tuple[Callable[..., Any], Callable[..., Any]]

ROUNDOFF = "roundoff, not a wrong formula: the same code is right in "
UNKNOWN = "this is no batch normalisation that is known; its gradients are judged against its own forward"

has_80_bits = pytest.mark.skipif(EXTENDED not in methods(), reason="longdouble is no finer than float64 here")


def one_pass(x: FloatArray, gamma: FloatArray, beta: FloatArray, eps: float) -> tuple[FloatArray, Cache]:
    mean = x.mean(axis=0)
    std = np.sqrt((x * x).mean(axis=0) - mean * mean + eps)
    x_hat = (x - mean) / std
    return gamma * x_hat + beta, (x_hat, std, gamma)


def two_pass(x: FloatArray, gamma: FloatArray, beta: FloatArray, eps: float) -> tuple[FloatArray, Cache]:
    std = np.sqrt(x.var(axis=0) + eps)
    x_hat = (x - x.mean(axis=0)) / std
    return gamma * x_hat + beta, (x_hat, std, gamma)


def through_a_float32_buffer(
    x: FloatArray, gamma: FloatArray, beta: FloatArray, eps: float
) -> tuple[FloatArray, Cache]:
    _, (x_hat, std, gamma) = two_pass(x, gamma, beta, eps)
    buffer = np.zeros(x.shape, np.float32)
    buffer[:] = x_hat
    return gamma * buffer + beta, (buffer, std, gamma)


def right(dout: FloatArray, cache: Cache) -> Gradients:
    x_hat, std, gamma = cache
    n = len(dout)
    dbeta, dgamma = dout.sum(axis=0), (dout * x_hat).sum(axis=0)
    return gamma / (n * std) * (n * dout - dbeta - x_hat * dgamma), dgamma, dbeta


def right_in_a_float32_buffer(dout: FloatArray, cache: Cache) -> Gradients:
    dx, dgamma, dbeta = right(dout, cache)
    return dx.astype(np.float32).astype(dx.dtype), dgamma, dbeta


def without_routes(dout: FloatArray, cache: Cache) -> Gradients:
    _, dgamma, dbeta = right(dout, cache)
    return cache[2] / cache[1] * dout, dgamma, dbeta


def with_a_slip(dout: FloatArray, cache: Cache) -> Gradients:
    dx, dgamma, dbeta = right(dout, cache)
    return dx * 1.001, dgamma * 1.001, dbeta


def without_gamma(dout: FloatArray, cache: Cache) -> Gradients:
    x_hat, std, gamma = cache
    return right(dout, (x_hat, std, np.ones_like(gamma)))


def by_the_batch(dout: FloatArray, cache: Cache) -> Gradients:
    dx, dgamma, dbeta = right(dout, cache)
    return dx / len(dout), dgamma / len(dout), dbeta / len(dout)


FAULTS = [without_routes, with_a_slip, without_gamma, by_the_batch]
CONVENTION = Convention(
    forward="forward(x, gamma, beta, eps) -> out, cache", backward="backward(dout, cache) -> dx, dgamma, dbeta"
)


def checked(case: Case, forward: Callable[..., Any], backward: Callable[..., Any]) -> CaseReport:
    namespace = {"forward": forward, "backward": backward}
    return check(case, bind(namespace, "backward", CONVENTION, case))


def not_passed(report: CaseReport) -> list[Comparison]:
    return [row for row in report.comparisons if row.verdict is not Verdict.PASS]


# --- what loses digits -------------------------------------------------------------------------------------------


@has_80_bits
@pytest.mark.parametrize("mean", [1e3, 1e4, 1e5, 1e6, 1e7, 1e8])
@pytest.mark.parametrize("shape", [(16, 8), (100, 3)], ids=["16x8", "100x3"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_variance_in_one_pass_is_roundoff_or_unresolved(shape: tuple[int, ...], mean: float, seed: int) -> None:
    case = Case(shape=shape, x=XDraw(mean=mean), seed=seed)
    for row in not_passed(checked(case, one_pass, right)):
        if row.verdict is Verdict.FAIL:
            assert row.cause is Cause.ROUNDOFF, (row.node, row)


@has_80_bits
def test_the_sentence_says_in_what_arithmetic_and_how_many_digits() -> None:
    report = checked(Case(shape=(16, 3), x=XDraw(mean=1e4)), one_pass, right)
    out = report.comparisons[0]
    centred = "the same code is right where the mean is taken off x first"
    usually = "usually by a variance in one pass, mean(x^2) - mean^2"
    far = f"where the mean is 2e4 times sigma: {usually}"
    assert out.note == f"roundoff, not a wrong formula: {centred}; 8 digits are lost here, {far}"
    var = report.comparisons[4]
    assert (var.node, var.note) == ("var", f"{ROUNDOFF}80-bit arithmetic; 8 digits are lost here, {far}")


@pytest.mark.parametrize("mean", [1e3, 3e3, 1e4, 2e4])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_in_float32_too_a_variance_in_one_pass_is_roundoff_or_unresolved(mean: float, seed: int) -> None:
    report = checked(Case(shape=(16, 3), x=XDraw(mean=mean), dtype="float32", seed=seed), one_pass, right)
    for row in not_passed(report):
        assert row.cause is Cause.ROUNDOFF, (row.node, row)


def test_float32_is_held_against_float64() -> None:
    report = checked(Case(shape=(16, 3), x=XDraw(mean=100), dtype="float32"), one_pass, right)
    notes = {row.node: row.note for row in not_passed(report)}
    far = "where the mean is 215 times sigma: usually by a variance in one pass, mean(x^2) - mean^2"
    assert notes["out"] == notes["x"] == f"{ROUNDOFF}float64; 5 digits are lost here, {far}"
    assert set(notes) == {"out", "gamma", "var", "x"}


def test_a_variance_in_one_pass_is_fine_where_nothing_is_lost() -> None:
    for dtype in ("float64", "float32", "float16"):
        assert not_passed(checked(Case(shape=(16, 3), dtype=dtype), one_pass, right)) == []


# --- float32 inside ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_float32_buffer_is_right_in_float32_and_below(dtype: str) -> None:
    report = checked(Case(shape=(16, 3), dtype=dtype), two_pass, right_in_a_float32_buffer)
    assert not_passed(report) == []


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_forward_through_float32_fails_nowhere_in_float32_and_below(dtype: str) -> None:
    report = checked(Case(shape=(16, 3), dtype=dtype), through_a_float32_buffer, right)
    assert [row for row in report.comparisons if row.verdict is Verdict.FAIL] == []
    assert report.comparisons[0].verdict is Verdict.PASS


def test_a_forward_through_float32_is_known_for_what_it_is_in_float64() -> None:
    report = checked(Case(shape=(16, 3), asked=("dtype", "shapes")), through_a_float32_buffer, right)
    out = report.comparisons[0]
    assert out.verdict is Verdict.FAIL
    assert UNKNOWN not in out.note


# --- what is wrong -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", FAULTS, ids=lambda function: function.__name__)
@pytest.mark.parametrize("regime", REGIMES)
def test_a_fault_is_never_called_roundoff(regime: str, fault: Callable[..., Any]) -> None:
    case = REGIMES[regime]
    if case.mode == "eval":
        pytest.skip("these are called in train mode")
    faulty = {row.node: row for row in checked(case, two_pass, fault).comparisons}
    for node, row in faulty.items():
        assert row.cause is None, (node, row)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda function: function.__name__)
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_a_fault_fails_in_every_dtype_and_is_not_called_roundoff(dtype: str, fault: Callable[..., Any]) -> None:
    case = Case(shape=(16, 3), dtype=dtype)
    if fault is with_a_slip and dtype == "float16":
        pytest.skip("a thousandth is as little as float16 can tell")
    failed = [row for row in not_passed(checked(case, two_pass, fault)) if row.verdict is Verdict.FAIL]
    assert "x" in [row.node for row in failed]
    assert not any(row.cause for row in failed)


def by_the_second_moment(x: FloatArray, gamma: FloatArray, beta: FloatArray, eps: float) -> tuple[FloatArray, Cache]:
    std = np.sqrt((x * x).mean(axis=0) + eps)
    x_hat = (x - x.mean(axis=0)) / std
    return gamma * x_hat + beta, (x_hat, std, gamma)


def without_the_mean(x: FloatArray, gamma: FloatArray, beta: FloatArray, eps: float) -> tuple[FloatArray, Cache]:
    std = np.sqrt(x.var(axis=0) + eps)
    x_hat = x / std
    return gamma * x_hat + beta, (x_hat, std, gamma)


@pytest.mark.parametrize("mean", [0, 1, 1e4, 1e5, 1e6, 1e7, 1e8])
@pytest.mark.parametrize("forward", [by_the_second_moment, without_the_mean], ids=lambda function: function.__name__)
def test_a_forward_that_is_right_at_mean_0_alone_is_not_called_roundoff(
    forward: Callable[..., Any], mean: float
) -> None:
    report = checked(Case(shape=(16, 3), x=XDraw(mean=mean)), forward, right)
    out = report.comparisons[0]
    assert (out.verdict, out.note, report.note) == (Verdict.FAIL, UNKNOWN, "")


@pytest.mark.parametrize("fault", [without_routes, without_gamma, by_the_batch], ids=lambda function: function.__name__)
def test_a_fault_beside_lost_digits_is_still_a_fault(fault: Callable[..., Any]) -> None:
    report = checked(Case(shape=(16, 3), x=XDraw(mean=1e4)), one_pass, fault)
    x = report.comparisons[-1]
    assert (x.node, x.verdict) == ("x", Verdict.FAIL)
    assert x.cause is None


# --- the sentence ------------------------------------------------------------------------------------------------


def failing(error: float) -> Comparison:
    report = checked(Case(shape=(16, 3)), two_pass, without_routes)
    row = report.comparisons[-1]
    return Comparison(**{name: getattr(row, name) for name in Comparison.__slots__} | {"error": error})


def told(narrow: Comparison, wide_error: float) -> tuple[Cause | None, str]:
    """What is told of a failure in float32 whose error in float64 is another."""
    found = in_wider(narrow, wide_error, "float32", "")
    return found.cause, found.note


def test_digits_that_hardly_count_are_not_counted() -> None:
    assert told(failing(1e-7), 1e-16) == (Cause.ROUNDOFF, f"{ROUNDOFF}float64")
    assert told(failing(6e-7), 1e-15) == (Cause.ROUNDOFF, f"{ROUNDOFF}float64")
    assert told(failing(6e-6), 1e-15) == (Cause.ROUNDOFF, f"{ROUNDOFF}float64; 2 digits are lost here")


def test_what_fails_as_much_in_wider_arithmetic_is_no_roundoff() -> None:
    assert told(failing(1e-3), 1e-3) == (None, "")
    assert told(failing(1e-3), 2e-5) == (None, "")
    assert told(failing(1e-3), np.nan) == (None, "")
    assert told(failing(np.nan), 1e-3) == (None, "")


@pytest.mark.parametrize(
    ("case", "told"),
    [
        (Case(shape=(16, 3)), ""),
        (Case(shape=(16, 3), x=XDraw(mean=5)), ""),
        (Case(shape=(16, 1), x=XDraw(like="constant", mean=1e4), eps=0), ""),
        (
            Case(shape=(16, 1), x=XDraw(mean=1e90, std=1e82)),
            ", where the mean is 2e8 times sigma: usually by a variance in one pass, mean(x^2) - mean^2",
        ),
        (
            Case(shape=(16, 1), x=XDraw(mean=1e3), mode="eval"),
            ", where the mean is 1059 times sigma: usually by a variance in one pass, mean(x^2) - mean^2",
        ),
    ],
)
def test_a_usual_cause_is_told_where_the_mean_is_far_from_nought(case: Case, told: str) -> None:
    with np.errstate(all="ignore"):
        inputs = draw(case).inputs
        assert usual_cause(inputs, batchnorm.forward(inputs)) == told


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(Case(shape=(128, 10), seed=386, x=XDraw(mean=1e7), eps=1e-3), id="other digits in a stack"),
        pytest.param(Case(shape=(32, 1), seed=620, x=XDraw(mean=1e7, std=1e-5), eps=1e-12), id="as if of another eps"),
        pytest.param(Case(shape=(128, 3), seed=269, x=XDraw(mean=1e10, std=1e-2), eps=1), id="beyond 80 bits"),
    ],
)
def test_a_variance_in_one_pass_that_loses_its_digits_fails_for_roundoff_alone(case: Case) -> None:
    report = check(case, Shown(ONE_PASS))
    assert {row.cause for row in report.comparisons if row.verdict is Verdict.FAIL} == {Cause.ROUNDOFF}


@pytest.mark.parametrize(("shape", "seed", "dout"), [((128, 3), 5488, "one-hot"), ((32, 1), 15_973, "ones")])
def test_a_forward_in_float32_is_known_where_float32_leaves_nothing_of_its_out(
    shape: tuple[int, ...], seed: int, dout: str
) -> None:
    case = Case(shape=shape, seed=seed, x=XDraw(mean=100, std=1e-5), eps=1, dout=dout, dtype="float32")
    report = check(case, Shown(in_float32(TWO_PASS)))
    assert report.verdict is not Verdict.FAIL, report
