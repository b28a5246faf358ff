"""Print what a step costs with a formula of one's own, over a step with the built-in one of the same formula."""

from __future__ import annotations

from .benchmarks.own_formulas import FORMULAS, NETWORKS, Pair
from .table import Table


def main() -> None:
    table = Table("a training step, float32; asked: at most 1.3 times", "formula, network, batch", "own, us",
                  "built in, us", "times")  # fmt: skip
    for name, formula in FORMULAS.items():
        for network, (_, batch) in NETWORKS.items():
            ratio, own, built_in = Pair(name, network).ratio()
            table.row(f"{formula.what} {name}, {network}-10, {batch}", 1e6 * own, 1e6 * built_in, ratio)


if __name__ == "__main__":
    main()
