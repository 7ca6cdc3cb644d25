"""Check the backward pass of batch normalisation, node by node."""

__version__ = "0.1.0"
__all__ = ["CheckFailedError", "Report", "StartError", "check"]

TYPE_CHECKING = False  # as type checkers read it, see __main__.py
if TYPE_CHECKING:
    from bncheck.api import CheckFailedError, Report, check
    from bncheck.status import StartError

_HOMES = {"CheckFailedError": "api", "Report": "api", "StartError": "status", "check": "api"}
"""The modules of the public names, which are loaded on first use (PEP 562)."""


if not TYPE_CHECKING:  # a type checker would take any name for a name of this module

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
