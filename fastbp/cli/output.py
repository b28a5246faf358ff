"""What commands print and write, and the checks of files before any work is done."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from types import ModuleType
from typing import TextIO

from ..datasets.dataset import Remark
from ..model import whole_file
from .parser import as_option


def print_rows(heading: str, rows: Sequence[tuple[str, str]]) -> None:
    """Print a heading and aligned rows, and flush, for readers of a pipe."""
    lines = ([heading] if heading else []) + [f"  {name:<18}  {value}" for name, value in rows]
    print("\n".join(lines), flush=True)


def print_remarks(args: argparse.Namespace, remarks: Iterable[Remark]) -> None:
    """Print remarks on standard error, so that they do not mix with predictions."""
    if sys.stderr is not None:
        for remark in remarks:
            sys.stderr.write(f"fastbp {args.command}: note: {remark.worded(as_option)}\n")


def check_out(option: str, out: str, *others: str) -> None:
    """Refuse, before any work is done, a file that cannot be written, or that the command reads or writes as well."""
    folder = os.path.dirname(os.path.realpath(out))
    if not os.path.isdir(folder):
        raise ValueError(f"{option}: got {out!r}, but there is no folder {folder!r}")
    with contextlib.suppress(FileNotFoundError):
        if out.endswith("/") or not stat.S_ISREG(os.stat(out or ".").st_mode):
            raise ValueError(f"{option}: expected the name of a file, but {out!r} is a folder or a device")
        if any(os.path.exists(path) and os.path.samefile(out, path) for path in others):
            raise ValueError(f"{option}: {out!r} is read as well; expected another file, so that it is not lost")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"{option}: cannot write to the folder {folder!r}: {error.strerror}") from error


def drawing_module(option: str, path: str, *others: str) -> ModuleType:
    """Return the module that draws, and refuse a file that no picture can be saved to."""
    try:
        from .. import plotting
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        raise ValueError(f"{option}: {error}") from None
    check_out(option, path, *others)
    plotting.check_path(path)
    return plotting


@contextlib.contextmanager
def replacing(out: str) -> Iterator[TextIO]:
    """Open a text file that replaces `out` once it is complete; after an error `out` is as before."""
    with whole_file.replacing(out) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        try:
            yield text
        finally:
            text.detach()  # and flush; else the wrapper would close the file before it is synced
