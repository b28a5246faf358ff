"""From the rows of X to logits."""

from __future__ import annotations

from collections.abc import Iterator

from .. import operations as op
from ..applied import applied
from ..elementwise import drop_by_units
from ..jit import kernel
from ..microkernel import Left, Matrix
from ..packing import transpose_chosen, transpose_in_order
from ..simd import advance, filled, integers, keys, lanes, load_whole, number, store_whole
from .blocks import Call, Cut, as_they_are, cut, multiply_matrices, with_relu
from .forms import Layer, Workspace, tiles


def forward(at: Workspace, vectors: int) -> Iterator[Call]:
    """Give the whole way from X to logits, by tiles of so many vectors of rows."""
    first, ld = at.layers[0], at.ld
    yield fetch, first.fan_in, ld, first.inputs
    for layer in at.layers:
        yield fill_with_ones, layer.inputs + layer.fan_in * ld
    for index, layer in enumerate(at.layers):
        yield affine_of(layer, ld, vectors)
        if layer.activation.in_loop:
            yield activation_of(layer, ld)
        if layer is not at.layers[-1] and (after := at.layers[index + 1].inputs) != layer.outputs:
            yield drop_units, index, layer.fan_out, ld, layer.outputs, after


@kernel
def fetch(block, features, ld, inputs):
    """Bring the block's rows of X, in their order where there is one."""
    size, x, order = lanes(block.space), block.operands[op.INPUTS], integers(block.operands[op.ORDER])
    first, end = block.first, block.first + block.rows
    for r in range(0, block.width, size):
        for c in range(0, features, size):
            to, here, left = advance(block.space, inputs + c * ld + r), advance(x, c), features - c
            if block.row[op.FETCHED]:
                transpose_chosen(to, ld, here, features, order, first + r, end, left)
            else:
                transpose_in_order(to, ld, here, features, order, first + r, end, left)


@kernel
def fill_with_ones(block, at):
    one = filled(block.space, number(block.space, 1.0))
    for r in range(0, block.width, lanes(block.space)):
        store_whole(one, advance(block.space, at + r))


def affine_of(layer: Layer, ld: int, vectors: int) -> Call:
    """Return a layer's product, whose biases come last."""
    of_tiles = cut(layer.fan_out, tiles(layer.fan_out, vectors, vectors))
    finish = with_relu if any(layer.activation.epilogues) else as_they_are
    return (affine, *of_tiles, layer.fan_in + 1, layer.fan_out, layer.weights, layer.inputs, layer.pre_activation, ld,
            finish)  # fmt: skip


@kernel
def affine(block, high, low, middle, rows, depth, fan_out, weights, inputs, out, ld, finish):
    left = Left(advance(block.operands[op.PARAMETERS], weights), fan_out, 1)
    right, to = Matrix(advance(block.space, inputs), ld), Matrix(advance(block.space, out), ld)
    multiply_matrices(Cut(high, low, middle, rows), block.width, depth, left, right, 0, finish, to.start, to)


def activation_of(layer: Layer, ld: int) -> Call:
    """Return the application of an activation that no tile applies."""
    value = applied(layer.activation.value, layer.activation.constants)
    return activate, value, layer.fan_out, ld, layer.pre_activation, layer.outputs


@kernel
def activate(block, value, units, ld, source, target):
    coefficients = block.operands[op.COEFFICIENTS]
    for j in range(units):
        for r in range(0, block.width, lanes(block.space)):
            here = advance(block.space, j * ld + r)
            store_whole(value(coefficients, 0, load_whole(advance(here, source))), advance(here, target))


@kernel
def drop_units(block, layer, units, ld, source, target):
    key, threshold, first = keys(block.operands)[op.KEY], block.row[op.THRESHOLD], block.first
    x, y = advance(block.space, source), advance(block.space, target)
    drop_by_units(first, block.width, units, ld, layer, threshold, key, x, y)
