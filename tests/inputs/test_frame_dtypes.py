"""Columns and targets of any dtype that holds numbers: what they hold, or an error that names the column.

What is expected comes from the same numbers as plain arrays.
"""

from __future__ import annotations

import copy
import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from fastbp import MLP
from fastbp.frames import Table, array_of, name_of, read
from fastbp.inputs.in_memory import rows_of
from support.comparisons import assert_same_bits
from support.frame_cases import NAMED, NAMES, PLAIN, REVERSED, X, Y, frame, network

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")

WHOLE = np.array([3, 0, 1, 2, 250, 7])
HALF = WHOLE / 2
TRUTH = WHOLE > 2
EXACT = np.array([2**53 + 1, -(2**53) - 1, 2**62 + 1, 0, 1, 2])

COLUMNS: dict[str, tuple[Any, Any]] = {
    "bool": (TRUTH, TRUTH), "uint8": (WHOLE.astype(np.uint8), WHOLE), "float16": (HALF.astype(np.float16), HALF),
    **{name: (pd.array(WHOLE, dtype=name), WHOLE) for name in ("Int64", "UInt8", "Int16", "int32[pyarrow]")},
    **{name: (pd.array(HALF, dtype=name), HALF) for name in ("Float64", "Float32", "double[pyarrow]")},
    **{name: (pd.array(TRUTH, dtype=name), TRUTH) for name in ("boolean", "bool[pyarrow]")},
    "decimal": (pd.array([Decimal(str(x)) for x in HALF], dtype=pd.ArrowDtype(pa.decimal128(9, 2))), HALF),
    "category": (pd.Categorical(WHOLE), WHOLE), "category of halves": (pd.Categorical(HALF), HALF),
    "sparse": (pd.arrays.SparseArray(WHOLE), WHOLE), "objects": (WHOLE.astype(object), WHOLE),
    "large": (EXACT, EXACT), "large Int64": (pd.array(EXACT, dtype="Int64"), EXACT),
    "large objects": (pd.Series(EXACT.tolist(), dtype=object), EXACT),
    "fractions": (pd.Series([Fraction(x) for x in HALF], dtype=object), HALF),
    "objects of NumPy": (pd.Series([np.float32(HALF[0]), np.int8(WHOLE[1]), np.True_, True, 250, 7.0], dtype=object),
                         np.array([1.5, 0, 1, 1, 250, 7])),
}  # fmt: skip


@pytest.mark.parametrize("kind", COLUMNS)
def test_columns_of_numbers_are_what_they_hold(kind: str) -> None:
    column, expected = COLUMNS[kind]
    beside = pd.DataFrame({"first": HALF, "it": column, "last": TRUTH})
    alone = pd.DataFrame({"it": column})
    for given, i in ((beside, 1), (alone, 0)):
        found = read("X", given).values
        assert found.dtype.kind in "biuf"
        np.testing.assert_array_equal(found[:, i], expected.astype(found.dtype))
    exact = read("X", alone).values[:, 0]
    if expected.dtype.kind in "bi":
        assert exact.dtype.kind in "biu"
        assert exact.tolist() == expected.tolist()
    for series in (pd.Series(column), *([column] if not isinstance(column, np.ndarray) else [])):
        np.testing.assert_array_equal(array_of("y", series), exact)
    net = MLP((3, 4, 1), loss="mean_squared_error", seed=0, dtype="float64")
    plain = np.column_stack([HALF, expected, TRUTH]).astype(np.float64) / 300
    scaled = MLP((3, 4, 1), loss="mean_squared_error", seed=0, dtype="float64", input_scale=1 / 300)
    if "large" not in kind:
        np.testing.assert_allclose(scaled.predict(beside), net.predict(plain), rtol=1e-13)
        net.fit(plain, expected / 300, epochs=2)
        scaled.fit(beside, pd.Series(column).astype(np.float64) / 300, epochs=2)
        np.testing.assert_allclose(scaled.parameters, net.parameters, rtol=1e-11)
        by_series, by_array = copy.deepcopy(net), copy.deepcopy(net)
        by_series.fit(plain, pd.Series(column), epochs=1, learning_rate=1e-5, sample_weight=pd.Series(column))
        by_array.fit(plain, expected, epochs=1, learning_rate=1e-5, sample_weight=expected)
        assert_same_bits(by_series.parameters, by_array.parameters)


