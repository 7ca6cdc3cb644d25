"""Stencils, and displaced copies of x side by side, as further features of one batch: many differences in one call.

Copies of x with one displacement each are stacked as (n, copies * d). That features do not see each other is verified.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bncheck.gradients.batchnorm import FloatArray, Inputs, Stages, location
from bncheck.gradients.problem import NARROW

# --- stencils ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stencil:
    """f'(0) = sum(weight * f(offset * step)) / (over * step) + O(step ** order).

    `weights` maps offset to weight, all whole numbers, so that they serve in any arithmetic. Their moments, the sums of
    weight / over * offset ** k, are 0, 1, 0, 0, ... for k = 0 .. order. `lower` is a stencil of lower order on some
    of the same points, whose difference from this one measures truncation.
    """

    order: int
    weights: Mapping[int, int] = field(hash=False)
    over: int
    lower: Stencil | None
    source: str

    @property
    def remainder(self) -> int:
        """The error of a central stencil, over step ** order times Taylor's coefficient of order + 1: (p/2)! ** 2."""
        return math.factorial(self.order // 2) ** 2

    @property
    def gain(self) -> float:
        """The standard deviation of a slope over that of the values it is made of, for a step of 1."""
        return math.sqrt(sum(weight**2 for weight in self.weights.values())) / self.over


def _row(order: int, weights: dict[int, int], over: int, lower: Stencil | None, source: str) -> Stencil:
    return Stencil(order, MappingProxyType(weights), over, lower, source)


ORDER_1 = _row(1, {0: -1, 1: 1}, 1, None, "Newton's forward difference")
ORDER_2 = _row(2, {-1: -1, 1: 1}, 2, ORDER_1, "Fornberg (1988), Table 1, order 2")
ORDER_3 = _row(3, {-1: -2, 0: -3, 1: 6, 2: -1}, 6, ORDER_2, "Abramowitz & Stegun (1964), Table 25.2, four points")
ORDER_4 = _row(4, {-2: 1, -1: -8, 1: 8, 2: -1}, 12, ORDER_2, "Fornberg (1988), Table 1, order 4")
ORDER_6 = _row(6, {-3: -1, -2: 9, -1: -45, 1: 45, 2: -9, 3: 1}, 60, ORDER_4, "Fornberg (1988), Table 1, order 6")
_WEIGHTS_8 = {-4: 3, -3: -32, -2: 168, -1: -672, 1: 672, 2: -168, 3: 32, 4: -3}
ORDER_8 = _row(8, _WEIGHTS_8, 840, ORDER_6, "Fornberg (1988), Table 1, order 8")
STENCILS = (ORDER_1, ORDER_2, ORDER_3, ORDER_4, ORDER_6, ORDER_8)


class Way(StrEnum):
    """How all of dx is differenced: in one direction, or one row of x after another."""

    ALONG_DOUT = "along dout"
    ROW_BY_ROW = "row by row"


class Method(NamedTuple):
    """How to difference: a stencil, a step, an arithmetic ("float64" or "longdouble"), and for dx a way.

    `fraction` is the step relative to the distance over which out is smooth. Along a direction of root mean square 1
    in a feature that is sigma, the least radius of convergence of 1 / std; in one row of x, sigma * n / sqrt(n - 1).
    """

    stencil: Stencil
    fraction: float
    dtype: str
    way: Way = Way.ALONG_DOUT

    def __str__(self) -> str:
        return f"order {self.stencil.order} in {self._arithmetic}"

    @property
    def of_dx(self) -> str:
        """The name of the method where it differences dx."""
        return f"order {self.stencil.order} {self.way} in {self._arithmetic}"

    @property
    def _arithmetic(self) -> str:
        return "80-bit" if self.dtype == "longdouble" else self.dtype


# Order 4 at 2**-11: truncation is 4 * 2**-44, rounding 2**-53 * 2**11, both about 2e-13 and far below 1e-9.
# Order 8 at 2**-7: truncation is 576 * 2**-56, or 8e-15, rounding 2**-53 * 2**7 or 1.4e-14. At 2**-9 in 80 bits: 3e-17.
EVERYDAY = Method(ORDER_4, 2.0**-11, "float64")
LONG_STEP = Method(ORDER_8, 2.0**-7, "float64")
EXTENDED = Method(ORDER_8, 2.0**-9, "longdouble")
# One row after another, truncation is of the same size at 2**-14 and order 3.
ROWS = Method(ORDER_3, 2.0**-14, "float64", Way.ROW_BY_ROW)
ROWS_EXTENDED = Method(ORDER_8, 2.0**-9, "longdouble", Way.ROW_BY_ROW)


def methods() -> tuple[Method, ...]:
    """From the quickest to the finest. Where longdouble is no finer than float64, order 8 in float64 is the last."""
    return tuple(method for method in (EVERYDAY, LONG_STEP, EXTENDED) if _is_there(method))


def methods_by_rows() -> tuple[Method, ...]:
    """The methods for a forward whose Jacobian is not symmetric."""
    return tuple(method for method in (ROWS, ROWS_EXTENDED) if _is_there(method))


def _is_there(method: Method) -> bool:
    """Whether the platform has a longdouble finer than float64, where the method asks for one."""
    return method.dtype == "float64" or bool(np.finfo(np.longdouble).eps < np.finfo(np.float64).eps)


# --- stacks -----------------------------------------------------------------------------------------------------


Forward = Callable[[Inputs], FloatArray]
"""The forward under check: out, shape (n, m), of inputs with any number m of features, in any float dtype."""

SIZE = 2**16  # elements in a stack: 512 kB in float64, so that most of what a forward touches stays in the cache
COARSE = 2.0**-6  # of out: what float32 inside a forward may cost where the mean is many sigmas
ANYTHING = 2.0**64  # of out: what is left of a variance in one pass where the mean is many sigmas
AGREEMENT = 2.0**-30  # one forward run twice agrees far better, one that normalises over another axis far worse


def blocks(n: int, d: int) -> Iterator[slice]:
    """Features in blocks that stay in the cache: of SIZE elements, and at least one feature."""
    width = max(1, SIZE // n)
    return (slice(first, min(first + width, d)) for first in range(0, d, width))


# --- all rows at once, along a direction ---------------------------------------------------------------------------


class Slope(NamedTuple):
    """The derivative of out along a direction, and the direction that was really `taken`, both (n, d).

    What is added to x is rounded to the spacing of x. `taken` is what was left of the direction after that.
    """

    of_out: FloatArray
    taken: FloatArray


def slopes(
    forward: Forward, inputs: Inputs, directions: Sequence[tuple[FloatArray, Stencil]], step: FloatArray
) -> list[Slope]:
    """Differences of out along each direction, (n, d), by its central stencil. Shapes: step (d,)."""
    _keep_freed_memory()
    n, d = inputs.x.shape
    found: list[Slope | None] = [None] * len(directions)
    offsets = [[offset for offset in stencil.weights if offset > 0] for _, stencil in directions]
    pairs = [(number, offset) for number, some in enumerate(offsets) for offset in some]
    size = max(1, SIZE // (2 * n * d))
    for start in range(0, len(pairs), size):
        some = pairs[start : start + size]
        stack = _Stack.empty(inputs, 2 * len(some))
        for place, (number, offset) in enumerate(some):
            move = directions[number][0] * (offset * step)
            np.add(inputs.x, move, out=stack.cube[:, 2 * place])
            np.subtract(inputs.x, move, out=stack.cube[:, 2 * place + 1])
        outs = forward(stack.inputs).reshape(stack.cube.shape)
        for place, (number, offset) in enumerate(some):
            stencil = directions[number][1]
            share = stencil.weights[offset] / (stencil.over * step)
            slope = Slope(*((moved[:, 2 * place] - moved[:, 2 * place + 1]) * share for moved in (outs, stack.cube)))
            so_far = found[number]
            found[number] = slope if so_far is None else Slope(*map(np.add, so_far, slope))
    return [slope for slope in found if slope is not None]


# --- one row at a time ---------------------------------------------------------------------------------------------


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
        """These moves, and then those."""
        return Moves(np.concatenate((self.rows, more.rows)), np.concatenate((self.amounts, more.amounts)))


def changes(forward: Forward, inputs: Inputs, dout: FloatArray, moves: Moves) -> FloatArray:
    """The change of L = sum(dout * out) that each move makes through its own feature, shape (m, d)."""
    found = np.empty((len(moves.rows), inputs.x.shape[1]), inputs.x.dtype)
    stack = _Stack.of(inputs, _copies(inputs, len(moves.rows)))
    base = forward(stack.inputs).copy()
    for start in range(0, len(moves.rows), stack.copies):
        rows = moves.rows[start : start + stack.copies]
        places = np.arange(len(rows))
        stack.cube[rows, places] = inputs.x[rows] + moves.amounts[start : start + stack.copies]
        change = (forward(stack.inputs) - base).reshape(stack.cube.shape)
        found[start : start + stack.copies] = np.einsum("nd,ncd->cd", dout, change)[: len(rows)]
        stack.cube[rows, places] = inputs.x[rows]  # by assignment: subtracting what was added gives other bits
    return found


# --- settings of gamma and beta ------------------------------------------------------------------------------------


def outs(forward: Forward, inputs: Inputs, gamma: FloatArray, beta: FloatArray) -> FloatArray:
    """out at the same x for each of k settings of gamma and beta, (n, k, d). Shapes: gamma, beta (k, d)."""
    n, d = inputs.x.shape
    found = np.empty((n, len(gamma), d), inputs.x.dtype)
    copies = _copies(inputs, len(gamma))
    for start in range(0, len(gamma), copies):
        part = slice(start, start + copies)
        some = len(gamma[part])
        tiled = inputs.map(partial(np.tile, reps=some))
        out = forward(replace(tiled, gamma=gamma[part].ravel(), beta=beta[part].ravel()))
        found[:, part] = out.reshape(n, some, d)
    return found


# --- whether features see each other -------------------------------------------------------------------------------


def features_are_independent(
    forward: Forward, inputs: Inputs, alone: FloatArray, stages: Stages, eps: float = 2.0**-52, lost: float = COARSE
) -> bool:
    """Whether stacked copies come out as one copy does alone, and a change in one feature leaves the others' bits.

    `alone`, (n, d), is what the forward gives of the inputs, `stages` are those of the reference, `eps` is the spacing
    at 1 of the numbers that it works in. An `out` that is not finite, or another each time, says nothing, and passes.
    A forward that is no further from ours than `lost` of out is taken to lose digits: in a stack it may lose others.
    """
    if not np.all(np.isfinite(alone)):
        return True
    stack = _Stack.of(inputs, _copies(inputs, 3))
    stacked = forward(stack.inputs).copy()
    rounding = len(inputs.x) * eps * np.max(location(inputs) * np.abs(inputs.gamma) / stages.std, axis=0)
    cube = stacked.reshape(stack.cube.shape)
    size = np.max(np.abs(alone), axis=0)
    far = np.divide(np.max(np.abs(alone - stages.out), axis=0), size, out=np.zeros_like(size), where=size > 0)
    bound = (lost if AGREEMENT < far.max() < lost else AGREEMENT) * np.max(np.abs(cube), axis=0) + rounding
    if not np.all(np.abs(cube - alone[:, None]) <= bound):
        return not _repeats(forward, stack.inputs)
    return a_feature_moves_alone(forward, stack.inputs, stacked)


def a_feature_moves_alone(forward: Forward, inputs: Inputs, out: FloatArray) -> bool:
    """Whether a change of x in the middle feature leaves the bits of out in all others. Shapes: out (n, d).

    A forward that gives something else each time says nothing of this, and passes.
    """
    middle = inputs.x.shape[1] // 2
    x = inputs.x.copy(order="K")  # another order would sum in another order
    x[0, middle] += np.max(np.abs(x[:, middle])) + 1
    moved = forward(replace(inputs, x=x))
    changed = np.any(moved != out, axis=0)
    changed[middle] = False
    return not np.any(changed) or not _repeats(forward, inputs)


def _repeats(forward: Forward, inputs: Inputs) -> bool:
    """Whether it gives the same twice: what does not says nothing of features."""
    once = forward(inputs).copy()
    return bool(np.array_equal(once, forward(inputs)))


# --- copies of x side by side --------------------------------------------------------------------------------------


def _copies(inputs: Inputs, at_most: int) -> int:
    """As many copies of x as fit in SIZE, up to `at_most`, in stacks of one size."""
    copies = max(1, min(at_most, SIZE // inputs.x.size))
    return math.ceil(at_most / math.ceil(at_most / copies))


class _Stack(NamedTuple):
    """`copies` copies of x, (n, width), side by side in `inputs`, and the same memory as `cube`."""

    inputs: Inputs
    cube: FloatArray  # (n, copies, width)
    copies: int

    @classmethod
    def of(cls, inputs: Inputs, copies: int) -> _Stack:
        """Copies of x as it is."""
        stack = cls.empty(inputs, copies)
        stack.cube[:] = inputs.x[:, None, :]
        return stack

    @classmethod
    def empty(cls, inputs: Inputs, copies: int) -> _Stack:
        """Room for copies, along the rows where there are few features, over which a sum would take a few at a time."""
        n, width = inputs.x.shape
        cube = np.empty((n, copies, width), inputs.x.dtype)
        if copies * width < min(n, NARROW):
            cube = np.empty((copies, width, n), inputs.x.dtype).transpose(2, 0, 1)
        tiled = inputs.map(lambda array: np.tile(array, copies) if array.ndim == 1 else array)
        return cls(replace(tiled, x=cube.reshape(n, copies * width)), cube, copies)


def _keep_freed_memory() -> None:
    """Free a large block, after which glibc keeps what smaller arrays free instead of giving it back to the system.

    Without it each array of a stack is paged in anew: at (32, 64) that is most of the time.
    """
    np.empty(2**24, np.uint8)
