"""Implementations found in a file, and the messages where there are none. Everything here runs in this process."""

from __future__ import annotations

import pickle
import signal
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bncheck import discovery
from bncheck.case import Case, Convention, Origin, Verdict
from bncheck.discovery import Discovery, check_in, check_theirs, discover, follow_in_time, look
from bncheck.faults import reduction
from bncheck.faults.reduction import Followed

LAYERS = """
import numpy as np


def batchnorm_forward(x, gamma, beta, bn_param):
    eps = bn_param.get("eps", 1e-5)
    N, D = x.shape
    running_mean = bn_param.get("running_mean", np.zeros(D))
    running_var = bn_param.get("running_var", np.zeros(D))
    if bn_param["mode"] == "train":
        mu, var = x.mean(axis=0), x.var(axis=0)
        bn_param["running_mean"] = 0.9 * running_mean + 0.1 * mu
        bn_param["running_var"] = 0.9 * running_var + 0.1 * var
        std = np.sqrt(var + eps)
        x_hat = (x - mu) / std
        return gamma * x_hat + beta, (x_hat, std, gamma)
    return gamma * (x - running_mean) / np.sqrt(running_var + eps) + beta, None


def batchnorm_backward(dout, cache):
    x_hat, std, gamma = cache
    dx_hat = dout * gamma
    dx = (dx_hat - dx_hat.mean(axis=0) - x_hat * (dx_hat * x_hat).mean(axis=0)) / std
    return dx, (dout * x_hat).sum(axis=0), dout.sum(axis=0)


def batchnorm_backward_alt(dout, cache):
    x_hat, std, gamma = cache
    N = len(dout)
    dbeta, dgamma = dout.sum(axis=0), (dout * x_hat).sum(axis=0)
    return gamma / (N * std) * (N * dout - dbeta - x_hat * dgamma), dgamma, dbeta


def spatial_batchnorm_forward(x, gamma, beta, bn_param):
    N, C, H, W = x.shape
    out, cache = batchnorm_forward(x.transpose(0, 2, 3, 1).reshape(-1, C), gamma, beta, bn_param)
    return out.reshape(N, H, W, C).transpose(0, 3, 1, 2), cache


def spatial_batchnorm_backward(dout, cache):
    N, C, H, W = dout.shape
    dx, dgamma, dbeta = batchnorm_backward(dout.transpose(0, 2, 3, 1).reshape(-1, C), cache)
    return dx.reshape(N, H, W, C).transpose(0, 3, 1, 2), dgamma, dbeta
"""
MEMBERS = ("batchnorm_backward", "batchnorm_backward_alt", "spatial_batchnorm_backward")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory, and an import path that is put back."""
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    yield tmp_path
    sys.path[:] = before


def origin(folder: Path, source: str, name: str = "layers.py", **fields: object) -> Origin:
    """The origin of a new file, by its whole path: a process imports a file once."""
    (folder / name).write_text(textwrap.dedent(source), encoding="utf-8")
    return Origin(place=str(folder / name), **fields)  # type: ignore[arg-type]


def test_a_course_file_has_three_members_with_their_conventions(folder: Path) -> None:
    found = discover(origin(folder, LAYERS))
    assert found.refusal == ""
    assert tuple(member.name for member in found.members) == MEMBERS
    dense, _, images = found.members
    assert dense.convention == Convention(
        forward="batchnorm_forward(x, gamma, beta, {'mode': 'train', 'eps': eps}) -> out, cache",
        backward="batchnorm_backward(dout, cache) -> dx, dgamma, dbeta",
        layout="(n, d)",
    )
    assert (images.convention.layout, images.convention.axes) == ("channels first", (4,))


def test_a_name_after_the_colon_is_the_only_member(folder: Path) -> None:
    found = discover(origin(folder, LAYERS))
    assert len(found.members) == 3
    whole = origin(folder, LAYERS)
    one = discover(Origin(place=f"{whole.place}:batchnorm_backward_alt"))
    assert [member.name for member in one.members] == ["batchnorm_backward_alt"]


def test_a_convention_of_the_user_is_taken_as_it_is_and_named_by_what_it_calls(folder: Path) -> None:
    functions = Convention(forward="f(x) -> out, cache", backward="b(dout, cache) -> dx")
    layer = Convention(create="Layer(d)", forward="self.f(x) -> out", backward="self.b(dout) -> dx")
    for convention, name in ((functions, "b"), (layer, "Layer")):
        (member,) = discover(origin(folder, "x = 1", f"{name}.py", convention=convention)).members
        assert (member.name, member.convention) == (name, convention)


def test_what_crosses_the_border_of_a_process_pickles(folder: Path) -> None:
    found = discover(origin(folder, LAYERS))
    assert pickle.loads(pickle.dumps(found)) == found


# --- nothing -----------------------------------------------------------------------------------------------------


def test_a_file_with_nothing_in_it_is_refused(folder: Path) -> None:
    place = origin(folder, "x = 1\n")
    assert discover(place) == Discovery(
        refusal=f"error: nothing in {place.place} is recognised as batch normalisation\n"
        "  it has no class or functions with a forward and a backward"
    )


def test_what_was_tried_is_named_with_its_reasons(folder: Path) -> None:
    source = """
        class BatchNorm:
            def __init__(self, d, *, cookies):
                raise ValueError("no cookies")

            def forward(self, x):
                return x

            def backward(self, dout):
                return dout
    """
    place = origin(folder, source)
    assert discover(place).refusal == textwrap.dedent(
        f"""\
        error: nothing in {place.place} is recognised as batch normalisation; correct this mapping
          BatchNorm: BatchNorm(d, cookies=d): ValueError: no cookies
        implementation:
          file:      "{place.place}"
          create:    BatchNorm(d, cookies=d)
          set:       {{gamma: self.gamma, beta: self.beta}}
          forward:   self.forward(x) -> out
          backward:  self.backward(dout) -> dx
          gradients: {{gamma: self.dgamma, beta: self.dbeta}}"""
    )


def test_a_file_that_cannot_be_imported_is_refused_with_its_line(folder: Path) -> None:
    refusal = discover(origin(folder, "import numpy\n1 / 0\n")).refusal
    assert refusal.endswith(
        "layers.py:2 raised ZeroDivisionError: division by zero when it was imported; a file must import before it can "
        "be checked"
    )


def test_a_module_that_is_missing_is_noted_with_what_is_found(folder: Path) -> None:
    found = discover(origin(folder, f"import no_such_module\n{LAYERS}"))
    assert tuple(member.name for member in found.members) == MEMBERS
    assert found.notes == ("no_such_module is not installed; a stand-in takes its place",)


def test_a_module_that_is_missing_is_noted_where_nothing_is_found(folder: Path) -> None:
    refusal = discover(origin(folder, "import no_such_module\n")).refusal
    assert refusal.splitlines()[1:] == [
        "  it has no class or functions with a forward and a backward",
        "note: no_such_module is not installed; a stand-in takes its place",
    ]


def test_inspect_notes_above_a_mapping_what_was_missing(folder: Path) -> None:
    first = look(origin(folder, f"import no_such_module\n{LAYERS}")).text.splitlines()[0]
    assert first == "# note: no_such_module is not installed; a stand-in takes its place"


def test_a_stub_stands_in_for_a_module_that_is_missing(folder: Path) -> None:
    found = discover(origin(folder, f"import no_such_module\n{LAYERS}", stub=("no_such_module",)))
    assert tuple(member.name for member in found.members) == MEMBERS


# --- inspect -----------------------------------------------------------------------------------------------------


def test_look_tells_of_each_member_what_it_is_and_how_it_is_called(folder: Path) -> None:
    seen = look(origin(folder, LAYERS))
    assert seen.found
    heads = [line for line in seen.text.splitlines() if line.startswith("#")]
    assert heads == [
        "# batchnorm_backward: standard, on (N, D); eps as asked for",
        "# batchnorm_backward_alt: standard, on (N, D); eps as asked for",
        "# spatial_batchnorm_backward: standard, on images; eps as asked for",
    ]
    assert seen.text.count("implementation:\n") == 3


def test_look_at_a_file_with_nothing_gives_a_mapping_to_fill_in(folder: Path) -> None:
    seen = look(origin(folder, "def f():\n    pass\n"))
    assert not seen.found
    assert "\n\n# To fill in:\nimplementation:\n  file:      " in seen.text
    assert "\n  create:    BatchNorm(d, eps=eps)\n" in seen.text


def test_look_at_what_does_not_parse_gives_its_place_alone(folder: Path) -> None:
    seen = look(origin(folder, "def f(:\n"))
    assert not seen.found
    assert seen.text.endswith("layers.py:1:7 does not parse: invalid syntax, in `def f(:`; it must run to be checked")


# --- one case ----------------------------------------------------------------------------------------------------


def case_of(folder: Path, member: str, shape: tuple[int, ...], **fields: object) -> Case:
    found = discover(origin(folder, LAYERS))
    convention = next(one.convention for one in found.members if one.name == member)
    place = Origin(place=str(folder / "layers.py"), convention=convention)
    return Case(shape=shape, origin=place, member=member, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("member", MEMBERS)
def test_a_member_passes_on_a_shape_that_it_takes(folder: Path, member: str) -> None:
    shape = (3, 4, 2, 3) if member.startswith("spatial") else (6, 4)
    report = check_theirs(case_of(folder, member, shape))
    assert report.verdict is Verdict.PASS
    assert [row.node for row in report.comparisons] == ["out", "beta", "gamma", "mean", "var", "x"]


def test_a_shape_that_it_does_not_take_is_skipped_with_the_reason(folder: Path) -> None:
    report = check_theirs(case_of(folder, "batchnorm_backward", (3, 4, 2, 3)))
    assert (report.verdict, report.comparisons) == (Verdict.SKIPPED, ())
    assert report.reason == "batchnorm_backward takes (N, D); shape 3x4x2x3 has 4 axes"


def test_what_is_called_in_train_mode_is_skipped_in_eval_mode(folder: Path) -> None:
    report = check_theirs(case_of(folder, "batchnorm_backward", (6, 4), mode="eval"))
    assert report.verdict is Verdict.SKIPPED
    assert report.reason == (
        "batchnorm_backward is called in train mode; for mode: eval, name training, running_mean and running_var in a "
        "mapping"
    )


def test_a_name_that_the_file_has_not_is_an_error_of_that_case() -> None:
    convention = Convention(forward="f(x) -> out, cache", backward="b(dout, cache) -> dx")
    report = check_in({"f": lambda x: (x, None)}, convention, Case(shape=(6, 4), member="b"))
    assert report.verdict is Verdict.ERROR
    assert "b" in report.reason


@pytest.mark.parametrize(
    ("forward", "says"),
    [
        (
            "forward(x) -> out, cache",
            "forward returned an array of float64 of shape (4, 5), expected 2 values: out, cache",
        ),
        ("forwrd(x) -> out", "forward names 'forwrd', which nothing gives a value; did you mean 'forward'?"),
    ],
)
def test_a_convention_that_does_not_fit_is_told_as_ours(forward: str, says: str) -> None:
    namespace = {"forward": lambda x: x, "backward": lambda dout: dout}
    convention = Convention(forward=forward, backward="backward(dout) -> dx")
    report = check_in(namespace, convention, Case(shape=(4, 5)))
    assert report.verdict is Verdict.ERROR
    assert report.reason == f"as it is called here, {says}; correct the mapping, or write one"


@pytest.mark.parametrize(
    ("forward", "says"),
    [
        ("forward(x, gamma) -> out", "forward() takes 1 positional argument but 2 were given"),
        ("forward(x, eps=eps) -> out", "forward() got an unexpected keyword argument 'eps'"),
    ],
)
def test_arguments_that_their_function_does_not_take_are_told_as_ours(forward: str, says: str) -> None:
    namespace: dict[str, Any] = {}
    exec("def forward(x): return x\ndef backward(dout): return dout", namespace)
    convention = Convention(forward=forward, backward="backward(dout) -> dx")
    report = check_in(namespace, convention, Case(shape=(4, 5)))
    assert report.verdict is Verdict.ERROR
    assert report.reason == f"as it is called here, {says}; correct the mapping, or write one"


def test_a_type_error_inside_their_function_is_theirs() -> None:
    namespace: dict[str, Any] = {}
    exec("def forward(x): return len()\ndef backward(dout): return dout", namespace)
    convention = Convention(forward="forward(x) -> out", backward="backward(dout) -> dx")
    with pytest.raises(TypeError, match="len"):
        check_in(namespace, convention, Case(shape=(4, 5)))


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no alarm clock")
def test_code_that_hangs_at_a_size_that_nobody_asked_for_is_let_go_of(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = "    while len(dout) == 3:\n        pass\n    dx_hat = dout\n"
    monkeypatch.setattr(sys.modules[__name__], "LAYERS", LAYERS.replace("    dx_hat = dout * gamma\n", slow))
    report = check_theirs(case_of(folder, "batchnorm_backward", (6, 4)))
    assert report.verdict is Verdict.FAIL
    monkeypatch.setattr(discovery, "HANGING", 0.5 - report.seconds - reduction.SECONDS)
    assert follow_in_time(report, 0.0) == Followed()
