"""What happens at a fork: no lock is left held in the child by a thread that it does not have, and the child is serial.

`fastbp/__init__.py` imports this module first, so that the hook is there before any thread or lock.
"""

from __future__ import annotations

import os
import sys
from typing import Any

# Locks under which code is loaded or compiled, where their modules are imported.
_LOCKS = {"fastbp.kernels.functions": "lock", "numba.core.compiler_lock": "global_compiler_lock"}

_child = False
_held: list[Any] = []


def in_child() -> bool:
    """Return True in a child that was forked after fastbp was imported."""
    return _child


def _before() -> None:
    for module, name in _LOCKS.items():
        lock = getattr(sys.modules.get(module), name, None)
        if lock is not None:
            lock.acquire()
            _held.append(lock)


def _after() -> None:
    while _held:
        _held.pop().release()


def _after_in_child() -> None:
    global _child
    _child = True
    _after()


if hasattr(os, "register_at_fork"):
    # A fork waits until no other thread compiles: the child would wait forever for a thread that it does not have.
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after_in_child)
