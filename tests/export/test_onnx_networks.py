"""Networks and ensembles as ONNX files: ONNX Runtime answers as fastbp does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.reference
import onnxruntime
import pytest

import fastbp
from fastbp.kernels.activations import ACTIVATIONS
from fastbp.kernels.losses import LOSSES
from fastbp.reference import activation_forward
from support.exported_cases import everywhere
from support.onnx_cases import TOLERANCE, answers, assert_agree

DTYPES = list(TOLERANCE)
SHIFT, SCALE = [0.5, -1.0, 0.0], [2.0, 0.25, 1.5]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.onnx"


def rows(dtype: str, features: int = 3, count: int = 50) -> Any:
    return np.random.default_rng(1).normal(0.0, 2.0, (count, features)).astype(dtype)


# ---- activations ----


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_everywhere(name: str, dtype: str, path: Path) -> None:
    constants = {"leaky_slope": 0.1, "elu_alpha": 0.7}
    net = fastbp.MLP((1, 1, 1), name, "mean_squared_error", dtype, initializer=[[[1.0]], [0.0], [[1.0]], [0.0]],
                     **constants)  # fmt: skip
    x = everywhere(dtype)
    found = answers(net, path, {"X": x})["predictions"]
    depends = {each.name: constants[each.name] for each in ACTIVATIONS[name].constants}
    with np.errstate(over="ignore"):
        wanted = activation_forward(name, x[:, 0], **depends).astype(dtype)
    assert_agree(found, wanted, TOLERANCE[dtype])
    assert_agree(found, net.predict(x), TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_networks_of_each_activation(name: str, dtype: str, path: Path) -> None:
    net = fastbp.MLP((3, 20, 10, 4), name, dtype=dtype, seed=0, input_shift=SHIFT, input_scale=SCALE)
    X = rows(dtype)
    assert_agree(answers(net, path, {"X": X})["probabilities"], net.predict_proba(X), TOLERANCE[dtype])


# ---- losses ----


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
def test_losses(loss: str, dtype: str, outputs: int, path: Path) -> None:
    if outputs == 1 and LOSSES[loss].targets == "classes":
        pytest.skip("one class is no choice")
    net = fastbp.MLP((3, 10, outputs), ["tanh"], loss, dtype, seed=1)
    X = rows(dtype)
    found, wanted = answers(net, path, {"X": X}), net.predict(X)
    if LOSSES[loss].classifies:
        assert list(found) == ["label", "probabilities"]
        assert found["label"].dtype == np.int64
        assert len(np.unique(wanted)) > 1
        np.testing.assert_array_equal(found["label"], wanted)
        assert_agree(found["probabilities"], net.predict_proba(X), TOLERANCE[dtype])
    else:
        assert list(found) == ["predictions"]
        assert_agree(found["predictions"], wanted, TOLERANCE[dtype])


# ---- formulas of a user's own ----


def test_a_loss_of_ones_own(path: Path) -> None:
    """Of a loss only the targets matter, by which outputs are probabilities here."""
    halved = fastbp.Loss("halved", lambda z, t: (z - t) ** 2 / 2, lambda z, t: z - t, targets="shares")
    net = fastbp.MLP((3, 5, 1), "silu", halved, "float64", seed=0)
    X = rows("float64")
    found = answers(net, path, {"X": X})
    np.testing.assert_array_equal(found["label"], net.predict(X))
    assert_agree(found["probabilities"], net.predict_proba(X), 1e-12)


def test_an_activation_of_ones_own(path: Path) -> None:
    squared = fastbp.Activation("squared", lambda x: max(x, 0) ** 2, lambda x: 2 * max(x, 0))
    with pytest.raises(ValueError, match="to_onnx: got a network with an activation of your own, expected only 'ident"):
        fastbp.MLP((3, 5, 2), squared, seed=0).to_onnx(path)
    assert not path.exists()


# ---- inputs and labels ----


@pytest.mark.parametrize("scaling", [{}, {"input_shift": SHIFT}, {"input_scale": SCALE}])
def test_input_scaling(scaling: dict[str, Any], path: Path) -> None:
    net = fastbp.MLP((3, 5, 2), dtype="float64", seed=0, **scaling)
    X = rows("float64")
    assert_agree(answers(net, path, {"X": X})["probabilities"], net.predict_proba(X), 1e-12)


@pytest.mark.parametrize("embeddings", [{1: (5, 3)}, {0: (4, 2), 2: (7, 1)}, {0: (4, 2), 1: (5, 3), 2: (7, 1)}])
@pytest.mark.parametrize("dtype", DTYPES)
def test_embeddings(embeddings: dict[int, tuple[int, int]], dtype: str, path: Path) -> None:
    net = fastbp.MLP((3, 6, 2), "gelu", dtype=dtype, seed=0, embeddings=embeddings, input_scale=2.0)
    X, draw = rows(dtype), np.random.default_rng(0)
    for column, (levels, _) in embeddings.items():
        X[:, column] = draw.integers(0, levels, len(X))
    assert_agree(answers(net, path, {"X": X})["probabilities"], net.predict_proba(X), TOLERANCE[dtype])
    X[0, next(iter(embeddings))] = 10
    with pytest.raises(Exception, match="indices element out of data bounds"):
        answers(net, path, {"X": X})


def test_names(path: Path) -> None:
    net = fastbp.MLP((3, 5, 3), seed=0)
    net.class_names, net.feature_names, net.target_name = ["été", "autumn", "7"], ["a", "b b", "ç"], "season"
    X = rows("float32")
    found = answers(net, path, {"X": X})
    assert found["label"].tolist() == [net.class_names[label] for label in net.predict(X)]
    assert len(set(found["label"])) > 1
    model = onnx.load(path)
    told = {each.key: each.value for each in model.metadata_props}
    assert json.loads(told["classes"]) == list(net.class_names)
    assert json.loads(told["feature_names"]) == ["a", "b b", "ç"]
    assert (told["target_name"], told["loss"]) == ("season", "softmax_cross_entropy")
    assert (model.producer_name, model.producer_version) == ("fastbp", fastbp.__version__)


def test_the_lowest_of_equal_classes(path: Path) -> None:
    net = fastbp.MLP((1, 3), initializer=[[[0.0, 1.0, 1.0]], [0.0, 0.0, 0.0]])
    X = np.array([[1.0], [-1.0], [0.0]], np.float32)
    assert answers(net, path, {"X": X})["label"].tolist() == net.predict(X).tolist() == [1, 0, 0]


def test_any_number_of_rows(path: Path) -> None:
    net = fastbp.MLP((3, 5, 2), seed=0)
    net.to_onnx(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    assert (given.name, given.type, given.shape) == ("X", "tensor(float)", ["rows", 3])
    for count in (0, 1, 7):
        label, probabilities = session.run(None, {"X": rows("float32", count=count)})
        assert (label.shape, probabilities.shape) == ((count,), (count, 2))


# ---- ensembles ----


@pytest.mark.parametrize(
    "loss, outputs", [("softmax_cross_entropy", 3), ("binary_cross_entropy", 1), ("poisson_deviance", 2)]
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_ensembles(loss: str, outputs: int, dtype: str, path: Path) -> None:
    networks = [fastbp.MLP((3, 4 + seed, outputs), "elu", loss, dtype, seed) for seed in range(3)]
    ensemble = fastbp.Ensemble(networks)
    X = rows(dtype)
    found, wanted = answers(ensemble, path, {"X": X}), ensemble.predict(X)
    if ensemble.networks[0].model.loss.classifies:
        np.testing.assert_array_equal(found["label"], wanted)
        assert_agree(found["probabilities"], ensemble.predict_proba(X), TOLERANCE[dtype])
    else:
        assert_agree(found["predictions"], wanted, TOLERANCE[dtype])


def test_an_ensemble_of_two_dtypes(path: Path) -> None:
    ensemble = fastbp.Ensemble([fastbp.MLP((3, 4, 2), dtype=dtype, seed=0) for dtype in DTYPES])
    X = rows("float64")
    assert_agree(answers(ensemble, path, {"X": X})["probabilities"], ensemble.predict_proba(X), 1e-6)


# ---- files ----


def test_the_same_model_gives_the_same_bytes(path: Path) -> None:
    net = fastbp.MLP((3, 4, 2), "mish", seed=0)
    net.to_onnx(path)
    first = path.read_bytes()
    net.to_onnx(path)
    assert path.read_bytes() == first
    assert [each.name for each in path.parent.iterdir()] == ["model.onnx"]


def test_an_old_file_stays_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text("old")
    monkeypatch.setattr("os.fsync", lambda file: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fastbp.MLP((3, 4, 2), seed=0).to_onnx(path)
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_more_than_a_file_can_hold(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastbp.export.onnx_graph.MOST_BYTES", 1000)
    with pytest.raises(ValueError, match="2 GiB"):
        fastbp.MLP((30, 40, 2), seed=0).to_onnx(path)
    assert not path.exists()


# ---- another program ----


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_reference_implementation_of_onnx_agrees(name: str, dtype: str, path: Path) -> None:
    net = fastbp.MLP((3, 10, 4), name, dtype=dtype, seed=0, input_shift=SHIFT, embeddings={2: (5, 2)})
    net.class_names = ("a", "b", "c", "d")
    X = rows(dtype)
    X[:, 2] = np.arange(len(X)) % 5
    net.to_onnx(path)
    label, probabilities = onnx.reference.ReferenceEvaluator(str(path)).run(None, {"X": X})
    assert label.tolist() == [net.class_names[number] for number in net.predict(X)]
    assert_agree(probabilities, net.predict_proba(X), TOLERANCE[dtype])
