"""A config becomes cases, or every mistake in it is told with its place."""

import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bncheck import config
from bncheck.case import Case, Convention, Origin, XDraw
from bncheck.config import Override, cases, document

TOP = Path(__file__).parents[2]
Parser = type[yaml.CSafeLoader] | type[yaml.SafeLoader]


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


IMPLEMENTATION = "reference, closed-form, a file such as layers.py or a module such as package.module"


def read(content: str, *overrides: str | Override) -> list[Case]:
    with open("small.yaml", "w", encoding="utf-8") as file:
        file.write(content)
    return config.read("small.yaml", overrides)


def labels(content: str, *overrides: str) -> list[str]:
    return [case.label for case in read(content, *overrides)]


def refusal(content: str, *overrides: str | Override) -> str:
    with pytest.raises(config.ConfigError) as error:
        read(content, *overrides)
    return str(error.value)


def says(content: str, *overrides: str) -> list[str]:
    """The first line of each mistake."""
    return [line for line in refusal(content, *overrides).splitlines() if line.startswith("error: ")]


# What is accepted.


def test_the_smallest_config_has_the_defaults_of_a_case() -> None:
    assert read("shape: [4, 5]") == [Case(shape=(4, 5), label="4x5 seed=0", source="small.yaml")]


def test_every_key_comes_into_the_case() -> None:
    content = """\
        name: all
        shape: 5x4
        implementation: closed-form
        mode: eval
        eps: 1
        dtype: float32
        channel_axis: -1
        x: {like: outlier, mean: 2, std: 3, size: 4}
        dout: ones
        gamma: zeros
        beta: ones
        rtol: 1e-3
        unresolved: allow
        blind: fail
        forward: standard
        timeout: 5
        memory: 2 GiB
        seed: 7
        """
    given = textwrap.dedent(content)
    keys = sorted(line.partition(":")[0] for line in given.splitlines() if line)
    assert read(given) == [
        Case(
            shape=(5, 4),
            asked=tuple({"seed": "seeds", "shape": "shapes"}.get(key, key) for key in keys if key != "x"),
            seed=7,
            name="all",
            label="all 5x4 seed=7",
            source="small.yaml",
            implementation="closed-form",
            mode="eval",
            eps=1.0,
            dtype="float32",
            channel_axis=-1,
            x=XDraw(like="outlier", mean=2.0, std=3.0, size=4.0),
            dout="ones",
            gamma="zeros",
            beta="ones",
            rtol=1e-3,
            unresolved="allow",
            blind="fail",
            forward="standard",
            timeout=5.0,
            memory=2 * 1024**3,
        )
    ]


def test_a_case_may_be_blind_unless_its_config_says_otherwise() -> None:
    cases = read("shape: 4x5\ncases: [{}, {blind: fail}, {blind: allow}]\n")
    assert [case.blind for case in cases] == ["allow", "fail", "allow"]


@pytest.mark.parametrize(
    ("written", "shapes"),
    [
        ("shape: [32, 64]", [(32, 64)]),
        ("shapes: [32, 64]", [(32, 64)]),
        ("shape: [[32, 64]]", [(32, 64)]),
        ("shapes: [[32, 64], [8, 3, 6, 6]]", [(32, 64), (8, 3, 6, 6)]),
        ("shapes: 32x64", [(32, 64)]),
        ("shapes: [32x64, [2, 3]]", [(32, 64), (2, 3)]),
        ("shapes:\n- [2, 3, 4, 5, 6]\n- 2x3", [(2, 3, 4, 5, 6), (2, 3)]),
        ("shapes: [[012, 0x1F]]", [(12, 31)]),
        ("shapes: 10000x10000", [(10_000, 10_000)]),
    ],
)
def test_shapes_are_written_as_one_or_a_list(written: str, shapes: list[tuple[int, ...]]) -> None:
    assert [case.shape for case in read(written)] == shapes


@pytest.mark.parametrize(
    ("written", "seeds"),
    [
        ("seed: 3", [3]),
        ("seeds: 3", [0, 1, 2]),
        ("seed: [3, 1]", [3, 1]),
        ("seeds: [3, 1]", [3, 1]),
        ("seeds: [3]", [3]),
        ("seed: 9223372036854775807", [2**63 - 1]),
        ("mode: train", [0]),
    ],
)
def test_a_seed_is_a_seed_and_seeds_are_a_count_or_a_list(written: str, seeds: list[int]) -> None:
    assert [case.seed for case in read(f"shape: 4x5\n{written}")] == seeds


def test_a_matrix_is_the_product_with_shapes_outermost_and_seeds_innermost() -> None:
    content = "seeds: 2\nx: {std: [1, 1e-4]}\nmode: [train, eval]\neps: [1e-5, 1e-8]\nshapes: [4x5, 3x4]\n"
    found = labels(content)
    assert len(found) == len(set(found)) == 32
    assert found[:6] == [
        "4x5 mode=train eps=1e-05 x.std=1 seed=0",
        "4x5 mode=train eps=1e-05 x.std=1 seed=1",
        "4x5 mode=train eps=1e-05 x.std=0.0001 seed=0",
        "4x5 mode=train eps=1e-05 x.std=0.0001 seed=1",
        "4x5 mode=train eps=1e-08 x.std=1 seed=0",
        "4x5 mode=train eps=1e-08 x.std=1 seed=1",
    ]
    assert found[8] == "4x5 mode=eval eps=1e-05 x.std=1 seed=0"
    assert found[16] == "3x4 mode=train eps=1e-05 x.std=1 seed=0"


def test_a_label_has_the_name_and_what_varies() -> None:
    assert labels("name: tiny variance\nshape: 16x8\neps: [1e-5, 1e-8]\ndtype: float32\nrtol: [auto, 0.1]\n") == [
        "tiny variance 16x8 eps=1e-05 rtol=auto seed=0",
        "tiny variance 16x8 eps=1e-05 rtol=0.1 seed=0",
        "tiny variance 16x8 eps=1e-08 rtol=auto seed=0",
        "tiny variance 16x8 eps=1e-08 rtol=0.1 seed=0",
    ]


def test_floats_that_differ_differ_in_the_label() -> None:
    assert labels("shape: 4x5\neps: [1.0000001, 1.0000002, 1e-5]") == [
        "4x5 eps=1.0000001 seed=0",
        "4x5 eps=1.0000002 seed=0",
        "4x5 eps=1e-05 seed=0",
    ]


def test_a_case_inherits_the_top_and_merges_x() -> None:
    content = """\
        eps: 1e-3
        x: {mean: 5, std: 2}
        seeds: 3
        shapes: [4x5]
        cases:
          - {}
          - {name: dense, x: {std: 1e-4}, seed: 9, eps: 1}
          - {shape: 6x7, x: constant}
        """
    cases = read(textwrap.dedent(content))
    assert [case.label for case in cases] == [
        *("4x5 seed=0", "4x5 seed=1", "4x5 seed=2"),
        "dense 4x5 seed=9",
        *("6x7 seed=0", "6x7 seed=1", "6x7 seed=2"),
    ]
    assert [case.x for case in cases[2:5]] == [
        XDraw(mean=5.0, std=2.0),
        XDraw(mean=5.0, std=1e-4),
        XDraw(like="constant", mean=5.0, std=2.0),
    ]
    assert [case.eps for case in cases[2:4]] == [1e-3, 1.0]


def test_a_list_of_x_is_a_matrix_and_merges_with_one_mapping() -> None:
    cases = read("shape: 4x5\nx: {mean: 1}\ncases:\n- x: [normal, {like: outlier, size: [1e3, 1e6]}]\n")
    assert [case.label for case in cases] == [
        "4x5 x.like=normal x.size=1e+06 seed=0",
        "4x5 x.like=outlier x.size=1000 seed=0",
        "4x5 x.like=outlier x.size=1e+06 seed=0",
    ]
    assert {case.x.mean for case in cases} == {1.0}


def test_a_list_of_x_replaces_a_list_of_x() -> None:
    cases = read("shape: 4x5\nx: [{mean: 1}, {mean: 2}]\ncases:\n- x: [{std: 1}, {std: 2}]\n- x: {std: 3}\n")
    assert [(case.x.mean, case.x.std) for case in cases] == [(0, 1), (0, 2), (1, 3), (2, 3)]


