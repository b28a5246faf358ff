"""Rows of a user's X as compiled code reads them: contiguous, in the compute dtype, shifted and scaled.

Compiled code reads X itself where X is stored that way. Otherwise rows are gathered, some at a time: the whole of X is
never copied.
"""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import frames, validation
from ..cached_property import cached_property
from ..kernels import functions, objects
from ..model.model import Model
from ..names import match_exactly
from ..program.interrupts import interrupt_held
from ..program.memory import address, aligned, most_rows
from ..program.parameters import Embedding
from ..program.run import bound_call
from .levels import refuse_wrong

Array = NDArray[Any]
Order = NDArray[np.int64]
WINDOW_BYTES = 8 * 1024**2  # read at once from a source that stores chunks, which are often larger than a request
DOT_SIZE = 4096  # numbers: a dot product of more would wake the threads of NumPy's BLAS
MASK_SIZE = 1 << 18  # numbers: a mask of a quarter of a megabyte
NOTHING = np.empty((0, 0))
GATHERED = tuple(np.dtype(kind) for kind in (np.uint8, np.float32, np.float64))  # NumPy converts other dtypes first
FETCHED_ROWS = 1 << 19  # rows whose order and labels, 8 bytes each, are gathered at a time


def all_finite(flat: Array) -> bool:
    """Return whether no number is NaN or infinite; no mask of all of them is made."""
    if flat.size <= DOT_SIZE:
        with np.errstate(over="ignore", invalid="ignore"):
            if math.isfinite(flat.dot(flat)):  # 0.8 us for a row, where isfinite takes 1.8
                return True
    return all(np.isfinite(flat[begin : begin + MASK_SIZE]).all() for begin in range(0, flat.size, MASK_SIZE))


@functools.cache
def _gather(source: np.dtype[Any], dtype: np.dtype[Any]) -> Callable[..., int]:
    """Compile or load the gathering of rows of `source`; its arguments are those of `kernels.gather.gather_rows`."""
    with interrupt_held():
        [where] = objects.addresses([functions.gathering(source.name, dtype.name)])
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    return ctypes.CFUNCTYPE(number, pointer, number, pointer, number, pointer, pointer, pointer)(where)


class StreamError(RuntimeError):
    """Rows could not be read, or ended early; the network keeps the parameters of the last whole epoch."""


def read(name: str, source: Any, begin: int, end: int) -> Array:
    """Read rows [begin, end) of an object with slicing into memory."""
    try:
        values = np.asarray(source[begin:end])
    except Exception as error:
        asked = f"rows {begin} to {end - 1} of {source.shape[0]}"
        raise StreamError(f"{name}: {asked} could not be read: {type(error).__name__}: {error}") from error
    expected = (end - begin, *source.shape[1:])
    if values.shape != expected:
        raise StreamError(f"{name}: got shape {values.shape} for rows {begin} to {end - 1}, expected {expected}")
    return validation.real_array(name, values)


