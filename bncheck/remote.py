"""Hands: what finds and checks the code of others, in worker processes with limits, or in this process."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import bncheck.faults.blindness
import bncheck.faults.diagnosis  # noqa: F401  # reports that come back may hold what is told there
from bncheck import discovery
from bncheck.calling.layout import not_taken
from bncheck.case import Case, Origin, Verdict
from bncheck.checking import check_ours
from bncheck.discovery import Broken, Discovery, Inspection, Member
from bncheck.faults.reduction import Followed
from bncheck.files.project import is_path, split
from bncheck.report import CaseReport
from bncheck.status import StartError
from bncheck.workers.pool import InProcess, Pool, interrupts_told_apart
from bncheck.workers.worker import Reply, said

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

NO_TIMEOUT = 1e8
"""Seconds that no case of ours takes."""


class Hands:
    """Finder and checker of other people's code; whatever that does to its process costs one case.

    `call_for` gives what calls a function for a case, and replies. The functions are `discover`, of an origin,
    `check`, of a case, and `follow`, of the report of a failure and the seconds for its least case.
    `stop` ends the calls that other threads are making.
    """

    def __init__(
        self,
        call_for: Callable[[Case], Callable[..., Reply]],
        discover: Callable[[Origin], Discovery] = discovery.discover,
        check: Callable[[Case], CaseReport] = discovery.check_theirs,
        follow: Callable[[CaseReport, float], Followed] = discovery.follow_in_time,
        stop: Callable[[], None] = lambda: None,
    ) -> None:
        self.call_for = call_for
        self.stop = stop
        self._discover, self._check, self._follow = discover, check, follow

    def discover(self, case: Case) -> Discovery:
        """The implementations at the origin of a case."""
        origin, call = case.origin, self.call_for(case)
        assert origin is not None
        reply = call(self._discover, origin)
        if isinstance(reply.value, Discovery):
            return reply.value
        if origin.convention is None and (found := self._one_by_one(origin, call, reply.failure)):
            return found
        printed = f"\nit printed:\n{reply.output.rstrip()}" if reply.output.strip() else ""
        return Discovery(refusal=f"error: {origin.place} cannot be looked at: {reply.failure}{printed}")

    def _one_by_one(self, origin: Origin, call: Callable[..., Reply], failure: str) -> Discovery | None:
        """The implementations in a file of which one hangs or crashes, each looked at alone; None without names."""
        names = call(discovery.names_in, origin).value
        if not isinstance(names, tuple) or not names:
            return None
        if len(names) == 1:
            return Discovery(broken=(Broken(names[0], failure),))
        members: list[Member] = []
        broken: list[Broken] = []
        for name in names:
            reply = call(self._discover, replace(origin, place=f"{origin.place}:{name}"))
            if isinstance(reply.value, Discovery):
                members += reply.value.members
            else:
                broken.append(Broken(name, reply.failure))
        return Discovery(tuple(members), broken=tuple(broken)) if members or broken else None

    def check(self, case: Case) -> CaseReport:
        """Check a case of somebody's file, or one of ours, which has no limit of time."""
        if case.origin is None:
            reply = self.call_for(replace(case, timeout=NO_TIMEOUT))(check_ours, case)
        elif case.origin.broken:
            return CaseReport(case, Verdict.ERROR, reason=case.origin.broken)
        else:
            reply = self.call_for(case)(self._check, case)
        if isinstance(reply.value, CaseReport):
            return replace(reply.value, case=case, output=reply.output)  # not a copy, which takes memory too
        return CaseReport(case, Verdict.ERROR, reason=reply.failure, output=reply.output)

    def follow(self, report: CaseReport, seconds: float) -> CaseReport:
        """The report of a failure with what other problems tell of it; as it is where these make trouble."""
        if report.case.origin is None or report.verdict is not Verdict.FAIL:
            return report
        reply = self.call_for(report.case)(self._follow, report, seconds)
        if not isinstance(reply.value, Followed):
            return report
        return replace(report, boundaries=reply.value.boundaries, least=reply.value.least)

    def look_at(self, origin: Origin) -> Inspection:
        """Describe a file for `bncheck inspect`."""
        reply = self.call_for(Case(shape=(2, 2), origin=origin))(discovery.look, origin)
        if isinstance(reply.value, Inspection):
            return reply.value
        return Inspection(f"error: {origin.place} cannot be looked at: {reply.failure}", False)


