"""The keys of a config: type, range, meaning and default of each, from which everything else about them follows.

What a value may be, the sentence that says so, and the JSON Schema that editors read are all made of these types.
"""

# Without `from __future__ import annotations`: the annotations are the definition, and are read below.

import sys
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import UNSET, Meta, UnsetType

from bncheck.case import Case
from bncheck.config import words

DEFAULT = Case(shape=(2, 2))
"""Where the defaults come from; there is none for the shape."""

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

_NOTES = ("description", "default")
_MAX = sys.float_info.max
# Line breaks, other control characters, and those that reorder or hide what stands around them.
_ONE_LINE = r"^[^\x00-\x1f\x7f-\xa0\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff]+$(?!\n)"

Finite = Annotated[float, Meta(ge=-_MAX, le=_MAX)]
Positive = Annotated[float, Meta(gt=0, le=_MAX)]
Size = Annotated[int, Meta(ge=1, le=ELEMENTS)]
Seed = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Draw(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How x is drawn; every feature has its own mean and spread around these."""

    like: Annotated[
        Literal["normal", "outlier", "constant"],
        Meta(description="normal; normal with one element far off; or the same value in every row of a feature"),
    ] = _DEFAULT.x.like
    mean: Annotated[Finite, Meta(description="mean of x, in the units of x")] = _DEFAULT.x.mean
    std: Annotated[Positive, Meta(description="standard deviation of x, in the units of x")] = _DEFAULT.x.std
    size: Annotated[Positive, Meta(description="how far off the outlier is, in units of std; for like: outlier")] = (
        _DEFAULT.x.size
    )


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
    implementation: Annotated[Literal["reference", "closed-form"], Meta(description="the code under check")] = (
        _DEFAULT.implementation
    )
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
        Literal["fail", "allow"],
        Meta(description="whether a check that the numeric gradient cannot decide fails the run"),
    ] = _DEFAULT.unresolved
    seed: Annotated[Seed, Meta(description="seed of the draw; several run one after another")] = _DEFAULT.seed
    seeds: (
        Annotated[int, Meta(ge=1, le=PROBLEMS, description="how many seeds, counted from 0; or a list of seeds")]
        | UnsetType
    ) = UNSET


class Unfit(Exception):  # noqa: N818 - a verdict on a value, which the caller turns into a mistake
    """The value is not one that the key takes."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key: what its single value may be."""

    name: str
    type: Any

    def value_of(self, value: object) -> Any:
        """The value as the type has it: a whole number where a float is wanted becomes one. Raises Unfit."""
        try:
            return msgspec.convert(value, self.type, strict=True)
        except msgspec.ValidationError as error:
            raise Unfit from error

    @property
    def expected(self) -> str:
        """What a value may be, in words."""
        return _in_words(self.type)

    @property
    def lengths(self) -> tuple[int, int]:
        """The fewest and the most items of a list."""
        _, limits = _bare(self.type)
        return limits["min_length"], limits["max_length"]

    @property
    def choices(self) -> tuple[str, ...]:
        """The words of a closed set; none where the value is no word."""
        base, _ = _bare(self.type)
        options = get_args(base) if get_origin(base) is not Literal else (base,)
        return tuple(word for option in options if get_origin(option) is Literal for word in get_args(option))

    @property
    def is_text(self) -> bool:
        """Any text may be written here."""
        return _bare(self.type)[0] is str

    @property
    def is_number(self) -> bool:
        """A number may be written here."""
        base, _ = _bare(self.type)
        return any(_bare(option)[0] in (int, float) for option in (base, *get_args(base)))


def _keys(struct: type[msgspec.Struct], prefix: str = "") -> dict[str, Key]:
    return {name: Key(prefix + name, hint) for name, hint in get_type_hints(struct, include_extras=True).items()}


KEYS = _keys(Keys)
"""The keys of a config, in the order in which a matrix is run; `x` is a mapping, whose keys are DRAW."""

DRAW = _keys(Draw, "x.")
"""The keys of x."""

SIZE = Key("shape", Size)
"""One size of a shape."""


def _bare(hint: Any) -> tuple[Any, dict[str, Any]]:
    """A type without its limits, and the limits."""
    if get_origin(hint) is not Annotated:
        options = [option for option in get_args(hint) if option is not UnsetType]
        return _bare(options[0]) if UnsetType in get_args(hint) else (hint, {})
    limits: dict[str, Any] = {}
    for meta in hint.__metadata__:
        for limit in ("gt", "ge", "lt", "le", "min_length", "max_length"):
            value = getattr(meta, limit)
            limits |= {limit: value} if value is not None else {}
    return hint.__origin__, limits


@cache
def _in_words(hint: Any) -> str:
    base, limits = _bare(hint)
    if get_origin(base) is Literal:
        return words.listed(get_args(base))
    if base is str:
        return f"text of 1 to {limits['max_length']} printable characters"
    if get_origin(base) is list:
        return "a shape such as [32, 64] or 32x64"
    if base not in (int, float):
        return ", or ".join(_in_words(option) for option in get_args(base))
    if base is int:
        return f"a whole number from {limits['ge']} to {limits['le']}"
    signs = {"gt": ">", "ge": ">=", "lt": "<"}
    parts = [f"{sign} {limits[limit]}" for limit, sign in signs.items() if limits.get(limit, -_MAX) != -_MAX]
    noun = "a finite number" if limits.get("le") == _MAX else "a number"
    return f"{noun} {' and '.join(parts)}".rstrip()


@cache
def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a config, for editors.

    It says what can be said of the keys one by one. What depends on several of them (n = 1 in train mode, `size`
    without `like: outlier`, more problems than are allowed) only reading the config finds.
    """
    found = msgspec.json.schema_components([Keys, Draw], ref_template="#/$defs/{name}")[1]
    draw, keys = found["Draw"], found["Keys"]["properties"]
    draw["properties"] = {name: _matrix(schema, schema) for name, schema in draw["properties"].items()}
    as_text = {"type": "string", "pattern": f"^{SHAPE_TEXT}$"}
    shapes = _matrix({"anyOf": [_unannotated(keys["shape"]), as_text]}, keys["shape"])
    draws = {"anyOf": [{"$ref": "#/$defs/Draw"}, {"enum": list(DRAW["like"].choices)}]}
    several = _matrix(keys["seed"], {})["anyOf"][1]
    count = {"description": keys["seeds"]["description"], "anyOf": [_unannotated(keys["seeds"]), several]}
    special = {
        "name": {key: value for key, value in keys["name"].items() if key != "default"},
        "shape": shapes,
        "shapes": shapes,
        "x": _matrix(draws, {"description": draw["description"], "default": {}}),
        "seeds": count,
    }
    return _assembled(draw, {name: special.get(name) or _matrix(keys[name], keys[name]) for name in (*keys, "shapes")})


def _assembled(draw: dict[str, Any], properties: dict[str, Any]) -> dict[str, Any]:
    shaped = [{"required": [spelling]} for spelling in ("shape", "shapes")]
    once = [{"not": {"required": [singular, plural]}} for singular, plural in PLURALS.items()]
    entry = {"type": "object", "properties": properties, "additionalProperties": False, "allOf": once}
    all_shaped = {"required": ["cases"], "properties": {"cases": {"items": {"anyOf": shaped}}}}
    cases = {
        "description": "checks, each of which inherits the other keys from the top",
        "type": "array",
        "minItems": 1,
        "items": {"$ref": "#/$defs/Case"},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "bncheck config",
        "description": "The checks of a batch normalisation that bncheck runs. A list where one value is expected is "
        "a matrix: the product of all lists is run.",
        "type": "object",
        "properties": {**{name: {"$ref": f"#/$defs/Case/properties/{name}"} for name in properties}, "cases": cases},
        "additionalProperties": False,
        "allOf": [*once, {"anyOf": [*shaped, all_shaped]}],
        "$defs": {"Case": {"title": "Case", **entry}, "Draw": draw},
    }


def _matrix(one: dict[str, Any], notes: dict[str, Any]) -> dict[str, Any]:
    """One value or a list of them, with the description and the default of the key."""
    one = _unannotated(one)
    several = {"type": "array", "items": one, "minItems": 1, "uniqueItems": True}
    return {**{note: notes[note] for note in _NOTES if note in notes}, "anyOf": [one, several]}


def _unannotated(schema: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name not in _NOTES}
