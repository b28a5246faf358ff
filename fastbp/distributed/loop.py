"""The steps that many processes take together, and the checkpoints from which they go on."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..inputs.in_memory import Rows, all_finite
from ..kernels import coefficients as co
from ..kernels.dropout import STEP_STEP, STREAM
from ..model.model import Model
from ..program import passes
from ..program.batch_layout import BatchLayout
from ..program.cost_model import threads_for
from ..program.memory import aligned, round_up
from ..program.run import Operands, prepare, run
from ..program.table import Program
from ..program.tuning import tuning
from ..training import checkpoints
from ..training.early_stopping import EarlyStopping
from ..training.history import History
from ..training.magnitudes import Magnitudes
from ..training.optimizer_state import OptimizerState
from ..training.plan import Plan
from ..training.progress import progress_bar
from .ranks import Exchange, Ranks
from .shards import cuts, walk

Array = NDArray[Any]
LOSS, WEIGHT, STOP, FAILED = range(4)  # behind the gradient in a message
TAIL = 4


@dataclass
class Position:
    """Where a run is: the same on each rank."""

    epoch: int = 0
    step: int = 0  # of the epoch
    steps: int = 0  # of the run
    total: float = 0.0  # of this epoch's minibatches: their losses times their rows
    finished: bool = False


class ParallelTraining:
    """One call of `distributed.fit` on one rank, its arguments checked; `key` is dropout's, `walk_key` shuffling's."""

    def __init__(self, model: Model, rows: Rows, targets: Array, weights: Array | None, plan: Plan, ranks: Ranks,
                 shards: tuple[int, ...], key: int, walk_key: int | None):  # fmt: skip
        self.model, self.rows, self.weights, self.plan, self.ranks = model, rows, weights, plan, ranks
        self.targets = targets.copy()  # a callback may write into y, whose labels are checked but once
        self.key, self.walk_key, self.count = key, walk_key, sum(shards)
        self.batch = min(plan.batch_size, self.count)
        self.places = cuts(shards, ranks.rank, self.batch)
        given = np.diff(self.places)
        # Rows of lower ranks in each step: this one's stand behind them, and dropout goes by a row's place.
        lower = ranks.comm.exscan(given) if plan.dropout else None
        self._behind = np.zeros_like(given) if lower is None else lower
        self.history, self.position = History(loss_name=model.loss.name), Position()
        self.memory = OptimizerState()
        self._failure: Exception | None = None
        self._most = max(1, int(given.max()))
        self._allocate(self._most)

    def _allocate(self, most: int) -> None:
        model, plan, dtype = self.model, self.plan, self.model.dtype
        self._form = plan.form(self.targets, self.weights is not None)
        size = BatchLayout(model.network, most, dtype, self._form.threshold > 0).without_inputs
        self._activations = aligned(max(size, BatchLayout(model.network, 1, dtype).without_inputs), dtype)
        self.gradient = self.memory.buffer(plan.optimizer, model.parameters)  # behind it the optimizer's state
        self._begin = round_up(model.parameters.size, dtype)
        self._exchange = Exchange(self.ranks, self._begin + TAIL, dtype)
        self._threads = threads_for(6.0 * plan.epochs * self.rows.count * model.parameters.size)
        self._sums = np.zeros(2)
        self._deadline = math.inf

    @property
    def moments(self) -> Array:
        return self.gradient[self._begin :]

    @property
    def steps(self) -> int:
        """Of an epoch."""
        return len(self.places) - 1

    def digests(self) -> dict[str, str]:
        """What all ranks' data are told by."""
        mine = {"X": checkpoints.digest_of_rows(self.rows), "y": checkpoints.digest(self.targets),
                "sample_weight": checkpoints.digest(self.weights)}  # fmt: skip
        return {name: checkpoints.digest_of_text(repr(self.ranks.comm.allgather(each))) for name, each in mine.items()}

    # ---- epochs ----

    def run(self, after_epoch: Callable[[History], bool], progress: bool | None, savings: Savings) -> None:
        history, plan, position = self.history, self.plan, self.position
        if position.finished:
            return
        start = time.perf_counter()
        for code in (self._gradient_program(self._most), self._update_program()):
            prepare(code, self.model.dtype)
        self.rows.prepare()
        history.compile_seconds = time.perf_counter() - start
        self._deadline = time.perf_counter() + (math.inf if plan.time_budget is None else plan.time_budget)
        before = np.empty_like(self.model.parameters)
        with progress_bar(progress if self.ranks.leads else False, plan.epochs * self.count) as bar:
            while not position.finished:
                before[...] = self.model.parameters
                start = time.perf_counter()
                try:
                    over = self._epoch(bar, savings)
                    self._check(position)
                except Exception:
                    self.model.parameters[...] = before
                    raise
                rows = min(position.step * self.batch, self.count)
                history.seconds.append(time.perf_counter() - start)
                history.samples_per_second.append(rows / history.seconds[-1])
                history.loss.append(position.total / rows)
                bar.set_postfix(refresh=False, loss=f"{history.loss[-1]:.4f}")
                ends = plan.learning_rate.epoch_ended(history.loss[-1])
                ends = after_epoch(history) or ends
                if position.step < self.steps:  # the checkpoint is of that step, within the epoch
                    break
                position.epoch, position.step, position.total = position.epoch + 1, 0, 0.0
                position.finished = ends or position.epoch == plan.epochs
                self._try(savings.keep, over or position.finished)
                if over:
                    break
        self.ranks.agree(self._fail)  # no message follows that would tell

    def _check(self, position: Position) -> None:
        """The same verdict on each rank, whose losses and parameters are the same."""
        wrong = None if np.isfinite(position.total) else "the loss"
        if wrong is None and not all_finite(self.model.parameters):
            wrong = "a parameter"
        if wrong is None:
            return
        if position.epoch == 0:  # rows read in place are not checked before
            self.ranks.agree(self.rows.check)
        mine = self.rows.between(0, min(self.rows.count, self.rows.most), checked=False)
        magnitudes = Magnitudes.of(mine.reshape(-1, self.rows.features), self.targets)
        shared = Magnitudes(*(self.ranks.summed(each) / self.ranks.size for each in magnitudes))
        raise self.ranks.alike(self.plan.diverged(wrong, position.epoch, self.model.loss, shared))

    def _epoch(self, bar: Any, savings: Savings) -> bool:
        """What is left of an epoch; whether the time is over."""
        position = self.position
        order = walk(self.walk_key, position.epoch, self.ranks.rank, self.rows.count)
        while position.step < self.steps:
            rows = min(self.batch, self.count - position.step * self.batch)
            loss, over = self._step(order, rows)
            position.total += rows * loss
            position.step, position.steps = position.step + 1, position.steps + 1
            bar.update(rows)
            if not math.isfinite(position.total):
                return over
            if position.step < self.steps:  # the next message tells the others where this fails
                self._try(savings.keep, over)
            if over:
                return True
        return False

    # ---- a step ----

    def _step(self, order: NDArray[np.int64], rows: int) -> tuple[float, bool]:
        """One update; the minibatch's loss before it, and whether rank 0's time is over."""
        message, total = self._exchange.message, self._exchange.total
        tail = message[self._begin :]
        self._try(self._own_part, order, rows)
        if self._failure is not None:
            message[...] = 0.0
        tail[STOP] = self.ranks.leads and time.perf_counter() >= self._deadline
        tail[FAILED] = self._failure is not None
        self._exchange.add_up()
        tail = total[self._begin :]
        if tail[FAILED]:
            self.ranks.agree(self._fail)
        size = self.model.parameters.size
        whole = rows if self.weights is None else float(tail[WEIGHT]) or 1.0  # rows that all weigh 0 teach nothing
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
        return float(tail[LOSS]) / whole + 0.5 * self.plan.l2 * float(self._sums[1]), bool(tail[STOP])

    def _own_part(self, order: NDArray[np.int64], rows: int) -> None:
        """This rank's share of the gradient, the losses and the weights, into the message."""
        step, model = self.position.step, self.model
        begin, end = self.places[step], self.places[step + 1]
        message = self._exchange.message
        self._coefficients = self._coefficients_of(rows)
        message[self._begin :] = 0.0
        if begin == end:
            message[...] = 0.0
            return
        straight = self.walk_key is None
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
        """Return those of this step; weighted gradients come as sums, for other ranks' weights are unknown."""
        at, update = np.array([self.position.steps]), np.array([self.memory.steps + 1])
        total, fixed = self.plan.epochs * self.steps, self.model.fixed_coefficients
        coefficients = self.plan.coefficients(fixed, at, update, total, self.model.dtype)
        coefficients[:, co.L2], coefficients[:, co.SCALE] = self.plan.l2, 1.0 / (rows if self.weights is None else 1)
        return coefficients.reshape(-1)

    # ---- failures ----

    def _try(self, action: Callable[..., None], *arguments: Any) -> None:
        """Keep an error of this rank's until the next message, in which all hear of it."""
        try:
            action(*arguments)
        except Exception as error:
            self._failure = self._failure or error

    def _fail(self) -> None:
        if self._failure is not None:
            raise self._failure


