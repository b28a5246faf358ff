"""Frames and series of pandas, Polars, PyArrow and libraries like them, as arrays of numbers.

None of these libraries is imported, except PyArrow, to read the frames of other libraries. Columns are converted one by
one, because a frame as a whole becomes an array of objects if one of its columns has a dtype that NumPy lacks, or if it
has bools beside numbers. Missing values are refused: NumPy's integers cannot represent them, and NaN would hide them.
"""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
PLAIN = (np.ndarray, list, tuple, int, float)
NUMERIC = "biuf"  # kinds of dtypes


@dataclass(eq=False, repr=False)
class Table:
    """The columns of a frame as numbers.

    Attributes
    ----------
    names : tuple of str or None
        The names of the columns; None unless all are str.
    values : array (n, columns)
        A view of the frame's memory if all columns lie in one array.
    """

    names: tuple[str, ...] | None
    values: Array


def outputs_of(argument: str, value: Any, outputs: int) -> Table | None:
    """Return a frame of targets with one column for each of several outputs as a `Table`; None for anything else."""
    if outputs == 1 or isinstance(value, PLAIN):
        return None
    table = read(argument, value)
    return table if isinstance(table, Table) and table.values.shape[1] == outputs else None


def read(argument: str, value: Any) -> Any:
    """Return a frame as a `Table`, and anything else as it is.

    Raises
    ------
    ValueError
        A value is missing; the message names its row and its column.
    TypeError
        A column holds something else than numbers; the message names it and its dtype.
    """
    kind = type(value)
    if isinstance(value, PLAIN) or is_series(kind):
        return value
    if _is_pandas(kind):
        if hasattr(kind, "compute"):  # Dask
            value = value.compute()
        dtypes = list(value.dtypes)
        if len(set(dtypes)) == 1 and _numeric(dtypes[0]):
            return Table(names_of(list(value.columns)), np.asarray(value))  # a view, if pandas has them in one array
    parts = split(argument, value)
    if parts is None:
        return value
    labels, columns = parts
    arrays = [_numbers(argument, column, f"column {label!r}") for label, column in zip(labels, columns, strict=True)]
    dtype = np.result_type(*{array.dtype for array in arrays}) if arrays else np.dtype(np.float64)
    values = np.empty((len(arrays[0]) if arrays else 0, len(arrays)), dtype)
    for i, array in enumerate(arrays):
        values[:, i] = array
    return Table(names_of(labels), values)


def split(argument: str, value: Any) -> tuple[list[Any], list[Any]] | None:
    """Return the labels and the columns of a frame, each column of the frame's library; None for anything else."""
    kind = type(value)
    if isinstance(value, PLAIN) or is_series(kind):
        return None
    if _is_pandas(kind):
        if hasattr(kind, "compute"):  # Dask
            value = value.compute()
        labels = list(value.columns)
        return labels, [value.iloc[:, i] for i in range(len(labels))]
    if hasattr(kind, "get_columns") and hasattr(kind, "schema"):  # Polars
        return list(value.columns), value.get_columns()
    if not (hasattr(kind, "column_names") and hasattr(kind, "column")):  # else a table of PyArrow
        if not (hasattr(kind, "__arrow_c_stream__") or hasattr(kind, "__dataframe__")):
            return None
        value = _to_pyarrow(argument, value)
    labels = list(value.column_names)
    return labels, [value.column(i) for i in range(len(labels))]


def array_of(argument: str, value: Any) -> Array | None:
    """Return the numbers of a frame or a series; None for anything else. Raises what `read` raises."""
    if isinstance(value, PLAIN):
        return None
    if is_series(type(value)):
        return _numbers(argument, value)
    table = read(argument, value)
    return table.values if isinstance(table, Table) else None


def name_of(value: Any) -> str | None:
    """Return the name of a series, or of a frame's only column, if it is a str and not empty; else None."""
    if isinstance(value, PLAIN):
        return None
    kind = type(value)
    if is_series(kind):
        name = getattr(value, "name", None)
    else:
        names = getattr(value, "column_names", None) if hasattr(kind, "column_names") else None
        if names is None and (hasattr(kind, "iloc") or hasattr(kind, "get_columns")):
            names = value.columns
        name = names[0] if names is not None and len(names) == 1 else None
    return name if isinstance(name, str) and name else None


