"""Losses and the gradient of the logits, by units: what `kernels.softmax` and `kernels.elementwise` do by rows."""

from __future__ import annotations

from typing import Any

from .. import coefficients as co
from .. import losses
from .. import operations as op
from ..applied import applied
from ..formulas import add, cross_term, divide, exp, larger, log, multiply, subtract, where_equal
from ..jit import kernel
from ..packing import transpose_in_order
from ..simd import advance, filled, integers, lanes, load, load_whole, number, store_whole
from .blocks import in_turn
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


def softmax_of_labels(step: NarrowStep, at: Workspace) -> Any:
    """Return the loss and its gradient for class indices, as `kernels.softmax.cross_entropy_of_labels`."""
    classes, ld, layer, numbers = step.sizes[-1], at.ld, at.layers[-1], at.targets
    logits, gradient, partial, row_losses = layer.outputs, layer.gradient, at.partial, at.losses

    def loss(block):
        space, scale, wanted = block.space, block.operands[op.COEFFICIENTS][co.SCALE], advance(block.space, numbers)
        nought, one = filled(space, number(space, 0.0)), filled(space, number(space, 1.0))
        for r in range(0, block.width, lanes(space)):
            z, terms = advance(space, logits + r), advance(space, gradient + r)
            total = shifted_exponentials(classes, ld, z, terms, advance(space, partial))
            factor, label, own = divide(one, total), load_whole(advance(wanted, r)), nought
            for c in range(classes):
                here = advance(terms, c * ld)
                share = multiply(load_whole(here), factor)
                this = number(space, c)
                own = where_equal(label, this, load_whole(advance(z, c * ld)), own)
                store_whole(multiply(where_equal(label, this, subtract(share, one), share), scale), here)
            store_whole(subtract(log(total), own), advance(space, row_losses + r))

    return kernel(loss)


def softmax_of_probabilities(step: NarrowStep, at: Workspace) -> Any:
    """Return the loss and its gradient for rows of probabilities."""
    classes, ld, layer, wanted = step.sizes[-1], at.ld, at.layers[-1], at.targets
    logits, gradient, partial, row_losses = layer.outputs, layer.gradient, at.partial, at.losses

    def loss(block):
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
            store_whole(subtract(log(total), agreement), advance(space, row_losses + r))

    return kernel(loss)


def labels_of(step: NarrowStep, at: Workspace) -> Any:
    """Return what brings the block's labels, as numbers that vectors compare with."""
    wanted = at.targets

    def bring(block):
        labels, to = advance(integers(block.operands[op.LABELS]), block.first), advance(block.space, wanted)
        for r in range(block.rows):
            to[r] = number(to, labels[r])

    return kernel(bring)


def targets_of(step: NarrowStep, at: Workspace) -> Any:
    """Return what brings the block's rows of targets, by outputs."""
    outputs, ld, wanted = step.sizes[-1], at.ld, at.targets

    def bring(block):
        size, t = lanes(block.space), block.operands[op.TARGETS]
        first, order = block.first, integers(t)  # which names no rows here
        for r in range(0, block.width, size):
            for c in range(0, outputs, size):
                to, last = advance(block.space, wanted + c * ld + r), first + block.rows
                transpose_in_order(to, ld, advance(t, c), outputs, order, first + r, last, outputs - c)

    return kernel(bring)


def elementwise(step: NarrowStep, at: Workspace) -> Any:
    """Return a loss of one logit and one target at a time, as `kernels.elementwise.elementwise_loss`."""
    table = next(row for formula, row in losses.ELEMENTWISE.items() if formula.__name__ == step.loss)
    value, slope = (applied(formula, table.constants, True) for formula in (table.value, table.gradient))
    outputs, ld, layer, wanted = step.sizes[-1], at.ld, at.layers[-1], at.targets
    logits, gradient, row_losses = layer.outputs, layer.gradient, at.losses

    def loss(block):
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
            space[row_losses + r] = share * number(space, total)

    return kernel(loss)


def weighing(step: NarrowStep, at: Workspace) -> Any:
    """Return what multiplies the gradient of the logits, and losses, by the rows' weights, where these have any."""
    outputs, ld, gradient, row_losses = step.sizes[-1], at.ld, at.layers[-1].gradient, at.losses

    def weigh(block):
        space, weights = block.space, advance(block.operands[op.WEIGHTS], block.first)
        for r in range(0, block.width if block.row[op.WEIGHTED] else 0, lanes(space)):
            weight = load(advance(weights, r), block.rows - r, number(space, 0.0))
            for j in range(outputs):
                here = advance(space, gradient + j * ld + r)
                store_whole(multiply(load_whole(here), weight), here)
            here = advance(space, row_losses + r)
            store_whole(multiply(load_whole(here), weight), here)

    return kernel(weigh)


def loss_of(step: NarrowStep, at: Workspace) -> Any:
    """Return what computes row losses and the gradient of the logits."""
    loss = {"labels": softmax_of_labels, "targets": softmax_of_probabilities}.get(step.loss, elementwise)(step, at)
    return in_turn([loss, weighing(step, at)])
