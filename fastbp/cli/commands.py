"""The command ``fastbp``: train, predict, learn how networks learn, compile ahead, tell what this machine compiles to
and verify it.

Whatever goes wrong that the user can put right ends in one line on standard error and exit status 2.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import importlib.metadata
import io
import json
import math
import os
import platform
import secrets
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any, TextIO

import numba
import numpy as np
from numpy.typing import NDArray

from .. import compile_ahead, datasets, threads
from .. import verify as verification
from ..datasets import readers
from ..datasets.dataset import Dataset, ReadError, Remark
from ..distributed.ranks import printed_by_root
from ..hardware import affinity, caches, cpu_quota
from ..kernels import cache, tile
from ..kernels.simd import TARGET
from ..lessons import LESSONS
from ..names import counted, listed
from ..network import MLP, load
from ..training.plan import DivergenceError
from ..version import __version__
from . import diagnosis, predictions
from .parser import DEFAULTS, OF_CSV, Settings, as_option, error_line, parse
from .processes import ALONE, Alone, Together

Array = NDArray[Any]


SCALES = {"digits": 1 / 16, "IDX pictures": 1 / 255}  # of known ranges; other features are scaled by what they hold
HELD_OUT = 0.2
SPLIT_SEED = 0  # the same test rows whatever --seed is, so that runs can be compared
QUADRANT_POINTS = 5000  # 4,000 to train on
CHUNK_BYTES = 4 * 1024**2
MANY_CLASSES, MOST_GAPS = 10, 1000  # beyond the rows that there are: measurements or identifiers, not classes
INTERRUPTED, BROKEN_PIPE = 130, 141  # 128 + the signal, as shells have it


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status, 1 where `fastbp verify` finds a fault.

    As with argparse, --help and misspelt options raise SystemExit.

    Parameters
    ----------
    argv : sequence of str, optional
        The words behind ``fastbp``; by default those that the process was started with.
    """
    args = parse(argv)
    program = f"fastbp {args.command}"
    for stream in (sys.stdout, sys.stderr):  # a terminal of ASCII shows a class called été as \\xe9t\\xe9
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")
    try:
        with np.errstate(over="ignore"):  # what becomes infinite is refused by the network, in words of its own
            status = COMMANDS[args.command](args)
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt as interrupt:
        print(f"{program}: {str(interrupt) or 'interrupted'}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `| head` has seen enough
        _drop_output()
        return BROKEN_PIPE
    except (ValueError, OSError, DivergenceError, MemoryError) as error:
        if not printed_by_root(error) and sys.stderr is not None:
            sys.stderr.write(error_line(program, _message(error)))
        _drop_output()
        return 2
    return status or 0


# ---- train ----


def train(args: argparse.Namespace) -> None:
    """``fastbp train``"""
    with Together() if args.mpi else Alone() as job:
        plotting = job.agree(lambda: _check_files(args))
        kind, data, classes = job.agree(lambda: _rows_of(job, args))
        if job.leads:
            _print_remarks(args, data.remarks)
        given = {name: getattr(args, name) for name in Settings._fields}
        chosen = DEFAULTS[kind]._replace(**{name: value for name, value in given.items() if value is not None})
        shift, scale = input_scaling(data.X, SCALES.get(kind), np.dtype(args.dtype), job)
        sizes = (data.X.shape[1], *chosen.hidden, classes)
        largest = max(float(np.abs(part).max()) for part in (shift, scale))
        if largest > np.finfo(args.dtype).max:
            way_out = "; --dtype float64 holds more" if args.dtype == "float32" else ""
            raise ValueError(f"{args.data}: got features beyond what {args.dtype} holds, {largest:.3g}{way_out}")
        net = MLP(sizes, dtype=args.dtype, seed=args.seed, input_shift=shift, input_scale=scale)
        net.class_names, net.feature_names, net.target_name = data.class_names, data.feature_names, data.target_name
        assert data.y is not None and data.X_test is not None and data.y_test is not None
        rows, test_rows = (int(count) for count in job.summed([len(data.X), len(data.X_test)]))
        if job.leads:
            _print_rows(f"fastbp {__version__} trains", [
                ("data", f"{args.data}: {counted(data.X.shape[1], 'feature')}, {classes:,} classes"),
                ("target", _target_words(args, data, classes)),
                *([("features", listed(data.feature_names))] if data.feature_names else []),
                ("rows", f"{rows:,} to train on, {test_rows:,} to test on"),
                ("network", f"{'-'.join(map(str, sizes))}, {args.dtype}"),
                *([("processes", f"{job.size:,}")] if args.mpi else []),
                ("settings", f"{chosen.epochs} epochs, batches of {chosen.batch_size}, learning rate "
                             f"{chosen.learning_rate:g}, l2 {chosen.l2:g}, seed {args.seed}"),
            ])  # fmt: skip
        try:
            with threads.limit(args.threads) if args.threads else contextlib.nullcontext():
                history = job.fit(net, data.X, data.y, epochs=chosen.epochs, batch_size=chosen.batch_size,
                                  learning_rate=chosen.learning_rate, l2=chosen.l2, checkpoint=args.checkpoint,
                                  validation_data=(data.X_test, data.y_test) if plotting else None)  # fmt: skip
                accuracy = job.score(net, data.X_test, data.y_test)
        except KeyboardInterrupt:
            if args.checkpoint is None or not os.path.exists(args.checkpoint):
                raise KeyboardInterrupt("training was interrupted; nothing was saved") from None
            raise KeyboardInterrupt(
                f"training was interrupted; the same command goes on from {args.checkpoint}"
            ) from None
        if not job.leads:
            return
        net.save(args.out)
        if plotting:
            plotting.plot_history(history, args.plot)
        seconds = sum(history.seconds)
        _print_rows("", [
            ("training loss", f"{history.loss[-1]:.4f}"),
            ("test accuracy", f"{100 * accuracy:.2f} %"),
            ("samples/s", f"{rows * len(history.seconds) / seconds:,.0f}"),
            ("seconds to compile", f"{history.compile_seconds:.2f}"),
            ("seconds to train", f"{seconds:.2f}"),
            ("saved as", args.out),
            *([("curves in", args.plot)] if plotting else []),
        ])  # fmt: skip


def _check_files(args: argparse.Namespace) -> Any:
    """The module that draws, where a picture is asked for."""
    _check_out("--out", args.out, args.data)
    if args.checkpoint is not None:
        _check_out("--checkpoint", args.checkpoint, args.data)
        if os.path.realpath(args.checkpoint) == os.path.realpath(args.out):
            raise ValueError(f"--checkpoint: {args.out!r} is where the network goes; expected another file")
    return None if args.plot is None else _plotting(args.plot, args.data, args.out)


def _rows_of(job: Alone, args: argparse.Namespace) -> tuple[str, Dataset, int]:
    """The kind of data, this process's rows of them, and the number of classes in all rows."""
    kind, data = _read(args, labelled=True, mapped=args.mpi)
    _check_finite(args.data, data)
    classes = _count_classes(args.data, data)
    return kind, _with_test_rows(args.data, data, job.part), classes


def _plotting(path: str, *others: str) -> Any:
    """The module that draws, with the file for the picture checked."""
    try:
        from .. import plotting
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        raise ValueError(f"--plot: {error}") from None
    _check_out("--plot", path, *others)
    plotting.check_path(path)
    return plotting


def _check_finite(name: str, data: Dataset) -> None:
    for part, rows in (("row", data.X), ("test row", data.X_test)):
        if rows is not None and rows.dtype.kind == "f":
            for begin, chunk in _chunks(rows):
                if (wrong := ~np.isfinite(chunk).all(axis=1)).any():
                    row = begin + int(wrong.argmax())
                    raise ValueError(f"{name}: got NaN or infinity in {part} {row} (from 0), expected finite numbers")


def _read(args: argparse.Namespace, labelled: bool, **options: Any) -> tuple[str, Dataset]:
    name, told = args.data, {option: value for option in OF_CSV if (value := getattr(args, option)) is not None}
    unfit = told.keys() - ({"missing"} if name.lower().endswith(".npz") else set())
    if unfit and not name.lower().endswith(readers.CSV):
        given = ", ".join(f"--{option}" for option in told)
        raise ValueError(f"{given}: expected a CSV file, whose name ends in .csv or .csv.gz, got {name!r}")
    if name == "digits":
        return name, Dataset(*datasets.load_digits())
    if name == "quadrants":
        return name, Dataset(*datasets.quadrants(QUADRANT_POINTS, SPLIT_SEED))
    if not os.path.exists(name):
        raise ValueError(f"there is nothing at {name!r}; expected digits, quadrants, or a file or folder of data")
    try:
        data = readers.read(name, labelled=labelled, **told, **options)
    except ValueError as error:
        if str(error).partition(":")[0] in OF_CSV:
            raise ValueError(f"--{error}") from None
        raise
    return "IDX pictures" if data.is_image else "other data", data


def _target_words(args: argparse.Namespace, data: Dataset, classes: int) -> str:
    """Say what is to be predicted, and where it comes from."""
    named = f"0 to {classes - 1}" if data.class_names is None else listed(data.class_names)
    if data.target_name is not None:
        return f"column {data.target_name!r}, classes {named}"
    if not args.data.lower().endswith(readers.CSV):
        return f"classes {named}"
    return f"{'the last column' if args.target is None else f'column {args.target}'}, classes {named}"


def _count_classes(name: str, data: Dataset) -> int:
    assert data.y is not None
    found = len(np.unique(data.y))
    if found < 2:
        raise ValueError(f"{name}: all rows are of one class; expected at least 2 classes")
    if found > max(MANY_CLASSES, len(data.y) // 2):
        raise ValueError(f"{name}: got {found} classes in {len(data.y)} rows; expected several rows of each class "
                         "(is this what is to be predicted, and is it classes?)")  # fmt: skip
    if data.class_names is not None:
        return len(data.class_names)
    largest = max(int(labels.max()) for labels in (data.y, data.y_test) if labels is not None)
    if largest >= len(data.y) + MOST_GAPS:
        raise ValueError(f"{name}: got the class {largest} in {len(data.y)} rows of {found} classes; expected classes "
                         "numbered 0, 1, 2, ...")  # fmt: skip
    return largest + 1


def _with_test_rows(name: str, data: Dataset, part: Callable[[Array], Array]) -> Dataset:
    """Training and test rows, of each the part that is this process's own."""
    assert data.y is not None
    if data.X_test is not None and data.y_test is not None:
        return replace(data, X=part(data.X), y=part(data.y), X_test=part(data.X_test), y_test=part(data.y_test))
    try:
        training, test = map(part, datasets.stratified_split(data.y, HELD_OUT, SPLIT_SEED))
    except ValueError as error:
        raise ValueError(f"{name}: a part of the rows is held out to test on; {error}") from None
    return replace(data, X=data.X[training], y=data.y[training], X_test=data.X[test], y_test=data.y[test])


def input_scaling(X: Array, known: float | None, dtype: np.dtype[Any],
                  job: Alone = ALONE) -> tuple[Array, Array | float]:  # fmt: skip
    """Shift and scale that bring the features of training rows to order one.

    The shift is the mean: without it Fashion-MNIST ends at 87.5 % instead of 89.2 %. The scale is `known`, or 1 over
    the standard deviation; a feature that varies by no more than its rounding in `dtype` counts as constant and is not
    scaled. X is converted to float64 by parts, never as a whole; each process of a job goes through its own.
    """
    first = job.first(X[0].astype(np.float64))  # taken away from every row: a constant feature sums to 0 exactly
    total = job.summed([len(X)])[0]
    offset = job.summed(sum((chunk - first).sum(axis=0) for _, chunk in _chunks(X))) / total
    mean = first + offset
    if known is not None:
        return mean, known
    squares = job.summed(sum(np.square(chunk - first - offset).sum(axis=0) for _, chunk in _chunks(X)))
    deviation = np.sqrt(squares / total)
    constant = deviation <= np.finfo(dtype).eps * np.abs(mean)
    return mean, 1 / np.where(constant, 1.0, deviation)


def _chunks(X: Array) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Parts of the rows as float64, each with the number of its first row."""
    rows = max(1, CHUNK_BYTES // (8 * X.shape[1]))
    for begin in range(0, len(X), rows):
        yield begin, X[begin : begin + rows].astype(np.float64)


# ---- predict ----


def predict(args: argparse.Namespace) -> None:
    """``fastbp predict``"""
    if args.out is not None:
        _check_out("--out", args.out, args.model, args.data)
    elif sys.stdout is None:
        raise ValueError("standard output is closed; --out FILE writes to a file")
    net = load(args.model)
    X, remarks = _rows_to_predict(args, net)
    with threads.limit(args.threads):
        columns, rows = predictions.table(net, X, args.proba)
    _print_remarks(args, remarks)
    if args.out is None and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # what goes to a file by > is the same as by --out
    with contextlib.nullcontext(sys.stdout) if args.out is None else _replacing(args.out) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def _rows_to_predict(args: argparse.Namespace, net: MLP) -> tuple[Array, tuple[Remark, ...]]:
    """The features that the network knows: by their names where both sides have names, else as many as it takes."""
    of_csv = args.data.lower().endswith(readers.CSV)
    _, data = _read(args, labelled=False, **({"features": net.feature_names} if of_csv else {}))
    X, features = data.X if data.X_test is None else data.X_test, net.sizes[0]
    if X.shape[1] != features:
        way_out = "; --target names the column of the classes, --drop others to leave out" if of_csv else ""
        raise ValueError(f"{args.data}: got {X.shape[1]} features, but the model takes {features}{way_out}")
    if data.feature_names is not None and net.feature_names is None:
        by_position = f"{args.data}: the model knows no names of columns: they were taken in their order"
        return X, (*data.remarks, Remark(by_position))
    unknown = [name for name in data.unused if name != net.target_name] if net.feature_names else []
    left_out = f"{args.data}: the model does not know the columns {listed(unknown)}: they were left out"
    return X, (*data.remarks, *([Remark(left_out)] if unknown else []))


def _print_remarks(args: argparse.Namespace, remarks: Iterable[Remark]) -> None:
    """On standard error, where they are seen and spoil no predictions."""
    if sys.stderr is not None:
        for remark in remarks:
            sys.stderr.write(f"fastbp {args.command}: note: {remark.worded(as_option)}\n")


# ---- learn ----


def learn(args: argparse.Namespace) -> None:
    """``fastbp learn``"""
    if args.lesson is None:
        titles = [(name, (lesson.__doc__ or "").strip()) for name, lesson in LESSONS.items()]
        _print_rows("Lessons in back-propagation: fastbp learn NAME prints the steps and saves a picture", titles)
        return
    try:
        LESSONS[args.lesson]()
    except ModuleNotFoundError as error:  # the picture is the last step of each
        if error.name != "matplotlib":
            raise
        print("(no picture: it needs matplotlib: pip install 'fastbp[plot]')")
    else:
        print(f"picture saved as {args.lesson}.svg")


# ---- warmup ----


def warmup(args: argparse.Namespace) -> None:
    """``fastbp warmup``"""
    seconds = compile_ahead.warmup(args.dtype)
    _print_rows("Seconds to compile, or to load from the cache", [
        *((part, f"{took:.2f}") for part, took in seconds.items()),
        ("all", f"{sum(seconds.values()):.2f}"),
        ("cache folder", _folder_row()),
    ])  # fmt: skip


def _folder_row() -> str:
    rows = [folder.path if folder.writable else f"{folder.path} (read only, used)" for folder in cache.folders()]
    return ", ".join(rows) or "none can be used: each process compiles anew"


# ---- info ----


def info(args: argparse.Namespace) -> None:
    """``fastbp info``"""
    lanes = {name: TARGET.lanes(getattr(numba, name)) for name in ("float32", "float64")}
    shapes = {"main": tile.MAIN, "half": tile.HALF, "narrow": tile.NARROW, "row": tile.ROW}
    found = {package.name.lower(): package.version for package in importlib.metadata.distributions()}
    layer, quota = threads.layer(), cpu_quota()  # the layer before the count: it starts the threads
    _print_rows(f"fastbp {__version__} on this machine", [
        ("processor target", f"{TARGET.triple}, {TARGET.cpu}"),
        ("vector width", f"{8 * TARGET.vector_bytes} bits: " + " or ".join(f"{n} {name}" for name, n in lanes.items())),
        ("vector registers", f"{TARGET.registers}"),
        ("fused multiply-add", "yes" if TARGET.has_fma else "no"),
        *((f"{name} tiles", ", ".join(f"{shape.rows}x{shape.vectors * n} {which}" for which, shape in shapes.items())
           + " (rows x columns)") for name, n in lanes.items()),
        ("caches of a core", f"{caches().l1 // 1024} KiB first level, {caches().l2 // 1024} KiB second level"),
        ("processors", f"{affinity()}" + ("" if quota is None else f", {quota:g} by the quota of the container")),
        ("threading layer", layer or "none: all runs on one thread"),
        ("threads", str(threads.count() if layer else 1)),
        ("cache folder", _folder_row()),
        ("python", f"{platform.python_version()}, {sys.executable}"),
        *((name, found.get(name, "not installed")) for name in ("numba", "llvmlite", "numpy", "tbb", "tqdm")),
    ])  # fmt: skip
    troubles = diagnosis.findings()
    print("\nSlow or unsafe here" if troubles else "\nNothing is slow or unsafe here", flush=True)
    for trouble in troubles:
        print(f"- {trouble}", flush=True)


# ---- verify ----


def verify(args: argparse.Namespace) -> int:
    """``fastbp verify``"""
    layer = threads.layer()
    machine = {"processor": TARGET.cpu, "vector_bits": 8 * TARGET.vector_bytes, "fused_multiply_add": TARGET.has_fma,
               "threads": threads.count() if layer else 1, "threading_layer": layer}  # fmt: skip
    if not args.json:
        print(f"fastbp {__version__} verifies its kernels: {TARGET.cpu}, vectors of {machine['vector_bits']} bits, "
              f"{machine['threads']} threads", flush=True)  # fmt: skip
    start = time.perf_counter()
    checks = verification.verify(None if args.json else lambda check: print(f"  {check}", flush=True))
    seconds, cases = time.perf_counter() - start, sum(check.cases for check in checks)
    failed = sum(not check for check in checks)
    if args.json:
        print(json.dumps({"fastbp": __version__, "ok": failed == 0, "seconds": round(seconds, 3), "machine": machine,
                          "checks": [_as_json(check) for check in checks]}, allow_nan=False))  # fmt: skip
    else:
        verdict = f"{failed} of {len(checks)} checks FAILED" if failed else f"all {len(checks)} checks passed"
        print(f"{verdict}: {cases:,} cases in {seconds:.1f} s")
    return 1 if failed else 0


def _as_json(check: verification.Check) -> dict[str, Any]:
    """JSON knows no infinity: null, with ``ok`` false."""
    worst = check.worst if check.worst is None or math.isfinite(check.worst) else None
    return {**asdict(check), "worst": worst, "seconds": round(check.seconds, 3), "ok": check.ok}


# ---- output ----


def _print_rows(heading: str, rows: Sequence[tuple[str, str]]) -> None:
    """A heading and aligned rows, at once also where the output is a pipe."""
    lines = ([heading] if heading else []) + [f"  {name:<18}  {value}" for name, value in rows]
    print("\n".join(lines), flush=True)


def _check_out(option: str, out: str, *others: str) -> None:
    """Refuse, before any work is done, a file that could not be written or that is another one of the command's."""
    folder = os.path.dirname(os.path.realpath(out))
    if not os.path.isdir(folder):
        raise ValueError(f"{option}: there is no folder {folder!r} to write {out!r} to")
    with contextlib.suppress(FileNotFoundError):
        if out.endswith("/") or not stat.S_ISREG(os.stat(out or ".").st_mode):
            raise ValueError(f"{option}: expected the name of a file, and {out!r} is a folder or a device")
        if any(os.path.exists(path) and os.path.samefile(out, path) for path in others):
            raise ValueError(f"{option}: {out!r} is read as well; expected another file, so that it is not lost")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"{option}: cannot write to the folder {folder!r}: {error.strerror}") from error


@contextlib.contextmanager
def _replacing(out: str) -> Iterator[TextIO]:
    """A text file that takes the place of `out` when it is complete; else nothing changes."""
    target = os.path.realpath(out)
    temporary = os.path.join(os.path.dirname(target), f".fastbp-{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "x", encoding="utf-8", newline="") as file:
            yield file
        with contextlib.suppress(FileNotFoundError):
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _drop_output() -> None:
    """Send to nowhere what standard output cannot take, so that the interpreter does not try again as it ends."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _message(error: BaseException) -> str:
    if isinstance(error, ReadError):
        return error.remark.worded(as_option)
    if isinstance(error, DivergenceError):  # which speaks of the arguments of `fit`
        return str(error).replace("learning_rate", "--learning-rate").replace("smaller l2", "smaller --l2")
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or "out of memory"


COMMANDS: dict[str, Callable[[argparse.Namespace], int | None]] = {
    "train": train, "predict": predict, "learn": learn, "warmup": warmup, "info": info, "verify": verify,
}  # fmt: skip
