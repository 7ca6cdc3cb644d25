"""One case through to its report: drawn, run, differentiated, judged row by row, diagnosed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from bncheck.calling.answer import MIXED, Answer
from bncheck.calling.implementation import AsAsked, Subject, find
from bncheck.case import Case, Verdict
from bncheck.gradients import batchnorm, comparison, numeric, scales
from bncheck.gradients.batchnorm import NODES, FloatArray, Inputs, Stages
from bncheck.gradients.comparison import Comparison, compare, without_number
from bncheck.gradients.numeric import Numeric
from bncheck.gradients.problem import Problem, draw
from bncheck.gradients.resolution import Point
from bncheck.gradients.schemes import EVERYDAY, Method, methods
from bncheck.gradients.variants import Identity, asked, identify
from bncheck.gradients.yardsticks import BLUR, Basis, Yardstick, relative
from bncheck.report import CaseReport

if TYPE_CHECKING:
    from bncheck.faults.blindness import Blind
    from bncheck.faults.diagnosis import Finding
    from bncheck.faults.parts import Parts


NO_ROOT = "a feature has no variance, and where sqrt(var) stands without eps it has no derivative there ({variant})"
GRAVITY = (Verdict.SKIPPED, Verdict.PASS, Verdict.UNRESOLVED, Verdict.FAIL)


def check(case: Case, subject: Subject) -> CaseReport:
    """Draw the case, run the implementation, differentiate its forward, compare at all five nodes.

    Raises whatever the implementation raises.
    """
    with np.errstate(all="ignore"):
        return _checked(case, subject).report


def check_with_sight(case: Case, subject: Subject) -> CaseReport:
    """Check a case, and say which known faults the rows that were judged could not have shown."""
    with np.errstate(all="ignore"):
        checked = _checked(case, subject)
        return replace(checked.report, blind=checked.blind)


def check_ours(case: Case) -> CaseReport:
    """Check one of our own implementations. Running out of memory costs this one case."""
    try:
        return check_with_sight(case, find(case.implementation))
    except MemoryError:
        shape = " x ".join(map(str, case.shape))
        return CaseReport(case, Verdict.ERROR, reason=f"out of memory at shape {shape}; use a smaller one")


@dataclass(frozen=True, eq=False)
class _Checked:
    """The report of a case, and what it was judged by; `judge` is None where nothing can be said of its routes."""

    report: CaseReport
    judge: _Judge | None = None

    @property
    def blind(self) -> tuple[Blind, ...]:
        """The known faults that the rows that were judged could not have shown."""
        if self.judge is None:
            return ()
        from bncheck.faults.power import sight

        judge = self.judge
        judged = [row for row in self.report.comparisons if row.node != "out" and row.verdict is not Verdict.SKIPPED]
        yardsticks = {row.node: judge.yardstick(row.node) for row in judged}
        implied = [row.node for row in judged if row.implied]
        return sight(judge.parts, yardsticks, self.report.case.dtype, implied).blind


def _checked(case: Case, subject: Subject) -> _Checked:
    drawn = draw(case)
    problem = replace(drawn, inputs=subject.given(drawn.inputs))
    subject = AsAsked(subject, problem.inputs.eps)
    basis = Basis.of(problem)
    if basis.reason:
        return _Checked(CaseReport(case, Verdict.SKIPPED, reason=basis.reason))
    answer = subject.examined(problem.inputs, problem.dout)
    rows, identity = [], Identity(basis.exact.inputs)
    if answer.out is not None:
        row, identity = forward_row(subject, answer.out, basis)
        rows.append(row)
        basis = basis.at(identity.inputs)
        if np.any(basis.stages.root == 0):
            return _Checked(_without_root(case, _with_breaches(row, answer), identity))
    judge = _Judge(subject, answer, basis)
    rows += [node_row(node, judge) for node in NODES]
    rows = [_located(_with_breaches(row, answer), problem) for row in rows]
    verdict = max((row.verdict for row in rows), key=GRAVITY.index)
    report = CaseReport(case, verdict, tuple(rows), note=identity.sentence)
    # Where the forward is none that is known, the routes are not its own, and nothing can be said of them.
    if not identity.known:
        return _Checked(report)
    return _Checked(replace(report, findings=_findings(rows, judge)), judge)


def _without_root(case: Case, out: Comparison, identity: Identity) -> CaseReport:
    """Report a variant of whose gradients nothing can be told: only whether it is wanted at all."""
    reason = NO_ROOT.format(variant=identity.sentence)
    if case.forward != "standard":
        return CaseReport(case, Verdict.SKIPPED, reason=reason)
    rows = (out, *(without_number(node, reason) for node in NODES))
    return CaseReport(case, Verdict.FAIL, rows, note=identity.sentence)


def _findings(rows: list[Comparison], judge: _Judge) -> tuple[Finding, ...]:
    """Diagnose gradients that fail for their values: not for roundoff, nor for a breach of the contract."""
    told = [row for row in rows if row.node != "out" and not row.implied and not row.note]
    if not any(row.verdict is Verdict.FAIL for row in told):
        return ()
    # Rows that are right are no findings, and they rule out faults that would have spoilt them too.
    given = {row.node: gradient for row in told if (gradient := judge.answer.of(row.node)) is not None}
    from bncheck.faults.diagnosis import diagnose  # a start should not wait for what only a failure needs

    return diagnose(judge.parts, given, {node: judge.yardstick(node) for node in given})


def _with_breaches(row: Comparison, answer: Answer) -> Comparison:
    """A row in which the contract is broken fails, whatever its numbers."""
    sentences = [sentence for place, sentence in answer.breaches if place == row.node]
    if not sentences:
        return row
    if row.verdict is Verdict.SKIPPED:
        return replace(row, verdict=Verdict.FAIL, note="; ".join(sentences))
    return replace(row, verdict=Verdict.FAIL, note="; ".join(filter(None, [*sentences, row.note])))


def _located(row: Comparison, problem: Problem) -> Comparison:
    """Place the worst element of a row in the layout of the case."""
    if len(row.worst.index) != 2:
        return row
    n, feature = row.worst.index
    return replace(row, worst=replace(row.worst, index=problem.index(n, feature)))


# --- what an answer is judged by ------------------------------------------------------------------------------------


T = TypeVar("T")


class Refused(Exception):  # noqa: N818 - an answer of theirs, not an error of ours
    """Somebody's code raised something when it was given numbers wider than float64."""


