"""`fastbp train` and `predict`: the main job on each kind of data, scaling, and where predictions go."""

from __future__ import annotations

import csv
import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import fastbp
from fastbp.cli import output, training
from support.commands import (
    NAMES,
    QUICK,
    Run,
    accuracy,
    blobs,
    predictions,
    refused,
    table,
    write_csv,
    write_idx,
)

FASHION = Path("/usr/share/datasets/fashion-mnist")


# ---- the main job ----


def test_digits_by_the_default_command(run: Run, tmp_path: Path) -> None:
    done = run("train")
    assert accuracy(done) >= 97
    assert done.err == ""
    rows = table(done.out)
    assert rows["data"] == "digits: 64 features, 10 classes"
    assert rows["rows"] == "1,438 to train on, 359 to test on"
    assert rows["network"] == "64-100-10, relu, float32"
    assert float(rows["training loss"]) < 0.2
    assert float(rows["samples/s"].replace(",", "")) > 10_000
    assert float(rows["seconds to train"]) < 10
    assert float(rows["seconds to compile"]) >= 0
    assert rows["saved as"] == "fastbp-model.npz"
    assert [path.name for path in tmp_path.iterdir()] == ["fastbp-model.npz"]

    net = fastbp.load("fastbp-model.npz")
    X, y = fastbp.datasets.load_digits()
    training, test = fastbp.datasets.stratified_split(y, 0.2, 0)
    assert f"{100 * net.score(X[test], y[test]):.2f} %" == rows["test accuracy"]
    np.testing.assert_array_equal(net.input_scale, np.full(64, 1 / 16, np.float32))
    assert net.input_shift is not None
    np.testing.assert_allclose(net.input_shift, X[training].mean(axis=0), rtol=1e-6)
    assert net.class_names is None


def test_digits_reach_97_percent_with_every_seed(run: Run) -> None:
    assert min(accuracy(run("train", "--seed", seed)) for seed in range(1, 10)) >= 97


def test_quadrants_reach_99_percent_within_a_second(run: Run) -> None:
    for seed in range(10):
        done = run("train", "--data", "quadrants", "--seed", seed)
        assert accuracy(done) >= 99
        rows = table(done.out)
        assert rows["network"] == "2-50-4, relu, float32"
        assert rows["rows"] == "4,000 to train on, 1,000 to test on"
        assert float(rows["seconds to train"]) < 1


@pytest.mark.skipif(not FASHION.is_dir(), reason="needs the Debian package dataset-fashion-mnist")
def test_fashion_mnist_as_a_folder_of_pictures(run: Run) -> None:
    done = run("train", "--data", FASHION, "--hidden", "64", "--epochs", 2)
    assert accuracy(done) >= 84  # 88 % and more take the hidden layers 512,256 and 10 epochs: half a minute
    rows = table(done.out)
    assert rows["rows"] == "60,000 to train on, 10,000 to test on"
    assert rows["network"] == "784-64-10, relu, float32"
    done = run("predict", "fastbp-model.npz", FASHION)
    assert len(predictions(done.out)) == 10_000


def test_options_reach_the_training(run: Run) -> None:
    done = run("train", "--data", "quadrants", "--hidden", "7,5", "--epochs", 3, "--batch-size", 50, "--learning-rate",
               0.25, "--l2", 0.001, "--seed", 4, "--threads", 1, "--dtype", "float64", "--out", "deep")  # fmt: skip
    rows = table(done.out)
    assert rows["network"] == "2-7-5-4, relu, float64"
    assert rows["settings"] == "3 epochs, batches of 50, sgd, learning rate 0.25, l2 0.001, seed 4"
    net = fastbp.load("deep")  # the name as it was given, without a suffix
    X, y = fastbp.datasets.quadrants(5000, 0)
    training, _ = fastbp.datasets.stratified_split(y, 0.2, 0)
    same = fastbp.MLP((2, 7, 5, 4), dtype="float64", seed=4, input_shift=net.input_shift, input_scale=net.input_scale)
    history = same.fit(X[training], y[training], epochs=3, batch_size=50, learning_rate=0.25, l2=0.001)
    np.testing.assert_array_equal(net.parameters, same.parameters)
    assert rows["training loss"] == f"{history.loss[-1]:.4f}"


