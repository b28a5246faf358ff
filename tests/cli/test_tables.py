"""Tests of the command line on tables as people have them: columns by name, targets, gaps, marks, losses, terminals."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from support.commands import Run, predictions, refused, table
from support.lanes import in_lanes
from support.processes import PACKAGE

QUICK = ("--epochs", "30", "--hidden", "8")
ONE = ("--recipe", "network")


def write(name: str, columns: dict[str, Any]) -> None:
    """Write columns under their names, in their order."""
    with open(name, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


@pytest.fixture
def columns() -> dict[str, Any]:
    """Two features of different sizes, and a class that follows from the first."""
    rng = np.random.default_rng(0)
    width = np.r_[rng.uniform(1, 2, 20), rng.uniform(-2, -1, 20)].round(4)
    return {"width": width, "height": (100 * rng.normal(size=40)).round(3), "kind": ["bad"] * 20 + ["good"] * 20}


def seen(columns: dict[str, Any]) -> list[str]:
    """What the network of `train` says, by hand: the features in the order that it learnt them."""
    net = fastbp.load("m.npz")
    assert net.feature_names is not None and net.class_names is not None
    X = np.column_stack([columns[name] for name in net.feature_names])
    return [net.class_names[i] for i in net.predict(X)]


def test_columns_are_matched_by_name(run: Run, columns: dict[str, Any]) -> None:
    write("train.csv", columns)
    done = run("train", "--data", "train.csv", "--out", "m.npz", *QUICK)
    assert done.err == ""
    assert table(done.out)["target"] == "column 'kind', classes 'bad', 'good'"
    assert table(done.out)["features"] == "'width', 'height'"
    net = fastbp.load("m.npz")
    assert (net.feature_names, net.target_name) == (("width", "height"), "kind")

    answers = seen(columns)
    assert answers == columns["kind"]
    write("reordered.csv", {name: columns[name] for name in ("height", "kind", "width")})
    write("unlabelled.csv", {name: columns[name] for name in ("height", "width")})
    for data in ("train.csv", "reordered.csv", "unlabelled.csv"):
        done = run("predict", "m.npz", data)
        assert (predictions(done.out), done.err) == (answers, "")
    write("extra.csv", {"note": ["x"] * 40, "id": range(40), **columns})
    done = run("predict", "m.npz", "extra.csv")
    assert predictions(done.out) == answers
    assert done.err == "fastbp predict: note: extra.csv: columns that the model was not trained on were left out: " \
                       "'note', 'id'\n"  # fmt: skip
    write("missing.csv", {"width": columns["width"], "kind": columns["kind"]})
    refused(run("predict", "m.npz", "missing.csv"), "missing.csv: got no column named 'height'")


def test_without_names_counts_must_agree(run: Run, columns: dict[str, Any]) -> None:
    write("train.csv", {name: columns[name] for name in ("kind", "width", "height")})
    Path("plain.csv").write_text("".join(Path("train.csv").read_text().splitlines(keepends=True)[1:]))
    for told in (("--data", "plain.csv", "--target", "0"), ("--data", "train.csv", "--target", "kind")):
        assert run("train", *told, "--out", "m.npz", *QUICK).status == 0
        refused(run("predict", "m.npz", "plain.csv"), "plain.csv: line 1, column 1")
        assert predictions(run("predict", "m.npz", "plain.csv", "--target", "0").out) == columns["kind"]
        assert predictions(run("predict", "m.npz", "plain.csv", "--drop", "0").out) == columns["kind"]
    assert predictions(run("predict", "m.npz", "train.csv").out) == columns["kind"]  # the target is known by its name
    old = fastbp.load("m.npz")
    old.feature_names = old.target_name = None
    old.save("old.npz")
    refused(run("predict", "old.npz", "train.csv"), "train.csv: line 2, column 1 ('kind')", "--drop kind")
    assert predictions(run("predict", "old.npz", "train.csv", "--target", "kind").out) == columns["kind"]


def test_an_index_does_not_leak(run: Run, columns: dict[str, Any]) -> None:
    rng = np.random.default_rng(1)
    noise = {"a": rng.normal(size=40), "kind": columns["kind"]}  # sorted by class
    write("indexed.csv", {"": range(40), **noise})
    done = run("train", "--data", "indexed.csv", "--out", "m.npz", *QUICK)
    assert done.err.startswith("fastbp train: note: indexed.csv: the first column has no name")
    assert done.err.endswith("--drop '' keeps it\n")
    assert fastbp.load("m.npz").feature_names == ("a",)
    assert len(predictions(run("predict", "m.npz", "indexed.csv").out)) == 40
    write("named.csv", {"id": range(40), **noise})
    assert "column 'id' numbers the rows" in (done := run("train", "--data", "named.csv", *QUICK)).err
    assert "--drop id leaves it out" in done.err
    done = run("train", "--data", "named.csv", "--drop", "id", *QUICK)
    assert (done.status, done.err) == (0, "")


def test_options_say_how_a_file_is_read(run: Run) -> None:
    rows = [(f"{x:.2f}".replace(".", ","), int(x > 0)) for x in np.linspace(-2, 2, 41) + 0.01]
    Path("d.csv").write_text("".join(f"{x};{kind}\n" for x, kind in rows))
    refused(run("train", "--data", "d.csv"), "cut at ','", "--delimiter , --decimal . or --delimiter ';' --decimal ,")
    done = run("train", "--data", "d.csv", "--delimiter", ";", "--decimal", ",", *QUICK)
    assert table(done.out)["data"] == "d.csv: 1 feature, 2 classes"
    assert table(done.out)["target"] == "the last column, classes '0', '1'"
    Path("t.csv").write_text("".join(f"{x}\t{kind}\n" for x, kind in rows))
    refused(run("train", "--data", "t.csv"), "--delimiter tab --decimal ,")
    assert run("train", "--data", "t.csv", "--delimiter", "tab", "--decimal", ",", *QUICK).status == 0

    Path("n.csv").write_text("0,1\n" + "".join(f"{i},{i % 2}\n" for i in (3, 4, 8, 1, 3, 6, 7, 5, 9, 4)))
    refused(run("train", "--data", "n.csv"), "--header or --no-header says which it is")
    for option, count in (("--header", 10), ("--no-header", 11)):
        done = run("train", "--data", "n.csv", option, *QUICK)
        assert sum(map(int, table(done.out)["rows"].split()[::4])) == count
    Path("gaps.csv").write_text("a,kind\n" + "1,None\n2,some\n" * 8)
    refused(run("train", "--data", "gaps.csv"), "line 2, column 2 ('kind')", "'None', a missing value", "--missing ''")
    assert run("train", "--data", "gaps.csv", "--missing", "", *QUICK).status == 0
    refused(run("train", "--data", "gaps.csv", "--missing", "NA,some"), "line 3, column 2")
    Path("town.csv").write_text('a,"town, old",kind\n' + "1,north,x\n2,south,y\n" * 8)
    refused(run("train", "--data", "town.csv", *ONE), """--target 'town, old' or --drop '"town, old"' says that""")
    assert run("train", "--data", "town.csv", "--drop", '"town, old"', *QUICK).status == 0


@pytest.mark.parametrize(
    "words",
    [("--delimiter", ";;"), ("--delimiter", ""), ("--decimal", ";"), ("--drop", '"a'), ("--missing", '"a"b')],
)
def test_options_that_say_nothing(run: Run, words: tuple[str, ...]) -> None:
    refused(run("train", "--data", "x.csv", *words), words[0])


def test_options_of_csv_are_refused_elsewhere(run: Run) -> None:
    for words in (("--header",), ("--decimal", "."), ("--drop", "a"), ("--missing", ""), ("--delimiter", ",")):
        refused(run("train", *words), words[0], "CSV")


# ---- networks of every loss ----

LOSSES = ("mean_squared_error", "huber", "poisson_deviance", "binary_cross_entropy", "softmax_cross_entropy")


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("named", [False, True])
def test_predictions_of_every_loss(run: Run, loss: str, outputs: int, named: bool) -> None:
    net = fastbp.MLP((2, 3, outputs), loss=loss, seed=0)
    X = np.random.default_rng(0).normal(size=(7, 2)).astype(np.float32)
    net.class_names = tuple("pqr"[:outputs]) if named else None
    net.save("m.npz")
    np.savez("x.npz", X=X)
    header, *rows = csv.reader(io.StringIO(run("predict", "m.npz", "x.npz").out))
    names = "pqr"[:outputs] if named else "012"[:outputs]
    single = outputs == 1 or loss == "softmax_cross_entropy"
    assert header == (["prediction"] if single else [f"prediction {name}" for name in names])
    found = net.predict(X).reshape(7, -1)
    if loss == "softmax_cross_entropy":
        assert [row[0] for row in rows] == [names[i] for i in found[:, 0]]
    else:
        np.testing.assert_array_equal(np.array(rows).astype(found.dtype), found)  # to the bit

    done = run("predict", "m.npz", "x.npz", "--proba")
    if not loss.endswith("cross_entropy"):
        refused(done, f"its loss is {loss}", "no probabilities")
        return
    header, *rows = csv.reader(io.StringIO(done.out))
    expected = net.predict_proba(X).reshape(7, -1)
    np.testing.assert_array_equal(np.array(rows)[:, -expected.shape[1] :].astype(np.float32), expected)
    if loss == "softmax_cross_entropy":
        assert header == ["prediction", *names]
    elif single:
        assert header == ["prediction", "probability"]
    else:
        assert header[outputs:] == [f"probability {name}" for name in names]


def test_a_checkpoint_is_no_network(run: Run) -> None:
    assert run("train", "--data", "quadrants", "--checkpoint", "run.npz", "--epochs", 2).status == 0
    refused(run("predict", "run.npz", "quadrants"), "run.npz: got the checkpoint of a training")


def test_nothing_is_written_before_all_is_checked(run: Run) -> None:
    fastbp.MLP((2, 3), loss="huber", seed=0).save("m.npz")
    np.savez("x.npz", X=np.array([[1.0, 2.0], [np.nan, 0.0]]))
    refused(run("predict", "m.npz", "x.npz"), "NaN or infinity in row 1")


# ---- terminals ----


@pytest.mark.parametrize("encoding", in_lanes(["ascii", "latin-1", "utf-8"], fast=["ascii"]))
def test_class_names_beyond_the_terminals_alphabet(run: Run, columns: dict[str, Any], encoding: str) -> None:
    kinds = ["été" if kind == "bad" else "夏" for kind in columns["kind"]]
    write("train.csv", {**columns, "kind": kinds})
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(PACKAGE.parent)}

    def of_process(*words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([sys.executable, "-m", "fastbp", *words], env=environment, capture_output=True,
                              timeout=120, check=False)  # fmt: skip

    done = of_process("train", "--data", "train.csv", "--out", "m.npz", *QUICK)
    assert (done.returncode, done.stderr) == (0, b"")
    shown = "classes 'été', '夏'".encode(encoding, "backslashreplace")
    assert shown in done.stdout
    done = of_process("predict", "m.npz", "train.csv")
    assert predictions(done.stdout.decode()) == kinds  # a file, whatever shows it: UTF-8, as --out writes it


# ---- misspelt words ----


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "--epoch", "3"], "fastbp train: error: unrecognized arguments: --epoch 3; did you mean --epochs?"),
        (["train", "--learning_rate=0.1"], "did you mean --learning-rate?"),
        (["predict", "m", "d", "--probabilites"], "did you mean --probabilities?"),
        (["trian"], "did you mean train?"),
        (["learn", "chain-rul"], "did you mean chain-rule?"),
        (["train", "--dtype", "float46"], "did you mean float64?"),
        (["train", "flowers.csv"], "did you mean --data flowers.csv?"),
    ],
)
def test_a_misspelt_word_is_told_the_right_one(run: Run, words: list[str], said: str) -> None:
    refused(run(*words), said, f"(see fastbp {words[0]} --help)" if words[0] in ("train", "predict") else "--help)")


def test_words_like_no_other(run: Run) -> None:
    for words in (["train", "--frobnicate"], ["train", "--sep", ";"], ["--trian"]):
        assert "did you mean" not in run(*words).err


def test_values_that_begin_with_a_minus(run: Run) -> None:
    Path("a.csv").write_text("a,kind\n" + "1,x\n-999,y\n" * 8)
    refused(run("train", "--data", "a.csv", "--missing", "-999,-1", *ONE), "line 3, column 1", "-999", "missing")
    done = run("train", "--data", "a.csv", "--missing", "-,NA", *QUICK)
    assert done.status == 0
    Path("b.csv").write_text("a,n,b\n" + "1,x,0\n2,y,1\n" * 8)
    assert run("train", "--data", "b.csv", "--drop", "-2", *QUICK).status == 0


def test_errors_speak_of_options(run: Run) -> None:
    Path("a.csv").write_text("a,kind\n1,x\n2,y\n")
    refused(run("train", "--data", "a.csv"), "a.csv: a part of the rows is held out", "at least 2 rows")
    refused(run("train", "--data", "a.csv", "--target", "b"), "--target: expected a column")
    refused(run("train", "--data", "a.csv", "--drop", "kind"), "--drop: ", "'kind'")
    Path("big.csv").write_text("a,kind\n" + "1e300,x\n2e300,y\n" * 8)
    refused(run("train", "--data", "big.csv"), "big.csv: got features beyond what float32 holds", "--dtype float64")
    Path("sparse.csv").write_text("bad,1.5,2\ngood,3,4\n" * 4)
    refused(run("train", "--data", "sparse.csv", *ONE), "--header or --no-header or --target 0")


def test_a_model_without_names_says_that_it_goes_by_position(run: Run, columns: dict[str, Any]) -> None:
    write("train.csv", {name: columns[name] for name in ("width", "height")})
    fastbp.MLP((2, 3), seed=0).save("m.npz")
    done = run("predict", "m.npz", "train.csv")
    assert done.status == 0 and "the model has no column names; columns were used in their order" in done.err


def test_without_standard_error(run: Run, columns: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    write("indexed.csv", {"": range(40), **columns})
    monkeypatch.setattr(sys, "stderr", None)
    assert run("train", "--data", "indexed.csv", *QUICK).status == 0
    assert run("train", "--data", "gone.csv").status == 2
