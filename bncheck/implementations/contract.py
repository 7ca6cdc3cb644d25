"""What an implementation is to the rest of the program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bncheck.batchnorm import FloatArray, Gradients, Inputs


@dataclass(frozen=True, slots=True)
class Implementation:
    """A batch normalisation under check, in rows.

    `forward` gives out, (n, m), of inputs with any number m of features, in any float dtype: it is differenced.
    `backward` gives the gradients of sum(dout * out) at all five nodes, of inputs and dout in the dtype of the case.
    """

    name: str
    forward: Callable[[Inputs], FloatArray]
    backward: Callable[[Inputs, FloatArray], Gradients]
