"""One case through to its verdict: right code passes, wrong code fails, and what cannot be told is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bncheck import checking
from bncheck.calling.implementation import BUILT_IN, REFERENCE, Declined, Implementation, bind
from bncheck.case import Case, Convention, Verdict, XDraw
from bncheck.checking import check, check_ours
from bncheck.faults.catalogue import BY_NAME, FAULTS
from bncheck.gradients import batchnorm, numeric, stack
from bncheck.gradients.batchnorm import NODES, FloatArray, Gradients, Inputs
from bncheck.gradients.comparison import Comparison
from bncheck.gradients.problem import draw
from bncheck.gradients.stack import EXTENDED, ROWS, methods
from bncheck.report import CaseReport
from tests.benchmarks.rewritings import FUSED, TWO_PASS, NarrowOnly, Shown
from tests.benchmarks.rewritings import in_float32 as in_float32_inside
from tests.conftest import TRAIN
from tests.faulty import implementation_with, slip

Backward = Callable[[Inputs, FloatArray], Gradients]

has_80_bits = pytest.mark.skipif(EXTENDED not in methods(), reason="longdouble is no finer than float64 here")
either = pytest.mark.parametrize("implementation", BUILT_IN.values(), ids=BUILT_IN.keys())


def with_backward(backward: Backward) -> Implementation:
    """Our own forward with another backward."""
    return REFERENCE._replace(name="other", backward=backward)


def altered(**factors: float) -> Implementation:
    """Our own, with the gradients at some nodes multiplied."""

    def backward(inputs: Inputs, dout: FloatArray) -> Gradients:
        right = REFERENCE.backward(inputs, dout)
        changed: dict[str, Any] = {node: right.of(node) * right.of(node).dtype.type(factors[node]) for node in factors}
        return right._replace(**changed)

    return with_backward(backward)


def zeros(inputs: Inputs, dout: FloatArray) -> Gradients:
    """A backward that was never written."""
    per_feature = np.zeros_like(inputs.gamma)
    return Gradients(per_feature, per_feature, per_feature, per_feature, np.zeros_like(inputs.x))


def without_the_variance_route(inputs: Inputs, dout: FloatArray) -> Gradients:
    """dx by two of its three routes."""
    gradients, routes = batchnorm.backward(inputs, batchnorm.forward(inputs), dout)
    return gradients._replace(x=(routes.direct + routes.through_mean).astype(inputs.x.dtype))


def with_a_slip_in_dvar(inputs: Inputs, dout: FloatArray) -> Gradients:
    """dvar off by 1e-7 of itself, and dx with it."""
    gradients, routes = batchnorm.backward(inputs, batchnorm.forward(inputs), dout)
    return gradients._replace(var=gradients.var * (1 + 1e-7), x=gradients.x + 1e-7 * routes.through_var)


def layer_norm(inputs: Inputs) -> FloatArray:
    """Each row normalised over its features: all of them depend on each other."""
    x = inputs.x - inputs.x.mean(axis=1, keepdims=True)
    out: FloatArray = inputs.gamma * x / np.sqrt((x**2).mean(axis=1, keepdims=True) + inputs.eps) + inputs.beta
    return out


def in_float32(inputs: Inputs) -> FloatArray:
    """Our own forward, whose out has been through float32."""
    return batchnorm.forward(inputs).out.astype(np.float32).astype(inputs.x.dtype)


def at(report: CaseReport, node: str) -> Comparison:
    """The comparison at one node."""
    return next(found for found in report.comparisons if found.node == node)


def verdicts(report: CaseReport) -> dict[str, Verdict]:
    """By node."""
    return {found.node: found.verdict for found in report.comparisons}


# --- right code ------------------------------------------------------------------------------------------------


@either
def test_right_code_passes_in_every_regime(regime: Case, implementation: Implementation) -> None:
    assert verdicts(check(regime, implementation)) == dict.fromkeys(NODES, Verdict.PASS)


@either
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("seed", range(5))
def test_right_code_passes_in_narrow_arithmetic(seed: int, dtype: str, implementation: Implementation) -> None:
    assert check(Case(shape=(32, 8), seed=seed, dtype=dtype), implementation).verdict is Verdict.PASS


@pytest.mark.slow
@either
@settings(max_examples=100)
@given(data=st.data())
def test_right_code_passes_at_every_shape_layout_scale_and_mode(
    cases: st.SearchStrategy[Case], implementation: Implementation, data: st.DataObject
) -> None:
    assert check(data.draw(cases), implementation).verdict is Verdict.PASS


@settings(max_examples=50)
@given(data=st.data(), dtype=st.sampled_from(["float32", "float16"]), mean=st.sampled_from([0.0, 1.0, 10.0]))
def test_right_code_never_fails_in_narrow_arithmetic(
    cases: st.SearchStrategy[Case], data: st.DataObject, dtype: str, mean: float
) -> None:
    case = replace(data.draw(cases), dtype=dtype, x=XDraw(mean=mean))
    assert check(case, REFERENCE).verdict is not Verdict.FAIL


def test_five_nodes_are_compared_in_their_order() -> None:
    assert [found.node for found in check(Case(shape=(4, 5)), REFERENCE).comparisons] == list(NODES)


def test_the_same_check_gives_the_same_report() -> None:
    case = Case(shape=(8, 5))
    assert check(case, REFERENCE) == check(case, REFERENCE)


def test_one_row_in_eval_mode_is_checked_as_any_other() -> None:
    assert check(Case(shape=(1, 5), mode="eval"), REFERENCE).verdict is Verdict.PASS


# --- wrong code ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("factor", [-1, 0, 2, 1 + 1e-7])
def test_a_wrong_factor_fails_at_its_own_node_alone(factor: float, node: str) -> None:
    report = check(Case(shape=(16, 8)), altered(**{node: factor}))
    assert [name for name, verdict in verdicts(report).items() if verdict is Verdict.FAIL] == [node]
    assert report.verdict is Verdict.FAIL


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_a_backward_without_the_variance_route_fails_on_x_alone(dtype: str) -> None:
    report = check(Case(shape=(16, 8), dtype=dtype), with_backward(without_the_variance_route))
    assert [name for name, verdict in verdicts(report).items() if verdict is not Verdict.PASS] == ["x"]


def test_a_slip_of_one_in_ten_million_in_dvar_is_caught() -> None:
    found = verdicts(check(Case(shape=(16, 8)), with_backward(with_a_slip_in_dvar)))
    assert (found["var"], found["x"]) == (Verdict.FAIL, Verdict.FAIL)


def test_a_backward_of_zeros_fails_in_every_regime(regime: Case) -> None:
    assert check(regime, with_backward(zeros)).verdict is Verdict.FAIL


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_one_element_that_is_not_finite_fails(value: float) -> None:
    def backward(inputs: Inputs, dout: FloatArray) -> Gradients:
        right = REFERENCE.backward(inputs, dout)
        x = right.x.copy()
        x[2, 1] = value
        return right._replace(x=x)

    report = check(Case(shape=(4, 5)), with_backward(backward))
    assert (at(report, "x").verdict, at(report, "x").worst.index, at(report, "x").off) == (Verdict.FAIL, (2, 1), 1)


def test_a_forward_that_is_not_finite_fails() -> None:
    broken = REFERENCE._replace(forward=lambda inputs: np.full_like(inputs.x, np.nan))
    assert verdicts(check(Case(shape=(4, 5)), broken))["x"] is Verdict.FAIL


@pytest.mark.parametrize(
    ("shape", "channel_axis", "place"),
    [
        pytest.param((6, 4), 1, (5, 2), id="(N, C)"),
        pytest.param((3, 4, 2, 5), 1, (2, 3, 1, 4), id="(N, C, H, W)"),
        pytest.param((3, 2, 5, 4), -1, (2, 1, 4, 3), id="(N, H, W, C)"),
        pytest.param((4, 7), 0, (3, 6), id="(C, N)"),
    ],
)
def test_the_worst_element_is_where_it_stands_in_the_layout(
    shape: tuple[int, ...], channel_axis: int, place: tuple[int, ...]
) -> None:
    case = Case(shape=shape, channel_axis=channel_axis)

    def backward(inputs: Inputs, dout: FloatArray) -> Gradients:
        right = REFERENCE.backward(inputs, dout)
        laid_out = draw(case).laid_out(right.x)
        laid_out[place] += 1
        return right._replace(x=batchnorm.as_rows(laid_out, channel_axis))

    worst = at(check(case, with_backward(backward)), "x").worst
    assert worst.index == place
    assert worst.analytic - worst.numeric == pytest.approx(1, abs=1e-6)


def test_the_worst_element_of_a_parameter_is_its_feature() -> None:
    def backward(inputs: Inputs, dout: FloatArray) -> Gradients:
        right = REFERENCE.backward(inputs, dout)
        return right._replace(gamma=right.gamma + np.eye(5)[3])

    assert at(check(Case(shape=(4, 5)), with_backward(backward)), "gamma").worst.index == (3,)


MIXED = "a feature of out depends on another feature of x, and batch normalisation never mixes features"


def test_a_forward_that_mixes_features_fails_with_its_sentence() -> None:
    mixing = REFERENCE._replace(forward=layer_norm)
    found = at(check(Case(shape=(8, 5)), mixing), "x")
    assert found.verdict is Verdict.FAIL
    assert found.note == MIXED


def test_a_forward_that_mixes_fails_even_where_its_gradient_is_right() -> None:
    def leaking(inputs: Inputs) -> FloatArray:
        return batchnorm.forward(inputs).out + 1e-13 * np.roll(inputs.x, 1, axis=1)

    assert at(check(Case(shape=(8, 5)), REFERENCE._replace(forward=leaking)), "x").verdict is Verdict.FAIL


def test_what_the_implementation_raises_is_raised() -> None:
    def backward(inputs: Inputs, dout: FloatArray) -> Gradients:
        raise ZeroDivisionError("theirs")

    with pytest.raises(ZeroDivisionError, match="theirs"):
        check(Case(shape=(4, 5)), with_backward(backward))


def test_the_implementation_gets_the_dtype_of_the_case() -> None:
    seen: set[str] = set()

    def backward(inputs: Inputs, dout: FloatArray) -> Gradients:
        seen.update({inputs.x.dtype.name, dout.dtype.name})
        return REFERENCE.backward(inputs, dout)

    check(Case(shape=(4, 5), dtype="float32"), with_backward(backward))
    assert seen == {"float32"}


# --- resolution and escalation ---------------------------------------------------------------------------------


def test_ordinary_data_need_no_more_than_the_quickest_method() -> None:
    methods_used = {found.method for found in check(Case(shape=(16, 8)), REFERENCE).comparisons}
    assert methods_used == {"order 4 in float64", "order 4 along dout in float64"}


def test_a_plain_failure_needs_no_more_than_the_quickest_method() -> None:
    found = at(check(Case(shape=(16, 8)), with_backward(without_the_variance_route)), "x")
    assert (found.verdict, found.method) == (Verdict.FAIL, "order 4 along dout in float64")


def methods_at(rtol: float, node: str) -> str:
    """Which method told, at this tolerance."""
    return at(check(Case(shape=(16, 8), rtol=rtol), REFERENCE), node).method


@has_80_bits
def test_a_finer_tolerance_takes_a_finer_method_and_no_finer_than_it_needs() -> None:
    assert [methods_at(rtol, "x") for rtol in (1e-9, 1e-11, 1e-13)] == [
        "order 4 along dout in float64",
        "order 8 along dout in float64",
        "order 8 along dout in 80-bit",
    ]


@has_80_bits
@either
def test_eighty_bits_resolve_a_tolerance_of_float64_roundoff(implementation: Implementation) -> None:
    assert check(Case(shape=(16, 8), rtol=1e-13), implementation).verdict is Verdict.PASS


@has_80_bits
def test_a_wrong_gradient_fails_at_the_finest_tolerance_too() -> None:
    report = check(Case(shape=(16, 8), rtol=1e-13), altered(x=1 + 1e-11))
    assert [name for name, verdict in verdicts(report).items() if verdict is Verdict.FAIL] == ["x"]


def test_a_tolerance_below_every_resolution_is_unresolved() -> None:
    report = check(Case(shape=(16, 8), rtol=1e-19), with_backward(in_longdouble))
    assert report.verdict is Verdict.UNRESOLVED


def in_longdouble(inputs: Inputs, dout: FloatArray) -> Gradients:
    """Right to the last bit of longdouble, so that there is nothing to fail."""
    wide = inputs.map(lambda array: array.astype(np.longdouble))
    return batchnorm.backward(wide, batchnorm.forward(wide), dout.astype(np.longdouble))[0]


def test_without_80_bits_what_they_would_tell_is_unresolved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "longdouble", np.float64)
    found = at(check(Case(shape=(16, 8), rtol=1e-14), REFERENCE), "x")
    assert (found.verdict, found.method) == (Verdict.UNRESOLVED, "order 8 along dout in float64")


def test_a_noisy_forward_is_unresolved_and_not_passed() -> None:
    case = Case(shape=(16, 8), asked=("dtype", "shapes"))
    found = at(check(case, REFERENCE._replace(forward=in_float32)), "x")
    assert found.verdict is Verdict.UNRESOLVED
    assert found.resolution > found.tolerance


# --- roundoff --------------------------------------------------------------------------------------------------


def test_roundoff_of_a_narrow_dtype_is_told_from_a_wrong_formula() -> None:
    found = at(check(Case(shape=(16, 8), dtype="float32", rtol=1e-9), REFERENCE), "x")
    assert found.verdict is Verdict.FAIL
    assert found.note == "roundoff, not a wrong formula: the same code is right in float64"


@pytest.mark.parametrize(
    ("dtype", "rtol"), [("float64", None), ("float32", None), ("float32", 1e-9)], ids=["float64", "float32", "both"]
)
def test_a_wrong_formula_is_not_called_roundoff(dtype: str, rtol: float | None) -> None:
    case = Case(shape=(16, 8), dtype=dtype, rtol=rtol)
    found = at(check(case, with_backward(without_the_variance_route)), "x")
    assert (found.verdict, found.note) == (Verdict.FAIL, "")


def test_a_constant_feature_is_said_to_vanish() -> None:
    found = at(check(Case(shape=(7, 3), x=XDraw(like="constant")), REFERENCE), "gamma")
    assert (found.verdict, found.vanishing) == (Verdict.PASS, 1)


def test_roundoff_of_a_batch_mean_near_nought_is_allowed_for() -> None:
    # One row of x is near a mean near 0: the roundoff of that mean is of the size of its terms, not of its own.
    case = Case(shape=(64, 4), seed=30, dtype="float32", x=XDraw(mean=1), dout="one-hot")
    assert check(case, REFERENCE).verdict is Verdict.PASS


# --- skipped ---------------------------------------------------------------------------------------------------


def test_what_the_dtype_cannot_carry_is_skipped_with_its_reason() -> None:
    report = check(Case(shape=(4, 5), dtype="float16", x=XDraw(mean=1e5)), REFERENCE)
    assert (report.verdict, report.comparisons) == (Verdict.SKIPPED, ())
    assert report.reason == "x does not fit in float16, whose largest number is 6.55e+04; use a smaller mean or std"


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_what_is_lost_in_roundoff_even_by_right_code_is_skipped_with_its_reason(dtype: str) -> None:
    report = check(Case(shape=(16, 8), dtype=dtype, x=XDraw(mean={"float32": 1e7, "float16": 1e3}[dtype])), REFERENCE)
    assert report.verdict is Verdict.SKIPPED
    assert report.reason == (
        f"x - mean is lost in the roundoff of {dtype}, even for correct code; use a smaller mean, or a wider dtype"
    )


def test_a_feature_lost_in_roundoff_among_good_ones_does_not_pass_untested() -> None:
    # In float32 the features of this draw have x_hat to one digit or to two.
    report = check(Case(shape=(128, 10), seed=20085, dtype="float32", eps=0, x=XDraw(mean=100, std=0.01)), REFERENCE)
    found = at(report, "gamma")
    assert 0 < found.blurred < 10
    assert (found.verdict, report.verdict) == (Verdict.SKIPPED, Verdict.PASS)
    assert found.note == (
        f"{10 - found.blurred} of 10 features can be judged, and are right; in the others x - mean is lost in the "
        "roundoff of float32, even for correct code; use a smaller mean, or a wider dtype"
    )


def test_a_feature_lost_in_roundoff_does_not_hide_another_that_is_wrong() -> None:
    case = Case(shape=(128, 10), seed=20085, dtype="float32", eps=0, x=XDraw(mean=100, std=0.01))
    assert at(check(case, altered(gamma=2)), "gamma").verdict is Verdict.FAIL


def test_the_reference_is_judged_in_blocks_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(shape=(16, 8))
    whole = check(case, with_backward(without_the_variance_route))
    monkeypatch.setattr(stack, "SIZE", 40)
    blocks = check(case, with_backward(without_the_variance_route))
    assert verdicts(blocks) == verdicts(whole)
    for one, other in zip(blocks.comparisons, whole.comparisons, strict=True):
        assert (one.off, one.size) == (other.off, other.size)
        assert one.error == pytest.approx(other.error, abs=1e-11)
        if one.verdict is Verdict.FAIL:  # where all is rounding, the order of the sums says which feature is worst
            assert one.worst.index == other.worst.index


def test_a_forward_that_mixes_blocks_of_features_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "SIZE", 40)

    class Mixing(Shown):
        """A batch normalisation of which the whole leaks from one half of the features into the other."""

        def forward(self, inputs: Inputs) -> FloatArray:
            out = batchnorm.forward(inputs).out
            return out + 1e-13 * np.roll(inputs.x, 4, axis=1) if inputs.x.shape[1] >= 8 else out

    assert at(check(Case(shape=(16, 8)), Shown(REFERENCE)), "x").verdict is Verdict.PASS
    assert at(check(Case(shape=(16, 8)), Mixing(REFERENCE)), "x").note == MIXED


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_float32_inside_is_no_failure_in_float32_alone(dtype: str) -> None:
    report = check(Case(shape=(32, 8), dtype=dtype, asked=("dtype", "shapes")), Shown(in_float32_inside(REFERENCE)))
    found = at(report, "x")
    if dtype == "float32":
        assert (report.verdict, found.method) == (Verdict.PASS, "order 4 along dout in float64 of our own forward")
    else:
        assert report.verdict is Verdict.FAIL


def test_a_forward_whose_jacobian_is_not_symmetric_is_differenced_row_by_row() -> None:
    asymmetric = REFERENCE._replace(forward=momentum_mean)
    assert at(check(Case(shape=(16, 8)), Shown(asymmetric)), "x").method == "order 3 row by row in float64"


def test_too_many_rows_are_judged_along_directions_and_never_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "LARGEST_BY_ROWS", 1)
    problem = draw(Case(shape=(16, 8)))
    right = numeric.differentiate("x", momentum_mean, problem.inputs, problem.dout, ROWS).value

    def backward(inputs: Inputs, dout: FloatArray) -> Gradients:
        return REFERENCE.backward(inputs, dout)._replace(x=right)

    asymmetric = REFERENCE._replace(forward=momentum_mean, backward=backward)
    found = at(check(Case(shape=(16, 8)), Shown(asymmetric)), "x")
    assert (found.verdict, found.note) == (
        Verdict.UNRESOLVED,
        "the Jacobian of this forward is not symmetric, so dx takes differences of one row after another, and 16 rows "
        "are too many; use fewer",
    )
    wrong = at(check(Case(shape=(16, 8)), Shown(REFERENCE._replace(forward=momentum_mean))), "x")
    assert (wrong.verdict, wrong.note) == (
        Verdict.FAIL,
        "along random directions, dx is not the gradient of this forward",
    )


def momentum_mean(inputs: Inputs) -> FloatArray:
    """A batch normalisation that takes nine tenths of the mean off."""
    stages = batchnorm.forward(inputs)
    out: FloatArray = stages.out + 0.1 * inputs.gamma * inputs.x.mean(axis=0) / stages.std
    return out


def test_a_skipped_case_does_not_run_the_implementation() -> None:
    def backward(inputs: Inputs, dout: FloatArray) -> Gradients:
        raise AssertionError("ran")

    case = Case(shape=(4, 5), eps=0, x=XDraw(like="constant"))
    assert check(case, with_backward(backward)).verdict is Verdict.SKIPPED


def test_no_warning_comes_out_of_a_check(regime: Case) -> None:
    with np.errstate(all="raise"):
        check(regime, REFERENCE)


# --- rows -------------------------------------------------------------------------------------------------------


CONVENTION = Convention(
    create="Layer(d, eps=eps)",
    set=(("gamma", "self.gamma"), ("beta", "self.beta")),
    forward="self.forward(x) -> out",
    backward="self.backward(dout) -> dx",
    gradients=(("gamma", "update(self.gamma)"), ("beta", "update(self.beta)")),
)
QUIET = Case(shape=(7, 3), x=XDraw(std=1e-150))
HIDDEN = (
    "only an update of gamma shows its gradient, and one of size 1.4e-147 is lost in the rounding of gamma, 1.4e-16; "
    "keep dgamma in an attribute, and it is judged"
)


@dataclass
class Layer:
    """One that leaves no gradients, but applies them; `factor` is what its dgamma is multiplied by."""

    d: int
    eps: float
    factor: float = 1.0
    extra: float = 0.0

    def __post_init__(self) -> None:
        self.gamma: Any = np.ones(self.d)
        self.beta: Any = np.zeros(self.d)

    def forward(self, x: Any) -> Any:
        self.std = np.sqrt(x.var(axis=0) + self.eps)
        self.x_hat = (x - x.mean(axis=0)) / self.std
        return self.gamma * self.x_hat + self.beta

    def backward(self, dout: Any) -> Any:
        g = dout * self.gamma
        dx = (g - g.mean(axis=0) - self.x_hat * (g * self.x_hat).mean(axis=0)) / self.std
        self.gamma = self.gamma - self.factor * (dout * self.x_hat).sum(axis=0) - self.extra
        self.beta = self.beta - dout.sum(axis=0)
        return dx


def checked(case: Case, **wrong: float) -> CaseReport:
    """A check of such a layer, wrong in some way."""
    namespace = {"Layer": lambda d, eps: Layer(d, eps, **wrong)}
    return check(case, bind(namespace, "Layer", CONVENTION, case))


def row(report: CaseReport, node: str) -> Comparison:
    """One row."""
    return next(found for found in report.comparisons if found.node == node)


@pytest.mark.parametrize("regime", TRAIN)
def test_a_layer_that_only_updates_raises_no_false_alarm(regime: str) -> None:
    assert checked(TRAIN[regime]).verdict is Verdict.PASS


def test_a_gradient_that_an_update_cannot_show_is_skipped_with_the_reason() -> None:
    report = checked(QUIET)
    assert (row(report, "gamma").verdict, row(report, "gamma").note) == (Verdict.SKIPPED, HIDDEN)
    assert [found.node for found in report.comparisons if found.verdict is Verdict.SKIPPED] == ["gamma"]


def test_a_tolerance_of_their_own_does_not_make_it_a_failure() -> None:
    assert row(checked(replace(QUIET, rtol=1e-6)), "gamma").note == HIDDEN


def test_what_an_update_does_show_fails_where_nothing_should_show() -> None:
    assert row(checked(QUIET, extra=1e-12), "gamma").verdict is Verdict.FAIL


@pytest.mark.parametrize("regime", [regime for regime in TRAIN if regime not in ("std 1e-150", "dout of ones")])
@pytest.mark.parametrize("factor", [0.0, -1.0, 2.0, 1 / 7, 1 + 1e-3])
def test_a_wrong_update_fails_at_gamma_alone(regime: str, factor: float) -> None:
    report = checked(TRAIN[regime], factor=factor)
    assert [found.node for found in report.comparisons if found.verdict is Verdict.FAIL] == ["gamma"]


@pytest.mark.parametrize("std", [1e-9, 1e-12])
def test_a_small_gradient_is_judged_by_the_digits_that_its_update_shows(std: float) -> None:
    case = Case(shape=(7, 3), x=XDraw(std=std))
    right, wrong = row(checked(case), "gamma"), row(checked(case, factor=1.1), "gamma")
    assert (right.verdict, wrong.verdict) == (Verdict.PASS, Verdict.FAIL)
    assert 1.05e-9 < right.tolerance < 1e-5


# --- blindness that is remembered ---------------------------------------------------------------------------------


def blindness(case: Case) -> dict[str, set[str]]:
    return {group.reason: {fault.name for fault in group.faults} for group in check_ours(case).blind}


def test_blindness_is_reckoned_once_for_the_same_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    checking._blindness.clear()
    reckoned: list[object] = []
    real = checking._blind

    def counted(whole: Any, *rows: Any) -> Any:
        reckoned.append(whole)
        return real(whole, *rows)

    monkeypatch.setattr(checking, "_blind", counted)
    cases = [
        Case(shape=(6, 4), dout="ones"),
        Case(shape=(6, 4), dout="ones", label="another name", implementation="closed-form"),
        Case(shape=(6, 4), dout="ones", seed=1),
        Case(shape=(6, 4), x=XDraw(mean=3.0)),
        Case(shape=(6, 4), dout="ones", gamma="ones"),
    ]
    found = [blindness(case) for case in cases]
    assert len(reckoned) == 4
    assert found[0] == found[1]
    checking._blindness.clear()
    assert [blindness(case) for case in reversed(cases)] == found[::-1]


# --- what is wrong -----------------------------------------------------------------------------------------------

POSSIBLE = [fault for fault in FAULTS if fault.needs in ("", "train", "eps", "features")]


@pytest.mark.parametrize("shape", [(32, 64), (4, 5), (2, 6), (8, 1)], ids=str)
def test_every_fault_has_one_name_or_is_said_to_be_the_same_formula(shape: tuple[int, int]) -> None:
    case = Case(shape=shape)
    unclear, unnamed = [], []
    for fault in POSSIBLE:
        findings = check(case, implementation_with(fault)).findings
        unclear += [each.sentence for each in findings if "cannot tell" in each.sentence]
        for each in findings:
            several = each.alternatives > 1 or len(each.faults) > 1
            unclear += [each.sentence] * (several != ("these are the same formula" in each.sentence))
        if findings and fault.name not in {name for each in findings for name in each.faults}:
            unnamed.append(fault.name)
    assert (unclear, unnamed) == ([], [])


@pytest.mark.parametrize(
    "case",
    [
        Case(shape=(16, 8), dout="ones"),
        Case(shape=(16, 8), gamma="ones"),
        Case(shape=(16, 8), x=XDraw(std=1e6)),
        Case(shape=(16, 8), dtype="float32", rtol=1e-2),
        Case(shape=(4, 6, 3), channel_axis=0),
    ],
    ids=["ones", "gamma", "std", "rtol", "axis"],
)
def test_what_such_data_cannot_tell_apart_others_do(case: Case) -> None:
    for name in ("dmean-missing", "dvar-missing", "double-var-route", "identity", "mean-route-sign", "features-for-n"):
        (finding,) = check(case, implementation_with(BY_NAME[name], case.samples)).findings or (None,)
        if finding is not None:
            assert "cannot tell" not in finding.sentence
            assert name in finding.faults


PAIR = Convention(
    forward="forward(x, gamma, beta, eps) -> out, cache", backward="backward(dout, cache) -> dx, dgamma, dbeta"
)


def their_forward(x: FloatArray, gamma: FloatArray, beta: FloatArray, eps: float) -> tuple[FloatArray, Any]:
    """A forward as people write it."""
    centred = x - x.mean(axis=0)
    std = np.sqrt((centred**2).mean(axis=0) + eps)
    return gamma * centred / std + beta, (centred, std, gamma)


def their_backward(dout: FloatArray, cache: Any) -> tuple[FloatArray, ...]:
    """A backward whose route through var has no 1/n: at n = 2 as if it were taken twice."""
    centred, std, gamma = cache
    n = len(dout)
    direct = dout * gamma / std
    dvar = -0.5 * (direct * centred).sum(axis=0) / std**2
    return (
        direct + dvar * 2 * centred - direct.mean(axis=0) * n / n,
        (dout * centred / std).sum(axis=0),
        dout.sum(axis=0),
    )


def told_of(case: Case, backward: Callable[..., Any]) -> str:
    """The sentence on somebody's backward."""
    subject = bind({"forward": their_forward, "backward": backward}, "backward", PAIR, case)
    (finding,) = check(case, subject).findings
    return finding.sentence


