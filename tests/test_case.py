"""The size of a case: its rows, features and samples."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from bncheck.case import Case


@pytest.mark.parametrize(
    ("shape", "channel_axis", "n", "d"),
    [
        pytest.param((4, 5), 1, 4, 5, id="(N, D)"),
        pytest.param((4, 5, 3), 1, 12, 5, id="(N, C, L)"),
        pytest.param((4, 5, 3, 2), 1, 24, 5, id="(N, C, H, W)"),
        pytest.param((4, 5, 3, 2, 7), 1, 168, 5, id="(N, C, D, H, W)"),
        pytest.param((4, 3, 2, 5), -1, 24, 5, id="channels last"),
        pytest.param((5, 4), 0, 4, 5, id="channels first of all"),
        pytest.param((1, 5), 1, 1, 5, id="one row"),
    ],
)
def test_rows_are_everything_but_the_channels(shape: tuple[int, ...], channel_axis: int, n: int, d: int) -> None:
    case = Case(shape=shape, channel_axis=channel_axis)
    assert (case.n, case.d) == (n, d)


def test_equal_cases_are_one_key() -> None:
    assert {Case(shape=(4, 5)): "found"}[Case(shape=(4, 5))] == "found"


def test_a_case_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Case(shape=(4, 5)).seed = 1  # type: ignore[misc]  # that it is refused is what is tested


@pytest.mark.parametrize(
    ("shape", "channel_axis", "samples"),
    [((4, 5), 1, 4), ((5, 4), 0, 4), ((4, 3, 2, 6), 1, 4), ((4, 2, 6, 3), -1, 4), ((3, 4, 2), 0, 4)],
    ids=["(N, D)", "(D, N)", "(N, C, H, W)", "channels last", "(C, N, L)"],
)
def test_samples_are_the_first_axis_that_is_not_that_of_the_channels(
    shape: tuple[int, ...], channel_axis: int, samples: int
) -> None:
    assert Case(shape=shape, channel_axis=channel_axis).samples == samples
