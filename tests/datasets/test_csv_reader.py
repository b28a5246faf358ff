"""CSV files: every spelling, headers, classes, and what is refused."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastbp.datasets import csv_reader, load


# --- .csv -------------------------------------------------------------------------------------------------------------
@pytest.fixture
def csv_file(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def write(content: str | bytes) -> Path:
        file = tmp_path / "data.csv"
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    return write


CsvFile = Callable[[str | bytes], Path]
PLAIN = "a,b,kind\n1,2.5,x\n-3,4e2,y\n5,6,x\n"


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.rstrip("\n"),
        PLAIN + "\n\n  \n",
        "\n" + PLAIN.replace("\n", "\n\n"),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", " , "),
        b"\xef\xbb\xbf" + PLAIN.encode(),
        gzip.compress(PLAIN.encode(), mtime=0),  # gzipped, whatever the name says
        '"a","b","kind"\n"1","2.5","x"\n"-3","4e2","y"\n"5","6","x"\n',
        '"a", "b", "kind"\n1, "2.5", "x"\n-3,4e2,y\n5,6,"x"\n',
        "a;b;kind\n1;2.5;x\n-3;4e2;y\n5;6;x\n",
    ],
)
def test_csv_in_every_spelling(csv_file: CsvFile, content: str | bytes) -> None:
    data = load(csv_file(content))
    assert data.X.dtype == np.float64 and data.X.tolist() == [[1, 2.5], [-3, 400], [5, 6]]
    assert data.y is not None and data.y.dtype == np.int64 and data.y.tolist() == [0, 1, 0]
    assert (data.class_names, data.feature_names) == (("x", "y"), ("a", "b"))
    assert (data.X_test, data.y_test, data.is_image) == (None, None, False)
    assert data.X.flags.c_contiguous and data.X.flags.writeable


def test_csv_gz(tmp_path: Path) -> None:
    for content in (gzip.compress(PLAIN.encode(), mtime=0), PLAIN.encode()):
        (tmp_path / "data.csv.gz").write_bytes(content)
        assert load(tmp_path / "data.csv.gz").X.tolist() == [[1, 2.5], [-3, 400], [5, 6]]


def test_csv_quoted_text_keeps_delimiters_quotes_and_line_ends(csv_file: CsvFile) -> None:
    data = load(csv_file('"size, cm",class\n1,"a, b"\n2,"say ""so"""\n3,"two\r\nlines"\n4,"a, b"\n'))
    assert data.feature_names == ("size, cm",) and data.class_names == ("a, b", 'say "so"', "two\r\nlines")
    assert data.y is not None and data.y.tolist() == [0, 1, 2, 0]


