"""Arrays whose surroundings are watched: at protected pages, and amid canaries."""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

CANARY = 0x7FC5A5A5, 0x7FF8A5A5A5A5A5A5  # quiet NaNs with a payload that no computation makes
MARGIN = 64  # canaries on each side of an array, where no more are asked for


def guarded(values: Any, side: str = "end") -> Any:
    """A copy of an array whose last element ends at a page that may not be touched, or ("start") whose first
    element begins behind one. A read or write beyond it kills the process."""
    if sys.platform != "linux":
        pytest.skip("protects pages by way of Linux's mprotect")
    values = np.ascontiguousarray(values)
    page = mmap.PAGESIZE
    body = max(1, -(-values.nbytes // page)) * page
    memory = mmap.mmap(-1, body + 2 * page)
    whole = np.frombuffer(memory, np.uint8)  # keeps the mapping alive as long as a view of it lives
    libc = ctypes.CDLL(None, use_errno=True)
    for start in (0, page + body):
        address = ctypes.c_void_p(whole.ctypes.data + start)
        if libc.mprotect(address, ctypes.c_size_t(page), 0) != 0:
            raise OSError(ctypes.get_errno(), "mprotect")
    begin = page if side == "start" else page + body - values.nbytes
    result = whole[begin : begin + values.nbytes].view(values.dtype).reshape(values.shape)
    result[...] = values
    return result


def surrounded(shape: tuple[int, ...], dtype: Any, margin: int = MARGIN) -> tuple[Any, Callable[[], bool]]:
    """An array of NaN canaries amid more of them, and a function that says whether those around it are intact."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape))
    canary = CANARY[dtype.itemsize == 8]
    bits = np.full(size + 2 * margin, canary, f"u{dtype.itemsize}")

    def intact() -> bool:
        return bool((bits[:margin] == canary).all() and (bits[margin + size :] == canary).all())

    return bits[margin : margin + size].view(dtype).reshape(shape), intact
