"""What a file has to offer: the implementations in it, each with the convention by which it was seen to work."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter
from typing import Any

import numpy as np

from bncheck.calling.plan import parsed
from bncheck.case import Convention
from bncheck.recognition.backwards import FULL, rows_of, with_backward
from bncheck.recognition.candidates import Candidate, Candidates, candidates_in
from bncheck.recognition.forwards import likeliest, settle_forward
from bncheck.recognition.names import EPSILONS, plain
from bncheck.recognition.places import leaves_of
from bncheck.recognition.trial import UNKNOWN, Forward, Judgement, Trial, judge_eps, probe, run_forward, small_probe

# --- one candidate, settled -------------------------------------------------------------------------------------


ASKED = (1e-5, 1e-3)  # the eps that a forward is asked for: two, to see whether it follows

ENOUGH_CALLS = 200  # for each step after the first: a backward, another number of axes, another eps


@dataclass(frozen=True, slots=True)
class Found:
    """An implementation, and how it is called.

    `kinds` is a subset of "dense" (N, D) and "image". `variant` says what its forward is: "standard", "unbiased
    variance", "eps outside the root", "no eps", two of them, or "unknown". `eps_used` is what it adds when asked for
    1e-5, nan where that cannot be told; with `eps_settable` it does as it is asked. `gradients` are the parameters
    whose gradient it gives.
    """

    name: str
    convention: Convention
    kinds: tuple[str, ...]
    variant: str = UNKNOWN
    eps_used: float = math.nan
    eps_settable: bool = False
    gradients: tuple[str, ...] = ("x", "gamma", "beta")


@dataclass(frozen=True, slots=True)
class Settled:
    """What was found, and how much of its backward is right: see `backwards.Whole`."""

    found: Found
    score: int


def settle(trial: Trial, candidate: Candidate, named: bool) -> Iterator[Settled]:
    """What a candidate is on dense input and on images: one entry where that is one convention, else two.

    `named` says that it is called a batch normalisation, so that it is one even where it computes something else.
    """
    dense = settle_forward(trial, candidate, probe(2))
    if dense is not None and dense.judgement.grade == 2:
        settled = _settled(trial, candidate, dense, 2)
        if settled is None:
            return
        both = _on_images(trial, settled.found.convention)
        if both is not None:
            yield _changed(settled, both, "dense", "image")
            return
        yield settled
    images = {}
    for axes in (4, 3):
        trial.calls_left = max(trial.calls_left, ENOUGH_CALLS if named else 0)
        images[axes] = image = settle_forward(trial, candidate, probe(axes))
        if image is not None and image.judgement.grade == 2:
            settled = _settled(trial, candidate, image, axes)
            if settled is not None:
                yield _changed(settled, _with_axes(trial, settled.found.convention, (3, 4, 5)), "image")
            return
    if named and (dense is None or dense.judgement.grade < 2):
        yield from _wrong(trial, candidate, {2: dense, **images})


def _wrong(trial: Trial, candidate: Candidate, forwards: dict[int, Forward | None]) -> Iterator[Settled]:
    """What calls itself a batch normalisation and computes something else, or does not run: a check will say so."""
    for axes, forward in forwards.items():
        if forward is not None and (forward.judgement.grade == 1 or candidate.plainly_named):
            settled = _settled(trial, candidate, forward, axes)
            if settled is not None:
                yield _changed(settled, settled.found.convention, "dense" if axes == 2 else "image")
            return
    likely = likeliest(trial, candidate) if candidate.plainly_named and not any(forwards.values()) else None
    if likely is not None:
        yield Settled(Found(candidate.name, likely, ("dense",), gradients=rows_of(likely)), -1)


def _changed(settled: Settled, convention: Convention, *kinds: str) -> Settled:
    return replace(settled, found=replace(settled.found, convention=convention, kinds=kinds))


def _settled(trial: Trial, candidate: Candidate, forward: Forward, axes: int) -> Settled | None:
    """The rest of the convention, and what there is to say of it; None where backward cannot be called."""
    trial.calls_left = max(trial.calls_left, ENOUGH_CALLS)
    whole = with_backward(trial, candidate, forward, probe(axes))
    if whole is None:
        return None
    convention, judgement, settable = _with_eps(trial, whole.convention, forward, axes)
    rows = rows_of(convention)
    found = Found(candidate.name, convention, ("dense",), judgement.variant, judgement.eps, settable, rows)
    return Settled(found, whole.score)


def _on_images(trial: Trial, dense: Convention) -> Convention | None:
    """The same convention with a layout in which it takes images too; None where it takes none."""
    if dense.layout != "(n, d)":
        return None
    for layout in ("channels first", "channels last"):
        convention = _with_axes(trial, replace(dense, layout=layout), (2, 3, 4, 5))
        if convention.axes != (2,):
            return convention
    return None


def _with_axes(trial: Trial, convention: Convention, axes: tuple[int, ...]) -> Convention:
    return replace(convention, axes=tuple(count for count in axes if _fits(trial, convention, count)))


def _fits(trial: Trial, convention: Convention, axes: int) -> bool:
    trial.calls_left = max(trial.calls_left, ENOUGH_CALLS)
    found = run_forward(trial, convention, probe(axes))
    return found is not None and found.judgement.grade == 2


def _with_eps(trial: Trial, convention: Convention, forward: Forward, axes: int) -> tuple[Convention, Judgement, bool]:
    """The convention, with eps set where the layer holds it; what it adds; and whether it adds what it is told."""
    trial.calls_left = max(trial.calls_left, ENOUGH_CALLS)
    told = convention
    if "eps" not in parsed(convention).taken and convention.create:
        session = trial.session(convention, probe(axes), forward.inputs)
        leaves = [] if session is None else leaves_of(session.values["self"], "self")
        held = [leaf.text for leaf in leaves if plain(leaf.steps[-1]) in EPSILONS]
        told = replace(convention, set=(*convention.set, ("eps", held[0]))) if held else convention
    seen = [_eps_of(trial, told, forward, axes, eps) for eps in ASKED]
    if all(abs(found.eps - eps) <= 1e-3 * eps for found, eps in zip(seen, ASKED, strict=True)):
        return told, seen[0], True
    found = _eps_of(trial, convention, forward, axes, ASKED[0])
    return convention, found if found.grade == 2 else forward.judgement, False


def _eps_of(trial: Trial, convention: Convention, forward: Forward, axes: int, eps: float) -> Judgement:
    small = small_probe(axes, eps)
    found = run_forward(trial, convention, small)
    return Judgement(0) if found is None else judge_eps(found.out, found.inputs)


__all__ = ["Attempt", "Found", "Recognition", "recognise", "recognise_pair"]

CALLS, CALLS_OF_ANOTHER = 1500, 200
"""Calls spent on what is named like a batch normalisation, and on anything else."""

REASONS = 5  # of what was tried in vain, as many are told


@dataclass(frozen=True, slots=True)
class Attempt:
    """A candidate that did not fit: what was tried, and what came of it, as sentences."""

    name: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Recognition:
    """What was found in a file, and what was tried in vain."""

    found: tuple[Found, ...]
    attempts: tuple[Attempt, ...]


def recognise(namespace: Mapping[str, Any], only: str = "") -> Recognition:
    """The implementations that a module defines, in the order of the file; with `only`, the one of that name.

    Runs their code, and catches whatever it raises.
    """
    return _recognised(namespace, candidates_in(namespace, only), bool(only))


def recognise_pair(namespace: Mapping[str, Any], forward: str, backward: str) -> Recognition:
    """Two functions in a namespace that their owner calls the forward and the backward of a batch normalisation."""
    pair = Candidate(backward, None, forward, backward, named=True, claimed=True)
    return _recognised(namespace, Candidates((pair,), ()), True)


def _recognised(namespace: Mapping[str, Any], candidates: Candidates, asked_for: bool) -> Recognition:
    found: list[Found] = []
    attempts: list[Attempt] = []
    for _, rivals in groupby(candidates.pairs, key=attrgetter("name")):
        best = Outcome((), -1, ())
        for candidate in rivals:
            outcome = _outcome(namespace, candidate, candidate.named or asked_for)
            if not best.found or outcome.score > best.score:
                best = outcome
            if best.score == FULL:
                break
        found += best.found
        if not best.found:
            attempts.append(Attempt(candidate.name, best.reasons))
    attempts += [Attempt(name, (sentence,)) for name, sentence in candidates.alone]
    return Recognition(tuple(found), tuple(attempts))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one candidate, and the least of the scores of its backward."""

    found: tuple[Found, ...]
    score: int
    reasons: tuple[str, ...]


def _outcome(namespace: Mapping[str, Any], candidate: Candidate, named: bool) -> Outcome:
    trial = Trial(namespace, CALLS if named else CALLS_OF_ANOTHER)
    _seed()
    settled = list(settle(trial, candidate, named))
    score = min((one.score for one in settled), default=-1)
    return Outcome(tuple(one.found for one in settled), score, _reasons(trial))


def _seed() -> None:
    """The same numbers in every run, for layers that draw their gamma."""
    random.seed(0)
    np.random.seed(0)


def _reasons(trial: Trial) -> tuple[str, ...]:
    raised = [f"{what}: {said}" for what, said in trial.raised.items()]
    return tuple(raised[:REASONS]) or ("it runs, and its output is no batch normalisation of its input",)
