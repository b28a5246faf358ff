"""Frames and arrays as the columns of a table: numbers or text, with gaps, and nothing converted that need not be.

Errors about shapes are worded as scikit-learn's are, since its checks of estimators look for these words.
"""

from __future__ import annotations

import datetime
import math
import numbers
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import frames
from .columns import Columns, text_of

Array = NDArray[Any]

_GAPS = ("NoneType", "NAType", "NaTType")  # classes of None, pandas.NA and pandas.NaT
_TEXT = ("str", "large_string", "utf8", "categor", "enum", "dictionary")  # how names of dtypes of texts or levels begin
_EXPECTED = "expected numbers, text, bools or categories"
_DATES = "; replace it by a number, for instance of days"


def columns_of(argument: str, value: Any) -> Columns:
    """Return the columns of a frame, or of an array or a sequence of rows.

    A column of numbers is float64; one of text, of bools or of categories has dtype object. Of an array of objects, a
    column is of numbers if it has no other values. None, NaN and pandas' NA are missing.

    Parameters
    ----------
    argument : str
        The name of the argument in error messages.
    value : frame or array_like (n, columns)

    Returns
    -------
    Columns

    Raises
    ------
    TypeError
        The value is sparse, or a column holds something else.
    ValueError
        The value is no table of at least one row and one column, or complex.

    Examples
    --------
    >>> columns_of("X", [[1, "a"], [None, "b"]]).arrays
    (array([ 1., nan]), array(['a', 'b'], dtype=object))
    """
    parts = frames.split(argument, value)
    if parts is None:
        return Columns(None, _of_array(argument, value))
    labels, columns = parts
    arrays = tuple(
        _of_column(f"{argument}: got column {label!r}", column) for label, column in zip(labels, columns, strict=True)
    )
    rows = len(arrays[0]) if arrays else len(value) if hasattr(value, "__len__") else 0
    _check_shape((rows, len(arrays)))
    return Columns(frames.names_of(labels), arrays)


def _check_shape(shape: tuple[int, ...]) -> None:
    for count, what in zip(shape, ("sample", "feature"), strict=True):
        if not count:
            raise ValueError(f"Found array with 0 {what}(s) (shape={shape}) while a minimum of 1 is required.")


# ---- frames ----


def _of_column(where: str, column: Any) -> Array:
    """Return one column of a frame; `where` begins messages."""
    dtype = getattr(column, "dtype", None)
    if isinstance(dtype, np.dtype):
        return _of_plain(where, np.asarray(column))
    dtype = getattr(column, "type", "object") if dtype is None else dtype
    categories = getattr(getattr(column, "cat", None), "categories", None)
    if categories is not None and hasattr(column.cat, "codes"):  # pandas, whose levels of any dtype stay as they are
        levels = np.array([*map(_text, categories.tolist()), None], object)
        codes: NDArray[np.integer[Any]] = np.asarray(column.cat.codes)  # -1, where one is missing, is the last
        found: Array = levels[codes]
        return found
    called = str(dtype).lower()
    if called.startswith(_TEXT) and not called.startswith("struct"):
        values = column.to_pylist() if hasattr(column, "to_pylist") else column.to_list()
        return _texts(values)
    if getattr(dtype, "kind", "") in tuple("iuf") and hasattr(column, "to_numpy"):  # pandas' own numbers
        try:
            return np.asarray(column.to_numpy(np.float64, na_value=np.nan))
        except (TypeError, ValueError):  # arrays of other makers may not know this keyword
            return np.asarray(column, np.float64)
    try:
        array = np.asarray(column)
    except Exception as error:  # each library raises its own for dtypes that NumPy lacks
        raise TypeError(f"{where} of dtype {dtype}, {_EXPECTED} ({error})") from error
    if array.ndim != 1:  # of structs
        raise TypeError(f"{where} of dtype {dtype}, {_EXPECTED}")
    return _of_plain(f"{where} of dtype {dtype}", array)


# ---- arrays ----


