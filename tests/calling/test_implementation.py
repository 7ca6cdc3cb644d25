"""The contract: every breach is a failed row with its sentence, and what merely looks like one is none."""

from __future__ import annotations

import itertools
import textwrap
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bncheck.calling.answer import MIXED
from bncheck.calling.implementation import BUILT_IN, CLOSED_FORM, REFERENCE, Implementation, bind
from bncheck.calling.layout import layout_of
from bncheck.case import Case, Convention, Verdict, XDraw
from bncheck.checking import check, check_with_sight
from bncheck.gradients.batchnorm import NODES
from bncheck.gradients.problem import draw
from bncheck.report import CaseReport, Run
from bncheck.reporters import table

CASE = Case(shape=(6, 4))

Array = np.ndarray[Any, np.dtype[Any]]

LAYER = """
    import numpy as np

    class Layer:
        def __init__(self, d, eps):
            self.gamma, self.beta, self.eps = np.ones(d), np.zeros(d), eps
            self.count = 0

        def forward(self, x):
            self.x = x
            self.std = np.sqrt(x.var(axis=0) + self.eps)
            self.x_hat = (x - x.mean(axis=0)) / self.std
            out = self.gamma * self.x_hat + self.beta
            # forward
            return out

        def backward(self, dout):
            n = len(dout)
            dbeta, dgamma = dout.sum(axis=0), (dout * self.x_hat).sum(axis=0)
            dx = self.gamma / (n * self.std) * (n * dout - dbeta - self.x_hat * dgamma)
            # backward
            self.dgamma, self.dbeta = dgamma, dbeta
            # after
            return dx
"""
CONVENTION = Convention(
    create="Layer(d, eps=eps)",
    set=(("gamma", "self.gamma"), ("beta", "self.beta")),
    forward="self.forward(x) -> out",
    backward="self.backward(dout) -> dx",
    gradients=(("gamma", "self.dgamma"), ("beta", "self.dbeta")),
)


def checked(place: str = "", code: str = "", convention: Convention = CONVENTION, case: Case = CASE) -> CaseReport:
    """A check of the layer, with some code put at one of its places: `forward`, `backward` or `after`."""
    source = textwrap.dedent(LAYER).replace(f"# {place}\n", f"{code}\n") if place else textwrap.dedent(LAYER)
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    return check(case, bind(namespace, "Layer", convention, case))


def told(report: CaseReport) -> dict[str, str]:
    """The sentences about the rows that fail."""
    return {row.node: row.note for row in report.comparisons if row.verdict is Verdict.FAIL}


def test_noise_in_one_call_of_many_is_found_by_as_many_calls() -> None:
    noise = "dx = dx + (next(calls) % 15 == 14)"
    for repeats, is_found in ((1, False), (20, True)):
        code = noise.replace("calls", "type(self).calls")
        source = textwrap.dedent(LAYER).replace("# backward\n", f"{code}\n")
        namespace: dict[str, Any] = {}
        exec(source, namespace)
        namespace["Layer"].calls = itertools.count()
        case = replace(CASE, repeats=repeats)
        found = told(check(case, bind(namespace, "Layer", CONVENTION, case)))
        assert bool(found) == is_found
        assert all("with the same input" in sentence for sentence in found.values())


def test_calls_that_agree_say_what_frequency_they_exclude() -> None:
    report = checked(case=replace(CASE, repeats=20))
    assert report.verdict is Verdict.PASS
    said = "20 calls gave the same numbers: what differs in more than 14% of calls would have shown"
    assert said in report.note


AGAIN = "differs when it is run again with the same input"
AFTER = "differs after another batch has gone through"
ONCE = "self.count += 1"

