"""Training steps with a user's own activation or loss, over those with the built-in one of the same formula.

``python -m asv_benchmarks.own_formulas`` prints them as a table.
"""

import math
import time

import numpy as np

import fastbp

from . import BRIEF
from .tiers import specialise

# Formulas as users write them.


def logistic(x):
    return 1 / (1 + math.exp(-x))


def silu(x):
    return x * logistic(x)


def silu_slope(x):
    return logistic(x) * (1 + x * (1 - logistic(x)))


def tanh_slope(x):
    return 1 - math.tanh(x) ** 2


def relu(x):
    return max(x, 0.0)


def relu_slope(x):
    return 1.0 if x > 0 else 0.0


def softplus(x):
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def cross_entropy(z, t):
    return softplus(z) - t * z


def cross_entropy_slope(z, t):
    return logistic(z) - t


def squared(z, t):
    return (z - t) ** 2


def squared_slope(z, t):
    return 2 * (z - t)


if hasattr(fastbp, "Activation"):
    ACTIVATIONS = {
        "silu": fastbp.Activation("own_silu", silu, silu_slope),
        "tanh": fastbp.Activation("own_tanh", math.tanh, tanh_slope, initializer="glorot"),
        "relu": fastbp.Activation("own_relu", relu, relu_slope),
    }
    LOSSES = {
        "binary_cross_entropy": fastbp.Loss("own_cross_entropy", cross_entropy, cross_entropy_slope, targets="shares"),
        "mean_squared_error": fastbp.Loss("own_squared", squared, squared_slope),
    }
else:  # a version before them
    ACTIVATIONS, LOSSES = {}, {}
FORMULAS = {**ACTIVATIONS, **LOSSES}
# Sizes but for the outputs, and the rows of a minibatch.
NETWORKS = {"2-50": ((2, 50), 32), "64-100": ((64, 100), 200), "784-512-256": ((784, 512, 256), 128)}
STEPS, ROUNDS = (2, 2) if BRIEF else (100, 15)


class Pair:
    """The same network twice: with a formula of one's own, and with the built-in one."""

    def __init__(self, formula, network, outputs=10):
        sizes, self.batch = NETWORKS[network]
        rng = np.random.default_rng(0)
        self.X = rng.standard_normal((STEPS * self.batch, sizes[0]), np.float32)
        self.y = rng.random((len(self.X), outputs), np.float32)
        if formula in ACTIVATIONS:
            sides = [{"activation": each, "loss": "mean_squared_error"} for each in (ACTIVATIONS[formula], formula)]
        else:
            sides = [{"loss": each} for each in (LOSSES[formula], formula)]
        self.networks = [fastbp.MLP((*sizes, outputs), seed=0, **side) for side in sides]
        for net in self.networks:
            if max(net.sizes) <= 128:
                specialise(net)
            self.seconds(net)

    def seconds(self, net):
        """Return the seconds of a step."""
        start = time.perf_counter()
        net.fit(self.X, self.y, epochs=1, batch_size=self.batch, learning_rate=1e-3, shuffle=False, progress=False)
        return (time.perf_counter() - start) / STEPS

    def ratio(self, rounds=ROUNDS):
        """Return the time of a step with the own formula over that with the built-in one: medians, in turns."""
        found = [[self.seconds(net) for net in self.networks] for _ in range(rounds)]
        own, built_in = np.median(found, axis=0)
        return float(own / built_in), float(own), float(built_in)


class OwnFormulas:
    params = [list(FORMULAS), list(NETWORKS)]
    param_names = ["formula", "network"]

    def setup(self, formula, network):
        self.pair = Pair(formula, network)

    def track_over_built_in(self, formula, network):
        return self.pair.ratio()[0]

    track_over_built_in.unit = "times"
