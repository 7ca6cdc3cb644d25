"""`bncheck.check`, for notebooks and tests: what it takes. What it needs is imported when it is called."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, SupportsFloat, SupportsInt, TypedDict, Unpack, overload

if TYPE_CHECKING:
    from bncheck.printout import Report

PathLike = str | os.PathLike[str]
Shape = str | Sequence[SupportsInt] | SupportsInt  # the last is an array
Integers = SupportsInt | Sequence[SupportsInt] | None
Numbers = SupportsFloat | Sequence[SupportsFloat] | None
Words = Sequence[str] | None  # one word is a sequence too
Code = PathLike | Mapping[str, Any]


class Settings(TypedDict, total=False):
    """The keys of a config. A list where one value is expected is a matrix; None is as good as not given."""

    shape: Shape | Sequence[Shape] | None
    shapes: Shape | Sequence[Shape] | None
    seed: Integers
    seeds: Integers
    implementation: Code | Sequence[Code] | None
    forward: Words
    timeout: Numbers
    memory: SupportsInt | Sequence[SupportsInt | str] | None
    mode: Words
    eps: Numbers
    dtype: str | type | Sequence[str | type] | None
    channel_axis: Integers
    x: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]] | None
    dout: Words
    gamma: Words
    beta: Words
    rtol: SupportsFloat | Sequence[SupportsFloat | str] | None
    unresolved: Words
    blind: Words
    name: str | None
    cases: Sequence[Mapping[str, Any]] | None


@overload
def check(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    /,
    *,
    config: PathLike | None = None,
    **settings: Unpack[Settings],
) -> Report: ...


@overload
def check(
    code: type | Code | None = None,
    /,
    *,
    config: PathLike | None = None,
    in_process: bool = False,
    **settings: Unpack[Settings],
) -> Report: ...


def check(*code: Any, config: PathLike | None = None, in_process: bool = False, **settings: Unpack[Settings]) -> Report:
    """Check the backward pass of batch normalisation, node by node: beta, gamma, mean, var, x.

        report = bncheck.check(batchnorm_forward, batchnorm_backward, shapes=[(32, 64)], seeds=3)
        report.raise_for_failure()

    What is checked: a forward and a backward function, or a class that has both, which run in this process with no
    limits; or "layers.py", "layers.py:Name" or "package.module:Name", as in `bncheck run -i`, which run in a worker
    process, and in this one with `in_process`; or "reference" and "closed-form", which are ours. How code is called is
    found out by calling it.

    The settings are the keys of a config, with values of Python or NumPy: `shapes=[(32, 64), (8, 3, 6, 6)]`,
    `seeds=3` for 0, 1 and 2, `eps=[1e-5, 1e-8]`, `x={"std": 1e-4}`, `dtype="float32"`, `cases=[{"shape": (4, 5)}]`.
    With `config`, the path of a YAML file, they override what it says. Where neither gives a shape it is (32, 64),
    but a file must give its own; the seed is 0 if none is given.

    The report has `passed`, `cases` and `raise_for_failure()`, and shows itself when printed and in a notebook.
    Raises StartError, a ValueError, for a mistake in the settings and where there is nothing to check, with what
    `bncheck run` would say; KeyboardInterrupt where it is interrupted. What the code under check raises is in the
    report. What it prints in this process goes to stderr; checks there, in several threads, take turns.
    """
    from bncheck.call import answer  # NumPy, rich and the rest

    return answer(code, config, in_process, settings)
