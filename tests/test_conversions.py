"""Networks from PyTorch and scikit-learn, and to scikit-learn: the same outputs, and errors that say what was given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp.kernels.losses import LOSSES
from support.networks import close, network
from support.processes import python

DTYPES = ("float32", "float64")


def rows(features: int, dtype: str = "float64", count: int = 60) -> Any:
    return np.random.default_rng(2).normal(0.0, 1.5, (count, features)).astype(dtype)


# ---- PyTorch ----


@pytest.fixture(scope="module")
def torch() -> Any:
    found = pytest.importorskip("torch")
    found.manual_seed(0)
    found.set_num_threads(1)
    return found


def outputs(module: Any, X: Any) -> Any:
    import torch

    module.eval()
    with torch.no_grad():
        return module(torch.from_numpy(X)).numpy()


HIDDEN = {
    "ReLU()": "relu",
    "LeakyReLU(0.2)": "leaky_relu",
    "ELU(0.7)": "elu",
    "SELU()": "selu",
    "GELU()": "gelu",
    "SiLU()": "silu",
    "Mish()": "mish",
    "Tanh()": "tanh",
    "Sigmoid()": "logistic",
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("text", HIDDEN)
def test_activations_of_torch(text: str, dtype: str, torch: Any) -> None:
    nn = torch.nn
    hidden = eval(f"nn.{text}", {"nn": nn})
    module = nn.Sequential(nn.Linear(5, 8), hidden, nn.Linear(8, 3)).to(getattr(torch, dtype))
    net = fastbp.from_torch(module, loss="mean_squared_error")
    assert (net.sizes, net.activation, net.dtype) == ((5, 8, 3), HIDDEN[text], np.dtype(dtype))
    X = rows(5, dtype)
    close(net.logits(X), outputs(module, X), dtype, 64)


def test_all_that_a_sequential_may_hold(torch: Any) -> None:
    nn = torch.nn
    shared = nn.Tanh()  # in two places, which `children` would list once
    block = nn.Sequential(nn.Linear(12, 7), nn.Dropout(0.5), nn.Identity())
    behind = nn.Linear(7, 6, bias=False), nn.Linear(6, 5), shared, nn.Linear(5, 4)
    module = nn.Sequential(nn.Flatten(), block, shared, *behind)
    net = fastbp.from_torch(module, loss="softmax_cross_entropy")
    assert net.activation == ("tanh", "identity", "tanh") and not net.biases[1].any()
    X = rows(12, "float32")
    close(net.logits(X), outputs(module, X), "float32", 128)
    before = net.parameters.copy()
    with torch.no_grad():
        module[3].weight.zero_()
    assert (net.parameters == before).all(), "copies"


@pytest.mark.parametrize(
    "last, loss, found",
    [
        ("Softmax(dim=1)", None, "softmax_cross_entropy"),
        ("Softmax(dim=-1)", "softmax_cross_entropy", "softmax_cross_entropy"),
        ("LogSoftmax(dim=1)", None, "softmax_cross_entropy"),
        ("Sigmoid()", None, "binary_cross_entropy"),
        ("Sigmoid()", "binary_cross_entropy_sum", "binary_cross_entropy_sum"),
    ],
)
def test_the_last_module_is_the_loss(last: str, loss: str | None, found: str, torch: Any) -> None:
    nn = torch.nn
    module = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3), eval(f"nn.{last}", {"nn": nn}))
    net = fastbp.from_torch(module, loss)
    assert net.loss_name == found
    X = rows(4, "float32")
    expected = outputs(module, X)
    close(net.predict_proba(X), np.exp(expected) if last.startswith("Log") else expected, "float32", 64)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_behind_a_linear(loss: str, torch: Any) -> None:
    module = torch.nn.Linear(3, 2)
    net = fastbp.from_torch(module, loss=loss)
    assert net.loss_name == loss and net.sizes == (3, 2)
    close(net.logits(rows(3, "float32")), outputs(module, rows(3, "float32")), "float32", 16)


REFUSED = {
    "nn.ReLU()": (TypeError, "module: got a ReLU, expected a torch.nn.Sequential"),
    "nn.Sequential()": (ValueError, "module: got no Linear"),
    "nn.Sequential(L(3, 4), nn.BatchNorm1d(4), L(4, 2))": (
        ValueError,
        "module: got a BatchNorm1d, which fastbp does not",
    ),
    "nn.Sequential(L(3, 4), nn.Softplus(), L(4, 2))": (ValueError, "module: got a Softplus, which fastbp does not"),
    "nn.Sequential(L(3, 4), nn.GELU('tanh'), L(4, 2))": (ValueError, "got a GELU with approximate='tanh', expected"),
    "nn.Sequential(L(3, 4), nn.ReLU(), nn.Tanh(), L(4, 2))": (ValueError, "got a ReLU and then a Tanh"),
    "nn.Sequential(nn.ReLU(), L(4, 2))": (ValueError, "got a ReLU in front of the first Linear"),
    "nn.Sequential(L(3, 4), nn.ReLU())": (
        ValueError,
        "got a ReLU behind the last Linear, expected Softmax, LogSoftmax",
    ),
    "nn.Sequential(L(3, 4), nn.Softmax(1), L(4, 2))": (ValueError, "got a Softmax in front of a Linear"),
    "nn.Sequential(L(3, 4), nn.Softmax(0))": (ValueError, "got a Softmax over dimension 0"),
    "nn.Sequential(nn.Flatten(0), L(3, 4))": (ValueError, "got a Flatten from dimension 0"),
    "nn.Sequential(L(3, 4), L(5, 2))": (ValueError, "got a Linear of 4 outputs in front of one of 5 inputs"),
    "nn.Sequential(L(3, 4), nn.ELU(0.5), L(4, 4), nn.ELU(0.25), L(4, 2))": (ValueError, "alpha=0.25 and one with 0.5"),
    "nn.Sequential(L(3, 4), L(4, 2).double())": (TypeError, "got parameters of float32 and float64"),
    "L(3, 4).half()": (TypeError, "got parameters of torch.float16"),
}


@pytest.mark.parametrize("text", REFUSED)
def test_modules_that_are_refused(text: str, torch: Any) -> None:
    kind, said = REFUSED[text]
    module = eval(text, {"nn": torch.nn, "L": torch.nn.Linear})
    with pytest.raises(kind, match="^module: ") as caught:
        fastbp.from_torch(module, loss="mean_squared_error")
    assert said in str(caught.value)


def test_losses_that_do_not_fit(torch: Any) -> None:
    nn = torch.nn
    with pytest.raises(
        ValueError, match="^loss: got None for a module that ends in a Linear, expected one of softmax_"
    ):
        fastbp.from_torch(nn.Linear(3, 2))
    with pytest.raises(
        ValueError, match="^loss: got 'huber' for a module that ends in a Softmax, expected softmax_cross"
    ):
        fastbp.from_torch(nn.Sequential(nn.Linear(3, 2), nn.Softmax(1)), loss="huber")
    own = fastbp.Loss("fourth", lambda z, t: (z - t) ** 4, lambda z, t: 4 * (z - t) ** 3)
    assert fastbp.from_torch(nn.Linear(3, 2), loss=own).loss_name == "fourth"
    with pytest.raises(ValueError, match="^loss: got 'hinge'"):
        fastbp.from_torch(nn.Linear(3, 2), loss="hinge")


def test_what_is_no_module() -> None:
    with pytest.raises(TypeError, match="^module: got a Sequential, expected a torch.nn.Sequential"):
        fastbp.from_torch(type("Sequential", (), {})())


def test_torch_reads_safetensors(torch: Any, tmp_path: Path) -> None:
    load_file = pytest.importorskip("safetensors.torch").load_file
    net, nn = network((5, 8, 6, 3), activation="tanh"), torch.nn
    net.to_safetensors(tmp_path / "net.safetensors")
    module = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3))
    module.load_state_dict(load_file(tmp_path / "net.safetensors"))
    X = rows(5, "float32")
    close(net.logits(X), outputs(module, X), "float32", 128)
    back = fastbp.from_torch(module, loss="softmax_cross_entropy")
    assert (back.parameters == net.parameters).all()


# ---- scikit-learn ----

ACTIVATIONS = ("identity", "logistic", "tanh", "relu")


@pytest.fixture(scope="module")
def neural_network() -> Any:
    return pytest.importorskip("sklearn.neural_network")


def classes_of(X: Any, kinds: Any) -> Any:
    """Labels that depend on X."""
    return np.asarray(kinds)[np.digitize(X[:, 0] + X[:, 1], [-1.0, 1.0][: len(kinds) - 1])]


def fitted(estimator: Any, X: Any, y: Any) -> Any:
    return estimator.set_params(max_iter=20, learning_rate_init=0.02, random_state=0).fit(X, y)


pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kinds", [[0, 1], ["no", "yes"], [0, 1, 2], [3, 5, 9], ["b", "c", "a"]], ids=str)
def test_classifiers(kinds: Any, activation: str, dtype: str, neural_network: Any) -> None:
    X = rows(4, dtype)
    theirs = fitted(neural_network.MLPClassifier((7, 5), activation), X, classes_of(X, kinds))
    net = fastbp.from_sklearn(theirs)
    assert (net.sizes, net.dtype, net.loss_name) == ((4, 7, 5, len(kinds)), np.dtype(dtype), "softmax_cross_entropy")
    close(net.predict_proba(X), theirs.predict_proba(X), dtype, 256)
    names = np.arange(net.classes) if net.class_names is None else np.array(net.class_names)
    assert (names[net.predict(X)] == theirs.predict(X).astype(names.dtype)).all()
    back = net.to_sklearn()
    assert type(back) is neural_network.MLPClassifier and (back.classes_ == theirs.classes_.astype(names.dtype)).all()
    assert back.out_activation_ == theirs.out_activation_
    close(back.predict_proba(X), theirs.predict_proba(X), dtype, 256)
    assert (back.predict(X).astype(names.dtype) == theirs.predict(X).astype(names.dtype)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
@pytest.mark.parametrize("targets", [1, 3])
def test_regressors(targets: int, loss: str, dtype: str, neural_network: Any) -> None:
    X = rows(4, dtype)
    y = np.square(X[:, :targets]) if targets > 1 else np.square(X[:, 0])
    theirs = fitted(neural_network.MLPRegressor(loss, (7,), "tanh"), X, y)
    net = fastbp.from_sklearn(theirs)
    assert net.loss_name == {"squared_error": "half_squared_error", "poisson": "half_poisson_deviance_sum"}[loss]
    close(net.predict(X), theirs.predict(X), dtype, 256)
    back = net.to_sklearn()
    assert (type(back), back.loss) == (neural_network.MLPRegressor, loss)
    close(back.predict(X), theirs.predict(X), dtype, 256)


def test_several_labels(neural_network: Any) -> None:
    X = rows(4)
    theirs = fitted(neural_network.MLPClassifier((7,)), X, (X[:, :3] > 0).astype(int))
    net = fastbp.from_sklearn(theirs)
    assert net.loss_name == "binary_cross_entropy_sum" and net.class_names is None
    for other in (net, net.to_sklearn()):
        close(other.predict_proba(X), theirs.predict_proba(X), "float64", 256)
        assert (other.predict(X) == theirs.predict(X)).all()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("outputs", [1, 2, 4])
def test_to_scikit_learn(outputs: int, loss: str, neural_network: Any) -> None:
    net = network((5, 6, outputs), "float64", loss=loss)
    X = rows(5)
    if (loss, outputs) == ("softmax_cross_entropy", 1):
        with pytest.raises(ValueError, match="^to_sklearn: got a network with one class"):
            net.to_sklearn()
        return
    estimator = net.to_sklearn()
    close(estimator.predict(X), net.predict(X), "float64", 64)
    if LOSSES[loss].classifies:
        found = estimator.predict_proba(X)
        close(found[:, 1:] if outputs == 1 else found, net.predict_proba(X), "float64", 64)
    before = net.parameters.copy()
    estimator.coefs_[0][...] = 0
    assert (net.parameters == before).all(), "copies"


def test_classes_in_another_order(neural_network: Any) -> None:
    net = network((4, 6, 3), "float64")
    net.class_names = ("pear", "apple", "fig")
    X = rows(4)
    estimator = net.to_sklearn()
    assert [*estimator.classes_] == ["apple", "fig", "pear"]
    assert (estimator.predict(X) == np.array(net.class_names)[net.predict(X)]).all()
    close(estimator.predict_proba(X), net.predict_proba(X)[:, [1, 2, 0]], "float64", 64)


def test_an_estimator_goes_on_learning(neural_network: Any) -> None:
    X = rows(4, count=300)
    y = classes_of(X, [0, 1, 2])
    net = network((4, 20, 3), "float64")
    estimator = net.to_sklearn().set_params(learning_rate_init=0.02)
    before = estimator.score(X, y)
    for _ in range(60):
        estimator.partial_fit(X, y)
    assert estimator.score(X, y) > max(before, 0.8)
    assert fastbp.from_sklearn(estimator).score(X, y) == estimator.score(X, y)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "scaling",
    [
        {"input_shift": [9e4, -5.0, 0.0]},
        {"input_scale": [1.0, -0.5, 0.0]},
        {"input_shift": 9e4, "input_scale": 3.0},
    ],
    ids="-".join,
)
def test_scaled_inputs(scaling: dict[str, Any], dtype: str, neural_network: Any) -> None:
    net = network((3, 6, 2), dtype, **scaling)
    net.feature_names = ("a", "b", "c")
    shift = 0.0 if net.input_shift is None else net.input_shift
    X = pandas_frame(shift + rows(3, dtype))
    pipeline = net.to_sklearn()
    assert [*pipeline.feature_names_in_] == ["a", "b", "c"]
    close(pipeline.predict_proba(X), net.predict_proba(X), dtype, 64)
    back = fastbp.from_sklearn(pipeline)
    assert back.feature_names == ("a", "b", "c") and back.dtype == net.dtype
    close(back.predict_proba(X), net.predict_proba(X), dtype, 64)


def pandas_frame(values: Any) -> Any:
    return pytest.importorskip("pandas").DataFrame(values, columns=["a", "b", "c"])


def test_a_pipeline_of_scikit_learn(neural_network: Any) -> None:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X = 1000.0 + 7.0 * rows(4)
    theirs = make_pipeline(StandardScaler(), neural_network.MLPRegressor(max_iter=5))
    theirs.fit(X, X[:, 0] - X[:, 1])
    close(fastbp.from_sklearn(theirs).predict(X), theirs.predict(X), "float64", 256)


def test_activations_that_scikit_learn_lacks() -> None:
    pytest.importorskip("sklearn")
    for activation, said in (("gelu", "gelu"), (("relu", "tanh"), "relu, tanh")):
        with pytest.raises(ValueError, match=f"^to_sklearn: got hidden layers with {said}, expected one activation"):
            fastbp.MLP((3, 4, 4, 2), activation, seed=0).to_sklearn()
    with pytest.raises(ValueError, match="^to_sklearn: got a network with embeddings"):
        fastbp.MLP((3, 4, 2), embeddings={2: (5, 3)}, seed=0).to_sklearn()


def test_estimators_that_are_refused(neural_network: Any) -> None:
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    def refused(estimator: Any, kind: type[Exception], said: str) -> None:
        with pytest.raises(kind, match="^estimator: ") as caught:
            fastbp.from_sklearn(estimator)
        assert said in str(caught.value)

    network = neural_network.MLPClassifier()
    refused(network, ValueError, "got a MLPClassifier that is not fitted, expected one after its fit")
    refused(LinearRegression(), TypeError, "got a LinearRegression of sklearn.linear_model")
    refused(fastbp.MLPClassifier(), TypeError, "expected scikit-learn's MLPClassifier or MLPRegressor")
    X, y = fastbp.datasets.quadrants(40, seed=0)
    refused(fastbp.MLPClassifier((3,), max_iter=2).fit(X, y), TypeError, "its attribute network_ is the MLP")
    refused(make_pipeline(MinMaxScaler(), network), TypeError, "got a pipeline of MinMaxScaler, MLPClassifier")
    refused(make_pipeline(StandardScaler(), network), ValueError, "got a StandardScaler that is not fitted")


def test_without_scikit_learn() -> None:
    code = "import sys; sys.modules['sklearn'] = None; import fastbp; fastbp.MLP((2, 3, 2)).to_sklearn()"
    done = python(code)
    assert "ModuleNotFoundError: to_sklearn: needs scikit-learn: pip install 'fastbp[sklearn]'" in done.stderr


def test_neither_library_is_imported() -> None:
    code = """
import sys, fastbp
try: fastbp.from_torch(None)
except TypeError: pass
try: fastbp.from_sklearn(None)
except TypeError: pass
print(*{"torch", "sklearn", "fastbp.export"} & set(sys.modules))
"""
    done = python(code)
    assert (done.stdout, done.stderr) == ("\n", "")
