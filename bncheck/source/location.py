"""The statements in somebody's file in which the mistakes stand that were found in their backward pass.

`discovery` imports it when something is wrong, and only then.
"""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bncheck.calling.pattern import Group, Target, Update
from bncheck.calling.plan import Plan, parsed
from bncheck.case import Convention
from bncheck.faults.catalogue import BY_NAME
from bncheck.faults.diagnosis import Finding, Statement
from bncheck.faults.hypotheses import SAME_DX
from bncheck.faults.terms import FACTORS, TERMS
from bncheck.recognition.names import GAMMAS, ROLES, plain
from bncheck.source.script import RETURNED, DataFlow, Function, Keys, Scope, Variable, in_turn, script_of, written
from bncheck.workers.worker import shown

WIDTH = 100
"""Characters of a statement that are told."""

MOST = 3
"""Statements that are told of one mistake."""

SYMBOLS = {name: term.breaks for name, term in TERMS.items()} | {"dx_hat": ("dx_hat", "dx"), "1/std": ("1/std",)}
"""The symbols in whose statements a fault in a term may stand."""


def located(findings: Sequence[Finding], namespace: Mapping[str, Any], convention: Convention) -> tuple[Finding, ...]:
    """The findings with the statements in which they stand: at most three each, or the line where backward begins.

    They stay as they are where the source cannot be had, or is not that of the code that runs. Nothing of theirs is
    called for it.
    """
    try:
        backward = _backward(namespace, convention)
        if backward is None:
            return tuple(findings)
        return tuple(replace(finding, statements=_statements(finding, backward)) for finding in findings)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # no Python, or nested too deeply for ours
        return tuple(findings)


def _statements(finding: Finding, backward: Backward) -> tuple[Statement, ...]:
    """The statements in which a mistake stands, in the order of the file: those that make each symbol, in turn."""
    found = [backward.of(symbol) for symbol in symbols_of(finding)]
    if "x" in finding.rows and not any(found):
        found = [backward.of("dx")]
    # The number of features or of images, in place of that of rows.
    if any(FACTORS[factor].about in ("d", "N") for _, factor in finding.keys if factor in FACTORS):
        found.append(backward.counts([step for steps in found for step in steps]))
    first = backward.scopes[0]
    chosen = in_turn(found)[:MOST] or [first.function]
    return tuple(
        Statement(shown(first.script.file), node.lineno, text_of(node, first.script.text))
        for node in sorted(chosen, key=lambda node: (node.lineno, node.col_offset))
    )


def symbols_of(finding: Finding) -> tuple[str, ...]:
    """The symbols whose statements the mistake may stand in: dvar, dx ..., the likeliest first."""
    faults = [BY_NAME[name] for name in finding.faults]
    terms = [fault.term for fault in faults if not fault.is_compound]
    terms += [symbol for fault in faults if fault.is_compound for symbol in fault.breaks]
    if not faults:
        keys = [term for term, _ in finding.keys]
        terms = [same for same, term in SAME_DX.items() if term in keys] + keys
    symbols = [symbol for term in terms for symbol in SYMBOLS[term]]
    return tuple(dict.fromkeys(symbols or [f"d{row}" for row in finding.rows]))


def text_of(node: ast.stmt, source: str) -> str:
    """A statement on one line, cut at WIDTH: as it is written, where that is one line. Of a function, its head."""
    if isinstance(node, Function):
        text = f"def {node.name}({ast.unparse(node.args)})"
    else:
        segment = ast.get_source_segment(source, node) or ""
        text = ast.unparse(node) if "\n" in segment else segment
    shown = "".join(sign if sign.isprintable() else " " for sign in text).strip()
    return shown if len(shown) <= WIDTH else f"{shown[: WIDTH - 3]}..."


# --- the function that runs, in the text of its file ------------------------------------------------------------

WRAPPINGS = 8
"""Decorators that are taken off a function."""


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
        case ast.Name(name):
            return _found(namespace.get(name), namespace, (name,))
        case _:
            return None
    value = _value(owner, namespace)
    if isinstance(value, types.ModuleType):
        return _found(vars(value).get(name), vars(value), (name,))
    if isinstance(value, type):
        for home in inspect.getmro(value):
            if name in vars(home):
                is_theirs = home.__module__ == namespace.get("__name__")
                module = namespace if is_theirs else getattr(sys.modules.get(home.__module__), "__dict__", {})
                return _found(vars(home)[name], module, (f"{value.__qualname__}.{name}", f"{home.__qualname__}.{name}"))
    return None


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


# --- its statements, found by name and by form ------------------------------------------------------------------

_PREFIXES = ("d", "dl", "dld", "dloss", "grad", "gradient", "delta")


def _gradients(bases: Sequence[str], short: Sequence[str] = ()) -> frozenset[str]:
    """The names of the gradient of what is called so; a short name is one only behind a d or dLd."""
    long = {f"{prefix}{base}" for base in bases for prefix in _PREFIXES} | {f"{base}grad" for base in bases}
    return frozenset(long | {f"{prefix}{base}" for base in short for prefix in ("d", "dld")})