class Savings:
    """Checkpoints of a run, read and written by rank 0 as those of one process are (`fastbp.training.checkpoints`).

    Beside what is the same on each rank nothing must be kept: a rank's walk follows from the key, the epoch and its
    number.
    """

    def __init__(self, path: str | os.PathLike[str] | None, seconds: float, about: dict[str, Any],
                 training: ParallelTraining, stop: EarlyStopping):  # fmt: skip
        self._path, self._seconds, self._training, self._stop = path, seconds, training, stop
        self._last = time.monotonic()
        self._fingerprint = about | ({} if path is None else training.digests())

    def begin(self) -> None:
        """Go on from the file where there is one, else write the first: what cannot be written is found before hours of
        training are lost."""
        if self._path is None:
            return
        ranks = self._training.ranks
        state = ranks.comm.bcast(ranks.agree(lambda: self._read() if ranks.leads else None))
        if state is None:
            ranks.agree(lambda: self._save() if ranks.leads else None)
        else:
            ranks.agree(lambda: self._put_back(state))

    def keep(self, now: bool = False) -> None:
        """Write one where it is due; one that cannot be written is no reason to lose the run."""
        due = now or time.monotonic() - self._last >= self._seconds
        if self._path is None or not self._training.ranks.leads or not due:
            return
        try:
            self._save()
        except (OSError, TypeError) as error:  # TypeError: what a user's learning rate has come to remember
            checkpoints.warn_not_written(self._path, error)
        self._last = time.monotonic()

    def _save(self) -> None:
        training, plan = self._training, self._training.plan
        arrays = {"parameters": training.model.parameters, "moments": training.moments}
        if self._stop.best is not None:
            arrays["best"] = self._stop.best
        checkpoints.save(self._path or "", {
            **arrays, "fingerprint": self._fingerprint, "position": asdict(training.position), "key": training.key,
            "walk_key": training.walk_key, "memory_steps": training.memory.steps,
            "history": {name: getattr(training.history, name) for name in checkpoints.LISTS},
            "early_stopping": {"lowest": self._stop.lowest, "waited": self._stop.waited},
            "learning_rate": checkpoints.attributes("learning_rate", plan.learning_rate),
            "optimizer": checkpoints.attributes("optimizer", plan.optimizer),
            "generator": training.model.rng.bit_generator.state,
        })  # fmt: skip

    def _read(self) -> dict[str, Any] | None:
        state = checkpoints.load(self._path or "")
        if state is not None:
            checkpoints.check_same_run(self._path or "", state.get("fingerprint", {}), self._fingerprint)
        return state

    def _put_back(self, state: dict[str, Any]) -> None:
        training, stop, plan = self._training, self._stop, self._training.plan
        try:
            for name, array in (("parameters", training.model.parameters), ("moments", training.moments)):
                if state[name].shape != array.shape or state[name].dtype != array.dtype:
                    raise ValueError(f"{name} of shape {state[name].shape} and dtype {state[name].dtype}")
                array[...] = state[name]
            training.position = Position(**state["position"])
            training.key, training.walk_key = state["key"], state["walk_key"]
            training.memory.steps = state["memory_steps"]
            for name in checkpoints.LISTS:
                getattr(training.history, name)[:] = state["history"][name]
            stop.lowest, stop.waited = state["early_stopping"]["lowest"], state["early_stopping"]["waited"]
            stop.best = state.get("best")
            checkpoints.put_attributes(plan.learning_rate, state["learning_rate"])
            checkpoints.put_attributes(plan.optimizer, state["optimizer"])
            training.model.rng.bit_generator.state = state["generator"]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise checkpoints.unreadable(self._path or "", error) from error
