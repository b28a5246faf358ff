"""The command line on a table with text, gaps and a bool: training by the recipe, predictions, scores."""

from __future__ import annotations

import csv
import gzip
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

import fastbp
from fastbp import datasets
from fastbp.cli import table_training
from fastbp.cli.data import SPLIT_SEED
from fastbp.tables import TableModel
from fastbp.tables.files import TableData, read_table
from support.commands import Run, predictions, refused, table

RNG = np.random.default_rng(0)
ROWS = 240
NAMES = ("age", "town", "member", "income")
FEW = ("--epochs", "2")


def people() -> list[list[str]]:
    """Rows in which the income follows from the others."""
    age, member = RNG.integers(18, 80, ROWS), RNG.random(ROWS) < 0.4
    town = RNG.choice(["Rome", "Oslo", "Bonn"], ROWS)
    income = 2e4 + 300 * age + 9e3 * (town == "Oslo") + 5e3 * member + RNG.normal(0, 800, ROWS)
    gap = RNG.random((ROWS, 2)) < 0.05
    return [
        [
            "" if gap[i, 0] else str(age[i]),
            "NA" if gap[i, 1] else str(town[i]),
            "true" if member[i] else "no",
            f"{income[i]:.2f}",
        ]
        for i in range(ROWS)
    ]


PEOPLE = people()


