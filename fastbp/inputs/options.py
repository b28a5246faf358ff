"""Settings of a fit that decide how its rows are read. The modules that read in blocks are not needed for them."""

from __future__ import annotations

import sys
from typing import NamedTuple

UNKNOWN = sys.maxsize >> 20  # the number of rows of an iterator that has not ended yet


class ReadOptions(NamedTuple):
    """The settings of a fit that decide how its rows are read.

    Attributes
    ----------
    memory_limit : int or None
        Bytes, as given to `MLP.fit`.
    mapped_in_blocks : bool
        Whether a mapped file larger than half of the memory is read in blocks without a limit.
    needs_total : str or None
        The argument that must know the number of steps, and what it got.
    """

    epochs: int
    batch_size: int
    memory_limit: int | None
    mapped_in_blocks: bool
    needs_total: str | None
