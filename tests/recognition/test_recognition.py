"""What is found in a file, by calling it: how it is spelled, how it stands, what it computes."""

from __future__ import annotations

import linecache
import pickle
import textwrap
import zlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import yaml

from bncheck.calling.answer import Answer
from bncheck.calling.implementation import bind
from bncheck.calling.plan import parsed
from bncheck.case import EPS, Case, Convention
from bncheck.discovery import describe
from bncheck.gradients import batchnorm
from bncheck.gradients.batchnorm import FloatArray, Inputs
from bncheck.gradients.problem import draw
from bncheck.recognition.recognition import BLANK, Found, Recognition, recognise
from bncheck.recognition.trial import BATCH_NORM, judge, probe, small_probe

DENSE, IMAGE = (5, 3), (3, 4, 2, 5)

FUNCTIONS = """
    import numpy as np

    def {forward}(x, gamma, beta, {last}):
        {eps}
        std = np.sqrt(x.var(axis=0) + eps)
        x_hat = (x - x.mean(axis=0)) / std
        return {returns}

    def {backward}({arguments}):
        x_hat, std, gamma = cache
        dx_hat = dout * gamma
        dx = (dx_hat - dx_hat.mean(axis=0) - x_hat * (dx_hat * x_hat).mean(axis=0)) / std
        dgamma, dbeta = (dout * x_hat).sum(axis=0), dout.sum(axis=0)
        return {gradients}
"""
LAYER = """
    import numpy as np

    class BatchNorm:
        def __init__(self, {init}):
            {start}

        def {forward}(self, x{flag}):
            {before}
            std = np.sqrt(x.var(axis=AXIS, keepdims=True) + 1e-5)
            self.x_hat, self.std = (x - x.mean(axis=AXIS, keepdims=True)) / std, std
            return {gamma} * self.x_hat + {beta}

        def {backward}(self, dout{rate}):
            gamma = {gamma}
            dgamma = (dout * self.x_hat).sum(axis=AXIS{keepdims})
            dbeta = dout.sum(axis=AXIS{keepdims})
            g = dout * gamma
            {keep}
            dx = (g - g.mean(axis=AXIS, keepdims=True)
                  - self.x_hat * (g * self.x_hat).mean(axis=AXIS, keepdims=True)) / self.std
            return {returns}
"""


def functions(**changes: str) -> str:
    """A pair of functions in the style of the course, but for the changes."""
    style = {
        "forward": "batchnorm_forward",
        "backward": "batchnorm_backward",
        "last": "bn_param",
        "eps": "eps = bn_param.get('eps', 1e-5)",
        "returns": "gamma * x_hat + beta, (x_hat, std, gamma)",
        "arguments": "dout, cache",
        "gradients": "dx, dgamma, dbeta",
    }
    return textwrap.dedent(FUNCTIONS).format(**style | changes)


def layer(axis: str = "0", **changes: str) -> str:
    """A class that leaves its gradients in attributes, but for the changes."""
    style = {
        "init": "d",
        "start": "self.gamma, self.beta = np.ones(d), np.zeros(d)",
        "forward": "forward",
        "backward": "backward",
        "flag": "",
        "before": "",
        "gamma": "self.gamma",
        "beta": "self.beta",
        "rate": "",
        "keepdims": "",
        "keep": "self.dgamma, self.dbeta = dgamma, dbeta",
        "returns": "dx",
    }
    return textwrap.dedent(LAYER).format(**style | changes).replace("AXIS", axis)


def found_in(source: str, only: str = "") -> Recognition:
    """What is found in a module of that source."""
    return recognise(executed(source), only)


def executed(source: str) -> dict[str, Any]:
    """The names of a module of that source, which can be read as that of a file can."""
    namespace: dict[str, Any] = {"__name__": "layers"}
    source = textwrap.dedent(source)
    file = f"<layers {zlib.crc32(source.encode())}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    exec(compile(source, file, "exec"), namespace)
    return namespace


@dataclass(frozen=True, slots=True)
class Seen:
    """What a convention gives on a problem that recognition has not seen, and what is right."""

    answer: Answer
    out: FloatArray
    right: batchnorm.Gradients
    inputs: Inputs


def seen(source: str, found: Found, shape: tuple[int, ...], eps: float = 1e-5) -> Seen:
    """Forward and backward by the convention that was found."""
    case = Case(shape=shape, seed=3, eps=eps)
    problem = draw(case)
    bound = bind(executed(source), found.name, found.convention, case)
    inputs = bound.given(problem.inputs)
    stages = batchnorm.forward(inputs)
    return Seen(
        bound.answer(inputs, problem.dout), stages.out, batchnorm.closed_form(inputs, stages, problem.dout), inputs
    )


def is_right(seen: Seen, rows: tuple[str, ...]) -> bool:
    """Whether out and the gradients of those rows are right, and no breach was found."""
    gradients = {row: seen.answer.of(row) for row in rows}
    assert seen.answer.out is not None
    close = [found is not None and np.allclose(found, seen.right.of(row)) for row, found in gradients.items()]
    return all(close) and np.allclose(seen.answer.out, seen.out, rtol=1e-4) and not seen.answer.breaches


