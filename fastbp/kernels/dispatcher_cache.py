"""The disk cache of what Numba's dispatchers compile, in the folders of `cache` and under its stamp."""

from __future__ import annotations

import contextlib
import pickle
import sys
from collections.abc import Callable
from typing import Any

from numba.core import caching, config
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from . import cache

# What changes machine code without being part of Numba's own cache key.
CODEGEN_SETTINGS = ("OPT", "BOUNDSCHECK", "LOOP_VECTORIZE", "SLP_VECTORIZE", "ENABLE_AVX", "DEBUGINFO_DEFAULT")
INTERPRETER = (sys.implementation.cache_tag, sys.flags.optimize)


class StampedCache(caching.Cache):  # type: ignore[misc]
    """The cached versions of one function, as Numba's dispatchers ask for them.

    ``kind`` tells apart what one function is compiled to.
    """

    def __init__(self, function: Callable[..., Any], kind: str):
        self._py_func = function  # which Numba's key needs
        self._name = f"fastbp-{function.__name__}-{kind}"
        self.enable()

    @property
    def cache_path(self) -> str | None:
        return next((folder.path for folder in reversed(cache.folders())), None)

    def flush(self) -> None:
        """There is no index to flush."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        target_context.refresh()
        if not self._enabled:
            return None
        key = self._key(sig, target_context.codegen())
        content = cache.read(self._name, key)
        if content is None:
            return None
        try:
            saved_key, reduced = pickle.loads(content)
        except Exception:  # of another pickle: a miss
            return None
        return CompileResult._rebuild(target_context, *reduced) if saved_key == key else None

    def save_overload(self, sig: Any, data: Any) -> None:
        if self._enabled:
            key = self._key(sig, data.codegen)
            with contextlib.suppress(OSError):
                cache.write(self._name, dumps((key, data._reduce())), key)

    def _key(self, sig: Any, codegen: Any) -> str:
        settings = [(name, getattr(config, name, None)) for name in CODEGEN_SETTINGS]
        return repr((self._py_func.__module__, self._name, INTERPRETER, settings, self._index_key(sig, codegen)))
