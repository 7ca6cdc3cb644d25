"""What is drawn, and when it is declined."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bncheck.case import Case, XDraw
from bncheck.gradients import batchnorm, problem
from bncheck.gradients.batchnorm import FloatArray, sizes_of
from bncheck.gradients.problem import Problem, Stream, draw, precision, rounded

WIDE = Case(shape=(4000, 40))  # 40 features, each with enough rows to tell its spread to 1/sqrt(8000), about 1 %


def arrays(drawn: Problem) -> dict[str, FloatArray | None]:
    """All that was drawn, by name."""
    inputs = drawn.inputs
    return {
        "x": inputs.x,
        "gamma": inputs.gamma,
        "beta": inputs.beta,
        "dout": drawn.dout,
        "running mean": inputs.running_mean,
        "running var": inputs.running_var,
    }


def bits(drawn: Problem) -> str:
    """A digest of every bit, in an order and byte order of its own."""
    digest = hashlib.sha256()
    for name, array in arrays(drawn).items():
        if array is not None:
            digest.update(f"{name} {array.shape} {array.dtype.name}".encode())
            digest.update(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"))).tobytes())
    return digest.hexdigest()


def changed(before: Case, after: Case) -> set[str]:
    """The names of the arrays in which two cases differ."""
    old, new = arrays(draw(before)), arrays(draw(after))
    return {name for name in old if not np.array_equal(np.array(old[name]), np.array(new[name]))}


# --- the same bits ---------------------------------------------------------------------------------------------

# Pinned: a change here is a change of every problem that anybody has been told to repeat.


@pytest.mark.parametrize(
    ("case", "digest"),
    [
        pytest.param(
            Case(shape=(32, 64)), "a0bdc61cb15a82821231d7f1e04313ac5a8a7de8131bc9f0554c181ff71f5578", id="ordinary"
        ),
        pytest.param(
            Case(shape=(8, 3, 6, 6), seed=7, dtype="float32"),
            "48ca060d8b5e09add1ed83d3af2484571d60601f1bbd94224f54ee5793775262",
            id="images in float32",
        ),
        pytest.param(
            Case(shape=(7, 3), mode="eval", dout="one-hot"),
            "cbd2f7d1cd8568bf8c9f767ec42610be9272bc1375f2a05b8c4f79083214dbef",
            id="eval",
        ),
        pytest.param(
            Case(shape=(9, 4), x=XDraw(like="outlier", mean=1e4)),
            "6ff4ab94e65859e41c08e2fc83ef9a513d74bfa8dc7be021cbf056c9031b60d1",
            id="outlier",
        ),
    ],
)
def test_same_case_gives_the_same_bits(case: Case, digest: str) -> None:
    assert bits(draw(case)) == digest


@given(data=st.data())
@settings(max_examples=20)
def test_drawing_twice_gives_the_same_bits(cases: st.SearchStrategy[Case], data: st.DataObject) -> None:
    case = data.draw(cases)
    assert bits(draw(case)) == bits(draw(replace(case)))


def test_drawing_leaves_the_global_generator_alone() -> None:
    np.random.seed(3)
    before = np.random.get_state()[1].tolist()  # type: ignore[index]  # typed as tuple or dict
    draw(Case(shape=(4, 5)))
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index]  # the same


def test_another_seed_gives_other_numbers() -> None:
    assert changed(Case(shape=(4, 5)), Case(shape=(4, 5), seed=1)) == {"x", "gamma", "beta", "dout"}


@pytest.mark.parametrize(
    ("setting", "touched"),
    [
        pytest.param({"dout": "ones"}, {"dout"}, id="dout"),
        pytest.param({"gamma": "ones"}, {"gamma"}, id="gamma"),
        pytest.param({"beta": "zeros"}, {"beta"}, id="beta"),
        pytest.param({"x": XDraw(like="outlier")}, {"x"}, id="x"),
        pytest.param({"mode": "eval"}, {"running mean", "running var"}, id="mode"),
        pytest.param({"eps": 1.0}, set[str](), id="eps"),
        pytest.param({"name": "another"}, set[str](), id="name"),
    ],
)
def test_changing_one_setting_leaves_the_other_arrays_as_they_were(
    setting: dict[str, object], touched: set[str]
) -> None:
    case = Case(shape=(4, 5))
    assert changed(case, replace(case, **setting)) == touched  # type: ignore[arg-type]  # fields by name


# --- distributions ---------------------------------------------------------------------------------------------


def test_features_of_x_differ_in_mean_and_no_spread_is_near_one() -> None:
    x = draw(WIDE).inputs.x
    mean, spread = x.mean(axis=0), x.std(axis=0)
    noise = 0.06  # spreads are known to 1 %, of at most 2, and there are 40 of them
    assert np.all((mean > -2 - 3 * noise) & (mean < 2 + 3 * noise))
    assert mean.std() > 0.5
    assert np.all((spread > 0.5 - noise) & (spread < 2 + noise))
    assert not np.any((spread > 0.8 + noise) & (spread < 1.25 - noise))
    assert np.any(spread < 1)
    assert np.any(spread > 1)


def test_mean_and_std_shift_and_stretch_the_same_draw() -> None:
    x = draw(Case(shape=(7, 3))).inputs.x
    moved = draw(Case(shape=(7, 3), x=XDraw(mean=1e4, std=1e-3))).inputs.x
    assert np.array_equal(moved, 1e4 + 1e-3 * x)


def test_an_outlier_stands_in_one_row_of_each_feature() -> None:
    plain = draw(Case(shape=(9, 4), x=XDraw(mean=3, std=2))).inputs.x
    x = draw(Case(shape=(9, 4), x=XDraw(like="outlier", mean=3, std=2, size=1e5))).inputs.x
    assert np.count_nonzero(x == 3 + 2e5, axis=0).tolist() == [1, 1, 1, 1]
    assert np.array_equal(x[x != 3 + 2e5], plain[x != 3 + 2e5])


def test_the_first_feature_is_constant_and_the_others_are_not() -> None:
    x = draw(Case(shape=(9, 4), x=XDraw(like="constant", mean=7))).inputs.x
    assert np.ptp(x, axis=0)[0] == 0
    assert np.all(np.ptp(x, axis=0)[1:] > 0.1)


def test_gamma_has_both_signs_and_none_is_near_nought_or_one() -> None:
    for seed in range(20):
        gamma = draw(Case(shape=(2, 5), seed=seed)).inputs.gamma
        assert {-1.0, 1.0} == set(np.sign(gamma).tolist())
        size = np.abs(gamma)
        assert np.all(((size >= 0.25) & (size <= 0.75)) | ((size >= 1.25) & (size <= 2)))


def test_a_single_gamma_is_of_either_sign() -> None:
    assert {float(np.sign(draw(Case(shape=(2, 1), seed=seed)).inputs.gamma[0])) for seed in range(20)} == {-1.0, 1.0}


def test_beta_has_both_signs_and_is_a_quarter_away_from_nought() -> None:
    beta = draw(WIDE).inputs.beta
    assert np.all(np.abs(beta) >= 0.25)
    assert {-1.0, 1.0} == set(np.sign(beta).tolist())


def test_dout_leans_on_one_and_on_x_hat_and_is_normal_beside() -> None:
    problem = draw(WIDE)  # 160,000 numbers: their mean is known to 1/400, their std to less
    x_hat = batchnorm.forward(problem.inputs).x_hat
    beside = problem.dout - 1 - 0.7 * x_hat
    assert problem.dout.mean() == pytest.approx(1, abs=0.01)
    assert np.mean(problem.dout * x_hat) == pytest.approx(0.7, abs=0.01)
    assert beside.std() == pytest.approx(1, abs=0.01)


def test_one_hot_dout_has_a_single_one_in_each_feature() -> None:
    dout = draw(Case(shape=(9, 40), dout="one-hot")).dout
    assert set(dout.ravel().tolist()) == {0.0, 1.0}
    assert dout.sum(axis=0).tolist() == [1.0] * 40
    assert np.count_nonzero(dout.sum(axis=1)) > 1


@pytest.mark.parametrize(("name", "value"), [("ones", 1.0), ("zeros", 0.0)])
def test_ones_and_zeros_are_that(name: str, value: float) -> None:
    drawn = draw(Case(shape=(4, 5), dout=name, gamma=name, beta=name))
    assert np.array_equal(drawn.dout, np.full((4, 5), value))
    assert np.array_equal(drawn.inputs.gamma, np.full(5, value))
    assert np.array_equal(drawn.inputs.beta, np.full(5, value))


def test_train_mode_has_no_running_statistics() -> None:
    inputs = draw(Case(shape=(4, 5))).inputs
    assert inputs.running_mean is None
    assert inputs.running_var is None


def test_running_statistics_are_near_those_of_the_draw_but_not_those_of_the_batch() -> None:
    inputs = draw(replace(WIDE, mode="eval", x=XDraw(mean=100, std=10))).inputs
    assert inputs.running_mean is not None
    assert inputs.running_var is not None
    sigma = inputs.x.std(axis=0)
    off = (inputs.running_mean - inputs.x.mean(axis=0)) / sigma
    ratio = np.sqrt(inputs.running_var) / sigma
    noise = 0.07  # four times what 4000 rows leave of mean and sigma
    assert np.all(np.abs(off) < 0.5 + noise)
    assert np.abs(off).max() > 0.25
    assert np.all((ratio > 0.7 - noise) & (ratio < 1.4 + noise))
    assert np.ptp(ratio) > 0.35


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_arrays_are_in_the_dtype_of_the_case(dtype: str) -> None:
    drawn = draw(Case(shape=(4, 5), dtype=dtype, mode="eval"))
    assert {array.dtype.name for array in arrays(drawn).values() if array is not None} == {dtype}


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_widening_keeps_the_rounded_numbers(dtype: str) -> None:
    drawn = draw(Case(shape=(4, 5), dtype=dtype))
    wide = drawn.widened()
    assert wide.inputs.x.dtype == wide.dout.dtype == np.float64
    assert np.array_equal(wide.inputs.x, drawn.inputs.x)
    assert np.array_equal(wide.dout, drawn.dout)


# --- places ----------------------------------------------------------------------------------------------------


@given(data=st.data())
@settings(max_examples=40)
def test_an_element_is_found_at_its_index_in_the_layout(cases: st.SearchStrategy[Case], data: st.DataObject) -> None:
    drawn = draw(data.draw(cases))
    rows = np.arange(float(drawn.case.n * drawn.case.d)).reshape(drawn.case.n, drawn.case.d)
    laid_out = drawn.laid_out(rows)
    assert laid_out.shape == drawn.case.shape
    row = data.draw(st.integers(0, drawn.case.n - 1))
    feature = data.draw(st.integers(0, drawn.case.d - 1))
    assert laid_out[drawn.index(row, feature)] == rows[row, feature]


def test_channels_first_and_last_are_the_same_problem_laid_out_differently() -> None:
    first = draw(Case(shape=(2, 3, 4, 5), channel_axis=1))
    last = draw(Case(shape=(2, 4, 5, 3), channel_axis=-1))
    assert np.array_equal(first.inputs.x, last.inputs.x)
    assert np.array_equal(np.moveaxis(first.laid_out(first.inputs.x), 1, -1), last.laid_out(last.inputs.x))
    assert first.index(7, 2) == (0, 2, 1, 2)
    assert last.index(7, 2) == (0, 1, 2, 2)


# --- out of range ----------------------------------------------------------------------------------------------


def reason(case: Case) -> str:
    """Why a case is declined."""
    with np.errstate(all="ignore"):
        drawn = draw(case)
        exact = drawn.widened()
        stages = batchnorm.forward(exact.inputs)
        return problem.out_of_range(drawn, stages, sizes_of(exact.inputs, stages, exact.dout).scales)


@pytest.mark.parametrize(
    ("case", "sentence"),
    [
        pytest.param(
            Case(shape=(7, 3), dtype="float16", x=XDraw(mean=1e5)),
            "x does not fit in float16, whose largest number is 6.55e+04; use a smaller mean or std",
            id="x in float16",
        ),
        pytest.param(
            Case(shape=(7, 3), dtype="float32", x=XDraw(std=1e39)),
            "x does not fit in float32, whose largest number is 3.403e+38; use a smaller mean or std",
            id="x in float32",
        ),
        pytest.param(
            Case(shape=(7, 3), dtype="float32", x=XDraw(std=1e20)),
            "the variance of x overflows float32, whose largest number is 3.403e+38; use a smaller std",
            id="variance in float32",
        ),
        pytest.param(
            Case(shape=(7, 3), x=XDraw(std=1e155)),
            "the variance of x overflows float64, whose largest number is 1.798e+308; use a smaller std",
            id="variance in float64",
        ),
        pytest.param(
            Case(shape=(7, 3), eps=0, x=XDraw(like="constant")),
            "variance + eps is 0 in some feature, and batch normalisation divides by its root; use eps > 0",
            id="no variance and no eps",
        ),
        pytest.param(
            Case(shape=(7, 3), dtype="float16", eps=1e-12, x=XDraw(std=1e-6)),
            "the gradient of x reaches 5.534e+06, and float16 ends at 6.55e+04; use a larger std or eps",
            id="dx in float16",
        ),
    ],
)
def test_what_the_dtype_cannot_carry_is_declined_with_its_sentence(case: Case, sentence: str) -> None:
    assert reason(case) == sentence


def test_what_the_dtype_can_carry_is_not_declined(regime: Case) -> None:
    assert reason(regime) == ""


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(Case(shape=(7, 3), dtype="float16", x=XDraw(std=1e3)), id="squares in float32 for float16"),
        pytest.param(Case(shape=(7, 3), eps=0), id="no eps but variance"),
        pytest.param(Case(shape=(7, 3), x=XDraw(std=1e150)), id="std 1e150"),
        pytest.param(Case(shape=(7, 3), dtype="float32", x=XDraw(std=1e18)), id="float32 at std 1e18"),
    ],
)
def test_what_is_near_the_edge_is_still_carried(case: Case) -> None:
    assert reason(case) == ""


# --- stream -----------------------------------------------------------------------------------------------------


MANY = 100_000  # standard error of a mean of uniform numbers: 0.0009


def test_words_are_those_of_splitmix64() -> None:
    stream = Stream(0, 0)
    stream._state = 0
    # The first outputs from a state of 0, as published with the reference implementation.
    assert [int(word) for word in stream._words(3)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_numbers_drawn_in_parts_are_those_drawn_at_once() -> None:
    whole, parts = Stream(7, 2), Stream(7, 2)
    assert np.array_equal(whole.random(10), np.concatenate([parts.random(4), parts.random(6)]))


def test_streams_and_seeds_have_nothing_in_common() -> None:
    drawn = [Stream(seed, number).random(MANY) for seed in (0, 1, 2**63 - 1) for number in (0, 1)]
    correlations = np.corrcoef(drawn) - np.eye(len(drawn))
    assert np.max(np.abs(correlations)) < 0.02  # six standard errors


def test_uniform_numbers_fill_their_interval_evenly() -> None:
    drawn = Stream(3, 0).uniform(-2, 2, MANY)
    assert -2 <= drawn.min() < -1.999
    assert 1.999 < drawn.max() < 2
    assert np.histogram(drawn, 4)[0] == pytest.approx(MANY / 4, rel=0.03)


def test_normal_numbers_have_the_moments_of_a_normal_distribution() -> None:
    drawn = Stream(5, 0).normal(MANY)
    assert np.mean(drawn) == pytest.approx(0, abs=0.02)
    assert np.var(drawn) == pytest.approx(1, abs=0.03)
    assert np.mean(drawn**3) == pytest.approx(0, abs=0.06)
    assert np.mean(drawn**4) == pytest.approx(2.9, abs=0.1)  # 3 - 1.2 / 12 for a sum of twelve


def test_normal_numbers_use_all_bits_of_a_float() -> None:
    drawn = Stream(5, 0).normal(1000)
    assert not np.any(drawn == drawn.astype(np.float32))


def test_whole_numbers_take_every_value_below_the_limit_and_no_other() -> None:
    counts = np.bincount(Stream(1, 0).integers(7, MANY), minlength=7)
    assert len(counts) == 7
    assert counts == pytest.approx(MANY / 7, rel=0.05)


# --- bfloat16 --------------------------------------------------------------------------------------------------


def test_bfloat16_rounds_to_the_nearest_and_a_tie_to_even() -> None:
    spacing = 2.0**-7
    given = [1 + 0.49 * spacing, 1 + 0.5 * spacing, 1 + 0.51 * spacing, 1 + 1.5 * spacing, -1 - 0.51 * spacing]
    assert rounded(np.array(given), "bfloat16").tolist() == [1, 1, 1 + spacing, 1 + 2 * spacing, -1 - spacing]


def test_bfloat16_ends_where_it_ends() -> None:
    kind = precision("bfloat16")
    given = np.array([kind.largest, kind.largest * 1.01, kind.smallest, kind.smallest / 3, np.inf, -np.inf, np.nan])
    with np.errstate(over="ignore", under="ignore"):
        found = rounded(given, "bfloat16")
    np.testing.assert_array_equal(found, [kind.largest, np.inf, kind.smallest, 0, np.inf, -np.inf, np.nan])


def test_a_case_in_bfloat16_draws_its_numbers() -> None:
    problem = draw(Case(shape=(5, 3), dtype="bfloat16"))
    assert problem.inputs.x.dtype == np.float32
    for array in (problem.inputs.x, problem.inputs.gamma, problem.inputs.beta, problem.dout):
        np.testing.assert_array_equal(array, rounded(array, "bfloat16"))
