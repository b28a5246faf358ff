"""Sources of the rows that are trained on in blocks: arrays, files, objects with slicing, iterators of chunks.

A source yields pieces and copies any rows of a piece into a block. It runs in the reader's thread.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import frames, validation
from ..model.model import Model
from .in_memory import StreamError, read, rows_of
from .levels import refuse_wrong
from .options import UNKNOWN

Array = NDArray[Any]
Copy = Callable[[int, int, Array, Array, Array | None], None]
COPIED_BYTES = 1024**2  # of a mapped file, resident at a time: 4.6 GB/s; 5.4 with 4 MB, 2.7 with 256 KB
CHECKED_TARGETS = 1 << 20  # at a time


class Piece(NamedTuple):
    """Rows that lie side by side in a source.

    Attributes
    ----------
    first, rows : int
        The number of the first row in the source, and how many there are.
    copy : callable
        ``copy(begin, end, inputs, targets, weights)`` fills the arrays with rows [begin, end) of the piece. All are
        checked, except inputs for NaN and infinity.
    """

    first: int
    rows: int
    copy: Copy


class SlicedArgument:
    """One argument, read some rows at a time: an array, a sparse matrix or an object with slicing."""

    def __init__(self, name: str, values: Any):
        self.name, self.values = name, values
        self._map = shared_mapping(values)
        self._bytes = 0 if self._map is None else self._map.size()

    def between(self, begin: int, end: int) -> Array:
        """Return rows [begin, end): a view where they are in memory."""
        if self._map is not None and self._map.size() < self._bytes:  # touching pages that were cut off is a SIGBUS
            sizes = f"the file has {self._map.size()} bytes, {self._bytes} when training began"
            raise StreamError(f"{self.name}: rows {begin} to {end - 1} could not be read: {sizes}")
        if isinstance(self.values, np.ndarray):
            return self.values[begin:end]
        if hasattr(self.values, "tocsr"):
            dense: Array = self.values[begin:end].toarray()
            return dense
        return read(self.name, self.values, begin, end)

    def copy(self, begin: int, end: int, into: Array) -> None:
        """Copy rows [begin, end) into an array."""
        rows = max(1, COPIED_BYTES // (into[:1].nbytes or 1)) if self._map is not None else end - begin
        for first in range(begin, end, rows):
            last = min(end, first + rows)
            into[first - begin : last - begin] = self.between(first, last)
            self.release_pages()

    def release_pages(self) -> None:
        """Give the pages of a mapped file back: they stay in the system's cache, not in this process's memory."""
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)


def shared_mapping(values: Any) -> mmap.mmap | None:
    """Return the mapping behind a `numpy.memmap` or a view of one; None in mode "c", which changes memory only."""
    while isinstance(values, np.ndarray):
        if isinstance(values, np.memmap) and getattr(values, "mode", None) in ("r", "r+", "w+"):
            found: mmap.mmap | None = getattr(values, "_mmap", None)
            return found
        values = values.base
    return None


class CopiedSlices:
    """A mapped file as an object with slicing: a slice is a copy, and no page of the file stays resident."""

    def __init__(self, name: str, array: Array):
        self._rows, self.shape, self.dtype = SlicedArgument(name, array), array.shape, array.dtype

    def __getitem__(self, rows: slice) -> Array:
        begin, end, _ = rows.indices(self.shape[0])
        found = np.empty((end - begin, *self.shape[1:]), self.dtype)
        self._rows.copy(begin, end, found)
        return found


class SliceSource:
    """X, y and sample_weight as arguments of their own: any of their rows can be read at any time.

    Attributes
    ----------
    count : int
        The number of rows.
    chunk : int
        Rows of a chunk in which the file stores X, if it says so, else 1: a chunk that is cut is decompressed twice.
    held_bytes : int
        Memory that the source itself takes.
    """

    held_bytes = 0

    def __init__(self, model: Model, X: Any, y: Any, sample_weight: Any, known: tuple[str, ...] | None):
        self._model = model
        rows = rows_of(model, "X", X, known)
        source, self.names, self.target_name = rows.source, rows.names, frames.name_of(y)
        self.inputs, self.count = SlicedArgument("X", source), source.shape[0]
        self.dtype = source.dtype.newbyteorder("=")
        self._targets = _sliced_argument("y", y, self.count)
        self._weights = None
        if sample_weight is not None:
            self._weights = _sliced_argument("sample_weight", sample_weight, self.count)
        self.weighted = self._weights is not None
        self.target_shape = model.targets("y", self._targets.between(0, 1), 1).shape[1:]
        chunks = getattr(source, "chunks", None)
        self.chunk = chunks[0] if isinstance(chunks, tuple) and isinstance(chunks[0], int) else 1

    def check(self) -> None:
        """Refuse wrong targets and weights before the first step."""
        for begin in range(0, self.count, CHECKED_TARGETS):
            self._targets_and_weights(begin, min(self.count, begin + CHECKED_TARGETS))

    def _targets_and_weights(self, begin: int, end: int) -> tuple[Array, Array | None]:
        where = "" if end - begin == self.count else f"[{begin}:{end}]"
        targets = self._model.targets(f"y{where}", self._targets.between(begin, end), end - begin)
        weights = None if self._weights is None else self._weights.between(begin, end)
        weights = validation.sample_weight(f"sample_weight{where}", weights, end - begin, self._model.dtype)
        return targets, weights

    def pieces(self, order: NDArray[np.int64] | None, rows: int) -> Iterator[Piece]:
        """Yield all rows once, in pieces of `rows` each, the last one short; the pieces in `order`, or in X's own."""
        for number in range(-(-self.count // rows)) if order is None else order.tolist():
            first = number * rows
            yield Piece(first, min(rows, self.count - first), self._copier(first))

    def _copier(self, first: int) -> Copy:
        def copy(begin: int, end: int, inputs: Array, targets: Array, weights: Array | None) -> None:
            self.inputs.copy(first + begin, first + end, inputs)
            _check_levels("X", inputs, self._model, self.names, first + begin)
            targets[...], found = self._targets_and_weights(first + begin, first + end)
            if weights is not None:
                weights[...] = found
            for argument in (self._targets, self._weights):
                if argument is not None:
                    argument.release_pages()

        return copy


def _check_levels(name: str, X: Array, model: Model, names: tuple[str, ...] | None, first: int) -> None:
    """Refuse rows, numbered from `first` on, that hold what is no level in an embedded column."""
    columns = [X[:, each.column] for each in model.embeddings]
    refuse_wrong(name, columns, model.embeddings, names, lambda row: first + row)


def _sliced_argument(name: str, values: Any, rows: int) -> SlicedArgument:
    found = values if validation.sliced(values) else validation.real_array(name, values)
    if not found.shape or found.shape[0] != rows:
        raise ValueError(f"{name}: got shape {found.shape}, expected {rows} rows as X has")
    return SlicedArgument(name, found)


class ChunkSource:
    """An iterator of chunks (X, y) or (X, y, sample_weight), or a callable that returns a new one for each epoch.

    The first chunk is read at once: dtype, targets and weights of all others must be like its own. The attributes are
    those of `SliceSource`.
    """

    chunk = 1
    count = UNKNOWN

    def __init__(self, model: Model, chunks: Any, known: tuple[str, ...] | None):
        self._model, self._given = model, chunks
        self.names = known  # by default those of the first chunk, if it is a frame
        self._begun: tuple[Iterator[Any], Any] | None = None  # an iterator, and its first chunk, not yet used
        iterator = self._new_iterator()
        first = self._next(iterator, 0)
        if first is None:
            raise StreamError("X: got an iterator without chunks, expected at least one")
        X, y, weights = self._checked(first, 0)
        self.target_name = frames.name_of(first[1])
        self.dtype, self.target_shape, self.weighted = X.dtype.newbyteorder("="), y.shape[1:], weights is not None
        self.held_bytes = 2 * X.nbytes  # the chunk that is copied, and the next one, which is made meanwhile
        self._begun = iterator, first

    def check(self) -> None:
        """Do nothing: chunks are checked as they come."""

    def pieces(self, order: NDArray[np.int64] | None, rows: int) -> Iterator[Piece]:
        """Yield each chunk as a piece, in the order in which they come."""
        if self._begun is None:
            iterator = self._new_iterator()
            chunk = self._next(iterator, 0)
        else:
            (iterator, chunk), self._begun = self._begun, None
        first = number = 0
        while chunk is not None:
            X, y, weights = self._checked(chunk, number)
            self._check_like_first(number, X, y, weights)
            yield Piece(first, len(X), _copier(X, y, weights))
            first, number = first + len(X), number + 1
            del X, y, weights, chunk  # before the next one is made
            chunk = self._next(iterator, number)
        if first != self.count != UNKNOWN or not first:
            expected = "at least one" if self.count == UNKNOWN else f"{self.count} as in the epoch before"
            raise StreamError(f"X: the iterator ended after {first} rows, expected {expected}")
        self.count = first

    def _new_iterator(self) -> Iterator[Any]:
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
            got = type(chunks).__name__
            raise TypeError(f"X: got {got} from the callable, expected an iterator of chunks (X, y)") from None

    def _next(self, iterator: Iterator[Any], number: int) -> Any:
        try:
            return next(iterator, None)
        except Exception as error:
            raise _failed(f"the iterator, asked for chunk {number},", error) from error

    def _checked(self, chunk: Any, number: int) -> tuple[Array, Array, Array | None]:
        if not (isinstance(chunk, (tuple, list)) and len(chunk) in (2, 3)):
            got = type(chunk).__name__
            raise TypeError(f"X: got {got} as chunk {number}, expected (X, y) or (X, y, sample_weight)")
        model, of = self._model, f"of chunk {number}"
        rows = rows_of(model, f"X {of}", chunk[0], self.names)
        self.names = self.names or rows.names
        X = SlicedArgument(f"X {of}", rows.source).between(0, rows.count)
        _check_levels(f"X {of}", X, model, self.names, 0)
        y = model.targets(f"y {of}", chunk[1], len(X))
        given = chunk[2] if len(chunk) == 3 else None
        weights = validation.sample_weight(f"sample_weight {of}", given, len(X), model.dtype)
        return X, y, weights

    def _check_like_first(self, number: int, X: Array, y: Array, weights: Array | None) -> None:
        """Refuse a chunk whose rows the blocks, made for those of the first chunk, cannot hold."""
        for what, found, first in (
            ("X", X.dtype.newbyteorder("="), self.dtype),
            ("y", y.shape[1:], self.target_shape),
            ("sample_weight", "one" if weights is not None else "none", "one" if self.weighted else "none"),
        ):
            if found != first:
                raise ValueError(f"{what} of chunk {number}: got {found}, expected {first} as in the first chunk")


def _copier(X: Array, y: Array, w: Array | None) -> Copy:
    def copy(begin: int, end: int, inputs: Array, targets: Array, weights: Array | None) -> None:
        inputs[...], targets[...] = X[begin:end], y[begin:end]
        if weights is not None and w is not None:
            weights[...] = w[begin:end]

    return copy


def _failed(who: str, error: Exception) -> StreamError:
    return StreamError(f"X: {who} failed: {type(error).__name__}: {error}")
