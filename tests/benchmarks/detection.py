"""Whether wrong backward passes are caught: the twelve faults in seven regimes, a small slip, and zeros.

Run from the top of a checkout: python tests/benchmarks/detection.py [--problems N] [--seed S]

Whether a fault is visible is settled without finite differences and without a tolerance: the faulty gradients and the
right ones are both computed in longdouble from the same inputs, and the largest difference at any node, relative to
the scale of that node, has to be above what correct code in the dtype may be off by: ALLOWED. A second, sharper count
takes what the tolerance of the checker allows at that very problem.
"""

# ruff: noqa: E402 - where the package is, and how many threads NumPy takes, is settled before they are imported

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(threads, "1")  # before NumPy is loaded
sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from bncheck.calling.implementation import REFERENCE, Implementation
from bncheck.case import Case, Verdict, XDraw
from bncheck.checking import check
from bncheck.gradients import batchnorm
from bncheck.gradients.batchnorm import NODES, FloatArray, Gradients, Inputs
from bncheck.gradients.problem import Problem, draw
from bncheck.gradients.yardsticks import relative
from tests.benchmarks.calibration import CORRECT, DTYPES, REGIMES, truth, yardsticks
from tests.faulty import FAULTS, ZEROS, Fault, slip, taken_apart

SHAPES = ((16, 8), (32, 64), (4, 3, 5, 5))
TWO_ROWS = {(16, 8): (2, 8), (32, 64): (2, 64), (4, 3, 5, 5): (2, 3, 1, 1)}
PEERS: Mapping[str, Case] = {
    "ordinary": Case(shape=()),
    "variance 1e-8": Case(shape=(), x=XDraw(std=1e-4)),
    "mean 1e4": Case(shape=(), x=XDraw(mean=1e4)),
    "n = 2": Case(shape=()),
    "dout of ones": Case(shape=(), dout="ones"),
    "float32": Case(shape=(), dtype="float32"),
    "std 1e6": Case(shape=(), x=XDraw(std=1e6)),
}
# Ten times the floor of the tolerance in float64; in float32 half of 5e-5, which is the worst error of the least wrong
# of the faulty backward passes found in published code. Chosen beforehand, and not from the tolerance.
ALLOWED = {"float64": 1e-8, "float32": 2.5e-5}
SLIP = 1e-7  # of dvar: what has to be caught on ordinary data in float64


