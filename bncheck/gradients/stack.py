"""Perturbed copies of x side by side, as further features of one batch: many differences in one forward call.

Features do not see each other, so one row can be moved in every feature at once, and copies of x with one row
moved each can be stacked as (n, copies * d). That is verified, not assumed; where it does not hold, elements are
moved one by one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bncheck.gradients import batchnorm
from bncheck.gradients.batchnorm import FloatArray, Inputs, Stages
from bncheck.gradients.scales import location

Forward = Callable[[Inputs], FloatArray]
"""The forward under check: out, shape (n, m), of inputs with any number m of features, in any float dtype."""

SIZE = 2**15  # elements in a stack: 256 kB in float64, so that a forward stays in the second-level cache
AGREEMENT = 2.0**-30  # one forward run twice agrees far better, one that normalises over another axis far worse


class Moves(NamedTuple):
    """Single rows to move, one at a time: x[rows[i]] by amounts[i], a number for each feature.

    Shapes: rows (m,), amounts (m, d).
    """

    rows: NDArray[np.intp]
    amounts: FloatArray

    @classmethod
    def of(cls, rows: NDArray[np.intp], offsets: Sequence[int], step: FloatArray) -> Moves:
        """Each of `rows` moved by each of `offsets` times `step`, (d,), rows outermost."""
        amounts = np.array(offsets, step.dtype)[:, None] * step
        return cls(np.repeat(rows, len(offsets)), np.tile(amounts, (len(rows), 1)))

    def and_then(self, more: Moves) -> Moves:
        """These, and then those."""
        return Moves(np.concatenate((self.rows, more.rows)), np.concatenate((self.amounts, more.amounts)))


def changes(forward: Forward, inputs: Inputs, dout: FloatArray, moves: Moves) -> FloatArray:
    """The change of L = sum(dout * out) that each move makes through its own feature, shape (m, d)."""
    n, d = inputs.x.shape
    _keep_freed_memory()
    found = np.empty((len(moves.rows), d), inputs.x.dtype)
    width = min(d, max(1, SIZE // n))
    for first in range(0, d, width):
        block = slice(first, min(first + width, d))
        stack = _Stack.of(inputs.map(itemgetter((..., block))), len(moves.rows))
        upstream = stack.side_by_side(dout[:, block])
        base = forward(stack.inputs).copy()
        change = np.empty_like(base)
        for start in range(0, len(moves.rows), stack.copies):
            part = slice(start, start + stack.copies)
            stack.move(moves.rows[part], moves.amounts[part, block])
            np.subtract(forward(stack.inputs), base, out=change)
            moved = batchnorm.dot(upstream, change).reshape(stack.copies, -1)
            found[part, block] = moved[: len(moves.rows[part])]
            stack.restore(moves.rows[part])
    return found


def changes_one_by_one(forward: Forward, inputs: Inputs, dout: FloatArray, moves: Moves) -> FloatArray:
    """The same for a forward that mixes features: elements move alone, and L is summed over all features."""
    base = forward(inputs).copy()
    found = np.empty((len(moves.rows), inputs.x.shape[1]), inputs.x.dtype)
    x = inputs.x.copy()
    moving = replace(inputs, x=x)
    for i, (row, amounts) in enumerate(zip(moves.rows, moves.amounts, strict=True)):
        for feature, amount in enumerate(amounts):
            x[row, feature] = inputs.x[row, feature] + amount
            found[i, feature] = np.sum(dout * (forward(moving) - base))
            x[row, feature] = inputs.x[row, feature]
    return found


def outs(forward: Forward, inputs: Inputs, gamma: FloatArray, beta: FloatArray) -> FloatArray:
    """out at the same x for each of k settings of gamma and beta, (n, k, d). Shapes: gamma, beta (k, d)."""
    n, d = inputs.x.shape
    found = np.empty((n, len(gamma), d), inputs.x.dtype)
    copies = max(1, min(len(gamma), SIZE // (n * d)))
    for start in range(0, len(gamma), copies):
        part = slice(start, start + copies)
        some = len(gamma[part])
        tiled = inputs.map(partial(np.tile, reps=some))
        out = forward(replace(tiled, gamma=gamma[part].ravel(), beta=beta[part].ravel()))
        found[:, part] = out.reshape(n, some, d)
    return found


def outs_one_by_one(forward: Forward, inputs: Inputs, gamma: FloatArray, beta: FloatArray) -> FloatArray:
    """The same for a forward that mixes features."""
    pairs = zip(gamma, beta, strict=True)
    return np.stack([forward(replace(inputs, gamma=one, beta=other)).copy() for one, other in pairs], axis=1)


def _keep_freed_memory() -> None:
    """Free a large block, after which glibc keeps what smaller arrays free instead of giving it back to the system.

    Without it each array of a stack is paged in anew: at (32, 64) that is most of the time.
    """
    np.empty(2**22, np.uint8)


def features_are_independent(forward: Forward, inputs: Inputs, alone: FloatArray, stages: Stages) -> bool:
    """Whether stacked copies come out as one copy does alone, and a change in one feature leaves the others' bits.

    `alone`, (n, d), is what the forward gives of the inputs, `stages` are those of the reference. An `out` that is
    not finite says nothing of this, nor does one that is another each time, and passes.
    """
    if not np.all(np.isfinite(alone)):
        return True
    stack = _Stack.of(inputs, 3)
    stacked = forward(stack.inputs).copy()
    rough = np.max(location(inputs) * np.abs(inputs.gamma) / stages.std, axis=0)
    rounding = len(inputs.x) * float(np.finfo(alone.dtype).eps) * np.tile(rough, stack.copies)
    bound = AGREEMENT * np.max(np.abs(stacked), axis=0) + rounding
    if not np.all(np.abs(stacked - stack.side_by_side(alone)) <= bound):
        return not _repeats(forward, stack.inputs)
    middle = stack.inputs.x.shape[1] // 2
    stack.inputs.x[0, middle] += np.max(np.abs(inputs.x)) + 1
    moved = forward(stack.inputs).copy()
    moved[:, middle] = stacked[:, middle]
    return bool(np.array_equal(moved, stacked)) or not _repeats(forward, stack.inputs)


def _repeats(forward: Forward, inputs: Inputs) -> bool:
    """Whether it gives the same twice: what does not says nothing of features."""
    once = forward(inputs).copy()
    return bool(np.array_equal(once, forward(inputs)))


class _Stack(NamedTuple):
    """`copies` copies of `x`, (n, width), side by side in `inputs`, and the same memory as `cube`."""

    x: FloatArray
    inputs: Inputs
    cube: FloatArray  # (n, copies, width)
    copies: int

    @classmethod
    def of(cls, inputs: Inputs, at_most: int) -> _Stack:
        """As many copies as fit in SIZE, up to `at_most`, contiguous along rows or features, whichever is longer."""
        n, width = inputs.x.shape
        copies = max(1, min(at_most, SIZE // (n * width)))
        copies = math.ceil(at_most / math.ceil(at_most / copies))
        cube = np.empty((n, copies, width), inputs.x.dtype)
        if copies * width < n:
            cube = np.empty((copies, width, n), inputs.x.dtype).transpose(2, 0, 1)
        cube[:] = inputs.x[:, None, :]
        tiled = replace(inputs.map(lambda array: np.tile(array, copies)), x=cube.reshape(n, copies * width))
        return cls(inputs.x, tiled, cube, copies)

    def side_by_side(self, rows: FloatArray) -> FloatArray:
        """An (n, width) array as often and in the same memory order as x."""
        cube = np.empty_like(self.cube)
        cube[:] = rows[:, None, :]
        return cube.reshape(len(rows), -1)

    def move(self, rows: NDArray[np.intp], amounts: FloatArray) -> None:
        """Move row rows[i] of copy i by amounts[i]. Shapes: rows (m,), amounts (m, width), m <= copies."""
        self.cube[rows, np.arange(len(rows))] = self.x[rows] + amounts

    def restore(self, rows: NDArray[np.intp]) -> None:
        """Put those rows back, by assignment: subtracting what was added would not give the same bits."""
        self.cube[rows, np.arange(len(rows))] = self.x[rows]
