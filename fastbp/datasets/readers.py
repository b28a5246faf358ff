"""`load`: data sets from NumPy archives, CSV files and IDX pictures.

Every reader refuses what it cannot read exactly: a row dropped or misread silently would look like a bad network later.
"""

from __future__ import annotations

import os
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import csv_reader, idx_reader
from .csv_options import CsvOptions, checked_options
from .dataset import SUPPORTED, Content, Dataset, ReadError, Remark

__all__ = ["Dataset", "ReadError", "load", "read"]

TABS = (".tsv", ".tsv.gz")  # CSV with tabs
CSV = (".csv", ".csv.gz", *TABS)
CSV_NAMES = ".csv or .tsv, or one of these with .gz"
_GENERAL = ("labelled", "missing", "features")  # options that are not for CSV files alone


def load(
    path: str | os.PathLike[str],
    target: str | int | None = None,
    *,
    labelled: bool = True,
    header: bool | None = None,
    mapped: bool = False,
    delimiter: str | None = None,
    decimal: str = ".",
    missing: Sequence[str] | None = None,
    drop: Sequence[str | int] | None = None,
    features: Sequence[str] | None = None,
) -> Dataset:
    """Read a data set from a file or a folder.

    - `.npz`: arrays `X` (n, features) and `y` (n,) of class indices or text, optionally `X_test` and `y_test` (or `x`
      and `x_test`). Nothing is unpickled.
    - `.csv`, or `.tsv` with tabs, also with `.gz`: UTF-8, or UTF-16 after a byte order mark; every feature a finite
      number. Blank lines are skipped. `docs/guide/data.md` lists what is inferred from such files, and what is refused.
    - A folder with the four IDX files of MNIST or a data set like it, gzipped or not; the t10k pair may be missing. A
      single `*idx3-ubyte[.gz]` file has no labels and needs `labelled=False`.

    Parameters
    ----------
    path : str or path
        File or folder.
    target : str or int, optional
        CSV only: the column of the classes, by name or by position, from 0 or, if negative, from the end. A position
        may also be a string, if no column has that name. By default a column named target, label or class, in any case
        and in this order; or y, if it is the first or the last column and not a coordinate beside an x with a text
        column after them; else the last column. Classes are sorted as numbers if all are numbers, else as text.
    labelled : bool, default True
        False for rows to predict: `y` is None and every CSV column is a feature, except `target` if it is given.
    header : bool, optional
        CSV only: whether the first line holds column names. By default it does if `target`, `drop` or `features` name
        columns of it, if one of its fields is target, label or class, or if it has text and no number outside the
        target column. A header 0, 1, 2, ... is recognised if a column below it holds fractions. A line that could be
        either is refused unless `header` is given.
    mapped : bool, default False
        Map IDX files that are not gzipped into memory, so that only the rows in use are read: for several processes
        that each take a part. A mapped file must not be truncated while its rows are in use.
    delimiter : str, optional
        CSV only: one character. By default comma, semicolon, tab or ``|``, whichever cuts the first lines evenly. If
        two of them do, and both give numbers, the file is refused. A file whose name ends in .tsv or .tsv.gz has tabs.
    decimal : {".", ","}, default "."
        CSV only: the decimal mark of the features.
    missing : sequence of str, optional
        CSV, and classes that are text: texts that mean a missing value, in any case, in classes and features alike.
        Missing values are refused; an empty field always is one. By default the texts that pandas takes for missing
        (NA, NaN, None, null and more), ?, - and similar ones.
    drop : sequence of str or int, optional
        CSV only: columns to leave out, given as for `target`. By default a first column without a name (or named
        "Unnamed: 0") whose values are distinct whole numbers, since it is an index; an empty sequence keeps it.
    features : sequence of str, optional
        CSV only: the names of the columns of X, in this order, for instance `MLP.feature_names`. Other columns are not
        read. A file without a header is read as it is.

    Returns
    -------
    Dataset

    Raises
    ------
    FileNotFoundError
        There is nothing at `path`.
    TypeError
        An argument has a wrong type.
    ValueError
        The content is not as described; the message names the file, for CSV with line and column counted from 1. Or an
        argument does not apply to the kind of file.

    Warns
    -----
    UserWarning
        A column was left out as an index, a header of numbers was recognised, or a feature only numbers the rows.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "iris.csv")
    ...     _ = file.write_text("petal,species\\n1.4,setosa\\n4.7,versicolor\\n1.3,setosa\\n")
    ...     data = load(file, target="species")
    >>> data.X.tolist(), data.y.tolist(), data.class_names, data.feature_names, data.target_name
    ([[1.4], [4.7], [1.3]], [0, 1, 0], ('setosa', 'versicolor'), ('petal',), 'species')
    """
    of_csv = {"header": header, "delimiter": delimiter, "decimal": decimal}
    of_columns = {"missing": missing, "drop": drop, "features": features}
    data = read(path, target, labelled=labelled, mapped=mapped, **of_csv, **of_columns)
    for remark in data.remarks:
        warnings.warn(str(remark), stacklevel=2)
    return data


