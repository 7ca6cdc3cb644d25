"""Stand-ins for modules that are not there: what they bear, and what they do not invent."""

from __future__ import annotations

import copy
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bncheck.files.loading import Loaded, load
from bncheck.files.stub import StubUsed


def loaded(text: str, stub: tuple[str, ...] = (), file: str = "net.py") -> Loaded:
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    Path(file).write_text(textwrap.dedent(text), encoding="utf-8")
    return load(file, stub=stub)


def ended(function: Callable[..., object], *arguments: object) -> str:
    with pytest.raises(StubUsed) as caught:
        function(*arguments)
    return str(caught.value)


# --- which -------------------------------------------------------------------------------------------------------

MISSING = {
    "an import": ("import no_such_cv2", "no_such_cv2 is not installed; a stand-in takes its place"),
    "an import of a part": ("import no_such_a.b.c as c", "no_such_a is not installed; a stand-in takes its place"),
    "an import of a name": ("from no_such_a.b import c", "no_such_a is not installed; a stand-in takes its place"),
    "a sibling": ("from .base import Layer", "net.base is not there; a stand-in takes its place"),
    "a sibling as a module": ("from . import base", "net.base is not there; a stand-in takes its place"),
    "a part of the project": ("from ..utils import im2col", "top.utils is not there; a stand-in takes its place"),
    "a part of an installed package": (
        "import numpy.no_such_part",
        "numpy.no_such_part is not there; a stand-in takes its place",
    ),
    "a name of a module": ("from math import no_such_f", "math has no no_such_f; a stand-in takes its place"),
    "an import that cannot be done without": (
        "try:\n    import no_such_cv2\nexcept ImportError:\n    raise SystemExit('pip install no_such_cv2')",
        "no_such_cv2 is not installed; a stand-in takes its place",
    ),
}


@pytest.mark.parametrize(("text", "note"), MISSING.values(), ids=MISSING)
def test_a_missing_module_gets_a_stand_in_and_one_note(text: str, note: str) -> None:
    assert loaded(text, file="top/net/bn.py").notes == (note,)


PROVIDED = {
    "try": "try:\n    import no_such_cv2 as cv2\nexcept ImportError:\n    cv2 = None",
    "a bare except": "try:\n    import no_such_cv2 as cv2\nexcept:\n    cv2 = None",
    "a tuple": "try:\n    import no_such_cv2 as cv2\nexcept (ValueError, ModuleNotFoundError):\n    cv2 = None",
    "suppress": "import contextlib\ncv2 = None\nwith contextlib.suppress(ImportError):\n    import no_such_cv2 as cv2",
    "a question": "import importlib.util\ncv2 = importlib.util.find_spec('no_such_cv2')",
    "try, around what imports it": "try:\n    import helper as cv2\nexcept ImportError:\n    cv2 = None",
}


@pytest.mark.parametrize("text", PROVIDED.values(), ids=PROVIDED)
def test_a_file_that_provides_for_a_missing_module_gets_no_stand_in(text: str) -> None:
    Path("helper.py").write_text("import no_such_cv2\n", encoding="utf-8")
    found = loaded(text)
    assert (found.namespace["cv2"], found.notes) == (None, ())


def test_an_installed_package_that_looks_for_another_gets_no_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("installed").mkdir()
    Path("installed/no_such_lib.py").write_text("import no_such_cv2\n", encoding="utf-8")
    monkeypatch.setattr("bncheck.files.stub.theirs", lambda path: "installed" not in path)
    monkeypatch.setattr("bncheck.files.execution.theirs", lambda path: "installed" not in path)
    monkeypatch.syspath_prepend("installed")
    assert loaded("from no_such_lib import f").notes == (
        "installed/no_such_lib.py:1 raised ModuleNotFoundError: No module named 'no_such_cv2' when it was imported; "
        "stand-ins take the place of what it would have brought",
    )


def test_a_module_that_a_finder_of_theirs_knows_gets_no_stand_in() -> None:
    text = """
        import sys, types
        from importlib.machinery import ModuleSpec
        class Finder:
            def find_spec(self, name, path=None, target=None):
                return ModuleSpec(name, self) if name == "no_such_generated" else None
            def create_module(self, spec): return types.ModuleType(spec.name)
            def exec_module(self, module): module.one = 1
        sys.meta_path.append(Finder())
        import no_such_generated
        """
    found = loaded(text)
    assert (getattr(found.namespace["no_such_generated"], "one", 0), found.notes) == (1, ())


# --- what they bear ----------------------------------------------------------------------------------------------