def test_the_size_of_an_outlier_is_not_inherited_by_another_draw() -> None:
    cases = read("shape: 4x5\nx: {like: outlier, size: 10}\ncases:\n- x: normal\n- x: {std: 2}\n")
    assert [case.x for case in cases] == [XDraw(), XDraw(like="outlier", std=2.0, size=10.0)]


def test_cases_without_a_name_get_one_where_their_labels_would_be_the_same() -> None:
    content = "shape: 4x5\ncases: [{eps: 1}, {eps: 2}, {name: dense}, {shape: 6x7}]\n"
    assert [(case.name, case.label) for case in read(content)] == [
        ("cases[0]", "cases[0] 4x5 seed=0"),
        ("cases[1]", "cases[1] 4x5 seed=0"),
        ("dense", "dense 4x5 seed=0"),
        ("", "6x7 seed=0"),
    ]


def test_a_name_at_the_top_is_kept_before_that_of_its_cases() -> None:
    assert labels("name: all\nshape: 4x5\ncases: [{eps: 1}, {name: all}]\n") == [
        "all cases[0] 4x5 seed=0",
        "all 4x5 seed=0",
    ]


@pytest.mark.parametrize("content", ["shape: 1x5\nmode: eval", "shape: [2, 5]", "shape: [5, 1]\nchannel_axis: 1"])
def test_two_rows_or_eval_mode_are_accepted(content: str) -> None:
    assert read(content)


def test_n_is_counted_on_the_channel_axis() -> None:
    assert read("shape: [1, 5]\nchannel_axis: 0")
    assert says("shape: [5, 1]\nchannel_axis: 0") == [
        "error: shape (5, 1) has n = 1, and batch statistics of one row are constant"
    ]


def test_anchors_are_read() -> None:
    assert labels("shapes: &s [4x5]\ncases:\n- {name: a, shapes: *s}\n") == ["a 4x5 seed=0"]


def test_as_many_problems_as_allowed_are_accepted_and_one_more_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "PROBLEMS", 6)
    assert len(read("shapes: [4x5, 3x4]\nseeds: 3")) == 6
    assert says("cases:\n- {shapes: [4x5, 3x4], seeds: 3}\n- shape: 4x5\n") == [
        "error: more than 6 problems up to here: 7"
    ]


def test_problems_are_counted_without_being_made() -> None:
    content = "shape: 4x5\nseeds: 1000000\neps: [1, 2, 3]\nx: [{std: [1, 2]}, {mean: [1, 2]}]\n"
    assert refusal(content) == textwrap.dedent("""\
        error: more than 1,000,000 problems up to here: 12,000,000
          --> small.yaml:1:1
        1 | shape: 4x5
          | ^^^^^ shorten the lists, or make several files""")


# What is refused, each with its whole message.

