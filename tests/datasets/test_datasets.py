"""Tests of fastbp.datasets: the shipped digits, the made-up points, every reader's good and bad input, the split."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fastbp import datasets
from fastbp.datasets import csv_reader, load, load_digits, quadrants, stratified_split

# --- digits and quadrants ---------------------------------------------------------------------------------------------


def test_digits_are_the_original_ones() -> None:
    X, y = load_digits()
    assert (X.shape, y.shape) == ((1797, 64), (1797,)) and X.dtype == np.uint8 and y.dtype == np.int64
    assert X.flags.c_contiguous and X.flags.writeable
    # Class sizes as UCI states them for the test set, the first picture as it is printed everywhere.
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert X[0, :16].tolist() == [0, 0, 5, 13, 9, 1, 0, 0, 0, 0, 13, 15, 10, 15, 5, 0]
    assert (int(X.min()), int(X.max()), int(X.sum(dtype=np.int64))) == (0, 16, 561718)
    # Rows, their order and their labels together, computed from scikit-learn's copy.
    assert int((X.sum(axis=1, dtype=np.int64) * np.arange(1797) * (y + 1)).sum()) == 2774255753


def test_digits_equal_scikit_learns() -> None:
    sklearn = pytest.importorskip("sklearn.datasets")
    X, y = sklearn.load_digits(return_X_y=True)
    assert np.array_equal(load_digits()[0], X) and np.array_equal(load_digits()[1], y)


def test_digits_are_small_attributed_and_a_fresh_copy() -> None:
    folder = Path(datasets.__file__).parent / "data"
    assert (folder / "digits.npz").stat().st_size < 60_000
    for text in ((folder / "README.md").read_text(), load_digits.__doc__ or ""):
        assert "Alpaydin" in text and "Kaynak" in text and "CC BY 4.0" in text
    load_digits()[0][:] = 99
    assert load_digits()[0].max() == 16
    from_file = load(folder / "digits.npz")
    assert np.array_equal(from_file.X, load_digits()[0]) and from_file.y is not None
    assert np.array_equal(from_file.y, load_digits()[1])


def naive_quadrant(x: float, y: float) -> int:
    if y > 0:
        return 0 if x > 0 else 1
    return 2 if x < 0 else 3


@given(n=st.integers(1, 200), seed=st.integers(0, 2**64))
@settings(max_examples=30, deadline=None)
def test_quadrants(n: int, seed: int) -> None:
    X, y = quadrants(n, seed)
    assert (X.shape, y.shape) == ((n, 2), (n,)) and X.dtype == np.float32 and y.dtype == np.int64
    assert (X != 0).all() and (np.abs(X) < 1).all()
    assert y.tolist() == [naive_quadrant(*point) for point in X.tolist()]
    again, _ = quadrants(n, seed)
    assert np.array_equal(X, again)


def test_quadrants_fill_the_square_and_depend_on_the_seed() -> None:
    X, y = quadrants(20_000, 0)
    assert np.abs(np.bincount(y, minlength=4) / 20_000 - 0.25).max() < 0.02
    assert np.abs(X.mean(axis=0)).max() < 0.02 and np.abs(X.std(axis=0) - 3**-0.5).max() < 0.02
    assert not np.array_equal(X, quadrants(20_000, 1)[0])


def test_quadrants_draws_again_what_falls_on_an_axis_or_the_border(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = [
        [[0.5, 0.5], [0.0, 0.5], [-0.5, 1e-60], [1 - 1e-12, 0.5], [-1.0, -0.5]],  # only the first one is inside
        [[-0.5, 0.5], [-0.5, -0.5], [0.5, -0.0], [0.25, -0.25]],
        [[0.75, -0.75]],
    ]

    class Rng:
        def uniform(self, low: float, high: float, size: tuple[int, int]) -> Any:
            drawn = np.array(draws.pop(0))
            assert (low, high, size) == (-1.0, 1.0, drawn.shape)
            return drawn

    monkeypatch.setattr(np.random, "default_rng", lambda seed: Rng())
    X, y = quadrants(5, 0)
    assert X.tolist() == [[0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5], [0.75, -0.75], [0.25, -0.25]]
    assert y.tolist() == [0, 1, 2, 3, 3] and draws == []


@pytest.mark.parametrize(
    ("n", "seed", "error", "named"),
    [
        (0, 0, ValueError, "n: .*at least 1, got 0"),
        (-3, 0, ValueError, "n: .*got -3"),
        (True, 0, TypeError, "n: .*got True"),
        (np.True_, 0, TypeError, "n: "),
        (4.0, 0, TypeError, r"n: .*got 4\.0"),
        ("4", 0, TypeError, "n: .*got '4'"),
        (4, -1, ValueError, "seed: .*got -1"),
        (4, None, TypeError, "seed: .*got None"),
        (4, 1.5, TypeError, r"seed: .*got 1\.5"),
    ],
)
def test_quadrants_refuses(n: Any, seed: Any, error: type[Exception], named: str) -> None:
    with pytest.raises(error, match=f"^{named}"):
        quadrants(n, seed)


def test_quadrants_takes_numpy_integers() -> None:
    assert np.array_equal(quadrants(np.int64(5), np.uint8(3))[0], quadrants(5, 3)[0])  # type: ignore[arg-type]


# --- stratified_split -------------------------------------------------------------------------------------------------


@given(
    y=st.lists(st.integers(-2, 4), min_size=2, max_size=120),
    fraction=st.floats(0.001, 0.999),
    seed=st.integers(0, 1000),
)
@settings(max_examples=150, deadline=None)
def test_split_keeps_proportions(y: list[int], fraction: float, seed: int) -> None:
    sizes = np.unique(y, return_counts=True)[1]
    if sizes.max() < 2:
        y, sizes = [7, 7, *y], np.append(sizes, 2)
    train, test = stratified_split(y, fraction, seed)
    assert train.dtype == test.dtype == np.int64
    assert np.array_equal(np.sort(np.concatenate([train, test])), np.arange(len(y)))
    assert (np.diff(train) > 0).all() and (np.diff(test) > 0).all()
    classes, sizes = np.unique(y, return_counts=True)
    counts = np.array([np.count_nonzero(np.asarray(y)[test] == c) for c in classes])
    least, most = np.where(sizes > 1, 1, 0), sizes - 1
    assert (least <= counts).all() and (counts <= most).all()
    assert counts.sum() == np.clip(round(fraction * len(y)), least.sum(), most.sum())
    ideal = fraction * sizes
    if (least <= np.floor(ideal)).all() and (np.ceil(ideal) <= most).all():
        assert (np.abs(counts - ideal) < 1).all()
    for first, again in zip((train, test), stratified_split(np.array(y), fraction, seed), strict=True):
        assert np.array_equal(first, again)


def test_split_gives_the_largest_remainders_the_extra_rows() -> None:
    y = [0] * 14 + [1] * 13 + [2] * 13  # ideal 2.8, 2.6, 2.6 of 8
    assert np.bincount(np.array(y)[stratified_split(y, 0.2, 0)[1]]).tolist() == [3, 3, 2]
    y = [0] * 11 + [1] * 14 + [2] * 15  # ideal 2.2, 2.8, 3.0 of 8
    assert np.bincount(np.array(y)[stratified_split(y, 0.2, 0)[1]]).tolist() == [2, 3, 3]


def test_split_of_lopsided_classes() -> None:
    y = ["common"] * 996 + ["rare"] * 2 + ["single"] * 2
    y[-1] = "alone"
    train, test = stratified_split(y, 0.25, 3)
    assert len(test) == 250
    assert [y[i] for i in test].count("rare") == 1 and {998, 999} <= set(train.tolist())


def test_split_chooses_by_chance() -> None:
    y = np.repeat([0, 1], 4)
    chosen = [stratified_split(y, 0.25, seed)[1].tolist() for seed in range(100)]
    assert {row for rows in chosen for row in rows} == set(range(8))
    assert len(set(map(tuple, chosen))) > 10


@pytest.mark.parametrize(
    ("y", "fraction", "seed", "error", "named"),
    [
        ([0, 0], 0.0, 0, ValueError, r"fraction: .*got 0\.0"),
        ([0, 0], 1, 0, ValueError, "fraction: .*got 1"),
        ([0, 0], float("nan"), 0, ValueError, "fraction: .*got nan"),
        ([0, 0], "0.5", 0, TypeError, "fraction: .*got '0.5'"),
        ([0, 0], True, 0, TypeError, "fraction: .*got True"),
        ([0, 0], 0.5, -1, ValueError, "seed: .*got -1"),
        ([0, 0], 0.5, None, TypeError, "seed: .*got None"),
        ([[0], [0]], 0.5, 0, ValueError, r"y: .*got shape \(2, 1\)"),
        (0, 0.5, 0, ValueError, r"y: .*got shape \(\)"),
        ([0.5, 0.5], 0.5, 0, TypeError, "y: .*got dtype float64"),
        ([], 0.5, 0, ValueError, "y: .*got 0 rows"),
        ([0, 1, 2], 0.5, 0, ValueError, "y: .*got 3 rows of 3 classes"),
    ],
)
def test_split_refuses(y: Any, fraction: Any, seed: Any, error: type[Exception], named: str) -> None:
    with pytest.raises(error, match=f"^{named}"):
        stratified_split(y, fraction, seed)


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


# --- .csv -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def csv_file(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def write(content: str | bytes) -> Path:
        file = tmp_path / "data.csv"
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    return write


CsvFile = Callable[[str | bytes], Path]
PLAIN = "a,b,kind\n1,2.5,x\n-3,4e2,y\n5,6,x\n"


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.rstrip("\n"),
        PLAIN + "\n\n  \n",
        "\n" + PLAIN.replace("\n", "\n\n"),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", " , "),
        b"\xef\xbb\xbf" + PLAIN.encode(),
        gzip.compress(PLAIN.encode()),  # gzipped, whatever the name says
        '"a","b","kind"\n"1","2.5","x"\n"-3","4e2","y"\n"5","6","x"\n',
        '"a", "b", "kind"\n1, "2.5", "x"\n-3,4e2,y\n5,6,"x"\n',
        "a;b;kind\n1;2.5;x\n-3;4e2;y\n5;6;x\n",
    ],
)
def test_csv_in_every_spelling(csv_file: CsvFile, content: str | bytes) -> None:
    data = load(csv_file(content))
    assert data.X.dtype == np.float64 and data.X.tolist() == [[1, 2.5], [-3, 400], [5, 6]]
    assert data.y is not None and data.y.dtype == np.int64 and data.y.tolist() == [0, 1, 0]
    assert (data.class_names, data.feature_names) == (("x", "y"), ("a", "b"))
    assert (data.X_test, data.y_test, data.is_image) == (None, None, False)
    assert data.X.flags.c_contiguous and data.X.flags.writeable


def test_csv_gz(tmp_path: Path) -> None:
    for content in (gzip.compress(PLAIN.encode()), PLAIN.encode()):
        (tmp_path / "data.csv.gz").write_bytes(content)
        assert load(tmp_path / "data.csv.gz").X.tolist() == [[1, 2.5], [-3, 400], [5, 6]]


def test_csv_quoted_text_keeps_delimiters_quotes_and_line_ends(csv_file: CsvFile) -> None:
    data = load(csv_file('"size, cm",class\n1,"a, b"\n2,"say ""so"""\n3,"two\r\nlines"\n4,"a, b"\n'))
    assert data.feature_names == ("size, cm",) and data.class_names == ("a, b", 'say "so"', "two\r\nlines")
    assert data.y is not None and data.y.tolist() == [0, 1, 2, 0]


