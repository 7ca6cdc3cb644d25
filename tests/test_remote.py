"""Hands on the code of others: what its crashes cost, who makes the calls, and how its cases are labelled."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from bncheck import remote, session
from bncheck.case import Case, Convention, Origin, Verdict
from bncheck.discovery import Discovery, Inspection, Member
from bncheck.faults.diagnosis import Finding
from bncheck.faults.hypotheses import Fit
from bncheck.faults.reduction import Boundary, Followed
from bncheck.remote import Hands, expand
from bncheck.report import CaseReport
from bncheck.session import Watch, run
from bncheck.status import StartError
from bncheck.workers.pool import InProcess
from bncheck.workers.worker import Reply

DENSE = Convention(forward="f(x) -> out, cache", backward="b(dout, cache) -> dx", layout="(n, d)")
IMAGES = Convention(forward="g(x) -> out, cache", backward="c(dout, cache) -> dx", layout="channels first", axes=(4,))
THREE = Discovery((Member("one", DENSE), Member("two", DENSE), Member("images", IMAGES)))
LAYERS = Origin(place="layers.py")
ROWS = ["out", "beta", "gamma", "mean", "var", "x"]
TOP = Path(__file__).parents[1]

posix = pytest.mark.skipif(sys.platform != "linux", reason="signals and limits as Linux has them")


class Caller:
    """A caller that gives one reply to every call, and remembers the calls."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.asked: list[tuple[object, ...]] = []

    def call(self, function: Callable[..., object], *arguments: object) -> Reply:
        self.asked.append(arguments)
        return self.reply

    @property
    def hands(self) -> Hands:
        return Hands(lambda case: self.call)


def of_theirs(*shapes: tuple[int, ...], origin: Origin = LAYERS) -> list[Case]:
    return [Case(shape=shape, label=f"{shape[0]} rows", origin=origin) for shape in shapes]


# --- members -----------------------------------------------------------------------------------------------------


def test_several_members_are_each_a_case_on_the_shapes_that_they_take() -> None:
    cases = expand(of_theirs((6, 4), (3, 4, 2, 3)), Caller(Reply(THREE)).hands)
    assert [(case.member, case.label) for case in cases] == [
        ("one", "one 6 rows"),
        ("two", "two 6 rows"),
        ("images", "images 3 rows"),
    ]
    assert [case.origin and case.origin.convention for case in cases] == [DENSE, DENSE, IMAGES]


def test_a_single_member_leaves_the_label_as_it_is() -> None:
    (case,) = expand(of_theirs((6, 4)), Caller(Reply(Discovery(THREE.members[:1]))).hands)
    assert (case.member, case.label) == ("one", "6 rows")


def test_a_shape_that_nobody_takes_stays_with_all_of_them() -> None:
    cases = expand(of_theirs((4, 3, 5)), Caller(Reply(THREE)).hands)
    assert [case.member for case in cases] == ["one", "two", "images"]


def test_a_file_is_looked_at_once_whatever_the_number_of_its_cases() -> None:
    caller = Caller(Reply(THREE))
    expand(of_theirs((6, 4), (5, 4), (7, 4)), caller.hands)
    assert caller.asked == [(LAYERS,)]


def test_two_places_are_both_looked_at() -> None:
    caller = Caller(Reply(THREE))
    other = Origin(place="other.py")
    expand(of_theirs((6, 4)) + of_theirs((6, 4), origin=other), caller.hands)
    assert caller.asked == [(LAYERS,), (other,)]


def test_our_own_cases_stay_as_and_where_they_are() -> None:
    ours = Case(shape=(2, 2))
    caller = Caller(Reply(Discovery(THREE.members[:1])))
    cases = expand([ours, *of_theirs((6, 4)), ours], caller.hands)
    assert (cases[0], cases[1].member, cases[2]) == (ours, "one", ours)


# --- refusals ----------------------------------------------------------------------------------------------------


def test_what_is_refused_is_said_once_for_each_file() -> None:
    caller = Caller(Reply(Discovery(refusal="error: nothing in it")))
    other = Origin(place="other.py")
    with pytest.raises(StartError, match=r"^error: nothing in it$"):
        expand(of_theirs((6, 4), (5, 4)) + of_theirs((6, 4), origin=other), caller.hands)


def test_a_file_that_takes_the_worker_down_is_refused_with_what_it_printed() -> None:
    caller = Caller(Reply(None, "layers.py:2: it took longer than 1 s and was stopped", "hello\n"))
    with pytest.raises(StartError) as refusal:
        expand(of_theirs((6, 4)), caller.hands)
    assert str(refusal.value) == (
        "error: layers.py cannot be looked at: layers.py:2: it took longer than 1 s and was stopped\nit printed:\nhello"
    )


def test_a_file_that_prints_nothing_is_not_said_to_have_printed() -> None:
    caller = Caller(Reply(None, "it ended the process with status 0 (os._exit)", " \n"))
    with pytest.raises(StartError) as refusal:
        expand(of_theirs((6, 4)), caller.hands)
    says = "error: layers.py cannot be looked at: it ended the process with status 0 (os._exit)"
    assert str(refusal.value) == says