REFUSED = {
    "an unknown key in a case": (
        "cases:\n  - {shap: [32, 64], seeds: [0, 1]}\n",
        """\
        error: unknown key 'shap' in cases[0]
          --> small.yaml:2:6
        2 |   - {shap: [32, 64], seeds: [0, 1]}
          |      ^^^^ did you mean 'shapes'?""",
    ),
    "an unknown key at the top": (
        "batch_size: 3\n",
        """\
        error: unknown key 'batch_size'
          --> small.yaml:1:1
        1 | batch_size: 3
          | ^^^^^^^^^^ did you mean 'shape'?""",
    ),
    "a key of an implementation elsewhere": (
        "shape: 4x5\nimplementation: layers.py\nstub: [cv2]\n",
        """\
        error: unknown key 'stub'
          --> small.yaml:3:1
        3 | stub: [cv2]
          | ^^^^ it belongs to implementation: {stub: ...}""",
    ),
    "limits out of range": (
        "shape: 4x5\ntimeout: [0, 86401, 10s]\nmemory: [63 MB, 1001 TB, 2 GX, '500', 1.5]\n",
        """\
        error: timeout is 0, expected a number > 0 and <= 86400
          --> small.yaml:2:11
        2 | timeout: [0, 86401, 10s]
          |           ^

        error: timeout is 86401, expected a number > 0 and <= 86400
          --> small.yaml:2:14
        2 | timeout: [0, 86401, 10s]
          |              ^^^^^

        error: timeout is '10s', expected a number > 0 and <= 86400
          --> small.yaml:2:21
        2 | timeout: [0, 86401, 10s]
          |                     ^^^

        error: memory is '63 MB', expected a number of bytes such as 500 MB or 2 GiB, from 64 MB to 1000 TB
          --> small.yaml:3:10
        3 | memory: [63 MB, 1001 TB, 2 GX, '500', 1.5]
          |          ^^^^^

        error: memory is '1001 TB', expected a number of bytes such as 500 MB or 2 GiB, from 64 MB to 1000 TB
          --> small.yaml:3:17
        3 | memory: [63 MB, 1001 TB, 2 GX, '500', 1.5]
          |                 ^^^^^^^

        error: memory is '2 GX', expected a number of bytes such as 500 MB or 2 GiB, from 64 MB to 1000 TB
          --> small.yaml:3:26
        3 | memory: [63 MB, 1001 TB, 2 GX, '500', 1.5]
          |                          ^^^^

        error: memory is '500', expected a number of bytes such as 500 MB or 2 GiB, from 64 MB to 1000 TB
          --> small.yaml:3:32
        3 | memory: [63 MB, 1001 TB, 2 GX, '500', 1.5]
          |                                ^^^^^ remove the quotes

        error: memory is 1.5, expected a number of bytes such as 500 MB or 2 GiB, from 64 MB to 1000 TB
          --> small.yaml:3:39
        3 | memory: [63 MB, 1001 TB, 2 GX, '500', 1.5]
          |                                       ^^^""",
    ),
    "the same memory in two spellings": (
        "shape: 4x5\nmemory: [4 GB, 4000000000]\n",
        """\
        error: memory 4000000000 appears twice
          --> small.yaml:2:16
        2 | memory: [4 GB, 4000000000]
          |                ^^^^^^^^^^ remove one of them""",
    ),
    "a key of x elsewhere": (
        "shape: 4x5\nstd: 3\n",
        """\
        error: unknown key 'std'
          --> small.yaml:2:1
        2 | std: 3
          | ^^^ it belongs to x: {std: ...}""",
    ),
    "a merge key": (
        "shape: 4x5\n<<: {eps: 1}\n",
        """\
        error: unknown key '<<'
          --> small.yaml:2:1
        2 | <<: {eps: 1}
          | ^^ YAML 1.2 has no merge key; an entry of cases: inherits what stands at the top""",
    ),
    "cases in cases": (
        "cases:\n- cases: []\n  shape: 4x5\n",
        """\
        error: unknown key 'cases' in cases[0]
          --> small.yaml:2:3
        2 | - cases: []
          |   ^^^^^ cases: stands at the top alone""",
    ),
    "an unknown word": (
        "shape: 4x5\nmode: trian\n",
        """\
        error: mode is 'trian', expected train or eval
          --> small.yaml:2:7
        2 | mode: trian
          |       ^^^^^ did you mean 'train'?""",
    ),
    "a word of others in a list": (
        "shape: 4x5\ndtype: [float32, double]\n",
        """\
        error: dtype is 'double', expected float64, float32, float16 or bfloat16
          --> small.yaml:2:18
        2 | dtype: [float32, double]
          |                  ^^^^^^ did you mean 'float64'?""",
    ),
    "a number in quotes": (
        "shape: 4x5\neps: '1e-5'\n",
        """\
        error: eps is '1e-5', expected a finite number >= 0
          --> small.yaml:2:6
        2 | eps: '1e-5'
          |      ^^^^^^ remove the quotes""",
    ),
    "a number that is text": (
        "shape: 4x5\neps: 1e-5f\n",
        """\
        error: eps is '1e-5f', expected a finite number >= 0
          --> small.yaml:2:6
        2 | eps: 1e-5f
          |      ^^^^^""",
    ),
    "a number that a tag makes text": (
        "shape: 4x5\neps: !!str 5\n",
        """\
        error: eps is '5', expected a finite number >= 0
          --> small.yaml:2:12
        2 | eps: !!str 5
          |            ^""",
    ),
    "true for a number": (
        "shape: 4x5\neps: True\n",
        """\
        error: eps is True, expected a finite number >= 0
          --> small.yaml:2:6
        2 | eps: True
          |      ^^^^""",
    ),
    "no value": (
        "shape: 4x5\neps:\n",
        """\
        error: eps is empty, expected a finite number >= 0
          --> small.yaml:2:5
        2 | eps:
          |     ^""",
    ),
    "not finite": (
        "shape: 4x5\neps: [.nan, .inf]\n",
        """\
        error: eps is .nan, expected a finite number >= 0
          --> small.yaml:2:7
        2 | eps: [.nan, .inf]
          |       ^^^^

        error: eps is .inf, expected a finite number >= 0
          --> small.yaml:2:13
        2 | eps: [.nan, .inf]
          |             ^^^^""",
    ),
    "a mapping for a number": (
        "shape: 4x5\nrtol: {a: 1}\n",
        """\
        error: rtol is a mapping, expected auto, or a number > 0 and < 1
          --> small.yaml:2:7
        2 | rtol: {a: 1}
          |       ^^^^^^""",
    ),
    "a list in a list": (
        "shape: 4x5\nmode: [[train]]\n",
        """\
        error: mode is a list, expected train or eval
          --> small.yaml:2:8
        2 | mode: [[train]]
          |        ^^^^^^^""",
    ),
    "a name that is a number": (
        "shape: 4x5\nname: 5\n",
        """\
        error: name is 5, expected text of 1 to 100 printable characters
          --> small.yaml:2:7
        2 | name: 5
          |       ^ put it in quotes""",
    ),
    "several names": (
        "shape: 4x5\nname: [a, b]\n",
        """\
        error: name is a list, expected text of 1 to 100 printable characters
          --> small.yaml:2:7
        2 | name: [a, b]
          |       ^^^^^^""",
    ),
    "a name that would move the cursor": (
        'shape: 4x5\nname: "a\\eb"\n',
        """\
        error: name is 'a\\x1bb', expected text of 1 to 100 printable characters
          --> small.yaml:2:7
        2 | name: "a\\eb"
          |       ^^^^^^""",
    ),
    "empty lists": (
        "shapes: []\nseeds: []\nmode: []\nx: []\n",
        """\
        error: shapes is an empty list, expected a shape such as [32, 64] or 32x64
          --> small.yaml:1:9
        1 | shapes: []
          |         ^^

        error: seeds is an empty list, expected a whole number from 0 to 9223372036854775807
          --> small.yaml:2:8
        2 | seeds: []
          |        ^^

        error: mode is an empty list, expected train or eval
          --> small.yaml:3:7
        3 | mode: []
          |       ^^

        error: x is an empty list, expected a mapping such as {std: 2}, or normal, outlier or constant
          --> small.yaml:4:4
        4 | x: []
          |    ^^""",
    ),
    "the same value twice": (
        "shapes: [[3, 4], 3x4]\neps: [1e-5, 0.00001]\nseeds: [7, 7]\n",
        """\
        error: shape (3, 4) appears twice
          --> small.yaml:1:18
        1 | shapes: [[3, 4], 3x4]
          |                  ^^^ remove one of them

        error: eps 1e-05 appears twice
          --> small.yaml:2:13
        2 | eps: [1e-5, 0.00001]
          |             ^^^^^^^ remove one of them

        error: seed 7 appears twice
          --> small.yaml:3:12
        3 | seeds: [7, 7]
          |            ^ remove one of them""",
    ),
    "the same draw twice": (
        "shape: 4x5\nx: [{std: [1, 2]}, {std: 2}]\n",
        """\
        error: this x asks for a draw that another x asks for
          --> small.yaml:2:20
        2 | x: [{std: [1, 2]}, {std: 2}]
          |                    ^^^^^^^^ remove one of them""",
    ),
    "a key in both spellings": (
        "shape: 4x5\nshapes: 3x4\n",
        """\
        error: both shape and shapes are given
          --> small.yaml:2:1
        2 | shapes: 3x4
          | ^^^^^^ keep one of them""",
    ),
    "a shape that is a number": (
        "shape: 32\n",
        """\
        error: shape is 32, expected a shape such as [32, 64] or 32x64
          --> small.yaml:1:8
        1 | shape: 32
          |        ^^""",
    ),
    "a shape in other words": (
        "shapes: [32by64, 0x64, 4x0]\n",
        """\
        error: shapes is '32by64', expected a shape such as [32, 64] or 32x64
          --> small.yaml:1:10
        1 | shapes: [32by64, 0x64, 4x0]
          |          ^^^^^^

        error: shapes is 0x64, expected a shape such as [32, 64] or 32x64
          --> small.yaml:1:18
        1 | shapes: [32by64, 0x64, 4x0]
          |                  ^^^^

        error: shapes is '4x0', expected a shape such as [32, 64] or 32x64
          --> small.yaml:1:24
        1 | shapes: [32by64, 0x64, 4x0]
          |                        ^^^""",
    ),
    "sizes that are none": (
        "shape: [32.0, '4', true, 0, {}]\n",
        """\
        error: a size in shape is 32.0, expected a whole number from 1 to 100000000
          --> small.yaml:1:9
        1 | shape: [32.0, '4', true, 0, {}]
          |         ^^^^

        error: a size in shape is '4', expected a whole number from 1 to 100000000
          --> small.yaml:1:15
        1 | shape: [32.0, '4', true, 0, {}]
          |               ^^^ remove the quotes

        error: a size in shape is true, expected a whole number from 1 to 100000000
          --> small.yaml:1:20
        1 | shape: [32.0, '4', true, 0, {}]
          |                    ^^^^

        error: a size in shape is 0, expected a whole number from 1 to 100000000
          --> small.yaml:1:26
        1 | shape: [32.0, '4', true, 0, {}]
          |                          ^

        error: a size in shape is a mapping, expected a whole number from 1 to 100000000
          --> small.yaml:1:29
        1 | shape: [32.0, '4', true, 0, {}]
          |                             ^^""",
    ),
    "a shape of one size": (
        "shapes: [[4]]\n",
        """\
        error: shape (4,) has 1 size, expected 2 to 5
          --> small.yaml:1:10
        1 | shapes: [[4]]
          |          ^^^ write (N, D), (N, C, L), (N, C, H, W) or (N, C, D, H, W)""",
    ),
    "a shape of six sizes": (
        "shape: [1, 2, 3, 4, 5, 6]\n",
        """\
        error: shape (1, 2, 3, 4, 5, 6) has 6 sizes, expected 2 to 5
          --> small.yaml:1:8
        1 | shape: [1, 2, 3, 4, 5, 6]
          |        ^^^^^^^^^^^^^^^^^^ write (N, D), (N, C, L), (N, C, H, W) or (N, C, D, H, W)""",
    ),
    "too many elements": (
        "shape: 10000x10001\n",
        """\
        error: shape (10000, 10001) has 100,010,000 elements, expected at most 100,000,000
          --> small.yaml:1:8
        1 | shape: 10000x10001
          |        ^^^^^^^^^^^ use a smaller one""",
    ),
    "one row": (
        "eps: 1\nshapes: [[4, 5], [1, 5]]\nmode: [eval, train]\n",
        """\
        error: shape (1, 5) has n = 1, and batch statistics of one row are constant
          --> small.yaml:2:18
        2 | shapes: [[4, 5], [1, 5]]
          |                  ^^^^^^ use n >= 2, or mode: eval""",
    ),
    "an axis that the shape has not": (
        "shapes: [4x5, 4x5x6]\nchannel_axis: [2, -3]\n",
        """\
        error: channel_axis is 2, and shape (4, 5) has axes -2 to 1
          --> small.yaml:2:16
        2 | channel_axis: [2, -3]
          |                ^ name the axis of the channels

        error: channel_axis is -3, and shape (4, 5) has axes -2 to 1
          --> small.yaml:2:19
        2 | channel_axis: [2, -3]
          |                   ^^ name the axis of the channels""",
    ),
    "no variance and no eps": (
        "shape: 4x5\neps: [1e-5, 0]\nx: {like: [normal, constant]}\n",
        """\
        error: eps is 0 and x has a constant feature: variance + eps would be 0
          --> small.yaml:2:13
        2 | eps: [1e-5, 0]
          |             ^ use eps > 0""",
    ),
    "the size of what is no outlier": (
        "shape: 4x5\nx: {like: [outlier, normal], size: 3}\n",
        """\
        error: size belongs to like: outlier
          --> small.yaml:2:36
        2 | x: {like: [outlier, normal], size: 3}
          |                                    ^ write like: outlier, or leave size out""",
    ),
    "an unknown key of x": (
        "shape: 4x5\nx: {sdt: 3, std: -1}\n",
        """\
        error: unknown key 'sdt' in x
          --> small.yaml:2:5
        2 | x: {sdt: 3, std: -1}
          |     ^^^ did you mean 'std'?

        error: x.std is -1, expected a finite number > 0
          --> small.yaml:2:18
        2 | x: {sdt: 3, std: -1}
          |                  ^^""",
    ),
    "x that is neither mapping nor word": (
        "shape: 4x5\nx: [5, outliers]\n",
        """\
        error: x is 5, expected a mapping such as {std: 2}, or normal, outlier or constant
          --> small.yaml:2:5
        2 | x: [5, outliers]
          |     ^

        error: x is 'outliers', expected normal, outlier or constant
          --> small.yaml:2:8
        2 | x: [5, outliers]
          |        ^^^^^^^^ did you mean 'outlier'?""",
    ),
    "no seeds": (
        "shape: 4x5\nseeds: 0\n",
        """\
        error: seeds is 0, expected a whole number from 1 to 1000000
          --> small.yaml:2:8
        2 | seeds: 0
          |        ^""",
    ),
    "a seed below zero": (
        "shape: 4x5\nseed: -1\n",
        """\
        error: seed is -1, expected a whole number from 0 to 9223372036854775807
          --> small.yaml:2:7
        2 | seed: -1
          |       ^^""",
    ),
    "no shapes": (
        "# mine\n\nseeds: 3\nmode: eval\n",
        """\
        error: no shapes are given
          --> small.yaml:3:1
        3 | seeds: 3
          | ^^^^^ write shapes: [[32, 64]]""",
    ),
    "no shapes in a case": (
        "seeds: 3\ncases:\n- shape: 4x5\n- mode: eval\n- {}\n",
        """\
        error: no shapes are given in cases[1]
          --> small.yaml:4:3
        4 | - mode: eval
          |   ^^^^ write shapes: [[32, 64]]

        error: no shapes are given in cases[2]
          --> small.yaml:5:3
        5 | - {}
          |   ^^ write shapes: [[32, 64]]""",
    ),
    "no cases": (
        "shape: 4x5\ncases: []\n",
        """\
        error: cases is an empty list, expected a list of mappings
          --> small.yaml:2:8
        2 | cases: []
          |        ^^""",
    ),
    "cases that are a mapping": (
        "shape: 4x5\ncases:\n  dense: {}\n",
        """\
        error: cases is a mapping, expected a list of mappings
          --> small.yaml:3:3
        3 |   dense: {}
          |   ^^^^^ begin each entry with '- '""",
    ),
    "a case that is a word": (
        "shape: 4x5\ncases:\n- dense\n-\n",
        """\
        error: cases[0] is 'dense', expected a mapping such as {shapes: [[32, 64]]}
          --> small.yaml:3:3
        3 | - dense
          |   ^^^^^

        error: cases[1] is empty, expected a mapping such as {shapes: [[32, 64]]}
          --> small.yaml:4:2
        4 | -
          |  ^""",
    ),
    "two cases of one name": (
        "shape: 4x5\ncases:\n- name: dense\n- {eps: 1, name: dense}\n",
        """\
        error: two cases are called 'dense', with the label 'dense 4x5 seed=0'
          --> small.yaml:4:18
        4 | - {eps: 1, name: dense}
          |                  ^^^^^ give one of them another name""",
    ),
    "a name that another case would get": (
        "shape: 4x5\ncases: [{name: 'cases[1]'}, {eps: 1}, {eps: 2}]\n",
        """\
        error: two cases are called 'cases[1]', with the label 'cases[1] 4x5 seed=0'
          --> small.yaml:2:30
        2 | cases: [{name: 'cases[1]'}, {eps: 1}, {eps: 2}]
          |                              ^^^ give one of them another name""",
    ),
    "the mistake of an alias": (
        "shape: 4x5\neps: &e -1\ncases: [{eps: *e}]\n",
        """\
        error: eps is -1, expected a finite number >= 0
          --> small.yaml:2:9
        2 | eps: &e -1
          |         ^^""",
    ),
    "nothing": ("", "error: small.yaml is empty; write, for example, shapes: [[32, 64]]"),
    "only a comment": ("# a\n", "error: small.yaml is empty; write, for example, shapes: [[32, 64]]"),
    "a list": (
        "- shape: 4x5\n",
        """\
        error: the config is a list, expected a mapping of keys
          --> small.yaml:1:1
        1 | - shape: 4x5
          | ^ write, for example, shapes: [[32, 64]]""",
    ),
    "text": (
        "hello\n",
        """\
        error: the config is 'hello', expected a mapping of keys
          --> small.yaml:1:1
        1 | hello
          | ^^^^^ write, for example, shapes: [[32, 64]]""",
    ),
}


