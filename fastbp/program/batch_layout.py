"""The layout of a batch: where in one buffer everything lies that belongs to the rows of one batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..cached_property import cached_property
from .memory import round_up
from .network import Network

SQUARES = 16384  # weights summed to one partial of the L2 penalty


@dataclass(eq=False, repr=False)
class BatchLayout:
    """The places of outputs, gradients and sums of one batch; each begins on a cache line."""

    network: Network
    rows: int
    dtype: np.dtype[Any]
    thresholds: tuple[int, ...] = ()  # of dropout
    smoothed: bool = False  # targets

    @cached_property
    def _starts(self) -> dict[tuple[str, int], int]:
        net = self.network
        outputs = [self.rows * size for size in net.sizes[1:]]
        hidden = list(zip(net.activations, outputs, strict=False))
        tables = [(each.levels, each.width) for each in net.embeddings]
        squares = sum(-(-rows * columns // SQUARES) for rows, columns in (*net.layout.fans, *tables))
        first = self.rows * net.layout.fans[0][0]
        lengths = {
            "output": outputs,
            "gradient": outputs,
            "pre-activation": [length if activation.keeps_input else 0 for activation, length in hidden],
            "dropped": [length if self._drops(layer) else 0 for layer, (_, length) in enumerate(hidden)],
            "targets": [outputs[-1] if self.smoothed else 0],
            "losses": [self.rows],
            "squares": [squares],
            "clip factor": [1 + squares + len(net.layout.fans)],
            "inputs": [first],
            "input gradient": [first if tables or self._drops(-1) else 0],
            "levels": [self.rows for _ in tables],
            "end": [0],
        }
        starts, at = {}, 0
        for name, of_layers in lengths.items():
            for layer, length in enumerate(of_layers):
                starts[name, layer] = at
                at += round_up(length, self.dtype)
        return starts

    def _drops(self, layer: int) -> bool:
        """Return whether outputs of a hidden layer, or with layer -1 inputs, are dropped."""
        return bool(self.thresholds) and self.thresholds[layer + 1] > 0

    @property
    def copies_inputs(self) -> bool:
        """True if the first layer reads other numbers than the rows of X: vectors, or what dropout leaves."""
        return bool(self.network.embeddings) or self._drops(-1)

    def output(self, layer: int) -> int:
        """H of a layer, after its activation."""
        return self._starts["output", layer]

    def gradient(self, layer: int) -> int:
        """dH of a layer, before its activation; of layer -1: dX."""
        if layer >= 0:
            return self._starts["gradient", layer]
        return self._starts["input gradient", 0] if self.copies_inputs else self.inputs

    def pre_activation(self, layer: int) -> int:
        """H of a hidden layer before its activation, where the derivative needs it; else in the output's place."""
        kept = self.network.activations[layer].keeps_input
        return self._starts["pre-activation", layer] if kept else self.output(layer)

    def dropped(self, layer: int) -> int:
        """The output of a hidden layer after dropout; without dropout the output."""
        return self._starts["dropped", layer] if self._drops(layer) else self.output(layer)

    @property
    def targets(self) -> int:
        """Targets that label smoothing changed."""
        return self._starts["targets", 0]

    @property
    def losses(self) -> int:
        """A loss for each row."""
        return self._starts["losses", 0]

    @property
    def squares(self) -> int:
        """Partial sums of the weights' squares."""
        return self._starts["squares", 0]

    @property
    def clip_factor(self) -> int:
        """The factor that shortens a gradient, and behind it the sums of squares of the gradient's parts."""
        return self._starts["clip factor", 0]

    @property
    def inputs(self) -> int:
        """The rows of X, where a step fetches, embeds or drops them; else dX, which has a place of its own where both
        are needed."""
        return self._starts["inputs", 0]

    def levels(self, embedding: int) -> int:
        """The level of each row in the column of an embedding."""
        return self._starts["levels", embedding]

    @property
    def without_inputs(self) -> int:
        """Elements that a training step needs that does not fetch its rows."""
        return self.total if self.copies_inputs else self.inputs

    @property
    def total(self) -> int:
        """Elements of it all."""
        return self._starts["end", 0]
