"""Whatever code under check does costs the one call, and its outcome says why."""

from __future__ import annotations

import importlib
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import bncheck
from bncheck.workers.pool import InProcess, Pool, interrupts_told_apart
from bncheck.workers.process import KEPT
from bncheck.workers.worker import Interrupted, Reply, head, shown
from tests import hazards

TOP = Path(__file__).parents[2]
TIMEOUT = 1.5
MEMORY = 500_000_000

posix = pytest.mark.skipif(os.name != "posix", reason="signals and limits as POSIX has them")
limited = pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux alone")


CHECK = "; check without it (--in-process)"


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(timeout=TIMEOUT, memory=MEMORY) as opened:
        yield opened


def at(function: Callable[..., object], name: str = "") -> str:
    """The first line of the body of a hazard, as a sentence names it."""
    code = function.__code__
    return f"{shown(code.co_filename)}:{code.co_firstlineno + 1} {name or code.co_name}: "


SEGFAULT = "the process was ended by SIGSEGV (it used memory that is not its own, or recursed too deeply for the stack)"
NO_MEMORY = "it ran out of memory, of which it may take 500 MB"

HAZARDS: dict[str, tuple[Callable[..., object], tuple[object, ...], str]] = {
    "os._exit(0)": (
        hazards.leave_with_status,
        (0,),
        "it ended the process with status 0 (os._exit)",
    ),
    "os._exit(3)": (
        hazards.leave_with_status,
        (3,),
        "it ended the process with status 3 (os._exit)",
    ),
    "sys.exit()": (hazards.leave_politely, (), f"{at(hazards.leave_politely)}it called sys.exit()"),
    "KeyboardInterrupt": (hazards.interrupt, (), f"{at(hazards.interrupt)}KeyboardInterrupt"),
    "endless recursion": (
        hazards.recurse,
        (),
        f"{at(hazards.recurse)}RecursionError: maximum recursion depth exceeded",
    ),
    "an exception that does not pickle": (
        hazards.raise_what_does_not_pickle,
        (),
        f"{at(hazards.raise_what_does_not_pickle)}UnpicklableError: 1 and 2",
    ),
    "an exception without a text": (
        hazards.raise_what_has_no_text,
        (),
        f"{at(hazards.raise_what_has_no_text)}MuteError",
    ),
}

POSIX_HAZARDS: dict[str, tuple[Callable[..., object], tuple[object, ...], str]] = {
    "a segfault": (hazards.read_null, (), f"{at(hazards.read_null)}{SEGFAULT}"),
    "a kill": (
        hazards.kill_itself,
        (),
        "the process was ended by SIGKILL (it was killed; perhaps the machine ran out of memory)",
    ),
}


@pytest.mark.parametrize(("function", "arguments", "failure"), HAZARDS.values(), ids=HAZARDS)
def test_a_hazard_costs_its_own_call_and_nothing_else(
    pool: Pool, function: Callable[..., object], arguments: tuple[object, ...], failure: str
) -> None:
    assert pool.call(function, *arguments) == Reply(failure=failure)
    assert pool.call(hazards.echo, 7) == Reply(7)


@posix
@pytest.mark.parametrize(("function", "arguments", "failure"), POSIX_HAZARDS.values(), ids=POSIX_HAZARDS)
def test_a_crash_is_named_by_its_signal(
    pool: Pool, function: Callable[..., object], arguments: tuple[object, ...], failure: str
) -> None:
    assert pool.call(function, *arguments) == Reply(failure=failure)
    assert pool.call(hazards.echo, 7) == Reply(7)


def test_recursion_on_the_stack_of_c_costs_its_own_call(pool: Pool) -> None:
    found = pool.call(hazards.recurse_on_the_stack)
    # Later versions of Python count what is on the stack of C, and raise before it overflows.
    endings = "|".join(map(re.escape, (SEGFAULT, "RecursionError: ")))
    assert re.match(rf".*hazards\.py:\d+ __repr__: ({endings})", found.failure)
    assert pool.call(hazards.echo, 7) == Reply(7)


