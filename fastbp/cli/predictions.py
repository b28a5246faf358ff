"""The command ``fastbp predict``, and the table of texts that it writes."""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import sys
from collections.abc import Iterable
from typing import Any

from numpy.typing import NDArray

from .. import threads
from ..kernels.losses import LOSSES
from ..network import MLP
from ..tables import Columns, TableModel
from .data import columns_for, read_for, source_of
from .models import class_names, read_model
from .output import check_out, print_remarks, replacing

Array = NDArray[Any]


def predict(args: argparse.Namespace) -> None:
    """Run ``fastbp predict``."""
    if args.out is not None:
        check_out("--out", args.out, args.model, args.data)
    elif sys.stdout is None:
        raise ValueError("standard output is closed; --out FILE writes to a file")
    model, source = read_model(args.model), source_of(args)
    with threads.limit(args.threads):
        if isinstance(model, TableModel):
            of_table, remarks = columns_for(args, source, model, labelled=False)
            columns, rows = table_of_columns(model, of_table.columns, args.proba)
        else:
            data, remarks = read_for(args, source, model, labelled=False)
            columns, rows = table(model, data.X if data.X_test is None else data.X_test, args.proba)
    print_remarks(args, remarks)
    if args.out is None and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # what goes to a file by > is the same as by --out
    with contextlib.nullcontext(sys.stdout) if args.out is None else replacing(args.out) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def table(net: MLP, X: Array, proba: bool) -> tuple[list[str], Iterable[list[str]]]:
    """Return the names of the columns, and a row of texts for each row of X.

    A row holds its class; or 0 or 1 for each label; or a number for each target. Behind them stand the probabilities,
    if they are asked for. Numbers have the fewest digits that read as the same number in the network's own dtype.
    Everything is computed at once, so that whatever is wrong with X is raised here.

    Raises
    ------
    ValueError
        Probabilities are asked of a network that predicts numbers; or X is refused by `MLP.predict`.
    """
    loss, names = LOSSES[net.loss_name], net.class_names or tuple(map(str, range(net.classes)))
    if proba and not loss.classifies:
        raise _no_probabilities(net)
    found, of_classes = net.predict(X).reshape(len(X), -1), loss.targets == "classes"
    answers: Iterable[list[str]] = ([names[row[0]]] if of_classes else list(map(str, row)) for row in found)
    columns = ["prediction"] if found.shape[1] == 1 else [f"prediction {name}" for name in names]
    if not proba:
        return columns, answers
    if of_classes:
        columns += names
    else:
        columns += ["probability"] if found.shape[1] == 1 else [f"probability {name}" for name in names]
    return columns, _beside(answers, net.predict_proba(X).reshape(len(X), -1))


def table_of_columns(model: TableModel, rows: Columns, proba: bool) -> tuple[list[str], Iterable[list[str]]]:
    """Do what `table` does, for a table's model; quantiles are columns named by their levels."""
    net, names = model.network, class_names(model.network)
    if model.scaling is None:
        probabilities = model.outputs(rows)
        answers = ([names[label]] for label in probabilities.argmax(axis=1))
        return (["prediction", *names], _beside(answers, probabilities)) if proba else (["prediction"], answers)
    if proba:
        raise _no_probabilities(net)
    found, levels = model.predict(rows).reshape(rows.rows, -1), [f"{level:g}" for level in model.quantiles] or [""]
    targets = [""] if found.shape[1] == len(levels) else list(map(str, range(found.shape[1] // len(levels))))
    columns = [" ".join(filter(None, ("prediction", target, level))) for target in targets for level in levels]
    return columns, (list(map(str, row)) for row in found)


def _beside(answers: Iterable[list[str]], probabilities: Array) -> Iterable[list[str]]:
    return ([*answer, *map(str, row)] for answer, row in zip(answers, probabilities, strict=True))


def _no_probabilities(net: MLP) -> ValueError:
    return ValueError(f"the network predicts numbers (its loss is {net.loss_name}), which have no probabilities")
