"""Fit a model: from the arguments of `MLP.fit` to its history."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from .. import frames
from ..inputs.opening import is_chunks, open_rows
from ..learning_rates import Adaptive, Constant, Cosine, InverseScaling
from ..model.model import NAMES, Model
from . import arguments
from .history import History
from .loop import Training
from .optimizer_state import OptimizerState
from .plan import DivergenceError, Plan
from .weight_average import WeightAverage

if TYPE_CHECKING:
    from .checkpoints import Checkpoints

BY_LOSSES = (Constant, InverseScaling, Cosine, Adaptive)  # rates that follow from the steps and the losses before


def fit(
    model: Model,
    X: Any,
    y: Any,
    owner: Any,
    evaluate: Callable[[Any, Any], tuple[float, float]],
    *,
    shuffle: Any,
    validation_data: Any,
    progress: bool | None,
    callbacks: Any,
    sample_weight: Any,
    early_stopping: Any,
    tol: Any,
    checkpoint: Any,
    checkpoint_seconds: Any,
    rows: Any,
    memory_limit: Any,
    **settings: Any,
) -> History:
    """Train a model as `MLP.fit` does, whose arguments these are.

    Parameters
    ----------
    model : Model
    owner : object
        The first argument of callbacks.
    evaluate : callable
        Called with validation rows and targets; returns loss and score.
    **settings
        The other arguments of `arguments.make_plan`.
    """
    plan = arguments.make_plan(model, shuffle=shuffle, memory_limit=memory_limit, **settings)
    calls = arguments.check_callbacks(callbacks)
    X = frames.read("X", X)  # read once for all that follows
    known = model.feature_names or (X.names if isinstance(X, frames.Table) else None)
    held_out = None
    if validation_data is not None:
        held_rows, held_targets = arguments.check_validation_data(model, validation_data, memory_limit, known)
        held_out = held_rows.source, held_targets
        known = known or (held_rows.names if is_chunks(X) else None)  # chunks come later
    stop = arguments.make_early_stopping(model, early_stopping, tol)
    checkpoints = arguments.make_checkpoints(model, checkpoint, checkpoint_seconds, stop, shuffle, held_out)

    average = WeightAverage(model, plan.averaging)

    def after_epoch(history: History) -> bool:
        if held_out is not None:
            with average.in_place():
                loss, score = evaluate(*held_out)
            history.validation_loss.append(loss)
            history.validation_score.append(score)
        answers = [callback(owner, history) for callback in calls]  # all are called, whatever the first one returns
        with average.in_place():
            stops = stop.after_epoch(history)
        return stops or any(answer is True for answer in answers)

    watched = calls or held_out is not None or early_stopping is not None
    plan.losses_decide = not watched and type(plan.learning_rate) in BY_LOSSES

    def run() -> History:
        history = _train(
            model,
            X,
            y,
            plan,
            sample_weight=sample_weight,
            after_epoch=after_epoch if watched else None,
            progress=progress,
            checkpoints=checkpoints,
            rows=rows,
            known=known,
            average=average,
        )
        stop.restore_best()
        return history

    return model.lock.call(run)


def train(
    model: Model,
    X: Any,
    y: Any,
    plan: Plan,
    *,
    sample_weight: Any = None,
    optimizer_state: OptimizerState | None = None,
    after_epoch: Callable[[History], bool] | None = None,
) -> History:
    """Train a model by a plan, whose numbers are not checked; the arguments are those of `MLP.train`."""

    def run() -> History:
        return _train(
            model, X, y, plan, sample_weight=sample_weight, optimizer_state=optimizer_state, after_epoch=after_epoch
        )

    return model.lock.call(run)


def _train(
    model: Model,
    X: Any,
    y: Any,
    plan: Plan,
    *,
    sample_weight: Any = None,
    optimizer_state: OptimizerState | None = None,
    after_epoch: Callable[[History], bool] | None = None,
    progress: bool | None = False,
    checkpoints: Checkpoints | None = None,
    rows: Any = None,
    known: tuple[str, ...] | None = None,
    average: WeightAverage | None = None,
) -> History:
    """Open the rows and train on them; a refusal in the first epoch leaves generator and names as they were."""
    data = open_rows(model, X, y, sample_weight, plan.read_options, rows=rows, known=known)
    columns = frames.outputs_of("y", y, model.sizes[-1])
    outputs = None if columns is None else columns.names
    if optimizer_state is None:
        optimizer_state = OptimizerState()
    if optimizer_state.filled:  # it could not be restored after a failure
        data.check()
    generator = model.rng.bit_generator.state
    key = int(model.rng.integers(2**63)) if plan.drops else 0
    average = average or WeightAverage(model, plan.averaging)
    training = Training(model, data, plan, optimizer_state, average, key, checkpoints)
    try:
        with recorded_in(model, training.history, data.names, data.target_name, outputs):
            history = training.run(after_epoch, progress)
            average.keep()
            return history
    except Exception as error:
        if _refuses(error, training.history):
            model.rng.bit_generator.state = generator
        raise
    finally:
        data.close()


def _refuses(error: Exception, history: History) -> bool:
    """Return whether an error is of X, rates, the checkpoint or an optimizer; later ones are a callback's."""
    return not history.loss and not isinstance(error, DivergenceError)


@contextlib.contextmanager
def recorded_in(
    model: Model,
    history: History,
    features: tuple[str, ...] | None,
    target: str | None,
    outputs: tuple[str, ...] | None = None,
) -> Iterator[None]:
    """Give a model the names of the columns that it is trained on, and in the end the history.

    Names of targets are set only if the model has none. All names are taken back if the training within the block is
    refused, and the history is then that of the training before; after Ctrl-C and other errors it is the new one.
    """
    before = {name: getattr(model, name) for name in NAMES}
    after = {
        "feature_names": features,
        "target_name": model.target_name or target,
        "class_names": model.class_names or outputs,
    }
    for name, value in after.items():
        if value != before[name] and value is not None:  # checking hundreds of names takes longer than a small step
            setattr(model, name, value)
    try:
        yield
    except BaseException as error:
        if isinstance(error, Exception) and _refuses(error, history):
            for name, value in before.items():
                setattr(model, name, value)
        else:
            model.keep_history(history)
        raise
    model.keep_history(history)
