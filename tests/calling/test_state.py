"""What outlives a call: variables of a module put back, and the statistics that a dx was made with."""

from __future__ import annotations

import textwrap
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bncheck.calling.implementation import bind
from bncheck.calling.state import State
from bncheck.case import Case, Convention, Verdict
from bncheck.checking import check
from bncheck.report import CaseReport

CASE = Case(shape=(6, 4))


def module(source: str) -> dict[str, Any]:
    """The namespace of a module with that source."""
    namespace: dict[str, Any] = {"np": np}
    exec(textwrap.dedent(source), namespace)
    return namespace


# --- what is put back ------------------------------------------------------------------------------------------------

# What stands in the module, what a call of f does to it, and what is looked at.
CHANGES = {
    "a number": ("count = 0", "global count; count += 1", "count"),
    "a variable that is made by the call": ("", "global late; late = 1", "globals().get('late')"),
    "an array that is written into": ("a = np.zeros(3)", "a[1] += 1", "a.tolist()"),
    "an array that is replaced": ("a = np.zeros(3)", "global a; a = a + 1", "a.tolist()"),
    "an array without axes": ("a = np.array(0.0)", "a[...] = 1", "float(a)"),
    "a list": ("a = [1]", "a.append(2)", "a"),
    "a list whose item is replaced": ("a = [1]", "a[0] = 2", "a"),
    "a dict": ("a = {'b': 1}", "a['c'] = 2; del a['b']", "a"),
    "a set": ("a = {1}", "a.add(2)", "a"),
    "a deque": ("a = deque([1], maxlen=1)", "a.append(2)", "a"),
    "a defaultdict": ("a = defaultdict(int)", "a[1] += 1", "dict(a)"),
    "a Counter": ("a = Counter()", "a[1] += 1", "dict(a)"),
    "an OrderedDict": ("a = OrderedDict(b=1, c=2)", "a.move_to_end('b'); a['b'] = 3", "list(a.items())"),
    "an array in a dict in a list": ("a = [{'b': np.zeros(2)}]", "a[0]['b'] += 1", "a[0]['b'].tolist()"),
    "a list in a tuple": ("a = ([1],)", "a[0].append(2)", "a"),
    "a list that holds itself": ("a = [1]; a.append(a)", "a[0] = 2", "a[0]"),
    "what a function that it calls does": ("count = 0", "g()", "count"),
    "what a function in a list does": ("count = 0; steps = [lambda: g()]", "steps[0]()", "count"),
    "an attribute of a class": ("class C:\n    count = 0\n    def m(self): pass", "C.count += 1", "C.count"),
    "a new attribute of a class": ("class C:\n    def m(self): pass", "C.late = 1", "getattr(C, 'late', 0)"),
    "an attribute of a base": (
        "class B:\n    seen = []\n    def m(self): pass\nclass C(B):\n    def n(self): pass",
        "C.seen.append(1)",
        "B.seen",
    ),
    "an object": ("class C:\n    def __init__(self): self.n = 0\nc = C()", "c.n += 1", "c.n"),
    "a default argument": ("def h(a=[]): a.append(1); return len(a)", "h()", "h.__defaults__"),
    "an attribute of a function": ("def h(): pass\nh.count = 0", "h.count += 1", "h.count"),
    "a list in a closure": (
        "def make():\n    n = []\n    def h():\n        n.append(1)\n    return h\nh = make()",
        "h()",
        "h.__closure__[0].cell_contents",
    ),
    "two names of one list": ("a = [1]; b = a", "a.append(2); b.append(3)", "(a, a is b)"),
}
HELPERS = "def g():\n    global count\n    count = globals().get('count', 0) + 1\n"
NAMES = {"deque": deque, "defaultdict": defaultdict, "Counter": Counter, "OrderedDict": OrderedDict, "np": np}


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_call_changes_is_put_back(change: str) -> None:
    before, call, look = CHANGES[change]
    namespace: dict[str, Any] = dict(NAMES)
    exec(f"{HELPERS}{before}\ndef f():\n    {call}\n", namespace)
    was = repr(eval(look, namespace))
    state = State([namespace["f"]])
    for _ in range(2):
        namespace["f"]()
        assert repr(eval(look, namespace)) != was
        state.put_back()
        assert repr(eval(look, namespace)) == was