def write(
    name: str, names: Sequence[str] | None = NAMES, rows: Sequence[Sequence[Any]] = PEOPLE, delimiter: str = ","
) -> bytes:
    """Write a file, and return what it holds."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerows([] if names is None else [names])
    writer.writerows(rows)
    content = text.getvalue().encode()
    Path(name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return content


def with_stdin(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def split(data: TableData, classes: Any) -> tuple[TableModel, Any, Any]:
    """The model that was saved, and the training and test rows."""
    train, test = datasets.stratified_split(classes, 0.2, SPLIT_SEED)
    return TableModel.load("fastbp-model.npz"), train, test


# ---- what is trained, and said ----


def test_a_number_is_predicted(run: Run) -> None:
    write("people.csv")
    done = run("train", "--data", "people.csv")
    shown, data = table(done.out), read_table("people.csv")
    assert done.err == ""
    assert shown["data"] == "people.csv: 3 features"
    assert shown["target"] == "column 'income', numbers"
    assert shown["task"] == "numbers, since the target has fractions"
    assert shown["features"] == "'age', 'town', 'member'"
    assert shown["columns"] == "1 of numbers, 2 of text, 2 with gaps"
    assert shown["rows"] == "192 to train on, 48 to test on"
    assert shown["recipe"] == "tabular, since column 'age' has gaps"
    assert shown["saved as"] == "fastbp-model.npz"
    model, train, test = split(data, np.zeros(ROWS, int))
    assert (model.network.target_name, model.network.class_names) == ("income", None)
    assert data.target is not None
    answers, mean = model.predict(data.columns), data.target[train].mean()
    wanted = data.target[test]
    assert shown["test R^2"] == f"{metrics.r2_score(wanted, answers[test]):.4f}"
    assert float(shown["test R^2"]) > 0.8
    for name, error in (("RMSE", metrics.root_mean_squared_error), ("MAE", metrics.mean_absolute_error)):
        of_mean = error(wanted, np.full(len(test), mean))
        assert shown[f"test {name}"] == f"{error(wanted, answers[test]):.4g} ({of_mean:.4g} by the mean)"

    assert list(map(float, predictions(run("predict", "fastbp-model.npz", "people.csv").out))) == answers.tolist()
    refused(run("predict", "fastbp-model.npz", "people.csv", "--proba"), "mean_squared_error", "no probabilities")
    shown = table(run("evaluate", "fastbp-model.npz", "people.csv").out)
    assert shown["data"] == "people.csv: 240 rows"
    assert shown["R^2"] == f"{metrics.r2_score(data.target, answers):.4f}"


@pytest.mark.parametrize(("target", "names"), [("member", ("True", "no")), ("town", ("Bonn", "Oslo", "Rome"))])
def test_classes_are_told_apart(run: Run, target: str, names: tuple[str, ...]) -> None:
    write("people.csv", rows=[row for row in PEOPLE if row[1] != "NA"])
    done = run("train", "--data", "people.csv", "--target", target, *FEW)
    shown, data = table(done.out), read_table("people.csv", target)
    assert data.target is not None
    labels = np.array([names.index(name) for name in data.target])
    assert shown["target"] == f"column {target!r}, classes {', '.join(map(repr, names))}"
    assert shown["task"] == "classes, since the target is text"
    model, train, test = split(data, labels)
    assert (model.network.target_name, model.network.class_names) == (target, names)
    answers, most = model.predict(data.columns), np.bincount(labels[train]).argmax()
    assert shown["test accuracy"] == f"{100 * np.mean(answers[test] == labels[test]):.2f} %"
    assert shown["by majority class"] == f"{100 * np.mean(labels[test] == most):.2f} %"

    header, *rows = csv.reader(io.StringIO(run("predict", "fastbp-model.npz", "people.csv", "--proba").out))
    assert header == ["prediction", *names]
    assert [row[0] for row in rows] == [names[label] for label in answers]
    probabilities = model.outputs(data.columns)
    np.testing.assert_array_equal(np.array([row[1:] for row in rows], np.float32), probabilities)
    done = run("evaluate", "fastbp-model.npz", "people.csv")
    shown = table("\n".join(done.out.splitlines()[:6]))
    assert shown["log loss"] == f"{metrics.log_loss(labels, probabilities / probabilities.sum(1, keepdims=True)):.4f}"
    assert shown["ROC AUC"].startswith(f"{metrics.roc_auc_score(labels == len(names) - 1, probabilities[:, -1]):.4f}"
                                       if len(names) == 2 else "0.")  # fmt: skip
    matrix = metrics.confusion_matrix(labels, answers)
    lines = [line.split() for line in done.out.splitlines()[-len(names) :]]
    assert lines == [[name, *map(str, row)] for name, row in zip(names, matrix, strict=True)]


def test_tables_of_numbers_are_trained_as_they_were(run: Run) -> None:
    rows = [[row[0], row[3], row[2]] for row in PEOPLE if row[0]]
    write("numbers.csv", ("age", "income", "member"), rows)
    assert table(run("train", "--data", "numbers.csv", *FEW).out)["network"] == "2-100-2, relu, float32"
    assert isinstance(fastbp.load("fastbp-model.npz"), fastbp.MLP)
    shown = table(run("train", "--data", "numbers.csv", *FEW, "--recipe", "tabular").out)
    assert shown["recipe"] == "tabular, since --recipe says so"
    assert shown["columns"] == "2 of numbers" and TableModel.load("fastbp-model.npz").network.classes == 2
    write("gaps.csv", ("age", "income", "member"), [*rows, ["inf", 3, "no"]])
    shown = table(run("train", "--data", "gaps.csv", *FEW).out)
    assert shown["recipe"] == "tabular, since column 'age' has infinite numbers"
    refused(run("train", "--data", "gaps.csv", "--recipe", "network"), "expected a finite number, got 'inf'")
    refused(run("train", "--recipe", "tabular"), "--recipe: got tabular for digits, expected a CSV file")


@pytest.mark.parametrize("name", ["people.tsv", "people.TSV", "people.tsv.gz", "people.csv.gz"])
def test_other_files(run: Run, name: str) -> None:
    write(name, delimiter="\t" if "tsv" in name.lower() else ",")
    assert table(run("train", "--data", name, *FEW).out)["features"] == "'age', 'town', 'member'"
    assert len(predictions(run("predict", "fastbp-model.npz", name).out)) == ROWS


def test_standard_input(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    content = write("people.csv")
    run("train", "--data", "people.csv", *FEW, "--out", "file.npz")
    with_stdin(monkeypatch, content)
    shown = table(run("train", "--data", "-", *FEW, "--out", "stdin.npz").out)
    assert shown["data"] == "standard input: 3 features"
    assert Path("file.npz").read_bytes() == Path("stdin.npz").read_bytes()
    expected = run("predict", "file.npz", "people.csv").out
    with_stdin(monkeypatch, gzip.compress(content))
    assert run("predict", "file.npz", "-").out == expected
    with_stdin(monkeypatch, content)
    assert table(run("evaluate", "file.npz", "-").out)["data"] == "standard input: 240 rows"
    with_stdin(monkeypatch, b"")
    refused(run("train", "--data", "-"), "standard input: ", "an empty file")
    monkeypatch.setattr(sys, "stdin", None)
    refused(run("predict", "file.npz", "-"), "standard input is closed")
    refused(run("train", "--data", "-", "--mpi"), "--mpi")


def test_one_network_reads_standard_input_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [[row[0], row[3]] for row in PEOPLE if row[0]]
    content = write("numbers.csv", ("age", "income"), rows)
    with_stdin(monkeypatch, content)
    shown = table(run("train", "--data", "-", *FEW).out)
    assert shown["network"] == "1-100-1, relu, float32" and shown["data"] == "standard input: 1 feature"
    with_stdin(monkeypatch, content)
    assert run("predict", "fastbp-model.npz", "-").out == run("predict", "fastbp-model.npz", "numbers.csv").out
    with_stdin(monkeypatch, content)
    done = run("evaluate", "fastbp-model.npz", "-")
    assert table(done.out)["R^2"] == table(run("evaluate", "fastbp-model.npz", "numbers.csv").out)["R^2"]
    write("one.csv", ("age", "income"), rows[:1])
    assert table(run("evaluate", "fastbp-model.npz", "one.csv").out)["data"] == "one.csv: 1 row"


def test_without_a_header(run: Run) -> None:
    write("people.csv", None)
    done = run("train", "--data", "people.csv", *FEW)
    assert table(done.out)["target"] == "the last column, numbers"
    assert table(done.out)["recipe"] == "tabular, since a column has gaps"
    refused(run("predict", "fastbp-model.npz", "people.csv"), "got 4 features, but the model takes 3", "--drop others")
    answers = predictions(run("predict", "fastbp-model.npz", "people.csv", "--target", "-1").out)
    write("new.csv", None, [row[:3] for row in PEOPLE])
    assert predictions(run("predict", "fastbp-model.npz", "new.csv").out) == answers
    write("named.csv", NAMES[:3], [row[:3] for row in PEOPLE])
    done = run("predict", "fastbp-model.npz", "named.csv")
    assert predictions(done.out) == answers and "columns were used in their order" in done.err


def test_all_options_that_work(run: Run) -> None:
    write("people.csv")

    def trained(*words: Any) -> bytes:
        assert run("train", "--data", "people.csv", *FEW, *words, "--out", "m.npz").status == 0
        return Path("m.npz").read_bytes()

    first = trained()
    assert trained("--threads", 1) == first and trained("--seed", 1) != first and trained("--epochs", 3) != first
    trained("--loss", "huber")
    assert TableModel.load("m.npz").network.loss_name == "huber"
    plain = trained("--target", "member")
    assert trained("--target", "member", "--class-weight", "balanced") != plain
    trained("--task", "classes", "--drop", "income", "--target", "member")
    assert TableModel.load("m.npz").encoder.names == ("age", "town")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--hidden", "3"), ("--hidden: ", "the recipe chooses it")), (("--dtype", "float32"), ("--dtype: ",)),
        (("--activation", "relu"), ("--activation: ",)), (("--optimizer", "adam"), ("--optimizer: ",)),
        (("--learning-rate", "0.1"), ("--learning-rate: ",)), (("--batch-size", "8"), ("--batch-size: ",)),
        (("--l2", "0"), ("--l2: ",)), (("--checkpoint", "c.npz"), ("--checkpoint: ", "does not have it")),
        (("--plot", "p.svg"), ("--plot: ", "does not have it")),
    ],
)  # fmt: skip
def test_options_of_one_network(run: Run, given: tuple[str, ...], words: tuple[str, ...]) -> None:
    write("people.csv")
    done = run("train", "--data", "people.csv", *given)
    refused(
        done, *words, "people.csv is trained by the tabular recipe, since column 'age' has gaps", "--recipe network"
    )
    assert not Path("fastbp-model.npz").exists()


def test_an_interrupted_training_saves_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **more: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(table_training.fitting, "fit", interrupted)
    write("people.csv")
    done = run("train", "--data", "people.csv")
    assert done.status == 130 and "training was interrupted; nothing was saved" in done.err
    assert not Path("fastbp-model.npz").exists()


# ---- new rows ----


def test_rows_unlike_those_of_the_training(run: Run) -> None:
    write("people.csv")
    run("train", "--data", "people.csv", *FEW)
    model = TableModel.load("fastbp-model.npz")
    write(
        "new.csv",
        ("note", "member", "town", "age"),
        [["x", "TRUE", "Mars", "inf"], ["y", "", "", ""], ["z", "no", 3, "1"]],
    )
    done = run("predict", "fastbp-model.npz", "new.csv")
    assert "note: new.csv: columns that the model was not trained on were left out: 'note'" in done.err
    assert len(set(predictions(done.out))) == 3 and "nan" not in done.out
    write("same.csv", ("age", "town", "member"), [["inf", "", "true"], ["", "NA", "Pluto"], ["1", "None", "no"]])
    assert run("predict", "fastbp-model.npz", "same.csv").out == done.out
    write("lacks.csv", ("age", "town"), [["3", "Rome"]])
    refused(run("predict", "fastbp-model.npz", "lacks.csv"), "lacks.csv: got no column named 'member', expected all")
    write("text.csv", ("age", "town", "member"), [["old", "Rome", "no"]])
    refused(run("predict", "fastbp-model.npz", "text.csv"), "text.csv: line 2, column 1 ('age'): expected a number",
            "got 'old'; --missing old takes it for a missing value")  # fmt: skip
    refused(run("predict", "fastbp-model.npz", "digits"), "fastbp-model.npz is the model of a table: got 'digits'")
    refused(run("evaluate", "fastbp-model.npz", "same.csv"), "--target: expected a column of same.csv", "'income'")
    assert model.encoder.names == ("age", "town", "member")


def test_a_column_of_numbers_that_was_text_in_training(run: Run) -> None:
    rows = [[["1", "2", "A"][i % 3], i % 7 / 2] for i in range(60)]
    write("codes.csv", ("code", "size"), rows)
    run("train", "--data", "codes.csv", *FEW)
    answers = predictions(run("predict", "fastbp-model.npz", "codes.csv").out)
    write("new.csv", ("code",), [["2"], ["1"]])
    assert predictions(run("predict", "fastbp-model.npz", "new.csv").out) == [answers[1], answers[0]]


def test_classes_as_numbers(run: Run) -> None:
    write("rows.csv", ("town", "kind"), [[row[1], i % 3] for i, row in enumerate(PEOPLE)])
    shown = table(run("train", "--data", "rows.csv", *FEW).out)
    assert shown["target"] == "column 'kind', classes '0', '1', '2'"
    write("new.csv", ("town", "kind"), [["Rome", "1.0"], ["Oslo", "2.0"]])
    assert run("evaluate", "fastbp-model.npz", "new.csv").status == 0
    write("new.csv", ("town", "kind"), [["Rome", "7"]])
    refused(run("evaluate", "fastbp-model.npz", "new.csv"), "new.csv: got the class '7', expected only those")


def test_models_of_estimators(run: Run) -> None:
    rows = np.array([[float(row[0] or "nan"), None if row[1] == "NA" else row[1]] for row in PEOPLE], object)
    income = np.array([float(row[3]) for row in PEOPLE])
    write("new.csv", None, [row[:2] for row in PEOPLE])
    model = fastbp.TabularRegressor(quantiles=[0.1, 0.9], max_iter=2, random_state=0).fit(rows, income)
    model.model_.save("m.npz")
    header, *found = csv.reader(io.StringIO(run("predict", "m.npz", "new.csv").out))
    assert header == ["prediction 0.1", "prediction 0.9"]
    np.testing.assert_array_equal(np.array(found, np.float64), model.predict(rows))
    model = fastbp.TabularRegressor(max_iter=2, random_state=0).fit(rows, np.column_stack([income, -income]))
    model.model_.save("m.npz")
    header, *found = csv.reader(io.StringIO(run("predict", "m.npz", "new.csv").out))
    assert header == ["prediction 0", "prediction 1"]
    refused(run("evaluate", "m.npz", "new.csv", "--target", "0"), "m.npz: got a network that predicts 2 numbers")


# ---- tables that ask too much ----


def test_ten_thousand_levels(run: Run) -> None:
    towns = RNG.integers(0, 10_000, 24_000)
    height = RNG.normal(size=10_000)
    write("towns.csv", ("town", "height"), [[f"t{town}", f"{height[town]:.4f}"] for town in towns])
    shown = table(run("train", "--data", "towns.csv", *FEW).out)
    assert shown["columns"] == "1 of text (1 embedded)"
    assert len(predictions(run("predict", "fastbp-model.npz", "towns.csv").out)) == 24_000


def test_columns_that_tell_nothing(run: Run) -> None:
    write("rows.csv", ("empty", "same", "same text", *NAMES), [["", 3, "x", *row] for row in PEOPLE])
    shown = table(run("train", "--data", "rows.csv", *FEW).out)
    assert shown["columns"] == "3 of numbers, 3 of text, 3 with gaps, 3 that tell nothing"
    write("new.csv", ("same text", "same", "empty", *NAMES[:3]), [["a", "b", "c", "30", "Rome", "no"]])
    assert len(predictions(run("predict", "fastbp-model.npz", "new.csv").out)) == 1


def test_classes_of_a_single_row(run: Run) -> None:
    write("rows.csv", ("town", "kind"), [*([row[1], "xy"[i % 2]] for i, row in enumerate(PEOPLE)), ["Rome", "z"]])
    done = run("train", "--data", "rows.csv", *FEW)
    assert (done.status, table(done.out)["target"]) == (0, "column 'kind', classes 'x', 'y', 'z'")
    write("rows.csv", ("town", "kind"), [["Rome", "x"], ["Oslo", "y"], ["Rome", "z"]])
    refused(
        run("train", "--data", "rows.csv", "--header"), "rows.csv: a part of the rows is held out", "at least 2 rows"
    )


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([["a", 3.5]] * 8, "rows.csv: the target is 3.5 in all rows; expected one that differs"),
        ([["a", "x"]] * 8, "rows.csv: all rows are of one class; expected at least 2 classes"),
        ([["a", f"x{i}"] for i in range(30)], "rows.csv: got 30 classes in 30 rows; expected several rows of each"),
        ([["a", 1.5], ["b", ""]] * 3, "rows.csv: line 3, column 2 ('y'): expected a target in each row, got '', a mis"),
        ([["a", 1.5], ["b", "inf"]] * 3, "rows.csv: line 3, column 2 ('y'): expected a finite number as the target"),
        ([["a", 1.5], ["b", 2.5]], "rows.csv: got 1 row to train on, expected at least 2"),
        ([["a", f"{i}.5"] for i in range(40)] + [["b", "unknown"]], "got 'unknown' as the target of a row among numb"),
    ],
)  # fmt: skip
def test_targets_that_are_refused(run: Run, rows: list[list[Any]], words: str) -> None:
    write("rows.csv", ("town", "y"), rows)
    done = run("train", "--data", "rows.csv", "--header")
    assert done.status == 2 and done.err.count("\n") == 1
    assert words in done.err and not Path("fastbp-model.npz").exists()


def test_remarks_on_columns(run: Run) -> None:
    write("people.csv", ("name", *NAMES), [[f"n{i}", *row] for i, row in enumerate(PEOPLE)])
    done = run("train", "--data", "people.csv", *FEW)
    assert done.err == (
        "fastbp train: note: people.csv: column 'name' holds another text in nearly every row, which says nothing "
        "about new ones; --drop name leaves it out\n"
    )
    rows = [["about 30", *row[1:]] if i == 5 else row for i, row in enumerate(PEOPLE)]
    write("people.csv", NAMES, rows)
    done = run("train", "--data", "people.csv", *FEW)
    assert "('age'): got 'about 30' in a column of numbers, which was therefore taken for text" in done.err
    assert done.err.endswith("; --missing 'about 30,NA' takes it for missing\n")
    done = run("train", "--data", "people.csv", *FEW, "--missing", "about 30,NA")
    assert done.err == "" and table(done.out)["columns"] == "1 of numbers, 2 of text, 2 with gaps"


# ---- options that a model keeps ----


def test_texts_that_mean_a_gap_are_kept(run: Run) -> None:
    rows = [["-999" if i % 5 == 0 else str(i % 7 - 3), "xy"[i % 2], "q" if i % 5 == 0 else "p"] for i in range(200)]
    write("gaps.csv", ("a", "b", "y"), rows)
    run("train", "--data", "gaps.csv", "--missing=-999", *FEW)
    assert TableModel.load("fastbp-model.npz").reading == {"missing": ["-999"]}
    expected = run("predict", "fastbp-model.npz", "gaps.csv", "--proba", "--missing=-999").out
    assert run("predict", "fastbp-model.npz", "gaps.csv", "--proba").out == expected


def test_the_place_of_a_target_without_a_name_is_kept(run: Run) -> None:
    write("turned.csv", None, [[row[3], *row[:3]] for row in PEOPLE])
    run("train", "--data", "turned.csv", "--target", "0", "--no-header", *FEW)
    told = run("evaluate", "fastbp-model.npz", "turned.csv", "--no-header", "--target", "0").out
    assert run("evaluate", "fastbp-model.npz", "turned.csv", "--no-header").out == told


def test_a_first_row_of_infinities_is_data(run: Run) -> None:
    write("infinite.csv", None, [["inf", "-inf", "p"], *([str(i % 7), str(i / 3), "pq"[i % 2]] for i in range(60))])
    shown = table(run("train", "--data", "infinite.csv", *FEW).out)
    assert shown["rows"] == "49 to train on, 12 to test on" and "features" not in shown
