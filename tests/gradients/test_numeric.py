"""Numeric gradients and their resolution. Agreement with 50 digits, regime by regime, is in test_truth.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from bncheck.case import Case, XDraw
from bncheck.gradients import batchnorm, numeric, stack
from bncheck.gradients.batchnorm import NODES, FloatArray, Gradients, Inputs, sizes_of
from bncheck.gradients.numeric import Numeric
from bncheck.gradients.problem import Problem, draw
from bncheck.gradients.resolution import Point
from bncheck.gradients.stack import EVERYDAY, EXTENDED, LONG_STEP, ROWS, Method, methods, methods_by_rows

Forward = Callable[[Inputs], FloatArray]

every_node = pytest.mark.parametrize("node", NODES)
every_method = pytest.mark.parametrize("method", [*methods(), *methods_by_rows()], ids=lambda m: m.of_dx)
has_80_bits = pytest.mark.skipif(EXTENDED not in methods(), reason="longdouble is no finer than float64 here")


def plain(inputs: Inputs) -> FloatArray:
    """Our own forward."""
    return batchnorm.forward(inputs).out


def in_float32(inputs: Inputs) -> FloatArray:
    """Our own forward, whose out has been through float32."""
    return plain(inputs).astype(np.float32).astype(inputs.x.dtype)


def naive(inputs: Inputs) -> FloatArray:
    """The textbook's forward, which loses the digits of the mean."""
    centred = inputs.x - inputs.x.mean(axis=0)
    std = np.sqrt((centred**2).mean(axis=0) + inputs.x.dtype.type(inputs.eps))
    out: FloatArray = inputs.gamma * centred / std + inputs.beta
    return out


def unbiased(inputs: Inputs) -> FloatArray:
    """Another batch normalisation: its variance divides by n - 1."""
    n = len(inputs.x)
    stages = batchnorm.forward(inputs)
    return batchnorm.forward_from_var(inputs, stages.centred, stages.var * n / (n - 1)).out


def rough_in(row: int) -> Forward:
    """Our own forward, smooth but for one row of x, in which it sees a ripple far shorter than any step."""

    def rough(inputs: Inputs) -> FloatArray:
        x = inputs.x.copy()
        x[row] += 1e-9 * np.sin(1e12 * x[row])
        return plain(replace(inputs, x=x))

    return rough


def layer_norm(inputs: Inputs) -> FloatArray:
    """Each row normalised over its features: all of them depend on each other."""
    x = inputs.x - inputs.x.mean(axis=1, keepdims=True)
    out: FloatArray = inputs.gamma * x / np.sqrt((x**2).mean(axis=1, keepdims=True) + inputs.eps) + inputs.beta
    return out


def truth(problem: Problem) -> tuple[Gradients, Gradients]:
    """Gradients and scales of our own backward, in the finest arithmetic there is."""
    inputs = problem.inputs.map(lambda array: array.astype(np.longdouble))
    dout, stages = problem.dout.astype(np.longdouble), batchnorm.forward(inputs)
    return batchnorm.backward(inputs, stages, dout)[0], sizes_of(inputs, stages, dout).scales


def off(found: Numeric, node: str, problem: Problem) -> FloatArray:
    """The largest distance from the truth, per feature."""
    error: FloatArray = np.max(np.atleast_2d(np.abs(found.value - truth(problem)[0].of(node))), axis=0)
    return error


# --- value -----------------------------------------------------------------------------------------------------


@every_node
@every_method
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_every_node_has_a_gradient_of_its_own_shape(mode: str, method: Method, node: str) -> None:
    problem = draw(Case(shape=(7, 3), mode=mode))
    found = numeric.differentiate(node, plain, problem.inputs, problem.dout, method)
    assert found.value.shape == ((7, 3) if node == "x" else (3,))
    assert found.resolution.shape == (3,)


