"""The shipped digits, the made-up points, and the split into training and test rows."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastbp import datasets
from fastbp.datasets import load, load_digits, quadrants, stratified_split


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
    assert (folder / "digits.z").stat().st_size < 60_000
    for text in ((folder / "README.md").read_text(), load_digits.__doc__ or ""):
        assert "Alpaydin" in text and "Kaynak" in text and "CC BY 4.0" in text
    load_digits()[0][:] = 99
    assert load_digits()[0].max() == 16


def test_digits_as_an_archive(tmp_path: Path) -> None:
    X, y = load_digits()
    np.savez(tmp_path / "digits.npz", X=X, y=y)
    from_file = load(tmp_path / "digits.npz")
    assert np.array_equal(from_file.X, X) and from_file.y is not None
    assert np.array_equal(from_file.y, y)


def test_digits_are_made_as_their_page_says() -> None:
    folder = Path(datasets.__file__).parent / "data"
    X, y = load_digits()
    code = (folder / "README.md").read_text().split("```")[1].splitlines()
    assert code[2] == 'content = zlib.compress(numpy.vstack([X.T, y]).astype("uint8").tobytes(), 9)'
    made = np.vstack([X.T, y]).astype("uint8").tobytes()
    assert zlib.decompress((folder / "digits.z").read_bytes()) == made


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
