"""The house: who may import what, and what a start must not load."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
PACKAGE = TOP / "bncheck"

# From the ground up: a file imports only from floors below its own. Two files on one floor do not know each other.
FLOORS = [
    {
        "batchnorm",
        "config.editor",
        "config.mistake",
        "destination",
        "implementations",
        "implementations.capture",
        "implementations.convention",
        "implementations.conventions",
        "implementations.culprit",
        "implementations.expression",
        "implementations.frame",
        "implementations.interrupt",
        "implementations.outcome",
        "implementations.project",
        "implementations.python2",
        "implementations.script",
        "implementations.stub",
        "reporters",
        "reporters.console",
        "reporters.progress",
        "status",
        "stencils",
        "terminal",
    },
    {
        "case",
        "config.node",
        "config.syntax",
        "config.textfile",
        "config.words",
        "implementations.candidates",
        "implementations.channel",
        "implementations.grammar",
        "implementations.layout",
        "implementations.loading",
        "implementations.making",
        "implementations.places",
        "implementations.signature",
        "implementations.worker",
        "implied",
        "method",
        "parts",
        "reporters.document",
        "scales",
        "stream",
        "variants",
    },
    {
        "config.document",
        "config.literal",
        "config.schema",
        "factors",
        "implementations.answer",
        "implementations.crew",
        "implementations.pattern",
        "implementations.returned",
        "implementations.whereabouts",
        "problem",
        "stack",
    },
    {
        "config.matrix",
        "implementations.contract",
        "implementations.isolation",
        "implementations.plan",
        "implementations.probe",
        "point",
        "terms",
    },
    {
        "compounds",
        "config.value",
        "implementations.reference",
        "implementations.session",
        "resolution",
    },
    {
        "config.implementation",
        "fault",
        "implementations.binding",
        "implementations.trial",
        "numeric",
    },
    {
        "comparison",
        "compound_faults",
        "config.entry",
        "example",
        "implementations.backwards",
        "implementations.foreign",
        "implementations.forwards",
    },
    {
        "config.override",
        "derivation",
        "faults",
        "ground",
        "implementations.finding",
        "report",
        "roundoff",
    },
    {
        "config",
        "hypotheses",
        "implementations.recognition",
        "reporters.blindness",
        "reporters.explanation",
        "reporters.json",
        "rows",
    },
    {
        "explanation",
        "implementations.mapping",
        "reporters.table",
        "wording",
    },
    {"blindness", "printout", "witness"},
    {"decomposition", "sight"},
    {"diagnosis", "power"},
    {
        "check",
        "location",
        "reporters.matrix",
        "reporters.power_json",
    },
    {"discovery", "reporters.power", "run"},
    {"given", "remote"},
    {"session"},
    {"call", "cli"},
    {"__main__", "api"},
]
FLOOR_OF = {module: floor for floor, modules in enumerate(FLOORS) for module in modules}

ONLY_IMPORTERS = {
    "typer": {"cli"},
    "yaml": {"config.document"},
    "msgspec": {"config.schema"},
    "rich": {
        "reporters.blindness",
        "reporters.console",
        "reporters.explanation",
        "reporters.matrix",
        "reporters.power",
        "reporters.progress",
        "reporters.table",
    },
}


def modules() -> dict[str, Path]:
    """Every module of the package but the package itself, by its name below bncheck."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name:
            found[name] = path
    return found


def imports_of(path: Path) -> set[str]:
    """The dotted names a file imports, wherever in it, but for what only a type checker sees."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def our_modules_in(names: set[str]) -> set[str]:
    """The modules of this package among imported names, which may end in a name inside a module."""
    below = {name.removeprefix("bncheck.") for name in names if name.startswith("bncheck.")}
    return {name if name in FLOOR_OF else name.rpartition(".")[0] for name in below} - {""}


def test_every_module_has_its_floor() -> None:
    assert set(FLOOR_OF) == set(modules())


@pytest.mark.parametrize("module", sorted(FLOOR_OF))
def test_a_file_imports_only_from_floors_below_its_own(module: str) -> None:
    upward = {name for name in our_modules_in(imports_of(modules()[module])) if FLOOR_OF[name] >= FLOOR_OF[module]}
    assert not upward, f"{module} imports {upward} from its own floor or from above"


@pytest.mark.parametrize("library", sorted(ONLY_IMPORTERS))
def test_a_library_is_imported_where_it_belongs_and_nowhere_else(library: str) -> None:
    importers = {
        module for module, path in modules().items() if {name.split(".")[0] for name in imports_of(path)} & {library}
    }
    assert importers == ONLY_IMPORTERS[library]


def test_every_import_that_is_banned_has_its_sentence() -> None:
    ruff = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]["lint"]
    banned = ruff["flake8-tidy-imports"]["banned-api"]
    upper = {"api", "call", "cli", "config", "printout", "reporters", "run", "session"}
    assert set(banned) == {*ONLY_IMPORTERS, *(f"bncheck.{module}" for module in upper)}
    assert all(ban["msg"].endswith(".") and len(ban["msg"]) > 40 for ban in banned.values())


def loaded_by(statement: str) -> set[str]:
    """Which of the heavy libraries a fresh interpreter has loaded after a statement."""
    look = f"import sys; {statement}; print(*({{'numpy', 'yaml', 'msgspec', 'rich', 'typer'}} & set(sys.modules)))"
    ended = subprocess.run(
        [sys.executable, "-c", look],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TOP)},
        check=True,
    )
    return set(ended.stdout.split())


def test_a_check_needs_numpy_alone() -> None:
    assert loaded_by("import bncheck.check") == {"numpy"}


def test_the_package_itself_loads_nothing() -> None:
    assert loaded_by("import bncheck") == set()


def test_reading_a_config_does_not_load_numpy() -> None:
    assert loaded_by("from bncheck import config; config.from_overrides(['shape=4x5'])") == {"yaml", "msgspec"}
