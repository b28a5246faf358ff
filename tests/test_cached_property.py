"""The cached property has no lock: no instance waits for another one."""

from __future__ import annotations

import functools
import inspect
import threading
from typing import Any

import pytest

from fastbp.cached_property import cached_property
from fastbp.program import parameters, passes, split


class Slow:
    def __init__(self, wait: threading.Event | None = None):
        self.wait, self.reached, self.computed = wait, threading.Event(), 0

    @cached_property
    def value(self) -> int:
        """What it is."""
        self.computed += 1
        self.reached.set()
        assert self.wait is None or self.wait.wait(60)
        return 7


def test_it_is_computed_once_and_may_be_deleted() -> None:
    slow = Slow()
    assert (slow.value, slow.value, slow.computed) == (7, 7, 1)
    del slow.value
    assert (slow.value, slow.computed) == (7, 2)
    assert inspect.getdoc(Slow.value) == "What it is."


def test_no_object_waits_for_another_one() -> None:
    """As a forked child would, for ever, whose parent's other thread was at it."""
    go_on = threading.Event()
    slow, answers = Slow(go_on), []
    first = threading.Thread(target=lambda: slow.value)
    second = threading.Thread(target=lambda: answers.append(Slow().value))
    first.start()
    assert slow.reached.wait(60)
    second.start()
    second.join(10)
    there = list(answers)
    go_on.set()
    first.join(60)
    second.join(60)
    assert there == [7]


@pytest.mark.parametrize("module", [parameters, passes, split])
def test_what_computes_has_no_property_with_a_lock(module: Any) -> None:
    for _, kind in inspect.getmembers(module, inspect.isclass):
        names = [name for name, value in vars(kind).items() if isinstance(value, functools.cached_property)]
        assert names == [], f"{kind.__name__}: functools.cached_property locks before Python 3.12, expected fastbp's"
