"""Read IDX files, the format of MNIST: one file of pictures, or a folder with labels and test rows."""

from __future__ import annotations

import gzip
import math
import mmap
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .dataset import SUPPORTED, Dataset, opened


def load_folder(folder: Path, labelled: bool, mapped: bool) -> Dataset:
    """Read the pictures of a folder, its labels if `labelled`, and its test rows if there are any."""
    train, test = (_read_pair(folder, part, labelled, mapped) for part in ("train", "t10k"))
    if train is None:
        raise ValueError(f"{folder}: expected {SUPPORTED}; got a folder without train-images-idx3-ubyte[.gz]")
    if test is None:
        return Dataset(*train, is_image=True)
    pixels, test_pixels = train[0].shape[1], test[0].shape[1]
    if test_pixels != pixels:
        raise ValueError(f"{folder}: expected t10k pictures of {pixels} pixels as in train, got {test_pixels}")
    return Dataset(*train, X_test=test[0], y_test=test[1], is_image=True)


def _read_pair(
    folder: Path, part: str, labelled: bool, mapped: bool
) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None] | None:
    images, labels = _find(folder, f"{part}-images", 3), _find(folder, f"{part}-labels", 1)
    if images is None and (labels is None or not labelled):
        return None
    if images is None or (labelled and labels is None):
        there, gone = ("labels", "images-idx3") if images is None else ("images", "labels-idx1")
        raise ValueError(f"{folder}: expected {part}-{gone}-ubyte[.gz] beside the {there}, got none")
    X = read_array(images, 3, mapped)
    if not labelled or labels is None:
        return X, None
    y = read_array(labels, 1)[:, 0].astype(np.int64)
    if len(y) != len(X):
        raise ValueError(f"{labels}: expected {len(X)} labels, one for each picture of {images}, got {len(y)}")
    return X, y


def _find(folder: Path, stem: str, ndim: int) -> Path | None:
    spellings = (folder / f"{stem}{separator}idx{ndim}-ubyte{gz}" for gz in ("", ".gz") for separator in "-.")
    return next((file for file in spellings if file.is_file()), None)


def read_array(file: Path, ndim: int, mapped: bool = False) -> NDArray[np.uint8]:
    """Read an IDX file of bytes: the magic 0, 0, 8, ndim; ndim big-endian sizes; the bytes.

    Returns
    -------
    uint8 array (n, bytes per entry)
    """
    data: bytearray | mmap.mmap
    with opened(file) as stream:
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
        else:  # in pieces: one read of `size` would allocate whatever a damaged header claims
            data = bytearray()
            while len(data) <= size and (piece := stream.read(1 << 20)):
                data += piece
    if (length := len(data) - begin) != size:
        got = f"only {length}: truncated" if length < size else "more"
        raise ValueError(f"{file}: expected {size} bytes for the sizes {shape} in its header, got {got}")
    return np.frombuffer(data, np.uint8, offset=begin).reshape(shape[0], -1)
