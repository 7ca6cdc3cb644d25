"""What a file has to offer: the implementations in it, each with the convention by which it was seen to work."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any

import numpy as np

from bncheck.implementations.backwards import FULL
from bncheck.implementations.candidates import Candidate, Candidates, candidates_in
from bncheck.implementations.finding import Found, settle
from bncheck.implementations.trial import Trial

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
