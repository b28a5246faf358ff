"""Fit one network, and score it, by all processes of a communicator: what they check and do together."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import frames, validation
from ..inputs.in_memory import rows_of
from ..learning_rates import LearningRate
from ..network import MLP
from ..optimizers import Optimizer
from ..training import arguments
from ..training.fitting import named_columns
from ..training.history import History
from .loop import ParallelTraining, Savings
from .ranks import Ranks
from .shards import KEYS

Array = NDArray[Any]


def fit(net: MLP, X_local: ArrayLike, y_local: ArrayLike, comm: Any = None, epochs: int = 10, batch_size: int = 128,
        learning_rate: float | LearningRate | None = None, l2: float = 0.0, optimizer: str | Optimizer = "sgd",
        shuffle: bool = True, validation_data: tuple[ArrayLike, ArrayLike] | None = None, progress: bool | None = None,
        callbacks: Sequence[Callable[[MLP, History], object]] = (), *, sample_weight: ArrayLike | None = None,
        dropout: float = 0.0, max_grad_norm: float | None = None, early_stopping: int | None = None, tol: float = 1e-4,
        time_budget: float | None = None, checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_seconds: float = 60.0) -> History:  # fmt: skip
    """Train one network by all processes of a communicator, each on its own rows.

    All ranks call it, with the same settings. They end with the same parameters, to the bit, and with the same from run
    to run for the same number of ranks; up to rounding these are what one process gets from all rows with this
    `batch_size`, in the order that `single_process_order` tells.

    Parameters
    ----------
    net : MLP
        Of the same form on each rank; parameters and generator are rank 0's.
    X_local, y_local : array_like
        This rank's shard, at least one row. Shards may differ in size: each gives rows to a minibatch in proportion.
        Columns of frames are matched by name, to the network's or those of rank 0's frame.
    comm : mpi4py.MPI.Comm, optional
        All processes of the job by default.
    batch_size : int
        Rows of a step on all ranks together.
    validation_data : (X, y), optional
        This rank's shard of it, on all ranks or on none; loss and score are those of all its rows.
    progress, callbacks
        On rank 0. What a callback writes into the parameters reaches the others; its True ends the training for all.
    sample_weight : array_like (n,), optional
        Of this rank's rows, on all ranks or on none.
    time_budget : float, optional
        Seconds by rank 0's clock, looked at in each step.
    checkpoint : path, optional
        A file that rank 0 writes: whole or not at all, after every `checkpoint_seconds` at the next step, and at the
        end, that of `time_budget` too. Where it is there when training starts, training goes on from it and ends in the
        same bits as without the interruption; a finished run's returns at once. Only rank 0 reads it.
    checkpoint_seconds : float
        See `checkpoint`; 0 writes after every step.
    epochs, learning_rate, l2, optimizer, shuffle, dropout, max_grad_norm, early_stopping, tol
        As for `MLP.fit`.

    Returns
    -------
    History
        The same on each rank but for the seconds.

    Raises
    ------
    ValueError, TypeError, fastbp.DivergenceError, ...
        As for `MLP.fit`, also where settings or networks differ between ranks, or a checkpoint is another run's. What
        only one rank finds wrong all of them raise, with its number; not caught, rank 0 prints it. What cannot be
        told to the others prints one message and ends the job (``comm.Abort``).
    ModuleNotFoundError
        mpi4py or an MPI library is missing: ``pip install 'fastbp[mpi]'``.

    Notes
    -----
    Each rank uses its share of the processors of its machine, unless ``NUMBA_NUM_THREADS`` or `fastbp.threads.limit`
    says otherwise.
    """
    ranks = Ranks(comm)

    def prepare(X: Any, names: tuple[str, ...] | None) -> _Run:
        return _Run(
            net, X, names, y_local, ranks, validation_data, callbacks, sample_weight, (early_stopping, tol),
            (checkpoint, checkpoint_seconds), epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, l2=l2,
            optimizer=optimizer, shuffle=shuffle, dropout=dropout, max_grad_norm=max_grad_norm, time_budget=time_budget,
        )  # fmt: skip

    def train() -> History:
        with ranks.ending_together(), ranks.sharing_processors():
            X = ranks.agree(lambda: frames.read("X_local", X_local))
            own = net.feature_names or (X.names if isinstance(X, frames.Table) else None)
            names = ranks.comm.bcast((own, net.target_name or frames.name_of(y_local)))
            return ranks.agree(lambda: prepare(X, names[0])).train(progress, names)

    with ranks.ending_together():
        ranks.agree(lambda: _check_network(net))
    return net.model.lock.call(train)


def score(net: MLP, X_local: ArrayLike, y_local: ArrayLike, comm: Any = None) -> float:
    """`MLP.score` over the rows of all ranks, at least one each; the same on each rank."""
    ranks = Ranks(comm)
    with ranks.ending_together(), ranks.sharing_processors():
        ranks.agree(lambda: _check_network(net))
        return ranks.agree(lambda: _HeldOut(net, (X_local, y_local), ranks, "X", "y")).score()


def _check_network(net: Any) -> None:
    if not isinstance(net, MLP):
        raise TypeError(f"net: got {type(net).__name__}, expected an MLP")


class _Run:
    """The arguments of one call on this rank, checked, and then what all ranks do with them."""

    def __init__(self, net: MLP, X: Any, names: tuple[str, ...] | None, y: Any, ranks: Ranks, held_out: Any,
                 callbacks: Any, weights: Any, stopping: tuple[Any, Any], saving: tuple[Any, Any],
                 **settings: Any):  # fmt: skip
        self.net, self.ranks = net, ranks
        self.plan = arguments.make_plan(net.model, **settings)
        self.shuffled = validation.truth("shuffle", settings["shuffle"])
        self.calls = arguments.check_callbacks(callbacks)
        self.held_out = None if held_out is None else _HeldOut(net, held_out, ranks, known=names)
        self.stop = arguments.make_early_stopping(net.model, *stopping)
        self.rows = rows_of(net.model, "X_local", X, names)
        self.targets = net.model.targets("y_local", y, self.rows.count)
        self.weights = validation.sample_weight("sample_weight", weights, self.rows.count, net.dtype)
        path, seconds = saving
        if path is not None and not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"checkpoint: got {type(path).__name__}, expected a path")
        self.path, self.seconds = path, validation.number("checkpoint_seconds", seconds)

    def train(self, progress: bool | None, names: tuple[Any, Any]) -> History:
        net, ranks, plan = self.net, self.ranks, self.plan
        shards = tuple(ranks.comm.allgather(self.rows.count))
        about = {**self._about(), "ranks": ranks.size, "shards": list(shards)}
        ranks.agree(lambda: _check_alike(about, ranks.comm.bcast(about)))
        ranks.comm.Bcast(net.parameters)
        net.rng.bit_generator.state = ranks.comm.bcast(net.rng.bit_generator.state)
        key = int(net.rng.integers(KEYS)) if plan.dropout else 0
        walk_key = int(net.rng.integers(KEYS)) if self.shuffled else None
        weights = None if self.weights is None else _scaled(self.weights, ranks)
        training = ParallelTraining(net.model, self.rows, self.targets, weights, plan, ranks, shards, key, walk_key)
        savings = Savings(self.path, self.seconds, about, training, self.stop)
        plan.learning_rate.start()
        savings.begin()
        with named_columns(net.model, training.history, *names):
            training.run(self._after_epoch, progress, savings)
        self.stop.restore_best()
        return training.history

    def _after_epoch(self, history: History) -> bool:
        """Whether to stop: the same answer on each rank."""
        if self.held_out is not None:
            history.validation_loss.append(self.held_out.loss())
            history.validation_score.append(self.held_out.score())
        called = False
        if self.ranks.comm.bcast(bool(self.calls)):
            calls = self.calls if self.ranks.leads else []
            answers = self.ranks.agree(lambda: [callback(self.net, history) for callback in calls])
            called = self.ranks.comm.bcast(any(answer is True for answer in answers))
            self.ranks.comm.Bcast(self.net.parameters)
        return self.stop.after_epoch(history) or called

    def _about(self) -> dict[str, Any]:
        """What must be the same on each rank, and in a checkpoint: the run's fingerprint."""
        net, plan = self.net, self.plan
        scaling = hashlib.sha256()
        for part in (net.input_shift, net.input_scale):
            scaling.update(b"none" if part is None else part.tobytes())
        return {
            **net.model.describe(), "activation": repr(net.activation),  # as files of before have it
            "input scaling": scaling.hexdigest(), "epochs": plan.epochs, "batch_size": plan.batch_size,
            "learning_rate": repr(plan.learning_rate), "l2": plan.l2, "optimizer": repr(plan.optimizer),
            "shuffle": self.shuffled, "dropout": plan.dropout, "max_grad_norm": plan.max_grad_norm,
            "early_stopping": [self.stop.patience, self.stop.tol], "sample_weight": self.weights is not None,
            "validation_data": self.held_out is not None, "labels": self.targets.ndim == 1,
            "checkpoint": self.path is not None,
        }  # fmt: skip


