"""Models of tables: outputs from raw rows, and their files."""

import numpy as np
import pytest

import fastbp
from fastbp.tables import Columns, TableModel
from fastbp.tables.fitting import Objective, Rows, fit
from fastbp.tables.recipe import Encoding, Recipe
from fastbp.tables.targets import TargetScaling

SHORT = Recipe(networks=2, epochs=3, hidden=(8,), encodings=(Encoding(False, 0.1, 0.004), Encoding(True, 0.1, 0.002)))


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
    return TableModel(fitted.members, TargetScaling(1e6, 2.0), quantiles)


def test_outputs_are_means_mixed_by_shares_and_scaled_back(columns):
    members = model_of_numbers(columns).members
    members = [*members, *members][:2]
    model = TableModel([member._replace(share=share) for member, share in zip(members, (0.3, 0.7), strict=True)],
                       TargetScaling(1e6, 2.0))  # fmt: skip
    mixed = 0.0
    for encoder, networks, share in model.members:
        X = encoder.encode(columns, np.dtype(np.float32))
        mean = np.mean([net.outputs(X).astype(np.float64) for net in networks.networks], axis=0)
        mixed = mixed + share * mean.astype(np.float32).astype(np.float64)
    assert model.outputs(columns).tobytes() == (mixed * 2.0 + 1e6).tobytes()
    assert model.predict(columns).tobytes() == (mixed * 2.0 + 1e6)[:, 0].tobytes()


def test_blocks_of_rows_and_single_rows_have_the_same_bits(columns, monkeypatch):
    model = model_of_numbers(columns)
    expected = model.outputs(columns).tobytes()
    assert np.concatenate([model.outputs(row) for row in columns.blocks(1)]).tobytes() == expected
    monkeypatch.setattr("fastbp.tables.model.BLOCK_BYTES", 7 * 4 * model.encoder.width)
    assert model.outputs(columns).tobytes() == expected


def test_frames_and_arrays_are_columns_too(columns):
    pd = pytest.importorskip("pandas")
    model = model_of_numbers(columns)
    frame = pd.DataFrame(dict(zip(columns.names, columns.arrays, strict=True)))
    expected = model.predict(columns).tobytes()
    assert model.predict(frame[["c", "a", "b"]]).tobytes() == expected
    assert model.predict(frame.to_numpy()).tobytes() == expected
    with pytest.raises(ValueError, match="no column named 'b'"):
        model.predict(frame[["a", "c"]])
    with pytest.raises(ValueError, match="X: got 2 columns, expected 3"):
        model.predict(frame[["a", "c"]].to_numpy())
    with pytest.raises(ValueError, match="Expected 2D array"):
        model.predict([1.0, 2.0])


def test_parts_that_do_not_fit_together(columns):
    model, other = model_of_numbers(columns), model_of_numbers(Columns(None, columns.arrays[:2]))
    for members in ([], [*model.members, *other.members]):
        with pytest.raises(ValueError, match="members: expected at least one, all with the same columns"):
            TableModel(members, TargetScaling(0.0, 1.0))
    with pytest.raises(ValueError, match="scaling: expected one of numbers, and none of classes"):
        TableModel(model.members)
    with pytest.raises(ValueError, match="scale: got"):
        TableModel(model.members, TargetScaling(0.0, np.nan))
    with pytest.raises(ValueError, match="share: got"):
        TableModel([model.members[0]._replace(share=0.0)], TargetScaling(0.0, 1.0))
    with pytest.raises(ValueError, match="networks: got another number of features"):
        encoder = other.encoder._replace(names=columns.names)
        TableModel([model.members[0]._replace(encoder=encoder)], TargetScaling(0.0, 1.0))


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
    with pytest.raises(fastbp.CheckpointError, match="a table's model, which fastbp.TableModel.load reads"):
        fastbp.load(tmp_path / "model.npz")
    with pytest.raises(fastbp.CheckpointError, match="a table's model, which fastbp.TableModel.load reads"):
        fastbp.Ensemble.load(tmp_path / "model.npz")
    model.members[0].networks.save(tmp_path / "ensemble.npz")
    with pytest.raises(fastbp.CheckpointError, match="it holds no encoder"):
        TableModel.load(tmp_path / "ensemble.npz")


