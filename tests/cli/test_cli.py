"""Tests of fastbp.cli: the main job on each kind of data, predictions and where they go, and what wrong use gets."""

from __future__ import annotations

import csv
import gzip
import importlib.metadata
import io
import os
import signal
import struct
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from conftest import PACKAGE

import fastbp
from fastbp.cli import commands
from fastbp.kernels import tile
from fastbp.kernels.simd import TARGET

FASHION = Path("/usr/share/datasets/fashion-mnist")
QUICK = ("--epochs", "1", "--hidden", "3")
NAMES = ("setosa", 'versi "c", color', "été; vert")  # all that a CSV writer has to quote


class Done(NamedTuple):
    """How a command ended, and what it wrote."""

    status: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> Done:
        capsys.readouterr()
        try:
            status: Any = commands.main([str(word) for word in words])
        except SystemExit as end:
            status = end.code
        return Done(status, *capsys.readouterr())

    return call


@pytest.fixture
def trained(run: Run) -> Run:
    """The same in a folder with a network of the digits."""
    assert run("train", "--epochs", 5).status == 0
    return run


def refused(done: Done, *words: str) -> None:
    """One line on standard error that says these words, nothing on standard output, status 2."""
    assert (done.status, done.out) == (2, ""), done
    assert_one_line(done.err, *words)


def assert_one_line(text: str, *words: str) -> None:
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert text.startswith("fastbp")
    assert ": error: " in text
    assert "Traceback" not in text
    for word in words:
        assert word in text


def table(text: str) -> dict[str, str]:
    """The rows of the table that `fastbp train` and `fastbp info` print."""
    rows = [line for line in text.splitlines() if line.startswith("  ")]
    assert len({len(line) - len(line[22:]) for line in rows if len(line) > 22}) == 1
    return {line[2:20].strip(): line[22:] for line in rows}


def accuracy(done: Done) -> float:
    assert done.status == 0, done
    return float(table(done.out)["test accuracy"].removesuffix(" %"))


def blobs(rows: int = 150, seed: int = 0) -> tuple[Any, Any]:
    """Three classes well apart in four features of very different sizes."""
    rng = np.random.default_rng(seed)
    y = np.arange(rows) % 3
    X = rng.normal(size=(rows, 4)) * 0.3 + np.eye(3, 4)[y] * 3
    return X * [1, 1e4, 1e-3, 1] + [0, 5e4, 0, -7], y


def write_csv(path: Path, X: Any, labels: Any = None, header: bool = True, first: bool = False) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        names = [f"f{i}" for i in range(X.shape[1])]
        if header:
            writer.writerow(names if labels is None else ["species", *names] if first else [*names, "species"])
        for i, row in enumerate(X.tolist()):
            label = [] if labels is None else [labels[i]]
            writer.writerow([*label, *row] if first else [*row, *label])


def write_idx(folder: Path, part: str, pixels: Any, labels: Any) -> None:
    folder.mkdir(exist_ok=True)
    head = struct.pack(">4B3I", 0, 0, 8, 3, *pixels.shape)
    (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + pixels.tobytes()))
    if labels is not None:
        head = struct.pack(">4BI", 0, 0, 8, 1, len(labels))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(head + labels.astype(np.uint8).tobytes())


def predictions(text: str) -> list[str]:
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[0] == ["prediction"]
    assert all(len(row) == 1 for row in rows)
    return [row[0] for row in rows[1:]]


