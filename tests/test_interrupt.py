"""Ctrl-C is told apart from a KeyboardInterrupt that somebody's code raises by itself."""

from __future__ import annotations

import signal
import threading

import pytest

from bncheck.implementations.interrupt import Interrupted, telling_apart


def test_control_c_is_an_interruption_inside_and_an_interrupt_outside() -> None:
    inside: list[type[BaseException]] = []

    def struck() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except BaseException as error:
            inside.append(type(error))
            raise

    with pytest.raises(KeyboardInterrupt) as raised, telling_apart():
        struck()
    assert (inside, raised.type) == ([Interrupted], KeyboardInterrupt)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_keyboard_interrupt_of_theirs_is_no_interruption() -> None:
    with pytest.raises(KeyboardInterrupt) as raised, telling_apart():
        raise KeyboardInterrupt("theirs")
    assert str(raised.value) == "theirs"


def test_a_handler_of_somebody_else_stays() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with telling_apart():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_than_the_main_one_changes_nothing() -> None:
    seen: list[object] = []

    def work() -> None:
        with telling_apart():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
