"""The memory that a fit allocates, as tracemalloc sees it, with NumPy's arrays; kernels allocate nothing."""

from __future__ import annotations

import threading
import tracemalloc
from dataclasses import dataclass

import numpy as np

from .narrow import NETWORKS as NARROW
from .problem import Problem
from .step import NETWORKS as WIDE

NETWORKS = NARROW | WIDE
MEGABYTE = 1024**2


@dataclass(frozen=True)
class Memory:
    """Bytes of one step's buffers, their allowed number, and what each further step adds, such as a loss to keep."""

    buffers: int
    allowed: int
    a_step: float


def memory_of(problem: Problem) -> Memory:
    """Measure the parameters and the peak of a fit besides them, in a new Python thread, which has no workspace yet.

    Allowed are the parameters twice, output and gradient of every layer for one batch, and 4 MB per thread.
    """
    from .peers.fastbp_network import Training

    training = Training(problem)
    training.run()  # compiles
    peaks: list[int] = []

    def measure() -> None:
        for epochs in (1, 1, 2):
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            training.fit(training.X, training.y, epochs)
            peaks.append(tracemalloc.get_traced_memory()[1] - before)

    tracemalloc.start()
    try:
        thread = threading.Thread(target=measure)
        thread.start()
        thread.join()
    finally:
        tracemalloc.stop()
    first, once, twice = peaks
    parameters = training.net.parameters.nbytes
    layers = 2 * problem.batch * sum(problem.sizes[1:]) * np.dtype(problem.dtype).itemsize
    allowed = 2 * parameters + layers + 4 * MEGABYTE * problem.threads
    return Memory(parameters + first, allowed, (twice - once) / problem.steps)


class Buffers:
    params = [list(NETWORKS)]
    param_names = ["network"]
    timeout = 300

    def setup(self, network):
        case = NETWORKS[network]
        self.memory = memory_of(Problem.training(network, case.batch, **case.how))

    def track_buffers(self, network):
        return self.memory.buffers

    track_buffers.unit = "bytes"

    def track_of_allowed(self, network):
        return self.memory.buffers / self.memory.allowed

    track_of_allowed.unit = "of parameters x 2 + activations + 4 MB a thread"

    def track_a_step(self, network):
        return self.memory.a_step

    track_a_step.unit = "bytes"
