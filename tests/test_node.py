"""Unquoted scalars are read as YAML 1.2 core has them."""

import math

import pytest

from bncheck.config.mistake import Place, text_of
from bncheck.config.node import Listing, Mapping, Node, Scalar, described, number_of, resolved

PLACE = Place(text_of("", ""), 0, 0)


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


def test_a_whole_number_too_large_for_a_float_is_infinite() -> None:
    assert number_of("9" * 400) == math.inf
    assert number_of("3") == 3.0


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (Mapping((), PLACE), "a mapping"),
        (Listing((), PLACE), "an empty list"),
        (Listing((Mapping((), PLACE),), PLACE), "a list"),
        (Scalar("a", "a", False, PLACE), "'a'"),
        (Scalar("", "", True, PLACE), "''"),
        (Scalar(None, "", False, PLACE), "empty"),
        (Scalar(None, "null", False, PLACE), "null"),
        (Scalar(31, "0x1F", False, PLACE), "0x1F"),
    ],
)
def test_a_sentence_says_what_stands_there(node: Node, words: str) -> None:
    assert described(node) == words
