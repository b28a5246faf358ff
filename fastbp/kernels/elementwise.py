"""The loops that apply the tables' formulas: activations, elementwise losses and updates, a vector at a time.

`activate_backward` receives what the derivative is cheapest from: the output, or the input where the row keeps it.
"""

from __future__ import annotations

from . import coefficients as co
from . import operations as op
from .activations import FUNCTIONS
from .dispatch import one_of, updated_by
from .formulas import multiply, multiply_add
from .jit import inlined, kernel
from .losses import ELEMENTWISE, KINDS
from .simd import add_lanes, advance, filled, lanes, load, number, store
from .updates import UPDATES, clip_factor, l2_gradient, sgd

# ---- activations ----

_activation = one_of({
    kind: (row.value.write, co.places(row.constants)) for kind, row in FUNCTIONS.items() if row.value is not None
})  # fmt: skip
_derivative = one_of({
    kind: (row.derivative.write, co.places(row.constants))
    for kind, row in FUNCTIONS.items() if row.derivative is not None
})  # fmt: skip


@inlined
def activate(kind, count, x, y, coefficients):
    """``y = f(x)``; in place too."""
    zero = number(x, 0.0)
    for i in range(0, count, lanes(x)):
        left = count - i
        store(_activation(kind, coefficients, 0, load(advance(x, i), left, zero)), advance(y, i), left)


@inlined
def activate_backward(kind, count, dy, kept, dx, coefficients):
    """``dx = dy f'``; `kept` is the output or the input, as the row says; dx may be dy."""
    zero = number(dy, 0.0)
    for i in range(0, count, lanes(dy)):
        left = count - i
        here, there = load(advance(dy, i), left, zero), load(advance(kept, i), left, zero)
        store(_derivative(kind, coefficients, 0, here, there), advance(dx, i), left)


# ---- losses of one logit and one target at a time ----

_value = one_of({KINDS[value]: (value.write, co.places(row.constants)) for value, row in ELEMENTWISE.items()})
_gradient = one_of({
    KINDS[value]: (row.gradient.write, co.places(row.constants)) for value, row in ELEMENTWISE.items()
})  # fmt: skip


@inlined
def elementwise_loss(kind, rows, outputs, z, t, coefficients, dz, losses, values):
    """``losses[i] = share sum_j loss(z[i, j], t[i, j])`` and ``dz = share scale loss'``; `values` (rows, outputs) is
    workspace. The sum runs over ascending j in float64."""
    zero, count, share = number(z, 0.0), rows * outputs, coefficients[co.SHARE]
    factor = share * coefficients[co.SCALE]
    output, step = 0, lanes(z) % outputs  # the output that a vector begins at
    for i in range(0, count, lanes(z)):
        left = count - i
        logit, target = load(advance(z, i), left, zero), load(advance(t, i), left, zero)
        store(_value(kind, coefficients, output, logit, target), advance(values, i), left)
        slope = _gradient(kind, coefficients, output, logit, target)
        store(multiply(slope, factor), advance(dz, i), left)
        output += step
        if output >= outputs:
            output -= outputs
    for i in range(rows):
        total = 0.0
        for j in range(outputs):
            total += values[i * outputs + j]
        losses[i] = share * number(z, total)


@inlined
def weigh_rows(rows, columns, weights, dz, losses):
    """Rows of the gradient and their losses, times the rows' weights."""
    for i in range(rows):
        losses[i] *= weights[i]
        for j in range(columns):
            dz[i * columns + j] *= weights[i]


# ---- updates ----

_update = updated_by({
    row.kind: (row.write, row.states, tuple(co.INDEX[name] for name in row.coefficients)) for row in UPDATES.values()
})  # fmt: skip


@kernel
def sgd_update(count, w, dw, learning_rate, l2):
    """``w -= learning_rate (dw + l2 w)``, the same roundings as the update fused into the weight gradient."""
    zero = number(w, 0.0)
    for i in range(0, count, lanes(w)):
        left, here = count - i, advance(w, i)
        store(sgd(load(here, left, zero), load(advance(dw, i), left, zero), learning_rate, l2), here, left)


@inlined
def update_block(kind, rows, columns, ld, w, dw, state, state_stride, factor, parts, coefficients):
    """Update w[rows, columns] by ``factor dw``, of leading dimension `ld`; vectors of state are `state_stride` apart.

    `parts` says what the block takes part in: `operations.PENALTY`, `operations.DECAY`.
    """
    if columns == ld:
        rows, columns = 1, rows * columns
    zero = number(w, 0.0)
    l2 = coefficients[co.L2] if parts & op.PENALTY else zero
    keep = coefficients[co.KEEP] if parts & op.DECAY else number(w, 1.0)
    for begin in range(0, rows * ld, ld):
        for i in range(begin, begin + columns, lanes(w)):
            left, here = begin + columns - i, advance(w, i)
            old = load(here, left, zero)
            gradient = l2_gradient(multiply(load(advance(dw, i), left, zero), factor), old, l2)
            _update(kind, coefficients, old, gradient, keep, here, advance(state, i), state_stride, left)


@inlined
def add_l2_gradient(count, dw, w, l2):
    """``dw += l2 w``."""
    zero = number(w, 0.0)
    for i in range(0, count, lanes(w)):
        left, here = count - i, advance(dw, i)
        store(l2_gradient(load(here, left, zero), load(advance(w, i), left, zero), l2), here, left)


@inlined
def factor_of(count, squares, max_norm):
    """Return the factor that makes a gradient with these sums of squares no longer than `max_norm`."""
    total = 0.0
    for part in range(count):
        total += squares[part]
    return clip_factor(number(squares, total), max_norm)


@kernel
def sum_of_squares(count, w):
    """Return the sum of squares, in an order that depends on `count` and the vector width alone."""
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
