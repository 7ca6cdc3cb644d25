"""How long a full check takes, against the loop over elements that it replaces.

Run from the top of a checkout, on a quiet machine: python tests/benchmarks/speed.py [--repeats N] [--seed S]

Ours is `check`: draw, run the implementation, difference its forward at all five nodes with the resolution of each,
compare. The loop is what a course or a library writes: a central difference of order 2 for every element of x, gamma
and beta, the element changed in place and restored by assignment, one forward and one sum for an evaluation, of the
same forward on the same arrays; no mean, no var, no resolution, no drawing. One thread, medians, the two interleaved.
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

from bncheck.calling.implementation import REFERENCE
from bncheck.case import Case, Verdict
from bncheck.checking import check
from bncheck.gradients.batchnorm import FloatArray
from bncheck.gradients.problem import Problem, draw
from bncheck.gradients.stack import Forward

SHAPES = ((4, 5), (32, 64), (128, 256), (8, 16, 8, 8))
CLAIMED = {(32, 64): 25, (128, 256): 100}  # times faster, at least
AIM = 200  # times faster at (128, 256): not a claim
LOOP_STEP = 1e-5  # absolute, as in the course notes of CS231n; how good its values are is not at issue here
LONGEST = 4.0  # seconds: a loop that takes longer is timed once
FIXED_N, FIXED_D = 64, 16
RISING_D, RISING_N = (64, 128, 256, 512, 1024), (128, 256, 512, 1024)


@dataclass(frozen=True, slots=True)
class Timed:
    """Medians at one shape, in seconds, and how often the loop was timed."""

    shape: tuple[int, ...]
    loop: float
    ours: float
    loops: int

    @property
    def ratio(self) -> float:
        """How many times faster ours is."""
        return self.loop / self.ours


def loop(forward: Forward, problem: Problem) -> dict[str, FloatArray]:
    """Central differences of sum(dout * out), element by element. Shapes: x (n, d); gamma, beta (d,)."""
    inputs = problem.inputs.map(np.copy)
    dout, total = problem.dout, np.sum
    found = {}
    for name in ("x", "gamma", "beta"):
        array = getattr(inputs, name)
        flat, gradient = array.reshape(-1), np.empty(array.size)
        assert np.shares_memory(flat, array)
        for i in range(flat.size):
            kept = flat[i]
            flat[i] = kept + LOOP_STEP
            up = total(dout * forward(inputs))
            flat[i] = kept - LOOP_STEP
            down = total(dout * forward(inputs))
            flat[i] = kept
            gradient[i] = (up - down) / (2 * LOOP_STEP)
        found[name] = gradient.reshape(array.shape)
    return found


def seconds(work: Callable[[], object]) -> float:
    """How long one call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def compared(case: Case, repeats: int) -> Timed:
    """Loop and check in turn, `repeats` times and ours four times as often; a long loop once."""
    problem = draw(case)
    contiguous = replace(problem.inputs, x=np.ascontiguousarray(problem.inputs.x))
    problem = replace(problem, inputs=contiguous, dout=np.ascontiguousarray(problem.dout))
    assert check(case, REFERENCE).verdict is Verdict.PASS
    loops: list[float] = []
    ours: list[float] = []
    while len(loops) < repeats and not (loops and loops[0] > LONGEST):
        loops.append(seconds(partial(loop, REFERENCE.forward, problem)))
        ours += [seconds(partial(check, case, REFERENCE)) for _ in range(4)]
    return Timed(case.shape, median(loops), median(ours), len(loops))


def exponent(sizes: Sequence[int], cases: Sequence[Case]) -> float:
    """The power of the size that the cost of a check grows with: the slope of a line through the logarithms."""
    costs = [median([seconds(partial(check, case, REFERENCE)) for _ in range(5)]) for case in cases]
    print("  " + "  ".join(f"{size}: {1e3 * cost:.1f} ms" for size, cost in zip(sizes, costs, strict=True)))
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


# --- others, where installed -----------------------------------------------------------------------------------


def torch_gradcheck(case: Case) -> Callable[[], object]:
    """torch.autograd.gradcheck on torch's batch normalisation, default settings, float64, one thread."""
    import torch

    torch.set_num_threads(1)
    problem = draw(case)
    arrays: list[Any] = [
        torch.tensor(array.tolist(), dtype=torch.float64, requires_grad=True)
        for array in (problem.inputs.x, problem.inputs.gamma, problem.inputs.beta)
    ]

    def normalise(x: Any, gamma: Any, beta: Any) -> Any:
        return torch.nn.functional.batch_norm(x, None, None, gamma, beta, training=True, eps=case.eps)

    return lambda: torch.autograd.gradcheck(normalise, arrays)


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


def others(seed: int) -> None:
    """Print how long the checkers of torch and jax take at the shapes that do not exhaust memory."""
    for name, prepared in OTHERS.items():
        if importlib.util.find_spec(name) is None:
            print(f"{name}: skipped, not installed")
            continue
        for shape in ((4, 5), (32, 64)):
            work = prepared(Case(shape=shape, seed=seed))
            work()
            print(f"{name}, {prepared.__name__} at {shape}: {1e3 * median(seconds(work) for _ in range(5)):.2f} ms")


def main() -> int:
    """Time it all. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9, help="runs of the loop at each shape; a long one runs once")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(f"{'shape':16s}{'loop ms':>12s}{'ours ms':>12s}{'ratio':>10s}{'runs of the loop':>20s}")
    timed = [compared(Case(shape=shape, seed=arguments.seed), arguments.repeats) for shape in SHAPES]
    for row in timed:
        print(f"{row.shape!s:16s}{1e3 * row.loop:12.2f}{1e3 * row.ours:12.2f}{row.ratio:10.1f}{row.loops:20d}")
    print(f"\ncost of a check at n = {FIXED_N}, by d")
    in_d = exponent(RISING_D, [Case(shape=(FIXED_N, d), seed=arguments.seed) for d in RISING_D])
    print(f"  grows with d to the power of {in_d:.2f}, expected 1")
    print(f"cost of a check at d = {FIXED_D}, by n")
    in_n = exponent(RISING_N, [Case(shape=(n, FIXED_D), seed=arguments.seed) for n in RISING_N])
    print(f"  grows with n to the power of {in_n:.2f}, expected 2\n")
    others(arguments.seed)
    ratios = {row.shape: row.ratio for row in timed}
    print(f"aim: {AIM} times at (128, 256): {ratios[128, 256]:.0f}")
    held = {shape: ratios[shape] >= least for shape, least in CLAIMED.items()}
    for shape, holds in held.items():
        verdict = "holds" if holds else "FALLS SHORT"
        print(f"claim: at least {CLAIMED[shape]} times faster at {shape} ({ratios[shape]:.0f}): {verdict}")
    return 0 if all(held.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
