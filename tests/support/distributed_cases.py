"""Runs that `test_ranks.py` starts by ``mpirun -n 2 python distributed_cases.py OUT.npz CASE ...``: each rank
carries the cases out, rank 0 writes what came of them."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import fastbp
from fastbp import distributed
from fastbp.averaging import Equal, Exponential
from fastbp.distributed.allreduce import Allreduce
from fastbp.learning_rates import Adaptive, Constant, Cosine
from fastbp.optimizers import Custom
from fastbp.training.plan import Plan

Array = np.ndarray


class Heavy(Custom):
    """An optimizer of the user's own."""

    states = 1

    def update(self, parameters: Any, gradient: Any, state: Any, step: Any) -> None:
        (velocity,) = state
        velocity *= 0.8
        velocity += gradient
        parameters -= step.learning_rate * velocity


@dataclass(frozen=True)
class Case:
    """One training, by all ranks or by one process."""

    shards: tuple[int, ...] = (60, 60)
    options: dict[str, Any] = field(default_factory=dict)  # of fit
    network: dict[str, Any] = field(default_factory=dict)
    sizes: tuple[int, ...] = (5, 12, 9, 4)
    weighted: bool = False
    held_out: bool = False
    epochs: int = 3
    batch_size: int = 16

    def data(self) -> tuple[Array, Array, Array | None]:
        rng = np.random.default_rng(3)
        rows, outputs = sum(self.shards), self.sizes[-1]
        X = rng.normal(size=(rows, self.sizes[0]))
        loss = self.network.get("loss", "softmax_cross_entropy")
        y: Array = np.argmax(X @ rng.normal(size=(self.sizes[0], outputs)), axis=1)
        if loss != "softmax_cross_entropy":
            y = np.tanh(X @ rng.normal(size=(self.sizes[0], outputs)))
            y = np.abs(y) if loss == "binary_cross_entropy" else y
        weights = rng.choice([0.0, 0.5, 1.0, 3.0], rows) if self.weighted else None
        for column, (levels, _) in self.network.get("embeddings", {}).items():
            X[:, column] = rng.integers(levels, size=rows)
        return X, y, weights

    def net(self) -> fastbp.MLP:
        return fastbp.MLP(self.sizes, **{"dtype": "float64", "seed": 1, **self.network})

    def arguments(self) -> dict[str, Any]:
        return {"epochs": self.epochs, "batch_size": self.batch_size, "learning_rate": 0.05, **self.options}


BASE: dict[str, Any] = {"l2": 1e-3}
CASES = {
    **{name: Case(options={**BASE, "optimizer": name}) for name in fastbp.optimizers.OPTIMIZERS},
    **{f"{name} clipped": Case((37, 83), {**BASE, "optimizer": name, "max_grad_norm": 0.3})
       for name in ("sgd", "momentum", "adam")},
    "own optimizer": Case((37, 83), {"optimizer": Heavy()}),
    "own optimizer, all at once": Case((37, 83), {**BASE, "optimizer": Heavy(), "max_grad_norm": 0.3, "dropout": 0.2},
                                       weighted=True),
    "without penalty": Case(),
    "float32": Case(network={"dtype": "float32"}),
    "uneven": Case((23, 98)),
    "very uneven": Case((2, 131), {"optimizer": "momentum"}, batch_size=8),
    "one row": Case((1, 7), batch_size=3),
    "whole batch": Case((20, 31), batch_size=1000),
    "not shuffled": Case((20, 31), {"shuffle": False}),
    "weighted": Case((41, 60), {**BASE}, weighted=True),
    "weighted, clipped": Case((41, 60), {**BASE, "max_grad_norm": 0.2, "optimizer": "adam"}, weighted=True),
    "dropout": Case((45, 60), {"dropout": 0.4}),
    "all at once": Case((45, 60), {**BASE, "dropout": (0.3, 0.1), "input_dropout": 0.2, "max_grad_norm": 0.5,
                                   "optimizer": "adamw"}, weighted=True,
                        network={"activation": ["gelu", "tanh"], "input_shift": 0.1, "input_scale": 0.5}),
    "rates of layers": Case((33, 50), {**BASE, "optimizer": "adamw", "max_grad_norm": 0.3,
                                       "layer_learning_rates": (0, 0.5, 1),
                                       "embedding_learning_rates": {1: 0.0, 4: 2.0}},
                            {"embeddings": {1: (7, 3), 4: (3, 9)}}),
    "average of steps": Case((33, 50), {**BASE, "optimizer": "adam", "averaging": Exponential(0.9, start=1)}),
    "average of epochs": Case((33, 50), {"averaging": Equal(), "max_grad_norm": 0.5}),
    "label smoothing": Case((33, 50), {"label_smoothing": 0.2}, weighted=True),
    "frozen layers": Case((33, 50), {**BASE, "layer_learning_rates": (0, 1, 0)}),
    "cosine": Case(options={"learning_rate": Cosine(0.2, warmup=0.2), "optimizer": "nesterov"}),
    "adaptive": Case(options={"learning_rate": Adaptive(0.5, patience=1, tol=0.1)}, epochs=8),
    "regression": Case((33, 50), {"optimizer": "adam"}, {"loss": "mean_squared_error"}, held_out=True),
    "binary": Case((33, 50), {"optimizer": "adam"}, {"loss": "binary_cross_entropy"}, held_out=True),
    "embeddings": Case((33, 50), {**BASE, "optimizer": "adamw", "max_grad_norm": 0.3},
                       {"embeddings": {1: (7, 3), 4: (3, 9)}}),
    "early stopping": Case((70, 50), {"early_stopping": 2, "learning_rate": 1.5}, held_out=True, epochs=40),
    # 67,850 parameters: messages beyond `allreduce.ALLGATHER_BYTES`, and updates cut into several strands
    "wide": Case((30, 30), {**BASE, "optimizer": "adam", "max_grad_norm": 1.0}, sizes=(5, 200, 330, 4), epochs=2),
}  # fmt: skip


