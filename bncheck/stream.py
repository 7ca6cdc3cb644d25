"""Random numbers that are the same bits on every machine and with every NumPy.

NumPy keeps the right to change its generators' streams (NEP 19), its normal numbers go through the platform's log and
exp, and importing numpy.random takes a fifth as long as importing NumPy. What is drawn here is integer arithmetic.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bncheck.batchnorm import FloatArray

_GAMMA = 0x9E3779B97F4A7C15
_WORD = 2**64
_ROUNDS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_FIELDS = 0x3FF | 0x3FF << 20 | 0x3FF << 40
"""Three fields of ten bits, each with ten more to grow into."""
_MIDDLE = 12 * (2**10 - 1) / 2 + 1 / 2
"""The mean of twelve such fields, and of a number between 0 and 1."""


class Stream:
    """SplitMix64: the n-th number is a hash of the start plus n times an odd constant.

    Source: Steele, Lea & Flood (2014), *Fast splittable pseudorandom number generators*, figure 12.
    """

    def __init__(self, seed: int, number: int) -> None:
        """The stream with that number among those of a seed; streams with other numbers have nothing in common."""
        state = (seed * _GAMMA + number) % _WORD
        for shift, factor in _ROUNDS:
            state = (state ^ state >> shift) * factor % _WORD
        self._state = state ^ state >> 31

    def random(self, *shape: int) -> FloatArray:
        """Uniform in [0, 1), to 53 bits."""
        drawn: FloatArray = (self._words(math.prod(shape)) >> np.uint64(11)).reshape(shape) * 2.0**-53
        return drawn

    def uniform(self, low: float, high: float, *shape: int) -> FloatArray:
        """Uniform in [low, high)."""
        drawn: FloatArray = low + (high - low) * self.random(*shape)
        return drawn

    def integers(self, below: int, *shape: int) -> NDArray[np.intp]:
        """Whole numbers from 0 to below - 1."""
        return ((self._words(math.prod(shape)) >> np.uint64(11)) % np.uint64(below)).reshape(shape).astype(np.intp)

    def normal(self, *shape: int) -> FloatArray:
        """The sum of twelve uniform numbers, less six: mean 0, variance 1, and normal but for the tails beyond 4.

        Of ten bits each, six to a word, and a thirteenth to fill the gaps. No logarithm, no rejection.
        """
        count = math.prod(shape)
        first, second, last = self._words(3 * count).reshape(3, count)
        mask = np.uint64(_FIELDS)
        sums = (first & mask) + ((first >> np.uint64(10)) & mask)
        sums += second & mask
        sums += (second >> np.uint64(10)) & mask
        total = (sums & np.uint64(0xFFFFF)) + ((sums >> np.uint64(20)) & np.uint64(0xFFFFF)) + (sums >> np.uint64(40))
        fine = (last >> np.uint64(11)) * 2.0**-53
        drawn: FloatArray = ((total + fine - _MIDDLE) * 2.0**-10).reshape(shape)
        return drawn

    def _words(self, count: int) -> NDArray[np.uint64]:
        """The next 64-bit words."""
        steps = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_GAMMA)
        words = _mixed(steps + np.uint64(self._state))
        self._state = (self._state + count * _GAMMA) % _WORD
        return words


def _mixed(words: NDArray[np.uint64]) -> NDArray[Any]:
    """Each word hashed, in place."""
    for shift, factor in _ROUNDS:
        words ^= words >> np.uint64(shift)
        words *= np.uint64(factor)
    words ^= words >> np.uint64(31)
    return words
