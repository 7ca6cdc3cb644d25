"""Python values as a config would have them: what is read again is what was written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bncheck.config import document
from bncheck.config.mistake import Mistakes, text_of
from bncheck.config.node import ListNode, MappingNode, Node, ScalarNode
from bncheck.config.override import written
from bncheck.status import StartError

WRITTEN: dict[str, tuple[Any, str]] = {
    "a word": ("float32", "float32"),
    "a word that is none": ("true", '"true"'),
    "a number as text": ("1e-5", '"1e-5"'),
    "a drive": ("C:\\layers.py:Name", '"C:\\\\layers.py:Name"'),
    "a path": (Path("net") / "layers.py", "net/layers.py"),
    "a short float": (1e-5, "1e-05"),
    "infinity": (-np.inf, "-.inf"),
    "not a number": (float("nan"), ".nan"),
    "numbers of NumPy": ([np.int8(3), np.float64(0.5), np.bool_(True)], "[3, 0.5, true]"),
    "an array": (np.arange(4).reshape(2, 2), "[[0, 1], [2, 3]]"),
    "a number in an array": (np.array(3), "3"),
    "a long double": (np.longdouble(0.5), "0.5"),
    "types": ((np.float32, np.dtype("float16"), float), "[float32, float16, float64]"),
    "a mapping": ({"std": (1, None)}, "{std: [1, null]}"),
    "a range": (range(2), "[0, 1]"),
}


@pytest.mark.parametrize(("value", "text"), WRITTEN.values(), ids=WRITTEN)
def test_a_value_is_written_as_a_config_has_it(value: Any, text: str) -> None:
    assert written(value, "it") == text


UNWRITABLE = {
    "an object": object(),
    "bytes": b"text",
    "a complex number": 1j,
    "a set": {1, 2},
    "a list of functions": [print],
    "a mapping of numbers": {1: 2},
    "an iterator": iter([1]),
}


@pytest.mark.parametrize("value", UNWRITABLE.values(), ids=UNWRITABLE)
def test_what_a_config_cannot_hold_is_refused(value: Any) -> None:
    with pytest.raises(StartError):
        written(value, "it")


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x7f"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)


def value_of(node: Node) -> Any:
    match node:
        case ScalarNode():
            return node.value
        case ListNode():
            return [value_of(item) for item in node.items]
        case MappingNode():
            return {key.value: value_of(its_value) for key, its_value in node.entries}


@given(VALUES)
def test_what_is_read_again_is_what_was_written(value: Any) -> None:
    mistakes = Mistakes()
    node = document.parse(text_of("a value", f"key={written(value, 'it')}", numbered=False), mistakes, len("key="))
    assert list(mistakes) == []
    assert node is not None
    assert value_of(node) == value
