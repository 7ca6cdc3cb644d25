"""The language of conventions: what it says, and what it refuses, with the place of the mistake."""

from __future__ import annotations

import ast
import pickle
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from bncheck.calling.pattern import (
    Group,
    PatternError,
    Slot,
    Update,
    assign,
    evaluate,
    names_in,
    parse_backward,
    parse_call,
    parse_forward,
    parse_gradient,
    parse_setting,
    targets_of,
)

LANGUAGE = "a pattern has names, attributes, constant subscripts, calls, tuples, dicts and constants"
ELSEWHERE = "do it in your file, and call that here"


def refused_at(error: PatternError) -> str:
    """The characters under the caret."""
    return error.text[error.offset : error.offset + error.width]


def value_of(text: str, **names: object) -> object:
    """The value of an expression with such names."""
    return evaluate(parse_call(text), names, {})


# --- what an expression means ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("x", 3),
        ("layer.name", "bn"),
        ("layer.sizes[1]", 20),
        ("layer.sizes[-1]", 30),
        ("layer.sizes[1:]", [20, 30]),
        ("layer.sizes[:-1]", [10, 20]),
        ("table['a']", 1),
        ("pair(x, 4)", (3, 4)),
        ("pair(second=x, first=4)", (4, 3)),
        ("pair(x, second=4)[1]", 4),
        ("(x, 1)", (3, 1)),
        ("(x,)", (3,)),
        ("[x, [1]]", [3, [1]]),
        ("{'mode': 'train', 'x': x}", {"mode": "train", "x": 3}),
        ("-1.5", -1.5),
        ("None", None),
        ("True", True),
        ("'->'", "->"),
        ("  pair(x,\n     4)  ", (3, 4)),
    ],
)
def test_an_expression_means_what_it_means_in_python(text: str, value: object) -> None:
    layer = SimpleNamespace(name="bn", sizes=[10, 20, 30])
    found = value_of(text, x=3, layer=layer, table={"a": 1}, pair=lambda first, second: (first, second))
    assert found == value


def test_a_name_that_is_not_given_is_looked_up_in_the_namespace() -> None:
    assert evaluate(parse_call("f(x)"), {"x": 2}, {"f": lambda x: 10 * x, "x": 5}) == 20


def test_a_name_in_neither_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="f"):
        value_of("f(x)", x=1)


def test_names_are_found_with_their_offsets() -> None:
    names = names_in(parse_call("f(a.b, {'k': c}, d=[e[0]])"))
    assert [(name.id, name.col_offset) for name in names] == [("f", 0), ("a", 2), ("c", 13), ("e", 20)]


def test_an_offset_counts_characters_not_bytes() -> None:
    assert [name.col_offset for name in names_in(parse_call("f(é, ü)"))] == [0, 2, 5]


@pytest.mark.parametrize(
    "text",
    [
        *("layer.gamma", "layer.params['gamma']", "layer.rows[0]", "layer.inner.gamma"),
        *("layer.pair[0]", "layer.pair[-2]", "layer.deep['a'][0][0]", "layer.named[0]"),
    ],
)
def test_a_value_is_put_where_a_place_says(text: str) -> None:
    layer = SimpleNamespace(gamma=0, params={"gamma": 0}, rows=[0], inner=SimpleNamespace(gamma=0))
    layer.pair, layer.deep, layer.named = (0, 1), {"a": ((0, 1), 2)}, Named(0, 1)
    place = place_of(text)
    assign(place, 7, {"layer": layer}, {})
    assert evaluate(place, {"layer": layer}, {}) == 7


class Named(NamedTuple):
    """A tuple whose constructor takes its items one by one."""

    gamma: int
    beta: int


def place_of(text: str) -> Slot:
    """The place that a text is, and no call."""
    place = parse_setting("gamma", text)
    assert isinstance(place, Slot)
    return place


def test_a_tuple_with_a_value_put_in_it_keeps_its_type_and_its_other_items() -> None:
    layer = SimpleNamespace(pair=(0, 1), named=Named(0, 1))
    for text in ("layer.pair[1]", "layer.named[1]"):
        assign(place_of(text), 7, {"layer": layer}, {})
    assert (layer.pair, layer.named) == ((0, 7), Named(0, 7))
    assert isinstance(layer.named, Named)


def test_a_call_that_is_handed_a_name_is_a_place() -> None:
    assert parse_setting("gamma", "self.set_gamma(gamma)") == parse_call("self.set_gamma(gamma)")


def test_a_call_that_is_not_handed_what_it_shall_put_is_refused() -> None:
    assert parse_setting("gamma", "self.put('gamma', gamma)") == parse_call("self.put('gamma', gamma)")
    with pytest.raises(PatternError) as refusal:
        parse_setting("gamma", "self.set_gamma(beta)")
    assert str(refusal.value) == "this call is not handed gamma; hand it over, as in self.set_gamma(gamma)"