def _at_any_width(call: Callable[..., T], inputs: Inputs, *dout: FloatArray) -> T:
    """Call somebody's code. Raises Refused for whatever it raises at numbers wider than float64."""
    try:
        return call(inputs, *dout)
    except Exception as error:
        if inputs.x.dtype == np.longdouble != np.float64:
            raise Refused from error
        raise


@dataclass(frozen=True, eq=False)
class _Judge:
    """One answer, and everything that it is judged by, made once and on first use."""

    subject: Subject
    answer: Answer
    basis: Basis

    @cached_property
    def parts(self) -> Parts:
        """The right backward pass, taken apart."""
        from bncheck.faults.parts import Parts  # only a failure needs it, and blindness

        exact = self.basis.exact
        return Parts.of(exact.inputs, exact.dout, self.basis.stages, exact.case.samples)

    @cached_property
    def _points(self) -> dict[Method, Point]:
        return {}

    def point(self, method: Method) -> Point:
        """Their forward at these inputs, in the arithmetic of a method. Raises Refused where it does not take that."""
        if method not in self._points:
            exact = self.basis.exact
            forward = partial(_at_any_width, self.subject.forward)
            self._points[method] = Point.of(forward, exact.inputs, exact.dout, method)
        return self._points[method]

    def gradient(self, node: str) -> FloatArray | None:
        """The gradient they give at a node, or the one that their dx implies; None where there is neither."""
        exact = self.basis.exact
        return _gradient(node, self.answer, exact.inputs, exact.dout, self.basis.stages)

    def yardstick(self, node: str) -> Yardstick:
        """The yardstick of their gradient at a node: as it is given, implied, or read off an update."""
        if self.answer.of(node) is None:
            return self.basis.implied_yardstick(node)
        yardstick = self.basis.yardstick(node)
        return yardstick.seen_in_steps_of(self.answer.grain[node]) if node in self.answer.grain else yardstick


