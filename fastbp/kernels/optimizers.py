"""Updates and penalties over flat vectors of parameters."""

from __future__ import annotations

from .formulas import l2_gradient, multiply_add, sgd
from .jit import kernel
from .simd import add_lanes, advance, filled, lanes, load, number, store


@kernel
def sgd_update(count, w, dw, learning_rate, l2):
    """``w -= learning_rate (dw + l2 w)``, the same roundings as the update fused into the weight gradient."""
    zero = number(w, 0.0)
    for i in range(0, count, lanes(w)):
        left, here = count - i, advance(w, i)
        store(sgd(load(here, left, zero), load(advance(dw, i), left, zero), learning_rate, l2), here, left)


@kernel
def add_l2_gradient(count, dw, w, l2):
    """``dw += l2 w``."""
    zero = number(w, 0.0)
    for i in range(0, count, lanes(w)):
        left, here = count - i, advance(dw, i)
        store(l2_gradient(load(here, left, zero), load(advance(w, i), left, zero), l2), here, left)


@kernel
def sum_of_squares(count, w):
    """Four sums side by side, in an order that depends on `count` and the vector width alone."""
    vl = lanes(w)
    zero = number(w, 0.0)
    a = b = c = d = filled(w, zero)
    for i in range(0, count, 4 * vl):
        left = count - i
        w0, w1 = load(advance(w, i), left, zero), load(advance(w, i + vl), left - vl, zero)
        w2, w3 = load(advance(w, i + 2 * vl), left - 2 * vl, zero), load(advance(w, i + 3 * vl), left - 3 * vl, zero)
        a, b = multiply_add(w0, w0, a), multiply_add(w1, w1, b)
        c, d = multiply_add(w2, w2, c), multiply_add(w3, w3, d)
    return (add_lanes(a) + add_lanes(b)) + (add_lanes(c) + add_lanes(d))