# --- what a step means -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("self.forward(x) -> out", "out"),
        ("f(x) -> out, cache", Group(("out", "cache"))),
        ("f(x) -> (out, [cache, _])", Group(("out", Group(("cache", "_"))))),
        ("f(x) -> out,", Group(("out",))),
        ("f(x, '->') -> _, out", Group(("_", "out"))),
        ("f(x, running_mean) -> out, running_mean", Group(("out", "running_mean"))),
    ],
)
def test_the_targets_of_forward_are_names_and_groups_of_them(text: str, targets: object) -> None:
    assert parse_forward(text).target == targets


def test_the_names_among_targets_leave_out_the_underscore() -> None:
    assert list(targets_of(parse_backward("f(dout) -> dx, [dgamma, _], dbeta").target)) == ["dx", "dgamma", "dbeta"]


def test_targets_read_as_they_were_written() -> None:
    assert str(parse_backward("f(dout) -> dx, (dgamma, dbeta)").target) == "dx, [dgamma, dbeta]"


def test_a_gradient_may_be_an_update() -> None:
    found = parse_gradient("update(self.gamma)")
    assert isinstance(found, Update)
    assert ast.unparse(found.place) == "self.gamma"


def test_a_function_called_update_elsewhere_is_theirs() -> None:
    assert not isinstance(parse_call("update(self.gamma)"), Update)


def test_forward_needs_no_x_where_that_is_handed_over_before() -> None:
    assert parse_forward("self.forward() -> out", ("x",)).target == "out"


def test_backward_needs_no_target_where_dx_is_found_elsewhere() -> None:
    assert parse_backward("self.backward(dout)", ("x",)).target is None


def test_what_is_parsed_can_be_sent_to_another_process() -> None:
    step = parse_forward("f(x, {'a': [1]}, b=y[1:]) -> out, (cache, _)")
    again = pickle.loads(pickle.dumps(step))
    assert (again.text, ast.dump(again.expression), again.target) == (step.text, ast.dump(step.expression), step.target)


def test_a_constant_stays_what_it_is() -> None:
    assert value_of("1e-5") == 1e-5


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found", "under"),
    [
        ("f(x + 1) -> out", "a sum", "x + 1"),
        ("f(x - 1) -> out", "a difference", "x - 1"),
        ("f(2 * x) -> out", "a product", "2 * x"),
        ("f(x / 2) -> out", "a quotient", "x / 2"),
        ("f(x ** 2) -> out", "a power", "x ** 2"),
        ("f(x % 2) -> out", "an operator", "x % 2"),
        ("f(-x) -> out", "an operator", "-x"),
        ("f(not x) -> out", "an operator", "not x"),
        ("f(x or y) -> out", "an operator", "x or y"),
        ("f(x < 3) -> out", "a comparison", "x < 3"),
        ("f(x if y else z) -> out", "a condition", "x if y else z"),
        ("f(lambda: x) -> out", "a lambda", "lambda: x"),
        ("f([i for i in x]) -> out", "a comprehension", "[i for i in x]"),
        ("f(i for i in x) -> out", "a comprehension", "(i for i in x)"),
        ("f({i: 1 for i in x}) -> out", "a comprehension", "{i: 1 for i in x}"),
        ("f(f'{x}') -> out", "an f-string", "f'{x}'"),
        ("f(*x) -> out", "a star", "*x"),
        ("f(y := x) -> out", "an assignment", "y := x"),
        ("f({x}) -> out", "a set", "{x}"),
        ("await x -> out", "an await", "await x"),
        ("f(x, ...) -> out", "something else", "..."),
        ("f(é, x + y) -> out", "a sum", "x + y"),
    ],
)
def test_what_the_language_does_not_have_is_refused_by_its_name(text: str, found: str, under: str) -> None:
    with pytest.raises(PatternError) as refusal:
        parse_forward(text)
    assert str(refusal.value) == f"{LANGUAGE}; found {found}; {ELSEWHERE}"
    assert refused_at(refusal.value) == under


