"""Types, ranges and the JSON Schema come from one definition."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from bncheck import config
from bncheck.calling import implementation
from bncheck.calling.vocabulary import GIVEN
from bncheck.case import LAYOUTS, PARAMETERS, Case, Convention
from bncheck.config import document
from bncheck.config.mistake import Mistakes, text_of
from bncheck.config.node import ListNode, MappingNode, Node
from bncheck.config.schema import BUILT_IN, CALLED, CODE, DRAW, KEYS, SIZE, Key, schema_of_configs

CONFIGS = Path(__file__).parents[1].parent / "configs"

GOOD = {
    "two lines": "shapes: [[32, 64], [8, 3, 6, 6]]\nseeds: [0, 1, 2]\n",
    "everything": """\
name: all of it
implementation: [reference, closed-form, layers.py, {file: a.py}]
mode: [train, eval]
eps: [1e-5, 0]
dtype: [float64, float32, float16]
channel_axis: [1, -1]
x: {mean: [0, 1e4], std: 1, like: [normal, constant]}
dout: [normal, ones, one-hot, zeros]
gamma: [normal, ones, zeros]
beta: [normal, zeros, ones]
rtol: [auto, 1e-6]
unresolved: [fail, allow]
blind: fail
forward: standard
timeout: [0.5, 60]
memory: [64000000, 500 MB, 2GiB]
""",
    "one shape": "shape: [4, 5]\nseed: 3\n",
    "shapes as text": "shapes: [4x5, 2x3x4x5x6]\nseeds: 3\n",
    "shape as text": "shape: 4x5\nseed: [1, 2]\n",
    "x as a word": "shape: 4x5\nx: outlier\n",
    "x as a list": "shape: 4x5\nx: [normal, {like: outlier, size: [1e3, 1e6]}]\n",
    "cases": "eps: 1e-3\ncases:\n  - {name: dense, shapes: [[4, 5]]}\n  - shape: 4x5\n    x: {std: 2}\n",
    "cases that inherit the shape": "shape: 4x5\ncases: [{}, {eps: 1}]\n",
    "an implementation with every key": """\
shape: 4x5
implementation:
  file: layers.py:BatchNorm
  root: src
  stub: [cv2, scipy.special]
  create: BatchNorm(d, eps=eps)
  build: self.forward(x)
  set: {gamma: [self.gamma, self.w], beta: self.beta}
  forward: self.forward(x) -> out
  backward: self.backward(dout) -> dx
  gradients: {gamma: self.dgamma, beta: self.dbeta}
  layout: (n, d)
  parameters: (1, d)
  axes: [2, 3]
