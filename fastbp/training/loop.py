"""The training loop: epochs, compiled calls over many minibatches, history, divergence."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..inputs.in_memory import FETCHED_ROWS, InMemory, Stage, all_finite
from ..inputs.options import UNKNOWN
from ..kernels import coefficients as co
from ..kernels.dropout import STEP_STEP
from ..model.model import Model
from ..model.row_weights import balanced
from ..optimizers import Custom
from ..program.batch_layout import BatchLayout
from ..program.cost_model import threads_for
from ..program.interrupts import interrupt_held
from ..program.memory import aligned
from ..program.run import Course, Operands, prepare, run
from ..program.table import Program
from .history import History
from .kept_state import KeptState
from .magnitudes import SAMPLED, Magnitudes
from .optimizer_state import OptimizerState
from .orders import Order, Orders
from .own_updates import OwnUpdates
from .plan import Plan
from .position import FitPosition
from .progress import progress_bar, stop_asked
from .step_coefficients import StepCoefficients
from .tiers import Tiers
from .weight_average import WeightAverage

if TYPE_CHECKING:
    from ..inputs.blocks import Stream
    from .checkpoints import Checkpoints

Array = NDArray[Any]
CONTROL_SECONDS = 0.05  # Python gets control at the first step boundary after this: progress, callbacks, Ctrl-C
CALL_SECONDS = 1e-4  # of Python's time, that a call takes beside the compiled code
FIRST_GUESS = 2e9  # operations a second, until a call has been timed: slower than any processor that runs this


@dataclass(eq=False, repr=False)
class Training:
    """One training of a model; all arguments are checked.

    Parameters
    ----------
    model : Model
    data : InMemory or Stream
    plan : Plan
    optimizer_state : OptimizerState
        Goes on from where it is.
    average : WeightAverage
    key : int, default 0
        The key of dropout's masks.
    checkpoints : Checkpoints, optional

    Attributes
    ----------
    before : array (n_parameters,)
        The parameters from before the running epoch.
    """

    model: Model
    data: InMemory | Stream
    plan: Plan
    optimizer_state: OptimizerState
    average: WeightAverage
    key: int = 0
    checkpoints: Checkpoints | None = None

    def __post_init__(self) -> None:
        self.network, self.parameters = self.model.network, self.model.parameters
        plan, dtype = self.plan, self.parameters.dtype
        self._order = self.data.orders(plan.order, plan.generator)
        self.batch: int = min(plan.batch_size, self.data.count)
        weighted = self.data.weights is not None
        self._form = plan.form(self.model, self.data.targets, weighted)
        self._fetched_form = self._form._replace(fetched=True)
        places = BatchLayout(self.network, self.batch, dtype, self._form.thresholds, self._form.smoothed)
        self._fetches = self.data.readable_in_place  # where there is an order
        fused = self._form.fused(self.network)
        if fused:  # it has no state, but an optimizer that follows it must start from 0
            self.optimizer_state.forget()
        if fused and plan.averaging is None:
            self._gradient = self.parameters
        else:
            averaged = plan.averaging is not None
            self._gradient = self.optimizer_state.buffer(plan.optimizer, self.parameters, averaged)
        own = plan.optimizer
        self._own = OwnUpdates(own, self.model, self._gradient, self._form) if isinstance(own, Custom) else None
        self._threads = threads_for(6.0 * plan.epochs * self.data.count * self.network.layout.total)
        form = self._fetched_form if self._fetches else self._form
        self._tiers = Tiers(self.network, self.batch, dtype, self._threads, form)
        elements = places.total if self._fetches else places.without_inputs
        self._activations = aligned(max(elements, self._tiers.activations), dtype)
        self._seconds_a_row = 6 * self.network.layout.total / FIRST_GUESS + 1e-6
        self.history = History(loss_name=self.network.loss.name)
        self.position = FitPosition()
        self.before = np.empty_like(self.parameters)
        self._began = 0.0  # when the running epoch began
        self._steps_of_epoch = -(-self.data.count // self.batch)
        self.average.begin(self._gradient, plan.optimizer, self._steps_of_epoch)
        self._orders = self._orders_ahead()  # None where each epoch is a call of its own
        self._since_taken_back = 0  # epochs
        self._deadline = math.inf
        self._l2_at = [place + co.L2 for place in plan.coefficient_places(self.model)]
        fixed = plan.fixed_coefficients(self.model)
        self._coefficients = StepCoefficients(plan, fixed, self._steps_of_epoch, dtype, weighted)

    def run(self, after_epoch: Callable[[History], bool] | None, progress: bool | None) -> History:
        """Train for all epochs; `after_epoch` is called after each, and ends the training by returning True."""
        history, plan, count = self.history, self.plan, self.data.count
        self._after_epoch = after_epoch
        self._asked = after_epoch is not None or not plan.learning_rate.by_steps
        with interrupt_held():
            self._prepare()
        self._deadline = time.perf_counter() + (math.inf if plan.time_budget is None else plan.time_budget)
        first = self.position.epoch
        total = plan.epochs * count if count < UNKNOWN else None
        with progress_bar(progress, total, done=first * count + self.position.rows if total else 0) as bar:
            while not self.position.finished:
                epochs = self._epochs_at_once()
                if self._orders is not None and epochs > 1 and self._train_epochs(self._orders, epochs, bar):
                    continue
                epoch = self.position.epoch
                self._train_epoch(bar)
                position = self.position
                history.seconds.append(time.perf_counter() - self._began)
                history.samples_per_second.append(position.rows / history.seconds[-1])
                if position.rows == self.data.count:
                    self.average.epoch_ended(position.steps, epoch + 1)
                ends = self._epoch_ended(position.total / position.rows)
                self._since_taken_back += 1
                bar.set_postfix(refresh=False, loss=f"{history.loss[-1]:.4f}")
                if position.rows < self.data.count:  # the time is over: the checkpoint is of a step within the epoch
                    break
                self.position = position.next_epoch(finished=ends or epoch + 1 == plan.epochs)
                over = time.perf_counter() >= self._deadline
                self._keep(now=over or self.position.finished)
                if over:
                    break
        return history

    def _prepare(self) -> None:
        """Restore a checkpoint where there is one; compile or load the kernels unless the run is finished."""
        if self.checkpoints is None:
            self.plan.learning_rate.start()
        else:
            self.checkpoints.begin(self)
            self.average.reached(self.position.steps, self.position.epoch)
        if not self.position.finished:
            start = time.perf_counter()
            prepare(self._step(self.batch, self._fetches), self.parameters.dtype, self.data.compiled_functions())
            self.data.prepare()
            self.history.compile_seconds = time.perf_counter() - start

    def _epoch_ended(self, loss: float) -> bool:
        """Record the loss of an epoch; return whether that was the last one."""
        self.history.loss.append(loss)
        ends = self.plan.learning_rate.epoch_ended(loss)
        return (self._after_epoch is not None and self._after_epoch(self.history)) or ends

    def _orders_ahead(self) -> Orders | None:
        """Return what draws the orders of epochs that run ahead; None where none may."""
        plan, data = self.plan, self.data
        due = data.weights is not None or self.checkpoints is not None or plan.time_budget is not None
        due = due or self._own is not None or (plan.averaging is not None and not plan.averages_steps)
        if due or not (plan.losses_decide and self._fetches and isinstance(data, InMemory)):
            return None
        return plan.order if isinstance(plan.order, Orders) else None

    def _epochs_at_once(self) -> int:
        """Return how many epochs one compiled call may take: `CONTROL_SECONDS` of them where nothing is asked between.

        Otherwise, after n epochs of c seconds since some were taken back, sqrt(n `CALL_SECONDS` / c). Calls of k epochs
        cost n / k `CALL_SECONDS`, and to take one back costs k c; this k makes the sum of the two smallest.
        """
        if self._orders is None:
            return 1
        plan, count = self.plan, self.data.count
        seconds = self._seconds_a_row * count
        epochs = CONTROL_SECONDS / seconds
        if self._asked:
            epochs = min(epochs, math.sqrt(self._since_taken_back * CALL_SECONDS / seconds))
        return max(1, min(int(epochs), plan.epochs - self.position.epoch, FETCHED_ROWS // count))

    def _train_epochs(self, orders: Orders, epochs: int, bar: Any) -> bool:
        """Train for some epochs in one call, ahead of what is asked after each of them.

        Where training ends with one before the last, or the learning rate changes, everything is put back, and the
        epochs up to that one are trained again. Where training diverges, or X holds NaN, everything is put back and
        False returned: epochs one by one then show in which of them that happens, and keep the parameters from before
        it. Ctrl-C is held back, so that parameters and records are those after the same epoch.
        """
        count, first, start = self.data.count, self.position.steps, time.perf_counter()
        with interrupt_held():
            kept = KeptState(self.parameters, self.optimizer_state, self.position)
            drawn = orders.several(count, epochs)
            self._coefficients.rate_may_change()  # not where epochs are trained again: it may be another then
            totals = self._totals(drawn, bar)
            if np.isfinite(totals).all() and all_finite(self.parameters):
                done, ends = self._answer((totals / count).tolist(), first)
                self._since_taken_back += done
            else:
                done, self._orders = 0, None
            if done < epochs:
                kept.put_back()
                orders.put_back(epochs - done)
                bar.update(-epochs * count)
                self._since_taken_back = 0
                if done == 0:
                    return False
                self._totals(drawn[:done], bar)
            seconds = (time.perf_counter() - start) / done
            self.history.seconds += [seconds] * done
            self.history.samples_per_second += [count / seconds] * done
            bar.set_postfix(refresh=False, loss=f"{self.history.loss[-1]:.4f}")
            epoch = self.position.epoch + done
            self.position = FitPosition(epoch, steps=self.position.steps, finished=ends or epoch == self.plan.epochs)
        if stop_asked():
            raise KeyboardInterrupt
        return True

    def _answer(self, losses: list[float], first: int) -> tuple[int, bool]:
        """Ask what is asked after each of some epochs, which began with step `first`.

        Returns the number of epochs after which training ends, or goes on with another rate than the next one had; all
        of them where it does neither. And returns whether it ends.
        """
        coefficients, epochs = self._coefficients, len(losses)
        rates = None if coefficients.known else coefficients.rates(first, epochs)
        for done, loss in enumerate(losses, 1):
            if self._epoch_ended(loss):
                return done, True
            if done < epochs and rates is not None:
                first += self._steps_of_epoch
                if coefficients.rates(first, 1)[0] != rates[done]:
                    return done, False
        return epochs, False

    def _totals(self, orders: Order, bar: Any) -> Array:
        """Train for an epoch in each of some orders, in one call; return the total loss of each."""
        data = self.data
        assert isinstance(data, InMemory)
        losses = self._call(data.whole_epochs(orders), 0, data.count, bar)
        with np.errstate(over="ignore", invalid="ignore"):  # one at a time, as those of a single epoch are added
            return np.add.accumulate(losses.reshape(len(orders), -1), axis=1)[:, -1]

    def _train_epoch(self, bar: Any) -> None:
        """Train for an epoch, or the rest of one; where it fails, restore the parameters from before it."""
        self._coefficients.rate_may_change()
        if self.position.rows == 0:
            self.before[...] = self.parameters
        self._began = time.perf_counter() - self.position.seconds
        order = self._order(self.data.count)
        try:
            stage = self._epoch(order, bar)
            total = self.position.total
            diverged = not (np.isfinite(total) and all_finite(self.parameters))
            if diverged:  # perhaps by NaN or infinity in an X that is read in place, which is checked only now
                magnitudes = self._magnitudes(stage)
                self.data.check()
        except Exception:  # NaN or infinity in rows that are gathered; rates; an optimizer of the user's own
            self.parameters[...] = self.before
            self.optimizer_state.forget()
            raise
        if diverged:
            what = "a parameter" if np.isfinite(total) else "the loss"
            self.parameters[...] = self.before
            self.optimizer_state.forget()
            raise self.plan.diverged(what, self.position.epoch, self.network.loss, magnitudes)
        self.data.close()  # between epochs validation may use its memory

    def _epoch(self, order: Any, bar: Any) -> Stage:
        """Train on the rows of an epoch that are not done; return the stage that was trained on last.

        The time budget, or the step whose loss is not finite, ends it before.
        """
        position = self.position
        for stage in self.data.stages(order, self.batch, position.rows):
            for first, last in self._calls(max(0, position.rows - stage.begin), stage.end - stage.begin):
                # Add one at a time: how a stage is split into calls depends on timing, and the total must not.
                for loss in self._call(stage, first, last, bar).tolist():
                    position.total += loss
                position.rows = stage.begin + last
                if stop_asked():
                    raise KeyboardInterrupt
                over = time.perf_counter() >= self._deadline
                if not math.isfinite(position.total):
                    return stage
                if position.rows < self.data.count:
                    self._keep(now=over)
                if over:
                    return stage
        return stage

    def _magnitudes(self, stage: Stage) -> Magnitudes:
        inputs = stage.inputs.reshape(-1, self.data.features)
        if stage.order is not None:
            inputs = inputs[stage.order[: max(1, SAMPLED // self.data.features)]]
        return Magnitudes.of(inputs, stage.targets, self.model.embeddings)

    def _keep(self, now: bool) -> None:
        """Write a checkpoint where one is due; the seconds that this takes do not count as training."""
        if self.checkpoints is not None:
            start = time.perf_counter()
            if self.position.rows:
                self.position.seconds = start - self._began
            self.checkpoints.keep(self, now)
            self._began += time.perf_counter() - start

    def _calls(self, first: int, rows: int) -> Iterator[tuple[int, int]]:
        """Split a stage, from row `first` on, into calls of about `CONTROL_SECONDS` and of whole minibatches.

        The last call takes a short minibatch too, unless a single step takes that long.
        """
        whole = rows // self.batch * self.batch
        while first < rows:
            steps = int(CONTROL_SECONDS / (self._seconds_a_row * self.batch))
            last = first + max(1, steps) * self.batch
            if last >= whole:
                last = rows if steps > 1 or first >= whole else whole
            yield first, last
            first = last

    def _call(self, stage: Stage, first: int, last: int, bar: Any) -> NDArray[np.float64]:
        """Train on rows [first, last) of each of a stage's rounds, in one compiled call.

        Returns the loss of each step times its rows.
        """
        rows_left = (self.plan.epochs - self.position.epoch) * self.data.count - self.position.rows
        self._tiers.choose(rows_left, self._seconds_a_row)
        whole, left = divmod(last - first, self.batch)
        batch, whole, left = (self.batch, whole, left) if whole else (left, 1, 0)
        steps = (whole + (left > 0)) * stage.rounds
        sizes: Any = batch  # of the minibatches
        if left:
            sizes = np.full(steps, float(batch))
            sizes[whole :: whole + 1] = left
        sums, features, plan = np.empty((steps, 2)), self.data.features, self.plan
        norms = totals = sizes  # what the minibatches' losses are divided by; the sums of their weights as given
        targets = stage.targets[first:]
        fetched, weights = stage.order is not None, None
        if stage.weights is not None:
            weights, norms, totals = self._weighed(stage.weights[first:last], batch)
        start = time.perf_counter()
        l2 = plan.l2 / totals if plan.l2_per_weight else plan.l2
        coefficients = self._coefficients.rows(self.position.steps, steps, self.optimizer_state.steps + 1)
        if len(coefficients) < steps and np.ndim(norms):
            coefficients = np.repeat(coefficients, steps, axis=0)
        with np.errstate(over="ignore"):  # l2 by weights near 0
            coefficients[:, co.SCALE] = 1.0 / norms
            for place in self._l2_at:
                coefficients[:, place] = l2
        key = (self.key + self.position.steps * STEP_STEP) % 2**64
        self.position.steps += steps
        self.optimizer_state.steps += steps  # before: Ctrl-C comes as soon as the call is over
        operands = Operands(
            inputs=stage.inputs if fetched else stage.inputs[first * features :],
            parameters=self.parameters,
            activations=self._activations,
            gradient=self._gradient,
            targets=None if targets.ndim == 1 else targets.reshape(-1),
            weights=weights,
            labels=targets if targets.ndim == 1 else None,
            order=None if stage.order is None else stage.order[first:],
            sums=sums.reshape(-1),
            coefficients=coefficients.reshape(-1),
            key=key,
        )
        course = Course(
            repeats=whole,
            batch=batch,
            tail=self._step(left, fetched) if left else None,
            last=left,
            rounds=stage.rounds,
            input_row=0 if fetched else features,
            target_row=0 if targets.ndim == 1 else targets.shape[1],
            coefficient_step=coefficients.shape[1] if len(coefficients) > 1 else 0,
        )
        program = self._step(batch, fetched)
        if self._own is None:
            run(program, operands, course)
        else:
            self._own.run(program, operands, course, self.optimizer_state.steps - steps + 1)
        self.average.reached(self.position.steps, self.position.epoch)
        seconds, rows = time.perf_counter() - start, (last - first) * stage.rounds
        self._seconds_a_row = seconds / rows
        self._tiers.took(seconds, rows)
        bar.update(rows)
        losses: NDArray[np.float64] = sizes * (sums[:, 0] / norms + 0.5 * l2 * sums[:, 1])
        return losses

    @staticmethod
    def _weighed(weights: Array, batch: int) -> tuple[Array, Array, Array]:
        """Return `balanced` weights of rows in minibatches, the last one perhaps short: flat, and their sums."""
        whole = len(weights) // batch * batch
        parts = [balanced(weights[:whole].reshape(-1, batch))]
        if whole < len(weights):
            parts.append(balanced(weights[whole:].reshape(1, -1)))
        flat, norms, totals = zip(*parts, strict=True)
        return np.concatenate([each.reshape(-1) for each in flat]), np.concatenate(norms), np.concatenate(totals)

    def _step(self, rows: int, fetched: bool) -> Program:
        return self._tiers.program(rows, self._fetched_form if fetched else self._form)
