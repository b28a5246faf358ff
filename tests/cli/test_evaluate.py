"""``fastbp evaluate``: scores of a model on rows whose targets are known."""

from __future__ import annotations

import csv
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

import fastbp
from support.commands import Run, refused, table

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 3)).round(3)
KIND = np.array(["low", "middle", "high"])[np.digitize(X[:, 0], [-0.5, 0.5])]
PRICE = (X @ [3.0, 1.0, -2.0] + 10).round(2)


def write(name: str, **columns: Any) -> None:
    with open(name, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("a", "b", "c", *columns))
        writer.writerows([*row, *targets] for row, *targets in zip(X.tolist(), *columns.values(), strict=True))


def classifier() -> fastbp.MLP:
    """A model of names that are sorted otherwise than the file's."""
    net = fastbp.MLP((3, 8, 3), seed=0)
    net.fit(X, np.select([KIND == "low", KIND == "middle"], [0, 1], 2), epochs=40, batch_size=10, learning_rate=0.2)
    net.class_names, net.feature_names, net.target_name = ("low", "middle", "high"), ("a", "b", "c"), "kind"
    net.save("kinds.npz")
    return net


def test_classes(run: Run) -> None:
    net = classifier()
    write("rows.csv", kind=KIND, note=["x"] * len(X))
    done = run("evaluate", "kinds.npz", "rows.csv")
    assert "columns that the model was not trained on were left out: 'note'" in done.err
    labels = [["low", "middle", "high"].index(kind) for kind in KIND]
    probabilities = net.predict_proba(X).astype(float)
    probabilities /= probabilities.sum(axis=1, keepdims=True)  # which scikit-learn checks
    shown = table(done.out)
    expected = metrics.accuracy_score(labels, probabilities.argmax(axis=1))
    most = np.bincount(labels).max() / len(X)
    assert shown["accuracy"] == f"{100 * expected:.2f} % ({100 * most:.2f} % by the most frequent class)"
    assert shown["log loss"] == f"{metrics.log_loss(labels, probabilities):.4f}"
    area = metrics.roc_auc_score(labels, probabilities, multi_class="ovr")
    assert shown["ROC AUC"] == f"{area:.4f}, the mean of each class against the rest"
    matrix = metrics.confusion_matrix(labels, probabilities.argmax(axis=1))
    assert [line.split() for line in done.out.splitlines()[-3:]] == [
        [name, *map(str, row)] for name, row in zip(("low", "middle", "high"), matrix, strict=True)
    ]


def test_two_classes_of_one_output(run: Run) -> None:
    positive = (PRICE > 10).astype(int)
    net = fastbp.MLP((3, 8, 1), loss="binary_cross_entropy", seed=0)
    net.fit(X, positive, epochs=20, learning_rate=0.1)
    net.save("positive.npz")
    write("rows.csv", positive=positive)
    shown = table(run("evaluate", "positive.npz", "rows.csv").out)
    assert shown["accuracy"].startswith(f"{100 * net.score(X, positive):.2f} %")
    assert shown["ROC AUC"] == f"{metrics.roc_auc_score(positive, net.predict_proba(X)):.4f}"


def test_numbers(run: Run) -> None:
    net = fastbp.MLP((3, 8, 1), loss="huber", seed=0)
    net.fit(X, PRICE, epochs=20, learning_rate=0.05)
    net.feature_names, net.target_name = ("a", "b", "c"), "price"
    net.save("prices.npz")
    write("rows.csv", price=PRICE, kind=KIND)
    done = run("evaluate", "prices.npz", "rows.csv")
    shown, predicted = table(done.out), net.predict(X).astype(float)
    assert shown["R^2"] == f"{metrics.r2_score(PRICE, predicted):.4f}"
    mean = np.full(len(X), PRICE.mean())
    for name, error in (("MAE", metrics.mean_absolute_error), ("RMSE", metrics.root_mean_squared_error)):
        assert shown[name] == f"{error(PRICE, predicted):.4g} ({error(PRICE, mean):.4g} by the mean)"


def test_many_classes_list_the_most_frequent_mistakes(run: Run) -> None:
    net = fastbp.MLP((3, 25), seed=0)
    net.save("many.npz")
    y = RNG.integers(0, 25, 200)
    rows = RNG.normal(size=(200, 3))
    np.savez("rows.npz", X=rows, y=y)
    lines = run("evaluate", "many.npz", "rows.npz").out.splitlines()
    lines = lines[lines.index("The most frequent mistakes") + 1 :]
    matrix = metrics.confusion_matrix(y, net.predict(rows), labels=range(25))
    np.fill_diagonal(matrix, 0)
    assert len(lines) == 10
    for line in lines:
        count, own, _, _, other = line.replace(",", " ").split()
        assert matrix[int(own), int(other)] == int(count)
    assert int(lines[0].split()[0]) == matrix.max()


def test_test_rows_are_those_of_the_data(run: Run) -> None:
    net = fastbp.MLP((3, 2), seed=0)
    net.save("two.npz")
    np.savez("both.npz", X=X, y=np.zeros(90, int), X_test=X[:7], y_test=np.ones(7, int))
    shown = table(run("evaluate", "two.npz", "both.npz").out)
    assert shown["data"] == "both.npz: 7 test rows"
    assert "ROC AUC" not in shown  # of a single class


@pytest.mark.parametrize(
    ("columns", "model", "words"),
    [
        (
            {"kind": np.where(KIND == "low", "lower", KIND)},
            "kinds.npz",
            "rows.csv: got the class 'lower', expected only",
        ),
        ({"price": KIND}, "prices.npz", "rows.csv: got text as the target, expected numbers"),
        ({"kind": KIND}, "two.npz", "two.npz: got a network that predicts 2 numbers or labels at once, expected one"),
    ],
)
def test_what_cannot_be_evaluated(run: Run, columns: dict[str, Any], model: str, words: str) -> None:
    classifier()
    prices = fastbp.MLP((3, 1), loss="huber")
    prices.feature_names = ("a", "b", "c")
    prices.save("prices.npz")
    fastbp.MLP((3, 2), loss="huber").save("two.npz")
    write("rows.csv", **columns)
    refused(run("evaluate", model, "rows.csv"), words)


def test_a_class_of_a_large_number_is_told_at_once(run: Run) -> None:
    fastbp.MLP((3, 2), seed=0).save("two.npz")
    np.savez("rows.npz", X=X, y=np.full(90, 2**40))
    refused(run("evaluate", "two.npz", "rows.npz"), "rows.npz: got the class '1099511627776', expected only")
