"""What an implementation is to the rest of the program."""

from __future__ import annotations

from collections.abc import Callable
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
