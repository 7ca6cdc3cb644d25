"""Functions that harm a worker, as code under check may.

The harm is done in the first line of each body: tests know it by that.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

SLEEP = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"


def echo(value: object) -> object:
    return value


def talk(stdout: str, stderr: str) -> None:
    print(stdout)
    os.system(f"echo {stderr} >&2")


def hang() -> None:
    while True:
        pass


def hang_in_a_child() -> None:
    subprocess.run([sys.executable, "-c", SLEEP], check=True)


def hang_unwatched() -> None:
    faulthandler.cancel_dump_traceback_later()
    hang()


def stop_all_and_hang(path: str) -> None:
    """Our group and our parent are stopped, once a file has their numbers."""
    Path(path).write_text(f"{os.getppid()} {os.getpid()}", encoding="ascii")
    os.kill(os.getppid(), signal.SIGSTOP)
    os.kill(0, signal.SIGSTOP)
    hang_unwatched()


def hang_with_children_that_left(path: str) -> None:
    """A child and a daemon in sessions of their own; their numbers and our own go to a file."""
    child = subprocess.Popen([sys.executable, "-c", SLEEP], start_new_session=True, stdout=subprocess.DEVNULL)
    if os.fork() == 0:
        os.setsid()
        if daemon := os.fork():
            Path(path).write_text(f"{os.getppid()} {child.pid} {daemon}", encoding="ascii")
            os._exit(0)
        time.sleep(60)
    hang_unwatched()


def fork_and_return() -> int:
    return os.fork()


def leave_a_fork_behind() -> None:
    """A daemon, in a session of its own, with all that was open."""
    if os.fork() == 0:
        os.setsid()
        time.sleep(8)
        os._exit(0)
    time.sleep(0.2)
    os._exit(5)


def close_all_files() -> None:
    os.closerange(3, 100)


def leave_in_the_middle_of_an_answer() -> None:
    """To whatever is open: a frame is announced that lacks some bytes."""
    for file in range(3, 20):
        with contextlib.suppress(OSError):
            os.write(file, (1000).to_bytes(8, "big") + bytes(990))
    os._exit(6)


def stop_later(seconds: float) -> None:
    threading.Thread(target=stop_after, args=(seconds,)).start()


def stop_after(seconds: float) -> None:
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGSTOP)


def read_null() -> None:
    ctypes.string_at(0)


def leave_with_status(status: int) -> None:
    os._exit(status)


def leave_politely() -> None:
    sys.exit()


def interrupt() -> None:
    raise KeyboardInterrupt


def interrupt_itself() -> str:
    os.kill(os.getpid(), signal.SIGINT)
    return "ignored"


def kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def recurse() -> None:
    recurse()


def recurse_on_the_stack() -> str:
    return repr(Nested())


class Nested:
    def __repr__(self) -> str:
        sys.setrecursionlimit(10**9)
        return repr(self)


def allocate(size: int) -> int:
    return np.ones(size, np.int8).nbytes


def keep(size: int) -> int:
    """Memory that the next call does not have any more."""
    sys.kept = [*getattr(sys, "kept", []), np.ones(size, np.int8)]  # type: ignore[attr-defined]
    return os.getpid()


def print_a_gigabyte() -> str:
    megabyte = "x" * 999_999
    for _ in range(1000):
        print(megabyte)
    return "done"


def give_a_function() -> Callable[[], None]:
    return lambda: None


def give_too_much() -> bytes:
    return bytes(256_000_001)


def raise_what_does_not_pickle() -> None:
    raise UnpicklableError(1, 2)


class UnpicklableError(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def raise_what_has_no_text() -> None:
    raise MuteError


class MuteError(Exception):
    def __str__(self) -> str:
        raise ValueError


def die_later(seconds: float) -> None:
    threading.Thread(target=leave_after, args=(seconds,)).start()


def leave_after(seconds: float) -> None:
    time.sleep(seconds)
    os._exit(3)


def change_the_process() -> None:
    sys.setrecursionlimit(50)
    sys.stdout.close()
    sys.stdout = None
    os.close(1)
    os.chdir("/")


def take_the_streams() -> str:
    sys.stdout = sys.stderr = None
    sys.setrecursionlimit(60)
    return "taken"


def delete_own_file(path: str) -> str:
    Path(path).unlink()
    return "gone"


def surroundings() -> dict[str, object]:
    return {
        "threads": {name: value for name, value in os.environ.items() if name.endswith("_THREADS")},
        "stdin": os.read(0, 1),
        "arguments": sys.argv,
        "folder": os.getcwd(),
        "recursion": sys.getrecursionlimit(),
        "process": os.getpid(),
    }


def interpreter() -> dict[str, object]:
    return {"optimize": sys.flags.optimize, "isolated": sys.flags.isolated, "collects": gc.isenabled()}
