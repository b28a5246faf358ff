"""Print a model of a data-parallel step's time as tables for 4 to 1,024 ranks; docs/guide/scaling.md explains it.

python docs/guide/scaling.py                              by the constants as measured for docs/guide/scaling.md
python -m asv_benchmarks.peers ranks --json ranks.json && python docs/guide/scaling.py --measured ranks.json
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

RANKS = tuple(2**k for k in range(2, 11))
NETWORKS = {"784-512-256-10": 535_818, "1024x3-10": 2_109_450, "2048-4096-4096-1000": 29_270_000}
LINKS = {"10 Gbit/s": (10e9 / 8, 20e-6), "100 Gbit/s": (100e9 / 8, 3e-6)}  # bytes a second; seconds a message
ITEM = 4  # bytes of a float32


@dataclass(frozen=True)
class Costs:
    """The costs of one rank; docs/guide/scaling.md says how they were measured.

    Attributes
    ----------
    fixed : float
        Seconds a step, whatever its size: Python, the calls.
    per_row : float
        Seconds a row and parameter: the arithmetic, 6 operations.
    per_parameter : float
        Seconds a parameter and step: reading gradients and parameters, writing them, and the copies of a message.
    spread : float
        Standard deviation of a rank's step relative to its mean.
    """

    fixed: float = 42e-6
    per_row: float = 5.6e-11
    per_parameter: float = 9.2e-10
    spread: float = 0.07

    def compute(self, parameters: int, rows: float) -> float:
        return self.fixed + parameters * (self.per_parameter + rows * self.per_row)


def least_squares(seconds: list[float], *columns: list[float]) -> list[float]:
    """Return coefficients of the columns, none below 0, whose sums have the least squares of relative errors."""
    shares = np.stack(columns, axis=1) / np.array(seconds)[:, None]
    found, *_ = np.linalg.lstsq(shares, np.ones(len(seconds)), rcond=None)
    return [float(number) for number in np.maximum(found, 1e-12)]


def fitted(records: list[dict[str, Any]]) -> Costs:
    """Return costs from records of the peers' part "ranks", of one rank and of two: steps without their exchanges."""
    sizes, rows = ([float(each[name]) for each in records] for name in ("parameters", "rows"))
    fixed, per_row, per_parameter = least_squares(
        [each["step"] - each["exchange"] for each in records],
        [1.0] * len(records), [size * row for size, row in zip(sizes, rows, strict=True)], sizes,
    )  # fmt: skip
    spread = float(np.median([each["spread"] / each["gradient"] for each in records]))
    return Costs(fixed, per_row, per_parameter, spread)


def link_of(records: list[dict[str, Any]]) -> tuple[float, float]:
    """Return bandwidth and latency between two ranks of this machine, fitted to their exchanges."""
    pairs = [record for record in records if record["ranks"] == 2]
    double_latency, per_byte = least_squares(
        [each["exchange"] for each in pairs], [1.0] * len(pairs), [float(each["bytes"]) for each in pairs]
    )
    return 1 / per_byte, double_latency / 2


def compare(costs: Costs, records: list[dict[str, Any]]) -> None:
    """Print the records beside the model that was fitted to them."""
    link = link_of(records)
    print(f"two ranks here: {1e-9 * link[0]:.2g} GB/s, {1e6 * link[1]:.2g} us a message\n")
    print(f"{'network':<16}{'rows a rank':>12}{'ranks':>7}{'step us':>9}{'model us':>10}{'waiting':>9}{'ring':>7}")
    for each in records:
        parts = step(costs, each["parameters"], each["rows"], each["ranks"], link)
        model = costs.compute(each["parameters"], each["rows"]) + each["exchange"] if each["ranks"] == 1 else parts[-1]
        print(f"{each['network']:<16}{each['rows']:12}{each['ranks']:7}{1e6 * each['step']:9.0f}{1e6 * model:10.0f}"
              f"{1e6 * parts[1]:9.0f}{1e6 * parts[2]:7.0f}")  # fmt: skip


def ring(ranks: int, size: int, link: tuple[float, float]) -> float:
    """Return the time of 2 (N - 1) messages of 1 / N of the vector each, as for long vectors and fastbp's exchange."""
    bandwidth, latency = link
    return 2 * (ranks - 1) * (latency + size / ranks / bandwidth)


def tree(ranks: int, size: int, link: tuple[float, float]) -> float:
    """Return the time up and down a binary tree, with the whole vector in each message."""
    bandwidth, latency = link
    return 2 * math.ceil(math.log2(ranks)) * (latency + size / bandwidth)


def waiting(ranks: int, compute: float, spread: float) -> float:
    """Return the wait for the slowest of N ranks with normal times: about sqrt(2 ln N) standard deviations."""
    return spread * compute * math.sqrt(2 * math.log(ranks))


def step(costs: Costs, parameters: int, rows: float, ranks: int, link: tuple[float, float]) -> tuple[float, ...]:
    """Return the times of computing, waiting, ring and tree, and the whole with the faster of the last two."""
    compute, size = costs.compute(parameters, rows), parameters * ITEM
    wait = waiting(ranks, compute, costs.spread)
    by_ring, by_tree = ring(ranks, size, link), tree(ranks, size, link)
    return compute, wait, by_ring, by_tree, compute + wait + min(by_ring, by_tree)


def table(costs: Costs, name: str, batch: int, weak: bool, link_name: str) -> None:
    parameters, link = NETWORKS[name], LINKS[link_name]
    kind = f"{batch:,} rows a rank" if weak else f"{batch:,} rows a step in all"
    print(f"\n{name}, {kind}, {link_name}; milliseconds")
    print(f"{'ranks':>6}{'compute':>10}{'wait':>9}{'ring':>9}{'tree':>9}{'step':>9}{'speed-up':>10}{'efficiency':>11}")
    gains = []
    for ranks in RANKS:
        rows = batch if weak else batch / ranks
        parts = step(costs, parameters, rows, ranks, link)
        gain = costs.compute(parameters, rows * ranks) / parts[-1]  # over one rank with as many rows
        gains.append((ranks, gain))
        cells = "".join(f"{1e3 * part:9.3g}" for part in parts[1:])
        print(f"{ranks:6}{1e3 * parts[0]:10.3g}{cells}{gain:10.3g}{100 * gain / ranks:10.0f}%")
    stop = next((one[0] for one, two in pairwise(gains) if two[1] < 1.2 * one[1]), None)
    print(f"doubling stops paying (below 1.2 times) at {stop} ranks" if stop else "doubling pays throughout")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measured", metavar="FILE", help="what the part ranks of asv_benchmarks.peers wrote")
    parser.add_argument("--spread", type=float, help="of a rank's times, relative (a quiet cluster: 0.02)")
    options = parser.parse_args()
    costs = Costs()
    if options.measured:
        with open(options.measured, encoding="utf-8") as file:
            records = json.load(file)["ranks"]
        costs = fitted(records)
        compare(costs, records)
    if options.spread is not None:
        costs = Costs(costs.fixed, costs.per_row, costs.per_parameter, options.spread)
    print(costs)
    for name in NETWORKS:
        for link in LINKS:
            table(costs, name, 4096, False, link)
            table(costs, name, 256, True, link)


if __name__ == "__main__":
    main()
