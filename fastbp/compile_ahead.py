"""Ahead-of-time compilation of all that networks run on, or of what some networks need."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from numpy.typing import DTypeLike

from . import threads, validation
from .kernels import operations as op
from .kernels.activations import ACTIVATIONS, EXP
from .kernels.functions import DTYPES, Compiled, Function, every
from .kernels.losses import LOSSES, Loss
from .kernels.objects import addresses
from .network import MLP
from .optimizers import OPTIMIZERS
from .program import narrow
from .program.interrupts import interrupt_held
from .program.network import StepForm
from .program.run import run_by_numbas_threads
from .training.progress import progress_bar

# The part that each operation belongs to, in the order of the parts.
PARTS = {
    "products": (op.GEMM, op.GEMM_BY_ROWS, op.COLUMN_SUMS),
    "activation": (op.ACTIVATE, op.ACTIVATE_BACKWARD, op.DROP),
    "loss": (op.CROSS_ENTROPY_OF_LABELS, op.CROSS_ENTROPY_OF_PROBABILITIES, op.ELEMENTWISE_LOSS, op.WEIGH_ROWS,
             op.SOFTMAX, op.SMOOTH_LABELS, op.SMOOTH_TARGETS),
    "optimizer": (op.UPDATE, op.ADD_L2_GRADIENT, op.SUM_OF_SQUARES, op.CLIP_FACTOR, op.SUM_UP, op.AVERAGE),
    "gathering": (op.FETCH, op.COPY_COLUMNS, op.EMBED, op.EMBED_BACKWARD),
}  # fmt: skip
_PART_OF = {op.NAMES[code]: part for part, codes in PARTS.items() for code in codes} | {"gather": "gathering"}
_SOFTMAX = tuple(
    op.NAMES[code]
    for code in (op.CROSS_ENTROPY_OF_LABELS, op.CROSS_ENTROPY_OF_PROBABILITIES, op.SOFTMAX, op.SMOOTH_LABELS)
)
_EMBEDDING = tuple(op.NAMES[code] for code in (op.COPY_COLUMNS, op.EMBED, op.EMBED_BACKWARD))
Names = str | Sequence[str] | None


def warmup(
    network: MLP | DTypeLike | None = None,
    progress: bool | None = None,
    *,
    activations: Names = None,
    losses: Names = None,
    optimizers: Names = None,
    batch_size: int = 128,
) -> dict[str, float]:
    """Compile, or load from a wheel or the cache on disk, all that `MLP.fit` and `MLP.predict` run on.

    Afterwards no network of this process waits for the compiler, or none with these activations, losses and optimizers.
    Nor does one of a later process, if the cache folder is writable now and readable then (see `fastbp info`), and
    processor, versions and settings are the same. Use it for container images, whose disk may be read-only when they
    run, for services that must answer their first request at once, and before measurements.

    With a network, what it needs is compiled, and with it, if it is narrow, the training steps and predictions that are
    specialised on its shape. Otherwise they take over in fits that are long enough, which have them compiled meanwhile.

    Parameters
    ----------
    network : MLP, or {"float32", "float64"}, optional
        A network, or the type in which networks compute; both types by default.
    progress : bool or None
        Show a progress bar; None shows it on a terminal and in notebooks only.
    activations, losses, optimizers : str or sequence of str, optional
        Names that `MLP` and `MLP.fit` take; all by default, or those of the network. The output function of a loss
        comes with it.
    batch_size : int, default 128
        The rows of a minibatch, for steps that are specialised: those for no more than a vector of rows differ.

    Returns
    -------
    dict of str to float
        Seconds per part: "pass", then "products", "activation", "loss", "optimizer" and "gathering" of each dtype, such
        as "float32 products". Dropout belongs to "activation", embeddings belong to "gathering", clipping and the L2
        penalty to "optimizer". Then "step", with the form of its update, and "predictions" of a narrow network. Last
        "Numba's threads", the way in which they enter the pass, where this process has imported Numba and may use
        several threads, even if a quota leaves one processor now.

    Raises
    ------
    TypeError, ValueError
        `network` is neither a network nor "float32" nor "float64", a name is unknown, activations or losses are given
        beside a network, or `batch_size` is no whole number above 0.
    KeyboardInterrupt
        Ctrl-C, after the part that is being compiled.

    Examples
    --------
    >>> import fastbp
    >>> seconds = fastbp.warmup("float32", activations="relu", losses="huber", optimizers=("sgd", "adam"))
    >>> list(seconds)[:2], min(seconds.values()) >= 0
    (['pass', 'float32 products'], True)
    >>> {"step sgd", "predictions"} <= set(fastbp.warmup(fastbp.MLP((2, 50, 4)), optimizers="sgd"))
    True
    """
    optimizers = _chosen("optimizers", optimizers, OPTIMIZERS)
    batch_size = validation.whole_number("batch_size", batch_size)
    if isinstance(network, MLP):
        for name, value in (("activations", activations), ("losses", losses)):
            if value is not None:
                raise TypeError(f"{name}: got {value!r} beside a network, whose own are compiled; leave it out")
        hidden = [activation.name for activation in network.model.network.activations]
        embeds = bool(network.model.embeddings)
        functions = needed((network.dtype.name,), hidden, (network.model.loss,), optimizers, embeds)
        parts = _parts(functions, _of_shape(network, OPTIMIZERS if optimizers is None else optimizers, batch_size))
    else:
        chosen = DTYPES if network is None else (_dtype_of(network),)
        kinds, wanted = _chosen("activations", activations, ACTIVATIONS), _chosen("losses", losses, LOSSES)
        rows = None if wanted is None else [LOSSES[name] for name in wanted]
        parts = _parts(needed(chosen, kinds, rows, optimizers))
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


def _dtype_of(network: DTypeLike) -> str:
    """Return the name of a dtype that is given in a network's place."""
    try:
        return validation.float_dtype(network).name
    except (TypeError, ValueError) as error:
        raise type(error)(f"network: got {network!r}, expected an MLP, float32 or float64") from None


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
    losses: Collection[Loss] | None = None,
    optimizers: Collection[str] | None = None,
    embeds: bool = True,
) -> list[Function]:
    """Return the functions that any network with these may need, or all functions where nothing is left out; those of
    embeddings only if it `embeds`."""
    rows = LOSSES.values() if losses is None else losses
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
        if function.operation in _EMBEDDING:
            return embeds
        if function.operation in _SOFTMAX:
            return any(row.value is None for row in rows)
        if function.operation == op.NAMES[op.SMOOTH_TARGETS]:
            return any(row.classifies for row in rows)
        return function.operation != op.NAMES[op.UPDATE] or function.kind in forms

    return list(filter(wanted, every(dtypes, {*(activations or ()), *values})))


