"""Where somebody's backward pass makes dvar, dmean, dx and the rest: found by name and by form in its source."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bncheck.implementations.conventions import GAMMAS, ROLES, plain
from bncheck.implementations.making import Keys, Making, Place, in_turn, target_of, written
from bncheck.implementations.script import Function, Scope

WIDTH = 100
"""Characters of a statement that are told."""

MOST = 3
"""Statements that are told of one mistake."""

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
"""How gradients are spelt that no convention says the place of. sigma is the root for some, its square for others."""

ALSO = {"dvar": "dstd"}
"""What stands on the way to a gradient, where the chain rule is written step by step."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A function that is called for the gradients, and where its result stands among the results of all of them."""

    scope: Scope
    keys: Keys = ()


@dataclass(frozen=True, slots=True)
class Backward:
    """A backward pass. `results` says where it returns a gradient, such as dx, `places` where else it leaves one.

    What it calls is looked through as well.
    """

    entries: tuple[Entry, ...]
    results: Mapping[str, Keys]
    places: Mapping[str, ast.expr]
    making: Making = field(default_factory=lambda: Making(frozenset[str]().union(*NAMES.values())))

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
                return self.making.returned(entry.scope, keys[len(entry.keys) :])
        return []

    def _left_at(self, node: ast.expr) -> list[ast.stmt]:
        place = target_of(node)
        if place is None:
            return []
        if place.text in self.results:
            return self._returned((*self.results[place.text], *place.keys))
        for scope in self._scopes():
            found = self.making.assigned(scope, place) or _handed_over(scope, place)
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
        return [step for place in places for step in self.making.assigned(scope, place)]

    def _products(self) -> list[ast.stmt]:
        """dout * gamma, whatever it is called, if it is there just once."""
        found = [step for scope in self._scopes() for step in scope.statements() if _is_product(step, scope)]
        return found if len(found) == 1 else []

    def _scopes(self) -> Iterator[Scope]:
        for entry in self.entries:
            yield from entry.scope.reach()


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


# --- forms -----------------------------------------------------------------------------------------------------------


def _is_spelt(place: Place, names: frozenset[str]) -> bool:
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
    place = Place.of(node)
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


def _handed_over(scope: Scope, place: Place) -> list[ast.stmt]:
    """Calls to which a parameter is handed over, to be updated: self.optimizer.update(self.gamma, ...)."""
    return [step for step in scope.statements() if place in _arguments(step)]


def _arguments(step: ast.stmt) -> list[Place | None]:
    match step:
        case ast.Expr(ast.Call(_, arguments)):
            return [Place.of(argument) for argument in arguments]
    return []
