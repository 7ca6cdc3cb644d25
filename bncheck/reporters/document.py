"""A JSON document as all of ours begin. Numbers that are not finite are null."""

from __future__ import annotations

import json
import math
import platform
from typing import Any

import numpy as np

from bncheck import __version__
from bncheck.status import ExitStatus


def render(form: int, status: ExitStatus, sentence: str, **content: Any) -> str:
    """JSON text, one object: in which format, by which versions, the status with its sentence, then the content."""
    found = {
        "format": form,
        "bncheck": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "status": {"code": int(status), "name": status.name.lower(), "sentence": sentence},
        **content,
    }
    return json.dumps(_finite(found), indent=2, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """The same with null for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