IN_DICT = "self.params = {'gamma': np.ones(d), 'beta': np.zeros(d)}; self.grads = {}"
PARAMETER = (
    "type('P', (), {})(); self.gamma.data = np.ones(d); self.beta = type('P', (), {})(); self.beta.data = np.zeros(d)"
)
UPDATES = "self.gamma = self.gamma - {0} * dgamma; self.beta = self.beta - {0} * dbeta"
BUILD = "if self.gamma is None: self.gamma, self.beta = np.ones(x.shape[-1]), np.zeros(x.shape[-1])"
OVERWRITE = "if not self.built: self.built = True; self.gamma, self.beta = np.ones(x.shape[1]), np.zeros(x.shape[1])"
FLAG = "assert training, 'running statistics are not written yet'"
IMAGES = "self.gamma, self.beta = np.ones((1, d, 1, 1)), np.zeros((1, d, 1, 1))"
LAST = "self.gamma, self.beta = np.ones((1, 1, 1, d)), np.zeros((1, 1, 1, d))"
COLUMN = "self.gamma, self.beta = np.ones((d, 1)), np.zeros((d, 1))"

ATTRIBUTES = (("gamma", "self.dgamma"), ("beta", "self.dbeta"))
OPTIMISER = """
class GradientDescent:
    def __init__(self, learning_rate):
        self.learning_rate = learning_rate

    def update(self, value, gradient):
        return value - self.learning_rate * gradient
"""

