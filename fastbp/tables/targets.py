"""Targets that are numbers, brought to order one for training."""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy.typing import NDArray

from ..network import MLP


class TargetScaling(NamedTuple):
    """The mean and the deviation of targets; a network is trained on ``(t - shift) / scale``."""

    shift: float
    scale: float

    def scaled(self, targets: NDArray[Any]) -> NDArray[Any]:
        """Return targets as the network is trained on them."""
        scaled: NDArray[Any] = (targets - self.shift) / self.scale
        return scaled

    def fold_into(self, net: MLP) -> None:
        """Change the last layer of a network that was trained on them so that it predicts the targets themselves.

        ``(h W + b) scale + shift = h (W scale) + (b scale + shift)``.
        """
        net.weights[-1][...] *= self.scale
        net.biases[-1][...] = net.biases[-1] * self.scale + self.shift
