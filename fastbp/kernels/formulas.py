"""Every scalar formula of the library, each written once, over a vector value, for tiles and loops alike.

A formula gets `simd.Lanes` and returns them; `@formula` makes it callable in kernels on vectors and on scalars.
"""

from __future__ import annotations

import math

from .simd import Lanes, fma, formula, select

LOG2_E = 1.4426950408889634
# ln 2 in two parts; the upper one has so few bits that a whole number times it is exact.
LN2_UPPER = {32: 0.693359375, 64: float.fromhex("0x1.62e42feep-1")}
LN2_LOWER = {32: -2.121944400546906e-4, 64: float.fromhex("0x1.a39ef35793c76p-33")}
MANTISSA_BITS = {32: 23, 64: 52}
EXPONENT_BIAS = {32: 127, 64: 1023}
LARGEST = {32: float.fromhex("0x1.fffffep127"), 64: float.fromhex("0x1.fffffffffffffp1023")}
EXP_TERMS = {32: 7, 64: 13}  # Taylor about 0 up to |r| = ln(2)/2: the rest is under 0.1 ulp
LOG_TERMS = {32: 5, 64: 11}  # atanh series up to (sqrt(2)-1)/(sqrt(2)+1): the rest is under 0.1 ulp
EXP_RANGE = {32: (-105.0, 89.5), 64: (-746.0, 710.5)}  # outside: 0 and infinity, by way of the two scalings


@formula
def add(a: Lanes, b: Lanes) -> Lanes:
    return a + b


@formula
def multiply(a: Lanes, b: Lanes) -> Lanes:
    return a * b


@formula
def divide(a: Lanes, b: Lanes) -> Lanes:
    return a / b


@formula
def subtract(a: Lanes, b: Lanes) -> Lanes:
    return a - b


@formula
def multiply_add(a: Lanes, b: Lanes, c: Lanes) -> Lanes:
    """``a * b + c`` by the target's fma."""
    return fma(a, b, c)


@formula
def larger(a: Lanes, b: Lanes) -> Lanes:
    """The larger one; `b` where either is NaN."""
    return select(a > b, a, b)


@formula
def cross_term(t: Lanes, shifted: Lanes, total: Lanes) -> Lanes:
    """``total + t * shifted``; a class that is not wanted adds nothing, however unlikely: 0 times -infinity is 0."""
    return select(t > 0.0, fma(t, shifted, total), total)


@formula
def relu(x: Lanes) -> Lanes:
    """``0 where x <= 0, else x``: NaN goes through."""
    return select(x <= 0.0, 0.0, x)


@formula
def relu_mask(dy: Lanes, y: Lanes) -> Lanes:
    """``0 where y <= 0, else dy``: the derivative at 0 is 0, and NaN goes through both ways."""
    return select(y <= 0.0, 0.0, dy)


@formula
def l2_gradient(dw: Lanes, w: Lanes, l2: Lanes) -> Lanes:
    """``dw + l2 w``, the gradient of the objective with the penalty ``l2/2 |w|^2``."""
    return fma(l2, w, dw)


@formula
def sgd(w: Lanes, dw: Lanes, learning_rate: Lanes, l2: Lanes) -> Lanes:
    """``w - learning_rate (dw + l2 w)``, two roundings."""
    return fma(-learning_rate, fma(l2, w, dw), w)


@formula
def exp(x: Lanes) -> Lanes:
    """e to the x, within 2 ulp; 0 and infinity beyond the range, denormals in between, NaN for NaN.

    x = n ln 2 + r with |r| <= ln(2)/2, then Taylor in r, then two scalings by about 2^(n/2), so that neither
    factor leaves the range when the result is denormal or infinite.
    """
    size = x.dtype.bitwidth
    shift = MANTISSA_BITS[size]
    lower, upper = EXP_RANGE[size]
    x = select(x < lower, lower, x)
    x = select(x > upper, upper, x)
    magic = 1.5 * 2.0**shift  # adding it rounds to a whole number, which then sits in the sum's lowest bits
    rounded = fma(x, LOG2_E, magic)
    n = rounded - magic
    r = fma(n, -LN2_LOWER[size], fma(n, -LN2_UPPER[size], x))
    terms = EXP_TERMS[size]
    sum_ = fma(r, 1.0 / math.factorial(terms), 1.0 / math.factorial(terms - 1))
    for power in range(terms - 2, -1, -1):
        sum_ = fma(sum_, r, 1.0 / math.factorial(power))
    magic_bits = ((EXPONENT_BIAS[size] + shift) << shift) | (1 << (shift - 1))
    exponent = rounded.bits().int_sub(magic_bits)
    half = exponent.shift_right(1)
    for part in (half, exponent.int_sub(half)):
        sum_ = sum_ * part.int_add(EXPONENT_BIAS[size]).shift_left(shift).as_float()
    return sum_


@formula
def log(x: Lanes) -> Lanes:
    """Natural logarithm within 2 ulp; -infinity at 0, NaN below, infinity and NaN for themselves.

    x = m 2^e with m in [sqrt(1/2), sqrt(2)), and log m = 2 atanh(f / (2 + f)) with f = m - 1.
    """
    size = x.dtype.bitwidth
    shift, bias = MANTISSA_BITS[size], EXPONENT_BIAS[size]
    tiny = x < 2.0 ** (1 - bias)  # denormals are brought into the normal range first
    normal = select(tiny, x * 2.0**shift, x)
    root_half = int(math.sqrt(0.5) * 2.0**53) >> (52 - shift) & ((1 << shift) - 1)  # its mantissa's bits
    offset = ((bias - 1) << shift) | root_half
    bits = normal.bits().int_sub(offset)
    exponent = bits.shift_right(shift)
    m = bits.int_and((1 << shift) - 1).int_add(offset).as_float()
    e = exponent.to_float()
    e = select(tiny, e - float(shift), e)
    f = m - 1.0
    s = f / (f + 2.0)
    square = s * s
    sum_ = fma(square, 1.0 / (2 * LOG_TERMS[size] + 1), 1.0 / (2 * LOG_TERMS[size] - 1))
    for k in range(LOG_TERMS[size] - 2, 0, -1):
        sum_ = fma(sum_, square, 1.0 / (2 * k + 1))
    # 2 atanh(s) = 2s + 2s (s^2/3 + ...), and 2s = f - s f
    tail = fma(s * 2.0, sum_ * square, fma(s, -f, e * LN2_LOWER[size]))
    result = fma(e, LN2_UPPER[size], f + tail)
    result = select(x > 0.0, result, select(x < 0.0, float("nan"), select(x <= 0.0, float("-inf"), x)))
    return select(x > LARGEST[size], x, result)
