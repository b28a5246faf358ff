"""The command ``fastbp train`` on tables with text and gaps: which are trained by the recipe, and the training."""

from __future__ import annotations

import argparse
import threading
import time
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import threads
from ..datasets.dataset import Dataset
from ..kernels.losses import LOSSES
from ..model.scores import score
from ..names import counted
from ..network import MLP
from ..tables import CLASSES, Columns, TableModel, fitting
from ..tables.columns import text_of
from ..tables.encoder import Encoder
from ..tables.files import TableData
from ..tables.recipe import Recipe
from ..tables.scores import mean_absolute_error, root_mean_squared_error
from ..tables.targets import TargetScaling
from ..tables.task import Task
from ..training.progress import progress_bar
from ..version import __version__
from .data import is_csv, read, read_columns, source_of
from .output import print_remarks, print_rows
from .targets import (
    Rows,
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

CHOSEN = ("hidden", "activation", "optimizer", "learning_rate", "batch_size", "l2", "dtype")  # by the recipe
OF_NETWORKS = ("checkpoint", "plot", "mpi")  # what only the training of one network has
LEAST_ROWS = 2  # to train on, of which each network leaves out a part


class TrainingTable(NamedTuple):
    """A table that the recipe trains on, and why it does."""

    data: TableData
    reason: str


def read_for_training(args: argparse.Namespace) -> tuple[str, Dataset] | TrainingTable:
    """Return the kind of data and the data, for one network; or a table for the recipe.

    Tables of finite numbers are read once; others a second time from where the first reader stops.
    """
    if args.mpi and args.data == "-":
        raise ValueError("--mpi: got - as the data; expected a file, which all processes can read")
    source = source_of(args)
    if args.recipe == "tabular":
        if not is_csv(args.data):
            raise ValueError(f"--recipe: got tabular for {args.data}, expected a CSV file")
        return _for_recipe(args, read_columns(args, source, labelled=True), "--recipe says so")
    if args.recipe == "network" or not is_csv(args.data):
        return read(args, source, labelled=True, mapped=args.mpi)
    try:
        return read(args, source, labelled=True)
    except ValueError:
        data = read_columns(args, source, labelled=True)
        reason = _beyond_numbers(data.columns)
        if not reason:
            raise
        return _for_recipe(args, data, reason)


def _beyond_numbers(columns: Columns) -> str:
    """Return what a table has that one network does not take; empty for finite numbers."""
    for place, array in enumerate(columns.arrays):
        called = "a column" if columns.names is None else f"column {columns.names[place]!r}"
        if array.dtype == object:
            return f"{called} is text"
        if np.isnan(array).any():
            return f"{called} has gaps"
        if np.isinf(array).any():
            return f"{called} has infinite numbers"
    return ""


def _for_recipe(args: argparse.Namespace, data: TableData, reason: str) -> TrainingTable:
    """Return the table, unless options are given that describe one network."""
    for option in (*CHOSEN, *OF_NETWORKS):
        value = getattr(args, option)
        if value is not None and value is not False:
            trained = f"{args.data} is trained by the tabular recipe, since {reason}, "
            does = "and the recipe chooses it" if option in CHOSEN else "which does not have it"
            remedy = "--recipe network trains one network, on finite numbers alone"
            raise ValueError(f"--{option.replace('_', '-')}: {trained}{does}; {remedy}")
    return TrainingTable(data, reason)


class _Target(NamedTuple):
    """Says what is predicted.

    Attributes
    ----------
    task : Task
    values : array (n,)
        Numbers of classes, or numbers.
    class_names : tuple of str or None
    name : str or None
        That of the column.
    """

    task: Task
    values: Array
    class_names: tuple[str, ...] | None
    name: str | None


def train_table(args: argparse.Namespace, table: TrainingTable) -> None:
    """Train networks on a table by the recipe, test and save them."""
    data, name = table.data, args.data
    target = _target(args, data)
    of_classes = target.class_names is not None
    training, test = with_test_rows(name, target.values if of_classes else np.zeros(len(target.values), np.int64))
    if len(training) < LEAST_ROWS:
        raise ValueError(f"{name}: got {counted(len(training), 'row')} to train on, expected at least {LEAST_ROWS}")
    columns, y = _rows_of(data.columns, training), target.values[training]
    print_remarks(args, data.remarks)
    recipe, classes = replace(Recipe(), epochs=args.epochs), len(target.class_names or ())
    names = data.columns.names
    shown = described(args, target.task, len(columns.arrays), names, data.target_name, classes, target.class_names)
    epochs, optimizer = recipe.epochs_of(len(training), classes), type(recipe.optimizer).__name__
    shown += [
        ("columns", _kinds(columns)),
        ("rows", f"{len(training):,} to train on, {len(test):,} to test on"),
        ("recipe", f"tabular, since {table.reason}"),
        ("networks", f"{recipe.trainings(len(training))}, each without another part of the training rows"),
        ("settings", f"at most {epochs} epochs, {optimizer}, {recipe.activation}, seed {args.seed}"),
    ]
    print_rows(f"fastbp {__version__} trains", shown)
    started = time.perf_counter()
    try:
        with threads.limit(args.threads):
            model = _fit(args, recipe, epochs, columns, y, target)
            seconds = time.perf_counter() - started
            scores = _scores(model, _rows_of(data.columns, test), target.values[test], y)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("training was interrupted; nothing was saved") from None
    model.save(args.out)
    kept = [f"{len(nets)} of {'-'.join(map(str, nets.networks[0].sizes))}" for _, nets, _ in model.members]
    results = [("answers by", ", ".join(kept)), *scores, ("seconds to train", f"{seconds:.2f}"), ("saved as", args.out)]
    print_rows("", results)


def _target(args: argparse.Namespace, data: TableData) -> _Target:
    """Return what the column of the target asks for."""
    values = data.target
    assert values is not None
    numbers = None if values.dtype == object else values
    found, place = np.unique(values, return_inverse=True)
    texts = found.tolist() if numbers is None else list(map(text_of, found.tolist()))
    task = task_for(args, numbers, texts)
    if task.name == CLASSES:
        check_classes(args.data, len(found), len(values))
        return _Target(task, place.astype(np.int64), tuple(texts), data.target_name)
    check_numbers(args.data, values)
    return _Target(task, values, None, data.target_name)


def _rows_of(columns: Columns, rows: NDArray[np.int64]) -> Columns:
    return Columns(columns.names, tuple(array[rows] for array in columns.arrays))


def _kinds(columns: Columns) -> str:
    """Count the columns of each kind."""
    encoder, numeric = Encoder.fit(columns), columns.numeric
    embedded, text = len(encoder.embeddings), len(columns.arrays) - columns.numeric
    gaps = sum(bool((array != array).any() or None in array) for array in columns.arrays)
    same = sum(not column.width for column in encoder.columns) - embedded
    counts = ((numeric, "of numbers"), (text, f"of text ({embedded} embedded)" if embedded else "of text"))
    return ", ".join(
        f"{count} {kind}" for count, kind in (*counts, (gaps, "with gaps"), (same, "that tell nothing")) if count
    )


def _fit(
    args: argparse.Namespace, recipe: Recipe, epochs: int, columns: Columns, y: Array, target: _Target
) -> TableModel:
    """Train the networks, with a progress bar."""
    weights = scaling = None
    names = target.class_names
    if names is not None:
        objective = fitting.Objective("softmax_cross_entropy", len(names), class_names=names, target_name=target.name)
        if args.class_weight is not None:
            weights = row_weights(y, np.bincount(y, minlength=len(names)))
    else:
        objective = fitting.Objective(args.loss or "mean_squared_error", 1, target_name=target.name)
        y = y[:, np.newaxis]
        scaling = TargetScaling.of(y, None)
        y = scaling.scaled(y)
    lock = threading.Lock()
    with progress_bar(None, epochs * recipe.trainings(len(y)), "epoch") as bar:

        def after_epoch(encoder: Encoder, net: MLP) -> bool:
            with lock:  # networks are trained side by side
                bar.update(1)
            return False

        rows, rng = fitting.Rows(columns, y, weights), np.random.default_rng(args.seed)
        fitted = fitting.fit(rows, objective, recipe, rng, after_epoch=after_epoch)
    reading: dict[str, Any] = {"missing": args.missing, "decimal": args.decimal}
    if columns.names is None:
        reading["target"] = args.target
    given = {option: value for option, value in reading.items() if value is not None}
    return TableModel(fitted.members, scaling, reading=given)


def _scores(model: TableModel, columns: Columns, wanted: Array, trained: Array) -> Rows:
    """Describe how good the answers for test rows are, beside those of the training rows' majority or mean."""
    found = model.predict(columns)
    if model.scaling is None:
        majority = np.bincount(trained).argmax()
        return accuracy_rows(float(np.mean(found == wanted)), float(np.mean(wanted == majority)))
    mean = np.full(len(wanted), trained.mean())
    squared, absolute = (
        [error(wanted, each) for each in (found, mean)] for error in (root_mean_squared_error, mean_absolute_error)
    )
    return error_rows(score(LOSSES["mean_squared_error"], found, wanted), squared, absolute)
