"""Keys of a config: type, range, meaning and default of each, one row each.

The check of a value, the sentence that says what it may be, and the JSON Schema of editors are all made of these rows.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import fields
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import msgspec
from msgspec import Meta

from bncheck.calling.vocabulary import SETTABLE
from bncheck.case import LAYOUTS, PARAMETERS, Case, Convention
from bncheck.config.mistake import listed

DEFAULT = Case(shape=(2, 2))
"""A case that has nothing but defaults, and a shape, which has none."""

PROBLEMS = 1_000_000
"""Problems in one file, and seeds that a count may ask for."""

ELEMENTS = 100_000_000
"""Elements of one x: 0.8 GB, and a check needs several arrays of that size."""

AXES = (2, 5)
"""Fewest and most axes of x."""

PLURALS = {"shape": "shapes", "seed": "seeds"}
"""Keys that may be written either way."""

SINGULARS = {plural: singular for singular, plural in PLURALS.items()}
"""Names of keys by their plural spelling."""

SHAPE_TEXT = "[1-9][0-9]{0,8}(x[1-9][0-9]{0,8}){1,4}"
"""A shape written as text: 32x64."""

BUILT_IN = ("reference", "closed-form")
"""Implementations of ours, which are named without a file."""


class Key(NamedTuple):
    """One key: what its single value may be, in words too where the type does not say it.

    `names` are the keys of a mapping that may be given for it.
    """

    name: str
    type: Any
    description: str = ""
    words: str = ""
    names: Mapping[str, Key] = {}

    def value_of(self, value: object) -> Any:
        """Convert a value to the type: a whole number where a float is wanted becomes one; None if unfit."""
        try:
            found = msgspec.convert(value, self.type, strict=True)
        except msgspec.ValidationError:
            return None
        return self.value_of(_bytes(found)) if self.name == "memory" and isinstance(found, str) else found

    @property
    def expected(self) -> str:
        """Words for what a value may be."""
        return self.words or ", or ".join(_in_words(option, limits) for option, limits in _options(self.type))

    @property
    def choices(self) -> tuple[str, ...]:
        """Words of a closed set; none where the value is no word."""
        options = (option for option, _ in _options(self.type) if get_origin(option) is Literal)
        return tuple(word for option in options for word in get_args(option))

    @property
    def is_text(self) -> bool:
        """Whether any text may be written here, and nothing else."""
        return [option for option, _ in _options(self.type)] == [str] and not self.names

    @property
    def is_number(self) -> bool:
        """Whether a number may be written here."""
        return any(option in (int, float) for option, _ in _options(self.type))


# --- the rows ---------------------------------------------------------------------------------------------------------

_MAX = sys.float_info.max
# Line breaks, other control characters, and those that reorder or hide what stands around them.
_ONE_LINE = r"^[^\x00-\x1f\x7f-\xa0\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff]+$(?!\n)"
_IDENTIFIERS = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$(?!\n)"
_MEMORY = r"^([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([kKmMgGtT])([iI]?)[bB]$(?!\n)"
_PLACE = "a file such as layers.py or a module such as package.module"


def _number(**limits: float) -> Any:
    return Annotated[float, Meta(**limits)]  # type: ignore[call-overload]  # limits that go together


def _whole(least: int, most: int) -> Any:
    return Annotated[int, Meta(ge=least, le=most)]


def _line(longest: int) -> Any:
    return Annotated[str, Meta(pattern=_ONE_LINE, min_length=1, max_length=longest)]


Size = Annotated[int, Meta(ge=1, le=ELEMENTS)]
_NAME = _line(1000)
_PATTERN = Annotated[str, Meta(min_length=1)]


def _rows(prefix: str, *keys: Key) -> dict[str, Key]:
    """Keys by their names; messages name them with the prefix."""
    return {key.name: key._replace(name=prefix + key.name) for key in keys}


DRAW = _rows(
    "x.",
    Key(
        "like",
        Literal["normal", "outlier", "constant"],
        "normal; normal with one element far off; or the same value in every row of a feature",
    ),
    Key("mean", _number(ge=-_MAX, le=_MAX), "mean of x, in the units of x"),
    Key("std", _number(gt=0, le=_MAX), "standard deviation of x, in the units of x"),
    Key("size", _number(gt=0, le=_MAX), "how far off the outlier is, in units of std; for like: outlier"),
    Key("file", _NAME, "the .npy or .npz file that x is read from", "a file such as batch.npy"),
    Key("finite", bool, "whether every number in the file must be finite; a case that has others is skipped"),
)
"""The keys of x."""

RECORDED = ("file", "finite")
"""The keys of an x that is read from a file; the others are those of a draw."""

_SET = Key("", _PATTERN, "one place, or a list of them", "a place such as self.gamma")
_LEFT = Key("", _PATTERN, "its place", "a place such as self.dgamma")
_GRADIENTS = ("x", "gamma", "beta", "mean", "var")

CODE = _rows(
    "implementation.",
    Key("file", _NAME, "the file, with :name for one of several in it", _PLACE),
    Key("module", _NAME, "the module, with :name for one of several in it", _PLACE),
    Key("root", _NAME, "the folder that its imports start from; found if not given", "a folder such as src"),
    Key(
        "stub",
        Annotated[str, Meta(pattern=_IDENTIFIERS, max_length=1000)],
        "modules that it imports, and that others stand in for",
        "a module such as cv2",
    ),
    Key("create", _PATTERN, "what gives self; not for functions", "a call such as BatchNorm(d, eps=eps)"),
    Key("build", _PATTERN, "a call of self before anything is set", "a call such as self.forward(x)"),
    Key(
        "set",
        dict,
        "where gamma, beta and others are put",
        "a mapping such as {gamma: self.gamma, beta: self.beta}",
        _rows("implementation.set.", *(_SET._replace(name=name) for name in SETTABLE)),
    ),
    Key("forward", _PATTERN, "how forward is called", "a pattern such as self.forward(x) -> out"),
    Key("backward", _PATTERN, "how backward is called", "a pattern such as self.backward(dout) -> dx"),
    Key(
        "gradients",
        dict,
        "where gradients are left",
        "a mapping such as {gamma: self.dgamma, beta: self.dbeta}",
        _rows("implementation.gradients.", *(_LEFT._replace(name=name) for name in _GRADIENTS)),
    ),
    Key("layout", Literal[LAYOUTS], "how x stands in its hands"),
    Key(
        "parameters", Literal[PARAMETERS], "shape of gamma and beta; () and (1,) are for a layer with one gamma for all"
    ),
    Key("axes", _whole(*AXES), "how many axes x may have; several in a list"),
    Key(
        "arrays",
        Annotated[str, Meta(pattern=_IDENTIFIERS, max_length=1000)],
        "kind of arrays that it works on: numpy, torch, jax, a module with asarray, or a class of its own tensors",
        "a kind such as torch",
    ),
)
"""The keys of an implementation."""

KEYS = _rows(
    "",
    Key("name", _line(100), "what the check is called in the report"),
    Key(
        "shape",
        Annotated[list[Size], Meta(min_length=AXES[0], max_length=AXES[1])],
        "shape of x: (N, D), (N, C, L), (N, C, H, W) or (N, C, D, H, W); several run one after another",
        "a shape such as [32, 64] or 32x64",
    ),
    Key(
        "implementation",
        _NAME,
        "the code under check: ours, or a file or a module of yours",
        f"{', '.join(BUILT_IN)}, {_PLACE}",
        CODE,
    ),
    Key("mode", Literal["train", "eval"], "normalise by the statistics of the batch, or by running ones"),
    Key("eps", _number(ge=0, le=_MAX), "what is added to the variance"),
    Key(
        "dtype",
        Literal["float64", "float32", "float16", "bfloat16"],
        "precision that the implementation is run in; left out, that of code that works in a narrower one alone",
    ),
    Key("channel_axis", _whole(-4, 4), "axis of the channels: 1, or -1 for channels last"),
    Key(
        "x",
        dict,
        "The draw of x, whose features have each their own mean and spread around these; or the file it is read from.",
        names=DRAW,
    ),
    Key("dout", Literal["normal", "ones", "one-hot", "zeros", "strided"], "upstream gradient"),
    Key("gamma", Literal["normal", "ones", "zeros"], "scale"),
    Key("beta", Literal["normal", "zeros", "ones"], "shift"),
    Key(
        "rtol",
        Literal["auto"] | _number(gt=0, lt=1),
        "largest relative error that passes; auto derives it from the data and the dtype",
    ),
    Key("unresolved", Literal["fail", "allow"], "whether a case that the numeric gradient cannot decide fails"),
    Key("blind", Literal["allow", "fail"], "whether a case that could not show every known fault fails"),
    Key(
        "forward",
        Literal["any", "standard"],
        "whether variants of batch normalisation, such as the unbiased variance, will do",
    ),
    Key(
        "device",
        Literal["auto", "cpu", "cuda", "mps"],
        "where tensors are put; auto is the CPU where the code takes that",
    ),
    Key("timeout", _number(gt=0, le=86400), "seconds that the code under check may take for one case"),
    Key(
        "memory",
        _whole(64_000_000, 10**15) | Annotated[str, Meta(pattern=_MEMORY)],
        "bytes that the code under check may take, as a number or as text such as 500 MB or 2 GiB",
        "a number of bytes such as 500 MB or 2 GiB, from 64 MB to 1000 TB",
    ),
    Key("seed", _whole(0, 2**63 - 1), "seed of the draw; several run one after another"),
    Key("seeds", _whole(1, PROBLEMS), "how many seeds, counted from 0; or a list of seeds"),
)
"""The keys of a config, in the order in which a matrix is run; `x` is a mapping, whose keys are DRAW."""

CALLED = tuple(name for name in CODE if name in {field.name for field in fields(Convention)})
"""Keys of an implementation that say how it is called; without them that is found out."""

SIZE = Key("shape", Size)
"""One size of a shape."""


def _options(hint: Any) -> list[tuple[Any, dict[str, Any]]]:
    """Take a type apart: each of its alternatives without its limits, and the limits."""
    if get_origin(hint) in (Union, UnionType):
        return [option for one in get_args(hint) for option in _options(one)]
    if get_origin(hint) is not Annotated:
        return [(hint, {})]
    (meta,) = hint.__metadata__
    limits = {limit: getattr(meta, limit) for limit in ("gt", "ge", "lt", "le", "max_length")}
    return [(hint.__origin__, {limit: value for limit, value in limits.items() if value is not None})]


def _bytes(text: str) -> int:
    """Read 2 GiB or 500 MB as a whole number."""
    number, unit, binary = re.findall(_MEMORY, text)[0]
    base = 1024 if binary else 1000
    return round(float(number) * float(base ** " kmgt".index(unit.lower())))


def _in_words(option: Any, limits: Mapping[str, Any]) -> str:
    """Say what a value of one type may be."""
    if get_origin(option) is Literal:
        return listed(get_args(option))
    if option is bool:
        return "true or false"
    if option is str:
        return f"text of 1 to {limits['max_length']} printable characters"
    if option is int:
        return f"a whole number from {limits['ge']} to {limits['le']}"
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    parts = [f"{sign} {limits[limit]}" for limit, sign in signs.items() if abs(limits.get(limit, _MAX)) != _MAX]
    noun = "a finite number" if limits.get("le") == _MAX else "a number"
    return f"{noun} {' and '.join(parts)}".rstrip()


# --- JSON Schema, which editors read ----------------------------------------------------------------------------------

Schema = dict[str, Any]


def schema_of_configs() -> Schema:
    """JSON Schema (draft 2020-12) of a config, for editors.

    It says what can be said of the keys one by one. What depends on several of them (n = 1 in train mode, `size`
    without `like: outlier`, more problems than are allowed), and what a pattern has in it, only reading it finds.
    """
    types = {name: msgspec.json.schema(key.type) for name, key in KEYS.items()}
    shape = _matrix(_any(types["shape"], {"type": "string", "pattern": f"^{SHAPE_TEXT}$"}))
    special = {
        "name": types["name"],
        "shape": shape,
        "implementation": _matrix(_any({"enum": list(BUILT_IN)}, msgspec.json.schema(_NAME), {"$ref": "#/$defs/Code"})),
        "x": _matrix(_any({"$ref": "#/$defs/Draw"}, msgspec.json.schema(DRAW["like"].type))),
        "seeds": _any(types["seeds"], _matrix(types["seed"])["anyOf"][1]),
    }
    properties = {name: _noted(key, special.get(name) or _matrix(types[name]), DEFAULT) for name, key in KEYS.items()}
    properties["shapes"] = properties["shape"]
    draw = {name: _noted(key, _matrix(msgspec.json.schema(key.type)), DEFAULT.x) for name, key in DRAW.items()}
    code = {name: _noted(key, _of_code(key)) for name, key in CODE.items()}

    recorded = {"type": "object", "required": ["file"]}
    recorded = _any(recorded, {"type": "array", "items": recorded})
    shaped: list[Schema] = [{"required": [spelling]} for spelling in ("shape", "shapes")]
    shaped.append({"required": ["x"], "properties": {"x": recorded}})  # its shape is that of the file
    all_shaped = {"required": ["cases"], "properties": {"cases": {"items": {"anyOf": shaped}}}}
    once = [{"not": {"required": [singular, plural]}} for singular, plural in PLURALS.items()]
    both = ["forward", "backward"]
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
        "$defs": {
            "Case": {"title": "Case", **_mapping(properties), "allOf": once},
            "Draw": {"title": "Draw", "description": KEYS["x"].description, **_mapping(draw)},
            "Code": {
                "title": "Code",
                "description": "Where an implementation is, a file or a module, and how it is called.",
                **_mapping(code),
                "oneOf": [{"required": ["file"]}, {"required": ["module"]}],
                "dependentRequired": {name: [other for other in both if other != name] for name in CALLED},
            },
        },
    }


def _of_code(key: Key) -> Schema:
    """Schema of one key of a mapping given for an implementation."""
    if key.names:
        properties = {name: _noted(place, _of_code(place)) for name, place in key.names.items()}
        return _mapping(properties)
    one = msgspec.json.schema(key.type)
    several = key.name.split(".")[1] in ("stub", "axes", "set")
    return _any(one, {"type": "array", "items": one, "uniqueItems": True}) if several else one


def _noted(key: Key, found: Schema, defaults: object = None) -> Schema:
    """Schema with the description of a key, and its default where there is one."""
    given = getattr(defaults, key.name.rpartition(".")[2], "")
    default = {"shape": "", "x": {}, "rtol": "auto"}.get(key.name, given)
    return {"description": key.description, **({"default": default} if default != "" else {}), **found}


def _mapping(properties: Schema) -> Schema:
    """Schema of a mapping that has these keys and no others."""
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _any(*schemas: Schema) -> Schema:
    """Schema of a value that fits one of several."""
    return {"anyOf": list(schemas)}


def _matrix(one: Schema) -> Schema:
    """Schema of one value or of a list of them."""
    return _any(one, {"type": "array", "items": one, "minItems": 1, "uniqueItems": True})