def test_their_code_is_asked_of_other_data_and_told_with_the_numbers_of_this() -> None:
    assert told_of(Case(shape=(2, 6)), their_backward) == (
        "x: the route through var is n times what it should be (coefficient 2.000, expected 1): n times the sum, or "
        "the 1/n of 2 (x - mean) / n is forgotten (these are the same formula); direct and through mean are right."
    )


def test_code_that_takes_no_other_shape_is_asked_of_this_one() -> None:
    def stubborn(dout: FloatArray, cache: Any) -> tuple[FloatArray, ...]:
        assert dout.shape == (16, 6)
        dx, dgamma, dbeta = their_backward(dout, cache)
        return dx * 0, dgamma, np.abs(dbeta) / 16

    case = Case(shape=(16, 6), dout="ones")
    subject = bind({"forward": their_forward, "backward": stubborn}, "backward", PAIR, case)
    assert "beta: dbeta is 1/n of what it should be: a mean over the batch where a sum belongs." in [
        finding.sentence for finding in check(case, subject).findings
    ]


def test_what_no_other_shape_can_be_asked_about_is_said_to_be_undecided() -> None:
    def stubborn(dout: FloatArray, cache: Any) -> tuple[FloatArray, ...]:
        assert dout.shape == (2, 6)
        return their_backward(dout, cache)

    assert told_of(Case(shape=(2, 6)), stubborn).endswith("; these data cannot tell them apart.")


