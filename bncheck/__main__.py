"""`python -m bncheck`, and the `bncheck` command."""

from __future__ import annotations

import gc
import os
import sys

from bncheck import __version__, terminal


def main() -> None:
    """Run the command line. `--version` is answered before the rest is imported."""
    if sys.argv[1:] == ["--version"]:
        print(f"bncheck {__version__}")
        return
    from bncheck.cli import main as run_command_line

    run_command_line()


def start() -> None:
    """Run the command line as a process of its own.

    Collecting garbage during imports and taking the interpreter down in order take a fifth of a quick run: neither
    is of use to a process that is about to end. Nothing of ours is left to an exit handler.

    Where the answer of a command that checks nothing is lost, as on a full disk, the status is that of no start.
    """
    gc.disable()
    terminal.be_steady()
    try:
        main()
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    if terminal.loses_output() and not status:
        status = 2  # ExitStatus.NOT_STARTED, which `--version` does not import
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    start()
