"""The terminal, pipe or page that text for people goes to: how much of it, in which colours; and a bar of progress."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from bncheck.terminal import escaped

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.progress import Progress
    from rich.segment import Segment

PLAIN: dict[str, Any] = {"color_system": None}  # no_color would leave bold, which is an escape too
WIDE = 10_000  # a pipe has no width: nothing is wrapped there
NARROWEST = 72  # columns of a terminal: a table that is squeezed further would lose digits
# A line is as long as it needs, and lines of a table join. No colours but those of words: the page may be dark.
HTML = '<pre style="white-space: pre; overflow-x: auto; line-height: normal; font-family: monospace">{code}</pre>'


class Detail(Enum):
    """How much of a report is shown."""

    QUIET = "what did not pass, and the last line"
    FAILURES = "all that did not pass, however much it is, and the last line"
    USUAL = "the table, what did not pass, and the last line"
    FULL = "also every case node by node, and every statement in which a mistake stands"

    @property
    def is_brief(self) -> bool:
        """Whether what passed is left out."""
        return self in (Detail.QUIET, Detail.FAILURES)

    @property
    def is_full(self) -> bool:
        """Whether nothing is cut of what did not pass."""
        return self in (Detail.FULL, Detail.FAILURES)


def show(renderable: RenderableType, color: str, narrowest: int = NARROWEST) -> None:
    """Print on stdout. `color` is auto, always or never. Below `narrowest` columns a terminal wraps lines by itself."""
    plain = color == "never" or (color == "auto" and os.environ.get("NO_COLOR"))
    console = _console(**(PLAIN if plain else {"force_terminal": True, "no_color": False} if color == "always" else {}))
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
    console = _console(file=io.StringIO(), width=WIDE, force_jupyter=False, **PLAIN)
    with console.capture() as captured:
        console.print(renderable)
    return _without_padding(captured.get())


def html(renderable: RenderableType) -> str:
    """HTML in colour: one element that needs no style sheet. What users wrote is escaped."""
    console = _console(file=io.StringIO(), width=WIDE, force_jupyter=False, record=True)
    console.print(renderable)
    return console.export_html(code_format=HTML, inline_styles=True)


def _console(**settings: Any) -> Console:
    """A console on which what users wrote stays as it is, but for what would write on the screen, which is escaped.

    A progress bar that is never shown does without rich.
    """
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False, _environ=_environment(), **settings)
    console.push_render_hook(_Escaper())  # type: ignore[arg-type]  # of which rich needs the one method
    return console


def _environment() -> dict[str, str]:
    """The variables that rich reads, without sizes that it takes for numbers and that are none, such as \u00b2."""
    return {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES") or value.isascii()}


class _Escaper:
    """A hook of rich, by which the text of all that is printed is escaped, whoever has made it."""

    def process_renderables(self, renderables: list[Any]) -> list[Any]:
        return [Escaped(renderables)]


class Escaped(NamedTuple):
    """Things to print, with their text escaped."""

    renderables: list[Any]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for renderable in self.renderables:
            for segment in console.render(renderable, options):
                yield segment._replace(text=escaped(segment.text)) if segment.control is None else segment


def _without_padding(text: str) -> str:
    """Lines end where their text ends, before whatever resets the colour."""
    return re.sub(r" +((?:\x1b\[[0-9;]*m)*)$", r"\1", text, flags=re.MULTILINE)


# --- progress ---------------------------------------------------------------------------------------------------


PATIENCE = 0.7
"""Seconds before the bar appears on a terminal."""

MINUTE = 60.0
"""Seconds between the lines where stderr is no terminal; a case that will take longer is told of before it begins."""


@contextlib.contextmanager
def progress(costs: Sequence[float]) -> Iterator[Callable[[int, str], None]]:
    """Yield a function to be called with how many cases are done, and the label of the next.

    `costs` are the seconds that each case will roughly take. On a terminal stderr gets a bar; else a line a minute.
    """
    moves = sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
    watch = _Bar(costs) if moves else _Lines(costs)
    over = threading.Event()
    thread = threading.Thread(target=watch.show, args=(over,), name="bncheck-progress", daemon=True)
    thread.start()
    try:
        yield watch.update
    finally:
        over.set()
        thread.join()


class _Lines:
    """Cases done and to be done, with an estimate of the time that these take: a line a minute."""

    def __init__(self, costs: Sequence[float]) -> None:
        self.costs = costs
        self.done = 0
        self.at_work = ""
        self.started = time.monotonic()

    def update(self, done: int, at_work: str) -> None:
        """So many cases are done, and the next has this label. Where it will take long, a line says so."""
        self.done, self.at_work = done, at_work
        if done < len(self.costs) and (expected := self.pace() * self.costs[done]) > MINUTE:
            self.tell(f"the case {at_work} will take about {duration(expected)}")

    def show(self, over: threading.Event) -> None:
        """Show how it goes, until it is over."""
        while not over.wait(MINUTE):
            self.tell(self.so_far(f"{self.done} of {len(self.costs)} cases done", "now "))

    def tell(self, sentence: str) -> None:
        """Print a line on stderr."""
        print(sentence, file=sys.stderr, flush=True)

    def pace(self) -> float:
        """How many times as long as expected the cases took that are done; 1 while there are none."""
        spent = sum(self.costs[: self.done])
        return (time.monotonic() - self.started) / spent if spent else 1.0

    def so_far(self, done: str, now: str = "") -> str:
        """A line on how far it is: what is done, the time that the other cases will take, and what is at work."""
        left, taken = self.costs[self.done :], time.monotonic() - self.started
        is_known = left and (self.done or taken < left[0])  # of a first case that hangs, no time is known
        time_left = f"about {duration(self.pace() * sum(left))} left" if is_known else ""
        return ", ".join(filter(None, (done, time_left, self.at_work and now + self.at_work)))


class _Bar(_Lines):
    """A bar of rich, once it has taken longer than the PATIENCE."""

    bar: Progress | None = None

    def show(self, over: threading.Event) -> None:
        if over.wait(PATIENCE):
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.table import Column

        text_column = TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, ratio=1))
        columns = (BarColumn(20), text_column)
        stream = getattr(sys.stderr, "unescaped", lambda: sys.stderr)()
        with Progress(*columns, console=Console(file=stream, _environ=_environment()), transient=True) as self.bar:
            task = self.bar.add_task("", total=sum(self.costs))
            while True:
                text = self.so_far(f"{self.done}/{len(self.costs)}")
                self.bar.update(task, completed=sum(self.costs[: self.done]), description=text)
                if over.wait(0.2):
                    return

    def tell(self, sentence: str) -> None:
        """Print a line on stderr, above the bar."""
        if self.bar is None:
            super().tell(sentence)
        else:
            self.bar.console.print(sentence, markup=False, highlight=False)


def duration(seconds: float) -> str:
    """A time as people say it: `12 s`, `3 min`, `2 h`."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 6000 else f"{round(seconds / 3600)} h"
