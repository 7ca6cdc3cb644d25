"""Functions and classes as somebody holds them in this process: their names, and what is found in them."""

from __future__ import annotations

import keyword
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bncheck.case import Case, Origin
from bncheck.discovery import Discovery, Member, check_in
from bncheck.implementations.candidates import is_other
from bncheck.implementations.pattern import FOUND, GIVEN
from bncheck.implementations.recognition import recognise, recognise_pair
from bncheck.report import CaseReport

_MEANT = "{forward}(x, gamma, beta, eps) -> out, cache and {backward}(dout, cache) -> dx, dgamma, dbeta"


@dataclass(frozen=True, slots=True)
class Given:
    """What is to be checked: a class, or a backward and its `forward`, which is empty for a class.

    `name` is that of the class or of the backward, as reports have it; `namespace` has them under their names.
    """

    name: str
    namespace: Mapping[str, Any]
    forward: str = ""

    def discover(self, origin: Origin) -> Discovery:
        """Find out how they are called. Their warnings are not shown: they may well be at the way in which we try."""
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
        """One case. Raises whatever their code raises."""
        assert case.origin is not None
        assert case.origin.convention is not None
        return check_in(self.namespace, case.origin.convention, case)

    def _refused(self) -> tuple[str, str]:
        """That nothing was recognised, and what to do."""
        if self.forward:
            meant = _MEANT.format(forward=self.forward, backward=self.name)
            named, advice = f"{self.forward} and {self.name} are", f"name the arguments as in {meant}"
        elif is_other(self.name):
            named, advice = f"{self.name} is", "its name is that of another normalisation; give it its own"
        else:
            named, advice = f"{self.name} is", "it needs methods such as forward(self, x) and backward(self, dout)"
        return f"error: {named} not recognised as batch normalisation", f"  {advice}"


def functions(forward: Callable[..., Any], backward: Callable[..., Any]) -> Given:
    """A pair of functions, under their own names where these are names, differ, and mean nothing else to us."""
    names = _name(forward, "forward"), _name(backward, "backward")
    if names[0] == names[1]:
        names = "forward", "backward"
    return Given(names[1], dict(zip(names, (forward, backward), strict=True)), names[0])


def a_class(owner: type) -> Given:
    """A class with a forward and a backward among its methods."""
    return Given(owner.__name__, {owner.__name__: owner})


def _name(function: Callable[..., Any], otherwise: str) -> str:
    name = getattr(function, "__name__", "")
    usable = isinstance(name, str) and name.isidentifier() and not keyword.iskeyword(name)
    return name if usable and name not in (*GIVEN, *FOUND) else otherwise
