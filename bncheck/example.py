"""The small problem whose numbers stand beside the derivation."""

from __future__ import annotations

from dataclasses import dataclass

from bncheck import batchnorm, numeric
from bncheck.batchnorm import FloatArray
from bncheck.case import Case
from bncheck.numeric import Numeric
from bncheck.problem import Problem

CASE = Case(shape=(4, 1), seed=1)
"""Small enough to follow by hand. One feature, since features do not see each other; dout has both signs."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """What each symbol of the derivation stands for in one problem in train mode.

    Shapes: x, x_hat, out, dout, dx_hat and dx (n, d); the others (d,), but for `eps` and `n`.
    """

    x: FloatArray
    gamma: FloatArray
    beta: FloatArray
    dout: FloatArray
    eps: float
    n: int
    mean: FloatArray
    var: FloatArray
    std: FloatArray
    x_hat: FloatArray
    out: FloatArray
    dx_hat: FloatArray
    dbeta: FloatArray
    dgamma: FloatArray
    dvar: FloatArray
    dmean: FloatArray
    dx: FloatArray


def work(problem: Problem) -> Numbers:
    """The numbers of a problem, which is in train mode and of the standard variant."""
    inputs = problem.inputs
    assert inputs.running_mean is None
    assert inputs.variant == batchnorm.STANDARD
    stages = batchnorm.forward(inputs)
    gradients, _ = batchnorm.backward(inputs, stages, problem.dout)
    return Numbers(
        x=inputs.x,
        gamma=inputs.gamma,
        beta=inputs.beta,
        dout=problem.dout,
        eps=inputs.eps,
        n=len(inputs.x),
        mean=batchnorm.batch_mean(inputs.x),
        var=stages.var,
        std=stages.std,
        x_hat=stages.x_hat,
        out=stages.out,
        dx_hat=problem.dout * inputs.gamma,
        dbeta=gradients.beta,
        dgamma=gradients.gamma,
        dvar=gradients.var,
        dmean=gradients.mean,
        dx=gradients.x,
    )


def numeric_gradient(node: str, problem: Problem) -> Numeric:
    """The gradient at a node by differences of the forward, with no formula of the backward in it."""
    return numeric.differentiate(node, batchnorm.out_of, problem.inputs, problem.dout)
