"""Files that are written as a whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from typing import BinaryIO


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file for bytes that replaces the one of this name when the context ends without an error.

    The content goes to a temporary file in the same folder, is synced to the disk and then replaces the old file.
    Whatever goes wrong, Ctrl-C included, the old file stays as it was. (A process that is killed while writing leaves a
    ``.fastbp-*.tmp`` behind.)

    Parameters
    ----------
    path : str or path-like
        A symbolic link is followed. A new file gets the permissions that the umask allows; a replaced one keeps its
        own.

    Raises
    ------
    TypeError
        If ``path`` is not a path.
    ValueError
        If ``path`` exists and is neither a file nor a folder.
    IsADirectoryError
        If ``path`` is a folder.
    OSError
        If the file cannot be written; FileNotFoundError if its folder is missing.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(folder + "/greeting") as file:
    ...         written = file.write(b"hello")
    ...     os.listdir(folder)
    ['greeting']
    """
    name = filename(path)
    target, mode = os.path.realpath(name), None
    with contextlib.suppress(FileNotFoundError):
        status = os.stat(target)
        check_regular(status, name)
        mode = stat.S_IMODE(status.st_mode)
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, "path: its folder does not exist", name)

    # Not tempfile, whose files are private: open() gives the permissions that any new file gets in this folder.
    temporary = os.path.join(folder, f".fastbp-{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            os.chmod(temporary, mode)
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            error.add_note(f"path: while writing {name!r}")
        raise


def filename(path: str | os.PathLike[str]) -> str:
    """Return a path as str; raise TypeError if it is none, and ValueError if it holds NUL."""
    name = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(name, str):
        raise TypeError(f"path: got {type(path).__name__}, expected str or os.PathLike of str")
    if "\0" in name:
        raise ValueError(f"path: got {name!r}, expected one without the character NUL")
    return name


def check_regular(status: os.stat_result, name: str, error: type[ValueError] = ValueError) -> None:
    """Raise IsADirectoryError for a folder, and `error` for a device or a pipe."""
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "path: got a folder, expected a file", name)
    if not stat.S_ISREG(status.st_mode):  # /dev/null must not be replaced, and reading from a pipe may never end
        raise error(f"{name}: not a regular file")
