"""Numeric gradients and their resolution. Agreement with 50 digits, regime by regime, is in test_truth.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from bncheck.case import Case, XDraw
from bncheck.gradients import batchnorm, numeric, schemes
from bncheck.gradients.batchnorm import NODES, FloatArray, Gradients, Inputs
from bncheck.gradients.numeric import Numeric
from bncheck.gradients.problem import Problem, draw
from bncheck.gradients.scales import roundoff_scales_of, scales_of
from bncheck.gradients.schemes import EVERYDAY, EXTENDED, LONG_STEP, Method, methods

Forward = Callable[[Inputs], FloatArray]

every_node = pytest.mark.parametrize("node", NODES)
every_method = pytest.mark.parametrize("method", methods(), ids=str)
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
    return batchnorm.backward(inputs, stages, dout)[0], scales_of(inputs, stages, dout)


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


@every_method
@pytest.mark.parametrize(("mean", "std"), [(0, 1), (1e4, 1), (1e8, 1), (1e8, 1e-4), (1e13, 1), (1e90, 1e90)])
def test_the_step_that_is_taken_is_the_step_that_is_asked_for(mean: float, std: float, method: Method) -> None:
    problem = draw(Case(shape=(5, 1), x=XDraw(mean=mean, std=std)))
    start = problem.inputs.x.astype(method.dtype)
    taken: set[Fraction] = set()

    def watched(inputs: Inputs) -> FloatArray:
        copies = inputs.x.reshape(5, -1)
        for copy in copies.T:
            taken.update(exactly(moved) - exactly(old) for moved, old in zip(copy, start[:, 0], strict=True))
        return plain(inputs)

    with np.errstate(all="ignore"):
        sizes = {offset: exactly(size) for offset, size in asked(method, problem).items()}
        numeric.differentiate("x", watched, problem.inputs, problem.dout, method)
    assert all(is_power_of_two(abs(size / offset)) for offset, size in sizes.items())
    assert taken >= set(sizes.values())
    assert not [near for near in taken for size in sizes.values() if 0 < abs(near - size) < abs(size) / 100]


def asked(method: Method, problem: Problem) -> dict[int, np.floating]:
    """By the docstring of Method: a fraction of sigma * n / sqrt(n - 1), but four units in the last place of x."""
    inputs = problem.inputs.map(lambda array: array.astype(method.dtype))
    reach = batchnorm.forward(inputs).std * (problem.case.n / np.sqrt(problem.case.n - 1))
    step = numeric.power_of_two(method.fraction * reach, 4 * np.spacing(np.max(np.abs(inputs.x), axis=0)))
    return {offset: offset * step[0] for offset in method.stencil.weights if offset}


def exactly(number: np.floating) -> Fraction:
    """Every bit of it: an 80-bit number is the sum of two of 64 bits."""
    high = float(number)
    return Fraction(high) + Fraction(float(number - number.dtype.type(high)))


def is_power_of_two(size: Fraction) -> bool:
    """Also of a negative power."""
    return size.numerator.bit_count() == size.denominator.bit_count() == 1


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
        roundoff = roundoff_scales_of(problem.inputs, batchnorm.forward(problem.inputs), problem.dout, 0.0)
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
    # Rounding is measured on a few differences of each feature, so that one alone may be many times apart.
    assert np.median(theirs.resolution) <= 2 * np.median(ours.resolution)


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


# --- independence ----------------------------------------------------------------------------------------------


def test_layer_norm_is_said_to_mix_and_differenced_all_the_same() -> None:
    problem = draw(Case(shape=(8, 5)))
    inputs, dout = problem.inputs, problem.dout
    found = numeric.differentiate("x", layer_norm, inputs, dout)
    assert not found.independent
    # Layer norm is batch norm of the transpose, gamma coming after.
    turned = Inputs(inputs.x.T, np.ones(8), np.zeros(8), inputs.eps)
    wanted = batchnorm.closed_form(turned, batchnorm.forward(turned), (dout * inputs.gamma).T).x.T
    # The resolution of order 3 in float64 on ordinary data.
    assert found.value == pytest.approx(wanted, rel=0, abs=1e-9 * np.abs(wanted).max())


def test_a_forward_that_mixes_stacked_copies_alone_is_differenced_without_them() -> None:
    problem = draw(Case(shape=(8, 5)))

    def leaking(inputs: Inputs) -> FloatArray:
        out = plain(inputs)
        return out + 0.1 * out.mean(axis=1, keepdims=True) if out.shape[1] > 5 else out

    found = numeric.differentiate("x", leaking, problem.inputs, problem.dout)
    assert not found.independent
    assert found.value == pytest.approx(truth(problem)[0].x.astype(np.float64), rel=0, abs=1e-9)


@pytest.mark.parametrize("node", ["beta", "gamma"])
def test_settings_of_gamma_and_beta_are_not_stacked_where_features_mix(node: str) -> None:
    problem = draw(Case(shape=(8, 5)))

    def leaking(inputs: Inputs) -> FloatArray:
        out = plain(inputs)
        return out + 0.1 * np.roll(out, 1, axis=1) if out.shape[1] > 5 else out

    found = numeric.differentiate(node, leaking, problem.inputs, problem.dout)
    wanted = truth(problem)[0].of(node).astype(np.float64)
    assert found.value == pytest.approx(wanted, rel=0, abs=1e-12)


def test_batch_norm_is_said_to_be_independent(regime: Case) -> None:
    problem = draw(regime)
    assert numeric.differentiate("x", plain, problem.inputs, problem.dout).independent


# --- methods ---------------------------------------------------------------------------------------------------


@has_80_bits
def test_methods_go_from_the_quickest_to_the_finest() -> None:
    assert [str(method) for method in methods()] == [
        "order 3 in float64",
        "order 8 in float64",
        "order 8 in 80-bit",
    ]


def test_without_80_bits_order_eight_in_float64_is_the_finest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "longdouble", np.float64)
    assert [str(method) for method in methods()] == ["order 3 in float64", "order 8 in float64"]


def test_every_method_has_a_lower_order_to_measure_truncation_by() -> None:
    assert all(method.stencil.lower for method in methods())


@pytest.mark.parametrize("stencil", [schemes.ORDER_4, schemes.ORDER_6], ids=lambda s: str(s.order))
@pytest.mark.parametrize("fraction", [2.0**-4, 2.0**-8, 2.0**-14])
@pytest.mark.parametrize("node", ["mean", "var", "x"])
def test_resolution_bounds_the_error_of_other_orders_and_steps(
    node: str, fraction: float, stencil: schemes.Stencil
) -> None:
    problem = draw(Case(shape=(7, 3)))
    found = numeric.differentiate(node, plain, problem.inputs, problem.dout, Method(stencil, fraction, "float64"))
    assert np.all(off(found, node, problem) <= found.resolution)
