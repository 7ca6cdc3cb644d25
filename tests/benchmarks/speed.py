"""How long a full check of somebody's functions takes, against the loop over elements that it replaces.

Run from the top of a checkout, on a quiet machine: python tests/benchmarks/speed.py [--repeats N] [--seed S] [--quick]

Ours is `bncheck.check(forward, backward, shape=...)` on two functions of a course: recognised, drawn, run as often as
the contract asks, differenced at all five nodes with the resolution of each, compared. The loop is what a course or a
library writes: a central difference of order 2 for every element of x, gamma and beta, the element changed in place and
restored by assignment, one forward and one sum for an evaluation, of the same forward on the same arrays; no mean, no
var, no resolution, no drawing. One thread, medians, the two interleaved. The case is the same each time, so that from
the second check on its arrays and what they are measured by are there; "fresh" is a check with another seed each time.
"""

# ruff: noqa: E402 - where the package is, and how many threads NumPy takes, is settled before they are imported

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[threads] = "1"  # before NumPy is loaded: the comparison is of work done, not of cores
sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

import bncheck
from bncheck.case import Case
from bncheck.gradients.batchnorm import FloatArray
from bncheck.gradients.problem import Problem, draw

SHAPES = ((4, 5), (32, 64), (128, 256), (1024, 64))
QUICK = SHAPES[:2]
CLAIMED = {(32, 64): 25, (128, 256): 500, (1024, 64): 2000}  # times faster than the loop, at least
PASSES = 50  # times one forward and backward of theirs, at most, from (128, 256) up
TORCH = 2  # times gradcheck in fast mode, at most, from (128, 256) up; it looks at one number of all
SMALL = 3e-3  # seconds a repeated check of one function may take at (4, 5)
LOOP_STEP = 1e-5  # absolute, as in the course notes of CS231n; how good its values are is not at issue here
LONGEST = 4.0  # seconds: a loop that takes longer is timed once


# --- somebody's functions --------------------------------------------------------------------------------------

Cache = tuple[FloatArray, FloatArray, FloatArray]


def batchnorm_forward(x: FloatArray, gamma: FloatArray, beta: FloatArray, eps: float) -> tuple[FloatArray, Cache]:
    """As a course has it."""
    std = np.sqrt(np.var(x, axis=0) + eps)
    x_hat = (x - np.mean(x, axis=0)) / std
    return gamma * x_hat + beta, (x_hat, gamma, std)


def batchnorm_backward(dout: FloatArray, cache: Cache) -> tuple[FloatArray, FloatArray, FloatArray]:
    """As a course has it, in closed form."""
    x_hat, gamma, std = cache
    n, dbeta, dgamma = len(dout), dout.sum(axis=0), (dout * x_hat).sum(axis=0)
    return gamma / (n * std) * (n * dout - dbeta - x_hat * dgamma), dgamma, dbeta


# --- what is timed ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Timed:
    """Medians at one shape, in seconds, and how often the loop was timed; `once` is one forward and backward."""

    shape: tuple[int, ...]
    loop: float
    ours: float
    fresh: float
    loops: int
    once: float

    @property
    def ratio(self) -> float:
        """How many times faster ours is."""
        return self.loop / self.ours


def loop(problem: Problem) -> dict[str, FloatArray]:
    """Central differences of sum(dout * out), element by element. Shapes: x (n, d); gamma, beta (d,)."""
    inputs = problem.inputs.map(np.copy)
    dout, total = problem.dout, np.sum

    def forward() -> FloatArray:
        return batchnorm_forward(inputs.x, inputs.gamma, inputs.beta, inputs.eps)[0]

    found = {}
    for name in ("x", "gamma", "beta"):
        array = getattr(inputs, name)
        flat, gradient = array.reshape(-1), np.empty(array.size)
        assert np.shares_memory(flat, array)
        for i in range(flat.size):
            kept = flat[i]
            flat[i] = kept + LOOP_STEP
            up = total(dout * forward())
            flat[i] = kept - LOOP_STEP
            down = total(dout * forward())
            flat[i] = kept
            gradient[i] = (up - down) / (2 * LOOP_STEP)
        found[name] = gradient.reshape(array.shape)
    return found


