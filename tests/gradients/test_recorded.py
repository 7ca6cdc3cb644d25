"""Batches that somebody recorded become problems, and files that are none of arrays are told of."""

from __future__ import annotations

import contextlib
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bncheck.case import Case, XDraw
from bncheck.gradients import recorded
from bncheck.gradients.batchnorm import as_rows
from bncheck.gradients.problem import draw
from bncheck.gradients.recorded import RecordingError
from bncheck.gradients.yardsticks import Basis

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.normal(size=(4, 3, 5, 2))


def saved(folder: Path, **arrays: NDArray[Any]) -> str:
    path = str(folder / "batch.npz")
    np.savez(path, **arrays)  # type: ignore[arg-type]  # none of the names is that of an option
    return path


def case_of(path: str, **fields: Any) -> Case:
    shape = recorded.headers_of(path)["x"].shape
    return Case(shape=shape, x=XDraw(file=path), **fields)


# --- the problem -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channel_axis", [0, 1, -1, 2])
def test_every_array_of_a_file_comes_into_the_problem_in_rows(tmp_path: Path, channel_axis: int) -> None:
    d = IMAGES.shape[channel_axis]
    given_arrays: dict[str, NDArray[Any]] = {
        name: RANDOM.uniform(1, 2, size=(d,)) for name in ("gamma", "beta", "running_mean", "running_var")
    }
    path = saved(tmp_path, x=IMAGES, dout=IMAGES[::-1], **given_arrays)
    case = case_of(path, channel_axis=channel_axis, mode="eval", dout="file", gamma="file", beta="file")
    problem = draw(case)
    assert np.array_equal(problem.laid_out(problem.inputs.x), IMAGES)
    assert np.array_equal(problem.laid_out(problem.dout), IMAGES[::-1])
    assert {name: getattr(problem.inputs, name).tolist() for name in given_arrays} == {
        name: array.tolist() for name, array in given_arrays.items()
    }


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_arrays_that_a_file_lacks_are_drawn_and_are_the_same_bits_each_time(tmp_path: Path, mode: str) -> None:
    path = saved(tmp_path, x=IMAGES)
    first, second = draw(case_of(path, mode=mode)), draw(case_of(path, mode=mode))
    drawn = draw(Case(shape=IMAGES.shape))
    for name in ("gamma", "beta"):
        assert np.array_equal(getattr(first.inputs, name), getattr(drawn.inputs, name))
    assert repr(first.inputs) == repr(second.inputs)
    assert np.array_equal(first.dout, second.dout)
    assert not np.array_equal(first.dout, draw(case_of(path, mode=mode, seed=1)).dout)


def test_running_statistics_that_a_file_lacks_are_near_those_of_the_batch_but_differ(tmp_path: Path) -> None:
    inputs = draw(case_of(saved(tmp_path, x=5 + 3 * IMAGES), mode="eval")).inputs
    rows = as_rows(5 + 3 * IMAGES, 1)
    assert inputs.running_mean is not None
    assert inputs.running_var is not None
    off = np.abs(inputs.running_mean - rows.mean(0)) / rows.std(0)
    ratio = inputs.running_var / rows.var(0)
    assert np.all((off > 0) & (off < 0.5))
    assert np.all((ratio > 0.4) & (ratio < 2) & (ratio != 1))