# Where the code stands, the code, and what is said of which rows.
BREACHES: dict[str, tuple[str, str, dict[str, str]]] = {
    "dgamma keeps its dims": (
        "backward",
        "dgamma = dgamma[None]",
        {"gamma": "dgamma has shape (1, 4), expected (4,); drop keepdims in its sum"},
    ),
    "dbeta keeps its dims, as a column": (
        "backward",
        "dbeta = dbeta[:, None]",
        {"beta": "dbeta has shape (4, 1), expected (4,); drop keepdims in its sum"},
    ),
    "dgamma is not summed": (
        "backward",
        "dgamma = dout * self.x_hat",
        {"gamma": "dgamma has shape (6, 4), expected (4,); sum it over the rows"},
    ),
    "dx has one axis more": (
        "backward",
        "dx = dx[None]",
        {"x": "dx has shape (1, 6, 4), expected (6, 4); drop the axis that is too many"},
    ),
    "dgamma is None": ("backward", "dgamma = None", {"gamma": "dgamma is None"}),
    "dx is text": ("backward", "dx = 'text'", {"x": "dx is a str, expected an array of numbers"}),
    "dgamma has a nan": (
        "backward",
        "dgamma[1] = np.nan",
        {"gamma": "dgamma is not finite in 1 of 4 elements"},
    ),
    "dbeta is infinite": (
        "backward",
        "dbeta = dbeta / 0",
        {"beta": "dbeta is not finite in 4 of 4 elements"},
    ),
    "dx is float32": ("backward", "dx = dx.astype(np.float32)", {"x": "dx has dtype float32, expected float64"}),
    "dbeta is of whole numbers": (
        "backward",
        "dbeta = (1000 * dbeta).astype(int)",
        {"beta": "dbeta has dtype int64, expected float64"},
    ),
    "forward writes into x": ("forward", "x -= 1", {"out": "forward wrote into x; work on a copy"}),
    "backward writes into dout": ("backward", "dout *= 2", {"x": "backward wrote into dout; work on a copy"}),
    "backward writes into x": ("backward", "self.x += 1", {"x": "backward wrote into x; work on a copy"}),
    "dgamma is drawn at random": (
        "backward",
        "dgamma = dgamma * (1 + 1e-6 * np.random.rand())",
        {"gamma": f"dgamma {AGAIN}; dgamma {AFTER}"},
    ),
    "dx depends on how often": ("backward", f"{ONCE}; dx = dx / self.count", {"x": f"dx {AFTER}"}),
    "dgamma is kept from the first batch": (
        "backward",
        f"{ONCE}; self.first = dgamma if self.count == 1 else self.first; dgamma = self.first",
        {"gamma": f"dgamma {AFTER}"},
    ),
    "out depends on how often": ("forward", f"{ONCE}; out = out + (self.count > 1)", {"out": f"out {AFTER}"}),
}
NOT_JUDGED_BY_NUMBER = {"dx is float32", "dbeta is of whole numbers"}  # their neighbours are less precise, or wrong


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_fails_its_row_with_its_sentence(breach: str) -> None:
    place, code, sentences = BREACHES[breach]
    with np.errstate(all="ignore"):
        report = checked(place, code)
    assert report.verdict is Verdict.FAIL
    said = told(report)
    assert {row: said.get(row) for row in sentences} == sentences
    if breach not in NOT_JUDGED_BY_NUMBER:
        assert set(said) == set(sentences)


def test_a_layer_that_keeps_the_contract_passes() -> None:
    assert told(checked()) == {}


def test_a_gradient_that_is_not_there_is_said_to_be_missing() -> None:
    report = checked("after", "del self.dgamma")
    sentence = "dgamma is not where it should be: AttributeError: 'Layer' object has no attribute 'dgamma'"
    assert told(report) == {"gamma": sentence}
    assert report.verdict is Verdict.FAIL


def test_a_backward_that_returns_too_few_is_said_to_and_nothing_else_of_it_is_judged() -> None:
    convention = Convention(**{**of(CONVENTION), "backward": "self.backward(dout) -> dx, _", "gradients": ()})
    said = told(checked(convention=convention))
    assert said["x"] == "backward returned an array of float64 of shape (6, 4), expected 2 values: dx, _"


def of(convention: Convention) -> dict[str, Any]:
    """Its fields."""
    return {name: getattr(convention, name) for name in Convention.__slots__}


def test_the_shape_of_its_own_gamma_is_no_breach() -> None:
    convention = Convention(**{**of(CONVENTION), "parameters": "(1, d)"})
    assert told(checked("backward", "dgamma, dbeta = dgamma[None], dbeta[None]", convention)) == {}


def test_a_gradient_that_updates_its_parameter_rightly_in_another_shape_passes_with_a_note() -> None:
    report = checked("backward", "dbeta = dbeta[None]", replace(CONVENTION, parameters="(1, d)"))
    assert (report.verdict, told(report)) == (Verdict.PASS, {})
    assert report.note == (
        "dgamma lacks an axis of length 1 that gamma has; an update gamma -= rate * dgamma is right all the same"
    )
    assert f"note: {report.note}" in table.render(Run((report,), 1, 0.0), table.Detail.USUAL)


