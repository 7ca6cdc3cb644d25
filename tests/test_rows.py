"""How somebody's gradients are judged that show only as an update of their parameter."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from bncheck.case import Case, XDraw
from bncheck.check import check
from bncheck.comparison import Comparison, Verdict
from bncheck.implementations.binding import bind
from bncheck.implementations.convention import Convention
from bncheck.implementations.foreign import Foreign
from bncheck.report import CaseReport
from tests.conftest import TRAIN

CONVENTION = Convention(
    create="Layer(d, eps=eps)",
    set=(("gamma", "self.gamma"), ("beta", "self.beta")),
    forward="self.forward(x) -> out",
    backward="self.backward(dout) -> dx",
    gradients=(("gamma", "update(self.gamma)"), ("beta", "update(self.beta)")),
)
QUIET = Case(shape=(7, 3), x=XDraw(std=1e-150))
HIDDEN = (
    "only an update of gamma shows its gradient, and one of size 1.4e-147 is lost in the rounding of gamma, 1.4e-16; "
    "keep dgamma in an attribute, and it is judged"
)


@dataclass
class Layer:
    """One that leaves no gradients, but applies them; `factor` is what its dgamma is multiplied by."""

    d: int
    eps: float
    factor: float = 1.0
    extra: float = 0.0

    def __post_init__(self) -> None:
        self.gamma: Any = np.ones(self.d)
        self.beta: Any = np.zeros(self.d)

    def forward(self, x: Any) -> Any:
        self.std = np.sqrt(x.var(axis=0) + self.eps)
        self.x_hat = (x - x.mean(axis=0)) / self.std
        return self.gamma * self.x_hat + self.beta

    def backward(self, dout: Any) -> Any:
        g = dout * self.gamma
        dx = (g - g.mean(axis=0) - self.x_hat * (g * self.x_hat).mean(axis=0)) / self.std
        self.gamma = self.gamma - self.factor * (dout * self.x_hat).sum(axis=0) - self.extra
        self.beta = self.beta - dout.sum(axis=0)
        return dx


def checked(case: Case, **wrong: float) -> CaseReport:
    """A check of such a layer, wrong in some way."""
    namespace = {"Layer": lambda d, eps: Layer(d, eps, **wrong)}
    return check(case, Foreign(bind(namespace, "Layer", CONVENTION, case)))


def row(report: CaseReport, node: str) -> Comparison:
    """One row."""
    return next(found for found in report.comparisons if found.node == node)


@pytest.mark.parametrize("regime", TRAIN)
def test_a_layer_that_only_updates_raises_no_false_alarm(regime: str) -> None:
    assert checked(TRAIN[regime]).verdict is Verdict.PASS


def test_a_gradient_that_an_update_cannot_show_is_skipped_with_the_reason() -> None:
    report = checked(QUIET)
    assert (row(report, "gamma").verdict, row(report, "gamma").note) == (Verdict.SKIPPED, HIDDEN)
    assert [found.node for found in report.comparisons if found.verdict is Verdict.SKIPPED] == ["gamma"]


def test_a_tolerance_of_their_own_does_not_make_it_a_failure() -> None:
    assert row(checked(replace(QUIET, rtol=1e-6)), "gamma").note == HIDDEN


def test_what_an_update_does_show_fails_where_nothing_should_show() -> None:
    assert row(checked(QUIET, extra=1e-12), "gamma").verdict is Verdict.FAIL


@pytest.mark.parametrize("regime", [regime for regime in TRAIN if regime not in ("std 1e-150", "dout of ones")])
@pytest.mark.parametrize("factor", [0.0, -1.0, 2.0, 1 / 7, 1 + 1e-3])
def test_a_wrong_update_fails_at_gamma_alone(regime: str, factor: float) -> None:
    report = checked(TRAIN[regime], factor=factor)
    assert [found.node for found in report.comparisons if found.verdict is Verdict.FAIL] == ["gamma"]


@pytest.mark.parametrize("std", [1e-9, 1e-12])
def test_a_small_gradient_is_judged_by_the_digits_that_its_update_shows(std: float) -> None:
    case = Case(shape=(7, 3), x=XDraw(std=std))
    right, wrong = row(checked(case), "gamma"), row(checked(case, factor=1.1), "gamma")
    assert (right.verdict, wrong.verdict) == (Verdict.PASS, Verdict.FAIL)
    assert 1.05e-9 < right.tolerance < 1e-5
