"""Kinds of arrays that somebody's code works on: how each is made of NumPy's, read back, kept and put back.

A kind is there once its package was imported by their file, or by whoever calls us: it is never imported here.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import CodeType, ModuleType
from typing import Any

import numpy as np

from bncheck.gradients.batchnorm import FloatArray

AUTO = "auto"
"""The kind, or the device, that is to be found out."""


@dataclass(frozen=True, slots=True)
class ArrayKind:
    """One kind of array. What a row leaves out is as NumPy has it.

    `make` gives one for an array of NumPy, which is not used again, on a device; `leaf` the one whose gradient is kept
    when a backward goes through what is made of it, and `handed` what is handed over of a leaf, which their code may
    write into. `read` gives the array of NumPy, `fill` puts content back that `read` gave. `ready` gets an object
    of theirs ready for a dtype, a device, and train mode or eval mode. `has` says whether a device is there. `during`
    surrounds each call. `says` is a sentence on how `out` came about. `backward` are the calls by which a backward of
    the kind's own is run, tried in this order, and `gradient` where it leaves a gradient.
    """

    name: str
    is_one: Callable[[Any], bool]
    make: Callable[[FloatArray, str], Any] = lambda array, device: array
    read: Callable[[Any], FloatArray] = np.asarray
    leaf: Callable[[Any], Any] = lambda made: made
    handed: Callable[[Any], Any] = lambda leaf: leaf
    fill: Callable[[Any, FloatArray], None] = lambda value, content: None
    ready: Callable[[Any, np.dtype[Any], str, bool], None] = lambda owner, dtype, device, training: None
    has: Callable[[str], bool] = lambda device: device in (AUTO, "cpu")
    during: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext
    says: Callable[[Any], str] = lambda out: ""
    backward: tuple[str, ...] = ()
    gradient: str = "{}.grad"


def _fill_numpy(value: Any, content: FloatArray) -> None:
    if value.flags.writeable and value.shape == content.shape:
        value[...] = content


NUMPY = ArrayKind("numpy", lambda value: isinstance(value, np.ndarray | np.generic), fill=_fill_numpy)


def _package(name: str) -> Any:
    return sys.modules[name]


def _in_float64(array: FloatArray) -> FloatArray:
    """The array. Raises TypeError where it is wider: no library of tensors has such numbers."""
    if array.dtype.itemsize > 8:
        raise TypeError(f"there are no tensors of {array.dtype}")
    return array


# --- torch --------------------------------------------------------------------------------------------------------

AUTOGRAD = "its backward is autograd's own"


def _torch_ready(owner: Any, dtype: np.dtype[Any], device: str, training: bool) -> None:
    torch = _package("torch")
    if isinstance(owner, torch.nn.Module):
        owner.to(device=_torch_device(device), dtype=getattr(torch, dtype.name)).train(training)


def _torch_device(device: str) -> str:
    return "cpu" if device == AUTO else device


def _read_torch(tensor: Any) -> FloatArray:
    torch = _package("torch")
    tensor = tensor.detach().cpu()
    found: FloatArray = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return found


def _fill_torch(tensor: Any, content: FloatArray) -> None:
    if tuple(tensor.shape) == content.shape:
        tensor.data.copy_(_package("torch").as_tensor(content))


def _says_torch(out: Any) -> str:
    """Whether no Function of anybody's stands between out and its leaves, as a sentence; empty where one does."""
    waiting, seen = [getattr(out, "grad_fn", None)], set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, _package("torch").autograd.function.BackwardCFunction):
            return ""
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [following for following, _ in node.next_functions]
    return AUTOGRAD if seen else ""


TORCH = ArrayKind(
    "torch",
    lambda value: isinstance(value, _package("torch").Tensor),
    make=lambda array, device: _package("torch").as_tensor(_in_float64(array), device=_torch_device(device)),
    read=_read_torch,
    leaf=lambda tensor: tensor.requires_grad_(),
    handed=lambda leaf: leaf.clone(),
    fill=_fill_torch,
    ready=_torch_ready,
    has=lambda device: device in (AUTO, "cpu") or bool(getattr(_package("torch"), device).is_available()),
    during=lambda: _package("torch").enable_grad(),
    says=_says_torch,
    backward=("out.backward(dout)",),
)


# --- JAX ----------------------------------------------------------------------------------------------------------


