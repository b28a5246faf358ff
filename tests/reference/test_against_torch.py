"""The oracle, and `MLP` itself, against PyTorch in float64: activations, losses, optimizers, clipping, training.

PyTorch differentiates by itself, so that our gradients meet one that nobody here has written.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from fastbp import MLP, optimizers, reference

torch: Any = pytest.importorskip("torch")
functional = torch.nn.functional
torch.set_num_threads(1)  # more would only wait for one another, so small are the tensors

TOLERANCE = 1e-12  # times what is of order one: some thousand roundings of float64
SIZES = (5, 8, 6, 3)
SLOPE, DELTA = 0.2, 0.7
ACTIVATIONS = {
    "identity": lambda x: x,
    "logistic": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "leaky_relu": functools.partial(functional.leaky_relu, negative_slope=SLOPE),
    "elu": functional.elu,
    "selu": functional.selu,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "mish": functional.mish,
}


def poisson(z: Any, t: Any) -> Any:
    """PyTorch leaves out what does not depend on z."""
    return functional.poisson_nll_loss(z, t, log_input=True, reduction="none") + torch.xlogy(t, t) - t


# Of each row.
LOSSES = {
    "softmax_cross_entropy": lambda z, t: functional.cross_entropy(z, t, reduction="none"),
    "binary_cross_entropy": lambda z, t: functional.binary_cross_entropy_with_logits(z, t, reduction="none").mean(1),
    "binary_cross_entropy_sum": lambda z, t: functional.binary_cross_entropy_with_logits(z, t, reduction="none").sum(1),
    "mean_squared_error": lambda z, t: functional.mse_loss(z, t, reduction="none").mean(1),
    "half_squared_error": lambda z, t: functional.mse_loss(z, t, reduction="none").mean(1) / 2,
    "mean_absolute_error": lambda z, t: functional.l1_loss(z, t, reduction="none").mean(1),
    "huber": lambda z, t: functional.huber_loss(z, t, reduction="none", delta=DELTA).mean(1),
    "quantile": lambda z, t: torch.maximum(0.5 * (t - z), 0.5 * (z - t)).mean(1),
    "poisson_deviance": lambda z, t: 2 * poisson(z, t).mean(1),
    "half_poisson_deviance_sum": lambda z, t: poisson(z, t).sum(1),
}
OPTIMIZERS = {
    "sgd": (torch.optim.SGD, {}, {}),
    "momentum": (torch.optim.SGD, {"momentum": 0.9}, {"momentum": 0.9}),
    "nesterov": (torch.optim.SGD, {"momentum": 0.8, "nesterov": True}, {"momentum": 0.8}),
    "adam": (torch.optim.Adam, {"betas": (0.8, 0.99), "eps": 1e-6}, {"beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-6}),
    "adamw": (torch.optim.AdamW, {"weight_decay": 0.1}, {"weight_decay": 0.1}),
    "rmsprop": (torch.optim.RMSprop, {"alpha": 0.9}, {"smoothing": 0.9}),
    "adagrad": (torch.optim.Adagrad, {}, {}),
}


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(23)


def tensor(value: Any, slope: bool = False) -> Any:
    array = np.asarray(value)
    if array.dtype.kind == "f":
        array = array.astype(np.float64)
    return torch.tensor(array, requires_grad=slope)


def assert_near(actual: Any, expected: Any, scale: float = 1.0) -> None:
    expected = expected.detach().numpy() if isinstance(expected, torch.Tensor) else np.asarray(expected)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE * scale * max(1.0, np.abs(expected).max()))


def targets_of(rng: np.random.Generator, loss: str, n: int, outputs: int) -> Any:
    if loss == "softmax_cross_entropy":
        return rng.integers(0, outputs, n)
    if loss.startswith("binary"):
        return rng.uniform(0, 1, (n, outputs)).round(1)
    return rng.poisson(2.0, (n, outputs)) * 1.0 if "poisson" in loss else rng.standard_normal((n, outputs))


def initial(rng: np.random.Generator) -> tuple[list[Any], list[Any]]:
    shapes = list(zip(SIZES, SIZES[1:], strict=False))
    weights = [rng.standard_normal(shape) / np.sqrt(shape[0]) for shape in shapes]
    return weights, [0.1 * rng.standard_normal(fan_out) for _, fan_out in shapes]


# ---- a whole network in PyTorch ----


def logits_by_torch(weights: Any, biases: Any, X: Any, activations: Any) -> Any:
    H = X
    for layer, (W, b) in enumerate(zip(weights, biases, strict=True)):
        H = H @ W + b
        H = ACTIVATIONS[activations[layer]](H) if layer < len(activations) else H
    return H


def objective_by_torch(
    weights: Any, biases: Any, X: Any, t: Any, activations: Any, loss: str, l2: float, w: Any
) -> Any:
    rows = LOSSES[loss](logits_by_torch(weights, biases, X, activations), t)
    return (w * rows).sum() / w.sum() + l2 / 2 * sum((W**2).sum() for W in weights)


def train_by_torch(
    weights: list[Any], biases: list[Any], X: Any, t: Any, order: Any, batch_size: int, learning_rate: float, l2: float,
    *, activations: Any, loss: str, optimizer: str, sample_weight: Any,
) -> tuple[list[Any], list[Any], list[float]]:  # fmt: skip
    """The parameters after minibatches of rows in that order, and each minibatch's loss before its update."""
    Ws, bs = [tensor(W, slope=True) for W in weights], [tensor(b, slope=True) for b in biases]
    kind, options, _ = OPTIMIZERS[optimizer]
    groups: list[dict[str, Any]] = [{"params": Ws}, {"params": bs, "weight_decay": 0.0}]  # biases do not decay
    stepper = kind(groups, lr=learning_rate, **options)
    inputs, targets, w, losses = tensor(X), tensor(t), tensor(sample_weight), []
    for start in range(0, len(order), batch_size):
        rows = torch.tensor(order[start : start + batch_size])
        stepper.zero_grad()
        value = objective_by_torch(Ws, bs, inputs[rows], targets[rows], activations, loss, l2, w[rows])
        value.backward()
        stepper.step()
        losses.append(float(value.detach()))
    return [W.detach().numpy() for W in Ws], [b.detach().numpy() for b in bs], losses


