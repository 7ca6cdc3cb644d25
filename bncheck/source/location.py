"""The statements in somebody's file in which the mistakes stand that were found in their backward pass.

Their backward is run once more and watched: the first statement whose value a mistake spoils is the wrong one. Where
none shows, since something is missing or what runs is not Python, those that make the gradient are told.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import inspect
import linecache
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from bncheck.calling.answer import as_array
from bncheck.calling.pattern import Group, Target, Update
from bncheck.calling.plan import Plan, parsed
from bncheck.case import Convention
from bncheck.faults.catalogue import BY_NAME, dvar_terms
from bncheck.faults.diagnosis import Finding, Statement
from bncheck.faults.terms import FACTORS, ROUTES, TERMS, FactorValues, Parts, Wrong
from bncheck.gradients.batchnorm import FloatArray
from bncheck.source.script import RETURNED, DataFlow, Function, Keys, Scope, Variable, in_turn, script_of, targets
from bncheck.workers.worker import shown

WIDTH = 100  # characters of a statement that are told
MOST = 3  # statements that are told of one mistake


class Rerun(NamedTuple):
    """A function that runs their forward and backward once more, and the parts of the right backward pass."""

    parts: Parts
    run: Callable[[], object]


def located(
    findings: Sequence[Finding], namespace: Mapping[str, Any], convention: Convention, again: Rerun | None = None
) -> tuple[Finding, ...]:
    """The findings with the statements in which they stand: at most three each, or the line where backward begins.

    They stay as they are where the source cannot be had, or is not that of the code that runs.
    """
    try:
        backward = _backward(namespace, convention)
        if backward is None:
            return tuple(findings)
        return tuple(replace(finding, statements=_statements(finding, backward, again)) for finding in findings)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # no Python, or nested too deeply for ours
        return tuple(findings)


def _statements(finding: Finding, backward: Backward, again: Rerun | None) -> tuple[Statement, ...]:
    """The statements in which a mistake stands, the first that is wrong before the others, in the order of the file."""
    made = [backward.of(f"d{row}") for row in finding.rows]
    spoiling: list[ast.stmt] = []
    if again is not None:
        spoiling = statements_that_spoil(Spoilt.by(finding, again.parts), backward.scopes, again.run)
    found = [spoiling] if spoiling else made
    # The number of features or of images, in place of that of rows.
    if any(FACTORS[factor].about in ("d", "N") for _, factor in finding.keys if factor in FACTORS):
        found = [backward.counts([step for steps in (*made, spoiling) for step in steps]), *found]
    first = backward.scopes[0]
    wrong, *others = in_turn(found)[:MOST] or [first.function]
    return tuple(
        Statement(shown(first.script.file), node.lineno, text_of(node, first.script.text))
        for node in (wrong, *sorted(others, key=lambda node: (node.lineno, node.col_offset)))
    )


def text_of(node: ast.stmt, source: str) -> str:
    """A statement on one line, cut at WIDTH: as it is written, where that is one line. Of a function, its head."""
    if isinstance(node, Function):
        text = f"def {node.name}({ast.unparse(node.args)})"
    else:
        segment = ast.get_source_segment(source, node) or ""
        text = ast.unparse(node) if "\n" in segment else segment
    shown = "".join(sign if sign.isprintable() else " " for sign in text).strip()
    return shown if len(shown) <= WIDTH else f"{shown[: WIDTH - 3]}..."


# --- what their statements make, seen while they run -------------------------------------------------------------

WATCHED = 2**17  # elements of x at most, since values are sorted after every statement
LOOKS = 1000  # statements that are looked at in one run: a loop may have any number of them
NEAR, CLOSE, APART = 1e-2, 1e-4, 1e-12
"""A value is the wrong one where it is that much nearer to it than the right one is, and that close for its size; the
two differ by more than APART of it."""


@dataclass(frozen=True)
class Spoilt:
    """The values that a mistake spoils on the way to a gradient, by their size: each sorted, with what it may be off.

    Sorted, a value is known in whatever layout, and under whatever name.
    """

    values: Mapping[int, Sequence[tuple[FloatArray, float]]]

    @classmethod
    def by(cls, finding: Finding, parts: Parts) -> Spoilt:
        """The values spoilt by each of the faults that a finding names; none that a right backward has elsewhere."""
        found: dict[int, list[tuple[FloatArray, float]]] = {}
        if parts.dout.size > WATCHED:
            return cls(found)
        with np.errstate(all="ignore"):
            right = _on_the_way(Wrong.without_fault(parts), parts)
            usual = [np.sort(each, axis=None) for each in (*right, parts.inputs.x, parts.dout, *parts.stages)]
            for pair in _pairs(finding, parts, right):
                for sign in (1, -1):  # some write sum(dx_hat / std) for dmean, and subtract it
                    wrong, true = (np.sort(sign * each, axis=None) for each in pair)
                    gap, size = float(np.max(np.abs(wrong - true))), float(np.max(np.abs(wrong)))
                    off = min(NEAR * gap, CLOSE * size)
                    alike = (np.max(np.abs(wrong - each)) for each in usual if each.size == wrong.size)
                    if not gap > APART * size > 0 or any(distance <= off for distance in alike):
                        break
                    found.setdefault(wrong.size, []).append((wrong, off))
        return cls(found)

    def among(self, value: object) -> set[tuple[int, int]]:
        """The places of the values that it is."""
        array = as_array(value)
        if array is None or array.size not in self.values or array.dtype.kind != "f":
            return set()
        ordered = np.sort(array, axis=None)
        near = [np.max(np.abs(ordered - wrong)) <= off for wrong, off in self.values[array.size]]
        return {(array.size, place) for place in np.flatnonzero(near).tolist()}


def _pairs(finding: Finding, parts: Parts, true: Sequence[FloatArray]) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Values that the faults of a finding, or its coefficients, make, each beside the right one."""
    right, values, std = Wrong.without_fault(parts), FactorValues.of(parts), parts.stages.std
    faults = [BY_NAME[name] for name in finding.faults]
    wrongs = [fault.wrong(right, parts, values) for fault in faults]
    if not faults:
        fields = {**ROUTES, "dgamma": "gamma", "dbeta": "beta"}
        known = {fields[c.route]: c for c in finding.coefficients if c.route in fields and np.isfinite(c.median)}
        spoilt = {name: getattr(right, name) * np.asarray(c.features) for name, c in known.items()}
        named = [TERMS[term].wrong(right, parts, values, symbol) for term, symbol in finding.keys if symbol in FACTORS]
        wrongs = named or [right._replace(**spoilt)]
    terms = {"var": dvar_terms(parts), "mean": -parts.routes.direct}
    for wrong in wrongs:
        yield from zip(_on_the_way(wrong, parts), true, strict=True)
        for row, unsummed in terms.items():
            if np.array_equal(getattr(wrong, row), unsummed[-1]):
                yield unsummed, np.broadcast_to(getattr(right, row), unsummed.shape)
    for factor in (FACTORS[fault.factor] for fault in faults if not fault.is_compound):
        if factor.root is not None and factor.power == 1:
            yield std / factor.value(parts), std
            yield factor.value(parts) / std, 1 / std