@every_node
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_narrow_inputs_are_differenced_in_float64(dtype: str, node: str) -> None:
    problem = draw(Case(shape=(7, 3), dtype=dtype))
    found = numeric.differentiate(node, plain, problem.inputs, problem.dout)
    assert found.value.dtype == np.float64
    assert np.all(off(found, node, problem) <= found.resolution)


@has_80_bits
@every_node
def test_the_finest_method_gives_80_bits(node: str) -> None:
    problem = draw(Case(shape=(7, 3)))
    found = numeric.differentiate(node, plain, problem.inputs, problem.dout, EXTENDED)
    assert found.value.dtype == np.longdouble
    # Relative to the scale. 30 times less than the unit roundoff of float64 would allow at a step of 2**-14.
    assert np.all(off(found, node, problem) <= 1e-16 * truth(problem)[1].of(node))


@every_node
def test_nothing_is_written_to(node: str) -> None:
    problem = draw(Case(shape=(7, 3)))
    for array in (problem.inputs.x, problem.inputs.gamma, problem.inputs.beta, problem.dout):
        array.flags.writeable = False
    numeric.differentiate(node, plain, problem.inputs, problem.dout)


def test_beta_does_not_cost_the_other_gradients_their_digits() -> None:
    problem = draw(Case(shape=(7, 3)))
    shifted = replace(problem.inputs, beta=problem.inputs.beta + 1e12)
    found = numeric.differentiate("x", plain, shifted, problem.dout)
    wanted = numeric.differentiate("x", plain, problem.inputs, problem.dout)
    assert np.array_equal(found.value, wanted.value)


def test_gamma_of_zero_is_differenced_all_the_same() -> None:
    problem = draw(Case(shape=(7, 3), gamma="zeros"))
    found = numeric.differentiate("gamma", plain, problem.inputs, problem.dout)
    assert np.all(off(found, "gamma", problem) <= found.resolution)


@every_method
def test_blocks_and_stacks_give_every_row_its_gradient(method: Method) -> None:
    problem = draw(Case(shape=(150, 40)))
    found = numeric.differentiate("x", plain, problem.inputs, problem.dout, method)
    assert np.all(off(found, "x", problem) <= found.resolution)


# --- steps -----------------------------------------------------------------------------------------------------


def test_a_power_of_two_is_just_above_what_is_asked() -> None:
    size = np.array([0.75, 1.0, 3.0, 1e-3, 0.0, 0.0])
    at_least = np.array([0.0, 0.0, 5.0, 0.0, 1e-9, 0.0])
    assert numeric.power_of_two(size, at_least).tolist() == [1.0, 2.0, 8.0, 2.0**-9, 2.0**-29, 1.0]


# At a mean of 1 the spacing of x changes from row to row; at 1e8 and sigma 1e-4 it is a 7000th of sigma.
@pytest.mark.parametrize(("mean", "std"), [(0, 1), (1, 1e-5), (1e4, 1), (1e8, 1), (1e8, 1e-4), (1e90, 1e90)])
def test_what_the_spacing_of_x_takes_off_a_direction_is_made_up_for(mean: float, std: float) -> None:
    problem = draw(Case(shape=(9, 40), x=XDraw(mean=mean, std=std), eps=0))
    for method in (EVERYDAY, LONG_STEP):
        found = numeric.differentiate("x", plain, problem.inputs, problem.dout, method)
        # Our own forward loses no digits of x - mean. Of a direction, the square of what is lost is left: its half is
        # in a step of 2**-11 sigma at least, and the derivative changes by as much as x does.
        lost = np.spacing(np.abs(problem.inputs.x).max(axis=0)) / batchnorm.forward(problem.inputs).std
        assert np.all(off(found, "x", problem) <= (1e-11 + lost) * truth(problem)[1].x)


