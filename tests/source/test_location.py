"""Where in somebody's file a mistake stands."""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib.util
import io
import linecache
import subprocess
import sys
import textwrap
import types
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bncheck.case import Case, Convention, XDraw
from bncheck.discovery import check_in
from bncheck.faults.diagnosis import Finding, Statement
from bncheck.faults.hypotheses import Fit
from bncheck.files.loading import LoadError
from bncheck.source.location import located
from tests.test_zoo import MANIFEST, ZOO, Entry

DVAR, DMEAN, DX_KEY = ("through var", "std"), ("through mean", "2"), ("dx", "-1")


def finding(row: str, *keys: tuple[str, str], faults: tuple[str, ...] = ()) -> Finding:
    """What a diagnosis may have found."""
    return Finding((row,), f"{row}: wrong", "dx = ...", Fit.EVERY, keys, faults)


# --- the zoo -----------------------------------------------------------------------------------------------------

WRONG = [entry for entry in MANIFEST if entry.fault and not entry.error]

TOLD = {
    "route/no_var_route.py": {"x": ("return dx_hat / self.std + dmean / dout.shape[0]",)},
    "route/no_mean_route.py": {"x": ("dx = dxn / np.sqrt(var + eps) + dvar * 2 * (x - mu) / m",)},
    "route/sign_of_dvar.py": {
        "x": (
            "dvar = np.sum(dx_hat * (x - mu) * 0.5 * (var + eps) ** (-1.5), axis=0)",
            "dx = dx_hat / np.sqrt(var + eps) + dvar * 2 * (x - mu) / N + dmu / N",
        )
    },
    "route/sign_of_dmean.py": {
        "x": (
            "dmu = (dxh * self.ivar).sum(axis=0, keepdims=True)",
            "return dxh * self.ivar + dvar * 2 * self.xc / n + dmu / n, dgamma, dbeta",
        )
    },
    "route/plus_for_times.py": {
        "x": (
            "dvar = np.sum(dn + (self.x - self.mu), axis=0) * -0.5 * (self.var + self.eps) ** -1.5",
            "return dn / np.sqrt(self.var + self.eps) + dvar * 2 * (self.x - self.mu) / m + dmu / m",
        )
    },
    "route/lost_sum.py": {
        "x": (
            "dvar = dnorm * (x - mean) * -0.5 * (var + eps) ** (-3 / 2)",
            "dx = dnorm / np.sqrt(var + eps) + dvar * 2 * (x - mean) / N + dmean / N",
        )
    },
    "route/lost_sum_of_mean.py": {
        "x": ("dmu = dX_norm * -1 / s", "return dX_norm / s + dvar * 2 * (self.X - self.mu) / N + dmu / N")
    },
    "route/swapped.py": {"x": ("return dz * (self.v + self.eps) ** -.5 + dm * 2 * (self.x - self.m) / n + dv / n",)},
    "route/x_hat_for_centred.py": {"x": ("dx = dx_hat / std + dvar * 2 * x_hat / N + dmu / N",)},
    "route/x_for_centred.py": {
        "x": (
            "dvar = (dxh * self.x).sum(0) * (-0.5) / s ** 3",
            "return dxh / s + dvar * 2 * (self.x - self.mu) / N + dmu / N",
        )
    },
    "route/wrong_power.py": {
        "x": (
            "dvar = (dxn * (self.x - self.mean)).sum(0) * -0.5 * (self.var + self.eps) ** (-0.5)",
            "return dxn / np.sqrt(self.var + self.eps) + dvar * 2 * (self.x - self.mean) / m + dmean / m",
        )
    },
    "route/half_forgotten.py": {
        "x": (
            "dvar = -(dZn * (Z - mu)).sum(axis=1, keepdims=True) * (var + eps) ** -1.5",
            "return dZn / np.sqrt(var + eps) + dvar * 2 * (Z - mu) / m + dmu / m, dgamma, dbeta",
        )
    },
    "route/mean_not_divided.py": {"x": ("return dxh * self.inv + dvar * 2 * self.xc / m + dmu",)},
    "route/closed_form_sign.py": {
        "x": ("return self.gamma / (m * self.s) * (m * dA - self.dbeta + self.H * self.dgamma)",)
    },
    "route/closed_form_without_n.py": {
        "x": ("return gamma / np.sqrt(var + eps) * (dout - dbeta - xn * dgamma), dgamma, dbeta",)
    },
    "route/forgot_last_step.py": {"x": ("dx = dx1", "dxmu1 = dxhat * ivar", "dx1 = (dxmu1 + dxmu2)")},
    "route/images_last_no_var.py": {"x": ("dx = (dh - dh.mean(axis=(0, 1, 2))) / np.sqrt(var + eps)",)},
    "route/extra_term.py": {
        "x": (
            "dmu = np.sum(-dn * i, axis=0) + dvar * np.mean(-2 * self.x, axis=0)",
            "dx = dn * i + dvar * 2 * (self.x - self.mu) / m + dmu / m",
        )
    },
    "route/gamma_forgotten.py": {"x": ("dx = self.inv / n * (n * dout - dbeta - self.xh * dgamma)",)},
    "route/gamma_twice.py": {
        "x": ("return gamma * inv / n * (n * dxh - np.sum(dxh, axis=0) - xh * np.sum(dxh * xh, axis=0)), dgamma,...",)
    },
    "multiple/averaged.py": {
        "gamma": ("self.dgamma = np.mean(dout * self.x_hat, axis=0)",),
        "beta": ("self.dbeta = np.mean(dout, axis=0)",),
    },
    "multiple/averaged_functions.py": {
        "gamma": ("return dx, (1. / m) * np.sum(dout * z, axis=0), (1. / m) * np.sum(dout, axis=0)",),
        "beta": ("return dx, (1. / m) * np.sum(dout * z, axis=0), (1. / m) * np.sum(dout, axis=0)",),
    },
    "multiple/averaged_update.py": {
        "gamma": ("self.gamma -= self.lr * (d * self.h).mean(0)",),
        "beta": ("self.beta -= self.lr * d.mean(0)",),
    },
    "multiple/averaged_dict.py": {
        "gamma": ('self.grads["gamma"] = np.sum(g * self.Xh, axis=0, keepdims=True) / self.batch_size',),
        "beta": ('self.grads["beta"] = np.sum(g, axis=0, keepdims=True) / self.batch_size',),
    },
    "multiple/images_by_batch.py": {
        "gamma": ("B, r = dout.shape[0], self.r", "self.dgamma, self.dbeta = sg / B, sb / B"),
        "beta": ("B, r = dout.shape[0], self.r", "self.dgamma, self.dbeta = sg / B, sb / B"),
    },
    "multiple/gamma_only.py": {"gamma": ("dgamma = np.average(dy * self.xh, axis=0)",)},
    "constants/functions.py": {"x": ("return dout * gamma * inv, np.sum(dout * xn, axis=0), np.sum(dout, axis=0)",)},
    "constants/columns.py": {"x": ("dZ = dZt * gamma / np.sqrt(var + eps)",)},
    "constants/update.py": {"x": ("dx = dout * self.gamma * self.ivar",)},
    "eps/missing_in_dvar.py": {
        "x": (
            "dvar = np.sum(dxn * (x - mean) * -0.5 * var ** -1.5, axis=0)",
            "dx = dxn / np.sqrt(var + eps) + dvar * 2 * (x - mean) / N + dmean / N",
        )
    },
    "eps/added_twice.py": {
        "x": (
            "isd = 1 / np.sqrt(self.var + self.eps)",
            "dvar = np.sum(dxh * (self.x - self.mu), axis=0) * -.5 * isd ** 3",
            "dmu = -np.sum(dxh * isd, axis=0)",
        )
    },
    "eps/missing_in_backward.py": {
        "x": ("dx = self.gamma / np.sqrt(self.var) * (d - dbeta / m - self.xh * dgamma / m)",)
    },
    "eps/added_to_std.py": {
        "x": (
            "dvar = -0.5 * (dxh * xc).sum(0) / (std + eps) ** 3",
            "return dxh / std + 2 * dvar * xc / N + dmu / N, (dout * xh).sum(0), dout.sum(0)",
        )
    },
    "inverse_std/attributes.py": {
        "x": ("return (1. / N) * self.gamma * self.std * (N * dout - self.dbeta - self.xh * self.dgamma)",)
    },
    "identity/functions.py": {"x": ("return dout, np.sum(dout * cache, axis=0), np.sum(dout, axis=0)",)},
    "identity/no_parameters.py": {"x": ("return grad",)},
    "axis/features_for_rows.py": {
        "x": ("N = dout.shape[1]", "return self.gamma / (N * self.s) * (N * dout - self.dbeta - self.h * self.dgamma)")
    },
    "axis/images_batch_only.py": {
        "x": (
            "N = dout.shape[0]",
            "dx = g / (N * s) * (N * dout - dbeta.reshape(1, -1, 1, 1) - h * dgamma.reshape(1, -1, 1, 1))",
        )
    },
}


