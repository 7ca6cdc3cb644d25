"""The rows of one case: out, and the five nodes, each compared, judged, and told from roundoff."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from bncheck import batchnorm, implied, numeric, roundoff
from bncheck.batchnorm import FloatArray, Inputs, Stages
from bncheck.comparison import BLUR, Comparison, Verdict, Yardstick, compare, relative, without_number
from bncheck.ground import Ground
from bncheck.implementations.answer import MIXED, Answer
from bncheck.implementations.contract import Subject
from bncheck.method import EVERYDAY, Method, methods
from bncheck.numeric import Numeric
from bncheck.point import Point
from bncheck.variants import Identity, asked, identify

UNKNOWN = "this is no batch normalisation that is known; its gradients are judged against its own forward"
REFUSED = "{found}, and this config asks for `forward: standard`"
HIDDEN = (
    "only an update of {node} shows its gradient, and one of size {scale:.2g} is lost in the rounding of {node}, "
    "{grain:.2g}; keep d{node} in an attribute, and it is judged"
)

Points = Callable[[Method], Point]

# --- out -------------------------------------------------------------------------------------------------------


def forward_row(subject: Subject, out: FloatArray, ground: Ground) -> tuple[Comparison, Identity]:
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
            usually = "" if why == roundoff.NARROW else _usually(ground)
            return replace(found, note=roundoff.because(why, found, case.dtype, usually)), known
        wide = known.inputs.map(lambda array: array.astype(roundoff.WIDER[case.dtype]))
        exactly = expected._replace(value=batchnorm.forward(wide).out)
        try:
            error = compare("out", subject.forward(wide), exactly, yardstick).error
        except Exception:  # code that takes no such numbers says nothing of roundoff
            return replace(found, note=UNKNOWN), known
        rounded = roundoff.sentence(found, error, case.dtype, _usually(ground))
        return replace(found, note=rounded or UNKNOWN), known
    return found, known


def _known(subject: Subject, ground: Ground) -> tuple[Identity | None, str]:
    """What the forward is, and why that shows only on other data or to fewer digits, where it does."""
    inputs, dtype = ground.exact.inputs, ground.problem.case.dtype
    likely = asked(subject.forward, inputs)
    attempts = [(inputs, "float64", ""), (inputs, dtype, "")]
    if inputs.running_mean is None:
        attempts.append((replace(inputs, x=batchnorm.anchor(inputs.x)), "float64", roundoff.CENTRED))
    for at, to, why in (*attempts, (inputs, "float32", roundoff.NARROW)):
        identity = _identity(subject, ground, at, to, likely)
        if identity is not None:
            return replace(identity, inputs=replace(identity.inputs, x=inputs.x, beta=inputs.beta)), why
    return None, ""


def _identity(subject: Subject, ground: Ground, inputs: Inputs, dtype: str, likely: Identity | None) -> Identity | None:
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


def node_row(node: str, subject: Subject, answer: Answer, ground: Ground, points: Points) -> Comparison:
    """The row of one node: what they give, or what their dx implies, against differences at a point."""
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
    if given is None and node in implied.IMPLIED and answer.x is not None and inputs.running_mean is None:
        return implied.gradient(node, answer.x.astype(dout.dtype), dout, inputs, stages)
    return given


def _why_none(node: str, answer: Answer) -> str:
    if node not in implied.IMPLIED:
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


def _in_wider(failed: Comparison, subject: Subject, ground: Ground, points: Points) -> str:
    """What to say where the same code fails less in wider arithmetic."""
    dtype = ground.problem.case.dtype
    wider = roundoff.WIDER[dtype]
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
    return roundoff.sentence(failed, error, dtype, _usually(ground))


def _centred(failed: Comparison, subject: Subject, ground: Ground) -> str:
    """What to say where the same code is right on x less its first row, which asks for no digits of the mean."""
    inputs, dout = ground.exact.inputs, ground.exact.dout
    if inputs.running_mean is not None:
        return ""
    inputs = replace(inputs, x=batchnorm.anchor(inputs.x))
    again = _again(failed.node, subject, ground.at(inputs), inputs, dout)
    if again(Point.of(subject.forward, inputs, dout, EVERYDAY)).verdict is not Verdict.PASS:
        return ""
    return roundoff.because(roundoff.CENTRED, failed, ground.problem.case.dtype, _usually(ground))


def _usually(ground: Ground) -> str:
    return roundoff.usual_cause(ground.exact.inputs, ground.stages)


def _again(
    node: str, subject: Subject, ground: Ground, inputs: Inputs, dout: FloatArray
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