BORNE = """
import no_such_cv2
import no_such_plot.pyplot as plt
from no_such_jit import njit, vectorize as vec
from no_such_cv2.deep.er import thing
from no_such_layers import *
import numpy as np

plt.rcParams['figure.figsize'] = (10, 8)
del plt.rcParams['x']
HALF = -no_such_cv2.PI / 2 + np.arange if False else no_such_cv2.PI / 2
ON_GPU = bool(no_such_cv2.cuda.is_available()) or no_such_cv2.count() > 1 or no_such_cv2.mode == 'gpu'
for name in no_such_cv2.names: raise ValueError
with no_such_cv2.no_grad() as context: pass

@njit
def plain(x): return x + 1
@njit(parallel=True)
def called(x: no_such_cv2.Image | None, y: thing[int] = thing(3)) -> 'thing[int]': return x + 2
@vec(['f8(f8)'],
     nopython=True)
class Decorated: pass
@register
def registered(x): return x + 3

class Layer(Base[int], no_such_cv2.nn.Module):
    __slots__ = ()
    def __init__(self, d=3):
        super().__init__('layer', trainable=True)
        self.register('gamma', d)
        for parameter in self.parameters(): raise ValueError
        self.d = d
class Meta(metaclass=no_such_cv2.Meta):
    one = 1
class Sub(Layer, keyword=3):
    pass
"""


def borne(name: str) -> Any:
    return loaded(BORNE).namespace[name]


GIVEN = {
    "a decorator": lambda: borne("plain")(1) == 2,
    "a decorator that is called": lambda: borne("called")(1) == 3,
    "a decorator on two lines": lambda: type(borne("Decorated")()).__name__ == "Decorated",
    "a decorator from an import of everything": lambda: borne("registered")(1) == 4,
    "a base class": lambda: borne("Layer")(5).d == 5,
    "a base class of a base class": lambda: borne("Sub")(d=5).d == 5,
    "a metaclass": lambda: borne("Meta").one == 1,
    "being false": lambda: borne("ON_GPU") is False,
    "being copied": lambda: copy.deepcopy(borne("thing")) is not None,
}


@pytest.mark.parametrize("claim", GIVEN.values(), ids=GIVEN)
def test_a_stand_in_bears(claim: Callable[[], bool]) -> None:
    assert claim()


def test_a_function_that_is_given_to_a_stand_in_is_not_given_back_but_to_decorate_it() -> None:
    found = loaded("from no_such_lib import grad\ndef f(x): return x\ng = grad(f)\ndef h(x): return g(x) + 1\n")
    says = "a number is asked of no_such_lib.grad, but no_such_lib is not installed; install it, or do without"
    assert ended(found.namespace["h"], 1) == says  # type: ignore[arg-type]


def test_instances_of_a_class_are_told_by_the_stand_in_that_it_inherits_from() -> None:
    found = loaded("from no_such_lib import Layer, Other\nclass Mine(Layer): pass\nmine = Mine()").namespace
    told = [isinstance(found["mine"], found[name]) for name in ("Layer", "Other")]  # type: ignore[arg-type]
    assert told == [True, False]


def test_an_import_of_everything_brings_what_the_file_has_from_nowhere_else() -> None:
    Path("real.py").write_text("def f(): return 1\n", encoding="utf-8")
    found = loaded("from real import *\nfrom no_such_lib import *\nG = g\ndef h(): return f(), np.ones(2), len('a')\n")
    assert repr(found.namespace["G"]) == "<stub of no_such_lib.g>"
    assert found.namespace["h"]()[0] == 1  # type: ignore[operator]
    assert found.notes == (
        "no_such_lib is not installed; a stand-in takes its place",
        "np of no_such_lib is taken to be NumPy",
    )


ARRAYS = {
    "cupy as np": "import cupy as np",
    "cupy as cp": "import cupy as cp\nnp = cp.get_array_module(cp.ones(3))",
    "minpy": "import minpy.numpy as np",
    "autograd": "import autograd.numpy as np\nfrom autograd import grad",
    "jax": "import jax.numpy as np",
    "common.np": "from common.np import *",
    "a name of the project": "from common.backend import xp as np",
    "everything of cupy": "from cupy import *\nimport cupy.linalg\nnp = cupy",
}


@pytest.mark.parametrize("text", ARRAYS.values(), ids=ARRAYS)
def test_numpy_takes_the_place_of_what_has_its_names(text: str) -> None:
    found = loaded(f"{text}\ndef f(x): return np.sqrt(x).sum(axis=0)\n")
    assert found.namespace["f"](np.array([4.0, 9.0])) == 5  # type: ignore[operator]


