"""Somebody's batch normalisation under check, and the contract that it has to keep."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bncheck.batchnorm import FloatArray, Inputs
from bncheck.implementations.answer import MIXED, Answer, Breach
from bncheck.implementations.binding import Bound

ROWS = ("out", "x", "gamma", "beta", "mean", "var")


@dataclass(frozen=True, slots=True)
class Foreign:
    """Somebody's batch normalisation."""

    bound: Bound

    @property
    def name(self) -> str:
        """What it is called in their file."""
        return self.bound.name

    def forward(self, inputs: Inputs) -> FloatArray:
        """out, (n, m), by a fresh object."""
        return self.bound.forward(inputs)

    def given(self, inputs: Inputs) -> Inputs:
        """Where gamma is not handed over it is 1, where beta is not it is 0."""
        ones, zeros = np.ones_like(inputs.gamma), np.zeros_like(inputs.beta)
        gamma = inputs.gamma if self.bound.takes("gamma") else ones
        return replace(inputs, gamma=gamma, beta=inputs.beta if self.bound.takes("beta") else zeros)

    def answer(self, inputs: Inputs, dout: FloatArray) -> Answer:
        """What a fresh object gives."""
        return self.bound.backward(inputs, dout)

    def examined(self, inputs: Inputs, dout: FloatArray) -> Answer:
        """The same answer twice, the same after another batch has gone through, and out feature by feature.

        Of a layer that mixes features, the form of dgamma and dbeta is left alone: that it has one gamma for all is
        then no more than a guess.
        """
        answer = self.answer(inputs, dout)
        breaches = [*answer.breaches, *_not_finite(answer)]
        breaches += _changed(answer, self.answer(inputs, dout), "differs when it is run again with the same input")
        other = replace(inputs, x=inputs.x[::-1] * inputs.x.dtype.type(1.5))
        after = self.bound.backward_after((other, dout[::-1].copy()), inputs, dout)
        breaches += _changed(answer, after, "differs after another batch has gone through")
        if not any(row == "out" for row, _ in breaches) and self.bound.mixes_features():
            breaches = [("out", MIXED), *(breach for breach in breaches if breach not in _of_form(answer))]
        return replace(answer, breaches=tuple(dict.fromkeys(breaches)))


def _of_form(answer: Answer) -> list[Breach]:
    """What is said of the form of dgamma and dbeta."""
    return [(row, sentence) for row, sentence in answer.breaches if row in ("gamma", "beta")]


def _not_finite(answer: Answer) -> list[Breach]:
    """The rows that are not all numbers."""
    found = []
    for row in ROWS:
        array = answer.of(row)
        if array is not None and not np.all(np.isfinite(array)):
            amiss = int(np.count_nonzero(~np.isfinite(array)))
            found.append((row, f"{_symbol(row)} is not finite in {amiss} of {array.size} elements"))
    return found


def _changed(first: Answer, second: Answer, how: str) -> list[Breach]:
    """The rows in which two answers to one question differ by more than the order of some sum could make them."""
    return [(row, f"{_symbol(row)} {how}") for row in ROWS if _differ(first.of(row), second.of(row))]


def _differ(first: FloatArray | None, second: FloatArray | None) -> bool:
    if first is None or second is None:
        return (first is None) != (second is None)
    largest = float(np.max(np.abs(first), initial=0, where=np.isfinite(first)))
    close = 64 * float(np.finfo(first.dtype).eps) * largest
    return not np.allclose(first, second, rtol=0, atol=close, equal_nan=True)


def _symbol(row: str) -> str:
    return row if row == "out" else f"d{row}"