def _on_the_way(wrong: Wrong, parts: Parts) -> list[FloatArray]:
    """The values that a backward pass may have on its way: sums, dx_hat, the routes, and what is made of these."""
    dx_hat, nothing = parts.dout * wrong.gain, 0 * wrong.gain
    direct, var = parts.dx(wrong.gain, nothing, nothing), parts.dx(nothing, wrong.through_var, nothing)
    mean = wrong.through_mean / parts.n
    dx = direct + var + mean if wrong.x is None else wrong.x
    sums = [wrong.beta, wrong.gamma, wrong.var, wrong.mean, wrong.through_var, wrong.through_mean, mean]
    dstd = 2 * parts.stages.std * wrong.through_var
    return [*sums, dstd, -dstd * parts.stages.std**2, dx_hat, direct, var, direct + var, direct + mean, var + mean, dx]


def statements_that_spoil(spoilt: Spoilt, scopes: Sequence[Scope], run: Callable[[], object]) -> list[ast.stmt]:
    """The statements after which a spoilt value is there that was not there before, in the order in which they run."""
    lines = {scope.first_line: scope.by_line() for scope in scopes}
    before: dict[types.FrameType, ast.stmt] = {}
    found: list[ast.stmt] = []
    seen: set[tuple[int, int]] = set()
    looks = iter(range(LOOKS))

    def look(statement: ast.stmt, given: Mapping[str, Any]) -> None:
        values = [_value_of(place, given) for place in targets(statement)]
        every = [one for value in values for one in (value if isinstance(value, tuple | list) else (value,))]
        new = set().union(*map(spoilt.among, every)) - seen if next(looks, None) is not None else set()
        if new:
            found.append(statement)
            seen.update(new)

    def trace(frame: types.FrameType, event: str, returned: object) -> Any:
        steps = lines.get(frame.f_code.co_firstlineno, {})
        if event == "call":
            return trace if steps and spoilt.values and frame.f_code.co_filename == scopes[0].script.file else None
        now = steps.get(frame.f_lineno) if event == "line" else None
        done = before.pop(frame, None)
        if done is not None and done is not now:
            look(done, {**frame.f_locals, RETURNED: returned})
        if now is not None:
            before[frame] = now
        return trace

    tracing = sys.gettrace()
    sys.settrace(trace)
    try:
        with contextlib.suppress(Exception):  # whatever their code raises that has run before
            run()
    finally:
        sys.settrace(tracing)
    return found


