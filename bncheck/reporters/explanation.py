"""The derivation of a node, formula by formula, with the numbers of a small problem beside it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from bncheck import derivation
from bncheck.derivation import ASCII, BACKWARD, FORWARD, LOSS, OF_GRADIENT, Derivation, Formula, Numbers, derivation_of
from bncheck.gradients.batchnorm import NODES, FloatArray
from bncheck.gradients.problem import Problem, draw
from bncheck.reporters import console as terminal

if TYPE_CHECKING:
    from bncheck.faults.fault import Fault

WIDTH = 80  # on every terminal, and in a pipe: a line of formulas is not read better for being longer
ROW = 8  # one row's number: -1.2345
BATCH = 10  # what the whole batch has one of: -1.1e-16
INDENT = "  "
DEEPER = "    "  # formulas, under what is said of them
DECIMALS = 4
DRAWING = str.maketrans(  # one character for one, so that lines stay aligned
    {"→": ">", "↑": "^", "─": "-", "│": "|", **dict.fromkeys("┬┴├┤┼┌┐└┘", "+")}
)
SMALL = 0.5 * 10.0**-DECIMALS  # nothing is left of less in so many decimals

GRAPH = """\
x ──┬────────────→ x - mean ──┬───────────────→ x_hat ───→ out ───→ L
    │                 ↑       │                   ↑         ↑       ↑
    └──→ mean ────────┘       └──→ var ──→ std ───┘   gamma, beta  dout
