"""Many cases: what ends a run, and what costs no more than its own case."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from bncheck.calling import implementation
from bncheck.calling.implementation import REFERENCE, Implementation
from bncheck.case import Case, XDraw
from bncheck.gradients.batchnorm import FloatArray, Gradients, Inputs
from bncheck.report import Run
from bncheck.session import Watch, estimate, hands_for, run
from bncheck.status import ExitStatus

GOOD = Case(shape=(4, 5))
SMALL = Case(shape=(2, 2))
SKIPPED = Case(shape=(4, 5), dtype="float16", x=XDraw(mean=1e5))
UNRESOLVED = Case(shape=(4, 5), implementation="noisy", rtol=1e-9, asked=("dtype", "shapes"))
BLIND = Case(shape=(4, 5), dout="ones", blind="fail")
ALLOWED = replace(UNRESOLVED, unresolved="allow")


def named(name: str) -> Case:
    """A small case for this implementation."""
    return Case(shape=(4, 5), implementation=name)


def wrong(inputs: Inputs, dout: FloatArray) -> Gradients:
    per_feature = np.ones_like(inputs.gamma)
    return Gradients(per_feature, per_feature, per_feature, per_feature, np.ones_like(inputs.x))


def out_of_memory(inputs: Inputs, dout: FloatArray) -> Gradients:
    raise MemoryError


def interrupted(inputs: Inputs, dout: FloatArray) -> Gradients:
    raise KeyboardInterrupt


def broken(inputs: Inputs, dout: FloatArray) -> Gradients:
    raise LookupError("theirs")


def noisy(inputs: Inputs) -> FloatArray:
    """Right to seven digits."""
    return REFERENCE.forward(inputs).astype(np.float32).astype(inputs.x.dtype)


@pytest.fixture(autouse=True)
def more_implementations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some that misbehave, beside the built-in ones."""
    for name, backward in (
        ("wrong", wrong),
        ("out-of-memory", out_of_memory),
        ("interrupted", interrupted),
        ("broken", broken),
    ):
        monkeypatch.setitem(implementation.BUILT_IN, name, Implementation(name, REFERENCE.forward, backward))
    # Its gradients are right and its forward is not exact: nothing can be told.
    noise = Implementation("noisy", noisy, REFERENCE.backward)
    monkeypatch.setitem(implementation.BUILT_IN, "noisy", noise)


def verdicts(report: Run) -> list[str]:
    """In the order of the cases."""
    return [str(case.verdict) for case in report.cases]


def test_cases_are_reported_in_their_order() -> None:
    cases = [GOOD, named("wrong"), SKIPPED, named("closed-form")]
    report = run(cases)
    assert [found.case for found in report.cases] == cases
    assert verdicts(report) == ["pass", "fail", "skipped", "pass"]
    assert (report.selected, report.stopped, report.status) == (4, "", ExitStatus.FAILED)


@pytest.mark.parametrize(
    ("cases", "status"),
    [
        pytest.param([GOOD, GOOD], ExitStatus.PASSED, id="all passed"),
        pytest.param([GOOD, SKIPPED], ExitStatus.PASSED, id="one skipped"),
        pytest.param([SKIPPED, SKIPPED], ExitStatus.NOT_STARTED, id="all skipped"),
        pytest.param([], ExitStatus.NOT_STARTED, id="none"),
        pytest.param([GOOD, named("wrong")], ExitStatus.FAILED, id="one wrong"),
        pytest.param([GOOD, named("out-of-memory")], ExitStatus.FAILED, id="one out of memory"),
        pytest.param([GOOD, UNRESOLVED], ExitStatus.FAILED, id="one unresolved"),
        pytest.param([GOOD, ALLOWED], ExitStatus.PASSED, id="one unresolved, which is allowed"),
        pytest.param([GOOD, named("interrupted")], ExitStatus.INTERRUPTED, id="interrupted"),
    ],
)
def test_status_follows_from_what_was_found(cases: list[Case], status: ExitStatus) -> None:
    assert run(cases).status is status


def test_running_out_of_memory_costs_the_one_case() -> None:
    report = run([GOOD, named("out-of-memory"), GOOD])
    assert verdicts(report) == ["pass", "error", "pass"]
    assert report.cases[1].reason == "out of memory at shape 4 x 5; use a smaller one"


