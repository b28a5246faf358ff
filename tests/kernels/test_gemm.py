"""Affine layers over every edge of tile, panel and stretch, nothing beyond an operand, one hash for every choice."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import reference
from fastbp.kernels.shapes import BY_ROWS, HALF_ROWS, IN_PLACE, MR, PACKED
from fastbp.kernels.target import TARGET
from fastbp.program import run
from fastbp.program.cost_model import CostModel
from fastbp.program.tuning import Tuning, forced
from support.comparisons import assert_same_bits, assert_within, product_bound
from support.memory import guarded, surrounded

DTYPES = [np.float32, np.float64]
FORWARD = {"affine": (fastbp.affine_forward, False), "affine_relu": (fastbp.affine_relu_forward, True)}


def vector(dtype: Any) -> int:
    return TARGET.lanes(dtype)


def edges(dtype: Any) -> list[int]:
    """Sizes at which another tile, mask or panel comes into play."""
    vl = vector(dtype)
    return sorted({0, 1, 2, vl - 1, vl, vl + 1, MR - 1, MR, MR + 1, HALF_ROWS - 1, HALF_ROWS, HALF_ROWS + 1,
                   2 * vl - 1, 2 * vl, 2 * vl + 1, 3 * MR + 1})  # fmt: skip


def pairwise(sizes: list[int]) -> Iterator[tuple[int, int, int]]:
    """Triples in which every two positions take on every pair of sizes."""
    for i, j in itertools.product(range(len(sizes)), repeat=2):
        yield sizes[i], sizes[j], sizes[(i + j) % len(sizes)]


def operands(rng: np.random.Generator, dtype: Any, n: int, fan_in: int, fan_out: int) -> tuple[Any, Any, Any, Any]:
    """X, W, b and dH."""
    shapes = (n, fan_in), (fan_in, fan_out), (fan_out,), (n, fan_out)
    return tuple(rng.normal(size=shape).astype(dtype) for shape in shapes)  # type: ignore[return-value]


def check_forward(name: str, X: Any, W: Any, b: Any) -> None:
    function, rectified = FORWARD[name]
    out, intact = surrounded((X.shape[0], W.shape[1]), X.dtype)
    assert function(X, W, b, out=out) is out
    assert intact()
    expected = reference.affine_forward(X, W, b)
    bound = product_bound(X, W, X.dtype, b)
    assert_within(out, reference.relu_forward(expected) if rectified else expected, bound)


def check_backward(dH: Any, X: Any, W: Any) -> None:
    dX, dW, db = fastbp.affine_backward(dH, X, W)
    expected = reference.affine_backward(dH, X, W)
    dtype = X.dtype
    assert dX.dtype == dW.dtype == db.dtype == dtype
    assert_within(dX, expected[0], product_bound(dH, W.T, dtype))
    assert_within(dW, expected[1], product_bound(X.T, dH, dtype))
    assert_within(db, expected[2], product_bound(np.ones((1, len(dH))), dH, dtype)[0])


# ---- right at every size ----


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FORWARD)
def test_forward_over_the_edges(name: str, dtype: Any) -> None:
    rng = np.random.default_rng(1)
    for n, fan_out, fan_in in pairwise(edges(dtype)):
        X, W, b, _ = operands(rng, dtype, n, fan_in, fan_out)
        check_forward(name, X, W, b)


@pytest.mark.parametrize("dtype", DTYPES)
def test_backward_over_the_edges(dtype: Any) -> None:
    rng = np.random.default_rng(2)
    for n, fan_in, fan_out in pairwise(edges(dtype)):
        X, W, _, dH = operands(rng, dtype, n, fan_in, fan_out)
        check_backward(dH, X, W)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("access", [PACKED, BY_ROWS, IN_PLACE])
@pytest.mark.parametrize("kc", [1, 16, 21])
def test_stretches_of_a_forced_length(kc: int, access: int, dtype: Any) -> None:
    rng = np.random.default_rng(3)
    vl = vector(dtype)
    rows = [1, 2, HALF_ROWS, MR + 1, 2 * MR + HALF_ROWS]
    columns = [1, vl, vl + 1, 2 * vl, 5 * vl + 3]
    with forced(Tuning(kc=kc, access=access, a_in_place=access == IN_PLACE, nc=2 * vl)):
        for K, n, width in itertools.product(sorted({1, kc - 1, kc, kc + 1, 3 * kc + 5} - {0}), rows, columns):
            X, W, b, _ = operands(rng, dtype, n, K, width)
            check_forward("affine", X, W, b)
            check_forward("affine_relu", X, W, b)
            X, W, _, dH = operands(rng, dtype, K, n, width)  # K rows: the depth of dW
            check_backward(dH, X, W)
            X, W, _, dH = operands(rng, dtype, n, width, K)  # K columns: the depth of dX
            check_backward(dH, X, W)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("more", ["KC-1", "KC", "KC+1", "3*KC+5"])
def test_stretches_of_the_real_length(more: str, dtype: Any) -> None:
    KC = CostModel(np.dtype(dtype), 1).longest_stretch
    K = {"KC-1": KC - 1, "KC": KC, "KC+1": KC + 1, "3*KC+5": 3 * KC + 5}[more]
    rng = np.random.default_rng(4)
    for n, width in ((3, 2 * vector(dtype) + 1), (MR + 1, vector(dtype))):
        X, W, b, _ = operands(rng, dtype, n, K, width)
        check_forward("affine", X, W, b)
        X, W, _, dH = operands(rng, dtype, K, n, width)
        check_backward(dH, X, W)
        X, W, _, dH = operands(rng, dtype, n, width, K)
        check_backward(dH, X, W)


@pytest.mark.parametrize("dtype", DTYPES)
def test_small_integers_are_exact(dtype: Any) -> None:
    rng = np.random.default_rng(5)
    for n, fan_in, fan_out in ((1, 7, 3), (5, 33, 17), (43, 70, 51), (130, 200, 90)):
        X, W, b, dH = (rng.integers(-9, 10, shape).astype(dtype)
                       for shape in ((n, fan_in), (fan_in, fan_out), (fan_out,), (n, fan_out)))  # fmt: skip
        np.testing.assert_array_equal(fastbp.affine_forward(X, W, b), reference.affine_forward(X, W, b))
        rectified = reference.relu_forward(reference.affine_forward(X, W, b))
        np.testing.assert_array_equal(fastbp.affine_relu_forward(X, W, b), rectified)
        for actual, expected in zip(fastbp.affine_backward(dH, X, W), reference.affine_backward(dH, X, W), strict=True):
            np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, MR + 1])
def test_each_element_is_summed_as_documented(n: int, dtype: Any) -> None:
    """From +0 over ascending k, each product fused with its addition, the bias last."""
    eps = dtype(np.finfo(dtype).eps)
    large = 2 / eps  # a 1 beside it is lost
    width = 2 * vector(dtype) + 1

    def sums(x: list[Any], w: list[Any], bias: float) -> Any:
        X, W = np.tile(np.array(x, dtype), (n, 1)), np.tile(np.array(w, dtype)[:, None], (1, width))
        return np.unique(fastbp.affine_forward(X, W, np.full(width, bias, dtype))).tolist()

    ones = [1] * 4
    assert sums(ones, [1, large, 1, -large], 3) == [3]  # in pairs, or from the end: 5
    assert sums(ones[:2], [large, -large], 1) == [1]  # with the bias first: 0
    assert sums([-1, 1 + eps], [1, 1 - eps], 0) == [-(eps * eps) if TARGET.has_fma else 0]


# ---- nothing beyond an operand ----


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("side", ["start", "end"])
def test_operands_at_protected_pages(side: str, dtype: Any) -> None:
    rng = np.random.default_rng(6)
    vl = vector(dtype)
    sizes = [1, 2, 5, vl - 1, vl, vl + 1, 2 * vl + 1, MR, 3 * MR + 1]
    for (n, fan_in, fan_out), kc in zip(pairwise(sizes), itertools.cycle([None, 4])):
        X, W, b, dH = (guarded(array, side) for array in operands(rng, dtype, n, fan_in, fan_out))
        out = guarded(np.full((n, fan_out), np.nan, dtype), side)
        with forced(Tuning(kc=kc)):
            fastbp.affine_forward(X, W, b, out=out)
            assert_within(out, reference.affine_forward(X, W, b), product_bound(X, W, dtype, b))
            fastbp.affine_relu_forward(X, W, b, out=out)
            check_backward(dH, X, W)


@pytest.mark.parametrize("dtype", DTYPES)
def test_split_products_at_protected_pages(dtype: Any) -> None:
    rng = np.random.default_rng(7)
    n, fan_in, fan_out = 3 * MR + 5, 2 * vector(dtype) + 3, 4 * vector(dtype) + 1
    X, W, b, dH = (guarded(array) for array in operands(rng, dtype, n, fan_in, fan_out))
    for row_parts, column_parts in ((1, 2), (3, 1), (2, 2)):
        out = guarded(np.full((n, fan_out), np.nan, dtype))
        with forced(Tuning(row_parts=row_parts, column_parts=column_parts, kc=11)), fastbp.threads.limit(2):
            fastbp.affine_forward(X, W, b, out=out)
            check_backward(dH, X, W)
        assert_within(out, reference.affine_forward(X, W, b), product_bound(X, W, dtype, b))


# ---- special values ----


def specials(dtype: Any) -> list[Any]:
    limits = np.finfo(dtype)
    return [dtype(v) for v in (np.nan, np.inf, -np.inf, 0.0, -0.0, limits.smallest_subnormal,
                               -5 * limits.smallest_subnormal, limits.smallest_normal)]  # fmt: skip


def same_kind(actual: Any, expected: Any) -> None:
    """NaN and infinities where the reference has them."""
    np.testing.assert_array_equal(np.isnan(actual), np.isnan(expected))
    infinite = np.isinf(expected)
    np.testing.assert_array_equal(actual[infinite], expected[infinite])
    np.testing.assert_array_equal(np.isinf(actual), infinite)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, MR + 2])
def test_special_values_go_where_the_reference_has_them(n: int, dtype: Any) -> None:
    rng = np.random.default_rng(8)
    vl = vector(dtype)
    for (value, other), where in itertools.product(itertools.product(specials(dtype), repeat=2), ("XW", "Xb", "WH")):
        X, W, b, dH = operands(rng, dtype, n, 2 * vl + 3, vl + 2)
        i, k, j = (int(rng.integers(size)) for size in (n, W.shape[0], W.shape[1]))
        for operand in where:
            place = {"X": (X, (i, k)), "W": (W, (k, j)), "b": (b, j), "H": (dH, (i, j))}[operand]
            place[0][place[1]] = value if operand == where[0] else other
        expected = reference.affine_forward(X, W, b)
        same_kind(fastbp.affine_forward(X, W, b), expected)
        same_kind(fastbp.affine_relu_forward(X, W, b), reference.relu_forward(expected))
        with np.errstate(invalid="ignore"):
            wanted = reference.affine_backward(dH, X, W)
        for actual, gradient in zip(fastbp.affine_backward(dH, X, W), wanted, strict=True):
            same_kind(actual, gradient)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, MR])
def test_nan_goes_through_the_relu_and_infinity_stops_at_it(n: int, dtype: Any) -> None:
    X = np.ones((n, 1), dtype)
    W = np.array([[np.nan, np.inf, -np.inf, 1, -1]], dtype)
    expected = np.broadcast_to(np.array([np.nan, np.inf, 0, 1, 0], dtype), (n, 5))
    np.testing.assert_array_equal(fastbp.affine_relu_forward(X, W, np.zeros(5, dtype)), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, MR])
def test_zeros_and_denormals(n: int, dtype: Any) -> None:
    tiny = np.finfo(dtype).smallest_subnormal
    X = np.full((n, 1), -(tiny**0.5) / 4, dtype)
    W = np.full((1, 3), tiny**0.5 / 4, dtype)
    b = np.full(3, -0.0, dtype)
    minus_zero = np.full((n, 3), -0.0, dtype)
    if TARGET.has_fma:  # -t^2 rounds to -0 once; a rounded product added to +0 gives +0
        assert_same_bits(fastbp.affine_forward(X, W, b), minus_zero)
    assert_same_bits(fastbp.affine_relu_forward(X, W, b), np.zeros((n, 3), dtype))
    no_sum = fastbp.affine_forward(np.zeros((n, 0), dtype), np.zeros((0, 3), dtype), b)
    assert_same_bits(no_sum, np.zeros((n, 3), dtype))  # +0 plus -0
    X, W = np.full((n, 2), tiny), np.full((2, 3), dtype(3))
    assert_same_bits(fastbp.affine_forward(X, W, b), np.full((n, 3), 6 * tiny))
    dX, dW, db = fastbp.affine_backward(np.full((n, 3), tiny), np.full((n, 2), dtype(3)), W)
    assert_same_bits(dX, np.full((n, 2), 9 * tiny))
    assert_same_bits(dW, np.full((2, 3), 3 * n * tiny))
    assert_same_bits(db, np.full(3, n * tiny))


# ---- the same bits of every choice ----

CHOICES = [
    {"kc": 1},
    {"kc": 7},
    {"kc": 16, "nc": 1},
    {"mc": 1, "access": PACKED, "a_in_place": False},
    {"mc": 2 * MR, "kc": 29, "packed_columns": 1, "access": PACKED, "a_in_place": False},
    {"mc": 1, "packed_columns": 40, "access": PACKED, "a_in_place": True},
    {"mc": 20, "packed_columns": 1, "access": IN_PLACE, "a_in_place": False},
    {"mc": 3 * MR, "packed_columns": 64, "kc": 21, "nc": 72, "row_parts": 2},
    {"kc": 50, "nc": 40, "access": PACKED, "a_in_place": False},
    {"access": BY_ROWS},
    {"access": BY_ROWS, "kc": 13, "nc": 32},
    {"access": IN_PLACE, "a_in_place": True},
    {"access": IN_PLACE, "a_in_place": False, "kc": 13, "nc": 32},
    {"access": PACKED, "a_in_place": True, "kc": 29},
    {"row_parts": 2},
    {"row_parts": 5, "kc": 9},
    {"column_parts": 2},
    {"row_parts": 2, "column_parts": 2, "kc": 33, "nc": 64},
    {"row_parts": 3, "column_parts": 2, "access": BY_ROWS},
    {"slabs": True, "row_parts": 4},
    {"slabs": False, "kc": 21},
]


@contextlib.contextmanager
def choice(fields: dict[str, Any], threads: int) -> Iterator[None]:
    with forced(Tuning(**fields, parallel=threads > 1)), fastbp.threads.limit(threads):
        yield


@pytest.fixture
def parallel_calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with every program that runs on several threads."""
    calls: list[int] = []
    in_a_team = run._run_in_a_team

    def counted(*arguments: Any) -> None:
        calls.append(1)
        in_a_team(*arguments)

    monkeypatch.setattr(run, "_run_in_a_team", counted)
    return calls


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(67, 71, 83), (70, 100, 10), (3, 130, 50), (1, 90, 200)])
def test_no_choice_changes_a_bit(shape: tuple[int, int, int], dtype: Any, parallel_calls: list[int]) -> None:
    X, W, b, dH = operands(np.random.default_rng(9), dtype, *shape)

    def results() -> Any:
        parts = [fastbp.affine_forward(X, W, b), fastbp.affine_relu_forward(X, W, b), *fastbp.affine_backward(dH, X, W)]
        return np.concatenate([part.ravel() for part in parts])

    with choice({}, 1):
        expected = results()
    assert not parallel_calls
    for threads in (1, 2):
        for fields in CHOICES:
            with choice(fields, threads):
                assert_same_bits(results(), expected)
    if fastbp.threads.count() > 1:
        assert parallel_calls


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("fan_in", "fan_out"), [(64, 100), (37, 10), (100, 1)])
def test_a_row_has_the_same_bits_alone_and_in_any_batch(fan_in: int, fan_out: int, dtype: Any) -> None:
    X, W, b, dH = operands(np.random.default_rng(10), dtype, 1000, fan_in, fan_out)
    H = fastbp.affine_forward(X, W, b)
    dX = fastbp.affine_backward(dH, X, W)[0]
    for M in range(1, 71):
        assert_same_bits(fastbp.affine_forward(X[:M], W, b), H[:M])
        assert_same_bits(fastbp.affine_backward(dH[:M], X[:M], W)[0], dX[:M])
        assert_same_bits(fastbp.affine_forward(X[M - 1 : M], W, b), H[M - 1 : M])
        assert_same_bits(fastbp.affine_forward(X[-M:], W, b), H[-M:])
    assert_same_bits(fastbp.affine_relu_forward(X, W, b), fastbp.relu_forward(H))


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_do_not_change_a_bit_where_they_are_used(dtype: Any, parallel_calls: list[int]) -> None:
    X, W, b, dH = operands(np.random.default_rng(11), dtype, 300, 257, 301)  # large enough for threads by itself
    results = []
    for threads in (1, 2):
        with fastbp.threads.limit(threads):
            results.append([fastbp.affine_forward(X, W, b), *fastbp.affine_backward(dH, X, W)])
    for one, two in zip(*results, strict=True):
        assert_same_bits(two, one)
    assert len(parallel_calls) in (0, 2)
    if fastbp.threads.count() > 1:
        assert len(parallel_calls) == 2
