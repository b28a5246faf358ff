"""The command ``fastbp train``."""

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

from .. import datasets, threads
from ..datasets import readers
from ..datasets.dataset import Dataset
from ..names import counted, listed
from ..network import MLP
from ..optimizers import OPTIMIZERS
from ..tables import CLASSES, NUMBERS
from ..tables.targets import TargetScaling
from ..tables.task import Task, task_of
from ..training.history import History
from ..version import __version__
from .data import SPLIT_SEED, check_finite, chunks, read
from .output import check_out, print_remarks, print_rows
from .parser import DEFAULTS, Settings
from .processes import MpiProcess, SingleProcess

Array = NDArray[Any]

SCALES = {"digits": 1 / 16, "IDX pictures": 1 / 255}  # for known ranges; other features are scaled by their deviation
HELD_OUT = 0.2
LEAST_SPREAD = 64  # of the training rows' targets, in roundings of their mean, with which a network answers
MANY_CLASSES, MOST_GAPS = 10, 1000  # beyond the number of rows: measurements or identifiers, not classes


def train(args: argparse.Namespace) -> None:
    """Run ``fastbp train``."""
    with MpiProcess() if args.mpi else SingleProcess() as process:
        plotting = process.agree(lambda: _check_files(args))
        kind, data, target = process.agree(lambda: _read_rows(process, args))
        if process.is_root:
            print_remarks(args, data.remarks)
        given = {name: getattr(args, name) for name in Settings._fields}
        defaults = DEFAULTS[kind if target.task.name == CLASSES else NUMBERS]
        if args.optimizer not in (None, defaults.optimizer):
            defaults = defaults._replace(learning_rate=OPTIMIZERS[args.optimizer].default_learning_rate)
        settings = defaults._replace(**{name: value for name, value in given.items() if value is not None})
        net = _new_network(args, data, settings.hidden, target, SCALES.get(kind), process)
        assert data.y is not None and data.X_test is not None and data.y_test is not None
        y, y_test, scaling = data.y, data.y_test, None
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
                    sample_weight=_row_weights(data.y, net.classes, process) if args.class_weight else None,
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
    found = f"{args.data}: {counted(net.sizes[0], 'feature')}"
    if target.task.name == CLASSES:
        shown = [("data", f"{found}, {net.classes:,} classes"), ("target", _target_words(args, data, net.classes))]
    else:
        shown = [("data", found), ("target", ", ".join(filter(None, (_column_words(args, data), "numbers"))))]
    if target.task.reason:
        shown.append(("task", f"{target.task.name}, since {target.task.reason}"))
    if data.feature_names:
        shown.append(("features", listed(data.feature_names)))
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
    return None if args.plot is None else _plotting(args.plot, args.data, args.out)


def _scores_of_classes(process: SingleProcess, net: MLP, data: Dataset) -> list[tuple[str, str]]:
    """Return the accuracy, and that of predicting the most frequent class of the training rows for all."""
    assert data.X_test is not None and data.y is not None and data.y_test is not None
    most = int(process.summed(np.bincount(data.y, minlength=net.classes)).argmax())
    of_most, count = process.summed([(data.y_test == most).sum(), len(data.y_test)])
    accuracy = process.score(net, data.X_test, data.y_test)
    return [("test accuracy", f"{100 * accuracy:.2f} %"), ("by majority class", f"{100 * of_most / count:.2f} %")]


def _scores_of_numbers(process: SingleProcess, net: MLP, data: Dataset, mean: float) -> list[tuple[str, str]]:
    """Return R^2, and errors beside those of predicting the mean of the training rows for all."""
    assert data.X_test is not None and data.y_test is not None
    missed, off_mean = data.y_test - net.predict(data.X_test), data.y_test - mean
    sums = [of(each).sum() for of in (np.square, np.abs) for each in (missed, off_mean)]
    *totals, count = process.summed([*sums, len(data.y_test)])
    squared, squared_of_mean, absolute, absolute_of_mean = (float(total) / count for total in totals)
    return [
        ("test R^2", f"{process.score(net, data.X_test, data.y_test):.4f}"),
        ("test RMSE", f"{np.sqrt(squared):.4g} ({np.sqrt(squared_of_mean):.4g} by the mean)"),
        ("test MAE", f"{absolute:.4g} ({absolute_of_mean:.4g} by the mean)"),
    ]


