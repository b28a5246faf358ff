"""Ahead-of-time compilation of all that networks run on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from . import validation
from .kernels.functions import addresses, every
from .training.progress import progress_bar


def warmup(dtype: DTypeLike | None = None, progress: bool | None = None) -> dict[str, float]:
    """Compile, or load from the cache on disk, all that `MLP.fit` and `MLP.predict` run on, for any network.

    Afterwards no network of this process waits for the compiler. Nor does one of a later process, if the cache folder
    is writable now and readable then (see `fastbp info`), and processor, versions and settings are the same. Use it for
    container images, whose disk may be read-only when they run, for services that must answer their first request at
    once, and before measurements.

    Parameters
    ----------
    dtype : {"float32", "float64"}, optional
        Type in which networks compute; both by default.
    progress : bool or None
        Show a progress bar; None shows it on a terminal only.

    Returns
    -------
    dict of str to float
        Seconds per part. The parts of each dtype are its kernels, the parallel driver where threads may be used (even
        if a quota leaves one processor now), and the gathering of rows from uint8, float32 and float64. Each takes a
        few seconds to compile, or a few hundredths of a second to load.

    Raises
    ------
    TypeError, ValueError
        `dtype` is neither "float32" nor "float64".
    KeyboardInterrupt
        Ctrl-C, after the part that is being compiled.

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


def _parts(dtype: np.dtype[Any]) -> list[tuple[str, Callable[[], Any]]]:
    return [(f"{dtype.name} kernels", lambda: addresses(every([dtype.name])))]
