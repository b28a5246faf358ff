"""The only file that says ``njit``: what a function may be compiled as, and with which options.

Every option that decides about results or speed stands here once. No fast-math flag is ever set: LLVM then neither
reassociates nor contracts, and the order of additions written in a kernel is the order that runs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core import ir as numba_ir
from numba.core.ccallback import CFunc
from numba.core.compiler_lock import global_compiler_lock
from numba.core.sigutils import normalize_signature
from numba.extending import intrinsic

from .cache import StampedCache

# nogil: other Python threads run on meanwhile. numpy's error model: a division never raises, so compiled code has no
# error path. Both are part of every kernel's contract.
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a building block into whatever calls it: other kernels, or a user's own ``@njit`` function."""
    return numba.njit(**OPTIONS)(function)


def inlined(function: Callable[..., Any]) -> Any:
    """Inline a building block before its caller is optimised: for large code that is called from one place.

    Each level of kernels is otherwise optimised and emitted once on its own and once more in every level above.
    """
    return numba.njit(inline="always", **OPTIONS)(function)


def serial_entry(function: Callable[..., Any]) -> Any:
    """Compile a function that Python calls and that runs on the calling thread; kept in the disk cache."""
    return _with_stamped_cache(numba.njit(**OPTIONS)(function), function, "serial")


def parallel_entry(function: Callable[..., Any]) -> Any:
    """Compile a function whose ``prange`` loops Numba's threads run; kept in the disk cache.

    Loading or compiling it starts Numba's thread pool, so it is a function of its own beside the serial entry.
    """
    return _with_stamped_cache(numba.njit(parallel=True, **OPTIONS)(function), function, "parallel")


def _with_stamped_cache(dispatcher: Any, function: Callable[..., Any], kind: str) -> Any:
    dispatcher._cache = StampedCache(function, kind)
    return dispatcher


class CompiledOnce:
    """A kernel compiled once for each dtype to a C function that every entry calls through its address.

    A kernel that two entries call is otherwise compiled into each of them again: for the tile code that costs
    another 3 s an entry. ``signature(dtype)`` gives the Numba signature of a dtype's version.
    """

    def __init__(self, function: Callable[..., Any], signature: Callable[[types.Type], Any]):
        self._function, self._signature = function, signature
        self._compiled: dict[types.Type, Any] = {}
        self.__doc__ = function.__doc__

    def compiled(self, dtype: types.Type) -> Any:
        """The C function for a Numba float type, compiled or loaded from the disk cache the first time."""
        with global_compiler_lock:
            if dtype not in self._compiled:
                callback: Any = CFunc(
                    self._function, normalize_signature(self._signature(dtype)), locals={}, options=dict(OPTIONS)
                )
                callback._cache = StampedCache(self._function, "once")
                with _scopes_shared():
                    callback.compile()
                self._compiled[dtype] = callback
            return self._compiled[dtype]

    def address(self, dtype: types.Type) -> int:
        address: int = self.compiled(dtype).address
        return address


def compiled_once(signature: Callable[[types.Type], Any]) -> Callable[[Callable[..., Any]], CompiledOnce]:
    return lambda function: CompiledOnce(function, signature)


@contextlib.contextmanager
def _scopes_shared() -> Iterator[None]:
    """Let Numba's inliner copy the blocks of a callee without the callee's scope, once for each block: 2 of 9 s.

    The inliner replaces all variables of the copies by new ones of the caller's scope, so it needs no other scope than
    the callee's own. Nobody else compiles meanwhile: all of Numba's compilation waits for this lock.
    """
    with global_compiler_lock:
        numba_ir.Scope.__deepcopy__ = lambda scope, memo: scope
        try:
            yield
        finally:
            del numba_ir.Scope.__deepcopy__


@intrinsic(prefer_literal=False)
def call_at(typingctx: Any, addresses: Any, arguments: Any) -> Any:
    """Call the C function whose address is ``addresses[0]`` with a tuple of arguments.

    The address is loaded as a pointer out of the array's memory, so no pointer is ever made from an integer.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        values = cgutils.unpack_tuple(builder, args[1])
        function = ir.FunctionType(ir.VoidType(), [value.type for value in values]).as_pointer()
        slot = builder.bitcast(context.make_array(addresses)(context, builder, args[0]).data, function.as_pointer())
        builder.call(builder.load(slot), values)
        return context.get_dummy_value()

    return types.void(addresses, arguments), codegen
