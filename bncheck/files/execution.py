"""Files of theirs, executed as far as they go: what one has defined is looked at, whatever its script came to."""

from __future__ import annotations
import __future__

import ast
import builtins
import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import signal
import sys
import threading
import traceback
import types
from collections.abc import Iterator, Sequence
from pathlib import Path

from bncheck.files import dropped, stub
from bncheck.files.source import Source, calling_frames, parse, sentence, spelling
from bncheck.files.stub import StandIn
from bncheck.workers.worker import exit_argument, place_of, said, shown, theirs

failures: dict[str, str] = {}
"""Of the modules that were executed in part, what ended them: a sentence."""

_POSTPONED = (
    __future__.annotations.compiler_flag
)  # `from __future__ import annotations` stands in the first lines alone
_DEFINING = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Pass)
_CONSTANT = (ast.Constant, ast.Tuple, ast.List, ast.Dict, ast.Set, ast.UnaryOp, ast.BinOp, ast.operator, ast.unaryop)
_PLAIN = (*_CONSTANT, ast.Name, ast.expr_context)


PATIENCE = 10.0
"""Seconds that the import of a file may take before what it has defined by then is enough: it may be a training."""


class TookLong(BaseException):
    """Their code is not done when it should be. No Exception: `except Exception` in their loop is not for it."""


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Meanwhile TookLong is raised once after so long, where signals can do that and nobody else uses this one."""
    main = threading.current_thread() is threading.main_thread()
    if sys.platform == "win32" or not main or signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGALRM, _end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _end(number: int, frame: types.FrameType | None) -> None:
    """Raise TookLong; a second later where a library is being imported, which would be left half there for good."""
    for inner in calling_frames(frame):
        if theirs(inner.f_code.co_filename):
            break
        if "importlib" in inner.f_code.co_filename:
            signal.setitimer(signal.ITIMER_REAL, 1)
            return
    raise TookLong


class Loader(importlib.machinery.SourceFileLoader):
    """Executes a file of theirs from its text: a cached .pyc may be older, if the file was saved twice in a second."""

    def exec_module(self, module: types.ModuleType) -> None:
        """Raises what the file is not to be used after, but for a package: its other files can do without it."""
        stub.running.append(module.__name__)
        try:
            self._execute(vars(module))
        except Exception as error:
            if not self.is_package(module.__name__) or stub.guarded(type(error)):
                raise
            stub.notes[f"{told(error)}; the package is entered without it"] = None
        finally:
            stub.running.pop()

    def _execute(self, namespace: dict[str, object]) -> None:
        source = parse(self.path, importlib.util.decode_source(Path(self.path).read_bytes()))
        stub.sources[self.path] = source
        where = shown(self.path)
        for line in source.left_out:
            stub.notes[f"{where}:{line} is for a notebook, and left out"] = None
        if back := ", ".join(dropped.give_back(source.tree)):
            many = "names" if ", " in back else "a name"
            stub.notes[f"{where} uses {back}, {many} of older versions: given back while it is checked"] = None
        if "get_ipython" in source.unbound:
            namespace["get_ipython"] = StandIn("get_ipython", f"{where} does not run in a notebook")
        _run(source, namespace)


class Finder(importlib.abc.MetaPathFinder):
    """Finds the files of theirs, which `Loader` executes."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name == "triton":
            _interpret()
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if (
            spec is None
            or not isinstance(spec.loader, importlib.machinery.SourceFileLoader)
            or not theirs(spec.loader.path)
        ):
            return None
        spec.loader = Loader(name, spec.loader.path)
        return spec


INTERPRETED = "TRITON_INTERPRET=1 is set, since this machine has no GPU: kernels run in Triton's interpreter"


def _interpret() -> None:
    """Have Triton interpret the kernels of a file of theirs that is importing it, where there is no GPU."""
    frames = (frame.f_code.co_filename for frame in calling_frames(sys._getframe(2)))
    importer = next((file for file in frames if "importlib" not in file), "")
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    has_gpu = os.path.exists("/dev/nvidiactl") if cuda is None else cuda.is_available()
    if theirs(importer) and not has_gpu and "TRITON_INTERPRET" not in os.environ:
        os.environ["TRITON_INTERPRET"] = "1"
        stub.notes[INTERPRETED] = None


def enter(package: str, folder: Path) -> types.ModuleType:
    """The package of a folder, with or without an __init__.py. It need not be found on sys.path, nor be a name."""
    above, _, stem = package.rpartition(".")
    parent = enter(above, folder.parent) if above else None
    if package in sys.modules:
        return sys.modules[package]
    init = folder / "__init__.py"
    loader = Loader(package, str(init)) if init.is_file() else None
    spec = importlib.machinery.ModuleSpec(package, loader, origin=str(init) if loader else None, is_package=True)
    spec.has_location = loader is not None
    spec.submodule_search_locations = [str(folder)]
    return execute(spec, parent, stem)


def execute(spec: importlib.machinery.ModuleSpec, parent: types.ModuleType | None, stem: str) -> types.ModuleType:
    """The module of a spec, executed, in sys.modules and as an attribute of its package."""
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        if isinstance(spec.loader, Loader):
            spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(spec.name, None)
        raise
    module = sys.modules.get(spec.name, module)
    if parent is not None:
        setattr(parent, stem, module)
    return module


