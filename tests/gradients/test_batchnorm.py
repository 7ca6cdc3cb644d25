"""The facts of the derivation, and the layouts. Agreement with 50 digits is in test_truth.py."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bncheck.case import EPS, Case, XDraw
from bncheck.gradients import batchnorm
from bncheck.gradients.batchnorm import (
    NODES,
    FloatArray,
    Gradients,
    Inputs,
    Routes,
    Stages,
    Variant,
    sizes_of,
)
from bncheck.gradients.problem import draw

# Relative to the scale times the number of terms, which is what sums of rounded terms may be off by: some 100 units
# roundoff of float64, for the ten or so operations a term goes through, and 20 times the largest seen.
ROUNDED = 1e-14


def worked(case: Case) -> tuple[Inputs, FloatArray, Stages, Gradients, Routes, Gradients]:
    """Inputs, dout, stages, gradients, routes and scales of a case."""
    problem = draw(case)
    stages = batchnorm.forward(problem.inputs)
    gradients, routes = batchnorm.backward(problem.inputs, stages, problem.dout)
    return (
        problem.inputs,
        problem.dout,
        stages,
        gradients,
        routes,
        sizes_of(problem.inputs, stages, problem.dout).scales,
    )


# --- layout ----------------------------------------------------------------------------------------------------


@given(data=st.data())
def test_a_column_of_rows_is_one_channel_in_c_order(cases: st.SearchStrategy[Case], data: st.DataObject) -> None:
    case = data.draw(cases)
    x = np.arange(float(case.n * case.d)).reshape(case.shape)
    rows = batchnorm.as_rows(x, case.channel_axis)
    assert rows.shape == (case.n, case.d)
    for feature in range(case.d):
        assert np.array_equal(rows[:, feature], np.take(x, feature, case.channel_axis).ravel())


@given(data=st.data())
def test_rows_go_back_to_the_layout_they_came_from(cases: st.SearchStrategy[Case], data: st.DataObject) -> None:
    case = data.draw(cases)
    x = np.arange(float(case.n * case.d)).reshape(case.shape)
    back = batchnorm.from_rows(batchnorm.as_rows(x, case.channel_axis), case.shape, case.channel_axis)
    assert np.array_equal(back, x)


def test_what_goes_back_is_contiguous() -> None:
    assert batchnorm.from_rows(np.zeros((24, 5)), (2, 5, 3, 4), 1).flags.c_contiguous


# --- forward ---------------------------------------------------------------------------------------------------


def test_variance_divides_by_n_and_not_by_n_minus_one() -> None:
    inputs = Inputs(np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1), 0.0)
    assert batchnorm.forward(inputs).var == [1.0]


def test_x_hat_has_mean_zero_and_variance_short_of_one_by_eps() -> None:
    inputs, _, stages, *_ = worked(Case(shape=(9, 4), eps=0.5))
    assert np.abs(stages.x_hat.mean(axis=0)).max() < ROUNDED
    assert stages.x_hat.var(axis=0) == pytest.approx(inputs.x.var(axis=0) / (inputs.x.var(axis=0) + 0.5), rel=ROUNDED)


def test_out_does_not_change_when_a_constant_is_added_to_x() -> None:
    case = Case(shape=(16, 4))
    inputs = draw(case).inputs
    x = np.round(inputs.x * 1024) / 1024  # ten binary places, so that the constant is added without rounding
    moved = batchnorm.forward(replace(inputs, x=x + 2.0**30)).out
    assert np.array_equal(moved, batchnorm.forward(replace(inputs, x=x)).out)


def test_without_eps_out_does_not_change_when_x_is_scaled() -> None:
    inputs = replace(draw(Case(shape=(16, 4))).inputs, eps=0.0)
    scaled = batchnorm.forward(replace(inputs, x=inputs.x * 2.0**40)).out
    assert np.array_equal(scaled, batchnorm.forward(inputs).out)


def test_x_hat_of_two_rows_is_plus_and_minus_the_root_of_the_variance_share() -> None:
    _, _, stages, *_ = worked(Case(shape=(2, 5), eps=1e-3))
    share = np.sqrt(stages.var / (stages.var + 1e-3))
    assert np.abs(stages.x_hat) == pytest.approx(np.stack([share, share]), rel=ROUNDED)
    assert np.array_equal(stages.x_hat[0], -stages.x_hat[1])


def test_a_constant_feature_has_std_of_root_eps() -> None:
    _, _, stages, *_ = worked(Case(shape=(7, 3), x=XDraw(like="constant", mean=1e8)))
    assert stages.std[0] == np.sqrt(EPS)


def test_everything_is_finite_at_a_constant_feature() -> None:
    _, _, stages, gradients, *_ = worked(Case(shape=(7, 3), x=XDraw(like="constant")))
    assert all(np.all(np.isfinite(array)) for array in (stages.out, *(gradients.of(node) for node in NODES)))


def test_eval_mode_uses_the_running_statistics() -> None:
    inputs, _, stages, *_ = worked(Case(shape=(7, 3), mode="eval"))
    assert inputs.running_mean is not None
    assert inputs.running_var is not None
    wanted = (inputs.x - inputs.running_mean) / np.sqrt(inputs.running_var + EPS)
    assert stages.x_hat == pytest.approx(wanted, rel=ROUNDED)


@pytest.mark.parametrize("variant", [Variant(), Variant(ddof=1), Variant(eps_outside=True)], ids=str)
@pytest.mark.parametrize("move", [0.0, -0.125, 2.0])
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_a_cut_gives_the_loss_of_the_graph_with_its_node_moved(mode: str, move: float, variant: Variant) -> None:
    problem = draw(Case(shape=(7, 3), mode=mode, beta="zeros"))
    inputs, dout, moves = replace(problem.inputs, variant=variant), problem.dout, np.full(3, move)
    stages = batchnorm.forward(inputs)
    centred = stages.centred - moves
    var = stages.var if mode == "eval" else batchnorm.batch_var(centred, variant.ddof)
    at_mean = (dout * batchnorm.forward_from_var(inputs, centred, var).out).sum(axis=0)
    at_var = (dout * batchnorm.forward_from_var(inputs, stages.centred, stages.var + moves).out).sum(axis=0)
    assert batchnorm.cut_at_mean(inputs, stages, dout).loss(moves) == pytest.approx(at_mean, rel=ROUNDED)
    assert batchnorm.cut_at_var(inputs, stages, dout).loss(moves) == pytest.approx(at_var, rel=ROUNDED, nan_ok=True)


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("variant", [Variant(), Variant(ddof=1), Variant(eps_outside=True)], ids=str)
def test_the_quick_out_is_that_of_the_stages(mode: str, variant: Variant) -> None:
    inputs = replace(draw(Case(shape=(7, 3), mode=mode, x=XDraw(mean=1e8))).inputs, variant=variant)
    before = inputs.x.copy()
    wanted = batchnorm.forward(inputs).out
    assert batchnorm.out_of(inputs) == pytest.approx(wanted, rel=ROUNDED, abs=ROUNDED)
    assert np.array_equal(inputs.x, before)


def test_inputs_are_mapped_array_by_array() -> None:
    inputs = draw(Case(shape=(7, 3), mode="eval")).inputs
    doubled = inputs.map(lambda array: 2 * array)
    for name in ("x", "gamma", "beta", "running_mean", "running_var"):
        assert np.array_equal(getattr(doubled, name), 2 * getattr(inputs, name))
    assert doubled.eps == inputs.eps


# --- backward --------------------------------------------------------------------------------------------------


def test_dx_sums_to_zero_over_the_rows(train_regime: Case) -> None:
    *_, gradients, _, scales = worked(train_regime)
    assert np.all(np.abs(gradients.x.sum(axis=0)) <= ROUNDED * train_regime.n * scales.x)


def test_dx_along_x_hat_is_what_eps_leaves_of_dgamma(train_regime: Case) -> None:
    inputs, dout, stages, gradients, _, scales = worked(train_regime)
    left = inputs.eps / (stages.var + inputs.eps) * inputs.gamma / stages.std * (dout * stages.x_hat).sum(axis=0)
    terms = scales.x * np.abs(stages.x_hat).sum(axis=0)
    assert np.all(np.abs((gradients.x * stages.x_hat).sum(axis=0) - left) <= ROUNDED * train_regime.n * terms)


@pytest.mark.parametrize("backward", ["routes", "closed form"])
def test_constant_dout_gives_no_dx_and_no_dgamma(backward: str) -> None:
    inputs, dout, stages, by_routes, _, scales = worked(Case(shape=(7, 3), dout="ones"))
    found = by_routes if backward == "routes" else batchnorm.closed_form(inputs, stages, dout)
    assert np.all(np.abs(found.x) <= ROUNDED * scales.x)
    assert np.all(np.abs(found.gamma) <= ROUNDED * scales.gamma)


def test_constant_dout_does_not_take_the_scale_of_dx_with_it() -> None:
    *_, scales = worked(Case(shape=(7, 3), dout="ones"))
    assert np.all(scales.x > 0.1)


def test_one_row_gives_no_dx_and_no_dgamma() -> None:
    *_, gradients, _, _ = worked(Case(shape=(1, 3)))
    assert not np.any(gradients.x)
    assert not np.any(gradients.gamma)


def test_second_term_of_dmean_vanishes(train_regime: Case) -> None:
    _, _, stages, gradients, routes, scales = worked(train_regime)
    first = -routes.direct.sum(axis=0)
    assert np.all(np.abs(gradients.mean - first) <= ROUNDED * train_regime.n * scales.mean)
    assert np.all(np.abs(stages.centred.sum(axis=0)) <= ROUNDED * train_regime.n * np.abs(stages.centred).max(axis=0))


def test_second_term_of_dmean_is_there_where_the_mean_is_not_the_batch_mean() -> None:
    inputs, dout, stages, gradients, routes, _ = worked(Case(shape=(7, 3)))
    off = stages._replace(centred=stages.centred + 1)
    moved = batchnorm.backward(inputs, off, dout)[0]
    assert moved.mean + routes.direct.sum(axis=0) == pytest.approx(-2 * gradients.var, rel=1e-12)


def test_dx_is_the_sum_of_its_three_routes(regime: Case) -> None:
    _, _, _, gradients, routes, _ = worked(regime)
    assert np.array_equal(gradients.x, routes.direct + routes.through_var + routes.through_mean)


def test_the_three_routes_are_those_of_the_derivation() -> None:
    inputs, dout, stages, gradients, routes, scales = worked(Case(shape=(7, 3)))
    bound = ROUNDED * 7 * scales.x
    assert np.all(np.abs(routes.direct - dout * inputs.gamma / stages.std) <= bound)
    assert np.all(np.abs(routes.through_var - gradients.var * 2 / 7 * stages.centred) <= bound)
    assert np.all(np.abs(routes.through_mean - gradients.mean / 7) <= bound)


def test_in_eval_mode_only_the_direct_route_is_open() -> None:
    *_, gradients, routes, _ = worked(Case(shape=(7, 3), mode="eval"))
    assert np.array_equal(gradients.x, routes.direct)
    assert not np.any(routes.through_var)
    assert not np.any(routes.through_mean)


@pytest.mark.parametrize("node", NODES)
@settings(max_examples=40)
@given(data=st.data())
def test_closed_form_agrees_with_the_routes(cases: st.SearchStrategy[Case], node: str, data: st.DataObject) -> None:
    case = data.draw(cases)
    inputs, dout, stages, by_routes, _, _ = worked(case)
    closed = batchnorm.closed_form(inputs, stages, dout)
    # Both start from the same rounded stages, so that they differ by the roundoff of their own terms: a few units of
    # the sums that hold |x - mean| for sound x_hat, and |x| + |mean| for that of the dmean term that should vanish.
    bound = ROUNDED * case.n * sizes_of(inputs, stages, dout, 0.0).roundoff.of(node)
    assert np.all(np.abs(closed.of(node) - by_routes.of(node)) <= bound)


def test_no_array_is_written_to() -> None:
    inputs, dout, stages, *_ = worked(Case(shape=(7, 3)))
    arrays = [inputs.x, inputs.gamma, inputs.beta, dout, stages.centred, stages.x_hat, stages.std, stages.out]
    for array in arrays:
        array.flags.writeable = False
    batchnorm.closed_form(inputs, stages, dout)
    batchnorm.backward(inputs, stages, dout)
    sizes_of(inputs, stages, dout)
    assert np.array_equal(batchnorm.forward(inputs).out, stages.out)


# --- scales ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("node", NODES)
@given(data=st.data())
@settings(max_examples=40)
def test_no_gradient_is_larger_than_its_scale(cases: st.SearchStrategy[Case], node: str, data: st.DataObject) -> None:
    case = data.draw(cases)
    *_, gradients, _, scales = worked(case)
    assert np.all(np.abs(gradients.of(node)) <= scales.of(node) * (1 + ROUNDED * case.n))


@pytest.mark.parametrize("node", NODES)
@given(data=st.data())
@settings(max_examples=40)
def test_roundoff_scale_is_at_least_the_scale(cases: st.SearchStrategy[Case], node: str, data: st.DataObject) -> None:
    case = data.draw(cases)
    inputs, dout, stages, _, _, scales = worked(case)
    roundoff = sizes_of(inputs, stages, dout, 0.0).roundoff
    assert np.all(roundoff.of(node) >= scales.of(node) * (1 - ROUNDED * case.n))
