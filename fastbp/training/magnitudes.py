"""How large inputs and targets are, measured where training diverged: what its error says about them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels.losses import Loss

Array = NDArray[Any]
FAR = 5.0  # from order one: at the default rates SGD trains on targets whose mean magnitude is 3, and diverges at 10
LOOKED_AT = 1 << 20  # numbers of X


class Magnitudes(NamedTuple):
    """The mean magnitude of each feature, input scaling applied, and of each output of the targets."""

    inputs: NDArray[np.float64]
    targets: NDArray[np.float64]

    @classmethod
    def of(cls, inputs: Array, targets: Array) -> Magnitudes:
        """Look at the first rows of inputs (n, features) and of targets (n,) or (n, outputs)."""
        rows = min(len(inputs), len(targets), max(1, LOOKED_AT // inputs.shape[1]))
        with np.errstate(over="ignore", invalid="ignore"):
            return cls(*(np.abs(each[:rows].reshape(rows, -1)).mean(axis=0, dtype=np.float64)
                         for each in (inputs, targets)))  # fmt: skip

    def about_targets(self, loss: Loss) -> str:
        """How to train on targets that are far from order one, or "" where these are not, or are classes."""
        if loss.classifies or self.targets.max() <= FAR:
            return ""
        recipe = "(y - y.mean(axis=0)) / y.std(axis=0)" if loss.targets == "numbers" else "y / y.mean(axis=0)"
        return f"targets of order one ({_largest(self.targets)}; train on {recipe} and scale predictions back)"

    def about_inputs(self) -> str:
        """How to scale inputs that are far from order one, or "" where these are not."""
        if self.inputs.max() <= FAR:
            return ""
        return f"inputs of order one ({_largest(self.inputs)}; see input_shift and input_scale)"


def _largest(means: NDArray[np.float64]) -> str:
    column = f" of column {means.argmax()}" if len(means) > 1 else ""
    return f"the mean magnitude{column} is {means.max():.2g}"