# name: source, shape it is checked on, and what its convention must have in it.
STATISTICS = "-(dx_hat / std).sum(axis=0), -(dx_hat * x_hat).sum(axis=0) / std**2 / 2"
SPELLINGS: dict[str, tuple[str, tuple[int, ...], dict[str, Any]]] = {
    "course functions": (
        functions(),
        DENSE,
        {
            "forward": "batchnorm_forward(x, gamma, beta, {'mode': 'train', 'eps': eps}) -> out, cache",
            "backward": "batchnorm_backward(dout, cache) -> dx, dgamma, dbeta",
            "layout": "(n, d)",
        },
    ),
    "misspelt functions": (
        functions(forward="bn_forword", backward="bn_backword"),
        DENSE,
        {"backward": "bn_backword(dout, cache) -> dx, dgamma, dbeta"},
    ),
    "forward_prop and back_prop": (
        functions(forward="batch_norm_forward_prop", backward="batch_norm_back_prop"),
        DENSE,
        {"backward": "batch_norm_back_prop(dout, cache) -> dx, dgamma, dbeta"},
    ),
    "eps as the fourth argument": (
        functions(last="eps", eps=""),
        DENSE,
        {"forward": "batchnorm_forward(x, gamma, beta, eps) -> out, cache"},
    ),
    "eps with a default": (
        functions(last="epsilon=1e-8", eps="eps = epsilon"),
        DENSE,
        {"forward": "batchnorm_forward(x, gamma, beta, epsilon=eps) -> out, cache"},
    ),
    "the cache first": (
        functions(arguments="cache, dout"),
        DENSE,
        {"backward": "batchnorm_backward(cache, dout) -> dx, dgamma, dbeta"},
    ),
    "names that tell nothing, the cache first": (
        functions(arguments="stuff, dout").replace("= cache", "= stuff"),
        DENSE,
        {"backward": "batchnorm_backward(cache, dout) -> dx, dgamma, dbeta"},
    ),
    "dbeta before dgamma": (
        functions(gradients="dx, dbeta, dgamma"),
        DENSE,
        {"backward": "batchnorm_backward(dout, cache) -> dx, dbeta, dgamma"},
    ),
    "dx last": (
        functions(gradients="dgamma, dbeta, dx"),
        DENSE,
        {"backward": "batchnorm_backward(dout, cache) -> dgamma, dbeta, dx"},
    ),
    "dx and a list": (
        functions(gradients="dx, [dgamma, dbeta]"),
        DENSE,
        {"backward": "batchnorm_backward(dout, cache) -> dx, [dgamma, dbeta]"},
    ),
    "dx and a dictionary": (
        functions(gradients="dx, {'gamma': dgamma, 'beta': dbeta}"),
        DENSE,
        {
            "backward": "batchnorm_backward(dout, cache) -> dx, grads",
            "gradients": (("gamma", "grads['gamma']"), ("beta", "grads['beta']")),
        },
    ),
    "a dictionary": (
        functions(gradients="{'dx': dx, 'dgamma': dgamma, 'dbeta': dbeta}"),
        DENSE,
        {"gradients": (("x", "grads['dx']"), ("gamma", "grads['dgamma']"), ("beta", "grads['dbeta']"))},
    ),
    "a cache taken apart": (
        functions(returns="gamma * x_hat + beta, x_hat, std", arguments="dout, x_hat, std, gamma").replace(
            "x_hat, std, gamma = cache", "pass"
        ),
        DENSE,
        {
            "forward": "batchnorm_forward(x, gamma, beta, {'mode': 'train', 'eps': eps}) -> out, x_hat, std",
            "backward": "batchnorm_backward(dout, x_hat, std, gamma) -> dx, dgamma, dbeta",
        },
    ),
    "attributes": (
        layer(),
        DENSE,
        {
            "create": "BatchNorm(d)",
            "set": (("gamma", "self.gamma"), ("beta", "self.beta")),
            "gradients": (("gamma", "self.dgamma"), ("beta", "self.dbeta")),
        },
    ),
    "grad_gamma": (
        layer(keep="self.grad_gamma, self.grad_beta = dgamma, dbeta"),
        DENSE,
        {"gradients": (("gamma", "self.grad_gamma"), ("beta", "self.grad_beta"))},
    ),
    "the names of a lecture": (
        layer(
            start="self.BW, self.Bb = np.ones(d), np.zeros(d)",
            gamma="self.BW",
            beta="self.Bb",
            keep="self.dLdBW, self.dLdBb = dgamma, dbeta",
        ),
        DENSE,
        {
            "set": (("gamma", "self.BW"), ("beta", "self.Bb")),
            "gradients": (("gamma", "self.dLdBW"), ("beta", "self.dLdBb")),
        },
    ),
    "weight and bias": (
        layer(
            start="self.weight, self.bias = np.ones(d), np.zeros(d)",
            gamma="self.weight",
            beta="self.bias",
            keep="self.weight_grad, self.bias_grad = dgamma, dbeta",
        ),
        DENSE,
        {"gradients": (("gamma", "self.weight_grad"), ("beta", "self.bias_grad"))},
    ),
    "dictionaries": (
        layer(
            start=IN_DICT,
            gamma="self.params['gamma']",
            beta="self.params['beta']",
            keep="self.grads['gamma'], self.grads['beta'] = dgamma, dbeta",
        ),
        DENSE,
        {
            "set": (("gamma", "self.params['gamma']"), ("beta", "self.params['beta']")),
            "gradients": (("gamma", "self.grads['gamma']"), ("beta", "self.grads['beta']")),
        },
    ),
    "parameter objects": (
        layer(
            start=f"self.gamma = {PARAMETER}",
            gamma="self.gamma.data",
            beta="self.beta.data",
            keep="self.gamma.grad, self.beta.grad = dgamma, dbeta",
        ),
        DENSE,
        {
            "set": (("gamma", "self.gamma.data"), ("beta", "self.beta.data")),
            "gradients": (("gamma", "self.gamma.grad"), ("beta", "self.beta.grad")),
        },
    ),
    "private names": (
        layer(
            start="self.__gamma, self.__beta = np.ones(d), np.zeros(d)",
            gamma="self.__gamma",
            beta="self.__beta",
            keep="self.__dgamma, self.__dbeta = dgamma, dbeta",
        ),
        DENSE,
        {"set": (("gamma", "self._BatchNorm__gamma"), ("beta", "self._BatchNorm__beta"))},
    ),
    "a triple from a class": (
        layer(keep="", returns="dx, dgamma, dbeta"),
        DENSE,
        {"backward": "self.backward(dout) -> dx, dgamma, dbeta", "gradients": ()},
    ),
    "an update with a rate in backward": (
        layer(rate=", lr=0.01", keep=UPDATES.format("lr")),
        DENSE,
        {
            "backward": "self.backward(dout, lr=learning_rate) -> dx",
            "gradients": (("gamma", "update(self.gamma)"), ("beta", "update(self.beta)")),
        },
    ),
    "an update with a rate in the layer": (
        layer(start="self.gamma, self.beta, self.eta = np.ones(d), np.zeros(d), 0.01", keep=UPDATES.format("self.eta")),
        DENSE,
        {
            "set": (("gamma", "self.gamma"), ("beta", "self.beta"), ("learning_rate", "self.eta")),
            "gradients": (("gamma", "update(self.gamma)"), ("beta", "update(self.beta)")),
        },
    ),
    "gamma and beta given to the constructor": (
        layer(init="gamma, beta", start="self.gamma, self.beta = gamma, beta"),
        DENSE,
        {"create": "BatchNorm(gamma, beta)", "set": ()},
    ),
    "a shape given to the constructor": (
        layer(init="input_shape", start="self.gamma, self.beta = np.ones(input_shape[0]), np.zeros(input_shape[0])"),
        DENSE,
        {"create": "BatchNorm((d,))"},
    ),
    "built on the first forward": (
        layer(init="momentum=0.9", start="self.gamma = self.beta = None", before=BUILD),
        DENSE,
        {"create": "BatchNorm()", "build": "self.forward(x)"},
    ),
    "built on the first forward, whatever was set": (
        layer(init="momentum=0.9", start="self.built = False", before=OVERWRITE),
        DENSE,
        {"build": "self.forward(x)"},
    ),
    "a flag that is down": (
        layer(flag=", training=False", before=FLAG),
        DENSE,
        {"forward": "self.forward(x, training=True) -> out"},
    ),
    "a flag in the layer": (
        layer(
            start="self.gamma, self.beta, self.training = np.ones(d), np.zeros(d), False",
            before="assert self.training",
        ),
        DENSE,
        {"set": (("training", "self.training"), ("gamma", "self.gamma"), ("beta", "self.beta"))},
    ),
    "a mode in words": (
        layer(flag=", mode", before="assert mode == 'train'"),
        DENSE,
        {"forward": "self.forward(x, 'train') -> out"},
    ),
    "called without a name": (
        layer(forward="__call__", backward="backprop"),
        DENSE,
        {"forward": "self(x) -> out", "backward": "self.backprop(dout) -> dx"},
    ),
    "updateOutput": (
        layer(forward="updateOutput", backward="updateGradInput"),
        DENSE,
        {"forward": "self.updateOutput(x) -> out"},
    ),
    "no gamma and beta": (
        layer(start="pass", gamma="1", beta="0", keep=""),
        DENSE,
        {"set": (), "gradients": ()},
    ),
    "rows for gamma": (
        layer(start="self.gamma, self.beta = np.ones((1, d)), np.zeros((1, d))", keepdims=", keepdims=True"),
        DENSE,
        {"parameters": "(1, d)"},
    ),
    "features first": (
        layer(axis="1", start=COLUMN, keepdims=", keepdims=True"),
        DENSE,
        {"layout": "(d, n)", "parameters": "(d, 1)"},
    ),
    "images, channels first": (
        layer(axis="(0, 2, 3)", start=IMAGES, keepdims=", keepdims=True"),
        IMAGE,
        {"layout": "channels first", "parameters": "(1, d, 1, 1)", "axes": (4,)},
    ),
    "images, channels last": (
        layer(axis="(0, 1, 2)", start=LAST, keepdims=", keepdims=True"),
        IMAGE,
        {"layout": "channels last", "parameters": "(1, 1, 1, d)", "axes": (4,)},
    ),
    "all but the last axis": (
        layer(axis="tuple(range(self.ndim - 1))").replace("std = np", "self.ndim = x.ndim; std = np"),
        IMAGE,
        {"layout": "channels last", "axes": (2, 3, 4, 5)},
    ),
    "one number for gamma": (
        layer(init="", start="self.gamma, self.beta = 1.0, 0.0")
        .replace("axis=0, keepdims=True", "axis=0")
        .replace("sum(axis=0)", "sum()"),
        DENSE,
        {"parameters": "()"},
    ),
    "x given to the constructor": (
        layer(init="x, gamma, beta", start="self.x, self.gamma, self.beta = x, gamma, beta")
        .replace("(self, x)", "(self)")
        .replace("std = np", "x = self.x; std = np"),
        DENSE,
        {"create": "BatchNorm(x, gamma, beta)", "forward": "self.forward() -> out"},
    ),
    "an optimiser given to the constructor": (
        layer(
            init="d, optimizer",
            start="self.gamma, self.beta, self.opt = np.ones(d), np.zeros(d), optimizer",
            keep="self.gamma, self.beta = self.opt.update(self.gamma, dgamma), self.opt.update(self.beta, dbeta)",
        )
        + OPTIMISER,
        DENSE,
        {
            "create": "BatchNorm(d, optimizer)",
            "gradients": (("gamma", "update(self.gamma)"), ("beta", "update(self.beta)")),
        },
    ),
    "a method that builds": (
        layer(init="eps=1e-5", start="pass")
        + "    def build(self, input_shape):\n"
        + "        self.gamma, self.beta = np.ones(input_shape[-1]), np.zeros(input_shape[-1])\n",
        DENSE,
        {"create": "BatchNorm(eps=eps)", "build": "self.build((d,))"},
    ),
    "accGradParameters": (
        layer(backward="updateGradInput", keep="")
        + "    def accGradParameters(self, input, gradOutput):\n"
        + "        self.gradGamma = (gradOutput * self.x_hat).sum(axis=0)\n"
        + "        self.gradBeta = gradOutput.sum(axis=0)\n",
        DENSE,
        {
            "backward": "(self.updateGradInput(dout), self.accGradParameters(x, dout)) -> dx, _",
            "gradients": (("gamma", "self.gradGamma"), ("beta", "self.gradBeta")),
        },
    ),
    "dx in an attribute": (
        layer(returns="None").replace("return None", "self.dinputs = dx"),
        DENSE,
        {"backward": "self.backward(dout)", "gradients": (("x", "self.dinputs"), *ATTRIBUTES)},
    ),
    "a forward of the bare name": (
        functions(forward="batchnorm", backward="batchnorm_grad"),
        DENSE,
        {"forward": "batchnorm(x, gamma, beta, {'mode': 'train', 'eps': eps}) -> out, cache"},
    ),
    "statistics that come back": (
        functions(
            last="running_mean, running_var", eps="eps = 1e-5", returns="gamma * x_hat + beta, x, (x_hat, std, gamma)"
        ),
        DENSE,
        {
            "forward": "batchnorm_forward(x, gamma, beta, running_mean, running_var) -> out, _, cache",
            "backward": "batchnorm_backward(dout, cache) -> dx, dgamma, dbeta",
        },
    ),
    "gradients that are left in a list": (
        layer(keep="self.grads = [dgamma, dbeta]"),
        DENSE,
        {"gradients": (("gamma", "self.grads[0]"), ("beta", "self.grads[1]"))},
    ),
    "gamma and no beta": (
        layer(start="self.gamma = np.ones(d)", beta="0", keep="self.dgamma = dgamma"),
        DENSE,
        {"set": (("gamma", "self.gamma"),), "gradients": (("gamma", "self.dgamma"),)},
    ),
    "gamma of images and no beta": (
        layer(
            "(0, 2, 3)",
            start="self.gamma = np.ones((1, d, 1, 1))",
            beta="0",
            keep="self.dgamma = dgamma",
            keepdims=", keepdims=True",
        ),
        IMAGE,
        {"set": (("gamma", "self.gamma"),), "parameters": "(1, d, 1, 1)"},
    ),
    "gamma that is updated, and no beta": (
        layer(
            init="d, lr=0.01",
            start="self.gamma, self.lr = np.ones(d), lr",
            beta="0",
            keep="self.gamma = self.gamma - self.lr * dgamma",
        ),
        DENSE,
        {"set": (("gamma", "self.gamma"),), "gradients": (("gamma", "update(self.gamma)"),)},
    ),
    "beta and no gamma": (
        layer(start="self.beta = np.zeros(d)", gamma="1", keep="self.dbeta = dbeta"),
        DENSE,
        {"set": (("beta", "self.beta"),), "gradients": (("beta", "self.dbeta"),)},
    ),
    "five gradients": (
        functions(gradients="dx, dgamma, dbeta, dmean, dvar").replace(
            "return dx", f"dmean, dvar = {STATISTICS}\n    return dx"
        ),
        DENSE,
        {"backward": "batchnorm_backward(dout, cache) -> dx, dgamma, dbeta, dmean, dvar"},
    ),
}


