"""The derivation of a node, formula by formula, with the numbers of a small problem beside it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from bncheck import derivation
from bncheck.case import Case, XDraw
from bncheck.derivation import Derivation, Formula, Numbers
from bncheck.faults.catalogue import KNOWN, Fault
from bncheck.faults.power import SIZES, Detection, power
from bncheck.faults.terms import FactorValues, Parts, Wrong, needs_met
from bncheck.faults.wording import as_written
from bncheck.gradients import batchnorm
from bncheck.gradients.batchnorm import NODES, FloatArray
from bncheck.gradients.numeric import differentiate
from bncheck.gradients.problem import Problem, draw
from bncheck.report import CaseReport
from bncheck.reporters import console as terminal
from bncheck.reporters.table import told

WIDTH = 80  # on every terminal, and in a pipe: a line of formulas is not read better for being longer
ROW = 8  # one row's number: -1.2345
BATCH = 10  # what the whole batch has one of: -1.1e-16
INDENT = "  "
DEEPER = "    "  # formulas, under what is said of them
DECIMALS = 4
NAME = 28  # characters of the name of a fault
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

    Raises StartError, which may offer one of `others`: names of what else can be explained.
    """
    terminal.show(explained(node, others), color, WIDTH)


def show_fault(fault: Fault, report: CaseReport, color: str) -> None:
    """Print on stdout what a fault is, its formulas beside the right ones, what hides it, and a report of it."""
    terminal.show(Page(lambda writer: writer.fault(fault, report)), color, WIDTH)


def show_faults(color: str) -> None:
    """Print on stdout the names of all known faults, by the node where they show, with a sentence on each."""
    terminal.show(Page(Writer.faults), color, WIDTH)


EXAMPLES = (
    *(
        Case(shape=shape, seed=1, eps=1.3e-5)
        for shape in ((6, 4), (4, 3, 2, 2), (7, 5), (5, 3, 1, 1), (70, 3), (3, 70))
    ),
    Case(shape=(6, 4), seed=1, mode="eval"),
)
"""Cases of which a fault is shown in the first that shows it: small, and of the sizes that some faults are about."""

HIDING: tuple[dict[str, Any], ...] = (
    {"dout": "ones"},
    {"gamma": "ones"},
    {"gamma": "ones", "beta": "zeros"},
    {"gamma": "zeros"},
    {"x": XDraw(like="constant")},
    {"x": XDraw(std=1e6)},
    {"mode": "eval"},
    {"eps": 1e-5},
    {"dtype": "float32"},
    {"shape": (2, 3)},
    {"shape": (4, 4)},
    {"shape": (6, 4, 1, 1)},
)
"""Settings that may hide a fault which shows without them."""


def example_of(fault: Fault) -> Case:
    """A small case that shows a fault."""
    outcomes = ((case, power([case]).cases[0].outcomes()) for case in EXAMPLES)
    return next(case for case, found in outcomes if found[fault.name] is Detection.CAUGHT)


def hidden_by(fault: Fault, case: Case) -> list[str]:
    """The reasons why a fault that a case shows would not show with other settings."""
    if fault.size:
        return [SIZES[fault.size].reason]
    others = [replace(case, channel_axis=1, **settings) for settings in HIDING]
    groups = [group for other in power(others).cases for group in other.visibility.blind if fault in group.faults]
    return list(dict.fromkeys(group.reason for group in groups))


def explained(node: str | None, others: Sequence[str] = ()) -> Page:
    """The page that `show` prints, for any console."""
    if node is None:
        return Page(Writer.overview)
    found = derivation.derivation_of(node, others)
    return Page(lambda writer: writer.node(found))


