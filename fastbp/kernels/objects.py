"""Machine code as position-independent objects, which ask nothing of the process but its C library.

They are loaded as a library that the package ships, or linked from the cache by LLVM; only what is in neither is
compiled, and kept.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Iterable
from typing import Any

from .. import fork_hook
from . import cache, shipped
from .functions import Function

SHIPPED = "shipped"

_linker: Any = None
_numbers = itertools.count()
_libraries: dict[Function, Any] = {}  # which own the memory of what was linked


def origin(function: Function) -> str | None:
    """Return where a function would be loaded from, and load nothing.

    That is `SHIPPED`, a folder of the cache, or None where it would be compiled.
    """
    if shipped.holds(function.symbol):
        return SHIPPED
    folder = cache.keeper(function.symbol)
    return None if folder is None else folder.path


def addresses(functions: Iterable[Function]) -> dict[Function, int]:
    """Return where these functions lie once they are loaded."""
    found: dict[Function, int] = {}
    missing: list[Function] = []
    for function in functions:
        address = shipped.address(function.symbol)
        if address is None:
            address = _kept(function)
        if address is None:
            missing.append(function)
        else:
            found[function] = address
    if missing:
        for function, code in _compiler().compiled(missing):
            cache.write(function.symbol, code)
            found[function] = _linked(function, code)
    return found


@functools.cache
def _compiler() -> Any:
    """Import Numba, where something must be compiled."""
    import logging  # noqa: F401  # whose hook for forks must be there before ours is registered again

    fork_hook.register()
    from . import compiler

    return compiler


def _kept(function: Function) -> int | None:
    """Return where a function of the cache lies, or None where the cache has no object that defines it."""
    code = cache.read(function.symbol)
    if code is not None:
        with contextlib.suppress(RuntimeError):
            return _linked(function, code)
    return None


def _linked(function: Function, code: bytes) -> int:
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
