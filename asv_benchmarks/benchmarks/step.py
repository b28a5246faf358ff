"""Training steps inside ``fit``: microseconds a step, and against the same step in hand-written NumPy."""

from __future__ import annotations

import itertools

import numpy as np

import fastbp

from .duel import medians

NETWORKS = [
    ("2-50-4", 32),
    ("4-16-3", 16),
    ("64-100-10", 64),
    ("784-100-10", 100),
    ("784-512-256-10", 128),
    ("104-256-256-2", 256),
    ("64-128-128-128-128-128-128-10", 128),
    ("1024-1024-1024-10", 256),
    ("2048-4096-4096-1000", 256),
]

DATA = """
import numpy as np, fastbp
sizes, batch, steps = {sizes}, {batch}, {steps}
rng = np.random.default_rng(0)
X = rng.standard_normal((batch * steps, sizes[0]), np.float32)
y = rng.integers(0, sizes[-1], batch * steps)
"""
OURS = """
net = fastbp.MLP(sizes, seed=0)
"""
OUR_EPOCH = "net.fit(X, y, epochs=1, batch_size=batch, learning_rate=0.01, l2=1e-4, shuffle=False, progress=False)"
THEIRS = """
from numpy_network import NumpyNetwork
net = NumpyNetwork(sizes, batch)
"""


def steps_for(sizes: tuple[int, ...], batch: int) -> int:
    """Steps an epoch: about 50 ms at 100 GFLOP/s, and enough that one call's overhead disappears."""
    work = 6 * batch * sum(a * b for a, b in itertools.pairwise(sizes))
    return int(min(max(5e9 / work, 2), 4000))


def step_medians(name: str, batch: int) -> tuple[float, float]:
    """Seconds a step, ours and NumPy's."""
    sizes = tuple(map(int, name.split("-")))
    steps = steps_for(sizes, batch)
    data = DATA.format(sizes=sizes, batch=batch, steps=steps)
    ours, theirs = medians((data + OURS, OUR_EPOCH), (data + THEIRS, "net.epoch(X, y, batch)"))
    return ours / steps, theirs / steps


class Step:
    params = [NETWORKS]
    param_names = ["network"]
    timeout = 300

    def setup(self, network):
        name, self.batch = network
        sizes = tuple(map(int, name.split("-")))
        rows = self.batch * steps_for(sizes, self.batch)
        rng = np.random.default_rng(0)
        self.X = rng.standard_normal((rows, sizes[0]), np.float32)
        self.y = rng.integers(0, sizes[-1], rows)
        self.net = fastbp.MLP(sizes, seed=0)
        self.time_epoch(network)

    def time_epoch(self, network):
        self.net.fit(self.X, self.y, epochs=1, batch_size=self.batch, learning_rate=0.01, l2=1e-4, shuffle=False)


class StepAgainstNumpy:
    params = [NETWORKS]
    param_names = ["network"]
    timeout = 300

    def track_step(self, network):
        ours, theirs = step_medians(*network)
        return ours / theirs

    track_step.unit = "fastbp / NumPy"
