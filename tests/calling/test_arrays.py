"""Kinds of arrays: how their code is called with tensors by a mapping, and how the kind is found out."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from bncheck.calling import arrays
from bncheck.calling.arrays import NoSuchKind, kind_named, kinds_of, numbers
from bncheck.calling.implementation import Declined, bind
from bncheck.case import Case, Convention, Origin
from bncheck.checking import check
from bncheck.discovery import Discovery, check_theirs, discover
from bncheck.files.loading import load
from bncheck.report import CaseReport

FILES = Path(__file__).parents[1] / "zoo" / "tensors"

LEAVES = (("x", "x.grad"), ("gamma", "gamma.grad"), ("beta", "beta.grad"))
FUNCTION = Convention(
    forward="BatchNormFunction.apply(x, gamma, beta, eps) -> out", backward="out.backward(dout)", gradients=LEAVES
)
MODULE = Convention(
    create="MyBatchNorm(d, eps=eps)",
    set=(("gamma", "self.weight.data"), ("beta", "self.bias.data")),
    forward="self(x) -> out",
    backward="out.backward(dout)",
    gradients=(("x", "x.grad"), ("gamma", "self.weight.grad"), ("beta", "self.bias.grad")),
)
PLAIN = Convention(
    create="PlainBatchNorm(d, eps=eps)",
    set=MODULE.set,
    forward=MODULE.forward,
    backward=MODULE.backward,
    gradients=MODULE.gradients,
)
IN_PLACE = Convention(
    forward="InPlaceFunction.apply(x, gamma, beta, eps) -> out", backward=FUNCTION.backward, gradients=LEAVES
)
COURSE = Convention(
    forward="batchnorm_forward(x, gamma, beta, {'eps': eps}) -> out, cache",
    backward="batchnorm_backward(dout, cache) -> dx, dgamma, dbeta",
)
VJP = Convention(
    forward="jax.vjp(batch_norm, x, gamma, beta) -> out, pullback", backward="pullback(dout) -> dx, dgamma, dbeta"
)
OWN = Convention(
    forward="batch_norm(x, gamma, beta, eps) -> out", backward="out.backward(dout)", gradients=LEAVES, arrays="Tensor"
)
OWN_LAYER = Convention(
    create="BatchNorm(d, eps=eps)",
    set=(("gamma", "self.gamma.data"), ("beta", "self.beta.data")),
    forward="self(x) -> out",
    backward="out.backward(dout)",
    gradients=(("x", "x.grad"), ("gamma", "self.gamma.grad"), ("beta", "self.beta.grad")),
    arrays="Tensor",
)

MAPPED = {
    "a Function": ("torch", "by_torch.py", FUNCTION),
    "a module around a Function": ("torch", "by_torch.py", MODULE),
    "a plain module": ("torch", "by_torch.py", PLAIN),
    "a Function that writes over x": ("torch", "by_torch.py", IN_PLACE),
    "functions on tensors": ("torch", "by_torch.py", COURSE),
    "a custom vjp": ("jax", "by_jax.py", VJP),
    "a function on tensors of one's own": ("", "own_tensor.py", OWN),
    "a layer of tensors of one's own": ("", "own_tensor.py", OWN_LAYER),
}


def needs(package: str) -> None:
    """Skip a test where a library of tensors is not installed."""
    if package and importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed (pip install 'bncheck[test-tensors]')")


def checked(file: str, convention: Convention, case: Case) -> CaseReport:
    """The report of a case of a file, called by a convention."""
    return check(case, bind(load(str(FILES / file)).namespace, "theirs", convention, case))


def namespace_of(file: str) -> dict[str, Any]:
    """The names in a file."""
    return dict(load(str(FILES / file)).namespace)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("mapped", MAPPED)
def test_what_is_right_passes_by_its_mapping(mapped: str, dtype: str) -> None:
    package, file, convention = MAPPED[mapped]
    needs(package)
    report = checked(file, convention, Case(shape=(6, 4), dtype=dtype))
    assert {row.node: str(row.verdict) for row in report.comparisons} == dict.fromkeys(
        ("out", "beta", "gamma", "mean", "var", "x"), "pass"
    )


def test_a_plain_module_is_said_to_have_the_backward_of_autograd() -> None:
    needs("torch")
    assert checked("by_torch.py", PLAIN, Case(shape=(6, 4))).note == "its backward is autograd's own"


def test_a_function_is_not_said_to_have_the_backward_of_autograd() -> None:
    needs("torch")
    assert checked("by_torch.py", MODULE, Case(shape=(6, 4))).note == ""


def test_a_function_that_gives_back_x_may_write_into_it() -> None:
    needs("torch")
    report = checked("by_torch.py", IN_PLACE, Case(shape=(6, 4)))
    assert report.note == "forward writes out over x, and gives x back"


def test_a_function_that_writes_into_x_and_gives_something_else_breaks_its_contract() -> None:
    needs("torch")
    convention = Convention(
        forward="SpoilingFunction.apply(x, gamma, beta, eps) -> out", backward=FUNCTION.backward, gradients=LEAVES
    )
    out, *_ = checked("by_torch.py", convention, Case(shape=(6, 4))).comparisons
    assert (str(out.verdict), out.note) == ("fail", "forward wrote into x; work on a copy")


def test_a_forward_that_mixes_features_of_tensors_is_seen() -> None:
    needs("torch")
    convention = Convention(
        forward="MixingFunction.apply(x, gamma, beta, eps) -> out", backward=FUNCTION.backward, gradients=LEAVES
    )
    report = checked("by_torch.py", convention, Case(shape=(6, 4)))
    assert "never mixes features" in "".join(row.note for row in report.comparisons)


def test_a_module_is_put_in_eval_mode_for_eval_cases() -> None:
    needs("torch")
    convention = Convention(
        create="PlainBatchNorm(d, eps=eps)",
        set=(*PLAIN.set, ("running_mean", "self.running_mean"), ("running_var", "self.running_var")),
        forward=PLAIN.forward,
        backward=PLAIN.backward,
        gradients=PLAIN.gradients,
    )
    report = checked("by_torch.py", convention, Case(shape=(6, 4), mode="eval"))
    assert str(report.verdict) == "pass"


def test_grad_mode_is_on_while_their_code_is_called() -> None:
    needs("torch")
    import torch

    with torch.no_grad():
        report = checked("by_torch.py", FUNCTION, Case(shape=(6, 4)))
    assert str(report.verdict) == "pass"


def test_a_tensor_in_a_variable_of_their_module_is_put_back() -> None:
    needs("torch")
    convention = Convention(
        forward="CountingFunction.apply(x, gamma, beta, eps) -> out", backward=FUNCTION.backward, gradients=LEAVES
    )
    case, namespace = Case(shape=(6, 4)), namespace_of("by_torch.py")
    bound = bind(namespace, "theirs", convention, case)
    with bound.state:
        check(case, bound)
    assert namespace["calls"].tolist() == [0.0]


# --- which kind --------------------------------------------------------------------------------------------------


def test_numpy_code_beside_torch_code_is_called_with_numpy() -> None:
    needs("torch")
    namespace = namespace_of("by_torch.py")
    assert kinds_of(namespace, [namespace["numpy_forward"]])[0] == "numpy"
    assert kinds_of(namespace, [namespace["batchnorm_forward"]])[0] == "torch"
    assert kinds_of(namespace, [namespace["MyBatchNorm"]])[0] == "torch"


def test_a_class_of_their_own_tensors_is_a_kind() -> None:
    namespace = namespace_of("own_tensor.py")
    assert kinds_of(namespace, [namespace["batch_norm"]])[0] == "Tensor"
    assert kind_named("Tensor", namespace).name == "Tensor"


def test_a_kind_that_nobody_has_imported_is_refused() -> None:
    with pytest.raises(NoSuchKind) as refusal:
        kind_named("tinynumbers", {})
    assert str(refusal.value) == "arrays: tinynumbers is not what their file has imported, nor a class in it"


class Wrapped:
    """An array that has nothing but __dlpack__ beside its numbers."""

    def __init__(self, array: Any) -> None:
        self.held = array

    def __dlpack__(self, **asked: Any) -> Any:
        return self.held.__dlpack__(**asked)

    def __dlpack_device__(self) -> Any:
        return self.held.__dlpack_device__()


def test_a_module_with_asarray_is_a_kind_and_is_read_by_dlpack(monkeypatch: pytest.MonkeyPatch) -> None:
    package = ModuleType("strangearrays")
    package.asarray = Wrapped  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "strangearrays", package)
    made = kind_named("strangearrays", {}).make(np.arange(3.0), "auto")
    assert isinstance(made, Wrapped)
    assert numbers(made).tolist() == [0.0, 1.0, 2.0]


def test_tensors_are_never_asked_for_eighty_bits() -> None:
    with pytest.raises(TypeError):
        kind_named("Tensor", namespace_of("own_tensor.py")).make(np.ones(3, np.longdouble), "auto")


# --- devices -----------------------------------------------------------------------------------------------------

CUDA_ALONE = """
import torch
class BatchNormFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gamma, beta, eps=1e-5):
        assert x.is_cuda, "on CUDA"
        return x
    @staticmethod
    def backward(ctx, g):
        return g, None, None, None