# --- arithmetic that is only narrow ----------------------------------------------------------------------------

NARROWLY = [(dtype, how) for dtype in ("float32", "float16", "bfloat16") for how in ("returns", "casts", "refuses")]
narrowly = pytest.mark.parametrize(("dtype", "how"), NARROWLY, ids=[f"{how} {dtype}" for dtype, how in NARROWLY])
DENSE = Case(shape=(32, 8))


@narrowly
def test_code_that_works_in_a_narrow_dtype_alone_is_judged_in_that(dtype: str, how: str) -> None:
    report = check(DENSE, NarrowOnly(TWO_PASS, dtype, how))
    assert (report.verdict, report.case.dtype) == (Verdict.PASS, dtype)
    assert report.note.startswith(f"it works in {dtype} alone, and is judged in that; numeric: of the reference, whose")


def test_the_note_says_to_what_the_reference_stands_in() -> None:
    assert check(DENSE, NarrowOnly(TWO_PASS, "float32", "refuses")).note == (
        "it works in float32 alone, and is judged in that; numeric: of the reference, whose out theirs agrees with to "
        "9.4e-08; their own differences resolve 1e-05"
    )


@narrowly
def test_a_fault_in_narrow_arithmetic_alone_is_diagnosed(dtype: str, how: str) -> None:
    report = check(DENSE, NarrowOnly(with_backward(without_the_variance_route), dtype, how))
    assert (report.verdict, report.case.dtype) == (Verdict.FAIL, dtype)
    (finding,) = report.findings
    assert "no-var-route" in finding.faults