def test_a_hang_ends_after_its_time_at_the_line_that_hangs(pool: Pool) -> None:
    pool.call(hazards.echo, 0)
    started = time.perf_counter()
    found = pool.call(hazards.hang)
    assert TIMEOUT <= time.perf_counter() - started < TIMEOUT + 5
    line = hazards.hang.__code__.co_firstlineno
    lines = (f"{shown(hazards.__file__)}:{line + more} hang: " for more in (1, 2))
    assert found.failure in [f"{where}it took longer than 1.5 s and was stopped" for where in lines]
    assert pool.call(hazards.echo, 7) == Reply(7)


@pytest.mark.slow
@posix
def test_what_hangs_in_a_child_process_is_stopped_with_it(pool: Pool) -> None:
    found = pool.call(hazards.hang_in_a_child)
    assert found.failure == f"{at(hazards.hang_in_a_child)}it took longer than 1.5 s and was stopped"
    assert not is_running(int(found.output))


@pytest.mark.slow
def test_a_hang_that_has_called_the_watchdog_off_ends_all_the_same(pool: Pool) -> None:
    says = "it took longer than 1.5 s and was stopped"
    assert pool.call(hazards.hang_unwatched) == Reply(failure=says)
    assert pool.call(hazards.echo, 7) == Reply(7)


@posix
def test_a_fork_that_comes_back_from_the_call_too_ends_there_without_an_answer(pool: Pool) -> None:
    forked = pool.call(hazards.fork_and_return).value
    assert isinstance(forked, int)
    assert forked > 0
    assert not is_running(forked)
    assert pool.call(hazards.echo, 7) == Reply(7)


@posix
def test_a_daemon_that_keeps_our_pipes_open_holds_nobody_up() -> None:
    began = time.perf_counter()
    with Pool(timeout=20, memory=MEMORY) as pool:
        found = pool.call(hazards.leave_a_fork_behind)
    assert found == Reply(failure="it ended the process with status 5 (os._exit)")
    assert time.perf_counter() - began < 5


def test_code_that_closes_all_files_costs_its_own_call(pool: Pool) -> None:
    found = pool.call(hazards.close_all_files)
    assert found.failure == "it ended the process with status 1 (os._exit)"
    assert pool.call(hazards.echo, 7) == Reply(7)


def test_an_answer_that_breaks_off_is_a_crash(pool: Pool) -> None:
    found = pool.call(hazards.leave_in_the_middle_of_an_answer)
    says = "it ended the process with status 6 (os._exit)"
    assert (found.value, found.failure) == (None, says)
    assert pool.call(hazards.echo, 7) == Reply(7)


@limited
def test_a_task_that_is_larger_than_the_memory_is_not_tried_for_ever() -> None:
    with Pool(timeout=20, memory=50_000_000) as pool:
        found = pool.call(len, bytes(200_000_000))
    says = f"the worker process ended 2 times before it took the call{CHECK}"
    assert found == Reply(failure=says)


@pytest.mark.slow
@posix
def test_a_worker_that_reads_no_more_is_replaced_whatever_the_size_of_the_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bncheck.workers.pool.TAKING", 0.5)
    with Pool(timeout=20, memory=MEMORY) as pool:
        pool.call(hazards.stop_later, 0.1)
        time.sleep(0.4)
        assert pool.call(len, bytes(10_000_000)) == Reply(10_000_000)


@posix
def test_an_interrupt_sent_to_the_worker_is_ignored(pool: Pool) -> None:
    assert pool.call(hazards.interrupt_itself) == Reply("ignored")


@limited
def test_an_allocation_beyond_the_memory_is_refused_with_both_sizes(pool: Pool) -> None:
    found = pool.call(hazards.allocate, 100_000_000_000)
    numpys = "Unable to allocate 93.1 GiB for an array with shape (100000000000,) and data type int8"
    assert found.failure in (
        f"{at(hazards.allocate)}{NO_MEMORY} ({kind}: {numpys})" for kind in ("MemoryError", "_ArrayMemoryError")
    )


