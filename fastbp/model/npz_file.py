"""The file format of models and checkpoints: arrays and metadata in one file.

The file is an ``.npz``, which ``np.load`` opens as well: a zip of ``.npy`` entries, stored and not compressed, and one
entry ``metadata``, a JSON text::

    {"format": "fastbp", "format_version": 1, "metadata": {...}, "sha256": "..."}

No pickle, in either direction: reading a file runs no code from it. The digest covers every array and the rest of that
text, so that a change is noticed even where the zip's own checksums were made to fit; it is no signature. The same
content gives the same bytes. A file is replaced as a whole or not at all.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import math
import os
import re
import struct
import zipfile
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .whole_file import check_regular, filename, replacing

FORMAT = "fastbp"
FORMAT_VERSION = 1

# Booleans, integers, floats, complex numbers, bytes and text. No objects (they would be pickled), no records, and no
# long double, which is not the same on every machine.
_DTYPE_CHARACTERS = frozenset("?bBhHiIlLqQefdFDSU")
_NAME = re.compile(r"\w[\w.-]*")


def _storable(dtype: np.dtype[Any]) -> bool:
    return dtype.char in _DTYPE_CHARACTERS and dtype.itemsize > 0


class CheckpointError(ValueError):
    """Raised for a file that is not a complete, unaltered model or checkpoint of a version that can be read."""


def write(path: str | os.PathLike[str], arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> None:
    """Write arrays and metadata to a file, replacing it as a whole, as `whole_file.replacing` does.

    Parameters
    ----------
    path : str or path-like
        Used as it is: no ``.npz`` is appended. A symbolic link is followed. A new file gets the permissions that the
        umask allows; a replaced one keeps its own.
    arrays : mapping of str to ndarray, any shape and memory layout
        Names consist of letters, digits, ``_``, ``.`` and ``-``. Dtypes: booleans, integers, floats up to 64 bits,
        complex numbers up to 128, bytes and text.
    metadata : mapping of str to JSON values
        NaN and infinity are allowed; tuples are read back as lists.

    Raises
    ------
    TypeError
        If an argument is of the wrong type, an array has another dtype, or JSON cannot hold the metadata.
    ValueError
        If a name has other characters.
    CheckpointError
        If ``path`` exists and is neither a file nor a folder.
    IsADirectoryError
        If ``path`` is a folder.
    OSError
        If the file cannot be written; FileNotFoundError if its folder is missing.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(folder + "/model.npz", {"w": np.ones((2, 3))}, {"seed": 7})
    ...     arrays, metadata = read(folder + "/model.npz")
    >>> arrays["w"].shape, metadata
    ((2, 3), {'seed': 7})
    """
    name = filename(path)
    checked = _checked_arrays(arrays)
    header = _header(metadata)
    with contextlib.suppress(FileNotFoundError):
        check_regular(os.stat(name), name, CheckpointError)
    with replacing(name) as file:
        _write_zip(file, checked, header)


def read(path: str | os.PathLike[str]) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read a file that `write` wrote.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    arrays : dict of str to ndarray
        The same bits as were written; C-contiguous, of native byte order, writable, each with memory of its own.
    metadata : dict

    Raises
    ------
    TypeError
        If ``path`` is not a path.
    FileNotFoundError, IsADirectoryError
        If there is no such file, or it is a folder.
    CheckpointError
        If the file comes from another program, is cut short, damaged or altered, is of a newer format, holds objects,
        or claims more data than it has.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(folder + "/other.npz", w=np.ones(3))
    ...     try:
    ...         read(folder + "/other.npz")
    ...     except CheckpointError as error:
    ...         print(str(error).removeprefix(folder + "/"))
    other.npz: not a fastbp checkpoint: it has no entry 'metadata'
    """
    name = filename(path)
    status = os.stat(name)
    check_regular(status, name, CheckpointError)
    try:
        with open(name, "rb") as file:
            return _read_zip(file, status.st_size)
    except CheckpointError as error:
        raise CheckpointError(f"{name}: {error}") from error.__cause__
    except (ValueError, KeyError, OverflowError, RuntimeError, EOFError, struct.error, zipfile.BadZipFile) as error:
        # Raised by zipfile, json and NumPy for bytes that they cannot parse.
        raise CheckpointError(f"{name}: damaged ({error})") from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # an error of the disk
            raise
        raise CheckpointError(f"{name}: damaged (it points outside itself)") from error