""",
    "an implementation that is a module": "shape: 4x5\nimplementation: {module: a.b, stub: cv2, layout: as given,"
    " axes: 2, forward: f(x) -> out, backward: g(dout) -> dx}\n",
    "an implementation with nothing to stand in for": "shape: 4x5\nimplementation: {module: a.b, stub: []}\n",
    "one row in eval mode": "shape: [1, 5]\nmode: eval\n",
    "a file without a shape": "x: {file: batch.npy}\n",
    "files without a shape": "eps: 1e-3\ncases: [{x: [{file: batch.npy, finite: false}]}, {x: {file: [batch.npy]}}]\n",
}
GOOD["everything"] = GOOD["everything"].replace("eps: [1e-5, 0]", "eps: [1e-5, 1e-3]") + "shapes: [[4, 5], 6x7]\n"

CALLED_BY = "shape: 4x5\nimplementation: {file: a.py, forward: f(x) -> out, backward: g(dout) -> dx"
WRONG = {
    "no shapes": "eps: 1\n",
    "no shapes beside a draw": "x: {std: 1}\n",
    "a file that is a number": "x: {file: 3}\n",
    "a word for finite": "x: {file: batch.npy, finite: some}\n",
    "a case without shapes": "cases: [{shape: 4x5}, {eps: 1}]\n",
    "an unknown key": "shape: 4x5\nepz: 1\n",
    "an unknown key in a case": "cases: [{shap: 4x5}]\n",
    "an unknown key of x": "shape: 4x5\nx: {sdt: 1}\n",
    "cases in cases": "cases: [{shape: 4x5, cases: []}]\n",
    "no cases": "shape: 4x5\ncases: []\n",
    "both spellings of shape": "shape: 4x5\nshapes: 4x5\n",
    "both spellings of seed": "shape: 4x5\nseed: 0\nseeds: 1\n",
    "a shape of one size": "shape: [4]\n",
    "a shape of six sizes": "shape: [1, 2, 3, 4, 5, 6]\n",
    "a size of zero": "shape: [0, 5]\n",
    "a size that is no whole number": "shape: [4.5, 5]\n",
    "a shape that is no shape": "shape: 4by5\n",
    "a number in quotes": "shape: 4x5\neps: '1e-5'\n",
    "a negative eps": "shape: 4x5\neps: -1\n",
    "an eps that is true": "shape: 4x5\neps: true\n",
    "a std of zero": "shape: 4x5\nx: {std: 0}\n",
    "an unknown word": "shape: 4x5\nmode: trian\n",
    "an unknown word for x": "shape: 4x5\nx: outliers\n",
    "an empty list": "shape: 4x5\neps: []\n",
    "a value twice": "shape: 4x5\nmode: [train, train]\n",
    "an rtol of one": "shape: 4x5\nrtol: 1\n",
    "an axis too far": "shape: 4x5\nchannel_axis: 5\n",
    "a count of no seeds": "shape: 4x5\nseeds: 0\n",
    "a seed too large": "shape: 4x5\nseed: 9223372036854775808\n",
    "a name that is a number": "shape: 4x5\nname: 5\n",
    "a name of two lines": "shape: 4x5\nname: \"a\\nb\"\n",
    "a name with an escape": "shape: 4x5\nname: \"a\\eb\"\n",
    "an empty name": "shape: 4x5\nname: ''\n",
    "no value": "shape: 4x5\neps:\n",
    "an implementation that is a number": "shape: 4x5\nimplementation: 5\n",
    "an implementation that is empty": "shape: 4x5\nimplementation: ''\n",
    "an implementation twice": "shape: 4x5\nimplementation: [reference, reference]\n",
    "an implementation without a file": "shape: 4x5\nimplementation: {stub: [cv2]}\n",
    "an implementation with a file and a module": "shape: 4x5\nimplementation: {file: a.py, module: a}\n",
    "an unknown key of an implementation": "shape: 4x5\nimplementation: {file: a.py, stubs: [cv2]}\n",
    "a forward without a backward": "shape: 4x5\nimplementation: {file: a.py, forward: f(x) -> out}\n",
    "a layout without a forward": "shape: 4x5\nimplementation: {file: a.py, layout: channels first}\n",
    "a stub that is no module": "shape: 4x5\nimplementation: {file: a.py, stub: [a-b]}\n",
    "a stub twice": "shape: 4x5\nimplementation: {file: a.py, stub: [a, a]}\n",
    "a name that cannot be set": CALLED_BY + ", set: {dout: self.dout}}\n",
    "a gradient of nothing": CALLED_BY + ", gradients: {out: self.dout}}\n",
    "two places of a gradient": CALLED_BY + ", gradients: {x: [self.dx, self.dy]}}\n",
    "an unknown layout": CALLED_BY + ", layout: NCHW}\n",
    "too many axes": CALLED_BY + ", axes: 6}\n",
    "no time": "shape: 4x5\ntimeout: 0\n",
    "more than a day": "shape: 4x5\ntimeout: 86401\n",
    "too little memory": "shape: 4x5\nmemory: 63999999\n",
    "memory in an unknown unit": "shape: 4x5\nmemory: 4 GX\n",
    "a list": "[]\n",
}  # fmt: skip


def plain(node: Node | None) -> Any:
    if isinstance(node, MappingNode):
        return {key.value: plain(value) for key, value in node.entries}
    if isinstance(node, ListNode):
        return [plain(item) for item in node.items]
    return node.value if node else None


def errors(content: str) -> list[str]:
    root = document.parse(text_of("small.yaml", content), Mistakes())
    return [error.message for error in jsonschema.Draft202012Validator(schema_of_configs()).iter_errors(plain(root))]


def test_the_schema_is_one_of_draft_2020_12() -> None:
    jsonschema.Draft202012Validator.check_schema(schema_of_configs())


def test_the_schema_in_the_configs_folder_is_current() -> None:
    assert (CONFIGS / "bncheck.schema.json").read_text() == json.dumps(schema_of_configs(), indent=2) + "\n"


@pytest.mark.slow
@pytest.mark.parametrize("content", GOOD.values(), ids=GOOD)
def test_what_the_program_accepts_the_schema_accepts(content: str, tmp_path: Path) -> None:
    np.save(tmp_path / "batch.npy", np.ones((4, 5)))
    (tmp_path / "small.yaml").write_text(content)
    assert config.read(tmp_path / "small.yaml")
    assert errors(content) == []


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG)
def test_what_the_schema_refuses_the_program_refuses(content: str, tmp_path: Path) -> None:
    np.save(tmp_path / "batch.npy", np.ones((4, 5)))
    (tmp_path / "small.yaml").write_text(content)
    with pytest.raises(config.ConfigError):
        config.read(tmp_path / "small.yaml")
    assert errors(content) != []


def test_every_key_has_a_description_in_the_schema() -> None:
    found = schema_of_configs()["$defs"]
    described = [item for name in ("Case", "Draw", "Code") for item in found[name]["properties"].items()]
    assert [name for name, schema in described if not schema.get("description")] == []


def test_the_words_of_a_convention_are_those_that_the_code_knows() -> None:
    assert CODE["layout"].choices == LAYOUTS
    assert CODE["parameters"].choices == PARAMETERS
    assert set(CODE["set"].names) == set(GIVEN) - {"dout", "self"}
    assert tuple(CODE["gradients"].names) == ("x", "gamma", "beta", "mean", "var")
    # What recognition has to say of a convention, where its arrays are, and formulas.
    ours = {"remarks", "by_order", "device", "statements", "statistics"}
    assert set(CALLED) == {field.name for field in dataclasses.fields(Convention)} - ours
    assert set(CODE) == {*CALLED, "file", "module", "root", "stub"}
    assert tuple(implementation.BUILT_IN) == BUILT_IN


def test_defaults_are_those_of_a_case_and_fit_their_keys() -> None:
    properties = schema_of_configs()["$defs"]["Case"]["properties"]
    case = Case(shape=(2, 2))
    given = {name: schema["default"] for name, schema in properties.items() if "default" in schema}
    assert given.pop("x") == {}
    assert given.pop("rtol") == "auto"
    assert given == {name: getattr(case, name) for name in given}
    assert {"eps", "mode", "seed"} <= given.keys()
    for name, value in given.items():
        assert KEYS[name].value_of(value) == value


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (KEYS["mode"], "train or eval"),
        (KEYS["dtype"], "float64, float32, float16 or bfloat16"),
        (KEYS["eps"], "a finite number >= 0"),
        (DRAW["std"], "a finite number > 0"),
        (DRAW["mean"], "a finite number"),
        (KEYS["rtol"], "auto, or a number > 0 and < 1"),
        (KEYS["channel_axis"], "a whole number from -4 to 4"),
        (KEYS["seeds"], "a whole number from 1 to 1000000"),
        (SIZE, "a whole number from 1 to 100000000"),
        (KEYS["name"], "text of 1 to 100 printable characters"),
        (KEYS["shape"], "a shape such as [32, 64] or 32x64"),
        (KEYS["timeout"], "a number > 0 and <= 86400"),
        (KEYS["memory"], "a number of bytes such as 500 MB or 2 GiB, from 64 MB to 1000 TB"),
        (
            KEYS["implementation"],
            "reference, closed-form, a file such as layers.py or a module such as package.module",
        ),
        (CODE["create"], "a call such as BatchNorm(d, eps=eps)"),
        (CODE["set"], "a mapping such as {gamma: self.gamma, beta: self.beta}"),
        (CODE["set"].names["gamma"], "a place such as self.gamma"),
        (CODE["layout"], "as given, (n, d), (d, n), channels first or channels last"),
    ],
)
def test_what_is_expected_is_said_from_the_type(key: Key, expected: str) -> None:
    assert key.expected == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("eps", value) for value in (-1, math.nan, math.inf, -math.inf, True, "1", None, 10**400)),
        *(("channel_axis", value) for value in (-5, 5, 1.0, True, "1")),
        *(("seed", value) for value in (-1, 2**63, 10**400)),
        *(("rtol", value) for value in (0, 1, math.nan, True, "none")),
        *(("timeout", value) for value in (0, -1, math.inf, math.nan, 86400.1, True, "60")),
        *(
            ("memory", value)
            for value in (63_999_999, 10**15 + 1, "63 MB", "1001 TB", "4", "4G", "-4 GB", "4 GB\n", 4e9)
        ),
        *(("implementation", value) for value in (5, "", "a\n", "a\x1b", "a" * 1001, None, True)),
        *(("name", value) for value in ("", "a\n", "a\nb", "\x7f", "\u202e", "\ud800", "a" * 101, 1)),
    ],
)
def test_a_value_out_of_type_or_range_is_refused(name: str, value: object) -> None:
    assert KEYS[name].value_of(value) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("eps", value) for value in (0, 5e-324, 1.7976931348623157e308)),
        *(("channel_axis", value) for value in (-4, 4)),
        *(("seed", value) for value in (0, 2**63 - 1)),
        *(("rtol", value) for value in ("auto", 1e-300, 0.999)),
        *(("timeout", value) for value in (5e-324, 86400)),
        *(("memory", value) for value in (64_000_000, 10**15)),
        *(("implementation", value) for value in ("世界.py", "a" * 1000)),
        *(("name", value) for value in ("世界", "a" * 100, "x.y [1]")),
    ],
)
def test_a_value_at_the_edge_is_accepted(name: str, value: object) -> None:
    assert KEYS[name].value_of(value) == value


def test_a_whole_number_is_accepted_as_a_float() -> None:
    assert type(KEYS["eps"].value_of(1)) is float


def test_only_words_are_choices() -> None:
    assert KEYS["rtol"].choices == ("auto",)
    assert KEYS["eps"].choices == ()
    assert KEYS["memory"].choices == ()
    assert KEYS["implementation"].choices == ()
    assert CODE["set"].choices == ()
