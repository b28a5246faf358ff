"""Files to train on and to predict: NumPy archives, CSV text, IDX pictures.

Every reader refuses what it cannot read exactly: a silently dropped or misread row would look like a bad network later.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import itertools
import math
import mmap
import os
import re
import struct
import zipfile
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SUPPORTED = (
    "a .npz archive with the arrays X and y, a .csv or .csv.gz file, a folder of IDX files "
    "(train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-..., each also as .gz), "
    "or, with labelled=False, one *idx3-ubyte[.gz] file"
)
_TARGET_NAMES = ("target", "label", "class", "y")
_SNIFFED_LINES = 20


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
        The header of a CSV file without its target column.
    X_test, y_test : ndarray or None
        The same for test rows, where the source sets some apart.
    is_image : bool
        True for IDX pictures: pixels 0..255.
    """

    X: NDArray[Any]
    y: NDArray[np.int64] | None
    class_names: tuple[str, ...] | None = None
    feature_names: tuple[str, ...] | None = None
    X_test: NDArray[Any] | None = None
    y_test: NDArray[np.int64] | None = None
    is_image: bool = False


def load(
    path: str | os.PathLike[str],
    target: str | int | None = None,
    *,
    labelled: bool = True,
    header: bool | None = None,
    mapped: bool = False,
) -> Dataset:
    """Read a data set from a file or a folder, by what it is.

    - `.npz`: arrays `X` (n, features) and `y` (n,) of class indices or text, optionally `X_test` and `y_test` (`x` and
      `x_test` do as well). Never unpickles.
    - `.csv`, `.csv.gz`: UTF-8, delimited by comma, semicolon or tab; every feature a finite number. Blank lines are
      passed over.
    - A folder of the four IDX files of MNIST and its kin, gzipped or not; the t10k pair may be absent. A single
      `*idx3-ubyte[.gz]` file has no labels and needs `labelled=False`.

    Parameters
    ----------
    path : str or path
        File or folder.
    target : str or int, optional
        CSV only: the column of the classes, by name or by position (counted from 0, or from the end if negative; as a
        string too, where no column bears it as its name). By default a column called target, label, class or y, in
        any case and in this order, else the last one. Classes are sorted: as numbers if all are numbers, else as text.
    labelled : bool
        False for rows to predict: `y` is None and every CSV column is a feature, unless `target` names one.
    header : bool, optional
        CSV only: whether the first line holds column names. By default it does if `target` is a name, if one of its
        fields is target, label or class, or if it has text and no number outside the target column. A line with
        numbers and text there could be either, and is refused until `header` says. A header of numbers alone is taken
        for one by `header=True` only.
    mapped : bool
        Map IDX files that are not gzipped into memory, of which then only the rows that are looked at are read: for
        several processes that take a part each. A file must not be cut short as long as its rows are in use.

    Returns
    -------
    Dataset

    Raises
    ------
    FileNotFoundError
        There is nothing at `path`.
    TypeError
        `path`, `target` or `header` is of a wrong type.
    ValueError
        The content is not as described: names the file, for CSV with line and column (counted from 1), what came and
        what was expected. Also for options that the kind of file does not have.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "iris.csv")
    ...     _ = file.write_text("petal,species\\n1.4,setosa\\n4.7,versicolor\\n1.3,setosa\\n")
    ...     data = load(file, target="species")
    >>> data.X.tolist(), data.y.tolist(), data.class_names, data.feature_names
    ([[1.4], [4.7], [1.3]], [0, 1, 0], ('setosa', 'versicolor'), ('petal',))
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path: expected a str or a path, got {path!r}")
    if isinstance(target, (bool, np.bool_)) or not isinstance(target, (str, int, np.integer, type(None))):
        raise TypeError(f"target: expected a column's name or position, got {target!r}")
    if header is not None and not isinstance(header, bool):
        raise TypeError(f"header: expected True, False or None, got {header!r}")
    file = Path(path)
    if not file.exists():
        raise FileNotFoundError(f"path: expected {_SUPPORTED}; there is nothing at {str(path)!r}")
    name, is_folder = file.name.lower(), file.is_dir()
    is_csv = name.endswith((".csv", ".csv.gz")) and not is_folder
    if not is_csv and (target is not None or header is not None):
        raise ValueError(f"target, header: expected None for {file}, not being CSV; got {target!r}, {header!r}")
    if is_csv:
        return _load_csv(file, target, labelled, header)
    if is_folder:
        return _load_idx_folder(file, labelled, mapped)
    if name.endswith(".npz"):
        return _load_npz(file, labelled)
    if not name.endswith(("idx3-ubyte", "idx3-ubyte.gz")):
        raise ValueError(f"{file}: expected {_SUPPORTED}; got another kind of file")
    if labelled:
        raise ValueError(f"{file}: expected the folder of this file, for its labels, or labelled=False")
    return Dataset(_read_idx(file, 3, mapped), None, is_image=True)


@contextlib.contextmanager
def _open(file: Path) -> Iterator[gzip.GzipFile | io.BufferedReader]:
    """Open for reading bytes, through gzip where the content is gzipped: downloads often bear the other name."""
    with open(file, "rb") as stream:
        gzipped = stream.read(2) == b"\x1f\x8b"
    with gzip.open(file) if gzipped else open(file, "rb") as stream:
        try:
            yield stream
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{file}: expected whole gzip data, got damaged ones: {error}") from error
        except UnicodeDecodeError as error:
            raise ValueError(f"{file}: expected UTF-8 text, got other bytes: {error}") from error


def _load_npz(file: Path, labelled: bool) -> Dataset:
    wanted = ("x_test", "x", "X_test", "X", "y_test", "y")  # upper case last, so that it wins over lower
    with open(file, "rb") as stream:
        if not zipfile.is_zipfile(stream):
            raise ValueError(f"{file}: expected an .npz archive, got other content")
        stream.seek(0)
        try:
            with np.load(stream, allow_pickle=False) as archive:
                found = ", ".join(archive.files) or "none"
                arrays = {name.replace("x", "X"): np.asarray(archive[name]) for name in wanted if name in archive.files}
        except (ValueError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error) as error:  # RuntimeError: encrypted
            raise ValueError(f"{file}: expected arrays of numbers or text, got: {error}") from error
    X, y, X_test, y_test = (arrays.get(name) for name in ("X", "y", "X_test", "y_test"))
    if X is None or (labelled and (y is None or (X_test is None) != (y_test is None))):
        expected = "X and y, and X_test and y_test or neither" if labelled else "X"
        raise ValueError(f"{file}: expected the arrays {expected}; got {found}")
    for name, rows in (("X", X), ("X_test", X_test)):
        if rows is not None and (rows.ndim != 2 or 0 in rows.shape or rows.dtype.kind not in "biuf"):
            raise ValueError(f"{file}: {name}: expected real numbers (n, features), got {rows.dtype} {rows.shape}")
    if X_test is not None and X_test.shape[1] != X.shape[1]:
        raise ValueError(f"{file}: X_test: expected {X.shape[1]} features as in X, got {X_test.shape[1]}")
    if not labelled or y is None:
        return Dataset(X, None, X_test=X_test)
    class_names = tuple(map(str, np.unique(y))) if y.dtype.kind == "U" else None
    y = _class_indices(f"{file}: y", y, len(X), class_names)
    if X_test is not None and y_test is not None:
        y_test = _class_indices(f"{file}: y_test", y_test, len(X_test), class_names)
    return Dataset(X, y, class_names, X_test=X_test, y_test=y_test)


def _class_indices(
    where: str, labels: NDArray[Any], rows: int, class_names: tuple[str, ...] | None
) -> NDArray[np.int64]:
    """Turn stored labels into int64 indices: text into its place among `class_names`, whole numbers as they are."""
    if labels.shape != (rows,):
        raise ValueError(f"{where}: expected shape ({rows},), a label for each row, got {labels.shape}")
    if class_names is not None:
        if unknown := set(labels.tolist()) - set(class_names):
            raise ValueError(f"{where}: expected only classes that y has, got {min(map(str, unknown))!r}")
        return np.searchsorted(np.array(class_names), labels).astype(np.int64)
    if labels.dtype.kind not in "iu":
        raise ValueError(f"{where}: expected class indices (whole numbers) or class names (text), got {labels.dtype}")
    indices = labels.astype(np.int64)
    if indices.min() < 0:  # also where an unsigned number was too large
        raise ValueError(f"{where}: expected class indices from 0 on, got {labels[indices.argmin()]}")
    return indices


class _Numbers(dict[str, float]):
    """`float` that remembers: pixels repeat few texts, and `float` costs 170 ns (60,000 x 785: 5 s instead of 11)."""

    most = 1 << 14

    def __missing__(self, text: str) -> float:
        value = self[text] = float(text)
        return value


def _load_csv(file: Path, target: str | int | None, labelled: bool, header: bool | None) -> Dataset:
    delimiter, line, first = first_row(file)
    width = len(first)
    if header is None:
        # A target that is no position can only be a name, which takes a header.
        by_name = isinstance(target, str) and not (_is_position(target) and -width <= int(target) < width)
        column = None if by_name else _target_column(file, None, width, target, labelled)
        header = by_name or _is_header(f"{file}: line {line}", first, column)
    names = first if header else None
    column = _target_column(file, names, width, target, labelled)
    if width == 1 and column is not None:
        raise ValueError(f"{file}: expected a feature column beside the target, got 1 column (delimiter {delimiter!r})")

    def place(at: int) -> str:
        return f"{file}: line {line}, column {at + 1}" + (f" ({names[at]!r})" if names else "")

    labels: list[str] = []
    numbers, values = _Numbers(), array("d")
    with _open(file) as stream, _text(stream) as text:
        for line, fields in itertools.islice(_rows(file, text, delimiter), int(header), None):
            if len(fields) != width:
                raise ValueError(f"{file}: line {line}: expected {width} columns, got {len(fields)}")
            if column is not None:
                labels.append(fields.pop(column).strip())
                if labels[-1].lower() in ("", "nan"):
                    raise ValueError(f"{place(column)}: expected a class, got {labels[-1]!r}, a missing value")
            # Texts that do not repeat go past the memory: looking them up there doubles the time.
            number = numbers.__getitem__ if len(numbers) < numbers.most else float
            try:
                row = list(map(number, fields))
            except ValueError:
                row = [math.nan]
            # `float` takes nan, inf and 1_000 too. A sum that overflows costs a second look and nothing else.
            if not math.isfinite(sum(row)) or "_" in "".join(fields):
                for i, field in enumerate(fields):
                    if not _is_number(field):
                        at = i + (column is not None and i >= column)  # the target column has been taken out
                        raise ValueError(f"{place(at)}: expected a finite number, got {field.strip()!r}")
            values.extend(row)
    if not values:
        raise ValueError(f"{file}: expected rows of data under the header, got none")
    X = np.frombuffer(values, np.float64).reshape(-1, width - (column is not None))
    feature_names = None if names is None else tuple(name for i, name in enumerate(names) if i != column)
    y, class_names = (None, None) if column is None else _encode(labels)
    return Dataset(X, y, class_names, feature_names)


def _text(stream: gzip.GzipFile | io.BufferedReader) -> io.TextIOWrapper:
    return io.TextIOWrapper(stream, "utf-8-sig", newline="")  # the csv module wants line ends as they are


def _rows(file: Path, lines: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Give (line number, fields) of every row that is not blank."""
    # Strict, for a quote left open would swallow the rows after it.
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=delimiter != "\t", strict=True)
    try:
        for fields in reader:
            if len(fields) > 1 or "".join(fields).strip():
                yield reader.line_num, fields
    except csv.Error as error:
        raise ValueError(f"{file}: line {reader.line_num}: expected well-formed CSV, got: {error}") from error


