"""Recorded batches that a config names, each looked at once, with the mistakes in them and between them and other keys.

Apart from cases.py because files are opened here, and NumPy is loaded for them, where a config names one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from bncheck.config.mistake import Mistakes, Stretch
from bncheck.config.schema import DEFAULT, ELEMENTS

if TYPE_CHECKING:
    from bncheck.config.cases import Choices
    from bncheck.gradients.recorded import Header

KEYS_OF_ARRAYS = ("dout", "gamma", "beta")
"""Arrays that a file may have and that a key may ask for: one of the two gives each."""

_OF_FEATURES = ("gamma", "beta", "running_mean", "running_var")
_BYTES = 8  # of a number in float64, which all are cast to before the dtype of the case


class Batches:
    """Files looked at so far, by path: their headers by the names of arrays, and what is wrong with their numbers."""

    def __init__(self) -> None:
        self._headers: dict[str, Mapping[str, Header]] = {}
        self._not_finite: dict[str, str] = {}

    def check(self, files: Choices, finite: bool, keys: Mapping[str, Choices], mistakes: Mistakes) -> None:
        """Find the mistakes in files, and those that lie between them and the keys of their entry.

        Numbers that are not finite are mistakes where `finite` asks for that.
        """
        for path, place in files:
            headers = self._headers_of(path, place, mistakes)
            if not headers or _are_too_many(os.path.basename(path), headers, place, keys, mistakes):
                continue
            if path not in self._not_finite:
                self._look_at_numbers(path, place, mistakes)
            if finite and self._not_finite[path]:
                mistakes.add(self._not_finite[path], "write finite: false to skip such a case", place)
            _check_shapes(os.path.basename(path), headers, place, keys, mistakes)
            _check_keys(os.path.basename(path), headers, keys, mistakes)

    def is_good(self, path: str) -> bool:
        """Whether a file was looked at and has arrays that can be taken."""
        return bool(self._headers.get(path))

    def shape(self, path: str) -> tuple[int, ...]:
        """Shape of x in a file that is good."""
        return self._headers[path]["x"].shape

    def given(self, path: str) -> list[str]:
        """Keys of a case whose arrays a good file has, so that they are not drawn."""
        return [name for name in KEYS_OF_ARRAYS if name in self._headers[path]]

    def _headers_of(self, path: str, place: Stretch, mistakes: Mistakes) -> Mapping[str, Header]:
        """Read the headers of a file, once; none where they are a mistake."""
        from bncheck.gradients import recorded

        if path not in self._headers:
            self._headers[path] = {}
            try:
                self._headers[path] = recorded.headers_of(path)
            except recorded.RecordingError as error:
                mistakes.add(error.says, error.hint, place)
        return self._headers[path]

    def _look_at_numbers(self, path: str, place: Stretch, mistakes: Mistakes) -> None:
        """Load the arrays of a file, and find what is wrong with their numbers."""
        from bncheck.gradients import recorded

        self._not_finite[path] = ""
        try:
            arrays = recorded.arrays_of(path)
        except recorded.RecordingError as error:
            mistakes.add(error.says, error.hint, place)
            return
        self._not_finite[path] = recorded.not_finite(path, arrays)
        if "running_var" in arrays and (arrays["running_var"] < 0).any():
            says = f"running_var in {os.path.basename(path)} has a negative number, and a variance has none"
            mistakes.add(says, "save the variance of each feature", place)


def _are_too_many(
    file: str, headers: Mapping[str, Header], place: Stretch, keys: Mapping[str, Choices], mistakes: Mistakes
) -> bool:
    """Whether the numbers in a file are more than a case may have, or its memory can hold, which is a mistake."""
    size = headers["x"].size
    if size > ELEMENTS:
        says = f"x in {file} has {size:,} elements, expected at most {ELEMENTS:,}"
        mistakes.add(says, "save a smaller batch", place)
        return True
    needed = _BYTES * sum(header.size for header in headers.values())
    memory = min(keys["memory"].values, default=DEFAULT.memory) if "memory" in keys else DEFAULT.memory
    if needed > memory:
        says = f"{file} takes {needed:,} bytes in float64, and memory is {memory:,} bytes"
        mistakes.add(says, "save a smaller batch, or give more memory", place)
    return needed > memory


def _check_keys(file: str, headers: Mapping[str, Header], keys: Mapping[str, Choices], mistakes: Mistakes) -> None:
    """Find keys that give anew what a file has: another shape, or an array."""
    shape = headers["x"].shape
    for given, place in keys.get("shapes", ()):
        if given != shape:
            says = f"shape is {given}, and x in {file} has shape {shape}"
            mistakes.add(says, "leave shape out: it is that of the file", place)
    for name in KEYS_OF_ARRAYS:
        if name in headers and name in keys and keys[name].places:
            says = f"{name} is given, and {file} has an array of that name"
            mistakes.add(says, "leave one of them out", keys[name].places[0])


def _check_shapes(
    file: str, headers: Mapping[str, Header], place: Stretch, keys: Mapping[str, Choices], mistakes: Mistakes
) -> None:
    """Find shapes in a file that do not go with that of x."""
    shape = headers["x"].shape
    if "dout" in headers and headers["dout"].shape != shape:
        says = f"dout in {file} has shape {headers['dout'].shape}, expected {shape}, the shape of x"
        mistakes.add(says, "save the gradient at the output of the same batch", place)
    axes = keys["channel_axis"].values if "channel_axis" in keys else (DEFAULT.channel_axis,)
    for axis in axes:
        d = shape[axis] if -len(shape) <= axis < len(shape) else 0  # an axis that is not there is told of by itself
        for name in _OF_FEATURES if d else ():
            if name in headers and headers[name].shape != (d,):
                says = f"{name} in {file} has shape {headers[name].shape}, expected {(d,)} for d = {d}"
                hint = f"save {name}.reshape(-1), or name the axis of the channels with channel_axis"
                mistakes.add(says, hint, place)
