"""How an implementation is called, as data: what a user may write in YAML, and what our own table is written in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Convention:
    """Patterns that say how to build, call and read an implementation; `pattern.py` has their language.

    `create` gives `self`, and is empty for functions; `build` is a call made on it before anything else, for layers
    that make their parameters late, such as self.forward(x). `set` and `gradients` are pairs of a parameter ("gamma",
    "beta") and the place where it is put, or its gradient found; any name of `pattern.GIVEN` may be set, and "x" may be
    among the gradients where backward does not return it. `layout` is how x, out, dout and dx stand in its hands,
    `axes` how many axes they may have (empty: any that the layout allows), `parameters` the shape of gamma, beta and
    their gradients.
    """

    forward: str
    backward: str
    create: str = ""
    build: str = ""
    set: tuple[tuple[str, str], ...] = ()
    gradients: tuple[tuple[str, str], ...] = ()
    layout: str = "as given"
    parameters: str = "(d,)"
    axes: tuple[int, ...] = ()


LAYOUTS = ("as given", "(n, d)", "(d, n)", "channels first", "channels last")
"""as given: the shape of the case; (n, d), (d, n): two axes and no more; the others: (N, C, ...) and (N, ..., C)."""

PARAMETERS = ("(d,)", "(1, d)", "(d, 1)", "(d, 1, 1)", "(1, d, 1, 1)", "(1, 1, 1, d)", "()", "(1,)")
"""Shapes of gamma and beta. Those of three or four have as many axes as x has. "()" is a number and "(1,)" an array of
one, for a layer with one gamma for all: features go into it one by one."""

ONE_BY_ONE = ("()", "(1,)")
