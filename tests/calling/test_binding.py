"""A convention tied to somebody's code: what is handed over, what comes back, and what is wrong with its form."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bncheck.calling.answer import Answer
from bncheck.calling.binding import BindingError, Optimizer
from bncheck.calling.binding import Layer as Layer_
from bncheck.calling.implementation import Declined, Foreign, Second, bind
from bncheck.calling.layout import layout_of, parameter_shape
from bncheck.calling.pattern import PatternError
from bncheck.calling.plan import parsed
from bncheck.calling.vocabulary import FOUND_NAMES, GIVEN_NAMES, SETTABLE, PatternName
from bncheck.case import LAYOUTS, PARAMETERS, Case, Convention
from bncheck.gradients import batchnorm
from bncheck.gradients.batchnorm import FloatArray, Inputs
from bncheck.gradients.problem import Problem, draw

Array = Any


class Layer:
    """A layer as people write them, in rows, with every habit that a contract is about left to a subclass."""

    made = itertools.count()  # which is not put back, as a number would be

    def __init__(self, d: int, eps: float = 1e-5) -> None:
        next(Layer.made)
        self.gamma, self.beta, self.eps = np.ones(d), np.zeros(d), eps
        self.dgamma: Array = None
        self.dbeta: Array = None

    def forward(self, x: Array, training: bool = True) -> Array:
        self.training = training
        self.std = np.sqrt(x.var(axis=0) + self.eps)
        self.x_hat = (x - x.mean(axis=0)) / self.std
        return self.gamma * self.x_hat + self.beta

    def backward(self, dout: Array) -> Array:
        self.dgamma, self.dbeta = (dout * self.x_hat).sum(axis=0), dout.sum(axis=0)
        g = dout * self.gamma
        return (g - g.mean(axis=0) - self.x_hat * (g * self.x_hat).mean(axis=0)) / self.std


CONVENTION = Convention(
    create="Layer(d, eps=eps)",
    set=(("gamma", "self.gamma"), ("beta", "self.beta")),
    forward="self.forward(x, training=True) -> out",
    backward="self.backward(dout) -> dx",
    gradients=(("gamma", "self.dgamma"), ("beta", "self.dbeta")),
)
UPDATED = replace(CONVENTION, gradients=(("gamma", "update(self.gamma)"), ("beta", "update(self.beta)")))
DENSE = Case(shape=(5, 3))


def bound_to(layer: type, convention: Convention = CONVENTION, case: Case = DENSE) -> Foreign:
    """The class, bound under the name that the convention has for it."""
    return bind({"Layer": layer, "np": np}, "Layer", convention, case)


def answered(layer: type, convention: Convention = CONVENTION, case: Case = DENSE) -> Answer:
    """The answer of the class to the problem of the case."""
    problem = draw(case)
    return bound_to(layer, convention, case).answer(problem.inputs, problem.dout)


def right(problem: Problem) -> batchnorm.Gradients:
    """The right gradients."""
    return batchnorm.closed_form(problem.inputs, batchnorm.forward(problem.inputs), problem.dout)


def assert_right(answer: Answer, problem: Problem) -> None:
    """The answer is right at x, gamma and beta, and no breach was found."""
    gradients = right(problem)
    for row in ("x", "gamma", "beta"):
        np.testing.assert_allclose(found(answer, row), gradients.of(row), rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(found(answer, "out"), batchnorm.forward(problem.inputs).out, rtol=1e-9, atol=1e-10)
    assert answer.breaches == ()


def found(answer: Answer, row: str) -> FloatArray:
    """The array of a row that must be there."""
    array = answer.of(row)
    assert array is not None
    return array


# --- what is handed over -----------------------------------------------------------------------------------------


def test_a_layer_gives_its_answer_in_rows() -> None:
    assert_right(answered(Layer), draw(DENSE))


def test_every_call_is_of_a_fresh_object() -> None:
    bound, problem = bound_to(Layer), draw(DENSE)
    before = next(Layer.made)
    for _ in range(3):
        bound.forward(problem.inputs)
    bound.answer(problem.inputs, problem.dout)
    assert next(Layer.made) == before + 1 + 4


@pytest.mark.parametrize("features", [1, 3, 7, 30])
def test_forward_takes_any_number_of_features(features: int) -> None:
    problem = draw(replace(DENSE, shape=(5, features)))
    out = bound_to(Layer).forward(problem.inputs)
    np.testing.assert_allclose(out, batchnorm.forward(problem.inputs).out, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64", "longdouble"])
def test_arrays_are_handed_over_in_their_dtype(dtype: str) -> None:
    inputs = draw(DENSE).inputs.map(lambda array: array.astype(dtype))
    assert bound_to(Layer).forward(inputs).dtype == np.dtype(dtype)


def test_copies_are_handed_over() -> None:
    class Spoiler(Layer):
        def forward(self, x: Array, training: bool = True) -> Array:
            out = super().forward(x)
            x[:], self.gamma[:], self.beta[:] = 0, 0, 0
            return out

        def backward(self, dout: Array) -> Array:
            dx = super().backward(dout.copy())
            dout[:] = 0
            return dx

    problem = draw(DENSE)
    bound_to(Spoiler).answer(problem.inputs, problem.dout)
    again = draw(DENSE)
    for one, other in ((problem.inputs.x, again.inputs.x), (problem.inputs.gamma, again.inputs.gamma)):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(problem.dout, again.dout)


def test_every_given_name_has_its_value() -> None:
    seen: dict[str, Any] = {}

    def forward(**names: Any) -> Array:
        seen.update(names)
        return names["x"]

    names = ("x", "gamma", "beta", "eps", "n", "d", "shape", "momentum", "learning_rate", "running_mean", "training")
    call = ", ".join(f"{name}={name}" for name in names)
    convention = Convention(forward=f"forward({call}) -> out", backward="forward(x=dout) -> dx")
    case = Case(shape=(2, 3, 4), eps=1e-3)
    problem = draw(case)
    bind({"forward": forward}, "forward", convention, case).forward(problem.inputs)
    assert {name: seen[name] for name in ("eps", "n", "d", "shape", "momentum", "learning_rate", "training")} == {
        "eps": 1e-3,
        "n": 8,
        "d": 3,
        "shape": (2, 3, 4),
        "momentum": 0.9,
        "learning_rate": 1.0,
        "training": True,
    }
    np.testing.assert_array_equal(seen["running_mean"], np.zeros(3))
    np.testing.assert_array_equal(seen["x"], problem.laid_out(problem.inputs.x))


def test_a_layer_is_built_before_its_parameters_are_put_in() -> None:
    class Late(Layer):
        def __init__(self, d: int, eps: float = 1e-5) -> None:
            self.eps = eps

        def forward(self, x: Array, training: bool = True) -> Array:
            if not hasattr(self, "built"):
                self.built, self.gamma, self.beta = True, np.ones(x.shape[1]), np.zeros(x.shape[1])
            return super().forward(x)

    assert_right(answered(Late, replace(CONVENTION, build="self.forward(x)")), draw(DENSE))


def test_parameters_go_where_the_convention_says() -> None:
    class InDicts(Layer):
        def __init__(self, d: int, eps: float = 1e-5) -> None:
            super().__init__(d, eps)
            self.params: dict[str, Any] = {}

        def forward(self, x: Array, training: bool = True) -> Array:
            self.gamma, self.beta = self.params["gamma"], self.params["beta"]
            return super().forward(x)

    places = (("gamma", "self.params['gamma']"), ("beta", "self.params['beta']"))
    assert_right(answered(InDicts, replace(CONVENTION, set=places)), draw(DENSE))


def test_parameters_go_into_a_tuple() -> None:
    class InTuple(Layer):
        params: tuple[Array, ...] = (0, 0)

        def forward(self, x: Array, training: bool = True) -> Array:
            self.gamma, self.beta = self.params
            return super().forward(x)

    places = (("gamma", "self.params[0]"), ("beta", "self.params[1]"))
    assert_right(answered(InTuple, replace(CONVENTION, set=places)), draw(DENSE))


def test_parameters_are_handed_to_a_call() -> None:
    class BySetter(Layer):
        def put(self, name: str, value: Array) -> None:
            setattr(self, name, value)

    places = (("gamma", "self.put('gamma', gamma)"), ("beta", "self.put('beta', value=beta)"))
    assert_right(answered(BySetter, replace(CONVENTION, set=places)), draw(DENSE))


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ("self.params[2]", "IndexError: list assignment index out of range"),
        ("self.inner.gamma", "AttributeError: 'Holder' object has no attribute 'inner'"),
        ("self.table['a']['b']", "KeyError: 'a'"),
    ],
)
def test_a_place_that_is_not_there_is_told_as_the_mistake_of_the_mapping(place: str, error: str) -> None:
    class Holder(Layer):
        def __init__(self, d: int, eps: float = 1e-5) -> None:
            super().__init__(d, eps)
            self.params, self.table = [0, 0], {}  # type: ignore[var-annotated]

    convention = replace(CONVENTION, set=(("gamma", place), ("beta", "self.beta")))
    with pytest.raises(BindingError) as refusal:
        answered(Holder, convention)
    assert str(refusal.value) == f"gamma cannot be put where set: says, which raises {error}"


def test_x_is_put_in_a_place() -> None:
    class Holds(Layer):
        x: Array = None

        def forward(self, x: Array = None, training: bool = True) -> Array:
            return super().forward(self.x)

    convention = replace(CONVENTION, set=(*CONVENTION.set, ("x", "self.x")), forward="self.forward() -> out")
    assert_right(answered(Holds, convention), draw(DENSE))


def test_out_is_taken_from_where_forward_leaves_it() -> None:
    class Leaves(Layer):
        output: Array = None

        def forward(self, x: Array, training: bool = True) -> Array:
            self.output = super().forward(x)

    convention = replace(CONVENTION, forward="(self.forward(x), self.output) -> _, out")
    assert_right(answered(Leaves, convention), draw(DENSE))


def test_out_is_taken_from_the_buffer_that_forward_writes_into() -> None:
    class IntoBuffer(Layer):
        def fill(self, x: Array, into: Array) -> None:
            assert not into.any()
            into[...] = self.forward(x)

    convention = replace(CONVENTION, forward="(self.fill(x, buffer), buffer) -> _, out")
    problem = draw(Case(shape=(5, 3), dtype="float32"))
    answer = bound_to(IntoBuffer, convention, problem.case).answer(problem.inputs, problem.dout)
    assert found(answer, "out").dtype == np.float32
    assert_right(answered(IntoBuffer, convention), draw(DENSE))


# --- an optimizer that is handed over ----------------------------------------------------------------------------

# How layers use the optimizer that they are given, after dgamma and dbeta are there.
USES_OF_AN_OPTIMIZER = {
    "update returns": "layer.gamma, layer.beta = opt.update(layer.gamma, dgamma), opt.update(layer.beta, dbeta)",
    "step by keyword": "layer.gamma = opt.step(w=layer.gamma, grad=dgamma)\n"
    "layer.beta = opt.step(layer.beta, grad=dbeta)",
    "called": "layer.gamma, layer.beta = opt(layer.gamma, dgamma), opt(layer.beta, dbeta)",
    "a copy for each": "one, other = copy.copy(opt), copy.deepcopy(opt)\n"
    "layer.gamma, layer.beta = one.apply(layer.gamma, dgamma), other.apply(layer.beta, dbeta)",
    "what is to be taken off": "layer.gamma = layer.gamma - opt.get_update(dgamma)\n"
    "layer.beta -= opt.get_update(dbeta)",
    "by name": "layer.gamma = opt.update('gamma', layer.gamma, dgamma, lr=0.1)\n"
    "layer.beta = opt.update('beta', layer.beta, dbeta, lr=0.1)",
    "two in a list": "layer.gamma, layer.beta = opt.update([layer.gamma, layer.beta], [dgamma, dbeta])",
    "two in a dict": "new = opt.update({'g': layer.gamma, 'b': layer.beta}, {'g': dgamma, 'b': dbeta})\n"
    "layer.gamma, layer.beta = new['g'], new['b']",
    "made by what is given": "own = opt()\n"
    "layer.gamma, layer.beta = own.step(layer.gamma, dgamma), own.step(layer.beta, dbeta)",
    "in place, as it says itself": "opt.update(layer.gamma, dgamma); opt.update(layer.beta, dbeta)",
    "the rate that it has": "layer.gamma = layer.gamma - opt.lr * dgamma\n"
    "layer.beta = layer.beta - opt.learning_rate * dbeta",
}


@pytest.mark.parametrize("use", USES_OF_AN_OPTIMIZER)
@pytest.mark.parametrize("handed", ["create", "set", "backward"])
def test_an_update_by_the_optimizer_that_is_handed_over_is_the_gradient(use: str, handed: str) -> None:
    class Uses(Layer):
        def __init__(self, d: int, eps: float, opt: Any = None) -> None:
            super().__init__(d, eps)
            self.opt = opt

        def backward(self, dout: Array, opt: Any = None) -> Array:
            dx = super().backward(dout)
            names = {"layer": self, "opt": opt or self.opt, "dgamma": self.dgamma, "dbeta": self.dbeta, "copy": copy}
            exec(USES_OF_AN_OPTIMIZER[use], names)
            return dx

    convention = {
        "create": replace(UPDATED, create="Layer(d, eps, optimizer)"),
        "set": replace(UPDATED, create="Layer(d, eps)", set=(*UPDATED.set, ("optimizer", "self.opt"))),
        "backward": replace(UPDATED, create="Layer(d, eps)", backward="self.backward(dout, optimizer) -> dx"),
    }[handed]
    assert_right(answered(Uses, convention), draw(DENSE))


def test_an_optimizer_looks_like_no_more_than_it_is() -> None:
    optimizer = Optimizer()
    assert not hasattr(optimizer, "__array__")
    assert optimizer.zero_grad() is optimizer
    gamma, dgamma = np.ones(3), np.arange(3.0)
    optimizer.update(gamma, dgamma)
    np.testing.assert_array_equal(gamma, np.ones(3))
    assert optimizer.recorded(gamma) is dgamma
    assert copy.deepcopy(optimizer).recorded(gamma) is dgamma
    assert optimizer.recorded(np.ones(3)) is None
    np.testing.assert_array_equal(optimizer.recorded(gamma), dgamma)


def test_several_places_of_gamma_hold_one_array() -> None:
    class Twice(Layer):
        def forward(self, x: Array, training: bool = True) -> Array:
            assert self.gamma is self.other
            return super().forward(x)

        other: Array = None

    places = (("gamma", "self.gamma"), ("gamma", "self.other"), ("beta", "self.beta"))
    assert_right(answered(Twice, replace(CONVENTION, set=places)), draw(DENSE))


def test_what_is_not_handed_over_is_not_taken() -> None:
    bound = bound_to(Layer, replace(CONVENTION, create="Layer(d)", set=()))
    assert [name in bound.plan.taken for name in ("gamma", "beta", "eps", "x", "d")] == [
        False,
        False,
        False,
        True,
        True,
    ]


# --- layouts -----------------------------------------------------------------------------------------------------


class AnyAxis(Layer):
    """Normalises over all axes but the one that it is told."""

    def __init__(self, axis: int, eps: float = 1e-5) -> None:
        super().__init__(1, eps)
        self.axis = axis

    def forward(self, x: Array, training: bool = True) -> Array:
        self.over = tuple(axis for axis in range(x.ndim) if axis != self.axis % x.ndim)
        self.std = np.sqrt(x.var(axis=self.over, keepdims=True) + self.eps)
        self.x_hat = (x - x.mean(axis=self.over, keepdims=True)) / self.std
        return self.gamma * self.x_hat + self.beta

    def backward(self, dout: Array) -> Array:
        self.dgamma = (dout * self.x_hat).sum(axis=self.over, keepdims=True).reshape(self.gamma.shape)
        self.dbeta = dout.sum(axis=self.over, keepdims=True).reshape(self.beta.shape)
        g = dout * self.gamma
        mean = g.mean(axis=self.over, keepdims=True)
        return (g - mean - self.x_hat * (g * self.x_hat).mean(axis=self.over, keepdims=True)) / self.std


@pytest.mark.parametrize("channel_axis", [1, -1, 0], ids=["second", "last", "first"])
@pytest.mark.parametrize(
    ("layout", "axis", "parameters", "shape"),
    [
        ("(n, d)", 1, "(d,)", (5, 3)),
        ("(n, d)", 1, "(1, d)", (5, 3)),
        ("(d, n)", 0, "(d, 1)", (5, 3)),
        ("channels first", 1, "(1, d, 1, 1)", (2, 3, 4, 5)),
        ("channels first", 1, "(1, d, 1, 1)", (4, 3, 2)),
        ("channels first", 1, "(d, 1, 1)", (2, 3, 4, 5)),
        ("channels last", -1, "(d,)", (2, 3, 4, 5)),
        ("channels last", -1, "(1, 1, 1, d)", (2, 3, 4, 5)),
        ("channels last", -1, "(1, d)", (2, 3, 4, 5, 2)),
    ],
)
def test_an_answer_is_in_rows_whatever_the_layout(
    layout: str, axis: int, parameters: str, shape: tuple[int, ...], channel_axis: int
) -> None:
    case = Case(shape=shape, channel_axis=channel_axis)
    convention = replace(CONVENTION, create=f"Layer({axis}, eps=eps)", layout=layout, parameters=parameters)
    assert_right(answered(AnyAxis, convention, case), draw(case))


def test_the_shape_of_the_case_is_handed_over_as_given() -> None:
    case = Case(shape=(2, 3, 4, 5), channel_axis=2)
    convention = replace(CONVENTION, create="Layer(2, eps=eps)", parameters="(d, 1, 1)")
    with pytest.raises(ValueError, match="broadcast"):
        answered(AnyAxis, replace(convention, create="Layer(1, eps=eps)", parameters="(d,)"), case)
    assert layout_of(case, "as given").shape(7) == (2, 3, 7, 5)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_laying_out_and_back_gives_the_same_rows(layout: str) -> None:
    case = Case(shape=(2, 3, 4, 5))
    rows = np.arange(40 * 3.0).reshape(40, 3)
    found = layout_of(case, layout)
    np.testing.assert_array_equal(found.rows(found.laid_out(rows)), rows)
    assert found.laid_out(rows).shape == found.shape(3)


@pytest.mark.parametrize("parameters", PARAMETERS)
def test_a_shape_of_gamma_has_a_number_for_each_feature_or_one(parameters: str) -> None:
    assert np.prod(parameter_shape(parameters, 3, 4)) == (1 if parameters in ("()", "(1,)") else 3)


def test_one_number_for_gamma_means_one_feature_at_a_time() -> None:
    class Scalar(Layer):
        def backward(self, dout: Array) -> Array:
            dx = super().backward(dout)
            self.dgamma, self.dbeta = self.dgamma.sum(), self.dbeta.sum()
            return dx

    convention = replace(CONVENTION, parameters="()")
    assert_right(answered(Scalar, convention), draw(DENSE))
    assert ("gamma", f"dgamma is an array of one, and gamma a number{RIGHT_ALL_THE_SAME}") in answered(
        Layer, convention
    ).notes


# --- what is not taken -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "case", "says"),
    [
        (
            {"layout": "(n, d)"},
            Case(shape=(8, 3, 6, 6)),
            "Layer takes (N, D); shape 8x3x6x6 has 4 axes",
        ),
        (
            {"layout": "(d, n)"},
            Case(shape=(8, 3, 6)),
            "Layer takes (D, N); shape 8x3x6 has 3 axes",
        ),
        (
            {"layout": "channels first", "axes": (4,)},
            Case(shape=(32, 64)),
            "Layer takes (N, C, H, W); shape 32x64 has 2 axes",
        ),
        (
            {"layout": "channels last", "axes": (3, 4)},
            Case(shape=(32, 64)),
            "Layer takes (N, L, C) or (N, H, W, C); shape 32x64 has 2 axes",
        ),
        (
            {},
            Case(shape=(5, 3), mode="eval"),
            "Layer is called in train mode; for mode: eval, name training, running_mean and running_var in a mapping",
        ),
    ],
)
def test_a_case_that_a_layer_does_not_take_is_declined_with_the_reason(
    changes: dict[str, Any], case: Case, says: str
) -> None:
    with pytest.raises(Declined) as refusal:
        bound_to(Layer, replace(CONVENTION, **changes), case)
    assert str(refusal.value) == says


def test_eval_is_taken_by_a_layer_that_is_told_the_statistics() -> None:
    def forward(x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float, training: bool) -> Array:
        assert not training
        return gamma * (x - mean) / np.sqrt(var + eps) + beta

    call = "forward(x, gamma, beta, running_mean, running_var, eps, training) -> out"
    case = Case(shape=(5, 3), mode="eval")
    problem = draw(case)
    convention = Convention(forward=call, backward="backward(dout) -> dx")
    out = bind({"forward": forward, "backward": None}, "forward", convention, case).forward(problem.inputs)
    np.testing.assert_allclose(out, batchnorm.forward(problem.inputs).out, rtol=1e-12)
    fixed = replace(convention, forward=call.replace("training)", "True)"))
    with pytest.raises(Declined):
        bind({"forward": forward, "backward": None}, "forward", fixed, case)


# --- names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "says", "under"),
    [
        ({"create": "Layr(d)"}, "create names 'Layr', which nothing gives a value; did you mean 'Layer'?", "Layr"),
        (
            {"forward": "self.forward(x, trainin=gama) -> out"},
            "forward names 'gama', which nothing gives a value; did you mean 'gamma'?",
            "gama",
        ),
        (
            {"backward": "self.backward(dout, cache) -> dx"},
            "backward names 'cache', which nothing gives a value; forward gives out and no more",
            "cache",
        ),
        (
            {"gradients": (("gamma", "grads['gamma']"),)},
            "gradients names 'grads', which nothing gives a value",
            "grads",
        ),
        (
            {"create": "", "set": (), "gradients": ()},
            "forward names 'self', which nothing gives a value; say how it is made in create:",
            "self",
        ),
    ],
)
def test_a_name_that_nothing_gives_a_value_is_refused_with_the_nearest(
    changes: dict[str, Any], says: str, under: str
) -> None:
    with pytest.raises(PatternError) as refusal:
        bound_to(Layer, replace(CONVENTION, **changes))
    error = refusal.value
    assert str(error) == says
    assert error.text[error.offset : error.offset + error.width] == under


def test_a_name_that_forward_gives_is_known_to_backward_and_to_gradients() -> None:
    convention = Convention(
        forward="f(x, gamma) -> out, saved",
        backward="b(dout, saved) -> dx, grads",
        gradients=(("gamma", "grads['gamma']"),),
    )
    namespace = {"f": lambda x, gamma: (x, 2), "b": lambda dout, saved: (saved * dout, {"gamma": dout.sum(axis=0)})}
    problem = draw(DENSE)
    answer = bind(namespace, "f", convention, DENSE).answer(problem.inputs, problem.dout)
    np.testing.assert_array_equal(found(answer, "x"), 2 * problem.dout)
    np.testing.assert_array_equal(found(answer, "gamma"), problem.dout.sum(axis=0))


# --- breaches ----------------------------------------------------------------------------------------------------


def changed(attribute: str, change: Callable[[Array], Array]) -> type:
    """The layer with a change to dx, or to what it leaves in dgamma or dbeta."""

    class Changed(Layer):
        def backward(self, dout: Array) -> Array:
            dx = super().backward(dout)
            if attribute == "dx":
                return change(dx)
            setattr(self, attribute, change(getattr(self, attribute)))
            return dx

    return Changed


@pytest.mark.parametrize(
    ("attribute", "change", "breach", "kept"),
    [
        (
            "dgamma",
            lambda g: g[None],
            ("gamma", "dgamma has shape (1, 3), expected (3,); drop keepdims in its sum"),
            True,
        ),
        ("dgamma", lambda g: None, ("gamma", "dgamma is None"), False),
        ("dgamma", lambda g: g.sum(), ("gamma", "dgamma has shape (), expected (3,)"), False),
        ("dgamma", lambda g: "none", ("gamma", "dgamma is a str, expected an array of numbers"), False),
        ("dgamma", lambda g: g.astype(int), ("gamma", "dgamma has dtype int64, expected float64"), True),
        (
            "dbeta",
            lambda g: np.ones((5, 3)) * g,
            ("beta", "dbeta has shape (5, 3), expected (3,); sum it over the rows"),
            False,
        ),
        ("dbeta", lambda g: g.astype("float32"), ("beta", "dbeta has dtype float32, expected float64"), True),
        (
            "dx",
            lambda dx: dx[None],
            ("x", "dx has shape (1, 5, 3), expected (5, 3); drop the axis that is too many"),
            True,
        ),
        ("dx", lambda dx: dx.T, ("x", "dx has shape (3, 5), expected (5, 3)"), False),
        ("dx", lambda dx: None, ("x", "dx is None"), False),
        ("dx", lambda dx: (dx, dx[0]), ("x", "dx is a tuple of 2, expected an array of numbers"), False),
        ("dx", lambda dx: dx.astype("float32"), ("x", "dx has dtype float32, expected float64"), True),
    ],
)
def test_a_breach_is_told_and_the_value_kept_where_it_is_clear(
    attribute: str, change: Callable[[Array], Array], breach: tuple[str, str], kept: bool
) -> None:
    answer = answered(changed(attribute, change))
    assert answer.breaches == (breach,)
    assert (answer.of(breach[0]) is not None) == kept


@pytest.mark.parametrize(
    ("attribute", "change"),
    [
        ("dgamma", lambda g: g.astype("longdouble")),
        ("dgamma", list),
        ("dx", lambda dx: dx.tolist()),
        ("dx", np.asfortranarray),
    ],
    ids=["wider", "a list", "a list of lists", "in another order"],
)
def test_what_loses_nothing_is_no_breach(attribute: str, change: Callable[[Array], Array]) -> None:
    assert_right(answered(changed(attribute, change)), draw(DENSE))


RIGHT_ALL_THE_SAME = "; an update gamma -= rate * dgamma is right all the same"


@pytest.mark.parametrize(
    ("parameters", "change", "note"),
    [
        ("(1, d)", lambda g: g, "dgamma lacks an axis of length 1 that gamma has"),
        ("(1, 1, 1, d)", lambda g: g.ravel(), "dgamma lacks 3 axes of length 1 that gamma has"),
        ("(1, d, 1, 1)", lambda g: g.reshape(3, 1, 1), "dgamma lacks an axis of length 1 that gamma has"),
        ("()", lambda g: g, "dgamma is an array of one, and gamma a number"),
        ("(1,)", lambda g: g.sum(), "dgamma lacks an axis of length 1 that gamma has"),
    ],
)
def test_a_gradient_that_updates_its_parameter_rightly_in_another_shape_is_noted(
    parameters: str, change: Callable[[Array], Array], note: str
) -> None:
    case = Case(shape=(2, 3, 4, 5)) if parameters.count("1") > 1 else DENSE
    layer = changed_on_any_axis(change) if len(case.shape) == 4 else changed("dgamma", change)
    create = "Layer(1, eps=eps)" if len(case.shape) == 4 else "Layer(d, eps=eps)"
    if len(case.shape) == 4 and parameters == "(1, 1, 1, d)":
        create = "Layer(-1, eps=eps)"
    layout = "channels last" if parameters == "(1, 1, 1, d)" else "as given"
    answer = answered(layer, replace(CONVENTION, create=create, parameters=parameters, layout=layout), case)
    assert ("gamma", f"{note}{RIGHT_ALL_THE_SAME}") in answer.notes
    assert answer.breaches == ()
    np.testing.assert_allclose(found(answer, "gamma"), right(draw(case)).gamma, rtol=1e-9)


def changed_on_any_axis(change: Callable[[Array], Array]) -> type:
    """The layer of any axis with a change to what it leaves in dgamma."""

    class Changed(AnyAxis):
        def backward(self, dout: Array) -> Array:
            dx = super().backward(dout)
            self.dgamma = change(self.dgamma)
            return dx

    return Changed


@pytest.mark.parametrize(
    ("parameters", "change", "breach"),
    [
        ("(d,)", lambda g: g[None], "dgamma has shape (1, 3), expected (3,); drop keepdims in its sum"),
        ("(d,)", lambda g: g[:, None], "dgamma has shape (3, 1), expected (3,); drop keepdims in its sum"),
        (
            "(1, d)",
            lambda g: g[:, None],
            "dgamma has shape (3, 1), expected (1, 3)",
        ),
        ("()", lambda g: g[None], "dgamma has shape (1, 1), expected (); drop keepdims in its sum"),
    ],
)
def test_a_gradient_that_spoils_the_shape_of_its_parameter_is_a_breach(
    parameters: str, change: Callable[[Array], Array], breach: str
) -> None:
    answer = answered(changed("dgamma", change), replace(CONVENTION, parameters=parameters))
    assert ("gamma", breach) in answer.breaches
    assert "gamma" not in [row for row, _ in answer.notes]


def test_a_gradient_in_too_narrow_a_dtype_shows_to_within_its_rounding() -> None:
    narrow = answered(changed("dgamma", lambda g: g.astype(np.float32)))
    np.testing.assert_allclose(narrow.grain["gamma"], np.abs(found(narrow, "gamma")) * 2.0**-23)
    whole = answered(changed("dgamma", lambda g: g.astype(int)))
    np.testing.assert_array_equal(whole.grain["gamma"], np.ones(3))


@pytest.mark.parametrize("name", ["gamma", "beta"])
def test_a_gradient_of_what_could_not_be_put_is_not_judged(name: str) -> None:
    answer = answered(Layer, replace(CONVENTION, set=tuple(pair for pair in CONVENTION.set if pair[0] != name)))
    assert answer.unjudged == {
        name: f"{name} is neither set nor handed over, so nothing shows what d{name} should be; say where it is kept, "
        f"as in set: {{{name}: self.{name}}}"
    }
    assert answer.of(name) is None


def test_of_functions_that_take_no_gamma_the_argument_is_asked_for() -> None:
    convention = Convention(forward="f(x) -> out", backward="b(dout) -> dx, dgamma")
    assert parsed(convention).unjudged == {
        "gamma": "gamma is neither set nor handed over, so nothing shows what dgamma should be; hand it over in "
        "forward:, as in f(x, gamma)"
    }


def test_what_is_written_into_is_told() -> None:
    class Writes(Layer):
        def forward(self, x: Array, training: bool = True) -> Array:
            out = super().forward(x.copy())
            x -= 1
            self.x = x
            return out

        def backward(self, dout: Array) -> Array:
            dx = super().backward(dout.copy())
            self.x += 1
            dout *= 2
            return dx

    answer = answered(Writes)
    assert answer.breaches == (
        ("out", "forward wrote into x; work on a copy"),
        ("x", "backward wrote into dout; work on a copy"),
        ("x", "backward wrote into x; work on a copy"),
    )
    np.testing.assert_allclose(found(answer, "x"), right(draw(DENSE)).x, rtol=1e-9)


def test_out_that_backward_overwrites_is_kept_as_it_was() -> None:
    class Reuses(Layer):
        def forward(self, x: Array, training: bool = True) -> Array:
            self.out = super().forward(x)
            return self.out

        def backward(self, dout: Array) -> Array:
            self.out[:] = super().backward(dout)
            return self.out

    assert_right(answered(Reuses), draw(DENSE))


def test_a_gradient_that_is_not_where_it_should_be_is_told() -> None:
    answer = answered(Layer, replace(CONVENTION, gradients=(("gamma", "self.grads['gamma']"),)))
    assert answer.breaches == (
        ("gamma", "dgamma is not where it should be: AttributeError: 'Layer' object has no attribute 'grads'"),
    )


def test_a_backward_of_another_arity_is_told() -> None:
    answer = answered(Layer, replace(CONVENTION, backward="self.backward(dout) -> dx, dgamma, dbeta", gradients=()))
    assert answer.breaches == (
        ("x", "backward returned an array of float64 of shape (5, 3), expected 3 values: dx, dgamma, dbeta"),
    )


@pytest.mark.parametrize(
    ("forward", "says"),
    [
        (
            "self.forward(x) -> out, cache",
            "forward returned an array of float64 of shape (5, 3), expected 2 values: out, cache",
        ),
        ("self.forward(x)[0] -> out", "out has shape (3,), expected (5, 3), the shape of x"),
        ("(self.forward(x), 'a')[1] -> out", "out is a str, expected an array of shape (5, 3)"),
    ],
)
def test_a_forward_that_does_not_give_out_is_told(forward: str, says: str) -> None:
    with pytest.raises(BindingError) as refusal:
        answered(Layer, replace(CONVENTION, forward=forward))
    assert str(refusal.value) == says


def test_what_their_code_raises_comes_through() -> None:
    class Raises(Layer):
        def backward(self, dout: Array) -> Array:
            raise ZeroDivisionError("theirs")

    with pytest.raises(ZeroDivisionError, match="theirs"):
        answered(Raises)


def test_dmean_and_dvar_are_taken_where_they_are_named() -> None:
    class Five(Layer):
        def backward(self, dout: Array) -> Array:
            return super().backward(dout), np.ones((1, 3)), np.arange(3.0)

    answer = answered(Five, replace(CONVENTION, backward="self.backward(dout) -> dx, dmean, dvar"))
    np.testing.assert_array_equal(found(answer, "mean"), np.ones(3))
    np.testing.assert_array_equal(found(answer, "var"), np.arange(3.0))
    assert answer.breaches == ()
    assert answered(Layer).mean is None


# --- updates, and another batch ----------------------------------------------------------------------------------


class Updates(Layer):
    """Leaves no gradients, but applies them."""

    def backward(self, dout: Array) -> Array:
        dx = super().backward(dout)
        self.gamma = self.gamma - self.dgamma
        self.beta -= self.dbeta
        return dx


def test_a_gradient_is_read_from_the_update_that_it_makes() -> None:
    assert_right(answered(Updates, UPDATED), draw(DENSE))


UNIT = {"float64": 2.0**-53, "float32": 2.0**-24}


@pytest.mark.parametrize("dtype", UNIT)
def test_the_grain_of_an_update_is_a_rounding_of_what_was_there_and_one_of_what_is(dtype: str) -> None:
    problem = draw(replace(DENSE, dtype=dtype))
    answer = bound_to(Updates, UPDATED, problem.case).answer(problem.inputs, problem.dout)
    before, after = problem.inputs.gamma, problem.inputs.gamma - found(answer, "gamma")
    np.testing.assert_allclose(answer.grain["gamma"], UNIT[dtype] * (np.abs(before) + np.abs(after)), rtol=1e-6)


def test_a_gamma_that_is_kept_in_float32_has_the_grain_of_float32() -> None:
    class Narrow(Layer):
        def backward(self, dout: Array) -> Array:
            dx = super().backward(dout)
            self.gamma = (self.gamma - self.dgamma).astype(np.float32)
            return dx

    gamma_alone = replace(CONVENTION, gradients=(("gamma", "update(self.gamma)"), ("beta", "self.dbeta")))
    grain = answered(Narrow, gamma_alone).grain
    assert set(grain) == {"gamma"}
    assert np.all(grain["gamma"] >= 2.0**-24 * np.abs(draw(DENSE).inputs.gamma))


def test_a_gradient_that_is_given_has_no_grain() -> None:
    assert answered(Layer).grain == {}


def test_one_gamma_for_each_feature_has_one_grain_for_each() -> None:
    class Scalar(Layer):
        def backward(self, dout: Array) -> Array:
            dx = super().backward(dout)
            self.gamma, self.beta = self.gamma - self.dgamma.sum(), self.beta - self.dbeta.sum()
            return dx

    grain = answered(Scalar, replace(UPDATED, parameters="()")).grain
    np.testing.assert_array_equal(grain["gamma"], answered(Updates, UPDATED).grain["gamma"])


class Accumulates(Layer):
    """Adds its parameter gradients up."""

    def __init__(self, d: int, eps: float = 1e-5) -> None:
        super().__init__(d, eps)
        self.dgamma, self.dbeta = np.zeros(d), np.zeros(d)

    def backward(self, dout: Array) -> Array:
        gamma, beta = self.dgamma, self.dbeta
        dx = super().backward(dout)
        self.dgamma, self.dbeta = self.dgamma + gamma, self.dbeta + beta
        return dx


class AccumulatesLate(Layer):
    """Adds its parameter gradients up, in attributes that it makes in its first backward."""

    def __init__(self, d: int, eps: float = 1e-5) -> None:
        super().__init__(d, eps)
        del self.dgamma, self.dbeta

    def backward(self, dout: Array) -> Array:
        before = getattr(self, "dgamma", 0), getattr(self, "dbeta", 0)
        dx = super().backward(dout)
        self.dgamma, self.dbeta = self.dgamma + before[0], self.dbeta + before[1]
        return dx


class Remembers(Layer):
    """Uses the standard deviation of the first batch for ever."""

    def forward(self, x: Array, training: bool = True) -> Array:
        out = super().forward(x)
        self.first = getattr(self, "first", self.std)
        self.std = self.first
        return out


def other_batch(inputs: Inputs, dout: FloatArray) -> tuple[Inputs, FloatArray]:
    """Another batch of the same shape."""
    return replace(inputs, x=3 * inputs.x[::-1]), dout[::-1]


def after_another(bound: Foreign, problem: Problem) -> Second:
    """The answer to the problem after another batch."""
    fresh = bound.answer(problem.inputs, problem.dout)
    return bound.second(other_batch, problem.inputs, problem.dout, fresh)


@pytest.mark.parametrize(
    ("layer", "convention"),
    [(Layer, CONVENTION), (Accumulates, CONVENTION), (AccumulatesLate, CONVENTION), (Updates, UPDATED)],
)
def test_another_batch_before_changes_nothing(layer: type, convention: Convention) -> None:
    problem = draw(DENSE)
    bound = bound_to(layer, convention)
    assert_right(after_another(bound, problem).answer, problem)


def test_a_layer_that_remembers_another_batch_answers_otherwise_after_it() -> None:
    problem = draw(DENSE)
    bound = bound_to(Remembers)
    assert_right(bound.answer(problem.inputs, problem.dout), problem)
    after = after_another(bound, problem).answer
    assert not np.allclose(found(after, "x"), right(problem).x)
    np.testing.assert_allclose(found(after, "gamma"), right(problem).gamma)


def test_another_batch_goes_through_the_same_object() -> None:
    problem = draw(DENSE)
    bound = bound_to(Layer)
    fresh = bound.answer(problem.inputs, problem.dout)
    before = next(Layer.made)
    bound.second(other_batch, problem.inputs, problem.dout, fresh)
    assert next(Layer.made) == before + 1 + 1


def test_another_batch_goes_through_feature_by_feature_too() -> None:
    class Scalar(Accumulates):
        def backward(self, dout: Array) -> Array:
            dx = super().backward(dout)
            self.dgamma, self.dbeta = self.dgamma.sum(), self.dbeta.sum()
            return dx

    problem = draw(DENSE)
    bound = bound_to(Scalar, replace(CONVENTION, parameters="()"))
    assert_right(after_another(bound, problem).answer, problem)


# --- the tables -----------------------------------------------------------------------------------------------------


def test_every_name_that_may_be_set_can_be_made_before_forward() -> None:
    problem = draw(DENSE)
    made = Layer_(parsed(CONVENTION), layout_of(DENSE, "(n, d)"), {"Layer": Layer}, problem.inputs).values
    assert {name: made[name] is not None for name in SETTABLE} == dict.fromkeys(SETTABLE, True)


@pytest.mark.parametrize("row", [*GIVEN_NAMES, *FOUND_NAMES], ids=lambda row: row.name)
def test_every_name_of_a_pattern_has_its_meaning(row: PatternName) -> None:
    assert row.meaning