@pytest.mark.parametrize(("content", "block"), REFUSED.values(), ids=REFUSED)
def test_a_mistake_is_told_with_its_place(content: str, block: str) -> None:
    assert refusal(content) == textwrap.dedent(block)


def test_mistakes_of_all_kinds_are_told_at_once_in_the_order_of_their_places() -> None:
    assert says("1: a\nmode: trian\neps: 1\nshape: 1x5\neps: 2\ncases:\n- {epz: 1}\n- {seeds: 0}\n- 5\n") == [
        "error: a key is 1, expected text",
        "error: mode is 'trian', expected train or eval",
        "error: key 'eps' appears twice, first in line 3",
        "error: unknown key 'epz' in cases[0]",
        "error: seeds is 0, expected a whole number from 1 to 1000000",
        "error: cases[2] is 5, expected a mapping such as {shapes: [[32, 64]]}",
    ]


def test_after_a_hundred_mistakes_the_rest_is_not_looked_for() -> None:
    found = says("\n".join(f"key{number}: 1" for number in range(30_000)))
    assert len(found) == 101
    assert found[-1] == "error: there are more than these 100 mistakes; correct them first"


def test_an_error_can_be_sent_to_another_process() -> None:
    with pytest.raises(config.ConfigError) as error:
        read("shape: 4x5\nepz: 1")
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)


# Implementations.


def origins(content: str, *overrides: str | Override) -> list[Origin | None]:
    return [case.origin for case in read(content, *overrides)]


@pytest.mark.parametrize(
    ("written", "place"),
    [
        ("layers.py", "layers.py"),
        ("layers.py:BatchNorm", "layers.py:BatchNorm"),
        ("nets/../dir//layers.py:BatchNorm", "dir/layers.py:BatchNorm"),
        ("./layers", "./layers"),
        ("no-suffix", "no-suffix"),
        ("layers", "layers"),
        ("inference", "inference"),
        ("layers:BatchNorm", "layers:BatchNorm"),
        ("package.module", "package.module"),
        ("package.module:bn", "package.module:bn"),
        ("reference.py", "reference.py"),
        ("{file: layers.py}", "layers.py"),
        ("{module: package.module}", "package.module"),
        ("{file: reference_}", "reference_"),
        ("preference", "preference"),
    ],
)
def test_an_implementation_is_a_file_or_a_module(written: str, place: str) -> None:
    Path("preference.py").touch()
    if written == "no-suffix":
        Path(written).touch()
    (case,) = read(f"shape: 4x5\nimplementation: {written}\n")
    assert case.origin == Origin(place=place)
    assert case.implementation == written.strip("{}").removeprefix("file: ").removeprefix("module: ")


