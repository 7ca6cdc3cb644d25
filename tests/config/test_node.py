"""Unquoted scalars are read as YAML 1.2 core has them."""

import math

import pytest

from bncheck.config import document
from bncheck.config.mistake import Mistakes, Stretch, text_of
from bncheck.config.node import ListNode, MappingNode, Node, ScalarNode, described, resolved, within

PLACE = Stretch(text_of("", ""), 0, 0)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        *((word, None) for word in ("", "~", "null", "Null", "NULL")),
        *((word, True) for word in ("true", "True", "TRUE")),
        *((word, False) for word in ("false", "False", "FALSE")),
        *((word, word) for word in ("on", "yes", "no", "off", "y", "nULL", "tRUE", "12:30:45", "2020-01-01", "1_000")),
        ("012", 12),
        ("+7", 7),
        ("-0", 0),
        ("0o17", 15),
        ("0x1F", 31),
        *((word, word) for word in ("0o8", "0xG", "-0x1", "0b1", "1e", "e5", ".", "+", "1.2.3", "\u0661")),
        ("1e-5", 1e-5),
        (".5", 0.5),
        ("1.", 1.0),
        ("-1.5E+3", -1500.0),
        ("32.0", 32.0),
        (".inf", math.inf),
        ("+.Inf", math.inf),
        ("-.INF", -math.inf),
        *((word, word) for word in ("inf", "nan", "-.nan", "Infinity", "1e-5f", "0,1", "1 ", "1\n")),
        ("9" * 5000, math.inf),
        ("1e999", math.inf),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_scalar_is_what_yaml_1_2_says(written: str, value: object) -> None:
    found = resolved(written)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("written", [".nan", ".NaN", ".NAN"])
def test_not_a_number_is_read(written: str) -> None:
    found = resolved(written)
    assert isinstance(found, float)
    assert math.isnan(found)


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (MappingNode((), PLACE), "a mapping"),
        (ListNode((), PLACE), "an empty list"),
        (ListNode((MappingNode((), PLACE),), PLACE), "a list"),
        (ScalarNode("a", "a", False, PLACE), "'a'"),
        (ScalarNode("", "", True, PLACE), "''"),
        (ScalarNode(None, "", False, PLACE), "empty"),
        (ScalarNode(None, "null", False, PLACE), "null"),
        (ScalarNode(31, "0x1F", False, PLACE), "0x1F"),
    ],
)
def test_a_sentence_says_what_stands_there(node: Node, words: str) -> None:
    assert described(node) == words


def stretch(content: str, wanted: str) -> str:
    """Characters that carets stand under for those `wanted` of the only value of a text, behind their line number."""
    node = document.parse(text_of("small.yaml", content), Mistakes())
    while not isinstance(node, ScalarNode):
        assert node is not None
        node = node.items[-1] if isinstance(node, ListNode) else node.entries[-1][1]
    place = within(node, node.written.index(wanted), len(wanted))
    return f"{place.line + 1}: {place.text.lines[place.line][place.column : place.column + place.width]}"


@pytest.mark.parametrize(
    ("content", "wanted", "found"),
    [
        pytest.param("a: f(x, y)", "y", "1: y", id="plain"),
        pytest.param("a: f(x,  y)  # y", "x,  y", "1: x,  y", id="blanks inside"),
        pytest.param("a: f(世, y)", "y", "1: y", id="behind wide characters"),
        pytest.param("a: &b !!str f(x, y)", "y", "1: y", id="behind an anchor and a tag"),
        pytest.param("[&b 'f(x, y)', *b]", "y", "1: y", id="an alias"),
        pytest.param("a: f(x,\n   y)", "y", "2: y", id="plain and folded"),
        pytest.param("a: f(x,\n   y)", "x, y", "1: x,", id="to the end of the line if it goes on longer"),
        pytest.param("a: 'f(x, y)'", "y", "1: y", id="single quotes"),
        pytest.param("a: 'f(''x'', y)'", "'x'", "1: ''x''", id="single quotes in single quotes"),
        pytest.param("a: 'f(''x'', y)'", "y", "1: y", id="behind single quotes in single quotes"),
        pytest.param("a: \"f('x', y)\"", "'x'", "1: 'x'", id="single quotes in double quotes"),
        pytest.param('a: "f(\\"x\\", y)"', "y", "1: y", id="behind double quotes in double quotes"),
        pytest.param('a: "f(\\"\\\\\\", y)"', "y", "1: y", id="behind a backslash"),
        pytest.param('a: "f(x,\n  y)"', "y", "2: y", id="double quotes over two lines"),
        pytest.param("a: |\n  f(x,\n\n    y)\n", "y", "4: y", id="literal"),
        pytest.param("a: >- # y\n  f(x,\n  y)\n", "y", "3: y", id="folded, with a comment"),
        pytest.param('a: "f(\\x78, y)"', "y", '1: "f(\\x78, y)"', id="an escape"),
        pytest.param('a: "\\tt(x)"', "t", '1: "\\tt(x)"', id="an escape of a blank"),
        pytest.param('a: "f(x, \\\n  y)"', "y", '1: "f(x, \\', id="an escaped end of the line"),
        pytest.param("a: |\n  f(x, y)\n", " ", "1: |", id="a blank"),
        pytest.param("a: f(x, y)", "", "1: f(x, y)", id="nothing"),
    ],
)
def test_a_part_of_a_value_is_found_in_its_text_or_the_whole_of_it_is(content: str, wanted: str, found: str) -> None:
    assert stretch(content, wanted) == found


def test_what_is_not_written_as_it_reads_has_the_place_of_the_whole() -> None:
    place = Stretch(text_of("small.yaml", "other"), 0, 0, 5)
    assert within(ScalarNode("f(x)", "f(x)", False, place), 2, 1) == place
    assert within(ScalarNode("other", "other", False, place), 7, 1) == place
    assert within(ScalarNode("others", "others", False, place), 5, 1) == place
