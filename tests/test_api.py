"""`bncheck.check` as notebooks and tests call it: what it takes, what it says, and what it leaves alone."""

from __future__ import annotations

import functools
import gc
import io
import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import bncheck
from bncheck import api
from bncheck.case import Case, Verdict
from bncheck.config.schema import KEYS, SINGULARS
from bncheck.files.loading import load
from bncheck.gradients.comparison import Comparison, Element
from bncheck.recognition import recognition
from bncheck.report import CaseReport
from bncheck.status import ExitStatus
from tests.test_architecture import loaded_by
from tests.test_discovery import LAYERS

TOP = Path(__file__).parents[1]
NODES = ["out", "beta", "gamma", "mean", "var", "x"]
CHECK: Callable[..., bncheck.Report] = bncheck.check  # for what a type checker would refuse


def batchnorm_forward(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    std = np.sqrt(x.var(axis=0) + eps)
    x_hat = (x - x.mean(axis=0)) / std
    return gamma * x_hat + beta, (x_hat, std, gamma)


def batchnorm_backward(dout: Any, cache: Any) -> Any:
    x_hat, std, gamma = cache
    dbeta, dgamma = dout.sum(axis=0), (dout * x_hat).sum(axis=0)
    return gamma / (len(dout) * std) * (len(dout) * dout - dbeta - x_hat * dgamma), dgamma, dbeta


def without_the_variance(dout: Any, cache: Any) -> Any:
    x_hat, std, gamma = cache
    dbeta, dgamma = dout.sum(axis=0), (dout * x_hat).sum(axis=0)
    return gamma / (len(dout) * std) * (len(dout) * dout - dbeta), dgamma, dbeta


class BatchNorm:
    def __init__(self, d: int, eps: float = 1e-5) -> None:
        self.gamma, self.beta, self.eps = np.ones(d), np.zeros(d), eps

    def forward(self, x: Any) -> Any:
        out, self.cache = batchnorm_forward(x, self.gamma, self.beta, self.eps)
        return out

    def backward(self, dout: Any) -> Any:
        dx, self.dgamma, self.dbeta = batchnorm_backward(dout, self.cache)
        return dx


def labels(report: bncheck.Report) -> list[str]:
    return [found.case.label for found in report.cases]


def nodes(report: bncheck.Report) -> list[str]:
    (found,) = report.cases
    return [comparison.node for comparison in found.comparisons]


@pytest.fixture
def layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A course file in the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "layers.py").write_text(LAYERS, encoding="utf-8")
    return tmp_path / "layers.py"


# --- what is checked -----------------------------------------------------------------------------------------------


def test_a_right_pair_passes_at_65_by_67_with_seed_0() -> None:
    report = bncheck.check(batchnorm_forward, batchnorm_backward)
    assert report.passed
    assert labels(report) == ["65x67 seed=0"]
    assert nodes(report) == NODES


def test_a_pair_that_forgets_a_route_fails_with_its_diagnosis() -> None:
    report = bncheck.check(batchnorm_forward, without_the_variance, shape=(4, 5))
    assert not report.passed
    assert "x: the route through var is missing (coefficient 0.000, expected 1)" in str(report)


PAIRS = {
    "functions of their own names": ((batchnorm_forward, batchnorm_backward), "batchnorm_backward"),
    "lambdas": ((lambda a, b, c: batchnorm_forward(a, b, c), lambda d, c: batchnorm_backward(d, c)), "backward"),
    "partials": ((functools.partial(batchnorm_forward), functools.partial(batchnorm_backward)), "backward"),
    "one name for both": (
        (functools.wraps(batchnorm_forward)(lambda *a: 0), functools.wraps(batchnorm_forward)(lambda *a: 0)),
        "backward",
    ),
}


@pytest.mark.parametrize(("pair", "name"), PAIRS.values(), ids=PAIRS)
def test_a_pair_is_called_by_its_backward_where_that_is_a_name(pair: tuple[Any, Any], name: str) -> None:
    report = CHECK(*pair, shape=(4, 5))
    assert [found.case.implementation for found in report] == [name]


def test_names_that_pair_nothing_are_taken_as_the_forward_and_the_backward() -> None:
    def gamma(z: Any, scale: Any, shift: Any, eps: float) -> Any:  # a name that patterns have a meaning for
        return batchnorm_forward(z, scale, shift, eps)

    def undo(upstream: Any, saved: Any) -> Any:
        return batchnorm_backward(upstream, saved)

    report = bncheck.check(gamma, undo, shapes=[(4, 5), (6, 3)], seeds=2)
    assert report.passed
    assert labels(report) == ["4x5 seed=0", "4x5 seed=1", "6x3 seed=0", "6x3 seed=1"]


def test_functions_handed_over_need_no_name_of_batch_normalisation() -> None:
    def relu_forward(x: Any, gamma: Any, beta: Any) -> Any:
        raise ValueError("boom")

    def relu_backward(dout: Any, cache: Any) -> Any:
        return dout

    (found,) = bncheck.check(relu_forward, relu_backward)
    assert (found.verdict.value, found.reason.rpartition(" ")[2]) == ("error", "boom")


def test_a_class_that_is_handed_over_is_tried_whatever_its_name() -> None:
    assert bncheck.check(type("LayerNorm", (BatchNorm,), {}), shape=(4, 5)).passed


def test_a_class_is_checked_under_its_name() -> None:
    report = bncheck.check(BatchNorm, shape=(4, 5))
    assert report.passed
    assert str(report).startswith("4x5 seed=0  BatchNorm, train, float64, eps 1.3e-05, ")


