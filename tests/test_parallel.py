"""Cases checked at the same time, in threads and by executors: the reports are those of one after the other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import bncheck
from bncheck import remote, session
from bncheck.case import Case, Origin, Verdict
from bncheck.status import StartError
from bncheck.workers.pool import STOPPED, Pool
from tests.test_discovery import LAYERS

TOP = Path(__file__).parents[1]


@pytest.fixture
def layers(tmp_path: Path) -> Path:
    file = tmp_path / "layers.py"
    file.write_text(LAYERS, encoding="utf-8")
    return file


def without_times(text: str) -> dict[str, Any]:
    """A JSON report without its times."""
    loaded: dict[str, Any] = json.loads(text, object_hook=lambda one: {k: v for k, v in one.items() if k != "seconds"})
    return loaded


def of_the_run(cases: list[Case], jobs: int) -> list[str]:
    with session.hands_for(cases, in_process=False, jobs=jobs) as hands:
        return [repr(found).partition(", seconds=")[0] for found in session.run(cases, hands, jobs=jobs).cases]


def test_the_reports_are_the_same_for_every_number_of_jobs(layers: Path) -> None:
    theirs = [
        Case(shape=(5 + seed, 4), seed=seed, label=f"{seed}", origin=Origin(place=str(layers))) for seed in range(5)
    ]
    cases = [*theirs, *(Case(shape=(300, 40), seed=seed, label=f"{seed}") for seed in range(4))]
    alone = of_the_run(cases, 1)
    assert len(alone) >= len(cases)
    assert of_the_run(cases, 2) == alone
    assert of_the_run(cases, 5) == alone


def test_the_first_failure_in_the_order_of_the_config_ends_the_run(tmp_path: Path) -> None:
    file = tmp_path / "layers.py"
    file.write_text(LAYERS.replace("dout * x_hat", "dout * x_hat * (1 + (len(dout) == 9))"), encoding="utf-8")
    cases = [
        Case(shape=(n, 4), label=f"{n}", origin=Origin(place=f"{file}:batchnorm_backward")) for n in (7, 8, 9, 10, 11)
    ]
    with session.hands_for(cases, in_process=False, jobs=3) as hands:
        report = session.run(cases, hands, jobs=3, fail_fast=True)
    assert [found.verdict.value for found in report.cases] == ["pass", "pass", "fail"]
    assert report.stopped == "fail-fast"


def test_an_interrupt_keeps_what_was_done_and_ends_what_is_running() -> None:
    stopped = threading.Event()

    def call(number: int) -> int:
        if number == 1:
            os.kill(os.getpid(), signal.SIGINT)
        if number > 0:
            stopped.wait(30)
        return number

    results = remote.in_threads(call, range(9), 3, stopped.set)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        list(results)
    assert stopped.is_set()
    assert time.monotonic() - began < 10


@pytest.mark.skipif(os.name != "posix", reason="an interrupt is a signal of POSIX")
def test_ctrl_c_ends_the_command_with_what_was_done(layers: Path) -> None:
    slow = LAYERS.replace("def batchnorm_backward(dout, cache):", "def batchnorm_backward(dout, cache):\n    nap(dout)")
    layers.write_text(
        f"import time\n\n\ndef nap(dout):\n    if len(dout) > 32:\n        print('asleep', flush=True)\n"
        f"        open({str(layers.parent / 'asleep')!r}, 'w').close()\n        time.sleep(50)\n\n\n{slow}",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "bncheck", "run", "-i", f"{layers}:batchnorm_backward", "-j", "2"]
    shapes = [word for n in (7, 33, 8, 34) for word in ("--shape", f"{n}x4")]
    process = subprocess.Popen([*command, *shapes], cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (layers.parent / "asleep").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err == "interrupted after 2 of 4 cases\n"
    assert out.splitlines()[-1].startswith("2 passed, 2 not run (interrupted) in ")


def test_a_stopped_pool_starts_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    with Pool(timeout=5, memory=10**9) as pool:
        pool.stop()
        monkeypatch.delattr(Pool, "_new")
        assert pool.call(os.getpid) == STOPPED


def test_calls_at_the_same_time_have_workers_of_their_own() -> None:
    with Pool(timeout=20, memory=10**9) as pool, ThreadPoolExecutor(2) as threads:
        replies = list(threads.map(pool.call, [time.sleep, time.sleep], [0.5, 0.5]))
        assert [reply.failure for reply in replies] == ["", ""]
        assert len({pool.call(os.getpid).value for _ in range(3)}) == 1


@pytest.mark.parametrize(
    ("text", "expected"), [("0", None), ("-1", None), ("two", None), ("1.5", None), ("", None), ("3", 3), ("12", 12)]
)
def test_jobs_are_a_number_from_1_on(text: str, expected: int | None) -> None:
    if expected is not None:
        assert session.jobs_of(text) == expected
        return
    with pytest.raises(StartError) as refused:
        session.jobs_of(text)
    assert str(refused.value) == f"error: --jobs {text}: expected a number from 1 on, or auto"


def test_auto_is_a_job_for_each_core() -> None:
    assert 1 <= session.jobs_of("auto") <= (os.cpu_count() or 1)


def test_in_process_has_no_jobs() -> None:
    with pytest.raises(StartError) as refused, session.hands_for([], in_process=True, jobs=2):
        pass
    assert str(refused.value) == "error: --in-process checks one case after the other; leave out --jobs"


# --- executors ---------------------------------------------------------------------------------------------------


def test_an_executor_gives_the_report_of_a_run_without(layers: Path) -> None:
    alone = bncheck.check(str(layers), shapes=[(6, 4), (7, 5)], seeds=2)
    with ProcessPoolExecutor(2) as executor:
        found = bncheck.check(str(layers), shapes=[(6, 4), (7, 5)], seeds=2, executor=executor)
        assert executor.submit(int).result() == 0, "it is still open"
    assert without_times(found.to_json()) == without_times(alone.to_json())


def test_the_report_of_an_executor_names_the_file_as_the_user_does(
    layers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(layers.parent)
    with ThreadPoolExecutor(1) as executor:
        (found,) = bncheck.check("layers.py:batchnorm_backward", shape=(6, 4), executor=executor).cases
    assert found.case.origin is not None
    assert found.case.origin.place == "layers.py:batchnorm_backward"


def test_a_file_that_is_not_there_is_sent_along(layers: Path) -> None:
    case = Case(shape=(6, 4), origin=Origin(place="layers.py"))
    with remote.workers() as hands:
        (one,) = remote.expand([Case(shape=(6, 4), origin=Origin(place=f"{layers}:batchnorm_backward"))], hands)
    given = remote.sent(one)
    layers.unlink()
    found = remote.check_sent(given)
    assert found.verdict is Verdict.PASS, found.reason
    assert remote.sent(case).files == ((os.path.abspath("layers.py"), b""),)


def test_a_file_that_is_another_one_there_is_not_read(layers: Path) -> None:
    with remote.workers() as hands:
        (one,) = remote.expand([Case(shape=(6, 4), origin=Origin(place=f"{layers}:batchnorm_backward"))], hands)
    given = remote.sent(one)
    layers.write_text("raise SystemExit", encoding="utf-8")
    assert remote.check_sent(given).verdict is Verdict.PASS


class Losing(Executor):
    """An executor that loses every second call."""

    def __init__(self) -> None:
        self.calls = 0

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.calls += 1
        if self.calls % 2:
            future.set_result(function(*arguments, **keywords))
        else:
            future.set_exception(RuntimeError("the node is gone"))
        return future


def test_what_an_executor_loses_costs_its_own_case(layers: Path) -> None:
    report = bncheck.check(f"{layers}:batchnorm_backward", shape=(6, 4), seeds=3, executor=Losing())
    assert [found.verdict.value for found in report.cases] == ["pass", "error", "pass"]
    lost = "the executor gave no report of it (RuntimeError: the node is gone); check without it (executor=None)"
    assert report.cases[1].reason == lost


def test_functions_are_not_sent(layers: Path) -> None:
    def forward(x: Any) -> Any: ...

    with pytest.raises(bncheck.StartError) as refused:
        bncheck.check(forward, forward, executor=Losing())  # type: ignore[call-overload]
    said = "error: executor is given with functions or a class; give a place such as 'layers.py' alone"
    assert str(refused.value) == said


def test_an_executor_that_was_shut_down_gives_no_reports(layers: Path) -> None:
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    (found,) = bncheck.check(f"{layers}:batchnorm_backward", shape=(6, 4), executor=executor).cases
    lost = "RuntimeError: cannot schedule new futures after shutdown"
    assert found.reason == f"the executor gave no report of it ({lost}); check without it (executor=None)"


def test_calls_that_somebody_cancels_are_not_waited_for() -> None:
    class Cancelling(Executor):
        def submit(self, function: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.cancel()
            return future

    found = remote.by_executor(Cancelling(), abs, [-1, -2], lambda item, error: (item, type(error).__name__))
    assert list(found) == [(-1, "CancelledError"), (-2, "CancelledError")]


def test_after_an_interrupt_each_result_has_its_own_item() -> None:
    class Interrupting(Executor):
        def submit(self, function: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> Future[Any]:
            future: Future[Any] = Future()
            if arguments == (1,):
                threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
            else:
                future.set_exception(LookupError())
            return future

    found: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        found.extend(remote.by_executor(Interrupting(), abs, [1, 2, 3], lambda item, error: item))
    assert found == [2, 3]


def test_what_is_no_executor_is_refused(layers: Path) -> None:
    with pytest.raises(bncheck.StartError) as refused:
        bncheck.check(str(layers), executor=3)  # type: ignore[call-overload]
    assert str(refused.value) == "error: executor is of type int, expected an executor of concurrent.futures"


@pytest.mark.slow
def test_a_cluster_of_dask_that_loses_a_worker_gives_the_same_report(layers: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed")
    settings: dict[str, Any] = {"shapes": [(6, 4), (7, 5), (40, 30)], "seeds": 6}
    alone = bncheck.check(str(layers), **settings)
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        victim = next(iter(cluster.workers.values())).pid
        timer = threading.Timer(1.0, os.kill, (victim, signal.SIGKILL))
        timer.start()
        found = bncheck.check(str(layers), executor=client.get_executor(), **settings)
        timer.join()
    assert without_times(found.to_json()) == without_times(alone.to_json())
