"""An optimizer to hand over to a layer that asks for one: it takes the gradient off the parameter, and records it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bncheck.calling.vocabulary import LEARNING_RATE

_Taken = list[tuple[Any, Any]]


class Optimizer:
    """An optimizer with whatever method it is asked for.

    Called with a parameter and its gradient, in this order, each of them returns the parameter less the gradient, and
    writes into neither; called with one array it returns that, and with none the optimizer itself. Arrays may stand in
    lists and dicts, and names or numbers beside them. Its copies share what it records.
    """

    learning_rate = lr = alpha = eta = LEARNING_RATE

    def __init__(self, taken: _Taken | None = None) -> None:
        self._taken: _Taken = [] if taken is None else taken

    def recorded(self, parameter: Any) -> Any:
        """The last gradient that came with just this object, which then was not replaced; None where none did."""
        if not isinstance(parameter, np.ndarray):
            return None
        return next((gradient for taken, gradient in reversed(self._taken) if taken is parameter), None)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """The parameter less the gradient; what there is of one array or none."""
        arrays = [value for value in (*arguments, *named.values()) if _holds_numbers(value)]
        if len(arrays) < 2:
            return arrays[0] if arrays else self
        return self._stepped(arrays[0], arrays[1])

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Any method there is, but for those that Python itself looks for."""
        if name.startswith("_"):
            raise AttributeError(name)
        return self

    def __copy__(self) -> Optimizer:
        """One that records in the same place."""
        return Optimizer(self._taken)

    def __deepcopy__(self, memo: object) -> Optimizer:
        """One that records in the same place."""
        return Optimizer(self._taken)

    def _stepped(self, parameter: Any, gradient: Any) -> Any:
        if isinstance(parameter, Mapping) and isinstance(gradient, Mapping):
            return {key: self._stepped(parameter[key], gradient[key]) for key in parameter if key in gradient}
        if isinstance(parameter, list | tuple) and isinstance(gradient, list | tuple):
            return [self._stepped(*pair) for pair in zip(parameter, gradient, strict=False)]
        self._taken.append((parameter, gradient))
        return np.asarray(parameter) - np.asarray(gradient)


def _holds_numbers(value: Any) -> bool:
    """Whether it is an array, or a list or a dict of some; a plain number may be a learning rate."""
    if isinstance(value, Mapping):
        return any(map(_holds_numbers, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_holds_numbers, value))
    return isinstance(value, np.ndarray | np.floating)