@pytest.mark.parametrize("written", ["reference", "closed-form"])
def test_an_implementation_of_ours_has_no_origin(written: str) -> None:
    assert [(case.implementation, case.origin) for case in read(f"shape: 4x5\nimplementation: {written}\n")] == [
        (written, None)
    ]


def test_a_path_is_looked_for_beside_the_config_and_then_in_the_current_folder() -> None:
    Path("sub").mkdir()
    for there in ("here.py", "both.py", "sub/both.py", "sub/there.py", "sub/plain"):
        Path(there).touch()
    for folder in ("src", "sub/nets"):
        Path(folder).mkdir()
    written = "[here.py, both.py:A, there.py, plain, none.py, {file: ../here.py:B, root: src}, {module: m, root: nets}]"
    Path("sub/small.yaml").write_text(f"shape: 4x5\nimplementation: {written}\n")
    expected = [
        Origin(place="here.py"),
        Origin(place="sub/both.py:A"),
        Origin(place="sub/there.py"),
        Origin(place="sub/plain"),
        Origin(place="sub/none.py"),
        Origin(place="here.py:B", root="src"),
        Origin(place="m", root="sub/nets"),
    ]
    assert [case.origin for case in config.read("sub/small.yaml")] == expected
    assert [case.origin for case in config.read(Path("sub/small.yaml").absolute())] == expected


def test_a_path_in_an_override_is_looked_for_in_the_current_folder() -> None:
    Path("sub").mkdir()
    Path("sub/layers.py").touch()
    Path("sub/small.yaml").write_text("shape: 4x5\nimplementation: layers.py\n")
    assert [case.origin for case in config.read("sub/small.yaml", ["implementation=layers.py"])] == [
        Origin(place="layers.py")
    ]
    assert [case.origin for case in config.read("sub/small.yaml", ["implementation={module: a, root: .}"])] == [
        Origin(place="a", root=".")
    ]


def test_a_path_outside_of_the_current_folder_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("sub").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir("sub")
    assert origins("shape: 4x5\nimplementation: [../layers.py, ~/layers.py, ../sub/layers.py, ~other/../a.py]\n") == [
        Origin(place=str(tmp_path / "layers.py")),
        Origin(place=str(tmp_path / "home" / "layers.py")),
        Origin(place="layers.py"),
        Origin(place="a.py"),
    ]


def test_implementations_are_told_apart_in_the_label() -> None:
    assert labels("shape: 4x5\nimplementation: [reference, layers.py, {file: dir/a.py:BN}]\neps: [1, 2]\n")[1:4] == [
        "4x5 implementation=reference eps=2 seed=0",
        "4x5 implementation=layers.py eps=1 seed=0",
        "4x5 implementation=layers.py eps=2 seed=0",
    ]


def test_a_case_takes_its_own_implementation_whole() -> None:
    content = "shape: 4x5\nimplementation: {file: a.py, stub: [cv2]}\ncases: [{name: a}, {implementation: b.py}]\n"
    assert origins(content) == [Origin(place="a.py", stub=("cv2",)), Origin(place="b.py")]


@pytest.mark.parametrize(
    "key", ["create: BatchNorm(x)", "set: {x: self.x}", "set: {x: self.put(x)}"], ids=["create", "set", "a call"]
)
def test_forward_need_not_mention_an_x_that_is_handed_over_before_it(key: str) -> None:
    content = (
        f"shape: 4x5\nimplementation:\n  file: layers.py\n  {key}\n"
        "  forward: self.forward() -> out\n  backward: self.backward(dout) -> dx\n"
    )
    (origin,) = origins(content)
    assert origin is not None
    assert origin.convention is not None
    assert origin.convention.forward == "self.forward() -> out"


def test_every_key_of_an_implementation_comes_into_its_origin() -> None:
    content = """\
        shape: 4x5
        implementation:
          file: layers.py:BatchNorm
          root: .
          stub: cv2
          create: BatchNorm(d, eps=eps)
          build: self.forward(x)
          set: {gamma: [self.gamma, self.w], "n": "self.params['n']"}
          forward: self.forward(x, training=True) -> out
          backward: |
            self.backward(dout)
          gradients: {x: self.dx, gamma: update(self.gamma), mean: self.dmean}
          layout: (d, n)
          parameters: (d, 1)
          axes: [2, 4]
        """
    assert origins(textwrap.dedent(content)) == [
        Origin(
            place="layers.py:BatchNorm",
            root=".",
            stub=("cv2",),
            convention=Convention(
                create="BatchNorm(d, eps=eps)",
                build="self.forward(x)",
                set=(("gamma", "self.gamma"), ("gamma", "self.w"), ("n", "self.params['n']")),
                forward="self.forward(x, training=True) -> out",
                backward="self.backward(dout)",
                gradients=(("x", "self.dx"), ("gamma", "update(self.gamma)"), ("mean", "self.dmean")),
                layout="(d, n)",
                parameters="(d, 1)",
                axes=(2, 4),
            ),
        )
    ]


def test_a_pattern_with_a_dict_in_it_needs_no_quotes() -> None:
    content = """\
        shape: 4x5
        implementation:
          file: layers.py
          forward:  batchnorm_forward(x, gamma, beta, {'mode': 'train', 'eps': eps}) -> out, cache
          backward: batchnorm_backward(dout, cache) -> dx, dgamma, dbeta   # {a: b}
        """
    (origin,) = origins(textwrap.dedent(content))
    assert origin is not None
    assert origin.convention == Convention(
        forward="batchnorm_forward(x, gamma, beta, {'mode': 'train', 'eps': eps}) -> out, cache",
        backward="batchnorm_backward(dout, cache) -> dx, dgamma, dbeta",
    )


def test_every_mapping_of_the_zoo_is_read_as_it_stands() -> None:
    entries = [entry for entry in yaml.safe_load((TOP / "tests/zoo/manifest.yaml").read_text()) if "how" in entry]
    for entry in entries:
        given = {"shape": [4, 5], "implementation": {"file": entry["place"], **entry["how"]}}
        (origin,) = origins(yaml.safe_dump(given, sort_keys=False))
        pairs = {key: tuple(entry["how"][key].items()) for key in ("set", "gradients") if key in entry["how"]}
        assert origin is not None
        assert origin.convention == Convention(**{**entry["how"], **pairs})