@pytest.mark.parametrize(("source", "shape", "convention"), SPELLINGS.values(), ids=list(SPELLINGS))
def test_a_spelling_is_recognised(source: str, shape: tuple[int, ...], convention: dict[str, Any]) -> None:
    found = found_in(source).found
    assert [one.variant for one in found] == ["standard"]
    assert {key: getattr(found[0].convention, key) for key in convention} == convention
    assert is_right(seen(source, found[0], shape), found[0].gradients)


def test_there_are_twenty_five_spellings_and_more() -> None:
    assert len(SPELLINGS) >= 25


# --- what is wrong is found too ----------------------------------------------------------------------------------


FAULTY = {
    "backward is the identity": functions(gradients="dout, dgamma, dbeta"),
    "dgamma is averaged": functions(gradients="dx, dgamma / len(dout), dbeta / len(dout)"),
    "dgamma has another sign": functions(gradients="dx, -dgamma, dbeta"),
    "dgamma is not summed": functions(gradients="dx, dout * x_hat, dbeta"),
    "dx has an axis too many": functions(gradients="dx[None], dgamma, dbeta"),
    "dgamma is None": functions(gradients="dx, None, dbeta"),
    "dx is zero": functions(gradients="np.zeros_like(dx), dgamma, dbeta"),
    "backward raises": functions(gradients="dx, dgamma, undefined"),
    "the cache is None": functions(returns="gamma * x_hat + beta, None"),
}