def test_polars_and_pyarrow_columns() -> None:
    values = {"w": WHOLE, "h": HALF, "t": TRUTH, "l": EXACT}
    expected = np.column_stack([values[name].astype(np.float64) for name in values])
    polars = pl.DataFrame(values)
    more = polars.with_columns(
        d=pl.col("h").cast(pl.Decimal(10, 2)), s=pl.col("w").cast(pl.UInt8), u=pl.col("h").cast(pl.Float32)
    )
    for given in (polars, pa.table(values), pa.record_batch(values), polars.to_pandas()):
        np.testing.assert_array_equal(read("X", given).values, expected)
    np.testing.assert_array_equal(read("X", more).values[:, 4:], np.column_stack([HALF, WHOLE, HALF]))
    np.testing.assert_array_equal(read("X", more.to_arrow()).values[:, 4:], np.column_stack([HALF, WHOLE, HALF]))
    assert read("X", polars.select("l")).values[:, 0].tolist() == EXACT.tolist()
    for series in (polars["l"], pa.array(EXACT), pa.chunked_array([EXACT[:2], EXACT[2:]])):
        assert array_of("y", series).tolist() == EXACT.tolist()  # type: ignore[union-attr]


def test_frames_of_dask() -> None:
    dask = pytest.importorskip("dask.dataframe")
    given = dask.from_pandas(frame(REVERSED).assign(width=pd.array(WHOLE.repeat(10), dtype="Int64")), npartitions=3)
    expected = np.column_stack([X[:, 0], WHOLE.repeat(10), X[:, 2], X[:, 3]])
    assert_same_bits(NAMED.logits(given), PLAIN.logits(expected))
    assert name_of(given["mass"]) == "mass"
    np.testing.assert_array_equal(array_of("y", given["width"]), WHOLE.repeat(10))


def test_a_frame_of_one_dtype_is_not_copied() -> None:
    plain = pd.DataFrame(X, columns=list(NAMES))
    assert np.shares_memory(read("X", plain).values, plain.to_numpy())
    assert rows_of(NAMED.model, "X", X).source is X
    rows = rows_of(NAMED.model, "X", read("X", plain))
    assert np.shares_memory(rows.source, plain.to_numpy())


MISSING: dict[str, Any] = {
    **{name: pd.array([1, 2, None] * 2, dtype=name) for name in ("Int64", "Float64", "double[pyarrow]", "UInt8")},
    "boolean": pd.array([True, False, None] * 2, dtype="boolean"), "NaN": np.array([1, 2, np.nan] * 2),
    "infinity": np.array([1, 2, np.inf] * 2), "category": pd.Categorical([1, 2, None] * 2),
    **{f"object {value}": pd.Series([1, 2.5, value] * 2, dtype=object)
       for value in (None, float("nan"), pd.NA, pd.NaT, Decimal("NaN"))},
    "object infinity": pd.Series([1, 2, float("inf")] * 2, dtype=object),
    "object beyond": pd.Series([1, 2, 10**400] * 2, dtype=object),
    "sparse": pd.arrays.SparseArray([1.0, 0.0, np.nan] * 2), "polars": pl.Series([1, 2, None] * 2),
    "polars bool": pl.Series([True, False, None] * 2), "polars NaN": pl.Series([1.0, 2.0, float("nan")] * 2),
    "arrow": pa.array([1, 2, None] * 2), "arrow bool": pa.array([True, False, None] * 2),
}  # fmt: skip


@pytest.mark.parametrize("kind", MISSING)
def test_what_is_missing_is_refused_by_row_and_column(kind: str) -> None:
    column = MISSING[kind]
    if "polars" in kind:
        given: Any = pl.DataFrame({"full": HALF, "gap, mm": column})
    elif "arrow" in kind and "double" not in kind:
        given = pa.table({"full": HALF, "gap, mm": column})
    else:
        given = pd.DataFrame({"full": HALF, "gap, mm": column})
    net = MLP((2, 4, 1), loss="mean_squared_error", seed=0)
    before = net.parameters.copy()
    for call in (net.predict, lambda X: net.fit(X, HALF), lambda X: net.gradient(X, HALF)):
        with pytest.raises(
            ValueError, match="^X: got (a missing value|NaN or infinity) in row [25] of column 'gap, mm', exp"
        ):
            call(given)
    with pytest.raises(ValueError, match=r"^y(: got a missing value in row 2|: got (nan|inf) at \[2, 0\]), expected"):
        net.fit(np.column_stack([HALF, HALF]), column)
    assert_same_bits(net.parameters, before)


def test_infinity_by_scaling_is_found_in_its_column() -> None:
    net = MLP((4, 3), seed=0, input_scale=[1, 1, 1e30, 1])
    net.feature_names = NAMES
    given = frame(REVERSED)
    given.loc[7, "depth"] = 1e30
    with pytest.raises(ValueError, match="^X: got NaN or infinity in row 7 of column 'depth', expected"):
        net.fit(given, Y)