@contextlib.contextmanager
def workers(*pools: Pool) -> Iterator[Hands]:
    """Hands that call in worker processes: a pool of them for each pair of limits that cases have."""
    made = {pool.limits: pool for pool in pools}

    def stop() -> None:
        for pool in tuple(made.values()):
            pool.stop()

    try:
        yield Hands(lambda case: made.setdefault(limits := (case.timeout, case.memory), Pool(*limits)).call, stop=stop)
    finally:
        for pool in made.values():
            pool.close()


@contextlib.contextmanager
def this_process(*functions: Callable[..., Any]) -> Iterator[Hands]:
    """Hands that call in this process, with no limits, for a debugger. Files are loaded afresh the next time.

    `functions` are called instead of those of `Hands`, in their order.
    """
    try:
        with InProcess() as caller, interrupts_told_apart():
            yield Hands(lambda case: caller.call, *functions)
    finally:
        discovery.forget()


def expand(
    cases: Sequence[Case], hands: Hands, watch: Callable[[int, str], None] = lambda done, at_work: None
) -> list[Case]:
    """The cases, with those of somebody's file once for each implementation that is discovered in it.

    Where there are several, the label begins with the name. `watch` is told how many files are done, and of the next.
    Raises StartError, with the reasons of all files.
    """
    found: dict[Origin, Discovery] = {}
    for case in cases:
        if case.origin is not None and case.origin not in found:
            watch(len(found), f"looking at {case.origin.place}")
            found[case.origin] = hands.discover(case)
    refusals = [discovered.refusal for discovered in found.values() if discovered.refusal]
    if refusals:
        raise StartError("\n\n".join(dict.fromkeys(refusals)))
    return [
        one for case in cases for one in ([case] if case.origin is None else _members(case, found[case.origin], cases))
    ]


def _members(case: Case, discovered: Discovery, cases: Sequence[Case]) -> list[Case]:
    """The case for each member that takes its shape; where none does, for all of them, which will say so.

    A shape that nobody asked for is left out for a member that takes another one of the cases.
    """
    assert case.origin is not None
    several = len(discovered.members) + len(discovered.broken) > 1
    left = [member for member in discovered.members if not _takes(member, case)]
    told = left if len(left) == len(discovered.members) else []
    if "shapes" not in case.asked:
        told = [member for member in left if not any(_takes(member, other) for other in cases)]
    origins = [
        (member.name, replace(case.origin, convention=member.convention, notes=discovered.notes))
        for member in discovered.members
        if member in told or member not in left
    ]
    origins += [(broken.name, replace(case.origin, broken=broken.failure)) for broken in discovered.broken]
    return [
        replace(case, member=name, label=f"{name} {case.label}" if several else case.label, origin=origin)
        for name, origin in origins
    ]


def _takes(member: Member, case: Case) -> bool:
    """Whether a member takes the shape of a case."""
    return not not_taken(member.name, member.convention, case)


# --- cases that are checked elsewhere ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sent:
    """A case for another process, perhaps on another machine, with the files that it reads: their paths and bytes.

    `asked` is the case as it was asked for, which names the file as the user does.
    """

    asked: Case
    case: Case
    files: tuple[tuple[str, bytes], ...] = ()


def sent(case: Case) -> Sent:
    """A case with its files. A module, which has no path here, is to be found there as well."""
    asked, paths = case, [case.x.file] if case.x.file else []
    if case.origin is not None and is_path(split(case.origin.place)[0]):
        file, name = split(case.origin.place)
        file = os.path.abspath(file)
        case = replace(case, origin=replace(case.origin, place=f"{file}:{name}" if name else file))
        paths.append(file)
    return Sent(asked, case, tuple((path, _bytes_of(path)) for path in paths))