def test_csv_semicolons_with_commas_in_the_names(csv_file: CsvFile) -> None:
    data = load(csv_file("length, cm;width, cm;kind\n1;2;a\n3;4;b\n"))
    assert data.feature_names == ("length, cm", "width, cm") and data.X.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("content", "target", "features", "names", "classes"),
    [
        ("1,2,a\n3,4,b\n", None, [[1, 2], [3, 4]], None, ("a", "b")),  # text in the last column alone: no header
        ("1,2,0\n3,4,1\n", None, [[1, 2], [3, 4]], None, ("0", "1")),
        ("1,2,y\n3,4,z\n", None, [[1, 2], [3, 4]], None, ("y", "z")),  # y is a class here, no column name
        ("p,q,r\n1,2,a\n3,4,b\n", None, [[1, 2], [3, 4]], ("p", "q"), ("a", "b")),
        ("y,q\n0,1\n1,2\n", None, [[1], [2]], ("q",), ("0", "1")),  # y as a name is the default target
        ("p,Label,q\n1,a,2\n3,b,4\n", None, [[1, 2], [3, 4]], ("p", "q"), ("a", "b")),
        ("p,CLASS,q\n1,a,2\n3,b,4\n", None, [[1, 2], [3, 4]], ("p", "q"), ("a", "b")),
        ("y,label,target\n1,2,a\n3,4,b\n", None, [[1, 2], [3, 4]], ("y", "label"), ("a", "b")),
        ("label,0,1\na,1,2\nb,3,4\n", None, [[1, 2], [3, 4]], ("0", "1"), ("a", "b")),  # pandas numbers its columns
        ("0,1,target\n1,2,a\n3,4,b\n", None, [[1, 2], [3, 4]], ("0", "1"), ("a", "b")),
        ("p,q,r\n1,a,2\n3,b,4\n", "q", [[1, 2], [3, 4]], ("p", "r"), ("a", "b")),
        ("a,1,2\nb,3,4\n", 0, [[1, 2], [3, 4]], None, ("a", "b")),
        ("a,1,2\nb,3,4\n", "0", [[1, 2], [3, 4]], None, ("a", "b")),
        ("a,1,2\nb,3,4\n", "-3", [[1, 2], [3, 4]], None, ("a", "b")),
        ("1,a,2\n3,b,4\n", -2, [[1, 2], [3, 4]], None, ("a", "b")),
        ("p,q,r\n1,a,2\n3,b,4\n", 1, [[1, 2], [3, 4]], ("p", "r"), ("a", "b")),
        ("label,p,0\n1,2,a\n3,4,b\n", "0", [[1, 2], [3, 4]], ("label", "p"), ("a", "b")),  # a name goes first
        ("p,2019,7\n1,a,2\n3,b,4\n", "2019", [[1, 2], [3, 4]], ("p", "7"), ("a", "b")),
        ("2019,2020,kind\n1,2,a\n3,4,b\n", "kind", [[1, 2], [3, 4]], ("2019", "2020"), ("a", "b")),
        ("7,p,kind\n1,2,a\n3,4,b\n", "kind", [[1, 2], [3, 4]], ("7", "p"), ("a", "b")),
    ],
)
def test_csv_header_and_target(
    csv_file: CsvFile, content: str, target: Any, features: Any, names: Any, classes: Any
) -> None:
    data = load(csv_file(content), target)
    assert data.X.tolist() == features and (data.feature_names, data.class_names) == (names, classes)
    assert data.y is not None and data.y.tolist() == [0, 1]


def test_csv_header_can_be_told(csv_file: CsvFile) -> None:
    numbers = csv_file("0,1,2\n3,4,5\n")
    with pytest.raises(ValueError, match=r"line 1: .*got 0, 1, 2, which could be either; header=True or header=False"):
        load(numbers)
    assert load(numbers, header=False).X.tolist() == [[0, 1], [3, 4]]
    assert load(numbers, header=False).feature_names is None
    assert load(numbers, header=True).X.tolist() == [[3, 4]]
    assert load(numbers, header=True).feature_names == ("0", "1")
    mixed = csv_file("id,2019,kind\n1,2,a\n")
    with pytest.raises(ValueError, match=r"data\.csv: line 1, column 1: .*got 'id' among numbers; header=True"):
        load(mixed)
    assert load(mixed, header=True).feature_names == ("id", "2019")
    with pytest.raises(ValueError, match=r"line 1, column 1: expected a finite number, got 'id'"):
        load(mixed, header=False)
    assert load(csv_file("1,target\n2,b\n"), header=False).class_names == ("b", "target")
    with pytest.raises(ValueError, match=r"^target: .*no header.*got 'kind'"):
        load(mixed, "kind", header=False)


def test_csv_first_row_with_a_flaw_is_not_lost_as_a_header(csv_file: CsvFile) -> None:
    for row, column in (("1,?,a", 2), ("1.x,2,a", 1), ("NA,2,a", 1), ("nan,2,a", 1)):
        with pytest.raises(ValueError, match=rf"line 3, column {column}: "):
            load(csv_file(f"\n\n{row}\n3,4,b\n"))
    with pytest.raises(ValueError, match=r"line 1, column 2: expected a finite number, got ''"):
        load(csv_file("1,,a\n3,4,b\n"))


