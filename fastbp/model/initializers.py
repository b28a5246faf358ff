"""Initial parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import validation
from ..program.parameters import ParameterLayout

Array = NDArray[Any]
VARIANCES = {  # of weights (fan_in, fan_out)
    "he": lambda fan_in, fan_out: 2.0 / fan_in,
    "glorot": lambda fan_in, fan_out: 2.0 / (fan_in + fan_out),
    "lecun": lambda fan_in, fan_out: 1.0 / fan_in,
}
UNIFORM = "_uniform"
INITIALIZERS = (*VARIANCES, *(name + UNIFORM for name in VARIANCES))


def initialise(
    layout: ParameterLayout, flat: Array, rng: np.random.Generator, initializer: Any, of_layers: list[str]
) -> None:
    """Fill in the initial parameters.

    Parameters
    ----------
    layout : ParameterLayout
    flat : array (n_parameters,)
        Filled in place.
    rng : numpy.random.Generator
        Draws weights, and then the embeddings' tables, in float64, which are rounded. Biases are 0.
    initializer : str, None or sequence of array
        A name from `INITIALIZERS`, None for `of_layers`, or arrays W1, b1, W2, b2, ..., and behind them the tables.
        With a name, tables are drawn from the standard normal distribution: the first layer's inputs then have a
        variance of 1, which the variances of weights go by.
    of_layers : list of str
        The default initializer of each layer.
    """
    if initializer is None or isinstance(initializer, str):
        name = None if initializer is None else validation.choice("initializer", initializer, INITIALIZERS)
        for weights, of_layer in zip(layout.weights(flat), of_layers, strict=True):
            weights[...] = draw(name or of_layer, weights.shape, rng)
        for biases in layout.biases(flat):
            biases[...] = 0.0
        for table in layout.tables(flat).values():
            table[...] = rng.standard_normal(table.shape)
        return
    names = f"{' or '.join(INITIALIZERS)}, or "
    for i, place in enumerate(copy_in_order("initializer", initializer, layout, flat, names)):
        validation.finite(f"initializer[{i}]", place)


def copy_in_order(name: str, value: Any, layout: ParameterLayout, flat: Array, otherwise: str = "") -> list[Array]:
    """Copy arrays W1, b1, W2, b2, ..., and behind them the tables, to a flat vector; return their places in it.

    Parameters
    ----------
    name : str
        What errors call `value`.
    value : sequence of array
        ValueError or TypeError where there are too few or too many, or one has another shape or is not real.
    layout : ParameterLayout
    flat : array (n_parameters,)
    otherwise : str
        What else might have come, for the error.
    """
    given = validation.as_list(value)
    places = [place for pair in zip(layout.weights(flat), layout.biases(flat), strict=True) for place in pair]
    places += layout.tables(flat).values()
    if given is None or len(given) != len(places):
        got = repr(value) if given is None else f"{len(given)} arrays"
        behind = ", then the embeddings' tables" if layout.embeddings else ""
        raise ValueError(f"{name}: got {got}, expected {otherwise}{len(places)} arrays: W1, b1, W2, b2, ...{behind}")
    for i, (place, each) in enumerate(zip(places, given, strict=True)):
        array = validation.real_array(f"{name}[{i}]", each)
        validation.shape(f"{name}[{i}]", array, place.shape)
        with np.errstate(over="ignore"):  # to infinity
            place[...] = array
    return places


def draw(initializer: str, shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """Draw weights (fan_in, fan_out) of the initializer's variance, normal or uniform."""
    deviation = np.sqrt(VARIANCES[initializer.removesuffix(UNIFORM)](*shape))
    if initializer.endswith(UNIFORM):
        return rng.uniform(-np.sqrt(3.0) * deviation, np.sqrt(3.0) * deviation, shape)
    return rng.normal(0.0, deviation, shape)
