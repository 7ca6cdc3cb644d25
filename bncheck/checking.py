"""One case through to its report: drawn, run, differentiated, judged row by row, diagnosed."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from bncheck.calling.answer import MIXED, Answer, LineAnswer
from bncheck.calling.implementation import BUILT_IN, REFERENCE, AsAsked, Foreign, Subject, bind
from bncheck.case import Case, Verdict, XDraw
from bncheck.gradients import batchnorm, comparison, numeric, stack
from bncheck.gradients.batchnorm import NODES, FloatArray, Gradients, Inputs, Stages
from bncheck.gradients.comparison import NOWHERE, Cause, Comparison, compare, without_number
from bncheck.gradients.numeric import Beside, Numeric
from bncheck.gradients.problem import Problem, draw, precision
from bncheck.gradients.resolution import Point
from bncheck.gradients.stack import EVERYDAY, LONG_STEP, Forward, Method, methods, methods_by_rows
from bncheck.gradients.variants import NARROW, Identity, asked, carried, identify, known_to, odd_inputs
from bncheck.gradients.yardsticks import BLUR, Basis, Yardstick, relative, sum_error
from bncheck.report import CaseReport

if TYPE_CHECKING:
    from bncheck.faults.blindness import Blind
    from bncheck.faults.catalogue import Fault
    from bncheck.faults.diagnosis import Finding
    from bncheck.faults.hypotheses import Explained
    from bncheck.faults.reduction import Answered
    from bncheck.faults.terms import Parts


NO_ROOT = "a feature has no variance, and where sqrt(var) stands without eps it has no derivative there ({variant})"
DIAGNOSED = 2**20  # elements that are diagnosed together, which takes thirty times their memory
SOME_DIAGNOSED = " Looked at in features {first} to {last} of {d} alone, which are counted from 0 here."
FEW = 4  # features of which it is asked first what they would show


def check(case: Case, subject: Subject) -> CaseReport:
    """Draw the case, run the implementation, differentiate its forward, compare at all five nodes.

    Raises whatever the implementation raises.
    """
    with np.errstate(all="ignore"):
        return _checked(case, subject).placed


def check_with_sight(case: Case, subject: Subject) -> CaseReport:
    """Check a case, and say which known faults the rows that were judged could not have shown."""
    with np.errstate(all="ignore"):
        checked = _checked(case, subject)
        return replace(checked.placed, blind=checked.blind)


def check_drawn(problem: Problem, subject: Subject) -> Answered:
    """Check a problem as it stands, and give the gradients that were given, and the right ones. Raises as `check`."""
    from bncheck.faults.reduction import Answered  # only a failure is followed

    with np.errstate(all="ignore"):
        checked = _judged(_whole(problem, problem.case, subject), problem.case)
        if checked.whole is None:
            return Answered(checked.report, {}, {})
        answer, right = checked.whole.answer, checked.whole.judge(slice(0, problem.case.d)).parts.gradients
        given = {row: gradient for row in ("x", "gamma", "beta") if (gradient := answer.of(row)) is not None}
        return Answered(checked.report, given, {row: right.of(row) for row in given})


def check_ours(case: Case) -> CaseReport:
    """Check one of our own implementations. Running out of memory costs this one case."""
    try:
        return check_with_sight(case, BUILT_IN[case.implementation])
    except MemoryError:
        shape = " x ".join(map(str, case.shape))
        return CaseReport(case, Verdict.ERROR, reason=f"out of memory at shape {shape}; use a smaller one")


def check_fault(fault: Fault, case: Case) -> CaseReport:
    """Check a backward pass of ours with a known fault in it, in float64."""

    def backward(inputs: Inputs, dout: FloatArray) -> Gradients:
        parts = Parts.of(inputs, dout, samples=case.samples)
        return fault.wrong(Wrong.without_fault(parts), parts, FactorValues.of(parts)).gradients(parts)

    from bncheck.faults.terms import FactorValues, Parts, Wrong  # only `explain` needs them

    return check(case, REFERENCE._replace(name=fault.name, backward=backward))


@dataclass(frozen=True, eq=False)
class _Checked:
    """The report of a case, and the problem and answer that it is about; None where no route can be told of."""

    report: CaseReport
    whole: _Whole | None = None

    @property
    def placed(self) -> CaseReport:
        """The report, whose findings have the statements of somebody's file in which they stand."""
        report = self.report
        if not report.findings or self.whole is None or report.case.n * report.case.d > DIAGNOSED:
            return report
        subject, problem = self.whole.subject.subject, self.whole.problem
        if lines := self.whole.answer.lines:
            return replace(report, findings=tuple(_with_lines(finding, lines) for finding in report.findings))
        if not isinstance(subject, Foreign):
            return report
        from bncheck.source.location import Rerun, located  # only a failure has a place

        parts = self.whole.judge(slice(0, report.case.d)).parts
        again = Rerun(parts, partial(self.whole.subject.answer, problem.inputs, problem.dout))
        return replace(report, findings=located(report.findings, subject.namespace, subject.plan.convention, again))

    @property
    def blind(self) -> tuple[Blind, ...]:
        """The known faults that the rows that were judged could not have shown in any feature.

        They are reckoned once for cases of the same problem and variant, whoever answers it.
        """
        if self.whole is None:
            return ()
        report, given, variant = self.report, self.whole.problem.inputs, self.whole.identity.inputs
        rows_of = [row for row in report.comparisons if row.node in NODES and row.verdict is not Verdict.SKIPPED]
        implied = [row.node for row in rows_of if row.implied]
        judged = [row.node for row in rows_of if row.implied or self.whole.answer.of(row.node) is not None]
        if report.case.x.file or self.whole.answer.grain:
            return _blind(self.whole, judged, implied)
        rows = tuple(judged), tuple(implied)
        parameters = given.gamma.tobytes(), given.beta.tobytes(), variant.eps
        key = (replace(report.case, **ANYBODY), rows, parameters, variant.variant)
        if key not in _blindness:
            if len(_blindness) == REMEMBERED:
                _blindness.clear()
            _blindness[key] = _blind(self.whole, judged, implied)
        return _blindness[key]


