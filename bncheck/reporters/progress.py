"""A progress bar on stderr, for work that takes over a second, where somebody is there to see it."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

PATIENCE = 1.0  # seconds before the bar appears


@contextlib.contextmanager
def progress(total: int) -> Iterator[Callable[[int], None]]:
    """Yields what is to be told how many cases are done. Shows nothing unless stderr is a terminal."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    bar = _Bar(total)
    timer = threading.Timer(PATIENCE, bar.show)
    timer.daemon = True
    timer.start()
    try:
        yield bar.update
    finally:
        timer.cancel()
        bar.hide()


class _Bar:
    """A bar that is not there until it is shown."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0
        self.lock = threading.Lock()
        self.hidden = False
        self.bar: Progress | None = None

    def show(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        with self.lock:
            if self.hidden:
                return
            self.bar = Progress(
                TextColumn("checking"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self.task = self.bar.add_task("", total=self.total, completed=self.done)
            self.bar.start()

    def update(self, done: int) -> None:
        with self.lock:
            self.done = done
            if self.bar is not None:
                self.bar.update(self.task, completed=done)

    def hide(self) -> None:
        with self.lock:
            self.hidden = True
            if self.bar is not None:
                self.bar.stop()
