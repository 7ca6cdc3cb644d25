"""`python -m bncheck`, and the `bncheck` command."""

from __future__ import annotations

import gc
import os
import sys

from bncheck import __version__


def main() -> None:
    """Run the command line. `--version` is answered before anything else is imported."""
    if sys.argv[1:] == ["--version"]:
        print(f"bncheck {__version__}")
        return
    from bncheck.cli import main as run_command_line

    run_command_line()


def start() -> None:
    """Run the command line as a process of its own.

    Collecting garbage during imports and taking the interpreter down in order take a fifth of a quick run: neither
    is of use to a process that is about to end. Nothing of ours is left to an exit handler.
    """
    gc.disable()
    try:
        main()
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # nobody reads any more
        pass
    os._exit(status)


if __name__ == "__main__":
    start()