def findings_in(entry: Entry) -> tuple[Finding, ...]:
    """What is found in a file of the zoo."""
    case = Case(shape=entry.shapes[0], x=XDraw(mean=entry.mean), member=entry.name)
    with contextlib.redirect_stdout(io.StringIO()):
        return check_in(entry.loaded().namespace, entry.mapping(), case).findings


@pytest.mark.parametrize("file", TOLD)
def test_the_statement_that_makes_the_wrong_gradient_is_told(file: str) -> None:
    (entry,) = [entry for entry in WRONG if entry.file == f"faults/{file}"]
    told = {row: tuple(each.text for each in found.statements) for found in findings_in(entry) for row in found.rows}
    assert told == TOLD[file]


def test_a_statement_has_its_file_as_the_user_would_write_it_and_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ZOO / "faults")
    (entry,) = [entry for entry in WRONG if entry.file == "faults/eps/added_twice.py"]
    (found,) = findings_in(entry)
    assert found.statements[0] == Statement("eps/added_twice.py", 17, "isd = 1 / np.sqrt(self.var + self.eps)")


def reachable(tree: ast.Module, backward: str) -> set[int]:
    """The lines of every function of a file that may be called from one of that name, by names alone."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    called, lines = {backward}, set[int]()
    for _ in range(3):
        for node in functions:
            if node.name in called:
                lines |= set(range(node.lineno, (node.end_lineno or 0) + 1))
                names = (inner.func for inner in ast.walk(node) if isinstance(inner, ast.Call))
                called |= {getattr(name, "attr", getattr(name, "id", "")) for name in names}
    return lines


@pytest.mark.slow
@pytest.mark.parametrize("entry", [e for e in MANIFEST if not (e.refused or e.not_found)], ids=lambda e: e.place)
def test_whatever_is_told_of_any_file_lies_in_its_backward_or_what_that_calls(entry: Entry) -> None:
    try:
        namespace = entry.loaded().namespace
    except (LoadError, AttributeError) as error:
        pytest.skip(str(error))
    every = [finding(row) for row in ("x", "gamma", "beta", "mean", "var")]
    every += [finding("x", (term, "n/d")) for term in ("direct", "through var", "through mean", "batch", "1/std", "dx")]
    source = (ZOO / entry.file).read_text(encoding="utf-8")
    name = entry.mapping().backward.lstrip("(").partition("(")[0].rpartition(".")[2]
    tree = ast.parse(source)
    defined = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    if name not in defined:  # what forward returns, under a name of its own
        (name,) = (other for other in defined if "back" in other)
    lines = reachable(tree, name)
    for found in located(every, namespace, entry.mapping()):
        assert 1 <= len(found.statements) <= 3
        for told in found.statements:
            assert told.line in lines
            assert len(told.text) <= 100


# --- the first that is wrong, by what it makes -------------------------------------------------------------------

STAGED = """
    import numpy as np

    def forward(x, gamma, beta, eps):
        xc = x - np.mean(x, axis=0)
        std = np.sqrt(np.mean(xc ** 2, axis=0) + eps)
        return gamma * xc / std + beta, (xc, std, gamma)

    def backward(dout, cache):
        xc, std, gamma = cache
        N = len(dout)
        dxn = gamma * dout
        dxc = dxn / std
        dstd = -np.sum(dxn * xc / (std * std), axis=0)
        dvar = 0.5 * dstd / std
        dxc += (2.0 / N) * xc * dvar
        dmu = np.sum(dxc, axis=0)
        dx = dxc - dmu / N
        return dx, np.sum(xc / std * dout, axis=0), np.sum(dout, axis=0)
