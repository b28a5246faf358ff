"""Arithmetic and elementary functions over vectors, each written once, for tiles and loops alike.

A formula receives `lanes.Lanes` and returns them; `@formula` makes it callable in kernels on vectors and on scalars.
The formulas of activations, losses and updates stand beside their tables.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .lanes import Lanes, absolute, copysign, fma, formula, select

LOG2_E = 1.4426950408889634
# ln 2 in two parts; the upper one has so few bits that a whole number times it is exact.
LN2_UPPER = {32: 0.693359375, 64: float.fromhex("0x1.62e42feep-1")}
LN2_LOWER = {32: -2.121944400546906e-4, 64: float.fromhex("0x1.a39ef35793c76p-33")}
MANTISSA_BITS = {32: 23, 64: 52}
EXPONENT_BIAS = {32: 127, 64: 1023}
LARGEST = {32: float.fromhex("0x1.fffffep127"), 64: float.fromhex("0x1.fffffffffffffp1023")}
EXP_TERMS = {32: 7, 64: 13}  # Taylor about 0 up to |r| = ln(2)/2: the rest is under 0.1 ulp
LOG_TERMS = {32: 5, 64: 11}  # atanh series up to (sqrt(2)-1)/(sqrt(2)+1): the rest is under 0.1 ulp
LOG1P_TERMS = {32: 7, 64: 15}  # the same up to 1/3
EXP_RANGE = {32: (-105.0, 89.5), 64: (-746.0, 710.5)}  # outside: 0 and infinity, by way of the two scalings
EXPM1_LOWEST = -40.0  # from here down it is -1
TANH_LARGEST = {32: 10.0, 64: 20.0}  # from here on it is 1
NORMAL_LARGEST = {32: 14.5, 64: 38.7}  # from here on exp(-x^2/2) and the normal distribution's tail are 0

# Phi(-z) exp(z^2/2) = P(z) / Q(z) for 0 <= z <= NORMAL_LARGEST, lowest power first. All are positive, so nothing
# cancels. Minimax in the relative error, which is 0 at 0 (rational Remez exchange in 50 digits, by mpmath): before the
# coefficients are rounded 6.2e-9 = 0.1 ulp for float32 and 5.2e-17 = 0.5 ulp for float64.
NORMAL_TAIL = {
    32: (
        (0.5, 0.4375941652, 0.1826895246, 0.04044159989, 0.00408556902),
        (1.0, 1.673073175, 1.200294382, 0.4680233324, 0.1013786365, 0.0102408803),
    ),
    64: (
        (0.5, 0.77442904989938647, 0.5933951577305359, 0.28886325572624109, 0.09748666934304588, 0.023556778285589212,
         0.0040752087839486745, 0.0004883501305939773, 3.706332314547629e-05, 1.3770158905480773e-06),
        (1.0, 2.346742660601632, 2.559220052532807, 1.7122788690288915, 0.7807074315206861, 0.2543920554238963,
         0.06026529585714286, 0.010307937525113118, 0.0012275639124382483, 9.290397374602259e-05,
         3.45166696587474e-06),
    ),
}  # fmt: skip


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
def where_equal(a: Lanes, b: Lanes, yes: Lanes, no: Lanes) -> Lanes:
    return select(a.equals(b), yes, no)


@formula
def cross_term(t: Lanes, shifted: Lanes, total: Lanes) -> Lanes:
    """``total + t * shifted``; a class that is not wanted adds nothing, however unlikely: 0 times -infinity is 0."""
    return select(t > 0.0, fma(t, shifted, total), total)


# ---- exponentials and logarithms ----


def _polynomial(x: Lanes, coefficients: Sequence[float]) -> Lanes:
    """Lowest power first."""
    total = fma(x, coefficients[-1], coefficients[-2])
    for coefficient in coefficients[-3::-1]:
        total = fma(total, x, coefficient)
    return total


def _taylor(r: Lanes, first: int) -> Lanes:
    """The series of e to the r from the power `first` on, divided by r to that power."""
    return _polynomial(r, [1.0 / math.factorial(k) for k in range(first, EXP_TERMS[r.dtype.bitwidth] + 1)])


def _reduced(x: Lanes, low: Lanes | None = None) -> tuple[Lanes, Lanes]:
    """r and n with ``x + low = n ln 2 + r`` and |r| <= ln(2)/2; n as an integer vector."""
    size = x.dtype.bitwidth
    shift = MANTISSA_BITS[size]
    magic = 1.5 * 2.0**shift  # adding it rounds to a whole number, which then sits in the sum's lowest bits
    rounded = fma(x, LOG2_E, magic)
    n = rounded - magic
    r = fma(n, -LN2_UPPER[size], x)
    r = fma(n, -LN2_LOWER[size], r) if low is None else fma(n, -LN2_LOWER[size], low) + r
    magic_bits = ((EXPONENT_BIAS[size] + shift) << shift) | (1 << (shift - 1))
    return r, rounded.bits().int_sub(magic_bits)


def _power_of_two(exponent: Lanes) -> Lanes:
    size = exponent.dtype.bitwidth
    return exponent.int_add(EXPONENT_BIAS[size]).shift_left(MANTISSA_BITS[size]).as_float()


def _exp(x: Lanes, low: Lanes | None = None) -> Lanes:
    """``exp(x + low)`` for x within or just outside EXP_RANGE.

    Taylor in r, then two scalings by about 2^(n/2), so that neither factor leaves the range when the result is
    denormal or infinite.
    """
    r, n = _reduced(x, low)
    half = n.shift_right(1)
    return _taylor(r, 0) * _power_of_two(half) * _power_of_two(n.int_sub(half))


def _expm1(r: Lanes, n: Lanes) -> Lanes:
    """``2^n e^r - 1`` as ``2^n (r + r^2 (1/2 + ...)) + (2^n - 1)``, for a 2^n in the normal range."""
    scale = _power_of_two(n)
    return fma(scale, r * r * _taylor(r, 2), fma(scale, r, scale - 1.0))


def _log_above(f: Lanes, terms: int, lower: Lanes | float) -> Lanes:
    """``log(1 + f) - f + lower``, by log(1 + f) = 2 atanh(s) = 2s + 2s (s^2/3 + ...), s = f / (2 + f), 2s = f - s f."""
    s = f / (f + 2.0)
    square = s * s
    series = _polynomial(square, [1.0 / (2 * k + 1) for k in range(1, terms + 1)])
    return fma(s * 2.0, series * square, fma(s, -f, lower))


def _magnitude(x: Lanes, largest: float) -> Lanes:
    """|x|, no more than `largest`; NaN goes through."""
    size = absolute(x)
    return select(size > largest, largest, size)


@formula
def exp(x: Lanes) -> Lanes:
    """e to the x, within 2 ulp; 0 and infinity beyond the range, denormals in between, NaN for NaN."""
    lower, upper = EXP_RANGE[x.dtype.bitwidth]
    x = select(x < lower, lower, x)
    return _exp(select(x > upper, upper, x))


@formula
def expm1(x: Lanes) -> Lanes:
    """``exp(x) - 1`` within 2 ulp, near 0 too; -1 and infinity beyond the range, NaN for NaN, zeros keep their sign."""
    upper = EXP_RANGE[x.dtype.bitwidth][1]
    bounded = select(x < EXPM1_LOWEST, EXPM1_LOWEST, select(x > upper, upper, x))
    r, n = _reduced(bounded)
    large = x > 64.0  # then the 1 is nothing, and half the result is taken twice: 2^n alone may leave the range
    result = _expm1(r, select(large, n.int_sub(1), n))
    return copysign(select(large, result + result, result), x)


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
    result = fma(e, LN2_UPPER[size], f + _log_above(f, LOG_TERMS[size], e * LN2_LOWER[size]))
    result = select(x > 0.0, result, select(x < 0.0, float("nan"), select(x <= 0.0, float("-inf"), x)))
    return select(x > LARGEST[size], x, result)


@formula
def log1p_of_small(e: Lanes) -> Lanes:
    """``log(1 + e)`` for e in [0, 1] within 2 ulp, by the series alone: 1 + e is never rounded."""
    return e + _log_above(e, LOG1P_TERMS[e.dtype.bitwidth], 0.0)


@formula
def log1p(x: Lanes) -> Lanes:
    """``log(1 + x)``, near 0 too; -infinity at -1, NaN below, infinity and NaN for themselves.

    With u the rounded sum, ``log(u) x / (u - 1)``, in which u's rounding cancels (W. Kahan; N. Higham, "Accuracy and
    Stability of Numerical Algorithms", 2002, section 1.14).
    """
    u = x + 1.0
    shifted = u - 1.0
    result = select(shifted.equals(0.0), x, log.write(u) * (x / shifted))
    return select(u > LARGEST[x.dtype.bitwidth], u, result)


# ---- sigmoids and the normal distribution ----


def exp_of_minus_magnitude(x: Lanes) -> tuple[Lanes, Lanes]:
    """z = |x|, bounded where its exponential has become 0, and exp(-z)."""
    z = _magnitude(x, -EXP_RANGE[x.dtype.bitwidth][0])
    return z, _exp(-z)


@formula
def logistic(x: Lanes) -> Lanes:
    """``1 / (1 + exp(-x))`` within 3 ulp, on the far left too."""
    _, e = exp_of_minus_magnitude(x)
    return select(x < 0.0, e, 1.0) / (e + 1.0)


@formula
def tanh(x: Lanes) -> Lanes:
    """Hyperbolic tangent within 3 ulp, near 0 too; exactly odd; towards 1 it is ``1 - share`` and so never falls."""
    z = _magnitude(x, TANH_LARGEST[x.dtype.bitwidth])
    e = _expm1(*_reduced(z + z))
    far = e > 2.0
    share = select(far, 2.0, e) / (e + 2.0)
    return copysign(select(far, 1.0 - share, share), x)


def normal_tail(x: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    """z = |x|, bounded where all this has become 0; exp(-z^2/2); and Phi(-z) as a multiple of that."""
    size = x.dtype.bitwidth
    z = _magnitude(x, NORMAL_LARGEST[size])
    square = z * z
    e = _exp(square * -0.5, fma(z, z, -square) * -0.5)  # with the square's rounding error, where the target has fma
    numerator, denominator = NORMAL_TAIL[size]
    return z, e, _polynomial(z, numerator) / _polynomial(z, denominator)


@formula
def normal_cdf(x: Lanes) -> Lanes:
    """Phi, the standard normal distribution's cumulative function.

    Within 4 ulp right of -1, left of it within 7 for float32 and 9 for float64, where the polynomials' roundings add
    up; a target without fma adds x^2/2 ulp by the rounded square.
    """
    _, e, tail = normal_tail(x)
    tail = e * tail
    return select(x > 0.0, 1.0 - tail, tail)
