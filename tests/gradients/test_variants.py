"""Variants of batch normalisation: each is known by its out, named, and judged against its own derivative."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pytest

from bncheck import checking
from bncheck.calling.answer import Answer
from bncheck.calling.implementation import AsAsked
from bncheck.case import Case, Verdict, XDraw
from bncheck.checking import UNKNOWN
from bncheck.gradients import batchnorm
from bncheck.gradients.batchnorm import STANDARD, FloatArray, Inputs, Variant
from bncheck.gradients.problem import draw
from bncheck.gradients.variants import NARROW, Identity, asked, carried, identify, odd_inputs
from bncheck.report import CaseReport
from tests.benchmarks.rewritings import TWO_PASS, NarrowOnly
from tests.conftest import REGIMES, TRAIN

UNBIASED = "unbiased variance: it divides by n - 1"
OUTSIDE = "eps outside the root: std is sqrt(var) + eps"
TOLERANCE = 1e-9  # of out, whose largest element is near 1: what a check allows in float64


@dataclass(frozen=True, slots=True)
class Form:
    """How a layer of somebody's differs from the standard one. `eps` is its own, whatever is asked for."""

    variant: Variant = STANDARD
    eps: float | None = None

    def applied(self, inputs: Inputs) -> Inputs:
        """The inputs that it really works on."""
        return replace(inputs, variant=self.variant, eps=inputs.eps if self.eps is None else self.eps)


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of such a form, right by its own derivative, that shows no dmean and no dvar."""

    form: Form
    name: str = "Layer"

    def forward(self, inputs: Inputs) -> FloatArray:
        """By the graph, with its own conventions."""
        return batchnorm.forward(self.form.applied(inputs)).out

    def given(self, inputs: Inputs) -> Inputs:
        """It takes everything, and ignores eps where it has its own."""
        return inputs

    def answer(self, inputs: Inputs, dout: FloatArray) -> Answer:
        """What forward and backward give."""
        own = self.form.applied(inputs)
        stages = batchnorm.forward(own)
        gradients, _ = batchnorm.backward(own, stages, dout)
        return Answer(stages.out, gradients.x, gradients.gamma, gradients.beta)

    examined = answer


def check(case: Case, subject: Layer) -> CaseReport:
    """The report of a case whose config asks for its eps."""
    return checking.check(replace(case, asked=("eps", "shapes")), subject)


ONE = {
    "unbiased": (Form(Variant(ddof=1)), UNBIASED),
    "eps outside": (Form(Variant(eps_outside=True)), OUTSIDE),
    "no eps": (Form(eps=0.0), "no eps, and 1.3e-05 was asked for"),
    "eps 1e-8": (Form(eps=1e-8), "eps is 1e-08, not 1.3e-05"),
    "eps 1e-3": (Form(eps=1e-3), "eps is 0.001, not 1.3e-05"),
}
TWO = {
    "unbiased, eps 1e-3": (Form(Variant(ddof=1), 1e-3), f"{UNBIASED}; eps is 0.001, not 1.3e-05"),
    "unbiased, no eps": (Form(Variant(ddof=1), 0.0), f"{UNBIASED}; no eps, and 1.3e-05 was asked for"),
    "unbiased, eps outside": (Form(Variant(ddof=1, eps_outside=True)), f"{UNBIASED}; {OUTSIDE}"),
    "eps 1e-3 outside": (Form(Variant(eps_outside=True), 1e-3), f"{OUTSIDE}; eps is 0.001, not 1.3e-05"),
}
THREE = {
    "unbiased, eps 1e-3 outside": (
        Form(Variant(ddof=1, eps_outside=True), 1e-3),
        f"{UNBIASED}; {OUTSIDE}; eps is 0.001, not 1.3e-05",
    ),
}
VARIANTS = {**ONE, **TWO, **THREE}
each_variant = pytest.mark.parametrize(("form", "sentence"), VARIANTS.values(), ids=VARIANTS)

# In these, x is of the size that lets every variant be told; in "eval" there is no variance to divide.
TELLING = ["ordinary", "variance 1e-8", "mean 1e4", "mean 1e8", "n = 2", "dout of ones", "one-hot dout"]
# sqrt(var) has no derivative at var = 0, and without eps 0 / 0 is taken: a constant feature has no right answer then.
NOT_SMOOTH = ("outside", "no eps")
LOUD = ["std 1e6", "std 1e90", "an outlier of 1e6"]
QUIET = ["no eps", "eps 1e-8", "eps 1e-3"]


def identity_of(form: Form, inputs: Inputs) -> Identity | None:
    """What a forward of that form is found to be, with nothing but a tolerance of rounding."""
    out = batchnorm.forward(form.applied(inputs)).out
    return identify(out, inputs, np.full(inputs.x.shape[1], TOLERANCE))


# --- by its out --------------------------------------------------------------------------------------------------


def facts(found: Identity | None) -> tuple[object, ...] | None:
    """All of an identity, each array by which one it is: arrays have no truth in `==`."""
    if found is None:
        return None
    inputs = found.inputs
    arrays = (inputs.x, inputs.gamma, inputs.beta, inputs.running_mean, inputs.running_var)
    return (found.sentence, found.known, inputs.eps, inputs.variant, *map(id, arrays))


@each_variant
@pytest.mark.parametrize("regime", TELLING)
def test_a_variant_is_named_and_what_it_really_works_on_is_found(form: Form, sentence: str, regime: str) -> None:
    inputs = draw(REGIMES[regime]).inputs
    found = identity_of(form, inputs)
    assert found is not None
    assert found.sentence == sentence
    assert (found.inputs.variant, found.inputs.eps) == (form.variant, form.applied(inputs).eps)


@pytest.mark.parametrize("regime", REGIMES)
def test_the_standard_one_has_no_sentence_and_keeps_its_inputs(regime: str) -> None:
    inputs = draw(REGIMES[regime]).inputs
    found = identity_of(Form(), inputs)
    assert facts(found) == facts(Identity(inputs))


@pytest.mark.parametrize("name", QUIET)
@pytest.mark.parametrize("regime", LOUD)
def test_where_the_data_do_not_tell_an_eps_the_standard_one_is_meant(regime: str, name: str) -> None:
    found = identity_of(VARIANTS[name][0], draw(REGIMES[regime]).inputs)
    assert found is not None
    assert found.sentence == ""


@pytest.mark.parametrize("regime", LOUD)
def test_no_eps_is_claimed_of_an_unbiased_one_where_the_data_do_not_tell_it(regime: str) -> None:
    found = identity_of(VARIANTS["unbiased, eps 1e-3"][0], draw(REGIMES[regime]).inputs)
    assert found is not None
    assert found.sentence == UNBIASED


def test_in_eval_mode_there_is_no_variance_to_be_unbiased() -> None:
    found = identity_of(VARIANTS["unbiased"][0], draw(REGIMES["eval"]).inputs)
    assert found is not None
    assert found.sentence == ""


@pytest.mark.parametrize("n", [2, 3, 40])
def test_an_unbiased_variance_is_told_from_a_larger_eps(n: int) -> None:
    found = identity_of(Form(Variant(ddof=1)), draw(Case(shape=(n, 3))).inputs)
    assert found is not None
    assert found.sentence == UNBIASED


def by_the_variance(inputs: Inputs) -> FloatArray:
    stages = batchnorm.forward(inputs)
    return inputs.gamma * stages.centred / (stages.var + inputs.eps) + inputs.beta


def without_beta(inputs: Inputs) -> FloatArray:
    return batchnorm.forward(replace(inputs, beta=np.zeros_like(inputs.beta))).out


def without_gamma(inputs: Inputs) -> FloatArray:
    return batchnorm.forward(replace(inputs, gamma=np.ones_like(inputs.gamma))).out


def over_features(inputs: Inputs) -> FloatArray:
    x = inputs.x - inputs.x.mean(axis=1, keepdims=True)
    out: FloatArray = inputs.gamma * x / np.sqrt((x**2).mean(axis=1, keepdims=True) + inputs.eps) + inputs.beta
    return out


def negated(inputs: Inputs) -> FloatArray:
    return -batchnorm.forward(inputs).out


def nothing(inputs: Inputs) -> FloatArray:
    return np.full_like(inputs.x, np.nan)


STRANGERS = [by_the_variance, without_beta, without_gamma, over_features, negated, nothing]


@pytest.mark.parametrize("stranger", STRANGERS, ids=lambda function: function.__name__)
def test_what_is_no_batch_normalisation_is_none(stranger: object) -> None:
    assert callable(stranger)
    inputs = draw(Case(shape=(7, 3))).inputs
    assert identify(stranger(inputs), inputs, np.full(3, TOLERANCE)) is None


# --- by what it gives where that shows ---------------------------------------------------------------------------

TWINS = {
    "1e-3 outside": Form(Variant(eps_outside=True), 1e-3),
    "1e-6 inside": Form(eps=1e-6),
    "1 outside": Form(Variant(eps_outside=True), 1.0),
    "1 inside": Form(eps=1.0),
}


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("eps", [1e-12, 1e-6, 1e-3, 1.0])
@pytest.mark.parametrize("form", TWINS.values(), ids=TWINS)
def test_a_forward_is_known_for_what_it_is_whatever_the_data_and_the_eps(form: Form, eps: float, regime: str) -> None:
    inputs = replace(draw(REGIMES[regime]).inputs, eps=eps)
    found = asked(lambda inputs: batchnorm.forward(form.applied(inputs)).out, inputs)
    assert found is not None
    assert (found.inputs.variant, found.inputs.eps) == (form.variant, form.eps)


@pytest.mark.parametrize("form", TWINS.values(), ids=TWINS)
def test_of_two_forms_with_one_out_the_likely_one_is_meant(form: Form) -> None:
    inputs = draw(REGIMES["std 1e-150"]).inputs
    out, likely = batchnorm.forward(form.applied(inputs)).out, Identity(form.applied(inputs), "what was asked")
    found = identify(out, inputs, np.full(3, TOLERANCE), likely)
    assert facts(found) == facts(Identity(form.applied(inputs), "what was asked"))


def test_what_is_likely_but_not_so_is_not_meant() -> None:
    inputs = draw(Case(shape=(7, 3))).inputs
    likely = Identity(TWINS["1e-3 outside"].applied(inputs), "what was asked")
    found = identify(batchnorm.forward(inputs).out, inputs, np.full(3, TOLERANCE), likely)
    assert facts(found) == facts(Identity(inputs))


@pytest.mark.parametrize("stranger", STRANGERS, ids=lambda function: function.__name__)
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_a_stranger_is_none_where_it_shows_either(stranger: object, mode: str) -> None:
    assert callable(stranger)
    inputs = draw(Case(shape=(7, 3), mode=mode)).inputs
    unseen = stranger in (without_beta, without_gamma)  # there beta is 0 and gamma 1: the data at hand have to tell
    assert (asked(stranger, inputs) is None) is not unseen


@pytest.mark.parametrize(
    ("form", "note"),
    [
        (Form(eps=1e-3), ""),
        (Form(Variant(ddof=1), 1e-3), UNBIASED),
        (Form(eps=0.0), "no eps"),
    ],
    ids=["eps 1e-3", "unbiased, eps 1e-3", "no eps"],
)
@pytest.mark.parametrize("asks", ["any", "standard"])
def test_an_eps_of_its_own_is_nothing_unusual_where_none_was_asked_for(form: Form, note: str, asks: str) -> None:
    report = checking.check(Case(shape=(7, 3), forward=asks), Layer(form))
    assert report.note == note
    assert report.verdict is (Verdict.FAIL if note and asks == "standard" else Verdict.PASS)


# --- in a check --------------------------------------------------------------------------------------------------


@each_variant
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_a_variant_is_named_in_every_dtype(form: Form, sentence: str, dtype: str) -> None:
    report = check(Case(shape=(7, 3), dtype=dtype), Layer(form))
    assert (report.verdict, report.note) == (Verdict.PASS, sentence)


def in_regimes(names: Iterable[str]) -> Iterator[object]:
    """Each variant in each regime that it has a derivative in."""
    for name, regime in product(names, TRAIN):
        if not (regime == "a constant feature" and any(part in name for part in NOT_SMOOTH)):
            yield pytest.param(name, regime, id=f"{name}-{regime}")


@pytest.mark.parametrize(("name", "regime"), list(in_regimes(VARIANTS)))
def test_a_right_backward_of_a_variant_passes_at_every_row(name: str, regime: str) -> None:
    report = check(TRAIN[regime], Layer(VARIANTS[name][0]))
    assert {row.node: row.verdict for row in report.comparisons} == dict.fromkeys(
        ("out", "beta", "gamma", "mean", "var", "x"), Verdict.PASS
    )


@pytest.mark.parametrize("name", [name for name in VARIANTS if any(part in name for part in NOT_SMOOTH)])
def test_where_the_root_has_no_derivative_nothing_is_judged(name: str) -> None:
    form, sentence = VARIANTS[name]
    report = check(TRAIN["a constant feature"], Layer(form))
    assert (report.verdict, report.comparisons) == (Verdict.SKIPPED, ())
    assert report.reason == (
        f"a feature has no variance, and where sqrt(var) stands without eps it has no derivative there ({sentence})"
    )


@dataclass(frozen=True, slots=True)
class ByHand(Layer):
    """No eps, as NumPy gives it: the mean of equal numbers is not always that number, and x_hat is then 1 or -1.

    `mended` is what 0 / 0 is made into.
    """

    mended: float = np.nan

    def forward(self, inputs: Inputs) -> FloatArray:
        """By np.mean and np.std."""
        x_hat = (inputs.x - inputs.x.mean(axis=0)) / np.sqrt(inputs.x.var(axis=0))
        out: FloatArray = inputs.gamma * np.where(np.isnan(x_hat), self.mended, x_hat) + inputs.beta
        return out

    def answer(self, inputs: Inputs, dout: FloatArray) -> Answer:
        """Out by hand."""
        return replace(Layer(self.form).answer(inputs, dout), out=self.forward(inputs))

    examined = answer


NO_EPS = "no eps, and 1.3e-05 was asked for"
NO_ROOT = f"a feature has no variance, and where sqrt(var) stands without eps it has no derivative there ({NO_EPS})"
CONSTANT = Case(shape=(7, 3), x=XDraw(like="constant"))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("features", [1, 3])
@pytest.mark.parametrize("mended", [np.nan, np.inf, 5.0])
def test_no_eps_is_known_whatever_becomes_of_a_constant_feature(seed: int, features: int, mended: float) -> None:
    report = check(replace(CONSTANT, seed=seed, shape=(7, features)), ByHand(Form(eps=0.0), mended=mended))
    assert (report.verdict, report.reason) == (Verdict.SKIPPED, NO_ROOT)


def test_of_equal_numbers_both_nothing_and_something_is_made() -> None:
    drawn = [draw(replace(CONSTANT, seed=seed, gamma="ones", beta="zeros")).inputs for seed in range(8)]
    with np.errstate(invalid="ignore"):
        made = [abs(float(ByHand(Form()).forward(inputs)[0, 0])) for inputs in drawn]
    assert {str(value) for value in made} == {"1.0", "nan"}


def test_a_forward_that_gives_a_constant_feature_its_limit_divides_by_something() -> None:
    inputs = draw(CONSTANT).inputs
    inputs = replace(inputs, x=inputs.x - inputs.x[0])  # the mean of noughts is nought
    with np.errstate(all="ignore"):
        found = identify(ByHand(Form(), mended=0.0).forward(inputs), inputs, np.full(3, TOLERANCE))
    assert found is None


def test_a_stranger_on_constant_features_alone_is_not_taken_for_one_without_eps() -> None:
    @dataclass(frozen=True, slots=True)
    class Stranger(ByHand):
        def forward(self, inputs: Inputs) -> FloatArray:
            return nothing(inputs)

    report = check(replace(CONSTANT, shape=(7, 1)), Stranger(Form()))
    assert [row.note for row in report.comparisons if row.node == "out"] == [UNKNOWN]


@pytest.mark.parametrize("name", [name for name in VARIANTS if any(part in name for part in NOT_SMOOTH)])
def test_without_a_root_a_variant_still_fails_where_the_standard_one_is_asked_for(name: str) -> None:
    form, sentence = VARIANTS[name]
    report = check(replace(CONSTANT, forward="standard"), Layer(form))
    out, *others = report.comparisons
    assert (report.verdict, out.verdict, {row.verdict for row in others}) == (
        Verdict.FAIL,
        Verdict.FAIL,
        {Verdict.SKIPPED},
    )
    assert out.note == f"{sentence}, and this config asks for `forward: standard`"
    assert {row.note for row in others} == {NO_ROOT.replace(NO_EPS, sentence)}


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("regime", TRAIN)
def test_a_config_that_asks_for_the_standard_one_fails_a_variant_whatever_the_data(regime: str, name: str) -> None:
    report = check(replace(TRAIN[regime], forward="standard"), Layer(VARIANTS[name][0]))
    assert report.verdict is Verdict.FAIL


@dataclass(frozen=True, slots=True)
class Telling(Layer):
    """One that shows its dmean and dvar."""

    def answer(self, inputs: Inputs, dout: FloatArray) -> Answer:
        """All five."""
        own = self.form.applied(inputs)
        stages = batchnorm.forward(own)
        found, _ = batchnorm.backward(own, stages, dout)
        return Answer(stages.out, found.x, found.gamma, found.beta, found.mean, found.var)

    examined = answer


@pytest.mark.parametrize("eps", [1e-12, 1e-6, 1e-3, 1.0])
@pytest.mark.parametrize("form", TWINS.values(), ids=TWINS)
def test_beside_a_large_eps_each_form_is_judged_by_its_own_derivative(form: Form, eps: float) -> None:
    report = check(replace(TRAIN["std 1e-150"], eps=eps), Telling(form))
    # Differences cannot tell dvar of sqrt(var) + eps where that is eps in every digit.
    of_var = Verdict.UNRESOLVED if form.variant.eps_outside else Verdict.PASS
    verdicts = dict.fromkeys(("out", "beta", "gamma", "mean", "var", "x"), Verdict.PASS) | {"var": of_var}
    assert {row.node: row.verdict for row in report.comparisons} == verdicts


def test_an_eps_that_reads_as_the_one_asked_for_is_not_told() -> None:
    inputs = draw(REGIMES["variance 1e-8"]).inputs
    found = identity_of(Form(eps=inputs.eps * (1 + 1e-5)), inputs)
    assert found is not None
    assert found.sentence == ""
    assert found.inputs.eps == pytest.approx(inputs.eps * (1 + 1e-5), rel=1e-9)


def test_between_what_is_clear_and_the_tolerance_the_nearest_form_is_meant() -> None:
    inputs = draw(REGIMES["variance 1e-8"]).inputs
    out = batchnorm.forward(replace(inputs, eps=inputs.eps * (1 + 1e-5))).out
    standard = batchnorm.forward(inputs).out
    off = np.max(np.abs(out - standard), axis=0)
    found = identify(
        out, inputs, 2 * off
    )  # half the tolerance away from the standard form, and not at all from its own
    assert found is not None
    assert found.inputs.eps == pytest.approx(inputs.eps * (1 + 1e-5), rel=1e-9)
    found = identify(standard + 0.5 * off, inputs, off)
    assert found is not None
    assert found.inputs.variant == STANDARD
    assert identify(standard + 3 * off, inputs, off) is None


@pytest.mark.parametrize("eps", [2.0**-23, 2.0**-52, 1e-5 + 1e-10])
@pytest.mark.parametrize("regime", [regime for regime in TRAIN if regime != "mean 1e8"])
def test_an_eps_need_not_be_a_round_number(regime: str, eps: float) -> None:
    assert check(TRAIN[regime], Layer(Form(eps=eps))).verdict is Verdict.PASS


def test_a_forward_that_is_another_one_where_it_was_asked_is_known_by_its_data() -> None:
    @dataclass(frozen=True, slots=True)
    class Clipped(Layer):
        def forward(self, inputs: Inputs) -> FloatArray:
            loud = np.where(inputs.x.std(axis=0) > 1e-3, 1.0, 2.0)
            out: FloatArray = loud * Layer(self.form).forward(inputs)
            return out

    report = check(Case(shape=(7, 3)), Clipped(Form(Variant(ddof=1))))
    assert (report.verdict, report.note) == (Verdict.PASS, UNBIASED)


@each_variant
def test_a_config_that_asks_for_the_standard_one_fails_a_variant_at_out_alone(form: Form, sentence: str) -> None:
    report = check(Case(shape=(7, 3), forward="standard"), Layer(form))
    failed = [(row.node, row.note) for row in report.comparisons if row.verdict is not Verdict.PASS]
    assert failed == [("out", f"{sentence}, and this config asks for `forward: standard`")]
    assert report.verdict is Verdict.FAIL


def test_a_config_that_asks_for_the_standard_one_gets_it() -> None:
    report = check(Case(shape=(7, 3), forward="standard"), Layer(Form()))
    assert (report.verdict, report.note) == (Verdict.PASS, "")


@dataclass(frozen=True, slots=True)
class OfAnother(Layer):
    """A forward of one form, and the backward of the standard one."""

    def answer(self, inputs: Inputs, dout: FloatArray) -> Answer:
        """Out by its form, gradients by none."""
        return replace(Layer(Form()).answer(inputs, dout), out=self.forward(inputs))

    examined = answer


@each_variant
def test_the_backward_of_the_standard_one_is_wrong_for_a_variant(form: Form, sentence: str) -> None:
    report = check(Case(shape=(7, 3)), OfAnother(form))
    assert report.note == sentence
    failed = [row.node for row in report.comparisons if row.verdict is Verdict.FAIL]
    assert "x" in failed
    assert not {"out", "beta"} & set(failed)


# --- the dtype that a forward carries --------------------------------------------------------------------------

SOME_ROWS = (2, 3, 32, 1000)


@pytest.mark.parametrize("n", SOME_ROWS)
@pytest.mark.parametrize("eps", [1e-12, 1e-5, 1e-3])
@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("dtype", NARROW)
def test_a_narrow_forward_is_known_for_its_dtype(n: int, eps: float, mode: str, dtype: str) -> None:
    odd = odd_inputs(draw(Case(shape=(n, 1), mode=mode, eps=eps)).inputs)
    for how in ("returns", "casts"):
        assert carried(AsAsked(NarrowOnly(TWO_PASS, dtype, how), eps).forward, odd) == dtype


@pytest.mark.parametrize("n", SOME_ROWS)
@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("form", [Form(), Form(eps=0), Form(Variant(ddof=1)), Form(Variant(eps_outside=True))], ids=str)
def test_a_forward_in_float64_carries_that(n: int, mode: str, form: Form) -> None:
    odd = odd_inputs(draw(Case(shape=(n, 1), mode=mode)).inputs)
    assert carried(Layer(form).forward, odd) == "float64"


def test_x_alone_cast_to_float32_is_seen() -> None:
    odd = odd_inputs(draw(Case(shape=(32, 8))).inputs)

    def forward(inputs: Inputs) -> FloatArray:
        x = inputs.x.astype(np.float32)
        out: FloatArray = inputs.gamma * ((x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5)) + inputs.beta
        return out

    assert carried(forward, odd) == "float32"


@pytest.mark.parametrize(
    "narrow", [lambda inputs: inputs.beta.astype(np.float32), lambda inputs: inputs.beta + 1e-8], ids=["beta", "1e-8"]
)
def test_a_float32_number_in_float64_code_makes_it_no_narrow_code(narrow: Callable[[Inputs], FloatArray]) -> None:
    odd = odd_inputs(draw(Case(shape=(32, 8))).inputs)
    assert carried(lambda inputs: batchnorm.out_of(replace(inputs, beta=narrow(inputs))), odd) == "float64"
