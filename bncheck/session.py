"""Sessions: cases are read, selected and checked one after the other, and make a report."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from bncheck.config import ConfigError, Override, from_overrides, from_settings, read
from bncheck.report import CaseReport, Run

if TYPE_CHECKING:
    from bncheck.case import Case
    from bncheck.remote import Hands

Progress = Callable[[int], AbstractContextManager[Callable[[int], None]]]
"""A function of the number of cases. While its context lasts, it is told how many of them are done."""


class StartError(ValueError):
    """A check cannot start; the message says why, and what to do."""


# --- what is asked for -----------------------------------------------------------------------------------------


def from_configs(configs: Sequence[str], overrides: Sequence[Override]) -> list[Case]:
    """The cases of all configs, or of the overrides alone. Raises StartError with the mistakes of all of them."""
    return _read([partial(read, config, overrides) for config in configs] or [partial(from_overrides, overrides)])


def from_keywords(keywords: Sequence[Override], overrides: Sequence[Override]) -> list[Case]:
    """The cases of keywords, which stand at the top of a config that has no file. Raises StartError."""
    return _read([partial(from_settings, keywords, overrides)])


def _read(readers: Sequence[Callable[[], list[Case]]]) -> list[Case]:
    """The cases of all readers, or StartError with the mistakes of all of them, each told once."""
    cases: list[Case] = []
    mistakes: list[str] = []
    for read_cases in readers:
        try:
            cases += read_cases()
        except ConfigError as error:
            mistakes.append(str(error))
    if mistakes:
        raise StartError("\n\n".join(dict.fromkeys(mistakes)))
    return cases


def selected(cases: Sequence[Case], pattern: str) -> Sequence[Case]:
    """The case with just that label, else those whose labels have every word. Raises StartError where none has."""
    exact = [case for case in cases if case.label == pattern]
    words = pattern.lower().split()
    found = exact or [case for case in cases if all(word in case.label.lower() for word in words)]
    if not found and cases:
        labels = ", ".join(f"'{case.label}'" for case in cases[:3])
        more = f", and {len(cases) - 3} more" if len(cases) > 3 else ""
        raise StartError(
            f"error: -k '{pattern}' selects none of the {len(cases)} cases; their labels are {labels}{more}"
        )
    return found


def command(case: Case, overrides: Sequence[Override]) -> str:
    """The command line that runs just this case again."""
    settings = [word for override in overrides for word in ("--set", override.text)]
    return shlex.join(["bncheck", "run", *filter(None, [case.source]), *settings, "-k", case.label])


# --- the run ---------------------------------------------------------------------------------------------------


def hands_for(cases: Sequence[Case], in_process: bool) -> AbstractContextManager[Hands | None]:
    """The hands that call the code of others, in worker processes or in this one; None where all cases are of ours."""
    if all(case.origin is None for case in cases):
        return contextlib.nullcontext()
    from bncheck import remote

    return remote.this_process() if in_process else remote.workers()


@contextlib.contextmanager
def silently(total: int) -> Iterator[Callable[[int], None]]:
    """Show no progress."""
    yield lambda done: None


def run(
    cases: Sequence[Case],
    hands: Hands | None = None,
    *,
    pattern: str = "",
    fail_fast: bool = False,
    repeat: Callable[[Case], str] = lambda case: "",
    progress: Progress = silently,
) -> Run:
    """Check every case that the pattern selects, or until the first that is not acceptable with `fail_fast`.

    Cases of somebody's file are first expanded to one for each implementation in it; `hands` finds and checks
    these. `repeat` gives the command that checks one case again. An interrupt ends the run with what was done.
    Raises StartError where there is nothing to check.
    """
    chosen = selected(_expanded(cases, hands), pattern)
    started = time.perf_counter()
    found: list[CaseReport] = []
    stopped = ""
    with progress(len(chosen)) as done:
        try:
            for case in chosen:
                found.append(_checked(case, hands, repeat))
                done(len(found))
                if fail_fast and not found[-1].acceptable:
                    stopped = "fail-fast" if len(found) < len(chosen) else ""
                    break
        except KeyboardInterrupt:
            stopped = "interrupted"
        return Run(tuple(found), len(chosen), time.perf_counter() - started, stopped)


def _expanded(cases: Sequence[Case], hands: Hands | None) -> Sequence[Case]:
    """The cases, with those of a file once for each implementation in it. Raises StartError."""
    if hands is None:
        return cases
    from bncheck.remote import NotFoundError, expand

    try:
        return expand(cases, hands)
    except NotFoundError as error:
        raise StartError(str(error)) from None


def _checked(case: Case, hands: Hands | None, repeat: Callable[[Case], str]) -> CaseReport:
    """Check one case, by our own implementations or by the hands that call the code of others."""
    from bncheck import checking

    began = time.perf_counter()
    found = checking.check_ours(case) if hands is None or case.origin is None else hands.check(case)
    return replace(found, repeat=repeat(case), seconds=time.perf_counter() - began)