REFUSED_IMPLEMENTATIONS = {
    "a word that is nearly one of ours": (
        "shape: 4x5\nimplementation: [referense, closed_form]\n",
        f"""\
        error: implementation is 'referense', expected {IMPLEMENTATION}
          --> small.yaml:2:18
        2 | implementation: [referense, closed_form]
          |                  ^^^^^^^^^ did you mean 'reference'?

        error: implementation is 'closed_form', expected {IMPLEMENTATION}
          --> small.yaml:2:29
        2 | implementation: [referense, closed_form]
          |                             ^^^^^^^^^^^ did you mean 'closed-form'?""",
    ),
    "what can be neither a file nor a module": (
        "shape: 4x5\nimplementation: [my layers, a..b, 5, [a.py], 'layers.py:', 'layers.py:2', '']\n",
        f"""\
        error: implementation is 'my layers', expected {IMPLEMENTATION}
          --> small.yaml:2:18
        2 | implementation: [my layers, a..b, 5, [a.py], 'layers.py:', 'layers.py:2', '']
          |                  ^^^^^^^^^

        error: implementation is 'a..b', expected {IMPLEMENTATION}
          --> small.yaml:2:29
        2 | implementation: [my layers, a..b, 5, [a.py], 'layers.py:', 'layers.py:2', '']
          |                             ^^^^

        error: implementation is 5, expected {IMPLEMENTATION}
          --> small.yaml:2:35
        2 | implementation: [my layers, a..b, 5, [a.py], 'layers.py:', 'layers.py:2', '']
          |                                   ^

        error: implementation is a list, expected {IMPLEMENTATION}
          --> small.yaml:2:38
        2 | implementation: [my layers, a..b, 5, [a.py], 'layers.py:', 'layers.py:2', '']
          |                                      ^^^^^^

        error: implementation is 'layers.py:', expected {IMPLEMENTATION}
          --> small.yaml:2:46
        2 | implementation: [my layers, a..b, 5, [a.py], 'layers.py:', 'layers.py:2', '']
          |                                              ^^^^^^^^^^^^ \
name something in it, as in layers.py:BatchNorm, or leave the ':' out

        error: implementation is 'layers.py:2', expected {IMPLEMENTATION}
          --> small.yaml:2:60
        2 | implementation: [my layers, a..b, 5, [a.py], 'layers.py:', 'layers.py:2', '']
          |                                                            ^^^^^^^^^^^^^

        error: implementation is '', expected {IMPLEMENTATION}
          --> small.yaml:2:75
        2 | implementation: [my layers, a..b, 5, [a.py], 'layers.py:', 'layers.py:2', '']
          |                                                                           ^^""",
    ),
    "none": (
        "shape: 4x5\nimplementation: []\ncases:\n- implementation:\n",
        f"""\
        error: implementation is an empty list, expected {IMPLEMENTATION}
          --> small.yaml:2:17
        2 | implementation: []
          |                 ^^

        error: implementation is empty, expected {IMPLEMENTATION}
          --> small.yaml:4:18
        4 | - implementation:
          |                  ^""",
    ),
    "the same one twice": (
        "shape: 4x5\nimplementation: [a.py, ./a.py, {file: a.py, stub: [cv2]}, reference, reference]\n",
        """\
        error: implementation ./a.py appears twice
          --> small.yaml:2:24
        2 | implementation: [a.py, ./a.py, {file: a.py, stub: [cv2]}, reference, reference]
          |                        ^^^^^^ remove one of them

        error: implementation a.py appears twice
          --> small.yaml:2:32
        2 | implementation: [a.py, ./a.py, {file: a.py, stub: [cv2]}, reference, reference]
          |                                ^^^^^^^^^^^^^^^^^^^^^^^^^ tell them apart, as in a.py:BatchNorm

        error: implementation reference appears twice
          --> small.yaml:2:70
        2 | implementation: [a.py, ./a.py, {file: a.py, stub: [cv2]}, reference, reference]
          |                                                                      ^^^^^^^^^ remove one of them""",
    ),
    "unknown keys": (
        "shape: 4x5\nimplementation: {fiel: a.py, set: {gama: self.g}, gradients: {out: self.g}}\n",
        """\
        error: implementation has no file
          --> small.yaml:2:17
        2 | implementation: {fiel: a.py, set: {gama: self.g}, gradients: {out: self.g}}
          |                 ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ \
write file: layers.py, or module: package.module

        error: unknown key 'fiel' in implementation
          --> small.yaml:2:18
        2 | implementation: {fiel: a.py, set: {gama: self.g}, gradients: {out: self.g}}
          |                  ^^^^ did you mean 'file'?

        error: set is given in implementation, and forward and backward are not
          --> small.yaml:2:30
        2 | implementation: {fiel: a.py, set: {gama: self.g}, gradients: {out: self.g}}
          |                              ^^^ give forward and backward; without all of these they are found

        error: unknown key 'gama' in implementation.set
          --> small.yaml:2:36
        2 | implementation: {fiel: a.py, set: {gama: self.g}, gradients: {out: self.g}}
          |                                    ^^^^ did you mean 'gamma'?

        error: unknown key 'out' in implementation.gradients
          --> small.yaml:2:63
        2 | implementation: {fiel: a.py, set: {gama: self.g}, gradients: {out: self.g}}
          |                                                               ^^^""",
    ),
    "a key twice, and in both spellings": (
        "shape: 4x5\nimplementation:\n  file: a.py\n  root: .\n  root: src\n  module: b\n",
        """\
        error: key 'root' appears twice, first in line 4
          --> small.yaml:5:3
        5 |   root: src
          |   ^^^^ remove one of them

        error: both file and module are given in implementation
          --> small.yaml:6:3
        6 |   module: b
          |   ^^^^^^ keep one of them""",
    ),
    "one of ours as a file": (
        "shape: 4x5\nimplementation: {file: reference}\n",
        """\
        error: implementation.file is 'reference', expected a file such as layers.py or a module such as package.module
          --> small.yaml:2:24
        2 | implementation: {file: reference}
          |                        ^^^^^^^^^ write implementation: reference""",
    ),
    "forward without backward": (
        "shape: 4x5\nimplementation: {file: a.py, create: A(), forward: self.f(x) -> out}\n",
        """\
        error: forward is given in implementation, and backward is not
          --> small.yaml:2:43
        2 | implementation: {file: a.py, create: A(), forward: self.f(x) -> out}
          |                                           ^^^^^^^ \
give forward and backward; without all of these they are found""",
    ),
    "a value that ends at its comma": (
        "shape: 4x5\nimplementation: {file: a.py, backward: f(dout, cache) -> dx, forward: 'f(x) -> out'}\n",
        """\
        error: '->' is missing
          --> small.yaml:2:40
        2 | implementation: {file: a.py, backward: f(dout, cache) -> dx, forward: 'f(x) -> out'}
          |                                        ^^^^^^ say where the result goes, as in self.backward(dout) -> dx

        error: unknown key 'cache) -> dx' in implementation
          --> small.yaml:2:48
        2 | implementation: {file: a.py, backward: f(dout, cache) -> dx, forward: 'f(x) -> out'}
          |                                                ^^^^^^^^^^^^ put a value that has a ',' in quotes""",
    ),
    "values of other types": (
        """\
shape: 4x5
implementation:
  file: 5
  root: [src]
  stub: [cv2, a-b, cv2, [x]]
  create: {a: b}
  set: self.gamma
  forward:
  backward: true
  gradients: [self.dgamma]
  layout: NCHW
  parameters: (D,)
  axes: [2, 2, 6]
""",
        """\
        error: implementation.file is 5, expected a file such as layers.py or a module such as package.module
          --> small.yaml:3:9
        3 |   file: 5
          |         ^ put it in quotes

        error: implementation.root is a list, expected a folder such as src
          --> small.yaml:4:9
        4 |   root: [src]
          |         ^^^^^

        error: implementation.stub is 'a-b', expected a module such as cv2
          --> small.yaml:5:15
        5 |   stub: [cv2, a-b, cv2, [x]]
          |               ^^^

        error: implementation.stub cv2 appears twice
          --> small.yaml:5:20
        5 |   stub: [cv2, a-b, cv2, [x]]
          |                    ^^^ remove one of them

        error: implementation.stub is a list, expected a module such as cv2
          --> small.yaml:5:25
        5 |   stub: [cv2, a-b, cv2, [x]]
          |                         ^^^

        error: implementation.create is a mapping, expected a call such as BatchNorm(d, eps=eps)
          --> small.yaml:6:11
        6 |   create: {a: b}
          |           ^^^^^^

        error: implementation.set is 'self.gamma', expected a mapping such as {gamma: self.gamma, beta: self.beta}
          --> small.yaml:7:8
        7 |   set: self.gamma
          |        ^^^^^^^^^^

        error: implementation.forward is empty, expected a pattern such as self.forward(x) -> out
          --> small.yaml:8:11
        8 |   forward:
          |           ^

        error: implementation.backward is true, expected a pattern such as self.backward(dout) -> dx
          --> small.yaml:9:13
        9 |   backward: true
          |             ^^^^ put it in quotes

        error: implementation.gradients is a list, expected a mapping such as {gamma: self.dgamma, beta: self.dbeta}
           --> small.yaml:10:14
        10 |   gradients: [self.dgamma]
           |              ^^^^^^^^^^^^^

        error: implementation.layout is 'NCHW', expected as given, (n, d), (d, n), channels first or channels last
           --> small.yaml:11:11
        11 |   layout: NCHW
           |           ^^^^ did you mean 'channels first'?

        error: implementation.parameters is '(D,)', expected (d,), (1, d), (d, 1), (d, 1, 1), (1, d, 1, 1), \
(1, 1, 1, d), () or (1,)
           --> small.yaml:12:15
        12 |   parameters: (D,)
           |               ^^^^ did you mean '(d,)'?

        error: implementation.axes 2 appears twice
           --> small.yaml:13:13
        13 |   axes: [2, 2, 6]
           |             ^ remove one of them

        error: implementation.axes is 6, expected a whole number from 2 to 5
           --> small.yaml:13:16
        13 |   axes: [2, 2, 6]
           |                ^""",
    ),
    "patterns, each at its place": (
        """\
shape: 4x5
implementation:
  file: a.py
  create: A(d) -> self
  build: ' '
  set: {gamma: [self.gamma, self.gamma()], beta: "self.p[\\"b\\"] + 1"}
  forward: f(x, {'mode': n + 1}) -> out
  backward: >-
    f(dout,

      lambda: 1)
    -> dx
  gradients: {gamma: self.dgamma + 0, beta: 'self[''b''] * n', mean: [self.dmean]}
""",
        """\
        error: nothing is taken from the result here
          --> small.yaml:4:16
        4 |   create: A(d) -> self
          |                ^^ leave out '->' and what follows

        error: the pattern is empty
          --> small.yaml:5:10
        5 |   build: ' '
          |          ^^^ write a call, an attribute or an item

        error: this is no place to put a value
          --> small.yaml:6:29
        6 |   set: {gamma: [self.gamma, self.gamma()], beta: "self.p[\\"b\\"] + 1"}
          |                             ^^^^^^^^^^^^ write a place such as self.gamma, or self.set_gamma(gamma)

        error: a pattern has names, attributes, constant subscripts, calls, tuples, dicts and constants; found a sum
          --> small.yaml:6:51
        6 |   set: {gamma: [self.gamma, self.gamma()], beta: "self.p[\\"b\\"] + 1"}
          |                                                   ^^^^^^^^^^^^^^^^^ do it in your file, and call that here

        error: a pattern has names, attributes, constant subscripts, calls, tuples, dicts and constants; found a sum
          --> small.yaml:7:26
        7 |   forward: f(x, {'mode': n + 1}) -> out
          |                          ^^^^^ do it in your file, and call that here

        error: a pattern has names, attributes, constant subscripts, calls, tuples, dicts and constants; found a lambda
           --> small.yaml:11:7
        11 |       lambda: 1)
           |       ^^^^^^^^^ do it in your file, and call that here

        error: a pattern has names, attributes, constant subscripts, calls, tuples, dicts and constants; found a sum
           --> small.yaml:13:22
        13 |   gradients: {gamma: self.dgamma + 0, beta: 'self[''b''] * n', mean: [self.dmean]}
           |                      ^^^^^^^^^^^^^^^ do it in your file, and call that here

        error: a pattern has names, attributes, constant subscripts, calls, tuples, dicts and constants; found a product
           --> small.yaml:13:46
        13 |   gradients: {gamma: self.dgamma + 0, beta: 'self[''b''] * n', mean: [self.dmean]}
           |                                              ^^^^^^^^^^^^^^^ do it in your file, and call that here

        error: implementation.gradients.mean is a list, expected a place such as self.dgamma
           --> small.yaml:13:70
        13 |   gradients: {gamma: self.dgamma + 0, beta: 'self[''b''] * n', mean: [self.dmean]}
           |                                                                      ^^^^^^^^^^^^""",
    ),
    "what backward does not give where its place is not said": (
        "shape: 4x5\nimplementation:\n  file: a.py\n  forward: f(x) -> out\n  backward: g(dout) -> dgamma\n"
        "  gradients: {gamma: dgamma}\n",
        """\
        error: backward has no 'dx' among its targets
          --> small.yaml:5:24
        5 |   backward: g(dout) -> dgamma
          |                        ^^^^^^ call the gradient at x 'dx'""",
    ),
}