def test_csv_semicolons_with_commas_in_the_names(csv_file: CsvFile) -> None:
    data = load(csv_file("length, cm;width, cm;kind\n1;2;a\n3;4;b\n"))
    assert data.feature_names == ("length, cm", "width, cm") and data.X.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("content", "target", "features", "names", "classes"),
    [
        ("1,2,a\n3,4,b\n", None, [[1, 2], [3, 4]], None, ("a", "b")),  # text in the last column alone: no header
        ("1,2,0\n3,4,1\n", None, [[1, 2], [3, 4]], None, ("0", "1")),
        ("1,2,y\n3,4,z\n", None, [[1, 2], [3, 4]], None, ("y", "z")),  # y is a class here, no column name
        ("p,q,r\n1,2,a\n3,4,b\n", None, [[1, 2], [3, 4]], ("p", "q"), ("a", "b")),
        ("y,q\n0,1\n1,2\n", None, [[1], [2]], ("q",), ("0", "1")),  # y as a name is the default target
        ("p,Label,q\n1,a,2\n3,b,4\n", None, [[1, 2], [3, 4]], ("p", "q"), ("a", "b")),
        ("p,CLASS,q\n1,a,2\n3,b,4\n", None, [[1, 2], [3, 4]], ("p", "q"), ("a", "b")),
        ("y,label,target\n1,2,a\n3,4,b\n", None, [[1, 2], [3, 4]], ("y", "label"), ("a", "b")),
        ("label,0,1\na,1,2\nb,3,4\n", None, [[1, 2], [3, 4]], ("0", "1"), ("a", "b")),  # pandas numbers its columns
        ("0,1,target\n1,2,a\n3,4,b\n", None, [[1, 2], [3, 4]], ("0", "1"), ("a", "b")),
        ("p,q,r\n1,a,2\n3,b,4\n", "q", [[1, 2], [3, 4]], ("p", "r"), ("a", "b")),
        ("a,1,2\nb,3,4\n", 0, [[1, 2], [3, 4]], None, ("a", "b")),
        ("a,1,2\nb,3,4\n", "0", [[1, 2], [3, 4]], None, ("a", "b")),
        ("a,1,2\nb,3,4\n", "-3", [[1, 2], [3, 4]], None, ("a", "b")),
        ("1,a,2\n3,b,4\n", -2, [[1, 2], [3, 4]], None, ("a", "b")),
        ("p,q,r\n1,a,2\n3,b,4\n", 1, [[1, 2], [3, 4]], ("p", "r"), ("a", "b")),
        ("label,p,0\n1,2,a\n3,4,b\n", "0", [[1, 2], [3, 4]], ("label", "p"), ("a", "b")),  # a name goes first
        ("p,2019,7\n1,a,2\n3,b,4\n", "2019", [[1, 2], [3, 4]], ("p", "7"), ("a", "b")),
        ("2019,2020,kind\n1,2,a\n3,4,b\n", "kind", [[1, 2], [3, 4]], ("2019", "2020"), ("a", "b")),
        ("7,p,kind\n1,2,a\n3,4,b\n", "kind", [[1, 2], [3, 4]], ("7", "p"), ("a", "b")),
    ],
)
def test_csv_header_and_target(
    csv_file: CsvFile, content: str, target: Any, features: Any, names: Any, classes: Any
) -> None:
    data = load(csv_file(content), target)
    assert data.X.tolist() == features and (data.feature_names, data.class_names) == (names, classes)
    assert data.y is not None and data.y.tolist() == [0, 1]