@pytest.mark.parametrize("kind", ["<f8", ">f8", "<f4", "f2", "i4", "u1", "longdouble"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_numbers_of_any_kind_are_cast_to_the_dtype_of_the_case(tmp_path: Path, kind: str, dtype: str) -> None:
    x = (100 * np.abs(IMAGES)).astype(kind)
    problem = draw(case_of(saved(tmp_path, x=x), dtype=dtype))
    assert problem.inputs.x.dtype == problem.dout.dtype == np.dtype(dtype)
    assert np.array_equal(problem.laid_out(problem.inputs.x), x.astype(dtype))


def test_a_batch_in_the_order_of_fortran_or_compressed_is_the_same_batch(tmp_path: Path) -> None:
    np.save(tmp_path / "plain.npy", np.asfortranarray(IMAGES))
    np.savez_compressed(tmp_path / "small.npz", x=IMAGES)
    for name in ("plain.npy", "small.npz"):
        assert np.array_equal(recorded.arrays_of(str(tmp_path / name))["x"], IMAGES)


def test_a_batch_that_does_not_fit_in_the_dtype_is_skipped_with_the_cure(tmp_path: Path) -> None:
    with np.errstate(all="ignore"):
        basis = Basis.of(draw(case_of(saved(tmp_path, x=1e39 * IMAGES), dtype="float32")))
    assert basis.reason == "x does not fit in float32, whose largest number is 3.403e+38; use a wider dtype"


def test_a_batch_that_is_not_finite_is_skipped_where_that_is_asked_for(tmp_path: Path) -> None:
    x = IMAGES.copy()
    x[1, 2, 3, 0], x[3, 0, 0, 1] = np.nan, np.inf
    case = Case(shape=x.shape, x=XDraw(file=saved(tmp_path, x=x), finite=False))
    with np.errstate(all="ignore"):
        basis = Basis.of(draw(case))
    assert basis.reason == (
        "x in batch.npz has 2 numbers that are not finite, the first at [1, 2, 3, 0]; gradients there are no numbers"
    )


# --- the file ----------------------------------------------------------------------------------------------------


class Explosive:
    """An object whose pickle creates a file when it is loaded."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


def test_no_pickle_is_ever_loaded(tmp_path: Path) -> None:
    trace, path = tmp_path / "loaded", tmp_path / "batch.npy"
    objects = np.array([[Explosive(trace)]], dtype=object)
    stream = io.BytesIO()
    np.save(stream, objects, allow_pickle=True)
    for content in (pickle.dumps(objects), archive(dout=stream.getvalue()), stream.getvalue()):
        path.write_bytes(content)
        with pytest.raises(RecordingError, match="pickles are never loaded"):
            recorded.headers_of(str(path))
    with pytest.raises(RecordingError, match="is damaged"):
        recorded.arrays_of(str(path))
    assert not trace.exists()


def header(text: str, version: bytes = b"\x01\x00") -> bytes:
    """Bytes of an .npy file with that header, and no array behind it."""
    padded = text.ljust(117).encode() + b"\n"
    return b"\x93NUMPY" + version + len(padded).to_bytes(2, "little") + padded


def archive(**members: bytes) -> bytes:
    """Bytes of a zip file."""
    with zipfile.ZipFile(stream := io.BytesIO(), "w") as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return stream.getvalue()


PLAIN = "{'descr': '<f8', 'fortran_order': False, 'shape': (4, 5), }"
DAMAGED = {
    "no array behind the header": header(PLAIN),
    "an unknown version": header(PLAIN, b"\x09\x00"),
    "a header that is no literal": header("__import__('os')"),
    "a header that is too deep": header("-" * 9000 + "1"),
    "a header with other keys": header("{'shape': (4, 5)}"),
    "a negative size": header(PLAIN.replace("4", "-4")),
    "an end in the header": header(PLAIN)[:20],
    "an archive that ends early": archive(x=header(PLAIN))[:100],
    "an archive of other files": archive(x=b"text"),
    "an archive that begins elsewhere": archive(x=header(PLAIN))[30:].join([b"PK", b""]),
}


def read(path: str) -> None:
    """Read headers, and then arrays unless they are large, as a config does."""
    if recorded.headers_of(path)["x"].size < 1000:
        recorded.arrays_of(path)


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_told_to_be_damaged(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "batch.npy"
    path.write_bytes(content)
    with pytest.raises(RecordingError) as error:
        read(str(path))
    assert error.value.says == "batch.npy is damaged, and its arrays cannot be read"
    assert error.value.hint == "save the batch again with np.save or np.savez"


@pytest.mark.filterwarnings("ignore")  # NumPy warns of headers that Python 2 might have written
@given(data=st.data())
def test_any_bytes_are_arrays_or_are_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    good = data.draw(st.sampled_from([header(PLAIN) + bytes(160), archive(x=header(PLAIN) + bytes(160))]))
    start = data.draw(st.integers(0, len(good)))
    stop = data.draw(st.integers(start, min(len(good), start + 8)))
    path = tmp_path_factory.getbasetemp() / "any.npy"
    path.write_bytes(good[:start] + data.draw(st.binary(max_size=8)) + good[stop:])
    with contextlib.suppress(RecordingError):
        read(str(path))
