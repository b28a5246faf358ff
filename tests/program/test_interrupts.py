"""Ctrl-C held back: it comes after the block, once, and what was there before is there again."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from fastbp.program.interrupts import interrupt_held


@pytest.fixture
def received() -> Iterator[list[int]]:
    """Grows by one with every Ctrl-C that the handler in force receives."""
    numbers: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: numbers.append(number))
    yield numbers
    signal.signal(signal.SIGINT, before)


def test_it_comes_once_and_after_the_block(received: list[int]) -> None:
    mine = signal.getsignal(signal.SIGINT)
    with interrupt_held():
        with interrupt_held():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            assert received == []
        assert received == []
    assert received == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is mine


def test_an_error_within_the_block_goes_first(received: list[int]) -> None:
    mine = signal.getsignal(signal.SIGINT)
    with pytest.raises(ValueError, match="first"), interrupt_held():
        signal.raise_signal(signal.SIGINT)
        raise ValueError("first")
    assert received == []
    assert signal.getsignal(signal.SIGINT) is mine


@pytest.mark.parametrize("ignored", [signal.SIG_IGN, None])
def test_who_ignores_it_or_is_no_main_thread_is_left_alone(ignored: Any, received: list[int]) -> None:
    if ignored is not None:
        signal.signal(signal.SIGINT, ignored)
    before, found = signal.getsignal(signal.SIGINT), []

    def look() -> None:
        with interrupt_held():
            found.append(signal.getsignal(signal.SIGINT))

    if ignored is None:
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    else:
        look()
    assert found == [before]
