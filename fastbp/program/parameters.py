"""The layout of a network's parameters: one flat buffer, and where in it each layer's weights and biases lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from ..cached_property import cached_property

Array = NDArray[Any]


@dataclass(eq=False, repr=False)
class ParameterLayout:
    """Weights and biases of every layer, one behind the other: W1, b1, W2, b2, ...

    Parameters
    ----------
    sizes : tuple of int
        Features of the input and of every layer's output.

    Examples
    --------
    >>> layout = ParameterLayout((2, 3, 4))
    >>> layout.total, layout.weight_starts, layout.bias_starts
    (25, (0, 9), (6, 21))
    """

    sizes: tuple[int, ...]

    @cached_property
    def weight_starts(self) -> tuple[int, ...]:
        starts, at = [], 0
        for fan_in, fan_out in self.fans:
            starts.append(at)
            at += fan_in * fan_out + fan_out
        return tuple(starts)

    @property
    def fans(self) -> tuple[tuple[int, int], ...]:
        """(fan_in, fan_out) of each layer."""
        return tuple(zip(self.sizes[:-1], self.sizes[1:], strict=True))

    @property
    def bias_starts(self) -> tuple[int, ...]:
        return tuple(start + i * o for start, (i, o) in zip(self.weight_starts, self.fans, strict=True))

    @property
    def total(self) -> int:
        """Number of parameters."""
        return sum(fan_in * fan_out + fan_out for fan_in, fan_out in self.fans)

    def weights(self, flat: Array) -> list[Array]:
        """Views (fan_in, fan_out) into a vector of `total` entries."""
        return [flat[at : at + i * o].reshape(i, o) for at, (i, o) in zip(self.weight_starts, self.fans, strict=True)]

    def biases(self, flat: Array) -> list[Array]:
        """Views (fan_out,) into a vector of `total` entries."""
        return [flat[at : at + o] for at, (_, o) in zip(self.bias_starts, self.fans, strict=True)]

    @cached_property
    def layers(self) -> tuple[tuple[tuple[int, int], int, int], ...]:
        """(fan_in, fan_out), the start of the weights and that of the biases, of each layer."""
        return tuple(zip(self.fans, self.weight_starts, self.bias_starts, strict=True))
