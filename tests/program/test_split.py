"""How work is split among more threads than this machine may have: what each computes, and how many are used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP
from fastbp.kernels import objects
from fastbp.kernels import operations as op
from fastbp.kernels.functions import RUN
from fastbp.program import passes, run, split
from fastbp.program.cost_model import CostModel
from fastbp.program.table import Program
from fastbp.program.team import Team
from fastbp.program.tuning import Tuning, forced

FLOAT32 = np.dtype(np.float32)
PRODUCTS = (op.GEMM, op.GEMM_BY_ROWS)
BY_ROWS = (op.FETCH, op.CROSS_ENTROPY_OF_LABELS, op.ACTIVATE, op.ACTIVATE_BACKWARD, op.DROP)
FORM = passes.StepForm("labels", penalised=True, fetched=True)
NETWORKS = {(64, 100, 10): 64, (784, 100, 10): 100, (784, 512, 256, 10): 128, (104, 256, 256, 2): 256,
            (64, *[128] * 6, 10): 128, (13, 57, 129, 7): 37}  # fmt: skip


def training_step(sizes: tuple[int, ...], rows: int, threads: int, form: Any = FORM, forced: Any = None) -> Program:
    activation = "gelu" if form.thresholds else "relu"
    network = MLP(sizes, activation).model.network
    return passes.training_step(network, rows, FLOAT32, threads, form, forced or Tuning())


def operations(program: Program) -> Iterator[tuple[int, dict[str, int]]]:
    """The rows of a program's table, each with its phase."""
    for phase, (first, last) in enumerate(pairwise(program.phases)):
        for row in program.table[program.strands[first] : program.strands[last]]:
            yield phase, dict(zip(op.FIELDS, row.tolist(), strict=True))


# ---- what is computed ----


@pytest.mark.parametrize("threads", [4, 8, 16])
@pytest.mark.parametrize("sizes", NETWORKS)
def test_every_output_is_computed_once(sizes: tuple[int, ...], threads: int) -> None:
    rows = NETWORKS[sizes]
    form = FORM._replace(thresholds=(0, *[1 << 50] * (len(sizes) - 2)))  # with dropout
    with forced(Tuning(parallel=True)):
        program = training_step(sizes, rows, threads, form)
    assert program.threads == threads
    times: dict[Any, Any] = {}
    for phase, row in operations(program):
        if row["code"] in PRODUCTS:
            key = (phase, "product", row["c_buffer"], row["c"], row["depth"])
            shape = (max(rows, *sizes), row["ldc"])
            block = np.s_[row["row_begin"] : row["row_end"], row["column_begin"] : row["column_end"]]
        elif row["code"] in BY_ROWS:
            key = (phase, row["code"], row["a_buffer"], row["a"], row["c"])
            shape, block = (rows,), np.s_[row["row_begin"] : row["row_end"]]
        else:
            continue
        times.setdefault(key, np.zeros(shape, int))[block] += 1
    products = [count[count.any(axis=1)] for key, count in times.items() if key[1] == "product"]
    assert all((count == 1).all() for count in products)
    layers = list(pairwise(sizes))
    forward, backward = [(rows, fan_out) for _, fan_out in layers], [(rows, fan_in) for fan_in, _ in layers[1:]]
    assert sorted(count.shape for count in products) == sorted([*forward, *backward, *layers])
    by_rows = [count for key, count in times.items() if key[1] != "product"]
    assert all((count == 1).all() for count in by_rows)
    assert len(by_rows) == 2 + 4 * (len(sizes) - 2)


# ---- how many threads ----