def start(*words: object, **options: Any) -> subprocess.Popen[str]:
    path = os.pathsep.join(filter(None, [str(PACKAGE.parent), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-W", "error", *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": path}, **options,
    )  # fmt: skip


# ---- the main job ----


def test_digits_by_the_default_command(run: Run, tmp_path: Path) -> None:
    done = run("train")
    assert accuracy(done) >= 97
    assert done.err == ""
    rows = table(done.out)
    assert rows["data"] == "digits: 64 features, 10 classes"
    assert rows["rows"] == "1,438 to train on, 359 to test on"
    assert rows["network"] == "64-100-10, float32"
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
        assert rows["network"] == "2-50-4, float32"
        assert rows["rows"] == "4,000 to train on, 1,000 to test on"
        assert float(rows["seconds to train"]) < 1


@pytest.mark.skipif(not FASHION.is_dir(), reason="needs the Debian package dataset-fashion-mnist")
def test_fashion_mnist_as_a_folder_of_pictures(run: Run) -> None:
    done = run("train", "--data", FASHION, "--hidden", "64", "--epochs", 2)
    assert accuracy(done) >= 84  # 88 % and more take the hidden layers 512,256 and 10 epochs: half a minute
    rows = table(done.out)
    assert rows["rows"] == "60,000 to train on, 10,000 to test on"
    assert rows["network"] == "784-64-10, float32"
    done = run("predict", "fastbp-model.npz", FASHION)
    assert len(predictions(done.out)) == 10_000


def test_options_reach_the_training(run: Run) -> None:
    done = run("train", "--data", "quadrants", "--hidden", "7,5", "--epochs", 3, "--batch-size", 50, "--learning-rate",
               0.25, "--l2", 0.001, "--seed", 4, "--threads", 1, "--dtype", "float64", "--out", "deep")  # fmt: skip
    rows = table(done.out)
    assert rows["network"] == "2-7-5-4, float64"
    assert rows["settings"] == "3 epochs, batches of 50, learning rate 0.25, l2 0.001, seed 4"
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
    assert table(run("train", "--data", "data.npz", *QUICK).out)["network"] == "4-3-5, float32"


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
        shift, scale = commands.input_scaling(X, None, np.dtype(np.float32))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000  # float64 copies of X take 80 MB
    np.testing.assert_allclose(shift, X.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(scale, 1 / X.std(axis=0), rtol=1e-12)


def test_a_feature_that_only_rounding_moves_is_constant() -> None:
    X = np.array([[1e9, 1.0], [1e9 + 1, 3.0]])
    _, scale = commands.input_scaling(X, None, np.dtype(np.float32))
    np.testing.assert_array_equal(scale, [1, 1])
    _, scale = commands.input_scaling(X, None, np.dtype(np.float64))
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
    with pytest.raises(KeyboardInterrupt), commands._replacing(str(out)) as file:
        file.write("half")
        raise KeyboardInterrupt
    assert out.read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]


# ---- information and help ----


def test_info(run: Run) -> None:
    done = run("info")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith(f"fastbp {fastbp.__version__} ")
    rows = table(done.out)
    assert rows["processor target"] == f"{TARGET.triple}, {TARGET.cpu}"
    lanes = TARGET.vector_bytes // 4
    assert rows["vector width"] == f"{32 * lanes} bits: {lanes} float32 or {lanes // 2} float64"
    assert rows["vector registers"] == str(TARGET.registers)
    assert rows["fused multiply-add"] in ("yes", "no")
    assert rows["float32 tiles"].startswith(f"{tile.MAIN.rows}x{2 * lanes} main, ")
    assert rows["float64 tiles"].startswith(f"{tile.MAIN.rows}x{lanes} main, ")
    assert "KiB" in rows["caches of a core"]
    assert rows["threading layer"] == (fastbp.threads.layer() or "none: all runs on one thread")
    assert int(rows["threads"]) >= 1
    assert rows["cache folder"]
    for name in ("numba", "llvmlite", "numpy", "tqdm"):
        assert rows[name] == importlib.metadata.version(name)
    assert rows["tbb"]


def test_warmup(run: Run) -> None:
    done = run("warmup", "--dtype", "float32")
    assert (done.status, done.err) == (0, "")
    rows = table(done.out)
    parts = {name: float(seconds) for name, seconds in rows.items() if name.startswith("float")}
    assert {"float32 kernels", "float32 gathering"} <= set(parts)
    assert ("float32 parallel" in parts) is (fastbp.threads.layer() is not None and fastbp.threads.count() > 1)
    assert float(rows["all"]) == pytest.approx(sum(parts.values()), abs=0.02)
    assert rows["cache folder"]
    assert {name.split()[0] for name in table(run("warmup").out)} == {"float32", "float64", "all", "cache"}
    refused(run("warmup", "--dtype", "float16"), "--dtype", "float16")


def test_version_and_help(run: Run) -> None:
    assert run("--version") == (0, f"fastbp {fastbp.__version__}\n", "")
    for words in (["--help"], ["train", "--help"], ["predict", "-h"], ["info", "-h"], ["warmup", "-h"]):
        done = run(*words)
        assert (done.status, done.err) == (0, "")
        assert done.out.startswith("usage: fastbp")
    assert "fastbp train --data quadrants" in run("train", "--help").out
    said = " ".join(run("train", "--help").out.split())
    for default in ("(default: digits)", "(default: fastbp-model.npz)", "60 for digits", "512,256 for IDX pictures"):
        assert default in said


def test_no_command_shows_the_help(run: Run) -> None:
    done = run()
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("usage: fastbp")


# ---- wrong use ----


@pytest.mark.parametrize(
    ("option", "values", "expected"),
    [
        ("--epochs", ["0", "-1", "1.5", "many", ""], "a whole number of at least 1"),
        ("--batch-size", ["0", "1e3"], "a whole number of at least 1"),
        ("--threads", ["0", "all"], "a whole number of at least 1"),
        ("--seed", ["-1", "x"], "a whole number of at least 0"),
        ("--learning-rate", ["0", "-0.1", "nan", "inf", "fast"], "a number above 0"),
        ("--l2", ["-1e-9", "nan", "inf"], "a number of at least 0"),
        ("--hidden", ["0", "3,", "3,-1", "3;4", "wide", "2.5"], "sizes such as 512,256, or none"),
    ],
)
def test_bad_numbers(run: Run, option: str, values: list[str], expected: str) -> None:
    for value in values:
        refused(run("train", f"{option}={value}"), "fastbp train: error: ", option, expected, repr(value))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fly"], ["fastbp: error: ", "'fly'", "train"]),
        (["--fly"], ["fastbp: error: "]),
        (["train", "--fly"], ["--fly"]),
        (["train", "--epoch", "3"], ["--epoch"]),
        (["train", "digits"], ["digits"]),
        (["train", "--dtype", "float16"], ["float16", "float32"]),
        (["train", "--data"], ["--data"]),
        (["predict"], ["fastbp predict: error: ", "MODEL, DATA"]),
        (["predict", "model.npz"], ["DATA"]),
        (["predict", "gone.npz", "digits"], ["gone.npz", "No such file"]),
        (["predict", ".", "digits"], ["folder"]),
        (["train", "--data", "gone"], ["fastbp train: error: ", "nothing at 'gone'"]),
        (["train", "--data", "."], ["folder without"]),
        (["train", "--target", "2"], ["--target", "CSV"]),
        (["train", "--data", "two\nlines"], ["two"]),
    ],
)
def test_wrong_words(run: Run, words: list[str], said: list[str]) -> None:
    refused(run(*words), *said)


