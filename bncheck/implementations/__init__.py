"""What can be checked."""

from __future__ import annotations

from bncheck.implementations.contract import Implementation
from bncheck.implementations.reference import CLOSED_FORM, REFERENCE

BUILT_IN = {implementation.name: implementation for implementation in (REFERENCE, CLOSED_FORM)}


def find(name: str) -> Implementation:
    """The implementation of that name. Raises KeyError where there is none."""
    return BUILT_IN[name]
