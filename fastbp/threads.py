"""The threading policy: how many threads a call may use, whose they are, and when it is serial.

- Python's own threads, which enter the compiled pass with the GIL released; they start at once and need no library. One
  call at a time has them (`program.team`), another one is serial meanwhile.
- Where a program imports Numba for itself: its pool, if that is TBB's or OpenMP's, which several Python threads may
  enter at the same time.
- Serial in a forked child, where no thread survived.
- The user's settings (``NUMBA_THREADING_LAYER``, ``NUMBA_NUM_THREADS``, ``numba.set_num_threads``) take precedence.
- By default at most as many threads as processors. A container's quota may allow fewer than a pool has threads; the
  others stay idle.

Nothing is loaded or started at import: small networks never start a thread.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import os
import sys
from collections.abc import Iterator
from typing import Any

from . import fork_hook, hardware
from .kernels import objects
from .validation import whole_number

TBB_LIBRARIES = {"libtbb.so.12", "libtbb.12.dylib", "tbb12.dll"}

_limit: contextvars.ContextVar[int | None] = contextvars.ContextVar("fastbp_thread_limit", default=None)
_layer: str | None = None  # once it is decided


def load_tbb() -> bool:
    """Load the library of the ``tbb`` distribution by its absolute path, since the loader does not search there."""
    import ctypes
    import importlib.metadata

    try:
        files = importlib.metadata.files("tbb") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name in TBB_LIBRARIES:
            try:
                ctypes.CDLL(os.path.realpath(str(file.locate())), mode=ctypes.RTLD_GLOBAL)
            except OSError:
                continue
            return True
    return False


def by_numba() -> bool:
    """Return True if parallel calls use Numba's pool of threads, or would if the first were made now."""
    return _numba_of_others() if _layer is None else _layer != "python"


def _numba_of_others() -> bool:
    """Return True if Numba was imported, but not because fastbp had something to compile: a first fit needs no pool."""
    return "numba" in sys.modules and not objects.compiler_imported


def ready() -> bool:
    """Return True if parallel calls wait for nothing to start."""
    return _layer == "python" or started()


def layer() -> str:
    """Return whose threads parallel calls use: ``"python"``, or Numba's by its layer, ``"tbb"`` or ``"omp"``.

    The first call decides, and starts Numba's pool if Numba is imported, not counting an import by fastbp's compiler.

    Examples
    --------
    >>> layer() in ("tbb", "omp", "python")
    True
    """
    global _layer
    if _layer is None:
        if "numba" in sys.modules:
            objects.before_numba()
        with objects.lock:  # a fork waits for it: a child would find Numba half started
            _layer = _layer or _chosen()
    return _layer


def _chosen() -> str:
    if not _numba_of_others():
        return "python"
    import numba

    _default()  # before a library is loaded: OpenMP's may bind this thread to one processor
    load_tbb()  # if this fails, Numba may still find the system's own
    try:
        numba.get_num_threads()
        chosen = numba.threading_layer()
    except ValueError:  # the layer that the user has set cannot be loaded
        return "python"
    return chosen if chosen in ("tbb", "omp") and not numba.config.DISABLE_JIT else "python"


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
    if wanted == 1 or fork_hook.in_child():
        return 1
    allowed = _allowed_without_numba() if _numbas("NUMBA_NUM_THREADS") is None else _allowed()
    return allowed if wanted is None else min(wanted, allowed)


def _allowed() -> int:
    """Return `count` where no limit is in force."""
    allowed = _set_in_numba()
    nobody_has_set_another = allowed == (_numbas("NUMBA_DEFAULT_NUM_THREADS") or hardware.affinity())
    return _default() if nobody_has_set_another else allowed


@functools.cache
def _allowed_without_numba() -> int:
    """Return the same where Numba is not imported; once per process, since it takes 9 us to ask the system."""
    return _allowed()


def several_allowed() -> bool:
    """Return True if the user's settings allow several threads here, regardless of the number of processors.

    Examples
    --------
    >>> with limit(1):
    ...     several_allowed()
    False
    """
    return _limit.get() != 1 and not fork_hook.in_child() and _set_in_numba() > 1


def _numbas(name: str) -> Any:
    """Return a setting of Numba's, or None where Numba is not imported."""
    module = sys.modules.get("numba.core.config")
    return getattr(module, name, None)


def _set_in_numba() -> int:
    """Return the number of threads that the user's settings of Numba allow.

    That is `numba.get_num_threads()`, without starting the pool, and without its 1 us for checking that it runs.
    """
    if started():
        return int(sys.modules["numba.np.ufunc.parallel"]._get_num_threads())
    return configured()


def configured() -> int:
    """Return the number of threads that ``NUMBA_NUM_THREADS`` says, or one for each processor."""
    threads = _numbas("NUMBA_NUM_THREADS")
    if threads is None:
        with contextlib.suppress(ValueError):  # Numba, too, passes over what is no number
            threads = max(1, int(os.environ.get("NUMBA_NUM_THREADS", "")))
    return int(threads or hardware.affinity())


@functools.cache
def _default() -> int:
    """Return the default number of threads, at most one per processor unless the user has set the number."""
    default = int(_numbas("NUMBA_DEFAULT_NUM_THREADS") or hardware.affinity())
    return default if "NUMBA_NUM_THREADS" in os.environ else min(default, hardware.processors())


def limited() -> bool:
    """Return True within `limit`."""
    return _limit.get() is not None


def started() -> bool:
    """Return True if Numba's pool of threads has started."""
    return bool(getattr(sys.modules.get("numba.np.ufunc.parallel"), "_is_initialized", False))


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
    import numba

    before = numba.get_num_threads()
    if threads >= before:  # to set and restore it takes 3 us
        yield
        return
    numba.set_num_threads(threads)
    try:
        yield
    finally:
        numba.set_num_threads(before)