def _value_of(place: Variable, given: Mapping[str, Any]) -> object:
    """The value of a name or an attribute among local variables; None where it has none."""
    first, *rest = place.text.split(".")
    return functools.reduce(lambda value, name: getattr(value, name, None), rest, given.get(first))


# --- the function that runs, in the text of its file ------------------------------------------------------------

WRAPPINGS = 8  # decorators that are taken off a function


def _backward(namespace: Mapping[str, Any], convention: Convention) -> Backward | None:
    """The functions that are called for the gradients: the first whose source is known, and those in the same file."""
    plan = parsed(convention)
    found = [(keys, _scope_of(call, plan, namespace)) for call, keys in _leaves(plan.backward.expression)]
    known = [(keys, scope) for keys, scope in found if scope is not None]
    if not known:
        return None
    entries = {keys: scope for keys, scope in known if scope.script.file == known[0][1].script.file}
    named = ((row, found.place if isinstance(found, Update) else found) for row, found in plan.gradients.items())
    places = {f"d{row}": place for row, node in named if (place := Variable.of(node)) is not None}
    return Backward(entries, dict(_leaves(plan.backward.target)), places)


def _leaves(node: ast.expr | Target | None, keys: Keys = ()) -> Iterator[tuple[Any, Keys]]:
    """The calls of a pattern, or the names of a target, each with its place in what is returned."""
    match node:
        case ast.Call() | str():
            yield node, keys
        case ast.Tuple(items) | Group(items):
            for place, inner in enumerate(items):
                yield from _leaves(inner, (*keys, place))


def _scope_of(call: ast.Call, plan: Plan, namespace: Mapping[str, Any]) -> Scope | None:
    """The function that a pattern calls; None where its source is not known."""
    created = plan.create.func if isinstance(plan.create, ast.Call) else None
    owner: ast.expr | None
    match call.func:
        case ast.Name("self"):
            owner, name = created, "__call__"
        case ast.Attribute(ast.Name("self"), name) if plan.create is not None:
            owner = created
        case ast.Attribute(owner, name):
            pass
        case ast.Name(name) if name in namespace:
            return _found(namespace[name], namespace, (name,))
        case ast.Name():
            return _handed_back(plan, namespace)
        case _:
            return None
    value = _value(owner, namespace)
    if value is None and name == "backward":
        value = _function_behind(plan, namespace)
    if isinstance(value, types.ModuleType):
        return _found(vars(value).get(name), vars(value), (name,))
    if isinstance(value, type):
        for home in inspect.getmro(value):
            if name in vars(home):
                is_theirs = home.__module__ == namespace.get("__name__")
                module = namespace if is_theirs else getattr(sys.modules.get(home.__module__), "__dict__", {})
                return _found(vars(home)[name], module, (f"{value.__qualname__}.{name}", f"{home.__qualname__}.{name}"))
    return None


def _handed_back(plan: Plan, namespace: Mapping[str, Any]) -> Scope | None:
    """The function that forward returns: the only one inside it, or else the only one of its file that it names."""
    call = plan.forward.expression
    scope = _scope_of(call, plan, namespace) if isinstance(call, ast.Call) else None
    if scope is None:
        return None
    inside = [scope.script.function(name) for name in scope.script.defined if name.rpartition(".")[0] == scope.name]
    named = {node.id for node in ast.walk(scope.function) if isinstance(node, ast.Name)}
    beside = [_found(namespace[name], namespace, (name,)) for name in sorted(named & set(namespace))]
    found = [each for each in inside if each] or [each for each in beside if each]
    return found[0] if len(found) == 1 else None


