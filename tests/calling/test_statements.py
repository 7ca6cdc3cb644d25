"""The language of formulas: what is taken, what is refused, and the derivative of all that is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bncheck.calling.statements import FUNCTIONS, Pulled, StatementError, Traced, parse, plain, pulled_back

X = np.array([[0.7, 2.0, 1.4], [1.9, 0.6, 3.1], [2.6, 1.1, 0.8], [1.2, 2.3, 1.7]])
C = np.array([1.5, -0.4, 2.2])

# An expression for each operation and function that has a derivative; x is (4, 3), c is (3,), both may be moved.
EXPRESSIONS = {
    "a sum": "x + c",
    "a difference": "c - x",
    "a product": "x * c",
    "a quotient": "c / x",
    "a power": "x ** -1.5",
    "a power of a name": "2.0 ** c",
    "a sign": "-x + (+c)",
    "functions of two": "np.add(np.subtract(x, c), np.multiply(x, np.divide(c, x)))",
    "their names in torch": "x.add(c).sub(1).mul(x).div(c)",
    "power": "np.power(x, 3)",
    "square": "torch.square(x)",
    "sqrt": "np.sqrt(x) * c",
    "rsqrt": "torch.rsqrt(x)",
    "reciprocal": "np.reciprocal(x)",
    "negative": "np.negative(c)",
    "copies": "x.copy() * c.clone()",
    "sum": "np.sum(x * x, axis=0)",
    "sum of all": "x * np.sum(x)",
    "sum with keepdims": "x * x.sum(1, keepdims=True)",
    "mean": "x - x.mean(axis=0)",
    "var": "np.var(x, axis=0, ddof=1)",
    "torch's var": "torch.var(x, dim=0, keepdim=True)",
    "std": "x / np.std(x, axis=0)",
    "reshape": "(x * x).reshape(2, 6)",
    "view": "x.view(-1) ** 2",
    "transpose": "(x.T * c[:, None]).transpose()",
    "broadcast_to": "np.broadcast_to(c * c, (4, 3))",
    "expand_dims": "np.expand_dims(c, 0) * x",
    "unsqueeze and squeeze": "(c.unsqueeze(0) * c).squeeze(0)",
    "tile": "np.tile(c, (4, 1)) * x",
    "an item": "x[1:, ::2] * x[:1, 0]",
    "newaxis": "c[np.newaxis, :] * x",
}


def value(text: str, **values: Any) -> Any:
    """The value of an expression; torch is known by its words."""
    (formula,) = parse(f"y = {text}", "here")
    return formula.value(values.__getitem__)


@pytest.mark.parametrize("moved", ["x", "c"])
@pytest.mark.parametrize("text", EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_the_chain_rule_gives_what_differences_give(text: str, moved: str) -> None:
    given = {"x": X.astype(np.longdouble), "c": C.astype(np.longdouble)}
    weights = np.cos(np.arange(np.size(value(text, **given)), dtype=np.longdouble))

    def loss(at: Any) -> Any:
        return np.sum(weights * np.ravel(value(text, **{**given, moved: at})))

    traced = {name: Traced(array) for name, array in given.items()}
    result = value(text, **traced)
    assert np.array_equal(plain(result), value(text, **given))
    seed = weights.reshape(np.shape(plain(result)))
    found = pulled_back({result: Pulled(seed, seed)}).get(traced[moved]) if isinstance(result, Traced) else None
    step = np.longdouble(2) ** -12
    for place in np.ndindex(given[moved].shape):
        move = np.zeros_like(given[moved])
        move[place] = step
        near = loss(given[moved] + move) - loss(given[moved] - move)
        far = loss(given[moved] + 2 * move) - loss(given[moved] - 2 * move)
        expected = (8 * near - far) / (12 * step)
        assert abs(expected - (0 if found is None else found.gradient[place])) < 1e-11


def test_the_examples_have_every_function_that_has_a_derivative() -> None:
    words = " ".join(EXPRESSIONS.values())
    plain_ones = {"ones", "zeros", "ones_like", "zeros_like", "shape", "size", "len"}
    same = {"contiguous", "detach", "array", "asarray", "float", "double", "pow", "neg", "true_divide", "t", "expand"}
    assert {name for name in FUNCTIONS if name not in words} <= plain_ones | same


def test_roundoff_acts_on_what_is_subtracted() -> None:
    x, mean = Traced(np.array([1001.0, 1003.0])), Traced(np.array(1002.0))
    assert value("x - mean", x=x, mean=mean).roundoff.tolist() == [2004.0, 2006.0]


ONE = Pulled(np.ones(2), np.ones(2))


def test_sizes_are_those_of_the_terms_before_they_cancel() -> None:
    x = Traced(np.array([1.0, -2.0]))
    found = pulled_back({value("3 * x - 2 * x", x=x): ONE})[x]
    assert (found.gradient.tolist(), found.size.tolist()) == ([1.0, 1.0], [5.0, 5.0])


def test_no_way_leads_through_a_value_to_stop_at() -> None:
    x = Traced(np.array([3.0, 3.0]))
    square = value("x * x", x=x)
    result = value("square + 10 * x", square=square, x=x)
    assert pulled_back({result: ONE})[x].gradient.tolist() == [16.0, 16.0]
    assert pulled_back({result: ONE}, stop=[square])[x].gradient.tolist() == [10.0, 10.0]


def test_statements_are_read_in_every_form_of_an_assignment() -> None:
    text = '"""Notes."""\nimport torch as t\nN, D = x.shape\na = b = c\nd, e = 1, 2\na += d\nf: float = 2\ndx = None\n'
    formulas = parse(text, "here")
    assert [(formula.line, formula.name) for formula in formulas] == [
        *[(3, "N"), (3, "D"), (4, "a"), (4, "b"), (5, "d"), (5, "e"), (6, "a"), (7, "f")]
    ]
    values: dict[str, Any] = {"x": X, "c": C}
    for formula in formulas:
        values[formula.name] = formula.value(values.__getitem__)
    assert (values["N"], values["D"], values["e"], values["f"]) == (4, 3, 2, 2)
    assert values["a"].tolist() == (C + 1).tolist()
    assert values["b"].tolist() == C.tolist()


VARIANCES = {
    "numpy": ("v = x.var(0)", 0),
    "a note on torch": ("# as in torch\nv = np.var(x, axis=0)", 0),
    "torch by its name": ("v = torch.var(x, 0)", 1),
    "torch by an import": ("import torch as t\nv = x.var(0)", 1),
    "torch by a word": ("v = x.var(0, keepdim=True)", 1),
    "torch that is told": ("v = torch.var(x, dim=0, unbiased=False)", 0),
    "a later name of it": ("v = torch.var(x, dim=0, correction=0)", 0),
}


@pytest.mark.parametrize(("text", "ddof"), VARIANCES.values(), ids=VARIANCES)
def test_the_variance_is_that_of_the_library_whose_words_stand_in_the_text(text: str, ddof: int) -> None:
    (formula,) = parse(text, "here")
    found = np.ravel(formula.value({"x": X}.__getitem__))
    assert np.allclose(found, X.var(axis=0, ddof=ddof), rtol=1e-14, atol=0)


TAKEN = "formulas are assignments to names, imports of numpy or torch, and expressions of known functions"
REFUSED = {
    "a loop": ("for i in x:\n    y = i", "f.py:2 `for i in x: y = i`: " + TAKEN),
    "another import": ("import os", f"f.py:2 `import os`: {TAKEN}"),
    "a function": ("def f(): pass", f"f.py:2 `def f(): pass`: {TAKEN}"),
    "an item that is set": ("x[0] = 1", f"f.py:2 `x[0] = 1`: {TAKEN}"),
    "an unknown function": ("y = np.fft(x)", "f.py:2 `y = np.fft(x)`: np.fft is no function that is known in formulas"),
    "a call of Python": ("exec('x')", "f.py:2 `exec('x')`: exec is no function that is known in formulas"),
    "a comprehension": (
        "y = [a for a in x]",
        "f.py:2 `y = [a for a in x]`: `[a for a in x]` is no expression of known functions",
    ),
    "an attribute": ("y = x.__class__", "f.py:2 `y = x.__class__`: `x.__class__` is no expression of known functions"),
    "a condition": (
        "y = 1 if x else 2",
        "f.py:2 `y = 1 if x else 2`: `1 if x else 2` is no expression of known functions",
    ),
}


@pytest.mark.parametrize(("line", "message"), REFUSED.values(), ids=REFUSED)
def test_anything_else_is_refused_with_its_line(line: str, message: str) -> None:
    with pytest.raises(StatementError) as refusal:
        parse(f"a = 1\n{line}\nb = 2", "f.py")
    assert str(refusal.value) == message


def test_what_does_not_parse_is_told_with_its_line() -> None:
    with pytest.raises(StatementError, match=r"^f\.py:2 does not parse: "):
        parse("a = 1\nb = (", "f.py")


def test_nothing_of_a_text_that_is_refused_runs(tmp_path: Path) -> None:
    with pytest.raises(StatementError):
        parse(f"a = 1\nb = open({str(tmp_path / 'made')!r}, 'w')", "f.py")
    assert list(tmp_path.iterdir()) == []
