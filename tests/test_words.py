"""Which word was meant."""

import pytest

from bncheck.config.schema import BUILT_IN, CODE, DRAW, KEYS, PLURALS
from bncheck.config.words import SYNONYMS, did_you_mean, listed, meant

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


@pytest.mark.parametrize("word", SYNONYMS)
def test_every_synonym_stands_for_a_word_that_exists(word: str) -> None:
    assert meant(word, (*SPELLINGS, *CHOICES, *CODE, "mean", "std")) in SYNONYMS[word]


def test_words_are_listed_in_a_sentence() -> None:
    assert [listed(words) for words in ("a", "ab", "abc")] == ["a", "a or b", "a, b or c"]
