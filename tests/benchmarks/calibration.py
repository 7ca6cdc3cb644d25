"""Whether verdicts can be trusted on correct code, and where the constants of the tolerance come from.

Run from the top of a checkout: python tests/benchmarks/calibration.py [--problems N] [--seed S]

Every problem is drawn by `problem.draw` and correct by construction. Eight correct implementations, ours and six
rewritings, run their backward on it, and the rule of the tolerance is applied to how far each is from the truth; one
of the eight, in turn, goes through the full check, and its forward is differenced by every method. The truth is the
chain rule in longdouble, from the numbers as rounded to the dtype of the case; that is held against mpmath on a few.
Long problems, n up to 100,000, are too slow to difference: there the rule of the tolerance is judged alone.
"""

# ruff: noqa: E402 - where the package is, and how many threads NumPy takes, is settled before they are imported

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(threads, "1")  # before NumPy is loaded: one core is what the time is stated for
sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from bncheck import checking
from bncheck.calling.implementation import CLOSED_FORM, REFERENCE, Implementation
from bncheck.case import Case, Verdict, XDraw
from bncheck.checking import check
from bncheck.gradients import batchnorm, numeric
from bncheck.gradients.batchnorm import NODES, FloatArray, Gradients, sizes_of
from bncheck.gradients.comparison import Cause
from bncheck.gradients.problem import Problem, draw, out_of_range
from bncheck.gradients.stack import methods
from bncheck.gradients.yardsticks import FLOOR, ROUNDOFF, Basis, Yardstick, relative
from tests.benchmarks.rewritings import (
    EINSUM,
    FUSED,
    LOOPS,
    MEANS,
    ONE_PASS,
    REWRITINGS,
    STAGED,
    TWO_PASS,
    WELFORD,
    Shown,
    in_float32,
)

CORRECT = (REFERENCE, CLOSED_FORM, *REWRITINGS)
OURS = (REFERENCE.name, CLOSED_FORM.name)
LAWS: Mapping[str, Callable[[int], float]] = {
    "1": lambda n: 1.0,
    "log2 n": lambda n: 1 + float(np.log2(n)),
    "sqrt n": lambda n: float(np.sqrt(n)),
    "n": float,
}
BUCKETS = (2, 8, 32, 128, 2048, 20_000, 200_000)  # n up to each: the right law of growth needs the same c in all
UNRESOLVED = 1e-3  # the share of problems that may be unresolved
VACUOUS = 100  # the median of resolution / true error that may not be exceeded
FAITHFUL = 32  # roundings: what longdouble may be off by, and still be thirty times as good as float64
EXACTLY = 20  # problems on which longdouble is held against mpmath
SHOWN = 12  # lines of each kind of complaint


# --- what is drawn ---------------------------------------------------------------------------------------------


def _of(x: XDraw, **settings: Any) -> Callable[[np.random.Generator], dict[str, Any]]:
    return lambda stream: {"x": x, **settings}


def _anything(stream: np.random.Generator) -> dict[str, Any]:
    """Mean, spread and eps over many decades at once."""
    x = XDraw(mean=10.0 ** stream.uniform(-2, 8), std=10.0 ** stream.uniform(-8, 8))
    return {"x": x, "eps": 10.0 ** stream.uniform(-12, -2), "mode": str(stream.choice(["train", "eval"]))}


