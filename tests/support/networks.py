"""Networks, rows and tolerances for the tests of the public face."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbp import MLP

DTYPES = ("float32", "float64")
WIDE = (8, 9000, 4)  # its activations allow 64 rows a call: everything beyond goes part by part


def network(sizes: tuple[int, ...], dtype: str = "float32", seed: int = 0, **options: Any) -> MLP:
    """With biases that are not 0, so that a bias left out is seen."""
    net = MLP(sizes, dtype=dtype, seed=seed, **options)
    rng = np.random.default_rng(seed + 1)
    for b in net.biases:
        b[...] = rng.normal(0.0, 0.3, b.shape)
    return net


def rows(n: int, sizes: tuple[int, ...], dtype: str = "float32", seed: int = 7) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, sizes[0])).astype(dtype), rng.integers(0, sizes[-1], n)


def probabilities(n: int, classes: int, dtype: str = "float64", seed: int = 3) -> Any:
    """Multiples of 1/64, so that every row sums to 1 in any dtype."""
    draws = np.random.default_rng(seed).multinomial(64, np.full(classes, 1 / classes), size=n)
    return (draws / 64).astype(dtype)


def close(got: Any, expected: Any, dtype: str, length: int) -> None:
    """Within the rounding of sums of so many terms, relative to the largest entry."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape
    difference = np.abs(got.astype(np.float64) - expected).max()
    assert difference <= length * np.finfo(dtype).eps * np.abs(expected).max()


def parts(net: MLP) -> dict[str, Any]:
    """What the functions of the reference take."""
    return {"weights": net.weights, "biases": net.biases, "activation": net.activation,
            "input_shift": net.input_shift, "input_scale": net.input_scale}  # fmt: skip
