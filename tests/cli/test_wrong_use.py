"""Wrong use of the command line: one line that says what is wrong, and nothing written."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import fastbp
from support.commands import (
    Run,
    assert_one_line,
    blobs,
    predictions,
    refused,
    write_csv,
)

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
        (["train", "--data", "gone"], ["fastbp train: error: ", "'gone' does not exist"]),
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
    refused(run("train", "--data", "data.csv", "--recipe", "network"), "data.csv: line 35, column 3")
    assert not Path("fastbp-model.npz").exists()


def test_data_that_are_no_classes(run: Run) -> None:
    X, y = blobs()
    for labels, said in [
        (y * 0, "at least 2 classes"), (y * 0 + 3, "at least 2 classes"), (y - 1, "-1"), (y * 10**9, "2000000000"),
        (y + 0.5, "float64"), (np.arange(150), "150 classes in 150 rows"),
    ]:  # fmt: skip
        np.savez("data.npz", X=X, y=labels)
        refused(run("train", "--data", "data.npz"), "data.npz", said)
    write_csv(Path("data.csv"), X)  # its last column is taken for the target
    refused(
        run("train", "--data", "data.csv", "--task", "classes"), "data.csv", "150 classes in 150 rows", "--task numbers"
    )
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