@pytest.mark.parametrize(
    "damage",
    [
        lambda table: table.pop("members"),
        lambda table: table.update(members=[]),
        lambda table: table["members"][0].update(encoder=None),
        lambda table: table["members"][0]["encoder"]["columns"].pop(),
        lambda table: table["members"][0]["encoder"].update(names=["a"]),
        lambda table: table["members"][0]["encoder"]["columns"][1].update(edges=[3.0, 2.0]),
        lambda table: table["members"][0]["encoder"]["columns"][1].update(middle="high"),
        lambda table: table["members"][0].update(share="most"),
        lambda table: table.update(scaling={"shift": [0.0]}),
        lambda table: table.update(quantiles=0.5),
        lambda table: table.update(quantiles=[0.2, 0.8]),
        lambda table: table.update(scaling={"shift": ["x"], "scale": [1.0]}),
        lambda table: table.update(scaling={"shift": [0.0, 1.0], "scale": [1.0]}),
        lambda table: table.update(scaling={"shift": [0.0], "scale": [float("nan")]}),
        lambda table: table.pop("scaling"),
        lambda table: table["members"][0].update(share=float("nan")),
        lambda table: table["members"][0]["encoder"].update(names=["a", "a", "c"]),
        lambda table: table["members"][0]["encoder"]["columns"][2].update(levels="xy"),
        lambda table: table["members"][0]["encoder"]["columns"][2].update(levels=["x", "x"]),
        lambda table: table["members"][0]["encoder"]["columns"][1].update(scale=float("inf")),
        lambda table: table.update(reading={"command": "predict"}),
        lambda table: table.update(reading={"missing": 3}),
        lambda table: table.pop("reading"),
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

    def score(outputs, y, weights):
        seen.append(np.bincount(y).tolist())
        return 0.0

    labels = np.repeat(np.arange(3), 20)
    fit(Rows(columns, labels), Objective("softmax_cross_entropy", 3), SHORT, np.random.default_rng(0), score=score)
    of_networks, of_all = seen[: 2 * 2 * 3], seen[2 * 2 * 3 :]
    assert of_networks == [[4, 4, 4]] * len(of_networks)  # a fifth of each class
    assert of_all == [[8, 8, 8]] * len(of_all) != []  # the two parts, by which answers are mixed


def test_the_best_epoch_of_held_out_rows_is_kept(columns):
    scores = iter([0.0, 3.0, 1.0])
    parameters = []

    def score(outputs, y, weights):
        return next(scores)

    def after_epoch(encoder, net):
        parameters.append(net.parameters.copy())
        return False

    recipe = Recipe(networks=1, epochs=3, hidden=(4,), encodings=SHORT.encodings[:1])
    rows, objective = Rows(columns, np.arange(60) % 2), Objective("softmax_cross_entropy", 2)
    fitted = fit(rows, objective, recipe, np.random.default_rng(0), score=score, after_epoch=after_epoch)
    assert fitted.members[0].networks.networks[0].parameters.tobytes() == parameters[1].tobytes()


def test_a_training_ends_when_nothing_is_gained(columns):
    losses, epochs = iter([*range(20)]), []
    recipe = Recipe(networks=1, epochs=20, patience=4, hidden=(4,), encodings=SHORT.encodings[:1])
    rows, objective = Rows(columns, np.arange(60) % 2), Objective("softmax_cross_entropy", 2)
    fit(rows, objective, recipe, np.random.default_rng(0), score=lambda *_: -next(losses),
        after_epoch=lambda *_: epochs.append(1))  # fmt: skip
    assert len(epochs) == 1 + 4


def test_shares_make_the_loss_of_held_out_rows_small(columns):
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=60)
    held_out = Rows(Columns(columns.names, columns.arrays), labels)
    objective = Objective("softmax_cross_entropy", 3)
    fitted = fit(held_out, objective, SHORT, rng, held_out=held_out)
    shares = {member.encoder.width: member.share for member in fitted.members}
    assert sum(shares.values()) == pytest.approx(1.0)

    def loss(mixed):
        return -np.log(mixed[np.arange(60), labels]).mean()

    found = loss(TableModel(fitted.members).outputs(columns))
    alone = [loss(TableModel([member._replace(share=1.0)]).outputs(columns)) for member in fitted.members]
    assert found <= min(alone) + 1e-6


@pytest.mark.parametrize("loss", ["mean_squared_error", "mean_absolute_error", "huber", "quantile"])
def test_the_loss_of_mixed_outputs_is_that_of_a_network(columns, loss):
    rng = np.random.default_rng(3)
    X, y, weights = rng.standard_normal((40, 3)), rng.standard_normal((40, 2)), rng.random(40)
    constants = {"quantile_level": (0.2, 0.7)} if loss == "quantile" else {}
    net = fastbp.MLP((3, 5, 2), loss=loss, dtype="float64", seed=0, **constants)
    found = Objective(loss, 2, constants).loss_of(net.outputs(X), y, weights)
    assert found == pytest.approx(net.loss(X, y, sample_weight=weights), rel=1e-12)
