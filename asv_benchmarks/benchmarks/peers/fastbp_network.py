"""fastbp as a side of its own duels."""

from __future__ import annotations

import numpy as np

import fastbp

from ..problem import BETA_1, BETA_2, EPSILON, Array, Problem, after_epoch
from ..tiers import WIDEST, take_up


class Inference:
    def __init__(self, problem: Problem):
        self.problem = problem
        self.X, self.y = problem.X, problem.y
        self.net = fastbp.MLP(problem.sizes, problem.activation, problem.loss, problem.dtype)
        if max(problem.sizes) <= WIDEST:
            take_up(self.run, self.net)
        for mine, initial in zip(self.net.weights + self.net.biases, problem.weights + problem.biases, strict=True):
            mine[...] = initial

    def run(self) -> Array:
        return self.net.predict_proba(self.X)

    result = run


class Training(Inference):
    def fit(self, X: Array, y: Array, epochs: int = 1) -> fastbp.History:
        problem = self.problem
        return self.net.fit(
            X,
            y,
            epochs=epochs,
            batch_size=problem.batch,
            learning_rate=problem.learning_rate,
            l2=problem.l2,
            optimizer="sgd" if problem.optimizer == "sgd" else fastbp.optimizers.Adam(BETA_1, BETA_2, EPSILON),
            shuffle=False,
            progress=False,
        )

    def run(self) -> float:
        """Train and return the mean loss with penalty, which fastbp always computes and peers do not."""
        return np.mean(self.fit(self.X, self.y, self.problem.epochs).loss)

    def result(self) -> Array:
        """Train by single minibatches, for losses without penalty; the parameters have the same bits as after `run`.

        Where there is no penalty, `run` tells the loss. (It must be one call there: each makes a new Adam.)
        """
        if not self.problem.l2:
            return after_epoch(self.run(), self.net.weights + self.net.biases)
        losses = []
        for X, y in self.problem.minibatches:
            losses.append(self.net.loss(X, y))
            self.fit(X, y)
        return after_epoch(np.mean(losses), self.net.weights + self.net.biases)
