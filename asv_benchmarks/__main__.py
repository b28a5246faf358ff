"""Print the ratios and starting times once, live on this machine: ``python -m asv_benchmarks [WORD ...]``.

Words choose parts: forward, step, start; none: all of them.
"""

from __future__ import annotations

import sys

from .benchmarks.gemm import SHAPES, forward_medians
from .benchmarks.start import first_fit_seconds, import_seconds
from .benchmarks.step import NETWORKS, step_medians


def forward() -> None:
    print("affine_relu_forward         fastbp ms   NumPy ms   NumPy / fastbp")
    for shape in SHAPES:
        ours, theirs = forward_medians(shape)
        n, fan_in, fan_out = shape
        print(
            f"({n},{fan_in})x({fan_in},{fan_out})".ljust(26),
            f"{ours * 1e3:10.3f} {theirs * 1e3:10.3f} {theirs / ours:12.2f}",
        )


def step() -> None:
    print("training step                         batch   fastbp us   NumPy us   NumPy / fastbp")
    for name, batch in NETWORKS:
        ours, theirs = step_medians(name, batch)
        print(f"{name:36} {batch:6d} {ours * 1e6:11.1f} {theirs * 1e6:10.1f} {theirs / ours:12.2f}", flush=True)


def start() -> None:
    ours, numba = import_seconds()
    cold, warm = first_fit_seconds()
    print(f"import fastbp {ours:.2f} s, import numba {numba:.2f} s, interpreters included")
    print(f"first fit of a process: {cold:.1f} s with an empty cache, {warm:.2f} s with a warm one")


if __name__ == "__main__":
    parts = {"forward": forward, "step": step, "start": start}
    chosen = sys.argv[1:] or list(parts)
    if unknown := set(chosen) - set(parts):
        sys.exit(f"asv_benchmarks: unknown part {', '.join(sorted(unknown))}, expected {', '.join(parts)}")
    for word in chosen:
        parts[word]()