@dataclass(slots=True)
class Tally:
    """What was seen and what was missed. `visible` and `invisible` are effects by dtype, relative to the scale."""

    faulty: int = 0
    visible: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    invisible: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    sharper: int = 0
    missed: list[str] = field(default_factory=list)
    missed_node: list[str] = field(default_factory=list)
    missed_sharper: list[str] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    cells: dict[tuple[str, str], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    correct: int = 0


def problems(count: int, seed: int) -> Iterator[tuple[str, Case]]:
    """`count` seeds of every regime at every shape."""
    for regime, case in PEERS.items():
        for shape in SHAPES:
            for number in range(seed, seed + count):
                yield regime, replace(case, shape=TWO_ROWS[shape] if regime == "n = 2" else shape, seed=number)


def place(regime: str, case: Case) -> str:
    """Which problem that was."""
    return f"{regime}, {'x'.join(map(str, case.shape))}, seed {case.seed}"


def effects(fault: Fault, problem: Problem) -> dict[str, np.ndarray[tuple[int], np.dtype[np.floating]]]:
    """How much the fault changes each gradient, (d,), relative to its scale; in longdouble, not differenced."""
    inputs = problem.inputs.map(lambda array: array.astype(np.longdouble))
    wrong = fault.gradients(taken_apart(inputs, problem.dout.astype(np.longdouble)))
    right: Gradients = truth(problem)
    rods = yardsticks(problem)
    return {
        node: relative(np.max(np.abs(np.atleast_2d(wrong.of(node) - right.of(node))), axis=0), rods[node].scale)
        for node in NODES
    }


def try_faults(regime: str, case: Case, tally: Tally) -> None:
    """Every fault on one problem: it has to fail, and at every node at which it is visible."""
    problem = draw(case)
    rods = yardsticks(problem)
    for fault in FAULTS:
        rows = {row.node: row.verdict for row in check(case, fault.implementation).comparisons}
        caught = Verdict.FAIL in rows.values()
        visible = False
        for node, effect in effects(fault, problem).items():
            largest = float(np.max(effect))
            where = f"{fault.name} at {node}, {place(regime, case)}: effect {largest:.2e}, {rows[node]}"
            above = largest > ALLOWED[case.dtype]
            visible |= above
            (tally.visible if above else tally.invisible)[case.dtype].append(largest)
            if above and rows[node] is not Verdict.FAIL:
                tally.missed_node.append(where)
            if np.any(effect > rods[node].tolerance):
                tally.sharper += 1
                if rows[node] is not Verdict.FAIL:
                    tally.missed_sharper.append(where)
        tally.faulty += 1
        tally.cells[fault.name, regime].update(visible=int(visible), caught=int(visible and caught))
        if visible and not caught:
            tally.missed.append(f"{fault.name}, {place(regime, case)}")


def try_correct(regime: str, case: Case, tally: Tally) -> None:
    """Every correct implementation on one problem."""
    for writer in CORRECT:
        verdict = check(case, writer).verdict
        tally.correct += 1
        if verdict is not Verdict.PASS:
            tally.alarms.append(f"{writer.name}, {place(regime, case)}: {verdict}")


def slips(count: int, seed: int) -> list[str]:
    """Where a slip of dvar was not seen at var and at x, on ordinary data."""
    missed = []
    for shape in SHAPES:
        for number in range(seed, seed + count):
            found = check(replace(PEERS["ordinary"], shape=shape, seed=number), slip(SLIP)).comparisons
            failing = {comparison.node for comparison in found if comparison.verdict is Verdict.FAIL}
            if failing != {"var", "x"}:
                missed.append(f"{shape}, seed {number}: fails at {sorted(failing)}")
    return missed


def zeros(count: int, seed: int) -> tuple[int, list[str], Counter[str]]:
    """How many problems a backward of zeros was tried on, where it was not caught, and at which nodes it was."""
    tried, missed, nodes = 0, [], Counter[str]()
    stream = np.random.Generator(np.random.PCG64(seed))
    for regime, settings in REGIMES.items():
        for dtype in dict.fromkeys(DTYPES):
            for shape in SHAPES:
                for number in range(seed, seed + count):
                    wanted = TWO_ROWS[shape] if regime.startswith("n = 2") else shape
                    found = check(Case(shape=wanted, seed=number, dtype=dtype, **settings(stream)), ZEROS)
                    if found.verdict is Verdict.SKIPPED:
                        continue
                    tried += 1
                    nodes.update(row.node for row in found.comparisons if row.verdict is Verdict.FAIL)
                    if found.verdict is not Verdict.FAIL:
                        missed.append(f"{regime}, {dtype}, {wanted}, seed {number}: {found.verdict}")
    return tried, missed, nodes


LARGE = (10**5, 10**6)


def large(quick: bool) -> list[str]:
    """Where a forgotten route, or a dvar with n - 1, was not seen at a large n, or right code was not passed."""
    missed = []
    for n in LARGE[:1] if quick else LARGE:
        for dtype in ("float64", "float32"):
            case = Case(shape=(n, 2), dtype=dtype)
            if check(case, REFERENCE).verdict is not Verdict.PASS:
                missed.append(f"right code, {dtype}, n = {n}: not passed")
            factors = {"var": (0.0, 1.0), "mean": (1.0, 0.0)}
            if dtype == "float64":
                factors["var with n - 1"] = (n / (n - 1), 1.0)
            for name, (of_var, of_mean) in factors.items():
                if check(case, with_routes(of_var, of_mean)).verdict is not Verdict.FAIL:
                    missed.append(f"the route through {name}, {dtype}, n = {n}")
    return missed


def with_routes(of_var: float, of_mean: float) -> Implementation:
    """Ours, with the routes through var and mean taken so many times."""

    def backward(inputs: Inputs, dout: FloatArray) -> Gradients:
        gradients, routes = batchnorm.backward(inputs, batchnorm.forward(inputs), dout)
        dx = routes.direct + of_var * routes.through_var + of_mean * routes.through_mean
        return gradients._replace(x=dx.astype(dout.dtype))

    return REFERENCE._replace(name="routes", backward=backward)


def table(tally: Tally) -> None:
    """Faults down, regimes across: caught of visible."""
    print(f"{'caught of visible':16s}" + "".join(f"{regime:>15s}" for regime in PEERS))
    for fault in FAULTS:
        cells = [tally.cells[fault.name, regime] for regime in PEERS]
        print(f"{fault.name:16s}" + "".join(f"{cell['caught']:>10d} /{cell['visible']:3d}" for cell in cells))


def claims(held: Mapping[str, bool]) -> int:
    """Print one line a claim. Returns the exit status."""
    for claim, holds in held.items():
        print(f"claim: {claim}: {'holds' if holds else 'FALLS SHORT'}")
    return 0 if all(held.values()) else 1


def main() -> int:
    """Run it all. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=5, help="seeds of each regime and shape")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--quick", action="store_true", help="one seed of each, and n up to 10^5")
    arguments = parser.parse_args()
    started, tally = time.perf_counter(), Tally()
    with np.errstate(all="ignore"):
        count = 1 if arguments.quick else arguments.problems
        for regime, case in problems(count, arguments.seed):
            try_faults(regime, case, tally)
            try_correct(regime, case, tally)
        slipped = slips(count, arguments.seed)
        tried, passed, nodes = zeros(count, arguments.seed)
        at_large = large(arguments.quick)
    table(tally)
    seen = sum(cell["visible"] for cell in tally.cells.values())
    print(f"\n{tally.faulty} faulty problems, {seen} of them visible; effects at a node, relative to its scale:")
    for dtype, allowed in ALLOWED.items():
        visible, invisible = tally.visible[dtype], tally.invisible[dtype]
        print(
            f"  {dtype}: {len(visible)} visible, above {allowed:g}, the smallest {min(visible):.2e};"
            f" {len(invisible)} invisible, the largest {max(invisible):.2e}"
        )
    print(f"{tally.correct} correct problems; zeros on {tried}, caught by node: {dict(nodes)}")
    print(f"{time.perf_counter() - started:.0f} s\n")
    listed = {
        "missed": tally.missed,
        "missed at a node": tally.missed_node,
        "missed above its tolerance": tally.missed_sharper,
        "false alarm": tally.alarms,
        "slip not seen": slipped,
        "zeros not caught": passed,
        "at large n": at_large,
    }
    for title, lines in listed.items():
        for line in lines[:20]:
            print(f"  {title}: {line}")
    return claims(
        {
            f"no visible fault missed ({len(tally.missed)} of {seen})": not tally.missed,
            f"nor missed at any node at which it is visible ({len(tally.missed_node)})": not tally.missed_node,
            f"nor above the tolerance there ({len(tally.missed_sharper)} of {tally.sharper})": not tally.missed_sharper,
            f"no false alarm ({len(tally.alarms)} of {tally.correct})": not tally.alarms,
            f"a slip of {SLIP:g} in dvar is caught at var and x ({len(slipped)} missed)": not slipped,
            f"a forgotten route, and in float64 n - 1, fail at large n ({len(at_large)} missed)": not at_large,
            f"zeros are caught everywhere ({len(passed)} of {tried} missed)": not passed,
        }
    )


if __name__ == "__main__":
    sys.exit(main())
