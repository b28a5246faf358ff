"""The processor's limit: multiply-adds on registers alone, measured in the same run as what they are compared with."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from fastbp.kernels.jit import user_kernel
from fastbp.kernels.shapes import MAIN
from fastbp.kernels.simd import pointer
from fastbp.kernels.target import TARGET
from fastbp.kernels.tile import map_tile, tile_load, tile_store

from .duel import Side

REPEATS = 200_000  # 3 ms on a core of 3.6 GHz with one 64-byte multiply-add a cycle

add_square = map_tile(lambda total: total.fma(total, total))


@user_kernel
def repeat(repeats, x):
    """Repeat ``x += x x`` while x stays in the main tile's registers: 28 independent sums."""
    columns = x.shape[1]
    start = pointer(x)
    tile = tile_load(MAIN, start, columns)
    for _ in range(repeats):
        tile = add_square(tile)
    tile_store(tile, start, columns)


class Probe:
    """A callable that runs `flops` operations, the same on each thread, all started together."""

    def __init__(self, dtype: str = "float32", threads: int = 1, repeats: int = REPEATS):
        columns = MAIN.vectors * TARGET.vector_bytes // np.dtype(dtype).itemsize
        # From -1/2 towards 0 as -1/n: never 0, which takes less current, nor denormal, which takes more time.
        self._tiles = [np.full((MAIN.rows, columns), -0.5, dtype) for _ in range(threads)]
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self._repeats = repeats
        self.flops = 2 * MAIN.rows * columns * repeats * threads
        repeat(1, self._tiles[0])  # compiles

    def __call__(self) -> None:
        if self._pool is None:
            repeat(self._repeats, self._tiles[0])
        else:
            list(self._pool.map(repeat, [self._repeats] * len(self._tiles), self._tiles))

    @classmethod
    def side(cls, dtype: str, threads: int) -> tuple[Side, int]:
        """Return the probe as a side of a duel, and its operations per call."""
        setup = f"from benchmarks.fma import Probe\nprobe = Probe({dtype!r}, {threads})"
        return Side(setup, "probe()", threads=threads), cls(dtype, threads, 1).flops * REPEATS
