"""Our own batch normalisation, twice: by the routes of the derivation, and in closed form."""

from __future__ import annotations

import numpy as np

from bncheck import batchnorm
from bncheck.batchnorm import FloatArray, Gradients, Inputs
from bncheck.implementations.contract import Implementation


def _by_routes(inputs: Inputs, dout: FloatArray) -> Gradients:
    wide, dout = _widened(inputs), dout.astype(_wide(dout.dtype))
    return _rounded(batchnorm.backward(wide, batchnorm.forward(wide), dout)[0], inputs.x.dtype)


def _in_closed_form(inputs: Inputs, dout: FloatArray) -> Gradients:
    wide, dout = _widened(inputs), dout.astype(_wide(dout.dtype))
    return _rounded(batchnorm.closed_form(wide, batchnorm.forward(wide), dout), inputs.x.dtype)


def _wide(dtype: np.dtype[np.floating]) -> np.dtype[np.floating]:
    """float16 is worked in float32, as every library does: its sums would overflow at 65504."""
    return np.result_type(dtype, np.float32)


def _widened(inputs: Inputs) -> Inputs:
    return inputs.map(lambda array: array.astype(_wide(array.dtype), copy=False))


def _rounded(gradients: Gradients, dtype: np.dtype[np.floating]) -> Gradients:
    """Gradients that leave the layer in its dtype; those at mean and var stay inside, and as wide as they are."""
    beta, gamma, x = (gradient.astype(dtype, copy=False) for gradient in (gradients.beta, gradients.gamma, gradients.x))
    return Gradients(beta, gamma, gradients.mean, gradients.var, x)


REFERENCE = Implementation("reference", batchnorm.out_of, _by_routes)
CLOSED_FORM = Implementation("closed-form", batchnorm.out_of, _in_closed_form)

BUILT_IN = {implementation.name: implementation for implementation in (REFERENCE, CLOSED_FORM)}


def find(name: str) -> Implementation:
    """The implementation of ours with that name. Raises KeyError where there is none."""
    return BUILT_IN[name]
