"""Tests of frames and arrays as columns: what each dtype becomes, and what is refused."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from fastbp.tables.reading import columns_of

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")

NUMBERS = [1.0, None, 2.5]
WHOLE = [1.0, None, 3.0]
TEXTS = ["x", None, "y"]
TRUTHS = ["True", None, "False"]
LEVELS = ["3", None, "1"]

PANDAS: dict[str, tuple[Any, list[Any]]] = {
    "float64": (pd.array([1, math.nan, 2.5]), NUMBERS),
    "float32": (np.array([1, math.nan, 2.5], np.float32), NUMBERS),
    **{name: (pd.array([1, None, 3], dtype=name), WHOLE) for name in ("Int64", "UInt8", "int32[pyarrow]")},
    **{name: (pd.array([1, None, 2.5], dtype=name), NUMBERS) for name in ("Float64", "double[pyarrow]")},
    **{name: (pd.array([True, None, False], dtype=name), TRUTHS) for name in ("boolean", "bool[pyarrow]", "object")},
    **{name: (pd.array(["x", None, "y"], dtype=name), TEXTS) for name in ("string", "object", "string[pyarrow]")},
    "bool": (np.array([True, False, False]), ["True", "False", "False"]),
    "str": (pd.Series(["x", None, "y"]), TEXTS),
    "categories": (pd.Categorical(["x", None, "y"]), TEXTS),
    "ordered": (pd.Categorical(["x", None, "y"], ["y", "x"], ordered=True), TEXTS),
    "categories of numbers": (pd.Categorical([3, None, 1]), LEVELS),
    "categories of floats": (pd.Categorical([3.0, None, 1.5]), ["3", None, "1.5"]),
    "categories of bools": (pd.Categorical([True, None, False]), TRUTHS),
    "sparse": (pd.arrays.SparseArray([1.0, math.nan, 2.5]), NUMBERS),
    "objects": (pd.Series([1, pd.NA, 2.5], dtype=object), NUMBERS),
    "decimals": (pd.Series([Decimal(1), Decimal("nan"), Decimal("2.5")], dtype=object), NUMBERS),
    "mixed": (pd.Series(["x", math.nan, 2.5], dtype=object), ["x", None, "2.5"]),
    "beyond the range": (pd.Series([10**400, None, -(10**400)], dtype=object), [math.inf, None, -math.inf]),
    "text, all missing": (pd.array([None] * 3, dtype="string"), [None] * 3),
    "all missing": (pd.Series([math.nan] * 3), [None] * 3),
}  # fmt: skip


def values(array: np.ndarray) -> list[Any]:
    """Return a column as Python's values, None where one is missing."""
    assert array.dtype == np.float64 or (array.dtype == object and not set(map(type, array)) - {str, type(None)})
    return [None if value != value else value for value in array.tolist()]


@pytest.mark.parametrize("kind", PANDAS)
def test_columns_of_pandas(kind: str) -> None:
    column, expected = PANDAS[kind]
    found = columns_of("X", pd.DataFrame({"before": ["a", "b", "c"], "it": column}))
    assert found.names == ("before", "it") and found.rows == 3
    assert values(found.arrays[1]) == expected
    (alone,) = columns_of("X", pd.DataFrame({"it": column})).arrays
    assert values(alone) == expected


@pytest.mark.parametrize(
    ("column", "dtype", "expected"),
    [
        ([1, None, 3], pl.Int64, WHOLE), ([1, None, 3], pl.UInt8, WHOLE), ([1, None, 2.5], pl.Float32, NUMBERS),
        ([1, math.nan, 2.5], pl.Float64, NUMBERS), (["x", None, "y"], pl.String, TEXTS),
        (["x", None, "y"], pl.Categorical, TEXTS), (["x", None, "y"], pl.Enum(["y", "x"]), TEXTS),
        ([True, None, False], pl.Boolean, TRUTHS), ([True, True, False], pl.Boolean, ["True", "True", "False"]),
        ([Decimal(1), None, Decimal("2.5")], pl.Decimal(9, 2), NUMBERS), ([None] * 3, pl.Null, [None] * 3),
    ],
)  # fmt: skip
def test_columns_of_polars(column: list[Any], dtype: Any, expected: list[Any]) -> None:
    found = columns_of("X", pl.DataFrame({"it": pl.Series(column, dtype=dtype)}))
    assert found.names == ("it",) and values(found.arrays[0]) == expected


class Streamed:
    """A frame of a library that fastbp does not know."""

    def __init__(self, table: Any):
        self._table = table

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self._table.__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize("made", [lambda table: table, lambda table: table.to_batches()[0], Streamed])
def test_columns_of_pyarrow(made: Callable[[Any], Any]) -> None:
    columns = {
        "whole": (pa.array([1, None, 3]), WHOLE), "numbers": (pa.array([1, None, 2.5]), NUMBERS),
        "text": (pa.array(["x", None, "y"]), TEXTS), "large": (pa.array(["x", None, "y"], pa.large_string()), TEXTS),
        "bool": (pa.array([True, None, False]), TRUTHS), "levels": (pa.array([3, None, 1]).dictionary_encode(), LEVELS),
        "dictionary": (pa.array(["x", None, "y"]).dictionary_encode(), TEXTS),
    }  # fmt: skip
    found = columns_of("X", made(pa.table({name: column for name, (column, _) in columns.items()})))
    assert found.names == tuple(columns)
    for array, (_, expected) in zip(found.arrays, columns.values(), strict=True):
        assert values(array) == expected


def test_names_are_kept_if_all_are_str() -> None:
    assert columns_of("X", pd.DataFrame({"a": [1], 2: [3]})).names is None
    assert columns_of("X", np.ones((2, 2))).names is None