def written(sizes: tuple[int, ...], rows: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[CostModel], Any]:
    """What gives time and phases of a training step for a number of threads."""
    kept: list[Callable[[CostModel], Any]] = []

    def cheapest(write: Callable[[CostModel], Any], *arguments: Any, **options: Any) -> Program:
        kept.append(write)
        return split.cheapest(write, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(passes, "cheapest", cheapest)
        training_step(sizes, rows, 1)
    return kept[0]


def chosen(write: Callable[[CostModel], Any], threads: int) -> tuple[float, float]:
    """The time of the program that is chosen where so many threads may be used, and the value that decides."""
    used = split.cheapest(write, FLOAT32, threads, 1, repeated=True).threads
    model = CostModel(FLOAT32, used, trains=True)
    time, phases = write(model)
    return time, split.weighed(time + model.overhead(len(phases), True), used)


@pytest.mark.parametrize("sizes", NETWORKS)
def test_more_threads_never_take_longer(sizes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where 7 parts fit better than 8, 8 threads may take longer than 7: by less than twice as many must gain."""
    write = written(sizes, NETWORKS[sizes], monkeypatch)
    times = {threads: chosen(write, threads)[0] for threads in (*range(1, 17), 24, 32, 64)}
    for threads, time in times.items():
        assert all(time <= times[always] for always in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64) if always <= threads)
        assert all(time <= 1.2 * times[fewer] for fewer in times if fewer <= threads)
    assert times[64] < 0.75 * times[1]


@pytest.mark.parametrize("threads", [2, 16])
def test_what_a_batch_is_worth_grows_without_steps(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """More threads are used as soon as they pay, no later: no batch takes much longer than a larger one."""
    values = [chosen(written((64, 100, 10), rows, monkeypatch), threads)[1] for rows in range(16, 128, 4)]
    assert all(0.95 * before < after < 1.6 * before for before, after in pairwise(values))


def test_a_middling_network_has_some_threads_of_many() -> None:
    assert training_step((2, 50, 4), 32, 64).threads == 1
    assert 1 < training_step((64, 100, 10), 64, 64).threads < 64
    assert training_step((1024, 1024, 10), 256, 64).threads == 64


def test_what_is_forced_is_done() -> None:
    with forced(Tuning(parallel=True)):
        assert training_step((2, 50, 4), 32, 16).threads == 16
    with forced(Tuning(parallel=False)):
        assert training_step((1024, 1024, 10), 256, 16).threads == 1


@pytest.mark.parametrize("threads", [1, 2, 3, 8, 12, 64])
def test_numbers_of_threads_to_choose_from(threads: int) -> None:
    numbers = split.team_sizes(threads)
    assert sorted(numbers) == sorted({1, threads, *(n for n in (2, 3, 4, 6, 8, 12, 16, 24, 32, 48) if n <= threads)})
    assert numbers == [1, *sorted(set(numbers) - {1}, reverse=True)]


# ---- the same bits ----


@pytest.fixture(scope="module")
def large_team() -> Team:
    """As of a machine with 16 processors."""
    return Team(16, objects.addresses([RUN])[0])


@pytest.mark.parametrize("sizes", [(5, 9, 4), (19, 60, 37, 10)])
def test_the_same_bits_on_up_to_16_threads(
    sizes: tuple[int, ...], large_team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fastbp.threads, "layer", lambda: "python")
    monkeypatch.setattr(run, "process_team", lambda compiled_pass: large_team)
    X = np.random.default_rng(0).normal(size=(70, sizes[0])).astype(FLOAT32)
    y = np.random.default_rng(1).integers(0, sizes[-1], len(X))
    found = {}
    for threads in (1, 2, 3, 5, 8, 16):
        monkeypatch.setattr(fastbp.threads, "count", lambda threads=threads: threads)
        with forced(Tuning(parallel=True)):
            net = MLP(sizes, seed=0)
            history = net.fit(X, y, epochs=2, batch_size=32, learning_rate=0.1, l2=0.01)
            found[threads] = (net.parameters.tobytes(), tuple(history.loss), net.predict_proba(X).tobytes())
    assert len(set(found.values())) == 1


def test_many_steps_of_more_members_than_processors_end(large_team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastbp.threads, "layer", lambda: "python")
    monkeypatch.setattr(run, "process_team", lambda compiled_pass: large_team)
    X, y = np.ones((640, 5), FLOAT32), np.arange(640) % 4
    hashes = set()
    for threads in (16, 1, 16):
        monkeypatch.setattr(fastbp.threads, "count", lambda threads=threads: threads)
        with forced(Tuning(parallel=True)):
            net = MLP((5, 33, 4), seed=0)
            net.fit(X, y, epochs=5, batch_size=16, learning_rate=0.1)
        hashes.add(net.parameters.tobytes())
    assert len(hashes) == 1
