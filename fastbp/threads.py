"""The threading policy: how many of Numba's threads a call may use, and when it is serial.

- TBB if its library can be loaded, else OpenMP: several Python threads may enter either at the same time.
- Serial instead of Numba's own workqueue, which aborts the process if two Python threads enter it.
- Serial in a forked child, where the pool of threads did not survive.
- The user's settings (``NUMBA_THREADING_LAYER``, ``NUMBA_NUM_THREADS``, ``numba.set_num_threads``) take precedence.
- By default at most as many threads as processors. A container's quota may allow fewer than Numba's pool has threads;
  the others stay idle.

Nothing is loaded or started at import: small networks never start the pool.
"""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
import functools
import importlib.metadata
import os
from collections.abc import Iterator
from pathlib import Path

import numba
from numba.core import config
from numba.core.compiler_lock import global_compiler_lock
from numba.np.ufunc import parallel

from . import hardware
from .validation import whole_number

TBB_LIBRARIES = {"libtbb.so.12", "libtbb.12.dylib", "tbb12.dll"}

_limit: contextvars.ContextVar[int | None] = contextvars.ContextVar("fastbp_thread_limit", default=None)
_forked = False


def _after_fork() -> None:
    global _forked
    _forked = True
    global_compiler_lock.release()


if hasattr(os, "register_at_fork"):
    # A fork waits until no other thread compiles: the child would wait forever for a thread that it does not have.
    os.register_at_fork(
        before=global_compiler_lock.acquire, after_in_parent=global_compiler_lock.release, after_in_child=_after_fork
    )


def load_tbb() -> bool:
    """Load the library of the ``tbb`` distribution by its absolute path, since the loader does not search there."""
    try:
        files = importlib.metadata.files("tbb") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name in TBB_LIBRARIES:
            try:
                ctypes.CDLL(str(Path(file.locate()).resolve()), mode=ctypes.RTLD_GLOBAL)
            except OSError:
                continue
            return True
    return False


@functools.cache
def layer() -> str | None:
    """Return the threading layer that parallel calls use, ``"tbb"`` or ``"omp"``; None if all calls are serial.

    The first call makes TBB's library available and starts Numba's pool, which chooses the layer.

    Examples
    --------
    >>> layer() in ("tbb", "omp", None)
    True
    """
    _default()  # before a library is loaded: OpenMP's may bind this thread to one processor
    load_tbb()  # if this fails, Numba may still find the system's own
    try:
        numba.get_num_threads()
        chosen = numba.threading_layer()
    except ValueError:  # the layer that the user has set cannot be loaded
        return None
    return chosen if chosen in ("tbb", "omp") else None


def count() -> int:
    """Return the number of threads that a call made here may use; 1 means serial. Does not start the pool.

    That is Numba's number of threads, but at most the number of processors that this process may run on, and its
    container's CPU quota, rounded up; both are read once per process. A number that the user has set by
    ``NUMBA_NUM_THREADS`` or ``numba.set_num_threads`` takes precedence.

    Examples
    --------
    >>> with limit(1):
    ...     count()
    1
    """
    wanted = _limit.get()
    if wanted == 1 or _forked:
        return 1
    allowed = _set_in_numba()
    if allowed == config.NUMBA_DEFAULT_NUM_THREADS:  # nobody has set another number
        allowed = _default()
    return allowed if wanted is None else min(wanted, allowed)


def several_allowed() -> bool:
    """Return True if the user's settings allow several threads here, regardless of the number of processors.

    Examples
    --------
    >>> with limit(1):
    ...     several_allowed()
    False
    """
    return _limit.get() != 1 and not _forked and _set_in_numba() > 1


def _set_in_numba() -> int:
    """Return `numba.get_num_threads()` without starting the pool, and without its 1 us for checking that it runs."""
    threads: int = parallel._get_num_threads() if started() else config.NUMBA_NUM_THREADS
    return threads


@functools.cache
def _default() -> int:
    """Return Numba's default number of threads, at most one per processor unless the user has set the number."""
    default: int = config.NUMBA_DEFAULT_NUM_THREADS
    return default if "NUMBA_NUM_THREADS" in os.environ else min(default, hardware.processors())


def limited() -> bool:
    """Return True within `limit`."""
    return _limit.get() is not None


def started() -> bool:
    """Return True if Numba's pool of threads has started."""
    return bool(parallel._is_initialized)


@contextlib.contextmanager
def limit(threads: int | None) -> Iterator[None]:
    """Limit the threads that calls within the block use. Results have the same bits whatever the number.

    Parameters
    ----------
    threads : int or None
        The largest number of threads, at least 1; None: no limit.

    Raises
    ------
    ValueError, TypeError
        `threads` is below 1, or not a whole number.

    Examples
    --------
    >>> import fastbp
    >>> with fastbp.threads.limit(1):
    ...     probabilities = fastbp.MLP((2, 3, 2), seed=0).predict_proba([[0.5, 1.0]])
    """
    token = _limit.set(None if threads is None else whole_number("threads", threads))
    try:
        yield
    finally:
        _limit.reset(token)


@contextlib.contextmanager
def entered(threads: int) -> Iterator[None]:
    """Set Numba's number of threads for one parallel call, in this Python thread only, and restore it afterwards."""
    before = numba.get_num_threads()
    if threads >= before:  # to set and restore it takes 3 us
        yield
        return
    numba.set_num_threads(threads)
    try:
        yield
    finally:
        numba.set_num_threads(before)
