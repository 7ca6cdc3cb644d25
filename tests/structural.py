"""Faults of place: what each makes of the right gradients, and where it is, for any shape and size of block."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from bncheck.faults.terms import Parts, Wrong
from bncheck.gradients import batchnorm
from bncheck.gradients.batchnorm import FloatArray, Gradients

Place = tuple[slice, slice]
"""Rows and features."""

ALL = slice(None)


@dataclass(frozen=True, slots=True)
class Structural:
    """A fault of place: the gradients it gives, and where it is; `name` is that in the catalogue, if it has one."""

    gradients: Callable[[Parts, int], Gradients]
    place: Callable[[Parts, int], Place]
    name: str = ""


def whole(size: int, block: int) -> int:
    """The elements in whole blocks, of which one at least and not all are left out."""
    return (size - 1) // block * block or size - 1


def _with(parts: Parts, x: FloatArray) -> Gradients:
    return parts.gradients._replace(x=x)


def _put(place: Callable[[Parts, int], Place], value: Callable[[Parts, Place], FloatArray | float]) -> Structural:
    def gradients(parts: Parts, block: int) -> Gradients:
        dx, at = parts.gradients.x.copy(), place(parts, block)
        dx[at] = value(parts, at)
        return _with(parts, dx)

    return Structural(gradients, place)


def _summed(parts: Parts, block: int) -> Gradients:
    rows = slice(0, whole(parts.n, block))
    dbeta = np.add.reduce(parts.dout[rows], axis=0)
    dgamma = batchnorm.dot(parts.dout[rows], parts.stages.x_hat[rows])
    bare = parts.inputs.gamma / parts.stages.std
    dvar, dmean = -dgamma * bare / (2 * parts.stages.root), -dbeta * bare
    return Wrong(dbeta, dgamma, dmean, dvar, parts.inputs.gamma, dvar, dmean).gradients(parts)


def _alone(parts: Parts, at: Place) -> FloatArray:
    inputs = replace(parts.inputs, x=parts.inputs.x[at])
    return batchnorm.backward(inputs, batchnorm.forward(inputs), parts.dout[at])[0].x


def _to_one(parts: Parts, block: int) -> Gradients:
    return _with(parts, np.where(np.arange(parts.n)[:, None] == 0, parts.gradients.x[-1], 0))


def _last_rows(parts: Parts, block: int) -> Place:
    return slice(whole(parts.n, block), None), ALL


def _last_features(parts: Parts, block: int) -> Place:
    return ALL, slice(whole(parts.d, block), None)


def _second_half(parts: Parts, block: int) -> Place:
    return slice(parts.n // 2, None), ALL


def _noise(parts: Parts, at: Place) -> FloatArray:
    shape = parts.gradients.x[at].shape
    found: FloatArray = parts.gradients.x[at] + np.cos(np.arange(1, 1 + shape[0] * shape[1])).reshape(shape)
    return found


STRUCTURAL: Mapping[str, Structural] = {
    "last rows lost": replace(_put(_last_rows, lambda parts, at: 0.0), name="last-rows-lost"),
    "a row in the middle not written": replace(
        _put(lambda parts, block: (slice(parts.n // 2, parts.n // 2 + 1), ALL), lambda parts, at: 0.0),
        name="not-written",
    ),
    "all rows written to one": Structural(_to_one, lambda parts, block: (slice(0, 1), ALL), "one-row-for-all"),
    "last features lost": replace(_put(_last_features, lambda parts, at: 0.0), name="last-features-lost"),
    "last rows left out of the sums": Structural(_summed, _last_rows, "rows-not-summed"),
    "a block with statistics of its own": replace(_put(_second_half, _alone), name="block-statistics"),
    "last rows scrambled": _put(_last_rows, _noise),
    "first feature scrambled": _put(lambda parts, block: (ALL, slice(0, 1)), _noise),
    "every third feature scrambled": _put(lambda parts, block: (ALL, slice(1, None, 3)), _noise),
    "every second row scrambled": _put(lambda parts, block: (slice(0, None, 2), ALL), _noise),
    "a tile scrambled": _put(lambda parts, block: (slice(parts.n // 2, None), slice(parts.d // 2, None)), _noise),
    "a single element scrambled": _put(lambda parts, block: (slice(1, 2), slice(-1, None)), _noise),
}
"""Twelve faults of place. What is scrambled has no name but its place."""