"""


def wrong_statements(source: str, file: Path) -> list[tuple[int, str]]:
    """What a check of a source file tells, as pairs of a line and its text."""
    file.write_text(textwrap.dedent(source).lstrip("\n"), encoding="utf-8")
    found = check_in(executed(file), replace(PAIR, forward="forward(x, gamma, beta, eps) -> out, cache"), STAGED_CASE)
    return [(each.line, each.text) for finding in found.findings for each in finding.statements]


STAGED_CASE = Case(shape=(12, 5), x=XDraw(std=0.3))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("dxn = gamma * dout", "dxn = gamma * gamma * dout"),
        ("dxc = dxn / std", "dxc = dxn / std ** 2"),
        ("dstd = -np.sum(dxn * xc / (std * std), axis=0)", "dstd = -np.sum(dxn * xc / std, axis=0)"),
        ("dvar = 0.5 * dstd / std", "dvar = dstd / std"),
        ("dvar = 0.5 * dstd / std", "dvar = 0.500001 * dstd / std"),
        ("dxc += (2.0 / N) * xc * dvar", "dxc += (1.0 / N) * xc * dvar"),
        ("dxc += (2.0 / N) * xc * dvar", "dxc += 2.0 * xc * dvar"),
        ("dxc += (2.0 / N) * xc * dvar", "dxc += (2.0 / N) * xc / std * dvar"),
        ("dmu = np.sum(dxc, axis=0)", "dmu = 2 * np.sum(dxc, axis=0)"),
        ("dx = dxc - dmu / N", "dx = dxc - dmu"),
        ("dx = dxc - dmu / N", "dx = dxc"),
    ],
)
def test_the_first_statement_that_is_wrong_comes_first(right: str, wrong: str, tmp_path: Path) -> None:
    source = STAGED.replace(right, wrong)
    assert STAGED.count(right) == 1
    line = textwrap.dedent(STAGED).lstrip("\n").splitlines().index(f"    {right}") + 1
    assert wrong_statements(source, tmp_path / "layers.py")[0] == (line, wrong)


def test_a_name_says_nothing_and_what_was_handed_over_is_not_blamed(tmp_path: Path) -> None:
    source = STAGED.replace("dxn = gamma * dout", "dvar = dout = np.asarray(dout)\n        dxn = dout")
    assert wrong_statements(source, tmp_path / "layers.py")[0][1] == "dxc = dxn / std"


def test_looking_leaves_the_trace_of_a_debugger_as_it_was(tmp_path: Path) -> None:
    def trace(*_: object) -> None: ...

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        wrong_statements(STAGED.replace("dx = dxc - dmu / N", "dx = dxc - dmu"), tmp_path / "layers.py")
        assert sys.gettrace() is trace
    finally:
        sys.settrace(before)


# --- by hand -----------------------------------------------------------------------------------------------------

PAIR = Convention(
    forward="forward(x, gamma, beta) -> out, cache", backward="backward(dout, cache) -> dx, dgamma, dbeta"
)
LAYER = Convention(
    create="Layer(d)",
    forward="self.forward(x) -> out",
    backward="self.backward(dout) -> dx",
    gradients=(("gamma", "self.dgamma"), ("beta", "self.dbeta")),
)


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """What is told of a source file, as `line: text`."""
    monkeypatch.chdir(tmp_path)

    def tell(source: str, found: Finding, convention: Convention = PAIR) -> list[str]:
        file = tmp_path / "layers.py"
        file.write_text(textwrap.dedent(source).lstrip("\n"), encoding="utf-8")
        namespace = executed(file)
        (placed,) = located([found], namespace, convention)
        assert {statement.file for statement in placed.statements} <= {"layers.py"}
        return [f"{statement.line}: {statement.text}" for statement in placed.statements]

    return tell


def executed(file: Path) -> Mapping[str, Any]:
    """A module, imported as loading.py does it."""
    spec = importlib.util.spec_from_file_location("layers", file)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    exec(compile(file.read_text(encoding="utf-8"), str(file), "exec", dont_inherit=True), vars(module))
    return vars(module)


Tell = Callable[..., list[str]]


def test_where_no_statement_surely_makes_it_the_function_is_told(told: Tell) -> None:
    source = """
        def backward(
            dout, cache=None, *rest
        ):
            raise NotImplementedError
    """
    assert told(source, finding("x")) == ["1: def backward(dout, cache=None, *rest)"]


def test_what_has_no_source_is_told_nothing_of() -> None:
    namespace: dict[str, Any] = {}
    exec("def backward(dout, cache): return dout, dout, dout", namespace)
    assert located([finding("x")], namespace, PAIR) == (finding("x"),)


@pytest.mark.parametrize("value", [None, 3, len, np.add, type("Layer", (), {}), types])
def test_what_is_no_function_of_theirs_is_told_nothing_of(value: object) -> None:
    for namespace in ({"backward": value}, {"Layer": value, "__file__": __file__}):
        for convention in (PAIR, LAYER):
            assert located([finding("x")], namespace, convention) == (finding("x"),)


def test_a_file_that_has_changed_since_it_was_imported_is_told_nothing_of(tmp_path: Path) -> None:
    file = tmp_path / "layers.py"
    file.write_text("def backward(dout, cache):\n    return dout, dout, dout\n")
    namespace = executed(file)
    file.write_text("import numpy\n\n" + file.read_text())
    assert located([finding("x")], namespace, PAIR) == (finding("x"),)


@pytest.mark.parametrize("text", ["x = 1\0\n", "def (:\n", "(" * 5000, "x = " + "-" * 100_000 + "1\n"])
def test_a_file_that_is_no_python_any_more_is_told_nothing_of(text: str, tmp_path: Path) -> None:
    file = tmp_path / "layers.py"
    file.write_text("def backward(dout, cache):\n    return dout, dout, dout\n")
    namespace = executed(file)
    file.write_text(text)
    assert located([finding("x")], namespace, PAIR) == (finding("x"),)


def test_no_more_than_three_statements_are_told_in_the_order_of_the_file(told: Tell) -> None:
    source = """
        def backward(dout, cache):
            a = 1
            dmean = -dout
            dmean += a
            dmean *= 2
            dmean -= a
            return dmean, None, None
    """
    assert told(source, finding("x", DMEAN)) == ["3: dmean = -dout", "4: dmean += a", "5: dmean *= 2"]


def test_the_terms_of_a_sum_are_told_with_it(told: Tell) -> None:
    source = """
        def backward(dout, cache):
            dx1 = dout * 2
            dx2 = dout / 3
            dx = dx1 + dx2
            return dx, dout, dout
    """
    assert told(source, finding("x")) == ["4: dx = dx1 + dx2", "2: dx1 = dout * 2", "3: dx2 = dout / 3"]


def test_what_only_makes_room_or_is_overwritten_is_not_told(told: Tell) -> None:
    source = """
        def backward(dout, cache):
            dx = dgamma = None
            dx = -dout
            dx = np.zeros_like(dout)
            for i in range(3):
                dx[i] = dout[i] * 2
            dgamma = 1
            dgamma = dout.sum()
            return dx, dgamma, 0
    """
    assert told(source, finding("x")) == ["3: dx = -dout", "6: dx[i] = dout[i] * 2"]
    assert told(source, finding("gamma")) == ["8: dgamma = dout.sum()"]


def test_what_is_written_only_sometimes_or_made_of_what_was_there_leaves_that_in_its_place(told: Tell) -> None:
    source = """
        def backward(dout, cache):
            dx = dout * 2
            if cache is None:
                dx = dout * 3
            dgamma = dout * 4
            dgamma = dgamma / 5
            return dx, dgamma, None
    """
    assert told(source, finding("x")) == ["2: dx = dout * 2", "4: dx = dout * 3"]
    assert told(source, finding("gamma")) == ["5: dgamma = dout * 4", "6: dgamma = dgamma / 5"]


def test_a_layout_is_seen_through(told: Tell) -> None:
    source = """
        import numpy as np
        def backward(dout, cache):
            flat = -dout
            dgamma = dout.T
            return np.reshape(flat, (2, 3)).transpose(1, 0), dgamma.copy().T, dout.ravel()
    """
    assert told(source, finding("x")) == ["3: flat = -dout"]
    assert told(source, finding("gamma")) == ["4: dgamma = dout.T"]
    assert told(source, finding("beta")) == [
        "5: return np.reshape(flat, (2, 3)).transpose(1, 0), dgamma.copy().T, dout.ravel()"
    ]


def test_calls_are_followed_into_functions_of_the_same_file(told: Tell) -> None:
    source = """
        def backward(dout, cache):
            dx, dgamma, dbeta = inner(dout * 2, cache)
            return dx.reshape(2, 3), dgamma, dbeta

        def inner(d, cache):
            grads = (d, d.sum(0), d.sum(1))
            return grads if cache is None else innermost(d)

        def innermost(d):
            return [d / 2, d / 3, d / 4]
    """
    assert told(source, finding("gamma")) == ["6: grads = (d, d.sum(0), d.sum(1))", "10: return [d / 2, d / 3, d / 4]"]


def test_functions_that_call_one_another_in_a_circle_are_followed_once(told: Tell) -> None:
    source = """
        def backward(dout, cache):
            dx = other(dout)
            dy = dx
            dx = dy
            return dx, dx, dx

        def other(dout):
            return backward(dout, None)[0]
    """
    assert told(source, finding("x")) == ["4: dx = dy", "3: dy = dx"]


def test_methods_are_followed_through_self_and_super_and_inheritance(told: Tell) -> None:
    source = """
        class Base:
            def backward(self, dout):
                self.dgamma = self.gamma_gradient(dout)
                return dout

            def gamma_gradient(self, dout):
                raise NotImplementedError

        class Middle(Base):
            def backward(self, dout):
                self.dbeta = dout.sum(1)
                return super().backward(dout.reshape(2, -1))

        class Layer(Middle):
            def gamma_gradient(self, dout):
                return dout.sum(0)
    """
    assert told(source, finding("x"), LAYER) == ["4: return dout"]
    assert told(source, finding("gamma"), LAYER) == ["16: return dout.sum(0)"]
    assert told(source, finding("beta"), LAYER) == ["11: self.dbeta = dout.sum(1)"]


def test_two_calls_have_the_gradients_that_each_of_them_gives(told: Tell) -> None:
    source = """
        class Layer:
            def backward(self, dout):
                return dout * 2

            def parameters(self, dout):
                return dout.sum(0), dout.sum(1)
    """
    convention = replace(
        LAYER, backward="(self.backward(dout), self.parameters(dout)) -> dx, [dgamma, dbeta]", gradients=()
    )
    assert told(source, finding("x"), convention) == ["3: return dout * 2"]
    assert told(source, finding("beta"), convention) == ["6: return dout.sum(0), dout.sum(1)"]


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("self.grads['g']", "4: self.grads = {'g': dout.sum(0), 'b': 1}"),
        ("self.slots[1]", "5: self.slots[1][...] = dout.sum(1)"),
        ("self.rows[0]", "6: self.rows = [dout.sum(2), None]"),
        ("self.kept['g']", "7: self.kept.update(g=dout.sum(3))"),
        ("self.w.grad", "8: self.w.grad += dout.sum(4)"),
        ("update(self.p)", "9: self.sgd.step(self.p, dout.sum(5))"),
        ("update(self.q)", "10: self.q = self.q - self.lr * dg"),
    ],
)
def test_gradients_that_are_left_somewhere_are_found_there(place: str, line: str, told: Tell) -> None:
    source = """
        class Layer:
            def backward(self, dout):
                dg = dout.sum(9)
                self.grads = {'g': dout.sum(0), 'b': 1}
                self.slots[1][...] = dout.sum(1)
                self.rows = [dout.sum(2), None]
                self.kept.update(g=dout.sum(3))
                self.w.grad += dout.sum(4)
                self.sgd.step(self.p, dout.sum(5))
                self.q = self.q - self.lr * dg
                return dout
    """
    assert told(source, finding("gamma"), replace(LAYER, gradients=(("gamma", place),)))[0] == line


def test_a_gradient_in_a_returned_dict_is_found_by_its_key(told: Tell) -> None:
    source = """
        def backward(dout, cache):
            grads = dict(dx=dout * 2)
            grads['dgamma'] = dout.sum(0)
            return grads
    """
    convention = replace(
        PAIR,
        backward="backward(dout, cache) -> grads",
        gradients=(("x", "grads['dx']"), ("gamma", "grads['dgamma']")),
    )
    assert told(source, finding("x"), convention) == ["2: grads = dict(dx=dout * 2)"]
    assert told(source, finding("gamma"), convention) == ["3: grads['dgamma'] = dout.sum(0)"]


def test_a_return_without_that_gradient_is_not_told(told: Tell) -> None:
    source = """
        def backward(dout, cache):
            out = dout * 2
            if cache is None:
                return out
            return -dout, out, None
    """
    assert told(source, finding("x")) == ["5: return -dout, out, None"]


def test_a_statement_of_several_lines_is_told_on_one_and_a_long_one_is_cut(told: Tell) -> None:
    source = f"""
        def backward(dout, cache):
            dgamma = (dout  # a comment
                      * 2)
            return (dout,
                    dgamma, {"dout + " * 30} dout)
    """
    assert told(source, finding("gamma")) == ["2: dgamma = dout * 2"]
    assert told(source, finding("beta")) == ["4: return (dout, dgamma, " + "dout + " * 10 + "dout ..."]


def test_the_last_of_several_functions_of_a_name_is_the_one(told: Tell) -> None:
    source = """
        def backward(dout, cache):
            return dout, None, None

        if True:
            def backward(dout, cache):
                return -dout, None, None
    """
    assert told(source, finding("x")) == ["6: return -dout, None, None"]


DECORATED = """
    import functools

    def quiet(function):
        {wraps}
        def wrapper(*arguments):
            return function(*arguments)
        return wrapper

    class Layer:
        @quiet
        def backward(self, dout):
            return dout * 5

    @quiet
    @quiet
    def backward(dout, cache):
        return dout * 7, None, None
