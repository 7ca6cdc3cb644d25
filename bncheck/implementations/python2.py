"""How to tell a file in Python 2, which much teaching material still is."""

from __future__ import annotations

import re

MODULES = {
    "cPickle": "pickle",
    "StringIO": "io",
    "cStringIO": "io",
    "urllib2": "urllib.request",
    "urlparse": "urllib.parse",
    "Queue": "queue",
    "ConfigParser": "configparser",
    "Tkinter": "tkinter",
    "__builtin__": "builtins",
    "copy_reg": "copyreg",
    "commands": "subprocess",
}
"""Modules of Python 2, and what has taken their place."""

_NAMES = frozenset(
    ("xrange", "unicode", "raw_input", "basestring", "long", "reduce", "unichr", "execfile", "reload", "cmp", "file")
)

_SYNTAX = (
    (r"^print\b", r"call to 'print'", "print statement"),
    (r"^exec\b", r"call to 'exec'", "exec statement"),
    (r"^except\b.+,", r"parenthesized|invalid syntax", "except X, e"),
    (r"^raise\b.+,", r"invalid syntax", "raise X, message"),
    (r"`", r"invalid syntax", "backticks"),
    (r"<>", r"invalid syntax", "the operator <>"),
    (r"\b0\d+", r"leading zeros", "an octal number without 0o"),
    (r"\d[lL]\b", r"invalid (decimal|syntax)", "a long number"),
    (r"\bur['\"]", r"invalid syntax", "a string with ur"),
)
"""What the line has, what Python 3 says of it, and what it is."""


def syntax(line: str, message: str) -> str:
    """What of Python 2 a line is that does not parse; empty where it is something else."""
    matches = (what for pattern, says, what in _SYNTAX if re.search(pattern, line) and re.search(says, message))
    return next(matches, "")


def name(error: NameError, where: str) -> str:
    """The sentence for a name that only Python 2 has; empty for any other."""
    return sentence(where, error.name) if error.name in _NAMES else ""


def imported(error: Exception, where: str) -> str:
    """The sentence for `from itertools import izip` and its like; empty for any other error."""
    gone = re.match(r"cannot import name '(izip|imap|ifilter|izip_longest)' from 'itertools'", str(error))
    return sentence(where, f"itertools.{gone[1]}") if gone else ""


def sentence(where: str, what: str) -> str:
    """The whole message."""
    return f"{where} is Python 2 ({what}); bncheck runs Python 3: convert it with 2to3"
