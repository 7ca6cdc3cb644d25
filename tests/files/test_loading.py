"""Somebody's file as a module: found, imported with its project around it, or refused in one sentence."""

from __future__ import annotations

import importlib
import sys
import textwrap
from pathlib import Path

import pytest

from bncheck.files import loading
from bncheck.files.loading import LoadError, load

LAYER = "def batchnorm_forward(x): return x\ndef batchnorm_backward(dout): return dout\nclass BatchNorm: pass\n"


def write(files: dict[str, str]) -> None:
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text, encoding="utf-8")


def refusal(place: str, root: str = "", stub: tuple[str, ...] = ()) -> str:
    with pytest.raises(LoadError) as caught:
        load(place, root, stub)
    return str(caught.value)


PLACES = {
    "a file": ("layers.py", None),
    "a file and a name": ("layers.py:BatchNorm", "BatchNorm"),
    "a file with its folder": ("./layers.py:BatchNorm", "BatchNorm"),
    "a module": ("layers", None),
    "a module and a name": ("layers:BatchNorm", "BatchNorm"),
}


@pytest.mark.parametrize(("place", "wanted"), PLACES.values(), ids=PLACES)
def test_a_place_may_be_written_as(place: str, wanted: str | None, project: Path) -> None:
    write({"layers.py": LAYER})
    loaded = load(place)
    assert (loaded.module, loaded.path, loaded.wanted) == ("layers", str(project / "layers.py"), wanted)
    assert {"batchnorm_forward", "batchnorm_backward", "BatchNorm"} <= set(loaded.namespace)


def test_an_absolute_path_is_accepted(project: Path) -> None:
    write({"deep/er/layers.py": LAYER})
    assert load(f"{project}/deep/er/layers.py:BatchNorm").wanted == "BatchNorm"


PROJECTS = {
    "a relative import": (
        "net/layers.py",
        "net.layers",
        {"net/__init__.py": "", "net/layers.py": "from .ops import one", "net/ops.py": "one = 1"},
    ),
    "a relative import without __init__.py": (
        "net/layers.py",
        "net.layers",
        {"net/layers.py": "from .ops import one", "net/ops.py": "one = 1"},
    ),
    "a relative import two folders up": (
        "top/net/bn/layers.py",
        "top.net.bn.layers",
        {
            "top/__init__.py": "",
            "top/net/__init__.py": "",
            "top/net/bn/__init__.py": "",
            "top/net/bn/layers.py": "from ...ops import one",
            "top/ops.py": "one = 1",
        },
    ),
    "an import of its own package by name": (
        "cs231n/layers.py",
        "cs231n.layers",
        {"cs231n/__init__.py": "", "cs231n/layers.py": "from cs231n.ops import *", "cs231n/ops.py": "one = 1"},
    ),
    "an import of its own folder, which has no __init__.py, by name": (
        "cs231n/layers.py",
        "layers",
        {"cs231n/layers.py": "from cs231n.ops import *", "cs231n/ops.py": "one = 1"},
    ),
    "an import of a folder beside its own": (
        "code/layers/bn.py",
        "bn",
        {"code/layers/bn.py": "from common.ops import one", "code/common/ops.py": "one = 1"},
    ),
    "an import of a file beside it": (
        "src/bn.py",
        "bn",
        {"src/bn.py": "from ops import one", "src/ops.py": "one = 1"},
    ),
    "an import of an import": (
        "code/net/bn.py",
        "bn",
        {
            "code/net/bn.py": "from helper import one",
            "code/net/helper.py": "from shared.ops import one",
            "code/shared/ops.py": "one = 1",
        },
    ),
    "a package in a folder whose name is no name": (
        "net-1.2/layers.py",
        "net-1_2.layers",
        {"net-1.2/layers.py": "from .ops import one", "net-1.2/ops.py": "one = 1"},
    ),
    "a package in a folder that is called like a module of Python": (
        "code/layers.py",
        "loaded_code.layers",
        {"code/layers.py": "from .ops import one", "code/ops.py": "one = 1"},
    ),
    "sys.path in the file": (
        "book/ch06/layers.py",
        "layers",
        {
            "book/ch06/layers.py": "import sys, os\nsys.path.append(os.pardir)\nfrom common.functions import *",
            "book/common/functions.py": "one = 1",
        },
    ),
    "a package that imports the file itself": (
        "net/layers.py",
        "net.layers",
        {"net/__init__.py": "from .layers import one", "net/layers.py": "one = 1"},
    ),
}


