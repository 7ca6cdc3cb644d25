"""Implementations, read from a config: the place where each is, and how it is called."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, NamedTuple

from bncheck.case import Convention, Origin
from bncheck.config.mistake import Mistakes, did_you_mean, path_in, quoted
from bncheck.config.node import Choices, ListNode, MappingNode, Node, ScalarNode, described, items_of, one_value, within
from bncheck.config.schema import BUILT_IN, CALLED, CODE, KEYS, Key

Parser = Callable[[str], object]

ALIASES = ("file", "module")
"""Two keys for the place: the text after them tells a file from a module."""

FORMULAS = "formulas"
"""The name of formulas that stand in no file."""

_KEY = KEYS["implementation"]


class NamedOrigin(NamedTuple):
    """An implementation: its name as it was given, and its origin, None for one of ours."""

    name: str
    origin: Origin | None = None

    def __str__(self) -> str:
        return self.name


def choices_of(node: Node, mistakes: Mistakes) -> Choices:
    """Read the implementations that are given: one, or those of a list. Two with one name or one origin are one."""
    if isinstance(node, ListNode) and not node.items:
        mistakes.add(f"implementation is an empty list, expected {_KEY.expected}", "", node.place)
    kept: dict[NamedOrigin, Node] = {}
    seen: set[str | Origin] = set()
    for item in items_of(node):
        code = _mapped(item, mistakes) if isinstance(item, MappingNode) else _named(item, mistakes)
        if code is None:
            continue
        origin = code.origin or code.name
        if code.name in seen or origin in seen:
            from bncheck.files.project import split

            head, _ = split(code.name)
            hint = "remove one of them" if origin in seen else f"tell them apart, as in {head}:BatchNorm"
            mistakes.add(f"implementation {code} appears twice", hint, item.place)
        else:
            kept[code] = item
        seen |= {code.name, origin}
    return Choices(tuple(kept), tuple(item.place for item in kept.values()))


def _named(node: Node, mistakes: Mistakes) -> NamedOrigin | None:
    """Read an implementation that is given by a name, or as the text of formulas; None where it is a mistake."""
    if isinstance(node, ScalarNode) and "=" in str(node.value) and not os.path.exists(str(node.value)):
        typed = Convention(forward="", backward="", statements=str(node.value))
        return NamedOrigin(FORMULAS, Origin(place=FORMULAS, convention=typed))
    found = _text(_KEY, node, mistakes)
    if found is None:
        return None
    text, place = found
    return NamedOrigin(text, None if text in BUILT_IN else Origin(place=place))


# --- the place --------------------------------------------------------------------------------------------------------


def _text(key: Key, node: Node, mistakes: Mistakes) -> tuple[str, str] | None:
    """Read the name of a file, of a module, or of one of ours where `key` takes them; None where it is a mistake.

    With it comes the place that it names, as `Origin` has it.
    """
    text: str | None = one_value(key, node, mistakes)
    if text is None:
        return None
    folder = node.place.text.folder
    place = _resolved(text, folder)
    if key is not _KEY:
        hint = f"write implementation: {text}" if text in BUILT_IN else ""
    elif text in BUILT_IN or (text.isidentifier() and _is_there(text, folder)):
        return text, place or text
    else:
        hint = "" if set(text) & set("./\\:") else did_you_mean(text, BUILT_IN)
    if not hint and place is not None:
        return text, place
    if not hint and text.endswith(":"):
        hint = "name something in it, as in layers.py:BatchNorm, or leave the ':' out"
    mistakes.add(f"{key.name} is {described(node)}, expected {key.expected}", hint, node.place)
    return None


def _is_there(module: str, folder: str) -> bool:
    """Whether a module lies in the folder of the config, or in the current one."""
    bases = [os.path.join(place, module) for place in (folder, "")]
    return any(os.path.isfile(f"{base}.py") or os.path.isdir(base) for base in bases)


def _resolved(text: str, folder: str) -> str | None:
    """Turn a name into a place as `Origin` has it; None where it is the name neither of a file nor of a module."""
    from bncheck.files.project import is_path, split

    head, name = split(text)
    if name is not None and not name.isidentifier():
        return None
    if is_path(head) or os.path.isfile(os.path.join(folder, head)):
        path = _path(head, folder)
        if not is_path(path):  # a name without a slash, of a file that is not there, is that of a module
            path = os.path.join(os.curdir, path)
        return path if name is None else f"{path}:{name}"
    return text if all(part.isidentifier() for part in head.split(".")) else None


def _path(written: str, folder: str) -> str:
    """Path of a file in `folder`, or else in the current one."""
    there, here = path_in(folder, written), path_in("", written)
    return here if os.path.exists(here) and not os.path.exists(there) else there


# --- how it is called -------------------------------------------------------------------------------------------------


def _mapped(node: MappingNode, mistakes: Mistakes) -> NamedOrigin | None:
    """Read the mapping of an implementation; None where there is a mistake in it."""
    found: dict[str, Any] = {}
    given = {str(key.value): key for key, _ in node.entries}
    nodes = {str(key.value): its_value for key, its_value in node.entries}
    for name, key in given.items():
        if name not in CODE:
            _add_unknown(key, CODE, "implementation", mistakes)
        elif name in ALIASES and "file" in found:
            mistakes.add("both file and module are given in implementation", "keep one of them", key.place)
        else:
            found["file" if name in ALIASES else name] = _read(name, nodes, mistakes)
    if "file" not in found:
        mistakes.add("implementation has no file", "write file: layers.py, or module: package.module", node.place)
    missing = [name for name in ("forward", "backward") if name not in given]
    alone = next((name for name in ("forward", "backward", *CALLED) if name in given), None)
    if missing and alone is not None:
        are = "is" if len(missing) == 1 else "are"
        says = f"{alone} is given in implementation, and {' and '.join(missing)} {are} not"
        mistakes.add(says, "give forward and backward; without all of these they are found", given[alone].place)
    if None in found.values() or "file" not in found or ("forward" in found) != ("backward" in found):
        return None
    called = {name: found[name] for name in CALLED if name in found}
    name, place = found["file"]
    convention = Convention(**called) if "forward" in called else None
    origin = Origin(place=place, root=found.get("root", ""), stub=found.get("stub", ()), convention=convention)
    return NamedOrigin(name, origin)


def _read(name: str, nodes: Mapping[str, Node], mistakes: Mistakes) -> Any:
    """Read one key of a mapping; None where it is a mistake."""
    key, node = CODE[name], nodes[name]
    match name:
        case "file" | "module":
            return _text(key, node, mistakes)
        case "root":
            folder = one_value(key, node, mistakes)
            return None if folder is None else _path(folder, node.place.text.folder)
        case "stub" | "axes":
            return tuple(Choices.any_of(key, node, mistakes).values)
        case "layout" | "parameters" | "arrays":
            return one_value(key, node, mistakes)
        case "set" | "gradients":
            return _places(key, node, mistakes)
    from bncheck.calling.pattern import parse_backward, parse_call, parse_forward

    parsers: dict[str, Parser] = {
        "forward": partial(parse_forward, elsewhere=_handed(nodes)),
        "backward": partial(parse_backward, elsewhere=_names(nodes.get("gradients"))),
    }
    return _pattern(key, node, parsers.get(name, parse_call), mistakes)


def _names(node: Node | None) -> tuple[str, ...]:
    """Names that a mapping gives a place of its own."""
    return tuple(str(key.value) for key, _ in node.entries) if isinstance(node, MappingNode) else ()


def _handed(nodes: Mapping[str, Node]) -> tuple[str, ...]:
    """Names that `set` and `create` hand over before forward, as far as these can be read."""
    from bncheck.calling.pattern import PatternError, names_in, parse_call

    names = set(_names(nodes.get("set")))
    create = nodes.get("create")
    if isinstance(create, ScalarNode):
        with contextlib.suppress(PatternError):  # which is told where create is read
            names |= {name.id for name in names_in(parse_call(str(create.value)))}
    return tuple(sorted(names))


def _places(key: Key, node: Node, mistakes: Mistakes) -> tuple[tuple[str, str], ...] | None:
    """Read the pairs of a name and its place in `set` or `gradients`; a name in `set` may have several."""
    from bncheck.calling.pattern import parse_gradient, parse_setting

    if not isinstance(node, MappingNode):
        mistakes.add(f"{key.name} is {described(node)}, expected {key.expected}", "", node.place)
        return None
    is_set = key is CODE["set"]
    found = []
    for its_key, its_value in node.entries:
        name = str(its_key.value)
        if name not in key.names:
            _add_unknown(its_key, key.names, key.name, mistakes)
            continue
        items = items_of(its_value) if is_set else (its_value,)
        parse: Parser = partial(parse_setting, name) if is_set else parse_gradient
        found += [(name, _pattern(key.names[name], item, parse, mistakes)) for item in items]
    return tuple((name, text) for name, text in found if text is not None)


def _pattern(key: Key, node: Node, parse: Parser, mistakes: Mistakes) -> str | None:
    """Read a pattern; None where it is a mistake, whose place is the part of the pattern that is wrong."""
    from bncheck.calling.pattern import PatternError

    text: str | None = one_value(key, node, mistakes)
    if text is None or not isinstance(node, ScalarNode):
        return None
    try:
        parse(text)
    except PatternError as error:
        mistakes.add(error.message, error.hint, within(node, error.offset, error.width))
        return None
    return text.strip()


def _add_unknown(key: ScalarNode, known: Collection[str], where: str, mistakes: Mistakes) -> None:
    place = key.place
    after = place.text.lines[place.line][place.column + place.width :].lstrip()
    # Without a ':' behind it, it is the rest of a value that ended at a ',' between braces.
    hint = did_you_mean(str(key.value), known) if after.startswith(":") else "put a value that has a ',' in quotes"
    mistakes.add(f"unknown key {quoted(str(key.value))} in {where}", hint, place)
