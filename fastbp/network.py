"""The network: parameters in one flat buffer, and what can be asked of them. Training itself is `fastbp.training`."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from . import checkpoint, passes, validation
from .parameters import Layout, initialise
from .program import aligned, run, scratch
from .rows import Rows, most_rows
from .schedule import threads_for, tuning
from .training import History, Training

Array = NDArray[Any]
ACTIVATIONS = ("relu", "identity")
LOSSES = ("softmax_cross_entropy",)
OPTIMIZERS = ("sgd",)


@dataclass(frozen=True)
class Gradient:
    """Loss and its derivatives.

    Attributes
    ----------
    loss : float
        Mean over rows, L2 penalty included.
    weights : list of array (fan_in, fan_out)
        With the penalty's part ``l2 W``.
    biases : list of array (fan_out,)
    inputs : array (n, features)
        With respect to X as it was given, input scaling chained in.
    """

    loss: float
    weights: list[Array]
    biases: list[Array]
    inputs: Array


class MLP:
    """Multilayer perceptron: affine layers with an activation between them, softmax with cross-entropy behind.

    Parameters
    ----------
    sizes : sequence of int
        Features of the input, of every hidden layer, and the number of classes.
    activation : {"relu", "identity"}
        Behind every layer but the last.
    loss : {"softmax_cross_entropy"}
    dtype : {"float32", "float64"}
        Of the parameters and all arithmetic.
    seed : int, numpy.random.Generator or None
        Initial weights and the row order of every epoch come from it.
    input_shift, input_scale : float or array_like (features,), optional
        Inputs become ``(x - input_shift) * input_scale``; saved with the model.

    Attributes
    ----------
    weights, biases : list of array
        Views (fan_in, fan_out) and (fan_out,) into `parameters`; writing into them is allowed.
    parameters : array (n_parameters,)
        The one flat buffer: W1, b1, W2, b2, ...
    class_names : tuple of str or None
        Saved with the model.

    Raises
    ------
    ValueError, TypeError
        An argument that is none of these.

    Notes
    -----
    Weights start as He normal [1]_ (Glorot normal [2]_ for "identity"), biases as 0.

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

    def __init__(self, sizes: Sequence[int], activation: str = "relu", loss: str = "softmax_cross_entropy",
                 dtype: DTypeLike = "float32", seed: int | np.random.Generator | None = None,
                 input_shift: ArrayLike | None = None, input_scale: ArrayLike | None = None):  # fmt: skip
        self.sizes = validation.layer_sizes(sizes)
        self.activation = validation.choice("activation", activation, ACTIVATIONS)
        self.loss_name = validation.choice("loss", loss, LOSSES)
        self.dtype = validation.float_dtype(dtype)
        self._input_shift = validation.per_feature("input_shift", input_shift, self.sizes[0], self.dtype)
        self._input_scale = validation.per_feature("input_scale", input_scale, self.sizes[0], self.dtype)
        self.class_names: tuple[str, ...] | None = None
        self.rng = _generator(seed)
        self._fits = _OneThreadAtATime()
        self._network = passes.network(self.sizes, self.activation == "relu")
        self._rows_at_once = passes.rows_at_once(self._network, self.dtype, most_rows(self.sizes[0], self.dtype))
        self._parameters = aligned(self._network.layout.total, self.dtype)
        initialise(self._network.layout, self._parameters, self.rng, self._network.rectified)

    def __repr__(self) -> str:
        return f"MLP({self.sizes}, activation={self.activation!r}, dtype={self.dtype.name!r})"

    # These arrays stay what they are, for compiled code trusts their lengths: another could be read beyond its end.
    @property
    def parameters(self) -> Array:
        return self._parameters

    @parameters.setter
    def parameters(self, values: ArrayLike) -> None:
        array = validation.real_array("parameters", values)
        validation.shape("parameters", array, self._parameters.shape)
        with np.errstate(over="ignore"):  # to infinity, which every step's loss then shows
            self._parameters[...] = array

    @property
    def input_shift(self) -> Array | None:
        return self._input_shift

    @property
    def input_scale(self) -> Array | None:
        return self._input_scale

    @property
    def weights(self) -> list[Array]:
        return self._network.layout.weights(self.parameters)

    @property
    def biases(self) -> list[Array]:
        return self._network.layout.biases(self.parameters)

    @property
    def classes(self) -> int:
        """Number of classes."""
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
        return self._forward(X, probabilities=False)

    def predict_proba(self, X: ArrayLike) -> Array:
        """Softmax of the logits, (n, classes); parameters and errors as for `logits`."""
        return self._forward(X, probabilities=True)

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """Index of the largest logit of each row, the lowest on ties, (n,) int64; errors as for `logits`."""
        predictions: NDArray[np.int64] = np.argmax(self.logits(X), axis=1).astype(np.int64, copy=False)
        return predictions

    def score(self, X: ArrayLike, y: ArrayLike) -> float:
        """Share of the rows whose prediction is right; y holds class indices, or probabilities by their argmax."""
        rows = self._rows("X", X)
        labels = self._labels("y", y, rows.count)
        wanted = labels if labels.ndim == 1 else labels.argmax(axis=1)
        return float(np.mean(self.predict(X) == wanted))

    def loss(self, X: ArrayLike, y: ArrayLike, l2: float = 0.0) -> float:
        """Mean cross-entropy over rows plus ``l2/2`` times the sum of all squared weights; errors as for `gradient`."""
        rows = self._rows("X", X)
        labels = self._labels("y", y, rows.count)
        l2 = validation.rate("l2", l2, self.dtype)
        losses = np.empty(rows.count, self.dtype)
        number = threads_for(2.0 * rows.count * self._parameters.size)

        def call(begin: int, end: int, **operands: Any) -> None:
            form, chosen = _labels_of(labels, begin, end)
            program = passes.losses(self._network, end - begin, self.dtype, number, form, tuning())
            run(program, gradient=losses[begin:end], **operands, **chosen)

        self._over_parts(rows, call)
        return self._objective(losses, l2)

    def _forward(self, X: ArrayLike, probabilities: bool) -> Array:
        rows = self._rows("X", X)
        count, classes, dtype, most = rows.count, self.sizes[-1], self.dtype, self._rows_at_once
        out, forced = np.empty((count, classes), dtype), tuning()
        flat = out.reshape(-1)
        number = threads_for(2.0 * count * self._parameters.size)
        for begin in range(0, count, most):  # no closure, and names looked up once: one row's time is all Python
            end = min(count, begin + most)
            program = passes.forward(self._network, end - begin, dtype, number, probabilities, forced)
            activations = scratch(program.activations, dtype)
            run(program, inputs=rows.between(begin, end, checked=False), parameters=self._parameters,
                activations=activations, gradient=flat[begin * classes : end * classes])  # fmt: skip
            if not math.isfinite(sum(activations[program.probes].tolist())):
                rows.between(begin, end)  # NaN and infinity are refused; only large are well
        return out

    # ---- backward ----

    def gradient(self, X: ArrayLike, y: ArrayLike, l2: float = 0.0) -> Gradient:
        """Loss and its gradient by back-propagation, of the weights, the biases and the inputs.

        Parameters
        ----------
        X : array_like (n, features)
        y : array_like (n,) or (n, classes)
            Class indices, or rows of probabilities.
        l2 : float, default 0
            Weight of the penalty ``l2/2 sum |W|^2``; biases are not penalised.

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
        rows = self._rows("X", X)
        labels = self._labels("y", y, rows.count)
        l2 = validation.rate("l2", l2, self.dtype)
        flat = np.empty(self.parameters.size, self.dtype)
        losses = np.empty(rows.count, self.dtype)
        inputs = np.empty((rows.count, self.sizes[0]), self.dtype)
        number = threads_for(6.0 * rows.count * self._parameters.size)

        def call(begin: int, end: int, activations: Array, **operands: Any) -> None:
            form, chosen = _labels_of(labels, begin, end)
            program = passes.gradient(self._network, end - begin, self.dtype, number, form, begin > 0, tuning())
            run(program, activations=activations, gradient=flat, scale=1.0 / rows.count, **operands, **chosen)
            at = passes.Activations(self._network, end - begin, self.dtype)
            losses[begin:end] = activations[at.losses : at.losses + end - begin]
            part = inputs[begin:end]
            part[...] = activations[at.gradient(-1) : at.gradient(-1) + part.size].reshape(part.shape)

        self._over_parts(rows, call)
        if self.input_scale is not None:
            inputs *= self.input_scale
        if l2:
            run(passes.add_l2(self._network), inputs=self.parameters, parameters=self.parameters, activations=flat,
                gradient=flat, l2=l2)  # fmt: skip
        layout = self._network.layout
        return Gradient(self._objective(losses, l2), layout.weights(flat), layout.biases(flat), inputs)

    def _objective(self, losses: Array, l2: float) -> float:
        with np.errstate(over="ignore"):  # to infinity
            penalty = sum(float(np.square(W, dtype=np.float64).sum()) for W in self.weights) if l2 else 0.0
            return float(losses.mean(dtype=np.float64)) + 0.5 * l2 * penalty

    # ---- training ----

    def fit(self, X: ArrayLike, y: ArrayLike, epochs: int = 10, batch_size: int = 128, learning_rate: float = 0.1,
            l2: float = 0.0, optimizer: str = "sgd", shuffle: bool = True,
            validation_data: tuple[ArrayLike, ArrayLike] | None = None, progress: bool | None = None,
            callbacks: Sequence[Callable[[MLP, History], object]] = ()) -> History:  # fmt: skip
        """Train by minibatch stochastic gradient descent, from the parameters as they are.

        Parameters
        ----------
        X : array_like (n, features)
            Used as it is: rows are converted, shifted and scaled as they are gathered, X is never copied whole.
        y : array_like (n,) or (n, classes)
            Class indices, or rows of probabilities.
        epochs : int
            Passes over all rows.
        batch_size : int
            Rows a step; a short last minibatch is trained too, its mean taken over its own rows.
        learning_rate : float
            ``W -= learning_rate (dW + l2 W)``, ``b -= learning_rate db``.
        l2 : float
            Weight of the penalty ``l2/2 sum |W|^2``; biases are not penalised.
        optimizer : {"sgd"}
        shuffle : bool
            Draw a new row order for each epoch.
        validation_data : (X, y), optional
            Loss (without penalty) and score on them after each epoch.
        progress : bool or None
            A progress bar; None: on a terminal only.
        callbacks : sequence of callable
            Called as ``callback(network, history)`` after each epoch; one that returns True ends the training.

        Returns
        -------
        History

        Raises
        ------
        ValueError, TypeError
            X, y as for `gradient`; sizes below 1; rates that are negative or not finite. Parameters are unchanged.
        DivergenceError
            A loss or a parameter became infinite or NaN; the parameters from before the epoch are kept.
        KeyboardInterrupt
            At the first step boundary after 50 ms; the network is as it was after that step.
        RuntimeError
            Another thread trains this network already; that one goes on unharmed.

        Notes
        -----
        One thread at a time may train a network; different networks, and copies by `copy.deepcopy`, may be trained side
        by side. Other threads may predict with a network while it is trained: safe, but the parameters they see are
        those of some step or, in part, of the one after it. A callback may call `fit` of its own network.
        """
        validation.choice("optimizer", optimizer, OPTIMIZERS)
        rows = self._rows("X", X)
        labels = self._labels("y", y, rows.count)
        calls = validation.as_list(callbacks)
        if calls is None or not all(callable(callback) for callback in calls):
            raise TypeError(f"callbacks: got {callbacks!r}, expected a sequence of callables")
        held_out = None
        if validation_data is not None:
            held_out = self._validation_data(validation_data)
        training = Training(
            network=self._network, parameters=self.parameters, rows=rows, labels=labels, rng=self.rng,
            epochs=validation.whole_number("epochs", epochs),
            batch_size=validation.whole_number("batch_size", batch_size),
            learning_rate=validation.rate("learning_rate", learning_rate, self.dtype),
            l2=validation.rate("l2", l2, self.dtype), shuffle=validation.truth("shuffle", shuffle),
        )  # fmt: skip

        def after_epoch(history: History) -> bool:
            if held_out is not None:
                history.validation_loss.append(self.loss(*held_out))
                history.validation_score.append(self.score(*held_out))
            answers = [callback(self, history) for callback in calls]  # all are called, whatever the first says
            return any(answer is True for answer in answers)

        return self._fits.call(lambda: training.run(after_epoch, progress))

    def _validation_data(self, pair: Any) -> tuple[Array, Array]:
        if not (isinstance(pair, (tuple, list)) and len(pair) == 2):
            raise TypeError(f"validation_data: got {type(pair).__name__}, expected a pair (X, y)")
        rows = self._rows("validation_data[0]", pair[0])
        labels = self._labels("validation_data[1]", pair[1], rows.count)
        for begin in range(0, rows.count, rows.most):  # now, not after the first epoch
            rows.between(begin, min(rows.count, begin + rows.most))
        return rows.source, labels

    # ---- files ----

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to an ``.npz`` file, without pickle: whole or not at all.

        Parameters, input scaling, class names and the state of the random generator are kept, so that training goes
        on after `fastbp.load` as if it had not stopped.

        Examples
        --------
        >>> import fastbp, os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "net.npz")
        >>> net = fastbp.MLP((2, 3, 2), seed=0)
        >>> net.save(path)
        >>> bool((fastbp.load(path).parameters == net.parameters).all())
        True
        """
        self._check_class_names()
        arrays = {"parameters": self.parameters}
        arrays |= {name: value for name in SCALING if (value := getattr(self, name)) is not None}
        state = self.rng.bit_generator.state if isinstance(self.rng.bit_generator, np.random.PCG64) else None
        checkpoint.write(path, arrays, {
            "sizes": list(self.sizes), "activation": self.activation, "loss": self.loss_name, "dtype": self.dtype.name,
            "class_names": None if self.class_names is None else list(self.class_names), "random_state": state,
        })  # fmt: skip

    def _check_class_names(self) -> None:
        if self.class_names is None:
            return
        if not isinstance(self.class_names, (tuple, list)):
            raise TypeError(f"class_names: got {type(self.class_names).__name__}, expected a tuple of str")
        if len(self.class_names) != self.classes:
            raise ValueError(f"class_names: got {len(self.class_names)} names, expected {self.classes}, one a class")

    # ---- parts ----

    def _rows(self, name: str, X: ArrayLike) -> Rows:
        return Rows(name, X, self.sizes[0], self.dtype, self._input_shift, self._input_scale)

    def _labels(self, name: str, y: ArrayLike, rows: int) -> Array:
        return validation.labels(name, y, rows, self.classes, self.dtype)

    def _over_parts(self, rows: Rows, call: Callable[..., None]) -> None:
        """Call for parts of the rows, so that activations stay small and Ctrl-C gets its turn."""
        most = self._rows_at_once
        activations = scratch(passes.activations_size(self._network, min(most, rows.count), self.dtype), self.dtype)
        for begin in range(0, rows.count, most):
            end = min(rows.count, begin + most)
            call(begin, end, inputs=rows.between(begin, end), parameters=self.parameters, activations=activations)


