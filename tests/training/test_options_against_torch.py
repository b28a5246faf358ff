"""Options of training against PyTorch in float64, over a hundred steps: dropout, rates, smoothing, averages."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from fastbp import MLP, optimizers, reference
from fastbp.averaging import Averaging, Equal, Exponential

torch: Any = pytest.importorskip("torch")
torch.set_num_threads(1)

SIZES, N, BATCH, EPOCHS, RATE, L2 = (5, 9, 7, 3), 60, 12, 20, 0.01, 0.02
OPTIMIZERS: dict[str, tuple[Any, dict[str, float]]] = {
    "sgd": (torch.optim.SGD, {}),
    "momentum": (torch.optim.SGD, {"momentum": 0.9}),
    "adam": (torch.optim.Adam, {}),
    "adamw": (torch.optim.AdamW, {"weight_decay": 0.1}),
}
HERE: dict[str, optimizers.Optimizer] = {
    "sgd": optimizers.SGD(), "momentum": optimizers.Momentum(0.9), "adam": optimizers.Adam(),
    "adamw": optimizers.AdamW(weight_decay=0.1),
}  # fmt: skip


def data(seed: int = 5) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((N, SIZES[0])), rng.integers(0, SIZES[-1], N)


def network(loss: str = "softmax_cross_entropy") -> MLP:
    return MLP(SIZES, "tanh", loss, dtype="float64", seed=3)


class TorchFit:
    """The same network in PyTorch, trained step by step on the same rows."""

    def __init__(self, net: MLP, optimizer: str):
        draws = copy.deepcopy(net.rng)
        self.kind, self.options = OPTIMIZERS[optimizer]
        self.weights = [torch.nn.Parameter(torch.tensor(W.copy())) for W in net.weights]
        self.biases = [torch.nn.Parameter(torch.tensor(b.copy())) for b in net.biases]
        self.draws = draws
        self.shares: tuple[float, ...] = (0.0, 0.0, 0.0)  # of the inputs and each hidden layer
        self.factors: tuple[float, ...] = (1.0,) * len(self.weights)  # of the learning rate
        self.after_step: Any = lambda steps: None
        self.criterion = torch.nn.CrossEntropyLoss()

    def groups(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for W, b, factor in zip(self.weights, self.biases, self.factors, strict=True):
            if factor == 0:
                W.requires_grad = b.requires_grad = False
            else:  # biases do not decay
                found += [{"params": W, "lr": factor * RATE}, {"params": b, "lr": factor * RATE, "weight_decay": 0.0}]
        return found

    def logits(self, X: Any, key: int) -> Any:
        H = X
        for layer, (W, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            if self.shares[layer]:
                H = H * torch.tensor(reference.dropout_mask(key, layer - 1, *H.shape, self.shares[layer]))
            H = H @ W + b
            H = torch.tanh(H) if layer < len(self.weights) - 1 else H
        return H

    def train(self, X: Any, y: Any, max_norm: float | None = None) -> TorchFit:
        key = int(self.draws.integers(2**63)) if any(self.shares) else 0
        stepper = self.kind(self.groups(), lr=RATE, **self.options)
        steps = 0
        for _ in range(EPOCHS):
            order = self.draws.permutation(N)
            for begin in range(0, N, BATCH):
                rows = order[begin : begin + BATCH]
                stepper.zero_grad()
                logits = self.logits(torch.tensor(X[rows]), reference.step_key(key, steps))
                loss = self.criterion(logits, torch.tensor(y[rows]))
                (loss + L2 / 2 * sum((W**2).sum() for W in self.weights)).backward()
                if max_norm is not None:  # PyTorch adds 1e-6 to the norm
                    leaves = [p.grad for p in (*self.weights, *self.biases) if p.grad is not None]
                    norm = torch.sqrt(sum((g**2).sum() for g in leaves))
                    for g in leaves:
                        g *= min(1.0, max_norm / float(norm))
                stepper.step()
                steps += 1
                self.after_step(steps)
        assert steps == 100
        return self

    def assert_same(self, net: MLP) -> None:
        for found, expected in zip([*net.weights, *net.biases], [*self.weights, *self.biases], strict=True):
            np.testing.assert_allclose(found, expected.detach().numpy(), rtol=0, atol=1e-11)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("shares", [(0.0, 0.4, 0.2), (0.3, 0.0, 0.0), (0.1, 0.2, 0.5)], ids=str)
def test_dropout_of_layers_and_inputs(shares: tuple[float, ...], optimizer: str) -> None:
    net, (X, y) = network(), data()
    other = TorchFit(net, optimizer)
    other.shares = shares
    other.train(X, y)
    net.fit(X, y, EPOCHS, BATCH, RATE, L2, HERE[optimizer], input_dropout=shares[0], dropout=shares[1:])
    other.assert_same(net)


@pytest.mark.parametrize("max_norm", [None, 0.3])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("factors", [(0.1, 1.0, 3.0), (0.0, 1.0, 0.5), (0.0, 0.0, 1.0), (0.5, 0.0, 1.0)], ids=str)
def test_learning_rates_of_layers(factors: tuple[float, ...], optimizer: str, max_norm: float | None) -> None:
    net, (X, y) = network(), data()
    other = TorchFit(net, optimizer)
    other.factors = factors
    other.train(X, y, max_norm)
    options: dict[str, Any] = {"max_grad_norm": max_norm, "layer_learning_rates": factors}
    net.fit(X, y, EPOCHS, BATCH, RATE, L2, HERE[optimizer], **options)
    other.assert_same(net)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_label_smoothing(share: float, soft: bool, optimizer: str) -> None:
    net, (X, y) = network(), data()
    y = np.random.default_rng(6).dirichlet(np.ones(SIZES[-1]), N) if soft else y
    other = TorchFit(net, optimizer)
    other.criterion = torch.nn.CrossEntropyLoss(label_smoothing=share)
    other.train(X, y)
    net.fit(X, y, EPOCHS, BATCH, RATE, L2, HERE[optimizer], label_smoothing=share)
    other.assert_same(net)


def test_label_smoothing_of_binary_targets() -> None:
    net, (X, _) = network("binary_cross_entropy"), data()
    y = np.random.default_rng(6).integers(0, 2, (N, SIZES[-1])).astype(float)
    other = TorchFit(net, "adam")
    plain = torch.nn.BCEWithLogitsLoss()
    other.criterion = lambda z, t: plain(z, 0.8 * t + 0.1)
    other.train(X, y)
    net.fit(X, y, EPOCHS, BATCH, RATE, L2, HERE["adam"], label_smoothing=0.2)
    other.assert_same(net)


AVERAGES: dict[str, tuple[Averaging, dict[str, Any]]] = {
    "of steps": (Equal(every="step"), {}),
    "of epochs": (Equal(), {}),
    "of the last epochs": (Equal(start=15), {}),
    "exponential": (Exponential(0.9), {"multi_avg_fn": torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)}),
    "late and slow": (Exponential(0.3, start=18), {"multi_avg_fn": torch.optim.swa_utils.get_ema_multi_avg_fn(0.3)}),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("kind", AVERAGES)
def test_averages_of_parameters(kind: str, optimizer: str) -> None:
    net, (X, y) = network(), data()
    other, (averaging, options) = TorchFit(net, optimizer), AVERAGES[kind]
    module = torch.nn.ParameterList([*other.weights, *other.biases])
    average = torch.optim.swa_utils.AveragedModel(module, **options)

    def after_step(steps: int) -> None:
        ends = steps % (N // BATCH) == 0
        if steps > averaging.start * (N // BATCH) and (ends or averaging.every == "step"):
            average.update_parameters(module)

    other.after_step = after_step
    other.train(X, y)
    net.fit(X, y, EPOCHS, BATCH, RATE, L2, HERE[optimizer], averaging=averaging)
    layers = len(net.weights)
    other.weights, other.biases = list(average.module)[:layers], list(average.module)[layers:]
    other.assert_same(net)
