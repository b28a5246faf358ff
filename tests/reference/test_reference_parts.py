"""The oracle's activations, losses, dropout and optimizers against numbers worked by hand, and by brute force.

`test_reference.py` has its layers, softmax and ReLU networks; `test_against_torch.py` compares with PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastbp import reference
from support.oracle import assert_close, assert_gradient, network, slopes

EPS = float(np.finfo(np.float64).eps)
WORD = 2**64
VALUES = np.array([-3.0, -1.5, -0.25, 0.125, 0.75, 2.0])
SMALL_LOSSES = [name for name in reference.LOSSES if name != "softmax_cross_entropy"]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def targets_of(rng: np.random.Generator, name: str, n: int, outputs: int) -> Any:
    if name == "softmax_cross_entropy":
        return rng.integers(0, outputs, n)
    if name.startswith("binary"):
        return rng.uniform(0, 1, (n, outputs)).round(1)  # 0 and 1 among them
    return rng.poisson(1.5, (n, outputs)) if "poisson" in name else rng.standard_normal((n, outputs))


# Activations


def test_activations_by_hand() -> None:
    e, x = math.e, [-1.0, 0.0, 1.0]
    phi = 0.841344746068542948585  # of the standard normal below 1, from tables
    expected = {
        "identity": x,
        "logistic": [1 / (1 + e), 0.5, e / (1 + e)],
        "tanh": [-(e * e - 1) / (e * e + 1), 0, (e * e - 1) / (e * e + 1)],
        "relu": [0, 0, 1],
        "leaky_relu": [-0.01, 0, 1],
        "gelu": [-(1 - phi), 0, phi],
        "silu": [-1 / (1 + e), 0, e / (1 + e)],
    }
    assert set(expected) <= set(reference.ACTIVATIONS)
    for name, y in expected.items():
        np.testing.assert_allclose(reference.activation_forward(name, x), y, rtol=8 * EPS, atol=0, err_msg=name)


@pytest.mark.parametrize("name", reference.ACTIVATIONS)
def test_activation_gradients(name: str) -> None:
    dy = np.arange(1.0, 7.0)
    dx = reference.activation_backward(name, dy, VALUES, 0.25)
    assert_gradient(lambda x: float(np.sum(reference.activation_forward(name, x, 0.25) * dy)), dx, VALUES)


def test_derivatives_at_zero_and_of_nan() -> None:
    at_zero = {"identity": 1, "logistic": 0.25, "tanh": 1, "relu": 0, "leaky_relu": 0.5, "gelu": 0.5, "silu": 0.5}
    for name, expected in at_zero.items():
        for zero in (0.0, -0.0):
            assert reference.activation_backward(name, [2.0], [zero], 0.5)[0] == 2 * expected
        assert np.isnan(reference.activation_forward(name, [math.nan])).all()
        assert np.isnan(reference.activation_backward(name, [math.nan], [1.0])).all()


def test_activations_far_out() -> None:
    for name, low, high in [("logistic", 0, 1), ("tanh", -1, 1), ("relu", 0, 800), ("leaky_relu", -8, 800),
                            ("gelu", 0, 800), ("silu", 0, 800)]:  # fmt: skip
        np.testing.assert_allclose(reference.activation_forward(name, [-800, 800]), [low, high], rtol=EPS, atol=1e-300)
        low, high = {"logistic": (0, 0), "tanh": (0, 0), "leaky_relu": (0.01, 1)}.get(name, (0, 1))
        np.testing.assert_allclose(reference.activation_backward(name, [1, 1], [-800, 800]), [low, high], atol=1e-300)
    # Small results keep their digits: 1 - tanh² and 1 + erf would have none left here.
    np.testing.assert_allclose(reference.activation_backward("tanh", [1], [20]), 4 * math.exp(-40), rtol=1e-14)
    np.testing.assert_allclose(reference.normal_share([-10]), 7.61985302416052606597e-24, rtol=1e-13)


def test_relu_is_the_same_by_name(rng: np.random.Generator) -> None:
    x, dy = rng.standard_normal((2, 50))
    x[:4] = [0.0, -0.0, math.inf, -math.inf]
    dy[:8:2] = math.inf
    y = reference.relu_forward(x)
    np.testing.assert_array_equal(reference.activation_forward("relu", x), y)
    np.testing.assert_array_equal(reference.activation_backward("relu", dy, x), reference.relu_backward(dy, y))


# Losses


def test_losses_by_hand() -> None:
    log = math.log
    z, t = [[0.0, log(3)]], [[1.0, 0.25]]  # logistic: 1/2 and 3/4; exp: 1 and 3
    cross = log(2) + 0.25 * log(4 / 3) + 0.75 * log(4)
    d = np.array([1.0, log(3) - 0.25])
    poisson = (log(1) - 1 + 1) + (0.25 * log(0.25 / 3) - 0.25 + 3)
    expected = {
        "binary_cross_entropy": cross / 2,
        "binary_cross_entropy_sum": cross,
        "mean_squared_error": np.sum(d**2) / 2,
        "half_squared_error": np.sum(d**2) / 4,
        "mean_absolute_error": np.sum(d) / 2,
        "huber": (0.5 * (1 - 0.25) + 0.5 * (d[1] - 0.25)) / 2,
        "poisson_deviance": poisson,
        "half_poisson_deviance_sum": poisson,
    }
    assert set(expected) <= set(SMALL_LOSSES)
    for name, value in expected.items():
        (loss,) = reference.losses_of(name, z, t, delta=0.5)
        assert loss == pytest.approx(value, rel=16 * EPS), name
    (loss,) = reference.losses_of("softmax_cross_entropy", z, [0])
    assert loss == pytest.approx(log(4), rel=16 * EPS)


def test_outputs_by_hand() -> None:
    softmax, logistic, exp, itself = [0.25, 0.75], [0.5, 0.75], [1, 3], [0, math.log(3)]
    of_loss = {"softmax_cross_entropy": softmax, "binary_cross_entropy": logistic, "binary_cross_entropy_sum": logistic,
               "poisson_deviance": exp, "half_poisson_deviance_sum": exp}  # fmt: skip
    for name in reference.LOSSES:
        got = reference.outputs_of(name, [[0.0, math.log(3)]])
        np.testing.assert_allclose(got, [of_loss.get(name, itself)], rtol=8 * EPS, err_msg=name)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("name", reference.LOSSES)
def test_loss_gradients(rng: np.random.Generator, name: str, outputs: int, weighted: bool) -> None:
    if name == "softmax_cross_entropy":
        outputs += 1  # of one class there is no slope
    z, t = rng.standard_normal((6, outputs)), targets_of(rng, name, 6, outputs)
    weight = rng.uniform(0, 3, 6) if weighted else None
    if name in ("huber", "mean_absolute_error"):
        for kink in (0.0,) if name == "mean_absolute_error" else (-0.7, 0.7):
            assert np.abs(z - t - kink).min() > 1e-3
    loss, dlogits = reference.loss_of(name, z, t, weight, 0.7)
    rows = reference.losses_of(name, z, t, 0.7)
    assert rows.shape == (6,)
    assert loss == pytest.approx(np.average(rows, weights=weight), rel=16 * EPS)
    assert_gradient(lambda z: reference.loss_of(name, z, t, weight, 0.7)[0], dlogits, z)


@pytest.mark.parametrize("name", reference.LOSSES)
def test_weights_count_as_repeated_rows(rng: np.random.Generator, name: str) -> None:
    z, t, counts = rng.standard_normal((4, 3)), targets_of(rng, name, 4, 3), [2, 0, 1, 3]
    loss, dlogits = reference.loss_of(name, z, t, counts)
    repeated = np.repeat(np.arange(4), counts)
    expected, slopes_ = reference.loss_of(name, z[repeated], np.asarray(t)[repeated])
    assert loss == pytest.approx(expected, rel=16 * EPS)
    for i in range(4):
        np.testing.assert_allclose(dlogits[i], slopes_[repeated == i].sum(axis=0), rtol=16 * EPS, atol=EPS)


def test_unweighted_softmax_is_the_same_by_name(rng: np.random.Generator) -> None:
    z, labels = rng.standard_normal((5, 4)), rng.integers(0, 4, 5)
    loss, dlogits = reference.loss_of("softmax_cross_entropy", z, labels)
    expected = reference.softmax_cross_entropy(z, labels)
    assert loss == expected[0]
    np.testing.assert_array_equal(dlogits, expected[1])


def test_losses_of_extreme_logits() -> None:
    inf = math.inf
    z = np.array([[1e4], [-1e4], [inf], [-inf], [40.0], [40.0]])
    rows = reference.losses_of("binary_cross_entropy", z, [0, 0, 1, 0, 1, 0])
    np.testing.assert_allclose(rows, [1e4, 0, 0, 0, math.exp(-40), 40], rtol=4 * EPS)
    dlogits = reference.loss_of("binary_cross_entropy", z, [0, 0, 1, 0, 1, 0])[1] * 6
    np.testing.assert_allclose(dlogits[:, 0], [1, 0, 0, 0, -math.exp(-40), 1], rtol=4 * EPS)
    rows = reference.losses_of("poisson_deviance", [[-inf], [0.0], [800.0]], [0, 1, 2])
    np.testing.assert_array_equal(rows, [0, 0, inf])
    np.testing.assert_array_equal(reference.losses_of("huber", [[1e200]], [0.0], 2.0), [2e200])
    assert reference.loss_of("mean_absolute_error", [[3.0]], [3.0])[1] == 0


def test_one_output_takes_flat_targets() -> None:
    for name in SMALL_LOSSES:
        flat = reference.loss_of(name, [[0.5], [2.0]], [1, 0])
        column = reference.loss_of(name, [[0.5], [2.0]], [[1], [0]])
        assert flat[0] == column[0]
        np.testing.assert_array_equal(flat[1], column[1])


# Dropout


def finalized(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % WORD
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % WORD
    return z ^ (z >> 31)


def test_the_finalizer_is_that_of_splitmix64() -> None:
    """The first outputs of the published generator from seed 1234567."""
    step, published = 0x9E3779B97F4A7C15, [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [finalized((1234567 + (i + 1) * step) % WORD) for i in range(3)] == published


@pytest.mark.parametrize("key", [0, 1, 2**63 + 12345, WORD - 1])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9, 1 - 2**-53])
def test_dropout_in_whole_numbers(key: int, p: float) -> None:
    golden = 0x9E3779B97F4A7C15
    for layer, (rows, columns) in enumerate([(3, 5), (4, 1), (2, 7)]):
        mask = reference.dropout_mask(key, layer, rows, columns, p)
        assert mask.shape == (rows, columns)
        for row in range(rows):
            row_key = finalized((key + row * golden + (layer + 1) * 0xD1342543DE82EF95) % WORD)
            for column in range(columns):
                u = finalized((row_key + (column + 1) * golden) % WORD) >> 11
                assert mask[row, column] == (1 / (1 - p) if u >= int(p * 2**53) else 0)


def test_dropout_keeps_where_u_is_p() -> None:
    u = finalized((finalized(0xD1342543DE82EF95) + 0x9E3779B97F4A7C15) % WORD) >> 11  # key, layer, row and column 0
    kept, dropped = u / 2**53, (u + 1) / 2**53
    assert reference.dropout_mask(0, 0, 1, 1, kept)[0, 0] == 1 / (1 - kept)
    assert reference.dropout_mask(0, 0, 1, 1, dropped)[0, 0] == 0


def test_dropout_drops_its_share() -> None:
    """Of 200 by 300 units p is dropped within five standard deviations, and in no pattern of rows or columns."""
    for p in (0.2, 0.5):
        dropped = np.array([reference.dropout_mask(reference.step_key(5, s), 1, 200, 300, p) == 0 for s in range(4)])
        deviation = math.sqrt(p * (1 - p))
        assert abs(dropped.mean() - p) < 5 * deviation / math.sqrt(dropped.size)
        for axes, count in [((0, 1), 800), ((0, 2), 1200), ((1, 2), 60_000)]:
            assert np.abs(dropped.mean(axis=axes) - p).max() < 5 * deviation / math.sqrt(count)
        assert abs((dropped[0] ^ dropped[1]).mean() - 2 * p * (1 - p)) < 0.01  # steps differ as chance has it


def test_masks_of_a_network() -> None:
    masks = reference.dropout_masks(9, (4, 6), 3, 0.5)
    for layer, mask in enumerate(masks):
        np.testing.assert_array_equal(mask, reference.dropout_mask(9, layer, 3, (4, 6)[layer], 0.5))
    assert not reference.dropout_masks(9, (), 3, 0.5)
    assert (reference.dropout_mask(9, 0, 3, 4, 0.0) == 1).all()


# Networks


@pytest.mark.parametrize("name", reference.LOSSES)
@pytest.mark.parametrize("activation", [("tanh", "gelu"), ("silu", "logistic"), ("leaky_relu", "identity"), "relu"])
def test_network_gradients(rng: np.random.Generator, name: str, activation: Any) -> None:
    weights, biases, X, _ = network(rng, (3, 6, 5, 2), n=7)
    weights = [W / 2 for W in weights]
    rest: tuple[Any, ...] = (targets_of(rng, name, 7, 2), 0.3, activation, rng.standard_normal(3), 0.5)
    options: dict[str, Any] = {
        "loss_name": name, "sample_weight": rng.uniform(0.5, 2, 7), "leaky_slope": 0.2, "huber_delta": 0.8,
        "masks": reference.dropout_masks(3, (6, 5), 7, 0.3),
    }  # fmt: skip
    assert any((mask == 0).any() for mask in options["masks"])
    loss, dWs, dbs, dX = reference.gradient(weights, biases, X, *rest, **options)
    assert loss == reference.loss(weights, biases, X, *rest, **options)
    assert_gradient(lambda X: reference.loss(weights, biases, X, *rest, **options), dX, X)
    for k in range(3):

        def of(W: Any = None, b: Any = None, k: int = k) -> float:
            Ws = [*weights[:k], weights[k] if W is None else W, *weights[k + 1 :]]
            bs = [*biases[:k], biases[k] if b is None else b, *biases[k + 1 :]]
            return reference.loss(Ws, bs, X, *rest, **options)

        assert_close(dWs[k], slopes(lambda W, of=of: of(W=W), weights[k]))
        assert_close(dbs[k], slopes(lambda b, of=of: of(b=b), biases[k]))


def test_one_activation_a_layer_and_masks_by_hand() -> None:
    weights, biases = [[[1.0, -1.0]], np.eye(2), [[1.0], [1.0]]], [[0.0, 0.0], [1.0, 1.0], [0.0]]
    masks = [[[2.0, 0.0]], [[2.0, 2.0]]]
    got = reference.forward(weights, biases, [[-3.0]], ["leaky_relu", "relu"], leaky_slope=0.5, masks=masks)
    assert [a.tolist() for a in got] == [[[-3]], [[-3, 0]], [[0, 2]], [[2]]]
    # A unit that is dropped passes nothing on, not even what is not finite.
    got = reference.forward(weights, biases, [[-math.inf]], ["identity", "identity"], masks=[[[0.0, 0.0]], masks[1]])
    assert got[1].tolist() == [[0, 0]]


# Optimizers


def test_clipping_by_hand() -> None:
    gradients = [np.array([[3.0, 0.0]]), np.array([0.0, 4.0])]
    clipped, norm = reference.clip_gradients(gradients, 2.5)
    assert norm == 5
    assert [g.tolist() for g in clipped] == [[[1.5, 0]], [0, 2]]
    for max_norm in (5.0, 7.0):
        for g, same in zip(reference.clip_gradients(gradients, max_norm)[0], gradients, strict=True):
            np.testing.assert_array_equal(g, same)
    assert reference.clip_gradients([[0.0]], 1.0)[0][0] == 0


def test_two_steps_by_hand() -> None:
    """w = 1, the gradient 2 and then 1, a learning rate of 1/2."""
    expected: dict[str, tuple[dict[str, float], float]] = {
        "sgd": ({}, 1 - 1 - 0.5),
        "momentum": ({"momentum": 0.5}, 1 - 1 - 0.5 * (0.5 * 2 + 1)),
        "nesterov": ({"momentum": 0.5}, 1 - 0.5 * (2 + 1) - 0.5 * (1 + 0.5 * 2)),
        "adam": ({"beta_1": 0.5, "beta_2": 0.75, "epsilon": 1.0},  # m 1 then 1; v 1 then 1
                 1 - 0.5 * 2 / (2 + 1) - 0.5 * (1 / 0.75) / (math.sqrt(1 / (1 - 0.5625)) + 1)),
        "rmsprop": ({"smoothing": 0.75, "epsilon": 1.0}, 1 - 1 / (1 + 1) - 0.5 / (1 + 1)),
        "adagrad": ({"epsilon": 1.0}, 1 - 1 / (2 + 1) - 0.5 / (math.sqrt(5) + 1)),
    }  # fmt: skip
    first = 1 - 0.5 * 0.1 - 0.5 * 2 / (2 + 1)
    expected["adamw"] = (
        expected["adam"][0] | {"weight_decay": 0.1},
        first - 0.5 * 0.1 * first - 0.5 * (1 / 0.75) / (math.sqrt(1 / (1 - 0.5625)) + 1),
    )
    for name, (options, value) in expected.items():
        w, state = reference.optimizer_step(name, [1.0], [2.0], (), 1, 0.5, **options)
        w, state = reference.optimizer_step(name, w, [1.0], state, 2, 0.5, **options)
        assert w[0] == pytest.approx(value, rel=16 * EPS), name


def test_training_with_everything_is_one_step_after_another(rng: np.random.Generator) -> None:
    weights, biases, X, _ = network(rng, (3, 6, 2), n=10)
    t, weight = rng.standard_normal((10, 2)), rng.uniform(0.5, 2, 10)
    order, rates = np.array([[6, 1, 7, 0, 2], [3, 4, 9, 8, 5]]), [0.1, 0.09, 0.08, 0.07]
    trained = reference.train(
        weights, biases, X, t, order, 3, rates, 0.2, "tanh", 0.5, 2.0, sample_weight=weight, optimizer="adamw",
        optimizer_options={"beta_2": 0.9, "weight_decay": 0.1}, l2_per_weight=True, max_grad_norm=0.5, dropout=0.25,
        dropout_key=77, loss_name="huber", huber_delta=0.5,
    )  # fmt: skip
    p, m, v, losses = [*weights, *biases], [0.0] * 4, [0.0] * 4, []
    for step, rows in enumerate([[6, 1, 7], [0, 2], [3, 4, 9], [8, 5]]):
        masks = [reference.dropout_mask((77 + step * 0xA0761D6478BD642F) % WORD, 0, len(rows), 6, 0.25)]
        loss, dWs, dbs, _ = reference.gradient(
            p[:2], p[2:], X[rows], t[rows], 0.2 / weight[rows].sum(), "tanh", 0.5, 2.0, loss_name="huber",
            sample_weight=weight[rows], masks=masks, huber_delta=0.5,
        )  # fmt: skip
        losses.append(loss)
        norm = math.sqrt(sum((g**2).sum() for g in [*dWs, *dbs]))
        assert norm > 0.5
        for i, g in enumerate([*dWs, *dbs]):
            g = g * (0.5 / norm)
            m[i], v[i] = 0.9 * m[i] + 0.1 * g, 0.9 * v[i] + 0.1 * g**2
            hat = m[i] / (1 - 0.9 ** (step + 1)) / (np.sqrt(v[i] / (1 - 0.9 ** (step + 1))) + 1e-8)
            p[i] = p[i] - rates[step] * hat - (rates[step] * 0.1 * p[i] if i < 2 else 0)
    for got, expected in zip([*trained[0], *trained[1], trained[2]], [*p, losses], strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("message", "call"),
    [
        ("activation: got 'softsign'", lambda: reference.activation_forward("softsign", [1])),
        ("activation: got 'softsign'", lambda: reference.activation_backward("softsign", [1], [1])),
        ("x: got shape", lambda: reference.activation_backward("tanh", [1], [1, 2])),
        (
            "activation: got 1, expected one for each of the 0",
            lambda: reference.forward([[[1]]], [[1]], [[1]], ["relu"]),
        ),
        ("masks: got 1, expected", lambda: reference.forward([[[1]]], [[1]], [[1]], masks=[[[1]]])),
        ("masks: got shape", lambda: reference.forward([[[1]]] * 2, [[1]] * 2, [[1]], masks=[[1]])),
        ("loss: got 'mse'", lambda: reference.loss_of("mse", [[1]], [1])),
        ("loss: got 'mse'", lambda: reference.outputs_of("mse", [[1]])),
        ("targets: got shape", lambda: reference.loss_of("huber", [[1, 2]], [1])),
        ("targets: got numbers below 0 or above 1", lambda: reference.loss_of("binary_cross_entropy", [[1]], [1.5])),
        ("targets: got numbers below 0", lambda: reference.loss_of("poisson_deviance", [[1]], [-1])),
        ("at least one row", lambda: reference.loss_of("huber", np.ones((0, 1)), [])),
        ("sample_weight: got shape", lambda: reference.loss_of("huber", [[1]], [1], [1, 2])),
        ("sample_weight: got weights that add up to 0", lambda: reference.loss_of("huber", [[1]], [1], [0])),
        ("p: got 1", lambda: reference.dropout_mask(0, 0, 1, 1, 1)),
        ("p: got -0.1", lambda: reference.dropout_mask(0, 0, 1, 1, -0.1)),
        ("g: got shape", lambda: reference.momentum_step([1], [1, 2], [1], 0.1)),
        ("optimizer: got 'lamb'", lambda: reference.optimizer_step("lamb", [1], [1], (), 1, 0.1)),
    ],
)
def test_errors_name_the_argument(message: str, call: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=message):
        call()
