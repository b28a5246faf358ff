"""Comparisons of arrays: to the bit, and within bounds that follow from dtype and length."""

from __future__ import annotations

from typing import Any

import numpy as np


def bits_of(array: Any) -> Any:
    """The array's bit patterns as integers: NaN equals itself here, and -0 is not 0."""
    array = np.asarray(array)
    return array.astype(array.dtype, order="C", copy=True).view(f"u{array.dtype.itemsize}")


def assert_same_bits(actual: Any, expected: Any) -> None:
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    wrong = bits_of(actual) != bits_of(expected)
    if wrong.any():
        at = tuple(np.argwhere(wrong)[0])
        raise AssertionError(f"{wrong.sum()} of {wrong.size} differ, first at {at}: {actual[at]!r}, {expected[at]!r}")


def assert_within(actual: Any, expected: Any, bound: Any) -> None:
    """``|actual - expected| <= bound`` entry by entry; NaN and infinity must come where they are expected."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(actual[~finite], expected[~finite])
    bound = np.broadcast_to(bound, expected.shape)[finite]
    error = np.abs(actual[finite] - expected[finite])
    assert np.isfinite(error).all(), "not finite where a finite number is expected"
    wrong = error > bound
    if wrong.any():
        worst = int(np.argmax(error - bound))
        raise AssertionError(f"{wrong.sum()} of {wrong.size} beyond the bound; error {error[worst]:.3g} "
                             f"where {bound[worst]:.3g} is allowed")  # fmt: skip


def product_bound(A: Any, B: Any, dtype: Any, more: Any = 0.0) -> Any:
    """``k eps (|A||B| + |more|)`` with k the number of terms and a few: for sums in any order, rounded throughout."""
    A, B = np.abs(np.asarray(A, np.float64)), np.abs(np.asarray(B, np.float64))
    limits = np.finfo(dtype)
    terms = A.shape[1] + 3
    return terms * (float(limits.eps) * (A @ B + np.abs(more)) + float(limits.smallest_subnormal))