@pytest.mark.parametrize("method", [EVERYDAY, ROWS], ids=lambda method: method.way)
def test_x_is_displaced_by_a_fraction_of_sigma(method: Method) -> None:
    problem = draw(Case(shape=(5, 1), x=XDraw(mean=1e4, std=1e-2)))
    displaced: list[float] = []

    def watched(inputs: Inputs) -> FloatArray:
        displaced.append(float(np.max(np.abs(inputs.x.reshape(5, -1) - problem.inputs.x))))
        return plain(inputs)

    numeric.differentiate("x", watched, problem.inputs, problem.dout, method)
    sigma = float(batchnorm.forward(problem.inputs).std[0])
    # Up to two steps, each rounded up to a power of two, times what one element of a direction has beyond 1.
    assert 0 < max(displaced) < 2 * 2 * 3 * method.fraction * sigma * 5 / 2


def test_the_step_follows_each_features_own_sigma() -> None:
    inputs = Inputs(np.array([[0.0, 0.0], [1.0, 1e6], [-1.0, -1e6]]), np.ones(2), np.zeros(2), 1e-5)
    dout = np.array([[1.0, 1.0], [0.5, 0.5], [-2.0, -2.0]])
    found = numeric.differentiate("x", plain, inputs, dout)
    # The features differ by eps alone, which is 1e-5 of the variance of the first.
    assert found.resolution[0] / found.resolution[1] == pytest.approx(1e6, rel=0.5)


# --- resolution ------------------------------------------------------------------------------------------------


@every_node
@pytest.mark.parametrize("seed", range(10))
def test_resolution_bounds_the_error_at_a_hundred_rows(seed: int, node: str) -> None:
    problem = draw(Case(shape=(100, 4), seed=seed))
    for method in methods():
        found = numeric.differentiate(node, plain, problem.inputs, problem.dout, method)
        assert np.all(off(found, node, problem) <= found.resolution)


@has_80_bits
@every_node
def test_resolution_of_the_finest_method_is_below_the_tolerance_everywhere(regime: Case, node: str) -> None:
    problem = draw(regime)
    with np.errstate(all="ignore"):
        found = numeric.differentiate(node, plain, problem.inputs, problem.dout, methods()[-1])
        # 1e-9 is the tolerance with no allowance for rounding; a scale that vanishes gives way to the unit roundoff.
        roundoff = sizes_of(problem.inputs, batchnorm.forward(problem.inputs), problem.dout, 0.0).roundoff
        allowed = np.maximum(1e-9 * truth(problem)[1].of(node), 2.0**-53 * roundoff.of(node))
        assert np.all(found.resolution <= allowed)


@every_node
@pytest.mark.parametrize(
    ("method", "at_most"),
    # Three digits below the tolerance of 1e-9 on the first two; on the third as far below roundoff of float64.
    [
        pytest.param(EVERYDAY, 1e-9, id=str(EVERYDAY)),
        pytest.param(LONG_STEP, 1e-11, id=str(LONG_STEP)),
        pytest.param(EXTENDED, 1e-14, id=str(EXTENDED), marks=has_80_bits),
    ],
)
def test_resolution_is_not_vacuous_on_ordinary_data(method: Method, at_most: float, node: str) -> None:
    problem = draw(Case(shape=(32, 8)))
    found = numeric.differentiate(node, plain, problem.inputs, problem.dout, method)
    assert np.all(found.resolution <= at_most * truth(problem)[1].of(node))


@pytest.mark.parametrize("node", ["beta", "gamma", "x"])
@every_method
@pytest.mark.parametrize("seed", range(10))
def test_resolution_bounds_the_error_of_a_noisy_forward(seed: int, method: Method, node: str) -> None:
    problem = draw(Case(shape=(16, 4), seed=seed))
    found = numeric.differentiate(node, in_float32, problem.inputs, problem.dout, method)
    assert np.all(off(found, node, problem) <= found.resolution)


