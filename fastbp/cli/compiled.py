"""Which functions are compiled, from where they would be loaded, and what a first fit would cost."""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np

from ..kernels import cache
from ..kernels.functions import DTYPES, RUN, Compiled, every, gathering
from ..kernels.narrow.forms import FORWARD_PREFIX, STEP_PREFIX
from ..kernels.objects import SHIPPED, origin
from ..network import MLP
from ..program import narrow, passes
from ..program.network import StepForm
from ..program.tuning import Tuning

# Seconds that a function takes to be translated, and Numba to be imported and made ready and LLVM to finish, where
# `_yardstick` takes 0.020: one run on two quiet cores with AVX2, on which LLVM works beside Numba.
SECONDS = {"run": 0.3, "gemm": 0.9, "gemm_by_rows": 0.3, "column_sums": 0.2, "cross_entropy_of_labels": 0.3,
           "cross_entropy_of_probabilities": 0.3}  # fmt: skip
OTHER_SECONDS, NUMBA_SECONDS, YARDSTICK_SECONDS = 0.05, 1.0, 0.020
STEP_SECONDS = 4.0  # of a step of 2-50-4, in a process of its own that has to import Numba


def counts() -> list[str]:
    """Return in words, for each dtype, how many functions are compiled, and from where they would be loaded."""
    found = []
    for dtype in DTYPES:
        origins = [origin(function) for function in every([dtype])]  # with those that serve both
        there = [place for place in origins if place is not None]
        shipped = there.count(SHIPPED)
        places = f" (shipped {shipped}, in the cache {len(there) - shipped})" if there else ""
        found.append(f"{dtype} {len(there)} of {len(origins)}{places}")
    return found


def first_fits() -> list[str]:
    """Return in words, for each dtype, what the first fit of a new process loads or compiles."""
    found = []
    for dtype in DTYPES:
        missing = [function for function in of_a_first_fit(dtype) if origin(function) is None]
        named = f"{len(missing)} function{'s' if len(missing) > 1 else ''}"
        cost = f"compiles {named}, about {estimate(missing):.0f} s" if missing else "loads everything"
        found.append(f"{dtype} {cost}")
    return found


def narrow_networks() -> str:
    """Return in words what specialising on a narrow network costs, and what is kept of it."""
    if not narrow.switched_on():
        return f"on the general pass alone: {narrow.SWITCH}=0 is set"
    kept = [cache.sizes(prefix) for prefix in (STEP_PREFIX, FORWARD_PREFIX)]
    seconds = STEP_SECONDS * _yardstick() / YARDSTICK_SECONDS
    cost = f"a step takes about {max(1.0, seconds):.0f} s to compile, beside the fit"
    return f"{cost}; kept: steps {len(kept[0])}, predictions {len(kept[1])}, {sum(map(sum, kept)) / 1024:.0f} KiB"


def of_a_first_fit(dtype: str) -> list[Compiled]:
    """Return the functions of `MLP.fit` of a classifier by SGD, on rows of this dtype, and of `MLP.predict`."""
    network, kind = MLP((64, 100, 10)).model.network, np.dtype(dtype)
    form = StepForm("labels", penalised=True, fetched=True)
    step = passes.training_step(network, 32, kind, 1, form, Tuning())
    predict = passes.forward(network, 32, kind, 1, False, Tuning())
    return list(dict.fromkeys([RUN, gathering(dtype, dtype), *step.functions(kind), *predict.functions(kind)]))


def estimate(functions: Iterable[Compiled]) -> float:
    """Return about how many seconds these functions take to compile, at least 1.

    They are seconds measured on another machine, in proportion to how quickly this one's Python compiles a text.
    """
    there = NUMBA_SECONDS + sum(
        SECONDS.get(getattr(function, "operation", ""), OTHER_SECONDS) for function in functions
    )
    return max(1.0, there * _yardstick() / YARDSTICK_SECONDS)


def _yardstick() -> float:
    """Return the seconds in which this machine's Python compiles a text of 400 functions, the best of three."""
    text = "\n".join(f"def f{i}(a, b={i}):\n    return [a * b + x for x in range({i}) if x > b]\n" for i in range(400))
    seconds = []
    for _ in range(3):
        start = time.process_time()
        compile(text, "<yardstick>", "exec")
        seconds.append(time.process_time() - start)
    return min(seconds)