def _read_rows(process: SingleProcess, args: argparse.Namespace) -> tuple[str, Dataset, Target]:
    """Return the kind of data, this process's rows of them, and what is predicted."""
    kind, data = read(args, labelled=True, mapped=args.mpi)
    check_finite(args.data, data)
    assert data.y is not None
    task, name = _task(args, data), args.data
    if task.name == CLASSES:
        if args.loss is not None:
            raise ValueError(f"--loss: got {args.loss} for classes, whose loss is the cross-entropy")
        target = Target(task, _count_classes(name, data))
        split = data.y
    else:
        if args.class_weight is not None:
            raise ValueError(f"--class-weight: got {args.class_weight}, but the target of {name} is numbers")
        numbers = data.y if data.numbers is None else data.numbers
        if (numbers == numbers[0]).all():
            raise ValueError(f"{name}: the target is {numbers[0]:g} in all rows; expected one that differs")
        as_numbers: Any = numbers.astype(np.float64)
        of_test: Any = None if data.y_test is None else data.y_test.astype(np.float64)
        data = replace(data, y=as_numbers, y_test=of_test, class_names=None)
        target, split = Target(task, 1), np.zeros(len(numbers), np.int64)
    return kind, _with_test_rows(name, data, split, process.part), target


def _task(args: argparse.Namespace, data: Dataset) -> Task:
    """Return the task that was asked for, or that the target's column shows; other data have classes."""
    text = data.numbers is None and data.class_names is not None
    if args.task is not None:
        if args.task == NUMBERS and text:
            assert data.class_names is not None
            raise ValueError(f"--task: got numbers, but the target of {args.data} is text: {listed(data.class_names)}")
        return Task(args.task, "--task says so")
    return task_of(data.numbers) if text or data.numbers is not None else Task(CLASSES, "")


def _row_weights(y: Array, classes: int, process: SingleProcess) -> Array:
    """Return weights of rows by which each class counts as much as any other, and which are 1 on average."""
    counts = process.summed(np.bincount(y, minlength=classes))
    weights = counts.sum() / ((counts > 0).sum() * np.maximum(counts, 1))
    of_rows: Array = weights[y]
    return of_rows


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


def _plotting(path: str, *others: str) -> ModuleType:
    """Return the module that draws, and refuse a file that no picture can be saved to."""
    try:
        from .. import plotting
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        raise ValueError(f"--plot: {error}") from None
    check_out("--plot", path, *others)
    plotting.check_path(path)
    return plotting


def _target_words(args: argparse.Namespace, data: Dataset, classes: int) -> str:
    """Describe the target and the column that it comes from."""
    named = f"0 to {classes - 1}" if data.class_names is None else listed(data.class_names)
    column = _column_words(args, data)
    return f"{column}, classes {named}" if column else f"classes {named}"


def _column_words(args: argparse.Namespace, data: Dataset) -> str:
    if data.target_name is not None:
        return f"column {data.target_name!r}"
    if not args.data.lower().endswith(readers.CSV):
        return ""
    return "the last column" if args.target is None else f"column {args.target}"


def _count_classes(name: str, data: Dataset) -> int:
    assert data.y is not None
    found = len(np.unique(data.y))
    if found < 2:
        raise ValueError(f"{name}: all rows are of one class; expected at least 2 classes")
    if found > max(MANY_CLASSES, len(data.y) // 2):
        raise ValueError(
            f"{name}: got {found} classes in {len(data.y)} rows; expected several rows of each class (is this the "
            "column to predict, and does it hold classes? --task numbers predicts numbers)"
        )
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
    try:
        training, test = map(part, datasets.stratified_split(classes, HELD_OUT, SPLIT_SEED))
    except ValueError as error:
        raise ValueError(f"{name}: a part of the rows is held out to test on; {error}") from None
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
