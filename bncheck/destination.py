"""The file that a report goes to."""

from __future__ import annotations

from pathlib import Path


def refusal(path: Path) -> str:
    """Why nothing can be written there, found out before the work; empty where it can. Leaves no new file."""
    try:
        new = not path.exists()
        path.open("a").close()
        if new:
            path.resolve().unlink()  # a link that led nowhere is left
    except OSError as error:
        return _told(path, error)
    return ""


def write(path: Path, text: str) -> str:
    """Write it, in UTF-8. Returns why that failed; empty where it did not."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        return _told(path, error)
    return ""


def _told(path: Path, error: OSError) -> str:
    return f"error: --output {path} cannot be written: {error.strerror}"