def shard(rank: int, case: Case, *arrays: Any) -> list[Any]:
    begin = sum(case.shards[:rank])
    return [None if array is None else array[begin : begin + case.shards[rank]] for array in arrays]


def held_out(rank: int | None, case: Case) -> tuple[Array, Array] | None:
    """Other rows, cut unevenly."""
    if not case.held_out:
        return None
    X, y, _ = Case(**{**vars(case), "shards": (100,)}).data()
    X = X + 0.01
    cut = {None: slice(0, 100), 0: slice(0, 35), 1: slice(35, 100)}[rank]
    return X[cut], y[cut]


def by_ranks(case: Case, comm: Any, **more: Any) -> tuple[fastbp.MLP, Any]:
    net, (X, y, weights) = case.net(), case.data()
    X, y, weights = shard(comm.rank, case, X, y, weights)
    history = distributed.fit(net, X, y, comm, sample_weight=weights, validation_data=held_out(comm.rank, case),
                              **case.arguments(), **more)  # fmt: skip
    return net, history


def by_one(case: Case) -> tuple[fastbp.MLP, Any]:
    """The same by one process, in the order that `single_process_order` tells."""
    net, (X, y, weights) = case.net(), case.data()
    given = case.arguments()
    order = distributed.single_process_order(net, case.shards, given["batch_size"], shuffle=given.get("shuffle", True),
                                             dropout=given.get("dropout", 0.0),
                                             input_dropout=given.get("input_dropout", 0.0))  # fmt: skip
    other, stop = (
        held_out(None, case),
        fastbp.training.arguments.make_early_stopping(net, given.get("early_stopping"), 1e-4),
    )

    def after_epoch(history: Any) -> bool:
        if other is not None:
            history.validation_loss.append(net.loss(*other))
            history.validation_score.append(net.score(*other))
        return stop.after_epoch(history)

    settings = {"l2": 0.0, "optimizer": "sgd", "shuffle": True, "dropout": 0.0, "max_grad_norm": None,
                "time_budget": None, **given}  # fmt: skip
    settings.pop("early_stopping", None)
    plan: Plan = fastbp.training.arguments.make_plan(net.model, **settings)
    plan.order = order
    history = net.train(X, y, plan, sample_weight=weights, after_epoch=after_epoch)
    stop.restore_best()
    return net, history


def results(name: str, net: fastbp.MLP, history: Any) -> dict[str, Any]:
    return {f"{name}/parameters": net.parameters, f"{name}/loss": history.loss,
            f"{name}/validation_loss": history.validation_loss,
            f"{name}/validation_score": history.validation_score}  # fmt: skip


# ---- what goes wrong, and what callbacks and clocks do: each a function of the communicator ----


