"""The training step and the predictions that are compiled for one network: all that their code follows from.

A narrow network's general pass is mostly decoding, masks and packing, and tiles that are mostly edge. Where all sizes
are constants of the code, that is gone. No compiler is imported here: the modules beside this one have the kernels.

Both work on blocks of rows that stay in the first cache. In a block all is stored by units, ``h[j, r]`` for unit j
of row r: lanes run along the rows, weights are read where they lie, and few outputs fill whole vectors. Every layer's
input has one more unit, which is 1: its weights are the biases, which lie behind the others in the parameters.
"""

from __future__ import annotations

import functools
import itertools
from typing import NamedTuple

import numpy as np

from ..activations import IDENTITY, Activation, named
from ..target import LONGEST_VECTOR, TARGET

STEP_PREFIX, FORWARD_PREFIX = "fastbp_step", "fastbp_forward"  # of the functions' names
BLOCK_VECTORS = 4  # of rows in a block: 32 of float32 by AVX2, whose numbers fill half of the first cache for 50 units
TILE_VECTORS = 2  # of rows in a register tile, where there are so many rows
SUM_LATENCY = 8  # multiply-adds that a processor begins, two a cycle, before the first of them is done


class Tiles(NamedTuple):
    """A cut of rows and vectors into register tiles: `high` tiles of `rows` rows, the others of a row less."""

    rows: int
    vectors: int
    high: int

    def heights(self, rows: int) -> list[int]:
        """Return the heights of all tiles of so many rows."""
        low = self.rows - 1
        return [self.rows] * self.high + [low] * ((rows - self.high * self.rows) // max(1, low))

    def cost(self, height: int, vectors: int) -> int:
        """Return what tiles of a height over so many vectors take for each k, in half cycles: of multiply-adds, of
        loads, or of waiting for sums."""
        return max(height * self.vectors, height + self.vectors, SUM_LATENCY) * -(-vectors // self.vectors)


@functools.cache
def tiles(rows: int, vectors: int, width: int = 0) -> Tiles:
    """Return the tiles that take the fewest cycles for so many rows and vectors, `width` vectors wide if it is given.

    A tile's sums, a row of the right operand and an entry of the left one are in registers.
    """
    found = []
    for wide in (width,) if width else range(1, min(vectors, 4) + 1):
        count = -(-rows // ((TARGET.registers - 1 - wide) // wide))
        height = -(-rows // count)
        candidate = Tiles(height, wide, rows - count * (height - 1))
        found.append((count * candidate.cost(height, vectors), candidate))
    return min(found)[1]


class Layer(NamedTuple):
    """A layer in the code.

    Attributes
    ----------
    fan_in, fan_out, weights : int
        Its sizes, and where its weights begin in the parameters.
    activation : Activation
        That of the outputs is the identity.
    inputs, pre_activation, outputs, gradient : int
        Where these begin in the workspace, by units; `gradient` is that of the pre-activation.
    gradient_rows, rows_ld : int
        Where the same gradient begins by rows, and how far apart these are.
    parameter_gradient : int
        Where the sums of its parameters' gradient begin, ``(fan_in + 1, rows_ld)``.
    gradient_tiles : Tiles
        The tiles of these.
    """

    fan_in: int
    fan_out: int
    weights: int
    activation: Activation
    inputs: int
    pre_activation: int
    outputs: int
    gradient: int
    gradient_rows: int
    rows_ld: int
    parameter_gradient: int
    gradient_tiles: Tiles


class Workspace(NamedTuple):
    """Where everything lies in the workspace of a step, in elements; a row of a block's buffer has `ld` elements.

    Where several threads share a step, many blocks lie behind one another, and the sums behind the last.
    """

    ld: int
    layers: tuple[Layer, ...]
    targets: int  # by outputs; labels are a vector of numbers
    partial: int  # sums of classes, a vector for each lane; and of squares, two for each layer
    losses: int
    block: int  # the elements of all that belongs to a block; the sums of all blocks come behind
    gradient: int  # of all parameters, as they lie
    total: int


# What a step's function does: all of it, for one thread; or, where several share it, what belongs to some rows, and the
# sums over all rows, with the update, of some parameters.
PARTS = WHOLE, ROWS, SUMS = "whole", "rows", "sums"


class NarrowStep(NamedTuple):
    """A training step for one network, or a part of it; its function is an operation of the compiled pass.

    Attributes
    ----------
    sizes : tuple of int
    activations : tuple of str
        Those of the hidden layers.
    loss : str
        "labels" or "targets" of softmax with cross-entropy, or the formula of an elementwise loss.
    update : str
        The form of the update.
    dropout : bool
    tile_vectors : int
        The vectors of rows in a register tile.
    dtype : str
    part : str
        Which of `PARTS`.
    """

    sizes: tuple[int, ...]
    activations: tuple[str, ...]
    loss: str
    update: str
    dropout: bool
    tile_vectors: int
    dtype: str
    part: str = WHOLE

    @property
    def symbol(self) -> str:
        sizes, dropout = "x".join(map(str, self.sizes)), ["dropout"] * self.dropout
        parts = (STEP_PREFIX, sizes, *self.activations, self.loss, self.update, *dropout, self.tile_vectors)
        return "_".join(map(str, (*parts, self.dtype, self.part)))

    @property
    def lanes(self) -> int:
        return TARGET.lanes(np.dtype(self.dtype))

    @property
    def parameters(self) -> int:
        """The number of parameters."""
        return sum((fan_in + 1) * fan_out for fan_in, fan_out in itertools.pairwise(self.sizes))

    def workspace(self) -> Workspace:
        """Return where everything lies."""
        return _workspace(self.sizes, self.activations, self.lanes, self.dropout, self.parameters + self.lanes)


class NarrowForward(NamedTuple):
    """Predictions of one network; their function is an operation of the compiled pass.

    Attributes
    ----------
    sizes : tuple of int
    activations : tuple of str
        Those of the hidden layers.
    output : str
        "softmax", the name of the function that makes outputs of logits, or "logits".
    dtype : str
    """

    sizes: tuple[int, ...]
    activations: tuple[str, ...]
    output: str
    dtype: str

    @property
    def symbol(self) -> str:
        return "_".join((FORWARD_PREFIX, "x".join(map(str, self.sizes)), *self.activations, self.output, self.dtype))

    @property
    def lanes(self) -> int:
        return TARGET.lanes(np.dtype(self.dtype))

    def workspace(self) -> Workspace:
        """Return where everything lies; there is room for a gradient, which none of it needs."""
        return _workspace(self.sizes, self.activations, self.lanes, False, 0)


@functools.lru_cache(maxsize=64)
def _workspace(sizes: tuple[int, ...], activations: tuple[str, ...], lanes: int, dropout: bool,
               gradient: int) -> Workspace:  # fmt: skip
    ld, at = BLOCK_VECTORS * lanes, 0

    def place(elements: int) -> int:
        nonlocal at
        begin, at = at, at + -(-elements // LONGEST_VECTOR) * LONGEST_VECTOR
        return begin

    # X is transposed in squares of vectors, whose surplus rows come before the unit that is 1 is written.
    layers, inputs, weights = [], place(max(sizes[0] + 1, -(-sizes[0] // lanes) * lanes) * ld), 0
    for number, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        hidden = number < len(activations)
        activation = named(activations[number] if hidden else IDENTITY.name)
        after = place((fan_out + 1) * ld)  # the next layer's inputs
        outputs = place(fan_out * ld) if hidden and dropout else after
        kept = activation.keeps_input
        cut = tiles(fan_in + 1, -(-fan_out // lanes))
        rows_ld = -(-fan_out // (cut.vectors * lanes)) * cut.vectors * lanes
        layers.append(Layer(
            fan_in, fan_out, weights, activation, inputs, place(fan_out * ld) if kept else outputs, outputs,
            place(fan_out * ld), place(ld * rows_ld), rows_ld, 0, cut,
        ))  # fmt: skip
        inputs, weights = after, weights + (fan_in + 1) * fan_out
    targets, losses = place(-(-sizes[-1] // lanes) * lanes * ld), place(ld)
    partial = place(max(lanes * lanes, 2 * len(layers)))
    block = at
    layers = [layer._replace(parameter_gradient=place((layer.fan_in + 1) * layer.rows_ld)) for layer in layers]
    return Workspace(ld, tuple(layers), targets, partial, losses, block, place(gradient), at)
