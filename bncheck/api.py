"""`bncheck.check`, for notebooks and tests: its settings, what is handed to it, and the report that it gives.

What a call needs is imported when it is made: `from bncheck import check` loads neither NumPy nor rich.
"""

from __future__ import annotations

import contextlib
import keyword
import os
import random
import sys
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from types import FunctionType
from typing import TYPE_CHECKING, Any, SupportsFloat, SupportsInt, TypedDict, Unpack, overload

from bncheck.case import Case, Origin, Verdict
from bncheck.report import CaseReport, Run
from bncheck.reporters import late
from bncheck.reporters.console import Detail, Escaped
from bncheck.status import ExitStatus, Hints, StartError

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from bncheck.config import Override
    from bncheck.discovery import Discovery
    from bncheck.faults.reduction import Followed

PathLike = str | os.PathLike[str]
Shape = str | Sequence[SupportsInt] | SupportsInt  # the last is an array
Integers = SupportsInt | Sequence[SupportsInt] | None
Numbers = SupportsFloat | Sequence[SupportsFloat] | None
Array = Any  # of NumPy, or what gives one by __array__
Words = Sequence[str] | None  # one word is a sequence too
Code = PathLike | Mapping[str, Any]

SHAPE = "shape=65x67"
"""Where no shape is given, and x is no array and no file."""

ARRAYS = ("x", "dout", "gamma", "beta")
"""Settings that may be arrays."""

FILE_ONLY = ("name", "cases")
"""Settings that a config can have, and that cannot be given over those of a file."""

MORE = "report.cases and report.to_json() have them all"

_EXPECTED = "give a forward and a backward function, a class, or a place such as 'layers.py'"
_MEANT = "{forward}(x, gamma, beta, eps) -> out, cache and {backward}(dout, cache) -> dx, dgamma, dbeta"


class Settings(TypedDict, total=False):
    """The keys of a config. A list where one value is expected is a matrix; None is as good as not given."""

    shape: Shape | Sequence[Shape] | None
    shapes: Shape | Sequence[Shape] | None
    seed: Integers
    seeds: Integers
    implementation: Code | Sequence[Code] | None
    forward: Words
    device: Words
    repeats: int
    timeout: Numbers
    memory: SupportsInt | Sequence[SupportsInt | str] | None
    mode: Words
    eps: Numbers
    dtype: str | type | Sequence[str | type] | None
    channel_axis: Integers
    x: Array | str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]] | None
    dout: Array | Words
    gamma: Array | Words
    beta: Array | Words
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
    hints: str = "formula",
    **settings: Unpack[Settings],
) -> Report: ...


@overload
def check(
    code: type | Code = ...,
    /,
    *,
    config: PathLike | None = None,
    hints: str = "formula",
    in_process: bool = False,
    executor: Executor | None = None,
    **settings: Unpack[Settings],
) -> Report: ...


