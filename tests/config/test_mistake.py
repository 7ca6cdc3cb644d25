"""Mistakes as a terminal shows them, and the words that they offer."""

from __future__ import annotations

import pytest

from bncheck.config.mistake import (
    SHOWN,
    SYNONYMS,
    Mistake,
    Mistakes,
    Stretch,
    TooMany,
    did_you_mean,
    listed,
    meant,
    quoted,
    text_of,
)
from bncheck.config.schema import BUILT_IN, CODE, DRAW, KEYS, PLURALS


def shown(line: str, column: int, width: int = 1, hint: str = "") -> list[str]:
    """Last two lines of the block: the source line and the carets."""
    return str(Mistake("wrong", hint, Stretch(text_of("a.yaml", line), 0, column, width))).splitlines()[2:]


def test_a_mistake_shows_what_where_the_line_and_the_hint_under_carets() -> None:
    text = text_of("small.yaml", "cases:\n  - {shap: [32, 64], seeds: [0, 1]}\n")
    mistake = Mistake("unknown key 'shap' in cases[0]", "did you mean 'shapes'?", Stretch(text, 1, 5, 4))
    assert str(mistake) == (
        "error: unknown key 'shap' in cases[0]\n"
        "  --> small.yaml:2:6\n"
        "2 |   - {shap: [32, 64], seeds: [0, 1]}\n"
        "  |      ^^^^ did you mean 'shapes'?"
    )


def test_the_gutter_is_as_wide_as_the_line_number() -> None:
    text = text_of("small.yaml", "\n" * 99 + "eps: x")
    assert str(Mistake("wrong", "", Stretch(text, 99, 5))) == (
        "error: wrong\n    --> small.yaml:100:6\n100 | eps: x\n    |      ^"
    )


def test_a_command_line_has_no_line_number() -> None:
    text = text_of("--set eps=-1", "eps=-1", numbered=False)
    assert (
        str(Mistake("wrong", "", Stretch(text, 0, 4, 2))) == "error: wrong\n  --> --set eps=-1\n  | eps=-1\n  |     ^^"
    )


def test_paths_are_relative_to_the_folder_of_a_file_or_to_the_current_one() -> None:
    assert [text_of(name, "").folder for name in ("small.yaml", "a/b/small.yaml", "/small.yaml")] == ["", "a/b", "/"]
    assert text_of("--set a/b=c", "", numbered=False).folder == ""


def test_a_mistake_without_a_place_is_one_line() -> None:
    assert str(Mistake("a.yaml does not exist", "look")) == "error: a.yaml does not exist; look"
    assert str(Mistake("a.yaml does not exist")) == "error: a.yaml does not exist"


@pytest.mark.parametrize(
    ("line", "column", "width", "carets"),
    [
        pytest.param("世界: 3", 0, 2, "^^^^", id="a wide character takes two"),
        pytest.param("世界: 3", 4, 1, "      ^", id="and moves what follows by two"),
        pytest.param("e\u0301a: 3", 0, 3, "^^", id="a combining one takes none"),
        pytest.param("e\u0301a: 3", 2, 1, " ^", id="and moves nothing"),
        pytest.param("abc", 3, 1, "   ^", id="the end of the line has one"),
    ],
)
def test_carets_stand_under_the_columns_of_a_terminal(line: str, column: int, width: int, carets: str) -> None:
    assert shown(line, column, width) == [f"1 | {line}", f"  | {carets}"]


def test_a_tab_is_shown_as_one_blank() -> None:
    assert shown("a:\tx", 3) == ["1 | a: x", "  |    ^"]


def test_nothing_reaches_the_terminal_that_it_would_act_on() -> None:
    text = text_of("a\x1b[2J.yaml", "a: \x1b[31mred\u202e")
    block = str(Mistake("found '\x07\ud800'", "\x9b", Stretch(text, 0, 3, 1)))
    assert block == (
        "error: found '\\x07\\ud800'\n  --> a\\x1b[2J.yaml:1:4\n1 | a: \\x1b[31mred\\u202e\n  |    ^^^^ \\x9b"
    )


def test_a_long_line_is_shown_around_its_end() -> None:
    line, carets = shown("y" * 200, 198, 2)
    assert line == "1 | ..." + "y" * 42
    assert carets == "  | " + " " * 43 + "^^"


def test_a_long_line_is_shown_from_its_start_where_the_mistake_is_there() -> None:
    line, carets = shown("y" * 200, 3, 500, "shorten it")
    assert line == "1 | " + "y" * 94 + "..."
    assert carets == "  |    " + "^" * 91 + " shorten it"


