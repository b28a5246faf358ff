"""Machine code as position-independent objects, which ask nothing of the process but its C library.

They are loaded as a library that the package ships, or linked from the cache by LLVM; only what is in neither is
compiled, and kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from . import cache, shipped
from .functions import Function

SHIPPED = "shipped"

_linker: Any = None
_libraries: dict[Function, Any] = {}  # which own the memory of what was linked


def addresses(functions: Iterable[Function]) -> dict[Function, int]:
    """Return where these functions lie once they are loaded."""
    found: dict[Function, int] = {}
    left: list[Function] = []
    for function in functions:
        address = shipped.address(function.symbol)
        if address is None:
            left.append(function)
        else:
            found[function] = address
    if left:
        found |= _linked(dict(_kept_or_compiled(left)))
    return found


def origin(function: Function) -> str | None:
    """Return where a function would be loaded from, and load nothing.

    That is `SHIPPED`, a folder of the cache, or None where it would be compiled.
    """
    if shipped.holds(function.symbol):
        return SHIPPED
    folder = cache.keeper(function.symbol)
    return None if folder is None else folder.path


def _kept_or_compiled(functions: list[Function]) -> Iterator[tuple[Function, bytes]]:
    """Yield each function's object, from the cache or compiled now."""
    missing = []
    for function in functions:
        code = cache.read(function.symbol)
        if code is None:
            missing.append(function)
        else:
            yield function, code
    if missing:
        from . import compiler  # imports Numba

        for function, code in compiler.compiled(missing):
            cache.write(function.symbol, code)
            yield function, code


def _linked(objects: dict[Function, bytes]) -> dict[Function, int]:
    global _linker
    import llvmlite.binding as llvm

    if _linker is None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        # JITLink puts all sections of an object within the reach of its relative addresses.
        _linker = llvm.create_lljit_compiler(use_jit_link=True)
    for function, code in objects.items():
        library = llvm.JITLibraryBuilder().add_object_img(code).add_current_process().export_symbol(function.symbol)
        _libraries[function] = library.link(_linker, function.symbol)
    return {function: _libraries[function][function.symbol] for function in objects}