@pytest.mark.parametrize(
    ("labels", "classes", "y"),
    [
        ("b a c a", ("a", "b", "c"), [1, 0, 2, 0]),
        ("10 9 2 10", ("2", "9", "10"), [2, 1, 0, 2]),
        ("1.5 -2 1e3 .5", ("-2", ".5", "1.5", "1e3"), [2, 0, 3, 1]),
        ("1.0 0 1 0.0", ("0", "1.0"), [1, 0, 1, 0]),  # one class, named as first met
        ("9007199254740993 9007199254740992 007 7", ("007", "9007199254740992", "9007199254740993"), [2, 1, 0, 0]),
        ("10 9 two inf", ("10", "9", "inf", "two"), [0, 1, 3, 2]),  # one text makes all text
        ("10 9 inf 9", ("10", "9", "inf"), [0, 1, 2, 1]),
        ("1_0 2 1_0 2", ("1_0", "2"), [0, 1, 0, 1]),
    ],
)
def test_csv_classes_are_sorted(csv_file: CsvFile, labels: str, classes: tuple[str, ...], y: list[int]) -> None:
    data = load(csv_file("x,label\n" + "".join(f"0,{label}\n" for label in labels.split())))
    assert data.class_names == classes and data.y is not None and data.y.tolist() == y


def test_csv_without_labels(csv_file: CsvFile) -> None:
    data = load(csv_file("1,2\n3,4\n"), labelled=False)
    assert data.X.tolist() == [[1, 2], [3, 4]] and (data.y, data.class_names, data.feature_names) == (None, None, None)
    data = load(csv_file("p,y\n1,2\n3,4\n"), labelled=False)
    assert data.X.tolist() == [[1, 2], [3, 4]] and data.y is None and data.feature_names == ("p", "y")
    assert load(csv_file("\np\n1\n2\n\n"), labelled=False).X.tolist() == [[1], [2]]
    assert load(csv_file("7\n8\n"), labelled=False).X.tolist() == [[7], [8]]
    data = load(csv_file("p,k\n1,a\n3,b\n"), "k", labelled=False)  # a target that is asked for is read
    assert data.X.tolist() == [[1], [3]] and data.y is not None and data.y.tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"line 2, column 2 \('k'\): expected a finite number, got 'a'"):
        load(csv_file("p,k\n1,a\n3,b\n"), labelled=False)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("", "expected rows of numbers, got an empty file"),
        ("\n \n\r\n", "expected rows of numbers, got an empty file"),
        ("p,q,kind\n", "expected rows of data .*got none"),
        ("p,q,kind\n1,2,a\n1,b\n", "line 3: expected 3 columns, got 2"),
        ("p,q,kind\n1,2,a\n\n1,2,3,b\n", "line 4: expected 3 columns, got 4"),
        ("p,q,kind\n1,2\n", "line 2: expected 3 columns, got 2"),
        ("p,q,kind\n1,2,a\n3,four,b\n", r"line 3, column 2 \('q'\): expected a finite number, got 'four'"),
        ("1,2,a\n3,4,b\nx,6,c\n", "line 3, column 1: expected a finite number, got 'x'"),
        ("p,q,kind\n1,,a\n", r"line 2, column 2 \('q'\): expected a finite number, got ''"),
        ("p,q,kind\n1, ,a\n", r"line 2, column 2 \('q'\): expected a finite number, got ''"),
        ("p,q,kind\n1,NaN,a\n", r"line 2, column 2 \('q'\): expected a finite number, got 'NaN'"),
        ("p,q,kind\n1,-inf,a\n", r"line 2, column 2 \('q'\): expected a finite number, got '-inf'"),
        ("p,q,kind\n1,1e999,a\n", r"line 2, column 2 \('q'\): expected a finite number, got '1e999'"),
        ("p,q,kind\n1,1_000,a\n", r"line 2, column 2 \('q'\): expected a finite number, got '1_000'"),
        ("p,q,kind\n1,2,\n", r"line 2, column 3 \('kind'\): expected a target in each row, got ''"),
        ("p,q,kind\n1,2,NaN\n", r"line 2, column 3 \('kind'\): expected a target in each row, got 'NaN'"),
        ("1\n2\n", "expected a feature column beside the target, got 1 column"),
        ('p,kind\n1,"a\n2,b\n3,c\n', "line 4: expected well-formed CSV"),
        ('p,kind\n1,"a"b\n', "line 2: expected well-formed CSV"),
        (b"p,kind\n1,\xff\n", "expected UTF-8 text"),
        (gzip.compress(PLAIN.encode(), mtime=0)[:-9], "expected complete gzip data"),
        (gzip.compress(PLAIN.encode(), mtime=0)[:-1] + b"\x01", "expected complete gzip data"),
    ],
)
def test_csv_refuses(csv_file: CsvFile, content: str | bytes, named: str) -> None:
    with pytest.raises(ValueError, match=rf"data\.csv: ({named})"):
        load(csv_file(content))