def _check_alike(mine: dict[str, Any], first: dict[str, Any]) -> None:
    for name, value in first.items():
        if mine[name] != value:
            raise ValueError(f"{name}: got {mine[name]}, expected the same as on rank 0, {value}")


def _scaled(weights: Array, ranks: Ranks) -> Array:
    """Times a power of two that brings the largest of all ranks near 1, which is exact: only their ratios count, and no
    sum of them leaves the dtype's range."""
    largest = max(ranks.comm.allgather(float(weights.max())))
    scaled: Array = np.ldexp(weights, -math.frexp(largest)[1])
    return scaled


class _HeldOut:
    """A rank's shard of validation data, and what all shards together say."""

    def __init__(self, net: MLP, pair: Any, ranks: Ranks, *names: str, known: tuple[str, ...] | None = None):
        self.net, self.ranks = net, ranks
        try:
            rows, self.y = arguments.check_validation_data(net.model, pair, None, known)
        except (ValueError, TypeError) as error:
            text = str(error)
            for index, name in enumerate(names):
                text = text.replace(f"validation_data[{index}]", name)
            raise type(error)(text) from None
        self.X, self.count = rows.source, rows.count

    def loss(self) -> float:
        return self.ranks.mean(self.ranks.agree(lambda: self.net.loss(self.X, self.y)), self.count)

    def score(self) -> float:
        if self.net.model.loss.classifies:
            return self.ranks.mean(self.ranks.agree(lambda: self.net.score(self.X, self.y)), self.count)
        wanted = self.y.astype(np.float64)
        missed = np.square(wanted - self.net.predict(self.X).reshape(wanted.shape)).sum(axis=0)
        total = self.ranks.summed([*wanted.sum(axis=0), self.count])
        spread = self.ranks.summed(np.square(wanted - total[:-1] / total[-1]).sum(axis=0))
        missed = self.ranks.summed(missed)
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(np.where(spread > 0, 1 - missed / spread, missed == 0).mean())
