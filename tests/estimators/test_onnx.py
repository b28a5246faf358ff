"""The estimators in pipelines that skl2onnx converts."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import fastbp
import fastbp.onnx
from support.onnx_cases import TOLERANCE, assert_agree

skl2onnx = pytest.importorskip("skl2onnx")
data_types = pytest.importorskip("skl2onnx.common.data_types")

pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
QUICK = {"hidden_layer_sizes": (8,), "max_iter": 20, "tol": 0.0, "n_iter_no_change": 1000, "random_state": 0}
TABULAR = {"n_networks": 2, "max_iter": 2, "random_state": 0}


@pytest.fixture(autouse=True)
def registered() -> None:
    fastbp.onnx.register()


@pytest.fixture
def rows() -> Any:
    return np.random.default_rng(0).normal(3.0, 2.0, (120, 4))


def converted(model: Any, X: Any, options: Any = None, **inputs: Any) -> dict[str, Any]:
    """Convert, and return what ONNX Runtime computes of X, or of the inputs, by the names of the outputs."""
    proto = skl2onnx.to_onnx(
        model, X[:1] if isinstance(X, np.ndarray) else None, options=options, **inputs.pop("as_", {})
    )
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs or {"X": X}), strict=True))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("names", [["no", "yes"], ["a", "b", "ç"], [0, 1], [3, -7, 10]])
@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_classifiers(rows: Any, names: list[Any], activation: str, dtype: str) -> None:
    X = rows.astype(dtype)
    y = np.array(names)[np.argsort(X[:, : len(names)], axis=1)[:, 0]]
    model = make_pipeline(StandardScaler(), fastbp.MLPClassifier(activation=activation, **QUICK)).fit(X, y)
    found = converted(model, X, {"zipmap": False})
    assert found["label"].tolist() == model.predict(X).tolist()
    assert len(set(found["label"].tolist())) == len(names)
    assert_agree(found["probabilities"], model.predict_proba(X).astype(dtype), TOLERANCE[dtype])


def test_probabilities_as_dictionaries(rows: Any) -> None:
    y = np.where(rows[:, 0] > 3.0, "large", "small")
    model = fastbp.MLPClassifier(**QUICK).fit(rows, y)
    found = converted(model, rows.astype(np.float32))
    first = found["output_probability"][0]
    assert first["large"] == pytest.approx(model.predict_proba(rows[:1])[0, 0], abs=1e-6)
    numbers = converted(model, rows, {type(model): {"zipmap": False, "nocl": True}})["label"]
    assert model.classes_[numbers].tolist() == model.predict(rows).tolist()


def test_several_labels(rows: Any) -> None:
    y = (rows[:, :3] > 3.0).astype(int)
    model = fastbp.MLPClassifier(**QUICK).fit(rows, y)
    found = converted(model, rows, {"zipmap": False})
    np.testing.assert_array_equal(found["label"], model.predict(rows))
    assert_agree(found["probabilities"], model.predict_proba(rows), 1e-12)


def test_float32_inputs_of_a_float64_network(rows: Any) -> None:
    model = fastbp.MLPClassifier(**QUICK).fit(rows, rows[:, 0] > 3.0)
    X = rows.astype(np.float32)
    found = converted(model, X, {"zipmap": False})
    assert found["probabilities"].dtype == np.float32
    assert_agree(found["probabilities"], model.predict_proba(X.astype(float)).astype(np.float32), 1e-6)
    assert found["label"].tolist() == model.predict(X).astype(int).tolist()


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("loss", ["squared_error", "poisson", "huber"])
@pytest.mark.parametrize("targets", [1, 2])
def test_regressors(rows: Any, targets: int, loss: str, dtype: str) -> None:
    X = rows.astype(dtype)
    y = np.abs(X[:, :targets]).squeeze()
    model = make_pipeline(StandardScaler(), fastbp.MLPRegressor(loss, **QUICK)).fit(X, y)
    found = converted(model, X)["variable"]
    assert_agree(found, model.predict(X).reshape(len(X), targets).astype(dtype), TOLERANCE[dtype])


def test_assigned_coefficients_count(rows: Any) -> None:
    model = fastbp.MLPRegressor(**QUICK).fit(rows, rows[:, 0])
    model.coefs_[0] = 2 * model.coefs_[0]
    assert_agree(converted(model, rows)["variable"][:, 0], model.predict(rows), 1e-12)


# ---- tables ----


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_tables_of_numbers(rows: Any, dtype: str) -> None:
    X = rows.astype(dtype)
    X[::5, 1] = np.nan
    classifier = fastbp.TabularClassifier(**TABULAR).fit(X, np.where(X[:, 0] > 3.0, "large", "small"))
    found = converted(classifier, X, {"zipmap": False})
    assert found["label"].tolist() == classifier.predict(X).tolist()
    assert_agree(found["probabilities"], classifier.predict_proba(X).astype(dtype), TOLERANCE["float32"])
    regressor = fastbp.TabularRegressor(**TABULAR).fit(X, X[:, 0])
    wanted = regressor.predict(X)[:, np.newaxis].astype(dtype)
    assert_agree(converted(regressor, X)["variable"], wanted, TOLERANCE["float32"])


def test_quantiles(rows: Any) -> None:
    model = fastbp.TabularRegressor(quantiles=[0.1, 0.5, 0.9], **TABULAR).fit(rows, rows[:, 0])
    assert_agree(converted(model, rows)["variable"], model.predict(rows), TOLERANCE["float32"])


def test_columns_one_by_one(rows: Any) -> None:
    pandas = pytest.importorskip("pandas")
    size, text = rows[:, [0]], np.where(rows[:, [1]] > 3.0, "high", "low").astype(object)
    truth = rows[:, [2]] > 3.0
    frame = pandas.DataFrame({"size": size[:, 0], "height": text[:, 0], "truth": truth[:, 0]})
    model = fastbp.TabularRegressor(**TABULAR).fit(frame, rows[:, 0] + truth[:, 0])
    types = {
        "truth": data_types.BooleanTensorType([None, 1]),
        "size": data_types.DoubleTensorType([None, 1]),
        "height": data_types.StringTensorType([None, 1]),
    }
    given = {"size": size, "height": text, "truth": truth}
    found = converted(model, None, as_={"initial_types": list(types.items())}, **given)["variable"]
    assert_agree(found[:, 0].astype(float), model.predict(frame), TOLERANCE["float32"])


# ---- refused ----


def test_what_cannot_be_converted(rows: Any) -> None:
    X = np.where(rows > 3.0, "high", "low").astype(object)
    X[:, 0] = rows[:, 0]
    model = fastbp.TabularRegressor(**TABULAR).fit(X, rows[:, 0])
    with pytest.raises(ValueError, match="TabularRegressor: input 'X': got numbers, expected StringTensorType"):
        converted(model, rows)
    with pytest.raises(ValueError, match="got 3 columns, expected 4 as in the fit"):
        converted(model, rows[:, :3])
    model = fastbp.MLPRegressor(**QUICK).fit(rows, rows[:, 0])
    types = [(name, data_types.FloatTensorType([None, 2])) for name in "ab"]
    with pytest.raises(ValueError, match="MLPRegressor: got 2 inputs, expected one, of numbers"):
        converted(model, None, as_={"initial_types": types})


def test_in_a_column_transformer(rows: Any) -> None:
    """Text by scikit-learn's own encoder in front of the network."""
    text = np.where(rows[:, [1]] > 3.0, "high", "low").astype(object)
    X = np.concatenate([rows.astype(object), text], axis=1)
    steps = ColumnTransformer([("n", StandardScaler(), [0, 1, 2, 3]), ("t", OneHotEncoder(), [4])])
    model = make_pipeline(steps, fastbp.MLPRegressor(**QUICK)).fit(X, rows[:, 0])
    types = [("a", data_types.DoubleTensorType([None, 4])), ("b", data_types.StringTensorType([None, 1]))]
    found = converted(model, None, as_={"initial_types": types}, a=rows, b=text)["variable"]
    assert_agree(found[:, 0].astype(float), model.predict(X), TOLERANCE["float32"])
