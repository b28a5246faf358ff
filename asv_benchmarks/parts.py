"""The parts of the command: each measures, prints its tables and returns records."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import asdict
from itertools import product
from typing import Any, NamedTuple

from . import duration
from .benchmarks import gemm, inference, loop, memory, ranks, start
from .benchmarks import stream as streams
from .benchmarks.problem import Problem, step_flops, why_absent
from .benchmarks.step import BATCHES, threads_duel
from .fits import estimators_fit, many_networks, seconds_of_estimators, seconds_of_many
from .steps import (
    MICROSECONDS,
    known,
    narrow,
    present,
    problem_of,
    seconds_of_fit,
    seconds_of_narrow,
    seconds_of_step,
    step,
)
from .table import Table

Records = list[dict[str, Any]]


def products(options: argparse.Namespace) -> Records:
    title = f"products, {options.dtype}; % of the processor's limit on as many threads, and times relative to fastbp's"
    names = "rows x fan_in x fan_out, form", "threads", "fastbp", "NumPy", "asked %", "NumPy/ours", "asked"
    table = Table(title, *names)
    records = []
    for shape, threads in product(gemm.SHAPES, options.counts):
        shares = gemm.shares_of_limit(shape, options.dtype, threads, options.rounds)
        for form, share in shares.items():
            percent = {name: 100 * part for name, part in zip(("fastbp", "NumPy"), share, strict=True)}
            ratio = percent["fastbp"] / percent["NumPy"]
            label = f"{' x '.join(map(str, shape))}, {form}"
            table.row(label, threads, *percent.values(), gemm.ASKED, ratio, gemm.ASKED_OF_NUMPY)
            found = {"shape": shape, "form": form, "threads": threads, "percent_of_limit": percent}
            records.append({**found, "numpy_over_ours": ratio})
    return records


def seconds_of_products(options: argparse.Namespace) -> float:
    whole = 0.0
    for shape, threads in product(gemm.SHAPES, options.counts):
        call = duration.of_work("fastbp", 2 * math.prod(shape), options.dtype, threads)
        a_form = duration.of_duel({"fastbp": call, "NumPy": call}, options.rounds)
        whole += len(gemm.FORMS) * a_form + duration.of_duel({"limit": 0}, options.rounds)
    return whole


def infer(options: argparse.Namespace) -> Records:
    peers = known("inference", options.peers)
    title = f"predict_proba, {options.dtype}, threads: {options.threads}; microseconds"
    names = "network", "rows", "fastbp", *peers, "best/ours", "asked"
    table = Table(title, *names)
    records = []
    for network, rows in product(inference.NETWORKS, inference.ROWS):
        outcome = inference.inference_duel(network, rows, peers, options.dtype, options.threads, options.rounds)
        ratio = outcome.best(peers) / outcome.seconds["fastbp"]
        table.missing(outcome)
        times = (outcome.seconds.get(side, math.nan) * MICROSECONDS for side in ("fastbp", *peers))
        table.row(network, rows, *times, ratio, inference.asked(network, rows))
        records.append({"network": network, "rows": rows, "seconds": outcome.seconds, "best_over_ours": ratio})
    table.close()
    return records


def seconds_of_inference(options: argparse.Namespace) -> float:
    whole = 0.0
    for sizes, rows in product(inference.NETWORKS.values(), inference.ROWS):
        flops = step_flops(sizes, rows) / 3
        calls = {
            side: duration.of_work(side, flops, options.dtype, options.threads)
            for side in present("inference", options.peers)
        }
        whole += duration.of_duel(calls, options.rounds)
    return whole


def first(options: argparse.Namespace) -> Records:
    table = Table(
        'fresh processes, from start to end; times as long as `python -c "import numba"`', "what", "fastbp", "asked"
    )
    ratios = {}
    for words, name, asked in start.RATIOS:
        ratios[name] = getattr(start.Start(), f"track_{name}")()
        table.row(words, ratios[name], asked)
    peers = peers_that_start(options)
    seconds = start.first_fit_seconds(peers)
    table = Table("import, one epoch on the digits, predict; seconds", "fastbp", *peers)
    table.row(*seconds.values())
    return [{"over_import_numba": ratios, "first_fit_seconds": seconds}]


def peers_that_start(options: argparse.Namespace) -> list[str]:
    return [peer for peer in start.FIRST_FIT if peer in options.peers and not why_absent(peer)]


def seconds_of_first(options: argparse.Namespace) -> float:
    """Return the time of a wheel, of caches that are filled, and of the processes of each ratio."""
    of_ratios = start.ROUNDS * len(start.RATIOS) * 1.5
    return 120 + of_ratios + start.ROUNDS * 3 * (1 + len(peers_that_start(options)))


def bytes_of_step(options: argparse.Namespace) -> Records:
    title = f"memory of a fit, {options.dtype}, threads: {options.threads}; MB"
    names = "network", "batch", "buffers", "allowed", "bytes more a step"
    table = Table(title, *names)
    records = []
    for name, case in options.networks:
        problem = problem_of(name, case, options)
        found = memory.memory_of(problem)
        table.row(name, problem.batch, found.buffers / memory.MEGABYTE, found.allowed / memory.MEGABYTE, found.a_step)
        records.append({"network": name, "batch": problem.batch, **asdict(found)})
    return records


def seconds_of_memory(options: argparse.Namespace) -> float:
    problems = [problem_of(*each, options) for each in options.networks]
    return sum(1 + 5 * seconds_of_fit("fastbp", problem, options) for problem in problems)


def scale(options: argparse.Namespace) -> Records:
    counts = sorted({1, options.threads})
    title = f"fastbp's step by batch and threads, {options.dtype}; microseconds a row"
    names = "network", "batch", *(f"threads {count}" for count in counts), "1 / most"
    table = Table(title, *names)
    records = []
    for name, _ in options.networks[-3:]:
        for batch in BATCHES:
            seconds = threads_duel(name, batch, options.dtype, counts, options.rounds)
            a_row = [MICROSECONDS * seconds[count] / batch for count in counts]
            table.row(name, batch, *a_row, a_row[0] / a_row[-1])
            records.append({"network": name, "batch": batch, "seconds": seconds})
    return records


def seconds_of_scale(options: argparse.Namespace) -> float:
    whole = 0.0
    for (name, _), batch, threads in product(options.networks[-3:], BATCHES, sorted({1, options.threads})):
        problem = Problem.training(name, batch, options.dtype, threads)
        flops = step_flops(problem.sizes, batch)
        call = duration.of_work("fastbp", flops, options.dtype, threads, problem.steps)
        whole += duration.of_duel({"fastbp": call}, options.rounds)
    return whole


def stream(options: argparse.Namespace) -> Records:
    title = f"a file of four times the memory limit, threads: {options.threads}"
    names = "network, stored as", "limit MB", "MB before", "peak MB", "over/limit", "asked", "in memory / file", "asked"
    table = Table(title, *names)
    records = []
    for limit, kind, name in product(streams.LIMITS, streams.KINDS, streams.NETWORKS):
        with streams.file_of(limit, kind) as file:
            before, peak = streams.resident(file, name)
            seconds = streams.speed(file, name, options.threads, options.rounds)
        megabytes = (bytes_ / memory.MEGABYTE for bytes_ in (limit, before, peak))
        share, ratio = (peak - before) / limit, seconds["memory"] / seconds["file"]
        table.row(f"{name}, {kind}", *megabytes, share, 1.1, ratio, 0.9)
        found = {"network": name, "kind": kind, "limit": limit, "before": before, "peak": peak}
        records.append({**found, "seconds": seconds})
    table.close()
    return records


def seconds_of_stream(options: argparse.Namespace) -> float:
    whole = 0.0
    for limit, kind, name in product(streams.LIMITS, streams.KINDS, streams.NETWORKS):
        rows = streams.rows_of(limit, kind)
        flops = step_flops(tuple(map(int, name.split("-"))), rows)
        epoch = duration.of_work("fastbp", flops, "float32", options.threads)
        to_write, alone = 4 * limit / 1e8, 3 + 2 * epoch
        whole += to_write + alone + 2 * duration.of_duel({"fastbp": epoch}, options.rounds)
    return whole


def step_of_ranks(options: argparse.Namespace) -> Records:
    title = f"a step on several ranks, one thread each, {options.dtype}; microseconds"
    names = "network", "rows a rank", "ranks", "gradient", "exchange", "update", "step", "MLP.fit", "spread"
    table = Table(title, *names)
    records = []
    for name, rows, number in product(ranks.NETWORKS, ranks.ROWS, (1, 2)):
        found = ranks.measure(number, name, rows, options.dtype)
        parts = (found[part] * MICROSECONDS for part in ("gradient", "exchange", "update", "step", "fused", "spread"))
        table.row(name, rows, number, *parts)
        records.append({"network": name, "rows": rows, "ranks": number, **found})
    table.close()
    return records


def seconds_of_ranks(options: argparse.Namespace) -> float:
    return len(ranks.NETWORKS) * len(ranks.ROWS) * 2 * 5.0


def own_loops(options: argparse.Namespace) -> Records:
    title = f"a loop and an optimizer of one's own, momentum, {options.dtype}, threads: {options.threads}; microseconds"
    table = Table(title, "network", "batch", "fit", "own optimizer", "backward, apply", "partial_fit")
    records = []
    for name, batch in loop.NETWORKS.items():
        seconds = loop.steps_of(name, options.dtype, options.threads, options.rounds)
        table.row(name, batch, *(MICROSECONDS * seconds[way] for way in loop.WAYS))
        records.append({"network": name, "batch": batch, "seconds": seconds})
    return records


def seconds_of_loops(options: argparse.Namespace) -> float:
    return 5.0 + 0.6 * len(loop.NETWORKS) * options.rounds


class Part(NamedTuple):
    """A part of the command, and about how many seconds it takes."""

    run: Callable[[argparse.Namespace], Records]
    seconds: Callable[[argparse.Namespace], float]


PARTS = {
    "step": Part(step, seconds_of_step),
    "narrow": Part(narrow, seconds_of_narrow),
    "inference": Part(infer, seconds_of_inference),
    "products": Part(products, seconds_of_products),
    "start": Part(first, seconds_of_first),
    "memory": Part(bytes_of_step, seconds_of_memory),
    "scale": Part(scale, seconds_of_scale),
    "estimators": Part(estimators_fit, seconds_of_estimators),
    "many": Part(many_networks, seconds_of_many),
    "stream": Part(stream, seconds_of_stream),
    "ranks": Part(step_of_ranks, seconds_of_ranks),
    "loop": Part(own_loops, seconds_of_loops),
}
