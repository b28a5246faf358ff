"""From the gradient of the logits to that of all parameters."""

from __future__ import annotations

from typing import Any

from .. import operations as op
from ..applied import applied
from ..jit import kernel
from ..microkernel import Left, Matrix
from ..packing import transpose_units
from ..simd import advance, lanes, load_whole, store_whole
from .blocks import as_they_are, in_turn, nothing, product, with_relu_mask
from .forms import Layer, Workspace, tiles
from .forward import dropping


def backward(at: Workspace, vectors: int) -> Any:
    """Return the way back from the gradient of the logits to that of the first layer's outputs."""
    parts: list[Any] = [nothing]
    for index in range(len(at.layers) - 1, 0, -1):
        before = at.layers[index - 1]
        fused = any(before.activation.epilogues)
        parts.append(input_gradient(at.layers[index], before, at.ld, vectors, fused))
        if before.outputs != at.layers[index].inputs:
            parts.append(dropping(index - 1, before, at.ld, before.gradient, before.gradient))
        if before.activation.in_loop:
            parts.append(derivative_of(before, at.ld))
    return in_turn(parts)


def input_gradient(layer: Layer, before: Layer, ld: int, vectors: int, masked: bool) -> Any:
    """Return what computes the gradient of a layer's inputs, by units, in the place of the layer before."""
    finish = with_relu_mask if masked else as_they_are
    multiply_matrices = product(layer.fan_in, tiles(layer.fan_in, vectors, vectors), finish)
    weights, fan_out, gradient = layer.weights, layer.fan_out, layer.gradient
    out, kept = before.gradient, before.outputs

    def compute(block):
        left = Left(advance(block.operands[op.PARAMETERS], weights), 1, fan_out)
        right, to = Matrix(advance(block.space, gradient), ld), Matrix(advance(block.space, out), ld)
        multiply_matrices(block.width, fan_out, left, right, 0, advance(block.space, kept), to)

    return kernel(compute)


def parameter_gradients(at: Workspace) -> Any:
    """Return what adds the block's rows to the gradient of all parameters."""
    return in_turn(parameter_gradient(layer, at.ld) for layer in at.layers)


def parameter_gradient(layer: Layer, ld: int) -> Any:
    """Return what adds the inputs' products with the gradient of the outputs, for which that is written by rows."""
    fan_in, fan_out, rows_ld = layer.fan_in, layer.fan_out, layer.rows_ld
    inputs, gradient, by_rows, out = layer.inputs, layer.gradient, layer.gradient_rows, layer.parameter_gradient
    multiply_matrices = product(fan_in + 1, layer.gradient_tiles)

    def compute(block):
        space, size = block.space, lanes(block.space)
        for j in range(0, rows_ld, size):
            for r in range(0, block.width, size):
                here, to = advance(space, gradient + j * ld + r), advance(space, by_rows + r * rows_ld + j)
                transpose_units(to, rows_ld, here, ld, fan_out - j)
        to = Matrix(advance(space, out), rows_ld)
        left, right = Left(advance(space, inputs), 1, ld), Matrix(advance(space, by_rows), rows_ld)
        multiply_matrices(rows_ld, block.rows, left, right, block.first, to.start, to)

    return kernel(compute)


def derivative_of(layer: Layer, ld: int) -> Any:
    """Return what multiplies the gradient of a layer's outputs by its activation's derivative, in place."""
    derivative = applied(layer.activation.derivative, layer.activation.constants)
    units, kept, gradient = layer.fan_out, layer.pre_activation, layer.gradient

    def activate_backward(block):
        coefficients = block.operands[op.COEFFICIENTS]
        for j in range(units):
            for r in range(0, block.width, lanes(block.space)):
                here = advance(block.space, j * ld + r)
                dy, x = load_whole(advance(here, gradient)), load_whole(advance(here, kept))
                store_whole(derivative(coefficients, 0, dy, x), advance(here, gradient))

    return kernel(activate_backward)
