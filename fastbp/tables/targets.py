"""Targets that are numbers, brought to order one for training."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..network import MLP

Array = NDArray[Any]


class TargetScaling(NamedTuple):
    """The mean and the deviation of targets, of all or of each; a network is trained on ``(t - shift) / scale``."""

    shift: Any
    scale: Any

    @classmethod
    def of(cls, targets: Array, weights: Array | None) -> TargetScaling:
        """Return the scaling of targets (n, outputs): 1 for a deviation of 1, and never less than their rounding."""
        limits, unit = np.finfo(np.float64), float(np.abs(targets).max()) or 1.0
        of_unit = targets / unit  # so that no square is beyond what float64 holds
        shift = np.average(of_unit, axis=0, weights=weights)
        scale = np.sqrt(np.average(np.square(of_unit - shift), axis=0, weights=weights))
        rounding = len(targets) * limits.eps * np.abs(shift)
        return cls(shift * unit, np.maximum(np.maximum(scale, rounding) * unit, limits.tiny))

    def scaled(self, targets: Array) -> Array:
        """Return targets as the network is trained on them."""
        scaled: Array = (targets - self.shift) / self.scale
        return scaled

    def unscaled(self, outputs: Array) -> Array:
        """Return what a network's outputs stand for."""
        unscaled: Array = outputs * self.scale + self.shift
        return unscaled

    def fold_into(self, net: MLP) -> None:
        """Change the last layer of a network that was trained on them so that it predicts the targets themselves.

        ``(h W + b) scale + shift = h (W scale) + (b scale + shift)``.
        """
        net.weights[-1][...] *= self.scale
        net.biases[-1][...] = net.biases[-1] * self.scale + self.shift