def check_sent(given: Sent) -> CaseReport:
    """Check a case in a worker process of this one. A file that is not here, or is another one, is written anew."""
    began = time.perf_counter()
    if given.case.origin is None and not given.files and not given.case.is_large:
        return replace(check_ours(given.case), seconds=time.perf_counter() - began)
    case = given.case
    with tempfile.TemporaryDirectory(prefix="bncheck-") as folder, workers() as hands:
        for path, data in given.files:
            if _bytes_of(path) != data:
                here = Path(folder, os.path.basename(path))
                here.write_bytes(data)
                case = _moved(case, path, str(here))
        return replace(hands.check(case), case=given.asked, seconds=time.perf_counter() - began)


def lost(given: Sent, error: Exception) -> CaseReport:
    """The report of a case for which an executor raised."""
    reason = f"the executor gave no report of it ({said(error)}); check without it (executor=None)"
    return CaseReport(given.asked, Verdict.ERROR, reason=reason)


def _moved(case: Case, path: str, here: str) -> Case:
    """The case with a file of it at another path."""
    if case.x.file == path:
        return replace(case, x=replace(case.x, file=here))
    assert case.origin is not None
    place, root = case.origin.place.replace(path, here, 1), os.path.dirname(here)
    return replace(case, origin=replace(case.origin, place=place, root=root))


def _bytes_of(path: str) -> bytes:
    """The bytes in a file; none where it cannot be read, or is a pipe or a device, as a case of it will say."""
    try:
        return Path(path).read_bytes() if os.path.isfile(path) else b""
    except OSError:
        return b""


# --- at the same time ------------------------------------------------------------------------------------------

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 256
"""Calls that are asked for before the first of them has its result: one that is slow must not hold up the others."""

LOOK = 0.2
"""Seconds between looks while waiting: on Windows, ctrl-C does not interrupt a wait."""


def in_threads(
    function: Callable[[Item], Result], items: Sequence[Item], jobs: int, stop: Callable[[], None]
) -> Iterator[Result]:
    """The results of a function of each item, in order, from so many threads.

    Where no more results are wanted, and on an interrupt, `stop` ends the calls that are running. Before it raises
    KeyboardInterrupt it gives the results that are there.
    """
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(jobs, "bncheck-job") as threads:
        try:
            with contextlib.closing(_in_order(lambda item: threads.submit(function, item), items)) as calls:
                for _, future in calls:
                    yield future.result()
        except BaseException:  # no more is wanted, or an interrupt
            stop()
            raise


def by_executor(
    executor: Executor,
    function: Callable[[Item], Result],
    items: Sequence[Item],
    lost: Callable[[Item, Exception], Result],
) -> Iterator[Result]:
    """The results of a function of each item, in order, from an executor, which stays open.

    Function, items and results must pickle where it has other processes. `lost` makes the result of an item
    for which the executor raised.
    """
    with contextlib.closing(_in_order(partial(_submitted, executor, function), items)) as calls:
        for item, future in calls:
            try:
                result = future.result()
            except Exception as error:  # whatever an executor raises for a process that it lost
                result = lost(item, error)
            yield result


def _submitted(executor: Executor, function: Callable[[Item], Result], item: Item) -> Future[Result]:
    """A call that was submitted; where the executor takes no more, what it raised."""
    from concurrent.futures import Future

    try:
        return executor.submit(function, item)
    except RuntimeError as error:
        refused: Future[Result] = Future()
        refused.set_exception(error)
        return refused


def _in_order(
    submit: Callable[[Item], Future[Result]], items: Sequence[Item]
) -> Generator[tuple[Item, Future[Result]], None, None]:
    """The items in order, each with its call, when that is done; AHEAD of them are submitted at once."""
    from concurrent.futures import wait

    calls = ((item, submit(item)) for item in items)
    waiting = deque(islice(calls, AHEAD))
    try:
        while waiting:
            while not waiting[0][1].done():
                wait([waiting[0][1]], LOOK)
            yield waiting.popleft()
            waiting.extend(islice(calls, 1))
    except KeyboardInterrupt:
        yield from [(item, future) for item, future in waiting if future.done() and not future.cancelled()]
        raise
    finally:
        for _, future in waiting:
            future.cancel()