@pytest.mark.slow
@limited
def test_an_allocation_within_the_memory_is_granted_whatever_the_worker_takes_itself() -> None:
    with Pool(timeout=30, memory=MEMORY) as pool:
        assert pool.call(hazards.allocate, 300_000_000) == Reply(300_000_000)


@limited
def test_what_calls_have_kept_is_not_missing_in_the_next() -> None:
    with Pool(timeout=30, memory=MEMORY) as pool:
        processes = [pool.call(hazards.keep, size).value for size in (90_000_000, 420_000_000, 420_000_000, 1, 1)]
        found = pool.call(hazards.allocate, 10**12).failure
        assert found.startswith(f"{at(hazards.allocate)}{NO_MEMORY}")
        processes.append(pool.call(hazards.keep, 1).value)
    assert all(isinstance(process, int) for process in processes)
    # The second call is repeated in a new worker, which has then lost too much for the third, and so on.
    assert [processes.index(process) for process in processes] == [0, 1, 2, 3, 3, 5]


@limited
def test_memory_that_runs_out_in_our_own_code_is_told_of_the_check() -> None:
    with Pool(timeout=30, memory=MEMORY) as pool:
        found = pool.call(np.ones, 10**12)
    assert found.failure.startswith("the check ran out of memory, of which it may take 500 MB (")


def test_a_gigabyte_of_prints_is_kept_in_its_first_and_last_bytes() -> None:
    with Pool(timeout=60, memory=MEMORY) as pool:
        found = pool.call(hazards.print_a_gigabyte)
    assert found.value == "done"
    assert found.output == "x" * KEPT + "\n... 1.0 GB left out ...\n" + "x" * (KEPT - 1) + "\n"


def test_output_belongs_to_the_call_that_printed_it_whoever_prints(pool: Pool) -> None:
    assert pool.call(hazards.talk, "one", "two").output == "one\ntwo\n"
    assert pool.call(hazards.echo, 0).output == ""
    assert pool.call(hazards.talk, "three", "four").output == "three\nfour\n"


def test_what_was_printed_before_a_crash_is_kept(pool: Pool) -> None:
    found = pool.call(print_and_leave)
    assert found == Reply(None, "it ended the process with status 4 (os._exit)", "last words\n")


def print_and_leave() -> None:
    print("last words")
    os._exit(4)


def test_an_answer_that_does_not_pickle_is_a_sentence(pool: Pool) -> None:
    found = pool.call(hazards.give_a_function)
    assert re.fullmatch(
        r"its answer cannot leave the worker process \(\w+: Can't (get|pickle) local object .*give_a_function.*\)",
        found.failure,
    )


def test_an_answer_that_is_too_large_is_a_sentence() -> None:
    with Pool(timeout=20, memory=4_000_000_000) as pool:
        found = pool.call(hazards.give_too_much)
    says = "its answer has 256 MB, and 256 MB is the most that leaves the worker process"
    assert found == Reply(failure=says)


def test_an_answer_does_not_import_anything_here(pool: Pool, tmp_path: Path) -> None:
    (tmp_path / "only_over_there.py").write_text("class Thing: pass\ndef give(): return Thing()\n")
    found = pool.call(give_a_thing, str(tmp_path))
    says = "its answer cannot be read outside the worker process (UnpicklingError: a only_over_there.Thing is in it)"
    assert found == Reply(failure=says)
    assert "only_over_there" not in sys.modules


def give_a_thing(folder: str) -> object:
    sys.path.insert(0, folder)
    return importlib.import_module("only_over_there").give()


def test_a_worker_that_dies_between_two_calls_is_replaced(pool: Pool) -> None:
    assert pool.call(hazards.die_later, 0.1) == Reply()
    time.sleep(0.5)
    assert pool.call(hazards.echo, 7) == Reply(7)


def test_code_may_delete_its_own_file(pool: Pool, tmp_path: Path) -> None:
    file = tmp_path / "layers.py"
    file.write_text("")
    assert pool.call(hazards.delete_own_file, str(file)) == Reply("gone")