REGIMES: Mapping[str, Callable[[np.random.Generator], dict[str, Any]]] = {
    "ordinary": _of(XDraw()),
    "variance 1e-8": _of(XDraw(std=1e-4)),
    "mean 1e4": _of(XDraw(mean=1e4)),
    "mean 1e8": _of(XDraw(mean=1e8)),
    "mean 1e12": _of(XDraw(mean=1e12)),
    "n = 2": _of(XDraw()),
    "dout of ones": _of(XDraw(), dout="ones"),
    "one-hot dout": _of(XDraw(), dout="one-hot"),
    "std 1e6": _of(XDraw(std=1e6)),
    "std 1e-150": _of(XDraw(std=1e-150)),
    "std 1e90": _of(XDraw(std=1e90)),
    "constant feature": _of(XDraw(like="constant")),
    "outlier 1e6": _of(XDraw(like="outlier")),
    "eps 1e-12": _of(XDraw(), eps=1e-12),
    "eps 0": _of(XDraw(), eps=0.0),
    "n = 2, eps 0": _of(XDraw(), eps=0.0),
    "eval": _of(XDraw(), mode="eval"),
    "eval, mean 1e8": _of(XDraw(mean=1e8), mode="eval"),
    "gamma of zeros": _of(XDraw(), gamma="zeros"),
    "anything": _anything,
}
DTYPES = (
    "float64",
    "float64",
    "float32",
    "float16",
)  # float64 twice: it has the most room for error below its tolerance

# Shapes as (N, D), (N, C, L), (N, C, H, W), (N, C, D, H, W) with few features: features are independent draws anyway.
SHAPES: tuple[tuple[int, ...], ...] = (
    (2, 3),
    (3, 4),
    (4, 5),
    (5, 2),
    (8, 4),
    (16, 8),
    (32, 4),
    (64, 2),
    (4, 3, 5),
    (2, 3, 2, 3),
    (3, 2, 4, 4),
    (2, 2, 2, 2, 3),
)
BIG_SHAPES: tuple[tuple[int, ...], ...] = ((128, 3), (32, 64), (8, 3, 6, 6), (500, 2), (1000, 1))
BIG_ONE_IN = 200  # one problem in so many has a big shape and is differenced in full
LONG_N = (1000, 3000, 10_000, 30_000, 100_000)
# One problem in so many is long: n * n * d is too much to difference, and the tolerance alone is judged.
LONG_ONE_IN = 40
AFFORDABLE = 5000  # n * n * d: up to here every method is tried, above it the everyday one alone


@dataclass(frozen=True, slots=True)
class Drawn:
    """One correct problem: what regime it is of, and whether it is too long to be differenced."""

    regime: str
    case: Case
    long: bool

    def __str__(self) -> str:
        shape = "x".join(map(str, self.case.shape))
        return f"{self.regime}, {shape} axis {self.case.channel_axis}, {self.case.dtype}, seed {self.case.seed}"


def problems(seed: int) -> Iterator[Drawn]:
    """Without end, round the regimes."""
    for i in range(seed, sys.maxsize):
        regime = list(REGIMES)[i % len(REGIMES)]
        stream = np.random.Generator(np.random.PCG64([seed, i]))
        shape, channel_axis = _layout(SHAPES[stream.integers(len(SHAPES))], stream)
        two_rows = regime.startswith("n = 2")
        long = stream.integers(LONG_ONE_IN) == 0 and not two_rows
        if two_rows:
            shape, channel_axis = (2, int(stream.integers(1, 9))), 1
        elif long:
            shape, channel_axis = (int(stream.choice(LONG_N)), 2), 1
        elif stream.integers(BIG_ONE_IN) == 0:
            shape, channel_axis = _layout(BIG_SHAPES[stream.integers(len(BIG_SHAPES))], stream)
        dtype = DTYPES[stream.integers(len(DTYPES))]
        settings = REGIMES[regime](stream)
        yield Drawn(regime, Case(shape=shape, seed=i, dtype=dtype, channel_axis=channel_axis, **settings), bool(long))


def _layout(shape: tuple[int, ...], stream: np.random.Generator) -> tuple[tuple[int, ...], int]:
    """The shape with its channels second or last, at even odds."""
    if stream.integers(2):
        return shape, 1
    return (shape[0], *shape[2:], shape[1]), -1


