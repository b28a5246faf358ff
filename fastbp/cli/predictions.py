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
from ..network import MLP, load
from .data import read_for
from .output import check_out, print_remarks, replacing

Array = NDArray[Any]


def predict(args: argparse.Namespace) -> None:
    """Run ``fastbp predict``."""
    if args.out is not None:
        check_out("--out", args.out, args.model, args.data)
    elif sys.stdout is None:
        raise ValueError("standard output is closed; --out FILE writes to a file")
    net = load(args.model)
    data, remarks = read_for(args, net, labelled=False)
    X = data.X if data.X_test is None else data.X_test
    with threads.limit(args.threads):
        columns, rows = table(net, X, args.proba)
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
        raise ValueError(f"the network predicts numbers (its loss is {net.loss_name}), which have no probabilities")
    found, of_classes = net.predict(X).reshape(len(X), -1), loss.targets == "classes"
    answers: Iterable[list[str]] = ([names[row[0]]] if of_classes else list(map(str, row)) for row in found)
    columns = ["prediction"] if found.shape[1] == 1 else [f"prediction {name}" for name in names]
    if not proba:
        return columns, answers
    if of_classes:
        columns += names
    else:
        columns += ["probability"] if found.shape[1] == 1 else [f"probability {name}" for name in names]
    probabilities = net.predict_proba(X).reshape(len(X), -1)
    return columns, ([*answer, *map(str, row)] for answer, row in zip(answers, probabilities, strict=True))
