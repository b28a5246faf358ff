"""Folders and files of pictures in IDX format, whole and damaged."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from fastbp.datasets import load
from support.idx import idx

# --- IDX --------------------------------------------------------------------------------------------------------------
PICTURES = np.arange(5 * 3 * 2, dtype=np.uint8).reshape(5, 3, 2) + 200
LABELS = np.array([3, 0, 9, 3, 255], np.uint8)


def write_idx(folder: Path, separator: str = "-", gz: bool = False, parts: tuple[str, ...] = ("train", "t10k")) -> Path:
    for part in parts:
        rows = slice(None) if part == "train" else slice(2)
        for stem, array in ((f"images{separator}idx3", PICTURES[rows]), (f"labels{separator}idx1", LABELS[rows])):
            content = gzip.compress(idx(array)) if gz else idx(array)
            (folder / f"{part}-{stem}-ubyte{'.gz' if gz else ''}").write_bytes(content)
    return folder


@pytest.mark.parametrize("separator", ["-", "."])
@pytest.mark.parametrize("gz", [False, True])
def test_idx_folder(tmp_path: Path, separator: str, gz: bool) -> None:
    data = load(write_idx(tmp_path, separator, gz))
    assert data.X.dtype == np.uint8 and np.array_equal(data.X, PICTURES.reshape(5, 6))
    assert data.y is not None and data.y.dtype == np.int64 and data.y.tolist() == [3, 0, 9, 3, 255]
    assert data.X_test is not None and np.array_equal(data.X_test, PICTURES[:2].reshape(2, 6))
    assert data.y_test is not None and data.y_test.dtype == np.int64 and data.y_test.tolist() == [3, 0]
    assert data.is_image and data.class_names is None and data.feature_names is None
    assert data.X.flags.c_contiguous and data.X.flags.writeable


def test_idx_folder_without_test_rows(tmp_path: Path) -> None:
    data = load(write_idx(tmp_path, parts=("train",)))
    assert len(data.X) == 5 and data.X_test is None and data.y_test is None and data.is_image


def test_idx_without_labels(tmp_path: Path) -> None:
    write_idx(tmp_path)
    for name in ("train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte"):
        (tmp_path / name).unlink()
    data = load(tmp_path, labelled=False)
    assert data.X.shape == (5, 6) and data.X_test is not None and data.X_test.shape == (2, 6)
    assert data.y is None and data.y_test is None and data.is_image
    write_idx(tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte").unlink()  # the t10k labels left alone are not asked for
    assert load(tmp_path, labelled=False).X_test is None


@pytest.mark.parametrize("name", ["t10k-images-idx3-ubyte", "x.idx3-ubyte", "x-idx3-ubyte.gz"])
def test_one_idx_file(tmp_path: Path, name: str) -> None:
    content = idx(PICTURES)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    data = load(tmp_path / name, labelled=False)
    assert np.array_equal(data.X, PICTURES.reshape(5, 6)) and data.y is None and data.is_image
    with pytest.raises(ValueError, match=f"{name}: expected .*labelled=False"):
        load(tmp_path / name)


@pytest.mark.parametrize(
    ("gone", "named"),
    [
        (("train-images-idx3-ubyte", "train-labels-idx1-ubyte"), ".* without train-images-idx3-ubyte"),
        (("train-images-idx3-ubyte",), r"expected train-images-idx3-ubyte\[.gz\] beside the labels"),
        (("train-labels-idx1-ubyte",), r"expected train-labels-idx1-ubyte\[.gz\] beside the images"),
        (("t10k-images-idx3-ubyte",), "expected t10k-images-idx3-ubyte"),
        (("t10k-labels-idx1-ubyte",), "expected t10k-labels-idx1-ubyte"),
    ],
)
def test_idx_files_that_are_missing(tmp_path: Path, gone: tuple[str, ...], named: str) -> None:
    write_idx(tmp_path)
    for name in gone:
        (tmp_path / name).unlink()
    with pytest.raises(ValueError, match=named):
        load(tmp_path)


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected a \.npz archive.*got a folder without train-images-idx3-ubyte"):
        load(tmp_path)


HEAD = bytes((0, 0, 8, 3))


@pytest.mark.parametrize("gz", [False, True])
@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("train-images-idx3-ubyte", b"", "magic 00000803, got nothing"),
        ("train-images-idx3-ubyte", idx(LABELS), "magic 00000803, got 00000801"),
        ("train-labels-idx1-ubyte", idx(PICTURES), "magic 00000801, got 00000803"),
        ("train-images-idx3-ubyte", b"\0\0\x0d\3" + idx(PICTURES)[4:], "magic 00000803, got 00000d03"),
        ("train-images-idx3-ubyte", HEAD + b"\0\0\0\1\0\0", "IDX header with .*got 00000803000000010000$"),
        ("train-images-idx3-ubyte", idx(PICTURES)[:-1], r"30 bytes .*\(5, 3, 2\).*only 29: truncated"),
        ("t10k-labels-idx1-ubyte", idx(LABELS[:2])[:-1], "2 bytes .*only 1: truncated"),
        ("train-images-idx3-ubyte", idx(PICTURES) + b"\0", "30 bytes .*got more"),
        ("train-images-idx3-ubyte", idx(PICTURES[:0]), r"sizes above 0, got \(0, 3, 2\)"),
        ("train-images-idx3-ubyte", idx(PICTURES[:, :0]), r"sizes above 0, got \(5, 0, 2\)"),
        ("train-labels-idx1-ubyte", idx(LABELS[:4]), "5 labels, .*train-images-idx3-ubyte.*got 4"),
        ("t10k-labels-idx1-ubyte", idx(LABELS), "2 labels, .*t10k-images-idx3-ubyte.*got 5"),
    ],
)
def test_idx_refuses(tmp_path: Path, name: str, content: bytes, named: str, gz: bool) -> None:
    write_idx(tmp_path)
    (tmp_path / name).write_bytes(gzip.compress(content) if gz else content)
    with pytest.raises(ValueError, match=f"{name}: expected .*{named}"):
        load(tmp_path)


def test_idx_pictures_of_unequal_size(tmp_path: Path) -> None:
    write_idx(tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(PICTURES[:2, :2]))
    with pytest.raises(ValueError, match="expected t10k pictures of 6 pixels as in train, got 4"):
        load(tmp_path)


@pytest.mark.parametrize("gz", [False, True])
def test_idx_header_of_absurd_size_allocates_nothing(tmp_path: Path, gz: bool) -> None:
    content = HEAD + b"\xff" * 12 + b"\1" * 100
    file = tmp_path / "x-idx3-ubyte"
    file.write_bytes(gzip.compress(content) if gz else content)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="x-idx3-ubyte: expected 79228162458924105385300197375 bytes .*only 100"):
            load(file, labelled=False)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_idx_data_beyond_the_announced_size_are_not_read(tmp_path: Path) -> None:
    file = tmp_path / "x-idx3-ubyte"
    file.write_bytes(gzip.compress(idx(PICTURES) + bytes(64 << 20), compresslevel=1))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="expected 30 bytes .*got more"):
            load(file, labelled=False)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kept", [-6, 20])
def test_idx_truncated_gzip(tmp_path: Path, kept: int) -> None:
    write_idx(tmp_path, gz=True)
    file = tmp_path / "train-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz: expected whole gzip data"):
        load(tmp_path)
