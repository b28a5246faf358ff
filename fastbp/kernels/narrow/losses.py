"""Losses and the gradient of the logits, by units: what `kernels.softmax` and `kernels.elementwise` do by rows."""

from __future__ import annotations

from collections.abc import Iterator

from .. import coefficients as co
from .. import operations as op
from ..applied import applied
from ..formulas import add, cross_term, divide, exp, larger, log, multiply, subtract, where_equal
from ..jit import kernel
from ..losses import ELEMENTWISE
from ..packing import transpose_in_order
from ..simd import advance, doubles, filled, integers, lanes, load, load_whole, number, store_whole
from .blocks import Call
from .forms import NarrowStep, Workspace


@kernel
def with_term(total, terms, unused):
    return add(total, load_whole(terms))


@kernel
def with_cross_term(total, shifted, targets):
    return cross_term(load_whole(targets), load_whole(shifted), total)


@kernel
def classes_summed(classes, ld, summed, a, b, partial):
    """Sum up over classes in the order of `kernels.softmax`: ascending, or lane by lane and then in a tree."""
    size = lanes(a)
    if classes <= size:
        total = filled(a, number(a, 0.0))
        for c in range(classes):
            total = summed(total, advance(a, c * ld), advance(b, c * ld))
    else:
        for lane in range(size):
            total = filled(a, number(a, 0.0))
            for c in range(lane, classes, size):
                total = summed(total, advance(a, c * ld), advance(b, c * ld))
            store_whole(total, advance(partial, lane * size))
        distance = size // 2
        while distance > 0:
            for lane in range(distance):
                here = advance(partial, lane * size)
                store_whole(add(load_whole(here), load_whole(advance(here, distance * size))), here)
            distance //= 2
        total = load_whole(partial)
    return total


@kernel
def shifted_exponentials(classes, ld, z, terms, partial):
    """Shift logits by their maximum, in place; write their exponentials to `terms` and return the sums of these."""
    top = load_whole(z)
    for c in range(1, classes):
        top = larger(load_whole(advance(z, c * ld)), top)
    for c in range(classes):
        here = advance(z, c * ld)
        shifted = subtract(load_whole(here), top)
        store_whole(shifted, here)
        store_whole(exp(shifted), advance(terms, c * ld))
    return classes_summed(classes, ld, with_term, terms, terms, partial)


@kernel
def softmax_of_labels(block, classes, ld, logits, gradient, wanted, partial, losses):
    """Compute row losses and their gradient for class indices, as `kernels.softmax.cross_entropy_of_labels` does."""
    space, scale = block.space, block.operands[op.COEFFICIENTS][co.SCALE]
    nought, one = filled(space, number(space, 0.0)), filled(space, number(space, 1.0))
    for r in range(0, block.width, lanes(space)):
        z, terms = advance(space, logits + r), advance(space, gradient + r)
        total = shifted_exponentials(classes, ld, z, terms, advance(space, partial))
        factor, label, own = divide(one, total), load_whole(advance(space, wanted + r)), nought
        for c in range(classes):
            here, this = advance(terms, c * ld), number(space, c)
            share = multiply(load_whole(here), factor)
            own = where_equal(label, this, load_whole(advance(z, c * ld)), own)
            store_whole(multiply(where_equal(label, this, subtract(share, one), share), scale), here)
        store_whole(subtract(log(total), own), advance(space, losses + r))


@kernel
def softmax_of_probabilities(block, classes, ld, logits, gradient, wanted, partial, losses):
    """Do the same for rows of probabilities."""
    space, scale = block.space, block.operands[op.COEFFICIENTS][co.SCALE]
    one = filled(space, number(space, 1.0))
    for r in range(0, block.width, lanes(space)):
        z, terms, t = advance(space, logits + r), advance(space, gradient + r), advance(space, wanted + r)
        total = shifted_exponentials(classes, ld, z, terms, advance(space, partial))
        factor = divide(one, total)
        for c in range(classes):
            here, target = advance(terms, c * ld), load_whole(advance(t, c * ld))
            store_whole(multiply(subtract(multiply(load_whole(here), factor), target), scale), here)
        agreement = classes_summed(classes, ld, with_cross_term, z, t, advance(space, partial))
        store_whole(subtract(log(total), agreement), advance(space, losses + r))