TOLD_BESIDE_A_BREACH = {
    "dgamma n times too large, of the wrong shape": (
        "dgamma = n * dgamma[None]",
        {"gamma": "dgamma has shape (1, 4), expected (4,); drop keepdims in its sum"},
        {("gamma",): ("dgamma-times-n",)},
    ),
    "dbeta over n, from the second batch on of another sign": (
        "dbeta = dbeta / n * (1 if self.count == 0 else -1); self.count += 1",
        {"beta": f"dbeta {AFTER}"},
        {("beta",): ("dbeta-averaged",)},
    ),
    "dgamma over n in float32": (
        "dgamma = (dgamma / n).astype(np.float32)",
        {"gamma": "dgamma has dtype float32, expected float64"},
        {("gamma",): ("dgamma-averaged",)},
    ),
    "dgamma in float32, and right": (
        "dgamma = dgamma.astype(np.float32)",
        {"gamma": "dgamma has dtype float32, expected float64"},
        {},
    ),
    "dgamma at random": ("dgamma = dgamma * np.random.rand()", {"gamma": f"dgamma {AGAIN}; dgamma {AFTER}"}, {}),
}


@pytest.mark.parametrize("breach", TOLD_BESIDE_A_BREACH)
def test_a_breach_hides_no_diagnosis_and_makes_none_up(breach: str) -> None:
    code, sentences, faults = TOLD_BESIDE_A_BREACH[breach]
    report = checked("backward", code)
    assert told(report) == sentences
    assert {finding.rows: finding.faults for finding in report.findings} == faults


def test_a_gradient_whose_parameter_could_not_be_put_is_skipped_with_the_line_to_fill_in() -> None:
    convention = replace(CONVENTION, set=(("beta", "self.beta"),))
    report = checked("backward", "dgamma = dgamma[None]", convention)
    assert report.verdict is Verdict.PASS
    assert {row.node: row.note for row in report.comparisons if row.verdict is Verdict.SKIPPED} == {
        "gamma": "gamma is neither set nor handed over, so nothing shows what dgamma should be; say where it is kept, "
        "as in set: {gamma: self.gamma}"
    }


NO_BREACHES = {
    "gradients that add up": "dgamma = dgamma + getattr(self, 'dgamma', 0); dbeta = dbeta + getattr(self, 'dbeta', 0)",
    "gamma updated in place": "self.gamma -= 0.1 * dgamma; self.beta -= 0.1 * dbeta",
    "gamma updated by a new array": "self.gamma = self.gamma - 0.1 * dgamma; self.beta = self.beta - 0.1 * dbeta",
    "a wider dtype": "dx = dx.astype(np.longdouble)",
    "a list": "dgamma = list(dgamma)",
    "a view": "dgamma = dgamma[::-1].copy()[::-1]",
    "sums in any order": "dgamma = (dout * self.x_hat)[np.random.permutation(n)].sum(axis=0)",
    "an array that cannot be written": "dx.flags.writeable = False",
}


@pytest.mark.parametrize("code", NO_BREACHES.values(), ids=NO_BREACHES)
def test_what_looks_like_a_breach_and_is_none_passes(code: str) -> None:
    report = checked("backward", code)
    assert (report.verdict, told(report)) == (Verdict.PASS, {})


def test_running_statistics_that_are_updated_are_no_breach() -> None:
    code = "self.running = 0.9 * getattr(self, 'running', 0) + 0.1 * x.mean(axis=0)"
    assert told(checked("forward", code)) == {}


def test_a_dx_that_adds_up_is_a_breach() -> None:
    report = checked("backward", "self.total = dx + getattr(self, 'total', 0); dx = self.total")
    assert told(report) == {"x": f"dx {AFTER}"}


# --- features ----------------------------------------------------------------------------------------------------

MIXING = {
    "over features": "out = (x - x.mean(axis=1, keepdims=True)) / (x.std(axis=1, keepdims=True) + self.eps)",
    "over everything": "out = self.gamma * (x - x.mean()) / np.sqrt(x.var() + self.eps) + self.beta",
    "one from its neighbour": "out = out + 0.01 * np.roll(out, 1, axis=1)",
}


@pytest.mark.parametrize("code", MIXING.values(), ids=MIXING)
def test_features_that_are_mixed_are_said_to_be(code: str) -> None:
    report = checked("forward", code)
    assert told(report)["x"] == MIXED
    assert report.verdict is Verdict.FAIL


ONE_GAMMA = replace(CONVENTION, parameters="(1,)")
OVER_EVERYTHING = "out = self.gamma * (x - x.mean()) / np.sqrt(x.var() + self.eps) + self.beta"
MIXING_WITH_ONE_GAMMA = {
    "mean and variance over everything": OVER_EVERYTHING,
    "variance over everything": "out = self.gamma * (x - x.mean(axis=0)) / np.sqrt(x.var() + self.eps) + self.beta",
    "mean over everything": "out = self.gamma * (x - x.mean()) / self.std + self.beta",
}


