"""``fastbp train`` on targets that are numbers: how they are told from classes, and what it says and saves."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import datasets
from fastbp.cli.data import SPLIT_SEED
from support.commands import Run, predictions, refused, table

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 3)).round(4)
PRICE = (1e5 + 2e4 * (X @ [1.0, -0.5, 0.2]) + 500 * RNG.normal(size=200)).round(2)


def write(name: str, target: Any, title: str = "price") -> None:
    with open(name, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("a", "b", "c", title))
        writer.writerows([*row, value] for row, value in zip(X.tolist(), target, strict=True))


def test_prices_are_predicted(run: Run) -> None:
    write("houses.csv", PRICE)
    done = run("train", "--data", "houses.csv", "--out", "m.npz")
    shown = table(done.out)
    assert shown["data"] == "houses.csv: 3 features"
    assert shown["target"] == "column 'price', numbers"
    assert shown["task"] == "numbers, since the target has fractions"
    assert shown["settings"] == "50 epochs, batches of 32, adam, learning rate 0.001, l2 0.0001, seed 0"
    assert "test accuracy" not in shown
    net = fastbp.load("m.npz")
    assert (net.loss_name, net.sizes, net.class_names, net.target_name) == (
        "mean_squared_error", (3, 100, 1), None, "price",
    )  # fmt: skip
    train, test = datasets.stratified_split(np.zeros(200, int), 0.2, SPLIT_SEED)
    predicted = net.predict(X[test]).astype(float)
    missed, off_mean = PRICE[test] - predicted, PRICE[test] - PRICE[train].mean()
    r2 = 1 - np.square(missed).sum() / np.square(PRICE[test] - PRICE[test].mean()).sum()
    assert shown["test R^2"] == f"{r2:.4f}" and r2 > 0.9
    root = np.sqrt(np.square(missed).mean()), np.sqrt(np.square(off_mean).mean())
    assert shown["test RMSE"] == "{:.4g} ({:.4g} by the mean)".format(*root)
    assert shown["test MAE"] == f"{np.abs(missed).mean():.4g} ({np.abs(off_mean).mean():.4g} by the mean)"

    assert table(run("evaluate", "m.npz", "houses.csv").out)["R^2"] == f"{net.score(X, PRICE):.4f}"
    answers = predictions(run("predict", "m.npz", "houses.csv").out)
    assert [np.float32(answer) for answer in answers] == net.predict(X).tolist()


@pytest.mark.parametrize(
    ("target", "given", "task"),
    [
        (np.arange(200) % 7, (), "classes, since the target has 7 different whole numbers in 200 rows"),
        (np.arange(200) % 50, (), "numbers, since the target has 50 different whole numbers in 200 rows"),
        (np.arange(200) % 50, ("--task", "classes"), "classes, since --task says so"),
        (np.arange(200) % 2, ("--task", "numbers"), "numbers, since --task says so"),
        (np.array(["no", "yes"])[np.arange(200) % 2], (), "classes, since the target is text"),
    ],
)
def test_the_task_is_told_with_its_reason(run: Run, target: Any, given: Any, task: str) -> None:
    write("rows.csv", target)
    shown = table(run("train", "--data", "rows.csv", "--epochs", "1", *given).out)
    assert shown["task"] == task
    assert ("test accuracy" in shown) == ("by majority class" in shown) == task.startswith("classes")
    assert fastbp.load("fastbp-model.npz").classes == (1 if "numbers," in task else len(np.unique(target)))


def test_the_majority_class_is_that_of_the_training_rows(run: Run) -> None:
    y = (np.arange(200) % 5 == 0).astype(int)
    write("rows.csv", y)
    shown = table(run("train", "--data", "rows.csv", "--epochs", "1").out)
    _, test = datasets.stratified_split(y, 0.2, SPLIT_SEED)
    assert shown["by majority class"] == f"{100 * np.mean(y[test] == 0):.2f} %"


def test_whole_numbers_of_an_archive(run: Run) -> None:
    np.savez("rows.npz", X=X, y=np.arange(200) % 50, X_test=X[:20], y_test=np.arange(20))
    assert "task" not in table(run("train", "--data", "rows.npz", "--epochs", "1").out)
    shown = table(run("train", "--data", "rows.npz", "--epochs", "1", "--task", "numbers").out)
    assert shown["rows"] == "200 to train on, 20 to test on" and "test R^2" in shown
    assert shown["target"] == "numbers"


def test_curves_of_numbers(run: Run) -> None:
    write("rows.csv", PRICE)
    done = run("train", "--data", "rows.csv", "--epochs", "3", "--plot", "curves.svg")
    assert "test R^2" in done.out and Path("curves.svg").stat().st_size > 1000


def test_a_target_with_a_decimal_comma(run: Run) -> None:
    rows = [";".join(map(str, row)).replace(".", ",") for row in np.column_stack([X, PRICE]).tolist()]
    Path("rows.csv").write_text("\n".join(["a;b;c;price", *rows]))
    shown = table(run("train", "--data", "rows.csv", "--decimal", ",").out)
    assert shown["task"] == "numbers, since the target has fractions"


@pytest.mark.parametrize(
    ("target", "given", "words"),
    [
        (np.full(200, 7.5), (), "rows.csv: the target is 7.5 in all rows; expected one that differs"),
        (np.array(["no", "yes"])[np.arange(200) % 2], ("--task", "numbers"), "is text: 'no', 'yes'"),
        (np.r_[2e9 + np.arange(200) % 50], (), "got targets that differ by 14.4 around 2e+09, too little for float32"),
        (PRICE * 1e40, (), "got targets beyond what float32 holds; --dtype float64 holds more"),
    ],
)
def test_targets_that_are_refused(run: Run, target: Any, given: Any, words: str) -> None:
    write("rows.csv", target)
    refused(run("train", "--data", "rows.csv", *given), words)
    assert not Path("fastbp-model.npz").exists()
