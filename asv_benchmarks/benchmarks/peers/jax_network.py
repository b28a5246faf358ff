"""JAX: one compiled `scan` over all minibatches of an epoch, with donated parameters and data on the device already."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from ..duel import Missing
from ..problem import BETA_1, BETA_2, EPSILON, Array, Problem, after_epoch

jax.config.update("jax_platforms", "cpu")

Parameters = tuple[list[Any], list[Any]]
State = tuple[Any, ...]  # the parameters; also both moments and the number of steps, of Adam
ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh}


def loss_of(parameters: Parameters, problem: Problem, X: Any, y: Any) -> Any:
    weights, biases = parameters
    for W, b in zip(weights[:-1], biases[:-1], strict=True):
        X = ACTIVATIONS[problem.activation](X @ W + b)
    z = X @ weights[-1] + biases[-1]
    if not problem.classifies:
        return jnp.mean((z - y) ** 2)
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], axis=1))


def sgd(state: State, gradient: Parameters, problem: Problem) -> State:
    [(weights, biases)] = state
    rate, l2 = problem.learning_rate, problem.l2
    weights = [W - rate * (d + l2 * W) for W, d in zip(weights, gradient[0], strict=True)]
    return ((weights, [b - rate * d for b, d in zip(biases, gradient[1], strict=True)]),)


def adam(state: State, gradient: Parameters, problem: Problem) -> State:
    parameters, first, second, t = state
    t += 1
    first = jax.tree.map(lambda m, g: BETA_1 * m + (1 - BETA_1) * g, first, gradient)
    second = jax.tree.map(lambda v, g: BETA_2 * v + (1 - BETA_2) * g * g, second, gradient)
    rate, scale = problem.learning_rate / (1 - BETA_1**t), 1 / jnp.sqrt(1 - BETA_2**t)
    parameters = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) * scale + EPSILON), parameters, first, second)
    return parameters, first, second, t


UPDATES = {"sgd": sgd, "adam": adam}


@functools.partial(jax.jit, static_argnums=1, donate_argnums=0)
def train(state: State, problem: Problem, X: Any, y: Any) -> tuple[State, Any]:
    def step(state: State, minibatch: tuple[Any, Any]) -> tuple[State, Any]:
        loss, gradient = jax.value_and_grad(loss_of)(state[0], problem, *minibatch)
        return UPDATES[problem.optimizer](state, gradient, problem), loss

    def epoch(state: State, _: None) -> tuple[State, Any]:
        return jax.lax.scan(step, state, (X, y))

    if problem.epochs == 1:
        state, losses = epoch(state, None)
    else:
        state, losses = jax.lax.scan(epoch, state, length=problem.epochs)
    return state, losses.mean()


class Training:
    def __init__(self, problem: Problem):
        jax.config.update("jax_enable_x64", problem.dtype == "float64")
        self.problem = problem
        # Copies: a donated array that shared NumPy's memory could not be reused.
        parameters = jax.tree.map(lambda array: jnp.array(array, copy=True), (problem.weights, problem.biases))
        self.state: State = (parameters,)
        if problem.optimizer == "adam":
            zeros = (jax.tree.map(jnp.zeros_like, parameters) for _ in range(2))
            self.state = (parameters, *zeros, jnp.zeros((), problem.dtype))
        self.X, y = (array.reshape(problem.steps, problem.batch, *array.shape[1:]) for array in (problem.X, problem.y))
        self.X, self.y = jnp.array(self.X), jnp.array(y.astype("int32") if problem.classifies else y)

    def run(self) -> float:
        self.state, loss = train(self.state, self.problem, self.X, self.y)
        return float(loss)

    def result(self) -> Array:
        loss = self.run()
        weights, biases = self.state[0]
        return after_epoch(loss, [*weights, *biases])


class OlderTraining(Training):
    """The same by JAX 0.6.2 without XLA's thunks, as the flags of its process say."""

    def __init__(self, problem: Problem):
        if jax.__version__ != "0.6.2":
            raise Missing(f"its interpreter has JAX {jax.__version__}; expected 0.6.2")
        super().__init__(problem)