def test_csv_header_can_be_told(csv_file: CsvFile) -> None:
    numbers = csv_file("0,1,2\n3,4,5\n")
    with pytest.raises(ValueError, match=r"line 1: .*got 0, 1, 2, which could be either; header=True or header=False"):
        load(numbers)
    assert load(numbers, header=False).X.tolist() == [[0, 1], [3, 4]]
    assert load(numbers, header=False).feature_names is None
    assert load(numbers, header=True).X.tolist() == [[3, 4]]
    assert load(numbers, header=True).feature_names == ("0", "1")
    mixed = csv_file("id,2019,kind\n1,2,a\n")
    with pytest.raises(ValueError, match=r"data\.csv: line 1, column 1: .*got 'id' among numbers; header=True"):
        load(mixed)
    assert load(mixed, header=True).feature_names == ("id", "2019")
    with pytest.raises(ValueError, match=r"line 1, column 1: expected a finite number, got 'id'"):
        load(mixed, header=False)
    assert load(csv_file("1,target\n2,b\n"), header=False).class_names == ("b", "target")
    with pytest.raises(ValueError, match=r"^target: .*no header.*got 'kind'"):
        load(mixed, "kind", header=False)


def test_csv_first_row_with_a_flaw_is_not_lost_as_a_header(csv_file: CsvFile) -> None:
    for row, column in (("1,?,a", 2), ("1.x,2,a", 1), ("NA,2,a", 1), ("nan,2,a", 1)):
        with pytest.raises(ValueError, match=rf"line 3, column {column}: "):
            load(csv_file(f"\n\n{row}\n3,4,b\n"))
    with pytest.raises(ValueError, match=r"line 1, column 2: expected a finite number, got ''"):
        load(csv_file("1,,a\n3,4,b\n"))