@pytest.mark.parametrize("parameters", ["()", "(1,)"])
@pytest.mark.parametrize("code", MIXING_WITH_ONE_GAMMA.values(), ids=MIXING_WITH_ONE_GAMMA)
def test_a_layer_with_one_gamma_that_mixes_features_is_said_to_and_no_more(code: str, parameters: str) -> None:
    report = checked("forward", code, replace(CONVENTION, parameters=parameters))
    assert told(report) == {"out": MIXED}


def test_a_layer_with_one_gamma_that_is_given_running_statistics_and_mixes_features_is_said_to() -> None:
    places = (*CONVENTION.set, ("running_mean", "self.running_mean"), ("running_var", "self.running_var"))
    assert told(checked("forward", OVER_EVERYTHING, replace(ONE_GAMMA, set=places))) == {"out": MIXED}


ORDINARY = {
    "as it comes": CASE,
    "far from zero": Case(shape=(60, 3), x=XDraw(mean=1e13)),
    "tiny": Case(shape=(6, 4), x=XDraw(std=1e-150)),
    "two rows": Case(shape=(2, 5)),
    "float32": Case(shape=(64, 4), dtype="float32"),
    "float16": Case(shape=(8, 4), dtype="float16"),
    "large eps": Case(shape=(6, 4), eps=1e3),
}


@pytest.mark.parametrize("case", ORDINARY.values(), ids=ORDINARY)
def test_a_layer_with_one_gamma_that_is_right_mixes_nothing(case: Case) -> None:
    assert "out" not in told(checked(convention=ONE_GAMMA, case=case))


@pytest.mark.slow
def test_float32_buffers_of_a_layer_with_one_gamma_mix_nothing() -> None:
    code = "x = x.astype(np.float32); out = self.gamma * (x - x.mean(axis=0)) / x.std(axis=0) + self.beta"
    assert MIXED not in told(checked("forward", code, ONE_GAMMA, Case(shape=(300, 3)))).get("out", "")


@pytest.mark.parametrize("parameters", ["()", "(1,)"])
def test_a_layer_with_one_gamma_and_a_gradient_for_each_feature_is_said_to_need_one_for_each(parameters: str) -> None:
    convention = replace(CONVENTION, parameters=parameters)
    assert told(checked(convention=convention)) == {
        row: f"d{row} has shape (4,) of 4 features, and {row} is one number; keep one for each"
        for row in ("gamma", "beta")
    }
    assert checked(convention=convention).note == ""
    summed = "dgamma, dbeta = dgamma.sum(), dbeta.sum()"
    assert told(checked("backward", summed, convention)) == {}


FOR_ONE_FEATURE = {
    "raises": "if x.shape[1] > 1: raise ValueError('one feature')",
    "out of another shape": "out = out[:, :1]",
    "out is none": "out = out if x.shape[1] == 1 else None",
}


@pytest.mark.parametrize("code", FOR_ONE_FEATURE.values(), ids=FOR_ONE_FEATURE)
def test_of_a_layer_that_does_not_take_several_features_nothing_is_said(code: str) -> None:
    assert told(checked("forward", code, ONE_GAMMA)) == {}


def test_a_layer_with_one_gamma_and_one_feature_may_normalise_over_everything() -> None:
    assert told(checked("forward", OVER_EVERYTHING, ONE_GAMMA, Case(shape=(6, 1)))) == {}


def test_an_out_that_changes_each_time_is_not_said_to_mix_features() -> None:
    code = "out = out * (1 + 0.1 * np.random.random())"
    assert MIXED not in told(checked("forward", code, ONE_GAMMA))["out"]


def test_a_layer_of_another_shape_each_time_takes_any_number_of_features() -> None:
    for features in (1, 2, 7):
        assert told(checked(case=Case(shape=(6, features)))) == {}


# --- implementations --------------------------------------------------------------------------------------------


either = pytest.mark.parametrize("implementation", [REFERENCE, CLOSED_FORM], ids=lambda found: found.name)


@pytest.mark.parametrize(("name", "wanted"), [("reference", REFERENCE), ("closed-form", CLOSED_FORM)])
def test_an_implementation_is_found_by_its_name(name: str, wanted: Implementation) -> None:
    assert BUILT_IN[name] is wanted


def test_there_are_two() -> None:
    assert list(BUILT_IN) == ["reference", "closed-form"]


