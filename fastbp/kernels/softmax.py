"""Softmax and its cross-entropy: value and gradient of the logits together, row by row.

Logits are shifted by their row maximum and the loss is ``log sum exp(z - top) - (z_t - top)``, never the logarithm of
a probability. Up to one vector of classes, a vector of rows is transposed and computed side by side, the sum running
over ascending classes: no step then crosses lanes, which took 45 ns a row of 4 classes and takes 7. More classes go
row by row, the sum lane by lane and then over the lanes in a tree. Either order depends on the number of classes and
the vector width alone.
"""

from __future__ import annotations

import math

from .formulas import add, cross_term, divide, exp, larger, log, multiply, subtract
from .jit import kernel
from .packing import transpose_corner
from .shapes import SCRATCH, SQUARE
from .simd import add_lanes, advance, filled, lanes, least, load, max_lanes, number, store


@kernel
def softmax_rows(rows, classes, logits, out, workspace):
    """``out[i] = softmax(logits[i])``; in place too."""
    vl = lanes(logits)
    if classes <= vl:
        for i in range(0, rows, vl):
            here = least(vl, rows - i)
            top, total = exp_square(here, classes, advance(logits, i * classes), workspace)
            shares_of_square(classes, workspace, total)
            write_square(here, classes, workspace, advance(out, i * classes))
    else:
        zero, one = number(logits, 0.0), number(logits, 1.0)
        for i in range(rows):
            row = advance(out, i * classes)
            _, total = exp_row(advance(logits, i * classes), classes, row)
            factor = one / total
            for j in range(0, classes, vl):
                here = advance(row, j)
                store(multiply(load(here, classes - j, zero), factor), here, classes - j)


@kernel
def cross_entropy_of_labels(rows, classes, logits, labels, scale, dlogits, losses, workspace):
    """Class indices: row losses, and ``dlogits = (softmax - one_hot) scale``."""
    sums = advance(workspace, SCRATCH)
    vl = lanes(logits)
    zero, one = number(logits, 0.0), number(logits, 1.0)
    if classes <= vl:
        for i in range(0, rows, vl):
            here = least(vl, rows - i)
            z, found = advance(logits, i * classes), advance(losses, i)
            top, total = exp_square(here, classes, z, workspace)
            shares_of_square(classes, workspace, total)
            for r in range(here):
                label = labels[i + r]
                found[r] = z[r * classes + label]
                workspace[label * vl + r] -= one
            store(subtract(load(found, here, zero), top), found, here)
            store(total, advance(sums, i), here)
            scale_square(classes, workspace, scale)
            write_square(here, classes, workspace, advance(dlogits, i * classes))
    else:
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
def cross_entropy_of_probabilities(rows, classes, logits, targets, scale, dlogits, losses, workspace):
    """Rows of probabilities, the same otherwise: with one-hot rows the same bits as with labels."""
    sums = advance(workspace, SCRATCH)
    vl = lanes(logits)
    zero, one = number(logits, 0.0), number(logits, 1.0)
    if classes <= vl:
        wanted = advance(workspace, 2 * SQUARE)
        for i in range(0, rows, vl):
            here = least(vl, rows - i)
            z = advance(logits, i * classes)
            top, total = exp_square(here, classes, z, workspace)
            shares_of_square(classes, workspace, total)
            shifted = advance(workspace, SQUARE)
            transpose_corner(shifted, vl, z, classes, here, classes)
            transpose_corner(wanted, vl, advance(targets, i * classes), classes, here, classes)
            agreement = filled(z, zero)
            for j in range(classes):
                share, t = advance(workspace, j * vl), load(advance(wanted, j * vl), vl, zero)
                agreement = cross_term(t, subtract(load(advance(shifted, j * vl), vl, zero), top), agreement)
                store(subtract(load(share, vl, zero), t), share, vl)
            store(agreement, advance(losses, i), here)
            store(total, advance(sums, i), here)
            scale_square(classes, workspace, scale)
            write_square(here, classes, workspace, advance(dlogits, i * classes))
    else:
        for i in range(rows):
            z, dz, t = advance(logits, i * classes), advance(dlogits, i * classes), advance(targets, i * classes)
            top, total = exp_row(z, classes, dz)
            factor = one / total
            agreement = filled(z, zero)
            for j in range(0, classes, vl):
                left = classes - j
                at, wanted_row = advance(dz, j), load(advance(t, j), left, zero)
                agreement = cross_term(wanted_row, subtract(load(advance(z, j), left, top), top), agreement)
                share_row = multiply(load(at, left, zero), factor)
                store(multiply(subtract(share_row, wanted_row), scale), at, left)
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
        loss = subtract(log(load(advance(sums, i), left, one)), load(advance(losses, i), left, zero))
        store(loss, advance(losses, i), left)


# ---- a vector of rows side by side: square[class, row] ----


@kernel
def exp_square(rows, classes, z, square):
    """``square[j, r] = exp(z[r, j] - top[r])``; returns the vectors of maxima and of sums."""
    vl = lanes(z)
    zero = number(z, 0.0)
    transpose_corner(square, vl, z, classes, rows, classes)
    top = load(square, vl, zero)
    for j in range(1, classes):
        top = larger(load(advance(square, j * vl), vl, zero), top)
    total = filled(z, zero)
    for j in range(classes):
        here = advance(square, j * vl)
        term = exp(subtract(load(here, vl, zero), top))
        total = add(total, term)
        store(term, here, vl)
    return top, total


@kernel
def shares_of_square(classes, square, total):
    """``square[j] /= total``, by way of the reciprocal."""
    vl = lanes(square)
    factor = divide(filled(square, number(square, 1.0)), total)
    for j in range(classes):
        here = advance(square, j * vl)
        store(multiply(load(here, vl, number(square, 0.0)), factor), here, vl)


@kernel
def scale_square(classes, square, scale):
    vl = lanes(square)
    for j in range(classes):
        here = advance(square, j * vl)
        store(multiply(load(here, vl, number(square, 0.0)), scale), here, vl)


@kernel
def write_square(rows, classes, square, out):
    """``out[r, j] = square[j, r]``, by way of the second square of the workspace."""
    vl = lanes(square)
    turned = advance(square, SQUARE)
    transpose_corner(turned, vl, square, vl, classes, vl)
    for r in range(rows):
        store(load(advance(turned, r * vl), classes, number(square, 0.0)), advance(out, r * classes), classes)


# ---- one row, more classes than a vector holds ----


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