class Rows:
    """The argument X of a call, checked; its rows on demand.

    Parameters
    ----------
    name : str
        What errors call the argument.
    X : array_like, sparse matrix or frame (n_samples, features)
        Of any real dtype and layout. Rows of SciPy's sparse matrices and arrays are made dense as they are needed;
        objects with row slicing are read some rows at a time; columns of frames must be numbers.
    features : int
    dtype : numpy.dtype
        float32 or float64: the dtype in which the kernels compute.
    shift, scale : array (features,) or None
        ``(x - shift) * scale``, in the compute dtype.
    index : ndarray of int64, optional
        Use only these rows of X, in this order; the methods below count within them.
    known : tuple of str, optional
        The names of the network's columns: a frame's columns are put in this order.
    embeddings : tuple of Embedding, optional
        Of columns that hold levels, which `between` checks; `chosen` takes those that were checked before.

    Attributes
    ----------
    names : tuple of str or None
        The names of a frame's columns, in the order in which they are used.
    count : int
        The number of rows.
    readable_in_place : bool
        Whether compiled code can read the source itself, row by row.
    """

    names: tuple[str, ...] | None = None
    _column_order: list[int] | None = None  # where a frame's columns lie, if not in the order of use
    _gathered: Array | None = None  # the memory of `chosen`
    _window: tuple[int, Array] = 0, NOTHING  # of a sliced source: the rows that were read last, from which on

    def __init__(
        self,
        name: str,
        X: ArrayLike,
        features: int,
        dtype: np.dtype[Any],
        shift: Array | None,
        scale: Array | None,
        index: Order | None = None,
        known: tuple[str, ...] | None = None,
        embeddings: tuple[Embedding, ...] = (),
    ):
        self.embeddings = embeddings
        self.name, self.dtype, self.features = name, dtype, features
        if type(X) is not np.ndarray:  # checked before the call: the time of one row is all Python
            X = self._columns(frames.read(name, X), known)
        self.source = source = validation.matrix_of_rows(name, X, features)
        self._index = index
        self.count = source.shape[0] if index is None else len(index)
        dense = isinstance(source, np.ndarray)
        unscaled = shift is None and scale is None
        self.readable_in_place: bool = dense and unscaled and source.dtype == dtype and source.flags.carray
        self._in_place = self.readable_in_place and index is None
        self._sliced = not dense and index is None and not hasattr(source, "tocsr")
        self._given = shift, scale

    def _columns(self, X: Any, known: tuple[str, ...] | None) -> Any:
        """Return a frame's values, with the columns in the known order; anything else as it is."""
        if not isinstance(X, frames.Table):
            return X
        if X.names is None:
            return X.values
        known = X.names if known is None else known
        order = match_exactly(known, X.names, self.name)
        self.names = known
        if order == list(range(len(order))):
            return X.values
        self._column_order = order
        return X.values[:, order]

    def as_given(self, array: Array) -> Array:
        """Return an array whose last axis counts features, with them in the order of X's own columns."""
        if self._column_order is None:
            return array
        found = np.empty_like(array)
        found[..., self._column_order] = array
        return found

    def subset(self, index: Order) -> Rows:
        """Return the rows with these indices, in this order."""
        found = Rows(self.name, self.source, self.features, self.dtype, *self._given, index, None, self.embeddings)
        found.names, found._column_order = self.names, self._column_order
        return found

    @cached_property
    def _scaling(self) -> tuple[Array, Array]:
        """Return shift and scale, 0 and 1 where none were given."""
        shift, scale = self._given
        if shift is None:
            shift = np.zeros(self.features, self.dtype)
        if scale is None:
            scale = np.ones(self.features, self.dtype)
        return shift, scale

    @property
    def flat(self) -> Array:
        """The whole source as a vector."""
        return self.source.reshape(-1)

    def places(self, rows: Order) -> Order:
        """Return where these rows lie in the source."""
        return rows if self._index is None else self._index[rows]

    @property
    def most(self) -> int:
        """The number of rows that are gathered at a time."""
        return most_rows(self.features, self.dtype)

    def between(self, begin: int, end: int, checked: bool = True) -> Array:
        """Return rows [begin, end) as a flat vector: X's own memory where it is readable in place, and then `checked`
        for NaN and infinity or not."""
        if self.embeddings and not self._sliced:
            self.check_levels(begin, end)
        if self._in_place:
            flat = (self.source if end - begin == self.count else self.source[begin:end]).reshape(-1)
            if checked and not all_finite(flat):
                self._refuse(begin + int(np.argmin(np.isfinite(flat))) // self.features)
            return flat
        return self._read(begin, end) if self._sliced else self.chosen(np.arange(begin, end))

    def gather_to(self, memory: Array) -> None:
        """Have `chosen` gather to this memory, as far as there is room: it is one array less for each call."""
        self._gathered = memory[: memory.size // self.features * self.features].reshape(-1, self.features)

    def check(self) -> None:
        """Raise ValueError for the first row that holds NaN or infinity, or what is no level."""
        for begin in range(0, self.count, self.most):
            self.between(begin, min(self.count, begin + self.most))

    def check_levels(self, begin: int, end: int) -> None:
        """Raise ValueError for the first of rows [begin, end) that holds what is no level in an embedded column."""
        if not self.embeddings:
            return
        step, check = (self.most, self._read) if self._sliced else (MASK_SIZE, self._check_levels)
        for first in range(begin, end, step):
            check(first, min(end, first + step))

    def _check_levels(self, begin: int, end: int) -> None:
        source, rows = self.source, slice(begin, end) if self._index is None else self._index[begin:end]
        places = [each.column for each in self.embeddings]
        if isinstance(source, np.ndarray):
            columns = [source[rows, column] for column in places]
        else:
            columns = list(source[rows][:, places].toarray().T)
        numbers = self.places(np.arange(begin, end))
        refuse_wrong(self.name, columns, self.embeddings, self.names, lambda at: self.number(int(numbers[at])))

    def chosen(self, rows: Order) -> Array:
        """Gather these rows to a flat vector that is valid until the next call."""
        if self._gathered is None or len(self._gathered) < len(rows):
            self._gathered = aligned(len(rows) * self.features, self.dtype).reshape(-1, self.features)
        rows = self.places(rows)
        gathered, source, indices = self._gathered[: len(rows)], self.source, rows
        if not isinstance(source, np.ndarray):
            source, indices = source[rows].toarray(), np.arange(len(rows))
            with np.errstate(over="ignore"):  # to infinity, which is then refused
                source = source if source.dtype in GATHERED else source.astype(self.dtype)
        elif not (source.dtype in GATHERED and source.flags.carray and source.dtype.isnative):
            native = source.dtype.newbyteorder("=")
            with np.errstate(over="ignore"):  # to infinity, which is then refused
                source = np.require(source[rows], native if native in GATHERED else self.dtype, ["C", "A", "W"])
            indices = np.arange(len(rows))
        shift, scale = self._scaling
        wrong = _gather(source.dtype, self.dtype)(
            address(source), self.features, address(indices), len(indices), address(shift), address(scale),
            address(gathered),
        )  # fmt: skip
        if wrong >= 0:
            self._refuse(int(rows[wrong]))
        return gathered.reshape(-1)

    def _read(self, begin: int, end: int) -> Array:
        """Return `between` of a sliced source, which is read `WINDOW_BYTES` at a time where it stores chunks."""
        first, window = self._window
        if not (len(window) and first <= begin <= end <= first + len(window)):
            row_bytes = self.features * self.source.dtype.itemsize
            count = max(end - begin, WINDOW_BYTES // row_bytes if hasattr(self.source, "chunks") else 0)
            first, self._window = begin, (0, window[:0])  # the old window is freed before the next one is read
            del window
            window = read(self.name, self.source, begin, min(self.count, begin + count))
            self._window = first, window
        part = window[begin - first : end - first]
        rows = _RowRange(self.name, part, self.features, self.dtype, *self._given, None, None, self.embeddings)
        rows.first = begin
        rows.check_levels(0, end - begin)
        return rows.chosen(np.arange(end - begin))

    def compiled_functions(self) -> list[functions.Function]:
        """Return the compiled functions that gather this X, as far as its dtype tells."""
        dtype = getattr(self.source, "dtype", None)
        return [functions.gathering(self._gathered_as.name, self.dtype.name)] if isinstance(dtype, np.dtype) else []

    @property
    def _gathered_as(self) -> np.dtype[Any]:
        """Return the dtype to which NumPy converts rows of X before they are gathered."""
        native = self.source.dtype.newbyteorder("=")
        return native if native in GATHERED else self.dtype

    @property
    def copied_silently(self) -> bool:
        """Return whether NumPy copies rows to the dtype that is gathered without a warning, whatever they hold."""
        dtype = self.source.dtype
        return dtype.kind != "f" or dtype.newbyteorder("=") in GATHERED

    def bound_gather(self, gathered: Array) -> tuple[Array, Callable[[], int] | None]:
        """Return an array to which rows of X's dtype are copied, and a function that gathers them from there to
        `gathered`; it returns the first row that holds NaN or infinity, or -1.

        Where all that is done to rows is the copy, return `gathered` itself, and None.
        """
        kind = self._gathered_as
        if kind == self.dtype and all(given is None for given in self._given):
            return gathered, None
        source, indices, scaling = np.empty(gathered.shape, kind), np.arange(len(gathered)), self._scaling
        where: Any = ctypes.cast(_gather(kind, self.dtype), ctypes.c_void_p).value  # type: ignore[arg-type]
        arguments = address(source), self.features, address(indices), len(gathered), *map(address, (*scaling, gathered))
        call = bound_call(ctypes.PYFUNCTYPE(ctypes.c_int64), where, arguments, (source, indices, scaling, gathered))
        return source, call

    def prepare(self) -> None:
        """Compile or load the gather for this X."""
        self.chosen(np.empty(0, np.int64))

    def number(self, row: int) -> int:
        """Return the number by which errors call a row."""
        return row

    def _refuse(self, row: int) -> None:
        where = f"row {self.number(row)}"
        if self.names is not None:
            shift, scale = self._scaling
            with np.errstate(over="ignore", invalid="ignore"):
                numbers = (np.asarray(self.source[row]).astype(self.dtype) - shift) * scale
            where += f" of column {self.names[int(np.argmin(np.isfinite(numbers)))]!r}"
        expected = f"numbers that are finite in {self.dtype}, input scaling applied"
        raise ValueError(f"{self.name}: got NaN or infinity in {where}, expected {expected}")


class _RowRange(Rows):
    """Consecutive rows of a larger source, from its row `first` on."""

    first = 0

    def number(self, row: int) -> int:
        return self.first + row


def rows_of(model: Model, name: str, X: ArrayLike, known: tuple[str, ...] | None = None) -> Rows:
    """Return the rows of X as a network reads them, with named columns in the order of `known` or of its own names."""
    names = known or model.feature_names
    scaling = model.input_shift, model.input_scale
    return Rows(name, X, model.sizes[0], model.dtype, *scaling, None, names, model.embeddings)


class Stage(NamedTuple):
    """Rows [begin, end) of an epoch, ready for compiled code: whole minibatches, except at the end of the epoch."""

    begin: int
    end: int
    inputs: Array  # flat: these rows; or, with an `order`, all the rows among which it counts
    targets: Array
    weights: Array | None
    order: Order | None = None
    rounds: int = 1  # epochs whose orders follow one another


class InMemory:
    """Rows, targets and weights in memory, as training takes them; `blocks.Stream` is the same of rows read in blocks.

    Parameters
    ----------
    rows : Rows
    targets : array (n,) or (n, outputs)
        As `Model.targets` returns them; copied, since a callback may write into y, whose labels are checked only once.
    weights : array (n,) or None
    target_name : str or None
        The name of y, if it is a series or a frame of one column.
    """

    def __init__(self, rows: Rows, targets: Array, weights: Array | None, target_name: str | None):
        self.rows, self.targets, self.weights, self.target_name = rows, targets.copy(), weights, target_name
        self.count, self.features, self.names = rows.count, rows.features, rows.names
        rows.check_levels(0, rows.count)
        self.readable_in_place = rows.readable_in_place

    def compiled_functions(self) -> list[functions.Function]:
        """Return the compiled functions that gather these rows."""
        return self.rows.compiled_functions()

    def prepare(self) -> None:
        """Compile or load the gather of these rows."""
        self.rows.prepare()

    def check(self) -> None:
        """Raise ValueError for the first row that holds NaN or infinity."""
        self.rows.check()

    def close(self) -> None:
        """Do nothing; a stream ends its reader."""

    def orders(
        self, order: Callable[[int], Order | None], generator: np.random.Generator | None
    ) -> Callable[[int], Order | None]:
        """Return the function that gives the order of each epoch: the plan's own."""
        return order

    def stages(self, order: Order | None, batch: int, done: int = 0) -> Iterator[Stage]:
        """Yield an epoch, from row `done` on.

        Parameters
        ----------
        order : ndarray of int64 (n,) or None
            Checked, since compiled code reads at these rows.
        batch : int
            Rows of a minibatch.
        done : int
            Rows of the epoch that are done already: whole minibatches.
        """
        rows, count = self.rows, self.count
        if order is not None:
            order = validation.row_indices("order", order, count)
            validation.shape("order", order, (count,))
        fetched = order is not None and self.readable_in_place
        size = max(1, (FETCHED_ROWS if fetched else rows.most) // batch) * batch
        for begin in range(done, count, size):
            end = min(count, begin + size)
            chosen: Any = slice(begin, end) if order is None else order[begin:end]
            if fetched:
                inputs, places = rows.flat, rows.places(chosen)
            else:
                inputs = rows.between(begin, end, checked=False) if order is None else rows.chosen(chosen)
                places = None
            weights = None if self.weights is None else self.weights[chosen]
            yield Stage(begin, end, inputs, self.targets[chosen], weights, places)

    def whole_epochs(self, orders: Order) -> Stage:
        """Return one stage of several epochs, each in its row of `orders` (epochs, n)."""
        order = orders.reshape(-1)
        return Stage(0, self.count, self.rows.flat, self.targets[order], None, self.rows.places(order), len(orders))