@pytest.mark.parametrize("source", FAULTY.values(), ids=list(FAULTY))
def test_a_wrong_backward_is_called_as_a_right_one_would_be(source: str) -> None:
    (found,) = found_in(source).found
    assert found.convention.backward == "batchnorm_backward(dout, cache) -> dx, dgamma, dbeta"
    assert found.variant == "standard"


def test_a_wrong_gradient_is_found_by_its_name() -> None:
    source = layer(keep="self.dgamma, self.dbeta, self.other = dgamma ** 2, dbeta ** 2, dgamma")
    (found,) = found_in(source).found
    assert found.convention.gradients == (("gamma", "self.dgamma"), ("beta", "self.dbeta"))


def test_an_averaged_update_is_found_where_the_rate_is_known() -> None:
    source = layer(rate=", lr=0.01", keep=UPDATES.format("lr / len(dout)"))
    (found,) = found_in(source).found
    assert found.convention.gradients == (("gamma", "update(self.gamma)"), ("beta", "update(self.beta)"))


def test_an_update_by_an_unknown_rate_is_not_taken_for_a_gradient() -> None:
    (found,) = found_in(layer(keep=UPDATES.format("0.01"))).found
    assert found.gradients == ("x",)


def test_a_backward_of_a_class_that_raises_leaves_the_gradients_to_their_names() -> None:
    start = "self.gamma, self.beta, self.dgamma, self.dbeta = np.ones(d), np.zeros(d), np.zeros(d), np.zeros(d)"
    (found,) = found_in(layer(start=start, keep="self.dgamma = undefined")).found
    assert found.convention.backward == "self.backward(dout) -> dx"
    assert found.convention.gradients == (("gamma", "self.dgamma"), ("beta", "self.dbeta"))


def test_a_layer_that_cannot_be_made_is_found_for_its_mistake_to_be_reported() -> None:
    (found,) = found_in(layer(start="self.gamma = self.beta = undefined")).found
    assert found.convention.create == "BatchNorm(d)"
    assert found.variant == "unknown"


def test_a_layer_that_needs_what_nobody_knows_is_not_found() -> None:
    recognition = found_in(layer(init="d, gadget", start="self.gamma = self.beta = gadget.parameters(d)"))
    assert recognition.found == ()
    assert [attempt.name for attempt in recognition.attempts] == ["BatchNorm"]
    assert "AttributeError: 'int' object has no attribute 'parameters'" in "\n".join(recognition.attempts[0].reasons)


def test_a_forward_that_is_no_batch_normalisation_is_found_where_it_is_called_one() -> None:
    source = functions().replace("np.sqrt(x.var(axis=0) + eps)", "x.var(axis=0) + eps")
    (found,) = found_in(source).found
    assert found.variant == "unknown"
    assert found_in(source.replace("batchnorm", "centre")).found == ()


# --- what is said of a forward -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("std", "variant", "eps"),
    [
        ("np.sqrt(x.var(axis=0) + eps)", "standard", 1e-5),
        ("np.sqrt(x.var(axis=0, ddof=1) + eps)", "unbiased variance", 1e-5),
        ("x.std(axis=0) + eps", "eps outside the root", 1e-5),
        ("x.std(axis=0, ddof=1) + eps", "unbiased variance, eps outside the root", 1e-5),
        ("x.std(axis=0)", "no eps", 0.0),
        ("x.std(axis=0, ddof=1)", "unbiased variance, no eps", 0.0),
        ("np.sqrt(x.var(axis=0) + 1e-8)", "standard", 1e-8),
        ("np.sqrt(x.var(axis=0) + 1e-12)", "standard", 1e-12),
        ("np.sqrt(x.var(axis=0) + 1e-2)", "standard", 1e-2),
        ("np.sqrt(x.var(axis=0) + 2 * eps)", "standard", 2e-5),
    ],
)
def test_the_variant_and_the_eps_of_a_forward_are_told(std: str, variant: str, eps: float) -> None:
    (found,) = found_in(functions().replace("np.sqrt(x.var(axis=0) + eps)", std)).found
    assert (found.variant, found.eps_used) == (variant, eps)
    assert found.eps_settable == (eps == 1e-5)