@pytest.mark.parametrize(("place", "module", "files"), PROJECTS.values(), ids=PROJECTS)
def test_the_project_around_a_file_is_found(place: str, module: str, files: dict[str, str]) -> None:
    write(files)
    loaded = load(place)
    assert (loaded.module, loaded.namespace["one"]) == (module, 1)
    assert sys.modules[module].__dict__ is loaded.namespace


def test_what_lies_above_the_repository_is_not_looked_at() -> None:
    write({"home/repo/.git/HEAD": "", "home/repo/net/bn.py": "from ops import one", "home/ops.py": "one = 1"})
    assert load("home/repo/net/bn.py").notes == ("ops is not installed; a stand-in takes its place",)


def test_a_module_that_removes_others_while_it_is_looked_at_hides_no_error() -> None:
    lazy = """
        import sys, types
        class Lazy(types.ModuleType):
            def __getattr__(self, name):
                sys.modules.pop("no_such_a", None), sys.modules.pop("no_such_b", None)
                raise AttributeError(name)
        sys.modules["no_such_a"], sys.modules["no_such_b"] = Lazy("no_such_a"), Lazy("no_such_b")
        1 / 0
        """
    write({"net.py": textwrap.dedent(lazy)})
    assert load("net.py").notes == (
        "net.py:8 raised ZeroDivisionError: division by zero when it was imported; what it defines is checked all "
        "the same",
    )


def test_a_package_of_theirs_that_is_imported_already_keeps_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    write({"net/__init__.py": "", "net/bn.py": "one = 1"})
    monkeypatch.syspath_prepend(".")
    importlib.import_module("net")
    assert load("net/bn.py").module == "net.bn"


def test_a_root_that_is_named_is_used() -> None:
    write({"lib/ops.py": "one = 1", "net/bn.py": "from ops import one"})
    assert load("net/bn.py").notes == ("ops is not installed; a stand-in takes its place",)
    assert load("net/bn.py", root="lib").namespace["one"] == 1


def test_a_root_above_the_file_gives_it_its_dotted_name() -> None:
    write({"a/b/bn.py": "from a.ops import one", "a/ops.py": "one = 1"})
    assert load("a/b/bn.py", root=".").module == "a.b.bn"


def test_a_root_that_is_no_folder_is_refused() -> None:
    write({"layers.py": LAYER})
    says = "root: nowhere is no folder; name the one that the imports of the file start from"
    assert refusal("layers.py", root="nowhere") == says


NAMES = {"a dash": "my-layers.py", "a digit": "1.py", "dots": "layers.v2.py", "a name of Python": "random.py"}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_file_of_any_name_loads(name: str) -> None:
    write({name: LAYER})
    import random

    assert load(f"{name}:BatchNorm").wanted == "BatchNorm"
    assert sys.modules["random"] is random


def test_a_file_that_declares_its_encoding_loads() -> None:
    Path("layers.py").write_bytes(b"# -*- coding: latin-1 -*-\nname = '\xe9'\n")
    assert load("layers.py").namespace["name"] == "é"


def test_loading_again_sees_what_has_changed() -> None:
    write({"net.py": "from ops import one", "ops.py": "one = 1"})
    assert load("net.py").namespace["one"] == 1
    write({"ops.py": "one = 2"})
    assert load("net.py").namespace["one"] == 2


def test_two_projects_with_modules_of_the_same_name_do_not_meet() -> None:
    for number, folder in enumerate(("first", "second")):
        write({f"{folder}/net.py": "from ops import one", f"{folder}/ops.py": f"one = {number}"})
    assert [load(f"{folder}/net.py").namespace["one"] for folder in ("first", "second", "first")] == [0, 1, 0]


def test_loading_leaves_nothing_in_the_folder(project: Path) -> None:
    write({"net.py": "from ops import one", "ops.py": "one = 1"})
    load("net.py")
    assert sorted(path.name for path in project.iterdir()) == ["net.py", "ops.py"]


def test_a_script_does_not_see_our_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bncheck", "run", "small.yaml"])
    write({"net.py": "import sys\nseen = list(sys.argv)\nguarded = __name__ == '__main__'\n"})
    loaded = load("net.py")
    assert (loaded.namespace["seen"], loaded.namespace["guarded"]) == (["bncheck"], False)
    assert sys.argv == ["bncheck", "run", "small.yaml"]


