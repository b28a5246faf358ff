"""The data that commands read: the built-in ones, or files and folders, by the options of the command line."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import datasets
from ..datasets import readers
from ..datasets.dataset import Dataset, Remark
from ..names import listed
from ..network import MLP
from .parser import OF_CSV

Array = NDArray[Any]

QUADRANT_POINTS = 5000  # 4,000 to train on
SPLIT_SEED = 0  # the same test rows whatever --seed is, so that runs can be compared
CHUNK_BYTES = 4 * 1024**2


def read(args: argparse.Namespace, labelled: bool, **more: Any) -> tuple[str, Dataset]:
    """Return the kind of data, a key of `parser.DEFAULTS`, and the data; `more` are arguments of `readers.read`."""
    name, given = args.data, {option: value for option in OF_CSV if (value := getattr(args, option)) is not None}
    unfit = given.keys() - ({"missing"} if name.lower().endswith(".npz") else set())
    if unfit and not name.lower().endswith(readers.CSV):
        options = ", ".join(f"--{option}" for option in given)
        raise ValueError(f"{options}: expected a CSV file, whose name ends in {readers.CSV_NAMES}, got {name!r}")
    if name == "digits":
        return name, Dataset(*datasets.load_digits())
    if name == "quadrants":
        return name, Dataset(*datasets.quadrants(QUADRANT_POINTS, SPLIT_SEED))
    if not os.path.exists(name):
        raise ValueError(f"{name!r} does not exist; expected digits, quadrants, or a file or folder of data")
    try:
        data = readers.read(name, labelled=labelled, **given, **more)
    except ValueError as error:
        if str(error).partition(":")[0] in OF_CSV:
            raise ValueError(f"--{error}") from None
        raise
    return "IDX pictures" if data.is_image else "other data", data


def read_for(args: argparse.Namespace, net: MLP, labelled: bool) -> tuple[Dataset, tuple[Remark, ...]]:
    """Return data for a network, columns by name if both have names, and the remarks on them."""
    of_csv = args.data.lower().endswith(readers.CSV)
    _, data = read(args, labelled=labelled, **({"features": net.feature_names} if of_csv else {}))
    found, features = data.X.shape[1], net.sizes[0]
    if found != features:
        remedy = "; --target names the column of the classes, --drop others to leave out" if of_csv else ""
        raise ValueError(f"{args.data}: got {found} features, but the model takes {features}{remedy}")
    if data.feature_names is not None and net.feature_names is None:
        by_position = f"{args.data}: the model has no column names; columns were used in their order"
        return data, (*data.remarks, Remark(by_position))
    unknown = [name for name in data.unused if name != net.target_name] if net.feature_names else []
    left_out = f"{args.data}: columns that the model was not trained on were left out: {listed(unknown)}"
    return data, (*data.remarks, *([Remark(left_out)] if unknown else []))


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