def check(
    *code: Any,
    config: PathLike | None = None,
    hints: str = "formula",
    in_process: bool = False,
    executor: Executor | None = None,
    **settings: Unpack[Settings],
) -> Report:
    """Check the backward pass of batch normalisation, node by node: beta, gamma, mean, var, x.

        report = bncheck.check(batchnorm_forward, batchnorm_backward, shapes=[(32, 64)], seeds=3)
        report.raise_for_failure()

    What is checked: a forward and a backward function, or a class that has both, which run in this process with no
    limits; or "layers.py", "layers.py:Name" or "package.module:Name", as in `bncheck run -i`, which run in a worker
    process, and in this one with `in_process`; or "reference" and "closed-form", which are ours. How code is called is
    found out by calling it.

    The settings are the keys of a config, with values of Python or NumPy: `shapes=[(32, 64), (8, 3, 6, 6)]`,
    `seeds=3` for 0, 1 and 2, `eps=[1e-5, 1e-8]`, `x={"std": 1e-4}`, `dtype="float32"`, `cases=[{"shape": (4, 5)}]`.
    With `config`, the path of a YAML file, they override what it says. Where neither gives a shape it is (65, 67),
    but a file must give its own; the seed is 0 if none is given. `x` may be an array, in the layout of the case, whose
    shape it then has; beside it `dout`, of that shape, and `gamma` and `beta`, of shape (d,), may be arrays too.

    With an `executor` of `concurrent.futures`, or of Dask, Ray or MPI, a file is checked case by case in its processes,
    which may be on other machines: the file goes with the case, and what it imports must be found there. The report
    is the same, but for the times.

    With `hints` a failure gives away less than all: no more than its "verdict", its "place", or the "route" that is
    wrong, without the "formula".

    The report has `passed`, `cases` and `raise_for_failure()`, and shows itself when printed and in a notebook.
    Raises StartError, a ValueError, for a mistake in the settings and where there is nothing to check, with what
    `bncheck run` would say; KeyboardInterrupt where it is interrupted. What the code under check raises is in the
    report. What it prints in this process goes to stderr; checks there, in several threads, take turns.
    """
    from bncheck.config import Override

    if hints not in list(Hints):
        raise StartError(f"error: hints is {hints!r}, expected one of {', '.join(Hints)}")
    given = {key: value for key, value in settings.items() if value is not None}
    if not code and config is None and not given:
        raise StartError(f"error: nothing is given to be checked; {_EXPECTED}")
    with _arrays_in_a_file(given) as written:
        keywords = [_keyword(key, value) for key, value in written.items()]
        if config is None and not _gives_a_shape(written):
            keywords.insert(0, Override(SHAPE, ""))
        handed = _handed_over(code)
        if handed is not None and "implementation" in given:
            twice = "the implementation is given twice, as an argument and as the keyword implementation"
            raise StartError(f"error: {twice}; keep one of them")
        if executor is not None and (in_process or isinstance(handed, Given)):
            what = "in_process" if in_process else "functions or a class"
            raise StartError(f"error: executor is given with {what}; give a place such as 'layers.py' alone")
        if executor is not None and not hasattr(executor, "submit"):
            kind = type(executor).__name__
            raise StartError(f"error: executor is of type {kind}, expected an executor of concurrent.futures")
        if isinstance(handed, Given):
            with _nothing_left_behind():
                remembered = handed.known() is not None
                found = _check_given(handed, config, keywords)
                if remembered and not _all_judged(found):  # what they call, and give, may be otherwise by now
                    handed.forget()
                    found = _check_given(handed, config, keywords)
        else:
            found = _check_place([] if handed is None else [handed], config, keywords, in_process, executor)
    if found.stopped == "interrupted":
        raise KeyboardInterrupt
    # The file of arrays is gone, and with it what a command could repeat.
    cases = found.cases if written is given else tuple(replace(one, repeat="") for one in found.cases)
    return Report(cases, found.selected, found.seconds, found.stopped).telling(Hints(hints))


# --- the report ------------------------------------------------------------------------------------------------


class CheckFailedError(AssertionError):
    """Some case did not pass; the message tells all of them."""


