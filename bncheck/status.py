"""Exit statuses of the command, the error of one, and how much it may give away; `--help` needs no report for these."""

from __future__ import annotations

from enum import IntEnum, StrEnum

from bncheck.terminal import escaped


class ExitStatus(IntEnum):
    """A status with which the process ends. `sentence` is what the README and `--help` say of it."""

    sentence: str

    PASSED = 0, "Every check passed."
    FAILED = 1, "Some check failed, was unresolved, ended in an error, or was blind where the config demands sight."
    NOT_STARTED = 2, "Nothing was checked: a mistake in the arguments or the config, or nothing selected."
    BUG = 3, "A bug in bncheck itself, shown with its traceback."
    INTERRUPTED = 130, "Interrupted (143 by SIGTERM, 129 by SIGHUP); what was checked by then is reported."

    def __new__(cls, value: int, sentence: str) -> ExitStatus:
        """A member, which is its number and carries its sentence."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.sentence = sentence
        return member


class StartError(ValueError):
    """A check cannot start; the message says why, and what to do. It may quote what others have written."""

    def __init__(self, message: str) -> None:
        super().__init__(escaped(message))


class Hints(StrEnum):
    """How much a failure gives away, each more than the one before: whether, where, in what, and what is right."""

    VERDICT = "verdict"
    PLACE = "place"
    ROUTE = "route"
    FORMULA = "formula"