def test_a_dataclass_in_a_file_finds_its_module() -> None:
    imports = "from __future__ import annotations\nfrom dataclasses import dataclass\n"
    write({"my-layers.py": f"{imports}@dataclass\nclass Layer:\n    d: int\n"})
    layer = load("my-layers.py").namespace["Layer"]
    assert isinstance(layer, type)
    assert repr(layer(3)) == "Layer(d=3)"


REFUSALS: dict[str, tuple[dict[str, str], str, str]] = {
    "no such file, but one like it": (
        {"layers.py": LAYER},
        "layer.py",
        "there is no file layer.py; did you mean layers.py?",
    ),
    "no such file": ({}, "layers.py", "there is no file layers.py; check the path"),
    "a folder": ({"net/bn.py": ""}, "net/", "net/ is a folder; name a file in it, such as net/bn.py"),
    "a notebook": (
        {"bn.ipynb": "{}"},
        "bn.ipynb",
        "bn.ipynb is a notebook; save its code as a .py file, or call bncheck.check in the notebook",
    ),
    "an unknown encoding": (
        {"layers.py": "# coding: klingon\n"},
        "layers.py",
        "layers.py:1 declares an encoding in which it cannot be read: unknown encoding: klingon",
    ),
    "a syntax error": (
        {"layers.py": "x = 1\ny = = 2\n"},
        "layers.py",
        "layers.py:2:5 does not parse: invalid syntax, in `y = = 2`; it must run to be checked",
    ),
    "a print statement": (
        {"layers.py": "x = 1\nprint x\n"},
        "layers.py",
        "layers.py:2 is Python 2 (print statement); bncheck runs Python 3: convert it with 2to3",
    ),
    "backticks": (
        {"layers.py": "x = `1`\n"},
        "layers.py",
        "layers.py:1 is Python 2 (backticks); bncheck runs Python 3: convert it with 2to3",
    ),
    "raise with a comma": (
        {"layers.py": "raise ValueError, 'no'\n"},
        "layers.py",
        "layers.py:1 is Python 2 (raise X, message); bncheck runs Python 3: convert it with 2to3",
    ),
    "an octal number": (
        {"layers.py": "x = 0777\n"},
        "layers.py",
        "layers.py:1 is Python 2 (an octal number without 0o); bncheck runs Python 3: convert it with 2to3",
    ),
    "xrange": (
        {"layers.py": "for i in xrange(3): pass\n"},
        "layers.py",
        "layers.py:1 is Python 2 (xrange); bncheck runs Python 3: convert it with 2to3",
    ),
    "a module of Python 2": (
        {"layers.py": "import numpy\nimport cPickle as pickle\n"},
        "layers.py",
        "layers.py:2 is Python 2 (module cPickle); bncheck runs Python 3: convert it with 2to3",
    ),
    "izip": (
        {"layers.py": "from itertools import izip\n"},
        "layers.py",
        "layers.py:1 is Python 2 (itertools.izip); bncheck runs Python 3: convert it with 2to3",
    ),
    "an exception": (
        {"layers.py": "one = 1\nprint(one / 0)\n"},
        "layers.py",
        "layers.py:2 raised ZeroDivisionError: division by zero when it was imported; a file must import before it "
        "can be checked",
    ),
    "an exception in a package": (
        {"layers.py": "import numpy as np\nnp.zeros(2).reshape(3)\n"},
        "layers.py",
        "layers.py:2 raised ValueError: cannot reshape array of size 2 into shape (3,) when it was imported; a file "
        "must import before it can be checked",
    ),
    "sys.exit": (
        {"layers.py": "import sys\nsys.exit(1)\n"},
        "layers.py",
        "layers.py:2 called sys.exit(1) when it was imported; a file must import before it can be checked",
    ),
    "a name that is not there": (
        {"layers.py": f"from math import sqrt\n{LAYER}"},
        "layers.py:BatchNrom",
        "layers.py has no BatchNrom; did you mean BatchNorm? it has batchnorm_forward, batchnorm_backward, BatchNorm",
    ),
    "a name in a file that has none": (
        {"layers.py": "one = 1"},
        "layers.py:BatchNorm",
        "layers.py has no BatchNorm; it has no function and no class",
    ),
    "a colon without a name": (
        {"layers.py": LAYER},
        "layers.py:",
        "layers.py: names nothing after the colon; it has batchnorm_forward, batchnorm_backward, BatchNorm",
    ),
    "a module that is not there": (
        {},
        "no_such_package.bn:BatchNorm",
        "there is no module no_such_package; is it installed, and is its folder the working directory, or `root:` of "
        "the config?",
    ),
    "a module that its package does not have": (
        {"net/__init__.py": ""},
        "net.bn",
        "net has no module bn; is it installed, and is its folder the working directory, or `root:` of the config?",
    ),
    "nothing": (
        {},
        "",
        "'' is neither a file nor a module; write layers.py:Name or package.module:name",
    ),
}