def test_columns_of_arrays_of_numbers_are_views() -> None:
    X = np.array([[1, math.nan], [math.inf, 4]])
    found = columns_of("X", X)
    assert [values(array) for array in found.arrays] == [[1, math.inf], [None, 4]]
    assert all(np.shares_memory(array, X) for array in found.arrays)
    for dtype in (np.int8, np.uint64, np.float16, np.float32):
        assert [values(array) for array in columns_of("X", np.array([[1, 2], [3, 4]], dtype)).arrays] == [
            [1, 3],
            [2, 4],
        ]


@pytest.mark.parametrize(
    ("X", "expected"),
    [
        ([[1, "a", True], [None, "b", False]], [[1, None], ["a", "b"], ["True", "False"]]),
        (np.array([[1, "a", True], [math.nan, None, pd.NA]], object), [[1, None], ["a", None], ["True", None]]),
        (np.array([[True], [False]]), [["True", "False"]]),
        (np.array([["a", "1"], ["b", "2"]]), [["a", "b"], ["1", "2"]]),
        (np.array([[b"a"], [b"b"]]), [["a", "b"]]),
        (((1, 2), (3, 4)), [[1, 3], [2, 4]]),
        ([np.array([1, 2]), np.array([3, 4])], [[1, 3], [2, 4]]),
        (np.ma.masked_array([[1, 2], [3, 4]], [[False, True], [False, False]]), [[1, 3], [None, 4]]),
        ([[1, 2.5], [True, 3]], [[1, 1], [2.5, 3]]),  # bools among numbers
        ([["a"], [1]], [["a", "1"]]),
        ([[None], [None]], [[None, None]]),
    ],
)  # fmt: skip
def test_columns_of_other_arrays(X: Any, expected: list[list[Any]]) -> None:
    found = columns_of("X", X)
    assert found.names is None and [values(array) for array in found.arrays] == expected


@pytest.mark.parametrize(
    ("X", "error", "said"),
    [
        (scipy.sparse.eye_array(3).tocsr(), TypeError, "Sparse data was passed for X, but dense data is required"),
        (scipy.sparse.csr_matrix(np.eye(3)), TypeError, "Sparse data was passed for X, but dense data is required"),
        (np.ones(3), ValueError, "Expected 2D array, got 1D array instead(.|\n)*Reshape your data"),
        ([1, 2], ValueError, "Expected 2D array, got 1D array instead"), ([], ValueError, "got 1D array instead"),
        (3, ValueError, "Expected 2D array, got scalar array instead"), (None, ValueError, "got scalar array"),
        (pd.Series([1, 2]), ValueError, "got 1D array instead"), (pl.Series([1]), ValueError, "2-dimensional"),
        (np.ones((1, 1, 1)), ValueError, "Found array with dim 3"),
        (np.empty((0, 3)), ValueError, r"Found array with 0 sample\(s\) \(shape=\(0, 3\)\) while a minimum of 1 is"),
        (np.empty((3, 0)), ValueError, r"0 feature\(s\) \(shape=\(3, 0\)\) while a minimum of 1 is required\."),
        (pd.DataFrame({"a": []}), ValueError, r"0 sample\(s\) \(shape=\(0, 1\)\)"),
        (pd.DataFrame(index=[1, 2]), ValueError, r"0 feature\(s\) \(shape=\(2, 0\)\)"),
        (np.ones((2, 2)) * 1j, ValueError, "Complex data not supported"),
        ([[1j, 2]], ValueError, "Complex data not supported"),
        (pd.DataFrame({"a": [1j]}), ValueError, "Complex data not supported"),
        ([[1], [2, 3]], ValueError, "^X: got rows of different lengths"),
        (np.array([[{"a": 1}]], object), TypeError, "argument must be a string, a number or a bool"),
        (pl.DataFrame({"a": [[1]]}), TypeError, "^X: got column 'a' of dtype List.*array.* in row 0"),
        (pd.DataFrame({"a": [1, object]}, dtype=object), TypeError, "^X: got column 'a' with <class .* in row 1"),
    ],
)  # fmt: skip
def test_what_is_refused(X: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        columns_of("X", X)


DAY = datetime.date(2020, 1, 2)


@pytest.mark.parametrize(
    "X",
    [
        pd.DataFrame({"a": pd.to_datetime([DAY])}), pd.DataFrame({"a": [DAY]}, dtype=object),
        pd.DataFrame({"a": pd.to_datetime([DAY]).tz_localize("UTC")}), pd.DataFrame({"a": pd.to_timedelta([3], "D")}),
        pl.DataFrame({"a": [DAY]}), pl.DataFrame({"a": [datetime.time(3)]}), pa.table({"a": [DAY]}),
        np.array([[DAY]], "M8[D]"), [[DAY]],
    ],
    ids=repr,
)  # fmt: skip
def test_dates_are_refused_with_the_remedy(X: Any) -> None:
    with pytest.raises(TypeError, match="^X: got column ('a'|0) .*; replace it by a number, for instance of days"):
        columns_of("X", X)


def test_numbers_of_any_class_are_one_level() -> None:
    values = np.array([1.0, np.float32(1), Decimal("1.0"), 1, "1", "a"], dtype=object)[:, np.newaxis]
    assert columns_of("X", values).arrays[0].tolist() == ["1"] * 5 + ["a"]


def test_structs_are_no_text() -> None:
    with pytest.raises(TypeError, match="X: got column 'x' (of dtype|with) "):
        columns_of("X", pl.DataFrame({"x": [{"a": 1}, {"a": 2}]}))
