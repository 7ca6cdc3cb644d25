"""Sessions: cases are read, selected and checked, and make a report."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from bncheck.case import Verdict
from bncheck.config import QUICKSTART, ConfigError, Override, from_overrides, from_settings, read
from bncheck.report import CaseReport, Run
from bncheck.status import ExitStatus, StartError

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from bncheck.case import Case
    from bncheck.remote import Hands

Watch = Callable[[int, str], None]
"""A function that is told how many cases are done, and the label of the next."""

Progress = Callable[[Sequence[float]], AbstractContextManager[Watch]]
"""A function of the seconds that each case will roughly take, see `estimate`; while its context lasts, it watches."""

SECONDS_A_CASE, SECONDS_AN_ELEMENT = 0.02, 1e-6
"""Rough costs of a case and of an element of its x on a usual machine."""


USUAL = "bncheck.yaml"
"""The config that is read where nothing is named."""

TO_TYPE = """\
  bncheck run layers.py        your forward and backward, found in the file
  bncheck run --shape 32x64    ours, on one shape
  bncheck init layers.py       a bncheck.yaml for what is in the file, to begin with"""
"""Three lines on what to type first."""


LEAST, SHRINKING = 1.0, 10.0
"""Seconds that the search for a least case may take: of the first failure, unasked; of each, with `--shrink`."""

FOLLOWED = 1_000_000
"""Elements of x up to which a failure is followed up unasked: a boundary is looked for at sizes as large."""

FOLLOWING = 4.0
"""Seconds after which no further failure is followed up unasked."""


# --- what is asked for -----------------------------------------------------------------------------------------


def refuse_empty(given: Mapping[str, Sequence[str | None] | None]) -> None:
    """Raise StartError for an option that is given without a value, as by a variable of a shell that is not set."""
    for option, texts in given.items():
        if any(text is not None and not text.strip() for text in texts or ()):
            raise StartError(f"error: {option} has no value; give one, or leave {option} out")


def files_of(cases: Iterable[Case]) -> Iterator[str]:
    """The files that cases are read from: what is checked, as far as it is named, and recorded arrays."""
    from bncheck.files.project import split

    for recorded, origin in {(case.x.file, case.origin): None for case in cases}:
        if recorded:
            yield recorded
        if origin is not None:
            place, _ = split(origin.place)
            yield from (place, os.path.join(origin.root, *place.split(".")) + ".py")


def from_configs(configs: Sequence[str], overrides: Sequence[Override]) -> list[Case]:
    """The cases of all configs, or of the overrides alone; where nothing is named, those of the config of this folder.

    Raises StartError with the mistakes of all of them.
    """
    if not configs and not overrides:
        if not os.path.isfile(USUAL):
            raise StartError(f"error: nothing is named, and there is no {USUAL} here; type, for example:\n{TO_TYPE}")
        configs = [USUAL]
    return _read([partial(read, config, overrides) for config in configs] or [partial(from_overrides, overrides)])


def from_keywords(keywords: Sequence[Override], overrides: Sequence[Override]) -> list[Case]:
    """The cases of keywords, which stand at the top of a config that has no file. Raises StartError."""
    return _read([partial(from_settings, keywords, overrides)])


def sorted_out(named: Sequence[str]) -> tuple[list[str], list[str]]:
    """The configs among what is named, and the Python files, each perhaps with the name of one thing in it."""
    places = [place for place in named if place.endswith(".py") or place.rpartition(":")[0].endswith(".py")]
    return [config for config in named if config not in places], places


def _read(readers: Sequence[Callable[[], list[Case]]]) -> list[Case]:
    """The cases of all readers, or StartError with the mistakes of all of them, each told once."""
    if "BNCHECK_WORKER" in os.environ:  # workers.worker.INSIDE, which no other start needs
        hint = 'put it below if __name__ == "__main__"'
        raise StartError(f"error: this is a worker process of bncheck, in which no other check can start; {hint}")
    try:
        os.getcwd()
    except FileNotFoundError:
        raise StartError("error: the working directory is not there any more; change to one that is") from None
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
    """The command line that runs just this case again, as a person would type it.

    Without a config it says the shape and the seed, and names the member in the file, where they make up the label.
    """
    from bncheck.files.project import split

    shape = "x".join(map(str, case.shape))
    plain = f"{shape} seed={case.seed}"
    alone = not case.source and case.label in (plain, f"{case.member} {plain}")
    pattern = [] if alone and case.label == plain else ["-k", case.label]
    place = "" if case.origin is None else case.origin.place
    named = alone and pattern and case.member.isidentifier() and split(place)[1] is None
    source = [case.source] if case.source else []
    words, last = ([], ["--", *source]) if case.source.startswith("-") else (source, [])
    for override in sorted(overrides, key=lambda override: override.key != "implementation"):
        if alone and override.key in ("shape", "shapes", "seed", "seeds"):
            continue
        if named and override.text == f"implementation={place}":
            words, pattern = [*words, "-i", f"{place}:{case.member}"], []
        else:
            words += override.arguments or ("--set", override.text)
    if alone:
        words += ["--shape", shape, *(["--seed", str(case.seed)] if case.seed else [])]
    return shlex.join(["bncheck", "run", *words, *pattern, *last])


# --- a config to begin with ------------------------------------------------------------------------------------

SCHEMA = "bncheck.schema.json"
HEAD = f"""\
# yaml-language-server: $schema={SCHEMA}
# {{of}}: `bncheck run` in this folder runs them, `bncheck power` says what they cannot see.
seeds: 3
"""
EPS = "eps: 1.3e-5  # one that nobody writes: code with an eps of its own shows"


def template(place: str, hands: Hands) -> str:
    """The text of a config for what is found in a file: how each is called, on built-in shapes that it takes.

    Without a place it is for an implementation of ours. Raises StartError where nothing is found.
    """
    built_in = from_configs([], [Override(text, text) for text in (*QUICKSTART, "implementation=reference")])
    if not place:
        code = "implementation: reference  # ours; yours is, for example, layers.py"
        return f"{HEAD.format(of='Checks')}shapes: {_shapes(built_in)}\n{EPS}\n{code}\n"
    from bncheck.calling.layout import not_taken
    from bncheck.case import Case, Origin
    from bncheck.discovery import describe

    found = hands.discover(Case(shape=(2, 2), origin=Origin(place=place)))
    if found.refusal:
        raise StartError(found.refusal)
    lines = ["cases:"]
    for member in found.members:
        called = member.convention
        patterns = (called.create, called.build, called.forward, called.backward, *(name for name, _ in called.set))
        lines += [
            f"  - name: {json.dumps(member.name)}",
            f"    shapes: {_shapes(case for case in built_in if not not_taken(member.name, called, case))}",
            *([f"    {EPS}"] if any(re.search(r"\beps\b", pattern) for pattern in patterns) else []),
            *(f"    {line}" for line in describe(called, place).splitlines()),
        ]
    return HEAD.format(of=f"Checks of what is in {place}") + "\n".join(lines) + "\n"


def _shapes(cases: Iterable[Case]) -> str:
    """The shapes of cases as a config has them, each once."""
    return str([list(shape) for shape in dict.fromkeys(case.shape for case in cases)])


# --- the run ---------------------------------------------------------------------------------------------------


AGAIN = 2.0
"""Seconds after which ctrl-C is meant once more: several quick ones are one, and leave the report of what was done."""


class Interruption:
    """A context in which ctrl-C, SIGTERM and SIGHUP (a terminal that closes) are Interrupted, once in AGAIN seconds.

    `status` is the exit status of a process that ends for the first of them; what they raise ends it so, where nobody
    catches it. A signal that somebody ignores or handles already stays so.
    """

    def __init__(self) -> None:
        self.status = int(ExitStatus.INTERRUPTED)
        self._since = -math.inf
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name, 0) for name in ("SIGINT", "SIGTERM", "SIGHUP")):
                if number and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                    self._before[number] = signal.signal(number, self._interrupt)
        return self

    def __exit__(self, kind: type[BaseException] | None, *raised: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            raise SystemExit(self.status) from None

    def _interrupt(self, number: int, frame: object) -> None:
        if self._since == -math.inf:
            self.status = 128 + number
        if time.monotonic() - self._since > AGAIN:
            self._since = time.monotonic()
            worker = sys.modules.get("bncheck.workers.worker")  # no import in the midst of whatever is running
            raise getattr(worker, "Interrupted", KeyboardInterrupt)


def hands_for(cases: Sequence[Case], in_process: bool, jobs: int = 1) -> AbstractContextManager[Hands | None]:
    """The hands that call the code of others, in worker processes or in this one.

    None where all cases are of ours and small, and one is checked after the other. Raises StartError where several are
    to be checked at the same time in one process.
    """
    if in_process and jobs > 1:
        raise StartError("error: --in-process checks one case after the other; leave out --jobs")
    theirs = next((case for case in cases if case.origin is not None), None)
    if jobs == 1 and theirs is None and not any(case.is_large for case in cases):
        return contextlib.nullcontext()
    from bncheck.workers.pool import Pool

    # The worker imports NumPy while this process does.
    pools = [Pool(theirs.timeout, theirs.memory).start()] if theirs is not None and not in_process else []
    from bncheck import remote

    return remote.this_process() if in_process else remote.workers(*pools)


def jobs_of(text: str) -> int:
    """The number of cases to check at the same time: a number, or `auto` for one a core. Raises StartError."""
    if text == "auto":
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not (text.isascii() and text.isdecimal()) or not int(text):
        raise StartError(f"error: --jobs {text}: expected a number from 1 on, or auto")
    return int(text)


def estimate(case: Case) -> float:
    """Roughly the seconds that a case takes, where the differences along directions will do."""
    return SECONDS_A_CASE + SECONDS_AN_ELEMENT * math.prod(case.shape)


@contextlib.contextmanager
def silently(costs: Sequence[float]) -> Iterator[Watch]:
    """Show no progress."""
    yield silent


def silent(done: int, at_work: str) -> None:
    """Show nothing of it."""


def run(
    cases: Sequence[Case],
    hands: Hands | None = None,
    *,
    pattern: str = "",
    fail_fast: bool = False,
    repeat: Callable[[Case], str] = lambda case: "",
    progress: Progress = silently,
    jobs: int = 1,
    executor: Executor | None = None,
    shrink: float = 0.0,
) -> Run:
    """Check every case that the pattern selects, or until the first that is not acceptable with `fail_fast`.

    Cases of somebody's file are first expanded to one for each implementation in it; `hands` finds and checks
    these. `repeat` gives the command that checks one case again. So many `jobs` are checked at the same time, by hands
    of worker processes; an `executor` checks them wherever its processes are. The reports are in the order of the
    cases. An interrupt ends the run with what was done. The first failure of each kind is followed up; the search for
    its least case may take `shrink` seconds for each failure, and at least LEAST for the first. Raises StartError where
    there is nothing to check.
    """
    started = time.perf_counter()
    chosen = selected(_expanded(cases, hands, progress), pattern)
    labels = [*(case.label for case in chosen), ""]
    found: list[CaseReport] = []
    stopped = ""
    with progress([estimate(case) for case in chosen]) as watch:
        try:
            watch(0, labels[0])
            with contextlib.closing(_reports(chosen, hands, jobs, executor)) as reports:
                for report in reports:
                    found.append(replace(report, repeat=repeat(report.case)))
                    watch(len(found), labels[len(found)])
                    if fail_fast and not report.acceptable:
                        stopped = "fail-fast" if len(found) < len(chosen) else ""
                        break
                following = silent if stopped else watch  # there, it would be told of as the next case
                found = _followed(found, hands, shrink, following)  # before the hands are told to stop
        except KeyboardInterrupt:
            stopped = "interrupted"
        return Run(tuple(found), len(chosen), time.perf_counter() - started, stopped)


def _reports(
    cases: Sequence[Case], hands: Hands | None, jobs: int, executor: Executor | None
) -> Generator[CaseReport, None, None]:
    """The reports of the cases, in order."""
    if executor is not None:
        from bncheck import remote

        sent = [remote.sent(case) for case in cases]
        yield from remote.by_executor(executor, remote.check_sent, sent, remote.lost)
    elif jobs > 1:
        from bncheck import remote

        assert hands is not None
        yield from remote.in_threads(partial(_checked, hands=hands), cases, jobs, hands.stop)
    else:
        yield from (_checked(case, hands if case.origin is not None or case.is_large else None) for case in cases)


def _followed(found: list[CaseReport], hands: Hands | None, shrink: float, watch: Watch) -> list[CaseReport]:
    """The reports, with what other problems tell of the first failure of each kind, and of those to be shrunk.

    Nobody has asked for the former: none of them is begun after FOLLOWING, nor of an x of more than FOLLOWED elements.
    """
    followed, kinds, until = list(found), set[object](), time.monotonic() + FOLLOWING
    for number, report in enumerate(found):
        if hands is None or report.case.origin is None or report.verdict is not Verdict.FAIL:
            continue
        kind = (report.case.member, *(finding.kind for finding in report.findings))
        if not shrink and math.prod(report.case.shape) > FOLLOWED:
            continue
        seconds = shrink if kinds else max(shrink, LEAST)
        if not seconds and (kind in kinds or time.monotonic() > until):
            continue
        watch(len(found), f"following up {report.case.label}")
        followed[number] = hands.follow(report, seconds)
        kinds.add(kind)
    return followed


def _expanded(cases: Sequence[Case], hands: Hands | None, progress: Progress) -> Sequence[Case]:
    """The cases, with those of a file once for each implementation in it. Raises StartError."""
    if hands is None:
        return cases
    from bncheck.remote import expand

    files = len({case.origin for case in cases} - {None})
    with progress([1.0] * files) as watch:
        return expand(cases, hands, watch)


def _checked(case: Case, hands: Hands | None) -> CaseReport:
    """Check one case, in this process where there are no hands, or by the hands."""
    from bncheck import checking

    began = time.perf_counter()
    found = checking.check_ours(case) if hands is None else hands.check(case)
    return replace(found, seconds=time.perf_counter() - began)