@pytest.mark.parametrize("place", ["layers.py", Path("layers.py"), {"file": "layers.py"}], ids=["text", "path", "keys"])
@pytest.mark.parametrize("in_process", [False, True], ids=["worker", "in process"])
def test_a_file_is_checked_with_all_that_is_in_it(layers: Path, place: Any, in_process: bool) -> None:
    report = bncheck.check(place, shape=(6, 4), in_process=in_process)
    assert report.passed
    assert labels(report) == ["batchnorm_backward 6x4 seed=0", "batchnorm_backward_alt 6x4 seed=0"]


@pytest.mark.parametrize("in_process", [False, True], ids=["worker", "in process"])
def test_formulas_are_checked_as_a_string(in_process: bool) -> None:
    text = "dgamma = np.sum(dout * x_hat, axis=0)\ndbeta = np.mean(dout, axis=0)"
    report = bncheck.check(text, shape=(6, 4), in_process=in_process)
    rows = {row.node: str(row.verdict) for row in report.cases[0].comparisons}
    assert rows == {"gamma": "pass", "beta": "fail", "mean": "skipped", "var": "skipped", "x": "skipped"}
    with pytest.raises(
        ValueError, match=r"^error: formulas:1 `dx = foo`: foo has no value; write a line for it, or use"
    ):
        bncheck.check("dx = foo", shape=(6, 4), in_process=in_process)


def test_a_name_in_a_file_selects_it(layers: Path) -> None:
    assert labels(bncheck.check("layers.py:batchnorm_backward_alt", shape=(6, 4))) == ["6x4 seed=0"]
    assert labels(bncheck.check("layers:batchnorm_backward_alt", shape=(6, 4))) == ["6x4 seed=0"]


@pytest.mark.parametrize("in_process", [False, True], ids=["worker", "in process"])
def test_a_file_that_was_changed_between_two_calls_is_read_again(layers: Path, in_process: bool) -> None:
    place = "layers.py:batchnorm_backward"
    assert bncheck.check(place, shape=(6, 4), in_process=in_process).passed
    layers.write_text(LAYERS.replace("- x_hat * (dx_hat * x_hat)", "+ x_hat * (dx_hat * x_hat)"), encoding="utf-8")
    assert not bncheck.check(place, shape=(6, 4), in_process=in_process).passed


@pytest.mark.parametrize("code", [(), (None,)], ids=["nothing", "None"])
def test_nothing_given_is_not_a_pass(code: tuple[Any, ...]) -> None:
    says = "the implementation is None" if code else "nothing is given to be checked"
    hint = "give a forward and a backward function, a class, or a place such as 'layers.py'"
    settings: dict[str, Any] = {"shape": (7, 4)} if code else {}
    with pytest.raises(ValueError, match=f"^error: {says}; {hint}$"):
        bncheck.check(*code, **settings)


def with_itself() -> list[object]:
    """A list that has itself in it."""
    found: list[object] = []
    found.append(found)
    return found


@pytest.mark.parametrize(
    "value",
    [with_itself(), [[range(10**9)]], {"x": range(10**9)}, np.zeros(10**6)],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_end_is_a_mistake_at_once(value: Any) -> None:
    says = "^error: the keyword seeds holds more values than a config can, or itself; give fewer$"
    with pytest.raises(ValueError, match=says):
        bncheck.check(shape=(7, 4), seeds=value)


def test_float_is_float64() -> None:
    assert [found.case.dtype for found in bncheck.check(shape=(7, 4), dtype=[float, np.float32])] == [
        "float64",
        "float32",
    ]


def test_a_coroutine_is_refused() -> None:
    async def backward(dout: Any, cache: Any) -> Any:
        return dout

    says = "^error: backward is a coroutine; give a function without async, or run it in one$"
    with pytest.raises(ValueError, match=says):
        bncheck.check(lambda x, gamma, beta, eps: (x, None), backward)


def test_ours_are_checked_by_name_and_where_only_shapes_are_given() -> None:
    assert [found.case.implementation for found in bncheck.check(shape=(7, 4))] == ["reference"]
    assert [found.case.implementation for found in bncheck.check("closed-form")] == ["closed-form"]
    assert [found.case.implementation for found in bncheck.check(implementation="closed-form")] == ["closed-form"]


# --- on what -------------------------------------------------------------------------------------------------------

SETTINGS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "lists of tuples": ({"shapes": [(4, 5), (3, 2)]}, ["4x5 seed=0", "3x2 seed=0"]),
    "an array of NumPy": ({"shapes": np.array([[4, 5], [3, 2]])}, ["4x5 seed=0", "3x2 seed=0"]),
    "text": ({"shape": "4x5"}, ["4x5 seed=0"]),
    "a count of NumPy": ({"shape": (4, 5), "seeds": np.int64(2)}, ["4x5 seed=0", "4x5 seed=1"]),
    "a range": ({"shape": (4, 5), "seeds": range(3, 5)}, ["4x5 seed=3", "4x5 seed=4"]),
    "a matrix of eps": ({"shape": (4, 5), "eps": [1e-5, 1e-8]}, ["4x5 eps=1e-05 seed=0", "4x5 eps=1e-08 seed=0"]),
    "types": (
        {"shape": (4, 5), "dtype": [np.float32, np.dtype("float64")]},
        ["4x5 dtype=float32 seed=0", "4x5 dtype=float64 seed=0"],
    ),
    "a mapping for x": ({"shape": (4, 5), "x": {"std": np.float32(0.5)}}, ["4x5 seed=0"]),
    "None, which is as good as nothing": ({"shape": (4, 5), "rtol": None, "seeds": None}, ["4x5 seed=0"]),
    "cases, which inherit": (
        {"eps": 1e-3, "cases": [{"name": "a", "shape": (4, 5)}, {"name": "b", "eps": 1e-8}]},
        ["a 4x5 seed=0", "b 65x67 seed=0"],
    ),
}