def failing_row(comm: Any) -> None:
    """NaN in the rows of one rank."""
    case = CASES["uneven"]
    X, y, _ = case.data()
    X[100, 2] = np.nan  # row 77 of rank 1
    X, y = shard(comm.rank, case, X, y)
    for shuffle, scale in ((True, None), (False, None), (True, 0.5)):
        net = fastbp.MLP(case.sizes, dtype="float64", seed=1, input_scale=scale)
        try:
            distributed.fit(net, X, y, comm, shuffle=shuffle)
        except ValueError as error:
            assert str(error).startswith("rank 1: X_local: got NaN or infinity in row 77"), error
            assert (net.parameters == fastbp.MLP(case.sizes, dtype="float64", seed=1).parameters).all()
            continue
        raise AssertionError("no error")


def failing_settings(comm: Any) -> None:
    case = CASES["uneven"]
    X, y = shard(comm.rank, case, *case.data()[:2])
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"learning_rate": -1.0}, "learning_rate: got -1"),
        ({"epochs": 1 + comm.rank}, "rank 1: epochs: got 2, expected the same as on rank 0, 1"),
        ({"l2": -float(comm.rank)}, "rank 1: l2: got -1"),
        ({"sample_weight": None if comm.rank else np.ones(len(X))}, "rank 1: sample_weight: got False"),
        ({"validation_data": (X[:, :2], y)}, "rank 0: validation_data[0]: got shape"),
        ({"checkpoint": 7}, "checkpoint: got int"),
    ]
    for options, message in wrong:
        try:
            distributed.fit(case.net(), X, y, comm, **options)
        except (ValueError, TypeError) as error:
            assert message in str(error), (message, error)
            continue
        raise AssertionError(f"no error: {message}")


def diverging(comm: Any) -> None:
    case = CASES["uneven"]
    X, y = shard(comm.rank, case, *case.data()[:2])
    net = case.net()
    try:
        distributed.fit(net, X * 1e200, y, comm, learning_rate=1e200)
    except fastbp.DivergenceError as error:
        assert "epoch 1 of 10" in str(error)
        assert "Try inputs of order one" in str(error)
        assert (net.parameters == case.net().parameters).all()
        return
    raise AssertionError("no error")


def diverging_by_targets(comm: Any) -> None:
    """Large on one rank only; every rank names them in the same words."""
    case = Case(network={"loss": "mean_squared_error"}, sizes=(5, 12, 1))
    X, y = shard(comm.rank, case, *case.data()[:2])
    try:
        distributed.fit(case.net(), X, y * (1e6 if comm.rank else 1), comm, batch_size=16)
    except fastbp.DivergenceError as error:
        assert "Try targets of order one" in str(error), error
        assert len(set(comm.allgather(str(error)))) == 1
        return
    raise AssertionError("no error")


def callbacks(comm: Any) -> None:
    """Called on rank 0 alone, whose answer and whose writing hold for all."""
    case = CASES["uneven"]
    X, y = shard(comm.rank, case, *case.data()[:2])
    net, seen = case.net(), []

    def callback(net: fastbp.MLP, history: Any) -> bool:
        seen.append(comm.rank)
        net.biases[0][...] = len(seen)
        return len(seen) == 2

    history = distributed.fit(net, X, y, comm, epochs=5, callbacks=[callback] if comm.rank == 0 else [])
    assert len(history.loss) == 2
    assert seen == ([0, 0] if comm.rank == 0 else [])
    assert (net.biases[0] == 2).all()

    def failing(net: fastbp.MLP, history: Any) -> None:
        raise KeyError("of the callback")

    try:
        distributed.fit(net, X, y, comm, callbacks=[failing])
    except (KeyError, RuntimeError) as error:
        assert "of the callback" in str(error)
        return
    raise AssertionError("no error")


def budget(comm: Any) -> None:
    """Time is rank 0's, and all stop at the same step."""
    case = CASES["uneven"]
    X, y = shard(comm.rank, case, *case.data()[:2])
    net = case.net()
    history = distributed.fit(net, X, y, comm, epochs=10**9, time_budget=0.2 if comm.rank == 0 else 0.2)
    lengths = comm.allgather(len(history.loss))
    assert lengths[0] == lengths[1] >= 1
    everyone = comm.allgather(net.parameters.tobytes())
    assert everyone[0] == everyone[1]


