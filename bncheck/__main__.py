"""`python -m bncheck`, and the `bncheck` command; and every trick by which they start quickly.

A trick makes code less plain than it would be, so each one stands here with what it gains. The gains are milliseconds,
medians of 15 to 25 interleaved runs, where `--version` takes 11, `--help` 40, `run` of one config 150, and importing
NumPy 74. A trick that gains less than a millisecond is to be taken out.

| where | trick | gains |
|---|---|---|
| `start` below | garbage is not collected | 3 in `--help`, 10 in `run` |
| `start` below | `os._exit`: the interpreter is not taken down in order | 1, 9 in `--help`, 31 in `run` |
| `main` below | `--version` is answered before `cli` is imported | 29 in `--version` |
| `__init__`, `terminal` | `TYPE_CHECKING = False` instead of the import of typing | 4 in `--version` |
| `__init__` | public names are imported on first use | 43 in `--version`, 32 in `--help` |
| `status` | exit statuses stand apart from the reports | 2 in `--help` |
| `cli` | no help by rich (`rich_markup_mode=None`) | 52 in `--help` |
| `cli` | annotations are not postponed: typer would evaluate each as text | 4 in `--help` |
| `cli` | a command imports what it needs when it runs | 88 in `--help` |
| `session` | a config is read before NumPy is imported | 39 until a mistake in it is told |
| `session` | `remote` only for code of others | 35 in `run` |
| `api` | a call imports what it needs when it is made | 239 in `import bncheck.api` |
| `checking` | the diagnosis only for a failure | 12 in `run` |
| `faults.power` | the reasons for blindness only for a case that is blind | 5 in `run` |
| `gradients.problem` | random numbers of our own, without numpy.random | 8 in `run` |
| `gradients.problem` | what reads files of arrays, for a case that has one | 3 in a worker |
| `reporters.console` | the progress bar only on a terminal | 6 in `run` |
| `discovery` | the lines of a mistake only for a failure | 28 in a worker |
| `session` | the worker is started before this process imports NumPy | 61 in `run -i` |
| `workers.process` | a worker imports `discovery` before it is asked for anything | 30 in `run -i` |
| `cli` | rich is imported while a worker works | 10 in `run -i` |
| `workers.process`, `workers.worker` | garbage is not collected during imports | 7 in a worker |
| `workers.worker` | what was imported is frozen, and never looked at for garbage | 13 in a worker |
"""

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
    """Run the command line as a process of its own, which leaves nothing to an exit handler.

    Where the answer of a command that checks nothing is lost, as on a full disk, the status is that of no start.
    """
    gc.disable()
    try:
        terminal.be_steady()
        main()
        status = 0
    except KeyboardInterrupt:
        status = 130  # ExitStatus.INTERRUPTED: ctrl-C before the command line was there
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    except (ImportError, AttributeError):  # of the modules that the command line is made of
        if not (says := terminal.shadowed()):
            raise
        print(says, file=sys.stderr)
        status = 2
    if terminal.loses_output() and not status:
        status = 2  # ExitStatus.NOT_STARTED, which `--version` does not import
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    # With -m the working directory comes first, and a numpy.py in it would be taken for NumPy.
    if not sys.flags.safe_path and sys.path[0] != os.path.dirname(os.path.dirname(__file__)):
        sys.path.append(sys.path.pop(0))
    start()
