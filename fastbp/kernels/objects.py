"""The C functions in memory, from position-independent objects, which ask nothing of the process but its C library.

They are loaded as a library that the package ships, or linked from the cache by LLVM. Only what is in neither is
compiled, and kept; only then is Numba imported.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import sys
import threading
from collections.abc import Collection, Iterable
from typing import Any

from .. import fork_hook
from . import cache, shipped
from .functions import Compiled

SHIPPED = "shipped"

lock = threading.RLock()  # held while functions are loaded or compiled
compiler_imported = False  # whether Numba was imported by fastbp, which compiles here
_addresses: dict[Compiled, int] = {}
_linker: Any = None
_numbers = itertools.count()
_libraries: dict[Compiled, Any] = {}  # which own the memory of what was linked


def origin(function: Compiled) -> str | None:
    """Return where a function would be loaded from, and load nothing.

    That is `SHIPPED`, a folder of the cache, or None where it would be compiled.
    """
    if shipped.holds(function.symbol):
        return SHIPPED
    folder = cache.keeper(function.symbol)
    return None if folder is None else folder.path


def addresses(functions: Collection[Compiled]) -> list[int]:
    """Return where these functions lie in memory, loading or compiling those that are not there yet."""
    missing = [function for function in dict.fromkeys(functions) if function not in _addresses]
    if missing:
        with lock:
            _addresses.update(_loaded(function for function in missing if function not in _addresses))
        if any(function not in _addresses for function in missing):
            before_numba()  # not under the lock, for which a fork may wait with that of `logging` in its hands
            with lock:
                _addresses.update(_compiled([function for function in missing if function not in _addresses]))
    return [_addresses[function] for function in functions]


def _loaded(functions: Iterable[Compiled]) -> dict[Compiled, int]:
    """Return where those of these functions lie that need no compiling."""
    found: dict[Compiled, int] = {}
    for function in functions:
        address = shipped.address(function.symbol)
        if address is None:
            address = _kept(function)
        if address is not None:
            found[function] = address
    return found


def in_memory(function: Compiled) -> int | None:
    """Return where a function lies, or None where it is not in memory yet."""
    return _addresses.get(function)


def load(function: Compiled) -> int | None:
    """Return where a function lies, loading it under `lock`, or None where it would have to be compiled."""
    with lock:
        _addresses.update(_loaded([function]))
    return in_memory(function)


def link(function: Compiled, code: bytes) -> int:
    """Return where a function lies, linking under `lock` the object that another process made of it."""
    with lock:
        if function not in _addresses:
            _addresses[function] = _linked(function, code)
    return _addresses[function]


def import_linker() -> None:
    """Import what links objects, which takes 0.1 s, under `lock`: a child forked meanwhile could never import it."""
    with lock:
        import llvmlite.binding  # noqa: F401


def _compiled(functions: Collection[Compiled]) -> dict[Compiled, int]:
    """Compile functions, keep them, and return where they lie."""
    from . import compiler  # imports Numba

    found: dict[Compiled, int] = {}
    for function, code in compiler.compiled(functions):
        cache.write(function.symbol, code)
        found[function] = _linked(function, code)
    return found


@functools.cache
def before_numba() -> None:
    """Register the hook for forks again, behind that of `logging`, before Numba is imported."""
    global compiler_imported
    import logging  # noqa: F401

    fork_hook.register()
    compiler_imported = "numba" not in sys.modules


def _kept(function: Compiled) -> int | None:
    """Return where a function of the cache lies, or None where the cache has no object that defines it."""
    code = cache.read(function.symbol)
    if code is not None:
        with contextlib.suppress(RuntimeError):
            return _linked(function, code)
    return None


def _linked(function: Compiled, code: bytes) -> int:
    global _linker
    import llvmlite.binding as llvm

    if _linker is None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        # JITLink puts all sections of an object within the reach of its relative addresses.
        _linker = llvm.create_lljit_compiler(use_jit_link=True)
    library = llvm.JITLibraryBuilder().add_object_img(code).add_current_process().export_symbol(function.symbol)
    name = f"{function.symbol}-{next(_numbers)}"  # the name of a library that failed cannot be used again
    _libraries[function] = library.link(_linker, name)
    return int(_libraries[function][function.symbol])
