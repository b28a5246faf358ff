"""Find out whether classes or numbers are predicted, check them, and describe them and their scores in words."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import datasets
from ..datasets.csv_options import CsvOptions
from ..names import counted, listed
from ..tables import CLASSES, NUMBERS
from ..tables.task import MOST_CLASSES, Task, task_of
from .data import SPLIT_SEED, is_csv

Array = NDArray[Any]
Rows = list[tuple[str, str]]  # for `print_rows`

HELD_OUT = 0.2
MANY_CLASSES = 10  # more, beyond half of the rows, are measurements or identifiers
MOSTLY_NUMBERS = 0.9  # of the different texts of a target


def task_for(args: argparse.Namespace, numbers: Array | None, class_names: Sequence[str] | None) -> Task:
    """Return the task that was asked for, or that the target's column shows; other data have classes.

    Raises
    ------
    ValueError
        The target does not fit what was asked for; or nearly all of its texts are numbers, and many; or --loss or
        --class-weight belong to the other task.
    """
    text = class_names if numbers is None else None
    if args.task == NUMBERS and text is not None:
        raise ValueError(f"--task: got numbers, but the target of {args.data} is text: {listed(text)}")
    if args.task is None and text is not None:
        is_number = CsvOptions(decimal=args.decimal or ".").is_number
        odd = [name for name in text if not is_number(name)]
        if len(text) - len(odd) > max(MOST_CLASSES, MOSTLY_NUMBERS * len(text)):
            got = f"{args.data}: got {odd[0]!r} as the target of a row among numbers, which it must be, too"
            raise ValueError(f"{got}; leave such rows out, or --task classes takes all for classes")
    if args.task is not None:
        task = Task(args.task, "--task says so")
    elif numbers is None and class_names is None:
        task = Task(CLASSES, "")
    else:
        task = task_of(numbers)
    if task.name == CLASSES and args.loss is not None:
        raise ValueError(f"--loss: got {args.loss} for classes, whose loss is the cross-entropy")
    if task.name == NUMBERS and args.class_weight is not None:
        raise ValueError(f"--class-weight: got {args.class_weight}, but the target of {args.data} is numbers")
    return task


def check_classes(name: str, found: int, rows: int) -> None:
    """Refuse one class, or so many that they are none."""
    if found < 2:
        raise ValueError(f"{name}: all rows are of one class; expected at least 2 classes")
    if found > max(MANY_CLASSES, rows // 2):
        raise ValueError(
            f"{name}: got {found} classes in {rows} rows; expected several rows of each class (is this the "
            "column to predict, and does it hold classes? --task numbers predicts numbers)"
        )


def check_numbers(name: str, numbers: Array) -> None:
    """Refuse one number in all rows."""
    if (numbers == numbers[0]).all():
        raise ValueError(f"{name}: the target is {numbers[0]:g} in all rows; expected one that differs")


def with_test_rows(name: str, classes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the training and the test rows; each class has its share of both."""
    try:
        return datasets.stratified_split(classes, HELD_OUT, SPLIT_SEED)
    except ValueError as error:
        raise ValueError(f"{name}: a part of the rows is held out to test on; {error}") from None


def row_weights(y: Array, counts: Array) -> Array:
    """Return weights of rows by which each class counts as much as any other, and which are 1 on average."""
    weights = counts.sum() / ((counts > 0).sum() * np.maximum(counts, 1))
    of_rows: Array = weights[y]
    return of_rows


# ---- in words ----


def described(
    args: argparse.Namespace,
    task: Task,
    features: int,
    feature_names: Sequence[str] | None,
    target_name: str | None,
    classes: int,
    class_names: Sequence[str] | None,
) -> Rows:
    """Describe the data and what is predicted."""
    found, column = f"{args.data}: {counted(features, 'feature')}", _column(args, target_name)
    if task.name == CLASSES:
        named = f"0 to {classes - 1}" if class_names is None else listed(class_names)
        found, predicted = f"{found}, {classes:,} classes", f"classes {named}"
    else:
        predicted = "numbers"
    shown = [("data", found), ("target", ", ".join(filter(None, (column, predicted))))]
    if task.reason:
        shown.append(("task", f"{task.name}, since {task.reason}"))
    return [*shown, ("features", listed(feature_names))] if feature_names else shown


def _column(args: argparse.Namespace, name: str | None) -> str:
    if name is not None:
        return f"column {name!r}"
    if not is_csv(args.data):
        return ""
    return "the last column" if args.target is None else f"column {args.target}"


def accuracy_rows(accuracy: float, by_majority: float) -> Rows:
    """Describe the accuracy on test rows, and that of the training rows' most frequent class."""
    return [("test accuracy", f"{100 * accuracy:.2f} %"), ("by majority class", f"{100 * by_majority:.2f} %")]


def error_rows(r2: float, root_squared: Sequence[float], absolute: Sequence[float]) -> Rows:
    """Describe R^2 and the mean errors on test rows, each beside that of the training rows' mean."""
    return [
        ("test R^2", f"{r2:.4f}"),
        ("test RMSE", f"{root_squared[0]:.4g} ({root_squared[1]:.4g} by the mean)"),
        ("test MAE", f"{absolute[0]:.4g} ({absolute[1]:.4g} by the mean)"),
    ]
