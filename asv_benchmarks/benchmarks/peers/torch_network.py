"""PyTorch: eager without modules, and compiled to one graph a step, update included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from ..duel import Missing
from ..problem import L2, LEARNING_RATE, Array, Problem, after_epoch

Tensor = torch.Tensor
# No Python between its kernels, and no check before each call that the arguments are still of the same shapes.
OPTIONS = {"cpp_wrapper": True, "guard_filter_fn": torch.compiler.skip_all_guards_unsafe}


def compiled(function: Callable[..., Any]) -> Any:
    try:
        torch._inductor.cpp_builder.get_cpp_compiler()
    except Exception as error:
        raise Missing("torch.compile needs a C++ compiler") from error
    return torch.compile(function, fullgraph=True, dynamic=False, options=OPTIONS)


def logits(parameters: list[Tensor], X: Tensor) -> Tensor:
    layers = len(parameters) // 2
    for layer, (W, b) in enumerate(zip(parameters[:layers], parameters[layers:], strict=True)):
        X = torch.addmm(b, X, W)
        if layer < layers - 1:
            X = torch.relu(X)
    return X


def loss_of(parameters: list[Tensor], X: Tensor, y: Tensor) -> Tensor:
    return cross_entropy(logits(parameters, X), y)


class Inference:
    def __init__(self, problem: Problem):
        torch.set_num_threads(problem.threads)
        self.parameters = [torch.from_numpy(array) for array in problem.weights + problem.biases]
        self.X = torch.from_numpy(problem.X)

    @staticmethod
    def probabilities(parameters: list[Tensor], X: Tensor) -> Tensor:
        return torch.softmax(logits(parameters, X), 1)

    @torch.inference_mode()
    def run(self) -> Tensor:
        return self.probabilities(self.parameters, self.X)

    def result(self) -> Array:
        return self.run().numpy()


class CompiledInference(Inference):
    def __init__(self, problem: Problem):
        super().__init__(problem)
        self.probabilities = compiled(Inference.probabilities)


class Training:
    def __init__(self, problem: Problem):
        torch.set_num_threads(problem.threads)
        self.parameters = [torch.from_numpy(array).requires_grad_() for array in problem.weights + problem.biases]
        self.weights = self.parameters[: len(problem.fans)]
        self.minibatches = [(torch.from_numpy(X), torch.from_numpy(y)) for X, y in problem.minibatches]

    def step(self, X: Tensor, y: Tensor) -> Tensor:
        """Update whole lists at once, in half the time of ``torch.optim.SGD``, fused or not."""
        loss = loss_of(self.parameters, X, y)
        gradient = torch.autograd.grad(loss, self.parameters)
        with torch.no_grad():
            torch._foreach_mul_(self.weights, 1 - LEARNING_RATE * L2)
            torch._foreach_add_(self.parameters, gradient, alpha=-LEARNING_RATE)
        return loss.detach()

    def run(self) -> float:
        return float(torch.stack([self.step(X, y) for X, y in self.minibatches]).mean())

    def result(self) -> Array:
        return after_epoch(self.run(), [parameter.detach().numpy() for parameter in self.parameters])


def whole_step(parameters: list[Tensor], X: Tensor, y: Tensor) -> Tensor:
    gradient, loss = torch.func.grad_and_value(loss_of)(parameters, X, y)
    for number, (parameter, slope) in enumerate(zip(parameters, gradient, strict=True)):
        l2 = L2 if number < len(parameters) // 2 else 0
        parameter.sub_(LEARNING_RATE * (slope + l2 * parameter))
    return loss


class CompiledTraining(Training):
    def __init__(self, problem: Problem):
        super().__init__(problem)
        self.parameters = [parameter.detach() for parameter in self.parameters]
        self.compiled_step = compiled(whole_step)

    @torch.no_grad()
    def step(self, X: Tensor, y: Tensor) -> Tensor:
        return self.compiled_step(self.parameters, X, y)
