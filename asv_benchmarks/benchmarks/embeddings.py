"""Training of networks with embeddings: an epoch, and its time over that of a network whose inputs are the vectors."""

import time

import numpy as np

import fastbp

from . import BRIEF

# Columns that are not embedded; levels and width of each that is; the layers behind.
NETWORKS = {
    "small tables": (12, ((10, 4), (50, 8)), (64, 2)),
    "one of 10,000 levels": (5, ((10_000, 16),), (256, 256, 1)),
    "large tables": (12, ((1000, 16), (50, 8), (10_000, 16)), (256, 256, 2)),
}
if BRIEF:
    NETWORKS = {"small tables": NETWORKS["small tables"]}
ROWS, BATCH = (64, 32) if BRIEF else (25_600, 256)
ROUNDS = 2 if BRIEF else 7


class Embeddings:
    params = [list(NETWORKS)]
    param_names = ["network"]

    def setup(self, network):
        plain, tables, layers = NETWORKS[network]
        rng = np.random.default_rng(0)
        columns = {plain + number: table for number, table in enumerate(tables)}
        self.X = rng.standard_normal((ROWS, plain + len(tables)), np.float32)
        for column, (levels, _) in columns.items():
            self.X[:, column] = rng.integers(0, levels, ROWS)
        self.y = rng.standard_normal((ROWS, layers[-1]), np.float32)
        self.net = fastbp.MLP((self.X.shape[1], *layers), loss="mean_squared_error", seed=0, embeddings=columns)
        vectors = [table[self.X[:, column].astype(int)] for column, table in self.net.embeddings.items()]
        self.inputs = np.concatenate([self.X[:, :plain], *vectors], axis=1)
        layers_of = [part for pair in zip(self.net.weights, self.net.biases, strict=True) for part in pair]
        sizes = (self.inputs.shape[1], *layers)
        self.dense = fastbp.MLP(sizes, loss="mean_squared_error", seed=0, initializer=layers_of)
        np.testing.assert_array_equal(self.net.logits(self.X), self.dense.logits(self.inputs))
        self.epoch(self.net, self.X)

    def epoch(self, net, X):
        net.fit(X, self.y, epochs=1, batch_size=BATCH, optimizer="adam", progress=False)

    def time_epoch(self, network):
        self.epoch(self.net, self.X)

    def track_over_dense(self, network):
        """The network's processor time over that of the other, which has no tables to update."""
        best = [float("inf")] * 2
        for _ in range(ROUNDS):
            for side, arguments in enumerate(((self.net, self.X), (self.dense, self.inputs))):
                start = time.process_time()
                self.epoch(*arguments)
                best[side] = min(best[side], time.process_time() - start)
        return best[0] / best[1]

    track_over_dense.unit = "times"