def test_a_gamma_that_the_layer_holds_and_does_not_use_is_left_alone() -> None:
    (found,) = found_in(layer(start="self.gamma = np.ones(d)", gamma="1", beta="0", keep="pass")).found
    assert not {"gamma", "beta"} & parsed(found.convention).taken


def test_a_gamma_beside_a_beta_that_the_forward_forgets_is_set() -> None:
    (found,) = found_in(layer(beta="0")).found
    assert found.convention.set == (("gamma", "self.gamma"),)


def test_an_eps_that_the_layer_holds_is_set() -> None:
    source = layer(start="self.gamma, self.beta, self.epsilon = np.ones(d), np.zeros(d), 1e-3")
    (found,) = found_in(source.replace("1e-5", "self.epsilon")).found
    assert ("eps", "self.epsilon") in found.convention.set
    assert found.eps_settable


def test_an_eps_that_the_layer_holds_and_does_not_use_is_left_alone() -> None:
    source = layer(start="self.gamma, self.beta, self.epsilon = np.ones(d), np.zeros(d), 1e-3")
    (found,) = found_in(source).found
    assert "eps" not in parsed(found.convention).taken
    assert (found.eps_used, found.eps_settable) == (1e-5, False)


@pytest.mark.parametrize("axes", [2, 3, 4, 5])
def test_the_reference_is_judged_standard_on_every_probe(axes: int) -> None:
    for on in (probe(axes), small_probe(axes, EPS)):
        found = judge(batchnorm.forward(on.inputs).out, on.inputs)
        assert found.grade == BATCH_NORM
        assert found.identity is not None
        assert (found.identity.sentence, found.identity.inputs.eps) == ("", EPS)


def test_a_probe_has_another_length_on_every_axis() -> None:
    for axes in (2, 3, 4, 5):
        case = probe(axes).case
        assert len({*case.shape, case.n}) == axes + (axes > 2)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda out: out + 1e-3,
        lambda out: out * np.linspace(1, 2, out.shape[1]),
        lambda out: out[::-1],
        lambda out: out * np.nan,
        lambda out: np.maximum(out, 0),
    ],
    ids=["shifted", "scaled", "reversed", "not a number", "rectified"],
)
def test_what_is_no_batch_normalisation_is_judged_to_be_none(spoil: Any) -> None:
    inputs = probe(2).inputs
    assert judge(spoil(batchnorm.forward(inputs).out), inputs).grade < BATCH_NORM


# --- a file ------------------------------------------------------------------------------------------------------


SPATIAL = """
    def spatial_batchnorm_forward(x, gamma, beta, bn_param):
        n, c, h, w = x.shape
        out, cache = batchnorm_forward(x.transpose(0, 2, 3, 1).reshape(-1, c), gamma, beta, bn_param)
        return out.reshape(n, h, w, c).transpose(0, 3, 1, 2), cache

    def spatial_batchnorm_backward(dout, cache):
        n, c, h, w = dout.shape
        dx, dgamma, dbeta = batchnorm_backward(dout.transpose(0, 2, 3, 1).reshape(-1, c), cache)
        return dx.reshape(n, h, w, c).transpose(0, 3, 1, 2), dgamma, dbeta

    def batchnorm_backward_alt(dout, cache):
        return batchnorm_backward(dout, cache)
"""
OTHERS = """
    class Linear:
        def __init__(self, n_in, n_out):
            self.W, self.b = np.ones((n_in, n_out)), np.zeros(n_out)
        def forward(self, x):
            self.x = x
            return x @ self.W + self.b
        def backward(self, dout):
            self.dW, self.db = self.x.T @ dout, dout.sum(axis=0)
            return dout @ self.W.T

    def relu_forward(x):
        return np.maximum(x, 0), x

    def relu_backward(dout, cache):
        return dout * (cache > 0)

    def layernorm_forward(x, gamma, beta, ln_param):
        out, cache = batchnorm_forward(x.T, gamma[:, None], beta[:, None], ln_param)
        return out.T, cache

    def layernorm_backward(dout, cache):
        return dout, dout.sum(axis=0), dout.sum(axis=0)
"""


def file_of_three() -> str:
    """The pair, its alternative and the spatial pair, among layers of other kinds."""
    return functions() + textwrap.dedent(SPATIAL) + textwrap.dedent(OTHERS)


def test_a_file_with_three_gives_three_and_leaves_the_others() -> None:
    found = found_in(file_of_three()).found
    assert [(one.name, one.kinds) for one in found] == [
        ("batchnorm_backward", ("dense",)),
        ("spatial_batchnorm_backward", ("image",)),
        ("batchnorm_backward_alt", ("dense",)),
    ]
    assert [one.convention.axes for one in found] == [(), (4,), ()]


def test_the_one_that_is_named_is_found_alone() -> None:
    found = found_in(file_of_three(), "batchnorm_backward_alt").found
    assert [one.name for one in found] == ["batchnorm_backward_alt"]


def test_a_file_with_none_says_what_was_tried() -> None:
    recognition = found_in("import numpy as np\n" + textwrap.dedent(OTHERS))
    assert recognition.found == ()
    reasons = {attempt.name: attempt.reasons for attempt in recognition.attempts}
    assert set(reasons) == {"Linear", "relu_backward"}
    assert reasons["relu_backward"] == ("it runs, and its output is no batch normalisation of its input",)


def test_a_backward_alone_is_out_of_reach() -> None:
    recognition = found_in("def batchnorm_backward(dout, cache):\n    return dout\n")
    assert recognition.found == ()
    (attempt,) = recognition.attempts
    assert attempt.reasons == ("batchnorm_backward has no forward beside it, and a backward alone cannot be checked",)