def seconds(work: Callable[[], object]) -> float:
    """How long one call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def checked(case: Case) -> bncheck.Report:
    """One check of the two functions."""
    return bncheck.check(batchnorm_forward, batchnorm_backward, shape=case.shape, seeds=[case.seed])


def compared(case: Case, repeats: int) -> Timed:
    """Loop and check in turn, `repeats` times and ours four times as often; a long loop once."""
    problem = draw(case)
    contiguous = replace(problem.inputs, x=np.ascontiguousarray(problem.inputs.x))
    problem = replace(problem, inputs=contiguous, dout=np.ascontiguousarray(problem.dout))
    inputs = problem.inputs

    def once() -> None:
        _, cache = batchnorm_forward(inputs.x, inputs.gamma, inputs.beta, inputs.eps)
        batchnorm_backward(problem.dout, cache)

    assert checked(case).passed
    loops: list[float] = []
    ours: list[float] = []
    fresh: list[float] = []
    passes: list[float] = []
    while len(loops) < repeats and not (loops and loops[0] > LONGEST):
        loops.append(seconds(partial(loop, problem)))
        ours += [seconds(partial(checked, case)) for _ in range(4)]
        fresh += [seconds(partial(checked, replace(case, seed=1000 + len(fresh) + i))) for i in range(4)]
        passes += [seconds(once) for _ in range(20)]
    return Timed(case.shape, median(loops), median(ours), median(fresh), len(loops), median(passes))


# --- others, where installed -----------------------------------------------------------------------------------


def torch_gradcheck(case: Case) -> Callable[[], object]:
    """torch.autograd.gradcheck in fast mode on torch's batch normalisation, float64, one thread."""
    import torch

    torch.set_num_threads(1)
    problem = draw(case)
    arrays: list[Any] = [
        torch.tensor(array.tolist(), dtype=torch.float64, requires_grad=True)
        for array in (problem.inputs.x, problem.inputs.gamma, problem.inputs.beta)
    ]

    def normalise(x: Any, gamma: Any, beta: Any) -> Any:
        return torch.nn.functional.batch_norm(x, None, None, gamma, beta, training=True, eps=case.eps)

    return lambda: torch.autograd.gradcheck(normalise, arrays, fast_mode=True)


def jax_check_grads(case: Case) -> Callable[[], object]:
    """jax.test_util.check_grads on batch normalisation in jax.numpy, order 1, float64."""
    import jax
    from jax.test_util import check_grads

    jax.config.update("jax_enable_x64", True)
    problem = draw(case)
    arrays = tuple(jax.numpy.asarray(array) for array in (problem.inputs.x, problem.inputs.gamma, problem.inputs.beta))

    def normalise(x: Any, gamma: Any, beta: Any) -> Any:
        return gamma * (x - x.mean(0)) / jax.numpy.sqrt(x.var(0) + case.eps) + beta

    return lambda: check_grads(normalise, arrays, order=1)


OTHERS: Mapping[str, Callable[[Case], Callable[[], object]]] = {"torch": torch_gradcheck, "jax": jax_check_grads}


def others(timed: Sequence[Timed], seed: int) -> dict[tuple[str, tuple[int, ...]], float]:
    """Print how long the checkers of torch and jax take, against ours. Returns how many times as long ours takes."""
    ratios = {}
    for name, prepared in OTHERS.items():
        if importlib.util.find_spec(name) is None:
            print(f"{name}: skipped, not installed")
            continue
        for row in timed:
            work = prepared(Case(shape=row.shape, seed=seed))
            work()
            theirs = median(seconds(work) for _ in range(15))
            ratios[name, row.shape] = row.ours / theirs
            print(
                f"{name}, {prepared.__name__} at {row.shape}: {1e3 * theirs:.2f} ms, ours {row.ours / theirs:.2f} times"
            )
    return ratios


def main() -> int:
    """Time it all. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9, help="runs of the loop at each shape; a long one runs once")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="the small shapes alone")
    arguments = parser.parse_args()
    shapes = QUICK if arguments.quick else SHAPES
    print(
        f"{'shape':16s}{'loop ms':>12s}{'ours ms':>12s}{'fresh ms':>12s}{'times faster':>14s}"
        f"{'passes':>10s}{'runs of the loop':>20s}"
    )
    timed = [compared(Case(shape=shape, seed=arguments.seed), arguments.repeats) for shape in shapes]
    for row in timed:
        print(
            f"{row.shape!s:16s}{1e3 * row.loop:12.2f}{1e3 * row.ours:12.2f}{1e3 * row.fresh:12.2f}{row.ratio:14.1f}"
            f"{row.ours / row.once:10.0f}{row.loops:20d}"
        )
    held = {}
    for (name, shape), ratio in others(timed, arguments.seed).items():
        if name == "torch" and shape[0] * shape[1] >= 128 * 256:
            held[f"at most {TORCH} times torch's gradcheck in fast mode at {shape} ({ratio:.2f})"] = ratio <= TORCH
    for row in timed:
        if row.shape in CLAIMED:
            least = CLAIMED[row.shape]
            held[f"at least {least} times faster at {row.shape} ({row.ratio:.0f})"] = row.ratio >= least
        if row.shape[0] * row.shape[1] >= 128 * 256:
            most = row.ours / row.once
            held[f"at most {PASSES} times a forward and backward of theirs at {row.shape} ({most:.0f})"] = (
                most <= PASSES
            )
        if row.shape == (4, 5):
            held[f"at most {1e3 * SMALL:.0f} ms at {row.shape} ({1e3 * row.ours:.1f})"] = row.ours <= SMALL
    for claim, holds in held.items():
        print(f"claim: {claim}: {'holds' if holds else 'FALLS SHORT'}")
    return 0 if all(held.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
