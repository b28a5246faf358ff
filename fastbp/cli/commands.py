"""The commands warmup, info and verify."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import platform
import sys
import time
from dataclasses import asdict
from typing import Any

from .. import compile_ahead, threads
from .. import verify as verification
from ..hardware import affinity, caches, cpu_quota
from ..kernels import shapes
from ..kernels.functions import DTYPES
from ..kernels.target import TARGET
from ..version import __version__
from . import compiled, diagnosis
from .output import print_rows

# ---- warmup ----


def warmup(args: argparse.Namespace) -> None:
    """Run ``fastbp warmup``."""
    seconds = compile_ahead.warmup(args.dtype, activations=args.activation, losses=args.loss, optimizers=args.optimizer)
    rows = [(part, f"{took:.2f}") for part, took in seconds.items()]
    rows += [("all", f"{sum(seconds.values()):.2f}"), ("cache folder", diagnosis.cache_folders())]
    print_rows("Seconds to compile, or to load", rows)


# ---- info ----


def info(args: argparse.Namespace) -> None:
    """Run ``fastbp info``."""
    lanes = {name: TARGET.lanes(name) for name in DTYPES}
    tile_shapes = {"main": shapes.MAIN, "half": shapes.HALF, "narrow": shapes.NARROW, "row": shapes.ROW}
    packages = {package.name.lower(): package.version for package in importlib.metadata.distributions()}
    layer, quota = threads.layer(), cpu_quota()  # the layer before the count: it starts Numba's threads
    in_lanes = " or ".join(f"{n} {name}" for name, n in lanes.items())
    rows = [
        ("processor target", TARGET.level or TARGET.cpu),
        ("vector width", f"{8 * TARGET.vector_bytes} bits: {in_lanes}"),
        ("vector registers", f"{TARGET.registers}"),
        ("fused multiply-add", "yes" if TARGET.has_fma else "no"),
    ]
    for name, n in lanes.items():
        tiles = ", ".join(f"{shape.rows}x{shape.vectors * n} {which}" for which, shape in tile_shapes.items())
        rows.append((f"{name} tiles", f"{tiles} (rows x columns)"))
    rows += [
        ("caches of a core", f"{caches().l1 // 1024} KiB first level, {caches().l2 // 1024} KiB second level"),
        ("processors", f"{affinity()}" + ("" if quota is None else f", {quota:g} by the quota of the container")),
        ("threading layer", f"{layer}, or Numba's in a process that imports it" if layer == "python" else layer),
        ("threads", str(threads.count())),
        ("compiled functions", "; ".join(compiled.counts())),
        ("a first fit", "; ".join(compiled.first_fits())),
        ("narrow networks", compiled.narrow_networks()),
        ("cache folder", diagnosis.cache_folders()),
        ("python", f"{platform.python_version()}, {sys.executable}"),
    ]
    rows += [(name, packages.get(name, "not installed")) for name in ("numba", "llvmlite", "numpy", "tbb", "tqdm")]
    print_rows(f"fastbp {__version__} on this machine", rows)
    troubles = diagnosis.findings()
    print("\nSlow or unsafe here" if troubles else "\nNothing is slow or unsafe here", flush=True)
    for trouble in troubles:
        print(f"- {trouble}", flush=True)


# ---- verify ----


def verify(args: argparse.Namespace) -> int:
    """Run ``fastbp verify``."""
    machine = {
        "processor": TARGET.level or TARGET.cpu,
        "vector_bits": 8 * TARGET.vector_bytes,
        "fused_multiply_add": TARGET.has_fma,
        "threading_layer": threads.layer(),  # before the count: it starts Numba's threads
        "threads": threads.count(),
    }
    if not args.json:
        processor = f"{machine['processor']}, vectors of {machine['vector_bits']} bits, {machine['threads']} threads"
        print(f"fastbp {__version__} verifies its kernels: {processor}", flush=True)
    start = time.perf_counter()
    checks = verification.verify(None if args.json else lambda check: print(f"  {check}", flush=True))
    seconds, cases = time.perf_counter() - start, sum(check.cases for check in checks)
    failed = sum(not check for check in checks)
    if args.json:
        found = {
            "fastbp": __version__,
            "ok": failed == 0,
            "seconds": round(seconds, 3),
            "machine": machine,
            "checks": [_as_json(check) for check in checks],
        }
        print(json.dumps(found, allow_nan=False))
    else:
        verdict = f"{failed} of {len(checks)} checks FAILED" if failed else f"all {len(checks)} checks passed"
        print(f"{verdict}: {cases:,} cases in {seconds:.1f} s")
    return 1 if failed else 0


def _as_json(check: verification.Check) -> dict[str, Any]:
    """Return a check as a JSON object; an infinite error, which JSON cannot hold, becomes null with ``ok`` false."""
    worst = check.worst if check.worst is None or math.isfinite(check.worst) else None
    return {**asdict(check), "worst": worst, "seconds": round(check.seconds, 3), "ok": check.ok}
