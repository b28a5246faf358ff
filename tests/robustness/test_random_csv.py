"""Random CSV texts, read by fastbp as told and as guessed, against Python's own `csv` and pandas where these two agree.

A table is drawn first, then a way to write it. However it is written, no number may change and no row be dropped
without a word: what is read is the table, or the file is refused.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from fastbp.datasets.csv_form import MISSING
from fastbp.datasets.readers import read
from support.lanes import LONG

MISSING_TEXTS = {text.lower() for text in MISSING}
NUMBERED = "0, 1, 2, ..."


@dataclass(frozen=True)
class Table:
    """Texts as they are to be read, and how they are written."""

    features: list[list[str]]
    labels: list[str]
    target: int
    names: list[str] | None
    delimiter: str
    decimal: str
    quoting: int
    line_end: str
    encoding: str
    blank_lines: bool

    def rows(self) -> list[list[str]]:
        """Every row, the names too, the label in its column."""
        rows = [] if self.names is None else [self.names]
        for features, label in zip(self.features, self.labels, strict=True):
            rows.append([*features[: self.target], label, *features[self.target :]])
        return rows

    def content(self) -> bytes:
        text = io.StringIO()
        writer = csv.writer(text, delimiter=self.delimiter, quoting=self.quoting, lineterminator=self.line_end)  # type: ignore[arg-type]
        for row in self.rows():
            writer.writerow(row)
            if self.blank_lines:
                text.write(self.line_end)
        return text.getvalue().encode(self.encoding)

    @property
    def gaps(self) -> bool:
        return any(
            text.lower() in MISSING_TEXTS for text in (*self.labels, *(each for row in self.features for each in row))
        )

    def numbers(self) -> Any:
        return np.array([[float(text.replace(self.decimal, ".")) for text in row] for row in self.features])


def number(decimal: str) -> st.SearchStrategy[str]:
    floats = st.floats(allow_nan=False, allow_infinity=False).map(repr)
    short = st.floats(-1e4, 1e4).map(lambda value: f"{value:.3f}")
    whole = st.integers(-(10**6), 10**6).map(str)
    return st.one_of(short, whole, floats).map(lambda text: text.replace(".", decimal))


LABELS = (["cat", "dog", "fox"], ["0", "1"], ["a b", 'say "so"', "x;y"], ["été", "夏"], ["-1.5", "2"])


@st.composite
def tables(draw: st.DrawFn) -> Table:
    delimiter = draw(st.sampled_from(",;\t|"))
    decimal = draw(st.sampled_from(".,"))
    width, rows = draw(st.integers(1, 4)), draw(st.integers(1, 12))
    features = draw(st.lists(st.lists(number(decimal), min_size=width, max_size=width), min_size=rows, max_size=rows))
    kinds = draw(st.sampled_from(LABELS))
    labels = [kinds[i % len(kinds)] for i in range(rows)]
    if draw(st.integers(0, 9)) == 0:  # a gap in ten tables
        gap = draw(st.sampled_from(MISSING))
        row, column = draw(st.integers(0, rows - 1)), draw(st.integers(0, width))
        if column == width:
            labels[row] = gap
        else:
            features[row][column] = gap
    target = draw(st.integers(0, width))
    header = draw(st.sampled_from(["none", "names", NUMBERED]))
    names = None
    if header == "names":
        names = draw(st.lists(st.sampled_from(["a", "width, cm", "b;c", "größe", "n°", "y", "x", "label", "id"]),
                              min_size=width + 1, max_size=width + 1, unique=True))  # fmt: skip
    elif header == NUMBERED:
        names = [str(i) for i in range(width + 1)]
    return Table(
        features, labels, target, names, delimiter, decimal, draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
        draw(st.sampled_from(["\n", "\r\n", "\r"])), draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"])),
        draw(st.booleans()),
    )  # fmt: skip


def of_csv(table: Table, file: Path) -> list[list[str]]:
    with open(file, encoding=table.encoding, newline="") as text:
        return [row for row in csv.reader(text, delimiter=table.delimiter, strict=True) if row]


def of_pandas(table: Table, file: Path) -> Any:
    """Numbers of the features, missing ones NaN."""
    frame = pandas.read_csv(file, sep=table.delimiter, decimal=table.decimal, encoding=table.encoding,
                            header=None if table.names is None else 0, na_values=MISSING, index_col=False)  # fmt: skip
    return frame.drop(columns=frame.columns[table.target]).to_numpy(np.float64)


def agreed(table: Table, file: Path) -> bool:
    """Whether Python's csv and pandas both read the table as it was drawn."""
    if of_csv(table, file) != table.rows():
        return False
    try:
        numbers = of_pandas(table, file)
    except (ValueError, pandas.errors.ParserError):
        return False
    if table.gaps:
        return bool(np.isnan(numbers).any()) or any(label.lower() in MISSING_TEXTS for label in table.labels)
    own = table.numbers()  # pandas' own are some units in the last place off
    return numbers.shape == own.shape and np.allclose(numbers, own, rtol=8 * np.finfo(np.float64).eps, atol=0)


