"""The objective that is differentiated numerically, and how near a network comes to its kinks.

The formulas are the rows of `fastbp.reference`; the network around them is written out again. `reference.loss` would
copy every argument of every layer, which takes four times as long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import reference
from ..reference.tables import values_of
from .tally import Array

NO_TABLES: Mapping[int, Array] = {}


class Objective:
    """The objective of a network, as a function of its parameters and its inputs.

    Parameters
    ----------
    activations : sequence of str
        One for each hidden layer.
    loss : str
    constants : dict of str to float or array
        Those of the activations and the loss.
    shift, scale : array, optional
        Those of the inputs.

    The tables of embedded columns come with the parameters, by column.
    """

    def __init__(
        self,
        activations: Sequence[str],
        loss: str,
        constants: Mapping[str, Any],
        shift: Array | None = None,
        scale: Array | None = None,
    ):
        rows = [reference.ACTIVATIONS[name] for name in activations]
        self._activations = [(row, values_of(row.constants, constants)) for row in rows]
        self._loss = reference.LOSSES[loss]
        self._constants = values_of(self._loss.constants, constants)
        self._shift: Any = 0.0 if shift is None else shift.astype(np.float64)
        self._scale: Any = 1.0 if scale is None else scale.astype(np.float64)

    def __call__(
        self,
        weights: Sequence[Array],
        biases: Sequence[Array],
        X: Array,
        t: Array,
        l2: float,
        sample_weight: Array | None = None,
        masks: Sequence[Array] | None = None,
        tables: Mapping[int, Array] = NO_TABLES,
    ) -> float:
        """Return the weighted mean of the rows' losses, and the penalty; `t` are targets as (n, outputs)."""
        inputs = self.inputs(X, tables)
        entries = self._loss.value(self._pre_activations(weights, biases, inputs, masks)[-1], t, **self._constants)
        losses = entries.sum(axis=1) / (entries.shape[1] if self._loss.mean else 1)
        w = np.ones(len(X)) if sample_weight is None else sample_weight
        return float((w * losses).sum() / w.sum() + l2 / 2 * sum((W * W).sum() for W in (*weights, *tables.values())))

    def inputs(self, X: Array, tables: Mapping[int, Array] = NO_TABLES) -> Array:
        """Return what the first layer reads of X: the vectors of a table are those of the nearest whole numbers."""
        h: Array = (X.astype(np.float64) - self._shift) * self._scale
        if not tables:
            return h
        vectors = [table[np.rint(X[:, column]).astype(int)] for column, table in sorted(tables.items())]
        return np.concatenate([np.delete(h, list(tables), axis=1), *vectors], axis=1)

    def nearest_kink(
        self, weights: Sequence[Array], biases: Sequence[Array], X: Array, t: Array, masks: Sequence[Array] | None,
        tables: Mapping[int, Array] = NO_TABLES,
    ) -> Array:  # fmt: skip
        """Return how near each row comes to a kink: of an activation in a pre-activation, or of the loss in a logit."""
        nearest = np.full(len(X), np.inf)
        if self._loss.kink is None and all(row.kink is None for row, _ in self._activations):
            return nearest
        *hidden, logits = self._pre_activations(weights, biases, self.inputs(X, tables), masks)
        for (row, constants), x in zip(self._activations, hidden, strict=True):
            if row.kink is not None:
                nearest = np.minimum(nearest, row.kink(x, **constants).min(axis=1))
        if self._loss.kink is not None:
            nearest = np.minimum(nearest, self._loss.kink(logits, t, **self._constants).min(axis=1))
        return nearest

    def _pre_activations(
        self, weights: Sequence[Array], biases: Sequence[Array], h: Array, masks: Sequence[Array] | None
    ) -> list[Array]:
        """Return the input of each activation, and the logits; h is the first layer's input."""
        found: list[Array] = []
        for layer, (W, b) in enumerate(zip(weights, biases, strict=True)):
            found.append(h @ W.astype(np.float64) + b)
            if layer < len(self._activations):
                row, constants = self._activations[layer]
                h = row.forward(found[-1], **constants)
                h = h if masks is None else h * masks[layer]
        return found