"""


def show(node: str | None, color: str, others: Sequence[str] = ()) -> None:
    """Print the derivation of a node on stdout, or without a node all of it. `color` is auto, always or never.

    Raises UnknownNodeError, which may offer one of `others`: names of what else can be explained.
    """
    terminal.show(explained(node, others), color, WIDTH)


def show_fault(fault: Fault, color: str) -> None:
    """Print on stdout what a fault is, the formulas that it breaks, and their right numbers."""
    terminal.show(Page(lambda spell: _fault(fault, spell)), color, WIDTH)


def explained(node: str | None, others: Sequence[str] = ()) -> Page:
    """The page that `show` prints, for any console."""
    if node is None:
        return Page(_overview)
    found = derivation_of(node, others)
    return Page(lambda spell: _node(found, spell))


Spell = Callable[[str], str]
"""A function that spells a formula as it is, or in ASCII, which is longer: it comes before anything is aligned."""


class Page:
    """Lines that are laid out for the signs that a terminal has."""

    def __init__(self, lines: Callable[[Spell], Iterator[Text]]) -> None:
        self.lines = lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self.lines(in_ascii if options.ascii_only else str)


def in_ascii(text: str) -> str:
    """A formula or a drawing in signs that every terminal has."""
    return text.translate(ASCII | DRAWING)


# --- pages -----------------------------------------------------------------------------------------------------


def _overview(spell: Spell) -> Iterator[Text]:
    numbers = derivation.work(draw(derivation.CASE))
    yield from _title("Batch normalisation, forward and backward", "", spell)
    yield from _graph(spell, {})
    yield from _forward(numbers, spell)
    yield _heading("Backward, from out to x", numbers, spell)
    for formula in BACKWARD:
        yield from _formula(formula, numbers, spell)
    yield Text()
    yield from _prose("A, B and C are the three routes back to x: direct, through var, through mean.", spell)
    yield from _prose(
        f"`bncheck explain NODE` derives one of them, with what every row gives: {', '.join(NODES)}.", spell
    )
    yield from _this_problem(spell)


def _node(found: Derivation, spell: Spell) -> Iterator[Text]:
    problem = draw(derivation.CASE)
    numbers = derivation.work(problem)
    yield from _title(f"d{found.node}: the gradient of the loss at {found.node}", found.chain, spell)
    styles = dict.fromkeys(found.held, "dim")
    yield from _graph(spell, {**styles, found.node: "bold cyan"})
    held = ", ".join(found.held) or "nothing"
    yield from _prose(f"Held: {held}. Moving with {found.node}: {', '.join(found.follows)}.", spell)
    yield Text()
    yield from _forward(numbers, spell)
    yield _heading("Backward", numbers, spell)
    for formula in found.steps:
        yield from _formula(formula, numbers, spell)
    if found.closed_form:
        yield from _prose("The same in closed form:", spell, "dim")
        yield from _formula(found.closed_form, numbers, spell)
    yield Text()
    yield from _check(found, problem, numbers, spell)
    if found.note:
        yield from _prose(found.note, spell)
    yield from _this_problem(spell)


def _fault(fault: Fault, spell: Spell) -> Iterator[Text]:
    """A fault, and the formulas that it breaks, with their right numbers."""
    yield from _title(fault.name, fault.sentence, spell)
    numbers = derivation.work(draw(derivation.CASE))
    yield _heading("As it should be", numbers, spell)
    for symbol in fault.breaks:
        yield from _formula(OF_GRADIENT[symbol], numbers, spell)
    yield Text()
    yield from _this_problem(spell)


# --- parts -----------------------------------------------------------------------------------------------------


def _title(title: str, sentence: str, spell: Spell) -> Iterator[Text]:
    yield Text(spell(title), style="bold")
    if sentence:
        yield from _prose(sentence, spell)
    yield Text()


def _graph(spell: Spell, styles: dict[str, str]) -> Iterator[Text]:
    """The graph, with a style for some of its nodes. x - mean stands still where both of them do."""
    is_still = {styles.get("x"), styles.get("mean")} == {"dim"}
    styles = {**styles, "x - mean": "dim" if is_still else ""}
    for line in GRAPH.splitlines():
        text = Text(INDENT + spell(line))
        for found in re.finditer(r"x - mean|\w+", text.plain):
            text.stylize(styles.get(found[0], ""), *found.span())
        yield text
    yield Text()


def _forward(numbers: Numbers, spell: Spell) -> Iterator[Text]:
    yield _heading("Forward", numbers, spell)
    for name in ("x", "gamma", "beta"):
        yield from _line(name, getattr(numbers, name), spell)
    for formula in FORWARD:
        yield from _formula(formula, numbers, spell)
    yield from _line("dout", numbers.dout, spell)
    yield from _formula(LOSS, numbers, spell)
    yield Text()


def _check(found: Derivation, problem: Problem, numbers: Numbers, spell: Spell) -> Iterator[Text]:
    """The gradient at the node by differences, and how far the two are apart, as `run` says it."""
    differences = derivation.numeric_gradient(found.node, problem)
    scale = found.scale.value(numbers)
    analytic = getattr(numbers, f"d{found.node}")
    error = np.max(np.abs(np.atleast_2d(analytic - differences.value)), axis=0) / scale
    yield _heading("Check", numbers, spell)
    yield from _prose(f"Differences of the forward, {differences.method}, know none of these formulas:", spell, "dim")
    yield from _line(f"numeric d{found.node}", differences.value, spell)
    yield from _prose("Relative to the size of the terms before they cancel; `run` allows 1e-9:", spell, "dim")
    yield from _formula(found.scale, numbers, spell)
    distance = f"|d{found.node} - numeric|"
    written = f"max({distance})" if analytic.ndim > 1 else distance
    yield from _line(f"error = {written} / scale", error, spell, "error")
    yield Text()


def _this_problem(spell: Spell) -> Iterator[Text]:
    case = derivation.CASE
    shape = "x".join(map(str, case.shape))
    yield from _prose(
        f"The numbers: n = {case.n} rows of one feature, eps = {case.eps:g}. Features do not see each other, so one "
        f"tells it all. `bncheck run --shape {shape} --seed {case.seed}` checks this very problem.",
        spell,
        "dim",
    )


# --- lines -----------------------------------------------------------------------------------------------------


def _heading(title: str, numbers: Numbers, spell: Spell) -> Text:
    columns = "".join(f"row {row}".rjust(ROW) for row in range(numbers.n)) + "batch".rjust(BATCH)
    text = Text(spell(title).ljust(WIDTH - len(columns)), style="bold")
    return text.append(columns, style="not bold dim")


def _formula(formula: Formula, numbers: Numbers, spell: Spell) -> Iterator[Text]:
    """A formula with its numbers, after the sentence that says why it holds."""
    for sentence in formula.why.splitlines():
        yield from _prose(sentence, spell, "dim")
    yield from _line(formula.label, formula.value(numbers), spell, formula.symbol)


def _line(label: str, values: FloatArray, spell: Spell, symbol: str = "") -> Iterator[Text]:
    """Numbers at the right: one under each row, or one for the batch. A label that would touch them stands above.

    `symbol` is what the label begins with, if it defines one.
    """
    if values.ndim > 1:
        columns = "".join(number(value).rjust(ROW) for value in values[:, 0]) + " " * BATCH
    else:
        columns = number(values[0]).rjust(BATCH)
    left = Text(DEEPER + spell(label))
    left.stylize("bold", 0, len(DEEPER + symbol) if symbol else 0)
    if len(left.plain) >= WIDTH - len(columns):
        yield left
        left = Text()
    left.pad_right(WIDTH - len(columns) - len(left.plain))
    left.append(columns)
    left.rstrip()
    yield left


def _prose(sentence: str, spell: Spell, style: str = "") -> Iterator[Text]:
    for line in textwrap.wrap(spell(sentence), WIDTH, initial_indent=INDENT, subsequent_indent=INDENT):
        yield Text(line, style=style)


def number(value: float) -> str:
    """A number with four decimals; one that would be nothing but zeros there is shown by its size."""
    if value == 0:
        return "0"
    return f"{value:.1e}" if abs(value) < SMALL else f"{value:.{DECIMALS}f}"