@pytest.mark.parametrize("none", ["none", ""])
def test_no_hidden_layer(run: Run, none: str) -> None:
    assert table(run("train", "--hidden", none, "--epochs", 1).out)["network"] == "64-10, float32"


def test_the_number_of_threads_changes_nothing(run: Run) -> None:
    for threads in (1, 2):
        assert run("train", "--epochs", 2, "--threads", threads, "--out", f"with-{threads}").status == 0
    assert Path("with-1").read_bytes() == Path("with-2").read_bytes()


def test_an_existing_model_is_replaced(run: Run) -> None:
    Path("fastbp-model.npz").write_text("something old")
    assert run("train", *QUICK).status == 0
    assert fastbp.load("fastbp-model.npz").sizes == (64, 3, 10)
    assert [path.name for path in Path.cwd().iterdir()] == ["fastbp-model.npz"]


def test_a_data_set_with_test_rows_of_its_own(run: Run) -> None:
    X, y = blobs()
    X_test, y_test = blobs(30, seed=1)
    np.savez("data.npz", X=X, y=y, X_test=X_test, y_test=y_test)
    done = run("train", "--data", "data.npz")
    assert accuracy(done) == 100
    assert table(done.out)["rows"] == "150 to train on, 30 to test on"
    assert len(predictions(run("predict", "fastbp-model.npz", "data.npz").out)) == 30


def test_classes_that_only_test_rows_have_are_classes(run: Run) -> None:
    X, y = blobs()
    np.savez("data.npz", X=X, y=y, X_test=X[:4], y_test=np.array([0, 1, 2, 4]))
    assert table(run("train", "--data", "data.npz", *QUICK).out)["network"] == "4-3-5, relu, float32"


# ---- scaling ----