def test_a_name_that_nobody_has_is_refused() -> None:
    with pytest.raises(KeyError, match="refrence"):
        BUILT_IN["refrence"]


@either
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_gradients_that_leave_the_layer_are_in_its_dtype(implementation: Implementation, dtype: str) -> None:
    problem = draw(Case(shape=(7, 3), dtype=dtype))
    gradients = implementation.backward(problem.inputs, problem.dout)
    assert {gradients.of(node).dtype.name for node in ("beta", "gamma", "x")} == {dtype}


@either
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_gradients_have_the_shapes_of_their_nodes(implementation: Implementation, mode: str) -> None:
    problem = draw(Case(shape=(7, 3), mode=mode))
    gradients = implementation.backward(problem.inputs, problem.dout)
    assert [gradients.of(node).shape for node in NODES] == [(3,), (3,), (3,), (3,), (7, 3)]


@either
def test_float16_is_summed_in_float32(implementation: Implementation) -> None:
    # 60,000 ones: in float16 their sum would stop at 2048, and 65504 is its largest number.
    problem = draw(Case(shape=(60_000, 1), dtype="float16", dout="ones"))
    assert implementation.backward(problem.inputs, problem.dout).beta == np.float16(60_000)


@either
@pytest.mark.parametrize("dtype", ["float64", "float32", "longdouble"])
def test_forward_keeps_the_dtype_it_is_given(implementation: Implementation, dtype: str) -> None:
    inputs = draw(Case(shape=(7, 3), mode="eval")).inputs.map(lambda array: array.astype(dtype))
    assert implementation.forward(inputs).dtype == np.dtype(dtype)


@either
def test_backward_twice_gives_the_same_bits(implementation: Implementation) -> None:
    problem = draw(Case(shape=(7, 3)))
    for array in (problem.inputs.x, problem.inputs.gamma, problem.inputs.beta, problem.dout):
        array.flags.writeable = False
    first = implementation.backward(problem.inputs, problem.dout)
    again = implementation.backward(problem.inputs, problem.dout)
    assert all(first.of(node).tobytes() == again.of(node).tobytes() for node in NODES)


# --- memory -------------------------------------------------------------------------------------------------------


def peak(work: Callable[[], object]) -> int:
    """The most memory, in bytes, that is taken at once beyond what is there already."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("shape", [(2**15, 32), (16, 32, 64, 32)])
def test_a_check_takes_what_one_forward_and_backward_take_and_six_times_x_at_most(shape: tuple[int, ...]) -> None:
    axes = (0, 2, 3)[: len(shape) - 1]

    def forward(x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, tuple[Array, Array, Array]]:
        std = np.sqrt(x.var(axis=axes, keepdims=True) + eps)
        x_hat = (x - x.mean(axis=axes, keepdims=True)) / std
        gamma, beta = gamma.reshape(std.shape), beta.reshape(std.shape)
        return gamma * x_hat + beta, (x_hat, gamma, std)

    def backward(dout: Array, cache: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        x_hat, gamma, std = cache
        n = dout.size // gamma.size
        dbeta, dgamma = dout.sum(axis=axes, keepdims=True), (dout * x_hat).sum(axis=axes, keepdims=True)
        dx = gamma / (n * std) * (n * dout - dbeta - x_hat * dgamma)
        return dx, dgamma.ravel(), dbeta.ravel()

    case, ones = Case(shape=shape), np.ones(shape[1])
    convention = Convention(
        forward="forward(x, gamma, beta, eps) -> out, cache", backward="backward(dout, cache) -> dx, dgamma, dbeta"
    )
    bound = bind({"forward": forward, "backward": backward}, "backward", convention, case)
    x = np.ones(shape)
    theirs = x.nbytes + peak(lambda: backward(x, forward(x, ones, ones, 1e-5)[1]))
    assert check_with_sight(case, bound).verdict is Verdict.PASS  # what is imported late takes memory too
    assert peak(lambda: check_with_sight(case, bound)) <= theirs + 6 * x.nbytes


def test_a_strided_dout_has_its_numbers_in_every_second_place() -> None:
    case = Case(shape=(4, 3, 2, 2), dout="strided")
    problem = draw(case)
    handed = layout_of(case, "channels first").dout(problem.dout)
    np.testing.assert_array_equal(handed, layout_of(case, "channels first").laid_out(problem.dout))
    assert not handed.flags.c_contiguous
    assert handed.base is not None
    assert np.all(np.isnan(handed.base[..., 1]))
    np.testing.assert_array_equal(problem.dout, draw(Case(shape=(4, 3, 2, 2))).dout)
