"""Epochs: row order, staging, the compiled pass over many minibatches, history, progress, divergence; `warmup`."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import passes, program, threads, validation
from .program import Program, aligned
from .rows import GATHERED, Rows, all_finite
from .schedule import threads_for, tuning

Array = NDArray[Any]
CONTROL_SECONDS = 0.05  # Python gets control at the first step boundary after this: progress, callbacks, Ctrl-C
FIRST_GUESS = 2e9  # operations a second, until a call was timed: slower than any processor that runs this


class DivergenceError(ArithmeticError):
    """Training produced infinity or NaN; the parameters from before the epoch were kept."""


@dataclass
class History:
    """What `MLP.fit` returns: one entry an epoch in each list.

    Attributes
    ----------
    loss : list of float
        Mean over rows of the losses seen before each update, L2 penalty included.
    validation_loss, validation_score : list of float
        On the validation data, without penalty; empty without such data.
    seconds : list of float
        Training alone: neither compilation nor validation.
    samples_per_second : list of float
    compile_seconds : float
        Compiling kernels, or loading them from the cache, before the first step.
    """

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_score: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    samples_per_second: list[float] = field(default_factory=list)
    compile_seconds: float = 0.0


@dataclass
class Training:
    """One call of `MLP.fit`, its arguments checked."""

    network: passes.Network
    parameters: Array
    rows: Rows
    labels: Array
    rng: np.random.Generator
    epochs: int
    batch_size: int
    learning_rate: float
    l2: float
    shuffle: bool

    def __post_init__(self) -> None:
        self.labels = self.labels.copy()  # a callback may write into y, whose labels are checked but once
        self.batch: int = min(self.batch_size, self.rows.count)
        dtype = self.parameters.dtype
        self._activations = aligned(passes.Activations(self.network, self.batch, dtype).of_training, dtype)
        self._threads = threads_for(6.0 * self.epochs * self.rows.count * self.network.layout.total)
        self._seconds_a_row = 6 * self.network.layout.total / FIRST_GUESS + 1e-6

    def run(self, after_epoch: Callable[[History], bool], progress: bool | None) -> History:
        history = History()
        before, random_state = np.empty_like(self.parameters), self.rng.bit_generator.state
        start = time.perf_counter()
        with program.interrupt_held():
            program.prepare(self._step(self.batch), self.parameters.dtype)
            self.rows.prepare()
        history.compile_seconds = time.perf_counter() - start
        with _progress_bar(progress, self.epochs * self.rows.count) as bar:
            for epoch in range(self.epochs):
                before[...] = self.parameters
                order = self.rng.permutation(self.rows.count) if self.shuffle else None
                start = time.perf_counter()
                try:
                    total = self._epoch(order, bar)
                    diverged = not (np.isfinite(total) and all_finite(self.parameters))
                    if diverged and epoch == 0:  # X read in place is not checked before: NaN or infinity ends here
                        self.rows.check()
                except ValueError:  # NaN or infinity in X: else seen as its rows are gathered, in the first epoch
                    self.parameters[...] = before
                    self.rng.bit_generator.state = random_state
                    raise
                if diverged:
                    what = "a parameter" if np.isfinite(total) else "the loss"
                    self.parameters[...] = before
                    raise DivergenceError(self._diverged(what, epoch))
                history.seconds.append(time.perf_counter() - start)
                history.samples_per_second.append(self.rows.count / history.seconds[-1])
                history.loss.append(total / self.rows.count)
                bar.set_postfix(refresh=False, loss=f"{history.loss[-1]:.4f}")
                if after_epoch(history):
                    break
        return history

    def _epoch(self, order: NDArray[np.int64] | None, bar: Any) -> float:
        """All rows once; returns the sum over rows of their losses, not finite as soon as a step's is not."""
        total = 0.0
        for begin, end, inputs, labels in self._stages(order):
            whole = (end - begin) // self.batch * self.batch
            for first, last in self._calls(whole, end - begin):
                # One by one, for where a stage is cut into calls depends on the clock, and the sum must not.
                for loss in self._call(inputs, labels, first, last, bar):
                    total += loss
                if not math.isfinite(total):
                    return total
        return total

    def _stages(self, order: NDArray[np.int64] | None) -> Iterator[tuple[int, int, Array, Array]]:
        """Whole minibatches at a time, as many as one stage holds: (begin, end, their inputs, their labels)."""
        size = max(1, self.rows.most // self.batch) * self.batch
        for begin in range(0, self.rows.count, size):
            end = min(self.rows.count, begin + size)
            if order is None:
                yield begin, end, self.rows.between(begin, end, checked=False), self.labels[begin:end]
            else:
                yield begin, end, self.rows.chosen(order[begin:end]), self.labels[order[begin:end]]

    def _calls(self, whole: int, rows: int) -> Iterator[tuple[int, int]]:
        """Cut a stage to calls of about `CONTROL_SECONDS`, each of whole minibatches; a short one comes last."""
        first = 0
        while first < whole:
            steps = max(1, int(CONTROL_SECONDS / (self._seconds_a_row * self.batch)))
            last = min(whole, first + steps * self.batch)
            yield first, last
            first = last
        if whole < rows:
            yield whole, rows

    def _call(self, inputs: Array, labels: Array, first: int, last: int, bar: Any) -> list[float]:
        """Train on rows [first, last) of a stage, in one compiled call; returns each step's sum of row losses."""
        batch = min(self.batch, last - first)
        steps, features = (last - first) // batch, self.rows.features
        losses = np.empty(steps)
        chosen = ({"labels": labels[first:last], "label_step": batch} if labels.ndim == 1 else
                  {"targets": labels[first:last].reshape(-1), "target_step": batch * labels.shape[1]})  # fmt: skip
        start = time.perf_counter()
        program.run(self._step(batch), inputs=inputs[first * features : last * features], parameters=self.parameters,
                    activations=self._activations, gradient=self.parameters, losses=losses,
                    learning_rate=self.learning_rate, l2=self.l2, scale=1.0 / batch, repeats=steps,
                    input_step=batch * features, **chosen)  # fmt: skip
        self._seconds_a_row = (time.perf_counter() - start) / (last - first)
        bar.update(last - first)
        return [loss * batch for loss in losses.tolist()]

    def _step(self, rows: int) -> program.Program:
        form = "labels" if self.labels.ndim == 1 else "probabilities"
        return passes.training_step(self.network, rows, self.parameters.dtype, self._threads, form, self.l2 > 0,
                                    tuning())  # fmt: skip

    def _diverged(self, what: str, epoch: int) -> str:
        return (
            f"training diverged in epoch {epoch + 1} of {self.epochs}: {what} became infinite or NaN; the parameters "
            f"from before that epoch are kept. Try a smaller learning_rate (now {self.learning_rate:g}), inputs scaled "
            "to order one (input_shift, input_scale)" + (f", or a smaller l2 (now {self.l2:g})" if self.l2 else "")
        )


class _NoBar:
    """Takes what a progress bar takes, and shows nothing."""

    def __enter__(self) -> _NoBar:
        return self

    def __exit__(self, *error: object) -> None: ...

    def update(self, rows: int) -> None: ...

    def set_postfix(self, refresh: bool, **values: str) -> None: ...

    def set_description(self, what: str) -> None: ...


def _progress_bar(wanted: bool | None, total: int, unit: str = "row") -> Any:
    if wanted is False or (wanted is None and not (sys.stderr is not None and sys.stderr.isatty())):
        return _NoBar()
    from tqdm import tqdm  # 40 ms that only a terminal pays

    return tqdm(total=total, unit=unit, unit_scale=unit == "row", dynamic_ncols=True, leave=False)


# ---- compiling ahead ----


def warmup(dtype: DTypeLike | None = None, progress: bool | None = None) -> dict[str, float]:
    """Compile, or load from the disk cache, all that `MLP.fit` and `MLP.predict` run on, whatever the network.

    Afterwards no network of this process has to wait for the compiler, and none of any later process either, as long as
    the cache folder can be written (`fastbp info` says so) and neither processor, versions nor settings change. For
    images of containers, for services that must answer their first request at once, for measurements.

    Parameters
    ----------
    dtype : {"float32", "float64"}, optional
        What networks compute in; both by default.
    progress : bool or None
        A progress bar; None: on a terminal only.

    Returns
    -------
    dict of str to float
        Seconds each part took: for each dtype its kernels, the parallel pass where threads may be used, and the
        gathering of rows from uint8, float32 and float64. Each is some seconds if compiled, some hundredths if loaded.

    Raises
    ------
    TypeError, ValueError
        `dtype` is none, or another one.
    KeyboardInterrupt
        At the end of the part that is being compiled.

    Examples
    --------
    >>> import fastbp
    >>> seconds = fastbp.warmup("float32")
    >>> list(seconds)[0], min(seconds.values()) >= 0
    ('float32 kernels', True)
    """
    chosen = validation.FLOATS if dtype is None else (validation.float_dtype(dtype),)
    parts = [part for each in chosen for part in _parts(each)]
    seconds: dict[str, float] = {}
    with _progress_bar(progress, len(parts), "part") as bar:
        for name, prepare in parts:
            bar.set_description(name)
            start = time.perf_counter()
            with program.interrupt_held():
                prepare()
            seconds[name] = time.perf_counter() - start
            bar.update(1)
    return seconds


def _parts(dtype: np.dtype[Any]) -> list[tuple[str, Callable[[], None]]]:
    """What is compiled for a dtype: nothing of it depends on a network, which is data to the compiled pass."""

    def gathering() -> None:
        for kind in GATHERED:
            Rows("X", np.zeros((1, 1), kind), 1, dtype, None, None).prepare()

    # The count first: it does not start the pool, which a forked child must not, and the layer does.
    parallel = threads.count() > 1 and threads.layer() is not None
    return [
        (f"{dtype.name} kernels", lambda: program.prepare(Program.of([], 1, 1), dtype)),
        *([(f"{dtype.name} parallel", lambda: program.prepare(Program.of([], 1, 2), dtype))] if parallel else []),
        (f"{dtype.name} gathering", gathering),
    ]
