"""Where rows come from that are trained on block by block: arrays, files, objects with slicing, iterators of chunks.

A source gives pieces of rows and copies any part of a piece into a block's arrays. It runs in the reader's thread.
"""

from __future__ import annotations

import mmap
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import frames, validation
from ..model.model import Model
from .in_memory import StreamError, read, rows_of

Array = NDArray[Any]
COPIED_BYTES = 1024**2  # of a mapped file at a time, resident then: 4.6 GB/s; 5.4 with 4 MB, 2.7 with 256 KB
CHECKED = 1 << 20  # targets at a time
UNKNOWN = sys.maxsize >> 20  # rows of an iterator that has not ended yet


class Piece(NamedTuple):
    """Rows that lie side by side: the number of the first, how many, and what copies some of them.

    ``copy(begin, end, inputs, targets, weights)`` fills the arrays with rows [begin, end) of the piece, checked but for
    NaN in the inputs.
    """

    first: int
    rows: int
    copy: Callable[[int, int, Array, Array, Array | None], None]


class Column:
    """One argument whose rows are asked for a part at a time: an array, a sparse matrix, an object with slicing."""

    def __init__(self, name: str, values: Any):
        self.name, self.values = name, values
        self._map = shared_mapping(values)
        self._bytes = 0 if self._map is None else self._map.size()

    def part(self, begin: int, end: int) -> Array:
        """Rows [begin, end): a view where they are in memory."""
        if self._map is not None and self._map.size() < self._bytes:  # to touch what is cut off would end the process
            raise StreamError(f"{self.name}: rows {begin} to {end - 1} could not be read: the file has "
                              f"{self._map.size()} bytes, {self._bytes} when training began")  # fmt: skip
        if isinstance(self.values, np.ndarray):
            return self.values[begin:end]
        if hasattr(self.values, "tocsr"):
            dense: Array = self.values[begin:end].toarray()
            return dense
        return read(self.name, self.values, begin, end)

    def copy(self, begin: int, end: int, into: Array) -> None:
        rows = max(1, COPIED_BYTES // (into[:1].nbytes or 1)) if self._map is not None else end - begin
        for first in range(begin, end, rows):
            last = min(end, first + rows)
            into[first - begin : last - begin] = self.part(first, last)
            self.drop()

    def drop(self) -> None:
        """Let the pages of a mapped file go: the system has them still, but they are no memory of this process."""
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)


def shared_mapping(values: Any) -> mmap.mmap | None:
    """The mapping behind a `numpy.memmap` or a view of one; none where what was written is in memory alone (mode c)."""
    while isinstance(values, np.ndarray):
        if isinstance(values, np.memmap) and getattr(values, "mode", None) in ("r", "r+", "w+"):
            found: mmap.mmap | None = getattr(values, "_mmap", None)
            return found
        values = values.base
    return None


class Unmapped:
    """A mapped file as an object with slicing: a slice is a copy, and no page of the file stays resident."""

    def __init__(self, array: Array):
        self._column, self.shape, self.dtype = Column("validation_data[0]", array), array.shape, array.dtype

    def __getitem__(self, rows: slice) -> Array:
        begin, end, _ = rows.indices(self.shape[0])
        found = np.empty((end - begin, *self.shape[1:]), self.dtype)
        self._column.copy(begin, end, found)
        return found


