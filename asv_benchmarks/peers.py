"""Compare fastbp with its peers and with the processor's limit, on this machine."""

from __future__ import annotations

import argparse
import json
import math
import platform
from collections.abc import Callable, Iterable
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import product
from typing import Any

from llvmlite.binding import get_host_cpu_name

from .benchmarks import estimators, gemm, inference, many, memory, ranks, start
from .benchmarks import stream as streams
from .benchmarks.duel import PROCESSORS, ROUNDS, Outcome
from .benchmarks.problem import DISTRIBUTIONS, PEERS, Problem
from .benchmarks.step import BATCHES, NETWORKS, ODD, step_duel, threads_duel

Records = list[dict[str, Any]]
MICROSECONDS = 1e6


class Table:
    """A table that prints each row as soon as it is measured, and at the end why a peer has no figure."""

    def __init__(self, title: str, *names: str):
        self._widths = [30, *(max(9, len(name) + 1) for name in names[1:])]
        self._reasons: dict[str, str] = {}
        print(f"\n{title}\n")
        self.row(*names)

    def row(self, *cells: str | float) -> None:
        texts = [figure(cell) if isinstance(cell, float) else str(cell) for cell in cells]
        rest = "".join(f" {text}".rjust(width) for text, width in zip(texts[1:], self._widths[1:], strict=True))
        print(texts[0].ljust(self._widths[0]) + rest, flush=True)

    def missing(self, outcome: Outcome) -> None:
        self._reasons |= outcome.missing

    def close(self) -> None:
        for name, reason in self._reasons.items():
            print(f"{name}: {reason}")


def figure(number: float) -> str:
    """Format a number with three digits and no exponent; NaN, which was not measured, as a dash."""
    if math.isnan(number):
        return "-"
    places = 2 - math.floor(math.log10(abs(number))) if number else 0
    return f"{number:.{max(0, places)}f}"


def installed(task: str, chosen: Iterable[str]) -> list[str]:
    return [peer for peer in PEERS[task] if peer in chosen and peer != "fastbp"]


# ---- the parts ----


def step(options: argparse.Namespace) -> Records:
    peers = installed("step", options.peers)
    title = f"training step, {options.dtype}, threads: {options.threads}; microseconds"
    names = "network", "batch", "fastbp", *peers, "best/ours", "asked", "% of limit"
    table = Table(title, *names)
    records = []
    for name, batch, asked in options.networks:
        problem = Problem.training(name, max(1, round(batch * options.batch_scale)), options.dtype, options.threads)
        outcome, least = step_duel(problem, peers, options.rounds)
        ours = outcome.seconds["fastbp"]
        ratio, share = outcome.best(peers) / ours, 100 * least / ours
        table.missing(outcome)
        times = (outcome.seconds.get(side, math.nan) * MICROSECONDS for side in ("fastbp", *peers))
        table.row(name, problem.batch, *times, ratio, asked, share)
        found = {"network": name, "batch": problem.batch, "seconds": outcome.seconds, "best_over_ours": ratio}
        records.append({**found, "asked": asked, "percent_of_limit": share})
    table.close()
    return records


def products(options: argparse.Namespace) -> Records:
    title = f"products, {options.dtype}, threads: {options.threads}; % of the processor's limit"
    names = "rows x fan_in x fan_out, form", "fastbp", "NumPy", "asked"
    table = Table(title, *names)
    records = []
    for shape in gemm.SHAPES[-2:]:
        shares = gemm.shares_of_limit(shape, options.dtype, options.threads, options.rounds)
        for form, share in shares.items():
            percent = {name: 100 * part for name, part in zip(("fastbp", "NumPy"), share, strict=True)}
            table.row(f"{' x '.join(map(str, shape))}, {form}", *percent.values(), 85)
            records.append({"shape": shape, "form": form, "percent_of_limit": percent})
    return records


def infer(options: argparse.Namespace) -> Records:
    peers = installed("inference", options.peers)
    title = f"predict_proba, {options.dtype}, threads: {options.threads}; microseconds"
    names = "network", "rows", "fastbp", "asked", *peers, "best/ours"
    table = Table(title, *names)
    records = []
    for network, rows in product(inference.NETWORKS, inference.ROWS):
        outcome = inference.inference_duel(network, rows, peers, options.dtype, options.threads, options.rounds)
        ratio = outcome.best(peers) / outcome.seconds["fastbp"]
        table.missing(outcome)
        ours, *times = (outcome.seconds.get(side, math.nan) * MICROSECONDS for side in ("fastbp", *peers))
        table.row(network, rows, ours, 6 if (network, rows) == ("64-100-10", 1) else math.nan, *times, ratio)
        records.append({"network": network, "rows": rows, "seconds": outcome.seconds, "best_over_ours": ratio})
    table.close()
    return records


def first(options: argparse.Namespace) -> Records:
    table = Table(
        'fresh processes, from start to end; times as long as `python -c "import numba"`', "what", "fastbp", "asked"
    )
    ratios = {}
    for words, name, asked in start.RATIOS:
        ratios[name] = getattr(start.Start(), f"track_{name}")()
        table.row(words, ratios[name], asked)
    peers = [peer for peer in start.FIRST_FIT if peer in options.peers and find_spec(DISTRIBUTIONS[peer])]
    seconds = start.first_fit_seconds(peers)
    table = Table("import, one epoch on the digits, predict; seconds", "fastbp", *peers)
    table.row(*seconds.values())
    return [{"over_import_numba": ratios, "first_fit_seconds": seconds}]


