"""Compare fastbp with its peers and with the processor's limit, on this machine."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from llvmlite.binding import get_host_cpu_name

from . import duration, target
from .benchmarks.duel import PROCESSORS, ROUNDS
from .benchmarks.narrow import NETWORKS as NARROW
from .benchmarks.problem import DISTRIBUTIONS
from .benchmarks.step import NETWORKS, ODD, Case
from .busy import MUCH, busy_share
from .parts import PARTS


def network(text: str) -> tuple[str, Case]:
    """Read the name of a network in the tables, or any NAME:BATCH, of which no more is asked than to be ahead."""
    name, _, batch = text.partition(":")
    known = NARROW | NETWORKS | ODD
    if not batch and name not in known:
        raise argparse.ArgumentTypeError(f"{name}: expected one of {', '.join(known)}, or any NAME:BATCH")
    if not batch:
        return name, known[name]
    case = known.get(name, Case(0))
    return name, Case(int(batch), case.ratio, how=case.how)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m asv_benchmarks.peers", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)}; step if none is named")
    of_networks = "such as 64-100-10 or 13-57-129-7:37, and of narrow only their steps; by default those of the tables"
    parser.add_argument("--networks", nargs="+", type=network, metavar="NAME[:BATCH]", help=of_networks)
    peers: dict[str, Any] = {"choices": DISTRIBUTIONS, "default": list(DISTRIBUTIONS), "metavar": "NAME"}
    of_peers = f"any of {', '.join(DISTRIBUTIONS)}; by default all that are installed"
    parser.add_argument("--peers", nargs="*", help=of_peers, **peers)
    of_target = "hold every side to this target, such as avx2 on a processor with AVX-512 (default: the widest it has)"
    parser.add_argument("--target", choices=tuple(target.NAMES.values()), help=of_target)
    of_threads = "by default all processors, and for products also 1"
    parser.add_argument("--threads", type=int, choices=range(1, len(PROCESSORS) + 1), help=of_threads)
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
    try:
        options.environment = target.environment(options.target) if options.target else {}
    except ValueError as error:
        parser.error(str(error))
    if options.environment and "start" in options.parts:
        parser.error("start measures the code that is shipped for this processor: leave out --target")
    options.counts = [options.threads] if options.threads else sorted({1, len(PROCESSORS)})
    options.threads = options.threads or len(PROCESSORS)
    options.networks_named = options.networks is not None
    options.narrow_networks = options.networks or list(NARROW.items())
    options.networks = options.networks or list(NETWORKS.items())
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
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parse(arguments)
    if any(os.environ.get(name) != value for name, value in options.environment.items()):
        # This process has chosen its target already, and so have its libraries.
        command = [sys.executable, "-m", "asv_benchmarks", *arguments]
        sys.exit(subprocess.run(command, env={**os.environ, **options.environment}).returncode)
    if options.target not in (None, target.name_of()):
        sys.exit(f"--target {options.target}: Numba's settings ask for {target.name_of()}; unset NUMBA_CPU_NAME")
    about = {"processor": get_host_cpu_name(), "target": target.name_of(), "python": platform.python_version()}
    about |= versions()
    print(", ".join(f"{name} {text}" for name, text in about.items()))
    busy = warn(options)
    records = {part: timed(part, options) for part in options.parts}
    if options.json:
        settings = {name: getattr(options, name) for name in ("threads", "dtype", "batch_scale", "rounds")}
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"about": about, "settings": settings, "busy": busy, **records}, file, indent=1)
    if options.chart:
        from .chart import draw

        draw(records["step"], options.chart)


def timed(part: str, options: argparse.Namespace) -> Any:
    """Return the records of a part, and say how long it took."""
    begin = time.perf_counter()
    records = PARTS[part].run(options)
    print(f"\n{part} took {time.perf_counter() - begin:.0f} seconds.", flush=True)
    return records


def warn(options: argparse.Namespace) -> float | None:
    """Say how long it will take, and what will make figures worse than they are; return how busy the machine is."""
    seconds = {part: PARTS[part].seconds(options) for part in options.parts}
    whole = duration.words(sum(seconds.values()))
    print(f"This takes about {whole}, and longer where code must be compiled first.")
    if len(seconds) > 1:
        print("Of these, " + ", ".join(f"{part} takes {duration.words(each)}" for part, each in seconds.items()) + ".")
    if options.environment:
        print(f"Every side is held to {options.target}, except {', '.join(target.NOT_HELD)}, which cannot be.")
    share = busy_share()
    if share > MUCH:
        print(f"Warning: other processes keep the processors {share:.0%} busy; figures will be off.")
    return None if math.isnan(share) else round(share, 3)


if __name__ == "__main__":
    main()
