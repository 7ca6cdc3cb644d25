"""Where a gradient is wrong: rows and features, as ranges in the layout of the case, and a picture of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bncheck.faults.terms import BoolArray, Parts
from bncheck.gradients.batchnorm import FloatArray

AXES = {
    1: ("row",),
    2: ("sequence", "position"),
    3: ("image", "line", "column"),
    4: ("volume", "slice", "line", "column"),
}
"""The names of the axes over which n counts, by their number."""

CLEARLY_OFF = 20.0  # times the tolerance: less, and where the error ends may be where it falls below the tolerance
FULL = 0.9  # of a region that is wrong: an element may be right there by chance
TALL, WIDE = 16, 64  # characters of a picture, at most
Picture = tuple[tuple[float, ...], ...]
"""Fractions of elements that are wrong, line by line."""

LISTED = 3  # ranges that are told one by one


@dataclass(frozen=True, slots=True)
class Span:
    """Places along an axis: `first`, then every `step`th, up to and with `last`. Counted from 0."""

    first: int
    last: int
    step: int = 1


@dataclass(frozen=True, slots=True)
class Region:
    """The rows and features that a fault is in, where these are not all.

    `rows` are counted over all axes but that of the features. `sentence` has both in words, as the case is laid out.
    """

    rows: tuple[Span, ...]
    features: tuple[Span, ...]
    sentence: str

    def moved(self, features: int) -> Region:
        """The region with so many features before it."""
        found = (replace(one, first=one.first + features, last=one.last + features) for one in self.features)
        return replace(self, features=tuple(found))


def spans(chosen: BoolArray) -> tuple[Span, ...]:
    """The places that are chosen along an axis: one progression where they are one, else runs of neighbours."""
    places = np.flatnonzero(chosen)
    gaps = np.diff(places)
    if len(places) > 2 and np.all(gaps == gaps[0]):
        return (Span(int(places[0]), int(places[-1]), int(gaps[0])),)
    runs = np.split(places, np.flatnonzero(gaps > 1) + 1)
    return tuple(Span(int(run[0]), int(run[-1])) for run in runs if len(run))


def in_words(chosen: BoolArray, name: str) -> str:
    """The places that are chosen along an axis, such as `rows 128 to 199`, `every 8th feature from 3 on`."""
    found = spans(chosen)
    if len(found) > LISTED:
        return f"{np.count_nonzero(chosen)} of {len(chosen)} {name}s ({_listed(found[:LISTED])}, ...)"
    if len(found) == 1 and found[0].step > 1:
        last = "on" if found[0].last + found[0].step >= len(chosen) else f"to {found[0].last}"
        return f"every {_ordinal(found[0].step)} {name} from {found[0].first} {last}"
    if len(found) == 1 and found[0].first == found[0].last:
        return f"{name} {found[0].first}"
    return f"{name}s {' and '.join(filter(None, (_listed(found[:-1]), _listed(found[-1:]))))}"


def _listed(found: Sequence[Span]) -> str:
    return ", ".join(f"{one.first} to {one.last}" if one.last > one.first else str(one.first) for one in found)


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number % 100 not in (11, 12, 13) else "th"
    return f"{number}{ending}"


def region(errors: FloatArray, seen: BoolArray, axes: Sequence[int]) -> Region | None:
    """The region in which a gradient, (n, d), is wrong; None where it is wrong all over, or in no region.

    `errors` are in tolerances. In a feature that is not `seen`, (d,), a fault may hide. `axes` are the sizes of those
    that n counts. A fault that is everywhere must not get a region where it happens to be small.
    """
    off = ~(errors <= 1)
    rows, features = np.asarray(off.any(axis=1)), np.asarray(off.any(axis=0))
    if (rows.all() and features[seen].all()) or not rows.any():
        return None
    inside = errors[np.ix_(rows, features)]
    if np.mean(~(inside <= 1)) < FULL or np.median(np.nan_to_num(inside, nan=np.inf)) < CLEARLY_OFF:
        return None
    return of(rows, features, axes)


def of(rows: BoolArray, features: BoolArray, axes: Sequence[int]) -> Region:
    """The region of these rows, (n,), and features, (d,)."""
    return Region(spans(rows), spans(features), _sentence(rows, features, axes))


def _sentence(rows: BoolArray, features: BoolArray, axes: Sequence[int]) -> str:
    """A region in words: along each axis of the layout where it is a product of these, else in rows counted over all.

    An axis that it fills is told of the features alone, or where it fills all others.
    """
    names = AXES.get(len(axes), ("row",))
    laid_out = rows.reshape(axes if len(axes) in AXES else -1)
    numbers, over = range(laid_out.ndim), ""
    along = [np.asarray(laid_out.any(axis=tuple(other for other in numbers if other != axis))) for axis in numbers]
    if np.count_nonzero(rows) != np.prod([np.count_nonzero(one) for one in along]):
        names, along, over = ("row",), [rows], f" (counted over {', '.join(f'{name}s' for name in names)})"
    told = [in_words(one, name) for one, name in zip(along, names, strict=True) if not one.all()]
    where = ", ".join(told) + over if told else f"every {names[0]}"
    which = "every feature" if features.all() else in_words(features, "feature")
    return f"{where} in {which}" if told else f"{which} in {where}"


def picture(errors: FloatArray) -> Picture:
    """The fraction of elements that are wrong, in 16 lines of rows by 64 columns of features at most."""
    off = ~(errors <= 1)
    bins = [min(size, most) for size, most in zip(off.shape, (TALL, WIDE), strict=True)]
    starts = [np.arange(count) * size // count for size, count in zip(off.shape, bins, strict=True)]
    count = np.add.reduceat(np.add.reduceat(off, starts[0], axis=0, dtype=np.intp), starts[1], axis=1)
    sizes = [np.diff(np.append(start, size)) for start, size in zip(starts, off.shape, strict=True)]
    shares = np.round(count / np.outer(*sizes), 4)
    return tuple(tuple(line) for line in shares.tolist())


# --- what is wrong there ----------------------------------------------------------------------------------------


def fault_in(parts: Parts, dx: FloatArray, rows: BoolArray, features: BoolArray, allowed: FloatArray) -> str:
    """The name of the fault that is known by what stands in these rows and features of dx; empty where none is.

    `allowed`, (d,), is how far each feature may be off.
    """
    inside = dx[np.ix_(rows, features)]
    number = inside[0, 0]
    # Nothing was written where one number stands in every element, or 0 in the only one.
    if np.all(inside == number) and (inside.size > 1 or number == 0):
        if _is_the_end(rows) and features.all():
            return "last-rows-lost"
        return "last-features-lost" if _is_the_end(features) and rows.all() else "not-written"
    first, stop = int(np.argmax(rows)), len(rows) - int(np.argmax(rows[::-1]))
    if parts.is_eval or stop - first < 2 or not np.all(rows[first:stop]):
        return ""
    alone = parts.dx_alone(slice(first, stop))[:, features]
    limit = allowed[features] * np.maximum(1, np.max(np.abs(alone / inside), axis=0))
    return "block-statistics" if np.all(np.abs(inside - alone) <= limit) else ""


def _is_the_end(chosen: BoolArray) -> bool:
    return bool(np.all(chosen[int(np.argmax(chosen)) :]))


def without_some_rows(parts: Parts) -> tuple[FloatArray, FloatArray]:
    """dbeta and dgamma with the last n - 1 rows left out of the sums, the last n - 2, ..., then the first, ...

    Shapes (2n - 2, d); `left_out` has the rows that each leaves out.
    """
    found = []
    for terms in (parts.dout, parts.dout * parts.stages.x_hat):
        sums = np.cumsum(terms, axis=0)
        found.append(np.concatenate((sums[:-1], sums[-1] - sums[:-1])))
    return found[0], found[1]


def left_out(number: int, n: int) -> BoolArray:
    """The rows that the sums with that number in `without_some_rows` leave out, (n,)."""
    rows = np.arange(n)
    return rows > number if number < n - 1 else rows <= number - (n - 1)