def _function_behind(plan: Plan, namespace: Mapping[str, Any]) -> object:
    """The autograd Function whose backward `out.backward(dout)` runs: that of forward, or the only one there."""
    match plan.forward.expression:
        case ast.Call(ast.Attribute(owner, "apply")):
            return _value(owner, namespace)
    module = namespace.get("__name__")
    kinds = {value for value in namespace.values() if isinstance(value, type) and value.__module__ == module}
    functions = [kind for kind in kinds if hasattr(kind, "apply") and "backward" in vars(kind)]
    return functions[0] if len(functions) == 1 else None


def _value(expression: ast.expr | None, namespace: Mapping[str, Any]) -> object:
    """The value of a name, or of an attribute of a module."""
    match expression:
        case ast.Name(name):
            return namespace.get(name)
        case ast.Attribute(of, name):
            return inspect.getattr_static(_value(of, namespace), name, None)
    return None


def _found(value: object, module: Mapping[str, Any], names: tuple[str, ...]) -> Scope | None:
    """A function in the file that it says it is of, on the line that it says; else, by its name, in that of a module.

    What a decorator has put in its place says nothing of it.
    """
    function = _unwrapped(value)
    file, line = str(module.get("__file__", "")), 0
    if isinstance(function, types.FunctionType) and not (file and "<locals>" in function.__qualname__):
        file, line = function.__code__.co_filename, function.__code__.co_firstlineno
        names = (*names, function.__qualname__)
    linecache.checkcache(file)
    script = script_of(file, "".join(linecache.getlines(file)))
    scopes = [scope for scope in map(script.function, names) if scope is not None]
    return next((scope for scope in scopes if line in (0, scope.first_line)), None)


def _unwrapped(value: object) -> object:
    """The function inside a method, a partial or a decorator."""
    for _ in range(WRAPPINGS):
        match value:
            case staticmethod() | classmethod() | types.MethodType():
                value = value.__func__
            case functools.partial():
                value = value.func
            case _:
                value = inspect.getattr_static(value, "__wrapped__", value)
    return value


# --- its statements, by what they make ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Backward:
    """A backward pass. `results` says where it returns a gradient, such as dx, `places` where else it leaves one.

    `entries` are the functions that are called, by where the result of each stands among those of all of them.
    """

    entries: Mapping[Keys, Scope]
    results: Mapping[str, Keys]
    places: Mapping[str, Variable]
    flow: DataFlow = field(default_factory=DataFlow)

    @functools.cached_property
    def scopes(self) -> list[Scope]:
        """The functions that are called, and those that they call."""
        return [scope for entry in self.entries.values() for scope in entry.reach()]

    def of(self, symbol: str) -> list[ast.stmt]:
        """The statements that make a gradient, such as dx; none where it is not known what does."""
        if symbol in self.places:
            return self._left_at(self.places[symbol])
        return self._returned(self.results[symbol]) if symbol in self.results else []

    def counts(self, made: Sequence[ast.stmt]) -> list[ast.stmt]:
        """The statements that make the sizes that are used in others."""
        used = {node.id for step in made for node in ast.walk(step) if isinstance(node, ast.Name)}
        return [step for scope in self.scopes for step in scope.statements() if _is_count(step, used)]

    def _returned(self, keys: Keys) -> list[ast.stmt]:
        for place, scope in self.entries.items():
            if keys[: len(place)] == place:
                return self.flow.assigned(scope, Variable(RETURNED, keys[len(place) :]))
        return []

    def _left_at(self, place: Variable) -> list[ast.stmt]:
        if place.text in self.results:
            return self._returned((*self.results[place.text], *place.keys))
        found = (self.flow.assigned(scope, place) or _handed_over(scope, place) for scope in self.scopes)
        return next(filter(None, found), [])


def _is_count(step: ast.stmt, used: set[str]) -> bool:
    """Whether it is N = dout.shape[0], or N, D = dout.shape: a size alone, of a name that is used."""
    if not isinstance(step, ast.Assign):
        return False
    names = {node.id for target in step.targets for node in ast.walk(target) if isinstance(node, ast.Name)}
    nodes = list(ast.walk(step.value))
    sizes = [node for node in nodes if isinstance(node, ast.Attribute) and node.attr in ("shape", "size")]
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    lengths = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id in ("len", "int", "float")]
    return bool(names & used) and bool(sizes or lengths) and len(calls) == len(lengths)


def _handed_over(scope: Scope, place: Variable) -> list[ast.stmt]:
    """Calls to which a parameter is handed over, to be updated: self.optimizer.update(self.gamma, ...)."""
    steps = [step for step in scope.statements() if isinstance(step, ast.Expr)]
    return [step for step in steps if isinstance(step.value, ast.Call) and place in map(Variable.of, step.value.args)]