@pytest.mark.parametrize(("settings", "expected"), SETTINGS.values(), ids=SETTINGS)
def test_settings_are_the_keys_of_a_config_with_values_of_python(settings: dict[str, Any], expected: list[str]) -> None:
    report = CHECK(batchnorm_forward, batchnorm_backward, **settings)
    assert report.passed
    assert labels(report) == expected


def test_every_key_of_a_config_is_a_setting() -> None:
    assert set(api.Settings.__annotations__) == {*KEYS, *SINGULARS, "cases"}


def test_settings_say_the_same_as_a_config(layers: Path) -> None:
    config = layers.with_name("checks.yaml")
    config.write_text("shape: [4, 5]\nx: {std: 1e-4}\nseeds: 2\ncases: [{eps: 1e-3, name: a}, {name: b}]\n")
    cases: list[dict[str, Any]] = [{"eps": 1e-3, "name": "a"}, {"name": "b"}]
    written, said = bncheck.check(config=config), bncheck.check(shape=(4, 5), x={"std": 1e-4}, seeds=2, cases=cases)
    assert [found.comparisons for found in written] == [found.comparisons for found in said]
    assert labels(written) == labels(said)


def test_settings_and_the_implementation_come_over_those_of_a_file_and_its_cases(layers: Path) -> None:
    config = layers.with_name("checks.yaml")
    both = "implementation: [layers.py, reference]\n"
    config.write_text(f"{both}shape: [6, 4]\neps: 1e-3\ncases: [{{name: a}}, {{name: b, eps: 1e-4}}]\n")
    by_name = bncheck.check("closed-form", config=config, eps=1e-8)
    assert [(found.case.implementation, found.case.eps) for found in by_name] == [("closed-form", 1e-8)] * 2
    by_hand = bncheck.check(BatchNorm, config=str(config))
    assert [(found.case.implementation, found.case.eps) for found in by_hand] == [
        ("BatchNorm", 1e-3),
        ("BatchNorm", 1e-4),
    ]


# --- what is refused -------------------------------------------------------------------------------------------------

EXPECTED = "give a forward and a backward function, a class, or a place such as 'layers.py'"
TRIAN = "error: mode is 'trian', expected train or eval\n  --> keyword mode=trian\n"
MISTAKES: dict[str, tuple[tuple[Any, ...], dict[str, Any], str]] = {
    "an unknown key": (
        (),
        {"shap": [(4, 5)]},
        "error: unknown key 'shap'\n  --> keyword shap=[[4, 5]]\n  | shap=[[4, 5]]\n  | ^^^^ did you mean 'shapes'?",
    ),
    "a wrong word": ((), {"mode": "trian"}, f"{TRIAN}  | mode=trian\n  |      ^^^^^ did you mean 'train'?"),
    "a number as text": (
        (),
        {"eps": "1e-5"},
        "error: eps is '1e-5', expected a finite number >= 0\n"
        '  --> keyword eps="1e-5"\n  | eps="1e-5"\n  |     ^^^^^^ remove the quotes',
    ),
    "not a number": (
        (),
        {"eps": np.nan},
        "error: eps is .nan, expected a finite number >= 0\n  --> keyword eps=.nan\n  | eps=.nan\n  |     ^^^^",
    ),
    "one row": (
        (),
        {"shape": (1, 4)},
        "error: shape (1, 4) has n = 1, and batch statistics of one row are constant\n"
        "  --> keyword shape=[1, 4]\n  | shape=[1, 4]\n  |       ^^^^^^ use n >= 2, or mode: eval",
    ),
    "a key of a case": (
        (),
        {"cases": [{"shap": 3}]},
        "error: unknown key 'shap' in cases[0]\n"
        "  --> keyword cases=[{shap: 3}]\n  | cases=[{shap: 3}]\n  |         ^^^^ did you mean 'shapes'?",
    ),
    "two mistakes": (
        (),
        {"mode": "trian", "seeds": -1},
        f"{TRIAN}  | mode=trian\n  |      ^^^^^ did you mean 'train'?\n\n"
        "error: seeds is -1, expected a whole number from 1 to 1000000\n  --> keyword seeds=-1\n"
        "  | seeds=-1\n  |       ^^",
    ),
    "a place that is none": (
        ("refrence",),
        {},
        "error: implementation is 'refrence', expected reference, closed-form, a file such as layers.py or a module "
        "such as package.module\n  --> bncheck.check('refrence')\n  | refrence\n  | ^^^^^^^^ did you mean 'reference'?",
    ),
    "a file that is not there": (("nets.py",), {}, "error: there is no file nets.py; check the path"),
    "a config that is not there": ((), {"config": "nets.yaml"}, "error: nets.yaml does not exist"),
    "an object that no config can hold": (
        (),
        {"x": {"std": object()}},
        "error: the keyword x holds a value of type object, and no config can; give numbers, text, a list or a mapping",
    ),
    "functions as keywords": (
        (),
        {"forward": batchnorm_forward, "backward": batchnorm_backward},
        "error: the keyword forward holds a function; write bncheck.check(forward, backward, ...)",
    ),
    "a forward alone": (
        (batchnorm_forward,),
        {},
        "error: batchnorm_forward is given alone; give its other half: bncheck.check(forward, backward)",
    ),
    "an object in place of its class": (
        (BatchNorm(4),),
        {},
        f"error: the implementation is of type BatchNorm; {EXPECTED}",
    ),
    "three arguments": (
        (batchnorm_forward, batchnorm_backward, 3),
        {},
        f"error: the implementation is of type function, function, int; {EXPECTED}",
    ),
    "two implementations": (
        (BatchNorm,),
        {"implementation": "reference"},
        "error: the implementation is given twice, as an argument and as the keyword implementation; keep one of them",
    ),
    "a name over a file": (
        (),
        {"config": "checks.yaml", "name": "a"},
        "error: the keyword name is given together with config; write it in the file",
    ),
    "a class that is none": (
        (dict,),
        {},
        "error: dict is not recognised as batch normalisation\n"
        "  it needs methods such as forward(self, x) and backward(self, dout)",
    ),
}