SCALING = ("input_shift", "input_scale")


class _OneThreadAtATime:
    """Keeps a second thread out of a network's `fit`: two would write the same parameters, each over the other's.

    A pickled or deeply copied network gets a free one of its own; `copy.copy`, which shares the parameters, shares it.
    """

    def __init__(self) -> None:
        self._locks: dict[int, threading.RLock] = {}  # by process: one that a fork left held has no thread to free it

    def __reduce__(self) -> tuple[type[_OneThreadAtATime], tuple[()]]:
        return _OneThreadAtATime, ()

    def call(self, train: Callable[[], History]) -> History:
        lock = self._locks.setdefault(os.getpid(), threading.RLock())
        try:  # taken within it, for Ctrl-C may come as soon as the lock is taken
            if not lock.acquire(blocking=False):
                raise RuntimeError("fit: got a second call while another thread trains this network, expected one at "
                                   "a time; wait for the first, or train a copy (copy.deepcopy)")  # fmt: skip
            return train()
        finally:
            try:  # noqa: SIM105 (suppress() would be a call before the release, and Ctrl-C comes at calls)
                lock.release()
            except RuntimeError:  # another thread's
                pass


def _labels_of(labels: Array, begin: int, end: int) -> tuple[str, dict[str, Any]]:
    if labels.ndim == 1:
        return "labels", {"labels": labels[begin:end]}
    return "probabilities", {"targets": labels[begin:end].reshape(-1)}


def _generator(seed: Any) -> np.random.Generator:
    if isinstance(seed, (bool, np.bool_)):
        raise TypeError(f"seed: got {seed!r}, expected a whole number of at least 0, a Generator or None")
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise type(error)(f"seed: got {seed!r}, expected a whole number of at least 0, a Generator or None") from None


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
    arrays, metadata = checkpoint.read(path)
    try:
        parameters = arrays["parameters"]
        sizes = validation.layer_sizes(metadata["sizes"])
        validation.shape("parameters", parameters, (Layout(sizes).total,))  # before memory is taken for them
        net = MLP(sizes, metadata["activation"], metadata["loss"], metadata["dtype"], 0,
                  *(arrays.get(name) for name in SCALING))  # fmt: skip
        if parameters.dtype != net.dtype:
            raise ValueError(f"parameters: got dtype {parameters.dtype}, expected {net.dtype}")
        net.parameters[...] = parameters
        names = metadata["class_names"]
        net.class_names = None if names is None else tuple(str(name) for name in names)
        net._check_class_names()
        if metadata["random_state"] is not None:
            net.rng.bit_generator.state = metadata["random_state"]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise checkpoint.CheckpointError(f"{os.fspath(path)}: not a network that fastbp can read: {error}") from error
    return net
