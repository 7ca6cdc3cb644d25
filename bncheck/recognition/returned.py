"""Reading a backward: which of what it returned, or left in the object, is which gradient."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bncheck.calling.layout import Layout
from bncheck.gradients import batchnorm
from bncheck.gradients.batchnorm import FloatArray, Inputs
from bncheck.recognition.names import plain
from bncheck.recognition.places import Leaf, agreement, gradient_rank, is_leaf

RETURNED = ("x", "gamma", "beta")
_X_NAMES = (
    "dx",
    "x",
    "dinput",
    "dinputs",
    "gradinput",
    "dz",
    "dldz",
    "da",
    "gradx",
    "inputgrad",
    "dxin",
    "din",
    "gradinputs",
)
_AGREED = (0, 4, 6, 8)  # by agreement: of another size, of its size, a multiple, equal
_BY_NAME = (0, 25, 50)  # by rank of the name
ENOUGH = 30  # a named place, or one that is a multiple of the truth


@dataclass(frozen=True, slots=True)
class Truth:
    """The right gradients of what their own forward gave, by row, in rows; and how x stands in their hands."""

    layout: Layout
    gradients: Mapping[str, FloatArray]

    @classmethod
    def of(cls, inputs: Inputs, out: FloatArray, dout: FloatArray, layout: Layout) -> Truth:
        """dgamma and dbeta from their own out; the rest from the standard forward."""
        stages = batchnorm.forward(inputs)
        right = batchnorm.closed_form(inputs, stages, dout)
        x_hat = (out - inputs.beta) / inputs.gamma
        gradients = {"x": right.x, "gamma": batchnorm.dot(dout, x_hat), "beta": right.beta}
        return cls(layout, gradients | {"mean": right.mean, "var": right.var})

    def agreement(self, row: str, value: Any) -> int:
        """How near a value is to the gradient of a row: 3 equal, 2 a multiple, 1 of its shape, 0 none of these."""
        if value is None or not is_leaf(value):
            return 0
        if row != "x":
            return agreement(value, self.gradients[row])
        array = np.asarray(value)
        if array.shape != self.layout.shape(self.gradients["x"].shape[1]):
            return 0
        return agreement(self.layout.rows(array), self.gradients["x"])


@dataclass(frozen=True, slots=True)
class Reading:
    """The targets of a backward, the gradients that are found elsewhere, and how many rows that makes right."""

    target: str
    gradients: tuple[tuple[str, str], ...]
    score: int

    @property
    def rows(self) -> frozenset[str]:
        """The parameters that have a gradient at all."""
        names = _names(self.target)
        return frozenset(row for row in RETURNED if f"d{row}" in names) | {row for row, _ in self.gradients}


@dataclass(frozen=True, slots=True)
class Left:
    """What a layer holds after backward, what it held before, and where its gamma and beta are."""

    after: tuple[Leaf, ...]
    before: Mapping[str, Any]
    places: Mapping[str, str]
    rate_known: bool


def read(result: Any, left: Left, truth: Truth) -> Reading:
    """The reading that makes most rows right; where several do, the one that comes first in the tables."""
    target, gradients, score = _of_result(result, truth)
    found = {row for row, _ in gradients} | {row for row in RETURNED if f"d{row}" in _names(target)}
    for row in RETURNED:
        if row not in found:
            place, gained = _elsewhere(row, left, truth)
            if place:
                gradients = (*gradients, (row, place))
                score += gained
    if not target and "x" not in dict(gradients):
        target = "dx"
    return Reading(target, gradients, score)


def _names(target: str) -> set[str]:
    return {name.strip(" []()") for name in target.split(",")}


# --- what was returned -------------------------------------------------------------------------------------------


def _of_result(result: Any, truth: Truth) -> tuple[str, tuple[tuple[str, str], ...], int]:
    """The targets, the gradients inside dictionaries, and the score of what was returned."""
    if isinstance(result, dict):
        return _of_dict("grads", result, truth)
    if not isinstance(result, tuple | list):
        return ("", (), 0) if result is None else ("dx", (), _AGREED[truth.agreement("x", result)])
    if not any(isinstance(item, dict) for item in result):
        names, score = _assigned(list(_flat(result)), truth)
        return _spelled(result, iter(names)), (), score
    parts: list[str] = []
    gradients: list[tuple[str, str]] = []
    score = 0
    for item in result:
        if isinstance(item, dict):
            target, inner, gained = _of_dict("grads", item, truth)
            gradients += inner
        else:
            target = "dx" if "dx" not in parts and truth.agreement("x", item) else "_"
            gained = _AGREED[truth.agreement("x", item)] if target == "dx" else 0
        parts.append(target)
        score += gained
    return ", ".join(parts), tuple(gradients), score


def _of_dict(name: str, result: Mapping[Any, Any], truth: Truth) -> tuple[str, tuple[tuple[str, str], ...], int]:
    """The same for a dictionary, which is kept whole under a name."""
    gradients, score = [], 0
    for row in RETURNED:
        ranked = []
        for key, value in result.items():
            if type(key) not in (str, int):
                continue
            named = 2 * (plain(str(key)) in _X_NAMES) if row == "x" else gradient_rank(("grads", str(key)), row)
            agreed = truth.agreement(row, value)
            ranked.append((_BY_NAME[named] + _AGREED[agreed] * 4, agreed, f"{name}[{key!r}]"))
        best = max(ranked, default=(0, 0, ""))
        if best[0] >= ENOUGH or (row == "x" and best[1]):
            gradients.append((row, best[2]))
            score += _AGREED[best[1]]
    return name, tuple(gradients), score


def _flat(result: Any) -> list[Any]:
    if isinstance(result, tuple | list):
        return [leaf for item in result for leaf in _flat(item)]
    return [result]


def _assigned(values: list[Any], truth: Truth) -> tuple[list[str], int]:
    """The target of each value: the permutation that makes most rows right, the first of those that do."""
    values = values[:7]
    places = range(len(values))
    rows = RETURNED[: len(values)]
    scores = {row: [_AGREED[truth.agreement(row, value)] for value in values] for row in rows}
    best = max(
        itertools.permutations(places, len(rows)),
        key=lambda order: sum(scores[row][at] for row, at in zip(rows, order, strict=True)),
    )
    names = ["_"] * len(values)
    total = 0
    for row, at in zip(rows, best, strict=True):
        if scores[row][at] or len(values) == len(RETURNED) or row == "x":
            names[at] = f"d{row}"
            total += scores[row][at]
    for row in ("mean", "var"):
        for at, value in enumerate(values):
            if names[at] == "_" and truth.agreement(row, value) == 3:
                names[at] = f"d{row}"
                break
    return names, total


def _spelled(result: Any, names: Any) -> str:
    parts = [f"[{_spelled(item, names)}]" if isinstance(item, tuple | list) else next(names, "_") for item in result]
    return ", ".join(parts) + ("," if len(parts) == 1 else "")


# --- what was left in the object ---------------------------------------------------------------------------------


def _elsewhere(row: str, left: Left, truth: Truth) -> tuple[str, int]:
    """The place of a gradient that was not returned, and what it adds to the score; empty where there is none."""
    best, place, gained = 0, "", 0
    taken = set(left.places.values())
    for leaf in left.after:
        agreed = truth.agreement(row, leaf.value)
        named = (
            2 * (plain(leaf.steps[-1]) in _X_NAMES[:1] + _X_NAMES[2:]) if row == "x" else gradient_rank(leaf.steps, row)
        )
        if leaf.text in taken or (not named and not leaf.changed_from(left.before)) or (row == "x" and not agreed):
            continue
        score = _BY_NAME[named] + (40 if agreed == 3 else 30 if agreed == 2 else 5 * agreed)
        if score > best and score >= ENOUGH:
            best, place, gained = score, leaf.text, _AGREED[agreed]
    if row != "x" and best < 80:
        updated = _update(row, left, truth)
        if updated and (not place or gained < _AGREED[2]):
            return updated, _AGREED[2]
    return place, gained


def _named(steps: tuple[str, ...], row: str) -> int:
    if row != "x":
        return gradient_rank(steps, row)
    return 2 if plain(steps[-1]) in _X_NAMES and steps[-1] != "x" else 0


def _update(row: str, left: Left, truth: Truth) -> str:
    """update(place), where gamma or beta was moved by its gradient; by a multiple, if the rate is known to be 1."""
    place = left.places.get(row, "")
    after = next((leaf.value for leaf in left.after if leaf.text == place), None)
    if after is None or place not in left.before:
        return ""
    moved = np.asarray(left.before[place]) - np.asarray(after)
    if not np.any(moved):
        return ""
    agreed = truth.agreement(row, moved)
    return f"update({place})" if agreed == 3 or (agreed and left.rate_known) else ""