@pytest.mark.parametrize(("content", "block"), REFUSED_IMPLEMENTATIONS.values(), ids=REFUSED_IMPLEMENTATIONS)
def test_a_mistake_in_an_implementation_is_told_with_its_place(content: str, block: str) -> None:
    assert refusal(content) == textwrap.dedent(block)


def test_a_mistake_that_all_cases_inherit_is_told_once() -> None:
    content = "shape: 4x5\nimplementation: {file: a.py, forward: f(x)}\ncases: [{name: a}, {name: b}]\n"
    assert len(says(content)) == 2


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("64000000", 64_000_000),
        ("64 MB", 64_000_000),
        ("1.5gb", 1_500_000_000),
        ("2 GiB", 2 * 1024**3),
        ("1 TiB", 1024**4),
        ("100000 kB", 100_000_000),
        ("1000 TB", 10**15),
    ],
)
def test_memory_is_a_number_of_bytes_or_text_with_a_unit(written: str, size: int) -> None:
    assert [case.memory for case in read(f"shape: 4x5\nmemory: {written}\n")] == [size]


# Overrides.


def test_an_override_beats_the_top_and_every_case() -> None:
    content = "shape: 4x5\nseeds: 3\neps: 1\nx: {mean: 2}\ncases: [{eps: [2, 3], seed: 4}, {shapes: [3x4, 5x6]}]\n"
    cases = read(content, "shapes=[7x8]", "seed=5", "eps=1e-3", "x.std=[1, 2]", "mode=eval")
    assert [case.label for case in cases] == [
        "cases[0] 7x8 x.std=1 seed=5",
        "cases[0] 7x8 x.std=2 seed=5",
        "cases[1] 7x8 x.std=1 seed=5",
        "cases[1] 7x8 x.std=2 seed=5",
    ]
    assert {(case.eps, case.mode, case.x.mean) for case in cases} == {(1e-3, "eval", 2.0)}


def test_an_override_of_x_replaces_it_and_one_of_its_keys_does_not() -> None:
    content = "shape: 4x5\nx: {mean: 2, std: 3}\n"
    assert [case.x for case in read(content, "x={std: 4}")] == [XDraw(std=4.0)]
    assert [case.x for case in read(content, "x.std=4")] == [XDraw(mean=2.0, std=4.0)]
    assert [case.x for case in read(content, "x.std=4", "x=constant")] == [XDraw(like="constant", std=4.0)]
    assert [case.x for case in read("shape: 4x5", "x.std=4")] == [XDraw(std=4.0)]


def test_overrides_alone_make_cases() -> None:
    assert config.from_overrides(["shape=4x5", "seeds=2"]) == [
        Case(shape=(4, 5), seed=0, label="4x5 seed=0", asked=("seeds", "shapes")),
        Case(shape=(4, 5), seed=1, label="4x5 seed=1", asked=("seeds", "shapes")),
    ]


def test_overrides_alone_need_a_shape() -> None:
    with pytest.raises(config.ConfigError) as error:
        config.from_overrides(["eps=1"])
    assert str(error.value) == "error: no shapes are given; give --shape 32x64, or a config file"


def test_a_shape_that_is_a_mistake_is_not_missing_as_well() -> None:
    with pytest.raises(config.ConfigError) as error:
        config.from_overrides(["shapes=[4x"])
    assert [mistake.says for mistake in error.value.mistakes] == ["this '[' is never closed"]


