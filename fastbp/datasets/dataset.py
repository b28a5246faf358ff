"""What the readers of files share: the data set they return, opening through gzip, and remarks on what is unclear."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SUPPORTED = (
    "a .npz archive with the arrays X and y, a .csv or .csv.gz file, a folder of IDX files "
    "(train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-..., each also as .gz), "
    "or, to predict only, one *idx3-ubyte[.gz] file"
)


@dataclass(frozen=True)
class Remark:
    """A sentence about a file, and which arguments of `load` would have it otherwise.

    Attributes
    ----------
    text : str
        What was found, or what was expected and what came.
    choices : tuple of mapping
        Arguments by name, one mapping for each way to go on.
    effect : str
        What the arguments do, as a verb with its object.
    """

    text: str
    choices: tuple[Mapping[str, Any], ...] = ()
    effect: str = "says which it is"

    def worded(self, spelled: Callable[[str, Any], str]) -> str:
        """Return the sentence, each argument spelled as whoever reads it has to write it."""
        ways = [" ".join(spelled(name, value) for name, value in choice.items()) for choice in self.choices]
        return f"{self.text}; {' or '.join(ways)} {self.effect}" if ways else self.text

    def __str__(self) -> str:
        return self.worded(lambda name, value: f"{name}={value!r}")


class ReadError(ValueError):
    """A file that is not as described, or that does not show how it is to be read.

    Attributes
    ----------
    remark : Remark
    """

    def __init__(self, remark: Remark | str):
        self.remark = Remark(remark) if isinstance(remark, str) else remark
        super().__init__(str(self.remark))


@dataclass(frozen=True, eq=False)
class Dataset:
    """What `load` found in a file or folder.

    Attributes
    ----------
    X : ndarray (n_samples, n_features)
        uint8 for pictures, float64 for CSV, the stored dtype for .npz.
    y : int64 ndarray (n_samples,) or None
        Class indices; None where the data were read without a target.
    class_names : tuple of str or None
        The text of class 0, 1, ...; None where the classes were stored as bare indices.
    feature_names : tuple of str or None
        The names of the columns of X, from the header of a CSV file.
    target_name : str or None
        The name of the column that y comes from, from the same header.
    unused : tuple of str
        The names of the other columns of that file, which were not read.
    X_test, y_test : ndarray or None
        The same for test rows, where the source sets some apart.
    is_image : bool
        True for IDX pictures: pixels 0..255.
    remarks : tuple of Remark
        What was guessed or left out.
    """

    X: NDArray[Any]
    y: NDArray[np.int64] | None
    class_names: tuple[str, ...] | None = None
    feature_names: tuple[str, ...] | None = None
    target_name: str | None = None
    unused: tuple[str, ...] = ()
    X_test: NDArray[Any] | None = None
    y_test: NDArray[np.int64] | None = None
    is_image: bool = False
    remarks: tuple[Remark, ...] = ()


@contextlib.contextmanager
def opened(file: Path) -> Iterator[gzip.GzipFile | io.BufferedReader]:
    """Open for reading bytes, through gzip where the content is gzipped: downloads often bear the other name."""
    with open(file, "rb") as stream:
        gzipped = stream.read(2) == b"\x1f\x8b"
    with gzip.open(file) if gzipped else open(file, "rb") as stream:
        try:
            yield stream
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{file}: expected whole gzip data, got damaged ones: {error}") from error


@contextlib.contextmanager
def opened_text(file: Path) -> Iterator[io.TextIOWrapper]:
    """Open for reading text: UTF-8, or UTF-16 where a byte order mark says so, as spreadsheets write "Unicode text"."""
    with opened(file) as stream:
        wide = stream.peek(2)[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        try:
            yield io.TextIOWrapper(stream, "utf-16" if wide else "utf-8-sig", newline="")  # line ends as they are
        except UnicodeError as error:
            raise ValueError(f"{file}: expected UTF-8 text, got other bytes ({error}); save it as UTF-8") from error