ANYBODY: dict[str, Any] = dict.fromkeys(("name", "label", "source", "implementation", "member"), "")
ANYBODY |= {"origin": None, "timeout": 0, "memory": 0}
"""Fields of a case that change no number, with the same value for all."""

REMEMBERED = 1000  # problems of which the blindness is known
_blindness: dict[tuple[object, ...], tuple[Blind, ...]] = {}


def _blind(whole: _Whole, judged: Sequence[str], implied: Sequence[str]) -> tuple[Blind, ...]:
    """The known faults that the judged rows could not have shown in any feature; `implied` are those taken from dx."""
    from bncheck.faults.power import visibility
    from bncheck.faults.terms import OF_A_CONSTANT

    blind: tuple[Blind, ...] = ()
    unseen: set[str] = set()
    # A few features show nearly always what all would show.
    for number, block in enumerate((slice(0, FEW), *whole.blocks)):
        judge = whole.judge(block)
        yardsticks = {node: judge.yardstick(node) for node in judged}
        blind = visibility(judge.parts, yardsticks, whole.problem.case.dtype, implied).blind
        # An eps that cannot be set is a constant all through.
        impossible = () if whole.identity.inputs.eps == whole.problem.case.eps else OF_A_CONSTANT
        names = {fault.name for group in blind for fault in group.faults if fault.factor not in impossible}
        unseen = names if number < 2 else unseen & names
        if not unseen:
            return ()
    return tuple(
        replace(group, faults=left)
        for group in blind
        if (left := tuple(fault for fault in group.faults if fault.name in unseen))
    )


KEPT = 4  # small problems, with all that they are judged by: a case is often checked again


@lru_cache(KEPT)
def _kept(case: Case) -> Problem:
    """Draw a case, of which all that changes no number is left out, and which is not read from a file."""
    problem = draw(case)
    for array in (problem.dout, problem.inputs.x, problem.inputs.gamma, problem.inputs.beta):
        array.flags.writeable = False
    return problem


@lru_cache(KEPT)
def _basis(problem: Problem) -> Basis:
    """The basis of a problem that is judged in one block."""
    return Basis.of(problem.of_features(slice(0, problem.case.d)))


def _checked(case: Case, subject: Subject) -> _Checked:
    """Check in the dtype of the case; or, where nobody asked for that, in the narrower one that they work in alone."""
    if "dtype" in case.asked or case.dtype != "float64":
        return _checked_in_its_dtype(case, subject)
    try:
        checked = _checked_in_its_dtype(case, subject)
    except MemoryError:
        raise
    except Exception:  # whatever their code raises at float64
        taken = _taken(case, subject)
        if not taken:
            raise
        called = AsAsked(subject, case.eps, taken)
        dtype = taken if taken == "float16" else _carried(called, draw(case).inputs)
    else:
        if checked.report.verdict not in (Verdict.FAIL, Verdict.UNRESOLVED):
            return checked
        dtype = _carried(AsAsked(subject, case.eps), draw(case).inputs)
        if dtype == "float64":
            return checked
    narrow = _checked_in_its_dtype(replace(case, dtype=dtype), subject)
    note = "; ".join(filter(None, (IN_ITS_DTYPE.format(dtype=dtype), narrow.report.note)))
    return replace(narrow, report=replace(narrow.report, note=note))


IN_ITS_DTYPE = "it works in {dtype} alone, and is judged in that"
BY_REFERENCE = "numeric: of the reference, whose out theirs agrees with to {out}; their own differences resolve {own}"


def _taken(case: Case, subject: Subject) -> str:
    """The widest narrow dtype in which forward and backward run; empty where they raise in each."""
    for dtype in reversed(NARROW):
        problem = draw(replace(case, dtype=dtype))
        try:
            subject.answer(subject.given(problem.inputs), problem.dout)
        except Exception:  # whatever their code raises
            continue
        return dtype
    return ""


def _handed(case: Case, subject: Subject, inputs: Inputs) -> str:
    """The dtype in which all arrays are handed over: that of the case where they work in no wider one, or none."""
    if case.dtype == "float64":
        return ""
    try:
        return "" if _carried(AsAsked(subject, case.eps), inputs) == "float64" else case.dtype
    except Exception:  # whatever their code raises at float64
        return case.dtype


def _carried(called: AsAsked, inputs: Inputs) -> str:
    """The dtype that a forward carries for as many rows."""
    return carried(called.forward, called.subject.given(odd_inputs(inputs)))


def _by_reference(rows: Sequence[Comparison]) -> str:
    """The note on rows that are judged by the gradient of the reference; empty where there are none."""
    own = max((row.own for row in rows if not math.isnan(row.own)), default=math.nan)
    if math.isnan(own) or rows[0].node != "out":
        return ""
    return BY_REFERENCE.format(out=f"{rows[0].error:.1e}", own=f"{own:.0e}")


