"""Kernels over the processor's limit, in turns of milliseconds within one process and on one thread.

What slows the machine slows both alike, so that a kernel 30 % slower stands out where seconds would drown it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import fastbp

from . import BRIEF
from .fma import Probe
from .gemm import FORMS, SHAPES, Form
from .narrow import NETWORKS as NARROW
from .problem import Problem, step_flops
from .step import NETWORKS as WIDE

TURNS = 1 if BRIEF else 300
# Those that SGD trains, with steps of milliseconds at most.
NETWORKS = {name: case for name, case in NARROW.items() if not case.how} | dict(list(WIDE.items())[:5])
PROBE_REPEATS = 100 if BRIEF else 50_000  # 0.8 ms


def over_probe(work: Callable[[], object], flops: float, dtype: str, turns: int = TURNS) -> float:
    """Return the median time of `work` over that of its multiply-adds on registers alone: 1 is the limit.

    The clock is the thread's own: it stands still while another process has the processor.
    """
    probe = Probe(dtype, repeats=PROBE_REPEATS)
    work()

    def seconds(call: Callable[[], object]) -> float:
        start = time.thread_time()
        call()
        return time.thread_time() - start

    ratios = []
    for _ in range(turns):
        before, took, after = seconds(probe), seconds(work), seconds(probe)
        ratios.append(2 * took / max(before + after, 1e-9))
    return statistics.median(ratios) * probe.flops / flops


class KernelOverProbe:
    params = [list(FORMS), SHAPES[:2], ["float32", "float64"]]
    param_names = ["form", "shape", "dtype"]
    unit = "kernel / its multiply-adds alone"

    def track_gemm(self, form, shape, dtype):
        rows, fan_in, fan_out = shape
        with fastbp.threads.limit(1):
            return over_probe(Form(form, shape, dtype), 2 * rows * fan_in * fan_out, dtype)


class StepOverProbe:
    params = [list(NETWORKS), ["float32", "float64"]]
    param_names = ["network", "dtype"]
    unit = "step / its multiply-adds alone"

    def track_step(self, network, dtype):
        from .peers.fastbp_network import Training

        batch = NETWORKS[network].batch
        sizes = tuple(map(int, network.split("-")))
        flops = step_flops(sizes, batch)
        steps = 2 if BRIEF else max(2, min(1000, int(5e8 / flops)))
        with fastbp.threads.limit(1):
            return over_probe(Training(Problem(sizes, batch, steps, dtype, 1)).run, flops * steps, dtype)
