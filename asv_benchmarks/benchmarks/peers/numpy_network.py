"""Hand-written NumPy: in place, with every array kept that can be, and all parameters updated at once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from ..problem import BETA_1, BETA_2, EPSILON, Array, Problem, after_epoch


class Inference:
    def __init__(self, problem: Problem):
        self.problem, self.X = problem, problem.X
        self.W, self.b = problem.weights, problem.biases
        self.H = [np.empty((problem.batch, size), problem.dtype) for size in problem.sizes[1:]]

    def forward(self, X: Array) -> Array:
        """Return the logits."""
        for W, b, H in zip(self.W, self.b, self.H, strict=True):
            np.matmul(X, W, out=H)
            H += b
            if H is not self.H[-1]:
                np.maximum(H, 0, out=H) if self.problem.activation == "relu" else np.tanh(H, out=H)
            X = H
        return X

    def run(self) -> Array:
        z = self.forward(self.X)
        z -= z.max(axis=1, keepdims=True)
        np.exp(z, out=z)
        z /= z.sum(axis=1, keepdims=True)
        return z

    result = run


class Training(Inference):
    def __init__(self, problem: Problem):
        super().__init__(problem)
        layers = len(self.W)
        self.parameters, views = side_by_side(self.W + self.b)
        self.W, self.b = views[:layers], views[layers:]
        self.gradient, views = side_by_side([np.empty_like(view) for view in views])
        self.dW, self.db = views[:layers], views[layers:]
        self.weights = self.parameters[: sum(W.size for W in self.W)]
        self.dH = [np.empty_like(H) for H in self.H]
        self.mask = [np.empty(H.shape, bool) for H in self.H]
        self.rows = np.arange(problem.batch)
        self.loss = self.cross_entropy if problem.classifies else self.squared_error
        self.rate, self.l2 = problem.learning_rate, problem.l2
        self.update = self.sgd if problem.optimizer == "sgd" else self.adam
        self.first, self.second, self.work = (np.zeros_like(self.parameters) for _ in range(3))
        self.t = 0

    def cross_entropy(self, z: Array, y: Array, d: Array) -> float:
        z -= z.max(axis=1, keepdims=True)
        np.exp(z, out=d)
        sums = d.sum(axis=1, keepdims=True)
        loss = float((np.log(sums[:, 0]) - z[self.rows, y]).mean())
        d /= sums
        d[self.rows, y] -= 1
        d /= z.dtype.type(len(z))
        return loss

    def squared_error(self, z: Array, y: Array, d: Array) -> float:
        np.subtract(z, y, out=d)
        loss = float(np.vdot(d, d)) / d.size
        d *= 2 / d.size
        return loss

    def back(self, layer: int) -> None:
        """Multiply the gradient of a hidden layer by the slope of its activation."""
        H, dH = self.H[layer], self.dH[layer]
        if self.problem.activation == "relu":
            np.greater(H, 0, out=self.mask[layer])
            dH *= self.mask[layer]
        else:
            np.multiply(H, H, out=H)
            np.subtract(1, H, out=H)
            dH *= H

    def sgd(self) -> None:
        self.weights *= 1 - self.rate * self.l2
        self.gradient *= self.rate
        self.parameters -= self.gradient

    def adam(self) -> None:
        self.t += 1
        self.first *= BETA_1
        self.second *= BETA_2
        np.multiply(self.gradient, 1 - BETA_1, out=self.work)
        self.first += self.work
        np.multiply(self.gradient, self.gradient, out=self.work)
        self.work *= 1 - BETA_2
        self.second += self.work
        np.sqrt(self.second, out=self.work)
        self.work *= (1 - BETA_2**self.t) ** -0.5
        self.work += EPSILON
        np.divide(self.first, self.work, out=self.work)
        self.work *= self.rate / (1 - BETA_1**self.t)
        self.parameters -= self.work

    def step(self, X: Array, y: Array) -> float:
        loss = self.loss(self.forward(X), y, self.dH[-1])
        for layer in reversed(range(len(self.W))):
            np.matmul((self.H[layer - 1] if layer else X).T, self.dH[layer], out=self.dW[layer])
            np.sum(self.dH[layer], axis=0, out=self.db[layer])
            if layer:
                np.matmul(self.dH[layer], self.W[layer].T, out=self.dH[layer - 1])
                self.back(layer - 1)
        self.update()
        return loss

    def run(self) -> float:
        return sum(self.step(X, y) for X, y in self.problem.minibatches) / self.problem.all_steps

    def result(self) -> Array:
        return after_epoch(self.run(), self.W + self.b)


def side_by_side(arrays: Sequence[Array]) -> tuple[Array, list[Array]]:
    """Return copies of the arrays in one vector, and views of them in it."""
    vector = np.concatenate([array.ravel() for array in arrays])
    ends = itertools.accumulate(array.size for array in arrays)
    parts = (vector[end - array.size : end] for end, array in zip(ends, arrays, strict=True))
    return vector, [part.reshape(array.shape) for part, array in zip(parts, arrays, strict=True)]
