"""The command ``fastbp evaluate``: how good a model's predictions are for rows whose targets are known."""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import threads
from ..datasets.csv_options import CsvOptions
from ..datasets.dataset import Content, Remark
from ..kernels.losses import LOSSES
from ..model.scores import score
from ..names import counted, listed
from ..network import MLP
from ..tables import TableModel, scores
from ..tables.columns import text_of
from ..version import __version__
from .data import columns_for, is_csv, read_for, source_of
from .models import class_names, read_model
from .output import print_remarks, print_rows

Array = NDArray[Any]
MOST_CLASSES = 20  # in a matrix; of more the most frequent mistakes are listed
MISTAKES = 10


def evaluate(args: argparse.Namespace) -> None:
    """Run ``fastbp evaluate``."""
    model, source = read_model(args.model), source_of(args)
    net = model.network if isinstance(model, TableModel) else model
    loss = LOSSES[net.loss_name]
    if loss.targets != "classes" and net.classes != 1:
        got = f"{args.model}: got a network that predicts {net.classes} numbers or labels at once"
        raise ValueError(f"{got}, expected one that predicts a class or a single number")
    if args.target is None and is_csv(args.data):
        args.target = net.target_name
    with threads.limit(args.threads):
        if isinstance(model, TableModel):
            rows, wanted, outputs, remarks = _of_table(args, source, model)
        else:
            rows, wanted, outputs, remarks = _of_network(args, source, model)
    print_remarks(args, remarks)
    shown = [("data", f"{args.data}: {rows}")]
    if loss.classifies:
        names = class_names(net)
        labels, predicted = _labels(args.data, wanted, names), outputs.argmax(axis=1)
        shown += _of_classes(float(np.mean(predicted == labels)), labels, outputs)
        matrix = _mistakes(labels, predicted, names)
    else:
        numbers, matrix = _numbers(args.data, wanted), []
        shown += _of_numbers(score(loss, outputs, numbers), numbers, outputs)
    print_rows(f"fastbp {__version__} evaluates {args.model}", shown)
    if matrix:
        print("\n" + "\n".join(matrix), flush=True)


class _Evaluated(NamedTuple):
    """Rows and the answers for them.

    Attributes
    ----------
    rows : str
        Their number in words.
    targets : array (n,)
        Numbers, or of dtype object with str.
    outputs : array
        Probabilities (n, classes), or numbers (n,).
    remarks : tuple of Remark
    """

    rows: str
    targets: Array
    outputs: Array
    remarks: tuple[Remark, ...]


def _of_network(args: argparse.Namespace, source: str | Content, net: MLP) -> _Evaluated:
    """Read rows for one network, and let it answer."""
    data, remarks = read_for(args, source, net, labelled=True)
    tested = data.X_test is not None
    X, y = (data.X_test, data.y_test) if tested else (data.X, data.y)
    assert X is not None and y is not None
    targets: Array = y if data.class_names is None else np.array(data.class_names, object)[y]
    if LOSSES[net.loss_name].classifies:
        outputs = net.predict_proba(X)
        if outputs.shape[1] == 1:
            outputs = np.column_stack([1 - outputs, outputs])
    else:
        outputs, targets = net.predict(X), targets if data.numbers is None else data.numbers
    return _Evaluated(counted(len(X), "test row" if tested else "row"), targets, outputs, remarks)


def _of_table(args: argparse.Namespace, source: str | Content, model: TableModel) -> _Evaluated:
    """Read rows for a table's model, and let it answer."""
    data, remarks = columns_for(args, source, model, labelled=True)
    assert data.target is not None
    outputs = model.outputs(data.columns) if model.scaling is None else model.predict(data.columns)
    return _Evaluated(counted(data.columns.rows, "row"), data.target, outputs, remarks)


def _labels(name: str, targets: Array, names: tuple[str, ...]) -> NDArray[np.int64]:
    """Return the rows' classes as the model numbers them: by their names, or as numbers, so that 1.0 is "1"."""
    found, place = np.unique(targets, return_inverse=True)
    numbers: dict[str | float, int] = {_as_number(each): number for number, each in enumerate(names)}
    numbers |= {each: number for number, each in enumerate(names)}
    labels = []
    for own in map(text_of if found.dtype.kind == "f" else str, found.tolist()):
        label = numbers.get(own, numbers.get(_as_number(own)))
        if label is None:
            raise ValueError(f"{name}: got the class {own!r}, expected only those of the model: {listed(names)}")
        labels.append(label)
    return np.array(labels, np.int64)[place]


def _as_number(text: str) -> str | float:
    return float(text) if CsvOptions().is_number(text) else text


def _numbers(name: str, targets: Array) -> NDArray[np.float64]:
    """Return the rows' targets as numbers."""
    if targets.dtype == object:
        raise ValueError(f"{name}: got text as the target, expected numbers, which the model predicts")
    return targets.astype(np.float64)


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