def test_a_slip_of_a_thousandth_in_dvar_fails_in_float32_alone() -> None:
    for how in ("returns", "casts", "refuses"):
        report = check(DENSE, NarrowOnly(slip(1e-3), "float32", how))
        assert [row.node for row in report.comparisons if row.verdict is Verdict.FAIL] == ["var", "x"]


@pytest.mark.parametrize("how", ["returns", "casts"])
def test_narrow_code_fails_where_float64_is_asked_for(how: str) -> None:
    report = check(replace(DENSE, asked=("dtype", "shapes")), NarrowOnly(TWO_PASS, "float32", how))
    assert (report.verdict, report.case.dtype) == (Verdict.FAIL, "float64")


def test_code_that_refuses_the_dtype_that_is_asked_for_raises_its_own_error() -> None:
    with pytest.raises(TypeError, match="expected float32, got float64"):
        check(replace(DENSE, asked=("dtype", "shapes")), NarrowOnly(TWO_PASS, "float32", "refuses"))


@narrowly
def test_narrow_code_is_judged_in_the_narrow_dtype_that_is_asked_for(dtype: str, how: str) -> None:
    report = check(replace(DENSE, dtype=dtype, asked=("dtype", "shapes")), NarrowOnly(TWO_PASS, dtype, how))
    assert report.verdict is Verdict.PASS
    assert report.note.startswith("numeric: of the reference, whose out theirs agrees with to")