def _checked_in_its_dtype(case: Case, subject: Subject) -> _Checked:
    return _judged(_drawn(case, subject), case)


def _judged(whole: _Whole, case: Case) -> _Checked:
    if reason := whole.reason:
        return _Checked(CaseReport(case, Verdict.SKIPPED, reason=reason))
    whole = replace(whole, answer=whole.subject.subject.examined(whole.problem.inputs, whole.problem.dout))
    rows = []
    if whole.answer.out is not None:
        row, identity = forward_row(whole)
        rows.append(_with_breaches(row, whole.answer))
        whole = replace(whole, identity=identity)
        if whole.has_no_root:
            return _Checked(_without_root(case, rows[0], identity))
    nodes = node_rows(whole)
    # Where the forward is none that is known, the routes are not its own, and nothing can be said of them.
    findings = _findings(nodes, whole) if whole.identity.known else ()
    rows += _in_order([_with_breaches(row, whole.answer) for row in nodes], whole)
    verdict = max((row.verdict for row in rows), key=comparison.GRAVITY.index)
    notes = [whole.identity.sentence, _by_reference(rows), *(sentence for _, sentence in whole.answer.notes)]
    note = "; ".join(filter(None, notes))
    report = CaseReport(case, verdict, tuple(rows), note=note, findings=findings)
    return _Checked(report, whole if whole.identity.known else None)


def _in_order(nodes: list[Comparison], whole: _Whole) -> list[Comparison]:
    """The rows of the nodes; of formulas that are judged line by line, among the others in the order of the text."""
    left = {row.node: row for row in nodes}
    rows = [left.pop(line.name) if line.name in left else _row_of(line, whole.problem) for line in whole.answer.lines]
    return [*rows, *left.values()]


def _row_of(line: LineAnswer, problem: Problem) -> Comparison:
    """The row of a formula for something that is no node."""
    if line.value is None or line.roundoff is None:
        return replace(without_number(line.name, f"line {line.number}: {line.sentence}"), verdict=Verdict.FAIL)
    case, dtype = problem.case, np.finfo(problem.case.dtype)
    tiny, growth = float(dtype.smallest_subnormal), float(np.max(Basis.of(problem).growth))
    unit = sum_error(case.dtype, case.n)
    yardstick = Yardstick(line.scale, line.roundoff * growth, 0 * line.scale, unit, tiny, case.rtol)
    resolution = float(np.finfo(np.float64).eps) * line.scale
    expected = Numeric(line.right.astype(np.float64), resolution, "the chain rule")
    row = _located(compare(line.name, line.value, expected, yardstick), problem, slice(0, case.d))
    return replace(row, note=f"line {line.number}: {line.text}" if row.verdict is Verdict.FAIL else "")


def _drawn(case: Case, subject: Subject) -> _Whole:
    """A case with its arrays drawn, and no answer yet."""
    is_kept = case.n * case.d <= stack.SIZE and not case.x.file
    return _whole(_kept(replace(case, **ANYBODY)) if is_kept else draw(case), case, subject)


def _whole(problem: Problem, case: Case, subject: Subject) -> _Whole:
    """A problem as it stands, which is that of a case, and no answer yet."""
    given = subject.given(problem.inputs)
    if given.gamma is not problem.inputs.gamma or given.beta is not problem.inputs.beta:
        problem = replace(problem, inputs=given)
    called = AsAsked(subject, problem.inputs.eps, _handed(case, subject, problem.inputs))
    return _Whole(called, problem, Answer(None), Identity(problem.inputs))


def _without_root(case: Case, out: Comparison, identity: Identity) -> CaseReport:
    """Report a variant of whose gradients nothing can be told: only whether it is wanted at all."""
    reason = NO_ROOT.format(variant=identity.sentence)
    if case.forward != "standard":
        return CaseReport(case, Verdict.SKIPPED, reason=reason)
    rows = (out, *(without_number(node, reason) for node in NODES))
    return CaseReport(case, Verdict.FAIL, rows, note=identity.sentence)


def _findings(rows: list[Comparison], whole: _Whole) -> tuple[Finding, ...]:
    """Diagnose gradients that fail for their values, and not for roundoff.

    Of a row that breaches the contract as well only what is explained is told: a gradient that changes from call to
    call has no cause among the formulas.
    """
    judged = [row for row in rows if not row.implied and row.verdict is not Verdict.SKIPPED]
    told = [row for row in judged if row.cause is None]
    failed = [row for row in told if row.verdict is Verdict.FAIL]
    if not failed:
        return ()
    case = whole.problem.case
    judge = whole.judge(some := _diagnosed(failed[-1], case))
    from bncheck.faults import diagnosis  # a start should not wait for what only a failure needs

    given = [row.node for row in told if judge.answer.of(row.node) is not None]
    explained = _explained_rows(judge, given)
    if any(len(each.options) > 1 for each in explained):
        explained = _told_apart(explained, whole, given)
    findings = diagnosis.told(explained, judge.parts, {row: judge.yardstick(row) for row in given})
    broken = {row for row, _ in whole.answer.breaches}
    findings = tuple(finding for finding in findings if finding.keys or not broken & set(finding.rows))
    if some == slice(0, case.d):
        return findings
    return tuple(_moved(finding, some, case) for finding in findings)


