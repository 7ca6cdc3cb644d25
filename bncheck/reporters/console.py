"""Where the text for people goes: a terminal or a pipe, in colour or not, in Unicode or ASCII."""

from __future__ import annotations

import io
import re
import sys
from typing import Any

from rich.console import Console, RenderableType

PLAIN: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}  # what users wrote stays as it is
WIDE = 10_000  # a pipe has no width: nothing is wrapped there
# A line is as long as it needs, and lines of a table join. No colours but those of words: the page may be dark.
HTML = '<pre style="white-space: pre; overflow-x: auto; line-height: normal; font-family: monospace">{code}</pre>'

# One character for one in drawings, which have to stay aligned.
ASCII = str.maketrans(
    {
        "Σ": "sum",
        "·": "*",
        "\N{MINUS SIGN}": "-",
        "²": "^2",
        "→": ">",
        "↑": "^",
        "─": "-",
        "│": "|",
        **dict.fromkeys("┬┴├┤┼┌┐└┘", "+"),
    }
)


def show(renderable: RenderableType, color: str, narrowest: int) -> None:
    """Print on stdout. `color` is auto, always or never.

    Below `narrowest` columns a terminal wraps lines by itself: squeezed further they would lose digits.
    """
    console = Console(force_terminal=True if color == "always" else None, no_color=color == "never" or None, **PLAIN)
    if sys.stdout.isatty():
        console.width = max(console.width, narrowest)
        console.print(renderable)
        return
    console.width = WIDE
    with console.capture() as captured:
        console.print(renderable)
    print(_without_padding(captured.get()), end="")


def render(renderable: RenderableType) -> str:
    """The same as plain text, as wide as it needs."""
    console = Console(file=io.StringIO(), width=WIDE, no_color=True, force_jupyter=False, **PLAIN)
    with console.capture() as captured:
        console.print(renderable)
    return _without_padding(captured.get())


def html(renderable: RenderableType) -> str:
    """The same in colour, as one element that needs no style sheet. What users wrote is escaped."""
    console = Console(file=io.StringIO(), width=WIDE, force_jupyter=False, record=True, **PLAIN)
    console.print(renderable)
    return console.export_html(code_format=HTML, inline_styles=True)


def in_ascii(text: str) -> str:
    """A formula or a drawing in signs that every terminal has."""
    return text.translate(ASCII)


def _without_padding(text: str) -> str:
    """Lines end where their text ends, before whatever resets the colour."""
    return re.sub(r" +((?:\x1b\[[0-9;]*m)*)$", r"\1", text, flags=re.MULTILINE)
