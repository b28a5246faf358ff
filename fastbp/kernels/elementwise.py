"""The loops that work entry by entry: activations, elementwise losses, dropout and updates.

Each loop serves all formulas of a table: it receives the call of one of them, a constant of the compiled code.
`activate_backward` receives what the derivative is cheapest from: the output, or the input where the row keeps it.
"""

from __future__ import annotations

from . import coefficients as co
from . import operations as op
from .dropout import LAYER_STEP, STREAM, UNITS
from .formulas import multiply
from .hashing import kept, mixed, moved, words
from .jit import kernel
from .losses import smoothed_target
from .simd import advance, filled, lanes, load, number, store, unsigned
from .updates import averaged, l2_gradient, sgd

# ---- activations ----


@kernel
def activate(value, count, x, y, coefficients):
    """``y = value(x)``; in place too."""
    zero = number(x, 0.0)
    for i in range(0, count, lanes(x)):
        left = count - i
        store(value(coefficients, 0, load(advance(x, i), left, zero)), advance(y, i), left)


@kernel
def activate_backward(derivative, count, dy, kept, dx, coefficients):
    """``dx = derivative(dy, kept)``; `kept` is the output or the input, as the row says; dx may be dy."""
    zero = number(dy, 0.0)
    for i in range(0, count, lanes(dy)):
        left = count - i
        here, there = load(advance(dy, i), left, zero), load(advance(kept, i), left, zero)
        store(derivative(coefficients, 0, here, there), advance(dx, i), left)


# ---- losses of one logit and one target at a time ----


@kernel
def elementwise_loss(value, gradient, rows, outputs, z, t, coefficients, dz, losses, values):
    """``losses[i] = share sum_j value(z[i, j], t[i, j])`` and ``dz = share scale gradient``.

    The sum runs over ascending j in float64; `values` (rows, outputs) is workspace.
    """
    zero, count, share = number(z, 0.0), rows * outputs, coefficients[co.SHARE]
    factor = share * coefficients[co.SCALE]
    output, step = 0, lanes(z) % outputs  # the output that a vector begins at
    for i in range(0, count, lanes(z)):
        left = count - i
        logit, target = load(advance(z, i), left, zero), load(advance(t, i), left, zero)
        store(value(coefficients, output, logit, target), advance(values, i), left)
        slope = gradient(coefficients, output, logit, target)
        store(multiply(slope, factor), advance(dz, i), left)
        output += step
        if output >= outputs:
            output -= outputs
    for i in range(rows):
        total = 0.0
        for j in range(outputs):
            total += values[i * outputs + j]
        losses[i] = share * number(z, total)


@kernel
def weigh_rows(rows, columns, weights, dz, losses):
    """Rows of the gradient and their losses, times the rows' weights."""
    for i in range(rows):
        losses[i] *= weights[i]
        for j in range(columns):
            dz[i * columns + j] *= weights[i]


@kernel
def smooth_labels(rows, classes, labels, share, rest, t):
    """``t[i, j] = rest``, and ``share + rest`` where j is the row's label: `smooth_targets` of one-hot rows."""
    others, own = filled(t, rest), share + rest
    for i in range(rows):
        row = advance(t, i * classes)
        for j in range(0, classes, lanes(t)):
            store(others, advance(row, j), classes - j)
        row[labels[i]] = own


@kernel
def smooth_targets(count, targets, share, rest, t):
    zero = number(t, 0.0)
    for i in range(0, count, lanes(t)):
        left = count - i
        store(smoothed_target(load(advance(targets, i), left, zero), share, rest), advance(t, i), left)


# ---- dropout ----


@kernel
def first_word(row, layer, key):
    """Return what the stream of a row's units begins with, before it is mixed."""
    return key + unsigned(row) * unsigned(STREAM) + unsigned(layer + 1) * unsigned(LAYER_STEP)


@kernel
def bar_and_factor(like, threshold):
    """Return the least word that keeps a unit, and the factor of units that are kept; a hash is 53 bits long."""
    return unsigned(threshold) << unsigned(11), number(like, UNITS / (UNITS - float(threshold)))