def test_what_is_put_back_is_the_same_object() -> None:
    namespace = module("a = {'b': [1]}\ndef f():\n    a['b'].append(2); a['b'] = None")
    outer, inner = namespace["a"], namespace["a"]["b"]
    state = State([namespace["f"]])
    namespace["f"]()
    state.put_back()
    assert namespace["a"] is outer
    assert namespace["a"]["b"] is inner
    assert inner == [1]


def test_what_the_functions_do_not_name_is_left_alone() -> None:
    namespace = module("mine = []\ndef f():\n    return 1")
    state = State([namespace["f"]])
    namespace["mine"].append(1)
    namespace["new"] = 2
    state.put_back()
    assert (namespace["mine"], namespace["new"]) == ([1], 2)


def test_a_namespace_with_builtins_in_it_is_put_back() -> None:
    namespace = module("functions = {'__builtins__': __builtins__}\ndef f():\n    functions['g'] = len")
    state = State([namespace["f"]])
    namespace["f"]()
    state.put_back()
    assert list(namespace["functions"]) == ["__builtins__"]


def test_an_array_that_cannot_be_written_is_left_alone() -> None:
    namespace = module("a = np.zeros(3); a.flags.writeable = False\ndef f():\n    return a")
    State([namespace["f"]]).put_back()
    assert not namespace["a"].flags.writeable


@pytest.mark.parametrize("root", [np.linalg.norm, np.ndarray, len, 3, "text", None, np])
def test_what_is_not_written_by_a_user_has_no_state(root: object) -> None:
    State([root]).put_back()


# --- layers and functions with state -----------------------------------------------------------------------------

FUNCTIONS = """
    calls, seen, sums = 0, [], {'gamma': np.zeros(4)}

    def forward(x, gamma, beta, eps):
        # forward
        std = np.sqrt(x.var(axis=0) + eps)
        x_hat = (x - x.mean(axis=0)) / std
        return gamma * x_hat + beta, (x_hat, std, gamma)

    def backward(dout, cache):
        x_hat, std, gamma = cache
        dgamma, dbeta, g = (dout * x_hat).sum(axis=0), dout.sum(axis=0), dout * gamma
        dx = (g - g.mean(axis=0) - x_hat * (g * x_hat).mean(axis=0)) / std
        # backward
        return dx, dgamma, dbeta
"""
BY_FUNCTIONS = Convention(
    forward="forward(x, gamma, beta, eps) -> out, cache", backward="backward(dout, cache) -> dx, dgamma, dbeta"
)


def checked(source: str, name: str, convention: Convention) -> CaseReport:
    """A check of what a module has under that name."""
    return check(CASE, bind(module(source), name, convention, CASE))


def told(report: CaseReport) -> dict[str, str]:
    """The sentences about the rows that fail."""
    return {row.node: row.note for row in report.comparisons if row.verdict is Verdict.FAIL}


@pytest.mark.parametrize(
    "code",
    [
        "global calls; calls += 1; x = x * (1 + (calls > 2))",
        "seen.append(x); x = x if len(seen) < 3 else seen[0]",
        "sums['gamma'] += 1; x = x + (sums['gamma'][0] > 2) * np.eye(*x.shape)",
    ],
    ids=["a counter", "a list", "an array in a dict"],
)
def test_functions_find_their_module_as_it_was(code: str) -> None:
    report = checked(FUNCTIONS.replace("# forward", code), "backward", BY_FUNCTIONS)
    assert (report.verdict, told(report)) == (Verdict.PASS, {})


def test_gradients_that_add_up_in_a_module_are_not_wrong() -> None:
    source = FUNCTIONS.replace("# backward", "sums['gamma'] += dgamma")
    convention = replace(
        BY_FUNCTIONS, backward="backward(dout, cache) -> dx, _, dbeta", gradients=(("gamma", "sums['gamma']"),)
    )
    report = checked(source, "backward", convention)
    assert (report.verdict, told(report)) == (Verdict.PASS, {})


