"""A convention tied to somebody's code and to a case: what can be called, in rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bncheck.batchnorm import FloatArray, Inputs
from bncheck.case import Case
from bncheck.implementations.answer import Answer
from bncheck.implementations.convention import ONE_BY_ONE, Convention
from bncheck.implementations.layout import Layout, features_of, layout_of, not_taken
from bncheck.implementations.plan import Plan, check_names, parsed
from bncheck.implementations.session import BindingError, Session
from bncheck.problem import draw

APART = 1e-3
"""How far out of all features together may be off that of each alone, relative to the largest: float32 buffers come to
2e-4 over a million rows, and a mean or a variance over all features to 0.5, for on the ordinary draw they differ."""


class NotTaken(BindingError):  # noqa: N818 - a case that it need not take, not an error of its own
    """The implementation does not take the shape or the mode of this case, as a sentence."""


def bind(namespace: Mapping[str, object], name: str, convention: Convention, case: Case) -> Bound:
    """The implementation, ready to be called with the problems of a case.

    Raises PatternError for a mistake in the convention, also for a name that is not in the namespace; NotTaken
    where the implementation does not take such a case.
    """
    plan = parsed(convention)
    check_names(plan, convention, namespace)
    reason = not_taken(name, convention, case)
    if reason:
        raise NotTaken(reason)
    if case.mode == "eval" and not plan.takes_running_statistics:
        raise NotTaken(
            f"{name} is called in train mode; for mode: eval, name training, running_mean and running_var in a mapping"
        )
    return Bound(name, convention, namespace, case, plan, layout_of(case, convention.layout))


@dataclass(frozen=True, slots=True)
class Bound:
    """Somebody's batch normalisation, called in rows. Every call is of a fresh object, and hands over copies.

    Whatever their code raises comes through; BindingError says where it does not do what the convention says.
    """

    name: str
    convention: Convention
    namespace: Mapping[str, Any]
    case: Case
    plan: Plan
    layout: Layout

    def takes(self, name: str) -> bool:
        """Whether gamma, beta, eps ... is handed over at all. Where not, gamma is 1, beta 0, eps their own."""
        return name in self.plan.taken

    def forward(self, inputs: Inputs) -> FloatArray:
        """out, (n, m), of inputs with any number m of features."""
        if self._one_by_one:
            return self._outs(features_of(inputs))
        return self._session(inputs).forward(inputs)

    def backward(self, inputs: Inputs, dout: FloatArray) -> Answer:
        """What forward and then backward give. Shapes: dout (n, d)."""
        if self._one_by_one:
            columns = zip(features_of(inputs), _columns(dout), strict=True)
            return _side_by_side([self._session(one).answer(one, column) for one, column in columns])
        return self._session(inputs).answer(inputs, dout)

    def backward_after(self, first: tuple[Inputs, FloatArray], inputs: Inputs, dout: FloatArray) -> Answer:
        """The same of an object that another batch of the same shape has gone through, forward and backward.

        A layer that adds its parameter gradients up is not wrong for that: where its answer differs from that of a
        fresh object, its gradients are first put back to what they were before any batch.
        """
        if self._one_by_one:
            firsts = zip(features_of(first[0]), _columns(first[1]), strict=True)
            columns = zip(firsts, features_of(inputs), _columns(dout), strict=True)
            return _side_by_side([self._after(before, one, column) for before, one, column in columns])
        return self._after(first, inputs, dout)

    def mixes_features(self) -> bool:
        """Whether a layer with one gamma gives of all features together another out than of each of them alone.

        Asked on an ordinary draw of the shape of the case, in float64, so that the rounding of the case's own data is
        not taken for mixing. False for layers that are given all features together anyhow, and for those that raise
        when they are, or give an out of another shape: these are made for one feature.
        """
        if not self._one_by_one or self.case.d == 1:
            return False
        case = self.case
        drawn = draw(Case(shape=case.shape, channel_axis=case.channel_axis, mode=case.mode, eps=case.eps)).inputs
        first, *_ = features = list(features_of(drawn))
        whole = replace(first, x=drawn.x)
        try:
            together = self._session(whole).forward(whole)
        except Exception:  # whatever a layer for one feature raises when it is given several
            return False
        alone = self._outs(replace(first, x=feature.x) for feature in features)
        return not np.allclose(together, alone, rtol=0, atol=APART * float(np.max(np.abs(alone))), equal_nan=True)

    def _after(self, first: tuple[Inputs, FloatArray], inputs: Inputs, dout: FloatArray) -> Answer:
        session = self._session(inputs)
        session.answer(*first)
        plain = session.answer(inputs, dout)
        fresh = self._session(inputs).answer(inputs, dout)
        if all(_same(plain.of(row), fresh.of(row)) for row in ("gamma", "beta")):
            return plain
        session = self._session(inputs)
        clean = session.gradients_as_they_are()
        session.answer(*first)
        session.put_back(clean)
        emptied = session.answer(inputs, dout)

        def chosen(row: str) -> FloatArray | None:
            return emptied.of(row) if _same(emptied.of(row), fresh.of(row)) else plain.of(row)

        return replace(plain, gamma=chosen("gamma"), beta=chosen("beta"))

    def _outs(self, features: Iterable[Inputs]) -> FloatArray:
        """out, (n, m), of m features that are given one at a time."""
        return np.concatenate([self._session(one).forward(one) for one in features], axis=1)

    @property
    def _one_by_one(self) -> bool:
        return self.convention.parameters in ONE_BY_ONE

    def _session(self, inputs: Inputs) -> Session:
        return Session(self.plan, self.layout, self.convention.parameters, self.namespace, inputs)


# --- arrays ---------------------------------------------------------------------------------------------------------


def _columns(dout: FloatArray) -> Iterator[FloatArray]:
    return (dout[:, j : j + 1] for j in range(dout.shape[1]))


def _side_by_side(answers: list[Answer]) -> Answer:
    def joined(row: str) -> FloatArray | None:
        parts = [part for answer in answers if (part := answer.of(row)) is not None]
        return np.concatenate(parts, axis=-1) if len(parts) == len(answers) else None

    breaches = dict.fromkeys(breach for answer in answers for breach in answer.breaches)
    rows = [row for row in answers[0].grain if all(row in answer.grain for answer in answers)]
    grain = {row: np.concatenate([answer.grain[row] for answer in answers]) for row in rows}
    arrays = {row: joined(row) for row in ("x", "gamma", "beta", "mean", "var")}
    return Answer(joined("out"), **arrays, breaches=tuple(breaches), grain=grain)


def _same(a: FloatArray | None, b: FloatArray | None) -> bool:
    if a is None or b is None:
        return a is b
    return bool(np.array_equal(a, b, equal_nan=True))
