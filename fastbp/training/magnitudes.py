"""The magnitude of inputs and targets, measured when training diverges, for the advice in the error."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels.losses import Loss
from ..program.parameters import Embedding

Array = NDArray[Any]
LARGE = 5.0  # mean magnitude: at the default rates SGD trains on targets of mean magnitude 3, and diverges at 10
SAMPLED = 1 << 20  # numbers of X


class Magnitudes(NamedTuple):
    """The mean magnitude of each feature, input scaling applied, and of each output of the targets."""

    inputs: NDArray[np.float64]
    targets: NDArray[np.float64]

    @classmethod
    def of(cls, inputs: Array, targets: Array, embeddings: tuple[Embedding, ...]) -> Magnitudes:
        """Measure the first rows of inputs (n, features), in which levels count as 0, and of targets (n,) or
        (n, outputs)."""
        rows = min(len(inputs), len(targets), max(1, SAMPLED // inputs.shape[1]))
        with np.errstate(over="ignore", invalid="ignore"):
            found = cls(_mean_magnitudes(inputs[:rows]), _mean_magnitudes(targets[:rows]))
        found.inputs[[each.column for each in embeddings]] = 0.0
        return found

    def about_targets(self, loss: Loss) -> str:
        """Return advice on targets far larger than 1; "" where they are not, or where they are classes."""
        if loss.classifies or self.targets.max() <= LARGE:
            return ""
        recipe = "(y - y.mean(axis=0)) / y.std(axis=0)" if loss.targets == "numbers" else "y / y.mean(axis=0)"
        return f"targets of order one ({_largest(self.targets)}; train on {recipe} and scale predictions back)"

    def about_inputs(self) -> str:
        """Return advice on inputs far larger than 1; "" where they are not."""
        if self.inputs.max() <= LARGE:
            return ""
        return f"inputs of order one ({_largest(self.inputs)}; see input_shift and input_scale)"


def _mean_magnitudes(values: Array) -> NDArray[np.float64]:
    """Return the mean magnitude of each column."""
    means: NDArray[np.float64] = np.abs(values.reshape(len(values), -1)).mean(axis=0, dtype=np.float64)
    return means


def _largest(means: NDArray[np.float64]) -> str:
    column = f" of column {means.argmax()}" if len(means) > 1 else ""
    return f"the mean magnitude{column} is {means.max():.2g}"