def _moved(finding: Finding, block: slice, case: Case) -> Finding:
    """A finding on a block of features, told of the features of the case."""
    where = SOME_DIAGNOSED.format(first=block.start, last=block.stop - 1, d=case.d)
    features = tuple(feature + block.start for feature in finding.features)
    region = finding.region and finding.region.moved(block.start)
    return replace(finding, sentence=finding.sentence + where, features=features, region=region)


def _explained_rows(judge: _Judge, rows: Sequence[str]) -> tuple[Explained, ...]:
    """The rows that are wrong, with what explains them; those that are right rule out what would spoil them too."""
    from bncheck.faults.diagnosis import explained_rows

    given = {row: gradient for row in rows if (gradient := judge.answer.of(row)) is not None}
    case = judge.basis.exact.case
    axes = [size for axis, size in enumerate(case.shape) if axis != case.channel_axis % len(case.shape)]
    return explained_rows(judge.parts, given, {row: judge.yardstick(row) for row in given}, axes)


def _told_apart(explained: Sequence[Explained], whole: _Whole, rows: Sequence[str]) -> tuple[Explained, ...]:
    """The rows with what explains them on other data as well, of which their code is asked; all where it gives none."""
    apart = {each.row: each for each in explained}
    for number, case in enumerate(_others(whole.problem.case)):
        try:
            elsewhere = _explained_rows(_answered(case, whole.subject.subject).judge(slice(0, case.d)), rows)
        except Exception:  # whatever their code raises at a shape or a size that it was never asked to take
            continue
        for row, found in apart.items():
            if len(found.options) > 1 and (left := found.narrowed(elsewhere)):
                apart[row] = replace(found, options=left, is_same=not number)
        if all(len(each.options) < 2 or each.is_same for each in apart.values()):
            break
    return tuple(apart.values())


def _answered(case: Case, subject: Subject) -> _Whole:
    """Another problem for the code under check, with its answer and the variant that its forward is."""
    if isinstance(subject, Foreign):
        subject = bind(subject.namespace, subject.name, subject.plan.convention, case)
    whole = _drawn(case, subject)
    whole = replace(whole, answer=whole.subject.answer(whole.problem.inputs, whole.problem.dout))
    return whole if whole.answer.out is None else replace(whole, identity=forward_row(whole)[1])


SMALL = (5, 7, 3)  # images, features, and every other axis: no two sizes, and none of their ratios, are alike


def _others(case: Case) -> tuple[Case, ...]:
    """A small case in which all faults differ, and one of the same shape, for code that takes no other."""
    ordinary = replace(
        case, x=XDraw(std=0.3), dout="normal", gamma="normal", beta="normal", rtol=None, seed=case.seed + 1
    )
    channel = case.channel_axis % len(case.shape)
    sizes = [SMALL[2]] * len(case.shape)
    sizes[1 if channel == 0 else 0], sizes[channel] = SMALL[:2]
    return replace(ordinary, shape=tuple(sizes)), ordinary


def _with_lines(finding: Finding, lines: Sequence[LineAnswer]) -> Finding:
    """A finding with the formulas of its rows."""
    from bncheck.faults.diagnosis import Statement
    from bncheck.workers.worker import shown

    stand = [Statement(shown(line.file), line.number, line.text) for line in lines if line.name in finding.rows]
    return replace(finding, statements=tuple(stand))


