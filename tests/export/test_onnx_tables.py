"""Models of tables as ONNX files: ONNX Runtime encodes raw columns and answers as fastbp does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import fastbp
from fastbp.tables import Columns, TableModel
from fastbp.tables.encoder import MOST_ONE_HOT, Encoder
from fastbp.tables.model import Member
from fastbp.tables.targets import TargetScaling
from support.onnx_cases import TOLERANCE, answers, assert_agree

ROWS = 300
NAMES = ("size", "place", "never", "label", "code", "truth", "alone")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.onnx"


def texts(values: Any) -> Any:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def table(seed: int = 0) -> Columns:
    """Numbers with gaps, with infinities, and all the same; few levels, many, bools; and a column of one level."""
    rng = np.random.default_rng(seed)
    sizes, labels = 1e5 + 1e3 * rng.standard_normal(ROWS), rng.standard_normal(ROWS) ** 3
    sizes[::7] = np.nan
    labels[:3] = np.inf, -np.inf, 1e300
    places = texts(rng.choice(["north", "süd", "east", None], ROWS).tolist())
    codes = texts([f"code {number}" for number in rng.integers(0, MOST_ONE_HOT + 10, ROWS)])
    truths = texts(rng.choice(["True", "False"], ROWS).tolist())
    return Columns(NAMES, (sizes, places, np.full(ROWS, 3.0), labels, codes, truths, texts(["x"] * ROWS)))


def others() -> Columns:
    """Rows of other tables: gaps where there were none, levels that were not known, and bools as 0 and 1."""
    columns = table(1)
    arrays = [array.copy() for array in columns.arrays]
    arrays[2][:] = np.linspace(-1, 1, ROWS)
    arrays[3][3:6] = np.nan
    arrays[1][:2], arrays[4][:3], arrays[5][:4] = "west", "unknown", ["0", "1", None, "2"]
    return columns._replace(arrays=tuple(arrays))


def feeds(columns: Columns) -> dict[str, Any]:
    """The same rows as ONNX Runtime takes them."""
    names = columns.names or [f"column_{place}" for place in range(len(columns.arrays))]
    given = {}
    for name, array in zip(names, columns.arrays, strict=True):
        filled = texts(["" if value is None else value for value in array]) if array.dtype == object else array
        given[name] = filled[:, np.newaxis]
    return given


def members(columns: Columns, dtype: str, loss: str, outputs: int, **constants: Any) -> list[Member]:
    """Two encodings, and two networks of each."""
    found = []
    for bins, share in ((0, 0.3), (5, 0.7)):
        encoder = Encoder.fit(columns, bins)
        networks = [
            fastbp.MLP((encoder.width, 10, outputs), "silu", loss, dtype, seed, embeddings=encoder.embeddings,
                       **constants)
            for seed in (bins, bins + 1)
        ]  # fmt: skip
        found.append(Member(encoder, fastbp.Ensemble(networks), share))
    return found


def check(model: TableModel, columns: Columns, path: Path, dtype: str) -> dict[str, Any]:
    """Compare what ONNX Runtime answers; return it."""
    found = answers(model, path, feeds(columns))
    if model.scaling is None:
        classes = model.network.class_names or range(model.network.classes)
        label, probabilities = found.values()
        assert label.tolist() == [classes[number] for number in model.predict(columns)]
        assert len(set(label.tolist())) > 1
        assert_agree(probabilities, model.outputs(columns), TOLERANCE[dtype])
    else:
        (predictions,) = found.values()
        assert_agree(predictions, model.predict(columns), TOLERANCE[dtype])
    return found


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("rows", [table, others])
def test_classes(rows: Any, dtype: str, path: Path) -> None:
    parts = members(table(), dtype, "softmax_cross_entropy", 3)
    assert len({member.encoder.width for member in parts}) == 2
    for net in (net for member in parts for net in member.networks.networks):
        net.class_names = ("a", "b", "ç")
    found = check(TableModel(parts), rows(), path, dtype)
    assert list(found) == ["label_", "probabilities"], "a column is called label"


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("outputs", [1, 2])
def test_numbers(outputs: int, dtype: str, path: Path) -> None:
    scaling = TargetScaling(np.array([5.0, -1.0][:outputs]), np.array([2.0, 0.1][:outputs]))
    model = TableModel(members(table(), dtype, "mean_squared_error", outputs), scaling)
    assert check(model, others(), path, dtype)["predictions"].shape == ((ROWS, 2) if outputs == 2 else (ROWS,))


@pytest.mark.parametrize("targets", [1, 2])
def test_quantiles_rise(targets: int, path: Path) -> None:
    levels = (0.1, 0.5, 0.9)
    parts = members(table(), "float64", "quantile", 3 * targets, quantile_level=levels * targets)
    model = TableModel(parts, TargetScaling(5.0, 2.0), levels)
    found = check(model, others(), path, "float64")["predictions"]
    assert (np.diff(found, axis=-1) >= 0).all()
    told = {each.key: each.value for each in onnx.load(path).metadata_props}
    assert json.loads(told["quantiles"]) == list(levels)
    assert json.loads(told["feature_names"]) == list(NAMES)


@pytest.mark.parametrize("places", [[0], [1], [2], [4], [5], [6], [6, 2], [4, 4], [0, 1, 3, 5]])
def test_tables_of_some_columns(places: list[int], path: Path) -> None:
    """Without names too, and where no column tells anything, or all are embedded."""
    columns = Columns(None, tuple(table().arrays[place] for place in places))
    parts = members(columns, "float64", "half_squared_error", 2)
    check(TableModel(parts, TargetScaling(0.0, 1.0)), columns, path, "float64")


def test_no_text_is_a_level_where_it_was_one(path: Path) -> None:
    columns = Columns(("t",), (texts(["", "a", "b"] * 20),))
    model = TableModel(members(columns, "float64", "half_squared_error", 1), TargetScaling(0.0, 1.0))
    found = check(model, columns, path, "float64")["predictions"]
    assert len(np.unique(found.round(9))) == 3


def test_a_fitted_model(path: Path) -> None:
    columns = table()
    X = dict(zip(NAMES, columns.arrays, strict=True))
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X)
    frame["truth"] = frame["truth"] == "True"
    y = np.where(np.nan_to_num(columns.arrays[0], nan=1e5) > 1e5, "large", "small")
    model = fastbp.TabularClassifier(n_networks=2, max_iter=2, random_state=0).fit(frame, y)
    found = answers(model.model_, path, feeds(columns))
    assert found["label_"].tolist() == model.predict(frame).tolist()
    assert_agree(found["probabilities"], model.predict_proba(frame), TOLERANCE["float32"])