def test_looking_at_a_file_gives_what_was_seen_or_why_not() -> None:
    seen = Inspection("# Layer", True)
    assert Caller(Reply(seen)).hands.look_at(LAYERS) == seen
    crashed = Reply(None, "the process was ended by SIGSEGV")
    says = "error: layers.py cannot be looked at: the process was ended by SIGSEGV"
    assert Caller(crashed).hands.look_at(LAYERS) == Inspection(says, False)


# --- one case ----------------------------------------------------------------------------------------------------


def test_a_report_comes_back_with_what_was_printed() -> None:
    (case,) = of_theirs((6, 4))
    report = CaseReport(case, Verdict.PASS)
    found = Caller(Reply(report, output="hello\n")).hands.check(case)
    assert found == CaseReport(case, Verdict.PASS, output="hello\n")


def test_whatever_befell_the_call_is_the_error_of_that_case() -> None:
    (case,) = of_theirs((6, 4))
    outcome = Reply(None, "layers.py:7 backward: ValueError: no", "hello\n")
    found = Caller(outcome).hands.check(case)
    assert found == CaseReport(case, Verdict.ERROR, reason="layers.py:7 backward: ValueError: no", output="hello\n")


# --- hands -------------------------------------------------------------------------------------------------------


def test_cases_with_the_same_limits_share_a_worker_and_others_have_their_own() -> None:
    limits = [(5.0, 10**10), (5.0, 10**10), (9.0, 10**10), (5.0, 10**9)]
    cases = [Case(shape=(2, 2), seed=number, timeout=time, memory=most) for number, (time, most) in enumerate(limits)]
    with remote.workers() as hands:
        one, same, longer, larger = map(hands.call_for, cases)
        assert one == same
        assert one != longer != larger != one


def test_in_this_process_there_is_no_worker() -> None:
    with remote.this_process() as hands:
        assert hands.call_for(Case(shape=(2, 2)))(os.getpid).value == os.getpid()


def test_a_crash_costs_one_case_and_the_next_one_imports_the_file_again(tmp_path: Path) -> None:
    file = tmp_path / "layers.py"
    file.write_text(
        "import os\n"
        "import numpy as np\n"
        "def f(x, eps):\n"
        "    std = np.sqrt(x.var(axis=0) + eps)\n"
        "    return (x - x.mean(axis=0)) / std, std\n"
        "def b(dout, std):\n"
        "    if len(dout) == 13:\n"
        "        os._exit(0)\n"
        "    return dout / std\n",
        encoding="utf-8",
    )
    convention = Convention(forward="f(x, eps) -> out, cache", backward="b(dout, cache) -> dx", layout="(n, d)")
    cases = of_theirs((6, 4), (13, 4), (7, 3), origin=Origin(place=str(file), convention=convention))
    with remote.workers() as hands:
        reports = [hands.check(case) for case in expand(cases, hands)]
    assert [report.verdict for report in reports] == [Verdict.FAIL, Verdict.ERROR, Verdict.FAIL]
    assert reports[1].reason == "it ended the process with status 0 (os._exit)"
    assert [len(report.comparisons) for report in reports] == [6, 0, 6]


# --- hazards, by the command line --------------------------------------------------------------------------------

HAZARDOUS = """
import ctypes, os, sys
import numpy as np


def batchnorm_forward(x, gamma, beta, eps):
    std = np.sqrt(x.var(axis=0) + eps)
    x_hat = (x - x.mean(axis=0)) / std
    return gamma * x_hat + beta, (x_hat, std, gamma)


def strike():
    {strike}


def batchnorm_backward(dout, cache):
    if len(dout) == 13:
        strike()
    x_hat, std, gamma = cache
    n = len(dout)
    dbeta, dgamma = dout.sum(axis=0), (dout * x_hat).sum(axis=0)
    return gamma / (n * std) * (n * dout - dbeta - x_hat * dgamma), dgamma, dbeta
"""
STRUCK = "layers.py:13 strike: "
STOPPED = f"{STRUCK}it took longer than 2 s and was stopped"
LEFT = "it ended the process with status 0 (os._exit)"

# What is done, and how the reason for it begins.
HAZARDS = {
    "a hang": ("while True: pass", STOPPED),
    "a segfault": ("ctypes.string_at(0)", f"{STRUCK}the process was ended by SIGSEGV (it used memory that is not its "),
    "os._exit(0)": ("os._exit(0)", LEFT),
    "sys.exit()": ("sys.exit()", f"{STRUCK}it called sys.exit()"),
    "KeyboardInterrupt": ("raise KeyboardInterrupt", f"{STRUCK}KeyboardInterrupt"),
    "100 GB": (
        "np.ones(100_000_000_000, np.int8)",
        f"{STRUCK}it ran out of memory, of which it may take 300 MB (MemoryError: Unable to allocate 93.1 GiB for ",
    ),
    "endless recursion": ("strike()", f"{STRUCK}RecursionError: maximum recursion depth exceeded"),
    "a gigabyte of prints, again and again": ("while True: print('x' * 999_999)", STOPPED),
    "its own file deleted, and an exit": ("os.unlink(__file__); os._exit(0)", LEFT),
}
BOUND = 20  # seconds: the timeout is 2, the start of two workers takes less than one


