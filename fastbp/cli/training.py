"""The command ``fastbp train``, and the training of one network."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import threads
from ..datasets.dataset import Dataset
from ..network import MLP
from ..optimizers import OPTIMIZERS
from ..tables import CLASSES, NUMBERS
from ..tables.targets import TargetScaling
from ..tables.task import Task
from ..training.history import History
from ..version import __version__
from . import table_training
from .data import check_finite, chunks
from .output import check_out, drawing_module, print_remarks, print_rows
from .parser import DEFAULTS, Settings
from .processes import MpiProcess, SingleProcess
from .targets import (
    accuracy_rows,
    check_classes,
    check_numbers,
    described,
    error_rows,
    row_weights,
    task_for,
    with_test_rows,
)

Array = NDArray[Any]

SCALES = {"digits": 1 / 16, "IDX pictures": 1 / 255}  # for known ranges; other features are scaled by their deviation
DTYPE, ACTIVATION = "float32", "relu"
LEAST_SPREAD = 64  # of the training rows' targets, in roundings of their mean, with which a network answers
MOST_GAPS = 1000  # beyond the number of rows: measurements or identifiers, not classes


def train(args: argparse.Namespace) -> None:
    """Run ``fastbp train``."""
    with MpiProcess() if args.mpi else SingleProcess() as process:
        plotting = process.agree(lambda: _check_files(args))
        found = process.agree(lambda: _read_rows(process, args))
        if isinstance(found, table_training.TrainingTable):
            table_training.train_table(args, found)
        else:
            _train_network(process, args, *found, plotting)


def _train_network(
    process: SingleProcess,
    args: argparse.Namespace,
    kind: str,
    data: Dataset,
    target: Target,
    plotting: ModuleType | None,
) -> None:
    """Train one network on data of this kind, test and save it."""
    if process.is_root:
        print_remarks(args, data.remarks)
    given = {name: getattr(args, name) for name in Settings._fields}
    defaults = DEFAULTS[kind if target.task.name == CLASSES else NUMBERS]
    if args.optimizer not in (None, defaults.optimizer):
        defaults = defaults._replace(learning_rate=OPTIMIZERS[args.optimizer].default_learning_rate)
    settings = defaults._replace(**{name: value for name, value in given.items() if value is not None})
    net = _new_network(args, data, settings.hidden, target, SCALES.get(kind), process)
    assert data.y is not None and data.X_test is not None and data.y_test is not None
    y, y_test, scaling, weights = data.y, data.y_test, None, None
    if args.class_weight is not None:
        weights = row_weights(data.y, process.summed(np.bincount(data.y, minlength=net.classes)))
    if target.task.name == NUMBERS:
        scaling = _target_scaling(args, data.y, process)
        y, y_test = scaling.scaled(data.y), scaling.scaled(data.y_test)
    rows, test_rows = (int(count) for count in process.summed([len(data.X), len(data.X_test)]))
    if process.is_root:
        heading = f"fastbp {__version__} trains"
        print_rows(heading, _description(args, net, data, target, settings, rows, test_rows, process.size))
    try:
        with threads.limit(args.threads) if args.threads else contextlib.nullcontext():
            history = process.fit(
                net,
                data.X,
                y,
                epochs=settings.epochs,
                batch_size=settings.batch_size,
                learning_rate=settings.learning_rate,
                l2=settings.l2,
                optimizer=settings.optimizer,
                sample_weight=weights,
                checkpoint=args.checkpoint,
                validation_data=(data.X_test, y_test) if plotting else None,
            )
            if scaling is None:
                scores = _scores_of_classes(process, net, data)
            else:
                scaling.fold_into(net)
                scores = _scores_of_numbers(process, net, data, scaling.shift)
    except KeyboardInterrupt:
        if args.checkpoint is None or not os.path.exists(args.checkpoint):
            raise KeyboardInterrupt("training was interrupted; nothing was saved") from None
        message = f"training was interrupted; the same command goes on from {args.checkpoint}"
        raise KeyboardInterrupt(message) from None
    if process.is_root:
        net.save(args.out)
        if plotting:
            plotting.plot_history(history, args.plot)
        print_rows("", _results(args, history, rows, scores))


class Target(NamedTuple):
    """Names what is predicted, and the number of outputs that do."""

    task: Task
    outputs: int


def _new_network(
    args: argparse.Namespace,
    data: Dataset,
    hidden: tuple[int, ...],
    target: Target,
    scale: float | None,
    process: SingleProcess,
) -> MLP:
    """Make the network, which scales its inputs and knows the names of classes and columns."""
    scaling = input_scaling(data.X, scale, np.dtype(args.dtype), process)
    largest = max(float(np.abs(part).max()) for part in scaling)
    if largest > np.finfo(args.dtype).max:
        remedy = "; --dtype float64 holds more" if args.dtype == "float32" else ""
        raise ValueError(f"{args.data}: got features beyond what {args.dtype} holds, {largest:.3g}{remedy}")
    sizes = (data.X.shape[1], *hidden, target.outputs)
    loss = "softmax_cross_entropy" if target.task.name == CLASSES else args.loss or "mean_squared_error"
    net = MLP(sizes, args.activation, loss, args.dtype, args.seed, *scaling)
    net.class_names, net.feature_names, net.target_name = data.class_names, data.feature_names, data.target_name
    return net


def _description(
    args: argparse.Namespace,
    net: MLP,
    data: Dataset,
    target: Target,
    settings: Settings,
    rows: int,
    test_rows: int,
    processes: int,
) -> list[tuple[str, str]]:
    """Describe what is trained on what, in rows for `print_rows`."""
    task, classes, class_names = target.task, net.classes, data.class_names
    shown = described(args, task, net.sizes[0], data.feature_names, data.target_name, classes, class_names)
    shown.append(("rows", f"{rows:,} to train on, {test_rows:,} to test on"))
    activation = f"{args.activation}, " if settings.hidden else ""
    shown.append(("network", f"{'-'.join(map(str, net.sizes))}, {activation}{args.dtype}"))
    if args.mpi:
        shown.append(("processes", f"{processes:,}"))
    steps = f"{settings.epochs} epochs, batches of {settings.batch_size}, {settings.optimizer}"
    steps += f", learning rate {settings.learning_rate:g}"
    shown.append(("settings", f"{steps}, l2 {settings.l2:g}, seed {args.seed}"))
    return shown


def _results(
    args: argparse.Namespace, history: History, rows: int, scores: list[tuple[str, str]]
) -> list[tuple[str, str]]:
    """Describe how training went, in rows for `print_rows`."""
    seconds = sum(history.seconds)
    shown = [
        ("training loss", f"{history.loss[-1]:.4f}"),
        *scores,
        ("samples/s", f"{rows * len(history.seconds) / seconds:,.0f}"),
        ("seconds to compile", f"{history.compile_seconds:.2f}"),
        ("seconds to train", f"{seconds:.2f}"),
        ("saved as", args.out),
    ]
    return [*shown, ("curves in", args.plot)] if args.plot is not None else shown


def _check_files(args: argparse.Namespace) -> ModuleType | None:
    """Refuse files that cannot be written; return the module that draws, if a picture is wanted."""
    check_out("--out", args.out, args.data)
    if args.checkpoint is not None:
        check_out("--checkpoint", args.checkpoint, args.data)
        if os.path.realpath(args.checkpoint) == os.path.realpath(args.out):
            raise ValueError(f"--checkpoint: got {args.out!r}, the file of --out; expected another file")
    return None if args.plot is None else drawing_module("--plot", args.plot, args.data, args.out)


def _scores_of_classes(process: SingleProcess, net: MLP, data: Dataset) -> list[tuple[str, str]]:
    """Return the accuracy, and that of predicting the most frequent class of the training rows for all."""
    assert data.X_test is not None and data.y is not None and data.y_test is not None
    most = int(process.summed(np.bincount(data.y, minlength=net.classes)).argmax())
    of_most, count = process.summed([(data.y_test == most).sum(), len(data.y_test)])
    accuracy = process.score(net, data.X_test, data.y_test)
    return accuracy_rows(accuracy, of_most / count)


def _scores_of_numbers(process: SingleProcess, net: MLP, data: Dataset, mean: float) -> list[tuple[str, str]]:
    """Return R^2, and errors beside those of predicting the mean of the training rows for all."""
    assert data.X_test is not None and data.y_test is not None
    missed, off_mean = data.y_test - net.predict(data.X_test), data.y_test - mean
    sums = [of(each).sum() for of in (np.square, np.abs) for each in (missed, off_mean)]
    *totals, count = process.summed([*sums, len(data.y_test)])
    errors = [float(total) / count for total in totals]
    return error_rows(process.score(net, data.X_test, data.y_test), np.sqrt(errors[:2]).tolist(), errors[2:])


def _read_rows(
    process: SingleProcess, args: argparse.Namespace
) -> tuple[str, Dataset, Target] | table_training.TrainingTable:
    """Return the kind of data, this process's rows of them, and what is predicted; or a table for the recipe."""
    found = table_training.read_for_training(args)
    if isinstance(found, table_training.TrainingTable):
        return found
    kind, data = found
    args.dtype, args.activation = args.dtype or DTYPE, args.activation or ACTIVATION
    check_finite(args.data, data)
    assert data.y is not None
    task, name = task_for(args, data.numbers, data.class_names), args.data
    if task.name == CLASSES:
        target = Target(task, _count_classes(name, data))
        split = data.y
    else:
        numbers = data.y if data.numbers is None else data.numbers
        check_numbers(name, numbers)
        as_numbers: Any = numbers.astype(np.float64)
        of_test: Any = None if data.y_test is None else data.y_test.astype(np.float64)
        data = replace(data, y=as_numbers, y_test=of_test, class_names=None)
        target, split = Target(task, 1), np.zeros(len(numbers), np.int64)
    return kind, _with_test_rows(name, data, split, process.part), target


