"""The parts that measure training steps: those of the large table, and those of narrow networks."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from . import duration, fits
from .benchmarks import tiers
from .benchmarks.duel import Outcome
from .benchmarks.problem import PEERS, Problem, step_flops, why_absent
from .benchmarks.step import Case, step_duel
from .table import Table

Networks = Sequence[tuple[str, Case]]
MICROSECONDS = 1e6


def known(task: str, chosen: Iterable[str]) -> list[str]:
    return [peer for peer in PEERS[task] if peer in chosen and peer != "fastbp"]


def present(task: str, chosen: Iterable[str]) -> list[str]:
    return ["fastbp", *(peer for peer in known(task, chosen) if not why_absent(peer))]


def problem_of(name: str, case: Case, options: argparse.Namespace) -> Problem:
    batch = max(1, round(case.batch * options.batch_scale))
    return Problem.training(name, batch, options.dtype, options.threads, **case.how)


class Measured(NamedTuple):
    """A network's step: of each side, over fastbp's, and what share of the limit is reached."""

    name: str
    batch: int
    case: Case
    outcome: Outcome
    times: list[float]  # in microseconds: of fastbp and of each peer, NaN where it is missing
    ratio: float
    percent: float

    @property
    def record(self) -> dict[str, Any]:
        found = {"network": self.name, "batch": self.batch, "seconds": self.outcome.seconds}
        found |= {"best_over_ours": self.ratio, "asked": self.case.ratio, "percent_of_limit": self.percent}
        return found


def measured(networks: Networks, options: argparse.Namespace) -> Iterator[Measured]:
    peers = known("step", options.peers)
    for name, case in networks:
        problem = problem_of(name, case, options)
        outcome, least = step_duel(problem, peers, options.rounds)
        ours = outcome.seconds["fastbp"]
        times = [outcome.seconds.get(side, math.nan) * MICROSECONDS for side in ("fastbp", *peers)]
        yield Measured(name, problem.batch, case, outcome, times, outcome.best(peers) / ours, 100 * least / ours)


def seconds_of_fit(side: str, problem: Problem, options: argparse.Namespace) -> float:
    flops = step_flops(problem.sizes, problem.batch)
    return duration.of_work(side, flops, options.dtype, options.threads, problem.all_steps)


def seconds_of(networks: Networks, options: argparse.Namespace) -> float:
    problems, sides = [problem_of(*each, options) for each in networks], present("step", options.peers)
    calls = ({side: seconds_of_fit(side, problem, options) for side in sides} for problem in problems)
    whole = sum(duration.of_duel({**of_sides, "limit": 0}, options.rounds) for of_sides in calls)
    return whole + tiers.SECONDS * sum(max(problem.sizes) <= tiers.WIDEST for problem in problems)


def step(options: argparse.Namespace) -> list[dict[str, Any]]:
    title = f"training step, {options.dtype}, threads: {options.threads}; microseconds"
    names = "fastbp", *known("step", options.peers), "best/ours", "asked", "% of limit", "asked %"
    table = Table(title, "network", "batch", *names)
    records = []
    for found in measured(options.networks, options):
        table.missing(found.outcome)
        asked = found.case
        table.row(found.name, found.batch, *found.times, found.ratio, asked.ratio, found.percent, asked.percent)
        records.append(found.record)
    table.close()
    return records


def seconds_of_step(options: argparse.Namespace) -> float:
    return seconds_of(options.networks, options)


def narrow(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure steps; and, unless networks were named, whole fits of networks as narrow."""
    title = f"training step of narrow networks, {options.dtype}, threads: {options.threads}; microseconds"
    names = "fastbp", *known("step", options.peers), "best/ours", "asked", "JAX/ours", "asked", "% of limit"
    table = Table(title, "network", "batch", *names)
    records = []
    for found in measured(options.narrow_networks, options):
        table.missing(found.outcome)
        seconds, asked = found.outcome.seconds, found.case
        to_jax = seconds.get("JAX", math.nan) / seconds["fastbp"]
        table.row(
            found.name, found.batch, *found.times, found.ratio, asked.ratio, to_jax, asked.ratio_to_jax, found.percent
        )
        records.append({**found.record, "jax_over_ours": to_jax, "asked_of_jax": asked.ratio_to_jax})
    table.close()
    if not options.networks_named:
        records += fits.curves_of(options) + fits.searches(options, [fits.many.DEFAULT])
    return records


def seconds_of_narrow(options: argparse.Namespace) -> float:
    seconds = seconds_of(options.narrow_networks, options)
    if not options.networks_named:
        seconds += fits.seconds_of_curves(options) + fits.seconds_of_search(options)
    return seconds