@pytest.mark.parametrize(
    ("labels", "classes", "y"),
    [
        ("b a c a", ("a", "b", "c"), [1, 0, 2, 0]),
        ("10 9 2 10", ("2", "9", "10"), [2, 1, 0, 2]),
        ("1.5 -2 1e3 .5", ("-2", ".5", "1.5", "1e3"), [2, 0, 3, 1]),
        ("1.0 0 1 0.0", ("0", "1.0"), [1, 0, 1, 0]),  # one class, named as first met
        ("9007199254740993 9007199254740992 007 7", ("007", "9007199254740992", "9007199254740993"), [2, 1, 0, 0]),
        ("10 9 two inf", ("10", "9", "inf", "two"), [0, 1, 3, 2]),  # one text makes all text
        ("10 9 inf 9", ("10", "9", "inf"), [0, 1, 2, 1]),
        ("1_0 2 1_0 2", ("1_0", "2"), [0, 1, 0, 1]),
    ],
)
def test_csv_classes_are_sorted(csv_file: CsvFile, labels: str, classes: tuple[str, ...], y: list[int]) -> None:
    data = load(csv_file("x,label\n" + "".join(f"0,{label}\n" for label in labels.split())))
    assert data.class_names == classes and data.y is not None and data.y.tolist() == y


