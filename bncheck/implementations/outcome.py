"""What became of a call of other people's code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one call.

    `failure` is a sentence that says why there is no value, and is empty where there is one; `kind` is then one of
    raised, timeout, crashed, memory. `output` is what was printed meanwhile, its middle left out where it is long.
    """

    value: object | None = None
    failure: str = ""
    kind: str = ""
    output: str = ""
