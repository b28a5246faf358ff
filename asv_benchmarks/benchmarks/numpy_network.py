"""The peer for steps: the same training step in hand-written NumPy, in place, nothing allocated that can be kept."""

from __future__ import annotations

import itertools

import numpy as np


class NumpyNetwork:
    def __init__(self, sizes: tuple[int, ...], batch: int, seed: int = 0):
        rng = np.random.default_rng(seed)
        fans = list(itertools.pairwise(sizes))
        self.W = [(rng.standard_normal(fan) * np.sqrt(2 / fan[0])).astype(np.float32) for fan in fans]
        self.b = [np.zeros(fan_out, np.float32) for _, fan_out in fans]
        self.H = [np.empty((batch, size), np.float32) for size in sizes[1:]]
        self.dH = [np.empty_like(h) for h in self.H]
        self.dW, self.db = [np.empty_like(w) for w in self.W], [np.empty_like(b) for b in self.b]
        self.mask = [np.empty(h.shape, bool) for h in self.H]
        self.rows = np.arange(batch)

    def step(self, X: np.ndarray, y: np.ndarray, learning_rate: np.float32, l2: np.float32) -> float:
        below = X
        last = len(self.W) - 1
        for layer, (W, b, H) in enumerate(zip(self.W, self.b, self.H, strict=True)):
            np.matmul(below, W, out=H)
            H += b
            if layer < last:
                np.maximum(H, 0, out=H)
            below = H
        z, d = self.H[-1], self.dH[-1]
        np.subtract(z, z.max(axis=1, keepdims=True), out=d)
        target = d[self.rows, y].copy()
        np.exp(d, out=d)
        sums = d.sum(axis=1, keepdims=True)
        loss = float((np.log(sums[:, 0]) - target).mean())
        d /= sums
        d[self.rows, y] -= 1
        d *= np.float32(1 / len(X))
        for layer in range(last, -1, -1):
            below = self.H[layer - 1] if layer else X
            np.matmul(below.T, self.dH[layer], out=self.dW[layer])
            np.sum(self.dH[layer], axis=0, out=self.db[layer])
            if layer:
                np.matmul(self.dH[layer], self.W[layer].T, out=self.dH[layer - 1])
                np.greater(self.H[layer - 1], 0, out=self.mask[layer - 1])
                self.dH[layer - 1] *= self.mask[layer - 1]
        for W, dW, b, db in zip(self.W, self.dW, self.b, self.db, strict=True):
            loss += 0.5 * float(l2) * float(np.vdot(W, W))
            W *= 1 - learning_rate * l2
            dW *= learning_rate
            W -= dW
            db *= learning_rate
            b -= db
        return loss

    def epoch(self, X: np.ndarray, y: np.ndarray, batch: int) -> float:
        rate, l2 = np.float32(0.01), np.float32(1e-4)
        total = 0.0
        for begin in range(0, len(X), batch):
            total += self.step(X[begin : begin + batch], y[begin : begin + batch], rate, l2)
        return total
