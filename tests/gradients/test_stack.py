"""Stacked copies give what single changes give, and a forward that mixes is found out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from bncheck.case import Case, XDraw
from bncheck.gradients import batchnorm, stack
from bncheck.gradients.batchnorm import FloatArray, Inputs
from bncheck.gradients.problem import NARROW, Problem, draw
from bncheck.gradients.stack import ORDER_8, Moves

# Of the largest change of L: the changes below are 1e-3 of L, whose rounding is n units of 1e-16.
ROUNDED = 1e-11

Forward = Callable[[Inputs], FloatArray]


def plain(inputs: Inputs) -> FloatArray:
    """Our own forward."""
    return batchnorm.forward(inputs).out


def layer_norm(inputs: Inputs) -> FloatArray:
    """Each row normalised over its features: all of them depend on each other."""
    x = inputs.x - inputs.x.mean(axis=1, keepdims=True)
    out: FloatArray = inputs.gamma * x / np.sqrt((x**2).mean(axis=1, keepdims=True) + inputs.eps) + inputs.beta
    return out


def mixing_from(features: int) -> Forward:
    """A forward that is right up to so many features, and lets them leak into each other beyond."""

    def leaking(inputs: Inputs) -> FloatArray:
        out = batchnorm.forward(inputs).out
        return out + 1e-3 * out.mean(axis=1, keepdims=True) if out.shape[1] > features else out

    return leaking


def neighbour(inputs: Inputs) -> FloatArray:
    """A forward into whose last feature a little of the first leaks, too little for the values to show it."""
    out = batchnorm.forward(inputs).out
    return out + 1e-13 * np.roll(inputs.x, 1, axis=1)


def moves_of(problem: Problem, rows: list[int]) -> Moves:
    """Each row by -1, 1 and 2 steps of 1/1024, which is 1e-3 of sigma."""
    return Moves.of(np.array(rows), [-1, 1, 2], np.full(problem.case.d, 2.0**-10))


def one_by_one(forward: Forward, problem: Problem, moves: Moves) -> FloatArray:
    """The definition: a copy of x, one element changed, L of its own feature before and after."""
    found = np.empty((len(moves.rows), problem.case.d))
    before = forward(problem.inputs)
    for i, (row, amounts) in enumerate(zip(moves.rows, moves.amounts, strict=True)):
        for j in range(problem.case.d):
            x = problem.inputs.x.copy()
            x[row, j] += amounts[j]
            found[i, j] = np.sum(problem.dout * (forward(replace(problem.inputs, x=x)) - before))
    return found


def test_moves_are_each_row_by_each_offset_and_then_more() -> None:
    step = np.array([1.0, 10.0])
    moves = Moves.of(np.array([4, 2]), [-1, 2], step).and_then(Moves.of(np.array([0]), [3], 2 * step))
    assert moves.rows.tolist() == [4, 4, 2, 2, 0]
    assert moves.amounts.tolist() == [[-1, -10], [2, 20], [-1, -10], [2, 20], [6, 60]]


# In turn: five settings in one stack, two, one.
@pytest.mark.parametrize("size", [2**15, 80, 1])
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_settings_of_gamma_and_beta_side_by_side_give_what_each_gives_alone(
    mode: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "SIZE", size)
    inputs = draw(Case(shape=(8, 5), mode=mode)).inputs
    gamma, beta = np.arange(25.0).reshape(5, 5), -np.arange(25.0).reshape(5, 5)
    found = stack.outs(plain, inputs, gamma, beta)
    alone = [plain(replace(inputs, gamma=gamma[k], beta=beta[k])) for k in range(5)]
    assert found == pytest.approx(np.stack(alone, axis=1), rel=ROUNDED, abs=ROUNDED)


# In turn: everything in one stack, several stacks, one copy a stack, blocks of features, one feature at a time.
@pytest.mark.parametrize("size", [2**15, 200, 40, 20, 1])
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(Case(shape=(8, 5)), id="more rows"),
        pytest.param(Case(shape=(3, 13)), id="more features"),
        pytest.param(Case(shape=(40, 2)), id="many rows"),
        pytest.param(Case(shape=(8, 5), mode="eval"), id="eval"),
        pytest.param(Case(shape=(2, 1)), id="smallest"),
    ],
)
def test_stacked_changes_are_those_made_one_by_one(case: Case, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "SIZE", size)
    problem = draw(case)
    moves = moves_of(problem, list(range(case.n)))
    stacked = stack.changes(plain, problem.inputs, problem.dout, moves)
    wanted = one_by_one(plain, problem, moves)
    assert stacked == pytest.approx(wanted, rel=0, abs=ROUNDED * np.abs(wanted).max())


def test_blocks_have_every_feature_once_and_hold_no_more_than_a_stack() -> None:
    for n, d in ((2**14, 30), (3, 2**17), (2**20, 3), (4, 5)):
        found = list(stack.blocks(n, d))
        assert [j for block in found for j in range(d)[block]] == list(range(d))
        assert all(len(range(d)[block]) * n <= stack.SIZE for block in found) or n > stack.SIZE
    assert len(list(stack.blocks(4, 5))) == 1


@pytest.mark.parametrize("size", [2**17, 200, 1])
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_a_slope_is_the_jacobian_times_the_direction_that_was_taken(
    mode: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "SIZE", size)
    inputs = draw(Case(shape=(8, 5), mode=mode, x=XDraw(mean=100))).inputs
    directions = [np.cos(np.arange(40.0)).reshape(8, 5), np.sin(np.arange(40.0)).reshape(8, 5)]
    found = stack.slopes(plain, inputs, [(direction, ORDER_8) for direction in directions], np.full(5, 2.0**-8))
    for slope, direction in zip(found, directions, strict=True):
        wanted = batchnorm.times_jacobian(inputs, batchnorm.forward(inputs), slope.taken)
        assert slope.of_out == pytest.approx(wanted, rel=0, abs=ROUNDED)
        assert slope.taken == pytest.approx(direction, rel=0, abs=ROUNDED)


@pytest.mark.parametrize("at_most", [1, 2, 3, 100])
@pytest.mark.parametrize("shape", [(8, 5), (3, 13), (500, 2), (500, 20)])
def test_a_stack_of_few_features_and_more_rows_is_laid_along_the_rows(shape: tuple[int, int], at_most: int) -> None:
    inputs = draw(Case(shape=shape)).inputs
    built = stack._Stack.of(inputs, at_most)
    n, features = built.inputs.x.shape
    assert features == built.copies * shape[1]
    assert built.inputs.x.flags.f_contiguous if features < min(n, NARROW) else built.inputs.x.flags.c_contiguous


@pytest.mark.parametrize("at_most", [1, 2, 50])
def test_no_more_copies_are_stacked_than_its_size_holds(at_most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "SIZE", 100)
    inputs = draw(Case(shape=(8, 5))).inputs
    assert stack._copies(inputs, at_most) == min(at_most, 2)


@pytest.mark.parametrize("shape", [(8, 5), (500, 2)], ids=["C order", "F order"])
def test_what_is_moved_is_put_back_bit_by_bit(shape: tuple[int, int]) -> None:
    inputs = draw(Case(shape=shape, x=XDraw(mean=0.1, std=1e-9))).inputs
    seen: list[FloatArray] = []

    def watched(stacked: Inputs) -> FloatArray:
        seen.append(stacked.x.reshape(shape[0], -1, shape[1]).copy())
        return plain(stacked)

    rows = np.array([0, shape[0] - 1, 1, 0])
    moves = Moves(rows, np.full((4, shape[1]), 1 / 3))
    stack.changes(watched, inputs, np.ones(shape), moves)
    at_rest = np.repeat(inputs.x[:, None], seen[0].shape[1], axis=1)
    assert seen[0].tobytes() == at_rest.tobytes()
    assert all(np.count_nonzero(np.any(cube != at_rest, axis=2)) <= seen[0].shape[1] for cube in seen)


def independent(forward: stack.Forward, inputs: Inputs) -> bool:
    """What `features_are_independent` says of a forward on its own, at these inputs."""
    return stack.features_are_independent(forward, inputs, forward(inputs).copy(), batchnorm.forward(inputs))


def test_x_itself_is_never_written_to() -> None:
    problem = draw(Case(shape=(8, 5)))
    problem.inputs.x.flags.writeable = False
    moves = moves_of(problem, [0, 1])
    stack.changes(plain, problem.inputs, problem.dout, moves)
    stack.slopes(plain, problem.inputs, [(problem.dout, ORDER_8)], np.full(5, 2.0**-8))
    assert independent(plain, problem.inputs)


def test_a_forward_that_reuses_its_buffer_is_no_trouble() -> None:
    problem = draw(Case(shape=(8, 5)))
    buffers: dict[tuple[int, ...], FloatArray] = {}

    def reusing(inputs: Inputs) -> FloatArray:
        buffer = buffers.setdefault(inputs.x.shape, np.empty(inputs.x.shape))
        buffer[:] = plain(inputs)
        return buffer

    moves = moves_of(problem, [0, 7])
    assert independent(reusing, problem.inputs)
    assert np.array_equal(
        stack.changes(reusing, problem.inputs, problem.dout, moves),
        stack.changes(plain, problem.inputs, problem.dout, moves),
    )


def test_our_own_features_are_independent(regime: Case) -> None:
    assert independent(plain, draw(regime).inputs)


@pytest.mark.parametrize(
    "forward",
    [
        pytest.param(layer_norm, id="layer norm"),
        pytest.param(mixing_from(5), id="mixing stacked copies only"),
        pytest.param(neighbour, id="a leak too small for the values to show"),
    ],
)
def test_a_forward_that_mixes_features_is_found_out(forward: Forward) -> None:
    assert not independent(forward, draw(Case(shape=(8, 5))).inputs)


def test_an_out_that_is_not_finite_says_nothing_of_independence() -> None:
    inputs = draw(Case(shape=(8, 5))).inputs
    assert independent(lambda inputs: np.full_like(inputs.x, np.nan), inputs)