def plain(table: Table) -> bool:
    """Whether nothing about it is unusual, so that it must be read."""
    named = table.names is not None and not table.names[0].isdigit()
    return named and table.decimal == "." and not table.gaps and not any(";" in label for label in table.labels)


def check(table: Table, data: Any) -> None:
    """The table itself, and nothing but it."""
    assert not table.gaps
    numbers = table.numbers()
    assert data.X.shape == numbers.shape
    np.testing.assert_array_equal(data.X, numbers)  # to the bit, but for the sign of 0
    assert data.y is not None and data.class_names is not None
    for code, label in zip(data.y, table.labels, strict=True):
        assert data.class_names[code] == label


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "table.csv"


@given(table=tables())
@settings(max_examples=150, derandomize=not LONG, deadline=None)
def test_told_how(file: Path, table: Table) -> None:
    """A file that is read as it is said to be written is read right, or refused for its gaps."""
    file.write_bytes(table.content())
    if not agreed(table, file):
        return
    told = {"target": table.target, "header": table.names is not None, "delimiter": table.delimiter,
            "decimal": table.decimal, "drop": ()}  # fmt: skip
    if table.gaps:
        with pytest.raises(ValueError, match=r"line \d+, column \d+.* missing value|line \d+, column \d+.*got ''"):
            read(file, **told)
    else:
        data = read(file, **told)
        check(table, data)
        if table.names is not None:
            assert data.target_name == table.names[table.target]


@given(table=tables(), target_told=st.booleans(), decimal_told=st.booleans())
@settings(max_examples=300, derandomize=not LONG, deadline=None)
def test_guessed(file: Path, table: Table, target_told: bool, decimal_told: bool) -> None:
    """What is not said is guessed right, or the file is refused, or what was left out is said."""
    file.write_bytes(table.content())
    if not agreed(table, file):
        return event("csv and pandas do not agree")
    told: dict[str, Any] = {"target": table.target} if target_told else {}
    if decimal_told:
        told["decimal"] = table.decimal
    try:
        data = read(file, **told)
    except ValueError as error:
        assert not (plain(table) and target_told), error
        return event("refused")
    event("read")
    if not target_told and data.target_name is not None and table.names is not None:
        assert data.target_name in table.names
        if table.names.index(data.target_name) != table.target:
            return  # another column than was drawn; the caller is told which
    if not target_told and table.names is None and table.target != len(table.features[0]):
        return  # the last column is the target where nothing is said, as documented
    check(table, data)
    if table.names is not None and table.names == [str(i) for i in range(len(table.names))]:
        assert any("taken for column names" in remark.text for remark in data.remarks)


@given(content=st.text(st.sampled_from('0123456789.,;\t\n\r" -eab|_NA'), max_size=60))
@settings(max_examples=400, derandomize=not LONG, deadline=None)
def test_any_text_is_read_or_refused(file: Path, content: str) -> None:
    """Whatever the text: a table of as many rows as csv finds, or a ValueError that names the file."""
    file.write_text(content, encoding="utf-8", newline="")
    for labelled in (True, False):
        try:
            data = read(file, labelled=labelled)
        except ValueError as error:
            assert "table.csv" in str(error)
            continue
        assert np.isfinite(data.X).all() and data.X.size
        lines = sum(1 for line in content.replace("\r", "\n").split("\n") if line.strip())
        quoted = '"' in content
        assert quoted or len(data.X) in (lines, lines - (data.feature_names is not None))
