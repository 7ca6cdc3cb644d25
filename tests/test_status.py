"""Exit statuses and their sentences."""

from __future__ import annotations

import sys

import pytest

from bncheck.status import ExitStatus


@pytest.mark.parametrize(
    ("number", "name", "sentence"),
    [
        (0, "PASSED", "Every check passed."),
        (
            1,
            "FAILED",
            "Some check failed, was unresolved, ended in an error, or was blind where the config demands sight.",
        ),
        (2, "NOT_STARTED", "Nothing was checked: a mistake in the arguments or the config, or nothing selected."),
        (3, "BUG", "A bug in bncheck itself, shown with its traceback."),
        (130, "INTERRUPTED", "Interrupted from the keyboard; what was checked by then is reported."),
    ],
)
def test_each_number_has_its_name_and_sentence(number: int, name: str, sentence: str) -> None:
    status = next(status for status in ExitStatus if status == number)
    assert (status.name, status.sentence) == (name, sentence)


def test_there_are_no_others() -> None:
    assert [int(status) for status in ExitStatus] == [0, 1, 2, 3, 130]


def test_a_status_ends_a_process_with_its_number() -> None:
    with pytest.raises(SystemExit) as ended:
        sys.exit(ExitStatus.INTERRUPTED)
    assert ended.value.code == 130
