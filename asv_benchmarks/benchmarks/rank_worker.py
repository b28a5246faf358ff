"""The process of one rank for `ranks`: it trains and times each part of a step; rank 0 prints medians."""

import json
import statistics
import sys
import time
from typing import Any


def main(sizes: list[int], rows: int, steps: int, dtype: str) -> None:
    import numpy as np
    from mpi4py import MPI

    from fastbp import MLP, distributed, threads
    from fastbp.distributed import loop
    from fastbp.program.memory import round_up

    comm = MPI.COMM_WORLD
    spent: dict[str, list[float]] = {"gradient": [], "exchange": [], "update": [], "step": []}

    def timed(name: str, function: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            start = time.perf_counter()
            result = function(*arguments, **named)
            spent[name].append(time.perf_counter() - start)
            return result

        return call

    kind = loop.ParallelTraining
    kind._own_part = timed("gradient", kind._own_part)  # type: ignore[method-assign]
    kind._step = timed("step", kind._step)  # type: ignore[method-assign]
    loop.Allreduce.add_up = timed("exchange", loop.Allreduce.add_up)  # type: ignore[method-assign]
    rng = np.random.default_rng(comm.rank)
    X = rng.normal(size=(rows * 8, sizes[0])).astype(dtype)
    y = rng.integers(0, sizes[-1], rows * 8)
    net = MLP(sizes, dtype=dtype, seed=0)
    with threads.limit(1):
        settings: dict[str, Any] = {"batch_size": rows * comm.size, "learning_rate": 1e-3}
        distributed.fit(net, X, y, epochs=1, **settings)
        for times in spent.values():
            times.clear()
        distributed.fit(net, X, y, epochs=-(-steps // 8), **settings)
        alone = MLP(sizes, dtype=dtype, seed=0)
        alone.fit(X, y, epochs=1, batch_size=rows, learning_rate=1e-3)
        history = alone.fit(X, y, epochs=-(-steps // 8), batch_size=rows, learning_rate=1e-3)
    found = {name: statistics.median(times) for name, times in spent.items() if times}
    found["update"] = found["step"] - found["gradient"] - found["exchange"]
    found["spread"] = statistics.pstdev(sorted(spent["gradient"])[: len(spent["gradient"]) * 9 // 10])
    found["fused"] = statistics.median(history.seconds) / 8  # a step of MLP.fit on as many rows, on one thread
    everyone = comm.gather(found)
    if comm.rank == 0:
        mean = {name: statistics.mean(each[name] for each in everyone) for name in found}
        mean["bytes"] = round_up(net.parameters.size + loop.TAIL, dtype) * np.dtype(dtype).itemsize
        mean["parameters"] = net.parameters.size
        print("ranks:", json.dumps(mean), flush=True)


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
