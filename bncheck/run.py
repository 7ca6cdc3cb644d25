"""Many cases, one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from bncheck.case import Case
from bncheck.check import check
from bncheck.comparison import Verdict
from bncheck.implementations import find
from bncheck.report import CaseReport, Report


def run(
    cases: Sequence[Case],
    *,
    fail_fast: bool = False,
    repeat: Callable[[Case], str] = lambda case: "",
    progress: Callable[[int], None] = lambda done: None,
) -> Report:
    """Check every case, or until the first that is not acceptable with `fail_fast`, or until interrupted.

    `repeat` gives the command that checks one case again; `progress` is told how many are done. Running out of
    memory costs the one case.
    """
    started = time.perf_counter()
    done: list[CaseReport] = []
    stopped = ""
    try:
        for case in cases:
            found = _one(case)
            done.append(replace(found, repeat=repeat(case)))
            progress(len(done))
            if fail_fast and not found.acceptable:
                stopped = "fail-fast" if len(done) < len(cases) else ""
                break
    except KeyboardInterrupt:
        stopped = "interrupted"
    return Report(tuple(done), len(cases), time.perf_counter() - started, stopped)


def _one(case: Case) -> CaseReport:
    started = time.perf_counter()
    try:
        found = check(case, find(case.implementation))
    except MemoryError:
        shape = " x ".join(map(str, case.shape))
        found = CaseReport(case, Verdict.ERROR, reason=f"out of memory at shape {shape}; use a smaller one")
    return replace(found, seconds=time.perf_counter() - started)
