"""The command ``fastbp evaluate``: how good a model's predictions are for rows whose targets are known."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import threads
from ..datasets import readers
from ..datasets.dataset import Dataset
from ..kernels.losses import LOSSES
from ..model.scores import score
from ..names import listed
from ..network import MLP, load
from ..tables import scores
from ..version import __version__
from .data import read_for
from .output import print_remarks, print_rows

Array = NDArray[Any]
MOST_CLASSES = 20  # in a matrix; of more the most frequent mistakes are listed
MISTAKES = 10


def evaluate(args: argparse.Namespace) -> None:
    """Run ``fastbp evaluate``."""
    net = load(args.model)
    loss = LOSSES[net.loss_name]
    if loss.targets != "classes" and net.classes != 1:
        got = f"{args.model}: got a network that predicts {net.classes} numbers or labels at once"
        raise ValueError(f"{got}, expected one that predicts a class or a single number")
    if args.target is None and args.data.lower().endswith(readers.CSV):
        args.target = net.target_name
    data, remarks = read_for(args, net, labelled=True)
    print_remarks(args, remarks)
    tested = data.X_test is not None
    X, y = (data.X_test, data.y_test) if tested else (data.X, data.y)
    assert X is not None and y is not None
    shown = [("data", f"{args.data}: {len(X):,} {'test rows' if tested else 'rows'}")]
    with threads.limit(args.threads):
        if loss.classifies:
            names, probabilities = _class_names(net), net.predict_proba(X)
            if probabilities.shape[1] == 1:
                probabilities = np.column_stack([1 - probabilities, probabilities])
            labels, predicted = _labels(args.data, data, y, names), probabilities.argmax(axis=1)
            wanted = labels if loss.targets == "classes" else labels[:, np.newaxis]
            accuracy = score(loss, predicted, wanted)
            rows, matrix = _of_classes(accuracy, labels, probabilities), _mistakes(labels, predicted, names)
        else:
            numbers, found = _numbers(args.data, data, y), net.predict(X)
            rows, matrix = _of_numbers(score(loss, found, numbers), numbers, found), []
    print_rows(f"fastbp {__version__} evaluates {args.model}", [*shown, *rows])
    if matrix:
        print("\n" + "\n".join(matrix), flush=True)


def _class_names(net: MLP) -> tuple[str, ...]:
    """Return the names of the classes; a single output stands for 0 and 1."""
    if net.classes == 1:
        return "0", "1"
    return net.class_names or tuple(map(str, range(net.classes)))


def _labels(name: str, data: Dataset, y: NDArray[np.int64], names: tuple[str, ...]) -> NDArray[np.int64]:
    """Return the rows' classes as the model numbers them."""
    found, place = np.unique(y, return_inverse=True)
    own = [str(label) if data.class_names is None else data.class_names[label] for label in found.tolist()]
    numbers = {each: number for number, each in enumerate(names)}
    if unknown := [each for each in own if each not in numbers]:
        expected = f"expected only those of the model: {listed(names)}"
        raise ValueError(f"{name}: got the class {unknown[0]!r}, {expected}")
    return np.array([numbers[each] for each in own], np.int64)[place]


def _numbers(name: str, data: Dataset, y: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the rows' targets as numbers."""
    if data.class_names is None:
        return y.astype(np.float64)
    if data.numbers is None:
        raise ValueError(f"{name}: got text as the target, expected numbers, which the model predicts")
    return data.numbers


def _of_classes(accuracy: float, labels: NDArray[np.int64], probabilities: Array) -> list[tuple[str, str]]:
    baseline = f"{100 * scores.majority(labels):.2f} %"
    area, how = scores.mean_roc_auc(labels, probabilities), ""
    if probabilities.shape[1] > 2:
        how = ", the mean of each class against the rest"
    shown = [
        ("accuracy", f"{100 * accuracy:.2f} % ({baseline} by the most frequent class)"),
        ("log loss", f"{scores.log_loss(labels, probabilities):.4f}"),
    ]
    return shown if np.isnan(area) else [*shown, ("ROC AUC", f"{area:.4f}{how}")]


def _of_numbers(r2: float, wanted: NDArray[np.float64], predicted: Array) -> list[tuple[str, str]]:
    mean, given = np.full(len(wanted), wanted.mean()), predicted.astype(np.float64)
    errors = (("MAE", scores.mean_absolute_error), ("RMSE", scores.root_mean_squared_error))
    rows = [(name, f"{error(wanted, given):.4g} ({error(wanted, mean):.4g} by the mean)") for name, error in errors]
    return [("R^2", f"{r2:.4f}"), *rows]


def _mistakes(labels: NDArray[np.int64], predicted: NDArray[np.int64], names: tuple[str, ...]) -> list[str]:
    """Return the lines of a confusion matrix, or of the most frequent mistakes where that were too large."""
    matrix = scores.confusion_matrix(labels, predicted, len(names))
    if len(names) > MOST_CLASSES:
        np.fill_diagonal(matrix, 0)
        pairs = np.argsort(-matrix, axis=None, kind="stable")[:MISTAKES]
        found = [(int(own), int(other)) for own, other in zip(*np.unravel_index(pairs, matrix.shape), strict=True)]
        lines = [
            f"  {matrix[own, other]:>6,}  {names[own]}, predicted as {names[other]}"
            for own, other in found
            if matrix[own, other]
        ]
        return ["The most frequent mistakes", *lines] if lines else []
    columns = [[name, *(f"{count:,}" for count in matrix[:, number])] for number, name in enumerate(names)]
    widths = [max(map(len, column)) for column in columns]
    first = max(map(len, names))
    lines = []
    for row, label in enumerate(("", *names)):
        cells = (f"{column[row]:>{width}}" for column, width in zip(columns, widths, strict=True))
        lines.append(f"  {label:<{first}}  {'  '.join(cells)}".rstrip())
    return ["Rows of each class, by what they are predicted as", *lines]
