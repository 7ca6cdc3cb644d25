"""Calls that are made at the same time, with their results in the order in which they were asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import closing
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 256
"""Calls that somebody's executor is given before the first of them has its result."""

LOOK = 0.2
"""Seconds between looks while waiting: on Windows, ctrl-C does not interrupt a wait."""


def in_threads(
    function: Callable[[Item], Result], items: Sequence[Item], jobs: int, stop: Callable[[], None]
) -> Iterator[Result]:
    """The results of a function of each item, in order, from so many threads.

    Where no more results are wanted, and on an interrupt, `stop` ends the calls that are running. Before it raises
    KeyboardInterrupt it gives the results that are there.
    """
    with ThreadPoolExecutor(jobs, "bncheck-job") as threads:
        try:
            with closing(_in_order(lambda item: threads.submit(function, item), items, 2 * jobs)) as futures:
                for future in futures:
                    yield future.result()
        finally:
            stop()


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
    with closing(_in_order(lambda item: executor.submit(function, item), items, AHEAD)) as futures:
        for item, future in zip(items, futures, strict=False):
            try:
                result = future.result()
            except Exception as error:  # whatever an executor raises for a process that it lost
                result = lost(item, error)
            yield result


def _in_order(
    submit: Callable[[Item], Future[Result]], items: Sequence[Item], ahead: int
) -> Generator[Future[Result], None, None]:
    """The submitted calls in the order of the items, each when it is done; `ahead` of them are submitted at once."""
    rest = iter(items)
    waiting = deque(map(submit, islice(rest, ahead)))
    try:
        while waiting:
            while not wait([waiting[0]], LOOK).done:
                pass
            yield waiting.popleft()
            waiting.extend(map(submit, islice(rest, 1)))
    except KeyboardInterrupt:
        yield from [future for future in waiting if future.done()]
        raise
    finally:
        for future in waiting:
            future.cancel()
