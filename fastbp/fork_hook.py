"""Prepare for forks: no lock stays held in the child by a thread that it does not have, and the child is serial.

`fastbp/__init__.py` imports this module first, so that the hook is there before any thread or lock.
"""

from __future__ import annotations

import os
import sys
from _thread import get_ident
from typing import Any

# Locks under which code is loaded or compiled, where their modules are imported.
_LOCKS = {"fastbp.kernels.objects": "lock", "numba.core.compiler_lock": "global_compiler_lock"}

_child = False
_held: dict[int, list[Any]] = {}  # by each thread that forks


def in_child() -> bool:
    """Return True in a child that was forked after fastbp was imported."""
    return _child


def _before() -> None:
    for module, name in _LOCKS.items():  # under the first of them Numba may be imported
        lock = getattr(sys.modules.get(module), name, None)
        if lock is not None:
            lock.acquire()
            _held.setdefault(get_ident(), []).append(lock)


def _after() -> None:
    for lock in reversed(_held.pop(get_ident(), [])):
        lock.release()


def _after_in_child() -> None:
    global _child
    _child = True
    _after()


def register() -> None:
    """Have a fork wait until no other thread compiles: the child would wait forever for a thread that it does not have.

    Hooks run in reverse order, and that of `logging` takes a lock which Numba needs while it is imported: whoever
    imports Numba registers this hook again behind it. Its locks can be taken twice.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after_in_child)


register()