def _target_scaling(args: argparse.Namespace, y: Array, process: SingleProcess) -> TargetScaling:
    """Return the mean and the deviation of the training rows' targets."""
    total, count = process.summed([y.sum(), len(y)])
    mean = float(total / count)
    deviation = float(np.sqrt(process.summed([np.square(y - mean).sum()])[0] / count))
    if not max(abs(mean), deviation) <= np.finfo(args.dtype).max:
        remedy = "; --dtype float64 holds more" if args.dtype == "float32" else ""
        raise ValueError(f"{args.data}: got targets beyond what {args.dtype} holds{remedy}")
    if not deviation > LEAST_SPREAD * np.finfo(args.dtype).eps * abs(mean):  # the answers would be steps
        got = f"{args.data}: got targets that differ by {deviation:.3g} around {mean:.3g}, too little for {args.dtype}"
        raise ValueError(f"{got}; subtract a number near their mean")
    return TargetScaling(mean, deviation)


def _count_classes(name: str, data: Dataset) -> int:
    assert data.y is not None
    found = len(np.unique(data.y))
    check_classes(name, found, len(data.y))
    if data.class_names is not None:
        return len(data.class_names)
    largest = max(int(labels.max()) for labels in (data.y, data.y_test) if labels is not None)
    if largest >= len(data.y) + MOST_GAPS:
        got = f"got the class {largest} in {len(data.y)} rows of {found} classes"
        raise ValueError(f"{name}: {got}; expected classes numbered 0, 1, 2, ...")
    return largest + 1


