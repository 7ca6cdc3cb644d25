"""A tree of values that know their place, made from the text of a file or of the command line.

Nothing in a text can run, hang or exhaust anything.

Scalars are read as YAML 1.2 core has them (https://yaml.org/spec/1.2.2/#103-core-schema), which PyYAML does not:
the tree is built from the parser's events, where every scalar is still text.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import yaml

from bncheck.config.mistake import Mistakes, Stretch, Text, printable, quoted, text_of
from bncheck.config.node import ListNode, MappingNode, Node, ScalarNode, described, resolved

BYTES = 1_000_000
"""A longer file is refused unread: a config of a thousand cases has a tenth of it."""

NODES = 100_000
"""Values in a text, an alias counting as all that it stands for: ten nested aliases can stand for billions."""

DEPTH = 50
"""Levels of nesting. A config has five."""

Loader: type[yaml.CSafeLoader] | type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The parser that events come from: libyaml where PyYAML was built with it.

PyYAML's own differs in speed, and in a tab between two values on a line, which it refuses.
"""

# --- from a text to its tree -----------------------------------------------------------------------------------------

# Patterns are text, and compiled when they are needed: those of large sets take milliseconds.

# What YAML forbids, and the byte order mark, which it accepts as the first character of a file alone. All of it is
# unprintable for Python too, which is quicker to ask.
_FORBIDDEN = "[^\t\x20-\x7e\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
# YAML refuses a plain {'mode': 'train'}, and nobody puts a call in quotes. Its ': ' is hidden from the parser.
_PATTERN = r"(?m)^( *(?:- +)*(?:create|build|forward|backward) *: +[A-Za-z_(])(.*: .*)$"
_BLANK = "\ue000"


class _Unreadable(Exception):  # noqa: N818 - carries a mistake, as `Mistakes.add` takes it, and never leaves this module
    """A mistake after which nothing more can be read."""


def load(path: str | Path, mistakes: Mistakes) -> Node | None:
    """Read the tree of a file: None where it holds nothing, or cannot be read, and then the mistakes say why.

    Mistakes name the path as the user gave it.
    """
    try:
        text = _text_of_file(path)
    except _Unreadable as error:
        mistakes.add(*error.args)
        return None
    return parse(text, mistakes)


def parse(text: Text, mistakes: Mistakes, skip: int = 0) -> Node | None:
    """Read the tree of a text: None where it holds nothing, or cannot be read, and then the mistakes say why.

    `skip` characters at its start are not YAML (the `key=` of an override) and are read as blanks.
    """
    try:
        for number, line in enumerate(text.lines):
            if not line.isprintable() and (found := re.search(_FORBIDDEN, line)):
                place = Stretch(text, number, found.start())
                raise _Unreadable(f"the text has {found[0]!a}, which YAML does not allow", "remove it", place)
        content = "\n".join(text.lines)
        if "{" in content and _BLANK not in content:
            content = re.sub(_PATTERN, lambda found: found[1] + found[2].replace(": ", ":" + _BLANK), content)
        content = " " * skip + content[skip:]
        return _Tree(text, mistakes, yaml.parse(content, Loader=Loader)).built()
    except yaml.MarkedYAMLError as error:
        add_syntax_mistake(text, error, mistakes)
    except _Unreadable as error:
        mistakes.add(*error.args)
    return None


# --- the text of a file -----------------------------------------------------------------------------------------------

_SEEN = 1000
"""Names looked at for the one that was meant: a folder may hold millions."""


