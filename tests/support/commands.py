"""Commands run in this process or another one, what they wrote, and tables for them."""

from __future__ import annotations

import csv
import gzip
import io
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from support.processes import PACKAGE

QUICK = ("--epochs", "1", "--hidden", "3")
NAMES = ("setosa", 'versi "c", color', "été; vert")  # all that a CSV writer has to quote


class Done(NamedTuple):
    """How a command ended, and what it wrote."""

    status: int
    out: str
    err: str


Run = Callable[..., Done]


def refused(done: Done, *words: str) -> None:
    """One line on standard error that says these words, nothing on standard output, status 2."""
    assert (done.status, done.out) == (2, ""), done
    assert_one_line(done.err, *words)


def assert_one_line(text: str, *words: str) -> None:
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert text.startswith("fastbp")
    assert ": error: " in text
    assert "Traceback" not in text
    for word in words:
        assert word in text


def table(text: str) -> dict[str, str]:
    """The rows of the table that `fastbp train` and `fastbp info` print."""
    rows = [line for line in text.splitlines() if line.startswith("  ")]
    assert len({len(line) - len(line[22:]) for line in rows if len(line) > 22}) == 1
    return {line[2:20].strip(): line[22:] for line in rows}


def accuracy(done: Done) -> float:
    assert done.status == 0, done
    return float(table(done.out)["test accuracy"].removesuffix(" %"))


def blobs(rows: int = 150, seed: int = 0) -> tuple[Any, Any]:
    """Three classes well apart in four features of very different sizes."""
    rng = np.random.default_rng(seed)
    y = np.arange(rows) % 3
    X = rng.normal(size=(rows, 4)) * 0.3 + np.eye(3, 4)[y] * 3
    return X * [1, 1e4, 1e-3, 1] + [0, 5e4, 0, -7], y


def write_csv(path: Path, X: Any, labels: Any = None, header: bool = True, first: bool = False) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        names = [f"f{i}" for i in range(X.shape[1])]
        if header:
            writer.writerow(names if labels is None else ["species", *names] if first else [*names, "species"])
        for i, row in enumerate(X.tolist()):
            label = [] if labels is None else [labels[i]]
            writer.writerow([*label, *row] if first else [*row, *label])


def write_idx(folder: Path, part: str, pixels: Any, labels: Any) -> None:
    folder.mkdir(exist_ok=True)
    head = struct.pack(">4B3I", 0, 0, 8, 3, *pixels.shape)
    (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + pixels.tobytes()))
    if labels is not None:
        head = struct.pack(">4BI", 0, 0, 8, 1, len(labels))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(head + labels.astype(np.uint8).tobytes())


def predictions(text: str) -> list[str]:
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[0] == ["prediction"]
    assert all(len(row) == 1 for row in rows)
    return [row[0] for row in rows[1:]]


def start(*words: object, **options: Any) -> subprocess.Popen[str]:
    path = os.pathsep.join(filter(None, [str(PACKAGE.parent), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-W", "error", *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": path}, **options,
    )  # fmt: skip