def test_what_else_is_raised_ends_the_run() -> None:
    with pytest.raises(LookupError, match="theirs"):
        run([GOOD, named("broken"), GOOD])


@pytest.mark.parametrize(
    "bad",
    [named("wrong"), named("out-of-memory"), UNRESOLVED, BLIND],
    ids=["fail", "error", "unresolved", "blind"],
)
def test_fail_fast_stops_at_the_first_that_is_not_acceptable(bad: Case) -> None:
    report = run([GOOD, SKIPPED, bad, GOOD], fail_fast=True)
    assert (len(report.cases), report.selected, report.stopped) == (3, 4, "fail-fast")
    assert report.status is ExitStatus.FAILED


def test_fail_fast_goes_on_past_a_case_that_may_be_blind_and_one_that_sees_everything() -> None:
    allowed, seeing = replace(BLIND, blind="allow"), replace(BLIND, dout="normal", shape=(9, 5))
    report = run([allowed, seeing, GOOD], fail_fast=True)
    assert (verdicts(report), report.stopped) == (["pass", "pass", "pass"], "")
    assert [bool(found.blind) for found in report.cases[:2]] == [True, False]


def test_fail_fast_at_the_last_case_has_stopped_nothing() -> None:
    assert run([GOOD, named("wrong")], fail_fast=True).stopped == ""


def test_fail_fast_goes_on_past_what_is_acceptable() -> None:
    report = run([ALLOWED, SKIPPED, GOOD], fail_fast=True)
    assert (verdicts(report), report.stopped) == (["unresolved", "skipped", "pass"], "")


def test_without_fail_fast_every_case_is_run() -> None:
    assert verdicts(run([named("wrong"), named("wrong"), GOOD])) == ["fail", "fail", "pass"]


def test_an_interrupt_keeps_what_was_done() -> None:
    report = run([GOOD, GOOD, named("interrupted"), GOOD])
    assert (verdicts(report), report.selected, report.stopped) == (["pass", "pass"], 4, "interrupted")


def test_an_interrupt_of_the_first_case_is_a_report_of_none() -> None:
    report = run([named("interrupted")])
    assert (report.cases, report.status) == ((), ExitStatus.INTERRUPTED)


def test_progress_is_told_how_many_are_done() -> None:
    told: list[tuple[int, str]] = []
    asked: list[Sequence[float]] = []

    def progress(costs: Sequence[float]) -> contextlib.nullcontext[Watch]:
        asked.append(costs)
        return contextlib.nullcontext(lambda done, at_work: told.append((done, at_work)))

    cases = [replace(case, label=f"case {number}") for number, case in enumerate((GOOD, SKIPPED, SMALL))]
    run(cases, progress=progress)
    assert told == [(0, "case 0"), (1, "case 1"), (2, "case 2"), (3, "")]
    assert asked == [[estimate(case) for case in cases]]


def test_a_case_is_estimated_by_its_elements() -> None:
    assert estimate(Case(shape=(128, 256, 28, 28))) == pytest.approx(25.7, rel=0.01)
    assert estimate(Case(shape=(4, 5))) == pytest.approx(0.02, rel=0.01)


def test_each_case_carries_the_command_that_repeats_it() -> None:
    report = run([GOOD, named("wrong")], repeat=lambda case: f"again {case.implementation}")
    assert [found.repeat for found in report.cases] == ["again reference", "again wrong"]


def test_times_are_those_of_the_cases_and_of_the_run() -> None:
    report = run([GOOD, named("out-of-memory")])
    assert all(found.seconds > 0 for found in report.cases)
    assert report.seconds >= sum(found.seconds for found in report.cases)


def test_a_large_case_of_ours_has_the_limit_of_memory_that_theirs_have() -> None:
    cases = [Case(shape=(6000, 400), memory=64_000_000), GOOD]
    with hands_for(cases, in_process=False) as hands:
        report = run(cases, hands)
    assert verdicts(report) == ["error", "pass"]
    assert report.cases[0].reason == "out of memory at shape 6000 x 400; use a smaller one"
