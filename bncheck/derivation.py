"""The derivation as data: for each node its formulas, each with the function that gives its numbers.

A formula is text that people read and a program can: `·` multiplies, `Σ(...)` sums over the rows, `|...|` is the
absolute value, `^` raises to a power. The tests read it so, and hold both it and its function to be true.
Source: Ioffe & Szegedy, *Batch Normalization* (2015), section 3; the staged form follows the course notes of CS231n.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bncheck.case import Case
from bncheck.gradients import batchnorm
from bncheck.gradients.batchnorm import NODES, FloatArray
from bncheck.gradients.problem import Problem
from bncheck.status import StartError

CALLED = {"weight": "gamma", "scale": "gamma", "bias": "beta", "shift": "beta", "mu": "mean", "variance": "var"}
"""Other names of the nodes, where they are spelt too differently to be guessed."""

ASCII = str.maketrans({"Σ": "sum", "·": "*", "²": "^2"})
"""The signs of a formula, as they are written where there is only ASCII."""


class Formula(NamedTuple):
    """A line of the derivation. `value` gives its numbers, (n, d) for one in every row, (d,) for one in the batch.

    `symbol` is what it defines, empty for a term without a name. `why` says why it holds, a sentence a line.
    """

    symbol: str
    text: str
    value: Callable[[Numbers], FloatArray]
    why: str = ""

    @property
    def label(self) -> str:
        """The formula as an equation, where it defines something."""
        return f"{self.symbol} = {self.text}" if self.symbol else self.text

    @property
    def in_ascii(self) -> str:
        """The label in signs that every terminal has."""
        return self.label.translate(ASCII)


@dataclass(frozen=True, slots=True)
class Derivation:
    """The way to the gradient at one node.

    `chain` is a sentence on how the node reaches out.
    `held` are the stages that stay as they are when the node is moved, `follows` those that move with it.
    `steps` end in the gradient itself. `closed_form`, None where the steps are one already, is the same in fewer
    operations. A relative error at this node is relative to `scale`. `note` is a sentence for the end.
    """

    node: str
    chain: str
    held: tuple[str, ...]
    follows: tuple[str, ...]
    steps: tuple[Formula, ...]
    closed_form: Formula | None
    scale: Formula
    note: str = ""


def derivation_of(name: str, others: Sequence[str] = ()) -> Derivation:
    """The derivation of a node, which may also be called by its gradient: x or dx.

    `others` are further names that would have been understood. Raises StartError, with the nearest name.
    """
    for derivation in DERIVATIONS:
        if name in (derivation.node, f"d{derivation.node}"):
            return derivation
    near = [CALLED[name]] if name in CALLED else difflib.get_close_matches(name[:40], [*NODES, *others], n=1)
    meant = f"; did you mean '{near[0]}'?" if near else "."
    known = f"{', '.join(NODES[:-1])} and {NODES[-1]}"
    kinds = "neither a node nor a fault" if others else "not a node"
    raise StartError(f"error: '{name}' is {kinds} that can be explained{meant} The nodes are {known}.")


def _sum(values: FloatArray) -> FloatArray:
    """Over the rows, (d,)."""
    return np.asarray(np.add.reduce(values, axis=0))


def _sizes_of_routes(of: Numbers) -> FloatArray:
    """The sum of |A| and of bounds of |B| and |C| in each row, (n, d)."""
    direct = np.abs(DIRECT.value(of))
    return np.asarray(direct + (np.abs(of.x_hat) * _sum(direct * np.abs(of.x_hat)) + _sum(direct)) / of.n)


# --- forward ---------------------------------------------------------------------------------------------------

FORWARD = (
    Formula("mean", "(1/n) · Σ(x)", lambda of: _sum(of.x) / of.n),
    Formula("var", "(1/n) · Σ((x - mean)²)", lambda of: _sum((of.x - of.mean) ** 2) / of.n),
    Formula("std", "sqrt(var + eps)", lambda of: np.sqrt(of.var + of.eps)),
    Formula("x_hat", "(x - mean) / std", lambda of: (of.x - of.mean) / of.std),
    Formula("out", "gamma · x_hat + beta", lambda of: of.gamma * of.x_hat + of.beta),
)
LOSS = Formula("L", "Σ(dout · out)", lambda of: _sum(of.dout * of.out))

# --- backward --------------------------------------------------------------------------------------------------

DBETA = Formula("dbeta", "Σ(dout)", lambda of: _sum(of.dout))
DGAMMA = Formula("dgamma", "Σ(dout · x_hat)", lambda of: _sum(of.dout * of.x_hat))
DX_HAT = Formula("dx_hat", "dout · gamma", lambda of: of.dout * of.gamma)
DVAR = Formula(
    "dvar",
    "Σ(dx_hat · (x - mean)) · (-1/2) · (var + eps)^(-3/2)",
    lambda of: _sum(of.dx_hat * (of.x - of.mean)) * (-1 / 2) * (of.var + of.eps) ** (-3 / 2),
)
BY_ITSELF = Formula("first", "Σ(dx_hat · (-1/std))", lambda of: _sum(of.dx_hat * (-1 / of.std)))
BY_VAR = Formula(
    "second", "dvar · (1/n) · Σ(-2 · (x - mean))", lambda of: of.dvar * (1 / of.n) * _sum(-2 * (of.x - of.mean))
)
DMEAN = Formula("dmean", f"{BY_ITSELF.text} + {BY_VAR.text}", lambda of: BY_ITSELF.value(of) + BY_VAR.value(of))
ITS_SUM = Formula("dmean", "first + second", DMEAN.value)
DIRECT = Formula("A", "dx_hat · (1/std)", lambda of: of.dx_hat * (1 / of.std))
THROUGH_VAR = Formula("B", "dvar · (2/n) · (x - mean)", lambda of: of.dvar * (2 / of.n) * (of.x - of.mean))
THROUGH_MEAN = Formula("C", "dmean · (1/n)", lambda of: np.broadcast_to(of.dmean * (1 / of.n), of.x.shape))
DX = Formula("dx", "A + B + C", lambda of: DIRECT.value(of) + THROUGH_VAR.value(of) + THROUGH_MEAN.value(of))
BACKWARD = (DBETA, DGAMMA, DX_HAT, DVAR, DMEAN, DIRECT, THROUGH_VAR, THROUGH_MEAN, DX)

_DX_WRITTEN_OUT = Formula("dx", f"{DIRECT.text} + {THROUGH_VAR.text} + {THROUGH_MEAN.text}", DX.value)
OF_GRADIENT: Mapping[str, Formula] = {
    formula.symbol: formula for formula in (DBETA, DGAMMA, DX_HAT, DVAR, DMEAN, _DX_WRITTEN_OUT)
}
"""The formula of each gradient, by its symbol, with no name in it for a part: what a fault breaks."""

DX_IN_EVAL = DIRECT._replace(symbol="dx")
"""The formula of dx in eval mode, where mean and var are constants."""


_DX_HAT_FIRST = DX_HAT._replace(why="Every row of out is gamma · x_hat + beta:")
_DVAR_DONE = Formula("", "dvar", lambda of: of.dvar)
_DMEAN_DONE = Formula("", "dmean", lambda of: of.dmean)

# --- the nodes -------------------------------------------------------------------------------------------------

_OF_BETA = Derivation(
    "beta",
    "beta is added in every row of out, so each row of dout counts once.",
    held=("x", "mean", "var", "std", "x_hat"),
    follows=("out",),
    steps=(DBETA,),
    closed_form=None,
    scale=Formula("scale", "Σ|dout|", lambda of: _sum(np.abs(of.dout))),
    note="It is a sum, not a mean: the same beta is used in all n rows.",
)
_OF_GAMMA = Derivation(
    "gamma",
    "gamma multiplies x_hat in every row, so each row of dout counts as much as its x_hat.",
    held=("x", "mean", "var", "std", "x_hat"),
    follows=("out",),
    steps=(Formula("", "dout · x_hat", lambda of: of.dout * of.x_hat, "What each row gives, and their sum:"), DGAMMA),
    closed_form=None,
    scale=Formula("scale", "Σ|dout · x_hat|", lambda of: _sum(np.abs(of.dout * of.x_hat))),
    note="It takes x_hat, not x and not out: that is what gamma is multiplied with.",
)
_OF_VAR = Derivation(
    "var",
    "var reaches out by std alone, and std divides every row of x_hat: the rows are summed.",
    held=("x", "mean"),
    follows=("std", "x_hat", "out"),
    steps=(
        _DX_HAT_FIRST,
        Formula(
            "",
            "dx_hat · (x - mean)",
            lambda of: of.dx_hat * (of.x - of.mean),
            "x_hat = (x - mean) · (var + eps)^(-1/2), so each row gives",
        ),
        Formula(
            "",
            "(-1/2) · (var + eps)^(-3/2)",
            lambda of: (-1 / 2) * (of.var + of.eps) ** (-3 / 2),
            "times the derivative of the power, which is the same in all rows:",
        ),
        DVAR,
    ),
    closed_form=Formula("dvar", "-gamma · dgamma / (2 · std²)", lambda of: -of.gamma * of.dgamma / (2 * of.std**2)),
    scale=Formula(
        "scale",
        "(1/2) · std^(-3) · Σ|dx_hat · (x - mean)|",
        lambda of: (1 / 2) * of.std ** (-3) * _sum(np.abs(of.dx_hat * (of.x - of.mean))),
    ),
)
_OF_MEAN = Derivation(
    "mean",
    "mean reaches out in two ways: it stands in x_hat itself, and in var. Its gradient has two terms.",
    held=("x",),
    follows=("var", "std", "x_hat", "out"),
    steps=(
        _DX_HAT_FIRST,
        Formula(
            "",
            "dx_hat · (-1/std)",
            lambda of: of.dx_hat * (-1 / of.std),
            "The first way: x_hat = (x - mean) / std falls as mean rises, in every row.",
        ),
        BY_ITSELF,
        _DVAR_DONE._replace(why="The second way: mean stands in var, whose gradient `explain var` derives:"),
        Formula("", "x - mean", lambda of: of.x - of.mean),
        Formula("", "Σ(x - mean)", lambda of: _sum(of.x - of.mean)),
        BY_VAR._replace(
            why="The rows lie around their mean, so that sum is zero but for roundoff, and the second term vanishes:"
        ),
        ITS_SUM,
    ),
    closed_form=Formula("dmean", "-gamma · dbeta / std", lambda of: -of.gamma * of.dbeta / of.std),
    scale=Formula("scale", "(1/std) · Σ|dx_hat|", lambda of: (1 / of.std) * _sum(np.abs(of.dx_hat))),
    note="The second term belongs to the derivative all the same: Σ(x - mean) is zero for no other mean.",
)
_ROUTES = """\
A, direct: each row stands in its own x_hat = (x - mean) / std.
B, through var: each row moves var, by its distance from mean.
C, through mean: each row moves mean, all alike."""
_OF_X = Derivation(
    "x",
    "Three routes lead from x to out, and dx is their sum: direct, through var, and through mean.",
    held=(),
    follows=("mean", "var", "std", "x_hat", "out"),
    steps=(
        _DX_HAT_FIRST,
        _DVAR_DONE._replace(why="The gradients at var and mean, which `explain var` and `explain mean` derive:"),
        _DMEAN_DONE,
        DIRECT._replace(why=_ROUTES),
        THROUGH_VAR,
        THROUGH_MEAN,
        DX,
    ),
    closed_form=Formula(
        "dx",
        "gamma / (n · std) · (n · dout - dbeta - x_hat · dgamma)",
        lambda of: of.gamma / (of.n * of.std) * (of.n * of.dout - of.dbeta - of.x_hat * of.dgamma),
    ),
    scale=Formula(
        "scale", "max(|A| + (|x_hat| · Σ|A · x_hat| + Σ|A|) / n)", lambda of: _sizes_of_routes(of).max(axis=0)
    ),
    note="In eval mode mean and var are constants: B and C are not there, and dx = A.",
)
DERIVATIONS = (_OF_BETA, _OF_GAMMA, _OF_MEAN, _OF_VAR, _OF_X)


# --- the small problem whose numbers stand beside the derivation ------------------------------------------------

CASE = Case(shape=(4, 1), seed=1)
"""Small enough to follow by hand. One feature, since features do not see each other; dout has both signs."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """The number of each symbol of the derivation, in one problem in train mode.

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
        **{f"d{node}": gradients.of(node) for node in NODES},
    )