UNKNOWN = "this is no batch normalisation that is known; its gradients are judged against its own forward"
OFF = "in float64 it gives batch normalisation; in {dtype} its out is off by more than rounding explains"
REFUSED = "{found}, and this config asks for `forward: standard`"
HIDDEN = (
    "only an update of {node} shows its gradient, and one of size {scale:.2g} is lost in the rounding of {node}, "
    "{grain:.2g}; keep d{node} in an attribute, and it is judged"
)

# --- out -------------------------------------------------------------------------------------------------------


def forward_row(subject: Subject, out: FloatArray, basis: Basis) -> tuple[Comparison, Identity]:
    """The row `out`, judged in the dtype of the case, and the identity of the forward, known by its float64."""
    inputs, case = basis.exact.inputs, basis.problem.case
    identity, why = _known(subject, basis)
    known = identity or Identity(inputs, known=False)
    yardstick = basis.yardstick_of_out(case.dtype)
    expected = Numeric(batchnorm.forward(known.inputs).out, np.zeros(case.d), EVERYDAY)
    found = compare("out", out, expected, yardstick)
    if identity is None:
        return replace(found, verdict=Verdict.FAIL, note=UNKNOWN), known
    if known.sentence and case.forward == "standard":
        return replace(found, verdict=Verdict.FAIL, note=REFUSED.format(found=known.sentence)), known
    if found.verdict is Verdict.FAIL:
        return replace(found, note=_why_off(found, subject, basis, known.inputs, why)), known
    return found, known


def _why_off(found: Comparison, subject: Subject, basis: Basis, inputs: Inputs, why: str) -> str:
    """Why an out is off whose forward is known: `why` where that is known already, roundoff, or neither."""
    dtype = basis.problem.case.dtype
    if why:
        return comparison.because(why, found, dtype, "" if why == comparison.NARROW else _usually(basis))
    wide = inputs.map(lambda array: array.astype(comparison.WIDER[dtype]))
    expected = Numeric(batchnorm.forward(wide).out, np.zeros(wide.x.shape[1]), EVERYDAY)
    try:
        out = _at_any_width(subject.forward, wide)
    except Refused:
        return OFF.format(dtype=dtype)
    error = compare("out", out, expected, basis.yardstick_of_out(dtype)).error
    return comparison.sentence(found, error, dtype, _usually(basis)) or OFF.format(dtype=dtype)


def _known(subject: Subject, basis: Basis) -> tuple[Identity | None, str]:
    """Identify the forward; and say why it shows only on other data or to fewer digits, where that is so."""
    inputs, dtype = basis.exact.inputs, basis.problem.case.dtype
    likely = asked(subject.forward, inputs)
    attempts = [(inputs, "float64", ""), (inputs, dtype, "")]
    if inputs.running_mean is None:
        attempts.append((replace(inputs, x=batchnorm.anchor(inputs.x)), "float64", comparison.CENTRED))
    for at, to, why in (*attempts, (inputs, "float32", comparison.NARROW)):
        identity = _identity(subject, basis, at, to, likely)
        if identity is not None:
            return replace(identity, inputs=replace(identity.inputs, x=inputs.x, beta=inputs.beta)), why
    return None, ""


