"""Faults planted in bncheck itself, one at a time: the tests must notice each.

Run from the top of a checkout: python tests/benchmarks/mutation.py [--mutants N] [--heart N] [--seconds T] [--at PLACE]

A mutant is a copy of the package with one operator, constant, condition or statement changed, drawn with a fixed seed;
of the heart, which says what is right and what is wrong, a share of its own. The fast tests of its folder are run,
those of its own file first, and then those that cover the folder from above, until one fails. A mutant that outlives
them is listed with its place, so that a test can be written, or the reason why nothing can show it, as in EQUIVALENT.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).parents[2]
PACKAGE = TOP / "bncheck"
AT_ONCE = 2
LONGEST = 240.0
"""Seconds after which tests that hang have noticed."""

HEART = (
    "gradients/*.py",
    "faults/diagnosis.py",
    "faults/hypotheses.py",
    "faults/terms.py",
    "faults/fault.py",
    "checking.py",
    "derivation.py",
)
"""What says what is right, how far off a difference may be, and what is wrong."""

ABOVE = {
    "gradients": ("tests/test_checking.py", "tests/faults/test_diagnosis.py", "tests/test_recorded.py"),
    "faults": ("tests/test_checking.py", "tests/test_faulty.py", "tests/test_derivation.py"),
    "calling": ("tests/test_discovery.py", "tests/test_api.py", "tests/test_zoo.py"),
    "recognition": ("tests/test_discovery.py", "tests/test_zoo.py"),
    "config": ("tests/test_cli.py", "tests/test_api.py"),
    "files": ("tests/test_discovery.py", "tests/test_cli_foreign.py", "tests/test_real_processes.py"),
    "source": ("tests/test_cli_foreign.py",),
    "workers": ("tests/test_remote.py", "tests/test_parallel.py", "tests/test_real_processes.py"),
    "reporters": ("tests/test_cli.py", "tests/test_api.py", "tests/test_real_processes.py"),
    "checking": ("tests/faults/test_diagnosis.py", "tests/test_verdicts.py", "tests/test_session.py"),
    "session": ("tests/test_parallel.py", "tests/test_cli.py", "tests/test_real_processes.py"),
    "terminal": ("tests/test_cli.py", "tests/test_real_processes.py"),
    "__main__": ("tests/test_cli.py", "tests/test_real_processes.py"),
    "cli": ("tests/test_cli_foreign.py", "tests/test_real_processes.py"),
    "api": ("tests/test_parallel.py",),
}
"""Tests that cover a folder or a file beside those that have its name."""

_STACK = "512 kB in float64, so that most of what a forward touches stays in the cache"
EQUIVALENT = {
    f"gradients/stack.py: SIZE = 2**16  # elements in a stack: {_STACK} -> (17)": "blocks of another size",
    "gradients/resolution.py: PROBED = 1000.0 -> (1001.0)": "a factor of safety, of which one digit is meant",
    "gradients/yardsticks.py: return np.asarray((self.tolerance > BLUR) & (self.unseen <= BLUR) & ~self.vanishing) "
    "-> (self.unseen < BLUR)": "no computed number is that limit",
}
"""Mutants that nothing can show, `module: line -> what stands there instead`, each with the reason."""

SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or,
    ast.Or: ast.And, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """A module below the package, the stretch of its text that is replaced, and by what."""

    module: str
    start: int
    end: int
    line: int
    replacement: str

    def text(self) -> bytes:
        """The module with the fault in it."""
        whole = (PACKAGE / self.module).read_bytes()
        return whole[: self.start] + self.replacement.encode() + whole[self.end :]

    @property
    def key(self) -> str:
        """The mutant as EQUIVALENT names it: by its line's text, which other changes leave as it is."""
        line = (PACKAGE / self.module).read_text(encoding="utf-8").splitlines()[self.line - 1].strip()
        return f"{self.module}: {line} -> {self.replacement}"


def mutants_of(module: str) -> list[Mutant]:
    """Every mutant of a module."""
    text = (PACKAGE / module).read_text(encoding="utf-8")
    starts = [0]
    for line in text.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = []
    for node in _code(ast.parse(text)):
        for changed in (one for one in _changes(node) if ast.dump(one) != ast.dump(node)):
            start = starts[node.lineno - 1] + node.col_offset
            end = starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
            replacement = ast.unparse(ast.fix_missing_locations(changed))
            replacement = f"({replacement})" if isinstance(changed, ast.expr) else replacement
            found.append(Mutant(module, start, end, node.lineno, replacement))
    return found


def _code(node: ast.AST) -> Iterator[ast.expr | ast.stmt]:
    """The nodes that run: no annotations, no text inside f-strings, nothing that a type checker alone reads."""
    if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
        return
    if isinstance(node, ast.expr | ast.stmt):
        yield node
    for name, value in ast.iter_fields(node):
        if name not in ("annotation", "returns", "type_params", "decorator_list", "bases"):
            for inner in value if isinstance(value, list) else [value]:
                if isinstance(inner, ast.AST):
                    yield from _code(inner)