@pytest.mark.slow
@posix
@pytest.mark.parametrize(("strike", "reason"), HAZARDS.values(), ids=HAZARDS)
def test_a_hazard_costs_its_own_case_and_nothing_else(tmp_path: Path, strike: str, reason: str) -> None:
    report = under_hazard(tmp_path, strike)
    assert [case["verdict"] for case in report["cases"][:2]] == ["pass", "error"]
    struck, last = report["cases"][1:]
    assert struck["reason"].startswith(reason)
    assert struck["nodes"] == {}
    assert len(struck["output"] or "") < 100_000
    if "unlink" in strike:  # a new worker has no file to import any more
        assert (last["verdict"], "there is no file layers.py" in last["reason"]) == ("error", True)
    else:
        assert (last["verdict"], list(last["nodes"])) == ("pass", ROWS)


HARMLESS = {
    "a gigabyte of prints": "os.environ.pop('ONCE', None) and [print('x' * 999_999) for _ in range(1000)]",
    "its own file deleted": "os.path.exists(__file__) and os.unlink(__file__)",
}


@pytest.mark.slow
@posix
@pytest.mark.parametrize("strike", HARMLESS.values(), ids=HARMLESS)
def test_what_does_no_harm_to_the_numbers_passes(tmp_path: Path, strike: str) -> None:
    report = under_hazard(tmp_path, strike, timeout=30, status=0)
    assert [case["verdict"] for case in report["cases"]] == ["pass"] * 3
    if "print" in strike:
        assert "1.0 GB left out" in report["cases"][1]["output"]


def under_hazard(folder: Path, strike: str, timeout: int = 2, status: int = 1) -> dict[str, Any]:
    """The report of three cases in a process of its own, of which the second is struck."""
    (folder / "layers.py").write_text(HAZARDOUS.format(strike=strike), encoding="utf-8")
    limits = ["--set", f"timeout={timeout}", "--set", "memory=300 MB"]
    shapes = ["--shape", "6x4", "--shape", "13x4", "--shape", "7x3"]
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-m", "bncheck", "run", *shapes, "-i", "layers.py", *limits, "--format", "json"],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(TOP), "ONCE": "1"},
        cwd=folder,
        timeout=60,
        check=False,
    )
    assert time.monotonic() - began < BOUND
    assert (ended.returncode, ended.stderr) == (status, "")
    report: dict[str, Any] = json.loads(ended.stdout)
    assert [case["label"] for case in report["cases"]] == ["6x4 seed=0", "13x4 seed=0", "7x3 seed=0"]
    return report


# --- a failure is followed up --------------------------------------------------------------------------------------


@pytest.mark.parametrize("reply", [Reply(failure="it crashed"), Reply(None)])
def test_a_failure_whose_following_up_ends_badly_is_reported_as_it_is(reply: Reply) -> None:
    (case,) = of_theirs((6, 4))
    report = CaseReport(case, Verdict.FAIL)
    assert Caller(reply).hands.follow(report, 1.0) == report


def test_what_is_found_of_a_failure_comes_into_its_report() -> None:
    (case,) = of_theirs((6, 4))
    found = Followed((Boundary("n", 64, 65),))
    caller = Caller(Reply(found))
    assert caller.hands.follow(CaseReport(case, Verdict.FAIL), 1.0).boundaries == found.boundaries
    assert caller.hands.follow(CaseReport(case, Verdict.PASS), 1.0).boundaries == ()
    assert len(caller.asked) == 1


def test_following_up_has_its_label_and_ends_with_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = of_theirs((6, 4), (7, 4), (8, 4))
    told: list[tuple[int, str]] = []

    @contextlib.contextmanager
    def progress(costs: Sequence[float]) -> Iterator[Watch]:
        yield lambda done, at_work: told.append((done, at_work))

    def checked(case: Case) -> CaseReport:
        sentence = f"x: another thing at {case.label}"
        return CaseReport(case, Verdict.FAIL, findings=(Finding(("x",), sentence, "", Fit.EVERY),))

    hands = Hands(
        lambda case: InProcess().call,
        lambda origin: Discovery(THREE.members[:1]),
        checked,
        lambda report, seconds: Followed(),
    )
    for seconds, elements, followed in ((60.0, 1000, 3), (-1.0, 1000, 1), (60.0, 28, 2), (60.0, 20, 0)):
        monkeypatch.setattr(session, "FOLLOWED", elements)
        monkeypatch.setattr(session, "FOLLOWING", seconds)
        told.clear()
        run(cases, hands, progress=progress)
        assert told[len(told) - followed :] == [(3, f"following up {case.label}") for case in cases[:followed]]
        assert told[-followed - 1] == (3, "")
