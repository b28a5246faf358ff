"""Memory for programs: aligned to cache lines, and kept by each thread from call to call."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]
ALIGNMENT = 64  # bytes: the longest vector, and a cache line
STAGED_BYTES = 2 * 1024**2  # of rows that are gathered at a time


def round_up(elements: int, dtype: DTypeLike) -> int:
    """Return the next number of elements that fills whole cache lines."""
    line = ALIGNMENT // np.dtype(dtype).itemsize
    return -(-elements // line) * line


def aligned(elements: int, dtype: DTypeLike) -> Array:
    """Return an uninitialised vector that begins on a cache line: a vector load across two lines costs twice."""
    dtype = np.dtype(dtype)
    memory = np.empty(elements + ALIGNMENT // dtype.itemsize, dtype)
    start = -memory.ctypes.data % ALIGNMENT // dtype.itemsize
    return memory[start : start + elements]


def most_rows(features: int, dtype: np.dtype[Any]) -> int:
    """Return how many rows are gathered at a time."""
    return max(1, STAGED_BYTES // (features * dtype.itemsize))


class _Scratch(threading.local):
    """The memory that a Python thread keeps between calls, of each dtype, grown to the largest that a call needed."""

    def __init__(self) -> None:
        self.workspaces: dict[np.dtype[Any], Array] = {}
        self.activations: dict[np.dtype[Any], Array] = {}


_scratch = _Scratch()


def workspace(dtype: np.dtype[Any], threads: int, size: int) -> Array:
    """Return uninitialised memory (threads, at least `size`) for the operations of a call."""
    have = _scratch.workspaces.get(dtype)
    if have is None or have.shape[0] < threads or have.shape[1] < size:
        if have is not None:
            threads, size = max(threads, have.shape[0]), max(size, have.shape[1])
        have = _scratch.workspaces[dtype] = aligned(threads * round_up(size, dtype), dtype).reshape(threads, -1)
    return have


def scratch(elements: int, dtype: np.dtype[Any]) -> Array:
    """Return uninitialised memory for the activations of a call: what this thread's last call had."""
    have = _scratch.activations.get(dtype)
    if have is None or have.size < elements:
        have = _scratch.activations[dtype] = aligned(elements, dtype)
    return have[:elements]
