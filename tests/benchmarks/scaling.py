"""How time and memory of a check of somebody's functions grow with the size of x.

Run from the top of a checkout, on a quiet machine: python tests/benchmarks/scaling.py [--quick]

Each size is checked in a process of its own, by `bncheck.check(forward, backward, shape=...)`, and so is one forward
and backward of the same functions alone: their peak memory tells what ours takes beside. In the largest, one element of
dx is wrong by a thousandth, and has to be found and placed. One thread.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
TOP = Path(__file__).parents[2]
SHAPES = ((8, 2, 8, 8), (32, 8, 8, 8), (32, 64, 8, 8), (64, 64, 14, 14), (128, 64, 28, 28), (128, 256, 28, 28))
QUICK = SHAPES[:4]
WRONG = (17, 0, 5, 6)  # the element that is off
EXPONENT = 1.05  # of the time in n * d, at most
LONGEST, LARGEST = 30.0, 2500.0  # seconds and MB that the largest may take
BESIDE = 6.0  # times x, beside what a forward and backward of theirs take
# Where a feature has two rows, gamma, beta and their gradients are half of x each: the problem and the answer are six
# times x, where they are four otherwise, and another batch has its parameters too.
TWO_ROWS, BESIDE_TWO_ROWS = (2, 1_000_000, 1, 1), 10.0


def functions(wrong: bool) -> tuple[Any, Any]:
    """A forward and a backward for images, as people write them."""
    import numpy as np

    def forward(x: Any, gamma: Any, beta: Any, eps: float) -> Any:
        mean, var = x.mean(axis=(0, 2, 3), keepdims=True), x.var(axis=(0, 2, 3), keepdims=True)
        std = np.sqrt(var + eps)
        x_hat = (x - mean) / std
        return gamma.reshape(1, -1, 1, 1) * x_hat + beta.reshape(1, -1, 1, 1), (x_hat, gamma, std)

    def backward(dout: Any, cache: Any) -> Any:
        x_hat, gamma, std = cache
        n = dout.size // dout.shape[1]
        dbeta, dgamma = dout.sum(axis=(0, 2, 3)), (dout * x_hat).sum(axis=(0, 2, 3))
        sums = dbeta.reshape(1, -1, 1, 1), dgamma.reshape(1, -1, 1, 1)
        dx = gamma.reshape(1, -1, 1, 1) / (n * std) * (n * dout - sums[0] - x_hat * sums[1])
        if wrong and dx.shape[1] > WRONG[1]:
            dx[WRONG] *= 1.001
        return dx, dgamma, dbeta

    return forward, backward


def measured(what: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """Run one of `once`, `right`, `wrong` in this process: seconds, peak MB, and what was found."""
    import numpy as np

    import bncheck

    forward, backward = functions(what == "wrong")
    bncheck.check(forward, backward, shape=(2, 2, 2, 2))  # what is imported is not of a check
    before = peak()
    if what == "once":
        x, ones = np.full(shape, 1.5), np.ones(shape[1])
        started = time.perf_counter()
        backward(x, forward(x, ones, ones, 1e-5)[1])
        return {"seconds": time.perf_counter() - started, "mb": peak() - before}
    started = time.perf_counter()
    report = bncheck.check(forward, backward, shape=shape)
    row = next(row for row in report.cases[0].comparisons if row.node == "x")
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "mb": peak() - before, "at": row.worst.index, "off": row.off, "verdict": row.verdict}


def peak() -> float:
    """The largest memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_a_process(what: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """Measure in a process of its own."""
    command = [sys.executable, __file__, "--measure", what, "x".join(map(str, shape))]
    environment = os.environ | THREADS | {"PYTHONPATH": str(TOP)}
    found: dict[str, Any] = json.loads(subprocess.run(command, env=environment, check=True, stdout=-1).stdout)
    return found


def main() -> int:
    """Measure and print. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="sizes up to 10^6")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        what, shape = arguments.measure
        print(json.dumps(measured(what, tuple(map(int, shape.split("x"))))))
        return 0
    print(f"{'shape':22s}{'elements':>12s}{'check s':>10s}{'once s':>10s}{'check MB':>10s}{'once MB':>10s}{'x MB':>8s}")
    shapes = QUICK if arguments.quick else SHAPES
    points = []
    for shape in shapes:
        once = in_a_process("once", shape)
        found = in_a_process("right" if shape != shapes[-1] else "wrong", shape)
        size = math.prod(shape)
        points.append((math.log(size), math.log(found["seconds"])))
        print(
            f"{shape!s:22s}{size:12d}{found['seconds']:10.3f}{once['seconds']:10.3f}"
            f"{found['mb']:10.0f}{once['mb']:10.0f}{size * 8 / 2**20:8.1f}"
        )
    two_rows = (in_a_process("right", TWO_ROWS)["mb"] - in_a_process("once", TWO_ROWS)["mb"]) / (16e6 / 2**20)
    middle = [sum(values) / len(points) for values in zip(*points, strict=True)]
    spread = sum((a - middle[0]) ** 2 for a, _ in points)
    exponent = sum((a - middle[0]) * (b - middle[1]) for a, b in points) / spread
    beside = (found["mb"] - once["mb"]) / (size * 8 / 2**20)
    held = {
        f"time grows with the size to the power of {EXPONENT} at most ({exponent:.2f})": exponent <= EXPONENT,
        f"the wrong element is found and placed ({found['at']}, {found['off']} off)": tuple(found["at"]) == WRONG
        and found["off"] == 1,
        f"the largest takes at most {LONGEST:g} s ({found['seconds']:.1f})": found["seconds"] <= LONGEST,
        f"and {LARGEST:g} MB ({found['mb']:.0f})": found["mb"] <= LARGEST,
        f"which is theirs and {BESIDE:g} times x at most ({beside:.1f})": beside <= BESIDE,
        f"and {BESIDE_TWO_ROWS:g} times x at {TWO_ROWS} ({two_rows:.1f})": two_rows <= BESIDE_TWO_ROWS,
    }
    for claim, holds in held.items():
        print(f"claim: {claim}: {'holds' if holds else 'FALLS SHORT'}")
    return 0 if all(held.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
