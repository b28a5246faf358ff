"""The process of one side of a duel: its task is on the command line; each line of input asks for seconds per call."""

import json
import os
import sys
import timeit
from typing import Any


def main(setup: str, statement: str, result: str, path: str, processors: list[int], round_seconds: float) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, processors)  # before any library counts them
    import numpy as np

    from .duel import Missing

    space: dict[str, Any] = {}
    try:
        exec(setup, space)
        np.save(path, eval(result, space))
    except (ImportError, Missing) as reason:
        return answer(reason)
    measure = timeit.Timer(statement, globals=space).timeit
    measure(1)
    repeats = 1
    while (took := measure(repeats)) < round_seconds and repeats < 10**7:
        repeats = max(repeats + 1, int(repeats * min(10, 1.2 * round_seconds / max(took, 1e-9))))
    answer("ready")
    for _ in sys.stdin:
        measure(max(1, repeats // 10))
        answer(measure(repeats) / repeats)


def answer(what: object) -> None:
    print("side:", " ".join(str(what).split()), flush=True)


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