@pytest.mark.parametrize(("files", "place", "says"), REFUSALS.values(), ids=REFUSALS)
def test_a_module_that_cannot_be_had_is_refused(files: dict[str, str], place: str, says: str) -> None:
    write(files)
    assert refusal(place) == says


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="`except X, e` catches both in Python 3.14")
def test_except_with_a_comma_is_refused_as_python_2() -> None:
    write({"layers.py": "try:\n    pass\nexcept ValueError, e:\n    pass\n"})
    assert refusal("layers.py") == (
        "layers.py:3 is Python 2 (except X, e); bncheck runs Python 3: convert it with 2to3"
    )


def test_a_file_that_is_not_utf_8_is_refused_at_the_byte() -> None:
    Path("layers.py").write_bytes(b"x = 1\n# d\xe9rivation\n")
    assert refusal("layers.py") == (
        "layers.py:2 is not UTF-8: byte 0xe9 is no text in it; save the file as UTF-8, or name its encoding in its "
        "first line (# -*- coding: latin-1 -*-)"
    )


def test_a_file_that_fails_leaves_no_module_behind() -> None:
    write({"net.py": "1 / 0"})
    refusal("net.py")
    assert "net" not in sys.modules


def test_an_interrupt_at_import_is_no_matter_of_the_file() -> None:
    write({"net.py": "raise KeyboardInterrupt"})
    with pytest.raises(KeyboardInterrupt):
        load("net.py")


def test_what_an_import_prints_is_the_callers_to_catch(capsys: pytest.CaptureFixture[str]) -> None:
    write({"net.py": "print('training...')"})
    load("net.py")
    assert capsys.readouterr().out == "training...\n"


def test_a_stub_stands_in_for_a_part_of_a_package_alone() -> None:
    write({"net/__init__.py": "", "net/bn.py": "from .ops import one\nfrom .fast import f", "net/ops.py": "one = 1"})
    loaded = load("net/bn.py", stub=("net.fast",))
    assert (loaded.namespace["one"], repr(loaded.namespace["f"])) == (1, "<stub of net.fast.f>")


def test_a_stub_stands_in_for_what_is_installed_and_is_gone_afterwards() -> None:
    import colorsys

    write({"net.py": "import colorsys\nfound = colorsys.rgb_to_hls"})
    assert repr(load("net.py", stub=("colorsys",)).namespace["found"]) == "<stub of colorsys.rgb_to_hls>"
    assert sys.modules["colorsys"] is colorsys
    assert load("net.py").namespace["found"] is colorsys.rgb_to_hls


def test_a_module_that_is_not_a_stub_any_more_is_missing_again() -> None:
    write({"net.py": "import no_such_cv2"})
    assert load("net.py", stub=("no_such_cv2",)).notes == ()
    assert load("net.py").notes == ("no_such_cv2 is not installed; a stand-in takes its place",)


@pytest.mark.parametrize("stub", ["numpy", "numpy.linalg", "bncheck"])
def test_what_checking_needs_cannot_be_a_stub(stub: str) -> None:
    write({"net.py": ""})
    says = f"stub: {stub} cannot be a stub, because checking needs it; take it out of the list"
    assert refusal("net.py", stub=(stub,)) == says


def test_a_long_list_of_names_is_cut_short() -> None:
    write({"net.py": "".join(f"def f{number}(): pass\n" for number in range(15))})
    listed = ", ".join(f"f{number}" for number in range(loading.LISTED))
    assert refusal("net.py:BatchNorm") == f"net.py has no BatchNorm; it has {listed} and 3 more"