def test_csv_without_labels(csv_file: CsvFile) -> None:
    data = load(csv_file("1,2\n3,4\n"), labelled=False)
    assert data.X.tolist() == [[1, 2], [3, 4]] and (data.y, data.class_names, data.feature_names) == (None, None, None)
    data = load(csv_file("p,y\n1,2\n3,4\n"), labelled=False)
    assert data.X.tolist() == [[1, 2], [3, 4]] and data.y is None and data.feature_names == ("p", "y")
    assert load(csv_file("\np\n1\n2\n\n"), labelled=False).X.tolist() == [[1], [2]]
    assert load(csv_file("7\n8\n"), labelled=False).X.tolist() == [[7], [8]]
    data = load(csv_file("p,k\n1,a\n3,b\n"), "k", labelled=False)  # a target that is asked for is read
    assert data.X.tolist() == [[1], [3]] and data.y is not None and data.y.tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"line 2, column 2 \('k'\): expected a finite number, got 'a'"):
        load(csv_file("p,k\n1,a\n3,b\n"), labelled=False)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("", "expected rows of numbers, got an empty file"),
        ("\n \n\r\n", "expected rows of numbers, got an empty file"),
        ("p,q,kind\n", "expected rows of data .*got none"),
        ("p,q,kind\n1,2,a\n1,b\n", "line 3: expected 3 columns, got 2"),
        ("p,q,kind\n1,2,a\n\n1,2,3,b\n", "line 4: expected 3 columns, got 4"),
        ("p,q,kind\n1,2\n", "line 2: expected 3 columns, got 2"),
        ("p,q,kind\n1,2,a\n3,four,b\n", r"line 3, column 2 \('q'\): expected a finite number, got 'four'"),
        ("1,2,a\n3,4,b\nx,6,c\n", "line 3, column 1: expected a finite number, got 'x'"),
        ("p,q,kind\n1,,a\n", r"line 2, column 2 \('q'\): expected a finite number, got ''"),
        ("p,q,kind\n1, ,a\n", r"line 2, column 2 \('q'\): expected a finite number, got ''"),
        ("p,q,kind\n1,NaN,a\n", r"line 2, column 2 \('q'\): expected a finite number, got 'NaN'"),
        ("p,q,kind\n1,-inf,a\n", r"line 2, column 2 \('q'\): expected a finite number, got '-inf'"),
        ("p,q,kind\n1,1e999,a\n", r"line 2, column 2 \('q'\): expected a finite number, got '1e999'"),
        ("p,q,kind\n1,1_000,a\n", r"line 2, column 2 \('q'\): expected a finite number, got '1_000'"),
        ("p,q,kind\n1,2,\n", r"line 2, column 3 \('kind'\): expected a class, got ''"),
        ("p,q,kind\n1,2,NaN\n", r"line 2, column 3 \('kind'\): expected a class, got 'NaN'"),
        ("1\n2\n", "expected a feature column beside the target, got 1 column"),
        ('p,kind\n1,"a\n2,b\n3,c\n', "line 4: expected well-formed CSV"),
        ('p,kind\n1,"a"b\n', "line 2: expected well-formed CSV"),
        (b"p,kind\n1,\xff\n", "expected UTF-8 text"),
        (gzip.compress(PLAIN.encode())[:-9], "expected whole gzip data"),
        (gzip.compress(PLAIN.encode())[:-1] + b"\x01", "expected whole gzip data"),
    ],
)
def test_csv_refuses(csv_file: CsvFile, content: str | bytes, named: str) -> None:
    with pytest.raises(ValueError, match=rf"data\.csv: ({named})"):
        load(csv_file(content))


