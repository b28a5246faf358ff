"""`fit` and `score`: arguments checked on every rank, compared between ranks, and carried out together."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import frames, validation
from ..averaging import Averaging
from ..inputs.in_memory import rows_of
from ..learning_rates import LearningRate
from ..network import MLP
from ..optimizers import Optimizer
from ..training import arguments, fingerprint
from ..training.fitting import recorded_in
from ..training.history import History
from ..training.weight_average import WeightAverage
from .checkpoints import Checkpoints
from .loop import ParallelTraining
from .ranks import Ranks
from .shards import KEYS

Array = NDArray[Any]


def fit(
    net: MLP,
    X_local: ArrayLike,
    y_local: ArrayLike,
    comm: Any = None,
    epochs: int = 10,
    batch_size: int = 128,
    learning_rate: float | LearningRate | None = None,
    l2: float = 0.0,
    optimizer: str | Optimizer = "sgd",
    shuffle: bool = True,
    validation_data: tuple[ArrayLike, ArrayLike] | None = None,
    progress: bool | None = None,
    callbacks: Sequence[Callable[[MLP, History], object]] = (),
    *,
    sample_weight: ArrayLike | None = None,
    dropout: float | Sequence[float] = 0.0,
    input_dropout: float = 0.0,
    layer_learning_rates: Sequence[float] | None = None,
    embedding_learning_rates: float | Mapping[int, float] = 1.0,
    label_smoothing: float = 0.0,
    averaging: Averaging | None = None,
    max_grad_norm: float | None = None,
    early_stopping: int | None = None,
    tol: float = 1e-4,
    time_budget: float | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_seconds: float = 60.0,
) -> History:
    """Train one network by all processes of a communicator, each on its own rows.

    Every rank calls it with the same settings. All end with the same parameters, to the bit, and with the same bits in
    every run with the same number of ranks. Up to rounding, one process gets the same parameters from all rows, with
    this `batch_size` and the order of rows that `single_process_order` returns.

    Parameters
    ----------
    net : MLP
        The same layers and settings on each rank; parameters and generator are those of rank 0.
    X_local, y_local : array_like
        This rank's shard, at least one row. Shards may differ in size; a minibatch takes rows from each in proportion.
        The columns of frames are matched by name to the network's, or else to those of rank 0's frame.
    comm : mpi4py.MPI.Comm, optional
        By default all processes of the job.
    batch_size : int, default 128
        Rows of a step, of all ranks together.
    validation_data : (X, y), optional
        This rank's shard of the validation data, on all ranks or on none; loss and score are those of all its rows.
    progress, callbacks
        Used on rank 0 only. Changes that a callback makes to the parameters are sent to the others; a callback that
        returns True ends the training on all ranks.
    sample_weight : array_like (n,), optional
        Weights of this rank's rows, on all ranks or on none.
    time_budget : float, optional
        Seconds by rank 0's clock, which is read in each step.
    checkpoint : path, optional
        A file that only rank 0 reads and writes: at the first step after each `checkpoint_seconds` and at the end, also
        that of `time_budget`. It is replaced as a whole. If it exists when training starts, training continues from it
        and ends with the same bits as an uninterrupted run; the file of a finished run returns at once.
    checkpoint_seconds : float, default 60.0
        See `checkpoint`; 0 writes after every step.
    epochs, learning_rate, l2, optimizer, shuffle, dropout, input_dropout, layer_learning_rates,
    embedding_learning_rates, label_smoothing, averaging, max_grad_norm, early_stopping, tol
        As for `MLP.fit`.

    Returns
    -------
    History
        The same on each rank, except the seconds.

    Raises
    ------
    ValueError, TypeError, fastbp.DivergenceError, ...
        As for `MLP.fit`; also where settings or networks differ between ranks, or the checkpoint is another run's. An
        error that one rank finds is raised by all of them, with its number; if it is not caught, rank 0 prints it. An
        error that cannot be sent to the others prints one message and ends the job (``comm.Abort``).
    ModuleNotFoundError
        mpi4py or an MPI library is missing: ``pip install 'fastbp[mpi]'``.

    Notes
    -----
    Each rank uses its share of the processors of its machine, unless ``NUMBA_NUM_THREADS`` or `fastbp.threads.limit`
    sets another number.

    Examples
    --------
    A script for ``mpirun -n 4 python -m mpi4py script.py``::

        import fastbp
        from mpi4py import MPI

        comm = MPI.COMM_WORLD
        X, y = fastbp.datasets.load_digits()
        net = fastbp.MLP((64, 32, 10), seed=0, input_scale=1 / 16)
        fastbp.distributed.fit(net, X[comm.rank :: comm.size], y[comm.rank :: comm.size], epochs=10)
    """
    ranks = Ranks(comm)

    def prepare(X: Any, names: tuple[str, ...] | None) -> _Run:
        return _Run(
            net,
            X,
            names,
            y_local,
            ranks,
            validation_data,
            callbacks,
            sample_weight,
            (early_stopping, tol),
            (checkpoint, checkpoint_seconds),
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            l2=l2,
            optimizer=optimizer,
            shuffle=shuffle,
            dropout=dropout,
            input_dropout=input_dropout,
            layer_learning_rates=layer_learning_rates,
            embedding_learning_rates=embedding_learning_rates,
            label_smoothing=label_smoothing,
            averaging=averaging,
            max_grad_norm=max_grad_norm,
            time_budget=time_budget,
        )

    def train() -> History:
        with ranks.aborting_on_error(), ranks.sharing_processors():
            X = ranks.agree(lambda: frames.read("X_local", X_local))
            own = net.feature_names or (X.names if isinstance(X, frames.Table) else None)
            names = ranks.comm.bcast((own, net.target_name or frames.name_of(y_local)))
            return ranks.agree(lambda: prepare(X, names[0])).train(progress, names)

    with ranks.aborting_on_error():
        ranks.agree(lambda: _check_network(net))
    return net.model.lock.call(train)


def score(net: MLP, X_local: ArrayLike, y_local: ArrayLike, comm: Any = None) -> float:
    """Return `MLP.score` over the rows of all ranks: the same on each rank.

    Parameters
    ----------
    net : MLP
    X_local, y_local : array_like
        This rank's rows, at least one.
    comm : mpi4py.MPI.Comm, optional
        By default all processes of the job.

    Returns
    -------
    float

    Raises
    ------
    ValueError, TypeError
        As for `MLP.score`, on every rank.
    """
    ranks = Ranks(comm)
    with ranks.aborting_on_error(), ranks.sharing_processors():
        ranks.agree(lambda: _check_network(net))
        return ranks.agree(lambda: _HeldOut(net, (X_local, y_local), ranks, "X", "y")).score()


def _check_network(net: Any) -> None:
    if not isinstance(net, MLP):
        raise TypeError(f"net: got {type(net).__name__}, expected an MLP")


class _Run:
    """One call of `fit` on one rank: checks its arguments, then trains together with the others."""

    def __init__(
        self,
        net: MLP,
        X: Any,
        names: tuple[str, ...] | None,
        y: Any,
        ranks: Ranks,
        held_out: Any,
        callbacks: Any,
        weights: Any,
        stopping: tuple[Any, Any],
        saving: tuple[Any, Any],
        **settings: Any,
    ):
        self.net, self.ranks = net, ranks
        self.plan = arguments.make_plan(net.model, **settings)
        self.shuffled = validation.truth("shuffle", settings["shuffle"])
        self.calls = arguments.check_callbacks(callbacks)
        self.held_out = None if held_out is None else _HeldOut(net, held_out, ranks, known=names)
        self.stop = arguments.make_early_stopping(net.model, *stopping)
        self.rows = rows_of(net.model, "X_local", X, names)
        self.rows.check_levels(0, self.rows.count)
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
        key = int(net.rng.integers(KEYS)) if plan.drops else 0
        shuffle_key = int(net.rng.integers(KEYS)) if self.shuffled else None
        weights = None if self.weights is None else _scaled(self.weights, ranks)
        training = ParallelTraining(net.model, self.rows, self.targets, weights, plan, ranks, shards, key, shuffle_key)
        checkpoints = Checkpoints(self.path, self.seconds, about, training, self.stop)
        plan.learning_rate.start()
        checkpoints.begin()
        with recorded_in(net.model, training.history, *names):
            training.run(lambda history: self._after_epoch(history, training.average), progress, checkpoints.keep)
        training.average.keep()
        self.stop.restore_best()
        return training.history

    def _after_epoch(self, history: History, average: WeightAverage) -> bool:
        """Return whether to stop: the same on each rank."""
        if self.held_out is not None:
            with average.in_place():
                history.validation_loss.append(self.held_out.loss())
                history.validation_score.append(self.held_out.score())
        stopped = False
        if self.ranks.comm.bcast(bool(self.calls)):
            calls = self.calls if self.ranks.is_root else []
            returned = self.ranks.agree(lambda: [callback(self.net, history) for callback in calls])
            stopped = self.ranks.comm.bcast(any(value is True for value in returned))
            self.ranks.comm.Bcast(self.net.parameters)
        with average.in_place():
            stops = self.stop.after_epoch(history)
        return stops or stopped

    def _about(self) -> dict[str, Any]:
        """Return the settings that must be the same on each rank and in a checkpoint: the run's fingerprint."""
        net, plan = self.net, self.plan
        scaling = hashlib.sha256()
        for part in (net.input_shift, net.input_scale):
            scaling.update(b"none" if part is None else part.tobytes())
        return {
            **net.model.describe(),
            "activation": repr(net.activation),  # the form in existing checkpoints
            "input scaling": scaling.hexdigest(),
            "epochs": plan.epochs,
            "batch_size": plan.batch_size,
            "learning_rate": repr(plan.learning_rate),
            "l2": plan.l2,
            "optimizer": fingerprint.in_full(plan.optimizer, getattr(plan.optimizer, "__dict__", {})),
            "shuffle": self.shuffled,
            "dropout": plan.dropout,
            **plan.options(),
            "max_grad_norm": plan.max_grad_norm,
            "early_stopping": [self.stop.patience, self.stop.tol],
            "sample_weight": self.weights is not None,
            "validation_data": self.held_out is not None,
            "labels": self.targets.ndim == 1,
            "checkpoint": self.path is not None,
        }


def _check_alike(mine: dict[str, Any], first: dict[str, Any]) -> None:
    for name, value in first.items():
        if mine[name] != value:
            raise ValueError(f"{name}: got {mine[name]}, expected the same as on rank 0, {value}")


def _scaled(weights: Array, ranks: Ranks) -> Array:
    """Scale the weights by a power of two, so that the largest of all ranks is near 1.

    That is exact, only the ratios of weights count, and no sum of them leaves the range of the dtype.
    """
    largest = max(ranks.comm.allgather(float(weights.max())))
    scaled: Array = np.ldexp(weights, -math.frexp(largest)[1])
    return scaled


class _HeldOut:
    """A rank's shard of validation data; loss and score over the shards of all ranks."""

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
        residual = np.square(wanted - self.net.predict(self.X).reshape(wanted.shape)).sum(axis=0)
        total = self.ranks.summed([*wanted.sum(axis=0), self.count])
        spread = self.ranks.summed(np.square(wanted - total[:-1] / total[-1]).sum(axis=0))
        residual = self.ranks.summed(residual)
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(np.where(spread > 0, 1 - residual / spread, residual == 0).mean())
