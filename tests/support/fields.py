"""Numbers amid canaries, dense or apart, for compiled functions and the public ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from support.memory import CANARY


class Field:
    """Numbers amid canaries: dense, in rows that lie apart, or one element in three."""

    LAYOUTS = ("dense", "apart", "sparse")

    def __init__(self, values: Any, layout: str):
        values = np.asarray(values)
        canary = CANARY[values.dtype.itemsize == 8]
        more = {"dense": 0, "apart": 5, "sparse": 2 * values.shape[-1]}[layout]
        wide = values.shape[-1] + more
        high = int(np.prod(values.shape[:-1]))
        self.memory = np.full(64 + high * wide + 64, canary, f"u{values.dtype.itemsize}")
        inner = self.memory[64:-64].view(values.dtype).reshape(*values.shape[:-1], wide)
        step = 3 if layout == "sparse" else 1
        self.view = inner[..., ::step][..., : values.shape[-1]]
        self.view[...] = values
        self._before = self.memory.copy()
        self._same_view = np.ndarray(values.shape, values.dtype, self._before, self.view.ctypes.data
                                     - self.memory.ctypes.data, self.view.strides)  # fmt: skip

    def intact(self, written: bool = False) -> bool:
        """Whether no bit is another; apart from the numbers themselves where they are to be `written`."""
        if written:
            self._same_view[...] = self.view
        return bool((self.memory == self._before).all())