def _make_jax(array: FloatArray, device: str) -> Any:
    jax = _package("jax")
    jax.config.update("jax_enable_x64", True)  # or float64 becomes float32
    made = jax.numpy.asarray(_in_float64(array))
    return made if device == AUTO else jax.device_put(made, jax.devices(device)[0])


JAX = ArrayKind(
    "jax",
    lambda value: isinstance(value, _package("jax").Array),
    make=_make_jax,
    has=lambda device: device == AUTO or device in {one.platform for one in _package("jax").devices()} | {"cpu"},
    backward=("back(dout)",),
)

KINDS = (TORCH, JAX)
"""Kinds whose package has their name, one row each; `kind_named` makes the others."""


# --- any others -----------------------------------------------------------------------------------------------------


def _made_by(package: ModuleType) -> ArrayKind:
    """The kind of a package that has `asarray`, as those of the array API have: CuPy, Dask, MLX."""
    name = package.__name__
    root = name.partition(".")[0]
    return ArrayKind(
        name,
        lambda value: type(value).__module__.partition(".")[0] == root,
        make=lambda array, device: package.asarray(_in_float64(array)),
        read=numbers,
    )


def _made_of(owner: type) -> ArrayKind:
    """The kind of a class of theirs that wraps an array, and runs backward through what was made of it."""
    takes = _parameters_of(owner)
    with_gradient = {name: True for name in ("requires_grad", "requires_gradient", "track_grad") if name in takes}
    return ArrayKind(
        owner.__name__,
        lambda value: isinstance(value, owner),
        make=lambda array, device: owner(_in_float64(array)),
        read=numbers,
        leaf=lambda made: owner(numbers(made), **with_gradient),
        backward=("out.backward(dout)", "out.backward(dout.data)", "loss(out, dout).backward()"),
    )