@pytest.mark.parametrize(("given", "settings", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_a_value_error_with_the_message_of_the_command_line(
    given: tuple[Any, ...],
    settings: dict[str, Any],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(bncheck.StartError) as refused:
        CHECK(*given, **settings)
    assert isinstance(refused.value, ValueError)
    assert str(refused.value) == message


def test_a_pair_that_is_not_recognised_is_told_with_what_was_tried_and_what_to_do() -> None:
    def forward(x: Any, gadget: Any) -> Any:
        return gadget.turned(x)

    with pytest.raises(bncheck.StartError) as refused:
        bncheck.check(forward, batchnorm_backward)
    first, advice, tried = str(refused.value).splitlines()
    assert first == "error: forward and batchnorm_backward are not recognised as batch normalisation"
    assert advice == (
        "  name the arguments as in forward(x, gamma, beta, eps) -> out, cache and "
        "batchnorm_backward(dout, cache) -> dx, dgamma, dbeta"
    )
    assert tried.startswith("  batchnorm_backward: forward(x, ")
    assert "AttributeError: " in tried


# --- what their code may do ------------------------------------------------------------------------------------------


def raising(*_: Any) -> Any:
    raise ValueError("boom")


def test_what_their_code_raises_is_an_error_row_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(TOP)
    line = raising.__code__.co_firstlineno + 1
    for pair in ((raising, batchnorm_backward), (batchnorm_forward, raising)):
        (found,) = CHECK(*pair)
        assert (found.verdict.value, found.reason) == ("error", f"tests/test_api.py:{line} raising: ValueError: boom")


def test_what_their_code_prints_stays_off_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    def talkative(dout: Any, cache: Any) -> Any:
        print("a word")
        return batchnorm_backward(dout, cache)

    assert bncheck.check(batchnorm_forward, talkative, shape=(4, 5)).passed
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "a word" in captured.err


def test_a_check_leaves_the_process_as_it_was(layers: Path) -> None:
    layers.write_text(f"{LAYERS}\nnp.seterr(all='raise')\n", encoding="utf-8")
    random.seed(5)
    np.random.seed(5)

    def meddling(dout: Any, cache: Any) -> Any:
        warnings.simplefilter("always")
        np.random.rand()
        random.random()
        return batchnorm_backward(dout, cache)

    def surroundings() -> Any:
        states = random.getstate(), str(np.random.get_state())
        return (*states, list(sys.path), list(warnings.filters), np.geterr(), gc.isenabled(), os.getcwd())

    before = surroundings()
    bncheck.check(batchnorm_forward, meddling)
    bncheck.check("layers.py", in_process=True, shape=(6, 4))
    bncheck.check("layers.py", shape=(6, 4))
    assert surroundings() == before


def test_what_their_code_warns_of_while_its_calls_are_tried_is_not_heard() -> None:
    def warning(x: Any, gamma: Any, beta: Any) -> Any:
        if x.shape == (6, 4):
            warnings.warn("six by four", stacklevel=1)
        return batchnorm_forward(x, gamma, beta)

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        assert bncheck.check(warning, batchnorm_backward, shape=(4, 5)).passed
        assert heard == []


def test_a_check_does_not_turn_the_collector_on(layers: Path) -> None:
    gc.disable()
    try:
        bncheck.check(batchnorm_forward, batchnorm_backward)
        bncheck.check("layers.py", in_process=True, shape=(6, 4))
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_check_works_in_another_thread_than_the_main_one(layers: Path) -> None:
    found: list[bncheck.Report] = []

    def work() -> None:
        found.append(bncheck.check(batchnorm_forward, batchnorm_backward))
        found.append(bncheck.check("layers.py", shape=(6, 4)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert [report.passed for report in found] == [True, True]


THREADS = """
import random, sys, threading, time, warnings
import numpy as np
import bncheck
from tests.test_api import batchnorm_backward, batchnorm_forward

def meddling(dout, cache):
    print("a word")
    warnings.filters.insert(0, ("ignore", None, Warning, None, 0))
    random.random(), np.random.rand()
    time.sleep(0.02)
    return batchnorm_backward(dout, cache)

def surroundings():
    return sys.stdout, list(warnings.filters), random.getstate(), str(np.random.get_state()), list(sys.path)

def work(number):
    if number % 2:
        found.append(bncheck.check(batchnorm_forward, meddling, shape=(4, 5), name="a pair").passed)
    else:
        found.append(bncheck.check("layers.py", in_process=True, shape=(4, 5)).passed)

found = []
bncheck.check("layers.py", in_process=True, shape=(4, 5))  # the first imports what adds its own warnings
before = surroundings()
threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
for thread in threads:
    thread.start()
    time.sleep(0.03)  # the next begins while this one has meddled
for thread in threads:
    thread.join()
print(found, *(was == now for was, now in zip(before, surroundings())))
"""


def python(source: str) -> str:
    """The output on stdout of a script in a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-c", source],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TOP)},
        timeout=60,
        check=True,
    )
    return ended.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("layers")
def test_checks_in_several_threads_leave_the_process_as_it_was() -> None:
    assert python(THREADS) == f"{[True] * 6} True True True True True\n"


MODULES = """
import colorsys, sys
import bncheck

{imported}
before, finders = sys.modules.copy(), list(sys.meta_path)
report = bncheck.check({"file": "there/layers.py", "stub": ["torch"]}, in_process=True, shape=(4, 5))
changed = [name for name in before if sys.modules.get(name) is not before[name]]
names = {"layers", "loaded_layers", "helper", "folder", "folder.inner", "torch"}
print(report.passed, changed, names & sys.modules.keys() - before.keys(), sys.meta_path == finders)
"""


MEDDLING = "import helper, folder.inner, sys, torch\nsys.modules['colorsys'] = helper"


@pytest.mark.parametrize("imported", ["None", "__import__('layers')"], ids=["new", "of a name that is taken"])
def test_a_check_in_this_process_leaves_no_modules_of_a_file_behind(layers: Path, imported: str) -> None:
    there = layers.parent / "there"
    (there / "folder").mkdir(parents=True)
    (there / "helper.py").touch()
    (there / "folder" / "inner.py").touch()
    (there / "layers.py").write_text(f"{MEDDLING}\n{LAYERS}", encoding="utf-8")
    assert python(MODULES.replace("{imported}", imported)) == "True [] set() True\n"


GIVEN_UP = threading.Event()


def hanging(*_: Any) -> Any:
    while not GIVEN_UP.is_set():
        time.sleep(0.01)


def hanging_later(dout: Any, cache: Any) -> Any:
    return hanging() if len(dout) == 65 else batchnorm_backward(dout, cache)


def test_a_check_that_demands_sight_raises_where_it_is_blind() -> None:
    settings: dict[str, Any] = {"shapes": [(16, 8)], "dout": ["ones", "normal"]}
    allowed = bncheck.check(batchnorm_forward, batchnorm_backward, **settings)
    allowed.raise_for_failure()
    assert [len(found.blind) for found in allowed] == [3, 0]
    assert "and 12 more faults for other reasons; report.cases and report.to_json() have them all\n" in str(allowed)
    demanded = bncheck.check(batchnorm_forward, batchnorm_backward, blind="fail", **settings)
    assert not demanded.passed
    with pytest.raises(AssertionError) as raised:
        demanded.raise_for_failure()
    assert str(raised.value).rpartition(" in ")[0] == (
        "1 of 2 cases did not pass\n"
        "\n"
        "FAIL (16x8 dout=ones seed=0) blind: dout is ones, so dx is zero: 60 faults in x cannot show; "
        "use dout: normal\n"
        "\n"
        "BLIND  16x8 dout=ones seed=0\n"
        "  dout is ones, so dx is zero: 60 faults in x cannot show; use dout: normal\n"
        "  dout is ones, so dgamma is zero: 11 faults in gamma cannot show; use dout: normal\n"
        "  dout is ones, so a forgotten dout is no change: 1 fault in beta cannot show; use dout: normal\n"
        "  this config demands sight (blind: fail), so the run fails\n"
        "\n"
        "2 passed, 1 blind"
    )
    bncheck.check(batchnorm_forward, batchnorm_backward, shapes=[(16, 8)], blind="fail").raise_for_failure()


@pytest.mark.skipif(os.name == "nt", reason="signals are sent as POSIX does")
@pytest.mark.parametrize(
    "pair",
    [(hanging, batchnorm_backward), (batchnorm_forward, hanging_later)],
    ids=["while it is recognised", "while it is checked"],
)
def test_control_c_stops_a_check_that_hangs(pair: tuple[Any, Any]) -> None:
    GIVEN_UP.clear()
    timers = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)), threading.Timer(10, GIVEN_UP.set)
    for timer in timers:
        timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            CHECK(*pair)
    finally:
        for timer in timers:
            timer.cancel()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# --- the command that repeats a case ---------------------------------------------------------------------------------


def repeats(report: bncheck.Report) -> list[str]:
    return [found.repeat for found in report]


def test_functions_and_modules_have_no_command_that_repeats_them(layers: Path) -> None:
    report = bncheck.check(batchnorm_forward, without_the_variance, shape=(4, 5))
    assert repeats(report) == [""]
    assert "repeat" not in str(report)
    assert repeats(bncheck.check("layers:batchnorm_backward", shape=(6, 4))) == [""]


def test_what_only_a_file_can_say_has_no_command(layers: Path) -> None:
    assert repeats(bncheck.check("layers.py:batchnorm_backward", shape=(6, 4), name="a")) == [""]
    assert repeats(bncheck.check(cases=[{"shape": (6, 4)}])) == [""]


@pytest.mark.slow
@pytest.mark.parametrize("config", [None, "checks.yaml"], ids=["settings alone", "over a file"])
def test_the_command_of_a_file_checks_just_that_case_again(layers: Path, config: str | None) -> None:
    layers.with_name("checks.yaml").write_text("shapes: [[3, 2]]\ncases: [{name: a}, {name: b, seed: 3}]\n")
    draw = {"std": 1e-4, "mean": [0, 2]}
    report = bncheck.check("layers.py", config=config, eps=[1e-5, 1e-8], x=draw, dtype="float32")
    again = report.cases[-1]
    words = shlex.split(again.repeat)
    assert words[:2] == ["bncheck", "run"]
    ended = subprocess.run(
        [sys.executable, "-m", *words, "--format", "json"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TOP)},
        check=False,
    )
    (case,) = json.loads(ended.stdout)["cases"]
    assert (case["label"], case["repeat"]) == (again.case.label, again.repeat)
    assert [node["error"] for node in case["nodes"].values()] == [row.error for row in again.comparisons]


def test_the_command_says_the_shape_that_was_not_given(layers: Path) -> None:
    (repeat,) = repeats(bncheck.check("layers.py:batchnorm_backward"))
    assert repeat == "bncheck run -i layers.py:batchnorm_backward --shape 65x67"


# --- the name --------------------------------------------------------------------------------------------------------

ORDERS = [
    "import bncheck",
    "from bncheck import check",
    "from bncheck import *",
    "import bncheck.checking",
    "from bncheck.checking import check as one_case",
    "import bncheck.api, bncheck.checking",
    "import bncheck; bncheck.check; import bncheck.checking",
    "import bncheck.remote, bncheck.cli",
    "import importlib, bncheck.checking; importlib.reload(bncheck)",
    "import importlib; importlib.import_module('bncheck.checking')",
]


@pytest.mark.slow
@pytest.mark.parametrize("order", ORDERS)
def test_check_is_the_function_whatever_was_imported_before(order: str) -> None:
    look = (
        f"{order}\nimport sys, bncheck\nassert bncheck.check(shape=(4, 5)).passed\n"
        "from bncheck.checking import check as one_case\nassert one_case is not bncheck.check\n"
        "assert sys.modules['bncheck.checking'].check is one_case\nfrom bncheck import check\n"
        "assert check is bncheck.check and check.__module__ == 'bncheck.api'"
    )
    subprocess.run([sys.executable, "-c", look], env={**os.environ, "PYTHONPATH": str(TOP)}, check=True)


def test_the_name_of_the_function_loads_nothing() -> None:
    assert loaded_by("from bncheck import check") == set()
    assert loaded_by("import bncheck; dir(bncheck)") == set()


def test_the_public_names_are_there_and_no_others() -> None:
    assert dir(bncheck) == sorted(["CheckFailedError", "Report", "StartError", "__version__", "check"])
    assert all(getattr(bncheck, name) is not None for name in bncheck.__all__)
    with pytest.raises(AttributeError, match=r"^module 'bncheck' has no attribute 'chek'$"):
        bncheck.chek  # type: ignore[attr-defined]  # noqa: B018


# --- printout ---------------------------------------------------------------------------------------------------


WORST = Element((1, 2), 1.0, 2.0)
ROW = Comparison("x", Verdict.FAIL, 0.5, 1e-9, 1e-12, 1.0, WORST, 3, 20, 0, 0.5, "order 3 in float64")
FAILED = CaseReport(Case(shape=(4, 5), label="4x5 seed=0"), Verdict.FAIL, (ROW,))
PASSED = CaseReport(Case(shape=(4, 5), label="4x5 seed=1"), Verdict.PASS, (replace(ROW, verdict=Verdict.PASS),))
SKIPPED = CaseReport(Case(shape=(4, 5), label="4x5 seed=2"), Verdict.SKIPPED, reason="float16 cannot hold x")
UNRESOLVED = replace(FAILED, verdict=Verdict.UNRESOLVED)
ALLOWED = replace(UNRESOLVED, case=replace(FAILED.case, unresolved="allow"))


def report(*cases: CaseReport) -> bncheck.Report:
    return bncheck.Report(cases, len(cases), 0.25)


@pytest.mark.parametrize(
    ("cases", "passed"),
    [
        ((PASSED,), True),
        ((PASSED, SKIPPED), True),
        ((ALLOWED,), True),
        ((PASSED, FAILED), False),
        ((UNRESOLVED,), False),
        ((SKIPPED,), False),
    ],
    ids=["all pass", "one is skipped", "unresolved is allowed", "one fails", "one is unresolved", "all are skipped"],
)
def test_passed_is_exit_status_0_and_what_a_report_is_worth_as_a_condition(
    cases: tuple[CaseReport, ...], passed: bool
) -> None:
    found = report(*cases)
    assert (found.passed, bool(found), found.status is ExitStatus.PASSED) == (passed, passed, passed)
    if passed:
        assert found.raise_for_failure() is None  # type: ignore[func-returns-value]
    else:
        with pytest.raises(bncheck.CheckFailedError):
            found.raise_for_failure()


def test_the_cases_are_there_by_name_by_number_and_in_turn() -> None:
    found = report(PASSED, FAILED)
    assert (list(found), len(found)) == ([PASSED, FAILED], 2)
    assert found.cases == (PASSED, FAILED)


def test_the_exception_tells_all_that_did_not_pass_and_nothing_else() -> None:
    with pytest.raises(AssertionError) as raised:
        report(PASSED, FAILED).raise_for_failure()
    assert str(raised.value) == (
        "1 of 2 cases did not pass\n"
        "\n"
        "FAIL x (4x5 seed=0) relative error 5.0e-01, tolerance 1.0e-09, resolution 1.0e-12\n"
        "\n"
        "FAIL  4x5 seed=0\n"
        "  x: relative error 5.0e-01, tolerance 1.0e-09, resolution 1.0e-12\n"
        "    worst at [1, 2]: analytic 1.0, numeric 2.0; 3 of 20 elements are off\n"
        "\n"
        "1 passed, 1 failed in 0.25 s"
    )


def test_the_exception_says_that_nothing_was_checked() -> None:
    with pytest.raises(bncheck.CheckFailedError) as raised:
        report(SKIPPED).raise_for_failure()
    assert str(raised.value) == (
        "0 of 1 case passed\n\nSKIPPED  4x5 seed=2\n  float16 cannot hold x\n\n"
        "1 skipped; every case was skipped, so nothing was checked in 0.25 s"
    )


def test_the_exception_tells_every_case_and_the_text_ten_of_them() -> None:
    rows = [replace(FAILED.comparisons[0], note=f"note {number}") for number in range(12)]
    found = report(*(replace(FAILED, comparisons=(row,)) for row in rows))
    with pytest.raises(bncheck.CheckFailedError) as raised:
        found.raise_for_failure()
    assert str(raised.value).count("FAIL  4x5 seed=0") == 12
    assert str(found).count("FAIL  4x5 seed=0") == 10
    assert "and 2 more; report.cases and report.to_json() have them all\n" in str(found)


def test_hints_hold_for_the_text_the_json_the_page_and_the_exception() -> None:
    def wrong(dout: Any, cache: Any) -> Any:
        dx, dgamma, dbeta = batchnorm_backward(dout, cache)
        return dx, dgamma, dbeta / len(dout)

    for settings in ({"shape": (6, 4)}, {"shape": [(6, 4), (5, 3)]}):
        open_ = bncheck.check(batchnorm_forward, wrong, **settings)
        closed = bncheck.check(batchnorm_forward, wrong, hints="verdict", **settings)
        with pytest.raises(bncheck.CheckFailedError) as raised:
            closed.raise_for_failure()
        right = {repr(row.worst.numeric)[:8] for case in open_ for row in case.comparisons if row.node == "beta"}
        told = [str(closed), repr(closed), closed.to_json(), closed._repr_html_(), str(raised.value)]
        for word in ("1/n", "a mean over", "should be", "line ", "dbeta = ", *right):
            assert word in f"{open_}{open_.to_json()}"
            assert [text for text in told if word in text] == []


def test_hints_of_another_name_are_refused() -> None:
    with pytest.raises(bncheck.StartError) as refused:
        bncheck.check("reference", hints="all")
    assert str(refused.value) == "error: hints is 'all', expected one of verdict, place, route, formula"


def test_the_short_form_is_one_line() -> None:
    assert repr(report(PASSED, FAILED)) == "<bncheck.Report: 1 passed, 1 failed in 0.25 s>"


def test_rich_and_html_have_the_words_of_the_text() -> None:
    found = report(PASSED, FAILED)
    console = Console(file=io.StringIO(), width=200, force_terminal=True)
    with console.capture() as captured:
        console.print(found)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", captured.get())
    assert plain != captured.get()
    assert words(plain) == words(str(found))
    assert words(_Page.read(found._repr_html_()).text) == words(str(found))


def words(text: str) -> list[str]:
    return text.split()


class _Page(HTMLParser):
    """The text that a browser would show; a tag that is not closed is an error."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.tags: list[str] = []
        self.open: list[str] = []

    @classmethod
    def read(cls, html: str) -> _Page:
        page = cls()
        page.feed(html)
        page.close()
        assert page.open == []
        return page

    def handle_starttag(self, tag: str, attributes: object) -> None:
        self.tags.append(tag)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_what_users_wrote_is_no_markup_in_any_form() -> None:
    label = "<script>alert(1)</script> & [red]x[/red] :smile:"
    found = report(replace(FAILED, case=replace(FAILED.case, label=label)))
    page = _Page.read(found._repr_html_())
    assert label in page.text
    assert label in str(found)
    assert page.tags[0] == "pre"
    assert set(page.tags) == {"pre", "span"}


def test_a_notebook_is_shown_one_report_and_not_two(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr("rich.jupyter.display", lambda *_: print("displayed"))
    found = report(PASSED, FAILED)
    assert found._repr_html_().startswith("<pre ")
    assert "FAIL" in str(found)
    assert capsys.readouterr().out == ""


def test_json_is_that_of_the_command_line_with_null_for_no_command() -> None:
    found = json.loads(report(FAILED).to_json())
    assert found["status"]["name"] == "failed"
    assert [(case["label"], case["repeat"]) for case in found["cases"]] == [("4x5 seed=0", None)]


def test_the_public_class_is_the_one_of_this_module() -> None:
    assert bncheck.Report is api.Report


# --- repeated checks ---------------------------------------------------------------------------------------------


def changeable() -> tuple[Callable[..., Any], Callable[..., Any], dict[str, Any]]:
    """A right forward and backward, and what can be changed of them: the `order` of what comes back."""
    state: dict[str, Any] = {"order": (0, 1, 2)}

    def forward(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
        std = np.sqrt(x.var(axis=0) + eps)
        x_hat = (x - x.mean(axis=0)) / std
        return gamma * x_hat + beta, (x_hat, gamma, std)

    def backward(dout: Any, cache: Any) -> Any:
        x_hat, gamma, std = cache
        dx_hat = dout * gamma
        dx = (dx_hat - dx_hat.mean(axis=0) - x_hat * (dx_hat * x_hat).mean(axis=0)) / std
        found = dx, (dout * x_hat).sum(axis=0), dout.sum(axis=0)
        return tuple(found[place] for place in state["order"])

    return forward, backward, state


def test_how_functions_are_called_is_found_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = recognition.recognise_pair

    def counted(namespace: Any, forward: str, backward: str) -> Any:
        asked.append(backward)
        return real(namespace, forward, backward)

    monkeypatch.setattr(recognition, "recognise_pair", counted)
    forward, backward, _ = changeable()
    assert bncheck.check(forward, backward, shape=(6, 4)).passed
    assert bncheck.check(forward, backward, shape=(7, 5)).passed
    assert len(asked) == 1
    assert bncheck.check(*changeable()[:2], shape=(6, 4)).passed, "other functions are other functions"
    assert len(asked) == 2


def test_functions_that_are_called_otherwise_by_now_are_not_blamed() -> None:
    forward, backward, state = changeable()
    assert bncheck.check(forward, backward, shape=(6, 4)).passed
    state["order"] = (1, 0, 2)
    assert bncheck.check(forward, backward, shape=(6, 4)).passed


def test_a_gradient_that_was_added_meanwhile_is_judged() -> None:
    class Layer:
        def __init__(self, d: int) -> None:
            self.gamma, self.beta = np.ones(d), np.zeros(d)

        def forward(self, x: Any) -> Any:
            self.std = np.sqrt(x.var(axis=0) + 1e-5)
            self.x_hat = (x - x.mean(axis=0)) / self.std
            return self.gamma * self.x_hat + self.beta

        def backward(self, dout: Any) -> Any:
            dx_hat = dout * self.gamma
            return (dx_hat - dx_hat.mean(axis=0) - self.x_hat * (dx_hat * self.x_hat).mean(axis=0)) / self.std

    dx_alone = Layer.backward

    def all_of_them(self: Any, dout: Any) -> Any:
        self.dgamma, self.dbeta = 2 * (dout * self.x_hat).sum(axis=0), dout.sum(axis=0)
        return dx_alone(self, dout)

    before = bncheck.check(Layer, shape=(6, 4))
    assert [row.verdict.value for row in before.cases[0].comparisons if row.node == "gamma"] == ["skipped"]
    Layer.backward = all_of_them  # type: ignore[method-assign]
    after = bncheck.check(Layer, shape=(6, 4))
    assert [row.verdict.value for row in after.cases[0].comparisons if row.node == "gamma"] == ["fail"]


def test_what_was_found_out_goes_with_the_functions() -> None:
    forward, backward, _ = changeable()
    bncheck.check(forward, backward, shape=(6, 4))
    kept = len(api._known)
    del forward, backward, _
    gc.collect()
    assert len(api._known) < kept


# --- verdicts of code that is wrong in several ways, or not the same twice ----------------------------------------


def _forward(x: Any, gamma: Any, beta: Any, eps: float) -> Any:
    mean, var = x.mean(axis=0), x.var(axis=0)
    std = np.sqrt(var + eps)
    x_hat = (x - mean) / std
    return gamma * x_hat + beta, (x_hat, gamma, std)


def _backward(dout: Any, cache: Any) -> Any:
    x_hat, gamma, std = cache
    dx_hat = dout * gamma
    dx = (dx_hat - dx_hat.mean(axis=0) - x_hat * (dx_hat * x_hat).mean(axis=0)) / std
    return dx, (dout * x_hat).sum(axis=0), dout.sum(axis=0)


def test_a_mistake_of_the_catalogue_beside_one_that_is_in_none_is_a_failure_with_both() -> None:
    def backward(dout: Any, cache: Any) -> Any:
        dx, dgamma, dbeta = _backward(dout, cache)
        return dx + 0.3 * np.sin(7 * cache[0]) * dout, 2 * dgamma, dbeta

    (found,) = bncheck.check(_forward, backward, shape=(65, 5))
    assert found.verdict is Verdict.FAIL
    assert [row.node for row in found.comparisons if row.verdict is Verdict.FAIL] == ["gamma", "mean", "var", "x"]
    told = " ".join(finding.sentence for finding in found.findings)
    assert "x: not a mistake that I know" in told
    assert "gamma: " in told


def test_a_forward_that_is_not_the_same_twice_is_said_to_be_that_and_not_to_mix_features() -> None:
    noise = np.random.default_rng(0)

    def forward(x: Any, gamma: Any, beta: Any, eps: float) -> Any:
        out, cache = _forward(x, gamma, beta, eps)
        return out + 1e-3 * noise.normal(size=out.shape), cache

    (found,) = bncheck.check(forward, _backward, shape=(7, 4))
    assert found.verdict is Verdict.FAIL
    assert "out differs when it is run again with the same input" in found.comparisons[0].note
    assert not [row.note for row in found.comparisons if "mix" in row.note]


def test_an_out_that_depends_on_the_number_of_features_fails_at_every_shape() -> None:
    def forward(x: Any, gamma: Any, beta: Any, eps: float) -> Any:
        out, cache = _forward(x, gamma, beta, eps)
        return out * (1 + 1e-6 * x.shape[1]), cache

    report = bncheck.check(forward, _backward, shapes=[(7, 4), (7, 1), (3, 4)])
    assert [found.verdict for found in report] == [Verdict.FAIL] * 3
    assert [found.comparisons[0].verdict for found in report] == [Verdict.FAIL] * 3


def test_an_inf_in_out_is_told_and_nothing_that_is_differenced_from_it_passes() -> None:
    def forward(x: Any, gamma: Any, beta: Any, eps: float) -> Any:
        out, cache = _forward(x, gamma, beta, eps)
        out[3, 1] = np.inf
        return out, cache

    (found,) = bncheck.check(forward, _backward, shape=(7, 4))
    assert found.comparisons[0].note.startswith("out is not finite in 1 of 28 elements")
    assert {row.node for row in found.comparisons if row.verdict is Verdict.FAIL} >= {"out", "beta", "gamma", "x"}


def test_functions_on_tensors_are_called_with_tensors() -> None:
    pytest.importorskip("torch", reason="torch is not installed (pip install 'bncheck[test-tensors]')")
    path = Path(__file__).parent / "zoo" / "tensors" / "functions.py"
    namespace: dict[str, Any] = dict(load(str(path)).namespace)
    assert bncheck.check(namespace["batchnorm_forward"], namespace["batchnorm_backward"], shape=(6, 4)).passed