# --- what is measured ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Worst:
    """The largest of some numbers, and where it was."""

    value: float = 0.0
    where: str = ""

    def see(self, value: float, where: str) -> None:
        """Keep it if it is the largest so far; what is not a number is."""
        if not value <= self.value:
            self.value, self.where = value, where


@dataclass(slots=True)
class Tally:
    """All that is counted and measured.

    `needed` is the constant c that the tolerance would have needed, `raw` the same without the floor; `by_n` is the
    largest error / (u law(n) roundoff) for each law of growth, by dtype and n. `ratios` are resolution / true error,
    by method and node.
    """

    checked: int = 0
    skipped: int = 0
    blurred: int = 0
    full: int = 0
    long: int = 0
    backwards: int = 0
    alarms: list[str] = field(default_factory=list)
    unresolved: list[str] = field(default_factory=list)
    rule_alarms: list[str] = field(default_factory=list)
    one_pass: Counter[str] = field(default_factory=Counter)
    raw: dict[tuple[str, str], Worst] = field(default_factory=lambda: defaultdict(Worst))
    needed: dict[tuple[str, str], Worst] = field(default_factory=lambda: defaultdict(Worst))
    by_n: dict[tuple[str, int], dict[str, Worst]] = field(default_factory=dict)
    by_writer: dict[tuple[str, str], Worst] = field(default_factory=lambda: defaultdict(Worst))
    ratios: dict[tuple[str, str], list[FloatArray]] = field(default_factory=lambda: defaultdict(list))
    exact: Counter[tuple[str, str]] = field(default_factory=Counter)
    exceeded: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    exceeding: dict[tuple[str, str, str], Worst] = field(default_factory=lambda: defaultdict(Worst))


def truth(problem: Problem) -> Gradients:
    """The gradients by the chain rule in longdouble, from the numbers as rounded to the dtype of the case."""
    inputs = problem.inputs.map(lambda array: array.astype(np.longdouble))
    return batchnorm.backward(inputs, batchnorm.forward(inputs), problem.dout.astype(np.longdouble))[0]


def yardsticks(problem: Problem) -> dict[str, Yardstick]:
    """What errors are measured by at each node, as `check` has it."""
    basis = Basis.of(problem)
    return {node: basis.yardstick(node) for node in NODES}


