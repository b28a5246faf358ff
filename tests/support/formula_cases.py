"""What the tests of formulas share: formulas over arrays, errors in ulps, arguments of every kind, a wider Phi."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from fastbp.kernels.jit import user_kernel
from fastbp.kernels.simd import advance, lanes, load, number, pointer, store
from fastbp.kernels.target import TARGET
from support.comparisons import assert_same_bits

DTYPES = [np.float32, np.float64]
WIDER = {np.float32: np.float64, np.float64: np.longdouble}

needs_longdouble = pytest.mark.skipif(np.finfo(np.longdouble).nmant <= 52, reason="long double is no wider here")
WITH_WIDER = [np.float32, pytest.param(np.float64, marks=needs_longdouble)]  # dtypes that a wider one can judge

TEXT = """
def on_vectors({names}, out):
    starts, to = ({starts},), pointer(out)
    zero = number(to, 0.0)
    for i in range(0, out.size, lanes(to)):
        left = out.size - i
        store(formula({vectors}), advance(to, i), left)

def on_scalars({names}, out):
    for i in range(out.size):
        out[i] = formula({elements})
"""


def mapped(formula: Any, operands: int, scalars: int = 0, nan_bits: bool = False) -> Any:
    """A function over flat arrays, and numbers behind them: `formula` on vectors, with the numbers as scalars, and
    on scalars throughout, which must give the same bits; those of a NaN only where `nan_bits` says so: arithmetic on
    NaNs gives either operand's."""
    arrays, numbers = [f"a{k}" for k in range(operands)], [f"s{k}" for k in range(scalars)]
    text = TEXT.format(
        names=", ".join(arrays + numbers),
        starts=", ".join(f"pointer({name})" for name in arrays),
        vectors=", ".join([f"load(advance(starts[{k}], i), left, zero)" for k in range(operands)] + numbers),
        elements=", ".join([f"{name}[i]" for name in arrays] + numbers),
    )
    scope: dict[str, Any] = {"formula": formula, "load": load, "store": store, "advance": advance, "lanes": lanes,
                             "number": number, "pointer": pointer}  # fmt: skip
    exec(text, scope)
    forms = user_kernel(scope["on_vectors"]), user_kernel(scope["on_scalars"])

    def both(*values: Any) -> Any:
        given = [*values[:operands], *(values[0].dtype.type(value) for value in values[operands:])]
        results = [np.empty_like(values[0]) for _ in forms]
        for form, result in zip(forms, results, strict=True):
            form(*given, result)
        vectors, elements = results
        same_nan = np.isnan(vectors) & np.isnan(elements) & (not nan_bits)
        assert_same_bits(elements[~same_nan], vectors[~same_nan])
        return vectors

    return both


def errors_in_ulps(actual: Any, exact: Any) -> Any:
    """Distance of finite results from the exact values, which are of a wider dtype, in units of the last place."""
    ulp = np.spacing(np.abs(exact).astype(actual.dtype)).astype(exact.dtype)
    return np.abs(actual.astype(exact.dtype) - exact) / ulp


def assert_ulps(actual: Any, exact: Any, ulps: float, allowance: Any = 0.0) -> None:
    """Finite results within so many ulps of the exact value, denormal ones included, or within the allowance."""
    assert np.isfinite(actual).all()
    error = errors_in_ulps(actual, exact)
    error[np.abs(actual.astype(exact.dtype) - exact) <= allowance] = 0.0
    worst = int(np.argmax(error))
    assert error[worst] <= ulps, f"{error[worst]:.3f} ulp at {worst}: {actual[worst]!r}, expected {exact[worst]!r}"


def any_bits(dtype: Any, count: int, seed: int) -> Any:
    """Random bit patterns: every exponent alike, denormals, NaN and infinity now and then."""
    rng = np.random.default_rng(seed)
    size = np.dtype(dtype).itemsize
    return rng.integers(0, 2 ** (8 * size), count, dtype=f"u{size}", endpoint=False).view(dtype)


def finite_bits(dtype: Any, count: int, seed: int) -> Any:
    x = any_bits(dtype, count, seed)
    return x[np.isfinite(x)]


def neighbours(centre: float, dtype: Any, count: int = 500) -> Any:
    """The floats right around a positive number."""
    bits = np.array(centre, dtype).view(f"i{np.dtype(dtype).itemsize}")
    return (bits + np.arange(-count, count + 1, dtype=bits.dtype)).view(dtype)


def table(dtype: Any) -> Any:
    """Special values."""
    tiny = np.finfo(dtype).smallest_subnormal
    return np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, tiny, -tiny, 1.5, -1.5, np.finfo(dtype).max,
                     np.finfo(dtype).min], dtype)  # fmt: skip


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


# ---- the normal distribution, from its series and its continued fraction ----


def normal_density(x: Any) -> Any:
    """phi in long double; the square is split where it would be rounded: 700 times that error is an ulp."""
    x = x.astype(np.longdouble)
    upper = x.astype(np.float32).astype(np.longdouble)
    scale = 1 / np.sqrt(8 * np.arctan(np.longdouble(1)))
    return scale * np.exp(-upper * upper / 2) * np.exp(-(x - upper) * (x + upper) / 2)


def mills_ratio(z: Any) -> Any:
    """Phi(-z) / phi(z) in long double for z >= 1.5, by the continued fraction z + 1/(z + 2/(z + 3/...))."""
    below = z.astype(np.longdouble)
    for k in range(250, 0, -1):
        below = z + k / below
    return 1 / below


def normal_distribution(x: Any) -> Any:
    """Phi in long double: 1/2 + phi(x) (x + x^3/3 + x^5/(3*5) + ...) in the middle, 1 or 0 and the tail outside."""
    x = np.clip(x.astype(np.longdouble), -200, 200)
    density = normal_density(x)
    term = np.where(np.abs(x) < 1.5, x, 0)
    total = term.copy()
    for k in range(3, 101, 2):
        term = term * x * x / k
        total += term
    tail = density * mills_ratio(np.maximum(np.abs(x), 1.5))
    return np.where(np.abs(x) < 1.5, 0.5 + density * total, np.where(x < 0, tail, 1 - tail))


assert math.isclose(float(normal_distribution(np.array([-1.0]))[0]), 0.5 * math.erfc(math.sqrt(0.5)), rel_tol=1e-15)
