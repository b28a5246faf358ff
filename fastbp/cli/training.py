"""The command ``fastbp train``."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import datasets, threads
from ..datasets import readers
from ..datasets.dataset import Dataset
from ..names import counted, listed
from ..network import MLP
from ..training.history import History
from ..version import __version__
from .data import SPLIT_SEED, check_finite, chunks, read
from .output import check_out, print_remarks, print_rows
from .parser import DEFAULTS, Settings
from .processes import MpiProcess, SingleProcess

Array = NDArray[Any]

SCALES = {"digits": 1 / 16, "IDX pictures": 1 / 255}  # for known ranges; other features are scaled by their deviation
HELD_OUT = 0.2
MANY_CLASSES, MOST_GAPS = 10, 1000  # beyond the number of rows: measurements or identifiers, not classes


def train(args: argparse.Namespace) -> None:
    """Run ``fastbp train``."""
    with MpiProcess() if args.mpi else SingleProcess() as process:
        plotting = process.agree(lambda: _check_files(args))
        kind, data, classes = process.agree(lambda: _read_rows(process, args))
        if process.is_root:
            print_remarks(args, data.remarks)
        given = {name: getattr(args, name) for name in Settings._fields}
        settings = DEFAULTS[kind]._replace(**{name: value for name, value in given.items() if value is not None})
        net = _new_network(args, data, (data.X.shape[1], *settings.hidden, classes), SCALES.get(kind), process)
        assert data.y is not None and data.X_test is not None and data.y_test is not None
        rows, test_rows = (int(count) for count in process.summed([len(data.X), len(data.X_test)]))
        if process.is_root:
            heading = f"fastbp {__version__} trains"
            print_rows(heading, _description(args, net, data, settings, rows, test_rows, process.size))
        try:
            with threads.limit(args.threads) if args.threads else contextlib.nullcontext():
                history = process.fit(
                    net,
                    data.X,
                    data.y,
                    epochs=settings.epochs,
                    batch_size=settings.batch_size,
                    learning_rate=settings.learning_rate,
                    l2=settings.l2,
                    checkpoint=args.checkpoint,
                    validation_data=(data.X_test, data.y_test) if plotting else None,
                )
                accuracy = process.score(net, data.X_test, data.y_test)
        except KeyboardInterrupt:
            if args.checkpoint is None or not os.path.exists(args.checkpoint):
                raise KeyboardInterrupt("training was interrupted; nothing was saved") from None
            message = f"training was interrupted; the same command goes on from {args.checkpoint}"
            raise KeyboardInterrupt(message) from None
        if process.is_root:
            net.save(args.out)
            if plotting:
                plotting.plot_history(history, args.plot)
            print_rows("", _results(args, history, rows, accuracy))


def _new_network(
    args: argparse.Namespace, data: Dataset, sizes: tuple[int, ...], scale: float | None, process: SingleProcess
) -> MLP:
    """Make the network, which scales its inputs and knows the names of classes and columns."""
    scaling = input_scaling(data.X, scale, np.dtype(args.dtype), process)
    largest = max(float(np.abs(part).max()) for part in scaling)
    if largest > np.finfo(args.dtype).max:
        remedy = "; --dtype float64 holds more" if args.dtype == "float32" else ""
        raise ValueError(f"{args.data}: got features beyond what {args.dtype} holds, {largest:.3g}{remedy}")
    net = MLP(sizes, dtype=args.dtype, seed=args.seed, input_shift=scaling[0], input_scale=scaling[1])
    net.class_names, net.feature_names, net.target_name = data.class_names, data.feature_names, data.target_name
    return net


def _description(
    args: argparse.Namespace, net: MLP, data: Dataset, settings: Settings, rows: int, test_rows: int, processes: int
) -> list[tuple[str, str]]:
    """Describe what is trained on what, in rows for `print_rows`."""
    shown = [
        ("data", f"{args.data}: {counted(net.sizes[0], 'feature')}, {net.classes:,} classes"),
        ("target", _target_words(args, data, net.classes)),
    ]
    if data.feature_names:
        shown.append(("features", listed(data.feature_names)))
    shown.append(("rows", f"{rows:,} to train on, {test_rows:,} to test on"))
    shown.append(("network", f"{'-'.join(map(str, net.sizes))}, {args.dtype}"))
    if args.mpi:
        shown.append(("processes", f"{processes:,}"))
    steps = f"{settings.epochs} epochs, batches of {settings.batch_size}, learning rate {settings.learning_rate:g}"
    shown.append(("settings", f"{steps}, l2 {settings.l2:g}, seed {args.seed}"))
    return shown


def _results(args: argparse.Namespace, history: History, rows: int, accuracy: float) -> list[tuple[str, str]]:
    """Describe how training went, in rows for `print_rows`."""
    seconds = sum(history.seconds)
    shown = [
        ("training loss", f"{history.loss[-1]:.4f}"),
        ("test accuracy", f"{100 * accuracy:.2f} %"),
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


def _read_rows(process: SingleProcess, args: argparse.Namespace) -> tuple[str, Dataset, int]:
    """Return the kind of data, this process's rows of them, and the number of classes in all rows."""
    kind, data = read(args, labelled=True, mapped=args.mpi)
    check_finite(args.data, data)
    classes = _count_classes(args.data, data)
    return kind, _with_test_rows(args.data, data, process.part), classes


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
    if data.target_name is not None:
        return f"column {data.target_name!r}, classes {named}"
    if not args.data.lower().endswith(readers.CSV):
        return f"classes {named}"
    return f"{'the last column' if args.target is None else f'column {args.target}'}, classes {named}"


def _count_classes(name: str, data: Dataset) -> int:
    assert data.y is not None
    found = len(np.unique(data.y))
    if found < 2:
        raise ValueError(f"{name}: all rows are of one class; expected at least 2 classes")
    if found > max(MANY_CLASSES, len(data.y) // 2):
        raise ValueError(
            f"{name}: got {found} classes in {len(data.y)} rows; expected several rows of each class (is this the "
            "column to predict, and does it hold classes?)"
        )
    if data.class_names is not None:
        return len(data.class_names)
    largest = max(int(labels.max()) for labels in (data.y, data.y_test) if labels is not None)
    if largest >= len(data.y) + MOST_GAPS:
        got = f"got the class {largest} in {len(data.y)} rows of {found} classes"
        raise ValueError(f"{name}: {got}; expected classes numbered 0, 1, 2, ...")
    return largest + 1


def _with_test_rows(name: str, data: Dataset, part: Callable[[Array], Array]) -> Dataset:
    """Return training and test rows, of each this process's part."""
    assert data.y is not None
    if data.X_test is not None and data.y_test is not None:
        return replace(data, X=part(data.X), y=part(data.y), X_test=part(data.X_test), y_test=part(data.y_test))
    try:
        training, test = map(part, datasets.stratified_split(data.y, HELD_OUT, SPLIT_SEED))
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