"""


@pytest.mark.parametrize("wraps", ["@functools.wraps(function)", "pass"])
def test_what_a_decorator_wraps_is_told_and_not_the_wrapper(wraps: str, told: Tell) -> None:
    source = DECORATED.format(wraps=wraps)
    assert told(source, finding("x")) == ["17: return dout * 7, None, None"]
    assert told(source, finding("x"), LAYER) == ["12: return dout * 5"]


def test_static_methods_and_partials_and_aliases_are_seen_through(told: Tell) -> None:
    source = """
        import functools

        class Function:
            @staticmethod
            def back(dout, cache):
                return dout * 3, None, None

        def general(scale, dout, cache):
            return dout * scale, None, None

        def backward(dout, cache):
            return dout, None, None

        one = functools.partial(general, 2)
        two = Function.back
        backward = one
    """
    assert told(source, finding("x")) == ["9: return dout * scale, None, None"]
    for name in ("Function.back", "two"):
        convention = replace(PAIR, backward=f"{name}(dout, cache) -> dx, dgamma, dbeta")
        assert told(source, finding("x"), convention) == ["6: return dout * 3, None, None"]


def test_a_function_that_was_imported_is_told_in_the_file_that_it_stands_in() -> None:
    namespace = {"backward": textwrap.dedent, "__file__": "nowhere.py", "__name__": "nowhere"}
    (found,) = located([finding("x")], namespace, replace(PAIR, backward="backward(dout) -> dx"))
    assert found.statements
    assert all(statement.file.endswith("textwrap.py") for statement in found.statements)


def test_functions_of_a_notebook_cell_are_told_with_the_name_of_the_cell() -> None:
    cell = "def backward(dout, cache):\n    return dout * 3, None, None\n"
    linecache.cache["<ipython-input-3>"] = (len(cell), None, cell.splitlines(keepends=True), "<ipython-input-3>")
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(cell, "<ipython-input-3>", "exec"), namespace)
    (found,) = located([finding("x")], namespace, PAIR)
    assert found.statements == (Statement("<ipython-input-3>", 2, "return dout * 3, None, None"),)


def test_functions_inside_a_test_are_told() -> None:
    def their_backward(dout: Any, cache: Any) -> Any:
        return dout * 11, None, None

    @functools.cache
    def cached(dout: Any, cache: Any) -> Any:
        return dout * 13, None, None

    for function, text in ((their_backward, "return dout * 11, None, None"), (cached, "return dout * 13, None, None")):
        (found,) = located([finding("x")], {"backward": function}, PAIR)
        assert [statement.text for statement in found.statements] == [text]


LOOK = """
import sys
from bncheck.discovery import check_in
from bncheck.case import Case, Convention
from bncheck.files.loading import load

convention = Convention(
    forward="batchnorm_forward(x, gamma, beta, {'mode': 'train', 'eps': eps}) -> out, cache",
    backward="batchnorm_backward(dout, cache) -> dx, dgamma, dbeta",
)
for file in ("functions/course_short.py", "faults/eps/missing_in_dvar.py"):
    report = check_in(load(f"tests/zoo/{file}").namespace, convention, Case(shape=(6, 4)))
    print(report.verdict, "bncheck.source.location" in sys.modules)
"""


def test_a_check_that_passes_does_not_look_for_a_place() -> None:
    top = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True, cwd=top)
    assert ended.stdout == "pass False\nfail True\n"
