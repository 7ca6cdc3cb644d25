"""One check, fully specified: nothing about it is left to chance or to a default elsewhere."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class XDraw:
    """How the input x is drawn; `problem.draw` documents each distribution.

    `mean` and `std` are in the units of x, and are multiplied into a draw whose features differ among
    themselves in mean and in spread. `size`, in units of `std`, is read by `like: outlier` alone.
    """

    like: str = "normal"
    mean: float = 0.0
    std: float = 1.0
    size: float = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One check as specified. It determines every number: same case, same bits.

    `shape` is that of x, with the channels on `channel_axis` (negative counts from the end).
    `eps` is what is added to the variance. `rtol` is a relative tolerance, or None for the one that
    `comparison.tolerance` derives. `label` tells this case from its siblings in the same file.
    """

    shape: tuple[int, ...]
    seed: int = 0
    name: str = ""
    label: str = ""
    source: str = ""
    implementation: str = "reference"
    mode: str = "train"
    eps: float = 1e-5
    dtype: str = "float64"
    channel_axis: int = 1
    x: XDraw = field(default_factory=XDraw)
    dout: str = "normal"
    gamma: str = "normal"
    beta: str = "normal"
    rtol: float | None = None
    unresolved: str = "fail"

    @property
    def d(self) -> int:
        """Features: the length of the channel axis."""
        return self.shape[self.channel_axis]

    @property
    def n(self) -> int:
        """Rows: everything that is averaged over."""
        return math.prod(self.shape) // self.d
