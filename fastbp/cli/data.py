"""The data that commands read: the built-in ones, or files and folders, by the options of the command line."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import datasets
from ..datasets import readers
from ..datasets.dataset import Content, Dataset, Remark
from ..names import listed
from ..network import MLP
from ..tables import TableModel
from ..tables.encoder import LevelColumn
from ..tables.files import TableData, read_table
from .parser import OF_CSV

Array = NDArray[Any]

QUADRANT_POINTS = 5000  # 4,000 to train on
SPLIT_SEED = 0  # the same test rows whatever --seed is, so that runs can be compared
INPUT = "standard input"
CHUNK_BYTES = 4 * 1024**2


def is_csv(name: str) -> bool:
    """Return True for the name of a CSV file, and for standard input."""
    return name == INPUT or name.lower().endswith(readers.CSV)


def source_of(args: argparse.Namespace) -> str | Content:
    """Return what ``args.data`` names, to be read; standard input, which `-` stands for, is called so from then on."""
    if args.data != "-":
        return str(args.data)
    if sys.stdin is None:
        raise ValueError("standard input is closed; expected a CSV file on it, since DATA is -")
    args.data = INPUT
    return Content(INPUT, sys.stdin.buffer.read())


def read(args: argparse.Namespace, source: str | Content, labelled: bool, **more: Any) -> tuple[str, Dataset]:
    """Return the kind of data, a key of `parser.DEFAULTS`, and the data; `more` are arguments of `readers.read`."""
    name, given = args.data, _given(args)
    unfit = given.keys() - ({"missing"} if name.lower().endswith(".npz") else set())
    if unfit and not is_csv(name):
        options = ", ".join(f"--{option}" for option in given)
        raise ValueError(f"{options}: expected a CSV file, whose name ends in {readers.CSV_NAMES}, got {name!r}")
    if name == "digits":
        return name, Dataset(*datasets.load_digits())
    if name == "quadrants":
        return name, Dataset(*datasets.quadrants(QUADRANT_POINTS, SPLIT_SEED))
    with _as_options(source):
        data = readers.read(source, labelled=labelled, **given, **more)
    return "IDX pictures" if data.is_image else "other data", data


def read_columns(args: argparse.Namespace, source: str | Content, labelled: bool, **more: Any) -> TableData:
    """Return the table of a CSV file; `more` are arguments of `read_table`."""
    with _as_options(source):
        return read_table(source, labelled=labelled, **_given(args), **more)


def _given(args: argparse.Namespace) -> dict[str, Any]:
    return {option: value for option in OF_CSV if (value := getattr(args, option)) is not None}


@contextlib.contextmanager
def _as_options(source: str | Content) -> Iterator[None]:
    """Refuse a file that does not exist, and word errors about arguments as those about options."""
    if isinstance(source, str) and not os.path.exists(source):
        raise ValueError(
            f"{source!r} does not exist; expected digits, quadrants, a file or folder of data, or - for standard input"
        )
    try:
        yield
    except ValueError as error:
        if str(error).partition(":")[0] in OF_CSV:
            raise ValueError(f"--{error}") from None
        raise


def read_for(
    args: argparse.Namespace, source: str | Content, net: MLP, labelled: bool
) -> tuple[Dataset, tuple[Remark, ...]]:
    """Return data for a network, columns by name if both have names, and the remarks on them."""
    of_csv = is_csv(args.data)
    _, data = read(args, source, labelled=labelled, **({"features": net.feature_names} if of_csv else {}))
    _check_width(args, data.X.shape[1], net.sizes[0])
    more = _remarks(args, net.feature_names, net.target_name, data.feature_names, data.unused)
    return data, (*data.remarks, *more)


def columns_for(
    args: argparse.Namespace, source: str | Content, model: TableModel, labelled: bool
) -> tuple[TableData, tuple[Remark, ...]]:
    """Return the columns of a table's model, by name if both have names, and the remarks on them."""
    if not is_csv(args.data):
        expected = f"expected a CSV file, whose name ends in {readers.CSV_NAMES}, or -"
        raise ValueError(f"{args.model} is the model of a table: got {args.data!r}, {expected}")
    for option, value in model.reading.items():
        if getattr(args, option) is None and (labelled or option != "target"):
            setattr(args, option, tuple(value) if isinstance(value, list) else value)
    encoder = model.encoder
    text = [place for place, column in enumerate(encoder.columns) if isinstance(column, LevelColumn)]
    numeric = [place for place, column in enumerate(encoder.columns) if place not in text and column.width]
    data = read_columns(args, source, labelled, features=encoder.names, text=text, numeric=numeric)
    _check_width(args, len(data.columns.arrays), len(encoder.columns))
    more = _remarks(args, encoder.names, model.network.target_name, data.columns.names, data.unused)
    return data, (*data.remarks, *more)


def _check_width(args: argparse.Namespace, found: int, features: int) -> None:
    if found != features:
        remedy = "; --target names the column of the classes, --drop others to leave out" if is_csv(args.data) else ""
        raise ValueError(f"{args.data}: got {found} features, but the model takes {features}{remedy}")


def _remarks(
    args: argparse.Namespace,
    known: Sequence[str] | None,
    target: str | None,
    found: Sequence[str] | None,
    unused: Sequence[str],
) -> list[Remark]:
    """Return remarks on columns that were left out, or taken in their order."""
    if known is None:
        by_position = f"{args.data}: the model has no column names; columns were used in their order"
        return [] if found is None else [Remark(by_position)]
    unknown = [name for name in unused if name != target]
    left_out = f"{args.data}: columns that the model was not trained on were left out: {listed(unknown)}"
    return [Remark(left_out)] if unknown else []


def check_finite(name: str, data: Dataset) -> None:
    """Refuse rows with NaN or infinity."""
    for part, rows in (("row", data.X), ("test row", data.X_test)):
        if rows is not None and rows.dtype.kind == "f":
            for begin, chunk in chunks(rows):
                if (wrong := ~np.isfinite(chunk).all(axis=1)).any():
                    row = begin + int(wrong.argmax())
                    raise ValueError(f"{name}: got NaN or infinity in {part} {row} (from 0), expected finite numbers")


def chunks(X: Array) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Give the rows in parts, as float64, each with the number of its first row."""
    rows = max(1, CHUNK_BYTES // (8 * X.shape[1]))
    for begin in range(0, len(X), rows):
        yield begin, X[begin : begin + rows].astype(np.float64)
