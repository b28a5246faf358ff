"""Hand-written NumPy: in place, with every array kept that can be."""

from __future__ import annotations

import numpy as np

from ..problem import L2, LEARNING_RATE, Array, Problem, after_epoch


class Inference:
    def __init__(self, problem: Problem):
        self.problem, self.X = problem, problem.X
        self.W, self.b = problem.weights, problem.biases
        self.H = [np.empty((problem.batch, size), problem.dtype) for size in problem.sizes[1:]]

    def forward(self, X: Array) -> Array:
        """Return the logits minus the maximum of their row."""
        for W, b, H in zip(self.W, self.b, self.H, strict=True):
            np.matmul(X, W, out=H)
            H += b
            if H is not self.H[-1]:
                np.maximum(H, 0, out=H)
            X = H
        X -= X.max(axis=1, keepdims=True)
        return X

    def run(self) -> Array:
        z = self.forward(self.X)
        np.exp(z, out=z)
        z /= z.sum(axis=1, keepdims=True)
        return z

    result = run


class Training(Inference):
    def __init__(self, problem: Problem):
        super().__init__(problem)
        self.dH = [np.empty_like(H) for H in self.H]
        self.dW, self.db = [np.empty_like(W) for W in self.W], [np.empty_like(b) for b in self.b]
        self.mask = [np.empty(H.shape, bool) for H in self.H]
        self.rows = np.arange(problem.batch)
        self.rate, self.l2 = np.array([LEARNING_RATE, L2], problem.dtype)

    def step(self, X: Array, y: Array) -> float:
        z, d = self.forward(X), self.dH[-1]
        np.exp(z, out=d)
        sums = d.sum(axis=1, keepdims=True)
        loss = float((np.log(sums[:, 0]) - z[self.rows, y]).mean())
        d /= sums
        d[self.rows, y] -= 1
        d /= z.dtype.type(len(X))
        for layer in reversed(range(len(self.W))):
            np.matmul((self.H[layer - 1] if layer else X).T, self.dH[layer], out=self.dW[layer])
            np.sum(self.dH[layer], axis=0, out=self.db[layer])
            if layer:
                np.matmul(self.dH[layer], self.W[layer].T, out=self.dH[layer - 1])
                np.greater(self.H[layer - 1], 0, out=self.mask[layer - 1])
                self.dH[layer - 1] *= self.mask[layer - 1]
        for W, dW, b, db in zip(self.W, self.dW, self.b, self.db, strict=True):
            W *= 1 - self.rate * self.l2
            dW *= self.rate
            W -= dW
            db *= self.rate
            b -= db
        return loss

    def run(self) -> float:
        return sum(self.step(X, y) for X, y in self.problem.minibatches) / self.problem.steps

    def result(self) -> Array:
        return after_epoch(self.run(), self.W + self.b)