def test_outputs_that_cannot_be_written_are_refused_before_training(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fastbp.MLP, "fit", None)  # not to be called
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for out, said in [
        ("folder", "is a folder"), ("", "is a folder"), (".", "is a folder"), ("new/", "is a folder"),
        ("gone/model.npz", "no folder"), ("file/model.npz", "no folder"), ("/dev/null", "a device"),
        ("x" * 300, "too long"), ("loop", "loop"),
    ]:  # fmt: skip
        refused(run("train", "--out", out), said)
        refused(run("predict", "model.npz", "digits", "--out", out), said)
    if os.path.isdir("/proc/self"):  # not even the superuser writes there
        refused(run("train", "--out", "/proc/model.npz"), "cannot write to the folder '/proc'")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_folders_and_files_without_permission(run: Run, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    refused(run("train", "--out", "locked/model.npz"), "Permission denied")
    Path("data.npz").touch(mode=0o000)
    refused(run("train", "--data", "data.npz"), "data.npz", "Permission denied")


def test_no_input_is_overwritten(trained: Run) -> None:
    np.savez("data.npz", X=np.zeros((4, 64)), y=np.arange(4) % 2)
    for name in ("data.npz", "fastbp-model.npz"):
        before = Path(name).read_bytes()
        os.link(name, "another-name")
        for out in (name, "another-name"):
            refused(trained("predict", "fastbp-model.npz", "data.npz", "--out", out), "is read as well")
            refused(trained("train", "--data", name, "--out", out), "is read as well")
        assert Path(name).read_bytes() == before
        os.unlink("another-name")


def test_models_of_other_programs(trained: Run) -> None:
    np.savez("other.npz", X=np.zeros((4, 64)))
    refused(trained("predict", "other.npz", "digits"), "other.npz", "not a fastbp checkpoint")
    Path("text.npz").write_text("hello")
    refused(trained("predict", "text.npz", "digits"), "text.npz")
    whole = Path("fastbp-model.npz").read_bytes()
    Path("half.npz").write_bytes(whole[: len(whole) // 2])
    refused(trained("predict", "half.npz", "digits"), "half.npz")


def test_data_that_do_not_fit_the_model(trained: Run) -> None:
    refused(trained("predict", "fastbp-model.npz", "quadrants"), "2 features", "64")
    np.savez("wide.npz", X=np.zeros((2, 65)))
    refused(trained("predict", "fastbp-model.npz", "wide.npz"), "wide.npz: got 65 features", "64")
    write_csv(Path("wide.csv"), np.zeros((2, 70)))
    refused(trained("predict", "fastbp-model.npz", "wide.csv"), "wide.csv: got 70 features", "64")
    write_csv(Path("fit.csv"), np.zeros((2, 64)), ["a", "b"])
    refused(
        trained("predict", "fastbp-model.npz", "fit.csv"), "fit.csv: line 2, column 65 ('species')", "--drop species"
    )
    for told in ("--target", "--drop"):
        assert len(predictions(trained("predict", "fastbp-model.npz", "fit.csv", told, "species").out)) == 2
    write_csv(Path("fit.csv"), np.zeros((2, 64)), [0, 1])  # which is the target cannot be seen
    refused(trained("predict", "fastbp-model.npz", "fit.csv"), "fit.csv: got 65 features", "64", "--target", "--drop")
    write_csv(Path("fit.csv"), np.zeros((2, 64)), ["a", "b"])
    refused(trained("predict", "fastbp-model.npz", "fit.csv", "--target", "f3"), "fit.csv", "species")
    refused(trained("predict", "fastbp-model.npz", "fit.csv", "--target", "f99"), "f99")
    refused(trained("predict", "fastbp-model.npz", "digits", "--target", "f3"), "--target")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_data_that_are_not_finite(run: Run, bad: float) -> None:
    X, y = blobs()
    X[33, 2] = bad
    np.savez("data.npz", X=X, y=y)
    refused(run("train", "--data", "data.npz"), "data.npz", "NaN or infinity in row 33")
    np.savez("data.npz", X=X[:30], y=y[:30], X_test=X[30:], y_test=y[30:])
    refused(run("train", "--data", "data.npz"), "NaN or infinity in test row 3")
    write_csv(Path("data.csv"), X, y.tolist())
    refused(run("train", "--data", "data.csv"), "data.csv: line 35, column 3")
    assert not Path("fastbp-model.npz").exists()


def test_data_that_are_no_classes(run: Run) -> None:
    X, y = blobs()
    for labels, said in [
        (y * 0, "at least 2 classes"), (y * 0 + 3, "at least 2 classes"), (y - 1, "-1"), (y * 10**9, "2000000000"),
        (y + 0.5, "float64"), (np.arange(150), "150 classes in 150 rows"),
    ]:  # fmt: skip
        np.savez("data.npz", X=X, y=labels)
        refused(run("train", "--data", "data.npz"), "data.npz", said)
    write_csv(Path("data.csv"), X)  # its last column is taken for the classes
    refused(run("train", "--data", "data.csv"), "data.csv", "150 classes in 150 rows")
    Path("data.csv").write_text("1,a\nx,b\n")
    refused(run("train", "--data", "data.csv"), "data.csv")
    Path("data.npz").write_bytes(b"\0" * 100)
    refused(run("train", "--data", "data.npz"), "data.npz")


def test_numbers_beyond_float32(run: Run) -> None:
    X, y = blobs()
    np.savez("data.npz", X=X * 1e300, y=y)
    refused(run("train", "--data", "data.npz"), "float32")


def test_a_network_larger_than_memory(run: Run) -> None:
    refused(run("train", "--hidden", 10**14), "allocate")
    refused(run("train", "--hidden", 10**30))


def test_training_that_diverges_saves_nothing(run: Run) -> None:
    for option in ("--learning-rate", "--l2"):
        for value, words in ((1e30, ("diverged", "smaller --learning-rate")), (1e300, ("1e+300", "finite in float32"))):
            done = run("train", option, value)
            assert done.status == 2
            assert_one_line(done.err, *words)
    assert list(Path.cwd().iterdir()) == []


# ---- signals and pipes ----


def test_interrupted_training_saves_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(*words: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fastbp.MLP, "fit", fit)
    done = run("train")
    assert (done.status, done.err) == (130, "fastbp train: training was interrupted; nothing was saved\n")
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_an_interrupt_from_outside(trained: Run, tmp_path: Path) -> None:
    (tmp_path / "fastbp-model.npz").unlink()
    # A process started in the background of a script inherits that interrupts are ignored: so it is told not to.
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); import fastbp.cli as cli\n"
    code += "sys.exit(cli.main(['train', '--epochs', '1000000000']))"
    with start("-c", code, cwd=tmp_path) as process:
        try:
            heading = list(take_until(process.stdout, "settings"))
            time.sleep(2)  # the kernels are in the cache: in this time it gets to training
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert len(heading) == 6
    assert (process.returncode, out, err) == (130, "", "fastbp train: training was interrupted; nothing was saved\n")
    assert list(tmp_path.iterdir()) == []


def take_until(lines: Any, word: str) -> Iterator[str]:
    for line in lines:
        yield line
        if word in line:
            return


def test_a_reader_that_has_seen_enough(trained: Run, tmp_path: Path) -> None:
    words = ("-m", "fastbp", "predict", "fastbp-model.npz", "digits", "--probabilities")  # more than a pipe holds
    with start(*words, cwd=tmp_path) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "prediction,0,1,2,3,4,5,6,7,8,9\n"
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
def test_a_full_disk_and_a_closed_output(trained: Run, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "fastbp", "predict", "fastbp-model.npz", "digits"]
    path = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    for redirection, said in ((">/dev/full", "No space left"), (">&-", "standard output is closed")):
        done = subprocess.run(["sh", "-c", f'"$@" {redirection}', "sh", *words], env=path, stderr=subprocess.PIPE,
                              text=True, timeout=60, check=False)  # fmt: skip
        assert done.returncode == 2
        assert_one_line(done.stderr, "fastbp predict", said)


def test_as_a_module(tmp_path: Path) -> None:
    with start("-m", "fastbp", "train", "--epochs", "x", cwd=tmp_path) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert_one_line(err, "fastbp train: error: ", "--epochs")


# ---- pictures ----


def test_train_saves_the_curves(run: Run) -> None:
    done = run("train", "--data", "quadrants", *QUICK, "--plot", "curves.svg")
    assert done.status == 0 and "curves in           curves.svg" in done.out
    assert Path("curves.svg").read_bytes().startswith(b"<?xml")


def test_curves_change_no_bit_of_the_network(run: Run) -> None:
    run("train", "--data", "quadrants", *QUICK, "--plot", "curves.png", "--out", "a.npz")
    run("train", "--data", "quadrants", *QUICK, "--out", "b.npz")
    assert (fastbp.load("a.npz").parameters == fastbp.load("b.npz").parameters).all()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("curves.gif", "got 'curves.gif', expected a file name that ends in .svg, .png or .pdf"),
        ("nowhere/curves.svg", "--plot: there is no folder"),
        ("curves", "expected a file name that ends in"),
    ],
)
def test_curves_that_cannot_be_saved(run: Run, path: str, message: str) -> None:
    """Said before the training."""
    done = run("train", "--data", "quadrants", "--plot", path)
    assert (done.status, done.out) == (2, "") and message in done.err
    assert not Path("fastbp-model.npz").exists()


def test_curves_without_matplotlib(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib" or name == "fastbp.plotting"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(fastbp, "plotting", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = run("train", "--data", "quadrants", "--plot", "curves.svg")
    assert done.status == 2 and "--plot: " in done.err and "pip install 'fastbp[plot]'" in done.err
