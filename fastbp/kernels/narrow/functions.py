"""The operations that are compiled for one network: a whole training step, and predictions."""

from __future__ import annotations

from typing import Any

from .. import operations as op
from ..activations import FUNCTIONS
from ..formulas import divide, multiply
from ..jit import kernel
from ..packing import transpose_units
from ..reductions import sum_of_squares
from ..simd import advance, doubles, filled, lanes, least, load_whole, number, store, store_whole
from .backward import backward, parameter_gradients
from .blocks import Block, in_turn
from .forms import TILE_VECTORS, NarrowForward, NarrowStep, Workspace
from .forward import activation_of, fetching, forward
from .losses import labels_of, loss_of, shifted_exponentials, targets_of
from .updates import ending

OUTPUTS = {row.name: row for row in FUNCTIONS.values()}  # the functions that make outputs of logits among them


def narrow_step(step: NarrowStep) -> Any:
    """Return the operation of a whole step: rows ``[0, row_end)`` of the table's row."""
    at = step.workspace()
    ld, tile, row_losses = at.ld, step.tile_vectors * step.lanes, at.losses
    targets = (labels_of if step.loss == "labels" else targets_of)(step, at)  # early: they are read as whole vectors
    of_block = in_turn([
        targets, fetching(at), forward(at, step.tile_vectors), loss_of(step, at), backward(at, step.tile_vectors),
        parameter_gradients(at),
    ])  # fmt: skip
    end = ending(step, at)

    def operation(row, operands, workspace):
        rows, total = row[op.ROW_END], 0.0
        for first in range(0, rows, ld):
            here = least(ld, rows - first)
            of_block(Block(first, here, (here + tile - 1) // tile * tile, row, operands, workspace))
            for r in range(here):
                total += workspace[row_losses + r]
        sums = doubles(operands[op.SUMS])
        sums[0], sums[1] = total, end(row, operands, workspace)

    return kernel(operation)


# ---- predictions ----


def softmax_of(at: Workspace) -> Any:
    """Return what makes probabilities of logits, in place, as `kernels.softmax.softmax_rows`."""
    classes, ld, layer, partial = at.layers[-1].fan_out, at.ld, at.layers[-1], at.partial
    logits, shares = layer.outputs, layer.gradient

    def softmax(block):
        space = block.space
        one = filled(space, number(space, 1.0))
        for r in range(0, block.width, lanes(space)):
            z, terms = advance(space, logits + r), advance(space, shares + r)
            factor = divide(one, shifted_exponentials(classes, ld, z, terms, advance(space, partial)))
            for c in range(classes):
                store_whole(multiply(load_whole(advance(terms, c * ld)), factor), advance(z, c * ld))

    return kernel(softmax)


def answering(at: Workspace) -> Any:
    """Return what writes the block's outputs by rows to the gradient buffer, nothing behind the operation's last."""
    layer, ld = at.layers[-1], at.ld
    outputs, by_units, by_rows, rows_ld = layer.fan_out, layer.outputs, layer.gradient_rows, layer.rows_ld

    def answer(block):
        space, size = block.space, lanes(block.space)
        for j in range(0, outputs, size):
            for r in range(0, block.width, size):
                here, to = advance(space, by_units + j * ld + r), advance(space, by_rows + r * rows_ld + j)
                transpose_units(to, rows_ld, here, ld, outputs - j)
        to = advance(block.operands[op.GRADIENT], block.first * outputs)
        left = (block.row[op.ROW_END] - block.first) * outputs
        for r in range(block.rows):
            for j in range(0, outputs, size):
                here, at_most = load_whole(advance(space, by_rows + r * rows_ld + j)), left - r * outputs - j
                if at_most >= size:  # surplus lanes fall on the next row, whose turn is later
                    store_whole(here, advance(to, r * outputs + j))
                else:
                    store(here, advance(to, r * outputs + j), at_most)

    return kernel(answer)


def narrow_forward(forward_pass: NarrowForward) -> Any:
    """Return the operation of predictions for some rows, with the sum of their inputs' squares to Y."""
    at, tile = forward_pass.workspace(), TILE_VECTORS * forward_pass.lanes
    parts, layer, ld, features = [fetching(at), forward(at, TILE_VECTORS)], at.layers[-1], at.ld, forward_pass.sizes[0]
    if forward_pass.output == "softmax":
        parts.append(softmax_of(at))
    elif forward_pass.output != "logits":
        parts.append(activation_of(layer._replace(activation=OUTPUTS[forward_pass.output]), ld))
    of_block = in_turn([*parts, answering(at)])

    def operation(row, operands, workspace):
        begin, end = row[op.ROW_BEGIN], row[op.ROW_END]
        for first in range(begin, end, ld):
            here = least(ld, end - first)
            of_block(Block(first, here, (here + tile - 1) // tile * tile, row, operands, workspace))
        x = advance(operands[op.INPUTS], begin * features)
        operands[op.ACTIVATIONS][row[op.Y]] = sum_of_squares((end - begin) * features, x)

    return kernel(operation)
