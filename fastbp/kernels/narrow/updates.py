"""The end of a step: from the sums of its blocks to new parameters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from .. import coefficients as co
from .. import operations as op
from ..applied import updated_by
from ..elementwise import add_l2_gradient, update_block
from ..jit import kernel
from ..reductions import factor_of, sum_of, sum_of_squares
from ..simd import advance, lanes, least, load_whole, number, store_whole
from ..updates import UPDATES
from .blocks import Call, in_turn
from .forms import NarrowStep, Workspace
from .shares import rows_of_share, shares


class Update(NamedTuple):
    """Holds what an update of the parameters works on."""

    gradient: Any
    factor: Any  # that shortens it
    row: Any
    operands: Any
    space: Any


@kernel
def copy_rows(update, begin, end, fan_out, weights, ld, sums):
    """Copy rows of a layer's sums to the gradient of all parameters, as these lie; there is room behind it."""
    to, source = advance(update.gradient, weights), advance(update.space, sums)
    for i in range(begin, end):  # surplus lanes fall on what is written next
        for j in range(0, fan_out, lanes(to)):
            store_whole(load_whole(advance(source, i * ld + j)), advance(to, i * fan_out + j))


@kernel
def update_part(update, form, start, count, mask):
    """Update a layer's weights or biases; the state lies behind the gradient buffer's gradient."""
    stride, w, dw = update.row[op.LDB], advance(update.operands[op.PARAMETERS], start), advance(update.gradient, start)
    state, parts = advance(update.operands[op.GRADIENT], stride + start), update.row[op.TAKES_PART] & mask
    coefficients = update.operands[op.COEFFICIENTS]
    update_block(form, 1, count, count, w, dw, state, stride, update.factor, parts, coefficients)


@kernel
def squares_of_weights(update, place, start, count):
    update.space[place] = sum_of_squares(count, advance(update.operands[op.PARAMETERS], start))


@kernel
def squares_of_gradient(update, place, start, count):
    update.space[place] = sum_of_squares(count, advance(update.gradient, start))


@kernel
def add_penalty(update, start, count):
    if update.row[op.PENALISED]:
        w, l2 = advance(update.operands[op.PARAMETERS], start), update.operands[op.COEFFICIENTS][co.L2]
        add_l2_gradient(count, advance(update.gradient, start), w, l2)


def clipping(at: Workspace) -> Iterator[Call]:
    """Give the penalty's part of the gradient and the sums of its squares, cut as the general step cuts them."""
    for index, layer in enumerate(at.layers):
        weights, biases, place = layer.fan_in * layer.fan_out, layer.fan_out, at.partial + 2 * index
        yield add_penalty, layer.weights, weights
        yield squares_of_gradient, place, layer.weights, weights
        yield squares_of_gradient, place + 1, layer.weights + weights, biases


def updates(step: NarrowStep, at: Workspace) -> Iterator[Call]:
    """Give the updates of all parameters."""
    form = updated_by(UPDATES[step.update])
    for layer in at.layers:
        weights = layer.fan_in * layer.fan_out
        yield update_part, form, layer.weights, weights, op.DECAY | op.PENALTY
        yield update_part, form, layer.weights + weights, layer.fan_out, 0


@kernel
def update_share(update, form, share, fan_in, fan_out, weights, ld, sums):
    """Update those of a layer's parameters whose tiles the table's row names."""
    begin, end = rows_of_share(share, update.row)
    copy_rows(update, begin, end, fan_out, weights, ld, sums)
    whole = least(end, fan_in)
    if begin < whole:
        update_part(update, form, weights + begin * fan_out, (whole - begin) * fan_out, op.DECAY | op.PENALTY)
    if begin < end and end > fan_in:
        update_part(update, form, weights + fan_in * fan_out, fan_out, 0)


def updates_of_shares(step: NarrowStep, at: Workspace) -> list[Call]:
    """Return the updates of a share of all parameters, whose gradient gets memory of its own."""
    form = updated_by(UPDATES[step.update])
    return [
        (update_share, form, share, layer.fan_in, layer.fan_out, layer.weights, layer.rows_ld, layer.parameter_gradient)
        for layer, share in zip(at.layers, shares(at), strict=True)
    ]


def squares(at: Workspace) -> Any:
    """Return what gives the sum of the weights' squares, 0 where nothing is penalised."""
    layers, partial = len(at.layers), at.partial
    squared = in_turn(
        (squares_of_weights, partial + index, layer.weights, layer.fan_in * layer.fan_out)
        for index, layer in enumerate(at.layers)
    )

    def sum_of_all(row, operands, space):
        if not row[op.PENALISED]:
            return 0.0
        squared(Update(space, number(space, 1.0), row, operands, space))
        return sum_of(layers, advance(space, partial))

    return kernel(sum_of_all)


def ending(step: NarrowStep, at: Workspace) -> Any:
    """Return what takes a step from the sums of its blocks to new parameters; it gives the squares of the weights."""
    in_place = in_turn(
        (copy_rows, 0, layer.fan_in + 1, layer.fan_out, layer.weights, layer.rows_ld, layer.parameter_gradient)
        for layer in at.layers
    )
    squared, clip, update = squares(at), in_turn(clipping(at)), in_turn(updates(step, at))
    own, partial, layers = at.gradient, at.partial, len(at.layers)

    def end(row, operands, space):
        gradient = advance(space, own)
        state, penalised = Update(gradient, number(space, 1.0), row, operands, space), squared(row, operands, space)
        in_place(state)
        if row[op.CLIPPED]:
            clip(state)
            factor = factor_of(2 * layers, advance(space, partial), operands[op.COEFFICIENTS][co.MAX_NORM])
            state = Update(gradient, factor, row, operands, space)
        update(state)
        return penalised

    return kernel(end)
