"""Softmax and its cross-entropy, row by row: loss and gradient of the logits together.

Logits are shifted by their row maximum and the loss is ``log sum exp(z - top) - (z_t - top)``, never the logarithm of
a probability. The sum over classes runs lane by lane and then over the lanes in a tree: an order that depends on the
number of classes and the vector width alone. Lanes behind the last class are -inf, whose exp is an exact 0.
"""

from __future__ import annotations

import math

from .formulas import add, exp, larger, log, multiply, multiply_add, subtract
from .jit import kernel
from .simd import add_lanes, advance, filled, lanes, load, max_lanes, number, store


@kernel
def exp_row(z, classes, out):
    """``out = exp(z - top)`` with top the row's maximum; returns top and the sum."""
    vl = lanes(z)
    lowest = number(z, -math.inf)
    tops = filled(z, lowest)
    for j in range(0, classes, vl):
        tops = larger(load(advance(z, j), classes - j, lowest), tops)
    top = max_lanes(tops)
    sums = filled(z, number(z, 0.0))
    for j in range(0, classes, vl):
        terms = exp(subtract(load(advance(z, j), classes - j, lowest), top))
        sums = add(sums, terms)
        store(terms, advance(out, j), classes - j)
    return top, add_lanes(sums)


@kernel
def softmax_rows(rows, classes, logits, out):
    """``out[i] = softmax(logits[i])``; in place too."""
    vl = lanes(logits)
    zero, one = number(logits, 0.0), number(logits, 1.0)
    for i in range(rows):
        row = advance(out, i * classes)
        _, total = exp_row(advance(logits, i * classes), classes, row)
        factor = one / total
        for j in range(0, classes, vl):
            here = advance(row, j)
            store(multiply(load(here, classes - j, zero), factor), here, classes - j)


@kernel
def cross_entropy_of_labels(rows, classes, logits, labels, scale, dlogits, losses, sums):
    """Class indices: row losses, and ``dlogits = (softmax - one_hot) scale``; `sums` holds a number a row."""
    vl = lanes(logits)
    zero, one = number(logits, 0.0), number(logits, 1.0)
    for i in range(rows):
        z, dz = advance(logits, i * classes), advance(dlogits, i * classes)
        target = z[labels[i]]
        top, total = exp_row(z, classes, dz)
        factor = one / total
        own = (dz[labels[i]] * factor - one) * scale
        for j in range(0, classes, vl):
            here = advance(dz, j)
            store(multiply(multiply(load(here, classes - j, zero), factor), scale), here, classes - j)
        dz[labels[i]] = own
        sums[i] = total
        losses[i] = target - top
    losses_of_sums(rows, sums, losses)


@kernel
def cross_entropy_of_probabilities(rows, classes, logits, targets, scale, dlogits, losses,
                                   sums):  # fmt: skip
    """Rows of probabilities, the same otherwise: with one-hot rows the same bits as with labels."""
    vl = lanes(logits)
    zero, one = number(logits, 0.0), number(logits, 1.0)
    for i in range(rows):
        z, dz, t = advance(logits, i * classes), advance(dlogits, i * classes), advance(targets, i * classes)
        top, total = exp_row(z, classes, dz)
        factor = one / total
        agreement = filled(z, zero)
        for j in range(0, classes, vl):
            left = classes - j
            here, wanted = advance(dz, j), load(advance(t, j), left, zero)
            # behind the last class: 0 times (top - top), so that no 0 times infinity comes up
            agreement = multiply_add(wanted, subtract(load(advance(z, j), left, top), top), agreement)
            share = multiply(load(here, left, zero), factor)
            store(multiply(subtract(share, wanted), scale), here, left)
        sums[i] = total
        losses[i] = add_lanes(agreement)
    losses_of_sums(rows, sums, losses)


@kernel
def losses_of_sums(rows, sums, losses):
    """``losses = log(sums) - losses``, where `losses` holds the shifted target logits before."""
    vl = lanes(sums)
    zero, one = number(sums, 0.0), number(sums, 1.0)
    for i in range(0, rows, vl):
        left = rows - i
        store(subtract(log(load(advance(sums, i), left, one)), load(advance(losses, i), left, zero)),
              advance(losses, i), left)  # fmt: skip