def test_features_are_scaled_by_what_the_training_rows_hold(run: Run) -> None:
    X, y = blobs()
    X = np.c_[X, np.full(150, 0.1), np.zeros(150)]  # two constant features
    np.savez("data.npz", X=X, y=y)
    assert accuracy(run("train", "--data", "data.npz", "--dtype", "float64")) == 100
    net = fastbp.load("fastbp-model.npz")
    training, _ = fastbp.datasets.stratified_split(y, 0.2, 0)
    assert net.input_shift is not None
    assert net.input_scale is not None
    np.testing.assert_allclose(net.input_shift, X[training].mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(net.input_scale[:4], 1 / X[training].std(axis=0)[:4], rtol=1e-12)
    assert net.input_scale[4:].tolist() == [1, 1]


def test_scaling_looks_at_many_rows_by_parts() -> None:
    X = np.random.default_rng(0).integers(0, 256, (50_000, 200), np.uint8)
    tracemalloc.start()
    try:
        shift, scale = training.input_scaling(X, None, np.dtype(np.float32))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000  # float64 copies of X take 80 MB
    np.testing.assert_allclose(shift, X.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(scale, 1 / X.std(axis=0), rtol=1e-12)


def test_a_feature_that_only_rounding_moves_is_constant() -> None:
    X = np.array([[1e9, 1.0], [1e9 + 1, 3.0]])
    _, scale = training.input_scaling(X, None, np.dtype(np.float32))
    np.testing.assert_array_equal(scale, [1, 1])
    _, scale = training.input_scaling(X, None, np.dtype(np.float64))
    np.testing.assert_array_equal(scale, [2, 1])


# ---- predictions ----


def test_predictions_are_those_of_the_network(trained: Run) -> None:
    done = trained("predict", "fastbp-model.npz", "digits")
    assert (done.status, done.err) == (0, "")
    net = fastbp.load("fastbp-model.npz")
    X, _ = fastbp.datasets.load_digits()
    assert predictions(done.out) == list(map(str, net.predict(X)))

    done = trained("predict", "fastbp-model.npz", "digits", "--probabilities", "--threads", 1)
    header, *rows = csv.reader(io.StringIO(done.out))
    assert header == ["prediction", *map(str, range(10))]
    np.testing.assert_array_equal(np.array(rows)[:, 1:].astype(np.float32), net.predict_proba(X))  # to the bit


@pytest.mark.parametrize("target", [None, "species"])
def test_class_names_go_from_csv_to_csv(run: Run, target: str | None) -> None:
    X, y = blobs()
    labels = [NAMES[i] for i in y]
    write_csv(Path("data.csv"), X, labels, first=target is not None)
    write_csv(Path("unlabelled.csv"), X)
    naming = [] if target is None else ["--target", target]
    assert accuracy(run("train", "--data", "data.csv", *naming, "--out", "flowers.npz")) == 100
    assert fastbp.load("flowers.npz").class_names == tuple(sorted(NAMES))

    for data in (["data.csv", *naming], ["unlabelled.csv"]):
        assert predictions(run("predict", "flowers.npz", *data).out) == labels
    done = run("predict", "flowers.npz", "unlabelled.csv", "--probabilities", "--out", "new.csv")
    assert (done.status, done.out, done.err) == (0, "", "")
    with open("new.csv", newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["prediction", *sorted(NAMES)]
    assert [row[0] for row in rows] == labels
    np.testing.assert_allclose(np.array(rows)[:, 1:].astype(float).sum(axis=1), 1, rtol=1e-6)


def test_class_names_of_an_archive(run: Run) -> None:
    X, y = blobs()
    np.savez("data.npz", X=X, y=np.array(NAMES)[y])
    assert accuracy(run("train", "--data", "data.npz")) == 100
    assert predictions(run("predict", "fastbp-model.npz", "data.npz").out) == [NAMES[i] for i in y]


def test_a_target_column_by_position(run: Run) -> None:
    X, y = blobs()
    write_csv(Path("data.csv"), X, (y + 5).tolist(), header=False, first=True)
    assert accuracy(run("train", "--data", "data.csv", "--target", "0")) == 100
    done = run("predict", "fastbp-model.npz", "data.csv", "--target", "-5")
    assert predictions(done.out) == list(map(str, y + 5))


def test_pictures_in_a_folder_and_in_one_file(run: Run) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    pixels = (rng.integers(0, 99, (60, 3, 4)) + 150 * y[:, None, None]).astype(np.uint8)
    write_idx(Path("pictures"), "train", pixels, y)
    assert run("train", "--data", "pictures", "--epochs", 20, "--hidden", "8").status == 0
    net = fastbp.load("fastbp-model.npz")
    np.testing.assert_array_equal(net.input_scale, np.full(12, 1 / 255, np.float32))
    training_rows = predictions(run("predict", "fastbp-model.npz", "pictures").out)
    assert training_rows == list(map(str, y))

    write_idx(Path("pictures"), "t10k", pixels[:7], y[:7])
    assert table(run("train", "--data", "pictures", *QUICK).out)["rows"] == "60 to train on, 7 to test on"
    assert len(predictions(run("predict", "fastbp-model.npz", "pictures").out)) == 7
    one_file = "pictures/train-images-idx3-ubyte.gz"
    assert len(predictions(run("predict", "fastbp-model.npz", one_file).out)) == 60
    refused(
        run("train", "--data", one_file),
        "expected the folder of this file",
        "; fastbp predict takes the pictures alone",
    )
    (Path("pictures") / "train-labels-idx1-ubyte").unlink()
    assert len(predictions(run("predict", "fastbp-model.npz", "pictures").out)) == 7


def test_an_output_file_is_replaced_as_a_whole(trained: Run) -> None:
    out = Path("out.csv")
    out.write_text("old")
    out.chmod(0o640)
    assert trained("predict", "fastbp-model.npz", "digits", "--out", out).status == 0
    assert len(predictions(out.read_text())) == 1797
    assert out.stat().st_mode & 0o777 == 0o640
    np.savez("nan.npz", X=np.full((3, 64), np.nan))
    before = out.read_bytes()
    refused(trained("predict", "fastbp-model.npz", "nan.npz", "--out", out), "NaN")
    assert out.read_bytes() == before
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["fastbp-model.npz", "nan.npz", "out.csv"]


def test_a_failure_while_writing_leaves_the_old_file(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("old")
    with pytest.raises(KeyboardInterrupt), output.replacing(str(out)) as file:
        file.write("half")
        raise KeyboardInterrupt
    assert out.read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]
