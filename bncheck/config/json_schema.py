"""JSON Schema of a config, which editors read, put together from the types of its keys.

Apart from schema.py because only `bncheck schema` needs it: no other start loads it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from bncheck.config.schema import BUILT_IN, CALLED, CODE, PLURALS, SHAPE_TEXT, Code, Draw, Keys

Schema = dict[str, Any]

_NOTES = ("description", "default")


@cache
def schema_of_configs() -> Schema:
    """JSON Schema (draft 2020-12) of a config, for editors.

    It says what can be said of the keys one by one. What depends on several of them (n = 1 in train mode, `size`
    without `like: outlier`, more problems than are allowed), and what a pattern has in it, only reading it finds.
    """
    found: dict[str, Schema] = msgspec.json.schema_components([Keys, Draw, Code], ref_template="#/$defs/{name}")[1]
    keys, draw = found["Keys"]["properties"], found["Draw"]
    draw["properties"] = {name: _matrix(schema, schema) for name, schema in draw["properties"].items()}
    shape_text = {"type": "string", "pattern": f"^{SHAPE_TEXT}$"}
    shapes = _matrix(_any(_unannotated(keys["shape"]), shape_text), keys["shape"])
    likes = draw["properties"]["like"]["anyOf"][0]
    seeds = _any(_unannotated(keys["seeds"]), _matrix(keys["seed"], {})["anyOf"][1])
    special = {
        "name": {key: value for key, value in keys["name"].items() if key != "default"},
        "shape": shapes,
        "shapes": shapes,
        "implementation": _matrix(
            _any({"enum": list(BUILT_IN)}, *keys["implementation"]["anyOf"]), keys["implementation"]
        ),
        "x": _matrix(_any({"$ref": "#/$defs/Draw"}, likes), {"description": draw["description"], "default": {}}),
        "seeds": {"description": keys["seeds"]["description"], **seeds},
    }
    properties = {name: special.get(name) or _matrix(keys[name], keys[name]) for name in (*keys, "shapes")}
    return _config(properties, {"Draw": draw, "Code": _code(found["Code"])})


def _code(found: Schema) -> Schema:
    """Schema of a mapping given for an implementation."""
    properties = dict(found["properties"])
    for name in ("set", "gradients"):
        place = properties[name].pop("additionalProperties")
        value = _several(place) if name == "set" else place
        properties[name] |= {"properties": dict.fromkeys(CODE[name].names, value), "additionalProperties": False}
    for name in ("stub", "axes"):
        properties[name] = _several(properties[name])
    both = ["forward", "backward"]
    return {
        **found,
        "properties": properties,
        "required": [],
        "oneOf": [{"required": ["file"]}, {"required": ["module"]}],
        "dependentRequired": {name: [other for other in both if other != name] for name in CALLED},
    }


def _config(properties: Schema, definitions: Schema) -> Schema:
    """Schema of a whole config, whose entries and whose top have the same keys."""
    shaped: list[Schema] = [{"required": [spelling]} for spelling in ("shape", "shapes")]
    recorded = {"type": "object", "required": ["file"]}
    recorded = _any(recorded, {"type": "array", "items": recorded})
    shaped.append({"required": ["x"], "properties": {"x": recorded}})  # its shape is that of the file
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
        "$defs": {"Case": {"title": "Case", **entry}, **definitions},
    }


def _any(*schemas: Schema) -> Schema:
    """Schema of a value that fits one of several."""
    return {"anyOf": list(schemas)}


def _matrix(one: Schema, notes: Schema) -> Schema:
    """Schema of one value or of a list of them, with the description and the default of the key."""
    one = _unannotated(one)
    several = {"type": "array", "items": one, "minItems": 1, "uniqueItems": True}
    return {**{note: notes[note] for note in _NOTES if note in notes}, **_any(one, several)}


def _several(one: Schema) -> Schema:
    """Schema of one value or of a list of them, which may be empty."""
    found = _matrix(one, one)
    del found["anyOf"][1]["minItems"]
    return found


def _unannotated(schema: Schema) -> Schema:
    """Schema without the description and the default."""
    return {name: value for name, value in schema.items() if name not in _NOTES}
