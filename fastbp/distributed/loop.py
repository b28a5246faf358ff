"""The steps of a distributed fit: gradients of each rank's rows, their sum, the same update on each rank."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..inputs.in_memory import Rows, all_finite
from ..kernels import coefficients as co
from ..kernels.dropout import STEP_STEP, STREAM
from ..model.model import Model
from ..optimizers import Custom
from ..program import passes
from ..program.batch_layout import BatchLayout
from ..program.cost_model import threads_for
from ..program.interrupts import interrupt_held
from ..program.memory import aligned, round_up
from ..program.run import Operands, prepare, run
from ..program.table import Program
from ..program.tuning import tuning
from ..training.history import History
from ..training.magnitudes import Magnitudes
from ..training.optimizer_state import OptimizerState
from ..training.own_updates import OwnUpdates
from ..training.plan import Plan
from ..training.progress import progress_bar
from ..training.weight_average import WeightAverage
from .allreduce import Allreduce
from .ranks import Ranks
from .shards import cuts, epoch_order

Array = NDArray[Any]
LOSS, WEIGHT, STOP, FAILED = range(4)  # the numbers that follow the gradient in a message
TAIL = 4


@dataclass
class StepPosition:
    """How far a run has come: the same on each rank.

    Attributes
    ----------
    epoch : int
    step : int
        Steps of this epoch that are done.
    steps : int
        Steps of the whole run that are done.
    total : float
        Sum over this epoch's minibatches of their losses times their rows.
    finished : bool
    """

    epoch: int = 0
    step: int = 0
    steps: int = 0
    total: float = 0.0
    finished: bool = False


class ParallelTraining:
    """One call of `distributed.fit` on one rank, its arguments checked.

    Parameters
    ----------
    model, rows, targets, weights, plan
        This rank's rows with their targets and weights, and how to train on them.
    ranks : Ranks
    shards : tuple of int
        Rows of each rank.
    key : int
        The key of dropout's masks.
    shuffle_key : int or None
        The key of each epoch's order of rows; None: ascending.
    """

    def __init__(
        self,
        model: Model,
        rows: Rows,
        targets: Array,
        weights: Array | None,
        plan: Plan,
        ranks: Ranks,
        shards: tuple[int, ...],
        key: int,
        shuffle_key: int | None,
    ):
        self.model, self.rows, self.weights, self.plan, self.ranks = model, rows, weights, plan, ranks
        self.targets = targets.copy()  # a callback may write into y, whose labels are checked only once
        self.key, self.shuffle_key, self.count = key, shuffle_key, sum(shards)
        self.batch = min(plan.batch_size, self.count)
        self.places = cuts(shards, ranks.rank, self.batch)
        given = np.diff(self.places)
        # Rows of lower ranks in each step: this rank's rows follow them, and dropout depends on a row's place.
        lower = ranks.comm.exscan(given) if plan.drops else None
        self._behind = np.zeros_like(given) if lower is None else lower
        self.history, self.position = History(loss_name=model.loss.name), StepPosition()
        self.memory = OptimizerState()
        self.average = WeightAverage(model, plan.averaging)
        self._failure: Exception | None = None
        self._most = max(1, int(given.max()))
        self._allocate(self._most)

    def _allocate(self, most: int) -> None:
        model, plan, dtype = self.model, self.plan, self.model.dtype
        self._form = plan.form(model, self.targets, self.weights is not None)
        size = BatchLayout(model.network, most, dtype, self._form.thresholds, self._form.smoothed).without_inputs
        self._activations = aligned(max(size, BatchLayout(model.network, 1, dtype).without_inputs), dtype)
        averaged = plan.averaging is not None
        self.gradient = self.memory.buffer(plan.optimizer, model.parameters, averaged)  # and behind it the other state
        self.average.begin(self.gradient, plan.optimizer, self.steps)
        self._begin = round_up(model.parameters.size, dtype)
        self._allreduce = Allreduce(self.ranks, self._begin + TAIL, dtype)
        self._threads = threads_for(6.0 * plan.epochs * self.rows.count * model.parameters.size)
        own = plan.optimizer
        self._own = OwnUpdates(own, model, self.gradient, self._form) if isinstance(own, Custom) else None
        self._sums = np.zeros(2)
        self._deadline = math.inf

    @property
    def moments(self) -> Array:
        """The optimizer's state, and the average."""
        return self.gradient[self._begin :]

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return len(self.places) - 1

    # ---- epochs ----

    def run(
        self, after_epoch: Callable[[History], bool], progress: bool | None, checkpoint: Callable[[bool], None]
    ) -> None:
        """Train.

        Parameters
        ----------
        after_epoch : callable
            Called with the history after each epoch; returns whether to stop, the same on each rank.
        progress : bool or None
            A progress bar on rank 0; None: on a terminal and in notebooks only.
        checkpoint : callable
            Called after each step and each epoch, with True where a checkpoint is due in any case.
        """
        history, plan, position = self.history, self.plan, self.position
        self.average.reached(position.steps, position.epoch)
        if position.finished:
            return
        start = time.perf_counter()
        for code in (self._gradient_program(self._most), self._update_program()):
            prepare(code, self.model.dtype)
        self.rows.prepare()
        history.compile_seconds = time.perf_counter() - start
        self._deadline = time.perf_counter() + (math.inf if plan.time_budget is None else plan.time_budget)
        before = np.empty_like(self.model.parameters)
        with progress_bar(progress if self.ranks.is_root else False, plan.epochs * self.count) as bar:
            while not position.finished:
                before[...] = self.model.parameters
                start = time.perf_counter()
                try:
                    over = self._epoch(bar, checkpoint)
                    if self._own is not None:  # of the last step no message has told
                        self.ranks.agree(self._fail)
                    self._check(position)
                except Exception:
                    self.model.parameters[...] = before
                    raise
                rows = min(position.step * self.batch, self.count)
                history.seconds.append(time.perf_counter() - start)
                history.samples_per_second.append(rows / history.seconds[-1])
                history.loss.append(position.total / rows)
                bar.set_postfix(refresh=False, loss=f"{history.loss[-1]:.4f}")
                if position.step == self.steps:
                    self.average.epoch_ended(position.steps, position.epoch + 1)
                ends = plan.learning_rate.epoch_ended(history.loss[-1])
                ends = after_epoch(history) or ends
                if position.step < self.steps:  # time is up within the epoch: the checkpoint is of this step
                    break
                position.epoch, position.step, position.total = position.epoch + 1, 0, 0.0
                position.finished = ends or position.epoch == plan.epochs
                self._try(checkpoint, over or position.finished)
                if over:
                    break
        self.ranks.agree(self._fail)  # no message follows that would report an error

    def _check(self, position: StepPosition) -> None:
        """Raise DivergenceError, on every rank alike: losses and parameters are the same on each."""
        wrong = None if np.isfinite(position.total) else "the loss"
        if wrong is None and not all_finite(self.model.parameters):
            wrong = "a parameter"
        if wrong is None:
            return
        if position.epoch == 0:  # rows that are read in place were not checked before
            self.ranks.agree(self.rows.check)
        mine = self.rows.between(0, min(self.rows.count, self.rows.most), checked=False)
        mine = mine.reshape(-1, self.rows.features)
        magnitudes = Magnitudes.of(mine, self.targets, self.model.embeddings)
        shared = Magnitudes(*(self.ranks.summed(each) / self.ranks.size for each in magnitudes))
        raise self.ranks.mark_agreed(self.plan.diverged(wrong, position.epoch, self.model.loss, shared))

    def _epoch(self, bar: Any, checkpoint: Callable[[bool], None]) -> bool:
        """Carry out the remaining steps of an epoch; return whether the time is over."""
        position = self.position
        order = epoch_order(self.shuffle_key, position.epoch, self.ranks.rank, self.rows.count)
        while position.step < self.steps:
            rows = min(self.batch, self.count - position.step * self.batch)
            loss, over = self._step(order, rows)
            position.total += rows * loss
            position.step, position.steps = position.step + 1, position.steps + 1
            self.average.reached(position.steps, position.epoch)
            bar.update(rows)
            if not math.isfinite(position.total):
                return over
            if position.step < self.steps:  # if this fails, the next message reports it to the others
                self._try(checkpoint, over)
            if over:
                return True
        return False

    # ---- a step ----

    def _step(self, order: NDArray[np.int64], rows: int) -> tuple[float, bool]:
        """Make one update; return the minibatch's loss before it, and whether rank 0's time is over."""
        message, total = self._allreduce.message, self._allreduce.total
        tail = message[self._begin :]
        self._try(self._own_part, order, rows)
        if self._failure is not None:
            message[...] = 0.0
        tail[STOP] = self.ranks.is_root and time.perf_counter() >= self._deadline
        tail[FAILED] = self._failure is not None
        self._allreduce.add_up()
        tail = total[self._begin :]
        if tail[FAILED]:
            self.ranks.agree(self._fail)
        size = self.model.parameters.size
        whole = rows if self.weights is None else float(tail[WEIGHT]) or 1.0  # rows that all weigh 0 change nothing
        if self.weights is None:
            self.gradient[:size] = total[:size]
        else:
            np.multiply(total[:size], self.model.dtype.type(1 / whole), out=self.gradient[:size])
        self.memory.steps += 1
        operands = Operands(
            inputs=self.model.parameters,
            parameters=self.model.parameters,
            activations=self._activations,
            gradient=self.gradient,
            sums=self._sums,
            coefficients=self._coefficients,
        )
        run(self._update_program(), operands)
        if self._own is not None:
            with interrupt_held():  # half an update would be lost in the parameters
                self._try(self._own.update, self.memory.steps, operands, 1)
        return float(tail[LOSS]) / whole + 0.5 * self.plan.l2 * float(self._sums[1]), bool(tail[STOP])

    def _own_part(self, order: NDArray[np.int64], rows: int) -> None:
        """Write this rank's part of the gradient, the losses and the weights into the message."""
        step, model = self.position.step, self.model
        begin, end = self.places[step], self.places[step + 1]
        message = self._allreduce.message
        self._coefficients = self._coefficients_of(rows)
        message[self._begin :] = 0.0
        if begin == end:
            message[...] = 0.0
            return
        straight = self.shuffle_key is None
        chosen: Any = slice(begin, end) if straight else order[begin:end]
        inputs = self.rows.between(int(begin), int(end), checked=False) if straight else self.rows.chosen(chosen)
        targets = self.targets[chosen]
        weights = None if self.weights is None else self.weights[chosen]
        if weights is not None:
            message[self._begin + WEIGHT] = weights.sum(dtype=np.float64)
        key = (self.key + self.position.steps * STEP_STEP + int(self._behind[step]) * STREAM) % 2**64
        operands = Operands(
            inputs=inputs,
            parameters=model.parameters,
            activations=self._activations,
            gradient=message,
            targets=None if targets.ndim == 1 else targets.reshape(-1),
            weights=weights,
            labels=targets if targets.ndim == 1 else None,
            sums=self._sums,
            coefficients=self._coefficients,
            key=key,
        )
        run(self._gradient_program(int(end - begin)), operands)
        with np.errstate(over="ignore"):  # to infinity, which ends the training on all ranks
            message[self._begin + LOSS] = self._sums[0]

    def _gradient_program(self, rows: int) -> Program:
        model = self.model
        return passes.step_gradient(model.network, rows, model.dtype, self._threads, self._form, tuning())

    def _update_program(self) -> Program:
        return passes.step_update(self.model.network, self.model.dtype, self._threads, self._form, tuning())

    def _coefficients_of(self, rows: int) -> Array:
        """Return this step's coefficients. Weighted gradients are sums: other ranks' weights are not known yet."""
        at, update = np.array([self.position.steps]), np.array([self.memory.steps + 1])
        total, fixed = self.plan.epochs * self.steps, self.plan.fixed_coefficients(self.model)
        coefficients = self.plan.coefficients(fixed, at, update, total, self.model.dtype)
        coefficients[:, co.SCALE] = 1.0 / (rows if self.weights is None else 1)
        coefficients[:, [place + co.L2 for place in self.plan.coefficient_places(self.model)]] = self.plan.l2
        return coefficients.reshape(-1)

    # ---- failures ----

    def _try(self, action: Callable[..., None], *arguments: Any) -> None:
        """Call `action` and store its error until the next message, which reports it to every rank.

        Behind an error nothing is done: an optimizer of the user's own may have raised it in the middle of an update,
        which must not come into a checkpoint.
        """
        if self._failure is not None:
            return
        try:
            action(*arguments)
        except Exception as error:
            self._failure = error

    def _fail(self) -> None:
        """Raise the stored error, if there is one."""
        if self._failure is not None:
            raise self._failure
