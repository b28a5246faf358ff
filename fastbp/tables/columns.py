"""The columns of a table, as they travel from files and frames to the encoder: numbers, or text, with gaps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Columns(NamedTuple):
    """Hold the columns of a table.

    Attributes
    ----------
    names : tuple of str or None
        The names of the columns; None unless all are str.
    arrays : tuple of array (n,)
        Each float64, NaN where a value is missing; or of dtype object with str, None where one is missing. A bool is
        the text "True" or "False", and a level of a column of categories is text whatever it was.
    """

    names: tuple[str, ...] | None
    arrays: tuple[NDArray[Any], ...]

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.arrays[0]) if self.arrays else 0

    @property
    def numeric(self) -> int:
        """The number of columns of numbers."""
        return sum(array.dtype != object for array in self.arrays)

    def blocks(self, rows: int) -> Iterator[Columns]:
        """Give the rows in parts of so many, in their order; at least one part."""
        for begin in range(0, max(1, self.rows), rows):
            yield Columns(self.names, tuple(array[begin : begin + rows] for array in self.arrays))


def text_of(number: float) -> str:
    """Return the text of a number that stands for a level: whole ones without a point."""
    return str(int(number)) if number == np.floor(number) and abs(number) < 2**53 else repr(number)
