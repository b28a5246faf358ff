"""Compare fastbp's estimators for tables with boosted trees and scikit-learn's MLP, by score and processor time."""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from .benchmarks.duel import POOLS
from .ranking import mean_ranks, paired_difference
from .table_methods import METHODS
from .table_sets import SETS

OURS, BASE = "fastbp", "sklearn MLP"
THREADS = 2
# OpenMP's threads wait for one another at each node of a tree. 200 iterations on vehicle took
# 1.1 to 1.3 s of processor time with one thread, 1.6 to 2.8 with two, and 10 to 13 with two that
# sleep while they wait; so the trees get the one thread with which they take the least.
# And what fastbp compiles for a narrow network in a process beside would not be counted.
ALONE = {"OMP_NUM_THREADS": "1", "FASTBP_SPECIALISE": "0"}
ROOT = Path(__file__).parents[1]
Found = dict[str, dict[str, list[tuple[float, float]]]]  # by set and method: score and seconds of each split


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m asv_benchmarks.tables", description=__doc__)
    for option, known in (("--sets", SETS), ("--methods", METHODS)):
        text = f"any of {', '.join(known)}; by default all that are installed"
        parser.add_argument(option, nargs="+", choices=known, default=list(known), metavar="NAME", help=text)
    parser.add_argument("--splits", type=int, default=3, help="how often a fifth of the rows is drawn to test (3)")
    parser.add_argument("--json", metavar="FILE", help="write the score and seconds of each fit")
    options = parser.parse_args(arguments)
    if options.splits < 1:
        parser.error(f"--splits {options.splits}: expected at least 1")
    return options


def present(options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Return the sets and methods whose packages are installed, and name the others."""
    sets = [name for name in options.sets if SETS[name].present()]
    for name in options.sets:
        if name not in sets:
            print(f"{name}: left out, the module {SETS[name].module} is not installed")
    methods = [name for name in options.methods if not METHODS[name].missing()]
    for name in options.methods:
        if name not in methods:
            print(f"{name}: left out, the module {' and '.join(METHODS[name].missing())} is not installed")
    return sets, methods


def fit_alone(set_name: str, method: str, seed: int) -> tuple[float, float]:
    """Return the score and the seconds of a fit in a process of its own; NaN, with the reason printed, if it fails."""
    command = [sys.executable, "-m", "asv_benchmarks.table_methods", set_name, method, str(seed)]
    environment = os.environ | dict.fromkeys(POOLS, str(THREADS)) | ALONE
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        print(f"{method} on {set_name}, split {seed}: {reason}")
        return math.nan, math.nan
    score, seconds = json.loads(done.stdout.splitlines()[-1])
    return score, seconds


def line(label: str, cells: Iterable[str]) -> None:
    print(label.ljust(16) + "".join(cell.rjust(16) for cell in cells), flush=True)


def figures(form: str, number: float) -> str:
    return "-" if math.isnan(number) else format(number, form)


def compare(sets: Iterable[str], methods: list[str], splits: int) -> Found:
    """Fit every method on every split of each set, and print a row of mean scores and seconds a set."""
    compared = OURS in methods and BASE in methods
    print(f"accuracy or R\u00b2, and seconds of processor time a fit; splits: {splits}, threads: {THREADS}\n")
    line("set", [*methods, *([f"- {BASE}", "error"] if compared else [])])
    found: Found = {}
    for name in sets:
        fits = {method: [fit_alone(name, method, seed) for seed in range(splits)] for method in methods}
        found[name] = fits
        means = {method: np.mean(of_method, axis=0) for method, of_method in fits.items()}
        cells = [figures(".4f", score) + figures("8.1f", seconds).rjust(8) for score, seconds in means.values()]
        if compared:
            ours, theirs = ([score for score, _ in fits[method]] for method in (OURS, BASE))
            difference, error = paired_difference(ours, theirs)
            cells += [figures("+.4f", difference), figures(".4f", error)]
        line(name, cells)
    return found


def close(found: Found, methods: list[str]) -> None:
    """Print mean ranks and whole times over those sets on which every method has a score."""
    scores = {
        name: {method: float(np.mean([score for score, _ in fits])) for method, fits in of_set.items()}
        for name, of_set in found.items()
    }
    whole = {name: of_set for name, of_set in scores.items() if not any(map(math.isnan, of_set.values()))}
    for_ranks = mean_ranks(whole)
    seconds = {method: sum(s for name in whole for _, s in found[name][method]) for method in methods}
    print()
    line("mean rank", [figures(".2f", for_ranks.get(method, math.nan)) for method in methods])
    line("seconds, whole", [f"{seconds[method]:.1f}" for method in methods])
    if left_out := found.keys() - whole.keys():
        print(f"without {', '.join(sorted(left_out))}, where a fit failed")


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    sets, methods = present(options)
    found: dict[str, Any] = compare(sets, methods, options.splits)
    close(found, methods)
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
