"""Draw the picture of the README: `python .github/picture.py` runs the checks it shows and writes report.svg."""

from __future__ import annotations

import io
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # this checkout, before a package that is installed

from rich.console import Console

from bncheck.config import read
from bncheck.reporters import table
from bncheck.session import run

HERE = Path(__file__).parent
SELECTED = "x8 seed=0"
CONFIG = HERE.parent / "configs" / "regimes.yaml"


def main() -> None:
    """Write report.svg beside this file."""
    cases = [case for case in read(CONFIG) if all(word in case.label for word in SELECTED.split())]
    console = Console(record=True, file=io.StringIO(), width=92, force_terminal=True, highlight=False, markup=False)
    console.print(f"$ bncheck run configs/{CONFIG.name} -k '{SELECTED}'", style="bold")
    console.print(table.body(run(cases), table.Detail.USUAL))
    console.save_svg(str(HERE / "report.svg"), title="bncheck", unique_id="bncheck")


if __name__ == "__main__":
    main()
