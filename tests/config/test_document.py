"""YAML text becomes a tree whose values know their place, the same with both parsers."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml

from bncheck.config import document
from bncheck.config.mistake import Mistakes, text_of
from bncheck.config.node import ListNode, MappingNode, Node, ScalarNode

PARSERS = [pytest.param(yaml.SafeLoader, id="pure")]
if hasattr(yaml, "CSafeLoader"):
    PARSERS.append(pytest.param(yaml.CSafeLoader, id="libyaml"))


@pytest.fixture(autouse=True, params=PARSERS)
def _parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "Loader", request.param)


def plain(node: Node | None) -> Any:
    if isinstance(node, MappingNode):
        return {key.value: plain(value) for key, value in node.entries}
    if isinstance(node, ListNode):
        return [plain(item) for item in node.items]
    return node.value if node else None


def places(node: Node) -> list[str]:
    """The text at the place of every value, in the order of the text."""
    if isinstance(node, MappingNode):
        children: list[Node] = [child for entry in node.entries for child in entry]
    else:
        children = list(node.items) if isinstance(node, ListNode) else []
    line = node.place.text.lines[node.place.line]
    stretch = line[node.place.column : node.place.column + node.place.width]
    return [stretch, *(place for child in children for place in places(child))]


def parsed(content: str) -> Any:
    mistakes = Mistakes()
    node = document.parse(text_of("small.yaml", content), mistakes)
    assert [str(mistake) for mistake in mistakes] == []
    return node


def refusal(content: str) -> str:
    mistakes = Mistakes()
    document.parse(text_of("small.yaml", content), mistakes)
    return "\n\n".join(map(str, mistakes))


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ("", None),
        ("# only a comment\n", None),
        ("a: 1e-5\nb: [on, 012, 12:30:45]\n", {"a": 1e-5, "b": ["on", 12, "12:30:45"]}),
        ("a: '1'\nb: \"2\"\nc: |\n  3\n", {"a": "1", "b": "2", "c": "3\n"}),
        ("a: !!str 5\nb: !!int '5'\nc: !!float 3\nd: !!null ''\ne: !!bool true\nf: ! 5", {
            "a": "5", "b": 5, "c": 3.0, "d": None, "e": True, "f": "5"}),
        ("!!map {a: !!seq [1]}", {"a": [1]}),
        ("a: &x [1, 2]\nb: *x\nc: &x 3\nd: *x", {"a": [1, 2], "b": [1, 2], "c": 3, "d": 3}),
        ("%YAML 1.2\n---\na: 1\n...\n", {"a": 1}),
        ("'1': 2\n", {"1": 2}),
        ("[[" * 24 + "1" + "]]" * 24, None),
    ],
)  # fmt: skip
def test_a_text_is_read_as_yaml_1_2(content: str, value: object) -> None:
    node = parsed(content)
    if value is None and node is not None:
        assert isinstance(node, ListNode)
    else:
        assert (None if node is None else plain(node)) == value


@pytest.mark.parametrize(
    ("content", "stretches"),
    [
        ("eps: &e 1e-5\nb: *e\n", ["eps", "eps", "1e-5", "b", "1e-5"]),
        ("{x: !!str 5, y: &a 'q r'}", ["{x: !!str 5, y: &a 'q r'}", "x", "5", "y", "'q r'"]),
        ("a: &l [1, 2]\n", ["a", "a", "[1, 2]", "1", "2"]),
        ("a: [1,  \n  2]\n", ["a", "a", "[1,", "1", "2"]),
        ("a:\n- b: 1\n", ["a", "a", "-", "b", "b", "1"]),
        ("a: &m\n  b: |\n    1\n", ["a", "a", "b", "b", "|"]),
        ("a: &m\n", ["a", "a", "&m"]),
        ("世: 界\n", ["世", "世", "界"]),
        ("a:\nb: 1\n", ["a", "a", "", "b", "1"]),
    ],
)
def test_every_value_knows_its_place(content: str, stretches: list[str]) -> None:
    assert places(parsed(content)) == stretches


def test_a_scalar_knows_how_it_was_written() -> None:
    first, second = parsed("[0x1F, '1']").items
    assert isinstance(first, ScalarNode)
    assert (first.value, first.written, first.in_quotes) == (31, "0x1F", False)
    assert (second.value, second.written, second.in_quotes) == ("1", "1", True)


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ("forward: f(x, {'a': 1, 'b':  2}) -> out", {"forward": "f(x, {'a': 1, 'b':  2}) -> out"}),
        ("- - backward : (f)({'a': 1})\n", [[{"backward": "(f)({'a': 1})"}]]),
        ("create: f({'a': 1})  # b: c\nbuild: g\n", {"create": "f({'a': 1})", "build": "g"}),
        ("create: |\n  forward: f({'a': 1})\n", {"create": "forward: f({'a': 1})\n"}),
        ("'\n\nforward: f({a: 1})'", "\nforward: f({a: 1})"),
        ("forward: 'f({''a'': 1})'\n", {"forward": "f({'a': 1})"}),
        ("forward: {a: 1}\n", {"forward": {"a": 1}}),
        ("forward:\n  f: 1\n", {"forward": {"f": 1}}),
        ("a: \ue000\n", {"a": "\ue000"}),
    ],
)
def test_a_pattern_may_have_a_dict_without_quotes(content: str, value: object) -> None:
    assert plain(parsed(content)) == value


@pytest.mark.parametrize(
    "content",
    ["step: f({'a': 1})", "forwards: f({'a': 1})", "forward: f(x) ->\n  {'a': 1}", "forward: f({a: 1}) # \ue000"],
)
def test_any_other_value_with_a_colon_needs_quotes(content: str) -> None:
    assert "error: a ':' is not allowed here" in refusal(content)


def test_a_dict_in_a_pattern_keeps_its_place() -> None:
    assert places(parsed("a:\n  forward: f(x, {'a': 1}) -> out\n"))[-1] == "f(x, {'a': 1}) -> out"


def test_what_is_skipped_is_not_read_and_does_not_move_places() -> None:
    mistakes = Mistakes()
    node = document.parse(text_of("--set", "a: b=[1, 2]", numbered=False), mistakes, skip=5)
    assert node is not None
    assert (plain(node), node.place.column) == ([1, 2], 5)


REFUSED = {
    "a tab for indentation": (
        "a:\n\tb: 1",
        """\
        error: a tab indents this line, and YAML wants blanks
          --> small.yaml:2:1
        2 |  b: 1
          | ^ replace the tab by blanks""",
    ),
    "a tab after blanks": (
        "a:\n  b: 1\n  \t\tc: 1",
        """\
        error: a tab indents this line, and YAML wants blanks
          --> small.yaml:3:3
        3 |     c: 1
          |   ^^ replace the tab by blanks""",
    ),
    "something after a quote that goes on after a tab": (
        'a: "x\n\ty" z',
        """\
        error: this does not line up with what stands above it
          --> small.yaml:2:5
        2 |  y" z
          |     ^ check the indentation""",
    ),
    "an open bracket": (
        "a: [[1, 2]\n# end\n",
        """\
        error: this '[' is never closed
          --> small.yaml:1:4
        1 | a: [[1, 2]
          |    ^ add its ']'""",
    ),
    "an open brace": (
        "a: {b: 1",
        """\
        error: this '{' is never closed
          --> small.yaml:1:4
        1 | a: {b: 1
          |    ^ add its '}'""",
    ),
    "a missing comma": (
        "a: ['x' 'y']",
        """\
        error: a ',' or ']' is missing before this
          --> small.yaml:1:9
        1 | a: ['x' 'y']
          |         ^ it belongs to the '[' of line 1""",
    ),
    "an open quote": (
        "a: 'x\nb: 1",
        """\
        error: this quote is never closed
          --> small.yaml:1:4
        1 | a: 'x
          |    ^ add the second quote""",
    ),
    "a second colon": (
        "a: b: c",
        """\
        error: a ':' is not allowed here
          --> small.yaml:1:5
        1 | a: b: c
          |     ^ check the indentation, or put text with a ':' in quotes""",
    ),
    "a line without a colon": (
        "a: 1\nshapes\nb: 2",
        """\
        error: this line is no 'key: value'
          --> small.yaml:2:1
        2 | shapes
          | ^ add ': ' after the key""",
    ),
    "a character that begins nothing": (
        "a: @x",
        """\
        error: a value cannot start with '@'
          --> small.yaml:1:4
        1 | a: @x
          |    ^ put it in quotes""",
    ),
    "a line that lines up with nothing": (
        "- a\nb: 1",
        """\
        error: this does not line up with what stands above it
          --> small.yaml:2:1
        2 | b: 1
          | ^ check the indentation""",
    ),
    "an unknown alias": (
        "a: *b",
        """\
        error: the alias *b has no anchor
          --> small.yaml:1:4
        1 | a: *b
          |    ^^ write &b before it""",
    ),
    "an alias in itself": (
        "a: &b {c: [*b]}",
        """\
        error: the alias *b stands inside its own anchor
          --> small.yaml:1:12
        1 | a: &b {c: [*b]}
          |            ^^ write it out""",
    ),
    "a tag": (
        "a: !!python/object/apply:os.system ['touch pwned']",
        """\
        error: the tag '!!python/object/apply:os.system' is not allowed
          --> small.yaml:1:4
        1 | a: !!python/object/apply:os.system ['touch pwned']
          |    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ remove it""",
    ),
    "tags that are not for what they stand at": (
        "{a: &x !own 1, b: !!map 2, c: !!str [1], d: !!timestamp 3, e: !<str> 4}",
        """\
        error: the tag '!own' is not allowed
          --> small.yaml:1:8
        1 | {a: &x !own 1, b: !!map 2, c: !!str [1], d: !!timestamp 3, e: !<str> 4}
          |        ^^^^ remove it

        error: the tag '!!map' is not allowed
          --> small.yaml:1:19
        1 | {a: &x !own 1, b: !!map 2, c: !!str [1], d: !!timestamp 3, e: !<str> 4}
          |                   ^^^^^ remove it

        error: the tag '!!str' is not allowed
          --> small.yaml:1:31
        1 | {a: &x !own 1, b: !!map 2, c: !!str [1], d: !!timestamp 3, e: !<str> 4}
          |                               ^^^^^ remove it

        error: the tag '!!timestamp' is not allowed
          --> small.yaml:1:45
        1 | {a: &x !own 1, b: !!map 2, c: !!str [1], d: !!timestamp 3, e: !<str> 4}
          |                                             ^^^^^^^^^^^ remove it

        error: the tag '!<str>' is not allowed
          --> small.yaml:1:63
        1 | {a: &x !own 1, b: !!map 2, c: !!str [1], d: !!timestamp 3, e: !<str> 4}
          |                                                               ^^^^^^ remove it""",
    ),
    "a tag that does not fit": (
        "a: !!int x",
        """\
        error: 'x' is tagged !!int and is none
          --> small.yaml:1:10
        1 | a: !!int x
          |          ^ remove the tag""",
    ),
    "a key twice": (
        "a: 1\nb: 2\n'a': 3",
        """\
        error: key 'a' appears twice, first in line 1
          --> small.yaml:3:1
        3 | 'a': 3
          | ^^^ remove one of them""",
    ),
    "keys that are no text": (
        "1: a\n[b]: c\n? \n: d",
        """\
        error: a key is 1, expected text
          --> small.yaml:1:1
        1 | 1: a
          | ^ put it in quotes

        error: a key is a list, expected text
          --> small.yaml:2:1
        2 | [b]: c
          | ^^^

        error: a key is empty, expected text
          --> small.yaml:3:2
        3 | ?
          |  ^""",
    ),
    "a second document": (
        "a: 1\n--- # more\nb: 2",
        """\
        error: a second document starts here, and a config is one
          --> small.yaml:2:1
        2 | --- # more
          | ^^^ put the checks of both under cases:""",
    ),
    "a control character": (
        "a: 1\nname: x\x1b[31m",
        """\
        error: the text has '\\x1b', which YAML does not allow
          --> small.yaml:2:8
        2 | name: x\\x1b[31m
          |        ^^^^ remove it""",
    ),
    "a NUL": (
        "\0",
        """\
        error: the text has '\\x00', which YAML does not allow
          --> small.yaml:1:1
        1 | \\x00
          | ^^^^ remove it""",
    ),
    "half a surrogate pair": (
        "a: \udc80",
        """\
        error: the text has '\\udc80', which YAML does not allow
          --> small.yaml:1:4
        1 | a: \\udc80
          |    ^^^^^^ remove it""",
    ),
    "too much nesting": (
        "[" * 60,
        f"""\
        error: more than 50 levels of nesting
          --> small.yaml:1:51
        1 | {"[" * 60}
          | {" " * 50}^ a config needs five""",
    ),
    "too much nesting through an alias": (
        "{a: &a " + "[" * 40 + "]" * 40 + ",\nb: " + "[" * 9 + "*a" + "]" * 9 + ",\nc: " + "[" * 10 + "*a",
        """\
        error: more than 50 levels of nesting
          --> small.yaml:3:14
        3 | c: [[[[[[[[[[*a
          |              ^^ a config needs five""",
    ),
}


@pytest.mark.parametrize(("content", "block"), REFUSED.values(), ids=REFUSED)
def test_a_text_that_cannot_be_a_config_is_refused_at_its_place(content: str, block: str) -> None:
    assert refusal(content) == textwrap.dedent(block)


def test_what_only_the_parser_can_say_is_said_in_its_words() -> None:
    assert refusal("%YAML 3.0\n---\na: 1").startswith("error: not YAML: found incompatible YAML document")


def test_a_parser_without_a_reason_is_no_crash() -> None:
    mistakes = Mistakes()
    document.add_syntax_mistake(text_of("small.yaml", "a"), yaml.MarkedYAMLError(), mistakes)
    assert [str(mistake).splitlines()[0] for mistake in mistakes] == ["error: not YAML: its parser gives no reason"]


def test_a_tab_between_values_is_read_or_told() -> None:
    assert refusal("a:\t[1,\t2]") in (
        "",
        "error: a tab stands here, and YAML wants blanks\n"
        "  --> small.yaml:1:3\n"
        "1 | a: [1, 2]\n"
        "  |   ^ replace the tab by blanks",
    )


def test_a_mistake_behind_the_last_line_is_shown_at_its_end() -> None:
    assert refusal("a: |1 x").splitlines()[1:3] == ["  --> small.yaml:1:7", "1 | a: |1 x"]
    assert plain(parsed("a: 1\n? b")) == {"a": 1, "b": None}


@pytest.mark.parametrize("escape", ["\\ud800", "\\U00110000", "\\Uffffffff"])
def test_an_escape_of_no_character_is_refused(escape: str) -> None:
    assert "is no Unicode character\n" in refusal(f'a: "{escape}"')


def test_a_key_twice_on_the_command_line_has_no_line() -> None:
    mistakes = Mistakes()
    document.parse(text_of("--set x={a: 1, a: 2}", "x={a: 1, a: 2}", numbered=False), mistakes, skip=2)
    assert [mistake.says for mistake in mistakes] == ["key 'a' appears twice"]


def test_aliases_that_stand_for_too_many_values_are_refused() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    assert refusal("\n".join(lines)).startswith(
        "error: more than 100,000 values up to here, counting aliases as written out\n  --> small.yaml:5:"
    )


def test_values_are_counted_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "NODES", 7)
    assert plain(parsed("[&a [1, 2], *a]")) == [[1, 2], [1, 2]]
    assert "more than 7 values" in refusal("[&a [1, 2], *a, 1]")


def test_a_tag_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refusal("a: !!python/object/apply:os.system ['touch pwned']")
    assert os.listdir() == []


@pytest.mark.slow
@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "[[a, ", "&a [", "!!seq [", '"', "' ", "a: [{", "*a "])
def test_a_megabyte_of_openings_ends_in_a_mistake_and_not_in_a_crash(opening: str) -> None:
    code = (
        "import sys, yaml; from bncheck.config import document; from bncheck.config.mistake import Mistakes, text_of\n"
        f"document.Loader = yaml.{document.Loader.__name__}\n"
        "mistakes = Mistakes()\n"
        "text = text_of('small.yaml', sys.stdin.read())\n"
        "document.parse(text, mistakes); print(len(mistakes))"
    )
    content = opening * (1_000_000 // len(opening))
    ran = subprocess.run(
        [sys.executable, "-c", code],
        input=content,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert ran.stdout == "1\n"


# --- textfile ---------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refusal_of_textfile(path: str) -> str:
    mistakes = Mistakes()
    assert document.load(path, mistakes) is None
    return "\n\n".join(map(str, mistakes))


def write(content: bytes, name: str = "small.yaml") -> None:
    with open(name, "wb") as file:
        file.write(content)


def test_a_file_is_read_without_its_byte_order_mark_and_with_any_line_ends() -> None:
    write(b"\xef\xbb\xbfa: 1\r\nb: \xe4\xb8\x96\rc: 2\n")
    mistakes = Mistakes()
    root = document.load("small.yaml", mistakes)
    assert root is not None
    assert root.place.text.lines == ("a: 1", "b: 世", "c: 2", "")
    assert plain(root) == {"a": 1, "b": "世", "c": 2}
    assert not mistakes


def test_a_missing_file_is_refused() -> None:
    assert refusal_of_textfile("small.yaml") == "error: small.yaml does not exist"


def test_a_missing_file_is_refused_with_the_nearest_config_in_its_folder() -> None:
    os.mkdir("in")
    for name in ("in/small.yaml", "in/other.yaml", "in/smal.txt"):
        write(b"", name)
    assert refusal_of_textfile("in/smal.yaml") == "error: in/smal.yaml does not exist; did you mean 'in/small.yaml'?"


@pytest.mark.parametrize("path", ["no/such/folder.yaml", "file.yaml/small.yaml"])
def test_a_missing_folder_is_refused(path: str) -> None:
    write(b"", "file.yaml")
    assert refusal_of_textfile(path) == f"error: {path} does not exist"


def test_a_folder_is_refused() -> None:
    os.mkdir("small.yaml")
    assert refusal_of_textfile("small.yaml") == "error: small.yaml is a folder, expected a file; name the file in it"


def test_a_pipe_is_refused_and_not_waited_for() -> None:
    os.mkfifo("pipe.yaml")
    thread = threading.Thread(target=lambda: answers.append(refusal_of_textfile("pipe.yaml")), daemon=True)
    answers: list[str] = []
    thread.start()
    thread.join(timeout=30)
    assert answers == ["error: pipe.yaml is a pipe or a device, expected a file; save it as a file first"]


def test_a_device_is_refused() -> None:
    assert refusal_of_textfile("/dev/zero") == (
        "error: /dev/zero is a pipe or a device, expected a file; save it as a file first"
    )


def test_a_file_without_permission_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    write(b"")

    def closed(*_: object) -> NoReturn:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", closed)
    assert refusal_of_textfile("small.yaml") == "error: small.yaml cannot be read: Permission denied"


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b"], ids=["NUL", "half a pair"])
def test_a_name_that_no_file_can_have_is_refused(name: str) -> None:
    escaped = name.encode("unicode_escape").decode()
    assert refusal_of_textfile(name) == f"error: '{escaped}' cannot be the name of a file"


def test_a_name_that_is_too_long_is_refused() -> None:
    assert refusal_of_textfile("a" * 5000).endswith("cannot be read: File name too long")


def test_a_megabyte_is_read_and_one_byte_more_refused() -> None:
    write(b"#" * document.BYTES)
    assert refusal_of_textfile("small.yaml") == ""
    write(b"#" * (document.BYTES + 1))
    assert refusal_of_textfile("small.yaml") == (
        "error: small.yaml is too long, a config is at most 1 MB; split it into several files"
    )


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_refused_by_its_name(encoding: str) -> None:
    write("\ufeffa: 1".encode(encoding))
    assert refusal_of_textfile("small.yaml") == "error: small.yaml is UTF-16, expected UTF-8; save it as UTF-8"


@pytest.mark.parametrize(("mark", "position"), [(b"", 12), (b"\xef\xbb\xbf", 15)], ids=["without", "with a mark"])
def test_bytes_that_are_not_utf_8_are_refused_with_their_place(mark: bytes, position: int) -> None:
    write(mark + b"a: 1\r\nname: \xe9t\xe9\n")
    assert refusal_of_textfile("small.yaml") == (
        f"error: byte {position} is 0xe9, which is not UTF-8\n"
        "  --> small.yaml:2:7\n"
        "2 | name: \\xe9t\\xe9\n"
        "  |       ^^^^ save it as UTF-8"
    )
