"""Memory for programs: aligned to cache lines, and kept by each thread from call to call."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..kernels import operations as op

Array = NDArray[Any]
ALIGNMENT = 64  # bytes: the longest vector, and a cache line
_BYTE = ctypes.c_char
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


def address(array: Array) -> int:
    """Return where an array's memory begins: in a third of the time that `array.ctypes.data` takes, where it can."""
    try:
        return ctypes.addressof(_BYTE.from_buffer(array))  # type: ignore[arg-type]
    except (TypeError, ValueError, BufferError):  # it is read-only or empty
        return int(array.ctypes.data)


def addresses(arrays: Iterable[Array | None]) -> list[int]:
    """Return where the memory of each array begins, 0 for None."""
    begin, view = ctypes.addressof, _BYTE.from_buffer
    try:  # without a call for each: a third of the time
        return [0 if array is None else begin(view(array)) for array in arrays]  # type: ignore[arg-type]
    except (TypeError, ValueError, BufferError):
        return [0 if array is None else address(array) for array in arrays]


class Workspace(NamedTuple):
    """The workspaces of a call's threads: where the first begins, how many bytes apart they lie, and their memory."""

    address: int
    stride: int
    threads: int
    size: int
    memory: Array


class _Scratch(threading.local):
    """The memory that a Python thread keeps between calls, of each dtype, grown to the largest that a call needed."""

    def __init__(self) -> None:
        self.workspaces: dict[np.dtype[Any], Workspace] = {}
        self.activations: dict[np.dtype[Any], Array] = {}


_scratch = _Scratch()


def workspace(dtype: np.dtype[Any], threads: int, size: int) -> Workspace:
    """Return this thread's memory for the operations of a call, uninitialised: at least `size` elements a thread."""
    have = _scratch.workspaces.get(dtype)
    if have is None or have.threads < threads or have.size < size:
        if have is not None:
            threads, size = max(threads, have.threads), max(size, have.size)
        have = _scratch.workspaces[dtype] = new_workspace(dtype, threads, size)
    return have


def new_workspace(dtype: np.dtype[Any], threads: int, size: int) -> Workspace:
    """Return what `workspace` returns, in memory of its own."""
    stride = op.OPERAND_BYTES + round_up(size, dtype) * dtype.itemsize
    memory = aligned(threads * stride // dtype.itemsize, dtype)
    return Workspace(address(memory), stride, threads, size, memory)


def scratch(elements: int, dtype: np.dtype[Any]) -> Array:
    """Return uninitialised memory for the activations of a call: what this thread's last call had."""
    have = _scratch.activations.get(dtype)
    if have is None or have.size < elements:
        have = _scratch.activations[dtype] = aligned(elements, dtype)
    return have[:elements]
