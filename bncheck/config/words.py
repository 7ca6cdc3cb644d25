"""Which word was meant by one that is not known, and words in a sentence."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache

from bncheck.config.mistake import quoted

CUTOFF = 0.6
"""Words less alike than this (difflib's ratio, its own default) are not offered: a wild guess is worse than none."""

SYNONYMS = {
    "batchsize": ("shape",),
    "size": ("shape",),
    "epsilon": ("eps",),
    "axis": ("channel_axis",),
    "dx": ("dout",),
    "grad": ("dout",),
    "weight": ("gamma",),
    "scale": ("gamma", "std"),
    "bias": ("beta",),
    "shift": ("beta", "mean"),
    "tolerance": ("rtol",),
    "tol": ("rtol",),
    "atol": ("rtol",),
    "mu": ("mean",),
    "sigma": ("std",),
    "test": ("eval",),
    "inference": ("eval",),
    "training": ("train",),
    "double": ("float64",),
    "float": ("float32",),
    "single": ("float32",),
    "half": ("float16",),
    "random": ("normal",),
    "randn": ("normal",),
    "nchw": ("channels first",),
    "nhwc": ("channels last",),
    "path": ("file",),
    "init": ("create",),
    "constructor": ("create",),
}
"""What others call our words, in lower case without - and _; the first of ours that is known in the place is meant."""

_TYPOS_ARE_PLURAL = {"shape": "shapes", "seed": "seeds"}


def did_you_mean(word: str, known: Collection[str]) -> str:
    """A question that offers the known word that was meant; empty where none is near."""
    other = meant(word, tuple(known))
    return f"did you mean {quoted(other)}?" if other else ""


def listed(words: Sequence[str]) -> str:
    """The words in a sentence: a, b or c."""
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


@cache
def meant(word: str, known: tuple[str, ...]) -> str | None:
    """The known word that is meant by an unknown one; None where none is near."""
    plain = _plain(word)
    alike = [other for other in known if _plain(other) == plain]
    if alike or plain in SYNONYMS:
        return next((other for other in (*alike, *SYNONYMS.get(plain, ())) if other in known), None)
    import difflib

    candidates = [other for other in known if _TYPOS_ARE_PLURAL.get(other) not in known]
    near = difflib.get_close_matches(word[:40], candidates, n=1, cutoff=CUTOFF)
    return near[0] if near else None


def _plain(word: str) -> str:
    return word.casefold().replace("-", "").replace("_", "")