def _changes(node: ast.expr | ast.stmt) -> Iterator[ast.expr | ast.stmt]:
    """The faults that a node may have in its place."""
    changed = copy.deepcopy(node)
    match changed:
        case ast.BinOp(op=op) | ast.BoolOp(op=op) | ast.AugAssign(op=op) if type(op) in SWAPPED:
            changed.op = SWAPPED[type(op)]()  # type: ignore[assignment]  # operators of the same kind
            yield changed
        case ast.Compare(ops=[op]):
            changed.ops = [SWAPPED[type(op)]()]  # type: ignore[list-item]
            yield changed
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() | float() as number):
            yield ast.Constant(number + 1)
            if number:
                yield ast.Constant(number / 2)
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.IfExp(test=test):
            changed.test = ast.UnaryOp(ast.Not(), test)
            yield changed
        case ast.Expr(value=ast.Call()) | ast.Raise() | ast.AugAssign():
            yield ast.Pass()
        case ast.Return(value=value) if value is not None:
            yield ast.Return(ast.Constant(None))


def tests_for(module: str) -> list[list[str]]:
    """The test files for a module, those that will notice soonest first; each list is one run of pytest."""
    path = Path(module)
    subject = path.parts[0].removesuffix(".py")
    own = TOP / "tests" / path.parent / f"test_{path.stem}.py"
    folder = sorted(map(str, (TOP / "tests" / subject).glob("test_*.py"))) if len(path.parts) > 1 else []
    above = [str(TOP / name) for name in ABOVE.get(subject, ())]
    runs = [[str(own)] if own.exists() else [], [name for name in folder if name != str(own)], above]
    return [[str(Path(name).relative_to(TOP)) for name in run] for run in runs if run]


def survives(mutant: Mutant) -> bool:
    """Whether all tests pass on a mutant."""
    with tempfile.TemporaryDirectory(prefix="bncheck-mutant-") as folder:
        for name in ("bncheck", "tests", "configs", ".github"):
            shutil.copytree(TOP / name, Path(folder, name), ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md", "CHANGELOG.md"):
            shutil.copy(TOP / name, folder)
        Path(folder, "bncheck", mutant.module).write_bytes(mutant.text())
        return all(_passes(folder, run) for run in tests_for(mutant.module))


def _passes(folder: str, files: list[str]) -> bool:
    options = ["-x", "-q", "-m", "not slow", "-p", "no:randomly", "-p", "no:cacheprovider"]
    environment = os.environ | {"PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", *options, *files],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return process.wait(LONGEST) == 0
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.wait()
        return False


def drawn(mutants: int, heart: int, seed: int) -> list[Mutant]:
    """So many mutants of the heart, and the others from all else; any beginning of them is a fair sample."""
    chance = random.Random(seed)
    of_heart = {str(path.relative_to(PACKAGE)) for pattern in HEART for path in PACKAGE.glob(pattern)}
    others = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py")} - of_heart
    pools = [[mutant for module in sorted(modules) for mutant in mutants_of(module)] for modules in (of_heart, others)]
    found = [*chance.sample(pools[0], heart), *chance.sample(pools[1], mutants - heart)]
    chance.shuffle(found)
    return found


def main() -> int:
    """Try them. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=300)
    parser.add_argument("--heart", type=int, default=120, help="how many of them are of the heart")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=7200.0, help="start no more mutants after so many")
    parser.add_argument("--at", default="", help="only mutants whose key has this text in it")
    given = parser.parse_args()
    started = time.monotonic()

    def one(mutant: Mutant) -> tuple[Mutant, bool] | None:
        return None if time.monotonic() - started > given.seconds else (mutant, survives(mutant))

    wanted = [one for one in drawn(given.mutants, given.heart, given.seed) if given.at in one.key]
    tried, alive, equivalent = 0, 0, 0
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for found in filter(None, threads.map(one, wanted)):
            mutant, outlived = found
            equivalent += mutant.key in EQUIVALENT
            tried += 1
            alive += outlived and mutant.key not in EQUIVALENT
            if outlived:
                why = EQUIVALENT.get(mutant.key, "OUTLIVED")
                print(f"{mutant.module}:{mutant.line} {why}\n  {mutant.key}", flush=True)
    caught = 1 - alive / max(1, tried - equivalent)
    print(
        f"{tried} mutants, {equivalent} equivalent, {alive} outlived the tests, in {time.monotonic() - started:.0f} s"
    )
    print(f"claim: 98 % of those that are not equivalent are caught ({100 * caught:.1f} %): ", end="")
    print("holds" if caught >= 0.98 else "FALLS SHORT")
    return int(caught < 0.98)


if __name__ == "__main__":
    sys.exit(main())
