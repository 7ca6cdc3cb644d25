"""How long a worker process takes to start, and what a call of it costs, against the start of Python with NumPy.

Run from the top of a checkout, on a quiet machine: python tests/benchmarks/isolation.py [--runs N]

Medians, interleaved so that a slow moment of the machine falls on all. "starts" is from before the pool is opened to
the answer of its first call, with all imported that a check of somebody's file needs; "closes" is what the end of a run
waits for; a call hands over and gives back what a problem of (32, 64) has, and collects what was printed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

TOP = Path(__file__).parents[2]
sys.path.insert(0, str(TOP))

from bncheck.workers.pool import Pool  # noqa: E402 - found once the checkout is on the path

BASELINE = (sys.executable, "-c", "import numpy")
# A worker imports all that recognition and a check take, which is as much again as NumPy, before it is asked for
# anything: a run needs it next, and meanwhile the parent imports the same.
START_AT_MOST = 2.5
CALL_AT_MOST = 3.0
IMPORT = "import bncheck.discovery"  # what a check of somebody's implementation needs
COMPILED = "import bncheck.discovery, bncheck.workers.pool"
CALLS = 100
MEMORY = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds that a pool takes."""

    starts: float
    calls: float
    closes: float


def numpy_alone() -> float:
    """Seconds of a process that imports NumPy."""
    started = time.perf_counter()
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(BASELINE, check=True, env=environment)
    return time.perf_counter() - started


def pool() -> Timing:
    """One pool from its start to its end. Raises RuntimeError where a call fails."""
    problem = [np.ones((32, 64)), np.ones((32, 64)), np.ones(64), np.ones(64)]
    began = time.perf_counter()
    with Pool(timeout=30, memory=MEMORY) as opened:
        if failure := opened.call(exec, IMPORT).failure:
            raise RuntimeError(failure)
        started = time.perf_counter()
        for _ in range(CALLS):
            opened.call(list, problem)
        called = time.perf_counter()
    return Timing(started - began, (called - started) / CALLS, time.perf_counter() - called)


def verdict(holds: bool) -> str:
    return "holds" if holds else "FALLS SHORT"


def main() -> int:
    """Time it all. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15, help="runs of each; the first, which fills caches, is extra")
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as caches:
        # Compiled before, as for every user, even where this environment asks for no caches.
        os.environ["PYTHONPYCACHEPREFIX"] = caches
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPATH"] = str(TOP)
        subprocess.run((sys.executable, "-c", COMPILED), check=True)
        rounds = [(numpy_alone(), pool()) for _ in range(runs + 1)][1:]
    alone, timings = [base for base, _ in rounds], [timing for _, timing in rounds]
    base = median(alone)
    starts, calls, closes = (median(getattr(t, name) for t in timings) for name in ("starts", "calls", "closes"))
    ratio, milliseconds = median(t.starts / b for t, b in zip(timings, alone, strict=True)), 1e3 * calls
    print(f"{'python -c import numpy':36s}{1e3 * base:8.1f} ms")
    print(f"{'a pool starts':36s}{1e3 * starts:8.1f} ms")
    print(f"{'a pool closes':36s}{1e3 * closes:8.1f} ms")
    print(f"{'a call':36s}{milliseconds:8.2f} ms")
    start, call = ratio <= START_AT_MOST, milliseconds <= CALL_AT_MOST
    print(f"claim: a worker starts in at most {START_AT_MOST} of import numpy ({ratio:.2f}): {verdict(start)}")
    print(f"claim: a call costs at most {CALL_AT_MOST:g} ms ({milliseconds:.2f}): {verdict(call)}")
    return 0 if start and call else 1


if __name__ == "__main__":
    sys.exit(main())
