"""Ahead-of-time compilation of all that networks run on, or of what some networks need."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from numpy.typing import DTypeLike

from . import threads, validation
from .kernels import operations as op
from .kernels.activations import ACTIVATIONS, EXP
from .kernels.functions import DTYPES, Function, every
from .kernels.losses import LOSSES
from .kernels.objects import addresses
from .optimizers import OPTIMIZERS
from .program.interrupts import interrupt_held
from .program.run import run_by_numbas_threads
from .training.progress import progress_bar

# The part that each operation belongs to, in the order of the parts.
PARTS = {
    "products": (op.GEMM, op.GEMM_BY_ROWS, op.COLUMN_SUMS),
    "activation": (op.ACTIVATE, op.ACTIVATE_BACKWARD, op.DROP),
    "loss": (op.CROSS_ENTROPY_OF_LABELS, op.CROSS_ENTROPY_OF_PROBABILITIES, op.ELEMENTWISE_LOSS, op.WEIGH_ROWS,
             op.SOFTMAX),
    "optimizer": (op.UPDATE, op.ADD_L2_GRADIENT, op.SUM_OF_SQUARES, op.CLIP_FACTOR, op.SUM_UP),
    "gathering": (op.FETCH,),
}  # fmt: skip
_PART_OF = {op.NAMES[code]: part for part, codes in PARTS.items() for code in codes} | {"gather": "gathering"}
_SOFTMAX = tuple(op.NAMES[code] for code in (op.CROSS_ENTROPY_OF_LABELS, op.CROSS_ENTROPY_OF_PROBABILITIES, op.SOFTMAX))
Names = str | Sequence[str] | None


def warmup(
    dtype: DTypeLike | None = None,
    progress: bool | None = None,
    *,
    activations: Names = None,
    losses: Names = None,
    optimizers: Names = None,
) -> dict[str, float]:
    """Compile, or load from a wheel or the cache on disk, all that `MLP.fit` and `MLP.predict` run on.

    Afterwards no network of this process waits for the compiler, or none with these activations, losses and optimizers.
    Nor does one of a later process, if the cache folder is writable now and readable then (see `fastbp info`), and
    processor, versions and settings are the same. Use it for container images, whose disk may be read-only when they
    run, for services that must answer their first request at once, and before measurements.

    Parameters
    ----------
    dtype : {"float32", "float64"}, optional
        Type in which networks compute; both by default.
    progress : bool or None
        Show a progress bar; None shows it on a terminal only.
    activations, losses, optimizers : str or sequence of str, optional
        Names that `MLP` and `MLP.fit` take; all by default. The output function of a loss comes with it.

    Returns
    -------
    dict of str to float
        Seconds per part: "pass", then "products", "activation", "loss", "optimizer" and "gathering" of each dtype, such
        as "float32 products". Dropout belongs to "activation", clipping and the L2 penalty belong to "optimizer". Last
        "Numba's threads", the way in which they enter the pass, where this process has imported Numba and may use
        several threads, even if a quota leaves one processor now.

    Raises
    ------
    TypeError, ValueError
        `dtype` is neither "float32" nor "float64", or a name is unknown.
    KeyboardInterrupt
        Ctrl-C, after the part that is being compiled.

    Examples
    --------
    >>> import fastbp
    >>> seconds = fastbp.warmup("float32", activations="relu", losses="huber", optimizers=("sgd", "adam"))
    >>> list(seconds)[:2], min(seconds.values()) >= 0
    (['pass', 'float32 products'], True)
    """
    chosen = DTYPES if dtype is None else (validation.float_dtype(dtype).name,)
    functions = needed(
        chosen,
        _chosen("activations", activations, ACTIVATIONS),
        _chosen("losses", losses, LOSSES),
        _chosen("optimizers", optimizers, OPTIMIZERS),
    )
    parts = _parts(functions)
    seconds: dict[str, float] = {}
    with progress_bar(progress, len(parts), "part") as bar:
        for name, prepare in parts.items():
            bar.set_description(name)
            start = time.perf_counter()
            with interrupt_held():
                done = prepare()
            if done is not None:
                seconds[name] = time.perf_counter() - start
            bar.update(1)
    return seconds


def _chosen(argument: str, names: Names, options: Collection[str]) -> tuple[str, ...] | None:
    """Return the names of an argument, checked; None for all."""
    if names is None:
        return None
    if isinstance(names, str):
        return (validation.choice(argument, names, tuple(options)),)
    values = validation.as_list(names)
    if values is None:
        raise TypeError(f"{argument}: got {names!r}, expected a name, a sequence of names, or None for all")
    return tuple(validation.choice(f"{argument}[{i}]", value, tuple(options)) for i, value in enumerate(values))


def needed(
    dtypes: Iterable[str],
    activations: Collection[str] | None = None,
    losses: Collection[str] | None = None,
    optimizers: Collection[str] | None = None,
) -> list[Function]:
    """Return the functions that any network with these may need, or all functions where nothing is left out."""
    rows = [LOSSES[name] for name in (LOSSES if losses is None else losses)]
    outputs = {row.output.name for row in rows if row.output is not None}
    values = {row.value.__name__ for row in rows if row.value is not None}
    forms = {OPTIMIZERS[name].form for name in (OPTIMIZERS if optimizers is None else optimizers)}

    def wanted(function: Function) -> bool:
        if function.operation == op.NAMES[op.ACTIVATE]:
            return (
                activations is None and function.kind != EXP.name or function.kind in {*(activations or ()), *outputs}
            )
        if function.operation == op.NAMES[op.ACTIVATE_BACKWARD]:
            return activations is None or function.kind in activations
        if function.operation == op.NAMES[op.ELEMENTWISE_LOSS]:
            return function.kind in values
        if function.operation in _SOFTMAX:
            return any(row.value is None for row in rows)
        return function.operation != op.NAMES[op.UPDATE] or function.kind in forms

    return list(filter(wanted, every(dtypes)))


def _parts(functions: Sequence[Function]) -> dict[str, Callable[[], Any]]:
    """Return what makes each part; None comes of a part that turns out not to be needed."""
    parts: dict[str, list[Function]] = {"pass": []}
    parts |= {f"{dtype} {part}": [] for dtype in DTYPES for part in PARTS}
    for function in functions:
        parts[f"{function.dtype} {_PART_OF[function.operation]}" if function.dtype else "pass"].append(function)
    made: dict[str, Callable[[], Any]] = {
        name: functools.partial(addresses, members) for name, members in parts.items() if members
    }
    return made | {"Numba's threads": _numbas_threads}


def _numbas_threads() -> Any:
    """Compile or load how Numba's threads enter the pass, and start them, where this process uses them."""
    if not threads.several_allowed() or not threads.by_numba() or threads.layer() == "python":
        return None
    from numba import types

    return run_by_numbas_threads().compile((types.intp, types.int64[::1], types.int64[::1]))  # as a call has them
