"""Why a case is blind to some faults, and what would show them: the reason is right, and the cure cures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bncheck.case import Case, XDraw
from tests.test_sight import DENSE, seen


def sentences(case: Case) -> list[str]:
    return [blind.sentence for blind in seen(case).blind]


# --- reasons and cures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "reason", "cured"),
    [
        (
            replace(DENSE, dout="ones"),
            "dout is ones, so dx is zero: 45 faults in x cannot show; use dout: normal",
            DENSE,
        ),
        (
            replace(DENSE, dout="zeros"),
            "dout is zeros, so every gradient is zero: 98 faults in x, 15 in gamma and 9 in beta cannot show; "
            "use dout: normal",
            DENSE,
        ),
        (
            replace(DENSE, gamma="ones"),
            "gamma is ones, so a gamma too many or too few is no change: 9 faults in x, 1 in beta and 1 in gamma "
            "cannot show; use gamma: normal",
            DENSE,
        ),
        (
            replace(DENSE, gamma="zeros"),
            "gamma is zeros, so dx is zero: 88 faults in x cannot show; use gamma: normal",
            DENSE,
        ),
        (
            replace(DENSE, x=XDraw(std=1e6)),
            "eps is 1e-5, which is too little beside the variance for float64: 12 faults in x and 2 in gamma cannot "
            "show; use x: {like: normal, std: 0.02}",
            replace(DENSE, x=XDraw(std=0.02)),
        ),
        (
            Case(shape=(6, 6)),
            "n is d, so that one cannot be told from the other: 3 faults in x cannot show; use a shape with n != d",
            DENSE,
        ),
        (
            replace(DENSE, mode="eval"),
            "mean and var are constants in eval mode, so dx is the direct route alone: 19 faults in x cannot show; "
            "use mode: train",
            DENSE,
        ),
        (
            replace(DENSE, dtype="float16"),
            "float16 tolerates more than they change: 14 faults in x and 2 in gamma cannot show; use dtype: float64",
            DENSE,
        ),
        (
            replace(DENSE, x=XDraw(std=1e-150)),
            "the variance is nothing beside eps, so nothing comes back through var: 14 faults in x cannot show; "
            "use x: {like: normal, std: 0.02}",
            replace(DENSE, x=XDraw(std=0.02)),
        ),
    ],
    ids=["dout ones", "dout zeros", "gamma ones", "gamma zeros", "std", "square", "eval", "float16", "no variance"],
)
def test_blindness_is_told_with_its_reason_and_a_cure_that_works(case: Case, reason: str, cured: Case) -> None:
    (blind,) = (blind for blind in seen(case).blind if blind.sentence == reason)
    assert not {*blind.faults} & {*seen(cured).invisible}


def test_one_fault_is_told_in_the_singular() -> None:
    assert "dout is ones, so a forgotten dout is no change: 1 fault in beta cannot show; use dout: normal" in sentences(
        replace(DENSE, dout="ones")
    )


def test_large_groups_are_told_first() -> None:
    counts = [len(blind.faults) for blind in seen(replace(DENSE, dout="ones")).blind]
    assert counts == sorted(counts, reverse=True)
    assert len(counts) > 1