def _text_of_file(path: str | Path) -> Text:
    """Read the text of a file, without a byte order mark. Raises _Unreadable."""
    try:
        content = _content(path)
        return text_of(str(path), content.decode("utf-8-sig"))
    except OSError as error:
        raise _Unreadable(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        # The position is that in the bytes after a mark that utf-8-sig has taken off.
        position = error.start + 3 * content.startswith(b"\xef\xbb\xbf")
    except ValueError:
        raise _Unreadable(f"{quoted(str(path))} cannot be the name of a file") from None
    before = content[:position].decode("utf-8-sig")
    rest = content[position:].decode("utf-8", errors="backslashreplace")
    lines = text_of("", before).lines
    says = f"byte {position} is {content[position]:#04x}, which is not UTF-8"
    place = Stretch(text_of(str(path), before + rest), len(lines) - 1, len(lines[-1]), len("\\xff"))
    raise _Unreadable(says, "save it as UTF-8", place)


def _content(path: str | Path) -> bytes:
    """Read the bytes of a file. Raises _Unreadable, OSError, and ValueError for a name that no file can have."""
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        nearest = _nearest(Path(path))
        hint = f"did you mean {quoted(nearest)}?" if nearest else ""
        raise _Unreadable(f"{path} does not exist", hint) from None
    if stat.S_ISDIR(mode):
        raise _Unreadable(f"{path} is a folder, expected a file", "name the file in it")
    if not stat.S_ISREG(mode):
        raise _Unreadable(f"{path} is a pipe or a device, expected a file", "save it as a file first")
    with open(path, "rb") as file:
        content = file.read(BYTES + 1)
    if len(content) > BYTES:
        raise _Unreadable(f"{path} is too long, a config is at most 1 MB", "split it into several files")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _Unreadable(f"{path} is UTF-16, expected UTF-8", "save it as UTF-8")
    return content


def _nearest(path: Path) -> str | None:
    """Name the config in the folder of the path whose name is nearest; None where there is none near."""
    import difflib

    try:
        with os.scandir(path.parent) as entries:
            files = (entry for entry in islice(entries, _SEEN) if entry.name.endswith((".yaml", ".yml")))
            names = [entry.name for entry in files if entry.is_file()]
    except OSError:
        return None
    near = difflib.get_close_matches(path.name, sorted(names), n=1)
    return str(path.with_name(near[0])) if near else None


# --- the tree, built from events --------------------------------------------------------------------------------------

_TAG = "tag:yaml.org,2002:"
_PROPERTIES = r"(?:[&!]\S*\s+)*"
_SURROGATE = "[\ud800-\udfff]"
_WRITTEN_OUT = "write the character itself"


class _Tree:
    """The builder of a tree from the events of a parser. Its recursion ends at DEPTH levels."""

    def __init__(self, text: Text, mistakes: Mistakes, events: Iterator[Any]) -> None:
        self._text = text
        self._mistakes = mistakes
        self._events = self._legible(events)
        self._anchors: dict[str, tuple[Node, int] | None] = {}
        self._size = 0

    def built(self) -> Node | None:
        """Build the node of the first document; a second document is a mistake."""
        root: Node | None = None
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.NodeEvent):
                root = self._node(event, 0)
            elif isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents == 2:
                    place = self._place(event.start_mark, event.end_mark)
                    hint = "put the checks of both under cases:"
                    self._mistakes.add("a second document starts here, and a config is one", hint, place)
                    break
        return root

    def _legible(self, events: Iterator[Any]) -> Iterator[Any]:
        """Pass the events on. The pure parser gives "\\Uffffffff" to chr(), which libyaml refuses by itself."""
        event: Any = None
        try:
            for event in events:
                yield event
        except (ValueError, OverflowError) as error:
            place = self._place(event.end_mark, event.end_mark)
            raise _Unreadable("an escape after this is no Unicode character", _WRITTEN_OUT, place) from error

    def _node(self, event: Any, depth: int) -> Node:
        """Build the node that begins with an event, `depth` levels down."""
        if isinstance(event, yaml.AliasEvent):
            return self._anchored(event, depth)
        before = self._size
        self._count(1, event)
        if isinstance(event, yaml.ScalarEvent):
            node: Node = self._scalar(event)
        else:
            if depth == DEPTH:
                self._too_deep(event)
            if event.anchor:
                self._anchors[event.anchor] = None
            node = self._collection(event, depth)
        if event.anchor:
            self._anchors[event.anchor] = (node, self._size - before)
        return node

    def _collection(self, start: Any, depth: int) -> ListNode | MappingNode:
        nodes: list[Node] = []
        while not isinstance(event := next(self._events), yaml.CollectionEndEvent):
            nodes.append(self._node(event, depth + 1))
        is_mapping = isinstance(start, yaml.MappingStartEvent)
        if start.tag not in (None, "!", _TAG + ("map" if is_mapping else "seq")):
            self._unknown_tag(start)
        end = event.end_mark if start.flow_style else start.start_mark
        place = self._place(start.start_mark, end)
        if not is_mapping:
            return ListNode(tuple(nodes), place)
        entries = self._entries(nodes)
        return MappingNode(entries, nodes[0].place if nodes and not start.flow_style else place)

    def _anchored(self, alias: Any, depth: int) -> Node:
        """Find the node that an alias stands for."""
        name, place = alias.anchor, self._place(alias.start_mark, alias.end_mark)
        if name not in self._anchors:
            raise _Unreadable(f"the alias *{name} has no anchor", f"write &{name} before it", place)
        anchored = self._anchors[name]
        if anchored is None:
            raise _Unreadable(f"the alias *{name} stands inside its own anchor", "write it out", place)
        node, size = anchored
        self._count(size, alias)  # before its height is looked for, which takes as long as it is large
        if depth + _height(node) > DEPTH:
            self._too_deep(alias)
        return node

    def _count(self, size: int, event: Any) -> None:
        self._size += size
        if self._size > NODES:
            place = self._place(event.start_mark, event.end_mark)
            raise _Unreadable(f"more than {NODES:,} values up to here, counting aliases as written out", "", place)

    def _too_deep(self, event: Any) -> NoReturn:
        place = self._place(event.start_mark, event.end_mark)
        raise _Unreadable(f"more than {DEPTH} levels of nesting", "a config needs five", place)

    def _entries(self, nodes: list[Node]) -> tuple[tuple[ScalarNode, Node], ...]:
        """Pair keys with values, and leave out those whose key is a mistake."""
        entries: dict[str, tuple[ScalarNode, Node]] = {}
        for key, value in zip(nodes[::2], nodes[1::2], strict=True):
            if not isinstance(key, ScalarNode) or not isinstance(key.value, str):
                hint = "put it in quotes" if isinstance(key, ScalarNode) and key.written else ""
                self._mistakes.add(f"a key is {described(key)}, expected text", hint, key.place)
            elif key.value in entries:
                first = f", first in line {entries[key.value][0].place.line + 1}" if self._text.numbered else ""
                self._mistakes.add(f"key {quoted(key.value)} appears twice{first}", "remove one of them", key.place)
            else:
                entries[key.value] = key, value
        return tuple(entries.values())

    def _scalar(self, event: Any) -> ScalarNode:
        place = self._place(event.start_mark, event.end_mark)
        written = str(event.value)
        if _BLANK in written and not any(_BLANK in line for line in self._text.lines):
            written = written.replace(_BLANK, " ")
        if not written.isprintable() and re.search(_SURROGATE, written):
            raise _Unreadable("an escape here is no Unicode character", _WRITTEN_OUT, place)
        in_quotes = event.style in ("'", '"', "|", ">")
        if event.tag is None:
            return ScalarNode(written if in_quotes else resolved(written), written, in_quotes, place)
        kind = "str" if event.tag == "!" else str(event.tag).removeprefix(_TAG)
        if event.tag not in ("!", _TAG + kind) or kind not in ("str", "int", "float", "bool", "null"):
            self._unknown_tag(event)
            return ScalarNode(written, written, in_quotes, place)
        value = written if kind == "str" else resolved(written)
        if kind == "float" and type(value) is int and written[:2] not in ("0o", "0x"):
            value = float(written)
        if kind != ("null" if value is None else type(value).__name__):
            self._mistakes.add(f"{quoted(written)} is tagged !!{kind} and is none", "remove the tag", place)
        return ScalarNode(value, written, in_quotes, place)

    def _unknown_tag(self, event: Any) -> None:
        """Add the mistake that a tag is unknown. A tag names a type to be made: none is, so that nothing can run."""
        line = self._text.lines[event.start_mark.line]
        found = re.compile(r"!\S*").search(line, event.start_mark.column)
        column, width = (found.start(), len(found[0])) if found else (event.start_mark.column, 1)
        tag = quoted(found[0] if found else str(event.tag))
        place = Stretch(self._text, event.start_mark.line, column, width)
        self._mistakes.add(f"the tag {tag} is not allowed", "remove it", place)

    def _place(self, start: Any, end: Any) -> Stretch:
        """Place from mark to mark, without anchor and tag before the value, and at most to the end of its line."""
        if start.line >= len(self._text.lines):
            return _end_of(self._text)
        line = self._text.lines[start.line]
        column: int = start.column
        if line[column : column + 1] in ("&", "!"):
            found = re.compile(_PROPERTIES).match(line, column)
            column = found.end() if found and found.end() < len(line) else column
        stop = end.column if end.line == start.line else len(line.rstrip())
        return Stretch(self._text, start.line, column, max(1, stop - column))


