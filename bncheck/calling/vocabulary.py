"""The names that a pattern may use: one row each, with what it means and how its value is made.

Read by the schema of a config too, which is made without NumPy: so the arrays are made by `Values`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from bncheck.calling.binding import Values

MOMENTUM = 0.9
"""The value of `momentum`: in train mode nothing that is checked depends on it."""

LEARNING_RATE = 1.0
"""The value of `learning_rate`: an update of gamma is then its gradient."""


def _loss(out: Any, dout: Any) -> Any:
    return (out * dout).sum()


class PatternName(NamedTuple):
    """A name in patterns. `make` gives its value, anew for every forward; None where something else gives it one."""

    name: str
    meaning: str
    make: Callable[[Values], Any] | None = None


GIVEN_NAMES = (
    PatternName("x", "the input, in the layout of the implementation", lambda own: own.layout.laid_out(own.inputs.x)),
    PatternName("gamma", "the scale", lambda own: own.parameter(own.inputs.gamma)),
    PatternName("beta", "the shift", lambda own: own.parameter(own.inputs.beta)),
    PatternName("eps", "what is added to the variance", lambda own: own.inputs.eps),
    PatternName("dout", "the upstream gradient, in the layout of x"),
    PatternName("self", "what `create` gave"),
    PatternName("n", "rows: everything that is averaged over", lambda own: own.inputs.x.shape[0]),
    PatternName("d", "features", lambda own: own.inputs.x.shape[1]),
    PatternName("shape", "the shape of x", lambda own: own.layout.shape(own.inputs.x.shape[1])),
    PatternName("momentum", "that of the running statistics", lambda own: MOMENTUM),
    PatternName("learning_rate", "1, so that an update is the gradient", lambda own: LEARNING_RATE),
    PatternName("running_mean", "that of eval mode, or zeros", lambda own: own.statistic(own.inputs.running_mean, 0)),
    PatternName("running_var", "that of eval mode, or ones", lambda own: own.statistic(own.inputs.running_var, 1)),
    PatternName("optimizer", "one whose update is the gradient, and that records it", lambda own: own.optimizer()),
    PatternName("loss", "a function of out and dout, sum(dout * out), for a backward from a number", lambda own: _loss),
    PatternName("ctx", "what a Function without torch keeps for backward", lambda own: own.context()),
    PatternName("buffer", "zeros in the shape of x, to be written into", lambda own: own.buffer()),
    PatternName("reference", "our own forward, for a backward without one", lambda own: own.reference),
    PatternName(
        "saved_mean", "the mean of x", lambda own: own.saved(lambda stages: own.inputs.x[0] - stages.centred[0])
    ),
    PatternName("saved_sum", "the sum of x over the rows", lambda own: own.saved(lambda _: own.inputs.x.sum(axis=0))),
    PatternName("saved_var", "the biased variance of x", lambda own: own.saved(lambda stages: stages.var)),
    PatternName("saved_var_and_eps", "var + eps", lambda own: own.saved(lambda stages: stages.std**2)),
    PatternName("saved_std", "sqrt(var + eps)", lambda own: own.saved(lambda stages: stages.std)),
    PatternName("saved_std_without_eps", "sqrt(var)", lambda own: own.saved(lambda stages: stages.var**0.5)),
    PatternName("saved_inverse_std", "1 / sqrt(var + eps)", lambda own: own.saved(lambda stages: 1 / stages.std)),
    PatternName("saved_inverse_std_without_eps", "1 / sqrt(var)", lambda own: own.saved(lambda s: s.var**-0.5)),
    PatternName("saved_x_hat", "x, normalised", lambda own: own.saved(lambda stages: stages.x_hat)),
    PatternName("saved_centred", "x less its mean", lambda own: own.saved(lambda stages: stages.centred)),
    PatternName("training", "whether the batch's own statistics are to be used", lambda own: own.training),
)
"""Every name that has a value before anything is found."""

FOUND_NAMES = (
    PatternName("out", "the normalised result"),
    PatternName("cache", "what forward keeps for backward"),
    PatternName("dx", "the gradient at x"),
    PatternName("dgamma", "the gradient at gamma"),
    PatternName("dbeta", "the gradient at beta"),
    PatternName("dmean", "the gradient at the mean"),
    PatternName("dvar", "the gradient at the variance"),
)
"""Every name that a target may give a meaning to; any other name may be a target too, and carries what it is given."""

GIVEN = tuple(row.name for row in GIVEN_NAMES)
FOUND = tuple(row.name for row in FOUND_NAMES)

SAVED = tuple(row.name for row in GIVEN_NAMES if row.name.startswith("saved_"))
"""Names of what a forward saves for its backward, here computed from x; a target may take the place of each."""

SETTABLE = tuple(row.name for row in GIVEN_NAMES if row.make is not None)
"""Names that `set:` may put in a place: those that have their value before forward is called."""