def test_code_that_takes_float64_is_not_said_to_work_in_less() -> None:
    for dtype in ("float64", "float32", "float16"):
        report = check(replace(DENSE, dtype=dtype), Shown(TWO_PASS))
        assert (report.verdict, report.note) == (Verdict.PASS, "")


@pytest.mark.parametrize("writer", [with_backward(zeros), with_backward(without_the_variance_route)], ids=["0", "var"])
def test_wrong_code_that_takes_float64_is_judged_in_it(writer: Implementation) -> None:
    report = check(DENSE, Shown(writer))
    assert (report.verdict, report.case.dtype) == (Verdict.FAIL, "float64")


def test_a_narrow_forward_that_is_none_that_is_known_is_judged_in_float64() -> None:
    report = check(DENSE, NarrowOnly(REFERENCE._replace(forward=layer_norm), "float32", "casts"))
    assert (report.verdict, report.case.dtype) == (Verdict.FAIL, "float64")


def test_a_narrow_forward_that_is_another_one_beside_the_inputs_is_not_judged_by_the_reference() -> None:
    x = draw(replace(DENSE, dtype="float32")).inputs.x

    def forward(inputs: Inputs) -> FloatArray:
        out = REFERENCE.forward(inputs)
        is_there = inputs.x.shape != x.shape or np.array_equal(inputs.x, x) or np.array_equal(inputs.x[:, :4], x[:, :4])
        return out if is_there else out + np.float32(1e-3) * inputs.x

    report = check(replace(DENSE, dtype="float32"), NarrowOnly(REFERENCE._replace(forward=forward), "float32", "casts"))
    assert at(report, "x").verdict is Verdict.UNRESOLVED
    assert at(report, "x").note == (
        "out agrees with the reference here, and does not where x is moved along dout; so nothing is known of it"
    )


def test_a_recorded_batch_of_narrow_numbers_makes_no_code_narrow(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", draw(replace(DENSE, dtype="float16")).inputs.x)
    case = replace(DENSE, x=XDraw(file=str(tmp_path / "x.npy")))
    assert check(case, Shown(with_backward(zeros))).case.dtype == "float64"


def test_functions_of_numpy_are_not_asked_for_bfloat16() -> None:
    convention = Convention(forward="forward(x) -> out", backward="backward(dout) -> dx")
    with pytest.raises(Declined, match="arrays of NumPy have no bfloat16"):
        bind({"forward": len, "backward": len}, "backward", convention, replace(DENSE, dtype="bfloat16"))


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, 3, 32, 1000])
@pytest.mark.parametrize("regime", TRAIN)
@narrowly
def test_narrow_code_is_never_said_to_be_wrong(dtype: str, how: str, regime: str, n: int) -> None:
    case = replace(TRAIN[regime], shape=(n, 3), dtype="float64")
    for writer in (TWO_PASS, FUSED):
        assert check(case, NarrowOnly(writer, dtype, how)).verdict in (Verdict.PASS, Verdict.SKIPPED)