def _with_test_rows(name: str, data: Dataset, classes: NDArray[np.int64], part: Callable[[Array], Array]) -> Dataset:
    """Return training and test rows, of each this process's part; each class has its share of both."""
    assert data.y is not None
    if data.X_test is not None and data.y_test is not None:
        return replace(data, X=part(data.X), y=part(data.y), X_test=part(data.X_test), y_test=part(data.y_test))
    training, test = map(part, with_test_rows(name, classes))
    return replace(data, X=data.X[training], y=data.y[training], X_test=data.X[test], y_test=data.y[test])


def input_scaling(
    X: Array, known: float | None, dtype: np.dtype[Any], process: SingleProcess | None = None
) -> tuple[Array, Array | float]:
    """Return the shift and scale that bring the features of training rows to order one.

    The shift is the mean: without it Fashion-MNIST ends at 87.5 % instead of 89.2 %. The scale is `known`, or 1 over
    the standard deviation; a feature that varies by no more than its rounding in `dtype` counts as constant and is not
    scaled. X is converted to float64 in parts, never as a whole; each of several processes reads its own rows.
    """
    process = process or SingleProcess()
    first = process.first(X[0].astype(np.float64))  # subtracted from each row: a constant feature then sums to 0
    total = process.summed([len(X)])[0]
    offset = process.summed(sum((chunk - first).sum(axis=0) for _, chunk in chunks(X))) / total
    mean = first + offset
    if known is not None:
        return mean, known
    squares = process.summed(sum(np.square(chunk - first - offset).sum(axis=0) for _, chunk in chunks(X)))
    deviation = np.sqrt(squares / total)
    constant = deviation <= np.finfo(dtype).eps * np.abs(mean)
    return mean, 1 / np.where(constant, 1.0, deviation)
