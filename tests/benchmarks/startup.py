"""How long the command takes to start, against the start of Python with NumPy alone.

Run from the top of a checkout, on a quiet machine: python tests/benchmarks/startup.py [--runs N]

Whole processes, interleaved so that a slow moment of the machine falls on all of them, medians; as
`python -m bncheck`, and as the console script where one is installed beside the interpreter.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

TOP = Path(__file__).parents[2]
BASELINE = (sys.executable, "-c", "import numpy")


@dataclass(frozen=True, slots=True)
class Command:
    """Arguments, and how long they may take as a multiple of the baseline."""

    arguments: tuple[str, ...]
    at_most: float

    def __str__(self) -> str:
        return " ".join(self.arguments)


LAYERS = "tests/zoo/faults/route/closed_form_without_n.py:batchnorm_backward"  # which is right; its _alt is not

COMMANDS = (
    Command(("--version",), 0.3),
    Command(("--help",), 1.3),
    Command(("run", "configs/quickstart.yaml"), 2.5),
    Command(("run", "-i", LAYERS, "--shape", "32x64"), 3.5),
)


def seconds(command: Sequence[str]) -> float:
    """How long the process takes, from start to end. Raises CalledProcessError if it does not end with status 0."""
    environment = os.environ | {"PYTHONPATH": str(TOP), "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode, and so has ours here
    started = time.perf_counter()
    subprocess.run(command, cwd=TOP, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def ways() -> dict[str, tuple[str, ...]]:
    """The ways to start bncheck that are there."""
    found: dict[str, tuple[str, ...]] = {"python -m bncheck": (sys.executable, "-m", "bncheck")}
    script = shutil.which("bncheck", path=str(Path(sys.executable).parent))
    if script is None:
        print("console script: skipped, not installed beside this interpreter")
        return found
    return found | {"bncheck": (script,)}


def main() -> int:
    """Time it all. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=21, help="runs of each process, after one that fills caches")
    runs = parser.parse_args().runs
    started = {(way, command): (*prefix, *command.arguments) for way, prefix in ways().items() for command in COMMANDS}
    taken: dict[object, list[float]] = {"baseline": [], **{key: [] for key in started}}
    for run in range(runs + 1):
        for key, line in ({"baseline": BASELINE} | started).items():
            elapsed = seconds(line)
            if run:
                taken[key].append(elapsed)
    base = median(taken["baseline"])
    print(f"{'process':44s}{'ms':>8s}{'ratio':>8s}{'at most':>9s}")
    print(f"{'python -c import numpy':44s}{1e3 * base:8.1f}{1:8.2f}")
    short = 0
    for way, command in started:
        mid = median(taken[way, command])
        print(f"{f'{way} {command}':44s}{1e3 * mid:8.1f}{mid / base:8.2f}{command.at_most:9.1f}")
    for way, command in started:
        ratio = median(taken[way, command]) / base
        short += ratio > command.at_most
        holds = "holds" if ratio <= command.at_most else "FALLS SHORT"
        print(f"claim: {way} {command} takes at most {command.at_most} of import numpy ({ratio:.2f}): {holds}")
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