@pytest.mark.parametrize("node", ["beta", "gamma", "x"])
def test_resolution_grows_with_the_noise_of_the_forward(node: str) -> None:
    problem = draw(Case(shape=(16, 4)))
    quiet = numeric.differentiate(node, plain, problem.inputs, problem.dout).resolution
    noisy = numeric.differentiate(node, in_float32, problem.inputs, problem.dout).resolution
    # float32 is 2**29 coarser than float64; the bound of the quiet one is some 100 times its noise.
    assert np.all(noisy > 1e5 * quiet)


@pytest.mark.parametrize("row", [0, -1], ids=["first row", "last row"])
def test_roughness_in_one_row_alone_is_seen(row: int) -> None:
    problem = draw(Case(shape=(16, 4)))
    found = numeric.differentiate("x", rough_in(row), problem.inputs, problem.dout)
    assert np.all(off(found, "x", problem) <= found.resolution)


# 16 rows as well as 7: a mean that moves by a power of two is rounded alike in every evaluation, and shows no scatter.
@every_method
@pytest.mark.parametrize("mean", [0, 1e4, 1e6, 1e8])
@pytest.mark.parametrize("n", [7, 16])
def test_resolution_covers_a_forward_that_loses_the_digits_of_the_mean(n: int, mean: float, method: Method) -> None:
    problem = draw(Case(shape=(n, 4), x=XDraw(mean=mean)))
    found = numeric.differentiate("x", naive, problem.inputs, problem.dout, method)
    assert np.all(off(found, "x", problem) <= found.resolution)


@pytest.mark.parametrize("node", ["gamma", "x"])
def test_a_variant_of_the_forward_is_resolved_as_well_as_our_own(node: str) -> None:
    problem = draw(Case(shape=(16, 64)))
    ours = numeric.differentiate(node, plain, problem.inputs, problem.dout)
    theirs = numeric.differentiate(node, unbiased, problem.inputs, problem.dout)
    # What is far from ours is allowed what a forward may lose of x - mean, and ours is seen to lose none.
    assert np.median(theirs.resolution) <= 3 * np.median(ours.resolution)


@pytest.mark.parametrize("node", ["gamma", "x"])
def test_a_forward_that_is_not_finite_has_no_finite_resolution(node: str) -> None:
    problem = draw(Case(shape=(7, 3)))
    with np.errstate(all="ignore"):
        found = numeric.differentiate(node, lambda inputs: inputs.x * np.nan, problem.inputs, problem.dout)
    assert not np.any(np.isfinite(found.resolution))


def test_a_parameter_that_out_is_not_affine_in_shows_as_scatter() -> None:
    problem = draw(Case(shape=(7, 3)))
    squared = lambda inputs: plain(replace(inputs, gamma=inputs.gamma**3))  # noqa: E731  # short, and used once
    found = numeric.differentiate("gamma", squared, problem.inputs, problem.dout)
    assert np.all(found.resolution > 0.1 * np.abs(found.value))


# --- the way of dx ---------------------------------------------------------------------------------------------


def by_mean(mean_of: Callable[[FloatArray], FloatArray]) -> Forward:
    """A batch normalisation but for its mean."""

    def forward(inputs: Inputs) -> FloatArray:
        centred = inputs.x - mean_of(inputs.x)
        var = np.mean((inputs.x - inputs.x.mean(axis=0)) ** 2, axis=0)
        out: FloatArray = inputs.gamma * centred / np.sqrt(var + inputs.eps) + inputs.beta
        return out

    return forward


def one_row_sees_another(inputs: Inputs) -> FloatArray:
    """Our own forward, and one row of x leaks into another one of out by a ten-thousandth."""
    out = plain(inputs)
    out[3] += 1e-4 * inputs.x[5]
    return out


def clipped(inputs: Inputs) -> FloatArray:
    """x_hat cut off at one and a half sigma."""
    out: FloatArray = np.clip(plain(replace(inputs, gamma=np.ones_like(inputs.gamma))), -1.5, 1.5) * inputs.gamma
    return out


