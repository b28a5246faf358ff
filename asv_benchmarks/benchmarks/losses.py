"""Softmax with cross-entropy: few classes, computed side by side, and many, row by row."""

import numpy as np

import fastbp
from fastbp import reference

from . import BRIEF

SHAPES = [(8, 3)] if BRIEF else [(32, 4), (128, 10), (256, 1000)]  # rows, classes


class SoftmaxCrossEntropy:
    params = [SHAPES, ["float32", "float64"]]
    param_names = ["shape", "dtype"]

    def setup(self, shape, dtype):
        rng = np.random.default_rng(0)
        self.logits, self.labels = rng.standard_normal(shape, dtype), rng.integers(0, shape[1], shape[0])
        self.targets = np.eye(shape[1], dtype=dtype)[self.labels]
        loss, dlogits = fastbp.softmax_cross_entropy(self.logits, self.labels)
        wanted_loss, wanted = reference.softmax_cross_entropy(self.logits, self.labels)
        np.testing.assert_allclose(loss, wanted_loss, rtol=1e-5)
        np.testing.assert_allclose(dlogits, wanted, atol=1e-6)

    def time_labels(self, shape, dtype):
        fastbp.softmax_cross_entropy(self.logits, self.labels)

    def time_probabilities(self, shape, dtype):
        fastbp.softmax_cross_entropy(self.logits, self.targets)
