"""Shared by all readers: the data set that they return, remarks on what is unclear, opening of (gzipped) files."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

SUPPORTED = (
    "a .npz archive with the arrays X and y, a .csv or .tsv file (also with .gz), a folder of IDX "
    "files (train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-..., each also as .gz), "
    "or, to predict only, one *idx3-ubyte[.gz] file"
)


@dataclass(frozen=True)
class Remark:
    """A sentence about a file, and the arguments of `load` that would read it differently.

    Attributes
    ----------
    text : str
        What was found; or what was expected, and what was found instead.
    choices : tuple of mapping
        Arguments by name, one mapping for each way to proceed.
    effect : str
        The effect of these arguments, as a verb with its object.
    """

    text: str
    choices: tuple[Mapping[str, Any], ...] = ()
    effect: str = "says which it is"

    def worded(self, spelled: Callable[[str, Any], str]) -> str:
        """Return the sentence, with each argument spelled by a function of its name and value."""
        ways = [" ".join(spelled(name, value) for name, value in choice.items()) for choice in self.choices]
        return f"{self.text}; {' or '.join(ways)} {self.effect}" if ways else self.text

    def __str__(self) -> str:
        return self.worded(lambda name, value: f"{name}={value!r}")


class ReadError(ValueError):
    """Raised for a file that is not as described, or that could be read in several ways.

    Attributes
    ----------
    remark : Remark
    """

    def __init__(self, remark: Remark | str):
        self.remark = Remark(remark) if isinstance(remark, str) else remark
        super().__init__(str(self.remark))


@dataclass(frozen=True, eq=False)
class Dataset:
    """The content of a file or folder, as `load` returns it.

    Attributes
    ----------
    X : ndarray (n_samples, n_features)
        uint8 for pictures, float64 for CSV, the stored dtype for .npz.
    y : int64 ndarray (n_samples,) or None
        Class indices; None if the data were read without a target.
    class_names : tuple of str or None
        The names of the classes 0, 1, ...; None if the classes were stored as indices.
    feature_names : tuple of str or None
        The names of the columns of X; None without the header of a CSV file.
    target_name : str or None
        The name of the column of y; None without the header of a CSV file.
    unused : tuple of str
        The names of the other columns of a CSV file, which were not read.
    X_test, y_test : ndarray or None
        The test rows, if the source has separate ones.
    is_image : bool
        True for IDX pictures, whose pixels are from 0 to 255.
    numbers : float64 ndarray (n_samples,) or None
        The targets as numbers, if a CSV file has such; `y` counts their different values.
    remarks : tuple of Remark
        What was inferred or left out.
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
    numbers: NDArray[np.float64] | None = None
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True)
class Content:
    """The bytes of what can be read only once, such as standard input, and its name in messages."""

    name: str
    data: bytes

    def __str__(self) -> str:
        return self.name


Source: TypeAlias = Path | Content


def _opened(source: Source) -> io.BufferedReader:
    return io.BufferedReader(io.BytesIO(source.data)) if isinstance(source, Content) else open(source, "rb")


@contextlib.contextmanager
def opened(file: Source) -> Iterator[gzip.GzipFile | io.BufferedReader]:
    """Open a file for reading bytes, through gzip if its content is gzipped: the names of downloads are often wrong."""
    with _opened(file) as raw:
        gzipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        try:
            yield gzip.GzipFile(fileobj=raw) if gzipped else raw
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{file}: expected complete gzip data, got damaged data: {error}") from error


@contextlib.contextmanager
def opened_text(file: Source) -> Iterator[io.TextIOWrapper]:
    """Open a file for reading text: UTF-8, or UTF-16 after a byte order mark, as spreadsheets write "Unicode text"."""
    with opened(file) as stream:
        wide = stream.peek(2)[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        try:
            yield io.TextIOWrapper(stream, "utf-16" if wide else "utf-8-sig", newline="")  # line ends as they are
        except UnicodeError as error:
            raise ValueError(f"{file}: expected UTF-8 text, got other bytes ({error}); save it as UTF-8") from error