def first_row(file: Path) -> tuple[str, int, list[str]]:
    """Find the delimiter that cuts the first lines evenly, into the most fields; return it, and the first row's line.

    `csv.Sniffer` guesses from letter frequencies and will take a digit for a delimiter.
    """
    with _open(file) as stream, _text(stream) as text:
        lines = list(itertools.islice(text, _SNIFFED_LINES))
    candidates = []
    for delimiter in ",;\t":
        reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=delimiter != "\t")
        with contextlib.suppress(csv.Error):  # a wrong delimiter may make a field longer than the module allows
            rows = [(reader.line_num, fields) for fields in reader if len(fields) > 1 or "".join(fields).strip()]
            if rows:
                line, first = rows[0]
                even = len(first) > 1 and all(len(fields) == len(first) for _, fields in rows)
                candidates.append((even, len(first), delimiter, line, [field.strip() for field in first]))
    if not candidates:
        came = "text that is no CSV" if "".join(lines).strip() else "an empty file"
        raise ValueError(f"{file}: expected rows of numbers, got {came}")
    return max(candidates, key=lambda candidate: candidate[:2])[2:]  # comma, where they tie


def _is_header(where: str, first: Sequence[str], column: int | None) -> bool:
    """Judge the first row by the rule in `load`; `column` is the target's, if there is no header."""
    if any(field.lower() in ("target", "label", "class") for field in first):  # not y: a class may be called y or n
        return True
    features = [field for i, field in enumerate(first) if i != column and field]
    texts = [field for field in features if not _is_number(field)]
    if 0 < len(texts) < len(features):
        raise ValueError(
            f"{where}, column {first.index(texts[0]) + 1}: expected column names or a row of numbers, got "
            f"{texts[0]!r} among numbers; header=True or header=False says which it is"
        )
    return bool(texts)


