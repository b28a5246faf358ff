"""fastbp as a side of its own duels."""

from __future__ import annotations

import numpy as np

import fastbp

from ..problem import L2, LEARNING_RATE, Array, Problem, after_epoch


class Inference:
    def __init__(self, problem: Problem):
        self.problem = problem
        self.X, self.y = problem.X, problem.y
        self.net = fastbp.MLP(problem.sizes, dtype=problem.dtype)
        for mine, initial in zip(self.net.weights + self.net.biases, problem.weights + problem.biases, strict=True):
            mine[...] = initial

    def run(self) -> Array:
        return self.net.predict_proba(self.X)

    result = run


class Training(Inference):
    def fit(self, X: Array, y: Array, epochs: int = 1) -> fastbp.History:
        return self.net.fit(
            X,
            y,
            epochs=epochs,
            batch_size=self.problem.batch,
            learning_rate=LEARNING_RATE,
            l2=L2,
            shuffle=False,
            progress=False,
        )

    def run(self) -> float:
        """Train one epoch and return its mean loss with penalty, which fastbp always computes and peers do not."""
        return self.fit(self.X, self.y).loss[-1]

    def result(self) -> Array:
        """Train by single minibatches, for losses without penalty; the parameters have the same bits as after `run`."""
        losses = []
        for X, y in self.problem.minibatches:
            losses.append(self.net.loss(X, y))
            self.fit(X, y)
        return after_epoch(np.mean(losses), self.net.weights + self.net.biases)
