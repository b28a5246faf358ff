"""`MLP`, the network that users see, and `load`: signatures, documentation, and calls of the packages below.

Attributes and evaluation are in `fastbp.base_network`, files and objects of other libraries in `fastbp.leaving`;
training itself is `fastbp.training`.
"""

from __future__ import annotations

import copy
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Union

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .base_network import BaseNetwork
from .kernels.coefficients import CONSTANTS
from .leaving import Leaving
from .model import pickles, serialization
from .model.documentation import with_tables
from .model.model import Model
from .training.optimizer_state import OptimizerState

if TYPE_CHECKING:
    from .averaging import Averaging
    from .learning_rates import LearningRate
    from .model.evaluation import Derivatives, Gradient
    from .optimizers import Optimizer
    from .own_formulas import formulas as own_formulas
    from .training.history import History
    from .training.plan import Plan

# What trains, and what reads and writes files, is imported where it is called: predicting needs neither, and they take
# 20 ms and 7 ms.

Array = NDArray[Any]
Formula = Union["own_formulas.Activation", "own_formulas.Loss", tuple[Callable[..., Any], Callable[..., Any]]]


@with_tables
class MLP(BaseNetwork, Leaving):
    """Multilayer perceptron: affine layers with activations between them, trained to minimise a loss.

    Parameters
    ----------
    sizes : sequence of int
        Number of input features, units of each hidden layer, and number of outputs: of classes or of targets.
    activation : str, Activation or pair of functions, or a sequence of them, default "relu"
        Activation of the hidden layers, one for all or one for each: by the names in the Notes, or your own, see
        `fastbp.Activation`. A pair ``(value, derivative)`` has the name of its first function.
    loss : str, Loss or pair of functions, default "softmax_cross_entropy"
        Loss of the logits, which the last layer returns, and the targets: by the names in the Notes, or your own, see
        `fastbp.Loss`.
    dtype : {"float32", "float64"}, default "float32"
        Type of the parameters and of all arithmetic.
    seed : int, numpy.random.Generator or None
        Source of the initial weights, of the row order of every epoch and of dropout. None draws a seed.
    input_shift, input_scale : float or array_like (features,), optional
        Inputs become ``(x - input_shift) * input_scale``. Both are saved with the model. A single number leaves
        embedded columns as they are; of one for each feature, theirs must be 0 and 1.
    initializer : str or sequence of array_like, optional
        "he" [1]_, "glorot" [2]_ or "lecun" [3]_ (normal), or one of these with "_uniform" behind it, for all weights,
        with biases of 0; or the arrays themselves: ``[W1, b1, W2, b2, ...]``. By default the activation chooses: He
        normal in front of those like the ReLU, and Glorot normal in front of most others. Tables of embeddings are
        drawn from the standard normal distribution, like inputs of order one; or they come behind the other arrays.
    embeddings : mapping of int to (int, int), optional
        Columns of X that are embedded, each with its levels and the width of its vectors, see the Notes.
    **constants : float, or array_like (outputs,)
        Numbers that activations and losses depend on, by the names in the Notes; attributes have the same names.

    Attributes
    ----------
    weights, biases : list of array
        Views of shapes (fan_in, fan_out) and (fan_out,) into `parameters`; writing into them is allowed.
    parameters : array (n_parameters,)
        All parameters in one flat buffer: W1, b1, W2, b2, ..., and behind them the tables of embeddings.
    embeddings : dict of int to array (levels, width)
        The table of each embedded column, views into `parameters`, in ascending order of the columns.
    class_names : tuple of str or None
        Names of the classes, or of other outputs if there are several; saved with the model. They are taken from a
        frame of several columns given as y; the columns of later frames are matched by name. Any sequence of text or
        numbers, one per class, may be assigned.
    feature_names : tuple of str or None
        Names of the input columns, all different; saved with the model. They are taken from the first frame on which
        the network is trained, if the names of all its columns are str. The columns of later frames are matched by
        name and put in this order; missing and unknown ones raise ValueError. Arrays have their columns in this order.
    target_name : str or None
        Name of the target; saved with the model. It is taken from a series, or a frame of one column, given as y.
    history : History or None
        The record of the last training, finished, interrupted or diverged; None before the first. It is not saved, and
        pickles and deep copies have none.

    Raises
    ------
    ValueError, TypeError
        An argument is none of the above.

    Notes
    -----
    A hidden layer computes y from x, its inputs times its weights plus its biases:

    {activations}

    With logits z and targets t, the loss of a row is

    {losses}

    and the constants of both are

    {constants}

    The loss is the mean over rows, or ``sum w loss / sum w`` with weights w. The losses that are sums over outputs,
    or halves, are those of scikit-learn.

    An embedded column j of X holds numbers of levels, whole numbers from 0 to levels - 1 in any dtype. In their place
    the first layer reads vectors, rows of a table E_j (levels, width). For a row x of X it reads::

        h_0 = (x_i for columns i that are not embedded, in their order; E_j[x_j] for the others, in their order)

    with as many entries as there are columns that are not embedded, plus the widths. The gradient of a level's vector
    is the sum over the rows with that level, and 0 if there are none. Tables are penalised (`l2`), clipped and updated
    as weights are, levels that a minibatch lacks too: momentum and decay go on. Derivatives with respect to X are 0 in
    embedded columns. Anything but a level raises ValueError, before it is used. If rows that are read in place change
    while they are trained on, what is no level any more counts as level 0.

    .. [1] K. He, X. Zhang, S. Ren, J. Sun, "Delving deep into rectifiers", ICCV 2015.
    .. [2] X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward networks", AISTATS 2010.
    .. [3] Y. LeCun, L. Bottou, G. Orr, K.-R. Müller, "Efficient backprop", Neural Networks: Tricks of the Trade, 1998.

    Examples
    --------
    >>> import fastbp
    >>> X, y = fastbp.datasets.quadrants(4000, seed=0)
    >>> net = fastbp.MLP((2, 50, 4), seed=0)
    >>> history = net.fit(X, y, epochs=20, batch_size=32, learning_rate=0.5)
    >>> net.score(X, y) > 0.98
    True

    Two numbers and a category with five levels, which is a vector of three numbers to the first layer:

    >>> net = fastbp.MLP((3, 20, 2), embeddings={2: (5, 3)}, seed=0)
    >>> net.weights[0].shape, net.embeddings[2].shape
    ((5, 20), (5, 3))
    >>> net.predict([[0.5, -1.0, 4], [0.25, 2.0, 0]]).shape
    (2,)
    """

    def __init__(self, sizes: Sequence[int], activation: str | Formula | Sequence[str | Formula] = "relu",
                 loss: str | Formula = "softmax_cross_entropy", dtype: DTypeLike = "float32",
                 seed: int | np.random.Generator | None = None, input_shift: ArrayLike | None = None,
                 input_scale: ArrayLike | None = None, *, initializer: str | Sequence[ArrayLike] | None = None,
                 embeddings: Mapping[int, tuple[int, int]] | None = None,
                 **constants: float | Sequence[float]):  # fmt: skip
        self._model = Model(sizes, activation, loss, dtype, input_shift, input_scale, constants, embeddings)
        self._model.draw(seed, initializer)
        self._optimizer_state = OptimizerState()  # of partial_fit

    @classmethod
    def of(cls, model: Model) -> MLP:
        """Return the network of an existing model."""
        net = cls.__new__(cls)
        net._model, net._optimizer_state = model, OptimizerState()
        return net

    # ---- copies and pickles ----

    def __copy__(self) -> MLP:
        """Return a network that shares parameters, generator and lock with this one."""
        same = type(self).__new__(type(self))
        same.__dict__.update(self.__dict__)
        same._model = copy.copy(self._model)
        return same

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return pickles.reduced(self)

    def __getstate__(self) -> dict[str, Any]:
        """Return what `save` writes, what a file lacks, and the attributes that a subclass or a user has added."""
        arrays, metadata = serialization.to_arrays(self._model)
        more = {name: value for name, value in vars(self).items() if name not in ("_model", "_optimizer_state")}
        return pickles.stamped(
            arrays=arrays,
            metadata=metadata,
            own=self._model.own,
            generator=self._model.rng,
            seed=self._model.seed,
            memory=self._optimizer_state.state(),
            more=more,
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        pickles.check("MLP", state)
        self._model = serialization.from_arrays(state["arrays"], state["metadata"], state.get("own"))
        self._model.rng, self._model.seed = state["generator"], state["seed"]
        self._optimizer_state = OptimizerState.of(state["memory"])
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
        if embeddings := {each.column: (each.levels, each.width) for each in self._model.embeddings}:
            arguments.append(f"embeddings={embeddings}")
        return f"MLP({', '.join([repr(self.sizes), *arguments])})"

    # ---- training ----

    def fit(self, X: ArrayLike, y: ArrayLike | None = None, epochs: int = 10, batch_size: int = 128,
            learning_rate: float | LearningRate | None = None, l2: float = 0.0, optimizer: str | Optimizer = "sgd",
            shuffle: bool = True, validation_data: tuple[ArrayLike, ArrayLike] | None = None,
            progress: bool | None = None, callbacks: Sequence[Callable[[MLP, History], object]] = (), *,
            sample_weight: ArrayLike | None = None, dropout: float | Sequence[float] = 0.0,
            input_dropout: float = 0.0, layer_learning_rates: Sequence[float] | None = None,
            embedding_learning_rates: float | Mapping[int, float] = 1.0, label_smoothing: float = 0.0,
            averaging: Averaging | None = None, max_grad_norm: float | None = None,
            early_stopping: int | None = None, tol: float = 1e-4, time_budget: float | None = None,
            checkpoint: str | os.PathLike[str] | None = None, checkpoint_seconds: float = 60.0,
            rows: ArrayLike | None = None, memory_limit: int | None = None) -> History:  # fmt: skip
        """Train by minibatches, starting from the current parameters.

        Parameters
        ----------
        X : array_like, frame, sparse matrix or object with row slicing (n, features); or chunks
            Used in place: rows are converted, shifted and scaled as they are gathered, and X is never copied whole.
            Objects with shape, dtype and row slicing, such as data sets of h5py and arrays of Zarr, are read some rows
            at a time, the next ones while these are trained on. Chunks (X, y) or (X, y, sample_weight) come from an
            iterator, which allows one epoch, or from a callable that returns a new iterator for each epoch. Frames
            (pandas, Polars, PyArrow) must consist of numbers and bools, with none missing; their names become those of
            the network, see `feature_names`.
        y : array_like or object with slicing (n,) or (n, outputs)
            As for `gradient`; None if X yields chunks.
        epochs : int, default 10
            Passes over all rows.
        batch_size : int, default 128
            Rows per step. A short last minibatch is trained too, with the mean over its own rows.
        learning_rate : float or fastbp.learning_rates.LearningRate, optional
            The optimizer's own by default: 0.1 for "sgd", "momentum" and "nesterov", 0.01 for "adagrad" and those of
            your own, 0.0001 for "lion", otherwise 0.001.
        l2 : float, default 0
            Strength of the penalty ``l2/2 sum |W|^2``; biases are not penalised.
        optimizer : str or fastbp.optimizers.Optimizer, default "sgd"
            "sgd", "momentum", "nesterov", "adam", "adamw", "rmsprop", "adagrad" or "lion"; or one of your own, see
            `fastbp.optimizers.Custom`. Each call starts with a new state.
        shuffle : bool, default True
            Draw a new row order for each epoch.
        validation_data : (X, y), optional
            Rows on which loss (without penalty) and score are computed after each epoch.
        progress : bool or None
            Show a progress bar; None shows it on a terminal and in notebooks only.
        callbacks : sequence of callable
            Called as ``callback(network, history)`` after each epoch. One that returns True ends the training.
        sample_weight : array_like (n,), optional
            Weights of at least 0; the loss of a minibatch is ``sum w loss / sum w``.
        dropout : float or sequence of float, default 0
            Share of each hidden layer's outputs that are set to 0, drawn again for each step; or one share for each
            layer. The others are divided by ``1 - dropout``, so that predictions need no change.
        input_dropout : float, default 0
            The same for the inputs, shifted and scaled; where columns are embedded, for their vectors.
        layer_learning_rates : sequence of float, optional
            Factors of `learning_rate`, one for each layer, the first layer's first. A layer with a factor of 0 is
            frozen: its weights and biases keep their bits, whatever momentum, decay and `l2` would do, and do not count
            in `max_grad_norm`. The penalty in the loss is still that of all weights. By default all factors are 1.
        embedding_learning_rates : float or mapping of int to float, default 1
            The same for the tables of embeddings: one factor for all, or by columns.
        label_smoothing : float, default 0
            From 0 to 1. A target t becomes ``(1 - label_smoothing) t + label_smoothing / classes``, for softmax with
            cross-entropy as in PyTorch, with labels and with rows of probabilities; for binary cross-entropies with 2
            classes, as in Keras. Other losses refuse it. The validation loss is that of the targets as they are.
        averaging : fastbp.averaging.Averaging, optional
            Average the parameters after each step or epoch. In the end the network has the average, and validation data
            and early stopping look at it from its first parameters on; training itself, and callbacks, have the
            parameters that are trained. An error, or Ctrl-C, leaves these.
        max_grad_norm : float, optional
            A gradient of all parameters, penalty included, whose norm is larger is scaled to this norm.
        early_stopping : int, optional
            End after as many epochs in which the validation loss (without validation data, the training loss) did not
            fall by `tol`. In any case the network gets the parameters of the epoch with the lowest loss.
        tol : float, default 1e-4
            See `early_stopping`.
        time_budget : float, optional
            Seconds after which training ends, also within an epoch; checked about every 50 ms.
        checkpoint : path, optional
            File for the state of the run, written before the first step, then every `checkpoint_seconds`, and at the
            end. If it exists, training goes on from it and ends in the same bits as without the interruption; the
            result of a finished run is returned at once. Callbacks and validation data are not in the file: those of
            the call that goes on are used, and callbacks may see the end of an epoch a second time. `time_budget`
            counts from the start of each call, and a run that it ended goes on in the next. A file that cannot be
            written is an error before training, and a RuntimeWarning later.
        checkpoint_seconds : float, default 60
            Time from one checkpoint to the next, which is written at the first step boundary at which Python gets
            control, about every 50 ms.
        rows : array_like of int, or of bool (n,), optional
            Train only on these rows of X, y and `sample_weight`, with the same bits as on `X[rows]`, which is not made.
        memory_limit : int, optional
            Bytes that the rows in memory may take. If X takes more, it is read in blocks, and rows are shuffled by
            pieces and within blocks. The default is a quarter of the machine's memory for an X that is not an array,
            and for mapped files of more than half of the memory.

        Returns
        -------
        History
            Losses, scores and times of each epoch.

        Raises
        ------
        ValueError, TypeError
            X or y is not as for `gradient`, a size is below 1, or a rate is negative or not finite. The parameters are
            unchanged.
        DivergenceError
            A loss or a parameter became infinite or NaN. The parameters are those from before the epoch.
        fastbp.CheckpointError
            `checkpoint` is another run's, and the message names the differences; or it is another program's, or
            damaged. Nothing is changed.
        OSError
            `checkpoint` cannot be read, or cannot be written before the first step. Nothing is changed.
        KeyboardInterrupt
            Ctrl-C, at the first step boundary after 50 ms. The network is as it was after that step.
        StreamError
            Rows could not be read, or an iterator ended early. The parameters are those after the last whole epoch.
        RuntimeError
            Another thread trains this network already, and goes on.

        Notes
        -----
        Only one thread at a time may train a network; different networks, and copies by `copy.deepcopy`, may be trained
        at the same time. Other threads may predict with a network while it is trained, but the parameters they see may
        be in part those of one step and in part those of the next. A callback may call `fit` of its own network.

        Examples
        --------
        >>> import fastbp
        >>> X, y = fastbp.datasets.quadrants(4000, seed=0)
        >>> net = fastbp.MLP((2, 50, 4), seed=0)
        >>> history = net.fit(X, y, epochs=20, batch_size=32, optimizer="adam")
        >>> history.loss[-1] < history.loss[0]
        True
        """
        from .training import fitting

        return fitting.fit(
            self._model, X, y, self, lambda X, y: (self.loss(X, y), self.score(X, y)), epochs=epochs,
            batch_size=batch_size, learning_rate=learning_rate, l2=l2, optimizer=optimizer, shuffle=shuffle,
            validation_data=validation_data, progress=progress, callbacks=callbacks, sample_weight=sample_weight,
            dropout=dropout, input_dropout=input_dropout, layer_learning_rates=layer_learning_rates,
            embedding_learning_rates=embedding_learning_rates, label_smoothing=label_smoothing,
            averaging=averaging, max_grad_norm=max_grad_norm, early_stopping=early_stopping, tol=tol,
            time_budget=time_budget, checkpoint=checkpoint, checkpoint_seconds=checkpoint_seconds, rows=rows,
            memory_limit=memory_limit,
        )  # fmt: skip

    def partial_fit(self, X: ArrayLike, y: ArrayLike, batch_size: int = 128,
                    learning_rate: float | LearningRate | None = None, l2: float = 0.0,
                    optimizer: str | Optimizer = "sgd", *, sample_weight: ArrayLike | None = None,
                    dropout: float | Sequence[float] = 0.0, input_dropout: float = 0.0,
                    layer_learning_rates: Sequence[float] | None = None,
                    embedding_learning_rates: float | Mapping[int, float] = 1.0, label_smoothing: float = 0.0,
                    max_grad_norm: float | None = None) -> History:  # fmt: skip
        """Train on these rows once, in their order; the optimizer's state is kept from the last call of `partial_fit`.

        Another kind of optimizer starts with a new state. Parameters, errors and the returned history are those of
        `fit`.

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
        from .training import arguments

        plan = arguments.make_plan(
            self._model, epochs=1, batch_size=batch_size, learning_rate=learning_rate, l2=l2, optimizer=optimizer,
            shuffle=False, dropout=dropout, input_dropout=input_dropout,
            layer_learning_rates=layer_learning_rates, embedding_learning_rates=embedding_learning_rates,
            label_smoothing=label_smoothing, max_grad_norm=max_grad_norm, time_budget=None,
        )  # fmt: skip
        return self.train(X, y, plan, sample_weight=sample_weight, memory=self._optimizer_state)

    def apply(self, gradient: ArrayLike | Gradient | Derivatives, optimizer: str | Optimizer = "sgd",
              learning_rate: float | None = None, *, l2: float = 0.0, max_grad_norm: float | None = None,
              state: OptimizerState | None = None) -> None:  # fmt: skip
        """Change the parameters by one step of an optimizer, along a gradient that was computed elsewhere.

        The step is to the bit the one that `partial_fit` makes of the same gradient. Where the arguments are as in the
        call before, it allocates no arrays.

        Parameters
        ----------
        gradient : array_like (n_parameters,), list of array, Gradient or Derivatives
            In the order of `parameters`; as the arrays ``[dW1, db1, dW2, db2, ...]``, with those of the embeddings'
            tables behind them; or what `gradient` or `backward` returned. It is converted to the network's dtype, and
            left as it is.
        optimizer : str or fastbp.optimizers.Optimizer, default "sgd"
            As for `fit`.
        learning_rate : float, optional
            Of this step; the optimizer's own by default.
        l2 : float, default 0
            ``l2 W`` is added to the gradient of each W, and of each table.
        max_grad_norm : float, optional
            A gradient of all parameters, penalty included, whose norm is larger is scaled to this norm.
        state : OptimizerState, optional
            What the optimizer keeps from step to step. By default the network's own, with which `partial_fit` goes on
            as well; another kind of optimizer starts it again from 0. Networks share none.

        Raises
        ------
        ValueError, TypeError
            The gradient has another shape, is not real, or holds NaN or infinity; the state is that of a network of
            other size or dtype; or another argument is none of the above. Nothing is changed.
        RuntimeError
            Another thread trains this network already, or applies with this state, and goes on.

        Notes
        -----
        The new parameters are not checked: a learning rate that is too large makes them infinite or NaN. Where an
        optimizer of one's own raises an error, what it has changed by then stays changed.

        Examples
        --------
        >>> import fastbp
        >>> net = fastbp.MLP((2, 2), dtype="float64", initializer=[[[1.0, 0.0], [0.0, 2.0]], [0.0, 1.0]])
        >>> net.apply([[[1.0, 2.0], [3.0, 4.0]], [5.0, 6.0]], learning_rate=0.5)
        >>> net.weights[0], net.biases[0]
        (array([[ 0.5, -1. ],
               [-1.5,  0. ]]), array([-2.5, -2. ]))
        """
        from .training import applying

        state = self._optimizer_state if state is None else state
        applying.apply(self._model, state, gradient, optimizer, learning_rate, l2, max_grad_norm)

    def train(
        self,
        X: ArrayLike,
        y: ArrayLike | None,
        plan: Plan,
        *,
        sample_weight: ArrayLike | None = None,
        memory: OptimizerState | None = None,
        after_epoch: Callable[[History], bool] | None = None,
    ) -> History:
        """Train by a plan, as `partial_fit` and the estimators do; errors are those of `fit`.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.
        plan : fastbp.training.plan.Plan
            Its numbers are not checked.
        memory : fastbp.training.optimizer_state.OptimizerState, optional
            The optimizer's state, which the training changes; a new one by default.
        after_epoch : callable, optional
            Called with the history after each epoch; one that returns True ends the training. Where the plan says that
            losses decide, later epochs may have been trained by then, which are taken back if it ends.

        Returns
        -------
        History
        """
        from .training import fitting

        return fitting.train(
            self._model, X, y, plan, sample_weight=sample_weight, optimizer_state=memory, after_epoch=after_epoch
        )

    # ---- files ----

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to an ``.npz`` file, without pickle: whole or not at all.

        The file holds parameters, input scaling, the names of classes, features and target, and the state of the random
        generator (if it is PCG64, the default), so that training goes on after `fastbp.load` as if it had not stopped.
        It does not hold the optimizer state of `partial_fit`, which a pickle does.

        Parameters
        ----------
        path : path

        Raises
        ------
        OSError
            The file cannot be written; an old one of that name is unchanged.

        Examples
        --------
        >>> import fastbp, os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "net.npz")
        >>> net = fastbp.MLP((2, 3, 2), seed=0)
        >>> net.save(path)
        >>> bool((fastbp.load(path).parameters == net.parameters).all())
        True
        """
        from .model import npz_file

        npz_file.write(path, *serialization.to_arrays(self._model))


def _brief(vector: Array) -> str:
    """Return input scaling as an argument; of more than ten different values only their number."""
    values = [float(str(value)) for value in vector]  # no more digits than float32 has
    if len(set(values)) == 1:
        return repr(values[0])
    return repr(values) if len(values) <= 10 else f"<{len(values)} numbers>"


def load(path: str | os.PathLike[str], custom: Mapping[str, Formula] | None = None) -> MLP:
    """Read a network that `MLP.save` wrote.

    Parameters
    ----------
    path : path
    custom : mapping of str to Activation, Loss or pair of functions, optional
        The network's formulas of your own, by their names: a file has names and digests alone, and nothing is ever
        imported or run by what it says. Names that it does not have are ignored.

    Returns
    -------
    MLP

    Raises
    ------
    FileNotFoundError
        There is no such file.
    fastbp.CheckpointError
        The file is another program's, truncated, altered, or of a newer format; or `custom` lacks a formula of the
        network, or has another one by its name.

    Examples
    --------
    >>> import fastbp, os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "net.npz")
    >>> fastbp.MLP((2, 3, 2), seed=0).save(path)
    >>> fastbp.load(path)
    MLP((2, 3, 2))
    """
    from .model import npz_file

    arrays, metadata = npz_file.read(path)
    if "table" in metadata:
        raise npz_file.CheckpointError(f"{os.fspath(path)}: a table's model, which fastbp.TableModel.load reads")
    if "networks" in metadata:
        raise npz_file.CheckpointError(f"{os.fspath(path)}: an ensemble, which fastbp.Ensemble.load reads")
    if "run" in metadata:
        raise npz_file.CheckpointError(
            f"{os.fspath(path)}: got the checkpoint of a training, expected a network; repeat the call that wrote it, "
            "which goes on from it, and save the network then"
        )
    try:
        return MLP.of(serialization.from_arrays(arrays, metadata, custom))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise npz_file.CheckpointError(f"{os.fspath(path)}: not a network that fastbp can read: {error}") from error
