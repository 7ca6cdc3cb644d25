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

from bncheck.calling.pattern import Group, Target
from bncheck.calling.plan import Plan, parsed
from bncheck.case import Convention
from bncheck.faults.catalogue import BY_NAME
from bncheck.faults.diagnosis import Finding, Statement
from bncheck.faults.hypotheses import SAME_DX
from bncheck.faults.terms import FACTORS
from bncheck.recognition.names import GAMMAS, ROLES, plain
from bncheck.source.script import DataFlow, Function, Keys, Scope, Variable, function_of, in_turn, target_of, written
from bncheck.workers.worker import shown

WIDTH = 100
"""Characters of a statement that are told."""

MOST = 3
"""Statements that are told of one mistake."""

SYMBOLS: Mapping[str, tuple[str, ...]] = {
    "dx_hat": ("dx_hat", "dx"),
    "direct": ("dx",),
    "through var": ("dx",),
    "through mean": ("dx",),
    "batch": ("dx",),
}
"""The symbols in whose statements a fault in a term may stand, where that is not the term itself."""

OTHER_COUNTS = ("d", "N")
"""Numbers that stand where n belongs, in factors that are about them: features, images."""


def located(findings: Sequence[Finding], namespace: Mapping[str, Any], convention: Convention) -> tuple[Finding, ...]:
    """The findings with the statements in which they stand: at most three each, or the line where backward begins.

    They stay as they are where the source cannot be had, or is not that of the code that runs. Nothing of theirs is
    called for it.
    """
    try:
        source = _source_of(namespace, convention)
        if source is None:
            return tuple(findings)
        return tuple(replace(finding, statements=source.statements(finding)) for finding in findings)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # no Python, or nested too deeply for ours
        return tuple(findings)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """The text of a file with a backward pass in it."""

    file: str
    text: str
    backward: Backward

    def statements(self, finding: Finding) -> tuple[Statement, ...]:
        """The statements in which a mistake stands."""
        found = [self.backward.of(symbol) for symbol in symbols_of(finding)]
        if "x" in finding.rows and not any(found):
            found = [self.backward.of("dx")]
        if any(FACTORS[factor].about in OTHER_COUNTS for _, factor in finding.keys if factor in FACTORS):
            found.append(self.backward.counts([step for steps in found for step in steps]))
        nodes = chosen(found) or [self.backward.begin()]
        return tuple(Statement(shown(self.file), node.lineno, text_of(node, self.text)) for node in nodes)


def symbols_of(finding: Finding) -> tuple[str, ...]:
    """The symbols whose statements the mistake may stand in: dvar, dx ..., the likeliest first."""
    faults = [BY_NAME[name] for name in finding.faults]
    terms = [fault.term for fault in faults if not fault.is_compound]
    terms += [symbol for fault in faults if fault.is_compound for symbol in fault.breaks]
    if not faults:
        keys = [term for term, _ in finding.keys]
        terms = [same for same, term in SAME_DX.items() if term in keys] + keys
    symbols = [symbol for term in terms for symbol in SYMBOLS.get(term, (term,))]
    return tuple(dict.fromkeys(symbols or [f"d{row}" for row in finding.rows]))


def chosen(found: Sequence[Sequence[ast.stmt]]) -> list[ast.stmt]:
    """At most MOST statements, in the order of the file: the first that makes each symbol, then the second of each."""
    return sorted(in_turn(found)[:MOST], key=lambda step: (step.lineno, step.col_offset))


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


def _source_of(namespace: Mapping[str, Any], convention: Convention) -> SourceFile | None:
    """The file of what is called for the gradients; of the first of several calls, and those in the same file."""
    plan = parsed(convention)
    found = [(_defined(call, plan, namespace), keys) for call, keys in _calls(plan.backward.expression)]
    known = [(definition, keys) for definition, keys in found if definition is not None]
    if not known:
        return None
    file, text = known[0][0].file, known[0][0].text
    entries = tuple(EntryPoint(definition.scope, keys) for definition, keys in known if definition.file == file)
    places = {f"d{row}": ast.parse(text, mode="eval").body for row, text in convention.gradients}
    return SourceFile(file, text, Backward(entries, dict(_results(plan.backward.target)), places))


def _calls(expression: ast.expr) -> Iterator[tuple[ast.Call, Keys]]:
    """The calls of a pattern, and where their results stand in its own."""
    match expression:
        case ast.Call():
            yield expression, ()
        case ast.Tuple(items):
            for place, item in enumerate(items):
                for call, keys in _calls(item):
                    yield call, (place, *keys)