ASYMMETRIC = {
    "a mean of half the rows": by_mean(lambda x: x[: len(x) // 2].mean(axis=0)),
    "a mean with momentum": by_mean(lambda x: 0.9 * x.mean(axis=0)),
    "a median": by_mean(lambda x: np.median(x, axis=0)),
    "a mean off by a millionth": by_mean(lambda x: (1 + 1e-6) * x.mean(axis=0)),
    "one row that sees another": one_row_sees_another,
    "clipped": clipped,
}
asymmetric = pytest.mark.parametrize("forward", ASYMMETRIC.values(), ids=ASYMMETRIC)


@asymmetric
@pytest.mark.parametrize("seed", range(3))
def test_a_jacobian_that_is_not_symmetric_is_found_out(forward: Forward, seed: int) -> None:
    problem = draw(Case(shape=(32, 8), seed=seed, x=XDraw(mean=1)))
    found = numeric.differentiate("x", forward, problem.inputs, problem.dout)
    assert not found.symmetric
    by_rows = numeric.differentiate("x", forward, problem.inputs, problem.dout, ROWS)
    assert np.all(np.abs(found.value - by_rows.value) <= found.resolution + by_rows.resolution)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("forward", [plain, naive, unbiased], ids=["ours", "naive", "unbiased"])
def test_all_at_once_is_one_row_after_another(forward: Forward, seed: int, regime: Case) -> None:
    if regime.mode == "eval" and forward is not plain:
        pytest.skip("these have batch statistics")
    problem = draw(replace(regime, shape=(regime.n + seed, 3), seed=seed))
    with np.errstate(all="ignore"):
        found = numeric.differentiate("x", forward, problem.inputs, problem.dout)
        by_rows = numeric.differentiate("x", forward, problem.inputs, problem.dout, ROWS)
        assert found.symmetric
        assert np.all(np.abs(found.value - by_rows.value).max(axis=0) <= found.resolution + by_rows.resolution)


def test_distance_along_directions_is_nought_of_the_gradient_and_not_of_another() -> None:
    problem = draw(Case(shape=(32, 8)))
    point = Point.of(plain, problem.inputs, problem.dout, EVERYDAY)
    right, scale = truth(problem)[0].x.astype(np.float64), truth(problem)[1].x.astype(np.float64)
    assert np.all(numeric.distance_along(point, right, 1e-9 * scale) == 0)
    # A tenth of the scale in every element is that much, within what two random numbers tell.
    off_by = numeric.distance_along(point, right + 0.1 * scale, 1e-9 * scale) / scale
    assert np.all((off_by > 1e-3) & (off_by < 1))


# --- methods ---------------------------------------------------------------------------------------------------


@has_80_bits
def test_methods_go_from_the_quickest_to_the_finest() -> None:
    assert [str(method) for method in methods()] == [
        "order 4 in float64",
        "order 8 in float64",
        "order 8 in 80-bit",
    ]


def test_without_80_bits_order_eight_in_float64_is_the_finest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "longdouble", np.float64)
    assert [str(method) for method in methods()] == ["order 4 in float64", "order 8 in float64"]


def test_every_method_has_a_lower_order_to_measure_truncation_by() -> None:
    assert all(method.stencil.lower for method in methods())


@pytest.mark.parametrize("stencil", [stack.ORDER_4, stack.ORDER_6], ids=lambda s: str(s.order))
@pytest.mark.parametrize("fraction", [2.0**-4, 2.0**-8, 2.0**-14])
@pytest.mark.parametrize("node", ["mean", "var", "x"])
def test_resolution_bounds_the_error_of_other_orders_and_steps(
    node: str, fraction: float, stencil: stack.Stencil
) -> None:
    problem = draw(Case(shape=(7, 3)))
    found = numeric.differentiate(node, plain, problem.inputs, problem.dout, Method(stencil, fraction, "float64"))
    assert np.all(off(found, node, problem) <= found.resolution)
