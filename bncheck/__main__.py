"""`python -m bncheck`, and the `bncheck` command."""

from __future__ import annotations

import sys

from bncheck import __version__


def main() -> None:
    """Run the command line. `--version` is answered before anything else is imported."""
    if sys.argv[1:] == ["--version"]:
        print(f"bncheck {__version__}")
        return
    from bncheck.cli import main as run_command_line

    run_command_line()


if __name__ == "__main__":
    main()
