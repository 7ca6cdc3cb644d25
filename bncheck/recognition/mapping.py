"""A convention as YAML, to be pasted into a config and changed there."""

from __future__ import annotations

import json
from collections.abc import Iterator

from bncheck.case import Convention

_DEFAULTS = Convention(forward="", backward="")
_BEFORE_COLON = len("gradients:")


def describe(convention: Convention, file: str) -> str:
    """The mapping under which `file` is called by a convention, with the key `implementation:` above it."""
    return "\n".join(["implementation:", *(f"  {line}" for line in _lines(convention, file))]) + "\n"


def _lines(convention: Convention, file: str) -> Iterator[str]:
    yield _line("file", _scalar(file))
    for key in ("create", "build"):
        if getattr(convention, key):
            yield _line(key, _scalar(getattr(convention, key)))
    yield from _places("set", convention.set)
    yield _line("forward", _scalar(convention.forward))
    yield _line("backward", _scalar(convention.backward))
    yield from _places("gradients", convention.gradients)
    for key in ("layout", "parameters"):
        if getattr(convention, key) != getattr(_DEFAULTS, key):
            yield _line(key, _scalar(getattr(convention, key)))
    if convention.axes:
        yield _line("axes", f"[{', '.join(map(str, convention.axes))}]")


def _places(key: str, pairs: tuple[tuple[str, str], ...]) -> Iterator[str]:
    """One line with a place for each name, or a list where it stands in several."""
    items = []
    for name in dict.fromkeys(name for name, _ in pairs):
        places = [_in_list(place) for other, place in pairs if other == name]
        items.append(f"{name}: {places[0]}" if len(places) == 1 else f"{name}: [{', '.join(places)}]")
    if items:
        yield _line(key, f"{{{', '.join(items)}}}")


def _line(key: str, value: str) -> str:
    return f"{key + ':':<{_BEFORE_COLON}} {value}"


def _scalar(text: str) -> str:
    """The text, in double quotes where YAML would read something else without."""
    plain = text.isprintable() and text == text.strip() and text[:1].isalpha() and ": " not in text and " #" not in text
    return text if plain and not text.endswith(":") and text not in ("true", "false", "null") else json.dumps(text)


def _in_list(text: str) -> str:
    """The text inside a list or a mapping on one line, in double quotes where it has marks of these."""
    plain = _scalar(text)
    return json.dumps(text) if plain == text and set(text) & set("[]{},") else plain
