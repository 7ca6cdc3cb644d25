"""Make the samples of the README from the program as it is: `python .github/samples.py`.

With `--check` nothing is written, and the status is 1 where a sample is stale. The samples are

- blocks of text that begin with `$ bncheck ...`: what the command prints, by a shell;
- the block of a diff: from the wrong layers.py of .github/examples to the right one;
- pictures: what a command prints, in colour.

Commands run in a temporary folder with the files of .github/examples and configs/. What differs from one machine to the
next, as times and roundoff do, makes no sample stale.
"""

from __future__ import annotations

import difflib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from html import unescape
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
EXAMPLES = HERE / "examples"

PICTURES = {"wrong.svg": ("wrong", "bncheck run layers.py"), "right.svg": (".", "bncheck run layers.py")}
"""Pictures by their file: the folder of .github/examples in which a command is run, and the command."""

WIDTH = 112
"""Columns of a picture: the longest line of a report, so that letters are of one size."""

SAMPLE = re.compile(r"(?<=```text\n)\$ (?P<command>bncheck .*\n)(?P<printed>(?:(?!```).*\n)*)")
DIFF = re.compile(r"(?<=```diff\n)(?:(?!```).*\n)*")
SHOWN = re.compile(r'<text [^>]*class="[^"]*-r\d+"[^>]*>([^<]*)</text>')
FONTS = re.compile(r"@font-face \{\{.*?\}\}", re.DOTALL)
"""What fetches fonts from a network: a picture on a page gets none."""

MOVING = re.compile(r"\d+(?:\.\d+)? s\b|-?\d+\.\d+(?:e[-+]\d+)?|[ ─]+")
"""Times, numbers with a fraction, and the blanks and rules whose length depends on them."""

SEARCHED = re.compile(r"The least case that fails so.*?(?=\d+ failed)", re.DOTALL)
"""What comes of a search that time may cut short."""

ROUNDOFF = 1e-8
"""The number below which all is roundoff: every mistake of the examples is far above it."""


def main() -> int:
    """Renew what is stale, or say what is."""
    only_check = sys.argv[1:] == ["--check"]
    with tempfile.TemporaryDirectory() as folder:
        stale = renewed(README, Path(folder))
    for path, content in stale.items():
        if only_check:
            print(f"{path.relative_to(HERE.parent)} is stale; python .github/samples.py renews it")
        else:
            path.write_text(content, encoding="utf-8")
            print(f"{path.relative_to(HERE.parent)} is renewed")
    return int(only_check and bool(stale))


def renewed(readme: Path, folder: Path) -> dict[Path, str]:
    """The files that are stale, each with the content that it should have. Commands run in `folder`, which is empty."""
    environment = furnish(folder)
    page = readme.read_text(encoding="utf-8")
    stale = {readme: text} if (text := page_with_samples(page, folder, environment)) != page else {}
    for name, (place, command) in PICTURES.items():
        output = printed(f"{command} --color always", folder / place, environment)
        drawn, path = picture(command, output, name.partition(".")[0]), HERE / name
        if not path.exists() or alike(seen(path.read_text(encoding="utf-8"))) != alike(seen(drawn)):
            stale[path] = drawn
    return stale


def furnish(folder: Path) -> dict[str, str]:
    """Put the files that the README names into a folder: the environment in which `bncheck` is the one here."""
    shutil.copytree(EXAMPLES, folder, dirs_exist_ok=True)
    shutil.copytree(HERE.parent / "configs", folder / "configs")
    program = folder / "bin" / "bncheck"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m bncheck "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "NO_COLOR")}
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    return {**kept, "PATH": path, "PYTHONPATH": str(HERE.parent), "PYTHONIOENCODING": "utf-8"}


def printed(command: str, folder: Path, environment: dict[str, str]) -> str:
    """Run a command by a shell: what it prints. A message, or a status above 1, ends this."""
    ended = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, check=False)
    if ended.returncode > 1 or ended.stderr:
        raise SystemExit(f"{command} ended with status {ended.returncode}: {ended.stderr.decode()}")
    return ended.stdout.decode()


def page_with_samples(page: str, folder: Path, environment: dict[str, str]) -> str:
    """A page with each sample that is stale replaced."""

    def fresh(sample: re.Match[str]) -> str:
        text = printed(sample["command"], folder, environment)
        return sample[0] if alike(text) == alike(sample["printed"]) else f"$ {sample['command']}{text}"

    return DIFF.sub(lambda _: difference(), SAMPLE.sub(fresh, page))


def difference() -> str:
    """The function in which the two layers.py differ, as a diff."""
    wrong, right = (
        (EXAMPLES / name).read_text(encoding="utf-8").splitlines() for name in ("wrong/layers.py", "layers.py")
    )
    lines = list(difflib.unified_diff(wrong, right, lineterm="", n=len(right)))[3:]
    (first,) = (place for place, line in enumerate(lines) if line.startswith(" def batchnorm_backward"))
    return "".join(f"{line}\n" for line in lines[first:])


def picture(command: str, output: str, name: str) -> str:
    """A terminal with a command and what it prints, as SVG. Its own background suits light pages and dark ones."""
    text = Text.assemble(("$ ", "dim"), (command, "bold"), "\n", Text.from_ansi(output))
    console = Console(record=True, file=io.StringIO(), width=WIDTH, force_terminal=True, highlight=False)
    console.print(text)
    return console.export_svg(title="layers.py", unique_id=name, code_format=FONTS.sub("", CONSOLE_SVG_FORMAT))


def seen(svg: str) -> str:
    """What is written in a picture."""
    return " ".join(unescape(text).replace("\xa0", " ") for text in SHOWN.findall(svg))


def alike(text: str) -> str:
    """A text without what differs from one machine to the next."""
    return MOVING.sub(lambda found: _rounded(found[0]), SEARCHED.sub("", text))


def _rounded(found: str) -> str:
    """A number to three digits, roundoff as such; a time, or a blank of any length."""
    if found.endswith("s") or not found.strip(" ─"):
        return " "
    return f"{float(found):.3g}" if abs(float(found)) > ROUNDOFF else "roundoff"


if __name__ == "__main__":
    raise SystemExit(main())