def test_csv_names_the_column_behind_the_target(csv_file: CsvFile) -> None:
    with pytest.raises(ValueError, match=r"line 3, column 3 \('q'\): expected a finite number, got 'z'"):
        load(csv_file("p,kind,q\n1,a,2\n3,b,z\n"), "kind")
    with pytest.raises(ValueError, match=r"line 3, column 1 \('p'\): expected a finite number, got 'z'"):
        load(csv_file("p,kind,q\n1,a,2\nz,b,3\n"), "kind")


@pytest.mark.parametrize(
    ("target", "named"),
    [
        ("colour", r"expected a column of .*data\.csv \(columns 'p', 'q', 'r'\), got 'colour'"),
        ("P", "expected a column of .*got 'P'"),
        ("", "expected a column of .*got ''"),
        (3, "expected a position from -3 to 2 .*got 3"),
        (-4, "expected a position from -3 to 2 .*got -4"),
        ("3", "expected a position from -3 to 2 .*got '3'"),
        ("-4", "expected a position from -3 to 2 .*got '-4'"),
    ],
)
def test_csv_refuses_a_target_that_is_not_there(csv_file: CsvFile, target: Any, named: str) -> None:
    with pytest.raises(ValueError, match=f"^target: {named}"):
        load(csv_file("p,q,r\n1,2,3\n"), target)


def test_csv_wider_than_a_field_may_be_long(csv_file: CsvFile) -> None:
    # Under a wrong delimiter the whole line is one field, beyond the csv module's 131,072 characters.
    row = ",".join([f"0.125{'0' * 20}"] * 6000)
    assert load(csv_file(f"{row}\n{row}\n"), labelled=False).X.shape == (2, 6000)


def test_csv_sums_that_overflow_are_no_fault(csv_file: CsvFile) -> None:
    assert load(csv_file("1e308,1e308,a\n-1e308,1,b\n")).X.tolist() == [[1e308, 1e308], [-1e308, 1]]


def test_csv_with_more_texts_than_are_remembered(csv_file: CsvFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_reader._Numbers, "most", 3)
    rows = [[i // 2, -i / 7] for i in range(10)]
    content = "".join(f"{a!r},{b!r},k\n" for a, b in rows)
    assert load(csv_file(content)).X.tolist() == rows
    with pytest.raises(ValueError, match="line 11, column 2: expected a finite number, got '1_0'"):
        load(csv_file(content + "10,1_0,k\n"))


finite = st.floats(allow_nan=False, allow_infinity=False)
texts = (
    st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1)
    .map(str.strip)
    .filter(lambda text: text.lower() not in ("", "nan"))
)


@given(
    rows=st.integers(1, 3).flatmap(
        lambda width: st.lists(
            st.tuples(st.lists(finite, min_size=width, max_size=width), texts), min_size=1, max_size=8
        )
    ),
    delimiter=st.sampled_from(",;\t"),
)
@settings(max_examples=100, deadline=None)
def test_csv_brings_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[list[float], str]], delimiter: str
) -> None:
    file = tmp_path_factory.getbasetemp() / "round.csv"
    width = len(rows[0][0])
    lines = [delimiter.join(['"class"', *(f"f{i}" for i in range(width))])]
    for features, label in rows:
        lines.append(delimiter.join(['"' + label.replace('"', '""') + '"', *map(repr, features)]))
    file.write_text("\r\n".join(lines), encoding="utf-8", newline="")
    data = load(file, missing=())
    assert np.array_equal(data.X, np.array([features for features, _ in rows]))
    assert data.feature_names == tuple(f"f{i}" for i in range(width))
    assert data.y is not None and data.class_names is not None
    for code, (_, label) in zip(data.y, rows, strict=True):
        assert data.class_names[code] == label or float(data.class_names[code]) == float(label)