# ---- the parts ----


@pytest.mark.parametrize("name", reference.ACTIVATIONS)
def test_activations(rng: np.random.Generator, name: str) -> None:
    points = np.concatenate([4 * rng.standard_normal(200), [0.0, -0.0, 30.0, -30.0]])
    dy = rng.standard_normal(points.shape)
    x = tensor(points, slope=True)
    y = ACTIVATIONS[name](x)
    y.backward(tensor(dy))
    assert_near(reference.activation_forward(name, points, SLOPE), y)
    assert_near(reference.activation_backward(name, dy, points, SLOPE), x.grad)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("outputs", [1, 4])
@pytest.mark.parametrize("name", reference.LOSSES)
def test_losses(rng: np.random.Generator, name: str, outputs: int, weighted: bool) -> None:
    logits, t = 3 * rng.standard_normal((20, outputs)), targets_of(rng, name, 20, outputs)
    weight = rng.uniform(0, 2, 20) if weighted else None
    z, w = tensor(logits, slope=True), tensor(np.ones(20) if weight is None else weight)
    rows = LOSSES[name](z, tensor(t))
    expected = (w * rows).sum() / w.sum()
    expected.backward()
    assert_near(reference.losses_of(name, logits, t, DELTA), rows)
    loss, dlogits = reference.loss_of(name, logits, t, weight, DELTA)
    assert_near(loss, expected)
    assert_near(dlogits, z.grad)


def test_soft_labels(rng: np.random.Generator) -> None:
    logits, t = 3 * rng.standard_normal((20, 4)), rng.dirichlet(np.ones(4), 20)
    z = tensor(logits, slope=True)
    expected = functional.cross_entropy(z, tensor(t))
    expected.backward()
    loss, dlogits = reference.loss_of("softmax_cross_entropy", logits, t)
    assert_near(loss, expected)
    assert_near(dlogits, z.grad)