def read(
    path: str | os.PathLike[str] | Content,
    target: str | int | None = None,
    *,
    labelled: bool = True,
    mapped: bool = False,
    **of_csv: Any,
) -> Dataset:
    """Do what `load` does, without warnings: the remarks are in the result. Content in memory is CSV."""
    if not isinstance(path, (str, os.PathLike, Content)):
        raise TypeError(f"path: expected a str or a path, got {path!r}")
    options = checked_options(target, labelled, **of_csv)
    if isinstance(path, Content):
        return csv_reader.load(path, options)
    file = Path(path)
    if not file.exists():
        raise FileNotFoundError(f"path: expected {SUPPORTED}; there is nothing at {str(path)!r}")
    name, is_folder = file.name.lower(), file.is_dir()
    if name.endswith(CSV) and not is_folder:
        if name.endswith(TABS) and options.delimiter is None:
            options = replace(options, delimiter="\t")
        return csv_reader.load(file, options)
    default = CsvOptions()
    given = [field.name for field in fields(options) if getattr(options, field.name) != getattr(default, field.name)]
    if csv_only := [name for name in given if name not in _GENERAL]:
        raise ValueError(f"{', '.join(csv_only)}: expected none for {file}, whose name does not end in {CSV_NAMES}")
    if is_folder:
        return idx_reader.load_folder(file, labelled, mapped)
    if name.endswith(".npz"):
        return _load_npz(file, labelled, options)
    if not name.endswith(("idx3-ubyte", "idx3-ubyte.gz")):
        raise ValueError(f"{file}: expected {SUPPORTED}; got another kind of file")
    if labelled:
        expected = f"{file}: expected the folder of this file, which holds its labels too"
        raise ReadError(Remark(expected, ({"labelled": False},), "takes the pictures alone"))
    return Dataset(idx_reader.read_array(file, 3, mapped), None, is_image=True)


def _load_npz(file: Path, labelled: bool, options: CsvOptions) -> Dataset:
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
    if gaps := [name for name in class_names or () if options.is_missing(name.strip())]:
        row = int((y == gaps[0]).argmax())
        got = f"{file}: y: expected a class, got {gaps[0]!r} in row {row} (from 0), a missing value"
        raise ReadError(Remark(got, ({"missing": ()},) if gaps[0].strip() else (), "takes it for a class"))
    y = _class_indices(f"{file}: y", y, len(X), class_names)
    if X_test is not None and y_test is not None:
        y_test = _class_indices(f"{file}: y_test", y_test, len(X_test), class_names)
    return Dataset(X, y, class_names, X_test=X_test, y_test=y_test)


def _class_indices(
    where: str, labels: NDArray[Any], rows: int, class_names: tuple[str, ...] | None
) -> NDArray[np.int64]:
    """Convert stored labels to int64 class indices: text by its place in `class_names`, whole numbers unchanged."""
    if labels.shape != (rows,):
        raise ValueError(f"{where}: expected shape ({rows},), a label for each row, got {labels.shape}")
    if class_names is not None:
        if unknown := set(labels.tolist()) - set(class_names):
            raise ValueError(f"{where}: expected only classes that y has, got {min(map(str, unknown))!r}")
        return np.searchsorted(np.array(class_names), labels).astype(np.int64)
    if labels.dtype.kind not in "iu":
        raise ValueError(f"{where}: expected class indices (whole numbers) or class names (text), got {labels.dtype}")
    indices = labels.astype(np.int64)
    if indices.min() < 0:  # also if an unsigned number was too large
        raise ValueError(f"{where}: expected class indices from 0 on, got {labels[indices.argmin()]}")
    return indices
