"""scikit-learn: `partial_fit` over all rows, which passes once over the minibatches."""

from __future__ import annotations

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor

from ..duel import Missing
from ..problem import BETA_1, BETA_2, EPSILON, Array, Problem, after_epoch


class Training:
    def __init__(self, problem: Problem):
        if problem.classifies and problem.sizes[-1] == 2:
            raise Missing("scikit-learn gives two classes one logistic output: another network")
        self.problem, self.X, self.y = problem, problem.X, problem.y
        self.net = (MLPClassifier if problem.classifies else MLPRegressor)(
            hidden_layer_sizes=problem.sizes[1:-1],
            activation=problem.activation,
            solver=problem.optimizer,
            learning_rate_init=problem.learning_rate,
            momentum=0,
            beta_1=BETA_1,
            beta_2=BETA_2,
            epsilon=EPSILON,
            shuffle=False,
            batch_size=problem.batch,
            alpha=problem.l2 * problem.batch,  # scikit-learn divides alpha by the rows of a minibatch
        )
        classes = {"classes": np.arange(problem.sizes[-1])} if problem.classifies else {}
        self.net.partial_fit(*self.targets(*problem.minibatches[0]), **classes)  # makes the arrays
        for mine, initial in zip(self.net.coefs_ + self.net.intercepts_, problem.weights + problem.biases, strict=True):
            mine[...] = initial
        del self.net._optimizer  # the next call makes another, without the moments of this step

    @staticmethod
    def targets(X: Array, y: Array) -> tuple[Array, Array]:
        """Return X, and y as scikit-learn wants it: one output is a vector."""
        return X, y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y

    def run(self) -> float:
        X, y = self.targets(self.X, self.y)
        return [self.net.partial_fit(X, y).loss_ for _ in range(self.problem.epochs)][-1]

    def result(self) -> Array:
        """Train by single minibatches, to subtract the penalty that scikit-learn adds to each loss."""
        losses = []
        for minibatch in self.problem.minibatches:
            penalty = 0.5 * self.problem.l2 * sum(float(np.vdot(W, W)) for W in self.net.coefs_)
            losses.append(self.net.partial_fit(*self.targets(*minibatch)).loss_ - penalty)
        loss = np.mean(losses) * (1 if self.problem.classifies else 2)  # it halves squares
        return after_epoch(loss, self.net.coefs_ + self.net.intercepts_)


class Inference(Training):
    def run(self) -> Array:
        return self.net.predict_proba(self.X)

    result = run
