"""The only file that says ``njit``: what a function may be compiled as, with which options, and the disk cache.

Every option that decides about results or speed stands here once. No fast-math flag is ever set: LLVM then neither
reassociates nor contracts, and the order of additions written in a kernel is the order that runs.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import llvmlite
import numba
from llvmlite import ir
from numba import types
from numba.core import caching, cgutils, config
from numba.core import ir as numba_ir
from numba.core.ccallback import CFunc
from numba.core.compiler_lock import global_compiler_lock
from numba.core.sigutils import normalize_signature
from numba.extending import intrinsic

# nogil: other Python threads run on meanwhile. numpy's error model: a division never raises, so compiled code has no
# error path. Both are part of every kernel's contract.
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}

PACKAGE = Path(__file__).resolve().parents[1]

# What changes machine code without being part of Numba's own cache key.
CODEGEN_SETTINGS = ("OPT", "BOUNDSCHECK", "LOOP_VECTORIZE", "SLP_VECTORIZE", "ENABLE_AVX", "DEBUGINFO_DEFAULT")


def kernel(function: Callable[..., Any]) -> Any:
    """A building block: compiled into whatever calls it, other kernels or a user's own ``@njit`` function."""
    return numba.njit(**OPTIONS)(function)


def inlined(function: Callable[..., Any]) -> Any:
    """The same, put into its caller before either is compiled: for large code that is called from one place.

    Each level of kernels is otherwise optimised and emitted once on its own and once more in every level above.
    """
    return numba.njit(inline="always", **OPTIONS)(function)


def serial_entry(function: Callable[..., Any]) -> Any:
    """Called from Python; runs on the calling thread; kept in the disk cache."""
    return _with_stamped_cache(numba.njit(**OPTIONS)(function), function, "serial")


def parallel_entry(function: Callable[..., Any]) -> Any:
    """The same body with its ``prange`` loops run by Numba's threads; kept in the disk cache.

    Loading or compiling it starts Numba's thread pool, so it is a function of its own beside the serial entry.
    """
    return _with_stamped_cache(numba.njit(parallel=True, **OPTIONS)(function), function, "parallel")


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
                callback._cache = _stamped_cache(self._function, "once") or callback._cache
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


# ---- a disk cache that is never stale ----
# Stock cache=True leaves out of its key every other file of the package, the decorator's options and the settings
# above, and two processes racing on its index can swap entries. Here each entry is one file, named by a hash of all
# of that; an entry that cannot be read, for whatever reason, is a miss and is written again.


def package_stamp() -> str:
    """Hash of every source file of the package and of the compiler's versions."""
    digest = hashlib.sha256(repr((numba.__version__, llvmlite.__version__)).encode())
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


STAMP = package_stamp()  # now: an upgrade while the process runs must not take this code for its own


class _OneFileAnEntry(caching.IndexDataCacheFile):  # type: ignore[misc]
    def _entry(self, key: Any) -> str:
        settings = [(name, getattr(config, name, None)) for name in CODEGEN_SETTINGS]
        digest = hashlib.sha256(repr((self._source_stamp, settings, key)).encode()).hexdigest()[:32]
        return f"{self._index_name.removesuffix('.nbi')}.{STAMP}.{digest}.nbc"

    def _save_data(self, name: str, data: Any) -> None:
        content = self._dump(data)
        with self._open_for_write(self._data_path(name)) as file:
            file.write(hashlib.sha256(content).digest() + content)

    def _load_data(self, name: str) -> Any:
        content = Path(self._data_path(name)).read_bytes()
        digest, content = content[:32], content[32:]
        if hashlib.sha256(content).digest() != digest:
            raise ValueError(f"{name}: damaged")
        return pickle.loads(content)

    def flush(self) -> None:
        """There is no index to flush."""

    def save(self, key: Any, data: Any) -> None:
        try:
            self._save_data(self._entry(key), (repr(key), self._source_stamp, data))
            _prune(Path(self._cache_path))
        except OSError:  # a full or read-only disk costs the next start its time, never this one its result
            pass

    def load(self, key: Any) -> Any:
        try:
            saved_key, stamp, data = self._load_data(self._entry(key))
        except Exception:  # missing, truncated, or of another pickle: a miss
            return None
        return data if (saved_key, stamp) == (repr(key), self._source_stamp) else None


class _OwnCode(caching.CompileResultCacheImpl):  # type: ignore[misc]
    def check_cachable(self, compiled: Any) -> bool:
        """Always: no kernel holds a pointer, and to search the text of its modules for one would take 0.9 s."""
        return True


class _StampedCache(caching.FunctionCache):  # type: ignore[misc]
    _impl_class = _OwnCode

    def __init__(self, function: Callable[..., Any], kind: str):
        super().__init__(function)
        # Of the file name Numba derives, keep the function's name alone: the rest is in the entry's hash.
        name = f"fastbp-{function.__name__}-{kind}"
        stamp = (function.__module__, name, repr(sorted(OPTIONS.items())))
        self._cache_file = _OneFileAnEntry(cache_path=self._cache_path, filename_base=name, source_stamp=stamp)

    def save_overload(self, sig: Any, data: Any) -> None:
        with contextlib.suppress(OSError):  # the folder was there at import and is no longer, or not to be written
            super().save_overload(sig, data)


def _stamped_cache(function: Callable[..., Any], kind: str) -> _StampedCache | None:
    """None where nothing can be written: then everything is compiled anew in each process."""
    try:
        return _StampedCache(function, kind)
    except RuntimeError:
        return None


def _with_stamped_cache(dispatcher: Any, function: Callable[..., Any], kind: str) -> Any:
    cache = _stamped_cache(function, kind)
    if cache is not None:
        dispatcher._cache = cache
    return dispatcher


def cache_folder() -> str | None:
    """Where compiled code is kept, or None where no folder can be written."""
    cache = _stamped_cache(package_stamp, "once")
    return None if cache is None else str(cache.cache_path)


@functools.cache
def _prune(folder: Path) -> None:
    """Delete, once a process, what earlier sources of this package left in the folder: no key can match it again."""
    for entry in folder.glob("fastbp-*.nbc"):
        if f".{STAMP}." not in entry.name:
            with contextlib.suppress(OSError):  # another process was faster
                os.unlink(entry)