class Slices:
    """X, y and sample_weight as arguments of their own, any rows of which can be had at any time."""

    held = 0  # bytes beside the blocks

    def __init__(self, model: Model, X: Any, y: Any, sample_weight: Any, known: tuple[str, ...] | None):
        self._model = model
        rows = rows_of(model, "X", X, known)
        source, self.names, self.target_name = rows.source, rows.names, frames.name_of(y)
        self.inputs, self.count = Column("X", source), source.shape[0]
        self.dtype = source.dtype.newbyteorder("=")
        self._targets = Column("y", _column("y", y, self.count))
        self._weights = None
        if sample_weight is not None:
            self._weights = Column("sample_weight", _column("sample_weight", sample_weight, self.count))
        self.weighted = self._weights is not None
        self.target_shape = model.targets("y", self._targets.part(0, 1), 1).shape[1:]
        # A piece begins where a chunk of the file does, if it tells: one that is cut is decompressed twice.
        chunks = getattr(source, "chunks", None)
        self.chunk = chunks[0] if isinstance(chunks, tuple) and isinstance(chunks[0], int) else 1

    def check(self) -> None:
        """Refuse wrong targets and weights before the first step."""
        for begin in range(0, self.count, CHECKED):
            self._labels(begin, min(self.count, begin + CHECKED))

    def _labels(self, begin: int, end: int) -> tuple[Array, Array | None]:
        where = "" if end - begin == self.count else f"[{begin}:{end}]"
        targets = self._model.targets(f"y{where}", self._targets.part(begin, end), end - begin)
        weights = None if self._weights is None else self._weights.part(begin, end)
        weights = validation.sample_weight(f"sample_weight{where}", weights, end - begin, self._model.dtype)
        return targets, weights

    def pieces(self, order: NDArray[np.int64] | None, rows: int) -> Iterator[Piece]:
        """All rows once, in pieces of so many, the last one short; the pieces as `order` has them, or in their own."""
        for number in range(-(-self.count // rows)) if order is None else order.tolist():
            first = number * rows
            yield Piece(first, min(rows, self.count - first), self._copier(first))

    def _copier(self, first: int) -> Callable[[int, int, Array, Array, Array | None], None]:
        def copy(begin: int, end: int, inputs: Array, targets: Array, weights: Array | None) -> None:
            self.inputs.copy(first + begin, first + end, inputs)
            targets[...], found = self._labels(first + begin, first + end)
            if weights is not None:
                weights[...] = found
            for column in (self._targets, self._weights):
                if column is not None:
                    column.drop()

        return copy


def _column(name: str, values: Any, rows: int) -> Any:
    found = values if validation.sliced(values) else validation.real_array(name, values)
    if not found.shape or found.shape[0] != rows:
        raise ValueError(f"{name}: got shape {found.shape}, expected {rows} rows as X has")
    return found


class Chunks:
    """An iterator of chunks (X, y) or (X, y, sample_weight), or a callable that gives a fresh one for each epoch.

    The first chunk is read at once: it tells what all are like.
    """

    chunk = 1
    count = UNKNOWN

    def __init__(self, model: Model, chunks: Any, known: tuple[str, ...] | None):
        self._model, self._given = model, chunks
        self.names = known  # else those of the first chunk, if it is a frame
        self._begun: tuple[Iterator[Any], Any] | None = None
        iterator = self._fresh()
        first = self._next(iterator, 0)
        if first is None:
            raise StreamError("X: got an iterator without chunks, expected at least one")
        X, y, weights = self._checked(first, 0)
        self.target_name = frames.name_of(first[1])
        self.dtype, self.target_shape, self.weighted = X.dtype.newbyteorder("="), y.shape[1:], weights is not None
        self.held = 2 * X.nbytes  # the one that is copied, and the next that its maker makes meanwhile
        self._begun = iterator, first

    def check(self) -> None:
        """They are checked as they come."""

    def pieces(self, order: NDArray[np.int64] | None, rows: int) -> Iterator[Piece]:
        """Each chunk, as they come."""
        if self._begun is None:
            iterator = self._fresh()
            chunk = self._next(iterator, 0)
        else:
            (iterator, chunk), self._begun = self._begun, None
        first = number = 0
        while chunk is not None:
            X, y, weights = self._checked(chunk, number)
            self._same(number, X, y, weights)
            yield Piece(first, len(X), _copier(X, y, weights))
            first, number = first + len(X), number + 1
            del X, y, weights, chunk  # before the next one is made
            chunk = self._next(iterator, number)
        if first != self.count != UNKNOWN or not first:
            expected = "at least one" if self.count == UNKNOWN else f"{self.count} as in the epoch before"
            raise StreamError(f"X: the iterator ended after {first} rows, expected {expected}")
        self.count = first

    def _fresh(self) -> Iterator[Any]:
        if not callable(self._given):
            iterator: Iterator[Any] = self._given
            return iterator
        try:
            chunks: Iterable[Any] = self._given()
        except Exception as error:
            raise _failed("the callable", error) from error
        try:
            return iter(chunks)
        except TypeError:
            raise TypeError(f"X: got {type(chunks).__name__} from the callable, expected an iterator of chunks "
                            "(X, y)") from None  # fmt: skip

    def _next(self, iterator: Iterator[Any], number: int) -> Any:
        try:
            return next(iterator, None)
        except Exception as error:
            raise _failed(f"the iterator, asked for chunk {number},", error) from error

    def _checked(self, chunk: Any, number: int) -> tuple[Array, Array, Array | None]:
        if not (isinstance(chunk, (tuple, list)) and len(chunk) in (2, 3)):
            raise TypeError(f"X: got {type(chunk).__name__} as chunk {number}, expected (X, y) or "
                            "(X, y, sample_weight)")  # fmt: skip
        model, of = self._model, f"of chunk {number}"
        rows = rows_of(model, f"X {of}", chunk[0], self.names)
        self.names = self.names or rows.names
        X = Column(f"X {of}", rows.source).part(0, rows.count)
        y = model.targets(f"y {of}", chunk[1], len(X))
        weights = validation.sample_weight(f"sample_weight {of}", chunk[2] if len(chunk) == 3 else None, len(X),
                                           model.dtype)  # fmt: skip
        return X, y, weights

    def _same(self, number: int, X: Array, y: Array, weights: Array | None) -> None:
        """Refuse what the blocks, or the compiled step, have no place for."""
        for what, found, first in (
            ("X", X.dtype.newbyteorder("="), self.dtype),
            ("y", y.shape[1:], self.target_shape),
            ("sample_weight", "one" if weights is not None else "none", "one" if self.weighted else "none"),
        ):
            if found != first:
                raise ValueError(f"{what} of chunk {number}: got {found}, expected {first} as in the first chunk")


def _copier(X: Array, y: Array, w: Array | None) -> Callable[[int, int, Array, Array, Array | None], None]:
    def copy(begin: int, end: int, inputs: Array, targets: Array, weights: Array | None) -> None:
        inputs[...], targets[...] = X[begin:end], y[begin:end]
        if weights is not None and w is not None:
            weights[...] = w[begin:end]

    return copy


def _failed(who: str, error: Exception) -> StreamError:
    return StreamError(f"X: {who} failed: {type(error).__name__}: {error}")