class Report(Run):
    """Report of `bncheck.check`. `print(report)` shows it, and a notebook shows it in colour.

    `cases` has one report a case, with its `verdict` and its `comparisons` node by node; iterating gives them too.
    A report is true where it `passed`, so that `assert bncheck.check(...)` means what it says.
    """

    __slots__ = ()

    @property
    def passed(self) -> bool:
        """Whether the exit status of `bncheck run` would be 0. Where every case was skipped, nothing has passed."""
        return self.status is ExitStatus.PASSED

    def raise_for_failure(self) -> None:
        """Raise CheckFailedError with all that did not pass: a line for each thing, then all of it in full.

        Nothing happens where all passed.
        """
        if self.passed:
            return
        amiss = sum(not found.acceptable for found in self.cases)
        all_of_them = f"{len(self.cases)} case{'s' * (len(self.cases) != 1)}"
        head = f"{amiss} of {all_of_them} did not pass" if amiss else f"0 of {all_of_them} passed"
        parts = [head, late("concise").sentences(self), late("table").render(self, Detail.FAILURES)]
        raise CheckFailedError("\n\n".join(part.rstrip() for part in parts if part))

    def to_json(self) -> str:
        """The text that `bncheck run --format json` prints."""
        return str(late("json").render(self))

    def __bool__(self) -> bool:
        return self.passed

    def __len__(self) -> int:
        return len(self.cases)

    def __iter__(self) -> Iterator[CaseReport]:
        return iter(self.cases)

    def __str__(self) -> str:
        return str(late("table").render(self, Detail.USUAL, MORE)).rstrip("\n")

    def __repr__(self) -> str:
        return f"<bncheck.Report: {late('table').last_line(self).plain}>"

    def __rich__(self) -> object:
        return Escaped([late("table").body(self, Detail.USUAL, MORE)])

    def _repr_html_(self) -> str:
        return str(late("table").html(self, Detail.USUAL, MORE))


# --- what is checked -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Given:
    """Code to be checked, handed over: a class, or a backward and its `forward`, which is empty for a class.

    `name` is that of the class or of the backward, as reports have it; `namespace` has them under their names.
    """

    name: str
    namespace: Mapping[str, Any]
    forward: str = ""

    def discover(self, origin: Origin) -> Discovery:
        """The ways to call them, as they were found out the last time that they were given."""
        found = self.known() or self._recognised()
        if self._can_be_remembered:
            owner, other = self._owners
            _known.setdefault(owner, weakref.WeakKeyDictionary())[other] = found
        return found

    def known(self) -> Discovery | None:
        """The ways to call them, where they were found out before."""
        owner, other = self._owners
        return _known[owner].get(other) if self._can_be_remembered and owner in _known else None

    def forget(self) -> None:
        """Find out anew the next time: what they call may have changed."""
        _known.pop(self._owners[0], None)

    @property
    def _can_be_remembered(self) -> bool:
        """Whether they are functions or a class; other things may be equal, and yet differ."""
        return all(isinstance(one, FunctionType | type) for one in self._owners)

    @property
    def _owners(self) -> tuple[Any, Any]:
        return self.namespace[self.name], self.namespace[self.forward or self.name]

    def _recognised(self) -> Discovery:
        """Find out how they are called. Their warnings are not shown: they may well be at the way in which we try."""
        from bncheck.discovery import Discovery, Member
        from bncheck.recognition.recognition import recognise, recognise_pair

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if self.forward:
                found = recognise_pair(self.namespace, self.forward, self.name)
            else:
                found = recognise(self.namespace, self.name)
        if found.found:
            return Discovery(tuple(Member(one.name, one.convention) for one in found.found))
        tried = [f"  {attempt.name}: {'; '.join(attempt.reasons)}" for attempt in found.attempts]
        return Discovery(refusal="\n".join([*self._refused(), *tried]))

    def check(self, case: Case) -> CaseReport:
        """Check one case. Raises whatever their code raises."""
        from bncheck.discovery import check_in

        assert case.origin is not None
        assert case.origin.convention is not None
        return check_in(self.namespace, case.origin.convention, case)

    def follow(self, report: CaseReport, seconds: float) -> Followed:
        """Follow up a failure."""
        from bncheck.discovery import follow_in

        return follow_in(self.namespace, report, seconds)

    def _refused(self) -> tuple[str, str]:
        """Two lines: that nothing was recognised, and what to do."""
        if self.forward:
            meant = _MEANT.format(forward=self.forward, backward=self.name)
            named, advice = f"{self.forward} and {self.name} are", f"name the arguments as in {meant}"
        else:
            named, advice = f"{self.name} is", "it needs methods such as forward(self, x) and backward(self, dout)"
        return f"error: {named} not recognised as batch normalisation", f"  {advice}"


