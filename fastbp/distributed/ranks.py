"""The processes of a job and what they do together: sums in a fixed order, errors that all of them raise, or an end.

A communicator is mpi4py's, or anything with the few methods used here. Nothing is imported before it is needed: to
import mpi4py's MPI starts it.
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
from ..program.memory import aligned, round_up

Array = NDArray[Any]
T = TypeVar("T")
# Bytes of a message up to which every rank gets every other's whole: one exchange where larger ones take two, each of
# which moves 1 / size as much. On one machine, two ranks: 15 us against 25 at 64 KiB, 43 against 58 at 256 KiB.
WHOLE = 1 << 18
AGREED = "_agreed_by_ranks"  # on an error that every rank raises: the number of the rank


def world() -> Any:
    """MPI's communicator of all processes."""
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py without a library of MPI
        raise ModuleNotFoundError(
            f"fastbp.distributed: expected mpi4py and an MPI library, got: {error}; pip install 'fastbp[mpi]' brings "
            "both, and mpirun",
            name="mpi4py",
        ) from error
    return MPI.COMM_WORLD


class Ranks:
    """One process among those of a communicator."""

    def __init__(self, comm: Any = None):
        self.comm = world() if comm is None else comm
        missing = [name for name in ("Get_rank", "Get_size", "Allgather", "Alltoall") if not hasattr(self.comm, name)]
        if missing:
            raise TypeError(f"comm: got {type(self.comm).__name__}, expected a communicator of mpi4py")
        self.rank, self.size = self.comm.Get_rank(), self.comm.Get_size()

    @property
    def leads(self) -> bool:
        """Whether it is this one that prints and saves."""
        return bool(self.rank == 0)

    # ---- numbers ----

    def summed(self, values: Any) -> NDArray[np.float64]:
        """The sum over ranks, in float64, rank by rank: the same bits on each and in every run."""
        parts = self.comm.allgather(np.asarray(values, np.float64))
        total: NDArray[np.float64] = np.zeros_like(parts[0])
        for part in parts:
            total = total + part
        return total

    def mean(self, value: float, count: int) -> float:
        """The mean of all ranks' means over so many rows each."""
        total, rows = self.summed([value * count, count])
        return float(total / rows)

    # ---- errors ----

    def agree(self, action: Callable[[], T]) -> T:
        """What `action` returns on this rank, if it does so on all; else every rank raises the same error."""
        result, error = None, None
        try:
            result = action()
        except Exception as raised:
            error = raised
        told = self.comm.allgather(None if error is None else (_name(error), str(error)))
        if not any(told):
            return result  # type: ignore[return-value]
        rank, (name, text) = next((rank, each) for rank, each in enumerate(told) if each is not None)
        if error is not None and (all(each == told[0] for each in told) or not _plain(error)):
            agreed: Exception = error  # as it came to all alike, or what only this rank can name
        else:
            agreed = _error(name)(f"rank {rank}: {text}")
        raise self.alike(agreed) from error if error is not agreed else None

    def alike(self, error: T) -> T:
        """Mark an error that every rank raises: nobody waits for the others, and rank 0 alone prints it."""
        error.__dict__[AGREED] = self.rank
        if not self.leads:
            _leave_to_rank_0()
        return error

    @contextlib.contextmanager
    def ending_together(self) -> Iterator[None]:
        """An error within, unless all raise it, ends the whole job: the others would wait for this rank for ever."""
        try:
            yield
        except BaseException as error:
            if self.size > 1 and not hasattr(error, AGREED):
                what = "".join(traceback.format_exception_only(error)).strip()
                where = "" if _expected(error) else "".join(traceback.format_tb(error.__traceback__))
                with contextlib.suppress(OSError, ValueError, AttributeError):  # no standard error to write to
                    sys.stderr.write(f"{where}fastbp: rank {self.rank} of {self.size} failed: {what}; the job ends\n")
                    sys.stderr.flush()
                self.comm.Abort(1)
            raise

    # ---- threads ----

    @contextlib.contextmanager
    def sharing_processors(self) -> Iterator[None]:
        """Let each rank use its share of the processors it may run on, unless the user has said how many threads."""
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
        # The quota of a container is one for all that run in it; where each has its own, this is less than it may use.
        share = min(share, hardware.processors() / len(neighbours)) if hardware.cpu_quota() else share
        return max(1, int(share + 1e-9))


def _processors() -> set[int]:
    with contextlib.suppress(AttributeError):  # of Linux
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


# ---- errors of other ranks ----


def told_elsewhere(error: BaseException) -> bool:
    """Whether all ranks raise it, and this is not the one that prints it."""
    return bool(getattr(error, AGREED, 0) > 0)


def _expected(error: BaseException) -> bool:
    """Whether it says by itself what is wrong, and where in the code does not matter."""
    return isinstance(error, (KeyboardInterrupt, ValueError, OSError, MemoryError))


def _plain(error: Exception) -> bool:
    """Whether another rank can raise the same."""
    return type(error) is _error(_name(error))


def _name(error: Exception) -> str:
    """What Python calls it, or the class of Python's own that it is a kind of."""
    return next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins")


def _error(name: str) -> type[Exception]:
    found = getattr(builtins, name, None)
    told = (ValueError, TypeError, OSError, ArithmeticError, MemoryError)
    known = isinstance(found, type) and issubclass(found, told)
    return found if known else RuntimeError  # type: ignore[return-value]


def _leave_to_rank_0() -> None:
    """Where nothing catches the error that all ranks raise, let the first of them print it, once."""
    before = sys.excepthook
    if getattr(before, "_silent_where_agreed", False):
        return

    def hook(kind: Any, error: BaseException, trace: Any) -> None:
        if not told_elsewhere(error):
            before(kind, error, trace)

    hook._silent_where_agreed = True  # type: ignore[attr-defined]
    sys.excepthook = hook


# ---- the sum of vectors ----


class Exchange:
    """Adds up vectors of all ranks, entry by entry in the order of ranks.

    MPI's own Allreduce is free to add in an order that depends on sizes, networks and versions. Here an entry is
    ``((x0 + x1) + x2) + ...``, whichever way the parts travel, so that a run gives the same bits each time and on each
    rank. Short messages go to all at once; of long ones each rank gets a block from every other, and hands its sum on:
    as many bytes as the ring algorithm, 2 (size - 1) / size of the vector.
    """

    def __init__(self, ranks: Ranks, length: int, dtype: np.dtype[Any]):
        self._comm, size = ranks.comm, ranks.size
        self._whole = length * dtype.itemsize <= WHOLE or size == 1
        block = length if self._whole else round_up(-(-length // size), dtype)
        self._sent = aligned(block if self._whole else block * size, dtype)
        self._sent.fill(0)
        self._received = aligned(block * size, dtype).reshape(size, block)
        self._block = aligned(block, dtype)
        self._total = self._block if self._whole else aligned(block * size, dtype)
        self.message, self.total = self._sent[:length], self._total[:length]

    def add_up(self) -> None:
        """From every rank's `message` to the same `total`."""
        if self._whole:
            self._comm.Allgather(self._sent, self._received)
        else:
            self._comm.Alltoall(self._sent, self._received)
        self._block[...] = self._received[0]
        with np.errstate(over="ignore", invalid="ignore"):  # a diverged gradient, which its loss then shows
            for part in self._received[1:]:
                self._block += part
        if not self._whole:
            self._comm.Allgather(self._block, self._total)
