"""Remarks on columns of CSV files that only tell rows apart: they say nothing about new ones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .csv_form import Form
from .dataset import Remark, Source

MIN_ROWS = 10  # the values of fewer rows may be consecutive by chance
NEARLY_ALL = 0.9  # of the rows of text, with another one each
_IDENTIFIER = re.compile(r"(?i:(^|[_ .-])(id|idx|index|key|row|uuid))$|[a-z]I[dD]$")


def remarks_on_numbers(file: Source, columns: Iterable[NDArray[Any]], form: Form) -> Iterator[Remark]:
    """Yield remarks on features that number the rows or look like identifiers; columns of text are passed by."""
    for values, column in zip(columns, form.features, strict=True):
        rows = len(values)
        if rows < MIN_ROWS or values.dtype == object or not (np.floor(values) == values).all():
            continue
        if not np.isfinite(values).all() or len(np.unique(values)) < rows:
            continue
        counts = values.max() - values.min() == rows - 1
        if counts or _IDENTIFIER.search("" if form.names is None else form.names[column]):
            does = "numbers the rows" if counts else "holds another whole number in each row"
            called, choice = _called(form, column)
            text = f"{file}: column {called} {does}, and is a feature: that misleads if it only tells rows apart"
            yield Remark(text, (choice,), "leaves it out")


def remarks_on_texts(file: Source, columns: Iterable[NDArray[Any]], form: Form) -> Iterator[Remark]:
    """Yield remarks on features of text that have another one in nearly every row; columns of numbers are passed by."""
    for values, column in zip(columns, form.features, strict=True):
        if values.dtype != object:
            continue
        texts = values[values != None]  # noqa: E711 (elementwise)
        if len(texts) >= MIN_ROWS and len(set(texts.tolist())) > NEARLY_ALL * len(texts):
            called, choice = _called(form, column)
            text = f"{file}: column {called} holds another text in nearly every row, which says nothing about new ones"
            yield Remark(text, (choice,), "leaves it out")


def _called(form: Form, column: int) -> tuple[str, dict[str, tuple[str | int]]]:
    """Return a column as a message calls it, and the argument that leaves it out."""
    name = "" if form.names is None else form.names[column]
    return (repr(name), {"drop": (name,)}) if name else (str(column + 1), {"drop": (column,)})
