"""A call of `bncheck.check`: what was handed over is told apart, checked, and reported."""

from __future__ import annotations

import contextlib
import os
import random
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from bncheck import given, remote, session
from bncheck.case import Case, Origin
from bncheck.config import Override
from bncheck.config.literal import Unwritable, written
from bncheck.given import Given
from bncheck.implementations.isolation import ALONE
from bncheck.implementations.loading import modules_kept
from bncheck.implementations.project import is_path, split
from bncheck.printout import Report
from bncheck.report import Report as PlainReport
from bncheck.session import StartError

PathLike = str | os.PathLike[str]

SHAPE = Override("shape=32x64", "")
"""Where no shape is given."""

FILE_ONLY = ("name", "cases")
"""Settings that a config can have, and that cannot be given over those of a file."""

_EXPECTED = "give a forward and a backward function, a class, or a place such as 'layers.py'"


def answer(
    implementation: Sequence[Any], config: PathLike | None, in_process: bool, settings: Mapping[str, Any]
) -> Report:
    """What `bncheck.check` returns, which says what it takes and raises."""
    keywords = [_keyword(key, value) for key, value in settings.items() if value is not None]
    code = _code(implementation)
    if code is not None and settings.get("implementation") is not None:
        twice = "the implementation is given twice, as an argument and as the keyword implementation"
        raise StartError(f"error: {twice}; keep one of them")
    if isinstance(code, Given):
        with _nothing_left_behind():
            found = _check_given(code, config, keywords)
    else:
        over = [] if code is None else [code]
        repeat = partial(_command, config=config, keywords=keywords, over=over)
        here = partial(session.check_here, repeat=repeat)
        with _nothing_loaded_left_behind() if in_process else contextlib.nullcontext():
            found = session.check_anywhere(_cases(config, keywords, over), in_process, here)
    if found.stopped == "interrupted":
        raise KeyboardInterrupt
    return Report(found.cases, found.selected, found.seconds, found.stopped)


# --- what is checked -------------------------------------------------------------------------------------------------


def _code(implementation: Sequence[Any]) -> Given | Override | None:
    """Functions or a class; or a place, as a config has it; None for what the settings say. Raises StartError."""
    match implementation:
        case () | (None,):
            return None
        case (owner,) if isinstance(owner, type):
            return given.a_class(owner)
        case (forward, backward) if callable(forward) and callable(backward):
            return given.functions(forward, backward)
        case (str() | os.PathLike() | Mapping() as place,):
            text = _written("the implementation", place)
            shown = text if isinstance(place, Mapping) else repr(os.fspath(place))
            return Override(f"implementation={text}", f"bncheck.check({shown})")
        case (function,) if callable(function) and hasattr(function, "__name__"):
            name = function.__name__
            raise StartError(f"error: {name} is given alone; give its other half: bncheck.check(forward, backward)")
    kinds = ", ".join(type(one).__name__ for one in implementation)
    raise StartError(f"error: the implementation is of type {kinds}; {_EXPECTED}")


def _check_given(code: Given, config: PathLike | None, keywords: Sequence[Override]) -> PlainReport:
    """Check functions or a class in this process, whatever implementation a file names."""
    drawn = _cases(config, keywords, [Override("implementation=reference", "")])
    origin = Origin(place=code.name)
    cases = [replace(case, implementation=code.name, origin=origin) for case in drawn]
    with remote.this_process() as hands_of:
        return session.check_by(hands_of, code.discover, code.check, cases, session.check_here)


@contextlib.contextmanager
def _nothing_left_behind() -> Iterator[None]:
    """The process as it was: the code of others may change it, and so does looking for a way to call it.

    One thread after the other: the second would take for what was there what the first has changed.
    """
    with ALONE:
        path, state, states = sys.path.copy(), random.getstate(), np.random.get_state()
        try:
            with warnings.catch_warnings(), np.errstate():
                yield
        finally:
            sys.path[:] = path
            random.setstate(state)
            np.random.set_state(states)


@contextlib.contextmanager
def _nothing_loaded_left_behind() -> Iterator[None]:
    """The same, and without the modules that were loaded of a file."""
    with _nothing_left_behind(), modules_kept():
        yield


# --- what it is checked on -----------------------------------------------------------------------------------------


def _cases(config: PathLike | None, keywords: Sequence[Override], over: Sequence[Override]) -> list[Case]:
    """The cases of a config with the keywords over it, or of the keywords alone; in both with what is over all."""
    if config is None:
        return session.from_keywords(_with_a_shape(keywords), over)
    for key in map(_key, keywords):
        if key in FILE_ONLY:
            hint = "write it in the file"
            raise StartError(f"error: the keyword {key} is given together with config; {hint}")
    return session.from_configs([os.fspath(config)], [*keywords, *over])


def _command(case: Case, config: PathLike | None, keywords: Sequence[Override], over: Sequence[Override]) -> str:
    """The command line that repeats a case; empty where there may be none that does."""
    if case.origin is not None and not is_path(split(case.origin.place)[0]):
        return ""  # a module is looked for on the path of this process
    if any(_key(keyword) in FILE_ONLY for keyword in keywords):
        return ""
    return session.command(case, [*(keywords if config is not None else _with_a_shape(keywords)), *over])


def _with_a_shape(keywords: Sequence[Override]) -> list[Override]:
    """The keywords, with the shape that x has where none is given."""
    given = {"shape", "shapes"} & set(map(_key, keywords))
    return [*keywords] if given else [SHAPE, *keywords]


def _key(keyword: Override) -> str:
    return keyword.text.partition("=")[0]


def _keyword(key: str, value: object) -> Override:
    text = f"{key}={_written(f'the keyword {key}', value)}"
    return Override(text, f"keyword {text}")


def _written(what: str, value: object) -> str:
    """A value as a config has it. Raises StartError where it is nothing that can stand there."""
    try:
        return written(value)
    except Unwritable as error:
        kind = type(error.args[0]).__name__
        if callable(error.args[0]):
            raise StartError(f"error: {what} holds a function; write bncheck.check(forward, backward, ...)") from None
        hint = "give numbers, text, a list or a mapping"
        raise StartError(f"error: {what} holds a value of type {kind}, and no config can; {hint}") from None
