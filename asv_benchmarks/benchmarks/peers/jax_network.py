"""JAX: one compiled `scan` over all minibatches of an epoch, with donated parameters and data on the device already."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from ..duel import Missing
from ..problem import L2, LEARNING_RATE, Array, Problem, after_epoch

jax.config.update("jax_platforms", "cpu")

Parameters = tuple[list[Any], list[Any]]


def loss_of(parameters: Parameters, X: Any, y: Any) -> Any:
    weights, biases = parameters
    for W, b in zip(weights[:-1], biases[:-1], strict=True):
        X = jax.nn.relu(X @ W + b)
    shares = jax.nn.log_softmax(X @ weights[-1] + biases[-1])
    return -jnp.mean(jnp.take_along_axis(shares, y[:, None], axis=1))


def step(parameters: Parameters, minibatch: tuple[Any, Any]) -> tuple[Parameters, Any]:
    loss, (dW, db) = jax.value_and_grad(loss_of)(parameters, *minibatch)
    weights = [W - LEARNING_RATE * (d + L2 * W) for W, d in zip(parameters[0], dW, strict=True)]
    return (weights, [b - LEARNING_RATE * d for b, d in zip(parameters[1], db, strict=True)]), loss


@functools.partial(jax.jit, donate_argnums=0)
def epoch(parameters: Parameters, X: Any, y: Any) -> tuple[Parameters, Any]:
    parameters, losses = jax.lax.scan(step, parameters, (X, y))
    return parameters, losses.mean()


class Training:
    def __init__(self, problem: Problem):
        jax.config.update("jax_enable_x64", problem.dtype == "float64")
        # Copies: a donated array that shared NumPy's memory could not be reused.
        self.parameters = jax.tree.map(lambda array: jnp.array(array, copy=True), (problem.weights, problem.biases))
        self.X = jnp.array(problem.X.reshape(problem.steps, problem.batch, -1))
        self.y = jnp.array(problem.y.reshape(problem.steps, problem.batch).astype("int32"))

    def run(self) -> float:
        self.parameters, loss = epoch(self.parameters, self.X, self.y)
        return float(loss)

    def result(self) -> Array:
        return after_epoch(self.run(), [*self.parameters[0], *self.parameters[1]])


class OlderTraining(Training):
    """The same by JAX 0.6.2 without XLA's thunks, as the flags of its process say."""

    def __init__(self, problem: Problem):
        if jax.__version__ != "0.6.2":
            raise Missing(f"its interpreter has JAX {jax.__version__}; expected 0.6.2")
        super().__init__(problem)