def _diagnosed(failed: Comparison, case: Case) -> slice:
    """The features that are diagnosed: all, or as many as memory is for from the one on that is worst in a row."""
    index = failed.worst.index
    width = max(1, DIAGNOSED // case.n)
    if width >= case.d or not index:
        return slice(0, min(width, case.d))
    first = min(index[case.channel_axis] if len(index) > 1 else index[0], case.d - width)
    return slice(first, first + width)


def _with_breaches(row: Comparison, answer: Answer) -> Comparison:
    """A row in which the contract is broken fails, whatever its numbers."""
    sentences = [sentence for place, sentence in answer.breaches if place == row.node]
    if not sentences:
        return row
    note = "" if row.verdict is Verdict.SKIPPED else row.note
    return replace(row, verdict=Verdict.FAIL, note="; ".join(filter(None, [*sentences, note])))


def _located(row: Comparison, problem: Problem, block: slice) -> Comparison:
    """Place the worst element of a row of a block of features in the layout of the case."""
    if not row.worst.index:
        return row
    feature = row.worst.index[-1] + block.start
    index = problem.index(row.worst.index[0], feature) if len(row.worst.index) == 2 else (feature,)
    return replace(row, worst=replace(row.worst, index=index))


# --- what an answer is judged by ------------------------------------------------------------------------------------


class Refused(Exception):  # noqa: N818 - an answer of theirs, not an error of ours
    """Somebody's code raised something when it was given numbers wider than float64."""


def _at_any_width(forward: Forward, inputs: Inputs) -> FloatArray:
    """Call somebody's forward. Raises Refused for whatever it raises at numbers wider than float64."""
    try:
        return forward(inputs)
    except Exception as error:
        if inputs.x.dtype == np.longdouble != np.float64:
            raise Refused from error
        raise


@dataclass(frozen=True, eq=False)
class _Whole:
    """A problem and an answer to it, which are judged in blocks of features that stay in the cache."""

    subject: AsAsked
    problem: Problem
    answer: Answer
    identity: Identity
    kept: list[_Judge] = field(default_factory=list)  # the one of all features, where these are few

    @property
    def blocks(self) -> tuple[slice, ...]:
        """The blocks of features."""
        case = self.problem.case
        return tuple(stack.blocks(case.n, case.d))

    def judge(self, block: slice) -> _Judge:
        """The judge of some features. Where these are all, and few, what it has worked out is kept."""
        if len(self.blocks) > 1 or block != self.blocks[0]:
            basis = Basis.of(self.problem.of_features(block))
            return self._identified(_Judge(self.subject, self.answer.of_features(block), basis))
        judge = self.kept.pop() if self.kept else None
        if judge is None or judge.answer is not self.answer:
            of_all = _basis if self.problem.dout.size <= stack.SIZE else _basis.__wrapped__
            judge = _Judge(self.subject, self.answer, judge.basis if judge else of_all(self.problem))
        self.kept.append(self._identified(judge))
        return self.kept[0]

    def _identified(self, judge: _Judge) -> _Judge:
        """The judge of the batch normalisation that the forward was found to be."""
        inputs = judge.basis.exact.inputs
        if self.identity.known == judge.known and self.identity.is_like(inputs):
            return judge
        basis = judge.basis.at(self.identity.at(inputs).inputs)
        return replace(judge, basis=basis, known=self.identity.known, outs=judge.outs)

    @property
    def reason(self) -> str:
        """Why the problem cannot be judged in its dtype, as a sentence; empty where it can."""
        bases = [self.judge(block).basis for block in self.blocks]
        sentences = [basis.out_of_range for basis in bases if basis.out_of_range]
        return sentences[0] if sentences else bases[0].reason if all(basis.is_blurred for basis in bases) else ""

    @property
    def has_no_root(self) -> bool:
        """Whether some feature has no variance, where sqrt(var) stands without eps."""
        inputs = self.identity.inputs
        return (inputs.variant.eps_outside or not inputs.eps) and any(
            bool(np.any(self.judge(block).basis.stages.root == 0)) for block in self.blocks
        )

    @property
    def is_independent(self) -> bool:
        """Whether no feature of out is seen to depend on another feature of x."""
        if self.answer.out is None:
            point = self.judge(self.blocks[0]).point(EVERYDAY)
            return stack.a_feature_moves_alone(point.forward, point.held, point.out)
        out = self.answer.out.astype(self.problem.inputs.x.dtype, copy=False)
        return stack.a_feature_moves_alone(self.subject.forward, self.problem.inputs, out)

    @property
    def is_independent_in_stacks(self) -> bool:
        """Whether no feature of copies of x side by side, as dx is differenced, is seen to depend on another."""
        point = self.judge(self.blocks[0]).point(EVERYDAY)
        eps = precision(self.subject.dtype or "float64").eps
        lost = stack.ANYTHING if self.identity.known else stack.COARSE
        return stack.features_are_independent(point.forward, point.held, point.out, point.stages, eps, lost)


@dataclass(frozen=True, eq=False)
class _Judge:
    """An answer in some features, and everything that it is judged by, made once and on first use."""

    subject: AsAsked
    answer: Answer
    basis: Basis
    known: bool = True
    outs: dict[str, FloatArray] = field(default_factory=dict)  # of their forward, with beta 0, by arithmetic

    @property
    def is_narrow(self) -> bool:
        """Whether it works in a narrow dtype alone, and is a known batch normalisation: it is judged by our forward."""
        return self.known and bool(self.subject.dtype)

    @cached_property
    def at_reference(self) -> Point:
        """Our own forward at these inputs, which stands in for theirs."""
        return Point.of(batchnorm.out_of, self.basis.exact.inputs, self.basis.exact.dout, EVERYDAY)

    @cached_property
    def beside(self) -> Beside:
        """Their own difference of out along dout, beside that of the reference."""
        dtype = self.basis.problem.case.dtype
        return numeric.beside_reference(self.point(EVERYDAY), dtype, lambda inputs: self.of_out(inputs, dtype).allowed)

    def of_out(self, inputs: Inputs, dtype: str) -> Yardstick:
        """The yardstick of out at some inputs in a dtype, with the derived tolerance."""
        return replace(self.basis.at(inputs).yardstick_of_out(dtype, inputs.beta), rtol=None)

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
        from bncheck.faults.terms import Parts  # only a failure needs it, and blindness

        exact = self.basis.exact
        return Parts.of(exact.inputs, exact.dout, self.basis.stages, exact.case.samples)

    @cached_property
    def _points(self) -> dict[Method, Point]:
        return {}

    def point(self, method: Method) -> Point:
        """Their forward at these inputs, in the arithmetic of a method. Raises Refused where it does not take that."""
        if method not in self._points:
            exact, forward = self.basis.exact, partial(_at_any_width, self.subject.forward)
            point = Point.of(forward, exact.inputs, exact.dout, method, self.basis, self.outs.get(method.dtype))
            self.outs[method.dtype] = point.out
            self._points[method] = point
        return self._points[method]

    def gradient(self, node: str) -> FloatArray | None:
        """The gradient they give at a node, or the one that their dx implies; None where there is neither."""
        exact = self.basis.exact
        implied = self.answer.of(node) is None and node in batchnorm.IMPLIED
        if implied and not np.all(np.isfinite(self.yardstick(node).scale)):
            return None
        return _gradient(node, self.answer, exact.inputs, exact.dout, self.basis.stages)

    def yardstick(self, node: str) -> Yardstick:
        """The yardstick of their gradient at a node: as it is given, implied, or read off an update."""
        if self.answer.of(node) is None and node in batchnorm.IMPLIED:
            return self.basis.implied_yardsticks[node]
        yardstick = self.basis.yardstick(node)
        return yardstick.seen_in_steps_of(self.answer.grain[node]) if node in self.answer.grain else yardstick


UNKNOWN = "this is no batch normalisation that is known; its gradients are judged against its own forward"
OFF = "where beta is 0 it gives batch normalisation; here, in {dtype}, its out is off by more than rounding explains"
SOME_BLURRED = (
    "{judged} of {d} features can be judged, and are right; in the others x - mean is lost in the roundoff of {dtype}, "
    "even for correct code; use a smaller mean, or a wider dtype"
)
REFUSED = "{found}, and this config asks for `forward: standard`"
AT_CENTRED = "{}, x less a row"
OF_REFERENCE = "{} of our own forward"
NOT_BESIDE = "out agrees with the reference here, and does not where x is moved along dout; so nothing is known of it"
WRONG_ALONG = "along random directions, dx is not the gradient of this forward"
TOO_MANY_ROWS = (
    "the Jacobian of this forward is not symmetric, so dx takes differences of one row after another, and {rows} rows "
    "are too many; use fewer"
)
LARGEST_BY_ROWS = 2**28  # elements in all copies of x with one row moved: some seconds
HIDDEN = (
    "only an update of {node} shows its gradient, and one of size {scale:.2g} is lost in the rounding of {node}, "
    "{grain:.2g}; keep d{node} in an attribute, and it is judged"
)

# --- out -------------------------------------------------------------------------------------------------------


def forward_row(whole: _Whole) -> tuple[Comparison, Identity]:
    """The row `out`, judged in the dtype of the case, and the identity of the forward, known by its float64."""
    likely = _likely(whole.subject, whole.problem.inputs)
    rows, first = [], None
    for block in whole.blocks:
        judge = whole.judge(block)
        row, identity = _forward_row(judge, likely)
        if first is None:
            first = likely = identity
        elif identity.known and identity.sentence != first.sentence:
            row, first = replace(row, verdict=Verdict.FAIL, note=UNKNOWN), replace(first, known=False)
        first = replace(first, known=first.known and identity.known)
        rows.append(_located(row, whole.problem, block))
    assert first is not None
    return comparison.together(rows), first


def _likely(called: AsAsked, inputs: Inputs) -> Identity | None:
    """The identity of a forward by inputs at which it shows: in a narrow dtype, features of tiny spread are lost."""
    found = asked(called.forward, inputs)
    if found is not None or not called.dtype:
        return found
    odd = called.subject.given(odd_inputs(inputs))
    return known_to(called.dtype, called.forward(odd), odd)


def _forward_row(judge: _Judge, likely: Identity | None) -> tuple[Comparison, Identity]:
    basis, out = judge.basis, judge.answer.out
    assert out is not None
    inputs, case = basis.exact.inputs, basis.problem.case
    identity, why = _known(judge, likely)
    known = identity or Identity(inputs, known=False)
    yardstick = basis.yardstick_of_out(case.dtype)
    stages = basis.stages if known.is_like(inputs) else batchnorm.forward(known.inputs)
    expected = Numeric(stages.out, np.zeros(len(inputs.gamma)), str(EVERYDAY))
    found = compare("out", out, expected, yardstick)
    if identity is None:
        return replace(found, verdict=Verdict.FAIL, note=UNKNOWN), known
    if known.sentence and case.forward == "standard":
        return replace(found, verdict=Verdict.FAIL, note=REFUSED.format(found=known.sentence)), known
    if found.verdict is Verdict.FAIL:
        return _why_off(found, judge.subject, basis, known.inputs, why), known
    return found, known


def _why_off(found: Comparison, subject: AsAsked, basis: Basis, inputs: Inputs, why: str) -> Comparison:
    """An out that is off and whose forward is known, with the reason: `why` where it is known, roundoff, or neither."""
    dtype = basis.problem.case.dtype
    if why:
        return comparison.because(why, found, dtype, "" if why == comparison.NARROW else _usually(basis))

    def again(inputs: Inputs, basis: Basis) -> Comparison:
        expected = Numeric(batchnorm.forward(inputs).out, np.zeros(len(inputs.gamma)), str(EVERYDAY))
        return compare("out", _at_any_width(subject.forward, inputs), expected, basis.yardstick_of_out(dtype))

    def wider() -> Comparison:
        return again(inputs.map(lambda array: array.astype(comparison.WIDER[dtype])), basis)

    found = replace(found, note=OFF.format(dtype=dtype))
    return _roundoff(found, basis, inputs, wider, lambda centred: again(centred, basis.at(centred)))


def _known(judge: _Judge, likely: Identity | None) -> tuple[Identity | None, str]:
    """Identify the forward; and say why it shows only on other data or to fewer digits, where that is so."""
    inputs, dtype = judge.basis.exact.inputs, judge.basis.problem.case.dtype
    attempts = [(inputs, "float64", ""), (inputs, dtype, "")]
    if inputs.running_mean is None:
        attempts.append((replace(inputs, x=batchnorm.anchor(inputs.x)), "float64", comparison.CENTRED))
    other: tuple[Identity | None, str] = (None, "")
    for at, to, why in (*attempts, (inputs, "float32", comparison.NARROW)):
        if (other[0] and why != comparison.CENTRED) or not (found := _identity(judge, at, to, likely)):
            continue
        identity = replace(found, inputs=replace(found.inputs, x=inputs.x, beta=inputs.beta))
        if "eps" not in judge.basis.problem.case.asked:
            identity = identity.where_no_eps_was_asked_for()
        # What is another one than where it was asked, but for x less a row, lost its digits and found others.
        if likely is None or identity.is_like(likely.inputs):
            return identity, why
        other = other if other[0] else (identity, why)
    return other


def _identity(judge: _Judge, inputs: Inputs, dtype: str, likely: Identity | None) -> Identity | None:
    """Identify the forward at these inputs, to the precision of a dtype.

    It is known by what it gives where beta is 0: beside a beta, x_hat may be lost.
    """
    held = replace(inputs, beta=np.zeros_like(inputs.beta))
    yardstick = replace(judge.basis.at(inputs).yardstick_of_out(dtype, held.beta), rtol=None)
    allowed = yardstick.allowed
    constant = yardstick.scale <= precision(judge.basis.problem.case.dtype).eps * yardstick.roundoff
    blurred = (allowed > BLUR * yardstick.scale) & ~constant
    at_case = inputs is judge.basis.exact.inputs
    out = judge.point(EVERYDAY).out if at_case else judge.subject.forward(held)
    if np.all(blurred | constant) and np.any(blurred) and not (judge.subject.dtype and likely):
        # To so few digits anything is batch normalisation: it is what it was found to be where that shows.
        asked_for = at_case and dtype == judge.basis.problem.case.dtype
        return likely.at(held) if likely and asked_for and likely.is_near(out, held, allowed) else None
    allowed = np.where(blurred, np.inf, allowed)
    return identify(out, held, allowed, likely, judge.point(EVERYDAY).stages if at_case else None)


# --- beta, gamma, mean, var, x ---------------------------------------------------------------------------------


def node_rows(whole: _Whole) -> list[Comparison]:
    """The row of each node, of all features together."""
    rows: dict[str, list[Comparison]] = {node: [] for node in NODES}
    for block in whole.blocks:
        judge = whole.judge(block)
        for node in NODES:
            rows[node].append(_located(node_row(node, judge), whole.problem, block))
    return [_explained(rows[node], whole) for node in NODES]


def _explained(rows: list[Comparison], whole: _Whole) -> Comparison:
    """The row of a node, of its rows in each block; with the reason of a failure, where it is no wrong formula."""
    row = comparison.together(rows)
    if row.node == "x" and not math.isnan(row.resolution):
        # Where dx passes, random directions have borne out that it is right of whatever is side by side.
        passes = row.verdict is Verdict.PASS
        if not whole.is_independent or not (passes or whole.is_independent_in_stacks):
            return replace(row, verdict=Verdict.FAIL, note=MIXED, cause=Cause.MIXED)
    if row.verdict is Verdict.PASS and row.blurred:
        case = whole.problem.case
        note = SOME_BLURRED.format(judged=case.d - row.blurred, d=case.d, dtype=case.dtype)
        return replace(row, verdict=Verdict.SKIPPED, note=note)
    if row.verdict is not Verdict.FAIL or row.cause is not None:
        return row
    return _node_in_roundoff(row, whole.judge(whole.blocks[comparison.gravest(rows)]))


def node_row(node: str, judge: _Judge) -> Comparison:
    """The row of one node: the gradient they give, or the one that their dx implies, against differences."""
    if node in judge.answer.unjudged:
        return without_number(node, judge.answer.unjudged[node])
    gradient = judge.gradient(node)
    if gradient is None:
        return without_number(node, _why_none(node, judge))
    yardstick = judge.yardstick(node)
    found = _compared(node, gradient, yardstick, judge)
    if judge.answer.of(node) is None:
        found = replace(found, implied=True)
    if found.verdict is not Verdict.FAIL and yardstick.is_hidden:
        return without_number(node, _why_hidden(node, yardstick))
    return found


def _compared(node: str, gradient: FloatArray, yardstick: Yardstick, judge: _Judge) -> Comparison:
    """Compare a gradient with the quickest differences that can tell, or else with the finest that there are."""
    if judge.is_narrow:
        return _compared_with_reference(node, gradient, yardstick, judge)
    for method in judge.methods:
        try:
            differences = numeric.gradient(node, judge.point(method))
        except Refused:
            break  # the narrower numbers are what there is to judge by
        found = compare(node, gradient, differences, yardstick)
        if found.verdict is Verdict.PASS or (found.verdict is Verdict.FAIL and _is_certain(found, yardstick, method)):
            return found
    if judge.works_in_less_than_float64:
        return _compared_with_reference(node, gradient, yardstick, judge)
    if node == "x" and judge.known and judge.basis.exact.inputs.running_mean is None:
        again = compare(node, gradient, _centred_differences(judge), yardstick)
        return found if again.verdict is Verdict.UNRESOLVED else again
    if node == "x" and not differences.symmetric:
        return _compared_by_rows(gradient, found, yardstick, judge)
    return found


def _compared_with_reference(node: str, gradient: FloatArray, yardstick: Yardstick, judge: _Judge) -> Comparison:
    """Compare a gradient with differences of our own forward, if theirs along dout agree with them as far as seen."""
    differences = numeric.gradient(node, judge.at_reference)
    if node in batchnorm.IMPLIED:  # where differences are of our own graph anyhow
        return compare(node, gradient, differences, yardstick)
    found = compare(node, gradient, differences._replace(method=OF_REFERENCE.format(differences.method)), yardstick)
    resolution = relative(judge.beside.resolution, judge.yardstick("x").measured_by)
    found = replace(found, own=float(np.max(resolution)))
    return found if judge.beside.agree else replace(found, verdict=Verdict.UNRESOLVED, note=NOT_BESIDE)


def _centred_differences(judge: _Judge) -> Numeric:
    """Differences at x less its middle row, where digits of x - mean are kept: if out is found to be the same there."""
    inputs, dout = judge.basis.exact.inputs, judge.basis.exact.dout
    point = Point.of(judge.subject.forward, replace(inputs, x=batchnorm.anchor(inputs.x)), dout, EVERYDAY)
    differences = numeric.gradient("x", point)
    off = np.abs(point.out - point.stages.out).max(axis=0)
    same = np.all(off <= 2.0**-40 * len(dout) * np.abs(point.stages.out).max(axis=0))
    bound = differences.resolution if same else np.full_like(differences.resolution, np.inf)
    return differences._replace(resolution=bound, method=AT_CENTRED.format(differences.method))


def _compared_by_rows(dx: FloatArray, found: Comparison, yardstick: Yardstick, judge: _Judge) -> Comparison:
    """Compare dx with differences row by row; where rows are too many, along directions, which show errors alone."""
    point = judge.point(EVERYDAY)
    if len(dx) * dx.size > LARGEST_BY_ROWS:
        off = numeric.distance_along(point, dx, yardstick.allowed)
        error = float(np.max(relative(off, yardstick.measured_by)))
        if not error <= found.tolerance:
            found = replace(found, error=error, worst=NOWHERE, off=0)
            return replace(found, verdict=Verdict.FAIL, note=WRONG_ALONG, cause=Cause.NO_GRADIENT)
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
    if given is None and node in batchnorm.IMPLIED and answer.x is not None and inputs.running_mean is None:
        return batchnorm.implied_gradient(node, answer.x.astype(dout.dtype), dout, inputs, stages)
    return given


def _why_none(node: str, judge: _Judge) -> str:
    if node not in batchnorm.IMPLIED:
        return f"it gives no d{node}"
    if judge.answer.x is None:
        return f"it gives no d{node}, and no dx that would imply it"
    if judge.basis.exact.inputs.running_mean is not None:
        return f"it gives no d{node}, and dx implies none in eval mode, where mean and var are constants"
    return f"it gives no d{node}, and the one that dx implies is out of range; use a larger std"


def _is_certain(failed: Comparison, yardstick: Yardstick, method: Method) -> bool:
    """Whether an error is larger than differences may be off for a forward that loses digits of x - mean.

    Such roundoff is alike at neighbouring points, so that scatter need not show it.
    """
    unit = float(np.finfo(method.dtype).eps)
    lost = unit * float(np.max(relative(yardstick.roundoff, yardstick.measured_by))) / method.fraction
    return not failed.error <= 4 * lost


# --- why a row fails, where it is no wrong formula ------------------------------------------------------------------


def _roundoff(
    failed: Comparison,
    basis: Basis,
    inputs: Inputs,
    wider: Callable[[], Comparison],
    centred: Callable[[Inputs], Comparison],
) -> Comparison:
    """The failure, as one of roundoff where the same code fails less in wider arithmetic, or not on x less a row.

    `wider` and `centred` compare again there, or raise Refused.
    """
    dtype = basis.problem.case.dtype
    with contextlib.suppress(Refused):
        found = comparison.in_wider(failed, wider().error, dtype, _usually(basis))
        if found.cause:
            return found
    if inputs.running_mean is None:
        with contextlib.suppress(Refused):
            if centred(replace(inputs, x=batchnorm.anchor(inputs.x))).verdict is Verdict.PASS:
                return comparison.because(comparison.CENTRED, failed, dtype, _usually(basis))
    return failed


def _node_in_roundoff(failed: Comparison, judge: _Judge) -> Comparison:
    """The failure of a node, as one of roundoff where it is that."""

    def wider() -> Comparison:
        width = comparison.WIDER[judge.basis.problem.case.dtype]
        method = next((method for method in reversed(methods()) if method.dtype == width), None)
        if method is None:
            raise Refused
        return _again(failed.node, judge, judge.point(method))

    def centred(inputs: Inputs) -> Comparison:
        there = replace(judge, basis=judge.basis.at(inputs), outs={})
        return _again(failed.node, there, there.point(EVERYDAY))

    return _roundoff(failed, judge.basis, judge.basis.exact.inputs, wider, centred)


def _usually(basis: Basis) -> str:
    return comparison.usual_cause(basis.exact.inputs, basis.stages)


def _again(node: str, judge: _Judge, point: Point) -> Comparison:
    """Compare at another point: the same numbers in wider arithmetic, or other ones. Raises Refused."""
    try:
        answer = judge.subject.answer(point.inputs, point.dout)
    except Exception as error:
        # Wider numbers, or a block of the features alone, are more than a backward was ever asked to take.
        if point.inputs.x.dtype == np.longdouble or len(point.inputs.gamma) < judge.basis.problem.case.d:
            raise Refused from error
        raise
    gradient = _gradient(node, answer, point.inputs, point.dout, point.stages)
    if gradient is None:
        return without_number(node, "")
    return compare(node, gradient, numeric.gradient(node, point), replace(judge, answer=answer).yardstick(node))
