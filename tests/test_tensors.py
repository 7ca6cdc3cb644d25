"""The zoo of tensors: Functions, modules, kernels, custom vjps and tensors of one's own, right and with each fault."""

from __future__ import annotations

import contextlib
import importlib.util
import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import bncheck
from bncheck.calling.implementation import bind
from bncheck.case import Case, Convention
from bncheck.checking import check
from bncheck.files.loading import load
from bncheck.recognition.recognition import recognise
from bncheck.report import CaseReport
from tests.test_zoo import ROWS, convention_of

FOLDER = Path(__file__).parent / "zoo" / "tensors"

FORMS = {
    "Function": 46,  # a torch.autograd.Function, and the modules around them
    "module": 23,  # of other names of parameters
    "static methods": 14,  # of a course
    "Triton": 13,
    "own tensors": 9,
    "attributes": 4,
    "plain": 4,  # autograd does the backward
    "functions": 5,
    "vjp": 4,  # jax.custom_vjp
}
"""Forms of batch normalisation on tensors, and how many sources were counted that have them."""

FAULTS = {
    "wrong n": 4,
    "unbiased": 3,  # an unbiased forward with a biased backward
    "eps": 3,  # var for var + eps, twice, sqrt(var)
    "inverse std": 2,  # taken for something else
    "running statistics": 2,  # in backward
    "x_hat for x - mean": 1,  # in the route through var
    "diagonal Jacobian": 1,
    "no route through var": 1,
    "gamma twice": 1,
    "not permuted": 1,  # dx is reshaped
    "scrambled": 1,  # the channels of the forward
    "8 bits": 1,  # of the activations that are kept
    "float32 constant": 1,  # in float64 code
    "raises": 15,  # unfinished, shapes, number of gradients, the class called in place of apply
    "swapped": 0,  # dgamma and dbeta
    "constants": 0,  # a statistic that autograd does not go through
}
"""Faults, and how many sources were counted that have them; 0 for what we have added."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One implementation: a file of the zoo, perhaps with one text in it replaced, and what a check comes to."""

    file: str
    name: str
    form: str
    needs: tuple[str, ...]
    shape: tuple[int, ...]
    how: Convention
    fault: str = ""
    number: int = 0
    old: str = ""
    new: str = ""
    fails: tuple[str, ...] = ()
    any: tuple[str, ...] = ()
    skips: tuple[str, ...] = ()
    raises: str = ""
    says: str = ""

    @property
    def id(self) -> str:
        """What a test of it is called."""
        return f"{self.file}:{self.name} {self.fault} {self.number or ''}".strip()

    def namespace(self, folder: Path) -> dict[str, Any]:
        """The names of the file, written into a folder where something in it is replaced."""
        path, text = FOLDER / self.file, (FOLDER / self.file).read_text(encoding="utf-8")
        if self.old:
            assert self.old in text, f"{self.file} has no {self.old!r}"
            path = folder / self.file
            path.write_text(text.replace(self.old, self.new), encoding="utf-8")
        return dict(load(str(path)).namespace)

    def expected(self) -> dict[str, str]:
        """The verdict of every row that is not left open."""
        verdict = dict.fromkeys(ROWS, "pass") | dict.fromkeys(self.fails, "fail") | dict.fromkeys(self.skips, "skipped")
        return {row: verdict[row] for row in ROWS if row not in self.any}


def entries_of(given: dict[str, Any]) -> list[Entry]:
    """The implementations of one file, right and wrong."""
    found = []
    for name, how in given["names"].items():
        convention = convention_of(how)
        shape, skips = tuple(given.get("shape", (6, 4))), tuple(given.get("skips", ()))
        shared = (given["file"], name, given["row"], tuple(given["needs"]), shape, convention)
        found.append(Entry(*shared, skips=skips, says=given.get("says", "")))
        for number, fault in enumerate(given["faults"], start=1):
            fields: dict[str, Any] = {key: fault[key] for key in fault if key != "names"}
            fields |= {key: tuple(fault[key]) for key in ("fails", "any") if key in fault}
            if name in fault.get("names", (name,)):
                found.append(Entry(*shared, skips=skips, number=number, **fields))
    return found


MANIFEST = yaml.safe_load((FOLDER / "manifest.yaml").read_text(encoding="utf-8"))
ENTRIES = [entry for given in MANIFEST for entry in entries_of(given)]
CHECKED = [entry for entry in ENTRIES if not entry.raises]
RAISING = [entry for entry in ENTRIES if entry.raises]


def each(entries: list[Entry]) -> pytest.MarkDecorator:
    """Every entry, skipped where a library that it needs is not there."""
    return pytest.mark.parametrize(
        "entry", [pytest.param(entry, id=entry.id, marks=_skipped(entry)) for entry in entries]
    )


def _skipped(entry: Entry) -> list[pytest.MarkDecorator]:
    missing = [name for name in entry.needs if importlib.util.find_spec(name) is None]
    reason = f"{' and '.join(missing)} not installed (pip install 'bncheck[test-tensors]')"
    return [pytest.mark.skip(reason=reason)] if missing else []


