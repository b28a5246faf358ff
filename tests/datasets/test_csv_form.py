"""Tests of what is guessed about CSV files: header, delimiter, target, index; of what is refused, and of saying it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastbp.datasets import Dataset, load
from fastbp.datasets.dataset import ReadError, Remark

CsvFile = Callable[..., Path]


@pytest.fixture
def csv_file(tmp_path: Path) -> CsvFile:
    def write(content: str, encoding: str = "utf-8") -> Path:
        file = tmp_path / "data.csv"
        file.write_bytes(content.encode(encoding))
        return file

    return write


def points(rows: int = 40, header: str = "width,height,kind", labels: tuple[str, ...] = ("bad", "good")) -> str:
    """A table of two features, which a rule on the first turns into two classes."""
    rng = np.random.default_rng(0)
    lines = [header] if header else []
    for x, y in rng.normal(size=(rows, 2)).round(3) + 0.0004:  # no whole number among them
        lines.append(f"{x:.4f},{y:.4f},{labels[int(x < 0)]}")
    return "\n".join(lines) + "\n"


def remarked(file: Path, *said: str, **told: Any) -> Dataset:
    """Load a file of which the words must be remarked."""
    with pytest.warns(UserWarning) as caught:
        data = load(file, **told)
    text = " ".join(str(warning.message) for warning in caught)
    for word in said:
        assert word in text
    return data


# ---- header ----


def test_a_header_of_numbers_above_fractions(csv_file: CsvFile) -> None:
    data = remarked(csv_file(points(header="0,1,2", labels=("0", "1"))), "line 1 holds 0, 1", "header=False")
    assert data.X.shape == (40, 2) and data.class_names == ("0", "1") and data.feature_names == ("0", "1")
    data = remarked(csv_file("0,1,2\n1,1.5,0\n2,2.5,1\n"), "column 2 holds fractions")  # one column is enough
    assert data.X.tolist() == [[1, 1.5], [2, 2.5]]


@pytest.mark.parametrize("content", ["0,1,2\n3,4,5\n", "0,1\n5,0\n6,1\n", "0,1,2\n1.5,4,0\n2,5,1\n", "0\n1\n2\n"])
def test_a_first_row_of_0_1_2_that_could_be_either(csv_file: CsvFile, content: str) -> None:
    width = content.index("\n") // 2 + 1
    file, labelled = csv_file(content), width > 1
    with pytest.raises(ReadError, match=r"line 1: .*could be either; header=True or header=False says which it is"):
        load(file, labelled=labelled)
    rows = content.count("\n")
    assert len(load(file, labelled=labelled, header=True).X) == rows - 1
    assert len(load(file, labelled=labelled, header=False).X) == rows


def test_the_header_of_a_frame_with_its_index(csv_file: CsvFile) -> None:
    data = remarked(csv_file(",0,1,2\n0,5,6,0\n1,7,8,1\n"), "has no name")
    assert data.X.tolist() == [[5, 6], [7, 8]] and data.feature_names == ("0", "1")


@pytest.mark.parametrize(
    "content",
    [
        "0,1\n0.025,1\n0.05,0\n0.075,1\n",  # its class comes again
        "0,1,2\n0.1,0.2,1\n0.3,0.4,2\n0.5,0.6,1\n",
        "1,2,3\n3,-5,1\n7,8,0\n5,5,1\n2,2,0\n",  # its class does not, and all others do
        "2019,2020,2021\n3,-5,1\n7,8,0\n5,5,1\n2,2,0\n",
        "400.5,401.0,402.5\n3,-5.5,1\n7,8,0\n5,5,1\n2,2,0\n",
        "0,1,y\n3,-5,n\n7,8,x\n5,5,n\n2,2,x\n",
        "0.1,0.2,class\n0.3,0.4,sex\n",  # a word of headers among numbers
    ],
)
def test_numbers_that_may_be_names_or_a_row(csv_file: CsvFile, content: str) -> None:
    file, rows = csv_file(content), content.count("\n")
    with pytest.raises(ReadError, match="header=True or header=False"):
        load(file)
    assert len(load(file, header=True).X) == rows - 1
    assert len(load(file, header=False).X) == rows


def test_rows_that_begin_with_0_1(csv_file: CsvFile) -> None:
    assert load(csv_file("0,1,a\n3,4,b\n5,6,a\n")).X.tolist() == [[0, 1], [3, 4], [5, 6]]  # a comes again
    for content in ("0\n0.025\n0.05\n", "0,1\n0.025,0.9\n0.05,0.8\n"):  # x, and x with its cosine
        with pytest.raises(ReadError, match="could be either"):
            load(csv_file(content), labelled=False)


def test_some_names_of_a_model_in_the_first_row(csv_file: CsvFile) -> None:
    with pytest.raises(ReadError, match=r"the names of the model's columns or a row of data, got '2020'"):
        load(csv_file("2020,2018\n5,7\n"), labelled=False, features=("2019", "2020"))
    with pytest.raises(ValueError, match="got no column named 'b'"):
        load(csv_file("a,7\n5,7\n"), labelled=False, features=("a", "b"))


def test_years_over_their_columns(csv_file: CsvFile) -> None:
    rows = "".join(f"{i}.5,{i}.25,{'ab'[i % 2]}\n" for i in range(6))
    with pytest.raises(ReadError, match="whole numbers above fractions, which could be either; header=True"):
        load(csv_file("2019,2020,kind\n" + rows))
    assert load(csv_file("2019,2020,a\n" + rows)).X.shape == (7, 2)  # a class that comes again: a row
    assert load(csv_file("2019,2020,kind\n" + rows), "kind").X.shape == (6, 2)


def test_a_class_that_only_the_first_row_has(csv_file: CsvFile) -> None:
    rows = "1,2,a\n3,4,b\n5,6,a\n7,8,b\n"
    with pytest.raises(ReadError, match="'kind', which is a name or a class of a single row; header=True or"):
        load(csv_file("2019,2020,kind\n" + rows))
    assert load(csv_file("2019,2020,kind\n" + rows), header=True).feature_names == ("2019", "2020")
    assert load(csv_file("2019,2020,kind\n" + rows), header=False).class_names == ("a", "b", "kind")


def test_names_that_are_numbers_are_known_by_those_of_a_model(csv_file: CsvFile) -> None:
    data = load(csv_file("1,0\n5,6\n7,8\n"), labelled=False, features=("0", "1"))
    assert data.X.tolist() == [[6, 5], [8, 7]]


def test_two_columns_of_one_name(csv_file: CsvFile) -> None:
    with pytest.raises(ValueError, match=r"line 1: got 2 columns named 'kind', expected names that differ"):
        load(csv_file("width,kind,kind\n1,0,0\n2,1,1\n"))
    with pytest.raises(ValueError, match=r"line 1: got 2 columns without a name"):
        load(csv_file(",,kind\n1.5,0,0\n2,1,1\n"), header=True)


def test_only_columns_that_are_used_need_names_that_differ(csv_file: CsvFile) -> None:
    file = csv_file("w,h,n,n,,\n1,2,x,x,,\n3,4,y,y,,\n")
    assert load(file, labelled=False, features=("h", "w")).X.tolist() == [[2, 1], [4, 3]]
    with pytest.raises(ReadError, match=r"2 columns named 'n', .*; drop=\(3,\) leaves one of them out"):
        load(file, "w")
    assert load(file, "w", drop=[2, 3, 4, 5]).X.tolist() == [[2], [4]]
    with pytest.raises(ValueError, match="more than one column named 'n'"):
        load(file, labelled=False, features=("w", "n"))


# ---- delimiter and decimal mark ----

COMMAS = "1,3;0\n0,1;1\n-1,1;0\n-1,0;1\n0,2;1\n"


def test_two_delimiters_that_cut_evenly(csv_file: CsvFile) -> None:
    file = csv_file(COMMAS)
    with pytest.raises(ReadError) as refused:
        load(file)
    for words in ("2 columns cut at ',' or 2 columns cut at ';'", "delimiter=',' decimal='.'",
                  "delimiter=';' decimal=','"):  # fmt: skip
        assert words in str(refused.value)
    for told in ({"delimiter": ";", "decimal": ","}, {"decimal": ","}):
        data = load(file, **told)  # type: ignore[arg-type]
        assert data.X.tolist() == [[1.3], [0.1], [-1.1], [-1.0], [0.2]] and data.class_names == ("0", "1")
    assert load(file, delimiter=",").class_names == ("0;1", "1;0", "1;1", "2;1", "3;0")


def test_a_decimal_comma_is_never_guessed(csv_file: CsvFile) -> None:
    file = csv_file("a;b;kind\n1,5;2;x\n3,5;4;y\n")
    with pytest.raises(ReadError, match=r"line 2, column 1 \('a'\): .*got '1,5'; decimal=',' reads it as 1\.5"):
        load(file)
    assert load(file, decimal=",").X.tolist() == [[1.5, 2], [3.5, 4]]
    quoted = csv_file('a,b,kind\n"1,5",2,x\n"3,5",4,y\n')
    assert load(quoted, decimal=",").X.tolist() == [[1.5, 2], [3.5, 4]]
    with pytest.raises(ValueError, match=r"expected a finite number, got '1\.500'"):  # thousands?
        load(csv_file("a;b\n1.500;x\n"), decimal=",")


def test_a_number_with_a_comma_is_no_name(csv_file: CsvFile) -> None:
    file = csv_file('cat,"0,5"\ndog,0\ncat,1\ndog,2\n')
    with pytest.raises(ReadError, match=r"line 1, column 2: expected a finite number, got '0,5'"):
        load(file, 0)
    assert load(file, 0, decimal=",").X.tolist() == [[0.5], [0], [1], [2]]


@pytest.mark.parametrize(
    ("content", "class_names"),
    [
        ("1.5,2,a;b\n3,4,c;d\n", ("a;b", "c;d")),  # of what semicolons cut, nothing is a number
        ('1.5,"x;1"\n2.5,"y;2"\n', ("x;1", "y;2")),  # of quotes, only commas make sense
        ("1.5;2;a,b\n3;4;c,d\n", ("a,b", "c,d")),
        ("1.5\t2\ta,b\n3\t4\tc,d\n", ("a,b", "c,d")),
    ],
)
def test_delimiters_within_classes(csv_file: CsvFile, content: str, class_names: tuple[str, ...]) -> None:
    assert load(csv_file(content)).class_names == class_names


def test_text_over_several_lines_may_be_long(csv_file: CsvFile) -> None:
    long = "line\n" * 9
    rows = "".join(f'{i}.5,"{long}{"ab"[i % 2]}"\n' for i in range(30))
    assert load(csv_file(rows)).X.shape == (30, 1)


def test_a_delimiter_of_ones_own(csv_file: CsvFile) -> None:
    assert load(csv_file("a|kind\n1|x\n2|y\n"), delimiter="|").feature_names == ("a",)
    for delimiter in ("", ";;", '"', "\n", 3):
        with pytest.raises(ValueError, match="^delimiter: expected one character"):
            load(csv_file("a,b\n"), delimiter=delimiter)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^decimal: expected '\.' or ',', got ';'"):
        load(csv_file("a,b\n"), decimal=";")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_that_say_what_they_are(csv_file: CsvFile, encoding: str) -> None:
    data = load(csv_file("größe,art\n1,été\n2,夏\n", encoding))
    assert (data.feature_names, data.class_names) == (("größe",), ("été", "夏"))


def test_other_encodings_are_refused(csv_file: CsvFile) -> None:
    with pytest.raises(ValueError, match=r"data\.csv: expected UTF-8 text, got other bytes"):
        load(csv_file("größe,art\n1,a\n2,b\n", "latin-1"))
    with pytest.raises(ValueError, match=r"data\.csv: expected UTF-8 text, got other bytes"):
        load_cut = csv_file("a,b\n1,x\n", "utf-16")
        load_cut.write_bytes(load_cut.read_bytes()[:-1])
        load(load_cut)


def test_the_delimiter_that_a_spreadsheet_writes_first(csv_file: CsvFile) -> None:
    data = load(csv_file("sep=;\na;b;kind\n1;2;x\n3;4;y\n"))
    assert data.X.tolist() == [[1, 2], [3, 4]] and data.feature_names == ("a", "b")
    with pytest.raises(ValueError, match="line 3, column 1"):
        load(csv_file("sep=|\na|kind\n?|x\n"))


def test_words_that_lead_on(csv_file: CsvFile) -> None:
    with pytest.raises(ReadError, match=r"got 1 column \(delimiter ','\); delimiter=' ' cuts the lines at spaces"):
        load(csv_file("1 2 a\n3 4 b\n"))
    with pytest.raises(ReadError, match="got 'bad' among numbers; header=True or header=False or target=0 says"):
        load(csv_file("bad,1,2\ngood,3,4\n"))
    with pytest.raises(ReadError, match=r"got 'Mazda'; drop=\(0,\) leaves the column out"):
        load(csv_file(",w,kind\nMazda,1,a\nFiat,2,b\n"))
    with pytest.raises(
        ReadError, match="line 1, column 1: .*got 'Na', a missing value; header=True takes the line for"
    ):
        load(csv_file("Na,2,kind\n1,2,a\n2,3,b\n"))
    with pytest.raises(ReadError, match=r"got '2,826'; decimal=',' reads it as 2\.826"):  # thousands? the reader sees
        load(csv_file("w;kind\n2,826;a\n3,048;b\n"))
    assert load(csv_file("label\n1\n2\n"), labelled=False).feature_names == ("label",)
    assert load(csv_file("w\n0,5\n1,5\n"), labelled=False, decimal=",").X.tolist() == [[0.5], [1.5]]


# ---- missing values ----


@pytest.mark.parametrize("gap", ['""', " ", ""])
def test_a_gap_in_a_file_of_one_column_is_a_row(csv_file: CsvFile, gap: str) -> None:
    with pytest.raises(ReadError, match=r"line 3, column 1 \('w'\): expected a finite number, got '', a missing value"):
        load(csv_file(f"w\n1\n{gap}\n3\n"), labelled=False)
    assert load(csv_file("w\n1\n3\n\n\n"), labelled=False).X.tolist() == [[1], [3]]


@pytest.mark.parametrize("text", ["NA", "?", "None", "null", "N/A", "-", "<NA>", "nan", "NaN", "#N/A", "na", ""])
def test_missing_values_are_refused_in_classes_and_features_alike(csv_file: CsvFile, text: str) -> None:
    with pytest.raises(
        ReadError, match=r"line 3, column 2 \('kind'\): expected a target in each row, got .*, a missing value"
    ):
        load(csv_file(f"width,kind\n1,good\n2,{text}\n"))
    with pytest.raises(ReadError, match=r"line 3, column 1 \('width'\): .* number, got .*, a missing value$"):
        load(csv_file(f"width,kind\n1,good\n{text},bad\n"))


def test_a_class_called_none(csv_file: CsvFile) -> None:
    file = csv_file("width,kind\n1,None\n2,some\n")
    with pytest.raises(ReadError, match=r"got 'None', a missing value; missing=\(\) takes it for a class"):
        load(file)
    for missing in ((), ["NA"], {"?"}):
        assert load(file, missing=missing).class_names == ("None", "some")  # type: ignore[arg-type]
    with pytest.raises(ReadError, match="expected a target in each row, got '', a missing value$"):
        load(csv_file("width,kind\n1,\n2,some\n"), missing=())


def test_missing_values_of_ones_own(csv_file: CsvFile) -> None:
    for row in ("-999,a", " -999 ,a", "1,-999", "-999.0,a", "1,-999.00"):
        with pytest.raises(ReadError, match="line 3, column [12] .*got '-999.*', a missing value"):
            load(csv_file(f"width,kind\n1,b\n{row}\n"), missing=["-999"])
    for missing, error in (("NA", TypeError), ([1], TypeError), (3, TypeError)):
        with pytest.raises(error, match="^missing: expected a sequence of texts"):
            load(csv_file("a,b\n1,x\n"), missing=missing)  # type: ignore[arg-type]


def test_a_row_of_gaps_is_no_header(csv_file: CsvFile) -> None:
    with pytest.raises(ReadError, match="line 1, column 1: .*got 'NA', a missing value"):
        load(csv_file("NA,NA,x\n1,2,y\n"))


# ---- indexes ----


@pytest.mark.parametrize("name", ["", "Unnamed: 0"])
@pytest.mark.parametrize("index", [range(40), range(7, 47), list(np.random.default_rng(0).permutation(90)[:40])])
def test_an_index_without_a_name_is_left_out(csv_file: CsvFile, name: str, index: Any) -> None:
    header, *rows = points().splitlines()
    file = csv_file("\n".join([f"{name},{header}", *(f"{i},{row}" for i, row in zip(index, rows, strict=True))]))
    data = remarked(file, "the first column has no name and only numbers the rows: it was left out", "drop=() keeps it")
    assert data.feature_names == ("width", "height") and data.X.shape == (40, 2) and data.unused == (name,)
    plain = load(csv_file(points()))
    np.testing.assert_array_equal(data.X, plain.X)


def test_an_index_may_be_kept(csv_file: CsvFile) -> None:
    rows = ",p,kind\n3,1,a\n9,2,b\n"
    assert load(csv_file(rows), drop=()).X.tolist() == [[3, 1], [9, 2]]
    data = remarked(csv_file(",p,kind\n3,1,a\n3,2,b\n"), "has no name and was taken for a feature", "drop=(0,)")
    assert data.X.tolist() == [[3, 1], [3, 2]]  # of two frames, say, one below the other
    with pytest.raises(ValueError, match="expected a feature column beside the target"):
        load(csv_file(",kind\n0,a\n1,b\n"), header=True)
    with pytest.raises(ReadError, match=r"line 2, column 1 \(''\): expected a finite number, got 'x'"):
        load(csv_file(",p,kind\nx,1,a\ny,2,b\n"))


def test_what_numbers_the_rows_under_a_name_is_warned_of(csv_file: CsvFile) -> None:
    header, *rows = points().splitlines()
    shuffled = np.random.default_rng(0).permutation(40)
    for name, ids in (("id", range(40)), ("whatever", range(1, 41)), ("id", shuffled), ("user_id", shuffled**2)):
        file = csv_file("\n".join([f"{name},{header}", *(f"{i},{row}" for i, row in zip(ids, rows, strict=True))]))
        data = remarked(file, f"column {name!r}", "is a feature", f"drop=({name!r},) leaves it out")
        assert data.feature_names == (name, "width", "height")
        assert load(file, drop=[name]).feature_names == ("width", "height")
    for name, values in (("grid", shuffled**2), ("id", shuffled // 2), ("id", shuffled + 0.5)):
        file = csv_file("\n".join([f"{name},{header}", *(f"{i},{row}" for i, row in zip(values, rows, strict=True))]))
        assert load(file).X.shape == (40, 3)  # and no warning
    file = csv_file("\n".join(f"{i},{row}" for i, row in enumerate(rows)))
    assert remarked(file, "column 1 numbers the rows", "drop=(0,)").feature_names is None
    assert load(file, drop=[0]).X.shape == (40, 2)


def test_columns_to_drop(csv_file: CsvFile) -> None:
    file = csv_file("a,town,b,kind\n1,north,2,x\n3,south,4,y\n")
    with pytest.raises(
        ReadError, match=r"column 2 \('town'\): .*got 'north'; target='town' or drop=\('town',\) says that"
    ):
        load(file)
    for drop in (["town"], [1], ["1"], (-3,)):
        data = load(file, drop=drop)  # type: ignore[arg-type]
        assert data.X.tolist() == [[1, 2], [3, 4]] and data.feature_names == ("a", "b")
    for drop, error, said in (
        (["city"], ValueError, "^drop: expected a column of .*columns 'a', 'town', 'b', 'kind'.*, got 'city'"),
        ([4], ValueError, "^drop: expected a position from -4 to 3"), (["kind"], ValueError, "^drop: .*of the classes"),
        ("town", TypeError, "^drop: expected a sequence of columns, got 'town'"), ([1.0], TypeError, "^drop: "),
    ):  # fmt: skip
        with pytest.raises(error, match=said):
            load(file, drop=drop)  # type: ignore[arg-type]


# ---- the target ----


@pytest.mark.parametrize(
    ("header", "row", "target"),
    [
        ("x,y,species", "1,2,cat", "species"),
        ("y,x,species", "1,2,cat", "species"),
        ("x,y", "1,2", "y"),
        ("y,a,b", "1,2,3", "y"),
        ("y,x1,x2", "1,2,3", "y"),
        ("y,x,z", "1,2,3", "y"),
        ("a,Y", "1,2", "Y"),
        ("a,y,b", "1,2,3", "b"),
        ("x,y,label", "1,2,3", "label"),
        ("class,x,y", "1,2,3", "class"),
    ],
)
def test_which_column_is_the_target(csv_file: CsvFile, header: str, row: str, target: str) -> None:
    data = load(csv_file(f"{header}\n{row}\n{row}\n"))
    assert data.target_name == target
    assert data.feature_names == tuple(name for name in header.split(",") if name != target)


# ---- features by name ----


def test_features_by_name(csv_file: CsvFile) -> None:
    file = csv_file("note,b,kind,a\nhot,1,x,2\ncold,3,y,4\n")
    data = load(file, labelled=False, features=["a", "b"])
    assert data.X.tolist() == [[2, 1], [4, 3]] and data.feature_names == ("a", "b") and data.y is None
    assert data.unused == ("note", "kind")
    data = load(file, "kind", features=("b",))
    assert data.X.tolist() == [[1], [3]] and data.class_names == ("x", "y") and data.unused == ("note", "a")
    with pytest.raises(ValueError, match=r"data\.csv: got no column named 'c', 'd', expected all"):
        load(file, labelled=False, features=["a", "c", "d"])
    with pytest.raises(ValueError, match=r"^target: expected other columns than the features, got 'a'"):
        load(file, "a", features=["a", "b"])
    with pytest.raises(ValueError, match=r"^drop: expected other columns than the features, got 'a'"):
        load(file, labelled=False, drop=["a"], features=["a", "b"])
    with pytest.raises(ValueError, match=r"^features: expected names that differ, got 'a'"):
        load(file, features=["a", "a"])
    assert load(csv_file("1,2\n3,4\n"), labelled=False, features=["a", "b"]).X.tolist() == [[1, 2], [3, 4]]


def test_a_remark_spells_arguments_as_its_reader_writes_them() -> None:
    remark = Remark("it is unclear", ({"header": True}, {"delimiter": ";", "decimal": ","}))
    assert str(remark) == "it is unclear; header=True or delimiter=';' decimal=',' says which it is"
    assert remark.worded(lambda name, value: name.upper()) == (
        "it is unclear; HEADER or DELIMITER DECIMAL says which it is"
    )
    assert str(ReadError("plain")) == "plain" and str(ReadError(remark)) == str(remark)


def test_remarks_are_warnings_of_load_alone(csv_file: CsvFile) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load(csv_file(points())).remarks == ()
        with pytest.raises(UserWarning, match="has no name"):
            load(csv_file(",p,kind\n0,1,a\n1,2,b\n"))
