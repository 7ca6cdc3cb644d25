"""Random numbers of our own: the published sequence, the distributions that are promised, the same bits for ever."""

from __future__ import annotations

import numpy as np
import pytest

from bncheck.stream import Stream

MANY = 100_000  # standard error of a mean of uniform numbers: 0.0009


def test_words_are_those_of_splitmix64() -> None:
    stream = Stream(0, 0)
    stream._state = 0
    # The first outputs from a state of 0, as published with the reference implementation.
    assert [int(word) for word in stream._words(3)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_numbers_drawn_in_parts_are_those_drawn_at_once() -> None:
    whole, parts = Stream(7, 2), Stream(7, 2)
    assert np.array_equal(whole.random(10), np.concatenate([parts.random(4), parts.random(6)]))


def test_streams_and_seeds_have_nothing_in_common() -> None:
    drawn = [Stream(seed, number).random(MANY) for seed in (0, 1, 2**63 - 1) for number in (0, 1)]
    correlations = np.corrcoef(drawn) - np.eye(len(drawn))
    assert np.max(np.abs(correlations)) < 0.02  # six standard errors


def test_uniform_numbers_fill_their_interval_evenly() -> None:
    drawn = Stream(3, 0).uniform(-2, 2, MANY)
    assert -2 <= drawn.min() < -1.999
    assert 1.999 < drawn.max() < 2
    assert np.histogram(drawn, 4)[0] == pytest.approx(MANY / 4, rel=0.03)


def test_normal_numbers_have_the_moments_of_a_normal_distribution() -> None:
    drawn = Stream(5, 0).normal(MANY)
    assert np.mean(drawn) == pytest.approx(0, abs=0.02)
    assert np.var(drawn) == pytest.approx(1, abs=0.03)
    assert np.mean(drawn**3) == pytest.approx(0, abs=0.06)
    assert np.mean(drawn**4) == pytest.approx(2.9, abs=0.1)  # 3 - 1.2 / 12 for a sum of twelve


def test_normal_numbers_use_all_bits_of_a_float() -> None:
    drawn = Stream(5, 0).normal(1000)
    assert not np.any(drawn == drawn.astype(np.float32))


def test_whole_numbers_take_every_value_below_the_limit_and_no_other() -> None:
    counts = np.bincount(Stream(1, 0).integers(7, MANY), minlength=7)
    assert len(counts) == 7
    assert counts == pytest.approx(MANY / 7, rel=0.05)
