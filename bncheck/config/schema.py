"""Keys of a config: type, range, meaning and default of each.

The check of a value, the sentence that says what it may be, and the JSON Schema of editors are all made of these types.
"""

# Without `from __future__ import annotations`: the annotations are the definition, and are read below.

import re
import sys
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import msgspec
from msgspec import UNSET, Meta, UnsetType

from bncheck.calling.vocabulary import SETTABLE
from bncheck.case import LAYOUTS, PARAMETERS, Case, Convention
from bncheck.config import mistake

DEFAULT = Case(shape=(2, 2))
"""A case that has nothing but defaults, and a shape, which has none."""

# The types below are narrower than the fields of a Case, and a test shows that the defaults fit them.
_DEFAULT: Any = DEFAULT

PROBLEMS = 1_000_000
"""Problems in one file, and seeds that a count may ask for."""

ELEMENTS = 100_000_000
"""Elements of one x: 0.8 GB, and a check needs several arrays of that size."""

PLURALS = {"shape": "shapes", "seed": "seeds"}
"""Keys that may be written either way."""

SHAPE_TEXT = "[1-9][0-9]{0,8}(x[1-9][0-9]{0,8}){1,4}"
"""A shape written as text: 32x64."""

BUILT_IN = ("reference", "closed-form")
"""Implementations of ours, which are named without a file."""

_MAX = sys.float_info.max
# Line breaks, other control characters, and those that reorder or hide what stands around them.
_ONE_LINE = r"^[^\x00-\x1f\x7f-\xa0\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff]+$(?!\n)"

Finite = Annotated[float, Meta(ge=-_MAX, le=_MAX)]
Positive = Annotated[float, Meta(gt=0, le=_MAX)]
Size = Annotated[int, Meta(ge=1, le=ELEMENTS)]
Seed = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Name = Annotated[str, Meta(pattern=_ONE_LINE, min_length=1, max_length=1000)]
Module = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$(?!\n)", max_length=1000)]
Pattern = Annotated[str, Meta(min_length=1)]
Row = Literal["x", "gamma", "beta", "mean", "var"]
if TYPE_CHECKING:  # a type checker cannot read words out of a table
    Settable = str
    LayoutWord = str
    ParametersWord = str
else:
    Settable, LayoutWord, ParametersWord = Literal[SETTABLE], Literal[LAYOUTS], Literal[PARAMETERS]
_MEMORY = r"^([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([kKmMgGtT])([iI]?)[bB]$(?!\n)"
_PLACE = "a file such as layers.py or a module such as package.module"


def _is(description: str, expected: str) -> Meta:
    """Description of a key, with the words for what its value may be where the type does not say it."""
    return Meta(description=description, extra={"expected": expected})


