"""Cases made of the entries of a config: each entry has lists of values, whose product is its cases.

Recorded batches are looked at here, where a config names one: NumPy is loaded for nothing else.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

from bncheck.case import Case, XDraw
from bncheck.config.entry import ConfigEntry, Draws, are_recorded
from bncheck.config.mistake import Mistakes, Stretch, path_in, quoted
from bncheck.config.node import Choices
from bncheck.config.schema import DEFAULT, DRAW, ELEMENTS, KEYS, PROBLEMS, RECORDED

if TYPE_CHECKING:
    from bncheck.gradients.recorded import Header

_ORDER = ("shapes", *(key for key in KEYS if key not in ("name", "shape", "seed", "seeds")), "seeds")
"""The keys of a matrix, from the outermost to the innermost."""


class _Option(NamedTuple):
    """One choice of one key: the fields of a case that it gives, and the part of the label that tells it."""

    fields: Mapping[str, Any]
    label: str


def multiply_out(entries: Sequence[ConfigEntry], source: str, mistakes: Mistakes) -> list[Case]:
    """Make the cases of all entries, in their order; the result is of no use where there are mistakes."""
    total = 0
    for entry in entries:
        total += _lengths(entry.keys) * (sum(_lengths(draw.keys) for draw in entry.draws) or 1)
        if total > PROBLEMS:
            says = f"more than {PROBLEMS:,} problems up to here: {total:,}"
            mistakes.add(says, "shorten the lists, or make several files", entry.place)
            return []
    batches = Batches()
    axes_of_x = []
    for entry in entries:
        _check(entry, batches, mistakes)
        axes_of_x.append(_axis_of_x(_drawn(entry, mistakes), entry, batches))
    return [] if mistakes else _labelled(entries, axes_of_x, source, mistakes)


def _lengths(keys: Mapping[str, Choices]) -> int:
    """Number of combinations of the values of all keys; a key that is a mistake counts as one value."""
    return math.prod(max(1, len(choices.values)) for choices in keys.values())


def _given(keys: Mapping[str, Choices], name: str, defaults: object = DEFAULT) -> Sequence[Any]:
    """Values of a key, or its default where it is not given."""
    return keys[name].values if name in keys else (getattr(defaults, name),)


# --- the mistakes that lie in two keys together -----------------------------------------------------------------------


def _check(entry: ConfigEntry, batches: Batches, mistakes: Mistakes) -> None:
    """Find the mistakes that lie in two keys together, and those in files."""
    if "shapes" not in entry.keys and not are_recorded(entry.draws):
        if entry.place is None:
            mistakes.add("no shapes are given", "give --shape 32x64, or a config file")
        else:
            where = f" in {entry.where}" if entry.where else ""
            mistakes.add(f"no shapes are given{where}", "write shapes: [[32, 64]]", entry.place)
        return
    for draw in entry.draws:
        _check_draw(draw, entry, batches, mistakes)
    _check_axes(entry, batches, mistakes)
    constant = any("constant" in draw.keys["like"].values for draw in entry.draws if "like" in draw.keys)
    for value, place in entry.keys.get("eps", ()):
        if value == 0 and constant:
            says = "eps is 0 and x has a constant feature: variance + eps would be 0"
            mistakes.add(says, "use eps > 0", place)


def _check_draw(draw: Draws, entry: ConfigEntry, batches: Batches, mistakes: Mistakes) -> None:
    """Find the mistakes in the files of one x, and keys of it that do not go together."""
    if "file" in draw.keys:
        for key in draw.keys.keys() - set(RECORDED):
            says = f"{key} belongs to an x that is drawn, and this one is read from a file"
            mistakes.add(says, f"leave {key} out, or file", draw.keys[key].places[0])
        finite = True in _given(draw.keys, "finite", DEFAULT.x)
        batches.check(draw.keys["file"], finite, entry.keys, mistakes)
    elif "finite" in draw.keys:
        hint = "write file: batch.npy, or leave finite out"
        mistakes.add("finite belongs to an x that is read from a file", hint, draw.keys["finite"].places[0])
    if "size" in draw.keys and set(_given(draw.keys, "like", DEFAULT.x)) - {"outlier"}:
        hint = "write like: outlier, or leave size out"
        mistakes.add("size belongs to like: outlier", hint, draw.keys["size"].places[0])


def _check_axes(entry: ConfigEntry, batches: Batches, mistakes: Mistakes) -> None:
    """Find shapes without the channel axis, or with one row in train mode."""
    shapes = list(entry.keys.get("shapes", ()))
    if are_recorded(entry.draws) and "shapes" not in entry.keys:
        files = [file for draw in entry.draws for file in draw.keys["file"]]
        shapes = [(headers["x"].shape, place) for path, place in files if (headers := batches.headers[path])]
    trained = "train" in _given(entry.keys, "mode")
    for shape, place in shapes:
        for axis, axis_place in entry.keys.get("channel_axis", ((DEFAULT.channel_axis, place),)):
            if not -len(shape) <= axis < len(shape):
                says = f"channel_axis is {axis}, and shape {shape} has axes {-len(shape)} to {len(shape) - 1}"
                mistakes.add(says, "name the axis of the channels", axis_place)
            elif trained and math.prod(shape) == shape[axis]:
                says = f"shape {shape} has n = 1, and batch statistics of one row are constant"
                mistakes.add(says, "use n >= 2, or mode: eval", place)


# --- the cases --------------------------------------------------------------------------------------------------------


def _drawn(entry: ConfigEntry, mistakes: Mistakes) -> list[XDraw]:
    """Make every draw of x that the entry asks for. A draw that is asked for twice is a mistake."""
    found: dict[XDraw, None] = {}
    for draw in entry.draws:
        for values in product(*(choices.values for choices in draw.keys.values())):
            x = XDraw(**dict(zip(draw.keys, values, strict=True)))
            if x in found:
                mistakes.add("this x asks for a draw that another x asks for", "remove one of them", draw.place)
                break
            found[x] = None
    return list(found) or [XDraw()]


def _labelled(
    entries: Sequence[ConfigEntry], axes_of_x: Sequence[list[_Option]], source: str, mistakes: Mistakes
) -> list[Case]:
    """Make the cases, in which no label occurs twice: an entry without a name gets one where it needs it."""
    found = [_expanded(entry, of_x, source, entry.name) for entry, of_x in zip(entries, axes_of_x, strict=True)]
    counts = Counter(case.label for its_cases in found for case in its_cases)
    for number, entry in enumerate(entries):
        if not entry.own_name and any(counts[case.label] > 1 for case in found[number]):
            name = f"{entry.name} {entry.where}".strip()
            found[number] = _expanded(entry, axes_of_x[number], source, name)
    seen: set[str] = set()
    for entry, its_cases in zip(entries, found, strict=True):
        clash = next((case for case in its_cases if case.label in seen), None)
        if clash:
            says = f"two cases are called {quoted(clash.name)}, with the label {quoted(clash.label)}"
            place = entry.keys["name"].places[0] if entry.own_name else entry.place
            mistakes.add(says, "give one of them another name", place)
        seen.update(case.label for case in its_cases)
    return [case for its_cases in found for case in its_cases]


def _expanded(entry: ConfigEntry, axis_of_x: list[_Option], source: str, name: str) -> list[Case]:
    """Make the cases of one entry under a name: the product of its axes, x the outermost where it brings the shape."""
    axes = {key: _axis(key, choices.values) for key, choices in entry.keys.items() if key != "name"}
    axes = {"seeds": _axis("seeds", (DEFAULT.seed,)), **axes, "x": axis_of_x}
    order = _ORDER if "shapes" in axes else sorted(_ORDER, key=lambda key: key != "x")
    combinations = product(*(axes[key] for key in order if key in axes))
    asked = tuple(sorted({*entry.keys, "shapes"}))
    return [_case(name, source, asked, combination) for combination in combinations]


def _case(name: str, source: str, asked: tuple[str, ...], combination: tuple[_Option, ...]) -> Case:
    """Make one case of one choice of every key."""
    label = " ".join(filter(None, (name, *(option.label for option in combination))))
    fields: dict[str, Any] = {}
    for option in combination:
        fields.update(option.fields)
    code = fields.pop("implementation", None)
    if code is not None:
        fields |= {"implementation": code.name, "origin": code.origin}
    return Case(name=name, source=source, asked=asked, label=label, **fields)


def _axis(key: str, values: Sequence[Any]) -> list[_Option]:
    """Axis of the matrix: the choices of one key."""
    if key == "shapes":
        return [_Option({"shape": shape}, _times(shape)) for shape in values]
    if key == "seeds":
        return [_Option({"seed": seed}, f"seed={seed}") for seed in values]
    told = len(values) > 1
    return [
        _Option({key: None if value == "auto" else value}, f"{key}={_brief(value)}" if told else "") for value in values
    ]


def _axis_of_x(draws: list[XDraw], entry: ConfigEntry, batches: Batches) -> list[_Option]:
    """Axis of the draws of x, labelled with the keys in which they differ, and always with the file."""
    differing = [key for key in DRAW if key != "file" and len({getattr(draw, key) for draw in draws}) > 1]
    names = Counter(os.path.basename(draw.file) for draw in draws)
    found = []
    for draw in draws:
        told = [f"x.{key}={_brief(getattr(draw, key))}" for key in differing if (key in RECORDED) == bool(draw.file)]
        fields: dict[str, Any] = {"x": draw}
        headers = batches.headers.get(draw.file, {})
        if headers:
            name, shape = os.path.basename(draw.file), headers["x"].shape
            told.insert(0, f"x.file={name if names[name] == 1 else path_in('', draw.file)}")
            if "shapes" not in entry.keys:
                told.insert(0, _times(shape))
            fields |= {"shape": shape, **{name: "file" for name in _KEYS_OF_ARRAYS if name in headers}}
        found.append(_Option(fields, " ".join(told)))
    return found


def _times(shape: tuple[int, ...]) -> str:
    """Write a shape for a label: 32x64."""
    return "x".join(map(str, shape))


def _brief(value: object) -> str:
    """Write a value for a label: a float in the short form where that is the same float."""
    short = f"{value:g}" if isinstance(value, float) else ""
    return short if short and float(short) == value else str(value)


# --- recorded batches -------------------------------------------------------------------------------------------------

_KEYS_OF_ARRAYS = ("dout", "gamma", "beta")
"""Arrays that a file may have and that a key may ask for: one of the two gives each."""

_OF_FEATURES = ("gamma", "beta", "running_mean", "running_var")
_BYTES = 8  # of a number in float64, which all are cast to before the dtype of the case


class Batches:
    """Recorded batches, each looked at once, with the mistakes in them and between them and other keys.

    `headers` are those of each file by the names of its arrays, and empty where no array can be taken.
    """

    def __init__(self) -> None:
        self.headers: dict[str, Mapping[str, Header]] = {}
        self._not_finite: dict[str, str] = {}

    def check(self, files: Choices, finite: bool, keys: Mapping[str, Choices], mistakes: Mistakes) -> None:
        """Find the mistakes in files, and those that lie between them and the keys of their entry.

        Numbers that are not finite are mistakes where `finite` asks for that.
        """
        from bncheck.gradients import recorded

        for path, place in files:
            file = os.path.basename(path)
            try:
                headers = self.headers[path] = self.headers.get(path) or recorded.headers_of(path)
                if _are_too_many(file, headers, place, keys, mistakes):
                    continue
                if path not in self._not_finite:
                    self._not_finite[path] = _not_finite(path, place, mistakes)
            except recorded.RecordingError as error:
                self.headers[path] = {}
                mistakes.add(error.says, error.hint, place)
                continue
            if finite and self._not_finite[path]:
                mistakes.add(self._not_finite[path], "write finite: false to skip such a case", place)
            _check_against(file, headers, place, keys, mistakes)


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
    memory = min(_given(keys, "memory"), default=DEFAULT.memory)
    if needed > memory:
        says = f"{file} takes {needed:,} bytes in float64, and memory is {memory:,} bytes"
        mistakes.add(says, "save a smaller batch, or give more memory", place)
    return needed > memory


def _not_finite(path: str, place: Stretch, mistakes: Mistakes) -> str:
    """Sentence on the numbers of a file that are not finite, if any. A negative variance among them is a mistake."""
    from bncheck.gradients import recorded

    arrays = recorded.arrays_of(path)
    if "running_var" in arrays and (arrays["running_var"] < 0).any():
        says = f"running_var in {os.path.basename(path)} has a negative number, and a variance has none"
        mistakes.add(says, "save the variance of each feature", place)
    return recorded.not_finite(path, arrays)


def _check_against(
    file: str, headers: Mapping[str, Header], place: Stretch, keys: Mapping[str, Choices], mistakes: Mistakes
) -> None:
    """Find shapes in a file that do not go with that of x, and keys that give anew what it has."""
    shape = headers["x"].shape
    if "dout" in headers and headers["dout"].shape != shape:
        says = f"dout in {file} has shape {headers['dout'].shape}, expected {shape}, the shape of x"
        mistakes.add(says, "save the gradient at the output of the same batch", place)
    for axis in _given(keys, "channel_axis"):
        d = shape[axis] if -len(shape) <= axis < len(shape) else 0  # an axis that is not there is told of by itself
        for name in _OF_FEATURES if d else ():
            if name in headers and headers[name].shape != (d,):
                says = f"{name} in {file} has shape {headers[name].shape}, expected {(d,)} for d = {d}"
                hint = f"save {name}.reshape(-1), or name the axis of the channels with channel_axis"
                mistakes.add(says, hint, place)
    for given, its_place in keys.get("shapes", ()):
        if given != shape:
            says = f"shape is {given}, and x in {file} has shape {shape}"
            mistakes.add(says, "leave shape out: it is that of the file", its_place)
    for name in _KEYS_OF_ARRAYS:
        if name in headers and name in keys and keys[name].places:
            says = f"{name} is given, and {file} has an array of that name"
            mistakes.add(says, "leave one of them out", keys[name].places[0])
