"""Formulas as they are typed, as an implementation: what their names mean, and each judged by itself.

A formula is given the right values of all that it reads, so that what is wrong in one shows in no other. The right
gradients come of the forward by the chain rule: of the formulas for it that stand there, and for the rest of TEXTBOOK.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache, partial
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from bncheck.calling.answer import Answer, LineAnswer, Reader
from bncheck.calling.binding import BindingError
from bncheck.calling.implementation import Declined
from bncheck.calling.layout import Layout, layout_of, not_taken, parameter_shape
from bncheck.calling.statements import Assignment, Pulled, StatementError, Traced, Value, parse, plain, pulled_back
from bncheck.case import Case, Convention
from bncheck.gradients.batchnorm import NODES, FloatArray, Inputs
from bncheck.gradients.problem import draw
from bncheck.gradients.variants import asked
from bncheck.recognition import names
from bncheck.recognition.names import ROLES
from bncheck.workers.worker import said

TEXTBOOK: Mapping[str, Value] = {
    formula.name: formula.value
    for formula in parse(
        """
mean = (x.sum(rows) / count).reshape(like)
centred = x - mean.reshape(wide)
squared = centred ** 2
var = (squared.sum(rows) / (count - ddof)).reshape(like)
std = (var + eps * inside) ** 0.5 + eps * outside
inverse = 1 / std
x_hat = centred * inverse.reshape(wide)
scaled = gamma.reshape(wide) * x_hat
out = scaled + beta.reshape(wide)
""",
        "the textbook",
    )
}
"""The stages of the graph, each as it is made of others where no formula of theirs makes it."""

# --- names ---------------------------------------------------------------------------------------------------------

_MORE = {
    "x": "hprebn",
    "eps": "smallconstant",
    "mean": "meani",
    "var": "sigmasquared batchvariance samplevariance",
    "std": "sqrtvareps stdev",
    "inverse": "varinv inv inverse invsqrtvar stdevinv invstdev",
    "x_hat": "raw",
    "squared": "sq diff2 xmusq xmusquared",
    "scaled": "gammax gammaxhat scaled",
    "out": "hpreact",
    "dout": "deltaout",
}
_GIVEN = ("x", "gamma", "beta", "eps", "n", "features", *TEXTBOOK, "dout")
_STAGE = {word: stage for stage in reversed(_GIVEN) for word in (*ROLES.get(stage, ()), *_MORE.get(stage, "").split())}
del _STAGE["g"]  # gamma for some, and for others the gradient
_KNOWN = (
    "x, gamma, beta, eps, dout, mean (mu), var (sigma2), std, ivar, x_hat (xhat), xmu, out, N and D, and the gradients "
    "of these, such as dx_hat and dvar"
)
_GRADIENT = tuple(map(re.compile, ("(?:dl|dloss)?d(.+)", "grad(.+)", "(.+)grad")))


class Meaning(NamedTuple):
    """The meaning of a name: the key of a value of the graph, or of the gradient there. A key is a stage, or a name."""

    key: str
    is_gradient: bool = False


def stage_of(name: str) -> str:
    """The stage of the graph that a name is a spelling of; empty where it is none, such as x_."""
    word = name if name.endswith("_") else names.plain(name)
    return _STAGE.get(word) or _STAGE.get(word.removeprefix("bn"), "")


def meaning_of(name: str, keys: Mapping[str, str]) -> Meaning:
    """The meaning of a name that no formula above gives a value but those of `keys`. Raises StatementError."""
    if stage := keys.get(name) or stage_of(name):
        return Meaning("out", True) if stage == "dout" else Meaning(stage)
    if (meaning := gradient_of(name, keys)) is None:
        raise StatementError(f"{name} has no value; write a line for it, or use {_KNOWN}")
    return meaning


def gradient_of(name: str, keys: Mapping[str, str]) -> Meaning | None:
    """The gradient that a name stands for; None where it stands for none, such as dx_."""
    own = {names.plain(variable): key for variable, key in keys.items()}
    word = name if name.endswith("_") else names.plain(name)
    for base in [found[1] for pattern in _GRADIENT if (found := pattern.fullmatch(word))]:
        if base in own or stage_of(base) in (*TEXTBOOK, "x", "gamma", "beta"):
            return Meaning(own.get(base) or stage_of(base), True)
    return None


# --- a text, read --------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Gradient:
    """A formula that depends on dout. `bases` are keys of what it may be the gradient of; none where nothing says so.

    It has the gradient `through` some values alone, where others of its `group` have the rest, as dxmu1 and dxmu2 do;
    `own` are those that it does not have from these. `uses` are the formulas that it reads.
    """

    formula: Assignment
    bases: tuple[str, ...]
    own: frozenset[str]
    through: frozenset[str]
    group: list[Gradient]
    uses: tuple[Gradient, ...]

    @property
    def whole(self) -> frozenset[str]:
        """The values through which the group has the gradient."""
        return frozenset[str]().union(*(member.own for member in self.group))

    @property
    def is_whole(self) -> bool:
        """Whether it must be the whole gradient."""
        return self.through == self.whole

    def comes_of(self) -> Iterator[Gradient]:
        """Itself, and the formulas that lead to it."""
        yield self
        for used in self.uses:
            yield from used.comes_of()

    @property
    def is_judged(self) -> bool:
        """Whether something says what it must be. Of two terms through one value only the last sum can be told."""
        is_told_apart = not any(one.own & other.own for one, other in combinations(self.group, 2))
        return bool(self.bases) and (is_told_apart or (self is self.group[-1] and self.is_whole))


class Sheet(NamedTuple):
    """A text, read. `keys` has what each name of the forward means, `eps` a number that stands for it."""

    forward: tuple[Assignment, ...]
    backward: tuple[Gradient, ...]
    keys: Mapping[str, str]
    eps: float | None


@lru_cache(maxsize=16)
def read(text: str, place: str) -> Sheet:
    """Read a text. Raises StatementError, also for a name that has no value."""
    formulas = parse(text, place)
    keys: dict[str, str] = {}
    through: dict[str, frozenset[str]] = {}
    groups: dict[str, list[Gradient]] = {}
    latest: dict[str, Gradient] = {}
    forward: list[Assignment] = []
    backward: list[Gradient] = []
    for formula in formulas:
        where = f"{place}:{formula.line} `{formula.text[:80]}`"
        try:
            meanings = {name: meaning_of(name, keys) for name in formula.names if name not in through}
        except StatementError as error:
            raise StatementError(f"{where}: {error}") from None
        through |= {name: frozenset([meaning.key]) for name, meaning in meanings.items() if meaning.is_gradient}
        if formula.name in ("x", "dout") or (formula.name in ("gamma", "beta") and formula.name not in formula.reads):
            raise StatementError(f"{where}: {formula.name} is given; leave this line out")
        meant = gradient_of(formula.name, keys) or gradient_of(formula.name.rstrip("0123456789"), keys)
        if meant is None and through.keys().isdisjoint(formula.reads):
            stage = _stage_made_by(formula)
            if stage in ("n", "features") and not formula.names:
                continue  # the size of a batch of theirs
            is_new = stage in TEXTBOOK and stage not in keys.values()
            is_made_of_itself = stage in ("gamma", "beta") and formula.name in formula.reads
            keys.setdefault(formula.name, stage if is_new or is_made_of_itself else f"{formula.name} of theirs")
            forward.append(formula)
            continue
        base = meant.key if meant else ""
        group = groups.setdefault(base, []) if base else []
        parts = [member for member in group if member.formula.name in formula.reads]
        if not parts and any(member.formula.name == formula.name for member in group):
            group = groups[base] = []  # begun anew
        others = formula.reads - {member.formula.name for member in parts}
        own = frozenset[str]().union(*(through.get(name, ()) for name in others))
        bases = ("std", "var") if base == "std" and "sigma" in formula.name else (base,) if base else ()
        uses = tuple(latest[name] for name in sorted(formula.reads) if name in latest)
        group.append(Gradient(formula, bases, own, own.union(*(part.through for part in parts)), group, uses))
        latest[formula.name] = group[-1]
        through[formula.name] = frozenset([base]) if base else own
        backward.append(group[-1])
    return Sheet(tuple(forward), tuple(backward), keys, _eps_in(formulas))


def _stage_made_by(formula: Assignment) -> str:
    """The stage that a formula of the forward makes, by its name. Sigma is the variance for some."""
    if names.plain(formula.name) == "sigma" and not re.search("sqrt|std|0.5", formula.text):
        return "var"
    return stage_of(formula.name)


def _eps_in(formulas: Sequence[Assignment]) -> float | None:
    """The number that is added somewhere, such as 1e-5, where there is no name for it."""
    if any(stage_of(name) == "eps" for formula in formulas for name in (formula.name, *formula.reads)):
        return None
    return next((number for formula in formulas for number in formula.added if 0 < number <= LARGEST_EPS), None)


LARGEST_EPS = 0.01
"""The largest number that is taken for an eps where it is added."""


def is_formulas(text: str) -> bool:
    """Whether a text defines nothing, and gives a gradient its value."""
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    given = [node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    definitions = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda
    defines = any(isinstance(node, definitions) for node in nodes)
    return not defines and any(gradient_of(name, {}) for name in given)


# --- the graph -----------------------------------------------------------------------------------------------------


class Right(NamedTuple):
    """The right gradient at the value with a key, and its size before its terms cancel, in the shape of that value."""

    key: str
    gradient: FloatArray
    size: FloatArray


class Graph(dict[str, Any]):
    """The values of one forward pass by their keys, and the right gradients there.

    A stage that no formula of theirs has made is made when it is first asked for. `leaf` makes x, gamma and beta of
    arrays; where these are `Traced`, and `dout` is in the layout of x, there are gradients.
    """

    def __init__(
        self, inputs: Inputs, layout: Layout, called: Convention, leaf: Callable[[Any], Any], dout: Any = None
    ) -> None:
        n, d = inputs.x.shape
        shape = parameter_shape(called.parameters, d, layout.axes)
        like, wide = parameter_shape(called.statistics or called.parameters, d, layout.axes), [1] * layout.axes
        wide[layout.channel_axis] = d
        rows = tuple(axis for axis in range(layout.axes) if axis != layout.channel_axis)
        outside, ddof = int(inputs.variant.eps_outside), inputs.variant.ddof
        super().__init__(n=n, features=d, eps=inputs.eps, rows=rows, count=n, ddof=ddof, like=like, wide=tuple(wide))
        self.update(inside=1 - outside, outside=outside, x=leaf(layout.laid_out(inputs.x)))
        self.update(gamma=leaf(inputs.gamma.reshape(shape).copy()), beta=leaf(inputs.beta.reshape(shape).copy()))
        self.dout = dout

    def __missing__(self, stage: str) -> Any:
        """A stage of the textbook. Raises KeyError for another name."""
        value = self[stage] = TEXTBOOK[stage](self.__getitem__)
        return value

    def run(self, sheet: Sheet) -> Graph:
        """Give all formulas of the forward their values. Raises BindingError for one that raises."""
        for formula in sheet.forward:
            try:
                value = formula.value(lambda name: self._value(name, sheet.keys))
            except Exception as error:  # whatever NumPy raises for arrays that do not fit
                raise BindingError(f"line {formula.line}, `{formula.text}`, raises {said(error)}") from error
            self[sheet.keys[formula.name]] = value
        try:
            self["out"]
        except ValueError as error:
            raise BindingError(f"no out can be made of these formulas, which raises {said(error)}") from error
        return self

    def _value(self, name: str, keys: Mapping[str, str]) -> Any:
        """The value of a name so far. Of a gradient only the shape is asked for, which is that of x."""
        key, is_gradient = meaning_of(name, {variable: key for variable, key in keys.items() if key in self})
        return plain(self["x"]) if is_gradient else self[key]

    @cached_property
    def gradients(self) -> dict[Traced, Pulled]:
        """The right gradient at every value that out depends on."""
        return pulled_back({self["out"]: Pulled(self.dout, np.abs(self.dout))})

    def node(self, key: str) -> Any:
        """The value with a key, where out depends on it; else None."""
        found = self.get(key)
        return found if isinstance(found, Traced) and found in self.gradients else None

    def rights(self, wanted: Gradient, given: Collection[str]) -> Iterator[Right]:
        """The gradients that a formula may give: the whole one; of what is no node also the part that is not `given`.

        x - mean, from which the variance is made, leads to out by x_hat alone for some, and for others by both.
        """
        for key in wanted.bases:
            if (node := self.node(key)) is None:
                continue
            whole = Right(key, *self.gradients[node])
            if wanted.is_whole:
                yield whole
            if not wanted.is_whole or key not in NODES:
                stops = {stop: self.node(stop) for stop in (given if wanted.is_whole else wanted.whole) if stop != key}
                yield self._part(node, wanted, stops) or whole

    def _part(self, node: Traced, wanted: Gradient, stops: Mapping[str, Traced | None]) -> Right | None:
        """The gradient through some of the values at which the ways to out stop; None where no way leads there."""
        seeds, stop = [stops.get(key) for key in wanted.through], [value for value in stops.values() if value]
        if None in seeds:
            return None
        found = pulled_back({value: self.gradients[value] for value in seeds if value}, stop)
        return Right(wanted.bases[0], *found[node]) if node in found else None


# --- the implementation --------------------------------------------------------------------------------------------

MEANS_ANOTHER = "{name} in line {line} is another gradient than its name says, and what is made of it is right"
ENDS = ("x", "gamma", "beta")
"""The gradients that leave a layer, and so cannot mean anything else."""

WIDE = 2**16
"""Elements of x up to which the right gradients are worked out in longdouble, which takes longer."""


@dataclass(frozen=True)
class Typed:
    """Formulas of somebody's, called in rows."""

    place: str
    sheet: Sheet
    layout: Layout
    called: Convention

    def given(self, inputs: Inputs) -> Inputs:
        """The inputs, with 1 for a gamma and 0 for a beta that their forward has none of."""
        if "out" not in self.sheet.keys.values():
            return inputs
        stages = {stage_of(name) for formula in self.sheet.forward for name in formula.reads}
        gamma = inputs.gamma if "gamma" in stages else np.ones_like(inputs.gamma)
        return replace(inputs, gamma=gamma, beta=inputs.beta if "beta" in stages else np.zeros_like(inputs.beta))

    def forward(self, inputs: Inputs) -> FloatArray:
        """out, (n, m), of inputs with any number m of features."""
        out, expected = np.asarray(self._graph(inputs, np.asarray)["out"]), self.layout.shape(inputs.x.shape[1])
        if out.shape != expected:
            raise BindingError(f"out has shape {out.shape}, expected {expected}, the shape of x")
        return self.layout.rows(out)

    def _graph(self, inputs: Inputs, leaf: Callable[[Any], Any], dout: FloatArray | None = None) -> Graph:
        eps = inputs.eps if self.sheet.eps is None else self.sheet.eps
        return Graph(replace(inputs, eps=eps), self.layout, self.called, leaf, dout).run(self.sheet)

    def examined(self, inputs: Inputs, dout: FloatArray) -> Answer:
        """The answer: nothing in formulas changes from call to call."""
        return self.answer(inputs, dout)

    def answer(self, inputs: Inputs, dout: FloatArray) -> Answer:
        """The gradients that the formulas give, each where all that it reads is right, and these in their order."""
        d, kind = inputs.x.shape[1], np.result_type(inputs.x.dtype, np.float32)  # sums in float16 would overflow
        reader = Reader(self.layout, parameter_shape(self.called.parameters, d, self.layout.axes), d, inputs.x.dtype)
        graphs, close = self._graphs(inputs, dout), float(np.finfo(kind).eps) ** 0.5
        given = {key for wanted in self.sheet.backward for key in (*wanted.bases, *wanted.through)}

        @cache
        def rights(wanted: Gradient) -> list[Right]:
            return [right for graph in graphs for right in graph.rights(wanted, given)] * wanted.is_judged

        @cache
        def right_value(name: str) -> Any:
            key, is_gradient = meaning_of(name, self.sheet.keys)
            if not is_gradient:
                return _rounded(graphs[0][key], kind)
            nodes = ((graph, graph.node(key)) for graph in graphs)
            found = (graph.gradients[node].gradient for graph, node in nodes if node is not None)
            return _rounded(next(found, None), kind)

        def find(name: str, values: Mapping[str, Any]) -> Any:
            if (value := values[name] if name in values else right_value(name)) is None:
                raise ValueError(f"{name} has no value")
            return value

        fine = self._right_as_they_stand(find, rights, close)
        values: dict[str, Any] = {}
        rows: dict[str, FloatArray | None] = {}
        lines: list[LineAnswer] = []
        for wanted in self.sheet.backward:
            formula, is_fine = wanted.formula, id(wanted) in fine
            value, sentence = fine[id(wanted)] if is_fine else self._value(formula, find, values)
            values[formula.name] = value
            told = [self._line(formula, right, value, sentence) for right in rights(wanted)]
            if not told and sentence:
                raise BindingError(f"line {formula.line}, `{formula.text}`, {sentence}")
            if not told:
                continue
            line = min(told, key=lambda line: max(line.distance, close))
            name = line.key if wanted.is_whole and line.key in NODES else formula.name
            if line.distance > close and is_fine and line.key not in ENDS:
                reader.notes.append((name, MEANS_ANOTHER.format(line=formula.line, name=formula.name)))
                continue
            values[formula.name] = _rounded(line.handed_on, kind)
            lines.append(replace(line, name=name))
            if name in NODES:
                rows[name] = None if sentence else reader.read(name, plain(value))
                reader.breaches.extend([(name, sentence)] if sentence else [])
        for place, line in enumerate(lines):  # the last of a name has it
            if any(other.name == line.name for other in lines[place + 1 :]):
                lines[place] = replace(line, name=f"{line.name}, line {line.number}")
        unjudged = {row: f"no formula gives d{row}" for row in NODES if rows.get(row) is None}
        out = self.forward(inputs) if self.sheet.forward or self.sheet.eps is not None else None
        breaches, notes = tuple(reader.breaches), tuple(reader.notes)
        return Answer(out, **rows, breaches=breaches, notes=notes, unjudged=unjudged, grain={}, lines=tuple(lines))

    def _right_as_they_stand(
        self, find: Callable[..., Any], rights: Callable[[Gradient], list[Right]], close: float
    ) -> dict[int, tuple[Any, str]]:
        """The formulas that lead to a dx, dgamma or dbeta that is right, each with its value, one after the other.

        A name among them may mean something else than it says: some write -dmean as dmu, and take it off.
        """
        values: dict[str, Any] = {}
        found = {id(wanted): self._value(wanted.formula, find, values) for wanted in self.sheet.backward}
        last = {wanted.bases[0]: wanted for wanted in self.sheet.backward if wanted.bases and wanted.is_whole}
        ends = [
            end
            for end in map(last.get, ENDS)
            if end and any(self._line(end.formula, right, *found[id(end)]).distance < close for right in rights(end))
        ]
        return {id(used): found[id(used)] for end in ends for used in end.comes_of()}

    def _value(self, formula: Assignment, find: Callable[..., Any], values: dict[str, Any]) -> tuple[Any, str]:
        """The value of a formula where names have these values, among which it is put; or why there is none."""
        try:
            value = values[formula.name] = formula.value(partial(find, values=values))
        except Exception as error:  # whatever NumPy raises for arrays that do not fit
            values[formula.name] = None
            return None, f"it raises {said(error)}"
        return value, ""

    def _graphs(self, inputs: Inputs, dout: FloatArray) -> list[Graph]:
        """Their graph; and the textbook's of the same kind, where it is a known one."""
        kind = np.result_type(inputs.x.dtype, np.longdouble if inputs.x.size <= WIDE else np.float64)
        wide, wide_dout = inputs.map(lambda array: array.astype(kind)), self.layout.laid_out(dout.astype(kind))
        graphs = [self._graph(wide, Traced, wide_dout)]
        known = asked(self.forward, inputs.map(lambda array: array.astype(np.float64))) if self.sheet.forward else None
        if known is not None:
            like = replace(wide, eps=known.inputs.eps, variant=known.inputs.variant)
            graphs.append(Graph(like, self.layout, self.called, Traced, wide_dout))
        return graphs

    def _line(self, formula: Assignment, right: Right, value: Any, sentence: str) -> LineAnswer:
        """The judgement of one formula, in rows. A value that is broadcast to the right one will do."""
        traced = value if isinstance(value, Traced) else Traced(np.asarray(0.0 if sentence else value))
        gradient, shape = right.gradient, traced.value.shape
        is_alike = traced.value.size == gradient.size
        handed_on = gradient.reshape(shape) if is_alike else gradient
        fit, found, roundoff = np.reshape if is_alike else np.broadcast_to, None, None
        try:
            found, roundoff = (self._rows(fit(array, gradient.shape)) for array in (traced.value, traced.roundoff))
        except ValueError:
            sentence = sentence or f"it has shape {shape}, expected {gradient.shape}"
        return LineAnswer(
            *(formula.name, self.place, formula.line, formula.text, right.key),
            *(self._rows(gradient), np.max(np.atleast_2d(self._rows(right.size)), axis=0), handed_on),
            value=None if sentence else found,
            roundoff=None if roundoff is None else np.max(np.atleast_2d(roundoff), axis=0),
            sentence=sentence,
        )

    def _rows(self, array: FloatArray) -> FloatArray:
        """An array (n, d) of one in the layout of x; (d,) of one with a number a feature."""
        is_laid_out = array.ndim == self.layout.axes and array.size > array.shape[self.layout.channel_axis]
        return self.layout.rows(array) if is_laid_out else array.reshape(-1)


