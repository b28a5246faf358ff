"""The parts of a step of data-parallel training, with one rank and with two on this machine, one thread each."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from . import BRIEF
from .duel import PROCESSORS, Missing

NETWORKS = {"64-100-10": (64, 100, 10), "784-512-256-10": (784, 512, 256, 10), "1024x3-10": (1024, 1024, 1024, 10)}
ROWS = (16,) if BRIEF else (16, 64, 256)  # of each rank
STEPS = 8 if BRIEF else 160
ENVIRONMENT = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "NUMBA_NUM_THREADS": "1",
    "TMPDIR": "/tmp",
    "OMPI_MCA_mpi_yield_when_idle": "1",  # else a waiting rank keeps the processor from the one it waits for
}


def measure(ranks: int, name: str, rows: int, dtype: str = "float32") -> dict[str, float]:
    """Measure the seconds of each part of a step: medians over steps, means over ranks.

    Also a step of `MLP.fit` alone ("fused"); the standard deviation of the gradient's time without its slowest tenth
    ("spread"); the bytes of a message; the parameters.
    """
    beside = Path(sys.executable).with_name("mpirun")
    mpirun = str(beside) if beside.exists() else shutil.which("mpirun")
    if mpirun is None or find_spec("mpi4py") is None:
        raise Missing("pip install 'fastbp[mpi]'")
    if ranks > len(PROCESSORS):
        raise Missing(f"{ranks} ranks on {len(PROCESSORS)} processors")
    task = {"sizes": NETWORKS[name], "rows": rows, "steps": STEPS, "dtype": dtype}
    command = [mpirun, "-n", str(ranks), sys.executable, "-m", f"{__package__.rpartition('.')[2]}.rank_worker"]
    process = subprocess.run(
        [*command, json.dumps(task)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **ENVIRONMENT},
    )
    for line in process.stdout.splitlines():
        if line.startswith("ranks: "):
            found: dict[str, float] = json.loads(line.removeprefix("ranks: "))
            return found
    raise RuntimeError(process.stdout + process.stderr)


class Step:
    """Microseconds of a step with two ranks."""

    params = (list(NETWORKS)[: 1 if BRIEF else None], list(ROWS))
    param_names = ("network", "rows a rank")
    unit = "us"
    timeout = 300

    def track_step(self, name: str, rows: int) -> float:
        try:
            return 1e6 * measure(2, name, rows)["step"]
        except Missing as reason:
            raise NotImplementedError(str(reason)) from None