def test_one_worker_makes_all_calls_until_it_dies(pool: Pool) -> None:
    processes = [pool.call(hazards.surroundings).value["process"] for _ in range(3)]  # type: ignore[index]
    assert len(set(processes)) == 1
    assert pool.call(hazards.interrupt).failure
    assert pool.call(hazards.surroundings).value["process"] == processes[0]  # type: ignore[index]


def test_a_worker_has_one_blas_thread_and_no_input_and_no_arguments(pool: Pool) -> None:
    there = pool.call(hazards.surroundings).value
    assert isinstance(there, dict)
    assert set(there["threads"].values()) == {"1"}
    assert {"OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"} <= set(there["threads"])
    assert (there["stdin"], there["arguments"]) == (b"", [""])


def test_the_environment_here_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MKL_NUM_THREADS", "5")
    monkeypatch.delenv("NUMEXPR_NUM_THREADS", raising=False)
    main = sys.modules["__main__"]
    with Pool(timeout=20, memory=MEMORY) as pool:
        there = pool.call(hazards.surroundings).value
    assert isinstance(there, dict)
    assert there["threads"]["MKL_NUM_THREADS"] == "1"
    assert os.environ["MKL_NUM_THREADS"] == "5"
    assert "NUMEXPR_NUM_THREADS" not in os.environ
    assert sys.modules["__main__"] is main


def test_each_call_finds_the_process_as_it_was(pool: Pool) -> None:
    before = pool.call(hazards.surroundings).value
    pool.call(hazards.change_the_process)
    there = pool.call(hazards.surroundings).value
    assert isinstance(there, dict)
    assert there["folder"] == os.getcwd()
    assert there == before
    assert pool.call(hazards.talk, "one", "two").output == "one\ntwo\n"


def test_arguments_that_do_not_pickle_are_our_own_mistake(pool: Pool) -> None:
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        pool.call(hazards.echo, lambda: None)


def test_a_closed_pool_leaves_no_process_no_thread_and_no_file_open() -> None:
    before = threading.active_count()
    with Pool(timeout=20, memory=MEMORY) as pool:
        there = pool.call(hazards.surroundings).value
    assert isinstance(there, dict)
    assert threading.active_count() == before
    if os.name == "posix":
        with pytest.raises(ProcessLookupError):
            os.kill(there["process"], 0)


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="lists its open files on Linux alone")
def test_workers_that_ended_in_whatever_way_leave_no_file_open_and_no_zombie() -> None:
    def files() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = files()
    processes = []
    with Pool(timeout=0.3, memory=MEMORY) as pool:
        for hazard in (hazards.hang, hazards.hang_unwatched, hazards.read_null, hazards.kill_itself):
            there = pool.call(hazards.surroundings).value
            assert isinstance(there, dict)
            processes.append(there["process"])
            assert pool.call(hazard).failure
    assert files() == before
    assert [state_of(process) for process in processes] == ["", "", "", ""]