def _rounded(value: Any, kind: np.dtype[Any]) -> Any:
    value = plain(value)
    return Traced(value.astype(kind)) if isinstance(value, np.ndarray) else value


# --- how they stand ------------------------------------------------------------------------------------------------

WAYS = (
    ("(n, d)", "(d,)", "", (6, 4)),
    ("(n, d)", "(1, d)", "", (6, 4)),
    ("(d, n)", "(d, 1)", "", (6, 4)),
    ("channels first", "(d,)", "", (3, 4, 2, 3)),
    ("channels first", "(1, d, 1, 1)", "", (3, 4, 2, 3)),
    ("channels first", "(d,)", "(1, d, 1, 1)", (3, 4, 2, 3)),
    ("channels last", "(d,)", "", (3, 4, 2, 3)),
)
"""Layouts of x with the shapes of gamma and of the statistics, and of the case on which each is tried."""


def recognise_formulas(text: str, place: str) -> Convention:
    """How the arrays stand in the formulas of a text: as the fewest of these complain. Raises StatementError."""
    found, refusals = [], []
    blank = Convention(forward="", backward="", statements=text)
    for layout, parameters, statistics, shape in WAYS:
        way = replace(blank, layout=layout, parameters=parameters, statistics=statistics, axes=(len(shape),))
        problem = draw(Case(shape=shape))
        try:
            with np.errstate(all="ignore"):
                answer = bind_formulas(way, place, problem.case).answer(problem.inputs, problem.dout)
        except BindingError as error:
            refusals.append(str(error))
            continue
        complaints = len(answer.breaches) + sum(bool(line.sentence) for line in answer.lines)
        found.append((4 * complaints + len(answer.notes), way))
    if not found:
        raise StatementError(f"{place}: {refusals[0]}")
    return min(found, key=lambda pair: pair[0])[1]


ABOVE = ("var = np.var(x, axis=0, ddof=1)", "std = np.sqrt(var) + eps")
"""Formulas of forwards that are not the standard one."""


def right_below(convention: Convention, case: Case) -> str:
    """The sentence for formulas of a backward alone that are right below one of ABOVE; empty where they are not."""
    problem = draw(case)
    for line in ABOVE:
        below = replace(convention, statements=f"{line}\n{convention.statements}")
        lines = bind_formulas(below, "", case).answer(problem.inputs, problem.dout).lines
        if all(found.distance < CLOSE for found in lines):
            return f"with `{line}` above them all of these formulas are right; write it where it is meant"
    return ""


CLOSE = 1e-6
"""The largest distance from a gradient, relative to its size, of what is taken for it."""


def bind_formulas(convention: Convention, place: str, case: Case) -> Typed:
    """The formulas of a place, ready for the problems of a case. Raises Declined where they do not take it."""
    reason = not_taken("it", convention, case)
    if reason or case.mode == "eval":
        raise Declined(reason or "formulas are judged in train mode alone")
    sheet = read(convention.statements, place)
    return Typed(place, sheet, layout_of(case, convention.layout), convention)
