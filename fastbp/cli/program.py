"""The main program of the command ``fastbp``: it parses the words, runs the command, and words errors.

An error that the user can correct ends in one line on standard error and exit status 2. The modules of the commands are
imported when a command runs, so that ``--help`` and misspelt words are answered in 0.1 s.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from .parser import as_option, error_line, parse

INTERRUPTED, BROKEN_PIPE = 130, 141  # 128 + the signal, as in shells
MODULES = {  # of the function of each command
    "train": "training",
    "predict": "predictions",
    "evaluate": "evaluation",
    "export": "exporting",
    "learn": "lessons",
    "warmup": "commands",
    "info": "commands",
    "verify": "commands",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status, which is 1 if `fastbp verify` finds a fault.

    As with argparse, --help and misspelt options raise SystemExit.

    Parameters
    ----------
    argv : sequence of str, optional
        The words after ``fastbp``; by default those that the process was started with.
    """
    args = parse(argv)
    program = f"fastbp {args.command}"
    for stream in (sys.stdout, sys.stderr):  # an ASCII terminal shows a class named été as \\xe9t\\xe9
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")
    try:
        import numpy as np

        with np.errstate(over="ignore"):  # the network refuses infinities, with its own message
            status: int | None = getattr(import_module(f"{__package__}.{MODULES[args.command]}"), args.command)(args)
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt as interrupt:
        print(f"{program}: {str(interrupt) or 'interrupted'}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # such as `| head`
        _drop_output()
        return BROKEN_PIPE
    except Exception as error:
        message = _message(error)
        if message is None:
            raise
        if not _printed_by_root(error) and sys.stderr is not None:
            sys.stderr.write(error_line(program, message))
        _drop_output()
        return 2
    return status or 0


def _drop_output() -> None:
    """Discard what standard output cannot take, so that the interpreter does not try again when it ends."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _printed_by_root(error: BaseException) -> bool:
    from ..distributed.ranks import printed_by_root

    return printed_by_root(error)


def _message(error: Exception) -> str | None:
    """Return the text of an error that the user can correct, in the words of the command line; None for others."""
    from ..datasets.dataset import ReadError
    from ..training.plan import DivergenceError

    if isinstance(error, ReadError):
        return error.remark.worded(as_option)
    if isinstance(error, DivergenceError):  # names the arguments of `fit`
        return str(error).replace("learning_rate", "--learning-rate").replace("smaller l2", "smaller --l2")
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or "out of memory" if isinstance(error, (ValueError, OSError, MemoryError)) else None