"""


def without_cuda() -> None:
    """Skip a test where torch is not there, or has CUDA."""
    needs("torch")
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")


def discovered(path: Path, case: Case) -> tuple[Discovery, CaseReport]:
    """What is found in a file, and the report of a case of the first of it."""
    origin = Origin(place=str(path))
    found = discover(origin)
    member = found.members[0]
    case = replace(case, origin=replace(origin, convention=member.convention), member=member.name)
    return found, check_theirs(case)


def test_code_for_cuda_alone_is_skipped_where_there_is_none(tmp_path: Path) -> None:
    without_cuda()
    (tmp_path / "kernel.py").write_text(CUDA_ALONE)
    _, report = discovered(tmp_path / "kernel.py", Case(shape=(6, 4)))
    assert (str(report.verdict), report.reason) == (
        "skipped",
        "BatchNormFunction raises AssertionError: it is for CUDA alone, and this machine has none",
    )


def test_a_device_that_is_not_there_is_declined() -> None:
    without_cuda()
    with pytest.raises(Declined) as declined:
        checked("by_torch.py", FUNCTION, Case(shape=(6, 4), device="cuda"))
    assert str(declined.value) == "device: cuda is asked for, and torch finds none on this machine"


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_function_passes_on_every_device(device: str) -> None:
    needs("torch")
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("this machine has no CUDA")
    assert str(checked("by_torch.py", FUNCTION, Case(shape=(6, 4), device=device)).verdict) == "pass"


@pytest.mark.slow
def test_triton_interprets_kernels_where_there_is_no_gpu_and_says_so() -> None:
    without_cuda()
    needs("triton")
    # In a process of its own: Triton reads the variable when it is imported.
    place = f"{FILES / 'by_triton.py'}:TritonBatchNorm"
    command = [sys.executable, "-m", "bncheck", "run", "-i", place, "--shape", "6x4"]
    env = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    ended = subprocess.run(command, capture_output=True, text=True, env=env, check=False, timeout=300)
    note = "note: TRITON_INTERPRET=1 is set, since this machine has no GPU: kernels run in Triton's interpreter"
    assert note in (ended.stdout + ended.stderr).splitlines()
    assert "1 passed" in ended.stdout


def test_what_speaks_of_a_gpu_is_tried_there_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("torch")
    (tmp_path / "kernel.py").write_text(CUDA_ALONE)
    namespace = dict(load(str(tmp_path / "kernel.py")).namespace)
    there = replace(arrays.TORCH, has=lambda device: True)
    monkeypatch.setattr(arrays, "TORCH", there)
    monkeypatch.setattr(arrays, "KINDS", (there,))
    assert arrays.devices_of(namespace, [namespace["BatchNormFunction"]]) == ["auto", "cuda"]
    assert arrays.devices_of(namespace_of("functions.py"), [np.mean]) == ["auto"]


FUNCTION_OF_METHODS = """
from torch_that_is_not_there import Function
class BatchNormFunction(Function):
    @staticmethod
    def forward(ctx, x, gamma, beta, eps=1e-5):
        inv = (((x - x.mean(0)) ** 2).mean(0) + eps) ** -0.5
        ctx.save_for_backward((x - x.mean(0)) * inv, gamma, inv)
        return gamma * ctx.saved_tensors[0] + beta
    @staticmethod
    def backward(ctx, grad):
        xhat, gamma, inv = ctx.saved_tensors
        dgamma, dbeta, n = (grad * xhat).sum(0), grad.sum(0), len(grad)
        return gamma * inv / n * (n * grad - dbeta - xhat * dgamma), dgamma, dbeta, None
"""


def test_a_function_without_its_library_gets_a_context_that_stands_in(tmp_path: Path) -> None:
    (tmp_path / "bn.py").write_text(FUNCTION_OF_METHODS)
    found, report = discovered(tmp_path / "bn.py", Case(shape=(6, 4)))
    assert str(report.verdict) == "pass"
    assert found.members[0].convention.forward == "BatchNormFunction.forward(ctx, x, gamma, beta, eps=eps) -> out"
    assert found.members[0].convention.backward == "BatchNormFunction.backward(ctx, dout) -> dx, dgamma, dbeta, _"