def threads_shared(comm: Any) -> None:
    from fastbp.distributed.ranks import Ranks

    with Ranks(comm).sharing_processors():
        available = len(__import__("os").sched_getaffinity(0))
        assert fastbp.threads.count() <= max(1, available // comm.size)
    with fastbp.threads.limit(3), Ranks(comm).sharing_processors():
        assert fastbp.threads.limited()


def rate_failing(comm: Any) -> None:
    class Failing(Constant):
        def at(self, steps: Any, total: int) -> Any:
            if comm.rank == 1 and steps[0] == 3:
                raise ZeroDivisionError("of the learning rate")
            return super().at(steps, total)

    case = CASES["uneven"]
    X, y = shard(comm.rank, case, *case.data()[:2])
    try:
        distributed.fit(case.net(), X, y, comm, learning_rate=Failing(0.1))
    except ZeroDivisionError as error:
        assert str(error) == "rank 1: of the learning rate"
        return
    raise AssertionError("no error")


def update_failing(comm: Any) -> None:
    """In the last of all steps, on one rank; all have the parameters from before its epoch."""

    class Failing(Heavy):
        def update(self, parameters: Any, gradient: Any, state: Any, step: Any) -> None:
            super().update(parameters, gradient, state, step)
            if comm.rank == 1 and step.number == 16:
                raise ZeroDivisionError("of the optimizer")

    case = CASES["uneven"]
    X, y = shard(comm.rank, case, *case.data()[:2])
    net, kept = case.net(), []
    try:
        distributed.fit(net, X, y, comm, epochs=2, batch_size=16, optimizer=Failing(),
                        callbacks=[lambda net, history: kept.append(net.parameters.copy())])  # fmt: skip
    except ZeroDivisionError as error:
        assert str(error) == "rank 1: of the optimizer"
        assert (net.parameters == comm.bcast(kept)[0]).all()
        return
    raise AssertionError("no error")


EVENTS: dict[str, Callable[[Any], None]] = {
    function.__name__: function
    for function in (
        failing_row,
        failing_settings,
        diverging,
        diverging_by_targets,
        callbacks,
        budget,
        rate_failing,
        update_failing,
        threads_shared,
    )
}


# ---- runs that end before their end, in processes of their own ----


def kept(comm: Any, path: str, killed_after: int | None) -> tuple[fastbp.MLP, Any]:
    """A run with checkpoints after each step; rank 1 is killed in the middle of a message."""
    if killed_after is not None and comm.rank == 1:
        add_up, calls = Allreduce.add_up, itertools.count(1)

        def killed(exchange: Allreduce) -> None:
            if next(calls) == killed_after:
                os.kill(os.getpid(), signal.SIGKILL)
            add_up(exchange)

        Allreduce.add_up = killed  # type: ignore[method-assign]
    return by_ranks(KEPT, comm, checkpoint=path, checkpoint_seconds=0)


def fail_alone(comm: Any) -> None:
    """Nobody can be told: the others wait for rank 1 in the next epoch's first message."""

    class Failing(Constant):
        def epoch_ended(self, loss: float) -> bool:
            if comm.rank == 1:
                raise ZeroDivisionError("a planted fault")
            return False

    case = CASES["uneven"]
    X, y = shard(comm.rank, case, *case.data()[:2])
    distributed.fit(case.net(), X, y, comm, learning_rate=Failing(0.1))


def fail_together(comm: Any) -> None:
    case = CASES["uneven"]
    X, y = shard(comm.rank, case, *case.data()[:2])
    distributed.fit(case.net(), X[:, comm.rank :], y, comm)


# 7 steps an epoch.
SETTINGS = {"optimizer": "adam", "early_stopping": 3, "learning_rate": Adaptive(0.05, patience=1, tol=0.1)}
KEPT = Case((45, 60), {"l2": 1e-3, "dropout": 0.3, **SETTINGS}, weighted=True, held_out=True, epochs=6)


def main() -> None:
    from mpi4py import MPI

    comm, (out, *names) = MPI.COMM_WORLD, sys.argv[1:]
    found: dict[str, Any] = {}
    if names[:1] == ["kept"]:
        found = results("kept", *kept(comm, names[1], int(names[2]) if names[2:] else None))
        if comm.rank == 0:
            np.savez(out, **found)
        return
    if names[:1] == ["fail"]:
        {"alone": fail_alone, "together": fail_together}[names[1]](comm)
        return
    for name in names or [*CASES, *EVENTS]:
        if name in EVENTS:
            EVENTS[name](comm)
            found[name] = True
            continue
        net, history = by_ranks(CASES[name], comm)
        everyone = comm.allgather(net.parameters.tobytes())
        assert len(set(everyone)) == 1, f"{name}: ranks differ"
        found |= results(name, net, history)
    if comm.rank == 0:
        np.savez(out, **found)


if __name__ == "__main__":
    main()