def test_an_empty_file_has_nothing() -> None:
    assert found_in("") == Recognition((), ())


def test_a_pair_of_methods_of_a_network_is_found() -> None:
    source = """
        import numpy as np

        class Network:
            def __init__(self, hidden=10):
                self.W = np.ones((3, hidden))
            def forward(self, x):
                return x @ self.W
            def backward(self, dout):
                return dout @ self.W.T
            def bn_forward(self, x, gamma, beta):
                std = np.sqrt(x.var(axis=0) + 1e-5)
                x_hat = (x - x.mean(axis=0)) / std
                return gamma * x_hat + beta, (x_hat, std, gamma)
            def bn_backward(self, dout, cache):
                x_hat, std, gamma = cache
                g = dout * gamma
                dx = (g - g.mean(axis=0) - x_hat * (g * x_hat).mean(axis=0)) / std
                return dx, (dout * x_hat).sum(axis=0), dout.sum(axis=0)
    """
    (found,) = found_in(source).found
    assert found.name == "Network.bn_backward"
    assert is_right(seen(source, found, DENSE), found.gradients)


def test_a_layer_whose_constructor_is_told_the_kind_is_found_twice() -> None:
    start = (
        "self.shape = (1, d) if num_dims == 2 else (1, d, 1, 1); self.axis = 0 if num_dims == 2 else (0, 2, 3);"
        " self.gamma, self.beta = np.ones(self.shape), np.zeros(self.shape)"
    )
    source = layer(axis="self.axis", init="d, num_dims", start=start, keepdims=", keepdims=True")
    found = found_in(source).found
    assert [(one.name, one.kinds, one.convention.create) for one in found] == [
        ("BatchNorm", ("dense",), "BatchNorm(d, 2)"),
        ("BatchNorm", ("image",), "BatchNorm(d, 4)"),
    ]


def test_gamma_that_a_layer_keeps_twice_is_put_in_both_places() -> None:
    start = "self.gamma, self.beta = np.ones(d), np.zeros(d); self.params = [self.gamma, self.beta]"
    source = layer(start=start).replace("gamma = self.gamma", "gamma = self.params[0]")
    (found,) = found_in(source).found
    assert ("gamma", "self.gamma") in found.convention.set
    assert ("gamma", "self.params[0]") in found.convention.set
    assert is_right(seen(source, found, DENSE), found.gradients)


@pytest.mark.parametrize(
    "trap",
    [
        "raise SystemExit(3)",
        "raise KeyboardInterrupt",
        "raise MemoryError",
        "return self.forward(x)",
        "import os; os.never()",
    ],
)
def test_whatever_their_code_raises_is_caught_and_told(trap: str) -> None:
    recognition = found_in(layer(init="d, gadget", before=trap))
    assert recognition.found == ()
    assert len(recognition.attempts) == 1
    assert 1 <= len(recognition.attempts[0].reasons) <= 5


def test_a_result_that_raises_when_it_is_asked_for_its_numbers_is_told() -> None:
    odd = "type('Odd', (), {'__array__': lambda self, *_, **__: {}['numbers']})()"
    recognition = found_in(layer(before=f"return {odd}"))
    assert recognition.found == ()
    assert "KeyError: 'numbers'" in recognition.attempts[0].reasons[0]


def test_a_backward_that_runs_on_images_alone_is_not_blamed_for_what_it_raises_on_rows() -> None:
    source = layer().replace("gamma = self.gamma\n", "gamma = self.gamma\n        n, c, h, w = dout.shape\n")
    assert "n, c, h, w" in source
    recognition = found_in(source)
    assert recognition.found == ()
    assert any("not enough values to unpack" in reason for reason in recognition.attempts[0].reasons)


def test_a_pass_of_a_class_of_another_name_is_found_once() -> None:
    methods = functions().replace("import numpy as np", "").replace("(x, gamma", "(self, x, gamma")
    methods = methods.replace("(dout, cache)", "(self, dout, cache)")
    (found,) = found_in("import numpy as np\nclass Batch:\n" + textwrap.indent(methods, "    ")).found
    assert found.name == "Batch"


def test_what_a_call_leaves_in_the_module_is_not_in_the_way_of_the_next() -> None:
    running = "global mean; mean = x.mean(axis=0) if mean is None else 0.9 * mean + 0.1 * x.mean(axis=0)"
    source = "mean = None\n" + functions(eps=f"{running}; eps = 1e-5", last="**_")
    (found,) = found_in(source).found
    assert found.convention.parameters == "(d,)"


def test_the_same_file_gives_the_same_findings() -> None:
    source = layer(start="self.gamma, self.beta = np.random.randn(d), np.random.randn(d)")
    assert found_in(source) == found_in(source)


def test_findings_can_be_sent_to_another_process() -> None:
    recognition = found_in(file_of_three())
    assert pickle.loads(pickle.dumps(recognition)) == recognition


# --- as YAML -----------------------------------------------------------------------------------------------------


def convention_of(text: str) -> Convention:
    """The convention that a mapping says, as a config would read it."""
    given = yaml.safe_load(text)["implementation"]
    assert given.pop("file") == "layers.py"
    for key in ("set", "gradients"):
        places = given.get(key, {}).items()
        given[key] = tuple(
            (name, place) for name, found in places for place in (found if isinstance(found, list) else [found])
        )
    return Convention(**given | {"axes": tuple(given.get("axes", ()))})


