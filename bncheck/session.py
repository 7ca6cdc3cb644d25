"""From what is asked for to a report: cases read, selected and checked, wherever their code runs."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING

from bncheck.config import ConfigError, Override, from_overrides, from_settings, read

if TYPE_CHECKING:
    from bncheck.case import Case, Origin
    from bncheck.discovery import Discovery
    from bncheck.remote import HandsOf
    from bncheck.report import CaseReport, Report

Check = Callable[..., "Report"]
"""Checks cases, with `theirs=` for those of somebody's code."""

Progress = Callable[[int], AbstractContextManager[Callable[[int], None]]]
"""Given how many cases there are, what is to be told how many of them are done."""


class StartError(ValueError):
    """A check cannot start; the message says why, and what to do."""


def from_configs(configs: Sequence[str], overrides: Sequence[Override]) -> list[Case]:
    """The cases of all configs, or of the overrides alone. Raises StartError with the mistakes of all of them."""
    return _read([partial(read, config, overrides) for config in configs] or [partial(from_overrides, overrides)])


def from_keywords(keywords: Sequence[Override], overrides: Sequence[Override]) -> list[Case]:
    """The cases of keywords, which stand at the top of a config that has no file. Raises StartError."""
    return _read([partial(from_settings, keywords, overrides)])


def _read(readers: Sequence[Callable[[], list[Case]]]) -> list[Case]:
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


def check_anywhere(cases: Sequence[Case], in_process: bool, check: Check) -> Report:
    """Check the cases; the code of others, where it is among them, in worker processes or in this one."""
    if all(case.origin is None for case in cases):
        return check(cases)
    from bncheck import remote
    from bncheck.discovery import check_theirs, discover

    surroundings = remote.this_process() if in_process else remote.workers()
    with surroundings as hands_of:
        return check_by(hands_of, discover, check_theirs, cases, check)


def check_by(
    hands_of: HandsOf,
    discover: Callable[[Origin], Discovery],
    check_one: Callable[[Case], CaseReport],
    cases: Sequence[Case],
    check: Check,
) -> Report:
    """Check what is discovered at the origins of the cases. Raises StartError where there is nothing."""
    from bncheck import remote

    try:
        expanded = remote.expand(cases, hands_of, discover)
    except remote.NotFoundError as error:
        raise StartError(str(error)) from None
    return check(expanded, theirs=partial(remote.check_elsewhere, hands_of=hands_of, check=check_one))


def selected(cases: Sequence[Case], pattern: str) -> Sequence[Case]:
    """The case with just that label, else those whose labels have every word. Raises StartError where none has."""
    exact = [case for case in cases if case.label == pattern]
    words = pattern.lower().split()
    found = exact or [case for case in cases if all(word in case.label.lower() for word in words)]
    if not found:
        labels = ", ".join(f"'{case.label}'" for case in cases[:3])
        more = f", and {len(cases) - 3} more" if len(cases) > 3 else ""
        raise StartError(
            f"error: -k '{pattern}' selects none of the {len(cases)} cases; their labels are {labels}{more}"
        )
    return found


@contextlib.contextmanager
def silently(total: int) -> Iterator[Callable[[int], None]]:
    """A progress that is not shown."""
    yield lambda done: None


def check_here(
    cases: Sequence[Case],
    *,
    theirs: Callable[[Case], CaseReport] | None = None,
    pattern: str = "",
    fail_fast: bool = False,
    repeat: Callable[[Case], str] = lambda case: "",
    progress: Progress = silently,
) -> Report:
    """Check the cases that the pattern selects. Raises StartError where it selects none."""
    from bncheck.run import check_ours, run

    chosen = selected(cases, pattern)
    with progress(len(chosen)) as done:
        return run(chosen, theirs=theirs or check_ours, fail_fast=fail_fast, repeat=repeat, progress=done)


def command(case: Case, overrides: Sequence[Override]) -> str:
    """The command line that runs just this case again."""
    settings = [word for override in overrides for word in ("--set", override.text)]
    return shlex.join(["bncheck", "run", *filter(None, [case.source]), *settings, "-k", case.label])
