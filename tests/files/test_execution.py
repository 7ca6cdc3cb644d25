"""Files that cannot be executed to their end, or on this Python alone: what they have defined is there."""

from __future__ import annotations

import collections
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from bncheck.files import execution
from bncheck.files.loading import LoadError, load, modules_kept


def write(files: dict[str, str]) -> None:
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(textwrap.dedent(text), encoding="utf-8")


STILL = "; what it defines is checked all the same"
ENDED: dict[str, tuple[str, tuple[str, ...]]] = {
    "a script that needs data": (
        "import numpy as np\ndef one(): return 1\nx = np.load('no.npy')\nprint(x.mean())\n",
        (
            "net.py:3 raised FileNotFoundError: [Errno 2] No such file or directory: 'no.npy' when it was imported"
            + STILL,
        ),
    ),
    "data before what is defined": (
        "x = open('no.txt')\nEPS = 1e-5\nlr = train(x)\nimport math\ndef one(): return int(math.cos(0) + EPS)\n",
        (
            "net.py:1 raised FileNotFoundError: [Errno 2] No such file or directory: 'no.txt' when it was imported"
            + STILL,
        ),
    ),
    "a variable of the surroundings": (
        "import os\ndef one(): return 1\nos.environ['NO_SUCH']\n",
        ("net.py:3 raised KeyError: 'NO_SUCH' when it was imported" + STILL,),
    ),
    "a parser of arguments": (
        "import sys\ndef one(): return 1\nsys.exit(2)\n",
        ("net.py:3 called sys.exit(2) when it was imported" + STILL,),
    ),
    "a function that fails when it is called": (
        "def one(): return 1\ndef main():\n    return 1 / 0\nmain()\n",
        ("net.py:3 main raised ZeroDivisionError: division by zero when it was imported" + STILL,),
    ),
    "two that fail": (
        "1 / 0\n@no_such_decorator\ndef two(): pass\ndef one(): return 1\n",
        (
            "net.py:1 raised ZeroDivisionError: division by zero when it was imported" + STILL,
            "net.py:2 raised NameError: name 'no_such_decorator' is not defined when it was imported",
        ),
    ),
    "definitions behind a condition": (
        "1 / 0\nif True:\n    def one(): return 1\nelse:\n    train()\ntry:\n    def one(): return 1\nexcept NameError:"
        "\n    one = None\n",
        ("net.py:1 raised ZeroDivisionError: division by zero when it was imported" + STILL,),
    ),
    "lines of a notebook": (
        "%matplotlib inline\n!pip install numpy\nget_ipython().magic('pylab')\ndef one(): return 7 % 2\n",
        (
            "net.py:1: `%matplotlib inline` is for a notebook, and left out",
            "net.py:2: `!pip install numpy` is for a notebook, and left out",
        ),
    ),
    "a file of its own that does not parse": (
        "import broken\ndef one(): return 1\n",
        (
            "broken.py:1:7 does not parse: invalid syntax, in `def f(:`; stand-ins take the place of what it would "
            "have brought",
        ),
    ),
    "a file of its own in Python 2": (
        "from old import f\ndef one(): return 1\n",
        (
            "old.py:1 is Python 2 (print statement); bncheck runs Python 3: convert it with 2to3; stand-ins take the "
            "place of what it would have brought",
        ),
    ),
    "a file of its own that fails": (
        "from script import *\n",
        ("script.py:2 raised ZeroDivisionError: division by zero when it was imported" + STILL,),
    ),
    "a relative import from further up than there are folders": (
        f"from {'.' * 99}base import Layer\nclass A(Layer): pass\ndef one(): return 1\n",
        (
            "net.py:1 raised ImportError: attempted relative import beyond top-level package when it was imported; "
            "stand-ins take the place of what it would have brought",
        ),
    ),
}


@pytest.mark.parametrize(("text", "notes"), ENDED.values(), ids=ENDED)
def test_what_a_file_has_defined_is_used(text: str, notes: tuple[str, ...]) -> None:
    siblings = {"broken.py": "def f(:\n", "old.py": "print 'x'\n", "script.py": "def one(): return 1\n1 / 0\n"}
    write({"net.py": text, **siblings})
    found = load("net.py")
    assert (found.namespace["one"](), found.notes) == (1, notes)  # type: ignore[operator]


def test_a_file_that_ends_well_has_no_notes() -> None:
    write({"net.py": "def one(): return 1\nif __name__ == '__main__':\n    1 / 0\n"})
    assert load("net.py").notes == ()


def test_a_variable_of_lines_that_did_not_run_is_missed_by_name() -> None:
    write({"net.py": "def f(x): return x + EPS\ndef g(x): return sum(x)\n1 / 0\nEPS = float('3')\nsum = f(3)\n"})
    found = load("net.py").namespace
    with pytest.raises(Exception, match="a number is asked of EPS") as caught:
        found["f"](1)  # type: ignore[operator]
    assert str(caught.value) == (
        "a number is asked of EPS, but net.py:3 raised ZeroDivisionError: division by zero when it was imported; set "
        "EPS above that line"
    )
    assert found["g"]([1, 2]) == 3  # type: ignore[operator]