def test_two_pools_work_at_once_in_threads_that_are_not_the_main_one() -> None:
    def work(name: str) -> None:
        with Pool(timeout=20, memory=MEMORY) as pool:
            found[name] = [pool.call(hazards.echo, name), pool.call(hazards.leave_with_status, 3)]
            found[name] += [pool.call(hazards.echo, name)]

    found: dict[str, list[Reply]] = {}
    threads = [threading.Thread(target=work, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    left = Reply(failure="it ended the process with status 3 (os._exit)")
    assert found == {name: [Reply(name), left, Reply(name)] for name in ("one", "two")}


def test_a_worker_finds_the_modules_that_this_process_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "only_on_our_path.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with Pool(timeout=20, memory=MEMORY) as pool:
        assert pool.call(exec, "import only_on_our_path") == Reply()


def test_a_worker_does_not_wait_for_what_only_this_process_needs() -> None:
    ours = "{'asyncio', 'multiprocessing', 'bncheck.workers.process', 'bncheck.workers.pool'}"
    with Pool(timeout=20, memory=MEMORY) as pool:
        assert pool.call(eval, f"{ours} & set(__import__('sys').modules)") == Reply(set())


def test_a_worker_collects_garbage(pool: Pool) -> None:
    there = pool.call(hazards.interpreter).value
    assert isinstance(there, dict)
    assert there["collects"]


def test_without_an_interpreter_the_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", None)
    with Pool(timeout=20, memory=MEMORY) as pool:
        found = pool.call(hazards.echo, 7)
    says = f"the worker process does not start: sys.executable is empty, and names no Python to start{CHECK}"
    assert found == Reply(failure=says)


def test_an_interpreter_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with Pool(timeout=20, memory=MEMORY) as pool:
        found = pool.call(hazards.echo, 7)
    says = f"the worker process does not start: {tmp_path / 'python'}: No such file or directory{CHECK}"
    assert found == Reply(failure=says)


EMBEDDED = {
    "another program": (
        "echo usage: paint FILE >&2; exit 2",
        "ended with status 2, and its last line was: usage: paint FILE",
    ),
    "a silent program": ("exit 0", "ended with status 0"),
    "a program that waits for somebody": ("exec sleep 60", "is not ready after 0.4 s"),
}


@posix
@pytest.mark.parametrize(("does", "ends"), EMBEDDED.values(), ids=EMBEDDED)
def test_an_executable_that_is_no_python_is_named_with_what_it_said(
    does: str, ends: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "paint").write_text(f"#!/bin/sh\n{does}\n")
    (tmp_path / "paint").chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "paint"))
    monkeypatch.setattr("bncheck.workers.pool.STARTING", 0.4)
    before = threading.active_count()
    with Pool(timeout=20, memory=MEMORY) as pool:
        found = pool.call(hazards.echo, 7)
    says = f"the worker process does not start: {tmp_path / 'paint'} {ends}{CHECK}"
    assert found == Reply(failure=says)
    assert threading.active_count() == before


def test_a_worker_without_numpy_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shutil.copytree(Path(bncheck.__file__).parent, tmp_path / "bncheck")  # it may be installed beside NumPy
    library = [entry for entry in sys.path if not entry.endswith("-packages")]
    monkeypatch.setattr(sys, "path", [str(tmp_path), *(entry for entry in library if entry != str(TOP))])
    with Pool(timeout=20, memory=MEMORY) as pool:
        found = pool.call(hazards.echo, 7)
    last = "ended with status 1, and its last line was: ModuleNotFoundError: No module named 'numpy'"
    says = f"the worker process does not start: {sys.executable} {last}{CHECK}"
    assert found == Reply(failure=says)


def test_what_the_interpreter_says_at_its_start_is_not_taken_for_an_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    says = "import os, sys; os.write(1, b'welcome'); print('hello'); print('warning', file=sys.stderr)"
    (tmp_path / "sitecustomize.py").write_text(says)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Pool(timeout=20, memory=MEMORY) as pool:
        assert pool.call(hazards.echo, 7) == Reply(7)


def test_a_pool_without_calls_starts_nothing() -> None:
    before = threading.active_count()
    with Pool(timeout=1, memory=MEMORY):
        assert threading.active_count() == before