def measure(drawn: Drawn, tally: Tally) -> None:
    """One problem through everything it is small enough for."""
    problem = draw(drawn.case)
    exact = problem.widened()
    stages = batchnorm.forward(exact.inputs)
    if out_of_range(problem, stages, sizes_of(exact.inputs, stages, exact.dout).scales):
        tally.skipped += 1
        return
    true, rods = truth(problem), yardsticks(problem)
    if any(rod.is_blurred for rod in rods.values()):
        tally.blurred += 1
        return
    for writer in CORRECT:
        measure_rule(drawn, writer, problem, true, rods, tally)
    tally.one_pass["within" if not wrong_nodes(ONE_PASS, problem, true, rods) else "beyond"] += 1
    if drawn.long:
        tally.long += 1
        tally.checked += 1
        return
    writer = CORRECT[drawn.case.seed // len(REGIMES) % len(CORRECT)]  # each meets every regime
    measure_verdict(drawn, writer, tally)
    measure_resolution(drawn, writer, exact, true, tally)


def errors(found: Gradients, true: Gradients, node: str) -> FloatArray:
    """The largest absolute error in each feature, (d,)."""
    worst: FloatArray = np.max(np.atleast_2d(np.abs(found.of(node) - true.of(node))), axis=0)
    return worst


def wrong_nodes(writer: Implementation, problem: Problem, true: Gradients, rods: Mapping[str, Yardstick]) -> list[str]:
    """The nodes at which this backward is further from the truth than the tolerance allows."""
    found = writer.backward(problem.inputs, problem.dout)
    return [
        node
        for node, rod in rods.items()
        if not np.all(relative(errors(found, true, node), rod.measured_by) <= rod.tolerance)
    ]


def measure_rule(
    drawn: Drawn,
    writer: Implementation,
    problem: Problem,
    true: Gradients,
    rods: Mapping[str, Yardstick],
    tally: Tally,
) -> None:
    """How far this backward is from the truth, and what constant the tolerance needs to cover that."""
    case, found = drawn.case, writer.backward(problem.inputs, problem.dout)
    tally.backwards += 1
    wrong = wrong_nodes(writer, problem, true, rods)
    if wrong:
        tally.rule_alarms.append(f"{writer.name} at {wrong}, {drawn}")
    bucket = tally.by_n.setdefault(
        (case.dtype, next(bound for bound in BUCKETS if case.n <= bound)), {law: Worst() for law in LAWS}
    )
    for node, rod in rods.items():
        units, excess = in_units(errors(found, true, node), rod)
        where = f"{writer.name} at {node}, {drawn}"
        tally.raw[drawn.regime, case.dtype].see(units, where)
        tally.needed[drawn.regime, case.dtype].see(excess, where)
        tally.by_writer[writer.name, node].see(units, where)
        in_u = units * rod.unit / (float(np.finfo(case.dtype).eps) / 2)
        for law, growth in LAWS.items():
            bucket[law].see(in_u / growth(case.n), where)


def in_units(error: FloatArray, rod: Yardstick) -> tuple[float, float]:
    """The largest error over the features, in units of rod.unit * roundoff, and that of what is above the floor."""
    size = rod.measured_by
    unit = rod.unit * rod.roundoff
    beyond = np.maximum(error - rod.tiny, 0)
    above = np.maximum(beyond - FLOOR * size, 0)
    return float(np.max(relative(beyond, unit))), float(np.max(relative(above, unit)))


def measure_verdict(drawn: Drawn, writer: Implementation, tally: Tally) -> None:
    """One full check."""
    found = check(drawn.case, writer)
    tally.checked += 1
    tally.full += 1
    rows = "; ".join(
        f"{row.node} error {row.error:.1e} tolerance {row.tolerance:.1e} resolution {row.resolution:.1e} {row.note}"
        for row in found.comparisons
        if row.verdict is not Verdict.PASS
    )
    if found.verdict is Verdict.UNRESOLVED:
        tally.unresolved.append(f"{writer.name}, {drawn}: {rows}")
    elif found.verdict is not Verdict.PASS:
        tally.alarms.append(f"{writer.name}, {drawn}: {found.verdict} {found.reason} {rows}")


def measure_resolution(drawn: Drawn, writer: Implementation, exact: Problem, true: Gradients, tally: Tally) -> None:
    """How far the numeric gradients of this forward are from the truth, against how far they say that they may be."""
    whose = "ours" if writer.name in OURS else "rewritten"
    affordable = drawn.case.n**2 * drawn.case.d <= AFFORDABLE
    for method in methods() if affordable else methods()[:1]:
        for node in NODES:
            found = numeric.differentiate(node, writer.forward, exact.inputs, exact.dout, method)
            error = np.max(np.atleast_2d(np.abs(found.value - true.of(node))), axis=0)
            key = str(method), node
            exceeded = ~(error <= found.resolution)
            if np.any(exceeded):
                tally.exceeded[whose, *key] += int(np.count_nonzero(exceeded))
                by = float(np.max(relative(error, found.resolution)[exceeded]))
                tally.exceeding[whose, *key].see(by, f"{writer.name}, {drawn}")
            if whose == "ours":
                tally.exact[key] += int(np.count_nonzero(error == 0))
                ratio = found.resolution[error != 0] / error[error != 0]
                tally.ratios[key].append(ratio.astype(np.float64))


def run(count: int, seed: int) -> Tally:
    """As many problems as asked for, not counting those that their dtype cannot hold."""
    tally = Tally()
    with np.errstate(all="ignore"):
        for drawn in problems(seed):
            measure(drawn, tally)
            if tally.checked >= count:
                break
    return tally


# --- the wide sweep ----------------------------------------------------------------------------------------------

# What people's functions show: out, dx, dgamma and dbeta, over data of every size and kind, through the full check.
SPELLINGS = (TWO_PASS, MEANS, EINSUM, LOOPS, STAGED, FUSED, WELFORD, in_float32(TWO_PASS), ONE_PASS)
FEW_ROWS = ("welford",)  # a loop in Python
NARROW_ONLY = ("two-pass in float32",)
MEANS_OF_X = (0.0, 1.0, 1e2, 1e4, 1e7, 1e10)
STDS_OF_X = (1e-10, 1e-5, 1e-2, 1.0, 1e3, 1e10)
EPSES = (0.0, 1e-12, 1e-5, 1e-3, 1.0)
ROWS = (2, 3, 7, 8, 32, 32, 128, 128, 500, 1000)
MANY_ROWS = (10**4, 10**5, 10**6)
MANY_ONE_IN = 250
KINDS: Mapping[str, Callable[[FloatArray, np.random.Generator], FloatArray]] = {
    "as drawn": lambda x, stream: x,
    "sparse": lambda x, stream: np.where(stream.random(x.shape) < 0.1, x, 0),
    "heavy-tailed": lambda x, stream: x * np.exp(3 * stream.normal(size=x.shape)),
    "one-hot": lambda x, stream: (np.arange(len(x))[:, None] == stream.integers(len(x), size=x.shape[1])) * 1.0,
    "subnormal": lambda x, stream: x * 1e-310,
}


@dataclass(slots=True)
class Wide:
    """What the wide sweep came to: verdicts, and those of a variance in one pass, which may lose digits and say so."""

    verdicts: Counter[str] = field(default_factory=Counter)
    alarms: list[str] = field(default_factory=list)
    unresolved: list[str] = field(default_factory=list)
    one_pass: Counter[str] = field(default_factory=Counter)


def sweep(count: int, seed: int) -> Wide:
    """Check as many correct functions on data of every size and kind."""
    wide = Wide()
    for i in range(seed, seed + count):
        stream = np.random.Generator(np.random.PCG64([seed, i, 1]))
        writer = SPELLINGS[i % len(SPELLINGS)]
        many = stream.integers(MANY_ONE_IN) == 0 and writer.name not in FEW_ROWS
        n = int(stream.choice(MANY_ROWS if many else ROWS))
        kind = str(stream.choice(list(KINDS)[0 if stream.integers(3) else 1 :])) if stream.integers(2) else "as drawn"
        case = Case(
            shape=(n, 2 if many else int(stream.choice((1, 3, 10)))),
            seed=i,
            x=XDraw(mean=float(stream.choice(MEANS_OF_X)), std=float(stream.choice(STDS_OF_X))),
            eps=float(stream.choice(EPSES)),
            dout=str(stream.choice(["normal", "normal", "ones", "one-hot"])),
            dtype="float32" if writer.name in NARROW_ONLY else str(stream.choice(["float64", "float64", "float32"])),
        )
        note_sweep(wide, writer, case, kind, stream)
    return wide


def note_sweep(wide: Wide, writer: Implementation, case: Case, kind: str, stream: np.random.Generator) -> None:
    """Check one, and note what came of it. The kind of x is made of what is drawn."""

    number = int(stream.integers(2**31))

    def drawn(case: Case) -> Problem:
        problem, stream = draw(case), np.random.Generator(np.random.PCG64(number))
        with np.errstate(all="ignore"):
            x = KINDS[kind](problem.inputs.x.astype(np.float64), stream).astype(case.dtype)
        return replace(problem, inputs=replace(problem.inputs, x=x))

    std = batchnorm.forward(drawn(case).widened().inputs).std
    if not np.all(np.abs(np.log2(std)) < np.log2(float(np.finfo(case.dtype).max)) / 3):
        wide.verdicts[Verdict.SKIPPED] += 1
        return  # (var + eps) ** -1.5, which the paper writes, leaves the range of the dtype
    with mock.patch.object(checking, "draw", drawn):
        found = check(case, Shown(writer))
    rows = "; ".join(
        f"{row.node} {row.verdict} {row.error:.1e}/{row.tolerance:.1e} r {row.resolution:.1e} {row.note}"
        for row in found.comparisons
        if row.verdict not in (Verdict.PASS, Verdict.SKIPPED)
    )
    line = (
        f"{writer.name}, {kind}, {case.shape}, mean {case.x.mean:g} std {case.x.std:g} eps {case.eps:g} "
        f"dout {case.dout} {case.dtype} seed {case.seed}: {found.note} {rows}"
    )
    if writer is ONE_PASS:
        told = all(row.cause is Cause.ROUNDOFF for row in found.comparisons if row.verdict is Verdict.FAIL)
        wide.one_pass[f"{found.verdict}{'' if told else ', not told as roundoff'}"] += 1
        return
    wide.verdicts[found.verdict] += 1
    if found.verdict is Verdict.FAIL:
        wide.alarms.append(line)
    if found.verdict is Verdict.UNRESOLVED:
        wide.unresolved.append(line)


# --- mpmath ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Held:
    """Longdouble held against mpmath: the largest error of the truth, relative to u * roundoff of longdouble, and
    the least and the median of the resolution / true error of the differences in 80 bits."""

    truth: float
    least: float
    middle: float


def by_mpmath(problem: Problem) -> Gradients:
    """The gradients in train mode to 60 digits, rounded to longdouble. Raises ImportError where there is no mpmath."""
    import mpmath

    with mpmath.workdps(60):
        columns = [_column(problem, j) for j in range(problem.case.d)]
    beta, gamma, mean, var, x = (np.array(part, np.longdouble) for part in zip(*columns, strict=True))
    return Gradients(beta, gamma, mean, var, x.T)


def _column(problem: Problem, j: int) -> tuple[Any, ...]:
    """The gradients of one feature, by the formulas of the derivation as they stand there."""
    import mpmath

    def exactly(array: FloatArray) -> list[Any]:
        return [mpmath.mpf(float(value)) for value in array]

    x, dout = exactly(problem.inputs.x[:, j]), exactly(problem.dout[:, j])
    gamma, n = mpmath.mpf(float(problem.inputs.gamma[j])), len(x)
    mean = mpmath.fsum(x) / n
    centred = [value - mean for value in x]
    std = mpmath.sqrt(mpmath.fsum(value**2 for value in centred) / n + mpmath.mpf(problem.case.eps))
    dx_hat = [value * gamma for value in dout]
    dvar = -mpmath.fsum(a * b for a, b in zip(dx_hat, centred, strict=True)) / (2 * std**3)
    dmean = -mpmath.fsum(dx_hat) / std
    dx = [a / std + dvar * 2 * b / n + dmean / n for a, b in zip(dx_hat, centred, strict=True)]
    dgamma = mpmath.fsum(a * b for a, b in zip(dout, centred, strict=True)) / std
    return *(_longdouble(value) for value in (mpmath.fsum(dout), dgamma, dmean, dvar)), [_longdouble(v) for v in dx]


def _longdouble(value: Any) -> np.longdouble:
    import mpmath

    return np.longdouble(mpmath.nstr(value, 30))


def hold_against_mpmath(seed: int) -> Held:
    """The truth and the finest differences, on ordinary data and on data far from its mean. Raises ImportError."""
    worst, ratios = 0.0, []
    for i in range(EXACTLY):
        case = Case(shape=(12, 3), seed=seed + i, x=XDraw(mean=(0.0, 1e4, 1e8)[i % 3]))
        problem = draw(case)
        exact, near = by_mpmath(problem), truth(problem)
        for node, rod in yardsticks(problem).items():
            u = float(np.finfo(np.longdouble).eps) / 2
            worst = max(worst, float(np.max(relative(errors(near, exact, node), u * rod.roundoff))))
            found = numeric.differentiate(node, REFERENCE.forward, problem.inputs, problem.dout, methods()[-1])
            error = np.max(np.atleast_2d(np.abs(found.value - exact.of(node))), axis=0)
            ratios.append((found.resolution[error != 0] / error[error != 0]).astype(np.float64))
    joined = np.concatenate(ratios)
    return Held(worst, float(np.min(joined)), float(np.median(joined)))


# --- what is printed -------------------------------------------------------------------------------------------


def print_counts(tally: Tally) -> None:
    """How many problems of which kind, and what went wrong with them."""
    print(f"{tally.checked} correct problems: {tally.full} checked in full, {tally.long} by the tolerance alone")
    print(f"  not counted: {tally.skipped} out of range, {tally.blurred} whose x - mean is lost in the roundoff of x")
    print(f"  {tally.backwards} backwards, by {len(CORRECT)} implementations, held against the rule of the tolerance")
    print(f"  one-pass variance, not counted as correct: {dict(tally.one_pass)} the tolerance")
    listed = {"false alarm": tally.alarms, "unresolved": tally.unresolved, "alarm of the rule": tally.rule_alarms}
    for title, lines in listed.items():
        for line in lines[:SHOWN]:
            print(f"  {title}: {line}")


def print_constants(tally: Tally) -> None:
    """What c has to be, and which law of growth leaves it the same for all n."""
    dtypes = sorted({dtype for _, dtype in tally.raw})
    print(f"\nc needed, {ROUNDOFF:g} in use: largest error / (sum_error * roundoff); in brackets, above FLOOR")
    print(f"  {'':18s}" + "".join(f"{dtype:>20s}" for dtype in dtypes))
    for regime in REGIMES:
        both = ((tally.raw[regime, dtype].value, tally.needed[regime, dtype].value) for dtype in dtypes)
        print(f"  {regime:18s}" + "".join(f"{raw:10.3f} ({needed:7.3f})" for raw, needed in both))
    print("\nlargest error / (u law(n) roundoff), by n up to")
    for dtype in dtypes:
        buckets = [bound for bound in BUCKETS if (dtype, bound) in tally.by_n]
        print(f"  {dtype:16s}" + "".join(f"{bound:>10d}" for bound in buckets))
        for law in LAWS:
            print(f"    law {law:10s}" + "".join(f"{tally.by_n[dtype, bound][law].value:10.3f}" for bound in buckets))
        for bound in buckets:
            print(f"      {bound}: {tally.by_n[dtype, bound]['1'].where}")
    print("\nc needed without FLOOR, by implementation and node")
    for writer in CORRECT:
        cells = (f"{node} {tally.by_writer[writer.name, node].value:6.3f}" for node in NODES)
        print(f"  {writer.name:12s} " + "  ".join(cells))


def print_resolutions(tally: Tally) -> None:
    """How much wider than the true error the resolution is, and where it was narrower."""
    print("\nresolution / true error of our own forward, a feature each: least, 1 %, median, 95 % | error 0, left out")
    for (method, node), parts in sorted(tally.ratios.items()):
        ratios = np.concatenate(parts)
        if len(ratios):
            cells = "".join(f"{value:10.3g}" for value in np.quantile(ratios, [0, 0.01, 0.5, 0.95]))
            exact = tally.exact[method, node]
            print(f"  {method:20s} {node:6s}{cells} | {exact} of {len(ratios) + exact}")
    for (whose, method, node), count in sorted(tally.exceeded.items()):
        worst = tally.exceeding[whose, method, node]
        print(f"  above it: {whose}, {method}, {node}: {count} features, worst by {worst.value:.3g}: {worst.where}")


def medians(tally: Tally) -> dict[str, float]:
    """Median of resolution / true error, of our own forward: by node over all methods, and over all."""
    found = {
        node: np.concatenate([part for (_, at), parts in tally.ratios.items() if at == node for part in parts])
        for node in NODES
    }
    found["all nodes"] = np.concatenate(list(found.values()))
    return {name: float(np.median(ratios)) for name, ratios in found.items() if len(ratios)}


def print_mpmath(seed: int) -> bool:
    """Whether longdouble agrees with mpmath; True, and said so, where there is no mpmath to ask."""
    try:
        held = hold_against_mpmath(seed)
    except ImportError:
        print("mpmath: skipped, not installed")
        return True
    print(f"\nmpmath at 60 digits, {EXACTLY} problems: the truth is within {held.truth:.2f} u of longdouble of it;")
    print(
        f"  resolution / true error of 80-bit differences: {held.least:.3g} at least, {held.middle:.3g} in the middle"
    )
    return held.truth <= FAITHFUL and held.least >= 1


def print_sweep(wide: Wide) -> None:
    """What came of people's functions on data of every size and kind."""
    print(f"\nthe wide sweep: {dict(wide.verdicts)}; a variance in one pass: {dict(wide.one_pass)}")
    for title, lines in {"false alarm": wide.alarms, "unresolved": wide.unresolved}.items():
        for line in lines[:SHOWN]:
            print(f"  {title}: {line}")


def print_claims(tally: Tally, wide: Wide, agrees: bool) -> int:
    """One line a claim. Returns the exit status."""
    ours = sum(count for (whose, *_), count in tally.exceeded.items() if whose == "ours")
    judged = sum(wide.verdicts[verdict] for verdict in (Verdict.PASS, Verdict.FAIL, Verdict.UNRESOLVED))
    few = len(tally.unresolved) <= UNRESOLVED * tally.full
    held = {
        f"no false alarm ({len(tally.alarms)} of {tally.full} checks)": not tally.alarms,
        f"no backward beyond the tolerance ({len(tally.rule_alarms)} of {tally.backwards})": not tally.rule_alarms,
        f"at most {UNRESOLVED:.1%} unresolved ({len(tally.unresolved)} of {tally.full})": few,
        f"the true error never exceeds the resolution of our forward ({ours} features)": ours == 0,
        "longdouble agrees with mpmath": agrees,
        f"no false alarm in the wide sweep ({len(wide.alarms)} of {judged})": not wide.alarms,
        f"at most 1% unresolved there ({len(wide.unresolved)})": len(wide.unresolved) <= judged / 100,
        "a variance in one pass fails for roundoff alone": not wide.one_pass["fail, not told as roundoff"],
    }
    for name, middle in medians(tally).items():
        held[f"resolution / true error has a median of at most {VACUOUS} at {name} ({middle:.0f})"] = middle <= VACUOUS
    for claim, holds in held.items():
        print(f"claim: {claim}: {'holds' if holds else 'FALLS SHORT'}")
    return 0 if all(held.values()) else 1


def main() -> int:
    """Measure and print. Returns the exit status; 2 where there is nothing finer than float64 to take for the truth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=20_000, help="how many correct problems")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--quick", action="store_true", help="a tenth of the problems, in a minute or two")
    arguments = parser.parse_args()
    if np.finfo(np.longdouble).eps >= np.finfo(np.float64).eps:
        print("longdouble is no finer than float64 on this platform: there is no truth to compare with")
        return 2
    started = time.perf_counter()
    count = arguments.problems // 10 if arguments.quick else arguments.problems
    tally = run(count, arguments.seed)
    wide = sweep(count, arguments.seed)
    print_counts(tally)
    print_constants(tally)
    print_resolutions(tally)
    print_sweep(wide)
    agrees = print_mpmath(arguments.seed)
    print(f"{time.perf_counter() - started:.0f} s\n")
    return print_claims(tally, wide, agrees)


if __name__ == "__main__":
    sys.exit(main())
