"""Narrow networks: a step and a prediction by the tier of their code, and steps against each peer."""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from . import BRIEF, step
from .duel import duel
from .problem import Problem
from .step import Case
from .tiers import TIERS

REGRESSION = {"loss": "mean_squared_error", "optimizer": "adam"}
NETWORKS = {
    "2-50-4": Case(32, 5, ratio_to_jax=8),
    "4-16-3": Case(16, 6, ratio_to_jax=10),
    "8-64-8": Case(32, 4),
    "64-16-10": Case(64, 3),
    "4-32-16-4": Case(10_000, 5, how={"activation": "tanh", **REGRESSION, "full_batch": True}),  # SimpleChains.jl's
    "16-32-32-1": Case(64, 5, how=REGRESSION),
}
if BRIEF:
    NETWORKS = {name: NETWORKS[name] for name in ("2-50-4", "4-32-16-4")}
PREDICTED = ["2-50-4", "64-100-10"]
ROUNDS_OF_COMPILING = 1 if BRIEF else 3
# Times the compiler in a process whose cache has the general code only, and prints the seconds.
COMPILE = """
import time
import fastbp
from benchmarks.tiers import specialise
net = fastbp.MLP((2, 50, 4))
fastbp.warmup("float32", activations="relu", losses="softmax_cross_entropy", optimizers="sgd", progress=False)
start = time.perf_counter()
specialise(net)
print(time.perf_counter() - start)
"""


def problem_of(network: str) -> Problem:
    return Problem.training(network, NETWORKS[network].batch, **NETWORKS[network].how)


def tiers_duel(problem: Problem, task: str, tiers: Sequence[str]) -> dict[str, float]:
    """Return the seconds per call of fastbp's side on each of these tiers, in processes of their own, in turns."""
    side = problem.sides(["fastbp"], task)["fastbp"]
    check = problem.check_training if task == "step" else problem.check_probabilities
    return duel({tier: replace(side, environment=TIERS[tier]) for tier in tiers}, check=check).seconds


def seconds_to_specialise() -> float:
    """Return the median seconds that the compiler takes for the code of 2-50-4, where nothing is in the cache."""
    seconds = []
    for _ in range(ROUNDS_OF_COMPILING):
        with tempfile.TemporaryDirectory() as empty:
            environment = {**os.environ, **TIERS["specialised"], "NUMBA_CACHE_DIR": empty}
            command, folder = [sys.executable, "-c", COMPILE], Path(__file__).parents[1]
            done = subprocess.run(
                command, check=True, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
            )
        seconds.append(float(done.stdout.split()[-1]))
    return statistics.median(seconds)


class NarrowStep:
    params = [list(NETWORKS), list(TIERS)]
    param_names = ["network", "tier"]
    timeout = 300
    unit = "seconds"

    def track_step(self, network, tier):
        problem = problem_of(network)
        return tiers_duel(problem, "step", [tier])[tier] / problem.all_steps


class NarrowStepOfTiers:
    params = [list(NETWORKS)]
    param_names = ["network"]
    timeout = 300
    unit = "specialised / general"

    def track_step(self, network):
        general, specialised = tiers_duel(problem_of(network), "step", list(TIERS)).values()
        return specialised / general


class NarrowStepAgainst(step.StepAgainst):
    params = [list(NETWORKS), step.StepAgainst.params[1]]

    def problem_of(self, network):
        return problem_of(network)


class NarrowPredict:
    """One row."""

    params = [PREDICTED, list(TIERS)]
    param_names = ["network", "tier"]
    timeout = 300
    unit = "seconds"

    def track_predict_proba(self, network, tier):
        problem = Problem(tuple(map(int, network.split("-"))), batch=1, steps=1)
        return tiers_duel(problem, "inference", [tier])[tier]


class NarrowSpecialising:
    """What it costs to specialise 2-50-4, and when that has paid."""

    timeout = 900

    def track_seconds_to_compile(self):
        return seconds_to_specialise()

    track_seconds_to_compile.unit = "seconds"

    def track_steps_until_it_pays(self):
        """Return the seconds to compile over those that a step saves; NaN if it saves none."""
        problem = problem_of("2-50-4")
        general, specialised = tiers_duel(problem, "step", list(TIERS)).values()
        saved = (general - specialised) / problem.all_steps
        return seconds_to_specialise() / saved if saved > 0 else math.nan

    track_steps_until_it_pays.unit = "steps"
