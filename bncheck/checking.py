"""One case through to its result: drawn, run, differentiated, judged row by row, diagnosed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np

from bncheck.calling.answer import MIXED, Answer
from bncheck.calling.implementation import BUILT_IN, AsAsked, Subject
from bncheck.case import Case, Verdict
from bncheck.gradients import batchnorm, comparison, numeric, scales
from bncheck.gradients.batchnorm import NODES, FloatArray, Inputs, Stages
from bncheck.gradients.comparison import BLUR, Comparison, Yardstick, compare, relative, without_number
from bncheck.gradients.numeric import Numeric
from bncheck.gradients.problem import Problem, draw
from bncheck.gradients.resolution import Point
from bncheck.gradients.schemes import EVERYDAY, Method, methods
from bncheck.gradients.variants import Identity, asked, identify
from bncheck.gradients.yardsticks import Ground
from bncheck.report import CaseReport

if TYPE_CHECKING:
    from bncheck.faults.blindness import Blind
    from bncheck.faults.diagnosis import Finding


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


def check_ours(case: Case) -> CaseReport:
    """One case of our own implementations. Running out of memory costs this one case."""
    try:
        return check_with_sight(case, BUILT_IN[case.implementation])
    except MemoryError:
        shape = " x ".join(map(str, case.shape))
        return CaseReport(case, Verdict.ERROR, reason=f"out of memory at shape {shape}; use a smaller one")


def _checked(case: Case, subject: Subject, look: Look) -> CaseReport:
    with np.errstate(all="ignore"):
        drawn = draw(case)
        problem = replace(drawn, inputs=subject.given(drawn.inputs))
        ground = Ground.of(problem)
        if ground.reason:
            return CaseReport(case, Verdict.SKIPPED, reason=ground.reason)
        answer = subject.examined(problem.inputs, problem.dout)
        asked_for = AsAsked(subject, problem.inputs.eps)
        rows, identity = [], Identity(ground.exact.inputs)
        if answer.out is not None:
            row, identity = forward_row(asked_for, answer.out, ground)
            rows.append(row)
            ground = ground.at(identity.inputs)
            if np.any(ground.stages.root == 0):
                return _without_root(case, _with_breaches(row, answer), identity)
        points = cache(partial(Point.of, asked_for.forward, ground.exact.inputs, ground.exact.dout))
        rows += [node_row(node, asked_for, answer, ground, points) for node in NODES]
        # Where the forward is none that is known, the routes are not its own, and nothing can be said of them.
        findings = _findings(rows, answer, ground) if identity.known else ()
        rows = [_located(_with_breaches(row, answer), problem) for row in rows]
        blind = look(rows, answer, ground) if identity.known else ()
    verdict = max((row.verdict for row in rows), key=GRAVITY.index)
    note = "; ".join(filter(None, [identity.sentence, *(sentence for _, sentence in answer.notes)]))
    return CaseReport(case, verdict, tuple(rows), note=note, findings=findings, blind=blind)


def _without_root(case: Case, out: Comparison, identity: Identity) -> CaseReport:
    """Nothing can be told of the gradients of a variant, but whether this variant is wanted at all."""
    reason = NO_ROOT.format(variant=identity.sentence)
    if case.forward != "standard":
        return CaseReport(case, Verdict.SKIPPED, reason=reason)
    rows = (out, *(without_number(node, reason) for node in NODES))
    return CaseReport(case, Verdict.FAIL, rows, note=identity.sentence)


def _blind(rows: list[Comparison], answer: Answer, ground: Ground) -> tuple[Blind, ...]:
    from bncheck.faults.parts import Parts
    from bncheck.faults.power import visibility

    judged = [row for row in rows if row.node != "out" and row.verdict is not Verdict.SKIPPED]
    rods = {row.node: yardstick_of(row.node, answer, ground) for row in judged}
    implied = [row.node for row in judged if row.implied]
    case = ground.problem.case
    parts = Parts.of(ground.exact.inputs, ground.exact.dout, ground.stages, case.samples)
    return visibility(parts, rods, case.dtype, implied).blind


def _findings(rows: list[Comparison], answer: Answer, ground: Ground) -> tuple[Finding, ...]:
    """What is wrong with gradients that fail for their values, and not for roundoff.

    A row may fail for a breach of the contract as well; of its values only what is explained is told then, for a
    gradient that changes from call to call has no cause among the formulas.
    """
    told = [row for row in rows if row.node != "out" and not row.implied and not row.note]
    if not any(row.verdict is Verdict.FAIL for row in told):
        return ()
    # Rows that are right are no findings, and they rule out faults that would have spoilt them too.
    given = {row.node: gradient for row in told if (gradient := answer.of(row.node)) is not None}
    from bncheck.faults.diagnosis import diagnose  # a start should not wait for what only a failure needs
    from bncheck.faults.parts import Parts

    parts = Parts.of(ground.exact.inputs, ground.exact.dout, ground.stages, ground.problem.case.samples)
    findings = diagnose(parts, given, {node: yardstick_of(node, answer, ground) for node in given})
    broken = {row for row, _ in answer.breaches}
    return tuple(finding for finding in findings if finding.keys or not broken & set(finding.rows))


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


UNKNOWN = "this is no batch normalisation that is known; its gradients are judged against its own forward"
REFUSED = "{found}, and this config asks for `forward: standard`"
HIDDEN = (
    "only an update of {node} shows its gradient, and one of size {scale:.2g} is lost in the rounding of {node}, "
    "{grain:.2g}; keep d{node} in an attribute, and it is judged"
)

Points = Callable[[Method], Point]

# --- out -------------------------------------------------------------------------------------------------------


def forward_row(subject: AsAsked, out: FloatArray, ground: Ground) -> tuple[Comparison, Identity]:
    """The row `out`, and what the forward is: known by what it gives in float64, and judged in its dtype."""
    inputs, case = ground.exact.inputs, ground.problem.case
    identity, why = _known(subject, ground)
    known = identity or Identity(inputs, known=False)
    yardstick = ground.yardstick_of_out(case.dtype)
    expected = Numeric(batchnorm.forward(known.inputs).out, np.zeros(case.d), EVERYDAY)
    found = compare("out", out, expected, yardstick)
    if identity is None:
        return replace(found, verdict=Verdict.FAIL, note=UNKNOWN), known
    if known.sentence and case.forward == "standard":
        return replace(found, verdict=Verdict.FAIL, note=REFUSED.format(found=known.sentence)), known
    if found.verdict is Verdict.FAIL:
        if why:
            usually = "" if why == comparison.NARROW else _usually(ground)
            return replace(found, note=comparison.because(why, found, case.dtype, usually)), known
        wide = known.inputs.map(lambda array: array.astype(comparison.WIDER[case.dtype]))
        exactly = expected._replace(value=batchnorm.forward(wide).out)
        try:
            error = compare("out", subject.forward(wide), exactly, yardstick).error
        except Exception:  # code that takes no such numbers says nothing of roundoff
            return replace(found, note=UNKNOWN), known
        rounded = comparison.sentence(found, error, case.dtype, _usually(ground))
        return replace(found, note=rounded or UNKNOWN), known
    return found, known


def _known(subject: AsAsked, ground: Ground) -> tuple[Identity | None, str]:
    """What the forward is, and why that shows only on other data or to fewer digits, where it does."""
    inputs, dtype = ground.exact.inputs, ground.problem.case.dtype
    likely = asked(subject.forward, inputs)
    attempts = [(inputs, "float64", ""), (inputs, dtype, "")]
    if inputs.running_mean is None:
        attempts.append((replace(inputs, x=batchnorm.anchor(inputs.x)), "float64", comparison.CENTRED))
    for at, to, why in (*attempts, (inputs, "float32", comparison.NARROW)):
        identity = _identity(subject, ground, at, to, likely)
        if identity is not None:
            return replace(identity, inputs=replace(identity.inputs, x=inputs.x, beta=inputs.beta)), why
    return None, ""


def _identity(subject: AsAsked, ground: Ground, inputs: Inputs, dtype: str, likely: Identity | None) -> Identity | None:
    """What the forward is at these inputs, to the precision of a dtype.

    By what it gives where beta is 0: beside a beta, x_hat may be lost.
    """
    held = replace(inputs, beta=np.zeros_like(inputs.beta))
    yardstick = replace(ground.at(held).yardstick_of_out(dtype), rtol=None)
    allowed = yardstick.tolerance * yardstick.measured_by
    constant = yardstick.scale <= float(np.finfo(np.float64).eps) * yardstick.roundoff
    if np.any((allowed > BLUR * yardstick.scale) & ~constant):
        return None  # to so few digits anything is batch normalisation
    return identify(subject.forward(held), held, allowed, likely)


# --- beta, gamma, mean, var, x ---------------------------------------------------------------------------------


def node_row(node: str, subject: AsAsked, answer: Answer, ground: Ground, points: Points) -> Comparison:
    """The row of one node: what they give, or what their dx implies, against differences at a point."""
    if node in answer.unjudged:
        return without_number(node, answer.unjudged[node])
    gradient = _gradient(node, answer, ground.exact.inputs, ground.exact.dout, ground.stages)
    if gradient is None:
        return without_number(node, _why_none(node, answer))
    is_implied = answer.of(node) is None
    yardstick = yardstick_of(node, answer, ground)
    for method in methods():
        try:
            differences = numeric.gradient(node, points(method))
        except Exception:
            if method.dtype == "float64":
                raise
            break  # code that takes no wider numbers is judged by what the narrower ones say
        found = compare(node, gradient, differences, yardstick)
        if found.verdict is Verdict.PASS or (found.verdict is Verdict.FAIL and _is_certain(found, yardstick, method)):
            break
    if is_implied:
        found = replace(found, implied=True)
    if not differences.independent:
        return replace(found, verdict=Verdict.FAIL, note=MIXED)
    if found.verdict is Verdict.FAIL:
        return replace(found, note=_in_wider(found, subject, ground, points) or _centred(found, subject, ground))
    if yardstick.is_hidden:
        return without_number(node, _why_hidden(node, yardstick))
    return found


def yardstick_of(node: str, answer: Answer, ground: Ground) -> Yardstick:
    """What errors of an answer at a node are measured by: as it is given, implied, or read off an update."""
    if answer.of(node) is None:
        return ground.implied_yardstick(node)
    yardstick = ground.yardstick(node)
    return yardstick.seen_in_steps_of(answer.grain[node]) if node in answer.grain else yardstick


def _why_hidden(node: str, yardstick: Yardstick) -> str:
    """In the feature that shows most of its gradient."""
    grain = np.broadcast_to(yardstick.grain, yardstick.scale.shape)
    feature = int(np.argmin(np.where(grain > 0, grain / yardstick.scale, np.inf)))
    return HIDDEN.format(node=node, scale=yardstick.scale[feature], grain=grain[feature])


def _gradient(node: str, answer: Answer, inputs: Inputs, dout: FloatArray, stages: Stages) -> FloatArray | None:
    """The gradient they give at a node, or the one that their dx implies; None where there is neither."""
    given = answer.of(node)
    if given is None and node in scales.IMPLIED and answer.x is not None and inputs.running_mean is None:
        return scales.implied_gradient(node, answer.x.astype(dout.dtype), dout, inputs, stages)
    return given


def _why_none(node: str, answer: Answer) -> str:
    if node not in scales.IMPLIED:
        return f"it gives no d{node}"
    if answer.x is None:
        return f"it gives no d{node}, and no dx that would imply it"
    return f"it gives no d{node}, and dx implies none in eval mode, where mean and var are constants"


def _is_certain(failed: Comparison, yardstick: Yardstick, method: Method) -> bool:
    """Whether an error is larger than differences may be off for a forward that loses digits of x - mean.

    Such roundoff is alike at neighbouring points, so that scatter need not show it.
    """
    unit = float(np.finfo(method.dtype).eps)
    lost = unit * float(np.max(relative(yardstick.roundoff, yardstick.measured_by))) / method.fraction
    return not failed.error <= 4 * lost


def _in_wider(failed: Comparison, subject: AsAsked, ground: Ground, points: Points) -> str:
    """What to say where the same code fails less in wider arithmetic."""
    dtype = ground.problem.case.dtype
    wider = comparison.WIDER[dtype]
    method = next((method for method in reversed(methods()) if method.dtype == wider), None)
    if method is None:
        return ""
    try:
        point = points(method)
        error = _again(failed.node, subject, ground, point.inputs, point.dout)(point).error
    except Exception:
        if method.dtype == "float64":
            raise
        return ""
    return comparison.sentence(failed, error, dtype, _usually(ground))


def _centred(failed: Comparison, subject: AsAsked, ground: Ground) -> str:
    """What to say where the same code is right on x less its first row, which asks for no digits of the mean."""
    inputs, dout = ground.exact.inputs, ground.exact.dout
    if inputs.running_mean is not None:
        return ""
    inputs = replace(inputs, x=batchnorm.anchor(inputs.x))
    again = _again(failed.node, subject, ground.at(inputs), inputs, dout)
    if again(Point.of(subject.forward, inputs, dout, EVERYDAY)).verdict is not Verdict.PASS:
        return ""
    return comparison.because(comparison.CENTRED, failed, ground.problem.case.dtype, _usually(ground))


def _usually(ground: Ground) -> str:
    return comparison.usual_cause(ground.exact.inputs, ground.stages)


def _again(
    node: str, subject: AsAsked, ground: Ground, inputs: Inputs, dout: FloatArray
) -> Callable[[Point], Comparison]:
    """What comparing at another point gives: the same numbers in wider arithmetic, or other ones."""
    answer = subject.answer(inputs, dout)
    gradient = _gradient(node, answer, inputs, dout, batchnorm.forward(inputs))
    yardstick = yardstick_of(node, answer, ground)

    def compared(point: Point) -> Comparison:
        if gradient is None:
            return without_number(node, "")
        return compare(node, gradient, numeric.gradient(node, point), yardstick)

    return compared
