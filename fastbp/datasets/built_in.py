"""Data that need no file of the user's, and the split into training and test rows."""

from __future__ import annotations

import pkgutil
import zlib

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..validation import MAX_SIZE


def load_digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Load 1,797 real handwritten digits of 8x8 pixels, shipped with the package.

    "Optical Recognition of Handwritten Digits" by E. Alpaydin and C. Kaynak (1998), UCI Machine Learning Repository,
    https://archive.ics.uci.edu/dataset/80, licensed CC BY 4.0: its test set (`optdigits.tes`).

    Returns
    -------
    X : uint8 ndarray (1797, 64)
        Pixels row by row, from 0 (paper) to 16 (ink); `input_scale=1/16` scales them to at most 1.
    y : int64 ndarray (1797,)
        The digits, 0 to 9.

    Examples
    --------
    >>> X, y = load_digits()
    >>> X.shape, X.dtype.name, int(X.max()), y[:4].tolist()
    ((1797, 64), 'uint8', 16, [0, 1, 2, 3])
    """
    # The package may be inside a zip file. `importlib.resources` would read it as well, but its import takes 6 ms.
    content = pkgutil.get_data(__package__, "data/digits.z")
    assert content is not None, "the package's loader reads files"
    columns = np.frombuffer(zlib.decompress(content), np.uint8).reshape(65, -1)
    return np.ascontiguousarray(columns[:64].T), columns[64].astype(np.int64)


def quadrants(n: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Draw random points of the square (-1, 1) x (-1, 1), labelled by quadrant.

    This is about the smallest task that needs a hidden layer.

    Parameters
    ----------
    n : int
        Number of points, at least 1.
    seed : int
        Seed of `numpy.random.default_rng`, at least 0.

    Returns
    -------
    X : float32 ndarray (n, 2)
        Uniform in the open square; no point lies on an axis.
    y : int64 ndarray (n,)
        The quadrant, counter-clockwise: 0 upper right (x > 0, y > 0), 1 upper left, 2 lower left, 3 lower right.

    Raises
    ------
    TypeError
        `n` or `seed` is not an int; a bool is not accepted.
    ValueError
        `n` is below 1, or `seed` below 0.

    Examples
    --------
    >>> X, y = quadrants(4, seed=1)
    >>> X.dtype.name, X.shape, y.tolist()
    ('float32', (4, 2), [0, 1, 2, 3])
    """
    _check_int("n", n, least=1)
    if n > MAX_SIZE:
        raise ValueError(f"n: expected a number of points that memory can hold, got {n}")
    _check_int("seed", seed, least=0)
    rng = np.random.default_rng(seed)
    X = np.empty((n, 2), np.float32)
    redraw = np.ones(n, bool)
    while count := int(np.count_nonzero(redraw)):
        X[redraw] = rng.uniform(-1.0, 1.0, (count, 2))
        # Checked after rounding to float32, which can put a point on the border or on an axis.
        redraw = ((X == 0) | (np.abs(X) >= 1)).any(axis=1)
    right, upper = X[:, 0] > 0, X[:, 1] > 0
    return X, np.where(upper, np.where(right, 0, 1), np.where(right, 3, 2)).astype(np.int64)


def stratified_split(y: ArrayLike, fraction: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split rows into training and test rows, with every class in the same proportion.

    There are `round(fraction * n)` test rows, distributed over the classes by largest remainder. Each class of two or
    more rows has at least one row on either side, even if that changes the total; a class of a single row is in the
    training rows.

    Parameters
    ----------
    y : array_like (n,) of int or str
        Classes.
    fraction : float
        The share of test rows, above 0 and below 1.
    seed : int
        Seed of `numpy.random.default_rng`, at least 0, by which the rows are chosen.

    Returns
    -------
    train_rows, test_rows : int64 ndarrays
        Row indices in ascending order; together they hold every row once.

    Raises
    ------
    TypeError
        `fraction` is not a number, `seed` not an int, or `y` neither whole numbers nor text.
    ValueError
        `fraction` or `seed` is out of range, `y` is not 1-D, or no class has two rows.

    Examples
    --------
    >>> train_rows, test_rows = stratified_split([0, 0, 0, 0, 1, 1, 1, 1], 0.25, seed=0)
    >>> len(train_rows), len(test_rows)
    (6, 2)
    """
    if isinstance(fraction, (bool, np.bool_)) or not isinstance(fraction, (int, float, np.integer, np.floating)):
        raise TypeError(f"fraction: expected a number above 0 and below 1, got {fraction!r}")
    if not 0 < fraction < 1:
        raise ValueError(f"fraction: expected a number above 0 and below 1, got {fraction!r}")
    _check_int("seed", seed, least=0)
    try:
        labels = np.asarray(y)
    except ValueError as error:  # ragged
        raise ValueError("y: expected one class a row, shape (n,), got lists of different lengths") from error
    if labels.ndim != 1:
        raise ValueError(f"y: expected one class a row, shape (n,), got shape {labels.shape}")
    if labels.size and labels.dtype.kind not in "iubU":
        raise TypeError(f"y: expected whole numbers or text, got dtype {labels.dtype}")
    _, codes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if not (sizes >= 2).any():
        raise ValueError(f"y: expected a class with at least 2 rows, got {len(labels)} rows of {len(sizes)} classes")

    least, most = (sizes >= 2).astype(np.int64), sizes - 1
    ideal = float(fraction) * sizes
    counts = np.clip(np.floor(ideal).astype(np.int64), least, most)
    total = min(max(round(float(fraction) * len(labels)), int(least.sum())), int(most.sum()))
    while missing := total - int(counts.sum()):
        step = 1 if missing > 0 else -1
        movable = counts < most if step > 0 else counts > least
        counts[np.argmax(np.where(movable, step * (ideal - counts), -np.inf))] += step

    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(codes[order], kind="stable")]  # class by class, shuffled within each
    rank = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    chosen = rank < np.repeat(counts, sizes)
    return np.sort(order[~chosen]).astype(np.int64), np.sort(order[chosen]).astype(np.int64)


def _check_int(name: str, value: object, least: int) -> None:
    if isinstance(value, (bool, np.timedelta64)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}: expected an int of at least {least}, got {value!r}")
    if value < least:
        raise ValueError(f"{name}: expected an int of at least {least}, got {value!r}")