@kernel
def drop(first_row, rows, columns, layer, threshold, key, x, y):
    """``y = x / (1 - p)`` where the hash reaches ``threshold = p 2^53``, else 0; in place too."""
    size, stream = lanes(x), unsigned(STREAM)
    whole = columns // size * size
    bar, factor = bar_and_factor(x, threshold)
    for i in range(rows):
        here, there = advance(x, i * columns), advance(y, i * columns)
        word = words(x, mixed(first_word(first_row + i, layer, key)) + stream, stream)
        for j in range(0, whole, size):
            drop_vector(size, word, bar, factor, advance(here, j), advance(there, j))
            word = moved(word, unsigned(size) * stream)
        if whole < columns:  # the one masked store: see updates
            drop_vector(columns - whole, word, bar, factor, advance(here, whole), advance(there, whole))


@kernel
def drop_vector(count, word, bar, factor, x, y):
    store(kept(multiply(load(x, count, number(x, 0.0)), factor), mixed(word), bar), y, count)


@kernel
def drop_by_units(first_row, rows, units, ld, layer, threshold, key, x, y):
    """Do the same for whole vectors of rows where each unit's outputs lie side by side, `ld` after the last unit's."""
    size, stream = lanes(x), unsigned(STREAM)
    bar, factor = bar_and_factor(x, threshold)
    for r in range(0, rows, size):
        word = mixed(words(x, first_word(first_row + r, layer, key), stream))
        for j in range(units):
            word = moved(word, stream)
            drop_vector(size, word, bar, factor, advance(x, j * ld + r), advance(y, j * ld + r))


# ---- updates ----


# A mask makes a store of AVX2 take tens of micro-operations: only the last vector, which may not be whole, has one.


@kernel
def sgd_update(count, w, dw, learning_rate, l2):
    """``w -= learning_rate (dw + l2 w)``, the same roundings as the update fused into the weight gradient."""
    size = lanes(w)
    whole = count // size * size
    for i in range(0, whole, size):
        sgd_update_vector(size, advance(w, i), advance(dw, i), learning_rate, l2)
    if whole < count:
        sgd_update_vector(count - whole, advance(w, whole), advance(dw, whole), learning_rate, l2)


@kernel
def sgd_update_vector(count, w, dw, learning_rate, l2):
    zero = number(w, 0.0)
    store(sgd(load(w, count, zero), load(dw, count, zero), learning_rate, l2), w, count)


@kernel
def update_block(update, rows, columns, ld, w, dw, state, state_stride, factor, parts, coefficients):
    """Update w[rows, columns] by ``factor dw``, of leading dimension `ld`; vectors of state are `state_stride` apart.

    `parts` says what the block takes part in: `operations.PENALTY`, `operations.DECAY`.
    """
    if columns == ld:
        rows, columns = 1, rows * columns
    size = lanes(w)
    l2 = coefficients[co.L2] if parts & op.PENALTY else number(w, 0.0)
    keep = coefficients[co.KEEP] if parts & op.DECAY else number(w, 1.0)
    whole = columns // size * size
    for begin in range(0, rows * ld, ld):
        for i in range(begin, begin + whole, size):
            update_vector(update, size, advance(w, i), advance(dw, i), advance(state, i), state_stride, factor, l2,
                          keep, coefficients)  # fmt: skip
        if whole < columns:
            i = begin + whole
            update_vector(update, columns - whole, advance(w, i), advance(dw, i), advance(state, i), state_stride,
                          factor, l2, keep, coefficients)  # fmt: skip


@kernel
def update_vector(update, count, w, dw, state, state_stride, factor, l2, keep, coefficients):
    zero = number(w, 0.0)
    old = load(w, count, zero)
    gradient = l2_gradient(multiply(load(dw, count, zero), factor), old, l2)
    update(coefficients, old, gradient, keep, w, state, state_stride, count)


@kernel
def average_block(rows, columns, ld, w, average, share):
    """``average += share (w - average)`` for [rows, columns] of leading dimension `ld`."""
    if columns == ld:
        rows, columns = 1, rows * columns
    size = lanes(w)
    whole = columns // size * size
    for begin in range(0, rows * ld, ld):
        for i in range(begin, begin + whole, size):
            average_vector(size, advance(w, i), advance(average, i), share)
        if whole < columns:
            average_vector(columns - whole, advance(w, begin + whole), advance(average, begin + whole), share)


@kernel
def average_vector(count, w, average, share):
    zero = number(w, 0.0)
    store(averaged(load(average, count, zero), load(w, count, zero), share), average, count)


@kernel
def add_l2_gradient(count, dw, w, l2):
    """``dw += l2 w``."""
    zero = number(w, 0.0)
    for i in range(0, count, lanes(w)):
        left, here = count - i, advance(dw, i)
        store(l2_gradient(load(here, left, zero), load(advance(w, i), left, zero), l2), here, left)