def _results(target: Target | None, keys: Keys = ()) -> Iterator[tuple[str, Keys]]:
    """The names of a target, each with its place in what is returned."""
    match target:
        case str():
            yield target, keys
        case Group(targets):
            for place, inner in enumerate(targets):
                yield from _results(inner, (*keys, place))


@dataclass(frozen=True, slots=True)
class Definition:
    """A function that runs, in the text of its file."""

    file: str
    text: str
    scope: Scope


def _defined(call: ast.Call, plan: Plan, namespace: Mapping[str, Any]) -> Definition | None:
    """The function that a pattern calls; None where its source is not known."""
    match call.func:
        case ast.Name("self"):
            return _method(_created(plan, namespace), "__call__", namespace)
        case ast.Name(name):
            return _found(namespace.get(name), str(namespace.get("__file__", "")), (name,))
        case ast.Attribute(ast.Name("self"), name) if plan.create is not None:
            return _method(_created(plan, namespace), name, namespace)
        case ast.Attribute(of, name):
            owner = _value(of, namespace)
            if isinstance(owner, types.ModuleType):
                return _found(vars(owner).get(name), str(vars(owner).get("__file__", "")), (name,))
            return _method(owner, name, namespace)
    return None


def _created(plan: Plan, namespace: Mapping[str, Any]) -> object:
    """The class of `self`; None where it is made by something else."""
    return _value(plan.create.func, namespace) if isinstance(plan.create, ast.Call) else None


def _value(expression: ast.expr, namespace: Mapping[str, Any]) -> object:
    """The value of a name, or of an attribute of a module."""
    match expression:
        case ast.Name(name):
            return namespace.get(name)
        case ast.Attribute(of, name):
            return inspect.getattr_static(_value(of, namespace), name, None)
    return None


def _method(owner: object, name: str, namespace: Mapping[str, Any]) -> Definition | None:
    if not isinstance(owner, type):
        return None
    for home in inspect.getmro(owner):
        if name in vars(home):
            module = namespace if home.__module__ == namespace.get("__name__") else _module(home.__module__)
            names = (f"{owner.__qualname__}.{name}", f"{home.__qualname__}.{name}")
            return _found(vars(home)[name], str(module.get("__file__", "")), names)
    return None


def _module(name: str) -> Mapping[str, Any]:
    return vars(sys.modules[name]) if name in sys.modules else {}


def _found(value: object, file: str, names: tuple[str, ...]) -> Definition | None:
    """A function in the file that it says it is of, on the line that it says; else, by its name, in `file`.

    What a decorator has put in its place says nothing of it.
    """
    function = _unwrapped(value)
    if not isinstance(function, types.FunctionType):
        return _written(file, names, 0)
    code = function.__code__
    if "<locals>" not in function.__qualname__ or not file:
        return _written(code.co_filename, (*names, function.__qualname__), code.co_firstlineno)
    return _written(file, names, 0)


def _written(file: str, names: tuple[str, ...], line: int) -> Definition | None:
    """The first of the names that is a function of the file and begins on the line, if one is given."""
    linecache.checkcache(file)
    text = "".join(linecache.getlines(file))
    if not text:
        return None
    module = _tree(text)
    for name in names:
        scope = function_of(module, name)
        if scope is not None and line in (0, scope.first_line):
            return Definition(file, text, scope)
    return None


@functools.lru_cache(maxsize=4)
def _tree(text: str) -> ast.Module:
    """A file that fails in one case fails in the next."""
    return ast.parse(text)


def _unwrapped(value: object) -> object:
    """The function inside a method, a partial or a decorator."""
    for _ in range(WRAPPINGS):
        match value:
            case staticmethod() | classmethod() | types.MethodType():
                value = value.__func__
            case functools.partial():
                value = value.func
            case _:
                inner = inspect.getattr_static(value, "__wrapped__", None)
                if inner is None:
                    return value
                value = inner
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


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """A function that is called for the gradients, and where its result stands among the results of all of them."""

    scope: Scope
    keys: Keys = ()


