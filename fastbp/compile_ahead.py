"""Compiling ahead: everything that networks run on, before the first of them asks for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from . import threads, validation
from .inputs.in_memory import GATHERED, Rows
from .program.run import prepare
from .program.table import Program
from .training.progress import progress_bar


def warmup(dtype: DTypeLike | None = None, progress: bool | None = None) -> dict[str, float]:
    """Compile, or load from the disk cache, all that `MLP.fit` and `MLP.predict` run on, whatever the network.

    Afterwards no network of this process has to wait for the compiler, and none of any later process either, as long as
    the cache folder can be written now and read then (`fastbp info` says so) and neither processor, versions nor
    settings change. For images of containers, whose disk may be read-only when they run, for services that must answer
    their first request at once, for measurements.

    Parameters
    ----------
    dtype : {"float32", "float64"}, optional
        What networks compute in; both by default.
    progress : bool or None
        A progress bar; None: on a terminal only.

    Returns
    -------
    dict of str to float
        Seconds each part took: for each dtype its kernels, the parallel pass where threads may be used (even if a quota
        leaves one processor now), and the gathering of rows from uint8, float32 and float64. Each is some seconds if
        compiled, some hundredths if loaded.

    Raises
    ------
    TypeError, ValueError
        `dtype` is none, or another one.
    KeyboardInterrupt
        When what is being compiled is done.

    Examples
    --------
    >>> import fastbp
    >>> seconds = fastbp.warmup("float32")
    >>> list(seconds)[0], min(seconds.values()) >= 0
    ('float32 kernels', True)
    """
    chosen = validation.FLOATS if dtype is None else (validation.float_dtype(dtype),)
    parts = [part for each in chosen for part in _parts(each)]
    seconds: dict[str, float] = {}
    with progress_bar(progress, len(parts), "part") as bar:
        for name, prepare in parts:
            bar.set_description(name)
            start = time.perf_counter()
            prepare()
            seconds[name] = time.perf_counter() - start
            bar.update(1)
    return seconds


def _parts(dtype: np.dtype[Any]) -> list[tuple[str, Callable[[], None]]]:
    """What is compiled for a dtype: nothing of it depends on a network, which is data to the compiled pass."""

    def gathering() -> None:
        for kind in GATHERED:
            Rows("X", np.zeros((1, 1), kind), 1, dtype, None, None).prepare()

    # Whatever the quota here, for an image is run elsewhere. What is allowed comes first: the layer starts the pool,
    # which a forked child must not.
    parallel = threads.several_allowed() and threads.layer() is not None
    return [
        (f"{dtype.name} kernels", lambda: prepare(Program.of([], 1, 1), dtype)),
        *([(f"{dtype.name} parallel", lambda: prepare(Program.of([], 1, 2), dtype))] if parallel else []),
        (f"{dtype.name} gathering", gathering),
    ]