def is_series(kind: type) -> bool:
    """Return True for the class of a single column: a series, index or array of pandas, or a series of another one."""
    finds_missing = any(hasattr(kind, name) for name in ("isna", "is_null"))
    return finds_missing and (hasattr(kind, "to_frame") or not hasattr(kind, "columns"))  # a Dask series has columns


def names_of(labels: list[Any]) -> tuple[str, ...] | None:
    """Return the labels of columns if all are str; else None."""
    return tuple(map(str, labels)) if labels and all(isinstance(label, str) for label in labels) else None


def _is_pandas(kind: type) -> bool:
    """Return True for the class of a frame of pandas, or of a library with its interface."""
    return hasattr(kind, "iloc") and hasattr(kind, "columns")


def _numeric(dtype: Any) -> bool:
    return isinstance(dtype, np.dtype) and dtype.kind in NUMERIC


def _to_pyarrow(argument: str, value: Any) -> Any:
    """Convert another library's frame to a table of PyArrow, by either interchange protocol."""
    try:
        import pyarrow
        import pyarrow.interchange
    except ImportError:
        raise TypeError(
            f"{argument}: got {type(value).__name__}, expected an array, or a frame of pandas, Polars or PyArrow; "
            "with PyArrow installed, other frames can be read too"
        ) from None
    if hasattr(type(value), "__arrow_c_stream__"):
        return pyarrow.table(value)
    return pyarrow.interchange.from_dataframe(value)


def _numbers(argument: str, column: Any, name: str = "") -> Array:
    """Return a column as an array of the NumPy dtype that fits; `name` is its name in messages."""
    dtype = getattr(column, "dtype", None)
    if _numeric(dtype):  # it may hold NaN, which is refused later, as in any array
        return np.asarray(column)
    dtype = getattr(column, "type", "object") if dtype is None else dtype
    got = f"{argument}: got {f'{name} of ' if name else ''}dtype {dtype}"
    missing = np.asarray(column.isna() if hasattr(column, "isna") else column.is_null()).astype(bool)
    try:
        array = np.asarray(column)
    except Exception as error:  # each library raises its own for dtypes that NumPy lacks
        raise TypeError(f"{got}, expected numbers or bool ({error})") from error
    if array.ndim != 1 or array.dtype.kind not in NUMERIC + "O":
        raise TypeError(f"{got}, expected numbers or bool")
    if array.dtype.kind == "O":
        for row in np.flatnonzero(~missing):
            if not _is_number(array[row]):
                raise TypeError(f"{got}, with {array[row]!r} in row {row}, expected numbers or bool")
    if missing.any():
        where = f"row {np.argmax(missing)}{f' of {name}' if name else ''}"
        raise ValueError(f"{argument}: got a missing value in {where}, expected numbers; fill it or drop the row")
    return _of_objects(array) if array.dtype.kind == "O" else array


def _is_number(value: Any) -> bool:
    if isinstance(value, np.timedelta64):  # a subclass of np.integer
        return False
    if isinstance(value, (numbers.Real, np.bool_)):
        return True
    from decimal import Decimal  # 1 ms, and few columns hold them

    return isinstance(value, Decimal)


def _of_objects(array: Array) -> Array:
    """Convert an array of Python's numbers: integers to a dtype that holds them all, if there is one; else float64."""
    values = array.tolist()
    if all(isinstance(value, (int, np.integer, np.bool_)) for value in values):
        whole = np.array(values)
        if whole.dtype.kind in NUMERIC:
            return whole
    return np.array([nearest(value) for value in values], np.float64)


def nearest(value: Any) -> float:
    """Return the number as float, or infinity beyond its range."""
    try:
        return float(value)
    except OverflowError:
        return np.inf if value > 0 else -np.inf