SCRIPT = """
    import sys
    sys.path[:0] = {path!r}
    print("main runs")
    from tests import hazards
    from bncheck.workers.pool import Pool
    with Pool(timeout=20, memory=500_000_000) as pool:
        print(pool.call(hazards.echo, 7))
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["a script without a guard", "-c", "stdin", "-m"])
def test_the_main_module_runs_once(way: str, tmp_path: Path) -> None:
    script = textwrap.dedent(SCRIPT).format(path=[str(TOP)])
    (tmp_path / "main.py").write_text(script)
    arguments = {"a script without a guard": ["main.py"], "-c": ["-c", script], "stdin": ["-"], "-m": ["-m", "main"]}
    ended = subprocess.run(
        [sys.executable, *arguments[way]],
        input=script if way == "stdin" else "",
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    expected = "main runs\nReply(value=7, failure='', output='')\n"
    assert (ended.stdout, ended.stderr, ended.returncode) == (expected, "", 0)


OPTIONS = [
    "-I",
    "-E",
    "-s",
    "-O",
    "-B",
    "-u",
    "-v",
    "-X dev",
    "-X importtime",
    "-X utf8",
    "-X faulthandler",
    "-W error",
]


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS)
def test_no_option_of_the_interpreter_breaks_the_protocol(options: str) -> None:
    ended = subprocess.run(
        [sys.executable, *options.split(), "-c", textwrap.dedent(SCRIPT).format(path=sys.path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    # What -v and importtime say of imports that the call makes is its output, as it would be anywhere.
    assert ended.stdout.startswith("main runs\nReply(value=7, failure='', output=")
    assert ended.returncode == 0


def test_options_of_the_interpreter_are_passed_on() -> None:
    script = textwrap.dedent(SCRIPT).format(path=sys.path).replace("hazards.echo, 7", "hazards.interpreter")
    command = [sys.executable, "-I", "-O", "-c", script]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "{'optimize': 1, 'isolated': 1, 'collects': True}" in ended.stdout


INTERRUPTED = """
    import os, sys
    sys.path[:0] = {path!r}
    from tests import hazards
    from bncheck.workers.pool import Pool
    with Pool(timeout=50, memory=500_000_000) as pool:
        print(pool.call(os.getpid).value, flush=True)
        try:
            pool.call(hazards.hang)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            print(pool.call(hazards.echo, 7).value)
