"""The rows of a user's X as the compiled pass reads them: contiguous, in the compute dtype, shifted and scaled.

X itself is read where it is so already; else a part of it at a time is gathered. The whole of X is never copied.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import frames
from ..kept import kept
from ..kernels.gather import gather_rows
from ..model.model import Model
from ..names import match_exactly
from ..program.memory import aligned, most_rows
from ..program.run import loading
from ..validation import matrix_of_rows, real_array

Array = NDArray[Any]
WINDOW_BYTES = 8 * 1024**2
FEW = 4096  # numbers: a product of more would wake the threads of NumPy's BLAS
NOTHING = np.empty((0, 0))
PART = 1 << 18  # numbers, a quarter of a megabyte of mask
GATHERED = tuple(np.dtype(kind) for kind in (np.uint8, np.float32, np.float64))  # other dtypes go through NumPy first


def all_finite(flat: Array) -> bool:
    """Whether no number is NaN or infinite, found without a mask of them all."""
    if flat.size <= FEW:
        with np.errstate(over="ignore", invalid="ignore"):
            if math.isfinite(flat.dot(flat)):  # 0.8 us for a row, where isfinite takes 1.8
                return True
    return all(np.isfinite(flat[begin : begin + PART]).all() for begin in range(0, flat.size, PART))


@functools.cache
def _gather(source: np.dtype[Any], dtype: np.dtype[Any]) -> Any:
    """Compile or load `gather_rows` for these dtypes, and return it."""
    with loading():
        scale = np.empty(1, dtype)
        gather_rows(np.empty((0, 1), source), np.empty(0, np.int64), scale, scale, np.empty((0, 1), dtype))
    return gather_rows


class StreamError(RuntimeError):
    """Rows could not be read, or ended early; the network of the last whole epoch was kept."""


def read(name: str, source: Any, begin: int, end: int) -> Array:
    """Rows [begin, end) of an object with slicing, in memory."""
    try:
        part = np.asarray(source[begin:end])
    except Exception as error:
        raise StreamError(f"{name}: rows {begin} to {end - 1} of {source.shape[0]} could not be read: "
                          f"{type(error).__name__}: {error}") from error  # fmt: skip
    expected = (end - begin, *source.shape[1:])
    if part.shape != expected:
        raise StreamError(f"{name}: got shape {part.shape} for rows {begin} to {end - 1}, expected {expected}")
    return real_array(name, part)


class Stage(NamedTuple):
    """Rows that are trained on one after the other, [begin, end) of an epoch: whole minibatches, but for the last."""

    begin: int
    end: int
    inputs: Array  # flat: these rows, or where `order` is given all those that it counts
    targets: Array
    weights: Array | None
    order: NDArray[np.int64] | None = None
    rounds: int = 1  # epochs whose orders follow one another


class Rows:
    """The argument X of a call, checked; parts of its rows on demand.

    Parameters
    ----------
    name : str
        What the argument is called in errors.
    X : array_like, sparse matrix or frame (n_samples, features)
        Of any real dtype and layout; SciPy's sparse matrices and arrays, whose rows are filled in as they are needed;
        objects that give rows by slicing, of which a part at a time is read; frames, whose columns are numbers.
    features : int
    dtype : numpy.dtype
        float32 or float64: what the kernels compute in.
    shift, scale : array (features,) or None
        ``(x - shift) * scale``, in the compute dtype.
    index : ndarray of int64, optional
        Which rows of X these are, in this order; the rows that the methods below are asked for count in it.
    known : tuple of str, optional
        The names of the columns, in the network's order: those of a frame are put in this order.

    Attributes
    ----------
    names : tuple of str or None
        Of the columns of a frame, in the order in which they are used.
    as_it_is : bool
        Whether compiled code can read the source itself, row by row.
    """

    names: tuple[str, ...] | None = None
    _order: list[int] | None = None  # where in a frame the columns lie, if not as they are used
    _stage: Array | None = None
    _window: tuple[int, Array] = 0, NOTHING  # of a source that is sliced: what was read last

    def __init__(self, name: str, X: ArrayLike, features: int, dtype: np.dtype[Any], shift: Array | None,
                 scale: Array | None, index: NDArray[np.int64] | None = None,
                 known: tuple[str, ...] | None = None):  # fmt: skip
        self.name, self.dtype, self.features = name, dtype, features
        if type(X) is not np.ndarray:  # asked here, not in a call: one row's time is all Python
            X = self._columns(frames.read(name, X), known)
        self.source = source = matrix_of_rows(name, X, features)
        self._index = index
        self.count = source.shape[0] if index is None else len(index)
        dense = isinstance(source, np.ndarray)
        self.as_it_is: bool = (dense and shift is None and scale is None and source.dtype == dtype
                               and source.flags.carray)  # fmt: skip
        self._in_place = self.as_it_is and index is None
        self._sliced = not dense and index is None and not hasattr(source, "tocsr")
        self._given = shift, scale

    def _columns(self, X: Any, known: tuple[str, ...] | None) -> Any:
        """The values of a frame, its columns in the order that is known."""
        if not isinstance(X, frames.Table):
            return X
        if X.names is None:
            return X.values
        known = X.names if known is None else known
        order = match_exactly(known, X.names, self.name)
        self.names = known
        if order == list(range(len(order))):
            return X.values
        self._order = order
        return X.values[:, order]

    def as_given(self, array: Array) -> Array:
        """Return an array whose last axis is the features', in the order of the columns that were given."""
        if self._order is None:
            return array
        found = np.empty_like(array)
        found[..., self._order] = array
        return found

    def of(self, index: NDArray[np.int64]) -> Rows:
        """Return these rows of it, in this order."""
        found = Rows(self.name, self.source, self.features, self.dtype, *self._given, index)
        found.names, found._order = self.names, self._order
        return found

    @kept
    def _scaling(self) -> tuple[Array, Array]:
        """Shift and scale; where none were given, those that leave a number as it is."""
        shift, scale = self._given
        return (np.zeros(self.features, self.dtype) if shift is None else shift,
                np.ones(self.features, self.dtype) if scale is None else scale)  # fmt: skip

    @property
    def flat(self) -> Array:
        """All of the source."""
        return self.source.reshape(-1)

    def places(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where these rows lie in the source."""
        return rows if self._index is None else self._index[rows]

    @property
    def most(self) -> int:
        """How many rows one stage holds."""
        return most_rows(self.features, self.dtype)

    def between(self, begin: int, end: int, checked: bool = True) -> Array:
        """Rows [begin, end) as a flat vector; X's own memory where it can be read as it is, then `checked` or not."""
        if self._in_place:
            flat = (self.source if end - begin == self.count else self.source[begin:end]).reshape(-1)
            if checked and not all_finite(flat):
                self._refuse(begin + int(np.argmin(np.isfinite(flat))) // self.features)
            return flat
        return self._read(begin, end) if self._sliced else self.chosen(np.arange(begin, end))

    def check(self) -> None:
        """Refuse NaN and infinity wherever they are, by the first row that holds one."""
        for begin in range(0, self.count, self.most):
            self.between(begin, min(self.count, begin + self.most))

    def chosen(self, rows: NDArray[np.int64]) -> Array:
        """These rows, gathered to a flat vector that is valid until the next call."""
        if self._stage is None or len(self._stage) < len(rows):
            self._stage = aligned(len(rows) * self.features, self.dtype).reshape(-1, self.features)
        rows = self.places(rows)
        stage, source, taken = self._stage[: len(rows)], self.source, rows
        if not isinstance(source, np.ndarray):
            source, taken = source[rows].toarray(), np.arange(len(rows))
            with np.errstate(over="ignore"):  # to infinity, which is then refused
                source = source if source.dtype in GATHERED else source.astype(self.dtype)
        elif not (source.dtype in GATHERED and source.flags.carray and source.dtype.isnative):
            kept = source.dtype.newbyteorder("=") if source.dtype.newbyteorder("=") in GATHERED else self.dtype
            with np.errstate(over="ignore"):  # to infinity, which is then refused
                source = np.require(source[rows], kept, ["C", "A", "W"])
            taken = np.arange(len(rows))
        wrong = _gather(source.dtype, self.dtype)(source, taken, *self._scaling, stage)
        if wrong >= 0:
            self._refuse(int(rows[wrong]))
        return stage.reshape(-1)

    def _read(self, begin: int, end: int) -> Array:
        """`between` of a source that is sliced; megabytes at a time where it has chunks, which are often larger."""
        first, have = self._window
        if not (len(have) and first <= begin <= end <= first + len(have)):
            row_bytes = self.features * self.source.dtype.itemsize
            many = max(end - begin, WINDOW_BYTES // row_bytes if hasattr(self.source, "chunks") else 0)
            first, self._window = begin, (0, have[:0])  # before the next is read: not both in memory
            del have
            have = read(self.name, self.source, begin, min(self.count, begin + many))
            self._window = first, have
        part = _Part(self.name, have[begin - first : end - first], self.features, self.dtype, *self._given)
        part.first = begin
        return part.chosen(np.arange(end - begin))

    def prepare(self) -> None:
        """Compile or load the gather for this X."""
        self.chosen(np.empty(0, np.int64))

    def number(self, row: int) -> int:
        """What a row is called in errors."""
        return row

    def close(self) -> None:
        """End what reads ahead, and give its memory back: nothing, of rows in memory."""

    def _refuse(self, row: int) -> None:
        where = f"row {self.number(row)}"
        if self.names is not None:
            shift, scale = self._scaling
            with np.errstate(over="ignore", invalid="ignore"):
                numbers = (np.asarray(self.source[row]).astype(self.dtype) - shift) * scale
            where += f" of column {self.names[int(np.argmin(np.isfinite(numbers)))]!r}"
        raise ValueError(f"{self.name}: got NaN or infinity in {where}, expected numbers that are finite in "
                         f"{self.dtype}, input scaling applied")  # fmt: skip


def rows_of(model: Model, name: str, X: ArrayLike, known: tuple[str, ...] | None = None) -> Rows:
    """Return the rows of X as a network takes them; columns with names in the order of `known`, or of its own names."""
    return Rows(name, X, model.sizes[0], model.dtype, model.input_shift, model.input_scale, None,
                known or model.feature_names)  # fmt: skip


class _Part(Rows):
    """Rows of a larger whole, from its row `first` on."""

    first = 0

    def number(self, row: int) -> int:
        return self.first + row
