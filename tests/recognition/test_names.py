"""The tables of spellings, and the calls that they make of a signature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bncheck.calling.pattern import parse_call
from bncheck.recognition import names
from bncheck.recognition.candidates import Candidate, candidates_in, is_named, is_other, stem_of
from bncheck.recognition.names import BACKWARDS, FORWARDS, ROLES, ROLES_OF, TEXTS
from bncheck.recognition.signature import arguments_of, calls, guesses


def first_call(function: Callable[..., Any], stage: str, known: dict[str, str] | None = None) -> str:
    """The likeliest call of a function."""
    return next(calls("f", arguments_of(function, stage), stage, known or {}))


def all_calls(function: Callable[..., Any], stage: str, known: dict[str, str] | None = None) -> list[str]:
    """Every call of a function that is tried."""
    return list(calls("f", arguments_of(function, stage), stage, known or {}))


# --- the tables --------------------------------------------------------------------------------------------------


def test_every_name_in_the_tables_is_spelled_as_names_are_compared() -> None:
    spelled = [name for words in ROLES.values() for name in words]
    assert [name for name in spelled if name != names.plain(name)] == []


def test_every_stage_knows_its_roles() -> None:
    assert {role for roles in ROLES_OF.values() for role in roles} <= set(ROLES)


@pytest.mark.parametrize("role", TEXTS)
def test_every_text_of_the_tables_is_a_pattern(role: str) -> None:
    for text in TEXTS[role]:
        parse_call(text)


@pytest.mark.parametrize("words", [FORWARDS, BACKWARDS], ids=["forward", "backward"])
def test_a_longer_word_is_looked_for_before_the_shorter_one_inside_it(words: tuple[str, ...]) -> None:
    hidden = [
        (short, long) for i, short in enumerate(words) for long in words[i + 1 :] if short in long and short != long
    ]
    assert hidden == []


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("batchnorm_forward", "batchnorm"),
        ("batchNormForward", "batchnorm"),
        ("bn_forword", "bn"),
        ("forward_prop", ""),
        ("forward", ""),
        ("updateOutput", ""),
        ("relu", None),
    ],
)
def test_the_stem_of_a_forward_is_what_is_left_of_its_name(name: str, stem: str | None) -> None:
    assert stem_of(name, FORWARDS) == stem


@pytest.mark.parametrize(
    "name",
    [
        "BatchNorm",
        "batch_norm_forward",
        "bn_backward",
        "BatchNormalization",
        "spatial_batchnorm_forward",
        "BNLayer",
        "MyBN",
    ],
)
def test_a_batch_normalisation_is_told_by_its_name(name: str) -> None:
    assert is_named(name)


@pytest.mark.parametrize(
    "name", ["LayerNorm", "layernorm_forward", "spatial_groupnorm_forward", "InstanceNorm2d", "ln_forward"]
)
def test_another_normalisation_is_told_by_its_name(name: str) -> None:
    assert is_other(name)
    assert not is_named(name)


@pytest.mark.parametrize("name", ["Linear", "relu_forward", "subnet", "Abnormal"])
def test_what_is_no_normalisation_is_neither(name: str) -> None:
    assert not is_other(name)
    assert not is_named(name)


# --- arguments ---------------------------------------------------------------------------------------------------


def course(x: Any, gamma: Any, beta: Any, bn_param: Any) -> None: ...
def eps_fourth(x: Any, gamma: Any, beta: Any, eps: Any) -> None: ...
def eps_by_name(X: Any, gamma: Any, beta: Any, epsilon: float = 1e-5) -> None: ...  # noqa: N803
def beta_first(inputs: Any, beta: Any, gamma: Any) -> None: ...
def with_flag(x: Any, training: bool = False) -> None: ...
def with_mode(x: Any, mode: str = "test") -> None: ...
def with_contrary(x: Any, test: bool) -> None: ...
def nameless(tensor: Any) -> None: ...
def anything(*args: Any, **kwargs: Any) -> None: ...
def keyword(x: Any, *, eps: float) -> None: ...


@pytest.mark.parametrize(
    ("function", "call"),
    [
        (course, "f(x, gamma, beta, {'mode': 'train', 'eps': eps})"),
        (eps_fourth, "f(x, gamma, beta, eps)"),
        (eps_by_name, "f(x, gamma, beta, epsilon=eps)"),
        (beta_first, "f(x, beta, gamma)"),
        (with_flag, "f(x, training=True)"),
        (with_mode, "f(x, mode='train')"),
        (with_contrary, "f(x, False)"),
        (nameless, "f(x)"),
        (anything, "f(x, gamma, beta, eps)"),
        (keyword, "f(x, eps=eps)"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_the_likeliest_call_of_a_forward_follows_its_names(function: Callable[..., Any], call: str) -> None:
    assert first_call(function, "forward") == call


def features_first(num_features: int, eps: float = 1e-5, momentum: float = 0.9) -> None: ...
def momentum_first(momentum: float = 0.9, epsilon: float = 1e-5) -> None: ...
def shape_first(input_shape: Any) -> None: ...
def given_gamma(gamma: Any, beta: Any, lr: float = 0.1) -> None: ...
def named_n(n: int) -> None: ...
def odd(k: int) -> None: ...


@pytest.mark.parametrize(
    ("function", "call"),
    [
        (features_first, "f(d, eps=eps)"),
        (momentum_first, "f(epsilon=eps)"),
        (shape_first, "f((d,))"),
        (given_gamma, "f(gamma, beta, lr=learning_rate)"),
        (named_n, "f(d)"),
        (odd, "f(d)"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_the_likeliest_constructor_follows_its_names(function: Callable[..., Any], call: str) -> None:
    assert first_call(function, "create") == call


def dout_first(dout: Any, cache: Any) -> None: ...
def cache_first(cache: Any, dout: Any) -> None: ...
def misnamed(x: Any) -> None: ...
def taken_apart(dout: Any, gamma: Any, x_norm: Any, mu: Any, var: Any, x: Any, eps: float = 1e-5) -> None: ...
def with_rate(grad: Any, lr: float = 0.1) -> None: ...


STATISTICS = {"x_hat": "x_hat", "mean": "mean", "var": "var"}


@pytest.mark.parametrize(
    ("function", "known", "call"),
    [
        (dout_first, {"cache": "cache"}, "f(dout, cache)"),
        (cache_first, {"cache": "cache"}, "f(cache, dout)"),
        (misnamed, {}, "f(dout)"),
        (taken_apart, STATISTICS, "f(dout, gamma, x_hat, mean, var, x, eps=eps)"),
        (dout_first, STATISTICS, "f(dout, (x_hat, mean, var))"),
        (with_rate, {}, "f(dout, lr=learning_rate)"),
    ],
    ids=["dout first", "cache first", "misnamed", "taken apart", "a cache of three", "with a rate"],
)
def test_the_likeliest_backward_follows_its_names(
    function: Callable[..., Any], known: dict[str, str], call: str
) -> None:
    assert first_call(function, "backward", known) == call


def test_every_call_that_is_tried_is_a_pattern() -> None:
    for function in (course, anything, with_mode, shape_first, taken_apart):
        for stage in ("create", "build", "forward", "backward"):
            for text in all_calls(function, stage):
                parse_call(text)


def test_the_calls_that_are_tried_are_bounded() -> None:
    def many(k1: Any, k2: Any, k3: Any, k4: Any, k5: Any) -> None: ...

    assert len(all_calls(many, "create")) == names.CALLS


def test_an_argument_of_which_nothing_is_known_is_a_guess() -> None:
    def odd_one(x: Any, gizmo: Any) -> None: ...

    assert guesses(arguments_of(odd_one, "forward"), "forward", {})
    assert not guesses(arguments_of(course, "forward"), "forward", {})


def test_what_forward_returned_is_no_guess_for_backward() -> None:
    def backward(dout: Any, saved_things: Any) -> None: ...

    assert not guesses(arguments_of(backward, "backward"), "backward", {"cache": "cache"})
    assert guesses(arguments_of(backward, "backward"), "backward", {})


def test_methods_are_called_without_self() -> None:
    class Layer:
        def forward(self, x: Any) -> None: ...

        @staticmethod
        def backward(dout: Any) -> None: ...

    layer = Candidate("Layer", Layer, "forward", "backward", {}, named=False)
    assert [argument.name for argument in layer.arguments("forward")] == ["x"]
    assert [argument.name for argument in layer.arguments("backward")] == ["dout"]


def test_built_in_code_without_a_signature_is_called_with_what_the_stage_is_about() -> None:
    assert first_call(dict.fromkeys, "forward").startswith("f(")


# --- candidates --------------------------------------------------------------------------------------------------


def pairs_in(source: str, only: str = "") -> list[tuple[str, str, str]]:
    """The candidates of a module with that source: name, forward, backward."""
    namespace: dict[str, Any] = {"__name__": "layers"}
    exec(source, namespace)
    return [(found.name, found.forward, found.backward) for found in candidates_in(namespace, only).pairs]


def test_a_backward_goes_with_the_forward_of_its_stem() -> None:
    source = "".join(
        f"def {name}(x): pass\n"
        for name in ("relu_forward", "bn_forward", "bn_backward", "relu_backward", "bn_backward_alt")
    )
    assert pairs_in(source) == [
        ("bn_backward", "bn_forward", "bn_backward"),
        ("relu_backward", "relu_forward", "relu_backward"),
        ("bn_backward_alt", "bn_forward", "bn_backward_alt"),
    ]


def test_what_a_module_imports_is_no_candidate_unless_it_is_named() -> None:
    source = "from bncheck.gradients.batchnorm import forward as bn_forward, backward as bn_backward\n"
    assert pairs_in(source) == []
    assert pairs_in(source, "bn_backward") == [("bn_backward", "bn_forward", "bn_backward")]


def test_one_pair_of_a_layer_is_taken_and_the_named_pair_of_a_network() -> None:
    layer = "class BatchNorm:\n def forward(self, x): x\n def backward(self, d): d\n def _forward(self, x): x\n"
    network = (
        "class Net:\n def forward(self, x): pass\n def backward(self, d): pass\n"
        " def bn_forward(self, x): pass\n def bn_backward(self, d): pass\n"
    )
    assert pairs_in(layer)[0] == ("BatchNorm", "forward", "backward")
    assert pairs_in(network) == [("Net", "forward", "backward"), ("Net.bn_backward", "bn_forward", "bn_backward")]


def test_a_property_of_theirs_is_not_read() -> None:
    source = "class BatchNorm:\n @property\n def backward(self): raise SystemExit\n def forward(self, x): pass\n"
    assert pairs_in(source) == []
