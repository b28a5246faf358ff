"""PyTorch: eager without modules, and compiled to one graph a step, update included."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import cross_entropy, mse_loss

from ..duel import Missing
from ..problem import BETA_1, BETA_2, EPSILON, Array, Problem, after_epoch

Tensor = torch.Tensor
ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh}
# No Python between its kernels, and no check before each call that the arguments are still of the same shapes.
OPTIONS = {"cpp_wrapper": True, "guard_filter_fn": torch.compiler.skip_all_guards_unsafe}


def compiled(function: Callable[..., Any]) -> Any:
    try:
        torch._inductor.cpp_builder.get_cpp_compiler()
    except Exception as error:
        raise Missing("torch.compile needs a C++ compiler") from error
    return torch.compile(function, fullgraph=True, dynamic=False, options=OPTIONS)


def logits(parameters: list[Tensor], activation: str, X: Tensor) -> Tensor:
    layers = len(parameters) // 2
    for layer, (W, b) in enumerate(zip(parameters[:layers], parameters[layers:], strict=True)):
        X = torch.addmm(b, X, W)
        if layer < layers - 1:
            X = ACTIVATIONS[activation](X)
    return X


def loss_of(parameters: list[Tensor], problem: Problem, X: Tensor, y: Tensor) -> Tensor:
    return (cross_entropy if problem.classifies else mse_loss)(logits(parameters, problem.activation, X), y)


class Inference:
    def __init__(self, problem: Problem):
        torch.set_num_threads(problem.threads)
        self.activation = problem.activation
        self.parameters = [torch.from_numpy(array) for array in problem.weights + problem.biases]
        self.X = torch.from_numpy(problem.X)

    @staticmethod
    def probabilities(parameters: list[Tensor], activation: str, X: Tensor) -> Tensor:
        return torch.softmax(logits(parameters, activation, X), 1)

    @torch.inference_mode()
    def run(self) -> Tensor:
        return self.probabilities(self.parameters, self.activation, self.X)

    def result(self) -> Array:
        return self.run().numpy()


class CompiledInference(Inference):
    def __init__(self, problem: Problem):
        super().__init__(problem)
        self.probabilities = compiled(Inference.probabilities)


class Training:
    def __init__(self, problem: Problem):
        torch.set_num_threads(problem.threads)
        self.problem = problem
        self.parameters = [torch.from_numpy(array).requires_grad_() for array in problem.weights + problem.biases]
        self.weights = self.parameters[: len(problem.fans)]
        self.minibatches = [(torch.from_numpy(X), torch.from_numpy(y)) for X, y in problem.minibatches]
        self.update = self.sgd if problem.optimizer == "sgd" else self.adam
        self.first, self.second = ([torch.zeros_like(each) for each in self.parameters] for _ in range(2))
        self.times = [torch.zeros(()) for _ in self.parameters]

    def sgd(self, gradient: tuple[Tensor, ...]) -> None:
        """Update whole lists at once, in half the time of ``torch.optim.SGD``, fused or not."""
        torch._foreach_mul_(self.weights, 1 - self.problem.learning_rate * self.problem.l2)
        torch._foreach_add_(self.parameters, gradient, alpha=-self.problem.learning_rate)

    def adam(self, gradient: tuple[Tensor, ...]) -> None:
        """Call what ``torch.optim.Adam(fused=True)`` ends in."""
        torch._foreach_add_(self.times, 1)
        torch._fused_adam_(
            self.parameters,
            gradient,
            self.first,
            self.second,
            [],
            self.times,
            lr=self.problem.learning_rate,
            beta1=BETA_1,
            beta2=BETA_2,
            weight_decay=0.0,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )

    def step(self, X: Tensor, y: Tensor) -> Tensor:
        loss = loss_of(self.parameters, self.problem, X, y)
        gradient = torch.autograd.grad(loss, self.parameters)
        with torch.no_grad():
            self.update(gradient)
        return loss.detach()

    def run(self) -> float:
        return float(torch.stack([self.step(X, y) for X, y in self.minibatches]).mean())

    def result(self) -> Array:
        return after_epoch(self.run(), [parameter.detach().numpy() for parameter in self.parameters])


def whole_sgd_step(problem: Problem, parameters: list[Tensor], X: Tensor, y: Tensor) -> Tensor:
    gradient, loss = torch.func.grad_and_value(loss_of)(parameters, problem, X, y)
    for number, (parameter, slope) in enumerate(zip(parameters, gradient, strict=True)):
        l2 = problem.l2 if number < len(parameters) // 2 else 0
        parameter.sub_(problem.learning_rate * (slope + l2 * parameter))
    return loss


def whole_adam_step(problem: Problem, state: list[Any], X: Tensor, y: Tensor) -> Tensor:
    parameters, first, second, t = state
    gradient, loss = torch.func.grad_and_value(loss_of)(parameters, problem, X, y)
    t.add_(1)
    rate, scale = problem.learning_rate / (1 - BETA_1**t), 1 / torch.sqrt(1 - BETA_2**t)
    for w, m, v, g in zip(parameters, first, second, gradient, strict=True):
        m.mul_(BETA_1).add_((1 - BETA_1) * g)
        v.mul_(BETA_2).add_((1 - BETA_2) * g * g)
        w.sub_(rate * m / (torch.sqrt(v) * scale + EPSILON))
    return loss


class CompiledTraining(Training):
    def __init__(self, problem: Problem):
        super().__init__(problem)
        self.parameters = [parameter.detach() for parameter in self.parameters]
        whole, self.state = whole_sgd_step, self.parameters
        if problem.optimizer == "adam":
            t = torch.zeros(1, dtype=self.parameters[0].dtype)  # of one without axes, a step would update a copy
            whole, self.state = whole_adam_step, [self.parameters, self.first, self.second, t]
        self.compiled_step = compiled(functools.partial(whole, problem))

    @torch.no_grad()
    def step(self, X: Tensor, y: Tensor) -> Tensor:
        return self.compiled_step(self.state, X, y)
