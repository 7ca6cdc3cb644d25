"""Check the backward pass of batch normalisation, node by node."""

import sys

__version__ = "0.1.0"
__all__ = ["CheckFailedError", "Report", "StartError", "check"]

TYPE_CHECKING = False  # as type checkers read it: importing typing would take longer than everything here
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from bncheck.api import check
    from bncheck.printout import CheckFailedError, Report
    from bncheck.session import StartError
else:
    ModuleType = type(sys)

_HOMES = {"CheckFailedError": "printout", "Report": "printout", "StartError": "session"}
"""Where the public names are, which are loaded on first use (PEP 562)."""


class _Package(ModuleType):
    """This package, in which `check` is the function, whether or not the module of that name has been imported."""

    @property
    def check(self) -> "Callable[..., Report]":
        from bncheck.api import check

        return check

    @check.setter
    def check(self, module: ModuleType) -> None:
        """Importing `bncheck.check` would put the module here; it stays where `from bncheck.check import ...` looks."""


sys.modules[__name__].__class__ = _Package


if not TYPE_CHECKING:  # a type checker would take any name for a name of this module

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
