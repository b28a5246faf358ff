"""scikit-learn: `partial_fit` over all rows, which passes once over the minibatches."""

from __future__ import annotations

import numpy as np
from sklearn.neural_network import MLPClassifier

from ..duel import Missing
from ..problem import L2, LEARNING_RATE, Array, Problem, after_epoch


class Training:
    def __init__(self, problem: Problem):
        if problem.sizes[-1] == 2:
            raise Missing("scikit-learn gives two classes one logistic output: another network")
        self.problem, self.X, self.y = problem, problem.X, problem.y
        self.net = MLPClassifier(
            problem.sizes[1:-1],
            solver="sgd",
            learning_rate_init=LEARNING_RATE,
            momentum=0,
            shuffle=False,
            batch_size=problem.batch,
            alpha=L2 * problem.batch,  # scikit-learn divides alpha by the rows of a minibatch
        )
        self.net.partial_fit(*problem.minibatches[0], classes=np.arange(problem.sizes[-1]))  # makes the arrays
        for mine, initial in zip(self.net.coefs_ + self.net.intercepts_, problem.weights + problem.biases, strict=True):
            mine[...] = initial

    def run(self) -> float:
        return self.net.partial_fit(self.X, self.y).loss_

    def result(self) -> Array:
        """Train by single minibatches, to subtract the penalty that scikit-learn adds to each loss."""
        losses = []
        for X, y in self.problem.minibatches:
            penalty = 0.5 * L2 * sum(float(np.vdot(W, W)) for W in self.net.coefs_)
            losses.append(self.net.partial_fit(X, y).loss_ - penalty)
        return after_epoch(np.mean(losses), self.net.coefs_ + self.net.intercepts_)


class Inference(Training):
    def run(self) -> Array:
        return self.net.predict_proba(self.X)

    result = run