class Page(NamedTuple):
    """Lines that are laid out for the signs that a terminal has."""

    lines: Callable[[Writer], Iterator[Text]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        problem = draw(derivation.CASE)
        spell = in_ascii if options.ascii_only else str
        yield from self.lines(Writer(spell, problem, derivation.work(problem)))


def in_ascii(text: str) -> str:
    """A formula or a drawing in signs that every terminal has."""
    return text.translate(derivation.ASCII | DRAWING)


class Writer(NamedTuple):
    """The lines of a page, with the numbers of a problem.

    `spell` spells a formula as it is, or in ASCII, which is longer: it comes before anything is aligned.
    """

    spell: Callable[[str], str]
    problem: Problem
    numbers: Numbers

    # --- pages

    def overview(self) -> Iterator[Text]:
        """All of the derivation."""
        yield from self._title("Batch normalisation, forward and backward")
        yield from self._graph({})
        yield from self._forward()
        yield self._heading("Backward, from out to x")
        for formula in derivation.BACKWARD:
            yield from self._formula(formula)
        yield Text()
        yield from self._prose("A, B and C are the three routes back to x: direct, through var, through mean.")
        yield from self._prose(
            f"`bncheck explain NODE` derives one of them, with what every row gives: {', '.join(NODES)}."
        )
        yield from self._this_problem()

    def node(self, found: Derivation) -> Iterator[Text]:
        """The derivation of one node."""
        yield from self._title(f"d{found.node}: the gradient of the loss at {found.node}", found.chain)
        yield from self._graph({**dict.fromkeys(found.held, "dim"), found.node: "bold cyan"})
        held = ", ".join(found.held) or "nothing"
        yield from self._prose(f"Held: {held}. Moving with {found.node}: {', '.join(found.follows)}.")
        yield Text()
        yield from self._forward()
        yield self._heading("Backward")
        for formula in found.steps:
            yield from self._formula(formula)
        if found.closed_form:
            yield from self._prose("The same in closed form:", "dim")
            yield from self._formula(found.closed_form)
        yield Text()
        yield from self._check(found)
        if found.note:
            yield from self._prose(found.note)
        yield from self._this_problem()

    def fault(self, fault: Fault, report: CaseReport) -> Iterator[Text]:
        """A fault, its formulas beside the right ones, what hides it, and what a check says of it."""
        yield from self._title(fault.name, fault.sentence)
        yield self._heading("As it should be")
        for symbol in fault.breaks:
            is_eval = symbol == "dx" and fault.needs == "eval"
            yield from self._formula(derivation.DX_IN_EVAL if is_eval else derivation.OF_GRADIENT[symbol])
        yield Text()
        numbers = self._with(fault)
        if written := as_written(fault):
            yield self._heading("As it is with the fault")
        for symbol, text in written.items():
            *above, last = textwrap.wrap(f"{symbol} = {text}", WIDTH - len(DEEPER), subsequent_indent=INDENT)
            yield from (Text(DEEPER + self.spell(line)) for line in above)
            yield from self._line(last, numbers[symbol]) if symbol in numbers else [Text(DEEPER + self.spell(last))]
        yield from [Text()] * bool(written)
        yield from self._this_problem()
        yield Text()
        yield Text("Not shown where", style="bold")
        for reason in hidden_by(fault, report.case) or ["nothing that is usual hides it"]:
            yield from self._prose(f"- {reason}")
        yield Text()
        case = report.case
        shape, mode = "x".join(map(str, case.shape)), "" if case.mode == "train" else f" in {case.mode} mode"
        yield Text(f"A check of {shape}, seed {case.seed}, eps {case.eps:g}{mode} says", style="bold")
        for line in told(report):
            yield from self._prose(line)

    def faults(self) -> Iterator[Text]:
        """The names of all faults, by the node whose formula they break first."""
        for node in NODES:
            yield Text(node, style="bold")
            of_node = (fault for fault in KNOWN if node == fault.breaks[0].removeprefix("d").removesuffix("_hat"))
            yield from (Text(f"{INDENT}{fault.name:<{NAME}}{self.spell(fault.sentence)}") for fault in of_node)
            yield Text()
        yield from self._prose("`bncheck explain NAME` tells what one of them is, and what hides it.")

    def _with(self, fault: Fault) -> dict[str, FloatArray]:
        """The numbers of a fault by their symbols; none where it is not possible in this problem."""
        parts = Parts.of(self.problem.inputs, self.problem.dout)
        if fault.needs not in needs_met(parts):
            return {}
        wrong = fault.wrong(Wrong.without_fault(parts), parts, FactorValues.of(parts))
        gradients = {f"d{node}": value for node, value in wrong.gradients(parts)._asdict().items()}
        return {**gradients, "dx_hat": parts.dout * wrong.gain}

    # --- parts

    def _title(self, title: str, sentence: str = "") -> Iterator[Text]:
        yield Text(self.spell(title), style="bold")
        yield from self._prose(sentence)
        yield Text()

    def _graph(self, styles: dict[str, str]) -> Iterator[Text]:
        """The graph, with a style for some of its nodes. x - mean stands still where both of them do."""
        is_still = {styles.get("x"), styles.get("mean")} == {"dim"}
        styles = {**styles, "x - mean": "dim" if is_still else ""}
        for line in GRAPH.splitlines():
            text = Text(INDENT + self.spell(line))
            for found in re.finditer(r"x - mean|\w+", text.plain):
                text.stylize(styles.get(found[0], ""), *found.span())
            yield text
        yield Text()

    def _forward(self) -> Iterator[Text]:
        yield self._heading("Forward")
        for name in ("x", "gamma", "beta"):
            yield from self._line(name, getattr(self.numbers, name))
        for formula in derivation.FORWARD:
            yield from self._formula(formula)
        yield from self._line("dout", self.numbers.dout)
        yield from self._formula(derivation.LOSS)
        yield Text()

    def _check(self, found: Derivation) -> Iterator[Text]:
        """The gradient at the node by differences, and how far the two are apart, as `run` says it."""
        differences = differentiate(found.node, batchnorm.out_of, self.problem.inputs, self.problem.dout)
        analytic = getattr(self.numbers, f"d{found.node}")
        error = np.max(np.abs(np.atleast_2d(analytic - differences.value)), axis=0) / found.scale.value(self.numbers)
        yield self._heading("Check")
        yield from self._prose(f"Differences of the forward, {differences.method}, know none of these formulas:", "dim")
        yield from self._line(f"numeric d{found.node}", differences.value)
        yield from self._prose("Relative to the size of the terms before they cancel; `run` allows 1e-9:", "dim")
        yield from self._formula(found.scale)
        distance = f"|d{found.node} - numeric|"
        written = f"max({distance})" if analytic.ndim > 1 else distance
        yield from self._line(f"error = {written} / scale", error, "error")
        yield Text()

    def _this_problem(self) -> Iterator[Text]:
        case = derivation.CASE
        shape = "x".join(map(str, case.shape))
        yield from self._prose(
            f"The numbers: n = {case.n} rows of one feature, eps = {case.eps:g}. Features do not see each other, so "
            f"one tells it all. `bncheck run --shape {shape} --seed {case.seed}` checks this very problem.",
            "dim",
        )

    # --- lines

    def _heading(self, title: str) -> Text:
        columns = "".join(f"row {row}".rjust(ROW) for row in range(self.numbers.n)) + "batch".rjust(BATCH)
        text = Text(self.spell(title).ljust(WIDTH - len(columns)), style="bold")
        return text.append(columns, style="not bold dim")

    def _formula(self, formula: Formula) -> Iterator[Text]:
        """A formula with its numbers, after the sentence that says why it holds."""
        for sentence in formula.why.splitlines():
            yield from self._prose(sentence, "dim")
        yield from self._line(formula.label, formula.value(self.numbers), formula.symbol)

    def _line(self, label: str, values: FloatArray, symbol: str = "") -> Iterator[Text]:
        """Numbers at the right: one under each row, or one for the batch. A label that would touch them stands above.

        `symbol` is what the label begins with, if it defines one.
        """
        if values.ndim > 1:
            columns = "".join(number(value).rjust(ROW) for value in values[:, 0]) + " " * BATCH
        else:
            columns = number(values[0]).rjust(BATCH)
        left = Text(DEEPER + self.spell(label))
        left.stylize("bold", 0, len(DEEPER + symbol) if symbol else 0)
        if len(left.plain) >= WIDTH - len(columns):
            yield left
            left = Text()
        left.pad_right(WIDTH - len(columns) - len(left.plain))
        left.append(columns)
        left.rstrip()
        yield left

    def _prose(self, sentence: str, style: str = "") -> Iterator[Text]:
        for line in textwrap.wrap(self.spell(sentence), WIDTH, initial_indent=INDENT, subsequent_indent=INDENT):
            yield Text(line, style=style)


def number(value: float) -> str:
    """A number with four decimals; one that would be nothing but zeros there is shown by its size."""
    if value == 0:
        return "0"
    return f"{value:.1e}" if abs(value) < SMALL else f"{value:.{DECIMALS}f}"