_known: weakref.WeakKeyDictionary[Any, weakref.WeakKeyDictionary[Any, Discovery]] = weakref.WeakKeyDictionary()
"""Discoveries by the backward or class, then by the forward or class; kept for as long as these are."""


def functions(forward: Callable[..., Any], backward: Callable[..., Any]) -> Given:
    """The code in a pair of functions.

    They keep their own names where these are names, differ, and mean nothing else in a convention.
    """
    names = _name(forward, "forward"), _name(backward, "backward")
    if names[0] == names[1]:
        names = "forward", "backward"
    return Given(names[1], dict(zip(names, (forward, backward), strict=True)), names[0])


def _name(function: Callable[..., Any], otherwise: str) -> str:
    from bncheck.calling.vocabulary import FOUND, GIVEN

    name = getattr(function, "__name__", "")
    usable = isinstance(name, str) and name.isidentifier() and not keyword.iskeyword(name)
    return name if usable and name not in (*GIVEN, *FOUND) else otherwise


def _handed_over(code: Sequence[Any]) -> Given | Override | None:
    """The positional arguments of `check`: functions or a class, or a place as a config has it; None without any.

    Raises StartError.
    """
    from inspect import iscoroutinefunction

    from bncheck.config.override import Override, written

    match code:
        case ():
            return None
        case (None,):
            raise StartError(f"error: the implementation is None; {_EXPECTED}")
        case (owner,) if isinstance(owner, type):
            return Given(owner.__name__, {owner.__name__: owner})
        case (forward, backward) if callable(forward) and callable(backward):
            for one in filter(iscoroutinefunction, code):
                wrong = f"{one.__name__} is a coroutine"
                raise StartError(f"error: {wrong}; give a function without async, or run it in one")
            return functions(forward, backward)
        case (str() | os.PathLike() | Mapping() as place,):
            text = written(place, "the implementation")
            if isinstance(place, Mapping):
                return Override(f"implementation={text}", f"bncheck.check({text})")
            path = os.fspath(place)
            return Override(f"implementation={text}", f"bncheck.check({path!r})", ("-i", path))
        case (function,) if callable(function) and hasattr(function, "__name__"):
            name = function.__name__
            raise StartError(f"error: {name} is given alone; give its other half: bncheck.check(forward, backward)")
    kinds = ", ".join(type(one).__name__ for one in code)
    raise StartError(f"error: the implementation is of type {kinds}; {_EXPECTED}")


def _check_given(code: Given, config: PathLike | None, keywords: Sequence[Override]) -> Run:
    """Check functions or a class in this process, whatever implementation a file names."""
    from bncheck import remote, session
    from bncheck.config import Override

    ours = Override("implementation=reference", "")
    if config is None and not any("file" in keyword.text for keyword in keywords):
        drawn = _read_once((*keywords,), ours)
    else:
        drawn = _cases(config, keywords, [ours])
    origin = Origin(place=code.name)
    cases = [replace(case, implementation=code.name, origin=origin) for case in drawn]
    with remote.this_process(code.discover, code.check, code.follow) as hands:
        return session.run(cases, hands)


@lru_cache
def _read_once(keywords: tuple[Override, ...], over: Override) -> list[Case]:
    """The cases of keywords that name no file."""
    return _cases(None, keywords, [over])


def _all_judged(run: Run) -> bool:
    """Whether every row of every case was judged, and passed."""
    return all(
        one.verdict is Verdict.PASS and all(row.verdict is Verdict.PASS for row in one.comparisons) for one in run.cases
    )


