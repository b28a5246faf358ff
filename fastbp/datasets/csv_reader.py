"""Read CSV text: features as finite numbers, classes as their text says, every row or none."""

from __future__ import annotations

import itertools
import math
import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..names import counted
from .csv_form import EITHER, Form, Told, check_first_class, form_of, is_position, rows_of
from .dataset import Dataset, ReadError, Remark, opened_text

MANY = 10  # rows: the values of fewer may number them by chance
_IDENTIFIER = re.compile(r"(?i:(^|[_ .-])(id|idx|index|key|row|uuid))$|[a-z]I[dD]$")


class _Numbers(dict[str, float]):
    """Numbers by their texts: pixels repeat few texts, and `float` costs 170 ns (60,000 x 785: 5 s instead of 11)."""

    most = 1 << 14

    def __init__(self, number: Callable[[str], float]):
        self._number = number

    def __missing__(self, text: str) -> float:
        value = self[text] = self._number(text)
        return value


def load(file: Path, told: Told) -> Dataset:
    """Read a file by what the caller says about it and what it shows; `readers.load` describes both."""
    form = form_of(file, told)
    fields_of = _FieldsOf(file, form, told)
    labels: list[str] = []
    convert, numbers, values = told.number, _Numbers(told.number), array("d")
    picked, guessed = _picker(form.features), form.header_guessed and form.names is None
    with opened_text(file) as text:
        for line, fields in itertools.islice(rows_of(file, text, form.delimiter), form.names is not None, None):
            if len(fields) != form.width:
                raise ValueError(f"{file}: line {line}: expected {counted(form.width, 'column')}, got {len(fields)}")
            if form.target is not None:
                labels.append(fields_of.label(line, fields))
            features = picked(fields)
            # Texts that do not repeat go past the memory: looking them up there doubles the time.
            number = numbers.__getitem__ if len(numbers) < numbers.most else convert
            try:
                row = list(map(number, features))
            except ValueError:
                row = [math.nan]
            # `float` takes nan, inf and 1_000 too. A sum that overflows costs a second look and nothing else.
            doubtful = not math.isfinite(sum(row)) or "_" in "".join(features)
            if doubtful or (told.gaps and not told.gaps.isdisjoint(row)):
                fields_of.check_features(line, fields, as_names=guessed and not values)
            values.extend(row)
    if not values:
        raise ValueError(f"{file}: expected rows of data under the header, got none")
    X = np.frombuffer(values, np.float64).reshape(-1, len(form.features))
    names = form.names
    feature_names = None if names is None else tuple(names[i] for i in form.features)
    if form.target is None:
        return Dataset(X, None, None, feature_names, None, form.unused, remarks=form.remarks)
    check_first_class(file, form, labels)
    y, class_names = _encode(labels, told)
    target_name = None if names is None else names[form.target]
    remarks = (*form.remarks, *_counting(file, X, form))
    return Dataset(X, y, class_names, feature_names, target_name, form.unused, remarks=remarks)


def _picker(columns: Sequence[int]) -> Callable[[list[str]], Sequence[str]]:
    """Return what takes these fields out of a row."""
    if len(columns) == 1:  # of which `itemgetter` would not make a sequence
        return lambda fields: [fields[columns[0]]]
    return itemgetter(*columns)


class _FieldsOf:
    """The fields of a file's rows one by one, where a row holds something else than numbers, and its class."""

    def __init__(self, file: Path, form: Form, told: Told):
        self._file, self._form, self._told = file, form, told

    def _place(self, line: int, column: int) -> str:
        names = self._form.names
        return f"{self._file}: line {line}, column {column + 1}" + (f" ({names[column]!r})" if names else "")

    def label(self, line: int, fields: list[str]) -> str:
        """Return the class of a row."""
        column = self._form.target
        assert column is not None
        text = fields[column].strip()
        if self._told.is_missing(text):
            raise ReadError(Remark(f"{self._place(line, column)}: expected a class, got {text!r}, a missing value",
                                   ({"missing": ()},) if text else (), "takes it for a class"))  # fmt: skip
        return text

    def check_features(self, line: int, fields: list[str], as_names: bool) -> None:
        """Refuse the first feature that is no finite number; where the row may hold names, say so."""
        for column in self._form.features:
            text = fields[column].strip()
            expected = f"{self._place(line, column)}: expected a finite number, got {text!r}"
            if self._told.is_missing(text):
                raise ReadError(Remark(f"{expected}, a missing value", *_AS_NAMES if as_names else ()))
            if not self._told.is_number(text):
                raise ReadError(Remark(expected, *(_AS_NAMES if as_names else self._way_out(text, column))))

    def _way_out(self, text: str, column: int) -> tuple[tuple[dict[str, Any], ...], str]:
        if self._told.decimal == "." and Told(decimal=",").is_number(text):
            return ({"decimal": ","},), f"reads it as {Told(decimal=',').number(text)!r}"
        names, told = self._form.names, self._told
        if told.features is not None or names is None:
            return (), ""
        called = names[column] or column
        if told.labelled and told.target is None and called:
            return ({"target": called}, {"drop": (called,)}), "says that it holds the classes, or leaves it out"
        return ({"drop": (called,)},), "leaves the column out"


_AS_NAMES = (EITHER[:1], "takes the line for column names")


def _counting(file: Path, X: NDArray[np.float64], form: Form) -> Iterator[Remark]:
    """Remark on features that number the rows, or seem to name them: what they tell of the classes is an accident."""
    for values, column in zip(X.T, form.features, strict=True):
        if len(X) < MANY or not (np.floor(values) == values).all() or len(np.unique(values)) < len(X):
            continue
        name = "" if form.names is None else form.names[column]
        counts = values.max() - values.min() == len(X) - 1
        if counts or _IDENTIFIER.search(name):
            called = f"column {name!r}" if name else f"column {column + 1}"
            does = "numbers the rows" if counts else "holds another whole number in each row"
            yield Remark(f"{file}: {called} {does}, and is a feature: that misleads if it only tells rows apart",
                         ({"drop": (name or column,)},), "leaves it out")  # fmt: skip


def _encode(labels: list[str], told: Told) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Number the classes: as numbers where all are (1 and 1.0 are one class, named as first met), else as text."""
    keys: dict[str, Any] = {text: text for text in labels}
    if all(map(told.is_number, keys)):
        # Whole numbers stay ints: identifiers beyond 2**53 would merge as floats.
        keys = {text: int(text) if is_position(text) else told.number(text) for text in keys}
    names = {key: text for text, key in reversed(keys.items())}
    index = {key: i for i, key in enumerate(sorted(names))}
    y = np.fromiter((index[keys[label]] for label in labels), np.int64, len(labels))
    return y, tuple(names[key] for key in index)
