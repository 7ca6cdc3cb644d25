"""The JSON Schema of a config, put together from the schemas of its keys: what editors read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Schema = dict[str, Any]

_NOTES = ("description", "default")


def assembled(
    keys: Schema, draw: Schema, code: Schema, built_in: Sequence[str], plurals: Mapping[str, str], shape_text: str
) -> Schema:
    """The schema of a config with these keys, whose x is a `draw` and whose implementation may be a `code`.

    `built_in` has the words that an implementation may be, `plurals` the keys that may be written either way,
    `shape_text` the pattern of a shape written as text.
    """
    draw["properties"] = {name: _matrix(schema, schema) for name, schema in draw["properties"].items()}
    shapes = _matrix(_any(_unannotated(keys["shape"]), {"type": "string", "pattern": shape_text}), keys["shape"])
    likes = draw["properties"]["like"]["anyOf"][0]
    seeds = _any(_unannotated(keys["seeds"]), _matrix(keys["seed"], {})["anyOf"][1])
    special = {
        "name": {key: value for key, value in keys["name"].items() if key != "default"},
        "shape": shapes,
        "shapes": shapes,
        "implementation": _matrix(
            _any({"enum": list(built_in)}, *keys["implementation"]["anyOf"]), keys["implementation"]
        ),
        "x": _matrix(_any({"$ref": "#/$defs/Draw"}, likes), {"description": draw["description"], "default": {}}),
        "seeds": {"description": keys["seeds"]["description"], **seeds},
    }
    properties = {name: special.get(name) or _matrix(keys[name], keys[name]) for name in (*keys, "shapes")}
    return _config(properties, plurals, {"Draw": draw, "Code": code})


def code_schema(found: Schema, names: Mapping[str, Sequence[str]], called: Sequence[str]) -> Schema:
    """The schema of a mapping given for an implementation.

    `names` has the keys of those of its keys that are mappings, `called` the keys that go with forward and backward.
    """
    properties = dict(found["properties"])
    for name, inner in names.items():
        place = properties[name].pop("additionalProperties")
        value = _several(place) if name == "set" else place
        properties[name] |= {"properties": dict.fromkeys(inner, value), "additionalProperties": False}
    for name in ("stub", "axes"):
        properties[name] = _several(properties[name])
    both = ["forward", "backward"]
    return {
        **found,
        "properties": properties,
        "required": [],
        "oneOf": [{"required": ["file"]}, {"required": ["module"]}],
        "dependentRequired": {name: [other for other in both if other != name] for name in called},
    }


def _config(properties: Schema, plurals: Mapping[str, str], definitions: Schema) -> Schema:
    shaped = [{"required": [spelling]} for spelling in ("shape", "shapes")]
    once = [{"not": {"required": [singular, plural]}} for singular, plural in plurals.items()]
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
    return {"anyOf": list(schemas)}


def _matrix(one: Schema, notes: Schema) -> Schema:
    """One value or a list of them, with the description and the default of the key."""
    one = _unannotated(one)
    several = {"type": "array", "items": one, "minItems": 1, "uniqueItems": True}
    return {**{note: notes[note] for note in _NOTES if note in notes}, **_any(one, several)}


def _several(one: Schema) -> Schema:
    """The same, where the list may be empty."""
    found = _matrix(one, one)
    del found["anyOf"][1]["minItems"]
    return found


def _unannotated(schema: Schema) -> Schema:
    return {name: value for name, value in schema.items() if name not in _NOTES}
