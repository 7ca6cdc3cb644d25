"""The implementations that a file has to offer, each with the convention by which it was seen to work.

A way to call is a constructor, a forward and a backward together: where backward raises, the next forward is tried. It
counts only when it holds on two problems with other numbers of rows and of features.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter
from typing import Any

import numpy as np

from bncheck.calling.arrays import NUMPY, devices_of, kinds_of, lacking, with_package
from bncheck.calling.plan import parsed
from bncheck.calling.state import State
from bncheck.case import ONE_BY_ONE, Convention
from bncheck.gradients.variants import Identity
from bncheck.recognition.backwards import BEHAVES, FITS, RAISES, Whole, with_backward
from bncheck.recognition.candidates import Candidate, Candidates, Through, candidates_in, is_named
from bncheck.recognition.forwards import forwards_of, is_known, usual
from bncheck.recognition.names import EPSILONS, plain
from bncheck.recognition.returned import RETURNED
from bncheck.recognition.trial import (
    BATCH_NORM,
    NORMALISES,
    SHAPES,
    Forward,
    OutOfCalls,
    Trial,
    probe,
    run_forward,
    small_probe,
)

__all__ = ["Attempt", "Found", "Recognition", "recognise", "recognise_pair"]

CALLS, CALLS_OF_ANOTHER, ENOUGH_CALLS = 1500, 200, 100
"""Calls spent on what is named like a batch normalisation, on anything else, and on each step after the first."""

FORWARDS_TRIED, REASONS = 12, 5
"""Forwards with which a backward is tried; calls that are told of what was tried in vain."""

ASKED = (1e-5, 1e-3)
"""The eps that a forward is asked for: two, to see whether it follows."""

UNKNOWN, STANDARD, NO_EPS = "unknown", "standard", "no eps"


@dataclass(frozen=True, slots=True)
class Found:
    """An implementation, and how it is called.

    `kinds` is a subset of "dense" (N, D) and "image". `variant` says what its forward is: "standard", "unbiased
    variance", "eps outside the root", "no eps", two of them, or "unknown". `eps_used` is what it adds when asked for
    1e-5, nan where that cannot be told; with `eps_settable` it does as it is asked. `gradients` are the parameters
    whose gradient it gives, `grade` is that of its backward, and `guessed` says that nothing was known of an argument.
    """

    name: str
    convention: Convention
    kinds: tuple[str, ...]
    variant: str = UNKNOWN
    eps_used: float = math.nan
    eps_settable: bool = False
    gradients: tuple[str, ...] = RETURNED
    grade: int = RAISES
    guessed: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """A candidate that did not fit: what was tried, and what came of it, as sentences; and how it would be called.

    `exhausted` says that the search ended since no call was left.
    """

    name: str
    reasons: tuple[str, ...]
    usual: Convention | None = None
    exhausted: bool = False


@dataclass(frozen=True, slots=True)
class Recognition:
    """The implementations in a file, what was tried in vain, and what is left out, by name, with the reason."""

    found: tuple[Found, ...]
    attempts: tuple[Attempt, ...]
    left_out: tuple[tuple[str, str], ...] = ()


# --- a file -----------------------------------------------------------------------------------------------------


def recognise(namespace: Mapping[str, Any], only: str = "") -> Recognition:
    """The implementations that a module defines, in the order of the file; with `only`, the one of that name.

    Runs their code, and catches whatever it raises.
    """
    return _recognised(namespace, candidates_in(namespace, only), only)


def recognise_pair(namespace: Mapping[str, Any], forward: str, backward: str) -> Recognition:
    """Two functions in a namespace that their owner calls the forward and the backward of a batch normalisation."""
    pair = Candidate(backward, None, forward, backward, namespace, named=True, claimed=True)
    return _recognised(namespace, Candidates((pair,)), backward)


def _recognised(namespace: Mapping[str, Any], candidates: Candidates, only: str) -> Recognition:
    found: list[Found] = []
    attempts: list[Attempt] = []
    left_out = [*candidates.left_out]
    called = {candidate.name for candidate in candidates.pairs}
    for name, rivals in groupby(candidates.pairs, key=attrgetter("name")):
        if only in called and name != only:
            continue
        best, attempt = _of_any_kind(namespace, list(rivals), bool(only))
        doubtful = [one for one in best if not only and _may_be_another(one)]
        left_out += [(name, LAST_AXIS.format(name=name)) for _ in doubtful]
        found += [one for one in best if one not in doubtful]
        attempts += [] if best else [attempt]
    attempts += [Attempt(name, (sentence,)) for name, sentence in candidates.alone]
    if not only and any(is_named(one.name) for one in found):
        helpers = [one for one in found if one.guessed and not is_named(one.name)]
        left_out += [(one.name, HELPER.format(name=one.name)) for one in helpers]
        found = [one for one in found if one not in helpers]
    return Recognition(tuple(found), tuple(attempts), tuple(left_out))


HELPER = "{name} takes an argument that had to be guessed, and is left out beside what is called batch normalisation"
LAST_AXIS = (
    "{name} normalises each row over the last axis, as layer normalisation does, and is left out; where it is batch "
    "normalisation of (D, N) arrays, say layout: (d, n) in a mapping"
)


def _may_be_another(found: Found) -> bool:
    """Whether features first is all that makes it a batch normalisation: nothing in its name or its gamma says so."""
    convention = found.convention
    return convention.layout == "(d, n)" and convention.parameters != "(d, 1)" and not is_named(found.name)


def _of_any_kind(namespace: Mapping[str, Any], rivals: list[Candidate], asked_for: bool) -> tuple[list[Found], Attempt]:
    """The best of the rivals for one name, with the first kind of arrays with which any behaves; and the attempt."""
    pairs = [rival for rival in rivals if not isinstance(rival, Through)]
    called = [rival.owner or rival.function(name) for rival in rivals for name in (rival.forward, rival.backward)]
    tried = [(kind, pairs) for kind in (kinds_of(namespace, called) if pairs else [])]
    tried += [(rival.runs, [rival]) for rival in rivals if isinstance(rival, Through)]
    results = []
    for device, (kind, some) in itertools.product(devices_of(namespace, called), tried):
        found, attempt = _best(with_package(namespace, kind), some, asked_for, kind, device)
        if len(tried) > 1 or kind != NUMPY.name:
            found = [replace(one, convention=replace(one.convention, arrays=kind, device=device)) for one in found]
        results.append((found, attempt))
        if any(one.grade >= BEHAVES for one in found):
            break
    return max(results, key=lambda result: max((one.grade for one in result[0]), default=-1))


def _best(
    namespace: Mapping[str, Any], rivals: list[Candidate], asked_for: bool, arrays: str, device: str
) -> tuple[list[Found], Attempt]:
    """The best of the rivals for one name, called with a kind of arrays on a device, and what was tried in vain."""
    best: list[Found] = []
    named = asked_for or any(candidate.named for candidate in rivals)
    parts = [rival.owner or rival.function(name) for rival in rivals for name in (rival.forward, rival.backward)]
    trial = Trial(namespace, CALLS if named else CALLS_OF_ANOTHER, State(parts), arrays, device)
    random.seed(0)
    np.random.seed(0)
    for candidate in rivals:
        trial.reached = candidate.variables
        try:
            with trial.state:
                found = list(_settle(trial, candidate, named))
        except OutOfCalls:
            found = []
        grade = min((one.grade for one in found), default=-1)
        if grade < BEHAVES and not candidate.fits:
            continue
        if found and (not best or grade > min(one.grade for one in best)):
            best = found
        # A class has one pair; of functions with fitting names, the forward is one of several.
        if grade >= BEHAVES or (best and (not candidate.fits or (grade > RAISES and candidate.owner is not None))):
            break
        if trial.calls_left <= 0:
            break
    raised = [f"{what}: {said}" for what, said in trial.raised.items()]
    reasons = tuple(raised[:REASONS]) or ("it runs, and its output is no batch normalisation of its input",)
    return best, Attempt(rivals[0].name, reasons, _to_correct(rivals[0]) if named else None, trial.exhausted)


BLANK = Convention(
    create="BatchNorm(d, eps=eps)",
    set=(("gamma", "self.gamma"), ("beta", "self.beta")),
    forward="self.forward(x) -> out",
    backward="self.backward(dout) -> dx",
    gradients=(("gamma", "self.dgamma"), ("beta", "self.dbeta")),
)
"""A mapping to correct, where a file has nothing to go by."""


def _to_correct(candidate: Candidate) -> Convention:
    """The convention that the names suggest, with places for gamma, beta and their gradients where it needs them."""
    convention = usual(candidate)
    is_bare = convention.create and not convention.gradients
    return replace(convention, set=BLANK.set, gradients=BLANK.gradients) if is_bare else convention


# --- one candidate ----------------------------------------------------------------------------------------------


def _settle(trial: Trial, candidate: Candidate, named: bool) -> Iterator[Found]:
    """The conventions of a candidate on dense input and on images: one entry where that is one convention, else two.

    `named` says that it is called a batch normalisation, so that it is one even where it computes something else.
    """
    worse: dict[int, Forward] = {}
    dense = _on(trial, candidate, 2, worse)
    blamed = 2 if any(trial.theirs.values()) else 0
    if dense is not None and dense.grade > RAISES:
        # Our own forward takes anything: of a backward alone it says nothing of images.
        both = None if candidate.is_alone else _on_images(trial, dense.convention)
        yield dense if both is None else replace(dense, convention=both, kinds=("dense", "image"))
        if both is not None:
            return
        trial.calls_left = min(trial.calls_left, ENOUGH_CALLS)
    for axes in (4, 3):
        if named:
            trial.at_least(ENOUGH_CALLS)
        image = _on(trial, candidate, axes, worse)
        blamed = blamed or (axes if any(trial.theirs.values()) else 0)
        least = BEHAVES if candidate.is_alone and dense is not None else RAISES
        if image is not None and (image.grade > least or dense is None):
            taken = tuple(count for count in (3, 4, 5) if count == axes or _holds(trial, image.convention, count))
            yield replace(image, convention=replace(image.convention, axes=taken), kinds=("image",))
            return
    if dense is not None and dense.grade == RAISES and not _runs_on_images(trial, candidate, worse):
        yield dense
    if named and dense is None and candidate.fits:
        yield from _wrong(trial, candidate, worse, blamed)


def _runs_on_images(trial: Trial, candidate: Candidate, forwards: Mapping[int, Forward]) -> bool:
    """Whether a backward that raises on (N, D) runs on images, though what they do there is something else."""
    found = [_with_backward(trial, candidate, forward, axes) for axes, forward in forwards.items() if axes != 2]
    return any(whole is not None and whole.grade > RAISES for whole in found)


def _on(trial: Trial, candidate: Candidate, axes: int, worse: dict[int, Forward]) -> Found | None:
    """The convention in which a candidate is batch normalisation of x with that many axes; None where it is not.

    Forwards that run and are something else are left in `worse`, the best of each number of axes.
    """
    best: Found | None = None
    most = 0
    for number, forward in enumerate(forwards_of(trial, candidate, probe(axes))):
        if candidate.is_alone and forward.convention.parameters in ONE_BY_ONE:
            continue  # our own forward takes a gamma of any shape
        if forward.judgement.grade != BATCH_NORM:
            worse.setdefault(axes, forward)
            if candidate.named:
                break
            continue
        if number == FORWARDS_TRIED or (best is not None and best.grade >= BEHAVES and forward.taken < most):
            break
        found = _found(trial, candidate, forward, axes)
        # On a problem of another size too.
        if found is None or (len(SHAPES[axes]) > 1 and not _holds(trial, found.convention, axes, 1)):
            continue
        if best is None or found.grade > best.grade:
            best, most = found, forward.taken
        if found.grade == FITS:
            break
    return best


def _holds(trial: Trial, convention: Convention, axes: int, number: int = 0) -> bool:
    """Whether the convention gives batch normalisation on the problem of that number, with that many axes."""
    trial.at_least(ENOUGH_CALLS)
    found = run_forward(trial, convention, probe(axes, number))
    return found is not None and found.judgement.grade == BATCH_NORM


def _wrong(trial: Trial, candidate: Candidate, forwards: Mapping[int, Forward], blamed: int) -> Iterator[Found]:
    """The conventions of a self-styled batch normalisation that computes something else, or does not run.

    A check will say so. `blamed` is the number of axes at which it raised what no way of calling could have made it
    raise, 0 for none.
    """
    for axes, forward in forwards.items():
        if forward.judgement.grade == NORMALISES or candidate.plainly_named:
            found = _found(trial, candidate, forward, axes)
            yield from [] if found is None else [replace(found, kinds=_kind(axes))]
            return
    lacks = lacking(candidate.namespace, [candidate.owner or candidate.function(candidate.forward)])
    if candidate.plainly_named and not forwards and (candidate.claimed or blamed or lacks) and is_known(candidate):
        likely = replace(usual(candidate), axes=(blamed,) if blamed > 2 else ())
        yield Found(candidate.name, likely, _kind(blamed or 2), gradients=_rows_of(likely))


def _kind(axes: int) -> tuple[str, ...]:
    return ("dense" if axes == 2 else "image",)


def _with_backward(trial: Trial, candidate: Candidate, forward: Forward, axes: int) -> Whole | None:
    trial.at_least(ENOUGH_CALLS)
    return with_backward(trial, candidate, forward, probe(axes))


def _found(trial: Trial, candidate: Candidate, forward: Forward, axes: int) -> Found | None:
    """The rest of the convention, and what there is to say of it; None where backward cannot be called."""
    whole = _with_backward(trial, candidate, forward, axes)
    if whole is None:
        return None
    convention, identity, settable = _with_eps(trial, whole.convention, forward, axes)
    eps = math.nan if identity is None else identity.inputs.eps
    rows = _rows_of(convention)
    return Found(
        candidate.name, convention, ("dense",), _variant(identity), eps, settable, rows, whole.grade, whole.guessed
    )


def _rows_of(convention: Convention) -> tuple[str, ...]:
    """The parameters whose gradient a convention gives."""
    return tuple(row for row in parsed(convention).rows if row in RETURNED)


def _variant(identity: Identity | None) -> str:
    """The name of a batch normalisation, as `inspect` prints it."""
    if identity is None:
        return UNKNOWN
    variant, eps = identity.inputs.variant, identity.inputs.eps
    parts = ["unbiased variance"] if variant.ddof else []
    parts += [NO_EPS] if eps == 0 else ["eps outside the root"] if variant.eps_outside else []
    return ", ".join(parts) or STANDARD


# --- images, eps ------------------------------------------------------------------------------------------------


def _on_images(trial: Trial, dense: Convention) -> Convention | None:
    """The convention with a layout in which it takes images too; None where it takes none."""
    if dense.layout != "(n, d)":
        return None
    for layout in ("channels first", "channels last"):
        convention = replace(dense, layout=layout)
        axes = tuple(count for count in (2, 3, 4, 5) if _holds(trial, convention, count))
        if axes != (2,):
            return replace(convention, axes=axes)
    return None


def _with_eps(
    trial: Trial, convention: Convention, forward: Forward, axes: int
) -> tuple[Convention, Identity | None, bool]:
    """The convention, with eps set where the layer holds it; what it is then; and whether it adds what it is told.

    Asked on a problem where eps shows.
    """
    trial.at_least(ENOUGH_CALLS)
    told = convention
    if "eps" not in parsed(convention).taken and convention.create:
        leaves = trial.leaves(trial.session(convention, probe(axes), forward.inputs))
        held = [leaf.text for leaf in leaves if plain(leaf.steps[-1]) in EPSILONS]
        told = replace(convention, set=(*convention.set, ("eps", held[0]))) if held else convention
    found = [run_forward(trial, told, small_probe(axes, eps)) for eps in ASKED]
    seen = [None if one is None else one.judgement.identity for one in found]
    if all(one and abs(one.inputs.eps - eps) <= 1e-3 * eps for one, eps in zip(seen, ASKED, strict=True)):
        return told, seen[0], True
    by_itself = run_forward(trial, convention, small_probe(axes, ASKED[0]))
    identity = None if by_itself is None else by_itself.judgement.identity
    return convention, identity or forward.judgement.identity, False
