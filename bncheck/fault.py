"""One way of getting the backward pass wrong, as data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from bncheck.batchnorm import FloatArray, Gradients, Inputs
from bncheck.compounds import Spoil
from bncheck.factors import FACTORS, Worth, is_about_eps, is_about_samples
from bncheck.implementations.contract import Implementation
from bncheck.implementations.reference import REFERENCE
from bncheck.parts import Parts
from bncheck.terms import TERMS, Wrong

NEEDS: Mapping[str, Callable[[Parts], bool]] = {
    "": lambda parts: True,
    "train": lambda parts: not parts.is_eval,
    "eval": lambda parts: parts.is_eval,
    "an image": lambda parts: parts.samples != parts.n,
    "eps": lambda parts: parts.inputs.eps > 0,
    "features": lambda parts: parts.d > 1,
}
"""What a backward pass must have for a fault to be possible in it."""


def told(factor: str, term: str) -> str:
    """What a factor on a term is, as a clause. dgamma and dbeta have no gamma, which belongs to dx_hat alone."""
    it = TERMS[term].it
    if factor == "gamma" and term in ("dgamma", "dbeta"):
        return f"{it} is gamma times what it should be"
    return FACTORS[factor].told.format(it=it)


class Fault(NamedTuple):
    """One way of getting it wrong: a `factor` on a `term`, or, of the term `compound`, what `spoil` does.

    `breaks` is the line of the derivation that it breaks, `cause` what was done. `found` says that it was found in
    published code, not only to be expected there. `row`, x, gamma or beta, is where it is told. `alike` is the
    (term, factor) that gives the same dx on any data, for a compound fault whose dx is not its own.
    """

    name: str
    term: str
    factor: str
    breaks: str
    cause: str
    found: bool = False
    needs: str = ""
    row: str = "x"
    spoil: Spoil | None = None
    alike: tuple[str, str] | None = None

    @property
    def sentence(self) -> str:
        """What is wrong, as a clause."""
        if self.spoil is not None:
            return self.cause
        return f"{told(self.factor, self.term)}: {self.cause}"

    def applies(self, parts: Parts) -> bool:
        """Whether this backward pass can have it at all."""
        return NEEDS[self.needs](parts)

    def wrong(self, right: Wrong, parts: Parts, worth: Worth) -> Wrong:
        """What it gives in place of `right`."""
        if self.spoil is not None:
            return self.spoil(right, parts)
        return TERMS[self.term].wrong(right, parts, worth, self.factor)

    def gradients(self, inputs: Inputs, dout: FloatArray, samples: int = 0) -> Gradients:
        """The gradients that a backward pass with this fault gives, in the dtype of the arguments, (n, d) and (d,)."""
        parts = Parts.of(inputs, dout, samples=samples)
        return self.wrong(Wrong.nowhere(parts), parts, Worth.of(parts)).gradients(parts)

    def implementation(self, samples: int = 0) -> Implementation:
        """The reference's forward with this backward, worked and rounded as the reference does."""

        def backward(inputs: Inputs, dout: FloatArray) -> Gradients:
            wide = np.result_type(inputs.x.dtype, np.float32)
            found = self.gradients(inputs.map(lambda array: array.astype(wide)), dout.astype(wide), samples)
            beta, gamma, x = (found.of(node).astype(inputs.x.dtype) for node in ("beta", "gamma", "x"))
            return Gradients(beta, gamma, found.mean, found.var, x)

        return Implementation(self.name, REFERENCE.forward, backward)


Row = tuple[str, str, str] | tuple[str, str, str, bool]
"""Of a fault: its name, its factor, its cause, and whether it was found in published code."""


def on(term: str, breaks: str, *rows: Row) -> Iterator[Fault]:
    """The faults of one term."""
    for name, factor, cause, *found in rows:
        needs = "eps" if is_about_eps(factor) else "an image" if is_about_samples(factor) else ""
        yield Fault(name, term, factor, breaks, cause, any(found), needs, TERMS[term].row)


def compound(
    name: str,
    spoil: Spoil,
    breaks: str,
    cause: str,
    *,
    found: bool = False,
    needs: str = "",
    row: str = "x",
    alike: tuple[str, str] | None = None,
) -> Fault:
    """A fault that is more than a factor on a term."""
    return Fault(name, "compound", "", breaks, cause, found, needs, row, spoil, alike)