def _checked_arrays(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Check the arrays and return them sorted by name, so that the file does not depend on the mapping's order."""
    if not isinstance(arrays, Mapping):
        raise TypeError(f"arrays: got {type(arrays).__name__}, expected a mapping of names to arrays")
    for name, array in arrays.items():
        if not isinstance(name, str):
            raise TypeError(f"arrays: got the name {name!r}, expected str")
        if not _NAME.fullmatch(name) or name == "metadata":
            raise ValueError(
                f"arrays: got the name {name!r}, expected letters, digits, '_', '.' and '-', and not 'metadata'"
            )
        if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
            raise TypeError(f"arrays: got {type(array).__name__} for {name!r}, expected an ndarray")
        if not _storable(array.dtype):
            raise TypeError(f"arrays: got dtype {array.dtype} for {name!r}, expected numbers, bytes or text")
    return dict(sorted(arrays.items()))


def _header(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Check the metadata and return the content of the metadata entry, without the digest."""
    if not isinstance(metadata, Mapping):
        raise TypeError(f"metadata: got {type(metadata).__name__}, expected a mapping")
    header = {"format": FORMAT, "format_version": FORMAT_VERSION, "metadata": dict(metadata)}
    try:
        _check_keys(header)
        _json(header)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"metadata: got a value that JSON cannot hold: {error}") from error
    return header


def _check_keys(value: Any) -> None:
    """Refuse keys that are not str: JSON would silently turn the key 1 into "1"."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"got the key {key!r}, expected str")
            _check_keys(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _check_keys(item)


def _json(header: dict[str, Any]) -> str:
    return json.dumps(header, sort_keys=True)


def _npy(array: NDArray[Any]) -> bytes:
    """Return the bytes of an .npy file: little-endian and in C order, so that equal arrays give equal bytes."""
    buffer = io.BytesIO()
    canonical = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
    np.lib.format.write_array(buffer, canonical, allow_pickle=False)
    return buffer.getvalue()


def _add(digest: Any, name: str, content: bytes) -> None:
    """Add an entry to the digest, with its length, so that no content can pass for the end of another."""
    digest.update(f"{name}\n{len(content)}\n".encode())
    digest.update(content)


def _write_zip(file: BinaryIO, arrays: Mapping[str, NDArray[Any]], header: dict[str, Any]) -> None:
    digest = hashlib.sha256()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:

        def store(name: str, content: bytes) -> None:
            info = zipfile.ZipInfo(f"{name}.npy")  # its date is 1980, not now
            info.create_system = 3  # the same on every system; by default Windows writes 0
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)

        for name, array in arrays.items():
            content = _npy(array)  # one copy for file and digest: another thread may be writing into the array
            _add(digest, name, content)
            store(name, content)
        _add(digest, "metadata", _json(header).encode())
        store("metadata", _npy(np.array(_json({**header, "sha256": digest.hexdigest()}))))


def _read_zip(file: BinaryIO, size: int) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    start = file.read(4)
    if not b"PK\x03\x04".startswith(start) and start != b"PK\x05\x06":  # an entry, or the end of an empty zip
        raise CheckpointError("not a fastbp checkpoint: it is not an .npz file")
    try:
        archive = zipfile.ZipFile(file)
    except zipfile.BadZipFile as error:  # the directory is at the end
        raise CheckpointError(f"cut short or damaged ({error})") from error
    with archive:
        entries = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        if "metadata" not in entries:
            raise CheckpointError("not a fastbp checkpoint: it has no entry 'metadata'")
        for name, info in entries.items():
            if info.compress_type != zipfile.ZIP_STORED:
                raise CheckpointError(f"not written by fastbp, or a zip bomb: its entry {name!r} is compressed")
        # The entries of a bomb may overlap, so their sum must fit. From here on no read exceeds the file's size.
        claimed = sum(info.file_size for info in archive.infolist())
        if claimed > size:
            raise CheckpointError(f"damaged, or a zip bomb: its entries claim {claimed} bytes, the file has {size}")
        header = _read_header(archive.read(entries.pop("metadata")))
        if len(entries) + 1 != len(archive.infolist()):
            raise CheckpointError("altered: it has two entries of one name")
        digest = hashlib.sha256()
        arrays = {}
        for name, info in sorted(entries.items()):
            content = archive.read(info)
            _add(digest, name, content)
            arrays[name] = _array(name, content)
    expected = header.pop("sha256", None)
    _add(digest, "metadata", _json(header).encode())
    if digest.hexdigest() != expected:
        raise CheckpointError("altered or damaged: its content does not agree with its digest")
    metadata = header["metadata"]
    if not isinstance(metadata, dict):
        raise CheckpointError("altered: its metadata is not a JSON object")
    return arrays, metadata


def _read_header(content: bytes) -> dict[str, Any]:
    foreign = CheckpointError("not a fastbp checkpoint: its entry 'metadata' does not name the format")
    try:
        header = json.loads(str(_array("metadata", content)))
    except (ValueError, RecursionError) as error:
        raise foreign from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise foreign
    version = header.get("format_version")
    if not isinstance(version, int) or version < 1:
        raise CheckpointError(f"altered: its format_version is {version!r}, expected an integer from 1")
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"written by a newer fastbp: its format_version is {version}, this version reads up to {FORMAT_VERSION}"
        )
    return header


def _array(name: str, content: bytes) -> NDArray[Any]:
    """Return the array of an .npy entry, after its header has been checked against the number of bytes present."""
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran_order, dtype = reader(stream)
    if dtype.hasobject:
        raise CheckpointError(f"its array {name!r} holds Python objects, which are never loaded")
    if not _storable(dtype):
        raise CheckpointError(f"not written by fastbp: its array {name!r} has dtype {dtype}")
    offset = stream.tell()
    if math.prod(shape) * dtype.itemsize != len(content) - offset:
        raise CheckpointError(
            f"damaged: its array {name!r} of shape {shape} and dtype {dtype} has {len(content) - offset} bytes"
        )
    stored: NDArray[Any] = np.ndarray(shape, dtype, content, offset, order="F" if fortran_order else "C")
    return np.array(stored, dtype=dtype.newbyteorder("="), order="C")