def test_outputs(rng: np.random.Generator) -> None:
    logits = 3 * rng.standard_normal((20, 4))
    z = tensor(logits)
    for name in reference.LOSSES:
        expected = {"softmax_cross_entropy": torch.softmax(z, 1), "binary_cross_entropy": torch.sigmoid(z),
                    "binary_cross_entropy_sum": torch.sigmoid(z), "poisson_deviance": torch.exp(z),
                    "half_poisson_deviance_sum": torch.exp(z)}.get(name, z)  # fmt: skip
        assert_near(reference.outputs_of(name, logits), expected)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(rng: np.random.Generator, name: str) -> None:
    kind, options, ours = OPTIMIZERS[name]
    w, state = rng.standard_normal(30), ()
    p = tensor(w, slope=True)
    stepper = kind([p], lr=0.05, **options)
    for step in range(1, 101):
        g = rng.standard_normal(30) * np.linspace(1e-3, 3, 30)
        p.grad = tensor(g)
        stepper.step()
        w, state = reference.optimizer_step(name, w, g, state, step, 0.05, **ours)
        assert_near(w, p)


def test_norm_of_clipping(rng: np.random.Generator) -> None:
    """PyTorch then multiplies by max_norm / (norm + 1e-6), we by max_norm / norm."""
    gradients = [rng.standard_normal((4, 3)), rng.standard_normal(3)]
    parameters = [tensor(g, slope=True) for g in gradients]
    for parameter, g in zip(parameters, gradients, strict=True):
        parameter.grad = tensor(g)
    expected = torch.nn.utils.clip_grad_norm_(parameters, 0.5)
    clipped, norm = reference.clip_gradients(gradients, 0.5)
    assert_near(norm, expected)
    for g, parameter in zip(clipped, parameters, strict=True):
        assert_near(g * (norm / (norm + 1e-6)), parameter.grad)


# ---- whole networks ----


@pytest.mark.parametrize("activations", [("tanh", "gelu"), ("silu", "logistic"), ("leaky_relu", "relu")], ids="-".join)
@pytest.mark.parametrize("loss", reference.LOSSES)
def test_gradients_of_networks(rng: np.random.Generator, activations: Any, loss: str) -> None:
    weights, biases = initial(rng)
    X, t, weight = rng.standard_normal((12, SIZES[0])), targets_of(rng, loss, 12, SIZES[-1]), rng.uniform(0.5, 2, 12)
    Ws, bs, inputs = [tensor(W, slope=True) for W in weights], [tensor(b, slope=True) for b in biases], tensor(X, True)
    expected = objective_by_torch(Ws, bs, inputs, tensor(t), activations, loss, 0.1, tensor(weight))
    expected.backward()
    value, dWs, dbs, dX = reference.gradient(
        weights, biases, X, t, 0.1, activations, loss_name=loss, sample_weight=weight, leaky_slope=SLOPE,
        huber_delta=DELTA,
    )  # fmt: skip
    assert_near(value, expected)
    for got, leaf in zip([*dWs, *dbs, dX], [*Ws, *bs, inputs], strict=True):
        assert_near(got, leaf.grad)


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "huber", "poisson_deviance"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_hundred_steps(rng: np.random.Generator, optimizer: str, loss: str) -> None:
    weights, biases = initial(rng)
    X, t, weight = rng.standard_normal((60, SIZES[0])), targets_of(rng, loss, 60, SIZES[-1]), rng.uniform(0.5, 2, 60)
    order, activations = np.concatenate([rng.permutation(60) for _ in range(20)]), ("silu", "tanh")
    expected = train_by_torch(
        weights, biases, X, t, order, 12, 0.01, 0.02, activations=activations, loss=loss, optimizer=optimizer,
        sample_weight=weight,
    )  # fmt: skip
    assert len(expected[2]) == 100
    got = reference.train(
        weights, biases, X, t, order, 12, 0.01, 0.02, activations, sample_weight=weight, optimizer=optimizer,
        optimizer_options=OPTIMIZERS[optimizer][2], loss_name=loss, leaky_slope=SLOPE, huber_delta=DELTA,
    )  # fmt: skip
    for ours, theirs in zip([*got[0], *got[1], got[2]], [*expected[0], *expected[1], expected[2]], strict=True):
        assert_near(ours, theirs, 10)


# ---- MLP ----


