"""From the gradient of the logits to that of all parameters, or of some of them."""

from __future__ import annotations

from collections.abc import Iterator

from .. import operations as op
from ..applied import applied
from ..jit import kernel
from ..microkernel import Left, Matrix
from ..packing import transpose_units
from ..simd import advance, greatest, lanes, least, load_whole, store_whole
from .blocks import Call, Cut, as_they_are, cut, multiply_matrices, strip_of_tiles, with_relu_mask
from .forms import Layer, Workspace, tiles
from .forward import drop_units
from .shares import rows_of_share, shares


def backward(at: Workspace, vectors: int) -> Iterator[Call]:
    """Give the way back to the gradient of the first layer's outputs."""
    ld = at.ld
    for index in range(len(at.layers) - 1, 0, -1):
        layer, before = at.layers[index], at.layers[index - 1]
        yield input_gradient_of(layer, before, ld, vectors)
        if before.outputs != layer.inputs:
            yield drop_units, index - 1, before.fan_out, ld, before.gradient, before.gradient
        if before.activation.in_loop:
            derivative = applied(before.activation.derivative, before.activation.constants)
            yield activate_backward, derivative, before.fan_out, ld, before.pre_activation, before.gradient


def turns(at: Workspace) -> list[Call]:
    """Return what writes each layer's gradient by rows."""
    return [
        (turn_to_rows, layer.fan_out, at.ld, layer.rows_ld, layer.gradient, layer.gradient_rows) for layer in at.layers
    ]


def parameter_gradients(at: Workspace) -> list[Call]:
    """Return what adds the block's part of each layer's gradient."""
    return [
        (parameter_gradient, *cut(layer.fan_in + 1, layer.gradient_tiles), at.ld, layer.rows_ld, layer.inputs,
         layer.gradient_rows, layer.parameter_gradient)
        for layer in at.layers
    ]  # fmt: skip


def shares_of_gradients(at: Workspace) -> list[Call]:
    """Return the same for those tiles that the table's row names."""
    return [
        (share_of_gradient, share, at.ld, layer.rows_ld, layer.inputs, layer.gradient_rows, layer.parameter_gradient)
        for layer, share in zip(at.layers, shares(at), strict=True)
    ]


def input_gradient_of(layer: Layer, before: Layer, ld: int, vectors: int) -> Call:
    """Return what computes the gradient of a layer's inputs, by units, in the place of the layer before."""
    of_tiles = cut(layer.fan_in, tiles(layer.fan_in, vectors, vectors))
    finish = with_relu_mask if any(before.activation.epilogues) else as_they_are
    return (input_gradient, *of_tiles, layer.fan_out, layer.weights, layer.gradient, before.gradient, before.outputs,
            ld, finish)  # fmt: skip


@kernel
def input_gradient(block, high, low, middle, rows, fan_out, weights, gradient, out, kept, ld, finish):
    left = Left(advance(block.operands[op.PARAMETERS], weights), 1, fan_out)
    right, to = Matrix(advance(block.space, gradient), ld), Matrix(advance(block.space, out), ld)
    outputs = advance(block.space, kept)
    multiply_matrices(Cut(high, low, middle, rows), block.width, fan_out, left, right, 0, finish, outputs, to)


@kernel
def activate_backward(block, derivative, units, ld, kept, gradient):
    """Multiply the gradient of a layer's outputs by its activation's derivative, in place."""
    coefficients = block.operands[op.COEFFICIENTS]
    for j in range(units):
        for r in range(0, block.width, lanes(block.space)):
            here = advance(block.space, j * ld + r)
            dy, x = load_whole(advance(here, gradient)), load_whole(advance(here, kept))
            store_whole(derivative(coefficients, 0, dy, x), advance(here, gradient))


@kernel
def turn_to_rows(block, units, ld, rows_ld, by_units, by_rows):
    """Write a buffer by rows, with zeros behind the units."""
    size = lanes(block.space)
    for j in range(0, rows_ld, size):
        for r in range(0, block.width, size):
            here, to = advance(block.space, by_units + j * ld + r), advance(block.space, by_rows + r * rows_ld + j)
            transpose_units(to, rows_ld, here, ld, units - j)


@kernel
def parameter_gradient(block, high, low, middle, rows, ld, rows_ld, inputs, by_rows, out):
    """Add the inputs' products with the gradient of the outputs; the last input is 1."""
    to = Matrix(advance(block.space, out), rows_ld)
    left, right = Left(advance(block.space, inputs), 1, ld), Matrix(advance(block.space, by_rows), rows_ld)
    multiply_matrices(Cut(high, low, middle, rows), rows_ld, block.rows, left, right, block.first, as_they_are,
                      to.start, to)  # fmt: skip


@kernel
def share_of_gradient(block, share, ld, rows_ld, inputs, by_rows, out):
    """Do the same for a share of the layer's rows, to the sums behind all blocks."""
    begin, end = rows_of_share(share, block.row)
    of, middle = share.cut, share.cut.middle
    to = Matrix(advance(block.operands[op.ACTIVATIONS], block.row[op.C] + out), rows_ld)
    left, right = Left(advance(block.space, inputs), 1, ld), Matrix(advance(block.space, by_rows), rows_ld)
    strip_of_tiles(of.high, begin, least(end, middle), rows_ld, block.rows, left, right, block.first, as_they_are,
                   to.start, to)  # fmt: skip
    strip_of_tiles(of.low, greatest(begin, middle), end, rows_ld, block.rows, left, right, block.first, as_they_are,
                   to.start, to)  # fmt: skip
