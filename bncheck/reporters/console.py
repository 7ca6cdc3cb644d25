"""The terminal, pipe or page that text for people goes to: how much of it, in which colours; and a bar of progress."""

from __future__ import annotations

import contextlib
import io
import re
import sys
import threading
from collections.abc import Callable, Iterator
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress

WIDE = 10_000  # a pipe has no width: nothing is wrapped there
# A line is as long as it needs, and lines of a table join. No colours but those of words: the page may be dark.
HTML = '<pre style="white-space: pre; overflow-x: auto; line-height: normal; font-family: monospace">{code}</pre>'


class Detail(Enum):
    """How much of a report is shown."""

    QUIET = "what did not pass, and the last line"
    FAILURES = "all that did not pass, however much it is, and the last line"
    USUAL = "the table, what did not pass, and the last line"
    FULL = "also every case node by node, and where in their file a mistake stands"

    @property
    def is_brief(self) -> bool:
        """Whether what passed is left out."""
        return self in (Detail.QUIET, Detail.FAILURES)

    @property
    def is_full(self) -> bool:
        """Whether nothing is cut of what did not pass."""
        return self in (Detail.FULL, Detail.FAILURES)


def show(renderable: RenderableType, color: str, narrowest: int) -> None:
    """Print on stdout. `color` is auto, always or never.

    Below `narrowest` columns a terminal wraps lines by itself: squeezed further they would lose digits.
    """
    console = _console(force_terminal=True if color == "always" else None, no_color=color == "never" or None)
    if sys.stdout.isatty():
        console.width = max(console.width, narrowest)
        console.print(renderable)
        return
    console.width = WIDE
    with console.capture() as captured:
        console.print(renderable)
    print(_without_padding(captured.get()), end="")


def render(renderable: RenderableType) -> str:
    """Plain text, as wide as it needs."""
    console = _console(file=io.StringIO(), width=WIDE, no_color=True, force_jupyter=False)
    with console.capture() as captured:
        console.print(renderable)
    return _without_padding(captured.get())


def html(renderable: RenderableType) -> str:
    """HTML in colour: one element that needs no style sheet. What users wrote is escaped."""
    console = _console(file=io.StringIO(), width=WIDE, force_jupyter=False, record=True)
    console.print(renderable)
    return console.export_html(code_format=HTML, inline_styles=True)


def _console(**settings: Any) -> Console:
    """A console on which what users wrote stays as it is. A progress bar that is never shown does without rich."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False, **settings)


def _without_padding(text: str) -> str:
    """Lines end where their text ends, before whatever resets the colour."""
    return re.sub(r" +((?:\x1b\[[0-9;]*m)*)$", r"\1", text, flags=re.MULTILINE)


# --- progress ---------------------------------------------------------------------------------------------------


PATIENCE = 1.0  # seconds before the bar appears


@contextlib.contextmanager
def progress(total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function to be called with how many cases are done. Nothing is shown unless stderr is a terminal."""
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
            columns = (TextColumn("checking"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            self.bar = Progress(*columns, console=Console(stderr=True), transient=True)
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
