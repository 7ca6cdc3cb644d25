"""Why a case is blind to some faults, and what would show them: the reason is right, and the cure cures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bncheck.case import Case, XDraw
from bncheck.faults.power import visibility
from bncheck.gradients.problem import draw
from bncheck.gradients.yardsticks import Basis
from tests.faults.test_power import DENSE, scene, seen


def sentences(case: Case) -> list[str]:
    return [blind.sentence for blind in seen(case).blind]


# --- reasons and cures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "reason", "cured"),
    [
        (
            replace(DENSE, dout="ones"),
            "dout is ones, so dx is zero: 47 faults in x cannot show; use dout: normal",
            DENSE,
        ),
        (
            replace(DENSE, dout="zeros"),
            "dout is zeros, so every gradient is zero: 104 faults in x, 16 in gamma and 9 in beta cannot show; "
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
            "gamma is zeros, so dx is zero: 92 faults in x cannot show; use gamma: normal",
            DENSE,
        ),
        (
            replace(DENSE, x=XDraw(std=1e6)),
            "eps is 1.3e-5, which is too little beside the variance for float64: 15 faults in x and 2 in gamma cannot "
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
            "float16 tolerates more than they change: 15 faults in x and 2 in gamma cannot show; use dtype: float64",
            DENSE,
        ),
        (
            replace(DENSE, x=XDraw(std=1e-150)),
            "the variance is nothing beside eps, so nothing comes back through var: 14 faults in x cannot show; "
            "use x: {like: normal, std: 0.02}",
            replace(DENSE, x=XDraw(std=0.02)),
        ),
        (
            replace(DENSE, rtol=1e-4),
            "rtol is 1e-4, which is more than they change: 15 faults in x and 2 in gamma cannot show; use rtol: auto",
            DENSE,
        ),
        (
            replace(DENSE, dtype="float32", eps=1e-12),
            "float32 tolerates more than they change: 2 faults in x cannot show; use dtype: float64",
            replace(DENSE, x=XDraw(std=6e-6), eps=1e-12),
        ),
        (
            replace(DENSE, gamma="ones", beta="zeros"),
            "gamma is ones and beta is zeros, so out is x_hat: 1 fault in gamma cannot show; use beta: normal",
            replace(DENSE, gamma="ones"),
        ),
        (
            Case(shape=(2, 3), dtype="float32", x=XDraw(std=1e3)),
            "n is 2, so the routes of dx cancel but for eps: 9 faults in x cannot show; use n >= 3",
            Case(shape=(3, 3), dtype="float32", x=XDraw(std=1e3)),
        ),
        (
            Case(shape=(7, 1), x=XDraw(like="constant")),
            "x is constant, so x_hat is zero: 9 faults in gamma cannot show; use x: {like: normal}",
            Case(shape=(7, 1)),
        ),
        (
            replace(DENSE, eps=1e-5),
            "eps is 1e-05, so that 1e-5 written for it is no change: 3 faults in x cannot show; use eps: 1.3e-05",
            DENSE,
        ),
        (
            replace(DENSE, eps=1e-20),
            "what they change is below the tolerance: 2 faults in x cannot show; use other data: the default x, gamma, "
            "dout and eps",
            DENSE,
        ),
    ],
    ids=[
        "dout ones",
        "dout zeros",
        "gamma ones",
        "gamma zeros",
        "std",
        "square",
        "eval",
        "float16",
        "no variance",
        "rtol",
        "float32",
        "out",
        "n = 2",
        "constant",
        "eps 1e-5",
        "no reason",
    ],
)
def test_blindness_is_told_with_its_reason_and_a_cure_that_works(case: Case, reason: str, cured: Case) -> None:
    (blind,) = (blind for blind in seen(case).blind if blind.sentence == reason)
    assert not {*blind.faults} & {*seen(cured).invisible}


def test_row_that_is_not_judged_is_the_reason_for_its_faults() -> None:
    parts, yardsticks = scene(replace(DENSE, dout="ones"))
    blind = visibility(parts, {node: yardsticks[node] for node in ("beta", "mean", "var", "x")}, "float64").blind
    assert [found.sentence for found in blind] == [
        "dout is ones, so dx is zero: 47 faults in x cannot show; use dout: normal",
        "there is no dgamma that can be judged: 15 faults in gamma cannot show; let your code give it",
        "dout is ones, so a forgotten dout is no change: 1 fault in beta cannot show; use dout: normal",
    ]


def test_beta_is_not_called_zeros_where_it_is_not() -> None:
    told = sentences(replace(DENSE, gamma="ones", rtol=2))
    assert "dgamma-on-out" in {fault.name for fault in seen(replace(DENSE, gamma="ones", rtol=2)).invisible}
    assert not [sentence for sentence in told if "beta is zeros" in sentence]


def test_one_fault_is_told_in_the_singular() -> None:
    assert "dout is ones, so a forgotten dout is no change: 1 fault in beta cannot show; use dout: normal" in sentences(
        replace(DENSE, dout="ones")
    )


def test_large_groups_are_told_first() -> None:
    counts = [len(blind.faults) for blind in seen(replace(DENSE, dout="ones")).blind]
    assert counts == sorted(counts, reverse=True)
    assert len(counts) > 1


# --- cures, one after the other ------------------------------------------------------------------------------------


def cured(case: Case, cure: str) -> Case:
    """The case with what it is told to use."""
    if cure == "use n >= 3":
        return replace(case, shape=(3, *case.shape[1:]))
    if cure == "use a shape with n != d":
        return replace(case, shape=(case.shape[0] + 1, *case.shape[1:]))
    if cure == "use other data: the default x, gamma, dout and eps":
        return replace(case, x=XDraw(), gamma="normal", dout="normal", eps=1e-5)
    key, _, value = cure.removeprefix("use ").partition(": ")
    if key == "x":
        std = value.partition("std: ")[2].strip("}")
        return replace(case, x=XDraw(std=float(std or 1)))
    changed: dict[str, Any] = {key: None if value == "auto" else float(value) if key == "eps" else value}
    return replace(case, **changed)


BLINDEST = [
    Case(shape=shape, x=x, dtype=dtype, eps=eps)
    for shape in [(7, 3), (2, 3), (6, 6), (300, 2)]
    for x in [XDraw(), XDraw(std=1e6), XDraw(std=1e-8), XDraw(mean=1e4), XDraw(like="constant"), XDraw(like="outlier")]
    for dtype in ["float64", "float32", "float16"]
    for eps in [1e-5, 1e-12]
] + [
    Case(shape=shape, dout=dout, gamma=gamma, beta=beta, mode=mode, rtol=rtol)
    for shape in [(7, 3), (2, 1)]
    for dout in ["normal", "ones", "zeros"]
    for gamma in ["normal", "ones", "zeros"]
    for beta in ["normal", "zeros"]
    for mode in ["train", "eval"]
    for rtol in [None, 1e-3]
]


def is_possible(case: Case) -> bool:
    """Whether the dtype can carry it."""
    with np.errstate(all="ignore"):
        return not Basis.of(draw(case)).reason


@pytest.mark.slow
def test_whoever_follows_the_cures_ends_with_nothing_invisible() -> None:
    lost = []
    for first in BLINDEST:
        case = first
        for _ in range(8):
            if not is_possible(case):
                break  # what is left to do is told by the reason for skipping it
            blind = seen(case).blind
            if not blind:
                break
            case = cured(case, blind[0].cure)
        else:
            lost.append(first)
    assert not lost


@pytest.mark.slow
def test_a_cure_is_never_for_nothing() -> None:
    idle = {
        blind.sentence
        for case in BLINDEST
        if is_possible(case)
        for blind in seen(case).blind
        if cured(case, blind.cure) == case
    }
    assert not idle