# --- mistakes in a text that is not YAML ------------------------------------------------------------------------------

# The two parsers, libyaml and PyYAML's own, find the same errors in the same places in different words; both are
# answered here in one. Their sources: libyaml 0.2.5 scanner.c and parser.c, PyYAML 6 scanner.py and parser.py.


_INDENTED_BY_TAB = re.compile(r" *(\t+)")


def add_syntax_mistake(text: Text, fault: yaml.MarkedYAMLError, mistakes: Mistakes) -> None:
    """Add the mistake at which the parser stopped: a text has one such, since what follows it cannot be told."""
    place = _place(text, fault.problem_mark)
    start = _place(text, fault.context_mark) if fault.context_mark else place
    tab = _INDENTED_BY_TAB.match(text.lines[place.line])
    if tab and place.column <= tab.end():
        says, hint = "a tab indents this line, and YAML wants blanks", "replace the tab by blanks"
        mistakes.add(says, hint, Stretch(text, place.line, tab.start(1), len(tab[1])))
        return
    context, problem = fault.context or "", fault.problem or "its parser gives no reason"
    says, hint = f"not YAML: {printable(problem)}", ""
    if context.startswith("while parsing a flow"):
        bracket = text.lines[start.line][start.column : start.column + 1]
        closing = "]" if bracket == "[" else "}"
        if _is_end(place):
            says, hint, place = f"this '{bracket}' is never closed", f"add its '{closing}'", start
        else:
            line = f" of line {start.line + 1}" if text.numbered else ""
            says, hint = f"a ',' or '{closing}' is missing before this", f"it belongs to the '{bracket}'{line}"
    elif "quoted scalar" in context and "end of stream" in problem:
        says, hint, place = "this quote is never closed", "add the second quote", start
    elif "mapping values are not allowed" in problem:
        says, hint = "a ':' is not allowed here", "check the indentation, or put text with a ':' in quotes"
    elif "could not find expected ':'" in problem:
        says, hint, place = "this line is no 'key: value'", "add ': ' after the key", start
    elif "cannot start any token" in problem:
        character = text.lines[place.line][place.column : place.column + 1]
        says, hint = f"a value cannot start with '{character}'", "put it in quotes"
        if character == "\t":
            says, hint = "a tab stands here, and YAML wants blanks", "replace the tab by blanks"
    elif "Unicode character escape" in problem:
        says, hint = "an escape here is no Unicode character", _WRITTEN_OUT
    elif context.startswith("while parsing a block") and "content" not in problem:
        says, hint = "this does not line up with what stands above it", "check the indentation"
    mistakes.add(says, hint, place)


def _height(node: Node) -> int:
    """Count the levels of nesting in a node."""
    if isinstance(node, ScalarNode):
        return 0
    inner = node.items if isinstance(node, ListNode) else [its_value for _, its_value in node.entries]
    return 1 + max(map(_height, inner), default=0)


def _end_of(text: Text) -> Stretch:
    """Place behind the last character: libyaml puts what is missing there on a line that does not exist."""
    return Stretch(text, len(text.lines) - 1, len(text.lines[-1]))


def _place(text: Text, mark: Any) -> Stretch:
    """Place of a mark, moved to the end of the text where the mark points behind it."""
    if mark is None:
        return Stretch(text, 0, 0)
    if mark.line >= len(text.lines):
        return _end_of(text)
    return Stretch(text, mark.line, mark.column)


def _is_end(place: Stretch) -> bool:
    """Whether nothing but blanks follows a place."""
    lines = place.text.lines
    return not lines[place.line][place.column :].strip() and not any(map(str.strip, lines[place.line + 1 :]))
