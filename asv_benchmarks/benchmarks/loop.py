"""Steps of a loop of one's own, and of an optimizer of one's own, beside the same steps of ``fit``."""

import time

import numpy as np

import fastbp
from fastbp import OptimizerState, reference
from fastbp.optimizers import Custom

from . import BRIEF

NETWORKS = {"4-64-64-2": 32, "64-100-10": 64, "784-512-256-10": 128}  # with their batches
if BRIEF:
    NETWORKS = {"4-64-64-2": NETWORKS["4-64-64-2"]}
STEPS = 5 if BRIEF else 200
ROUNDS = 1 if BRIEF else 9
RATE = 0.01


class Heavy(Custom):
    """Momentum in NumPy."""

    states = 1

    def update(self, parameters, gradient, state, step):
        (velocity,) = state
        velocity *= 0.9
        velocity += gradient
        parameters -= step.learning_rate * velocity


class Steps:
    """The same steps on the same rows, in each way."""

    def __init__(self, network, dtype="float32"):
        sizes, self.batch = tuple(map(int, network.split("-"))), NETWORKS[network]
        rng = np.random.default_rng(0)
        self.X = rng.standard_normal((STEPS * self.batch, sizes[0])).astype(dtype)
        self.y = rng.integers(0, sizes[-1], len(self.X))
        self.ones = np.eye(sizes[-1], dtype=dtype)[self.y] / self.batch
        self.net = fastbp.MLP(sizes, dtype=dtype, seed=0)
        self.start = self.net.parameters.copy()

    def fit(self, optimizer="momentum"):
        self.net.fit(self.X, self.y, 1, self.batch, RATE, optimizer=optimizer, shuffle=False, progress=False)

    def fit_by_own_optimizer(self):
        self.fit(Heavy())

    def own_loop(self):
        """Cross-entropy in NumPy, as a function of the logits."""
        net, batch, state, found = self.net, self.batch, OptimizerState(), None
        for begin in range(0, len(self.X), batch):
            ones = self.ones[begin : begin + batch]

            def dlogits(z, ones=ones):
                z -= z.max(axis=1, keepdims=True)
                np.exp(z, out=z)
                z /= z.sum(axis=1, keepdims=True) * batch
                z -= ones
                return z

            found = net.backward(self.X[begin : begin + batch], dlogits, inputs=False, out=found)
            net.apply(found, "momentum", RATE, state=state)

    def partial_fit(self):
        for begin in range(0, len(self.X), self.batch):
            rows = slice(begin, begin + self.batch)
            self.net.partial_fit(self.X[rows], self.y[rows], self.batch, RATE, optimizer="momentum")

    def reference(self):
        """Back-propagation and momentum in NumPy, in float64."""
        weights, biases = [[part.astype(np.float64) for part in parts] for parts in (self.net.weights, self.net.biases)]
        velocities = [np.zeros_like(part) for part in (*weights, *biases)]
        for begin in range(0, len(self.X), self.batch):
            rows = slice(begin, begin + self.batch)
            _, dWs, dbs, _ = reference.gradient(weights, biases, self.X[rows], self.y[rows])
            for part, velocity, g in zip((*weights, *biases), velocities, (*dWs, *dbs), strict=True):
                velocity *= 0.9
                velocity += g
                part -= RATE * velocity
        return np.concatenate([part.ravel() for pair in zip(weights, biases, strict=True) for part in pair])

    def again(self, way):
        """Carry a way out from the start, and return the seconds of a step."""
        self.net.parameters[...] = self.start
        begin = time.perf_counter()
        getattr(self, way)()
        return (time.perf_counter() - begin) / STEPS


WAYS = ("fit", "fit_by_own_optimizer", "own_loop", "partial_fit")


def steps_of(network, dtype="float32", threads=1, rounds=ROUNDS):
    """Return the seconds of a step in each way, the best of some rounds in turns; results are compared before."""
    with fastbp.threads.limit(threads):
        steps = Steps(network, dtype)
        expected, atol = steps.reference(), 1e-3 if dtype == "float32" else 1e-9
        for way in WAYS:
            steps.again(way)
            if way != "partial_fit":  # another call begins where the one before it has ended
                np.testing.assert_allclose(steps.net.parameters, expected, rtol=0, atol=atol)
        turns = [{way: steps.again(way) for way in WAYS} for _ in range(rounds)]
    return {way: min(turn[way] for turn in turns) for way in WAYS}


class Loop:
    params = [list(NETWORKS)]
    param_names = ["network"]

    def setup(self, network):
        self.steps = Steps(network)
        for way in WAYS:
            self.steps.again(way)

    def time_own_loop(self, network):
        self.steps.own_loop()

    def time_fit_by_own_optimizer(self, network):
        self.steps.fit_by_own_optimizer()

    def track_own_loop_over_fit(self, network):
        seconds = steps_of(network)
        return seconds["own_loop"] / seconds["fit"]

    def track_own_optimizer_over_fit(self, network):
        seconds = steps_of(network)
        return seconds["fit_by_own_optimizer"] / seconds["fit"]

    track_own_loop_over_fit.unit = track_own_optimizer_over_fit.unit = "times"
