"""The network: parameters in one flat buffer, and what can be asked of them. Training itself is `fastbp.training`."""

from __future__ import annotations

import copy
import inspect
import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from . import frames
from .inputs import blocks
from .inputs.in_memory import rows_of
from .kernels.coefficients import CONSTANTS
from .learning_rates import LearningRate
from .model import contents, evaluation, npz_file, pickles
from .model.evaluation import Gradient, SampleGradients
from .model.model import Model
from .model.scores import score
from .optimizers import Optimizer
from .training import arguments
from .training.history import History
from .training.optimizer_state import OptimizerState
from .training.plan import Plan

Array = NDArray[Any]


class MLP:
    """Multilayer perceptron: affine layers with activations between them, and a loss behind.

    Parameters
    ----------
    sizes : sequence of int
        Features of the input, of every hidden layer, and the number of outputs: of classes, or of targets.
    activation : str or sequence of str
        Behind every layer but the last, one for all or one for each: "relu", "identity", "logistic", "tanh",
        "leaky_relu", "gelu" (by the error function) or "silu".
    loss : str
        Of the logits, the last layer's sums, and the targets; see Notes.
    dtype : {"float32", "float64"}
        Of the parameters and all arithmetic.
    seed : int, numpy.random.Generator or None
        Initial weights, the row order of every epoch and dropout come from it.
    input_shift, input_scale : float or array_like (features,), optional
        Inputs become ``(x - input_shift) * input_scale``; saved with the model.
    initializer : str or sequence of array_like, optional
        "he", "glorot" (normal), "he_uniform" or "glorot_uniform" for all weights, biases 0; or the arrays themselves:
        ``[W1, b1, W2, b2, ...]``. By default He normal [1]_ for layers of the ReLU kind ("relu", "leaky_relu", "gelu",
        "silu"), else Glorot normal [2]_.
    **constants : float, or array_like (outputs,) where it says so
        What activations and losses depend on, and the attributes of the same names: leaky_slope, 0.01 by default, and
        huber_delta, 1 by default.

    Attributes
    ----------
    weights, biases : list of array
        Views (fan_in, fan_out) and (fan_out,) into `parameters`; writing into them is allowed.
    parameters : array (n_parameters,)
        The one flat buffer: W1, b1, W2, b2, ...
    class_names : tuple of str or None
        Of the classes, or of the other outputs if there are several. Taken from a frame of several columns given as y;
        the columns of later ones are matched by name. Saved with the model. Any sequence of text or numbers, one a
        class, may be assigned.
    feature_names : tuple of str or None
        Of the columns, all different; saved with the model. Taken from the first frame that the network is trained on,
        if all its columns have names that are str. Columns of later frames are matched by name: in another order
        they are put in this one, missing ones and others are a ValueError. Arrays count as in this order.
    target_name : str or None
        Of what is predicted; saved with the model, and taken from a series, or a frame of one column, given as y.

    Raises
    ------
    ValueError, TypeError
        An argument that is none of these.

    Notes
    -----
    With logits z and targets t, a row's loss is

    - "softmax_cross_entropy": ``log sum exp(z) - sum t z``; t a class index, or a row of probabilities
    - "binary_cross_entropy": the mean over outputs of ``log(1 + exp(z)) - t z``, t from 0 to 1;
      "binary_cross_entropy_sum": their sum
    - "mean_squared_error": the mean of ``(z - t)^2``; "half_squared_error": half of it
    - "mean_absolute_error": the mean of ``|z - t|``
    - "huber": the mean of ``(z - t)^2 / 2`` up to a distance of delta, then ``delta (|z - t| - delta / 2)``
    - "poisson_deviance": the mean of ``2 (t log(t / m) - t + m)``, m = exp(z), t at least 0;
      "half_poisson_deviance_sum": half their sum

    and the loss is the mean over rows, or ``sum w loss / sum w`` with weights w. Sums over outputs and halves are
    scikit-learn's.

    .. [1] K. He, X. Zhang, S. Ren, J. Sun, "Delving deep into rectifiers", ICCV 2015.
    .. [2] X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward networks", AISTATS 2010.

    Examples
    --------
    >>> import fastbp
    >>> X, y = fastbp.datasets.quadrants(4000, seed=0)
    >>> net = fastbp.MLP((2, 50, 4), seed=0)
    >>> history = net.fit(X, y, epochs=20, batch_size=32, learning_rate=0.5)
    >>> net.score(X, y) > 0.98
    True
    """

    def __init__(self, sizes: Sequence[int], activation: str | Sequence[str] = "relu",
                 loss: str = "softmax_cross_entropy", dtype: DTypeLike = "float32",
                 seed: int | np.random.Generator | None = None, input_shift: ArrayLike | None = None,
                 input_scale: ArrayLike | None = None, *, initializer: str | Sequence[ArrayLike] | None = None,
                 **constants: float | Sequence[float]):  # fmt: skip
        self._model = Model(sizes, activation, loss, dtype, input_shift, input_scale, constants)
        self._model.draw(seed, initializer)
        self._memory = OptimizerState()  # of partial_fit

    @classmethod
    def of(cls, model: Model) -> MLP:
        """Return a network of a model that is there already."""
        net = cls.__new__(cls)
        net._model, net._memory = model, OptimizerState()
        return net

    @property
    def model(self) -> Model:
        """What the rest of fastbp takes of it."""
        return self._model

    # ---- copies and pickles ----

    def __copy__(self) -> MLP:
        """A network of the same parameters, generator and lock: one memory, two objects."""
        same = type(self).__new__(type(self))
        same.__dict__.update(self.__dict__)
        same._model = copy.copy(self._model)
        return same

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return pickles.reduced(self)

    def __getstate__(self) -> dict[str, Any]:
        """What `save` writes, what a file lacks, and what a subclass or a user has put there."""
        arrays, metadata = contents.contents(self._model)
        more = {name: value for name, value in vars(self).items() if name not in ("_model", "_memory")}
        return pickles.stamped(arrays=arrays, metadata=metadata, generator=self._model.rng, seed=self._model.seed,
                               memory=self._memory.state(), more=more)  # fmt: skip

    def __setstate__(self, state: dict[str, Any]) -> None:
        pickles.check("MLP", state)
        self._model = contents.model_of(state["arrays"], state["metadata"])
        self._model.rng, self._model.seed = state["generator"], state["seed"]
        self._memory = OptimizerState.of(state["memory"])
        self.__dict__.update(state["more"])

    def __repr__(self) -> str:
        values: dict[str, Any] = {
            "activation": self.activation, "loss": self.loss_name, "dtype": self.dtype.name,
        }  # fmt: skip
        defaults = {name: parameter.default for name, parameter in inspect.signature(MLP).parameters.items()}
        defaults |= {name: constant.default for name, constant in CONSTANTS.items()}
        values |= self.constants
        arguments = [f"{name}={value!r}" for name, value in values.items() if value != defaults[name]]
        scaling = {"input_shift": self.input_shift, "input_scale": self.input_scale}
        arguments += [f"{name}={_brief(vector)}" for name, vector in scaling.items() if vector is not None]
        return f"MLP({', '.join([repr(self.sizes), *arguments])})"

    # ---- what it is ----

    @property
    def sizes(self) -> tuple[int, ...]:
        return self._model.sizes

    @property
    def activation(self) -> str | tuple[str, ...]:
        return self._model.activation

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._model.dtype

    @property
    def constants(self) -> dict[str, float | tuple[float, ...]]:
        """The numbers that activations and losses depend on, by their names, which are attributes too; a copy."""
        return dict(self._model.constants)

    if not TYPE_CHECKING:  # or every attribute would seem to be there

        def __getattr__(self, name: str) -> float | tuple[float, ...]:
            if name in CONSTANTS:
                return self._model.constants[name]
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)

    @property
    def input_shift(self) -> Array | None:
        return self._model.input_shift

    @property
    def input_scale(self) -> Array | None:
        return self._model.input_scale

    @property
    def weights(self) -> list[Array]:
        return self._model.weights

    @property
    def biases(self) -> list[Array]:
        return self._model.biases

    @property
    def class_names(self) -> tuple[str, ...] | None:
        return self._model.class_names

    @class_names.setter
    def class_names(self, value: Iterable[Any] | None) -> None:
        self._model.class_names = value

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        return self._model.feature_names

    @feature_names.setter
    def feature_names(self, value: Iterable[str] | None) -> None:
        self._model.feature_names = value

    @property
    def target_name(self) -> str | None:
        return self._model.target_name

    @target_name.setter
    def target_name(self, value: str | None) -> None:
        self._model.target_name = value

    @property
    def rng(self) -> np.random.Generator:
        return self._model.rng

    @rng.setter
    def rng(self, value: np.random.Generator) -> None:
        if not isinstance(value, np.random.Generator):
            raise TypeError(f"rng: got {value!r}, expected a numpy.random.Generator")
        self._model.rng = value

    @property
    def parameters(self) -> Array:
        return self._model.parameters

    @parameters.setter
    def parameters(self, values: ArrayLike) -> None:
        self._model.set_parameters(values)

    @property
    def loss_name(self) -> str:
        return self._model.loss.name

    @property
    def classes(self) -> int:
        """Number of classes, or of other outputs."""
        return self.sizes[-1]

    # ---- forward ----

    def logits(self, X: ArrayLike) -> Array:
        """Outputs of the last layer, before the softmax.

        Parameters
        ----------
        X : array_like (n, features)
            Of any real dtype and layout.

        Returns
        -------
        array (n, classes)
            A row has the same bits whatever other rows share the call.

        Raises
        ------
        ValueError, TypeError
            A wrong shape or dtype, no rows, NaN or infinity.
        """
        return evaluation.outputs(self._model, rows_of(self._model, "X", X), answered=False)

    def outputs(self, X: ArrayLike) -> Array:
        """What the logits stand for, (n, outputs): their softmax for "softmax_cross_entropy", the logistic function of
        them for "binary_cross_entropy", their exponential for "poisson_deviance", else themselves; errors as for
        `logits`."""
        return evaluation.outputs(self._model, rows_of(self._model, "X", X), answered=True)

    def predict_proba(self, X: ArrayLike) -> Array:
        """Probabilities, (n, outputs): `outputs` of a network that tells classes apart; another raises ValueError."""
        if not self._model.loss.classifies:
            raise ValueError(f"predict_proba: got a network whose loss is {self.loss_name}, expected one of classes")
        return evaluation.outputs(self._model, rows_of(self._model, "X", X), answered=True)

    def predict(self, X: ArrayLike) -> Array:
        """The answer for each row; errors as for `logits`.

        Returns
        -------
        array
            "softmax_cross_entropy": the index of the largest logit, the lowest on ties, (n,) int64.
            "binary_cross_entropy": 1 where the probability is above one half, else 0, (n, outputs) int64.
            Else `outputs`, (n, outputs). With one output (n,).
        """
        if self._model.loss.targets == "classes":
            labels: Array = np.argmax(self.logits(X), axis=1).astype(np.int64, copy=False)
            return labels
        found: Array = (self.logits(X) > 0).astype(np.int64) if self._model.loss.classifies else self.outputs(X)
        return found[:, 0] if found.shape[1] == 1 else found

    def score(self, X: ArrayLike, y: ArrayLike) -> float:
        """How well the predictions agree with y: the share of rows that are right, in all outputs; of a network for
        numbers the coefficient of determination R^2, the mean over outputs.

        For softmax y holds class indices, or probabilities by their argmax; for binary outputs what is above one half
        counts as 1. R^2 is ``1 - sum (y - prediction)^2 / sum (y - mean)^2``; where all y are the same it is 1 if the
        predictions are right, else 0.
        """
        rows = rows_of(self._model, "X", X)
        targets = self._model.targets("y", y, rows.count)
        return score(self._model.loss, self.predict(rows.source), targets)

    def loss(self, X: ArrayLike, y: ArrayLike, l2: float = 0.0, *, sample_weight: ArrayLike | None = None) -> float:
        """The mean loss over rows plus ``l2/2`` times the sum of all squared weights; errors as for `gradient`."""
        return evaluation.loss(self._model, rows_of(self._model, "X", X), y, l2, sample_weight)

    # ---- backward ----

    def gradient(self, X: ArrayLike, y: ArrayLike, l2: float = 0.0, *, sample_weight: ArrayLike | None = None,
                 dropout: float = 0.0, dropout_key: int = 0) -> Gradient:  # fmt: skip
        """Loss and its gradient by back-propagation, of the weights, the biases and the inputs.

        Parameters
        ----------
        X : array_like (n, features)
        y : array_like (n,) or (n, outputs)
            Class indices, or rows of probabilities; for other losses the targets, (n,) if there is one output.
        l2 : float, default 0
            Weight of the penalty ``l2/2 sum |W|^2``; biases are not penalised.
        sample_weight : array_like (n,), optional
            At least 0. The loss is then ``sum w loss / sum w``; of rows that all weigh 0 it is 0.
        dropout : float, default 0
            Share of the hidden outputs that are 0, the others divided by ``1 - dropout``.
        dropout_key : int, default 0
            Which of them follows from this number modulo 2^64 and from row, layer and unit: to verify the gradient by.

        Returns
        -------
        Gradient
            `loss`, `weights`, `biases` and `inputs`.

        Raises
        ------
        ValueError, TypeError
            X as for `logits`; labels out of range, fractional or NaN, or rows that do not sum to 1; a negative `l2`.

        Examples
        --------
        >>> import fastbp
        >>> net = fastbp.MLP((2, 3, 2), seed=0, dtype="float64")
        >>> g = net.gradient([[0.5, -1.0], [2.0, 0.25]], [0, 1], l2=0.01)
        >>> [dW.shape for dW in g.weights], g.inputs.shape
        ([(2, 3), (3, 2)], (2, 2))
        """
        return evaluation.gradient(
            self._model, rows_of(self._model, "X", X), y, l2, sample_weight, dropout, dropout_key
        )

    def sample_gradients(self, X: ArrayLike, y: ArrayLike) -> SampleGradients:
        """The gradient of each row's own loss: ``gradient`` of that row alone, for all rows at once.

        Takes n times the memory of the parameters. Parameters and errors as for `gradient`.

        Examples
        --------
        >>> import fastbp
        >>> net = fastbp.MLP((2, 3, 2), seed=0, dtype="float64")
        >>> g = net.sample_gradients([[0.5, -1.0], [2.0, 0.25]], [0, 1])
        >>> [dW.shape for dW in g.weights], g.losses.shape
        ([(2, 2, 3), (2, 3, 2)], (2,))
        """
        return evaluation.sample_gradients(self._model, rows_of(self._model, "X", X), y)

    # ---- training ----

    def fit(self, X: ArrayLike, y: ArrayLike | None = None, epochs: int = 10, batch_size: int = 128,
            learning_rate: float | LearningRate | None = None, l2: float = 0.0, optimizer: str | Optimizer = "sgd",
            shuffle: bool = True, validation_data: tuple[ArrayLike, ArrayLike] | None = None,
            progress: bool | None = None, callbacks: Sequence[Callable[[MLP, History], object]] = (), *,
            sample_weight: ArrayLike | None = None, dropout: float = 0.0, max_grad_norm: float | None = None,
            early_stopping: int | None = None, tol: float = 1e-4, time_budget: float | None = None,
            checkpoint: str | os.PathLike[str] | None = None, checkpoint_seconds: float = 60.0,
            rows: ArrayLike | None = None, memory_limit: int | None = None) -> History:  # fmt: skip
        """Train by minibatches, from the parameters as they are.

        Parameters
        ----------
        X : array_like, frame, sparse matrix or object with row slicing (n, features); or chunks
            Used as it is: rows are converted, shifted and scaled as they are gathered, X is never copied whole.
            Objects with shape, dtype and row slicing, such as data sets of h5py and arrays of Zarr, are read part by
            part, the next while this one trains. Chunks (X, y) or (X, y, sample_weight) come from an iterator, which
            allows one epoch, or from a callable that gives a fresh iterator for each epoch. Frames (pandas, Polars,
            PyArrow) hold numbers and bools, none missing; their names become the network's, see `feature_names`.
        y : array_like or object with slicing (n,) or (n, outputs)
            As for `gradient`; none beside chunks.
        epochs : int
            Passes over all rows.
        batch_size : int
            Rows a step; a short last minibatch is trained too, its mean taken over its own rows.
        learning_rate : float or fastbp.learning_rates.LearningRate, optional
            By default the optimizer's: 0.1 for "sgd", "momentum" and "nesterov", 0.01 for "adagrad", else 0.001.
        l2 : float
            Weight of the penalty ``l2/2 sum |W|^2``; biases are not penalised.
        optimizer : str or fastbp.optimizers.Optimizer
            "sgd", "momentum", "nesterov", "adam", "adamw", "rmsprop" or "adagrad"; starts anew in each call.
        shuffle : bool
            Draw a new row order for each epoch.
        validation_data : (X, y), optional
            Loss (without penalty) and score on them after each epoch.
        progress : bool or None
            A progress bar; None: on a terminal only.
        callbacks : sequence of callable
            Called as ``callback(network, history)`` after each epoch; one that returns True ends the training.
        sample_weight : array_like (n,), optional
            At least 0; a minibatch's loss is ``sum w loss / sum w``.
        dropout : float, default 0
            Share of each hidden layer's outputs that are 0 in a step, drawn anew for each; the others are divided by
            ``1 - dropout``, so that predictions need nothing of it.
        max_grad_norm : float, optional
            A gradient of all parameters, penalty included, that is longer is shortened to this norm.
        early_stopping : int, optional
            End after so many epochs in which the validation loss (the training loss, without validation data) did not
            fall by `tol`. The parameters of the epoch with the lowest are kept, also where all epochs were needed.
        tol : float
            See `early_stopping`.
        time_budget : float, optional
            Seconds after which training ends, within an epoch too; checked about every 50 ms.
        checkpoint : path, optional
            A file for the state of the run: written before the first step, then every `checkpoint_seconds` and at the
            end. Where it exists, training goes on from it, and ends in the same bits as if it had never stopped; what a
            finished run left is returned at once. Callbacks and validation data are not in it; those of the call that
            goes on are used, and callbacks may see an epoch's end a second time. `time_budget` counts anew in each
            call, and a run that it ended goes on in the next. A file that cannot be written is an error before
            training, and a RuntimeWarning later.
        checkpoint_seconds : float, default 60
            A checkpoint is due at the first step boundary that Python sees after this, about every 50 ms.
        rows : array_like of int, or of bool (n,), optional
            Train on these rows of X, y and `sample_weight` alone: the same bits as of `X[rows]`, which is not made.
        memory_limit : int, optional
            Bytes that the rows in memory may take beside what the process has already. If X takes more, rows are
            shuffled by blocks and within them. By default a quarter of the machine's memory for what is not an array,
            and for mapped files of more than half of it.

        Returns
        -------
        History

        Raises
        ------
        ValueError, TypeError
            X, y as for `gradient`; sizes below 1; rates that are negative or not finite. Parameters are unchanged.
        DivergenceError
            A loss or a parameter became infinite or NaN; the parameters from before the epoch are kept.
        fastbp.CheckpointError
            `checkpoint` is another run's, and the message says what differs; another program's, or damaged. Nothing is
            changed.
        OSError
            `checkpoint` cannot be read, or not be written before the first step. Nothing is changed.
        KeyboardInterrupt
            At the first step boundary after 50 ms; the network is as it was after that step.
        StreamError
            Rows could not be read, or an iterator ended early; the network of the last whole epoch is kept.
        RuntimeError
            Another thread trains this network already; that one goes on unharmed.

        Notes
        -----
        One thread at a time may train a network; different networks, and copies by `copy.deepcopy`, may be trained side
        by side. Other threads may predict with a network while it is trained: safe, but the parameters they see are
        those of some step or, in part, of the one after it. A callback may call `fit` of its own network.
        """
        plan = arguments.plan(
            self._model, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, l2=l2, optimizer=optimizer,
            shuffle=shuffle, dropout=dropout, max_grad_norm=max_grad_norm, time_budget=time_budget,
            memory_limit=memory_limit,
        )  # fmt: skip
        calls = arguments.callbacks(callbacks)
        X = frames.read("X", X)  # once, for all that looks at it
        known = self.feature_names or (X.names if isinstance(X, frames.Table) else None)
        held_out = None
        if validation_data is not None:
            held_rows, held_targets = arguments.validation_data(self._model, validation_data, memory_limit, known)
            held_out = held_rows.source, held_targets
            known = known or (held_rows.names if blocks.of_chunks(X) else None)  # chunks come later
        stop = arguments.early_stopping(self._model, early_stopping, tol)
        keep = arguments.checkpoints(self._model, checkpoint, checkpoint_seconds, stop, shuffle, held_out)

        def after_epoch(history: History) -> bool:
            if held_out is not None:
                history.validation_loss.append(self.loss(*held_out))
                history.validation_score.append(self.score(*held_out))
            answers = [callback(self, history) for callback in calls]  # all are called, whatever the first says
            return stop.after_epoch(history) or any(answer is True for answer in answers)

        watched = calls or held_out is not None or early_stopping is not None

        def train() -> History:
            history = arguments.carry_out(plan, self._model, X, y, sample_weight=sample_weight,
                                        after_epoch=after_epoch if watched else None, progress=progress,
                                        checkpoints=keep, rows=rows, known=known)  # fmt: skip
            stop.restore_best()
            return history

        return self._model.lock.call(train)

    def partial_fit(self, X: ArrayLike, y: ArrayLike, batch_size: int = 128,
                    learning_rate: float | LearningRate | None = None, l2: float = 0.0,
                    optimizer: str | Optimizer = "sgd", *, sample_weight: ArrayLike | None = None, dropout: float = 0.0,
                    max_grad_norm: float | None = None) -> History:  # fmt: skip
        """Train on these rows once, in their order; the optimizer goes on from the last call of `partial_fit`.

        It starts anew where another kind of optimizer is asked for. Parameters, errors and what is returned are those
        of `fit`.

        Examples
        --------
        >>> import fastbp
        >>> X, y = fastbp.datasets.quadrants(4000, seed=0)
        >>> net = fastbp.MLP((2, 50, 4), seed=0)
        >>> for begin in range(0, 4000, 100):
        ...     history = net.partial_fit(X[begin : begin + 100], y[begin : begin + 100], 10, optimizer="adam")
        >>> net.score(X, y) > 0.9
        True
        """
        plan = arguments.plan(
            self._model, epochs=1, batch_size=batch_size, learning_rate=learning_rate, l2=l2, optimizer=optimizer,
            shuffle=False, dropout=dropout, max_grad_norm=max_grad_norm, time_budget=None,
        )  # fmt: skip
        return self.train(X, y, plan, sample_weight=sample_weight, memory=self._memory)

    def train(self, X: ArrayLike, y: ArrayLike | None, plan: Plan, *, sample_weight: ArrayLike | None = None,
              memory: OptimizerState | None = None, after_epoch: Callable[[History], bool] | None = None,
              ) -> History:  # fmt: skip
        """Carry out a plan: what `partial_fit` and the estimators share; errors as for `fit`.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.
        plan : fastbp.training.plan.Plan
            Its numbers are not checked.
        memory : fastbp.training.optimizer_state.OptimizerState, optional
            The optimizer's state, to go on from; else it starts anew.
        after_epoch : callable, optional
            Called with the history after each epoch; True ends the training.
        """
        return self._model.lock.call(lambda: arguments.carry_out(
            plan, self._model, X, y, sample_weight=sample_weight, memory=memory, after_epoch=after_epoch))  # fmt: skip

    # ---- files ----

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to an ``.npz`` file, without pickle: whole or not at all.

        Parameters, input scaling, the names of classes, features and target, and the state of the random generator (if
        it is PCG64, as by default) are kept, so that training goes on after `fastbp.load` as if it had not stopped;
        what the optimizer of `partial_fit` remembers is not. A pickle keeps that too.

        Examples
        --------
        >>> import fastbp, os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "net.npz")
        >>> net = fastbp.MLP((2, 3, 2), seed=0)
        >>> net.save(path)
        >>> bool((fastbp.load(path).parameters == net.parameters).all())
        True
        """
        npz_file.write(path, *contents.contents(self._model))


def _brief(vector: Array) -> str:
    """Input scaling as it can be given again; of many features that differ, only how many there are."""
    values = [float(str(value)) for value in vector]  # no more digits than float32 has
    if len(set(values)) == 1:
        return repr(values[0])
    return repr(values) if len(values) <= 10 else f"<{len(values)} numbers>"


def load(path: str | os.PathLike[str]) -> MLP:
    """Read a network that `MLP.save` wrote.

    Parameters
    ----------
    path : path

    Returns
    -------
    MLP

    Raises
    ------
    FileNotFoundError
    fastbp.CheckpointError
        The file is another program's, truncated, tampered with, or of a newer format.
    """
    arrays, metadata = npz_file.read(path)
    if "networks" in metadata:
        raise npz_file.CheckpointError(f"{os.fspath(path)}: an ensemble, which fastbp.Ensemble.load reads")
    if "run" in metadata:
        raise npz_file.CheckpointError(
            f"{os.fspath(path)}: not a network, but the checkpoint of a training; what wrote it "
            "goes on from it, and saves the network in the end"
        )
    try:
        return MLP.of(contents.model_of(arrays, metadata))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise npz_file.CheckpointError(f"{os.fspath(path)}: not a network that fastbp can read: {error}") from error
