"""The parts that measure whole fits against scikit-learn's: of estimators, learning curves, and many networks."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable
from itertools import product
from typing import Any

from . import duration
from .benchmarks import curves, estimators, many, tiers
from .table import Table

Records = list[dict[str, Any]]


def estimators_fit(options: argparse.Namespace) -> Records:
    title = f"a fit of MLPClassifier, {options.dtype}, threads: {options.threads}; milliseconds"
    names = "data", "solver", *estimators.CLASSES, "sk / ours", "asked", "score", "of sk"
    table = Table(title, *names)
    records = []
    for data, solver in product(estimators.DATA, estimators.SOLVERS):
        outcome, scores = estimators.fit_duel(data, solver, options.dtype, options.threads, options.rounds)
        times = [outcome.seconds.get(side, math.nan) for side in estimators.CLASSES]
        table.missing(outcome)
        table.row(
            data,
            solver,
            *(1000 * seconds for seconds in times),
            times[1] / times[0],
            float(estimators.DATA[data].asked),
            *(scores.get(side, math.nan) for side in estimators.CLASSES),
        )
        records.append({"data": data, "solver": solver, "seconds": outcome.seconds, "scores": scores})
    table.close()
    return records


def seconds_of_estimators(options: argparse.Namespace) -> float:
    calls = {"fastbp": 0.2, "scikit-learn": 0.5}
    return len(estimators.DATA) * len(estimators.SOLVERS) * duration.of_duel(calls, options.rounds)


def curves_of(options: argparse.Namespace) -> Records:
    title = f"scikit-learn's example of learning curves, all settings, float64, threads: {options.threads}; seconds"
    table = Table(title, "data", *estimators.CLASSES, "sk / ours", "asked")
    records = []
    for data in curves.DATA:
        outcome = curves.curves_duel(data, options.threads, options.rounds)
        ours, theirs = (outcome.seconds.get(side, math.nan) for side in estimators.CLASSES)
        table.missing(outcome)
        table.row(data, ours, theirs, theirs / ours, curves.ASKED)
        records.append({"curves": data, "seconds": outcome.seconds})
    table.close()
    return records


def seconds_of_curves(options: argparse.Namespace) -> float:
    calls = {"fastbp": 0.4, "scikit-learn": 1.0}
    return len(curves.DATA) * (tiers.MORE_SECONDS + duration.of_duel(calls, options.rounds))


def searches(options: argparse.Namespace, names: Iterable[str] = tuple(many.BATCHES)) -> Records:
    title = f"a search over 64 networks 64-32-10 on the digits, float32, threads: {options.threads}; seconds"
    table = Table(title, "batch", "fastbp", "scikit-learn", "sk / ours", "asked", "score", "of sk")
    records: Records = []
    for name in names:
        batch = many.BATCHES[name]
        outcome, scores = many.search_duel(batch, options.threads, options.rounds)
        ours, theirs = (outcome.seconds.get(side, math.nan) for side in ("fastbp", "scikit-learn"))
        table.missing(outcome)
        best = (scores.get(side, math.nan) for side in ("fastbp", "scikit-learn"))
        table.row(name, ours, theirs, theirs / ours, float(many.ASKED), *best)
        records.append({"batch": batch, "seconds": outcome.seconds, "scores": scores})
    table.close()
    return records


def seconds_of_search(options: argparse.Namespace) -> float:
    return tiers.MORE_SECONDS + duration.of_duel({"fastbp": 0.2, "scikit-learn": 2.0}, options.rounds)


def many_networks(options: argparse.Namespace) -> Records:
    records = searches(options)
    counts = sorted({1, options.threads})
    title = "fit_many by threads, the same network; milliseconds"
    names = "batch", *(f"threads {count}" for count in counts), "1 / most", "asked"
    table = Table(title, *names)
    for name, batch in many.BATCHES.items():
        seconds = many.threads_duel(batch, counts, options.rounds)
        times = (1000 * seconds[count] for count in counts)
        table.row(name, *times, seconds[1] / seconds[counts[-1]], many.ASKED_OF_THREADS)
        records.append({"batch": batch, "seconds_by_threads": seconds})
    table.close()
    return records


def seconds_of_many(options: argparse.Namespace) -> float:
    by_threads = 2 * (tiers.SECONDS + duration.of_duel({"fastbp": 0.2}, options.rounds))
    return len(many.BATCHES) * (seconds_of_search(options) + by_threads)
