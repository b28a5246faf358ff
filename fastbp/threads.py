"""Which of Numba's threads a call may use, and when none: the threading policy.

- TBB where its library can be loaded, else OpenMP: both may be entered from several Python threads at a time.
- Never Numba's own workqueue, which aborts the process when two Python threads meet in it: then serial.
- After a fork: serial in the child, whose pool did not survive.
- What the user has set (``NUMBA_THREADING_LAYER``, ``NUMBA_NUM_THREADS``, ``numba.set_num_threads``) holds.
- Else no more threads than processors, of which a container's quota may allow fewer than Numba's pool has threads; the
  others of the pool stay idle.

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
    # A fork waits until no other thread compiles: the child would wait for ever for a thread that it does not have.
    os.register_at_fork(
        before=global_compiler_lock.acquire, after_in_parent=global_compiler_lock.release, after_in_child=_after_fork
    )


def load_tbb() -> bool:
    """Load the library of the ``tbb`` distribution, which lies off the loader's path, by its absolute path."""
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
    """The threading layer that parallel calls use, ``"tbb"`` or ``"omp"``; None where all calls are serial.

    The first call starts Numba's pool, by Numba's own choice with TBB within reach, and sees what it has become.

    Examples
    --------
    >>> layer() in ("tbb", "omp", None)
    True
    """
    _default()  # before a library is loaded: OpenMP's may bind this thread to one processor
    load_tbb()  # a system's own TBB serves too
    try:
        numba.get_num_threads()
        chosen = numba.threading_layer()
    except ValueError:  # the layer that the user asks for cannot be loaded
        return None
    return chosen if chosen in ("tbb", "omp") else None


def count() -> int:
    """Return how many threads a call from here may use: 1 means serial. Does not start the pool.

    As many as Numba may use, but no more than the processors that this process is bound to, and than its container's
    CPU quota, rounded up. Where the user has set ``NUMBA_NUM_THREADS``, or fewer by ``numba.set_num_threads``, that
    number holds. Binding and quota are looked at once in a process.

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
    """Whether the user lets calls from here use several threads, however few processors there are.

    Examples
    --------
    >>> with limit(1):
    ...     several_allowed()
    False
    """
    return _limit.get() != 1 and not _forked and _set_in_numba() > 1


def _set_in_numba() -> int:
    """`numba.get_num_threads`, which takes 1 us for the question whether the pool has started, and starts it."""
    threads: int = parallel._get_num_threads() if started() else config.NUMBA_NUM_THREADS
    return threads


@functools.cache
def _default() -> int:
    """Numba's default number of threads, but none without a processor; as it is where the user has set that number."""
    default: int = config.NUMBA_DEFAULT_NUM_THREADS
    return default if "NUMBA_NUM_THREADS" in os.environ else min(default, hardware.processors())


def limited() -> bool:
    """Whether a limit is in force here."""
    return _limit.get() is not None


def started() -> bool:
    """Whether Numba's pool of threads runs already."""
    return bool(parallel._is_initialized)


@contextlib.contextmanager
def limit(threads: int | None) -> Iterator[None]:
    """Let calls within the block use at most so many threads; results do not depend on it by a single bit.

    Parameters
    ----------
    threads : int or None
        At least 1; None sets no limit.

    Raises
    ------
    ValueError, TypeError
        When `threads` is below 1, or no whole number.

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
    """Numba's own settings for one parallel call, put back after it: they belong to this Python thread alone."""
    before = numba.get_num_threads()
    if threads >= before:  # to set and put back takes 3 us
        yield
        return
    numba.set_num_threads(threads)
    try:
        yield
    finally:
        numba.set_num_threads(before)
