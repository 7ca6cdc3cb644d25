"""Fixtures of several test files: the regimes that are hard on batch normalisation, and cases drawn at random."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import hypothesis
import pytest
from hypothesis import strategies as st

from bncheck.case import Case, XDraw

# Derandomised, and without a database: the same examples in every run. No deadline: timings are no business of tests.
hypothesis.settings.register_profile("same-examples", derandomize=True, database=None, deadline=None, max_examples=60)
hypothesis.settings.load_profile("same-examples")


@pytest.fixture(autouse=True)
def no_trace_of_loaded_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Take away what loading a file leaves in this process: the next test may have another file of that name."""
    path, folder = sys.path.copy(), str(tmp_path_factory.getbasetemp())
    yield
    sys.path[:] = path
    loaded = {name: getattr(module, "__file__", None) or "" for name, module in sys.modules.items()}
    for name in [name for name, file in loaded.items() if file.startswith(folder)]:
        del sys.modules[name]


# (7, 3) tells n - 1, n and n + 1 apart, and rows from features; it is small, for 50 digits and for loops in Python.
REGIMES = {
    "ordinary": Case(shape=(7, 3)),
    "variance 1e-8": Case(shape=(7, 3), x=XDraw(std=1e-4)),
    "mean 1e4": Case(shape=(7, 3), x=XDraw(mean=1e4)),
    "mean 1e8": Case(shape=(7, 3), x=XDraw(mean=1e8)),
    "n = 2": Case(shape=(2, 3)),
    "dout of ones": Case(shape=(7, 3), dout="ones"),
    "one-hot dout": Case(shape=(7, 3), dout="one-hot"),
    "std 1e6": Case(shape=(7, 3), x=XDraw(std=1e6)),
    "std 1e-150": Case(shape=(7, 3), x=XDraw(std=1e-150)),
    "std 1e90": Case(shape=(7, 3), x=XDraw(std=1e90)),
    "a constant feature": Case(shape=(7, 3), x=XDraw(like="constant")),
    "an outlier of 1e6": Case(shape=(7, 3), x=XDraw(like="outlier")),
    "eps 1e-12": Case(shape=(7, 3), eps=1e-12),
    "eval": Case(shape=(7, 3), mode="eval"),
}


@pytest.fixture(params=list(REGIMES.values()), ids=list(REGIMES))
def regime(request: pytest.FixtureRequest) -> Case:
    """Each of the regimes in float64, with seed 0."""
    case: Case = request.param
    return case


TRAIN = {name: case for name, case in REGIMES.items() if case.mode == "train"}


@pytest.fixture(params=list(TRAIN.values()), ids=list(TRAIN))
def train_regime(request: pytest.FixtureRequest) -> Case:
    """Each of the regimes in which the batch's own statistics are used."""
    case: Case = request.param
    return case


@st.composite
def _cases(draw: st.DrawFn) -> Case:
    mode = draw(st.sampled_from(["train", "eval"]))
    axes = draw(st.integers(2, 5))
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=axes, max_size=axes)))
    channel_axis = draw(st.integers(-axes, axes - 1))
    std = 10.0 ** draw(st.integers(-100, 90))
    mean = std * draw(st.sampled_from([0.0, -1.0, 1e4, -1e8]))
    case = Case(
        shape=shape,
        seed=draw(st.integers(0, 2**32)),
        mode=mode,
        eps=draw(st.sampled_from([1e-5, 1e-12, 1e-3, 1.0])),
        channel_axis=channel_axis,
        x=XDraw(mean=mean, std=std),
        dout=draw(st.sampled_from(["normal", "ones", "one-hot", "zeros"])),
        gamma=draw(st.sampled_from(["normal", "ones", "zeros"])),
        beta=draw(st.sampled_from(["normal", "ones", "zeros"])),
    )
    hypothesis.assume(mode == "eval" or case.n >= 2)
    return case


@pytest.fixture(scope="session")
def cases() -> st.SearchStrategy[Case]:
    """Float64 cases in every layout, channel axis and mode, at scales from 1e-100 to 1e90."""
    return _cases()