def test_what_numpy_lacks_is_a_stand_in() -> None:
    found = loaded("import cupy\ncupy.cuda.Device(0).use()\ndef f(x): return cupy.asnumpy(x) + cupy.cuda.n")
    assert found.notes == ("cupy is not installed; NumPy takes its place",)
    says = "a number is asked of cupy.cuda.n, but cupy is not installed; install it, or do without"
    assert ended(found.namespace["f"], 1) == says  # type: ignore[arg-type]


# --- what they do not invent -------------------------------------------------------------------------------------

USED = """
import no_such_cv2
import numpy as np
from no_such_cv2 import deep, Layer

class Polite(Layer):
    def read(self): return self.scale
    def has(self): return hasattr(self, "scale")
def multiply(x): return x * no_such_cv2.PI
def array(x): return np.asarray(deep.resize(x))
def numbers(x): return np.ones(2) + deep.resize(x)
def floated(x): return float(no_such_cv2.PI)
def length(x): return len(no_such_cv2.names)
def loop(x): return [name for name in no_such_cv2.names]
def unpack(x):
    mean, var = deep.moments(x)
def compare(x): return no_such_cv2.PI > x
def equal(x): return no_such_cv2.mode == "train"
def branch(x): return 1 if no_such_cv2.mode else 2
def late(x):
    import no_such_plot.deep
    return no_such_plot.deep.f(x) + 1
"""
NO_CV2 = "but no_such_cv2 is not installed; install it, or do without"
ENDS = {
    "arithmetic": ("multiply", f"a number is asked of no_such_cv2.PI, {NO_CV2}"),
    "np.asarray": ("array", f"a number is asked of no_such_cv2.deep.resize, {NO_CV2}"),
    "arithmetic with an array": ("numbers", f"a number is asked of no_such_cv2.deep.resize, {NO_CV2}"),
    "float()": ("floated", f"a number is asked of no_such_cv2.PI, {NO_CV2}"),
    "len()": ("length", f"a number is asked of no_such_cv2.names, {NO_CV2}"),
    "a loop": ("loop", f"items are asked of no_such_cv2.names, {NO_CV2}"),
    "taking apart": ("unpack", f"items are asked of no_such_cv2.deep.moments, {NO_CV2}"),
    "a comparison": ("compare", f"a comparison is asked of no_such_cv2.PI, {NO_CV2}"),
    "an equality": ("equal", f"a comparison is asked of no_such_cv2.mode, {NO_CV2}"),
    "a branch": ("branch", f"yes or no is asked of no_such_cv2.mode, {NO_CV2}"),
    "what is imported late": (
        "late",
        "a number is asked of no_such_plot.deep.f, but no_such_plot is not installed; install it, or do without",
    ),
}


@pytest.mark.parametrize(("name", "says"), ENDS.values(), ids=ENDS)
def test_what_a_check_would_be_judged_by_is_not_invented(name: str, says: str) -> None:
    assert ended(loaded(USED).namespace[name], 1) == says  # type: ignore[arg-type]


def test_what_a_missing_base_may_have_had_is_said_to_be_missing() -> None:
    layer = loaded(USED).namespace["Polite"](3)  # type: ignore[operator]
    assert ended(layer.read) == (
        f"'Polite' object has no attribute 'scale'; it may be one of no_such_cv2.Layer, {NO_CV2}"
    )
    assert layer.has() is False


def test_a_number_is_not_invented_at_import_either() -> None:
    found = loaded("import no_such_conf as conf\nEPS = float(conf.EPS)\ndef f(x): return x + EPS\n")
    raised = "net.py:2 raised StubUsed: a number is asked of no_such_conf.EPS"
    assert found.notes[1].startswith(raised)
    assert ended(found.namespace["f"], 1).startswith(f"a number is asked of EPS, but {raised}")  # type: ignore[arg-type]


def test_a_stub_of_something_installed_says_so() -> None:
    found = loaded("import colorsys\ndef f(x): return colorsys.rgb_to_hls(x) + 1", stub=("colorsys",))
    assert found.notes == ()
    assert ended(found.namespace["f"], 1) == (  # type: ignore[arg-type]
        "a number is asked of colorsys.rgb_to_hls, but colorsys is a stub (stub: [colorsys]); take it off that list, "
        "or do without"
    )


def test_a_stand_in_in_a_package_leaves_the_rest_of_it_alone() -> None:
    Path("net").mkdir()
    Path("net/ops.py").write_text("one = 1\n", encoding="utf-8")
    found = loaded("from .ops import one\nfrom .fast import f\n", file="net/bn.py")
    assert (found.namespace["one"], repr(found.namespace["f"])) == (1, "<stub of net.fast.f>")
    assert "net.fast" in sys.modules
