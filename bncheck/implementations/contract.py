"""What an implementation is to the rest of the program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, Protocol

from bncheck.batchnorm import FloatArray, Gradients, Inputs
from bncheck.implementations.answer import Answer


class Subject(Protocol):
    """A batch normalisation under check, in rows."""

    @property
    def name(self) -> str:
        """What it is called in a report."""

    def forward(self, inputs: Inputs) -> FloatArray:
        """out, (n, m), of inputs with any number m of features, in any float dtype: it is differenced."""

    def given(self, inputs: Inputs) -> Inputs:
        """What it really works on: gamma, beta and eps of its own where it takes none."""

    def answer(self, inputs: Inputs, dout: FloatArray) -> Answer:
        """What its forward and backward give."""

    def examined(self, inputs: Inputs, dout: FloatArray) -> Answer:
        """The same, with every breach of the contract that can be found by calling it."""


class AsAsked(NamedTuple):
    """A subject that is told the eps it was asked for, whatever eps it was found to make of that.

    A forward that adds 2 eps is judged as what it is, batch normalisation with twice the eps, and is still to be
    called with the one that makes it so.
    """

    subject: Subject
    eps: float

    @property
    def name(self) -> str:
        """That of the subject."""
        return self.subject.name

    def given(self, inputs: Inputs) -> Inputs:
        """What the subject really works on."""
        return self.subject.given(inputs)

    def forward(self, inputs: Inputs) -> FloatArray:
        """out with the eps that was asked for."""
        return self.subject.forward(self._asked(inputs))

    def answer(self, inputs: Inputs, dout: FloatArray) -> Answer:
        """What it gives with that eps."""
        return self.subject.answer(self._asked(inputs), dout)

    def examined(self, inputs: Inputs, dout: FloatArray) -> Answer:
        """The same, with every breach of the contract."""
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
        """It takes everything."""
        return inputs

    def answer(self, inputs: Inputs, dout: FloatArray) -> Answer:
        """Its gradients. There is no `out` to look at: the reference is what others are compared with."""
        found = self.backward(inputs, dout)
        return Answer(None, found.x, found.gamma, found.beta, found.mean, found.var)

    def examined(self, inputs: Inputs, dout: FloatArray) -> Answer:
        """Its tests examine it."""
        return self.answer(inputs, dout)