def check_a_hundred_steps(rng: np.random.Generator, activations: Any, loss: str, optimizer: str) -> None:
    """Shuffled minibatches with weights and a penalty: the parameters, and the loss of each epoch."""
    weights, biases = initial(rng)
    X, t, weight = rng.standard_normal((60, SIZES[0])), targets_of(rng, loss, 60, SIZES[-1]), rng.uniform(0.5, 2, 60)
    arrays = [part for pair in zip(weights, biases, strict=True) for part in pair]
    net = MLP(SIZES, activations, loss, "float64", seed=3, initializer=arrays, leaky_slope=SLOPE, huber_delta=DELTA)
    ours = optimizers.OPTIMIZERS[optimizer](**OPTIMIZERS[optimizer][2])
    history = net.fit(X, t, 20, 12, 0.01, 0.02, ours, sample_weight=weight)
    draws = np.random.default_rng(3)
    order = np.concatenate([draws.permutation(60) for _ in range(20)])
    Ws, bs, losses = train_by_torch(weights, biases, X, t, order, 12, 0.01, 0.02, activations=activations, loss=loss,
                                    optimizer=optimizer, sample_weight=weight)  # fmt: skip
    assert len(losses) == 100
    expected = [*Ws, *bs, np.reshape(losses, (20, 5)).mean(axis=1)]
    for got, wanted in zip([*net.weights, *net.biases, history.loss], expected, strict=True):
        assert_near(got, wanted, 10)
    start = [*weights, *biases]
    assert max(np.abs(got - before).max() for got, before in zip(expected[:-1], start, strict=True)) > 0.01


@pytest.mark.parametrize("loss", reference.LOSSES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_hundred_steps_of_every_loss_and_optimizer(rng: np.random.Generator, optimizer: str, loss: str) -> None:
    check_a_hundred_steps(rng, ("gelu", "tanh"), loss, optimizer)


@pytest.mark.parametrize("optimizer", ["nesterov", "adamw"])
@pytest.mark.parametrize("activation", reference.ACTIVATIONS)
def test_a_hundred_steps_of_every_activation(rng: np.random.Generator, activation: str, optimizer: str) -> None:
    check_a_hundred_steps(rng, (activation, activation), "huber", optimizer)


@pytest.mark.parametrize("as_function", [False, True], ids=["array", "function"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_hundred_steps_of_backward_and_apply(rng: np.random.Generator, optimizer: str, as_function: bool) -> None:
    """A loss that fastbp lacks, differentiated by PyTorch; the rest by fastbp, and all of it by PyTorch."""
    weights, biases = initial(rng)
    X, t, kind, options, own = (
        rng.standard_normal((60, SIZES[0])),
        rng.integers(0, SIZES[-1], 60),
        *OPTIMIZERS[optimizer],
    )
    arrays = [part for pair in zip(weights, biases, strict=True) for part in pair]
    net = MLP(SIZES, ("gelu", "tanh"), dtype="float64", initializer=arrays)
    Ws, bs = [tensor(W, slope=True) for W in weights], [tensor(b, slope=True) for b in biases]
    stepper = kind([{"params": Ws}, {"params": bs, "weight_decay": 0.0}], lr=0.01, **options)
    ours, found = optimizers.OPTIMIZERS[optimizer](**own), None
    for _ in range(100):
        rows = rng.integers(0, 60, 16)
        labels = torch.tensor(t[rows])

        def smoothed(z: Any, labels: Any = labels) -> Any:
            return functional.cross_entropy(z, labels, label_smoothing=0.1)

        def dlogits(z: Any, smoothed: Any = smoothed) -> Any:
            leaf = tensor(z, slope=True)
            smoothed(leaf).backward()
            return leaf.grad.numpy()

        found = net.backward(X[rows], dlogits if as_function else dlogits(net.logits(X[rows])), out=found)
        stepper.zero_grad()
        inputs = tensor(X[rows], slope=True)
        smoothed(logits_by_torch(Ws, bs, inputs, ("gelu", "tanh"))).backward()
        assert_near(found.inputs, inputs.grad, 10)
        torch.nn.utils.clip_grad_norm_([*Ws, *bs], 0.3)
        norm = float(np.linalg.norm(found.parameters))
        # PyTorch multiplies by max_norm / (norm + 1e-6), where fastbp multiplies by max_norm / norm
        net.apply(found, ours, 0.01, max_grad_norm=0.3 * norm / (norm + 1e-6) if norm + 1e-6 > 0.3 else None)
        stepper.step()
    for got, wanted in zip([*net.weights, *net.biases], [*Ws, *bs], strict=True):
        assert_near(got, wanted, 10)
    assert max(np.abs(got - before).max() for got, before in zip(net.weights, weights, strict=True)) > 0.01