def test_a_name_that_is_asked_for_and_was_not_reached_is_refused_with_the_reason() -> None:
    write({"net.py": "def one(): return 1\n1 / 0\n"})
    with pytest.raises(LoadError) as caught:
        load("net.py:two")
    assert str(caught.value) == (
        "net.py has no two; it has one\n"
        f"note: net.py:2 raised ZeroDivisionError: division by zero when it was imported{STILL}"
    )


def test_an_import_that_does_not_come_to_an_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "PATIENCE", 0.2)
    write({"net.py": "def one(): return 1\nwhile True:\n    try: pass\n    except Exception: pass\n"})
    found = load("net.py")
    assert "one" in found.namespace
    (note,) = found.notes
    assert note.endswith(f" was still running after 0 s of being imported{STILL}")


def test_a_library_is_imported_to_its_end_however_long_that_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "theirs", lambda path: path.endswith("net.py"))
    monkeypatch.setattr(execution, "PATIENCE", 0.05)
    write(
        {"slowlib.py": "import time\ntime.sleep(0.3)\n", "net.py": "import slowlib\ndef one(): return slowlib.time\n"}
    )
    found = load("net.py")
    assert found.notes == ()
    assert hasattr(sys.modules["slowlib"], "time")


PACKAGES = {
    "raises": ("1 / 0\n", "net/__init__.py:1 raised ZeroDivisionError: division by zero when it was imported" + STILL),
    "is Python 2": (
        "print 'net'\n",
        "net/__init__.py:1 is Python 2 (print statement); bncheck runs Python 3: convert it with 2to3; the package is "
        "entered without it",
    ),
    "imports what is Python 2": (
        "import cPickle\n",
        "net/__init__.py:1 is Python 2 (module cPickle); bncheck runs Python 3: convert it with 2to3; the package is "
        "entered without it",
    ),
    "imports what is missing": (
        "from .gone import f\n",
        "net.gone is not there; a stand-in takes its place",
    ),
}


@pytest.mark.parametrize(("init", "note"), PACKAGES.values(), ids=PACKAGES)
def test_a_package_is_entered_though_its_init(init: str, note: str) -> None:
    write({"net/__init__.py": init, "net/bn.py": "from .ops import one\n", "net/ops.py": "one = 1\n"})
    found = load("net/bn.py")
    assert (found.namespace["one"], found.notes) == (1, (note,))


def test_an_error_that_an_importing_file_provides_for_is_left_to_it() -> None:
    importing = "try:\n    import fast\nexcept ZeroDivisionError:\n    fast = None\n"
    write({"net.py": importing, "fast.py": "1 / 0\n"})
    found = load("net.py")
    assert (found.namespace["fast"], found.notes) == (None, ())


# --- names of older versions -------------------------------------------------------------------------------------

OLDER = {
    "np.float": ("import numpy as np\nfound = np.float(3)", 3.0),
    "np.product": ("import numpy\nfound = numpy.product([2, 3])", 6),
    "np.asscalar": ("import numpy as np\nfound = np.asscalar(np.array([3.0]))", 3.0),
    "np.infty": ("import numpy as np\nfound = np.infty", float("inf")),
    "np.cumproduct": ("from numpy import cumproduct\nfound = cumproduct([2, 3])[1]", 6),
    "np.trapz": ("import cupy as np\nfound = np.trapz([1.0, 1.0])", 1.0),
    "collections.Hashable": ("import collections as c\nfound = isinstance(1, c.Hashable)", True),
    "inspect.getargspec": ("import inspect\nfound = inspect.getargspec(lambda a, *b: 0)[:2]", (["a"], "b")),
    "time.clock": ("from time import clock\nfound = clock() > 0", True),
}


@pytest.mark.parametrize(("text", "gives"), OLDER.values(), ids=OLDER)
def test_a_name_of_an_older_version_is_given_back(text: str, gives: object) -> None:
    write({"net.py": text})
    assert load("net.py").namespace["found"] == gives


def test_names_that_are_given_back_are_told_once_and_taken_back() -> None:
    write({"net.py": "import numpy as np, collections\nx = np.float(1), np.float(2), np.mean\ncollections.Hashable\n"})
    before = set(vars(np)), set(vars(collections))
    with modules_kept():
        assert load("net.py").notes == (
            "net.py uses collections.Hashable, np.float, names of older versions: given back while it is checked",
        )
        assert np.float is float  # type: ignore[attr-defined]
    assert before == (set(vars(np)), set(vars(collections)))


def test_a_name_that_this_version_has_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "product", "theirs", raising=False)
    write({"net.py": "import numpy as np\nfound = np.product\n"})
    found = load("net.py")
    assert (found.namespace["found"], found.notes) == ("theirs", ())