@pytest.mark.parametrize("source", [source for source, _, _ in SPELLINGS.values()], ids=list(SPELLINGS))
def test_a_description_says_the_whole_convention(source: str) -> None:
    (found,) = found_in(source).found
    described = replace(found.convention, remarks=(), by_order=False)
    assert convention_of(describe(found.convention, "layers.py")) == described


@pytest.mark.parametrize("last", ["pass", "raise ValueError"])
def test_recognition_leaves_their_module_as_it_found_it(last: str) -> None:
    counting = "global calls; calls += 1; seen.append(x)"
    source = f"""
    calls, seen = 0, []

    def batchnorm_forward(x, gamma, beta, eps):
        {counting}
        std = np.sqrt(x.var(axis=0) + eps)
        x_hat = (x - x.mean(axis=0)) / std
        return gamma * x_hat + beta, (x_hat, std, gamma)

    def batchnorm_backward(dout, cache):
        {last}
        x_hat, std, gamma = cache
        g = dout * gamma
        dx = (g - g.mean(axis=0) - x_hat * (g * x_hat).mean(axis=0)) / std
        return dx, (dout * x_hat).sum(axis=0), dout.sum(axis=0)
    """
    namespace = executed(f"import numpy as np\n{textwrap.dedent(source)}")
    recognise(namespace)
    assert (namespace["calls"], namespace["seen"]) == (0, [])


def test_a_description_reads_as_a_user_would_write_it() -> None:
    (found,) = found_in(layer()).found
    assert describe(found.convention, "layers.py") == textwrap.dedent(
        """\
        implementation:
          file:      layers.py
          create:    BatchNorm(d)
          set:       {gamma: self.gamma, beta: self.beta}
          forward:   self.forward(x) -> out
          backward:  self.backward(dout) -> dx
          gradients: {gamma: self.dgamma, beta: self.dbeta}
          layout:    "(n, d)"
        """
    )


def test_a_place_that_stands_twice_is_described_as_a_list() -> None:
    convention = Convention(
        create="BatchNorm(d)",
        set=(("gamma", "self.gamma"), ("gamma", "self.params['gamma']"), ("beta", "self.beta")),
        forward="self.forward(x) -> out",
        backward="self.backward(dout) -> dx",
    )
    assert convention_of(describe(convention, "layers.py")) == convention


def test_a_mapping_to_correct_is_that_of_the_names_or_a_usual_one() -> None:
    assert convention_of(describe(BLANK, "layers.py")) == BLANK
    (attempt,) = found_in(layer(init="d, gadget", start="self.gamma = self.beta = gadget.parameters(d)")).attempts
    assert attempt.usual == replace(BLANK, create="BatchNorm(d, d)")
    (attempt,) = found_in(functions(last="gadget").replace("bn_param.get('eps', 1e-5)", "gadget.eps")).attempts
    assert attempt.usual is not None
    assert attempt.usual.backward == "batchnorm_backward(dout, cache) -> dx, dgamma, dbeta"


ORDERS = {
    "by the names that are returned": ("dx, dbeta, dgamma", "-> dx, dbeta, dgamma", False),
    "by nothing but the usual order": ("dx, one, other", "-> dx, dgamma, dbeta", True),
    "by what they are sums of": ("dx, dout.sum(axis=0), (dout * x_hat).sum(axis=0)", "-> dx, dbeta, dgamma", False),
    "by their attributes": ("dx, kept.dbeta, kept.dgamma", "-> dx, dbeta, dgamma", False),
}
KEPT = "import types\nkept = types.SimpleNamespace()\n"


@pytest.mark.parametrize("gradients", ORDERS)
def test_the_order_of_what_is_returned_is_read(gradients: str) -> None:
    returned, target, by_order = ORDERS[gradients]
    spoilt = "kept.dgamma, kept.dbeta = dgamma, dbeta\n    one, other = [dgamma, dbeta]\n    return dx"
    source = KEPT + functions(gradients=returned).replace("return dx", spoilt)
    (found,) = found_in(source).found
    assert found.convention.backward.endswith(target)
    assert found.convention.by_order == by_order
    assert found.convention.remarks == (
        (f"batchnorm_backward returns {target[3:]}",) if "dbeta, dgamma" in target else ()
    )


def test_gradients_swapped_under_their_own_names_are_read_under_these() -> None:
    source = functions().replace(
        "dgamma, dbeta = (dout * x_hat).sum(axis=0), dout.sum(axis=0)",
        "dbeta, dgamma = (dout * x_hat).sum(axis=0), dout.sum(axis=0)",
    )
    (found,) = found_in(source).found
    assert found.convention.backward == "batchnorm_backward(dout, cache) -> dx, dgamma, dbeta"
    answer = seen(source, found, DENSE)
    assert np.allclose(answer.answer.of("gamma"), answer.right.of("beta"))  # type: ignore[arg-type]


def test_a_state_that_a_forward_writes_into_is_an_empty_dictionary() -> None:
    eps = "state['mean'] = state.get('mean', 0) + x.mean(axis=0); eps = 1e-5"
    (found,) = found_in(functions(last="state", eps=eps)).found
    assert found.convention.forward == "batchnorm_forward(x, gamma, beta, {}) -> out, cache"


def test_both_parameters_in_one_argument_are_handed_over_as_a_tuple() -> None:
    source = functions(last="**_", eps="gamma, beta = params; eps = 1e-5")
    source = source.replace("(x, gamma, beta, **_)", "(x, params)")
    (found,) = found_in(source).found
    assert found.convention.forward == "batchnorm_forward(x, (gamma, beta)) -> out, cache"
    assert is_right(seen(source, found, DENSE), found.gradients)
