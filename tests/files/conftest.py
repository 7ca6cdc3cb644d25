"""What every test of files starts from, and leaves."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bncheck.files.dropped import take_back


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to work in; what imports leave in this process is taken away again."""
    monkeypatch.chdir(tmp_path)
    path, finders, modules = sys.path.copy(), sys.meta_path.copy(), sys.modules.copy()
    yield tmp_path
    sys.path[:], sys.meta_path[:] = path, finders
    for name in set(sys.modules) - set(modules):
        del sys.modules[name]
    sys.modules.update(modules)
    take_back()
