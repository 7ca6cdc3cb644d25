"""Ctrl-C told apart from a KeyboardInterrupt that somebody's code raises by itself."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """The user has pressed ctrl-C, and means all of the work: not the one call that it struck."""


@contextlib.contextmanager
def telling_apart() -> Iterator[None]:
    """While this lasts, ctrl-C raises Interrupted; what leaves this is a KeyboardInterrupt as ever.

    Changes nothing where signals are not ours to handle: in another thread than the main one, and where somebody
    handles SIGINT already.
    """
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    except Interrupted:
        raise KeyboardInterrupt from None
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted
