"""One case through to its report: drawn, run, differentiated, judged row by row, diagnosed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from bncheck.calling.answer import MIXED, Answer
from bncheck.calling.implementation import AsAsked, Subject, find
from bncheck.case import Case, Verdict
from bncheck.gradients import batchnorm, comparison, numeric, scales, stack
from bncheck.gradients.batchnorm import NODES, FloatArray, Inputs, Stages
from bncheck.gradients.comparison import Comparison, Element, compare, without_number
from bncheck.gradients.numeric import Numeric
from bncheck.gradients.problem import Problem, draw
from bncheck.gradients.resolution import Point
from bncheck.gradients.schemes import EVERYDAY, LONG_STEP, Method, methods, methods_by_rows
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
    judge = _Judge(subject, answer, basis, identity.known)
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
    known: bool = False

    @property
    def works_in_less_than_float64(self) -> bool:
        """Whether it need not carry float64, and is a known batch normalisation: it may be judged by our forward."""
        return self.known and self.basis.problem.case.dtype != "float64"

    @property
    def methods(self) -> tuple[Method, ...]:
        """From the quickest to the finest that it makes sense to try."""
        return (EVERYDAY, LONG_STEP) if self.works_in_less_than_float64 else methods()

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

    @cached_property
    def independent(self) -> bool:
        """Whether no feature of out is seen to depend on another feature of x."""
        point = self.point(EVERYDAY)
        return stack.features_are_independent(point.forward, point.held, point.out, point.stages)

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
AT_CENTRED = "{}, x less a row"
OF_REFERENCE = "{} of our own forward"
WRONG_ALONG = "along random directions, dx is not the gradient of this forward"
TOO_MANY_ROWS = (
    "the Jacobian of this forward is not symmetric, so dx takes differences of one row after another, and {rows} rows "
    "are too many; use fewer"
)
LARGEST_BY_ROWS = 2**28  # elements in all copies of x with one row moved: some seconds
NOWHERE = Element((), math.nan, math.nan)
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
    expected = Numeric(batchnorm.forward(known.inputs).out, np.zeros(case.d), str(EVERYDAY))
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
    expected = Numeric(batchnorm.forward(wide).out, np.zeros(wide.x.shape[1]), str(EVERYDAY))
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
    found = _compared(node, gradient, yardstick, judge)
    found = replace(found, implied=judge.answer.of(node) is None)
    if not judge.independent:
        return replace(found, verdict=Verdict.FAIL, note=MIXED)
    if found.verdict is Verdict.FAIL:
        return replace(found, note=found.note or _in_wider(found, judge) or _centred(found, judge))
    if yardstick.is_hidden:
        return without_number(node, _why_hidden(node, yardstick))
    return found


def _compared(node: str, gradient: FloatArray, yardstick: Yardstick, judge: _Judge) -> Comparison:
    """Compare a gradient with the quickest differences that can tell, or else with the finest that there are."""
    for method in judge.methods:
        try:
            differences = numeric.gradient(node, judge.point(method))
        except Refused:
            break  # the narrower numbers are what there is to judge by
        found = compare(node, gradient, differences, yardstick)
        if found.verdict is Verdict.PASS or (found.verdict is Verdict.FAIL and _is_certain(found, yardstick, method)):
            return found
    if judge.works_in_less_than_float64:
        point = Point.of(batchnorm.out_of, judge.basis.exact.inputs, judge.basis.exact.dout, EVERYDAY)
        differences = numeric.gradient(node, point)
        return compare(node, gradient, differences._replace(method=OF_REFERENCE.format(differences.method)), yardstick)
    if node == "x" and judge.known and judge.basis.exact.inputs.running_mean is None:
        again = compare(node, gradient, _centred_differences(judge), yardstick)
        return found if again.verdict is Verdict.UNRESOLVED else again
    if node == "x" and not differences.symmetric:
        return _compared_by_rows(gradient, found, yardstick, judge)
    return found


def _centred_differences(judge: _Judge) -> Numeric:
    """Differences at x less its middle row, where a forward that is a known batch normalisation has the same dx.

    There it loses no digits of x - mean. That it is the same there, and nothing else, is looked at first.
    """
    inputs, dout = judge.basis.exact.inputs, judge.basis.exact.dout
    point = Point.of(judge.subject.forward, replace(inputs, x=batchnorm.anchor(inputs.x)), dout, EVERYDAY)
    differences = numeric.gradient("x", point)
    off = np.abs(point.out - point.stages.out).max(axis=0)
    same = np.all(off <= 2.0**-40 * len(dout) * np.abs(point.stages.out).max(axis=0))
    bound = differences.resolution if same else np.full_like(differences.resolution, np.inf)
    return differences._replace(resolution=bound, method=AT_CENTRED.format(differences.method))


def _compared_by_rows(dx: FloatArray, found: Comparison, yardstick: Yardstick, judge: _Judge) -> Comparison:
    """Compare dx with differences of one row of x after another; where they are too many, along directions alone.

    These may show that dx is wrong, and never that it is right.
    """
    point = judge.point(EVERYDAY)
    if len(dx) * dx.size > LARGEST_BY_ROWS:
        off = numeric.distance_along(point, dx, yardstick.tolerance * yardstick.measured_by)
        error = float(np.max(relative(off, yardstick.measured_by)))
        if not error <= found.tolerance:
            return replace(found, verdict=Verdict.FAIL, error=error, worst=NOWHERE, off=0, note=WRONG_ALONG)
        return replace(found, verdict=Verdict.UNRESOLVED, note=TOO_MANY_ROWS.format(rows=len(dx)))
    for method in methods_by_rows():
        try:
            by_rows = compare("x", dx, numeric.gradient("x", judge.point(method)), yardstick)
        except Refused:
            break
        if by_rows.verdict is not Verdict.UNRESOLVED:
            return by_rows
        found = min(found, by_rows, key=lambda row: row.resolution)
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
