"""Networks with inputs, as cases of exports that must answer as fastbp does."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import fastbp
from fastbp.kernels.activations import ACTIVATIONS
from fastbp.kernels.losses import LOSSES
from support.networks import network

DTYPES = ("float32", "float64")
CONSTANTS = {"leaky_slope": 0.3, "elu_alpha": 0.7}
# One output and more than a vector has; one unit; no hidden layer; several, of odd widths.
SHAPES = ((1, 1), (5, 3), (3, 1, 4), (7, 13, 9, 3), (33, 40, 17), (4, 128, 128, 2))


class Case(NamedTuple):
    """A network, rows for it, and a name for the test."""

    name: str
    net: fastbp.MLP
    X: Any


def cases() -> list[Case]:
    return [*activation_cases(), *network_cases()]


def activation_cases() -> Iterator[Case]:
    """Every activation over all magnitudes, between layers that change nothing."""
    for dtype, activation in itertools.product(DTYPES, ACTIVATIONS):
        arrays = [[[1.0]], [0.0], [[1.0]], [0.0]]
        net = fastbp.MLP((1, 1, 1), activation, "mean_squared_error", dtype, initializer=arrays, **CONSTANTS)
        yield Case(f"{activation} {dtype}", net, everywhere(dtype))


def network_cases() -> Iterator[Case]:
    """Every activation, loss and shape, with scaled inputs and without."""
    for dtype, activation in itertools.product(DTYPES, ACTIVATIONS):
        net = network((5, 6, 7, 3), dtype, activation=[activation, "relu"], **CONSTANTS)
        yield Case(f"{activation} and relu {dtype}", net, rows(net))
    for dtype in DTYPES:
        own = fastbp.Activation("größer", value, derivative)
        net = network((5, 6, 3), dtype, activation=own, loss=(error, error_slope))
        yield Case(f"own {dtype}", net, rows(net))
    for dtype, loss in itertools.product(DTYPES, LOSSES):
        net = network(
            (4, 6, 3), dtype, loss=loss, input_shift=[0.5, -1.0, 2.0, 0.0], input_scale=[2.0, -0.25, 1.5, 0.1]
        )
        yield Case(f"{loss} {dtype}", net, rows(net))
    for dtype, sizes, scaled in itertools.product(DTYPES, SHAPES, (False, True)):
        net = network(sizes, dtype, activation="gelu", input_shift=0.75 if scaled else None)
        yield Case(f"{sizes} {dtype} {'scaled' if scaled else ''}", net, rows(net))


def value(x: Any) -> Any:
    """All that a formula of a user's own may hold without the C library."""
    size = math.log(2.0 + abs(x)) + math.log1p(x * x) / 3.0 + math.expm1(-abs(x))
    return math.copysign(size, x) + math.tanh(x) if x > -1.0 else math.exp(x) - size


def derivative(x: Any) -> Any:
    sign = math.copysign(1.0, x)
    slope = sign / (2.0 + abs(x)) + 2.0 * x / (3.0 + 3.0 * x * x) - sign * math.exp(-abs(x))
    return sign * slope + 1.0 - math.tanh(x) ** 2 if x > -1.0 else math.exp(x) - slope


def error(z: Any, t: Any) -> Any:
    return (z - t) ** 4


def error_slope(z: Any, t: Any) -> Any:
    return 4.0 * (z - t) ** 3


def rows(net: fastbp.MLP, count: int = 40) -> Any:
    return np.random.default_rng(1).normal(0.0, 2.0, (count, net.sizes[0])).astype(net.dtype)


def everywhere(dtype: str) -> Any:
    """Numbers of both signs from denormal ones to the largest, many of them where activations bend."""
    limits = np.finfo(dtype)
    sizes = 10.0 ** np.linspace(np.log10(float(limits.tiny)) - 2, np.log10(float(limits.max)) - 1e-9, 3000)
    sizes = np.concatenate([[0.0, float(limits.max)], sizes, np.linspace(0.0, 50.0, 5001)])
    return np.concatenate([sizes, -sizes]).astype(dtype)[:, np.newaxis]


def write_answers(folder: Path) -> None:
    """Write what fastbp makes of each case in this process, all rows at once and the first alone."""
    for number, case in enumerate(cases()):
        with np.errstate(over="ignore"):
            found = {name: getattr(case.net, name)(case.X) for name in ("logits", "outputs")}
            found["first"] = case.net.outputs(case.X[:1])
        np.savez(folder / f"{number}.npz", **found)


if __name__ == "__main__":
    write_answers(Path(sys.argv[1]))