def checked(entry: Entry, convention: Convention, namespace: dict[str, Any]) -> CaseReport:
    """The report of the one case. Raises what their code raises."""
    case = Case(shape=entry.shape)
    with contextlib.redirect_stdout(io.StringIO()):
        return check(case, bind(namespace, entry.name, convention, case))


def found_in(entry: Entry, namespace: dict[str, Any]) -> list[Convention]:
    """The conventions that are found for an entry."""
    kind = "dense" if len(entry.shape) == 2 else "image"
    found = recognise(namespace, entry.name).found
    return [one.convention for one in found if one.name == entry.name and kind in one.kinds]


def matches(report: CaseReport, entry: Entry) -> None:
    """Assert that every row came to what the manifest says."""
    verdicts = {row.node: str(row.verdict) for row in report.comparisons}
    expected = entry.expected()
    assert {row: verdicts[row] for row in expected} == expected, report.note
    assert entry.says in report.note


@pytest.mark.slow
@each(CHECKED)
def test_the_verdict_with_the_mapping_is_right_at_every_row(entry: Entry, tmp_path: Path) -> None:
    matches(checked(entry, entry.how, entry.namespace(tmp_path)), entry)


@pytest.mark.slow
@each(CHECKED)
def test_the_verdict_without_a_mapping_is_right_at_every_row(entry: Entry, tmp_path: Path) -> None:
    namespace = entry.namespace(tmp_path)
    found = found_in(entry, namespace)
    assert found, "it is not recognised"
    matches(checked(entry, found[0], namespace), entry)


@pytest.mark.slow
@each(RAISING)
def test_what_their_code_raises_comes_through(entry: Entry, tmp_path: Path) -> None:
    namespace = entry.namespace(tmp_path)
    with pytest.raises(Exception, match=entry.raises):
        checked(entry, entry.how, namespace)


@pytest.mark.slow
@each(RAISING)
def test_what_their_code_raises_is_said_without_a_mapping(entry: Entry, tmp_path: Path) -> None:
    namespace = entry.namespace(tmp_path)
    found = found_in(entry, namespace)
    if found:
        with pytest.raises(Exception, match=entry.raises):
            checked(entry, found[0], namespace)
    else:
        attempts = recognise(namespace, entry.name).attempts
        assert entry.raises in "\n".join(reason for attempt in attempts for reason in attempt.reasons)


def test_there_are_a_hundred_of_them() -> None:
    assert len(ENTRIES) >= 100
    assert len({entry.id for entry in ENTRIES}) == len(ENTRIES)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_there_right_and_wrong(form: str) -> None:
    those = [entry for entry in ENTRIES if entry.form == form]
    assert {bool(entry.fault) for entry in those} == {True, False}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_there(fault: str) -> None:
    assert Counter(entry.fault for entry in ENTRIES)[fault]


def test_forms_and_faults_are_spelt_alike_everywhere() -> None:
    assert {entry.form for entry in ENTRIES} == set(FORMS)
    assert {entry.fault for entry in ENTRIES} - {""} == set(FAULTS)


def test_every_file_stands_in_the_manifest() -> None:
    by_mapping_alone = {"by_torch.py"}  # tests/calling/test_arrays.py has that one
    assert {path.name for path in FOLDER.glob("*.py")} - by_mapping_alone == {entry.file for entry in ENTRIES}


# --- the line of their file ------------------------------------------------------------------------------------------

WRONG_FUNCTION = """\
import torch


class Normalise(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gamma, beta, eps):
        std = torch.sqrt(x.var(0, unbiased=False) + eps)
        x_hat = (x - x.mean(0)) / std
        ctx.save_for_backward(x_hat, gamma, std)
        return gamma * x_hat + beta

    @staticmethod
    def backward(ctx, dout):
        x_hat, gamma, std = ctx.saved_tensors
        g = dout * gamma
        dx = (g - g.mean(0) - x_hat * (g * x_hat).sum(0)) / std
        return dx, (dout * x_hat).sum(0), dout.sum(0), None


class BatchNorm(torch.nn.Module):
    def __init__(self, d, eps=1e-5):
        super().__init__()
        self.weight, self.bias = torch.nn.Parameter(torch.ones(d)), torch.nn.Parameter(torch.zeros(d))
        self.eps = eps

    def forward(self, x):
        return Normalise.apply(x, self.weight, self.bias, self.eps)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Normalise", "BatchNorm"])
def test_the_wrong_line_of_a_function_is_told_also_through_a_module(name: str, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    path = tmp_path / "layers.py"
    path.write_text(WRONG_FUNCTION, encoding="utf-8")
    (report,) = bncheck.check(f"{path}:{name}", shape=(9, 3))
    (finding,) = report.findings
    assert [statement.line for statement in finding.statements][:1] == [16]
