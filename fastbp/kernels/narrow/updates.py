"""The end of a step: from the sums of its blocks to new parameters."""

from __future__ import annotations

from typing import Any, NamedTuple

from .. import coefficients as co
from .. import operations as op
from ..applied import updated_by
from ..elementwise import add_l2_gradient, update_block
from ..jit import kernel
from ..reductions import factor_of, sum_of, sum_of_squares
from ..simd import advance, lanes, load_whole, number, store_whole
from ..updates import UPDATES
from .blocks import in_turn
from .forms import Layer, NarrowStep, Workspace


def gradient_in_place(at: Workspace) -> Any:
    """Return what copies the sums to the gradient of all parameters, as these lie."""
    return in_turn(layer_in_place(layer) for layer in at.layers)


def layer_in_place(layer: Layer) -> Any:
    fan_in, fan_out, weights, ld, sums = (
        layer.fan_in, layer.fan_out, layer.weights, layer.rows_ld, layer.parameter_gradient,
    )  # fmt: skip

    def copy(update):
        to, source = advance(update.gradient, weights), advance(update.space, sums)
        for i in range(fan_in):  # surplus lanes fall on what is written next
            for j in range(0, fan_out, lanes(to)):
                store_whole(load_whole(advance(source, i * ld + j)), advance(to, i * fan_out + j))
        for j in range(fan_out):  # and behind the last layer's biases on the optimizer's state
            to[fan_in * fan_out + j] = source[fan_in * ld + j]

    return kernel(copy)


class Update(NamedTuple):
    """What an update of the parameters works on."""

    gradient: Any
    factor: Any  # that shortens it
    row: Any
    operands: Any
    space: Any


def updating(step: NarrowStep, at: Workspace) -> Any:
    """Return the update of all parameters."""
    parts = []
    for layer in at.layers:
        weights = layer.fan_in * layer.fan_out
        parts += [
            update_of(step, layer.weights, weights, True),
            update_of(step, layer.weights + weights, layer.fan_out, False),
        ]
    return in_turn(parts)


def update_of(step: NarrowStep, start: int, count: int, weights: bool) -> Any:
    """Return the update of a layer's weights or biases; the state lies behind the gradient buffer's gradient."""
    form = updated_by(UPDATES[step.update])
    mask = op.DECAY | op.PENALTY if weights else 0

    def compute(update):
        stride, w = update.row[op.LDB], advance(update.operands[op.PARAMETERS], start)
        state = advance(update.operands[op.GRADIENT], stride + start)
        update_block(form, 1, count, count, w, advance(update.gradient, start), state, stride, update.factor,
                     update.row[op.TAKES_PART] & mask, update.operands[op.COEFFICIENTS])  # fmt: skip

    return kernel(compute)


def squares_of_weights(at: Workspace) -> Any:
    """Return what sums up the squares of each layer's weights."""
    return in_turn(
        squares_to(at.partial + index, layer.weights, layer.fan_in * layer.fan_out, op.PARAMETERS)
        for index, layer in enumerate(at.layers)
    )


def squares_to(place: int, start: int, count: int, operand: int) -> Any:
    """Return what sums up the squares of some parameters, or of as many entries of the gradient."""
    of_parameters = operand == op.PARAMETERS

    def compute(update):
        values = update.operands[op.PARAMETERS] if of_parameters else update.gradient
        update.space[place] = sum_of_squares(count, advance(values, start))

    return kernel(compute)


def clipping(at: Workspace) -> Any:
    """Return what adds the penalty's part to the gradient and sums up its squares, as the general step cuts them."""
    parts = []
    for index, layer in enumerate(at.layers):
        weights, place = layer.fan_in * layer.fan_out, at.partial + 2 * index
        parts.append(penalty_of(layer.weights, weights))
        parts.append(squares_to(place, layer.weights, weights, op.GRADIENT))
        parts.append(squares_to(place + 1, layer.weights + weights, layer.fan_out, op.GRADIENT))
    return in_turn(parts)


def penalty_of(start: int, count: int) -> Any:
    def compute(update):
        if update.row[op.PENALISED]:
            operands = update.operands
            w = advance(operands[op.PARAMETERS], start)
            add_l2_gradient(count, advance(update.gradient, start), w, operands[op.COEFFICIENTS][co.L2])

    return kernel(compute)


def ending(step: NarrowStep, at: Workspace) -> Any:
    """Return what takes a step from the sums of its blocks to new parameters; it gives the squares of the weights."""
    in_place, update, squared, clip = gradient_in_place(at), updating(step, at), squares_of_weights(at), clipping(at)
    stateless, own, partial, layers = step.stateless, at.gradient, at.partial, len(at.layers)

    def end(row, operands, space):
        gradient = advance(space, own) if stateless else operands[op.GRADIENT]
        state, squares = Update(gradient, number(space, 1.0), row, operands, space), 0.0
        if row[op.PENALISED]:
            squared(state)
            squares = sum_of(layers, advance(space, partial))
        in_place(state)
        if row[op.CLIPPED]:
            clip(state)
            factor = factor_of(2 * layers, advance(space, partial), operands[op.COEFFICIENTS][co.MAX_NORM])
            state = Update(gradient, factor, row, operands, space)
        update(state)
        return squares

    return kernel(end)
