"""Implementations, read from a config: the place where each is, and how it is called."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from bncheck.case import Convention, Origin
from bncheck.config import cases
from bncheck.config.cases import Choices, NamedOrigin
from bncheck.config.mistake import Mistakes, did_you_mean, path_in, quoted
from bncheck.config.node import ListNode, MappingNode, Node, ScalarNode, described, within
from bncheck.config.schema import BUILT_IN, CALLED, CODE, KEYS, Key

Parser = Callable[[str], object]

ALIASES = ("file", "module")
"""Two keys for the place: the text after them tells a file from a module."""

_KEY = KEYS["implementation"]


def choices_of(node: Node, mistakes: Mistakes) -> Choices:
    """Read the implementations that are given: one, or those of a list."""
    if isinstance(node, ListNode) and not node.items:
        mistakes.add(f"implementation is an empty list, expected {_KEY.expected}", "", node.place)
    items = node.items if isinstance(node, ListNode) else (node,)
    return _distinct([(item, _code(item, mistakes)) for item in items], mistakes)


def look_at(name: str, node: Node, mistakes: Mistakes) -> None:
    """Find the mistakes in one key of an implementation whose other keys are not known."""
    _read(CODE[name], node, ("x",), mistakes)


def changed(choices: Choices, entries: Sequence[tuple[ScalarNode, Node]], mistakes: Mistakes) -> Choices:
    """Give some keys of implementations anew. Those of ours have no keys, and stay as they are."""
    names = {str(key.value) for key, _ in entries}
    names |= set(ALIASES) if names & set(ALIASES) else set()
    found: list[tuple[Node, NamedOrigin | None]] = []
    for code, place in choices:
        if code.mapping is None:
            found.append((ScalarNode(code.name, code.name, False, place), code))
            continue
        kept = [(key, node) for key, node in code.mapping.entries if key.value not in names]
        mapping = MappingNode((*kept, *entries), place)
        found.append((mapping, _mapped(mapping, mistakes)))
    return _distinct(found, mistakes)


def _distinct(found: list[tuple[Node, NamedOrigin | None]], mistakes: Mistakes) -> Choices:
    """Keep the implementations that are no mistake (not None); two with one name or one origin are one."""
    kept: dict[NamedOrigin, Node] = {}
    seen: set[str | Origin] = set()
    for node, code in found:
        if code is None:
            continue
        origin = code.origin or code.name
        if code.name in seen or origin in seen:
            hint = "remove one of them" if origin in seen else f"tell them apart, as in {_head(code.name)}:BatchNorm"
            mistakes.add(f"implementation {code} appears twice", hint, node.place)
        else:
            kept[code] = node
        seen |= {code.name, origin}
    return Choices(tuple(kept), tuple(node.place for node in kept.values()))


def _code(node: Node, mistakes: Mistakes) -> NamedOrigin | None:
    """Read one implementation, a name or a mapping; None where it is a mistake."""
    if isinstance(node, MappingNode):
        return _mapped(node, mistakes)
    text = _text(_KEY, node, mistakes)
    if text is None or text in BUILT_IN:
        return None if text is None else NamedOrigin(text)
    key = ScalarNode("file", "file", False, node.place)
    origin = Origin(place=_resolved(text, node.place.text.folder) or text)
    return NamedOrigin(text, origin, MappingNode(((key, node),), node.place))


# --- the place --------------------------------------------------------------------------------------------------------


def _text(key: Key, node: Node, mistakes: Mistakes) -> str | None:
    """Read the name of a file, of a module, or of one of ours where `key` takes them; None where it is a mistake."""
    text: str | None = cases.one_value(key, key.name, node, mistakes)
    if text is None:
        return None
    folder = node.place.text.folder
    if key is _KEY:
        if text in BUILT_IN or (text.isidentifier() and _is_there(text, folder)):
            return text
        hint = "" if set(text) & set("./\\:") else did_you_mean(text, BUILT_IN)
    else:
        hint = f"write implementation: {text}" if text in BUILT_IN else ""
    if not hint and _resolved(text, folder) is not None:
        return text
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


def _head(place: str) -> str:
    """The file or the module of a place, without the :Name behind it."""
    from bncheck.files.project import split

    return split(place)[0]


# --- how it is called -------------------------------------------------------------------------------------------------


def _mapped(node: MappingNode, mistakes: Mistakes) -> NamedOrigin | None:
    """Read the mapping of an implementation; None where there is a mistake in it."""
    found: dict[str, Any] = {}
    nodes = {str(key.value): its_value for key, its_value in node.entries}
    rows = _rows(nodes.get("gradients"))
    handed = _handed(nodes)
    for key, its_value in node.entries:
        name = str(key.value)
        if name not in CODE:
            _add_unknown(key, CODE, "implementation", mistakes)
        elif name in ALIASES and "file" in found:
            mistakes.add("both file and module are given in implementation", "keep one of them", key.place)
        else:
            found["file" if name in ALIASES else name] = _read(CODE[name], its_value, rows, mistakes, handed)
    if "file" not in found:
        mistakes.add("implementation has no file", "write file: layers.py, or module: package.module", node.place)
    _check_called(node, mistakes)
    if None in found.values() or "file" not in found or ("forward" in found) != ("backward" in found):
        return None
    called = {name: found[name] for name in CALLED if name in found}
    name, place = found["file"]
    convention = Convention(**called) if "forward" in called else None
    origin = Origin(place=place, root=found.get("root", ""), stub=found.get("stub", ()), convention=convention)
    return NamedOrigin(name, origin, node)


def _check_called(node: MappingNode, mistakes: Mistakes) -> None:
    """Find what is given without the forward or the backward that it goes with."""
    given = {str(key.value): key for key, _ in node.entries}
    missing = [name for name in ("forward", "backward") if name not in given]
    alone = next((name for name in ("forward", "backward", *CALLED) if name in given), None)
    if missing and alone is not None:
        are = "is" if len(missing) == 1 else "are"
        says = f"{alone} is given in implementation, and {' and '.join(missing)} {are} not"
        mistakes.add(says, "give forward and backward; without all of these they are found", given[alone].place)


def _read(key: Key, node: Node, rows: tuple[str, ...], mistakes: Mistakes, handed: tuple[str, ...] = ("x",)) -> Any:
    """Read one key; None where it is a mistake.

    `rows` have their gradients at a place of their own; `handed` are names that are handed over before forward.
    """
    match key.name.partition(".")[2]:
        case "file" | "module":
            text = _text(key, node, mistakes)
            return None if text is None else (text, _resolved(text, node.place.text.folder))
        case "root":
            folder = cases.one_value(key, key.name, node, mistakes)
            return None if folder is None else _path(folder, node.place.text.folder)
        case "stub" | "axes":
            return tuple(cases.any_values(key, key.name, node, mistakes).values)
        case "layout" | "parameters":
            return cases.one_value(key, key.name, node, mistakes)
        case "set" | "gradients":
            return _places(key, node, mistakes)
        case name:
            from bncheck.calling.pattern import parse_backward, parse_call, parse_forward

            parsers: dict[str, Parser] = {
                "forward": partial(parse_forward, elsewhere=handed),
                "backward": partial(parse_backward, elsewhere=rows),
            }
            return _pattern(key, node, parsers.get(name, parse_call), mistakes)


def _rows(gradients: Node | None) -> tuple[str, ...]:
    """Names of the gradients that have a place of their own."""
    return tuple(str(key.value) for key, _ in gradients.entries) if isinstance(gradients, MappingNode) else ()


def _handed(nodes: dict[str, Node]) -> tuple[str, ...]:
    """The names that `set` and `create` hand over, as far as these can be read."""
    from bncheck.calling.pattern import PatternError, names_in, parse_call

    names = set(_rows(nodes.get("set")))
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
    names = key.names
    found = []
    for name, its_value in node.entries:
        if name.value not in names:
            _add_unknown(name, names, key.name, mistakes)
            continue
        items = its_value.items if is_set and isinstance(its_value, ListNode) else (its_value,)
        parse: Parser = partial(parse_setting, str(name.value)) if is_set else parse_gradient
        found += [(str(name.value), _pattern(names[str(name.value)], item, parse, mistakes)) for item in items]
    return tuple((name, text) for name, text in found if text is not None)


def _pattern(key: Key, node: Node, parse: Parser, mistakes: Mistakes) -> str | None:
    """Read a pattern; None where it is a mistake, whose place is the part of the pattern that is wrong."""
    from bncheck.calling.pattern import PatternError

    text: str | None = cases.one_value(key, key.name, node, mistakes)
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
