"""Columns of a table as numbers of order one, which a network learns from well; in NumPy alone.

An encoder is fitted to the training rows and kept with the model. Each row is encoded by itself, so that one row gives
the same bits as many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import names
from .columns import Columns

Array = NDArray[Any]
Numbers64 = NDArray[np.float64]

CLIP = 3.0  # z becomes z / sqrt(1 + (z / CLIP)^2), as in RealMLP (Holzmüller and others, 2024)
FARTHEST = 1e9  # beyond it, infinity included, z / sqrt(1 + (z / CLIP)^2) is CLIP in all bits of float64
BIN_SCALE = 0.4  # a bin is one of many columns that move together: at 1 they drown the number itself
LEAST_ROWS = 2  # of a level; one with fewer says nothing about other rows, and counts as missing
MOST_ONE_HOT = 40  # levels that get a column each; more get numbers, which the network embeds
EMBEDDED_WIDTH = 8
BOOLS = {"False": "0", "True": "1"}  # as bools and as numbers


class NumberColumn(NamedTuple):
    """A column of numbers.

    Attributes
    ----------
    middle, scale : float
        The median, and 1 over the distance of the quartiles; a scale of 0 for a column that tells nothing.
    edges : array (bins + 1,)
        Where the piecewise-linear parts meet; empty for none.
    gaps : bool
        Whether values were missing, so that a column tells where.
    """

    middle: float
    scale: float
    edges: Numbers64
    gaps: bool

    @property
    def width(self) -> int:
        """The number of columns that it becomes."""
        return int(self.scale > 0) + max(0, len(self.edges) - 1) + int(self.gaps)

    @classmethod
    def of(cls, values: Numbers64, bins: int) -> NumberColumn:
        """Fit a column; infinities are ordered like other numbers, but say nothing about the scale."""
        there = values[~np.isnan(values)]
        finite = there[np.isfinite(there)]
        gaps = 0 < len(there) < len(values)
        if not len(finite) or there.min() == there.max():
            return cls(0.0, 0.0, np.empty(0), gaps)
        lower, middle, upper = np.quantile(finite, [0.25, 0.5, 0.75])
        with np.errstate(over="ignore", divide="ignore"):
            spread = upper - lower or (finite.max() - finite.min()) / 2
            scale = 1.0 / spread if spread else 1.0  # one finite number besides infinities
        if not 0 < scale < np.inf:  # numbers near the limits of float64
            scale = float(np.clip(scale, np.finfo(float).tiny, np.finfo(float).max))
        edges = np.unique(np.quantile(finite, np.linspace(0.0, 1.0, bins + 1))) if bins else np.empty(0)
        return cls(float(middle), float(scale), edges if len(edges) > 2 else np.empty(0), gaps)

    def encode(self, values: Numbers64, out: Array) -> None:
        """Write ``z / sqrt(1 + (z / 3)^2)``, then the bins from -0.4 to 0.4, then whether the number is missing."""
        missing, at = np.isnan(values), 0
        values = np.where(missing, self.middle, values)
        if self.scale > 0:
            with np.errstate(over="ignore"):
                z = np.clip((values - self.middle) * self.scale, -FARTHEST, FARTHEST)
            out[:, 0] = z / np.sqrt(1.0 + np.square(z / CLIP))
            at = 1
        for lower, upper in zip(self.edges[:-1], self.edges[1:], strict=True):
            within = (np.clip(values, lower, upper) - lower) / (upper - lower)
            out[:, at] = np.where(missing, 0.0, BIN_SCALE * (2.0 * within - 1.0))
            at += 1
        if self.gaps:
            out[:, at] = missing


class LevelColumn(NamedTuple):
    """A column of categories.

    Attributes
    ----------
    levels : tuple of str
        Those with 2 rows or more, in the order of their texts.
    others : bool
        Whether there were others, or missing ones, so that a column or a row of the table stands for them.
    """

    levels: tuple[str, ...]
    others: bool

    @property
    def embedded(self) -> bool:
        """True if it becomes one column of the levels' numbers, for the network to embed."""
        return len(self.levels) > MOST_ONE_HOT

    @property
    def width(self) -> int:
        """The number of columns that it becomes, but for those that are embedded."""
        if self.embedded or len(self.levels) + self.others < 2:
            return 0
        return len(self.levels) + int(self.others)

    @classmethod
    def of(cls, values: Array) -> LevelColumn:
        """Fit a column."""
        counts = Counter(values.tolist())
        counts.pop(None, None)
        levels = tuple(sorted(level for level, rows in counts.items() if rows >= LEAST_ROWS))
        return cls(levels, sum(counts[level] for level in levels) < len(values))

    @property
    def places(self) -> dict[str, int]:
        """The number of each level, from 1 on in their order, by its text; bools are also 0 and 1."""
        places = {level: number for number, level in enumerate(self.levels, 1)}
        if places.keys() <= BOOLS.keys():
            places |= {text: places[truth] for truth, text in BOOLS.items() if truth in places}
        return places

    def numbers(self, values: Array) -> NDArray[np.int64]:
        """Return the levels' `places`; 0 for others, such as missing ones.

        A number is the level whose text reads as that number.
        """
        places = self.places
        found: dict[Any, int] = dict(places)
        if values.dtype != object:
            found = {number: place for level, place in places.items() if (number := _number_of(level)) is not None}
        return np.fromiter((found.get(value, 0) for value in values.tolist()), np.int64, len(values))

    def encode(self, values: Array, out: Array) -> None:
        """Write 1 in the column of each row's level, that of others first; an unknown level counts as missing."""
        numbers = self.numbers(values) - (not self.others)
        out[...] = 0
        rows = np.flatnonzero(numbers >= 0)
        out[rows, numbers[rows]] = 1