@pytest.mark.parametrize(
    ("text", "says", "under"),
    [
        ("", "the pattern is empty; write it as in self.forward(x) -> out", ""),
        ("   ", "the pattern is empty; write it as in self.forward(x) -> out", " "),
        ("f(x)", "'->' is missing; say where the result goes, as in self.forward(x) -> out", "f(x)"),
        ("f(x) ->", "no target follows '->'; say where the result goes, as in self.forward(x) -> out", "->"),
        (" -> out", "the pattern is empty; write a call, an attribute or an item", " "),
        ("f(x) -> out -> y", "there is a second '->'; keep one of them", "->"),
        ("f(x -> out", "'(' is never closed; close it", "("),
        ("f(x)) -> out", "')' closes nothing; remove it, or open it before", ")"),
        ("f(x] -> out", "']' closes nothing; remove it, or open it before", "]"),
        ("f(x 1) -> out", "this is not a Python expression; write a call as Python has it", "x"),
        ("f(x;y) -> out", "this is not a Python expression; write a call as Python has it", ";"),
        ("\0x -> out", "this is not a Python expression; write a call as Python has it", "\0"),
        ("f(x, a=1, a=2) -> out", "'a' is handed over twice; keep one of them", "1"),
        ("f(x) -> out, out", "'out' is a target twice; write _ for what is not needed", "out"),
        ("f(x) -> x", "'x' is given, and is no target; give the result another name", "x"),
        (
            "f(x) -> out, a.b",
            "a target is a name, or several in a tuple or a list; write _ for what is not needed",
            "a.b",
        ),
        (
            "f(x) -> 'out'",
            "a target is a name, or several in a tuple or a list; write _ for what is not needed",
            "'out'",
        ),
        ("f(x) -> ()", "a target is a name, or several in a tuple or a list; write _ for what is not needed", "()"),
        ("f(x) -> y", "forward has no 'out' among its targets; call the normalised result 'out'", "y"),
        ("f(y) -> out", "forward does not mention x; hand it over, as in self.call(x)", "f(y)"),
        (
            "f(x[i]) -> out",
            f"{LANGUAGE}; found a subscript that is not constant; write a number or a string in quotes",
            "i",
        ),
        (
            "f(x[::2]) -> out",
            f"{LANGUAGE}; found a subscript that is not constant; write a number or a string in quotes",
            "::2",
        ),
        ("f(**x) -> out", f"{LANGUAGE}; found a star; write the arguments out", "x"),
        ("f({**x}) -> out", f"{LANGUAGE}; found a star; write the items out", "{**x}"),
    ],
)
def test_a_mistake_in_forward_is_refused_with_its_place(text: str, says: str, under: str) -> None:
    with pytest.raises(PatternError) as refusal:
        parse_forward(text)
    assert str(refusal.value) == says
    assert refused_at(refusal.value) == under
    assert refusal.value.width >= 1


@pytest.mark.parametrize(
    ("text", "says", "under"),
    [
        ("f(dout) -> out", "backward has no 'dx' among its targets; call the gradient at x 'dx'", "out"),
        ("f() -> dx", "backward does not mention dout; hand it over, as in self.call(dout)", "f()"),
        ("f(dout)", "'->' is missing; say where the result goes, as in self.backward(dout) -> dx", "f(dout)"),
        ("f(dout) -> dx, gamma", "'gamma' is given, and is no target; give the result another name", "gamma"),
    ],
)
def test_a_mistake_in_backward_is_refused_with_its_place(text: str, says: str, under: str) -> None:
    with pytest.raises(PatternError) as refusal:
        parse_backward(text)
    assert str(refusal.value) == says
    assert refused_at(refusal.value) == under


@pytest.mark.parametrize("text", ["gamma", "self.get()", "(self.gamma, 1)", "'gamma'"])
def test_what_is_no_place_is_refused_as_one(text: str) -> None:
    with pytest.raises(PatternError) as refusal:
        parse_setting("gamma", text)
    assert str(refusal.value) == (
        "this is no place to put a value; write a place such as self.gamma, or self.set_gamma(gamma)"
    )


@pytest.mark.parametrize("text", ["update()", "update(self.gamma, 1)", "update(place=self.gamma)"])
def test_an_update_of_anything_but_one_place_is_refused(text: str) -> None:
    with pytest.raises(PatternError) as refusal:
        parse_gradient(text)
    assert str(refusal.value) == "update takes one place; write update(self.gamma)"


def test_a_result_is_not_taken_where_nothing_is_kept() -> None:
    with pytest.raises(PatternError) as refusal:
        parse_call("BatchNorm(d) -> self")
    assert str(refusal.value) == "nothing is taken from the result here; leave out '->' and what follows"
    assert refused_at(refusal.value) == "->"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a" * 100_000, "the pattern has 100,000 characters, expected at most 1,000"),
        ("f(" * 40 + "x" + ")" * 40 + " -> out", "the pattern is nested more than 20 deep; write it simpler"),
        ("(" * 490 + "x" + ")" * 490 + " -> out", "this is not a Python expression"),
    ],
    ids=["long", "deep", "deeper than Python goes"],
)
def test_a_pattern_beyond_all_measure_is_refused(text: str, says: str) -> None:
    with pytest.raises(PatternError) as refusal:
        parse_forward(text)
    assert refusal.value.message.startswith(says.partition(";")[0])


def test_a_refusal_can_be_sent_to_another_process() -> None:
    error = PatternError("f(x)", 1, 2, "message", "hint")
    again = pickle.loads(pickle.dumps(error))
    assert (again.text, again.offset, again.width, str(again)) == ("f(x)", 1, 2, "message; hint")