@dataclass(frozen=True, slots=True)
class Backward:
    """A backward pass. `results` says where it returns a gradient, such as dx, `places` where else it leaves one.

    What it calls is looked through as well.
    """

    entries: tuple[EntryPoint, ...]
    results: Mapping[str, Keys]
    places: Mapping[str, ast.expr]
    flow: DataFlow = field(default_factory=lambda: DataFlow(frozenset[str]().union(*NAMES.values())))

    def of(self, symbol: str) -> list[ast.stmt]:
        """The statements that make dbeta, dgamma, dx, dx_hat, dvar, dmean or 1/std; none where none surely does."""
        if symbol in self.places:
            return self._left_at(self.places[symbol])
        if symbol in self.results:
            return self._returned(self.results[symbol])
        if symbol == "1/std":
            return [step for scope in self._scopes() for step in scope.statements() if _is_root(step)]
        return self._named(symbol) or (self._products() if symbol == "dx_hat" else [])

    def counts(self, made: Sequence[ast.stmt]) -> list[ast.stmt]:
        """The statements that make the sizes that are used in others."""
        used = {node.id for step in made for node in ast.walk(step) if isinstance(node, ast.Name)}
        steps = (step for scope in self._scopes() for step in scope.statements())
        return [step for step in steps if isinstance(step, ast.Assign) and _is_count(step, used)]

    def begin(self) -> ast.stmt:
        """The function itself."""
        return self.entries[0].scope.function

    def _returned(self, keys: Keys) -> list[ast.stmt]:
        for entry in self.entries:
            if keys[: len(entry.keys)] == entry.keys:
                return self.flow.returned(entry.scope, keys[len(entry.keys) :])
        return []

    def _left_at(self, node: ast.expr) -> list[ast.stmt]:
        place = target_of(node)
        if place is None:
            return []
        if place.text in self.results:
            return self._returned((*self.results[place.text], *place.keys))
        for scope in self._scopes():
            found = self.flow.assigned(scope, place) or _handed_over(scope, place)
            if found:
                return found
        return []

    def _named(self, symbol: str) -> list[ast.stmt]:
        for scope in self._scopes():
            found = self._called(scope, NAMES.get(symbol, frozenset()))
            if found:
                return [*found, *(self._called(scope, NAMES[ALSO[symbol]]) if symbol in ALSO else [])]
        return []

    def _called(self, scope: Scope, names: frozenset[str]) -> list[ast.stmt]:
        places = dict.fromkeys(place for place in written(scope) if _is_spelt(place, names))
        return [step for place in places for step in self.flow.assigned(scope, place)]

    def _products(self) -> list[ast.stmt]:
        """dout * gamma, whatever it is called, if it is there just once."""
        found = [step for scope in self._scopes() for step in scope.statements() if _is_product(step, scope)]
        return found if len(found) == 1 else []

    def _scopes(self) -> Iterator[Scope]:
        for entry in self.entries:
            yield from entry.scope.reach()


def _is_spelt(place: Variable, names: frozenset[str]) -> bool:
    """Whether a place is called so, but for underscores and a number behind it: dmean, self.d_mean, dmean1."""
    name = plain(place.text.rpartition(".")[2])
    return not place.keys and (name in names or name.rstrip("0123456789") in names)


def _is_product(step: ast.stmt, scope: Scope) -> bool:
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
    words = [*place.text.split("."), *(key for key in place.keys if isinstance(key, str))]
    known = [plain(word) for word in words if plain(word) in GAMMAS]
    return known[0] if known else plain(words[-1])


def _is_root(step: ast.stmt) -> bool:
    """std or 1/std made anew: sqrt(...), (...) ** -0.5, or 1 over either."""
    if not isinstance(step, ast.Assign):
        return False
    value = step.value
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Div) and isinstance(value.left, ast.Constant):
        value = value.right
    match value:
        case ast.Call(ast.Attribute(_, "sqrt" | "rsqrt") | ast.Name("sqrt" | "rsqrt")):
            return True
        case ast.BinOp(_, ast.Pow(), power):
            return ast.unparse(power) in ("0.5", "-0.5", "1 / 2", "-1 / 2")
    return False


def _is_count(step: ast.Assign, used: set[str]) -> bool:
    """N = dout.shape[0], and N, D = dout.shape: a size alone, of a name that is used."""
    names = {node.id for target in step.targets for node in ast.walk(target) if isinstance(node, ast.Name)}
    nodes = list(ast.walk(step.value))
    sizes = [node for node in nodes if isinstance(node, ast.Attribute) and node.attr in ("shape", "size")]
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    lengths = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id in ("len", "int", "float")]
    return bool(names & used) and bool(sizes or lengths) and len(calls) == len(lengths)


def _handed_over(scope: Scope, place: Variable) -> list[ast.stmt]:
    """Calls to which a parameter is handed over, to be updated: self.optimizer.update(self.gamma, ...)."""
    return [step for step in scope.statements() if place in _arguments(step)]


def _arguments(step: ast.stmt) -> list[Variable | None]:
    match step:
        case ast.Expr(ast.Call(_, arguments)):
            return [Variable.of(argument) for argument in arguments]
    return []
