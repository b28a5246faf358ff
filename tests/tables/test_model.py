"""Models of tables: outputs from raw rows, and their files."""

import numpy as np
import pytest

import fastbp
from fastbp.tables import Columns, TableModel
from fastbp.tables.fitting import Objective, Rows, fit
from fastbp.tables.recipe import Encoding, Recipe
from fastbp.tables.targets import TargetScaling

SHORT = Recipe(networks=2, epochs=3, hidden=(8,), encodings=(Encoding(0, 0.1, 0.004), Encoding(4, 0.1, 0.002)))


def texts(values):
    array = np.empty(len(values), object)
    array[:] = values
    return array


@pytest.fixture
def columns():
    rng = np.random.default_rng(1)
    numbers = rng.standard_normal((60, 2))
    numbers[::7, 0] = np.nan
    return Columns(("a", "b", "c"), (*numbers.T, texts(rng.choice(["x", "y", None], 60).tolist())))


def model_of_numbers(columns, quantiles=()):
    rng = np.random.default_rng(2)
    targets = rng.standard_normal((columns.rows, max(1, len(quantiles))))
    objective = Objective("mean_squared_error", 1)
    if quantiles:
        objective = Objective("quantile", len(quantiles), {"quantile_level": quantiles})
    fitted = fit(Rows(columns, targets), objective, SHORT, rng)
    return TableModel(fitted.encoder, fitted.networks, TargetScaling(1e6, 2.0), quantiles)


def test_outputs_are_the_mean_of_the_networks_scaled_back(columns):
    model = model_of_numbers(columns)
    X = model.encoder.encode(columns, np.dtype(np.float32))
    outputs = np.mean([net.outputs(X).astype(np.float64) for net in model.networks.networks], axis=0)
    expected = outputs.astype(np.float32).astype(np.float64) * 2.0 + 1e6
    assert model.outputs(columns).tobytes() == expected.tobytes()
    assert model.predict(columns).tobytes() == expected[:, 0].tobytes()


def test_blocks_of_rows_and_single_rows_have_the_same_bits(columns, monkeypatch):
    model = model_of_numbers(columns)
    expected = model.outputs(columns).tobytes()
    assert np.concatenate([model.outputs(row) for row in columns.blocks(1)]).tobytes() == expected
    monkeypatch.setattr("fastbp.tables.model.BLOCK_BYTES", 7 * 4 * model.encoder.width)
    assert model.outputs(columns).tobytes() == expected


def test_quantiles_of_each_row_are_sorted(columns):
    model = model_of_numbers(columns, (0.1, 0.5, 0.9))
    outputs = model.outputs(columns)
    assert (np.diff(outputs) < 0).any()  # after 3 epochs they cross
    assert model.predict(columns).tolist() == np.sort(outputs, axis=1).tolist()


@pytest.mark.parametrize("quantiles", [(), (0.25, 0.75)])
def test_a_file_holds_everything(columns, quantiles, tmp_path):
    model = model_of_numbers(columns, quantiles)
    model.save(tmp_path / "model.npz")
    again = TableModel.load(tmp_path / "model.npz")
    assert again.predict(columns).tobytes() == model.predict(columns).tobytes()
    again.save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "model.npz").read_bytes()


def test_files_are_not_taken_for_one_another(columns, tmp_path):
    model = model_of_numbers(columns)
    model.save(tmp_path / "model.npz")
    with pytest.raises(fastbp.CheckpointError, match="a table's model, which fastbp.tables.TableModel.load reads"):
        fastbp.load(tmp_path / "model.npz")
    with pytest.raises(fastbp.CheckpointError, match="a table's model, which fastbp.tables.TableModel.load reads"):
        fastbp.Ensemble.load(tmp_path / "model.npz")
    model.networks.save(tmp_path / "ensemble.npz")
    with pytest.raises(fastbp.CheckpointError, match="it holds no encoder"):
        TableModel.load(tmp_path / "ensemble.npz")


@pytest.mark.parametrize(
    "damage",
    [
        lambda table: table.pop("encoder"),
        lambda table: table.update(encoder=None),
        lambda table: table["encoder"]["columns"].pop(),
        lambda table: table["encoder"].update(names=["a"]),
        lambda table: table["encoder"]["columns"][1].update(edges=[3.0, 2.0]),
        lambda table: table["encoder"]["columns"][1].update(middle="high"),
        lambda table: table.update(scaling={"shift": [0.0]}),
        lambda table: table.update(quantiles=0.5),
    ],
)
def test_a_damaged_description_is_refused(columns, damage, tmp_path):
    from fastbp.model import npz_file

    path = tmp_path / "model.npz"
    model_of_numbers(columns).save(path)
    arrays, metadata = npz_file.read(path)
    damage(metadata["table"])
    npz_file.write(path, arrays, metadata)
    with pytest.raises(fastbp.CheckpointError, match="not a table's model that fastbp can read"):
        TableModel.load(path)


def test_each_network_leaves_out_another_part(columns):
    seen = []

    def score(net, X, y, weights):
        seen.append(tuple(y.tolist()))
        return 0.0

    labels = np.repeat(np.arange(3), 20)
    fit(Rows(columns, labels), Objective("softmax_cross_entropy", 3), SHORT, np.random.default_rng(0), score=score)
    assert {tuple(np.bincount(part)) for part in seen} == {(4, 4, 4)}  # a fifth of each class


def test_the_best_epoch_of_held_out_rows_is_kept(columns):
    scores = iter([0.0, 3.0, 1.0])
    parameters = []

    def score(net, X, y, weights):
        parameters.append(net.parameters.copy())
        return next(scores)

    recipe = Recipe(networks=1, epochs=3, hidden=(4,), encodings=SHORT.encodings[:1])
    labels = np.arange(60) % 2
    fitted = fit(
        Rows(columns, labels), Objective("softmax_cross_entropy", 2), recipe, np.random.default_rng(0), score=score
    )
    assert fitted.networks.networks[0].parameters.tobytes() == parameters[1].tobytes()
    assert fitted.loss == -3.0