class Draw(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The draw of x, whose features have each their own mean and spread around these; or the file it is read from."""

    like: Annotated[
        Literal["normal", "outlier", "constant"],
        Meta(description="normal; normal with one element far off; or the same value in every row of a feature"),
    ] = _DEFAULT.x.like
    mean: Annotated[Finite, Meta(description="mean of x, in the units of x")] = _DEFAULT.x.mean
    std: Annotated[Positive, Meta(description="standard deviation of x, in the units of x")] = _DEFAULT.x.std
    size: Annotated[Positive, Meta(description="how far off the outlier is, in units of std; for like: outlier")] = (
        _DEFAULT.x.size
    )
    file: Annotated[Name, _is("the .npy or .npz file that x is read from", "a file such as batch.npy")] | UnsetType = (
        UNSET
    )
    finite: Annotated[
        bool, Meta(description="whether every number in the file must be finite; a case that has others is skipped")
    ] = _DEFAULT.x.finite


class Code(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Where an implementation is, a file or a module, and how it is called."""

    file: Annotated[Name, _is("the file, with :name for one of several in it", _PLACE)]
    module: Annotated[Name, _is("the module, with :name for one of several in it", _PLACE)]
    root: Annotated[Name, _is("the folder that its imports start from; found if not given", "a folder such as src")]
    stub: Annotated[Module, _is("modules that it imports, and that others stand in for", "a module such as cv2")]
    create: Annotated[Pattern, _is("what gives self; not for functions", "a call such as BatchNorm(d, eps=eps)")]
    build: Annotated[Pattern, _is("a call of self before anything is set", "a call such as self.forward(x)")]
    set: Annotated[
        dict[Settable, Annotated[Pattern, _is("one place, or a list of them", "a place such as self.gamma")]],
        _is("where gamma, beta and others are put", "a mapping such as {gamma: self.gamma, beta: self.beta}"),
    ]
    forward: Annotated[Pattern, _is("how forward is called", "a pattern such as self.forward(x) -> out")]
    backward: Annotated[Pattern, _is("how backward is called", "a pattern such as self.backward(dout) -> dx")]
    gradients: Annotated[
        dict[Row, Annotated[Pattern, _is("its place", "a place such as self.dgamma")]],
        _is("where gradients are left", "a mapping such as {gamma: self.dgamma, beta: self.dbeta}"),
    ]
    layout: Annotated[LayoutWord, Meta(description="how x stands in its hands")]
    parameters: Annotated[
        ParametersWord, Meta(description="shape of gamma and beta; () and (1,) are for a layer with one gamma for all")
    ]
    axes: Annotated[int, Meta(ge=2, le=5, description="how many axes x may have; several in a list")]


class Keys(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The keys at the top of a config and in each entry of `cases:`, in the order in which a matrix is run."""

    name: Annotated[
        str, Meta(pattern=_ONE_LINE, min_length=1, max_length=100, description="what the check is called in the report")
    ] = _DEFAULT.name
    shape: Annotated[
        list[Size],
        Meta(
            min_length=2,
            max_length=5,
            description="shape of x: (N, D), (N, C, L), (N, C, H, W) or (N, C, D, H, W); several run one after another",
        ),
    ]
    implementation: Annotated[
        Name | Code,
        _is("the code under check: ours, or a file or a module of yours", f"{', '.join(BUILT_IN)}, {_PLACE}"),
    ] = _DEFAULT.implementation
    mode: Annotated[
        Literal["train", "eval"], Meta(description="normalise by the statistics of the batch, or by running ones")
    ] = _DEFAULT.mode
    eps: Annotated[float, Meta(ge=0, le=_MAX), Meta(description="what is added to the variance")] = _DEFAULT.eps
    dtype: Annotated[
        Literal["float64", "float32", "float16"], Meta(description="precision that the implementation is run in")
    ] = _DEFAULT.dtype
    channel_axis: Annotated[
        int, Meta(ge=-4, le=4), Meta(description="axis of the channels: 1, or -1 for channels last")
    ] = _DEFAULT.channel_axis
    x: Draw = msgspec.field(default_factory=Draw)
    dout: Annotated[Literal["normal", "ones", "one-hot", "zeros"], Meta(description="upstream gradient")] = (
        _DEFAULT.dout
    )
    gamma: Annotated[Literal["normal", "ones", "zeros"], Meta(description="scale")] = _DEFAULT.gamma
    beta: Annotated[Literal["normal", "zeros", "ones"], Meta(description="shift")] = _DEFAULT.beta
    rtol: Annotated[
        Literal["auto"] | Annotated[float, Meta(gt=0, lt=1)],
        Meta(description="largest relative error that passes; auto derives it from the data and the dtype"),
    ] = "auto"
    unresolved: Annotated[
        Literal["fail", "allow"], Meta(description="whether a case that the numeric gradient cannot decide fails")
    ] = _DEFAULT.unresolved
    blind: Annotated[
        Literal["allow", "fail"], Meta(description="whether a case that could not show every known fault fails")
    ] = _DEFAULT.blind
    forward: Annotated[
        Literal["any", "standard"],
        Meta(description="whether variants of batch normalisation, such as the unbiased variance, will do"),
    ] = _DEFAULT.forward
    timeout: Annotated[
        float, Meta(gt=0, le=86400, description="seconds that the code under check may take for one case")
    ] = _DEFAULT.timeout
    memory: Annotated[
        Annotated[int, Meta(ge=64_000_000, le=10**15)] | Annotated[str, Meta(pattern=_MEMORY)],
        _is(
            "bytes that the code under check may take, as a number or as text such as 500 MB or 2 GiB",
            "a number of bytes such as 500 MB or 2 GiB, from 64 MB to 1000 TB",
        ),
    ] = _DEFAULT.memory
    seed: Annotated[Seed, Meta(description="seed of the draw; several run one after another")] = _DEFAULT.seed
    seeds: (
        Annotated[int, Meta(ge=1, le=PROBLEMS, description="how many seeds, counted from 0; or a list of seeds")]
        | UnsetType
    ) = UNSET


class Unfit(Exception):  # noqa: N818 - a verdict on a value, which the caller turns into a mistake
    """The value is not one that the key takes."""


class Key(NamedTuple):
    """One key: what its single value may be."""

    name: str
    type: Any

    def value_of(self, value: object) -> Any:
        """Convert a value to the type: a whole number where a float is wanted becomes one. Raises Unfit."""
        try:
            found = msgspec.convert(value, self.type, strict=True)
        except msgspec.ValidationError as error:
            raise Unfit from error
        return self.value_of(_bytes(found)) if self.name == "memory" and isinstance(found, str) else found

    @property
    def expected(self) -> str:
        """Words for what a value may be."""
        return _in_words(self.type)

    @property
    def names(self) -> dict[str, "Key"]:
        """Keys that a mapping may have."""
        names, hint = get_args(_bare(self.type)[0])
        words = get_args(names)
        return {name: Key(f"{self.name}.{name}", hint) for name in words}

    @property
    def lengths(self) -> tuple[int, int]:
        """Fewest and most items of a list."""
        _, limits = _bare(self.type)
        return limits["min_length"], limits["max_length"]

    @property
    def choices(self) -> tuple[str, ...]:
        """Words of a closed set; none where the value is no word."""
        base, _ = _bare(self.type)
        options = {Literal: (base,), dict: ()}.get(get_origin(base), get_args(base))
        return tuple(word for option in options if get_origin(option) is Literal for word in get_args(option))

    @property
    def is_text(self) -> bool:
        """Whether any text may be written here."""
        return _bare(self.type)[0] is str

    @property
    def is_number(self) -> bool:
        """Whether a number may be written here."""
        base, _ = _bare(self.type)
        return any(_bare(option)[0] in (int, float) for option in (base, *get_args(base)))


def _keys(struct: type[msgspec.Struct], prefix: str = "") -> dict[str, Key]:
    """Keys of a type, by their names; messages name them with the prefix."""
    return {name: Key(prefix + name, hint) for name, hint in get_type_hints(struct, include_extras=True).items()}


KEYS = _keys(Keys)
"""The keys of a config, in the order in which a matrix is run; `x` is a mapping, whose keys are DRAW."""

DRAW = _keys(Draw, "x.")
"""The keys of x."""

RECORDED = ("file", "finite")
"""The keys of an x that is read from a file; the others are those of a draw."""

CODE = _keys(Code, "implementation.")
"""The keys of an implementation."""

CALLED = tuple(name for name in CODE if name in {field.name for field in fields(Convention)})
"""Keys of an implementation that say how it is called; without them that is found out."""

SIZE = Key("shape", Size)
"""One size of a shape."""


def _bare(hint: Any) -> tuple[Any, dict[str, Any]]:
    """Take a type apart: the type without its limits, and the limits."""
    if get_origin(hint) is not Annotated:
        options = [option for option in get_args(hint) if option is not UnsetType]
        return _bare(options[0]) if UnsetType in get_args(hint) else (hint, {})
    limits: dict[str, Any] = {}
    for meta in hint.__metadata__:
        for limit in ("gt", "ge", "lt", "le", "min_length", "max_length"):
            value = getattr(meta, limit)
            limits |= {limit: value} if value is not None else {}
        limits |= meta.extra or {}
    return hint.__origin__, limits


def _bytes(text: str) -> int:
    """Read 2 GiB or 500 MB as a whole number."""
    number, unit, binary = re.findall(_MEMORY, text)[0]
    base = 1024 if binary else 1000
    return round(float(number) * float(base ** " kmgt".index(unit.lower())))


@cache
def _in_words(hint: Any) -> str:
    """Say what a value of the type may be."""
    base, limits = _bare(hint)
    if "expected" in limits:
        return str(limits["expected"])
    if get_origin(base) is Literal:
        return mistake.listed(get_args(base))
    if base is bool:
        return "true or false"
    if base is str:
        return f"text of 1 to {limits['max_length']} printable characters"
    if get_origin(base) is list:
        return "a shape such as [32, 64] or 32x64"
    if base not in (int, float):
        return ", or ".join(_in_words(option) for option in get_args(base))
    if base is int:
        return f"a whole number from {limits['ge']} to {limits['le']}"
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    parts = [f"{sign} {limits[limit]}" for limit, sign in signs.items() if abs(limits.get(limit, _MAX)) != _MAX]
    noun = "a finite number" if limits.get("le") == _MAX else "a number"
    return f"{noun} {' and '.join(parts)}".rstrip()