def bytes_of_step(options: argparse.Namespace) -> Records:
    title = f"memory of a fit, {options.dtype}, threads: {options.threads}; MB"
    names = "network", "batch", "buffers", "allowed", "bytes more a step"
    table = Table(title, *names)
    records = []
    for name, batch, _ in options.networks:
        problem = Problem.training(name, max(1, round(batch * options.batch_scale)), options.dtype, options.threads)
        found = memory.memory_of(problem)
        table.row(name, problem.batch, found.buffers / memory.MEGABYTE, found.allowed / memory.MEGABYTE, found.a_step)
        records.append({"network": name, "batch": problem.batch, **asdict(found)})
    return records


def scale(options: argparse.Namespace) -> Records:
    counts = sorted({1, options.threads})
    title = f"fastbp's step by batch and threads, {options.dtype}; microseconds a row"
    names = "network", "batch", *(f"threads {count}" for count in counts), "1 / most"
    table = Table(title, *names)
    records = []
    for name, _, _ in options.networks[-3:]:
        for batch in BATCHES:
            seconds = threads_duel(name, batch, options.dtype, counts, options.rounds)
            a_row = [MICROSECONDS * seconds[count] / batch for count in counts]
            table.row(name, batch, *a_row, a_row[0] / a_row[-1])
            records.append({"network": name, "batch": batch, "seconds": seconds})
    return records


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


def many_networks(options: argparse.Namespace) -> Records:
    title = f"a search over 64 networks 64-32-10 on the digits, float32, threads: {options.threads}; seconds"
    names = "batch", "fastbp", "scikit-learn", "sk / ours", "asked", "score", "of sk"
    table = Table(title, *names)
    records: Records = []
    for name, batch in many.BATCHES.items():
        outcome, scores = many.search_duel(batch, options.threads, options.rounds)
        ours, theirs = (outcome.seconds.get(side, math.nan) for side in ("fastbp", "scikit-learn"))
        table.missing(outcome)
        best = (scores.get(side, math.nan) for side in ("fastbp", "scikit-learn"))
        table.row(name, ours, theirs, theirs / ours, float(many.ASKED), *best)
        records.append({"batch": batch, "seconds": outcome.seconds, "scores": scores})
    table.close()
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


PARTS: dict[str, Callable[[argparse.Namespace], Records]] = {
    "step": step,
    "inference": infer,
    "products": products,
    "start": first,
    "memory": bytes_of_step,
    "scale": scale,
    "estimators": estimators_fit,
    "many": many_networks,
    "stream": stream,
    "ranks": step_of_ranks,
}


# ---- the command ----


def network(text: str) -> tuple[str, int, float]:
    """Read the name of a network in the table, or any NAME:BATCH; return name, batch and required ratio, else 1."""
    name, _, batch = text.partition(":")
    known = NETWORKS | {ODD[0]: (ODD[1], 1)}
    if not batch and name not in known:
        raise argparse.ArgumentTypeError(f"{name}: expected one of {', '.join(known)}, or any NAME:BATCH")
    return name, int(batch) if batch else known[name][0], known.get(name, (0, 1))[1]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m asv_benchmarks.peers", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)}; step if none is named")
    of_networks = "such as 64-100-10 or 13-57-129-7:37; by default those of the table"
    parser.add_argument("--networks", nargs="+", type=network, metavar="NAME[:BATCH]", help=of_networks)
    peers: dict[str, Any] = {"choices": DISTRIBUTIONS, "default": list(DISTRIBUTIONS), "metavar": "NAME"}
    of_peers = f"any of {', '.join(DISTRIBUTIONS)}; by default all that are installed"
    parser.add_argument("--peers", nargs="*", help=of_peers, **peers)
    parser.add_argument("--threads", type=int, choices=range(1, len(PROCESSORS) + 1), default=len(PROCESSORS))
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--batch-scale", type=float, default=1.0, help="factor for the batch of each network")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--chart", metavar="FILE.svg", help="draw the steps' times relative to fastbp's")
    parser.add_argument("--json", metavar="FILE", help="write all figures, unrounded")
    options = parser.parse_args(arguments)
    options.parts = options.parts or ["step"]
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown part {', '.join(sorted(unknown))}, expected {', '.join(PARTS)}")
    if options.chart and "step" not in options.parts:
        parser.error("--chart draws the part step")
    options.networks = options.networks or [network(name) for name in NETWORKS]
    return options


def versions() -> dict[str, str]:
    found = {}
    for name in ("fastbp", "numba", "numpy", "torch", "jax", "scikit-learn", "onnxruntime"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    about = {"processor": get_host_cpu_name(), "python": platform.python_version(), **versions()}
    print(", ".join(f"{name} {text}" for name, text in about.items()))
    records = {part: PARTS[part](options) for part in options.parts}
    if options.json:
        settings = {name: getattr(options, name) for name in ("threads", "dtype", "batch_scale", "rounds")}
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"about": about, "settings": settings, **records}, file, indent=1)
    if options.chart:
        from .chart import draw

        draw(records["step"], options.chart)


if __name__ == "__main__":
    main()
