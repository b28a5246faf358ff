"""Tables from CSV files: columns of numbers and text with gaps, headers, and what is refused or remarked."""

from __future__ import annotations

import csv
import gzip
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastbp.datasets.dataset import Content, ReadError
from fastbp.tables import files
from fastbp.tables.files import TableData, read_table

RNG = np.random.default_rng(0)
TOWNS = ("Rome", "Paris", "Oslo")
PEOPLE: list[list[Any]] = [
    [age or "", town, sex, member, f"{income:.2f}"]
    for age, town, sex, member, income in zip(
        RNG.integers(0, 6, 40) * 11, RNG.choice([*TOWNS, ""], 40), RNG.choice(["f", "m"], 40),
        RNG.choice(["true", "false"], 40), RNG.normal(3e4, 5e3, 40), strict=True,
    )
]  # fmt: skip
NAMES = ["age", "town", "sex", "member", "income"]


def people(order: Sequence[int] = range(5), header: bool = True, delimiter: str = ",", rows: int = 40) -> str:
    """A file of some columns."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerows([NAMES[i] for i in order] for _ in range(header))
    writer.writerows([row[i] for i in order] for row in PEOPLE[:rows])
    return text.getvalue()


def read(content: str, **options: Any) -> TableData:
    return read_table(Content("rows", content.encode()), **options)


def values(array: Any) -> list[Any]:
    """A column as Python's values, None where one is missing."""
    assert array.dtype == np.float64 or (array.dtype == object and not set(map(type, array)) - {str, type(None)})
    return [None if value != value else value for value in array.tolist()]


def expected(at: int) -> list[Any]:
    column = [row[at] for row in PEOPLE]
    if at in (0, 4):
        return [None if value == "" else float(value) for value in column]
    return [None if value == "" else value.title() if at == 3 else value for value in column]


# ---- what is read ----


@pytest.mark.parametrize("target", range(5))
@pytest.mark.parametrize("header", [True, False])
def test_people(target: int, header: bool) -> None:
    order = [*(i for i in range(5) if i != target), target]
    if target < 2:  # these have gaps
        with pytest.raises(
            ReadError, match=r"rows: line \d+, column 5.*: expected a target in each row, got '', a miss"
        ):
            read(people(order, header))
        return
    data = read(people(order, header))
    assert [values(array) for array in data.columns.arrays] == [expected(i) for i in order[:-1]]
    assert values(data.target) == expected(target)
    assert data.columns.names == (tuple(NAMES[i] for i in order[:-1]) if header else None)
    assert (data.target_name, data.remarks) == (NAMES[target] if header else None, ())


@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz", "rows.TSV", "rows.tsv.gz"])
def test_files(tmp_path: Path, name: str) -> None:
    text = people(delimiter="\t" if "tsv" in name.lower() else ",").encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    assert values(read_table(tmp_path / name).columns.arrays[1]) == expected(1)
    assert values(read_table(Content("standard input", (tmp_path / name).read_bytes())).target) == expected(4)
    with pytest.raises(FileNotFoundError, match="there is nothing at"):
        read_table(tmp_path / "gone.csv")


def test_all_that_decides_the_kind_of_a_column() -> None:
    data = read(
        'a,b,c,d,e,f,y\n1,inf,x,TRUE,1,,1\n?, -Infinity ,"y, z",false,NA,,2\n2e3,4.5,,True,x,-,3\n', header=True
    )
    assert [values(array) for array in data.columns.arrays] == [
        [1, None, 2000], [math.inf, -math.inf, 4.5], ["x", "y, z", None], ["True", "False", "True"], ["1", None, "x"],
        [None] * 3,
    ]  # fmt: skip
    assert values(data.target) == [1, 2, 3]


def test_text_that_comes_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "ROWS_AT_ONCE", 3)
    rows = [f"{i},{'x' if i == 7 else i},{i / 4}" for i in range(10)]
    data = read("a,b,c\n" + "\n".join(rows))
    assert values(data.columns.arrays[1]) == [*map(str, range(7)), "x", "8", "9"]
    assert values(data.columns.arrays[0]) == list(range(10)) and values(data.target) == [i / 4 for i in range(10)]


def test_columns_as_a_model_takes_them() -> None:
    text = "code,size,kind\n1,2,x\n2,?,y\n1,3.5,x\n"
    data = read(text, text=[0], numeric=[1])
    assert [values(array) for array in data.columns.arrays] == [["1", "2", "1"], [2, None, 3.5]]
    with pytest.raises(ReadError, match=r"line 3, column 2 \('size'\): expected a number, as .*got 'wide'; missing="):
        read("code,size,kind\n1,2,x\n2,wide,y\n1,3,x\n", numeric=[1])
    with pytest.raises(ReadError, match=r"line 3, column 2 .*got '2,5'; decimal=',' reads it as 2.5"):
        read("code;size;kind\n1;2;x\n2;2,5;y\n1;3;x\n", numeric=[1])
    data = read("kind,more,size,code\nx,z,2,1\n", labelled=False, features=("code", "size"), text=[0])
    assert data.columns.names == ("code", "size") and data.unused == ("kind", "more") and data.target is None
    assert [values(array) for array in data.columns.arrays] == [["1"], [2]]
    with pytest.raises(ValueError, match="rows: got no column named 'height', expected all"):
        read("size\n2\n", labelled=False, features=("height", "size"))


def test_missing_values_of_ones_own() -> None:
    data = read("a,b,y\n-999,x,1.5\n3,-999.0,2\n4,NA,3\n", missing=["-999"], header=True)
    assert [values(array) for array in data.columns.arrays] == [[None, 3, 4], ["x", None, "NA"]]
    data = read("a,b,y\n1,x,nan\n2,y,z\n3,,w\n", missing=[], header=True)
    assert values(data.target) == ["nan", "z", "w"] and values(data.columns.arrays[1]) == ["x", "y", None]