def _of_shape(network: MLP, optimizers: Iterable[str], batch_size: int) -> dict[str, list[Compiled]]:
    """Return what is specialised on a network's shape, by its part."""
    model = network.model
    targets = "labels" if model.loss.value is None else "targets"
    forms = dict.fromkeys(OPTIMIZERS[name].form for name in optimizers)
    parts: dict[str, list[Compiled]] = {}
    for form in forms:
        if (step := narrow.step_of(model.network, batch_size, model.dtype, StepForm(targets, update=form))) is not None:
            several = narrow.threads_for(step, batch_size, threads.count())
            parts[f"step {form}"] = [step, *narrow.parts_of(step, batch_size, several, clipped=False)]
    rows = model.rows_at_once
    found = [narrow.forward_of(model.network, rows, model.dtype, outputs) for outputs in (True, False)]
    if predictions := list(filter(None, found)):
        parts["predictions"] = list(dict.fromkeys(predictions))
    model.bound_passes.clear()  # they hold what was there when they were bound
    return parts


def _parts(
    functions: Sequence[Function], more: Mapping[str, list[Compiled]] | None = None
) -> dict[str, Callable[[], Any]]:
    """Return what makes each part; None comes of a part that turns out not to be needed."""
    parts: dict[str, list[Compiled]] = {"pass": []}
    parts |= {f"{dtype} {part}": [] for dtype in DTYPES for part in PARTS}
    for function in functions:
        parts[f"{function.dtype} {_PART_OF[function.operation]}" if function.dtype else "pass"].append(function)
    made: dict[str, Callable[[], Any]] = {
        name: functools.partial(addresses, members) for name, members in {**parts, **(more or {})}.items() if members
    }
    return made | {"Numba's threads": _numbas_threads}


def _numbas_threads() -> Any:
    """Compile or load how Numba's threads enter the pass, and start them, where this process uses them."""
    if not threads.several_allowed() or not threads.by_numba() or threads.layer() == "python":
        return None
    from numba import types

    return run_by_numbas_threads().compile((types.intp, types.int64[::1], types.int64[::1]))  # as a call has them