def test_a_long_line_is_windowed_on_both_sides_in_the_middle() -> None:
    line, carets = shown("y" * 1_000_000, 500_000, 5)
    assert line == "1 | ..." + "y" * 94 + "..."
    assert carets == "  | " + " " * 43 + "^^^^^"


def test_a_window_is_counted_in_columns_and_not_in_characters() -> None:
    line, carets = shown("世" * 200, 100, 3)
    assert line == "1 | ..." + "世" * 47 + "..."
    assert carets == "  | " + " " * 43 + "^^^^^^"


def test_characters_that_take_no_column_do_not_end_a_window() -> None:
    line, carets = shown("y" + "\u0301" * 300, 0, 1)
    assert line.endswith("...") is False
    assert carets == "  | ^"


def test_a_line_of_just_the_width_is_shown_whole() -> None:
    assert shown("y" * 100, 99) == ["1 | " + "y" * 100, "  | " + " " * 99 + "^"]


def test_long_text_is_cut_short_in_a_sentence() -> None:
    assert quoted("a" * 41) == "'" + "a" * 37 + "...'"
    assert quoted("a" * 40) == "'" + "a" * 40 + "'"


def test_mistakes_are_each_kept_once_and_in_the_order_of_their_places() -> None:
    text, command = text_of("a", "x\ny"), text_of("--set", "x", numbered=False)
    mistakes = Mistakes()
    for place in (Stretch(command, 0, 3), Stretch(command, 0, 0), Stretch(text, 1, 0), Stretch(text, 0, 0), None):
        mistakes.add("wrong", "", place)
        mistakes.add("wrong", "", place)
    assert [mistake.place for mistake in mistakes] == [
        None,
        Stretch(text, 0, 0),
        Stretch(text, 1, 0),
        Stretch(command, 0, 3),
        Stretch(command, 0, 0),
    ]


def test_more_mistakes_than_anybody_reads_are_not_collected() -> None:
    mistakes = Mistakes()
    for number in range(SHOWN):
        mistakes.add(str(number))
    mistakes.add("0")
    with pytest.raises(TooMany):
        mistakes.add("one more")
    assert len(mistakes) == SHOWN


# --- words ------------------------------------------------------------------------------------------------------


SPELLINGS = (*KEYS, *PLURALS.values(), "cases")
CHOICES = tuple(word for key in (*KEYS.values(), *DRAW.values(), *CODE.values()) for word in key.choices)


@pytest.mark.parametrize(
    ("word", "known", "other"),
    [
        ("shap", SPELLINGS, "shapes"),
        ("sead", SPELLINGS, "seeds"),
        ("case", SPELLINGS, "cases"),
        ("modes", SPELLINGS, "mode"),
        ("Shape", SPELLINGS, "shape"),
        ("channel-axis", SPELLINGS, "channel_axis"),
        ("batch_size", SPELLINGS, "shape"),
        ("epsilon", SPELLINGS, "eps"),
        ("scale", SPELLINGS, "gamma"),
        ("scale", tuple(DRAW), "std"),
        ("one_hot", CHOICES, "one-hot"),
        ("TRAIN", CHOICES, "train"),
        ("inference", CHOICES, "eval"),
        ("randn", CHOICES, "normal"),
        ("path", tuple(CODE), "file"),
        ("constructor", tuple(CODE), "create"),
        ("Closed_Form", BUILT_IN, "closed-form"),
    ],
)
def test_the_known_word_that_was_meant_is_offered(word: str, known: tuple[str, ...], other: str) -> None:
    assert did_you_mean(word, known) == f"did you mean '{other}'?"


@pytest.mark.parametrize("word", ["qqq", "", "世界", "x" * 1000, "sigma"])
def test_nothing_is_offered_for_a_word_like_none(word: str) -> None:
    assert did_you_mean(word, SPELLINGS) == ""


@pytest.mark.parametrize(("ours", "words"), SYNONYMS.items())
def test_every_synonym_stands_for_a_word_that_exists(ours: str, words: str) -> None:
    known = (*SPELLINGS, *CHOICES, *CODE, "mean", "std")
    assert ours in known
    assert all(plain in SYNONYMS[meant(plain, known) or ""].split() for plain in words.split())


def test_words_are_listed_in_a_sentence() -> None:
    assert [listed(words) for words in ("a", "ab", "abc")] == ["a", "a or b", "a, b or c"]