REFUSED_OVERRIDES = {
    "a value out of range": (
        ["eps=-1"],
        """\
        error: eps is -1, expected a finite number >= 0
          --> --set eps=-1
          | eps=-1
          |     ^^""",
    ),
    "an unknown word in a list": (
        [" mode = [train, trian]"],
        """\
        error: mode is 'trian', expected train or eval
          --> --set  mode = [train, trian]
          |  mode = [train, trian]
          |                 ^^^^^ did you mean 'train'?""",
    ),
    "an unknown key": (
        ["epz=1"],
        """\
        error: unknown key 'epz'
          --> --set epz=1
          | epz=1
          | ^^^ did you mean 'eps'?""",
    ),
    "a key of x": (
        ["std=1"],
        """\
        error: unknown key 'std'
          --> --set std=1
          | std=1
          | ^^^ did you mean 'x.std'?""",
    ),
    "an unknown key of x": (
        ["x.sdt=1"],
        """\
        error: unknown key 'x.sdt'
          --> --set x.sdt=1
          | x.sdt=1
          | ^^^^^ did you mean 'x.std'?""",
    ),
    "no equals sign": (
        ["mode"],
        """\
        error: 'mode' has no '='
          --> --set mode
          | mode
          | ^^^^ write key=value""",
    ),
    "no key": (
        ["=1"],
        """\
        error: unknown key ''
          --> --set =1
          | =1
          | ^""",
    ),
    "no value": (
        ["eps="],
        """\
        error: eps has no value
          --> --set eps=
          | eps=
          |     ^ write eps=value""",
    ),
    "a name": (
        ["name=a"],
        """\
        error: name cannot be set from the command line
          --> --set name=a
          | name=a
          | ^^^^ write it in the config file""",
    ),
    "a key twice": (
        ["eps=1", "eps=2"],
        """\
        error: eps is given twice
          --> --set eps=2
          | eps=2
          | ^^^ keep one of them""",
    ),
    "a key in both spellings": (
        ["seed=1", "seeds=2"],
        """\
        error: both seed and seeds are given
          --> --set seeds=2
          | seeds=2
          | ^^^^^ keep one of them""",
    ),
    "no YAML": (
        ["x={std: 1"],
        """\
        error: this '{' is never closed
          --> --set x={std: 1
          | x={std: 1
          |   ^ add its '}'""",
    ),
    "a missing comma": (
        ["x={std: 1 mean: 2}"],
        """\
        error: a ',' or '}' is missing before this
          --> --set x={std: 1 mean: 2}
          | x={std: 1 mean: 2}
          |               ^ it belongs to the '{'""",
    ),
    "what a shell may pass": (
        ["eps=\udc80\x1b"],
        """\
        error: the text has '\\udc80', which YAML does not allow
          --> --set eps=\\udc80\\x1b
          | eps=\\udc80\\x1b
          |     ^^^^^^ remove it""",
    ),
    "a key of an implementation": (
        ["stub=[cv2]"],
        """\
        error: unknown key 'stub'
          --> --set stub=[cv2]
          | stub=[cv2]
          | ^^^^ it belongs to implementation: {stub: ...}""",
    ),
    "a key of an implementation behind its name": (
        ["implementation.stub=[cv2]"],
        """\
        error: unknown key 'implementation.stub'
          --> --set implementation.stub=[cv2]
          | implementation.stub=[cv2]
          | ^^^^^^^^^^^^^^^^^^^ it belongs to implementation: {stub: ...}""",
    ),
    "a mistake together with the file": (
        ["channel_axis=2"],
        """\
        error: channel_axis is 2, and shape (4, 5) has axes -2 to 1
          --> --set channel_axis=2
          | channel_axis=2
          |              ^ name the axis of the channels""",
    ),
}


@pytest.mark.parametrize(("overrides", "block"), REFUSED_OVERRIDES.values(), ids=REFUSED_OVERRIDES)
def test_a_mistake_in_an_override_is_told_with_its_place(overrides: list[str], block: str) -> None:
    assert refusal("shape: 4x5", *overrides) == textwrap.dedent(block)


SHOWN_OVERRIDES = {
    "the value of an option": (
        Override("shape=3y", "--shape 3y"),
        """\
        error: shape is '3y', expected a shape such as [32, 64] or 32x64
          --> --shape 3y
          | 3y
          | ^^""",
    ),
    "a part of it": (
        Override("implementation={fiel: a.py, file: b.py}", "-i {fiel: a.py, file: b.py}"),
        """\
        error: unknown key 'fiel' in implementation
          --> -i {fiel: a.py, file: b.py}
          | {fiel: a.py, file: b.py}
          |  ^^^^ did you mean 'file'?""",
    ),
    "a key that is shown": (
        Override("epz=1", "--set=epz=1"),
        """\
        error: unknown key 'epz'
          --> --set=epz=1
          | epz=1
          | ^^^ did you mean 'eps'?""",
    ),
    "no value": (
        Override("shape=", "--shape"),
        """\
        error: shape has no value
          --> --shape
          |
          | ^ write shape=value""",
    ),
}


@pytest.mark.parametrize(("override", "block"), SHOWN_OVERRIDES.values(), ids=SHOWN_OVERRIDES)
def test_a_mistake_shows_an_override_as_the_user_gave_it(override: Override, block: str) -> None:
    assert refusal("shape: 4x5", override) == textwrap.dedent(block)


def test_an_option_is_the_place_of_its_key() -> None:
    assert refusal("", "seed=3", Override("seed=4", "--seed 4")).split("\n\n")[1] == textwrap.dedent("""\
        error: seed is given twice
          --> --seed 4
          | 4
          | ^ keep one of them""")


def test_an_override_with_what_is_shown_gives_the_same_cases() -> None:
    shown = [Override("shape=4x5", "--shape 4x5"), Override("seeds=2", "--set seeds=2")]
    assert config.from_overrides(shown) == config.from_overrides(["shape=4x5", "seeds=2"])


def test_the_mistakes_of_a_file_are_told_before_those_of_overrides_even_where_overridden() -> None:
    assert says("shape: 4x5\neps: -1\n", "mode=x", "eps=1", "dout=y") == [
        "error: eps is -1, expected a finite number >= 0",
        "error: mode is 'x', expected train or eval",
        "error: dout is 'y', expected normal, ones, one-hot, zeros or strided",
    ]


def test_an_empty_file_is_told_together_with_overrides() -> None:
    assert says("", "eps=-1") == [
        "error: small.yaml is empty; write, for example, shapes: [[32, 64]]",
        "error: eps is -1, expected a finite number >= 0",
    ]


# Whatever is read, cases or mistakes come out.

FRAGMENTS = st.lists(
    st.sampled_from(
        [
            *("shape", "shapes", "cases", "x", "eps", "seeds", "name", "std", "outlier", "4x5", "[1, 5]"),
            *("implementation", "file", "forward: ", "backward: ", "set", "gamma", "f(x, {'a': 1})", " -> ", "out"),
            *("1e-5", "-1", "0x1F", ".nan", "true", "~", "{", "}", "[", "]", ": ", ", ", "- ", "? ", "\n", "  "),
            *("&a ", "*a", "!!int ", "!", "'", '"', "#", "|", "---", "...", "<<", "%", "@", "\\"),
            *("\t", "\r", "\u2028", "世", "\u0301", "\ufeff", "\x1b"),
        ]
    ),
    max_size=40,
).map("".join)
CODES = [
    FRAGMENTS.map("implementation=".__add__),
    *(st.text().map(f"implementation={{file: a.py, {key}: ".__add__).map("{}}}".format) for key in ("set", "root")),
]
PARSERS = [yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)]


def outcome(reading: Callable[[], list[Case]]) -> str:
    """The labels, or the mistakes, as text."""
    try:
        return "\n".join(case.label for case in reading())
    except config.ConfigError as error:
        return str(error)


def is_safe_to_print(text: str) -> bool:
    return bool(text) and all(line.isprintable() for line in text.split("\n"))


@pytest.mark.slow
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.one_of(st.binary(), st.text().map(str.encode), FRAGMENTS.map(str.encode)),
    parser=st.sampled_from(PARSERS),
)
@example(content=b'a: "\\Uffffffff"', parser=yaml.SafeLoader)
def test_any_file_gives_cases_or_printable_mistakes(
    content: bytes, parser: Parser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document, "Loader", parser)
    with open("small.yaml", "wb") as file:
        file.write(content)
    assert is_safe_to_print(outcome(lambda: config.read("small.yaml")))


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(override=st.one_of(st.text(), FRAGMENTS, FRAGMENTS.map("x=".__add__), st.text().map("eps=".__add__), *CODES))
@example(override="eps\n=1")
@example(override="\x85eps=1")
def test_any_override_gives_cases_or_printable_mistakes(override: str) -> None:
    assert is_safe_to_print(outcome(lambda: config.from_overrides(["shape=4x5", override])))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=FRAGMENTS)
def test_both_parsers_agree(content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes: list[list[Case] | str] = []
    for parser in PARSERS:
        monkeypatch.setattr(document, "Loader", parser)
        try:
            outcomes.append(read(content))
        except config.ConfigError:
            outcomes.append("mistakes")
    assert outcomes[0] == outcomes[1]


def test_reading_a_config_imports_nothing_that_only_mistakes_or_editors_need() -> None:
    code = (
        "import sys; from bncheck import config; config.read('configs/regimes.yaml', ['shape=4x5']); "
        "others = {'bncheck.calling.pattern', 'bncheck.gradients.recorded'}; "
        "print({'difflib', 'unicodedata', 'numpy', 'rich', 'typer', *others} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=TOP)
    assert ran.stdout == "set()\n"