"""


@posix
def test_an_interrupt_belongs_to_the_parent_and_stops_the_worker_at_once() -> None:
    script = textwrap.dedent(INTERRUPTED).format(path=[str(TOP)])
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        time.sleep(0.5)
        interrupted = time.perf_counter()
        os.killpg(parent.pid, signal.SIGINT)
        rest, errors = parent.communicate(timeout=20)
    assert (rest, errors, parent.returncode) == ("interrupted\n7\n", "", 0)
    assert time.perf_counter() - interrupted < 10
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


@pytest.mark.slow
@posix
def test_a_worker_whose_parent_was_killed_ends_by_itself() -> None:
    script = textwrap.dedent(INTERRUPTED).format(path=[str(TOP)]).replace("=50", "=3")
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        time.sleep(0.2)
        parent.kill()
    assert not is_running(worker)


@posix
def test_a_worker_with_nothing_to_do_ends_at_once_when_its_parent_is_killed() -> None:
    script = textwrap.dedent(INTERRUPTED).format(path=[str(TOP)]).replace("pool.call(hazards.hang)", "hazards.hang()")
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.kill()
    assert not is_running(worker)


@limited
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP], ids=str)
def test_nothing_outlives_a_parent_that_is_killed_whatever_their_code_has_started(
    number: signal.Signals, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    hang = f"pool.call(hazards.hang_with_children_that_left, {str(started)!r})"
    script = textwrap.dedent(INTERRUPTED).format(path=[str(TOP)]).replace("pool.call(hazards.hang)", hang)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=tmp_path) as parent:
        processes = written_in(started)
        parent.send_signal(number)
    assert len(processes) == 3
    assert not [process for process in processes if is_running(process)]


@limited
def test_nothing_outlives_a_parent_that_is_killed_where_their_code_has_stopped_all(tmp_path: Path) -> None:
    started = tmp_path / "started"
    hang = f"pool.call(hazards.stop_all_and_hang, {str(started)!r})"
    script = textwrap.dedent(INTERRUPTED).format(path=[str(TOP)]).replace("pool.call(hazards.hang)", hang)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=tmp_path) as parent:
        processes = written_in(started)
        time.sleep(0.3)
        parent.kill()
    assert not [process for process in processes if is_running(process)]


@posix
def test_children_that_left_their_group_end_with_a_call_that_takes_too_long(tmp_path: Path) -> None:
    with Pool(timeout=0.5, memory=MEMORY) as pool:
        failure = pool.call(hazards.hang_with_children_that_left, str(tmp_path / "started")).failure
        assert failure == "it took longer than 0.5 s and was stopped"
        if sys.platform == "linux":
            assert not [process for process in written_in(tmp_path / "started") if is_running(process)]


@posix
def test_a_worker_without_a_guard_ends_when_the_pipe_to_its_parent_breaks() -> None:
    script = f"""
        import os, sys; sys.path[:0] = [{str(TOP)!r}]
        from tests import hazards
        from bncheck.workers import worker
        worker.GUARDED = False
        worker.work(os.fdopen(os.dup(0), "rb"), 50, 10**9)
    """
    task = pickle.dumps((hazards.hang_unwatched, ()))
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        os.write(process.stdin.fileno(), head(task) + task)
        assert process.stdout.read(16) == bytes(16)  # it is ready, and has taken the task
        process.stdin.close()
        assert process.wait(10) == -signal.SIGKILL


def written_in(file: Path) -> list[int]:
    """The numbers in a file, once it is there."""
    deadline = time.monotonic() + 20
    while not (file.exists() and file.read_text(encoding="ascii")) and time.monotonic() < deadline:
        time.sleep(0.05)
    return [*map(int, file.read_text(encoding="ascii").split())]


def is_running(process: int) -> bool:
    """Whether it still runs ten seconds from now at the latest. A zombie, which nobody has reaped, does not run."""
    deadline = time.monotonic() + 10
    while (state := state_of(process)) not in ("", "Z") and time.monotonic() < deadline:
        time.sleep(0.1)
    return state not in ("", "Z")


def state_of(process: int) -> str:
    """The letter that ps gives; empty where there is no such process."""
    found = subprocess.run(["ps", "-o", "state=", "-p", str(process)], capture_output=True, text=True, check=False)
    return found.stdout.strip()[:1]


def test_in_process_gives_the_same_outcomes_for_exceptions() -> None:
    with InProcess() as here:
        assert here.call(hazards.echo, 7) == Reply(7)
        says = f"{at(hazards.raise_what_does_not_pickle)}UnpicklableError: 1 and 2"
        assert here.call(hazards.raise_what_does_not_pickle) == Reply(failure=says)


def test_in_process_lets_an_interrupt_through() -> None:
    with InProcess() as here, pytest.raises(KeyboardInterrupt):
        here.call(hazards.interrupt)


def test_in_process_has_its_streams_and_its_recursion_again_after_a_call(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr, sys.getrecursionlimit()
    with InProcess() as here:
        assert here.call(hazards.take_the_streams) == Reply("taken")
    assert (sys.stdout, sys.stderr, sys.getrecursionlimit()) == before


def test_in_process_prints_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with InProcess() as here:
        here.call(print, "a word")
    assert capsys.readouterr() == ("", "a word\n")


def test_threads_take_turns_in_this_process() -> None:
    seen: list[str] = []

    def slowly(name: str) -> None:
        seen.append(name)
        time.sleep(0.1)
        seen.append(name)

    def work(name: str) -> None:
        with InProcess() as here:
            here.call(slowly, name)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen[::2] == seen[1::2]
    assert sorted(seen) == list("aabbcc")


# --- interrupt --------------------------------------------------------------------------------------------------


def test_control_c_is_an_interruption_inside_and_an_interrupt_outside() -> None:
    inside: list[type[BaseException]] = []

    def struck() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except BaseException as error:
            inside.append(type(error))
            raise

    with pytest.raises(KeyboardInterrupt) as raised, interrupts_told_apart():
        struck()
    assert (inside, raised.type) == ([Interrupted], KeyboardInterrupt)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_keyboard_interrupt_of_theirs_is_no_interruption() -> None:
    with pytest.raises(KeyboardInterrupt) as raised, interrupts_told_apart():
        raise KeyboardInterrupt("theirs")
    assert str(raised.value) == "theirs"


def test_a_handler_of_somebody_else_stays() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts_told_apart():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_than_the_main_one_changes_nothing() -> None:
    seen: list[object] = []

    def work() -> None:
        with interrupts_told_apart():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
