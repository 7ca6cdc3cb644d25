"""The names that a pattern may use: one row each, with what it means and how its value is made.

Read by the schema of a config too, which is made without NumPy: so the arrays are made by what is `Handed`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from bncheck.calling.binding import Handed

MOMENTUM = 0.9
"""The value of `momentum`: in train mode nothing that is checked depends on it."""

LEARNING_RATE = 1.0
"""The value of `learning_rate`: an update of gamma is then its gradient."""


class GivenName(NamedTuple):
    """A name that we give a value.

    `make` gives the value, anew for every forward; it is None for what comes about later: self and dout.
    """

    name: str
    meaning: str
    make: Callable[[Handed], Any] | None


class FoundName(NamedTuple):
    """A name that we read where a target has given it a value."""

    name: str
    meaning: str


GIVEN_NAMES = (
    GivenName("x", "the input, in the layout of the implementation", lambda handed: handed.laid_out()),
    GivenName("gamma", "the scale", lambda handed: handed.parameter(handed.inputs.gamma)),
    GivenName("beta", "the shift", lambda handed: handed.parameter(handed.inputs.beta)),
    GivenName("eps", "what is added to the variance", lambda handed: handed.inputs.eps),
    GivenName("dout", "the upstream gradient, in the layout of x", None),
    GivenName("self", "what `create` gave", None),
    GivenName("n", "rows: everything that is averaged over", lambda handed: handed.inputs.x.shape[0]),
    GivenName("d", "features", lambda handed: handed.inputs.x.shape[1]),
    GivenName("shape", "the shape of x", lambda handed: handed.shape),
    GivenName("momentum", "that of the running statistics", lambda handed: MOMENTUM),
    GivenName("learning_rate", "1, so that an update is the gradient", lambda handed: LEARNING_RATE),
    GivenName("running_mean", "that of eval mode, or zeros", lambda handed: handed.parameter(handed.running_mean)),
    GivenName("running_var", "that of eval mode, or ones", lambda handed: handed.parameter(handed.running_var)),
    GivenName("optimizer", "one whose update is the gradient, and that records it", lambda handed: handed.optimizer()),
    GivenName("buffer", "zeros in the shape of x, to be written into", lambda handed: handed.buffer()),
    GivenName("training", "whether the batch's own statistics are to be used", lambda handed: handed.training),
)
"""Every name that has a value before anything is found."""

FOUND_NAMES = (
    FoundName("out", "the normalised result"),
    FoundName("cache", "what forward keeps for backward"),
    FoundName("dx", "the gradient at x"),
    FoundName("dgamma", "the gradient at gamma"),
    FoundName("dbeta", "the gradient at beta"),
    FoundName("dmean", "the gradient at the mean"),
    FoundName("dvar", "the gradient at the variance"),
)
"""Every name that a target may give a meaning to; any other name may be a target too, and carries what it is given."""

GIVEN = tuple(row.name for row in GIVEN_NAMES)
FOUND = tuple(row.name for row in FOUND_NAMES)

SETTABLE = tuple(row.name for row in GIVEN_NAMES if row.make is not None)
"""Names that `set:` may put in a place: those that have their value before forward is called."""
