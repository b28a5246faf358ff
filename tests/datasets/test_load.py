"""`load`: paths, endings, arguments, and .npz archives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastbp.datasets import load


# --- what load dispatches on ------------------------------------------------------------------------------------------
def test_missing_path(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"^path: expected .*\.npz.*nothing at .*gone\.csv"):
        load(tmp_path / "gone.csv")


@pytest.mark.parametrize("name", ["data.txt", "folder", "model.npy", "t10k-labels-idx1-ubyte"])
def test_other_files_are_refused_with_what_is_supported(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("1,2\n")
    with pytest.raises(ValueError, match=rf"{name}: expected .*\.npz.*\.csv.*train-images-idx3-ubyte"):
        load(tmp_path / name)


def test_arguments_of_a_wrong_type(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("1,2\n")
    for target in (True, 1.0, b"x", ["x"]):
        with pytest.raises(TypeError, match="^target: "):
            load(file, target)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="^header: .*got 1$"):
        load(file, header=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="^path: .*got 3"):
        load(3)  # type: ignore[arg-type]


def test_a_path_may_be_a_string_and_its_ending_upper_case(tmp_path: Path) -> None:
    file = tmp_path / "A.CSV"
    file.write_text("1,0\n2,1\n")
    assert load(str(file)).X.tolist() == [[1.0], [2.0]]


def test_a_data_set_is_frozen(tmp_path: Path) -> None:
    data = load(write_npz(tmp_path, X=np.ones((2, 3)), y=np.array([0, 1])))
    with pytest.raises(AttributeError):
        data.X = data.X  # type: ignore[misc]


@pytest.mark.parametrize("option", [{"target": "y"}, {"target": 0}, {"header": False}, {"drop": [0]}, {"decimal": ","}])
def test_csv_options_are_refused_elsewhere(tmp_path: Path, option: dict[str, Any]) -> None:
    file = write_npz(tmp_path, X=np.ones((2, 3)), y=np.array([0, 1]))
    for path in (file, tmp_path):
        with pytest.raises(
            ValueError, match=rf"^{next(iter(option))}: expected none for .*, whose name does not end in"
        ):
            load(path, **option)


# --- .npz -------------------------------------------------------------------------------------------------------------
def write_npz(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "data.npz", **arrays)
    return folder / "data.npz"


@pytest.mark.parametrize("name", ["X", "x"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.int16, bool])
def test_npz(tmp_path: Path, name: str, dtype: type) -> None:
    X: Any = np.array([[0, 1], [1, 1], [1, 0]], dtype)
    data = load(
        write_npz(tmp_path, **{name: X, "y": np.array([2, 0, 5], np.uint8), name + "_test": X[:1], "y_test": [9]})
    )
    assert data.X.dtype == dtype and np.array_equal(data.X, X)
    assert data.y is not None and data.y.dtype == np.int64 and data.y.tolist() == [2, 0, 5]
    assert data.X_test is not None and np.array_equal(data.X_test, X[:1])
    assert data.y_test is not None and data.y_test.dtype == np.int64 and data.y_test.tolist() == [9]
    assert (data.class_names, data.feature_names, data.is_image) == (None, None, False)


def test_npz_prefers_the_upper_case_name(tmp_path: Path) -> None:
    assert load(write_npz(tmp_path, x=np.zeros((1, 2)), X=np.ones((1, 2)), y=[0])).X.tolist() == [[1, 1]]
    assert load(write_npz(tmp_path, X=np.ones((1, 2)), x=np.zeros((1, 2)), y=[0])).X.tolist() == [[1, 1]]


def test_npz_with_class_names(tmp_path: Path) -> None:
    X = np.ones((4, 2))
    data = load(write_npz(tmp_path, X=X, y=["pear", "apple", "Fig", "pear"], X_test=X[:2], y_test=["Fig", "apple"]))
    assert data.class_names == ("Fig", "apple", "pear") and {type(name) for name in data.class_names} == {str}
    assert data.y is not None and data.y.dtype == np.int64 and data.y.tolist() == [2, 1, 0, 2]
    assert data.y_test is not None and data.y_test.dtype == np.int64 and data.y_test.tolist() == [0, 1]


def test_npz_with_a_missing_class(tmp_path: Path) -> None:
    file = write_npz(tmp_path, X=np.ones((2, 2)), y=["a", "NA"])
    with pytest.raises(ValueError, match=r"y: expected a class, got .NA. in row 1 .*missing=\(\) takes it for a class"):
        load(file)
    assert load(file, missing=()).class_names == ("NA", "a")


def test_npz_without_labels(tmp_path: Path) -> None:
    for arrays in ({}, {"y": ["a", "b"]}, {"X_test": np.zeros((1, 3))}):
        data = load(write_npz(tmp_path, X=np.ones((2, 3)), **arrays), labelled=False)
        assert data.y is None and data.y_test is None and data.class_names is None and data.X.shape == (2, 3)
        assert (data.X_test is None) == ("X_test" not in arrays)


ONES = np.ones((2, 3))


@pytest.mark.parametrize(
    ("arrays", "named"),
    [
        ({"y": [0, 1]}, "the arrays X and y.*got y$"),
        ({"X": ONES}, "the arrays X and y.*got X$"),
        ({"X": ONES, "y": [0, 1], "X_test": ONES}, "X_test and y_test or neither"),
        ({"X": ONES, "y": [0, 1], "y_test": [0]}, "X_test and y_test or neither"),
        ({"X": np.ones(3), "y": [0, 1, 2]}, r"X: expected real numbers .*got float64 \(3,\)"),
        ({"X": np.ones((0, 3)), "y": np.zeros(0, int)}, r"X: expected .*\(0, 3\)"),
        ({"X": ONES * 1j, "y": [0, 1]}, "X: expected real numbers .*complex128"),
        ({"X": [["a"], ["b"]], "y": [0, 1]}, "X: expected real numbers .*<U1"),
        ({"X": ONES, "y": [0, 1], "X_test": np.ones((1, 4)), "y_test": [0]}, "X_test: expected 3 features .*got 4"),
        ({"X": ONES, "y": [0, 1], "X_test": np.ones(3), "y_test": [0]}, "X_test: expected real numbers"),
        ({"X": ONES, "y": [0]}, r"y: expected shape \(2,\).*got \(1,\)"),
        ({"X": ONES, "y": [[0], [1]]}, r"y: expected shape \(2,\).*got \(2, 1\)"),
        ({"X": ONES, "y": [0.0, 1.0]}, "y: expected class indices .*got float64"),
        ({"X": ONES, "y": [True, False]}, "y: expected class indices .*got bool"),
        ({"X": ONES, "y": [3, -1]}, "y: expected class indices from 0 on, got -1"),
        ({"X": ONES, "y": np.array([0, 2**64 - 1], np.uint64)}, "y: expected class indices .*got 18446744073709551615"),
        ({"X": ONES, "y": [0, 1], "X_test": ONES, "y_test": [-7, 0]}, "y_test: .*got -7"),
        ({"X": ONES, "y": ["a", "b"], "X_test": ONES, "y_test": ["b", "c"]}, "y_test: expected only classes.*got 'c'"),
        ({"X": ONES, "y": ["a", "b"], "X_test": ONES, "y_test": [0, 1]}, "y_test: expected only classes.*got '0'"),
        ({"X": ONES, "y": [0, 1], "X_test": ONES, "y_test": ["a", "b"]}, "y_test: expected class indices .*got <U1"),
        ({"X": ONES, "y": np.array(["a", None])}, "expected arrays of numbers or text, got: Object arrays"),
        ({"X": np.array([[1, None]]), "y": [0]}, "expected arrays of numbers or text, got: Object arrays"),
    ],
)
def test_npz_refuses(tmp_path: Path, arrays: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=rf"data\.npz: .*{named}"):
        load(write_npz(tmp_path, **arrays))


def test_npz_refuses_other_and_damaged_files(tmp_path: Path) -> None:
    file = write_npz(tmp_path, X=np.zeros((50, 50)), y=np.zeros(50, int))
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[1000] ^= 1
    for content in (b"", b"no archive", whole[: len(whole) // 2], bytes(flipped)):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"data\.npz: expected "):
            load(file)
