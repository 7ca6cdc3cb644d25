"""A convention as YAML, to be pasted into a config and changed there."""

from __future__ import annotations

import json
from collections.abc import Iterator

from bncheck.case import Convention
from bncheck.recognition.recognition import Found

_DEFAULTS = Convention(forward="", backward="")
_BEFORE_COLON = len("gradients:")


def describe(found: Found, file: str) -> str:
    """The mapping under which `file` is called as it was seen to work, with the key `implementation:` above it."""
    return "\n".join(["implementation:", *(f"  {line}" for line in _lines(found.convention, file))]) + "\n"


def blank(name: str, file: str) -> str:
    """A mapping to fill in, for what is called `name` in `file` and was not recognised."""
    convention = Convention(
        create=f"{name}(d, eps=eps)",
        set=(("gamma", "self.gamma"), ("beta", "self.beta")),
        forward="self.forward(x) -> out",
        backward="self.backward(dout) -> dx",
        gradients=(("gamma", "self.dgamma"), ("beta", "self.dbeta")),
    )
    return "\n".join(["implementation:", *(f"  {line}" for line in _lines(convention, file))]) + "\n"


def blank_functions(forward: str, backward: str, file: str) -> str:
    """The same for a pair of functions."""
    convention = Convention(
        forward=f"{forward}(x, gamma, beta, eps) -> out, cache",
        backward=f"{backward}(dout, cache) -> dx, dgamma, dbeta",
    )
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
    """A parameter that stands in one place has it on its line, one that stands in several a list of them."""
    if pairs:
        yield f"{key}:"
    for name in dict.fromkeys(name for name, _ in pairs):
        places = [_scalar(place) for other, place in pairs if other == name]
        yield f"  {name}: {places[0]}" if len(places) == 1 else f"  {name}: [{', '.join(map(_in_list, places))}]"


def _line(key: str, value: str) -> str:
    return f"{key + ':':<{_BEFORE_COLON}} {value}"


def _scalar(text: str) -> str:
    """The text, in double quotes where YAML would read something else without."""
    plain = text.isprintable() and text == text.strip() and text[:1].isalpha() and ": " not in text and " #" not in text
    return text if plain and not text.endswith(":") and text not in ("true", "false", "null") else json.dumps(text)


def _in_list(text: str) -> str:
    return text if text.startswith('"') else json.dumps(text)
