"""From the rows of X to logits."""

from __future__ import annotations

from typing import Any

from .. import operations as op
from ..applied import applied
from ..elementwise import drop
from ..jit import kernel
from ..microkernel import Left, Matrix
from ..packing import transpose_chosen, transpose_in_order
from ..simd import advance, filled, integers, keys, lanes, load_whole, number, store_whole
from .blocks import as_they_are, in_turn, product, with_relu
from .forms import Layer, Workspace, tiles


def fetching(at: Workspace) -> Any:
    """Return what brings the block's rows of X, in their order where there is one, and sets the units that are 1."""
    features, ld, inputs = at.layers[0].fan_in, at.ld, at.layers[0].inputs
    units = in_turn([unit_of_ones(layer.inputs + layer.fan_in * ld) for layer in at.layers])

    def fetch(block):
        size, x, order = lanes(block.space), block.operands[op.INPUTS], integers(block.operands[op.ORDER])
        first, end = block.first, block.first + block.rows
        for r in range(0, block.width, size):
            for c in range(0, features, size):
                to, here, left = advance(block.space, inputs + c * ld + r), advance(x, c), features - c
                if block.row[op.FETCHED]:
                    transpose_chosen(to, ld, here, features, order, first + r, end, left)
                else:
                    transpose_in_order(to, ld, here, features, order, first + r, end, left)
        units(block)

    return kernel(fetch)


def unit_of_ones(at: int) -> Any:
    def fill(block):
        one = filled(block.space, number(block.space, 1.0))
        for r in range(0, block.width, lanes(block.space)):
            store_whole(one, advance(block.space, at + r))

    return kernel(fill)


def activation_of(layer: Layer, ld: int) -> Any:
    """Return what applies an activation that no tile applies."""
    value = applied(layer.activation.value, layer.activation.constants)
    units, source, target = layer.fan_out, layer.pre_activation, layer.outputs

    def activate(block):
        coefficients = block.operands[op.COEFFICIENTS]
        for j in range(units):
            for r in range(0, block.width, lanes(block.space)):
                here = advance(block.space, j * ld + r)
                store_whole(value(coefficients, 0, load_whole(advance(here, source))), advance(here, target))

    return kernel(activate)


def dropping(index: int, layer: Layer, ld: int, source: int, target: int) -> Any:
    units = layer.fan_out

    def apply(block):
        key, threshold = keys(block.operands)[op.KEY], block.row[op.THRESHOLD]
        first, rows = block.row[op.ROW_BEGIN] + block.first, block.width
        drop(first, rows, 1, units, ld, index, threshold, key, advance(block.space, source),
             advance(block.space, target))  # fmt: skip

    return kernel(apply)


def forward(at: Workspace, vectors: int) -> Any:
    """Return the whole way from inputs to logits, by tiles of so many vectors of rows."""
    parts, ld = [], at.ld
    for index, layer in enumerate(at.layers):
        fused = any(layer.activation.epilogues)
        parts.append(affine(layer, ld, vectors, with_relu if fused else as_they_are))
        if layer.activation.in_loop:
            parts.append(activation_of(layer, ld))
        if layer is not at.layers[-1] and (after := at.layers[index + 1].inputs) != layer.outputs:
            parts.append(dropping(index, layer, ld, layer.outputs, after))
    return in_turn(parts)


def affine(layer: Layer, ld: int, vectors: int, finish: Any) -> Any:
    """Return a layer's product: its weights, by units of the output, times its inputs; the biases come last."""
    multiply_matrices = product(layer.fan_out, tiles(layer.fan_out, vectors, vectors), finish)
    weights, fan_out, inputs, out, depth = (
        layer.weights, layer.fan_out, layer.inputs, layer.pre_activation, layer.fan_in + 1,
    )  # fmt: skip

    def compute(block):
        left = Left(advance(block.operands[op.PARAMETERS], weights), fan_out, 1)
        right, to = Matrix(advance(block.space, inputs), ld), Matrix(advance(block.space, out), ld)
        multiply_matrices(block.width, depth, left, right, 0, to.start, to)

    return kernel(compute)
