"""Training steps inside ``fit``: microseconds a step, against each peer, and as a fraction of the processor's limit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from . import BRIEF
from .duel import PROCESSORS, ROUNDS, Outcome, duel
from .fma import Probe
from .problem import PEERS, Problem, step_flops, why_absent


class Case(NamedTuple):
    """Batch; how many times as fast as its best peer fastbp should be; what percentage of the limit it should reach.

    Also how many times as fast as the installed JAX, and the arguments of `Problem.training` that are not the defaults.
    """

    batch: int
    ratio: float = 1
    percent: float = math.nan
    ratio_to_jax: float = math.nan
    how: Mapping[str, Any] = MappingProxyType({})


NETWORKS = {
    "64-100-10": Case(64, 2),
    "784-100-10": Case(100, 1.6),
    "784-512-256-10": Case(128, 1.35),
    "104-256-256-2": Case(256, 1.6),
    "64-128-128-128-128-128-128-10": Case(128, 2.2),
    "1024-1024-1024-10": Case(256, 1.1, 92),
    "2048-4096-4096-1000": Case(256, 1.05, 93),
}
if BRIEF:
    NETWORKS = {"64-100-10": NETWORKS["64-100-10"]}
BATCHES = (32,) if BRIEF else (32, 64, 128, 256, 512, 1024, 2048, 4096)
ODD = {"13-57-129-7": Case(37)}  # no size is a multiple of a vector; to be ahead of every peer here, too


def step_duel(problem: Problem, peers: Sequence[str], rounds: int = ROUNDS) -> tuple[Outcome, float]:
    """Return the seconds per step of fastbp and its peers, whose results are compared, and of its products alone."""
    limit, flops = Probe.side(problem.dtype, problem.threads)
    sides = problem.sides(["fastbp", *peers], "step") | {"limit": limit}

    def check(theirs, ours):
        if theirs.size:  # the probe has no result
            problem.check_training(theirs, ours)

    outcome = duel(sides, rounds, check)
    least = outcome.of("limit") * step_flops(problem.sizes, problem.batch) / flops
    del outcome.seconds["limit"]
    outcome.seconds = {name: seconds / problem.all_steps for name, seconds in outcome.seconds.items()}
    return outcome, least


def threads_duel(network: str, batch: int, dtype: str, counts: Sequence[int], rounds: int = ROUNDS) -> dict[int, float]:
    """Return the seconds per step of fastbp with each of these numbers of threads."""
    problems = {count: Problem.training(network, batch, dtype, count) for count in counts}
    sides = {str(count): problem.sides(["fastbp"], "step")["fastbp"] for count, problem in problems.items()}
    seconds = duel(sides, rounds).seconds
    return {count: seconds[str(count)] / problem.steps for count, problem in problems.items()}


class Step:
    params = [list(NETWORKS), ["float32", "float64"]]
    param_names = ["network", "dtype"]
    timeout = 300

    def setup(self, network, dtype):
        from .peers.fastbp_network import Training

        self.training = Training(Problem.training(network, NETWORKS[network].batch, dtype))
        self.training.run()

    def time_epoch(self, network, dtype):
        self.training.run()


class StepAgainst:
    params = [list(NETWORKS), [peer for peer in PEERS["step"] if peer != "fastbp"]]
    param_names = ["network", "peer"]
    timeout = 900
    unit = "fastbp / peer"

    def setup(self, network, peer):
        if reason := why_absent(peer):
            raise NotImplementedError(reason)

    def problem_of(self, network):
        return Problem.training(network, NETWORKS[network].batch)

    def track_step(self, network, peer):
        outcome, _ = step_duel(self.problem_of(network), [peer])
        return outcome.seconds["fastbp"] / outcome.seconds.get(peer, math.nan)


class StepOfLimit:
    params = [list(NETWORKS)]
    param_names = ["network"]
    timeout = 300
    unit = "step / its multiply-adds alone"

    def track_step(self, network):
        outcome, least = step_duel(Problem.training(network, NETWORKS[network].batch), [])
        return outcome.seconds["fastbp"] / least


class StepOnThreads:
    params = [list(NETWORKS)[-3:]]
    param_names = ["network"]
    timeout = 300
    unit = "all threads / one"

    def setup(self, network):
        if len(PROCESSORS) == 1:
            raise NotImplementedError("one processor")

    def track_step(self, network):
        one, all_ = threads_duel(network, NETWORKS[network].batch, "float32", (1, len(PROCESSORS))).values()
        return all_ / one