def test_csv_names_the_column_behind_the_target(csv_file: CsvFile) -> None:
    with pytest.raises(ValueError, match=r"line 3, column 3 \('q'\): expected a finite number, got 'z'"):
        load(csv_file("p,kind,q\n1,a,2\n3,b,z\n"), "kind")
    with pytest.raises(ValueError, match=r"line 3, column 1 \('p'\): expected a finite number, got 'z'"):
        load(csv_file("p,kind,q\n1,a,2\nz,b,3\n"), "kind")


@pytest.mark.parametrize(
    ("target", "named"),
    [
        ("colour", r"expected a column of .*data\.csv \(columns 'p', 'q', 'r'\), got 'colour'"),
        ("P", "expected a column of .*got 'P'"),
        ("", "expected a column of .*got ''"),
        (3, "expected a position from -3 to 2 .*got 3"),
        (-4, "expected a position from -3 to 2 .*got -4"),
        ("3", "expected a position from -3 to 2 .*got '3'"),
        ("-4", "expected a position from -3 to 2 .*got '-4'"),
    ],
)
def test_csv_refuses_a_target_that_is_not_there(csv_file: CsvFile, target: Any, named: str) -> None:
    with pytest.raises(ValueError, match=f"^target: {named}"):
        load(csv_file("p,q,r\n1,2,3\n"), target)


def test_csv_wider_than_a_field_may_be_long(csv_file: CsvFile) -> None:
    # Under a wrong delimiter the whole line is one field, beyond the csv module's 131,072 characters.
    row = ",".join(["0.125"] * 30_000)
    assert load(csv_file(f"{row}\n{row}\n"), labelled=False).X.shape == (2, 30_000)


def test_csv_sums_that_overflow_are_no_fault(csv_file: CsvFile) -> None:
    assert load(csv_file("1e308,1e308,a\n-1e308,1,b\n")).X.tolist() == [[1e308, 1e308], [-1e308, 1]]