@kernel
def elementwise_loss(block, outputs, ld, logits, gradient, wanted, losses, value, slope):
    """Compute a loss of one logit and one target at a time, as `kernels.elementwise.elementwise_loss` does."""
    space, coefficients = block.space, block.operands[op.COEFFICIENTS]
    share = coefficients[co.SHARE]
    factor = share * coefficients[co.SCALE]
    for j in range(outputs):
        for r in range(0, block.width, lanes(space)):
            here = advance(space, j * ld + r)
            z, t = load_whole(advance(here, logits)), load_whole(advance(here, wanted))
            store_whole(value(coefficients, j, z, t), advance(here, logits))
            store_whole(multiply(slope(coefficients, j, z, t), factor), advance(here, gradient))
    values = advance(space, logits)
    for r in range(block.rows):
        total = 0.0
        for j in range(outputs):
            total += values[j * ld + r]
        space[losses + r] = share * number(space, total)


@kernel
def weigh(block, outputs, ld, gradient, losses):
    """Multiply the gradient of the logits, and losses, by the rows' weights, where these have any."""
    space, weights = block.space, advance(block.operands[op.WEIGHTS], block.first)
    for r in range(0, block.width if block.row[op.WEIGHTED] else 0, lanes(space)):
        weight = load(advance(weights, r), block.rows - r, number(space, 0.0))
        for j in range(outputs):
            here = advance(space, gradient + j * ld + r)
            store_whole(multiply(load_whole(here), weight), here)
        here = advance(space, losses + r)
        store_whole(multiply(load_whole(here), weight), here)


@kernel
def sum_up(block, losses):
    """Add the rows' losses to the step's sum, in float64; the way back goes on beside these additions."""
    sums, values = doubles(block.operands[op.SUMS]), advance(block.space, losses)
    total = sums[0]
    for r in range(block.rows):
        total += values[r]
    sums[0] = total


# ---- targets ----


@kernel
def bring_labels(block, wanted):
    """Bring the block's labels, as numbers that vectors compare with."""
    labels, to = advance(integers(block.operands[op.LABELS]), block.first), advance(block.space, wanted)
    for r in range(block.rows):
        to[r] = number(to, labels[r])


@kernel
def bring_targets(block, outputs, ld, wanted):
    """Bring the block's rows of targets, by outputs."""
    size, t, first = lanes(block.space), block.operands[op.TARGETS], block.first
    for r in range(0, block.width, size):
        for c in range(0, outputs, size):
            to = advance(block.space, wanted + c * ld + r)
            order = integers(t)  # which names no rows here
            transpose_in_order(to, ld, advance(t, c), outputs, order, first + r, first + block.rows, outputs - c)


# ---- a step's calls ----


def targets(step: NarrowStep, at: Workspace) -> Iterator[Call]:
    """Give what brings targets; early, for they are read as whole vectors, which waits for single numbers."""
    if step.loss == LABELS:
        yield bring_labels, at.targets
    else:
        yield bring_targets, step.sizes[-1], at.ld, at.targets


def loss(step: NarrowStep, at: Workspace) -> Iterator[Call]:
    """Give what computes row losses and the gradient of the logits."""
    outputs, layer = step.sizes[-1], at.layers[-1]
    places = outputs, at.ld, layer.outputs, layer.gradient, at.targets
    if step.loss in SOFTMAX:
        yield SOFTMAX[step.loss], *places, at.partial, at.losses
    else:
        table = next(row for formula, row in ELEMENTWISE.items() if formula.__name__ == step.loss)
        value, slope = (applied(formula, table.constants, True) for formula in (table.value, table.gradient))
        yield elementwise_loss, *places, at.losses, value, slope
    yield weigh, outputs, at.ld, layer.gradient, at.losses


LABELS = "labels"
SOFTMAX = {LABELS: softmax_of_labels, "targets": softmax_of_probabilities}
