"""``fastbp verify``: check the kernels as they were compiled on this machine.

They are compared with `fastbp.reference`, plain NumPy that shares no code with them: with its values and gradients, and
with central differences of its formulas, each within a bound of ``k eps``. And they are compared with themselves, bit
for bit: with other numbers of threads, other splits of the work, one row at a time. All data come from fixed seeds.

What is checked follows from the tables: every activation, loss and optimizer of the package, by its row in
`fastbp.reference`.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from .. import threads, validation
from .bits import check_blockings, check_fused, check_one_hot, check_rows, check_threads
from .functions import check_affine, check_elementwise, check_pointwise, check_softmax
from .gradients import check_gradient, check_numeric
from .narrow import check_narrow
from .optimizers import check_optimizers
from .tally import Check, Tally
from .training import check_training

__all__ = ["CHECKS", "Check", "verify"]

DTYPES = ("float64", "float32")
CHECKS: dict[str, Callable[[Tally, np.dtype[Any]], None]] = {
    "affine layers": check_affine,
    "ReLU and SGD update": check_elementwise,
    "softmax with loss": check_softmax,
    "activations and losses": check_pointwise,
    "numeric gradients": check_numeric,
    "reference gradients": check_gradient,
    "reference training": check_training,
    "narrow networks": check_narrow,
    "optimizers' steps": check_optimizers,
    "fused update": check_fused,
    "one-hot targets": check_one_hot,
    "rows alone": check_rows,
    "blockings": check_blockings,
    "threads and splits": check_threads,
}


def verify(report: Callable[[Check], object] | None = None, names: Collection[str] | None = None) -> list[Check]:
    """Check the compiled kernels on this machine, in float64 and float32.

    Parameters
    ----------
    report : callable, optional
        Called with each check when it ends.
    names : collection of str, optional
        The checks to carry out, names of `CHECKS`; all of them by default.

    Returns
    -------
    list of Check
        Each of them is true if it passed. An exception within a check makes it fail and is its `detail`.

    Raises
    ------
    TypeError, ValueError
        `report` is no callable; `names` is no collection, is empty, or holds anything but names of `CHECKS`.

    Examples
    --------
    >>> all(verify(names=["one-hot targets"]))
    True
    """
    if report is not None and not callable(report):
        raise TypeError(f"report: got {type(report).__name__}, expected a callable")
    chosen = _chosen(names)
    threads.layer()  # starts the pool: until then short work stays on one thread
    checks = []
    for name, dtype in itertools.product(chosen, DTYPES):
        checks.append(_carry_out(name, dtype))
        if report is not None:
            report(checks[-1])
    return checks


def _chosen(names: Collection[str] | None) -> list[str]:
    if names is None:
        return list(CHECKS)
    chosen = [names] if isinstance(names, str) else validation.as_list(names)
    if chosen is None:
        raise TypeError(f"names: got {names!r}, expected a collection of names of checks")
    if not chosen:  # no check at all would look like one that passed
        raise ValueError(f"names: got none, expected at least one of {', '.join(CHECKS)}")
    for name in chosen:
        if not isinstance(name, str) or name not in CHECKS:
            raise ValueError(f"names: got {name!r}, expected any of {', '.join(CHECKS)}")
    return chosen


def _carry_out(name: str, dtype: str) -> Check:
    tally, start = Tally(), time.perf_counter()
    try:
        with np.errstate(all="ignore"):
            CHECKS[name](tally, np.dtype(dtype))
    except Exception as error:  # a wrong kernel may break what is built on it
        tally.fail(f"{type(error).__name__}: {error}")
    seconds = time.perf_counter() - start
    detail = tally.detail if tally.cases else tally.detail or "nothing was compared"
    return Check(name, dtype, tally.cases, tally.worst, tally.failures, tally.left_out, seconds, detail)