NO_NUMBERS: dict[str, Any] = {
    "str": pd.Series(["a", None, "c"]), "text": pd.Series(["1", "2", "3"], dtype=object), "string": pd.array(["1"] * 3),
    "category": pd.Categorical(["a", "b", "c"]), "date": pd.to_datetime(["2020-01-01", None, "2021-01-01"]),
    "duration": pd.to_timedelta([1, 2, 3]), "zone": pd.to_datetime(["2020-01-01"] * 3, utc=True),
    "period": pd.period_range("2020", periods=3), "complex": np.array([1j, 2, 3]), "list": pd.Series([[1], [2], [3]]),
    "dates": pd.Series([datetime.date(2020, 1, 1)] * 3),
    "durations": pd.Series([np.timedelta64(1, "s")] * 3, dtype=object),
    "polars text": pl.Series(["1", "2", "3"]), "polars date": pl.Series([datetime.date(2020, 1, 1)] * 3),
    "polars list": pl.Series([[1], [2], [3]]), "polars array": pl.Series([[1, 2]] * 3, dtype=pl.Array(pl.Int64, 2)),
    "polars category": pl.Series(["a", "b", "c"], dtype=pl.Categorical), "arrow text": pa.array(["1", "2", "3"]),
    "polars struct": pl.Series([{"a": 1}] * 3), "arrow duration": pa.array([1, 2, 3], pa.duration("s")),
}  # fmt: skip


@pytest.mark.parametrize("kind", NO_NUMBERS)
def test_columns_without_numbers_are_named_with_their_dtype(kind: str) -> None:
    column = NO_NUMBERS[kind]
    make = pl.DataFrame if "polars" in kind else pa.table if "arrow" in kind else pd.DataFrame
    given = make({"a": [1, 2, 3], "b": column})
    dtype = given["b"].type if "arrow" in kind else given["b"].dtype
    net = MLP((2, 1), loss="mean_squared_error", seed=0)
    for call in (net.predict, lambda X: net.fit(X, [1, 2, 3])):
        with pytest.raises(TypeError) as error:
            call(given)
        assert str(error.value).startswith(f"X: got column 'b' of dtype {dtype}, ")
    with pytest.raises(TypeError, match="^y: got dtype .*, expected (numbers or bool|real numbers)"):
        net.fit(np.ones((3, 2)), column)


def test_class_indices_of_any_such_dtype() -> None:
    kinds: list[Any] = [pd.Series(Y, dtype=name) for name in ("Int64", "UInt8", "int64[pyarrow]", object, "Float64")]
    kinds += [pd.Series(pd.Categorical(Y)), pl.Series("y", Y), pa.array(Y), pd.array(Y, dtype="Int8")]
    kinds += [Y[:, None], Y[:, None].astype(float), pd.DataFrame({"y": Y}), pl.DataFrame({"y": Y}), pa.table({"y": Y})]
    kinds += [pd.DataFrame({"y": pd.array(Y, dtype="Int64")}), Y[:, None].tolist()]
    for y in kinds:
        net = network()
        net.fit(X, y, epochs=2, batch_size=16)
        assert_same_bits(net.parameters, PLAIN.parameters)
        assert PLAIN.score(X, y) == PLAIN.score(X, Y)
    net = network()
    net.fit(X, Y[:, None], epochs=2, batch_size=16, memory_limit=200_000)
    assert_same_bits(net.parameters, PLAIN.parameters)
    with pytest.raises(ValueError, match=r"^y: got 5 at \[3\]"):
        network().fit(X, np.where(np.arange(60) == 3, 5, Y)[:, None])
    with pytest.raises(ValueError, match=r"^y: got shape \(60, 2\)"):
        network().fit(X, np.column_stack([Y, Y]))


def test_class_indices_read_in_parts() -> None:
    class Sliced:
        def __init__(self, array: Any):
            self._array, self.shape, self.dtype = array, array.shape, array.dtype

        def __getitem__(self, rows: slice) -> Any:
            return self._array[rows]

        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            return self._array

    nets = [network(), network()]
    for net, y in zip(nets, (Y, Y[:, None]), strict=True):
        net.fit(Sliced(X), Sliced(y), epochs=2, batch_size=16, shuffle=False, memory_limit=40_000)
    assert_same_bits(nets[0].parameters, nets[1].parameters)
    plain = network()
    plain.fit(X, Y, epochs=2, batch_size=16, shuffle=False)
    assert_same_bits(nets[1].parameters, plain.parameters)


def test_what_is_no_frame_stays_as_it_is() -> None:
    for value in (X, X.tolist(), None, "text", 5, object(), np.ma.array(X)):
        assert read("X", value) is value
        assert array_of("X", value) is None
        assert name_of(value) is None
    table = Table(None, X)
    assert read("X", table) is table
    empty = read("X", pd.DataFrame(index=range(3)))
    assert empty.values.shape[1] == 0
    with pytest.raises(ValueError, match=r"^X: got no rows"):
        NAMED.predict(frame()[:0])
    with pytest.raises(TypeError, match="^X: got dtype object"):  # what such a frame is as one array
        NAMED.predict(frame().astype(object).to_numpy())


def test_a_frame_of_an_unknown_library_needs_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    given = frame(kind="interchange")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(
        TypeError, match="^X: got Exchanged, expected an array, or a frame of pandas, Polars or PyArrow"
    ):
        network().fit(given, Y)