def _of_array(argument: str, value: Any) -> tuple[Array, ...]:
    """Return the columns of an array or of a sequence of rows."""
    if hasattr(value, "tocsr") or (hasattr(value, "toarray") and hasattr(value, "nnz")):
        raise TypeError(
            f"Sparse data was passed for {argument}, but dense data is required. "
            "Use '.toarray()' to convert to a dense numpy array."
        )
    if frames.is_series(type(value)):
        raise ValueError(
            f"Expected a 2-dimensional container but got {type(value)} instead. Pass a frame containing a single row "
            "(i.e. single sample) or a single column (i.e. single feature) instead. "
            "Reshape your data: Expected 2D array, got 1D array instead."
        )
    if isinstance(value, np.ma.MaskedArray):
        dtype, gap = (np.float64, np.nan) if value.dtype.kind in "iuf" else (object, None)
        value = np.ma.filled(value.astype(dtype), gap)
    rows = value if isinstance(value, np.ndarray) else _rows(argument, value)
    if rows.dtype.kind == "c" or (rows.dtype == object and any(isinstance(each, complex) for each in rows.flat)):
        raise ValueError(f"Complex data not supported\n{rows}\n")
    if rows.ndim != 2:
        _refuse_dimensions(rows)
    _check_shape(rows.shape)
    if rows.dtype.kind in "iuf":
        return tuple(np.asarray(rows, np.float64).T)
    return tuple(_of_plain(f"{argument}: got column {i}", column) for i, column in enumerate(rows.T))


def _rows(argument: str, value: Any) -> Array:
    """Return what is no array as one: of objects if it is made of Python's values, so that each keeps its type."""
    if not isinstance(value, (list, tuple)) or any(isinstance(row, np.ndarray) for row in value):
        return np.asarray(value)
    lengths = {len(row) if isinstance(row, (list, tuple)) else None for row in value}
    if len(lengths) > 1:
        raise ValueError(f"{argument}: got rows of different lengths, expected the same number of values in each row")
    return np.array(value, object)


def _refuse_dimensions(rows: Array) -> None:
    if rows.ndim > 2:
        raise ValueError(f"Found array with dim {rows.ndim}, while dim <= 2 is required.")
    got = f"got {'1D' if rows.ndim else 'scalar'} array instead:\narray={rows}.\n"
    raise ValueError(
        f"Expected 2D array, {got}Reshape your data either using array.reshape(-1, 1) if your data has a single "
        "feature or array.reshape(1, -1) if it contains a single sample."
    )


# ---- one column ----


def _of_plain(where: str, column: Array) -> Array:
    """Return a column that NumPy holds."""
    kind = column.dtype.kind
    if kind in "iuf":
        return np.asarray(column, np.float64)
    if kind == "b":
        return np.array(["False", "True"], object)[column.astype(np.intp)]
    if kind == "c":
        raise ValueError(f"Complex data not supported\n{column}\n")
    if kind in "UST":
        return _texts(column.tolist())
    if kind != "O" or column.ndim != 1:
        raise TypeError(f"{where} with {column.dtype}, {_EXPECTED}{_DATES if kind in 'mM' else ''}")
    return _of_objects(where, column.tolist())


def _of_objects(where: str, values: list[Any]) -> Array:
    """Return a column of Python's values."""
    kinds = {kind for kind in set(map(type, values)) if kind.__name__ not in _GAPS}
    texts = [kind for kind in kinds if issubclass(kind, (str, bytes))]
    for kind in kinds.difference(texts):
        if not _is_number(kind):
            row = next(i for i, value in enumerate(values) if type(value) is kind)
            timed = issubclass(kind, (datetime.date, datetime.time, datetime.timedelta, np.datetime64, np.timedelta64))
            must = "each value of this argument must be a string, a number or a bool"
            raise TypeError(f"{where} with {values[row]!r} in row {row}; {must}{_DATES if timed else ''}")
    if texts:
        return _texts(values)
    truths = [kind for kind in kinds if issubclass(kind, (bool, np.bool_))]
    if truths and all(type(value) in truths or is_missing(value) for value in values):
        return _texts(values)
    try:
        return np.array(values, np.float64)
    except (TypeError, ValueError, OverflowError):  # NA, or a number beyond the range
        return np.array([math.nan if is_missing(value) else frames.nearest(value) for value in values], np.float64)


def _is_number(kind: type) -> bool:
    if issubclass(kind, (np.timedelta64, np.datetime64)):  # the former is a subclass of np.integer
        return False
    return issubclass(kind, (numbers.Real, np.bool_, Decimal))


def is_missing(value: Any) -> bool:
    """Return whether a value of a column of objects is missing."""
    if isinstance(value, (float, np.floating, Decimal)):
        return bool(value != value)
    return type(value).__name__ in _GAPS


def _texts(values: Sequence[Any]) -> Array:
    """Return each value as text, and None for a missing one."""
    column = np.empty(len(values), object)
    plain = set(map(type, values)) <= {str, type(None)}
    column[:] = values if plain else [None if is_missing(value) else _text(value) for value in values]
    return column


def _text(value: Any) -> str:
    if isinstance(value, (float, np.floating, Decimal)):  # 1.0 is the level "1", as in files and columns of numbers
        return text_of(float(value))
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