def _parameters_of(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except (ValueError, TypeError):
        return {}


def is_tensor_class(value: Any) -> bool:
    """Whether a class of theirs may be one of tensors: it runs backward, and is made of an array."""
    if not isinstance(value, type) or not callable(getattr(value, "backward", None)):
        return False
    first = next(iter(_parameters_of(value)), "").strip("_")
    return "forward" not in dir(value) and first in ("data", "value", "values", "array", "x")


class NoSuchKind(Exception):  # noqa: N818 - a mistake in a mapping
    """The sentence that says why there are no arrays of some name."""


def kind_named(name: str, namespace: Mapping[str, Any]) -> ArrayKind:
    """The kind of a name: of a row, of a class of theirs, or of a package with `asarray`. Raises NoSuchKind."""
    if name == NUMPY.name:
        return NUMPY
    if isinstance(owner := namespace.get(name), type):
        return _made_of(owner)
    if name not in sys.modules or _is_stand_in(name):
        raise NoSuchKind(f"arrays: {name} is not what their file has imported, nor a class in it")
    found = next((kind for kind in KINDS if kind.name == name), None)
    return found or _made_by(sys.modules[name])


def with_package(namespace: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The namespace with the package of a kind under its name, for patterns such as jax.vjp(...)."""
    return {name: sys.modules[name], **namespace} if name in sys.modules else namespace


def _is_stand_in(name: str) -> bool:
    """Whether a module of that name is one of ours, which there are only where `files.stub` was imported."""
    stub = sys.modules.get("bncheck.files.stub")
    return stub is not None and bool(stub.is_stub(name))


# --- which kind -----------------------------------------------------------------------------------------------------


def are_there() -> list[ArrayKind]:
    """The rows whose package was imported."""
    return [kind for kind in KINDS if kind.name in sys.modules and not _is_stand_in(kind.name)]


def kinds_of(namespace: Mapping[str, Any], called: Sequence[Any]) -> list[str]:
    """The names of the kinds that some functions and classes may work on, the likeliest first.

    Those of which they speak; then those that their module has imported; NumPy; and its own classes of tensors.
    """
    there = {kind.name for kind in are_there()}
    own = [name for name, value in namespace.items() if is_tensor_class(value)]
    if not there and not own:
        return [NUMPY.name]
    known = {*there, *own, NUMPY.name}
    spoken = [kind for value in called for kind in _spoken_of(value, namespace)]
    spaces = [namespace, *(getattr(value, "__globals__", {}) for value in called)]
    imported = [package_of(value) for space in spaces for name, value in space.items() if not name.startswith("__")]
    first = [name for name in own if name in spoken]  # a tensor of one's own is made of arrays of another kind
    return [name for name in dict.fromkeys([*first, *spoken, *imported, NUMPY.name, *own]) if name in known]


def _spoken_of(value: Any, namespace: Mapping[str, Any]) -> Iterator[str]:
    """The packages of what a class is derived from, or a value is; then of the names in its code."""
    owners = value.__mro__[1:] if isinstance(value, type) else (type(value),)
    yield from (package_of(owner) for owner in owners)
    for word, held in _words_in(value, namespace):
        if held is not None:
            yield word
            yield package_of(held)


def _words_in(value: Any, namespace: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The names and texts in the code of a function or class, with the values of these names in its module, or None."""
    for function in vars(value).values() if isinstance(value, type) else [value]:
        function = inspect.unwrap(getattr(function, "__func__", function))
        space = getattr(function, "__globals__", namespace)
        for word in _names_in(getattr(function, "__code__", None)):
            yield word, namespace.get(word, space.get(word))


def package_of(value: Any) -> str:
    """The package that a module is, or that something comes from."""
    name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", "")
    return str(name).partition(".")[0].removesuffix("lib")  # jaxlib


def _names_in(code: CodeType | None) -> Iterator[str]:
    if code is not None:
        yield from code.co_names
        for constant in code.co_consts:
            if isinstance(constant, str):
                yield constant.partition(":")[0]  # as in "cuda:0"
            elif isinstance(constant, CodeType):
                yield from _names_in(constant)


CUDA_ALONE = "it is for CUDA alone, and this machine has none"
INTERPRETER = "its kernels are for a GPU, which this machine has not, and TRITON_INTERPRET=1 is not set"


def lacking(namespace: Mapping[str, Any], called: Iterable[Any]) -> str:
    """The sentence that says what functions and classes that raise lack of this machine, going by the words in them."""
    if TORCH not in are_there() or TORCH.has("cuda"):
        return ""
    words = _for_a_gpu(namespace, called)
    is_interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    return INTERPRETER if "triton" in words and not is_interpreted else CUDA_ALONE if words - {"triton"} else ""


def devices_of(namespace: Mapping[str, Any], called: Iterable[Any]) -> list[str]:
    """The devices that functions and classes may want: the GPU too, where there is one and they speak of it."""
    is_there = TORCH in are_there() and TORCH.has("cuda")
    return [AUTO, "cuda"] if is_there and _for_a_gpu(namespace, called) else [AUTO]


def _for_a_gpu(namespace: Mapping[str, Any], called: Iterable[Any]) -> set[str]:
    """The words for a GPU in the code of functions and classes."""
    return {word for value in called for word in _words_of(value, namespace, 3)} & {"cuda", "is_cuda", "triton"}


def _words_of(value: Any, namespace: Mapping[str, Any], levels: int) -> Iterator[str]:
    """The names and texts in the code of a function or class, and of those of the same module that it names."""
    for word, held in _words_in(value, namespace):
        yield word
        if levels and held is not None and not isinstance(held, ModuleType):
            yield package_of(held)
            yield from _words_of(held, namespace, levels - 1)


# --- any value ------------------------------------------------------------------------------------------------------


def kind_of(value: Any) -> ArrayKind | None:
    """The row of an array, of NumPy's too; None where it is none of these."""
    if isinstance(value, np.ndarray):
        return NUMPY
    return next((kind for kind in are_there() if kind.is_one(value)), None)


def numbers(value: Any) -> Any:
    """The array of NumPy that a value is, or wraps. Raises ValueError or TypeError where there is none."""
    kind = kind_of(value)
    if kind is not None:
        return kind.read(value)
    if hasattr(value, "__array__") or not hasattr(value, "__dict__"):
        return np.asarray(value)
    if hasattr(value, "__dlpack__"):
        return np.from_dlpack(value)
    inner = value.numpy() if callable(getattr(value, "numpy", None)) else getattr(value, "data", None)
    return np.asarray(value) if inner is None or inner is value else numbers(inner)


def attributes_of(value: Any) -> dict[str, Any]:
    """The attributes of an object, by name; of a module of torch its parameters and buffers too, which stand apart."""
    held = dict(getattr(value, "__dict__", {}))
    for inner in ("_parameters", "_buffers", "_modules"):
        apart = held.get(inner)
        if isinstance(apart, dict) and TORCH in are_there():
            held |= held.pop(inner)
    return held
