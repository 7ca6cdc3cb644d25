"""Cases: checks, fully specified, with the convention by which somebody's code is called, and the verdicts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

EPS = 1.3e-5
"""The eps that is asked for where nobody says another: one that nobody writes, lest a constant in their code pass."""


class Verdict(StrEnum):
    """Verdict on one node, or on one case."""

    PASS = "pass"
    FAIL = "fail"
    UNRESOLVED = "unresolved"
    ERROR = "error"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Convention:
    """Patterns that say how to build, call and read an implementation; `calling/pattern.py` has their language.

    `create` gives `self`, and is empty for functions; `build` is a call made on it before anything else, for layers
    that make their parameters late, such as self.forward(x). `set` and `gradients` are pairs of a parameter ("gamma",
    "beta") and the place where it is put, or its gradient found; `calling/vocabulary.py` has the names that may be set,
    and "x" may be among the gradients where backward does not return it. `layout`, a name of ARRANGEMENTS, is how x,
    out, dout and dx stand in its hands, `axes` how many axes they may have (empty: any that the layout allows),
    `parameters`, a name of SHAPES_OF_GAMMA, the shape of gamma, beta and their gradients. Of a convention that was
    found by trying, `remarks` say what is unusual about it, and with `by_order` nothing but their order tells dgamma
    from dbeta. `arrays` is the kind of arrays that it works on, by a name that `calling/arrays.py` knows, and `device`
    where these have to be; "auto" where that is to be found out. Formulas as they are typed are called by no patterns:
    `statements` has their text, and `statistics` the shape of the mean, variance and the like that they are given,
    empty where it is that of gamma.
    """

    forward: str
    backward: str
    create: str = ""
    build: str = ""
    set: tuple[tuple[str, str], ...] = ()
    gradients: tuple[tuple[str, str], ...] = ()
    layout: str = "as given"
    parameters: str = "(d,)"
    axes: tuple[int, ...] = ()
    arrays: str = "auto"
    device: str = "auto"
    remarks: tuple[str, ...] = ()
    by_order: bool = False
    statements: str = ""
    statistics: str = ""


class Arrangement(NamedTuple):
    """A layout of x: where the channels stand among its axes.

    `channel_axis` is that axis, given where the channels stand in the case and how many other axes there are. `axes`
    says how many axes x may have; empty for any number.
    """

    name: str
    channel_axis: Callable[[int, int], int]
    axes: tuple[int, ...] = ()


class ShapeOfGamma(NamedTuple):
    """A shape of gamma and beta, given the number of features and of axes that x has."""

    name: str
    shape: Callable[[int, int], tuple[int, ...]]


ARRANGEMENTS = (
    Arrangement("as given", lambda given, others: given),
    Arrangement("(n, d)", lambda given, others: others, axes=(2,)),
    Arrangement("(d, n)", lambda given, others: 0, axes=(2,)),
    Arrangement("channels first", lambda given, others: 1),
    Arrangement("channels last", lambda given, others: others),
)
"""Every layout, one row each."""

SHAPES_OF_GAMMA = (
    ShapeOfGamma("(d,)", lambda d, axes: (d,)),
    ShapeOfGamma("(1, d)", lambda d, axes: (1, d)),
    ShapeOfGamma("(d, 1)", lambda d, axes: (d, 1)),
    ShapeOfGamma("(d, 1, 1)", lambda d, axes: (d, *[1] * (axes - 2))),
    ShapeOfGamma("(1, d, 1, 1)", lambda d, axes: (1, d, *[1] * (axes - 2))),
    ShapeOfGamma("(1, 1, 1, d)", lambda d, axes: (*[1] * (axes - 1), d)),
    ShapeOfGamma("()", lambda d, axes: ()),
    ShapeOfGamma("(1,)", lambda d, axes: (1,)),
)
"""Every shape of gamma and beta, one row each. Those of three or four have as many axes as x has."""

LAYOUTS = tuple(row.name for row in ARRANGEMENTS)
PARAMETERS = tuple(row.name for row in SHAPES_OF_GAMMA)

ONE_BY_ONE = tuple(row.name for row in SHAPES_OF_GAMMA if math.prod(row.shape(2, 2)) == 1)
"""Shapes with one number for all features: of a layer that takes its features one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class XDraw:
    """Distribution of the input x, or the file that it is read from; `problem.draw` documents each distribution.

    `mean` and `std` are in the units of x, and are multiplied into a draw whose features differ among
    themselves in mean and in spread. `size`, in units of `std`, is read by `like: outlier` alone.
    `file` is the absolute path of a recorded batch; nothing else but `finite` is then read: True where every number in
    the file must be finite, while False skips a case that has others.
    """

    like: str = "normal"
    mean: float = 0.0
    std: float = 1.0
    size: float = 1e6
    file: str = ""
    finite: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Origin of somebody's implementation: the file or module, and how it is called.

    `place` is a path or a dotted module, with `:name` for one of several in it. `root` is the folder that its imports
    start from, found from the file where it is empty. `stub` names modules to stand in for. `convention` is what
    the user wrote; None where it is to be recognised. `broken` says how looking at it ended, where it crashed or hung,
    `notes` what was made up for when the file was imported.
    """

    place: str
    root: str = ""
    stub: tuple[str, ...] = ()
    convention: Convention | None = None
    broken: str = ""
    notes: tuple[str, ...] = ()


BYTES_AN_ELEMENT = 100
"""Bytes that a check takes at most for each element of x, with all the arrays that stand beside each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Check as specified. It determines every number: the bits of two runs of a case are the same.

    `shape` is that of x, with the channels on `channel_axis` (negative counts from the end).
    `dout`, `gamma` and `beta` are the names of draws, or "file" where they stand in the file of x.
    `eps` is what is added to the variance. `rtol` is a relative tolerance, or None for the one that
    the data and the dtype give. `blind` is "fail" where a case that could not show every known fault shall not pass.
    `forward` is "any" where every variant of batch normalisation will do, or "standard". `device` is where tensors are
    put; "auto" is the CPU where the code under check takes that.
    `label` tells this case from its siblings in the same file. `asked` are the keys of a config that were given for it
    in so many words, sorted, with `shapes` but for a shape that nobody asked for. Where `dtype` is not among them, code
    that works in a narrower dtype alone is judged in that.

    `origin` is None for an implementation of ours; `member` is then empty, and else the name of what is checked in
    the file. `timeout`, in seconds, and `memory`, in bytes, are what the code under check may take for this case.
    """

    shape: tuple[int, ...]
    seed: int = 0
    name: str = ""
    label: str = ""
    source: str = ""
    asked: tuple[str, ...] = ("shapes",)
    implementation: str = "reference"
    mode: str = "train"
    eps: float = EPS
    dtype: str = "float64"
    channel_axis: int = 1
    x: XDraw = field(default_factory=XDraw)
    dout: str = "normal"
    gamma: str = "normal"
    beta: str = "normal"
    rtol: float | None = None
    unresolved: str = "fail"
    blind: str = "allow"
    forward: str = "any"
    device: str = "auto"
    origin: Origin | None = None
    member: str = ""
    timeout: float = 60.0
    memory: int = 4_000_000_000

    @property
    def is_large(self) -> bool:
        """Whether a check of ours may need more than `memory`, so that a worker is to make it, which has that limit."""
        return math.prod(self.shape) * BYTES_AN_ELEMENT > self.memory

    @property
    def d(self) -> int:
        """Features: the length of the channel axis."""
        return self.shape[self.channel_axis]

    @property
    def samples(self) -> int:
        """N: images, or rows where each is a sample by itself; the first axis that is not that of the channels."""
        return self.shape[1 if self.channel_axis % len(self.shape) == 0 else 0]

    @property
    def n(self) -> int:
        """Rows: everything that is averaged over."""
        return math.prod(self.shape) // self.d
