"""Estimates of what work costs, in vector multiply-adds of one core; only their ratios matter."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import threads
from ..cached_property import cached_property
from ..hardware import caches
from ..kernels import functions, objects
from ..kernels.shapes import MAIN, MR
from ..kernels.target import TARGET
from .tuning import Tuning, tuning

# In vector multiply-adds of one core, 3.4 a ns on AVX-512 and 3.6 on Zen 3. A call of several threads takes 10 us of
# Python and 4 us to enter them (less, if they are members of a team that are awake), and a counter each. From one phase
# to the next, they wait for the slowest of them, and for a counter that each has to write before the last one tells the
# others: 0.1 us with two threads, 30 to 50 ns each time that the counter comes from another core. A cache line of data
# that another core wrote takes 7.5 ns. None is measured at run time: experiments.md says what a wrong one costs.
CALL, MEMBER, SLOWEST, HAND_OVER, MOVED = 47_000, 500, 5_000, 170, 25
AHEAD = 0.5  # of that for what is read in long runs, fetched ahead: weights, and X for their gradients
BUSY = 5_000  # what a phase takes longer than on a quiet machine: 64-100-10 on AVX-512 27 us on two threads, not 23
CACHE_LINE = 64  # bytes
SHORT = 224_000  # multiplications and additions that end before a region would be entered, with vectors of 8
# Multiplications and additions that a thread does until others are ready: in the 5 ms in which a team starts, or the
# 0.1 s and more in which Numba's pool starts, or the team's functions are compiled.
TEAM_START, POOL_START = 5e8, 1e10
# A packed vector where it is copied, where it is transposed, and more where it comes from beyond the second level
# cache.
COPY, TRANSPOSE, FAR = 3, 12, 15
# A vector of B read in place, by each tile: it is packed for 9 tiles, and always where it is far.
AGAIN, AGAIN_FAR = 0.35, 20.0
OPERATION, TILE = 300, 120
NARROW_ROWS = 2  # vectors of columns up to which a transposed A's few rows take tiles of their own, half empty
NARROW_STRIPS = 16  # up to so many strips of B, packing A does not pay
MOST_OF_A_LINE = 56  # bytes: tiles of 6 rows read 24 of the 64 of each line, and dW took 1.7 times as long; 48 took 1.1
PAGE = 4096  # bytes: rows so far apart share one set of the first level cache, too small for a tile's rows
MOST_PANELS = 2 * 1024**2  # bytes of packed A a strand, and twice the second level cache where that is less
# One vector of: logits in a softmax, and a row besides; a dropout's mask; a row of X that lies anywhere; parameters in
# an update that is not fused, which waits for memory.
EXP_COST, DROP_COST, FETCH_COST, UPDATE_COST = 40, 20, 15, 8

_done_alone = 0.0  # operations of this process that were kept to one thread, until others are ready


def threads_for(operations: float) -> int:
    """Return how many threads so much work may use.

    One where it is short (`SHORT`); one for longer work too, until as much was done as threads take to start, and what
    only they need takes to load or compile.
    """
    global _done_alone
    if tuning().parallel is not None:
        return threads.count()
    if operations < SHORT:
        return 1
    if not threads.ready():
        _done_alone += operations
        if _done_alone < min(TEAM_START, POOL_START) or (_done_alone < POOL_START and not _team_starts()):
            return 1
    return threads.count()


def _team_starts() -> bool:
    """Return whether several threads need nothing but a team, whose functions are compiled."""
    return not threads.by_numba() and _team_is_compiled()


@functools.cache
def _team_is_compiled() -> bool:
    return all(objects.origin(function) is not None for function in functions.TEAM)


@dataclass(eq=False, repr=False)
class CostModel:
    """The cost of work for a dtype and a number of threads, and the choices that are forced; a program that `trains`
    writes the weights."""

    dtype: np.dtype[Any]
    threads: int
    trains: bool = False
    forced: Tuning = field(default_factory=tuning)

    @property
    def lanes(self) -> int:
        return TARGET.vector_bytes // self.dtype.itemsize

    @cached_property
    def longest_stretch(self) -> int:
        """KC: the largest power of two for which a strip of B stays within the first level cache."""
        return 1 << (caches().l1 // (MAIN.vectors * TARGET.vector_bytes)).bit_length() - 1

    def overhead(self, phases: int, repeated: bool) -> float:
        """Return what several threads take longer than their estimate: by the call, and where the machine is busy."""
        if self.threads == 1:
            return 0.0
        return BUSY * phases + (0 if repeated else CALL + MEMBER * self.threads)

    @property
    def phase(self) -> float:
        """Return the time from one phase to the next, without that of cache lines that then change cores."""
        return SLOWEST + HAND_OVER * (self.threads + 2) if self.threads > 1 else 0.0

    def moved(self, elements: float) -> float:
        """Return the time to read elements of which each thread wrote its share."""
        return MOVED * elements * self.dtype.itemsize / CACHE_LINE * (1 - 1 / self.threads)

    def makespan(self, strands: int, cost: float) -> float:
        """Return the time of so many equal strands."""
        return -(-strands // self.threads) * cost

    def blocking(
        self, depth: int, rows: int, columns: int, a_in_place: bool, sums_aside: bool
    ) -> tuple[int, int, int, int]:
        """Return MC, KC, NC and the packed columns of a product; k and rows are cut into equal stretches.

        Panels of A fill a budget, and strips of B a quarter of the second level cache; where A is read in place, all
        strips are packed at a time. Columns are cut only where sums between two stretches are kept aside.
        """
        strip, size = 2 * self.lanes, self.dtype.itemsize
        kc = self.forced.kc or max(1, -(-depth // -(-max(depth, 1) // self.longest_stretch)))
        most = max(MR, min(2 * caches().l2, MOST_PANELS) // (kc * size))
        mc = self.forced.mc or (rows if a_in_place else -(-rows // -(-max(rows, 1) // most)))
        nc = self.forced.nc or (most if sums_aside and depth > kc else columns)
        nc = max(strip, -(-nc // strip) * strip)
        packed = self.forced.packed_columns or (nc if a_in_place else caches().l2 // 4 // (kc * size))
        return max(1, -(-mc // MR)) * MR, kc, nc, min(max(strip, packed // strip * strip), nc)