def test_csv_with_more_texts_than_are_remembered(csv_file: CsvFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_reader._Numbers, "most", 3)
    rows = [[i // 2, -i / 7] for i in range(10)]
    content = "".join(f"{a!r},{b!r},k\n" for a, b in rows)
    assert load(csv_file(content)).X.tolist() == rows
    with pytest.raises(ValueError, match="line 11, column 2: expected a finite number, got '1_0'"):
        load(csv_file(content + "10,1_0,k\n"))


finite = st.floats(allow_nan=False, allow_infinity=False)
texts = (
    st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1)
    .map(str.strip)
    .filter(lambda text: text.lower() not in ("", "nan"))
)


@given(
    rows=st.integers(1, 3).flatmap(
        lambda width: st.lists(
            st.tuples(st.lists(finite, min_size=width, max_size=width), texts), min_size=1, max_size=8
        )
    ),
    delimiter=st.sampled_from(",;\t"),
)
@settings(max_examples=100, deadline=None)
def test_csv_brings_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[list[float], str]], delimiter: str
) -> None:
    file = tmp_path_factory.getbasetemp() / "round.csv"
    width = len(rows[0][0])
    lines = [delimiter.join(['"class"', *(f"f{i}" for i in range(width))])]
    for features, label in rows:
        lines.append(delimiter.join(['"' + label.replace('"', '""') + '"', *map(repr, features)]))
    file.write_text("\r\n".join(lines), encoding="utf-8", newline="")
    data = load(file, missing=())
    assert np.array_equal(data.X, np.array([features for features, _ in rows]))
    assert data.feature_names == tuple(f"f{i}" for i in range(width))
    assert data.y is not None and data.class_names is not None
    for code, (_, label) in zip(data.y, rows, strict=True):
        assert data.class_names[code] == label or float(data.class_names[code]) == float(label)


# --- IDX --------------------------------------------------------------------------------------------------------------

PICTURES = np.arange(5 * 3 * 2, dtype=np.uint8).reshape(5, 3, 2) + 200
LABELS = np.array([3, 0, 9, 3, 255], np.uint8)


def idx(array: NDArray[np.uint8]) -> bytes:
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_idx(folder: Path, separator: str = "-", gz: bool = False, parts: tuple[str, ...] = ("train", "t10k")) -> Path:
    for part in parts:
        rows = slice(None) if part == "train" else slice(2)
        for stem, array in ((f"images{separator}idx3", PICTURES[rows]), (f"labels{separator}idx1", LABELS[rows])):
            content = gzip.compress(idx(array)) if gz else idx(array)
            (folder / f"{part}-{stem}-ubyte{'.gz' if gz else ''}").write_bytes(content)
    return folder


@pytest.mark.parametrize("separator", ["-", "."])
@pytest.mark.parametrize("gz", [False, True])
def test_idx_folder(tmp_path: Path, separator: str, gz: bool) -> None:
    data = load(write_idx(tmp_path, separator, gz))
    assert data.X.dtype == np.uint8 and np.array_equal(data.X, PICTURES.reshape(5, 6))
    assert data.y is not None and data.y.dtype == np.int64 and data.y.tolist() == [3, 0, 9, 3, 255]
    assert data.X_test is not None and np.array_equal(data.X_test, PICTURES[:2].reshape(2, 6))
    assert data.y_test is not None and data.y_test.dtype == np.int64 and data.y_test.tolist() == [3, 0]
    assert data.is_image and data.class_names is None and data.feature_names is None
    assert data.X.flags.c_contiguous and data.X.flags.writeable


def test_idx_folder_without_test_rows(tmp_path: Path) -> None:
    data = load(write_idx(tmp_path, parts=("train",)))
    assert len(data.X) == 5 and data.X_test is None and data.y_test is None and data.is_image


