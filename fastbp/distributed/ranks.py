"""The processes of an MPI job: sums in a fixed order, errors that every rank raises, shares of the processors.

A communicator is mpi4py's, or any object with the few methods used here. mpi4py's MPI is imported only when it is
needed, because the import starts MPI.
"""

from __future__ import annotations

import builtins
import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .. import hardware, threads

Array = NDArray[Any]
T = TypeVar("T")
AGREED = "_agreed_by_ranks"  # attribute of an error that every rank raises: this rank's number


def world() -> Any:
    """Return MPI's communicator of all processes."""
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py finds no MPI library
        raise ModuleNotFoundError(
            f"fastbp.distributed: got {error}, expected mpi4py and an MPI library; pip install 'fastbp[mpi]' installs "
            "both, and mpirun",
            name="mpi4py",
        ) from error
    return MPI.COMM_WORLD


class Ranks:
    """A communicator as one of its processes sees it.

    Attributes
    ----------
    comm : mpi4py.MPI.Comm
    rank, size : int
        This process's number, from 0, and the number of processes.
    """

    def __init__(self, comm: Any = None):
        self.comm = world() if comm is None else comm
        missing = [name for name in ("Get_rank", "Get_size", "Allgather", "Alltoall") if not hasattr(self.comm, name)]
        if missing:
            raise TypeError(f"comm: got {type(self.comm).__name__}, expected a communicator of mpi4py")
        self.rank, self.size = self.comm.Get_rank(), self.comm.Get_size()

    @property
    def is_root(self) -> bool:
        """True for rank 0, which prints and saves."""
        return bool(self.rank == 0)

    # ---- numbers ----

    def summed(self, values: Any) -> NDArray[np.float64]:
        """Return the sum over ranks, in float64 and in their order: the same bits on each rank and in every run."""
        parts = self.comm.allgather(np.asarray(values, np.float64))
        total: NDArray[np.float64] = np.zeros_like(parts[0])
        for part in parts:
            total = total + part
        return total

    def mean(self, value: float, count: int) -> float:
        """Return the mean over all ranks' rows, given this rank's mean over `count` rows."""
        total, rows = self.summed([value * count, count])
        return float(total / rows)

    # ---- errors ----

    def agree(self, action: Callable[[], T]) -> T:
        """Return ``action()`` if it succeeds on every rank; else every rank raises the same error."""
        result, error = None, None
        try:
            result = action()
        except Exception as raised:
            error = raised
        errors = self.comm.allgather(None if error is None else (_builtin_name(error), str(error)))
        if not any(errors):
            return result  # type: ignore[return-value]
        rank, (name, text) = next((rank, each) for rank, each in enumerate(errors) if each is not None)
        if error is not None and (all(each == errors[0] for each in errors) or not _is_reproducible(error)):
            agreed: Exception = error  # the same on every rank, or of a class that only this rank knows
        else:
            agreed = _error_class(name)(f"rank {rank}: {text}")
        raise self.mark_agreed(agreed) from error if error is not agreed else None

    def mark_agreed(self, error: T) -> T:
        """Mark an error that every rank raises: no rank waits for another, and only rank 0 prints it."""
        error.__dict__[AGREED] = self.rank
        if not self.is_root:
            _print_on_root_only()
        return error

    @contextlib.contextmanager
    def aborting_on_error(self) -> Iterator[None]:
        """End the job on an error that not every rank raises: the others would wait for this rank forever."""
        try:
            yield
        except BaseException as error:
            if self.size > 1 and not hasattr(error, AGREED):
                what = "".join(traceback.format_exception_only(error)).strip()
                where = "" if _explains_itself(error) else "".join(traceback.format_tb(error.__traceback__))
                with contextlib.suppress(OSError, ValueError, AttributeError):  # no standard error to write to
                    sys.stderr.write(f"{where}fastbp: rank {self.rank} of {self.size} failed: {what}; the job ends\n")
                    sys.stderr.flush()
                self.comm.Abort(1)
            raise

    # ---- threads ----

    @contextlib.contextmanager
    def sharing_processors(self) -> Iterator[None]:
        """Limit each rank to its share of the processors it may run on, unless the user has set a number of threads."""
        if "NUMBA_NUM_THREADS" in os.environ or threads.limited():
            yield
            return
        with threads.limit(self._share()):
            yield

    def _share(self) -> int:
        mine = (os.uname().nodename, sorted(_processors()))
        everyone = self.comm.allgather(mine)
        neighbours = [processors for node, processors in everyone if node == mine[0]]
        share = sum(1 / sum(processor in other for other in neighbours) for processor in mine[1])
        # All ranks in a container share its quota. Where each has a container of its own, this is less than it may use.
        share = min(share, hardware.processors() / len(neighbours)) if hardware.cpu_quota() else share
        return max(1, int(share + 1e-9))


def _processors() -> set[int]:
    with contextlib.suppress(AttributeError):  # Linux only
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


# ---- errors of other ranks ----


def printed_by_root(error: BaseException) -> bool:
    """Return True if every rank raises the error and this is not rank 0, which prints it."""
    return bool(getattr(error, AGREED, 0) > 0)


def _explains_itself(error: BaseException) -> bool:
    """Return True if the message suffices, without a traceback."""
    return isinstance(error, (KeyboardInterrupt, ValueError, OSError, MemoryError))


def _is_reproducible(error: Exception) -> bool:
    """Return True if another rank can raise the same error, by the name of its class."""
    return type(error) is _error_class(_builtin_name(error))


def _builtin_name(error: Exception) -> str:
    """Return the name of the error's class, or of its nearest built-in base class."""
    return next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins")


def _error_class(name: str) -> type[Exception]:
    """Return the built-in class of that name, or RuntimeError if a message alone does not make such an error."""
    found = getattr(builtins, name, None)
    known = (ValueError, TypeError, OSError, ArithmeticError, MemoryError)
    is_known = isinstance(found, type) and issubclass(found, known)
    return found if is_known else RuntimeError  # type: ignore[return-value]


def _print_on_root_only() -> None:
    """Set `sys.excepthook` so that an uncaught error that every rank raises is printed once, by rank 0."""
    before = sys.excepthook
    if getattr(before, "_silent_where_agreed", False):
        return

    def hook(kind: Any, error: BaseException, trace: Any) -> None:
        if not printed_by_root(error):
            before(kind, error, trace)

    hook._silent_where_agreed = True  # type: ignore[attr-defined]
    sys.excepthook = hook
