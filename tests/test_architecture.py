"""The house: who may import what, and what a start must not load."""

from __future__ import annotations

import ast
import graphlib
import os
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest
import yaml

TOP = Path(__file__).parents[1]
PACKAGE = TOP / "bncheck"

# From the ground up: a folder, or a file at the top, imports only what stands on a lower floor. Inside a folder files
# may import each other, but never in a circle.
FLOORS = (
    {"terminal"},
    {"case", "status", "workers"},
    {"gradients", "files"},
    {"calling"},
    {"derivation"},
    {"recognition", "faults", "config"},
    {"source", "report"},
    {"checking", "reporters"},
    {"discovery"},
    {"remote"},
    {"session"},
    {"api", "cli"},
)
FLOOR_OF = {subject: floor for floor, subjects in enumerate(FLOORS) for subject in subjects}

# Who imports a library, and nobody else.
ONLY_IMPORTERS = {"typer": "cli", "yaml": "config", "msgspec": "config", "rich": "reporters"}


@cache
def modules() -> dict[str, Path]:
    """Every module of the package but the package itself, by its name below bncheck."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name:
            found[name] = path
    return found


@cache
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


def ours_in(names: set[str]) -> set[str]:
    """The modules of this package among imported names, which may end in a name inside a module."""
    below = {name.removeprefix("bncheck.") for name in names if name.startswith("bncheck.")}
    known = modules()
    return {name if name in known else name.rpartition(".")[0] for name in below} & set(known)


def subject_of(module: str) -> str:
    """The folder that a module is in, or the module itself at the top."""
    return module.partition(".")[0]


def test_every_folder_and_every_file_at_the_top_has_its_floor() -> None:
    assert {subject_of(module) for module in modules()} - {"__main__"} == set(FLOOR_OF)


@pytest.mark.parametrize("module", sorted(set(modules()) - {"__main__"}))
def test_a_file_imports_only_from_its_own_folder_and_from_floors_below(module: str) -> None:
    own = subject_of(module)
    others = {name for name in ours_in(imports_of(modules()[module])) if subject_of(name) != own}
    upward = {name for name in others if FLOOR_OF[subject_of(name)] >= FLOOR_OF[own]}
    assert not upward, f"{module} imports {upward} from its own floor or from above"


def test_no_two_files_import_each_other_by_whatever_way_round() -> None:
    known = modules()
    order = graphlib.TopologicalSorter({name: ours_in(imports_of(path)) for name, path in known.items()})
    assert set(order.static_order()) >= set(known)  # raises CycleError with the circle


def test_the_house_has_no_more_files_than_it_had_and_thirteen_at_the_top() -> None:
    assert len(list(PACKAGE.rglob("*.py"))) <= 87
    assert len(list(PACKAGE.glob("*.py"))) <= 13


FOLDERS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))


def test_every_folder_has_an_init_file() -> None:
    assert sorted({path.parent.name for path in PACKAGE.glob("*/*.py")}) == FOLDERS


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_says_in_one_sentence_what_it_is_about(folder: str) -> None:
    says = ast.get_docstring(ast.parse((PACKAGE / folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    assert re.fullmatch(r"[^.]+\.", says)


def test_no_two_classes_have_one_name() -> None:
    homes: dict[str, list[str]] = {}
    for module, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name, []).append(module)
    assert {name: found for name, found in homes.items() if len(found) > 1} == {}


RIDDLES = ("What ", "The same", "That ")
"""Beginnings of docstrings that cannot be read alone, or do not begin with what they are about."""


@pytest.mark.parametrize("module", sorted(modules()))
def test_a_docstring_begins_with_its_noun(module: str) -> None:
    tree = ast.parse(modules()[module].read_text(encoding="utf-8"))
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    docstrings = [text.value for text in texts if isinstance(text, ast.Constant) and isinstance(text.value, str)]
    assert [text for text in docstrings if text.lstrip().startswith(RIDDLES)] == []


@pytest.mark.parametrize("library", sorted(ONLY_IMPORTERS))
def test_a_library_is_imported_where_it_belongs_and_nowhere_else(library: str) -> None:
    importers = {
        subject_of(module)
        for module, path in modules().items()
        if {name.split(".")[0] for name in imports_of(path)} & {library}
    }
    assert importers == {ONLY_IMPORTERS[library]}


def test_every_import_that_is_banned_has_its_sentence() -> None:
    ruff = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]["lint"]
    banned = ruff["flake8-tidy-imports"]["banned-api"]
    assert set(banned) == set(ONLY_IMPORTERS)
    assert all(ban["msg"].endswith(".") and len(ban["msg"]) > 40 for ban in banned.values())


def test_ci_tries_the_oldest_of_every_dependency() -> None:
    project = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    oldest = {re.split("[<>=,]+", needed)[0]: re.split("[<>=,]+", needed)[1] for needed in project["dependencies"]}
    workflow = (TOP / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    tried = dict(re.findall(r"([a-z]+)==([0-9.]+)", workflow))
    assert {name: _version(tried[name]) for name in oldest} == {name: _version(text) for name, text in oldest.items()}


def _version(text: str) -> tuple[int, ...]:
    return tuple(map(int, (text + ".0.0").split(".")[:3]))


def test_ci_pins_every_action_by_the_hash_of_a_commit() -> None:
    workflow = (TOP / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    used = re.findall(r"uses: (.*)", workflow)
    assert used
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[0-9.]+", action) for action in used)


def test_the_last_job_of_ci_needs_all_others() -> None:
    jobs = yaml.safe_load((TOP / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"]
    *others, last = jobs
    assert jobs[last]["needs"] == others
    assert jobs[last]["steps"][0]["run"].count("success") == len(others)


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
    assert loaded_by("import bncheck.checking") == {"numpy"}


def test_the_package_itself_loads_nothing() -> None:
    assert loaded_by("import bncheck") == set()


def test_reading_a_config_does_not_load_numpy() -> None:
    assert loaded_by("from bncheck import config; config.from_overrides(['shape=4x5'])") == {"yaml", "msgspec"}
