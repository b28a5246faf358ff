"""One flat buffer of parameters, and where in it each layer's weights and biases lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import validation
from .kept import kept

Array = NDArray[Any]


@dataclass(frozen=True)
class Layout:
    """Weights and biases of every layer, one behind the other: W1, b1, W2, b2, ...

    Parameters
    ----------
    sizes : tuple of int
        Features of the input and of every layer's output.

    Examples
    --------
    >>> layout = Layout((2, 3, 4))
    >>> layout.total, layout.weight_starts, layout.bias_starts
    (25, (0, 9), (6, 21))
    """

    sizes: tuple[int, ...]

    @kept
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


INITIALIZERS = ("he", "glorot", "he_uniform", "glorot_uniform")


def initialise(layout: Layout, flat: Array, rng: np.random.Generator, initializer: Any, of_layers: list[str]) -> None:
    """Fill in parameters: by the initializer named, by one a layer for None, or from arrays W1, b1, W2, b2, ...

    Drawn in float64 and rounded; biases are 0.
    """
    if initializer is None or isinstance(initializer, str):
        name = None if initializer is None else validation.choice("initializer", initializer, INITIALIZERS)
        for weights, of_layer in zip(layout.weights(flat), of_layers, strict=True):
            weights[...] = draw(name or of_layer, weights.shape, rng)
        for biases in layout.biases(flat):
            biases[...] = 0.0
        return
    given = validation.as_list(initializer)
    places = [place for pair in zip(layout.weights(flat), layout.biases(flat), strict=True) for place in pair]
    if given is None or len(given) != len(places):
        came = "nothing of them" if given is None else f"{len(given)} arrays"
        raise ValueError(f"initializer: got {came}, expected {' or '.join(INITIALIZERS)}, or {len(places)} arrays: "
                         "W1, b1, W2, b2, ...")  # fmt: skip
    for i, (place, value) in enumerate(zip(places, given, strict=True)):
        array = validation.real_array(f"initializer[{i}]", value)
        validation.shape(f"initializer[{i}]", array, place.shape)
        with np.errstate(over="ignore"):
            place[...] = array
        validation.finite(f"initializer[{i}]", place)


def draw(initializer: str, shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """Weights (fan_in, fan_out) of variance 2/fan_in (He) or 2/(fan_in + fan_out) (Glorot)."""
    fan_in, fan_out = shape
    deviation = np.sqrt(2.0 / fan_in if initializer.startswith("he") else 2.0 / (fan_in + fan_out))
    if initializer.endswith("uniform"):
        return rng.uniform(-np.sqrt(3.0) * deviation, np.sqrt(3.0) * deviation, shape)
    return rng.normal(0.0, deviation, shape)
