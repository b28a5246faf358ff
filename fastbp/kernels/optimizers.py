"""Updates and penalties over vectors of parameters: three forms, of which every optimizer is a case by its rates."""

from __future__ import annotations

from . import operations as op
from .formulas import (
    adaptive,
    clip_factor,
    l2_gradient,
    momentum,
    momentum_state,
    multiply,
    multiply_add,
    second_state,
    sgd,
)
from .jit import inlined, kernel
from .simd import add_lanes, advance, filled, lanes, load, number, store

SGD, MOMENTUM, ADAPTIVE = range(3)
PENALTY, DECAY = 1, 2  # what a block of weights takes part in, bits of one number; biases: 0


@kernel
def sgd_update(count, w, dw, learning_rate, l2):
    """``w -= learning_rate (dw + l2 w)``, the same roundings as the update fused into the weight gradient."""
    zero = number(w, 0.0)
    for i in range(0, count, lanes(w)):
        left, here = count - i, advance(w, i)
        store(sgd(load(here, left, zero), load(advance(dw, i), left, zero), learning_rate, l2), here, left)


@inlined
def update_block(kind, rows, columns, ld, w, dw, m, v, factor, penalised, rates):
    """Update w[rows, columns] by ``factor dw``, with state in m and v, all of leading dimension `ld`."""
    if columns == ld:
        rows, columns = 1, rows * columns
    zero = number(w, 0.0)
    l2 = rates[op.L2] if penalised & PENALTY else zero
    keep = rates[op.KEEP] if penalised & DECAY else number(w, 1.0)
    for begin in range(0, rows * ld, ld):
        for i in range(begin, begin + columns, lanes(w)):
            left, here = begin + columns - i, advance(w, i)
            old, g = load(here, left, zero), multiply(load(advance(dw, i), left, zero), factor)
            if kind == SGD:
                store(sgd(old, g, rates[op.LEARNING_RATE], l2), here, left)
                continue
            g = l2_gradient(g, old, l2)
            first = momentum_state(load(advance(m, i), left, zero), g, rates[op.OLD_FIRST], rates[op.NEW_FIRST])
            store(first, advance(m, i), left)
            if kind == MOMENTUM:
                store(momentum(old, first, g, rates[op.FIRST_SHARE], rates[op.GRADIENT_SHARE]), here, left)
                continue
            second = second_state(load(advance(v, i), left, zero), g, rates[op.OLD_SECOND], rates[op.NEW_SECOND])
            store(second, advance(v, i), left)
            store(adaptive(old, first, second, rates[op.FIRST_SHARE], rates[op.EPSILON], keep), here, left)


@inlined
def add_l2_gradient(count, dw, w, l2):
    """``dw += l2 w``."""
    zero = number(w, 0.0)
    for i in range(0, count, lanes(w)):
        left, here = count - i, advance(dw, i)
        store(l2_gradient(load(here, left, zero), load(advance(w, i), left, zero), l2), here, left)


@inlined
def factor_of(count, squares, max_norm):
    """What makes a gradient with these sums of squares no longer than `max_norm`."""
    total = 0.0
    for part in range(count):
        total += squares[part]
    return clip_factor(number(squares, total), max_norm)


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
