"""Somebody's batch normalisation under check, and the contract that it has to keep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np

from bncheck.calling.answer import MIXED, ROWS, Answer, Breach, differing
from bncheck.calling.binding import Bound
from bncheck.gradients import batchnorm
from bncheck.gradients.batchnorm import FloatArray, Gradients, Inputs

# --- the contract -----------------------------------------------------------------------------------------------


class Subject(Protocol):
    """A batch normalisation under check, in rows."""

    @property
    def name(self) -> str:
        """The name in a report."""

    def forward(self, inputs: Inputs) -> FloatArray:
        """out, (n, m), of inputs with any number m of features, in any float dtype: it is differenced."""

    def given(self, inputs: Inputs) -> Inputs:
        """The inputs that it really works on: gamma, beta and eps of its own where it takes none."""

    def answer(self, inputs: Inputs, dout: FloatArray) -> Answer:
        """The results of its forward and backward."""

    def examined(self, inputs: Inputs, dout: FloatArray) -> Answer:
        """The answer, with every breach of the contract that can be found by calling it."""


class AsAsked(NamedTuple):
    """A subject that is told the eps it was asked for, whatever eps it was found to make of it.

    A forward that adds 2 eps is judged as what it is, batch normalisation with twice the eps, and is still to be
    called with the one that makes it so.
    """

    subject: Subject
    eps: float

    @property
    def name(self) -> str:
        """The name of the subject."""
        return self.subject.name

    def given(self, inputs: Inputs) -> Inputs:
        """The inputs that the subject really works on."""
        return self.subject.given(inputs)

    def forward(self, inputs: Inputs) -> FloatArray:
        """The out of the subject with the eps that was asked for."""
        return self.subject.forward(self._asked(inputs))

    def answer(self, inputs: Inputs, dout: FloatArray) -> Answer:
        """The answer of the subject with that eps."""
        return self.subject.answer(self._asked(inputs), dout)

    def examined(self, inputs: Inputs, dout: FloatArray) -> Answer:
        """The answer with that eps, with every breach of the contract."""
        return self.subject.examined(self._asked(inputs), dout)

    def _asked(self, inputs: Inputs) -> Inputs:
        return inputs if inputs.eps == self.eps else replace(inputs, eps=self.eps)


class Implementation(NamedTuple):
    """A batch normalisation of our own.

    `backward` gives the gradients of sum(dout * out) at all five nodes, of inputs and dout in the dtype of the case.
    """

    name: str
    forward: Callable[[Inputs], FloatArray]
    backward: Callable[[Inputs, FloatArray], Gradients]

    def given(self, inputs: Inputs) -> Inputs:
        """The inputs as they are: it takes everything."""
        return inputs

    def answer(self, inputs: Inputs, dout: FloatArray) -> Answer:
        """Its gradients. There is no `out` to look at: the reference is what others are compared with."""
        found = self.backward(inputs, dout)
        return Answer(None, found.x, found.gamma, found.beta, found.mean, found.var)

    def examined(self, inputs: Inputs, dout: FloatArray) -> Answer:
        """The answer: our own are examined by their tests."""
        return self.answer(inputs, dout)


# --- our own ----------------------------------------------------------------------------------------------------


def _by_routes(inputs: Inputs, dout: FloatArray) -> Gradients:
    wide, dout = _widened(inputs), dout.astype(_wide(dout.dtype))
    return _rounded(batchnorm.backward(wide, batchnorm.forward(wide), dout)[0], inputs.x.dtype)


def _in_closed_form(inputs: Inputs, dout: FloatArray) -> Gradients:
    wide, dout = _widened(inputs), dout.astype(_wide(dout.dtype))
    return _rounded(batchnorm.closed_form(wide, batchnorm.forward(wide), dout), inputs.x.dtype)


def _wide(dtype: np.dtype[np.floating]) -> np.dtype[np.floating]:
    """The dtype to work in: float32 for float16, as in every library, for its sums would overflow at 65504."""
    return np.result_type(dtype, np.float32)


def _widened(inputs: Inputs) -> Inputs:
    return inputs.map(lambda array: array.astype(_wide(array.dtype), copy=False))


def _rounded(gradients: Gradients, dtype: np.dtype[np.floating]) -> Gradients:
    """The gradients, those that leave the layer in its dtype; those at mean and var stay as wide as they are."""
    beta, gamma, x = (gradient.astype(dtype, copy=False) for gradient in (gradients.beta, gradients.gamma, gradients.x))
    return Gradients(beta, gamma, gradients.mean, gradients.var, x)


REFERENCE = Implementation("reference", batchnorm.out_of, _by_routes)
CLOSED_FORM = Implementation("closed-form", batchnorm.out_of, _in_closed_form)

BUILT_IN = {implementation.name: implementation for implementation in (REFERENCE, CLOSED_FORM)}


def find(name: str) -> Implementation:
    """The implementation of ours with that name. Raises KeyError where there is none."""
    return BUILT_IN[name]


@dataclass(frozen=True, slots=True)
class Foreign:
    """Somebody's batch normalisation."""

    bound: Bound

    @property
    def name(self) -> str:
        """The name in their file."""
        return self.bound.name

    def forward(self, inputs: Inputs) -> FloatArray:
        """The out of a fresh object, (n, m)."""
        return self.bound.forward(inputs)

    def given(self, inputs: Inputs) -> Inputs:
        """The inputs, with 1 for a gamma and 0 for a beta that is not handed over."""
        ones, zeros = np.ones_like(inputs.gamma), np.zeros_like(inputs.beta)
        gamma = inputs.gamma if self.bound.takes("gamma") else ones
        return replace(inputs, gamma=gamma, beta=inputs.beta if self.bound.takes("beta") else zeros)

    def answer(self, inputs: Inputs, dout: FloatArray) -> Answer:
        """The answer of a fresh object."""
        return self.bound.backward(inputs, dout)

    def examined(self, inputs: Inputs, dout: FloatArray) -> Answer:
        """The answer, with what is wrong with its form and what changes where nothing should change it.

        Asked again, asked after another batch has gone through, and asked feature by feature.

        Of a layer that mixes features, the form of dgamma and dbeta is left alone: that it has one gamma for all is
        then no more than a guess.
        """
        answer = self.answer(inputs, dout)
        breaches = [*answer.breaches, *_not_finite(answer)]
        other = replace(inputs, x=inputs.x[::-1] * inputs.x.dtype.type(1.5))
        second = self.bound.second((other, dout[::-1].copy()), inputs, dout, answer)
        if rows := differing(answer, second.answer):
            # What differs from call to call differs here too: so only now need it be asked again.
            again = differing(answer, self.answer(inputs, dout))
            breaches += _changed(again, "differs when it is run again with the same input")
            breaches += _changed(rows, "differs after another batch has gone through")
            breaches += [("x", second.cause)] if second.cause and not again else []
        if not any(row == "out" for row, _ in breaches) and self.bound.mixes_features():
            breaches = [("out", MIXED), *(breach for breach in breaches if breach not in _of_form(answer))]
        else:
            breaches += self.bound.spread_gradients()
        broken = {row for row, _ in breaches}
        notes = tuple((row, sentence) for row, sentence in (*answer.notes, *second.notes) if row not in broken)
        return replace(answer, breaches=tuple(dict.fromkeys(breaches)), notes=notes)


def _of_form(answer: Answer) -> list[Breach]:
    """The breaches of dgamma and dbeta in their form."""
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


def _changed(rows: tuple[str, ...], how: str) -> list[Breach]:
    """The breaches of rows that change where nothing should change them."""
    return [(row, f"{_symbol(row)} {how}") for row in rows]


def _symbol(row: str) -> str:
    return row if row == "out" else f"d{row}"
