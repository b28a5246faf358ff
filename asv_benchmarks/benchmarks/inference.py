"""``predict_proba`` on one row to very many, alone and against each peer with the same parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence

from . import BRIEF
from .duel import PROCESSORS, ROUNDS, Outcome, duel
from .problem import PEERS, Problem, why_absent

NETWORKS = {"64-100-10": (64, 100, 10), "784-512-256-10": (784, 512, 256, 10)}
ROWS = [1, 32, 1000, 100_000]
ASKED = {"64-100-10": 1.2, "784-512-256-10": 1.1}  # best peer / fastbp
ASKED_OF_ONE_ROW = {"64-100-10": 3}
if BRIEF:
    NETWORKS, ROWS = {"4-3-2": (4, 3, 2)}, [1]


def inference_duel(
    network: str,
    rows: int,
    peers: Sequence[str],
    dtype: str = "float32",
    threads: int = len(PROCESSORS),
    rounds: int = ROUNDS,
) -> Outcome:
    """Return the seconds per call of fastbp and its peers, whose probabilities are checked against fastbp's."""
    problem = Problem(NETWORKS[network], rows, 1, dtype, threads)
    return duel(problem.sides(["fastbp", *peers], "inference"), rounds, problem.check_probabilities)


def asked(network: str, rows: int) -> float:
    """Return how many times as fast as its best peer fastbp should be; NaN where nothing is asked."""
    others = ASKED.get(network, math.nan)
    return ASKED_OF_ONE_ROW.get(network, others) if rows == 1 else others


class Inference:
    params = [list(NETWORKS), ROWS]
    param_names = ["network", "rows"]

    def setup(self, network, rows):
        from .peers.fastbp_network import Inference

        self.inference = Inference(Problem(NETWORKS[network], rows, 1))
        self.inference.run()

    def time_predict_proba(self, network, rows):
        self.inference.run()


class InferenceAgainst:
    params = [list(NETWORKS), ROWS, [peer for peer in PEERS["inference"] if peer != "fastbp"]]
    param_names = ["network", "rows", "peer"]
    timeout = 600
    unit = "fastbp / peer"

    def setup(self, network, rows, peer):
        if reason := why_absent(peer):
            raise NotImplementedError(reason)

    def track_predict_proba(self, network, rows, peer):
        seconds = inference_duel(network, rows, [peer]).seconds
        return seconds["fastbp"] / seconds.get(peer, math.nan)
