"""One case through to its result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np

from bncheck.batchnorm import NODES
from bncheck.case import Case
from bncheck.comparison import Comparison, Verdict, without_number
from bncheck.ground import Ground
from bncheck.implementations.answer import Answer
from bncheck.implementations.contract import AsAsked, Subject
from bncheck.point import Point
from bncheck.problem import Problem, draw
from bncheck.report import CaseReport
from bncheck.rows import forward_row, node_row, yardstick_of
from bncheck.variants import Identity

if TYPE_CHECKING:
    from bncheck.blindness import Blind
    from bncheck.diagnosis import Finding

NO_ROOT = "a feature has no variance, and where sqrt(var) stands without eps it has no derivative there ({variant})"
GRAVITY = (Verdict.SKIPPED, Verdict.PASS, Verdict.UNRESOLVED, Verdict.FAIL)

Look = Callable[[list[Comparison], Answer, Ground], "tuple[Blind, ...]"]


def check(case: Case, subject: Subject) -> CaseReport:
    """Draw the case, run the implementation, differentiate its forward, compare at all five nodes.

    Raises whatever the implementation raises.
    """
    return _checked(case, subject, lambda rows, answer, ground: ())


def check_with_sight(case: Case, subject: Subject) -> CaseReport:
    """The same, and which known faults the rows that were judged could not have shown."""
    return _checked(case, subject, _blind)


def _checked(case: Case, subject: Subject, look: Look) -> CaseReport:
    with np.errstate(all="ignore"):
        drawn = draw(case)
        problem = replace(drawn, inputs=subject.given(drawn.inputs))
        subject = AsAsked(subject, problem.inputs.eps)
        ground = Ground.of(problem)
        if ground.reason:
            return CaseReport(case, Verdict.SKIPPED, reason=ground.reason)
        answer = subject.examined(problem.inputs, problem.dout)
        rows, identity = [], Identity(ground.exact.inputs)
        if answer.out is not None:
            row, identity = forward_row(subject, answer.out, ground)
            rows.append(row)
            ground = ground.at(identity.inputs)
            if np.any(ground.stages.root == 0):
                return _without_root(case, _with_breaches(row, answer), identity)
        points = cache(partial(Point.of, subject.forward, ground.exact.inputs, ground.exact.dout))
        rows += [node_row(node, subject, answer, ground, points) for node in NODES]
        rows = [_located(_with_breaches(row, answer), problem) for row in rows]
        # Where the forward is none that is known, the routes are not its own, and nothing can be said of them.
        findings = _findings(rows, answer, ground) if identity.known else ()
        blind = look(rows, answer, ground) if identity.known else ()
    verdict = max((row.verdict for row in rows), key=GRAVITY.index)
    return CaseReport(case, verdict, tuple(rows), note=identity.sentence, findings=findings, blind=blind)


def _without_root(case: Case, out: Comparison, identity: Identity) -> CaseReport:
    """Nothing can be told of the gradients of a variant, but whether this variant is wanted at all."""
    reason = NO_ROOT.format(variant=identity.sentence)
    if case.forward != "standard":
        return CaseReport(case, Verdict.SKIPPED, reason=reason)
    rows = (out, *(without_number(node, reason) for node in NODES))
    return CaseReport(case, Verdict.FAIL, rows, note=identity.sentence)


def _blind(rows: list[Comparison], answer: Answer, ground: Ground) -> tuple[Blind, ...]:
    from bncheck.parts import Parts
    from bncheck.sight import sight

    judged = [row for row in rows if row.node != "out" and row.verdict is not Verdict.SKIPPED]
    rods = {row.node: yardstick_of(row.node, answer, ground) for row in judged}
    implied = [row.node for row in judged if row.implied]
    case = ground.problem.case
    parts = Parts.of(ground.exact.inputs, ground.exact.dout, ground.stages, case.samples)
    return sight(parts, rods, case.dtype, implied).blind


def _findings(rows: list[Comparison], answer: Answer, ground: Ground) -> tuple[Finding, ...]:
    """What is wrong with gradients that fail for their values: not for roundoff, nor for a breach of the contract."""
    told = [row for row in rows if row.node != "out" and not row.implied and not row.note]
    if not any(row.verdict is Verdict.FAIL for row in told):
        return ()
    # Rows that are right are no findings, and they rule out faults that would have spoilt them too.
    given = {row.node: gradient for row in told if (gradient := answer.of(row.node)) is not None}
    from bncheck.diagnosis import diagnose  # a start should not wait for what only a failure needs
    from bncheck.parts import Parts

    parts = Parts.of(ground.exact.inputs, ground.exact.dout, ground.stages, ground.problem.case.samples)
    return diagnose(parts, given, {node: yardstick_of(node, answer, ground) for node in given})


def _with_breaches(row: Comparison, answer: Answer) -> Comparison:
    """A row in which the contract is broken fails, whatever its numbers."""
    sentences = [sentence for place, sentence in answer.breaches if place == row.node]
    if not sentences:
        return row
    if row.verdict is Verdict.SKIPPED:
        return replace(row, verdict=Verdict.FAIL, note="; ".join(sentences))
    return replace(row, verdict=Verdict.FAIL, note="; ".join(filter(None, [*sentences, row.note])))


def _located(row: Comparison, problem: Problem) -> Comparison:
    """With the worst element's place in the layout of the case rather than in rows."""
    if len(row.worst.index) != 2:
        return row
    n, feature = row.worst.index
    return replace(row, worst=replace(row.worst, index=problem.index(n, feature)))
