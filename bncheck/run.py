"""Many cases, one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from bncheck.case import Case
from bncheck.check import check_with_sight
from bncheck.comparison import Verdict
from bncheck.implementations.reference import find
from bncheck.report import CaseReport, Report


def check_ours(case: Case) -> CaseReport:
    """One case of our own implementations. Running out of memory costs this one case."""
    try:
        return check_with_sight(case, find(case.implementation))
    except MemoryError:
        shape = " x ".join(map(str, case.shape))
        return CaseReport(case, Verdict.ERROR, reason=f"out of memory at shape {shape}; use a smaller one")


def run(
    cases: Sequence[Case],
    *,
    theirs: Callable[[Case], CaseReport] = check_ours,
    fail_fast: bool = False,
    repeat: Callable[[Case], str] = lambda case: "",
    progress: Callable[[int], None] = lambda done: None,
) -> Report:
    """Check every case, or until the first that is not acceptable with `fail_fast`, or until interrupted.

    `theirs` checks a case of somebody's implementation; `repeat` gives the command that checks one case again;
    `progress` is told how many are done.
    """
    started = time.perf_counter()
    done: list[CaseReport] = []
    stopped = ""
    try:
        for case in cases:
            began = time.perf_counter()
            found = check_ours(case) if case.origin is None else theirs(case)
            done.append(replace(found, repeat=repeat(case), seconds=time.perf_counter() - began))
            progress(len(done))
            if fail_fast and not found.acceptable:
                stopped = "fail-fast" if len(done) < len(cases) else ""
                break
    except KeyboardInterrupt:
        stopped = "interrupted"
    return Report(tuple(done), len(cases), time.perf_counter() - started, stopped)