class Encoder(NamedTuple):
    """Columns as they are encoded; `fit` makes one.

    Attributes
    ----------
    names : tuple of str or None
    columns : tuple of NumberColumn or LevelColumn
    """

    names: tuple[str, ...] | None
    columns: tuple[NumberColumn | LevelColumn, ...]

    @classmethod
    def fit(cls, columns: Columns, bins: int = 0) -> Encoder:
        """Fit an encoder to training rows.

        Parameters
        ----------
        columns : Columns
        bins : int, default 0
            Parts between quantiles of each column of numbers, beside the number itself (Gorishniy, Rubachev and
            Babenko: On embeddings for numerical features in tabular deep learning. NeurIPS 2022).
        """
        fitted = [
            LevelColumn.of(array) if array.dtype == object else NumberColumn.of(array, bins) for array in columns.arrays
        ]
        return cls(columns.names, tuple(fitted))

    @property
    def dense(self) -> int:
        """The number of encoded columns before those that are embedded; at least 1."""
        return max(1, sum(column.width for column in self.columns))

    @property
    def embeddings(self) -> dict[int, tuple[int, int]]:
        """For each encoded column of levels' numbers its position, and their count and the width of their vectors."""
        counts = [
            len(column.levels) + 1 for column in self.columns if isinstance(column, LevelColumn) and column.embedded
        ]
        return {self.dense + place: (count, EMBEDDED_WIDTH) for place, count in enumerate(counts)}

    @property
    def width(self) -> int:
        """The number of encoded columns."""
        return self.dense + len(self.embeddings)

    def encode(self, columns: Columns, dtype: np.dtype[Any]) -> Array:
        """Return the columns as an array (n, width).

        Raises
        ------
        ValueError
            There are other columns than those of the fit, or text where numbers are expected.
        """
        arrays = self._matched(columns)
        encoded = np.zeros((columns.rows, self.width), dtype)
        at, embedded = 0, self.dense
        for place, (column, array) in enumerate(zip(self.columns, arrays, strict=True)):
            called = f"column {self.names[place]!r}" if self.names else f"column {place}"
            if isinstance(column, NumberColumn):
                if column.width == 0:  # nothing is known of it, not even that it is of numbers
                    continue
                column.encode(_as_numbers(array, called), encoded[:, at : at + column.width])
            elif column.embedded:
                encoded[:, embedded] = column.numbers(array)
                embedded += 1
            elif column.width:
                column.encode(array, encoded[:, at : at + column.width])
            at += column.width
        return encoded

    def _matched(self, columns: Columns) -> Sequence[Array]:
        """Return the columns in the order of the fit: by their names, if both have some."""
        if self.names is not None and columns.names is not None:
            order, _ = names.match(self.names, columns.names)
            return [columns.arrays[place] for place in order]
        if len(columns.arrays) != len(self.columns):
            raise ValueError(f"X: got {len(columns.arrays)} columns, expected {len(self.columns)} as in the fit")
        return columns.arrays

    # ---- for files: arrays of numbers, and what JSON holds ----

    def to_metadata(self) -> dict[str, Any]:
        """Return what `from_metadata` makes an equal encoder of: floats are written in all their digits."""
        described = [
            {**column._asdict(), "edges": column.edges.tolist()}
            if isinstance(column, NumberColumn)
            else column._asdict()
            for column in self.columns
        ]
        return {"names": self.names, "columns": described}

    @classmethod
    def from_metadata(cls, described: Mapping[str, Any]) -> Encoder:
        """Return the encoder; raise KeyError, TypeError or ValueError if this describes none."""
        columns: list[NumberColumn | LevelColumn] = []
        for each in described["columns"]:
            if "levels" in each:
                levels = each["levels"]
                if isinstance(levels, str) or len(set(levels)) < len(levels):
                    raise ValueError(f"levels: got {levels!r}, expected a list of different texts")
                columns.append(LevelColumn(tuple(map(str, levels)), bool(each["others"])))
            else:
                edges = np.array(each["edges"], np.float64)
                if edges.ndim != 1 or not np.isfinite(edges).all() or not (edges[1:] > edges[:-1]).all():
                    raise ValueError("edges: expected finite numbers that rise")
                if not (np.isfinite(each["middle"]) and 0 <= each["scale"] < np.inf):
                    raise ValueError(f"got the middle {each['middle']!r} and the scale {each['scale']!r} of a column")
                columns.append(NumberColumn(float(each["middle"]), float(each["scale"]), edges, bool(each["gaps"])))
        found = described["names"]
        if found is not None and (len(found) != len(columns) or names.repeated(map(str, found))):
            raise ValueError(f"names: got {found!r}, expected {len(columns)} different ones, one for each column")
        return cls(None if found is None else tuple(map(str, found)), tuple(columns))


def _as_numbers(array: Array, called: str) -> Numbers64:
    """Return a column that was of numbers in the fit as such."""
    if array.dtype != object:
        return array
    texts = array[array != None]  # noqa: E711 (elementwise)
    if len(texts):
        raise ValueError(f"X: got {texts[0]!r} in {called}, expected numbers as in the fit")
    return np.full(len(array), np.nan)


def _number_of(level: str) -> float | None:
    """Return the number that a level's text reads as, None for any other text."""
    try:
        number = float(level)
    except ValueError:
        return None
    return None if number != number else number