def _target_column(
    file: Path, names: Sequence[str] | None, width: int, target: str | int | None, labelled: bool
) -> int | None:
    if target is None:
        lowered = [name.lower() for name in names or ()]
        found = (lowered.index(name) for name in _TARGET_NAMES if name in lowered)
        return next(found, width - 1) if labelled else None
    if names is not None and target in names:
        if names.count(target) > 1:
            raise ValueError(f"target: expected one column {target!r} in {file}, got {names.count(target)}")
        return names.index(str(target))
    if isinstance(target, str) and not _is_position(target):
        known = "no header" if names is None else "columns " + ", ".join(map(repr, names[:20]))
        raise ValueError(f"target: expected a column of {file} ({known}), got {target!r}")
    if not -width <= int(target) < width:
        raise ValueError(f"target: expected a position from {-width} to {width - 1} in {file}, got {target!r}")
    return int(target) % width


def _is_position(target: str) -> bool:
    return re.fullmatch(r"[+-]?[0-9]+", target) is not None


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text)) and "_" not in text
    except ValueError:
        return False


def _encode(labels: list[str]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Number the classes: as numbers where all are (1 and 1.0 are one class, named as first met), else as text."""
    keys: dict[str, Any] = {text: text for text in labels}
    if all(map(_is_number, keys)):
        # Whole numbers stay ints: identifiers beyond 2**53 would merge as floats.
        keys = {text: int(text) if _is_position(text) else float(text) for text in keys}
    names = {key: text for text, key in reversed(keys.items())}
    index = {key: i for i, key in enumerate(sorted(names))}
    y = np.fromiter((index[keys[label]] for label in labels), np.int64, len(labels))
    return y, tuple(names[key] for key in index)


def _load_idx_folder(folder: Path, labelled: bool, mapped: bool) -> Dataset:
    train, test = (_read_idx_pair(folder, part, labelled, mapped) for part in ("train", "t10k"))
    if train is None:
        raise ValueError(f"{folder}: expected {_SUPPORTED}; got a folder without train-images-idx3-ubyte[.gz]")
    if test is None:
        return Dataset(*train, is_image=True)
    pixels, test_pixels = train[0].shape[1], test[0].shape[1]
    if test_pixels != pixels:
        raise ValueError(f"{folder}: expected t10k pictures of {pixels} pixels as in train, got {test_pixels}")
    return Dataset(*train, X_test=test[0], y_test=test[1], is_image=True)


def _read_idx_pair(
    folder: Path, part: str, labelled: bool, mapped: bool
) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None] | None:
    images, labels = _find_idx(folder, f"{part}-images", 3), _find_idx(folder, f"{part}-labels", 1)
    if images is None and (labels is None or not labelled):
        return None
    if images is None or (labelled and labels is None):
        there, gone = ("labels", "images-idx3") if images is None else ("images", "labels-idx1")
        raise ValueError(f"{folder}: expected {part}-{gone}-ubyte[.gz] beside the {there}, got none")
    X = _read_idx(images, 3, mapped)
    if not labelled or labels is None:
        return X, None
    y = _read_idx(labels, 1)[:, 0].astype(np.int64)
    if len(y) != len(X):
        raise ValueError(f"{labels}: expected {len(X)} labels, one for each picture of {images}, got {len(y)}")
    return X, y


def _find_idx(folder: Path, stem: str, ndim: int) -> Path | None:
    spellings = (folder / f"{stem}{separator}idx{ndim}-ubyte{gz}" for gz in ("", ".gz") for separator in "-.")
    return next((file for file in spellings if file.is_file()), None)


def _read_idx(file: Path, ndim: int, mapped: bool = False) -> NDArray[np.uint8]:
    """Read an IDX file of bytes (magic 0, 0, 8, ndim; ndim big-endian sizes; the bytes) into (n, bytes of one)."""
    data: bytearray | mmap.mmap
    with _open(file) as stream:
        head = stream.read(4 + 4 * ndim)
        magic = bytes((0, 0, 8, ndim))
        if head[:4] != magic or len(head) < 4 + 4 * ndim:
            raise ValueError(f"{file}: expected an IDX header with magic {magic.hex()}, got {head.hex() or 'nothing'}")
        shape = struct.unpack(f">{ndim}I", head[4:])
        size = math.prod(shape)
        if size == 0:
            raise ValueError(f"{file}: expected an IDX header with sizes above 0, got {shape}")
        begin = 0
        if mapped and not isinstance(stream, gzip.GzipFile):
            data, begin = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY), len(head)
        else:  # by pieces: one read of `size` would allocate whatever a damaged header announces
            data = bytearray()
            while len(data) <= size and (piece := stream.read(1 << 20)):
                data += piece
    if (length := len(data) - begin) != size:
        came = f"only {length}: truncated" if length < size else "more"
        raise ValueError(f"{file}: expected {size} bytes for the sizes {shape} in its header, got {came}")
    return np.frombuffer(data, np.uint8, offset=begin).reshape(shape[0], -1)
