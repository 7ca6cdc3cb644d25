"""Arrays that somebody recorded: a batch in an .npy file, or in an .npz file with what went with it.

Nothing in a file can run: pickles are never loaded. Sizes are read from headers, before an array is.
Apart from problem.py because a config looks at a file too, and tells what is wrong with it before anything is drawn.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import stat
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

NAMES = ("x", "dout", "gamma", "beta", "running_mean", "running_var")  # an array without a name, in an .npy, is x
AXES = (2, 5)  # fewest and most axes of x
KINDS = "fiu"  # kinds of dtypes that are taken, by their letters: floating and integer numbers, signed and unsigned

_NPY, _NPZ, _PICKLE = npy.MAGIC_PREFIX, b"PK", b"\x80"
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
"""Readers of a header by its version; version 3 is for names of fields, which no array of numbers has."""

# What zipfile and numpy.lib.format raise at bytes that are no array: the header is a literal of Python.
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError),
    *(ValueError, TypeError, KeyError, OverflowError, SyntaxError, tokenize.TokenError, RecursionError),
)

_RELATIVE = "a path in a config is relative to its folder, and one on the command line to the current folder"

Opener = Callable[[], AbstractContextManager[IO[bytes]]]


class RecordingError(Exception):
    """A file that cannot be taken: what is wrong with it, and what to do."""

    def __init__(self, says: str, hint: str = "") -> None:
        super().__init__(says, hint)
        self.says, self.hint = says, hint

    def __str__(self) -> str:
        return f"{self.says}; {self.hint}" if self.hint else self.says


class Header(NamedTuple):
    """Shape and dtype of an array, read without the array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def headers_of(path: str) -> dict[str, Header]:
    """Read the headers of the arrays in a file, by name; x is among them.

    Raises RecordingError where the file is none of arrays, or has arrays that no problem can be made of.
    """
    file = os.path.basename(path)
    with _opened(path) as openers:
        found = {name: _header(file, name, opener) for name, opener in openers.items()}
    if "x" not in found:
        raise RecordingError(f"{file} has no array named x", "save it with np.savez(file, x=x)")
    shape, (fewest, most) = found["x"].shape, AXES
    if not fewest <= len(shape) <= most:
        says = f"x in {file} has shape {shape}, expected {fewest} to {most} axes"
        raise RecordingError(says, "save it as (N, D), (N, C, L), (N, C, H, W) or (N, C, D, H, W)")
    if found["x"].size < 1:
        raise RecordingError(f"x in {file} has shape {shape}, which has no elements", "save a batch that is not empty")
    return found


def arrays_of(path: str) -> dict[str, NDArray[Any]]:
    """Load the arrays in a file, by name. Raises RecordingError where they cannot be read."""
    with _opened(path) as openers:
        arrays: dict[str, NDArray[Any]] = {}
        for name, opener in openers.items():
            with opener() as stream:
                arrays[name] = npy.read_array(stream, allow_pickle=False)
        return arrays


def not_finite(path: str, arrays: Mapping[str, NDArray[Any]]) -> str:
    """Sentence on the first array of a file that has an infinity or a nan; empty where every number is finite."""
    for name, array in arrays.items():
        amiss = ~np.isfinite(array)
        if amiss.any():
            count, first = np.count_nonzero(amiss), np.argwhere(amiss)[0].tolist()
            file = os.path.basename(path)
            numbers = "1 number that is" if count == 1 else f"{count:,} numbers that are"
            return f"{name} in {file} has {numbers} not finite, the first at {first}"
    return ""


def _header(file: str, name: str, opener: Opener) -> Header:
    """Read the header of one array. Raises RecordingError for names and kinds of arrays that are not taken."""
    if name not in NAMES:
        known = f"{', '.join(NAMES[:-1])} and {NAMES[-1]}"
        raise RecordingError(f"{file} has an array named {name!r}", f"the names are {known}; leave others out")
    try:
        with opener() as stream:
            shape, _, dtype = _HEADERS[npy.read_magic(stream)](stream)
    except MemoryError as error:  # what the parser of Python says of brackets and signs too deep for it
        raise ValueError(name) from error
    if dtype.hasobject:
        says = f"{name} in {file} has Python objects in it, which are pickled, and pickles are never loaded"
        raise RecordingError(says, "save an array of numbers")
    if dtype.kind not in KINDS:
        says = f"{name} in {file} is an array of {dtype}, expected floating or integer numbers"
        raise RecordingError(says, "convert it with astype before it is saved")
    if any(size < 0 for size in shape):
        raise ValueError(shape)
    return Header(shape, dtype)


@contextlib.contextmanager
def _opened(path: str) -> Iterator[dict[str, Opener]]:
    """Openers of the arrays in a file, by name. Raises RecordingError, also for damage found while it is read."""
    file = os.path.basename(path)
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise RecordingError(f"{file} is a folder, expected a file", "name the .npy or .npz file in it")
        if not stat.S_ISREG(mode):  # opening a pipe would wait for somebody to write to it
            raise RecordingError(f"{file} is a pipe or a device, expected a file", "save it as a file first")
        with open(path, "rb") as stream:
            start = stream.read(len(_NPY))
            stream.seek(0)
            if start.startswith(_NPZ):
                with zipfile.ZipFile(stream) as archive:
                    members = archive.infolist()
                    yield {one.filename.removesuffix(".npy"): partial(archive.open, one) for one in members}
            elif start == _NPY:
                yield {"x": lambda: contextlib.nullcontext(stream)}
            else:
                pickled = start.startswith(_PICKLE)
                found = (
                    "a pickle, and pickles are never loaded" if pickled else "no array, expected an .npy or .npz file"
                )
                raise RecordingError(f"{file} is {found}", "save the batch with np.save or np.savez")
    except FileNotFoundError:
        raise RecordingError(f"{path} does not exist", _RELATIVE) from None
    except (OSError, *_DAMAGE) as error:
        # EINVAL is that of an archive whose table names a place before its beginning.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise RecordingError(f"{path} cannot be read: {error.strerror or error}") from None
        says = f"{file} is damaged, and its arrays cannot be read"
        raise RecordingError(says, "save the batch again with np.save or np.savez") from error
