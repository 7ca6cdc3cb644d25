"""Batches in files: what a config may say of them, and every mistake in them with its place."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bncheck import config
from bncheck.case import Case, XDraw

TOP = Path(__file__).parents[2]
BATCH = np.arange(20.0).reshape(4, 5)
IMAGES = np.arange(24.0).reshape(2, 3, 2, 2)


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("batch.npy", BATCH)


def saved(**arrays: Any) -> None:
    np.savez("batch.npz", **arrays)


def read(content: str, *overrides: str) -> list[Case]:
    Path("small.yaml").write_text(content)
    return config.read("small.yaml", overrides)


def refusal(content: str, *overrides: str) -> str:
    with pytest.raises(config.ConfigError) as error:
        read(content, *overrides)
    return str(error.value)


def says(content: str, *overrides: str) -> list[str]:
    """First line of each mistake."""
    return [line for line in refusal(content, *overrides).splitlines() if line.startswith("error: ")]


# --- what is accepted --------------------------------------------------------------------------------------------


def test_a_file_gives_the_shape_and_is_named_in_the_label() -> None:
    file = os.path.abspath("batch.npy")
    assert read("x: {file: batch.npy}\n") == [
        Case(shape=(4, 5), x=XDraw(file=file), label="4x5 x.file=batch.npy seed=0", source="small.yaml")
    ]


def test_a_shape_that_is_that_of_the_file_may_be_given() -> None:
    (case,) = read("shape: 4x5\nx: {file: batch.npy}\n")
    assert (case.shape, case.label) == ((4, 5), "4x5 x.file=batch.npy seed=0")


def test_an_array_that_a_file_has_is_not_drawn() -> None:
    saved(x=IMAGES, dout=IMAGES, gamma=np.ones(3), running_var=np.ones(3))
    (case,) = read("x: {file: batch.npz}\n")
    assert (case.shape, case.dout, case.gamma, case.beta) == ((2, 3, 2, 2), "file", "file", "normal")


def test_files_are_a_matrix_beside_draws_with_the_shape_outermost() -> None:
    np.save("other.npy", IMAGES)
    content = "eps: [1, 2]\nx: [{file: [batch.npy, other.npy]}]\ncases: [{}, {name: drawn, shape: 4x5, x: normal}]\n"
    assert [case.label for case in read(content)] == [
        "4x5 x.file=batch.npy eps=1 seed=0",
        "4x5 x.file=batch.npy eps=2 seed=0",
        "2x3x2x2 x.file=other.npy eps=1 seed=0",
        "2x3x2x2 x.file=other.npy eps=2 seed=0",
        "drawn 4x5 eps=1 seed=0",
        "drawn 4x5 eps=2 seed=0",
    ]
    assert [case.label for case in read("shape: 4x5\nx: [{std: 2}, {file: batch.npy}]\n")] == [
        "4x5 x.std=2 seed=0",
        "4x5 x.file=batch.npy seed=0",
    ]


def test_files_of_one_name_are_told_apart_by_their_folders() -> None:
    os.mkdir("late")
    np.save("late/batch.npy", BATCH)
    assert [case.label for case in read("x: {file: [batch.npy, late/batch.npy]}\n")] == [
        "4x5 x.file=batch.npy seed=0",
        "4x5 x.file=late/batch.npy seed=0",
    ]


def test_a_path_is_relative_to_the_config_and_in_an_override_to_the_current_folder() -> None:
    os.mkdir("runs")
    np.save("runs/batch.npy", IMAGES)
    Path("runs/small.yaml").write_text("x: {file: batch.npy}\n")
    (case,) = config.read("runs/small.yaml")
    assert case.x.file == os.path.abspath("runs/batch.npy")
    (case,) = config.read("runs/small.yaml", ["x.file=batch.npy"])
    assert case.x.file == os.path.abspath("batch.npy")


def test_the_shape_above_a_file_is_not_inherited_but_that_beside_it_is_checked() -> None:
    inherited = read("shapes: [32x64, 8x3]\ncases: [{x: {file: batch.npy}}, {x: {std: 2}}]\n")
    assert [case.shape for case in inherited] == [(4, 5), (32, 64), (8, 3)]
    assert [case.shape for case in read("shape: 32x64\n", "x.file=batch.npy")] == [(4, 5)]
    assert [case.shape for case in read("shape: 32x64\n", "x={file: batch.npy}")] == [(4, 5)]
    assert says("x: {file: batch.npy}\n", "shape=32x64") == [
        "error: shape is (32, 64), and x in batch.npy has shape (4, 5)"
    ]


def test_a_draw_takes_the_place_of_a_file_and_a_file_that_of_a_draw() -> None:
    cases = read("shape: 4x5\nx: {std: 3}\ncases: [{x: {file: batch.npy}}, {x: {mean: 1}}]\n", "eps=1")
    assert [(bool(case.x.file), case.x.mean, case.x.std) for case in cases] == [(True, 0, 1), (False, 1, 3)]
    (case,) = read("x: {file: batch.npy}\ncases: [{x: {std: 2}, shape: 3x4}]\n")
    assert case.x == XDraw(std=2.0)
    (case,) = read("shape: 3x4\nx: {file: batch.npy, finite: false}\n", "x.std=2")
    assert case.x == XDraw(std=2.0)


def test_finite_may_be_given_apart_from_its_file() -> None:
    np.save("nan.npy", np.full((4, 5), np.nan))
    (case,) = read("x: {file: nan.npy}\ncases: [{x: {finite: false}}]\n")
    assert (os.path.basename(case.x.file), case.x.finite) == ("nan.npy", False)
    (case,) = read("x: {file: nan.npy}\n", "x.finite=false")
    assert not case.x.finite


def test_a_config_without_a_file_loads_no_numpy_and_one_with_a_file_does() -> None:
    Path("plain.yaml").write_text("shape: 4x5\n")
    Path("file.yaml").write_text("x: {file: batch.npy}\n")
    for name, loaded in (("plain.yaml", "False\n"), ("file.yaml", "True\n")):
        code = f"import sys; from bncheck import config; config.read({name!r}); print('numpy' in sys.modules)"
        environment = {**os.environ, "PYTHONPATH": str(TOP)}
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
        assert ran.stdout == loaded


# --- what is refused, each with its whole message ------------------------------------------------------------------


def a_file_of(content: bytes) -> None:
    Path("batch.npy").write_bytes(content)


def header(shape: str) -> bytes:
    """An .npy file that ends behind its header."""
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def a_batch(array: Any) -> None:
    np.save("batch.npy", array, allow_pickle=True)


def a_folder() -> None:
    os.remove("batch.npy")
    os.mkdir("batch.npy")


SMALL = "x: {file: batch.npy}\n"
FILES = {
    "nothing": (
        lambda: os.remove("batch.npy"),
        "{folder}/batch.npy does not exist",
        "a path in a config is relative to its folder, and one on the command line to the current folder",
    ),
    "a folder": (
        a_folder,
        "batch.npy is a folder, expected a file",
        "name the .npy or .npz file in it",
    ),
    "text": (
        lambda: a_file_of(b"1 2 3"),
        "batch.npy is no array, expected an .npy or .npz file",
        "save the batch with np.save or np.savez",
    ),
    "an empty file": (
        lambda: a_file_of(b""),
        "batch.npy is no array, expected an .npy or .npz file",
        "save the batch with np.save or np.savez",
    ),
    "a pickle": (
        lambda: a_file_of(pickle.dumps(BATCH)),
        "batch.npy is a pickle, and pickles are never loaded",
        "save the batch with np.save or np.savez",
    ),
    "objects": (
        lambda: a_batch(np.array([[None]], dtype=object)),
        "x in batch.npy has Python objects in it, which are pickled, and pickles are never loaded",
        "save an array of numbers",
    ),
    "a file that ends early": (
        lambda: a_file_of(header("(4, 5)")),
        "batch.npy is damaged, and its arrays cannot be read",
        "save the batch again with np.save or np.savez",
    ),
    "truth values": (
        lambda: a_batch(BATCH > 3),
        "x in batch.npy is an array of bool, expected floating or integer numbers",
        "convert it with astype before it is saved",
    ),
    "complex numbers": (
        lambda: a_batch(BATCH * 1j),
        "x in batch.npy is an array of complex128, expected floating or integer numbers",
        "convert it with astype before it is saved",
    ),
    "one axis": (
        lambda: a_batch(np.ones(5)),
        "x in batch.npy has shape (5,), expected 2 to 5 axes",
        "save it as (N, D), (N, C, L), (N, C, H, W) or (N, C, D, H, W)",
    ),
    "no rows": (
        lambda: a_batch(np.ones((0, 5))),
        "x in batch.npy has shape (0, 5), which has no elements",
        "save a batch that is not empty",
    ),
    "one row": (
        lambda: a_batch(np.ones((1, 5))),
        "shape (1, 5) has n = 1, and batch statistics of one row are constant",
        "use n >= 2, or mode: eval",
    ),
    "too many elements": (
        lambda: a_file_of(header("(20000, 5001)")),
        "x in batch.npy has 100,020,000 elements, expected at most 100,000,000",
        "save a smaller batch",
    ),
    "one number that is not finite": (
        lambda: a_batch(np.where(BATCH == 7, np.inf, BATCH)),
        "x in batch.npy has 1 number that is not finite, the first at [1, 2]",
        "write finite: false to skip such a case",
    ),
}


@pytest.mark.parametrize(("make", "sentence", "hint"), FILES.values(), ids=FILES)
def test_a_file_that_cannot_be_taken_is_told_with_its_place(
    make: Callable[[], None], sentence: str, hint: str, tmp_path: Path
) -> None:
    make()
    assert refusal(SMALL) == (
        f"error: {sentence.format(folder=tmp_path)}\n"
        "  --> small.yaml:1:11\n"
        "1 | x: {file: batch.npy}\n"
        f"  |           ^^^^^^^^^ {hint}"
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this platform has no pipes in its file system")
def test_a_pipe_is_refused_without_waiting_for_it() -> None:
    os.mkfifo("pipe.npy")
    assert refusal("x: {file: [pipe.npy, /dev/null]}\n") == textwrap.dedent("""\
        error: pipe.npy is a pipe or a device, expected a file
          --> small.yaml:1:12
        1 | x: {file: [pipe.npy, /dev/null]}
          |            ^^^^^^^^ save it as a file first

        error: null is a pipe or a device, expected a file
          --> small.yaml:1:22
        1 | x: {file: [pipe.npy, /dev/null]}
          |                      ^^^^^^^^^ save it as a file first""")


ARCHIVES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no x": ({"dout": BATCH}, ["batch.npz has no array named x"]),
    "an unknown array": ({"x": BATCH, "grad": BATCH}, ["batch.npz has an array named 'grad'"]),
    "another dout": (
        {"x": BATCH, "dout": BATCH.T},
        ["dout in batch.npz has shape (5, 4), expected (4, 5), the shape of x"],
    ),
    "parameters of other shapes": (
        {"x": BATCH, "gamma": np.ones(4), "beta": np.ones((1, 5)), "running_mean": np.ones(()), "running_var": BATCH},
        [
            "gamma in batch.npz has shape (4,), expected (5,) for d = 5",
            "beta in batch.npz has shape (1, 5), expected (5,) for d = 5",
            "running_mean in batch.npz has shape (), expected (5,) for d = 5",
            "running_var in batch.npz has shape (4, 5), expected (5,) for d = 5",
        ],
    ),
    "a negative variance": (
        {"x": BATCH, "running_var": np.array([1, 1, -1e-9, 1, 1])},
        ["running_var in batch.npz has a negative number, and a variance has none"],
    ),
    "a gamma that is not finite": (
        {"x": BATCH, "gamma": np.array([1, np.nan, np.nan, 1, 1])},
        ["gamma in batch.npz has 2 numbers that are not finite, the first at [1]"],
    ),
}


@pytest.mark.parametrize(("arrays", "sentences"), ARCHIVES.values(), ids=ARCHIVES)
def test_arrays_that_do_not_go_together_are_refused(arrays: dict[str, Any], sentences: list[str]) -> None:
    saved(**arrays)
    assert says("x: {file: batch.npz}\n") == [f"error: {sentence}" for sentence in sentences]


def test_the_features_of_a_file_are_counted_on_the_channel_axis() -> None:
    saved(x=BATCH, gamma=np.ones(4))
    assert read("x: {file: batch.npz}\nchannel_axis: 0\n")
    assert says("x: {file: batch.npz}\nchannel_axis: 3\n") == [
        "error: channel_axis is 3, and shape (4, 5) has axes -2 to 1"
    ]


def test_an_array_is_given_by_the_file_or_by_its_key() -> None:
    saved(x=BATCH, dout=BATCH)
    assert refusal("x: {file: batch.npz}\ndout: ones\n") == textwrap.dedent("""\
        error: dout is given, and batch.npz has an array of that name
          --> small.yaml:2:7
        2 | dout: ones
          |       ^^^^ leave one of them out""")


def test_a_shape_that_differs_is_told_with_its_own_place() -> None:
    assert refusal("shape: [4x5, 5x4]\nx: {file: batch.npy}\n") == textwrap.dedent("""\
        error: shape is (5, 4), and x in batch.npy has shape (4, 5)
          --> small.yaml:1:14
        1 | shape: [4x5, 5x4]
          |              ^^^ leave shape out: it is that of the file""")


def test_a_file_that_is_larger_than_the_memory_of_any_case_is_refused_unread() -> None:
    a_file_of(header("(2000, 5000)"))
    content = "x: {file: batch.npy}\ncases: [{memory: [1 GB, 64 MB]}]\n"
    assert says(content) == ["error: batch.npy takes 80,000,000 bytes in float64, and memory is 64,000,000 bytes"]


def test_keys_of_a_draw_beside_a_file_are_refused_and_so_is_finite_without_one() -> None:
    assert refusal("shape: 4x5\nx: [{file: batch.npy, mean: 3}, {finite: false}]\n") == textwrap.dedent("""\
        error: mean belongs to an x that is drawn, and this one is read from a file
          --> small.yaml:2:29
        2 | x: [{file: batch.npy, mean: 3}, {finite: false}]
          |                             ^ leave mean out, or file

        error: finite belongs to an x that is read from a file
          --> small.yaml:2:42
        2 | x: [{file: batch.npy, mean: 3}, {finite: false}]
          |                                          ^^^^^ write file: batch.npy, or leave finite out""")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("x: {file: 3}", "x.file is 3, expected a file such as batch.npy"),
        ("x: {file: []}", "x.file is an empty list, expected a file such as batch.npy"),
        ("x: {file: batch.npy, finite: 0}", "x.finite is 0, expected true or false"),
        ("x: {file: [batch.npy, ./batch.npy]}", "this x asks for a draw that another x asks for"),
        ("x: {mean: 3, path: batch.npy}\nshape: 4x5", "unknown key 'path' in x"),
    ],
)
def test_a_value_that_is_none_is_refused(content: str, sentence: str) -> None:
    assert says(content) == [f"error: {sentence}"]
