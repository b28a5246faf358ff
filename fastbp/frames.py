"""Frames and series as arrays of numbers: those of pandas, Polars, PyArrow, and what is built like them.

None of these libraries is imported, except PyArrow, to read a frame of yet another one. Columns are converted one by
one, for a frame as a whole becomes an array of objects as soon as one of its columns is of a dtype that NumPy lacks, or
of bools beside numbers. What is missing is refused: NumPy has no integer for it, and NaN would hide it.
"""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
PLAIN = (np.ndarray, list, tuple, int, float)
NUMERIC = "biuf"  # kinds of dtypes


@dataclass(frozen=True)
class Table:
    """A frame's columns as numbers.

    Attributes
    ----------
    names : tuple of str or None
        Of the columns; None unless all are str.
    values : array (n, columns)
        The frame's own memory where it has one array of them.
    """

    names: tuple[str, ...] | None
    values: Array


def outputs_of(argument: str, value: Any, outputs: int) -> Table | None:
    """Return a frame of targets, a column for each of several outputs; None of anything else."""
    if outputs == 1 or isinstance(value, PLAIN):
        return None
    found = read(argument, value)
    return found if isinstance(found, Table) and found.values.shape[1] == outputs else None


def read(argument: str, value: Any) -> Any:
    """Return a frame as a `Table`, and anything else as it is.

    Raises
    ------
    ValueError
        A value is missing; the message names its row and its column.
    TypeError
        A column holds no numbers; the message names it and its dtype.
    """
    kind = type(value)
    if isinstance(value, PLAIN) or _is_series(kind):
        return value
    if hasattr(kind, "iloc") and hasattr(kind, "columns"):  # pandas and those that follow it
        if hasattr(kind, "compute"):  # Dask
            value = value.compute()
        dtypes, labels = list(value.dtypes), list(value.columns)
        if len(set(dtypes)) == 1 and _numeric(dtypes[0]):
            return Table(_names(labels), np.asarray(value))  # a view, where pandas keeps them in one array
        columns = [value.iloc[:, i] for i in range(len(labels))]
    elif hasattr(kind, "get_columns") and hasattr(kind, "schema"):  # Polars
        labels, columns = list(value.columns), value.get_columns()
    else:
        if not (hasattr(kind, "column_names") and hasattr(kind, "column")):  # else PyArrow's
            if not (hasattr(kind, "__arrow_c_stream__") or hasattr(kind, "__dataframe__")):
                return value
            value = _table_of_arrow(argument, value)
        labels = list(value.column_names)
        columns = [value.column(i) for i in range(len(labels))]
    arrays = [_numbers(argument, column, f" of column {label!r}", f"column {label!r} of ")
              for label, column in zip(labels, columns, strict=True)]  # fmt: skip
    dtype = np.result_type(*{array.dtype for array in arrays}) if arrays else np.dtype(np.float64)
    values = np.empty((len(arrays[0]) if arrays else 0, len(arrays)), dtype)
    for i, array in enumerate(arrays):
        values[:, i] = array
    return Table(_names(labels), values)


def array_of(argument: str, value: Any) -> Array | None:
    """Return the numbers of a frame or a series; None of anything else. Raises what `read` raises."""
    if isinstance(value, PLAIN):
        return None
    if _is_series(type(value)):
        return _numbers(argument, value)
    found = read(argument, value)
    return found.values if isinstance(found, Table) else None


def name_of(value: Any) -> str | None:
    """Return the name of a series, or of a frame's only column, if it is a str that is not empty."""
    if isinstance(value, PLAIN):
        return None
    kind = type(value)
    if _is_series(kind):
        name = getattr(value, "name", None)
    else:
        names = getattr(value, "column_names", None) if hasattr(kind, "column_names") else None
        if names is None and (hasattr(kind, "iloc") or hasattr(kind, "get_columns")):
            names = value.columns
        name = names[0] if names is not None and len(names) == 1 else None
    return name if isinstance(name, str) and name else None


def _is_series(kind: type) -> bool:
    """Whether it is a column: of pandas, its index and its arrays, or of Polars or PyArrow."""
    told = any(hasattr(kind, name) for name in ("isna", "is_null"))
    return told and (hasattr(kind, "to_frame") or not hasattr(kind, "columns"))  # a series of Dask has columns


def _names(labels: list[Any]) -> tuple[str, ...] | None:
    return tuple(map(str, labels)) if labels and all(isinstance(label, str) for label in labels) else None


def _numeric(dtype: Any) -> bool:
    return isinstance(dtype, np.dtype) and dtype.kind in NUMERIC


def _table_of_arrow(argument: str, value: Any) -> Any:
    """Another library's frame as PyArrow's, by either protocol of exchange."""
    try:
        import pyarrow
        import pyarrow.interchange
    except ImportError:
        raise TypeError(f"{argument}: got {type(value).__name__}, expected an array, or a frame of pandas, Polars or "
                        "PyArrow; with PyArrow installed, other frames can be read too") from None  # fmt: skip
    if hasattr(type(value), "__arrow_c_stream__"):
        return pyarrow.table(value)
    return pyarrow.interchange.from_dataframe(value)


def _numbers(argument: str, column: Any, where: str = "", what: str = "") -> Array:
    """A column's numbers, of the dtype that NumPy has for them."""
    dtype = getattr(column, "dtype", None)
    if _numeric(dtype):  # NaN may be in it, which is refused as in any array
        return np.asarray(column)
    dtype = getattr(column, "type", "object") if dtype is None else dtype
    missing = np.asarray(column.isna() if hasattr(column, "isna") else column.is_null()).astype(bool)
    try:
        array = np.asarray(column)
    except Exception as error:  # what each library raises for what NumPy lacks
        raise TypeError(f"{argument}: got {what}dtype {dtype}, expected numbers or bool ({error})") from error
    if array.ndim != 1 or array.dtype.kind not in NUMERIC + "O":
        raise TypeError(f"{argument}: got {what}dtype {dtype}, expected numbers or bool")
    if array.dtype.kind == "O":
        for row in np.flatnonzero(~missing):
            if not _is_number(array[row]):
                raise TypeError(f"{argument}: got {what}dtype {dtype}, with {array[row]!r} in row {row}, expected "
                                "numbers or bool")  # fmt: skip
    if missing.any():
        raise ValueError(f"{argument}: got a missing value in row {np.argmax(missing)}{where}, expected numbers")
    return _of_objects(array) if array.dtype.kind == "O" else array


def _is_number(value: Any) -> bool:
    if isinstance(value, np.timedelta64):  # to NumPy, an integer
        return False
    return isinstance(value, (numbers.Real, Decimal, np.bool_))


def _of_objects(array: Array) -> Array:
    """Python's numbers as NumPy's: whole ones of a dtype that holds them exactly, if there is one; else float64."""
    values = array.tolist()
    if all(isinstance(value, (int, np.integer, np.bool_)) for value in values):
        whole = np.array(values)
        if whole.dtype.kind in NUMERIC:
            return whole
    return np.array([_nearest(value) for value in values], np.float64)


def _nearest(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return np.inf if value > 0 else -np.inf