def _check_place(
    over: Sequence[Override],
    config: PathLike | None,
    keywords: Sequence[Override],
    in_process: bool,
    executor: Executor | None,
) -> Run:
    """Check what a place or the settings name, as `bncheck run` does."""
    from bncheck import session

    with contextlib.ExitStack() as stack:
        if in_process:
            from bncheck.files.loading import modules_kept

            stack.enter_context(_nothing_left_behind())
            stack.enter_context(modules_kept())
        cases = _cases(config, keywords, over)
        repeat = partial(_command, keywords=[*keywords, *over])
        return session.run(
            cases, stack.enter_context(session.hands_for(cases, in_process)), repeat=repeat, executor=executor
        )


@contextlib.contextmanager
def _nothing_left_behind() -> Iterator[None]:
    """Restore the process afterwards: code of others may change it, and so does looking for a way to call it.

    Threads take turns: one that entered later would restore what the one before it has changed.
    """
    import numpy as np

    from bncheck.workers.pool import ALONE

    with ALONE:
        path, state, states = sys.path.copy(), random.getstate(), np.random.get_state()
        try:
            with warnings.catch_warnings(), np.errstate():
                yield
        finally:
            sys.path[:] = path
            random.setstate(state)
            np.random.set_state(states)


# --- what it is checked on -------------------------------------------------------------------------------------


def _cases(config: PathLike | None, keywords: Sequence[Override], over: Sequence[Override]) -> list[Case]:
    """The cases of a config with the keywords over it, or of the keywords alone; `over` stands over both."""
    from bncheck import session

    if config is None:
        return session.from_keywords(keywords, over)
    for key in (given.key for given in keywords if given.key in FILE_ONLY):
        raise StartError(f"error: the keyword {key} is given together with config; write it in the file")
    return session.from_configs([os.fspath(config)], [*keywords, *over])


def _command(case: Case, keywords: Sequence[Override]) -> str:
    """The command line that repeats a case; empty where there may be none that does."""
    from bncheck import session
    from bncheck.files.project import is_path, split

    # A module is looked for on the path of this process.
    is_module = case.origin is not None and not is_path(split(case.origin.place)[0])
    if is_module or any(keyword.key in FILE_ONLY for keyword in keywords):
        return ""
    return session.command(case, keywords)


@contextlib.contextmanager
def _arrays_in_a_file(settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Settings as a config has them: arrays among them are saved in a file for as long as the check takes.

    Raises StartError for arrays of other things than numbers, and for arrays beside an x that is none.
    """
    handed = [key for key in ARRAYS if hasattr(settings.get(key), "__array__")]
    if not handed:
        yield settings
        return
    import tempfile

    import numpy as np

    from bncheck.gradients.recorded import KINDS

    if "x" not in handed:
        raise StartError(f"error: the keyword {handed[0]} is an array, and x is none; hand over the batch as x")
    arrays = {key: np.asarray(settings[key]) for key in handed}
    for key, array in arrays.items():
        if array.dtype.kind not in KINDS:  # of objects NumPy would save pickles
            found = f"error: the keyword {key} is an array of {array.dtype}, expected floating or integer numbers"
            raise StartError(f"{found}; convert it with astype")
    with tempfile.TemporaryDirectory(prefix="bncheck-") as folder:
        path = os.path.join(folder, "arrays.npz")
        np.savez(path, **arrays)  # type: ignore[arg-type]  # none of the names is that of an option
        yield {**{key: value for key, value in settings.items() if key not in handed}, "x": {"file": path}}


def _gives_a_shape(settings: Mapping[str, Any]) -> bool:
    """Whether settings have a shape, or an x that is read from a file and has one."""
    x = settings.get("x")
    draws = x if isinstance(x, list | tuple) else [x]
    recorded = draws and all(isinstance(draw, Mapping) and "file" in draw for draw in draws)
    return bool({"shape", "shapes"} & settings.keys() or recorded)


def _keyword(key: str, value: object) -> Override:
    from bncheck.config.override import Override, written

    text = f"{key}={written(value, f'the keyword {key}')}"
    return Override(text, f"keyword {text}")