def _run(source: Source, namespace: dict[str, object]) -> None:
    """Execute a file. Where a statement raises, only what is defined below it is executed.

    Raises what the file is not to be used after: what a file that imports it provides for, Python 2, an interrupt.
    """
    code = compile(source.tree, source.path, "exec", dont_inherit=True)
    flags = code.co_flags & _POSTPONED
    body = source.tree.body
    while True:
        try:
            exec(code, namespace)
            return
        except (KeyboardInterrupt, MemoryError, GeneratorExit):
            raise
        except BaseException as error:
            line = _line(error, source.path)
            if not line or (spelling(error) and _is_of(error, source.path)) or stub.guarded(type(error)):
                raise
            at = next(i for i, statement in enumerate(body) if line <= (statement.end_lineno or line))
            body = _after(body[at], body[at + 1 :], error, namespace)
            code = compile(ast.Module(body, []), source.path, "exec", flags=flags, dont_inherit=True)


def told(error: BaseException) -> str:
    """The clause that says where and how an import failed."""
    where = place_of(error) or "the module"
    if isinstance(error, SyntaxError):
        where = f"{shown(error.filename or 'the file')}:{error.lineno or 1}"
    if old := spelling(error):
        return sentence(where, old)
    if isinstance(error, TookLong):
        return f"{where} was still running after {PATIENCE:.0f} s of being imported"
    if isinstance(error, SystemExit):
        return f"{where} called sys.exit({exit_argument(error)}) when it was imported"
    if not isinstance(error, SyntaxError):
        return f"{where} raised {said(error)} when it was imported"
    text = (error.text or "").strip()
    quoted = f", in `{text[:80]}`" if text else ""
    return f"{where}:{error.offset or 1} does not parse: {error.msg}{quoted}"


def _is_of(error: BaseException, path: str) -> bool:
    """Whether it is in this file that an exception was raised, and not in one that it imports."""
    if isinstance(error, SyntaxError):
        return error.filename == path
    files = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    return [file for file in files if theirs(file)][-1:] == [path]


def _line(error: BaseException, path: str) -> int:
    """The line of a file at which the execution of its own statements ended; 0 where it did not begin."""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            return trace.tb_lineno
        trace = trace.tb_next
    return 0


def _after(
    failed: ast.stmt, rest: list[ast.stmt], error: BaseException, namespace: dict[str, object]
) -> list[ast.stmt]:
    """The statements to go on with after one that raised; what it would have brought are stand-ins."""
    if isinstance(failed, (ast.Import, ast.ImportFrom)):
        _bind_imports(failed, error, namespace)
        return rest
    sentence = told(error)
    if failures.setdefault(str(namespace["__name__"]), sentence) == sentence:
        stub.notes[f"{sentence}; what it defines is checked all the same"] = None
    else:
        stub.notes[sentence] = None
    for name in _assigned([failed, *(statement for statement in rest if not _defines(statement))]):
        if not hasattr(builtins, name):
            namespace.setdefault(name, StandIn(name, f"{sentence}; set {name} above that line"))
    return [statement for statement in rest if _defines(statement)]


def _bind_imports(failed: ast.Import | ast.ImportFrom, error: BaseException, namespace: dict[str, object]) -> None:
    """Put stand-ins where an import statement that raised would have put something."""
    if isinstance(failed, ast.Import):
        found, brought = "", {alias.asname or alias.name.partition(".")[0]: alias.name for alias in failed.names}
    else:
        found = "." * failed.level + (failed.module or "")
        if failed.level:
            with contextlib.suppress(ImportError):  # it goes up further than there are folders
                found = importlib.util.resolve_name(found, str(namespace["__package__"]))
        brought = {alias.asname or alias.name: alias.name for alias in failed.names}
    if "*" in brought:
        brought = {name: name for name in stub.names_from_nowhere(str(namespace["__file__"]), namespace)}
    module = sys.modules.get(found) if isinstance(error, ImportError) else None
    if module is None:
        stub.notes[f"{told(error)}; stand-ins take the place of what it would have brought"] = None
    for name, origin in brought.items():
        if module is not None and hasattr(module, origin):
            namespace[name] = getattr(module, origin)
        elif module is not None:
            stub.notes[f"{found} has no {origin}; a stand-in takes its place"] = None
            namespace[name] = StandIn(f"{found}.{origin}", f"{found} has no {origin}; add it, or do without")
        elif found:
            namespace[name] = getattr(StandIn(found, f"{told(error)}; repair it, or do without"), origin)
        else:
            namespace[name] = StandIn(origin, f"{told(error)}; repair it, or do without")


def _assigned(statements: Sequence[ast.stmt]) -> Iterator[str]:
    """The variables that statements would have set."""
    for statement in statements:
        if not isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
            yield from (node.id for node in found if isinstance(node.ctx, ast.Store))


def _defines(statement: ast.stmt) -> bool:
    """Whether a statement does nothing but define: a function, a class, an import, a constant."""
    if isinstance(statement, (ast.If, ast.Try)):
        handled = [inner for handler in getattr(statement, "handlers", ()) for inner in handler.body]
        return all(map(_defines, [*statement.body, *statement.orelse, *handled]))
    if isinstance(statement, (ast.Assign, ast.AnnAssign)) and statement.value is not None:
        return all(isinstance(node, _PLAIN) for node in ast.walk(statement.value))
    return isinstance(statement, _DEFINING)
