"""Read CSV files: features as finite numbers, classes from their texts, every row or none."""

from __future__ import annotations

import itertools
import math
from array import array
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..names import counted
from .csv_delimiter import iter_rows
from .csv_form import Form, form_of
from .csv_header import EITHER, check_first_class
from .csv_options import CsvOptions, is_whole_number
from .csv_rows_apart import remarks_on_numbers
from .dataset import Dataset, ReadError, Remark, Source, opened_text


class _Numbers(dict[str, float]):
    """A cache of converted fields: pixels repeat few texts, and `float` takes 170 ns (60,000 x 785: 5 s, not 11)."""

    most = 1 << 14

    def __init__(self, number: Callable[[str], float]):
        self._number = number

    def __missing__(self, text: str) -> float:
        value = self[text] = self._number(text)
        return value


def load(file: Source, options: CsvOptions) -> Dataset:
    """Read a file by the options and by what it shows; `readers.load` describes both."""
    form = form_of(file, options)
    checker = _FieldChecker(file, form, options)
    labels: list[str] = []
    convert, numbers, values = options.number, _Numbers(options.number), array("d")
    picked, guessed = _picker(form.features), form.header_guessed and form.names is None
    with opened_text(file) as text:
        for line, fields in itertools.islice(iter_rows(file, text, form.delimiter), form.names is not None, None):
            if len(fields) != form.width:
                raise ValueError(f"{file}: line {line}: expected {counted(form.width, 'column')}, got {len(fields)}")
            if form.target is not None:
                labels.append(checker.label(line, fields))
            features = picked(fields)
            # If texts do not repeat, the cache is bypassed: looking them up doubles the time.
            number = numbers.__getitem__ if len(numbers) < numbers.most else convert
            try:
                row = list(map(number, features))
            except ValueError:
                row = [math.nan]
            # `float` accepts nan, inf and 1_000 too. A sum that overflows only costs a second check.
            doubtful = not math.isfinite(sum(row)) or "_" in "".join(features)
            if doubtful or (options.missing_numbers and not options.missing_numbers.isdisjoint(row)):
                checker.check_features(line, fields, as_names=guessed and not values)
            values.extend(row)
    if not values:
        raise ValueError(f"{file}: expected rows of data under the header, got none")
    X = np.frombuffer(values, np.float64).reshape(-1, len(form.features))
    names = form.names
    feature_names = None if names is None else tuple(names[i] for i in form.features)
    if form.target is None:
        return Dataset(X, None, None, feature_names, None, form.unused, remarks=form.remarks)
    if guessed:
        check_first_class(file, labels)
    y, class_names, targets = _encode(labels, options)
    target_name = None if names is None else names[form.target]
    remarks = (*form.remarks, *remarks_on_numbers(file, X.T, form))
    return Dataset(X, y, class_names, feature_names, target_name, form.unused, remarks=remarks, numbers=targets)


def _picker(columns: Sequence[int]) -> Callable[[list[str]], Sequence[str]]:
    """Return a function that selects these fields of a row."""
    if len(columns) == 1:  # `itemgetter` would return a text, not a sequence
        return lambda fields: [fields[columns[0]]]
    return itemgetter(*columns)


class _FieldChecker:
    """Checks a row field by field, if it holds something else than numbers, and its class."""

    def __init__(self, file: Source, form: Form, options: CsvOptions):
        self._file, self._form, self._options = file, form, options

    def label(self, line: int, fields: list[str]) -> str:
        """Return the class of a row."""
        column = self._form.target
        assert column is not None
        text = fields[column].strip()
        if self._options.is_missing(text):
            raise target_missing(self._form.place(self._file, line, column), text)
        return text

    def check_features(self, line: int, fields: list[str], as_names: bool) -> None:
        """Refuse the first feature that is no finite number; `as_names`: the row may hold column names."""
        for column in self._form.features:
            text = fields[column].strip()
            expected = f"{self._form.place(self._file, line, column)}: expected a finite number, got {text!r}"
            if self._options.is_missing(text):
                raise ReadError(Remark(f"{expected}, a missing value", *_AS_NAMES if as_names else ()))
            if not self._options.is_number(text):
                raise ReadError(Remark(expected, *(_AS_NAMES if as_names else self._way_out(text, column))))

    def _way_out(self, text: str, column: int) -> tuple[tuple[dict[str, Any], ...], str]:
        """Return the choices and the effect of a remark on a feature that is no number."""
        if self._options.decimal == "." and CsvOptions(decimal=",").is_number(text):
            return ({"decimal": ","},), f"reads it as {CsvOptions(decimal=',').number(text)!r}"
        names, options = self._form.names, self._options
        if options.features is not None or names is None:
            return (), ""
        called = names[column] or column
        if options.labelled and options.target is None and called:
            return ({"target": called}, {"drop": (called,)}), "says that it holds the classes, or leaves it out"
        return ({"drop": (called,)},), "leaves the column out"


def target_missing(place: str, text: str) -> ReadError:
    """Return the error of a row without a target."""
    got = f"{place}: expected a target in each row, got {text!r}, a missing value"
    return ReadError(Remark(got, ({"missing": ()},) if text else (), "takes it for a class"))


_AS_NAMES = (EITHER[:1], "takes the line for column names")


def _encode(
    labels: list[str], options: CsvOptions
) -> tuple[NDArray[np.int64], tuple[str, ...], NDArray[np.float64] | None]:
    """Return class indices and class names, sorted as numbers if all are numbers, else as texts; and the numbers.

    1 and 1.0 are one class, named by the text that comes first.
    """
    keys: dict[str, Any] = {text: text for text in labels}
    numbers = all(map(options.is_number, keys))
    if numbers:
        # Whole numbers stay ints: as floats, identifiers beyond 2**53 would merge.
        keys = {text: int(text) if is_whole_number(text) else options.number(text) for text in keys}
    names = {key: text for text, key in reversed(keys.items())}
    index = {key: i for i, key in enumerate(sorted(names))}
    y = np.fromiter((index[keys[label]] for label in labels), np.int64, len(labels))
    return y, tuple(names[key] for key in index), np.array(list(index), np.float64)[y] if numbers else None
