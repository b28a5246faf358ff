"""The scalar formulas over vectors and scalars, against wider arithmetic: exp and log to 2 ulp, the rest exactly."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from conftest import assert_same_bits

from fastbp.kernels import formulas
from fastbp.kernels.jit import kernel
from fastbp.kernels.simd import TARGET, advance, lanes, load, number, pointer, store

DTYPES = [np.float32, np.float64]
WIDER = {np.float32: np.float64, np.float64: np.longdouble}
ULPS = 2

needs_longdouble = pytest.mark.skipif(np.finfo(np.longdouble).nmant <= 52, reason="long double is no wider here")


def mapped(formula: Any, operands: int) -> Any:
    """Functions over flat arrays: with `formula` on vectors, and on one scalar after the other."""
    if operands == 1:

        @kernel
        def on_vectors(x, out):
            start, to = pointer(x), pointer(out)
            zero = number(start, 0.0)
            for i in range(0, x.size, lanes(start)):
                store(formula(load(advance(start, i), x.size - i, zero)), advance(to, i), x.size - i)

        @kernel
        def on_scalars(x, out):
            for i in range(x.size):
                out[i] = formula(x[i])

    else:

        @kernel
        def on_vectors(x, y, out):
            first, second, to = pointer(x), pointer(y), pointer(out)
            zero = number(first, 0.0)
            for i in range(0, x.size, lanes(first)):
                left = x.size - i
                store(formula(load(advance(first, i), left, zero), load(advance(second, i), left, zero)),
                      advance(to, i), left)  # fmt: skip

        @kernel
        def on_scalars(x, y, out):
            for i in range(x.size):
                out[i] = formula(x[i], y[i])

    def both(*arrays: Any) -> Any:
        results = [np.empty_like(arrays[0]) for _ in range(2)]
        on_vectors(*arrays, results[0])
        on_scalars(*arrays, results[1])
        assert_same_bits(results[1], results[0])
        return results[0]

    return both


exp = mapped(formulas.exp, 1)
log = mapped(formulas.log, 1)
relu = mapped(formulas.relu, 1)
relu_mask = mapped(formulas.relu_mask, 2)


@kernel
def sgd_on_vectors(w, dw, learning_rate, l2, out):
    start, slopes, to = pointer(w), pointer(dw), pointer(out)
    zero = number(start, 0.0)
    for i in range(0, w.size, lanes(start)):
        left = w.size - i
        store(formulas_sgd(load(advance(start, i), left, zero), load(advance(slopes, i), left, zero),
                           learning_rate, l2), advance(to, i), left)  # fmt: skip


@kernel
def sgd_on_scalars(w, dw, learning_rate, l2, out):
    for i in range(w.size):
        out[i] = formulas_sgd(w[i], dw[i], learning_rate, l2)


formulas_sgd = formulas.sgd


def sgd(w: Any, dw: Any, learning_rate: float, l2: float) -> Any:
    """Whole vectors with rates as scalars, and scalars throughout: the same bits."""
    number_ = w.dtype.type
    results = [np.empty_like(w) for _ in range(2)]
    sgd_on_vectors(w, dw, number_(learning_rate), number_(l2), results[0])
    sgd_on_scalars(w, dw, number_(learning_rate), number_(l2), results[1])
    assert_same_bits(results[1], results[0])
    return results[0]


def assert_ulps(actual: Any, exact: Any, dtype: Any) -> None:
    """Finite results within ULPS units in the last place of the exact value, denormal ones included."""
    ulp = np.spacing(np.abs(exact).astype(dtype)).astype(exact.dtype)
    error = np.abs(actual.astype(exact.dtype) - exact) / ulp
    worst = int(np.argmax(error))
    assert error[worst] <= ULPS, f"{error[worst]:.3f} ulp at {worst}: {actual[worst]!r}, expected {exact[worst]!r}"


def any_bits(dtype: Any, count: int, seed: int) -> Any:
    """Random bit patterns: every exponent alike, denormals, NaN and infinity now and then."""
    rng = np.random.default_rng(seed)
    size = np.dtype(dtype).itemsize
    return rng.integers(0, 2 ** (8 * size), count, dtype=f"u{size}", endpoint=False).view(dtype)


def neighbours(centre: float, dtype: Any, count: int = 500) -> Any:
    """The floats right around a positive number."""
    bits = np.array(centre, dtype).view(f"i{np.dtype(dtype).itemsize}")
    return (bits + np.arange(-count, count + 1, dtype=bits.dtype)).view(dtype)


# ---- exp ----


def exp_limits(dtype: Any) -> tuple[float, float, float]:
    """Below the first: 0; from the second on: normal; above the third: infinity. Each within an ulp of the limit."""
    limits = np.finfo(dtype)
    wide = WIDER[dtype]
    lowest = float(np.log(wide(limits.smallest_subnormal) / 2))
    return lowest, float(np.log(wide(limits.smallest_normal))), float(np.log(wide(limits.max)))


@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float64, marks=needs_longdouble)])
def test_exp_within_two_ulp(dtype: Any) -> None:
    lowest, _, highest = exp_limits(dtype)
    margin = 4 * float(np.finfo(dtype).eps)
    x = np.concatenate([
        np.linspace(lowest * (1 - margin), highest * (1 - margin), 200_003).astype(dtype),
        np.linspace(-1, 1, 50_001).astype(dtype),
        np.linspace(lowest, lowest * 0.8, 50_001)[1:].astype(dtype),  # denormal results
        (np.arange(-60, 60) + 0.5).astype(dtype) * dtype(np.log(2)),  # where n changes
        any_bits(dtype, 100_000, 1),
    ])  # fmt: skip
    x = x[(x > lowest * (1 - margin)) & (x < highest * (1 - margin))]
    assert x.size > 300_000
    assert_ulps(exp(x), np.exp(x.astype(WIDER[dtype])), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_at_its_limits(dtype: Any) -> None:
    lowest, normal, highest = exp_limits(dtype)
    up, tiny = dtype(np.inf), np.finfo(dtype).smallest_subnormal
    x = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1e30, -1e30, tiny, -tiny, np.finfo(dtype).max,
                  np.finfo(dtype).min], dtype)  # fmt: skip
    assert_same_bits(exp(x)[[0, 1, 3, 4, 5, 6, 7, 8, 9, 10]], np.array([1, 1, up, 0, up, 0, 1, 1, up, 0], dtype))
    assert np.isnan(exp(x)[2])
    margin = 4 * float(np.finfo(dtype).eps)
    below, above = 1 - margin, 1 + margin
    edge = np.array([highest * above, lowest * above, highest * below, lowest * below, normal * above], dtype)
    result = exp(edge)
    assert result[0] == np.inf
    assert result[1] == 0
    assert np.finfo(dtype).max * 0.99 < result[2] < np.inf
    assert result[3] == tiny
    assert 0 < result[4] < np.finfo(dtype).smallest_normal


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_underflows_through_denormals(dtype: Any) -> None:
    lowest, normal, _ = exp_limits(dtype)
    result = exp(np.linspace(normal, lowest * 1.001, 3001).astype(dtype))
    assert (np.diff(result) <= 0).all()
    assert result[-1] == 0
    denormal = result[(result > 0) & (result < np.finfo(dtype).smallest_normal)]
    assert np.unique(denormal).size > 500


# ---- log ----


@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float64, marks=needs_longdouble)])
def test_log_within_two_ulp(dtype: Any) -> None:
    limits = np.finfo(dtype)
    tiny = limits.smallest_subnormal
    x = np.concatenate([
        any_bits(dtype, 200_000, 2),
        np.linspace(0.25, 4, 100_001).astype(dtype),
        *(neighbours(c, dtype) for c in (1.0, 0.5, 2.0, 0.5**0.5, 2.0**0.5, limits.smallest_normal, 1e20, 1e-20)),
        (1 + 2.0 ** -np.arange(1, limits.nmant + 1)).astype(dtype),
        (1 - 2.0 ** -np.arange(1, limits.nmant + 2)).astype(dtype),
        np.arange(1, 2000).astype(dtype) * tiny,
        np.array([limits.max, limits.smallest_normal, tiny], dtype),
    ])  # fmt: skip
    x = x[(x > 0) & (x < np.inf) & (x != 1)]
    assert x.size > 150_000
    assert (x < limits.smallest_normal).sum() > 1000
    assert_ulps(log(x), np.log(x.astype(WIDER[dtype])), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_at_its_limits(dtype: Any) -> None:
    tiny = np.finfo(dtype).smallest_subnormal
    x = np.array([0.0, -0.0, 1.0, np.inf], dtype)
    assert_same_bits(log(x), np.array([-np.inf, -np.inf, 0.0, np.inf], dtype))
    assert np.isnan(log(np.array([np.nan, -1, -np.inf, -tiny, np.finfo(dtype).min], dtype))).all()


# ---- relu and its mask ----


def table(dtype: Any) -> Any:
    tiny = np.finfo(dtype).smallest_subnormal
    return np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, tiny, -tiny, 1.5, -1.5, np.finfo(dtype).max,
                     np.finfo(dtype).min], dtype)  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
def test_relu(dtype: Any) -> None:
    x = np.concatenate([table(dtype), np.random.default_rng(0).normal(size=1001).astype(dtype)])
    expected = x.copy()
    expected[x <= 0] = 0.0  # -0 becomes +0, NaN stays with its sign and payload
    assert_same_bits(relu(x), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_relu_mask(dtype: Any) -> None:
    values = table(dtype)
    dy, y = (grid.ravel() for grid in np.meshgrid(values, values))
    expected = dy.copy()
    expected[y <= 0] = 0.0
    assert_same_bits(relu_mask(dy, y), expected)


# ---- sgd ----


def nearest(exact: Fraction, dtype: Any) -> Any:
    """The exact number rounded once to the dtype, to even on ties."""
    guess = dtype(float(exact))  # for float32 perhaps rounded twice: so ask its neighbours
    options = [np.nextafter(guess, dtype(-np.inf)), guess, np.nextafter(guess, dtype(np.inf))]
    bits = f"u{np.dtype(dtype).itemsize}"
    return min(options, key=lambda v: (abs(Fraction(float(v)) - exact), int(v.view(bits)) & 1))


def fused(a: Any, b: Any, c: Any) -> Any:
    """``a b + c`` rounded once, or the product first where the target has no fma."""
    dtype = type(c)
    a, b, c = (Fraction(float(value)) for value in (a, b, c))
    if TARGET.has_fma:
        return nearest(a * b + c, dtype)
    return nearest(Fraction(float(nearest(a * b, dtype))) + c, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sgd_rounds_as_written(dtype: Any) -> None:
    rng = np.random.default_rng(3)
    w, dw = rng.normal(size=(2, 403)).astype(dtype)
    for learning_rate, l2 in ((0.1, 1e-4), (0.37, 0.9), (0.0, 0.5), (3.0, 0.0)):
        learning_rate, l2 = dtype(learning_rate), dtype(l2)
        expected = [fused(-learning_rate, fused(l2, a, b), a) for a, b in zip(w, dw, strict=True)]
        assert_same_bits(sgd(w, dw, learning_rate, l2), np.array(expected, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_sgd_of_small_integers_is_exact(dtype: Any) -> None:
    w, dw = (grid.ravel().astype(dtype) for grid in np.meshgrid(np.arange(-20, 21), np.arange(-8, 9)))
    np.testing.assert_array_equal(sgd(w, dw, 0.25, 0.5), w - 0.25 * (dw + 0.5 * w))


@pytest.mark.parametrize("dtype", DTYPES)
def test_sgd_passes_nan_and_infinity_on(dtype: Any) -> None:
    w, dw = (grid.ravel() for grid in np.meshgrid(table(dtype), table(dtype)))
    with np.errstate(invalid="ignore", over="ignore"):
        expected = w - dtype(0.5) * (dw + dtype(0.25) * w)
    actual = sgd(w, dw, 0.5, 0.25)
    np.testing.assert_array_equal(np.isnan(actual), np.isnan(expected))
    special = ~np.isfinite(w) | ~np.isfinite(dw)
    np.testing.assert_array_equal(actual[special], expected[special])