LAYER = """
    class Layer:
        total = 0

        def __init__(self, d, eps):
            self.gamma, self.beta, self.eps, self.queue = np.ones(d), np.zeros(d), eps, []
            self.running_mean, self.running_var = np.zeros(d), np.ones(d)
            self.seen = False

        def forward(self, x):
            mean, var = x.mean(axis=0), x.var(axis=0)
            if not self.seen:
                self.running_mean, self.running_var, self.seen = mean, var, True
            self.running_mean = 0.9 * self.running_mean + 0.1 * mean
            self.running_var = 0.9 * self.running_var + 0.1 * var
            self.std = np.sqrt(var + self.eps)
            self.x_hat = (x - mean) / self.std
            self.x = x
            # forward
            return self.gamma * self.x_hat + self.beta

        def backward(self, dout):
            # queue
            std, x_hat = self.std, self.x_hat
            # statistics
            n, dbeta, dgamma = len(dout), dout.sum(axis=0), (dout * x_hat).sum(axis=0)
            dx = self.gamma / (n * std) * (n * dout - dbeta - x_hat * dgamma)
            self.dgamma, self.dbeta = (dout * self.x_hat).sum(axis=0), dout.sum(axis=0)
            # backward
            return dx

        def METHOD(self):
            self.queue.clear()
"""
CONVENTION = Convention(
    create="Layer(d, eps=eps)",
    set=(("gamma", "self.gamma"), ("beta", "self.beta")),
    forward="self.forward(x) -> out",
    backward="self.backward(dout) -> dx",
    gradients=(("gamma", "self.dgamma"), ("beta", "self.dbeta")),
)

QUEUES = "self.queue.append((self.x_hat, self.std)); self.x_hat, self.std = self.queue[0]"
RAISES = "self.queue.append(x); assert len(self.queue) == 1"


@pytest.mark.parametrize("method", ["update", "reset", "flush_cache", "clear", "zero_grad", "step"])
@pytest.mark.parametrize("arguments", ["self", "self, rate"])
@pytest.mark.parametrize(("place", "code"), [("queue", QUEUES), ("forward", RAISES)], ids=["the first", "raises"])
def test_a_layer_that_keeps_its_batches_until_a_method_of_its_own_is_called_is_not_wrong(
    place: str, code: str, arguments: str, method: str
) -> None:
    source = LAYER.replace(f"# {place}\n", f"{code}\n").replace("METHOD(self)", f"{method}({arguments})")
    report = checked(source, "Layer", CONVENTION)
    assert (report.verdict, told(report)) == (Verdict.PASS, {})
    assert (
        report.note == f"a second batch goes right only after its own {method}(): it keeps what it is given until then"
    )


AFTER = "differs after another batch has gone through"


def test_a_layer_that_keeps_its_batches_and_has_no_such_method_is_wrong() -> None:
    report = checked(LAYER.replace("# queue\n", f"{QUEUES}\n"), "Layer", CONVENTION)
    assert told(report) == {"x": f"dx {AFTER}", "gamma": f"dgamma {AFTER}"}


def test_what_their_code_raises_on_a_second_batch_comes_through() -> None:
    with pytest.raises(AssertionError):
        checked(LAYER.replace("# forward\n", f"{RAISES}\n"), "Layer", CONVENTION)


def test_a_statistic_of_the_first_batch_in_backward_is_told_as_that() -> None:
    code = "self.first = getattr(self, 'first', self.std); std = self.first"
    assert told(checked(LAYER.replace("# statistics", code), "Layer", CONVENTION)) == {
        "x": f"dx {AFTER}; it is what comes where self.first stands for the statistics of the batch: "
        "statistics of the first batch in backward"
    }


RUNNING = {
    "var, closed form": ("std = np.sqrt(self.running_var + self.eps)", "self.running_var"),
    "mean and var, closed form": (
        "std = np.sqrt(self.running_var + self.eps); x_hat = (self.x - self.running_mean) / std",
        "self.running_mean and self.running_var",
    ),
}


@pytest.mark.parametrize("code", RUNNING)
def test_running_statistics_in_backward_are_told_as_that(code: str) -> None:
    spelt, places = RUNNING[code]
    report = checked(LAYER.replace("# statistics", spelt), "Layer", CONVENTION)
    stand = "stand" if "and" in places else "stands"
    sentence = (
        "dx differs after another batch has gone through; "
        f"it is what comes where {places} {stand} for the statistics of the batch: running statistics in backward"
    )
    assert told(report) == {"x": sentence}


def test_a_dx_that_changes_for_another_reason_is_not_said_to_have_running_statistics() -> None:
    source = LAYER.replace("# backward", "self.total += 1; dx = dx * self.total")
    assert told(checked(source, "Layer", CONVENTION)) == {"x": "dx differs after another batch has gone through"}


def test_a_check_leaves_their_module_as_it_found_it() -> None:
    namespace = module(FUNCTIONS.replace("# forward", "seen.append(1); global calls; calls += 1"))
    bound = bind(namespace, "backward", BY_FUNCTIONS, CASE)
    with bound.state:
        check(CASE, bound)
        assert namespace["calls"] > 0
    assert (namespace["calls"], namespace["seen"]) == (0, [])
