"""Options of ``fastbp train`` that say how it trains: what it saves is what `MLP.fit` makes with them."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP, datasets
from fastbp.cli.data import SPLIT_SEED
from fastbp.cli.parser import LOSSES_OF_NUMBERS
from support.commands import Run, refused, table
from support.comparisons import assert_same_bits

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 3)).round(4)
Y = (X[:, 0] > 0.8).astype(int)
PRICE = (X @ [1.0, -0.5, 0.2]).round(3)
QUICK = ("--epochs", "4", "--hidden", "6")


def write(name: str, target: Any, delimiter: str = ",") -> None:
    rows = (delimiter.join(map(str, (*row, value))) for row, value in zip(X.tolist(), target, strict=True))
    text = "\n".join([delimiter.join(("a", "b", "c", "target")), *rows])
    Path(name).write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())


def by_hand(saved: MLP, y: Any, **settings: Any) -> MLP:
    """The network that is trained with these settings on the training rows."""
    train, _ = datasets.stratified_split(y, 0.2, SPLIT_SEED)
    scaling = saved.input_shift, saved.input_scale
    net = MLP(saved.sizes, saved.activation, saved.loss_name, saved.dtype, 0, *scaling)
    weights = settings.pop("weights", None)
    sample_weight = None if weights is None else weights[train]
    net.fit(X[train], y[train], epochs=4, batch_size=32, l2=1e-4, sample_weight=sample_weight, **settings)
    return net


def test_activation_and_optimizer(run: Run) -> None:
    write("rows.csv", Y)
    shown = table(run("train", "--data", "rows.csv", *QUICK, "--activation", "silu", "--optimizer", "adamw").out)
    assert shown["network"] == "3-6-2, silu, float32"
    assert shown["settings"] == "4 epochs, batches of 32, adamw, learning rate 0.001, l2 0.0001, seed 0"
    saved = fastbp.load("fastbp-model.npz")
    assert saved.activation == "silu"
    assert_same_bits(saved.parameters, by_hand(saved, Y, optimizer="adamw").parameters)


def test_balanced_classes(run: Run) -> None:
    write("rows.csv", Y)
    run("train", "--data", "rows.csv", *QUICK, "--class-weight", "balanced")
    saved = fastbp.load("fastbp-model.npz")
    train, _ = datasets.stratified_split(Y, 0.2, SPLIT_SEED)
    weights = (len(train) / (2 * np.bincount(Y[train])))[Y]
    assert_same_bits(saved.parameters, by_hand(saved, Y, learning_rate=0.1, weights=weights).parameters)


@pytest.mark.parametrize("loss", LOSSES_OF_NUMBERS)
def test_the_loss_of_numbers(run: Run, loss: str) -> None:
    write("rows.csv", PRICE)
    run("train", "--data", "rows.csv", *QUICK, "--loss", loss, "--dtype", "float64")
    assert fastbp.load("fastbp-model.npz").loss_name == loss


@pytest.mark.parametrize("name", ["rows.tsv", "rows.TSV", "rows.tsv.gz"])
def test_tabs(run: Run, name: str) -> None:
    write(name, np.array(["no, never", "yes"])[Y], "\t")
    assert table(run("train", "--data", name, *QUICK).out)["target"] == "column 'target', classes 'no, never', 'yes'"
    assert run("predict", "fastbp-model.npz", name).out.count("\n") == len(X) + 1


def test_tabs_are_taken_for_granted(run: Run) -> None:
    write("rows.tsv", Y, ",")
    refused(run("train", "--data", "rows.tsv", *QUICK), "rows.tsv")
    assert run("train", "--data", "rows.tsv", *QUICK, "--delimiter", ",").status == 0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--loss", "huber"), "--loss: got huber for classes, whose loss is the cross-entropy"),
        (("--task", "numbers", "--class-weight", "balanced"), "--class-weight: got balanced, but the target"),
        (("--loss", "hinge"), "--loss"), (("--activation", "gellu"), "did you mean gelu?"),
        (("--optimizer", "nestorov"), "did you mean nesterov?"), (("--class-weight", "none"), "--class-weight"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit(run: Run, given: tuple[str, ...], words: str) -> None:
    write("rows.csv", Y)
    done = run("train", "--data", "rows.csv", *given)
    assert (done.status, done.out) == (2, "")
    assert words in done.err and done.err.count("\n") == 1