def test_idx_without_labels(tmp_path: Path) -> None:
    write_idx(tmp_path)
    for name in ("train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte"):
        (tmp_path / name).unlink()
    data = load(tmp_path, labelled=False)
    assert data.X.shape == (5, 6) and data.X_test is not None and data.X_test.shape == (2, 6)
    assert data.y is None and data.y_test is None and data.is_image
    write_idx(tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte").unlink()  # the t10k labels left alone are not asked for
    assert load(tmp_path, labelled=False).X_test is None


@pytest.mark.parametrize("name", ["t10k-images-idx3-ubyte", "x.idx3-ubyte", "x-idx3-ubyte.gz"])
def test_one_idx_file(tmp_path: Path, name: str) -> None:
    content = idx(PICTURES)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    data = load(tmp_path / name, labelled=False)
    assert np.array_equal(data.X, PICTURES.reshape(5, 6)) and data.y is None and data.is_image
    with pytest.raises(ValueError, match=f"{name}: expected .*labelled=False"):
        load(tmp_path / name)


@pytest.mark.parametrize(
    ("gone", "named"),
    [
        (("train-images-idx3-ubyte", "train-labels-idx1-ubyte"), ".* without train-images-idx3-ubyte"),
        (("train-images-idx3-ubyte",), r"expected train-images-idx3-ubyte\[.gz\] beside the labels"),
        (("train-labels-idx1-ubyte",), r"expected train-labels-idx1-ubyte\[.gz\] beside the images"),
        (("t10k-images-idx3-ubyte",), "expected t10k-images-idx3-ubyte"),
        (("t10k-labels-idx1-ubyte",), "expected t10k-labels-idx1-ubyte"),
    ],
)
def test_idx_files_that_are_missing(tmp_path: Path, gone: tuple[str, ...], named: str) -> None:
    write_idx(tmp_path)
    for name in gone:
        (tmp_path / name).unlink()
    with pytest.raises(ValueError, match=named):
        load(tmp_path)


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected a \.npz archive.*got a folder without train-images-idx3-ubyte"):
        load(tmp_path)


HEAD = bytes((0, 0, 8, 3))


@pytest.mark.parametrize("gz", [False, True])
@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("train-images-idx3-ubyte", b"", "magic 00000803, got nothing"),
        ("train-images-idx3-ubyte", idx(LABELS), "magic 00000803, got 00000801"),
        ("train-labels-idx1-ubyte", idx(PICTURES), "magic 00000801, got 00000803"),
        ("train-images-idx3-ubyte", b"\0\0\x0d\3" + idx(PICTURES)[4:], "magic 00000803, got 00000d03"),
        ("train-images-idx3-ubyte", HEAD + b"\0\0\0\1\0\0", "IDX header with .*got 00000803000000010000$"),
        ("train-images-idx3-ubyte", idx(PICTURES)[:-1], r"30 bytes .*\(5, 3, 2\).*only 29: truncated"),
        ("t10k-labels-idx1-ubyte", idx(LABELS[:2])[:-1], "2 bytes .*only 1: truncated"),
        ("train-images-idx3-ubyte", idx(PICTURES) + b"\0", "30 bytes .*got more"),
        ("train-images-idx3-ubyte", idx(PICTURES[:0]), r"sizes above 0, got \(0, 3, 2\)"),
        ("train-images-idx3-ubyte", idx(PICTURES[:, :0]), r"sizes above 0, got \(5, 0, 2\)"),
        ("train-labels-idx1-ubyte", idx(LABELS[:4]), "5 labels, .*train-images-idx3-ubyte.*got 4"),
        ("t10k-labels-idx1-ubyte", idx(LABELS), "2 labels, .*t10k-images-idx3-ubyte.*got 5"),
    ],
)
def test_idx_refuses(tmp_path: Path, name: str, content: bytes, named: str, gz: bool) -> None:
    write_idx(tmp_path)
    (tmp_path / name).write_bytes(gzip.compress(content) if gz else content)
    with pytest.raises(ValueError, match=f"{name}: expected .*{named}"):
        load(tmp_path)


def test_idx_pictures_of_unequal_size(tmp_path: Path) -> None:
    write_idx(tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(PICTURES[:2, :2]))
    with pytest.raises(ValueError, match="expected t10k pictures of 6 pixels as in train, got 4"):
        load(tmp_path)


@pytest.mark.parametrize("gz", [False, True])
def test_idx_header_of_absurd_size_allocates_nothing(tmp_path: Path, gz: bool) -> None:
    content = HEAD + b"\xff" * 12 + b"\1" * 100
    file = tmp_path / "x-idx3-ubyte"
    file.write_bytes(gzip.compress(content) if gz else content)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="x-idx3-ubyte: expected 79228162458924105385300197375 bytes .*only 100"):
            load(file, labelled=False)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_idx_data_beyond_the_announced_size_are_not_read(tmp_path: Path) -> None:
    file = tmp_path / "x-idx3-ubyte"
    file.write_bytes(gzip.compress(idx(PICTURES) + bytes(64 << 20), compresslevel=1))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="expected 30 bytes .*got more"):
            load(file, labelled=False)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kept", [-6, 20])
def test_idx_truncated_gzip(tmp_path: Path, kept: int) -> None:
    write_idx(tmp_path, gz=True)
    file = tmp_path / "train-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz: expected whole gzip data"):
        load(tmp_path)
