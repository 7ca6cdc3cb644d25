"""One case through to its result."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bncheck import batchnorm, numeric
from bncheck.batchnorm import NODES, Gradients, Scales
from bncheck.case import Case
from bncheck.comparison import Comparison, Verdict, Yardstick, compare, relative, sum_error
from bncheck.implementations.contract import Implementation
from bncheck.numeric import Method
from bncheck.problem import Problem, draw, out_of_range
from bncheck.report import CaseReport

MIXED = "a feature of out depends on another feature of x, and batch normalisation never mixes features"
BLURRED = "x - mean is lost in the roundoff of {dtype}, even for correct code; use a smaller mean, or a wider dtype"
ROUNDED = "roundoff, not a wrong formula: the same backward passes in float64"
GRAVITY = (Verdict.PASS, Verdict.UNRESOLVED, Verdict.FAIL)


def check(case: Case, implementation: Implementation) -> CaseReport:
    """Draw the case, run the implementation, differentiate its forward, compare at all five nodes.

    Raises whatever the implementation raises.
    """
    with np.errstate(all="ignore"):
        problem = draw(case)
        exact = problem.widened()
        stages = batchnorm.forward(exact.inputs)
        scales = batchnorm.scales(exact.inputs, stages, exact.dout)
        reason = out_of_range(problem, stages, scales)
        if reason:
            return CaseReport(case, Verdict.SKIPPED, reason=reason)
        unit = sum_error(case.dtype, case.n)
        roundoff = batchnorm.roundoff_scales(exact.inputs, stages, exact.dout, unit)
        yardsticks = {node: _yardstick(case, node, scales, roundoff) for node in NODES}
        if any(yardstick.is_blurred() for yardstick in yardsticks.values()):
            return CaseReport(case, Verdict.SKIPPED, reason=BLURRED.format(dtype=case.dtype))
        gradients = implementation.backward(problem.inputs, problem.dout)
        comparisons = [_compare(node, gradients, implementation, exact, yardsticks[node]) for node in NODES]
    verdict = max((found.verdict for found in comparisons), key=GRAVITY.index)
    return CaseReport(case, verdict, tuple(_located(found, problem) for found in comparisons))


def _yardstick(case: Case, node: str, scales: Scales, roundoff: Scales) -> Yardstick:
    """Only gamma and var vanish with x - mean; the other nodes have terms without it."""
    kind = np.finfo(case.dtype)
    unit, tiny = sum_error(case.dtype, case.n), float(kind.smallest_subnormal)
    vanishes = node in ("gamma", "var")
    floor = float(kind.eps) / 2 * roundoff.of(node) if vanishes else np.zeros_like(scales.of(node))
    return Yardstick(scales.of(node), roundoff.of(node), floor, unit, tiny, case.rtol)


def _compare(
    node: str, gradients: Gradients, implementation: Implementation, exact: Problem, yardstick: Yardstick
) -> Comparison:
    """Compare by the quickest method that can tell; by the finest there is, where none can."""
    for method in numeric.methods():
        differences = numeric.differentiate(node, implementation.forward, exact.inputs, exact.dout, method)
        found = compare(node, gradients.of(node), differences, yardstick)
        if found.verdict is Verdict.PASS or (found.verdict is Verdict.FAIL and _is_certain(found, yardstick, method)):
            break
    if not differences.independent:
        return replace(found, verdict=Verdict.FAIL, note=MIXED)
    if found.verdict is Verdict.FAIL and exact.case.dtype != "float64":
        again = implementation.backward(exact.inputs, exact.dout)
        if compare(node, again.of(node), differences, yardstick).verdict is Verdict.PASS:
            return replace(found, note=ROUNDED)
    return found


def _is_certain(failed: Comparison, yardstick: Yardstick, method: Method) -> bool:
    """Whether an error is larger than differences may be off for a forward that loses digits of x - mean.

    Such roundoff is alike at neighbouring points, so that scatter need not show it.
    """
    unit = float(np.finfo(method.dtype).eps)
    lost = unit * float(np.max(relative(yardstick.roundoff, yardstick.measured_by()))) / method.fraction
    return not failed.error <= 4 * lost


def _located(found: Comparison, problem: Problem) -> Comparison:
    """With the worst element's place in the layout of the case rather than in rows."""
    if found.node != "x":
        return found
    row, feature = found.worst.index
    return replace(found, worst=replace(found.worst, index=problem.index(row, feature)))