def _identity(subject: Subject, basis: Basis, inputs: Inputs, dtype: str, likely: Identity | None) -> Identity | None:
    """Identify the forward at these inputs, to the precision of a dtype.

    It is known by what it gives where beta is 0: beside a beta, x_hat may be lost.
    """
    held = replace(inputs, beta=np.zeros_like(inputs.beta))
    yardstick = replace(basis.at(held).yardstick_of_out(dtype), rtol=None)
    allowed = yardstick.tolerance * yardstick.measured_by
    constant = yardstick.scale <= float(np.finfo(np.float64).eps) * yardstick.roundoff
    if np.any((allowed > BLUR * yardstick.scale) & ~constant):
        return None  # to so few digits anything is batch normalisation
    return identify(subject.forward(held), held, allowed, likely)


# --- beta, gamma, mean, var, x ---------------------------------------------------------------------------------


def node_row(node: str, judge: _Judge) -> Comparison:
    """The row of one node: the gradient they give, or the one that their dx implies, against differences."""
    gradient = judge.gradient(node)
    if gradient is None:
        return without_number(node, _why_none(node, judge.answer))
    yardstick = judge.yardstick(node)
    for method in methods():
        try:
            differences = numeric.gradient(node, judge.point(method))
        except Refused:
            break  # the narrower numbers are what there is to judge by
        found = compare(node, gradient, differences, yardstick)
        if found.verdict is Verdict.PASS or (found.verdict is Verdict.FAIL and _is_certain(found, yardstick, method)):
            break
    found = replace(found, implied=judge.answer.of(node) is None)
    if not differences.independent:
        return replace(found, verdict=Verdict.FAIL, note=MIXED)
    if found.verdict is Verdict.FAIL:
        return replace(found, note=_in_wider(found, judge) or _centred(found, judge))
    if yardstick.is_hidden:
        return without_number(node, _why_hidden(node, yardstick))
    return found


def _why_hidden(node: str, yardstick: Yardstick) -> str:
    """The reason why an update hides a gradient, told of the feature that shows most of it."""
    grain = np.broadcast_to(yardstick.grain, yardstick.scale.shape)
    feature = int(np.argmin(np.where(grain > 0, grain / yardstick.scale, np.inf)))
    return HIDDEN.format(node=node, scale=yardstick.scale[feature], grain=grain[feature])


def _gradient(node: str, answer: Answer, inputs: Inputs, dout: FloatArray, stages: Stages) -> FloatArray | None:
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


# --- why a row fails, where it is no wrong formula ------------------------------------------------------------------


def _in_wider(failed: Comparison, judge: _Judge) -> str:
    """The sentence for code that fails less in wider arithmetic; empty where it does not."""
    dtype = judge.basis.problem.case.dtype
    wider = comparison.WIDER[dtype]
    method = next((method for method in reversed(methods()) if method.dtype == wider), None)
    if method is None:
        return ""
    try:
        error = _again(failed.node, judge, judge.point(method)).error
    except Refused:
        return ""
    return comparison.sentence(failed, error, dtype, _usually(judge.basis))


def _centred(failed: Comparison, judge: _Judge) -> str:
    """The sentence for code that is right on x less its first row, which asks for no digits of the mean."""
    inputs = judge.basis.exact.inputs
    if inputs.running_mean is not None:
        return ""
    inputs = replace(inputs, x=batchnorm.anchor(inputs.x))
    centred = replace(judge, basis=judge.basis.at(inputs))
    if _again(failed.node, centred, centred.point(EVERYDAY)).verdict is not Verdict.PASS:
        return ""
    return comparison.because(comparison.CENTRED, failed, judge.basis.problem.case.dtype, _usually(judge.basis))


def _usually(basis: Basis) -> str:
    return comparison.usual_cause(basis.exact.inputs, basis.stages)


def _again(node: str, judge: _Judge, point: Point) -> Comparison:
    """Compare at another point: the same numbers in wider arithmetic, or other ones. Raises Refused."""
    answer = _at_any_width(judge.subject.answer, point.inputs, point.dout)
    gradient = _gradient(node, answer, point.inputs, point.dout, point.stages)
    if gradient is None:
        return without_number(node, "")
    return compare(node, gradient, numeric.gradient(node, point), replace(judge, answer=answer).yardstick(node))
