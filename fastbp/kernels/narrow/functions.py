"""The operations that are compiled for one network: a whole training step, and predictions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from .. import operations as op
from ..activations import FUNCTIONS
from ..formulas import divide, multiply
from ..jit import kernel
from ..reductions import sum_of_squares
from ..simd import advance, doubles, filled, lanes, least, load_whole, number, store, store_whole
from .backward import backward, parameter_gradients, shares_of_gradients, turn_to_rows, turns
from .blocks import Block, Call, in_turn
from .forms import ROWS, SUMS, TILE_VECTORS, WHOLE, NarrowForward, NarrowStep, Workspace
from .forward import activation_of, forward
from .losses import loss, shifted_exponentials, sum_up, targets
from .updates import Update, ending, squares, updates_of_shares

OUTPUTS = {row.name: row for row in FUNCTIONS.values()}  # the functions that make outputs of logits among them


def narrow_step(step: NarrowStep) -> Any:
    """Return the operation of a step, or of a part of it."""
    return OF_PART[step.part](step, step.workspace())


def whole_step(step: NarrowStep, at: Workspace) -> Any:
    """Return the operation of a whole step: rows ``[0, row_end)`` of the table's row."""
    ld, tile, vectors = at.ld, step.tile_vectors * step.lanes, step.tile_vectors
    of_rows = *targets(step, at), *forward(at, vectors), *loss(step, at), (sum_up, at.losses), *backward(at, vectors)
    of_block = in_turn([*of_rows, *itertools.chain(*zip(turns(at), parameter_gradients(at), strict=True))])
    end = ending(step, at)

    def operation(row, operands, workspace):
        rows, sums = row[op.ROW_END], doubles(operands[op.SUMS])
        sums[0] = 0.0
        for first in range(0, rows, ld):
            here = least(ld, rows - first)
            of_block(Block(first, here, (here + tile - 1) // tile * tile, row, operands, workspace))
        sums[1] = end(row, operands, workspace)

    return kernel(operation)


def rows_of_step(step: NarrowStep, at: Workspace) -> Any:
    """Return the operation of the first part: all that blocks of rows have to themselves, which they keep."""
    ld, size, tile, vectors = at.ld, at.block, step.tile_vectors * step.lanes, step.tile_vectors
    of_rows = *targets(step, at), *forward(at, vectors), *loss(step, at), *backward(at, vectors), *turns(at)
    of_block, squared = in_turn(of_rows), squares(at)

    def operation(row, operands, workspace):
        begin, end, space = row[op.ROW_BEGIN], row[op.ROW_END], advance(operands[op.ACTIVATIONS], row[op.C])
        if begin == 0:
            sums = doubles(operands[op.SUMS])
            sums[0], sums[1] = 0.0, squared(row, operands, space)
        for first in range(begin, end, ld):
            here = least(ld, end - first)
            of_block(Block(first, here, (here + tile - 1) // tile * tile, row, operands, space))
            space = advance(space, size)

    return kernel(operation)


def sums_of_step(step: NarrowStep, at: Workspace) -> Any:
    """Return the operation of the second part: sums over blocks, for a share of the parameters, and their update."""
    ld, size, losses = at.ld, at.block, at.losses
    of_block, update = in_turn(shares_of_gradients(at)), in_turn(updates_of_shares(step, at))

    def operation(row, operands, workspace):
        begin, end, space = row[op.ROW_BEGIN], row[op.ROW_END], operands[op.ACTIVATIONS]
        for first in range(begin, end, ld):
            here = least(ld, end - first)
            block = Block(first, here, here, row, operands, space)
            if row[op.COLUMN_BEGIN] == 0:
                sum_up(block, losses)
            of_block(block)
            space = advance(space, size)
        if row[op.EPILOGUE]:
            sums = advance(operands[op.ACTIVATIONS], row[op.C])
            update(Update(workspace, number(workspace, 1.0), row, operands, sums))

    return kernel(operation)


OF_PART = {WHOLE: whole_step, ROWS: rows_of_step, SUMS: sums_of_step}


# ---- predictions ----


def narrow_forward(predictions: NarrowForward) -> Any:
    """Return the operation of predictions for some rows, with the sum of their inputs' squares to Y."""
    at, tile, features = predictions.workspace(), TILE_VECTORS * predictions.lanes, predictions.sizes[0]
    ld, of_block = at.ld, in_turn([*forward(at, TILE_VECTORS), *outputs(predictions, at)])

    def operation(row, operands, workspace):
        begin, end = row[op.ROW_BEGIN], row[op.ROW_END]
        for first in range(begin, end, ld):
            here = least(ld, end - first)
            of_block(Block(first, here, (here + tile - 1) // tile * tile, row, operands, workspace))
        x = advance(operands[op.INPUTS], begin * features)
        operands[op.ACTIVATIONS][row[op.Y]] = sum_of_squares((end - begin) * features, x)

    return kernel(operation)


def outputs(predictions: NarrowForward, at: Workspace) -> Iterator[Call]:
    """Give the output function, and the outputs' way to the user's memory."""
    layer, ld = at.layers[-1], at.ld
    if predictions.output == "softmax":
        yield softmax, layer.fan_out, ld, layer.outputs, layer.gradient, at.partial
    elif predictions.output != "logits":
        yield activation_of(layer._replace(activation=OUTPUTS[predictions.output]), ld)
    yield turn_to_rows, layer.fan_out, ld, layer.rows_ld, layer.outputs, layer.gradient_rows
    yield answer, layer.fan_out, layer.rows_ld, layer.gradient_rows


@kernel
def softmax(block, classes, ld, logits, shares, partial):
    """Make probabilities of logits, in place, as `kernels.softmax.softmax_rows` does."""
    space = block.space
    one = filled(space, number(space, 1.0))
    for r in range(0, block.width, lanes(space)):
        z, terms = advance(space, logits + r), advance(space, shares + r)
        factor = divide(one, shifted_exponentials(classes, ld, z, terms, advance(space, partial)))
        for c in range(classes):
            store_whole(multiply(load_whole(advance(terms, c * ld)), factor), advance(z, c * ld))


@kernel
def answer(block, outputs, rows_ld, by_rows):
    """Write the block's outputs by rows to the gradient buffer, nothing behind the operation's last."""
    size, to = lanes(block.space), advance(block.operands[op.GRADIENT], block.first * outputs)
    left = (block.row[op.ROW_END] - block.first) * outputs
    for r in range(block.rows):
        for j in range(0, outputs, size):
            here, at_most = load_whole(advance(block.space, by_rows + r * rows_ld + j)), left - r * outputs - j
            if at_most >= size:  # surplus lanes fall on the next row, whose turn is later
                store_whole(here, advance(to, r * outputs + j))
            else:
                store(here, advance(to, r * outputs + j), at_most)