NAMES: Mapping[str, frozenset[str]] = {
    "dvar": _gradients((*ROLES["var"], "sigmasquared", "sigma2s"), ("v",)),
    "dmean": _gradients(ROLES["mean"], ("m", "mus")),
    "dx_hat": _gradients((*ROLES["x_hat"], "xh"), ("xn", "xh", "zn", "hat")),
    "dstd": _gradients((*ROLES["std"], *ROLES["inverse"], "sqrtvareps"), ("sd", "isd", "inv")) - {"dsigma"},
}
"""Spellings of gradients whose place no convention says. sigma is the root for some, its square for others."""

ALSO = {"dvar": "dstd"}
"""The gradient on the way to another one, where the chain rule is written step by step."""


@dataclass(frozen=True)
class Backward:
    """A backward pass. `results` says where it returns a gradient, such as dx, `places` where else it leaves one.

    `entries` are the functions that are called, by where the result of each stands among those of all of them.
    """

    entries: Mapping[Keys, Scope]
    results: Mapping[str, Keys]
    places: Mapping[str, Variable]
    flow: DataFlow = field(default_factory=lambda: DataFlow(frozenset[str]().union(*NAMES.values())))

    @functools.cached_property
    def scopes(self) -> list[Scope]:
        """The functions that are called, and those that they call."""
        return [scope for entry in self.entries.values() for scope in entry.reach()]

    def _steps(self) -> Iterator[tuple[Scope, ast.stmt]]:
        return ((scope, step) for scope in self.scopes for step in scope.statements())

    def of(self, symbol: str) -> list[ast.stmt]:
        """The statements that make dbeta, dgamma, dx, dx_hat, dvar, dmean or 1/std; none where none surely does."""
        if symbol in self.places:
            return self._left_at(self.places[symbol])
        if symbol in self.results:
            return self._returned(self.results[symbol])
        if symbol == "1/std":
            return [step for _, step in self._steps() if isinstance(step, ast.Assign) and _is_root(step.value)]
        if found := self._named(symbol):
            return found
        products = [step for scope, step in self._steps() if symbol == "dx_hat" and _is_product(step, scope)]
        return products if len(products) == 1 else []

    def counts(self, made: Sequence[ast.stmt]) -> list[ast.stmt]:
        """The statements that make the sizes that are used in others."""
        used = {node.id for step in made for node in ast.walk(step) if isinstance(node, ast.Name)}
        return [step for _, step in self._steps() if _is_count(step, used)]

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

    def _named(self, symbol: str) -> list[ast.stmt]:
        for scope in self.scopes:
            if found := self._called(scope, symbol):
                return [*found, *self._called(scope, ALSO.get(symbol, ""))]
        return []

    def _called(self, scope: Scope, symbol: str) -> list[ast.stmt]:
        names = NAMES.get(symbol, frozenset())
        places = dict.fromkeys(place for place in written(scope) if _is_spelt(place, names))
        return [step for place in places for step in self.flow.assigned(scope, place)]


def _is_spelt(place: Variable, names: frozenset[str]) -> bool:
    """Whether a place is called so, but for underscores and a number behind it: dmean, self.d_mean, dmean1."""
    return not place.keys and (place.name in names or place.name.rstrip("0123456789") in names)


def _is_product(step: ast.stmt, scope: Scope) -> bool:
    """Whether it is dout * gamma, whatever is called so."""
    match step:
        case ast.Assign([ast.Name()], ast.BinOp(left, ast.Mult(), right)):
            sides = {_last_name(left), _last_name(right)}
            upstream = set(ROLES["dout"]) | {plain(argument.arg) for argument in scope.function.args.args}
            return len(sides) == 2 and len(sides & set(GAMMAS)) == 1 and bool(sides & (upstream - set(GAMMAS)))
    return False


def _last_name(node: ast.expr) -> str:
    """gamma of gamma, self.gamma, self.gamma.data and self.params['gamma']; nothing of what is no place."""
    place = Variable.of(node)
    if place is None:
        return ""
    words = [plain(word) for word in (*place.text.split("."), *place.keys) if isinstance(word, str)]
    return next((word for word in words if word in GAMMAS), words[-1])


def _is_root(value: ast.expr) -> bool:
    """Whether it makes std or 1/std anew: sqrt(...), (...) ** -0.5, or 1 over either."""
    match value:
        case ast.BinOp(ast.Constant(), ast.Div(), divisor):
            return _is_root(divisor)
        case ast.Call(ast.Attribute(_, "sqrt" | "rsqrt") | ast.Name("sqrt" | "rsqrt")):
            return True
        case ast.BinOp(_, ast.Pow(), power):
            return ast.unparse(power) in ("0.5", "-0.5", "1 / 2", "-1 / 2")
    return False


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