# ---- headers ----


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("town,sex,kind\n" + "Rome,f,x\nRome,m,y\nParis,f,x\n" * 3, True),
        ("Rome,f,x\nRome,m,y\nParis,f,x\n" * 3, False),
        ("name,2019,2020\nAnna,1,2\nBob,3,4\nEve,5,6\n", None),
        ("name,2019,2021,2023\nAnna,1,2,1\nBob,3,4,1\nEve,5,6,1\n", False),  # read with numbers as they come
        ("name,2019\nAnna,1.5\nBob,2.5\nEve,3.5\n", None),
        ("name,age,2020\nAnna,1,2\nBob,3,4\nEve,5,6\n", None),
        ("Anna,31,4.5\nBob,33,5.5\nEve,36,6.5\n", False),
        ("Anna,31,4,x\nBob,33,5,y\nEve,36,6,z\n", False),
        ("name,age,y\nAnna,31,y\nBob,33,n\nEve,36,y\n", None),
        ("name,age,kind\nAnna,31,x\nBob,33,y\nEve,36,z\n", True),
        ("name,label\nAnna,x\nBob,y\n", True),
        ("Anna,x\nBob,y\nEve,z\nJoe,w\n", None),
        ("Anna,3,x\n", False),
    ],
)
def test_headers(text: str, named: bool | None) -> None:
    rows = text.count("\n")
    if named is None:
        with pytest.raises(ReadError, match="line 1: .*which could be either; header=True or header=False says which"):
            read(text)
        for header in (True, False):
            assert read(text, header=header).columns.rows == rows - header
    else:
        assert read(text).columns.rows == rows - named
        assert (read(text).columns.names is not None) == named


def test_headers_of_numbers_are_judged_as_load_does() -> None:
    with pytest.raises(ReadError, match="could be either"):
        read("0,1,2\n3,,5\n4,5,6\n")
    assert read("a,b,y\n3,,5\n4,5,6\n").columns.names == ("a", "b")
    assert read("3.5,,x\n4,5,y\n5,6,x\n4,5,y\n3,3,x\n").columns.names is None


# ---- what is refused, and remarked on ----


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("a,b,y\n1,x,3\n2,y,\n", {}, r"column 3 \('y'\): expected a target in each row, got '', a missing value$"),
        ("a,b,y\n1,x,p\n2,y,NA\n", {}, r"line 3, column 3 \('y'\): .*got 'NA', a missing value; missing=\(\) takes it"),
        ("a,b,y\n1,x,3\n2,y,-inf\n", {}, r"line 3, column 3 \('y'\): expected a finite number .*got '-inf'"),
        ("a,b,y\n1,x,3\n2,y\n", {}, "line 3: expected 3 columns, got 2"),
        ("a;b;y\n1,5;x;3\n2;y;4\n", {}, r"line 2, column 1 .* mark '\.', got '1,5'; decimal=',' reads it as 1.5"),
        ("a;b;y\n1,5;x;3\n2.5;y;4\n2.5;y;4\n", {"decimal": ","}, None),
        ("a;b;y\n1;x;3\n2.5;y;4\n2.5;y;4\n", {"decimal": ","}, r"got '2\.5'; decimal='\.' reads it as 2\.5"),
        ("a;b;y\n1,5;x;3\n2;y;4,5\n", {"decimal": ","}, None),
        ("a,b,y\n", {}, "expected rows of data under the header, got none; header=False takes it for a row"),
        ("a,b,y\n", {"header": True}, "expected rows of data under the header, got none$"),
        ("a,a,y\n1,x,3\n2,y,4\n", {}, "2 columns named 'a'"),
        ("a,b,y\n1,x,3\n2,y,4\n", {"target": "z"}, "^target: expected a column of rows .*, got 'z'"),
    ],
)  # fmt: skip
def test_what_is_refused(text: str, options: Any, said: str | None) -> None:
    if said is None:
        assert read(text, **options).columns.rows
        return
    with pytest.raises(ValueError, match=said):
        read(text, **options)


def test_remarks() -> None:
    rows = [f"{i},n{i},{i % 7},{['x', 'y'][i % 2]}" for i in range(40)]
    data = read("id,name,size,kind\n" + "\n".join(rows))
    assert list(map(str, data.remarks)) == [
        "rows: column 'id' numbers the rows, and is a feature: that misleads if it only tells rows apart; drop=('id',) "
        "leaves it out",
        "rows: column 'name' holds another text in nearly every row, which says nothing about new ones; "
        "drop=('name',) leaves it out",
    ]
    rows[9] = "9,?,about 3,x"
    (remark,) = read("id,name,size,kind\n" + "\n".join(rows), drop=["id", "name"]).remarks
    assert str(remark) == (
        "rows: line 11, column 3 ('size'): got 'about 3' in a column of numbers, which was therefore taken for text; "
        "missing=('about 3',) takes it for missing"
    )
    assert read("id,name,size,kind\n" + "\n".join(rows), labelled=False, features=("name",)).remarks == ()


def test_the_missing_texts_that_a_remark_names_are_all_of_the_file() -> None:
    rows = [f"{i % 9},{'?' if i == 3 else i % 5 / 2},{['x', 'y'][i % 2]}" for i in range(40)]
    rows[30] = "unknown,1,x"
    (remark,) = read("size,more,kind\n" + "\n".join(rows)).remarks
    assert remark.choices == ({"missing": ("unknown", "?")},)
